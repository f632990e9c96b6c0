//! The TCP codec actor: typed envelopes in and out, one actor per remote node.
//!
//! ```text
//!              Outbound                      PeerFrame bytes                     InboundLot
//!   router ──────────────► Peer ─► outbox ─► link task ═══ TCP ═══► `receive` ──────────────► router
//!                            ▲                   │        ◄─ signs of life
//!                            └── LinkEvent ──────┘ Up, Down, Refused
//! ```
//!
//! Each node dials every other and talks on the connection that it dialled. The actor only queues; a task of its own
//! (`outgoing`) dials, drains the outbox a lot at a time, encodes many frames into one buffer and writes once. The other
//! end of a connection is read by [`receive`].
//!
//! * The outbox is bounded in bytes. What would go over is dropped and counted, what comes while the link is down is
//!   dropped: Paxos tolerates loss, and old messages are worth less than new ones.
//! * A link that takes no bytes, or whose other end gives no sign of life, is cut and dialled again. Both ends of an
//!   idle link give such signs; so a vanished peer, or a connection that outlived a partition, is noticed within
//!   [`LinkLimits::patience`](crate::net::link::LinkLimits::patience).
//! * Who received a lot checks that the messages name the peer as their sender and are such as may travel.
//!
//! Absent: any thought about what a message means, and actix timers (they starve under load; the tasks keep time).

mod inbound;
mod outgoing;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub use inbound::{InboundAddresses, InboundLot, receive};

use super::guard::Guard;
use crate::net::identity::{Enrolment, NodeHello};
use crate::net::link::LinkContext;
use crate::net::refusal::Refused;
use crate::net::wire::{KnownAddress, approximate_len};
use crate::paxos::{BatchNumber, Envelope};
use outgoing::LinkTask;

/// The outgoing link to one remote node. Must be started on the arbiter that it is made on.
pub struct Peer {
    name: String,
    context: LinkContext,
    events: Recipient<LinkEvent>,
    address: watch::Sender<Option<String>>,
    gauge: Rc<Gauge>,
    outbox: Option<mpsc::UnboundedSender<Parcel>>,
    task: Option<JoinHandle<()>>,
    /// Was told to stop: a supervisor that starts it again gets an actor that does nothing.
    retired: bool,
    guard: Option<Guard>,
}

impl Peer {
    /// The link to the node called `name`, which is dialled once an address is known.
    pub fn new(name: &str, address: Option<String>, context: LinkContext, events: Recipient<LinkEvent>) -> Peer {
        let address = watch::Sender::new(address);
        let (name, gauge) = (name.to_owned(), Rc::default());
        Peer { name, context, events, address, gauge, outbox: None, task: None, retired: false, guard: None }
    }

    /// A panic of this actor or its task stops the node.
    pub fn guarded(mut self, guard: Guard) -> Peer {
        self.guard = Some(guard);
        self
    }

    fn hang_up(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn post(&mut self, parcel: Parcel) {
        let Some(outbox) = self.outbox.as_ref().filter(|_| self.gauge.up.get()) else { return };
        let waiting = self.gauge.bytes.get() + parcel.bytes();
        if waiting > self.context.limits.outbox_bytes {
            self.context.dropped.fetch_add(1, Ordering::Relaxed);
            if !self.gauge.overflowed.replace(true) {
                log::warn!("`{}` takes messages too slowly: dropping what does not fit", self.name);
            }
            return;
        }
        self.gauge.bytes.set(waiting);
        // A closed outbox has no task behind it: lost, like anything sent while the link is down.
        let _ = outbox.send(parcel);
    }
}

impl Actor for Peer {
    type Context = Context<Peer>;

    fn started(&mut self, _ctx: &mut Context<Peer>) {
        if self.retired {
            return;
        }
        let (sender, outbox) = mpsc::unbounded_channel();
        self.outbox = Some(sender);
        self.gauge = Rc::default();
        let (name, context, events) = (self.name.clone(), self.context.clone(), self.events.clone());
        let address = self.address.subscribe();
        let link = LinkTask::new(name, context, events, address, outbox, Rc::clone(&self.gauge));
        let guard = self.guard.clone();
        self.task = Some(actix::spawn(async move {
            let _guard = guard;
            link.run().await;
        }));
    }

    fn stopped(&mut self, _ctx: &mut Context<Peer>) {
        self.hang_up();
    }
}

impl Supervised for Peer {
    fn restarting(&mut self, _ctx: &mut Context<Peer>) {
        self.hang_up();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// Messages for the remote node, one lot.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Outbound(pub Vec<Envelope>);

impl Handler<Outbound> for Peer {
    type Result = ();

    fn handle(&mut self, Outbound(envelopes): Outbound, _ctx: &mut Context<Peer>) {
        let parcel = Parcel::Lot { bytes: envelopes.iter().map(approximate_len).sum(), envelopes };
        self.post(parcel);
    }
}

/// Addresses to tell the remote node.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct TellAddresses(pub Vec<KnownAddress>);

impl Handler<TellAddresses> for Peer {
    type Result = ();

    fn handle(&mut self, TellAddresses(addresses): TellAddresses, _ctx: &mut Context<Peer>) {
        self.post(Parcel::Addresses(addresses));
    }
}

/// The remote node lives here (`HOST:PORT`). A link to another address is cut.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SetAddress(pub String);

impl Handler<SetAddress> for Peer {
    type Result = ();

    fn handle(&mut self, SetAddress(address): SetAddress, _ctx: &mut Context<Peer>) {
        self.address.send_if_modified(|held| {
            let other = held.as_ref() != Some(&address);
            *held = Some(address);
            other
        });
    }
}

/// The remote node is there: it has just dialled us. If the link to it is down, dial without waiting any longer.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DialNow;

impl Handler<DialNow> for Peer {
    type Result = ();

    fn handle(&mut self, _now: DialNow, _ctx: &mut Context<Peer>) {
        if !self.gauge.up.get() {
            self.gauge.dial_now.notify_one();
        }
    }
}

/// Do not dial again: what is sent arrives as long as the link that there is lives. For a node whose name, and perhaps
/// whose address, another one has now; two links to that would cut each other off.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DialNoMore;

impl Handler<DialNoMore> for Peer {
    type Result = ();

    fn handle(&mut self, _no_more: DialNoMore, _ctx: &mut Context<Peer>) {
        self.gauge.last.set(true);
        if !self.gauge.up.get() {
            self.hang_up();
        }
    }
}

/// Cut the link and end the actor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for Peer {
    type Result = ();

    fn handle(&mut self, _stop: Stop, ctx: &mut Context<Peer>) {
        self.retired = true;
        self.outbox = None;
        ctx.stop();
    }
}

/// The state of the link to a remote node has changed.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub struct LinkEvent {
    /// The remote node's name.
    pub name: String,
    /// What is new.
    pub change: LinkChange,
}

/// What is new about a link. A failure that repeats itself is told once.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkChange {
    /// It is up.
    Up {
        /// What the remote node says of itself.
        hello: NodeHello,
        /// The highest batch of our journal that it has seen us claim.
        witnessed: BatchNumber,
        /// The remote node says that this one is a member of its cluster.
        enrolment: Option<Enrolment>,
    },
    /// It is down, or cannot be brought up.
    Down {
        /// In a sentence.
        why: String,
    },
    /// One end refuses to talk to the other. It is tried again all the same.
    Refused(Refused),
}

/// What waits in an outbox.
enum Parcel {
    Lot { envelopes: Vec<Envelope>, bytes: usize },
    Addresses(Vec<KnownAddress>),
}

impl Parcel {
    fn bytes(&self) -> usize {
        match self {
            Parcel::Lot { bytes, .. } => *bytes,
            Parcel::Addresses(addresses) => addresses.len() * ADDRESS,
        }
    }
}

/// What the actor and its task share.
#[derive(Default)]
struct Gauge {
    up: Cell<bool>,
    bytes: Cell<usize>,
    /// Whether this link has dropped something for want of room.
    overflowed: Cell<bool>,
    /// Ends a wait before dialling again.
    dial_now: Notify,
    /// It is not dialled again, and what becomes of it is nobody's concern.
    last: Cell<bool>,
}

impl Gauge {
    fn take(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

/// What an address takes in a frame, roughly.
const ADDRESS: usize = 128;

#[cfg(test)]
mod tests;
