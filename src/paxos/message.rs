//! Who says what to whom.
//!
//! ```text
//!   door        Proposer        Acceptors       Learner (leader's)   Learners (others)   Executor
//!    │ Submit      │                │                   │                   │                │
//!    ├────────────►│ Accept         │                   │                   │                │
//!    │             ├───────────────►│ vote; sync        │                   │                │
//!    │             │                ├─ Accepted ───────►│ a quorum:         │                │
//!    │             │◄─ Advanced ────┼───────────────────┤ chosen            │                │
//!    │             │                │                   ├─ Chosen ──────────┼───────────────►│ apply, reply
//!    │             ├─ Announce ────►├─ Announced ───────┼──────────────────►├─ Chosen ──────►│ apply, reply
//! ```
//!
//! | message | from | to | when | reply |
//! |---|---|---|---|---|
//! | `Submit` | door | own proposer | a client's commands, one lot | a [`Reply`] each |
//! | `Forward` | proposer | leader's proposer | commands that came to a follower | none; `Refused` |
//! | `Canvass` | would-be candidate | proposers | no leader heard | `Canvassed` |
//! | `Prepare` | candidate | acceptors | a quorum hears no leader | `Promise`, `Nack` |
//! | `Promise` | acceptor | candidate | durable | |
//! | `Accept` | leader | acceptors | a slot opens, or again after a while | `Accepted`, `Nack`, `Settled` |
//! | `Accepted` | acceptor | learner of the ballot's node | durable | |
//! | `Settled` | acceptor | leader | an Accept for slots it knows to be chosen | |
//! | `Nack` | acceptor | sender | a lower ballot than promised | |
//! | `Heartbeat` | leader | acceptors | regularly; at once for reads | `HeartbeatAck`, `Nack` |
//! | `Announce` | leader | acceptors | slots were chosen and nothing else is about to go | |
//! | `Transfer` | a person, via a proposer | leader's proposer | another is to lead | |
//! | `TakeOver` | leader | its successor's proposer | it has caught up | |
//! | `Dismissed` | leader | a proposer that has left | nobody needs it | |
//! | `Hearsay` | router | acceptors | now and then, if there is news | |
//! | `ReadIndex` | executor, via its proposer | leader's proposer | a read | `ReadIndexed`, `ReadRefused` |
//! | `FetchVotes` | acceptor with a damaged journal | acceptors | regularly, until it is repaired | `Fetched` |
//! | `Fetched` | acceptor | acceptor | durable | |
//! | `CatchUp` | learner | learner | it knows of chosen slots that it lacks | `Chosen`, `SnapshotPart` |
//!
//! One inbound enum per role: a misdirected message does not type-check. Messages that only a node's own roles may say
//! are refused at the door when a peer says them ([`Message::may_travel`]).

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::image::SnapshotId;
use super::membership::Membership;
use super::record::BatchNumber;
use super::slot::{Place, Slot};
use super::value::{Bytes, Command, Sequence, SessionId, Token, Value};

/// Which of a host's replicated groups a message belongs to. There is one today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

/// A message on its way from one node's role to another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// The replicated group.
    pub group: GroupId,
    /// The sender. A link checks it against the peer that it authenticated.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// What is said, to which role.
    pub message: Message,
}

/// A message and the role that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// For the proposer.
    Proposer(ProposerMessage),
    /// For the acceptor.
    Acceptor(AcceptorMessage),
    /// For the learner.
    Learner(LearnerMessage),
    /// For the executor.
    Executor(ExecutorMessage),
}

impl Message {
    /// Whether a peer may say this. The others are for the roles of one node among themselves.
    pub fn may_travel(&self) -> bool {
        match self {
            Message::Proposer(message) => !matches!(
                message,
                ProposerMessage::Submit { .. }
                    | ProposerMessage::Heard { .. }
                    | ProposerMessage::Advanced { .. }
                    | ProposerMessage::Fenced { .. }
                    | ProposerMessage::Standing { .. }
                    | ProposerMessage::Executed(_)
                    | ProposerMessage::MarkDue { .. }
                    | ProposerMessage::Fit { .. }
            ),
            Message::Acceptor(message) => !matches!(
                message,
                AcceptorMessage::Learned { .. }
                    | AcceptorMessage::Greeted { .. }
                    | AcceptorMessage::Witnessed { .. }
                    | AcceptorMessage::Executed(_)
                    | AcceptorMessage::Recorded(_)
            ),
            Message::Learner(message) => !matches!(
                message,
                LearnerMessage::Voting { .. }
                    | LearnerMessage::Announced { .. }
                    | LearnerMessage::Behind { .. }
                    | LearnerMessage::Installed { .. }
                    | LearnerMessage::Trimmed { .. }
                    | LearnerMessage::Unreadable { .. }
                    | LearnerMessage::Executed(_)
                    | LearnerMessage::PartKept { .. }
                    | LearnerMessage::SnapshotDropped { .. }
                    | LearnerMessage::Repair {}
            ),
            Message::Executor(message) => matches!(
                message,
                ExecutorMessage::ReadIndexed { .. }
                    | ExecutorMessage::ReadRefused { .. }
                    | ExecutorMessage::Refused { .. }
            ),
        }
    }
}

impl From<ProposerMessage> for Message {
    fn from(message: ProposerMessage) -> Message {
        Message::Proposer(message)
    }
}

impl From<AcceptorMessage> for Message {
    fn from(message: AcceptorMessage) -> Message {
        Message::Acceptor(message)
    }
}

impl From<LearnerMessage> for Message {
    fn from(message: LearnerMessage) -> Message {
        Message::Learner(message)
    }
}

impl From<ExecutorMessage> for Message {
    fn from(message: ExecutorMessage) -> Message {
        Message::Executor(message)
    }
}

/// Said only once what it claims is durable: built by [`super::effect::Then::release`] alone, or read from a peer that
/// built it so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    pub(super) fn after_sync(claim: T) -> Durable<T> {
        Durable(claim)
    }

    /// What is claimed.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Durable<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A chosen slot: where, a ballot in which it is known to be chosen, and what.
pub type Choice = (Slot, Ballot, Value);

/// One vote, as a promise reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// The slot voted on.
    pub slot: Slot,
    /// The ballot voted in.
    pub ballot: Ballot,
    /// The value voted for.
    pub value: Value,
}

/// Phase 1b: "I answer nothing below this ballot, and these are my votes".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// The ballot promised.
    pub ballot: Ballot,
    /// The first slot asked about: answers to different questions are not put together.
    pub from: Slot,
    /// This node knows every slot up to here to be chosen, and can supply it.
    pub settled_upto: Slot,
    /// Some of its votes above max(from − 1, `settled_upto`), in order of slots.
    pub votes: Vec<Vote>,
    /// Which part of the promise this is, from 0.
    pub part: u32,
    /// How many parts there are; the promise counts when all are there.
    pub parts: u32,
}

/// Phase 2b: "I voted in this ballot for what its owner proposed in these slots".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accepted {
    /// The ballot.
    pub ballot: Ballot,
    /// The slots, in the order of the Accept.
    pub slots: Vec<Slot>,
}

/// What an acceptor knows of votes that a peer's journal lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fetched {
    /// Its own votes in those very slots and ballots, as many as fit.
    pub votes: Vec<Vote>,
    /// Slots and ballots in which it never voted; it has promised a higher ballot, so it never will.
    pub denied: Vec<(Slot, Ballot)>,
    /// It knows every slot up to here to be chosen, and can supply it.
    pub settled_upto: Slot,
}

/// Phase 1a.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prepare {
    /// The candidate's ballot; its `Reserved` record is durable.
    pub ballot: Ballot,
    /// The candidate knows every slot below to be chosen.
    pub from: Slot,
}

/// What a proposer receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProposerMessage {
    /// Commands from this node's clients.
    Submit {
        /// One lot.
        commands: Vec<Command>,
    },
    /// Commands that a follower's clients sent it.
    Forward {
        /// One lot.
        commands: Vec<Command>,
    },
    /// Do you hear a leader, and how far is your log?
    Canvass {
        /// Distinguishes this canvass from the sender's earlier ones.
        number: u64,
        /// The sender's own watermark.
        chosen_upto: Slot,
    },
    /// The answer to a canvass.
    Canvassed {
        /// The canvass answered.
        number: u64,
        /// Whether this node hears a leader that has not abdicated.
        hears_leader: bool,
        /// How far this node's log is chosen.
        chosen_upto: Slot,
        /// The highest ballot this node has seen: the candidate goes above it.
        highest: Ballot,
    },
    /// Phase 1b.
    Promise(Durable<Promise>),
    /// Your ballot is too low.
    Nack {
        /// The ballot that was refused.
        refused: Ballot,
        /// The ballot promised meanwhile.
        promised: Ballot,
    },
    /// You proposed where I know the outcome.
    Settled {
        /// The ballot of the Accept.
        ballot: Ballot,
        /// Everything up to here is chosen, and can be had from the sender.
        upto: Slot,
    },
    /// An acceptor whose promise is not above `ballot` heard heartbeat `round`.
    HeartbeatAck {
        /// The leader's ballot.
        ballot: Ballot,
        /// The round answered.
        round: u64,
        /// How far the sender has settled.
        settled_upto: Slot,
        /// How far it has executed, or a little further.
        executed_upto: Slot,
    },
    /// Hand leadership to this member. For the leader; whoever else hears it passes it on to the leader, once.
    Transfer {
        /// The member that is to lead.
        to: NodeId,
    },
    /// The leader of this ballot wants the receiver to lead: prepare now, without asking around.
    TakeOver {
        /// The leader's ballot.
        ballot: Ballot,
    },
    /// The receiver has left, and everything that it could supply is had by others: it may stop.
    Dismissed {
        /// The first slot in which it had no vote.
        from: Slot,
    },
    /// Which slot must be executed before reads that have already arrived may be answered?
    ReadIndex {
        /// The asking executor's name for these reads: never used twice, across restarts too.
        batch: u64,
    },
    /// Local, from the acceptor: a leader with this ballot is alive.
    Heard {
        /// Its ballot.
        ballot: Ballot,
    },
    /// Local, from the learner: more is chosen.
    Advanced {
        /// Everything up to here.
        chosen_upto: Slot,
        /// The highest ballot in which one of the new slots is known to be chosen; unknown for a snapshot.
        ballot: Option<Ballot>,
    },
    /// Local, from the journal: the disk is alive.
    Fenced {
        /// The number of the fence that came back.
        number: u64,
    },
    /// Local, from the acceptor: whether this node may vote and propose.
    Standing {
        /// It may.
        admitted: bool,
    },
    /// Local, from the executor: how far it is, and who the members are, if that has changed.
    Executed(Progress),
    /// Local, from the executor: whether this node may lead. One whose state is being repaired holds up everybody.
    Fit {
        /// It may.
        fit: bool,
    },
    /// Local, from the executor: the replicas have not compared their states for a while.
    MarkDue {
        /// They are to save them, too.
        save: bool,
    },
}

/// How far an executor is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// Everything up to here is executed.
    pub upto: Slot,
    /// The members as they are there, if they are others than told before.
    pub membership: Option<Box<Membership>>,
}

impl Progress {
    /// Renews a role's copy.
    pub fn renew(self, held: &mut Membership) {
        if let Some(membership) = self.membership {
            *held = *membership;
        }
        held.on_executed(self.upto);
    }
}

/// What an acceptor receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AcceptorMessage {
    /// Phase 1a.
    Prepare(Prepare),
    /// Phase 2a, for many slots at once.
    Accept {
        /// The proposer's ballot.
        ballot: Ballot,
        /// Slots and what is proposed there, ascending.
        proposals: Vec<(Slot, Value)>,
        /// The leader's announcement, riding along.
        chosen_upto: Slot,
    },
    /// The leader is alive.
    Heartbeat {
        /// Its ballot.
        ballot: Ballot,
        /// Unique within the ballot.
        round: u64,
        /// Its announcement.
        chosen_upto: Slot,
        /// Every member has executed everything up to here.
        everywhere_upto: Slot,
    },
    /// Slots were chosen.
    Announce {
        /// The leader's ballot.
        ballot: Ballot,
        /// Everything up to here.
        chosen_upto: Slot,
    },
    /// How far the sender has seen the journals of others to be durable. A node that lost its tail is found out by
    /// whomever it meets first, not only by the leader that its votes went to.
    Hearsay {
        /// By node: in which start of it, and up to where.
        batches: Vec<(NodeId, u64, BatchNumber)>,
    },
    /// Local, from the learner: everything up to here is chosen.
    Learned {
        /// Inclusive.
        chosen_upto: Slot,
    },
    /// Local, from a link: a peer told how far its journal is durable.
    Witnessed {
        /// The peer.
        peer: NodeId,
        /// Its batch.
        batch: BatchNumber,
    },
    /// Local, from a link: a handshake with a peer succeeded.
    Greeted {
        /// The peer.
        peer: NodeId,
        /// The highest batch of our journal that the peer has seen us claim.
        witnessed: BatchNumber,
        /// The highest batch that is durable in our journal.
        durable: BatchNumber,
    },
    /// Local, from the executor: as for the proposer.
    Executed(Progress),
    /// The sender's journal lost its votes in these slots and ballots: what do you know of them?
    FetchVotes {
        /// Ascending, a limited number.
        votes: Vec<(Slot, Ballot)>,
    },
    /// The answer.
    Fetched(Durable<Fetched>),
    /// Local, from the journal: everything up to here would be known to be chosen after a crash, too.
    Recorded(Durable<Slot>),
}

/// What a learner receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LearnerMessage {
    /// Phase 2b.
    Accepted(Durable<Accepted>),
    /// Please send what is chosen from this slot on.
    CatchUp {
        /// The first slot wanted.
        first: Slot,
    },
    /// Chosen slots, consecutive.
    Chosen {
        /// Slot, a ballot in which it is known to be chosen, value; ascending.
        entries: Vec<Choice>,
        /// How far the sender's log is chosen.
        chosen_upto: Slot,
    },
    /// This slot is chosen, but the sender's journal has lost what: whoever voted there in this ballot or a higher one has it.
    ChosenIn {
        /// The slot.
        slot: Slot,
        /// It is chosen in this ballot, or in a lower one.
        ballot: Ballot,
    },
    /// Please send the part of this snapshot that starts at this offset; the first of your newest, if you do not have it.
    FetchSnapshot {
        /// The last slot that the snapshot covers.
        upto: Slot,
        /// Its file, byte by byte.
        id: SnapshotId,
        /// In bytes.
        offset: u64,
    },
    /// A part of a snapshot, because the slots asked for are gone.
    SnapshotPart {
        /// The last slot that the snapshot covers.
        upto: Slot,
        /// Its file, byte by byte: any peer that has the same can go on with it.
        id: SnapshotId,
        /// The whole size of its image in bytes.
        total: u64,
        /// Where this part begins: a multiple of [`SNAPSHOT_PART_BYTES`](super::effect::SNAPSHOT_PART_BYTES).
        offset: u64,
        /// The part: as long as that, the last one excepted.
        bytes: Bytes,
    },
    /// Local, from the acceptor: it votes for these; the records are on their way to the journal.
    Voting {
        /// The ballot voted in.
        ballot: Ballot,
        /// The votes.
        proposals: Vec<(Slot, Value)>,
    },
    /// Local, from the acceptor: a leader whose ballot is not below the promise announced this.
    Announced {
        /// The announcing leader's ballot; its node is the supplier of what we lack.
        ballot: Ballot,
        /// Everything up to here is chosen.
        chosen_upto: Slot,
    },
    /// Local, from the proposer, or the acceptor of a damaged journal: a peer knows more than we do.
    Behind {
        /// Everything up to here is chosen.
        chosen_upto: Slot,
        /// Who can supply it.
        supplier: NodeId,
    },
    /// Local, from the executor: a snapshot took the place of every slot up to here.
    Installed {
        /// Inclusive.
        upto: Slot,
    },
    /// Local, from the journal: it no longer holds slots up to here; a snapshot covers them.
    Trimmed {
        /// Inclusive.
        upto: Slot,
    },
    /// Local, from the journal: it cannot give back what is chosen in a slot.
    Unreadable {
        /// The slot.
        slot: Slot,
        /// For whom it was to be read: a peer, or the own executor.
        to: NodeId,
    },
    /// Local, from the executor: as for the proposer.
    Executed(Progress),
    /// Local, from the keeper: so much of a snapshot from a peer is written.
    PartKept {
        /// Which.
        id: SnapshotId,
        /// In bytes, from the beginning.
        upto_bytes: u64,
    },
    /// Local, from the executor: its state is not what the replicas agree on. A peer's snapshot must take its place,
    /// even of slots that are known here.
    Repair {},
    /// Local, from the keeper: a snapshot from a peer, or what there was of it, is gone.
    SnapshotDropped {
        /// Which.
        id: SnapshotId,
        /// Why.
        because: Dropped,
    },
}

/// Why a snapshot from a peer was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dropped {
    /// The disk is full.
    NoSpace,
    /// It is not what its digest says, or no state of this machine.
    Refused,
    /// A part came that does not follow what is there.
    OutOfPlace,
}

/// What an executor receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecutorMessage {
    /// Local, from the learner: the next slots, consecutive.
    Chosen {
        /// Slot, a ballot in which it is known to be chosen, value; ascending.
        entries: Vec<Choice>,
    },
    /// Local, from a door: replies to this session go to this client from now on.
    Attach {
        /// The session.
        session: SessionId,
        /// The client's connection.
        client: ClientId,
    },
    /// Local, from a door: this client awaits the session that it opens by this token.
    AttachToken {
        /// In its `Open` command.
        token: Token,
        /// The client's connection.
        client: ClientId,
    },
    /// Local, from a door: this connection is gone.
    Detach {
        /// The client's connection.
        client: ClientId,
    },
    /// Local, from a door: reads.
    Read {
        /// Who asks.
        client: ClientId,
        /// The client's numbers for the reads, and what to ask the machine.
        queries: Vec<(u64, Bytes)>,
        /// Answer from what is executed here, however old.
        local: bool,
    },
    /// The answer to `ReadIndex`.
    ReadIndexed {
        /// The reads.
        batch: u64,
        /// They may be answered once this slot is executed.
        index: Slot,
    },
    /// `ReadIndex` can't be answered: there is no leader, or it has just changed.
    ReadRefused {
        /// The reads.
        batch: u64,
    },
    /// Commands that were not taken; each is definitely not in the log on this attempt's account.
    Refused {
        /// Their sessions and sequences, or the token of an `Open`.
        commands: Vec<CommandName>,
        /// Why.
        reason: Refusal,
    },
    /// Local, from the proposer: there is a new leader; what was on its way to the old one may be lost.
    LeaderChanged {},
    /// Local, from the journal: this slot cannot be read back for a peer that lacks it. A snapshot must take its place.
    SnapshotWanted {
        /// The slot.
        slot: Slot,
    },
    /// Local, from the journal: the snapshot is whole and durable.
    SnapshotSaved {
        /// The last slot that it covers.
        upto: Slot,
    },
    /// Local, from the keeper: there was no room for the snapshot, or no use for it.
    SnapshotUnsaved {},
    /// Local, from the keeper: the digest of an image.
    Digested {
        /// Which image.
        number: u64,
        /// The last slot that it covers.
        upto: Slot,
        /// The digest of the state.
        digest: [u8; 32],
    },
    /// Local, from the proposer of the node that leads: some node wants the replicas to compare their states.
    MarkWanted {
        /// And to save them.
        save: bool,
    },
    /// Local, from the journal: it is too long, and would be shorter if two snapshots covered this.
    TrimWanted {
        /// The last slot.
        upto: Slot,
    },
}

/// By what a reply finds the command it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CommandName {
    /// An [`Command::Open`].
    Open(Token),
    /// An [`Command::Apply`] or a [`Command::Change`].
    Apply(SessionId, Sequence),
}

impl Command {
    /// By what its reply is known; none for what no client sends.
    pub fn name(&self) -> Option<CommandName> {
        match self {
            Command::Open { token } => Some(CommandName::Open(*token)),
            Command::Apply { session, sequence, .. } | Command::Change { session, sequence, .. } => {
                Some(CommandName::Apply(*session, *sequence))
            }
            Command::Promote { .. } | Command::Mark { .. } | Command::Report { .. } => None,
        }
    }
}

/// A client's connection to a node, numbered by that node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(pub u64);

/// Why a request was not taken. Nothing has happened on its account; it may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// No leader is known. The cluster may be electing one, or a majority is out of reach.
    NoLeader,
    /// The queue is full.
    Busy,
    /// This node's journal has lost what it acknowledged, or has not yet met a quorum: it does not propose.
    NotAdmitted,
    /// The operation is larger than the limit, in bytes.
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// Of the members that would vote after this change, too few are in the leader's reach.
    NoLiveQuorum {
        /// So many are.
        reachable: u32,
        /// So many are needed.
        quorum: u32,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::NoLeader => f.write_str("no leader: a majority of the cluster cannot be reached"),
            Refusal::Busy => f.write_str("busy: the node's queue is full"),
            Refusal::NotAdmitted => f.write_str("this node does not serve at the moment: its `status` tells why"),
            Refusal::TooLarge { limit } => write!(f, "larger than the limit of {limit} bytes"),
            Refusal::NoLiveQuorum { reachable, quorum } => write!(
                f,
                "the cluster would stop: {quorum} of the members that would be left must answer, and {reachable} do; \
                 bring members back first, or say --force"
            ),
        }
    }
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// The session is open.
    Opened {
        /// By which it was asked for.
        token: Token,
        /// Its number.
        session: SessionId,
    },
    /// The command has been executed, now or earlier.
    Done {
        /// The session.
        session: SessionId,
        /// The command.
        sequence: Sequence,
        /// Where it stands in the log.
        place: Place,
        /// A ballot in which its slot is known to be chosen; none when the reply comes from the session's memory.
        ballot: Option<Ballot>,
        /// What the machine answered.
        result: Bytes,
    },
    /// The log knows no such session (any more): the command did nothing.
    SessionExpired {
        /// The session.
        session: SessionId,
        /// The command.
        sequence: Sequence,
    },
    /// The sequence lies outside the session's window: below `done_below`, or too far above. The command did nothing
    /// on this account.
    OutOfWindow {
        /// The session.
        session: SessionId,
        /// The command.
        sequence: Sequence,
    },
    /// The command was not taken.
    Refused {
        /// Which.
        command: CommandName,
        /// Why.
        reason: Refusal,
        /// It was another node that refused it. Copies of what was sent on may still be under way, of the command and of
        /// this answer: only a refusal by the client's own node says that nothing happened.
        forwarded: bool,
    },
    /// There is a new leader, or a snapshot took the place of slots here: commands and reads that are still unanswered
    /// are best sent again now.
    LeaderChanged {},
    /// What a read found.
    Read {
        /// The client's number for the read.
        id: u64,
        /// What the machine answered.
        result: Bytes,
    },
    /// The read could not be answered.
    ReadRefused {
        /// The client's number for the read.
        id: u64,
        /// Why.
        reason: Refusal,
    },
    /// The command has been executed, now or earlier, and will not be again; but its result is not to be had: it is
    /// larger than any that is kept, or has made room for newer ones.
    ResultDropped {
        /// The session.
        session: SessionId,
        /// The command.
        sequence: Sequence,
        /// Where it stands in the log.
        place: Place,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_tells_a_person_why() {
        let stalled = Refusal::NoLiveQuorum { reachable: 1, quorum: 2 };
        let told = [Refusal::NoLeader, Refusal::Busy, Refusal::NotAdmitted, Refusal::TooLarge { limit: 9 }, stalled];
        assert_eq!(
            told.map(|refusal| refusal.to_string()),
            [
                "no leader: a majority of the cluster cannot be reached",
                "busy: the node's queue is full",
                "this node does not serve at the moment: its `status` tells why",
                "larger than the limit of 9 bytes",
                "the cluster would stop: 2 of the members that would be left must answer, and 1 do; bring members back \
                 first, or say --force",
            ]
        );
    }
}
