//! The protocol: Multi-Paxos as plain values.
//!
//! Nothing here does I/O, reads a clock, or draws a random number of its own. A role is a struct; a handler takes a
//! message and pushes [`Effect`]s; whoever drives it (the actors in `crate::actors`, the tests, a simulator) performs
//! them. Maps are ordered, so that the same input always gives the same output.
//!
//! | file | what it holds |
//! |---|---|
//! | [`ballot`], [`slot`], [`value`], [`configuration`], [`quorum`] | the nouns |
//! | [`membership`] | which configuration decides which slot, and how that changes |
//! | [`message`] | who says what to whom, with the lane diagram |
//! | [`record`] | what is durable |
//! | [`effect`] | what a handler may ask for; where "persist before send" is a type |
//! | [`dispatch`] | one lot of effects, sorted by where each goes |
//! | [`proposer`], [`acceptor`], [`learner`], [`executor`] | the four roles |
//! | [`election`], [`merge`] | the proposer's way to leadership, and the log it gathers |
//! | [`extension`] | a leader and the members: configurations to come, promotions, leadership handed over |
//! | [`admission`], [`company`] | whether this node may vote after a start; whether it is alone |
//! | [`repair`] | what a damaged journal lost of the acceptor's votes, and how it comes back from peers |
//! | [`hearsay`] | what was seen of the peers' journals, and passed on |
//! | [`agreement`], [`marks`] | whether the replicas' states are alike, and what a node does whose state is not |
//! | [`sessions`] | exactly once |
//! | [`state_machine`], [`image`] | what a machine is; everything replicated at one slot, frozen |
//! | [`node`] | the four roles of one node side by side, their recovery and invariants |
//! | [`settings`], [`dice`] | limits, times, and the randomness that is handed in |
//!
//! Absent on purpose: sockets, files, threads, time, actix. `cargo test --no-default-features` keeps them absent.

pub mod acceptor;
pub mod admission;
pub mod agreement;
pub mod ballot;
pub mod company;
pub mod configuration;
pub mod dice;
pub mod dispatch;
pub mod effect;
pub mod election;
pub mod executor;
pub mod extension;
pub mod hearsay;
pub mod image;
pub mod leading;
pub mod learner;
pub mod marks;
pub mod meeting;
pub mod membership;
pub mod merge;
pub mod message;
pub mod node;
pub mod proposer;
pub mod queue;
pub mod quorum;
pub mod record;
pub mod repair;
pub mod sessions;
pub mod settings;
pub mod slot;
pub mod state_machine;
pub mod value;

#[cfg(test)]
mod tests;

pub use acceptor::Acceptor;
pub use agreement::{Agreement, Digest};
pub use ballot::{Ballot, NodeId};
pub use company::{Company, Written};
pub use configuration::{Configuration, Incarnation, Member};
pub use effect::{Effect, Effects, Event, Then};
pub use executor::Executor;
pub use image::{Image, SnapshotId, State, Taken};
pub use learner::Learner;
pub use marks::Standing;
pub use membership::{Change, Membership, Outcome};
pub use message::{
    AcceptorMessage, Choice, ClientId, Durable, Envelope, ExecutorMessage, GroupId, LearnerMessage, Message,
    ProposerMessage, Refusal, Reply,
};
pub use node::{Recovered, Replica};
pub use proposer::Proposer;
pub use quorum::{Answers, Tally};
pub use record::{BatchNumber, Before, Record, Run};
pub use repair::Damage;
pub use settings::Settings;
pub use slot::{Place, Slot};
pub use state_machine::{Context, Frozen, StateMachine, Whole};
pub use value::{Bytes, Command, Entry, Sequence, SessionId, Stamp, Token, Value};
