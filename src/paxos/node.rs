//! The four roles of one node, side by side: how they recover, and what must hold between them.
//!
//! The actors take a [`Replica`] apart and give each role its own mailbox; tests and the simulator drive it whole or
//! role by role. Nothing here lets one role touch another: they talk in messages.

use super::acceptor::Acceptor;
use super::ballot::NodeId;
use super::company::Company;
use super::effect::Effects;
use super::executor::Executor;
use super::image::State;
use super::learner::Learner;
use super::membership::Membership;
use super::message::Message;
use super::proposer::Proposer;
use super::record::{BatchNumber, Record};
use super::repair::Damage;
use super::settings::Settings;
use super::slot::Slot;
use super::state_machine::StateMachine;

/// The roles of one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica<M> {
    /// Proposes.
    pub proposer: Proposer,
    /// Votes.
    pub acceptor: Acceptor,
    /// Learns.
    pub learner: Learner,
    /// Executes.
    pub executor: Executor<M>,
}

/// What a node's journal and snapshots held when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered<R, M> {
    /// The state of the newest whole snapshot.
    pub snapshot: Option<State<M>>,
    /// Every record of the journal, in order.
    pub records: R,
    /// The journal no longer has slots up to here.
    pub trimmed_upto: Slot,
    /// The last batch of the journal.
    pub last_batch: BatchNumber,
    /// What the journal lost, and its peers may still have.
    pub damage: Damage,
    /// What the folder says of other members, apart from the journal.
    pub company: Company,
}

impl<M: StateMachine> Replica<M> {
    /// Folds what a node's disk held into its roles; the executor then executes forward from the snapshot, or from
    /// `machine`, which is in its initial state. `founders` is who the members were before the first slot; a snapshot says
    /// what became of them. `seed` must be new at every start. The effects are those of an ordinary step: local messages,
    /// and nothing for peers.
    pub fn recover<R: IntoIterator<Item = Record>>(
        own: NodeId,
        founders: Membership,
        settings: &Settings,
        machine: M,
        seed: u64,
        recovered: Recovered<R, M>,
        fx: &mut Effects,
    ) -> Replica<M> {
        let Recovered { snapshot, records, trimmed_upto, last_batch, damage, company } = recovered;
        let snapshot_upto = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        let mut executor = Executor::new(own, founders, settings.clone(), machine, seed);
        if let Some(state) = snapshot {
            executor.restore(state);
        }
        let membership = executor.membership().clone();
        let mut acceptor = Acceptor::new(own, membership.clone(), snapshot_upto, last_batch);
        let mut learner = Learner::new(own, membership.clone(), settings, snapshot_upto);
        let mut proposer = Proposer::new(own, membership.clone(), settings.clone(), seed, snapshot_upto);
        // A snapshot from a peer jumps over slots of which the journal may hold votes for values that were never chosen.
        // So slots below the snapshot are supplied only if the records alone prove them, without a gap.
        let mut proof = Learner::new(own, membership, settings, trimmed_upto);
        let lost = damage.votes.last().map_or(Slot::ZERO, |(slot, _)| *slot).max(damage.unknown_upto);
        let mut reaches = snapshot_upto.max(trimmed_upto).max(lost);
        for record in records {
            reaches = reaches.max(record.slot().unwrap_or_default());
            acceptor.apply_record(&record);
            proposer.apply_record(&record);
            learner.apply_record(&record);
            proof.apply_record(&record);
            proof.forget_ready();
        }
        proposer.hint(acceptor.promised());
        let is_proved = proof.chosen_upto() >= snapshot_upto;
        // Without a snapshot that covers what is trimmed, nothing of it can be supplied: the state comes from a peer first.
        learner.resume(if is_proved { trimmed_upto.min(snapshot_upto) } else { snapshot_upto }, fx);
        acceptor.on_damage(damage, fx);
        acceptor.on_company(company, learner.chosen_upto(), reaches, fx);
        Replica { proposer, acceptor, learner, executor }
    }

    /// Hands a message to the role that it is for.
    pub fn on_message(&mut self, from: NodeId, message: Message, fx: &mut Effects) {
        match message {
            Message::Proposer(message) => self.proposer.on_message(from, message, fx),
            Message::Acceptor(message) => self.acceptor.on_message(from, message, fx),
            Message::Learner(message) => self.learner.on_message(from, message, fx),
            Message::Executor(message) => self.executor.on_message(from, message, fx),
        }
    }

    /// Time passes for every role.
    pub fn on_tick(&mut self, now_ms: u64, wall_ms: u64, fx: &mut Effects) {
        self.proposer.on_tick(now_ms, wall_ms, fx);
        self.acceptor.on_tick(now_ms, fx);
        self.learner.on_tick(now_ms, fx);
        self.executor.on_tick(now_ms, fx);
    }

    /// The end of a lot for every role that gathers.
    pub fn on_lot_end(&mut self, fx: &mut Effects) {
        self.proposer.on_lot_end(fx);
        self.executor.on_lot_end(fx);
    }

    /// Checks what must hold between the roles of a node at every moment, whatever is in their mailboxes. `saved` is
    /// what the newest snapshot on its disk covers: the learner may hear of the trim that it allows before the executor
    /// hears that it is saved.
    ///
    /// # Errors
    /// A sentence that names the broken invariant and the values.
    pub fn check(&self, saved: Slot) -> Result<(), String> {
        let trimmed = self.learner.trimmed_upto();
        let snapshot = self.executor.snapshot_upto();
        let executed = self.executor.executed_upto();
        let chosen = self.learner.chosen_upto();
        let settled = self.acceptor.settled_upto();
        let broken = |what: &str| {
            Err(format!(
                "{what} does not hold: trimmed {trimmed}, saved {saved}, snapshot {snapshot}, executed {executed}, \
                 chosen {chosen}, settled {settled}"
            ))
        };
        if trimmed > saved {
            return broken("trimmed_upto <= the newest snapshot saved");
        }
        // What is executed again was executed once.
        if snapshot > self.executor.delivered_upto() {
            return broken("snapshot_upto <= executed_upto");
        }
        // While a snapshot is installed the executor is ahead of its learner's mailbox.
        if executed > chosen.max(snapshot) {
            return broken("executed_upto <= chosen_upto");
        }
        if settled > chosen {
            return broken("settled_upto <= chosen_upto");
        }
        let promised = self.acceptor.promised();
        for (slot, (ballot, _)) in self.acceptor.votes() {
            if *ballot > promised {
                return broken(&format!("the vote of ballot {ballot} in slot {slot} <= promise {promised}"));
            }
            if *slot <= settled {
                return broken(&format!("the vote in slot {slot} > settled_upto"));
            }
        }
        Ok(())
    }
}
