//! The `synod` program: parse, dispatch, exit code.
//!
//! | file | what it holds |
//! |---|---|
//! | `grammar` | what a user may type, on the command line and at the prompt |
//! | `start`, `repl`, `demo`, `simulate`, `bench`, `top`, `backup`, `completions`, `single` | the subcommands; `single` is every command of the REPL |
//! | `shell` | runs commands one after the other and keeps the worst exit code |
//! | `execute`, `backend` | one command, against a cluster |
//! | `answer`, `output` | what it came to, and how that is shown |
//! | `news` | log lines, also around a prompt |
//! | `words`, `cookie` | quoting; the shared secret |
//!
//! No panic reaches a user: it becomes one line and exit code 70.

mod answer;
mod backend;
mod backup;
mod bank;
mod bench;
mod completions;
mod cookie;
mod demo;
mod execute;
mod grammar;
mod news;
mod output;
mod repl;
mod shell;
mod simulate;
mod single;
mod start;
mod top;
mod words;

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;

use answer::{DONE, Failure, INTERNAL};
use grammar::{Program, Stop};
use output::{Printer, Unshown};

/// Of the time of a busy node, an eighth went into the system's allocator (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    report_panics();
    news::begin();
    // Unwinding lets go of children, folders and the terminal's mode before the process ends.
    let code = panic::catch_unwind(|| match grammar::parse_arguments(std::env::args_os()) {
        Ok(program) => run(&program).unwrap_or_else(|failure| complain(&failure, wants_json(&program))),
        Err(Stop::Show(text)) => Printer::standard(false).line(&text).map_or_else(Unshown::exit_code, |()| DONE),
        Err(Stop::Usage(failure)) => complain(&failure, asks_for_json(std::env::args_os())),
    });
    ExitCode::from(code.unwrap_or(INTERNAL))
}

fn run(program: &Program) -> Result<u8, Failure> {
    match program {
        Program::Start(args) => start::run(args),
        Program::Repl(args) => repl::run(args),
        Program::Demo(args) => demo::run(args),
        Program::Simulate(args) => simulate::run(args),
        Program::Bench(args) => bench::run(args),
        Program::Bank(args) => bank::run(args),
        Program::Top(args) => top::run(args),
        Program::Backup(args) => backup::run(args),
        Program::Restore(args) => backup::restore::run(args),
        Program::Completions(args) => completions::run(args),
        Program::Single(connect, command) => single::run(connect, command),
    }
}

fn complain(failure: &Failure, json: bool) -> u8 {
    // If nobody reads it, the exit code still tells.
    let _ = Printer::standard(json).failure(failure);
    failure.exit_code()
}

/// Whether words that make no command ask for JSON all the same.
fn asks_for_json(words: impl Iterator<Item = OsString>) -> bool {
    words.take_while(|word| word != "--").any(|word| word == "--json")
}

fn wants_json(program: &Program) -> bool {
    match program {
        Program::Repl(args) => args.connect.json,
        Program::Demo(args) => args.json,
        Program::Simulate(args) => args.json,
        Program::Bench(args) => args.json,
        Program::Bank(args) => args.json,
        Program::Top(args) => args.connect.json,
        Program::Backup(args) => args.connect.json,
        Program::Restore(args) => args.json,
        Program::Single(connect, _) => connect.json,
        Program::Start(_) | Program::Completions(_) => false,
    }
}

/// A panic is a mistake of ours. On the main thread the stack unwinds to `main`; on any other nobody would notice that
/// a part of the program is gone, so the process ends there: what was acknowledged is durable by then.
fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        use std::io::Write;
        let payload = panic.payload();
        let what = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
        let what = what.unwrap_or("no reason given").replace('\n', " ");
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let place = place.unwrap_or_default();
        // Standard error may be closed, and this hook must not panic.
        let _ = writeln!(std::io::stderr(), "internal error: {what}{place}; please report it");
        if std::thread::current().name() != Some("main") {
            std::process::exit(i32::from(INTERNAL));
        }
    }));
}
