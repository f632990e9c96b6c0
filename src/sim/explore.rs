//! A model checker over the very roles: it visits the states of a small instance one by one, and checks each.
//!
//! **State**: the four roles of every node, the records on its disk, the messages between nodes, the clients' wishes and
//! what they were told, and how much may still happen. **Step**: a message, a command or an answer arrives, or a timer
//! fires, or a node crashes; the receiver then runs its local messages, the ends of its lots and its disk until nothing is
//! left to do. Or its power fails as it begins its first, second, … sync, and it starts again from what was synced,
//! through [`Replica::recover`](crate::paxos::Replica::recover).
//!
//! | file | what it holds |
//! |---|---|
//! | [`setup`] | what is possible: an instance's bounds ([`Setup`]), and who takes part for a while ([`Stage`]) |
//! | [`model`] | states and steps |
//! | [`local`] | one node: its roles and its disk, run until they rest |
//! | [`book`] | the clients, and whether what they were told is linearizable |
//! | [`check`] | one value per slot, a quorum behind every belief, equal machines |
//! | [`notes`] | the machine that is explored, which executes nothing twice |
//! | [`search`] | breadth first with goals and shortest paths; at random |
//! | [`lab`] | the searches of a course's lab, and instances explored to the end |
//! | [`fingerprint`] | what a visited state is remembered by |
//!
//! # Why a run of the model is a run of the real thing
//!
//! * **Time** stands still at 0, and every wait of [`Settings`](crate::paxos::Settings) is 0: whatever waits for a time is
//!   always due, and nothing comes of it before a step ticks the role. So no number in a state ever grows with time, and
//!   any order of timers is possible. It is the real code under settings that nobody would choose, but safety rests on none.
//! * **Dice** are the real ones, seeded by the node and the number of its start. They are rolled only for a canvass and
//!   for a batch's stamp, so they are bounded with those.
//! * **A campaign is one step**: the candidate gives up what it was doing, canvasses just enough peers, they answer at
//!   once, it reserves a ballot and prepares. This is a sequence of ordinary steps. A campaign that comes to nothing, and
//!   canvasses that arrive late, are left out: a canvass is a courtesy, on which no safety rests.
//! * **What is not there** is a restriction, never an invention: bounds on campaigns, crashes, reminders and sends; a
//!   leader's resends (with messages that stay, a copy of one that is there already); snapshots; heartbeats, where a setup
//!   has no reads; hearsay, and what was witnessed of journals, as disks lose nothing here but what was never synced.
//! * **At the start** all clients have sessions, opened in slot 1, which every node has executed and then restarted;
//!   every node has met every other, and every client is connected to every node, after each start anew.
//! * **What counts as one state**: nodes are compared by their roles, by every vote that was ever durable, by what they
//!   could be asked of their log, and, if crashes are possible, by the records that wait for a sync and by what a restart
//!   would make of the disk. Records in another order that fold to the same are the same.
//!
//! Absent on purpose: a disk slower than a step, and mailboxes that interleave (the simulator's world has both, at random);
//! symmetry and partial-order reduction; threads.

pub mod book;
pub mod check;
pub mod fingerprint;
pub mod lab;
pub mod local;
pub mod model;
pub mod notes;
mod parts;
pub mod search;
pub mod setup;

#[cfg(test)]
mod tests;

pub use local::Flaw;
pub use model::{Model, State, Step};
pub use notes::Wish;
pub use search::{Found, Limits, Report, Violation, at_random, breadth_first};
pub use setup::{Network, Setup, Stage};
