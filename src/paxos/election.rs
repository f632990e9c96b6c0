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
use super::quorum::Tally;
use super::record::Record;
use super::slot::Slot;

/// Asking whether anybody hears a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Canvass {
    number: u64,
    tally: Tally,
    deadline_ms: u64,
}

/// Phase 1 under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preparing {
    /// The ballot.
    pub ballot: Ballot,
    /// The first slot asked about.
    from: Slot,
    promises: Promises,
    again_ms: u64,
    deadline_ms: u64,
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
                let nodes = self.configurations.latest().nodes();
                let missing = nodes.filter(|node| !preparing.promises.has(*node)).collect();
                let prepare = Prepare { ballot: preparing.ballot, from: preparing.from };
                // A fence: the reservation itself may still be on its way.
                fx.sync(Vec::new(), vec![Then::Prepare(missing, prepare)]);
            }
            _ => {}
        }
    }

    /// Asks every other node whether it hears a leader.
    fn canvass(&mut self, fx: &mut Effects) {
        if !self.admitted {
            self.phase = Phase::Following { leader: None, deadline_ms: self.now_ms + self.settings.election_ms };
            return;
        }
        let number = self.dice.roll();
        let deadline_ms = self.now_ms + self.back_off();
        let mut tally = Tally::new();
        let alone = tally.count(self.own, self.configurations.latest());
        if !matches!(self.phase, Phase::Canvassing(_)) {
            fx.note(Event::Canvassing {});
        }
        self.phase = Phase::Canvassing(Canvass { number, tally, deadline_ms });
        let others = self.configurations.latest().nodes().filter(|node| *node != self.own);
        fx.broadcast(others, ProposerMessage::Canvass { number, chosen_upto: self.chosen_upto });
        if alone {
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
        if !hears_leader && !ahead && canvass.tally.count(from, self.configurations.latest()) {
            self.prepare(fx);
        }
    }

    /// Phase 1a: reserves a ballot above all that were heard of, and prepares it once that is durable.
    pub(super) fn prepare(&mut self, fx: &mut Effects) {
        let ballot = self.highest.next_for(self.own);
        if ballot <= self.highest {
            // A peer claims to have seen the last round. To use a ballot twice would be unsafe, to stand by is not.
            fx.note(Event::Ignored { from: self.own, what: "election", why: "no higher ballot is left" });
            return self.step_down("no higher ballot is left", fx);
        }
        self.attempts += 1;
        let record = Record::Reserved { ballot };
        self.apply_record(&record);
        let from = self.chosen_upto.next();
        fx.note(Event::Preparing { ballot });
        let nodes = self.configurations.latest().nodes().collect();
        fx.sync(vec![record], vec![Then::Prepare(nodes, Prepare { ballot, from })]);
        self.phase = Phase::Preparing(Preparing {
            ballot,
            from,
            promises: Promises::default(),
            again_ms: self.now_ms + self.settings.resend_ms,
            // On a slow disk a deadline that never grows would never be met.
            deadline_ms: self.now_ms + (self.settings.election_ms << (self.attempts.min(7) + 1)),
        });
    }

    /// Phase 1b arrives.
    pub(super) fn on_promise(&mut self, from: NodeId, promise: Promise, fx: &mut Effects) {
        let Phase::Preparing(preparing) = &mut self.phase else {
            return fx.note(Event::Ignored { from, what: "Promise", why: "not preparing" });
        };
        if promise.ballot != preparing.ballot {
            return fx.note(Event::Ignored { from, what: "Promise", why: "of another ballot" });
        }
        match preparing.promises.count(from, promise, preparing.from, self.configurations.latest()) {
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
        let (log, merged, holes) = std::mem::take(&mut preparing.promises).into_log(first);
        fx.note(Event::Leading { ballot, first, merged, holes });
        self.lead(ballot, log, fx);
    }
}
