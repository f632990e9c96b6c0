//! The journal: every durable fact of a node, in order.
//!
//! ```text
//!  journal-0000000003        journal-0000000004                      spare-0000000002
//!  ┌──────┬─────┬─────┬──┐   ┌──────┬─────┬─────┬─ ─ ─ ─ ─ ─ ─ ─┐    ┌ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//!  │header│ 7   │ 8   │  │   │header│ 9   │ 10  │ zeros or stale │     whole, waits its turn
//!  └──────┴─────┴─────┴──┘   └──────┴─────┴─────┴─ ─ ─ ─ ─ ─ ─ ─┘    └ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//!  └── trim recycles from here        tail ─────┘
//! ```
//!
//! Records gather by [`Journal::append`] and become durable by [`Journal::commit`]: one numbered batch, one write, one
//! sync, into a file that was written in full before, so that the sync changes no file metadata.
//!
//! Invariants:
//! * batch n is written only after the sync of batch n − 1 has returned; recovery's verdict hangs on it;
//! * a segment has its journal name only once its header is durable and every earlier batch is;
//! * a segment is given up only once the facts that stand in it are durable in a later one;
//! * after an error of a write or a sync, nothing more is ever written (a failed sync is never retried).
//!
//! **Vouching.** The number that peers hear ([`Journal::last_batch`]) stands still from an opening until
//! [`Journal::vouch`]: a journal that has lost its end would otherwise write past the number its peers remember, and a
//! second restart would hide the loss. Every batch carries the number vouched for, so a restart in between changes
//! nothing.
//!
//! **What stood before.** A batch begins with what the ones before it made the node remember, without values
//! ([`Before`](crate::paxos::Before)): of a batch that rots, a later one tells what it was, and the values come back from
//! peers ([`Damage`]). A seal carries it, too. Absent: threads (one owner writes), snapshots, any notion of what is chosen.

use super::batch::{HEADER_BYTES, Header, Pending, damaged_entry, open_entry};
use super::disk::{Disk, DiskError};
use super::facts::Facts;
use super::index::{Index, Location};
use super::recovery::{OpenError, recover};
use super::segment::{SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_of, sequence_of};
use super::spares::{Spare, SpareTask, Spares};
use super::voted::Voted;
use crate::paxos::{Ballot, BatchNumber, Damage, Record, Slot, Value};

/// Sizes. They may differ from one start to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A segment's usual size in bytes; at most 1 GiB.
    pub segment_bytes: u32,
    /// The first segment's size; each next one is twice as large, up to the usual size, so that a new node starts at
    /// once.
    pub first_segment_bytes: u32,
    /// How many trimmed segments are kept to be used again.
    pub spares: usize,
    /// How long the journal may become, in bytes. Beyond that, members that lag or are away get a snapshot in place of the
    /// slots that they lack, and snapshots are taken, one after the other, until it is shorter. Less than two segments
    /// would be too little.
    pub keep_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { segment_bytes: 64 << 20, first_segment_bytes: 256 << 10, spares: 2, keep_bytes: 1 << 30 }
    }
}

/// The journal of one node, with its only writer.
#[derive(Debug)]
pub struct Journal<D> {
    disk: D,
    settings: Settings,
    id: u64,
    /// In order; the last one is written to. Never empty.
    segments: Vec<Segment>,
    /// Where the next batch goes.
    tail: u32,
    last: BatchNumber,
    vouched: BatchNumber,
    vouching: bool,
    sealed: bool,
    trimmed_upto: Slot,
    pending: Pending,
    /// Places in the pending batch, counted from its start.
    pending_places: Vec<(Slot, Location)>,
    index: Index,
    facts: Facts,
    voted: Voted,
    spares: Spares,
    commits: u64,
    poison: Option<DiskError>,
}

/// A journal that was opened, and what it held.
#[derive(Debug)]
pub struct Opened<D> {
    /// Ready to be written to.
    pub journal: Journal<D>,
    /// Everything that is durable, in order. Empty if the records were shown to a visitor.
    pub records: Vec<Record>,
    /// The batch that was found unfinished and cut.
    pub torn: Option<BatchNumber>,
    /// What stood in batches that are damaged.
    pub damage: Damage,
    /// Where they are, a sentence each.
    pub places: Vec<String>,
}

impl<D: Disk> Journal<D> {
    /// Makes a journal in a folder that has none. `id` is a fresh random number.
    pub fn create(disk: D, settings: Settings, id: u64) -> Result<Journal<D>, OpenError> {
        let names = disk.list()?;
        if let Some(file) = names.iter().find(|name| sequence_of(name).is_some()) {
            return Err(OpenError::Exists { file: file.clone() });
        }
        let spares = Spares::find(&disk, &names)?;
        let mut journal = Journal {
            disk,
            settings,
            id,
            segments: Vec::new(),
            tail: 0,
            last: BatchNumber(0),
            vouched: BatchNumber(0),
            vouching: false,
            sealed: true,
            trimmed_upto: Slot::ZERO,
            pending: Pending::new(),
            pending_places: Vec::new(),
            index: Index::default(),
            facts: Facts::default(),
            voted: Voted::default(),
            spares,
            commits: 0,
            poison: None,
        };
        journal.begin_segment(0)?;
        Ok(journal)
    }

    /// Opens the journal of this folder and returns its records.
    pub fn open(disk: D, settings: Settings) -> Result<Opened<D>, OpenError> {
        let mut records = Vec::new();
        let opened = Journal::open_with(disk, settings, |record| records.push(record))?;
        Ok(Opened { records, ..opened })
    }

    /// Opens the journal of this folder and shows its records to `visit`, in order, without keeping them. After an
    /// error, what was shown means nothing.
    pub fn open_with(disk: D, settings: Settings, mut visit: impl FnMut(Record)) -> Result<Opened<D>, OpenError> {
        let recovered = recover(&disk, &mut visit)?;
        let spares = Spares::find(&disk, &disk.list()?)?;
        let mut journal = Journal {
            disk,
            settings,
            id: recovered.journal,
            segments: recovered.segments,
            tail: recovered.tail as u32,
            last: recovered.last,
            vouched: recovered.vouched,
            vouching: false,
            sealed: recovered.sealed,
            trimmed_upto: recovered.trimmed_upto,
            pending: Pending::new(),
            pending_places: Vec::new(),
            index: recovered.index,
            facts: recovered.facts,
            voted: recovered.voted,
            spares,
            commits: 0,
            poison: None,
        };
        journal.restore_tail(recovered.last_bytes)?;
        journal.recycle_below(recovered.oldest)?;
        Ok(Opened {
            journal,
            records: Vec::new(),
            torn: recovered.torn,
            damage: recovered.damage,
            places: recovered.places,
        })
    }

    /// Whether the folder has a journal, whole or not.
    pub fn exists(disk: &D) -> Result<bool, DiskError> {
        Ok(disk.list()?.iter().any(|name| sequence_of(name).is_some()))
    }

    /// Adds a record to the next batch. It is encoded here, and nowhere again. Commit long before a batch is 1 GiB.
    pub fn append(&mut self, record: &Record) {
        self.begin_batch();
        let span = self.pending.push(record);
        self.pending_places.extend(Location::of(record, 0, 0, span));
        self.facts.note(record);
        self.voted.note(record);
    }

    /// Makes everything appended durable and returns [`Journal::last_batch`]. Nothing appended: no I/O.
    pub fn commit(&mut self) -> Result<BatchNumber, DiskError> {
        self.check()?;
        if !self.pending.is_empty() {
            self.write_batch()?;
        }
        Ok(self.vouched)
    }

    /// Commits, then proves the last batch complete by an empty one behind it. For idle moments; free if already so.
    pub fn seal(&mut self) -> Result<(), DiskError> {
        self.commit()?;
        if self.sealed { Ok(()) } else { self.write_batch() }
    }

    /// From the next commit on, peers may hear this journal's numbers: a quorum of them has seen nothing newer than
    /// [`Journal::last_batch`], or this node's journal is new.
    pub fn vouch(&mut self) {
        self.vouching = true;
    }

    /// From now on peers hear no higher number than [`Journal::last_batch`]: this journal has lost some of what it vouched
    /// for, and new batches must not hide that.
    pub fn disown(&mut self) {
        self.vouching = false;
    }

    /// Whether [`Journal::trim`] would give up a segment.
    pub fn can_trim(&self, upto: Slot) -> bool {
        self.segments.len() > 1 && self.segments[0].highest <= upto
    }

    /// The last slot of the oldest segment, if that is not the current one: until a snapshot covers it nothing can be given
    /// up.
    pub fn oldest_segment_upto(&self) -> Option<Slot> {
        (self.segments.len() > 1).then(|| self.segments[0].highest)
    }

    /// How long it may become for the sake of members that lag, in bytes.
    pub fn keep_bytes(&self) -> u64 {
        self.settings.keep_bytes
    }

    /// Beyond this it is worth a snapshot to become shorter: the bound, and a few segments at least, since those are given
    /// up whole, and what has a snapshot taken is journaled, too.
    pub fn long_bytes(&self) -> u64 {
        self.settings.keep_bytes.max(u64::from(self.settings.segment_bytes) * 4)
    }

    /// Gives up what the node's own durable snapshot covers: whole segments from the old end whose every slot is at or
    /// below `upto`. Commits first. Returns the watermark up to which slots are gone.
    pub fn trim(&mut self, upto: Slot) -> Result<Slot, DiskError> {
        self.commit()?;
        let (_, old) = self.segments.split_last().expect("there is a segment");
        let gone = old.iter().take_while(|segment| segment.highest <= upto);
        let (count, highest) = gone.fold((0, Slot::ZERO), |(count, slot), gone| (count + 1, slot.max(gone.highest)));
        if count == 0 {
            return Ok(self.trimmed_upto);
        }
        let oldest = self.segments[count].sequence;
        self.trimmed_upto = self.trimmed_upto.max(highest);
        self.index.trim(self.trimmed_upto);
        self.voted.raise(self.trimmed_upto);
        self.begin_batch();
        for record in self.facts.records() {
            self.pending.push(&record);
        }
        self.write_batch_from(oldest)?;
        self.recycle_below(oldest)?;
        Ok(self.trimmed_upto)
    }

    /// Slots up to `upto` are told by a snapshot from elsewhere from now on, durably: what the journal holds of them is
    /// not known to be chosen. Returns [`Journal::trimmed_upto`]. No segment is given up yet.
    pub fn forget(&mut self, upto: Slot) -> Result<Slot, DiskError> {
        self.commit()?;
        if upto > self.trimmed_upto {
            self.trimmed_upto = upto;
            self.index.trim(upto);
            self.voted.raise(upto);
            self.write_batch()?;
        }
        Ok(self.trimmed_upto)
    }

    /// The value of each slot from `first` on, in an unbroken run to at most `upto`, as far as `max_bytes` go, but at
    /// least one if the journal has `first`. The caller knows that these slots are chosen, and has committed: what is only
    /// appended is not there yet. The run ends before a record that cannot be read back; if that is the first one it is an
    /// error, which does not stop the journal.
    pub fn read_slots(
        &self,
        first: Slot,
        upto: Slot,
        max_bytes: usize,
    ) -> Result<Vec<(Slot, Ballot, Value)>, DiskError> {
        self.check()?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for (slot, place) in self.index.run(first, upto) {
            bytes += place.length() as usize;
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            let file = file_of(place.segment);
            let entry = self.disk.read(&file, u64::from(place.offset), place.length() as usize)?;
            match open_entry(&entry) {
                Some(Record::Vote { slot: s, ballot, value } | Record::Chosen { slot: s, ballot, value })
                    if s == slot =>
                {
                    found.push((slot, ballot, value));
                }
                // What stands before it is whole: two journals, each with damage of its own, can still supply everything.
                _ if !found.is_empty() => break,
                _ => return Err(damaged_entry(&file, place.offset)),
            }
        }
        Ok(found)
    }

    /// Whether a spare segment should be prepared now, lest a commit has to.
    pub fn needs_spare(&self) -> bool {
        self.spares.wanted() && self.tail > self.current().size / 2
    }

    /// The work of preparing a spare, if [`Journal::needs_spare`]: for another thread. Its result comes back through
    /// [`Journal::add_spare`]; an error is one of the node's disk.
    pub fn spare_task(&mut self) -> Option<SpareTask<D>> {
        if !self.needs_spare() {
            return None;
        }
        let size = self.usual_size();
        self.spares.task(&self.disk, size)
    }

    /// Takes a prepared spare.
    pub fn add_spare(&mut self, spare: Spare) {
        self.spares.add(spare);
    }

    /// The highest batch that is durable and vouched for: what peers may hear.
    pub fn last_batch(&self) -> BatchNumber {
        self.vouched
    }

    /// Slots up to here may be gone; everything above that was ever journaled is there.
    pub fn trimmed_upto(&self) -> Slot {
        self.trimmed_upto
    }

    /// The first slot that [`Journal::read_slots`] can supply.
    pub fn oldest_slot(&self) -> Option<Slot> {
        self.index.first()
    }

    /// How many bytes of the disk the journal holds in use, spares and the zeros ahead not counted.
    pub fn size_bytes(&self) -> u64 {
        let (_, old) = self.segments.split_last().expect("there is a segment");
        old.iter().map(|segment| u64::from(segment.size)).sum::<u64>() + u64::from(self.tail)
    }

    /// How many bytes wait for the next commit.
    pub fn pending_bytes(&self) -> usize {
        if self.pending.is_empty() { 0 } else { self.pending.frame_length() }
    }

    /// How many batches were written since it was opened.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The random number this journal was made with.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What stood before the batch stands at its head. Everything appended so far is in a durable batch now.
    fn begin_batch(&mut self) {
        if self.pending.is_empty() {
            self.voted.keep(MOST_RUNS);
            self.pending.push(&Record::Before(self.facts.before(&self.voted)));
        }
    }

    fn write_batch(&mut self) -> Result<(), DiskError> {
        self.write_batch_from(self.segments[0].sequence)
    }

    /// Writes the pending records as one batch, a seal if there are none; segments below `oldest` are given up with it.
    fn write_batch_from(&mut self, oldest: u32) -> Result<(), DiskError> {
        self.check()?;
        let seals = self.pending.is_empty();
        self.begin_batch();
        let length = self.pending.frame_length();
        if length as u64 > self.room() {
            let begun = self.begin_segment(length);
            self.poison_on(begun)?;
        }
        let number = BatchNumber(self.last.0 + 1);
        let vouched = if self.vouching && !seals { number } else { self.vouched };
        let current = self.segments.last_mut().expect("there is a segment");
        let segment = current.sequence;
        let (journal, trimmed_upto) = (self.id, self.trimmed_upto);
        let bytes = self.pending.finish(Header { journal, segment, number, vouched, trimmed_upto, oldest });
        let written = self.disk.write_at(&current.file, u64::from(self.tail), bytes);
        let durable = written.and_then(|()| self.disk.sync(&current.file));
        for (slot, place) in self.pending_places.drain(..) {
            current.highest = current.highest.max(slot);
            self.index.note(slot, place.placed(segment, self.tail));
        }
        self.pending.clear();
        self.poison_on(durable)?;
        self.tail += length as u32;
        self.last = number;
        self.commits += 1;
        self.vouched = vouched;
        self.sealed = seals;
        Ok(())
    }

    /// Gives a spare file a header and a journal name, with room for a batch of `length` bytes.
    fn begin_segment(&mut self, length: usize) -> Result<(), DiskError> {
        let sequence = self.segments.last().map_or(1, |segment| segment.sequence + 1);
        let least = u32::try_from(SEGMENT_HEADER_BYTES + length).expect("a batch is below 1 GiB");
        let spare = self.spares.take(&self.disk, whole_blocks(least), self.usual_size())?;
        let first = BatchNumber(self.last.0 + 1);
        let header = SegmentHeader { journal: self.id, sequence, first, size: spare.size };
        let file = file_of(sequence);
        self.disk.write_at(&spare.file, 0, &header.encode())?;
        self.disk.sync(&spare.file)?;
        self.disk.rename(&spare.file, &file)?;
        self.disk.sync_dir()?;
        self.segments.push(Segment { sequence, file, size: spare.size, highest: Slot::ZERO });
        self.tail = SEGMENT_HEADER_BYTES as u32;
        Ok(())
    }

    /// After reading: the last batch may be in the system's cache only (its sync never returned, or failed), so it is
    /// written and synced again before anything is said on its strength; and where a torn batch began, its header is
    /// zeroed, so that its remains can never be read as one.
    fn restore_tail(&mut self, mut last_bytes: Vec<u8>) -> Result<(), DiskError> {
        let offset = u64::from(self.tail) - last_bytes.len() as u64;
        let room = (self.current().size - self.tail) as usize;
        last_bytes.resize(last_bytes.len() + HEADER_BYTES.min(room), 0);
        let file = &self.current().file;
        self.disk.write_at(file, offset, &last_bytes)?;
        self.disk.sync(file)?;
        self.disk.sync_dir()
    }

    /// Each is taken out durably before the next, so that what a crash leaves is an unbroken run.
    fn recycle_below(&mut self, oldest: u32) -> Result<(), DiskError> {
        while self.segments.len() > 1 && self.segments[0].sequence < oldest {
            let gone = self.segments.remove(0);
            let keep = self.spares.count() < self.settings.spares && gone.size >= self.usual_size();
            let recycled = self.spares.recycle(&self.disk, &gone.file, gone.size, keep);
            self.poison_on(recycled)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), DiskError> {
        self.poison.clone().map_or(Ok(()), Err)
    }

    fn poison_on<T>(&mut self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        result.inspect_err(|error| self.poison = Some(error.clone()))
    }

    fn current(&self) -> &Segment {
        self.segments.last().expect("there is a segment")
    }

    /// How many bytes the current segment takes yet. One that was made larger for a single batch is not filled beyond the
    /// usual size: what stands behind that batch would keep it from being given up.
    fn room(&self) -> u64 {
        let usual = self.current().size.min(at_least_two_blocks(self.settings.segment_bytes));
        let is_empty = self.tail == SEGMENT_HEADER_BYTES as u32;
        u64::from((if is_empty { self.current().size } else { usual }).saturating_sub(self.tail))
    }

    /// The size of the segment after the current one.
    fn usual_size(&self) -> u32 {
        let size = match self.segments.last() {
            Some(current) => current.size.saturating_mul(2).min(self.settings.segment_bytes),
            None => self.settings.first_segment_bytes.min(self.settings.segment_bytes),
        };
        at_least_two_blocks(size)
    }
}

const MOST_SEGMENT_BYTES: u32 = 1 << 30;
/// How many runs of votes a batch names at most: each change of leader begins one.
const MOST_RUNS: usize = 8;

/// A header, and room for something.
fn at_least_two_blocks(bytes: u32) -> u32 {
    whole_blocks(bytes.clamp(2 * SEGMENT_HEADER_BYTES as u32, MOST_SEGMENT_BYTES))
}

fn whole_blocks(bytes: u32) -> u32 {
    bytes.next_multiple_of(SEGMENT_HEADER_BYTES as u32)
}
