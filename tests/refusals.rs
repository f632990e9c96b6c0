//! What a node refuses, how it says so, and that it goes on serving meanwhile.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::path::Path;

use common::lines::Lines;
use common::{SOON, Theatre, bounded, contains_all, does_not_count, link_says, serves, until};
use synod::actors::{Node, NodeError, NodeOptions};
use synod::client::{Client, ClientError, ConnectOptions};
use synod::machine::kv::Query;
use synod::machine::{Composite, MachineId};
use synod::net::codec::append;
use synod::net::cookie::Cookie;
use synod::net::handshake::{AdmitAll, Local};
use synod::net::link::dial;
use synod::net::wire::{ClientFrame, NodeFrame};
use synod::paxos::{SessionId, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_wrong_cookie_is_refused_with_the_reason_on_both_sides() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        theatre.stop("n3");
        let (right, wrong) = (theatre.cookie.clone(), Cookie::new("another").expect("a cookie"));
        theatre.options.get_mut("n3").expect("n3").cookie = wrong.clone();
        theatre.start("n3");
        link_says(&theatre, "n1", "n3", "cookies differ").await;
        let address = theatre.address("n3");
        theatre.cookie = wrong;
        link_says(&theatre, "n3", "n1", "cookies differ").await;
        let stranger = ConnectOptions::new(vec![theatre.address("n1")], "synod", theatre.cookie.clone());
        let refused = Client::connect(stranger).await.expect_err("refused").to_string();
        assert!(refused.contains("cookies differ"), "{refused}");
        serves(&client, "after").await;
        theatre.cookie = right;
        theatre.stop("n3");
        theatre.options.get_mut("n3").expect("n3").cookie = theatre.cookie.clone();
        theatre.start("n3");
        theatre.settled().await;
        assert!(!address.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_with_both_names_on_both_sides() {
    bounded(async {
        let mut theatre = Theatre::empty(3);
        theatre.start("n1");
        let known = vec![("n1".to_owned(), theatre.address("n1"))];
        let options = theatre.options.get_mut("n2").expect("n2");
        (options.cluster, options.peers) = ("other".into(), known);
        theatre.start("n2");
        let one = theatre.client_on("n1").await;
        // n1 can't learn n2's address from a refused handshake: a person tells it.
        let refused = one.connect_node("n2", &theatre.address("n2")).await.expect_err("refused").to_string();
        assert!(refused.contains("`synod`") && refused.contains("`other`"), "{refused}");
        link_says(&theatre, "n1", "n2", "theirs is `other`").await;
        let options = ConnectOptions::new(vec![theatre.address("n2")], "other", theatre.cookie.clone());
        let two = Client::connect(options).await.expect("its own cluster's client");
        let peers = two.status().await.expect("a status").peers;
        let link = &peers.iter().find(|peer| peer.name == "n1").expect("n1").link;
        assert!(link.contains("our cluster is `other`") && link.contains("theirs is `synod`"), "{link}");
    })
    .await;
}

#[tokio::test]
async fn a_wiped_folder_under_a_known_name_neither_votes_nor_counts() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        theatre.settled().await;
        theatre.halt("n3");
        fs::remove_dir_all(theatre.data("n3")).expect("wiped");
        theatre.start("n3");
        link_says(&theatre, "n1", "n3", "another data folder").await;
        link_says(&theatre, "n3", "n1", "another data folder").await;
        let status = theatre.status("n3").await;
        assert_eq!((status.phase.as_str(), status.node), ("founding", None), "{status:?}");
        serves(&client, "after").await;
        does_not_count(&mut theatre, "n1", "n2").await;
    })
    .await;
}

#[tokio::test]
async fn a_name_already_taken_is_refused_and_its_owner_stays() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        theatre.settled().await;
        let owner = theatre.address("n2");
        let known = vec![("n1".to_owned(), theatre.address("n1")), ("n3".to_owned(), theatre.address("n3"))];
        let options = NodeOptions { peers: known, ..theatre.options["n2"].clone() };
        let folder = theatre.folder().join("intruder");
        let options = NodeOptions { data: folder, listen: "127.0.0.1:0".into(), ..options };
        let intruder = start(options).expect("it runs, alone");
        let own = ConnectOptions::new(vec![intruder.address().to_owned()], "synod", theatre.cookie.clone());
        let own = Client::connect(own).await.expect("it answers");
        until("the intruder is told why", async || {
            let peers = own.status().await.expect("a status").peers;
            peers.iter().all(|peer| peer.link.contains("another data folder")).then_some(())
        })
        .await;
        let peers = theatre.status("n1").await.peers;
        let two = peers.iter().find(|peer| peer.name == "n2").expect("n2");
        assert_eq!((two.address.as_str(), two.link.as_str()), (owner.as_str(), "up"));
        let status = own.status().await.expect("a status");
        assert_eq!((status.phase.as_str(), status.node), ("founding", None), "{status:?}");
        serves(&client, "after").await;
        theatre.halt("n3");
        serves(&client, "with n1 and n2 only").await;
    })
    .await;
}

/// Whether the other end hangs up on this socket.
async fn is_hung_up_on(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    // An answer that says why may come first.
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn strangers_are_hung_up_on_while_the_node_goes_on_serving() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        let address = theatre.address("n1");
        let mut thrown = Vec::new();
        let huge = [&u32::MAX.to_le_bytes()[..], &[0; 4], b"and more"].concat();
        let noise: Vec<u8> = (0..20_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for round in 0..20 {
            for said in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &huge, &noise, &noise[round..round + 3], b""] {
                let mut stream = TcpStream::connect(&address).await.expect("it listens");
                // It may hang up before it has heard everything.
                let _ = stream.write_all(said).await;
                thrown.push(stream);
            }
            serves(&client, &format!("round {round}")).await;
        }
        // More half-open connections than the node greets at once.
        for _ in 0..400 {
            thrown.push(TcpStream::connect(&address).await.expect("it listens"));
        }
        serves(&client, "crowded").await;
        for stream in thrown {
            assert!(is_hung_up_on(stream).await, "a stranger keeps its connection");
        }
        serves(&theatre.client_on("n1").await, "a new client").await;
        theatre.settled().await;
    })
    .await;
}

/// A client's connection after the handshake, byte for byte.
async fn raw_client(
    theatre: &Theatre,
    name: &str,
) -> (synod::net::link::FrameReader<NodeFrame>, impl AsyncWriteExt + Unpin) {
    let local = Local::client(theatre.cookie.clone(), Some("synod")).expect("a client");
    dial(&theatre.address(name), local, &AdmitAll, SOON).await.expect("let in").split::<NodeFrame>()
}

#[tokio::test]
async fn a_client_that_sends_a_huge_length_or_nonsense_is_cut_off() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        let huge = [&u32::MAX.to_le_bytes()[..], &[0; 4], &[7; 100]].concat();
        let mut damaged = Vec::new();
        append(&mut damaged, &ClientFrame::Attach(SessionId(1))).expect("short");
        *damaged.last_mut().expect("some bytes") ^= 1;
        for said in [huge, damaged] {
            let (reader, mut writer) = raw_client(&theatre, "n1").await;
            writer.write_all(&said).await.expect("sent");
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(SOON, reader.into_inner().read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "the connection stays open");
            serves(&client, "after").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_replies_is_cut_off() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        client.put("large", vec![b'x'; 1 << 20]).await.expect("done");
        let (_unread, mut writer) = raw_client(&theatre, "n1").await;
        let question = MachineId::Kv.encode(&Query::Get { key: "large".into() });
        let mut reads = Vec::new();
        let queries = (0..10).map(|id| (id, question.clone().into())).collect();
        append(&mut reads, &ClientFrame::Reads { queries, local: true }).expect("short");
        let mut asked = 0;
        until("the node hangs up", async || {
            asked += 1;
            writer.write_all(&reads).await.is_err().then_some(())
        })
        .await;
        assert!(asked > 5, "not before its outbox was full: {asked}");
        serves(&client, "after").await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_attaches_without_end_is_cut_off() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        let (_reader, mut writer) = raw_client(&theatre, "n1").await;
        let mut token = 0;
        until("the node hangs up", async || {
            let mut frames = Vec::new();
            for _ in 0..100 {
                token += 1;
                append(&mut frames, &ClientFrame::AttachToken(Token(token))).expect("short");
            }
            writer.write_all(&frames).await.is_err().then_some(())
        })
        .await;
        serves(&client, "after").await;
    })
    .await;
}

fn start(options: NodeOptions) -> Result<Node, NodeError> {
    Node::start(options, Composite::default())
}

fn alone(name: &str, data: &Path) -> NodeOptions {
    NodeOptions::new(name, data, Cookie::new("for this test only").expect("a cookie")).alone()
}

/// The one line with which a start is refused.
fn refusal(options: NodeOptions) -> String {
    let said = start(options).expect_err("refused").to_string();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    said
}

#[test]
fn a_folder_that_a_node_has_is_refused_to_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = start(alone("n1", folder.path())).expect("started");
    let said = refusal(alone("n1", folder.path()));
    contains_all(&said, &["in use by another process", &folder.path().display().to_string()]);
    running.stop().expect("undisturbed");
    start(alone("n1", folder.path())).expect("free again").stop().expect("in order");
}

#[test]
fn a_folder_that_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("letter.txt"), "dear reader").expect("written");
    contains_all(&refusal(alone("n1", folder.path())), &["is not a Synod data folder", "empty or a new folder"]);
    let left: Vec<_> = fs::read_dir(folder.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "nothing was put there");
    let file = folder.path().join("letter.txt");
    contains_all(&refusal(alone("n1", &file)), &["letter.txt", "cannot be used"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).expect("made");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).expect("allowed");
    if fs::write(locked.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write anywhere (root?), so that no folder is unwritable");
        return;
    }
    contains_all(&refusal(alone("n1", &locked)), &["locked", "may write there"]);
}

#[test]
fn a_folder_of_another_node_or_cluster_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    start(alone("n1", folder.path())).expect("started").stop().expect("in order");
    contains_all(&refusal(alone("n2", folder.path())), &["belongs to the node n1, not n2", "--name n1", "--data"]);
    let elsewhere = NodeOptions { cluster: "other".into(), ..alone("n1", folder.path()) };
    contains_all(&refusal(elsewhere), &["belongs to the cluster synod, not other", "--cluster synod"]);
    start(alone("n1", folder.path())).expect("nothing was lost").stop().expect("in order");
}

#[test]
fn options_that_cannot_be_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("n1");
    let nobody = NodeOptions { alone: false, ..alone("n1", &data) };
    contains_all(&refusal(nobody), &["--peer", "--voters", "--alone"]);
    contains_all(&refusal(alone("n1", &data).listen("0.0.0.0:0")), &["wildcard", "--advertise HOST:PORT"]);
    contains_all(&refusal(alone("n1", &data).listen("nonsense")), &["nonsense"]);
    contains_all(&refusal(alone("n 1", &data)), &["n 1", "not a name"]);
    let twice = NodeOptions { alone: false, ..alone("n1", &data) }.peer("n1", "127.0.0.1:1");
    contains_all(&refusal(twice), &["this node's own name"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    contains_all(&refusal(alone("n1", &data).listen(&address)), &[&address, "in use by another program"]);
    let lenient = NodeOptions { or_free_port: true, ..alone("n1", &data).listen(&address) };
    let node = start(lenient).expect("another port will do");
    assert_ne!(node.address(), address);
}

#[tokio::test]
async fn flags_that_name_other_voters_give_a_notice_and_the_record_holds() {
    bounded(async {
        let lines = Lines::listen();
        let mut theatre = Theatre::of(3);
        serves(&theatre.client().await, "before").await;
        theatre.stop("n1");
        theatre.options.get_mut("n1").expect("n1").voters = vec!["n1".into(), "stranger".into()];
        theatre.start("n1");
        let notices = lines.containing("stranger");
        assert_eq!(notices.len(), 1, "{notices:?}");
        contains_all(&notices[0], &["n1,stranger", "n1,n2,n3", "the latter holds"]);
        theatre.halt("n3");
        serves(&theatre.client_on("n1").await, "after").await;
    })
    .await;
}

#[test]
fn a_strangers_repeated_failure_is_logged_once() {
    let lines = Lines::listen();
    let folder = tempfile::tempdir().expect("a folder");
    let node = start(alone("watched", folder.path())).expect("started");
    for _ in 0..50 {
        let mut stream = BlockingStream::connect(node.address()).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("set");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest); // closed or reset: over in any case
    }
    let refused = lines.containing("watched: 127.0.0.1");
    assert_eq!(refused.len(), 1, "{refused:?}");
    contains_all(&refused[0], &["does not speak Synod's protocol"]);
}

#[tokio::test]
async fn an_unknown_node_is_named_with_those_there_are() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        let refused = client.connect_node("n9", "127.0.0.1:1").await;
        assert!(matches!(refused, Err(ClientError::Refused { .. })), "{refused:?}");
        contains_all(&refused.expect_err("refused").to_string(), &["n9", "n1, n2, n3"]);
        let refused = client.connect_node("n2", "no address").await.expect_err("refused").to_string();
        contains_all(&refused, &["no address"]);
        let own = client.connect_node("n1", "127.0.0.1:1").await.expect_err("refused").to_string();
        contains_all(&own, &["this node itself"]);
    })
    .await;
}
