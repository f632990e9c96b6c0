//! The router: the one place that knows where nodes live.
//!
//! A message for this node goes to a role's mailbox, one for another node to that peer's actor, which owns the link.
//! What arrives from a link comes through here too, already checked to be from whom it says.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::prelude::*;
use tokio::time::Instant;

use super::guard::Guard;
use super::outlet::Mailboxes;
use super::peer::{InboundLot, Outbound, Peer};
use super::registry::Registry;
use super::role::Tick;
use super::round_trips::RoundTrips;
use crate::paxos::dispatch::Mail;
use crate::paxos::{AcceptorMessage, Envelope, GroupId, Message, NodeId, ProposerMessage};

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
    registry: Arc<Registry>,
    round_trips: Rc<RefCell<RoundTrips>>,
    _guard: Guard,
}

impl Router {
    /// A router of the node `own` that knows no peer yet.
    pub fn new(own: NodeId, mailboxes: Rc<OnceCell<Mailboxes>>, registry: Arc<Registry>, guard: Guard) -> Router {
        Router { own, mailboxes, peers: BTreeMap::new(), registry, round_trips: Rc::default(), _guard: guard }
    }

    /// What it measures on the way, to be read by whoever runs on the same thread.
    pub fn round_trips(&self) -> Rc<RefCell<RoundTrips>> {
        self.round_trips.clone()
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
        let hearsay = self.registry.hearsay().on_tick(tick.now_ms);
        if let Some(hearsay) = hearsay {
            let hearsay: Message = hearsay.into();
            self.handle(Outgoing(self.peers.keys().map(|peer| (*peer, hearsay.clone())).collect()), ctx);
        }
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
        let mut local = Mail::default();
        let mut remote: BTreeMap<NodeId, Vec<Envelope>> = BTreeMap::new();
        for (to, message) in messages {
            if to == self.own {
                local.push(self.own, message);
            } else {
                if let Message::Acceptor(AcceptorMessage::Heartbeat { ballot, round, .. }) = &message {
                    self.round_trips.borrow_mut().sent(to, *ballot, *round, Instant::now());
                }
                let envelope = Envelope { group: GroupId(0), from: self.own, to, message };
                remote.entry(to).or_default().push(envelope);
            }
        }
        for (to, envelopes) in remote {
            if let Some(peer) = self.peers.get(&to) {
                peer.do_send(Outbound(envelopes));
            }
        }
        self.mailboxes().deliver(local);
    }
}

impl Handler<InboundLot> for Router {
    type Result = ResponseFuture<()>;

    /// The answer comes once the roles have handled the lot: the link reads on only then.
    fn handle(&mut self, lot: InboundLot, _: &mut Self::Context) -> ResponseFuture<()> {
        let InboundLot { from, boot, durable, envelopes } = lot;
        let mut local = Mail::default();
        if let Some(witnessed) = self.registry.hearsay().hear(from, boot, durable) {
            local.push(self.own, witnessed.into());
        }
        for mut envelope in envelopes.into_iter().filter(|envelope| envelope.to == self.own) {
            match &mut envelope.message {
                Message::Acceptor(AcceptorMessage::Hearsay { batches }) => {
                    self.registry.hearsay().heed(self.own, batches);
                }
                Message::Proposer(ProposerMessage::HeartbeatAck { ballot, round, .. }) => {
                    self.round_trips.borrow_mut().answered(from, *ballot, *round, Instant::now());
                }
                _ => {}
            }
            local.push(from, envelope.message);
        }
        Box::pin(self.mailboxes().clone().hand_over(local))
    }
}
