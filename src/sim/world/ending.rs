//! The faults end, the cluster heals by itself and serves, and everything is counted up.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::paxos::proposer::Phase;
use crate::paxos::{Bytes, Place, Slot};
use crate::sim::check::{Broken, Held, linearizable, liveness};
use crate::sim::history::Fate;
use crate::sim::node::{Node, State};
use crate::sim::plan::Network;
use crate::sim::trace::Lanes;

impl World {
    /// The nodes that can still vote: whole disks, and neither broken nor wiped.
    fn voters(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.running().is_some_and(|running| running.replica.acceptor.admission().admitted()))
    }

    /// One node leads, and every node that may vote has executed everything that is chosen.
    pub(in crate::sim) fn has_healed(&self) -> bool {
        let leading = |node: &Node| {
            node.running().is_some_and(|running| matches!(running.replica.proposer.phase(), Phase::Leading(_)))
        };
        let upto = self.checks.agreement.chosen().last_key_value().map_or(Slot::ZERO, |(slot, _)| *slot);
        self.nodes.iter().filter(|node| leading(node)).count() == 1
            && self.nodes.iter().all(|node| node.spoiled || node.running().is_some())
            && self.voters().count() >= self.plan.quorum() as usize
            && self
                .voters()
                .all(|node| node.running().is_some_and(|running| running.replica.executor.executed_upto() == upto))
    }

    /// How the nodes stand, for a failure's sentence.
    pub(in crate::sim) fn standing(&self) -> String {
        let each = self.nodes.iter().map(|node| match &node.state {
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
        each.collect::<Vec<_>>().join("; ")
    }

    /// The whole story: faults, the end of faults, the cluster heals by itself, serves, and everything is counted up.
    ///
    /// # Errors
    /// A property broke.
    pub fn live(&mut self) -> Held {
        self.run_until(self.plan.length_us, |_| false)?;
        if self.excused {
            return self.close();
        }
        self.calm_down()?;
        let began_us = self.now_us;
        let patience_us = liveness::patience_us(&self.plan.settings);
        let healed = self.run_until(began_us + patience_us, World::has_healed)?;
        liveness::check("the cluster heals", healed, || self.standing())?;
        self.counts.slowest_heal_us = self.now_us - began_us;
        // Whatever the clients still wait for is settled now, and something new is served.
        self.clients.iter_mut().for_each(|client| client.thinks_until_us = 0);
        let operations = self.history.len() as u32;
        self.plan.clients.operations = operations + PROBES * self.plan.clients.count;
        self.plan.clients.deadline_ms = 60_000;
        self.plan.clients.think_us = 1_000;
        self.busy = true;
        (0..self.clients.len()).for_each(|client| self.wake(client, self.now_us + 1));
        let wanted = self.plan.clients.operations as usize;
        let served = self.run_until(self.now_us + patience_us + DEADLINES_US, |world| {
            world.history.len() >= wanted && world.clients.iter().all(|client| client.pending.is_empty())
        })?;
        liveness::check("new operations are served", served, || self.standing())?;
        self.busy = false;
        let agreed = self.run_until(self.now_us + patience_us, World::has_healed)?;
        liveness::check("all nodes execute everything", agreed, || self.standing())?;
        self.close()
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
            let down = matches!(state, State::Down);
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
        if self.excused {
            return Ok(());
        }
        self.checks.states.advance(self.checks.agreement.chosen())?;
        let places = self.checks.exactly_once.check(self.checks.agreement.chosen(), &self.checks.states)?;
        self.find_places(places);
        match linearizable::check(&self.history) {
            linearizable::Verdict::Linearizable => Ok(()),
            linearizable::Verdict::Undecided { .. } => {
                self.counts.undecided += 1;
                Ok(())
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

/// How many new operations each client has once the cluster has healed.
const PROBES: u32 = 2;
/// What clients wait for may first have to run out, in microseconds.
const DEADLINES_US: u64 = 6_000_000;
