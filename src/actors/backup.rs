//! Gives a client the file of a snapshot, to be kept as a backup.
//!
//! The file stays open while the client's connection lives: newer snapshots may push it out of the folder meanwhile.

use std::cell::RefCell;

use super::executor::AskExecutor;
use super::role::Lot;
use super::stage::{Stage, Staged};
use crate::net::report::Report;
use crate::paxos::effect::SNAPSHOT_PART_BYTES;
use crate::paxos::{Bytes, ExecutorMessage, Slot, SnapshotId};
use crate::storage::{FileDisk, Snapshots};

/// One connection's backup.
pub struct BackupDesk {
    store: FileDisk,
    held: RefCell<Option<Held>>,
}

/// A snapshot with a handle of its own.
#[derive(Clone)]
struct Held {
    upto: Slot,
    id: SnapshotId,
    snapshots: Snapshots<FileDisk>,
}

impl BackupDesk {
    /// For the snapshots of this folder.
    pub fn new(store: &FileDisk) -> BackupDesk {
        BackupDesk { store: store.clone(), held: RefCell::new(None) }
    }

    /// A snapshot that covers `from`, or all that is executed here; if there is none yet, the replicas are asked for one.
    pub async fn offer(&self, stage: &Stage, from: Option<Slot>) -> Result<Report, String> {
        let serving = match &*stage.borrow() {
            Staged::Serving(serving) => serving.clone(),
            _ => return Err("this node does not serve".into()),
        };
        let from = match from {
            Some(from) => from,
            None => serving.executor.send(AskExecutor).await.map_err(|_| "the node is stopping")?.executed_upto,
        };
        if from == Slot::ZERO {
            return Err("nothing is in the log yet, so there is nothing to back up".into());
        }
        if let Some((held, bytes)) = self.newest().filter(|(held, _)| held.upto >= from) {
            let Held { upto, id, .. } = held;
            self.held.replace(Some(held));
            return Ok(Report::BackupReady { upto, id, bytes });
        }
        let wanted = ExecutorMessage::SnapshotWanted { slot: from };
        serving.mailboxes.executor.do_send(Lot(vec![(serving.own, wanted)]));
        Ok(Report::BackupSoon { from })
    }

    /// The newest snapshot, and how long its file is; none if there is none, or if it is just being replaced.
    fn newest(&self) -> Option<(Held, u64)> {
        // Handles of its own, which outlive the file's name.
        let snapshots = Snapshots::new(FileDisk::new(self.store.path()));
        let upto = *snapshots.kept().ok()?.last()?;
        let id = snapshots.id_of(upto).ok()?;
        let bytes = snapshots.file_bytes(upto).ok()?;
        Some((Held { upto, id, snapshots }, bytes))
    }

    /// A part of what was offered.
    pub async fn part(&self, upto: Slot, id: SnapshotId, offset: u64) -> Result<Report, String> {
        let held = self.held.borrow().clone().filter(|held| (held.upto, held.id) == (upto, id));
        let held = held.ok_or("this connection does not hold that snapshot: begin again")?;
        // The file may be cold, and other clients wait for this thread.
        let read = move || held.snapshots.read_file(held.upto, offset, SNAPSHOT_PART_BYTES);
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| "the node is stopping")?;
        read.map(|bytes| Report::BackupPart(Bytes::from(bytes))).map_err(|error| error.to_string())
    }
}
