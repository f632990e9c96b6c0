//! How long each peer takes to answer: from a heartbeat's way out through the router to its acknowledgement's way in.
//!
//! Heartbeats are what a leader sends all the time and what is answered at once, without a sync. So only a leader
//! measures, and what it measured while it led is forgotten soon after.
//!
//! * One heartbeat a peer is timed at a time; those sent meanwhile are not, so that nothing piles up.
//! * What is told is smoothed: each answer counts an eighth, all before it the rest.
//!
//! Absent: the protocol. It never sees these times, and decides nothing by them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::paxos::{Ballot, NodeId};

/// The round trips to a node's peers.
#[derive(Debug, Default)]
pub struct RoundTrips(BTreeMap<NodeId, Measured>);

#[derive(Debug, Default)]
struct Measured {
    /// The heartbeat that is timed, and when it was sent.
    timed: Option<(Ballot, u64, Instant)>,
    /// Smoothed, and when the last answer came.
    answered: Option<(Duration, Instant)>,
}

impl RoundTrips {
    /// The heartbeat of this round leaves for a peer.
    pub fn sent(&mut self, to: NodeId, ballot: Ballot, round: u64, now: Instant) {
        let timed = &mut self.0.entry(to).or_default().timed;
        // One of an older ballot will not be answered any more.
        if timed.is_none_or(|(older, _, _)| older != ballot) {
            *timed = Some((ballot, round, now));
        }
    }

    /// A peer's answer to that round has come.
    pub fn answered(&mut self, from: NodeId, ballot: Ballot, round: u64, now: Instant) {
        let Some(measured) = self.0.get_mut(&from) else { return };
        let Some((timed_ballot, timed_round, sent_at)) = measured.timed else { return };
        if ballot != timed_ballot || round < timed_round {
            return;
        }
        measured.timed = None;
        // An answer to a later round: the one that was timed got lost.
        if round == timed_round {
            let took = now.saturating_duration_since(sent_at);
            let smoothed = measured.answered.filter(|(_, at)| is_fresh(*at, now));
            let smoothed = smoothed.map_or(took, |(before, _)| (before * 7 + took) / 8);
            measured.answered = Some((smoothed, now));
        }
    }

    /// How long this peer takes to answer, smoothed; none if it has not answered lately.
    pub fn of(&self, peer: NodeId, now: Instant) -> Option<Duration> {
        let (smoothed, at) = self.0.get(&peer)?.answered?;
        is_fresh(at, now).then_some(smoothed)
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < FORGOTTEN_AFTER
}

/// Many heartbeats.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);
    const BALLOT: Ballot = Ballot::new(1, NodeId(1));

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_answer_counts_whole_and_later_ones_an_eighth() {
        let (mut trips, start) = (RoundTrips::default(), Instant::now());
        trips.sent(PEER, BALLOT, 1, start);
        assert_eq!(trips.of(PEER, start), None);
        trips.answered(PEER, BALLOT, 1, start + ms(8));
        assert_eq!(trips.of(PEER, start + ms(9)), Some(ms(8)));
        trips.sent(PEER, BALLOT, 2, start + ms(50));
        trips.answered(PEER, BALLOT, 2, start + ms(66));
        assert_eq!(trips.of(PEER, start + ms(66)), Some(ms(9)));
        assert_eq!(trips.of(NodeId(3), start), None);
    }

    #[test]
    fn heartbeats_that_overlap_are_not_mixed_up_and_a_lost_one_spoils_nothing() {
        let (mut trips, start) = (RoundTrips::default(), Instant::now());
        trips.sent(PEER, BALLOT, 1, start);
        trips.sent(PEER, BALLOT, 2, start + ms(50));
        trips.answered(PEER, BALLOT, 2, start + ms(60));
        assert_eq!(trips.of(PEER, start + ms(60)), None, "the first was lost, the second not timed");
        trips.sent(PEER, BALLOT, 3, start + ms(100));
        trips.sent(PEER, BALLOT, 4, start + ms(101));
        trips.answered(PEER, BALLOT, 3, start + ms(104));
        trips.answered(PEER, BALLOT, 4, start + ms(900));
        assert_eq!(trips.of(PEER, start + ms(900)), Some(ms(4)));
        let higher = Ballot::new(2, NodeId(1));
        trips.sent(PEER, BALLOT, 5, start + ms(1000));
        trips.sent(PEER, higher, 1, start + ms(1100));
        trips.answered(PEER, BALLOT, 5, start + ms(1101));
        trips.answered(PEER, higher, 1, start + ms(1112));
        assert_eq!(trips.of(PEER, start + ms(1112)), Some(ms(5)), "(7 x 4 + 12) / 8");
    }

    #[test]
    fn what_was_measured_long_ago_is_not_told() {
        let (mut trips, start) = (RoundTrips::default(), Instant::now());
        trips.sent(PEER, BALLOT, 1, start);
        trips.answered(PEER, BALLOT, 1, start + ms(8));
        let later = start + ms(8) + FORGOTTEN_AFTER;
        assert_eq!(trips.of(PEER, later), None);
        trips.sent(PEER, BALLOT, 2, later);
        trips.answered(PEER, BALLOT, 2, later + ms(1));
        assert_eq!(trips.of(PEER, later + ms(1)), Some(ms(1)), "nor does it count");
    }
}
