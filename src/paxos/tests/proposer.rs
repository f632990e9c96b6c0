//! A leader's rules: slots, windows and batches, announcements, read indexes, and when to stop leading.

use super::terse::*;
use crate::paxos::message::{CommandName, Vote};
use crate::paxos::proposer::Phase;
use crate::paxos::settings::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES, MAX_OPERATION_BYTES, MAX_QUEUE_BYTES};
use crate::paxos::*;

/// n1 leads three nodes in ballot 1.1, over these votes that n2 reported.
pub fn leader(settings: Settings, votes: Vec<Vote>) -> (Proposer, Vec<Effect>) {
    let mut proposer = Proposer::new(n(1), three(), settings, 7, Slot::ZERO);
    let fx = &mut Effects::new();
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, fx);
    proposer.prepare(fx);
    proposer.on_promise(n(1), promise(b(1, 1), 0, vec![]), fx);
    let told = effects(|fx| proposer.on_promise(n(2), promise(b(1, 1), 0, votes), fx));
    assert_eq!(proposer.leader(), Some(b(1, 1)));
    (proposer, told)
}

fn plain() -> Proposer {
    leader(Settings::default(), vec![]).0
}

fn lot_end(proposer: &mut Proposer) -> Vec<Effect> {
    effects(|fx| proposer.on_lot_end(fx))
}

/// The proposals of the Accepts to n2, each slot with the operations in it.
pub fn proposals(told: &[Effect]) -> Vec<(u64, Vec<String>)> {
    let mut found = Vec::new();
    for effect in told {
        let Effect::Send { to: NodeId(2), message: Message::Acceptor(AcceptorMessage::Accept { proposals, .. }) } =
            effect
        else {
            continue;
        };
        for (slot, value) in proposals {
            let operation = |entry| match entry {
                Entry::Open { .. } => "open".into(),
                Entry::Apply { operation, .. } => String::from_utf8_lossy(operation).into_owned(),
                Entry::Change { change, .. } => format!("{change:?}"),
                Entry::Promote { node } => format!("promote {node}"),
                Entry::Mark { save } => format!("mark, save {save}"),
                Entry::Report { node, mark, .. } => format!("report of {node} at {mark}"),
            };
            found.push((slot.0, value.entries().map(operation).collect()));
        }
    }
    found
}

fn submit(proposer: &mut Proposer, names: &[&str]) -> Vec<Effect> {
    let commands = names.iter().zip(1..).map(|(name, sequence)| command(1, sequence, name)).collect();
    effects(|fx| proposer.on_submit(commands, fx))
}

fn advanced(proposer: &mut Proposer, upto: u64, ballot: Option<Ballot>) -> Vec<Effect> {
    deeds(|fx| proposer.on_message(n(1), ProposerMessage::Advanced { chosen_upto: s(upto), ballot }, fx))
}

fn ack(proposer: &mut Proposer, from: u32, round: u64) -> Vec<Effect> {
    let ack = ProposerMessage::HeartbeatAck { ballot: b(1, 1), round, settled_upto: s(0), executed_upto: s(0) };
    effects(|fx| proposer.on_message(n(from), ack, fx))
}

fn read(proposer: &mut Proposer, from: u32, batch: u64) -> Vec<Effect> {
    effects(|fx| proposer.on_message(n(from), ProposerMessage::ReadIndex { batch }, fx))
}

fn refused(names: &[u64], reason: Refusal) -> ExecutorMessage {
    let name = |sequence: &u64| CommandName::Apply(SessionId(1), Sequence(*sequence));
    ExecutorMessage::Refused { commands: names.iter().map(name).collect(), reason }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A command that takes so many bytes in a value.
fn sized(sequence: u64, length: usize) -> Command {
    command(1, sequence, &"x".repeat(length - command(1, 1, "").encoded_len()))
}

#[test]
fn window_1_and_batch_1_give_one_entry_at_a_time() {
    let settings = Settings { window: 1, batch: 1, ..Settings::default() };
    let (mut proposer, _) = leader(settings, vec![]);
    submit(&mut proposer, &["x", "y"]);
    assert_eq!(proposals(&lot_end(&mut proposer)), [(1, strings(&["x"]))]);
    assert_eq!(proposals(&lot_end(&mut proposer)), [], "slot 1 is still in flight");
    advanced(&mut proposer, 1, Some(b(1, 1)));
    assert_eq!(proposals(&lot_end(&mut proposer)), [(2, strings(&["y"]))]);
}

#[test]
fn section_3_many_slots_are_in_flight_at_once_up_to_the_window() {
    let settings = Settings { window: 3, batch: 2, ..Settings::default() };
    let (mut proposer, _) = leader(settings, vec![]);
    submit(&mut proposer, &["s", "t", "u", "v", "w", "x", "y", "z"]);
    let expected = [(1, strings(&["s", "t"])), (2, strings(&["u", "v"])), (3, strings(&["w", "x"]))];
    assert_eq!(proposals(&lot_end(&mut proposer)), expected);
    assert_eq!(proposer.queued(), 2);
}

#[test]
fn behind_two_slots_only_a_lot_that_is_worth_it_gets_one_of_its_own() {
    let mut proposer = plain();
    for slot in [1, 2] {
        submit(&mut proposer, &["x"]);
        assert_eq!(proposals(&lot_end(&mut proposer)), [(slot, strings(&["x"]))]);
    }
    submit(&mut proposer, &["y"]);
    assert_eq!(proposals(&lot_end(&mut proposer)), [], "slots 1 and 2 are on their way");
    submit(&mut proposer, &["x"; 255]);
    assert_eq!(proposals(&lot_end(&mut proposer)).len(), 1, "many commands");
    effects(|fx| proposer.on_submit(vec![sized(1, 64 << 10)], fx));
    assert_eq!(proposals(&lot_end(&mut proposer)).len(), 1, "many bytes");
    submit(&mut proposer, &["z"]);
    assert_eq!(proposals(&lot_end(&mut proposer)), []);
    advanced(&mut proposer, 2, Some(b(1, 1)));
    assert_eq!(proposals(&lot_end(&mut proposer)), [], "slots 3 and 4 are on their way");
    advanced(&mut proposer, 3, Some(b(1, 1)));
    assert_eq!(proposals(&lot_end(&mut proposer)), [(5, strings(&["z"]))]);
}

#[test]
fn where_a_slot_takes_long_a_small_lot_waits_for_a_moment_only() {
    let mut proposer = plain();
    let begun = proposer.now_ms;
    for slot in 1..=5 {
        submit(&mut proposer, &["x"]);
        let told = proposals(&lot_end(&mut proposer));
        if slot > 2 {
            assert_eq!(told, []);
            proposer.on_tick(proposer.now_ms + 9, 0, &mut Effects::new());
            assert_eq!(proposals(&lot_end(&mut proposer)), []);
            proposer.on_tick(proposer.now_ms + 1, 0, &mut Effects::new());
            assert_eq!(proposals(&lot_end(&mut proposer)), [(slot, strings(&["x"]))]);
        } else {
            assert_eq!((proposer.now_ms, told), (begun, vec![(slot, strings(&["x"]))]));
        }
    }
}

#[test]
fn everything_gathered_in_a_lot_travels_in_one_slot() {
    let mut proposer = plain();
    submit(&mut proposer, &["x", "y", "z"]);
    assert_eq!(proposals(&lot_end(&mut proposer)), [(1, strings(&["x", "y", "z"]))]);
}

#[test]
fn an_accept_that_nobody_answers_is_sent_again() {
    let mut proposer = plain();
    submit(&mut proposer, &["x"]);
    lot_end(&mut proposer);
    let after = Settings::default().resend_ms;
    assert_eq!(proposals(&effects(|fx| proposer.on_tick(after - 1, 0, fx))), []);
    assert_eq!(proposals(&effects(|fx| proposer.on_tick(after, 0, fx))), [(1, strings(&["x"]))]);
    assert_eq!(proposals(&effects(|fx| proposer.on_tick(after + 1, 0, fx))), []);
}

#[test]
fn what_is_chosen_is_announced_once_in_the_leaders_ballot() {
    let mut proposer = plain();
    submit(&mut proposer, &["x"]);
    lot_end(&mut proposer);
    advanced(&mut proposer, 1, Some(b(1, 1)));
    let announce = AcceptorMessage::Announce { ballot: b(1, 1), chosen_upto: s(1) };
    assert_eq!(lot_end(&mut proposer), [send(2, announce.clone()), send(3, announce)]);
    assert_eq!(lot_end(&mut proposer), []);
}

/// n1 leads in 1.1 and proposed x in slot 1; n2 leads in 2.2 and chose y there. Were n1 to announce (1.1, upto 1), a
/// node with the vote (1, 1.1, x) would take x for chosen.
#[test]
fn a_leader_that_hears_of_a_slot_chosen_above_its_ballot_steps_down_and_announces_nothing() {
    for (upto, ballot) in [(1, Some(b(2, 2))), (1, None), (2, Some(b(1, 1)))] {
        let mut proposer = plain();
        submit(&mut proposer, &["x"]);
        lot_end(&mut proposer);
        assert_eq!(advanced(&mut proposer, upto, ballot), []);
        assert_eq!(proposer.leader(), None, "{upto} {ballot:?}");
        assert_eq!(lot_end(&mut proposer), []);
    }
}

#[test]
fn a_nack_with_a_higher_ballot_ends_leading_and_refuses_what_is_in_no_slot() {
    let settings = Settings { window: 1, batch: 1, ..Settings::default() };
    let (mut proposer, _) = leader(settings, vec![]);
    submit(&mut proposer, &["x", "y"]);
    lot_end(&mut proposer);
    let nack = |refused, promised| ProposerMessage::Nack { refused, promised };
    assert_eq!(effects(|fx| proposer.on_message(n(2), nack(b(0, 1), b(2, 3)), fx)), [], "of an earlier ballot");
    let told = deeds(|fx| proposer.on_message(n(2), nack(b(1, 1), b(2, 3)), fx));
    assert_eq!(told, [send(1, refused(&[2], Refusal::NoLeader))], "x may be chosen yet; y was never proposed");
    assert_eq!(proposer.leader(), None);
}

#[test]
fn a_leader_that_reaches_no_quorum_abdicates() {
    let mut proposer = plain();
    let patience = Settings::default().election_ms * 2;
    ack(&mut proposer, 1, 1);
    proposer.on_tick(patience - 1, 0, &mut Effects::new());
    assert!(proposer.leader().is_some());
    ack(&mut proposer, 1, 2);
    proposer.on_tick(patience, 0, &mut Effects::new());
    assert!(proposer.leader().is_some(), "answers may lie behind this tick in the mailbox");
    proposer.on_tick(patience + Settings::default().heartbeat_ms, 0, &mut Effects::new());
    assert_eq!(proposer.leader(), None, "its own answers are no quorum");
}

#[test]
fn a_leader_that_reaches_a_quorum_stays() {
    let mut proposer = plain();
    for (time, round) in (50..5000).step_by(50).zip(2..) {
        let told = effects(|fx| proposer.on_tick(time, 0, fx));
        for effect in told {
            if let Effect::Sync { then, .. } = effect
                && let [Then::Fence(number)] = then[..]
            {
                proposer.on_message(n(1), ProposerMessage::Fenced { number }, &mut Effects::new());
            }
        }
        ack(&mut proposer, 1, round);
        ack(&mut proposer, 3, round);
    }
    assert!(proposer.leader().is_some());
}

#[test]
fn a_leader_whose_disk_has_stalled_abdicates() {
    let mut proposer = plain();
    for (time, round) in (50..5000).step_by(50).zip(2..) {
        proposer.on_tick(time, 0, &mut Effects::new());
        ack(&mut proposer, 1, round);
        ack(&mut proposer, 3, round);
    }
    assert_eq!(proposer.leader(), None, "no fence came back");
}

#[test]
fn rule_3_a_read_waits_for_a_quorum_to_answer_a_round_that_began_after_it() {
    let mut proposer = plain(); // round 1 began with leading
    assert_eq!(read(&mut proposer, 3, 77), []);
    assert_eq!(ack(&mut proposer, 1, 1), []);
    assert_eq!(ack(&mut proposer, 2, 1), [], "round 1 began before the read");
    let heartbeat = AcceptorMessage::Heartbeat { ballot: b(1, 1), round: 2, chosen_upto: s(0), everywhere_upto: s(0) };
    let expected: Vec<Effect> = (1..=3).map(|node| send(node, heartbeat.clone())).collect();
    assert_eq!(lot_end(&mut proposer), expected);
    assert_eq!(ack(&mut proposer, 1, 2), []);
    assert_eq!(ack(&mut proposer, 1, 2), [], "a node counts once");
    let index = ExecutorMessage::ReadIndexed { batch: 77, index: s(0) };
    assert_eq!(ack(&mut proposer, 2, 2), [send(3, index)]);
    assert_eq!(ack(&mut proposer, 3, 2), [], "and is answered once");
}

#[test]
fn rule_3_a_new_leader_gives_no_index_before_every_merged_slot_is_chosen() {
    let (mut proposer, _) = leader(Settings::default(), vec![vote(2, b(0, 2), "y")]);
    read(&mut proposer, 3, 77);
    lot_end(&mut proposer);
    ack(&mut proposer, 1, 2);
    assert_eq!(ack(&mut proposer, 2, 2), [], "slots 1 and 2 may hold what another client was told is done");
    assert_eq!(advanced(&mut proposer, 1, Some(b(1, 1))), []);
    let index = ExecutorMessage::ReadIndexed { batch: 77, index: s(2) };
    assert_eq!(advanced(&mut proposer, 2, Some(b(1, 1))), [send(3, index)]);
}

#[test]
fn rule_3_a_deposed_leader_gives_no_index() {
    let mut proposer = plain();
    read(&mut proposer, 3, 77);
    lot_end(&mut proposer);
    read(&mut proposer, 2, 78);
    let heard = ProposerMessage::Heard { ballot: b(2, 2) };
    let told = deeds(|fx| proposer.on_message(n(1), heard, fx));
    let refusal = |node, batch| send(node, ExecutorMessage::ReadRefused { batch });
    assert_eq!(told, [refusal(3, 77), refusal(2, 78), send(1, ExecutorMessage::LeaderChanged {})]);
    ack(&mut proposer, 1, 2);
    assert_eq!(ack(&mut proposer, 3, 2), []);
    assert_eq!(read(&mut proposer, 3, 79), [refusal(3, 79)], "a peer's read is not passed on");
    let passed_on = send(2, ProposerMessage::ReadIndex { batch: 80 });
    assert_eq!(read(&mut proposer, 1, 80), [passed_on], "our own executor's is");
}

#[test]
fn many_reads_share_one_round() {
    let mut proposer = plain();
    read(&mut proposer, 2, 1);
    read(&mut proposer, 3, 2);
    assert_eq!(lot_end(&mut proposer).len(), 3);
    read(&mut proposer, 3, 3);
    assert_eq!(lot_end(&mut proposer), [], "the next round begins when this one is answered");
    ack(&mut proposer, 1, 2);
    assert_eq!(ack(&mut proposer, 2, 2).len(), 2);
    assert_eq!(lot_end(&mut proposer).len(), 3);
}

#[test]
fn a_follower_forwards_once_and_whoever_knows_no_leader_refuses() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    assert_eq!(submit(&mut proposer, &["x"]), [send(1, refused(&[1], Refusal::NotAdmitted))]);
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
    assert_eq!(submit(&mut proposer, &["x"]), [send(1, refused(&[1], Refusal::NoLeader))]);
    let told = deeds(|fx| proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 2) }, fx));
    assert_eq!(told, [send(1, ExecutorMessage::LeaderChanged {})]);
    let forward = ProposerMessage::Forward { commands: vec![command(1, 1, "x")] };
    assert_eq!(submit(&mut proposer, &["x"]), [send(2, forward.clone())]);
    let told = effects(|fx| proposer.on_message(n(3), forward, fx));
    assert_eq!(told, [send(3, refused(&[1], Refusal::NoLeader))], "not forwarded a second time");
}

#[test]
fn what_is_too_large_or_too_much_is_refused() {
    let mut proposer = plain();
    let limit = MAX_OPERATION_BYTES as u64;
    let large = "x".repeat(MAX_OPERATION_BYTES + 1);
    assert_eq!(submit(&mut proposer, &[&large]), [send(1, refused(&[1], Refusal::TooLarge { limit }))]);
    let full = "x".repeat(MAX_OPERATION_BYTES - 64);
    for _ in 0..MAX_QUEUE_BYTES / MAX_OPERATION_BYTES {
        assert_eq!(submit(&mut proposer, &[&full]), []);
    }
    assert_eq!(submit(&mut proposer, &[&full]), [send(1, refused(&[1], Refusal::Busy))]);
}

#[test]
fn what_just_fits_is_taken_and_one_byte_more_is_not() {
    let mut proposer = plain();
    let largest = sized(1, MAX_OPERATION_BYTES);
    assert_eq!(effects(|fx| proposer.on_submit(vec![largest], fx)), []);
    let rest = MAX_QUEUE_BYTES - MAX_OPERATION_BYTES;
    let filling = vec![sized(2, 1 << 20); rest >> 20];
    let last = sized(3, rest - ((rest >> 20) << 20));
    assert_eq!(effects(|fx| proposer.on_submit(filling, fx)), []);
    assert_eq!(effects(|fx| proposer.on_submit(vec![last], fx)), []);
    assert_eq!(submit(&mut proposer, &[""]), [send(1, refused(&[1], Refusal::Busy))]);
}

#[test]
fn a_ballot_of_its_own_is_no_leader_to_forward_to() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
    proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 1) }, &mut Effects::new());
    assert_eq!(submit(&mut proposer, &["x"]), [send(1, refused(&[1], Refusal::NoLeader))]);
}

#[test]
fn settled_slots_are_learned_from_whoever_knows_them() {
    let mut proposer = plain();
    let settled = ProposerMessage::Settled { ballot: b(1, 1), upto: s(4) };
    let behind = send(1, LearnerMessage::Behind { chosen_upto: s(4), supplier: n(3) });
    assert_eq!(effects(|fx| proposer.on_message(n(3), settled, fx)), [behind]);
}

#[test]
fn reads_beyond_what_a_leader_can_hold_are_refused() {
    let mut proposer = plain();
    for batch in 0..1 << 16 {
        assert_eq!(read(&mut proposer, 3, batch), []);
    }
    assert_eq!(read(&mut proposer, 3, 1 << 16), [send(3, ExecutorMessage::ReadRefused { batch: 1 << 16 })]);
}

/// Nothing but answers from acceptors can end leading.
fn patient() -> Settings {
    Settings { election_ms: 1_000_000, disk_stall_ms: 4_000_000, ..Settings::default() }
}

#[test]
fn an_unanswered_accept_is_repeated_less_and_less_often() {
    let (mut proposer, _) = leader(patient(), vec![]);
    submit(&mut proposer, &["x"]);
    lot_end(&mut proposer);
    let mut repeats = |time| !proposals(&effects(|fx| proposer.on_tick(time, 0, fx))).is_empty();
    let times: Vec<u64> = (0..8000).step_by(10).filter(|time| repeats(*time)).collect();
    assert_eq!(times, [150, 450, 1050, 2250, 4250, 6250], "twice as long each time, two seconds at most");
}

#[test]
fn what_is_sent_again_at_once_is_about_one_message() {
    let (mut proposer, _) = leader(Settings { batch: 1, ..patient() }, vec![]);
    let name = "x".repeat(MAX_MESSAGE_BYTES / 4 - v("").as_bytes().len());
    submit(&mut proposer, &[name.as_str(); 8]);
    lot_end(&mut proposer);
    let slots = |proposer: &mut Proposer, time| {
        let told = effects(|fx| proposer.on_tick(time, 0, fx));
        proposals(&told).into_iter().map(|(slot, _)| slot).collect::<Vec<_>>()
    };
    assert_eq!(slots(&mut proposer, 150), [1, 2, 3]);
    assert_eq!(slots(&mut proposer, 160), [0_u64; 0], "the lowest come first: nothing can be executed before them");
    advanced(&mut proposer, 3, Some(b(1, 1)));
    assert_eq!(slots(&mut proposer, 170), [4, 5, 6]);
    advanced(&mut proposer, 6, Some(b(1, 1)));
    assert_eq!(slots(&mut proposer, 180), [7, 8]);
}

#[test]
fn a_leader_without_answers_stays_for_twice_the_election_time_and_a_heartbeat() {
    let mut proposer = plain();
    let mut leads = |time| {
        proposer.on_tick(time, 0, &mut Effects::new());
        proposer.leader().is_some()
    };
    let stays = (0..2000).step_by(10).take_while(|time| leads(*time)).last();
    assert_eq!(stays, Some(640));
}

#[test]
fn the_own_disk_is_asked_now_and_then_and_a_late_answer_stands_for_no_newer_question() {
    let settings = Settings { election_ms: 1_000_000, ..Settings::default() };
    let mut proposer = Proposer::new(n(1), three(), settings, 7, Slot::ZERO);
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
    proposer.on_tick(1000, 0, &mut Effects::new());
    proposer.prepare(&mut Effects::new());
    proposer.on_promise(n(1), promise(b(1, 1), 0, vec![]), &mut Effects::new());
    proposer.on_promise(n(2), promise(b(1, 1), 0, vec![]), &mut Effects::new());
    let fence = |proposer: &mut Proposer, time| {
        let told = effects(|fx| proposer.on_tick(time, 0, fx));
        told.into_iter().find(|effect| matches!(effect, Effect::Sync { .. }))
    };
    let asked = |number| Some(sync(vec![], vec![Then::Fence(number)]));
    assert_eq!(fence(&mut proposer, 1499), None);
    assert_eq!(fence(&mut proposer, 1500), asked(1));
    assert_eq!(fence(&mut proposer, 2100), None, "one question at a time");
    proposer.on_message(n(1), ProposerMessage::Fenced { number: 1 }, &mut Effects::new());
    assert_eq!(fence(&mut proposer, 2110), asked(2));
    proposer.on_message(n(1), ProposerMessage::Fenced { number: 1 }, &mut Effects::new());
    fence(&mut proposer, 4109);
    assert!(proposer.leader().is_some());
    fence(&mut proposer, 4110);
    assert_eq!(proposer.leader(), None, "the second question was never answered");
}

#[test]
fn a_follower_renews_its_patience_follows_higher_ballots_and_ignores_lower_ones() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    let hear = |proposer: &mut Proposer, time, ballot| {
        proposer.now_ms = time;
        let told = effects(|fx| proposer.on_message(n(1), ProposerMessage::Heard { ballot }, fx));
        match proposer.phase() {
            Phase::Following { leader: Some(leader), deadline_ms } => (*leader, *deadline_ms, told.len()),
            other => panic!("it follows: {other:?}"),
        }
    };
    let (followed, first, told) = hear(&mut proposer, 0, b(2, 2));
    assert_eq!((followed, told), (b(2, 2), 2), "a note, and word to the executor");
    let (_, second, told) = hear(&mut proposer, 1000, b(2, 2));
    assert!((1300..1450).contains(&second) && first < 450 && told == 0);
    assert_eq!(hear(&mut proposer, 2000, b(1, 3)), (b(2, 2), second, 0));
    let (followed, _, told) = hear(&mut proposer, 3000, b(2, 3));
    assert_eq!((followed, told), (b(2, 3), 2));
}

#[test]
fn a_leader_goes_on_when_it_hears_of_lower_ballots_and_of_its_own() {
    let mut proposer = plain();
    for ballot in [b(0, 3), b(1, 1)] {
        assert_eq!(effects(|fx| proposer.on_message(n(1), ProposerMessage::Heard { ballot }, fx)), []);
        let nack = ProposerMessage::Nack { refused: b(1, 1), promised: ballot };
        assert_eq!(effects(|fx| proposer.on_message(n(2), nack, fx)), []);
    }
    assert_eq!(proposer.leader(), Some(b(1, 1)));
}

#[test]
fn settled_slots_matter_to_the_leader_of_that_ballot_and_only_if_it_does_not_know_them() {
    let mut proposer = plain();
    let settled = |proposer: &mut Proposer, ballot, upto| {
        let settled = ProposerMessage::Settled { ballot, upto: s(upto) };
        effects(|fx| proposer.on_message(n(3), settled, fx))
    };
    assert_eq!(settled(&mut proposer, b(0, 1), 4), [], "of an earlier ballot");
    assert_eq!(settled(&mut proposer, b(1, 1), 0), [], "known");
    let mut follower = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    assert_eq!(settled(&mut follower, b(1, 1), 4), []);
}

#[test]
fn what_waits_and_what_is_in_flight_is_counted() {
    let (mut proposer, _) = leader(Settings { window: 2, batch: 1, ..Settings::default() }, vec![]);
    let counts = |proposer: &Proposer| match proposer.phase() {
        Phase::Leading(leading) => (proposer.queued(), leading.in_flight()),
        other => panic!("it leads: {other:?}"),
    };
    assert_eq!(counts(&proposer), (0, 0));
    submit(&mut proposer, &["x", "y", "z", "again"]);
    assert_eq!(counts(&proposer), (4, 0));
    lot_end(&mut proposer);
    assert_eq!(counts(&proposer), (2, 2));
}

#[test]
fn a_slot_takes_commands_up_to_its_limit_in_bytes_and_makes_room_in_the_queue() {
    let (mut proposer, _) = leader(Settings { window: 1, ..Settings::default() }, vec![]);
    let large = |count| vec![sized(1, MAX_BATCH_BYTES / 2); count];
    let full = MAX_QUEUE_BYTES / (MAX_BATCH_BYTES / 2);
    assert_eq!(effects(|fx| proposer.on_submit(large(full), fx)), []);
    let told = lot_end(&mut proposer);
    let taken: Vec<usize> = proposals(&told).iter().map(|(_, operations)| operations.len()).collect();
    assert_eq!((taken, proposer.queued()), (vec![2], full - 2));
    assert_eq!(effects(|fx| proposer.on_submit(large(3), fx)), [send(1, refused(&[1], Refusal::Busy))]);
}

#[test]
fn a_long_lot_is_forwarded_in_messages_of_bounded_size() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 2) }, &mut Effects::new());
    let told = effects(|fx| proposer.on_submit(vec![sized(1, MAX_MESSAGE_BYTES / 4); 6], fx));
    let lengths = told.iter().map(|effect| match effect {
        Effect::Send { to: NodeId(2), message: Message::Proposer(ProposerMessage::Forward { commands }) } => {
            commands.len()
        }
        other => panic!("not forwarded: {other:?}"),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [4, 2]);
}

#[test]
fn many_slots_travel_in_messages_of_bounded_size() {
    let (mut proposer, _) = leader(Settings { batch: 1, ..Settings::default() }, vec![]);
    let name = "x".repeat(MAX_MESSAGE_BYTES / 4 - v("").as_bytes().len());
    submit(&mut proposer, &[name.as_str(); 6]);
    let told = lot_end(&mut proposer);
    let slots = |effect: &Effect| match effect {
        Effect::Send { to: NodeId(2), message: Message::Acceptor(AcceptorMessage::Accept { proposals, .. }) } => {
            Some(proposals.len())
        }
        _ => None,
    };
    assert_eq!(told.iter().filter_map(slots).collect::<Vec<_>>(), [4, 2]);
}
