//! The members as a node wrote them down last: a small file beside the journal, replaced whole.
//!
//! ```text
//! magic "SYNODMEM" · format version u32 · length u32 · crc32c of the rest u32 · membership        (integers little-endian)
//! ```
//!
//! It says nothing that the journal does not say, unless that has lost its tail: `paxos::company` says what depends on it.

use super::disk::{Disk, DiskError};
use crate::codec;
use crate::paxos::{Membership, Written};

/// Writes the members down in the place of what was there. Durable when this returns.
///
/// # Errors
/// The disk did not do what it was asked; what was there before stands.
pub fn save<D: Disk>(disk: &D, members: &Membership) -> Result<(), DiskError> {
    let body = codec::encode(members);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(&body).to_le_bytes());
    bytes.extend(body);
    disk.create(UNFINISHED)?;
    disk.write_at(UNFINISHED, 0, &bytes)?;
    disk.sync(UNFINISHED)?;
    disk.rename(UNFINISHED, FILE)?;
    disk.sync_dir()
}

/// What was written down. What cannot be read is not taken for never written.
///
/// # Errors
/// The disk did not do what it was asked.
pub fn load<D: Disk>(disk: &D) -> Result<Written, DiskError> {
    if !disk.list()?.iter().any(|name| name == FILE) {
        return Ok(Written::Never);
    }
    Ok(decode(&disk.read_all(FILE)?).map_or(Written::Unreadable, Written::Members))
}

fn decode(bytes: &[u8]) -> Option<Membership> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&FORMAT_VERSION.to_le_bytes())?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, body) = rest.split_first_chunk::<4>()?;
    let is_whole =
        u32::from_le_bytes(*length) as usize == body.len() && u32::from_le_bytes(*checksum) == crc32c::crc32c(body);
    if is_whole { codec::decode(body, MOST_BYTES).ok() } else { None }
}

/// The file.
pub const FILE: &str = "members";
const UNFINISHED: &str = "members.new";
const MAGIC: &[u8] = b"SYNODMEM";
const FORMAT_VERSION: u32 = 1;
/// Far more than any membership takes.
const MOST_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Change, Configuration, Incarnation, Slot};
    use crate::storage::MemoryDisk;

    fn members(count: u64) -> Membership {
        let mut members = Membership::founded(Configuration::numbered(1));
        for slot in 1..=count {
            let change = Change::Add { name: format!("m{slot}"), incarnation: Incarnation(u128::from(slot) << 64) };
            members.change(Slot(slot), &change);
            members.on_executed(Slot(slot));
        }
        members
    }

    #[test]
    fn what_was_written_last_is_read() {
        let disk = MemoryDisk::new();
        assert_eq!(load(&disk), Ok(Written::Never));
        for count in [0, 2, 1] {
            save(&disk, &members(count)).expect("written");
            assert_eq!(load(&disk), Ok(Written::Members(members(count))));
            assert_eq!(disk.unsynced(FILE), 0);
        }
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let disk = MemoryDisk::new();
        save(&disk, &members(2)).expect("written");
        let length = disk.read_all(FILE).expect("read").len();
        for offset in 0..length {
            disk.flip(FILE, offset, 3);
            assert_eq!(load(&disk), Ok(Written::Unreadable), "byte {offset}");
            disk.flip(FILE, offset, 3);
        }
        for length in (0..length).rev() {
            disk.truncate(FILE, length);
            assert_eq!(load(&disk), Ok(Written::Unreadable), "{length} bytes");
        }
    }

    #[test]
    fn a_crash_at_any_operation_leaves_the_old_or_the_new() {
        for operations in 0..8 {
            let disk = MemoryDisk::new();
            save(&disk, &members(1)).expect("written");
            disk.fail_after(operations);
            let done = save(&disk, &members(2)).is_ok();
            disk.crash(|most| most / 2);
            let written = load(&disk).expect("read");
            assert!(written == Written::Members(members(2)) || !done && written == Written::Members(members(1)));
        }
    }
}
