//! The keeper's thread: writes, reads and supplies snapshots beside everything else, so that none of it stalls a vote.
//!
//! While a snapshot of the node's own is written, what peers ask for and send goes first: it is little, and they wait.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::DiskHandle;
use super::executor::Install;
use super::router::Outgoing;
use crate::paxos::dispatch::SnapshotWork;
use crate::paxos::{NodeId, StateMachine};
use crate::storage::keeper::Meanwhile;
use crate::storage::{DiskError, FileDisk, Keep, Keeper, Kept};

/// The way to the keeper. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeeperHandle {
    work: Sender<Option<Keep>>,
    /// Parts that peers asked for and have not been sent.
    asked: Arc<AtomicUsize>,
}

impl KeeperHandle {
    /// Queues work. After the keeper has stopped it goes nowhere. Nor does what a peer asks for while much is asked for
    /// already: it asks again.
    pub fn send(&self, work: Keep) {
        if matches!(work, Keep::Work(SnapshotWork::Supply { .. })) {
            if self.asked.load(Ordering::Relaxed) >= MOST_ASKED {
                return;
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.work.send(Some(work)); // the thread ends only when the node does
    }

    /// Ends the thread. A snapshot that is being written is given up.
    pub fn stop(&self) {
        let _ = self.work.send(None); // it may have ended by itself
    }
}

/// Where the keeper's results go; known once the executor's actor runs.
pub struct Reports<M: StateMachine> {
    /// To roles and to peers.
    pub said: Recipient<Outgoing>,
    /// What is checked and restored.
    pub install: Recipient<Install<M>>,
    /// What may be trimmed.
    pub disk: DiskHandle,
    /// An error of the disk.
    pub fatal: UnboundedSender<String>,
}

/// A keeper whose thread has not started.
pub struct KeeperThread<M> {
    keeper: Keeper<FileDisk, M>,
    queue: Queue,
}

/// What waits, in two lines.
struct Queue {
    work: Receiver<Option<Keep>>,
    asked: Arc<AtomicUsize>,
    /// Came while an image was written, and waits for its end.
    later: VecDeque<Keep>,
    stopping: bool,
}

impl<M: StateMachine> KeeperThread<M> {
    /// A keeper of the snapshots on this disk. `machine` is in its initial state.
    pub fn new(own: NodeId, store: FileDisk, machine: M) -> (KeeperThread<M>, KeeperHandle) {
        let (sender, work) = channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let queue = Queue { work, asked: asked.clone(), later: VecDeque::new(), stopping: false };
        (KeeperThread { keeper: Keeper::new(own, store, machine), queue }, KeeperHandle { work: sender, asked })
    }

    /// Starts its thread.
    pub fn start(self, name: &str, reports: Reports<M>) -> std::io::Result<JoinHandle<()>> {
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

    fn run(self, reports: &Reports<M>) -> Result<(), DiskError> {
        let KeeperThread { mut keeper, mut queue } = self;
        let mut tell = |kept| match kept {
            Kept::Say(to, message) => reports.said.do_send(Outgoing(vec![(to, message)])),
            Kept::Disk(work) => reports.disk.send(vec![work.into()]),
            Kept::Install(state) => reports.install.do_send(Install(state)),
            Kept::Trouble(what) => log::error!("{what}"),
        };
        while let Some(work) = queue.next() {
            keeper.perform(work, &mut || queue.meanwhile(), &mut tell)?;
        }
        Ok(())
    }
}

impl Queue {
    fn next(&mut self) -> Option<Keep> {
        if self.stopping {
            return None;
        }
        let work = match self.later.pop_front() {
            Some(work) => work,
            None => self.work.recv().ok().flatten()?,
        };
        self.heed(&work);
        Some(work)
    }

    fn meanwhile(&mut self) -> Meanwhile {
        loop {
            match self.work.try_recv() {
                Ok(Some(work)) => {
                    self.heed(&work);
                    match work {
                        Keep::Work(work) => return Meanwhile::Work(work),
                        Keep::Own(taken) if !taken.save => return Meanwhile::Digest(taken),
                        other => self.later.push_back(other),
                    }
                }
                Ok(None) => {
                    self.stopping = true;
                    return Meanwhile::Stop;
                }
                Err(_) => return Meanwhile::Nothing,
            }
        }
    }

    fn heed(&self, work: &Keep) {
        if matches!(work, Keep::Work(SnapshotWork::Supply { .. })) {
            self.asked.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many parts peers may wait for at once.
const MOST_ASKED: usize = 256;
