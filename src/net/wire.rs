//! What travels inside a frame once a handshake has succeeded.
//!
//! A link between two nodes carries [`PeerFrame`]s in one direction: each node dials every other and talks on the
//! connection that it dialled. A client's connection carries [`ClientFrame`]s one way and [`NodeFrame`]s the other.

use serde::{Deserialize, Serialize};

use super::report::{Inspection, Report};
use crate::paxos::{
    AcceptorMessage, BatchNumber, Bytes, Command, Envelope, ExecutorMessage, LearnerMessage, Message, ProposerMessage,
    Reply, SessionId, Slot, SnapshotId, Token,
};

/// From a node to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerFrame {
    /// Messages, in order.
    Lot {
        /// The highest batch that is durable in the sender's journal (DESIGN rule 4: whoever acknowledges says so).
        durable: BatchNumber,
        /// The messages.
        envelopes: Vec<Envelope>,
    },
    /// Addresses that the sender knows, its own included.
    Addresses(Vec<KnownAddress>),
}

/// Where a node can be reached. The entry with the highest `since_ms` wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// The node's name.
    pub name: String,
    /// `HOST:PORT`, resolved at every dial.
    pub address: String,
    /// When that was learnt first-hand, in milliseconds since 1970.
    pub since_ms: u64,
}

/// From a client to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// Replies to this session come to this connection from now on. Said before the session's first command here.
    Attach(SessionId),
    /// The reply to the `Open` command with this token comes to this connection.
    AttachToken(Token),
    /// Commands, one lot.
    Commands(Vec<Command>),
    /// Reads, one lot.
    Reads {
        /// The client's numbers and the questions.
        queries: Vec<(u64, Bytes)>,
        /// Answer from what this node has executed, however old.
        local: bool,
    },
    /// A look inside this node.
    Inspect {
        /// The client's number for it.
        id: u64,
        /// At what.
        inspection: Inspection,
    },
    /// Dial a node.
    Connect {
        /// The client's number for it.
        id: u64,
        /// The node's name.
        name: String,
        /// `HOST:PORT`.
        address: String,
    },
    /// Find out who lives at an address.
    Meet {
        /// The client's number for it.
        id: u64,
        /// `HOST:PORT`.
        address: String,
    },
    /// If this node leads, have the member of this name take over.
    Lead {
        /// The client's number for it.
        id: u64,
        /// Its name.
        name: String,
    },
    /// Have a snapshot ready for a backup.
    Backup {
        /// The client's number for it.
        id: u64,
        /// It covers this slot at least; none: everything that this node has executed by now.
        from: Option<Slot>,
    },
    /// A part of that snapshot's file.
    BackupPart {
        /// The client's number for it.
        id: u64,
        /// Which snapshot.
        upto: Slot,
        /// Which file.
        snapshot: SnapshotId,
        /// From where on, in bytes.
        offset: u64,
    },
}

/// From a node to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum NodeFrame {
    /// Answers to commands and reads, in no promised order.
    Replies(Vec<Reply>),
    /// The answer to an `Inspect` or a `Connect`.
    Report {
        /// The client's number for it.
        id: u64,
        /// What was found, or a sentence that says why not.
        report: Result<Report, String>,
    },
}

/// Roughly how many bytes an envelope takes in a frame: whatever can be large in it is counted.
pub fn approximate_len(envelope: &Envelope) -> usize {
    let commands = |commands: &[Command]| commands.iter().map(|command| command.encoded_len() + 16).sum();
    ENVELOPE
        + match &envelope.message {
            Message::Proposer(
                ProposerMessage::Submit { commands: all } | ProposerMessage::Forward { commands: all },
            ) => commands(all),
            Message::Proposer(ProposerMessage::Promise(promise)) => {
                promise.votes.iter().map(|vote| vote.value.as_bytes().len() + 32).sum()
            }
            Message::Acceptor(AcceptorMessage::Accept { proposals, .. }) => {
                proposals.iter().map(|(_, value)| value.as_bytes().len() + 16).sum()
            }
            Message::Learner(LearnerMessage::Chosen { entries, .. }) => {
                entries.iter().map(|(_, _, value)| value.as_bytes().len() + 32).sum()
            }
            Message::Learner(LearnerMessage::SnapshotPart { bytes, .. }) => bytes.len(),
            Message::Learner(LearnerMessage::Accepted(accepted)) => accepted.slots.len() * 8,
            Message::Executor(ExecutorMessage::Refused { commands, .. }) => commands.len() * 20,
            _ => 0,
        }
}

/// What an envelope takes beside the parts that can be large.
const ENVELOPE: usize = 96;

#[cfg(test)]
mod tests;
