//! One value per slot ("Paxos Made Simple", section 2.1). The check counts votes by itself, as they are said: a slot is
//! chosen when a quorum of different nodes has voted in one ballot, and no node may believe more, or anything else.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Held};
use crate::paxos::{Ballot, Configuration, NodeId, Slot, Value};

/// What was proposed, voted and chosen.
#[derive(Debug, Default)]
pub struct Agreement {
    /// What each ballot's owner proposed in a slot.
    proposals: BTreeMap<(Slot, Ballot), Value>,
    votes: BTreeMap<(Slot, Ballot), BTreeSet<NodeId>>,
    chosen: BTreeMap<Slot, Value>,
    /// The lowest ballot that is known to have chosen each slot.
    chosen_in: BTreeMap<Slot, Ballot>,
    /// In which of its owner's lives a ballot was prepared.
    prepared: BTreeMap<Ballot, u32>,
    /// Up to where each ballot's owner has announced.
    announced: BTreeMap<Ballot, Slot>,
}

const NAME: &str = "agreement";

impl Agreement {
    /// A node prepares a ballot in one of its lives.
    pub fn on_prepare(&mut self, node: NodeId, ballot: Ballot, life: u32) -> Held {
        if ballot.node != node {
            return Err(Broken::new(NAME, format!("{node} prepares ballot {ballot}, which is another's")));
        }
        let first = *self.prepared.entry(ballot).or_insert(life);
        if first == life {
            return Ok(());
        }
        Err(Broken::new(NAME, format!("ballot {ballot} is used again after a restart (lives {first} and {life})")))
    }

    /// A ballot's owner proposes.
    pub fn on_propose(&mut self, ballot: Ballot, slot: Slot, value: &Value) -> Held {
        let held = self.proposals.entry((slot, ballot)).or_insert_with(|| value.clone());
        if held != value {
            return Err(Broken::new(NAME, format!("ballot {ballot} proposes two values in slot {slot}")));
        }
        // P2c: what a lower ballot has chosen, every higher one proposes.
        match self.chosen_in.get(&slot) {
            Some(lower) if *lower < ballot && self.chosen.get(&slot) != Some(value) => Err(Broken::new(
                NAME,
                format!("ballot {ballot} proposes another value in slot {slot} than ballot {lower} has chosen"),
            )),
            _ => Ok(()),
        }
    }

    /// A ballot's owner announces that everything up to a slot is chosen: whoever voted in that ballot takes its vote for
    /// chosen (DESIGN section 4, rule 2).
    pub fn on_announce(&mut self, ballot: Ballot, upto: Slot) -> Held {
        let before = self.announced.entry(ballot).or_default();
        for slot in before.above(upto) {
            let Some(proposed) = self.proposals.get(&(slot, ballot)) else { continue };
            if self.chosen.get(&slot) != Some(proposed) {
                let detail = format!("ballot {ballot} announces slot {slot}, where its own proposal was not chosen");
                return Err(Broken::new(NAME, detail));
            }
        }
        *before = upto.max(*before);
        Ok(())
    }

    /// A node says that it voted in a slot that this configuration decides. Gives the value if that chose it.
    pub fn on_vote(
        &mut self,
        node: NodeId,
        ballot: Ballot,
        slot: Slot,
        configuration: &Configuration,
    ) -> Result<Option<Value>, Broken> {
        let Some(value) = self.proposals.get(&(slot, ballot)) else {
            return Err(Broken::new(
                NAME,
                format!("{node} voted in slot {slot}, ballot {ballot}, where nothing was proposed"),
            ));
        };
        let voters = self.votes.entry((slot, ballot)).or_default();
        let is_new = voters.insert(node) && configuration.contains(node);
        let count = votes_of(voters, configuration);
        if !is_new || count < configuration.quorum() {
            return Ok(None);
        }
        let held = self.chosen.entry(slot).or_insert_with(|| value.clone());
        if held != value {
            return Err(Broken::new(
                NAME,
                format!("two values are chosen in slot {slot}, the second in ballot {ballot}"),
            ));
        }
        let lowest = self.chosen_in.entry(slot).or_insert(ballot);
        *lowest = ballot.min(*lowest);
        Ok((count == configuration.quorum()).then(|| value.clone()))
    }

    /// A node drops a vote of which it lost the value: nothing may have been chosen by it.
    pub fn on_dropped(&self, node: NodeId, ballot: Ballot, slot: Slot, configuration: &Configuration) -> Held {
        match self.votes.get(&(slot, ballot)) {
            Some(voters) if votes_of(voters, configuration) >= configuration.quorum() => Err(Broken::new(
                NAME,
                format!("{node} drops its vote in slot {slot}, ballot {ballot}, which is chosen"),
            )),
            _ => Ok(()),
        }
    }

    /// A node believes that a value is chosen.
    pub fn on_believed(&self, node: NodeId, slot: Slot, value: &Value) -> Held {
        match self.chosen.get(&slot) {
            Some(chosen) if chosen == value => Ok(()),
            Some(_) => {
                Err(Broken::new(NAME, format!("{node} believes another value chosen in slot {slot} than was chosen")))
            }
            None => Err(Broken::new(NAME, format!("{node} believes slot {slot} chosen, for which no quorum voted"))),
        }
    }

    /// What is chosen, by slot.
    pub fn chosen(&self) -> &BTreeMap<Slot, Value> {
        &self.chosen
    }
}

/// How many of them count there.
fn votes_of(voters: &BTreeSet<NodeId>, configuration: &Configuration) -> usize {
    voters.iter().filter(|voter| configuration.contains(**voter)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(round: u64, node: u32) -> Ballot {
        Ballot::new(round, NodeId(node))
    }

    fn just(node: u32) -> Configuration {
        let mut members = Configuration::numbered(node).members().to_vec();
        Configuration::new(members.split_off(members.len() - 1)).expect("one member")
    }

    #[test]
    fn votes_of_those_who_are_no_members_there_do_not_count() {
        let mut agreement = Agreement::default();
        let value = Value::no_op();
        agreement.on_propose(ballot(1, 1), Slot(1), &value).expect("new");
        let two = Configuration::numbered(2);
        assert_eq!(agreement.on_vote(NodeId(3), ballot(1, 1), Slot(1), &two), Ok(None));
        assert_eq!(agreement.on_vote(NodeId(1), ballot(1, 1), Slot(1), &two), Ok(None));
        assert!(agreement.on_believed(NodeId(1), Slot(1), &value).is_err(), "one of two");
        assert_eq!(agreement.on_vote(NodeId(2), ballot(1, 1), Slot(1), &two), Ok(Some(value)));
    }

    #[test]
    fn two_values_in_one_slot_are_found() {
        let mut agreement = Agreement::default();
        let three = Configuration::numbered(3);
        let (first, second) = (Value::no_op(), Value::batch(Default::default(), &[]));
        agreement.on_propose(ballot(1, 1), Slot(1), &first).expect("new");
        agreement.on_propose(ballot(2, 2), Slot(1), &second).expect("new");
        assert!(agreement.on_propose(ballot(1, 1), Slot(1), &second).is_err(), "one ballot, two values");
        assert_eq!(agreement.on_vote(NodeId(1), ballot(1, 1), Slot(1), &three), Ok(None));
        assert_eq!(agreement.on_vote(NodeId(1), ballot(1, 1), Slot(1), &three), Ok(None), "the same node again");
        assert!(agreement.on_believed(NodeId(3), Slot(1), &first).is_err(), "not chosen yet");
        assert_eq!(agreement.on_vote(NodeId(2), ballot(1, 1), Slot(1), &three), Ok(Some(first.clone())));
        agreement.on_believed(NodeId(3), Slot(1), &first).expect("chosen");
        assert!(agreement.on_believed(NodeId(3), Slot(1), &second).is_err());
        assert_eq!(agreement.on_vote(NodeId(2), ballot(2, 2), Slot(1), &three), Ok(None));
        assert!(agreement.on_vote(NodeId(3), ballot(2, 2), Slot(1), &three).is_err());
    }

    #[test]
    fn an_announcement_of_what_another_ballot_chose_is_found() {
        let mut agreement = Agreement::default();
        let (alone, other) = (Configuration::numbered(1), just(2));
        let (first, second) = (Value::no_op(), Value::batch(Default::default(), &[]));
        for slot in [Slot(1), Slot(2)] {
            agreement.on_propose(ballot(1, 1), slot, &first).expect("new");
        }
        agreement.on_vote(NodeId(1), ballot(1, 1), Slot(1), &alone).expect("chosen");
        agreement.on_propose(ballot(2, 2), Slot(2), &second).expect("new");
        agreement.on_vote(NodeId(2), ballot(2, 2), Slot(2), &other).expect("chosen");
        assert_eq!(agreement.on_announce(ballot(1, 1), Slot(1)), Ok(()));
        assert_eq!(agreement.on_announce(ballot(2, 2), Slot(2)), Ok(()));
        assert!(agreement.on_announce(ballot(1, 1), Slot(2)).is_err());
    }

    #[test]
    fn a_ballot_of_two_lives_is_found() {
        let mut agreement = Agreement::default();
        agreement.on_prepare(NodeId(1), ballot(1, 1), 1).expect("new");
        agreement.on_prepare(NodeId(1), ballot(1, 1), 1).expect("sent again");
        assert!(agreement.on_prepare(NodeId(1), ballot(1, 1), 2).is_err());
        assert!(agreement.on_prepare(NodeId(2), ballot(2, 1), 1).is_err(), "another's");
    }

    #[test]
    fn a_higher_ballot_that_proposes_something_else_is_found_before_anybody_votes() {
        let mut agreement = Agreement::default();
        let three = Configuration::numbered(3);
        let (first, second) = (Value::no_op(), Value::batch(Default::default(), &[]));
        agreement.on_propose(ballot(2, 1), Slot(1), &first).expect("new");
        (1..=2).for_each(|node| drop(agreement.on_vote(NodeId(node), ballot(2, 1), Slot(1), &three).expect("new")));
        assert_eq!(agreement.on_propose(ballot(1, 3), Slot(1), &second), Ok(()), "too late to matter");
        assert_eq!(agreement.on_propose(ballot(3, 2), Slot(1), &first), Ok(()));
        assert!(agreement.on_propose(ballot(4, 2), Slot(1), &second).is_err());
    }
}
