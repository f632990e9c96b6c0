//! The shell around a role: a mailbox, lots, and the way out.
//!
//! A role's struct decides; its actor only hands it messages and performs the effects. Messages are gathered into lots:
//! the first message after a quiet moment makes the actor post itself an `EndOfLot`, which arrives behind everything
//! that is already in the mailbox; then the effects of the whole lot are performed at once, so that records and frames
//! combine. An idle system waits for nothing.
//!
//! A role never dies alone: a panic in its handlers is caught and stops the whole node with a named error. Handlers
//! never await, so a role is as serial as its mailbox ("a global lock on the log": the actor is the lock).

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::prelude::*;

use super::guard::Guard;
use super::keeper::KeeperHandle;
use super::outlet::Outlet;
use crate::panics;
use crate::paxos::{
    Acceptor, AcceptorMessage, Effects, Executor, ExecutorMessage, Learner, LearnerMessage, NodeId, Proposer,
    ProposerMessage, StateMachine,
};
use crate::storage::Keep;

/// What the shell needs of a role.
pub trait Role: Unpin + 'static {
    /// The role's inbound messages.
    type Inbound: Send + 'static;
    /// For people.
    const NAME: &'static str;
    /// Handles one message.
    fn receive(&mut self, from: NodeId, message: Self::Inbound, fx: &mut Effects);
    /// Time passes.
    fn tick(&mut self, _tick: Tick, _fx: &mut Effects) {}
    /// The end of a lot.
    fn end_lot(&mut self, _fx: &mut Effects) {}
    /// What a step left for the keeper.
    fn leave(&mut self, _keeper: &KeeperHandle) {}
}

/// Messages for one role, in order, each with its sender.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Lot<T>(pub Vec<(NodeId, T)>);

/// Time passes: the node's clock and the wall clock, in milliseconds.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Tick {
    /// Since the node started; never goes back.
    pub now_ms: u64,
    /// Since 1970.
    pub wall_ms: u64,
}

/// A look at a role, between two lots.
pub struct Look<R, T>(Box<dyn FnOnce(&R) -> T + Send>);

impl<R, T> Look<R, T> {
    /// Has `see` look at the role.
    pub fn new(see: impl FnOnce(&R) -> T + Send + 'static) -> Look<R, T> {
        Look(Box::new(see))
    }
}

impl<R: 'static, T: Send + 'static> Message for Look<R, T> {
    type Result = Option<T>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct EndOfLot;

/// The actor of one role.
pub struct RoleActor<R: Role> {
    role: R,
    outlet: Outlet,
    effects: Effects,
    lot_is_open: bool,
    _guard: Guard,
}

impl<R: Role> RoleActor<R> {
    /// An actor for this role, which performs its effects through `outlet`.
    pub fn new(role: R, outlet: Outlet) -> RoleActor<R> {
        let guard = Guard::new(R::NAME, &outlet.fatal);
        RoleActor { role, outlet, effects: Effects::new(), lot_is_open: false, _guard: guard }
    }

    /// Runs one step of the role, and opens a lot if none is open.
    pub(super) fn step(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut R, &mut Effects)) {
        self.guarded(step);
        if !self.lot_is_open {
            self.lot_is_open = true;
            ctx.address().do_send(EndOfLot);
        }
    }

    fn guarded(&mut self, step: impl FnOnce(&mut R, &mut Effects)) {
        if self.outlet.has_failed() {
            return; // the node is stopping: nothing may follow a broken step
        }
        let RoleActor { role, effects, .. } = self;
        let keeper = &self.outlet.keeper;
        let step = || {
            step(role, effects);
            role.leave(keeper);
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(step)) {
            self.outlet.fail(format!("{} broke an invariant: {}", R::NAME, panics::said(&*panic)));
        }
    }

    pub(super) fn role(&self) -> &R {
        &self.role
    }

    pub(super) fn outlet(&self) -> &Outlet {
        &self.outlet
    }
}

impl<R: Role> Actor for RoleActor<R> {
    type Context = Context<Self>;
}

impl<R: Role> Handler<Lot<R::Inbound>> for RoleActor<R> {
    type Result = ();

    fn handle(&mut self, Lot(messages): Lot<R::Inbound>, ctx: &mut Self::Context) {
        self.step(ctx, |role, fx| {
            for (from, message) in messages {
                role.receive(from, message, fx);
            }
        });
    }
}

impl<R: Role> Handler<Tick> for RoleActor<R> {
    type Result = ();

    fn handle(&mut self, tick: Tick, ctx: &mut Self::Context) {
        self.step(ctx, |role, fx| role.tick(tick, fx));
    }
}

impl<R: Role> Handler<EndOfLot> for RoleActor<R> {
    type Result = ();

    fn handle(&mut self, _: EndOfLot, _: &mut Self::Context) {
        self.lot_is_open = false;
        self.guarded(|role, fx| role.end_lot(fx));
        if !self.outlet.has_failed() {
            self.outlet.perform(&mut self.effects);
        }
    }
}

impl<R: Role, T: Send + 'static> Handler<Look<R, T>> for RoleActor<R> {
    type Result = MessageResult<Look<R, T>>;

    fn handle(&mut self, Look(see): Look<R, T>, _: &mut Self::Context) -> Self::Result {
        MessageResult(catch_unwind(AssertUnwindSafe(|| see(&self.role))).ok())
    }
}

impl Role for Proposer {
    type Inbound = ProposerMessage;
    const NAME: &'static str = "the proposer";

    fn receive(&mut self, from: NodeId, message: ProposerMessage, fx: &mut Effects) {
        self.on_message(from, message, fx);
    }

    fn tick(&mut self, tick: Tick, fx: &mut Effects) {
        self.on_tick(tick.now_ms, tick.wall_ms, fx);
    }

    fn end_lot(&mut self, fx: &mut Effects) {
        self.on_lot_end(fx);
    }
}

impl Role for Acceptor {
    type Inbound = AcceptorMessage;
    const NAME: &'static str = "the acceptor";

    fn receive(&mut self, from: NodeId, message: AcceptorMessage, fx: &mut Effects) {
        self.on_message(from, message, fx);
    }

    fn tick(&mut self, tick: Tick, fx: &mut Effects) {
        self.on_tick(tick.now_ms, fx);
    }
}

impl Role for Learner {
    type Inbound = LearnerMessage;
    const NAME: &'static str = "the learner";

    fn receive(&mut self, from: NodeId, message: LearnerMessage, fx: &mut Effects) {
        self.on_message(from, message, fx);
    }

    fn tick(&mut self, tick: Tick, fx: &mut Effects) {
        self.on_tick(tick.now_ms, fx);
    }
}

impl<M: StateMachine + Unpin> Role for Executor<M> {
    type Inbound = ExecutorMessage;
    const NAME: &'static str = "the executor";

    fn receive(&mut self, from: NodeId, message: ExecutorMessage, fx: &mut Effects) {
        self.on_message(from, message, fx);
    }

    fn tick(&mut self, tick: Tick, fx: &mut Effects) {
        self.on_tick(tick.now_ms, fx);
    }

    fn end_lot(&mut self, fx: &mut Effects) {
        self.on_lot_end(fx);
    }

    fn leave(&mut self, keeper: &KeeperHandle) {
        for image in self.take_images() {
            keeper.send(Keep::Own(Box::new(image)));
        }
    }
}
