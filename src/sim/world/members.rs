//! Members come and go: whoever the log names has a folder and starts, whoever is dismissed stops for good, and an
//! operator asks for changes, as long as those that are left can go on.

use std::collections::BTreeSet;

use super::{Happening, World};
use crate::paxos::dice::Dice;
use crate::paxos::{Change, Configuration, Incarnation, NodeId, ProposerMessage, Slot};
use crate::sim::check::members::Members;
use crate::sim::check::{Checks, Held};
use crate::sim::node::{Letter, Node, Role, State};
use crate::sim::trace::Lanes;
use crate::storage::MemoryDisk;

impl World {
    /// The chosen log is executed; whoever it names starts a little later, as a newcomer whom a member has enrolled.
    pub(super) fn learn(&mut self) -> Held {
        self.checks.states.advance(self.checks.agreement.chosen())?;
        let membership = self.checks.states.membership();
        if (membership.last().0 as usize) <= self.nodes.len() {
            return Ok(());
        }
        self.checks.members.on_members(membership)?;
        let came: Vec<(Node, bool)> = (self.nodes.len() as u32 + 1..=membership.last().0)
            .map(|id| {
                let member = membership.member(NodeId(id));
                (member.map_or_else(|| Node::new(NodeId(id)), Node::of), membership.left(NodeId(id)).is_some())
            })
            .collect();
        for (mut node, has_left) in came {
            node.gone = has_left;
            self.nodes.push(node);
            self.script.on_newcomer();
            let at_us = self.now_us + 1_000 + self.dice.starts.below(200_000);
            self.queue.plan(at_us, Happening::Starts { node: self.nodes.len() - 1, life: 0 });
        }
        Ok(())
    }

    /// Whether this node has been told by a member that it is one, or has founded.
    pub(super) fn is_enrolled(&self, node: usize) -> bool {
        let Node { id, life, .. } = self.nodes[node];
        let knows = |other: &Node| other.running().is_some_and(|other| other.founded.membership.member(id).is_some());
        life > 0 || id.0 <= self.plan.nodes || self.nodes.iter().any(knows)
    }

    /// A node stops, because it has left and nobody needs it.
    pub(super) fn dismiss(&mut self, node: usize, from: Slot) -> Held {
        let members = &self.checks.members;
        members.on_dismissed(self.nodes[node].id, from, &self.checks.states, |id| self.would_know(id))?;
        self.crash(node, false, 1, "has left");
        self.nodes[node].gone = true;
        self.counts.dismissed += 1;
        Ok(())
    }

    /// What a node says to a leader of how far it has executed, if it does.
    pub(super) fn tells(&mut self, node: usize, message: &ProposerMessage) -> Held {
        let ProposerMessage::HeartbeatAck { executed_upto, .. } = message else { return Ok(()) };
        let id = self.nodes[node].id;
        let Checks { members, states, .. } = &mut self.checks;
        match members.on_told(id, *executed_upto, states) {
            Some(first) => Members::on_begun(id, first, self.would_know(id)),
            None => Ok(()),
        }
    }

    /// Up to where a node would know what is chosen if the power failed now: without its disk, up to where it knew.
    fn would_know(&self, id: NodeId) -> Slot {
        let node = &self.nodes[self.position(id)];
        let twin = if node.spoiled { None } else { self.twin_after(node, |_| 0) };
        match twin.as_ref().and_then(|(twin, _)| twin.running()) {
            Some(running) => running.replica.learner.chosen_upto(),
            None => self.checks.members.reached(id),
        }
    }

    /// The positions of the nodes that are not gone.
    pub(in crate::sim) fn present(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| !self.nodes[*node].gone).collect()
    }

    /// Whose disks are lost, or may be, and whose states are wrong.
    pub(in crate::sim) fn lost(&self) -> BTreeSet<NodeId> {
        let copied = |node: usize| self.copies.values().any(|(copied, _, _)| *copied == node);
        let lost = |node: &usize| {
            self.nodes[*node].spoiled || self.nodes[*node].gone || copied(*node) || self.harmed.has(*node)
        };
        (0..self.nodes.len()).filter(lost).map(|node| self.nodes[node].id).collect()
    }

    /// Whether a change was asked for that may still be done.
    pub(in crate::sim) fn is_changing(&self) -> bool {
        self.clients.iter().any(|client| client.in_doubt || !client.changes.is_empty())
    }

    /// The operator does something. Whether it did.
    pub(in crate::sim) fn operate(&mut self, dice: &mut Dice) -> bool {
        let membership = self.checks.states.membership().clone();
        let members: Vec<NodeId> = membership.members().into_iter().map(|member| member.id).collect();
        let any = members[dice.below(members.len() as u64) as usize];
        let (kind, force) = (dice.below(10), dice.below(2) == 0);
        // Where one has founded alone, the first acts are to make it three.
        let kind = if self.plan.nodes == 1 && members.len() < 3 { 2 } else { kind };
        if kind < 2 || self.is_changing() {
            return self.transfer(any, dice);
        }
        let name = |id: NodeId| membership.member(id).map(|member| member.name.clone()).unwrap_or_default();
        let number = self.nodes.len() + 1;
        let incarnation = Incarnation(u128::from(dice.roll()) << 64 | 2);
        let has_room = number <= MOST_EVER;
        let gone = members.iter().copied().find(|id| self.lost().contains(id));
        let is_wiped = kind == 8 && has_room && membership.latest().contains(any) && self.may_spoil(self.position(any));
        let change = match kind {
            2..5 if has_room && members.len() < MOST_AT_ONCE => Change::Add { name: format!("m{number}"), incarnation },
            5..7 if members.len() > 1 => Change::Remove { name: name(any) },
            7 if has_room => Change::Replace { name: name(any), incarnation },
            8 if is_wiped => Change::Replace { name: name(any), incarnation },
            _ if has_room && let Some(gone) = gone => Change::Replace { name: name(gone), incarnation },
            _ => return self.transfer(any, dice),
        };
        let mut lost = self.lost();
        lost.extend(is_wiped.then_some(any));
        if membership.voters_after(&change).is_some_and(|after| !goes_on(&after, &lost)) {
            return false;
        }
        if is_wiped {
            self.lose(self.position(any));
        }
        self.ask_change(change, force && lost.is_empty());
        true
    }

    /// The operator asks for a change; with `force`, whoever answers.
    pub(in crate::sim) fn ask_change(&mut self, change: Change, force: bool) {
        let operator = self.plan.clients.count as usize;
        self.trace.note(self.now_us, Lanes::Outside, (operator, "change"), || format!("the operator asks: {change:?}"));
        self.checks.proposed.on_change(&change);
        let deadline_ms = self.now_us / 1000 + CHANGE_MS;
        self.clients[operator].ask_change(change, force, deadline_ms);
        self.wake(operator, self.now_us + 1);
    }

    /// Another is to lead, somebody is told.
    fn transfer(&mut self, to: NodeId, dice: &mut Dice) -> bool {
        let present = self.present();
        let node = present[dice.below(present.len() as u64) as usize];
        let own = self.nodes[node].id;
        let Some(running) = self.nodes[node].running_mut() else { return false };
        running.post(Role::Proposer, Letter::Message(own, ProposerMessage::Transfer { to }.into()));
        self.wake_roles(node);
        true
    }

    /// A node's disk is lost for good.
    fn lose(&mut self, node: usize) {
        self.crash(node, true, 1, "its disk is lost for good");
        self.nodes[node].state = State::Down;
        self.nodes[node].disk = MemoryDisk::new();
        self.nodes[node].spoil();
        self.nodes[node].gone = true;
    }

    /// Whether what befalls this node's disk leaves a quorum of each configuration that is needed.
    pub(in crate::sim) fn can_lose(&self, node: usize) -> bool {
        let id = self.nodes[node].id;
        let mut lost = self.lost();
        if !lost.insert(id) {
            return true;
        }
        let membership = self.checks.states.membership();
        !self.is_changing()
            && membership.newcomers().iter().all(|newcomer| newcomer.id != id)
            && self.checks.members.needed(&lost, &self.checks.states).into_iter().all(|held| goes_on(held, &lost))
    }
}

/// Whether a quorum is left without these.
fn goes_on(configuration: &Configuration, lost: &BTreeSet<NodeId>) -> bool {
    configuration.nodes().filter(|node| !lost.contains(node)).count() >= configuration.quorum()
}

/// The most members at once, newcomers included.
const MOST_AT_ONCE: usize = 7;
/// The most that ever are in one run.
const MOST_EVER: usize = 12;
/// How long the operator waits for an outcome, in milliseconds: until there is one.
const CHANGE_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::client::Client;
    use crate::sim::faults::FaultSet;
    use crate::sim::plan::{Plan, Wishes};

    /// A world of three in which nothing goes wrong, and an operator.
    fn world() -> World {
        let mut plan = Plan::new(3, &Wishes { nodes: Some(3), faults: FaultSet::NONE, ..Wishes::default() });
        (plan.alpha, plan.clients.operations) = (5, 0);
        let mut world = World::scripted(&plan, 0, false).expect("nothing happened yet");
        while !world.is_founded() {
            assert!(world.step(5_000_000).expect("nothing goes wrong"), "three nodes found a cluster in time");
        }
        world.clients.push(Client::operator(plan.clients.count, Dice::new(1)));
        world
    }

    fn change(world: &mut World, change: Change) {
        world.ask_change(change, false);
        let until_us = world.now_us + 20_000_000;
        let done = world.run_until(until_us, |world| !world.is_changing() && world.has_healed());
        assert_eq!(done, Ok(true), "{}", world.standing());
    }

    fn members(world: &World) -> Vec<u32> {
        world.checks.states.membership().latest().nodes().map(|node| node.0).collect()
    }

    #[test]
    fn one_comes_and_one_goes_where_nothing_goes_wrong() {
        let mut world = world();
        change(&mut world, Change::Add { name: "m4".into(), incarnation: Incarnation(44) });
        assert_eq!(members(&world), [1, 2, 3, 4]);
        change(&mut world, Change::Remove { name: "n1".into() });
        assert_eq!(members(&world), [2, 3, 4]);
        let until_us = world.now_us + 5_000_000;
        assert_eq!(world.run_until(until_us, |world| world.nodes[0].gone), Ok(true), "it is dismissed");
        change(&mut world, Change::Replace { name: "n2".into(), incarnation: Incarnation(45) });
        assert_eq!(members(&world), [3, 4, 5]);
        assert_eq!(world.finish(true), Ok(()));
    }

    #[test]
    fn rule_6_those_that_stay_go_on_after_a_power_failure_without_those_that_left() {
        let mut world = world();
        change(&mut world, Change::Remove { name: "n1".into() });
        let asked = Change::Remove { name: "n2".into() };
        world.ask_change(asked, false);
        let until_us = world.now_us + 20_000_000;
        let is_alone = |world: &World| world.nodes[0].gone && world.nodes[1].gone;
        assert_eq!(world.run_until(until_us, is_alone), Ok(true), "{}", world.standing());
        world.crash(2, true, 100_000, "the power goes");
        assert_eq!(world.run_until(until_us, World::has_healed), Ok(true), "{}", world.standing());
        assert_eq!(world.finish(true), Ok(()));
    }

    #[test]
    fn no_disk_is_lost_that_a_configuration_needs() {
        let mut world = world();
        assert!(world.can_lose(2));
        world.lose(2);
        assert!(!world.can_lose(0), "two of three are left");
        assert_eq!(world.present(), [0, 1]);
        world.ask_change(Change::Remove { name: "n3".into() }, false);
        assert!(!world.can_lose(0), "a change may be done at any time");
    }
}
