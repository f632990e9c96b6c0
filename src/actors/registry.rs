//! What a node knows of itself and its peers while it shakes hands: the decisions behind every link.
//!
//! Handshakes run beside the node's actors, so this is shared and locked; each lock is held for a few instructions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::client::ConnectOptions;
use crate::net::cookie::Cookie;
use crate::net::handshake::{Gatekeeper, Local};
use crate::net::identity::{ClusterId, Enrolment, Founded, Founding, NodeHello, PeerHello};
use crate::net::link::{Host, LinkLimits};
use crate::net::refusal::RefusedBecause;
use crate::paxos::hearsay::Hearsay;
use crate::paxos::{BatchNumber, Incarnation, Membership, NodeId};

/// What a node is when it starts.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// A member, as its journal says.
    Founded(Founded),
    /// A founder of a cluster to be.
    Founding(Founding),
    /// It wants to become a member of a cluster that exists.
    Joining,
    /// Its journal can't be read.
    Broken,
}

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
    /// Whose links are up, by name and folder: the start that they belong to, and how many there are.
    present: BTreeMap<(String, Incarnation), (u64, usize)>,
    /// How many clients are connected.
    guests: usize,
}

enum Standing {
    Founding(Founding),
    /// It waits for a member to tell it that it is one.
    Joining,
    Founded(Founded),
    /// The journal can't be read, so that nothing it says of peers or to peers can be relied on.
    Broken,
}

impl Registry {
    /// A node that is known by `hello`: a member, or a founder, or one that joins; or, with none of these, one that talks to
    /// clients only.
    pub fn new(cookie: Cookie, cluster: &str, hello: NodeHello, beginning: Beginning) -> Registry {
        let standing = match beginning {
            Beginning::Founded(founded) => Standing::Founded(founded),
            Beginning::Founding(founding) => Standing::Founding(founding),
            Beginning::Joining => Standing::Joining,
            Beginning::Broken => Standing::Broken,
        };
        let inner = Mutex::new(Inner { standing, hearsay: Hearsay::new(), present: BTreeMap::new(), guests: 0 });
        Registry { cookie, cluster: cluster.to_owned(), hello, inner }
    }

    /// What was founded, if every founder has been met.
    pub fn complete(&self) -> Option<Founded> {
        match &self.inner().standing {
            Standing::Founding(founding) => founding.founded(),
            Standing::Founded(_) | Standing::Joining | Standing::Broken => None,
        }
    }

    /// A member says that we are one, too; what that makes of us, unless we are one already.
    pub fn enrolled(&self, enrolment: &Enrolment) -> Option<Founded> {
        match &self.inner().standing {
            Standing::Founding(_) | Standing::Joining if !self.founds(enrolment) => {
                Some(Founded::recorded(&self.cluster, enrolment.node, enrolment.founders.clone()))
            }
            _ => None,
        }
    }

    /// Whether this node, with this very folder, is among the founders: then it comes to the same founding by itself.
    fn founds(&self, enrolment: &Enrolment) -> bool {
        enrolment.founders.members().iter().any(|founder| founder.incarnation == self.hello.incarnation)
    }

    /// The members have changed.
    pub fn renew(&self, membership: Membership) {
        if let Standing::Founded(founded) = &mut self.inner().standing {
            founded.membership = membership;
        }
    }

    /// The founding is journaled.
    pub fn found(&self, founded: Founded) {
        self.inner().standing = Standing::Founded(founded);
    }

    /// What this node says of itself, apart from its identity.
    pub fn hello(&self) -> &NodeHello {
        &self.hello
    }

    /// What this node's process says when it asks, as a client does, who lives somewhere.
    pub fn as_client(&self) -> Local {
        Local::client(self.cookie.clone(), Some(&self.cluster))
            .expect("the cluster's name was checked when the node started")
    }

    /// How to reach a member, as a client, through whom this node is to join.
    pub fn joins_through(&self, address: &str) -> ConnectOptions {
        ConnectOptions::new(vec![address.to_owned()], self.cluster.clone(), self.cookie.clone())
    }

    /// The founders not met yet.
    pub fn missing(&self) -> Vec<String> {
        match &self.inner().standing {
            Standing::Founding(founding) => founding.missing().map(str::to_owned).collect(),
            Standing::Founded(_) | Standing::Joining | Standing::Broken => Vec::new(),
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
        let key = (peer.name.clone(), peer.incarnation);
        let links = inner.present.entry(key.clone()).or_insert((peer.boot, 0));
        // Two handshakes at once may both have been let in: the newer one counts from now on.
        *links = (peer.boot, if links.0 == peer.boot { links.1 + 1 } else { 1 });
        Presence { registry: self.clone(), key, boot: peer.boot }
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
    key: (String, Incarnation),
    boot: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut inner = self.registry.inner();
        if let Some((boot, links)) = inner.present.get_mut(&self.key)
            && *boot == self.boot
        {
            *links -= 1;
            if *links == 0 {
                inner.present.remove(&self.key);
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
            Standing::Founding(_) | Standing::Joining | Standing::Broken => None,
        };
        let hello = NodeHello { identity, ..self.hello.clone() };
        Local::node(self.cookie.clone(), &self.cluster, hello).expect("checked when the node started")
    }

    fn number(&self, peer: &NodeHello) -> Option<NodeId> {
        match &self.inner().standing {
            Standing::Founded(founded) => founded.number(peer),
            Standing::Founding(_) | Standing::Joining | Standing::Broken => None,
        }
    }
}

impl Gatekeeper for Registry {
    fn admit(&self, peer: &PeerHello, enrolment: Option<&Enrolment>) -> Result<(), RefusedBecause> {
        let mut inner = self.inner();
        let Some(peer) = peer.node() else {
            let crowded = inner.guests >= MOST_GUESTS;
            return if crowded { Err(RefusedBecause::Crowded { clients: MOST_GUESTS as u64 }) } else { Ok(()) };
        };
        // A member says that the log knows us under a number: an operator's word, which no founding of ours outweighs.
        let is_enrolled = enrolment.is_some_and(|told| {
            let cluster_id = ClusterId::of(&self.cluster, &told.founders);
            !self.founds(told) && peer.identity.is_some_and(|theirs| theirs.cluster_id == cluster_id)
        });
        match &mut inner.standing {
            Standing::Founded(founded) => founded.admits(peer)?,
            Standing::Founding(_) if is_enrolled => {}
            Standing::Founding(founding) => founding.learned(peer).map(drop)?,
            Standing::Joining if peer.identity.is_some() => {}
            Standing::Joining => return Err(RefusedBecause::NotAMember { name: self.hello.name.clone() }),
            Standing::Broken => return Err(RefusedBecause::JournalDamaged { name: self.hello.name.clone() }),
        }
        match inner.present.get(&(peer.name.clone(), peer.incarnation)) {
            Some((boot, _)) if *boot != peer.boot => Err(RefusedBecause::NameTaken { name: peer.name.clone() }),
            _ => Ok(()),
        }
    }

    fn enrolment(&self, peer: &NodeHello) -> Option<Enrolment> {
        match &self.inner().standing {
            Standing::Founded(founded) => founded.enrolment(peer),
            Standing::Founding(_) | Standing::Joining | Standing::Broken => None,
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
        let registry =
            Arc::new(Registry::new(Cookie::new("secret").expect("some text"), "synod", hello, Beginning::Broken));
        let mut guests: Vec<Guest> = (0..MOST_GUESTS).map(|_| registry.guest()).collect();
        let crowded = RefusedBecause::Crowded { clients: MOST_GUESTS as u64 };
        assert_eq!(registry.admit(&PeerHello::Client, None), Err(crowded));
        guests.pop();
        assert_eq!(registry.admit(&PeerHello::Client, None), Ok(()), "when one goes, another may come");
    }
}
