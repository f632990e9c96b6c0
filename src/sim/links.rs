//! Which node can reach which: cuts, clogs, and the links that handshakes have made.

use std::collections::{BTreeMap, BTreeSet};

use super::faults::FaultKind;
use crate::paxos::dice::Dice;

/// The links between nodes, by position.
#[derive(Debug, Default)]
pub struct Links {
    /// From, to: nothing arrives. Each cut belongs to the fault that made it.
    cuts: BTreeMap<usize, BTreeSet<(usize, usize)>>,
    /// From, to: nothing arrives before then, in microseconds.
    clogged: BTreeMap<(usize, usize), u64>,
    /// Pairs (lower, higher) whose handshake succeeded since both started.
    up: BTreeSet<(usize, usize)>,
    /// Client, node: nothing passes between them.
    apart: BTreeSet<(usize, usize)>,
    /// The same, as long as a fault lasts.
    parted: BTreeMap<usize, BTreeSet<(usize, usize)>>,
    /// From, to: when the last of what is on its way arrives, in microseconds.
    last_us: BTreeMap<(usize, usize), u64>,
}

impl Links {
    /// A fault cuts these.
    pub fn cut(&mut self, fault: usize, cuts: BTreeSet<(usize, usize)>) {
        self.cuts.insert(fault, cuts);
    }

    /// A fault comes between these clients and nodes.
    pub fn part(&mut self, fault: usize, apart: BTreeSet<(usize, usize)>) {
        self.parted.insert(fault, apart);
    }

    /// The fault ends.
    pub fn mend(&mut self, fault: usize) {
        self.cuts.remove(&fault);
        self.parted.remove(&fault);
    }

    /// Whether the fault cuts something now.
    pub fn has(&self, fault: usize) -> bool {
        self.cuts.contains_key(&fault)
    }

    /// Everything that is cut or clogged is so no more.
    pub fn mend_all(&mut self) {
        self.cuts.clear();
        self.clogged.clear();
        self.apart.clear();
        self.parted.clear();
    }

    /// Whether something that one says can arrive at the other.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.cuts.values().any(|cuts| cuts.contains(&(from, to)))
    }

    /// From now on nothing passes between these clients and nodes, and only between these.
    pub fn keep_apart(&mut self, apart: BTreeSet<(usize, usize)>) {
        self.apart = apart;
    }

    /// Whether a client reaches a node.
    pub fn reaches(&self, client: usize, node: usize) -> bool {
        let apart = |apart: &BTreeSet<(usize, usize)>| apart.contains(&(client, node));
        !apart(&self.apart) && !self.parted.values().any(apart)
    }

    /// Nothing arrives before then.
    pub fn clog(&mut self, from: usize, to: usize, until_us: u64) {
        self.clogged.insert((from, to), until_us);
    }

    /// When something that would arrive now arrives.
    pub fn arrival_us(&self, from: usize, to: usize, at_us: u64) -> u64 {
        self.clogged.get(&(from, to)).map_or(at_us, |until_us| at_us.max(*until_us))
    }

    /// Something will arrive then. Whether it overtakes what is on its way already.
    pub fn overtakes(&mut self, from: usize, to: usize, at_us: u64) -> bool {
        let last_us = self.last_us.entry((from, to)).or_default();
        let overtakes = at_us < *last_us;
        *last_us = at_us.max(*last_us);
        overtakes
    }

    /// Whether a link is up.
    pub fn is_up(&self, one: usize, other: usize) -> bool {
        self.up.contains(&(one.min(other), one.max(other)))
    }

    /// A handshake succeeded.
    pub fn raise(&mut self, one: usize, other: usize) {
        self.up.insert((one.min(other), one.max(other)));
    }

    /// Both ends know that a link is gone.
    pub fn drop(&mut self, one: usize, other: usize) {
        self.up.remove(&(one.min(other), one.max(other)));
    }

    /// A node has stopped.
    pub fn drop_all_of(&mut self, node: usize) {
        self.up.retain(|(one, other)| *one != node && *other != node);
    }

    /// Links that are up although nothing passes either way: both ends will notice.
    pub fn dead(&self) -> Vec<(usize, usize)> {
        let dead = |pair: &&(usize, usize)| !self.is_open(pair.0, pair.1) && !self.is_open(pair.1, pair.0);
        self.up.iter().filter(dead).copied().collect()
    }
}

/// What a partition cuts, for `nodes` nodes, with one of them in its middle and `leader` leading.
pub fn cuts_of(kind: FaultKind, nodes: usize, node: usize, leader: usize, chance: u64) -> BTreeSet<(usize, usize)> {
    let mut dice = Dice::new(chance);
    let pairs =
        || (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to);
    let both = |apart: &dyn Fn(usize, usize) -> bool| pairs().filter(|(from, to)| apart(*from, *to)).collect();
    let order: Vec<usize> = (0..nodes).map(|step| (node + step) % nodes).collect();
    let position = |wanted: usize| order.iter().position(|node| *node == wanted).unwrap_or(0);
    match kind {
        FaultKind::Halves => {
            let side: Vec<bool> = (0..nodes).map(|_| dice.below(2) == 0).collect();
            both(&|from, to| side[from] != side[to])
        }
        FaultKind::Isolated => both(&|from, to| from == node || to == node),
        FaultKind::OneWay => {
            let deaf = dice.below(nodes as u64) as usize;
            let all = dice.below(2) == 0;
            pairs().filter(|(from, to)| *from == node && (all || *to == deaf)).collect()
        }
        FaultKind::Bridge => {
            let half = nodes.div_ceil(2);
            both(&|from, to| from != node && to != node && (position(from) < half) != (position(to) < half))
        }
        FaultKind::Ring => {
            // Each hears those up to a quarter of the ring away on either side: a majority, and no two the same.
            let reach = (nodes / 2).div_ceil(2);
            let apart = |from: usize, to: usize| {
                let distance = position(from).abs_diff(position(to));
                distance.min(nodes - distance) > reach
            };
            both(&apart)
        }
        FaultKind::QuorumLoss => {
            let hub = if node == leader { (node + 1) % nodes } else { node };
            both(&|from, to| from != hub && to != hub)
        }
        FaultKind::Chained => {
            let middle = if node == leader { (node + 1) % nodes } else { node };
            both(&|from, to| from != middle && to != middle && (from == leader || to == leader))
        }
        FaultKind::Flapping => {
            let other = (node + 1) % nodes;
            both(&|from, to| (from, to) == (node, other) || (from, to) == (other, node))
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard_by(cuts: &BTreeSet<(usize, usize)>, nodes: usize, node: usize) -> Vec<usize> {
        (0..nodes).filter(|from| !cuts.contains(&(*from, node))).collect()
    }

    #[test]
    fn partitions_cut_what_their_names_say() {
        let ring = cuts_of(FaultKind::Ring, 5, 0, 0, 1);
        for node in 0..5 {
            assert_eq!(heard_by(&ring, 5, node).len(), 3, "a majority");
        }
        assert_eq!(heard_by(&ring, 5, 0), [0, 1, 4]);
        let star = cuts_of(FaultKind::QuorumLoss, 5, 2, 0, 1);
        assert_eq!(heard_by(&star, 5, 2).len(), 5);
        assert_eq!(heard_by(&star, 5, 0), [0, 2], "the leader hears only the hub");
        let chain = cuts_of(FaultKind::Chained, 3, 1, 0, 1);
        assert_eq!(heard_by(&chain, 3, 0), [0, 1]);
        assert_eq!(heard_by(&chain, 3, 2), [1, 2]);
        let bridge = cuts_of(FaultKind::Bridge, 5, 0, 0, 1);
        assert_eq!(heard_by(&bridge, 5, 0).len(), 5);
        assert_eq!(heard_by(&bridge, 5, 1), [0, 1, 2]);
        let away = cuts_of(FaultKind::Isolated, 3, 1, 0, 1);
        assert_eq!(heard_by(&away, 3, 1), [1]);
        let silent = cuts_of(FaultKind::OneWay, 3, 1, 0, 4);
        assert!(silent.iter().all(|(from, _)| *from == 1) && !silent.is_empty());
    }
}
