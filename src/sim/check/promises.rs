//! What a node said it promised or voted, it knows for ever ("Paxos Made Simple", section 2.4), across restarts too.

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::paxos::message::Promise;
use crate::paxos::{Acceptor, Ballot, NodeId, Slot};

/// What each node has told anybody.
#[derive(Debug, Default)]
pub struct Promises {
    told: BTreeMap<NodeId, Told>,
    /// From which slot on each ballot's owner asks for votes.
    asked: BTreeMap<Ballot, Slot>,
}

#[derive(Debug, Default)]
struct Told {
    promised: Ballot,
    votes: BTreeMap<Slot, Ballot>,
}

const NAME: &str = "promises";

impl Promises {
    /// A ballot is prepared, from this slot on.
    pub fn on_prepare(&mut self, ballot: Ballot, from: Slot) {
        self.asked.insert(ballot, from);
    }

    /// A node says that it promised; all of its votes, if the promise has one part only.
    pub fn on_promise(&mut self, node: NodeId, promise: &Promise) -> Held {
        self.on_word(node, "promises", promise.ballot)?;
        let told = self.told.entry(node).or_default();
        if promise.parts > 1 {
            return Ok(());
        }
        let reported = |slot: Slot| promise.votes.iter().find(|vote| vote.slot == slot).map(|vote| vote.ballot);
        let asked = self.asked.get(&promise.ballot).copied().unwrap_or(Slot(u64::MAX));
        let first = asked.max(promise.settled_upto.next());
        match told.votes.range(first..).find(|(slot, ballot)| reported(**slot).is_none_or(|voted| voted < **ballot)) {
            None => Ok(()),
            Some((slot, ballot)) => Err(Broken::new(
                NAME,
                format!("{node} promises {} and leaves out its vote in slot {slot}, ballot {ballot}", promise.ballot),
            )),
        }
    }

    /// A node says that it voted.
    pub fn on_vote(&mut self, node: NodeId, ballot: Ballot, slot: Slot) -> Held {
        self.on_word(node, "votes in", ballot)?;
        let told = self.told.entry(node).or_default();
        let voted = told.votes.entry(slot).or_default();
        *voted = ballot.max(*voted);
        Ok(())
    }

    /// A node drops a vote of which it lost the value, rightly or not.
    pub fn on_dropped(&mut self, node: NodeId, ballot: Ballot, slot: Slot) {
        if let Some(told) = self.told.get_mut(&node)
            && told.votes.get(&slot) == Some(&ballot)
        {
            told.votes.remove(&slot);
        }
    }

    /// Whatever a node says in a ballot, it has promised no higher one.
    fn on_word(&mut self, node: NodeId, does: &str, ballot: Ballot) -> Held {
        let told = self.told.entry(node).or_default();
        if ballot < told.promised {
            let promised = told.promised;
            return Err(Broken::new(NAME, format!("{node} {does} ballot {ballot}, and has promised {promised}")));
        }
        told.promised = ballot;
        Ok(())
    }

    /// A node answers a leader's heartbeat: a read may rest on that, so not below its promise (DESIGN section 4, rule 3).
    pub fn on_heartbeat_answer(&self, node: NodeId, ballot: Ballot) -> Held {
        match self.told.get(&node) {
            Some(Told { promised, .. }) if ballot < *promised => Err(Broken::new(
                "promises",
                format!("{node} said that it promised {promised}, and answers a heartbeat of {ballot}"),
            )),
            _ => Ok(()),
        }
    }

    /// How a node's acceptor stands, after a start or a step.
    pub fn check(&mut self, acceptor: &Acceptor, node: NodeId) -> Held {
        let Some(told) = self.told.get_mut(&node) else { return Ok(()) };
        if acceptor.promised() < told.promised {
            return Err(Broken::new(
                NAME,
                format!("{node} said that it promised {}, and now says {}", told.promised, acceptor.promised()),
            ));
        }
        told.votes = told.votes.split_off(&acceptor.settled_upto().next());
        for (slot, ballot) in &told.votes {
            if acceptor.votes().get(slot).is_none_or(|(voted, _)| voted < ballot) {
                return Err(Broken::new(
                    NAME,
                    format!("{node} said that it voted in slot {slot}, ballot {ballot}, and forgot"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Membership;
    use crate::paxos::message::Vote;
    use crate::paxos::{BatchNumber, Configuration, Record, Value};

    #[test]
    fn what_is_forgotten_is_found() {
        let mut promises = Promises::default();
        let (node, ballot) = (NodeId(1), Ballot::new(3, NodeId(2)));
        let configurations = Membership::founded(Configuration::numbered(3));
        let mut acceptor = Acceptor::new(node, configurations, Slot::ZERO, BatchNumber(0));
        promises.on_vote(node, ballot, Slot(4)).expect("new");
        assert!(promises.check(&acceptor, node).is_err(), "the promise");
        acceptor.apply_record(&Record::Promise { ballot });
        assert!(promises.check(&acceptor, node).is_err(), "the vote");
        acceptor.apply_record(&Record::Vote { slot: Slot(4), ballot, value: Value::no_op() });
        assert_eq!(promises.check(&acceptor, node), Ok(()));
        acceptor.on_learned(Slot(4));
        assert_eq!(promises.check(&acceptor, node), Ok(()), "settled");
        assert_eq!(promises.on_heartbeat_answer(node, ballot), Ok(()));
        assert!(promises.on_heartbeat_answer(node, Ballot::new(2, NodeId(1))).is_err());
    }

    #[test]
    fn what_is_said_against_a_promise_is_found() {
        let mut promises = Promises::default();
        let (node, low, high) = (NodeId(1), Ballot::new(3, NodeId(2)), Ballot::new(4, NodeId(3)));
        let promise = |ballot, slots: &[u64]| {
            let vote = |slot: &u64| Vote { slot: Slot(*slot), ballot: low, value: Value::no_op() };
            let votes = slots.iter().map(vote).collect();
            Promise { ballot, from: Slot(1), settled_upto: Slot(3), votes, part: 0, parts: 1 }
        };
        promises.on_vote(node, low, Slot(2)).expect("new");
        promises.on_vote(node, low, Slot(4)).expect("new");
        promises.on_vote(node, low, Slot(5)).expect("new");
        promises.on_prepare(high, Slot(3));
        assert!(promises.on_promise(node, &promise(high, &[4])).is_err(), "slot 5 is left out");
        assert_eq!(promises.on_promise(node, &promise(high, &[4, 5])), Ok(()));
        assert!(promises.on_vote(node, low, Slot(6)).is_err(), "a vote below the promise");
        assert!(promises.on_promise(node, &promise(low, &[4, 5])).is_err(), "a promise below the promise");
    }
}
