//! A machine changes by itself: memory that flips, or code that is not deterministic. The log does not tell of it; the
//! next mark does (DESIGN section 4, rule 8).
//!
//! What befalls the machine is a key that no client knows, so that what clients were told stays explainable, and the
//! harmed node may be found out by its digest alone.

use std::collections::BTreeMap;

use super::check::{Broken, Held};
use super::world::World;
use crate::machine::kv::Operation;
use crate::machine::{Composite, MachineId};
use crate::paxos::{Context, Executor, NodeId, Place, Slot, StateMachine};

/// The nodes whose machine is harmed and not known to be right again.
#[derive(Clone, Debug, Default)]
pub struct Harmed {
    /// By position: behind which slot it befell them.
    since: BTreeMap<usize, Slot>,
    /// The same of those that have started anew: what they had reported of it may still stand in the log.
    reported: BTreeMap<usize, Slot>,
}

impl Harmed {
    /// Whether this one's is.
    pub fn has(&self, node: usize) -> bool {
        self.since.contains_key(&node)
    }

    /// A node starts from its disk, which holds nothing of it.
    pub fn forget(&mut self, node: usize) {
        if let Some(since) = self.since.remove(&node) {
            self.reported.insert(node, since);
        }
    }

    /// Whether another one may still have a wrong report in the log, of a mark that is not agreed on: two that are wrong alike
    /// may be a quorum.
    fn has_reported(&mut self, node: usize, agreed: Slot) -> bool {
        self.reported.retain(|_, since| agreed <= *since);
        self.reported.keys().any(|other| *other != node)
    }

    /// A node's state was compared with the reference. A harmed one may differ, but must not serve once it has executed
    /// the agreement on a mark behind the harm, and knows its own digest there.
    pub fn judge(&mut self, node: usize, own: NodeId, executor: &Executor<Composite>, compared: Held) -> Held {
        let Some(since) = self.since.get(&node).copied() else { return compared };
        let Err(broken) = compared else {
            if executor.serves() {
                self.since.remove(&node);
            }
            return Ok(());
        };
        let agreed = executor.agreement().agreed();
        let is_told = agreed.is_some_and(|(mark, _)| mark > since && executor.has_digest(mark));
        if executor.serves() && is_told {
            let detail = format!("{own} serves a wrong state, and the log has told of it: {}", broken.detail);
            return Err(Broken::new("agreed_state", detail));
        }
        Ok(())
    }
}

impl World {
    /// The machine of a running node changes, if enough others are right. Whether it did.
    pub(super) fn harm(&mut self, node: usize) -> bool {
        // Who may not vote any more under its old name may not come up to the others, either.
        if self.nodes[node].spoiled || !self.can_lose(node) {
            return false;
        }
        let executors = self.nodes.iter().filter_map(|held| held.running()).map(|running| &running.replica.executor);
        let agreed = executors.filter_map(|executor| executor.agreement().agreed()).map(|(mark, _)| mark).max();
        if self.harmed.has_reported(node, agreed.unwrap_or(Slot::ZERO)) {
            return false;
        }
        let Some(running) = self.nodes[node].running_mut() else { return false };
        let upto = running.replica.executor.executed_upto();
        let put = MachineId::Kv.encode(&Operation::Put { key: "harm".into(), value: "x".into() });
        let context = Context { now_ms: 0, seed: 0, place: Place { slot: upto, index: 0 } };
        running.replica.executor.befall(|machine| drop(machine.apply(&context, &put)));
        self.harmed.since.insert(node, upto);
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::faults::{FaultKind, FaultSet};
    use crate::sim::plan::{Plan, Wishes};
    use crate::sim::world::World;

    /// One node of several is harmed in the middle of a run, whichever it is; the cluster heals by itself.
    fn live_with_harm(faults: FaultSet, seeds: std::ops::Range<u64>) -> u64 {
        let mut rebuilt = 0;
        for seed in seeds {
            let mut plan =
                Plan::new(seed, &Wishes { nodes: Some(3 + seed as u32 % 2 * 2), faults, ..Wishes::default() });
            (plan.settings.mark_ms, plan.settings.snapshot_slots) = (100 + seed % 3 * 200, 8 + seed % 5 * 8);
            let mut world = World::new(&plan, false).expect("it begins");
            world.run_until(300_000 + seed * 37_000, |_| false).unwrap_or_else(|broken| panic!("{seed}: {broken:?}"));
            world.harm((seed % 3) as usize);
            world.live().unwrap_or_else(|broken| panic!("seed {seed}: {broken:?}"));
            rebuilt += world.counts.rebuilt;
        }
        rebuilt
    }

    #[test]
    fn rule_8_a_harmed_machine_is_found_and_repaired_and_serves_nothing_wrong() {
        assert!(live_with_harm(FaultSet::NONE, 0..12) >= 10, "nearly all are found before the end");
    }

    #[test]
    fn rule_8_a_repair_survives_crashes_at_any_step() {
        let faults = FaultSet::NONE.with(FaultKind::Kill).with(FaultKind::PowerLoss).with(FaultKind::Loss);
        live_with_harm(faults, 0..24);
    }
}
