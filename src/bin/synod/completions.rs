//! `synod completions SHELL`: prints what a shell needs to complete our command line.

use clap::Args;

use crate::answer::{DONE, Failure};
use crate::grammar;
use crate::output::{Printer, Unshown};

/// Which shell.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "Example:\n  synod completions bash > ~/.local/share/bash-completion/completions/synod")]
pub struct CompletionsArgs {
    /// Whose script.
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut grammar::command_line(), "synod", &mut script);
    Ok(Printer::standard(false).line(&String::from_utf8_lossy(&script)).map_or_else(Unshown::exit_code, |()| DONE))
}
