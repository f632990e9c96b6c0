//! Runs commands one after the other, whoever types them: the prompt, a script, or `-e`.
//!
//! A script goes on after a failure unless told to stop; the exit code is the worst one, which is the highest: an
//! unknown outcome (3) is worse than a usage error (2), which is worse than not done (1).

use std::io::BufRead;
use std::time::{Duration, Instant};

use synod::net::report::{Inspection, Report, Status};

use crate::answer::{Answer, Failure};
use crate::backend::Backend;
use crate::execute::{self, Leading, execute};
use crate::grammar::{self, Command, LEADER, Line, NodeName, StageCommand, Stop};
use crate::output::{Printer, Unshown};

/// Whoever owns the nodes' processes.
pub trait Stage {
    /// Kills a node.
    fn fail(&mut self, node: &NodeName) -> Result<Answer, Failure>;

    /// Starts a node again; returns when it listens.
    fn recover(&mut self, node: &NodeName) -> Result<Answer, Failure>;
}

/// A cluster, perhaps a stage, a printer, and what has gone wrong so far.
pub struct Shell<'a> {
    backend: Box<dyn Backend + 'a>,
    stage: Option<&'a mut dyn Stage>,
    printer: Printer,
    worst: u8,
    /// Where a script is.
    at_line: Option<u64>,
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The command was done.
    Done,
    /// It was not; it has been said.
    Failed,
    /// The user leaves, or nobody reads what we say.
    Leave,
}

impl<'a> Shell<'a> {
    /// Nothing has gone wrong yet.
    pub fn new(backend: Box<dyn Backend + 'a>, stage: Option<&'a mut dyn Stage>, printer: Printer) -> Shell<'a> {
        Shell { backend, stage, printer, worst: 0, at_line: None }
    }

    /// Runs one line.
    pub fn line(&mut self, line: &str) -> Flow {
        let result = match grammar::parse_line(line, self.stage.is_some()) {
            Ok(Line::Blank) => return Flow::Done,
            Ok(Line::Exit) => return Flow::Leave,
            Ok(Line::Cluster(command)) => execute(&command, self.backend.as_mut()),
            Ok(Line::Stage(command)) => self.staged(&command),
            Err(Stop::Show(text)) => {
                let shown = self.printer.line(&text);
                return self.flow(0, shown);
            }
            Err(Stop::Usage(failure)) => Err(failure),
        };
        self.show(result)
    }

    /// Runs one command that was parsed elsewhere.
    pub fn command(&mut self, command: &Command) -> Flow {
        let result = execute(command, self.backend.as_mut());
        self.show(result)
    }

    /// Runs commands until one of them leaves, or, if told so, fails.
    pub fn commands<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>, stop_on_error: bool) {
        for line in lines {
            match self.line(line) {
                Flow::Done => {}
                Flow::Failed if !stop_on_error => {}
                Flow::Failed | Flow::Leave => return,
            }
        }
    }

    /// Runs a script, each line when it comes.
    pub fn script(&mut self, mut input: impl BufRead, stop_on_error: bool) {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            self.at_line = Some(number);
            let flow = match input.read_until(b'\n', &mut bytes) {
                Ok(0) => return,
                Ok(_) => match std::str::from_utf8(&bytes) {
                    Ok(line) => self.line(line.trim_end_matches(['\n', '\r'])),
                    Err(_) => self.show(Err(Failure::usage("a line of the script is not UTF-8"))),
                },
                Err(error) => {
                    self.show(Err(Failure::usage(format!("the script cannot be read: {error}"))));
                    return;
                }
            };
            if flow == Flow::Leave || (flow == Flow::Failed && stop_on_error) {
                return;
            }
        }
    }

    /// The names of the nodes, for completion.
    pub fn node_names(&self) -> Vec<String> {
        self.backend.node_names()
    }

    /// Whether `fail` and `recover` are commands here.
    pub fn is_staged(&self) -> bool {
        self.stage.is_some()
    }

    /// The worst exit code so far.
    pub fn exit_code(&self) -> u8 {
        self.worst
    }

    fn staged(&mut self, command: &StageCommand) -> Result<Answer, Failure> {
        let stage = self.stage.as_mut().ok_or_else(|| Failure::usage("only the demo can do that"))?;
        match command {
            StageCommand::Fail { node } if node.0 == LEADER => match execute::leader(self.backend.as_mut())? {
                Leading::Known(leader) => stage.fail(&leader.name.parse().map_err(Failure::not_done)?),
                Leading::Nobody { why, .. } => {
                    Err(Failure::not_done(format!("nobody leads: {why}; name a node to fail")))
                }
            },
            StageCommand::Fail { node } => stage.fail(node),
            StageCommand::Recover { node } => {
                let answer = stage.recover(node)?;
                if let Answer::Recovered { name, address, .. } = &answer {
                    // Its address may be a new one. If nobody can be told now, it tells them itself when it dials.
                    if let Err(failure) = self.backend.connect_node(&name.0, address) {
                        log::info!("{name} is back at {address}, but could not be introduced: {failure}");
                    }
                    self.wait_until_caught_up(&name.0);
                }
                Ok(answer)
            }
        }
    }

    /// Until a node has executed what the others know to be chosen; but not for ever.
    fn wait_until_caught_up(&mut self, name: &str) {
        let began = Instant::now();
        while began.elapsed() < CAUGHT_UP_WITHIN {
            let asked = self.backend.inspect(None, Inspection::Status).unwrap_or_default();
            let statuses: Vec<Status> = asked
                .into_iter()
                .filter_map(|(_, report)| match report {
                    Ok(Report::Status(status)) => Some(*status),
                    _ => None,
                })
                .collect();
            let goal = statuses.iter().map(|status| status.chosen_upto).max();
            let own = statuses.iter().find(|status| status.name == name);
            if own.is_some_and(|own| own.trouble.is_none() && Some(own.executed_upto) >= goal) {
                return;
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn show(&mut self, result: Result<Answer, Failure>) -> Flow {
        let result = result.map_err(|failure| match self.at_line {
            Some(line) => failure.in_line(line),
            None => failure,
        });
        let (code, shown) = match &result {
            Ok(answer) => (answer.exit_code(), self.printer.answer(answer)),
            Err(failure) => (failure.exit_code(), self.printer.failure(failure)),
        };
        self.flow(code, shown)
    }

    fn flow(&mut self, code: u8, shown: Result<(), Unshown>) -> Flow {
        self.worst = self.worst.max(code);
        match shown {
            Err(unshown) => {
                self.worst = self.worst.max(unshown.exit_code());
                Flow::Leave
            }
            Ok(()) if code == 0 => Flow::Done,
            Ok(()) => Flow::Failed,
        }
    }
}

/// For a recovered node.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
