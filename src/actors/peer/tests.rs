//! A peer actor and the node it dials, over loopback. Nothing here sleeps: every wait is for an event, with a deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::net::cookie::Cookie;
use crate::net::handshake::{Gatekeeper, Local};
use crate::net::identity::PeerHello;
use crate::net::link::{Arrival, Connection, Host, LinkLimits, Listening};
use crate::net::refusal::{RefusedBecause, Side};
use crate::paxos::{
    AcceptorMessage, Bytes, GroupId, Incarnation, LearnerMessage, Message as Said, NodeId, ProposerMessage, Slot,
    SnapshotId,
};

/// A node called n1, n2, …, which numbers the others by their names.
struct Node {
    number: u32,
    cookie: &'static str,
}

impl Gatekeeper for Node {
    fn admit(&self, _peer: &PeerHello, _: Option<&crate::net::identity::Enrolment>) -> Result<(), RefusedBecause> {
        Ok(())
    }

    fn witnessed(&self, _peer: &NodeHello) -> BatchNumber {
        BatchNumber(u64::from(self.number) * 10)
    }
}

impl Host for Node {
    fn local(&self) -> Local {
        Local::node(Cookie::new(self.cookie).expect("some text"), "synod", hello(self.number)).expect("well formed")
    }

    fn number(&self, peer: &NodeHello) -> Option<NodeId> {
        Some(NodeId(peer.name[1..].parse().expect("a number")))
    }
}

fn hello(number: u32) -> NodeHello {
    NodeHello {
        boot: 1,
        name: format!("n{number}"),
        incarnation: Incarnation(number.into()),
        address: format!("n{number}:1"),
        founding: vec![],
        identity: None,
    }
}

fn context(number: u32, cookie: &'static str) -> LinkContext {
    LinkContext {
        host: Arc::new(Node { number, cookie }),
        durable: Arc::new(u64::from(number).into()),
        dropped: Arc::default(),
        limits: LinkLimits {
            redial_first: Duration::from_millis(1),
            redial_most: Duration::from_millis(20),
            sign_every: Duration::from_millis(20),
            ..LinkLimits::default()
        },
    }
}

/// Hands on what it hears.
struct Ear<T>(tokio::sync::mpsc::UnboundedSender<T>);

impl<T: Unpin + 'static> Actor for Ear<T> {
    type Context = Context<Ear<T>>;
}

impl<T: Message<Result = ()> + Unpin + 'static> Handler<T> for Ear<T> {
    type Result = ();

    fn handle(&mut self, heard: T, _ctx: &mut Context<Ear<T>>) {
        let _ = self.0.send(heard);
    }
}

fn ear<T: Message<Result = ()> + Unpin + Send + 'static>() -> (Recipient<T>, Heard<T>) {
    let (sender, heard) = unbounded_channel();
    (Ear(sender).start().recipient(), Heard(heard))
}

struct Heard<T>(UnboundedReceiver<T>);

impl<T> Heard<T> {
    async fn next(&mut self) -> T {
        soon(self.0.recv()).await.expect("somebody speaks")
    }

    async fn find(&mut self, mut wanted: impl FnMut(&T) -> bool) -> T {
        loop {
            let next = self.next().await;
            if wanted(&next) {
                return next;
            }
        }
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// The dialled node: hands on the connections that it takes.
async fn n2(address: &str, cookie: &'static str) -> (String, Heard<Connection>, tokio::task::JoinHandle<()>) {
    let listening = Listening::bind(address).await.expect("a free port");
    let address = listening.address().to_string();
    let (sender, connections) = unbounded_channel();
    let task = actix::spawn(listening.serve(context(2, cookie), move |arrival| {
        if let Arrival::Connected(connection) = arrival {
            let _ = sender.send(connection);
        }
    }));
    (address, Heard(connections), task)
}

fn peer(address: &str, context: LinkContext) -> (Addr<Peer>, Heard<LinkEvent>) {
    let (events, heard) = ear();
    (Peer::new("n2", Some(address.to_owned()), context, events).start(), heard)
}

fn is_up(event: &LinkEvent) -> bool {
    matches!(event.change, LinkChange::Up { .. })
}

fn envelope(from: u32, message: impl Into<Said>) -> Envelope {
    Envelope { group: GroupId(0), from: NodeId(from), to: NodeId(2), message: message.into() }
}

fn catch_up(slot: u64) -> LearnerMessage {
    LearnerMessage::CatchUp { first: Slot(slot) }
}

#[actix::test]
async fn lots_arrive_in_order_and_only_what_the_peer_may_say() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let (peer, mut events) = peer(&address, context(1, "secret"));
    let up = LinkChange::Up { hello: hello(2), witnessed: BatchNumber(20), enrolment: None };
    assert_eq!(events.next().await, LinkEvent { name: "n2".into(), change: up });

    let (lots, mut heard_lots) = ear::<InboundLot>();
    let (addresses, mut heard_addresses) = ear::<InboundAddresses>();
    let connection = connections.next().await;
    assert_eq!(connection.established.witnessed, BatchNumber(10));
    actix::spawn(receive(connection, context(2, "secret"), lots, addresses));

    let known = KnownAddress { name: "n1".into(), address: "n1:1".into(), since_ms: 5 };
    peer.do_send(TellAddresses(vec![known.clone()]));
    peer.do_send(Outbound(vec![
        envelope(1, catch_up(1)),
        envelope(3, catch_up(2)),
        envelope(1, ProposerMessage::Standing { admitted: true }),
        envelope(1, AcceptorMessage::Learned { chosen_upto: Slot(9) }),
    ]));
    (3..100).for_each(|slot| peer.do_send(Outbound(vec![envelope(1, catch_up(slot))])));

    assert_eq!(heard_addresses.next().await, InboundAddresses { teller: "n1".into(), addresses: vec![known] });
    let mut arrived = Vec::new();
    while arrived.len() < 98 {
        let lot = heard_lots.next().await;
        assert_eq!((lot.from, lot.durable), (NodeId(1), BatchNumber(1)));
        arrived.extend(lot.envelopes);
    }
    let expected: Vec<_> = [1].into_iter().chain(3..100).map(|slot| envelope(1, catch_up(slot))).collect();
    assert_eq!(arrived, expected);
}

#[actix::test]
async fn large_lots_are_cut_into_frames_that_fit() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let (peer, mut events) = peer(&address, context(1, "secret"));
    events.find(is_up).await;
    let (lots, mut heard) = ear::<InboundLot>();
    actix::spawn(receive(connections.next().await, context(2, "secret"), lots, ear().0));
    let part = |offset| LearnerMessage::SnapshotPart {
        upto: Slot(1),
        id: SnapshotId::default(),
        total: 1 << 40,
        offset,
        bytes: Bytes::from(vec![7; 900_000]),
    };
    peer.do_send(Outbound((0..40).map(|offset| envelope(1, part(offset))).collect()));
    let mut arrived = 0;
    while arrived < 40 {
        arrived += heard.next().await.envelopes.len();
    }
}

#[actix::test]
async fn it_dials_again_when_the_listener_comes_back_and_says_so_once() {
    let (address, mut connections, task) = n2("127.0.0.1:0", "secret").await;
    let (_peer, mut events) = peer(&address, context(1, "secret"));
    events.find(is_up).await;
    drop(connections.next().await);
    task.abort();
    let _ = task.await;
    let down = events.find(|event| matches!(event.change, LinkChange::Down { .. })).await;
    assert!(matches!(down.change, LinkChange::Down { .. }));
    let (_, _connections, _task) = n2(&address, "secret").await;
    let mut told = Vec::new();
    events
        .find(|event| {
            told.push(event.clone());
            is_up(event)
        })
        .await;
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:?}");
}

#[actix::test]
async fn a_node_that_has_come_back_is_dialled_at_once() {
    let free = Listening::bind("127.0.0.1:0").await.expect("a free port").address().to_string();
    let mut patient = context(1, "secret");
    (patient.limits.redial_first, patient.limits.redial_most) = (Duration::from_secs(600), Duration::from_secs(600));
    let (peer, mut events) = peer(&free, patient);
    events.find(|event| matches!(event.change, LinkChange::Down { .. })).await;
    let (_, _connections, _task) = n2(&free, "secret").await;
    peer.do_send(DialNow);
    events.find(is_up).await;
}

/// Two links that carry one name to one node would cut each other off.
#[actix::test]
async fn who_is_not_to_be_dialled_any_more_is_heard_until_its_link_ends() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let (first, mut events) = peer(&address, context(1, "secret"));
    events.find(is_up).await;
    first.send(DialNoMore).await.expect("it is there");
    let (lots, mut heard) = ear::<InboundLot>();
    let reading = actix::spawn(receive(connections.next().await, context(2, "secret"), lots, ear().0));
    first.do_send(Outbound(vec![envelope(1, catch_up(1))]));
    while heard.next().await.envelopes.is_empty() {}
    reading.abort();
    // Another link breaks again and again, and comes back: nobody else has dialled meanwhile.
    let (_second, mut others) = peer(&address, context(1, "secret"));
    for _ in 0..20 {
        others.find(is_up).await;
        drop(connections.next().await);
    }
    others.find(is_up).await;
    drop(connections.next().await);
    assert!(connections.0.try_recv().is_err() && events.0.try_recv().is_err());
    let (third, mut events) = peer("127.0.0.1:1", context(1, "secret"));
    events.find(|event| !is_up(event)).await;
    third.send(DialNoMore).await.expect("it is there");
}

#[actix::test]
async fn an_idle_link_stays_up_and_a_mute_one_is_cut() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let mut impatient = context(1, "secret");
    impatient.limits.patience = Duration::from_secs(1);
    let (_peer, mut events) = peer(&address, impatient);
    events.find(is_up).await;
    let (lots, mut heard) = ear::<InboundLot>();
    let reading = actix::spawn(receive(connections.next().await, context(2, "secret"), lots, ear().0));
    for _ in 0..100 {
        assert_eq!(heard.next().await.envelopes, []);
    }
    assert!(events.0.try_recv().is_err(), "twice the patience has passed, and it is up");
    reading.abort();
    events.find(is_up).await;
    let _unread = connections.next().await;
    let cut = events.find(|event| !is_up(event)).await;
    assert_eq!(cut.change, LinkChange::Down { why: "no sign of life for 1s".into() });
}

#[actix::test]
async fn a_reader_cuts_a_mute_peer() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let mut quiet = context(1, "secret");
    quiet.limits.sign_every = Duration::from_secs(60);
    let (_peer, _events) = peer(&address, quiet);
    let mut impatient = context(2, "secret");
    impatient.limits.patience = Duration::from_millis(100);
    let ended = receive(connections.next().await, impatient, ear().0, ear().0);
    assert_eq!(soon(ended).await, "no sign of life for 100ms");
}

#[actix::test]
async fn a_peer_that_does_not_read_is_not_buffered_without_end() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let mut small = context(1, "secret");
    small.limits.outbox_bytes = 20 << 20;
    small.limits.patience = Duration::from_millis(300);
    let dropped = Arc::clone(&small.dropped);
    let (peer, mut events) = peer(&address, small);
    events.find(is_up).await;
    let _unread = connections.next().await;
    let message = LearnerMessage::SnapshotPart {
        upto: Slot(1),
        id: SnapshotId::default(),
        total: 1,
        offset: 0,
        bytes: Bytes::from(vec![7; 1 << 20]),
    };
    for _ in 0..50 {
        peer.send(Outbound(vec![envelope(1, message.clone())])).await.expect("alive");
    }
    assert!(dropped.load(Ordering::Relaxed) > 0);
    let cut = events.find(|event| !is_up(event)).await;
    let LinkChange::Down { why } = cut.change else { panic!("{cut:?}") };
    assert!(why.contains("took no bytes") || why.contains("no sign of life"), "{why}");
}

#[actix::test]
async fn a_refusal_is_told_once_and_tried_again() {
    let (address, _connections, task) = n2("127.0.0.1:0", "secret").await;
    let (_peer, mut events) = peer(&address, context(1, "guess"));
    let refused = Refused { by: Side::Peer, because: RefusedBecause::WrongCookie };
    assert_eq!(events.next().await.change, LinkChange::Refused(refused));
    task.abort();
    let _ = task.await;
    let (_, _connections, _task) = n2(&address, "guess").await;
    let mut told = Vec::new();
    events
        .find(|event| {
            told.push(event.clone());
            is_up(event)
        })
        .await;
    assert!(!told.iter().any(|event| matches!(event.change, LinkChange::Refused(_))), "{told:?}");
}

#[actix::test]
async fn a_new_address_moves_the_link_and_stop_ends_it() {
    let (address, mut connections, _task) = n2("127.0.0.1:0", "secret").await;
    let (peer, mut events) = peer(&address, context(1, "secret"));
    events.find(is_up).await;
    let _first = connections.next().await;
    let (elsewhere, mut there, _task) = n2("127.0.0.1:0", "secret").await;
    peer.do_send(SetAddress(elsewhere));
    let down = events.next().await.change;
    assert_eq!(down, LinkChange::Down { why: "its address has changed".into() });
    assert!(is_up(&events.next().await));
    let connection = there.next().await;
    let reading = actix::spawn(receive(connection, context(2, "secret"), ear().0, ear().0));
    peer.do_send(Stop);
    assert_eq!(soon(reading).await.expect("no panic"), "closed");
    assert!(!peer.connected());
}
