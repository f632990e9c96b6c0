//! `synod bank run FILE`: a file of sets of transfers on nodes of its own, with what came of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `script` | what a file says, and everything that is wrong with it |
//! | `play` | the nodes, the clients, and what happens set by set |
//! | `book` | what the accounts must hold by reading the file from top to bottom |
//! | `report` | what came of a set, as text and as JSON |

mod book;
mod play;
mod report;
mod script;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use crate::answer::{DONE, Failure};
use crate::demo::{self, Wanted};
use crate::grammar::deadline;
use crate::output::{Printer, Style, Unshown, counted};
use play::Play;
use report::Report;
use script::{Mistake, Script};

/// Which file, and on what.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    override_usage = "synod bank run FILE [OPTIONS]",
    after_help = "Examples:\n  synod bank run transfers.csv\n  synod bank run transfers.csv --check\n  \
        synod bank run transfers.csv --nodes 3 --json\n\n\
        The file, with a header and three columns:\n  \
        Set Number,Transactions,Live Nodes\n  \
        1,\"(A, B, 3)\",\"[n1, n2, n3, n4, n5]\"\n  \
        ,\"(C, D, 2)\",\n  \
        ,LF,\n  \
        2,\"(G, H, 4)\",\"[n1, n3, n5]\"\n\
        A number begins a set, in which the listed nodes live and the others do not. LF: the\n\
        leader fails, until a set lists it. Transfers of a set with too few nodes wait for the\n\
        next one with enough.\n\n\
        Exit codes: 0 all of it was settled, 1 the accounts or the nodes are not as they must\n\
        be, 2 usage, 3 transfers are pending at the end."
)]
pub struct BankArgs {
    /// What to do with it.
    #[arg(value_name = "run", value_enum)]
    pub action: Action,

    /// The file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// How many nodes: n1, n2 and so on.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,

    /// Only say what is wrong with the file.
    #[arg(long)]
    pub check: bool,

    /// How long one transfer may take before it is told again.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub deadline: Duration,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What to do with a file.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run it.
    Run,
}

/// Reads the file, and if nothing is wrong with it, plays it.
pub fn run(args: &BankArgs) -> Result<u8, Failure> {
    let Action::Run = args.action;
    let script = read(args)?;
    let mut printer = Printer::standard(args.json);
    let shown = |shown: Result<(), Unshown>, code: u8| shown.map_or_else(Unshown::exit_code, |()| code);
    if args.check {
        let (sets, transfers) = (script.sets.len(), script.transfers().count());
        let said = match args.json {
            true => serde_json::json!({"sets": sets, "transfers": transfers}).to_string(),
            false => {
                let (sets, transfers) = (counted(sets as u64, "set"), counted(transfers as u64, "transfer"));
                format!("nothing is wrong: {sets}, {transfers}")
            }
        };
        return Ok(shown(printer.line(&said), DONE));
    }
    let running = demo::launch(&Wanted {
        data: None,
        nodes: Some(args.nodes),
        window: None,
        batch: None,
        deadline: args.deadline,
        json: args.json,
    })?;
    let mut play = Play::begin(running)?;
    let mut report = Report::default();
    for set in &script.sets {
        let came = play.set(set)?;
        if !args.json {
            let text = came.text(Style::of_stdout(false));
            if let Err(unshown) = printer.line(&text) {
                return Ok(unshown.exit_code());
            }
        }
        report.sets.push(came);
    }
    report.pending = play.pending();
    let last = if args.json { report.json().to_string() } else { report.ending() };
    Ok(shown(printer.line(&last), report.exit_code()))
}

/// The file; or all that is wrong with it.
fn read(args: &BankArgs) -> Result<Script, Failure> {
    let path = args.file.as_path();
    let bytes =
        std::fs::read(path).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    let script = Script::read(&bytes).map_err(|mistakes| wrong(path, &mistakes))?;
    let mistakes = script.strangers(args.nodes);
    if mistakes.is_empty() { Ok(script) } else { Err(wrong(path, &mistakes)) }
}

fn wrong(path: &Path, mistakes: &[Mistake]) -> Failure {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    Failure::usage(format!("{}: nothing is run, because of{}", path.display(), lines.concat()))
}
