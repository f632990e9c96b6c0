//! Which cookie a command uses: the one in the file that was named, or the user's own, made on first use.
//!
//! A file that was named must be there: a mistyped path must not become a new secret that no other node knows.

use std::path::{Path, PathBuf};

use synod::net::cookie::Cookie;
use synod::net::cookie_file;

use crate::answer::Failure;

/// The cookie in the named file; or in the user's own, made now if need be.
pub fn read(file: Option<&Path>) -> Result<Cookie, Failure> {
    let cookie = match file {
        Some(file) => cookie_file::read(file),
        None => cookie_file::default_path().and_then(|file| cookie_file::read_or_make(&file)),
    };
    cookie.map_err(Failure::not_done)
}

/// Makes a cookie, unless the file is there already.
pub fn make(file: &Path) -> Result<(), Failure> {
    cookie_file::read_or_make(file).map(drop).map_err(Failure::not_done)
}

/// The program's folder among the user's, of the kind that `variable` names.
pub fn user_folder(variable: &str, under_home: &str) -> Option<PathBuf> {
    let absolute = |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let told = std::env::var_os(variable).and_then(absolute);
    let base = told.or_else(|| std::env::var_os("HOME").and_then(absolute).map(|home| home.join(under_home)))?;
    Some(base.join("synod"))
}
