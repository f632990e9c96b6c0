//! When operations begin. In a closed loop: whenever a worker is free. In an open loop: at fixed times, so many a second,
//! and an operation that no worker was free for begins late, which counts as its latency; otherwise a stall of the
//! cluster would hide what it did to everybody who was to come meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::answer::Failure;

/// Tells workers when to begin.
#[derive(Clone, Debug)]
pub struct Pace {
    start: Instant,
    end: Instant,
    open: Option<Arc<Open>>,
}

#[derive(Debug)]
struct Open {
    a_second: u64,
    due: Semaphore,
    begun: AtomicU64,
}

impl Pace {
    /// From `start` to `end`; with a rate, so many a second, on a thread of its own: timers of a runtime are too coarse.
    pub fn begin(start: Instant, end: Instant, rate: Option<u32>) -> Result<Pace, Failure> {
        let open = rate.map(|rate| {
            Arc::new(Open { a_second: u64::from(rate), due: Semaphore::new(0), begun: AtomicU64::new(0) })
        });
        if let Some(open) = open.clone() {
            let spawned = std::thread::Builder::new().name("pace".to_owned()).spawn(move || open.keep(start, end));
            spawned.map_err(|error| Failure::not_done(format!("no thread to keep the rate: {error}")))?;
        }
        Ok(Pace { start, end, open })
    }

    /// Waits until another operation may begin. When it should have begun; none if the time is over.
    pub async fn next(&self) -> Option<Instant> {
        let Some(open) = &self.open else {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        };
        open.due.acquire().await.ok()?.forget();
        let number = open.begun.fetch_add(1, Ordering::Relaxed);
        Some(self.start + open.after(number))
    }

    /// How many operations of the schedule nobody was free to begin.
    pub fn never_begun(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| {
            let scheduled = open.scheduled(self.end - self.start);
            scheduled.saturating_sub(open.begun.load(Ordering::Relaxed))
        })
    }
}

impl Open {
    fn keep(&self, start: Instant, end: Instant) {
        let mut given = 0;
        while Instant::now() < end {
            let due = self.scheduled(Instant::now().saturating_duration_since(start));
            self.due.add_permits((due - given) as usize);
            given = due;
            std::thread::sleep(GRAIN.min(self.after(given + 1) - self.after(given)).max(FINEST));
        }
        self.due.close();
    }

    /// When the operation of this number begins, after the start.
    fn after(&self, number: u64) -> Duration {
        Duration::from_nanos((u128::from(number) * 1_000_000_000 / u128::from(self.a_second)) as u64)
    }

    /// How many begin within so long.
    fn scheduled(&self, within: Duration) -> u64 {
        (within.as_nanos() * u128::from(self.a_second) / 1_000_000_000) as u64
    }
}

/// How long the pace-keeper sleeps at most, and at least.
const GRAIN: Duration = Duration::from_millis(1);
const FINEST: Duration = Duration::from_micros(100);
