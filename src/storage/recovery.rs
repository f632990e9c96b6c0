//! Reading a journal back: what is whole, what is torn, what is corrupt.
//!
//! DESIGN rule 4. A batch is written only after the sync of the one before has returned. So a bad batch with anything
//! valid behind it (a higher batch in its segment, or a later segment, whose header names its first batch) was durable
//! once and is damaged now: [`OpenError::Corrupt`]. A bad batch with nothing valid behind it is taken for one that a
//! crash tore before its sync returned: it is cut whole. That it was the last *acknowledged* batch, hit by a flipped
//! bit, cannot be seen here; a seal behind it or a peer that witnessed its number can tell.
//!
//! Nothing on the disk is changed here; the journal restores the tail once everything has been read.

use std::fmt;

use super::batch::{ALIGNMENT, Frame, HEADER_BYTES};
use super::disk::{Disk, DiskError};
use super::facts::Facts;
use super::index::{Index, Location};
use super::segment::{FORMAT_VERSION, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_of, sequence_of};
use crate::paxos::{BatchNumber, Record, Slot};

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
    /// Nothing, or an empty batch, stands behind the last batch with records, or a later segment does.
    pub sealed: bool,
    pub torn: Option<BatchNumber>,
    /// The last batch as it stands in the last segment; empty if that has none.
    pub last_bytes: Vec<u8>,
    pub index: Index,
    pub facts: Facts,
}

/// Reads every segment in order and shows every record to `visit`.
pub(super) fn recover<D: Disk>(disk: &D, visit: &mut impl FnMut(Record)) -> Result<Recovered, OpenError> {
    let sequences: Vec<u32> = disk.list()?.iter().filter_map(|name| sequence_of(name)).collect();
    let (first, last) = sequences.first().zip(sequences.last()).ok_or(OpenError::Missing)?;
    let missing = |sequence: u32| OpenError::corrupt(&file_of(sequence), 0, "the file is missing");
    if let Some(absent) = (*first..=*last).zip(&sequences).find(|(due, found)| due != *found) {
        return Err(missing(absent.0));
    }
    let mut recovery: Option<Recovered> = None;
    for sequence in *first..=*last {
        let file = file_of(sequence);
        let bytes = disk.read_all(&file)?;
        let header = SegmentHeader::decode(&file, &bytes)?;
        if header.sequence != sequence {
            return Err(OpenError::corrupt(&file, 0, &format!("this is segment {}", header.sequence)));
        }
        let recovery = match &mut recovery {
            Some(recovery) => {
                recovery.enter(&file, &header)?;
                recovery
            }
            none => none.insert(Recovered::from_first(&header)),
        };
        recovery.read_segment(&file, &header, &bytes, visit)?;
        if sequence == *last {
            recovery.judge_tail(&file, &bytes)?;
        }
    }
    let mut recovered = recovery.expect("there is at least one segment");
    // The last batch names the oldest segment in use; without any batch that is the first ever.
    recovered.oldest = recovered.oldest.max(1);
    if *first > recovered.oldest {
        return Err(missing(recovered.oldest));
    }
    recovered.index.trim(recovered.trimmed_upto);
    Ok(recovered)
}

impl Recovered {
    fn from_first(header: &SegmentHeader) -> Recovered {
        Recovered {
            journal: header.journal,
            segments: Vec::new(),
            oldest: 0,
            tail: 0,
            last: BatchNumber(header.first.0.saturating_sub(1)),
            vouched: BatchNumber(0),
            trimmed_upto: Slot::ZERO,
            sealed: true,
            torn: None,
            last_bytes: Vec::new(),
            index: Index::default(),
            facts: Facts::default(),
        }
    }

    /// A later segment proves what the one before must have held.
    fn enter(&mut self, file: &str, header: &SegmentHeader) -> Result<(), OpenError> {
        if header.journal != self.journal {
            return Err(OpenError::corrupt(file, 0, "the file belongs to another journal"));
        }
        if header.first != self.next() {
            let before = self.segments.last().expect("a segment was entered before");
            let reason =
                format!("batch {} is damaged or missing: `{file}` begins with batch {}", self.next().0, header.first.0);
            return Err(OpenError::corrupt(&before.file, self.tail as u64, &reason));
        }
        Ok(())
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
        while let Some(frame) = Frame::at(bytes, self.tail, self.journal, header.sequence) {
            if frame.header.number != self.next() {
                break;
            }
            let mut count = 0;
            for (span, record) in frame.records() {
                count += 1;
                let record = record.ok_or_else(|| {
                    let offset = self.tail as u64 + u64::from(span.offset);
                    OpenError::corrupt(file, offset, "this version cannot read the record")
                })?;
                if let Some((slot, place)) = Location::of(&record, header.sequence, self.tail as u32, span) {
                    self.index.note(slot, place);
                    highest = highest.max(slot);
                }
                self.facts.note(&record);
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
            self.sealed = frame.is_empty();
            last_from = self.tail;
            self.tail += frame.length;
        }
        self.last_bytes = bytes[last_from..self.tail].to_vec();
        self.segments.push(Segment { sequence: header.sequence, file: file.into(), size: header.size, highest });
        Ok(())
    }

    /// Behind the last good batch of the last segment: zeros, stale bytes or a torn batch, but nothing valid.
    fn judge_tail(&mut self, file: &str, bytes: &[u8]) -> Result<(), OpenError> {
        let sequence = self.segments.last().expect("the last segment was read").sequence;
        for offset in (self.tail..bytes.len().saturating_sub(HEADER_BYTES - 1)).step_by(ALIGNMENT) {
            let Some(found) = Frame::at(bytes, offset, self.journal, sequence) else { continue };
            if found.header.number >= self.next() {
                let (next, number) = (self.next().0, found.header.number.0);
                let reason = format!("batch {next} is damaged or missing: batch {number} stands at byte {offset}");
                return Err(OpenError::corrupt(file, self.tail as u64, &reason));
            }
        }
        let torn = Frame::pretends_at(bytes, self.tail, self.journal, sequence, self.next());
        self.torn = torn.then_some(self.next());
        Ok(())
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
                 so it does not vote: restore this folder from a backup; the other nodes go on without it"
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
    use crate::storage::{Journal, MemoryDisk, Settings};
    use crc32c::crc32c;

    const BATCH: usize = SEGMENT_HEADER_BYTES;

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
        let (entry, payload) = (HEADER_BYTES + length / 2, HEADER_BYTES + length / 2 + 8);
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
            let entry = HEADER_BYTES + (batch.len() - HEADER_BYTES) / 2;
            batch[entry + 8..entry + 12].fill(0xff);
        });
        let OpenError::Corrupt { file, offset, reason } = error else { panic!("corrupt: {error}") };
        assert_eq!((file, reason.as_str()), (file_of(1), "this version cannot read the record"));
        assert!(offset > (BATCH + HEADER_BYTES) as u64 && offset < (BATCH + 2 * HEADER_BYTES) as u64, "{offset}");
    }

    #[test]
    fn a_batch_with_another_number_of_records_than_it_states_is_refused() {
        let error = forged(|batch| batch[12] = 3);
        assert_eq!(error, OpenError::corrupt(&file_of(1), BATCH as u64, "batch 1 has 2 records, not 3"));
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
