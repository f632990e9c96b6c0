//! `synod bench`: a load on a cluster, and what it came to.
//!
//! | file | what it holds |
//! |---|---|
//! | `load` | clients, each with a connection and a session of its own, and what they do |
//! | `pace` | when an operation is to begin, in an open loop |
//! | `measured` | counts and latencies |
//! | `nodes` | what the processes spent meanwhile |
//! | `history` | every operation as a line of JSON |
//! | `shown` | the report, as text and as JSON |

mod history;
mod load;
mod measured;
mod nodes;
mod pace;
mod shown;

use std::io::Write;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use synod::client::session::WINDOW;
use synod::machine::bank::MAX_TRANSFERS;
use synod::machine::kv::MAX_VALUE_BYTES;

use history::History;
use load::{Ended, Load};

use crate::answer::Failure;
use crate::cookie;
use crate::demo::{self, Running, Signals, Wanted};
use crate::grammar::{Address, DEFAULT_CLUSTER, deadline, dialled};
use crate::output::{Printer, Style, Unshown};

/// What to measure, and on what.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "Examples:\n  synod bench\n  synod bench --mode read --clients 256\n  \
        synod bench --clients 64 --in-flight 16 --value-size 1024\n  synod bench --window 1 --batch 1\n  \
        synod bench --rate 5000 --duration 60\n  \
        synod bench --mode transfer --transfers 8000 --clients 4\n  \
        synod bench --connect 127.0.0.1:7101,127.0.0.1:7102 --mode mixed --json\n  \
        synod bench --mode mixed --keys 50 --history history.jsonl\n\n\
        ctrl-C ends it early, with the report of what was measured until then; a second\none ends it at once.\n\n\
        Exit codes: 0 every operation was done, 1 some were not, or it could not be\nmeasured, 2 usage, 3 the outcome \
        of some is unknown, 130 interrupted, 143\nterminated.")]
pub struct BenchArgs {
    /// What the clients do: `write`, `read` (linearizably), `local-read` (what the connected node has executed, however
    /// old), `mixed`: half writes, half reads, or `transfer`: have the bank settle batches of transfers.
    #[arg(long, value_enum, default_value_t = Mode::Write, hide_possible_values = true)]
    pub mode: Mode,

    /// How many clients, each with a connection and a session of its own; they are shared out among the nodes.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    pub clients: u16,

    /// How many operations each client has under way.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=WINDOW as i64))]
    pub in_flight: u16,

    /// How many bytes a value has.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(0..=MAX_VALUE_BYTES as i64))]
    pub value_size: u32,

    /// How many keys there are; each operation takes one of them, by chance.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=MOST_KEYS))]
    pub keys: u32,

    /// With `--mode transfer`: how many transfers one operation holds [default: 1000]. There are as many accounts as keys.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_TRANSFERS as i64))]
    pub transfers: Option<u32>,

    /// For how long to measure.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = deadline)]
    pub duration: Duration,

    /// For how long to run before that.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = warmup)]
    pub warmup: Duration,

    /// Begin so many operations a second, whether or not those before are done, and count latency from when each should
    /// have begun [default: a client begins the next when one is done].
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<NonZeroU32>,

    /// How long one operation may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub deadline: Duration,

    /// Write every operation to this file, a JSON object a line, for a checker of linearizability.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// How many nodes of its own to start [default: 3, or as many as the folder has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9), conflicts_with = "connect", help_heading = OWN)]
    pub nodes: Option<u16>,

    /// Keep them in this folder; if they are there already, continue them [default: a temporary folder].
    #[arg(long, value_name = "DIR", conflicts_with = "connect", help_heading = OWN)]
    pub data: Option<PathBuf>,

    /// How many slots the leader drives at once; 1 is one entry at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536), conflicts_with = "connect", help_heading = OWN)]
    pub window: Option<u32>,

    /// How many commands travel in one slot at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536), conflicts_with = "connect", help_heading = OWN)]
    pub batch: Option<u32>,

    /// Its nodes; any of them will do. The keys `bench-…` are written, and stay.
    #[arg(long, value_name = "HOST:PORT[,…]", value_delimiter = ',', value_parser = dialled, help_heading = RUNNING)]
    pub connect: Vec<Address>,

    /// Its name [default: synod].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), requires = "connect", help_heading = RUNNING)]
    pub cluster: Option<String>,

    /// Its secret [default: a file of the user's].
    #[arg(long, value_name = "FILE", requires = "connect", help_heading = RUNNING)]
    pub cookie_file: Option<PathBuf>,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Write.
    Write,
    /// Read, linearizably.
    Read,
    /// Read what the connected node has executed, however old that is.
    LocalRead,
    /// Write and read.
    Mixed,
    /// Move money.
    Transfer,
}

impl Mode {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Write => "write",
            Mode::Read => "read",
            Mode::LocalRead => "local-read",
            Mode::Mixed => "mixed",
            Mode::Transfer => "transfer",
        }
    }
}

/// Puts the load on, and prints what it came to.
pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    check_transfers(args)?;
    if args.history.is_some() && args.value_size < LONGEST_WORD {
        let size = args.value_size;
        return Err(Failure::usage(format!(
            "--value-size {size} is too small for a history, in which no two writes write the same: give at least \
             {LONGEST_WORD}, or leave out --history"
        )));
    }
    let history = args.history.as_deref().map(History::create).transpose()?;
    // Its nodes end when this goes.
    let own = if args.connect.is_empty() { Some(launch(args)?) } else { None };
    let alone = own.is_none().then(Signals::alone);
    let interrupted = own.as_ref().map(Running::signals).or(alone.as_ref()).map(Signals::told_first);
    let load = load(args, own.as_ref())?;
    // One thread: the nodes are to have the others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::not_done(format!("no runtime for the clients: {error}")))?;
    let bar = progress();
    let interrupted = async {
        if let Some(told) = interrupted
            && let Ok(code) = told.await
        {
            return code;
        }
        std::future::pending().await
    };
    let ended = runtime.block_on(load.run(history, interrupted, |so_far| bar.set_message(so_far)));
    bar.finish_and_clear();
    let (report, history) = match ended? {
        Ended::Measured(report, history) => (report, history),
        Ended::TooEarly(code) => {
            // If nobody reads it, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "interrupted before anything was measured");
            return Ok(code);
        }
    };
    let mut printer = Printer::standard(args.json);
    let shown = if args.json { report.json().to_string() } else { report.text(Style::of_stdout(false)) };
    let code = printer.line(&shown).map_or_else(Unshown::exit_code, |()| report.exit_code());
    history.map(|()| code)
}

fn check_transfers(args: &BenchArgs) -> Result<(), Failure> {
    let usage = |what: &str| Err(Failure::usage(what));
    match args.mode {
        Mode::Transfer if args.history.is_some() => {
            usage("--history is of keys: leave it out, or choose another --mode")
        }
        Mode::Transfer if args.keys < 2 => usage("--keys 1 is one account, and a transfer needs two"),
        Mode::Transfer => Ok(()),
        _ if args.transfers.is_some() => usage("--transfers is for --mode transfer"),
        _ => Ok(()),
    }
}

fn launch(args: &BenchArgs) -> Result<Running, Failure> {
    demo::launch(&Wanted {
        data: args.data.as_deref(),
        nodes: args.nodes,
        window: args.window,
        batch: args.batch,
        deadline: args.deadline,
        json: args.json,
    })
}

/// On the nodes of its own, if there are any.
fn load(args: &BenchArgs, own: Option<&Running>) -> Result<Load, Failure> {
    let (addresses, cookie_file) = match own {
        Some(own) => (&own.connect.connect, own.connect.cookie_file.as_deref()),
        None => (&args.connect, args.cookie_file.as_deref()),
    };
    Ok(Load {
        addresses: addresses.iter().map(Address::to_string).collect(),
        cluster: args.cluster.clone().unwrap_or_else(|| DEFAULT_CLUSTER.to_owned()),
        cookie: cookie::read(cookie_file)?,
        args: args.clone(),
    })
}

/// A line that says how it goes; drawn on a terminal only, on standard error.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// A time in seconds, or none.
fn rate(word: &str) -> Result<NonZeroU32, String> {
    word.parse().map_err(|_| format!("`{word}` is not a rate: write a whole number, from 1 to {}", u32::MAX))
}

fn warmup(word: &str) -> Result<Duration, String> {
    if word == "0" { Ok(Duration::ZERO) } else { deadline(word) }
}

/// In one operation, unless told.
const TRANSFERS: u32 = 1000;
/// All keys are held, ready to be sent.
const MOST_KEYS: i64 = 1_000_000;
/// A history's values begin with a word, which no other write has, and a space.
const LONGEST_WORD: u32 = 24;
const OWN: &str = "Nodes of its own";
const RUNNING: &str = "A cluster that runs";
