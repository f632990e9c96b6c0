//! Configurations: a fixed set of nodes that may vote.
//!
//! Which configuration decides which slot is in [`super::membership`] ("Paxos Made Simple" section 2 takes a fixed set of
//! acceptors; section 3 lets the state machine change it).

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;

/// A random number that a data folder draws when it is made. A wiped disk has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u128);

impl std::fmt::Display for Incarnation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its number in ballots and quorums.
    pub id: NodeId,
    /// The name people call it by.
    pub name: String,
    /// The data folder that this id belongs to.
    pub incarnation: Incarnation,
}

/// The voters of some range of slots, sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    members: Vec<Member>,
}

impl Configuration {
    /// A configuration of these members. Two members with one id or one name are refused with a sentence.
    pub fn new(mut members: Vec<Member>) -> Result<Configuration, String> {
        members.sort_by_key(|member| member.id);
        for pair in members.windows(2) {
            if pair[0].id == pair[1].id {
                return Err(format!("two members have the id {}", pair[0].id));
            }
        }
        let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two members are named `{}`", pair[0]));
        }
        if members.is_empty() { Err("a configuration needs a member".into()) } else { Ok(Configuration { members }) }
    }

    /// Members 1 to `size`, named n1, n2, …: for tests, examples and simulations.
    pub fn numbered(size: u32) -> Configuration {
        let member = |id| Member { id: NodeId(id), name: format!("n{id}"), incarnation: Incarnation(u128::from(id)) };
        Configuration { members: (1..=size).map(member).collect() }
    }

    /// The founders of a cluster: ids follow the order of the names, so that every founder computes the same ones.
    pub fn founded_by(mut founders: Vec<(String, Incarnation)>) -> Result<Configuration, String> {
        founders.sort();
        let member = |((name, incarnation), id)| Member { id: NodeId(id), name, incarnation };
        Configuration::new(founders.into_iter().zip(1..).map(member).collect())
    }

    /// How many votes make a quorum: a strict majority.
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Whether `node` may vote.
    pub fn contains(&self, node: NodeId) -> bool {
        self.members.binary_search_by_key(&node, |member| member.id).is_ok()
    }

    /// The members, sorted by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The ids of all members, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + Clone + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// The member of that id.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == node)
    }

    /// The member of that name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// The most members of a cluster, those without a vote included: two lists of them fit in a handshake's refusal.
pub const MOST_MEMBERS: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn founders(names: &[(&str, u128)]) -> Vec<(String, Incarnation)> {
        names.iter().map(|(name, incarnation)| ((*name).to_owned(), Incarnation(*incarnation))).collect()
    }

    #[test]
    fn every_founder_computes_the_same_ids_in_whatever_order_it_met_the_others() {
        let one = Configuration::founded_by(founders(&[("b", 20), ("a", 10), ("c", 30)])).expect("three names");
        let other = Configuration::founded_by(founders(&[("c", 30), ("b", 20), ("a", 10)])).expect("three names");
        assert_eq!(one, other);
        let members: Vec<_> = one.members().iter().map(|m| (m.id.0, m.name.as_str(), m.incarnation.0)).collect();
        assert_eq!(members, [(1, "a", 10), (2, "b", 20), (3, "c", 30)]);
        assert_eq!(one.nodes().collect::<Vec<_>>(), [NodeId(1), NodeId(2), NodeId(3)]);
    }

    #[test]
    fn a_member_is_found_by_its_id_and_by_its_name() {
        let three = Configuration::numbered(3);
        assert_eq!(three.member(NodeId(2)).map(|member| member.name.as_str()), Some("n2"));
        assert_eq!(three.named("n3").map(|member| member.id), Some(NodeId(3)));
        assert_eq!((three.member(NodeId(4)), three.named("n4")), (None, None));
        assert!(three.contains(NodeId(3)) && !three.contains(NodeId(4)));
    }

    #[test]
    fn two_members_of_one_id_or_one_name_and_no_member_at_all_are_refused() {
        let member = |id, name: &str| Member { id: NodeId(id), name: name.into(), incarnation: Incarnation(1) };
        let refused = |members| Configuration::new(members).expect_err("no configuration");
        assert_eq!(refused(vec![member(1, "a"), member(2, "b"), member(1, "c")]), "two members have the id 1");
        assert_eq!(refused(vec![member(1, "a"), member(2, "b"), member(3, "a")]), "two members are named `a`");
        assert_eq!(refused(vec![]), "a configuration needs a member");
    }

    #[test]
    fn an_incarnation_is_written_as_32_hexadecimal_digits() {
        assert_eq!(Incarnation(0xab).to_string(), format!("{:0>32}", "ab"));
    }
}
