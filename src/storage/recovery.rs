//! Reading a journal back: what is whole, what is torn, what is damaged, what is corrupt.
//!
//! DESIGN rule 4. A batch is written only after the sync of the one before has returned. So a bad batch with anything
//! valid behind it (a higher batch in its segment, or a later segment, whose header names its first batch) was durable
//! once and is damaged now. Reading goes on behind it, and the first whole batch that says what stood before it
//! ([`Before`]) says what was lost ([`Damage`]): facts are restored from there, votes are named, and their values are with
//! the peers ("Protocol-Aware Recovery", FAST 2018). Without such a batch nobody knows what was lost:
//! [`OpenError::Corrupt`].
//!
//! A bad batch with nothing valid behind it is taken for one that a crash tore before its sync returned: it is cut whole.
//! That it was the last *acknowledged* batch, hit by a flipped bit, cannot be seen here; a seal behind it or a peer that
//! witnessed its number can tell.
//!
//! Lost, and not restored: values that were learned, watermarks (both are asked for again), what was witnessed of peers
//! (the others that witnessed it still tell).
//!
//! Nothing on the disk is changed here; the journal restores the tail once everything has been read.

use std::cmp::Ordering;
use std::fmt;

use super::batch::{ALIGNMENT, Frame, Header};
use super::disk::{Disk, DiskError};
use super::facts::Facts;
use super::index::{Index, Location};
use super::segment::{FORMAT_VERSION, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_of, is_whole, sequence_of};
use super::voted::Voted;
use crate::paxos::{BatchNumber, Before, Damage, Record, Slot};

/// What was read.
pub(super) struct Recovered {
    pub journal: u64,
    /// In order, those below `oldest` included, which a crash kept from being recycled.
    pub segments: Vec<Segment>,
    pub oldest: u32,
    /// Where the next batch goes, in the last segment.
    pub tail: usize,
    pub last: BatchNumber,
    pub vouched: BatchNumber,
    pub trimmed_upto: Slot,
    /// Nothing, or a batch that only seals, stands behind the last batch with records, or a later segment does.
    pub sealed: bool,
    pub torn: Option<BatchNumber>,
    /// The last batch as it stands in the last segment; empty if that has none.
    pub last_bytes: Vec<u8>,
    pub index: Index,
    pub facts: Facts,
    /// The votes of whole batches and of damaged ones.
    pub voted: Voted,
    pub damage: Damage,
    /// Where that is, a sentence each.
    pub places: Vec<String>,
    /// Whether a segment was read.
    entered: bool,
    /// The votes of whole batches alone.
    whole: Voted,
    /// A place where batches may be damaged or missing.
    suspected: Option<Wound>,
    /// The damaged place behind which no batch has said yet what stood before it.
    open: Option<Wound>,
    closed: Vec<(Wound, Before)>,
    /// What the first batch that does so said.
    first_before: Option<Before>,
}

/// A place where batches are damaged or missing.
struct Wound {
    file: String,
    offset: u64,
    reason: String,
    /// The segment that must not be given up before everything that stood there is in a snapshot.
    segment: usize,
}

impl Wound {
    fn into_error(self) -> OpenError {
        OpenError::corrupt(&self.file, self.offset, &self.reason)
    }
}

/// Reads every segment in order and shows every record to `visit`, and those that later batches restore.
pub(super) fn recover<D: Disk>(disk: &D, visit: &mut impl FnMut(Record)) -> Result<Recovered, OpenError> {
    let sequences: Vec<u32> = disk.list()?.iter().filter_map(|name| sequence_of(name)).collect();
    let (first, last) = sequences.first().copied().zip(sequences.last().copied()).ok_or(OpenError::Missing)?;
    let mut recovery = Recovered::new();
    for sequence in first..=last {
        let file = file_of(sequence);
        if !sequences.contains(&sequence) {
            recovery.suspect(&file, 0, "the file is missing");
            continue;
        }
        let bytes = disk.read_all(&file)?;
        match read_header(&file, sequence, &bytes, sequence == last) {
            Ok(header) => {
                recovery.enter(&file, &header)?;
                recovery.read_segment(&file, &header, &bytes, visit)?;
            }
            Err(OpenError::Corrupt { file, offset, reason }) if sequence < last => {
                recovery.suspect(&file, offset, &reason);
                let size = bytes.len() as u32;
                recovery.segments.push(Segment { sequence, file, size, highest: Slot::ZERO });
            }
            Err(error) => return Err(error),
        }
        if sequence == last {
            recovery.judge_tail(&bytes);
        }
    }
    recovery.finish(first)
}

/// The header of a segment. One that has rotted is put together from the batches behind it.
///
/// # Errors
/// There are none, or the file is none of this journal's, or of another version.
fn read_header(file: &str, sequence: u32, bytes: &[u8], is_last: bool) -> Result<SegmentHeader, OpenError> {
    match SegmentHeader::decode(file, bytes) {
        Ok(header) if header.sequence != sequence => {
            Err(OpenError::corrupt(file, 0, &format!("this is segment {}", header.sequence)))
        }
        // What is missing of another segment, the next one tells; of the last one, nobody.
        Ok(header) if is_last && bytes.len() as u64 != u64::from(header.size) => {
            Err(OpenError::corrupt(file, bytes.len() as u64, &format!("the file should have {} bytes", header.size)))
        }
        Ok(header) => Ok(SegmentHeader { size: bytes.len() as u32, ..header }),
        Err(error @ OpenError::UnknownVersion { .. }) if is_whole(bytes) => Err(error),
        Err(error) => {
            let mut offsets = (SEGMENT_HEADER_BYTES..bytes.len()).step_by(ALIGNMENT);
            let found = offsets.find_map(|offset| Some((offset, Frame::of_any_journal(bytes, offset, sequence)?)));
            let (offset, frame) = found.filter(|_| bytes.len().is_multiple_of(SEGMENT_HEADER_BYTES)).ok_or(error)?;
            let Header { journal, number, .. } = frame.header;
            // Before it there was another, of which nothing is left.
            let lost = u64::from(offset > SEGMENT_HEADER_BYTES);
            let first = BatchNumber(number.0.saturating_sub(lost));
            Ok(SegmentHeader { journal, sequence, first, size: bytes.len() as u32 })
        }
    }
}

impl Recovered {
    fn new() -> Recovered {
        Recovered {
            journal: 0,
            segments: Vec::new(),
            oldest: 0,
            tail: 0,
            last: BatchNumber(0),
            vouched: BatchNumber(0),
            trimmed_upto: Slot::ZERO,
            sealed: true,
            torn: None,
            last_bytes: Vec::new(),
            index: Index::default(),
            facts: Facts::default(),
            voted: Voted::default(),
            damage: Damage::default(),
            places: Vec::new(),
            entered: false,
            whole: Voted::default(),
            suspected: None,
            open: None,
            closed: Vec::new(),
            first_before: None,
        }
    }

    /// A segment proves what the one before must have held.
    fn enter(&mut self, file: &str, header: &SegmentHeader) -> Result<(), OpenError> {
        if !std::mem::replace(&mut self.entered, true) {
            self.journal = header.journal;
            self.last = BatchNumber(header.first.0.saturating_sub(1));
            // Of what nothing can be read of, nobody knows how much it was.
            self.open = self.suspected.take();
            self.damage.batches += u64::from(self.open.is_some());
        }
        if header.journal != self.journal {
            return Err(OpenError::corrupt(file, 0, "the file belongs to another journal"));
        }
        let next = self.next();
        let before = self.segments.last().map_or(file, |segment| &segment.file).to_owned();
        let reason = format!("batch {} is damaged or missing: `{file}` begins with batch {}", next.0, header.first.0);
        match header.first.cmp(&next) {
            Ordering::Less => return Err(OpenError::corrupt(&before, self.tail as u64, &reason)),
            Ordering::Equal => self.suspected = None,
            Ordering::Greater => self.suspect(&before, self.tail as u64, &reason),
        }
        Ok(())
    }

    /// Batches may be damaged here; the number of the next whole one tells.
    fn suspect(&mut self, file: &str, offset: u64, reason: &str) {
        let segment = self.segments.len().saturating_sub(1);
        self.suspected.get_or_insert_with(|| Wound { file: file.into(), offset, reason: reason.into(), segment });
    }

    fn read_segment(
        &mut self,
        file: &str,
        header: &SegmentHeader,
        bytes: &[u8],
        visit: &mut impl FnMut(Record),
    ) -> Result<(), OpenError> {
        let mut highest = Slot::ZERO;
        let mut last_from = SEGMENT_HEADER_BYTES;
        self.tail = SEGMENT_HEADER_BYTES;
        self.sealed = true;
        let sequence = header.sequence;
        loop {
            let due = Frame::at(bytes, self.tail, self.journal, sequence);
            let frame = match due.filter(|frame| frame.header.number == self.next()) {
                Some(frame) => frame,
                None => {
                    let found = Frame::find(bytes, self.tail, self.journal, sequence, self.next());
                    let Some((offset, frame)) = found else { break };
                    self.skip(file, offset, frame.header.number);
                    frame
                }
            };
            let mut count = 0;
            for (span, record) in frame.records() {
                count += 1;
                let record = record.ok_or_else(|| {
                    let offset = self.tail as u64 + u64::from(span.offset);
                    OpenError::corrupt(file, offset, "this version cannot read the record")
                })?;
                if let Record::Before(before) = record {
                    self.heed(before, visit);
                    continue;
                }
                if let Some((slot, place)) = Location::of(&record, sequence, self.tail as u32, span) {
                    self.index.note(slot, place);
                    highest = highest.max(slot);
                }
                self.note(&record);
                visit(record);
            }
            if count != frame.count {
                let reason = format!("batch {} has {count} records, not {}", self.next().0, frame.count);
                return Err(OpenError::corrupt(file, self.tail as u64, &reason));
            }
            self.last = frame.header.number;
            self.vouched = frame.header.vouched;
            self.trimmed_upto = frame.header.trimmed_upto;
            self.oldest = frame.header.oldest;
            self.sealed = frame.is_seal();
            last_from = self.tail;
            self.tail += frame.length;
        }
        self.last_bytes = bytes[last_from..self.tail].to_vec();
        self.segments.push(Segment { sequence, file: file.into(), size: header.size, highest });
        Ok(())
    }

    /// Goes on at a whole batch behind damaged ones.
    fn skip(&mut self, file: &str, offset: usize, number: BatchNumber) {
        let reason =
            format!("batch {} is damaged or missing: batch {} stands at byte {offset}", self.next().0, number.0);
        let here = Wound { file: file.into(), offset: self.tail as u64, reason, segment: self.segments.len() };
        let wound = self.suspected.take().unwrap_or(here);
        self.open.get_or_insert(wound);
        self.damage.batches += (number.0 - self.next().0).max(1);
        self.tail = offset;
        self.last = BatchNumber(number.0 - 1);
    }

    /// A batch says what stood before it: behind damage, that is news.
    fn heed(&mut self, before: Before, visit: &mut impl FnMut(Record)) {
        self.voted = Voted::of(before.above, &before.votes);
        self.first_before.get_or_insert_with(|| before.clone());
        if let Some(wound) = self.open.take() {
            for record in self.facts.missing(&before) {
                self.facts.note(&record);
                visit(record);
            }
            self.closed.push((wound, before));
        }
    }

    fn note(&mut self, record: &Record) {
        self.facts.note(record);
        self.voted.note(record);
        self.whole.note(record);
    }

    /// Behind the last good batch of the last segment: zeros, stale bytes or a torn batch, but nothing valid.
    fn judge_tail(&mut self, bytes: &[u8]) {
        let sequence = self.segments.last().expect("the last segment was read").sequence;
        let torn = Frame::pretends_at(bytes, self.tail, self.journal, sequence, self.next());
        self.torn = torn.then_some(self.next());
    }

    /// Everything is read: what was lost?
    fn finish(mut self, first: u32) -> Result<Recovered, OpenError> {
        if let Some(wound) = self.open.take().or(self.suspected.take()) {
            return Err(wound.into_error());
        }
        // The last batch names the oldest segment in use; without any batch that is the first ever.
        self.oldest = self.oldest.max(1);
        if first > self.oldest {
            let (file, reason) = (file_of(self.oldest), "the file is missing".into());
            let wound = Wound { file, offset: 0, reason, segment: 0 };
            let Some(before) = self.first_before.take() else { return Err(wound.into_error()) };
            self.damage.batches += 1;
            self.closed.push((wound, before));
        }
        for (wound, before) in std::mem::take(&mut self.closed) {
            let Wound { file, offset, reason, .. } = &wound;
            self.places.push(format!("the journal is damaged: `{file}` at byte {offset}: {reason}"));
            let highest = self.lose(&before);
            if let Some(segment) = self.segments.get_mut(wound.segment) {
                segment.highest = segment.highest.max(highest);
            }
        }
        self.index.trim(self.trimmed_upto);
        self.voted.raise(self.trimmed_upto);
        Ok(self)
    }

    /// Notes the votes that stood before some batch and in no whole one: a later vote in the slot, of the same ballot or a
    /// higher one, takes a vote's place. Says the highest slot of them.
    fn lose(&mut self, before: &Before) -> Slot {
        let mut highest = Slot::ZERO;
        for run in &before.votes {
            for slot in run.first.previous().max(self.trimmed_upto).above(run.last()) {
                if !self.whole.covers(slot, run.ballot) {
                    self.damage.votes.insert((slot, run.ballot));
                    highest = highest.max(slot);
                }
            }
        }
        // Below there may have been votes that nobody names any more.
        if before.above > self.trimmed_upto {
            self.damage.unknown_upto = self.damage.unknown_upto.max(before.above);
            highest = highest.max(before.above);
        }
        highest
    }

    fn next(&self) -> BatchNumber {
        BatchNumber(self.last.0 + 1)
    }
}

/// A journal could not be opened or made. Nothing on the disk was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no journal in this folder.
    Missing,
    /// There is a journal in this folder, so none was made.
    Exists {
        /// One of its files.
        file: String,
    },
    /// Something that was durable is damaged: this node must not vote with it.
    Corrupt {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The file was written by another version.
    UnknownVersion {
        /// The file.
        file: String,
        /// The format version that it states.
        version: u32,
    },
    /// The disk did not do what it was asked.
    Disk(DiskError),
}

impl OpenError {
    pub(super) fn corrupt(file: &str, offset: u64, reason: &str) -> OpenError {
        OpenError::Corrupt { file: file.into(), offset, reason: reason.into() }
    }
}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> OpenError {
        OpenError::Disk(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Missing => f.write_str("the folder has no journal: it is new, or its journal was removed"),
            OpenError::Exists { file } => write!(f, "the folder already has a journal (`{file}`): open it instead"),
            OpenError::Corrupt { file, offset, reason } => write!(
                f,
                "the journal is corrupt: `{file}` at byte {offset}: {reason}; this node may have forgotten votes, \
                 so it does not vote, and no later batch says what they were: start another node in its place, with an \
                 empty folder (`synod member replace NAME=HOST:PORT`); the other nodes go on meanwhile"
            ),
            OpenError::UnknownVersion { file, version } => write!(
                f,
                "`{file}` has journal format {version}, and this version of synod reads format {FORMAT_VERSION}: use \
                 the version that wrote it"
            ),
            OpenError::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, NodeId};
    use crate::storage::batch::HEADER_BYTES;
    use crate::storage::{Journal, MemoryDisk, Settings};
    use crc32c::crc32c;

    const BATCH: usize = SEGMENT_HEADER_BYTES;
    /// What a promise takes in a batch.
    const PROMISE: usize = 24;

    /// A journal of one batch with two promises, its bytes changed and every checksum put right again.
    fn forged(change: fn(&mut [u8])) -> OpenError {
        let disk = MemoryDisk::new();
        let settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };
        let mut journal = Journal::create(disk.clone(), settings, 9).expect("made");
        journal.append(&Record::Promise { ballot: Ballot::new(1, NodeId(1)) });
        journal.append(&Record::Promise { ballot: Ballot::new(2, NodeId(1)) });
        journal.commit().expect("written");
        let file = file_of(1);
        let mut bytes = disk.read_all(&file).expect("read");
        let length = super::super::batch::u32_at(&bytes, BATCH + 8) as usize;
        let batch = &mut bytes[BATCH..BATCH + HEADER_BYTES + length];
        change(batch);
        let (entry, payload) = (batch.len() - PROMISE, batch.len() - PROMISE + 8);
        let checksum = crc32c(&batch[payload..]).to_le_bytes();
        batch[entry + 4..payload].copy_from_slice(&checksum);
        let checksum = crc32c(&batch[8..]).to_le_bytes();
        batch[4..8].copy_from_slice(&checksum);
        disk.write_at(&file, 0, &bytes).expect("written");
        recover(&disk, &mut |_| ()).err().expect("refused")
    }

    #[test]
    fn a_record_of_an_unknown_kind_is_refused_and_its_place_is_told() {
        let error = forged(|batch| {
            let entry = batch.len() - PROMISE;
            batch[entry + 8..entry + 12].fill(0xff);
        });
        let OpenError::Corrupt { file, offset, reason } = error else { panic!("corrupt: {error}") };
        assert_eq!((file, reason.as_str()), (file_of(1), "this version cannot read the record"));
        assert!(
            offset > (BATCH + HEADER_BYTES + PROMISE) as u64 && offset < (BATCH + 4 * HEADER_BYTES) as u64,
            "{offset}"
        );
    }

    #[test]
    fn a_batch_with_another_number_of_records_than_it_states_is_refused() {
        let error = forged(|batch| batch[12] = 4);
        assert_eq!(error, OpenError::corrupt(&file_of(1), BATCH as u64, "batch 1 has 3 records, not 4"));
    }

    #[test]
    fn each_error_tells_a_person_what_is_wrong_and_what_to_do() {
        let file = || "journal-0000000001".to_owned();
        for (error, begin) in [
            (OpenError::Missing, "the folder has no journal"),
            (OpenError::Exists { file: file() }, "the folder already has a journal (`journal-0000000001`)"),
            (
                OpenError::corrupt(&file(), 7, "it rots"),
                "the journal is corrupt: `journal-0000000001` at byte 7: it rots",
            ),
            (OpenError::UnknownVersion { file: file(), version: 8 }, "`journal-0000000001` has journal format 8"),
            (OpenError::Disk(DiskError::new(file(), "read", "gone")), "cannot read `journal-0000000001`: gone"),
        ] {
            assert!(error.to_string().starts_with(begin), "{error}");
        }
    }
}
