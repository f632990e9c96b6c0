//! What a handler may ask for, and the rule "persist before send" as a type.
//!
//! A handler returns nothing and touches nothing: it pushes [`Effect`]s. What must not be said before it is durable
//! cannot be said before it is durable: a `Promise`, an `Accepted`, a `Fetched` and a `Prepare` exist only as a [`Then`] inside a
//! [`Effect::Sync`], a `Recorded` only inside a [`Effect::Flush`], and [`Then::release`] is the only code that turns one into a message. A short run that shows why:
//!
//! ```text
//! n2 votes for X in slot 5 and says so     n1 has a quorum {n1, n2}: X is chosen, the client hears "done"
//! n2 loses power before its disk has X     n2 restarts without the vote
//! n3 prepares, asks {n2, n3}               neither reports a vote: n3 proposes Y in slot 5. Two values, one slot.
//! ```
//!
//! The driver journals records in the order of the effects. `then` is released when its own records and those of every
//! `Sync` before it are durable. A `Sync` without records is a fence, and costs no disk access when nothing is under
//! way; a `Flush` waits for what was only appended, too, and costs none if that is nothing. `Send` may be lost, except to this node itself.

use super::agreement::Digest;
use super::ballot::{Ballot, NodeId};
use super::image::SnapshotId;
use super::membership::Membership;
use super::message::{
    Accepted, AcceptorMessage, ClientId, Durable, Fetched, LearnerMessage, Message, Prepare, Promise, ProposerMessage,
    Reply,
};
use super::record::{BatchNumber, Record};
use super::slot::Slot;
use super::value::Bytes;

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Deliver a message, to a peer (it may be lost) or to a role of this node (it may not).
    Send {
        /// The receiver.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// Make these records durable, then say this.
    Sync {
        /// In order, after everything appended earlier.
        records: Vec<Record>,
        /// Released once all of that is durable.
        then: Vec<Then>,
    },
    /// Journal these with the next sync; nothing waits for them.
    Append {
        /// In order.
        records: Vec<Record>,
    },
    /// Make everything durable that was appended earlier, also what nothing waited for, then say this.
    Flush {
        /// Released once all of that is durable.
        then: Vec<Then>,
    },
    /// Read chosen slots back from the journal and send them as [`LearnerMessage::Chosen`], as many as fit an answer.
    SupplySlots {
        /// The learner that asked.
        to: NodeId,
        /// The first slot.
        first: Slot,
        /// The last slot; it is chosen here.
        upto: Slot,
    },
    /// Send a part of a snapshot as [`LearnerMessage::SnapshotPart`].
    SupplySnapshot {
        /// The learner that asked.
        to: NodeId,
        /// The snapshot that it is in the middle of; if that is not there, or none, the newest from the beginning.
        wanted: Option<SnapshotId>,
        /// Where the part begins, in bytes.
        offset: u64,
    },
    /// Every member has executed every slot up to here: none of them will be asked for by slots again.
    ExecutedEverywhere {
        /// Inclusive.
        upto: Slot,
    },
    /// The members have changed: whom to link to, and whom to let in.
    Members(Box<Membership>),
    /// Write down a part of a snapshot from a peer, and say [`LearnerMessage::PartKept`]. The first part begins anew.
    /// Behind the last one, check the whole, restore it aside, and have the executor install it; or say
    /// [`LearnerMessage::SnapshotDropped`].
    KeepPart(SnapshotPart),
    /// The executor's state was frozen: the driver takes the image ([`Executor::take_images`]) in this very step, and has
    /// it digested, and saved, if it says so.
    ///
    /// [`Executor::take_images`]: super::Executor::take_images
    TakeSnapshot {
        /// The last slot that it will cover.
        upto: Slot,
    },
    /// The replicas agree on this node's state at a mark: what is saved of it, with this digest, is a snapshot.
    Proven {
        /// The last slot that it covers.
        upto: Slot,
        /// Of the state. One of the same mark may have been saved while it was wrong.
        digest: Digest,
    },
    /// Answer a client.
    Reply {
        /// Its connection.
        client: ClientId,
        /// The answer.
        reply: Reply,
    },
    /// Tell whoever watches.
    Note(Event),
}

/// A part of a snapshot from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The last slot that the snapshot covers.
    pub upto: Slot,
    /// Its file.
    pub id: SnapshotId,
    /// The whole size of its image in bytes.
    pub total: u64,
    /// Where the part begins.
    pub offset: u64,
    /// The part.
    pub bytes: Bytes,
}

/// What may be said only after a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Phase 1b to the candidate.
    Promise(NodeId, Promise),
    /// Phase 2b to the learner of the ballot's node.
    Accepted(NodeId, Accepted),
    /// Phase 1a to these acceptors: the ballot is reserved.
    Prepare(Vec<NodeId>, Prepare),
    /// To this node's own proposer: the disk answered.
    Fence(u64),
    /// To an acceptor whose journal lost votes.
    Fetched(NodeId, Fetched),
    /// To this node's own acceptor: everything up to here would be known to be chosen after a crash, too.
    Recorded(Slot),
}

impl Then {
    /// The messages, now that the records before them are durable. `own` is this node.
    pub fn release(self, own: NodeId) -> impl Iterator<Item = (NodeId, Message)> {
        let (mut one, mut to_each) = (None, None);
        match self {
            Then::Promise(to, promise) => {
                one = Some((to, ProposerMessage::Promise(Durable::after_sync(promise)).into()));
            }
            Then::Accepted(to, accepted) => {
                one = Some((to, LearnerMessage::Accepted(Durable::after_sync(accepted)).into()));
            }
            Then::Prepare(nodes, prepare) => {
                to_each =
                    Some(nodes.into_iter().map(move |node| (node, AcceptorMessage::Prepare(prepare.clone()).into())));
            }
            Then::Fence(number) => one = Some((own, ProposerMessage::Fenced { number }.into())),
            Then::Fetched(to, fetched) => {
                one = Some((to, AcceptorMessage::Fetched(Durable::after_sync(fetched)).into()));
            }
            Then::Recorded(upto) => one = Some((own, AcceptorMessage::Recorded(Durable::after_sync(upto)).into())),
        }
        one.into_iter().chain(to_each.into_iter().flatten())
    }
}

/// A buffer of effects. One serves a whole lot of messages, so that records and frames combine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Empty.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// Send a message to a node.
    pub fn send(&mut self, to: NodeId, message: impl Into<Message>) {
        self.0.push(Effect::Send { to, message: message.into() });
    }

    /// Send a message to every node of a list.
    pub fn broadcast(&mut self, to: impl IntoIterator<Item = NodeId>, message: impl Into<Message>) {
        let message = message.into();
        let mut nodes = to.into_iter();
        let Some(mut node) = nodes.next() else { return };
        for next in nodes {
            self.send(node, message.clone());
            node = next;
        }
        self.send(node, message);
    }

    /// Make records durable, then say something.
    pub fn sync(&mut self, records: Vec<Record>, then: Vec<Then>) {
        self.0.push(Effect::Sync { records, then });
    }

    /// Journal records with the next sync.
    pub fn append(&mut self, records: Vec<Record>) {
        if !records.is_empty() {
            self.0.push(Effect::Append { records });
        }
    }

    /// Answer a client.
    pub fn reply(&mut self, client: ClientId, reply: Reply) {
        self.0.push(Effect::Reply { client, reply });
    }

    /// Tell whoever watches.
    pub fn note(&mut self, event: Event) {
        self.0.push(Effect::Note(event));
    }

    /// Any other effect.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.0.drain(..)
    }

    /// What is there, in order.
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Something worth telling people and checkers. Never needed for correctness.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Event {
    /// A message was ignored, and why.
    Ignored {
        /// Who said it.
        from: NodeId,
        /// What it was.
        what: &'static str,
        /// Why it was ignored.
        why: &'static str,
    },
    /// This node asks whether anybody hears a leader.
    Canvassing {},
    /// This node prepares a ballot.
    Preparing {
        /// The ballot.
        ballot: Ballot,
    },
    /// A quorum promised; this node leads.
    Leading {
        /// The ballot.
        ballot: Ballot,
        /// The first slot that it proposes.
        first: Slot,
        /// How many values it found in the promises and proposes again.
        merged: u64,
        /// How many holes it fills with no-ops.
        holes: u64,
    },
    /// A quorum of a configuration to come has promised the ballot that this node leads with.
    Extended {
        /// The ballot.
        ballot: Ballot,
        /// The first slot of that configuration.
        first: Slot,
        /// How many values it found in the promises and proposes again.
        merged: u64,
    },
    /// The members have changed, by an entry of the log.
    Changed {
        /// The slot of the entry.
        slot: Slot,
        /// What was done.
        change: Changed,
        /// The first slot that it holds for.
        from: Slot,
    },
    /// This node has left, and nobody needs it any more.
    Dismissed {
        /// The first slot in which it had no vote.
        from: Slot,
    },
    /// This node heard of a new leader.
    Following {
        /// Its ballot.
        ballot: Ballot,
    },
    /// This node stopped leading.
    SteppedDown {
        /// The ballot it led with.
        ballot: Ballot,
        /// Why.
        why: &'static str,
    },
    /// Slots were executed.
    Executed {
        /// Everything up to here.
        upto: Slot,
        /// How many commands that was this time.
        commands: u64,
    },
    /// The members were written down as of a later slot than the journal knows anything of: it has lost its tail. This node
    /// learns what lies between from the others before it votes.
    Shortened {
        /// The last slot of which the journal knows anything.
        reaches: Slot,
        /// As of this slot the members were written down.
        written_upto: Slot,
    },
    /// The journal ends before what a peer has seen us acknowledge: this node does not vote.
    Amnesia {
        /// The peer that knows more.
        peer: NodeId,
        /// What it has seen.
        witnessed: BatchNumber,
        /// What our journal has.
        durable: BatchNumber,
    },
    /// A quorum of handshakes: this node may vote.
    Admitted {},
    /// Batches of this node's journal are damaged: it does not vote before what they held is repaired from peers.
    Damaged {
        /// How many batches cannot be read.
        batches: u64,
        /// How many votes are to be had from peers.
        votes: u64,
        /// Slots up to here must be settled first.
        upto: Slot,
    },
    /// A lost vote was dropped: nothing can have been chosen by it, or ever will be.
    Dropped {
        /// The slot voted on.
        slot: Slot,
        /// The ballot voted in.
        ballot: Ballot,
    },
    /// All of that is repaired.
    Repaired {},
    /// A snapshot from a peer took the place of the log up to here.
    Installed {
        /// Inclusive.
        upto: Slot,
    },
    /// The replicas agree on the digest of their states.
    Agreed {
        /// At this mark.
        mark: Slot,
    },
    /// This node's state is not what the replicas agree on. It answers nothing until it is repaired.
    Diverged {
        /// At this mark.
        mark: Slot,
        /// The digest of the state here.
        own: [u8; 32],
        /// The digest that a quorum reported.
        agreed: [u8; 32],
    },
    /// A peer's snapshot took the place of the state that differed, and the log was executed again: this node serves again.
    Rebuilt {
        /// Everything up to here is executed.
        upto: Slot,
    },
    /// The replicas' states differ, and no quorum of them is alike: nobody knows which is right.
    Disagreed {
        /// At this mark.
        mark: Slot,
        /// Who reported, and what.
        reports: Vec<(NodeId, [u8; 32])>,
    },
    /// A snapshot from a peer was dropped; another is asked.
    SnapshotDropped {
        /// Who sent the last part of it.
        peer: NodeId,
        /// The last slot that it covers.
        upto: Slot,
        /// Why.
        why: &'static str,
    },
}

/// How the members have changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Changed {
    /// A newcomer, without a vote.
    Added {
        /// Its number.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// A member left.
    Removed {
        /// Its name.
        name: String,
    },
    /// A member's name went to another data folder, without a vote so far.
    Replaced {
        /// The new number.
        node: NodeId,
        /// The name.
        name: String,
    },
    /// A newcomer got its vote.
    Promoted {
        /// Its number.
        node: NodeId,
        /// Its name.
        name: String,
    },
}

/// A snapshot's bytes as the wire carries them, in parts as long as this; only the last is shorter.
pub const SNAPSHOT_PART_BYTES: usize = 256 * 1024;
