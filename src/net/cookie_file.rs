//! Where the cookie is kept: one file per user, made on first use, readable by that user only.
//!
//! Two processes that start at once end up with the same cookie: each writes one of its own beside the file, whole and
//! synced, and links it into place; linking fails for the second, who then reads the first one's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::cookie::Cookie;

/// `$XDG_CONFIG_HOME/synod/cookie`, or `~/.config/synod/cookie`.
pub fn default_path() -> Result<PathBuf, String> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let config =
        config.ok_or("there is no home folder to keep the cookie in: set HOME, or name a file by --cookie-file")?;
    Ok(config.join("synod").join("cookie"))
}

/// Reads the cookie in `path`, or says in one line why not and how to mend it.
pub fn read(path: &Path) -> Result<Cookie, String> {
    read_if_there(path)?.ok_or_else(|| {
        format!(
            "there is no cookie file {}: copy a node's there, or leave --cookie-file out to use your own",
            path.display()
        )
    })
}

/// Reads the cookie in `path`; if there is none, makes one of 32 random bytes.
pub fn read_or_make(path: &Path) -> Result<Cookie, String> {
    if let Some(cookie) = read_if_there(path)? {
        return Ok(cookie);
    }
    make(path).map_err(|error| format!("cannot make the cookie file {}: {error}", path.display()))?;
    read(path)
}

fn read_if_there(path: &Path) -> Result<Option<Cookie>, String> {
    let failed = |error: io::Error| format!("cannot read the cookie file {}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file: name the cookie's file by --cookie-file", path.display()));
    }
    if is_open_to_others(&metadata) {
        return Err(format!("others may read the cookie file {0}: chmod 600 {0}", path.display()));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    if text.trim().is_empty() {
        return Err(format!("the cookie file {} is empty: delete it, or copy a node's there", path.display()));
    }
    if text.len() as u64 == LONGEST {
        return Err(format!("the cookie file {} is too long: delete it, or copy a node's there", path.display()));
    }
    Cookie::new(&text).map(Some)
}

#[cfg(unix)]
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_metadata: &fs::Metadata) -> bool {
    false
}

/// Puts a fresh cookie in `path` unless somebody else has done so meanwhile.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!(".cookie-{:032x}", rand::random::<u128>()));
    let text: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let made = write_new(&beside, &(text + "\n")).and_then(|()| match fs::hard_link(&beside, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = fs::remove_file(&beside);
    made?;
    removed
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_makes_a_cookie_that_later_uses_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("cookie");
        assert!(read(&path).expect_err("not there").contains("copy"));
        let cookie = read_or_make(&path).expect("made");
        assert_eq!(read_or_make(&path), Ok(cookie.clone()));
        assert_eq!(read(&path), Ok(cookie));
        assert_eq!(fs::read_to_string(&path).expect("text").trim().len(), 64);
        let left = fs::read_dir(path.parent().expect("a folder")).expect("readable").count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    #[test]
    fn all_who_start_at_once_end_up_with_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cookie");
        let starters: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || read_or_make(&path).expect("made or read"))
            })
            .collect();
        let cookies: Vec<Cookie> = starters.into_iter().map(|starter| starter.join().expect("no panic")).collect();
        assert!(cookies.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[cfg(unix)]
    #[test]
    fn a_cookie_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cookie");
        read_or_make(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            let line = read_or_make(&path).expect_err("open to others");
            assert!(line.contains("chmod 600") && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn an_empty_or_endless_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cookie");
        write_new(&path, "\n").expect("written");
        assert!(read_or_make(&path).expect_err("empty").contains("is empty: delete it"));
        fs::write(&path, "x".repeat(5000)).expect("written");
        assert!(read_or_make(&path).expect_err("long").contains("too long"));
        assert!(read_or_make(folder.path()).is_err(), "a folder");
    }
}
