//! What a node holds is bounded, and a node that breaks stops.

mod common;

use tokio::sync::Mutex;

use common::{SOON, Theatre, bounded, until};
use synod::actors::{Node, NodeError, NodeOptions};
use synod::client::{Client, ConnectOptions};
use synod::machine::MachineId;
use synod::machine::kv::{Operation, Query};
use synod::net::codec::append;
use synod::net::cookie::Cookie;
use synod::net::handshake::{AdmitAll, Local};
use synod::net::link::dial;
use synod::net::wire::{ClientFrame, NodeFrame};
use synod::paxos::{Command, Sequence, SessionId};
use synod::{Context, Frozen, StateMachine, Whole};
use tokio::io::AsyncWriteExt;

/// One test at a time looks at this process's memory.
static MEMORY: Mutex<()> = Mutex::const_new(());

/// How many bytes of memory this process had at most since the last [`forget_peak`].
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().strip_suffix(" kB").and_then(|kilobytes| kilobytes.parse::<usize>().ok()).expect("a number") << 10
}

#[cfg(target_os = "linux")]
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("one's own");
}

/// A client that asks faster than anybody answers, in frames as large as they may be, and takes no answer.
#[cfg(target_os = "linux")]
async fn floods(frame: ClientFrame) {
    let theatre = Theatre::of(1);
    let client = theatre.client_on("n1").await;
    client.put("large", vec![b'x'; 1 << 20]).await.expect("done");
    forget_peak();
    let before = peak();
    let local = Local::client(theatre.cookie.clone(), Some("synod")).expect("a client");
    let connection = dial(&theatre.address("n1"), local, &AdmitAll, SOON).await.expect("let in");
    let (_unread, mut writer) = connection.split::<NodeFrame>();
    let mut bytes = Vec::new();
    append(&mut bytes, &frame).expect("it fits");
    let mut sent = 0;
    while sent < FLOOD && writer.write_all(&bytes).await.is_ok() {
        sent += bytes.len();
    }
    client.put("k", "after").await.expect("the node serves others");
    let grown = peak() - before;
    assert!(grown < MOST, "{} MiB after {} MiB were sent", grown >> 20, sent >> 20);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn questions_that_come_in_a_flood_take_bounded_memory() {
    let _one = MEMORY.lock().await;
    let question = MachineId::Kv.encode(&Query::Get { key: vec![b'k'; 1 << 20].into() });
    let queries = (0..15).map(|id| (id, question.clone().into())).collect();
    bounded(floods(ClientFrame::Reads { queries, local: true })).await;
}

/// A short question with a long answer, many thousand times in one frame.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn answers_that_nobody_takes_use_bounded_memory() {
    let _one = MEMORY.lock().await;
    let question = MachineId::Kv.encode(&Query::Get { key: "large".into() });
    let queries = (0..100_000).map(|id| (id, question.clone().into())).collect();
    bounded(floods(ClientFrame::Reads { queries, local: true })).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn commands_that_come_in_a_flood_take_bounded_memory() {
    let _one = MEMORY.lock().await;
    let operation = MachineId::Kv.encode(&Operation::Put { key: "k".into(), value: vec![b'v'; 1 << 20].into() });
    let command = |sequence| Command::Apply {
        session: SessionId(u64::MAX),
        sequence: Sequence(sequence),
        done_below: Sequence(1),
        operation: operation.clone().into(),
    };
    bounded(floods(ClientFrame::Commands((1..=15).map(command).collect()))).await;
}

/// A machine that breaks where no role looks after it: when people ask how the node stands.
#[derive(Default)]
struct Brittle;

impl StateMachine for Brittle {
    fn apply(&mut self, _: &Context, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn query(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(Vec::new(), [0; 32])
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
    fn empty(&self) -> Brittle {
        Brittle
    }
    fn digest(&self) -> [u8; 32] {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_panic_beside_the_roles_stops_the_node_with_a_named_error() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a folder");
        let cookie = Cookie::new("for this test only").expect("a cookie");
        let options = NodeOptions::new("n1", folder.path().join("n1"), cookie.clone()).alone();
        let node = Node::start(options, Brittle).expect("started");
        // Its first question of a connection is how the node stands.
        let connecting = ConnectOptions::new(vec![node.address().to_owned()], "synod", cookie);
        let _client = Client::connect(connecting).await;
        until("the node stops", async || node.has_stopped().then_some(())).await;
        let error = "the executor broke an invariant: standard error says which";
        assert_eq!(node.wait(), Err(NodeError::Fatal(error.into())));
    })
    .await;
}

/// So much is sent; and so much memory may be used for it, with room for what the journal and the roles hold.
const FLOOD: usize = 1 << 30;
const MOST: usize = 450 << 20;
