//! Two ends over loopback, and strangers who come by. Nothing here sleeps: every wait is for an event, with a deadline.

use super::*;
use crate::net::cookie::Cookie;
use crate::net::handshake::AdmitAll;
use crate::net::identity::PeerHello;
use crate::net::refusal::{RefusedBecause, Side};
use crate::paxos::Incarnation;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn local(name: &str, cookie: &str, cluster: &str) -> Local {
    let hello = NodeHello {
        boot: 1,
        name: name.into(),
        incarnation: Incarnation(name.bytes().fold(0, |sum, byte| sum * 256 + u128::from(byte))),
        address: "127.0.0.1:1".into(),
        founding: vec![],
        identity: None,
    };
    Local::node(Cookie::new(cookie).expect("some text"), cluster, hello).expect("well formed")
}

struct N2;

impl Gatekeeper for N2 {
    fn admit(&self, _peer: &PeerHello, _: Option<&crate::net::identity::Enrolment>) -> Result<(), RefusedBecause> {
        Ok(())
    }

    fn witnessed(&self, _peer: &NodeHello) -> BatchNumber {
        BatchNumber(0)
    }
}

impl Host for N2 {
    fn local(&self) -> Local {
        local("n2", "secret", "synod")
    }

    fn number(&self, _peer: &NodeHello) -> Option<NodeId> {
        None
    }
}

fn context(handshake: Duration) -> LinkContext {
    LinkContext {
        host: Arc::new(N2),
        durable: Arc::default(),
        dropped: Arc::default(),
        limits: LinkLimits { handshake, strangers: 2, ..LinkLimits::default() },
    }
}

/// Listens, and hands on what comes.
async fn listening(handshake: Duration) -> (String, tokio::sync::mpsc::UnboundedReceiver<Arrival>, JoinSet<()>) {
    let listening = Listening::bind("127.0.0.1:0").await.expect("a free port");
    let address = listening.address().to_string();
    let (sender, arrivals) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(listening.serve(context(handshake), move |arrival| {
        let _ = sender.send(arrival);
    }));
    (address, arrivals, tasks)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

fn why(error: LinkError) -> Refused {
    match error {
        LinkError::Refused(refused) => refused,
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test]
async fn two_nodes_meet_and_what_follows_the_handshake_is_kept() {
    use futures_util::StreamExt;
    let (address, mut arrivals, _tasks) = listening(LONG).await;
    let dialled = dial(&address, local("n1", "secret", "synod").expecting("n2"), &AdmitAll, LONG).await.expect("up");
    assert!(matches!(&dialled.established.peer, PeerHello::Node(node) if node.name == "n2"));
    let (_reader, mut writing) = dialled.split::<u64>();
    let mut frames = Vec::new();
    (0..1000u64).for_each(|number| crate::net::codec::append(&mut frames, &number).expect("short"));
    writing.write_all(&frames).await.expect("sent");
    let Some(Arrival::Connected(connection)) = soon(arrivals.recv()).await else { panic!("not connected") };
    let (reader, _writing) = connection.split::<u64>();
    let read: Vec<u64> = soon(reader.take(1000).map(|frame| frame.expect("sound")).collect()).await;
    assert_eq!(read, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn both_ends_notice_when_the_other_vanishes() {
    let (address, mut arrivals, _tasks) = listening(LONG).await;
    let dialled = dial(&address, local("n1", "secret", "synod"), &AdmitAll, LONG).await.expect("let in");
    let Some(Arrival::Connected(accepted)) = soon(arrivals.recv()).await else { panic!("nobody came") };
    for end in [dialled, accepted] {
        assert!(SockRef::from(&end.stream).keepalive().expect("a socket"));
    }
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides() {
    let (address, mut arrivals, _tasks) = listening(LONG).await;
    let other_cluster = RefusedBecause::WrongCluster { ours: "other".into(), theirs: "synod".into() };
    for (stranger, because, by) in [
        (local("n1", "guess", "synod"), RefusedBecause::WrongCookie, Side::Peer),
        (local("n1", "secret", "other"), other_cluster, Side::Us),
    ] {
        let refused = why(dial(&address, stranger, &AdmitAll, LONG).await.expect_err("refused"));
        assert_eq!(refused, Refused { by, because: because.clone() });
        let Some(Arrival::Failed { error, .. }) = soon(arrivals.recv()).await else { panic!("let in") };
        assert_eq!(why(error).because, because.mirrored());
    }
}

#[tokio::test]
async fn http_is_hung_up_on_at_once() {
    let (address, mut arrivals, _tasks) = listening(LONG).await;
    let mut browser = TcpStream::connect(&address).await.expect("listening");
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let Some(Arrival::Failed { error, .. }) = soon(arrivals.recv()).await else { panic!("let in") };
    assert_eq!(why(error).because, RefusedBecause::OtherProtocol);
    let mut answer = Vec::new();
    let _ = soon(browser.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_dialer_knows_an_http_server() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = server.local_addr().expect("bound").to_string();
    let serve = async {
        let (mut stream, _) = server.accept().await.expect("dialled");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
        stream
    };
    let (dialled, _stream) =
        soon(async { tokio::join!(dial(&address, local("n1", "secret", "synod"), &AdmitAll, LONG), serve) }).await;
    assert_eq!(why(dialled.expect_err("refused")).because, RefusedBecause::OtherProtocol);
}

#[tokio::test]
async fn who_says_nothing_is_cut_off_and_so_are_too_many() {
    let (address, mut arrivals, _tasks) = listening(SHORT).await;
    let silent = [TcpStream::connect(&address).await.expect("up"), TcpStream::connect(&address).await.expect("up")];
    for _ in &silent {
        let Some(Arrival::Failed { error, .. }) = soon(arrivals.recv()).await else { panic!("let in") };
        assert!(matches!(error, LinkError::TimedOut { .. }), "{error}");
    }
    for mut stream in silent {
        assert_eq!(soon(stream.read(&mut [0; 9])).await.expect("closed in order"), 0);
    }

    let (address, mut arrivals, _tasks) = listening(LONG).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(&address).await.expect("up"));
    }
    let mut third = silent.pop().expect("three");
    assert_eq!(soon(third.read(&mut [0; 9])).await.expect("closed in order"), 0, "the limit is two");
    drop(silent);
    for _ in 0..2 {
        let Some(Arrival::Failed { error, .. }) = soon(arrivals.recv()).await else { panic!("let in") };
        assert!(matches!(error, LinkError::HungUp), "{error}");
    }
    dial(&address, local("n1", "secret", "synod"), &AdmitAll, LONG).await.expect("there is room again");
}

#[tokio::test]
async fn a_dialer_does_not_wait_for_ever() {
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = mute.local_addr().expect("bound").to_string();
    let error = soon(dial(&address, local("n1", "secret", "synod"), &AdmitAll, SHORT)).await.expect_err("mute");
    assert!(matches!(error, LinkError::TimedOut { .. }), "{error}");
    drop(mute);
    let error = soon(dial(&address, local("n1", "secret", "synod"), &AdmitAll, LONG)).await.expect_err("nobody");
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_port_in_use_says_so_in_one_line() {
    let (address, _arrivals, _tasks) = listening(LONG).await;
    let line = Listening::bind(&address).await.expect_err("in use").to_string();
    assert!(line.contains("in use by another program: stop it") && !line.contains('\n'), "{line}");
}
