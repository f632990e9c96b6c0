//! What a candidate gathers: the temporary log of phase 1.
//!
//! A promise counts when all its parts are there. Of several votes for a slot the one with the highest ballot wins
//! ("Paxos Made Simple", section 2.2, P2c). Votes that an acceptor left out because it has settled those slots are
//! covered by `settled`: the candidate proposes nothing at or below the highest settled watermark of its quorum (DESIGN
//! section 4, rule 1). A short run that shows why:
//!
//! ```text
//! n1, n2 chose X in slot 5, executed it, and forgot their votes        n1 stops
//! n3 missed slot 5 and prepares: n2 reports no vote in slot 5, n3 neither
//! n3 takes slot 5 for a hole and fills it. Had it heard "settled up to 5", it would have asked n2 for X.
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::configuration::Configuration;
use super::message::{Promise, Vote};
use super::quorum::Tally;
use super::settings::MAX_OPEN_SLOTS;
use super::slot::Slot;
use super::value::Value;

/// Promises for one ballot, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promises {
    tally: Tally,
    /// Promises that are not whole yet.
    partial: BTreeMap<NodeId, Partial>,
    votes: BTreeMap<Slot, (Ballot, Value)>,
    /// The highest settled watermark of those counted, and whose it is.
    settled: (Slot, NodeId),
}

/// What has come of one promise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Partial {
    /// Two answers to a repeated Prepare may be cut differently, if the acceptor settled more in between. Parts are put
    /// together only if both numbers agree: then the votes above `settled_upto` are the same, because an acceptor that
    /// has promised a ballot votes in no lower one, and in this one nothing is proposed in the slots asked about yet.
    settled_upto: Slot,
    parts: u32,
    arrived: BTreeSet<u32>,
    votes: Vec<Vote>,
}

/// What a part of a promise did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// More is needed.
    Not,
    /// A quorum has promised, just now.
    Quorum,
    /// The part makes no sense: nothing of it is believed.
    Absurd,
}

impl Promises {
    /// Adds a part of a promise. `from` is the first slot asked about.
    pub fn count(&mut self, node: NodeId, promise: Promise, from: Slot, configuration: &Configuration) -> Counted {
        let Promise { settled_upto, votes, part, parts, .. } = promise;
        let last = votes.last().map_or(Slot::ZERO, |vote| vote.slot);
        let bounded = last < from.max(settled_upto).plus(MAX_OPEN_SLOTS) && u64::from(parts) <= MAX_OPEN_SLOTS;
        if !configuration.contains(node)
            || part >= parts
            || !bounded
            || votes.windows(2).any(|pair| pair[0].slot >= pair[1].slot)
        {
            return Counted::Absurd;
        }
        if self.tally.contains(node) {
            return Counted::Not;
        }
        let partial = self.partial.entry(node).or_default();
        if (partial.settled_upto, partial.parts) != (settled_upto, parts) {
            *partial = Partial { settled_upto, parts, ..Partial::default() };
        }
        if partial.arrived.insert(part) {
            partial.votes.extend(votes);
        }
        if partial.arrived.len() < parts as usize {
            return Counted::Not;
        }
        // Votes count with their whole promise: they lie within bounds of its settled watermark only.
        let votes = self.partial.remove(&node).map(|partial| partial.votes).unwrap_or_default();
        for vote in votes {
            let merged = self.votes.entry(vote.slot).or_insert_with(|| (vote.ballot, vote.value.clone()));
            if vote.ballot > merged.0 {
                *merged = (vote.ballot, vote.value);
            }
        }
        self.settled = self.settled.max((settled_upto, node));
        if self.tally.count(node, configuration) { Counted::Quorum } else { Counted::Not }
    }

    /// Whether a quorum has promised.
    pub fn is_quorum(&self) -> bool {
        self.tally.is_quorum()
    }

    /// Whether all of a node's promise is there.
    pub fn has(&self, node: NodeId) -> bool {
        self.tally.contains(node)
    }

    /// How many bytes of values it holds.
    pub fn held_bytes(&self) -> usize {
        let partial = self.partial.values().flat_map(|partial| partial.votes.iter().map(|vote| &vote.value));
        partial.chain(self.votes.values().map(|(_, value)| value)).map(|value| value.as_bytes().len()).sum()
    }

    /// Nothing at or below this slot may be proposed; that node can supply it.
    pub fn settled(&self) -> (Slot, NodeId) {
        self.settled
    }

    /// What must be proposed from `first` on: the merged votes, with no-ops in the holes. Says how many of each.
    pub fn into_log(mut self, first: Slot) -> (Vec<(Slot, Value)>, u64, u64) {
        let votes = self.votes.split_off(&first);
        let merged = votes.len() as u64;
        let last = votes.last_key_value().map_or(first.previous(), |(slot, _)| *slot);
        let mut log = Vec::with_capacity(votes.len());
        let mut votes = votes.into_iter().peekable();
        for slot in first.previous().above(last) {
            let value = votes.next_if(|(voted, _)| *voted == slot).map_or_else(Value::no_op, |(_, (_, value))| value);
            log.push((slot, value));
        }
        let holes = log.len() as u64 - merged;
        (log, merged, holes)
    }
}
