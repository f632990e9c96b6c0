//! What a node keeps through a crash: the journal of its facts and the snapshots of its machines.
//!
//! Everything is written over the small [`Disk`] trait, so that tests and the simulator run the real journal over a
//! disk that crashes on request.
//!
//! | file | what it holds |
//! |---|---|
//! | [`disk`] | the trait, and what a crash may take |
//! | [`memory`] | a disk in memory that crashes, fails and rots on request |
//! | [`journal`] | append, commit, read back, trim |
//! | `recovery` | reading a journal: whole, torn, damaged or corrupt |
//! | `segment`, `batch` | the bytes of format version 1 |
//! | `spares` | files that wait to become segments |
//! | `facts`, `index`, `voted` | what outlives trimming; where a slot's value stands; which votes there are |
//! | [`members`] | the members, written down beside the journal |
//! | [`held`] | what a node's disk holds when it starts |
//! | [`scribe`], [`keeper`] | what a node's disk does with a lot of work, and with snapshots, without their threads |
//! | [`snapshots`], [`image`] | whole images of the replicated state, under a digest; their bytes |
//! | [`backup`] | a snapshot's file outside of any folder, and the folder of a cluster that begins with one |
//! | `files`, `folder` (feature `runtime`) | the disk of the operating system; the data folder and its lock |

pub mod backup;
mod batch;
pub mod disk;
mod facts;
#[cfg(feature = "runtime")]
pub mod files;
#[cfg(feature = "runtime")]
pub mod folder;
pub mod held;
pub mod image;
mod index;
pub mod journal;
pub mod keeper;
pub mod members;
pub mod memory;
mod recovery;
pub mod scribe;
mod segment;
pub mod snapshots;
mod spares;
mod voted;

pub use disk::{Disk, DiskError};
pub use held::Held;
pub use journal::{Journal, Opened, Settings};
pub use keeper::{Keep, Keeper, Kept};
pub use memory::MemoryDisk;
pub use recovery::OpenError;
pub use scribe::Scribe;
pub use segment::FORMAT_VERSION;
pub use snapshots::Snapshots;
pub use spares::{Spare, SpareTask};
#[cfg(feature = "runtime")]
pub use {
    files::FileDisk,
    folder::{DataFolder, FolderError},
};
