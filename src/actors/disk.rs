//! The disk: the journal's only writer, on a thread of its own.
//!
//! It drains its queue whole: everything that waits is appended, made durable by one write and one sync, and only then
//! released, in order. A fence with nothing before it costs no disk access. When nothing has come for a while the last
//! batch is sealed, so that a flipped bit in it can be told from a torn write.
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

use super::router::Outgoing;
use crate::paxos::effect::SNAPSHOT_PART_BYTES;
use crate::paxos::settings::MAX_MESSAGE_BYTES;
use crate::paxos::{BatchNumber, Bytes, Choice, LearnerMessage, Message, NodeId, Record, Slot, Then};
use crate::storage::{Disk, Journal, Snapshots, Spare};

/// Something for the disk to do.
#[derive(Debug)]
pub enum DiskCommand {
    /// See [`crate::paxos::Effect::Sync`].
    Sync {
        /// To make durable.
        records: Vec<Record>,
        /// To say afterwards.
        then: Vec<Then>,
    },
    /// See [`crate::paxos::Effect::Append`].
    Append {
        /// To journal with the next sync.
        records: Vec<Record>,
    },
    /// See [`crate::paxos::Effect::SupplySlots`].
    SupplySlots {
        /// Who asked.
        to: NodeId,
        /// The first slot.
        first: Slot,
        /// The last slot.
        upto: Slot,
    },
    /// See [`crate::paxos::Effect::SupplySnapshot`].
    SupplySnapshot {
        /// Who asked.
        to: NodeId,
        /// Which snapshot.
        upto: Slot,
        /// From where on.
        offset: u64,
    },
    /// Read slots back, for people.
    Look {
        /// The first slot.
        first: Slot,
        /// The last slot.
        upto: Slot,
        /// Gets an unbroken run, or the error.
        answer: oneshot::Sender<Result<Vec<Choice>, String>>,
    },
    /// A durable snapshot covers every slot up to here.
    Trim {
        /// Inclusive.
        upto: Slot,
    },
    /// A durable snapshot from a peer took the place of every slot up to here.
    Forget {
        /// Inclusive.
        upto: Slot,
    },
    /// This node was admitted: peers may hear the journal's numbers.
    Vouch,
    /// The journal has lost what it acknowledged: they may not any more.
    Disown,
    /// A spare segment is ready; or the disk failed.
    Spare(Result<Spare, String>),
    /// Make everything durable and end.
    Stop,
    /// End as a crash would: nothing more is written.
    Halt,
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
/// `released`; an error goes to `fatal`, and ends it.
pub fn start<D: Disk + Send + Sync + 'static>(
    name: &str,
    own: NodeId,
    journal: Journal<D>,
    snapshots: Snapshots<D>,
    durable: Arc<AtomicU64>,
    released: Recipient<Outgoing>,
    fatal: UnboundedSender<String>,
) -> std::io::Result<(DiskHandle, JoinHandle<()>)> {
    let (sender, commands) = channel();
    let gauges = Arc::new(Gauges { durable, ..Gauges::default() });
    let handle = DiskHandle { commands: sender.clone(), gauges: gauges.clone() };
    let mut thread = DiskThread {
        own,
        journal,
        snapshots,
        released,
        gauges,
        sender,
        saying: Vec::new(),
        unsealed: false,
        spare: None,
    };
    thread.publish();
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
    own: NodeId,
    journal: Journal<D>,
    snapshots: Snapshots<D>,
    released: Recipient<Outgoing>,
    gauges: Arc<Gauges>,
    sender: Sender<Vec<DiskCommand>>,
    /// Messages that leave once this lot is durable.
    saying: Vec<(NodeId, Message)>,
    /// Something was journaled since the last seal that is worth one. What peers said of their own journals is not, or
    /// idle nodes would go on telling each other of their seals for ever.
    unsealed: bool,
    /// Makes a spare segment.
    spare: Option<JoinHandle<()>>,
}

impl<D: Disk + Send + Sync + 'static> DiskThread<D> {
    fn run(&mut self, commands: &Receiver<Vec<DiskCommand>>) -> Result<(), String> {
        loop {
            let mut lot = match commands.recv_timeout(IDLE) {
                Ok(lot) => lot,
                Err(RecvTimeoutError::Timeout) => {
                    if std::mem::take(&mut self.unsealed) {
                        self.journal.seal().map_err(|error| error.to_string())?;
                        self.publish();
                    }
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
            if self.perform(lot).map_err(|error| error.to_string())? == After::End {
                return Ok(());
            }
        }
    }

    /// Performs everything that waited: one write, one sync.
    fn perform(&mut self, lot: Vec<DiskCommand>) -> Result<After, Box<dyn std::error::Error>> {
        let mut syncing = false;
        let mut reading = Vec::new();
        let mut after = After::GoOn;
        let (mut trim, mut forget) = (Slot::ZERO, Slot::ZERO);
        for command in lot {
            match command {
                DiskCommand::Sync { records, then } => {
                    syncing |= !records.is_empty();
                    self.unsealed |= !records.is_empty();
                    records.iter().for_each(|record| self.journal.append(record));
                    self.saying.extend(then.into_iter().flat_map(|then| then.release(self.own)));
                }
                DiskCommand::Append { records } => {
                    let is_hearsay = |record: &Record| matches!(record, Record::Witnessed { .. });
                    self.unsealed |= !records.iter().all(is_hearsay);
                    records.iter().for_each(|record| self.journal.append(record));
                    // Nothing waits for these, but they must not pile up while no sync comes.
                    syncing |= self.journal.pending_bytes() > MOST_PENDING_BYTES;
                }
                DiskCommand::Forget { upto } => forget = forget.max(upto),
                DiskCommand::Trim { upto } => trim = trim.max(upto),
                DiskCommand::Vouch => self.journal.vouch(),
                DiskCommand::Disown => self.journal.disown(),
                DiskCommand::Spare(spare) => self.journal.add_spare(spare?),
                DiskCommand::Stop => {
                    syncing = true;
                    after = After::End;
                }
                DiskCommand::Halt => return Ok(After::End),
                reads => reading.push(reads),
            }
        }
        if syncing {
            self.journal.commit()?;
            self.gauges.batches.fetch_add(1, Ordering::Relaxed);
        }
        if after == After::End {
            self.journal.seal()?; // so that damage to what was stopped in order can be told from a torn write
        }
        // Durable before anybody hears of it: first the number that frames carry, then the messages.
        self.publish();
        self.say();
        for command in reading {
            self.read(command);
        }
        self.say();
        if forget > Slot::ZERO {
            self.journal.forget(forget)?;
            self.publish();
        }
        if trim > Slot::ZERO {
            let upto = self.journal.trim(trim)?;
            self.publish();
            let trimmed = LearnerMessage::Trimmed { upto };
            self.released.do_send(Outgoing(vec![(self.own, trimmed.into())]));
        }
        if self.journal.needs_spare()
            && let Some(task) = self.journal.spare_task()
        {
            let sender = self.sender.clone();
            let make = move || {
                let spare = task.run().map_err(|error| error.to_string());
                drop(sender.send(vec![DiskCommand::Spare(spare)])); // nobody listens only when the node is stopping
            };
            self.spare = Some(std::thread::Builder::new().name("spare segment".into()).spawn(make)?);
        }
        Ok(after)
    }

    fn say(&mut self) {
        if !self.saying.is_empty() {
            self.released.do_send(Outgoing(std::mem::take(&mut self.saying)));
        }
    }

    fn read(&mut self, command: DiskCommand) {
        match command {
            DiskCommand::SupplySlots { to, first, upto } => match self.journal.read_slots(first, upto, SUPPLY_BYTES) {
                Ok(entries) if !entries.is_empty() => {
                    self.saying.push((to, LearnerMessage::Chosen { entries, chosen_upto: upto }.into()));
                }
                // A snapshot that was installed here took the place of these slots.
                Ok(_) => self.saying.extend(self.snapshot_part(Slot::ZERO, 0).map(|part| (to, part.into()))),
                // Another peer can supply them.
                Err(error) => log::error!("cannot supply slot {first}: {error}"),
            },
            DiskCommand::SupplySnapshot { to, upto, offset } => {
                if let Some(part) = self.snapshot_part(upto, offset) {
                    self.saying.push((to, part.into()));
                }
            }
            DiskCommand::Look { first, upto, answer } => {
                let first = first.max(self.journal.trimmed_upto().next());
                let entries = self.journal.read_slots(first, upto, MAX_MESSAGE_BYTES);
                // Whoever asked may have gone.
                let _ = answer.send(entries.map_err(|error| error.to_string()));
            }
            _ => {}
        }
    }

    /// The part asked for, or the first part of the newest snapshot if that one is gone.
    fn snapshot_part(&self, upto: Slot, offset: u64) -> Option<LearnerMessage> {
        let kept = self.snapshots.kept().ok()?;
        let newest = *kept.last()?;
        let (upto, offset) = if kept.contains(&upto) { (upto, offset) } else { (newest, 0) };
        let part = self.snapshots.read_part(upto, offset, SNAPSHOT_PART_BYTES);
        let part = part.inspect_err(|error| log::warn!("a snapshot cannot be supplied: {error}")).ok()?;
        let bytes = Bytes::from(part.bytes);
        Some(LearnerMessage::SnapshotPart { upto, total: part.total, offset, bytes })
    }

    fn publish(&self) {
        let gauges = &self.gauges;
        gauges.durable.store(self.journal.last_batch().0, Ordering::SeqCst);
        gauges.journal_bytes.store(self.journal.size_bytes(), Ordering::Relaxed);
        gauges.trimmed_upto.store(self.journal.trimmed_upto().0, Ordering::Relaxed);
    }
}

#[derive(PartialEq, Eq)]
enum After {
    GoOn,
    End,
}

/// After how long without work the last batch is sealed.
const IDLE: Duration = Duration::from_millis(200);
/// How much may wait for a sync that nobody asks for.
const MOST_PENDING_BYTES: usize = 8 << 20;
/// How many bytes of values one answer to a node that catches up holds: reading them delays votes.
const SUPPLY_BYTES: usize = 1 << 20;
