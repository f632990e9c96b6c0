//! Who may vote on which slot: configurations that change through the log.
//!
//! A change is an entry of the log. Executed at slot c it decides the configuration of the slots from c + α on, so the
//! configuration of a slot s is fixed by the log up to s − α, and nobody proposes s before it has executed s − α
//! ("Paxos Made Simple" section 3; "Paxos Made Moderately Complex" section 4.4 calls α the window; DESIGN section 4, rule
//! 6). Any change is allowed, whole or of one member, because each configuration goes through phase 1 of its own. A
//! short run that shows why α is there:
//!
//! ```text
//! slot 5 replaces n1, n2 by n4, n5, and would hold from slot 6 on      n1 proposed slots 5 and 6 together
//! n1, n2 choose Y in slot 6                                             n3, n4, n5 know slot 5, and choose Z in slot 6
//! ```
//!
//! A newcomer has a number but no vote: it catches up first, and the leader then has it promoted by another entry. Numbers
//! are given in the order of the log and never again, so a wiped disk cannot come back as the member that it was.
//!
//! This is replicated state: it changes by log entries alone, and is part of every snapshot. The roles hold copies, which
//! the executor renews.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::configuration::{Configuration, Incarnation, MOST_MEMBERS, Member};
use super::slot::Slot;

/// How many slots behind a change its configuration begins. Part of the replicated rules: the same on every node.
pub const ALPHA: u64 = 1024;

/// A change that a person asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// A new member, which has no vote until it has caught up.
    Add {
        /// Its name: no member's.
        name: String,
        /// Its data folder's.
        incarnation: Incarnation,
    },
    /// A member leaves.
    Remove {
        /// Its name.
        name: String,
    },
    /// A member's name goes to another data folder, because the old one is lost: the old member leaves and a new one, of
    /// another number, comes without a vote.
    Replace {
        /// The name.
        name: String,
        /// The new data folder's.
        incarnation: Incarnation,
    },
}

impl Change {
    /// Whom it is about.
    pub fn name(&self) -> &str {
        match self {
            Change::Add { name, .. } | Change::Remove { name } | Change::Replace { name, .. } => name,
        }
    }
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It is in the log.
    Changed {
        /// The number of the member that came, or else of the one that went.
        node: NodeId,
        /// The first slot that it holds for.
        from: Slot,
    },
    /// It was not done; nothing has changed.
    Refused(ChangeRefused),
}

/// Why a change was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChangeRefused {
    /// A member of that name exists.
    NameTaken,
    /// The data folder is a member already, under whatever name.
    FolderTaken,
    /// No member has that name.
    Unknown,
    /// A member of that name has left, or is leaving.
    Left,
    /// It is the last one that votes.
    LastVoter,
    /// There are as many members as a cluster may have.
    Full,
    /// The name is not one.
    BadName,
}

impl std::fmt::Display for ChangeRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChangeRefused::NameTaken => f.write_str(
                "a member of that name exists: start the newcomer with another --name, or, if that member's folder is \
                 lost, let it take its place with `member replace`",
            ),
            ChangeRefused::FolderTaken => {
                f.write_str("its data folder belongs to a member already: start the newcomer with an empty folder")
            }
            ChangeRefused::Unknown => f.write_str("no member has that name: `member list` shows them"),
            ChangeRefused::Left => f.write_str("it has left, or is leaving: `member list` shows until when it votes"),
            ChangeRefused::LastVoter => {
                f.write_str("it is the last member that votes, and a cluster needs one: add another one first")
            }
            ChangeRefused::Full => write!(f, "a cluster has at most {MOST_MEMBERS} members: remove one first"),
            ChangeRefused::BadName => f.write_str("that is not a name: use 1 to 64 letters, digits, `-`, `_`, `.`"),
        }
    }
}

impl Outcome {
    /// The outcome as a command's result.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Outcome::Changed { node, from } => [&[0], &node.0.to_le_bytes()[..], &from.0.to_le_bytes()[..]].concat(),
            Outcome::Refused(why) => vec![1, REFUSALS.iter().position(|known| *known == why).unwrap_or(0) as u8],
        }
    }

    /// Reads what [`Outcome::to_bytes`] wrote; none for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Outcome> {
        match bytes {
            [0, rest @ ..] => {
                let (node, from) = rest.split_first_chunk::<4>()?;
                let from = <[u8; 8]>::try_from(from).ok()?;
                Some(Outcome::Changed { node: NodeId(u32::from_le_bytes(*node)), from: Slot(u64::from_le_bytes(from)) })
            }
            [1, code] => Some(Outcome::Refused(*REFUSALS.get(usize::from(*code))?)),
            _ => None,
        }
    }
}

/// By their codes.
const REFUSALS: [ChangeRefused; 7] = [
    ChangeRefused::NameTaken,
    ChangeRefused::FolderTaken,
    ChangeRefused::Unknown,
    ChangeRefused::LastVoter,
    ChangeRefused::Full,
    ChangeRefused::BadName,
    ChangeRefused::Left,
];

/// A configuration and the first slot that it decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first slot.
    pub first: Slot,
    /// Who votes there.
    pub configuration: Configuration,
}

/// A member that has left.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Former {
    /// It has no vote from this slot on.
    pub from: Slot,
    /// Who it was.
    pub member: Member,
}

/// Which configuration decides which slot, as far as the log says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    alpha: u64,
    /// Ascending, never empty. Those that end where everything is executed are dropped.
    spans: Vec<Span>,
    /// Everything up to here is executed by whoever holds this copy.
    executed_upto: Slot,
    /// Members without a vote, which catch up; in the order in which they came.
    newcomers: Vec<Member>,
    /// Who left last, the latest at the end.
    former: Vec<Former>,
    /// The highest number given so far.
    last: NodeId,
}

impl Membership {
    /// What the founders agreed on: one configuration, from the first slot on.
    pub fn founded(configuration: Configuration) -> Membership {
        let last = configuration.nodes().max().unwrap_or_default();
        Membership {
            alpha: ALPHA,
            spans: vec![Span { first: Slot(1), configuration }],
            executed_upto: Slot::ZERO,
            newcomers: Vec::new(),
            former: Vec::new(),
            last,
        }
    }

    /// The same with another α, for small worlds.
    pub fn with_alpha(self, alpha: u64) -> Membership {
        Membership { alpha: alpha.max(1), ..self }
    }

    /// How many slots behind a change its configuration begins.
    pub fn alpha(&self) -> u64 {
        self.alpha
    }

    /// Everything up to here is executed by whoever holds this copy.
    pub fn executed_upto(&self) -> Slot {
        self.executed_upto
    }

    /// The last slot whose configuration is known.
    pub fn known_upto(&self) -> Slot {
        self.executed_upto.plus(self.alpha)
    }

    /// The configuration whose quorums decide `slot`; none if the log does not say yet, or no longer.
    pub fn at(&self, slot: Slot) -> Option<&Configuration> {
        self.span_at(slot).map(|span| &span.configuration)
    }

    /// That configuration and its first slot.
    pub fn span_at(&self, slot: Slot) -> Option<&Span> {
        if slot > self.known_upto() {
            return None;
        }
        self.spans.iter().rev().find(|span| span.first <= slot)
    }

    /// The first span that begins behind this slot.
    pub fn span_behind(&self, slot: Slot) -> Option<&Span> {
        self.spans.iter().find(|span| span.first > slot)
    }

    /// The configuration that decides the next slot to be executed.
    pub fn current(&self) -> &Configuration {
        &self.spans.first().expect("there is always a configuration").configuration
    }

    /// The newest configuration, which may not decide anything yet.
    pub fn latest(&self) -> &Configuration {
        &self.spans.last().expect("there is always a configuration").configuration
    }

    /// The configurations that decide slots which are not all executed, ascending.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Members without a vote, in the order in which they came.
    pub fn newcomers(&self) -> &[Member] {
        &self.newcomers
    }

    /// Who left, the latest at the end.
    pub fn former(&self) -> &[Former] {
        &self.former
    }

    /// The highest number given so far.
    pub fn last(&self) -> NodeId {
        self.last
    }

    /// Everyone who votes or will, and the newcomers: sorted by id, each once.
    pub fn members(&self) -> Vec<&Member> {
        let voters = self.spans.iter().rev().flat_map(|span| span.configuration.members());
        let mut all: Vec<&Member> = voters.chain(&self.newcomers).collect();
        all.sort_by_key(|member| member.id);
        all.dedup_by_key(|member| member.id);
        all
    }

    /// Whether all members, newcomers included, are among these, but for `own`.
    pub fn are_all(&self, met: &BTreeSet<NodeId>, own: NodeId) -> bool {
        self.members().iter().all(|member| member.id == own || met.contains(&member.id))
    }

    /// Whom a leader tells what is chosen: all members, and who left but may not know it yet.
    pub fn audience(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.members().iter().map(|member| member.id).collect();
        nodes.extend(self.former.iter().map(|former| former.member.id));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether this node has a vote in a slot that is not executed yet, or will have one.
    pub fn votes(&self, node: NodeId) -> bool {
        self.spans.iter().any(|span| span.configuration.contains(node))
    }

    /// The member of that id, newcomers and those who left included.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        let former = || self.former.iter().map(|former| &former.member).find(|member| member.id == node);
        self.members().into_iter().find(|member| member.id == node).or_else(former)
    }

    /// The member of that name, newcomers included: of several, who votes in the end.
    pub fn named(&self, name: &str) -> Option<&Member> {
        let newcomer = || self.newcomers.iter().find(|member| member.name == name);
        self.latest().named(name).or_else(newcomer)
    }

    /// The member with that name and data folder, those who left included.
    pub fn known(&self, name: &str, incarnation: Incarnation) -> Option<&Member> {
        let is_it = |member: &&Member| member.name == name && member.incarnation == incarnation;
        let former = || self.former.iter().map(|former| &former.member).find(is_it);
        self.members().into_iter().find(is_it).or_else(former)
    }

    /// From which slot on this node is no member any more, if it has left.
    pub fn left(&self, node: NodeId) -> Option<Slot> {
        self.former.iter().find(|former| former.member.id == node).map(|former| former.from)
    }

    /// Everything up to here is executed: more configurations are known, and some are done with.
    pub fn on_executed(&mut self, upto: Slot) {
        self.executed_upto = self.executed_upto.max(upto);
        let done = self.spans.iter().skip(1).take_while(|span| span.first <= self.executed_upto.next()).count();
        self.spans.drain(..done);
    }

    /// Executes a change that stands in `slot`, of which everything before is executed.
    pub fn change(&mut self, slot: Slot, change: &Change) -> Outcome {
        match self.changed(slot, change) {
            Ok(node) => Outcome::Changed { node, from: slot.plus(self.alpha) },
            Err(why) => Outcome::Refused(why),
        }
    }

    fn changed(&mut self, slot: Slot, change: &Change) -> Result<NodeId, ChangeRefused> {
        match change {
            Change::Add { name, incarnation } => {
                if !is_name(name) {
                    return Err(ChangeRefused::BadName);
                }
                if self.named(name).is_some() {
                    return Err(ChangeRefused::NameTaken);
                }
                if self.latest().members().len() + self.newcomers.len() >= MOST_MEMBERS {
                    return Err(ChangeRefused::Full);
                }
                self.come(name, *incarnation)
            }
            Change::Remove { name } => self.leave(slot, name),
            Change::Replace { name, incarnation } => {
                if self.named(name).is_none() {
                    return Err(ChangeRefused::Unknown);
                }
                if self.is_taken(*incarnation) {
                    return Err(ChangeRefused::FolderTaken);
                }
                self.leave(slot, name)?;
                self.come(name, *incarnation)
            }
        }
    }

    /// A newcomer that has caught up gets its vote, from α slots further on. None if it is no newcomer (any more).
    pub fn promote(&mut self, slot: Slot, node: NodeId) -> Option<Slot> {
        let at = self.newcomers.iter().position(|member| member.id == node)?;
        let newcomer = self.newcomers.remove(at);
        let voters = self.latest().members().iter().cloned().chain([newcomer]).collect();
        Some(self.begin(slot, voters))
    }

    /// Who would vote after this change. None if it would be refused.
    pub fn voters_after(&self, change: &Change) -> Option<Configuration> {
        let mut changed = self.clone();
        changed.changed(self.executed_upto.next(), change).ok()?;
        Some(changed.latest().clone())
    }

    fn is_taken(&self, incarnation: Incarnation) -> bool {
        let former = self.former.iter().map(|former| &former.member);
        self.members().into_iter().chain(former).any(|member| member.incarnation == incarnation)
    }

    fn come(&mut self, name: &str, incarnation: Incarnation) -> Result<NodeId, ChangeRefused> {
        if self.is_taken(incarnation) {
            return Err(ChangeRefused::FolderTaken);
        }
        self.last = NodeId(self.last.0 + 1);
        self.newcomers.push(Member { id: self.last, name: name.to_owned(), incarnation });
        Ok(self.last)
    }

    fn leave(&mut self, slot: Slot, name: &str) -> Result<NodeId, ChangeRefused> {
        let has_left = self.former.iter().any(|former| former.member.name == name);
        let unknown = if has_left { ChangeRefused::Left } else { ChangeRefused::Unknown };
        let member = self.named(name).cloned().ok_or(unknown)?;
        let from = match self.newcomers.iter().position(|newcomer| newcomer.id == member.id) {
            Some(at) => {
                self.newcomers.remove(at);
                slot.next()
            }
            None => {
                let others = self.latest().members().iter().filter(|other| other.id != member.id);
                let voters: Vec<Member> = others.cloned().collect();
                if voters.is_empty() {
                    return Err(ChangeRefused::LastVoter);
                }
                self.begin(slot, voters)
            }
        };
        let node = member.id;
        self.former.push(Former { from, member });
        if self.former.len() > MOST_FORMER {
            self.former.remove(0);
        }
        Ok(node)
    }

    /// These vote from α slots behind `slot` on.
    fn begin(&mut self, slot: Slot, voters: Vec<Member>) -> Slot {
        let first = slot.plus(self.alpha);
        let configuration = Configuration::new(voters).expect("names and ids of members are their own");
        // Two changes in one slot are one.
        self.spans.retain(|span| span.first < first);
        self.spans.push(Span { first, configuration });
        first
    }
}

/// Whether this may be a member's name: 1 to 64 letters, digits, `-`, `_`, `.`.
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 64;

/// How many of those who left are remembered: one of longer ago that comes back is a stranger. Part of the replicated rules.
const MOST_FORMER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Membership {
        Membership::founded(Configuration::numbered(3)).with_alpha(4)
    }

    fn add(name: &str, folder: u128) -> Change {
        Change::Add { name: name.into(), incarnation: Incarnation(folder) }
    }

    fn remove(name: &str) -> Change {
        Change::Remove { name: name.into() }
    }

    fn replace(name: &str, folder: u128) -> Change {
        Change::Replace { name: name.into(), incarnation: Incarnation(folder) }
    }

    fn voters(membership: &Membership, slot: u64) -> Option<Vec<u32>> {
        membership.at(Slot(slot)).map(|configuration| configuration.nodes().map(|node| node.0).collect())
    }

    #[test]
    fn newcomers_and_who_will_vote_are_members_too_but_whoever_is_none_makes_up_for_nobody() {
        let mut membership = three();
        membership.on_executed(Slot(9));
        membership.change(Slot(10), &add("n4", 4));
        let met = |nodes: &[u32]| nodes.iter().map(|node| NodeId(*node)).collect();
        let are_all = |nodes: &[u32]| membership.are_all(&met(nodes), NodeId(1));
        assert!(!are_all(&[2, 3]) && !are_all(&[2, 3, 9]) && are_all(&[2, 3, 4]));
    }

    #[test]
    fn rule_6_a_change_decides_the_slots_from_alpha_behind_it_on() {
        let mut membership = three();
        membership.on_executed(Slot(9));
        assert_eq!(membership.change(Slot(10), &remove("n2")), Outcome::Changed { node: NodeId(2), from: Slot(14) });
        membership.on_executed(Slot(10));
        assert_eq!((voters(&membership, 13), voters(&membership, 14)), (Some(vec![1, 2, 3]), Some(vec![1, 3])));
        assert_eq!(voters(&membership, 15), None, "slot 11 is not executed yet");
        assert!(membership.votes(NodeId(2)) && membership.left(NodeId(2)) == Some(Slot(14)));
        membership.on_executed(Slot(13));
        assert!(!membership.votes(NodeId(2)), "its last slot is executed");
        assert_eq!(membership.spans().len(), 1);
        assert_eq!(voters(&membership, 13), None, "nobody asks for it any more");
    }

    #[test]
    fn a_newcomer_has_a_number_and_no_vote_until_it_is_promoted_and_then_once() {
        let mut membership = three();
        assert_eq!(membership.change(Slot(1), &add("n4", 44)), Outcome::Changed { node: NodeId(4), from: Slot(5) });
        assert_eq!(voters(&membership, 5), None);
        membership.on_executed(Slot(1));
        assert_eq!(voters(&membership, 5), Some(vec![1, 2, 3]));
        assert_eq!(membership.audience(), [1, 2, 3, 4].map(NodeId), "it is told what is chosen");
        assert_eq!(membership.promote(Slot(2), NodeId(4)), Some(Slot(6)));
        assert_eq!(membership.promote(Slot(3), NodeId(4)), None);
        membership.on_executed(Slot(3));
        assert_eq!((voters(&membership, 5), voters(&membership, 6)), (Some(vec![1, 2, 3]), Some(vec![1, 2, 3, 4])));
    }

    #[test]
    fn rule_5_numbers_are_never_given_twice_and_a_lost_folder_comes_back_as_another_member() {
        let mut membership = three();
        assert_eq!(membership.change(Slot(1), &replace("n2", 22)), Outcome::Changed { node: NodeId(4), from: Slot(5) });
        assert_eq!(membership.change(Slot(2), &remove("n2")), Outcome::Changed { node: NodeId(4), from: Slot(6) });
        assert_eq!(membership.change(Slot(3), &add("n2", 23)), Outcome::Changed { node: NodeId(5), from: Slot(7) });
        let known = |folder| membership.known("n2", Incarnation(folder)).map(|member| member.id.0);
        assert_eq!((known(2), known(22), known(23), known(24)), (Some(2), Some(4), Some(5), None));
        assert_eq!(membership.named("n2").map(|member| member.id), Some(NodeId(5)));
    }

    #[test]
    fn what_cannot_be_done_changes_nothing_and_is_told_by_name() {
        let mut membership = three();
        for (change, why) in [
            (add("n2", 9), ChangeRefused::NameTaken),
            (add("n9", 2), ChangeRefused::FolderTaken),
            (add("a b", 9), ChangeRefused::BadName),
            (remove("n9"), ChangeRefused::Unknown),
            (replace("n9", 9), ChangeRefused::Unknown),
            (replace("n2", 3), ChangeRefused::FolderTaken),
        ] {
            let before = membership.clone();
            assert_eq!(membership.change(Slot(1), &change), Outcome::Refused(why), "{change:?}");
            assert_eq!(membership, before);
        }
        membership.change(Slot(1), &remove("n1"));
        membership.change(Slot(2), &remove("n2"));
        assert_eq!(membership.change(Slot(3), &remove("n3")), Outcome::Refused(ChangeRefused::LastVoter));
        let room = MOST_MEMBERS - 1;
        for node in 10..10 + room as u128 {
            let came = membership.change(Slot(4), &add(&format!("m{node}"), node));
            assert!(matches!(came, Outcome::Changed { .. }), "{node}");
        }
        assert_eq!(membership.change(Slot(4), &add("one-more", 1000)), Outcome::Refused(ChangeRefused::Full));
    }

    #[test]
    fn an_outcome_reads_back_and_nothing_else_does() {
        let mut outcomes: Vec<Outcome> = REFUSALS.into_iter().map(Outcome::Refused).collect();
        outcomes.push(Outcome::Changed { node: NodeId(7), from: Slot(1030) });
        for outcome in outcomes {
            let bytes = outcome.to_bytes();
            assert_eq!(Outcome::from_bytes(&bytes), Some(outcome));
            assert_eq!(Outcome::from_bytes(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Outcome::from_bytes(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!((Outcome::from_bytes(&[1, 200]), Outcome::from_bytes(&[2])), (None, None));
    }

    #[test]
    fn each_refusal_tells_a_person_why() {
        for (why, part) in
            REFUSALS.iter().zip(["of that name", "empty folder", "no member", "last", "at most", "not a name"])
        {
            assert!(why.to_string().contains(part), "{why}");
        }
    }
}
