//! Agreement on state: what the replicas reported of themselves at a mark, as far as the log tells.
//!
//! It follows from the log alone, like everything else that is replicated, and is a part of every image: a report stands
//! behind the mark that it is about, so that it changes nothing of what was digested there, and in every replica's state
//! at the next mark alike, whatever it says.
//!
//! Absent: what a node makes of it ([`super::marks`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::configuration::Configuration;
use super::slot::Slot;

/// The digest of a replicated state.
pub type Digest = [u8; 32];

/// The newest mark, and what was reported at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Agreement {
    mark: Slot,
    reports: BTreeMap<NodeId, Digest>,
    agreed: Option<(Slot, Digest)>,
}

/// What a report brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Nothing yet, or nothing any more.
    Nothing,
    /// A quorum has reported this.
    Agreed(Digest),
    /// Whatever is reported from now on, no quorum will be alike.
    Disagreed,
}

impl Agreement {
    /// Every replica digests its state behind this slot. What is still to be reported of the mark before counts no more.
    pub fn on_mark(&mut self, slot: Slot) {
        self.mark = slot;
        self.reports.clear();
    }

    /// A replica reports, in a slot of this configuration. Only who votes there counts, so reports are few. Whoever was
    /// repaired since may correct itself; what is agreed stays agreed.
    pub fn on_report(&mut self, node: NodeId, mark: Slot, digest: Digest, configuration: &Configuration) -> Brought {
        if mark != self.mark || mark == Slot::ZERO || !configuration.contains(node) {
            return Brought::Nothing;
        }
        self.reports.retain(|node, _| configuration.contains(*node));
        self.reports.insert(node, digest);
        if self.is_agreed() {
            return Brought::Nothing;
        }
        let most = self.reports.values().map(|digest| self.count(digest, configuration)).max().unwrap_or(0);
        let missing = configuration.members().len() - self.reports.len();
        if self.count(&digest, configuration) >= configuration.quorum() {
            self.agreed = Some((mark, digest));
            Brought::Agreed(digest)
        } else if most + missing < configuration.quorum() {
            Brought::Disagreed
        } else {
            Brought::Nothing
        }
    }

    /// Whether it would be agreed if one of those who reported this at the newest mark said it once more: because fewer
    /// have a vote than when they did.
    pub fn is_ripe(&self, digest: &Digest, configuration: &Configuration) -> bool {
        !self.is_agreed() && self.count(digest, configuration) >= configuration.quorum()
    }

    /// How many of those who vote have reported this.
    fn count(&self, digest: &Digest, configuration: &Configuration) -> usize {
        let says = |(node, other): &(&NodeId, &Digest)| *other == digest && configuration.contains(**node);
        self.reports.iter().filter(says).count()
    }

    /// The newest mark; zero before the first.
    pub fn mark(&self) -> Slot {
        self.mark
    }

    /// What was reported at the newest mark.
    pub fn reports(&self) -> &BTreeMap<NodeId, Digest> {
        &self.reports
    }

    /// The newest mark that a quorum agreed at, and the digest.
    pub fn agreed(&self) -> Option<(Slot, Digest)> {
        self.agreed
    }

    /// Whether a quorum agreed at the newest mark, or there is none.
    pub fn is_agreed(&self) -> bool {
        self.mark == self.agreed.map_or(Slot::ZERO, |(mark, _)| mark)
    }

    /// Whether reports of the newest mark differ.
    pub fn differs(&self) -> bool {
        let mut digests = self.reports.values();
        digests.next().is_some_and(|first| digests.any(|other| other != first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(agreement: &mut Agreement, node: u32, mark: u64, digest: u8, nodes: u32) -> Brought {
        agreement.on_report(NodeId(node), Slot(mark), [digest; 32], &Configuration::numbered(nodes))
    }

    #[test]
    fn rule_8_a_quorum_of_equal_reports_agrees_whatever_the_others_say() {
        let mut agreement = Agreement::default();
        agreement.on_mark(Slot(7));
        assert_eq!(report(&mut agreement, 1, 7, 1, 3), Brought::Nothing);
        assert_eq!(report(&mut agreement, 1, 7, 1, 3), Brought::Nothing, "the same again");
        assert_eq!(report(&mut agreement, 2, 6, 1, 3), Brought::Nothing, "of another mark");
        assert_eq!(report(&mut agreement, 4, 7, 1, 3), Brought::Nothing, "no member");
        assert_eq!(report(&mut agreement, 2, 7, 2, 3), Brought::Nothing);
        assert!(agreement.differs() && !agreement.is_agreed());
        assert_eq!(report(&mut agreement, 3, 7, 1, 3), Brought::Agreed([1; 32]));
        assert_eq!(report(&mut agreement, 2, 7, 1, 3), Brought::Nothing, "agreed once");
        assert_eq!(agreement.agreed(), Some((Slot(7), [1; 32])));
        agreement.on_mark(Slot(9));
        assert_eq!(report(&mut agreement, 3, 7, 1, 3), Brought::Nothing, "too late");
        assert!(!agreement.is_agreed() && agreement.reports().is_empty());
    }

    #[test]
    fn rule_8_what_was_not_enough_is_once_fewer_have_a_vote_and_one_says_it_again() {
        let mut agreement = Agreement::default();
        agreement.on_mark(Slot(7));
        let of = Configuration::numbered;
        [1, 2].into_iter().for_each(|node| assert_eq!(report(&mut agreement, node, 7, 1, 4), Brought::Nothing));
        assert!(!agreement.is_ripe(&[1; 32], &of(4)) && agreement.is_ripe(&[1; 32], &of(3)));
        assert_eq!(report(&mut agreement, 1, 7, 1, 3), Brought::Agreed([1; 32]));
        assert!(!agreement.is_ripe(&[1; 32], &of(3)), "it is agreed");
    }

    #[test]
    fn rule_8_two_against_two_of_four_agree_on_nothing() {
        let mut agreement = Agreement::default();
        agreement.on_mark(Slot(7));
        let told = [(1, 1), (2, 2), (3, 1), (4, 2)].map(|(node, digest)| report(&mut agreement, node, 7, digest, 4));
        assert_eq!(told, [Brought::Nothing, Brought::Nothing, Brought::Nothing, Brought::Disagreed]);
        assert_eq!(report(&mut agreement, 4, 7, 1, 4), Brought::Agreed([1; 32]), "it was repaired");
    }
}
