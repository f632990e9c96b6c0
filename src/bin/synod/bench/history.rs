//! Every operation as a line of JSON, in the order in which they ended: for a checker of linearizability.
//!
//! `{"client":3,"op":"put","key":"bench-17","value":"3.41","invoke_ns":1200,"return_ns":93000,"outcome":"done"}`
//!
//! A written value is known by its first word, which no other write has; `value` is that word. A `get` has what it read,
//! or null; so has a `get-local`, which no order needs to explain. `outcome` is `done`, `not done` (it had no effect, and
//! never will) or `unknown` (it may have one at any later time); only what is done has `return_ns`. Times are nanoseconds
//! since the connections were up. The first operations give every key a value: a checker need not know what was there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

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
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// Whose.
    pub client: u32,
    /// What.
    pub op: Op,
    /// Its key.
    pub key: &'a str,
    /// The word that it wrote or read.
    pub value: Option<&'a str>,
    /// When it was invoked.
    pub invoke_ns: u64,
    /// When it was done.
    pub return_ns: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a client does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Writes it.
    Put,
    /// Reads it, linearizably.
    Get,
    /// Reads it from one node.
    GetLocal,
    /// Not of a key: settles transfers.
    Transfer,
}

/// What a line says of a [`Fate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Done,
    /// Certainly not.
    #[serde(rename = "not done")]
    NotDone,
    /// Nobody knows.
    Unknown,
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
            let written = serde_json::to_writer(&mut self.file, line).map_err(std::io::Error::from);
            self.failed = written.and_then(|()| self.file.write_all(b"\n")).err();
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

impl Op {
    /// Whether it changes nothing.
    pub fn is_read(self) -> bool {
        matches!(self, Op::Get | Op::GetLocal)
    }
}

impl From<&Fate> for Outcome {
    fn from(fate: &Fate) -> Outcome {
        match fate {
            Fate::Done => Outcome::Done,
            Fate::NotDone(_) => Outcome::NotDone,
            Fate::Unknown(_) => Outcome::Unknown,
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::not_done(format!("the history cannot be written to {path}: {error}; name another file with --history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(op: Op, value: Option<&str>, fate: &Fate) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut history = History::create(&path).unwrap();
        let return_ns = (*fate == Fate::Done).then_some(90);
        history.write(&Line { client: 3, op, key: "k", value, invoke_ns: 12, return_ns, outcome: fate.into() });
        history.finish().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_says_who_did_what_when_and_what_became_of_it() {
        assert_eq!(
            line(Op::Put, Some("3.1"), &Fate::Done),
            "{\"client\":3,\"op\":\"put\",\"key\":\"k\",\"value\":\"3.1\",\"invoke_ns\":12,\"return_ns\":90,\
             \"outcome\":\"done\"}\n"
        );
        let unknown = line(Op::Put, Some("3.2"), &Fate::Unknown("no answer".into()));
        assert!(unknown.ends_with("\"return_ns\":null,\"outcome\":\"unknown\"}\n"), "{unknown}");
        let refused = line(Op::Get, None, &Fate::NotDone("no leader".into()));
        assert!(refused.contains("\"op\":\"get\"") && refused.contains("\"outcome\":\"not done\""), "{refused}");
        let strange = line(Op::GetLocal, Some("a\"b\n"), &Fate::Done);
        assert!(strange.contains("\"op\":\"get-local\"") && strange.contains(r#""value":"a\"b\n""#), "{strange}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let refused = History::create(Path::new("/no/such/folder/h")).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the history cannot be written to /no/such/folder/h: No such file or directory; name another file with \
             --history"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_in_the_end() {
        let mut history = History::create(Path::new("/dev/full")).unwrap();
        let (op, outcome) = (Op::Get, Outcome::Done);
        for client in 0..1000 {
            history.write(&Line { client, op, key: "k", value: None, invoke_ns: 1, return_ns: Some(2), outcome });
        }
        let refused = history.finish().unwrap_err().to_string();
        assert!(refused.contains("/dev/full: No space left on device; name another file"), "{refused}");
    }
}
