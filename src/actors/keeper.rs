//! The keeper: the thread that encodes, checks and saves snapshots, one after the other, so that none of it stalls a vote.
//!
//! A peer's snapshot is checked here, installed by the executor, and saved only then: what the machine refuses never
//! reaches the disk. Until it is saved a crash merely falls back to what the journal and the older snapshot tell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::{DiskCommand, DiskHandle};
use super::outlet::SnapshotWork;
use super::role::Lot;
use crate::codec;
use crate::paxos::settings::MAX_SNAPSHOT_BYTES;
use crate::paxos::{ExecutorMessage, NodeId, Slot, Snapshot};
use crate::storage::{DiskError, FileDisk, Snapshots};

/// Something for the keeper to do.
#[derive(Debug)]
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
    /// End.
    Stop,
}

/// The way to the keeper. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperHandle(Sender<Keep>);

impl KeeperHandle {
    /// Queues work. After the keeper has stopped it goes nowhere.
    pub fn send(&self, work: Keep) {
        let _ = self.0.send(work); // the thread ends only when the node does
    }
}

/// Where the keeper's results go; known once the executor's actor runs.
pub struct Reports {
    /// This node.
    pub own: NodeId,
    /// What is durable.
    pub executor: Recipient<Lot<ExecutorMessage>>,
    /// What is checked.
    pub install: Recipient<SnapshotWork>,
    /// What may be trimmed.
    pub disk: DiskHandle,
    /// An error of the disk.
    pub fatal: UnboundedSender<String>,
}

/// A keeper whose thread has not started.
pub struct Keeper {
    snapshots: Snapshots<FileDisk>,
    work: Receiver<Keep>,
}

impl Keeper {
    /// A keeper of the snapshots on this disk.
    pub fn new(store: FileDisk) -> (Keeper, KeeperHandle) {
        let (sender, work) = channel();
        (Keeper { snapshots: Snapshots::new(store), work }, KeeperHandle(sender))
    }

    /// Starts its thread.
    pub fn start(self, name: &str, reports: Reports) -> std::io::Result<JoinHandle<()>> {
        let run = move || {
            let fatal = reports.fatal.clone();
            match catch_unwind(AssertUnwindSafe(|| self.run(&reports))) {
                Ok(Ok(())) => {}
                // Nobody listens only when the node is stopping anyway.
                Ok(Err(error)) => drop(fatal.send(error.to_string())),
                Err(_) => drop(fatal.send("a snapshot broke an invariant of its own".into())),
            }
        };
        std::thread::Builder::new().name(format!("{name} snapshots")).spawn(run)
    }

    fn run(self, reports: &Reports) -> Result<(), DiskError> {
        while let Ok(work) = self.work.recv() {
            match work {
                Keep::Own(snapshot) => {
                    self.save(snapshot.upto, &codec::encode(&*snapshot), reports)?;
                    self.trim(reports)?;
                }
                Keep::Check { upto, bytes } => match codec::decode::<Snapshot>(&bytes, MAX_SNAPSHOT_BYTES as usize) {
                    Ok(snapshot) if snapshot.upto == upto => {
                        reports.install.do_send(SnapshotWork::Install { snapshot: Box::new(snapshot), bytes });
                    }
                    _ => log::error!("a snapshot from a peer is malformed and was dropped"),
                },
                Keep::Installed { upto, bytes } => {
                    self.save(upto, &bytes, reports)?;
                    reports.disk.send(vec![DiskCommand::Forget { upto }]);
                    self.trim(reports)?;
                }
                Keep::Stop => break,
            }
        }
        Ok(())
    }

    fn save(&self, upto: Slot, bytes: &[u8], reports: &Reports) -> Result<(), DiskError> {
        if !self.snapshots.kept()?.contains(&upto) {
            self.snapshots.save(upto, bytes)?;
        }
        let saved = ExecutorMessage::SnapshotSaved { upto };
        reports.executor.do_send(Lot(vec![(reports.own, saved)]));
        Ok(())
    }

    /// Behind `SnapshotSaved`, so that the learner never trims what its executor does not know to be saved; and only up
    /// to the older of two snapshots, so that one that rots is not the only one.
    fn trim(&self, reports: &Reports) -> Result<(), DiskError> {
        let upto = self.snapshots.safe_upto()?;
        if upto > Slot::ZERO {
            reports.disk.send(vec![DiskCommand::Trim { upto }]);
        }
        Ok(())
    }
}
