//! Synod: a Multi-Paxos replicated state machine.
pub mod client;
pub mod codec;
pub mod machine;
pub mod net;
pub mod paxos;
pub mod storage;
