//! The client over in-memory pipes, against nodes that share one machine and one session table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::duplex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::codec::{Framed, FramedRead, FramedWrite};

use super::super::transport::{Dialling, ask_once};
use super::*;
use crate::calls::Page;
use crate::client::{Client, ConnectOptions};
use crate::machine::kv::Scan;
use crate::machine::{Composite, Context as MachineContext, StateMachine};
use crate::net::codec::FrameCodec;
use crate::net::cookie::Cookie;
use crate::net::handshake::{AdmitAll, Local};
use crate::net::identity::NodeHello;
use crate::net::link;
use crate::net::report::{PeerStatus, Status};
use crate::paxos::{Command, Incarnation, Place, Refusal, Reply, Sequence, SessionId, Slot};

/// How a node behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Well,
    /// Nobody listens.
    Down,
    /// Takes the connection and says nothing, not even a greeting.
    Silent,
    /// Hangs up on so many strangers first.
    Crowded(usize),
    /// Listens, and answers no command.
    Mute,
    /// Executes one lot of commands, closes the connection without an answer, and is down.
    DiesAfterExecuting,
    /// Answers reads, refuses commands.
    NotAdmitted,
}

#[derive(Default)]
struct Cluster {
    manners: BTreeMap<String, Manner>,
    machine: Composite,
    sessions: u64,
    replies: BTreeMap<(SessionId, Sequence), (Place, Bytes)>,
    slot: u64,
    lots: usize,
    dials: Vec<String>,
}

impl Cluster {
    fn execute(&mut self, command: Command) -> Reply {
        match command {
            Command::Open { token } => {
                self.sessions += 1;
                Reply::Opened { token, session: SessionId(self.sessions) }
            }
            Command::Apply { session, sequence, operation, .. } => {
                let (place, result) = match self.replies.get(&(session, sequence)) {
                    Some(known) => known.clone(),
                    None => {
                        self.slot += 1;
                        let place = Place { slot: Slot(self.slot), index: 1 };
                        let context = MachineContext { now_ms: 0, seed: 0, place };
                        let result = Bytes::from(self.machine.apply(&context, &operation));
                        self.replies.insert((session, sequence), (place, result.clone()));
                        (place, result)
                    }
                };
                Reply::Done { session, sequence, place, ballot: None, result }
            }
            other => panic!("no test sends {other:?}"),
        }
    }

    fn status(&self, address: &str) -> Status {
        let others = self.manners.keys().filter(|other| *other != address).map(|other| PeerStatus {
            name: name_of(other),
            address: other.clone(),
            voter: true,
            link: "up".into(),
            round_trip_us: None,
        });
        Status { name: name_of(address), address: address.into(), peers: others.collect(), ..Status::default() }
    }
}

/// The node at `a:1` is called `n-a`.
fn name_of(address: &str) -> String {
    format!("n-{}", &address[..1])
}

#[derive(Clone, Default)]
struct Pipes(Arc<Mutex<Cluster>>);

impl Pipes {
    fn new(nodes: &[(&str, Manner)]) -> Pipes {
        let manners = nodes.iter().map(|(address, manner)| (address.to_string(), *manner)).collect();
        Pipes(Arc::new(Mutex::new(Cluster { manners, ..Cluster::default() })))
    }

    fn cluster(&self) -> std::sync::MutexGuard<'_, Cluster> {
        self.0.lock().unwrap()
    }

    async fn client(&self, addresses: &[&str]) -> Result<Client, ClientError> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Client::over(Arc::new(self.clone()), Nodes::given(&addresses), Duration::from_secs(20)).await
    }

    async fn serve<R, W>(self, address: String, mut reader: R, mut writer: W) -> Option<()>
    where
        R: Stream<Item = io::Result<ClientFrame>> + Unpin,
        W: Sink<NodeFrame> + Unpin,
    {
        let mut attached = BTreeSet::new();
        loop {
            let frame = reader.next().await?.ok()?;
            let manner = self.cluster().manners[&address];
            let answer = match frame {
                ClientFrame::Attach(session) => {
                    attached.insert(session);
                    continue;
                }
                ClientFrame::AttachToken(_) => continue,
                ClientFrame::Commands(commands) => {
                    self.cluster().lots += 1;
                    for command in &commands {
                        if let Command::Apply { session, .. } = command {
                            assert!(attached.contains(session), "a session is attached before its first command");
                        }
                    }
                    let opens = matches!(commands[..], [Command::Open { .. }]);
                    let execute = || commands.iter().map(|command| self.cluster().execute(command.clone()));
                    match manner {
                        Manner::Mute => continue,
                        Manner::DiesAfterExecuting if !opens => {
                            execute().for_each(drop);
                            self.cluster().manners.insert(address, Manner::Down);
                            return None;
                        }
                        Manner::NotAdmitted => {
                            let reason = Refusal::NotAdmitted;
                            let refused = |command: &Command| Reply::Refused {
                                command: command.name().expect("a client's"),
                                reason: reason.clone(),
                                forwarded: false,
                            };
                            NodeFrame::Replies(commands.iter().map(refused).collect())
                        }
                        _ => NodeFrame::Replies(execute().collect()),
                    }
                }
                ClientFrame::Reads { queries, .. } => {
                    let answer = |(id, query): (u64, Bytes)| Reply::Read {
                        id,
                        result: self.cluster().machine.query(&query).into(),
                    };
                    NodeFrame::Replies(queries.into_iter().map(answer).collect())
                }
                ClientFrame::Inspect { id, inspection: Inspection::Status } => {
                    let status = self.cluster().status(&address);
                    NodeFrame::Report { id, report: Ok(Report::Status(Box::new(status))) }
                }
                ClientFrame::Inspect { id, .. } => NodeFrame::Report { id, report: Ok(Report::View(vec![])) },
                ClientFrame::Connect { id, name, address } if address == "wrong:1" => {
                    NodeFrame::Report { id, report: Err(format!("{name} at {address} has another cookie")) }
                }
                ClientFrame::Connect { id, name, .. } => NodeFrame::Report { id, report: Ok(Report::Connected(name)) },
                ClientFrame::Meet { id, .. }
                | ClientFrame::Lead { id, .. }
                | ClientFrame::Backup { id, .. }
                | ClientFrame::BackupPart { id, .. } => {
                    NodeFrame::Report { id, report: Err("nobody lives here".into()) }
                }
            };
            writer.send(answer).await.ok()?;
        }
    }
}

impl Transport for Pipes {
    fn dial(&self, address: String) -> Dialling {
        let mut cluster = self.cluster();
        cluster.dials.push(address.clone());
        if cluster.manners.get(&address).is_none_or(|manner| *manner == Manner::Down) {
            let reason = "connection refused".into();
            return Box::pin(std::future::ready(Err(DialError { reason, passing: false })));
        }
        match cluster.manners.get_mut(&address) {
            Some(Manner::Silent) => return Box::pin(std::future::pending()),
            Some(Manner::Crowded(strangers)) if *strangers > 0 => {
                *strangers -= 1;
                return Box::pin(std::future::ready(Err(DialError { reason: "hung up".into(), passing: true })));
            }
            _ => {}
        }
        let (here, there) = duplex(1 << 12);
        let (reading, writing) = tokio::io::split(there);
        let reader = FramedRead::new(reading, FrameCodec::<ClientFrame, ()>::default());
        let writer = FramedWrite::new(writing, FrameCodec::<(), NodeFrame>::default());
        tokio::spawn(self.clone().serve(address, reader, writer));
        let connection: Connection = Box::pin(Framed::new(here, FrameCodec::<NodeFrame, ClientFrame>::default()));
        Box::pin(std::future::ready(Ok(connection)))
    }
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

#[tokio::test]
async fn the_key_value_calls() {
    let pipes = Pipes::new(&[("a:1", Manner::Well)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let done = client.put(bytes("k"), bytes("1")).await.unwrap();
    assert_eq!(done.place, Place { slot: Slot(1), index: 1 });
    assert_eq!(client.get(bytes("k")).await, Ok(Some(bytes("1"))));
    assert_eq!(client.append(bytes("k"), bytes("2")).await.unwrap().result, bytes("12"));
    assert_eq!(client.cas(bytes("k"), None, bytes("x")).await.unwrap().result, Err(Some(bytes("12"))));
    assert_eq!(client.cas(bytes("k"), Some(bytes("12")), bytes("x")).await.unwrap().result, Ok(()));
    assert_eq!(client.decide(bytes("r"), bytes("first")).await.unwrap().result, bytes("first"));
    assert_eq!(client.decide(bytes("r"), bytes("second")).await.unwrap().result, bytes("first"));
    assert_eq!(client.decided(bytes("r")).await, Ok(Some(bytes("first"))));
    client.propose(bytes("v")).await.unwrap();
    let page = Page { entries: vec![(bytes("k"), bytes("x"))], next: None };
    assert_eq!(client.scan(Scan::default()).await, Ok(page.clone()));
    assert_eq!(client.scan_local(Scan::default()).await, Ok(page));
    assert!(client.delete(bytes("k")).await.unwrap().result);
    assert_eq!(client.get_local(bytes("k")).await, Ok(None));
}

#[tokio::test]
async fn errors_of_the_machine_are_refusals() {
    let pipes = Pipes::new(&[("a:1", Manner::Well)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let error = client.put(vec![0; 5000], bytes("v")).await.unwrap_err();
    assert_eq!(error.to_string(), "refused: the key has 5000 bytes, the limit is 4096");
    let error = client.put(bytes("k"), vec![0; 5 << 20]).await.unwrap_err();
    assert_eq!(error.to_string(), "refused: larger than the limit of 4194304 bytes");
    assert_eq!(error.exit_code(), 1);
}

#[tokio::test]
async fn concurrent_calls_share_the_session_and_travel_in_lots() {
    let pipes = Pipes::new(&[("a:1", Manner::Well)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let mut calls = JoinSet::new();
    for i in 0..1000u32 {
        let client = client.clone();
        calls.spawn(async move { client.put(i.to_le_bytes().to_vec(), bytes("v")).await });
    }
    let places: BTreeSet<Place> = calls.join_all().await.into_iter().map(|done| done.unwrap().place).collect();
    assert_eq!(places.len(), 1000);
    let cluster = pipes.cluster();
    assert!(cluster.lots <= 20, "{} lots", cluster.lots);
    assert_eq!(cluster.sessions, 1);
}

#[tokio::test]
async fn a_command_whose_node_died_behind_it_is_done_once_by_way_of_another() {
    let pipes = Pipes::new(&[("a:1", Manner::DiesAfterExecuting), ("b:1", Manner::Well)]);
    // The second address is learnt from the first node.
    let client = pipes.client(&["a:1"]).await.unwrap();
    client.status().await.unwrap();
    assert_eq!(client.append(bytes("k"), bytes("x")).await.unwrap().result, bytes("x"));
    assert_eq!(client.get(bytes("k")).await, Ok(Some(bytes("x"))), "appended once");
    assert_eq!(client.status().await.unwrap().name, "n-b");
}

#[tokio::test]
async fn a_node_that_may_not_propose_is_left_for_another() {
    let pipes = Pipes::new(&[("a:1", Manner::NotAdmitted), ("b:1", Manner::Down), ("c:1", Manner::Well)]);
    let client = pipes.client(&["a:1", "b:1", "c:1"]).await.unwrap();
    client.put(bytes("k"), bytes("v")).await.unwrap();
    assert_eq!(pipes.cluster().dials, ["a:1", "b:1", "c:1"]);
}

#[tokio::test]
async fn a_command_that_nobody_answers_is_unknown_and_a_read_is_not_done() {
    let pipes = Pipes::new(&[("a:1", Manner::Well)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    client.put(bytes("k"), bytes("v")).await.unwrap();
    pipes.cluster().manners.insert("a:1".into(), Manner::Mute);
    let error = client.with_deadline(Duration::from_millis(50)).put(bytes("k"), bytes("w")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error}");
    assert_eq!(error.exit_code(), 3);
    pipes.cluster().manners.insert("a:1".into(), Manner::Well);
    client.put(bytes("k"), bytes("x")).await.expect("the unknown command holds nothing up");
}

#[tokio::test]
async fn without_any_node_a_command_is_not_done() {
    let pipes = Pipes::new(&[("a:1", Manner::DiesAfterExecuting)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let hasty = client.with_deadline(Duration::from_millis(50));
    let error = hasty.put(bytes("k"), bytes("v")).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "it was executed: {error}");
    let error = hasty.put(bytes("k"), bytes("w")).await.unwrap_err();
    assert_eq!(error, ClientError::NotDone { reason: "no node could be reached".into() });
    let error = hasty.get(bytes("k")).await.unwrap_err();
    assert_eq!(error, ClientError::NotDone { reason: "no node could be reached".into() });
    assert!(matches!(hasty.status().await, Err(ClientError::Connection { .. })));
}

#[tokio::test]
async fn connecting_tries_each_address_and_says_why_none_would_do() {
    let pipes = Pipes::new(&[("b:1", Manner::Well)]);
    let client = pipes.client(&["a:1", "b:1"]).await.unwrap();
    assert_eq!(client.status().await.unwrap().name, "n-b");
    let error = pipes.client(&["a:1", "c:1"]).await.unwrap_err();
    assert_eq!(error.to_string(), "no connection: a:1: connection refused; c:1: connection refused");
    assert_eq!(pipes.client(&[]).await.unwrap_err().exit_code(), 2);
}

#[tokio::test]
async fn an_address_that_answers_nothing_holds_nobody_up() {
    let pipes = Pipes::new(&[("a:1", Manner::Silent), ("b:1", Manner::DiesAfterExecuting), ("c:1", Manner::Well)]);
    let start = Instant::now();
    let client = pipes.client(&["a:1", "b:1"]).await.unwrap();
    assert!(start.elapsed() < DIAL_TIME, "{:?}", start.elapsed());
    assert_eq!(client.status().await.unwrap().name, "n-b");
    assert_eq!(client.append(bytes("k"), bytes("x")).await.unwrap().result, bytes("x"), "by way of c");
    let start = Instant::now();
    let addresses = ["a:1".to_string(), "c:1".to_string()];
    let deadline = start + Duration::from_secs(20);
    let (name, _) = ask_once(&pipes, &addresses, Inspection::View, deadline).await.unwrap();
    assert_eq!(name, "n-c");
    assert!(start.elapsed() < DIAL_TIME, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_is_hung_up_on_dials_again_within_its_deadline() {
    let pipes = Pipes::new(&[("a:1", Manner::Crowded(5))]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    assert_eq!(client.status().await.unwrap().name, "n-a");
    let pipes = Pipes::new(&[("a:1", Manner::Crowded(usize::MAX))]);
    let brief = Duration::from_millis(300);
    let late = Client::over(Arc::new(pipes.clone()), Nodes::given(&["a:1".to_string()]), brief).await.unwrap_err();
    assert_eq!(late.to_string(), "no connection: a:1: hung up");
    assert!(pipes.cluster().dials.len() > 1);
}

#[tokio::test]
async fn every_known_node_is_asked_and_the_unreachable_carry_the_error() {
    let pipes = Pipes::new(&[("a:1", Manner::Well), ("b:1", Manner::Well), ("c:1", Manner::Down)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let statuses = client.statuses().await;
    let names: Vec<(&str, bool)> = statuses.iter().map(|(name, status)| (name.as_str(), status.is_ok())).collect();
    assert_eq!(names, [("n-a", true), ("n-b", true), ("n-c", false)]);
    assert_eq!(client.node_names(), ["n-a", "n-b", "n-c"]);
    let views = client.inspect_all(Inspection::View).await;
    assert_eq!(views[1], ("n-b".into(), Ok(Report::View(vec![]))));
}

#[tokio::test]
async fn a_client_of_one_node_stays_there() {
    let pipes = Pipes::new(&[("a:1", Manner::Well), ("b:1", Manner::NotAdmitted)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    let on_b = client.on_node("n-b").await.unwrap().with_deadline(Duration::from_millis(50));
    assert_eq!(on_b.status().await.unwrap().name, "n-b");
    let error = on_b.put(bytes("k"), bytes("v")).await.unwrap_err();
    assert_eq!(
        error,
        ClientError::NotDone { reason: "this node does not serve at the moment: its `status` tells why".into() }
    );
    let error = client.on_node("n-z").await.unwrap_err();
    assert_eq!(error.to_string(), "no node `n-z` is known here: known are n-a, n-b");
}

#[tokio::test]
async fn a_node_is_introduced_to_another() {
    let pipes = Pipes::new(&[("a:1", Manner::Well)]);
    let client = pipes.client(&["a:1"]).await.unwrap();
    assert_eq!(client.connect_node("n9", "z:1").await, Ok("n9".into()));
    let error = client.connect_node("n9", "wrong:1").await.unwrap_err();
    assert_eq!(error.to_string(), "refused: n9 at wrong:1 has another cookie");
}

/// Serves the node at `a:1` over TCP to whoever knows the cookie; gives the real address.
async fn over_tcp(pipes: Pipes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let hello = NodeHello {
                boot: 1,
                name: "n-a".into(),
                incarnation: Incarnation(1),
                address: "127.0.0.1:1".into(),
                founding: vec![],
                identity: None,
            };
            let local = Local::node(Cookie::new("secret").unwrap(), "synod", hello).unwrap();
            if let Ok(connection) = link::greet(stream, local, &AdmitAll, Duration::from_secs(20)).await {
                let (reader, writer) = connection.split::<ClientFrame>();
                let writer = FramedWrite::new(writer, FrameCodec::<(), NodeFrame>::default());
                tokio::spawn(pipes.clone().serve("a:1".into(), reader, writer));
            }
        }
    });
    address
}

#[tokio::test]
async fn over_tcp_with_the_handshake() {
    let address = over_tcp(Pipes::new(&[("a:1", Manner::Well)])).await;
    let options = |cookie: &str| ConnectOptions::new(vec![address.clone()], "synod", Cookie::new(cookie).unwrap());
    let client = Client::connect(options("secret")).await.unwrap();
    let large = Bytes::from(vec![7; 1 << 20]);
    client.put(bytes("k"), large.clone()).await.unwrap();
    assert_eq!(client.get(bytes("k")).await, Ok(Some(large)));
    let error = Client::connect(options("guess")).await.unwrap_err();
    assert!(matches!(&error, ClientError::Connection { reason } if reason.contains("cookie")), "{error}");
}
