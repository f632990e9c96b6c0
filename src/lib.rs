//! Synod: a Multi-Paxos replicated state machine.
pub mod codec;
pub mod machine;
pub mod net;
pub mod paxos;
