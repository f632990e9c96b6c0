//! What the journal says apart from slots: the few facts that must outlive the segments they stand in.
//!
//! Only the latest of each kind counts, so they are small whatever the journal's length, and are logged anew before a
//! segment is given up (DESIGN rule 4). A vote is also a promise of its ballot.

use std::collections::BTreeMap;

use super::voted::Voted;
use crate::paxos::{Ballot, BatchNumber, Before, NodeId, Record, Slot};

/// The latest fact of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    founded: Option<Record>,
    confirmed: bool,
    amnesiac: Option<Record>,
    promise: Ballot,
    reserved: Ballot,
    chosen_upto: Option<(Slot, Ballot)>,
    witnessed: BTreeMap<NodeId, BatchNumber>,
}

impl Facts {
    /// Takes what `record` adds.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::Founded { .. } => self.founded = Some(record.clone()),
            Record::Promise { ballot } | Record::Vote { ballot, .. } => self.promise = self.promise.max(*ballot),
            Record::Reserved { ballot } => self.reserved = self.reserved.max(*ballot),
            Record::Confirmed {} => self.confirmed = true,
            Record::Amnesiac { .. } => self.amnesiac = Some(record.clone()),
            Record::Chosen { .. } => {}
            Record::ChosenUpto { ballot, upto } => self.chosen_upto = self.chosen_upto.max(Some((*upto, *ballot))),
            Record::Witnessed { node, batch } => {
                let highest = self.witnessed.entry(*node).or_default();
                *highest = (*highest).max(*batch);
            }
            Record::Before(_) => {}
        }
    }

    /// What the next batch begins with, when these are the facts and the votes so far.
    pub fn before(&self, voted: &Voted) -> Before {
        let amnesiac = match &self.amnesiac {
            Some(Record::Amnesiac { witnessed }) => Some(*witnessed),
            _ => None,
        };
        Before {
            promised: self.promise,
            reserved: self.reserved,
            confirmed: self.confirmed,
            amnesiac,
            above: voted.above(),
            votes: voted.runs().collect(),
        }
    }

    /// What a later batch says, and these facts do not: it stood in batches that are damaged. In the form of records.
    pub fn missing(&self, before: &Before) -> Vec<Record> {
        let mut records = Vec::new();
        if before.confirmed && !self.confirmed {
            records.push(Record::Confirmed {});
        }
        if self.amnesiac.is_none() {
            records.extend(before.amnesiac.map(|witnessed| Record::Amnesiac { witnessed }));
        }
        if before.promised > self.promise {
            records.push(Record::Promise { ballot: before.promised });
        }
        if before.reserved > self.reserved {
            records.push(Record::Reserved { ballot: before.reserved });
        }
        records
    }

    /// The records that say the same.
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.founded.iter().cloned().collect();
        if self.confirmed {
            records.push(Record::Confirmed {});
        }
        records.extend(self.amnesiac.clone());
        if self.promise > Ballot::ZERO {
            records.push(Record::Promise { ballot: self.promise });
        }
        if self.reserved > Ballot::ZERO {
            records.push(Record::Reserved { ballot: self.reserved });
        }
        records.extend(self.chosen_upto.map(|(upto, ballot)| Record::ChosenUpto { ballot, upto }));
        let witnessed = self.witnessed.iter().map(|(node, batch)| Record::Witnessed { node: *node, batch: *batch });
        records.extend(witnessed);
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Value;

    #[test]
    fn what_is_logged_anew_says_the_same() {
        let ballot = |round| Ballot::new(round, NodeId(1));
        let mut facts = Facts::default();
        for record in [
            Record::Confirmed {},
            Record::Vote { slot: Slot(4), ballot: ballot(3), value: Value::no_op() },
            Record::Promise { ballot: ballot(9) },
            Record::Reserved { ballot: ballot(7) },
            Record::ChosenUpto { ballot: ballot(3), upto: Slot(4) },
            Record::Witnessed { node: NodeId(2), batch: BatchNumber(5) },
            Record::Amnesiac { witnessed: BatchNumber(8) },
        ] {
            facts.note(&record);
        }
        let mut again = Facts::default();
        facts.records().iter().for_each(|record| again.note(record));
        assert_eq!(again, facts);
        let expected = [
            Record::Confirmed {},
            Record::Amnesiac { witnessed: BatchNumber(8) },
            Record::Promise { ballot: ballot(9) },
            Record::Reserved { ballot: ballot(7) },
            Record::ChosenUpto { ballot: ballot(3), upto: Slot(4) },
            Record::Witnessed { node: NodeId(2), batch: BatchNumber(5) },
        ];
        assert_eq!(again.records(), expected);
        assert_eq!(Facts::default().records(), []);
    }

    #[test]
    fn rule_4_what_is_lost_of_the_facts_a_later_batch_restores() {
        let ballot = |round| Ballot::new(round, NodeId(1));
        let lost = [
            Record::Confirmed {},
            Record::Amnesiac { witnessed: BatchNumber(8) },
            Record::Promise { ballot: ballot(9) },
            Record::Reserved { ballot: ballot(7) },
        ];
        let mut facts = Facts::default();
        lost.iter().for_each(|record| facts.note(record));
        let before = facts.before(&Voted::default());
        assert_eq!(Facts::default().missing(&before), lost);
        assert_eq!(facts.missing(&before), []);
    }
}
