//! Every operation as a line of JSON, in the order in which they ended: for a checker of linearizability.
//!
//! `{"client":3,"op":"put","key":"bench-17","value":"3.41","invoke_ns":1200,"return_ns":93000,"outcome":"done"}`
//!
//! A written value is known by its first word, which no other write has; `value` is that word. A `get` has what it read,
//! or null. `outcome` is `done`, `not done` (it had no effect, and never will) or `unknown` (it may have one at any later
//! time); only what is done has `return_ns`. Times are nanoseconds since the first operation could begin.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::measured::Fate;
use crate::answer::Failure;

/// A history under way.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: BufWriter<File>,
    /// What went wrong first.
    failed: Option<std::io::Error>,
}

/// One operation.
#[derive(Debug)]
pub struct Line<'a> {
    /// Whose.
    pub client: u32,
    /// Whether it is a read.
    pub is_read: bool,
    /// Its key.
    pub key: &'a str,
    /// The word that it wrote or read.
    pub word: Option<&'a str>,
    /// When it was invoked, in nanoseconds.
    pub invoke_ns: u64,
    /// When it ended.
    pub return_ns: u64,
    /// What became of it.
    pub fate: &'a Fate,
}

impl History {
    /// A new file; one that is there is written anew.
    pub fn create(path: &Path) -> Result<History, Failure> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Ok(History { path: path.to_owned(), file: BufWriter::new(file), failed: None })
    }

    /// Adds a line. What goes wrong is told by [`History::finish`].
    pub fn write(&mut self, line: &Line<'_>) {
        if self.failed.is_none() {
            self.failed = writeln!(self.file, "{}", line.json()).err();
        }
    }

    /// Everything is in the file.
    pub fn finish(mut self) -> Result<(), Failure> {
        match self.failed.take().map_or_else(|| self.file.flush(), Err) {
            Ok(()) => Ok(()),
            Err(error) => Err(failed(&self.path, &error)),
        }
    }
}

impl Line<'_> {
    fn json(&self) -> Value {
        let (outcome, is_done) = match self.fate {
            Fate::Done => ("done", true),
            Fate::NotDone(_) => ("not done", false),
            Fate::Unknown(_) => ("unknown", false),
        };
        json!({
            "client": self.client,
            "op": if self.is_read { "get" } else { "put" },
            "key": self.key,
            "value": self.word,
            "invoke_ns": self.invoke_ns,
            "return_ns": is_done.then_some(self.return_ns),
            "outcome": outcome,
        })
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::not_done(format!("the history cannot be written to {}: {error}", path.display()))
}
