//! The learner: what is chosen.
//!
//! On the leader's node it counts votes, per slot **and** ballot: a quorum of votes in one ballot chooses a value
//! ("Paxos Made Simple", section 2.1), votes of different ballots are never added up. On the other nodes it learns from
//! the leader's announcement (ballot, `chosen_upto`), but a slot only if this node's own vote there has that very
//! ballot (DESIGN section 4, rule 2); for everything else it asks. A short run that shows why:
//!
//! ```text
//! n3 votes for X in slot 5, ballot 1.1; nobody else does      n2 leads in 2.2, and chooses Y in slot 5 with n1
//! n2 announces (2.2, upto 5)                                  n3 missed Y. Its vote says X: it must ask.
//! ```
//!
//! What it learns goes to the executor in order, without holes. Values leave memory on the way; a peer that asks for
//! an old slot is served from the journal, or by a snapshot when the journal no longer has it.
//!
//! A snapshot from a peer comes in parts, in order, a few asked for ahead; each goes to the keeper, which writes it down
//! and says so. Here is only how far it has come. Its file is named by its digest, so whoever has the very same one may
//! be asked for the rest; a part of another file, from whoever was asked last, begins anew.
//!
//! Invariant: whatever lies above the last installed snapshot and at or below `chosen_upto` can be told from the
//! journal, because a `ChosenUpto` record is
//! only written behind a vote in at least its ballot or a `Chosen` record, for every slot that it covers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::effect::{Effect, Effects, Event, SNAPSHOT_PART_BYTES, SnapshotPart};
use super::image::SnapshotId;
use super::membership::Membership;
use super::message::{Accepted, AcceptorMessage, Choice, Dropped, ExecutorMessage, LearnerMessage, ProposerMessage};
use super::quorum::Tally;
use super::record::Record;
use super::settings::{MAX_OPEN_SLOTS, MAX_SNAPSHOT_BYTES, Settings};
use super::slot::{Slot, forget_upto};
use super::value::Value;

/// One node's learner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Learner {
    own: NodeId,
    membership: Membership,
    ask_again_ms: u64,
    now_ms: u64,
    /// Everything up to here is chosen, and known here.
    chosen_upto: Slot,
    /// The journal no longer has slots up to here; a snapshot covers them.
    trimmed_upto: Slot,
    /// This node's own votes above `chosen_upto`; their records are in the journal or on their way.
    votes: BTreeMap<Slot, (Ballot, Value)>,
    /// Chosen slots above `chosen_upto`, each waiting for those before it.
    ahead: BTreeMap<Slot, (Ballot, Value)>,
    /// Votes counted for this node's own ballots; of several ballots in one slot the highest.
    tallies: BTreeMap<Slot, (Ballot, Tally)>,
    /// Chosen slots on their way to the executor; empty between handlers.
    ready: Vec<Choice>,
    ballots: Ballots,
    catch_up: CatchUp,
}

/// Of slots that are known to be chosen, by runs, a ballot such that whoever voted in it or a higher one voted for what is
/// chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Ballots(BTreeMap<Slot, (Slot, Ballot)>);

impl Ballots {
    fn note(&mut self, slot: Slot, ballot: Ballot) {
        match self.0.last_entry() {
            Some(mut run) if run.get().0.next() == slot && run.get().1 == ballot => run.get_mut().0 = slot,
            _ => drop(self.0.insert(slot, (slot, ballot))),
        }
        if self.0.len() > MOST_RUNS {
            self.0.pop_first();
        }
    }

    fn of(&self, slot: Slot) -> Option<Ballot> {
        let (_, (last, ballot)) = self.0.range(..=slot).next_back()?;
        (slot <= *last).then_some(*ballot)
    }

    fn forget(&mut self, upto: Slot) {
        self.0.retain(|_, (last, _)| *last > upto);
    }
}

/// What this learner knows that it lacks, and whom it has asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct CatchUp {
    /// A peer knows everything up to here.
    target: Slot,
    /// Who said so last: perhaps a member that this node does not know of yet.
    teller: Option<NodeId>,
    /// Who was asked, and when to ask the next one.
    asked: Option<(NodeId, u64)>,
    /// A snapshot on its way.
    incoming: Option<Incoming>,
    /// The executor's state is wrong: a snapshot is fetched although its slots are known.
    repairing: bool,
    /// Who supplied the last one: another is asked if that was wrong, too.
    supplied: Option<NodeId>,
    /// A slot that is known here, and that the own journal cannot give back; whom it was asked of last.
    unreadable: Option<(Slot, NodeId)>,
}

/// A snapshot that arrives in parts: written ≤ arrived ≤ total, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Incoming {
    upto: Slot,
    id: SnapshotId,
    total: u64,
    /// So much has been handed to the keeper.
    arrived: u64,
    /// So much of it has been written.
    written: u64,
    /// So much has been asked for.
    asked: u64,
}

impl Incoming {
    fn is_of(&self, part: &SnapshotPart) -> bool {
        (self.upto, self.id, self.total) == (part.upto, part.id, part.total)
    }

    /// Up to where parts may be on their way.
    fn most(&self) -> u64 {
        self.total.min(self.written + PARTS_AHEAD * SNAPSHOT_PART_BYTES as u64)
    }

    /// The keeper is writing, or checks the whole: there is nothing to ask for.
    fn waits_for_the_keeper(&self) -> bool {
        self.written < self.arrived || self.arrived == self.total
    }
}

impl Learner {
    /// A learner whose node's snapshot covers every slot up to `snapshot_upto`, before its records are folded.
    pub fn new(own: NodeId, membership: Membership, settings: &Settings, snapshot_upto: Slot) -> Learner {
        Learner {
            own,
            membership,
            ask_again_ms: settings.resend_ms * 4,
            now_ms: 0,
            chosen_upto: snapshot_upto,
            trimmed_upto: Slot::ZERO,
            votes: BTreeMap::new(),
            ahead: BTreeMap::new(),
            tallies: BTreeMap::new(),
            ready: Vec::new(),
            ballots: Ballots::default(),
            catch_up: CatchUp::default(),
        }
    }

    /// Folds one record, at recovery and while running alike. A vote is never taken for chosen because a watermark
    /// passed it: only if its ballot is at least the announced one, in which case "Paxos Made Simple" P2b makes the
    /// values equal.
    pub fn apply_record(&mut self, record: &Record) {
        match record {
            Record::Vote { slot, ballot, value } if *slot > self.chosen_upto => {
                let vote = self.votes.entry(*slot).or_insert_with(|| (*ballot, value.clone()));
                if *ballot >= vote.0 {
                    *vote = (*ballot, value.clone());
                }
            }
            Record::Chosen { slot, ballot, value } if *slot > self.chosen_upto => {
                self.ahead.insert(*slot, (*ballot, value.clone()));
            }
            Record::ChosenUpto { ballot, upto } => {
                while self.chosen_upto < *upto {
                    let slot = self.chosen_upto.next();
                    let ahead = self.ahead.remove(&slot);
                    if ahead.is_none() && self.votes.get(&slot).is_none_or(|(voted, _)| voted < ballot) {
                        break;
                    }
                    let vote = self.votes.remove(&slot);
                    let (chosen, value) = ahead.or(vote).expect("one of them was there just now");
                    self.ready.push((slot, chosen, value));
                    self.ballots.note(slot, chosen);
                    self.chosen_upto = slot;
                    self.tallies.remove(&slot);
                }
            }
            _ => {}
        }
    }

    /// Drops what is ready for the executor: this learner only proves what the records say.
    pub fn forget_ready(&mut self) {
        self.ready.clear();
    }

    /// After recovery: hands the executor what the journal says is chosen, and tells the other roles.
    pub fn resume(&mut self, trimmed_upto: Slot, fx: &mut Effects) {
        self.trimmed_upto = trimmed_upto;
        self.deliver(fx);
    }

    /// Handles one message.
    pub fn on_message(&mut self, from: NodeId, message: LearnerMessage, fx: &mut Effects) {
        match message {
            LearnerMessage::Accepted(accepted) => self.on_accepted(from, &accepted, fx),
            LearnerMessage::CatchUp { first } => self.on_catch_up(from, first, fx),
            LearnerMessage::Chosen { entries, chosen_upto } => self.on_chosen(from, entries, chosen_upto, fx),
            LearnerMessage::FetchSnapshot { id, offset, .. } => {
                fx.push(Effect::SupplySnapshot { to: from, wanted: Some(id), offset });
            }
            LearnerMessage::SnapshotPart { upto, id, total, offset, bytes } => {
                self.on_snapshot_part(from, SnapshotPart { upto, id, total, offset, bytes }, fx);
            }
            LearnerMessage::PartKept { id, upto_bytes } => self.on_part_kept(id, upto_bytes, fx),
            LearnerMessage::SnapshotDropped { id, because } => self.on_snapshot_dropped(id, because, fx),
            LearnerMessage::Voting { ballot, proposals } => self.on_voting(ballot, proposals, fx),
            LearnerMessage::Announced { ballot, chosen_upto } => self.on_announced(ballot, chosen_upto, fx),
            LearnerMessage::Repair {} => self.on_repair(fx),
            LearnerMessage::Behind { chosen_upto, supplier } => self.on_behind(chosen_upto, supplier, fx),
            LearnerMessage::Installed { upto } => self.on_installed(upto, fx),
            LearnerMessage::Executed(progress) => progress.renew(&mut self.membership),
            LearnerMessage::Trimmed { upto } => self.on_trimmed(upto),
            LearnerMessage::Unreadable { slot, to } => self.on_unreadable(slot, to, fx),
            LearnerMessage::ChosenIn { slot, ballot } => self.on_chosen_in(from, slot, ballot, fx),
        }
    }

    /// Phase 2b: counts a vote. A value is chosen when a quorum voted for it in the same ballot.
    pub fn on_accepted(&mut self, from: NodeId, accepted: &Accepted, fx: &mut Effects) {
        let Accepted { ballot, slots } = accepted;
        if ballot.node != self.own {
            return fx.note(Event::Ignored { from, what: "Accepted", why: "of another node's ballot" });
        }
        let chosen_upto = self.chosen_upto;
        // A leader opens no slot further ahead, so nobody votes there: what claims it would only fill the memory.
        let most = chosen_upto.plus(MAX_OPEN_SLOTS);
        for slot in slots.iter().copied().filter(|slot| *slot > chosen_upto && *slot <= most) {
            // Nothing is proposed where that is not known: a vote for what an earlier start of this node proposed.
            let Some(configuration) = self.membership.at(slot) else { continue };
            let (counted, tally) = self.tallies.entry(slot).or_insert_with(|| (*ballot, Tally::new()));
            if *ballot > *counted {
                (*counted, *tally) = (*ballot, Tally::new());
            }
            if *ballot == *counted && tally.count(from, configuration) {
                self.choose_own_vote(slot, *ballot);
            }
        }
        self.advance(fx);
    }

    /// This node's acceptor votes. On the leader's node the quorum may have been there first.
    pub fn on_voting(&mut self, ballot: Ballot, proposals: Vec<(Slot, Value)>, fx: &mut Effects) {
        for (slot, value) in proposals {
            self.apply_record(&Record::Vote { slot, ballot, value });
            let counted = self.tallies.get(&slot);
            if counted.is_some_and(|(counted, tally)| *counted == ballot && tally.is_quorum()) {
                self.choose_own_vote(slot, ballot);
            }
        }
        self.advance(fx);
    }

    /// The leader of `ballot` announces: learn what our own votes in that ballot tell, ask for the rest.
    pub fn on_announced(&mut self, ballot: Ballot, chosen_upto: Slot, fx: &mut Effects) {
        let told: Vec<Slot> = self
            .votes
            .range(..=chosen_upto)
            .filter(|(_, (voted, _))| *voted == ballot)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in told {
            self.choose_own_vote(slot, ballot);
        }
        self.advance(fx);
        self.on_behind(chosen_upto, ballot.node, fx);
    }

    /// A peer knows everything up to `chosen_upto`.
    pub fn on_behind(&mut self, chosen_upto: Slot, supplier: NodeId, fx: &mut Effects) {
        self.catch_up.target = self.catch_up.target.max(chosen_upto);
        self.catch_up.teller = Some(supplier);
        if self.catch_up.asked.is_none() && supplier != self.own {
            self.ask(supplier, fx);
        }
    }

    /// This node's state is not what the replicas agree on: whatever is known here is no reason not to fetch a snapshot.
    fn on_repair(&mut self, fx: &mut Effects) {
        if !std::mem::replace(&mut self.catch_up.repairing, true) {
            self.ask_anybody(fx);
        }
    }

    /// Whether a snapshot up to there is of use. For a repair it may lie below what is known, if the journal has the rest.
    fn is_useful(&self, upto: Slot) -> bool {
        let is_repair = self.catch_up.repairing && upto >= self.trimmed_upto && upto > Slot::ZERO;
        is_repair || upto > self.chosen_upto
    }

    /// A peer asks for what it lacks.
    pub fn on_catch_up(&mut self, from: NodeId, first: Slot, fx: &mut Effects) {
        if first > self.chosen_upto || first == Slot::ZERO {
            return fx.note(Event::Ignored { from, what: "CatchUp", why: "nothing is chosen there" });
        }
        if first <= self.trimmed_upto {
            fx.push(Effect::SupplySnapshot { to: from, wanted: None, offset: 0 });
        } else {
            fx.push(Effect::SupplySlots { to: from, first, upto: self.chosen_upto });
        }
    }

    fn on_trimmed(&mut self, upto: Slot) {
        self.trimmed_upto = self.trimmed_upto.max(upto);
        self.ballots.forget(self.trimmed_upto);
    }

    /// The own journal cannot give back a slot that is known here: the disk has rotted since. The own executor, if it is for
    /// that, gets it from a peer. And if a peer lacks it, perhaps nobody else knows it to be chosen; but whoever voted for it
    /// has it, and is told. (At a start the journal's damage is repaired: [`super::repair`].)
    fn on_unreadable(&mut self, slot: Slot, to: NodeId, fx: &mut Effects) {
        if to != self.own {
            if let Some(ballot) = self.ballots.of(slot) {
                let others = self.membership.audience().into_iter().filter(|node| *node != self.own);
                fx.broadcast(others, LearnerMessage::ChosenIn { slot, ballot });
            }
            return;
        }
        let last = self.catch_up.unreadable.map_or(self.own, |(_, asked)| asked);
        if let Some(next) = self.member_after(last, false) {
            self.catch_up.unreadable = Some((slot, next));
            fx.send(next, LearnerMessage::CatchUp { first: slot });
        }
    }

    /// The sender's journal has lost what was chosen in a slot. Our own vote there is for that, if its ballot is not below
    /// ("Paxos Made Simple", P2b).
    fn on_chosen_in(&mut self, from: NodeId, slot: Slot, ballot: Ballot, fx: &mut Effects) {
        match self.votes.get(&slot) {
            Some((voted, value)) if *voted >= ballot => {
                self.ahead.insert(slot, (*voted, value.clone()));
                self.advance(fx);
            }
            _ => fx.note(Event::Ignored { from, what: "ChosenIn", why: "this node did not vote for it, or knows it" }),
        }
    }

    /// What the own journal has lost comes from a peer: it is journaled again, and goes to the executor.
    fn take_back(&mut self, entries: &[Choice], fx: &mut Effects) {
        let Some((lost, _)) = self.catch_up.unreadable else { return };
        if let Some((slot, ballot, value)) = entries.iter().find(|(slot, ..)| *slot == lost)
            && lost <= self.chosen_upto
        {
            self.catch_up.unreadable = None;
            fx.append(vec![Record::Chosen { slot: *slot, ballot: *ballot, value: value.clone() }]);
            fx.send(self.own, ExecutorMessage::Chosen { entries: vec![(*slot, *ballot, value.clone())] });
        }
    }

    /// A peer supplies chosen slots. What our own vote does not tell is journaled as `Chosen` first.
    pub fn on_chosen(&mut self, from: NodeId, entries: Vec<Choice>, chosen_upto: Slot, fx: &mut Effects) {
        self.take_back(&entries, fx);
        let mut records = Vec::new();
        let mut next = self.chosen_upto.next();
        for (slot, ballot, value) in entries {
            if slot < next {
                continue;
            }
            if slot > next {
                fx.note(Event::Ignored { from, what: "Chosen", why: "slots are not consecutive" });
                break;
            }
            match self.votes.get(&slot) {
                Some((voted, held)) if *voted >= ballot && *held != value => {
                    fx.note(Event::Ignored {
                        from,
                        what: "Chosen",
                        why: "contradicts a vote of the same or a later ballot",
                    });
                    break;
                }
                Some((voted, _)) if *voted >= ballot => {
                    self.ahead.insert(slot, (ballot, value));
                }
                _ => {
                    let record = Record::Chosen { slot, ballot, value };
                    self.apply_record(&record);
                    records.push(record);
                }
            }
            next = slot.next();
        }
        fx.append(records);
        let before = self.chosen_upto;
        self.advance(fx);
        self.catch_up.target = self.catch_up.target.max(chosen_upto);
        if self.chosen_upto > before {
            self.catch_up.asked = None;
            self.ask(from, fx);
        }
    }

    /// A part of a snapshot arrives. It goes to the keeper if it is the next one, or the first one of another file.
    fn on_snapshot_part(&mut self, from: NodeId, part: SnapshotPart, fx: &mut Effects) {
        let SnapshotPart { upto, id, total, offset, .. } = part;
        let length = part.bytes.len() as u64;
        if !self.is_useful(upto) || total > MAX_SNAPSHOT_BYTES {
            return fx.note(Event::Ignored { from, what: "SnapshotPart", why: "old, or too large" });
        }
        if length == 0 || total.checked_sub(offset).is_none_or(|rest| length != rest.min(SNAPSHOT_PART_BYTES as u64)) {
            return fx.note(Event::Ignored { from, what: "SnapshotPart", why: "not as long as parts are" });
        }
        let known = self.catch_up.incoming.as_ref().filter(|incoming| incoming.is_of(&part));
        let is_asked = self.catch_up.asked.is_some_and(|(node, _)| node == from);
        // A part of another file takes the place of what there is only if that may still be asked for.
        let gives_way = |incoming: &Incoming| is_asked && !incoming.waits_for_the_keeper();
        match known {
            // Few are asked for ahead: whoever sends more would fill the memory on the way to the disk.
            Some(incoming) if incoming.arrived == offset && offset < incoming.most() => {}
            None if offset == 0 && self.catch_up.incoming.as_ref().is_none_or(gives_way) => {
                self.catch_up.incoming = Some(Incoming { upto, id, total, arrived: 0, written: 0, asked: 0 });
            }
            _ => return fx.note(Event::Ignored { from, what: "SnapshotPart", why: "not the part asked for" }),
        }
        let Some(incoming) = &mut self.catch_up.incoming else { return };
        incoming.arrived += length;
        incoming.asked = incoming.asked.max(incoming.arrived);
        self.catch_up.asked = Some((from, self.now_ms + self.ask_again_ms));
        fx.push(Effect::KeepPart(part));
    }

    /// The keeper has written so much of a snapshot: more may come.
    fn on_part_kept(&mut self, id: SnapshotId, upto_bytes: u64, fx: &mut Effects) {
        let Some(incoming) = self.catch_up.incoming.as_mut().filter(|incoming| incoming.id == id) else { return };
        incoming.written = incoming.written.max(upto_bytes.min(incoming.arrived));
        let Some((supplier, _)) = self.catch_up.asked else { return };
        self.catch_up.asked = Some((supplier, self.now_ms + self.ask_again_ms));
        while incoming.asked < incoming.most() {
            fx.send(supplier, LearnerMessage::FetchSnapshot { upto: incoming.upto, id, offset: incoming.asked });
            incoming.asked += SNAPSHOT_PART_BYTES as u64;
        }
    }

    /// What there was of a snapshot is gone. Soon another is asked; later, if there was no room for it.
    fn on_snapshot_dropped(&mut self, id: SnapshotId, because: Dropped, fx: &mut Effects) {
        let Some(Incoming { upto, .. }) = self.catch_up.incoming.take_if(|incoming| incoming.id == id) else { return };
        let (why, wait_ms) = match because {
            Dropped::NoSpace => ("the disk is full", NO_SPACE_PATIENCE_MS),
            Dropped::Refused => ("it is not what its digest says, or no state of this machine", self.ask_again_ms),
            Dropped::OutOfPlace => ("a part of it is missing", self.ask_again_ms),
        };
        if let Some((peer, until)) = &mut self.catch_up.asked {
            *until = self.now_ms + wait_ms;
            fx.note(Event::SnapshotDropped { peer: *peer, upto, why });
        }
    }

    /// The executor took a snapshot in place of the log up to `upto`.
    pub fn on_installed(&mut self, upto: Slot, fx: &mut Effects) {
        self.on_trimmed(upto);
        let supplier = self.catch_up.asked.take();
        self.catch_up.supplied = supplier.map(|(node, _)| node);
        self.catch_up.repairing = false;
        self.catch_up.incoming.take_if(|incoming| incoming.upto <= upto);
        // The log may have overtaken it while it was being installed.
        if upto > self.chosen_upto {
            self.chosen_upto = upto;
            forget_upto(upto, &mut self.votes);
            forget_upto(upto, &mut self.ahead);
            forget_upto(upto, &mut self.tallies);
            fx.note(Event::Installed { upto });
            fx.send(self.own, AcceptorMessage::Learned { chosen_upto: upto });
            fx.send(self.own, ProposerMessage::Advanced { chosen_upto: upto, ballot: None });
            self.advance(fx);
        }
        // Whoever supplied it knows what follows; any other may lag as this node did, and would not answer.
        match supplier {
            Some((supplier, _)) => self.ask(supplier, fx),
            None => self.ask_anybody(fx),
        }
    }

    /// Time passes: whoever was asked and did not answer is given up for the next.
    pub fn on_tick(&mut self, now_ms: u64, fx: &mut Effects) {
        self.now_ms = now_ms;
        if self.catch_up.target <= self.chosen_upto && !self.catch_up.repairing {
            self.catch_up.asked = None;
        } else if self
            .catch_up
            .incoming
            .is_some_and(|incoming| self.is_useful(incoming.upto) && incoming.waits_for_the_keeper())
        {
            // It says when it has written what came, or what became of the whole. Nobody else is asked meanwhile.
        } else if self.catch_up.asked.is_none_or(|(_, until)| now_ms >= until) {
            self.ask_anybody(fx);
        }
    }

    /// Everything up to here is chosen, and known here.
    pub fn chosen_upto(&self) -> Slot {
        self.chosen_upto
    }

    /// The journal no longer has slots up to here.
    pub fn trimmed_upto(&self) -> Slot {
        self.trimmed_upto
    }

    /// Chosen slots above a hole, with the ballot and the value.
    pub fn ahead(&self) -> &BTreeMap<Slot, (Ballot, Value)> {
        &self.ahead
    }

    /// Own votes above `chosen_upto`, with the ballot and the value.
    pub fn votes(&self) -> &BTreeMap<Slot, (Ballot, Value)> {
        &self.votes
    }

    /// How many bytes of values it holds. Many of them it shares with the acceptor, which counts them, too.
    pub fn held_bytes(&self) -> usize {
        self.votes.values().chain(self.ahead.values()).map(|(_, value)| value.as_bytes().len()).sum()
    }

    /// A quorum voted for what `ballot` proposed in `slot`; the value is our own vote's, if it is of that ballot.
    fn choose_own_vote(&mut self, slot: Slot, ballot: Ballot) {
        if let Some((voted, value)) = self.votes.get(&slot)
            && *voted == ballot
        {
            self.ahead.insert(slot, (ballot, value.clone()));
        }
    }

    /// Moves `chosen_upto` over everything that is chosen without a hole, one lazy record per run of one ballot.
    fn advance(&mut self, fx: &mut Effects) {
        let mut records: Vec<Record> = Vec::new();
        let mut next = self.chosen_upto.next();
        for (slot, (ballot, _)) in self.ahead.range(next..) {
            if *slot > next {
                break;
            }
            next = slot.next();
            match records.last_mut() {
                Some(Record::ChosenUpto { ballot: of, upto }) if of == ballot => *upto = *slot,
                _ => records.push(Record::ChosenUpto { ballot: *ballot, upto: *slot }),
            }
        }
        records.iter().for_each(|record| self.apply_record(record));
        fx.append(records);
        self.deliver(fx);
    }

    /// Hands what is ready to the executor. The proposer hears first: whoever hears from the executor that a write is
    /// done, and then asks the proposer for a read index, finds it counted (a node's own mailboxes keep their order).
    fn deliver(&mut self, fx: &mut Effects) {
        if self.ready.is_empty() {
            return;
        }
        let entries = std::mem::take(&mut self.ready);
        let ballot = entries.iter().map(|(_, ballot, _)| *ballot).max();
        fx.send(self.own, ProposerMessage::Advanced { chosen_upto: self.chosen_upto, ballot });
        fx.send(self.own, AcceptorMessage::Learned { chosen_upto: self.chosen_upto });
        fx.send(self.own, ExecutorMessage::Chosen { entries });
    }

    fn ask(&mut self, supplier: NodeId, fx: &mut Effects) {
        if self.catch_up.target <= self.chosen_upto && !self.catch_up.repairing {
            return;
        }
        self.catch_up.asked = Some((supplier, self.now_ms + self.ask_again_ms));
        // A snapshot that the log has overtaken would be ignored when it comes: asking for it would never end.
        if self.catch_up.incoming.is_some_and(|incoming| !self.is_useful(incoming.upto)) {
            self.catch_up.incoming = None;
        }
        match &mut self.catch_up.incoming {
            Some(incoming) if incoming.waits_for_the_keeper() => {}
            // Whatever was asked of another may not come.
            Some(Incoming { upto, id, arrived, asked, .. }) => {
                fx.send(supplier, LearnerMessage::FetchSnapshot { upto: *upto, id: *id, offset: *arrived });
                *asked = *arrived + SNAPSHOT_PART_BYTES as u64;
            }
            None => {
                if self.catch_up.repairing {
                    // Nobody has this one: it stands for the newest.
                    let (upto, id) = (Slot::ZERO, SnapshotId::default());
                    fx.send(supplier, LearnerMessage::FetchSnapshot { upto, id, offset: 0 });
                }
                if self.catch_up.target > self.chosen_upto && supplier != self.own {
                    fx.send(supplier, LearnerMessage::CatchUp { first: self.chosen_upto.next() });
                }
            }
        }
    }

    /// Asks the member after the one asked last. A state that is wrong is repaired from a snapshot of the node's own, too: it
    /// has its name because the replicas agreed on it.
    fn ask_anybody(&mut self, fx: &mut Effects) {
        let supplied = self.catch_up.supplied.filter(|_| self.catch_up.repairing).unwrap_or(self.own);
        let last = self.catch_up.asked.map_or(supplied, |(node, _)| node);
        if let Some(supplier) = self.member_after(last, self.catch_up.repairing) {
            self.ask(supplier, fx);
        }
    }

    /// Whom to ask next: all members in turn.
    fn member_after(&self, last: NodeId, own_too: bool) -> Option<NodeId> {
        let members = self.membership.members().into_iter().map(|member| member.id);
        let others = members.chain(self.catch_up.teller).filter(|node| *node != self.own || own_too);
        let others: BTreeSet<NodeId> = others.collect();
        others.range(last..).find(|node| **node > last).or(others.first()).copied()
    }
}

/// How many runs of slots chosen in one ballot are remembered: one for each change of leader since the journal begins.
const MOST_RUNS: usize = 4096;
/// How many parts of a snapshot are on their way at most: asked for, or not written yet.
const PARTS_AHEAD: u64 = 4;
/// After how long a node whose disk was too full for a snapshot asks for one again, in milliseconds: there may be room long
/// before, and until then it lags.
const NO_SPACE_PATIENCE_MS: u64 = 3_000;
