//! The scribe: what a node's disk does with one lot of work, without the thread that it does it on.
//!
//! Everything that waits is appended, made durable by one write and one sync, and only then released, in order. Reads
//! come behind: they see what the lot wrote. A failed operation leaves the journal poisoned, and the node must stop.

use super::disk::{Disk, DiskError};
use super::journal::Journal;
use super::snapshots::Snapshots;
use crate::paxos::dispatch::DiskWork;
use crate::paxos::effect::SNAPSHOT_PART_BYTES;
use crate::paxos::{Bytes, LearnerMessage, Message, NodeId, Record, Slot};

/// The only writer of a node's journal.
#[derive(Debug)]
pub struct Scribe<D> {
    own: NodeId,
    journal: Journal<D>,
    snapshots: Snapshots<D>,
    /// Messages that leave once this lot is durable.
    saying: Vec<(NodeId, Message)>,
    /// Something was journaled since the last seal that is worth one. What peers said of their own journals is not, or
    /// idle nodes would go on telling each other of their seals for ever.
    unsealed: bool,
}

/// Where a scribe's results go.
pub trait Listener<D> {
    /// More of the journal is durable. Always called before what that releases is said.
    fn durable(&mut self, journal: &Journal<D>);
    /// These may be said now.
    fn say(&mut self, messages: Vec<(NodeId, Message)>);
    /// A slot or a part of a snapshot cannot be read back. Another node can supply it; a snapshot, once it covers the slot.
    fn unreadable(&mut self, what: String);
}

impl<D: Disk> Scribe<D> {
    /// The scribe of the node `own`.
    pub fn new(own: NodeId, journal: Journal<D>, snapshots: Snapshots<D>) -> Scribe<D> {
        Scribe { own, journal, snapshots, saying: Vec::new(), unsealed: false }
    }

    /// Performs everything that waited: one write, one sync.
    ///
    /// # Errors
    /// The disk did not do what it was asked. Nothing that hung on it was said; the node must stop.
    pub fn perform(&mut self, lot: Vec<DiskWork>, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        let mut syncing = false;
        let mut reading = Vec::new();
        let (mut trim, mut forget) = (Slot::ZERO, Slot::ZERO);
        for work in lot {
            match work {
                DiskWork::Sync { records, then } => {
                    syncing |= !records.is_empty();
                    self.unsealed |= !records.is_empty();
                    records.iter().for_each(|record| self.journal.append(record));
                    self.saying.extend(then.into_iter().flat_map(|then| then.release(self.own)));
                }
                DiskWork::Append { records } => {
                    let is_hearsay = |record: &Record| matches!(record, Record::Witnessed { .. });
                    self.unsealed |= !records.iter().all(is_hearsay);
                    records.iter().for_each(|record| self.journal.append(record));
                    // Nothing waits for these, but they must not pile up while no sync comes.
                    syncing |= self.journal.pending_bytes() > MOST_PENDING_BYTES;
                }
                DiskWork::Forget { upto } => forget = forget.max(upto),
                DiskWork::Trim { upto } => trim = trim.max(upto),
                DiskWork::Vouch => self.journal.vouch(),
                DiskWork::Disown => self.journal.disown(),
                reads => reading.push(reads),
            }
        }
        if syncing {
            self.journal.commit()?;
        }
        // Durable before anybody hears of it: first the number that frames carry, then the messages.
        listener.durable(&self.journal);
        self.say(listener);
        for work in reading {
            self.read(work, listener);
        }
        self.say(listener);
        if forget > Slot::ZERO {
            self.journal.forget(forget)?;
            listener.durable(&self.journal);
        }
        if trim > Slot::ZERO {
            let upto = self.journal.trim(trim)?;
            listener.durable(&self.journal);
            listener.say(vec![(self.own, LearnerMessage::Trimmed { upto }.into())]);
        }
        Ok(())
    }

    /// Nothing has come for a while: proves the last batch complete, so that a flipped bit in it can be told from a torn
    /// write.
    ///
    /// # Errors
    /// As [`Scribe::perform`].
    pub fn idle(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        if std::mem::take(&mut self.unsealed) {
            self.journal.seal()?;
            listener.durable(&self.journal);
        }
        Ok(())
    }

    /// Makes everything durable, and proves it complete.
    ///
    /// # Errors
    /// As [`Scribe::perform`].
    pub fn close(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        self.journal.seal()?;
        listener.durable(&self.journal);
        Ok(())
    }

    /// The journal.
    pub fn journal(&self) -> &Journal<D> {
        &self.journal
    }

    /// The journal, for those who read it or hand it spare segments.
    pub fn journal_mut(&mut self) -> &mut Journal<D> {
        &mut self.journal
    }

    fn say(&mut self, listener: &mut impl Listener<D>) {
        if !self.saying.is_empty() {
            listener.say(std::mem::take(&mut self.saying));
        }
    }

    fn read(&mut self, work: DiskWork, listener: &mut impl Listener<D>) {
        match work {
            DiskWork::SupplySlots { to, first, upto } => match self.journal.read_slots(first, upto, SUPPLY_BYTES) {
                Ok(entries) if !entries.is_empty() => {
                    self.saying.push((to, LearnerMessage::Chosen { entries, chosen_upto: upto }.into()));
                }
                // A snapshot that was installed here took the place of these slots.
                Ok(_) => self.supply_snapshot(to, Slot::ZERO, 0, listener),
                Err(error) => {
                    listener.unreadable(format!("cannot supply slot {first}: {error}"));
                    // Perhaps nobody else is there to ask.
                    if self.snapshots.kept().is_ok_and(|kept| kept.last().is_some_and(|newest| *newest >= first)) {
                        self.supply_snapshot(to, Slot::ZERO, 0, listener);
                    }
                }
            },
            DiskWork::SupplySnapshot { to, upto, offset } => self.supply_snapshot(to, upto, offset, listener),
            _ => {}
        }
    }

    /// The part asked for, or the first part of the newest snapshot if that one is gone.
    fn supply_snapshot(&mut self, to: NodeId, upto: Slot, offset: u64, listener: &mut impl Listener<D>) {
        let Ok(kept) = self.snapshots.kept() else { return };
        let Some(newest) = kept.last().copied() else { return };
        let (upto, offset) = if kept.contains(&upto) { (upto, offset) } else { (newest, 0) };
        match self.snapshots.read_part(upto, offset, SNAPSHOT_PART_BYTES) {
            Ok(part) => {
                let bytes = Bytes::from(part.bytes);
                let part = LearnerMessage::SnapshotPart { upto, total: part.total, offset, bytes };
                self.saying.push((to, part.into()));
            }
            Err(error) => listener.unreadable(format!("a snapshot cannot be supplied: {error}")),
        }
    }
}

/// How much may wait for a sync that nobody asks for.
const MOST_PENDING_BYTES: usize = 8 << 20;
/// How many bytes of values one answer to a node that catches up holds: reading them delays votes.
const SUPPLY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, Value};
    use crate::storage::{MemoryDisk, Settings};

    #[derive(Default)]
    struct Heard {
        said: Vec<(NodeId, Message)>,
        unreadable: usize,
    }

    impl<D> Listener<D> for Heard {
        fn durable(&mut self, _: &Journal<D>) {}
        fn say(&mut self, messages: Vec<(NodeId, Message)>) {
            self.said.extend(messages);
        }
        fn unreadable(&mut self, _: String) {
            self.unreadable += 1;
        }
    }

    #[test]
    fn in_place_of_a_slot_that_rots_the_snapshot_is_supplied_that_covers_it() {
        let disk = MemoryDisk::new();
        let settings = Settings { segment_bytes: 16 * 1024, first_segment_bytes: 8 * 1024, spares: 0 };
        let mut journal = Journal::create(disk.clone(), settings, 7).expect("made");
        for slot in 1..=3 {
            let ballot = Ballot::new(1, NodeId(1));
            journal.append(&Record::Vote { slot: Slot(slot), ballot, value: Value::no_op() });
        }
        journal.commit().expect("durable");
        let place = journal.read_slots(Slot(2), Slot(2), 1).expect("whole");
        assert_eq!(place.len(), 1);
        let file = "journal-0000000001";
        let before = disk.read_all(file).expect("read");
        // Somewhere in the second vote: the first byte whose loss that slot notices.
        let rots = |at: &usize| {
            disk.flip(file, *at, 1);
            let lost =
                journal.read_slots(Slot(2), Slot(2), 1).is_err() && journal.read_slots(Slot(3), Slot(3), 1).is_ok();
            if !lost {
                disk.flip(file, *at, 1);
            }
            lost
        };
        (0..before.len()).find(rots).expect("some byte holds it");
        let snapshots = Snapshots::new(disk.clone());
        let mut scribe = Scribe::new(NodeId(1), journal, snapshots.clone());
        let ask = |scribe: &mut Scribe<MemoryDisk>| {
            let mut heard = Heard::default();
            let supply = DiskWork::SupplySlots { to: NodeId(2), first: Slot(2), upto: Slot(3) };
            scribe.perform(vec![supply], &mut heard).expect("the disk works");
            assert_eq!(heard.unreadable, 1);
            heard.said
        };
        assert_eq!(ask(&mut scribe), []);
        snapshots.save(Slot(1), b"does not cover it").expect("saved");
        assert_eq!(ask(&mut scribe), []);
        snapshots.save(Slot(2), b"covers it").expect("saved");
        let part =
            LearnerMessage::SnapshotPart { upto: Slot(2), total: 9, offset: 0, bytes: Bytes::from(&b"covers it"[..]) };
        assert_eq!(ask(&mut scribe), [(NodeId(2), part.into())]);
    }
}
