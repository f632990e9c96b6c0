//! The keeper: encodes, checks and saves snapshots, one after the other, without the thread that it does it on.
//!
//! A peer's snapshot is checked here, installed by the executor, and saved only then: what the machine refuses never
//! reaches the disk. Until it is saved a crash merely falls back to what the journal and the older snapshot tell.

use super::disk::{Disk, DiskError};
use super::snapshots::Snapshots;
use crate::codec;
use crate::paxos::dispatch::DiskWork;
use crate::paxos::settings::MAX_SNAPSHOT_BYTES;
use crate::paxos::{ExecutorMessage, Slot, Snapshot};

/// The only writer of a node's snapshots.
#[derive(Clone, Debug)]
pub struct Keeper<D> {
    snapshots: Snapshots<D>,
}

/// Something for the keeper to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Save the node's own state.
    Own(Box<Snapshot>),
    /// Check what came from a peer, and have the executor install it.
    Check {
        /// The last slot that it covers.
        upto: Slot,
        /// Encoded.
        bytes: Vec<u8>,
    },
    /// The executor installed it: save it.
    Installed {
        /// The last slot that it covers.
        upto: Slot,
        /// Encoded.
        bytes: Vec<u8>,
    },
}

/// What came of it, in order: each is handed on before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// To the executor: what is durable.
    Saved(ExecutorMessage),
    /// To the disk.
    Disk(DiskWork),
    /// To the executor's driver: whole, and to be put in place of the state.
    Install {
        /// Decoded.
        snapshot: Box<Snapshot>,
        /// Encoded.
        bytes: Vec<u8>,
    },
    /// A peer's snapshot was no snapshot.
    Malformed,
}

impl<D: Disk> Keeper<D> {
    /// The keeper of the snapshots on this disk.
    pub fn new(disk: D) -> Keeper<D> {
        Keeper { snapshots: Snapshots::new(disk) }
    }

    /// Does it.
    ///
    /// # Errors
    /// The disk did not do what it was asked: the node must stop.
    pub fn perform(&self, work: Keep) -> Result<Vec<Kept>, DiskError> {
        let mut results = Vec::new();
        match work {
            Keep::Own(snapshot) => {
                results.push(self.save(snapshot.upto, &codec::encode(&*snapshot))?);
                results.extend(self.trim()?);
            }
            Keep::Check { upto, bytes } => match codec::decode::<Snapshot>(&bytes, MAX_SNAPSHOT_BYTES as usize) {
                Ok(snapshot) if snapshot.upto == upto => {
                    results.push(Kept::Install { snapshot: Box::new(snapshot), bytes });
                }
                _ => results.push(Kept::Malformed),
            },
            Keep::Installed { upto, bytes } => {
                results.push(self.save(upto, &bytes)?);
                results.push(Kept::Disk(DiskWork::Forget { upto }));
                results.extend(self.trim()?);
            }
        }
        Ok(results)
    }

    fn save(&self, upto: Slot, bytes: &[u8]) -> Result<Kept, DiskError> {
        if !self.snapshots.kept()?.contains(&upto) {
            self.snapshots.save(upto, bytes)?;
        }
        Ok(Kept::Saved(ExecutorMessage::SnapshotSaved { upto }))
    }

    /// Behind the save, so that nothing is trimmed that no snapshot on the disk covers (the learner may hear of the trim
    /// before its executor hears of the save); and only up to the older of two, so that one that rots is not the only one.
    fn trim(&self) -> Result<Option<Kept>, DiskError> {
        let upto = self.snapshots.safe_upto()?;
        Ok((upto > Slot::ZERO).then_some(Kept::Disk(DiskWork::Trim { upto })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Bytes;
    use crate::paxos::sessions::Sessions;
    use crate::storage::MemoryDisk;

    fn snapshot(upto: u64) -> Snapshot {
        Snapshot {
            upto: Slot(upto),
            membership: crate::paxos::Membership::founded(crate::paxos::Configuration::numbered(3)),
            clock_ms: 5,
            sessions: Sessions::new(),
            machine: Bytes::from("state"),
        }
    }

    fn saved(upto: u64) -> Kept {
        Kept::Saved(ExecutorMessage::SnapshotSaved { upto: Slot(upto) })
    }

    #[test]
    fn the_journal_is_trimmed_up_to_the_older_of_two_snapshots() {
        let keeper = Keeper::new(MemoryDisk::new());
        let own = |upto| keeper.perform(Keep::Own(Box::new(snapshot(upto)))).expect("saved");
        assert_eq!(own(5), [saved(5)], "one that rots must not be the only one");
        assert_eq!(own(9), [saved(9), Kept::Disk(DiskWork::Trim { upto: Slot(5) })]);
        let image = keeper.snapshots.load(Slot(9)).expect("saved");
        assert_eq!(codec::decode::<Snapshot>(&image, image.len()).expect("whole"), snapshot(9));
    }

    #[test]
    fn what_a_peer_sent_is_checked_then_installed_and_only_then_saved() {
        let disk = MemoryDisk::new();
        let keeper = Keeper::new(disk.clone());
        let bytes = codec::encode(&snapshot(7));
        let check = |upto, bytes: &[u8]| {
            keeper.perform(Keep::Check { upto: Slot(upto), bytes: bytes.to_vec() }).expect("nothing asked of the disk")
        };
        let install = Kept::Install { snapshot: Box::new(snapshot(7)), bytes: bytes.clone() };
        assert_eq!(check(7, &bytes), [install]);
        assert_eq!(check(8, &bytes), [Kept::Malformed], "of another slot");
        assert_eq!(check(7, &bytes[1..]), [Kept::Malformed]);
        assert_eq!(disk.list().expect("names"), [""; 0]);
        let installed = || keeper.perform(Keep::Installed { upto: Slot(7), bytes: bytes.clone() }).expect("saved");
        assert_eq!(installed(), [saved(7), Kept::Disk(DiskWork::Forget { upto: Slot(7) })]);
        assert_eq!(keeper.snapshots.load(Slot(7)).expect("saved"), bytes);
        let before = disk.operations();
        installed();
        assert_eq!(disk.operations(), before, "it is there already");
    }
}
