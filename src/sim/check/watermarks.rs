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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{BatchNumber, Configuration, Damage, Effects, LearnerMessage, Recovered, Settings};

    #[test]
    fn what_is_trimmed_must_stand_in_a_snapshot_on_the_disk() {
        let recovered = Recovered {
            snapshot: None,
            records: vec![],
            trimmed_upto: Slot::ZERO,
            last_batch: BatchNumber(0),
            damage: Damage::default(),
            company: Default::default(),
        };
        let fx = &mut Effects::new();
        let (configuration, settings) = (Configuration::numbered(3), Settings::default());
        let replica = Replica::recover(
            NodeId(1),
            crate::paxos::Membership::founded(configuration),
            &settings,
            Composite::default(),
            1,
            recovered,
            fx,
        );
        let mut replica = replica;
        let disk = MemoryDisk::new();
        assert_eq!(check(NodeId(1), &replica, &disk), Ok(()));
        replica.learner.on_message(NodeId(1), LearnerMessage::Trimmed { upto: Slot(3) }, fx);
        let broken = check(NodeId(1), &replica, &disk).expect_err("no snapshot holds what is trimmed");
        assert!(broken.detail.starts_with("1: trimmed_upto <= the newest snapshot saved"), "{}", broken.detail);
        Snapshots::new(disk.clone()).save(Slot(2), [b"too early"]).expect("a disk that works");
        assert!(check(NodeId(1), &replica, &disk).is_err());
        Snapshots::new(disk.clone()).save(Slot(3), [b"the state"]).expect("a disk that works");
        let broken = check(NodeId(1), &replica, &disk).map_err(|broken| broken.detail);
        assert!(!broken.is_err_and(|detail| detail.contains("the newest snapshot saved")));
    }
}
