//! The client: a session that executes each command exactly once, and a driver that carries it over TCP.
//!
//! | file | what it holds |
//! |---|---|
//! | [`session`] | retry, redirect, exactly-once, as a plain value without sockets or clocks |
//! | [`outcome`] | what became of a request: done, not done, unknown |
//! | `pause` | back-off |
//! | [`error`] | what a caller is told when a request did not succeed |
//! | `handle` (runtime) | [`Client`]: the calls |
//! | `members` (runtime) | those about members, and who leads |
//! | `backup` (runtime) | those about backups |
//! | `driver` (runtime) | the task that owns the socket and the session |
//! | `nodes` (runtime) | which nodes are known, where |
//! | `transport` (runtime) | what the driver needs of a network |
//!
//! Absent on purpose: a pool of connections. One session over one connection carries a thousand commands at once.

pub mod error;
pub mod outcome;
mod pause;
pub mod session;

#[cfg(feature = "runtime")]
mod backup;
#[cfg(feature = "runtime")]
mod driver;
#[cfg(feature = "runtime")]
mod handle;
#[cfg(feature = "runtime")]
mod members;
#[cfg(feature = "runtime")]
mod nodes;
#[cfg(feature = "runtime")]
mod transport;

#[cfg(feature = "runtime")]
pub use backup::Backup;
pub use error::ClientError;
#[cfg(feature = "runtime")]
pub use handle::{Client, ConnectOptions, DEFAULT_DEADLINE, Done};
#[cfg(feature = "runtime")]
pub use members::Met;
