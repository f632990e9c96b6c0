//! Counts and latencies of operations.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was done.
    Done,
    /// It was not done, and never will be.
    NotDone(String),
    /// Nobody knows.
    Unknown(String),
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the measured time.
    WarmingUp,
    /// In it.
    Within,
    /// After it.
    Behind,
}

/// Operations of one kind, within the measured time.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Done within the time, whenever they began.
    pub done: u64,
    /// Not done.
    pub not_done: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Of those that were done within the time or behind it, in nanoseconds.
    latencies: Histogram<u64>,
}

impl Kind {
    fn new() -> Kind {
        let latencies = Histogram::new_with_bounds(LEAST_NS, MOST_NS, DIGITS).expect("sensible bounds");
        Kind { done: 0, not_done: 0, unknown: 0, latencies }
    }

    /// The latency that so many of 1000 operations stay below; as the others, none if nothing was done.
    pub fn quantile(&self, of_1000: f64) -> Option<Duration> {
        self.told(self.latencies.value_at_quantile(of_1000 / 1000.0))
    }

    /// The longest.
    pub fn longest(&self) -> Option<Duration> {
        self.told(self.latencies.max())
    }

    /// The mean.
    pub fn mean(&self) -> Option<Duration> {
        self.told(self.latencies.mean() as u64)
    }

    fn told(&self, nanoseconds: u64) -> Option<Duration> {
        (!self.latencies.is_empty()).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Operations that ended, however.
    pub fn ended(&self) -> u64 {
        self.done + self.not_done + self.unknown
    }
}

/// Everything that is measured of operations.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Writes.
    pub writes: Kind,
    /// Reads.
    pub reads: Kind,
    /// Done since the very beginning, for the progress line.
    pub done_so_far: u64,
    /// The first trouble, for the report.
    pub trouble: Option<String>,
}

impl Recorder {
    /// Nothing yet.
    pub fn new() -> Recorder {
        Recorder { writes: Kind::new(), reads: Kind::new(), done_so_far: 0, trouble: None }
    }

    /// An operation ended. It counts if that was within the measured time. It has a latency also if it was behind it, or
    /// else a stall at the end would not be seen; and whenever it should have begun, or else what waits ever longer for a
    /// cluster that cannot keep up would not.
    pub fn record(&mut self, is_read: bool, fate: &Fate, took: Duration, ended: When) {
        let kind = if is_read { &mut self.reads } else { &mut self.writes };
        match fate {
            Fate::Done => {
                self.done_so_far += 1;
                kind.done += u64::from(ended == When::Within);
                if ended != When::WarmingUp {
                    kind.latencies.saturating_record(took.as_nanos() as u64);
                }
            }
            Fate::NotDone(_) => kind.not_done += 1,
            Fate::Unknown(_) => kind.unknown += 1,
        }
        if let (Fate::NotDone(why) | Fate::Unknown(why), None) = (fate, &self.trouble) {
            self.trouble = Some(why.clone());
        }
    }
}

const LEAST_NS: u64 = 1_000;
/// Ten minutes.
const MOST_NS: u64 = 600_000_000_000;
const DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn near(time: Option<Duration>, expected: Duration) -> bool {
        time.is_some_and(|time| time.abs_diff(expected) <= expected / 500)
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut recorder = Recorder::new();
        for number in 1..=1000 {
            recorder.record(false, &Fate::Done, number * MS, When::Within);
        }
        let writes = &recorder.writes;
        for (of_1000, expected) in [(500.0, 500), (900.0, 900), (990.0, 990), (999.0, 999)] {
            assert!(near(writes.quantile(of_1000), expected * MS), "{:?}", writes.quantile(of_1000));
        }
        assert!(near(writes.longest(), 1000 * MS) && near(writes.mean(), 500 * MS + MS / 2), "{writes:?}");
        assert_eq!((writes.done, recorder.reads.ended()), (1000, 0));
    }

    #[test]
    fn what_ends_behind_the_measured_time_has_a_latency_and_does_not_count() {
        let mut recorder = Recorder::new();
        recorder.record(true, &Fate::Done, 9 * MS, When::WarmingUp);
        recorder.record(true, &Fate::Done, 5 * MS, When::Within);
        recorder.record(true, &Fate::Done, 7 * MS, When::Behind);
        assert_eq!((recorder.reads.done, recorder.done_so_far), (1, 3));
        assert!(near(recorder.reads.longest(), 7 * MS) && near(recorder.reads.mean(), 6 * MS), "{recorder:?}");
    }

    #[test]
    fn of_what_failed_only_the_first_reason_is_kept() {
        let mut recorder = Recorder::new();
        recorder.record(false, &Fate::Unknown("no answer".into()), MS, When::Within);
        recorder.record(false, &Fate::NotDone("no leader".into()), MS, When::Within);
        let Kind { done, not_done, unknown, .. } = recorder.writes;
        assert_eq!((done, not_done, unknown, recorder.trouble.as_deref()), (0, 1, 1, Some("no answer")));
        assert_eq!((recorder.writes.longest(), recorder.writes.quantile(500.0)), (None, None));
    }

    #[test]
    fn a_latency_beyond_all_bounds_counts_as_the_greatest() {
        let mut recorder = Recorder::new();
        recorder.record(false, &Fate::Done, Duration::ZERO, When::Within);
        recorder.record(false, &Fate::Done, Duration::from_secs(86_400), When::Within);
        assert!(recorder.writes.longest() >= Some(Duration::from_secs(600)), "{:?}", recorder.writes.longest());
    }
}
