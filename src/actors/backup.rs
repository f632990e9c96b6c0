//! Gives a client the file of a snapshot, to be kept as a backup.
//!
//! The file stays open while parts of it are asked for: newer snapshots may push it out of the folder meanwhile. What is open
//! takes room on the disk that nobody sees, so few are, and whoever asks for nothing for a while has to begin again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::executor::AskExecutor;
use super::role::Lot;
use super::stage::{Stage, Staged};
use crate::net::report::Report;
use crate::paxos::effect::SNAPSHOT_PART_BYTES;
use crate::paxos::{Bytes, ClientId, ExecutorMessage, Slot, SnapshotId};
use crate::storage::{FileDisk, Snapshots};

/// All backups that are being taken of a node. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    store: FileDisk,
    held: Rc<RefCell<BTreeMap<ClientId, Held>>>,
}

/// A snapshot with a handle of its own.
#[derive(Clone)]
struct Held {
    upto: Slot,
    id: SnapshotId,
    snapshots: Snapshots<FileDisk>,
    /// When a part of it was last asked for.
    used: Instant,
}

impl Backups {
    /// Of the snapshots of this folder.
    pub fn new(store: FileDisk) -> Backups {
        Backups { store, held: Rc::default() }
    }

    /// Holds a snapshot for a client, in place of the one before.
    fn hold(&self, client: ClientId, held: Held) -> Result<(), String> {
        let mut all = self.held.borrow_mut();
        all.retain(|other, kept| *other != client && held.used.duration_since(kept.used) < IDLE);
        if all.len() >= MOST {
            return Err(format!("{MOST} backups are being taken from this node: try again later, or at another one"));
        }
        all.insert(client, held);
        Ok(())
    }

    fn of(&self, client: ClientId) -> Option<Held> {
        let mut all = self.held.borrow_mut();
        let held = all.get_mut(&client)?;
        held.used = Instant::now();
        Some(held.clone())
    }
}

/// One connection's backup.
pub struct BackupDesk {
    client: ClientId,
    all: Backups,
}

impl Drop for BackupDesk {
    fn drop(&mut self) {
        self.all.held.borrow_mut().remove(&self.client);
    }
}

impl BackupDesk {
    /// For this client.
    pub fn new(client: ClientId, all: &Backups) -> BackupDesk {
        BackupDesk { client, all: all.clone() }
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
            self.all.hold(self.client, held)?;
            return Ok(Report::BackupReady { upto, id, bytes });
        }
        let wanted = ExecutorMessage::SnapshotWanted { slot: from };
        serving.mailboxes.executor.do_send(Lot(vec![(serving.own, wanted)]));
        Ok(Report::BackupSoon { from })
    }

    /// The newest snapshot, and how long its file is; none if there is none, or if it is just being replaced.
    fn newest(&self) -> Option<(Held, u64)> {
        // Handles of its own, which outlive the file's name.
        let snapshots = Snapshots::new(FileDisk::new(self.all.store.path()));
        let upto = *snapshots.kept().ok()?.last()?;
        let id = snapshots.id_of(upto).ok()?;
        let bytes = snapshots.file_bytes(upto).ok()?;
        Some((Held { upto, id, snapshots, used: Instant::now() }, bytes))
    }

    /// A part of what was offered.
    pub async fn part(&self, upto: Slot, id: SnapshotId, offset: u64) -> Result<Report, String> {
        let held = self.all.of(self.client).filter(|held| (held.upto, held.id) == (upto, id));
        let held = held.ok_or("this connection does not hold that snapshot: begin again")?;
        // The file may be cold, and other clients wait for this thread.
        let read = move || held.snapshots.read_file(held.upto, offset, SNAPSHOT_PART_BYTES);
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| "the node is stopping")?;
        read.map(|bytes| Report::BackupPart(Bytes::from(bytes))).map_err(|error| error.to_string())
    }
}

/// How many backups of a node are taken at a time: as many snapshots may take room on its disk besides those that it keeps.
const MOST: usize = 8;
/// After how long a backup of which nothing was asked may give way to another one.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_backups_hold_a_snapshot_and_an_idle_one_gives_way() {
        let backups = Backups::new(FileDisk::new(std::path::Path::new("nowhere")));
        let began = Instant::now();
        let hold = |client, seconds| {
            let used = began + Duration::from_secs(seconds);
            let snapshots = Snapshots::new(backups.store.clone());
            backups.hold(ClientId(client), Held { upto: Slot(1), id: SnapshotId::default(), snapshots, used })
        };
        for client in 0..MOST as u64 {
            assert_eq!(hold(client, client), Ok(()));
        }
        assert!(hold(99, 30).is_err_and(|why| why.contains("try again later")));
        assert_eq!(hold(0, 40), Ok(()), "its own gives way");
        assert_eq!(hold(99, 61), Ok(()), "the second has been idle for a minute");
        drop(BackupDesk::new(ClientId(99), &backups));
        assert_eq!(hold(100, 61), Ok(()));
    }
}
