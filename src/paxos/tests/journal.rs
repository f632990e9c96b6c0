//! A simulated disk: records become durable in order, and a crash keeps what was synced.

use std::collections::{BTreeMap, VecDeque};

use super::ledger::Ledger;
use crate::paxos::dice::{Dice, mix};
use crate::paxos::image::Frame;
use crate::paxos::{Ballot, Learner, Membership, NodeId, Record, Settings, Slot, SnapshotId, State, Then, Value};

/// One node's disk. It outlives the node's crashes.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub durable: Vec<Record>,
    /// Appended, written, and covered by no sync yet.
    lazy: Vec<Record>,
    pub pending: VecDeque<Pending>,
    pub batches: u64,
    pub snapshot: Option<State<Ledger>>,
    pub saving: VecDeque<Saving>,
    /// Written, and not agreed on yet.
    finished: Option<State<Ledger>>,
    /// The marks that were agreed on.
    proven: BTreeMap<Slot, [u8; 32]>,
    pub trimmed_upto: Slot,
}

#[derive(Clone, Debug)]
pub enum Pending {
    Append(Vec<Record>),
    Sync(Vec<Record>, Vec<Then>),
    Flush(Vec<Then>),
}

/// A snapshot on its way to the disk.
#[derive(Clone, Debug)]
pub enum Saving {
    /// Whether it is kept, and the image's number.
    Own(State<Ledger>, bool, u64),
    FromPeer(State<Ledger>),
}

/// The digest of a state.
pub fn digest(state: &State<Ledger>) -> [u8; 32] {
    encode(state).1.0
}

/// A snapshot as a file, and its digest.
pub fn encode(state: &State<Ledger>) -> (Vec<u8>, SnapshotId) {
    let frames: Vec<Frame> = state.freeze().frames([0; 32]).collect();
    let bytes = bincode::serialize(&frames).expect("frames serialise");
    let folded = bytes.iter().fold(0, |sum, byte| mix(sum ^ u64::from(*byte)));
    (bytes, SnapshotId(std::array::from_fn(|byte| (folded >> (byte % 8 * 8)) as u8)))
}

/// The snapshot in such a file.
pub fn decode(bytes: &[u8]) -> State<Ledger> {
    let frames: Vec<Frame> = bincode::deserialize(bytes).expect("it was encoded here");
    let (mut state, _) = State::restore(&mut frames.into_iter(), Ledger::default()).expect("a ledger's snapshot");
    state.digest = digest(&state);
    state
}

impl Journal {
    /// The replicas agree on the state of this mark.
    pub fn prove(&mut self, mark: Slot, digest: [u8; 32]) -> Option<Slot> {
        self.proven.insert(mark, digest);
        self.settle()
    }

    /// The node's own state is written down.
    pub fn finish(&mut self, state: State<Ledger>) -> Option<Slot> {
        self.finished = Some(state);
        self.settle()
    }

    /// What is written and agreed on is a snapshot.
    fn settle(&mut self) -> Option<Slot> {
        let state = self.finished.take_if(|state| self.proven.get(&state.upto) == Some(&state.digest))?;
        let upto = state.upto;
        self.keep(state);
        Some(upto)
    }

    /// The newest snapshot is kept.
    pub fn keep(&mut self, state: State<Ledger>) {
        if self.snapshot.as_ref().is_none_or(|held| held.upto < state.upto) {
            self.snapshot = Some(state);
        }
    }

    /// The next thing asked of the disk comes true; what waited for it may be said.
    pub fn step(&mut self) -> Vec<Then> {
        match self.pending.pop_front() {
            None => Vec::new(),
            Some(Pending::Append(records)) => {
                self.lazy.extend(records);
                Vec::new()
            }
            Some(Pending::Sync(records, then)) => {
                if !records.is_empty() {
                    self.durable.append(&mut self.lazy);
                    self.durable.extend(records);
                    self.batches += 1;
                }
                then
            }
            Some(Pending::Flush(then)) => {
                self.batches += u64::from(!self.lazy.is_empty());
                self.durable.append(&mut self.lazy);
                then
            }
        }
    }

    /// Up to where a node that started from this would know what is chosen.
    pub fn knows_upto(&self, founders: &Membership) -> Slot {
        let snapshot_upto = self.snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let mut learner = Learner::new(NodeId(0), founders.clone(), &Settings::default(), snapshot_upto);
        self.durable.iter().for_each(|record| learner.apply_record(record));
        learner.chosen_upto()
    }

    /// The power fails. Some of what was under way may have reached the disk, in order, although nobody was told.
    pub fn crash(&mut self, dice: &mut Dice) {
        if dice.below(2) == 0 {
            for _ in 0..dice.below(self.pending.len() as u64 + 1) {
                self.step();
            }
        }
        self.lazy.clear();
        self.pending.clear();
        self.saving.clear();
        self.finished = None;
        self.proven.clear();
    }

    /// Forgets slots that the snapshot covers, but no promise and no reservation.
    pub fn trim(&mut self, upto: Slot) {
        self.trimmed_upto = self.trimmed_upto.max(upto);
        let promise = Record::Promise { ballot: self.promised() };
        let keep = |record: &Record| match record {
            Record::Vote { slot, .. } | Record::Chosen { slot, .. } => *slot > upto,
            Record::ChosenUpto { upto: chosen, .. } => *chosen > upto,
            _ => true,
        };
        self.durable.retain(keep);
        self.durable.insert(0, promise);
    }

    /// The highest ballot that a durable record promises.
    pub fn promised(&self) -> Ballot {
        let ballot = |record: &Record| match record {
            Record::Promise { ballot } | Record::Vote { ballot, .. } => Some(*ballot),
            _ => None,
        };
        self.durable.iter().filter_map(ballot).max().unwrap_or(Ballot::ZERO)
    }

    /// The value voted for, if the vote is durable.
    pub fn vote(&self, wanted: Slot, in_ballot: Ballot) -> Option<&Value> {
        self.durable.iter().find_map(|record| match record {
            Record::Vote { slot, ballot, value } if *slot == wanted && *ballot == in_ballot => Some(value),
            _ => None,
        })
    }

    /// What was chosen in a slot that the learner knows to be chosen, durable or not: a `Chosen` record, or the vote
    /// with the highest ballot.
    pub fn chosen(&self, wanted: Slot) -> Option<(Slot, Ballot, Value)> {
        let pending = self.pending.iter().flat_map(|pending| match pending {
            Pending::Append(records) | Pending::Sync(records, _) => &records[..],
            Pending::Flush(_) => &[],
        });
        let mut best: Option<(bool, Ballot, &Value)> = None;
        for record in self.durable.iter().chain(&self.lazy).chain(pending) {
            let (known, ballot, value) = match record {
                Record::Vote { slot, ballot, value } if *slot == wanted => (false, *ballot, value),
                Record::Chosen { slot, ballot, value } if *slot == wanted => (true, *ballot, value),
                _ => continue,
            };
            if best.is_none_or(|(was_known, best, _)| (known, ballot) >= (was_known, best)) {
                best = Some((known, ballot, value));
            }
        }
        best.map(|(_, ballot, value)| (wanted, ballot, value.clone()))
    }
}
