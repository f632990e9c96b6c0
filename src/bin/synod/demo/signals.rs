//! What a signal does to a demo: it ends the nodes in order, removes a temporary folder, and leaves.
//!
//! Only ctrl-C at the prompt is no reason to leave: whoever grows tired of a command that waits for a dead majority
//! must not lose the cluster by it. (While a line is edited, the terminal sends no signal at all.) And whoever asked to be
//! told first ends by itself; the next signal does not wait for that. Commands that have no nodes watch by the same thread.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::leash::Leashes;
use crate::answer::{HUNG_UP, INTERRUPTED, TERMINATED};

/// The watch for signals.
pub struct Signals(Arc<Heed>);

/// What is to be heeded when a signal comes.
#[derive(Default)]
struct Heed {
    at_prompt: AtomicBool,
    /// A signal is ending the program.
    ending: AtomicBool,
    /// Who is told of the next one, once.
    told_first: Mutex<Option<oneshot::Sender<u8>>>,
    /// What else is done before a signal ends the program.
    last: Mutex<Option<fn()>>,
}

impl Signals {
    /// Watches on a thread of its own, from when this returns. `temporary` is removed when a signal ends the demo.
    pub fn watch(leashes: Leashes, temporary: Option<PathBuf>) -> Signals {
        let heed = Arc::new(Heed::default());
        let heeded = Arc::clone(&heed);
        let (watching, watches) = channel();
        let watch = move || match wait(&heeded, &watching) {
            Ok(code) => {
                heeded.ending.store(true, Ordering::SeqCst);
                let last = heeded.last.lock().unwrap_or_else(PoisonError::into_inner).take();
                last.into_iter().for_each(within_a_moment);
                leashes.let_go();
                leashes.wait_for_ends(END_WITHIN);
                if let Some(folder) = temporary {
                    // The main thread may be about to do the same.
                    let _ = std::fs::remove_dir_all(folder);
                }
                std::process::exit(i32::from(code));
            }
            Err(error) => log::warn!("a signal will end the demo without order: {error}"),
        };
        if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(watch) {
            log::warn!("a signal will end the demo without order: {error}");
        }
        // Or it cannot watch, and has said so.
        let _ = watches.recv();
        Signals(heed)
    }

    /// Watches for a program that has no nodes.
    pub fn alone() -> Signals {
        Signals::watch(Leashes::default(), None)
    }

    /// The next signal is told there, by the exit code that it stands for; the one after that ends the program.
    pub fn told_first(&self) -> oneshot::Receiver<u8> {
        let (sender, told) = oneshot::channel();
        *self.0.told_first.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        told
    }

    /// Whatever signal ends the program, this is done before.
    pub fn before_the_end(&self, last: fn()) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// If a signal is ending the program, it ends here, by that; what fails meanwhile fails because of it.
    pub fn go_first(&self) {
        while self.0.ending.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    /// There is a prompt now: ctrl-C is no reason to leave any more.
    pub fn prompt_begins(&self) {
        self.0.at_prompt.store(true, Ordering::Relaxed);
    }
}

/// Does it, unless that takes long: a terminal that takes nothing must not hold up the end.
fn within_a_moment(last: fn()) {
    let (sender, done) = channel();
    let doing = thread::Builder::new().spawn(move || {
        last();
        let _ = sender.send(()); // nobody waits any more if it took too long
    });
    if doing.is_ok() {
        let _ = done.recv_timeout(MOMENT);
    }
}

impl Heed {
    /// Whether somebody was told who will end the program.
    fn tells(&self, code: u8) -> bool {
        let first = self.told_first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.is_some_and(|first| first.send(code).is_ok())
    }
}

/// Waits for a signal that ends the demo. Gives the exit code, as a shell would. Says when it watches.
fn wait(heed: &Heed, watching: &Sender<()>) -> std::io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked = Asked::watch()?;
        let _ = watching.send(()); // who waits for that is there
        loop {
            let code = asked.next().await?;
            if code == INTERRUPTED && heed.at_prompt.load(Ordering::Relaxed) {
                eprintln!("a command ends by its deadline; ctrl-D at the prompt ends the demo");
            } else if !heed.tells(code) {
                return Ok(code);
            }
        }
    })
}

/// The signals that ask a program to end.
#[cfg(unix)]
struct Asked {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Asked {
    fn watch() -> std::io::Result<Asked> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Asked {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> std::io::Result<u8> {
        Ok(tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
            _ = self.hang_up.recv() => HUNG_UP,
        })
    }
}

#[cfg(not(unix))]
struct Asked;

#[cfg(not(unix))]
impl Asked {
    fn watch() -> std::io::Result<Asked> {
        Ok(Asked)
    }

    async fn next(&mut self) -> std::io::Result<u8> {
        tokio::signal::ctrl_c().await.map(|()| INTERRUPTED)
    }
}

const END_WITHIN: Duration = Duration::from_secs(5);
/// For what is done last.
const MOMENT: Duration = Duration::from_secs(1);
