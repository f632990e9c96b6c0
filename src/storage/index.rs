//! Where each slot's value stands in the journal, for nodes that catch up.
//!
//! The record that tells a slot's value, once the slot is chosen: a `Chosen` record if there is one, else the vote with
//! the highest ballot, the last of them (a vote in a ballot at or above the one it was chosen in is for the chosen
//! value; "Paxos Made Simple", P2). The index does not know which slots are chosen; whoever asks must.

use std::collections::BTreeMap;

use super::batch::Span;
use crate::paxos::{Record, Slot};

/// Slot by slot, the place of the record that counts.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Slot, Location>);

/// A record's place. 32 bytes: this is what the node remembers per slot in its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub segment: u32,
    /// In the file, in bytes, as is `length`.
    pub offset: u32,
    length_and_kind: u32,
    node: u32,
    round: u64,
}

impl Location {
    /// The place of `record`, if it carries a slot, in the batch that begins at `batch` of `segment`.
    pub fn of(record: &Record, segment: u32, batch: u32, span: Span) -> Option<(Slot, Location)> {
        let (slot, ballot, kind) = match record {
            Record::Vote { slot, ballot, .. } => (*slot, *ballot, 0),
            Record::Chosen { slot, ballot, .. } => (*slot, *ballot, CHOSEN),
            _ => return None,
        };
        let location = Location {
            segment,
            offset: batch + span.offset,
            length_and_kind: span.length | kind,
            node: ballot.node.0,
            round: ballot.round,
        };
        Some((slot, location))
    }

    /// In bytes.
    pub fn length(&self) -> u32 {
        self.length_and_kind & !CHOSEN
    }

    fn rank(&self) -> (bool, u64, u32) {
        (self.length_and_kind & CHOSEN != 0, self.round, self.node)
    }

    /// The same place in a batch that begins at `batch` of `segment` (pending places count from zero).
    pub fn placed(mut self, segment: u32, batch: u32) -> Location {
        self.segment = segment;
        self.offset += batch;
        self
    }
}

impl Index {
    /// Takes a record's place, unless a better one is known.
    pub fn note(&mut self, slot: Slot, location: Location) {
        let known = self.0.entry(slot).or_insert(location);
        if location.rank() >= known.rank() {
            *known = location;
        }
    }

    /// Forgets every slot up to and including `upto`.
    pub fn trim(&mut self, upto: Slot) {
        self.0 = self.0.split_off(&upto.next());
    }

    /// The unbroken run of slots from `first` to at most `upto`.
    pub fn run(&self, first: Slot, upto: Slot) -> impl Iterator<Item = (Slot, Location)> + '_ {
        let known = self.0.range(first..=upto.max(first)).map(|(slot, location)| (*slot, *location));
        let unbroken = known.zip(first.0..=upto.0).take_while(|((slot, _), due)| slot.0 == *due);
        unbroken.map(|(known, _)| known)
    }

    /// The first slot known.
    pub fn first(&self) -> Option<Slot> {
        self.0.keys().next().copied()
    }
}

const CHOSEN: u32 = 1 << 31;

const _: () = assert!(size_of::<Location>() <= 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, NodeId, Value};

    #[test]
    fn a_chosen_value_outranks_every_vote_and_a_later_vote_an_earlier_one() {
        let place = |record: &Record, offset| Location::of(record, 1, 0, Span { offset, length: 40 }).expect("a slot");
        let (slot, value) = (Slot(1), Value::no_op());
        let vote = |round| Record::Vote { slot, ballot: Ballot::new(round, NodeId(1)), value: value.clone() };
        let chosen = Record::Chosen { slot, ballot: Ballot::new(2, NodeId(1)), value: value.clone() };
        let mut index = Index::default();
        let mut best = |record: &Record, offset| {
            let (slot, location) = place(record, offset);
            index.note(slot, location);
            let (_, known) = index.run(slot, slot).next().expect("noted");
            (known.offset, known.length())
        };
        assert_eq!(best(&vote(3), 100), (100, 40));
        assert_eq!(best(&vote(1), 200), (100, 40));
        assert_eq!(best(&chosen, 300), (300, 40));
        assert_eq!(best(&vote(4), 400), (300, 40));
    }
}
