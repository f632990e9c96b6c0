//! Synod: a Multi-Paxos replicated state machine.
#[cfg(feature = "runtime")]
pub mod actors;
pub mod client;
pub mod codec;
pub mod machine;
pub mod net;
pub mod paxos;
