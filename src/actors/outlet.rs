//! The way out of a role: one lot of effects, sorted by where it goes and handed on whole.
//!
//! The journal gets its share first: a message to another role must not overtake the records that stand before it
//! (`paxos::effect` says why). Each receiver then gets one message, however many the lot held for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::mpsc::UnboundedSender;

use super::disk::{DiskCommand, DiskHandle};
use super::doors::Doors;
use super::events::Events;
use super::host::Members;
use super::keeper::KeeperHandle;
use super::role::Lot;
use super::router::{Outgoing, Router};
use crate::paxos::dispatch::{Dispatch, Mail};
use crate::paxos::{AcceptorMessage, Effects, Event, ExecutorMessage, LearnerMessage, NodeId, ProposerMessage};
use crate::storage::Keep;

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

impl Mailboxes {
    /// Sends each role its part of the mail as one lot.
    pub fn deliver(&self, mail: Mail) {
        if !mail.acceptor.is_empty() {
            self.acceptor.do_send(Lot(mail.acceptor));
        }
        if !mail.learner.is_empty() {
            self.learner.do_send(Lot(mail.learner));
        }
        // Before the executor's: see `Learner::deliver`.
        if !mail.proposer.is_empty() {
            self.proposer.do_send(Lot(mail.proposer));
        }
        if !mail.executor.is_empty() {
            self.executor.do_send(Lot(mail.executor));
        }
    }

    /// The same for mail from a peer; done once the roles have handled it. Each caller needs mailboxes of its own: a
    /// [`Recipient`] whose mailbox is full takes nothing more through the same handle, and does not say when it does again.
    pub async fn hand_over(self, mail: Mail) {
        async fn lot<T: Send + 'static>(to: Recipient<Lot<T>>, messages: Vec<(NodeId, T)>) {
            if !messages.is_empty() {
                let _ = to.send(Lot(messages)).await; // a role is gone only when the node is stopping
            }
        }
        tokio::join!(
            lot(self.acceptor, mail.acceptor),
            lot(self.learner, mail.learner),
            lot(self.proposer, mail.proposer),
            lot(self.executor, mail.executor),
        );
    }
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
    /// Who saves and supplies snapshots.
    pub keeper: KeeperHandle,
    /// The clients' connections.
    pub doors: Doors,
    /// Whoever watches.
    pub events: Events,
    /// Who stops the node.
    pub host: Recipient<Members>,
    /// Says that the node must stop, and why.
    pub fatal: UnboundedSender<String>,
    /// Set with the first fatal error: nothing leaves any more.
    pub failed: Arc<AtomicBool>,
}

impl Outlet {
    /// Performs a lot of effects and leaves the buffer empty.
    pub fn perform(&self, effects: &mut Effects) {
        let Dispatch { disk, mail, remote, replies, members, snapshots, events } = Dispatch::of(self.own, effects);
        // Names first: the events may tell of newcomers.
        if let Some(membership) = members {
            self.events.renew(*membership);
        }
        for event in &events {
            self.events.note(event);
            if let Event::Dismissed { from } = event {
                self.host.do_send(Members::WithoutUs { from: *from });
            }
        }
        snapshots.into_iter().for_each(|work| self.keeper.send(Keep::Work(work)));
        self.disk.send(disk.into_iter().map(DiskCommand::Work).collect());
        self.mailboxes.get().expect(FILLED_IN).deliver(mail);
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
}

const FILLED_IN: &str = "mailboxes are filled in before the first message";

#[cfg(test)]
mod tests;
