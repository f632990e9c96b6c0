//! A backup of a live cluster: the file of a snapshot, part by part.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::driver::Ask;
use super::error::ClientError;
use super::handle::{Client, nonsense};
use crate::net::report::Report;
use crate::paxos::{Bytes, Slot, SnapshotId};

/// A snapshot that a node holds ready to be fetched.
pub struct Backup {
    /// To that node only, whose connection keeps the file.
    client: Client,
    /// The last slot that it covers.
    pub upto: Slot,
    /// Its file.
    pub id: SnapshotId,
    /// The file's length in bytes.
    pub bytes: u64,
}

impl Client {
    /// Has the connected node hold a snapshot ready that covers everything that was done before the call; waits so long
    /// for it to be taken.
    ///
    /// # Errors
    /// [`ClientError::Connection`] with the reason, if the node cannot be reached, has nothing, or none comes in time.
    pub async fn backup(&self, patience: Duration) -> Result<Backup, ClientError> {
        let end = Instant::now() + patience;
        let client = self.on_node(&self.status().await?.name).await?;
        // Whatever the machines make of it: by its answer this node has executed all that was done before.
        client.query(Vec::new()).await?;
        let mut from = None;
        loop {
            match client.ask(Ask::Backup { from }).await? {
                Report::BackupReady { upto, id, bytes } => return Ok(Backup { client, upto, id, bytes }),
                Report::BackupSoon { from: slot } => from = Some(slot),
                _ => return Err(nonsense()),
            }
            if Instant::now() >= end {
                let reason = format!(
                    "no snapshot was taken within {} s: `status` says whether the replicas agree on their states, and \
                     whether the disk is full",
                    patience.as_secs()
                );
                return Err(ClientError::Connection { reason });
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Backup {
    /// The bytes of the file from there on: some, or none at its end.
    ///
    /// # Errors
    /// [`ClientError::Connection`] if the node does not answer, or its connection broke: then the backup must begin again.
    pub async fn part(&self, offset: u64) -> Result<Bytes, ClientError> {
        let ask = Ask::BackupPart { upto: self.upto, snapshot: self.id, offset };
        match self.client.ask(ask).await? {
            Report::BackupPart(bytes) => Ok(bytes),
            _ => Err(nonsense()),
        }
    }
}

/// How often a node is asked whether the snapshot is there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
