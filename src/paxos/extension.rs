//! A leader and the members: phase 1 in configurations to come, promotions, departures, and leadership handed over.
//!
//! A leader's ballot is promised by a quorum of one configuration. When the log brings another one, the leader goes
//! through phase 1 there, too, before it proposes in that configuration's slots (DESIGN section 4, rule 6): ahead of
//! time, while it goes on proposing in the slots before, so that the service does not pause. What those promises report is
//! merged as in any phase 1. A short run that shows why they are needed:
//!
//! ```text
//! n1 leads {n1, n2, n3} in 1.1; slot 5 changes them to {n3, n4, n5} from slot 5 + α on
//! n3 prepares 2.3 before n1 does, with n4, n5, and chooses Y in slot 5 + α; n1's 1.1 is promised by n1, n2, n3 only
//! n1 proposes Z there, to n3, n4, n5: they have promised 2.3 and refuse. Votes of n1, n2 would not count.
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ballot::{Ballot, NodeId};
use super::configuration::Configuration;
use super::effect::{Effects, Event, Then};
use super::leading::Leading;
use super::membership::{Change, Membership, is_name};
use super::merge::{Counted, Promises};
use super::message::{LearnerMessage, Prepare, Promise, ProposerMessage, Refusal};
use super::proposer::{Phase, Proposer};
use super::slot::Slot;
use super::value::Command;

/// Phase 1 of a leader's ballot in a configuration to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extension {
    /// The first slot of that configuration.
    first: Slot,
    promises: Promises,
    again_ms: u64,
}

/// What the members told a leader of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Members {
    heard: BTreeMap<NodeId, Heard>,
    /// When a newcomer was last proposed for its vote.
    promoted_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Heard {
    executed_upto: Slot,
    at_ms: u64,
}

impl Extension {
    /// How many bytes of values it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.promises.held_bytes()
    }
}

impl Members {
    /// A member answered a heartbeat.
    pub fn hear(&mut self, node: NodeId, executed_upto: Slot, now_ms: u64) {
        let heard = self.heard.entry(node).or_insert(Heard { executed_upto, at_ms: now_ms });
        heard.executed_upto = heard.executed_upto.max(executed_upto);
        heard.at_ms = now_ms;
    }

    /// How far this member has executed; none if it has not answered since this node leads.
    pub fn executed_upto(&self, node: NodeId) -> Option<Slot> {
        self.heard.get(&node).map(|heard| heard.executed_upto)
    }

    /// What every member has executed, newcomers included. Nothing, as long as one has not been heard.
    pub fn everywhere_upto(&self, membership: &Membership) -> Slot {
        let executed = |member: &super::Member| self.executed_upto(member.id).unwrap_or(Slot::ZERO);
        membership.members().into_iter().map(executed).min().unwrap_or(Slot::ZERO)
    }

    fn is_live(&self, node: NodeId, since_ms: u64) -> bool {
        self.heard.get(&node).is_some_and(|heard| heard.at_ms >= since_ms)
    }

    /// Of the members of that configuration, how many have been heard since then.
    fn live(&self, configuration: &Configuration, since_ms: u64) -> usize {
        configuration.nodes().filter(|node| self.is_live(*node, since_ms)).count()
    }

    fn have_executed(&self, configuration: &Configuration, upto: Slot) -> bool {
        let has = |node: &NodeId| self.executed_upto(*node).is_some_and(|executed| executed >= upto);
        configuration.nodes().filter(has).count() >= configuration.quorum()
    }
}

impl Proposer {
    /// Whether this node has a vote where the log goes on, or will have one, and its state is not being repaired: else it
    /// does not campaign. Of any quorum some member may: it takes a quorum of others to find one's state wrong.
    pub(super) fn may_lead(&self) -> bool {
        let next = self.membership.at(self.chosen_upto.next());
        let votes = next.is_some_and(|next| next.contains(self.own)) || self.membership.latest().contains(self.own);
        votes && (self.fit || self.is_alone())
    }

    /// Whether this node's own vote is a quorum.
    pub(super) fn is_alone(&self) -> bool {
        let next = self.membership.at(self.chosen_upto.next());
        next.is_some_and(|next| next.members().len() == 1 && next.contains(self.own))
    }

    /// Since when a member must have answered to count as there.
    fn live_since_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.settings.election_ms * 2)
    }

    /// While leading: phase 1 in the configuration behind the last one that has promised our ballot, if the log says
    /// that there is one.
    pub(super) fn extend(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let Some(span) = self.membership.span_behind(leading.covered) else { return };
        // Which votes the acceptors of another configuration had in these slots does not matter.
        drop(leading.inherited.split_off(&span.first));
        leading.merged_upto = leading.merged_upto.min(span.first.previous());
        if leading.extension.as_ref().is_none_or(|extension| extension.first != span.first) {
            let again_ms = self.now_ms + self.settings.resend_ms;
            leading.extension = Some(Extension { first: span.first, promises: Promises::default(), again_ms });
            let prepare = Prepare { ballot: leading.ballot, from: span.first };
            fx.sync(Vec::new(), vec![Then::Prepare(span.configuration.nodes().collect(), prepare)]);
        }
    }

    /// A promise of the ballot that we lead with: for the configuration to come.
    pub(super) fn on_later_promise(&mut self, from: NodeId, promise: Promise, fx: &mut Effects) {
        let ignored = |why| Event::Ignored { from, what: "Promise", why };
        let Phase::Leading(leading) = &mut self.phase else { return fx.note(ignored("not preparing")) };
        let Some(extension) = leading.extension.as_mut().filter(|extension| extension.first == promise.from) else {
            return fx.note(ignored("not asked for any more"));
        };
        if promise.ballot != leading.ballot {
            return fx.note(ignored("of another ballot"));
        }
        let Some(configuration) = self.membership.at(extension.first) else { return };
        match extension.promises.count(from, promise, extension.first, configuration) {
            Counted::Not => {}
            Counted::Absurd => fx.note(ignored("absurd")),
            Counted::Quorum => self.cover(fx),
        }
    }

    /// A quorum of the configuration to come has promised: what it reports is proposed again, and the slots up to there
    /// are filled, so that it comes.
    fn cover(&mut self, fx: &mut Effects) {
        let Phase::Leading(leading) = &mut self.phase else { return };
        let Some(extension) = leading.extension.take() else { return };
        let (settled, supplier) = extension.promises.settled();
        if settled >= extension.first {
            // Another leader has been there: what it chose is learned, and that it leads, too.
            fx.send(self.own, LearnerMessage::Behind { chosen_upto: settled, supplier });
            return self.step_down("slots of the next configuration are chosen already", fx);
        }
        let (log, merged, _) = extension.promises.into_log(extension.first);
        leading.covered = extension.first;
        leading.fill_upto = extension.first.previous();
        if let Some((last, _)) = log.last() {
            leading.merged_upto = *last;
        }
        leading.inherited.extend(log);
        fx.note(Event::Extended { ballot: leading.ballot, first: extension.first, merged });
        self.extend(fx);
        self.open_inherited(fx);
    }

    /// A beat of the leader: what the members need.
    pub(super) fn tick_members(&mut self, beats: bool, fx: &mut Effects) {
        let since_ms = self.live_since_ms();
        let Phase::Leading(leading) = &mut self.phase else { return };
        if let Some(extension) = leading.extension.as_mut().filter(|extension| self.now_ms >= extension.again_ms)
            && let Some(configuration) = self.membership.at(extension.first)
        {
            extension.again_ms = self.now_ms + self.settings.resend_ms;
            let missing = configuration.nodes().filter(|node| !extension.promises.has(*node)).collect();
            let prepare = Prepare { ballot: leading.ballot, from: extension.first };
            fx.sync(Vec::new(), vec![Then::Prepare(missing, prepare)]);
        }
        if !beats {
            return;
        }
        // Whoever has left may stop once a quorum of a later configuration has executed every slot before its own: among
        // any quorum of it there is one that supplies what the others lack, and the log goes on without the old ones.
        for former in self.membership.former() {
            let first = self.membership.spans()[0].first.max(former.from);
            let successors = self.membership.span_at(first);
            if successors.is_some_and(|span| leading.members.have_executed(&span.configuration, span.first.previous()))
            {
                fx.send(former.member.id, ProposerMessage::Dismissed { from: former.from });
            }
        }
        let has_caught_up = |node: NodeId| {
            leading.members.is_live(node, since_ms)
                && leading
                    .members
                    .executed_upto(node)
                    .is_some_and(|upto| upto.plus(CAUGHT_UP_WITHIN) >= self.chosen_upto)
        };
        let ready = self.membership.newcomers().iter().map(|newcomer| newcomer.id).find(|node| has_caught_up(*node));
        if let Some(node) = ready
            && self.now_ms >= leading.members.promoted_ms + PROMOTE_AGAIN_MS
        {
            leading.members.promoted_ms = self.now_ms;
            self.enqueue(self.own, Command::Promote { node });
        }
        if let Some(from) = self.membership.left(self.own) {
            if self.chosen_upto.next() >= from {
                return self.step_down("this node has left the cluster", fx);
            }
            // If nobody can take over now, it is tried again with the next heartbeat.
            let _ = self.hand_over_to_any(fx);
        } else if !self.fit {
            self.hand_over_to_one(fx);
        }
    }

    /// Whether a change may go into the log. Who leaves must not lead, and who stays must be able to go on.
    pub(super) fn weigh_change(&mut self, command: &Command, fx: &mut Effects) -> Option<Refusal> {
        let Command::Change { change, force, .. } = command else { return None };
        if !is_name(change.name()) {
            return Some(Refusal::TooLarge { limit: super::membership::LONGEST_NAME as u64 });
        }
        // One change at a time: each is weighed with what the one before has left.
        if self.is_changing() {
            return Some(Refusal::Busy);
        }
        if matches!(change, Change::Add { .. }) {
            return None;
        }
        let since_ms = self.live_since_ms();
        let Phase::Leading(leading) = &self.phase else { return None };
        let after = self.membership.voters_after(change)?;
        let (reachable, quorum) = (leading.members.live(&after, since_ms), after.quorum());
        if reachable < quorum && !force {
            // A leader that has just begun has heard nobody yet.
            let early = leading.members.live(self.membership.latest(), 0) <= reachable && self.leads_since(since_ms);
            return Some(if early {
                Refusal::Busy
            } else {
                Refusal::NoLiveQuorum { reachable: reachable as u32, quorum: quorum as u32 }
            });
        }
        // Who has just crashed still counts as there: so the change waits, if need be, until they are heard again.
        let lately_ms = self.now_ms.saturating_sub(self.settings.heartbeat_ms * HEARD_WITHIN);
        if leading.members.live(&after, lately_ms) < quorum && !force {
            return Some(Refusal::Busy);
        }
        let is_own = self.membership.named(change.name()).is_some_and(|member| member.id == self.own);
        (is_own && self.hand_over_to_any(fx).is_ok()).then_some(Refusal::NoLeader)
    }

    /// A person wants another leader.
    pub(super) fn on_transfer(&mut self, from: NodeId, to: NodeId, fx: &mut Effects) {
        match &self.phase {
            Phase::Leading(_) => {
                if let Err(why) = self.hand_over(to, fx) {
                    fx.note(Event::Ignored { from, what: "Transfer", why: why.reason() });
                }
            }
            Phase::Following { leader: Some(ballot), .. } if from == self.own && ballot.node != self.own => {
                fx.send(ballot.node, ProposerMessage::Transfer { to });
            }
            _ => fx.note(Event::Ignored { from, what: "Transfer", why: "no leader is known here" }),
        }
    }

    /// Has this member prepare at once. This node leads on until that succeeds, so nothing is lost if it does not.
    ///
    /// # Errors
    /// Why that member does not take over.
    pub fn hand_over(&mut self, to: NodeId, fx: &mut Effects) -> Result<(), NotHandedOver> {
        let since_ms = self.live_since_ms();
        let Phase::Leading(leading) = &self.phase else { return Err(NotHandedOver::NotLeading) };
        if to == self.own {
            return Ok(());
        }
        if !self.membership.latest().contains(to) {
            return Err(NotHandedOver::NoVoter);
        }
        let executed_upto = leading.members.executed_upto(to).filter(|_| leading.members.is_live(to, since_ms));
        let Some(executed_upto) = executed_upto else { return Err(NotHandedOver::Away) };
        if executed_upto.plus(CAUGHT_UP_WITHIN) < self.chosen_upto {
            return Err(NotHandedOver::Behind { slots: self.chosen_upto.0 - executed_upto.0 });
        }
        fx.send(to, ProposerMessage::TakeOver { ballot: leading.ballot });
        Ok(())
    }

    /// The same with whoever is there and furthest.
    ///
    /// # Errors
    /// Why nobody takes over: if somebody is there who lags too far, that.
    pub fn hand_over_to_any(&mut self, fx: &mut Effects) -> Result<(), NotHandedOver> {
        let Phase::Leading(leading) = &self.phase else { return Err(NotHandedOver::NotLeading) };
        let (own, members) = (self.own, &leading.members);
        let mut others: Vec<NodeId> = self.membership.latest().nodes().filter(|node| *node != own).collect();
        others.sort_by_key(|node| std::cmp::Reverse(members.executed_upto(*node)));
        let mut why = NotHandedOver::Away;
        for node in others {
            match self.hand_over(node, fx) {
                Err(NotHandedOver::Behind { slots }) => why = NotHandedOver::Behind { slots },
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
        Err(why)
    }

    /// To one that is there, by chance: the state of whoever is furthest may be being repaired, too, and nothing says so here.
    fn hand_over_to_one(&mut self, fx: &mut Effects) {
        let mut others: Vec<NodeId> = self.membership.latest().nodes().filter(|node| *node != self.own).collect();
        let begin = self.dice.below(others.len().max(1) as u64) as usize;
        others.rotate_left(begin);
        let _ = others.into_iter().find(|node| self.hand_over(*node, fx).is_ok());
    }

    /// The leader wants this node to lead: no need to ask around whether anybody hears it.
    pub(super) fn on_take_over(&mut self, from: NodeId, ballot: Ballot, fx: &mut Effects) {
        let hears = matches!(&self.phase, Phase::Following { leader: Some(leader), .. } if *leader == ballot);
        if !hears || ballot.node != from || !self.admitted || !self.may_lead() {
            return fx.note(Event::Ignored {
                from,
                what: "TakeOver",
                why: "not from the leader, or this node may not lead",
            });
        }
        self.prepare(fx);
    }

    /// Nobody needs this node any more, if the log says here, too, that it has left.
    pub(super) fn on_dismissed(&mut self, slot: Slot, fx: &mut Effects) {
        if let Some(from) = self.membership.left(self.own).filter(|from| *from <= slot) {
            fx.note(Event::Dismissed { from });
        }
    }
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHandedOver {
    /// This node does not lead.
    NotLeading,
    /// The other has no vote.
    NoVoter,
    /// It does not answer.
    Away,
    /// It lags too far: until it has caught up, nobody could write.
    Behind {
        /// By so many slots.
        slots: u64,
    },
}

impl NotHandedOver {
    fn reason(self) -> &'static str {
        match self {
            NotHandedOver::NotLeading => "this node does not lead",
            NotHandedOver::NoVoter => "the member has no vote",
            NotHandedOver::Away => "the member does not answer",
            NotHandedOver::Behind { .. } => "the member lags too far",
        }
    }
}

impl std::fmt::Display for NotHandedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotHandedOver::Behind { slots } => {
                write!(
                    f,
                    "the member lags by {slots} slots, and nobody could write until it has caught up: wait for it"
                )
            }
            other => f.write_str(other.reason()),
        }
    }
}

impl Leading {
    /// What the members told.
    pub fn members(&self) -> &Members {
        &self.members
    }
}

/// Who has executed all but so many slots is there in a moment.
const CAUGHT_UP_WITHIN: u64 = 256;
/// Within so many heartbeats those have answered that are to go on after a change.
const HEARD_WITHIN: u64 = 2;
/// How long after one promotion the next is proposed, in milliseconds.
const PROMOTE_AGAIN_MS: u64 = 1000;
