//! Deterministic state machines behind the [`StateMachine`] trait.

pub use crate::paxos::state_machine::{Context, StateMachine};
