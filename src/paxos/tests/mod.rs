//! Tests of the protocol: a deterministic world that hunts for runs nobody thought of, and one test per rule.

mod hunt;
mod journal;
mod ledger;
mod witness;
mod world;
