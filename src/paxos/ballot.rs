//! Ballots: the logical time of Paxos.
//!
//! A ballot is a pair (round, node), ordered by round and then by node, so that two nodes never share one ("Paxos Made
//! Simple", section 2.2: different proposers choose their numbers from disjoint sets). [`Ballot::ZERO`] is below every
//! ballot that a node can use: it stands for "promised nothing yet".

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number that a configuration assigns to a member. It is never used again for another member or another disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A proposal number: unique to its node, ordered by round first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// The attempt; a candidate takes one above every round it has seen.
    pub round: u64,
    /// The node that owns this ballot, and leads if a quorum promises it.
    pub node: NodeId,
}

impl Ballot {
    /// Below every ballot in use.
    pub const ZERO: Ballot = Ballot { round: 0, node: NodeId(0) };

    /// The ballot of `node` in `round`.
    pub const fn new(round: u64, node: NodeId) -> Ballot {
        Ballot { round, node }
    }

    /// The least ballot of `node` that is above this one. Saturates at the last round, which no cluster reaches.
    pub fn next_for(self, node: NodeId) -> Ballot {
        Ballot { round: self.round.saturating_add(1), node }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ballot_is_written_as_its_round_and_its_node() {
        assert_eq!(Ballot::new(7, NodeId(3)).to_string(), "7.3");
    }
}
