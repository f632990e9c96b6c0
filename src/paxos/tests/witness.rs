//! What must hold in every run, whoever crashes and whatever is lost. The witness sees all and takes no part.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::journal::Journal;
use super::ledger::Ledger;
use crate::paxos::{Ballot, Configuration, Executor, NodeId, Place, Replica, Sequence, SessionId, Slot, Then, Value};

/// Facts that were once true and must stay true.
#[derive(Debug, Default)]
pub struct Witness {
    /// The value of every slot that a quorum voted for or a node believes to be chosen.
    chosen: BTreeMap<Slot, Value>,
    votes: BTreeMap<(Slot, Ballot), (Value, BTreeSet<NodeId>)>,
    /// The replicated state after each slot.
    states: BTreeMap<Slot, (u64, u64)>,
    /// The highest promise that each node has told anybody of.
    told: BTreeMap<NodeId, Ballot>,
    /// Where acknowledged commands stand, and how long the ledger was then.
    pub acknowledged: BTreeMap<(SessionId, Sequence), (Place, u64, Vec<u8>)>,
}

impl Witness {
    /// A node is about to say something: it must be able to say it again after a crash.
    pub fn on_release(&mut self, node: NodeId, then: &Then, journal: &Journal, configuration: &Configuration) {
        match then {
            Then::Promise(_, promise) => {
                assert!(
                    journal.promised() >= promise.ballot,
                    "{node} promises {} before it is durable",
                    promise.ballot
                );
                self.tell(node, promise.ballot);
            }
            Then::Accepted(_, accepted) => {
                self.tell(node, accepted.ballot);
                for slot in accepted.slots.iter().filter(|slot| **slot > journal.trimmed_upto) {
                    let ballot = accepted.ballot;
                    let value = journal.vote(*slot, ballot);
                    let value = value.unwrap_or_else(|| panic!("{node} tells of a vote in {slot} that is not durable"));
                    let (held, voters) =
                        self.votes.entry((*slot, ballot)).or_insert_with(|| (value.clone(), BTreeSet::new()));
                    assert_eq!(held, value, "two values in slot {slot} and ballot {ballot}");
                    voters.insert(node);
                    if voters.len() >= configuration.quorum() {
                        let value = value.clone();
                        self.on_chosen(node, *slot, &value);
                    }
                }
            }
            Then::Prepare(..) | Then::Fence(_) | Then::Fetched(..) => {}
        }
    }

    fn tell(&mut self, node: NodeId, ballot: Ballot) {
        let told = self.told.entry(node).or_default();
        *told = ballot.max(*told);
    }

    /// A slot is chosen, or some node believes so.
    pub fn on_chosen(&mut self, node: NodeId, slot: Slot, value: &Value) {
        let held = self.chosen.entry(slot).or_insert_with(|| value.clone());
        assert_eq!(held, value, "{node}: two values are chosen in slot {slot}");
    }

    /// A node's disk was tampered with: what it forgot is no fault of the protocol.
    pub fn excuse(&mut self, node: NodeId) {
        self.told.remove(&node);
    }

    /// A node has come back.
    pub fn on_restart(&self, node: NodeId, replica: &Replica<Ledger>) {
        let told = self.told.get(&node).copied().unwrap_or_default();
        assert!(replica.acceptor.promised() >= told, "{node} forgot that it promised {told}");
    }

    /// A node did something.
    pub fn on_step(&mut self, node: NodeId, replica: &Replica<Ledger>) {
        if let Err(broken) = replica.check(replica.executor.snapshot_upto()) {
            panic!("{node}: {broken}");
        }
        for (slot, (_, value)) in replica.learner.ahead() {
            self.on_chosen(node, *slot, value);
        }
    }

    /// A node executed something.
    pub fn on_executed(&mut self, node: NodeId, executor: &Executor<Ledger>) {
        let mut hasher = DefaultHasher::new();
        executor.sessions().hash(&mut hasher);
        let state = (executor.machine().folded, hasher.finish());
        let slot = executor.executed_upto();
        let held = self.states.entry(slot).or_insert(state);
        assert_eq!(*held, state, "{node}: states differ after slot {slot}");
    }

    /// A client hears that its command is done.
    pub fn on_done(&mut self, name: (SessionId, Sequence), place: Place, length: u64, operation: Vec<u8>) {
        let fact = (place, length, operation);
        let held = self.acknowledged.entry(name).or_insert_with(|| fact.clone());
        assert_eq!(*held, fact, "two answers to one command");
    }

    /// Everything acknowledged is there, where it was said to be.
    pub fn on_end(&self, node: NodeId, executor: &Executor<Ledger>) {
        for (name, (place, length, operation)) in &self.acknowledged {
            let index = usize::try_from(*length).expect("short") - 1;
            let held = executor.machine().entries.get(index);
            assert_eq!(held, Some(operation), "{node}: {name:?} was acknowledged at {place} and is lost");
        }
    }
}
