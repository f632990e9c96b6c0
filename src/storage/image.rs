//! The bytes of an image, and the digest of a state.
//!
//! ```text
//! frame    kind u8 · length u32 · body        head (1), rows of sessions (2), a part of the machine (3)
//! digest   BLAKE3 of "synod state" · format · clock · last session · members · agreement · every frame of rows
//!          · the machine's digest · every part of the machine
//! ```
//!
//! The digest is that of the state, not of the file: two nodes that executed the same slots have the same, and whoever
//! restores a state computes it anew, from what was restored. It covers the machine's content, and not only the digest that
//! the machine says of itself: that one may be kept up to date entry by entry, and would not tell of a byte that has
//! changed in memory since.
//!
//! Invariant: no frame is longer than [`MAX_FRAME_BYTES`], so reading one takes no more memory than that.

use super::disk::{Disk, DiskError};
use super::snapshots::{Reader, SnapshotError, Writer};
use crate::codec;
use crate::paxos::image::{Frame, Head, IMAGE_FORMAT};
use crate::paxos::settings::{MAX_RESULT_BYTES, MAX_SESSION_RESULT_BYTES};
use crate::paxos::state_machine::MAX_PART_BYTES;
use crate::paxos::{Image, State, StateMachine};

/// The digest of the state that an image holds: equal on nodes that executed the same slots.
pub fn digest(image: &Image) -> [u8; 32] {
    let mut digesting = Digesting::new(image);
    for rows in image.sessions.rows() {
        digesting.rows(&codec::encode(&rows));
    }
    digesting.machine(image);
    for part in image.machine.parts() {
        digesting.part(&part);
    }
    digesting.end()
}

/// A digest on the way, in the order of the frames.
struct Digesting(blake3::Hasher);

impl Digesting {
    fn new(image: &Image) -> Digesting {
        let Image { clock_ms, sessions, membership, agreement, .. } = image;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"synod state");
        hasher.update(&IMAGE_FORMAT.to_le_bytes());
        hasher.update(&clock_ms.to_le_bytes());
        hasher.update(&sessions.last().0.to_le_bytes());
        hasher.update(&codec::encode(membership));
        hasher.update(&codec::encode(agreement));
        Digesting(hasher)
    }

    fn rows(&mut self, rows: &[u8]) {
        self.0.update(rows);
    }

    /// Behind the last rows, before the first part.
    fn machine(&mut self, image: &Image) {
        self.0.update(&image.machine.digest());
    }

    fn part(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// How the writing of an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is written.
    Whole,
    /// `between` gave up.
    Stopped,
    /// What was written is not the state whose digest it states: it has changed in memory since.
    Changed,
}

/// Writes an image, frame by frame; `between` is called after each, so that whoever writes can do something else, too,
/// or give up.
///
/// # Errors
/// The disk did not do what it was asked, or `between` says so.
pub fn write<D: Disk>(
    image: &Image,
    writer: &mut Writer<D>,
    between: impl FnMut() -> Result<bool, DiskError>,
) -> Result<Written, DiskError> {
    write_with(image, digest(image), writer, between)
}

/// The same for whoever knows the state's digest. What is written is digested once more: an image shares memory with the state
/// that goes on, and writing takes long.
///
/// # Errors
/// As [`write()`].
pub fn write_with<D: Disk>(
    image: &Image,
    digest: [u8; 32],
    writer: &mut Writer<D>,
    mut between: impl FnMut() -> Result<bool, DiskError>,
) -> Result<Written, DiskError> {
    let mut digesting = Digesting::new(image);
    let mut in_rows = true;
    for frame in image.frames(digest) {
        let (kind, body) = match frame {
            Frame::Head(head) => (HEAD, codec::encode(&head)),
            Frame::Sessions(rows) => (SESSIONS, codec::encode(&rows)),
            Frame::Machine(part) => (MACHINE, part),
        };
        match kind {
            HEAD => {}
            SESSIONS => digesting.rows(&body),
            _ => {
                if std::mem::take(&mut in_rows) {
                    digesting.machine(image);
                }
                digesting.part(&body);
            }
        }
        assert!(body.len() <= MAX_FRAME_BYTES, "a machine's part is longer than `MAX_PART_BYTES`: {}", body.len());
        writer.push(&[kind])?;
        writer.push(&(body.len() as u32).to_le_bytes())?;
        writer.push(&body)?;
        if !between()? {
            return Ok(Written::Stopped);
        }
    }
    if in_rows {
        digesting.machine(image);
    }
    Ok(if digesting.end() == digest { Written::Whole } else { Written::Changed })
}

/// Restores the state that a snapshot holds into `machine`, which must be in its initial state. Every checksum and every
/// digest is checked.
///
/// # Errors
/// The snapshot is damaged, or not one of this machine; or the disk did not do what it was asked.
pub fn read<D: Disk, M: StateMachine>(mut reader: Reader<D>, machine: M) -> Result<State<M>, SnapshotError> {
    let mut broken = None;
    let mut frames = std::iter::from_fn(|| {
        if broken.is_some() || reader.left() == 0 {
            return None;
        }
        next(&mut reader).map_err(|error| broken = Some(error)).ok()
    });
    let restored = State::restore(&mut frames, machine);
    // What is wrong with the file comes before what the machine says of it.
    if let Some(error) = broken {
        return Err(error);
    }
    reader.drain()?;
    let (state, stated) = restored.map_err(|reason| reader.foreign(reason))?;
    if state.upto != reader.upto() {
        return Err(reader.foreign(format!("it holds the state at slot {}", state.upto)));
    }
    if digest(&state.freeze()) != stated {
        return Err(reader.foreign("what it restores to has another digest than it states".into()));
    }
    Ok(state)
}

/// What is small of the state that a snapshot holds, and comes first.
///
/// # Errors
/// As [`read`].
pub fn head<D: Disk>(reader: &mut Reader<D>) -> Result<Head, SnapshotError> {
    if reader.left() == 0 {
        return Err(reader.damaged("its image is empty"));
    }
    match next(reader)? {
        Frame::Head(head) => Ok(*head),
        Frame::Sessions(_) | Frame::Machine(_) => Err(reader.damaged("its image does not begin with a head")),
    }
}

fn next<D: Disk>(reader: &mut Reader<D>) -> Result<Frame, SnapshotError> {
    let kind = reader.read(1)?[0];
    let length = reader.read(4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(reader.damaged("a frame of its image is too long"));
    }
    let body = reader.read(length)?;
    let malformed = |_| reader.damaged("a frame of its image cannot be decoded");
    match kind {
        HEAD => codec::decode(&body, MAX_FRAME_BYTES).map(Frame::Head).map_err(malformed),
        SESSIONS => codec::decode(&body, MAX_FRAME_BYTES).map(Frame::Sessions).map_err(malformed),
        MACHINE => Ok(Frame::Machine(body)),
        _ => Err(reader.damaged("a frame of its image is of no known kind")),
    }
}

/// No frame is longer.
pub const MAX_FRAME_BYTES: usize = 32 << 20;

const _: () = assert!(MAX_PART_BYTES <= MAX_FRAME_BYTES);
// Rows are cut behind a mebibyte, and one session has so much at most.
const _: () = assert!(MAX_SESSION_RESULT_BYTES + MAX_RESULT_BYTES + (2 << 20) <= MAX_FRAME_BYTES);

const HEAD: u8 = 1;
const SESSIONS: u8 = 2;
const MACHINE: u8 = 3;
