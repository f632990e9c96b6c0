//! The proposer: drives many slots at once while it leads.
//!
//! The data of a phase lives inside its variant of [`Phase`]. What each phase does on its way to leading is in
//! `election`, what a leader knows in `leading`; this file has the phases themselves, and the work of a leader: open slots,
//! send again what was lost, announce what is chosen, answer read indexes, and notice when it should no longer lead.
//!
//! ```text
//!                no leader heard          a quorum hears none         a quorum promised, and its
//!                                         either; ballot reserved     settled slots are known here
//!   Following ───────────────► Canvassing ───────────────► Preparing ───────────────► Leading
//!       ▲                          │                           │                         │
//!       └──── a leader is heard ───┴── a higher ballot ────────┴── a higher ballot, no quorum in reach, a stalled disk
//! ```
//!
//! Leadership is only an optimisation: two proposers that both believe to lead are safe, because each proposes only
//! what phase 1 of its own ballot allowed, and acceptors vote for the higher ballot alone.
//!
//! At the end of a lot ([`Proposer::on_lot_end`]) everything gathered opens slots, as many as the window allows, each
//! with as many commands as the batch allows; the rest waits for the next lot. Nothing delays an idle system; behind a few
//! slots in flight a small lot waits for more to come, for a moment (`PACE_MS`) at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::dice::Dice;
use super::effect::{Effects, Event, Then};
use super::election::{Canvass, Preparing};
use super::extension::Members;
use super::leading::{Beat, Fence, Leading, Round};
use super::membership::Membership;
use super::message::{AcceptorMessage, ExecutorMessage, LearnerMessage, Progress, ProposerMessage, Refusal};
use super::queue::{Queue, forward, refuse};
use super::quorum::Answers;
use super::record::Record;
use super::settings::{MAX_OPERATION_BYTES, MAX_QUEUE_BYTES, MAX_WINDOW, Settings};
use super::slot::{Slot, forget_upto};
use super::value::{Command, Entry, Stamp, Value};

/// One node's proposer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proposer {
    pub(super) own: NodeId,
    pub(super) membership: Membership,
    pub(super) settings: Settings,
    pub(super) dice: Dice,
    pub(super) now_ms: u64,
    /// The wall clock, for stamps only.
    wall_ms: u64,
    /// Whether this node may propose.
    pub(super) admitted: bool,
    /// Whether its state is not being repaired.
    pub(super) fit: bool,
    /// The highest ballot heard of; a candidate goes above it.
    pub(super) highest: Ballot,
    /// Everything up to here is chosen, and known to this node's learner.
    pub(super) chosen_upto: Slot,
    pub(super) phase: Phase,
    /// How often in a row phase 1 was begun and came to nothing.
    pub(super) attempts: u32,
    queue: Queue,
}

/// What a proposer is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Listening to a leader, or waiting for one.
    Following {
        /// The leader's ballot, once heard.
        leader: Option<Ballot>,
        /// When to canvass if nothing is heard.
        deadline_ms: u64,
    },
    /// Asking whether anybody hears a leader.
    Canvassing(Canvass),
    /// Phase 1.
    Preparing(Preparing),
    /// Phase 2, slot after slot.
    Leading(Box<Leading>),
}

impl Proposer {
    /// A proposer that follows nobody yet, before its records are folded. `seed` is new at every start.
    pub fn new(own: NodeId, membership: Membership, settings: Settings, seed: u64, chosen_upto: Slot) -> Proposer {
        let mut dice = Dice::new(seed);
        let deadline_ms = dice.below(settings.election_ms / 2);
        Proposer {
            own,
            membership,
            settings,
            dice,
            now_ms: 0,
            wall_ms: 0,
            admitted: false,
            fit: true,
            highest: Ballot::ZERO,
            chosen_upto,
            phase: Phase::Following { leader: None, deadline_ms },
            attempts: 0,
            queue: Queue::default(),
        }
    }

    /// Folds one record: a ballot that was reserved is never used again.
    pub fn apply_record(&mut self, record: &Record) {
        if let Record::Reserved { ballot } = record {
            self.highest = self.highest.max(*ballot);
        }
    }

    /// What this node's acceptor had promised at recovery: saves a ballot that it would refuse.
    pub fn hint(&mut self, promised: Ballot) {
        self.highest = self.highest.max(promised);
    }

    /// Handles one message.
    pub fn on_message(&mut self, from: NodeId, message: ProposerMessage, fx: &mut Effects) {
        match message {
            ProposerMessage::Submit { commands } => self.on_submit(commands, fx),
            ProposerMessage::Forward { commands } => self.on_forward(from, commands, fx),
            ProposerMessage::Canvass { number, chosen_upto } => self.on_canvass(from, number, chosen_upto, fx),
            ProposerMessage::Canvassed { number, hears_leader, chosen_upto, highest } => {
                self.on_canvassed(from, number, hears_leader, chosen_upto, highest, fx);
            }
            ProposerMessage::Promise(promise) => self.on_promise(from, promise.into_inner(), fx),
            ProposerMessage::Nack { refused, promised } => self.on_nack(refused, promised, fx),
            ProposerMessage::Settled { ballot, upto } => self.on_settled(from, ballot, upto, fx),
            ProposerMessage::HeartbeatAck { ballot, round, settled_upto, executed_upto } => {
                self.on_heartbeat_ack(from, ballot, round, settled_upto, executed_upto, fx);
            }
            ProposerMessage::Transfer { to } => self.on_transfer(from, to, fx),
            ProposerMessage::TakeOver { ballot } => self.on_take_over(from, ballot, fx),
            ProposerMessage::Dismissed { from: slot } => self.on_dismissed(slot, fx),
            ProposerMessage::ReadIndex { batch } => self.on_read_index(from, batch, fx),
            ProposerMessage::Heard { ballot } => self.on_heard(ballot, fx),
            ProposerMessage::Advanced { chosen_upto, ballot } => self.on_advanced(chosen_upto, ballot, fx),
            ProposerMessage::Fenced { number } => self.on_fenced(number),
            ProposerMessage::Standing { admitted } => self.on_standing(admitted, fx),
            ProposerMessage::Executed(progress) => self.on_executed(progress, fx),
            ProposerMessage::MarkDue { save } => self.on_mark_due(save),
            ProposerMessage::Fit { fit } => self.fit = fit,
        }
    }

    /// This node's clients send commands. The leader gathers them; a follower forwards them to the leader it hears.
    pub fn on_submit(&mut self, commands: Vec<Command>, fx: &mut Effects) {
        match &self.phase {
            Phase::Leading(_) => self.gather(self.own, commands, fx),
            Phase::Following { leader: Some(ballot), .. } if ballot.node != self.own => {
                forward(ballot.node, commands, fx);
            }
            _ if !self.admitted => refuse(self.own, &commands, Refusal::NotAdmitted, fx),
            _ => refuse(self.own, &commands, Refusal::NoLeader, fx),
        }
    }

    /// A follower's clients send commands. They are not forwarded a second time.
    fn on_forward(&mut self, from: NodeId, commands: Vec<Command>, fx: &mut Effects) {
        match &self.phase {
            Phase::Leading(_) => self.gather(from, commands, fx),
            _ => refuse(from, &commands, Refusal::NoLeader, fx),
        }
    }

    fn gather(&mut self, origin: NodeId, commands: Vec<Command>, fx: &mut Effects) {
        for command in commands {
            // Several nodes may want one at once: whether one is due is for the executor here to say.
            if let Command::Mark { save } = command {
                fx.send(self.own, ExecutorMessage::MarkWanted { save });
                continue;
            }
            if let Some(refusal) = self.weigh_change(&command, fx) {
                refuse(origin, &[command], refusal, fx);
                continue;
            }
            let length = command.encoded_len();
            if length > MAX_OPERATION_BYTES {
                let limit = MAX_OPERATION_BYTES as u64;
                refuse(origin, &[command], Refusal::TooLarge { limit }, fx);
            } else if self.queue.bytes + length > MAX_QUEUE_BYTES {
                refuse(origin, &[command], Refusal::Busy, fx);
            } else {
                self.enqueue(origin, command);
            }
        }
    }

    /// Has a command wait for a slot.
    pub(super) fn enqueue(&mut self, origin: NodeId, command: Command) {
        self.queue.push(origin, command);
    }

    /// Whether a change of members is on its way: it waits for a slot, or is not executed here yet.
    pub(super) fn is_changing(&self) -> bool {
        let Phase::Leading(leading) = &self.phase else { return false };
        self.membership.executed_upto() < leading.changed_upto
            || self.queue.changes > 0
            || leading.inherited.values().any(Value::changes_members)
    }

    /// The replicas are to compare their states. Whoever does not lead leaves that to the leader's own executor.
    fn on_mark_due(&mut self, save: bool) {
        let has_mark = |value: &Value| value.entries().any(|entry| matches!(entry, Entry::Mark { .. }));
        let Phase::Leading(leading) = &self.phase else { return };
        let is_under_way = self.queue.commands.iter().any(|(_, command)| matches!(command, Command::Mark { .. }))
            || leading.in_flight.values().any(|flight| has_mark(&flight.value))
            || leading.inherited.values().any(has_mark);
        if !is_under_way {
            self.enqueue(self.own, Command::Mark { save });
        }
    }

    /// Whether this node has begun to lead after that time.
    pub(super) fn leads_since(&self, since_ms: u64) -> bool {
        matches!(&self.phase, Phase::Leading(leading) if leading.beat.began_ms >= since_ms)
    }

    /// The end of a lot: opens slots, begins a round for the reads that came, announces what is chosen.
    pub fn on_lot_end(&mut self, fx: &mut Effects) {
        self.open_slots(fx);
        let Phase::Leading(leading) = &mut self.phase else { return };
        if !leading.beat.reads.is_empty() && leading.beat.rounds.values().all(|round| round.reads.is_empty()) {
            self.begin_round(fx);
        }
        let Phase::Leading(leading) = &mut self.phase else { return };
        if leading.announced_upto < self.chosen_upto {
            leading.announced_upto = self.chosen_upto;
            let others = self.membership.audience().into_iter().filter(|node| *node != self.own);
            let announce = AcceptorMessage::Announce { ballot: leading.ballot, chosen_upto: self.chosen_upto };
            fx.broadcast(others, announce);
        }
    }

    /// Opens slots, as far as their configuration is known and has promised our ballot: first for what was merged from
    /// the promises, then for what waits.
    fn open_slots(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let window = self.settings.window.clamp(1, MAX_WINDOW) as usize;
        let mut proposals = Vec::new();
        let full = self.settings.batch.clamp(1, FULL_COMMANDS) as usize;
        // DESIGN section 4, rule 6.
        let most = match self.membership.span_behind(leading.covered) {
            Some(behind) => behind.first.previous().min(self.membership.known_upto()),
            None => self.membership.known_upto(),
        };
        while leading.next <= most {
            let value = if !leading.inherited.is_empty() {
                let value = leading.inherited.remove(&leading.next).unwrap_or_else(Value::no_op);
                if value.changes_members() {
                    leading.changed_upto = leading.next;
                }
                value
            } else if leading.next <= leading.fill_upto && self.queue.commands.is_empty() {
                Value::no_op()
            } else if !self.queue.commands.is_empty() && leading.in_flight.len() < window {
                // Behind a few slots that are on their way, whatever comes waits until it is worth a slot's messages and
                // records, or one of those is chosen; but where that takes long (peers far away) not for longer than a
                // moment.
                let is_full = self.queue.commands.len() >= full || self.queue.bytes >= FULL_BYTES;
                let is_early = self.now_ms < leading.opened_ms + PACE_MS;
                if leading.in_flight.len() >= PIPELINE && !is_full && is_early {
                    break;
                }
                let stamp = Stamp { time_ms: self.wall_ms, seed: self.dice.roll() };
                let most = self.settings.batch.max(1) as usize;
                if self.queue.has_change(most) {
                    leading.changed_upto = leading.next;
                }
                self.queue.take_batch(most, stamp)
            } else {
                break;
            };
            leading.open(value.clone(), self.now_ms, self.settings.resend_ms);
            proposals.push((leading.next.previous(), value));
        }
        if !proposals.is_empty() {
            leading.propose(proposals, self.chosen_upto, &self.membership, fx);
        }
    }

    /// A leader's heartbeat or Accept reached this node's acceptor.
    fn on_heard(&mut self, ballot: Ballot, fx: &mut Effects) {
        self.highest = self.highest.max(ballot);
        match &self.phase {
            Phase::Following { leader: Some(leader), .. } if ballot == *leader => {
                let deadline_ms = self.now_ms + self.election_wait();
                self.phase = Phase::Following { leader: Some(ballot), deadline_ms };
            }
            Phase::Following { leader: Some(leader), .. } if ballot < *leader => {}
            Phase::Preparing(preparing) if ballot <= preparing.ballot => {}
            Phase::Leading(leading) if ballot <= leading.ballot => {}
            _ => self.follow(ballot, fx),
        }
    }

    fn follow(&mut self, ballot: Ballot, fx: &mut Effects) {
        self.step_down("a leader with a higher ballot is heard", fx);
        let deadline_ms = self.now_ms + self.election_wait();
        self.attempts = 0;
        self.phase = Phase::Following { leader: Some(ballot), deadline_ms };
        fx.note(Event::Following { ballot });
        // What was forwarded to the leader before may be lost: clients are asked to send it again.
        fx.send(self.own, ExecutorMessage::LeaderChanged {});
    }

    /// An acceptor has promised a higher ballot. Whoever led or prepared with the refused one steps back, for a random
    /// while, so that two proposers do not push each other up for ever ("Paxos Made Simple", section 2.4).
    fn on_nack(&mut self, refused: Ballot, promised: Ballot, fx: &mut Effects) {
        self.highest = self.highest.max(promised);
        let ours = match &self.phase {
            Phase::Preparing(preparing) => preparing.ballot,
            Phase::Leading(leading) => leading.ballot,
            _ => return,
        };
        if ours == refused && promised > ours {
            self.step_down("an acceptor has promised a higher ballot", fx);
        }
    }

    /// An acceptor knows the outcome of slots that we propose in: learn it from there.
    fn on_settled(&mut self, from: NodeId, ballot: Ballot, upto: Slot, fx: &mut Effects) {
        let leads = matches!(&self.phase, Phase::Leading(leading) if leading.ballot == ballot);
        if leads && upto > self.chosen_upto {
            fx.send(self.own, LearnerMessage::Behind { chosen_upto: upto, supplier: from });
        }
    }

    /// The learner knows more. A leader that learns a slot as chosen above its ballot, or beyond its own proposals, has
    /// been superseded: it must not announce that slot in its own ballot, where it may have proposed another value.
    fn on_advanced(&mut self, chosen_upto: Slot, ballot: Option<Ballot>, fx: &mut Effects) {
        self.chosen_upto = self.chosen_upto.max(chosen_upto);
        match &mut self.phase {
            Phase::Leading(leading) => {
                let above = ballot.is_none_or(|ballot| ballot > leading.ballot);
                if above || chosen_upto >= leading.next {
                    return self.step_down("slots were chosen in a higher ballot", fx);
                }
                forget_upto(chosen_upto, &mut leading.in_flight);
                self.release_reads(fx);
                self.extend(fx);
            }
            Phase::Preparing(_) => self.try_to_lead(fx),
            _ => {}
        }
    }

    fn on_standing(&mut self, admitted: bool, fx: &mut Effects) {
        self.admitted = admitted;
        if !admitted {
            self.step_down("this node may not propose", fx);
        } else if self.is_alone() {
            // A singleton leads at the next tick, and not before the first: its stamps need the time.
            self.phase = Phase::Following { leader: None, deadline_ms: self.now_ms };
        }
    }

    /// A read index is asked for, by this node's executor or through a follower.
    fn on_read_index(&mut self, from: NodeId, batch: u64, fx: &mut Effects) {
        match &mut self.phase {
            Phase::Leading(leading) if leading.beat.reads.len() < MAX_WAITING_READS => {
                leading.beat.reads.push((from, batch));
            }
            Phase::Following { leader: Some(ballot), .. } if from == self.own && ballot.node != self.own => {
                fx.send(ballot.node, ProposerMessage::ReadIndex { batch });
            }
            _ => fx.send(from, ExecutorMessage::ReadRefused { batch }),
        }
    }

    /// Begins a heartbeat round, with every read that has arrived.
    fn begin_round(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let beat = &mut leading.beat;
        beat.round += 1;
        beat.next_ms = self.now_ms + self.settings.heartbeat_ms;
        let reads = std::mem::take(&mut beat.reads);
        beat.rounds.insert(beat.round, Round { began_ms: self.now_ms, answers: Answers::new(), reads });
        leading.announced_upto = self.chosen_upto;
        let heartbeat = AcceptorMessage::Heartbeat {
            ballot: leading.ballot,
            round: leading.beat.round,
            chosen_upto: self.chosen_upto,
            everywhere_upto: leading.members.everywhere_upto(&self.membership),
        };
        fx.broadcast(self.membership.audience(), heartbeat);
    }

    /// An acceptor whose promise is not above our ballot answered a round. A quorum of such answers shows that no
    /// higher ballot had passed phase 1 when the round began: whatever was chosen before is below our watermark or was
    /// merged from the promises (DESIGN section 4, rule 3).
    fn on_heartbeat_ack(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        round: u64,
        settled_upto: Slot,
        executed_upto: Slot,
        fx: &mut Effects,
    ) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        if leading.ballot != ballot {
            return;
        }
        leading.members.hear(from, executed_upto, self.now_ms);
        if settled_upto >= leading.next {
            let behind = LearnerMessage::Behind { chosen_upto: settled_upto, supplier: from };
            return fx.send(self.own, behind);
        }
        let Some(answered) = leading.beat.rounds.get_mut(&round) else { return };
        answered.answers.add(from);
        self.release_reads(fx);
    }

    /// Gives the index to every read whose round a quorum answered, once all merged slots are chosen.
    ///
    /// It is the configuration of the next slot whose quorum counts, and only if it has promised our ballot: whoever
    /// chose that slot without us, in a higher ballot, had a promise from such a quorum, and in a lower one phase 1 would
    /// have shown it. So nothing that was acknowledged before the round lies behind `chosen_upto`.
    fn release_reads(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let span = self.membership.span_at(self.chosen_upto.next());
        let configuration = span.map_or_else(|| self.membership.latest(), |span| &span.configuration);
        let rounds = &mut leading.beat.rounds;
        let is_answered = |round: &Round| round.answers.are_quorum_of(configuration);
        let Some((number, answered)) = rounds.iter().rev().find(|(_, round)| is_answered(round)) else { return };
        leading.beat.quorum_ms = leading.beat.quorum_ms.max(answered.began_ms);
        let is_covered = span.is_some_and(|span| span.first <= leading.covered);
        if self.chosen_upto < leading.merged_upto || !is_covered {
            return;
        }
        let later = rounds.split_off(&(number + 1));
        // Rounds before an answered one are answered with it: it began after they did, and so after their reads.
        let done = std::mem::replace(rounds, later);
        for (node, batch) in done.into_values().flat_map(|round| round.reads) {
            fx.send(node, ExecutorMessage::ReadIndexed { batch, index: self.chosen_upto });
        }
    }

    /// Time passes. `wall_ms` is for stamps only: nothing in the protocol depends on it.
    pub fn on_tick(&mut self, now_ms: u64, wall_ms: u64, fx: &mut Effects) {
        self.now_ms = now_ms;
        self.wall_ms = wall_ms;
        match &self.phase {
            Phase::Leading(_) => self.tick_leading(fx),
            _ => self.tick_election(fx),
        }
    }

    fn tick_leading(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let now_ms = self.now_ms;
        if now_ms < leading.beat.quorum_ms + self.settings.election_ms * 2 {
            leading.beat.overdue_ms = None;
        } else {
            // After a pause of this node the answers may be waiting in the mailbox behind this very tick.
            let since_ms = *leading.beat.overdue_ms.get_or_insert(now_ms);
            if now_ms >= since_ms + self.settings.heartbeat_ms {
                return self.step_down("no quorum is in reach", fx);
            }
        }
        if leading.fence.waiting && now_ms >= leading.fence.asked_ms + self.settings.disk_stall_ms {
            return self.step_down("the disk has stalled", fx);
        }
        if !leading.fence.waiting && now_ms >= leading.fence.asked_ms + self.settings.disk_stall_ms / 4 {
            leading.fence = Fence { number: leading.fence.number + 1, asked_ms: now_ms, waiting: true };
            fx.sync(Vec::new(), vec![Then::Fence(leading.fence.number)]);
        }
        let due: Vec<(Slot, Value)> = leading.due_again(now_ms);
        if !due.is_empty() {
            leading.propose(due, self.chosen_upto, &self.membership, fx);
        }
        let beats = now_ms >= leading.beat.next_ms;
        if beats {
            self.begin_round(fx);
        }
        self.tick_members(beats, fx);
    }

    fn on_fenced(&mut self, number: u64) {
        if let Phase::Leading(leading) = &mut self.phase
            && leading.fence.number == number
        {
            leading.fence.waiting = false;
        }
    }

    /// Phase 1 is done in the configuration that begins at `covered`, and everything settled is known: proposes the
    /// merged log again in this ballot, and leads.
    pub(super) fn lead(&mut self, ballot: Ballot, covered: Slot, log: Vec<(Slot, Value)>, fx: &mut Effects) {
        let first = self.chosen_upto.next();
        let leading = Leading {
            ballot,
            next: first,
            merged_upto: first.plus(log.len() as u64).previous(),
            inherited: log.into_iter().collect(),
            covered,
            extension: None,
            fill_upto: Slot::ZERO,
            changed_upto: first.previous(),
            members: Members::default(),
            in_flight: BTreeMap::new(),
            opened_ms: self.now_ms,
            announced_upto: self.chosen_upto,
            beat: Beat {
                began_ms: self.now_ms,
                round: 0,
                next_ms: self.now_ms,
                quorum_ms: self.now_ms,
                overdue_ms: None,
                rounds: BTreeMap::new(),
                reads: Vec::new(),
            },
            fence: Fence { number: 0, asked_ms: self.now_ms, waiting: false },
        };
        self.attempts = 0;
        self.phase = Phase::Leading(Box::new(leading));
        self.extend(fx);
        self.open_inherited(fx);
        fx.send(self.own, ExecutorMessage::LeaderChanged {});
        self.begin_round(fx);
    }

    /// Proposes at once what was merged, as far as it may be proposed yet. The queue is empty when a node begins to lead.
    pub(super) fn open_inherited(&mut self, fx: &mut Effects) {
        if matches!(&self.phase, Phase::Leading(leading) if !leading.inherited.is_empty() || leading.next <= leading.fill_upto)
        {
            self.open_slots(fx);
        }
    }

    /// More is executed here, or the members have changed.
    fn on_executed(&mut self, progress: Progress, fx: &mut Effects) {
        progress.renew(&mut self.membership);
        self.extend(fx);
        self.open_inherited(fx);
    }

    /// Back to following nobody. Commands that are in no slot yet are refused: nothing has happened on their account.
    pub(super) fn step_down(&mut self, why: &'static str, fx: &mut Effects) {
        if let Phase::Leading(leading) = &mut self.phase {
            fx.note(Event::SteppedDown { ballot: leading.ballot, why });
            let rounds = std::mem::take(&mut leading.beat.rounds).into_values().flat_map(|round| round.reads);
            for (node, batch) in rounds.chain(std::mem::take(&mut leading.beat.reads)) {
                fx.send(node, ExecutorMessage::ReadRefused { batch });
            }
            self.queue.refuse_all(fx);
        }
        let deadline_ms = self.now_ms + self.back_off();
        self.phase = Phase::Following { leader: None, deadline_ms };
    }

    /// What this proposer is doing.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The ballot of the leader that this node hears, or its own while it leads.
    pub fn leader(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Following { leader, .. } => *leader,
            Phase::Leading(leading) => Some(leading.ballot),
            Phase::Canvassing(_) | Phase::Preparing(_) => None,
        }
    }

    /// Who the members are, as far as this proposer knows.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Commands that wait for a slot.
    pub fn queued(&self) -> usize {
        self.queue.commands.len()
    }

    /// How many bytes of commands and values it holds.
    pub fn held_bytes(&self) -> usize {
        let proposed = match &self.phase {
            Phase::Leading(leading) => leading.held_bytes(),
            Phase::Preparing(preparing) => preparing.held_bytes(),
            Phase::Following { .. } | Phase::Canvassing(_) => 0,
        };
        self.queue.bytes + proposed
    }
}

/// How many questions for a read index wait for the next round at most. Each stands for a whole lot of reads.
const MAX_WAITING_READS: usize = 1 << 16;
/// So many slots are opened for whatever there is; further ones for lots that are worth it, or after a moment.
const PIPELINE: usize = 2;
/// So many commands are worth a slot.
const FULL_COMMANDS: u32 = 256;
/// And so many bytes of commands.
const FULL_BYTES: usize = 64 << 10;
/// The moment, in milliseconds: on a fast network a slot is chosen sooner.
const PACE_MS: u64 = 10;
