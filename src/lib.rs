//! Synod: a Multi-Paxos replicated state machine.
//!
//! Three or more nodes, each an ordinary process with a name and an address, agree on one log of commands and execute
//! it in order. Whatever a client was told is done survives the loss of any minority of the nodes, `kill -9` at any
//! instant included. A key-value store comes with it; a machine of your own is one trait away.
//!
//! # A machine of your own
//!
//! The consensus layer knows nothing of keys and values: it replicates bytes, and a [`StateMachine`] says what they
//! mean. Here three replicas run in one process; as three processes they would differ only in how they are started.
//!
//! ```
//! # #[cfg(feature = "runtime")] {
//! use synod::{Cluster, Context, Frozen, StateMachine, Whole};
//!
//! /// Adds up numbers.
//! #[derive(Default)]
//! struct Sum(u64);
//!
//! impl StateMachine for Sum {
//!     fn apply(&mut self, _: &Context, operation: &[u8]) -> Vec<u8> {
//!         self.0 += operation.len() as u64;
//!         self.query(&[])
//!     }
//!     fn query(&self, _: &[u8]) -> Vec<u8> {
//!         self.0.to_string().into_bytes()
//!     }
//!     fn freeze(&self) -> Box<dyn Frozen> {
//!         Whole::freeze(self.0.to_le_bytes().to_vec(), self.digest())
//!     }
//!     fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
//!         self.0 = u64::from_le_bytes(Whole::restore(parts).try_into().map_err(|_| "not eight bytes")?);
//!         Ok(())
//!     }
//!     fn empty(&self) -> Sum {
//!         Sum::default()
//!     }
//!     fn digest(&self) -> [u8; 32] {
//!         let mut digest = [0; 32];
//!         digest[..8].copy_from_slice(&self.0.to_le_bytes());
//!         digest
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let mut cluster = Cluster::local(3, folder, Sum::default)?;
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     let client = cluster.client().await?;
//!     let done = client.submit(b"four".to_vec()).await?;
//!     println!("executed at {}, the sum is now {}", done.place, done.result.escape_ascii());
//!     cluster.fail("n1")?; // as a crash would
//!     assert_eq!(&*client.query(Vec::new()).await?, b"4"); // linearizable, from any node
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! cluster.stop()?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The map of the house
//!
//! | module | what it holds | feature |
//! |---|---|---|
//! | [`paxos`] | the protocol, pure: roles, messages, records, effects | |
//! | [`machine`] | deterministic state machines: the key-value store | |
//! | [`storage`] | the journal and the snapshots, over a small [`storage::Disk`] trait | |
//! | [`net`] | frames, handshake, reports; sockets | sockets: `runtime` |
//! | [`client`] | exactly-once sessions; the TCP client | the client: `runtime` |
//! | `calls` | the client's typed calls to each machine | `runtime` |
//! | `actors` | a node, as actix actors | `runtime` |
//! | [`codec`] | the one module that knows bincode | |
//!
//! `paxos` imports none of the others; `machine` and `storage` import `paxos`; `net` imports `paxos`; `client` imports
//! `net`; `actors` imports all. With `--no-default-features` there is no actix, no tokio, no socket and no file in the
//! build, and the protocol, the machines, the journal, the handshake and the client's session are tested so.

#[cfg(feature = "runtime")]
pub mod actors;
#[cfg(feature = "runtime")]
pub mod calls;
pub mod client;
pub mod codec;
pub mod machine;
pub mod net;
mod panics;
pub mod paxos;
pub mod sim;
pub mod storage;

#[cfg(feature = "runtime")]
pub use actors::{Cluster, Node, NodeError, NodeOptions};
#[cfg(feature = "runtime")]
pub use client::{Client, ClientError, ConnectOptions};
pub use paxos::{Context, Frozen, StateMachine, Whole};
