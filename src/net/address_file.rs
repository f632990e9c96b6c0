//! The address book on disk: a file of lines in the data folder, replaced whole.
//!
//! It is a convenience: a book that cannot be read is worth a warning and an empty book, never a refusal to start. The names
//! in it also tell a founder that its cluster has grown, beside what else does (`paxos::company`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::addresses::AddressBook;

/// The book in `path`; an empty one if there is none, or none that can be read.
pub fn load(path: &Path) -> AddressBook {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return AddressBook::default(),
        Err(error) => {
            log::warn!("cannot read the address book {}: {error}; starting with an empty one", path.display());
            return AddressBook::default();
        }
    };
    AddressBook::from_text(&text).unwrap_or_else(|| {
        log::warn!("the address book {} is damaged; starting with an empty one", path.display());
        AddressBook::default()
    })
}

/// Puts `book` in the place of whatever `path` held.
pub fn save(path: &Path, book: &AddressBook) -> io::Result<()> {
    let beside = PathBuf::from([path.as_os_str(), ".new".as_ref()].into_iter().collect::<std::ffi::OsString>());
    let mut file = File::create(&beside)?;
    file.write_all(book.to_text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_survives_and_damage_starts_an_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("addresses");
        assert_eq!(load(&path), AddressBook::default(), "none there yet");
        let mut book = AddressBook::default();
        book.hear_first_hand("n1", "a:1", 5);
        save(&path, &book).expect("saved");
        book.hear_first_hand("n2", "b:2", 6);
        save(&path, &book).expect("saved again");
        assert_eq!(load(&path), book);
        for damage in [&b"nonsense"[..], b"\xff\xfe", b""] {
            fs::write(&path, damage).expect("written");
            assert_eq!(load(&path), AddressBook::default());
        }
    }
}
