//! The clients' connections: who is there, and how replies reach them.
//!
//! A client that does not read its replies is cut off when they fill its outbox; nothing is buffered without end. What
//! it asked for goes on: it may come back to this or another node and ask again under the same sequence.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::net::wire::NodeFrame;
use crate::paxos::{ClientId, Reply};

/// All clients of a node. Cheap to clone; lives on the node's thread.
#[derive(Clone, Default)]
pub struct Doors(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    clients: BTreeMap<ClientId, Door>,
}

struct Door {
    frames: UnboundedSender<NodeFrame>,
    bytes: Rc<Cell<usize>>,
}

/// The receiving half of a client's door.
pub struct Outbox {
    frames: UnboundedReceiver<NodeFrame>,
    bytes: Rc<Cell<usize>>,
}

impl Doors {
    /// A client connects.
    pub fn open(&self) -> (ClientId, Outbox) {
        let mut table = self.0.borrow_mut();
        table.last += 1;
        let client = ClientId(table.last);
        let (sender, frames) = unbounded_channel();
        let bytes = Rc::new(Cell::new(0));
        table.clients.insert(client, Door { frames: sender, bytes: bytes.clone() });
        (client, Outbox { frames, bytes })
    }

    /// A client is gone.
    pub fn close(&self, client: ClientId) {
        self.0.borrow_mut().clients.remove(&client);
    }

    /// Sends replies to a client, if it is still there.
    pub fn reply(&self, client: ClientId, replies: Vec<Reply>) {
        self.send(client, NodeFrame::Replies(replies));
    }

    /// Sends a frame to a client, if it is still there.
    pub fn send(&self, client: ClientId, frame: NodeFrame) {
        let mut table = self.0.borrow_mut();
        let Some(door) = table.clients.get(&client) else { return };
        let bytes = door.bytes.get() + weight(&frame);
        door.bytes.set(bytes);
        if bytes > MAX_OUTBOX_BYTES || door.frames.send(frame).is_err() {
            log::warn!("client {} does not read its replies and is cut off", client.0);
            table.clients.remove(&client);
        }
    }
}

impl Outbox {
    /// Waits for frames and takes all that are there; none when the client was cut off.
    pub async fn take(&mut self, into: &mut Vec<NodeFrame>) -> usize {
        let count = self.frames.recv_many(into, MOST_FRAMES).await;
        let taken: usize = into.iter().map(weight).sum();
        self.bytes.set(self.bytes.get().saturating_sub(taken));
        count
    }
}

/// About how many bytes a frame holds.
fn weight(frame: &NodeFrame) -> usize {
    match frame {
        NodeFrame::Replies(replies) => replies
            .iter()
            .map(|reply| match reply {
                Reply::Done { result, .. } | Reply::Read { result, .. } => 64 + result.len(),
                _ => 64,
            })
            .sum(),
        NodeFrame::Report { .. } => 4096,
    }
}

const MAX_OUTBOX_BYTES: usize = 64 << 20;
const MOST_FRAMES: usize = 256;
