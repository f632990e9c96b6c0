//! Which nodes a client knows, and where: the addresses it was given, then those that nodes told it.
//!
//! Positions are stable: a [`NodeIndex`] once given stays that entry's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::session::NodeIndex;
use crate::net::report::Status;

/// The nodes known to a client.
pub(super) struct Nodes {
    /// This client is for these nodes only.
    fixed: bool,
    known: Mutex<Vec<Known>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    name: Option<String>,
    address: String,
    /// By a node, and not by the user: a newer word takes its place.
    learnt: bool,
    /// It was a member, and is none any more.
    left: bool,
}

impl Nodes {
    /// Some nodes of a cluster.
    pub(super) fn given(addresses: &[String]) -> Nodes {
        let mut known: Vec<Known> = Vec::new();
        for address in addresses {
            if known.iter().all(|known| known.address != *address) {
                known.push(Known { name: None, address: address.clone(), learnt: false, left: false });
            }
        }
        Nodes { fixed: false, known: Mutex::new(known) }
    }

    /// The addresses of one node, and no other.
    pub(super) fn only(addresses: &[String]) -> Nodes {
        Nodes { fixed: true, ..Nodes::given(addresses) }
    }

    /// Takes in what a node says of itself and of the others.
    pub(super) fn learn(&self, from: NodeIndex, status: &Status) {
        let mut known = self.lock();
        if let Some(known) = known.get_mut(from.0) {
            known.name = Some(status.name.clone());
        }
        if self.fixed {
            return;
        }
        for peer in status.peers.iter().filter(|peer| !peer.address.is_empty()) {
            let is_it = |known: &&mut Known| known.learnt && known.name.as_ref() == Some(&peer.name);
            if let Some(entry) = known.iter_mut().find(|known| known.address == peer.address) {
                entry.name.get_or_insert_with(|| peer.name.clone());
            } else if let Some(entry) = known.iter_mut().find(is_it) {
                entry.address.clone_from(&peer.address);
            } else if known.len() < MOST_KNOWN {
                let (name, address) = (Some(peer.name.clone()), peer.address.clone());
                known.push(Known { name, address, learnt: true, left: false });
            }
        }
        mark_who_left(&mut known, status);
    }

    /// Who answers at this address.
    pub(super) fn learn_name(&self, address: &str, name: &str) {
        if let Some(known) = self.lock().iter_mut().find(|known| known.address == address) {
            known.name = Some(name.to_owned());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn address(&self, node: NodeIndex) -> String {
        self.lock()[node.0].address.clone()
    }

    pub(super) fn addresses_of(&self, name: &str) -> Vec<String> {
        let known = self.lock();
        let of_it = known.iter().filter(|known| known.name.as_deref() == Some(name));
        newest_first(of_it.collect())
    }

    pub(super) fn names(&self) -> Vec<String> {
        let known = self.lock();
        let there = known.iter().filter(|known| !known.left);
        let mut names: Vec<String> = there.filter_map(|known| known.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every node by its name, or by its address if its name is not known, with its addresses; but those that have left.
    pub(super) fn by_name(&self) -> Vec<(String, Vec<String>)> {
        let known = self.lock();
        let mut nodes: BTreeMap<String, Vec<&Known>> = BTreeMap::new();
        for node in known.iter().filter(|known| !known.left) {
            nodes.entry(node.name.as_ref().unwrap_or(&node.address).clone()).or_default().push(node);
        }
        nodes.into_iter().map(|(name, known)| (name, newest_first(known))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is none of the members, and known to them as nobody else, has left. A node that serves no cluster yet knows none.
fn mark_who_left(known: &mut [Known], status: &Status) {
    if status.members.is_empty() {
        return;
    }
    let members = status.members.iter().map(|member| &member.name);
    let there: BTreeSet<&String> = members.chain(status.peers.iter().map(|peer| &peer.name)).collect();
    for node in known {
        node.left = node.name.as_ref().is_some_and(|name| *name != status.name && !there.contains(name));
    }
}

/// Where a node is: what was learnt before what the user gave, which may be of old.
fn newest_first(mut known: Vec<&Known>) -> Vec<String> {
    known.sort_by_key(|known| !known.learnt);
    known.into_iter().map(|known| known.address.clone()).collect()
}

/// Far more than a cluster has nodes.
const MOST_KNOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::report::{MemberStanding, MemberStatus, PeerStatus};
    use crate::paxos::{Incarnation, NodeId};

    fn status(name: &str, peers: &[(&str, &str)]) -> Status {
        let peers = peers.iter().map(|(name, address)| PeerStatus {
            name: name.to_string(),
            address: address.to_string(),
            voter: true,
            link: "up".into(),
            round_trip_us: None,
        });
        Status { name: name.into(), peers: peers.collect(), ..Status::default() }
    }

    fn given(addresses: &[&str]) -> Nodes {
        Nodes::given(&addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_others_are_learnt_from_one() {
        let nodes = given(&["a:1", "b:1", "a:1"]);
        assert_eq!(nodes.len(), 2);
        nodes.learn(NodeIndex(0), &status("n1", &[("n2", "b:1"), ("n3", "c:1"), ("n4", "")]));
        assert_eq!(nodes.names(), ["n1", "n2", "n3"]);
        assert_eq!(nodes.address(NodeIndex(2)), "c:1");
        nodes.learn(NodeIndex(0), &status("n1", &[("n2", "elsewhere:1"), ("n3", "c:2")]));
        assert_eq!(nodes.addresses_of("n2"), ["elsewhere:1", "b:1"], "what the user gave stays, behind what is newer");
        assert_eq!(nodes.addresses_of("n3"), ["c:2"], "what was learnt moves");
    }

    #[test]
    fn who_has_left_is_listed_no_more_until_it_is_a_member_again() {
        let nodes = given(&["n1:1", "n2:1"]);
        let of = |names: &[&str]| {
            let peers: Vec<(&str, String)> = names.iter().map(|name| (*name, format!("{name}:1"))).collect();
            let peers: Vec<(&str, &str)> = peers.iter().map(|(name, address)| (*name, address.as_str())).collect();
            let members = names.iter().chain(&["n1"]).map(|name| MemberStatus {
                name: name.to_string(),
                node: NodeId(1),
                incarnation: Incarnation(1),
                standing: MemberStanding::Voter,
                executed_upto: None,
            });
            Status { members: members.collect(), ..status("n1", &peers) }
        };
        nodes.learn(NodeIndex(0), &of(&["n2", "n3"]));
        assert_eq!(nodes.names(), ["n1", "n2", "n3"]);
        nodes.learn(NodeIndex(0), &of(&["n3"]));
        assert_eq!(nodes.names(), ["n1", "n3"], "although the user named the address of n2");
        assert_eq!(nodes.by_name().len(), 2);
        nodes.learn(NodeIndex(0), &status("n1", &[("n3", "n3:1")]));
        assert_eq!(nodes.names(), ["n1", "n3"], "who serves no cluster says nothing of who left");
        nodes.learn(NodeIndex(0), &of(&["n2", "n3"]));
        assert_eq!(nodes.names(), ["n1", "n2", "n3"]);
    }

    #[test]
    fn a_client_of_one_node_learns_no_others() {
        let nodes = Nodes::only(&["a:1".to_string()]);
        nodes.learn(NodeIndex(0), &status("n1", &[("n2", "b:1")]));
        assert_eq!(nodes.by_name(), [("n1".to_string(), vec!["a:1".to_string()])]);
    }
}
