//! The terminal: taken over as a whole, and given back however the program ends.
//!
//! This thread draws. It is told of keys by another, which may wait for the rest of an unfinished one; for answers and
//! signals it looks several times a second.

use std::io::{self, IsTerminal, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use super::asking::{Asker, Pace};
use super::drawn::Shown;
use super::{LONGEST, SHORTEST, TopArgs};
use crate::answer::{DONE, Failure, HUNG_UP};
use crate::demo::Signals;
use crate::news::AtPrompt;
use crate::output::Style;

/// Draws until a person leaves, a signal comes, or there were as many looks as were asked for.
pub fn run(args: &TopArgs, asker: Asker, signals: &Signals, style: Style) -> Result<u8, Failure> {
    let cannot = |error: io::Error| Failure::not_done(format!("cannot use the terminal: {error}"));
    signals.before_the_end(give_back);
    let mut told = signals.told_first();
    let mut shown = Shown::new(args.interval, style.colours);
    let mut screen = Screen::take().map_err(cannot)?;
    leave_with_the_terminal().map_err(cannot)?;
    let keys = keys().map_err(cannot)?;
    let mut looks = 0;
    loop {
        match screen.terminal.draw(|frame| shown.draw(frame)) {
            Err(_) if !stdout().is_terminal() => return Ok(HUNG_UP),
            drawn => drawn.map_err(cannot)?,
        };
        let mut is_new = false;
        while !is_new {
            match keys.recv_timeout(GLANCE) {
                Ok(event) => {
                    is_new = true;
                    let Event::Key(key) = event.map_err(cannot)? else { continue };
                    match pressed(key, shown.pace) {
                        Pressed::Leave => return Ok(DONE),
                        Pressed::Pace(pace) => {
                            shown.pace = pace;
                            asker.set_pace(pace);
                        }
                        Pressed::Nothing => {}
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(cannot(io::ErrorKind::UnexpectedEof.into())),
            }
            if let Ok(code) = told.try_recv() {
                return Ok(code);
            }
            while let Some(sample) = asker.try_next()? {
                shown.take(sample);
                is_new = true;
                // The first look has no rates yet.
                if args.count.is_some_and(|count| looks >= count) {
                    return Ok(DONE);
                }
                looks += 1;
            }
        }
    }
}

/// Keys, and changes of the terminal's size, from a thread that does nothing but wait for them; an error is the last.
fn keys() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, keys) = channel();
    let listen = move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(listen)?;
    Ok(keys)
}

/// Whoever waits for keys of a terminal that is gone waits for ever, and busily (crossterm takes its end for "no key yet").
/// So another thread looks whether it is still there: where this draws, since keys may come from elsewhere.
fn leave_with_the_terminal() -> io::Result<()> {
    let watch = || {
        while stdout().is_terminal() {
            thread::sleep(GLANCE);
        }
        give_back();
        std::process::exit(i32::from(HUNG_UP));
    };
    thread::Builder::new().name("terminal".into()).spawn(watch).map(drop)
}

/// What a key asks for.
#[derive(Debug, PartialEq)]
enum Pressed {
    Leave,
    Pace(Pace),
    Nothing,
}

fn pressed(key: KeyEvent, pace: Pace) -> Pressed {
    let interval = |interval: Duration| Pressed::Pace(Pace { interval: interval.clamp(SHORTEST, LONGEST), ..pace });
    match key.code {
        _ if key.kind == KeyEventKind::Release => Pressed::Nothing,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Pressed::Leave,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Pressed::Leave,
        KeyCode::Char(' ') => Pressed::Pace(Pace { paused: !pace.paused, ..pace }),
        KeyCode::Char('+' | '=') => interval(pace.interval * 2),
        KeyCode::Char('-') => interval(pace.interval / 2),
        _ => Pressed::Nothing,
    }
}

/// The whole terminal, for as long as this lives.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Log lines meanwhile; they are printed afterwards.
    lines: Arc<Mutex<Vec<String>>>,
    at_prompt: Option<AtPrompt>,
}

impl Screen {
    fn take() -> io::Result<Screen> {
        // Whichever thread panics, and whether that unwinds or ends the process: what it says must be readable.
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            report(panic);
        }));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let at_prompt = AtPrompt::begin(Kept(lines.clone())).ok();
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let terminal = execute!(stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())))
            .inspect_err(|_| give_back())?;
        Ok(Screen { terminal, lines, at_prompt })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        self.at_prompt = None;
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            eprint!("{line}");
        }
    }
}

/// Gives the terminal back, once, if it was taken.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // There is nobody to tell if it is gone. The mode first: for that it need not take what is written.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}

/// Keeps log lines.
struct Kept(Arc<Mutex<Vec<String>>>);

impl rustyline::ExternalPrinter for Kept {
    fn print(&mut self, line: String) -> rustyline::Result<()> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MOST_KEPT {
            lines.push(line);
        }
        Ok(())
    }
}

static TAKEN: AtomicBool = AtomicBool::new(false);
/// How long keys are waited for between two looks at what else is new.
const GLANCE: Duration = Duration::from_millis(50);
/// Log lines.
const MOST_KEPT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let pace = Pace { interval: Duration::from_secs(1), paused: false };
        let press = |code, modifiers| pressed(KeyEvent::new(code, modifiers), pace);
        let plain = |code| press(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char('q')), Pressed::Leave);
        assert_eq!(plain(KeyCode::Esc), Pressed::Leave);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Pressed::Leave);
        assert_eq!(plain(KeyCode::Char('c')), Pressed::Nothing);
        assert_eq!(plain(KeyCode::Char(' ')), Pressed::Pace(Pace { paused: true, ..pace }));
        assert_eq!(plain(KeyCode::Char('+')), Pressed::Pace(Pace { interval: Duration::from_secs(2), ..pace }));
        assert_eq!(plain(KeyCode::Char('-')), Pressed::Pace(Pace { interval: Duration::from_millis(500), ..pace }));
        let shortest = Pace { interval: SHORTEST, ..pace };
        let minus = KeyEvent::new(KeyCode::Char('-'), KeyModifiers::NONE);
        assert_eq!(pressed(minus, shortest), Pressed::Pace(shortest));
    }
}
