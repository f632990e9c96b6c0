//! A damaged journal's votes come back from peers before their node votes again (DESIGN section 4, rule 4), each rule
//! with the run that shows it.

use super::terse::*;
use crate::paxos::message::{Fetched, Prepare};
use crate::paxos::repair::MOST_ASKED;
use crate::paxos::*;

/// n1, which has met all, and whose journal lost these votes.
fn damaged(votes: &[(u64, Ballot)], unknown_upto: u64) -> Acceptor {
    let mut acceptor = Acceptor::new(n(1), three(), Slot::ZERO, BatchNumber(0));
    acceptor.apply_record(&Record::Promise { ballot: b(5, 2) });
    let votes = votes.iter().map(|(slot, ballot)| (s(*slot), *ballot)).collect();
    let fx = &mut Effects::new();
    acceptor.on_damage(Damage { batches: 1, votes, unknown_upto: s(unknown_upto) }, fx);
    acceptor.on_greeted(n(2), BatchNumber(0), BatchNumber(0), fx);
    acceptor
}

/// A peer that promised this ballot and has these votes.
fn peer(node: u32, promised: Ballot, votes: &[(u64, Ballot, &str)]) -> Acceptor {
    let mut acceptor = Acceptor::new(n(node), three(), Slot::ZERO, BatchNumber(0));
    acceptor.apply_record(&Record::Promise { ballot: promised });
    for (slot, ballot, name) in votes {
        acceptor.apply_record(&Record::Vote { slot: s(*slot), ballot: *ballot, value: v(name) });
    }
    acceptor
}

/// n1 asks a peer for what it lost, and hears the answer.
fn ask(acceptor: &mut Acceptor, now_ms: u64, node: u32, peer: &mut Acceptor) -> Vec<Effect> {
    let asked = effects(|fx| acceptor.on_tick(now_ms, fx));
    let to_peer = asked.into_iter().find_map(|effect| match effect {
        Effect::Send { to, message: Message::Acceptor(message) } if to == n(node) => Some(message),
        _ => None,
    });
    let answered = effects(|fx| peer.on_message(n(1), to_peer.expect("it is time"), fx));
    let [Effect::Sync { records, then }] = &answered[..] else { panic!("behind a fence: {answered:?}") };
    let [Then::Fetched(to, fetched)] = &then[..] else { panic!("an answer: {then:?}") };
    assert_eq!((&records[..], *to), (&[][..], n(1)));
    effects(|fx| acceptor.on_fetched(n(node), fetched.clone(), fx))
}

fn votes_reported(acceptor: &mut Acceptor, ballot: Ballot) -> Vec<(Slot, Ballot, Value)> {
    let prepared = effects(|fx| acceptor.on_prepare(ballot.node, Prepare { ballot, from: s(1) }, fx));
    let [Effect::Sync { then, .. }] = &prepared[..] else { panic!("a promise: {prepared:?}") };
    let [Then::Promise(_, promise)] = &then[..] else { panic!("a promise: {then:?}") };
    promise.votes.iter().map(|vote| (vote.slot, vote.ballot, vote.value.clone())).collect()
}

/// "Paxos Made Simple", section 2.2: a ballot has one proposer, so the value of another's vote in it is ours, too.
#[test]
fn rule_4_a_lost_vote_comes_back_from_whoever_voted_in_its_ballot() {
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    assert!(!acceptor.admission().admitted());
    // Whether that node may vote itself does not matter: it has not met anybody.
    let told = ask(&mut acceptor, 0, 3, &mut peer(3, b(5, 2), &[(7, b(5, 2), "x"), (8, b(5, 2), "y")]));
    let record = Record::Vote { slot: s(7), ballot: b(5, 2), value: v("x") };
    let expected = [
        sync(vec![record], vec![]),
        send(1, LearnerMessage::Voting { ballot: b(5, 2), proposals: vec![(s(7), v("x"))] }),
        Effect::Note(Event::Repaired {}),
        Effect::Note(Event::Admitted {}),
        send(1, ProposerMessage::Standing { admitted: true }),
    ];
    assert_eq!(told, expected);
    assert_eq!(votes_reported(&mut acceptor, b(6, 3)), [(s(7), b(5, 2), v("x"))]);
}

/// The run of [`crate::paxos::repair`]: n1 voted for X in slot 7 and said so; n2, the leader, is down; n3 knows nothing.
#[test]
fn rule_4_a_lost_vote_is_not_dropped_while_it_may_still_be_chosen() {
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    ask(&mut acceptor, 0, 3, &mut peer(3, Ballot::ZERO, &[]));
    assert!(!acceptor.admission().admitted(), "n3 may vote for it tomorrow");
    ask(&mut acceptor, 1_000, 3, &mut peer(3, b(6, 3), &[]));
    assert!(!acceptor.admission().admitted(), "n3 will not, but n2 may have: that is a quorum, with n1");
    // Admitted now, n1 would report no vote to n3, which would propose another value. But n2 comes back, its own vote
    // makes X chosen, and what it sends again is what was lost.
    let accept = |acceptor: &mut Acceptor| {
        effects(|fx| acceptor.on_accept(n(2), b(5, 2), vec![(s(7), v("x")), (s(8), v("y"))], Slot::ZERO, fx))
    };
    let repaired = accept(&mut acceptor);
    assert!(acceptor.admission().admitted(), "{repaired:?}");
    assert_eq!(acceptor.votes().len(), 1, "what it did not vote for is a vote only once it is admitted");
    assert!(!repaired.iter().any(|effect| matches!(effect, Effect::Sync { then, .. } if !then.is_empty())));
    assert_eq!(votes_reported(&mut acceptor, b(6, 3)), [(s(7), b(5, 2), v("x"))]);
}

#[test]
fn rule_4_a_lost_vote_that_nobody_else_cast_or_will_cast_is_dropped() {
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    ask(&mut acceptor, 0, 3, &mut peer(3, b(6, 3), &[]));
    ask(&mut acceptor, 1_000, 2, &mut peer(2, b(5, 2), &[]));
    assert!(!acceptor.admission().admitted(), "n2 has promised nothing higher");
    ask(&mut acceptor, 2_000, 2, &mut peer(2, b(6, 3), &[(7, b(4, 1), "old")]));
    assert!(acceptor.admission().admitted(), "a vote in a lower ballot is none in this one");
    assert_eq!(votes_reported(&mut acceptor, b(6, 3)), []);
}

#[test]
fn rule_4_a_peer_does_not_deny_what_it_may_have_voted_for() {
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    ask(&mut acceptor, 0, 3, &mut peer(3, b(6, 3), &[]));
    // It voted in a higher ballot since, and before that perhaps in this one.
    ask(&mut acceptor, 1_000, 2, &mut peer(2, b(9, 3), &[(7, b(6, 3), "x")]));
    assert!(!acceptor.admission().admitted());
    // Its own journal lost that very vote, or it does not know which.
    for (votes, unknown) in [(vec![(s(7), b(5, 2))], 0), (vec![], 7)] {
        let mut hurt = peer(2, b(9, 3), &[]);
        let damage = Damage { batches: 1, votes: votes.into_iter().collect(), unknown_upto: s(unknown) };
        hurt.on_damage(damage, &mut Effects::new());
        ask(&mut acceptor, 2_000 + 1_000 * unknown, 2, &mut hurt);
        assert!(!acceptor.admission().admitted());
    }
}

#[test]
fn rule_4_what_is_settled_need_not_come_back_and_what_is_unknown_must_be_settled() {
    let mut acceptor = damaged(&[(7, b(5, 2)), (9, b(5, 2))], 8);
    let mut knows = peer(3, b(6, 3), &[]);
    knows.on_learned(s(8));
    let told = ask(&mut acceptor, 0, 3, &mut knows);
    assert_eq!(told, [send(1, LearnerMessage::Behind { chosen_upto: s(8), supplier: n(3) })]);
    let learned = |chosen_upto| AcceptorMessage::Learned { chosen_upto: s(chosen_upto) };
    acceptor.on_message(n(1), learned(8), &mut Effects::new());
    assert!(!acceptor.admission().admitted(), "slot 9");
    acceptor.on_message(n(1), learned(9), &mut Effects::new());
    assert!(acceptor.admission().admitted());
    assert_eq!(effects(|fx| acceptor.on_tick(9_000, fx)), [], "nothing more is asked");
}

/// A lost promise is restored from what a later batch says, so the lost vote's node answers no lower ballot meanwhile.
#[test]
fn rule_4_a_damaged_node_neither_promises_nor_votes() {
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    let why = "this node may not vote";
    let prepared = effects(|fx| acceptor.on_prepare(n(3), Prepare { ballot: b(6, 3), from: s(1) }, fx));
    assert_eq!(prepared, [Effect::Note(Event::Ignored { from: n(3), what: "Prepare", why })]);
    effects(|fx| acceptor.on_accept(n(2), b(5, 2), vec![(s(8), v("y"))], Slot::ZERO, fx));
    assert!(acceptor.votes().is_empty());
}

#[test]
fn what_a_peer_asks_or_answers_too_much_of_is_ignored() {
    let mut whole = peer(2, b(6, 3), &[]);
    let ignored = |acceptor: &mut Acceptor, from: u32, count: usize| {
        let votes = vec![(s(1), b(1, 1)); count];
        let told = effects(|fx| acceptor.on_message(n(from), AcceptorMessage::FetchVotes { votes }, fx));
        matches!(told[..], [Effect::Note(Event::Ignored { .. })])
    };
    assert!(ignored(&mut whole, 1, MOST_ASKED + 1) && ignored(&mut whole, 9, 1) && !ignored(&mut whole, 1, MOST_ASKED));
    let fetched = |slot| Fetched {
        votes: vec![message::Vote { slot: s(slot), ballot: b(5, 2), value: v("z") }],
        denied: vec![(s(slot), b(5, 2)); 10],
        settled_upto: s(0),
    };
    let told = effects(|fx| whole.on_fetched(n(1), fetched(7), fx));
    assert_eq!(told, [Effect::Note(Event::Ignored { from: n(1), what: "Fetched", why: "nothing is lost" })]);
    let mut acceptor = damaged(&[(7, b(5, 2))], 0);
    assert_eq!(effects(|fx| acceptor.on_fetched(n(3), fetched(8), fx)), [], "that was not lost");
    assert!(acceptor.votes().is_empty());
}
