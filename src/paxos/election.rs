//! The way to leadership: canvass, reserve, prepare, catch up.
//!
//! A node that hears no leader first asks around, and prepares only when a quorum, itself included, hears none either
//! and is not a window ahead of it: a node with a bad link or a stale log does not depose a leader that others are
//! content with. One quorum-connected node suffices to elect itself (the three partial partitions of the OmniPaxos
//! paper, EuroSys 2023, are tests).
//!
//! A ballot is reserved in the journal before its first Prepare leaves, so that a restart never uses it again.

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::effect::{Effects, Event, Then};
use super::merge::{Counted, Promises};
use super::message::{LearnerMessage, Prepare, Promise, ProposerMessage};
use super::proposer::{Phase, Proposer};
use super::quorum::Answers;
use super::record::Record;
use super::slot::Slot;

/// Asking whether anybody hears a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Canvass {
    number: u64,
    answers: Answers,
    deadline_ms: u64,
}

/// Phase 1 under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preparing {
    /// The ballot.
    pub ballot: Ballot,
    /// The first slot asked about.
    from: Slot,
    /// The first slot of the configuration that is asked.
    span: Slot,
    promises: Promises,
    again_ms: u64,
    deadline_ms: u64,
}

impl Preparing {
    /// How many bytes of values it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.promises.held_bytes()
    }
}

impl Proposer {
    /// How long to hear nothing before canvassing.
    pub(super) fn election_wait(&mut self) -> u64 {
        self.settings.election_ms + self.dice.below(self.settings.election_ms / 2)
    }

    /// How long to leave the field to others after stepping back: random, so that duels end.
    pub(super) fn back_off(&mut self) -> u64 {
        self.settings.election_ms / 4 + self.dice.below(self.settings.election_ms)
    }

    pub(super) fn tick_election(&mut self, fx: &mut Effects) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Following { deadline_ms, .. } if now_ms >= *deadline_ms => self.canvass(fx),
            Phase::Canvassing(canvass) if now_ms >= canvass.deadline_ms => self.canvass(fx),
            Phase::Preparing(preparing) if now_ms >= preparing.deadline_ms => {
                self.step_down("phase 1 took too long", fx);
            }
            Phase::Preparing(preparing) if now_ms >= preparing.again_ms => {
                preparing.again_ms = now_ms + self.settings.resend_ms;
                let Some(asked) = self.membership.at(preparing.from) else { return };
                let missing = asked.nodes().filter(|node| !preparing.promises.has(*node)).collect();
                let prepare = Prepare { ballot: preparing.ballot, from: preparing.from };
                // A fence: the reservation itself may still be on its way.
                fx.sync(Vec::new(), vec![Then::Prepare(missing, prepare)]);
            }
            _ => {}
        }
    }

    /// Asks every other node whether it hears a leader.
    fn canvass(&mut self, fx: &mut Effects) {
        if !self.admitted || !self.may_lead() {
            self.phase = Phase::Following { leader: None, deadline_ms: self.now_ms + self.settings.election_ms };
            return;
        }
        let number = self.dice.roll();
        let deadline_ms = self.now_ms + self.back_off();
        let mut answers = Answers::new();
        answers.add(self.own);
        if !matches!(self.phase, Phase::Canvassing(_)) {
            fx.note(Event::Canvassing {});
        }
        self.phase = Phase::Canvassing(Canvass { number, answers, deadline_ms });
        let others = self.membership.members().into_iter().map(|member| member.id).filter(|node| *node != self.own);
        fx.broadcast(others.collect::<Vec<_>>(), ProposerMessage::Canvass { number, chosen_upto: self.chosen_upto });
        self.count_canvass(fx);
    }

    /// Prepares once a quorum hears no leader: of the configuration in which the log goes on.
    fn count_canvass(&mut self, fx: &mut Effects) {
        let Phase::Canvassing(canvass) = &self.phase else { return };
        let next = self.membership.at(self.chosen_upto.next());
        if next.is_some_and(|next| canvass.answers.are_quorum_of(next)) {
            self.prepare(fx);
        }
    }

    /// A would-be candidate asks. A leader that is itself asking has abdicated, and does not count.
    pub(super) fn on_canvass(&mut self, from: NodeId, number: u64, chosen_upto: Slot, fx: &mut Effects) {
        let hears_leader = match &self.phase {
            Phase::Leading(_) => true,
            Phase::Following { leader: Some(ballot), deadline_ms } => ballot.node != from && self.now_ms < *deadline_ms,
            _ => false,
        };
        let answer =
            ProposerMessage::Canvassed { number, hears_leader, chosen_upto: self.chosen_upto, highest: self.highest };
        fx.send(from, answer);
        if chosen_upto > self.chosen_upto {
            fx.send(self.own, LearnerMessage::Behind { chosen_upto, supplier: from });
        }
    }

    pub(super) fn on_canvassed(
        &mut self,
        from: NodeId,
        number: u64,
        hears_leader: bool,
        chosen_upto: Slot,
        highest: Ballot,
        fx: &mut Effects,
    ) {
        self.highest = self.highest.max(highest);
        if chosen_upto > self.chosen_upto {
            fx.send(self.own, LearnerMessage::Behind { chosen_upto, supplier: from });
        }
        let Phase::Canvassing(canvass) = &mut self.phase else { return };
        if canvass.number != number {
            return fx.note(Event::Ignored { from, what: "Canvassed", why: "an earlier canvass" });
        }
        let ahead = chosen_upto > self.chosen_upto.plus(u64::from(self.settings.window));
        if !hears_leader && !ahead {
            canvass.answers.add(from);
            self.count_canvass(fx);
        }
    }

    /// Phase 1a: reserves a ballot above all that were heard of, and prepares it once that is durable.
    pub(super) fn prepare(&mut self, fx: &mut Effects) {
        let from = self.chosen_upto.next();
        let Some(span) = self.membership.span_at(from).cloned() else {
            return self.step_down("it is not executed yet who decides the next slot", fx);
        };
        let ballot = self.highest.next_for(self.own);
        if ballot <= self.highest {
            // A peer claims to have seen the last round. To use a ballot twice would be unsafe, to stand by is not.
            fx.note(Event::Ignored { from: self.own, what: "election", why: "no higher ballot is left" });
            return self.step_down("no higher ballot is left", fx);
        }
        self.attempts += 1;
        let record = Record::Reserved { ballot };
        self.apply_record(&record);
        fx.note(Event::Preparing { ballot });
        let nodes = span.configuration.nodes().collect();
        fx.sync(vec![record], vec![Then::Prepare(nodes, Prepare { ballot, from })]);
        self.phase = Phase::Preparing(Preparing {
            ballot,
            from,
            span: span.first,
            promises: Promises::default(),
            again_ms: self.now_ms + self.settings.resend_ms,
            // On a slow disk a deadline that never grows would never be met.
            deadline_ms: self.now_ms + (self.settings.election_ms << (self.attempts.min(7) + 1)),
        });
    }

    /// Phase 1b arrives.
    pub(super) fn on_promise(&mut self, from: NodeId, promise: Promise, fx: &mut Effects) {
        let Phase::Preparing(preparing) = &mut self.phase else { return self.on_later_promise(from, promise, fx) };
        if promise.ballot != preparing.ballot || promise.from != preparing.from {
            return fx.note(Event::Ignored { from, what: "Promise", why: "of another ballot" });
        }
        let Some(asked) = self.membership.at(preparing.from) else {
            return self.step_down("slots that it asked about were chosen meanwhile", fx);
        };
        match preparing.promises.count(from, promise, preparing.from, asked) {
            Counted::Quorum => self.try_to_lead(fx),
            Counted::Absurd => fx.note(Event::Ignored { from, what: "Promise", why: "absurd" }),
            Counted::Not => {}
        }
    }

    /// A quorum has promised: leads, once everything that one of it has settled is known here. If the supplier dies,
    /// the deadline of phase 1 passes and this node prepares anew.
    pub(super) fn try_to_lead(&mut self, fx: &mut Effects) {
        let Phase::Preparing(preparing) = &mut self.phase else { return };
        if !preparing.promises.is_quorum() {
            return;
        }
        let (settled, supplier) = preparing.promises.settled();
        if settled > self.chosen_upto {
            return fx.send(self.own, LearnerMessage::Behind { chosen_upto: settled, supplier });
        }
        let ballot = preparing.ballot;
        let first = self.chosen_upto.next();
        // The promises count in the configuration that gave them. Slots of a later one have a phase 1 of their own.
        let Some(span) = self.membership.span_at(first).filter(|span| span.first == preparing.span) else {
            return self.step_down("the configuration that it asked decides no more slots", fx);
        };
        let covered = span.first;
        let (log, merged, holes) = std::mem::take(&mut preparing.promises).into_log(first);
        fx.note(Event::Leading { ballot, first, merged, holes });
        self.lead(ballot, covered, log, fx);
    }
}
