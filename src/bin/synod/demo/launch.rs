//! How a demo starts a node: this very program, as `start`.

use std::path::Path;
use std::process::Command;

use super::folder::Folder;
use crate::answer::Failure;
use crate::grammar::{NodeName, VARIABLES};

/// What starts a node on a port; the tests start something else.
pub type Launch = Box<dyn Fn(&NodeName, u16) -> Command>;

/// Starts nodes by this program, with these limits if told.
pub fn by_this_program(folder: &Folder, window: Option<u32>, batch: Option<u32>) -> Result<Launch, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::not_done(format!("cannot find this program to start nodes with: {error}")))?;
    let voters: Vec<String> = folder.nodes().iter().map(|(name, _)| name.0.clone()).collect();
    let voters = voters.join(",");
    let cookie = folder.cookie();
    let folders: Vec<_> = folder.nodes().iter().map(|(name, _)| (name.clone(), folder.data_of(name))).collect();
    Ok(Box::new(move |name, port| {
        let mut command = Command::new(&program);
        // What the demo was told by the environment is not meant for each of its nodes.
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(VARIABLES)) {
            command.env_remove(variable);
        }
        command.args(["start", "--name", &name.0, "--listen", &format!("127.0.0.1:{port}"), "--or-free-port"]);
        command.args(["--until-stdin-closes", "--ready-json", "--voters", &voters]);
        command.arg("--cookie-file").arg(&cookie);
        if let Some((_, data)) = folders.iter().find(|(of, _)| of == name) {
            command.arg("--data").arg(data);
        }
        for (option, limit) in [("--window", window), ("--batch", batch)] {
            command.args(limit.into_iter().flat_map(|limit| [option.to_owned(), limit.to_string()]));
        }
        command
    }))
}

/// This program as the user called it, to be pasted into another terminal.
pub fn this_program_as_typed() -> String {
    let typed = std::env::args_os().next().map(std::path::PathBuf::from);
    let from_elsewhere = match (&typed, std::env::current_exe()) {
        // Found by PATH: it will be found again.
        (Some(typed), _) if typed.parent() == Some(Path::new("")) => typed.clone(),
        (_, Ok(program)) => program,
        (Some(typed), Err(_)) => typed.clone(),
        (None, Err(_)) => "synod".into(),
    };
    crate::words::quote(&from_elsewhere.to_string_lossy())
}
