//! How answers and failures leave the process: as text, or as one JSON object each.
//!
//! Results go to standard output. A failure goes to standard error as one line, `error: …`; with `--json` its object
//! goes to standard output too, so that there is one object for every command. Whoever closes standard output early
//! (`synod scan | head -1`) has seen enough: that is not an error.

mod json;
mod operation;
mod text;
mod time;

pub use text::{finished, table};

use std::io::{IsTerminal, Write};

use synod::net::report::{SlotReport, SlotState};

use crate::answer::{Answer, Failure};

/// How to show things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// JSON instead of text.
    pub json: bool,
    /// Colours; and tables may be as wide as the terminal only.
    pub terminal: bool,
}

impl Style {
    /// For this process's standard output. `NO_COLOR` is respected by whoever paints.
    pub fn of_stdout(json: bool) -> Style {
        Style { json, terminal: !json && std::io::stdout().is_terminal() }
    }

    /// An answer, without the last newline.
    pub fn answer(self, answer: &Answer) -> String {
        if self.json { json::answer(answer).to_string() } else { text::answer(answer, self.terminal) }
    }
}

/// Standard output is closed: nobody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// The two streams of a process.
pub struct Printer {
    style: Style,
    out: Box<dyn Write>,
    errors: Box<dyn Write>,
    red: bool,
}

impl Printer {
    /// On this process's streams.
    pub fn standard(json: bool) -> Printer {
        Printer {
            style: Style::of_stdout(json),
            out: Box::new(std::io::stdout()),
            errors: Box::new(std::io::stderr()),
            red: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// On streams of the caller's.
    #[cfg(test)]
    pub fn on(style: Style, out: Box<dyn Write>, errors: Box<dyn Write>) -> Printer {
        Printer { style, out, errors, red: false }
    }

    /// Shows an answer.
    pub fn answer(&mut self, answer: &Answer) -> Result<(), Closed> {
        let shown = self.style.answer(answer);
        self.line(&shown)
    }

    /// Shows a failure.
    pub fn failure(&mut self, failure: &Failure) -> Result<(), Closed> {
        let (red, plain) = if self.red { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        // If standard error is gone too, there is nobody left to tell.
        let _ = writeln!(self.errors, "{red}error:{plain} {failure}");
        if self.style.json { self.line(&json::failure(failure).to_string()) } else { Ok(()) }
    }

    /// Shows a line, or several, as they are.
    pub fn line(&mut self, text: &str) -> Result<(), Closed> {
        writeln!(self.out, "{}", text.trim_end_matches('\n')).and_then(|()| self.out.flush()).map_err(|_| Closed)
    }
}

/// Whether the slot holds the command that does nothing.
fn is_no_op(report: &SlotReport) -> bool {
    report.entries.is_empty() && !matches!(report.state, SlotState::Empty | SlotState::Cleared)
}

#[cfg(test)]
mod tests;
