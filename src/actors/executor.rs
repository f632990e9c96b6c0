//! What the executor's actor does besides its role: it puts in place what the keeper restored.

use actix::prelude::*;

use super::role::RoleActor;
use crate::paxos::{Executor, Slot, State, StateMachine};
use crate::storage::Keep;

/// Executors as actors.
pub type ExecutorActor<M> = RoleActor<Executor<M>>;

/// What a peer's snapshot holds: put it in place of the state.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Install<M: StateMachine>(pub Box<State<M>>);

impl<M: StateMachine + Unpin> Handler<Install<M>> for ExecutorActor<M> {
    type Result = ();

    /// Takes no longer than an exchange: what was there before is let go of by the keeper.
    fn handle(&mut self, Install(state): Install<M>, ctx: &mut Self::Context) {
        let upto = state.upto;
        let mut replaced = None;
        self.step(ctx, |executor, fx| replaced = Some(executor.install(*state, fx)));
        if let Some(replaced) = replaced {
            self.outlet().keeper.send(Keep::Installed { upto, replaced: Box::new(replaced) });
        }
    }
}

/// Asks the executor how it stands.
#[derive(Message)]
#[rtype(result = "ExecutorStatus")]
pub struct AskExecutor;

/// How an executor stands.
#[derive(Clone, Debug, Default, MessageResponse)]
pub struct ExecutorStatus {
    /// Everything up to here is executed.
    pub executed_upto: Slot,
    /// The own durable snapshot covers everything up to here.
    pub snapshot_upto: Slot,
    /// Open sessions.
    pub sessions: u64,
    /// What it holds besides the machine.
    pub held_bytes: usize,
    /// The machine's digest.
    pub digest: [u8; 32],
}

impl<M: StateMachine + Unpin> Handler<AskExecutor> for ExecutorActor<M> {
    type Result = ExecutorStatus;

    fn handle(&mut self, _: AskExecutor, _: &mut Self::Context) -> ExecutorStatus {
        let executor = self.role();
        ExecutorStatus {
            executed_upto: executor.executed_upto(),
            snapshot_upto: executor.snapshot_upto(),
            sessions: executor.sessions().len() as u64,
            held_bytes: executor.held_bytes(),
            digest: executor.machine().digest(),
        }
    }
}
