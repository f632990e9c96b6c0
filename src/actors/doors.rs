//! The clients' connections: who is there, and how replies reach them.
//!
//! A client that does not read its replies is cut off when they fill its outbox; nothing is buffered without end. What
//! it asked for goes on: it may come back to this or another node and ask again under the same sequence.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::net::frame::FRAME_LIMIT;
use crate::net::report::{EntryReport, LogReport, Report};
use crate::net::wire::NodeFrame;
use crate::paxos::settings::MAX_RESULT_BYTES;
use crate::paxos::{ClientId, Refusal, Reply};

/// All clients of a node. Cheap to clone; lives on the node's thread.
#[derive(Clone, Default)]
pub struct Doors(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    clients: BTreeMap<ClientId, Sending>,
}

struct Sending {
    frames: UnboundedSender<NodeFrame>,
    bytes: Rc<Cell<usize>>,
    cut: Rc<Notify>,
}

/// The receiving half of a client's door.
pub struct Outbox {
    frames: UnboundedReceiver<NodeFrame>,
    bytes: Rc<Cell<usize>>,
    cut: Rc<Notify>,
}

impl Doors {
    /// A client connects.
    pub fn open(&self) -> (ClientId, Outbox) {
        let mut table = self.0.borrow_mut();
        table.last += 1;
        let client = ClientId(table.last);
        let (sender, frames) = unbounded_channel();
        let bytes = Rc::new(Cell::new(0));
        let cut = Rc::new(Notify::new());
        table.clients.insert(client, Sending { frames: sender, bytes: bytes.clone(), cut: cut.clone() });
        (client, Outbox { frames, bytes, cut })
    }

    /// A client is gone.
    pub fn close(&self, client: ClientId) {
        self.0.borrow_mut().clients.remove(&client);
    }

    /// Sends replies to a client, if it is still there, in as many frames as they need.
    pub fn reply(&self, client: ClientId, replies: Vec<Reply>) {
        let (mut lot, mut bytes) = (Vec::new(), 0);
        for reply in replies.into_iter().map(fitting) {
            let more = reply_weight(&reply);
            if bytes + more > LOT_BYTES && !lot.is_empty() {
                self.send(client, NodeFrame::Replies(std::mem::take(&mut lot)));
                bytes = 0;
            }
            bytes += more;
            lot.push(reply);
        }
        if !lot.is_empty() {
            self.send(client, NodeFrame::Replies(lot));
        }
    }

    /// Sends a frame to a client, if it is still there.
    pub fn send(&self, client: ClientId, frame: NodeFrame) {
        let mut table = self.0.borrow_mut();
        let Some(door) = table.clients.get(&client) else { return };
        let bytes = door.bytes.get() + weight(&frame);
        door.bytes.set(bytes);
        if bytes > MAX_OUTBOX_BYTES || door.frames.send(frame).is_err() {
            log::warn!("client {} does not read its replies and is cut off", client.0);
            door.cut.notify_one();
            table.clients.remove(&client);
        }
    }
}

impl Outbox {
    /// Fires when the client was cut off, even while a write to it is stuck.
    pub fn cut(&self) -> Rc<Notify> {
        self.cut.clone()
    }

    /// Waits for frames and takes all that are there; none when the client was cut off.
    pub async fn take(&mut self, into: &mut Vec<NodeFrame>) -> usize {
        let count = self.frames.recv_many(into, MOST_FRAMES).await;
        let taken: usize = into.iter().map(weight).sum();
        self.bytes.set(self.bytes.get().saturating_sub(taken));
        count
    }
}

/// The reply, or what stands for it if no frame can hold it.
fn fitting(reply: Reply) -> Reply {
    if reply_weight(&reply) <= LARGEST_REPLY {
        return reply;
    }
    match reply {
        Reply::Read { id, .. } => Reply::ReadRefused { id, reason: Refusal::TooLarge { limit: LARGEST_REPLY as u64 } },
        // Everything else has a limit of its own, which is lower.
        small => small,
    }
}

/// About how many bytes a frame holds.
fn weight(frame: &NodeFrame) -> usize {
    match frame {
        NodeFrame::Replies(replies) => replies.iter().map(reply_weight).sum(),
        NodeFrame::Report { report: Ok(Report::Log(log)), .. } => REPORT_BYTES + log_weight(log),
        NodeFrame::Report { report: Ok(Report::BackupPart(bytes)), .. } => REPORT_BYTES + bytes.len(),
        NodeFrame::Report { .. } => REPORT_BYTES,
    }
}

fn reply_weight(reply: &Reply) -> usize {
    match reply {
        Reply::Done { result, .. } | Reply::Read { result, .. } => REPLY_BYTES + result.len(),
        _ => REPLY_BYTES,
    }
}

fn log_weight(log: &LogReport) -> usize {
    let entry = |entry: &EntryReport| match entry {
        EntryReport::Open { .. }
        | EntryReport::Change { .. }
        | EntryReport::Promote { .. }
        | EntryReport::Mark { .. }
        | EntryReport::Report { .. } => REPLY_BYTES,
        EntryReport::Apply { operation, .. } => REPLY_BYTES + operation.len(),
    };
    log.slots.iter().map(|slot| REPLY_BYTES + slot.entries.iter().map(entry).sum::<usize>()).sum()
}

const MAX_OUTBOX_BYTES: usize = 64 << 20;
const MOST_FRAMES: usize = 256;
/// A frame of replies is closed before it grows beyond this.
const LOT_BYTES: usize = 1 << 20;
const LARGEST_REPLY: usize = FRAME_LIMIT - 1024;
/// What a reply takes beside its result.
const REPLY_BYTES: usize = 64;
/// What a report takes, roughly.
const REPORT_BYTES: usize = 4096;

const _: () = assert!(MAX_RESULT_BYTES + REPLY_BYTES <= LARGEST_REPLY);
const _: () = assert!(LARGEST_REPLY + LOT_BYTES < MAX_OUTBOX_BYTES);
