//! What a caller is told when a request did not succeed: above all, whether it may have had an effect.

use std::fmt;

use super::outcome::Outcome;

/// Why a request did not succeed. Displayed as one line: what happened, why, how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// It definitely had no effect, and may be tried again.
    NotDone {
        /// Why.
        reason: String,
    },
    /// It may have had its effect, or may have it yet: at most once.
    Unknown {
        /// Why.
        reason: String,
    },
    /// It had its effect, once; its result is lost.
    ResultDropped {
        /// Where it stands, and why.
        reason: String,
    },
    /// It had no effect, and will have none if it is tried again as it is.
    Refused {
        /// Why.
        reason: String,
    },
    /// The call makes no sense.
    Usage {
        /// Why.
        reason: String,
    },
    /// No connection: nothing was asked, or a question stayed without an answer.
    Connection {
        /// Why.
        reason: String,
    },
}

impl ClientError {
    /// For a process: 1 not done or refused, 2 wrong usage, 3 outcome unknown, or its result lost.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::NotDone { .. } | ClientError::Refused { .. } | ClientError::Connection { .. } => 1,
            ClientError::Usage { .. } => 2,
            ClientError::Unknown { .. } | ClientError::ResultDropped { .. } => 3,
        }
    }

    /// What became of a request, if it did not succeed.
    pub fn from_outcome(outcome: &Outcome) -> Option<ClientError> {
        match outcome {
            Outcome::Done { .. } | Outcome::Read { .. } => None,
            Outcome::NotDone { reason } => Some(ClientError::NotDone { reason: reason.to_string() }),
            Outcome::Unknown { reason } => Some(ClientError::Unknown { reason: reason.to_string() }),
            Outcome::ResultDropped { place } => {
                Some(ClientError::ResultDropped { reason: format!("its result at {place} was too large to be kept") })
            }
            Outcome::Refused { reason } => Some(ClientError::Refused { reason: reason.to_string() }),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NotDone { reason } => write!(f, "not done: {reason}; it is safe to try again"),
            ClientError::Unknown { reason } => {
                write!(f, "outcome unknown: {reason}; read before you try again, it may have been done")
            }
            ClientError::ResultDropped { reason } => {
                write!(f, "done, but {reason}; do not send it again, read what it changed")
            }
            ClientError::Refused { reason } => write!(f, "refused: {reason}"),
            ClientError::Usage { reason } => f.write_str(reason),
            ClientError::Connection { reason } => write!(f, "no connection: {reason}"),
        }
    }
}

impl std::error::Error for ClientError {}
