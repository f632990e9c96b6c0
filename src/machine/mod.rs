//! Deterministic state machines behind the [`StateMachine`] trait, which the protocol defines.

pub mod bank;
pub mod composite;
pub mod kv;

pub use bank::Bank;
pub use composite::{Composite, MachineId};
pub use kv::Kv;

pub use crate::paxos::state_machine::{Context, Frozen, StateMachine, Whole};
