//! What is being made lies beside its place, under another name, until it is whole; if it never is, it is removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use synod::storage::DiskError;

use crate::answer::Failure;

/// A file, or a folder, on its way to its place.
#[derive(Debug)]
pub struct Unfinished {
    place: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl Unfinished {
    /// An empty file that will be `place`, where nothing is yet.
    pub fn file(place: &Path) -> Result<Unfinished, Failure> {
        if place.symlink_metadata().is_ok() {
            return Err(is_there(place));
        }
        let path = beside(place)?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| cannot_make(place, &error))?;
        Ok(Unfinished { place: place.into(), path, file: Some(file) })
    }

    /// An empty folder that will be `place`, where nothing is yet but perhaps an empty folder.
    pub fn folder(place: &Path) -> Result<Unfinished, Failure> {
        let is_free = match fs::read_dir(place) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(Failure::not_done(format!(
                "`{}` is there already, and is left as it is: name a new folder with --data",
                place.display()
            )));
        }
        let path = beside(place)?;
        fs::create_dir(&path).map_err(|error| cannot_make(place, &error))?;
        Ok(Unfinished { place: place.into(), path, file: None })
    }

    /// Where it lies meanwhile.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|error| cannot_make(&self.place, &error))
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), Failure> {
        let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync_all());
        synced.map_err(|error| cannot_make(&self.place, &error))
    }

    /// Why it cannot be made whole, if that is the disk's doing.
    pub fn broken_off(&self, error: &DiskError) -> Failure {
        let mend = if error.no_space { MAKE_ROOM } else { "name another place" };
        let DiskError { operation, reason, .. } = error;
        Failure::not_done(format!(
            "cannot make `{}`: cannot {operation} a file: {reason}; {mend}",
            self.place.display()
        ))
    }

    /// It is whole: it goes to its place, durably.
    pub fn finish(self) -> Result<(), Failure> {
        let moved = if self.file.is_some() { self.link() } else { fs::rename(&self.path, &self.place) };
        let moved = moved.and_then(|()| File::open(parent(&self.place))?.sync_all());
        moved.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(&self.place),
            _ => cannot_make(&self.place, &error),
        })
    }

    /// Gives the file its name; unlike renaming it, this takes no other's, which may have come meanwhile.
    fn link(&self) -> io::Result<()> {
        match fs::hard_link(&self.path, &self.place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !self.place.exists() => {
                fs::rename(&self.path, &self.place) // not every file system has links
            }
            linked => linked, // the other name goes when this is dropped
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nothing is there any more once it is finished; and a rest that cannot be removed is in nobody's way.
        let _ = if self.file.is_some() { fs::remove_file(&self.path) } else { fs::remove_dir_all(&self.path) };
    }
}

fn is_there(place: &Path) -> Failure {
    let place = place.display();
    Failure::not_done(format!("`{place}` is there already, and is left as it is: name another file, or remove it"))
}

/// A name of this process's own, in the same folder.
fn beside(place: &Path) -> Result<PathBuf, Failure> {
    let name = place.file_name().ok_or_else(|| {
        Failure::usage(format!("`{}` is not a name under which something can be made", place.display()))
    })?;
    let mut name = name.to_owned();
    name.push(format!(".unfinished-{}", std::process::id()));
    Ok(place.with_file_name(name))
}

fn parent(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot_make(place: &Path, error: &io::Error) -> Failure {
    let mend = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MAKE_ROOM,
        io::ErrorKind::FileTooLarge => "raise the limit on the size of files (`ulimit -f`), or name another place",
        io::ErrorKind::NotFound => "make the folder that it is to lie in first",
        _ => "name another place",
    };
    Failure::not_done(format!("cannot make `{}`: {error}; {mend}", place.display()))
}

const MAKE_ROOM: &str = "make room there, or name another place";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_meanwhile_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("monday.backup");
        let [mut first, second] = [(), ()].map(|()| Unfinished::file(&place));
        assert!(second.is_err(), "one process makes one at a time");
        let first_made = first.as_mut().map(|file| file.write(b"first"));
        assert!(matches!(first_made, Ok(Ok(()))));
        fs::write(&place, b"other").expect("another one's");
        let ended = first.and_then(Unfinished::finish);
        assert!(ended.is_err_and(|failure| failure.to_string().contains("is there already")));
        assert_eq!(fs::read(&place).expect("it is there"), b"other");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        fs::remove_file(&place).expect("gone");
        let mut third = Unfinished::file(&place).unwrap_or_else(|_| panic!("free"));
        assert!(third.write(b"third").is_ok() && third.finish().is_ok());
        assert_eq!(fs::read(&place).expect("it is there"), b"third");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}
