//! The disk: the journal's only writer, on a thread of its own.
//!
//! It drains its queue whole and hands it to the [`Scribe`], which decides; here are the thread, the gauges, and what
//! only a running node has: spare segments made aside, people who look at slots, an orderly stop.
//!
//! An error of the disk is never a command's result: the node stops, and a failed sync is not tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::host::Members;
use super::keeper::KeeperHandle;
use super::router::Outgoing;
use crate::paxos::dispatch::{DiskWork, SnapshotWork};
use crate::paxos::settings::MAX_MESSAGE_BYTES;
use crate::paxos::{BatchNumber, Choice, Membership, Message, NodeId, Slot};
use crate::storage::scribe::Listener;
use crate::storage::{Disk, DiskError, Journal, Keep, Scribe, Snapshots, Spare};

/// Something for the disk's thread to do.
#[derive(Debug)]
pub enum DiskCommand {
    /// What the roles ask for.
    Work(DiskWork),
    /// Read slots back, for people.
    Look {
        /// The first slot.
        first: Slot,
        /// The last slot.
        upto: Slot,
        /// Gets an unbroken run, or the error.
        answer: oneshot::Sender<Result<Vec<Choice>, String>>,
    },
    /// A spare segment is ready; or the disk failed.
    Spare(Result<Spare, DiskError>),
    /// Make everything durable and end.
    Stop,
    /// End as a crash would: nothing more is written.
    Halt,
}

impl From<DiskWork> for DiskCommand {
    fn from(work: DiskWork) -> DiskCommand {
        DiskCommand::Work(work)
    }
}

/// The way to the disk's thread. Cheap to clone.
#[derive(Clone)]
pub struct DiskHandle {
    commands: Sender<Vec<DiskCommand>>,
    gauges: Arc<Gauges>,
}

/// What the disk tells of itself.
#[derive(Debug, Default)]
pub struct Gauges {
    durable: Arc<AtomicU64>,
    batches: AtomicU64,
    journal_bytes: AtomicU64,
    trimmed_upto: AtomicU64,
}

impl DiskHandle {
    /// Queues commands, in order. After the disk has stopped they go nowhere.
    pub fn send(&self, commands: Vec<DiskCommand>) {
        if !commands.is_empty() {
            // The thread ends only when the node does.
            let _ = self.commands.send(commands);
        }
    }

    /// The highest durable batch that peers may hear of. Every message that acknowledges is released after this rose.
    pub fn durable(&self) -> BatchNumber {
        BatchNumber(self.gauges.durable.load(Ordering::SeqCst))
    }

    /// Batches made durable since the start.
    pub fn batches(&self) -> u64 {
        self.gauges.batches.load(Ordering::Relaxed)
    }

    /// The size of the journal, in bytes.
    pub fn journal_bytes(&self) -> u64 {
        self.gauges.journal_bytes.load(Ordering::Relaxed)
    }

    /// The journal no longer has slots up to here.
    pub fn trimmed_upto(&self) -> Slot {
        Slot(self.gauges.trimmed_upto.load(Ordering::Relaxed))
    }
}

/// Starts the disk's thread. It keeps in `durable` the highest batch that peers may hear of. What it releases goes to
/// `released`, what only snapshots can supply to `keeper`, members that are written down to `host`; an error goes to `fatal`,
/// and ends it.
#[expect(clippy::too_many_arguments, reason = "each is a way in or out of the thread")]
pub fn start<D: Disk + Send + Sync + 'static>(
    name: &str,
    own: NodeId,
    journal: Journal<D>,
    snapshots: Snapshots<D>,
    durable: Arc<AtomicU64>,
    released: Recipient<Outgoing>,
    keeper: KeeperHandle,
    host: Recipient<Members>,
    fatal: UnboundedSender<String>,
) -> std::io::Result<(DiskHandle, JoinHandle<()>)> {
    let (sender, commands) = channel();
    let gauges = Arc::new(Gauges { durable, ..Gauges::default() });
    let handle = DiskHandle { commands: sender.clone(), gauges: gauges.clone() };
    let published = Published { released, keeper, host, gauges };
    published.publish(&journal);
    let mut thread = DiskThread { scribe: Scribe::new(own, journal, snapshots), published, sender, spare: None };
    let run = move || {
        let ended = catch_unwind(AssertUnwindSafe(|| thread.run(&commands)));
        if let Some(spare) = thread.spare.take() {
            let _ = spare.join(); // it has said what went wrong, if anything
        }
        match ended {
            Ok(Ok(())) => {}
            // Nobody listens only when the node is stopping anyway.
            Ok(Err(error)) => drop(fatal.send(error)),
            Err(_) => drop(fatal.send("the journal broke an invariant of its own".into())),
        }
    };
    let join = std::thread::Builder::new().name(format!("{name} disk")).spawn(run)?;
    Ok((handle, join))
}

struct DiskThread<D: Disk> {
    scribe: Scribe<D>,
    published: Published,
    sender: Sender<Vec<DiskCommand>>,
    /// Makes a spare segment.
    spare: Option<JoinHandle<()>>,
}

impl<D: Disk + Send + Sync + 'static> DiskThread<D> {
    fn run(&mut self, commands: &Receiver<Vec<DiskCommand>>) -> Result<(), String> {
        loop {
            let mut lot = match commands.recv_timeout(IDLE) {
                Ok(lot) => lot,
                Err(RecvTimeoutError::Timeout) => {
                    self.scribe.idle(&mut self.published).map_err(|error| told(&error))?;
                    match commands.recv() {
                        Ok(lot) => lot,
                        Err(_) => return Ok(()),
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            while let Ok(more) = commands.try_recv() {
                lot.extend(more);
            }
            if self.perform(lot).map_err(|error| told(&*error))? == After::End {
                return Ok(());
            }
        }
    }

    /// Performs everything that waited: one write, one sync.
    fn perform(&mut self, lot: Vec<DiskCommand>) -> Result<After, Box<dyn std::error::Error>> {
        let mut work = Vec::with_capacity(lot.len());
        let mut looks = Vec::new();
        let mut after = After::GoOn;
        for command in lot {
            match command {
                DiskCommand::Work(one) => work.push(one),
                DiskCommand::Look { first, upto, answer } => {
                    // It sees what was written before.
                    work.push(DiskWork::Flush { then: Vec::new() });
                    looks.push((first, upto, answer));
                }
                DiskCommand::Spare(spare) => self.scribe.journal_mut().add_spare(spare?),
                DiskCommand::Stop => after = After::End,
                DiskCommand::Halt => return Ok(After::End),
            }
        }
        self.scribe.perform(work, &mut self.published)?;
        if after == After::End {
            // So that damage to what was stopped in order can be told from a torn write.
            self.scribe.close(&mut self.published)?;
        }
        for (first, upto, answer) in looks {
            let first = first.max(self.scribe.journal().trimmed_upto().next());
            let entries = self.scribe.journal().read_slots(first, upto, MAX_MESSAGE_BYTES);
            // Whoever asked may have gone.
            let _ = answer.send(entries.map_err(|error| error.to_string()));
        }
        if self.scribe.journal().needs_spare()
            && let Some(task) = self.scribe.journal_mut().spare_task()
        {
            let sender = self.sender.clone();
            let make = move || {
                drop(sender.send(vec![DiskCommand::Spare(task.run())])); // nobody listens only when the node is stopping
            };
            self.spare = Some(std::thread::Builder::new().name("spare segment".into()).spawn(make)?);
        }
        Ok(after)
    }
}

/// Why the node stops, with the mend where it is known.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<DiskError>() {
        Some(error) if error.no_space => format!(
            "{error}; make room on that disk, and start the node again: nothing that it has acknowledged is lost"
        ),
        _ => error.to_string(),
    }
}

/// Where the scribe's results go.
struct Published {
    released: Recipient<Outgoing>,
    keeper: KeeperHandle,
    host: Recipient<Members>,
    gauges: Arc<Gauges>,
}

impl Published {
    fn publish<D: Disk>(&self, journal: &Journal<D>) {
        let gauges = &self.gauges;
        gauges.durable.store(journal.last_batch().0, Ordering::SeqCst);
        gauges.batches.store(journal.commits(), Ordering::Relaxed);
        gauges.journal_bytes.store(journal.size_bytes(), Ordering::Relaxed);
        gauges.trimmed_upto.store(journal.trimmed_upto().0, Ordering::Relaxed);
    }
}

impl<D: Disk> Listener<D> for Published {
    fn durable(&mut self, journal: &Journal<D>) {
        self.publish(journal);
    }

    fn say(&mut self, messages: Vec<(NodeId, Message)>) {
        self.released.do_send(Outgoing(messages));
    }

    fn unreadable(&mut self, what: String) {
        log::error!("{what}");
    }

    fn members(&mut self, members: Box<Membership>) {
        self.host.do_send(Members::Are(members));
    }

    fn keep(&mut self, work: SnapshotWork) {
        self.keeper.send(Keep::Work(work));
    }
}

#[derive(PartialEq, Eq)]
enum After {
    GoOn,
    End,
}

/// After how long without work the last batch is sealed.
const IDLE: Duration = Duration::from_millis(200);
