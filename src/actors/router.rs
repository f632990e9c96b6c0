//! The router: the one place that knows where nodes live.
//!
//! A message for this node goes to a role's mailbox, one for another node to that peer's actor, which owns the link.
//! What arrives from a link comes through here too, already checked to be from whom it says.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;

use super::guard::Guard;
use super::outlet::{Mailboxes, Sorted};
use super::peer::{InboundLot, Outbound, Peer};
use super::registry::Registry;
use super::role::Tick;
use crate::paxos::{AcceptorMessage, BatchNumber, Envelope, GroupId, Message, NodeId};

/// Messages from this node, each with its receiver.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Outgoing(pub Vec<(NodeId, Message)>);

/// The peer of that id is reached through this actor.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Route {
    /// The peer.
    pub node: NodeId,
    /// Its link.
    pub peer: Addr<Peer>,
}

/// The router's actor.
pub struct Router {
    own: NodeId,
    mailboxes: Rc<OnceCell<Mailboxes>>,
    peers: BTreeMap<NodeId, Addr<Peer>>,
    witnessed: BTreeMap<NodeId, BatchNumber>,
    registry: Arc<Registry>,
    /// What was passed on last, and when to pass on more.
    told: BTreeMap<NodeId, BatchNumber>,
    hearsay_at_ms: u64,
    _guard: Guard,
}

impl Router {
    /// A router of the node `own` that knows no peer yet.
    pub fn new(own: NodeId, mailboxes: Rc<OnceCell<Mailboxes>>, registry: Arc<Registry>, guard: Guard) -> Router {
        Router {
            own,
            mailboxes,
            peers: BTreeMap::new(),
            witnessed: BTreeMap::new(),
            registry,
            told: BTreeMap::new(),
            hearsay_at_ms: 0,
            _guard: guard,
        }
    }

    fn mailboxes(&self) -> &Mailboxes {
        self.mailboxes.get().expect("mailboxes are filled in before the first message")
    }
}

impl Actor for Router {
    type Context = Context<Router>;
}

impl Handler<Tick> for Router {
    type Result = ();

    /// Passes on, now and then, how far the peers' journals were seen to be durable, if there is news.
    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        if tick.now_ms < self.hearsay_at_ms || self.told == self.witnessed {
            return;
        }
        self.hearsay_at_ms = tick.now_ms + HEARSAY_MS;
        self.told = self.witnessed.clone();
        let batches: Vec<_> = self.told.iter().map(|(node, batch)| (*node, *batch)).collect();
        let hearsay: Message = AcceptorMessage::Hearsay { batches }.into();
        self.handle(Outgoing(self.peers.keys().map(|peer| (*peer, hearsay.clone())).collect()), ctx);
    }
}

impl Handler<Route> for Router {
    type Result = ();

    fn handle(&mut self, Route { node, peer }: Route, _: &mut Self::Context) {
        self.peers.insert(node, peer);
    }
}

impl Handler<Outgoing> for Router {
    type Result = ();

    fn handle(&mut self, Outgoing(messages): Outgoing, _: &mut Self::Context) {
        let mut local = Sorted::default();
        let mut remote: BTreeMap<NodeId, Vec<Envelope>> = BTreeMap::new();
        for (to, message) in messages {
            if to == self.own {
                local.push(self.own, message);
            } else {
                let envelope = Envelope { group: GroupId(0), from: self.own, to, message };
                remote.entry(to).or_default().push(envelope);
            }
        }
        for (to, envelopes) in remote {
            if let Some(peer) = self.peers.get(&to) {
                peer.do_send(Outbound(envelopes));
            }
        }
        local.deliver(self.mailboxes());
    }
}

impl Handler<InboundLot> for Router {
    type Result = ();

    fn handle(&mut self, lot: InboundLot, _: &mut Self::Context) {
        let InboundLot { from, durable, envelopes } = lot;
        let mut local = Sorted::default();
        let seen = self.witnessed.entry(from).or_default();
        if durable > *seen {
            *seen = durable;
            self.registry.witness(from, durable);
            local.push(self.own, AcceptorMessage::Witnessed { peer: from, batch: durable }.into());
        }
        for envelope in envelopes.into_iter().filter(|envelope| envelope.to == self.own) {
            if let Message::Acceptor(AcceptorMessage::Hearsay { batches }) = &envelope.message {
                let others = batches.iter().filter(|(node, _)| *node != self.own);
                others.for_each(|(node, batch)| self.registry.witness(*node, *batch));
            }
            local.push(from, envelope.message);
        }
        local.deliver(self.mailboxes());
    }
}

/// How often what was seen of the peers' journals is passed on.
const HEARSAY_MS: u64 = 200;
