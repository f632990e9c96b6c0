//! Who is who: names, cluster ids, what a node says of itself, and the founding of a cluster.
//!
//! Before a cluster is founded its voters know one another by name only, from their flags. In handshakes they learn
//! one another's incarnations; a node that knows all of them computes configuration and cluster id, and every founder
//! computes the same ones. Nobody votes or proposes before. Afterwards the recorded configuration decides
//! ([`Founded::admits`]), whatever the flags say.
//!
//! Absent: journaling what was founded, and waiting for others before the first vote; both are the node's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::addresses::Address;
use super::refusal::RefusedBecause;
use crate::paxos::configuration::MOST_MEMBERS;
use crate::paxos::membership::{LONGEST_NAME, is_name};
use crate::paxos::{Configuration, Incarnation, Membership, NodeId};

const _: () = assert!(2 * MOST_MEMBERS * (LONGEST_NAME + 8) + 256 < super::frame::HANDSHAKE_LIMIT);

/// Whether `name` may name a node or a cluster: 1 to 64 letters, digits, `-`, `_`, `.`.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        Ok(())
    } else {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        Err(format!("`{}` is not a name: use 1 to 64 letters, digits, `-`, `_`, `.`", shown.escape_debug()))
    }
}

/// The digest of a cluster's name and founders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 32]);

impl ClusterId {
    /// Of the cluster named `cluster` that `configuration`'s members founded.
    pub fn of(cluster: &str, configuration: &Configuration) -> ClusterId {
        let mut founders: Vec<_> = configuration.members().iter().map(|m| (m.name.as_str(), m.incarnation)).collect();
        founders.sort();
        let mut digest = Sha256::new();
        let mut text = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        text("synod cluster");
        text(cluster);
        founders.into_iter().for_each(|(name, incarnation)| {
            text(name);
            text(&incarnation.to_string());
        });
        ClusterId(digest.finalize().into())
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// What a node has once its cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its number there.
    pub node: NodeId,
}

/// What a node says of itself in a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHello {
    /// Its name.
    pub name: String,
    /// Its data folder's.
    pub incarnation: Incarnation,
    /// Drawn anew at every start: tells two processes apart that run on copies of one folder.
    pub boot: u64,
    /// `HOST:PORT` under which others can reach it.
    pub address: String,
    /// The voters that its flags name, sorted; empty if they name none.
    pub founding: Vec<String>,
    /// What the founding gave it.
    pub identity: Option<Identity>,
}

/// Who is at the other end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerHello {
    /// A node.
    Node(NodeHello),
    /// A client.
    Client,
}

impl PeerHello {
    /// The node, if it is one.
    pub fn node(&self) -> Option<&NodeHello> {
        match self {
            PeerHello::Node(node) => Some(node),
            PeerHello::Client => None,
        }
    }
}

impl NodeHello {
    /// Whether what another node says can stand beside what this one says, whatever else either knows.
    pub fn agrees_with(&self, other: &NodeHello) -> Result<(), RefusedBecause> {
        let (same_name, same_folder) = (self.name == other.name, self.incarnation == other.incarnation);
        if same_name && same_folder && self.address == other.address {
            return Err(RefusedBecause::SelfDial);
        }
        if same_name {
            return Err(RefusedBecause::NameTaken { name: other.name.clone() });
        }
        if same_folder {
            return Err(RefusedBecause::UnknownIncarnation { name: other.name.clone() });
        }
        match (self.identity, other.identity) {
            (Some(ours), Some(theirs)) if ours.cluster_id != theirs.cluster_id => {
                Err(RefusedBecause::DifferentClusterId { ours: ours.cluster_id, theirs: theirs.cluster_id })
            }
            (None, None)
                if self.founding != other.founding && !self.founding.is_empty() && !other.founding.is_empty() =>
            {
                Err(RefusedBecause::DifferentFounders { ours: self.founding.clone(), theirs: other.founding.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether every part is of the form that it should have, or a sentence that says which is not.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        check_voters(&self.founding)?;
        Address::parse(&self.address)?;
        Ok(())
    }
}

fn check_voters(voters: &[String]) -> Result<(), String> {
    if voters.len() > MOST_MEMBERS {
        return Err(format!("{} voters are more than {MOST_MEMBERS}", voters.len()));
    }
    voters.iter().try_for_each(|voter| check_name(voter))
}

/// A cluster on its way to being founded, as one founder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    cluster: String,
    name: String,
    voters: Vec<String>,
    known: BTreeMap<String, Incarnation>,
    claimed: Option<ClusterId>,
    /// The voters that have been founded already.
    claimants: BTreeSet<String>,
}

impl Founding {
    /// The founding of `cluster` by `voters`, of whom this node is one. Refused with a sentence otherwise.
    pub fn new(
        cluster: &str,
        name: &str,
        incarnation: Incarnation,
        mut voters: Vec<String>,
    ) -> Result<Founding, String> {
        check_name(cluster)?;
        check_name(name)?;
        check_voters(&voters)?;
        voters.sort();
        if let Some(pair) = voters.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the voters name `{}` twice", pair[0]));
        }
        if !voters.iter().any(|voter| voter == name) {
            return Err(format!(
                "`{name}` is not among the voters {}: add it, or --join the cluster",
                voters.join(",")
            ));
        }
        let known = BTreeMap::from([(name.to_owned(), incarnation)]);
        Ok(Founding {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            voters,
            known,
            claimed: None,
            claimants: BTreeSet::new(),
        })
    }

    /// A voter has introduced itself. Who is not among the voters does not count. A voter that comes with another data
    /// folder than before is refused, and so is one that belongs to a cluster which this founding would not yield.
    pub fn learned(&mut self, voter: &NodeHello) -> Result<Option<Founded>, RefusedBecause> {
        if !self.voters.contains(&voter.name) {
            return Ok(None);
        }
        if self.known.get(&voter.name).is_some_and(|known| *known != voter.incarnation) {
            return Err(RefusedBecause::UnknownIncarnation { name: voter.name.clone() });
        }
        if let Some(Identity { cluster_id: theirs, .. }) = voter.identity {
            let ours = *self.claimed.get_or_insert(theirs);
            if ours != theirs {
                return Err(RefusedBecause::DifferentClusterId { ours, theirs });
            }
            self.claimants.insert(voter.name.clone());
        }
        let already = self.known.insert(voter.name.clone(), voter.incarnation);
        let founded = self.founded();
        match (&founded, self.claimed) {
            (Some(founded), Some(theirs)) if founded.cluster_id != theirs => {
                // It must not complete a founding that another voter knows to be a different one.
                if already.is_none() {
                    self.known.remove(&voter.name);
                }
                let ours = founded.cluster_id;
                let all_others = self.voters.iter().all(|name| *name == self.name || self.claimants.contains(name));
                Err(if all_others {
                    // They founded it with one another and with our name, but not with our folder.
                    RefusedBecause::UnknownIncarnation { name: self.name.clone() }
                } else {
                    RefusedBecause::DifferentClusterId { ours, theirs }
                })
            }
            _ => Ok(founded),
        }
    }

    /// What was founded, if every voter's incarnation is known: at once for a voter that is alone.
    pub fn founded(&self) -> Option<Founded> {
        if self.missing().next().is_some() {
            return None;
        }
        let configuration = Configuration::founded_by(self.known.clone().into_iter().collect())
            .expect("the voters have different names, and there is one");
        Founded::of(&self.cluster, &self.name, configuration)
    }

    /// The voters not heard of yet, sorted.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.voters.iter().map(String::as_str).filter(|voter| !self.known.contains_key(*voter))
    }

    /// The voters, sorted.
    pub fn voters(&self) -> &[String] {
        &self.voters
    }
}

/// What a member tells a node whom the log has made a member, too, and which does not know that yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The number that the log gave it.
    pub node: NodeId,
    /// Who founded the cluster; its id follows.
    pub founders: Configuration,
}

/// A founded cluster, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Who founded it.
    pub founders: Configuration,
    /// Who the members are, as far as this one knows.
    pub membership: Membership,
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// This node's number.
    pub node: NodeId,
}

impl Founded {
    /// The cluster as one of its founders sees it; none if `name` is not one.
    pub fn of(cluster: &str, name: &str, founders: Configuration) -> Option<Founded> {
        let node = founders.named(name)?.id;
        Some(Founded::recorded(cluster, node, founders))
    }

    /// The cluster that a journal recorded, or that a member has told of, as the node of this number sees it.
    pub fn recorded(cluster: &str, node: NodeId, founders: Configuration) -> Founded {
        let cluster_id = ClusterId::of(cluster, &founders);
        Founded { membership: Membership::founded(founders.clone()), cluster_id, founders, node }
    }

    /// What this node says of itself.
    pub fn identity(&self) -> Identity {
        Identity { cluster_id: self.cluster_id, node: self.node }
    }

    /// The number of the node that introduced itself so; none unless [`Founded::admits`] it.
    pub fn number(&self, peer: &NodeHello) -> Option<NodeId> {
        match self.membership.known(&peer.name, peer.incarnation) {
            Some(member) => Some(member.id),
            None => self.later(peer),
        }
    }

    /// The number of a node that the log has made a member later than this node knows. Only the log gives such numbers, and
    /// a node keeps its own in its journal: a wiped disk has none to show.
    fn later(&self, peer: &NodeHello) -> Option<NodeId> {
        let theirs = peer.identity.filter(|theirs| theirs.cluster_id == self.cluster_id)?;
        (theirs.node > self.membership.last()).then_some(theirs.node)
    }

    /// Whether this node is a member: as far as we know, or later than we know. One that has left is let in until its
    /// name goes to another: it may not know yet that it has left. And even then it is, as long as it has a vote in slots
    /// that are not executed here: without it they may never be chosen.
    pub fn admits(&self, peer: &NodeHello) -> Result<(), RefusedBecause> {
        let name = || peer.name.clone();
        if let Some(theirs) = peer.identity.filter(|theirs| theirs.cluster_id != self.cluster_id) {
            return Err(RefusedBecause::DifferentClusterId { ours: self.cluster_id, theirs: theirs.cluster_id });
        }
        let known = self.membership.known(&peer.name, peer.incarnation);
        let holder = self.membership.named(&peer.name);
        match (known, holder) {
            (Some(known), Some(holder)) if known.id != holder.id && self.has_left(known.id) => {
                Err(RefusedBecause::NotAMember { name: name() })
            }
            (Some(known), _) if peer.identity.is_some_and(|theirs| theirs.node != known.id) => {
                Err(RefusedBecause::Malformed)
            }
            (Some(_), _) => Ok(()),
            (None, _) if self.later(peer).is_some() => Ok(()),
            (None, Some(_)) => Err(RefusedBecause::UnknownIncarnation { name: name() }),
            (None, None) => Err(RefusedBecause::NotAMember { name: name() }),
        }
    }

    /// Whether this node is no member any more, and has no vote in what is to be executed here.
    fn has_left(&self, node: NodeId) -> bool {
        self.membership.left(node).is_some() && !self.membership.votes(node)
    }

    /// What to tell a node that is a member and does not say so itself.
    pub fn enrolment(&self, peer: &NodeHello) -> Option<Enrolment> {
        let member = self.membership.known(&peer.name, peer.incarnation).filter(|_| peer.identity.is_none())?;
        Some(Enrolment { node: member.id, founders: self.founders.clone() })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::paxos::{Change, Slot};

    pub fn hello(name: &str, incarnation: u128) -> NodeHello {
        NodeHello {
            name: name.into(),
            incarnation: Incarnation(incarnation),
            boot: 1,
            address: "127.0.0.1:7001".into(),
            founding: vec![],
            identity: None,
        }
    }

    fn founding(own: &str, incarnation: u128) -> Founding {
        let voters = ["n3", "n1", "n2"].map(String::from).to_vec();
        Founding::new("synod", own, Incarnation(incarnation), voters).expect("a sound founding")
    }

    #[test]
    fn rule_5_every_founder_computes_the_same_cluster() {
        let all = [hello("n1", 11), hello("n2", 12), hello("n3", 13)];
        let founded: Vec<Founded> = all
            .iter()
            .map(|own| {
                let mut founding = founding(&own.name, own.incarnation.0);
                let others = all.iter().rev().filter(|other| other.name != own.name);
                let mut steps = others.map(|other| founding.learned(other).expect("no contradiction"));
                assert_eq!(steps.next(), Some(None));
                steps.next().expect("two others").expect("all are known")
            })
            .collect();
        assert_eq!(founded.iter().map(|founded| founded.node.0).collect::<Vec<_>>(), [1, 2, 3]);
        for pair in founded.windows(2) {
            assert_eq!(pair[0].cluster_id, pair[1].cluster_id);
            assert_eq!(pair[0].founders, pair[1].founders);
        }
    }

    #[test]
    fn the_cluster_id_depends_on_name_and_incarnations() {
        let of = |cluster: &str, incarnation| {
            let founders = vec![("n1".into(), Incarnation(incarnation))];
            ClusterId::of(cluster, &Configuration::founded_by(founders).expect("one founder"))
        };
        assert_eq!(of("a", 1), of("a", 1));
        assert_ne!(of("a", 1), of("b", 1));
        assert_ne!(of("a", 1), of("a", 2));
        assert_eq!(of("a", 1).to_string().len(), 64);
    }

    #[test]
    fn a_voter_that_is_alone_founds_at_once() {
        let founding = Founding::new("synod", "n1", Incarnation(1), vec!["n1".into()]).expect("a sound founding");
        assert_eq!(founding.founded().expect("founded").node, NodeId(1));
    }

    #[test]
    fn rule_5_a_second_data_folder_under_a_voters_name_is_refused() {
        let mut founding = founding("n1", 11);
        assert_eq!(founding.learned(&hello("n2", 12)), Ok(None));
        let refused = RefusedBecause::UnknownIncarnation { name: "n2".into() };
        assert_eq!(founding.learned(&hello("n2", 99)), Err(refused));
        assert_eq!(founding.learned(&hello("stranger", 1)), Ok(None), "does not count");
        assert_eq!(founding.missing().collect::<Vec<_>>(), ["n3"]);
    }

    #[test]
    fn rule_5_a_founding_that_contradicts_a_founded_voter_is_refused() {
        let mut founding = founding("n1", 11);
        let elsewhere = Identity { cluster_id: ClusterId([7; 32]), node: NodeId(2) };
        let founded = NodeHello { identity: Some(elsewhere), ..hello("n2", 12) };
        assert_eq!(founding.learned(&founded), Ok(None));
        let refused = founding.learned(&hello("n3", 13));
        assert!(matches!(refused, Err(RefusedBecause::DifferentClusterId { .. })), "{refused:?}");
        assert_eq!(founding.founded(), None, "nothing is founded against a founded voter's word");
        assert_eq!(founding.missing().collect::<Vec<_>>(), ["n3"]);
    }

    #[test]
    fn a_voter_whom_all_others_founded_with_another_folder_is_told_so() {
        let mut founding = founding("n1", 99);
        let identity = |node| Some(Identity { cluster_id: ClusterId([7; 32]), node: NodeId(node) });
        assert_eq!(founding.learned(&NodeHello { identity: identity(2), ..hello("n2", 12) }), Ok(None));
        let refused = Err(RefusedBecause::UnknownIncarnation { name: "n1".into() });
        for _ in 0..2 {
            assert_eq!(founding.learned(&NodeHello { identity: identity(3), ..hello("n3", 13) }), refused);
            assert_eq!(founding.founded(), None);
        }
    }

    #[test]
    fn unsound_foundings_are_refused_with_a_sentence() {
        let new = |name: &str, voters: &[&str]| {
            Founding::new("synod", name, Incarnation(1), voters.iter().map(|v| v.to_string()).collect())
        };
        for (refused, word) in [
            (new("n9", &["n1"]), "not among"),
            (new("n1", &["n1", "n1"]), "twice"),
            (new("n 1", &["n 1"]), "not a name"),
        ] {
            let sentence = refused.expect_err("unsound");
            assert!(sentence.contains(word), "{sentence}");
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["n1", "a", "A-b_c.9", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "a b", "ä", "a/b", "a\n", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rule_6_whoever_is_replaced_is_let_in_as_long_as_it_has_a_vote() {
        let mut founded = Founded::of("synod", "n1", Configuration::numbered(2)).expect("n1 is a member");
        founded.membership = founded.membership.with_alpha(3);
        let replaced = Change::Replace { name: "n2".into(), incarnation: Incarnation(9) };
        founded.membership.change(Slot(1), &replaced);
        founded.membership.on_executed(Slot(2));
        // Slot 3 needs both: after a restart of both nobody would vote there any more.
        assert_eq!(founded.admits(&hello("n2", 2)), Ok(()));
        assert_eq!(founded.number(&hello("n2", 2)), Some(NodeId(2)));
        assert_eq!(founded.admits(&hello("n2", 9)), Ok(()), "its successor");
        founded.membership.on_executed(Slot(3));
        assert_eq!(founded.admits(&hello("n2", 2)), Err(RefusedBecause::NotAMember { name: "n2".into() }));
    }

    #[test]
    fn rule_5_the_recorded_configuration_admits_its_members_only() {
        let configuration = Configuration::numbered(3);
        let founded = Founded::of("synod", "n1", configuration).expect("n1 is a member");
        assert_eq!(founded.admits(&hello("n2", 2)), Ok(()), "an unfounded member catches up");
        assert_eq!(founded.number(&hello("n2", 2)), Some(NodeId(2)));
        assert_eq!(founded.number(&hello("n2", 3)), None);
        let name = || "n2".to_string();
        assert_eq!(founded.admits(&hello("n2", 3)), Err(RefusedBecause::UnknownIncarnation { name: name() }));
        assert_eq!(founded.admits(&hello("x", 3)), Err(RefusedBecause::NotAMember { name: "x".into() }));
        let wrong = Identity { cluster_id: founded.cluster_id, node: NodeId(3) };
        let wrong = NodeHello { identity: Some(wrong), ..hello("n2", 2) };
        assert_eq!(founded.admits(&wrong), Err(RefusedBecause::Malformed));
    }
}
