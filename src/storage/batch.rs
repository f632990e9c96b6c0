//! The frame of a batch: what one commit writes, with one write and one sync.
//!
//! ```text
//! header  magic "BTCH" · crc32c u32 · length u32 · records u32 · journal u64 · number u64 · vouched u64
//!         · trimmed_upto u64 · segment u32 · oldest u32                     (56 bytes, integers little-endian)
//! body    (length u32 · crc32c u32 · record) × records                      (`length` bytes)
//! padding to a multiple of 8
//! ```
//!
//! The batch's checksum covers everything behind itself. Journal, segment and number tell a batch from what a recycled
//! file still holds: a stale one names an earlier segment, or another journal. The record's own checksum serves those
//! who read one record back long after the start. `vouched`, `trimmed_upto` and `oldest` are the journal's own facts
//! (see [`super::journal`]); they ride on every batch, so that the last one tells them all.

use crc32c::{crc32c, crc32c_append};

use super::disk::DiskError;
use crate::codec;
use crate::paxos::{BatchNumber, Record, Slot};

/// What a batch says about itself and its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub journal: u64,
    pub segment: u32,
    pub number: BatchNumber,
    pub vouched: BatchNumber,
    pub trimmed_upto: Slot,
    pub oldest: u32,
}

/// A whole batch found in a segment.
pub(super) struct Frame<'a> {
    pub header: Header,
    pub body: &'a [u8],
    /// With header and padding.
    pub length: usize,
    /// How many records the body should have.
    pub count: u32,
}

impl<'a> Frame<'a> {
    /// The batch at `offset` of a segment's bytes, if there is one of this journal and segment and every byte of it is
    /// right.
    pub fn at(bytes: &'a [u8], offset: usize, journal: u64, segment: u32) -> Option<Frame<'a>> {
        let bytes = bytes.get(offset..)?;
        let head = bytes.get(..HEADER_BYTES)?;
        let body_length = u32_at(head, 8) as usize;
        if head[..4] != MAGIC || u64_at(head, 16) != journal || u32_at(head, 48) != segment {
            return None;
        }
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(body_length)?)?;
        if crc32c_append(crc32c(&head[8..]), body) != u32_at(head, 4) {
            return None;
        }
        let header = Header {
            journal,
            segment,
            number: BatchNumber(u64_at(head, 24)),
            vouched: BatchNumber(u64_at(head, 32)),
            trimmed_upto: Slot(u64_at(head, 40)),
            oldest: u32_at(head, 52),
        };
        Some(Frame {
            header,
            body,
            length: padded(HEADER_BYTES + body_length).min(bytes.len()),
            count: u32_at(head, 12),
        })
    }

    /// Whether the bytes at `offset` begin like that batch: one that was not finished.
    pub fn pretends_at(bytes: &[u8], offset: usize, journal: u64, segment: u32, number: BatchNumber) -> bool {
        bytes.get(offset..offset + HEADER_BYTES).is_some_and(|head| {
            head[..4] == MAGIC
                && u64_at(head, 16) == journal
                && u32_at(head, 48) == segment
                && u64_at(head, 24) == number.0
        })
    }

    /// The entries: where each stands in the body, and its record. `None` for a record that cannot be decoded.
    pub fn records(&self) -> impl Iterator<Item = (Span, Option<Record>)> + 'a {
        let body = self.body;
        let mut offset = 0;
        std::iter::from_fn(move || {
            let head = body.get(offset..offset + ENTRY_HEADER_BYTES)?;
            let length = ENTRY_HEADER_BYTES.saturating_add(u32_at(head, 0) as usize);
            let span = Span { offset: (HEADER_BYTES + offset) as u32, length: length as u32 };
            let entry = body.get(offset..offset.saturating_add(length));
            offset = if entry.is_some() { offset + length } else { body.len() };
            Some((span, entry.and_then(open_entry)))
        })
    }

    /// The batch of any journal at `offset`, whole in every byte: for a segment whose own header is gone.
    pub fn of_any_journal(bytes: &'a [u8], offset: usize, segment: u32) -> Option<Frame<'a>> {
        let head = bytes.get(offset..offset.checked_add(HEADER_BYTES)?)?;
        if head[..4] != MAGIC { None } else { Frame::at(bytes, offset, u64_at(head, 16), segment) }
    }

    /// The first whole batch from `offset` on whose number is at least `number`, and where it begins.
    pub fn find(
        bytes: &'a [u8],
        offset: usize,
        journal: u64,
        segment: u32,
        number: BatchNumber,
    ) -> Option<(usize, Frame<'a>)> {
        let all = (offset..bytes.len().saturating_sub(HEADER_BYTES - 1)).step_by(ALIGNMENT);
        let mut whole = all.filter_map(|offset| Some((offset, Frame::at(bytes, offset, journal, segment)?)));
        whole.find(|(_, frame)| frame.header.number >= number)
    }

    /// Whether the batch only seals the one before.
    pub fn is_seal(&self) -> bool {
        match self.count {
            0 => true,
            1 => matches!(self.records().next(), Some((_, Some(Record::Before(_))))),
            _ => false,
        }
    }
}

/// Where an entry stands, counted from the start of its batch, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub offset: u32,
    pub length: u32,
}

/// The record of an entry read back from disk: checksum first, then decoding.
pub(super) fn open_entry(entry: &[u8]) -> Option<Record> {
    let (head, payload) = entry.split_at_checked(ENTRY_HEADER_BYTES)?;
    let whole = u32_at(head, 0) as usize == payload.len() && u32_at(head, 4) == crc32c(payload);
    if whole { codec::decode(payload, payload.len()).ok() } else { None }
}

/// The next batch while records gather: already in the form in which it is written.
#[derive(Debug)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    records: u32,
}

impl Pending {
    /// Nothing yet.
    pub fn new() -> Pending {
        Pending { bytes: vec![0; HEADER_BYTES], records: 0 }
    }

    /// Adds a record and says where it stands.
    pub fn push(&mut self, record: &Record) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ENTRY_HEADER_BYTES]);
        codec::encode_into(&mut self.bytes, record);
        let payload = start + ENTRY_HEADER_BYTES;
        assert!(self.bytes.len() <= MAX_BYTES, "records are committed long before a batch reaches {MAX_BYTES} bytes");
        let length = (self.bytes.len() - payload) as u32;
        let checksum = crc32c(&self.bytes[payload..]);
        put(&mut self.bytes, start, &length.to_le_bytes());
        put(&mut self.bytes, start + 4, &checksum.to_le_bytes());
        self.records += 1;
        Span { offset: start as u32, length: (self.bytes.len() - start) as u32 }
    }

    /// How many bytes the batch will take in a segment.
    pub fn frame_length(&self) -> usize {
        padded(self.bytes.len())
    }

    /// Whether no record waits.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The finished batch. Call [`Pending::clear`] once it is written.
    pub fn finish(&mut self, header: Header) -> &[u8] {
        let length = (self.bytes.len() - HEADER_BYTES) as u32;
        let records = self.records;
        let bytes = &mut self.bytes;
        put(bytes, 0, &MAGIC);
        put(bytes, 8, &length.to_le_bytes());
        put(bytes, 12, &records.to_le_bytes());
        put(bytes, 16, &header.journal.to_le_bytes());
        put(bytes, 24, &header.number.0.to_le_bytes());
        put(bytes, 32, &header.vouched.0.to_le_bytes());
        put(bytes, 40, &header.trimmed_upto.0.to_le_bytes());
        put(bytes, 48, &header.segment.to_le_bytes());
        put(bytes, 52, &header.oldest.to_le_bytes());
        let checksum = crc32c(&bytes[8..]);
        put(bytes, 4, &checksum.to_le_bytes());
        bytes.resize(padded(bytes.len()), 0);
        bytes
    }

    /// Forgets the records; keeps an ordinary buffer, gives a huge one back.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.shrink_to(KEPT_BYTES);
        self.records = 0;
    }
}

/// A record that was whole at the start, or when it was written, cannot be read back.
pub(super) fn damaged_entry(file: &str, offset: u32) -> DiskError {
    DiskError::new(file, "read", format!("the record at byte {offset} is damaged"))
}

/// The length of a batch's header.
pub(super) const HEADER_BYTES: usize = 56;

/// Batches begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

const ENTRY_HEADER_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"BTCH";
const MAX_BYTES: usize = 1 << 30;
const KEPT_BYTES: usize = 4 << 20;

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    bytes[offset..offset + field.len()].copy_from_slice(field);
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("a slice of four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("a slice of eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, Before, NodeId};

    const HEADER: Header = Header {
        journal: 9,
        segment: 4,
        number: BatchNumber(6),
        vouched: BatchNumber(5),
        trimmed_upto: Slot(2),
        oldest: 3,
    };

    fn framed() -> Vec<u8> {
        let mut pending = Pending::new();
        pending.push(&Record::Promise { ballot: Ballot::new(3, NodeId(1)) });
        pending.push(&Record::Reserved { ballot: Ballot::new(4, NodeId(1)) });
        pending.finish(HEADER).to_vec()
    }

    #[test]
    fn a_frame_reads_back_where_its_spans_say() {
        let bytes = [vec![0; 16], framed(), vec![0; 8]].concat();
        let frame = Frame::at(&bytes, 16, 9, 4).unwrap();
        assert_eq!((frame.header, frame.length), (HEADER, framed().len()));
        let records: Vec<(Span, Option<Record>)> = frame.records().collect();
        assert_eq!(records.len(), 2);
        for (span, record) in records {
            let start = 16 + span.offset as usize;
            assert_eq!(open_entry(&bytes[start..start + span.length as usize]), record);
            assert!(record.is_some());
        }
    }

    /// What a recycled file still holds is right in every byte, and yet not of this journal or this segment.
    #[test]
    fn a_stale_frame_is_none() {
        assert!(Frame::at(&framed(), 0, 9, 5).is_none());
        assert!(Frame::at(&framed(), 0, 8, 4).is_none());
    }

    #[test]
    fn a_batch_that_was_not_finished_is_told_by_its_first_bytes() {
        let pretends = |bytes: &[u8], journal, segment, number| {
            Frame::pretends_at(bytes, 16, journal, segment, BatchNumber(number))
        };
        let bytes = [vec![0; 16], framed()].concat();
        assert!(pretends(&bytes[..16 + HEADER_BYTES], 9, 4, 6), "its body is not there");
        assert!(!pretends(&bytes[..16 + HEADER_BYTES - 1], 9, 4, 6), "too short to tell");
        assert!(!pretends(&bytes, 8, 4, 6) && !pretends(&bytes, 9, 5, 6) && !pretends(&bytes, 9, 4, 7));
        let mut wrong = bytes;
        wrong[16] ^= 1;
        assert!(!pretends(&wrong, 9, 4, 6));
    }

    #[test]
    fn a_batch_that_only_seals_is_told_from_one_with_records() {
        let bytes = Pending::new().finish(HEADER).to_vec();
        assert!(Frame::at(&bytes, 0, 9, 4).unwrap().is_seal());
        let mut pending = Pending::new();
        pending.push(&Record::Before(Before::default()));
        assert!(Frame::at(pending.finish(HEADER), 0, 9, 4).unwrap().is_seal(), "what stood before it is no news");
        pending.push(&Record::Confirmed {});
        assert!(!Frame::at(pending.finish(HEADER), 0, 9, 4).unwrap().is_seal());
        assert!(!Frame::at(&framed(), 0, 9, 4).unwrap().is_seal());
    }

    #[test]
    fn every_flip_and_every_cut_is_none() {
        let length = Frame::at(&framed(), 0, 9, 4).unwrap().body.len() + HEADER_BYTES;
        for offset in 0..length {
            let mut bytes = framed();
            bytes[offset] ^= 1 << (offset % 8);
            assert!(Frame::at(&bytes, 0, 9, 4).is_none(), "flipped at {offset}");
            assert!(Frame::at(&framed()[..offset], 0, 9, 4).is_none(), "cut at {offset}");
        }
    }
}
