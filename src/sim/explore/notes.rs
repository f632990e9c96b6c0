//! The machine that is explored: a few keys, each with a text that grows.
//!
//! Every operation carries its own name (client, number), and the machine asserts that none is applied twice: "exactly
//! once" is checked where it matters.

use std::collections::{BTreeMap, BTreeSet};

use crate::paxos::{Bytes, Context, Frozen, StateMachine, Whole};

use super::fingerprint;

/// What a client may want.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Put this text in place of the key's. Answered by the new text.
    Put(u8, &'static str),
    /// Add this to the key's text. Answered by the whole text.
    Append(u8, &'static str),
    /// The key's text, through the log.
    Get(u8),
    /// The key's text, by a read that leaves the log alone.
    Read(u8),
}

impl Wish {
    /// The key that it is about.
    pub fn key(&self) -> u8 {
        match self {
            Wish::Put(key, _) | Wish::Append(key, _) | Wish::Get(key) | Wish::Read(key) => *key,
        }
    }

    /// Changes the text as this wish does, and answers it.
    pub fn act(&self, text: &mut Vec<u8>) -> Vec<u8> {
        match self {
            Wish::Put(_, new) => *text = new.as_bytes().to_vec(),
            Wish::Append(_, more) => text.extend_from_slice(more.as_bytes()),
            Wish::Get(_) | Wish::Read(_) => {}
        }
        text.clone()
    }

    /// The operation, or the question of a read.
    pub fn encode(&self, client: u8, number: u8) -> Bytes {
        let (kind, text) = match self {
            Wish::Put(_, text) => (b'p', *text),
            Wish::Append(_, text) => (b'a', *text),
            Wish::Get(_) => (b'g', ""),
            Wish::Read(_) => (b'r', ""),
        };
        let mut bytes = vec![kind, self.key(), client, number];
        bytes.extend_from_slice(text.as_bytes());
        bytes.into()
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wish::Put(key, text) => write!(f, "put k{key} {text}"),
            Wish::Append(key, text) => write!(f, "append k{key} {text}"),
            Wish::Get(key) => write!(f, "get k{key}"),
            Wish::Read(key) => write!(f, "read k{key}"),
        }
    }
}

/// The texts, and what has been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes {
    texts: BTreeMap<u8, Vec<u8>>,
    applied: BTreeSet<(u8, u8)>,
}

impl StateMachine for Notes {
    fn apply(&mut self, _context: &Context, operation: &[u8]) -> Vec<u8> {
        let [kind, key, client, number, more @ ..] = operation else { return Vec::new() };
        assert!(self.applied.insert((*client, *number)), "command {number} of client {client} is executed twice");
        let text = self.texts.entry(*key).or_default();
        match kind {
            b'p' => *text = more.to_vec(),
            b'a' => text.extend_from_slice(more),
            _ => {}
        }
        text.clone()
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        question.get(1).and_then(|key| self.texts.get(key)).cloned().unwrap_or_default()
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        let bytes = bincode::serialize(&(&self.texts, &self.applied)).expect("plain bytes serialise");
        Whole::freeze(bytes, self.digest())
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let bytes = Whole::restore(parts);
        (self.texts, self.applied) = bincode::deserialize(&bytes).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn empty(&self) -> Notes {
        Notes::default()
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&fingerprint::of(self).to_le_bytes());
        digest
    }
}
