//! Typed calls: where the client meets a machine.
//!
//! The client carries bytes and knows no machine, a machine knows no client; what a call of one means to the other is
//! said here, one file per machine, as methods of [`Client`](crate::client::Client).

mod bank;
mod kv;

pub use kv::Page;

use crate::client::ClientError;
use crate::machine::composite::open_answer;

/// What the machine itself answered.
fn opened(answer: &[u8]) -> Result<&[u8], ClientError> {
    open_answer(answer).map_err(|error| ClientError::Refused { reason: error.to_string() })
}

/// The command was executed, but who knows with what result.
fn unreadable() -> ClientError {
    ClientError::Unknown { reason: UNREADABLE.into() }
}

/// As [`unreadable`], of a question, which had no effect in any case.
fn no_answer() -> ClientError {
    ClientError::NotDone { reason: UNREADABLE.into() }
}

const UNREADABLE: &str = "the node's answer cannot be read; it may run another version";
