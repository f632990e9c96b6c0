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

/// Operations of one kind, within the measured time.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Done within the time, whenever they began.
    pub done: u64,
    /// Not done.
    pub not_done: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Of those that were to begin within the time and were done, in nanoseconds.
    latencies: Histogram<u64>,
}

impl Kind {
    fn new() -> Kind {
        let latencies = Histogram::new_with_bounds(LEAST_NS, MOST_NS, DIGITS).expect("sensible bounds");
        Kind { done: 0, not_done: 0, unknown: 0, latencies }
    }

    /// The latency that so many of 1000 operations stay below.
    pub fn quantile(&self, of_1000: f64) -> Duration {
        Duration::from_nanos(self.latencies.value_at_quantile(of_1000 / 1000.0))
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(if self.latencies.is_empty() { 0 } else { self.latencies.max() })
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.latencies.mean() as u64)
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

    /// An operation ended. `began_within` and `ended_within` say whether that was in the measured time.
    pub fn record(&mut self, is_read: bool, fate: &Fate, took: Duration, began_within: bool, ended_within: bool) {
        let kind = if is_read { &mut self.reads } else { &mut self.writes };
        match fate {
            Fate::Done => {
                self.done_so_far += 1;
                kind.done += u64::from(ended_within);
                if began_within {
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
