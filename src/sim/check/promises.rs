//! What a node said it promised or voted, it knows for ever ("Paxos Made Simple", section 2.4), across restarts too.

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::paxos::{Acceptor, Ballot, NodeId, Slot};

/// What each node has told anybody.
#[derive(Debug, Default)]
pub struct Promises {
    told: BTreeMap<NodeId, Told>,
}

#[derive(Debug, Default)]
struct Told {
    promised: Ballot,
    votes: BTreeMap<Slot, Ballot>,
}

impl Promises {
    /// A node says that it promised.
    pub fn on_promise(&mut self, node: NodeId, ballot: Ballot) {
        let told = self.told.entry(node).or_default();
        told.promised = told.promised.max(ballot);
    }

    /// A node says that it voted.
    pub fn on_vote(&mut self, node: NodeId, ballot: Ballot, slot: Slot) {
        self.on_promise(node, ballot);
        let told = self.told.entry(node).or_default();
        let voted = told.votes.entry(slot).or_default();
        *voted = ballot.max(*voted);
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
                "promises",
                format!("{node} said that it promised {}, and now says {}", told.promised, acceptor.promised()),
            ));
        }
        told.votes = told.votes.split_off(&acceptor.settled_upto().next());
        for (slot, ballot) in &told.votes {
            if acceptor.votes().get(slot).is_none_or(|(voted, _)| voted < ballot) {
                return Err(Broken::new(
                    "promises",
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
    use crate::paxos::configuration::Configurations;
    use crate::paxos::{BatchNumber, Configuration, Record, Value};

    #[test]
    fn what_is_forgotten_is_found() {
        let mut promises = Promises::default();
        let (node, ballot) = (NodeId(1), Ballot::new(3, NodeId(2)));
        let configurations = Configurations::of(Configuration::numbered(3));
        let mut acceptor = Acceptor::new(node, configurations, Slot::ZERO, BatchNumber(0));
        promises.on_vote(node, ballot, Slot(4));
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
}
