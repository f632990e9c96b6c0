//! The reading end of a link between nodes.

use std::time::Duration;

use actix::prelude::*;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};

use crate::net::identity::NodeHello;
use crate::net::link::{Connection, LinkContext};
use crate::net::wire::{KnownAddress, PeerFrame};
use crate::paxos::{BatchNumber, Envelope, NodeId};

/// Messages from a remote node, one lot, checked: the remote node is their sender, and they are such as may travel.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub struct InboundLot {
    /// The sender.
    pub from: NodeId,
    /// Which start of the sender this is.
    pub boot: u64,
    /// The highest batch that is durable in the sender's journal.
    pub durable: BatchNumber,
    /// The messages, in order; none if the sender only gave a sign of life.
    pub envelopes: Vec<Envelope>,
}

/// Addresses from a remote node.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub struct InboundAddresses {
    /// Who told them.
    pub teller: String,
    /// What it told.
    pub addresses: Vec<KnownAddress>,
}

/// Reads a connection that a remote node dialled until it ends, and says why it did. The next lot is read once the
/// one before has been handled: a busy node slows its peers down. Drop the future to hang up.
pub async fn receive(
    connection: Connection,
    context: LinkContext,
    lots: Recipient<InboundLot>,
    addresses: Recipient<InboundAddresses>,
) -> String {
    let Some(peer) = connection.established.peer.node().cloned() else {
        return "a client is not a node".into();
    };
    let (mut frames, signs) = connection.split::<PeerFrame>();
    let limits = context.limits;
    let mut sender = Sender { peer, number: None };
    let mut sign_at = Instant::now();
    let mut owes_sign = false;
    let mut patience_ends = sign_at + limits.patience;
    let mut doubts = false;
    loop {
        // In this order: what is there is heard before the link is judged.
        let frame = tokio::select! {
            biased;
            () = sleep_until(sign_at), if owes_sign => {
                // One byte; if there is no room for it, enough of them are on their way.
                match signs.try_write(&[0]) {
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return format!("broke: {error}"),
                    _ => {}
                }
                owes_sign = false;
                sign_at = Instant::now() + limits.sign_every;
                continue;
            }
            frame = frames.next() => frame,
            () = sleep_until(patience_ends) => {
                if doubts {
                    return format!("no sign of life for {:?}", limits.patience);
                }
                // Perhaps it was this process that was suspended: then the clock is right at once, but the system tells
                // a moment later what came meanwhile, and that may be what a node lost that comes back.
                doubts = true;
                patience_ends = Instant::now() + SECOND_LOOK;
                continue;
            }
        };
        let handed_on = match frame {
            None => return "closed".into(),
            Some(Err(error)) => return format!("broke: {error}"),
            Some(Ok(PeerFrame::Addresses(told))) => {
                let teller = sender.peer.name.clone();
                addresses.send(InboundAddresses { teller, addresses: told }).await
            }
            Some(Ok(PeerFrame::Lot { durable, envelopes })) => match sender.check(&context, durable, envelopes) {
                Some(lot) => lots.send(lot).await,
                None => Ok(()),
            },
        };
        if handed_on.is_err() {
            return "this node is stopping".into();
        }
        patience_ends = Instant::now() + limits.patience;
        doubts = false;
        owes_sign = true;
    }
}

/// How long a link is listened to once more before it is cut.
const SECOND_LOOK: Duration = Duration::from_millis(50);

/// The node at the other end, whose number may not be known before the founding.
struct Sender {
    peer: NodeHello,
    number: Option<NodeId>,
}

impl Sender {
    fn check(
        &mut self,
        context: &LinkContext,
        durable: BatchNumber,
        mut envelopes: Vec<Envelope>,
    ) -> Option<InboundLot> {
        self.number = self.number.or_else(|| context.host.number(&self.peer));
        let Some(from) = self.number else {
            if !envelopes.is_empty() {
                log::warn!("dropped {} messages of `{}`, which has no number yet", envelopes.len(), self.peer.name);
            }
            return None;
        };
        let count = envelopes.len();
        envelopes.retain(|envelope| envelope.from == from && envelope.message.may_travel());
        if envelopes.len() < count {
            let dropped = count - envelopes.len();
            log::warn!("dropped {dropped} messages of `{}`: not its own, or not for others to say", self.peer.name);
        }
        Some(InboundLot { from, boot: self.peer.boot, durable, envelopes })
    }
}
