//! A world that does what it is told, step by step: who asks what when, who can reach whom, and how the logs look.
//!
//! A scenario begins with [`World::scripted`], a world in which nothing goes wrong by itself but what its network does,
//! and then says what happens. Time stands still between two calls.
//!
//! A client that is cut off from a node keeps its connection, as one over TCP would: what is said meanwhile arrives when
//! the cut heals, in order. Its session notices the silence and turns to another node. Where frames of clients can be
//! lost, a lost frame takes its connection along; that is what loss looks like to whoever speaks over streams.

use std::collections::{BTreeMap, BTreeSet};

use super::check::lab::{Log, Status};
use super::check::{Broken, Held};
use super::history::{Call, Fate, Operation};
use super::node::State;
use super::plan::Plan;
use super::world::{Happening, World};
use crate::codec::encode;
use crate::paxos::dice::Dice;
use crate::paxos::dispatch::Mail;
use crate::paxos::{Bytes, Entry, ExecutorMessage, Replica, Slot, Value};

/// What a scenario adds to a world.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What each node was ever told is chosen, if that is kept.
    told: Option<Vec<BTreeMap<Slot, Value>>>,
    /// Messages that nodes and clients sent to nodes.
    pub to_nodes: u64,
    /// Of 1000 frames between a client and a node so many are lost, with their connection.
    client_loss: u64,
    /// What clients and nodes said to each other across a cut, in order.
    pub held: Vec<Happening>,
}

impl Script {
    /// A node's roles write to each other.
    pub fn on_mail(&mut self, node: usize, mail: &Mail) {
        let Some(told) = &mut self.told else { return };
        for (_, message) in &mail.executor {
            if let ExecutorMessage::Chosen { entries } = message {
                told[node].extend(entries.iter().map(|(slot, _, value)| (*slot, value.clone())));
            }
        }
    }

    /// A node more.
    pub fn on_newcomer(&mut self) {
        self.told.iter_mut().for_each(|told| told.push(BTreeMap::new()));
    }

    /// Whether this frame is lost, and its connection with it.
    pub fn breaks_connection(&self, dice: &mut Dice) -> bool {
        self.client_loss > 0 && dice.below(1000) < self.client_loss
    }
}

/// Who can reach whom: nodes and clients, by position. Those of different groups cannot, and who is in none can reach
/// nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Nodes.
    pub nodes: Vec<usize>,
    /// Clients.
    pub clients: Vec<usize>,
}

/// A world that is driven by a scenario.
impl World {
    /// A world in which clients ask only what they are told to. Of 1000 frames between a client and a node,
    /// `client_loss` are lost with their connection. With `lines`, its trace can be shown.
    ///
    /// # Errors
    /// A property broke at once.
    pub fn scripted(plan: &Plan, client_loss: u64, lines: bool) -> Result<World, Broken> {
        let mut world = World::new(plan, lines)?;
        world.busy = false;
        world.script.client_loss = client_loss;
        world.script.told = Some(vec![BTreeMap::new(); world.nodes.len()]);
        Ok(world)
    }

    /// The time, in microseconds since the beginning.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// A node stops, and does not start again by itself.
    pub fn stop(&mut self, node: usize) {
        self.crash(node, false, NEVER_US, "is told to");
    }

    /// Every node may vote, and one leads.
    pub fn is_founded(&self) -> bool {
        self.leader().is_some()
            && self
                .nodes
                .iter()
                .all(|node| node.running().is_some_and(|running| running.replica.acceptor.admission().admitted()))
    }

    // Clients.

    /// A client asks something, to be done within so many milliseconds from now. A value that is written must be a new
    /// one. Gives its place in the history.
    pub fn submit(&mut self, client: usize, key: u32, call: Call, within_ms: u64) -> usize {
        let deadline_ms = self.now_us / 1000 + within_ms;
        self.ask(client, key, call, deadline_ms);
        let at_us = self.now_us + 1;
        self.wake(client, at_us);
        self.history.len() - 1
    }

    /// Whether the client waits for nothing.
    pub fn is_idle(&self, client: usize) -> bool {
        self.clients[client].pending.is_empty()
    }

    /// What became of an operation.
    pub fn operation(&self, place: usize) -> &Operation {
        &self.history[place]
    }

    /// Waits until the operation is finished, or that time has come. Whether it was done.
    ///
    /// # Errors
    /// A property broke.
    pub fn wait_for(&mut self, place: usize, until_us: u64) -> Result<bool, Broken> {
        let client = self.history[place].client as usize;
        while !self.is_idle(client) && self.step(until_us)? {}
        Ok(matches!(self.history[place].fate, Fate::Done(..)))
    }

    // Time.

    /// The next thing happens, if it does so by that time; else time passes until then. Whether it did.
    ///
    /// # Errors
    /// A property broke.
    pub fn step(&mut self, until_us: u64) -> Result<bool, Broken> {
        match self.queue.next_us() {
            Some(next_us) if next_us <= until_us => {
                let (at_us, happening) = self.queue.next().expect("there is a next");
                self.now_us = at_us;
                self.happen(happening)?;
                Ok(true)
            }
            _ => {
                self.now_us = self.now_us.max(until_us);
                Ok(false)
            }
        }
    }

    /// So many milliseconds pass.
    ///
    /// # Errors
    /// A property broke.
    pub fn advance(&mut self, ms: u64) -> Held {
        let until_us = self.now_us + ms * 1000;
        while self.step(until_us)? {}
        Ok(())
    }

    // The network.

    /// From now on only those of one group can reach each other.
    pub fn partition(&mut self, groups: &[Group]) {
        self.release();
        let (nodes, clients) = (self.nodes.len(), self.clients.len());
        let together = |in_group: &dyn Fn(&Group) -> bool| groups.iter().any(in_group);
        let apart = |from: usize, to: usize| {
            from != to && !together(&|group| group.nodes.contains(&from) && group.nodes.contains(&to))
        };
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let cuts: BTreeSet<_> = pairs.filter(|(from, to)| apart(*from, *to)).collect();
        self.links.cut(BY_SCRIPT, cuts);
        let pairs = (0..clients).flat_map(|client| (0..nodes).map(move |node| (client, node)));
        let apart = |client: &usize, node: &usize| {
            !together(&|group| group.clients.contains(client) && group.nodes.contains(node))
        };
        self.links.keep_apart(pairs.filter(|(client, node)| apart(client, node)).collect());
    }

    /// Everybody can reach everybody.
    pub fn heal(&mut self) {
        self.links.mend(BY_SCRIPT);
        self.links.keep_apart(BTreeSet::new());
        self.release();
    }

    /// What was held arrives, or is held again.
    pub(super) fn release(&mut self) {
        for happening in std::mem::take(&mut self.script.held) {
            self.queue.plan(self.now_us, happening);
        }
    }

    /// Messages that nodes and clients sent to nodes so far, each counted alone however they travelled.
    pub fn messages_to_nodes(&self) -> u64 {
        self.script.to_nodes
    }

    // Logs.

    /// How a node shows its log.
    pub fn log(&self, node: usize) -> Log {
        let mut log = Log { first_non_cleared: Slot(1), last_non_empty: Slot::ZERO, slots: BTreeMap::new() };
        let State::Up(running) = &self.nodes[node].state else { return log };
        let (acceptor, learner) = (&running.replica.acceptor, &running.replica.learner);
        let told = self.script.told.as_ref().map(|told| &told[node]);
        for (slot, (_, value)) in acceptor.votes() {
            log.slots.insert(*slot, (Status::Accepted, Some(value.clone())));
        }
        for (slot, (_, value)) in learner.ahead() {
            log.slots.insert(*slot, (Status::Chosen, Some(value.clone())));
        }
        for slot in Slot::ZERO.above(learner.chosen_upto()) {
            let value = told.and_then(|told| told.get(&slot)).filter(|_| slot > learner.trimmed_upto());
            let status = if value.is_some() { Status::Chosen } else { Status::Cleared };
            log.slots.insert(slot, (status, value.cloned()));
        }
        log.first_non_cleared = learner.trimmed_upto().next();
        log.last_non_empty = log.slots.last_key_value().map_or(Slot::ZERO, |(slot, _)| *slot);
        log
    }

    /// How all nodes show their logs.
    pub fn logs(&self) -> Vec<Log> {
        (0..self.nodes.len()).map(|node| self.log(node)).collect()
    }

    /// How many bytes a node holds besides its machine and its snapshots: its roles, as encoded, the results and questions
    /// that its executor holds, and whatever is not trimmed of its journal.
    pub fn held_bytes(&self, node: usize) -> u64 {
        let Some(running) = self.nodes[node].running() else { return 0 };
        let Replica { proposer, acceptor, learner, executor } = &running.replica;
        let roles = encode(proposer).len() + encode(acceptor).len() + encode(learner).len() + executor.held_bytes();
        roles as u64 + running.scribe.journal().size_bytes()
    }

    /// How far a slot has come on a node.
    pub fn status(&self, node: usize, slot: Slot) -> Status {
        self.log(node).status(slot)
    }

    /// The operations that a node shows in a slot; none if it is empty, cleared, or a no-op.
    pub fn command(&self, node: usize, slot: Slot) -> Vec<Bytes> {
        let log = self.log(node);
        let entries = log.command(slot).into_iter().flat_map(Value::entries);
        let operations = entries.filter_map(|entry| match entry {
            Entry::Apply { operation, .. } => Some(Bytes::from(operation)),
            _ => None,
        });
        operations.collect()
    }

    /// The first slot that a node has not cleared.
    pub fn first_non_cleared(&self, node: usize) -> Slot {
        self.log(node).first_non_cleared
    }

    /// The last slot that is not empty on a node.
    pub fn last_non_empty(&self, node: usize) -> Slot {
        self.log(node).last_non_empty
    }

    /// What is chosen, by the count of votes that a check keeps by itself.
    pub fn chosen(&self) -> &BTreeMap<Slot, Value> {
        self.checks.agreement.chosen()
    }

    /// Looks that are only worth while at the end; `by_search`, also whether each key's history has an order, which is
    /// hard to find where many write one key at once.
    ///
    /// # Errors
    /// A property broke.
    pub fn finish(&mut self, by_search: bool) -> Held {
        if by_search {
            return self.close();
        }
        self.checks.states.advance(self.checks.agreement.chosen())?;
        self.checks.exactly_once.check(self.checks.agreement.chosen(), &self.checks.states).map(drop)
    }
}

/// The cuts of a scenario among those of faults.
const BY_SCRIPT: usize = usize::MAX;
/// Longer than any scenario, in microseconds.
const NEVER_US: u64 = u64::MAX / 4;

#[cfg(test)]
mod tests {
    use super::super::plan::Wishes;
    use super::*;
    use crate::sim::history::Told;

    fn world() -> World {
        let mut plan =
            Plan::new(3, &Wishes { nodes: Some(3), faults: super::super::FaultSet::NONE, ..Wishes::default() });
        plan.settings.mark_ms = u64::MAX;
        plan.clients.count = 2;
        plan.clients.operations = 0;
        let mut world = World::scripted(&plan, 0, false).expect("nothing happened yet");
        while !world.is_founded() {
            assert!(world.step(5_000_000).expect("nothing goes wrong"), "three nodes found a cluster in time");
        }
        world
    }

    #[test]
    fn a_client_that_is_cut_off_hears_nothing_until_the_cut_heals() {
        let mut world = world();
        let put = world.submit(0, 1, Call::Put("a".into()), 60_000);
        assert_eq!(world.wait_for(put, 5_000_000), Ok(true));
        world.partition(&[Group { nodes: vec![0, 1, 2], clients: vec![1] }]);
        let get = world.submit(0, 1, Call::Get, 60_000);
        let until_us = world.now_us() + 3_000_000;
        assert_eq!(world.wait_for(get, until_us), Ok(false));
        assert_eq!(world.now_us(), until_us, "time passed");
        let other = world.submit(1, 1, Call::Get, 60_000);
        assert_eq!(world.wait_for(other, until_us + 1_000_000), Ok(true), "who is not cut off is served");
        world.heal();
        assert_eq!(world.wait_for(get, until_us + 2_000_000), Ok(true));
        assert!(matches!(&world.operation(get).fate, Fate::Done(_, Told::Value(Some(value))) if **value == *b"a"));
        assert_eq!(world.finish(true), Ok(()));
    }

    #[test]
    fn logs_are_shown_slot_by_slot() {
        let mut world = world();
        assert_eq!((world.first_non_cleared(0), world.last_non_empty(0)), (Slot(1), Slot::ZERO));
        let put = world.submit(0, 1, Call::Put("a".into()), 60_000);
        assert_eq!(world.wait_for(put, 5_000_000), Ok(true));
        assert_eq!(world.advance(1_000), Ok(()));
        let last = world.last_non_empty(1);
        assert_eq!(world.status(1, last), Status::Chosen);
        assert_eq!(world.command(1, last), [Call::Put("a".into()).encode(1)]);
        assert_eq!(world.command(1, last), world.command(2, last));
        assert_eq!(world.status(1, last.next()), Status::Empty);
        assert!(world.messages_to_nodes() > 0);
        world.stop(1);
        assert_eq!(world.status(1, last), Status::Empty, "a node that is stopped shows nothing");
    }
}
