//! Random lives of a journal, crashes included, against a model that is a list of records.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and the line says where")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use synod::paxos::{Ballot, BatchNumber, Bytes, Command, Configuration, NodeId, Record, SessionId, Slot, Stamp, Value};
use synod::storage::{Journal, MemoryDisk, Settings};

const SMALL: Settings = Settings { segment_bytes: 12 * 1024, first_segment_bytes: 8 * 1024, spares: 1, keep_bytes: 0 };

#[derive(Clone, Debug)]
enum Step {
    Append { kind: u8, number: u8, round: u8, length: u16 },
    Commit,
    Seal,
    Trim { back: u8 },
    PrepareSpare,
    Restart,
    Crash { operations_left: u8, seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let append = (0u8..7, any::<u8>(), 1u8..9, 0u16..900);
    prop_oneof![
        8 => append.prop_map(|(kind, number, round, length)| Step::Append { kind, number, round, length }),
        4 => Just(Step::Commit),
        1 => Just(Step::Seal),
        1 => (0u8..20).prop_map(|back| Step::Trim { back }),
        1 => Just(Step::PrepareSpare),
        1 => Just(Step::Restart),
        1 => (0u8..12, any::<u64>()).prop_map(|(operations_left, seed)| Step::Crash { operations_left, seed }),
    ]
}

/// What a list of records says once slots up to `trimmed` do not count.
#[derive(Debug, Default, PartialEq)]
struct Said {
    founded: Option<Record>,
    confirmed: bool,
    amnesiac: Option<Record>,
    promise: Ballot,
    reserved: Ballot,
    chosen_upto: Slot,
    witnessed: BTreeMap<NodeId, BatchNumber>,
    slots: Vec<Record>,
}

fn said(records: &[Record], trimmed: Slot) -> Said {
    let mut said = Said::default();
    for record in records {
        match record {
            Record::Founded { .. } => said.founded = Some(record.clone()),
            Record::Confirmed {} => said.confirmed = true,
            Record::Amnesiac { .. } => said.amnesiac = Some(record.clone()),
            Record::Promise { ballot } => said.promise = said.promise.max(*ballot),
            Record::Reserved { ballot } => said.reserved = said.reserved.max(*ballot),
            Record::ChosenUpto { upto, .. } => said.chosen_upto = said.chosen_upto.max(*upto),
            Record::Witnessed { node, batch } => {
                let known = said.witnessed.entry(*node).or_default();
                *known = (*known).max(*batch);
            }
            Record::Vote { slot, ballot, .. } => {
                said.promise = said.promise.max(*ballot);
                said.slots.extend((*slot > trimmed).then(|| record.clone()));
            }
            Record::Before(_) => panic!("the journal keeps it to itself"),
            Record::Chosen { slot, .. } => said.slots.extend((*slot > trimmed).then(|| record.clone())),
        }
    }
    said
}

/// The record that tells a slot's chosen value.
fn telling(records: &[Record], wanted: Slot) -> Option<(Slot, Ballot, Value)> {
    let mut best: Option<(bool, Ballot, Value)> = None;
    for record in records {
        let (chosen, slot, ballot, value) = match record {
            Record::Vote { slot, ballot, value } => (false, slot, ballot, value),
            Record::Chosen { slot, ballot, value } => (true, slot, ballot, value),
            _ => continue,
        };
        if *slot == wanted && best.as_ref().is_none_or(|best| (chosen, *ballot) >= (best.0, best.1)) {
            best = Some((chosen, *ballot, value.clone()));
        }
    }
    best.map(|(_, ballot, value)| (wanted, ballot, value))
}

struct Life {
    disk: MemoryDisk,
    journal: Journal<MemoryDisk>,
    committed: Vec<Record>,
    pending: Vec<Record>,
    top: u64,
    trimmed: Slot,
    /// What peers may have heard.
    heard: BatchNumber,
}

impl Life {
    fn new() -> Life {
        let disk = MemoryDisk::new();
        let mut journal = Journal::create(disk.clone(), SMALL, 5).unwrap();
        journal.vouch();
        let (committed, pending) = Default::default();
        Life { disk, journal, committed, pending, top: 1, trimmed: Slot::ZERO, heard: BatchNumber(0) }
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Append { kind, number, round, length } => self.append(*kind, *number, *round, *length),
            Step::Commit => {
                let number = self.journal.commit().unwrap();
                assert!(number >= self.heard);
                self.committed.append(&mut self.pending);
            }
            Step::Seal => {
                self.journal.seal().unwrap();
                self.committed.append(&mut self.pending);
            }
            Step::Trim { back } => {
                let upto = Slot(self.top.saturating_sub(u64::from(*back)));
                self.trimmed = self.journal.trim(upto).unwrap();
                assert!(self.trimmed <= upto.max(self.trimmed));
                self.committed.append(&mut self.pending);
            }
            Step::PrepareSpare => {
                if let Some(task) = self.journal.spare_task() {
                    self.journal.add_spare(task.run().unwrap());
                }
            }
            Step::Restart => self.restart(),
            Step::Crash { operations_left, seed } => {
                self.disk.fail_after(u64::from(*operations_left));
                let upto = Slot(self.top.saturating_sub(4));
                let done = self.journal.commit().is_ok();
                self.heard = self.heard.max(self.journal.last_batch());
                if done {
                    self.committed.append(&mut self.pending);
                    let _ = self.journal.trim(upto);
                }
                let mut state = *seed;
                self.disk.crash(|bound| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 33) % (bound + 1)
                });
                self.restart();
            }
        }
        self.heard = self.heard.max(self.journal.last_batch());
    }

    fn append(&mut self, kind: u8, number: u8, round: u8, length: u16) {
        let ballot = Ballot::new(u64::from(round), NodeId(1));
        let slot = Slot(self.top + u64::from(number % 4));
        let operation = Bytes::from(vec![number; usize::from(length)]);
        let command = Command::Apply {
            session: SessionId(1),
            sequence: Default::default(),
            done_below: Default::default(),
            operation,
        };
        let value = Value::batch(Stamp::default(), &[command]);
        let record = match kind {
            0 if number.is_multiple_of(5) => Record::Confirmed {},
            0 if number.is_multiple_of(7) => Record::Amnesiac { witnessed: BatchNumber(u64::from(number)) },
            0 => {
                Record::Founded { cluster: "synod".into(), node: NodeId(1), configuration: Configuration::numbered(3) }
            }
            1 => Record::Promise { ballot },
            2 => Record::Reserved { ballot },
            3 => Record::ChosenUpto { ballot, upto: slot },
            4 => Record::Witnessed { node: NodeId(u32::from(number % 3)), batch: BatchNumber(u64::from(number)) },
            5 => Record::Chosen { slot, ballot, value },
            _ => Record::Vote { slot, ballot, value },
        };
        self.top += u64::from(kind > 4);
        self.journal.append(&record);
        self.pending.push(record);
    }

    /// Opens what is there: every committed record, and the batch in flight wholly or not at all.
    fn restart(&mut self) {
        let opened = Journal::open(self.disk.clone(), SMALL).unwrap();
        self.journal = opened.journal;
        assert!(self.journal.trimmed_upto() >= self.trimmed);
        self.trimmed = self.journal.trimmed_upto();
        assert!(self.journal.last_batch() >= self.heard, "a number that peers heard was lost");
        self.journal.vouch();
        let with_pending = [&self.committed[..], &self.pending[..]].concat();
        let found = said(&opened.records, self.trimmed);
        if found == said(&with_pending, self.trimmed) {
            self.committed = with_pending;
        } else {
            assert_eq!(found, said(&self.committed, self.trimmed));
        }
        self.pending.clear();
        for slot in self.trimmed.above(Slot(self.top + 4)) {
            let supplied = self.journal.read_slots(slot, slot, 0).unwrap();
            assert_eq!(supplied.into_iter().next(), telling(&self.committed, slot));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_says_what_was_committed_to_it(steps in prop::collection::vec(step(), 1..120)) {
        let mut life = Life::new();
        for step in &steps {
            life.live(step);
        }
        life.live(&Step::Commit);
        life.live(&Step::Restart);
    }
}
