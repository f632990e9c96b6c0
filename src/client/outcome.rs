//! What became of a request.

use std::fmt;

use crate::paxos::{Ballot, Bytes, Place, Refusal};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command was executed, once.
    Done {
        /// Where it stands in the log.
        place: Place,
        /// A ballot in which its slot is known to be chosen; none when the reply comes from the session's memory.
        ballot: Option<Ballot>,
        /// What the machine answered.
        result: Bytes,
    },
    /// The command was executed, once; but its result was too large to be kept for a repeated question, or at all.
    ResultDropped {
        /// Where it stands in the log.
        place: Place,
    },
    /// The question was answered.
    Read {
        /// What the machine answered.
        result: Bytes,
    },
    /// It had no effect and never will.
    NotDone {
        /// Why.
        reason: Failure,
    },
    /// The command may have been executed, or may be yet; once at most.
    Unknown {
        /// Since when that is so.
        reason: Doubt,
    },
    /// It had no effect, and trying again would be refused again.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why a request had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The last attempt, and every one before, was refused.
    Refused(Refusal),
    /// There was no connection to any node.
    NoConnection,
    /// It waited behind earlier requests all the time.
    NotSent,
    /// Nobody answered the question; or nobody opened a session, so that the command was never sent.
    NoAnswer,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(refusal) => refusal.fmt(f),
            Failure::NoConnection => f.write_str("no node could be reached"),
            Failure::NotSent => f.write_str("earlier requests of this client are still waiting"),
            Failure::NoAnswer => f.write_str("no answer in time: a majority of the cluster may be out of reach"),
        }
    }
}

/// Why nobody knows whether a command was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The connection broke behind it.
    ConnectionLost,
    /// It got no answer in time.
    NoAnswer,
    /// There is a new leader, and the old one may have lost it on the way.
    LeaderChanged,
    /// It was sent on to a leader that refused it, and a copy may still be on its way.
    Forwarded,
    /// The log forgot the session, and with it what became of the command.
    SessionExpired,
    /// The log refused its sequence, which this client never gave up: a defect.
    OutOfWindow,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::ConnectionLost => "the connection was lost after the command was sent",
            Doubt::NoAnswer => "the command was sent, and nobody answered in time",
            Doubt::LeaderChanged => "the leader changed after the command was sent, and nobody answered in time",
            Doubt::Forwarded => "the command was sent on to a node that no longer led, and nobody answered in time",
            Doubt::SessionExpired => "the session expired before the command's answer arrived",
            Doubt::OutOfWindow => "the cluster refused the command's sequence number, which is a defect",
        })
    }
}
