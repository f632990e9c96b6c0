//! Scenarios that a course's lab on Paxos is known for, played over our own core in virtual time.
//!
//! Only the facts are taken over: who is cut off from whom, who asks what, and what must hold. Rows 1 to 16 and 22 are
//! the scenarios that run (the others search, and belong to a model checker); rows 201 to 205 and 301 to 305 are those
//! of the exactly-once part, over a single node. Each runs for several seeds, within a limit in virtual time that the
//! founding of the cluster counts towards.
//!
//! What differs, and why it proves as much:
//!
//! * A question is no command here and stands in no slot: where commands are counted, the workload has as many writes.
//! * The lab's partitions are there from the start. A cluster of ours is founded once, by all its members, so a scenario
//!   lets that happen first. Where the leader then stands among those who are cut off depends on the seed.
//! * A wait that can be interrupted is a deadline: a request to a cluster that is not there ends as definitely not done.
//! * In unreliable rows one message of five between nodes is lost. Over a single node, where none travels between nodes,
//!   frames of clients are lost instead; each takes its connection along, as loss over TCP does.
//! * Clients do not tell all nodes, they keep to one and turn to another; they are the real sessions.
//! * Row 11 counts what roles hold, in bytes of their encoding, and what is not trimmed of the journals; the machine's own
//!   data, of which snapshots hold two copies, is apart.
//!
//! Absent: the like of row 11 of the exactly-once part.
//!
//! | file | what it holds |
//! |---|---|
//! | `stage` | one run: the world, its limit, who stands where, looks while it runs |
//! | `agreement` | rows 1 to 16 and 22 |
//! | `once` | rows 201 to 305 |
//! | `workload` | what clients ask, and what they must be told |

use super::check::{Broken, Held};
use super::run::caught;
use stage::Stage;

mod agreement;
mod once;
mod stage;
mod workload;

/// How much of a scenario is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// A few seeds and, where a workload is long, less of it: for tests.
    Reduced,
    /// All of it, for many seeds.
    Full,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its number in the table.
    pub row: u32,
    /// What it shows.
    pub name: &'static str,
    /// How long it may take, in milliseconds of virtual time.
    pub limit_ms: u64,
    /// How many nodes.
    pub nodes: u32,
    /// How many clients.
    pub clients: u32,
    /// Of 1000 messages between nodes so many are lost.
    pub loss: u64,
    /// Of 1000 frames between a client and a node so many are lost, with their connection.
    pub client_loss: u64,
    /// How long written values are, if they are long; journals are kept short then.
    pub value_bytes: usize,
    script: fn(&mut Stage) -> Held,
}

/// What a scenario took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs, one for each seed.
    pub seeds: u64,
    /// The longest run, in microseconds of virtual time.
    pub longest_run_us: u64,
    /// All runs, in microseconds of virtual time.
    pub simulated_us: u64,
    /// Requests that were done, in all runs.
    pub done: u64,
    /// Messages that nodes and clients sent to nodes, in all runs.
    pub messages: u64,
    /// The most messages per request of any run; 0 if nothing was done in it.
    pub most_per_request: u64,
    /// The longest that a client waited for a request that was done, in microseconds.
    pub longest_wait_us: u64,
}

impl Scenario {
    /// Plays it, seed by seed.
    ///
    /// # Errors
    /// What did not hold, with the row and the seed.
    pub fn run(&self, bounds: Bounds) -> Result<Summary, Broken> {
        let seeds = match bounds {
            Bounds::Reduced => REDUCED_SEEDS,
            Bounds::Full => FULL_SEEDS,
        };
        let mut summary = Summary::default();
        for seed in 1..=seeds {
            let taken = self.run_seed(seed, bounds, false).0;
            summary.add(&taken.map_err(|broken| {
                let detail = format!("row {} ({}), seed {seed}: {}", self.row, self.name, broken.detail);
                Broken::new(broken.property, detail)
            })?);
        }
        Ok(summary)
    }

    /// Plays it with one seed. With `lines`, gives its lane diagram.
    ///
    /// # Errors
    /// What did not hold.
    pub fn run_seed(&self, seed: u64, bounds: Bounds, lines: bool) -> (Result<Summary, Broken>, String) {
        let mut stage = match Stage::new(self, seed, bounds, lines) {
            Ok(stage) => stage,
            Err(broken) => return (Err(broken), String::new()),
        };
        let played = caught(|| (self.script)(&mut stage).and_then(|()| stage.finish()));
        (played, if lines { stage.diagram() } else { String::new() })
    }
}

impl Summary {
    fn add(&mut self, other: &Summary) {
        self.seeds += other.seeds;
        self.longest_run_us = self.longest_run_us.max(other.longest_run_us);
        self.simulated_us += other.simulated_us;
        self.done += other.done;
        self.messages += other.messages;
        self.most_per_request = self.most_per_request.max(other.most_per_request);
        self.longest_wait_us = self.longest_wait_us.max(other.longest_wait_us);
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seeds, at most {} ms each; {} requests done, {} messages to nodes, at most {} each; longest wait {} ms",
            self.seeds,
            self.longest_run_us / 1000,
            self.done,
            self.messages,
            self.most_per_request,
            self.longest_wait_us / 1000
        )
    }
}

/// All scenarios, in order of rows.
pub fn scenarios() -> Vec<Scenario> {
    agreement::SCENARIOS.iter().chain(&once::SCENARIOS).copied().collect()
}

/// One for each place that a leader among five can have.
const REDUCED_SEEDS: u64 = 5;
const FULL_SEEDS: u64 = 50;
