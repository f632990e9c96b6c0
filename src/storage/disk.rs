//! The little that storage asks of a disk: named flat files in one folder.
//!
//! What a caller may rely on after a crash:
//! * bytes written are kept for certain only once [`Disk::sync`] of that file has returned;
//! * a create, rename or remove is kept for certain only once [`Disk::sync_dir`] has returned;
//! * without that, each may be kept or not, and the last write may be kept in part.
//!
//! A disk is shared: clones are handles on the same files, so that a background thread can prepare a file or write a
//! snapshot beside the journal. Absent: paths, permissions, appending (a writer knows its offsets).

use std::fmt;

/// Named flat files, with the guarantees above.
pub trait Disk: Clone {
    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// The length of a file in bytes.
    fn len(&self, file: &str) -> Result<u64, DiskError>;

    /// Exactly `length` bytes from `offset`; fewer are an error.
    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError>;

    /// The whole file.
    fn read_all(&self, file: &str) -> Result<Vec<u8>, DiskError> {
        let length =
            usize::try_from(self.len(file)?).map_err(|_| DiskError::new(file, "read", "longer than memory"))?;
        self.read(file, 0, length)
    }

    /// Makes an empty file; one of that name is emptied.
    fn create(&self, file: &str) -> Result<(), DiskError>;

    /// Writes all of `bytes` at `offset`. Beyond the end, the file grows.
    fn write_at(&self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Returns once everything written to this file is durable (fdatasync).
    fn sync(&self, file: &str) -> Result<(), DiskError>;

    /// Gives a file another name; a file that had that name is gone.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file.
    fn remove(&self, file: &str) -> Result<(), DiskError>;

    /// Returns once every create, rename and remove so far is durable.
    fn sync_dir(&self) -> Result<(), DiskError>;
}

/// Makes a file of `length` zeros under `file`, durable in full, so that a later sync of writes within it changes no
/// file metadata. It is written and synced in steps of [`STEP_BYTES`], so that syncs of other files never queue behind
/// much. The name is not durable before the next `sync_dir`.
pub fn create_zeroed<D: Disk>(disk: &D, file: &str, length: u64) -> Result<(), DiskError> {
    disk.create(file)?;
    let zeros = vec![0; STEP_BYTES.min(length) as usize];
    let mut offset = 0;
    while offset < length {
        let step = STEP_BYTES.min(length - offset);
        disk.write_at(file, offset, &zeros[..step as usize])?;
        disk.sync(file)?;
        offset += step;
    }
    Ok(())
}

/// How much background work writes between two syncs, in bytes.
pub const STEP_BYTES: u64 = 1024 * 1024;

/// A disk did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The file, with its folder where there is one.
    pub file: String,
    /// What was asked: `read`, `write`, `sync`, …
    pub operation: &'static str,
    /// What the system said.
    pub reason: String,
    /// There is no room: with less on the disk it would have been done.
    pub no_space: bool,
}

impl DiskError {
    /// An error of this file in this operation.
    pub fn new(file: impl Into<String>, operation: &'static str, reason: impl ToString) -> DiskError {
        DiskError { file: file.into(), operation, reason: reason.to_string(), no_space: false }
    }

    /// The same error, known to be for want of room.
    pub fn for_want_of_room(self) -> DiskError {
        DiskError { no_space: true, ..self }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} `{}`: {}", self.operation, self.file, self.reason)
    }
}

impl std::error::Error for DiskError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;

    #[test]
    fn a_file_of_zeros_is_written_and_synced_in_steps() {
        for (length, steps) in [(0, 0), (10, 1), (STEP_BYTES, 1), (2 * STEP_BYTES + 10, 3)] {
            let disk = MemoryDisk::new();
            create_zeroed(&disk, "file", length).expect("written");
            let bytes = disk.read_all("file").expect("read");
            assert!(bytes.len() as u64 == length && bytes.iter().all(|byte| *byte == 0));
            let operations = disk.operations();
            assert_eq!((operations.writes, operations.syncs, disk.unsynced("file")), (steps, steps, 0));
        }
    }

    #[test]
    fn an_error_says_what_was_asked_of_which_file_and_what_came_of_it() {
        let error = DiskError::new("journal-0000000001", "sync", "input/output error");
        assert_eq!(error.to_string(), "cannot sync `journal-0000000001`: input/output error");
    }
}
