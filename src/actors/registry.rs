//! What a node knows of itself and its peers while it shakes hands: the decisions behind every link.
//!
//! Handshakes run beside the node's actors, so this is shared and locked; each lock is held for a few instructions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::net::cookie::Cookie;
use crate::net::handshake::{Gatekeeper, Local};
use crate::net::identity::{Founded, Founding, NodeHello, PeerHello};
use crate::net::link::Host;
use crate::net::refusal::RefusedBecause;
use crate::paxos::{BatchNumber, NodeId};

/// Shared by a node's links.
pub struct Registry {
    cookie: Cookie,
    cluster: String,
    /// What never changes of what this node says of itself; the founding adds its identity.
    hello: NodeHello,
    inner: Mutex<Inner>,
}

struct Inner {
    standing: Standing,
    witnessed: BTreeMap<NodeId, Witnessed>,
    /// Whose links are up, by name: the start that they belong to, and how many there are.
    present: BTreeMap<String, (u64, usize)>,
}

enum Standing {
    Founding(Founding),
    Founded(Founded),
    /// The journal can't be read, so that nothing it says of peers or to peers can be relied on.
    Broken,
}

impl Registry {
    /// A node that is known by `hello`. It is founding unless `founded`; with neither, it talks to clients only.
    pub fn new(
        cookie: Cookie,
        cluster: &str,
        hello: NodeHello,
        founding: Option<Founding>,
        founded: Option<Founded>,
    ) -> Registry {
        let standing = match (founded, founding) {
            (Some(founded), _) => Standing::Founded(founded),
            (None, Some(founding)) => Standing::Founding(founding),
            (None, None) => Standing::Broken,
        };
        let inner = Mutex::new(Inner { standing, witnessed: BTreeMap::new(), present: BTreeMap::new() });
        Registry { cookie, cluster: cluster.to_owned(), hello, inner }
    }

    /// What was founded, if every founder has been met.
    pub fn complete(&self) -> Option<Founded> {
        match &self.inner().standing {
            Standing::Founding(founding) => founding.founded(),
            Standing::Founded(_) | Standing::Broken => None,
        }
    }

    /// The founding is journaled.
    pub fn found(&self, founded: Founded) {
        self.inner().standing = Standing::Founded(founded);
    }

    /// The founders not met yet.
    pub fn missing(&self) -> Vec<String> {
        match &self.inner().standing {
            Standing::Founding(founding) => founding.missing().map(str::to_owned).collect(),
            Standing::Founded(_) | Standing::Broken => Vec::new(),
        }
    }

    /// A peer told, itself or through another one, how far its journal is durable in this start.
    pub fn witness(&self, node: NodeId, boot: u64, batch: BatchNumber) {
        self.inner().witnessed.entry(node).or_default().note(boot, batch);
    }

    /// Our own journal says what we saw before our start.
    pub fn remember(&self, node: NodeId, batch: BatchNumber) {
        let mut inner = self.inner();
        let witnessed = inner.witnessed.entry(node).or_default();
        witnessed.earlier = witnessed.earlier.max(batch);
    }

    /// A link from this peer is up for as long as the answer lives. Meanwhile another process that comes under its name,
    /// and be it with a copy of its folder, is refused: the two would vote as one.
    pub fn present(self: &Arc<Registry>, peer: &NodeHello) -> Presence {
        let mut inner = self.inner();
        let links = inner.present.entry(peer.name.clone()).or_insert((peer.boot, 0));
        // Two handshakes at once may both have been let in: the newer one counts from now on.
        *links = (peer.boot, if links.0 == peer.boot { links.1 + 1 } else { 1 });
        Presence { registry: self.clone(), name: peer.name.clone(), boot: peer.boot }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

/// What was seen of one peer's journal, start by start.
///
/// A node that comes back asks what was seen of it *before*. What others passed on of the very start that asks must not
/// count, or an honest node looks as if it had lost what it wrote only since:
///
/// ```text
/// n1 is suspended      n3 restarts at batch 15, n2 and n3 go on: n3 is at batch 30
/// n1 goes on, hears from n2 of batch 30, and only then meets n3, whose journal ended at 15
/// ```
#[derive(Debug, Default)]
struct Witnessed {
    /// In starts that are not told apart any more.
    earlier: BatchNumber,
    /// In each of the latest starts, the one heard of last at the end.
    starts: VecDeque<(u64, BatchNumber)>,
}

impl Witnessed {
    fn note(&mut self, boot: u64, batch: BatchNumber) {
        let known = self.starts.iter().position(|(known, _)| *known == boot);
        let held = known.and_then(|index| self.starts.remove(index)).map_or(BatchNumber(0), |(_, held)| held);
        self.starts.push_back((boot, held.max(batch)));
        if self.starts.len() > MOST_STARTS
            && let Some((_, batch)) = self.starts.pop_front()
        {
            self.earlier = self.earlier.max(batch);
        }
    }

    /// The highest batch of any start but this one.
    fn before(&self, boot: u64) -> BatchNumber {
        let others = self.starts.iter().filter(|(other, _)| *other != boot);
        others.fold(self.earlier, |highest, (_, batch)| highest.max(*batch))
    }
}

/// Says that a peer's link is up.
pub struct Presence {
    registry: Arc<Registry>,
    name: String,
    boot: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut inner = self.registry.inner();
        if let Some((boot, links)) = inner.present.get_mut(&self.name)
            && *boot == self.boot
        {
            *links -= 1;
            if *links == 0 {
                inner.present.remove(&self.name);
            }
        }
    }
}

impl Host for Registry {
    fn local(&self) -> Local {
        let identity = match &self.inner().standing {
            Standing::Founded(founded) => Some(founded.identity()),
            Standing::Founding(_) | Standing::Broken => None,
        };
        let hello = NodeHello { identity, ..self.hello.clone() };
        Local::node(self.cookie.clone(), &self.cluster, hello).expect("checked when the node started")
    }

    fn number(&self, peer: &NodeHello) -> Option<NodeId> {
        match &self.inner().standing {
            Standing::Founded(founded) => founded.number(peer),
            Standing::Founding(_) | Standing::Broken => None,
        }
    }
}

impl Gatekeeper for Registry {
    fn admit(&self, peer: &PeerHello) -> Result<(), RefusedBecause> {
        let Some(peer) = peer.node() else { return Ok(()) };
        let mut inner = self.inner();
        match &mut inner.standing {
            Standing::Founded(founded) => founded.admits(peer)?,
            Standing::Founding(founding) => founding.learned(peer).map(drop)?,
            Standing::Broken => return Err(RefusedBecause::JournalDamaged { name: self.hello.name.clone() }),
        }
        match inner.present.get(&peer.name) {
            Some((boot, _)) if *boot != peer.boot => Err(RefusedBecause::NameTaken { name: peer.name.clone() }),
            _ => Ok(()),
        }
    }

    fn witnessed(&self, peer: &NodeHello) -> BatchNumber {
        let number = self.number(peer);
        number.and_then(|node| self.inner().witnessed.get(&node).map(|seen| seen.before(peer.boot))).unwrap_or_default()
    }
}

/// How many starts of one peer are told apart: more than can have been heard of since it was met last.
const MOST_STARTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_a_node_that_comes_back_hears_what_was_seen_of_its_earlier_starts_only() {
        let mut witnessed = Witnessed { earlier: BatchNumber(12), ..Witnessed::default() };
        assert_eq!(witnessed.before(1), BatchNumber(12), "what our journal says is from before, whoever asks");
        witnessed.note(1, BatchNumber(15));
        witnessed.note(1, BatchNumber(14));
        assert_eq!(witnessed.before(1), BatchNumber(12));
        assert_eq!(witnessed.before(2), BatchNumber(15));
        // Others pass on what the second start wrote before it has met us: no reason to doubt it.
        witnessed.note(2, BatchNumber(30));
        assert_eq!(witnessed.before(2), BatchNumber(15));
        // What they pass on late of the first one counts for the second, and nothing is hidden by the higher number.
        witnessed.note(1, BatchNumber(16));
        assert_eq!(witnessed.before(2), BatchNumber(16));
        assert_eq!(witnessed.before(3), BatchNumber(30));
    }

    #[test]
    fn starts_that_are_not_told_apart_any_more_count_for_every_later_one() {
        let mut witnessed = Witnessed::default();
        (1..100).for_each(|boot| witnessed.note(boot, BatchNumber(boot)));
        assert!(witnessed.starts.len() <= MOST_STARTS);
        assert_eq!(witnessed.before(99), BatchNumber(98));
        assert_eq!(witnessed.before(100), BatchNumber(99));
    }
}
