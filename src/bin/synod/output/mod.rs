//! How answers and failures leave the process: as text, or as one JSON object each.
//!
//! Results go to standard output. A failure goes to standard error as one line, `error: …`; with `--json` its object
//! goes to standard output too, so that there is one object for every command. Whoever closes standard output early
//! (`synod scan | head -1`) has seen enough: that is not an error. If it cannot be written for another reason, as on a full
//! disk, that is said, and the exit code tells.

mod bank;
mod json;
mod operation;
mod text;
mod time;

pub use text::{finished, table, to_the_right};
pub use time::utc;

use std::io::{IsTerminal, Write};

use synod::net::report::{SlotReport, SlotState};

use crate::answer::{Answer, DONE, Failure, NOT_DONE};

/// How to show things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// JSON instead of text.
    pub json: bool,
    /// Tables may be as wide as the terminal only.
    pub terminal: bool,
    /// Bold and coloured text.
    pub colours: bool,
}

impl Style {
    /// For this process's standard output.
    pub fn of_stdout(json: bool) -> Style {
        let terminal = !json && std::io::stdout().is_terminal();
        Style { json, terminal, colours: terminal && may_paint() }
    }

    /// An answer, without the last newline.
    pub fn answer(self, answer: &Answer) -> String {
        if self.json { json::answer(answer).to_string() } else { text::answer(answer, self) }
    }
}

/// Whether the user bears colours (<https://no-color.org>).
fn may_paint() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Why nothing more can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshown {
    /// Standard output is closed: nobody reads on.
    Closed,
    /// It cannot be written, which has been said.
    Broken,
}

impl Unshown {
    /// What the process exits with for this alone.
    pub fn exit_code(self) -> u8 {
        match self {
            Unshown::Closed => DONE,
            Unshown::Broken => NOT_DONE,
        }
    }
}

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
            red: std::io::stderr().is_terminal() && may_paint(),
        }
    }

    /// On streams of the caller's.
    #[cfg(test)]
    pub fn on(style: Style, out: Box<dyn Write>, errors: Box<dyn Write>) -> Printer {
        Printer { style, out, errors, red: false }
    }

    /// Shows an answer.
    pub fn answer(&mut self, answer: &Answer) -> Result<(), Unshown> {
        let shown = self.style.answer(answer);
        self.line(&shown)
    }

    /// Shows a failure.
    pub fn failure(&mut self, failure: &Failure) -> Result<(), Unshown> {
        self.complain(failure);
        if self.style.json { self.line(&json::failure(failure).to_string()) } else { Ok(()) }
    }

    fn complain(&mut self, what: &dyn std::fmt::Display) {
        let (red, plain) = if self.red { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        // If standard error is gone too, there is nobody left to tell.
        let _ = writeln!(self.errors, "{red}error:{plain} {what}");
    }

    /// Shows a line, or several, as they are.
    pub fn line(&mut self, text: &str) -> Result<(), Unshown> {
        let written = writeln!(self.out, "{}", text.trim_end_matches('\n')).and_then(|()| self.out.flush());
        written.map_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return Unshown::Closed;
            }
            self.complain(&format!(
                "cannot write to standard output: {error}; what was asked for may have been done all the same"
            ));
            Unshown::Broken
        })
    }
}

/// `1 client`, `2 clients`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// With a comma at every thousand.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A short time, for people.
pub fn milliseconds(us: u64) -> String {
    format!("{:.2} ms", us as f64 / 1e3)
}

/// Whether the slot holds the command that does nothing.
fn is_no_op(report: &SlotReport) -> bool {
    report.entries.is_empty() && !matches!(report.state, SlotState::Empty | SlotState::Cleared)
}

#[cfg(test)]
mod tests;
