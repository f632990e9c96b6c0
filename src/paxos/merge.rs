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
use super::message::Promise;
use super::quorum::Tally;
use super::settings::MAX_OPEN_SLOTS;
use super::slot::Slot;
use super::value::Value;

/// Promises for one ballot, merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promises {
    tally: Tally,
    /// Parts that came of promises that are not whole yet.
    parts: BTreeMap<NodeId, BTreeSet<u32>>,
    votes: BTreeMap<Slot, (Ballot, Value)>,
    /// The highest settled watermark of those counted, and whose it is.
    settled: (Slot, NodeId),
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
        let sensible = part < parts && last < from.max(settled_upto).plus(MAX_OPEN_SLOTS);
        if !sensible || votes.windows(2).any(|pair| pair[0].slot >= pair[1].slot) {
            return Counted::Absurd;
        }
        if self.tally.contains(node) {
            return Counted::Not;
        }
        // Votes count before their promise is whole: they are true, and more votes never mislead.
        for vote in votes {
            let merged = self.votes.entry(vote.slot).or_insert_with(|| (vote.ballot, vote.value.clone()));
            if vote.ballot > merged.0 {
                *merged = (vote.ballot, vote.value);
            }
        }
        let arrived = self.parts.entry(node).or_default();
        arrived.insert(part);
        if arrived.len() < parts as usize {
            return Counted::Not;
        }
        self.parts.remove(&node);
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
