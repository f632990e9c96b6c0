//! Logs and machines agree, slot by slot. A machine of the check's own executes the chosen log alone, in order; whatever
//! a node has executed up to a slot must have left it in the same state, however it came there.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::{Broken, Held, bank};
use crate::machine::Composite;
use crate::paxos::{
    Ballot, ClientId, Configuration, Effect, Effects, Executor, ExecutorMessage, Membership, NodeId, Place, Reply,
    Sequence, SessionId, Settings, Slot, StateMachine, Taken, Token, Value,
};
use crate::sim::hash::Fold;
use crate::storage::image;

/// The chosen log, executed alone.
#[derive(Debug)]
pub struct States {
    executor: Executor<Composite>,
    /// Of the machine, of the session table, and of the members.
    digests: BTreeMap<Slot, ([u8; 32], u64, u64)>,
    /// Every configuration that there ever was, by the first slot that it decides.
    configurations: BTreeMap<Slot, Configuration>,
    /// Where each command was executed, and how it was answered.
    executed: BTreeMap<(SessionId, Sequence), (Place, Vec<u8>)>,
}

impl Default for States {
    fn default() -> States {
        States::new(Membership::founded(Configuration::numbered(1)))
    }
}

const NAME: &str = "states";

/// Of the machine, of the session table, and of the members.
fn digests(executor: &Executor<Composite>) -> ([u8; 32], u64, u64) {
    let (mut sessions, mut members) = (Fold::default(), Fold::default());
    executor.membership().hash(&mut members);
    executor.sessions().hash(&mut sessions);
    (executor.machine().digest(), sessions.finish(), members.finish())
}

impl States {
    /// Of a cluster with these founders.
    pub fn new(founders: Membership) -> States {
        let settings = Settings { snapshot_slots: u64::MAX, snapshot_bytes: u64::MAX, ..Settings::default() };
        let executor = Executor::new(NodeId(0), founders, settings, Composite::default(), 0);
        let mut states = States {
            digests: BTreeMap::from([(Slot::ZERO, digests(&executor))]),
            executor,
            configurations: BTreeMap::new(),
            executed: BTreeMap::new(),
        };
        states.note_configurations();
        states
    }

    fn note_configurations(&mut self) {
        let spans = self.executor.membership().spans().iter();
        self.configurations.extend(spans.map(|span| (span.first, span.configuration.clone())));
    }

    /// Who the members are, as the chosen log says.
    pub fn membership(&self) -> &Membership {
        self.executor.membership()
    }

    /// The machines, as the chosen log leaves them.
    pub fn machine(&self) -> &Composite {
        self.executor.machine()
    }

    /// Every configuration that there ever was, by the first slot that it decides.
    pub fn configurations(&self) -> &BTreeMap<Slot, Configuration> {
        &self.configurations
    }

    /// The configuration that decides a slot; none as long as nobody can know it.
    pub fn configuration(&self, slot: Slot) -> Option<&Configuration> {
        let is_known = slot <= self.membership().known_upto();
        self.configurations.range(..=slot).next_back().filter(|_| is_known).map(|(_, configuration)| configuration)
    }

    /// A client may ask for a session by this token.
    pub fn on_token(&mut self, token: Token) {
        let attach = ExecutorMessage::AttachToken { token, client: ClientId(0) };
        self.executor.on_message(NodeId(0), attach, &mut Effects::new());
    }

    /// More is chosen. Executes what follows without a hole; a command that executes twice is found.
    pub fn advance(&mut self, chosen: &BTreeMap<Slot, Value>) -> Held {
        loop {
            let slot = self.executor.executed_upto().next();
            let Some(value) = chosen.get(&slot) else { return Ok(()) };
            let mut effects = Effects::new();
            self.executor.on_chosen(vec![(slot, Ballot::ZERO, value.clone())], &mut effects);
            for Taken { image, number, .. } in self.executor.take_images() {
                let digested = ExecutorMessage::Digested { number, upto: image.upto, digest: image::digest(&image) };
                self.executor.on_message(NodeId(0), digested, &mut effects);
            }
            bank::check_money(self.executor.machine().bank())?;
            self.digests.insert(slot, digests(&self.executor));
            self.note_configurations();
            for effect in effects.drain() {
                // A ballot tells a command that executes now from one whose reply was remembered.
                let Effect::Reply { reply: Reply::Done { session, sequence, place, ballot: Some(_), result }, .. } =
                    effect
                else {
                    continue;
                };
                let name = (session, sequence);
                if let Some((first, _)) = self.executed.insert(name, (place, result.to_vec())) {
                    return Err(Broken::new(
                        "exactly_once",
                        format!("{name:?} is executed at {first} and again at {place}"),
                    ));
                }
            }
        }
    }

    /// A node has executed up to a slot.
    pub fn check(&self, node: NodeId, executor: &Executor<Composite>) -> Held {
        let upto = executor.executed_upto();
        let Some((machine, sessions, members)) = self.digests.get(&upto) else {
            return Err(Broken::new(NAME, format!("{node} executed slot {upto}, which is not chosen")));
        };
        let (own_machine, own_sessions, own_members) = digests(executor);
        if own_machine != *machine {
            return Err(Broken::new(NAME, format!("{node}'s machine differs after slot {upto}")));
        }
        if own_sessions != *sessions {
            return Err(Broken::new(NAME, format!("{node}'s session table differs after slot {upto}")));
        }
        if own_members != *members {
            return Err(Broken::new(NAME, format!("{node}'s members differ after slot {upto}")));
        }
        Ok(())
    }

    /// The last slot executed.
    pub fn executed_upto(&self) -> Slot {
        self.executor.executed_upto()
    }

    /// Where a command was executed, and how it was answered.
    pub fn executed(&self) -> &BTreeMap<(SessionId, Sequence), (Place, Vec<u8>)> {
        &self.executed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founders() -> Membership {
        Membership::founded(Configuration::numbered(1))
    }

    #[test]
    fn a_state_that_differs_is_found() {
        let mut states = States::default();
        let chosen = BTreeMap::from([(Slot(1), Value::batch(Default::default(), &[]))]);
        states.advance(&chosen).expect("an empty batch");
        let mut executor = Executor::new(NodeId(1), founders(), Settings::default(), Composite::default(), 1);
        assert_eq!(states.check(NodeId(1), &executor), Ok(()), "nothing executed yet");
        executor.on_chosen(vec![(Slot(1), Ballot::ZERO, chosen[&Slot(1)].clone())], &mut Effects::new());
        assert_eq!(states.check(NodeId(1), &executor), Ok(()));
        let open = crate::paxos::Command::Open { token: Token(1) };
        let mut other = Executor::new(NodeId(1), founders(), Settings::default(), Composite::default(), 1);
        other.on_chosen(vec![(Slot(1), Ballot::ZERO, Value::batch(Default::default(), &[open]))], &mut Effects::new());
        assert!(states.check(NodeId(1), &other).is_err(), "a session more");
        other.on_chosen(vec![(Slot(2), Ballot::ZERO, Value::no_op())], &mut Effects::new());
        assert!(states.check(NodeId(1), &other).is_err(), "a slot that is not chosen");
    }
}
