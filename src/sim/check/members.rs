//! Members come and go by the log alone ("Paxos Made Simple", section 3; DESIGN section 4, rule 6). Nobody proposes in a
//! slot whose configuration it cannot know yet, and no leader proposes where no quorum of the slot's configuration has
//! promised its ballot; whoever stops because it has left is needed by nobody, nor would be after a crash of those that stay,
//! and who tells that it has come to where a configuration begins knows that after a crash, too; what is said to be executed
//! everywhere is; and a number is given once.

use std::collections::{BTreeMap, BTreeSet};

use super::states::States;
use super::{Broken, Held};
use crate::paxos::message::Promise;
use crate::paxos::{Ballot, Configuration, Incarnation, Membership, NodeId, Slot};

/// What members did.
#[derive(Debug, Default)]
pub struct Members {
    /// The furthest that each node has ever executed.
    reached: BTreeMap<NodeId, Slot>,
    /// The furthest that each has executed since its start, whatever it had to execute anew since.
    seen: BTreeMap<NodeId, Slot>,
    /// From which slot on each node has promised each ballot.
    promised: BTreeMap<Ballot, BTreeMap<NodeId, Slot>>,
    /// The first slot of the last configuration that each node has told to have come to.
    begun: BTreeMap<NodeId, Slot>,
    /// Whose folder each number was given to.
    numbers: BTreeMap<NodeId, Incarnation>,
}

const NAME: &str = "members";

impl Members {
    /// A node says that it promised.
    pub fn on_promise(&mut self, node: NodeId, promise: &Promise) {
        let from = self.promised.entry(promise.ballot).or_default().entry(node).or_insert(promise.from);
        *from = promise.from.min(*from);
    }

    /// A node proposes in a slot; `states` say who decides it.
    pub fn on_propose(&self, node: NodeId, ballot: Ballot, slot: Slot, states: &States) -> Held {
        let alpha = states.membership().alpha();
        let executed_upto = self.seen.get(&node).copied().unwrap_or(Slot::ZERO);
        let unknown = || {
            let detail = format!("ballot {ballot} proposes in slot {slot}; its node has executed {executed_upto}");
            Err(Broken::new(NAME, format!("{detail}, and cannot know who votes beyond {alpha} slots further")))
        };
        if slot > executed_upto.plus(alpha) {
            return unknown();
        }
        let Some(configuration) = states.configuration(slot) else { return unknown() };
        let promised = self.promised.get(&ballot);
        let has = |node: &NodeId| promised.and_then(|all| all.get(node)).is_some_and(|from| *from <= slot);
        let count = configuration.nodes().filter(has).count();
        if count >= configuration.quorum() {
            return Ok(());
        }
        let (size, quorum) = (configuration.members().len(), configuration.quorum());
        let detail = format!("ballot {ballot} proposes in slot {slot}, whose {size} members have not promised it");
        Err(Broken::new(NAME, format!("{detail}: {count} have, and {quorum} should")))
    }

    /// A node starts, with so much executed.
    pub fn on_start(&mut self, node: NodeId, upto: Slot) {
        self.seen.insert(node, Slot::ZERO);
        self.on_executed(node, upto);
    }

    /// A node has executed so much.
    pub fn on_executed(&mut self, node: NodeId, upto: Slot) {
        for furthest in [&mut self.reached, &mut self.seen] {
            let furthest = furthest.entry(node).or_default();
            *furthest = upto.max(*furthest);
        }
    }

    /// What the log says of the members.
    pub fn on_members(&mut self, membership: &Membership) -> Held {
        for member in membership.members() {
            let first = *self.numbers.entry(member.id).or_insert(member.incarnation);
            if first != member.incarnation {
                return Err(Broken::new(NAME, format!("the number {} is given twice", member.id)));
            }
        }
        Ok(())
    }

    /// A node tells a leader how far it has executed. The first slot of the configuration that it has come to, if that is news.
    pub fn on_told(&mut self, node: NodeId, upto: Slot, states: &States) -> Option<Slot> {
        let (first, _) = states.configurations().range(..=upto.next()).next_back()?;
        (self.begun.insert(node, *first) != Some(*first)).then_some(*first)
    }

    /// By that members are let go of. A crash must not take it back: then the node would know the log up to `knows`.
    pub fn on_begun(node: NodeId, first: Slot, knows: Slot) -> Held {
        if knows >= first.previous() {
            return Ok(());
        }
        let detail = format!("{node} tells that it has come to slot {first}, where a configuration begins");
        Err(Broken::new(NAME, format!("{detail}; after a crash it would know no more than {knows}")))
    }

    /// A node stops, because it has left and nobody needs it: a later configuration can go on without it, by what its members
    /// would know after a crash, which `knows` tells.
    pub fn on_dismissed(&self, node: NodeId, from: Slot, states: &States, knows: impl Fn(NodeId) -> Slot) -> Held {
        if states.membership().votes(node) {
            return Err(Broken::new(NAME, format!("{node} stops, and still has a vote")));
        }
        let all = states.configurations();
        // A newcomer that leaves had no vote: for it the configuration goes on.
        let mut later = all.range(..=from).next_back().into_iter().chain(all.range(from..));
        if later.any(|(first, next)| has_taken_over(*first, next, &knows)) {
            return Ok(());
        }
        Err(Broken::new(NAME, format!("{node} stops, having left at slot {from}, and is still needed")))
    }

    /// The configurations without whose disks something might be lost, if these nodes' are.
    pub fn needed<'a>(&self, lost: &BTreeSet<NodeId>, states: &'a States) -> Vec<&'a Configuration> {
        let all: Vec<(Slot, &Configuration)> =
            states.configurations().iter().map(|(first, held)| (*first, held)).collect();
        let reached = |node| if lost.contains(&node) { Slot::ZERO } else { self.reached(node) };
        let last = (1..all.len()).rev().find(|index| has_taken_over(all[*index].0, all[*index].1, reached));
        all[last.unwrap_or(0)..].iter().map(|(_, configuration)| *configuration).collect()
    }

    /// A node is told that all members have executed so much. Whoever said so may not have known of the latest newcomers.
    pub fn on_everywhere(&self, upto: Slot, states: &States) -> Held {
        let latest = states.membership().latest();
        let mut then = states.configuration(upto).into_iter().flat_map(Configuration::nodes);
        match then.find(|node| latest.contains(*node) && self.reached(*node) < upto) {
            None => Ok(()),
            Some(node) => {
                let detail = format!("slot {upto} is said to be executed everywhere, and {node} never has");
                Err(Broken::new(NAME, detail))
            }
        }
    }

    /// The furthest that a node has ever executed.
    pub fn reached(&self, node: NodeId) -> Slot {
        self.reached.get(&node).copied().unwrap_or(Slot::ZERO)
    }
}

/// Whether a quorum of a configuration is past all slots before it, by what `upto` tells of each node.
fn has_taken_over(first: Slot, configuration: &Configuration, upto: impl Fn(NodeId) -> Slot) -> bool {
    configuration.nodes().filter(|node| upto(*node) >= first.previous()).count() >= configuration.quorum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Change, Value};

    fn promise(ballot: Ballot, from: u64) -> Promise {
        Promise { ballot, from: Slot(from), settled_upto: Slot::ZERO, votes: Vec::new(), part: 0, parts: 1 }
    }

    #[test]
    fn proposals_where_nobody_promised_or_nobody_can_know_are_found() {
        let mut members = Members::default();
        let mut membership = Membership::founded(Configuration::numbered(3)).with_alpha(4);
        membership.on_executed(Slot(1));
        let states = States::new(membership);
        let ballot = Ballot::new(1, NodeId(1));
        let propose = |members: &Members, slot| members.on_propose(NodeId(1), ballot, Slot(slot), &states);
        members.on_promise(NodeId(1), &promise(ballot, 1));
        assert!(propose(&members, 1).is_err(), "one of three");
        members.on_promise(NodeId(4), &promise(ballot, 1));
        assert!(propose(&members, 1).is_err(), "n4 is no member");
        members.on_promise(NodeId(2), &promise(ballot, 3));
        assert!(propose(&members, 2).is_err(), "n2 was asked from slot 3 on");
        assert_eq!(propose(&members, 3), Ok(()));
        assert!(propose(&members, 5).is_err(), "α is 4");
        members.on_executed(NodeId(1), Slot(1));
        assert_eq!(propose(&members, 5), Ok(()));
        members.on_start(NodeId(1), Slot::ZERO);
        assert!(propose(&members, 5).is_err(), "it is executed anew from the start on");
    }

    #[test]
    fn who_stops_too_early_is_found_and_so_is_what_was_not_executed_everywhere() {
        let mut membership = Membership::founded(Configuration::numbered(3)).with_alpha(4);
        membership.change(Slot(1), &Change::Remove { name: "n3".into() });
        let mut states = States::new(membership);
        let mut members = Members::default();
        let dismissed = |members: &Members, states: &_| {
            members.on_dismissed(NodeId(3), Slot(5), states, |node| members.reached(node))
        };
        assert!(dismissed(&members, &states).is_err(), "it has a vote");
        let chosen = (1..=6).map(|slot| (Slot(slot), Value::no_op())).collect();
        states.advance(&chosen).expect("no-ops");
        assert!(dismissed(&members, &states).is_err(), "nobody has executed slot 4");
        members.on_executed(NodeId(1), Slot(6));
        assert!(members.on_everywhere(Slot(6), &states).is_err());
        members.on_executed(NodeId(2), Slot(4));
        assert_eq!(dismissed(&members, &states), Ok(()));
        let mut told = |upto| members.on_told(NodeId(2), Slot(upto), &states);
        assert_eq!([told(3), told(4), told(6)], [Some(Slot(1)), Some(Slot(5)), None], "slot 5 begins a configuration");
        let begun = |knows| Members::on_begun(NodeId(2), Slot(5), Slot(knows));
        assert!(begun(3).is_err() && begun(4).is_ok());
        let forgetful = members.on_dismissed(NodeId(3), Slot(5), &states, |node| Slot(u64::from(node.0 == 1) * 6));
        assert!(forgetful.is_err(), "n2 would forget it");
        assert!(members.on_everywhere(Slot(6), &states).is_err());
        assert_eq!(members.on_everywhere(Slot(4), &states), Ok(()), "who has left does not count");
        assert_eq!(members.needed(&BTreeSet::new(), &states).len(), 1);
        assert_eq!(members.needed(&BTreeSet::from([NodeId(2)]), &states).len(), 2, "n1 alone is no quorum");
    }
}
