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
