//! The faults end, the cluster heals by itself and serves, also through a partition that stays, and everything is
//! counted up.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::paxos::marks::SELDOM;
use crate::paxos::proposer::Phase;
use crate::paxos::{Bytes, NodeId, Place, Slot};
use crate::sim::check::{Broken, Held, bank, linearizable, liveness};
use crate::sim::faults::FaultKind;
use crate::sim::history::{Call, Fate, Operation};
use crate::sim::node::{Node, Running, State};
use crate::sim::plan::{Lasting, Network};
use crate::sim::trace::Lanes;
use crate::storage::Snapshots;

impl World {
    /// The members that can still vote: whole disks, and neither broken nor wiped.
    fn voters(&self) -> impl Iterator<Item = &Node> {
        let votes =
            |node: &&Node| node.running().is_some_and(|running| running.replica.acceptor.admission().admitted());
        self.members().filter(votes)
    }

    /// The members in the end, as far as the log says.
    fn members(&self) -> impl Iterator<Item = &Node> {
        let latest = self.checks.states.membership().latest();
        self.nodes.iter().filter(|node| latest.contains(node.id))
    }

    /// How many of them are a quorum.
    fn quorum(&self) -> usize {
        self.checks.states.membership().latest().quorum()
    }

    /// One node leads, every newcomer has its vote, and every member that may vote has executed everything that is chosen.
    pub(in crate::sim) fn has_healed(&self) -> bool {
        let upto = self.chosen_upto();
        let votes = |node: &Node| node.running().is_some_and(|running| running.replica.acceptor.admission().admitted());
        (0..self.nodes.len()).filter(|node| self.leads(*node)).count() == 1
            && self.members().all(|node| node.spoiled || votes(node))
            && !self.members().filter_map(Node::running).any(is_under_repair)
            && self.voters().count() >= self.quorum()
            && self.checks.states.membership().newcomers().is_empty()
            && self.checks.states.membership().spans().len() == 1
            && self
                .voters()
                .all(|node| node.running().is_some_and(|running| running.replica.executor.executed_upto() == upto))
    }

    /// How the nodes stand, for a failure's sentence.
    pub(in crate::sim) fn standing(&self) -> String {
        let each = self.nodes.iter().map(|node| match &node.state {
            State::Down if node.gone => format!("{} is gone", node.id),
            State::Down => format!("{} is down", node.id),
            State::Broken(trouble) => format!("{} is broken: {trouble}", node.id),
            State::Up(running) => {
                let Phase::Leading(_) = running.replica.proposer.phase() else {
                    return format!(
                        "{} follows {:?}, admitted {}, executed {}, chosen {}",
                        node.id,
                        running.replica.proposer.leader(),
                        running.replica.acceptor.admission().admitted(),
                        running.replica.executor.executed_upto(),
                        running.replica.learner.chosen_upto()
                    );
                };
                format!("{} leads, executed {}", node.id, running.replica.executor.executed_upto())
            }
        });
        let membership = self.checks.states.membership();
        let of = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| node.to_string()).collect::<Vec<_>>().join(" ");
        let spans = membership
            .spans()
            .iter()
            .map(|span| format!("{}: {}", span.first, of(span.configuration.nodes().collect())));
        let newcomers = of(membership.newcomers().iter().map(|member| member.id).collect());
        let members = format!(
            "chosen {}, members from {}; newcomers {newcomers}",
            self.chosen_upto(),
            spans.collect::<Vec<_>>().join(", from ")
        );
        each.chain([members]).collect::<Vec<_>>().join("; ")
    }

    /// The whole story: faults, the end of faults, the cluster heals by itself, serves, serves through a partition that
    /// stays, and everything is counted up.
    ///
    /// # Errors
    /// A property broke.
    pub fn live(&mut self) -> Held {
        self.run_until(self.plan.length_us, |_| false)?;
        if self.excused {
            return self.close();
        }
        self.calm_down()?;
        // No client helps: none reaches a node until all is well.
        self.part_clients();
        self.counts.slowest_heal_us = self.await_healing("the cluster heals")?;
        self.heal();
        self.settle()?;
        self.serve("new operations are served")?;
        self.await_healing("all nodes execute everything")?;
        self.await_soundness()?;
        self.await_trimming()?;
        self.endure()?;
        self.close()
    }

    /// No client reaches any node; what they and the nodes have said to each other waits.
    fn part_clients(&mut self) {
        let nodes = self.nodes.len();
        let apart = |client| (0..nodes).map(move |node| (client, node));
        self.links.keep_apart((0..self.clients.len()).flat_map(apart).collect());
    }

    /// The cluster heals by itself. How long it took, in microseconds.
    fn await_healing(&mut self, what: &str) -> Result<u64, Broken> {
        let began_us = self.now_us;
        // Newcomers get their votes one after the other.
        let newcomers = self.checks.states.membership().newcomers().len() as u64;
        let until_us = began_us + self.patience_us() + newcomers * PROMOTION_US;
        let healed = self.run_until(until_us, World::has_healed)?;
        liveness::check(what, healed, || self.standing())?;
        Ok(self.now_us - began_us)
    }

    /// Something was written since a machine was harmed, if one was: a mark follows, and tells of it.
    fn await_soundness(&mut self) -> Held {
        let until_us = self.now_us + self.plan.settings.mark_ms * SELDOM * 1_000 + self.patience_us();
        let sound = self.run_until(until_us, World::is_sound)?;
        liveness::check("what differs is repaired", sound, || self.standing())
    }

    /// What snapshots cover, and every member has executed, leaves the journals.
    fn await_trimming(&mut self) -> Held {
        let trimmed = self.run_until(self.now_us + self.patience_us(), World::has_trimmed)?;
        liveness::check("what every member has executed and snapshots cover is given up", trimmed, || self.standing())
    }

    /// No voter holds a segment of which nobody needs anything.
    fn has_trimmed(&self) -> bool {
        let executed =
            |node: &Node| node.running().map_or(Slot::ZERO, |running| running.replica.executor.executed_upto());
        let everywhere_upto = self.members().map(executed).min().unwrap_or_default();
        self.voters().all(|node| {
            let covered_upto = Snapshots::new(node.disk.clone()).safe_upto().unwrap_or_default();
            let upto = covered_upto.min(everywhere_upto);
            let is_left = |running: &Running| upto > Slot::ZERO && running.scribe.journal().can_trim(upto);
            !node.running().is_some_and(is_left)
        })
    }

    /// Every member's state that runs is right.
    fn is_sound(&self) -> bool {
        let latest = self.checks.states.membership().latest();
        let is_running_member = |node: &Node| node.running().is_some() && latest.contains(node.id);
        self.nodes.iter().enumerate().all(|(node, held)| !is_running_member(held) || !self.harmed.has(node))
    }

    /// Whatever clients still wait for comes to an end, by its own deadline if need be.
    fn settle(&mut self) -> Held {
        let settled = self.run_until(self.now_us + self.patience_us() + DEADLINES_US, World::all_answered)?;
        liveness::check("old operations end", settled, || self.standing())
    }

    fn all_answered(&self) -> bool {
        self.clients.iter().all(|client| client.pending.is_empty() && client.changes.is_empty())
    }

    /// Every client, with nothing under way, asks something new, a write first; it is done in time. Who hears that its
    /// session expired, and does not know what became of the write, asks again.
    fn serve(&mut self, what: &str) -> Held {
        let mut places: Vec<usize> = Vec::new();
        let until_us = self.now_us + self.patience_us();
        for index in 0..self.clients.len() {
            let key = self.clients[index].dice.below(u64::from(self.plan.clients.keys)) as u32;
            places.extend([self.ask_late(index, key, false), self.ask_late(index, key, true)]);
        }
        let mut served = self.run_until(until_us, World::all_answered)?;
        while let Some(index) = places.iter().position(|place| self.expired.remove(place)) {
            let Operation { client, key, .. } = self.history[places.remove(index)];
            places.push(self.ask_late(client as usize, key, false));
            served = self.run_until(until_us, World::all_answered)?;
        }
        let done = |operation: &Operation| matches!(operation.fate, Fate::Done(..));
        places.retain(|place| !done(&self.history[*place]));
        liveness::check(what, served && (self.excused || places.is_empty()), || {
            let open = places.iter().map(|place| &self.history[*place]);
            let open: Vec<String> =
                open.map(|operation| format!("client {}'s {:?}", operation.client, operation.call)).collect();
            format!("{} not done; {}", open.join(", "), self.standing())
        })
    }

    /// A client asks for something after the faults, at once. Where the operation stands in the history.
    fn ask_late(&mut self, index: usize, key: u32, read: bool) -> usize {
        let place = self.history.len();
        let call = if read { Call::Get } else { Call::Append(Bytes::from(format!("{index} late {place} "))) };
        self.ask(index, key, call, self.now_us / 1000 + PROBE_DEADLINE_MS);
        self.wake(index, self.now_us + 1);
        place
    }

    /// A partition comes and stays. As long as some node is connected to a quorum, one that is leads, and the cluster
    /// serves (Ng, Haridi and Carbone, "Omni-Paxos", section 2: where others stand still). Then it heals.
    fn endure(&mut self) -> Held {
        let Some(Lasting { kind, node, chance }) = self.plan.lasting.clone() else { return Ok(()) };
        let fault = self.plan.faults.len();
        let nodes = self.present();
        let leader = self.leader().unwrap_or(nodes[0]);
        let mut node = nodes[node as usize % nodes.len()];
        if kind == FaultKind::Constrained {
            // First the log of one that does not lead falls behind; then only it is connected to a quorum.
            if node == leader {
                node = nodes[(nodes.partition_point(|other| *other <= node)) % nodes.len()];
            }
            self.links.cut(fault, self.cuts(FaultKind::Isolated, node, leader, chance));
            if !self.is_quorum_connected() {
                return self.mend(fault);
            }
            self.note_lasting("is alone at first", kind, node);
            self.serve("new operations are served while a log falls behind")?;
        }
        let leader = self.leader().unwrap_or(leader);
        let shape = if kind == FaultKind::Constrained { FaultKind::QuorumLoss } else { kind };
        let cuts = self.cuts(shape, node, leader, chance);
        let cuts_something = !cuts.is_empty();
        self.links.cut(fault, cuts);
        if !cuts_something || !self.is_quorum_connected() {
            return self.mend(fault);
        }
        self.note_lasting("comes and stays", kind, node);
        let led = self.run_until(self.now_us + self.patience_us(), World::is_led)?;
        liveness::check(&format!("a node that is connected to a quorum leads in spite of {kind}"), led, || {
            self.standing()
        })?;
        self.serve(&format!("new operations are served in spite of {kind}"))?;
        if !self.excused {
            self.counts.endured(kind);
        }
        self.mend(fault)
    }

    fn note_lasting(&mut self, what: &str, kind: FaultKind, node: usize) {
        self.trace.note(self.now_us, Lanes::Outside, (kind, node), || format!("{kind} {what}, around n{}", node + 1));
    }

    /// The partition ends, and the cluster heals.
    fn mend(&mut self, fault: usize) -> Held {
        self.links.mend(fault);
        self.await_healing("the cluster heals after a partition").map(drop)
    }

    fn patience_us(&self) -> u64 {
        liveness::patience_us(&self.plan.settings)
    }

    /// Whether this node and enough others that may vote can say anything to each other.
    fn hears_a_quorum(&self, node: usize) -> bool {
        let both = |peer: usize| self.links.is_open(node, peer) && self.links.is_open(peer, node);
        let hears = |peer: &&Node| peer.id == self.nodes[node].id || both(self.position(peer.id));
        let votes = |peer: &Node| peer.id == self.nodes[node].id;
        self.voters().any(votes) && self.voters().filter(hears).count() >= self.quorum()
    }

    fn is_quorum_connected(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.hears_a_quorum(node))
    }

    /// A node that is connected to a quorum leads.
    fn is_led(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.leads(node) && self.hears_a_quorum(node))
    }

    /// The faults end: links are whole, disks work, and whoever is down starts.
    pub(in crate::sim) fn calm_down(&mut self) -> Held {
        self.calm = true;
        self.busy = false;
        self.links.mend_all();
        self.network = Network { loss: 0, duplicate: 0, late: 0, ..self.network };
        self.trace.note(self.now_us, Lanes::Outside, "calm", || "the faults end".into());
        for node in 0..self.nodes.len() {
            let Node { paused_until_us, stalled_until_us, slowness, disk, state, .. } = &mut self.nodes[node];
            (*paused_until_us, *stalled_until_us, *slowness) = (0, 0, 1);
            disk.heal();
            let down = matches!(state, State::Down); // `start` leaves those be that are gone
            if down {
                self.start(node)?;
            }
            self.wake_roles(node);
        }
        Ok(())
    }

    /// Looks that are only worth while at the end.
    pub(in crate::sim) fn close(&mut self) -> Held {
        self.counts.simulated_us = self.now_us;
        self.counts.excused = u64::from(self.excused);
        self.counts.chosen = self.checks.agreement.chosen().len() as u64;
        self.checks.states.advance(self.checks.agreement.chosen())?;
        self.counts.configurations = self.checks.states.configurations().len() as u64 - 1;
        let places = self.checks.exactly_once.check(self.checks.agreement.chosen(), &self.checks.states)?;
        self.find_places(places);
        bank::check(self.checks.states.machine().bank(), &self.history)?;
        match linearizable::check(&self.history) {
            linearizable::Verdict::Linearizable => Ok(()),
            linearizable::Verdict::Undecided { key } => {
                let detail = format!("the history of k{key} is too hard to order: nobody knows whether it is right");
                Err(Broken::new("linearizable", detail))
            }
            linearizable::Verdict::Broken { key, placed } => {
                let detail = format!("no order explains what clients were told of k{key}; {placed} operations fit");
                Err(Broken::new("linearizable", detail))
            }
        }
    }

    /// Where operations stand whose clients do not know. Removals are all alike: any that nobody knows of will do.
    fn find_places(&mut self, mut places: BTreeMap<Bytes, Vec<Place>>) {
        places.values_mut().for_each(|places| places.sort_by(|one, other| other.cmp(one)));
        let known: BTreeSet<Place> = self.history.iter().filter_map(|operation| operation.place).collect();
        for operation in self.history.iter_mut().filter(|operation| operation.fate == Fate::Unknown) {
            if let Some(places) = places.get_mut(&operation.call.encode(operation.key)) {
                places.retain(|place| !known.contains(place));
                operation.place = places.pop();
            }
        }
    }
}

/// Whether its damaged journal is not repaired yet: whatever else befell its disk, the others can tell what it lost.
fn is_under_repair(running: &Running) -> bool {
    running.replica.acceptor.repair().is_under_way()
}

/// How long it takes until a newcomer has its vote, in microseconds.
const PROMOTION_US: u64 = 1_200_000;
/// How long a client waits for what it asks once the cluster has healed, in milliseconds: longer than the check.
const PROBE_DEADLINE_MS: u64 = 60_000;
/// What clients wait for may first have to run out, in microseconds.
const DEADLINES_US: u64 = 6_000_000;
