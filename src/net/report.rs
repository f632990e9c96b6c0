//! What a node tells of itself: the shared shapes behind `status`, `log`, `slot`, `view`, `nodes`.

use serde::{Deserialize, Serialize};

use crate::paxos::{Ballot, Bytes, Change, Incarnation, NodeId, Sequence, SessionId, Slot, SnapshotId, Token};

/// A question about one node's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Inspection {
    /// Who it is and how it stands.
    Status,
    /// The slots of a range, as this node sees them. At most [`MOST_SLOTS`] are answered.
    Log {
        /// The first slot; `Slot::ZERO` means: the last twenty.
        first: Slot,
        /// The last slot; `Slot(u64::MAX)` means: up to the end.
        upto: Slot,
    },
    /// The changes of leader that this node saw.
    View,
}

/// How many slots one `Log` answers at most.
pub const MOST_SLOTS: u64 = 1000;

/// The answer to an [`Inspection`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// To `Status`.
    Status(Box<Status>),
    /// To `Log`.
    Log(LogReport),
    /// To `View`.
    View(Vec<ViewChange>),
    /// To `Connect`: the link is up, to the node of this name.
    Connected(String),
    /// To `Meet`: who lives there.
    Met {
        /// Its name.
        name: String,
        /// Its data folder's.
        incarnation: Incarnation,
        /// The number that its cluster gave it, if it belongs to one.
        node: Option<NodeId>,
    },
    /// To `Lead`: the member of this name was asked to take over.
    HandedOver(String),
    /// To `Backup`: there is none yet that covers this slot; ask again.
    BackupSoon {
        /// This slot.
        from: Slot,
    },
    /// To `Backup`: this one. The connection keeps it.
    BackupReady {
        /// The last slot that it covers.
        upto: Slot,
        /// Its file.
        id: SnapshotId,
        /// The file's length in bytes.
        bytes: u64,
    },
    /// To `BackupPart`; empty at or behind the end.
    BackupPart(Bytes),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its number.
    pub node: NodeId,
    /// Its data folder's.
    pub incarnation: Incarnation,
    /// Whether it votes.
    pub standing: MemberStanding,
    /// How far it has executed, as a leader knows.
    pub executed_upto: Option<Slot>,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStanding {
    /// It votes.
    Voter,
    /// It will vote, from this slot on.
    Coming {
        /// The slot.
        from: Slot,
    },
    /// It catches up, and is promoted then.
    Newcomer,
    /// It votes until this slot.
    Leaving {
        /// The first slot without its vote.
        from: Slot,
    },
}

impl std::fmt::Display for MemberStanding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MemberStanding::Voter => f.pad("votes"),
            MemberStanding::Coming { from } => f.pad(&format!("votes from slot {from}")),
            MemberStanding::Newcomer => f.pad("catches up"),
            MemberStanding::Leaving { from } => f.pad(&format!("leaves at slot {from}")),
        }
    }
}

/// Who a node is and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its number in the configuration; none before the founding.
    pub node: Option<NodeId>,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id, in hexadecimal; empty before the founding.
    pub cluster_id: String,
    /// The address that travels.
    pub address: String,
    /// The process.
    pub process_id: u32,
    /// `founding`, `following`, `canvassing`, `preparing`, `leading`, or `not voting`.
    pub phase: String,
    /// If it does not vote: why, and how to mend it.
    pub trouble: Option<String>,
    /// The leader's name as this node knows it.
    pub leader: Option<String>,
    /// The ballot it leads with or follows.
    pub ballot: Ballot,
    /// The highest ballot that its acceptor has promised.
    pub promised: Ballot,
    /// No slot up to here is in its journal.
    pub trimmed_upto: Slot,
    /// Its own durable snapshot covers every slot up to here.
    pub snapshot_upto: Slot,
    /// Executed.
    pub executed_upto: Slot,
    /// Chosen.
    pub chosen_upto: Slot,
    /// The last slot that is not empty.
    pub last_slot: Slot,
    /// Sessions open.
    pub sessions: u64,
    /// Size of its journal on disk: whatever is not trimmed. Zeros and trimmed segments that wait to be used again do not
    /// count.
    pub journal_bytes: u64,
    /// What its roles hold in memory besides the machine: values that are open, commands and reads that wait, results that
    /// clients may ask for again.
    pub held_bytes: u64,
    /// Batches made durable since it started.
    pub batches: u64,
    /// Commands executed since it started.
    pub commands: u64,
    /// Time that its process has had on a processor, in microseconds; 0 where the system does not tell.
    pub cpu_us: u64,
    /// Digest of the machine and the session table, in hexadecimal; equal on nodes with the same `executed_upto`.
    pub digest: String,
    /// The other nodes it knows.
    pub peers: Vec<PeerStatus>,
    /// The members, by number, as far as it has executed.
    pub members: Vec<MemberStatus>,
}

/// One peer, as a node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Its address; empty if not known yet.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// `up`, `down`, or a sentence that says why the link was refused.
    pub link: String,
    /// How long it takes to answer this node, smoothed, in microseconds; only a leader measures it.
    pub round_trip_us: Option<u64>,
}

/// A range of slots on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogReport {
    /// The first slot that is not cleared.
    pub first_not_cleared: Slot,
    /// The last slot that is not empty.
    pub last_not_empty: Slot,
    /// The slots asked for, ascending; empty slots at the end are left out.
    pub slots: Vec<SlotReport>,
}

/// How far a slot has come on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotState {
    /// Nothing is known.
    Empty,
    /// This node voted.
    Accepted,
    /// This node knows it to be chosen.
    Chosen,
    /// This node has executed it.
    Executed,
    /// This node has forgotten it; a snapshot covers it.
    Cleared,
}

impl std::fmt::Display for SlotState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            SlotState::Empty => "Empty",
            SlotState::Accepted => "Accepted",
            SlotState::Chosen => "Chosen",
            SlotState::Executed => "Executed",
            SlotState::Cleared => "Cleared",
        })
    }
}

/// One slot on one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotReport {
    /// The slot.
    pub slot: Slot,
    /// How far it has come.
    pub state: SlotState,
    /// The ballot of this node's vote, or in which it learned the slot.
    pub ballot: Option<Ballot>,
    /// The commands there; none for a no-op.
    pub entries: Vec<EntryReport>,
}

/// One command in a slot; its index is its position, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryReport {
    /// Opens a session.
    Open {
        /// The client's token.
        token: Token,
    },
    /// Applies an operation.
    Apply {
        /// The session.
        session: SessionId,
        /// The sequence.
        sequence: Sequence,
        /// The operation, cut to its first kilobyte.
        operation: Bytes,
        /// Its whole length in bytes.
        length: u64,
    },
    /// Changes who the members are.
    Change {
        /// The session.
        session: SessionId,
        /// The sequence.
        sequence: Sequence,
        /// What is to change.
        change: Change,
    },
    /// Gives a newcomer its vote.
    Promote {
        /// The newcomer.
        node: NodeId,
    },
    /// Has the replicas compare their states.
    Mark {
        /// They save them, too.
        save: bool,
    },
    /// What one of them found.
    Report {
        /// Which.
        node: NodeId,
        /// At this mark.
        mark: Slot,
        /// The digest of its state.
        digest: [u8; 32],
    },
}

/// One change of leader, as one node saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChange {
    /// When, by this node's wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The leader's name.
    pub leader: String,
    /// Its ballot.
    pub ballot: Ballot,
    /// If this node is that leader: the first slot it proposed, how many values it merged from the promises, how many
    /// holes it filled with no-ops.
    pub merged: Option<(Slot, u64, u64)>,
}
