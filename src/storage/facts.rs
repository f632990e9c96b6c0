//! What the journal says apart from slots: the few facts that must outlive the segments they stand in.
//!
//! Only the latest of each kind counts, so they are small whatever the journal's length, and are logged anew before a
//! segment is given up (DESIGN rule 4). A vote is also a promise of its ballot.

use std::collections::BTreeMap;

use crate::paxos::{Ballot, BatchNumber, NodeId, Record, Slot};

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
        }
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
}
