//! Snapshots: whole images of the machines at a slot, each a file of its own under a digest.
//!
//! ```text
//! magic "SYNODSNP" · format version u32 · part length u32 · upto u64 · length u64 · SHA-256       (64 bytes)
//! the image                                                                                       (`length` bytes)
//! crc32c u32 × parts                                                  (of each 64 KiB of the image, the last shorter)
//! ```
//!
//! The digest covers everything but itself; it is checked when a snapshot is loaded. The parts' checksums serve those
//! who read a piece to ship it. A file has its name only once it is durable in full, and the newest two are kept: if
//! one rots, the other still stands, so a journal may be trimmed only up to [`Snapshots::safe_upto`].
//!
//! One thread saves at a time; clones of the handle may read meanwhile. Absent: what is in an image.

use std::fmt;

use crc32c::crc32c;
use sha2::{Digest, Sha256};

use super::batch::{u32_at, u64_at};
use super::disk::{Disk, DiskError, STEP_BYTES};
use crate::paxos::Slot;

/// The snapshots of one folder.
#[derive(Clone, Debug)]
pub struct Snapshots<D> {
    disk: D,
}

/// What [`Snapshots::load_newest`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest whole snapshot: the last slot it covers, and the image. `None`: there is no snapshot at all.
    pub newest: Option<(Slot, Vec<u8>)>,
    /// Newer ones that are damaged and were passed over.
    pub damaged: Vec<SnapshotError>,
}

/// A piece of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The image's whole length in bytes.
    pub total: u64,
    /// The piece; empty at or behind the end.
    pub bytes: Vec<u8>,
}

impl<D: Disk> Snapshots<D> {
    /// The snapshots on this disk.
    pub fn new(disk: D) -> Snapshots<D> {
        Snapshots { disk }
    }

    /// Saves the image that covers every slot up to `upto`; it is durable on return. Written and synced in small steps,
    /// so that other syncs never queue behind much. Then all but the newest two are removed.
    pub fn save(&self, upto: Slot, image: &[u8]) -> Result<(), DiskError> {
        let head = Head { upto, length: image.len() as u64 };
        let table: Vec<u8> = image.chunks(PART_BYTES).flat_map(|part| crc32c(part).to_le_bytes()).collect();
        let mut header = head.encode();
        header.extend_from_slice(&digest(&header, image, &table));
        self.disk.create(UNFINISHED)?;
        self.disk.write_at(UNFINISHED, 0, &header)?;
        let mut offset = HEADER_BYTES as u64;
        for bytes in image.chunks(STEP_BYTES as usize).chain([&table[..]]) {
            self.disk.write_at(UNFINISHED, offset, bytes)?;
            self.disk.sync(UNFINISHED)?;
            offset += bytes.len() as u64;
        }
        self.disk.rename(UNFINISHED, &file_of(upto))?;
        self.disk.sync_dir()?;
        for old in self.kept()?.iter().rev().skip(KEPT) {
            self.disk.remove(&file_of(*old))?;
        }
        Ok(())
    }

    /// The newest whole snapshot. Newer ones that are damaged are reported and set aside under another name, so that they
    /// do not count among the two that are kept; if there are only damaged ones, that is an error and they stay.
    pub fn load_newest(&self) -> Result<Loaded, SnapshotError> {
        let mut damaged = Vec::new();
        for upto in self.kept()?.into_iter().rev() {
            match self.load(upto) {
                Ok(image) => {
                    self.set_aside(&damaged)?;
                    return Ok(Loaded { newest: Some((upto, image)), damaged });
                }
                Err(error) => damaged.push(error),
            }
        }
        damaged.into_iter().next().map_or(Ok(Loaded::default()), Err)
    }

    fn set_aside(&self, damaged: &[SnapshotError]) -> Result<(), DiskError> {
        for error in damaged {
            if let SnapshotError::Damaged { file, .. } = error {
                self.disk.rename(file, &format!("{file}{ASIDE}"))?;
            }
        }
        if damaged.is_empty() { Ok(()) } else { self.disk.sync_dir() }
    }

    /// The image of the snapshot that covers slots up to `upto`, digest checked.
    pub fn load(&self, upto: Slot) -> Result<Vec<u8>, SnapshotError> {
        let file = file_of(upto);
        let mut bytes = self.disk.read_all(&file)?;
        let head = Head::decode(&file, &bytes, bytes.len() as u64, upto)?;
        let (header, rest) = bytes.split_at(HEADER_BYTES);
        let (image, table) = rest.split_at(head.length as usize);
        if header[DIGEST_OFFSET..] != digest(&header[..DIGEST_OFFSET], image, table) {
            return Err(damaged(&file, "its digest is wrong"));
        }
        bytes.truncate(HEADER_BYTES + head.length as usize);
        bytes.drain(..HEADER_BYTES);
        Ok(bytes)
    }

    /// At most `max_bytes` of that image from `offset`, checksums checked, without reading all of it.
    pub fn read_part(&self, upto: Slot, offset: u64, max_bytes: usize) -> Result<Part, SnapshotError> {
        let file = file_of(upto);
        let length = self.disk.len(&file)?;
        let header = self.disk.read(&file, 0, HEADER_BYTES.min(length as usize))?;
        let head = Head::decode(&file, &header, length, upto)?;
        let total = head.length;
        let start = offset.min(total);
        let end = start.saturating_add(max_bytes as u64).min(total);
        if start == end {
            return Ok(Part { total, bytes: Vec::new() });
        }
        let (first, behind) = (start / PART_BYTES as u64, end.div_ceil(PART_BYTES as u64));
        let (from, to) = (first * PART_BYTES as u64, total.min(behind * PART_BYTES as u64));
        let mut bytes = self.disk.read(&file, HEADER_BYTES as u64 + from, (to - from) as usize)?;
        let table_offset = HEADER_BYTES as u64 + total + first * 4;
        let table = self.disk.read(&file, table_offset, (behind - first) as usize * 4)?;
        for (part, expected) in bytes.chunks(PART_BYTES).zip(table.chunks(4)) {
            if crc32c(part).to_le_bytes() != *expected {
                return Err(damaged(&file, "a part's checksum is wrong"));
            }
        }
        bytes.truncate((end - from) as usize);
        bytes.drain(..(start - from) as usize);
        Ok(Part { total, bytes })
    }

    /// The last slots that the snapshots here cover, in order.
    pub fn kept(&self) -> Result<Vec<Slot>, DiskError> {
        Ok(self.disk.list()?.iter().filter_map(|name| upto_of(name)).collect())
    }

    /// Up to where a journal may be trimmed: what the oldest snapshot kept covers, once there are two.
    pub fn safe_upto(&self) -> Result<Slot, DiskError> {
        let kept = self.kept()?;
        Ok(if kept.len() >= KEPT { kept[0] } else { Slot::ZERO })
    }
}

/// A snapshot could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The file is not what was saved.
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
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

impl From<DiskError> for SnapshotError {
    fn from(error: DiskError) -> SnapshotError {
        SnapshotError::Disk(error)
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Damaged { file, reason } => write!(
                f,
                "the snapshot `{file}` is damaged: {reason}; if no other is whole, replace this node by a new member \
                 with an empty folder"
            ),
            SnapshotError::UnknownVersion { file, version } => write!(
                f,
                "`{file}` has snapshot format {version}, and this version of synod reads format {FORMAT_VERSION}: use \
                 the version that wrote it"
            ),
            SnapshotError::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {}

struct Head {
    upto: Slot,
    length: u64,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(PART_BYTES as u32).to_le_bytes());
        bytes.extend_from_slice(&self.upto.0.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; `file_length` is that of the whole file.
    fn decode(file: &str, bytes: &[u8], file_length: u64, upto: Slot) -> Result<Head, SnapshotError> {
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(damaged(file, "it does not begin like a snapshot"));
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(SnapshotError::UnknownVersion { file: file.into(), version });
        }
        let head = Head { upto: Slot(u64_at(bytes, 16)), length: u64_at(bytes, 24) };
        let table = head.length.div_ceil(PART_BYTES as u64).saturating_mul(4);
        let expected = head.length.saturating_add(table).saturating_add(HEADER_BYTES as u64);
        if expected != file_length {
            return Err(damaged(file, "its length is not what its header says"));
        }
        if bytes[..DIGEST_OFFSET] != (Head { upto, length: head.length }).encode() {
            return Err(damaged(file, "its header is not what its name says"));
        }
        Ok(head)
    }
}

fn digest(header: &[u8], image: &[u8], table: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(image).chain_update(table).finalize().into()
}

fn damaged(file: &str, reason: &str) -> SnapshotError {
    SnapshotError::Damaged { file: file.into(), reason: reason.into() }
}

fn file_of(upto: Slot) -> String {
    format!("{PREFIX}{:020}", upto.0)
}

fn upto_of(file: &str) -> Option<Slot> {
    let upto = Slot(file.strip_prefix(PREFIX)?.parse().ok()?);
    (file_of(upto) == file).then_some(upto)
}

/// The version of the snapshot's format: of the file, not of the image.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SYNODSNP";
const DIGEST_OFFSET: usize = 32;
const HEADER_BYTES: usize = 64;
const PART_BYTES: usize = 64 * 1024;
const KEPT: usize = 2;
const PREFIX: &str = "snapshot-";
const UNFINISHED: &str = "snapshot.new";
const ASIDE: &str = ".damaged";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    fn image(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    #[test]
    fn the_newest_two_are_kept_and_the_newest_is_loaded() {
        let snapshots = Snapshots::new(MemoryDisk::new());
        assert_eq!(snapshots.load_newest(), Ok(Loaded::default()));
        for upto in [5, 9, 12] {
            snapshots.save(Slot(upto), &image(upto as usize)).unwrap();
        }
        assert_eq!(snapshots.kept().unwrap(), [Slot(9), Slot(12)]);
        assert_eq!(snapshots.safe_upto().unwrap(), Slot(9));
        assert_eq!(snapshots.load_newest().unwrap().newest, Some((Slot(12), image(12))));
    }

    #[test]
    fn every_flip_and_every_cut_of_the_newest_leads_to_the_older() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        snapshots.save(Slot(1), b"old").unwrap();
        snapshots.save(Slot(2), b"new image").unwrap();
        let length = disk.len(&file_of(Slot(2))).unwrap() as usize;
        let falls_back = |hurt: MemoryDisk, what: String| {
            let loaded = Snapshots::new(hurt).load_newest().unwrap();
            assert_eq!(loaded.newest, Some((Slot(1), b"old".to_vec())), "{what}");
            assert_eq!(loaded.damaged.len(), 1, "{what}");
        };
        for offset in 0..length {
            let hurt = disk.fork();
            hurt.flip(&file_of(Slot(2)), offset, (offset % 8) as u8);
            falls_back(hurt, format!("flipped at {offset}"));
            let hurt = disk.fork();
            hurt.truncate(&file_of(Slot(2)), offset);
            falls_back(hurt, format!("cut at {offset}"));
        }
        disk.flip(&file_of(Slot(1)), 3, 0);
        disk.flip(&file_of(Slot(2)), 70, 0);
        for _ in 0..2 {
            assert!(snapshots.load_newest().is_err(), "none whole is not the same as none there");
        }
    }

    #[test]
    fn each_error_tells_a_person_what_is_wrong_and_what_to_do() {
        let file = || file_of(Slot(3));
        for (error, begin) in [
            (
                damaged(&file(), "it rots"),
                "the snapshot `snapshot-00000000000000000003` is damaged: it rots; if no other",
            ),
            (
                SnapshotError::UnknownVersion { file: file(), version: 8 },
                "`snapshot-00000000000000000003` has snapshot format 8",
            ),
            (
                SnapshotError::Disk(DiskError::new(file(), "read", "gone")),
                "cannot read `snapshot-00000000000000000003`: gone",
            ),
        ] {
            assert!(error.to_string().starts_with(begin), "{error}");
        }
    }

    #[test]
    fn a_damaged_one_does_not_push_a_whole_one_out() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        snapshots.save(Slot(1), b"whole").unwrap();
        snapshots.save(Slot(2), b"to rot").unwrap();
        disk.flip(&file_of(Slot(2)), 70, 0);
        assert_eq!(snapshots.load_newest().unwrap().newest, Some((Slot(1), b"whole".to_vec())));
        assert_eq!(snapshots.safe_upto().unwrap(), Slot::ZERO);
        snapshots.save(Slot(3), b"next").unwrap();
        assert_eq!(snapshots.kept().unwrap(), [Slot(1), Slot(3)]);
    }

    #[test]
    fn a_crash_at_any_operation_leaves_the_old_or_the_new() {
        for operations in 0.. {
            let disk = MemoryDisk::new();
            let snapshots = Snapshots::new(disk.clone());
            snapshots.save(Slot(1), b"old").unwrap();
            disk.fail_after(operations);
            let saved = snapshots.save(Slot(2), b"new").is_ok();
            for keep in [0, u64::MAX] {
                let disk = disk.fork();
                disk.crash(|bound| bound & keep);
                let newest = Snapshots::new(disk).load_newest().unwrap().newest.unwrap();
                assert!(newest == (Slot(2), b"new".to_vec()) || !saved && newest == (Slot(1), b"old".to_vec()));
            }
            if saved {
                return;
            }
        }
    }

    #[test]
    fn parts_read_back_and_are_checked() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        let image = image(3 * PART_BYTES + 100);
        snapshots.save(Slot(4), &image).unwrap();
        for (offset, length) in
            [(0, 10), (PART_BYTES - 1, 2), (PART_BYTES + 5, 10), (5, 2 * PART_BYTES), (3 * PART_BYTES, 1000)]
        {
            let part = snapshots.read_part(Slot(4), offset as u64, length).unwrap();
            assert_eq!(part.bytes, image[offset..(offset + length).min(image.len())]);
            assert_eq!(part.total, image.len() as u64);
        }
        assert!(snapshots.read_part(Slot(4), image.len() as u64, 10).unwrap().bytes.is_empty());
        disk.flip(&file_of(Slot(4)), HEADER_BYTES + PART_BYTES, 0);
        assert!(snapshots.read_part(Slot(4), 0, PART_BYTES).is_ok());
        assert!(snapshots.read_part(Slot(4), 0, PART_BYTES + 1).is_err());
    }
}
