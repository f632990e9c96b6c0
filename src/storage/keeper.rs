//! The keeper: writes, reads, checks and supplies snapshots, one after the other, without the thread that it does it on.
//!
//! Everything about a snapshot that takes long happens here, beside the roles and beside the journal: an image is
//! encoded and written while the executor goes on; a peer's snapshot goes to a file as it arrives, is checked there, and
//! restored into a machine of its own, so that the executor only puts it in place; what that replaces is let go of here.
//!
//! A peer's snapshot has its name only when it is installed: what the machine refuses takes the place of nothing. Until
//! then a crash merely falls back to what the journal and the older snapshot tell.
//!
//! A full disk is no reason to stop: what there is of the file is removed, people are told, and the next snapshot tries
//! again. Every other error of the disk stops the node.
//!
//! The digest of an image is told before anything of it is written, and while another is being written: whether this
//! node's state is right must not wait for a disk. What is written becomes a snapshot once the replicas have agreed on that
//! digest (DESIGN section 4, rule 8); a newer image takes the place of what they did not agree on.
//!
//! Invariant: each part from a peer is answered by `PartKept`, by `SnapshotDropped`, or, the last one, by an installation.

use std::collections::BTreeMap;

use super::disk::{Disk, DiskError};
use super::image::{self, Written};
use super::snapshots::{SnapshotError, Snapshots, Writer};
use crate::paxos::dispatch::{DiskWork, SnapshotWork};
use crate::paxos::effect::{SNAPSHOT_PART_BYTES, SnapshotPart};
use crate::paxos::message::Dropped;
use crate::paxos::{
    Bytes, Digest, ExecutorMessage, Image, LearnerMessage, Message, NodeId, Slot, SnapshotId, State, StateMachine,
    Taken,
};

/// The only writer of a node's snapshots.
#[derive(Debug)]
pub struct Keeper<D, M> {
    own: NodeId,
    snapshots: Snapshots<D>,
    /// In its initial state, and stays so.
    machine: M,
    incoming: Option<Incoming<D>>,
    /// A peer's snapshot is whole, and the executor has been asked to install it.
    installing: Option<Slot>,
    /// The image of the node's own that was begun last.
    saving: Option<Slot>,
    /// It is whole on the disk, and has no name yet.
    finished: Option<(Slot, Digest)>,
    /// The newest marks at which the replicas agreed on this node's state.
    proven: BTreeMap<Slot, Digest>,
}

/// What there is of a peer's snapshot.
#[derive(Debug)]
struct Incoming<D> {
    upto: Slot,
    id: SnapshotId,
    total: u64,
    writer: Writer<D>,
}

/// Something for the keeper to do.
pub enum Keep {
    /// Digest the node's own state, and perhaps save it.
    Own(Box<Taken>),
    /// What a lot asks for, or the scribe.
    Work(SnapshotWork),
    /// The executor installed a peer's snapshot: give it its name.
    Installed {
        /// The last slot that it covers.
        upto: Slot,
        /// What it took the place of, to be let go of.
        replaced: Box<dyn Send>,
    },
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Keep::Own(taken) => write!(f, "Own({})", taken.image.upto),
            Keep::Work(work) => work.fmt(f),
            Keep::Installed { upto, .. } => write!(f, "Installed({upto})"),
        }
    }
}

/// What else there is to do while an image is being written.
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// This, which does not wait.
    Work(SnapshotWork),
    /// This image is only to be digested.
    Digest(Box<Taken>),
    /// Give up: the node stops.
    Stop,
}

/// What came of it, in order: each is handed on before the next.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept<M> {
    /// To a role of this node, or to a peer.
    Say(NodeId, Message),
    /// To the disk.
    Disk(DiskWork),
    /// To the executor's driver: to be put in place of its state.
    Install(Box<State<M>>),
    /// To people: a sentence.
    Trouble(String),
}

impl<D: Disk, M: StateMachine> Keeper<D, M> {
    /// The keeper of the snapshots on this disk. `machine` is in its initial state.
    pub fn new(own: NodeId, disk: D, machine: M) -> Keeper<D, M> {
        Keeper {
            own,
            snapshots: Snapshots::new(disk),
            machine,
            incoming: None,
            installing: None,
            saving: None,
            finished: None,
            proven: BTreeMap::new(),
        }
    }

    /// Does it. While an image is written, `meanwhile` is asked again and again for what need not wait for that.
    ///
    /// # Errors
    /// The disk did not do what it was asked: the node must stop.
    pub fn perform(
        &mut self,
        work: Keep,
        meanwhile: &mut dyn FnMut() -> Meanwhile,
        tell: &mut dyn FnMut(Kept<M>),
    ) -> Result<(), DiskError> {
        match work {
            Keep::Own(taken) => {
                let digest = self.digest(&taken, tell);
                if taken.save { self.save(&taken.image, digest, meanwhile, tell) } else { Ok(()) }
            }
            Keep::Work(work) => self.work(work, tell),
            Keep::Installed { upto, replaced } => {
                drop(replaced);
                self.name(upto, tell)
            }
        }
    }

    fn work(&mut self, work: SnapshotWork, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        match work {
            SnapshotWork::Supply { to, wanted, offset } => self.supply(to, wanted, offset, tell),
            SnapshotWork::Part(part) => return self.take_part(&part, tell),
            SnapshotWork::Proven { upto, digest } => {
                self.proven.insert(upto, digest);
                // What is being written may take longer than many marks.
                let (saving, is_many) = (self.saving, self.proven.len() > MOST_PROVEN);
                if let Some(oldest) = self.proven.keys().copied().find(|mark| is_many && Some(*mark) != saving) {
                    self.proven.remove(&oldest);
                }
                return self.settle(tell);
            }
        }
        Ok(())
    }

    /// What is finished gets its name once the replicas agree on it.
    fn settle(&mut self, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        let is_proven = |(upto, digest): &mut (Slot, Digest)| self.proven.get(upto) == Some(digest);
        let Some((upto, _)) = self.finished.take_if(is_proven) else { return Ok(()) };
        self.snapshots.keep(upto)?;
        self.saved(upto, tell)
    }

    fn saved(&self, upto: Slot, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        tell(Kept::Say(self.own, ExecutorMessage::SnapshotSaved { upto }.into()));
        self.trim(tell)
    }

    /// Tells the executor the digest of its state.
    fn digest(&self, taken: &Taken, tell: &mut dyn FnMut(Kept<M>)) -> Digest {
        let Taken { image, number, .. } = taken;
        let digest = image::digest(image);
        tell(Kept::Say(self.own, ExecutorMessage::Digested { number: *number, upto: image.upto, digest }.into()));
        digest
    }

    /// Writes the node's own image down. If there is no room for it, the next one tries again.
    fn save(
        &mut self,
        image: &Image,
        digest: Digest,
        meanwhile: &mut dyn FnMut() -> Meanwhile,
        tell: &mut dyn FnMut(Kept<M>),
    ) -> Result<(), DiskError> {
        let upto = image.upto;
        if self.snapshots.kept()?.contains(&upto) {
            return self.saved(upto, tell);
        }
        self.finished = None;
        self.saving = Some(upto);
        match self.write(image, digest, meanwhile, tell) {
            Ok(Written::Whole) => {
                self.finished = Some((upto, digest));
                self.settle(tell)
            }
            Ok(Written::Stopped) => self.snapshots.drop_unfinished(),
            Ok(Written::Changed) => {
                self.snapshots.drop_unfinished()?;
                tell(Kept::Trouble(format!(
                    "the snapshot of slot {upto} was dropped: the state changed in memory while it was written; have the \
                     memory of this machine checked"
                )));
                tell(Kept::Say(self.own, ExecutorMessage::SnapshotUnsaved {}.into()));
                Ok(())
            }
            Err(error) if error.no_space => {
                self.snapshots.drop_unfinished()?;
                tell(Kept::Trouble(format!(
                    "there is no room for the snapshot of slot {upto} ({error}): make room on the disk; the node goes on, \
                     its journal grows, and the next snapshot tries again"
                )));
                tell(Kept::Say(self.own, ExecutorMessage::SnapshotUnsaved {}.into()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up if the node stops.
    fn write(
        &mut self,
        image: &Image,
        digest: Digest,
        meanwhile: &mut dyn FnMut() -> Meanwhile,
        tell: &mut dyn FnMut(Kept<M>),
    ) -> Result<Written, DiskError> {
        let mut writer = self.snapshots.begin(image.upto)?;
        let between = || {
            loop {
                match meanwhile() {
                    Meanwhile::Nothing => return Ok(true),
                    Meanwhile::Work(work) => self.work(work, tell)?,
                    Meanwhile::Digest(taken) => drop(self.digest(&taken, tell)),
                    Meanwhile::Stop => return Ok(false),
                }
            }
        };
        let written = image::write_with(image, digest, &mut writer, between)?;
        if written == Written::Whole {
            writer.finish()?;
        }
        Ok(written)
    }

    /// The part asked for, or the first part of the newest snapshot if that one is not here.
    fn supply(&self, to: NodeId, wanted: Option<SnapshotId>, offset: u64, tell: &mut dyn FnMut(Kept<M>)) {
        let Ok(kept) = self.snapshots.kept() else { return };
        let is_wanted = |upto: &&Slot| wanted.is_some() && self.snapshots.id_of(**upto).ok() == wanted;
        let (upto, offset) = match (kept.iter().find(is_wanted), kept.last()) {
            (Some(upto), _) => (*upto, offset),
            (None, Some(newest)) => (*newest, 0),
            (None, None) => return,
        };
        match self.snapshots.read_part(upto, offset, SNAPSHOT_PART_BYTES) {
            Ok(part) if !part.bytes.is_empty() => {
                let (id, total, bytes) = (part.id, part.total, Bytes::from(part.bytes));
                let part = LearnerMessage::SnapshotPart { upto, id, total, offset, bytes };
                tell(Kept::Say(to, part.into()));
            }
            Ok(_) => {} // nobody who counts asks for what lies behind the end
            Err(error) => tell(Kept::Trouble(format!("a snapshot cannot be supplied: {error}"))),
        }
    }

    /// Writes down a part from a peer; behind the last one, checks the whole.
    fn take_part(&mut self, part: &SnapshotPart, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        let SnapshotPart { upto, id, total, offset, .. } = *part;
        let taken = match self.write_part(part) {
            Ok(taken) => taken,
            Err(error) if error.no_space => {
                self.drop_incoming()?;
                tell(Kept::Trouble(format!(
                    "there is no room for a peer's snapshot of slot {upto}, {total} bytes ({error}): make room on the disk"
                )));
                self.dropped(id, Dropped::NoSpace, tell);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !taken {
            self.dropped(id, Dropped::OutOfPlace, tell);
            return Ok(());
        }
        let upto_bytes = offset + part.bytes.len() as u64;
        if upto_bytes < total {
            tell(Kept::Say(self.own, LearnerMessage::PartKept { id, upto_bytes }.into()));
            return Ok(());
        }
        match self.check() {
            Ok(state) => {
                self.installing = Some(upto);
                tell(Kept::Install(Box::new(state)));
                Ok(())
            }
            Err(SnapshotError::Disk(error)) if error.no_space => {
                self.drop_incoming()?;
                tell(Kept::Trouble(format!("there is no room for a peer's snapshot of slot {upto} ({error})")));
                self.dropped(id, Dropped::NoSpace, tell);
                Ok(())
            }
            Err(SnapshotError::Disk(error)) => Err(error),
            Err(error) => {
                self.drop_incoming()?;
                tell(Kept::Trouble(format!("a peer's snapshot of slot {upto} was dropped: {error}")));
                self.dropped(id, Dropped::Refused, tell);
                Ok(())
            }
        }
    }

    /// Whether the part follows what is there.
    fn write_part(&mut self, part: &SnapshotPart) -> Result<bool, DiskError> {
        let SnapshotPart { upto, id, total, offset, bytes } = part;
        if self.installing.is_some() {
            return Ok(false); // the file is not free yet
        }
        if *offset == 0 {
            let writer = self.snapshots.begin_incoming(*upto)?;
            self.incoming = Some(Incoming { upto: *upto, id: *id, total: *total, writer });
        }
        let follows = |incoming: &&mut Incoming<D>| {
            (incoming.upto, incoming.id, incoming.total) == (*upto, *id, *total)
                && incoming.writer.pushed() == *offset
                && total.checked_sub(*offset).is_some_and(|rest| bytes.len() as u64 <= rest)
        };
        let Some(incoming) = self.incoming.as_mut().filter(follows) else { return Ok(false) };
        incoming.writer.push(bytes)?;
        Ok(true)
    }

    /// Restores the state that the peer's snapshot holds, once every digest is right.
    fn check(&mut self) -> Result<State<M>, SnapshotError> {
        let Incoming { upto, id, writer, .. } = self.incoming.take().expect("its last part was just written");
        let written = writer.finish()?;
        let reader = self.snapshots.load_incoming(upto)?;
        if written != id {
            return Err(reader.damaged(&format!("it is {written}, and was announced as {id}")));
        }
        image::read(reader, self.machine.empty())
    }

    /// The executor holds what a peer's snapshot held: the file gets its name, and the journal forgets what it covers.
    fn name(&mut self, upto: Slot, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        if self.installing.take() != Some(upto) {
            return Ok(());
        }
        if self.snapshots.kept()?.contains(&upto) {
            self.snapshots.drop_incoming()?;
        } else {
            self.snapshots.keep_incoming(upto)?;
        }
        tell(Kept::Say(self.own, ExecutorMessage::SnapshotSaved { upto }.into()));
        tell(Kept::Disk(DiskWork::Forget { upto }));
        self.trim(tell)
    }

    /// Behind the save, so that nothing is trimmed that no snapshot on the disk covers (the learner may hear of the trim
    /// before its executor hears of the save); and only up to the older of two, so that one that rots is not the only one.
    fn trim(&self, tell: &mut dyn FnMut(Kept<M>)) -> Result<(), DiskError> {
        let upto = self.snapshots.safe_upto()?;
        if upto > Slot::ZERO {
            tell(Kept::Disk(DiskWork::Trim { upto }));
        }
        Ok(())
    }

    fn drop_incoming(&mut self) -> Result<(), DiskError> {
        self.incoming = None;
        self.snapshots.drop_incoming()
    }

    fn dropped(&self, id: SnapshotId, because: Dropped, tell: &mut dyn FnMut(Kept<M>)) {
        tell(Kept::Say(self.own, LearnerMessage::SnapshotDropped { id, because }.into()));
    }
}

/// Of so many marks it is remembered that the replicas agreed, besides the one that is being saved.
const MOST_PROVEN: usize = 8;

#[cfg(test)]
mod fetching;
#[cfg(test)]
mod tests;
