//! Tests of the protocol: a deterministic world that hunts for runs nobody thought of, and one test per rule.

mod acceptor;
mod clients;
mod delays;
mod election;
mod executor;
mod hunt;
mod journal;
mod learner;
mod ledger;
mod marks;
mod members;
mod node;
mod partitions;
mod proposer;
mod repair;
mod terse;
mod witness;
mod world;
