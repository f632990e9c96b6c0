//! When operations begin. In a closed loop: whenever a worker is free. In an open loop: at fixed times, so many a second,
//! and an operation that no worker was free for begins late, which counts as its latency; otherwise a stall of the
//! cluster would hide what it did to everybody who was to come meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::answer::Failure;

/// Tells workers when to begin. Clones are the same pace.
#[derive(Clone, Debug)]
pub struct Pace(Arc<Course>);

/// One operation may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it should have begun.
    pub intended: Instant,
    /// When it does.
    pub begins: Instant,
}

#[derive(Debug)]
struct Course {
    start: Instant,
    end: Instant,
    stopped: OnceLock<Instant>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    a_second: u64,
    /// A permit for every operation that is due; when it is over, plenty, so that nobody waits.
    due: Semaphore,
    taken: AtomicU64,
    begun: AtomicU64,
}

impl Pace {
    /// From `start` to `end`; with a rate, so many a second, on a thread of its own: timers of a runtime are too coarse.
    pub fn begin(start: Instant, end: Instant, rate: Option<u32>) -> Result<Pace, Failure> {
        let open = rate.map(|rate| Open::new(u64::from(rate)));
        let course = Arc::new(Course { start, end, stopped: OnceLock::new(), open });
        let kept = course.clone();
        if rate.is_some() {
            let spawned = std::thread::Builder::new().name("pace".to_owned()).spawn(move || kept.keep());
            spawned.map_err(|error| Failure::not_done(format!("no thread to keep the rate: {error}")))?;
        }
        Ok(Pace(course))
    }

    /// Waits until another operation may begin; none if the time is over.
    pub async fn next(&self) -> Option<Turn> {
        let Some(open) = &self.0.open else {
            let now = Instant::now();
            return (now < self.0.ended()).then_some(Turn { intended: now, begins: now });
        };
        open.due.acquire().await.ok()?.forget();
        self.0.turn(open, open.taken.fetch_add(1, Ordering::Relaxed), Instant::now())
    }

    /// It is over before its time: nothing begins any more.
    pub fn stop(&self) {
        // Only the first time counts.
        let _ = self.0.stopped.set(Instant::now());
    }

    /// When it is over, or was.
    pub fn ended(&self) -> Instant {
        self.0.ended()
    }

    /// How many operations of the schedule nobody was free to begin.
    pub fn never_begun(&self) -> u64 {
        self.0.open.as_ref().map_or(0, |open| {
            let scheduled = open.scheduled(self.ended().saturating_duration_since(self.0.start));
            scheduled.saturating_sub(open.begun.load(Ordering::Relaxed))
        })
    }
}

impl Course {
    fn ended(&self) -> Instant {
        self.stopped.get().map_or(self.end, |stopped| self.end.min(*stopped))
    }

    /// The turn of the operation of this number. What is due in the last moment may begin a moment later.
    fn turn(&self, open: &Open, number: u64, now: Instant) -> Option<Turn> {
        let intended = self.start + open.after(number);
        let may_begin = intended < self.ended() && now < self.ended() + LAST_MOMENT;
        may_begin.then(|| {
            open.begun.fetch_add(1, Ordering::Relaxed);
            Turn { intended, begins: now }
        })
    }

    /// Gives permits as time passes.
    fn keep(&self) {
        let Some(open) = &self.open else { return };
        let mut given = 0;
        loop {
            let now = Instant::now();
            // An operation begins at the start of its interval: the first at once.
            let due = open.scheduled(now.min(self.ended()).saturating_duration_since(self.start)) + 1;
            open.due.add_permits(usize::try_from(due - given).unwrap_or(PLENTY).min(PLENTY));
            given = due;
            if now >= self.ended() {
                break;
            }
            std::thread::sleep((self.start + open.after(given)).saturating_duration_since(now).clamp(FINEST, COARSEST));
        }
        open.due.add_permits(PLENTY);
    }
}

impl Open {
    fn new(a_second: u64) -> Open {
        Open { a_second, due: Semaphore::new(0), taken: AtomicU64::new(0), begun: AtomicU64::new(0) }
    }

    /// When the operation of this number, from 0, begins, after the start.
    fn after(&self, number: u64) -> Duration {
        let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(self.a_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How many intervals pass within so long.
    fn scheduled(&self, within: Duration) -> u64 {
        u64::try_from(within.as_nanos() * u128::from(self.a_second) / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// How long the pace-keeper sleeps at least, and at most.
const FINEST: Duration = Duration::from_micros(100);
const COARSEST: Duration = Duration::from_millis(1);
const LAST_MOMENT: Duration = Duration::from_millis(10);
/// More permits than there are workers, or operations due at once, and far fewer than a semaphore bears.
const PLENTY: usize = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn open(start: Instant, end: Instant, a_second: u64) -> Course {
        Course { start, end, stopped: OnceLock::new(), open: Some(Open::new(a_second)) }
    }

    fn turn(course: &Course, number: u64, now: Instant) -> Option<Turn> {
        course.turn(course.open.as_ref().unwrap(), number, now)
    }

    #[test]
    fn an_operation_that_begins_late_was_intended_for_its_place_in_the_schedule() {
        let start = Instant::now();
        let course = open(start, start + 100 * MS, 1000);
        assert_eq!(turn(&course, 0, start), Some(Turn { intended: start, begins: start }));
        let late = start + 80 * MS;
        assert_eq!(turn(&course, 7, late), Some(Turn { intended: start + 7 * MS, begins: late }), "73 ms late");
    }

    #[test]
    fn what_no_worker_was_free_for_is_counted_and_not_begun_behind_the_end() {
        let start = Instant::now();
        let pace = Pace(Arc::new(open(start, start + 100 * MS, 1000)));
        assert!(turn(&pace.0, 99, start + 101 * MS).is_some(), "due in the last moment");
        assert_eq!(turn(&pace.0, 50, start + 200 * MS), None, "too late");
        assert_eq!(turn(&pace.0, 100, start + 100 * MS), None, "not in the schedule");
        assert_eq!(pace.never_begun(), 99);
    }

    #[test]
    fn rates_that_do_not_divide_a_second_do_not_drift() {
        let open = Open::new(7);
        assert_eq!(open.after(7 * 3600), Duration::from_secs(3600));
        assert_eq!(open.scheduled(Duration::from_secs(3600)), 7 * 3600);
        assert_eq!(open.scheduled(open.after(5) + Duration::from_nanos(1)), 5);
    }

    #[tokio::test]
    async fn an_open_loop_gives_every_operation_of_its_schedule_one_turn() {
        let start = Instant::now();
        let pace = Pace::begin(start, start + 50 * MS, Some(2000)).unwrap();
        let mut intended = Vec::new();
        while let Some(turn) = pace.next().await {
            assert!(turn.begins >= turn.intended, "never early");
            intended.push(turn.intended);
        }
        // A machine that stalls for long may miss the last moment, which is told.
        assert_eq!(intended.len() as u64 + pace.never_begun(), 100);
        assert!(intended.iter().enumerate().all(|(number, at)| *at == start + MS / 2 * number as u32));
    }

    #[tokio::test]
    async fn nothing_begins_when_it_was_stopped_and_nobody_waits() {
        for rate in [None, Some(1)] {
            let start = Instant::now();
            let pace = Pace::begin(start, start + 3_600_000 * MS, rate).unwrap();
            assert!(pace.next().await.is_some(), "the first at once");
            pace.stop();
            assert_eq!(pace.next().await, None);
            assert!(pace.ended() < start + 3_600_000 * MS);
        }
    }
}
