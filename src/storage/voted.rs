//! Which votes stand in the journal: slots and ballots, without the values.
//!
//! Kept while records are appended and read, and told at the head of every batch ([`Before`]). A leader votes on slot after
//! slot in one ballot, so this is one run, however long, and one more for each change of leader. It is cut to a few: below
//! [`Voted::above`] votes are not named any more.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::paxos::{Ballot, Record, Run, Slot};

/// The votes, as runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Voted {
    above: Slot,
    /// By ballot and first slot: how many slots. Runs of one ballot neither touch nor overlap.
    runs: BTreeMap<(Ballot, Slot), u32>,
}

impl Voted {
    /// What the head of a batch told.
    pub fn of(above: Slot, runs: &[Run]) -> Voted {
        Voted { above, runs: runs.iter().map(|run| ((run.ballot, run.first), run.count)).collect() }
    }

    /// Takes a vote, if `record` is one.
    pub fn note(&mut self, record: &Record) {
        if let Record::Vote { slot, ballot, .. } = record
            && *slot > self.above
        {
            self.add(*slot, *ballot);
        }
    }

    fn add(&mut self, slot: Slot, ballot: Ballot) {
        let before = self.runs.range(..=(ballot, slot)).next_back().filter(|((of, _), _)| *of == ballot);
        let (mut first, mut count) = (slot, 1);
        if let Some(((_, begin), length)) = before.map(|(at, length)| (*at, *length)) {
            let behind = begin.plus(u64::from(length));
            if slot < behind {
                return;
            }
            if slot == behind && length < u32::MAX {
                (first, count) = (begin, length + 1);
            }
        }
        if let Some(length) = self.runs.get(&(ballot, slot.next())).copied()
            && let Some(both) = count.checked_add(length)
        {
            self.runs.remove(&(ballot, slot.next()));
            count = both;
        }
        self.runs.insert((ballot, first), count);
    }

    /// Names at most so many runs: the lowest make room.
    pub fn keep(&mut self, most: usize) {
        while self.runs.len() > most {
            let lowest = self.runs().map(|run| run.last()).min().expect("there are more than none");
            self.raise(lowest);
        }
    }

    /// Votes in slots up to here are not named any more.
    pub fn raise(&mut self, above: Slot) {
        if above <= self.above {
            return;
        }
        self.above = above;
        let cut = self.runs().filter(|run| run.last() > above).map(|run| {
            let first = run.first.max(above.next());
            ((run.ballot, first), (run.last().0 - first.0 + 1) as u32)
        });
        self.runs = cut.collect();
    }

    /// Votes in slots up to here are not named.
    pub fn above(&self) -> Slot {
        self.above
    }

    /// The runs, by ballot.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().map(|((ballot, first), count)| Run { ballot: *ballot, first: *first, count: *count })
    }

    /// Whether there is a vote in this slot, in this ballot or a higher one.
    pub fn covers(&self, slot: Slot, ballot: Ballot) -> bool {
        let mut next = self.runs.range((ballot, Slot::ZERO)..).next();
        while let Some(((of, _), _)) = next {
            let before = self.runs.range((*of, Slot::ZERO)..=(*of, slot)).next_back();
            if before.is_some_and(|((_, first), count)| slot < first.plus(u64::from(*count))) {
                return true;
            }
            let behind = (Bound::Excluded((*of, Slot(u64::MAX))), Bound::Unbounded);
            next = self.runs.range(behind).next();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{NodeId, Value};

    fn voted(votes: &[(u64, u64)]) -> Voted {
        let mut voted = Voted::default();
        for (slot, round) in votes {
            let ballot = Ballot::new(*round, NodeId(1));
            voted.note(&Record::Vote { slot: Slot(*slot), ballot, value: Value::no_op() });
        }
        voted
    }

    fn told(voted: &Voted) -> Vec<(u64, u64, u32)> {
        voted.runs().map(|run| (run.ballot.round, run.first.0, run.count)).collect()
    }

    #[test]
    fn votes_of_one_ballot_are_one_run_in_whatever_order_they_come() {
        assert_eq!(told(&voted(&[(3, 1), (1, 1), (2, 1), (2, 1), (5, 1), (4, 1)])), [(1, 1, 5)]);
        assert_eq!(told(&voted(&[(1, 1), (2, 1), (2, 2), (4, 2)])), [(1, 1, 2), (2, 2, 1), (2, 4, 1)]);
    }

    #[test]
    fn the_lowest_runs_make_room_and_what_is_not_named_is_told() {
        let mut few = voted(&[(1, 1), (2, 1), (2, 2), (3, 2), (7, 2), (9, 3)]);
        few.keep(3);
        assert_eq!((few.above(), told(&few)), (Slot(2), vec![(2, 3, 1), (2, 7, 1), (3, 9, 1)]));
        few.raise(Slot(7));
        assert_eq!(told(&few), [(3, 9, 1)]);
        assert_eq!(Voted::of(few.above(), &few.runs().collect::<Vec<_>>()), few);
        few.note(&Record::Vote { slot: Slot(7), ballot: Ballot::new(9, NodeId(1)), value: Value::no_op() });
        assert_eq!(told(&few), [(3, 9, 1)], "not named");
    }

    #[test]
    fn a_vote_is_covered_by_one_of_its_ballot_or_a_higher_one() {
        let voted = voted(&[(1, 2), (2, 2), (3, 2), (2, 5), (9, 7)]);
        let covers = |slot, round| voted.covers(Slot(slot), Ballot::new(round, NodeId(1)));
        assert!(covers(1, 2) && covers(1, 1) && covers(3, 2) && covers(2, 3) && covers(2, 5) && covers(9, 3));
        assert!(!covers(1, 3) && !covers(4, 2) && !covers(2, 6) && !covers(8, 7) && !covers(0, 1));
    }
}
