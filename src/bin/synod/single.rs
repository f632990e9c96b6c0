//! `synod put k v`: one command of the REPL, and out.

use crate::answer::Failure;
use crate::backend;
use crate::cookie;
use crate::grammar::{Command, ConnectArgs};
use crate::output::Printer;
use crate::shell::Shell;

/// Runs one command.
pub fn run(connect: &ConnectArgs, command: &Command) -> Result<u8, Failure> {
    let cookie = cookie::read(connect.cookie_file.as_deref())?;
    let backend = backend::connect_for_one(connect, &cookie)?;
    let mut shell = Shell::new(backend, None, Printer::standard(connect.json));
    shell.command(command);
    Ok(shell.exit_code())
}
