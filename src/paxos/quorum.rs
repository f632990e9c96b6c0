//! Counting a quorum: each node once, and the quorum fires once.
//!
//! The one place where votes, promises, canvasses and heartbeat answers are counted. A tally belongs to one question
//! (one ballot, one slot in one ballot, one heartbeat round); answers to different questions are never added up, which
//! is how a system comes to believe in a majority that no single ballot had.

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::configuration::Configuration;

/// The nodes that answered one question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    /// Sorted; a quorum's worth at most a handful, so a sorted vector beats a set.
    answered: Vec<NodeId>,
    fired: bool,
}

impl Tally {
    /// Nobody has answered.
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Counts `node` once. True exactly once: when its answer completes a quorum of `configuration`. Nodes that are not
    /// members do not count.
    pub fn count(&mut self, node: NodeId, configuration: &Configuration) -> bool {
        if !configuration.contains(node) {
            return false;
        }
        if let Err(at) = self.answered.binary_search(&node) {
            self.answered.insert(at, node);
        }
        if self.fired || self.answered.len() < configuration.quorum() {
            return false;
        }
        self.fired = true;
        true
    }

    /// Whether a quorum has answered.
    pub fn is_quorum(&self) -> bool {
        self.fired
    }

    /// Whether `node` has answered.
    pub fn contains(&self, node: NodeId) -> bool {
        self.answered.binary_search(&node).is_ok()
    }

    /// Who answered, in order of their ids.
    pub fn answered(&self) -> &[NodeId] {
        &self.answered
    }
}

/// The nodes that answered one question, whoever of them may count: for questions that one configuration asks and another
/// may weigh, because slots were chosen in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answers(Vec<NodeId>);

impl Answers {
    /// Nobody has answered.
    pub fn new() -> Answers {
        Answers::default()
    }

    /// This node answered; once counts as much as often.
    pub fn add(&mut self, node: NodeId) {
        if let Err(at) = self.0.binary_search(&node) {
            self.0.insert(at, node);
        }
    }

    /// Whether this node has answered.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.binary_search(&node).is_ok()
    }

    /// Who has answered, in order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    /// Whether a quorum of this configuration has answered.
    pub fn are_quorum_of(&self, configuration: &Configuration) -> bool {
        self.0.iter().filter(|node| configuration.contains(**node)).count() >= configuration.quorum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_weighed_by_whichever_configuration_it_is_about() {
        let mut answers = Answers::new();
        [1, 4, 4, 5].into_iter().for_each(|node| answers.add(NodeId(node)));
        assert!(!answers.are_quorum_of(&Configuration::numbered(3)), "n1 alone of n1 to n3");
        assert!(answers.are_quorum_of(&Configuration::numbered(5)), "n1, n4 and n5 of n1 to n5");
    }

    #[test]
    fn a_node_counts_once_and_the_quorum_fires_once() {
        let three = Configuration::numbered(3);
        let mut tally = Tally::new();
        assert!(!tally.count(NodeId(1), &three));
        assert!(!tally.count(NodeId(1), &three), "the same node again");
        assert!(!tally.count(NodeId(9), &three), "not a member");
        assert!(tally.count(NodeId(3), &three), "two of three");
        assert!(!tally.count(NodeId(2), &three), "fires once");
        assert!(tally.is_quorum());
        assert_eq!(tally.answered(), [NodeId(1), NodeId(2), NodeId(3)]);
    }

    #[test]
    fn any_two_quorums_intersect() {
        for size in 1..=9 {
            let configuration = Configuration::numbered(size);
            assert!(2 * configuration.quorum() > size as usize, "{size} nodes");
        }
    }
}
