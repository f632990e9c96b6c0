//! What a role asks for, down to the bytes on the disk (DESIGN section 4, rule 4).

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::actors::disk;
use crate::actors::guard::Guard;
use crate::actors::keeper::KeeperThread;
use crate::actors::registry::{Beginning, Registry};
use crate::machine::Kv;
use crate::net::cookie::Cookie;
use crate::net::identity::NodeHello;
use crate::paxos::{
    Acceptor, Ballot, BatchNumber, Bytes, Command, Configuration, Effect, Incarnation, Membership, Message, Record,
    Sequence, SessionId, Slot, Stamp, Then, Value,
};
use crate::storage::{Disk, FileDisk, Journal, MemoryDisk, Settings, Snapshots};

/// Hears what the disk releases; has no ear for anything else.
struct Ear(UnboundedSender<Vec<(NodeId, Message)>>);

impl Actor for Ear {
    type Context = Context<Ear>;
}

impl Handler<Outgoing> for Ear {
    type Result = ();

    fn handle(&mut self, Outgoing(messages): Outgoing, _: &mut Context<Ear>) {
        self.0.send(messages).expect("the test listens");
    }
}

impl<T: 'static> Handler<Lot<T>> for Ear {
    type Result = ();

    fn handle(&mut self, _: Lot<T>, _: &mut Context<Ear>) {}
}

/// An outlet with a real disk thread behind it.
struct Way {
    outlet: Outlet,
    released: UnboundedReceiver<Vec<(NodeId, Message)>>,
    fatal: UnboundedReceiver<String>,
    thread: std::thread::JoinHandle<()>,
}

fn n(number: u32) -> NodeId {
    NodeId(number)
}

impl Way {
    fn to(store: &MemoryDisk, journal: Journal<MemoryDisk>) -> Way {
        let (sender, released) = unbounded_channel();
        let (fatal_sender, fatal) = unbounded_channel();
        let ear = Ear(sender).start();
        let mailboxes = Mailboxes {
            proposer: ear.clone().recipient(),
            acceptor: ear.clone().recipient(),
            learner: ear.clone().recipient(),
            executor: ear.clone().recipient(),
        };
        let mailboxes = Rc::new(std::cell::OnceCell::from(mailboxes));
        let hello = NodeHello {
            boot: 1,
            name: "n1".into(),
            incarnation: Incarnation(1),
            address: "127.0.0.1:1".into(),
            founding: vec![],
            identity: None,
        };
        let registry = Registry::new(Cookie::new("secret").expect("some text"), "synod", hello, Beginning::Broken);
        let (durable, released_to) = (Arc::default(), ear.recipient());
        let snapshots = Snapshots::new(store.clone());
        let keeper = KeeperThread::new(n(1), FileDisk::new("never used"), Kv::default()).1;
        let host = NoHost.start().recipient();
        let (disk, thread) = disk::start(
            "n1",
            n(1),
            journal,
            snapshots,
            durable,
            released_to,
            keeper.clone(),
            host.clone(),
            fatal_sender.clone(),
        )
        .expect("a thread");
        let outlet = Outlet {
            own: n(1),
            mailboxes: mailboxes.clone(),
            router: Router::new(n(1), mailboxes, Arc::new(registry), Guard::new("a test", &fatal_sender)).start(),
            disk,
            keeper,
            doors: Doors::default(),
            events: Events::new("n1", &Membership::founded(Configuration::numbered(3))),
            host,
            fatal: fatal_sender,
            failed: Arc::default(),
        };
        Way { outlet, released, fatal, thread }
    }

    /// The next messages that the disk releases.
    async fn released(&mut self) -> Vec<(NodeId, Message)> {
        let released = tokio::time::timeout(Duration::from_secs(20), self.released.recv()).await;
        released.expect("in time").expect("the disk speaks")
    }

    /// As a crash would.
    fn end(self) {
        self.outlet.disk.send(vec![DiskCommand::Halt]);
        self.thread.join().expect("no panic");
    }
}

/// Nobody links to anybody here.
struct NoHost;

impl Actor for NoHost {
    type Context = Context<NoHost>;
}

impl Handler<Members> for NoHost {
    type Result = ();

    fn handle(&mut self, _: Members, _: &mut Context<NoHost>) {}
}

const SMALL: Settings = Settings { segment_bytes: 16 * 1024, first_segment_bytes: 8 * 1024, spares: 0, keep_bytes: 0 };

/// A journal that ends at batch 3, all of them vouched for.
fn three_batches() -> MemoryDisk {
    let store = MemoryDisk::new();
    let mut journal = Journal::create(store.clone(), SMALL, 7).expect("made");
    journal.vouch();
    for round in 1..=3 {
        journal.append(&Record::Promise { ballot: Ballot::new(round, n(2)) });
        journal.commit().expect("durable");
    }
    store
}

fn reopened(store: &MemoryDisk) -> (Journal<MemoryDisk>, Vec<Record>) {
    let opened = Journal::open(store.clone(), SMALL).expect("whole");
    (opened.journal, opened.records)
}

/// A node that ends at batch 3 meets these peers in one lot, votes in between, and crashes.
async fn meets(peers: [(NodeId, BatchNumber); 2]) -> (BatchNumber, MemoryDisk) {
    let store = three_batches();
    let (journal, records) = reopened(&store);
    let last = journal.last_batch();
    assert_eq!(last, BatchNumber(3));
    let mut way = Way::to(&store, journal);
    let mut acceptor = Acceptor::new(n(1), Membership::founded(Configuration::numbered(3)), Slot::ZERO, last);
    records.iter().for_each(|record| acceptor.apply_record(record));
    let mut fx = Effects::new();
    for (slot, (peer, witnessed)) in (1..).zip(peers) {
        acceptor.on_greeted(peer, witnessed, last, &mut fx);
        let proposals = vec![(Slot(slot), Value::no_op())];
        acceptor.on_accept(n(2), Ballot::new(5, n(2)), proposals, Slot::ZERO, &mut fx);
    }
    way.outlet.perform(&mut fx);
    // And more later.
    fx.sync(vec![Record::Reserved { ballot: Ballot::new(9, n(1)) }], vec![Then::Fence(1)]);
    way.outlet.perform(&mut fx);
    while !way.released().await.iter().any(|(_, message)| *message == ProposerMessage::Fenced { number: 1 }.into()) {}
    let heard = way.outlet.disk.durable();
    assert_eq!(way.fatal.try_recv().ok(), None);
    way.end();
    (heard, store)
}

#[actix::test]
async fn rule_4_an_admission_lets_peers_hear_of_what_the_same_lot_journals() {
    let (heard, store) = meets([(n(3), BatchNumber(2)), (n(2), BatchNumber(3))]).await;
    assert!(heard > BatchNumber(3), "{heard:?}");
    assert_eq!(reopened(&store).0.last_batch(), heard);
}

#[actix::test]
async fn rule_4_a_loss_found_in_the_lot_of_the_admission_leaves_nothing_to_vouch_for() {
    for peers in [[(n(3), BatchNumber(2)), (n(2), BatchNumber(5))], [(n(2), BatchNumber(5)), (n(3), BatchNumber(2))]] {
        let (heard, store) = meets(peers).await;
        assert_eq!(heard, BatchNumber(3), "new batches must not look like those that were lost");
        let (journal, records) = reopened(&store);
        assert_eq!(journal.last_batch(), BatchNumber(3), "nor after a restart");
        assert!(records.contains(&Record::Amnesiac { witnessed: BatchNumber(5) }), "{records:?}");
    }
}

#[actix::test]
async fn a_slot_that_rots_on_the_disk_is_not_supplied_and_the_others_are() {
    let words = ["the first word", "the second word", "the third word"];
    let value = |word: &str| {
        let operation = Bytes::from(word.as_bytes().to_vec());
        let (session, sequence, done_below) = (SessionId(1), Sequence(1), Sequence(0));
        Value::batch(Stamp { time_ms: 1, seed: 1 }, &[Command::Apply { session, sequence, done_below, operation }])
    };
    let ballot = Ballot::new(5, n(2));
    let store = three_batches();
    let (mut journal, _) = reopened(&store);
    for (slot, word) in (1..).zip(words) {
        journal.append(&Record::Vote { slot: Slot(slot), ballot, value: value(word) });
        journal.commit().expect("durable");
    }
    let file = "journal-0000000001";
    let bytes = store.read_all(file).expect("read");
    let at = bytes.windows(words[1].len()).position(|window| window == words[1].as_bytes()).expect("it is there");
    store.flip(file, at + 4, 2);
    let mut way = Way::to(&store, journal);
    let supply = |first| Effect::SupplySlots { to: n(3), first: Slot(first), upto: Slot(3) };
    let supplied = |slot: u64| {
        let entries = vec![(Slot(slot), ballot, value(words[slot as usize - 1]))];
        vec![(n(3), LearnerMessage::Chosen { entries, chosen_upto: Slot(3) }.into())]
    };
    // What stands before the damage is supplied; of the damage, nothing: a snapshot is asked for in its place.
    for (first, expected) in [(1, Some(1)), (2, None), (3, Some(3))] {
        let mut fx = Effects::new();
        fx.push(supply(first));
        way.outlet.perform(&mut fx);
        match expected {
            Some(slot) => assert_eq!(way.released().await, supplied(slot)),
            None => {
                let slot = Slot(first);
                let unreadable = LearnerMessage::Unreadable { slot, to: n(3) };
                let wanted = ExecutorMessage::SnapshotWanted { slot };
                assert_eq!(way.released().await, [(n(1), unreadable.into()), (n(1), wanted.into())]);
            }
        }
    }
    assert_eq!(way.fatal.try_recv().ok(), None, "the node goes on");
    way.end();
}
