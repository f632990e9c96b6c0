//! The way out of a role: one lot of effects, sorted by where it goes and handed on whole.
//!
//! The journal gets its share first: a message to another role must not overtake the records that stand before it
//! (`paxos::effect` says why). Each receiver then gets one message, however many the lot held for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::{DiskCommand, DiskHandle};
use super::doors::Doors;
use super::events::Events;
use super::keeper::KeeperHandle;
use super::role::Lot;
use super::router::{Outgoing, Router};
use crate::paxos::{
    AcceptorMessage, ClientId, Effect, Effects, Event, ExecutorMessage, LearnerMessage, Message, NodeId,
    ProposerMessage, Reply, Slot, Snapshot,
};

/// The mailboxes of a node's four roles.
#[derive(Clone)]
pub struct Mailboxes {
    /// The proposer's.
    pub proposer: Recipient<Lot<ProposerMessage>>,
    /// The acceptor's.
    pub acceptor: Recipient<Lot<AcceptorMessage>>,
    /// The learner's.
    pub learner: Recipient<Lot<LearnerMessage>>,
    /// The executor's.
    pub executor: Recipient<Lot<ExecutorMessage>>,
}

/// Messages sorted by role, each list in order.
#[derive(Default)]
pub struct Sorted {
    proposer: Vec<(NodeId, ProposerMessage)>,
    acceptor: Vec<(NodeId, AcceptorMessage)>,
    learner: Vec<(NodeId, LearnerMessage)>,
    executor: Vec<(NodeId, ExecutorMessage)>,
}

impl Sorted {
    /// Adds a message.
    pub fn push(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Proposer(message) => self.proposer.push((from, message)),
            Message::Acceptor(message) => self.acceptor.push((from, message)),
            Message::Learner(message) => self.learner.push((from, message)),
            Message::Executor(message) => self.executor.push((from, message)),
        }
    }

    /// Sends each role its list as one lot.
    pub fn deliver(self, mailboxes: &Mailboxes) {
        if !self.acceptor.is_empty() {
            mailboxes.acceptor.do_send(Lot(self.acceptor));
        }
        if !self.learner.is_empty() {
            mailboxes.learner.do_send(Lot(self.learner));
        }
        // Before the executor's: see `Learner::deliver`.
        if !self.proposer.is_empty() {
            mailboxes.proposer.do_send(Lot(self.proposer));
        }
        if !self.executor.is_empty() {
            mailboxes.executor.do_send(Lot(self.executor));
        }
    }
}

/// Snapshot work for the executor's actor.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub enum SnapshotWork {
    /// Save the state as it is now.
    Take,
    /// Check and save what came from a peer, then come back with it.
    Check {
        /// The last slot that it covers.
        upto: Slot,
        /// Encoded.
        bytes: Vec<u8>,
    },
    /// It is whole: put it in place of the state.
    Install {
        /// Decoded.
        snapshot: Box<Snapshot>,
        /// Encoded.
        bytes: Vec<u8>,
    },
}

/// Where one role's effects go. Each role has a clone.
#[derive(Clone)]
pub struct Outlet {
    /// This node.
    pub own: NodeId,
    /// Its roles; filled in once all four have started.
    pub mailboxes: std::rc::Rc<std::cell::OnceCell<Mailboxes>>,
    /// The way to other nodes.
    pub router: Addr<Router>,
    /// The journal's only writer.
    pub disk: DiskHandle,
    /// Who saves snapshots.
    pub keeper: KeeperHandle,
    /// The executor's actor, which takes and installs them; filled in with the mailboxes.
    pub snapshots: std::rc::Rc<std::cell::OnceCell<Recipient<SnapshotWork>>>,
    /// The clients' connections.
    pub doors: Doors,
    /// Whoever watches.
    pub events: Events,
    /// Says that the node must stop, and why.
    pub fatal: UnboundedSender<String>,
    /// Set with the first fatal error: nothing leaves any more.
    pub failed: Arc<AtomicBool>,
}

impl Outlet {
    /// Performs a lot of effects and leaves the buffer empty.
    pub fn perform(&self, effects: &mut Effects) {
        let mut disk = Vec::new();
        let mut local = Sorted::default();
        let mut remote = Vec::new();
        let mut replies: BTreeMap<ClientId, Vec<Reply>> = BTreeMap::new();
        for effect in effects.drain() {
            match effect {
                Effect::Send { to, message } if to == self.own => local.push(self.own, message),
                Effect::Send { to, message } => remote.push((to, message)),
                Effect::Sync { records, then } => disk.push(DiskCommand::Sync { records, then }),
                Effect::Append { records } => disk.push(DiskCommand::Append { records }),
                Effect::SupplySlots { to, first, upto } => disk.push(DiskCommand::SupplySlots { to, first, upto }),
                Effect::SupplySnapshot { to, upto, offset } => {
                    disk.push(DiskCommand::SupplySnapshot { to, upto, offset });
                }
                Effect::InstallSnapshot { upto, bytes } => self.snapshot(SnapshotWork::Check { upto, bytes }),
                Effect::TakeSnapshot { .. } => self.snapshot(SnapshotWork::Take),
                Effect::Reply { client, reply } => replies.entry(client).or_default().push(reply),
                Effect::Note(event) => {
                    match event {
                        Event::Admitted {} => disk.push(DiskCommand::Vouch),
                        // Before the record of the loss itself, which peers must not take for progress.
                        Event::Amnesia { .. } => {
                            disk.retain(|command| !matches!(command, DiskCommand::Vouch));
                            disk.insert(0, DiskCommand::Disown);
                        }
                        _ => {}
                    }
                    self.events.note(&event);
                }
            }
        }
        self.disk.send(disk);
        local.deliver(self.mailboxes.get().expect("mailboxes are filled in before the first message"));
        if !remote.is_empty() {
            self.router.do_send(Outgoing(remote));
        }
        for (client, replies) in replies {
            self.doors.reply(client, replies);
        }
    }

    /// Stops the node with this error.
    pub fn fail(&self, error: String) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            // The receiver is gone only when the node is stopping anyway.
            let _ = self.fatal.send(error);
        }
    }

    /// Whether the node is stopping because of an error.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    fn snapshot(&self, work: SnapshotWork) {
        self.snapshots.get().expect("filled in with the mailboxes").do_send(work);
    }
}

#[cfg(test)]
mod tests;
