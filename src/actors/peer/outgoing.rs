//! The task behind a [`Peer`](super::Peer): dials, dials again, and carries the outbox over.
//!
//! It holds the outbox's only receiver; what is queued when a link ends is thrown away with it.

use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Gauge, LinkChange, LinkEvent, Parcel};
use crate::net::codec;
use crate::net::link::{Connection, LinkContext, LinkError, LinkLimits, dial};
use crate::net::wire::{PeerFrame, approximate_len};
use crate::paxos::Envelope;

pub(super) struct LinkTask {
    name: String,
    context: LinkContext,
    events: Recipient<LinkEvent>,
    address: watch::Receiver<Option<String>>,
    outbox: mpsc::UnboundedReceiver<Parcel>,
    gauge: Rc<Gauge>,
    told: Option<LinkChange>,
}

impl LinkTask {
    pub(super) fn new(
        name: String,
        context: LinkContext,
        events: Recipient<LinkEvent>,
        address: watch::Receiver<Option<String>>,
        outbox: mpsc::UnboundedReceiver<Parcel>,
        gauge: Rc<Gauge>,
    ) -> LinkTask {
        LinkTask { name, context, events, address, outbox, gauge, told: None }
    }

    /// Keeps the link up for as long as the actor lives.
    pub(super) async fn run(mut self) {
        let mut back_off = BackOff::new(self.context.limits);
        loop {
            let Ok(known) = self.address.wait_for(Option::is_some).await else { return };
            let address = known.clone().expect("waited for one");
            drop(known);
            self.address.mark_unchanged();
            let (local, patience) = (self.context.host.local().expecting(&self.name), self.context.limits.handshake);
            let dialled = tokio::select! {
                dialled = dial(&address, local, &*self.context.host, patience) => dialled,
                // Whoever is elsewhere now need not be waited for here.
                changed = self.address.changed() => match changed {
                    Ok(()) => {
                        back_off = BackOff::new(self.context.limits);
                        continue;
                    }
                    Err(_) => return,
                },
            };
            match dialled {
                Ok(connection) => {
                    back_off = BackOff::new(self.context.limits);
                    match self.link(connection).await {
                        Ended::Cut(_) if self.gauge.last.get() => return,
                        Ended::Cut(why) => self.tell(LinkChange::Down { why }),
                        Ended::Gone => return,
                    }
                }
                Err(LinkError::Refused(refused)) => self.tell(LinkChange::Refused(refused)),
                Err(error) => self.tell(LinkChange::Down { why: error.to_string() }),
            }
            tokio::select! {
                () = sleep(back_off.next()) => {}
                () = self.gauge.dial_now.notified() => {}
                changed = self.address.changed() => match changed {
                    Ok(()) => back_off = BackOff::new(self.context.limits),
                    Err(_) => return,
                },
            }
        }
    }

    /// From up to down.
    async fn link(&mut self, connection: Connection) -> Ended {
        let Some(hello) = connection.established.peer.node().cloned() else {
            return Ended::Cut("a client answered".into());
        };
        let witnessed = connection.established.witnessed;
        self.gauge.up.set(true);
        let enrolment = connection.established.enrolment.clone();
        self.tell(LinkChange::Up { hello, witnessed, enrolment });
        let ended = self.carry(connection).await;
        self.gauge.up.set(false);
        while self.outbox.try_recv().is_ok() {}
        self.gauge.bytes.set(0);
        self.gauge.overflowed.set(false);
        ended
    }

    async fn carry(&mut self, connection: Connection) -> Ended {
        let limits = self.context.limits;
        let (reader, writing) = connection.split::<()>();
        let mut signs = reader.into_inner();
        let mut writer =
            Writer { writing, buffer: Vec::new(), patience: limits.patience, context: self.context.clone() };
        let mut parcels = Vec::new();
        let mut sign = [0; 64];
        let mut written_at = Instant::now();
        let mut unanswered_since = None;
        loop {
            let cut_at = unanswered_since.unwrap_or(written_at) + limits.patience;
            let written = tokio::select! {
                biased;
                read = signs.read(&mut sign) => match read {
                    Ok(0) => return Ended::Cut("the other end closed the link".into()),
                    Ok(_) => {
                        unanswered_since = None;
                        continue;
                    }
                    Err(error) => return Ended::Cut(format!("the link broke: {error}")),
                },
                changed = self.address.changed() => match changed {
                    Ok(()) => return Ended::Cut("its address has changed".into()),
                    Err(_) => return Ended::Gone,
                },
                () = sleep_until(cut_at), if unanswered_since.is_some() => {
                    return Ended::Cut(format!("no sign of life for {:?}", limits.patience));
                }
                count = self.outbox.recv_many(&mut parcels, MOST_PARCELS) => match count {
                    0 => return Ended::Gone,
                    _ => writer.write_parcels(&mut parcels, &self.gauge).await,
                },
                () = sleep_until(written_at + limits.sign_every) => writer.write_sign().await,
            };
            if let Err(why) = written {
                return Ended::Cut(why);
            }
            written_at = Instant::now();
            unanswered_since = unanswered_since.or(Some(written_at));
        }
    }

    fn tell(&mut self, change: LinkChange) {
        if self.told.as_ref() != Some(&change) {
            self.events.do_send(LinkEvent { name: self.name.clone(), change: change.clone() });
            self.told = Some(change);
        }
    }
}

/// How a link ended.
enum Ended {
    /// For this reason; it may be dialled again.
    Cut(String),
    /// The actor is gone.
    Gone,
}

/// Encodes into one buffer, writes it when it is full or there is no more.
struct Writer {
    writing: OwnedWriteHalf,
    buffer: Vec<u8>,
    patience: Duration,
    context: LinkContext,
}

impl Writer {
    async fn write_parcels(&mut self, parcels: &mut Vec<Parcel>, gauge: &Gauge) -> Result<(), String> {
        let (mut lot, mut lot_bytes) = (Vec::new(), 0);
        for parcel in parcels.drain(..) {
            gauge.take(parcel.bytes());
            let envelopes = match parcel {
                Parcel::Lot { envelopes, .. } => envelopes,
                Parcel::Addresses(addresses) => {
                    self.append(&PeerFrame::Addresses(addresses));
                    continue;
                }
            };
            for envelope in envelopes {
                let bytes = approximate_len(&envelope);
                if lot_bytes + bytes > LOT_BYTES && !lot.is_empty() {
                    self.append_lot(std::mem::take(&mut lot));
                    lot_bytes = 0;
                    if self.buffer.len() >= WRITE_BYTES {
                        self.flush().await?;
                    }
                }
                lot_bytes += bytes;
                lot.push(envelope);
            }
        }
        if !lot.is_empty() {
            self.append_lot(lot);
        }
        self.flush().await
    }

    /// An empty lot says that we are alive, and how far our journal is durable.
    async fn write_sign(&mut self) -> Result<(), String> {
        self.append_lot(Vec::new());
        self.flush().await
    }

    fn append_lot(&mut self, envelopes: Vec<Envelope>) {
        self.append(&PeerFrame::Lot { durable: self.context.durable(), envelopes });
    }

    fn append(&mut self, frame: &PeerFrame) {
        if let Err(error) = codec::append(&mut self.buffer, frame) {
            log::error!("a message does not fit in a frame and is dropped: {error}");
        }
    }

    async fn flush(&mut self) -> Result<(), String> {
        let written = timeout(self.patience, self.writing.write_all(&self.buffer)).await;
        self.buffer.clear();
        self.buffer.shrink_to(MOST_KEPT);
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the link broke: {error}")),
            Err(_) => Err(format!("the other end took no bytes for {:?}", self.patience)),
        }
    }
}

/// Waits that double up to a limit, each half random, so that nodes that lost one another at once do not dial at once.
struct BackOff {
    next: Duration,
    most: Duration,
}

impl BackOff {
    fn new(limits: LinkLimits) -> BackOff {
        BackOff { next: limits.redial_first, most: limits.redial_most }
    }

    fn next(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = wait * 2;
        wait.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// Parcels taken from the outbox in one go.
const MOST_PARCELS: usize = 256;
/// A lot is closed when it holds so much; a single larger message makes a larger lot.
const LOT_BYTES: usize = 1 << 20;
/// The buffer is written when it holds so much.
const WRITE_BYTES: usize = 1 << 20;
/// Room that a buffer keeps after a large write.
const MOST_KEPT: usize = 1 << 20;

const _: () = assert!(LOT_BYTES < crate::net::frame::FRAME_LIMIT / 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let limits = LinkLimits::default();
        let mut back_off = BackOff::new(limits);
        for nominal in [50, 100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let wait = back_off.next();
            assert!(nominal / 2 <= wait && wait <= nominal, "{wait:?} of {nominal:?}");
        }
    }
}
