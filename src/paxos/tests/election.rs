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
fn section_3_gaps_become_no_ops_and_new_commands_come_behind() {
    let (mut proposer, told) = leader(Settings::default(), vec![vote(3, b(0, 2), "z")]);
    assert_eq!(proposals(&told), [(1, vec![]), (2, vec![]), (3, vec!["z".to_owned()])]);
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
