//! Starts a founded node's roles, with their router, disk and keeper; and ends what must not outlive the node.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle as Thread;
use std::time::Duration;

use actix::prelude::*;

use super::disk::{self, DiskCommand, DiskHandle};
use super::events::{Events, wall_ms};
use super::guard::Guard;
use super::host::{Members, Setup};
use super::keeper::{KeeperHandle, KeeperThread, Reports};
use super::outlet::{Mailboxes, Outlet};
use super::role::{RoleActor, Tick};
use super::router::Router;
use super::stage::Serving;
use crate::net::identity::Founded;
use crate::paxos::{Effects, Membership, Replica, StateMachine};
use crate::storage::{FileDisk, Held, Snapshots};

/// What the roles start from, held until the founding: the disk, read, and the machine, empty.
pub type Origin<M> = (Held<FileDisk, M>, M);

/// What starting the roles gives.
pub struct Started {
    /// The parts, for those who look at them or talk to them.
    pub serving: Serving,
    /// Who the members are, as far as the newest snapshot and what is written down beside it say.
    pub membership: Membership,
    /// The way to and from other nodes.
    pub router: Addr<Router>,
    /// What must be ended before the folder is given up.
    pub threads: Threads,
}

/// The threads that may still write to the folder, to be waited for before its lock is given up.
#[derive(Default)]
pub struct Threads {
    disk: Option<DiskHandle>,
    keeper: Option<KeeperHandle>,
    joins: Vec<Thread<()>>,
}

impl Threads {
    /// Ends them, after making everything durable or as a crash would, and waits until they have.
    pub fn end(self, gracefully: bool) {
        if let Some(keeper) = &self.keeper {
            keeper.stop();
        }
        if let Some(disk) = &self.disk {
            disk.send(vec![if gracefully { DiskCommand::Stop } else { DiskCommand::Halt }]);
        }
        // What went wrong there, if anything, has been told.
        self.joins.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// Starts the four roles, the router and the disk of a founded node.
pub fn start<M: StateMachine + Unpin>(
    setup: &Setup,
    founded: &Founded,
    durable: Arc<AtomicU64>,
    host: Recipient<Members>,
    (mut held, machine): Origin<M>,
) -> Result<Started, String> {
    let own = founded.node;
    held.found(&setup.about.cluster, own, &founded.founders).map_err(|error| error.to_string())?;
    let (recovered, journal) = held.into_parts();
    let company = recovered.company.clone();
    let pattern = machine.empty();
    let mut effects = Effects::new();
    let replica = Replica::recover(
        own,
        Membership::founded(founded.founders.clone()),
        &setup.settings,
        machine,
        rand::random(),
        recovered,
        &mut effects,
    );
    replica
        .check(replica.executor.snapshot_upto())
        .map_err(|broken| format!("the journal contradicts itself: {broken}"))?;
    for (node, batch) in replica.acceptor.admission().witnessed() {
        setup.registry.hearsay().remember(*node, *batch);
    }

    let name = &setup.about.name;
    let guard = Guard::new("the router", &setup.fatal);
    let mailboxes = Rc::new(OnceCell::new());
    let membership = company.newest(replica.executor.membership()).clone();
    let events = Events::new(name, &membership);
    let executed = replica.executor.membership();
    let decides = executed.current().members().len() == 1 && executed.current().contains(own);
    if decides && !company.is_alone(own, executed) {
        events.expect_company(&company.others(own, executed));
    }
    if replica.acceptor.admission().amnesiac() {
        events.remember_loss();
    }
    let router = Router::new(own, mailboxes.clone(), setup.registry.clone(), guard.clone());
    let round_trips = router.round_trips();
    let router = router.start();
    let (keeping, keeper) = KeeperThread::new(own, setup.store.clone(), pattern);
    let (disk, disk_thread) = disk::start(
        name,
        own,
        journal,
        Snapshots::new(setup.store.clone()),
        durable,
        router.clone().recipient(),
        keeper.clone(),
        host.clone(),
        setup.fatal.clone(),
    )
    .map_err(no_thread)?;
    let outlet = Outlet {
        own,
        mailboxes: mailboxes.clone(),
        router: router.clone(),
        disk: disk.clone(),
        keeper: keeper.clone(),
        doors: setup.doors.clone(),
        events: events.clone(),
        host,
        fatal: setup.fatal.clone(),
        failed: Arc::new(AtomicBool::new(false)),
    };
    let is_damaged = replica.acceptor.repair().is_under_way();
    let proposer = RoleActor::new(replica.proposer, outlet.clone()).start();
    let acceptor = RoleActor::new(replica.acceptor, outlet.clone()).start();
    let learner = RoleActor::new(replica.learner, outlet.clone()).start();
    let executor = RoleActor::new(replica.executor, outlet.clone()).start();
    let boxes = Mailboxes {
        proposer: proposer.clone().recipient(),
        acceptor: acceptor.clone().recipient(),
        learner: learner.clone().recipient(),
        executor: executor.clone().recipient(),
    };
    assert!(mailboxes.set(boxes.clone()).is_ok(), "the cell was made above");
    let reports = Reports {
        said: router.clone().recipient(),
        install: executor.clone().recipient(),
        disk: disk.clone(),
        fatal: setup.fatal.clone(),
    };
    let keeper_thread = keeping.start(name, reports).map_err(no_thread)?;
    outlet.perform(&mut effects);
    let mut ticks = vec![
        router.clone().recipient(),
        proposer.clone().recipient(),
        learner.clone().recipient(),
        executor.clone().recipient(),
    ];
    // Time means something to an acceptor only while its journal is damaged.
    ticks.extend(is_damaged.then(|| acceptor.clone().recipient()));
    let serving = Serving {
        own,
        cluster_id: founded.cluster_id.to_string(),
        mailboxes: boxes,
        proposer,
        acceptor,
        learner,
        executor: executor.recipient(),
        disk,
        round_trips,
        events,
    };
    guard.spawn("the ticker", tick(ticks));
    let threads =
        Threads { disk: Some(serving.disk.clone()), keeper: Some(keeper), joins: vec![disk_thread, keeper_thread] };
    Ok(Started { serving, membership, router, threads })
}

fn no_thread(error: std::io::Error) -> String {
    format!("cannot start a thread: {error}")
}

/// Posts the time to the roles as an ordinary message: actix's own timers starve behind a busy mailbox.
async fn tick(roles: Vec<Recipient<Tick>>) {
    let start = tokio::time::Instant::now();
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        interval.tick().await;
        let now_ms = start.elapsed().as_millis() as u64;
        for role in &roles {
            role.do_send(Tick { now_ms, wall_ms: wall_ms() });
        }
    }
}

/// How often time passes for the roles.
const TICK: Duration = Duration::from_millis(10);
