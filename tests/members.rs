//! Members come and go while clients write: nobody's write fails, and everybody ends with the same data.

mod common;
mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Theatre, bounded, contains_all, until};
use program::{Conversation, Home, NodeProcess};
use synod::actors::NodeError;
use synod::client::ClientError;
use synod::net::report::MemberStanding;
use tokio::task::JoinSet;

/// How many clients write at once.
const WORKERS: usize = 4;
/// So many writes of each client show that it goes on.
const MORE: usize = 10;
/// The deadline of one write: none may miss it.
const PATIENCE: Duration = Duration::from_secs(5);
/// While leadership is handed over, nobody waits longer for a write.
const HANDED_OVER_WITHIN: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_under_load_and_votes_once_it_has_caught_up() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let load = Load::on(&theatre).await;
        theatre.enter("n4", Some("n1"));
        theatre.votes("n1", "n4").await;
        load.goes_on().await;
        load.end().await;
        theatre.settled().await;
        // It counts: with two of four gone nothing is chosen, and three suffice.
        theatre.halt("n1");
        common::serves(&theatre.client().await, "three of four").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_is_added_by_its_name_and_address() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client().await;
        theatre.enter("n4", None);
        let address = theatre.address("n4");
        let refused = |outcome: Result<_, ClientError>| match outcome {
            Ok(done) => panic!("{done:?}"),
            Err(error) => error.to_string(),
        };
        let wrong_name = refused(client.add_member("n5", &address).await);
        contains_all(&wrong_name, &["refused", "is `n4`, not `n5`"]);
        let taken = refused(client.add_member("n2", &theatre.address("n2")).await);
        contains_all(&taken, &["refused", "is a member already", "nothing to do"]);
        let dead = refused(client.add_member("n2", "127.0.0.1:1").await);
        contains_all(&dead, &["refused", "a member of that name exists"]);
        let nobody = refused(client.add_member("n6", "127.0.0.1:1").await);
        contains_all(&nobody, &["127.0.0.1:1", "Connection refused"]);
        contains_all(&refused(client.remove_member("n9", false).await), &["refused", "n9", "no member has that name"]);
        let done = client.add_member("n4", &address).await.expect("it is added");
        assert_eq!(done.result.0, 4);
        theatre.votes("n2", "n4").await;
        theatre.settled().await;
        // It comes back by itself, and joining again changes nothing.
        theatre.stop("n4");
        theatre.start("n4");
        theatre.settled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_and_the_leader_leave_under_load() {
    bounded(async {
        let mut theatre = Theatre::of(5);
        let load = Load::on(&theatre).await;
        let leader = theatre.leader().await;
        let follower = theatre.names().into_iter().find(|name| *name != leader).expect("there are five");
        for name in [follower, leader] {
            theatre.client().await.remove_member(&name, false).await.expect("four are left, or three");
            let left = has_left(&mut theatre, &name).await;
            contains_all(&left, &[&name, "has left the cluster at slot", "--join"]);
            load.goes_on().await;
        }
        load.end().await;
        theatre.settled().await;
        let members = theatre.client().await.members().await.expect("a list");
        assert!(members.iter().all(|member| member.standing == MemberStanding::Voter), "{members:?}");
        assert_eq!(members.len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_folder_is_replaced_by_a_new_one_under_load() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let load = Load::on(&theatre).await;
        theatre.halt("n2");
        std::fs::remove_dir_all(theatre.data("n2")).expect("the folder is lost");
        // It can't just come back: it has forgotten what it promised.
        theatre.enter("n2", Some("n1"));
        let refused = ended(&mut theatre, "n2").await;
        contains_all(&refused.expect_err("refused").to_string(), &["n2", "synod member replace n2="]);
        theatre.enter("n2", None);
        let (client, address) = (theatre.client_on("n1").await, theatre.address("n2"));
        let done = client.replace_member("n2", &address, false).await.expect("two of three are there");
        assert_eq!(done.result.0, 4, "another number for another folder");
        theatre.votes("n1", "n2").await;
        load.goes_on().await;
        load.end().await;
        theatre.settled().await;
        // It counts.
        theatre.halt("n3");
        common::serves(&theatre.client().await, "two of three").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_without_a_pause() {
    bounded(async {
        let theatre = Theatre::of(3);
        let load = Load::on(&theatre).await;
        let client = theatre.client().await.with_deadline(PATIENCE);
        for name in ["n1", "n2", "n3", "n3"] {
            load.forget();
            client.transfer_leadership(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(theatre.leader().await, name);
            load.goes_on().await;
            let longest = load.longest();
            eprintln!("the longest wait for a write while {name} took over: {longest:?}");
            assert!(longest < HANDED_OVER_WITHIN, "{longest:?}");
        }
        let unknown = client.transfer_leadership("n9").await.expect_err("there is none");
        contains_all(&unknown.to_string(), &["refused", "n9", "member list"]);
        load.end().await;
        theatre.settled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_after_the_other_and_no_client_notices() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let load = Load::on(&theatre).await;
        for name in theatre.names() {
            theatre.stop(&name);
            load.goes_on().await;
            theatre.start(&name);
            let goal = until("the others have executed something", async || {
                theatre.running().into_iter().find(|other| *other != name)
            });
            let goal = theatre.status(&goal.await).await.executed_upto;
            until("it has caught up", async || (theatre.status(&name).await.executed_upto >= goal).then_some(())).await;
            load.goes_on().await;
        }
        load.end().await;
        theatre.settled().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_stop_the_cluster_is_refused() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client().await;
        common::serves(&client, "all").await;
        client.transfer_leadership("n1").await.expect("it is there");
        theatre.halt("n3");
        // Who leads anew has never heard n3.
        client.transfer_leadership("n2").await.expect("it is there");
        let refused = client.remove_member("n1", false).await.expect_err("n2 would be left alone with n3");
        contains_all(&refused.to_string(), &["refused", "the cluster would stop", "--force"]);
        let leader = client.remove_member("n2", false).await.expect_err("n1 would be left alone with n3");
        contains_all(&leader.to_string(), &["refused", "the cluster would stop", "--force"]);
        client.remove_member("n3", false).await.expect("who is gone may leave");
        common::serves(&client, "two of two").await;
        // The last one stays.
        client.remove_member("n2", true).await.expect("n1 goes on alone");
        let left = has_left(&mut theatre, "n2").await;
        contains_all(&left, &["n2 has left the cluster"]);
        let last = client.remove_member("n1", true).await.expect_err("it is the last one");
        contains_all(&last.to_string(), &["refused", "n1", "last member that votes"]);
        common::serves(&client, "one of one").await;
    })
    .await;
}

/// The same by hand, with the program.
#[test]
fn a_person_adds_replaces_and_removes_members() {
    let home = Home::new();
    let mut first = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--voters", "n1,n2,n3"]);
    let founder = |name: &str, peers: &[(&str, &NodeProcess)]| {
        let peers = peers.iter().map(|(name, node)| format!("{name}={}", node.address)).collect::<Vec<_>>().join(",");
        home.start(&["--name", name, "--listen", "127.0.0.1:0", "--voters", "n1,n2,n3", "--peer", &peers])
    };
    let mut second = founder("n2", &[("n1", &first)]);
    let third = founder("n3", &[("n1", &first), ("n2", &second)]);
    let at = format!("{},{}", first.address, third.address);
    let synod = |words: &str| home.run(&words.split(' ').chain(["--connect", &at]).collect::<Vec<_>>());
    synod("put k v --deadline 20").done();

    let mut fourth = home.start(&["--name", "n4", "--listen", "127.0.0.1:0", "--join", &first.address]);
    let member = |name: &str| {
        let list = synod("member list --json").objects().remove(0);
        list["members"].as_array().and_then(|all| all.iter().find(|member| member["name"] == name)).cloned()
    };
    let votes = |name: &str| program::until(|| member(name), |m| m.as_ref().is_some_and(|m| m["standing"] == "votes"));
    let joined = votes("n4").expect("it votes");
    assert_eq!((&joined["node_id"], &joined["link"]), (&4.into(), &"up".into()));
    let table = synod("member list").done();
    assert!(table.lines().any(|line| line.starts_with("n1 ") && line.contains("this node")), "{table}");
    assert_eq!(synod("get k").done(), "v\n");

    // A prompt knows them all, as long as they are members.
    let mut prompt = Conversation::begin(&home, &["repl", "--json", "--connect", &at]);
    let listed = |prompt: &mut Conversation| {
        let nodes = prompt.ask("nodes")["nodes"].take();
        nodes.as_array().into_iter().flatten().map(|node| node["node"].clone()).collect::<Vec<_>>()
    };
    program::until(|| listed(&mut prompt), |nodes| *nodes == ["n1", "n2", "n3", "n4"]);

    // What makes no sense is refused with the reason.
    synod("member add n5=127.0.0.1:1").failed(1, "127.0.0.1:1: Connection refused");
    synod(&format!("member add n5={}", fourth.address)).failed(1, "is `n4`, not `n5`");
    synod(&format!("member add n4={}", fourth.address)).failed(1, "is a member already");
    synod("member remove n9").failed(1, "no member has that name: `member list` shows them");
    synod("leader transfer n9").failed(1, "no member goes by the name `n9`");
    synod("member add n5").failed(2, "where n5 listens is missing");
    assert!(synod("leader transfer n3").done().starts_with("n3 leads in ballot "));

    // Who is removed ends by itself, and says what that means.
    let removed = synod("member remove n4").done();
    assert!(removed.starts_with("n4 (node 4) is removed in slot "), "{removed}");
    fourth.says("n4 has left the cluster at slot");
    assert_eq!(fourth.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(member("n4"), None);
    program::until(|| listed(&mut prompt), |nodes| *nodes == ["n1", "n2", "n3"]);

    // A wiped folder comes back under its old name only on somebody's word.
    second.kill();
    std::fs::remove_dir_all(home.path("n2.data")).expect("it is there");
    let mut wiped = home.start(&["--name", "n2", "--listen", "127.0.0.1:0", "--join", &first.address]);
    wiped.says(
        "start this one with `--join` and no address, and let it take that place: `synod member replace n2=127.0.0.1:",
    );
    assert_eq!(wiped.child.wait().expect("it ends").code(), Some(1));
    let fresh = home.start(&["--name", "n2", "--listen", "127.0.0.1:0", "--join"]);
    let taken = synod(&format!("member add n2={}", fresh.address)).failed(1, "a member of that name exists");
    assert!(taken.contains("another --name") && taken.contains("`member replace`"), "{taken}");
    let replaced = synod(&format!("member replace n2={} --wait --deadline 20", fresh.address)).done();
    assert!(
        replaced.starts_with("n2 is replaced by node 5 in slot ") && replaced.ends_with(", and votes\n"),
        "{replaced}"
    );
    synod("put k w").done();
    let digests = || {
        let status = synod("status --json").objects().remove(0);
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().map(|node| node["digest"].clone()).collect::<Vec<_>>()
    };
    program::until(digests, |digests| digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]));

    // With one more gone, no other can be spared; unless somebody insists. Who leads anew has never heard n1.
    first.kill();
    synod("leader transfer n2").done();
    synod("member remove n3").failed(1, "the cluster would stop");
    synod("member remove n3 --force").done();
}

#[test]
fn the_last_member_stays_whoever_insists() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    let synod = |words: &str| home.run(&words.split(' ').chain(["--connect", &node.address]).collect::<Vec<_>>());
    synod("put k v --deadline 20").done();
    for words in ["member remove n1", "member remove n1 --force"] {
        synod(words)
            .failed(1, "`n1`: it is the last member that votes, and a cluster needs one: add another one first");
    }
    assert_eq!(synod("get k").done(), "v\n");
}

/// What a node said when it stopped by itself.
async fn ended(theatre: &mut Theatre, name: &str) -> Result<(), NodeError> {
    until("it stops by itself", async || theatre.nodes[name].has_stopped().then_some(())).await;
    theatre.nodes.remove(name).expect("it was started").wait()
}

async fn has_left(theatre: &mut Theatre, name: &str) -> String {
    match ended(theatre, name).await {
        Err(NodeError::Left(news)) => news,
        other => panic!("{name} ended with {other:?}"),
    }
}

/// Clients that write one after the other, and panic if a write fails.
struct Load {
    over: Arc<AtomicBool>,
    /// How many writes each has done.
    done: Arc<[AtomicUsize; WORKERS]>,
    /// The longest that a client waited for a write, in microseconds.
    longest_us: Arc<AtomicU64>,
    workers: JoinSet<()>,
}

impl Load {
    /// Begins, and returns once it runs.
    async fn on(theatre: &Theatre) -> Load {
        let (over, done, longest_us): (Arc<AtomicBool>, Arc<[AtomicUsize; WORKERS]>, Arc<AtomicU64>) =
            Default::default();
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let client = theatre.client().await.with_deadline(PATIENCE);
            let (over, done, longest_us) = (over.clone(), done.clone(), longest_us.clone());
            workers.spawn(async move {
                for number in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let begun = Instant::now();
                    let written = client.put(format!("{worker}/{}", number % 100), number.to_string()).await;
                    written.unwrap_or_else(|error| panic!("write {number} of worker {worker}: {error}"));
                    longest_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::SeqCst);
                    done[worker].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let load = Load { over, done, longest_us, workers };
        load.goes_on().await;
        load
    }

    /// Waits until every client has written more.
    async fn goes_on(&self) {
        let counts = || self.done.iter().map(|done| done.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = counts();
        let all_did = || counts().iter().zip(&before).all(|(now, before)| *now >= before + MORE);
        until("every client is served", async || all_did().then_some(())).await;
    }

    fn forget(&self) {
        self.longest_us.store(0, Ordering::SeqCst);
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_us.load(Ordering::SeqCst))
    }

    /// Panics if a write failed.
    async fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.workers.join_all().await;
    }
}
