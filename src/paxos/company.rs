//! Whom a node has had company of, as its folder says apart from the journal (DESIGN section 4, rule 4).
//!
//! A node that is alone in its cluster meets nobody before its first vote, for nobody else could know what its journal has
//! lost. Whether it is alone stands in the log; but if the journal has lost its tail, what made it grow may have gone, too:
//!
//! ```text
//! n1 founds alone; slots 5 to 9 add n2 and n3, and give them votes     n1, n2 and n3 choose X in slot 30
//! n1's journal loses everything from slot 4 on; n2 and n3 are away     n1 takes itself for all there is, and chooses Y
//! ```
//!
//! So the members are written down a second time, in a file of their own, whenever they change: behind the journal's sync
//! of what changed them, and before anybody links to a newcomer or tells it that it is one. A newcomer hears nothing
//! of the log before that. Hence:
//!
//! * What is written down names everybody who can know anything of the log. If that is nobody else, nobody else does.
//! * What is written down is never ahead of a journal that is whole. If the journal does not reach it, its tail is lost.
//!
//! A newcomer that is gone for good, before it got its vote, would keep the node waiting for ever. Then the operator names it
//! ([`Company::forsaking`]). It counts no more if both the log and what is written down say that it never had a vote: nothing
//! was chosen with its help, and whatever this journal has is still so. What the journal has lost of its tail the newcomer may
//! know, and nobody else: whether that is given up is no node's to decide, only a person's. Should the newcomer come back
//! nevertheless, and have seen more of this journal than there is, this node votes no more.
//!
//! Where the members were never written down, by an earlier version or because the disk lost that, too, the names in the
//! address book stand for it. Beside a file that can be read they count for nothing: books hear of addresses from one another,
//! and keep names of long ago. What remains: a disk that forgets all of them together, as an old copy of the whole folder
//! does. Then only a peer can tell, once it is met ([`super::admission`]).

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::configuration::Member;
use super::membership::Membership;
use super::slot::Slot;

/// What a folder says of other members, apart from its journal and its snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Company {
    written: Written,
    /// Names in the address book, without this node's own.
    named: Vec<String>,
    /// They are gone for good, as a person says.
    forsaken: Vec<String>,
}

/// The members as they were written down last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Written {
    /// They never were: by an earlier version, or not yet.
    #[default]
    Never,
    /// They were, and that cannot be read.
    Unreadable,
    /// These were they.
    Members(Membership),
}

impl Company {
    /// What the folder says.
    pub fn new(written: Written, named: Vec<String>) -> Company {
        Company { written, named, forsaken: Vec::new() }
    }

    /// The same, and a person says that the newcomers of these names are gone for good.
    pub fn forsaking(self, names: Vec<String>) -> Company {
        Company { forsaken: names, ..self }
    }

    /// Whether the node `own` is the only one that there is: by the log, as far as it is executed forward from the journal;
    /// and by what is written down beside it, or else by the names in the address book, but for those that the log has seen
    /// leave.
    pub fn is_alone(&self, own: NodeId, executed: &Membership) -> bool {
        let newest = self.newest(executed);
        self.written != Written::Unreadable
            && [executed, newest].into_iter().all(|members| self.is_only(own, members))
            && self.strangers(newest).next().is_none()
    }

    /// Who else there is by name, for people: where this node's own vote would do by the log, but is not all there is.
    pub fn others(&self, own: NodeId, executed: &Membership) -> Vec<String> {
        let newest = self.newest(executed);
        let is_other = |member: &&Member| member.id != own && !self.is_forsaken(member, newest);
        let members = newest.members().into_iter().filter(is_other).map(|member| &member.name);
        let mut others: Vec<String> = members.chain(self.strangers(newest)).cloned().collect();
        others.sort();
        others.dedup();
        others
    }

    /// The members as far as anything here says: as the log has them, or as they were written down, if that is news.
    pub fn newest<'a>(&'a self, executed: &'a Membership) -> &'a Membership {
        match &self.written {
            Written::Members(written) if written.executed_upto() > executed.executed_upto() => written,
            _ => executed,
        }
    }

    /// The name of the member with this number, or of one that has left, as it was written down.
    pub fn name_of(&self, node: NodeId) -> Option<&str> {
        let Written::Members(written) = &self.written else { return None };
        let former = written.former().iter().map(|former| &former.member);
        let mut all = written.members().into_iter().chain(former);
        all.find(|member| member.id == node).map(|member| member.name.as_str())
    }

    /// Up to which slot the journal must have known the log, at least: everything up to there was executed.
    pub fn written_upto(&self) -> Slot {
        match &self.written {
            Written::Members(written) => written.executed_upto(),
            Written::Never | Written::Unreadable => Slot::ZERO,
        }
    }

    /// Whether the members were ever written down.
    pub fn is_written(&self) -> bool {
        self.written != Written::Never
    }

    /// Whether there is nobody but this node, and it votes.
    fn is_only(&self, own: NodeId, members: &Membership) -> bool {
        let counts = |member: &&Member| member.id != own && !self.is_forsaken(member, members);
        members.current().contains(own) && !members.members().iter().any(counts)
    }

    /// Whether it is gone for good, and never had a vote. That takes the word of what is written down, too: the journal may have
    /// lost the entry that gave it one.
    fn is_forsaken(&self, member: &Member, members: &Membership) -> bool {
        let is_written = matches!(self.written, Written::Members(_));
        is_written && members.newcomers().contains(member) && self.forsaken.contains(&member.name)
    }

    /// The names in the address book that are no member's who has left, if they count.
    fn strangers<'a>(&'a self, members: &'a Membership) -> impl Iterator<Item = &'a String> {
        let has_left = |name: &str| members.former().iter().any(|former| former.member.name == name);
        self.named.iter().filter(move |name| !self.is_written() && !has_left(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Change, Configuration, Incarnation};

    const OWN: NodeId = NodeId(1);

    fn one() -> Membership {
        Membership::founded(Configuration::numbered(1)).with_alpha(3)
    }

    /// n2 came in slot 5, and nothing more happened to it.
    fn grown() -> Membership {
        let mut members = one();
        members.change(Slot(5), &Change::Add { name: "n2".into(), incarnation: Incarnation(2) });
        members.on_executed(Slot(5));
        members
    }

    /// It got its vote in slot 6, and left in slot 10.
    fn shrunk() -> Membership {
        let mut members = grown();
        members.promote(Slot(6), NodeId(2));
        members.on_executed(Slot(9));
        members.change(Slot(10), &Change::Remove { name: "n2".into() });
        members.on_executed(Slot(12));
        members
    }

    fn wrote(members: Membership) -> Company {
        Company::new(Written::Members(members), Vec::new())
    }

    #[test]
    fn rule_4_a_founder_is_alone_as_long_as_neither_the_log_nor_what_is_written_down_names_another() {
        assert!(Company::default().is_alone(OWN, &one()));
        assert!(wrote(one()).is_alone(OWN, &one()));
        assert!(!Company::default().is_alone(OWN, &grown()), "a newcomer learns what is chosen, too");
        assert!(!wrote(grown()).is_alone(OWN, &one()), "the journal has lost what made the cluster grow");
        assert!(!wrote(one()).is_alone(OWN, &grown()), "it was not written down yet");
        assert!(!Company::new(Written::Unreadable, Vec::new()).is_alone(OWN, &one()));
    }

    #[test]
    fn rule_4_a_cluster_that_shrank_to_one_is_alone_again() {
        assert!(wrote(shrunk()).is_alone(OWN, &shrunk()));
        assert!(wrote(grown()).is_alone(OWN, &shrunk()), "the log says more than what is written down");
        assert!(!wrote(shrunk()).is_alone(OWN, &grown()), "and must be executed as far");
    }

    #[test]
    fn rule_4_a_name_in_the_address_book_is_company_where_nothing_else_was_written_down() {
        let company = |written, name: &str| Company::new(written, vec![name.into()]);
        assert!(!company(Written::Never, "n2").is_alone(OWN, &one()));
        assert!(company(Written::Never, "n2").is_alone(OWN, &shrunk()), "the log saw it leave");
        assert!(!company(Written::Never, "n3").is_alone(OWN, &shrunk()));
        assert!(company(Written::Members(shrunk()), "n3").is_alone(OWN, &shrunk()), "a name of long ago");
        assert_eq!(company(Written::Never, "n3").others(OWN, &grown()), ["n2", "n3"]);
        assert_eq!(company(Written::Members(grown()), "n3").others(OWN, &one()), ["n2"]);
    }

    #[test]
    fn rule_4_a_newcomer_that_is_gone_for_good_is_no_company_if_it_never_had_a_vote() {
        let forsaking = |written, name: &str| Company::new(written, Vec::new()).forsaking(vec![name.into()]);
        let wrote = |members| forsaking(Written::Members(members), "n2");
        assert!(wrote(grown()).is_alone(OWN, &grown()));
        assert!(wrote(grown()).others(OWN, &grown()).is_empty());
        assert!(!forsaking(Written::Members(grown()), "n3").is_alone(OWN, &grown()), "nobody spoke of n2");
        let mut promoted = grown();
        promoted.promote(Slot(6), NodeId(2));
        promoted.on_executed(Slot(6));
        assert!(!wrote(promoted.clone()).is_alone(OWN, &grown()), "the journal has lost that it got its vote");
        assert!(!wrote(grown()).is_alone(OWN, &promoted), "by the log it will vote");
        assert_eq!(wrote(promoted).others(OWN, &grown()), ["n2"]);
        for written in [Written::Never, Written::Unreadable] {
            assert!(!forsaking(written, "n2").is_alone(OWN, &grown()), "nothing bears the journal out");
        }
    }

    #[test]
    fn rule_4_who_joined_a_cluster_of_one_is_not_alone_in_it() {
        assert!(!Company::default().is_alone(NodeId(2), &one()));
        assert!(!Company::default().is_alone(NodeId(2), &grown()));
    }
}
