//! What goes to standard error besides the failures of commands: log lines.
//!
//! Unless `RUST_LOG` says otherwise, these are what is wrong, and the few news of a node (`synod::actors::NEWS`), each as
//! one short line. While somebody edits a line at the prompt in the node's own terminal, they are printed above it.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use env_logger::{Builder, Env, Target};
use log::Level;
use rustyline::ExternalPrinter;
use synod::actors::NEWS;

/// Begins to log.
pub fn begin() {
    let usual = format!("warn,{NEWS}=info");
    let mut builder = Builder::from_env(Env::default().default_filter_or(&usual));
    // A variable that says nothing is none.
    if std::env::var_os("RUST_LOG").is_none_or(|filter| filter.is_empty()) {
        builder.parse_filters(&usual);
        builder.format(|out, record| match record.level() {
            Level::Error => writeln!(out, "error: {}", record.args()),
            Level::Warn => writeln!(out, "warning: {}", record.args()),
            _ => writeln!(out, "{}", record.args()),
        });
    }
    builder.target(Target::Pipe(Box::new(AroundThePrompt))).init();
}

/// Log lines go through a prompt's printer for as long as this lives.
pub struct AtPrompt(());

impl AtPrompt {
    /// From now on. On a thread of its own: whoever logs must not wait for a person.
    pub fn begin(mut printer: impl ExternalPrinter + Send + 'static) -> io::Result<AtPrompt> {
        let (sender, lines) = channel::<String>();
        let print = move || {
            while let Ok(line) = lines.recv() {
                if printer.print(line).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("news".to_owned()).spawn(print)?;
        *prompt() = Some(sender);
        Ok(AtPrompt(()))
    }
}

impl Drop for AtPrompt {
    fn drop(&mut self) {
        *prompt() = None;
    }
}

/// Standard error, or the prompt's printer if there is one. Each write is one log line.
struct AroundThePrompt;

impl Write for AroundThePrompt {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let sent = prompt().as_ref().is_some_and(|prompt| prompt.send(String::from_utf8_lossy(line).into()).is_ok());
        if sent { Ok(line.len()) } else { io::stderr().write(line) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The channel is whole between any two statements, so that a poisoned lock is as good as another.
fn prompt() -> MutexGuard<'static, Option<Sender<String>>> {
    PROMPT.lock().unwrap_or_else(PoisonError::into_inner)
}

static PROMPT: Mutex<Option<Sender<String>>> = Mutex::new(None);
