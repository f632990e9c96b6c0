//! Snapshots: whole images of the replicated state at a slot, each a file of its own under a digest.
//!
//! ```text
//! magic "SYNODSNP" · format version u32 · part length u32 · upto u64 · length u64 · BLAKE3        (64 bytes)
//! the image                                                                                       (`length` bytes)
//! crc32c u32 × parts                                                  (of each 64 KiB of the image, the last shorter)
//! ```
//!
//! The digest covers the image, the table and the rest of the header, in this order: so a file is written from front to
//! back without knowing its length, and the header last. It is checked whenever an image is read to its end; the parts'
//! checksums are checked whenever a piece is read, so that nothing damaged is ever decoded. A file has its name only once
//! it is durable in full, and the newest two are kept: if one rots, the other still stands, so a journal may be trimmed
//! only up to [`Snapshots::safe_upto`].
//!
//! Neither a [`Writer`] nor a [`Reader`] holds more of an image than a step, and four bytes for each 64 KiB.
//!
//! One thread saves at a time; clones of the handle may read meanwhile. Absent: what is in an image ([`super::image`]).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crc32c::crc32c;

use super::batch::{u32_at, u64_at};
use super::disk::{Disk, DiskError, STEP_BYTES};
use crate::paxos::{Slot, SnapshotId};

/// The snapshots of one folder.
#[derive(Clone, Debug)]
pub struct Snapshots<D> {
    disk: D,
}

/// What [`Snapshots::load_newest`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<T> {
    /// What was made of the newest whole snapshot. `None`: there is no snapshot at all.
    pub newest: Option<T>,
    /// Newer ones that are damaged and were passed over.
    pub damaged: Vec<SnapshotError>,
}

/// A piece of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The last slot that the snapshot covers.
    pub upto: Slot,
    /// Its file.
    pub id: SnapshotId,
    /// The image's whole length in bytes.
    pub total: u64,
    /// The piece; empty at or behind the end.
    pub bytes: Vec<u8>,
}

impl<D: Disk> Snapshots<D> {
    /// Where they are.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The snapshots on this disk.
    pub fn new(disk: D) -> Snapshots<D> {
        Snapshots { disk }
    }

    /// Begins a snapshot of the node's own that covers every slot up to `upto`. What was begun before is gone.
    pub fn begin(&self, upto: Slot) -> Result<Writer<D>, DiskError> {
        Writer::create(self.disk.clone(), UNFINISHED, upto)
    }

    /// Begins to take down a snapshot from a peer. What was begun before is gone.
    pub fn begin_incoming(&self, upto: Slot) -> Result<Writer<D>, DiskError> {
        Writer::create(self.disk.clone(), INCOMING, upto)
    }

    /// Gives a finished snapshot of the node's own its name; it is durable on return. All but the newest two are removed.
    pub fn keep(&self, upto: Slot) -> Result<(), DiskError> {
        self.name(UNFINISHED, upto)
    }

    /// The same for a snapshot from a peer.
    pub fn keep_incoming(&self, upto: Slot) -> Result<(), DiskError> {
        self.name(INCOMING, upto)
    }

    fn name(&self, file: &str, upto: Slot) -> Result<(), DiskError> {
        self.disk.rename(file, &file_of(upto))?;
        self.disk.sync_dir()?;
        for old in self.kept()?.iter().rev().skip(KEPT) {
            self.disk.remove(&file_of(*old))?;
        }
        Ok(())
    }

    /// Removes what was begun and never finished.
    pub fn drop_unfinished(&self) -> Result<(), DiskError> {
        self.remove(UNFINISHED)
    }

    /// Removes what there is of a snapshot from a peer.
    pub fn drop_incoming(&self) -> Result<(), DiskError> {
        self.remove(INCOMING)
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        if self.disk.list()?.iter().any(|name| name == file) { self.disk.remove(file) } else { Ok(()) }
    }

    /// Saves an image, given in pieces, that covers every slot up to `upto`; it is durable on return. Written and synced
    /// in small steps, so that other syncs never queue behind much.
    pub fn save(&self, upto: Slot, image: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<SnapshotId, DiskError> {
        let mut writer = self.begin(upto)?;
        image.into_iter().try_for_each(|bytes| writer.push(bytes.as_ref()))?;
        let id = writer.finish()?;
        self.keep(upto)?;
        Ok(id)
    }

    /// Has `load` read the newest whole snapshot. Newer ones that are damaged, or hold no state of this machine, are reported
    /// and set aside under another name, so that they do not count among the two that are kept; if there is no other, that is
    /// an error and they stay.
    pub fn load_newest<T>(
        &self,
        mut load: impl FnMut(Reader<D>) -> Result<T, SnapshotError>,
    ) -> Result<Loaded<T>, SnapshotError> {
        let mut damaged = Vec::new();
        for upto in self.kept()?.into_iter().rev() {
            match self.load(upto).and_then(&mut load) {
                Ok(read) => {
                    self.set_aside(&damaged)?;
                    return Ok(Loaded { newest: Some(read), damaged });
                }
                Err(error) => damaged.push(error),
            }
        }
        // With another version or machine all of them are whole again.
        let foreign = damaged.iter().position(|error| matches!(error, SnapshotError::Foreign { .. }));
        let told = damaged.into_iter().nth(foreign.unwrap_or(0));
        told.map_or(Ok(Loaded { newest: None, damaged: Vec::new() }), Err)
    }

    fn set_aside(&self, damaged: &[SnapshotError]) -> Result<(), DiskError> {
        for error in damaged {
            if let SnapshotError::Damaged { file, .. } | SnapshotError::Foreign { file, .. } = error {
                self.disk.rename(file, &format!("{file}{ASIDE}"))?;
            }
        }
        if damaged.is_empty() { Ok(()) } else { self.disk.sync_dir() }
    }

    /// The snapshot that covers slots up to `upto`, to be read from its beginning.
    pub fn load(&self, upto: Slot) -> Result<Reader<D>, SnapshotError> {
        Reader::open(self.disk.clone(), file_of(upto), upto)
    }

    /// The snapshot from a peer that is finished and has no name yet.
    pub fn load_incoming(&self, upto: Slot) -> Result<Reader<D>, SnapshotError> {
        Reader::open(self.disk.clone(), INCOMING.into(), upto)
    }

    /// Which file it is, by its header.
    pub fn id_of(&self, upto: Slot) -> Result<SnapshotId, SnapshotError> {
        Ok(Head::read(&self.disk, &file_of(upto), Some(upto))?.id)
    }

    /// At most `max_bytes` of that image from `offset`, checksums checked, without reading all of it.
    pub fn read_part(&self, upto: Slot, offset: u64, max_bytes: usize) -> Result<Part, SnapshotError> {
        let file = file_of(upto);
        let Head { length: total, id, .. } = Head::read(&self.disk, &file, Some(upto))?;
        let start = offset.min(total);
        let end = start.saturating_add(max_bytes as u64).min(total);
        if start == end {
            return Ok(Part { upto, id, total, bytes: Vec::new() });
        }
        let (first, behind) = (start / PART_BYTES as u64, end.div_ceil(PART_BYTES as u64));
        let (from, to) = (first * PART_BYTES as u64, total.min(behind * PART_BYTES as u64));
        let mut bytes = self.disk.read(&file, HEADER_BYTES as u64 + from, (to - from) as usize)?;
        let table_offset = HEADER_BYTES as u64 + total + first * 4;
        let table = self.disk.read(&file, table_offset, (behind - first) as usize * 4)?;
        check_parts(&file, &bytes, &table)?;
        bytes.truncate((end - from) as usize);
        bytes.drain(..(start - from) as usize);
        Ok(Part { upto, id, total, bytes })
    }

    /// How long that file is, in bytes.
    pub fn file_bytes(&self, upto: Slot) -> Result<u64, DiskError> {
        self.disk.len(&file_of(upto))
    }

    /// At most `max_bytes` of that file from `offset`, as they are: for who checks the whole.
    pub fn read_file(&self, upto: Slot, offset: u64, max_bytes: usize) -> Result<Vec<u8>, DiskError> {
        let file = file_of(upto);
        let rest = self.disk.len(&file)?.saturating_sub(offset);
        self.disk.read(&file, offset, rest.min(max_bytes as u64) as usize)
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

/// A snapshot that is being written, from front to back. It has no name before it is finished and kept.
#[derive(Debug)]
pub struct Writer<D> {
    disk: D,
    file: &'static str,
    upto: Slot,
    hasher: blake3::Hasher,
    table: Vec<u8>,
    /// Given, and not written yet.
    step: Vec<u8>,
    written: u64,
    follower: Arc<AtomicU64>,
}

impl<D: Disk> Writer<D> {
    fn create(disk: D, file: &'static str, upto: Slot) -> Result<Writer<D>, DiskError> {
        disk.create(file)?;
        Ok(Writer {
            disk,
            file,
            upto,
            hasher: blake3::Hasher::new(),
            table: Vec::new(),
            step: Vec::new(),
            written: 0,
            follower: Arc::default(),
        })
    }

    /// Tells another thread how many bytes are written.
    #[must_use]
    pub fn followed_by(self, follower: Arc<AtomicU64>) -> Writer<D> {
        Writer { follower, ..self }
    }

    /// Adds to the image. What fills a step is written and synced.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            let room = STEP_BYTES as usize - self.step.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.step.extend_from_slice(now);
            bytes = later;
            if self.step.len() == STEP_BYTES as usize {
                self.write_step()?;
            }
        }
        Ok(())
    }

    /// How many bytes of the image it was given.
    pub fn pushed(&self) -> u64 {
        self.written + self.step.len() as u64
    }

    /// Writes the rest, the table and at last the header; all of it is durable on return. Gives the digest.
    pub fn finish(mut self) -> Result<SnapshotId, DiskError> {
        if !self.step.is_empty() {
            self.write_step()?;
        }
        let Writer { disk, file, upto, mut hasher, table, written, .. } = self;
        let mut head = Head { upto, length: written, id: SnapshotId::default() };
        head.id = head.seal(&mut hasher, &table);
        if !table.is_empty() {
            disk.write_at(file, HEADER_BYTES as u64 + written, &table)?;
            disk.sync(file)?;
        }
        disk.write_at(file, 0, &head.encode())?;
        disk.sync(file)?;
        Ok(head.id)
    }

    fn write_step(&mut self) -> Result<(), DiskError> {
        self.table.extend(self.step.chunks(PART_BYTES).flat_map(|part| crc32c(part).to_le_bytes()));
        self.hasher.update(&self.step);
        self.disk.write_at(self.file, HEADER_BYTES as u64 + self.written, &self.step)?;
        self.disk.sync(self.file)?;
        self.written += self.step.len() as u64;
        self.follower.store(self.written, Ordering::Relaxed);
        self.step.clear();
        Ok(())
    }
}

/// A snapshot that is being read, from front to back.
#[derive(Debug)]
pub struct Reader<D> {
    disk: D,
    file: String,
    head: Head,
    hasher: blake3::Hasher,
    table: Vec<u8>,
    read: u64,
    /// Read and checked, and given from `given` on.
    step: Vec<u8>,
    given: usize,
    follower: Arc<AtomicU64>,
}

impl<D: Disk> Reader<D> {
    fn open(disk: D, file: String, upto: Slot) -> Result<Reader<D>, SnapshotError> {
        let head = Head::read(&disk, &file, Some(upto))?;
        Reader::begin(disk, file, head)
    }

    /// A snapshot's file under another name, which covers whichever slots it says.
    pub fn of_any_slot(disk: D, file: &str) -> Result<Reader<D>, SnapshotError> {
        let head = Head::read(&disk, file, None)?;
        Reader::begin(disk, file.into(), head)
    }

    fn begin(disk: D, file: String, head: Head) -> Result<Reader<D>, SnapshotError> {
        let table = disk.read(&file, HEADER_BYTES as u64 + head.length, head.table_length() as usize)?;
        Ok(Reader {
            disk,
            file,
            head,
            hasher: blake3::Hasher::new(),
            table,
            read: 0,
            step: Vec::new(),
            given: 0,
            follower: Arc::default(),
        })
    }

    /// Tells another thread how many bytes are read.
    #[must_use]
    pub fn followed_by(self, follower: Arc<AtomicU64>) -> Reader<D> {
        Reader { follower, ..self }
    }

    /// The last slot that it covers, as its name says.
    pub fn upto(&self) -> Slot {
        self.head.upto
    }

    /// Its file, as the header says.
    pub fn id(&self) -> SnapshotId {
        self.head.id
    }

    /// How many bytes of the image are left.
    pub fn left(&self) -> u64 {
        self.head.length - self.read + (self.step.len() - self.given) as u64
    }

    /// The next `length` bytes of the image, their checksums checked. At its end the digest is checked, before the last
    /// bytes are given.
    pub fn read(&mut self, length: usize) -> Result<Vec<u8>, SnapshotError> {
        if length as u64 > self.left() {
            return Err(self.damaged("its image ends within a frame"));
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            if self.given == self.step.len() {
                self.read_step()?;
            }
            let some = (length - bytes.len()).min(self.step.len() - self.given);
            bytes.extend_from_slice(&self.step[self.given..self.given + some]);
            self.given += some;
        }
        Ok(bytes)
    }

    /// Reads on to the end, for the sake of the digest.
    pub fn drain(&mut self) -> Result<(), SnapshotError> {
        while self.read < self.head.length {
            self.read_step()?;
        }
        self.given = self.step.len();
        if self.head.length == 0 { self.check_digest() } else { Ok(()) }
    }

    fn read_step(&mut self) -> Result<(), SnapshotError> {
        let length = STEP_BYTES.min(self.head.length - self.read);
        self.step = self.disk.read(&self.file, HEADER_BYTES as u64 + self.read, length as usize)?;
        self.given = 0;
        let first = (self.read / PART_BYTES as u64) as usize * 4;
        check_parts(&self.file, &self.step, &self.table[first..])?;
        self.hasher.update(&self.step);
        self.read += length;
        self.follower.store(self.read, Ordering::Relaxed);
        if self.read == self.head.length { self.check_digest() } else { Ok(()) }
    }

    fn check_digest(&self) -> Result<(), SnapshotError> {
        if self.head.seal(&mut self.hasher.clone(), &self.table) == self.head.id {
            return Ok(());
        }
        Err(self.damaged("its digest is wrong"))
    }

    /// The error that says so of this file.
    pub fn damaged(&self, reason: &str) -> SnapshotError {
        damaged(&self.file, reason)
    }

    /// The error that says so of this file.
    pub fn foreign(&self, reason: String) -> SnapshotError {
        SnapshotError::Foreign { file: self.file.clone(), reason }
    }
}

fn check_parts(file: &str, bytes: &[u8], table: &[u8]) -> Result<(), SnapshotError> {
    let is_whole = |(part, expected): (&[u8], &[u8])| crc32c(part).to_le_bytes() == *expected;
    if bytes.chunks(PART_BYTES).zip(table.chunks(4)).all(is_whole) {
        return Ok(());
    }
    Err(damaged(file, "a part's checksum is wrong"))
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
    /// The file is what was saved, and does not hold the state of this machine.
    Foreign {
        /// The file.
        file: String,
        /// What the machine says.
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
            SnapshotError::Foreign { file, reason } => write!(
                f,
                "the snapshot `{file}` cannot be restored: {reason}; start this node with the machine and the version \
                 that wrote it"
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

#[derive(Clone, Debug)]
struct Head {
    upto: Slot,
    length: u64,
    id: SnapshotId,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_start();
        bytes.extend_from_slice(&self.id.0);
        bytes
    }

    /// The header without the digest.
    fn encode_start(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(PART_BYTES as u32).to_le_bytes());
        bytes.extend_from_slice(&self.upto.0.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The digest of a file with this header, once `hasher` has seen the image.
    fn seal(&self, hasher: &mut blake3::Hasher, table: &[u8]) -> SnapshotId {
        SnapshotId(hasher.update(table).update(&self.encode_start()).finalize().into())
    }

    fn table_length(&self) -> u64 {
        self.length.div_ceil(PART_BYTES as u64).saturating_mul(4)
    }

    fn read<D: Disk>(disk: &D, file: &str, upto: Option<Slot>) -> Result<Head, SnapshotError> {
        let length = disk.len(file)?;
        let header = disk.read(file, 0, HEADER_BYTES.min(length as usize))?;
        Head::decode(file, &header, length, upto)
    }

    /// Reads the header in `bytes`; `file_length` is that of the whole file, `upto` what its name says, if that says it.
    fn decode(file: &str, bytes: &[u8], file_length: u64, upto: Option<Slot>) -> Result<Head, SnapshotError> {
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(damaged(file, "it does not begin like a snapshot"));
        }
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(SnapshotError::UnknownVersion { file: file.into(), version });
        }
        let id = SnapshotId(std::array::from_fn(|byte| bytes[DIGEST_OFFSET + byte]));
        let upto = upto.unwrap_or(Slot(u64_at(bytes, 16)));
        let head = Head { upto, length: u64_at(bytes, 24), id };
        let expected = head.length.saturating_add(head.table_length()).saturating_add(HEADER_BYTES as u64);
        if expected != file_length {
            return Err(damaged(file, "its length is not what its header says"));
        }
        if bytes[..DIGEST_OFFSET] != head.encode_start() {
            return Err(damaged(file, "its header is not what its name says"));
        }
        Ok(head)
    }
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
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"SYNODSNP";
const DIGEST_OFFSET: usize = 32;
const HEADER_BYTES: usize = 64;
const PART_BYTES: usize = 64 * 1024;
const KEPT: usize = 2;
const PREFIX: &str = "snapshot-";
const UNFINISHED: &str = "snapshot.new";
const INCOMING: &str = "snapshot.incoming";
const ASIDE: &str = ".damaged";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    fn image(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 % 251) as u8).collect()
    }

    fn whole(mut reader: Reader<MemoryDisk>) -> Result<(Slot, Vec<u8>), SnapshotError> {
        let bytes = reader.read(reader.left() as usize)?;
        reader.drain()?;
        Ok((reader.upto(), bytes))
    }

    fn newest(disk: &MemoryDisk) -> Result<Loaded<(Slot, Vec<u8>)>, SnapshotError> {
        Snapshots::new(disk.clone()).load_newest(whole)
    }

    #[test]
    fn the_newest_two_are_kept_and_the_newest_is_loaded() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        assert_eq!(newest(&disk).unwrap(), Loaded { newest: None, damaged: vec![] });
        for upto in [5, 9, 12] {
            snapshots.save(Slot(upto), [image(upto as usize)]).unwrap();
        }
        assert_eq!(snapshots.kept().unwrap(), [Slot(9), Slot(12)]);
        assert_eq!(snapshots.safe_upto().unwrap(), Slot(9));
        assert_eq!(newest(&disk).unwrap().newest, Some((Slot(12), image(12))));
    }

    #[test]
    fn an_image_is_the_same_file_however_it_is_cut_while_it_is_written() {
        let image = image(2 * STEP_BYTES as usize + 3 * PART_BYTES + 100);
        let mut files = Vec::new();
        for cut in [image.len(), STEP_BYTES as usize, PART_BYTES + 1, 1000] {
            let disk = MemoryDisk::new();
            let snapshots = Snapshots::new(disk.clone());
            let id = snapshots.save(Slot(4), image.chunks(cut)).unwrap();
            assert_eq!(snapshots.id_of(Slot(4)).unwrap(), id);
            assert_eq!(newest(&disk).unwrap().newest, Some((Slot(4), image.clone())));
            files.push(disk.read_all(&file_of(Slot(4))).unwrap());
        }
        assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_snapshot_is_written_and_synced_in_small_steps() {
        let disk = MemoryDisk::new();
        Snapshots::new(disk.clone()).save(Slot(4), [image(3 * STEP_BYTES as usize + 5)]).unwrap();
        let operations = disk.operations();
        assert_eq!((operations.writes, operations.syncs), (6, 6), "four steps, the table, the header");
    }

    #[test]
    fn every_flip_and_every_cut_of_the_newest_leads_to_the_older() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        snapshots.save(Slot(1), [b"old"]).unwrap();
        snapshots.save(Slot(2), [b"new image"]).unwrap();
        let length = disk.len(&file_of(Slot(2))).unwrap() as usize;
        let falls_back = |hurt: MemoryDisk, what: String| {
            let loaded = newest(&hurt).unwrap();
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
            assert!(newest(&disk).is_err(), "none whole is not the same as none there");
        }
    }

    #[test]
    fn one_that_holds_no_state_of_this_machine_is_passed_over_unless_all_are_so() {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        snapshots.save(Slot(1), [b"old"]).unwrap();
        snapshots.save(Slot(2), [b"new"]).unwrap();
        let load = |fails_from: u64| {
            Snapshots::new(disk.clone()).load_newest(move |reader| match reader.upto().0 {
                upto if upto >= fails_from => Err(reader.foreign("another digest".into())),
                upto => Ok(upto),
            })
        };
        assert!(matches!(load(1), Err(SnapshotError::Foreign { .. })), "another version wrote them");
        assert_eq!(snapshots.kept().unwrap(), [Slot(1), Slot(2)], "and reads them");
        let loaded = load(2).unwrap();
        assert_eq!((loaded.newest, loaded.damaged.len()), (Some(1), 1));
        assert_eq!(snapshots.kept().unwrap(), [Slot(1)]);
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
                SnapshotError::Foreign { file: file(), reason: "not a sum".into() },
                "the snapshot `snapshot-00000000000000000003` cannot be restored: not a sum; start",
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
        snapshots.save(Slot(1), [b"whole"]).unwrap();
        snapshots.save(Slot(2), [b"to rot"]).unwrap();
        disk.flip(&file_of(Slot(2)), 70, 0);
        assert_eq!(newest(&disk).unwrap().newest, Some((Slot(1), b"whole".to_vec())));
        assert_eq!(snapshots.safe_upto().unwrap(), Slot::ZERO);
        snapshots.save(Slot(3), [b"next"]).unwrap();
        assert_eq!(snapshots.kept().unwrap(), [Slot(1), Slot(3)]);
    }

    #[test]
    fn a_crash_at_any_operation_leaves_the_old_or_the_new() {
        for operations in 0.. {
            let disk = MemoryDisk::new();
            let snapshots = Snapshots::new(disk.clone());
            snapshots.save(Slot(1), [b"old"]).unwrap();
            disk.fail_after(operations);
            let long = image(2 * STEP_BYTES as usize + 9);
            let saved = snapshots.save(Slot(2), [&long]).is_ok();
            for keep in [0, u64::MAX] {
                let disk = disk.fork();
                disk.crash(|bound| bound & keep);
                let newest = newest(&disk).unwrap().newest.unwrap();
                assert!(newest == (Slot(2), long.clone()) || !saved && newest == (Slot(1), b"old".to_vec()));
                Snapshots::new(disk.clone()).drop_unfinished().unwrap();
                assert_eq!(disk.list().unwrap().len(), 1 + usize::from(newest.0 == Slot(2)));
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
        snapshots.save(Slot(4), [&image]).unwrap();
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
