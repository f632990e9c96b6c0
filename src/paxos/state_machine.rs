//! What the protocol asks of a deterministic state machine.
//!
//! A machine sees the operations of the log in order, each once, with the time and the randomness that the log carries.
//! Given the same operations it must reach the same state and give the same answers, on every node, for ever: no clock,
//! no dice, no hash-ordered iteration, no I/O.
//!
//! A snapshot never stops a machine: it is frozen, which is cheap, and what is frozen is written out part by part on
//! another thread while the machine goes on. A snapshot that is read goes into a machine of its own, there as well.

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

    /// The state as it is now, to be written out on another thread while the machine goes on. No command is executed
    /// meanwhile, so this must be cheap whatever the size of the state: share it, do not copy it. A machine whose state
    /// is small gives it [`Whole`].
    fn freeze(&self) -> Box<dyn Frozen>;

    /// Takes the state that these parts make up, which are those of [`Frozen::parts`] if nothing went wrong. Only ever
    /// called on a machine in its initial state; after an error it is dropped.
    ///
    /// # Errors
    /// A sentence that says why the parts are not a snapshot of this machine.
    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String>;

    /// A machine in its initial state, set up like this one.
    fn empty(&self) -> Self
    where
        Self: Sized;

    /// A digest of the whole state: equal on nodes that executed the same slots.
    fn digest(&self) -> [u8; 32];
}

/// A machine's state at one slot. It does not change any more.
pub trait Frozen: Send {
    /// The state in parts of about [`PART_BYTES`] each, and never more than [`MAX_PART_BYTES`]. Their order and their
    /// cut follow from the state alone, so that equal states give equal bytes.
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_>;

    /// What [`StateMachine::digest`] said when it was frozen.
    fn digest(&self) -> [u8; 32];
}

/// The frozen state of a machine that is small enough to be encoded while it is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Whole {
    /// The encoded state, and its digest.
    pub fn freeze(bytes: Vec<u8>, digest: [u8; 32]) -> Box<dyn Frozen> {
        Box::new(Whole { bytes, digest })
    }

    /// The encoded state again.
    pub fn restore(parts: &mut dyn Iterator<Item = Vec<u8>>) -> Vec<u8> {
        parts.flatten().collect()
    }
}

impl Frozen for Whole {
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        Box::new(self.bytes.chunks(PART_BYTES).map(<[u8]>::to_vec))
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// How many bytes a part of a frozen state has, about.
pub const PART_BYTES: usize = 1 << 20;
/// How many it may have at most.
pub const MAX_PART_BYTES: usize = 16 << 20;
