//! The acceptor's rules, each with the run that shows it. P1, P1a and P2 are those of "Paxos Made Simple", section 2.

use super::terse::*;
use crate::paxos::message::{Accepted, Prepare};
use crate::paxos::settings::{MAX_MESSAGE_BYTES, MAX_OPEN_SLOTS};
use crate::paxos::*;

fn acceptor() -> Acceptor {
    let mut acceptor = Acceptor::new(n(1), three(), Slot::ZERO, BatchNumber(0));
    acceptor.on_greeted(n(2), BatchNumber(0), BatchNumber(0), &mut Effects::new());
    acceptor
}

fn accept(acceptor: &mut Acceptor, ballot: Ballot, slot: u64, name: &str) -> Vec<Effect> {
    effects(|fx| acceptor.on_accept(ballot.node, ballot, vec![(s(slot), v(name))], Slot::ZERO, fx))
}

fn prepare(acceptor: &mut Acceptor, ballot: Ballot, from: u64) -> Vec<Effect> {
    effects(|fx| acceptor.on_prepare(ballot.node, Prepare { ballot, from: s(from) }, fx))
}

fn heard(ballot: Ballot) -> Effect {
    send(1, ProposerMessage::Heard { ballot })
}

fn voted(ballot: Ballot, slot: u64, name: &str, records: Vec<Record>) -> Vec<Effect> {
    vec![
        heard(ballot),
        sync(records, vec![Then::Accepted(ballot.node, Accepted { ballot, slots: vec![s(slot)] })]),
        send(1, LearnerMessage::Voting { ballot, proposals: vec![(s(slot), v(name))] }),
    ]
}

fn record(slot: u64, ballot: Ballot, name: &str) -> Record {
    Record::Vote { slot: s(slot), ballot, value: v(name) }
}

fn nack(refused: Ballot, promised: Ballot) -> Vec<Effect> {
    vec![send(refused.node.0, ProposerMessage::Nack { refused, promised })]
}

#[test]
fn p1_an_acceptor_accepts_the_first_proposal_that_it_receives() {
    let mut acceptor = acceptor();
    let expected = voted(b(1, 2), 1, "x", vec![record(1, b(1, 2), "x")]);
    assert_eq!(accept(&mut acceptor, b(1, 2), 1, "x"), expected);
    assert_eq!(acceptor.votes()[&s(1)], (b(1, 2), v("x")));
}

#[test]
fn p1a_an_acceptor_accepts_a_ballot_unless_it_has_promised_a_higher_one() {
    let mut acceptor = acceptor();
    prepare(&mut acceptor, b(2, 3), 1);
    assert_eq!(accept(&mut acceptor, b(1, 2), 1, "x"), nack(b(1, 2), b(2, 3)));
    assert!(acceptor.votes().is_empty());
    assert_eq!(accept(&mut acceptor, b(2, 3), 1, "y"), voted(b(2, 3), 1, "y", vec![record(1, b(2, 3), "y")]));
    assert_eq!(accept(&mut acceptor, b(2, 2), 1, "z"), nack(b(2, 2), b(2, 3)), "one round, a lower node");
}

#[test]
fn an_acceptor_answers_no_prepare_below_its_promise() {
    let mut acceptor = acceptor();
    prepare(&mut acceptor, b(2, 3), 1);
    assert_eq!(prepare(&mut acceptor, b(1, 2), 1), nack(b(1, 2), b(2, 3)));
    assert_eq!(acceptor.promised(), b(2, 3));
}

#[test]
fn a_vote_is_a_promise_of_its_ballot_too() {
    let mut acceptor = acceptor();
    accept(&mut acceptor, b(3, 2), 1, "x");
    assert_eq!(prepare(&mut acceptor, b(2, 3), 1), nack(b(2, 3), b(3, 2)));
    assert_eq!(accept(&mut acceptor, b(2, 3), 2, "y"), nack(b(2, 3), b(3, 2)), "in every slot");
}

#[test]
fn section_2_4_promises_and_votes_survive_a_restart() {
    let mut again = Acceptor::new(n(1), three(), Slot::ZERO, BatchNumber(2));
    again.apply_record(&record(4, b(1, 2), "x"));
    again.apply_record(&Record::Promise { ballot: b(2, 3) });
    again.on_greeted(n(2), BatchNumber(2), BatchNumber(2), &mut Effects::new());
    assert_eq!(accept(&mut again, b(1, 2), 5, "y"), nack(b(1, 2), b(2, 3)));
    let told = promise(b(3, 3), 0, vec![vote(4, b(1, 2), "x")]);
    let expected = sync(vec![Record::Promise { ballot: b(3, 3) }], vec![Then::Promise(n(3), told)]);
    assert_eq!(prepare(&mut again, b(3, 3), 1), [expected]);
}

#[test]
fn a_promise_reports_the_vote_with_the_highest_ballot() {
    let mut acceptor = acceptor();
    accept(&mut acceptor, b(1, 2), 1, "x");
    accept(&mut acceptor, b(2, 3), 1, "y");
    let expected = promise(b(3, 2), 0, vec![vote(1, b(2, 3), "y")]);
    let then = vec![Then::Promise(n(2), expected)];
    assert_eq!(prepare(&mut acceptor, b(3, 2), 1), [sync(vec![Record::Promise { ballot: b(3, 2) }], then)]);
}

#[test]
fn rule_1_a_promise_tells_settled_upto_and_every_vote_above_it() {
    let mut acceptor = acceptor();
    for (slot, name) in [(1, "a"), (2, "b"), (4, "d")] {
        accept(&mut acceptor, b(1, 2), slot, name);
    }
    acceptor.on_learned(s(1));
    let told = promise(b(2, 3), 1, vec![vote(2, b(1, 2), "b"), vote(4, b(1, 2), "d")]);
    let records = vec![Record::Promise { ballot: b(2, 3) }];
    assert_eq!(prepare(&mut acceptor, b(2, 3), 1), [sync(records, vec![Then::Promise(n(3), told)])]);
    // A candidate that knows slots up to 3 to be chosen need not hear of them.
    let told = message::Promise { from: s(4), ..promise(b(3, 3), 1, vec![vote(4, b(1, 2), "d")]) };
    let records = vec![Record::Promise { ballot: b(3, 3) }];
    assert_eq!(prepare(&mut acceptor, b(3, 3), 4), [sync(records, vec![Then::Promise(n(3), told)])]);
}

#[test]
fn rule_1_an_accept_at_or_below_settled_upto_is_answered_settled_and_never_with_a_vote() {
    let mut acceptor = acceptor();
    acceptor.on_learned(s(5));
    let ballot = b(2, 3);
    let settled = send(3, ProposerMessage::Settled { ballot, upto: s(5) });
    assert_eq!(accept(&mut acceptor, ballot, 5, "x"), [heard(ballot), settled]);
    assert!(acceptor.votes().is_empty());
    // The slots above are voted on all the same.
    let proposals = vec![(s(5), v("x")), (s(6), v("y"))];
    let told = effects(|fx| acceptor.on_accept(n(3), ballot, proposals, Slot::ZERO, fx));
    assert!(told.contains(&sync(
        vec![record(6, ballot, "y")],
        vec![Then::Accepted(n(3), Accepted { ballot, slots: vec![s(6)] })]
    )));
}

#[test]
fn a_repeated_accept_waits_for_the_first_ones_sync_and_writes_nothing() {
    let mut acceptor = acceptor();
    accept(&mut acceptor, b(1, 2), 1, "x");
    assert_eq!(accept(&mut acceptor, b(1, 2), 1, "x"), voted(b(1, 2), 1, "x", vec![]));
}

#[test]
fn a_repeated_prepare_waits_for_the_first_ones_sync_and_writes_nothing() {
    let mut acceptor = acceptor();
    prepare(&mut acceptor, b(1, 2), 1);
    let then = vec![Then::Promise(n(2), promise(b(1, 2), 0, vec![]))];
    assert_eq!(prepare(&mut acceptor, b(1, 2), 1), [sync(vec![], then)]);
}

#[test]
fn p2_one_ballot_proposes_one_value_per_slot() {
    let mut acceptor = acceptor();
    accept(&mut acceptor, b(1, 2), 1, "x");
    let told = accept(&mut acceptor, b(1, 2), 1, "y");
    let why = "a second value in one ballot";
    assert_eq!(told, [heard(b(1, 2)), Effect::Note(Event::Ignored { from: n(2), what: "Accept", why })]);
    assert_eq!(acceptor.votes()[&s(1)], (b(1, 2), v("x")));
}

#[test]
fn rule_4_nobody_votes_or_promises_before_a_quorum_of_handshakes() {
    let mut acceptor = Acceptor::new(n(1), three(), Slot::ZERO, BatchNumber(3));
    let why = "this node may not vote";
    let ballot = b(1, 2);
    assert_eq!(ignored(|fx| acceptor.on_prepare(n(2), Prepare { ballot, from: s(1) }, fx)), why);
    let note = Effect::Note(Event::Ignored { from: n(2), what: "Accept", why });
    assert_eq!(accept(&mut acceptor, ballot, 1, "x"), [heard(ballot), note]);
    // No answer to a heartbeat either: a read index rests on it.
    assert_eq!(effects(|fx| acceptor.on_heartbeat(n(2), ballot, 1, s(0), s(0), fx)), [heard(ballot)]);
    assert!(acceptor.votes().is_empty());
    // A peer that has seen more of the journal than is there: never.
    let told = deeds(|fx| acceptor.on_greeted(n(2), BatchNumber(4), BatchNumber(3), fx));
    let lost = sync(vec![Record::Amnesiac { witnessed: BatchNumber(4) }], vec![]);
    assert_eq!(told, [lost, send(1, ProposerMessage::Standing { admitted: false })]);
    acceptor.on_greeted(n(3), BatchNumber(0), BatchNumber(3), &mut Effects::new());
    assert_eq!(ignored(|fx| acceptor.on_prepare(n(2), Prepare { ballot, from: s(1) }, fx)), why);
}

#[test]
fn rule_3_a_heartbeat_is_answered_unless_a_higher_ballot_is_promised_durable_or_not() {
    let mut acceptor = acceptor();
    prepare(&mut acceptor, b(2, 3), 1); // its sync is still under way
    assert_eq!(effects(|fx| acceptor.on_heartbeat(n(2), b(1, 2), 7, s(0), s(0), fx)), nack(b(1, 2), b(2, 3)));
    let ack =
        send(3, ProposerMessage::HeartbeatAck { ballot: b(2, 3), round: 8, settled_upto: s(0), executed_upto: s(0) });
    assert_eq!(effects(|fx| acceptor.on_heartbeat(n(3), b(2, 3), 8, s(0), s(0), fx)), [heard(b(2, 3)), ack]);
}

#[test]
fn nobody_speaks_for_another_nodes_ballot() {
    let mut acceptor = acceptor();
    let ballot = b(1, 2);
    assert_eq!(ignored(|fx| acceptor.on_prepare(n(3), Prepare { ballot, from: s(1) }, fx)), "of another node's ballot");
    assert_eq!(
        ignored(|fx| acceptor.on_accept(n(3), ballot, vec![(s(1), v("x"))], s(0), fx)),
        "of another node's ballot"
    );
    assert_eq!(acceptor.promised(), Ballot::ZERO);
}

#[test]
fn a_slot_further_ahead_than_a_promise_may_report_is_not_voted_on() {
    let mut acceptor = acceptor();
    for slot in [MAX_OPEN_SLOTS, u64::MAX] {
        let why = "too far ahead of what is settled here";
        let note = Effect::Note(Event::Ignored { from: n(2), what: "Accept", why });
        assert_eq!(accept(&mut acceptor, b(1, 2), slot, "x"), [heard(b(1, 2)), note]);
    }
    assert_eq!(accept(&mut acceptor, b(1, 2), MAX_OPEN_SLOTS - 1, "x").len(), 3);
}

#[test]
fn a_long_promise_travels_in_parts() {
    let mut acceptor = acceptor();
    let big = "x".repeat(MAX_MESSAGE_BYTES / 5 * 2);
    for slot in 1..=3 {
        accept(&mut acceptor, b(1, 2), slot, &big);
    }
    let [Effect::Sync { then, .. }] = &prepare(&mut acceptor, b(2, 3), 1)[..] else { panic!("one sync") };
    let [Then::Promise(_, first), Then::Promise(_, second)] = &then[..] else { panic!("two parts: {}", then.len()) };
    assert_eq!((first.part, first.parts, first.votes.len()), (0, 2, 2));
    assert_eq!((second.part, second.parts, second.votes.len()), (1, 2, 1));
}

#[test]
fn a_leaders_announcement_goes_to_the_learner_and_its_life_to_the_proposer() {
    let mut acceptor = acceptor();
    let announce = AcceptorMessage::Announce { ballot: b(1, 2), chosen_upto: s(4) };
    let announced = send(1, LearnerMessage::Announced { ballot: b(1, 2), chosen_upto: s(4) });
    assert_eq!(effects(|fx| acceptor.on_message(n(2), announce.clone(), fx)), [heard(b(1, 2)), announced]);
    prepare(&mut acceptor, b(2, 3), 1);
    assert_eq!(effects(|fx| acceptor.on_message(n(2), announce, fx)), nack(b(1, 2), b(2, 3)), "deposed");
}

#[test]
fn a_vote_for_a_settled_slot_is_folded_as_a_promise_only() {
    let mut recovered = Acceptor::new(n(1), three(), s(4), BatchNumber(2));
    recovered.apply_record(&record(4, b(3, 2), "x"));
    recovered.apply_record(&record(5, b(2, 2), "y"));
    assert_eq!(recovered.votes().keys().collect::<Vec<_>>(), [&s(5)]);
    assert_eq!(recovered.promised(), b(3, 2));
    recovered.on_learned(s(5));
    assert!(recovered.votes().is_empty());
    assert_eq!(recovered.settled_upto(), s(5));
}

#[test]
fn hearsay_of_other_members_is_journaled_and_of_nobody_else() {
    let mut acceptor = acceptor();
    let batches = [1, 2, 3, 9].map(|node| (n(node), 7, BatchNumber(5))).to_vec();
    let told = effects(|fx| acceptor.on_message(n(3), AcceptorMessage::Hearsay { batches }, fx));
    let records = [2, 3].map(|node| Record::Witnessed { node: n(node), batch: BatchNumber(5) }).to_vec();
    assert_eq!(told, [Effect::Append { records }]);
}

#[test]
fn votes_that_just_fit_a_message_travel_in_one_part() {
    let parts = |more: usize| {
        let mut acceptor = acceptor();
        let name = "x".repeat(MAX_MESSAGE_BYTES / 2 - 64 - v("").as_bytes().len());
        accept(&mut acceptor, b(1, 2), 1, &name);
        accept(&mut acceptor, b(1, 2), 2, &(name + &"x".repeat(more)));
        match &prepare(&mut acceptor, b(2, 3), 1)[..] {
            [Effect::Sync { then, .. }] => then.len(),
            other => panic!("one sync: {}", other.len()),
        }
    };
    assert_eq!((parts(0), parts(1)), (1, 2));
}
