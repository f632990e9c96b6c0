//! One lot of effects, sorted by where each goes.
//!
//! Whoever drives the roles hands the disk its share first: a message to another role must not overtake the records
//! that stand before it ([`super::effect`] says why). Each receiver then gets one lot, however many effects were for it.

use std::collections::BTreeMap;

use super::agreement::Digest;
use super::ballot::NodeId;
use super::effect::{Effect, Effects, Event, SnapshotPart, Then};
use super::image::SnapshotId;
use super::membership::Membership;
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
    /// See [`Effect::Flush`].
    Flush {
        /// To say afterwards.
        then: Vec<Then>,
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
    /// A durable snapshot covers every slot up to here.
    Trim {
        /// Inclusive.
        upto: Slot,
    },
    /// Every member has executed every slot up to here.
    ExecutedEverywhere {
        /// Inclusive.
        upto: Slot,
    },
    /// A durable snapshot from a peer took the place of every slot up to here.
    Forget {
        /// Inclusive.
        upto: Slot,
    },
    /// The members have changed: to be written down behind everything before, and before anybody links to newcomers.
    Members(Box<Membership>),
    /// This node was admitted: peers may hear the journal's numbers.
    Vouch,
    /// The journal has lost what it acknowledged: they may not any more.
    Disown,
}

/// Something for the keeper of snapshots to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotWork {
    /// See [`Effect::SupplySnapshot`].
    Supply {
        /// Who asked.
        to: NodeId,
        /// Which snapshot.
        wanted: Option<SnapshotId>,
        /// From where on.
        offset: u64,
    },
    /// See [`Effect::KeepPart`].
    Part(SnapshotPart),
    /// See [`Effect::Proven`].
    Proven {
        /// The last slot that it covers.
        upto: Slot,
        /// Of the state.
        digest: Digest,
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
    /// For whoever gives the members' names, if they are others than before. Who links to them hears it from the disk.
    pub members: Option<Box<Membership>>,
    /// For the keeper of snapshots.
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
                Effect::Flush { then } => sorted.disk.push(DiskWork::Flush { then }),
                Effect::SupplySlots { to, first, upto } => {
                    sorted.disk.push(DiskWork::SupplySlots { to, first, upto });
                }
                Effect::SupplySnapshot { to, wanted, offset } => {
                    sorted.snapshots.push(SnapshotWork::Supply { to, wanted, offset });
                }
                Effect::ExecutedEverywhere { upto } => sorted.disk.push(DiskWork::ExecutedEverywhere { upto }),
                Effect::Members(membership) => {
                    sorted.disk.push(DiskWork::Members(membership.clone()));
                    sorted.members = Some(membership);
                }
                Effect::KeepPart(part) => sorted.snapshots.push(SnapshotWork::Part(part)),
                Effect::Proven { upto, digest } => sorted.snapshots.push(SnapshotWork::Proven { upto, digest }),
                // Whoever drives the executor took the image when it was frozen.
                Effect::TakeSnapshot { .. } => {}
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
    use crate::paxos::{Ballot, BatchNumber, Bytes, Refusal};

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

    #[test]
    fn each_effect_goes_where_it_belongs_in_order() {
        let (own, other) = (NodeId(1), NodeId(2));
        let ballot = Ballot::new(1, own);
        let heard: Message = ProposerMessage::Heard { ballot }.into();
        let learned = AcceptorMessage::Learned { chosen_upto: Slot(4) };
        let trimmed = LearnerMessage::Trimmed { upto: Slot(3) };
        let saved = ExecutorMessage::SnapshotSaved { upto: Slot(4) };
        let (client, reply) = (ClientId(5), |id| Reply::ReadRefused { id, reason: Refusal::Busy });
        let promise = Record::Promise { ballot };
        let mut effects = Effects::new();
        effects.send(own, heard.clone());
        effects.send(other, heard.clone());
        effects.send(own, learned.clone());
        effects.send(own, trimmed.clone());
        effects.send(own, saved.clone());
        effects.reply(client, reply(1));
        effects.append(vec![promise.clone()]);
        effects.note(Event::Admitted {});
        effects.push(Effect::SupplySlots { to: other, first: Slot(1), upto: Slot(2) });
        let part =
            SnapshotPart { upto: Slot(9), id: SnapshotId([1; 32]), total: 1, offset: 0, bytes: Bytes::from("x") };
        effects.push(Effect::SupplySnapshot { to: other, wanted: None, offset: 7 });
        effects.push(Effect::KeepPart(part.clone()));
        effects.push(Effect::TakeSnapshot { upto: Slot(4) });
        effects.reply(client, reply(2));
        assert!(!effects.is_empty());
        let sorted = Dispatch::of(own, &mut effects);
        let expected = Dispatch {
            disk: vec![
                DiskWork::Append { records: vec![promise] },
                DiskWork::Vouch,
                DiskWork::SupplySlots { to: other, first: Slot(1), upto: Slot(2) },
            ],
            mail: Mail {
                acceptor: vec![(own, learned)],
                learner: vec![(own, trimmed)],
                proposer: vec![(own, ProposerMessage::Heard { ballot })],
                executor: vec![(own, saved)],
            },
            remote: vec![(other, heard)],
            replies: [(client, vec![reply(1), reply(2)])].into(),
            members: None,
            snapshots: vec![SnapshotWork::Supply { to: other, wanted: None, offset: 7 }, SnapshotWork::Part(part)],
            events: vec![Event::Admitted {}],
        };
        assert_eq!(sorted, expected);
    }
}
