//! A leader's rules about members: which slots it may propose in, and whom it lets come and go.

use super::ledger::Ledger;
use super::proposer::proposals;
use super::terse::*;
use super::world::{Plan, World};
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

/// It executes the log again, and what it does not know to be executed bounds what it may propose.
#[test]
fn rule_8_a_leader_whose_state_is_repaired_hands_over_and_does_not_campaign() {
    let mut proposer = leader();
    [1, 2, 3].into_iter().for_each(|node| ack(&mut proposer, node, u64::from(node)));
    proposer.on_message(n(1), ProposerMessage::Fit { fit: false }, &mut Effects::new());
    let mut asked = std::collections::BTreeSet::new();
    for now_ms in (100..600).step_by(50) {
        asked.extend(deeds(|fx| proposer.on_tick(now_ms, 0, fx)).into_iter().filter_map(|deed| match deed {
            Effect::Send { to, message: Message::Proposer(ProposerMessage::TakeOver { .. }) } => Some(to),
            _ => None,
        }));
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [n(2), n(3)], "the state of one may be being repaired, too");
    let mut follower = Proposer::new(n(2), three(), Settings::default(), 7, s(0));
    let fx = &mut Effects::new();
    follower.on_message(n(2), ProposerMessage::Standing { admitted: true }, fx);
    let mut campaigns = |fit, now_ms| {
        follower.on_message(n(2), ProposerMessage::Fit { fit }, &mut Effects::new());
        !deeds(|fx| follower.on_tick(now_ms, 0, fx)).is_empty()
    };
    assert!(!campaigns(false, 60_000) && campaigns(true, 120_000));
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
fn a_leader_that_is_to_stop_hands_over_to_whoever_is_there_and_furthest() {
    let mut follower = Proposer::new(n(2), three(), Settings::default(), 7, s(0));
    assert_eq!(follower.hand_over_to_any(&mut Effects::new()), Err(NotHandedOver::NotLeading));
    let mut proposer = leader();
    assert_eq!(proposer.hand_over_to_any(&mut Effects::new()), Err(NotHandedOver::Away), "nobody is there");
    slots(&mut proposer, 2);
    ack(&mut proposer, 2, 1);
    ack(&mut proposer, 3, 2);
    let mut outcome = Err(NotHandedOver::Away);
    let told = deeds(|fx| outcome = proposer.hand_over_to_any(fx));
    assert_eq!((outcome, told), (Ok(()), vec![send(3, ProposerMessage::TakeOver { ballot: b(1, 1) })]));
    for upto in 3..=302 {
        slots(&mut proposer, 1);
        executed(&mut proposer, upto, &[]);
    }
    let behind = proposer.hand_over_to_any(&mut Effects::new());
    assert!(matches!(behind, Err(NotHandedOver::Behind { .. })), "{behind:?}");
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

/// An executor of n1, n2, n3 that has executed a slot; α is 4.
fn executor() -> Executor<Ledger> {
    let mut executor = Executor::new(n(1), three().with_alpha(ALPHA), Settings::default(), Ledger::default(), 7);
    assert_eq!(execute(&mut executor, 1, Command::Open { token: Token(9) }), []);
    executor
}

/// Executes a slot. Gives what is to be made durable, and said then.
fn execute(executor: &mut Executor<Ledger>, slot: u64, command: Command) -> Vec<Then> {
    let value = Value::batch(Stamp::default(), &[command]);
    flushed(effects(|fx| executor.on_chosen(vec![(s(slot), b(1, 1), value)], fx)))
}

fn flushed(told: Vec<Effect>) -> Vec<Then> {
    let then = told.into_iter().filter_map(|effect| match effect {
        Effect::Flush { then } => Some(then),
        _ => None,
    });
    then.flatten().collect()
}

/// n3 leaves in slot 2, so that it has no vote from slot 6 on.
fn remove_n3() -> Command {
    let (session, sequence) = (SessionId(1), Sequence(1));
    Command::Change { session, sequence, done_below: sequence, change: remove("n3"), force: false }
}

#[test]
fn rule_6_what_is_chosen_is_made_durable_once_where_a_configuration_begins() {
    let mut executor = executor();
    assert_eq!(execute(&mut executor, 2, remove_n3()), []);
    for slot in 3..=8 {
        let expected = if slot == 5 { vec![Then::Recorded(s(5))] } else { Vec::new() };
        assert_eq!(execute(&mut executor, slot, command(1, slot, &slot.to_string())), expected, "slot {slot}");
    }
}

#[test]
fn rule_6_what_only_a_snapshot_tells_that_has_no_name_yet_is_not_durable() {
    let mut ahead = executor();
    execute(&mut ahead, 2, remove_n3());
    (3..=5).for_each(|slot| drop(execute(&mut ahead, slot, command(1, slot, &slot.to_string()))));
    let state = ahead.freeze().thaw(Ledger::default()).expect("a ledger's own state");
    let mut executor = executor();
    assert_eq!(flushed(effects(|fx| drop(executor.install(state, fx)))), []);
    assert_eq!(execute(&mut executor, 6, command(1, 6, "6")), [], "a crash would fall back to slot 1");
    let saved = ExecutorMessage::SnapshotSaved { upto: s(5) };
    assert_eq!(flushed(effects(|fx| executor.on_message(n(1), saved, fx))), [Then::Recorded(s(6))]);
}

#[test]
fn rule_6_a_member_tells_of_a_configurations_beginning_only_when_no_crash_can_take_that_back() {
    let mut membership = three().with_alpha(ALPHA);
    membership.change(s(2), &remove("n3"));
    let mut acceptor = Acceptor::new(n(1), three().with_alpha(ALPHA), s(0), BatchNumber(0));
    acceptor.on_greeted(n(2), BatchNumber(0), BatchNumber(0), &mut Effects::new());
    let executed = |acceptor: &mut Acceptor, upto| {
        let membership = Some(Box::new(membership.clone()));
        acceptor.on_message(
            n(1),
            AcceptorMessage::Executed(Progress { upto: s(upto), membership }),
            &mut Effects::new(),
        );
        told(acceptor)
    };
    assert_eq!(executed(&mut acceptor, 4), 4);
    assert_eq!(executed(&mut acceptor, 5), 4, "n3 would be let go of");
    assert_eq!(executed(&mut acceptor, 9), 4);
    for (_, message) in Then::Recorded(s(5)).release(n(1)) {
        acceptor.on_message(n(1), acceptor_message(message), &mut Effects::new());
    }
    assert_eq!(told(&mut acceptor), 9, "of the slots behind, nobody has to know what it would forget");
    assert_eq!(executed(&mut acceptor, 12), 12);
}

fn acceptor_message(message: Message) -> AcceptorMessage {
    let Message::Acceptor(message) = message else { panic!("it is for the acceptor: {message:?}") };
    message
}

/// How far a leader hears that this acceptor's node has executed.
fn told(acceptor: &mut Acceptor) -> u64 {
    let answers = effects(|fx| acceptor.on_heartbeat(n(2), b(1, 2), 1, s(0), s(0), fx));
    let told = answers.into_iter().find_map(|effect| match effect {
        Effect::Send { message: Message::Proposer(ProposerMessage::HeartbeatAck { executed_upto, .. }), .. } => {
            Some(executed_upto.0)
        }
        _ => None,
    });
    told.expect("a heartbeat is answered")
}

/// n1 and n2 found; n2 leaves, stops, and its disk is thrown away. n1 is killed at that moment: what it had only appended
/// of slots that n2 would have to be asked about is gone.
#[test]
fn rule_6_a_cluster_goes_on_after_a_crash_without_those_that_left() {
    for seed in 0..10 {
        let plan =
            Plan { seed, nodes: 2, window: 4, batch: 4, snapshot_slots: 0, calm: 1, haste: 1, steps: 0, churn: 0 };
        let mut world = World::new(plan);
        world.calm_down();
        world.run_until("a leader", World::is_quiet);
        world.client_changes(0, remove("n2"));
        world.run_until("n2 is let go of", |world| world.hosts[&n(2)].gone);
        world.crash(n(1));
        world.start(n(1));
        world.serve("served alone");
    }
}
