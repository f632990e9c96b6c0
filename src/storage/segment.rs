//! A segment: one file of the journal, written with zeros in full before its first batch.
//!
//! The header stands alone in the file's first block, so that no later write touches it:
//! ```text
//! magic "SYNODJNL" · format version u32 · segment u32 · journal u64 · first batch u64 · size u64 · crc32c u32
//! ```
//! It is written and synced *before* the file takes its journal name: a damaged header under such a name is never a
//! torn write. `first batch` proves that every earlier batch was acknowledged by the disk; `size` proves that the file
//! was not cut short.

use crc32c::crc32c;

use super::batch::{u32_at, u64_at};
use super::recovery::OpenError;
use crate::paxos::{BatchNumber, Slot};

/// A segment in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Counts up from 1; never used twice in a journal.
    pub sequence: u32,
    pub file: String,
    /// In bytes, header included.
    pub size: u32,
    /// The highest slot of any vote or chosen value in it.
    pub highest: Slot,
}

/// What the first block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub journal: u64,
    pub sequence: u32,
    pub first: BatchNumber,
    pub size: u32,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.journal.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.size).to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        bytes
    }

    /// Reads the first block of `file`.
    ///
    /// # Errors
    /// The block is damaged, or another version's. One whose checksum is wrong may be either: its batches tell.
    pub fn decode(file: &str, bytes: &[u8]) -> Result<SegmentHeader, OpenError> {
        let corrupt = |reason: &str| OpenError::corrupt(file, 0, reason);
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(corrupt("the file ends within its header"));
        }
        if bytes[..8] != MAGIC {
            return Err(corrupt("the header does not begin like a journal's"));
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(OpenError::UnknownVersion { file: file.into(), version });
        }
        if !is_whole(bytes) {
            return Err(corrupt("the header's checksum is wrong"));
        }
        let size = u32::try_from(u64_at(bytes, 32)).map_err(|_| corrupt("the header states an impossible size"))?;
        Ok(SegmentHeader {
            sequence: u32_at(bytes, 12),
            journal: u64_at(bytes, 16),
            first: BatchNumber(u64_at(bytes, 24)),
            size,
        })
    }
}

/// Whether the header's checksum is right, whatever version it states.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.get(..CRC_OFFSET).is_some_and(|head| u32_at(bytes, CRC_OFFSET) == crc32c(head))
}

/// The file of a segment.
pub(super) fn file_of(sequence: u32) -> String {
    format!("{PREFIX}{sequence:010}")
}

/// The segment of a file; none for a file that is something else.
pub(super) fn sequence_of(file: &str) -> Option<u32> {
    let sequence = file.strip_prefix(PREFIX)?.parse().ok()?;
    (file_of(sequence) == file).then_some(sequence)
}

/// The version of the journal's format: of segment headers, batches and records.
pub const FORMAT_VERSION: u32 = 1;

/// Batches begin behind this.
pub(super) const SEGMENT_HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"SYNODJNL";
const CRC_OFFSET: usize = 40;
const PREFIX: &str = "journal-";
