//! What the executor's actor does besides its role: snapshots, which the keeper checks and saves.

use actix::prelude::*;

use super::keeper::Keep;
use super::outlet::SnapshotWork;
use super::role::RoleActor;
use crate::paxos::{Executor, Slot, StateMachine};

/// Executors as actors.
pub type ExecutorActor<M> = RoleActor<Executor<M>>;

impl<M: StateMachine + Unpin> Handler<SnapshotWork> for ExecutorActor<M> {
    type Result = ();

    fn handle(&mut self, work: SnapshotWork, ctx: &mut Self::Context) {
        let keeper = self.outlet().keeper.clone();
        match work {
            SnapshotWork::Take => keeper.send(Keep::Own(Box::new(self.role().snapshot()))),
            SnapshotWork::Check { upto, bytes } => keeper.send(Keep::Check { upto, bytes }),
            // The state first: a snapshot that the machine refuses must not take the place of anything on the disk.
            SnapshotWork::Install { snapshot, bytes } => {
                let upto = snapshot.upto;
                let mut installed = Ok(());
                self.step(ctx, |executor, fx| installed = executor.install(*snapshot, fx));
                match installed {
                    Ok(()) => keeper.send(Keep::Installed { upto, bytes }),
                    Err(error) => log::error!("a snapshot from a peer was refused: {error}"),
                }
            }
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
            digest: executor.machine().digest(),
        }
    }
}
