//! The keeper's thread: saves snapshots beside everything else, so that none of it stalls a vote.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::DiskHandle;
use super::executor::Install;
use super::role::Lot;
use crate::paxos::{ExecutorMessage, NodeId};
use crate::storage::{DiskError, FileDisk, Keep, Keeper, Kept};

/// The way to the keeper. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperHandle(Sender<Option<Keep>>);

impl KeeperHandle {
    /// Queues work. After the keeper has stopped it goes nowhere.
    pub fn send(&self, work: Keep) {
        let _ = self.0.send(Some(work)); // the thread ends only when the node does
    }

    /// Ends the thread, after what is queued.
    pub fn stop(&self) {
        let _ = self.0.send(None); // it may have ended by itself
    }
}

/// Where the keeper's results go; known once the executor's actor runs.
pub struct Reports {
    /// This node.
    pub own: NodeId,
    /// What is durable.
    pub executor: Recipient<Lot<ExecutorMessage>>,
    /// What is checked.
    pub install: Recipient<Install>,
    /// What may be trimmed.
    pub disk: DiskHandle,
    /// An error of the disk.
    pub fatal: UnboundedSender<String>,
}

/// A keeper whose thread has not started.
pub struct KeeperThread {
    keeper: Keeper<FileDisk>,
    work: Receiver<Option<Keep>>,
}

impl KeeperThread {
    /// A keeper of the snapshots on this disk.
    pub fn new(store: FileDisk) -> (KeeperThread, KeeperHandle) {
        let (sender, work) = channel();
        (KeeperThread { keeper: Keeper::new(store), work }, KeeperHandle(sender))
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
        while let Ok(Some(work)) = self.work.recv() {
            for kept in self.keeper.perform(work)? {
                match kept {
                    Kept::Saved(message) => reports.executor.do_send(Lot(vec![(reports.own, message)])),
                    Kept::Disk(work) => reports.disk.send(vec![work.into()]),
                    Kept::Install { snapshot, bytes } => reports.install.do_send(Install { snapshot, bytes }),
                    Kept::Malformed => log::error!("a snapshot from a peer is malformed and was dropped"),
                }
            }
        }
        Ok(())
    }
}
