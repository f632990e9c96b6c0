//! What the executor's actor does besides its role: snapshots, which the keeper checks and saves.

use actix::prelude::*;

use super::role::RoleActor;
use crate::paxos::dispatch::SnapshotWork;
use crate::paxos::{Executor, Slot, Snapshot, StateMachine};
use crate::storage::Keep;

/// Executors as actors.
pub type ExecutorActor<M> = RoleActor<Executor<M>>;

/// Snapshot work of a lot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Snapshots(pub Vec<SnapshotWork>);

/// A peer's snapshot is whole: put it in place of the state.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Install {
    /// Decoded.
    pub snapshot: Box<Snapshot>,
    /// Encoded.
    pub bytes: Vec<u8>,
}

impl<M: StateMachine + Unpin> Handler<Snapshots> for ExecutorActor<M> {
    type Result = ();

    fn handle(&mut self, Snapshots(work): Snapshots, _: &mut Self::Context) {
        for work in work {
            let keep = match work {
                SnapshotWork::Take => Keep::Own(Box::new(self.role().snapshot())),
                SnapshotWork::Check { upto, bytes } => Keep::Check { upto, bytes },
            };
            self.outlet().keeper.send(keep);
        }
    }
}

impl<M: StateMachine + Unpin> Handler<Install> for ExecutorActor<M> {
    type Result = ();

    /// The state first: a snapshot that the machine refuses must not take the place of anything on the disk.
    fn handle(&mut self, Install { snapshot, bytes }: Install, ctx: &mut Self::Context) {
        let upto = snapshot.upto;
        let mut installed = Ok(());
        self.step(ctx, |executor, fx| installed = executor.install(*snapshot, fx));
        match installed {
            Ok(()) => self.outlet().keeper.send(Keep::Installed { upto, bytes }),
            Err(error) => log::error!("a snapshot from a peer was refused: {error}"),
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
