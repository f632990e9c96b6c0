//! A key-value store: bytes to bytes, in order of keys.
//!
//! Beside the ordinary keys lives a space of *decided* keys, write-once registers that only [`Operation::Decide`]
//! touches: the first value ever proposed for a key is its value for ever, and every proposer learns that one. And
//! there is [`Operation::Propose`], a value proposed for the log itself: its place is the result.
//!
//! Invariants: every key and value is within its limit; `digest` depends on the content alone, not on the way there.
//! Cloning is O(1), whatever the size; so is the digest, which is kept up to date entry by entry.
//!
//! Absent on purpose: expiry, types of value, transactions over many keys (the bank and SQL have them).

use std::fmt;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Context, Frozen, StateMachine};
use crate::codec;
use crate::paxos::Bytes;
use crate::paxos::state_machine::PART_BYTES;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// The longest value, in bytes; what an append leaves behind included.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most entries that one page of a scan holds.
pub const MAX_PAGE_ENTRIES: u32 = 10_000;
/// A page of a scan is closed once its keys and values reach this many bytes; it holds one entry at least.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Longer than any operation or question within the limits: a key, two values and their lengths.
const MAX_OPERATION_BYTES: usize = MAX_KEY_BYTES + 2 * MAX_VALUE_BYTES + 64;

/// What changes the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Gives a key a value. Answered by [`Answer::Ok`].
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Adds to the end of a key's value, which is empty if there is none. Answered by [`Answer::Appended`].
    Append {
        /// The key.
        key: Bytes,
        /// What is added.
        suffix: Bytes,
    },
    /// Removes a key. Answered by [`Answer::Deleted`].
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Compare and set: gives a key a value if it has the expected one. Answered by [`Answer::Swapped`] or
    /// [`Answer::NotSwapped`].
    Cas {
        /// The key.
        key: Bytes,
        /// What the key must hold; `None`: it must not exist.
        expected: Option<Bytes>,
        /// Its new value.
        value: Bytes,
    },
    /// Proposes a value for a write-once register. Answered by [`Answer::Decided`]: the first value ever proposed.
    Decide {
        /// The register.
        key: Bytes,
        /// The value proposed.
        value: Bytes,
    },
    /// A value for the log itself: only counted here. Answered by [`Answer::Ok`].
    Propose {
        /// The value.
        value: Bytes,
    },
}

/// What asks the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// A key's value. Answered by [`Answer::Value`].
    Get {
        /// The key.
        key: Bytes,
    },
    /// A register's value. Answered by [`Answer::Value`].
    Decided {
        /// The register.
        key: Bytes,
    },
    /// Entries in order of keys, a page at a time; without a prefix, a dump. Answered by [`Answer::Page`].
    Scan(Scan),
    /// How much there is. Answered by [`Answer::Counts`].
    Count,
}

/// Which entries a scan wants: those that satisfy every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scan {
    /// In which space.
    pub space: Space,
    /// Keys that begin so.
    pub prefix: Bytes,
    /// Keys from here on, inclusive.
    pub from: Bytes,
    /// Keys behind this one: the `next` of the page before.
    pub after: Option<Bytes>,
    /// At most so many; 0 stands for [`MAX_PAGE_ENTRIES`].
    pub limit: u32,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// Among the ordinary keys.
    #[default]
    Keys,
    /// Among the write-once registers.
    Decided,
}

/// What the store answers, to operations and queries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Ok,
    /// The suffix has been added.
    Appended {
        /// The whole value now.
        value: Bytes,
    },
    /// Whether there was something to delete.
    Deleted {
        /// The key existed.
        existed: bool,
    },
    /// The key held what was expected, and holds the new value now.
    Swapped,
    /// The key did not hold what was expected; nothing has changed.
    NotSwapped {
        /// What it holds.
        actual: Option<Bytes>,
    },
    /// What the register is decided on.
    Decided {
        /// The first value ever proposed for it.
        value: Bytes,
    },
    /// A key's value, if it exists.
    Value(Option<Bytes>),
    /// Entries in order of keys.
    Page {
        /// Keys and values.
        entries: Vec<(Bytes, Bytes)>,
        /// There may be more behind this key: ask with it as [`Scan::after`].
        next: Option<Bytes>,
    },
    /// How much there is.
    Counts {
        /// Ordinary keys.
        keys: u64,
        /// Registers decided.
        decided: u64,
        /// Values proposed for the log itself.
        proposed: u64,
    },
    /// The operation or query was not carried out; nothing has changed.
    Error(KvError),
}

impl Answer {
    /// Reads the encoding of an answer.
    ///
    /// # Errors
    /// The bytes are not an answer of this machine.
    pub fn decode(bytes: &[u8]) -> Result<Answer, codec::Malformed> {
        codec::decode(bytes, bytes.len())
    }
}

/// Why an operation or query was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvError {
    /// The bytes are no operation or query of this machine.
    Malformed,
    /// The key is longer than [`MAX_KEY_BYTES`].
    KeyTooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The value is, or would become, longer than [`MAX_VALUE_BYTES`].
    ValueTooLarge {
        /// Its length in bytes.
        length: u64,
    },
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::Malformed => f.write_str("not an operation of the key-value store"),
            KvError::KeyTooLarge { length } => {
                write!(f, "the key has {length} bytes, the limit is {MAX_KEY_BYTES}")
            }
            KvError::ValueTooLarge { length } => {
                write!(f, "the value has {length} bytes, the limit is {MAX_VALUE_BYTES}")
            }
        }
    }
}

impl std::error::Error for KvError {}

/// The key-value machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kv {
    keys: Table,
    decided: Table,
    proposed: u64,
}

impl Kv {
    /// Carries out an operation.
    ///
    /// # Errors
    /// A key or value is beyond its limit; nothing has changed.
    pub fn execute(&mut self, operation: Operation) -> Result<Answer, KvError> {
        match operation {
            Operation::Put { key, value } => {
                check(&key, value.len())?;
                self.keys.insert(key, value);
                Ok(Answer::Ok)
            }
            Operation::Append { key, suffix } => {
                let before = self.keys.value(&key).map_or(&[][..], |value| value);
                let length = before.len() + suffix.len();
                check(&key, length)?;
                let value = Bytes::from([before, &suffix].concat());
                self.keys.insert(key, value.clone());
                Ok(Answer::Appended { value })
            }
            Operation::Delete { key } => {
                check(&key, 0)?;
                Ok(Answer::Deleted { existed: self.keys.remove(&key) })
            }
            Operation::Cas { key, expected, value } => {
                check(&key, value.len())?;
                let actual = self.keys.value(&key);
                if actual != expected.as_ref() {
                    return Ok(Answer::NotSwapped { actual: actual.cloned() });
                }
                self.keys.insert(key, value);
                Ok(Answer::Swapped)
            }
            Operation::Decide { key, value } => {
                check(&key, value.len())?;
                if let Some(first) = self.decided.value(&key) {
                    return Ok(Answer::Decided { value: first.clone() });
                }
                self.decided.insert(key, value.clone());
                Ok(Answer::Decided { value })
            }
            Operation::Propose { value } => {
                check(&[], value.len())?;
                self.proposed += 1;
                Ok(Answer::Ok)
            }
        }
    }

    /// Answers a query.
    ///
    /// # Errors
    /// A key is beyond its limit.
    pub fn ask(&self, query: &Query) -> Result<Answer, KvError> {
        match query {
            Query::Get { key } => {
                check(key, 0)?;
                Ok(Answer::Value(self.keys.value(key).cloned()))
            }
            Query::Decided { key } => {
                check(key, 0)?;
                Ok(Answer::Value(self.decided.value(key).cloned()))
            }
            Query::Scan(scan) => Ok(match scan.space {
                Space::Keys => self.keys.page(scan),
                Space::Decided => self.decided.page(scan),
            }),
            Query::Count => Ok(Answer::Counts {
                keys: self.keys.entries.len() as u64,
                decided: self.decided.entries.len() as u64,
                proposed: self.proposed,
            }),
        }
    }
}

impl StateMachine for Kv {
    fn apply(&mut self, _: &Context, operation: &[u8]) -> Vec<u8> {
        let answer = codec::decode(operation, MAX_OPERATION_BYTES)
            .map_err(|_| KvError::Malformed)
            .and_then(|operation| self.execute(operation));
        codec::encode(&answer.unwrap_or_else(Answer::Error))
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let answer = codec::decode(question, MAX_OPERATION_BYTES)
            .map_err(|_| KvError::Malformed)
            .and_then(|query| self.ask(&query));
        codec::encode(&answer.unwrap_or_else(Answer::Error))
    }

    /// O(1): the frozen state shares everything with the store until that changes it.
    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(FrozenKv(self.clone()))
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let no_snapshot = || "not a snapshot of the key-value store".to_string();
        let head = parts.next().ok_or_else(no_snapshot)?;
        let Head { format, keys, decided, proposed } = codec::decode(&head, head.len()).map_err(|_| no_snapshot())?;
        if format != SNAPSHOT_FORMAT {
            return Err(format!("a key-value snapshot of format {format}; this version reads {SNAPSHOT_FORMAT}"));
        }
        let mut restored = Kv { proposed, ..Kv::default() };
        let mut last = None;
        for part in parts {
            let (space, entries): (Space, Vec<(Bytes, Bytes)>) =
                codec::decode(&part, part.len()).map_err(|_| no_snapshot())?;
            let table = match space {
                Space::Keys => &mut restored.keys,
                Space::Decided => &mut restored.decided,
            };
            for (key, value) in entries {
                check(&key, value.len()).map_err(|error| format!("a key-value snapshot beyond the limits: {error}"))?;
                let place = Some((space, key.clone()));
                if place <= last {
                    return Err("a key-value snapshot whose keys are not in order".to_string());
                }
                last = place;
                table.insert(key, value);
            }
        }
        if (restored.keys.entries.len() as u64, restored.decided.entries.len() as u64) != (keys, decided) {
            return Err("a key-value snapshot that is not whole".to_string());
        }
        *self = restored;
        Ok(())
    }

    fn empty(&self) -> Kv {
        Kv::default()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for table in [&self.keys, &self.decided] {
            hasher.update((table.entries.len() as u64).to_le_bytes());
            hasher.update(table.sum.0[0].to_le_bytes());
            hasher.update(table.sum.0[1].to_le_bytes());
        }
        hasher.update(self.proposed.to_le_bytes());
        hasher.finalize().into()
    }
}

/// A store that nobody changes any more.
struct FrozenKv(Kv);

impl Frozen for FrozenKv {
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        let FrozenKv(Kv { keys, decided, proposed }) = self;
        let lengths = (keys.entries.len() as u64, decided.entries.len() as u64);
        let head = Head { format: SNAPSHOT_FORMAT, keys: lengths.0, decided: lengths.1, proposed: *proposed };
        let tables = keys.parts(Space::Keys).chain(decided.parts(Space::Decided));
        Box::new(std::iter::once(codec::encode(&head)).chain(tables))
    }

    fn digest(&self) -> [u8; 32] {
        self.0.digest()
    }
}

/// The first part of a snapshot; the others are runs of entries, each with the space that they live in.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    keys: u64,
    decided: u64,
    proposed: u64,
}

/// An ordered map that knows the sum of its entries' hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Table {
    entries: OrdMap<Bytes, Held>,
    sum: Sum,
}

/// A value and the hash of its entry, so that replacing it hashes the new one only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    value: Bytes,
    hash: Sum,
}

impl Table {
    fn insert(&mut self, key: Bytes, value: Bytes) {
        let hash = Sum::of(&key, &value);
        self.sum = self.sum.plus(hash);
        if let Some(old) = self.entries.insert(key, Held { value, hash }) {
            self.sum = self.sum.minus(old.hash);
        }
    }

    fn remove(&mut self, key: &Bytes) -> bool {
        let Some(old) = self.entries.remove(key) else { return false };
        self.sum = self.sum.minus(old.hash);
        true
    }

    fn value(&self, key: &Bytes) -> Option<&Bytes> {
        self.entries.get(key).map(|held| &held.value)
    }

    fn page(&self, scan: &Scan) -> Answer {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let first = scan.from.clone().max(scan.prefix.clone());
        let start = match &scan.after {
            Some(after) if *after >= first => Excluded(after.clone()),
            _ => Included(first),
        };
        let limit = if scan.limit == 0 { MAX_PAGE_ENTRIES } else { scan.limit.min(MAX_PAGE_ENTRIES) };
        let mut entries: Vec<(Bytes, Bytes)> = Vec::new();
        let mut bytes = 0;
        for (key, held) in self.entries.range((start, Unbounded)).take_while(|(key, _)| key.starts_with(&scan.prefix)) {
            if entries.len() as u32 == limit || bytes >= MAX_PAGE_BYTES {
                let next = entries.last().map(|(key, _)| key.clone());
                return Answer::Page { entries, next };
            }
            bytes += key.len() + held.value.len();
            entries.push((key.clone(), held.value.clone()));
        }
        Answer::Page { entries, next: None }
    }

    /// The entries in order of keys, in runs that end where they reach a part's size.
    fn parts(&self, space: Space) -> impl Iterator<Item = Vec<u8>> + '_ {
        let mut entries = self.entries.iter();
        std::iter::from_fn(move || {
            let (mut run, mut bytes) = (Vec::new(), 0);
            while bytes < PART_BYTES
                && let Some((key, held)) = entries.next()
            {
                bytes += key.len() + held.value.len() + 16;
                run.push((key, &held.value));
            }
            (!run.is_empty()).then(|| codec::encode(&(space, run)))
        })
    }
}

/// The sum, modulo 2^128 in each half, of the BLAKE3 of every entry: a hash of a set that does not depend on the order
/// in which the set was built, and from which an entry can be taken out again. (Bellare and Micciancio, "A New Paradigm
/// for Collision-Free Hashing", 1997: AdHash.) It is there to find replicas that diverged, not to withstand someone who
/// chooses a hundred million entries in order to make two states look alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sum([u128; 2]);

impl Sum {
    fn of(key: &[u8], value: &[u8]) -> Sum {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
        let hash: [u8; 32] = hasher.finalize().into();
        let half = |from: usize| u128::from_le_bytes(std::array::from_fn(|i| hash[from + i]));
        Sum([half(0), half(16)])
    }

    fn plus(self, other: Sum) -> Sum {
        Sum([self.0[0].wrapping_add(other.0[0]), self.0[1].wrapping_add(other.0[1])])
    }

    fn minus(self, other: Sum) -> Sum {
        Sum([self.0[0].wrapping_sub(other.0[0]), self.0[1].wrapping_sub(other.0[1])])
    }
}

fn check(key: &[u8], value_length: usize) -> Result<(), KvError> {
    if key.len() > MAX_KEY_BYTES {
        Err(KvError::KeyTooLarge { length: key.len() as u64 })
    } else if value_length > MAX_VALUE_BYTES {
        Err(KvError::ValueTooLarge { length: value_length as u64 })
    } else {
        Ok(())
    }
}

const SNAPSHOT_FORMAT: u32 = 2;

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
