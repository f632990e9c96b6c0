//! What a leader knows: the slots that it has proposed in, its heartbeats, and the reads that ride on them.
//!
//! Absent: when any of it is done ([`super::proposer`]); the members ([`super::extension`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::effect::Effects;
use super::extension::{Extension, Members};
use super::membership::Membership;
use super::message::AcceptorMessage;
use super::quorum::Answers;
use super::settings::MAX_MESSAGE_BYTES;
use super::slot::Slot;
use super::value::Value;

/// A leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leading {
    /// The ballot.
    pub ballot: Ballot,
    /// The next free slot.
    pub next: Slot,
    /// The last slot that was merged from the promises. No read index is given before it is chosen.
    pub merged_upto: Slot,
    /// What was merged and is not proposed yet, because the configuration of those slots is not known.
    pub(super) inherited: BTreeMap<Slot, Value>,
    /// The first slot of the newest configuration of which a quorum has promised our ballot.
    pub(super) covered: Slot,
    /// Phase 1 in the configuration behind that one.
    pub(super) extension: Option<Extension>,
    /// Free slots up to here are filled with no-ops, so that a change of members takes effect.
    pub(super) fill_upto: Slot,
    /// Behind this slot stands no change of members: it is the last that this leader proposed, or what was chosen before
    /// it led.
    pub(super) changed_upto: Slot,
    /// What the members said of themselves.
    pub(super) members: Members,
    /// Slots proposed and not known to be chosen.
    pub(super) in_flight: BTreeMap<Slot, InFlight>,
    /// When the last of them was opened.
    pub(super) opened_ms: u64,
    /// The last announcement that left.
    pub(super) announced_upto: Slot,
    pub(super) beat: Beat,
    pub(super) fence: Fence,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct InFlight {
    pub(super) value: Value,
    pub(super) again_ms: u64,
    pub(super) wait_ms: u64,
}

/// Heartbeats, and the reads that ride on them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Beat {
    /// When this node began to lead.
    pub(super) began_ms: u64,
    /// The number of the last round; unique within the ballot.
    pub(super) round: u64,
    pub(super) next_ms: u64,
    /// When the newest round began that a quorum has answered.
    pub(super) quorum_ms: u64,
    /// Since when that is too long ago.
    pub(super) overdue_ms: Option<u64>,
    /// Rounds that wait for a quorum.
    pub(super) rounds: BTreeMap<u64, Round>,
    /// Reads that wait for the next round to begin.
    pub(super) reads: Vec<(NodeId, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Round {
    pub(super) began_ms: u64,
    pub(super) answers: Answers,
    pub(super) reads: Vec<(NodeId, u64)>,
}

/// A question to the own disk, to notice when it stalls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Fence {
    pub(super) number: u64,
    pub(super) asked_ms: u64,
    pub(super) waiting: bool,
}

impl Leading {
    /// Slots proposed and not known to be chosen.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn held_bytes(&self) -> usize {
        let in_flight = self.in_flight.values().map(|flight| &flight.value);
        let proposed: usize = in_flight.chain(self.inherited.values()).map(|value| value.as_bytes().len()).sum();
        proposed + self.extension.as_ref().map_or(0, Extension::held_bytes)
    }

    pub(super) fn open(&mut self, value: Value, now_ms: u64, wait_ms: u64) {
        self.opened_ms = now_ms;
        self.in_flight.insert(self.next, InFlight { value, again_ms: now_ms + wait_ms, wait_ms });
        self.next = self.next.next();
    }

    /// Phase 2a: sends Accept for these slots to every acceptor, our own included, in messages of bounded size.
    pub(super) fn propose(
        &mut self,
        mut proposals: Vec<(Slot, Value)>,
        chosen_upto: Slot,
        membership: &Membership,
        fx: &mut Effects,
    ) {
        self.announced_upto = chosen_upto;
        let ballot = self.ballot;
        while let Some((first, _)) = proposals.first() {
            let Some(span) = membership.span_at(*first) else {
                // A snapshot has just been installed here: that slot is executed, and the proposer hears of it next.
                proposals.remove(0);
                continue;
            };
            let end = membership.span_behind(span.first).map_or(Slot(u64::MAX), |behind| behind.first);
            let mut bytes = 0;
            let fits = |(slot, value): &&(Slot, Value)| {
                bytes += value.as_bytes().len();
                bytes <= MAX_MESSAGE_BYTES && *slot < end
            };
            let count = proposals.iter().take_while(fits).count().max(1);
            let rest = proposals.split_off(count);
            // A leader without a vote there needs the values all the same: its learner knows them by its own vote.
            let own = Some(ballot.node).filter(|own| !span.configuration.contains(*own));
            let nodes = span.configuration.nodes().chain(own);
            fx.broadcast(nodes, AcceptorMessage::Accept { ballot, proposals, chosen_upto });
            proposals = rest;
        }
    }

    /// The lowest slots that have gone unanswered for too long, a message's worth at most.
    pub(super) fn due_again(&mut self, now_ms: u64) -> Vec<(Slot, Value)> {
        let mut due = Vec::new();
        let mut bytes = 0;
        for (slot, flight) in &mut self.in_flight {
            if flight.again_ms > now_ms || bytes > MAX_MESSAGE_BYTES / 2 {
                break;
            }
            flight.wait_ms = (flight.wait_ms * 2).min(RESEND_MOST_MS);
            flight.again_ms = now_ms + flight.wait_ms;
            bytes += flight.value.as_bytes().len();
            due.push((*slot, flight.value.clone()));
        }
        due
    }
}

/// The longest wait between two sendings of one Accept.
const RESEND_MOST_MS: u64 = 2000;
