//! `synod repl`: a prompt on a terminal; without one, a script on standard input; with `-e`, only those commands.

mod complete;
mod prompt;

use std::io::IsTerminal;

use clap::Args;

use crate::answer::Failure;
use crate::backend;
use crate::cookie;
use crate::grammar::ConnectArgs;
use crate::output::Printer;
use crate::shell::Shell;

/// What to attach to, and what to run there.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    after_help = "Examples:\n  synod repl --connect 127.0.0.1:7101,127.0.0.1:7102\n  synod repl -e 'put k v' -e 'get k'\n  \
    synod repl --json --stop-on-error < script"
)]
pub struct ReplArgs {
    /// How to reach the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// What to run.
    #[command(flatten)]
    pub script: ScriptArgs,
}

/// What to run in place of a prompt.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct ScriptArgs {
    /// Run this command, and leave; may be repeated.
    #[arg(short = 'e', long = "execute", value_name = "COMMAND")]
    pub execute: Vec<String>,

    /// Leave at the first command that fails.
    #[arg(long)]
    pub stop_on_error: bool,
}

impl ScriptArgs {
    /// Whether a person will be prompted.
    pub fn is_interactive(&self) -> bool {
        self.execute.is_empty() && std::io::stdin().is_terminal()
    }
}

/// Attaches, and runs.
pub fn run(args: &ReplArgs) -> Result<u8, Failure> {
    let cookie = cookie::read(args.connect.cookie_file.as_deref())?;
    let backend = backend::connect(&args.connect, &cookie)?;
    let mut shell = Shell::new(backend, None, Printer::standard(args.connect.json));
    serve(&mut shell, &args.script)
}

/// Runs what there is to run: commands, a script, or a prompt. Gives the exit code.
pub fn serve(shell: &mut Shell<'_>, script: &ScriptArgs) -> Result<u8, Failure> {
    if !script.execute.is_empty() {
        shell.commands(script.execute.iter().map(String::as_str), script.stop_on_error);
        Ok(shell.exit_code())
    } else if script.is_interactive() {
        // A person has seen what went wrong, and has gone on.
        prompt::run(shell).map(|()| 0)
    } else {
        shell.script(std::io::stdin().lock(), script.stop_on_error);
        Ok(shell.exit_code())
    }
}
