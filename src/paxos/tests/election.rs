//! The way to leadership: canvass, reserve, prepare, merge. P2b and P2c are those of "Paxos Made Simple", section 2.2.

use super::proposer::{leader, proposals};
use super::terse::*;
use crate::paxos::message::{Prepare, Promise};
use crate::paxos::proposer::Phase;
use crate::paxos::settings::MAX_OPEN_SLOTS;
use crate::paxos::*;

/// n1 of three, admitted, hears no leader.
fn idle() -> Proposer {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
    proposer
}

/// It prepares ballot 1.1.
fn candidate() -> Proposer {
    let mut proposer = idle();
    proposer.prepare(&mut Effects::new());
    proposer
}

fn canvassing() -> (Proposer, u64) {
    let mut proposer = idle();
    let told = deeds(|fx| proposer.on_tick(10_000, 0, fx));
    let Some(Effect::Send { to: NodeId(2), message: Message::Proposer(ProposerMessage::Canvass { number, .. }) }) =
        told.first()
    else {
        panic!("no canvass: {told:?}")
    };
    (proposer, *number)
}

fn canvassed(proposer: &mut Proposer, from: u32, number: u64, hears_leader: bool, upto: u64) -> Vec<Effect> {
    let answer = ProposerMessage::Canvassed { number, hears_leader, chosen_upto: s(upto), highest: b(4, 3) };
    deeds(|fx| proposer.on_message(n(from), answer, fx))
}

fn promised(proposer: &mut Proposer, from: u32, promise: Promise) -> Vec<Effect> {
    effects(|fx| proposer.on_promise(n(from), promise, fx))
}

#[test]
fn a_ballot_is_reserved_before_its_prepare_leaves_and_is_above_all_that_were_heard_of() {
    let (mut proposer, number) = canvassing();
    let ballot = b(5, 1);
    let prepare = Then::Prepare(vec![n(1), n(2), n(3)], Prepare { ballot, from: s(1) });
    assert_eq!(canvassed(&mut proposer, 2, number, false, 0), [sync(vec![Record::Reserved { ballot }], vec![prepare])]);
    // A restart goes above what was reserved, whether or not anybody heard of it.
    let mut again = idle();
    again.apply_record(&Record::Reserved { ballot });
    let told = deeds(|fx| again.prepare(fx));
    assert!(
        matches!(&told[..], [Effect::Sync { records, .. }] if records[..] == [Record::Reserved { ballot: b(6, 1) }])
    );
}

#[test]
fn the_last_round_is_never_used_twice() {
    let mut proposer = idle();
    proposer.apply_record(&Record::Reserved { ballot: b(u64::MAX, 1) });
    assert_eq!(deeds(|fx| proposer.prepare(fx)), []);
    assert!(matches!(proposer.phase(), Phase::Following { leader: None, .. }));
}

#[test]
fn nobody_prepares_while_a_quorum_does_not_say_that_it_hears_no_leader() {
    let (mut proposer, number) = canvassing();
    assert_eq!(canvassed(&mut proposer, 2, number, true, 0), [], "n2 hears one");
    assert_eq!(canvassed(&mut proposer, 3, number + 1, false, 0), [], "an earlier canvass");
    assert_eq!(canvassed(&mut proposer, 3, number, false, 0).len(), 1);
}

#[test]
fn whoever_is_a_window_behind_catches_up_and_does_not_prepare() {
    let (mut proposer, number) = canvassing();
    let behind = |upto, node| send(1, LearnerMessage::Behind { chosen_upto: s(upto), supplier: n(node) });
    let window = u64::from(Settings::default().window);
    assert_eq!(canvassed(&mut proposer, 2, number, false, window + 1), [behind(window + 1, 2)]);
    let told = canvassed(&mut proposer, 3, number, false, window);
    assert_eq!(told[0], behind(window, 3));
    assert!(matches!(told[1], Effect::Sync { .. }));
}

#[test]
fn nobody_canvasses_before_it_is_admitted() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    assert_eq!(effects(|fx| proposer.on_tick(10_000, 0, fx)), []);
}

#[test]
fn a_leader_that_asks_has_abdicated_and_one_that_is_overdue_does_not_count() {
    let mut proposer = idle();
    proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 2) }, &mut Effects::new());
    let asked = |proposer: &mut Proposer, from| {
        let canvass = ProposerMessage::Canvass { number: 9, chosen_upto: s(0) };
        let told = effects(|fx| proposer.on_message(n(from), canvass, fx));
        let [Effect::Send { message: Message::Proposer(ProposerMessage::Canvassed { hears_leader, .. }), .. }] =
            told[..]
        else {
            panic!("no answer: {told:?}")
        };
        hears_leader
    };
    assert!(asked(&mut proposer, 3));
    assert!(!asked(&mut proposer, 2), "the leader itself asks");
    proposer.on_tick(10_000, 0, &mut Effects::new());
    assert!(!asked(&mut proposer, 3), "not heard for long");
    let (mut leader, _) = leader(Settings::default(), vec![]);
    assert!(asked(&mut leader, 3));
}

/// The deadline of the phase that a proposer is in after it heard a leader, or stepped back, at time 1000.
fn deadlines(what: fn(&mut Proposer)) -> (u64, u64) {
    let deadline = |seed| {
        let mut proposer = Proposer::new(n(1), three(), Settings::default(), seed, Slot::ZERO);
        proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
        proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(1, 2) }, &mut Effects::new());
        proposer.on_tick(1000, 0, &mut Effects::new());
        what(&mut proposer);
        match proposer.phase() {
            Phase::Following { deadline_ms, .. } => deadline_ms - 1000,
            other => panic!("following somebody or nobody: {other:?}"),
        }
    };
    let all: Vec<u64> = (0..2000).map(deadline).collect();
    (*all.iter().min().expect("many"), *all.iter().max().expect("many"))
}

#[test]
fn a_leader_is_waited_for_at_least_the_election_time_and_at_most_half_as_long_again() {
    let heard = |proposer: &mut Proposer| {
        proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 3) }, &mut Effects::new());
    };
    assert_eq!(deadlines(heard), (300, 449), "the default election time is 300 ms");
}

#[test]
fn whoever_steps_back_leaves_the_field_for_a_random_while() {
    let duel = |proposer: &mut Proposer| {
        proposer.prepare(&mut Effects::new());
        let Some(Phase::Preparing(preparing)) = Some(proposer.phase()) else { panic!("phase 1") };
        let nack = ProposerMessage::Nack { refused: preparing.ballot, promised: b(9, 3) };
        proposer.on_message(n(3), nack, &mut Effects::new());
    };
    assert_eq!(deadlines(duel), (75, 374), "a quarter of the election time, and up to all of it on top");
}

#[test]
fn a_canvass_without_enough_answers_is_repeated_after_a_while_and_told_of_once() {
    let mut proposer = idle();
    let canvasses = |told: &[Effect]| {
        let is_canvass = |effect: &&Effect| {
            matches!(effect, Effect::Send { message: Message::Proposer(ProposerMessage::Canvass { .. }), .. })
        };
        told.iter().filter(is_canvass).count()
    };
    let told = effects(|fx| proposer.on_tick(10_000, 0, fx));
    assert_eq!((told.first(), canvasses(&told)), (Some(&Effect::Note(Event::Canvassing {})), 2));
    assert_eq!(effects(|fx| proposer.on_tick(10_074, 0, fx)), [], "not before a quarter of the election time");
    let again = effects(|fx| proposer.on_tick(10_375, 0, fx));
    assert_eq!((again.len(), canvasses(&again)), (2, 2), "and nothing else");
}

#[test]
fn whoever_is_not_admitted_looks_again_after_the_election_time() {
    let mut proposer = Proposer::new(n(1), three(), Settings::default(), 7, Slot::ZERO);
    proposer.on_tick(10_000, 0, &mut Effects::new());
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut Effects::new());
    assert_eq!(effects(|fx| proposer.on_tick(10_299, 0, fx)), []);
    assert_eq!(deeds(|fx| proposer.on_tick(10_300, 0, fx)).len(), 2);
}

#[test]
fn a_leader_counts_as_heard_until_its_deadline_and_whoever_knows_more_is_asked_for_it() {
    let mut proposer = idle();
    proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(2, 2) }, &mut Effects::new());
    let Phase::Following { deadline_ms, .. } = *proposer.phase() else { panic!("it follows") };
    let canvass = |upto| ProposerMessage::Canvass { number: 9, chosen_upto: s(upto) };
    let answer = |hears_leader| {
        send(3, ProposerMessage::Canvassed { number: 9, hears_leader, chosen_upto: s(0), highest: b(2, 2) })
    };
    proposer.on_tick(deadline_ms - 1, 0, &mut Effects::new());
    assert_eq!(effects(|fx| proposer.on_message(n(3), canvass(0), fx)), [answer(true)]);
    proposer.now_ms = deadline_ms; // the tick itself would make it ask, too
    let behind = send(1, LearnerMessage::Behind { chosen_upto: s(1), supplier: n(3) });
    assert_eq!(effects(|fx| proposer.on_message(n(3), canvass(1), fx)), [answer(false), behind]);
}

#[test]
fn a_prepare_is_repeated_every_resend_time_and_each_attempt_may_take_twice_as_long() {
    let mut proposer = idle();
    proposer.on_tick(10_000, 0, &mut Effects::new());
    for (start, patience) in [(10_000, 1200), (20_000, 2400), (30_000, 4800)] {
        proposer.now_ms = start;
        proposer.prepare(&mut Effects::new());
        let mut sent = |time| effects(|fx| proposer.on_tick(time, 0, fx)).len();
        let times = [start + 149, start + 150, start + 151, start + 299, start + 300];
        assert_eq!(times.map(&mut sent), [0, 1, 0, 0, 1]);
        sent(start + patience - 1);
        assert!(matches!(proposer.phase(), Phase::Preparing(_)));
        proposer.on_tick(start + patience, 0, &mut Effects::new());
        assert!(matches!(proposer.phase(), Phase::Following { leader: None, .. }));
    }
}

#[test]
fn p2c_of_several_votes_the_one_with_the_highest_ballot_is_proposed_again() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    promised(&mut proposer, 2, promise(ballot, 0, vec![vote(1, b(0, 3), "new"), vote(2, b(0, 2), "only")]));
    let told = promised(&mut proposer, 3, promise(ballot, 0, vec![vote(1, b(0, 2), "old")]));
    assert_eq!(proposals(&told), [(1, vec!["new".to_owned()]), (2, vec!["only".to_owned()])]);
    let event = Event::Leading { ballot, first: s(1), merged: 2, holes: 0 };
    assert_eq!(told[0], Effect::Note(event));
}

#[test]
fn p2c_the_highest_ballot_wins_whoever_reports_it_first_and_the_first_report_of_one_ballot_stays() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    promised(&mut proposer, 2, promise(ballot, 0, vec![vote(1, b(0, 2), "old"), vote(2, b(0, 3), "same")]));
    let told = promised(&mut proposer, 3, promise(ballot, 0, vec![vote(1, b(0, 3), "new"), vote(2, b(0, 3), "same")]));
    assert_eq!(proposals(&told), [(1, vec!["new".to_owned()]), (2, vec!["same".to_owned()])]);
}

#[test]
fn a_candidate_that_learns_more_leads_no_sooner_than_a_quorum_has_promised() {
    let mut proposer = candidate();
    promised(&mut proposer, 1, promise(b(1, 1), 0, vec![]));
    let advanced = ProposerMessage::Advanced { chosen_upto: s(1), ballot: Some(b(0, 2)) };
    assert_eq!(effects(|fx| proposer.on_message(n(1), advanced, fx)), []);
    assert!(matches!(proposer.phase(), Phase::Preparing(_)));
}

#[test]
fn a_candidate_goes_above_what_its_own_acceptor_had_promised() {
    let mut proposer = idle();
    proposer.hint(b(6, 3));
    proposer.hint(b(2, 2));
    proposer.prepare(&mut Effects::new());
    assert!(matches!(proposer.phase(), Phase::Preparing(preparing) if preparing.ballot == b(7, 1)));
}

#[test]
fn section_3_gaps_become_no_ops_and_new_commands_come_behind() {
    let (mut proposer, told) = leader(Settings::default(), vec![vote(3, b(0, 2), "z")]);
    assert_eq!(proposals(&told), [(1, vec![]), (2, vec![]), (3, vec!["z".to_owned()])]);
    let advanced = ProposerMessage::Advanced { chosen_upto: s(3), ballot: Some(b(1, 1)) };
    proposer.on_message(n(1), advanced, &mut Effects::new());
    proposer.on_submit(vec![command(1, 1, "x")], &mut Effects::new());
    assert_eq!(proposals(&effects(|fx| proposer.on_lot_end(fx))), [(4, vec!["x".to_owned()])]);
}

#[test]
fn a_quorum_of_whole_promises_for_this_very_ballot_is_needed() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    assert_eq!(promised(&mut proposer, 2, promise(ballot, 0, vec![])), []);
    assert_eq!(promised(&mut proposer, 2, promise(ballot, 0, vec![])), [], "a node counts once");
    assert_eq!(ignored(|fx| proposer.on_promise(n(3), promise(b(0, 1), 0, vec![]), fx)), "of another ballot");
    assert_eq!(ignored(|fx| proposer.on_promise(n(9), promise(ballot, 0, vec![]), fx)), "absurd");
    let part = |part, votes| Promise { part, parts: 2, ..promise(ballot, 0, votes) };
    assert_eq!(promised(&mut proposer, 3, part(1, vec![vote(2, b(0, 3), "y")])), []);
    let told = promised(&mut proposer, 3, part(0, vec![vote(1, b(0, 3), "x")]));
    assert_eq!(proposals(&told), [(1, vec!["x".to_owned()]), (2, vec!["y".to_owned()])]);
}

/// n2 answers Prepare with slots [1 2][3 4][5 6]; it settles slot 1 and answers the repeated Prepare with
/// [2 3][4 5][6]. Parts 0 of the one and 1, 2 of the other lack slot 3: a no-op there would undo what is chosen.
#[test]
fn parts_of_two_answers_to_one_prepare_are_not_put_together() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    promised(&mut proposer, 1, promise(ballot, 0, vec![]));
    let part = |settled, part, slots: &[u64]| Promise {
        part,
        parts: 3,
        ..promise(ballot, settled, slots.iter().map(|slot| vote(*slot, b(0, 2), "x")).collect())
    };
    promised(&mut proposer, 2, part(0, 0, &[1, 2]));
    promised(&mut proposer, 2, part(1, 1, &[4, 5]));
    assert_eq!(promised(&mut proposer, 2, part(1, 2, &[6])), []);
    assert_eq!(proposer.leader(), None);
    let told = promised(&mut proposer, 2, part(1, 0, &[2, 3]));
    let behind = LearnerMessage::Behind { chosen_upto: s(1), supplier: n(2) };
    assert_eq!(told, [send(1, behind)]);
    let advanced = ProposerMessage::Advanced { chosen_upto: s(1), ballot: Some(b(0, 2)) };
    let told = effects(|fx| proposer.on_message(n(1), advanced, fx));
    let x = || vec!["x".to_owned()];
    assert_eq!(proposals(&told), [(2, x()), (3, x()), (4, x()), (5, x()), (6, x())]);
}

/// n1, n2 chose X in slot 5 and forgot their votes; n3 must not take slot 5 for a hole.
#[test]
fn rule_1_a_candidate_proposes_nothing_at_or_below_what_its_quorum_has_settled() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    promised(&mut proposer, 1, promise(ballot, 0, vec![vote(3, b(0, 3), "old"), vote(6, b(0, 3), "open")]));
    let told = promised(&mut proposer, 2, promise(ballot, 5, vec![]));
    assert_eq!(told, [send(1, LearnerMessage::Behind { chosen_upto: s(5), supplier: n(2) })]);
    assert_eq!(proposer.leader(), None);
    let advanced = |upto| ProposerMessage::Advanced { chosen_upto: s(upto), ballot: Some(b(0, 3)) };
    let told = effects(|fx| proposer.on_message(n(1), advanced(4), fx));
    assert_eq!(proposals(&told), [], "not all of it is known yet");
    let told = effects(|fx| proposer.on_message(n(1), advanced(5), fx));
    assert_eq!(proposals(&told), [(6, vec!["open".to_owned()])]);
}

#[test]
fn rule_1_if_the_supplier_dies_the_candidate_prepares_anew() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    promised(&mut proposer, 1, promise(ballot, 0, vec![]));
    promised(&mut proposer, 2, promise(ballot, 5, vec![]));
    proposer.on_tick(Settings::default().election_ms * 4, 0, &mut Effects::new());
    assert!(matches!(proposer.phase(), Phase::Following { leader: None, .. }));
}

#[test]
fn a_prepare_that_somebody_has_not_answered_is_sent_to_it_again_behind_a_fence() {
    let mut proposer = candidate();
    promised(&mut proposer, 2, promise(b(1, 1), 0, vec![]));
    let prepare = Prepare { ballot: b(1, 1), from: s(1) };
    let told = effects(|fx| proposer.on_tick(Settings::default().resend_ms, 0, fx));
    assert_eq!(told, [sync(vec![], vec![Then::Prepare(vec![n(1), n(3)], prepare)])]);
}

#[test]
fn a_promise_that_makes_no_sense_is_believed_in_nothing() {
    let (mut proposer, ballot) = (candidate(), b(1, 1));
    let far = s(MAX_OPEN_SLOTS + 1).0;
    let absurd = [
        Promise { part: 1, ..promise(ballot, 0, vec![]) },
        promise(ballot, 0, vec![vote(2, b(0, 2), "x"), vote(1, b(0, 2), "y")]),
        promise(ballot, 0, vec![vote(far, b(0, 2), "x")]),
        promise(ballot, 0, vec![vote(u64::MAX, b(0, 2), "x")]),
        promise(ballot, u64::MAX, vec![vote(u64::MAX, b(0, 2), "x")]),
        Promise { parts: u32::MAX, ..promise(ballot, 0, vec![]) },
    ];
    for promise in absurd {
        assert_eq!(ignored(|fx| proposer.on_promise(n(2), promise, fx)), "absurd");
    }
    // A part of a promise with an absurd watermark, never completed, must not stretch the merged log.
    let half = Promise { parts: 2, ..promise(ballot, u64::MAX / 2, vec![vote(u64::MAX / 2 + 1, b(0, 2), "x")]) };
    promised(&mut proposer, 2, half);
    promised(&mut proposer, 1, promise(ballot, 0, vec![]));
    promised(&mut proposer, 3, promise(ballot, 0, vec![]));
    assert_eq!(proposer.leader(), Some(ballot));
}

#[test]
fn a_candidate_that_hears_a_leader_with_a_higher_ballot_follows_it() {
    let mut proposer = candidate();
    proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(1, 0) }, &mut Effects::new());
    assert!(matches!(proposer.phase(), Phase::Preparing(_)), "a lower one changes nothing");
    let told = effects(|fx| proposer.on_message(n(1), ProposerMessage::Heard { ballot: b(1, 2) }, fx));
    let following = Effect::Note(Event::Following { ballot: b(1, 2) });
    assert_eq!(told, [following, send(1, ExecutorMessage::LeaderChanged {})]);
    assert_eq!(proposer.leader(), Some(b(1, 2)));
}
