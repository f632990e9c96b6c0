//! The cookie: the secret that all nodes and clients of a cluster share.
//!
//! It is whatever a file holds, without the white space around it. The default file is the user's own; it is made on
//! first use, with a random cookie and mode 0600. A file that was named must be there: a mistyped path must not become
//! a new secret that no other node knows.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::answer::Failure;

/// The cookie in the named file; or in the user's own, made now if need be.
pub fn read(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match file {
        Some(file) => read_file(file),
        None => {
            let file = default_file()?;
            if !file.exists() {
                make(&file)?;
            }
            read_file(&file)
        }
    }
}

/// Makes a cookie, unless the file is there already. Two processes that do this at once end with the same cookie.
pub fn make(file: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::not_done(format!(
            "cannot make the cookie file {}: {error}; or name one with --cookie-file",
            file.display()
        ))
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = file.with_extension(format!("draft-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(&draft).map_err(failed)?;
    let linked = writeln!(written, "{secret}").and_then(|()| written.sync_all()).and_then(|()| {
        // A link, unlike a rename, leaves alone what another process has put there meanwhile.
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed).map_err(failed)
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::not_done(format!("the cookie file {} cannot be used: {why}", file.display()))
    };
    let mut cookie = Vec::new();
    let opened = fs::File::open(file).map_err(|error| failed(&error))?;
    warn_if_others_may_read(file, &opened);
    opened.take(LONGEST + 1).read_to_end(&mut cookie).map_err(|error| failed(&error))?;
    let cookie_text = cookie.trim_ascii();
    if cookie_text.is_empty() {
        return Err(failed(&"it is empty"));
    }
    if cookie.len() as u64 > LONGEST {
        return Err(failed(&format!("it is longer than {LONGEST} bytes")));
    }
    Ok(cookie_text.to_vec())
}

fn warn_if_others_may_read(file: &Path, opened: &fs::File) {
    #[cfg(unix)]
    if let Ok(metadata) = opened.metadata() {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata);
        if mode & 0o077 != 0 {
            log::info!("the cookie file {} is open to other users: chmod 600 it", file.display());
        }
    }
}

fn default_file() -> Result<PathBuf, Failure> {
    user_folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("cookie")).ok_or_else(|| {
        Failure::usage("there is no home folder to keep a cookie in: set HOME, or name a file with --cookie-file")
    })
}

/// The program's folder among the user's, of the kind that `variable` names.
pub fn user_folder(variable: &str, under_home: &str) -> Option<PathBuf> {
    let absolute = |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let told = std::env::var_os(variable).and_then(absolute);
    let base = told.or_else(|| std::env::var_os("HOME").and_then(absolute).map(|home| home.join(under_home)))?;
    Some(base.join("synod"))
}

/// In bytes.
const LONGEST: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/on/the/way/cookie");
        make(&file).unwrap();
        let first = read(Some(&file)).unwrap();
        make(&file).unwrap();
        assert_eq!(read(Some(&file)).unwrap(), first);
        assert_eq!(first.len(), 64);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no draft is left");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap()) & 0o777, 0o600);
    }

    #[test]
    fn white_space_around_a_cookie_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cookie");
        fs::write(&file, " open sesame \r\n").unwrap();
        assert_eq!(read(Some(&file)).unwrap(), b"open sesame");
    }

    #[test]
    fn a_cookie_file_that_was_named_must_be_there_and_hold_something() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cookie");
        assert!(read(Some(&file)).unwrap_err().to_string().contains("cookie"));
        fs::write(&file, "\n").unwrap();
        assert!(read(Some(&file)).unwrap_err().to_string().contains("it is empty"));
    }
}
