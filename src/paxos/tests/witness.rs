//! What must hold in every run, whoever crashes and whatever is lost. The witness sees all and takes no part.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::journal::Journal;
use super::ledger::Ledger;
use crate::paxos::{
    Ballot, Configuration, Effects, Executor, Membership, NodeId, Place, Replica, Sequence, SessionId, Settings, Slot,
    Then, Value,
};

/// Facts that were once true and must stay true.
#[derive(Debug)]
pub struct Witness {
    /// The chosen log, executed as far as it has no hole: its word on the members.
    log: Executor<Ledger>,
    /// The furthest that each node has executed.
    reached: BTreeMap<NodeId, Slot>,
    /// Every configuration that there ever was, by its first slot.
    configurations: BTreeMap<Slot, Configuration>,
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
    pub fn new(founders: Membership) -> Witness {
        let configurations = founders.spans().iter().map(|span| (span.first, span.configuration.clone())).collect();
        let settings = Settings { snapshot_slots: u64::MAX, ..Settings::default() };
        Witness {
            log: Executor::new(NodeId(0), founders, settings, Ledger::default(), 0),
            configurations,
            reached: BTreeMap::new(),
            chosen: BTreeMap::new(),
            votes: BTreeMap::new(),
            states: BTreeMap::new(),
            told: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    pub fn membership(&self) -> &Membership {
        self.log.membership()
    }

    /// Every configuration that may decide a slot, as far as that is known: where it is not, nobody may propose.
    fn configuration(&self, slot: Slot) -> Option<&Configuration> {
        if slot > self.membership().known_upto() {
            return None;
        }
        self.configurations.range(..=slot).next_back().map(|(_, configuration)| configuration)
    }

    /// A node is told that all members have executed so much. Whoever said so may not have known of the latest newcomers.
    pub fn on_everywhere(&self, upto: Slot) {
        let then = self.configuration(upto).into_iter().flat_map(Configuration::nodes);
        for node in then.filter(|node| self.membership().latest().contains(*node)) {
            assert!(self.reached(node) >= upto, "n{node} has never executed {upto}");
        }
    }

    /// A node that left may stop: whatever it voted on must be known to a quorum of those that stay (DESIGN section 4,
    /// rule 6), and `knows` says that a crash of them all would not change that.
    pub fn on_dismissed(&self, node: NodeId, from: Slot, knows: impl Fn(NodeId) -> Slot) {
        assert!(!self.membership().votes(node), "n{node} still has a vote");
        let enough = |(first, next): (&Slot, &Configuration)| {
            next.nodes().filter(|node| knows(*node) >= first.previous()).count() >= next.quorum()
        };
        // A newcomer that leaves had no vote: for it the configuration goes on.
        let mut later =
            self.configurations.range(..=from).next_back().into_iter().chain(self.configurations.range(from..));
        assert!(later.any(enough), "n{node} stops at {from}, and is still needed");
    }

    fn reached(&self, node: NodeId) -> Slot {
        self.reached.get(&node).copied().unwrap_or(Slot::ZERO)
    }

    /// A node is about to say something: it must be able to say it again after a crash.
    pub fn on_release(&mut self, node: NodeId, then: &Then, journal: &Journal) {
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
                    let (value, voters) = (value.clone(), voters.clone());
                    let Some(configuration) = self.configuration(*slot) else {
                        panic!("{node} voted in {slot}, whose configuration nobody can know");
                    };
                    if voters.iter().filter(|voter| configuration.contains(**voter)).count() >= configuration.quorum() {
                        self.on_chosen(node, *slot, &value);
                    }
                }
            }
            Then::Recorded(upto) => {
                let knows = journal.knows_upto(self.membership());
                assert!(knows >= *upto, "{node} would know {knows} after a crash, and says {upto}");
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
        while let Some(value) = self.chosen.get(&self.log.executed_upto().next()) {
            let slot = self.log.executed_upto().next();
            self.log.on_chosen(vec![(slot, Ballot::ZERO, value.clone())], &mut Effects::new());
            let spans = self.log.membership().spans().iter().map(|span| (span.first, span.configuration.clone()));
            self.configurations.extend(spans);
        }
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
        let reached = self.reached.entry(node).or_default();
        *reached = slot.max(*reached);
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
