//! A leader's rules about members: which slots it may propose in, and whom it lets come and go.

use super::proposer::proposals;
use super::terse::*;
use crate::paxos::extension::NotHandedOver;
use crate::paxos::message::{CommandName, Prepare, Progress, Promise};
use crate::paxos::*;

const ALPHA: u64 = 4;

/// n1 leads three nodes in ballot 1.1; α is 4.
fn leader() -> Proposer {
    let membership = three().with_alpha(ALPHA);
    let mut proposer = Proposer::new(n(1), membership, Settings::default(), 7, s(0));
    let fx = &mut Effects::new();
    proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, fx);
    proposer.prepare(fx);
    for node in [1, 2] {
        proposer.on_promise(n(node), promise(b(1, 1), 0, vec![]), fx);
    }
    assert_eq!(proposer.leader(), Some(b(1, 1)));
    proposer
}

/// Everything up to `upto` is chosen and executed, after these changes in its last slot.
fn executed(proposer: &mut Proposer, upto: u64, changes: &[Change]) -> Vec<Effect> {
    let mut membership = proposer.membership().clone();
    for change in changes {
        assert!(matches!(membership.change(s(upto), change), Outcome::Changed { .. }), "{change:?}");
    }
    deeds(|fx| {
        proposer.on_message(n(1), ProposerMessage::Advanced { chosen_upto: s(upto), ballot: Some(b(1, 1)) }, fx);
        let membership = Some(Box::new(membership)).filter(|_| !changes.is_empty());
        proposer.on_message(n(1), ProposerMessage::Executed(Progress { upto: s(upto), membership }), fx);
    })
}

/// Submits so many commands, each worth a slot, and gives the slots that were proposed.
fn slots(proposer: &mut Proposer, count: u64) -> Vec<u64> {
    let mut all = Vec::new();
    for sequence in 1..=count {
        let told = effects(|fx| {
            proposer.on_submit(vec![command(1, sequence, &"x".repeat(64 << 10))], fx);
            proposer.on_lot_end(fx);
        });
        all.extend(proposals(&told).into_iter().map(|(slot, _)| slot));
    }
    all
}

fn remove(name: &str) -> Change {
    Change::Remove { name: name.into() }
}

fn replace(name: &str) -> Change {
    Change::Replace { name: name.into(), incarnation: Incarnation(99) }
}

/// Whom a Prepare goes to, and from which slot on.
fn prepares(told: &[Effect]) -> Vec<(Vec<u32>, u64)> {
    let then = told.iter().filter_map(|effect| match effect {
        Effect::Sync { then, .. } => Some(then),
        _ => None,
    });
    let prepare = then.flatten().filter_map(|then| match then {
        Then::Prepare(nodes, Prepare { from, .. }) => Some((nodes.iter().map(|node| node.0).collect(), from.0)),
        _ => None,
    });
    prepare.collect()
}

/// To whom slots are proposed.
fn accepts(told: &[Effect]) -> Vec<(u32, Vec<u64>)> {
    let accept = told.iter().filter_map(|effect| match effect {
        Effect::Send { to, message: Message::Acceptor(AcceptorMessage::Accept { proposals, .. }) } => {
            Some((to.0, proposals.iter().map(|(slot, _)| slot.0).collect()))
        }
        _ => None,
    });
    accept.collect()
}

fn later_promise(from: u64, settled_upto: u64, votes: Vec<message::Vote>) -> Promise {
    Promise { from: s(from), ..promise(b(1, 1), settled_upto, votes) }
}

fn ack(proposer: &mut Proposer, from: u32, executed_upto: u64) {
    let ack = ProposerMessage::HeartbeatAck {
        ballot: b(1, 1),
        round: 1,
        settled_upto: s(0),
        executed_upto: s(executed_upto),
    };
    proposer.on_message(n(from), ack, &mut Effects::new());
}

#[test]
fn rule_6_a_slot_is_proposed_only_once_the_one_alpha_before_it_is_executed() {
    let mut proposer = leader();
    assert_eq!(slots(&mut proposer, 6), [1, 2, 3, 4], "slot 5 may have another configuration by what slot 1 holds");
    let told = executed(&mut proposer, 2, &[]);
    assert_eq!(accepts(&told), [], "at the end of the lot");
    let next = proposals(&effects(|fx| proposer.on_lot_end(fx)));
    let next: Vec<(u64, usize)> = next.into_iter().map(|(slot, commands)| (slot, commands.len())).collect();
    assert_eq!(next, [(5, 2)]);
}

#[test]
fn rule_6_a_leader_proposes_in_a_new_configuration_only_after_its_phase_1_there() {
    let mut proposer = leader();
    slots(&mut proposer, 1);
    let told = executed(&mut proposer, 1, &[remove("n2")]);
    assert_eq!(prepares(&told), [(vec![1, 3], 5)], "slot 1 decides from slot 5 on");
    assert_eq!(slots(&mut proposer, 8), [2, 3, 4], "it goes on before that, and no further");
    executed(&mut proposer, 4, &[]);
    assert_eq!(slots(&mut proposer, 1), [0_u64; 0], "not even when everything is executed");
    let told = deeds(|fx| {
        proposer.on_promise(n(1), later_promise(5, 4, vec![]), fx);
        proposer.on_promise(n(3), later_promise(5, 4, vec![]), fx);
        proposer.on_lot_end(fx);
    });
    let to: Vec<u32> = accepts(&told).iter().map(|(to, _)| *to).collect();
    assert!(to.contains(&1) && to.contains(&3) && !to.contains(&2), "{to:?}");
}

#[test]
fn rule_6_an_idle_leader_fills_the_slots_before_a_new_configuration_so_that_it_comes() {
    let mut proposer = leader();
    slots(&mut proposer, 1);
    executed(&mut proposer, 1, &[remove("n2")]);
    let told = deeds(|fx| {
        proposer.on_promise(n(1), later_promise(5, 1, vec![]), fx);
        proposer.on_promise(n(3), later_promise(5, 1, vec![]), fx);
    });
    assert_eq!(accepts(&told), [1, 2, 3].map(|node| (node, vec![2, 3, 4])), "by the old one's acceptors");
}

#[test]
fn rule_6_votes_that_phase_1_finds_in_the_new_configuration_are_proposed_again() {
    let mut proposer = leader();
    slots(&mut proposer, 1);
    executed(&mut proposer, 1, &[remove("n2")]);
    executed(&mut proposer, 1, &[]);
    let votes = vec![vote(6, b(1, 0), "y")];
    let told = accepts(&deeds(|fx| {
        proposer.on_promise(n(1), later_promise(5, 1, vec![]), fx);
        proposer.on_promise(n(3), later_promise(5, 1, votes), fx);
    }));
    assert_eq!(told[3..], [(1, vec![5]), (3, vec![5])], "a hole; behind it nothing is known yet");
    let told = accepts(&executed(&mut proposer, 4, &[]));
    assert_eq!(told, [(1, vec![6]), (3, vec![6])], "the vote");
}

#[test]
fn rule_6_a_promise_for_other_slots_does_not_count_for_the_new_configuration() {
    let mut proposer = leader();
    slots(&mut proposer, 1);
    executed(&mut proposer, 1, &[remove("n2")]);
    proposer.on_promise(n(1), later_promise(5, 1, vec![]), &mut Effects::new());
    let late = ignored(|fx| proposer.on_promise(n(3), promise(b(1, 1), 0, vec![]), fx));
    assert_eq!(
        late, "not asked for any more",
        "an answer to the first phase 1, which votes in this ballot may have cut"
    );
    assert_eq!(slots(&mut proposer, 8), [2, 3, 4]);
}

#[test]
fn rule_6_whoever_finds_the_new_configurations_slots_chosen_leads_no_more() {
    let mut proposer = leader();
    slots(&mut proposer, 1);
    executed(&mut proposer, 1, &[remove("n2")]);
    proposer.on_promise(n(1), later_promise(5, 1, vec![]), &mut Effects::new());
    let told = deeds(|fx| proposer.on_promise(n(3), later_promise(5, 7, vec![]), fx));
    assert_eq!(proposer.leader(), None);
    let behind = LearnerMessage::Behind { chosen_upto: s(7), supplier: n(3) };
    assert!(told.contains(&send(1, behind)), "{told:?}");
}

#[test]
fn a_change_that_leaves_too_few_that_answer_is_refused_unless_it_is_forced() {
    let mut proposer = leader();
    proposer.on_tick(10_000, 0, &mut Effects::new());
    let change = |force| Command::Change {
        session: SessionId(1),
        sequence: Sequence(1),
        done_below: Sequence(1),
        change: remove("n2"),
        force,
    };
    ack(&mut proposer, 1, 0);
    ack(&mut proposer, 2, 0);
    let commands = vec![CommandName::Apply(SessionId(1), Sequence(1))];
    let reason = Refusal::NoLiveQuorum { reachable: 1, quorum: 2 };
    let told = deeds(|fx| proposer.on_submit(vec![change(false)], fx));
    assert_eq!(
        told,
        [send(1, ExecutorMessage::Refused { commands, reason })],
        "n1 would be left, and n3, which is away"
    );
    assert_eq!(deeds(|fx| proposer.on_submit(vec![change(true)], fx)), []);
    assert_eq!(proposer.queued(), 1);
}

#[test]
fn a_change_waits_until_those_that_it_counts_on_are_heard_again() {
    let mut proposer = leader();
    [1, 2, 3].into_iter().for_each(|node| ack(&mut proposer, node, 0));
    proposer.on_tick(400, 0, &mut Effects::new());
    [1, 2].into_iter().for_each(|node| ack(&mut proposer, node, 0));
    let change = |force| Command::Change {
        session: SessionId(1),
        sequence: Sequence(1),
        done_below: Sequence(1),
        change: remove("n2"),
        force,
    };
    let commands = vec![CommandName::Apply(SessionId(1), Sequence(1))];
    let told = deeds(|fx| proposer.on_submit(vec![change(false)], fx));
    let waits = ExecutorMessage::Refused { commands, reason: Refusal::Busy };
    assert_eq!(told, [send(1, waits)], "n3 is heard of, but not lately: it may have crashed");
    assert_eq!(deeds(|fx| proposer.clone().on_submit(vec![change(true)], fx)), [], "somebody insists");
    ack(&mut proposer, 3, 0);
    assert_eq!(deeds(|fx| proposer.on_submit(vec![change(false)], fx)), []);
    assert_eq!(proposer.queued(), 1);
}

#[test]
fn one_change_is_on_its_way_at_a_time() {
    let mut proposer = leader();
    [1, 2, 3].into_iter().for_each(|node| ack(&mut proposer, node, 0));
    let change = |sequence, change| Command::Change {
        session: SessionId(1),
        sequence: Sequence(sequence),
        done_below: Sequence(1),
        change,
        force: false,
    };
    assert_eq!(deeds(|fx| proposer.on_submit(vec![change(1, remove("n2"))], fx)), []);
    let second = |proposer: &mut Proposer| deeds(|fx| proposer.on_submit(vec![change(2, replace("n3"))], fx)).len();
    assert_eq!(second(&mut proposer), 1, "the first one waits for a slot");
    proposer.on_lot_end(&mut Effects::new());
    assert_eq!(second(&mut proposer), 1, "it has one");
    executed(&mut proposer, 1, &[remove("n2")]);
    assert_eq!(second(&mut proposer), 0, "it is executed");
}

#[test]
fn a_leader_that_is_to_leave_hands_over_first() {
    let mut proposer = leader();
    [1, 2, 3].into_iter().for_each(|node| ack(&mut proposer, node, u64::from(node)));
    let change = remove("n1");
    let (session, sequence) = (SessionId(1), Sequence(1));
    let command = Command::Change { session, sequence, done_below: Sequence(1), change, force: false };
    let told = deeds(|fx| proposer.on_submit(vec![command], fx));
    let refused =
        ExecutorMessage::Refused { commands: vec![CommandName::Apply(session, sequence)], reason: Refusal::NoLeader };
    let take_over = ProposerMessage::TakeOver { ballot: b(1, 1) };
    assert_eq!(told, [send(3, take_over), send(1, refused)], "to whoever is furthest; the client asks again");
}

#[test]
fn leadership_goes_to_a_voter_that_is_there_and_has_caught_up() {
    let mut proposer = leader();
    let hand_over = |proposer: &mut Proposer, to| proposer.hand_over(n(to), &mut Effects::new());
    assert_eq!(hand_over(&mut proposer, 9), Err(NotHandedOver::NoVoter));
    assert_eq!(hand_over(&mut proposer, 2), Err(NotHandedOver::Away));
    ack(&mut proposer, 2, 0);
    assert_eq!(hand_over(&mut proposer, 2), Ok(()));
    assert_eq!(hand_over(&mut proposer, 1), Ok(()), "it leads already");
    slots(&mut proposer, 1);
    for upto in 1..=300 {
        slots(&mut proposer, 1);
        executed(&mut proposer, upto, &[]);
    }
    assert_eq!(hand_over(&mut proposer, 2), Err(NotHandedOver::Behind { slots: 300 }));
}

#[test]
fn only_the_leader_that_is_heard_may_ask_a_node_to_take_over() {
    let mut follower = Proposer::new(n(2), three(), Settings::default(), 7, s(0));
    let fx = &mut Effects::new();
    follower.on_message(n(2), ProposerMessage::Standing { admitted: true }, fx);
    follower.on_message(n(2), ProposerMessage::Heard { ballot: b(3, 1) }, fx);
    let mut take_over =
        |from: u32, ballot| deeds(|fx| follower.on_message(n(from), ProposerMessage::TakeOver { ballot }, fx));
    assert_eq!(take_over(3, b(3, 1)), [], "of another node's ballot");
    assert_eq!(take_over(1, b(2, 1)), [], "of an earlier ballot");
    assert_eq!(prepares(&take_over(1, b(3, 1))), [(vec![1, 2, 3], 1)]);
}

#[test]
fn rule_6_who_has_left_is_dismissed_only_by_what_its_own_log_says() {
    let mut proposer = leader();
    let dismissed = ProposerMessage::Dismissed { from: s(5) };
    assert_eq!(effects(|fx| proposer.on_message(n(2), dismissed.clone(), fx)), [], "it is a member");
    slots(&mut proposer, 1);
    executed(&mut proposer, 1, &[remove("n1")]);
    let told = effects(|fx| proposer.on_message(n(2), dismissed, fx));
    assert_eq!(told, [Effect::Note(Event::Dismissed { from: s(5) })]);
}
