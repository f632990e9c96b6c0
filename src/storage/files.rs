//! The disk of the operating system: files in one folder.
//!
//! Handles stay open, so that a steady commit is one `pwrite` and one `fdatasync` and nothing else. Absent: locking and
//! the folder's own life ([`super::folder`]).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskError};

/// Files in one folder of the operating system. Clones share the open handles.
#[derive(Clone, Debug)]
pub struct FileDisk(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    handles: Mutex<BTreeMap<String, Arc<File>>>,
}

impl FileDisk {
    /// The files of an existing folder.
    pub fn new(folder: impl Into<PathBuf>) -> FileDisk {
        FileDisk(Arc::new(Folder { path: folder.into(), handles: Mutex::default() }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<String, Arc<File>>> {
        self.0.handles.lock().expect("no holder of this lock panics")
    }

    fn handle(&self, file: &str, operation: &'static str) -> Result<Arc<File>, DiskError> {
        if let Some(handle) = self.handles().get(file) {
            return Ok(handle.clone());
        }
        let path = self.0.path.join(file);
        let opened = OpenOptions::new().read(true).write(true).open(&path).or_else(|error| match error.kind() {
            // A backup is often kept so that nobody can change it.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            _ => Err(error),
        });
        let handle = Arc::new(opened.map_err(|error| self.error(file, operation, &error))?);
        self.handles().insert(file.into(), handle.clone());
        Ok(handle)
    }

    fn error(&self, file: &str, operation: &'static str, error: &io::Error) -> DiskError {
        let told = DiskError::new(self.0.path.join(file).display().to_string(), operation, error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => told.for_want_of_room(),
            _ => told,
        }
    }
}

impl Disk for FileDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let failed = |error| self.error("", "list", &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0.path).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn len(&self, file: &str) -> Result<u64, DiskError> {
        let metadata = self.handle(file, "measure")?.metadata();
        Ok(metadata.map_err(|error| self.error(file, "measure", &error))?.len())
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; length];
        let read = self.handle(file, "read")?.read_exact_at(&mut bytes, offset);
        read.map(|()| bytes).map_err(|error| self.error(file, "read", &error))
    }

    fn create(&self, file: &str) -> Result<(), DiskError> {
        let path = self.0.path.join(file);
        let created = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let handle = created.map_err(|error| self.error(file, "create", &error))?;
        self.handles().insert(file.into(), Arc::new(handle));
        Ok(())
    }

    fn write_at(&self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let written = self.handle(file, "write")?.write_all_at(bytes, offset);
        written.map_err(|error| self.error(file, "write", &error))
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        self.handle(file, "sync")?.sync_data().map_err(|error| self.error(file, "sync", &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut handles = self.handles();
        fs::rename(self.0.path.join(from), self.0.path.join(to)).map_err(|error| self.error(from, "rename", &error))?;
        handles.remove(to);
        if let Some(handle) = handles.remove(from) {
            handles.insert(to.into(), handle);
        }
        Ok(())
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        self.handles().remove(file);
        fs::remove_file(self.0.path.join(file)).map_err(|error| self.error(file, "remove", &error))
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let synced = File::open(&self.0.path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.error("", "sync", &error))
    }
}
