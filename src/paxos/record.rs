//! What is durable: the records of the journal.
//!
//! Each kind has one owner, who is the only one to write it and the only one to fold it back at recovery, through the
//! very `apply_record` that it calls while running.
//!
//! | record | owner | why it must survive |
//! |---|---|---|
//! | `Founded` | node | who we are; ballots and quorums use these ids |
//! | `Promise`, `Vote` | acceptor | "Paxos Made Simple" section 2.4: an acceptor must remember them to answer as before |
//! | `Reserved` | proposer | a restart must never use a ballot again |
//! | `Chosen` | learner | a chosen value that our own vote does not tell |
//! | `ChosenUpto` | learner, lazily | saves asking again after a restart |
//! | `Confirmed` | admission, lazily | before it, the cluster might still be founded differently elsewhere |
//! | `Amnesiac` | admission | what was lost must not look whole once enough new batches are there |
//! | `Witnessed` | admission, lazily | tells a peer that its journal has lost what it acknowledged |
//! | `Before` | the journal itself | says what stood in batches before it, should they rot |

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::configuration::Configuration;
use super::slot::Slot;
use super::value::Value;

/// The number of a batch in one node's journal; each is written after the sync of the one before has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchNumber(pub u64);

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Record {
    /// The founding configuration and this node's id in it.
    Founded {
        /// The cluster's name.
        cluster: String,
        /// Our own id.
        node: NodeId,
        /// The voters.
        configuration: Configuration,
    },
    /// The acceptor promised this ballot: it answers nothing lower.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
    },
    /// The acceptor voted.
    Vote {
        /// For this slot,
        slot: Slot,
        /// in this ballot (which is also a promise of it),
        ballot: Ballot,
        /// for this value.
        value: Value,
    },
    /// The proposer may use this ballot.
    Reserved {
        /// Ours, and never to be reserved again.
        ballot: Ballot,
    },
    /// A value learned otherwise than by our own vote in the announced ballot.
    Chosen {
        /// The slot.
        slot: Slot,
        /// A ballot in which it is known to be chosen.
        ballot: Ballot,
        /// What was chosen.
        value: Value,
    },
    /// Slots up to here are chosen: where our vote's ballot is at least `ballot`, the value is the vote's; elsewhere a
    /// `Chosen` record stands before this one.
    ChosenUpto {
        /// The announced ballot.
        ballot: Ballot,
        /// Inclusive.
        upto: Slot,
    },
    /// A peer told us that its journal is durable up to this batch.
    Witnessed {
        /// The peer.
        node: NodeId,
        /// The highest number it named.
        batch: BatchNumber,
    },
    /// Every founder has shown that it recorded the same founding.
    Confirmed {},
    /// This journal has lost what it acknowledged: the node never votes with it again.
    Amnesiac {
        /// A peer has seen this batch of it.
        witnessed: BatchNumber,
    },
    /// Begins a batch: what the acceptor and the proposer had to remember before it. Only the journal writes and reads it.
    Before(Before),
}

impl Record {
    /// The slot whose value this record holds, if it holds one.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Record::Vote { slot, .. } | Record::Chosen { slot, .. } => Some(*slot),
            _ => None,
        }
    }
}

/// What a journal says up to some batch, without the values: enough to know what was in a batch that has rotted, because
/// any later batch tells it ("Protocol-Aware Recovery", FAST 2018, section 3: an identifier apart from its entry).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Before {
    /// The highest ballot promised or voted in.
    pub promised: Ballot,
    /// The highest ballot reserved.
    pub reserved: Ballot,
    /// Whether every founder was known to have recorded the founding.
    pub confirmed: bool,
    /// The loss that was recorded, if one was.
    pub amnesiac: Option<BatchNumber>,
    /// Votes in slots up to here are not named below.
    pub above: Slot,
    /// Every vote above, in whatever ballot; by ballot, then by slot.
    pub votes: Vec<Run>,
}

/// Votes of one ballot in consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The ballot.
    pub ballot: Ballot,
    /// The first slot.
    pub first: Slot,
    /// How many slots, at least one.
    pub count: u32,
}

impl Run {
    /// The last slot.
    pub fn last(&self) -> Slot {
        self.first.plus(u64::from(self.count).saturating_sub(1))
    }
}
