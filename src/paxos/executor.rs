//! The executor: applies what is chosen, in order, and answers.
//!
//! It owns the replicated state: the machine, the session table and the log's clock, which change by log entries alone,
//! so that every node that executed the same slots holds the same state. Around it, not replicated: which client's
//! connection awaits which session, and reads that wait for their index.
//!
//! A snapshot begins with an [`Image`]: at a mark the state is frozen at exactly that slot, between two others of the same
//! lot, and handed to the driver in the same step; the executor goes on, and hears later of its digest, and that it is
//! saved, or that it is not. What follows from the digests is in `marks`.
//! [`Executor::install`] is as short: what a peer's snapshot holds was restored elsewhere, and is only put in place here.
//!
//! A linearizable read asks the leader for an index and is answered once that slot is executed here (DESIGN section 4,
//! rule 3). All reads of a lot share one question. A batch of reads has a number that this node never used before, not
//! even before a restart: a late answer to an old question would be a stale index.

use std::collections::{BTreeMap, BTreeSet};

use super::agreement::Agreement;
use super::ballot::{Ballot, NodeId};
use super::dice::mix;
use super::effect::{Changed, Effect, Effects, Event, Then};
use super::image::{Image, State, Taken};
use super::marks::{Marks, Standing};
use super::membership::{Change, Membership, Outcome};
use super::message::{
    AcceptorMessage, Choice, ClientId, CommandName, ExecutorMessage, LearnerMessage, Progress, ProposerMessage,
    Refusal, Reply,
};
use super::sessions::{Sessions, Verdict};
use super::settings::{MAX_ANSWER_BYTES, MAX_KEPT_RESULT_BYTES, MAX_READ_BYTES, MAX_READS, SESSION_IDLE_MS, Settings};
use super::slot::{Place, Slot};
use super::state_machine::{Context, StateMachine};
use super::value::{Bytes, Command, Entry, Sequence, SessionId, Token, Value};

/// One node's executor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Executor<M> {
    pub(super) own: NodeId,
    pub(super) settings: Settings,
    machine: M,
    sessions: Sessions,
    /// The members before the first slot.
    founded: Membership,
    pub(super) membership: Membership,
    pub(super) agreement: Agreement,
    /// The log's clock, in milliseconds since 1970; it never goes back.
    clock_ms: u64,
    pub(super) executed_upto: Slot,
    told: Told,
    pub(super) snapshots: SnapshotsDue,
    /// Frozen in this step, on their way to the driver; empty between steps.
    pub(super) images: Uncompared<Vec<Taken>>,
    pub(super) marks: Marks,
    audience: Audience,
    reads: Reads,
    /// Of the results told to clients in this lot, which leave together at its end; zero between lots.
    result_bytes: usize,
}

/// What counts for nothing where two executors are compared, and stays behind where one is copied.
#[derive(Debug, Default)]
pub(super) struct Uncompared<T>(pub(super) T);

impl<T: Default> Clone for Uncompared<T> {
    fn clone(&self) -> Uncompared<T> {
        Uncompared::default()
    }
}

impl<T> PartialEq for Uncompared<T> {
    fn eq(&self, _: &Uncompared<T>) -> bool {
        true
    }
}

impl<T> Eq for Uncompared<T> {}

impl<T> std::hash::Hash for Uncompared<T> {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// The node's snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SnapshotsDue {
    /// The newest durable one covers every slot up to here.
    upto: Slot,
    /// One is being saved.
    pub(super) saving: Option<Saving>,
    /// When one was last wanted besides those that are due, in milliseconds.
    wanted_ms: Option<u64>,
    /// The snapshot before the newest durable one covers every slot up to here, as far as is known.
    older_upto: Slot,
    /// The journal is too long: it would be shorter if two snapshots covered this.
    short_upto: Slot,
    /// A peer's snapshot was put in place up to here, and is not saved under its name yet: a crash falls back behind it.
    unsaved: Option<Slot>,
}

/// A snapshot that is being saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Saving {
    /// Of this mark.
    pub(super) upto: Slot,
    /// The replicas have agreed at it.
    pub(super) agreed: bool,
}

/// What the other roles know of how far this one is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    upto: Slot,
    /// The members have changed since.
    members_changed: bool,
    /// The journal was flushed when everything up to here was executed.
    recorded_upto: Slot,
}

/// Who awaits which replies on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Audience {
    sessions: BTreeMap<SessionId, ClientId>,
    tokens: BTreeMap<Token, ClientId>,
}

/// Reads that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Reads {
    next_batch: u64,
    /// Gathered in this lot; empty between lots.
    gathered: Vec<Read>,
    waiting: BTreeMap<u64, ReadBatch>,
    /// Of the answers given in this lot, which leave together at its end; zero between lots.
    answer_bytes: usize,
    now_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    client: ClientId,
    id: u64,
    question: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReadBatch {
    reads: Vec<Read>,
    /// Of their questions.
    bytes: usize,
    index: Option<Slot>,
    asked_ms: u64,
    since_ms: u64,
}

impl Reads {
    /// How many wait, and how many bytes their questions have.
    fn waiting(&self) -> (usize, usize) {
        let of_batch = |(count, bytes), batch: &ReadBatch| (count + batch.reads.len(), bytes + batch.bytes);
        self.waiting.values().fold((self.gathered.len(), bytes_of(&self.gathered)), of_batch)
    }
}

fn bytes_of(reads: &[Read]) -> usize {
    reads.iter().map(|read| read.question.len()).sum()
}

impl<M: StateMachine> Executor<M> {
    /// An executor of an empty log, of the cluster that these members founded. `seed` is new at every start: numbers of
    /// read batches follow from it.
    pub fn new(own: NodeId, membership: Membership, settings: Settings, machine: M, seed: u64) -> Executor<M> {
        Executor {
            own,
            settings,
            machine,
            sessions: Sessions::new(),
            founded: membership.clone(),
            membership,
            agreement: Agreement::default(),
            clock_ms: 0,
            executed_upto: Slot::ZERO,
            told: Told::default(),
            snapshots: SnapshotsDue::default(),
            images: Uncompared::default(),
            marks: Marks::default(),
            audience: Audience::default(),
            reads: Reads { next_batch: mix(seed), ..Reads::default() },
            result_bytes: 0,
        }
    }

    /// Handles one message.
    pub fn on_message(&mut self, from: NodeId, message: ExecutorMessage, fx: &mut Effects) {
        match message {
            ExecutorMessage::Chosen { entries } => self.on_chosen(entries, fx),
            ExecutorMessage::Attach { session, client } => {
                self.audience.sessions.insert(session, client);
            }
            ExecutorMessage::AttachToken { token, client } => {
                self.audience.tokens.insert(token, client);
            }
            ExecutorMessage::Detach { client } => self.on_detach(client),
            ExecutorMessage::Read { client, queries, local } => self.on_read(client, queries, local, fx),
            ExecutorMessage::ReadIndexed { batch, index } => self.on_read_indexed(from, batch, index, fx),
            ExecutorMessage::ReadRefused { batch } => self.on_read_refused(batch, fx),
            ExecutorMessage::Refused { commands, reason } => self.on_refused(from, &commands, &reason, fx),
            ExecutorMessage::LeaderChanged {} => self.on_leader_changed(fx),
            ExecutorMessage::SnapshotWanted { slot } => self.on_snapshot_wanted(slot, fx),
            ExecutorMessage::SnapshotSaved { upto } => {
                self.snapshots.saving.take_if(|saving| saving.upto <= upto);
                self.snapshots.unsaved = self.snapshots.unsaved.filter(|unsaved| *unsaved > upto);
                if upto > self.snapshots.upto {
                    self.snapshots.older_upto = std::mem::replace(&mut self.snapshots.upto, upto);
                }
                self.record_beginning(fx);
                self.shorten(fx);
            }
            ExecutorMessage::SnapshotUnsaved {} => {
                self.snapshots.saving = None;
                self.snapshots.short_upto = Slot::ZERO; // the next one that is due tries again
            }
            ExecutorMessage::TrimWanted { upto } => {
                self.snapshots.short_upto = upto;
                self.shorten(fx);
            }
            ExecutorMessage::MarkWanted { save } => self.tell_due(save, fx),
            ExecutorMessage::Digested { number, upto, digest } => self.on_digested(number, upto, digest, fx),
        }
    }

    /// Executes the next slots.
    pub fn on_chosen(&mut self, entries: Vec<Choice>, fx: &mut Effects) {
        let mut commands = 0;
        let from = self.executed_upto;
        for (slot, ballot, value) in entries {
            if slot <= self.executed_upto {
                continue; // a snapshot was installed meanwhile
            }
            if self.is_ahead_of_replay(slot) {
                continue;
            }
            assert_eq!(slot, self.executed_upto.next(), "the learner delivers chosen slots in order, without holes");
            let mark = self.execute(slot, ballot, &value, fx);
            commands += value.entries().len() as u64;
            self.executed_upto = slot;
            self.membership.on_executed(slot);
            let is_work = |entry| !matches!(entry, Entry::Mark { .. } | Entry::Report { .. });
            self.count_slot(value.as_bytes().len() as u64, value.entries().any(is_work));
            // Behind everything that the slot holds, so that a mark stands for one state however it was batched.
            if let Some(save) = mark {
                self.take_mark(save, fx);
            }
        }
        fx.note(Event::Executed { upto: self.executed_upto, commands });
        if self.told.members_changed
            || self.executed_upto.0.saturating_sub(self.told.upto.0) >= self.membership.alpha() / 8
        {
            self.tell_progress(fx);
        }
        self.record_beginning(fx);
        self.go_on_replaying(from, fx);
        self.renew_service(fx);
        self.look_due(fx);
        self.answer_reads(fx);
    }

    /// The log has come to the beginning of a configuration: that everything before it is chosen is made durable, once, and
    /// the acceptor hears of it. The learner had what is executed here appended before it told of it, so a flush has all
    /// that a crash would need; but not what only a snapshot tells that is not saved yet.
    fn record_beginning(&mut self, fx: &mut Effects) {
        let before = self.membership.spans()[0].first.previous();
        if self.told.recorded_upto < before && self.snapshots.unsaved.is_none() {
            self.told.recorded_upto = self.executed_upto;
            fx.push(Effect::Flush { then: vec![Then::Recorded(self.executed_upto)] });
        }
    }

    /// The own journal cannot supply a slot that a peer lacks, or somebody takes a backup.
    fn on_snapshot_wanted(&mut self, slot: Slot, fx: &mut Effects) {
        if slot > self.snapshots.upto && slot <= self.executed_upto {
            self.want_snapshot(fx);
        }
    }

    /// A journal that is too long is trimmed up to the older of two snapshots: they are asked for, one after the other.
    fn shorten(&mut self, fx: &mut Effects) {
        let SnapshotsDue { short_upto, older_upto, .. } = self.snapshots;
        if short_upto > older_upto && short_upto <= self.executed_upto {
            self.want_snapshot(fx);
        }
    }

    /// Asks for a mark that is saved, unless one was asked for a moment ago, or is being saved, or the newest mark is still
    /// to be agreed on: marks that follow each other faster than reports would never be.
    fn want_snapshot(&mut self, fx: &mut Effects) {
        let now_ms = self.reads.now_ms;
        let is_early = self.snapshots.wanted_ms.is_some_and(|wanted_ms| now_ms < wanted_ms + WANTED_AGAIN_MS);
        if self.snapshots.saving.is_none() && !is_early && self.is_mark_over() {
            self.snapshots.wanted_ms = Some(now_ms);
            self.submit(Command::Mark { save: true }, fx);
        }
    }

    /// What was frozen since the last call, in order: the driver takes it in the step that froze it, and has it saved.
    pub fn take_images(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.images.0)
    }

    /// Executes a slot. Gives whether it holds a mark, and whether that is to be saved.
    fn execute(&mut self, slot: Slot, ballot: Ballot, value: &Value, fx: &mut Effects) -> Option<bool> {
        let stamp = value.stamp()?;
        let mut mark = None;
        self.clock_ms = self.clock_ms.max(stamp.time_ms);
        self.sessions.expire(self.clock_ms, SESSION_IDLE_MS);
        for (entry, index) in value.entries().zip(1..) {
            let place = Place { slot, index };
            match entry {
                Entry::Open { token } => {
                    let session = self.sessions.open(self.clock_ms);
                    if let Some(client) = self.audience.tokens.get(&token).copied() {
                        self.audience.sessions.insert(session, client);
                        self.release(client, CommandName::Open(token), Reply::Opened { token, session }, fx);
                    }
                }
                Entry::Apply { session, sequence, done_below, operation } => {
                    let seed = mix(stamp.seed ^ u64::from(index));
                    let context = Context { now_ms: self.clock_ms, seed, place };
                    let name = (session, sequence, done_below);
                    self.once(name, place, ballot, fx, |executor, _| executor.machine.apply(&context, operation));
                }
                Entry::Change { session, sequence, done_below, change } => {
                    let name = (session, sequence, done_below);
                    self.once(name, place, ballot, fx, |executor, fx| executor.change(slot, change, fx).to_bytes());
                }
                Entry::Promote { node } => self.promote(slot, node, fx),
                Entry::Mark { save } => {
                    self.agreement.on_mark(slot);
                    mark = Some(save || mark == Some(true));
                }
                Entry::Report { node, mark, digest } => self.on_report(node, mark, digest, fx),
            }
        }
        mark
    }

    /// Answers a client, if what this node says is what the replicas agree on (DESIGN section 4, rule 8). Otherwise the
    /// client asks another one: this is no word on what became of the command.
    fn release(&self, client: ClientId, command: CommandName, reply: Reply, fx: &mut Effects) {
        if self.serves() {
            fx.reply(client, reply);
        } else {
            fx.reply(client, Reply::Refused { command, reason: Refusal::NotAdmitted, forwarded: true });
        }
    }

    /// Reads that wait are answered elsewhere.
    pub(super) fn refuse_reads(&mut self, fx: &mut Effects) {
        let waiting = std::mem::take(&mut self.reads.waiting).into_values().flat_map(|batch| batch.reads);
        for Read { client, id, .. } in waiting.chain(std::mem::take(&mut self.reads.gathered)) {
            fx.reply(client, Reply::ReadRefused { id, reason: Refusal::NotAdmitted });
        }
    }

    /// Executes a client's command, unless it was executed before, and answers it.
    fn once(
        &mut self,
        (session, sequence, done_below): (SessionId, Sequence, Sequence),
        place: Place,
        ballot: Ballot,
        fx: &mut Effects,
        execute: impl FnOnce(&mut Self, &mut Effects) -> Vec<u8>,
    ) {
        let client = self.audience.sessions.get(&session).copied();
        let reply = match self.sessions.judge(session, sequence, done_below, self.clock_ms) {
            Verdict::New => {
                let result = Bytes::from(execute(self, fx));
                let result = self.sessions.remember(session, sequence, place, result);
                done(session, sequence, place, Some(ballot), result)
            }
            Verdict::Seen(place, result) => done(session, sequence, place, None, result),
            Verdict::Expired => Reply::SessionExpired { session, sequence },
            Verdict::OutOfWindow => Reply::OutOfWindow { session, sequence },
        };
        if let Some(client) = client {
            let reply = self.bounded(reply);
            self.release(client, CommandName::Apply(session, sequence), reply, fx);
        }
    }

    /// Members come or go.
    fn change(&mut self, slot: Slot, change: Change, fx: &mut Effects) -> Outcome {
        let outcome = self.membership.change(slot, &change);
        if let Outcome::Changed { node, from } = outcome {
            let change = match change {
                Change::Add { name, .. } => Changed::Added { node, name },
                Change::Remove { name } => Changed::Removed { name },
                Change::Replace { name, .. } => Changed::Replaced { node, name },
            };
            self.told.members_changed = true;
            fx.note(Event::Changed { slot, change, from });
        }
        outcome
    }

    /// A newcomer gets its vote.
    fn promote(&mut self, slot: Slot, node: NodeId, fx: &mut Effects) {
        if let Some(from) = self.membership.promote(slot, node) {
            let name = self.membership.member(node).map(|member| member.name.clone()).unwrap_or_default();
            self.told.members_changed = true;
            fx.note(Event::Changed { slot, change: Changed::Promoted { node, name }, from });
        }
    }

    /// Tells the other roles how far this one is, and who the members are, if they have changed. The proposer is told
    /// last: what follows from its hearing it finds the others informed (a node's own mailboxes keep their order).
    fn tell_progress(&mut self, fx: &mut Effects) {
        if self.executed_upto < self.told.upto {
            return; // the log is executed again: they know it already
        }
        let changed = std::mem::take(&mut self.told.members_changed);
        self.told.upto = self.executed_upto;
        let membership = changed.then(|| Box::new(self.membership.clone()));
        let progress = Progress { upto: self.executed_upto, membership };
        fx.send(self.own, LearnerMessage::Executed(progress.clone()));
        fx.send(self.own, AcceptorMessage::Executed(progress.clone()));
        if let Some(membership) = progress.membership.clone() {
            fx.push(Effect::Members(membership));
        }
        fx.send(self.own, ProposerMessage::Executed(progress));
    }

    /// The reply, without its result once those of this lot are more than the session table keeps: short commands can
    /// have long results, and a slot holds thousands of them.
    fn bounded(&mut self, reply: Reply) -> Reply {
        match reply {
            Reply::Done { session, sequence, place, result, .. }
                if self.result_bytes + result.len() > MAX_KEPT_RESULT_BYTES =>
            {
                Reply::ResultDropped { session, sequence, place }
            }
            Reply::Done { ref result, .. } => {
                self.result_bytes += result.len();
                reply
            }
            small => small,
        }
    }

    /// Reads arrive: a local one is answered from what is executed here, the others wait for an index.
    pub fn on_read(&mut self, client: ClientId, queries: Vec<(u64, Bytes)>, local: bool, fx: &mut Effects) {
        let (mut waiting, mut bytes) = self.reads.waiting();
        for (id, question) in queries {
            if !self.serves() {
                fx.reply(client, Reply::ReadRefused { id, reason: Refusal::NotAdmitted });
            } else if local {
                self.answer(Read { client, id, question }, fx);
            } else if waiting >= MAX_READS || bytes + question.len() > MAX_READ_BYTES {
                fx.reply(client, Reply::ReadRefused { id, reason: Refusal::Busy });
            } else {
                waiting += 1;
                bytes += question.len();
                self.reads.gathered.push(Read { client, id, question });
            }
        }
    }

    /// The end of a lot: all reads gathered in it share one question to the leader.
    pub fn on_lot_end(&mut self, fx: &mut Effects) {
        self.reads.answer_bytes = 0;
        self.result_bytes = 0;
        if self.reads.gathered.is_empty() {
            return;
        }
        let batch = self.reads.next_batch;
        self.reads.next_batch = batch.wrapping_add(1);
        let now_ms = self.reads.now_ms;
        let reads = std::mem::take(&mut self.reads.gathered);
        let waiting = ReadBatch { bytes: bytes_of(&reads), reads, index: None, asked_ms: now_ms, since_ms: now_ms };
        self.reads.waiting.insert(batch, waiting);
        fx.send(self.own, ProposerMessage::ReadIndex { batch });
    }

    fn on_read_indexed(&mut self, from: NodeId, batch: u64, index: Slot, fx: &mut Effects) {
        let Some(waiting) = self.reads.waiting.get_mut(&batch) else {
            return fx.note(Event::Ignored { from, what: "ReadIndexed", why: "no such reads wait" });
        };
        waiting.index = Some(index);
        self.answer_reads(fx);
    }

    fn on_read_refused(&mut self, batch: u64, fx: &mut Effects) {
        // A refusal that comes after an index changes nothing.
        if self.reads.waiting.get(&batch).is_some_and(|waiting| waiting.index.is_none())
            && let Some(refused) = self.reads.waiting.remove(&batch)
        {
            for Read { client, id, .. } in refused.reads {
                fx.reply(client, Reply::ReadRefused { id, reason: Refusal::NoLeader });
            }
        }
    }

    /// Commands were not taken.
    fn on_refused(&mut self, from: NodeId, commands: &[CommandName], reason: &Refusal, fx: &mut Effects) {
        let forwarded = from != self.own;
        for command in commands {
            let client = match command {
                CommandName::Open(token) => self.audience.tokens.get(token),
                CommandName::Apply(session, _) => self.audience.sessions.get(session),
            };
            if let Some(client) = client {
                fx.reply(*client, Reply::Refused { command: *command, reason: reason.clone(), forwarded });
            }
        }
    }

    /// There is a new leader: asks it for indexes, and has clients send again what the old one may have lost.
    fn on_leader_changed(&mut self, fx: &mut Effects) {
        for (batch, waiting) in self.reads.waiting.iter_mut().filter(|(_, waiting)| waiting.index.is_none()) {
            waiting.asked_ms = self.reads.now_ms;
            fx.send(self.own, ProposerMessage::ReadIndex { batch: *batch });
        }
        self.have_sent_again(fx);
    }

    /// Whatever the clients of this node have sent and not heard of they had better send again.
    pub(super) fn have_sent_again(&self, fx: &mut Effects) {
        let clients: BTreeSet<ClientId> =
            self.audience.sessions.values().chain(self.audience.tokens.values()).copied().collect();
        for client in clients {
            fx.reply(client, Reply::LeaderChanged {});
        }
    }

    fn on_detach(&mut self, gone: ClientId) {
        self.audience.sessions.retain(|_, client| *client != gone);
        self.audience.tokens.retain(|_, client| *client != gone);
        self.reads.gathered.retain(|read| read.client != gone);
        for batch in self.reads.waiting.values_mut() {
            batch.reads.retain(|read| read.client != gone);
            batch.bytes = bytes_of(&batch.reads);
        }
        self.reads.waiting.retain(|_, batch| !batch.reads.is_empty());
    }

    /// Time passes: an index that did not come is asked for again, and given up after a while.
    pub fn on_tick(&mut self, now_ms: u64, fx: &mut Effects) {
        self.reads.now_ms = now_ms;
        if self.told.upto < self.executed_upto {
            self.tell_progress(fx);
        }
        self.tick_marks(now_ms, fx);
        self.shorten(fx);
        let resend_ms = self.settings.resend_ms * 2;
        let mut given_up = Vec::new();
        for (batch, waiting) in &mut self.reads.waiting {
            if now_ms >= waiting.since_ms + READ_PATIENCE_MS {
                given_up.push(*batch);
            } else if waiting.index.is_none() && now_ms >= waiting.asked_ms + resend_ms {
                waiting.asked_ms = now_ms;
                fx.send(self.own, ProposerMessage::ReadIndex { batch: *batch });
            }
        }
        for batch in given_up {
            let waiting = self.reads.waiting.remove(&batch).into_iter();
            for Read { client, id, .. } in waiting.flat_map(|waiting| waiting.reads) {
                fx.reply(client, Reply::ReadRefused { id, reason: Refusal::NoLeader });
            }
        }
    }

    /// The replicated state as it is now.
    pub fn freeze(&self) -> Image {
        let Executor { executed_upto, clock_ms, sessions, membership, agreement, machine, .. } = self;
        Image {
            upto: *executed_upto,
            clock_ms: *clock_ms,
            sessions: sessions.clone(),
            membership: membership.clone(),
            agreement: agreement.clone(),
            machine: machine.freeze(),
        }
    }

    /// Puts the state of a peer's snapshot in place of this one, if it is ahead of it, or this one is wrong, and tells the
    /// learner. Gives back what is not needed any more: to let go of it may take long, and is for another thread.
    pub fn install(&mut self, state: State<M>, fx: &mut Effects) -> State<M> {
        let upto = state.upto;
        let mut replaced = state;
        if upto > self.executed_upto || self.standing() == Standing::Diverged {
            let (delivered, digest) = (self.delivered_upto(), replaced.digest);
            replaced = self.restore(replaced);
            self.snapshots.unsaved = self.snapshots.unsaved.max(Some(upto));
            self.on_replaced(digest, delivered, fx);
            self.told.members_changed = true;
            self.tell_progress(fx);
            self.answer_reads(fx);
            // Slots that were never executed here may hold what they wait for; sent again, it is answered from the table.
            self.have_sent_again(fx);
        }
        // The log may have overtaken it on its way: it is whole all the same, and the learner will trim up to it.
        self.snapshots.upto = self.snapshots.upto.max(upto);
        fx.send(self.own, LearnerMessage::Installed { upto });
        replaced
    }

    /// Puts a snapshot's state in place of this one, at recovery. Gives back what was there.
    pub fn restore(&mut self, state: State<M>) -> State<M> {
        let State { upto, clock_ms, sessions, membership, agreement, machine, digest } = state;
        // A state that is repaired may come from behind the node's own newest snapshot.
        if upto > self.snapshots.upto {
            self.snapshots.older_upto = std::mem::replace(&mut self.snapshots.upto, upto);
        }
        let replaced = State {
            upto: std::mem::replace(&mut self.executed_upto, upto),
            clock_ms: std::mem::replace(&mut self.clock_ms, clock_ms),
            sessions: std::mem::replace(&mut self.sessions, sessions),
            membership: std::mem::replace(&mut self.membership, membership),
            agreement: std::mem::replace(&mut self.agreement, agreement),
            machine: std::mem::replace(&mut self.machine, machine),
            digest: [0; 32],
        };
        self.on_restored(digest, false);
        replaced
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Which configuration decides which slot, as far as the log says here.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Has something befall the machine that no entry of the log asked for: for the simulator.
    pub fn befall(&mut self, harm: impl FnOnce(&mut M)) {
        harm(&mut self.machine);
    }

    /// What the replicas agree on of their states.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// The session table.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Everything up to here is executed.
    pub fn executed_upto(&self) -> Slot {
        self.executed_upto
    }

    /// The state before the first slot.
    pub(super) fn empty_state(&self) -> State<M> {
        State {
            upto: Slot::ZERO,
            clock_ms: 0,
            sessions: Sessions::new(),
            membership: self.founded.clone(),
            agreement: Agreement::default(),
            machine: self.machine.empty(),
            digest: [0; 32], // no mark stands before the first slot: it is compared with nothing
        }
    }

    /// A durable snapshot covers everything up to here.
    pub fn snapshot_upto(&self) -> Slot {
        self.snapshots.upto
    }

    /// How many bytes it holds besides the machine: results that clients may ask for again, and questions that wait.
    pub fn held_bytes(&self) -> usize {
        self.sessions.kept_bytes() + self.reads.waiting().1
    }

    /// Answers every read whose index is executed.
    pub(super) fn answer_reads(&mut self, fx: &mut Effects) {
        if !self.serves() {
            return;
        }
        let executed_upto = self.executed_upto;
        let is_ready = |waiting: &ReadBatch| waiting.index.is_some_and(|index| index <= executed_upto);
        let ready: Vec<u64> =
            self.reads.waiting.iter().filter(|(_, waiting)| is_ready(waiting)).map(|(batch, _)| *batch).collect();
        for batch in ready {
            let waiting = self.reads.waiting.remove(&batch).into_iter();
            for read in waiting.flat_map(|waiting| waiting.reads) {
                self.answer(read, fx);
            }
        }
    }

    fn answer(&mut self, Read { client, id, question }: Read, fx: &mut Effects) {
        if self.reads.answer_bytes >= MAX_ANSWER_BYTES {
            return fx.reply(client, Reply::ReadRefused { id, reason: Refusal::Busy });
        }
        let result = Bytes::from(self.machine.query(&question));
        self.reads.answer_bytes += result.len();
        fx.reply(client, Reply::Read { id, result });
    }
}

/// What a client hears of a command that was executed.
fn done(session: SessionId, sequence: Sequence, place: Place, ballot: Option<Ballot>, result: Option<Bytes>) -> Reply {
    match result {
        Some(result) => Reply::Done { session, sequence, place, ballot, result },
        None => Reply::ResultDropped { session, sequence, place },
    }
}

/// After how long a read that has no answer is refused. Longer than any client's own patience by default.
const READ_PATIENCE_MS: u64 = 10_000;
/// How often a snapshot is asked for that is wanted besides those that are due, in milliseconds.
pub(super) const WANTED_AGAIN_MS: u64 = 1_000;
