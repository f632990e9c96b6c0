//! What the protocol asks of a deterministic state machine.
//!
//! A machine sees the operations of the log in order, each once, with the time and the randomness that the log carries.
//! Given the same operations it must reach the same state and give the same answers, on every node, for ever: no clock,
//! no dice, no hash-ordered iteration, no I/O.

use super::slot::Place;

/// What an operation may depend on besides the state and itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Milliseconds since 1970 by the log's clock, which never goes back.
    pub now_ms: u64,
    /// A random number of this command's own.
    pub seed: u64,
    /// Where the command stands in the log.
    pub place: Place,
}

/// A deterministic state machine.
pub trait StateMachine: Send + 'static {
    /// Applies an operation and answers it. Bytes that are no operation of this machine change nothing and are
    /// answered with an error of the machine's own.
    ///
    /// An answer longer than [`MAX_RESULT_BYTES`](super::settings::MAX_RESULT_BYTES) changes nothing about what was
    /// done, but does not reach the client: it is told that the command was executed and its result dropped.
    fn apply(&mut self, context: &Context, operation: &[u8]) -> Vec<u8>;

    /// Answers a question without changing anything.
    fn query(&self, question: &[u8]) -> Vec<u8>;

    /// The whole state, in a form that [`StateMachine::restore`] takes back.
    fn snapshot(&self) -> Vec<u8>;

    /// Takes the place of the whole state. On an error nothing has changed.
    ///
    /// # Errors
    /// A sentence that says why the bytes are not a snapshot of this machine.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;

    /// A digest of the whole state: equal on nodes that executed the same slots.
    fn digest(&self) -> [u8; 32];
}
