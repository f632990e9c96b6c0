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
    /// Of the latest start that a peer was heard in: which one, and the highest batch.
    witnessed: BTreeMap<NodeId, (u64, BatchNumber)>,
    registry: Arc<Registry>,
    /// What was passed on last, and when to pass on more.
    told: BTreeMap<NodeId, (u64, BatchNumber)>,
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
        let batches: Vec<_> = self.told.iter().map(|(node, (boot, batch))| (*node, *boot, *batch)).collect();
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
        let InboundLot { from, boot, durable, envelopes } = lot;
        let mut local = Sorted::default();
        let seen = self.witnessed.entry(from).or_default();
        if seen.0 != boot {
            *seen = (boot, BatchNumber(0));
        }
        if durable > seen.1 {
            seen.1 = durable;
            self.registry.witness(from, boot, durable);
            local.push(self.own, AcceptorMessage::Witnessed { peer: from, batch: durable }.into());
        }
        for mut envelope in envelopes.into_iter().filter(|envelope| envelope.to == self.own) {
            if let Message::Acceptor(AcceptorMessage::Hearsay { batches }) = &mut envelope.message {
                batches.retain(|(node, _, _)| *node != self.own);
                batches.iter().for_each(|(node, boot, batch)| self.registry.witness(*node, *boot, *batch));
                // The journal does not tell starts apart. So it gets only what belongs to one that we have heard from
                // ourselves: that one has met us, and takes no later number for one from before itself.
                batches.retain(|(node, boot, _)| self.witnessed.get(node).is_some_and(|(heard, _)| heard == boot));
            }
            local.push(from, envelope.message);
        }
        local.deliver(self.mailboxes());
    }
}

/// How often what was seen of the peers' journals is passed on.
const HEARSAY_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::actors::role::Lot;
    use crate::net::cookie::Cookie;
    use crate::net::identity::NodeHello;
    use crate::paxos::Incarnation;

    /// Hears what the acceptor is told.
    struct Ear(UnboundedSender<Vec<(NodeId, AcceptorMessage)>>);

    impl Actor for Ear {
        type Context = Context<Ear>;
    }

    impl Handler<Lot<AcceptorMessage>> for Ear {
        type Result = ();

        fn handle(&mut self, Lot(messages): Lot<AcceptorMessage>, _: &mut Context<Ear>) {
            self.0.send(messages).expect("the test listens");
        }
    }

    /// Has no ear for the others.
    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Deaf>;
    }

    impl<T: 'static> Handler<Lot<T>> for Deaf {
        type Result = ();

        fn handle(&mut self, _: Lot<T>, _: &mut Context<Deaf>) {}
    }

    #[actix::test]
    async fn rule_4_what_others_pass_on_is_journaled_only_of_a_start_that_was_heard_from() {
        let (sender, mut heard) = unbounded_channel();
        let deaf = Deaf.start();
        let mailboxes = Mailboxes {
            proposer: deaf.clone().recipient(),
            acceptor: Ear(sender).start().recipient(),
            learner: deaf.clone().recipient(),
            executor: deaf.recipient(),
        };
        let hello = NodeHello {
            boot: 1,
            name: "n1".into(),
            incarnation: Incarnation(1),
            address: "127.0.0.1:1".into(),
            founding: vec![],
            identity: None,
        };
        let registry = Registry::new(Cookie::new("secret").expect("some text"), "synod", hello, None, None);
        let own = NodeId(1);
        let guard = Guard::new("a test", &unbounded_channel().0);
        let router = Router::new(own, Rc::new(OnceCell::from(mailboxes)), Arc::new(registry), guard).start();
        let mut hears = async |from: u32, durable: u64, passed_on: Vec<(u32, u64, u64)>| {
            let batch = |(node, boot, batch)| (NodeId(node), boot, BatchNumber(batch));
            let message = AcceptorMessage::Hearsay { batches: passed_on.into_iter().map(batch).collect() }.into();
            let envelope = Envelope { group: GroupId(0), from: NodeId(from), to: own, message };
            let (from, boot, durable) = (NodeId(from), u64::from(from) * 10, BatchNumber(durable));
            router.do_send(InboundLot { from, boot, durable, envelopes: vec![envelope] });
            heard.recv().await.expect("the acceptor is told")
        };
        let witnessed =
            |peer: u32, batch: u64| (own, AcceptorMessage::Witnessed { peer: NodeId(peer), batch: BatchNumber(batch) });
        let hearsay =
            |from: u32, batches: Vec<(NodeId, u64, BatchNumber)>| (NodeId(from), AcceptorMessage::Hearsay { batches });
        // n3's start 30 has not been heard from: it has not met us either, and may ask us only later what was seen of it.
        assert_eq!(hears(2, 4, vec![(3, 30, 9), (1, 1, 7)]).await, [witnessed(2, 4), hearsay(2, vec![])]);
        assert_eq!(hears(3, 8, vec![]).await, [witnessed(3, 8), hearsay(3, vec![])]);
        let of_this_start = vec![(NodeId(3), 30, BatchNumber(10))];
        assert_eq!(hears(2, 4, vec![(3, 30, 10), (3, 31, 12)]).await, [hearsay(2, of_this_start)]);
    }
}
