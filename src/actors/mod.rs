//! A node, as actors.
//!
//! One actor per role, each the shell around a pure struct of `crate::paxos`; around them the router, the peers, the
//! doors, and the host that starts and watches all of it. They share one thread per node; the disk has its own.
//!
//! ```text
//!   clients ──► doors ──┐                        ┌──► peer ═══ TCP ═══► other nodes
//!                       ▼                        │
//!              Proposer ⇄ Acceptor            router ◄── receive ═══ TCP ═══ other nodes
//!                  ▲  ╲      │ votes             ▲
//!                  │   ╲     ▼                   │ after the sync
//!              Executor ◄── Learner ───────►   disk (its own thread)
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`node`] | starting and stopping a node; what a library user sees |
//! | [`host`], [`start`] | the actor that founds, links and watches over it; the start of the roles |
//! | [`role`] | the shell of the four role actors: mailbox, lots |
//! | [`outlet`] | where a role's effects go |
//! | [`proposer`], [`handing_over`] | leadership handed over, on a person's word, and before a leader stops |
//! | [`joining`] | a node's way into a cluster that exists |
//! | [`executor`], [`keeper`] | snapshots: beside the executor's role, and on their thread |
//! | [`disk`] | the journal's only writer |
//! | [`router`], [`peer`] | to and from other nodes |
//! | [`round_trips`] | how long those take to answer |
//! | [`door`], [`doors`] | clients |
//! | [`backup`] | the file of a snapshot, for a client |
//! | [`guard`] | a panic anywhere stops the node |
//! | [`registry`] | what handshakes decide by |
//! | [`stage`], [`events`], [`inspect`] | what people see |
//!
//! Absent on purpose: supervision. Whatever panics stops its node ([`guard`]), which starts anew from its journal.

pub mod backup;
pub mod cluster;
pub mod disk;
pub mod door;
pub mod doors;
pub mod events;
pub mod executor;
pub mod guard;
pub mod handing_over;
pub mod host;
pub mod inspect;
pub mod joining;
pub mod keeper;
pub mod node;
pub mod outlet;
pub mod peer;
pub mod proposer;
pub mod registry;
pub mod role;
pub mod round_trips;
pub mod router;
pub mod stage;
pub mod start;

pub use cluster::Cluster;
pub use events::NEWS;
pub use node::{Join, Node, NodeError, NodeOptions};
