//! What a node knows of itself and its peers while it shakes hands: the decisions behind every link.
//!
//! Handshakes run beside the node's actors, so this is shared and locked; each lock is held for a few instructions.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::net::cookie::Cookie;
use crate::net::handshake::{Admission, Local};
use crate::net::identity::{Founded, Founding, NodeHello, PeerHello};
use crate::net::link::Host;
use crate::net::refusal::RefusedBecause;
use crate::paxos::{BatchNumber, Incarnation, NodeId};

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
    witnessed: BTreeMap<NodeId, BatchNumber>,
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
        witnessed: BTreeMap<NodeId, BatchNumber>,
    ) -> Registry {
        let standing = match (founded, founding) {
            (Some(founded), _) => Standing::Founded(founded),
            (None, Some(founding)) => Standing::Founding(founding),
            (None, None) => Standing::Broken,
        };
        let inner = Mutex::new(Inner { standing, witnessed });
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

    /// A peer told how far its journal is durable.
    pub fn witness(&self, node: NodeId, batch: BatchNumber) {
        let mut inner = self.inner();
        let seen = inner.witnessed.entry(node).or_default();
        *seen = (*seen).max(batch);
    }

    /// This node's own folder.
    pub fn incarnation(&self) -> Incarnation {
        self.hello.incarnation
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
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

impl Admission for Registry {
    fn admit(&self, peer: &PeerHello) -> Result<(), RefusedBecause> {
        let Some(peer) = peer.node() else { return Ok(()) };
        match &mut self.inner().standing {
            Standing::Founded(founded) => founded.admits(peer),
            Standing::Founding(founding) => founding.learned(peer).map(drop),
            Standing::Broken => Err(RefusedBecause::JournalDamaged { name: self.hello.name.clone() }),
        }
    }

    fn witnessed(&self, peer: &NodeHello) -> BatchNumber {
        let number = self.number(peer);
        number.and_then(|node| self.inner().witnessed.get(&node).copied()).unwrap_or_default()
    }
}
