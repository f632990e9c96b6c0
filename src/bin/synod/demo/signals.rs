//! What a signal does to a demo: it ends the nodes in order, removes a temporary folder, and leaves.
//!
//! Only ctrl-C at the prompt is no reason to leave: whoever grows tired of a command that waits for a dead majority
//! must not lose the cluster by it. (While a line is edited, the terminal sends no signal at all.)

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::leash::Leashes;

/// The watch for signals.
pub struct Signals {
    at_prompt: Arc<AtomicBool>,
}

impl Signals {
    /// Watches from now on, on a thread of its own. `temporary` is removed when a signal ends the demo.
    pub fn watch(leashes: Leashes, temporary: Option<PathBuf>) -> Signals {
        let at_prompt = Arc::new(AtomicBool::new(false));
        let prompted = Arc::clone(&at_prompt);
        let watch = move || match wait(&prompted) {
            Ok(code) => {
                leashes.let_go();
                leashes.wait_for_ends(END_WITHIN);
                if let Some(folder) = temporary {
                    // The main thread may be about to do the same.
                    let _ = std::fs::remove_dir_all(folder);
                }
                std::process::exit(code);
            }
            Err(error) => log::warn!("a signal will end the demo without order: {error}"),
        };
        if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(watch) {
            log::warn!("a signal will end the demo without order: {error}");
        }
        Signals { at_prompt }
    }

    /// There is a prompt now: ctrl-C is no reason to leave any more.
    pub fn prompt_begins(&self) {
        self.at_prompt.store(true, Ordering::Relaxed);
    }
}

/// Waits for a signal that ends the demo. Gives the exit code, as a shell would.
fn wait(at_prompt: &AtomicBool) -> std::io::Result<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut others = Others::new()?;
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    if !at_prompt.load(Ordering::Relaxed) {
                        return Ok(130);
                    }
                    eprintln!("a command ends by its deadline; ctrl-D at the prompt ends the demo");
                }
                code = others.next() => return Ok(code),
            }
        }
    })
}

/// The signals besides ctrl-C that ask a program to end.
#[cfg(unix)]
struct Others {
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Others {
    fn new() -> std::io::Result<Others> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Others { terminate: signal(SignalKind::terminate())?, hang_up: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.hang_up.recv() => 129,
        }
    }
}

#[cfg(not(unix))]
struct Others;

#[cfg(not(unix))]
impl Others {
    fn new() -> std::io::Result<Others> {
        Ok(Others)
    }

    async fn next(&mut self) -> i32 {
        std::future::pending().await
    }
}

const END_WITHIN: Duration = Duration::from_secs(5);
