//! Seeds on threads. What comes out is what one thread would have found, seed after seed: results are taken in the order of
//! the seeds, and nothing behind the first failure counts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use synod::paxos::dice::mix;
use synod::sim::{self, Counts, Plan, Wishes};

/// Seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// What they may do.
    pub wishes: Wishes,
    /// On how many threads.
    pub jobs: usize,
}

/// What all seeds came to, up to the first failure.
#[derive(Debug, Default)]
pub struct Ended {
    /// Added up.
    pub total: Total,
    /// The first failure, and the place in our source if it was a panic.
    pub failure: Option<(sim::Failure, Option<String>)>,
    /// Of everything that happened in all runs.
    pub trace_hash: u64,
    /// Not all seeds were run.
    pub was_interrupted: bool,
}

/// Counts, and how many seeds had how many nodes.
#[derive(Debug, Default)]
pub struct Total {
    /// Added up.
    pub counts: Counts,
    /// Seeds, by number of nodes.
    pub nodes: BTreeMap<u32, u64>,
}

impl Hunt {
    /// Runs the seeds. Tells how many are done.
    pub fn run(&self, interrupted: &Interrupted, mut progress: impl FnMut(u64)) -> Ended {
        let next = Arc::new(AtomicU64::new(0));
        let (sender, results) = channel();
        for _ in 0..self.jobs {
            let (hunt, next, sender) = (*self, Arc::clone(&next), sender.clone());
            let work = move || hunt.work(&next, &sender);
            let spawned = thread::Builder::new().name("seeds".to_owned()).spawn(work);
            if let Err(error) = spawned {
                log::warn!("fewer threads than asked for: {error}");
            }
        }
        drop(sender);
        let mut ended = Ended::default();
        let mut early: BTreeMap<u64, Ran> = BTreeMap::new();
        let mut taken = 0;
        while taken < self.count && ended.failure.is_none() {
            match results.recv_timeout(LOOK_EVERY) {
                Ok((index, ran)) => drop(early.insert(index, ran)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("a thread that ran seeds is gone"),
            }
            while let Some(ran) = early.remove(&taken)
                && ended.failure.is_none()
            {
                taken += 1;
                ended.take(ran);
            }
            progress(taken);
            if interrupted.is_set() {
                ended.was_interrupted = true;
                break;
            }
        }
        // Whoever still runs a seed that does not count finds no further one.
        next.store(self.count, Ordering::Relaxed);
        ended
    }

    fn work(&self, next: &AtomicU64, results: &Sender<(u64, Ran)>) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            let plan = Plan::new(self.first + index, &self.wishes);
            let (outcome, place) = ran(|| sim::run(&plan));
            if results.send((index, Ran { nodes: plan.nodes, outcome, place })).is_err() {
                return;
            }
        }
    }
}

struct Ran {
    nodes: u32,
    outcome: sim::Outcome,
    place: Option<String>,
}

impl Ended {
    fn take(&mut self, ran: Ran) {
        let Ran { nodes, outcome, place } = ran;
        self.total.counts.add(&outcome.counts);
        *self.total.nodes.entry(nodes).or_default() += 1;
        self.trace_hash = mix(self.trace_hash ^ outcome.trace_hash);
        self.failure = outcome.failure.map(|failure| (failure, place));
    }
}

thread_local! {
    /// Whether this thread runs a world, in which a panic is a finding.
    static IN_RUN: Cell<bool> = const { Cell::new(false) };
    /// Where the last such panic began.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic inside a run is a finding, reported as such. Every other panic is reported as before.
pub fn keep_panics_quiet() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if IN_RUN.get() {
            let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
            PLACE.with(|kept| *kept.borrow_mut() = place);
        } else {
            before(panic);
        }
    }));
}

/// Runs a world, and gives the place of the panic that it ended with, if it did.
pub fn ran<T>(world: impl FnOnce() -> T) -> (T, Option<String>) {
    PLACE.take();
    IN_RUN.set(true);
    let outcome = world();
    IN_RUN.set(false);
    (outcome, PLACE.take())
}

/// Waits for ctrl-C, or for what a time limit or a closed terminal sends.
#[cfg(unix)]
async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_end() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Whether the user has pressed ctrl-C, or the process was asked to end in another way.
#[derive(Clone, Debug, Default)]
pub struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// Whether that has happened.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// From now on ctrl-C and its like do not end the process by themselves; the second one does.
pub fn watch_for_interrupt() -> Interrupted {
    let interrupted = Interrupted::default();
    let pressed = interrupted.clone();
    let watch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            asked_to_end().await?;
            pressed.0.store(true, Ordering::Relaxed);
            asked_to_end().await
        })?;
        std::process::exit(i32::from(crate::answer::INTERRUPTED));
    };
    let watch = move || {
        let watched: std::io::Result<()> = watch();
        if let Err(error) = watched {
            log::warn!("ctrl-C will end the program without a report: {error}");
        }
    };
    if let Err(error) = thread::Builder::new().name("signals".to_owned()).spawn(watch) {
        log::warn!("ctrl-C will end the program without a report: {error}");
    }
    interrupted
}

/// How often to look whether the user has had enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);
