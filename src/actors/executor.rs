//! What the executor's actor does besides its role: snapshots, saved and installed on threads of their own.

use actix::prelude::*;

use super::disk::DiskCommand;
use super::outlet::SnapshotWork;
use super::role::{Lot, RoleActor};
use crate::codec;
use crate::paxos::settings::MAX_SNAPSHOT_BYTES;
use crate::paxos::{Executor, ExecutorMessage, Slot, Snapshot, StateMachine};
use crate::storage::Snapshots;

/// Executors as actors.
pub type ExecutorActor<M> = RoleActor<Executor<M>>;

impl<M: StateMachine + Unpin> Handler<SnapshotWork> for ExecutorActor<M> {
    type Result = ();

    fn handle(&mut self, work: SnapshotWork, ctx: &mut Self::Context) {
        let outlet = self.outlet();
        let fatal = outlet.fatal.clone();
        // Nobody listens only when the node is stopping anyway.
        let fail = move |error: String| drop(fatal.send(error));
        let disk = outlet.disk.clone();
        let snapshots = Snapshots::new(outlet.store.clone());
        let (own, here) = (outlet.own, ctx.address());
        match work {
            SnapshotWork::Take => {
                let snapshot = self.role().snapshot();
                std::thread::spawn(move || {
                    let upto = snapshot.upto;
                    match snapshots.save(upto, &codec::encode(&snapshot)) {
                        Ok(()) => {
                            let saved = ExecutorMessage::SnapshotSaved { upto };
                            here.do_send(Lot(vec![(own, saved)]));
                            // Behind it, so that the learner never trims what its executor does not know to be saved.
                            disk.send(vec![DiskCommand::Trim { upto: snapshots.safe_upto().unwrap_or(Slot::ZERO) }]);
                        }
                        Err(error) => fail(error.to_string()),
                    }
                });
            }
            SnapshotWork::Check { upto, bytes } => {
                std::thread::spawn(move || match codec::decode::<Snapshot>(&bytes, MAX_SNAPSHOT_BYTES as usize) {
                    Ok(snapshot) if snapshot.upto == upto => match snapshots.save(upto, &bytes) {
                        Ok(()) => here.do_send(SnapshotWork::Install(Box::new(snapshot))),
                        Err(error) => fail(error.to_string()),
                    },
                    _ => log::warn!("a snapshot from a peer is malformed and was dropped"),
                });
            }
            SnapshotWork::Install(snapshot) => {
                let upto = snapshot.upto;
                self.step(ctx, |executor, fx| {
                    if let Err(error) = executor.install(*snapshot, fx) {
                        log::warn!("a snapshot from a peer was refused: {error}");
                    }
                });
                disk.send(vec![DiskCommand::Trim { upto }]);
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
