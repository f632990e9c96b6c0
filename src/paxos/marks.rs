//! An executor and the marks of the log: whether its state is what the replicas agree on, and what follows if it is not
//! (DESIGN section 4, rule 8).
//!
//! ```text
//!            an agreed mark is alike            an agreed mark differs
//!  Unproven ─────────────────────────► Sound ──────────────────────────► Diverged
//!     ▲  └───────────────── an agreed mark differs ─────────────────────────▲ │
//!     └──────────────────── a peer's snapshot is installed ───────────────────┘
//! ```
//!
//! * At a mark the state is frozen, at exactly that slot, and digested by the keeper. One image is digested at a time; of
//!   marks that come meanwhile the newest waits. While one is being saved another is only digested: it need not wait.
//! * The own report goes to the leader again and again, until it stands in the log or a newer mark came.
//! * A snapshot is one, with a name on the disk, once the replicas have agreed on its digest: only then does it take the
//!   place of slots, is restored from at a start, and goes to peers. So no copy of a wrong state is ever made.
//! * Only a sound executor answers. It goes on until its own digest is known: the keeper may be slower than others'.
//! * A diverged executor goes on executing: who the members are, and what the replicas agree on, follows from the log (and
//!   the session table) and not from the machine, and the other roles need it. It has a snapshot marked and saved, so that
//!   there is one that its journal reaches, and fetches it, from any member that has one, itself included: what has a name
//!   here was agreed on. Then it executes what its own journal has above, until it meets the learner.
//! * Where there is no snapshot, the own journal has everything: it is executed from its beginning.
//! * Meanwhile another node leads.
//! * A peer's snapshot is installed unproven, whatever it says of itself, and not reported: the log has the agreement on
//!   it, a few slots above, or the peer had not supplied it. What was restored from the node's own disk is unproven, too;
//!   it is reported like any other, for the agreement may be lost with whoever led.
//!
//! Absent: what the replicas agree on ([`super::agreement`]); files (`crate::storage::keeper`).

use std::collections::BTreeMap;

use super::agreement::{Brought, Digest};
use super::ballot::NodeId;
use super::effect::{Effect, Effects, Event};
use super::executor::{Executor, Saving, Uncompared, WANTED_AGAIN_MS};
use super::image::Taken;
use super::message::{LearnerMessage, ProposerMessage};
use super::slot::Slot;
use super::state_machine::StateMachine;
use super::value::Command;

/// What an executor knows of marks besides what is replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks {
    pub(super) standing: Standing,
    /// Slots since the last mark that held something else than marks and reports.
    pub(super) slots: u64,
    /// The same since the last mark that was to be saved.
    pub(super) unsaved_slots: u64,
    /// Bytes of values since then.
    pub(super) unsaved_bytes: u64,
    pub(super) now_ms: u64,
    /// When the newest mark was executed here.
    marked_ms: u64,
    /// When the proposer was told that one is due.
    due_ms: Option<u64>,
    /// When the own report was last sent, or a mark was last asked for.
    reported_ms: Option<u64>,
    wanted_ms: Option<u64>,
    /// Of the newest marks, the digest here.
    own: BTreeMap<Slot, Digest>,
    /// Of the newest agreed marks that were executed here, what was agreed. It follows from the log, not from a snapshot.
    agreed: BTreeMap<Slot, Digest>,
    /// The number of the last image.
    number: u64,
    /// The image that the keeper digests: its number and its mark.
    digesting: Option<(u64, Slot)>,
    /// When the keeper got it, and how long the last one took.
    handed_ms: u64,
    digest_ms: u64,
    /// The image of the newest mark, while an earlier one is digested.
    waiting: Uncompared<Option<Taken>>,
    /// The newest mark at which this state was found to be what was agreed.
    proven: Slot,
    /// The log is executed again, from the own journal, until it meets the learner.
    replay: Option<Replay>,
    /// Nothing is answered; clients are told when that is over.
    silent: bool,
    /// The mark whose disagreement was told.
    disagreed: Slot,
    /// The state was replaced because it differed, and that is not told yet.
    rebuilding: bool,
    /// The proposer was told that this node is not to lead.
    unfit: bool,
    /// The log was executed from its beginning once already since the start.
    started_over: bool,
}

/// Whether a node's state is what the replicas agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// As far as is known.
    #[default]
    Sound,
    /// It was restored, and no mark has proved it yet.
    Unproven {
        /// From a peer's snapshot.
        foreign: bool,
    },
    /// It differs.
    Diverged,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replay {
    /// What the learner has delivered: from there on it goes on by itself.
    until: Slot,
    asked_ms: u64,
    /// When it last came further.
    moved_ms: u64,
}

impl<M: StateMachine> Executor<M> {
    /// How this node's state stands to the others'.
    pub fn standing(&self) -> Standing {
        self.marks.standing
    }

    /// Whether answers may leave: the state is what the replicas agree on, as far as the log tells here.
    pub fn serves(&self) -> bool {
        self.marks.standing == Standing::Sound && self.marks.replay.is_none()
    }

    /// Whether the own digest at that mark is known. It may never be: of marks that come fast only the newest is digested.
    pub fn has_digest(&self, mark: Slot) -> bool {
        self.marks.own.contains_key(&mark)
    }

    /// A mark was executed: the state is frozen at its slot.
    pub(super) fn take_mark(&mut self, save: bool, fx: &mut Effects) {
        let marks = &mut self.marks;
        (marks.slots, marks.marked_ms, marks.due_ms, marks.reported_ms) = (0, marks.now_ms, None, None);
        // What differs is known to differ.
        if marks.standing == Standing::Diverged {
            return;
        }
        // What was not agreed on before this mark never will be, and so will never be a snapshot.
        self.snapshots.saving.take_if(|saving| !saving.agreed);
        marks.number += 1;
        // What is executed again was saved the first time.
        let save = save && marks.replay.is_none();
        let mut taken = Taken { number: marks.number, save, image: self.freeze() };
        if self.marks.digesting.is_none() {
            return self.hand_over(taken, fx);
        }
        taken.save |= self.marks.waiting.0.as_ref().is_some_and(|waiting| waiting.save);
        self.marks.waiting.0 = Some(taken);
    }

    /// Hands an image to the keeper. One is saved at a time: the file of another must not take the place of what is written.
    fn hand_over(&mut self, mut taken: Taken, fx: &mut Effects) {
        let upto = taken.image.upto;
        taken.save &= self.snapshots.saving.is_none();
        if taken.save {
            self.snapshots.saving = Some(Saving { upto, agreed: self.marks.agreed.contains_key(&upto) });
            (self.marks.unsaved_slots, self.marks.unsaved_bytes) = (0, 0);
        }
        self.marks.digesting = Some((taken.number, upto));
        self.marks.handed_ms = self.marks.now_ms;
        self.images.0.push(taken);
        fx.push(Effect::TakeSnapshot { upto });
    }

    /// The keeper has digested an image. One that was frozen before another state was installed is nobody's any more.
    pub(super) fn on_digested(&mut self, number: u64, upto: Slot, digest: Digest, fx: &mut Effects) {
        if self.marks.digesting != Some((number, upto)) {
            return;
        }
        self.marks.digesting = None;
        self.marks.digest_ms = self.marks.now_ms.saturating_sub(self.marks.handed_ms);
        self.marks.own.insert(upto, digest);
        if let Some(taken) = self.marks.waiting.0.take() {
            self.hand_over(taken, fx);
        }
        self.weigh(fx);
        prune(&mut self.marks.own);
        self.report(fx);
        self.renew_service(fx);
    }

    /// A report was executed.
    pub(super) fn on_report(&mut self, node: NodeId, mark: Slot, digest: Digest, fx: &mut Effects) {
        // Every replica executes this slot under the same configuration, which the log fixed before.
        match self.agreement.on_report(node, mark, digest, self.membership.current()) {
            Brought::Nothing => {}
            Brought::Agreed(digest) => {
                fx.note(Event::Agreed { mark });
                if let Some(saving) = self.snapshots.saving.as_mut().filter(|saving| saving.upto == mark) {
                    saving.agreed = true;
                }
                // Weighed first: what is executed again tells of marks that are older than all that are remembered.
                self.marks.agreed.insert(mark, digest);
                self.weigh(fx);
                prune(&mut self.marks.agreed);
            }
            Brought::Disagreed => self.tell_disagreement(fx),
        }
    }

    fn tell_disagreement(&mut self, fx: &mut Effects) {
        let mark = self.agreement.mark();
        if self.marks.disagreed < mark {
            self.marks.disagreed = mark;
            let reports = self.agreement.reports().iter().map(|(node, digest)| (*node, *digest)).collect();
            fx.note(Event::Disagreed { mark, reports });
        }
    }

    /// Compares the own digest with what was agreed, at the newest mark of which both are known.
    pub(super) fn weigh(&mut self, fx: &mut Effects) {
        let Marks { own, agreed, standing, proven, .. } = &mut self.marks;
        let both = agreed.iter().rev().find_map(|(mark, agreed)| Some((*mark, *agreed, *own.get(mark)?)));
        let Some((mark, agreed, own)) = both else { return };
        if *standing == Standing::Diverged {
            return;
        }
        if own != agreed {
            fx.note(Event::Diverged { mark, own, agreed });
            return self.diverge(fx);
        }
        *standing = Standing::Sound;
        if *proven < mark {
            *proven = mark;
            fx.push(Effect::Proven { upto: mark, digest: agreed });
        }
    }

    /// The state is wrong: nothing of it leaves from here on, and a peer's is fetched.
    fn diverge(&mut self, fx: &mut Effects) {
        let marks = &mut self.marks;
        marks.standing = Standing::Diverged;
        (marks.digesting, marks.waiting.0) = (None, None);
        marks.own.clear();
        (marks.silent, marks.rebuilding) = (true, true);
        marks.wanted_ms = None;
        self.refuse_reads(fx);
        self.tell_fitness(fx);
        self.want_repair(fx);
    }

    /// The proposer hears whether this node may lead. While the log is executed again nothing new is, and a leader proposes
    /// no further than it knows who decides: it would hold up everybody.
    fn tell_fitness(&mut self, fx: &mut Effects) {
        let fit = self.marks.standing != Standing::Diverged && self.marks.replay.is_none();
        if std::mem::replace(&mut self.marks.unfit, !fit) == fit {
            fx.send(self.own, ProposerMessage::Fit { fit });
        }
    }

    /// Asks for a mark that is saved, and for a snapshot: its slot lies above whatever this journal no longer has.
    fn want_repair(&mut self, fx: &mut Effects) {
        self.marks.wanted_ms = Some(self.marks.now_ms);
        if self.is_mark_over() {
            self.submit(Command::Mark { save: true }, fx);
        }
        fx.send(self.own, LearnerMessage::Repair {});
    }

    /// Like a client of this node's: a follower's proposer forwards it, and what is lost is sent again.
    pub(super) fn submit(&self, command: Command, fx: &mut Effects) {
        fx.send(self.own, ProposerMessage::Submit { commands: vec![command] });
    }

    /// The own report of the newest mark, unless it stands in the log.
    fn report(&mut self, fx: &mut Effects) {
        let mark = self.agreement.mark();
        let Some(digest) = self.marks.own.get(&mark).copied().filter(|_| self.marks.replay.is_none()) else { return };
        let may = match self.marks.standing {
            Standing::Sound | Standing::Unproven { foreign: false } => true,
            Standing::Unproven { foreign: true } | Standing::Diverged => false,
        };
        let configuration = self.membership.current();
        let is_said = self.agreement.reports().get(&self.own) == Some(&digest);
        if !may || is_said && !self.agreement.is_ripe(&digest, configuration) || !configuration.contains(self.own) {
            return;
        }
        if self.marks.reported_ms.is_none_or(|sent_ms| self.marks.now_ms >= sent_ms + self.settings.resend_ms * 4) {
            self.marks.reported_ms = Some(self.marks.now_ms);
            self.submit(Command::Report { node: self.own, mark, digest }, fx);
        }
    }

    /// How long it is from one mark to the next, unless a snapshot is due: digests take a twentieth of the keeper's time, if
    /// that is not too seldom. (One may have taken long because the disk stalled.)
    fn pace_ms(&self) -> u64 {
        let mark_ms = self.settings.mark_ms;
        self.marks.digest_ms.saturating_mul(20).clamp(mark_ms, mark_ms.saturating_mul(SELDOM))
    }

    /// Whether the newest mark has brought what it can bring: whoever is slow, or away, may still report.
    pub(super) fn is_mark_over(&self) -> bool {
        let patience_ms = self.pace_ms().saturating_mul(10);
        self.agreement.is_agreed() || self.marks.now_ms >= self.marks.marked_ms.saturating_add(patience_ms)
    }

    /// The proposer hears that a mark is due, and again after a while if none came.
    pub(super) fn look_due(&mut self, fx: &mut Effects) {
        let Marks { slots, unsaved_slots, unsaved_bytes, now_ms, marked_ms, .. } = &self.marks;
        let is_much = *unsaved_slots >= self.settings.snapshot_slots || *unsaved_bytes >= self.settings.snapshot_bytes;
        let save = is_much && self.snapshots.saving.is_none();
        let is_due = save || *slots > 0 && *now_ms >= marked_ms.saturating_add(self.pace_ms());
        if is_due {
            self.tell_due(save, fx);
        }
    }

    /// The proposer hears it, unless it was told a moment ago, or the newest mark is still to be agreed on: marks that come
    /// faster than digests and reports never would be. For when one is due, and for when some node wants one and this one
    /// leads.
    pub(super) fn tell_due(&mut self, save: bool, fx: &mut Effects) {
        let Marks { now_ms, due_ms, .. } = self.marks;
        let is_told = due_ms.is_some_and(|told_ms| now_ms < told_ms + self.settings.resend_ms * 4);
        if !is_told && self.is_mark_over() {
            self.marks.due_ms = Some(now_ms);
            fx.send(self.own, ProposerMessage::MarkDue { save });
        }
    }

    /// Counts what a slot held.
    pub(super) fn count_slot(&mut self, bytes: u64, is_work: bool) {
        self.marks.unsaved_bytes += bytes;
        if is_work {
            self.marks.slots += 1;
            self.marks.unsaved_slots += 1;
        }
    }

    /// Time passes.
    pub(super) fn tick_marks(&mut self, now_ms: u64, fx: &mut Effects) {
        self.marks.now_ms = now_ms;
        self.look_due(fx);
        self.report(fx);
        if self.agreement.differs()
            && !self.agreement.is_agreed()
            && self.agreement.reports().len() >= self.membership.current().quorum()
            && now_ms >= self.marks.marked_ms + DISAGREEMENT_MS
        {
            self.tell_disagreement(fx);
        }
        let is_overdue = self.marks.wanted_ms.is_none_or(|wanted_ms| now_ms >= wanted_ms + WANTED_AGAIN_MS);
        match self.marks.standing {
            Standing::Diverged if is_overdue && self.may_start_over() => self.start_over(fx),
            Standing::Diverged if is_overdue => self.want_repair(fx),
            Standing::Unproven { .. } if is_overdue && self.marks.replay.is_none() && self.is_mark_over() => {
                self.marks.wanted_ms = Some(now_ms);
                self.submit(Command::Mark { save: false }, fx);
            }
            _ => {}
        }
        let Some(replay) = &self.marks.replay else { return };
        if now_ms >= replay.moved_ms + REPLAY_PATIENCE_MS && self.marks.standing != Standing::Diverged {
            // The own journal does not have it: a newer snapshot does.
            self.diverge(fx);
            if let Some(replay) = &mut self.marks.replay {
                replay.moved_ms = now_ms;
            }
        } else if now_ms >= replay.asked_ms + self.settings.resend_ms * 4 {
            self.read_back(fx);
        }
    }

    /// Whether everything since the first slot is in the own journal, as far as can be known here: there may be no snapshot
    /// anywhere yet, nor will there be one while too few agree on their state. Once: if that leads to the same again, only
    /// another node's state helps.
    fn may_start_over(&self) -> bool {
        self.snapshot_upto() == Slot::ZERO && !self.marks.started_over
    }

    /// Executes the own journal from its beginning, as a start would.
    fn start_over(&mut self, fx: &mut Effects) {
        self.marks.started_over = true;
        self.marks.wanted_ms = Some(self.marks.now_ms);
        let delivered = self.delivered_upto();
        let empty = self.empty_state();
        drop(self.restore(empty));
        fx.send(self.own, LearnerMessage::Installed { upto: Slot::ZERO });
        self.replay(delivered, fx);
    }

    /// What lies above the installed state is read from the own journal.
    fn read_back(&mut self, fx: &mut Effects) {
        let first = self.executed_upto.next();
        let Some(replay) = &mut self.marks.replay else { return };
        replay.asked_ms = self.marks.now_ms;
        fx.push(Effect::SupplySlots { to: self.own, first, upto: replay.until });
    }

    /// While the log is executed again, what the learner delivers is further on: it is in the journal by now. Whether
    /// the slot is to be passed over.
    pub(super) fn is_ahead_of_replay(&mut self, slot: Slot) -> bool {
        let next = self.executed_upto.next();
        let Some(replay) = self.marks.replay.as_mut().filter(|_| slot != next) else { return false };
        replay.until = replay.until.max(slot);
        true
    }

    /// Slots were executed.
    pub(super) fn go_on_replaying(&mut self, from: Slot, fx: &mut Effects) {
        let (upto, now_ms) = (self.executed_upto, self.marks.now_ms);
        let Some(replay) = &mut self.marks.replay else { return };
        if upto >= replay.until {
            self.marks.replay = None;
        } else if upto > from {
            replay.moved_ms = now_ms;
            self.read_back(fx);
        }
    }

    /// The state came from a snapshot. What is known of it is its digest.
    pub(super) fn on_restored(&mut self, digest: Digest, foreign: bool) {
        let marks = &mut self.marks;
        marks.standing = Standing::Unproven { foreign };
        marks.own = BTreeMap::from([(self.executed_upto, digest)]);
        (marks.digesting, marks.waiting.0) = (None, None);
        (marks.slots, marks.unsaved_slots, marks.unsaved_bytes) = (0, 0, 0);
        marks.marked_ms = marks.now_ms;
        (marks.silent, marks.replay, marks.reported_ms) = (true, None, None);
        self.snapshots.saving = None;
    }

    /// The furthest that was delivered here.
    pub(super) fn delivered_upto(&self) -> Slot {
        self.marks.replay.as_ref().map_or(self.executed_upto, |replay| replay.until.max(self.executed_upto))
    }

    /// A peer's snapshot was put in place; up to `delivered` the learner will not say it again.
    pub(super) fn on_replaced(&mut self, digest: Digest, delivered: Slot, fx: &mut Effects) {
        self.on_restored(digest, true);
        self.refuse_reads(fx);
        self.replay(delivered, fx);
        // The log may have told of this mark already.
        self.weigh(fx);
        self.renew_service(fx);
    }

    /// Everything from here to what was delivered is executed again.
    fn replay(&mut self, delivered: Slot, fx: &mut Effects) {
        if delivered > self.executed_upto {
            let now_ms = self.marks.now_ms;
            self.marks.replay = Some(Replay { until: delivered, asked_ms: now_ms, moved_ms: now_ms });
            self.read_back(fx);
        }
    }

    /// Answers leave again, or no longer.
    pub(super) fn renew_service(&mut self, fx: &mut Effects) {
        self.tell_fitness(fx);
        let silent = !self.serves();
        if std::mem::replace(&mut self.marks.silent, silent) && !silent {
            if std::mem::take(&mut self.marks.rebuilding) {
                fx.note(Event::Rebuilt { upto: self.executed_upto });
            }
            self.answer_reads(fx);
            // What was executed in silence is answered from the session table.
            self.have_sent_again(fx);
        }
    }
}

/// Only the newest count.
fn prune(digests: &mut BTreeMap<Slot, Digest>) {
    while digests.len() > MOST_DIGESTS {
        digests.pop_first();
    }
}

/// Of so many marks the digests are remembered.
const MOST_DIGESTS: usize = 8;
/// However slow digests are, marks come at most so many times more seldom than is set.
pub(crate) const SELDOM: u64 = 10;
/// After how long reports that differ are told of, if others are missing, in milliseconds.
const DISAGREEMENT_MS: u64 = 2_000;
/// After how long a journal that does not supply what it should is given up for a newer snapshot, in milliseconds.
const REPLAY_PATIENCE_MS: u64 = 5_000;
