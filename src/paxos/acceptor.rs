//! The acceptor: the durable heart of a node.
//!
//! It holds the highest ballot it has promised and its vote per slot, and keeps two rules ("Paxos Made Simple", P1a and
//! section 2.4): it answers no ballot below its promise, and it says nothing that it could forget. A vote is a promise
//! of its own ballot too.
//!
//! Votes at or below `settled_upto` leave memory: this node knows those slots to be chosen and can supply them, so a
//! candidate that hears of `settled_upto` proposes nothing there (DESIGN section 4, rule 1). They stay in the journal.
//!
//! Absent on purpose: any knowledge of who leads, of quorums, of what is chosen beyond its own watermark.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::ballot::{Ballot, NodeId};
use super::company::Company;
use super::effect::{Effect, Effects, Event, Then};
use super::membership::Membership;
use super::message::{Accepted, AcceptorMessage, Fetched, LearnerMessage, Prepare, Promise, ProposerMessage, Vote};
use super::record::{BatchNumber, Record};
use super::repair::{Damage, MOST_ASKED, Repair};
use super::settings::{MAX_MESSAGE_BYTES, MAX_OPEN_SLOTS};
use super::slot::{Slot, forget_upto};
use super::value::Value;

/// One node's acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acceptor {
    own: NodeId,
    membership: Membership,
    /// Everything up to here is executed, or a little more: so peers hear.
    executed_upto: Slot,
    /// Everything up to here would be known to be chosen after a crash, too.
    recorded_upto: Slot,
    /// Every member has executed everything up to here.
    everywhere_upto: Slot,
    admission: Admission,
    /// What the journal lost of the votes.
    repair: Repair,
    promised: Ballot,
    /// The highest-balloted vote of each slot above `settled_upto`.
    votes: BTreeMap<Slot, (Ballot, Value)>,
    settled_upto: Slot,
}

impl Acceptor {
    /// An acceptor whose node's snapshot covers every slot up to `settled_upto`, before its records are folded.
    /// `recovered` is the last batch of its journal.
    pub fn new(own: NodeId, membership: Membership, settled_upto: Slot, recovered: BatchNumber) -> Acceptor {
        Acceptor {
            own,
            membership,
            executed_upto: settled_upto,
            recorded_upto: settled_upto,
            everywhere_upto: Slot::ZERO,
            admission: Admission::new(own, recovered),
            repair: Repair::default(),
            promised: Ballot::ZERO,
            votes: BTreeMap::new(),
            settled_upto,
        }
    }

    /// Folds one record: at recovery, and while running, before the record is asked to be made durable.
    pub fn apply_record(&mut self, record: &Record) {
        match record {
            Record::Promise { ballot } => self.promised = self.promised.max(*ballot),
            Record::Vote { slot, ballot, value } => {
                self.promised = self.promised.max(*ballot);
                if *slot > self.settled_upto {
                    self.votes.insert(*slot, (*ballot, value.clone()));
                }
            }
            _ => self.admission.apply_record(record),
        }
    }

    /// After the records were folded: what the journal lost. Until that is repaired this node is not admitted.
    pub fn on_damage(&mut self, damage: Damage, fx: &mut Effects) {
        if damage == Damage::default() {
            return;
        }
        let batches = damage.batches;
        self.repair = Repair::of(damage, self.settled_upto);
        let (votes, upto) = (self.repair.lost() as u64, self.repair.unknown_upto());
        fx.note(Event::Damaged { batches, votes, upto });
        if self.repair.is_under_way() {
            self.admission.damaged();
        } else {
            fx.note(Event::Repaired {});
        }
    }

    /// After the records were folded: what the folder says of other members. `known_upto` is how far the journal knows what is
    /// chosen, `reaches` the last slot of which it knows anything. Whoever is alone may vote at once.
    pub fn on_company(&mut self, company: Company, known_upto: Slot, reaches: Slot, fx: &mut Effects) {
        if let Some(event) = self.admission.remember(company, known_upto, reaches) {
            fx.note(event);
        }
        if self.admission.is_alone(&self.membership) {
            let event = self.admission.weigh(&self.membership);
            self.stand(event, fx);
        }
    }

    /// Handles one message.
    pub fn on_message(&mut self, from: NodeId, message: AcceptorMessage, fx: &mut Effects) {
        match message {
            AcceptorMessage::Prepare(prepare) => self.on_prepare(from, prepare, fx),
            AcceptorMessage::Accept { ballot, proposals, chosen_upto } => {
                self.on_accept(from, ballot, proposals, chosen_upto, fx);
            }
            AcceptorMessage::Heartbeat { ballot, round, chosen_upto, everywhere_upto } => {
                self.on_heartbeat(from, ballot, round, chosen_upto, everywhere_upto, fx);
            }
            AcceptorMessage::Announce { ballot, chosen_upto } => {
                if self.hear(from, ballot, chosen_upto, fx) == Heard::Deposed {
                    self.nack(from, ballot, fx);
                }
            }
            AcceptorMessage::Learned { chosen_upto } => {
                self.on_learned(chosen_upto);
                self.complete_repair(fx);
            }
            AcceptorMessage::FetchVotes { votes } => self.on_fetch_votes(from, &votes, fx),
            AcceptorMessage::Fetched(fetched) => self.on_fetched(from, fetched.into_inner(), fx),
            AcceptorMessage::Greeted { peer, witnessed, durable } => self.on_greeted(peer, witnessed, durable, fx),
            AcceptorMessage::Hearsay { batches } => {
                let others = batches
                    .into_iter()
                    .filter(|(node, _, _)| *node != self.own && self.membership.member(*node).is_some());
                let records: Vec<Record> =
                    others.filter_map(|(node, _, batch)| self.admission.witness(node, batch)).collect();
                fx.append(records);
            }
            AcceptorMessage::Executed(progress) => {
                progress.renew(&mut self.membership);
                self.show_executed();
                let event = self.admission.weigh(&self.membership);
                self.stand(event, fx);
            }
            AcceptorMessage::Witnessed { peer, batch } => {
                fx.append(self.admission.witness(peer, batch).into_iter().collect())
            }
            AcceptorMessage::Recorded(upto) => {
                self.recorded_upto = self.recorded_upto.max(upto.into_inner());
                self.show_executed();
            }
        }
    }

    /// Phase 1b ("Paxos Made Simple", section 2.2): promise a ballot that is not below the promise, and report every
    /// vote that the candidate may have to respect.
    pub fn on_prepare(&mut self, from: NodeId, prepare: Prepare, fx: &mut Effects) {
        let Prepare { ballot, from: first } = prepare;
        if ballot.node != from {
            return fx.note(Event::Ignored { from, what: "Prepare", why: "of another node's ballot" });
        }
        if !self.admission.admitted() {
            return fx.note(Event::Ignored { from, what: "Prepare", why: "this node may not vote" });
        }
        if ballot < self.promised {
            return self.nack(from, ballot, fx);
        }
        // A repeated Prepare needs no new record, but its answer waits for the first one's: an empty sync is a fence.
        let mut records = Vec::new();
        if ballot > self.promised {
            let record = Record::Promise { ballot };
            self.apply_record(&record);
            records.push(record);
        }
        // Votes that are not durable yet may be reported: the answer is behind their own syncs.
        let above = first.previous().max(self.settled_upto);
        let votes = self.votes.range(above.next()..).map(|(slot, (ballot, value))| Vote {
            slot: *slot,
            ballot: *ballot,
            value: value.clone(),
        });
        let parts = in_parts(votes);
        let count = u32::try_from(parts.len()).expect("votes are bounded by the open slots");
        let promise = |(part, votes)| {
            Then::Promise(
                from,
                Promise { ballot, from: first, settled_upto: self.settled_upto, votes, part, parts: count },
            )
        };
        let then = (0..count).zip(parts).map(promise).collect();
        fx.sync(records, then);
    }

    /// Phase 2b ("Paxos Made Simple", section 2.2): vote unless a higher ballot is promised. Slots at or below
    /// `settled_upto` are never voted on: the answer says that their outcome can be had from here.
    pub fn on_accept(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        mut proposals: Vec<(Slot, Value)>,
        chosen_upto: Slot,
        fx: &mut Effects,
    ) {
        match self.hear(from, ballot, chosen_upto, fx) {
            Heard::Deposed => return self.nack(from, ballot, fx),
            Heard::Impostor => return,
            Heard::Leader => {}
        }
        if !self.admission.admitted() {
            fx.note(Event::Ignored { from, what: "Accept", why: "this node may not vote" });
            // But what it voted for and lost, the leader of that very ballot tells.
            return self.restore(proposals.into_iter().map(|(slot, value)| Vote { slot, ballot, value }), fx);
        }
        let mut settled = false;
        let mut records = Vec::with_capacity(proposals.len());
        proposals.retain(|(slot, value)| {
            if *slot <= self.settled_upto {
                settled = true;
                return false;
            }
            // A promise with votes further ahead would be refused as absurd: this node must catch up first.
            if *slot > self.settled_upto.plus(MAX_OPEN_SLOTS - 1) {
                fx.note(Event::Ignored { from, what: "Accept", why: "too far ahead of what is settled here" });
                return false;
            }
            match self.votes.get(slot) {
                Some((voted, held)) if *voted == ballot && held != value => {
                    fx.note(Event::Ignored { from, what: "Accept", why: "a second value in one ballot" });
                    return false;
                }
                Some((voted, _)) if *voted == ballot => {}
                _ => {
                    let record = Record::Vote { slot: *slot, ballot, value: value.clone() };
                    self.apply_record(&record);
                    records.push(record);
                }
            }
            true
        });
        if settled {
            fx.send(from, ProposerMessage::Settled { ballot, upto: self.settled_upto });
        }
        if !proposals.is_empty() {
            let slots = proposals.iter().map(|(slot, _)| *slot).collect();
            // The journal gets the votes before the learner hears of them: a lazy `ChosenUpto` stands behind them.
            fx.sync(records, vec![Then::Accepted(from, Accepted { ballot, slots })]);
            fx.send(self.own, LearnerMessage::Voting { ballot, proposals });
        }
    }

    /// Answers a leader's heartbeat, if no higher ballot is promised: this is what a read index rests on (DESIGN
    /// section 4, rule 3), so a node that may have forgotten a promise does not answer. Never waits for the disk.
    pub fn on_heartbeat(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        round: u64,
        chosen_upto: Slot,
        everywhere_upto: Slot,
        fx: &mut Effects,
    ) {
        match self.hear(from, ballot, chosen_upto, fx) {
            Heard::Deposed => self.nack(from, ballot, fx),
            Heard::Leader if self.admission.admitted() => {
                if everywhere_upto > self.everywhere_upto {
                    self.everywhere_upto = everywhere_upto;
                    fx.push(Effect::ExecutedEverywhere { upto: everywhere_upto });
                }
                let (settled_upto, executed_upto) = (self.settled_upto, self.executed_upto);
                fx.send(from, ProposerMessage::HeartbeatAck { ballot, round, settled_upto, executed_upto });
            }
            Heard::Leader | Heard::Impostor => {}
        }
    }

    /// Peers may hear how far this node has executed; but that it has come to the beginning of a configuration only once a
    /// crash cannot take that back (DESIGN section 4, rule 6). For by that they let go of members that have left, and what
    /// is chosen in the slots before is recorded lazily:
    ///
    /// ```text
    /// n1 and n2 are the members, n2 has left; n1 executes up to the slots that it decides alone, and n2 is let go of
    /// n1 is killed before any sync, and has forgotten that the last slots of both are chosen: n2 would have to promise
    /// ```
    ///
    /// The executor has the journal flushed there, once for each configuration. Whoever has reported the last slot before one
    /// has everything up to there in its journal and its snapshots, for good.
    fn show_executed(&mut self) {
        let before = self.membership.spans()[0].first.previous();
        if before <= self.recorded_upto {
            self.executed_upto = self.executed_upto.max(self.membership.executed_upto());
        }
    }

    /// The learner knows more: those slots are settled.
    pub fn on_learned(&mut self, chosen_upto: Slot) {
        if chosen_upto > self.settled_upto {
            self.settled_upto = chosen_upto;
            forget_upto(chosen_upto, &mut self.votes);
            self.repair.settle(chosen_upto);
        }
    }

    /// Time passes: what is lost is asked for.
    pub fn on_tick(&mut self, now_ms: u64, fx: &mut Effects) {
        if let Some(votes) = self.repair.ask(now_ms) {
            let members = self.membership.members().into_iter().map(|member| member.id);
            // A journal that lost who came knows of them only by meeting them.
            let met = self.admission.greeted().nodes();
            let others: BTreeSet<NodeId> = members.chain(met).filter(|node| *node != self.own).collect();
            fx.broadcast(others, AcceptorMessage::FetchVotes { votes });
        }
    }

    /// A peer's journal lost votes. Whatever this node's own standing, it says what it knows; [`super::repair`] says why it
    /// may. The answer is behind the syncs of the votes and the promise that it names.
    pub fn on_fetch_votes(&mut self, from: NodeId, asked: &[(Slot, Ballot)], fx: &mut Effects) {
        if self.membership.member(from).is_none() || asked.len() > MOST_ASKED {
            return fx.note(Event::Ignored { from, what: "FetchVotes", why: "of a stranger, or too much" });
        }
        let (mut votes, mut denied, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (slot, ballot) in asked.iter().copied().filter(|(slot, _)| *slot > self.settled_upto) {
            match self.votes.get(&slot) {
                Some((voted, value)) if *voted == ballot => {
                    bytes += value.as_bytes().len();
                    if bytes <= MAX_MESSAGE_BYTES || votes.is_empty() {
                        votes.push(Vote { slot, ballot, value: value.clone() });
                    }
                }
                // It may have voted in the lower ballot before.
                Some((voted, _)) if *voted > ballot => {}
                _ if self.promised > ballot && !self.repair.hides(slot, ballot) => denied.push((slot, ballot)),
                _ => {}
            }
        }
        let fetched = Fetched { votes, denied, settled_upto: self.settled_upto };
        fx.sync(Vec::new(), vec![Then::Fetched(from, fetched)]);
    }

    /// A peer says what it knows of votes that this node's journal lost.
    pub fn on_fetched(&mut self, from: NodeId, fetched: Fetched, fx: &mut Effects) {
        let Fetched { votes, denied, settled_upto } = fetched;
        if !self.repair.is_under_way() {
            return fx.note(Event::Ignored { from, what: "Fetched", why: "nothing is lost" });
        }
        if settled_upto > self.settled_upto {
            fx.send(self.own, LearnerMessage::Behind { chosen_upto: settled_upto, supplier: from });
        }
        for (slot, ballot) in denied {
            // Who decides the slot may not be executed here yet: the peer says it again.
            let Some(configuration) = self.membership.at(slot) else { continue };
            if self.repair.deny(slot, ballot, from, configuration) {
                fx.note(Event::Dropped { slot, ballot });
            }
        }
        self.restore(votes.into_iter(), fx);
    }

    /// A handshake with a peer succeeded.
    pub fn on_greeted(&mut self, peer: NodeId, witnessed: BatchNumber, durable: BatchNumber, fx: &mut Effects) {
        let event = self.admission.greet(peer, witnessed, durable, &self.membership);
        self.stand(event, fx);
    }

    /// Something about this node's standing has changed, if there is an event.
    fn stand(&mut self, event: Option<Event>, fx: &mut Effects) {
        if let Some(event) = event {
            if let Some(record) = self.admission.lost(&event) {
                fx.sync(vec![record], Vec::new());
            }
            self.tell_standing(event, fx);
        }
    }

    /// The highest ballot promised.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// Everything up to here is known to be chosen.
    pub fn settled_upto(&self) -> Slot {
        self.settled_upto
    }

    /// The votes above `settled_upto`.
    pub fn votes(&self) -> &BTreeMap<Slot, (Ballot, Value)> {
        &self.votes
    }

    /// How many bytes of values it holds.
    pub fn held_bytes(&self) -> usize {
        self.votes.values().map(|(_, value)| value.as_bytes().len()).sum()
    }

    /// Whether this node may vote, and what it has seen of its peers' journals.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What the repair of the journal has come to.
    pub fn repair(&self) -> &Repair {
        &self.repair
    }

    /// Journals again those of the votes that are lost.
    fn restore(&mut self, votes: impl Iterator<Item = Vote>, fx: &mut Effects) {
        let (mut records, mut voting) = (Vec::new(), Vec::new());
        for Vote { slot, ballot, value } in votes {
            if self.repair.is_lost(slot, ballot) {
                self.repair.restore(slot, ballot);
                let record = Record::Vote { slot, ballot, value: value.clone() };
                self.apply_record(&record);
                records.push(record);
                voting.push(LearnerMessage::Voting { ballot, proposals: vec![(slot, value)] });
            }
        }
        if !records.is_empty() {
            fx.sync(records, Vec::new());
            voting.into_iter().for_each(|voting| fx.send(self.own, voting));
        }
        self.complete_repair(fx);
    }

    fn complete_repair(&mut self, fx: &mut Effects) {
        if self.repair.complete(self.settled_upto) {
            fx.note(Event::Repaired {});
            if let Some(event) = self.admission.repaired(&self.membership) {
                self.tell_standing(event, fx);
            }
        }
    }

    fn tell_standing(&mut self, event: Event, fx: &mut Effects) {
        fx.note(event);
        fx.append(self.admission.confirm().into_iter().collect());
        fx.send(self.own, ProposerMessage::Standing { admitted: self.admission.admitted() });
    }

    /// Tells the node's other roles of a leader's message, if the ballot is the sender's and not below the promise.
    fn hear(&self, from: NodeId, ballot: Ballot, chosen_upto: Slot, fx: &mut Effects) -> Heard {
        if ballot.node != from {
            fx.note(Event::Ignored { from, what: "leader's message", why: "of another node's ballot" });
            return Heard::Impostor;
        }
        if ballot < self.promised {
            return Heard::Deposed;
        }
        if from != self.own {
            fx.send(self.own, ProposerMessage::Heard { ballot });
            if chosen_upto > self.settled_upto {
                fx.send(self.own, LearnerMessage::Announced { ballot, chosen_upto });
            }
        }
        Heard::Leader
    }

    fn nack(&self, to: NodeId, refused: Ballot, fx: &mut Effects) {
        fx.send(to, ProposerMessage::Nack { refused, promised: self.promised });
    }
}

/// What a leader's message is to this acceptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Its ballot is not below the promise.
    Leader,
    /// A higher ballot is promised.
    Deposed,
    /// The ballot is not the sender's.
    Impostor,
}

/// Splits votes into parts that fit a message; an empty promise has one empty part.
fn in_parts(votes: impl Iterator<Item = Vote>) -> Vec<Vec<Vote>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for vote in votes {
        let length = vote.value.as_bytes().len() + 64;
        let full = parts.last().is_some_and(|part| !part.is_empty()) && bytes + length > MAX_MESSAGE_BYTES;
        if full {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        parts.last_mut().expect("there is a part from the start").push(vote);
    }
    parts
}
