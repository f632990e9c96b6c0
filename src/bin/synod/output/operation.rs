//! Bytes, and the operations in the log, in a form that a person can read.
//!
//! A node reports the first kilobyte of an operation only, so that what is decoded here may be cut ([`Part`]). What is no
//! operation of a machine that is known here is shown as the bytes that it is.

use synod::machine::MachineId;
use synod::machine::composite::untag;
use synod::net::report::EntryReport;
use synod::paxos::Change;

use crate::words;

/// Bytes as text if they are printable UTF-8, else escaped and in quotes.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => format!("\"{}\"", text.escape_debug()),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// As [`printable`], but no longer than fits in a table.
pub fn brief(bytes: &[u8]) -> String {
    shortened(printable(bytes))
}

/// What an operation does, as far as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// The command of the REPL that makes it.
    pub command: &'static str,
    /// What the command was given: its name and what it is.
    pub arguments: Vec<(&'static str, Argument<'a>)>,
    /// How many more there are of its kind in the same operation.
    pub more: u64,
}

/// What a command was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// It is said to be absent.
    Absent,
    /// A key, a value, a name.
    Bytes(Part<'a>),
    /// An amount.
    Number(i64),
}

/// A run of bytes whose end may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What is there of it.
    pub bytes: &'a [u8],
    /// Its whole length.
    pub length: u64,
}

impl Part<'_> {
    /// Whether its end is missing.
    pub fn is_cut(&self) -> bool {
        (self.bytes.len() as u64) < self.length
    }

    /// The text that it is; of one whose end is missing, without the character that the cut went through.
    pub fn text(&self) -> Option<&str> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) => Some(text),
            Err(error) if self.is_cut() && error.error_len().is_none() => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        }
    }
}

/// Reads an operation as the log holds it. The form is that of the machines' `Operation`, which journals hold: the
/// variant as a `u32`, then each field; a run of bytes is its length as a `u64` and itself; integers are little-endian.
pub fn operation(bytes: &[u8]) -> Option<Operation<'_>> {
    match untag(bytes)? {
        (MachineId::Kv, rest) => of_kv(Cut(rest)),
        (MachineId::Bank, rest) => of_bank(Cut(rest)),
        (MachineId::Sql, _) => None,
    }
}

fn of_kv(mut rest: Cut<'_>) -> Option<Operation<'_>> {
    let (command, names): (_, &[&str]) = match u32::from_le_bytes(rest.take()?) {
        0 => ("put", &["key", "value"]),
        1 => ("append", &["key", "value"]),
        2 => ("delete", &["key"]),
        3 => ("cas", &["key", "expected", "value"]),
        4 => ("paxos", &["key", "value"]),
        5 => ("propose", &["value"]),
        _ => return None,
    };
    let mut arguments = Vec::new();
    for name in names {
        let argument = if *name == "expected" { rest.perhaps() } else { rest.run().map(Argument::Bytes) };
        // What is beyond the cut is nothing of which not even the length is known.
        let Some(argument) = argument else { break };
        arguments.push((*name, argument));
    }
    Some(Operation { command, arguments, more: 0 })
}

/// The first account, or transfer, stands for all: names are short, and it is never cut.
fn of_bank(mut rest: Cut<'_>) -> Option<Operation<'_>> {
    match u32::from_le_bytes(rest.take()?) {
        0 => {
            let more = u64::from_le_bytes(rest.take()?).checked_sub(1)?;
            Some(Operation { command: "open", arguments: vec![("account", Argument::Bytes(rest.run()?))], more })
        }
        1 => {
            let more = u64::from_le_bytes(rest.take()?).checked_sub(1)?;
            let _id: [u8; 16] = rest.take()?;
            let (from, to) = (rest.perhaps()?, rest.perhaps()?);
            let amount = ("amount", Argument::Number(i64::from_le_bytes(rest.take()?)));
            let (command, arguments) = match (from, to) {
                (Argument::Absent, to) => ("deposit", vec![("account", to), amount]),
                (from, Argument::Absent) => ("withdraw", vec![("account", from), amount]),
                (from, to) => ("transfer", vec![("from", from), ("to", to), amount]),
            };
            Some(Operation { command, arguments, more })
        }
        2 => Some(Operation { command: "reset", arguments: Vec::new(), more: 0 }),
        _ => None,
    }
}

/// What is left to read.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn perhaps(&mut self) -> Option<Argument<'a>> {
        match self.take()? {
            [0] => Some(Argument::Absent),
            [1] => self.run().map(Argument::Bytes),
            _ => None,
        }
    }

    fn run(&mut self) -> Option<Part<'a>> {
        let length = u64::from_le_bytes(self.take()?);
        let there = usize::try_from(length).unwrap_or(usize::MAX).min(self.0.len());
        let (bytes, rest) = self.0.split_at(there);
        self.0 = rest;
        Some(Part { bytes, length })
    }
}

/// As one would type it.
fn typed(operation: &Operation<'_>) -> String {
    let mut line = operation.command.to_owned();
    for (_, argument) in &operation.arguments {
        line.push(' ');
        match argument {
            Argument::Absent => line.push_str("--absent"),
            Argument::Bytes(part) => line.push_str(&word(part)),
            Argument::Number(number) => line.push_str(&number.to_string()),
        }
    }
    match operation.more {
        0 => line,
        more => format!("{line} and {more} more"),
    }
}

fn word(part: &Part<'_>) -> String {
    let Some(text) = part.text().filter(|text| !text.chars().any(char::is_control)) else {
        let escaped = printable(part.text().map_or(part.bytes, str::as_bytes));
        return ended(&escaped, part, str::to_owned);
    };
    ended(text, part, words::quote)
}

/// No longer than a word may be in the log; and if that, or the node, cut something off, how long the whole is.
fn ended(text: &str, part: &Part<'_>, show: impl Fn(&str) -> String) -> String {
    match text.char_indices().nth(MOST_IN_A_WORD) {
        Some((end, _)) => format!("{}… ({} bytes)", show(&text[..end]), part.length),
        None if part.is_cut() => format!("{}… ({} bytes)", show(text), part.length),
        None => show(text),
    }
}

/// What a command in the log is: `s3#9 put k v` is the ninth command of session 3.
pub fn entry(entry: &EntryReport) -> String {
    match entry {
        EntryReport::Open { .. } => "open session".to_owned(),
        EntryReport::Apply { session, sequence, operation: bytes, length } => {
            let shown = match operation(bytes) {
                Some(operation) => typed(&operation),
                None => word(&Part { bytes, length: *length }),
            };
            format!("s{}#{} {shown}", session.0, sequence.0)
        }
        EntryReport::Change { session, sequence, change } => {
            format!("s{}#{} member {} {}", session.0, sequence.0, change_word(change), change.name())
        }
        EntryReport::Promote { node } => format!("member {node} gets its vote"),
        EntryReport::Mark { save: false } => "mark".to_owned(),
        EntryReport::Mark { save: true } => "mark, saved as a snapshot".to_owned(),
        EntryReport::Report { node, mark, digest } => {
            let start: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("member {node} reports {start} at mark {mark}")
        }
    }
}

/// What a change does to its member, as the command is called.
pub fn change_word(change: &Change) -> &'static str {
    match change {
        Change::Add { .. } => "add",
        Change::Remove { .. } => "remove",
        Change::Replace { .. } => "replace",
    }
}

/// Text that is no longer than fits in a table.
pub fn shortened(text: String) -> String {
    match text.char_indices().nth(MOST_IN_A_CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Characters.
const MOST_IN_A_CELL: usize = 60;
/// Characters, of one argument in the log.
const MOST_IN_A_WORD: usize = 24;

#[cfg(test)]
mod tests {
    use synod::machine::kv;
    use synod::paxos::{Bytes, Sequence, SessionId};

    use super::*;

    fn shown(encoded: &[u8], cut: usize) -> String {
        entry(&EntryReport::Apply {
            session: SessionId(1),
            sequence: Sequence(2),
            operation: Bytes::from(&encoded[..cut.min(encoded.len())]),
            length: encoded.len() as u64,
        })
    }

    fn of(operation: &kv::Operation) -> String {
        shown(&MachineId::Kv.encode(operation), usize::MAX)
    }

    fn bytes(text: &str) -> Bytes {
        Bytes::from(text.as_bytes())
    }

    #[test]
    fn every_operation_is_shown_as_it_is_typed() {
        let (key, value) = (bytes("k"), bytes("dark blue"));
        let (k, v) = (|| key.clone(), || value.clone());
        assert_eq!(of(&kv::Operation::Put { key: k(), value: v() }), "s1#2 put k 'dark blue'");
        assert_eq!(of(&kv::Operation::Append { key: k(), suffix: bytes("") }), "s1#2 append k ''");
        assert_eq!(of(&kv::Operation::Delete { key: k() }), "s1#2 delete k");
        assert_eq!(of(&kv::Operation::Cas { key: k(), expected: None, value: k() }), "s1#2 cas k --absent k");
        let expected = Some(bytes("it's"));
        assert_eq!(of(&kv::Operation::Cas { key: k(), expected, value: k() }), "s1#2 cas k \"it's\" k");
        assert_eq!(of(&kv::Operation::Decide { key: k(), value: k() }), "s1#2 paxos k k");
        assert_eq!(of(&kv::Operation::Propose { value: bytes("hello") }), "s1#2 propose hello");
        assert_eq!(of(&kv::Operation::Propose { value: bytes("a\nb") }), "s1#2 propose \"a\\nb\"");
    }

    #[test]
    fn the_first_transfer_stands_for_all() {
        use synod::machine::bank::{AccountName, Operation, Transfer, TransferId};
        let shown = |operation: &Operation| shown(&MachineId::Bank.encode(operation), 1024);
        let name = |text: &str| text.parse::<AccountName>().unwrap();
        let transfer = Transfer::between(TransferId(7), name("A"), name("Ann Lee"), -3);
        let all = |transfers: Vec<Transfer>| shown(&Operation::Transfer { transfers });
        assert_eq!(all(vec![transfer.clone()]), "s1#2 transfer A 'Ann Lee' -3");
        assert_eq!(all(vec![transfer; 1000]), "s1#2 transfer A 'Ann Lee' -3 and 999 more");
        assert_eq!(all(vec![Transfer::deposit(TransferId(8), name("B"), 5)]), "s1#2 deposit B 5");
        assert_eq!(all(vec![Transfer::withdrawal(TransferId(9), name("B"), 5)]), "s1#2 withdraw B 5");
        assert_eq!(shown(&Operation::Open { accounts: vec![name("x"), name("y")] }), "s1#2 open x and 1 more");
        assert_eq!(shown(&Operation::Reset), "s1#2 reset");
    }

    #[test]
    fn what_is_cut_is_shown_as_far_as_it_goes() {
        let long = bytes(&"ä".repeat(1000));
        let encoded =
            MachineId::Kv.encode(&kv::Operation::Cas { key: bytes("k"), expected: Some(long.clone()), value: long });
        for cut in 0..encoded.len() {
            let line = shown(&encoded, cut);
            assert!(line.chars().count() < 140, "cut at {cut}: {line}");
            if cut > 30 {
                assert!(line.starts_with("s1#2 cas k 'ä"), "cut at {cut}: {line}");
            }
        }
        assert!(shown(&encoded, 1024).ends_with("ä'… (2000 bytes)"));
    }

    #[test]
    fn what_is_no_operation_is_shown_as_bytes() {
        assert_eq!(shown(&[0xff, b'a'], usize::MAX), "s1#2 \"\\xffa\"");
        assert_eq!(shown(b"\x01\x09\0\0\0", usize::MAX), "s1#2 \"\\u{1}\\t\\0\\0\\0\"");
        assert_eq!(shown(b"", usize::MAX), "s1#2 ''");
    }
}
