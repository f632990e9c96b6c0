//! Whether this node may vote and propose after a start (DESIGN section 4, rule 4).
//!
//! A journal knows what it holds but not what it has lost. The peers know: everything this node acknowledged carried
//! the number of its last durable batch, and a peer returns the highest number it saw at every handshake. A journal
//! that ends below has lost acknowledged votes or promises, and a node that forgot a vote must not vote:
//!
//! ```text
//! n2 votes X in slot 5, n1 and n2 choose X        n2's disk is put back to yesterday's copy
//! n3 prepares, asks {n2, n3}                      n2 reports no vote: n3 proposes Y in slot 5
//! ```
//!
//! The first time, it waits for all: founders that have not met may found two clusters, if one of them is wiped in
//! between, and only a founding that every founder recorded cannot be founded differently any more:
//!
//! ```text
//! n1 and n2 know all three, and vote: X is chosen        n3 has not met n2 yet
//! n2 is wiped, draws another incarnation                 n2 and n3 found a cluster that never heard of X
//! ```
//!
//! Afterwards a node waits for handshakes with a quorum (itself counted) before its first vote: of every configuration that
//! it knows of and that is not over. It never votes again once one peer has seen more than it has. What remains undetectable:
//! a loss that no member of that quorum had witnessed.
//!
//! Whoever is alone is a quorum, and meets nobody. It must be sure that it is alone, though, and not only have lost what
//! says that it is not ([`super::company`]): what the journal knows to be chosen is executed first, and what the folder says
//! beside the journal counts, too. A node that has company hears somebody of it, also where its own vote is a quorum. One
//! whose journal does not reach the slot as of which the members were written down has lost its tail: it is not even
//! weighed before it has learned that far from the others, or it would go by a configuration that is over. (Or it was
//! stopped between installing a peer's snapshot and naming it; the peers have that, too.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::company::Company;
use super::effect::Event;
use super::membership::Membership;
use super::quorum::Answers;
use super::record::{BatchNumber, Record};
use super::slot::Slot;

/// A node's standing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Standing {
    /// Not enough handshakes yet.
    Waiting,
    /// A quorum was greeted and none had seen more than our journal holds.
    Admitted,
    /// A peer has seen more.
    Amnesiac,
}

/// Whether this node may vote and propose, and what it has seen of its peers' journals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Admission {
    own: NodeId,
    standing: Standing,
    /// The last batch of our journal when it was opened.
    recovered: BatchNumber,
    greeted: Answers,
    /// Whether every founder is known to have recorded the founding. A journal without a founding needs none.
    confirmed: bool,
    /// Whether the loss was told since the start.
    told: bool,
    /// Whether the journal has lost votes that are not repaired yet ([`super::repair`]).
    damaged: bool,
    /// What the folder says of other members.
    company: Company,
    /// The journal knew everything up to here to be chosen when it was opened.
    knows_upto: Slot,
    /// The journal has lost what it knew up to here, or nothing.
    lost_upto: Slot,
    witnessed: BTreeMap<NodeId, BatchNumber>,
}

impl Admission {
    /// Before any handshake, with a journal that ends at `recovered`.
    pub fn new(own: NodeId, recovered: BatchNumber) -> Admission {
        Admission {
            own,
            standing: Standing::Waiting,
            recovered,
            greeted: Answers::new(),
            confirmed: true,
            told: false,
            damaged: false,
            company: Company::default(),
            knows_upto: Slot::ZERO,
            lost_upto: Slot::ZERO,
            witnessed: BTreeMap::new(),
        }
    }

    /// Folds a record that this room owns.
    pub fn apply_record(&mut self, record: &Record) {
        match record {
            // Who came later was let in by a cluster that could not be founded differently any more.
            Record::Founded { node, configuration, .. } => self.confirmed = !configuration.contains(*node),
            Record::Confirmed {} => self.confirmed = true,
            Record::Amnesiac { .. } => self.standing = Standing::Amnesiac,
            Record::Witnessed { node, batch } => {
                let seen = self.witnessed.entry(*node).or_default();
                *seen = (*seen).max(*batch);
            }
            _ => {}
        }
    }

    /// At the start: what the folder says of other members, how far its journal knows what is chosen, and the last slot of
    /// which it knows anything, be it a vote. Says what is wrong, if it is known already.
    pub fn remember(&mut self, company: Company, knows_upto: Slot, reaches: Slot) -> Option<Event> {
        let written_upto = company.written_upto();
        (self.company, self.knows_upto) = (company, knows_upto);
        if written_upto <= reaches {
            return None;
        }
        self.lost_upto = written_upto;
        Some(Event::Shortened { reaches, written_upto })
    }

    /// A handshake with `peer`, which has recorded the same founding, succeeded: it has seen our journal up to
    /// `witnessed`, which is now durable up to `durable`. Says what changed.
    pub fn greet(
        &mut self,
        peer: NodeId,
        witnessed: BatchNumber,
        durable: BatchNumber,
        membership: &Membership,
    ) -> Option<Event> {
        // At the first meeting since our start, whatever the peer saw is from before it; later it may be newer.
        let held = if self.greeted.contains(peer) { durable } else { self.recovered };
        if witnessed > held {
            self.standing = Standing::Amnesiac;
            let told = std::mem::replace(&mut self.told, true);
            return (!told).then_some(Event::Amnesia { peer, witnessed, durable: held });
        }
        self.greeted.add(peer);
        self.weigh(membership)
    }

    /// The journal has lost votes: whoever is met, this node waits for their repair.
    pub fn damaged(&mut self) {
        self.damaged = true;
    }

    /// They are repaired. Says what changed.
    pub fn repaired(&mut self, membership: &Membership) -> Option<Event> {
        self.damaged = false;
        self.weigh(membership)
    }

    /// Whether those greeted suffice, for the members as they are executed here; for when that has changed. Says what
    /// changed.
    pub fn weigh(&mut self, membership: &Membership) -> Option<Event> {
        if self.damaged || self.standing != Standing::Waiting || membership.executed_upto() < self.lost_upto {
            return None;
        }
        // Whoever is alone meets nobody; nor has anybody else seen its journal.
        self.greeted.add(self.own);
        if !self.is_alone(membership) && self.greeted.nodes().all(|node| node == self.own) {
            return None;
        }
        // Those that are to come count, too: behind its own end, this node may have voted in them already.
        let quorums = || membership.spans().iter().all(|span| self.greeted.are_quorum_of(&span.configuration));
        let all = || membership.current().nodes().all(|node| self.greeted.contains(node));
        if quorums() && (self.confirmed || all()) {
            self.standing = Standing::Admitted;
            return Some(Event::Admitted {});
        }
        None
    }

    /// Whether this node is the only one that there is, as far as it can know.
    pub fn is_alone(&self, membership: &Membership) -> bool {
        membership.executed_upto() >= self.knows_upto && self.company.is_alone(self.own, membership)
    }

    /// The record to journal at once when a loss is found: a journal that goes on would soon look whole again.
    ///
    /// ```text
    /// n2 ends at batch 32, n1 has seen 35          n2 learns, restarts, learns: its journal grows to batch 36
    /// n2 restarts: it ends above 35, and would vote with everything it has forgotten
    /// ```
    pub fn lost(&self, event: &Event) -> Option<Record> {
        match event {
            Event::Amnesia { witnessed, .. } => Some(Record::Amnesiac { witnessed: *witnessed }),
            _ => None,
        }
    }

    /// The record to journal when this node is admitted for the first time. Lost, it only means waiting for all again;
    /// in the journal it stands before the first vote.
    pub fn confirm(&mut self) -> Option<Record> {
        (self.admitted() && !std::mem::replace(&mut self.confirmed, true)).then_some(Record::Confirmed {})
    }

    /// The record to journal when a peer names a higher batch than before.
    pub fn witness(&mut self, node: NodeId, batch: BatchNumber) -> Option<Record> {
        if self.witnessed.get(&node).is_some_and(|seen| *seen >= batch) {
            return None;
        }
        let record = Record::Witnessed { node, batch };
        self.apply_record(&record);
        Some(record)
    }

    /// Whether this node may vote and propose.
    pub fn admitted(&self) -> bool {
        self.standing == Standing::Admitted
    }

    /// Whether a peer has seen more than our journal holds.
    pub fn amnesiac(&self) -> bool {
        self.standing == Standing::Amnesiac
    }

    /// Whom this node has met since its start, itself included.
    pub fn greeted(&self) -> &Answers {
        &self.greeted
    }

    /// The highest batch seen of each peer.
    pub fn witnessed(&self) -> &BTreeMap<NodeId, BatchNumber> {
        &self.witnessed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Change, Configuration, Incarnation, Written};

    fn members(count: u32) -> Membership {
        Membership::founded(Configuration::numbered(count)).with_alpha(3)
    }

    /// n1 founded alone; n2 came in slot 5, and votes from slot 9 on. Everything up to `executed` is executed.
    fn grown(executed: u64) -> Membership {
        let mut members = members(1);
        members.change(Slot(5), &Change::Add { name: "n2".into(), incarnation: Incarnation(2) });
        members.promote(Slot(6), NodeId(2));
        members.on_executed(Slot(executed));
        members
    }

    /// n1, whose folder has written that down as of slot 6; its journal knows what is chosen up to `knows`.
    fn founder(knows: u64, reaches: u64) -> (Admission, Option<Event>) {
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        let company = Company::new(Written::Members(grown(6)), Vec::new());
        let event = admission.remember(company, Slot(knows), Slot(reaches));
        (admission, event)
    }

    #[test]
    fn rule_4_a_founder_whose_cluster_has_grown_does_not_vote_alone_whatever_its_journal_lost() {
        let none = BatchNumber(0);
        // Everything from slot 4 on is lost.
        let (mut admission, event) = founder(3, 3);
        assert_eq!(event, Some(Event::Shortened { reaches: Slot(3), written_upto: Slot(6) }));
        let (mut lost, mut learned) = (members(1), grown(8));
        lost.on_executed(Slot(3));
        assert_eq!(admission.weigh(&lost), None, "by its journal it is alone");
        assert_eq!(admission.greet(NodeId(2), none, none, &lost), None, "and does not know yet who votes");
        assert_eq!(admission.weigh(&learned), Some(Event::Admitted {}), "it has learned it from n2");
        learned.on_executed(Slot(9));
        assert!(!admission.is_alone(&learned));

        // What was lost is behind the change: by the configuration its own vote is a quorum still.
        let (mut admission, event) = founder(6, 7);
        assert_eq!((event, admission.weigh(&grown(7))), (None, None));
        assert_eq!(admission.greet(NodeId(2), none, none, &grown(7)), Some(Event::Admitted {}));

        // Who has seen more of its journal says so.
        let (mut admission, _) = founder(3, 3);
        let event = admission.greet(NodeId(2), BatchNumber(9), BatchNumber(7), &lost);
        assert!(matches!(event, Some(Event::Amnesia { .. })) && admission.weigh(&grown(9)).is_none());
    }

    #[test]
    fn rule_4_a_founder_whose_only_newcomer_is_gone_for_good_votes_if_its_journal_is_not_seen_to_have_lost_anything() {
        let mut newcomer = members(1);
        newcomer.change(Slot(5), &Change::Add { name: "n2".into(), incarnation: Incarnation(2) });
        newcomer.on_executed(Slot(6));
        let founder = |reaches| {
            let written = Written::Members(newcomer.clone());
            let mut admission = Admission::new(NodeId(1), BatchNumber(7));
            let company = Company::new(written, Vec::new()).forsaking(vec!["n2".into()]);
            admission.remember(company, Slot(reaches), Slot(reaches));
            admission
        };
        assert_eq!(founder(6).weigh(&newcomer), Some(Event::Admitted {}));
        let mut lost = members(1);
        lost.on_executed(Slot(4));
        assert_eq!(founder(4).weigh(&lost), None, "what n2 knows may be all that there is of slots 5 and 6");
        assert_eq!(founder(6).weigh(&grown(6)), None, "it will have a vote");
        let mut came_back = founder(6);
        came_back.weigh(&newcomer);
        came_back.greet(NodeId(2), BatchNumber(9), BatchNumber(7), &newcomer);
        assert!(came_back.amnesiac(), "it has seen more: the two must not go on together");
    }

    #[test]
    fn rule_4_what_the_journal_knows_is_executed_before_a_founder_takes_itself_for_alone() {
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        admission.remember(Company::default(), Slot(6), Slot(6));
        assert_eq!(admission.weigh(&members(1)), None, "a change of members may stand in slot 5");
        assert_eq!(admission.weigh(&grown(6)), None, "and does");
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        admission.remember(Company::default(), Slot(6), Slot(6));
        let mut alone = members(1);
        alone.on_executed(Slot(6));
        assert_eq!(admission.weigh(&alone), Some(Event::Admitted {}), "it was something else");
    }

    #[test]
    fn rule_4_a_node_meets_a_quorum_of_the_configurations_to_come_too() {
        let none = BatchNumber(0);
        let mut members = members(3);
        members.change(Slot(5), &Change::Remove { name: "n2".into() });
        members.on_executed(Slot(6));
        let mut admission = Admission::new(NodeId(1), none);
        assert_eq!(admission.greet(NodeId(2), none, none, &members), None, "from slot 8 on n1 and n3 decide");
        assert_eq!(admission.greet(NodeId(3), none, none, &members), Some(Event::Admitted {}));
    }

    #[test]
    fn rule_4_a_founder_that_is_alone_votes_at_once() {
        assert_eq!(Admission::new(NodeId(1), BatchNumber(0)).weigh(&members(1)), Some(Event::Admitted {}));
    }

    #[test]
    fn rule_4_a_node_waits_for_a_quorum_of_handshakes_before_its_first_vote() {
        let five = members(5);
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        assert_eq!(admission.greet(NodeId(2), BatchNumber(7), BatchNumber(7), &five), None);
        assert!(!admission.admitted() && !admission.amnesiac(), "two of five");
        assert_eq!(admission.greet(NodeId(2), BatchNumber(7), BatchNumber(7), &five), None, "the same peer again");
        assert_eq!(admission.greet(NodeId(3), BatchNumber(0), BatchNumber(7), &five), Some(Event::Admitted {}));
        assert!(admission.admitted());
    }

    #[test]
    fn rule_4_a_journal_that_ends_below_what_a_peer_witnessed_neither_votes_nor_proposes() {
        let three = members(3);
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        let event = admission.greet(NodeId(2), BatchNumber(8), BatchNumber(9), &three);
        assert_eq!(
            event,
            Some(Event::Amnesia { peer: NodeId(2), witnessed: BatchNumber(8), durable: BatchNumber(7) }),
            "what was written since the start does not stand for what was lost before it"
        );
        admission.greet(NodeId(3), BatchNumber(1), BatchNumber(9), &three);
        assert!(!admission.admitted() && admission.amnesiac(), "it stays so");
    }

    #[test]
    fn a_later_meeting_is_measured_by_what_is_durable_now() {
        let three = members(3);
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        admission.greet(NodeId(2), BatchNumber(7), BatchNumber(7), &three);
        assert_eq!(admission.greet(NodeId(2), BatchNumber(12), BatchNumber(12), &three), None);
        assert!(admission.admitted());
    }

    #[test]
    fn what_a_peer_claims_is_journaled_once_and_never_goes_back() {
        let mut admission = Admission::new(NodeId(1), BatchNumber(0));
        let record = Record::Witnessed { node: NodeId(2), batch: BatchNumber(5) };
        assert_eq!(admission.witness(NodeId(2), BatchNumber(5)), Some(record.clone()));
        assert_eq!(admission.witness(NodeId(2), BatchNumber(5)), None);
        assert_eq!(admission.witness(NodeId(2), BatchNumber(4)), None);
        let mut recovered = Admission::new(NodeId(1), BatchNumber(0));
        recovered.apply_record(&record);
        assert_eq!(recovered.witnessed(), admission.witnessed());
    }

    #[test]
    fn rule_5_the_first_vote_waits_until_every_founder_has_recorded_the_founding() {
        let three = members(3);
        let none = BatchNumber(0);
        let configuration = Configuration::numbered(3);
        let founded = Record::Founded { cluster: "c".into(), node: NodeId(1), configuration };
        let mut admission = Admission::new(NodeId(1), none);
        admission.apply_record(&founded);
        assert_eq!(admission.greet(NodeId(2), none, none, &three), None, "a quorum is not enough the first time");
        assert_eq!(admission.confirm(), None);
        assert_eq!(admission.greet(NodeId(3), none, none, &three), Some(Event::Admitted {}));
        assert_eq!(admission.confirm(), Some(Record::Confirmed {}));
        assert_eq!(admission.confirm(), None, "once");

        let mut restarted = Admission::new(NodeId(1), none);
        restarted.apply_record(&founded);
        restarted.apply_record(&Record::Confirmed {});
        assert_eq!(restarted.greet(NodeId(2), none, none, &three), Some(Event::Admitted {}), "a quorum is enough");
    }

    #[test]
    fn rule_4_a_node_whose_journal_lost_votes_waits_for_their_repair_too() {
        let (three, none) = (members(3), BatchNumber(0));
        let mut admission = Admission::new(NodeId(1), none);
        admission.damaged();
        assert_eq!(admission.greet(NodeId(2), none, none, &three), None);
        assert_eq!(admission.repaired(&three), Some(Event::Admitted {}), "a quorum was met meanwhile");
        let mut admission = Admission::new(NodeId(1), none);
        admission.damaged();
        assert_eq!(admission.repaired(&three), None);
        assert_eq!(admission.greet(NodeId(2), none, none, &three), Some(Event::Admitted {}));
    }

    #[test]
    fn rule_4_a_loss_is_remembered_however_much_is_written_afterwards() {
        let three = members(3);
        let mut admission = Admission::new(NodeId(1), BatchNumber(7));
        // The first peer has seen little, as followers have of each other; the leader comes a moment later.
        admission.greet(NodeId(3), BatchNumber(2), BatchNumber(7), &three);
        assert!(admission.admitted());
        let event = admission.greet(NodeId(2), BatchNumber(9), BatchNumber(7), &three).expect("a loss");
        let record = admission.lost(&event).expect("a record");

        let mut restarted = Admission::new(NodeId(1), BatchNumber(12));
        restarted.apply_record(&record);
        restarted.greet(NodeId(3), BatchNumber(2), BatchNumber(12), &three);
        restarted.greet(NodeId(2), BatchNumber(9), BatchNumber(12), &three);
        assert!(restarted.amnesiac() && !restarted.admitted());
    }
}
