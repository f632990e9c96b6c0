//! A deterministic world, in which everything that can go wrong does, and checks that would notice.
//!
//! The very roles, session, machines, journal and recovery of a node run here; only network, disk and time are replaced.
//! Everything that happens follows from one number. `synod simulate` runs many of them.
//!
//! | file | what it holds |
//! |---|---|
//! | [`faults`] | what can go wrong, each kind with its switch |
//! | [`plan`] | a run before it begins: sizes, rates, and a schedule of faults |
//! | [`world`] | what happens next: nodes, network, clients, the end; `havoc` makes the faults happen |
//! | [`node`] | a node whose roles, disk and keeper take turns when they are told to |
//! | [`links`], [`client`], [`history`] | the network; clients; what they asked and were told |
//! | [`check`] | one file per property |
//! | [`trace`], [`words`], [`report`] | a run as a lane diagram, in a person's words; what was tried |
//! | [`script`], [`lab`] | a world that does what it is told; scenarios that are known from a course's lab, told so |
//! | [`explore`] | a model checker: small instances over the same roles, state by state |
//! | [`mod@run`] | seeds, one after the other; a failing one is shrunk |
//!
//! Absent on purpose: threads, sockets, clocks, and dice that are not the seed's.

pub mod check;
pub mod client;
pub mod explore;
pub mod faults;
mod harm;
pub(crate) mod hash;
mod havoc;
pub mod history;
pub mod lab;
pub mod links;
pub mod node;
pub mod plan;
mod queue;
pub mod report;
pub mod run;
pub mod script;
pub mod trace;
pub mod words;
pub mod world;

pub use faults::{FaultKind, FaultSet};
pub use plan::{Plan, Wishes, Workload};
pub use report::Counts;
pub use run::{Failure, Outcome, run, shrink};
pub use world::World;
