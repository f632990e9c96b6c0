//! trimmed ≤ saved, snapshot ≤ executed ≤ chosen, settled ≤ chosen, every vote within the promise: [`Replica::check`] says
//! it.

use super::{Broken, Held};
use crate::machine::Composite;
use crate::paxos::{NodeId, Replica, Slot};
use crate::storage::{MemoryDisk, Snapshots};

/// A node did something. Its disk is asked only when the executor has not heard yet of the snapshot that allowed a trim.
pub fn check(node: NodeId, replica: &Replica<Composite>, disk: &MemoryDisk) -> Held {
    let mut saved = replica.executor.snapshot_upto();
    if replica.learner.trimmed_upto() > saved {
        let kept = Snapshots::new(disk.clone()).kept().unwrap_or_default();
        saved = kept.last().copied().unwrap_or(Slot::ZERO);
    }
    replica.check(saved).map_err(|broken| Broken::new("watermarks", format!("{node}: {broken}")))
}
