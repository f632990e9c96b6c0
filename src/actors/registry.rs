//! What a node knows of itself and its peers while it shakes hands: the decisions behind every link.
//!
//! Handshakes run beside the node's actors, so this is shared and locked; each lock is held for a few instructions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::net::cookie::Cookie;
use crate::net::handshake::{Gatekeeper, Local};
use crate::net::identity::{Founded, Founding, NodeHello, PeerHello};
use crate::net::link::{Host, LinkLimits};
use crate::net::refusal::RefusedBecause;
use crate::paxos::hearsay::Hearsay;
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
    hearsay: Hearsay,
    /// Whose links are up, by name: the start that they belong to, and how many there are.
    present: BTreeMap<String, (u64, usize)>,
    /// How many clients are connected.
    guests: usize,
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
        let inner = Mutex::new(Inner { standing, hearsay: Hearsay::new(), present: BTreeMap::new(), guests: 0 });
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

    /// What was seen of the peers' journals.
    pub fn hearsay(&self) -> MappedHearsay<'_> {
        MappedHearsay(self.inner())
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

    /// A client is connected for as long as the answer lives.
    pub fn guest(self: &Arc<Registry>) -> Guest {
        self.inner().guests += 1;
        Guest(self.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

/// What was seen of the peers' journals, while nobody else looks.
pub struct MappedHearsay<'a>(MutexGuard<'a, Inner>);

impl std::ops::Deref for MappedHearsay<'_> {
    type Target = Hearsay;
    fn deref(&self) -> &Hearsay {
        &self.0.hearsay
    }
}

impl std::ops::DerefMut for MappedHearsay<'_> {
    fn deref_mut(&mut self) -> &mut Hearsay {
        &mut self.0.hearsay
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

/// Says that a client is connected.
pub struct Guest(Arc<Registry>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.inner().guests -= 1;
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
        let mut inner = self.inner();
        let Some(peer) = peer.node() else {
            let crowded = inner.guests >= MOST_GUESTS;
            return if crowded { Err(RefusedBecause::Crowded { clients: MOST_GUESTS as u64 }) } else { Ok(()) };
        };
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
        number.map(|node| self.hearsay().before(node, peer.boot)).unwrap_or_default()
    }
}

/// How many clients a node takes. Together with handshakes under way well below the 1024 files that many systems let a
/// process have open: clients must not keep a node from opening its journal.
const MOST_GUESTS: usize = 512;

const _: () = assert!(MOST_GUESTS + LinkLimits::DEFAULT.strangers < 1024 - 128);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Incarnation;

    #[test]
    fn a_node_takes_so_many_clients_and_tells_the_next_why_not() {
        let hello = NodeHello {
            boot: 1,
            name: "n1".into(),
            incarnation: Incarnation(1),
            address: "127.0.0.1:1".into(),
            founding: vec![],
            identity: None,
        };
        let registry = Arc::new(Registry::new(Cookie::new("secret").expect("some text"), "synod", hello, None, None));
        let mut guests: Vec<Guest> = (0..MOST_GUESTS).map(|_| registry.guest()).collect();
        let crowded = RefusedBecause::Crowded { clients: MOST_GUESTS as u64 };
        assert_eq!(registry.admit(&PeerHello::Client), Err(crowded));
        guests.pop();
        assert_eq!(registry.admit(&PeerHello::Client), Ok(()), "when one goes, another may come");
    }
}
