//! What a slot holds: a no-op, or a batch of commands with the leader's stamp.
//!
//! A [`Value`] is encoded once, by the proposer, and from then on is the same shared bytes: in both peers' frames, in
//! the journal, and in the executor, which reads its entries in place. A `Value` in memory is always well formed: bytes
//! from a peer or a disk are checked whole by [`Value::from_bytes`], so that nobody behind it needs to.
//!
//! ```text
//! no-op   0
//! batch   1 · time u64 · seed u64 · count u32 · entry × count          (integers little-endian)
//! entry   0 · token u128                                                opens a session
//!         1 · session u64 · sequence u64 · done_below u64 · length u32 · operation
//!         2 · session u64 · sequence u64 · done_below u64 · change      changes who the members are
//!         3 · node u32                                                  gives a newcomer its vote
//!         4 · save u8                                                   has every replica digest its state
//!         5 · node u32 · mark u64 · digest [u8; 32]                     what one of them found
//! change  0 · incarnation u128 · length u8 · name                       adds
//!         1 · length u8 · name                                          removes
//!         2 · incarnation u128 · length u8 · name                       replaces
//! ```

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ballot::NodeId;
use super::configuration::Incarnation;
use super::membership::Change;
use super::slot::Slot;

/// Immutable bytes, cheap to clone, that serialise as one run (not number by number). Few of them lie in place: most keys,
/// and most results, need no memory of their own.
#[derive(Clone)]
pub struct Bytes(Run);

#[derive(Clone)]
enum Run {
    Here { length: u8, bytes: [u8; MOST_HERE] },
    Shared(Arc<[u8]>),
}

/// So many lie in place, in no more room than a tagged pointer takes.
const MOST_HERE: usize = 22;

const _: () = assert!(size_of::<Bytes>() == 24);

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Run::Here { length, bytes } => &bytes[..usize::from(*length)],
            Run::Shared(bytes) => bytes,
        }
    }
}

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes(Run::Here { length: 0, bytes: [0; MOST_HERE] })
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Bytes) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Bytes) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::hash::Hash for Bytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        bytes.as_slice().into()
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Bytes {
        text.as_bytes().into()
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Bytes {
        text.into_bytes().into()
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes::filled(bytes.len(), |here| here.copy_from_slice(bytes))
    }
}

impl Bytes {
    /// So many bytes, written by `fill` over zeros.
    fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Bytes {
        if length > MOST_HERE {
            let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
            fill(Arc::get_mut(&mut bytes).expect("nobody else has it yet"));
            return Bytes(Run::Shared(bytes));
        }
        let mut bytes = [0; MOST_HERE];
        fill(&mut bytes[..length]);
        Bytes(Run::Here { length: length as u8, bytes })
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Visit)
    }
}

/// A session's number, given by the log entry that opened it. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// A command's number within its session, given by the client. The first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// A client's random name for a request to open a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u128);

/// One request that goes into the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Open a session; the reply numbers it.
    Open {
        /// By which the client knows the reply.
        token: Token,
    },
    /// Apply an operation, once.
    Apply {
        /// Whose command this is.
        session: SessionId,
        /// Its number; the same in every retry.
        sequence: Sequence,
        /// The client knows the outcome of every sequence below this one and never sends them again.
        done_below: Sequence,
        /// What the machine is to do; opaque to the protocol.
        operation: Bytes,
    },
    /// Change who the members are, once.
    Change {
        /// Whose command this is.
        session: SessionId,
        /// Its number; the same in every retry.
        sequence: Sequence,
        /// As in [`Command::Apply`].
        done_below: Sequence,
        /// What is to change.
        change: Change,
        /// Even if the members that are left do not answer. For the leader, which looks before it opens a slot; not in the
        /// log.
        force: bool,
    },
    /// Give a newcomer its vote. A leader's own; done once, however often it is in the log.
    Promote {
        /// The newcomer.
        node: NodeId,
    },
    /// Every replica digests its state as it is behind this slot (DESIGN section 4, rule 8). A leader's own.
    Mark {
        /// It is saved as a snapshot, too.
        save: bool,
    },
    /// What a replica found at a mark. A node's own; said again, it changes nothing.
    Report {
        /// The node.
        node: NodeId,
        /// The slot of the mark.
        mark: Slot,
        /// The digest of its state there.
        digest: [u8; 32],
    },
}

impl Command {
    /// How many bytes the command takes in a value.
    pub fn encoded_len(&self) -> usize {
        match self {
            Command::Open { .. } => 1 + 16,
            Command::Apply { operation, .. } => 1 + 24 + 4 + operation.len(),
            Command::Change { change, .. } => {
                let incarnation = if matches!(change, Change::Remove { .. }) { 0 } else { 16 };
                1 + 24 + 1 + incarnation + 1 + change.name().len()
            }
            Command::Promote { .. } => 1 + 4,
            Command::Mark { .. } => 1 + 1,
            Command::Report { .. } => 1 + 4 + 8 + 32,
        }
    }
}

/// A command inside a value, read in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// See [`Command::Open`].
    Open {
        /// By which the client knows the reply.
        token: Token,
    },
    /// See [`Command::Apply`].
    Apply {
        /// Whose command this is.
        session: SessionId,
        /// Its number.
        sequence: Sequence,
        /// Sequences below are done with.
        done_below: Sequence,
        /// What the machine is to do.
        operation: &'a [u8],
    },
    /// See [`Command::Change`].
    Change {
        /// Whose command this is.
        session: SessionId,
        /// Its number.
        sequence: Sequence,
        /// Sequences below are done with.
        done_below: Sequence,
        /// What is to change.
        change: Change,
    },
    /// See [`Command::Promote`].
    Promote {
        /// The newcomer.
        node: NodeId,
    },
    /// See [`Command::Mark`].
    Mark {
        /// It is saved as a snapshot, too.
        save: bool,
    },
    /// See [`Command::Report`].
    Report {
        /// The node.
        node: NodeId,
        /// The slot of the mark.
        mark: Slot,
        /// The digest of its state there.
        digest: [u8; 32],
    },
}

/// What the leader adds to a batch, so that machines need neither clock nor dice of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The leader's wall clock, in milliseconds since 1970. The executor never lets time go back.
    pub time_ms: u64,
    /// A fresh random number.
    pub seed: u64,
}

/// What a slot holds. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Bytes);

impl Value {
    /// The value that fills a hole.
    pub fn no_op() -> Value {
        Value(Bytes::from(vec![NO_OP]))
    }

    /// Whether members come or go with it.
    pub fn changes_members(&self) -> bool {
        self.entries().any(|entry| matches!(entry, Entry::Change { .. } | Entry::Promote { .. }))
    }

    /// A batch of commands, encoded.
    pub fn batch<'a>(stamp: Stamp, commands: impl IntoIterator<Item = &'a Command, IntoIter: Clone>) -> Value {
        let commands = commands.into_iter();
        let (count, length) =
            commands.clone().fold((0, 0), |(count, length), command| (count + 1_usize, length + command.encoded_len()));
        let count = u32::try_from(count).expect("a batch is bounded far below 2^32 commands");
        Value(Bytes::filled(BATCH_HEADER + length, |bytes| {
            let mut writer = Writer(bytes);
            writer.put(&[BATCH]);
            writer.put(&stamp.time_ms.to_le_bytes());
            writer.put(&stamp.seed.to_le_bytes());
            writer.put(&count.to_le_bytes());
            for command in commands {
                match command {
                    Command::Open { token } => {
                        writer.put(&[OPEN]);
                        writer.put(&token.0.to_le_bytes());
                    }
                    Command::Apply { session, sequence, done_below, operation } => {
                        writer.put(&[APPLY]);
                        writer.put(&session.0.to_le_bytes());
                        writer.put(&sequence.0.to_le_bytes());
                        writer.put(&done_below.0.to_le_bytes());
                        let length = u32::try_from(operation.len()).expect("an operation is bounded far below 4 GiB");
                        writer.put(&length.to_le_bytes());
                        writer.put(operation);
                    }
                    Command::Change { session, sequence, done_below, change, .. } => {
                        writer.put(&[CHANGE]);
                        writer.put(&session.0.to_le_bytes());
                        writer.put(&sequence.0.to_le_bytes());
                        writer.put(&done_below.0.to_le_bytes());
                        writer.put_change(change);
                    }
                    Command::Promote { node } => {
                        writer.put(&[PROMOTE]);
                        writer.put(&node.0.to_le_bytes());
                    }
                    Command::Mark { save } => writer.put(&[MARK, u8::from(*save)]),
                    Command::Report { node, mark, digest } => {
                        writer.put(&[REPORT]);
                        writer.put(&node.0.to_le_bytes());
                        writer.put(&mark.0.to_le_bytes());
                        writer.put(digest);
                    }
                }
            }
            assert!(writer.0.is_empty(), "a command takes as many bytes as it says");
        }))
    }

    /// Takes bytes from outside, if they are a well-formed value to the last byte.
    pub fn from_bytes(bytes: Bytes) -> Result<Value, Malformed> {
        let mut reader = Reader(&bytes);
        match reader.byte()? {
            NO_OP => {}
            BATCH => {
                reader.u64()?;
                reader.u64()?;
                for _ in 0..reader.u32()? {
                    reader.entry()?;
                }
            }
            _ => return Err(Malformed),
        }
        if reader.0.is_empty() { Ok(Value(bytes)) } else { Err(Malformed) }
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether this is the value that fills a hole.
    pub fn is_no_op(&self) -> bool {
        self.0[0] == NO_OP
    }

    /// The leader's stamp; none for a no-op.
    pub fn stamp(&self) -> Option<Stamp> {
        let mut reader = Reader(&self.0[1..]);
        (!self.is_no_op()).then(|| Stamp {
            time_ms: reader.u64().expect("a value is well formed"),
            seed: reader.u64().expect("a value is well formed"),
        })
    }

    /// The commands, in order.
    pub fn entries(&self) -> Entries<'_> {
        if self.is_no_op() {
            return Entries { reader: Reader(&[]), left: 0 };
        }
        let mut reader = Reader(&self.0[BATCH_HEADER - 4..]);
        let left = reader.u32().expect("a value is well formed");
        Entries { reader, left }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_no_op() { f.write_str("no-op") } else { f.debug_list().entries(self.entries()).finish() }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Value::from_bytes(Bytes::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bytes that are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed value")
    }
}

impl std::error::Error for Malformed {}

/// The commands of a value, read in place.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.reader.entry().expect("a value is well formed"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Writes one run after the other.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, run: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut(run.len());
        here.copy_from_slice(run);
        self.0 = rest;
    }

    fn put_change(&mut self, change: &Change) {
        match change {
            Change::Add { incarnation, .. } => {
                self.put(&[ADD]);
                self.put(&incarnation.0.to_le_bytes());
            }
            Change::Remove { .. } => self.put(&[REMOVE]),
            Change::Replace { incarnation, .. } => {
                self.put(&[REPLACE]);
                self.put(&incarnation.0.to_le_bytes());
            }
        }
        let name = change.name().as_bytes();
        self.put(&[u8::try_from(name.len()).expect("names are short: doors check them")]);
        self.put(name);
    }
}

#[derive(Clone, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> Result<Entry<'a>, Malformed> {
        match self.byte()? {
            OPEN => Ok(Entry::Open { token: Token(u128::from_le_bytes(self.array()?)) }),
            APPLY => {
                let session = SessionId(self.u64()?);
                let sequence = Sequence(self.u64()?);
                let done_below = Sequence(self.u64()?);
                let length = self.u32()? as usize;
                Ok(Entry::Apply { session, sequence, done_below, operation: self.take(length)? })
            }
            CHANGE => {
                let session = SessionId(self.u64()?);
                let sequence = Sequence(self.u64()?);
                let done_below = Sequence(self.u64()?);
                Ok(Entry::Change { session, sequence, done_below, change: self.change()? })
            }
            PROMOTE => Ok(Entry::Promote { node: NodeId(self.u32()?) }),
            MARK => match self.byte()? {
                save @ (0 | 1) => Ok(Entry::Mark { save: save == 1 }),
                _ => Err(Malformed),
            },
            REPORT => {
                let (node, mark) = (NodeId(self.u32()?), Slot(self.u64()?));
                Ok(Entry::Report { node, mark, digest: self.array()? })
            }
            _ => Err(Malformed),
        }
    }

    fn change(&mut self) -> Result<Change, Malformed> {
        let kind = self.byte()?;
        let incarnation = if kind == REMOVE { Incarnation(0) } else { Incarnation(u128::from_le_bytes(self.array()?)) };
        let length = usize::from(self.byte()?);
        let name = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?.to_owned();
        match kind {
            ADD => Ok(Change::Add { name, incarnation }),
            REMOVE => Ok(Change::Remove { name }),
            REPLACE => Ok(Change::Replace { name, incarnation }),
            _ => Err(Malformed),
        }
    }
}

const NO_OP: u8 = 0;
const BATCH: u8 = 1;
const OPEN: u8 = 0;
const APPLY: u8 = 1;
const CHANGE: u8 = 2;
const PROMOTE: u8 = 3;
const MARK: u8 = 4;
const REPORT: u8 = 5;
const ADD: u8 = 0;
const REMOVE: u8 = 1;
const REPLACE: u8 = 2;
const BATCH_HEADER: usize = 1 + 8 + 8 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Command> {
        vec![
            Command::Open { token: Token(7) },
            Command::Apply {
                session: SessionId(1),
                sequence: Sequence(2),
                done_below: Sequence(1),
                operation: Bytes::from(&b"put"[..]),
            },
            change(Change::Add { name: "n4".into(), incarnation: Incarnation(9) }),
            change(Change::Remove { name: "n2".into() }),
            change(Change::Replace { name: "n3".into(), incarnation: Incarnation(10) }),
            Command::Promote { node: NodeId(4) },
            Command::Mark { save: true },
            Command::Report { node: NodeId(4), mark: Slot(7), digest: [8; 32] },
        ]
    }

    fn change(change: Change) -> Command {
        Command::Change { session: SessionId(1), sequence: Sequence(3), done_below: Sequence(1), change, force: false }
    }

    #[test]
    fn a_batch_reads_back_in_place() {
        let value = Value::batch(Stamp { time_ms: 5, seed: 6 }, &sample());
        assert_eq!(value.stamp(), Some(Stamp { time_ms: 5, seed: 6 }));
        let entries: Vec<Entry<'_>> = value.entries().collect();
        assert_eq!(entries[0], Entry::Open { token: Token(7) });
        assert!(matches!(entries[1], Entry::Apply { operation: b"put", .. }));
        let Entry::Change { change, .. } = &entries[4] else { panic!("a change: {:?}", entries[4]) };
        assert_eq!(*change, Change::Replace { name: "n3".into(), incarnation: Incarnation(10) });
        assert_eq!(entries[6], Entry::Mark { save: true });
        assert_eq!(entries[7], Entry::Report { node: NodeId(4), mark: Slot(7), digest: [8; 32] });
        assert_eq!(value.entries().len(), 8);
        let length: usize = sample().iter().map(Command::encoded_len).sum();
        assert_eq!(value.as_bytes().len(), BATCH_HEADER + length, "what a command takes is told before it is encoded");
        assert_eq!(Value::from_bytes(value.as_bytes().clone()), Ok(value));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = Value::batch(Stamp::default(), &sample()).as_bytes().to_vec();
        for length in 0..bytes.len() {
            assert_eq!(Value::from_bytes(bytes[..length].into()), Err(Malformed), "cut at {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Value::from_bytes(longer.into()), Err(Malformed), "a byte too many");
    }

    #[test]
    fn bytes_are_made_from_text_and_shown_as_text() {
        let text = || "a\"\n";
        assert_eq!(Bytes::from(text()).to_vec(), text().as_bytes());
        assert_eq!(Bytes::from(text().to_owned()), Bytes::from(text().as_bytes()));
        assert_eq!(format!("{:?}", Bytes::from(text())), r#""a\"\n""#);
    }

    #[test]
    fn a_no_op_has_no_commands() {
        assert!(Value::no_op().is_no_op());
        assert_eq!(Value::no_op().entries().len(), 0);
        assert_eq!(Value::no_op().stamp(), None);
        assert_eq!(Value::from_bytes(Value::no_op().as_bytes().clone()), Ok(Value::no_op()));
        assert_eq!(format!("{:?}", Value::no_op()), "no-op");
    }

    #[test]
    fn a_value_travels_as_one_run_of_bytes_and_is_checked_on_arrival() {
        let value = Value::batch(Stamp { time_ms: 5, seed: 6 }, &sample());
        let encoded = bincode::serialize(&value).expect("plain bytes");
        assert_eq!(encoded.len(), 8 + value.as_bytes().len());
        assert_eq!(bincode::deserialize::<Value>(&encoded).expect("whole"), value);
        let wrong = bincode::serialize(&Bytes::from("no value")).expect("plain bytes");
        assert_eq!(bincode::deserialize::<Value>(&wrong).expect_err("malformed").to_string(), "malformed value");
        let number = serde::de::value::U64Deserializer::<serde::de::value::Error>::new(7);
        let refused = Bytes::deserialize(number).expect_err("a number");
        assert_eq!(refused.to_string(), "invalid type: integer `7`, expected bytes");
    }
}
