//! The data folder: whose it is, what it is, and that one process at a time has it.
//!
//! `synod-format` marks a folder as ours and states its version and its incarnation, drawn once when the folder is made:
//! a wiped disk gets another one, so that peers tell it from the member it was (DESIGN rule 5). `lock` is held by
//! the process that runs; the system lets go of it when the process ends, however it ends. A folder that has files but
//! no marker is somebody else's: it is refused, and nothing in it is touched.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskError};
use super::files::FileDisk;
use crate::paxos::Incarnation;

/// An open data folder. Other processes are kept out until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    disk: FileDisk,
    incarnation: Incarnation,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, or makes it with the incarnation that `fresh` draws.
    pub fn open(path: &Path, fresh: impl FnOnce() -> Incarnation) -> Result<DataFolder, FolderError> {
        let wrong = |reason| FolderError { folder: path.into(), reason };
        let unusable = |error: io::Error| wrong(Reason::Unusable(error.to_string()));
        fs::create_dir_all(path).map_err(unusable)?;
        let disk = FileDisk::new(path);
        let names = disk.list().map_err(|error| wrong(Reason::Disk(error)))?;
        if !names.iter().any(|name| name == MARKER) && names.iter().any(|name| name != LOCK && name != UNFINISHED) {
            return Err(wrong(Reason::NotOurs));
        }
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK));
        let lock = lock.map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => wrong(Reason::InUse),
            TryLockError::Error(error) => unusable(error),
        })?;
        let incarnation = match fs::read_to_string(path.join(MARKER)) {
            Ok(marker) => read_marker(&marker).map_err(wrong)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let incarnation = fresh();
                write_marker(&disk, incarnation).map_err(|error| wrong(Reason::Disk(error)))?;
                sync_parent(path).map_err(unusable)?;
                incarnation
            }
            Err(error) => return Err(unusable(error)),
        };
        Ok(DataFolder { disk, incarnation, _lock: lock })
    }

    /// The files in it.
    pub fn disk(&self) -> &FileDisk {
        &self.disk
    }

    /// The random number that was drawn when the folder was made.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }
}

/// A data folder cannot be used. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderError {
    /// The folder.
    pub folder: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a data folder cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another process has it.
    InUse,
    /// It has files, but no marker of ours.
    NotOurs,
    /// The marker states this version.
    UnknownVersion(String),
    /// The marker cannot be read.
    DamagedMarker,
    /// The system does not let us.
    Unusable(String),
    /// A file in it could not be read or written.
    Disk(DiskError),
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match &self.reason {
            Reason::InUse => write!(
                f,
                "the data folder `{folder}` is in use by another process: stop that node, or give this one its own folder"
            ),
            Reason::NotOurs => write!(
                f,
                "`{folder}` is not a Synod data folder: it has files but no `{MARKER}`; give an empty or a new folder"
            ),
            Reason::UnknownVersion(version) => write!(
                f,
                "the data folder `{folder}` has format {version}, and this version of synod reads format \
                 {FORMAT_VERSION}: use the version that wrote it"
            ),
            Reason::DamagedMarker => write!(
                f,
                "the data folder `{folder}` has a damaged `{MARKER}`: restore that file, or replace this node by a new \
                 member with an empty folder"
            ),
            Reason::Unusable(reason) => write!(
                f,
                "the data folder `{folder}` cannot be used: {reason}; check its path and that this user may write there"
            ),
            Reason::Disk(error) => write!(f, "the data folder `{folder}` cannot be used: {error}; check the disk"),
        }
    }
}

impl std::error::Error for FolderError {}

fn write_marker(disk: &FileDisk, incarnation: Incarnation) -> Result<(), DiskError> {
    let text = format!("{TITLE}\nformat {FORMAT_VERSION}\nincarnation {incarnation}\n");
    disk.create(UNFINISHED)?;
    disk.write_at(UNFINISHED, 0, text.as_bytes())?;
    disk.sync(UNFINISHED)?;
    disk.rename(UNFINISHED, MARKER)?;
    disk.sync_dir()
}

fn read_marker(text: &str) -> Result<Incarnation, Reason> {
    let mut lines = text.lines();
    let title = lines.next();
    let version = lines.next().and_then(|line| line.strip_prefix("format "));
    let (Some(TITLE), Some(version)) = (title, version) else { return Err(Reason::DamagedMarker) };
    if version != FORMAT_VERSION.to_string() {
        return Err(Reason::UnknownVersion(version.into()));
    }
    let digits = lines.next().and_then(|line| line.strip_prefix("incarnation ")).filter(|digits| digits.len() == 32);
    let incarnation = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    incarnation.map(Incarnation).ok_or(Reason::DamagedMarker)
}

/// Makes the folder's own name durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let whole = path.canonicalize()?;
    whole.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// The version of the folder's layout.
pub const FORMAT_VERSION: u32 = 1;

const TITLE: &str = "synod data folder";
const MARKER: &str = "synod-format";
const UNFINISHED: &str = "synod-format.new";
const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, fresh: u128) -> Result<DataFolder, FolderError> {
        DataFolder::open(path, || Incarnation(fresh))
    }

    #[test]
    fn an_incarnation_is_drawn_once() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("deep/data");
        assert_eq!(open(&path, 7).unwrap().incarnation(), Incarnation(7));
        assert_eq!(open(&path, 8).unwrap().incarnation(), Incarnation(7));
    }

    #[test]
    fn a_second_opener_hears_that_it_is_in_use() {
        let temporary = tempfile::tempdir().unwrap();
        let first = open(temporary.path(), 1).unwrap();
        let refused = open(temporary.path(), 2).unwrap_err();
        assert_eq!(refused.reason, Reason::InUse);
        assert!(refused.to_string().contains(&temporary.path().display().to_string()));
        drop(first);
        assert!(open(temporary.path(), 2).is_ok());
    }

    #[test]
    fn somebody_elses_folder_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("thesis.txt"), "all of it").unwrap();
        assert_eq!(open(temporary.path(), 1).unwrap_err().reason, Reason::NotOurs);
        assert_eq!(FileDisk::new(temporary.path()).list().unwrap(), ["thesis.txt"]);
    }

    #[test]
    fn a_crash_while_the_folder_is_made_is_no_obstacle() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join(LOCK), "").unwrap();
        fs::write(temporary.path().join(UNFINISHED), "syn").unwrap();
        assert_eq!(open(temporary.path(), 3).unwrap().incarnation(), Incarnation(3));
    }

    #[test]
    fn a_file_in_the_way_and_markers_of_other_kinds_are_named() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(open(&file, 1).unwrap_err().reason, Reason::Unusable(_)));
        let folder = temporary.path().join("folder");
        drop(open(&folder, 1).unwrap());
        let marker = fs::read_to_string(folder.join(MARKER)).unwrap();
        fs::write(folder.join(MARKER), marker.replace("format 1", "format 2")).unwrap();
        assert_eq!(open(&folder, 1).unwrap_err().reason, Reason::UnknownVersion("2".into()));
        fs::write(folder.join(MARKER), &marker[..40]).unwrap();
        assert_eq!(open(&folder, 1).unwrap_err().reason, Reason::DamagedMarker);
    }
}
