//! `synod simulate`: runs of the deterministic world, many seeds or one, and what they came to.
//!
//! | file | what it holds |
//! |---|---|
//! | `hunt` | seeds on threads; the result is that of one thread |
//! | `lab` | scenarios and searches with a name |
//! | `shown` | what was tried and what broke, as text and as JSON |
//!
//! Threads, clocks and the terminal are here; the world itself has none of them.

mod hunt;
mod lab;
mod shown;

use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use hunt::{Ended, Hunt};
use shown::{Found, Tried};
use synod::sim::{self, FaultSet, Plan, Wishes, Workload};

use crate::answer::{DONE, Failure, INTERRUPTED, NOT_DONE};
use crate::output::{Printer, Style, Unshown};

/// Which runs, and how to show them.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    long_about = "Run the protocol in a simulated world, in which everything that can go wrong does, and check that no \
        property breaks. Everything about a run follows from its seed.",
    after_help = "Examples:\n  synod simulate\n  synod simulate --count 100000 --nodes 5\n  \
        synod simulate --faults partition,power-loss\n  synod simulate --faults -damage --json\n  \
        synod simulate --workload bank --count 10000\n  \
        synod simulate --seed 14 --trace\n  synod simulate --seed 14 --trace --from 1200 --to 1500\n  synod simulate --lab\n\n\
        Faults, by group:\n  \
        network     loss, duplicate, reorder, delay, clog\n  \
        partition   halves, isolated, one-way, bridge, ring, quorum-loss,\n              constrained, chained, flapping\n  \
        process     kill, power-loss, pause\n  \
        disk        slow-disk, stalled-disk, full-disk, failed-sync\n  \
        damage      flipped-body, flipped-tail, flipped-metadata,\n              flipped-snapshot, wiped-disk, old-disk,\n              lost-tail\n  \
        clock       clock-jump\n  \
        client      client-moves, client-returns\n  \
        members     churn\n  \
        memory      flipped-memory\n\
        A list is read from left to right; one that begins with `-` begins with all.\n\n\
        Exit codes: 0 no property broke, 1 one did, 2 usage, 130 interrupted; what\n\
        was tried until then is told."
)]
pub struct SimulateArgs {
    /// The first seed [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// How many seeds [default: 1 with --seed, else 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// How many nodes, up to 9 [default: 1 to 5, as the seed decides].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9))]
    pub nodes: Option<u32>,

    /// Which faults may happen: kinds and groups, all, or none; `-` leaves one out. Each seed takes some of them.
    #[arg(long, value_name = "LIST", default_value = "all", allow_hyphen_values = true, value_parser = faults)]
    pub faults: Faults,

    /// What the clients ask: keys and values, or transfers between accounts of the bank.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Load::Kv)]
    pub workload: Load,

    /// How many threads; the result does not depend on it [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,

    /// Show one run as a diagram: a lane for each node, time downwards.
    #[arg(long, requires = "seed", conflicts_with_all = ["count", "json"])]
    pub trace: bool,

    /// With --trace: from this time on.
    #[arg(long, value_name = "MS", requires = "trace")]
    pub from: Option<u64>,

    /// With --trace: up to this time.
    #[arg(long, value_name = "MS", requires = "trace")]
    pub to: Option<u64>,

    /// With --trace, of a run that fails: show the shrunk one.
    #[arg(long, requires = "trace")]
    pub shrunk: bool,

    /// Play the scenarios that are known from a course's lab, and search small instances, instead of running seeds.
    #[arg(long, conflicts_with_all = ["seed", "count", "nodes", "faults", "workload", "trace"])]
    pub lab: bool,

    /// With --lab: only as much of it as the tests do.
    #[arg(long, requires = "lab")]
    pub reduced: bool,

    /// Print one JSON object. Only fields that end in `_seconds` depend on time.
    #[arg(long)]
    pub json: bool,
}

/// What the clients ask.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Keys and values.
    Kv,
    /// Transfers between accounts.
    Bank,
}

/// Faults, and how the user wrote them.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    set: FaultSet,
    written: String,
}

fn faults(word: &str) -> Result<Faults, String> {
    FaultSet::parse(word).map(|set| Faults { set, written: word.to_owned() })
}

impl SimulateArgs {
    fn wishes(&self) -> Wishes {
        let workload = match self.workload {
            Load::Kv => Workload::Kv,
            Load::Bank => Workload::Bank,
        };
        Wishes { nodes: self.nodes, faults: self.faults.set, workload }
    }

    fn first_seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    fn count(&self) -> u64 {
        self.count.unwrap_or(if self.seed.is_some() { 1 } else { DEFAULT_COUNT })
    }

    /// The command that runs one of these seeds again.
    fn replay(&self, seed: u64) -> String {
        let mut words = format!("synod simulate --seed {seed}");
        if let Some(nodes) = self.nodes {
            words += &format!(" --nodes {nodes}");
        }
        if self.workload == Load::Bank {
            words += " --workload bank";
        }
        if self.faults.set != FaultSet::ALL {
            words += &format!(" --faults {}", crate::words::quote(&self.faults.written));
        }
        words
    }
}

/// Runs what was asked for.
pub fn run(args: &SimulateArgs) -> Result<u8, Failure> {
    if args.first_seed().checked_add(args.count() - 1).is_none() {
        return Err(Failure::usage("there are not so many seeds: lower --seed or --count"));
    }
    hunt::keep_panics_quiet();
    let interrupted = hunt::watch_for_interrupt();
    if args.lab {
        return lab::run(!args.reduced, args.json, &interrupted);
    }
    if args.trace {
        return trace(args, &interrupted);
    }
    let began = Instant::now();
    let bar = progress(args.count(), "{bar:32} {pos}/{len} seeds, {per_sec:.0}, {eta} to go  {msg}");
    let jobs = jobs(args.jobs).min(usize::try_from(args.count()).unwrap_or(usize::MAX));
    let hunt = Hunt { first: args.first_seed(), count: args.count(), wishes: args.wishes(), jobs };
    let ended = hunt.run(&interrupted, |done| bar.set_position(done));
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let Ended { total, failure, trace_hash, was_interrupted } = ended;
    let found = failure.map(|(failure, place)| {
        let shrunk = shrink(&failure, &interrupted);
        Found { replay: args.replay(failure.plan.seed), place, failure, shrunk }
    });
    let tried = Tried { args, total, trace_hash, jobs: hunt.jobs, seconds, found, was_interrupted };
    let mut printer = Printer::standard(args.json);
    let shown = if args.json { tried.json().to_string() } else { tried.text(Style::of_stdout(false)) };
    let code = tried.exit_code();
    let shown = printer.line(&shown);
    if let Some(found) = &tried.found {
        complain(&found.failure);
    }
    Ok(shown.map_or_else(Unshown::exit_code, |()| DONE).max(code))
}

/// One run as a diagram.
fn trace(args: &SimulateArgs, interrupted: &hunt::Interrupted) -> Result<u8, Failure> {
    let (from, to) = (args.from.unwrap_or(0), args.to.unwrap_or(u64::MAX));
    if from > to {
        return Err(Failure::usage(format!("--from {from} is after --to {to}")));
    }
    let within_us = from.saturating_mul(1000)..=to.saturating_mul(1000).saturating_add(999);
    let mut plan = Plan::new(args.first_seed(), &args.wishes());
    if args.shrunk {
        let ran = hunt::ran(|| sim::run(&plan)).0;
        match ran.failure {
            Some(failure) => plan = shrink(&failure, interrupted).0.plan,
            None => return Err(Failure::not_done(format!("seed {} breaks nothing: leave out --shrunk", plan.seed))),
        }
    }
    let ((outcome, diagram), place) = hunt::ran(|| sim::run::diagram(&plan, &within_us));
    if interrupted.is_set() {
        return Ok(INTERRUPTED);
    }
    let verdict = match &outcome.failure {
        None if outcome.counts.excused > 0 => format!("EXCUSED: {}", shown::EXCUSED),
        None => "no property broke".to_owned(),
        Some(failure) => shown::verdict(failure, place.as_deref()),
    };
    let shown = Printer::standard(false).line(&format!("{plan}\n\n{diagram}\n{verdict}"));
    if let Some(failure) = &outcome.failure {
        complain(failure);
    }
    let code = if outcome.failure.is_some() { NOT_DONE } else { DONE };
    Ok(shown.map_or_else(Unshown::exit_code, |()| DONE).max(code))
}

/// A smaller failure, and how many runs it took to find.
fn shrink(failure: &sim::Failure, interrupted: &hunt::Interrupted) -> (sim::Failure, u64) {
    let bar = progress(SHRINK_RUNS as u64, "shrinking seed {msg}: {pos} runs of {len} at most");
    bar.set_message(failure.plan.seed.to_string());
    let mut runs = 0;
    let smallest = sim::run::shrink_by(failure, SHRINK_RUNS, |plan| {
        if interrupted.is_set() {
            return None;
        }
        runs += 1;
        bar.set_position(runs);
        hunt::ran(|| sim::run(plan)).0.failure
    });
    bar.finish_and_clear();
    (smallest, runs)
}

/// Says in one line on standard error what broke.
fn complain(failure: &sim::Failure) {
    let said = Failure::not_done(format!("seed {} breaks {}", failure.plan.seed, failure.broken).replace('\n', " "));
    // If standard error is gone, the exit code still tells.
    let _ = Printer::standard(false).failure(&said);
}

/// Drawn on a terminal only, on standard error.
fn progress(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn jobs(wanted: Option<u16>) -> usize {
    wanted.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

/// Seeds, if neither --seed nor --count says.
const DEFAULT_COUNT: u64 = 1000;
/// Runs that the shrinking of one failure may take.
const SHRINK_RUNS: usize = 400;
