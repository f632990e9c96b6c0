//! Repair: what a damaged journal lost of this node's votes, and how it comes back (DESIGN section 4, rule 4).
//!
//! The journal knows which votes stood in batches that have rotted: slot and ballot, but not the value. A node that forgot
//! a vote must not vote, so until every lost vote is accounted for this node is not admitted. A lost vote (s, b) is
//! accounted for in one of three ways:
//!
//! * **A peer voted in (s, b) too, or the leader of b sends its Accept again.** A ballot has one proposer, which proposes one
//!   value in a slot ("Paxos Made Simple", section 2.2), so any value that was voted for in (s, b) is the one that we voted
//!   for. It is journaled again, as the vote that it always was: no promise can stand against it.
//! * **The slot is settled here.** Then it is known to be chosen and can be had from this node: a candidate that hears so
//!   proposes nothing there, and no Accept is voted on there (rule 1). What the vote was matters no more.
//! * **Nothing was chosen in (s, b), and nothing ever will be.** A member denies the vote if it never voted in (s, b) and
//!   has promised a higher ballot, durably: then it never will. When those that do not deny it, ourselves among them, are
//!   fewer than a quorum of that slot, the vote is as if it had never been cast: whoever prepares later looks for what
//!   was chosen below, and misses nothing by not hearing of it. Not before; a short run that shows why:
//!
//! ```text
//! n2 leads in ballot 5, n1 votes for X in slot 7 and says so         n1's vote rots, n3 has not heard of ballot 5
//! n1 asks: n2 is down, n3 has no such vote. n1 drops it, and is admitted
//! n2 comes back: its Accept reaches n2 itself; {n1, n2} have voted: X is chosen, the client hears "done"
//! n3 prepares, asks {n1, n3}: neither reports a vote, n3 proposes Y in slot 7. Two values, one slot.
//! ```
//!
//! A peer whose vote in s is of a ballot above b says nothing of (s, b): it may have voted there before, and if so, what
//! it voted for later is no proof that it did not. Lost votes of one slot in several ballots are accounted for one by
//! one: the highest may be dropped while a lower one was chosen.
//!
//! Of slots up to `unknown_upto` the journal does not know its votes. They must all be settled here.
//!
//! Peers answer whatever their own standing, for what they say is true of any prefix of their journal: a promise above b
//! stands behind every vote in b. Only what their own damage hides they do not deny.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::configuration::Configuration;
use super::slot::Slot;

/// What a journal has lost though later batches are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// How many batches cannot be read, as far as that is known.
    pub batches: u64,
    /// Votes whose values are lost, each by its slot and ballot.
    pub votes: BTreeSet<(Slot, Ballot)>,
    /// In slots up to here there may have been any votes.
    pub unknown_upto: Slot,
}

/// Which votes are still lost, and who denies each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Repair {
    under_way: bool,
    lost: BTreeMap<(Slot, Ballot), BTreeSet<NodeId>>,
    unknown_upto: Slot,
    /// When to ask again, and from which vote on.
    again_ms: u64,
    from: (Slot, Ballot),
}

impl Repair {
    /// Of this damage, in a journal whose slots are settled up to there.
    pub fn of(damage: Damage, settled_upto: Slot) -> Repair {
        let lost = damage.votes.into_iter().map(|vote| (vote, BTreeSet::new())).collect();
        let mut repair = Repair { under_way: true, lost, unknown_upto: damage.unknown_upto, ..Repair::default() };
        repair.settle(settled_upto);
        repair.under_way = !repair.is_complete(settled_upto);
        repair
    }

    /// Whether this node may not vote for what its journal lost.
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// How many votes are still lost.
    pub fn lost(&self) -> usize {
        self.lost.len()
    }

    /// In slots up to here any votes may be lost.
    pub fn unknown_upto(&self) -> Slot {
        self.unknown_upto
    }

    /// Whether this very vote is lost.
    pub fn is_lost(&self, slot: Slot, ballot: Ballot) -> bool {
        self.lost.contains_key(&(slot, ballot))
    }

    /// Whether this node may have voted there and does not know it any more.
    pub fn hides(&self, slot: Slot, ballot: Ballot) -> bool {
        self.under_way
            && (slot <= self.unknown_upto
                || self.lost.range((slot, ballot)..).next().is_some_and(|((lost, _), _)| *lost == slot))
    }

    /// A vote is known again. It stands for those in lower ballots of its slot, too, as it always did.
    pub fn restore(&mut self, slot: Slot, ballot: Ballot) {
        self.lost.retain(|(lost, below), _| *lost != slot || *below > ballot);
    }

    /// A member never voted in (slot, ballot) and never will. The vote is dropped if it cannot have been chosen, and never
    /// will be; whether it was.
    pub fn deny(&mut self, slot: Slot, ballot: Ballot, member: NodeId, configuration: &Configuration) -> bool {
        let Some(denied) = self.lost.get_mut(&(slot, ballot)) else { return false };
        if configuration.contains(member) {
            denied.insert(member);
        }
        let possible = configuration.nodes().filter(|node| !denied.contains(node)).count();
        let dropped = possible < configuration.quorum();
        if dropped {
            self.lost.remove(&(slot, ballot));
        }
        dropped
    }

    /// More is settled here.
    pub fn settle(&mut self, upto: Slot) {
        while let Some(first) = self.lost.first_entry().filter(|first| first.key().0 <= upto) {
            first.remove();
        }
    }

    /// Whether this has just completed the repair.
    pub fn complete(&mut self, settled_upto: Slot) -> bool {
        self.under_way && self.is_complete(settled_upto) && std::mem::take(&mut self.under_way)
    }

    /// What to ask every member for now, if it is time; nothing named asks only how far they have settled. Not all at once,
    /// but all in turn.
    pub fn ask(&mut self, now_ms: u64) -> Option<Vec<(Slot, Ballot)>> {
        if !self.under_way || now_ms < self.again_ms {
            return None;
        }
        self.again_ms = now_ms + ASK_AGAIN_MS;
        let mut asked: Vec<(Slot, Ballot)> =
            self.lost.range(self.from..).map(|(vote, _)| *vote).take(MOST_ASKED).collect();
        if asked.len() < MOST_ASKED {
            let before = self.lost.range(..self.from).map(|(vote, _)| *vote);
            asked.extend(before.take(MOST_ASKED - asked.len()));
        }
        self.from = asked.last().map(|(slot, ballot)| (*slot, ballot.next_for(ballot.node))).unwrap_or_default();
        Some(asked)
    }

    fn is_complete(&self, settled_upto: Slot) -> bool {
        self.lost.is_empty() && self.unknown_upto <= settled_upto
    }
}

/// How many lost votes one message names.
pub const MOST_ASKED: usize = 1024;
/// How often a node with lost votes asks.
const ASK_AGAIN_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(round: u64) -> Ballot {
        Ballot::new(round, NodeId(1))
    }

    fn repair(votes: &[(u64, u64)]) -> Repair {
        let votes = votes.iter().map(|(slot, round)| (Slot(*slot), ballot(*round))).collect();
        Repair::of(Damage { batches: 1, votes, unknown_upto: Slot::ZERO }, Slot::ZERO)
    }

    #[test]
    fn rule_4_a_lost_vote_is_dropped_only_when_too_few_can_have_voted() {
        let five = Configuration::numbered(5);
        let mut repair = repair(&[(7, 5)]);
        for (member, lost) in [(2, 1), (2, 1), (9, 1), (3, 1), (4, 0)] {
            let dropped = repair.deny(Slot(7), ballot(5), NodeId(member), &five);
            assert_eq!((repair.lost(), dropped), (lost, lost == 0), "n{member} denies it: three of five may choose");
        }
        assert!(repair.complete(Slot::ZERO) && !repair.complete(Slot::ZERO), "once");
    }

    #[test]
    fn rule_4_of_two_lost_votes_in_one_slot_the_higher_may_go_and_the_lower_stays() {
        let three = Configuration::numbered(3);
        let mut two = repair(&[(7, 5), (7, 9), (8, 9)]);
        let dropped = [2, 3].map(|member| two.deny(Slot(7), ballot(9), NodeId(member), &three));
        assert_eq!(dropped, [false, true]);
        assert!(two.is_lost(Slot(7), ballot(5)) && !two.is_lost(Slot(7), ballot(9)));
        let mut two = repair(&[(7, 5), (7, 9), (8, 9)]);
        two.restore(Slot(7), ballot(9));
        assert!(!two.is_lost(Slot(7), ballot(5)) && two.is_lost(Slot(8), ballot(9)), "the higher stands for the lower");
    }

    #[test]
    fn what_is_settled_matters_no_more_and_what_is_unknown_must_be() {
        let mut repair = repair(&[(7, 5), (9, 5)]);
        repair.unknown_upto = Slot(8);
        assert!(repair.hides(Slot(8), ballot(9)) && repair.hides(Slot(9), ballot(4)));
        assert!(!repair.hides(Slot(9), ballot(6)) && !repair.hides(Slot(10), ballot(1)));
        repair.settle(Slot(7));
        assert_eq!(repair.lost(), 1);
        repair.restore(Slot(9), ballot(5));
        assert!(!repair.complete(Slot(7)) && repair.complete(Slot(8)));
        assert!(!repair.hides(Slot(8), ballot(9)) && repair.ask(0).is_none());
    }

    #[test]
    fn all_that_is_lost_is_asked_for_in_turn() {
        let many: Vec<(u64, u64)> = (1..=MOST_ASKED as u64 + 10).map(|slot| (slot, 1)).collect();
        let mut repair = repair(&many);
        let slots = |asked: Option<Vec<(Slot, Ballot)>>| asked.map(|asked| (asked[0].0.0, asked.len()));
        assert_eq!(slots(repair.ask(0)), Some((1, MOST_ASKED)));
        assert_eq!(slots(repair.ask(1)), None);
        assert_eq!(slots(repair.ask(ASK_AGAIN_MS)), Some((MOST_ASKED as u64 + 1, MOST_ASKED)));
        assert_eq!(slots(repair.ask(2 * ASK_AGAIN_MS)), Some((MOST_ASKED as u64 - 9, MOST_ASKED)));
    }
}
