//! One lot of effects, sorted by where each goes.
//!
//! Whoever drives the roles hands the disk its share first: a message to another role must not overtake the records
//! that stand before it ([`super::effect`] says why). Each receiver then gets one lot, however many effects were for it.

use std::collections::BTreeMap;

use super::ballot::NodeId;
use super::effect::{Effect, Effects, Event, Then};
use super::message::{AcceptorMessage, ClientId, ExecutorMessage, LearnerMessage, Message, ProposerMessage, Reply};
use super::record::Record;
use super::slot::Slot;

/// Something for the disk to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// See [`Effect::Sync`].
    Sync {
        /// To make durable.
        records: Vec<Record>,
        /// To say afterwards.
        then: Vec<Then>,
    },
    /// See [`Effect::Append`].
    Append {
        /// To journal with the next sync.
        records: Vec<Record>,
    },
    /// See [`Effect::SupplySlots`].
    SupplySlots {
        /// Who asked.
        to: NodeId,
        /// The first slot.
        first: Slot,
        /// The last slot.
        upto: Slot,
    },
    /// See [`Effect::SupplySnapshot`].
    SupplySnapshot {
        /// Who asked.
        to: NodeId,
        /// Which snapshot.
        upto: Slot,
        /// From where on.
        offset: u64,
    },
    /// A durable snapshot covers every slot up to here.
    Trim {
        /// Inclusive.
        upto: Slot,
    },
    /// A durable snapshot from a peer took the place of every slot up to here.
    Forget {
        /// Inclusive.
        upto: Slot,
    },
    /// This node was admitted: peers may hear the journal's numbers.
    Vouch,
    /// The journal has lost what it acknowledged: they may not any more.
    Disown,
}

/// Snapshot work that a lot asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotWork {
    /// Save the executor's state as it is now.
    Take,
    /// Check what came from a peer, then have the executor install it.
    Check {
        /// The last slot that it covers.
        upto: Slot,
        /// Encoded.
        bytes: Vec<u8>,
    },
}

/// Messages sorted by the role that they are for, each list in order, each message with its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// For the acceptor.
    pub acceptor: Vec<(NodeId, AcceptorMessage)>,
    /// For the learner.
    pub learner: Vec<(NodeId, LearnerMessage)>,
    /// For the proposer; it goes before the executor's, see `Learner::deliver`.
    pub proposer: Vec<(NodeId, ProposerMessage)>,
    /// For the executor.
    pub executor: Vec<(NodeId, ExecutorMessage)>,
}

impl Mail {
    /// Adds a message.
    pub fn push(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Proposer(message) => self.proposer.push((from, message)),
            Message::Acceptor(message) => self.acceptor.push((from, message)),
            Message::Learner(message) => self.learner.push((from, message)),
            Message::Executor(message) => self.executor.push((from, message)),
        }
    }
}

/// A lot of effects, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// For the disk, before everything else.
    pub disk: Vec<DiskWork>,
    /// For this node's own roles.
    pub mail: Mail,
    /// For other nodes.
    pub remote: Vec<(NodeId, Message)>,
    /// For clients.
    pub replies: BTreeMap<ClientId, Vec<Reply>>,
    /// For the executor's driver.
    pub snapshots: Vec<SnapshotWork>,
    /// For whoever watches.
    pub events: Vec<Event>,
}

impl Dispatch {
    /// Sorts the effects of a lot at the node `own`, and leaves the buffer empty.
    pub fn of(own: NodeId, effects: &mut Effects) -> Dispatch {
        let mut sorted = Dispatch::default();
        for effect in effects.drain() {
            match effect {
                Effect::Send { to, message } if to == own => sorted.mail.push(own, message),
                Effect::Send { to, message } => sorted.remote.push((to, message)),
                Effect::Sync { records, then } => sorted.disk.push(DiskWork::Sync { records, then }),
                Effect::Append { records } => sorted.disk.push(DiskWork::Append { records }),
                Effect::SupplySlots { to, first, upto } => {
                    sorted.disk.push(DiskWork::SupplySlots { to, first, upto });
                }
                Effect::SupplySnapshot { to, upto, offset } => {
                    sorted.disk.push(DiskWork::SupplySnapshot { to, upto, offset });
                }
                Effect::InstallSnapshot { upto, bytes } => sorted.snapshots.push(SnapshotWork::Check { upto, bytes }),
                Effect::TakeSnapshot { .. } => sorted.snapshots.push(SnapshotWork::Take),
                Effect::Reply { client, reply } => sorted.replies.entry(client).or_default().push(reply),
                Effect::Note(event) => {
                    sorted.heed(&event);
                    sorted.events.push(event);
                }
            }
        }
        sorted
    }

    /// The journal's numbers are hidden from peers until this node is admitted, and again once a loss is found.
    fn heed(&mut self, event: &Event) {
        match event {
            Event::Admitted {} => self.disk.push(DiskWork::Vouch),
            // Before the record of the loss itself, which peers must not take for progress.
            Event::Amnesia { .. } => {
                self.disk.retain(|work| *work != DiskWork::Vouch);
                self.disk.insert(0, DiskWork::Disown);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::BatchNumber;

    #[test]
    fn rule_4_a_loss_found_in_the_lot_of_the_admission_takes_the_vouching_back() {
        let mut effects = Effects::new();
        effects.note(Event::Admitted {});
        let record = Record::Amnesiac { witnessed: BatchNumber(9) };
        effects.sync(vec![record.clone()], Vec::new());
        effects.note(Event::Amnesia { peer: NodeId(2), witnessed: BatchNumber(9), durable: BatchNumber(7) });
        let sorted = Dispatch::of(NodeId(1), &mut effects);
        assert_eq!(sorted.disk, [DiskWork::Disown, DiskWork::Sync { records: vec![record], then: Vec::new() }]);
        assert!(effects.is_empty());
    }
}
