//! What concerns the roles of a node together.

use super::ledger::Ledger;
use super::terse::*;
use super::world::{Plan, World};
use crate::paxos::message::{Accepted, Prepare};
use crate::paxos::*;

#[test]
fn a_singleton_group_leads_at_once_and_serves() {
    let plan =
        Plan { seed: 1, nodes: 1, window: 1, batch: 1, snapshot_slots: 0, calm: 1, haste: 1, steps: 0, churn: 0 };
    let mut world = World::new(plan);
    world.heal_and_finish();
    assert!(world.now_ms < 2000, "{} ms", world.now_ms);
}

/// Its first stamp would say 1970, and the next one expire every session opened meanwhile (seed 19 of the simulator).
#[test]
fn a_singleton_does_not_lead_before_it_knows_the_time() {
    let plan =
        Plan { seed: 1, nodes: 1, window: 1, batch: 1, snapshot_slots: 0, calm: 1, haste: 1, steps: 0, churn: 0 };
    let mut world = World::new(plan);
    let replica = world.hosts.get_mut(&n(1)).expect("a node").replica.as_mut().expect("up");
    let mut fx = Effects::new();
    replica.proposer.on_message(n(1), ProposerMessage::Standing { admitted: true }, &mut fx);
    assert_eq!(deeds(|fx| replica.proposer.on_lot_end(fx)), []);
    assert!(!matches!(replica.proposer.phase(), proposer::Phase::Preparing(_) | proposer::Phase::Leading(_)));
    assert!(fx.is_empty(), "{fx:?}");
    replica.proposer.on_tick(1, 1_700_000_000_000, &mut fx);
    assert!(matches!(replica.proposer.phase(), proposer::Phase::Preparing(_)));
}

#[test]
fn a_node_that_starts_from_nothing_is_whole_and_says_nothing_to_peers() {
    let recovered = Recovered {
        snapshot: None,
        records: vec![],
        trimmed_upto: s(0),
        last_batch: BatchNumber(0),
        damage: Default::default(),
        company: Default::default(),
    };
    let mut fx = Effects::new();
    let (configuration, settings) = (Configuration::numbered(3), Settings::default());
    let replica =
        Replica::recover(n(1), Membership::founded(configuration), &settings, Ledger::default(), 1, recovered, &mut fx);
    replica.check(Slot::ZERO).expect("whole");
    assert!(fx.is_empty());
}

#[test]
fn what_a_peer_may_say_and_what_only_a_nodes_own_roles_may() {
    let ballot = b(1, 2);
    let may: Vec<Message> = vec![
        ProposerMessage::Forward { commands: vec![] }.into(),
        ProposerMessage::Canvass { number: 1, chosen_upto: s(0) }.into(),
        ProposerMessage::Canvassed { number: 1, hears_leader: false, chosen_upto: s(0), highest: ballot }.into(),
        ProposerMessage::Promise(message::Durable::after_sync(promise(ballot, 0, vec![]))).into(),
        ProposerMessage::Nack { refused: ballot, promised: ballot }.into(),
        ProposerMessage::Settled { ballot, upto: s(1) }.into(),
        ProposerMessage::HeartbeatAck { ballot, round: 1, settled_upto: s(0), executed_upto: s(0) }.into(),
        ProposerMessage::ReadIndex { batch: 1 }.into(),
        AcceptorMessage::Prepare(Prepare { ballot, from: s(1) }).into(),
        AcceptorMessage::Accept { ballot, proposals: vec![], chosen_upto: s(0) }.into(),
        AcceptorMessage::Heartbeat { ballot, round: 1, chosen_upto: s(0), everywhere_upto: s(0) }.into(),
        AcceptorMessage::Announce { ballot, chosen_upto: s(0) }.into(),
        AcceptorMessage::Hearsay { batches: vec![] }.into(),
        LearnerMessage::Accepted(message::Durable::after_sync(Accepted { ballot, slots: vec![] })).into(),
        LearnerMessage::CatchUp { first: s(1) }.into(),
        LearnerMessage::Chosen { entries: vec![], chosen_upto: s(0) }.into(),
        LearnerMessage::FetchSnapshot { upto: s(1), id: SnapshotId::default(), offset: 0 }.into(),
        LearnerMessage::SnapshotPart {
            upto: s(1),
            id: SnapshotId::default(),
            total: 1,
            offset: 0,
            bytes: Bytes::default(),
        }
        .into(),
        ExecutorMessage::ReadIndexed { batch: 1, index: s(0) }.into(),
        ExecutorMessage::ReadRefused { batch: 1 }.into(),
        ExecutorMessage::Refused { commands: vec![], reason: Refusal::Busy }.into(),
    ];
    let may_not: Vec<Message> = vec![
        ProposerMessage::Submit { commands: vec![] }.into(),
        ProposerMessage::Heard { ballot }.into(),
        ProposerMessage::Advanced { chosen_upto: s(1), ballot: None }.into(),
        ProposerMessage::Fenced { number: 1 }.into(),
        ProposerMessage::Standing { admitted: true }.into(),
        AcceptorMessage::Learned { chosen_upto: s(1) }.into(),
        AcceptorMessage::Witnessed { peer: n(2), batch: BatchNumber(1) }.into(),
        AcceptorMessage::Greeted { peer: n(2), witnessed: BatchNumber(0), durable: BatchNumber(0) }.into(),
        LearnerMessage::Voting { ballot, proposals: vec![] }.into(),
        LearnerMessage::Announced { ballot, chosen_upto: s(1) }.into(),
        LearnerMessage::Behind { chosen_upto: s(1), supplier: n(2) }.into(),
        LearnerMessage::Installed { upto: s(1) }.into(),
        LearnerMessage::Trimmed { upto: s(1) }.into(),
        LearnerMessage::PartKept { id: SnapshotId::default(), upto_bytes: 1 }.into(),
        LearnerMessage::SnapshotDropped { id: SnapshotId::default(), because: message::Dropped::Refused }.into(),
        ExecutorMessage::Chosen { entries: vec![] }.into(),
        ExecutorMessage::Attach { session: SessionId(1), client: ClientId(1) }.into(),
        ExecutorMessage::AttachToken { token: Token(1), client: ClientId(1) }.into(),
        ExecutorMessage::Detach { client: ClientId(1) }.into(),
        ExecutorMessage::Read { client: ClientId(1), queries: vec![], local: true }.into(),
        ExecutorMessage::LeaderChanged {}.into(),
        ExecutorMessage::SnapshotSaved { upto: s(1) }.into(),
        ExecutorMessage::SnapshotUnsaved {}.into(),
    ];
    for message in may {
        assert!(message.may_travel(), "{message:?}");
    }
    for message in may_not {
        assert!(!message.may_travel(), "{message:?}");
    }
}

#[test]
fn rule_8_a_snapshot_never_lowers_a_promise_nor_drops_a_vote_above_it() {
    let ballot = b(3, 2);
    let records = vec![
        Record::Promise { ballot: b(5, 3) },
        Record::Vote { slot: s(3), ballot, value: v("below") },
        Record::Vote { slot: s(8), ballot, value: v("above") },
    ];
    let mut executor = Executor::new(n(2), three(), Settings::default(), Ledger::default(), 1);
    executor.on_chosen((1..=5).map(|slot| (s(slot), ballot, v("x"))).collect(), &mut Effects::new());
    let snapshot = executor.freeze().thaw(Ledger::default()).expect("a ledger's own state");
    let recover = |snapshot| {
        let recovered = Recovered {
            snapshot,
            records: records.clone(),
            trimmed_upto: s(0),
            last_batch: BatchNumber(1),
            damage: Default::default(),
            company: Default::default(),
        };
        let (configuration, settings) = (Configuration::numbered(3), Settings::default());
        let mut fx = Effects::new();
        Replica::recover(n(1), Membership::founded(configuration), &settings, Ledger::default(), 1, recovered, &mut fx)
    };

    let restarted = recover(Some(snapshot.clone()));
    assert_eq!(restarted.acceptor.promised(), b(5, 3));
    assert_eq!(restarted.acceptor.votes().keys().copied().collect::<Vec<_>>(), [s(8)]);
    assert_eq!(restarted.executor.executed_upto(), s(5));

    let mut installed = recover(None);
    let mut fx = Effects::new();
    installed.executor.install(snapshot, &mut fx);
    loop {
        let local: Vec<Message> = fx.drain().filter_map(to_itself).collect();
        if local.is_empty() {
            break;
        }
        local.into_iter().for_each(|message| installed.on_message(n(1), message, &mut fx));
    }
    assert_eq!(installed.acceptor.promised(), b(5, 3));
    assert!(installed.acceptor.votes().contains_key(&s(8)));
    assert!(installed.learner.votes().contains_key(&s(8)));
    installed.check(installed.executor.snapshot_upto()).expect("whole");
}

fn to_itself(effect: Effect) -> Option<Message> {
    match effect {
        Effect::Send { to, message } if to == n(1) => Some(message),
        _ => None,
    }
}

#[test]
fn rule_6_only_members_of_the_slots_configuration_count() {
    let mut learner = Learner::new(n(1), three(), &Settings::default(), s(0));
    let mut fx = Effects::new();
    learner.on_voting(b(1, 1), vec![(s(1), v("x"))], &mut fx);
    let accepted = Accepted { ballot: b(1, 1), slots: vec![s(1)] };
    learner.on_accepted(n(9), &accepted, &mut fx);
    learner.on_accepted(n(1), &accepted, &mut fx);
    assert_eq!(learner.chosen_upto(), s(0), "a stranger's vote and one member's");
    learner.on_accepted(n(3), &accepted, &mut fx);
    assert_eq!(learner.chosen_upto(), s(1));
}

#[test]
fn a_node_that_jumped_over_slots_by_a_snapshot_does_not_supply_its_old_votes() {
    let ballot = b(1, 1);
    let mut executor = Executor::new(n(2), three(), Settings::default(), Ledger::default(), 1);
    executor.on_chosen((1..=8).map(|slot| (s(slot), b(2, 2), v("chosen"))).collect(), &mut Effects::new());
    let snapshot = executor.freeze().thaw(Ledger::default()).expect("a ledger's own state");
    let asked = |records: Vec<Record>| {
        let snapshot = Some(snapshot.clone());
        let recovered = Recovered {
            snapshot,
            records,
            trimmed_upto: s(0),
            last_batch: BatchNumber(1),
            damage: Default::default(),
            company: Default::default(),
        };
        let (configuration, settings) = (Configuration::numbered(3), Settings::default());
        let mut fx = Effects::new();
        let replica = Replica::recover(
            n(1),
            Membership::founded(configuration),
            &settings,
            Ledger::default(),
            1,
            recovered,
            &mut fx,
        );
        let mut replica = replica;
        deeds(|fx| replica.learner.on_catch_up(n(3), s(5), fx))
    };
    let stale = Record::Vote { slot: s(5), ballot, value: v("never chosen") };
    assert_eq!(asked(vec![stale]), [Effect::SupplySnapshot { to: n(3), wanted: None, offset: 0 }]);

    let votes = (1..=8).map(|slot| Record::Vote { slot: s(slot), ballot, value: v("chosen") });
    let proven = votes.chain([Record::ChosenUpto { ballot, upto: s(8) }]).collect();
    assert_eq!(asked(proven), [Effect::SupplySlots { to: n(3), first: s(5), upto: s(8) }]);
}

#[test]
fn what_does_not_hold_between_the_roles_is_named() {
    let fresh = || {
        let recovered = Recovered {
            snapshot: None,
            records: vec![],
            trimmed_upto: s(0),
            last_batch: BatchNumber(0),
            damage: Default::default(),
            company: Default::default(),
        };
        let (configuration, settings) = (Configuration::numbered(3), Settings::default());
        let fx = &mut Effects::new();
        Replica::recover(n(1), Membership::founded(configuration), &settings, Ledger::default(), 1, recovered, fx)
    };
    let broken = |what: fn(&mut Replica<Ledger>, &mut Effects)| {
        let mut replica = fresh();
        what(&mut replica, &mut Effects::new());
        replica.check(s(2)).err().map(|sentence| sentence.split(" does").next().unwrap_or_default().to_owned())
    };
    let no_ops = |count| (1..=count).map(|slot| (s(slot), b(1, 1), Value::no_op())).collect::<Vec<_>>();
    assert_eq!(broken(|_, _| {}), None);
    let trimmed = broken(|replica, fx| replica.learner.on_message(n(1), LearnerMessage::Trimmed { upto: s(3) }, fx));
    assert_eq!(trimmed.as_deref(), Some("trimmed_upto <= the newest snapshot saved"));
    let snapshot = broken(|replica, fx| {
        replica.executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(1) }, fx);
    });
    assert_eq!(snapshot.as_deref(), Some("snapshot_upto <= executed_upto"));
    let mut replica = fresh();
    replica.executor.on_chosen(no_ops(2), &mut Effects::new());
    assert!(replica.check(s(2)).is_err_and(|sentence| sentence.starts_with("executed_upto <= chosen_upto")));
    replica.executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(2) }, &mut Effects::new());
    assert_eq!(replica.check(s(2)), Ok(()), "a snapshot is being installed");
    let settled = broken(|replica, _| replica.acceptor.on_learned(s(1)));
    assert_eq!(settled.as_deref(), Some("settled_upto <= chosen_upto"));
    let mut replica = fresh();
    replica.learner.on_chosen(n(2), no_ops(2), s(2), &mut Effects::new());
    replica.executor.on_chosen(no_ops(2), &mut Effects::new());
    replica.acceptor.on_learned(s(2));
    replica.learner.on_message(n(1), LearnerMessage::Trimmed { upto: s(2) }, &mut Effects::new());
    assert_eq!(replica.check(s(2)), Ok(()), "all of them at once");
}
