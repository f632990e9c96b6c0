//! How long the way of a command is: message delays between nodes, and durable writes, counted along the path that
//! makes its value chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Ledger;
use super::terse::*;
use crate::paxos::*;

/// What a message has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    delays: u32,
    syncs: u32,
}

/// Three nodes whose messages are delivered in the order of what they cost; nothing is lost.
struct Course {
    replicas: BTreeMap<NodeId, Replica<Ledger>>,
    /// By cost, then in the order of sending.
    queue: BTreeMap<(Cost, u64), (NodeId, NodeId, Message)>,
    sent: u64,
    /// When each node's learner handed a slot on.
    chosen: BTreeMap<(NodeId, Slot), Cost>,
}

impl Course {
    fn new() -> Course {
        let mut course = Course { replicas: BTreeMap::new(), queue: BTreeMap::new(), sent: 0, chosen: BTreeMap::new() };
        for id in (1..=3).map(n) {
            let recovered = Recovered {
                snapshot: None,
                records: vec![],
                trimmed_upto: s(0),
                last_batch: BatchNumber(0),
                damage: Default::default(),
                company: Default::default(),
            };
            let (configuration, settings) = (Configuration::numbered(3), Settings::default());
            let replica = Replica::recover(
                id,
                Membership::founded(configuration),
                &settings,
                Ledger::default(),
                u64::from(id.0),
                recovered,
                &mut Effects::new(),
            );
            course.replicas.insert(id, replica);
        }
        for id in (1..=3).map(n) {
            let none = BatchNumber(0);
            for peer in (1..=3).map(n).filter(|peer| *peer != id) {
                let greeted = AcceptorMessage::Greeted { peer, witnessed: none, durable: none };
                course.step(id, Cost::default(), |replica, fx| replica.on_message(id, greeted.into(), fx));
            }
        }
        course.settle();
        course
    }

    fn step(&mut self, at: NodeId, cost: Cost, act: impl FnOnce(&mut Replica<Ledger>, &mut Effects)) {
        let replica = self.replicas.get_mut(&at).expect("one of three");
        let mut fx = Effects::new();
        act(replica, &mut fx);
        replica.on_lot_end(&mut fx);
        let effects: Vec<Effect> = fx.drain().collect();
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.send(at, to, cost, message),
                Effect::Sync { records, then } => {
                    let syncs = cost.syncs + u32::from(!records.is_empty());
                    for (to, message) in then.into_iter().flat_map(|then| then.release(at)) {
                        self.send(at, to, Cost { syncs, ..cost }, message);
                    }
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, cost: Cost, message: Message) {
        if let Message::Executor(ExecutorMessage::Chosen { entries }) = &message {
            for (slot, _, _) in entries {
                self.chosen.entry((from, *slot)).or_insert(cost);
            }
        }
        let delays = cost.delays + u32::from(from != to);
        self.sent += 1;
        self.queue.insert((Cost { delays, ..cost }, self.sent), (from, to, message));
    }

    fn settle(&mut self) {
        while let Some(((cost, _), (from, to, message))) = self.queue.pop_first() {
            self.step(to, cost, |replica, fx| replica.on_message(from, message, fx));
        }
    }

    fn elect(&mut self) -> NodeId {
        for now_ms in (0..10_000).step_by(10) {
            for id in (1..=3).map(n) {
                self.step(id, Cost::default(), |replica, fx| replica.on_tick(now_ms, now_ms, fx));
                self.settle();
            }
            let leads = |replica: &Replica<Ledger>| matches!(replica.proposer.phase(), proposer::Phase::Leading(_));
            if let Some((id, _)) = self.replicas.iter().find(|(_, replica)| leads(replica)) {
                return *id;
            }
        }
        panic!("nobody leads after ten seconds");
    }

    /// A client of `at` submits; returns the slot's costs by node.
    fn submit(&mut self, at: NodeId) -> BTreeMap<NodeId, Cost> {
        let before: BTreeSet<(NodeId, Slot)> = self.chosen.keys().copied().collect();
        let submit = ProposerMessage::Submit { commands: vec![command(1, 1, "x")] };
        self.step(at, Cost::default(), |replica, fx| replica.on_message(at, submit.into(), fx));
        self.settle();
        let new = self.chosen.iter().filter(|(key, _)| !before.contains(key));
        new.map(|((node, _), cost)| (*node, *cost)).collect()
    }
}

#[test]
fn a_value_is_chosen_two_message_delays_and_one_durable_write_after_it_reached_the_leader() {
    let mut course = Course::new();
    let leader = course.elect();
    let costs = course.submit(leader);
    assert_eq!(costs[&leader], Cost { delays: 2, syncs: 1 });
    for follower in (1..=3).map(n).filter(|node| *node != leader) {
        assert_eq!(costs[&follower], Cost { delays: 3, syncs: 1 }, "the announcement goes at once");
    }
}

#[test]
fn a_follower_adds_one_delay_for_its_clients_command() {
    let mut course = Course::new();
    let leader = course.elect();
    let follower = (1..=3).map(n).find(|node| *node != leader).expect("two follow");
    let costs = course.submit(follower);
    assert_eq!(costs[&leader], Cost { delays: 3, syncs: 1 });
    assert_eq!(costs[&follower], Cost { delays: 4, syncs: 1 }, "and the announcement answers it");
}
