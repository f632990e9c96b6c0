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

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use synod::machine::kv::MAX_VALUE_BYTES;

use history::History;
use load::Load;

use crate::answer::{Failure, UNKNOWN};
use crate::cookie;
use crate::demo::{self, Running};
use crate::grammar::{Address, DEFAULT_CLUSTER, DEFAULT_DEADLINE, dialled, deadline};
use crate::output::{Printer, Style, Unshown};

/// What to measure, and on what.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "Examples:\n  synod bench\n  synod bench --mode read --clients 256\n  \
    synod bench --rate 20000 --duration 60\n  synod bench --connect 127.0.0.1:7101 --history history.jsonl --json")]
pub struct BenchArgs {
    /// What the clients do; `mixed` is half writes, half reads.
    #[arg(long, value_enum, default_value_t = Mode::Write)]
    pub mode: Mode,

    /// How many clients, each with a connection of its own.
    #[arg(long, value_name = "N", default_value = "64")]
    pub clients: NonZeroU16,

    /// How many operations each has under way.
    #[arg(long, value_name = "N", default_value = "1")]
    pub in_flight: NonZeroU16,

    /// How many bytes a value has.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(32..=MAX_VALUE_BYTES as i64))]
    pub value_size: u32,

    /// How many keys there are.
    #[arg(long, value_name = "N", default_value = "1000")]
    pub keys: NonZeroU32,

    /// For how long to measure.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = deadline)]
    pub duration: Duration,

    /// For how long to run before that.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = deadline)]
    pub warmup: Duration,

    /// Begin so many operations a second, whether or not the ones before are done: latency counts from then. Without it
    /// a client begins the next operation when one is done.
    #[arg(long, value_name = "A_SECOND")]
    pub rate: Option<NonZeroU32>,

    /// Write every operation to this file, one JSON object a line, for a checker of linearizability.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,

    /// How many nodes of its own to start [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9), conflicts_with = "connect")]
    pub nodes: Option<u16>,

    /// Keep its own nodes in this folder; if they are there already, continue them.
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub data: Option<PathBuf>,

    /// Put the load on the cluster of these nodes; it is real, and the keys `bench-…` stay there.
    #[arg(long, value_name = "HOST:PORT[,…]", value_delimiter = ',', value_parser = dialled)]
    pub connect: Vec<Address>,

    /// The name of that cluster.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER, value_parser = NonEmptyStringValueParser::new())]
    pub cluster: String,

    /// The secret of that cluster [default: a file of the user's].
    #[arg(long, value_name = "FILE")]
    pub cookie_file: Option<PathBuf>,

    /// How long one operation may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub deadline: Duration,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
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
}

impl Mode {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Write => "write",
            Mode::Read => "read",
            Mode::LocalRead => "local-read",
            Mode::Mixed => "mixed",
        }
    }
}

/// Puts the load on, and prints what it came to.
pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    let history = args.history.as_deref().map(History::create).transpose()?;
    // Its nodes end when this goes.
    let own: Option<Running> = match args.connect.is_empty() {
        true => Some(demo::launch(args.data.as_deref(), args.nodes, DEFAULT_DEADLINE, false)?),
        false => None,
    };
    let (addresses, cookie_file) = match &own {
        Some(own) => (own.connect.connect.clone(), own.connect.cookie_file.clone()),
        None => (args.connect.clone(), args.cookie_file.clone()),
    };
    let load = Load {
        addresses: addresses.iter().map(Address::to_string).collect(),
        cluster: args.cluster.clone(),
        cookie: cookie::read(cookie_file.as_deref())?,
        args: args.clone(),
    };
    // One thread: the nodes are to have the others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::not_done(format!("no runtime for the clients: {error}")))?;
    let bar = progress();
    let came_to = runtime.block_on(load.run(history, |so_far| bar.set_message(so_far)));
    bar.finish_and_clear();
    let report = came_to?;
    let style = Style::of_stdout(args.json);
    let shown = if args.json { report.json().to_string() } else { report.text(style) };
    let printed = Printer::standard(args.json).line(&shown);
    let code = if report.is_certain() { 0 } else { UNKNOWN };
    Ok(printed.map_or_else(Unshown::exit_code, |()| code))
}

/// A line that says how it goes; drawn on a terminal only, on standard error.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}
