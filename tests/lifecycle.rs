//! The life of a cluster, each node a process of its own, while clients write: members join, leave, lose their disks, are
//! restarted one after the other, and come back after a long time. No client is told of an error, none waits long, and
//! in the end everything that was acknowledged is there once, and the same on every node.

mod common;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{bounded, text};
use program::{Home, NodeProcess, Ran, SOON, until};
use serde_json::Value;
use synod::client::{Client, ConnectOptions};
use synod::net::cookie::Cookie;
use synod::net::cookie_file;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How many clients write at once.
const WORKERS: usize = 4;
/// How often each begins a write, unless the one before it is still under way.
const PACE: Duration = Duration::from_millis(5);
/// So many words go under one key.
const WORDS: usize = 100;
/// So many writes of each client show that it goes on.
const MORE: usize = 20;
/// The deadline of one write.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes at least before anybody notices that a leader is gone, where that is not to be: far longer than a
/// loaded machine needs to hand leadership over.
const ELECTION: Duration = Duration::from_secs(4);
/// Nobody waits longer for one, on a loaded machine either.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_under_load_and_its_vote_counts() {
    bounded(async {
        let mut cluster = Cluster::of(3, &[]);
        let load = Load::on(&cluster).await;
        let through = cluster.address("n1");
        cluster.enter("n4", &["--join", &through]);
        cluster.becomes_a_voter("n4");
        load.goes_on().await;
        // Three of four suffice only if it is one of them.
        cluster.kill("n1");
        load.goes_on().await;
        cluster.holds_all_of(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_and_then_the_leader_leave_under_load() {
    bounded(async {
        let mut cluster = Cluster::of(5, &[]);
        let load = Load::on(&cluster).await;
        let leader = cluster.leader();
        let follower = cluster.names().into_iter().find(|name| *name != leader).expect("there are five");
        for name in [follower, leader] {
            let done = cluster.synod(&format!("member remove {name}")).done();
            assert!(done.starts_with(&format!("{name} (node ")), "{done}");
            let (code, said) = cluster.take(&name).ends();
            assert_eq!(code, Some(0), "{said:#?}");
            assert!(said.iter().any(|line| line.contains("has left the cluster at slot")), "{said:#?}");
            let led_to_the_end = said.iter().any(|line| line.contains("no longer leads") && line.contains("has left"));
            assert!(!led_to_the_end, "it hands over first: {said:#?}");
            assert_ne!(cluster.leader(), name);
            load.goes_on().await;
        }
        cluster.holds_all_of(load).await;
        let left: BTreeSet<String> = cluster.members().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, cluster.names().into_iter().collect(), "the members are those that run");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_is_refused_and_then_replaced_under_load() {
    bounded(async {
        let mut cluster = Cluster::of(3, &[]);
        let load = Load::on(&cluster).await;
        let wiped = cluster.leader();
        cluster.kill(&wiped);
        std::fs::remove_dir_all(cluster.home.path(&format!("{wiped}.data"))).expect("its folder");
        cluster.start(&wiped);
        let advice = format!("synod member replace {wiped}=HOST:PORT");
        let refused = |status: &Value| status["trouble"].as_str().is_some_and(|trouble| trouble.contains(&advice));
        until(|| cluster.status(&wiped), refused);
        load.goes_on().await;
        let there = cluster.address(&wiped);
        let done = cluster.synod_without(&wiped, &format!("member replace {wiped}={there}")).done();
        assert!(done.starts_with(&format!("{wiped} is replaced by node 4 in slot ")), "{done}");
        cluster.becomes_a_voter(&wiped);
        load.goes_on().await;
        // Two of three suffice only if it is one of them.
        let another = cluster.names().into_iter().find(|name| *name != wiped).expect("there are three");
        cluster.kill(&another);
        load.goes_on().await;
        cluster.holds_all_of(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_are_restarted_one_after_the_other_under_load() {
    bounded(async {
        let mut cluster = Cluster::of(3, &[]);
        let load = Load::on(&cluster).await;
        let leader = cluster.leader();
        let mut names = cluster.names();
        names.sort_by_key(|name| *name != leader);
        for name in names {
            let (code, said) = cluster.terminate(&name);
            assert_eq!(code, Some(0), "{name}: {said:#?}");
            load.goes_on().await;
            cluster.start(&name);
            cluster.is_back(&name);
            load.goes_on().await;
        }
        cluster.holds_all_of(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_hands_over_first_and_no_election_is_needed() {
    bounded(async {
        let mut cluster = Cluster::of(3, &["--election-timeout", &ELECTION.as_secs().to_string()]);
        let load = Load::on(&cluster).await;
        for _ in 0..3 {
            let leader = cluster.leader();
            cluster.running.values().for_each(|node| drop(node.has_said()));
            load.forget();
            let (code, said) = cluster.terminate(&leader);
            assert_eq!(code, Some(0), "{said:#?}");
            load.goes_on().await;
            let longest = load.longest();
            eprintln!("the longest wait for a write while {leader}, which led, was stopped: {longest:?}");
            assert!(longest < ELECTION, "{longest:?}");
            assert!(said.iter().any(|line| line.contains(" leads in ballot ")), "it follows another: {said:#?}");
            for (name, node) in &cluster.running {
                let said = node.has_said();
                assert!(!said.iter().any(|line| line.contains("hears no leader")), "{name}: {said:#?}");
            }
            cluster.start(&leader);
            cluster.is_back(&leader);
        }
        cluster.holds_all_of(load).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_for_long_catches_up_by_a_snapshot_under_load() {
    bounded(async {
        let bounds = ["--journal-limit", "4M", "--snapshot-every", "1M", "--mark-every", "1"];
        let mut cluster = Cluster::of(3, &bounds);
        let load = Load::on(&cluster).await;
        let leader = cluster.leader();
        let away = cluster.names().into_iter().find(|name| *name != leader).expect("there are three");
        cluster.kill(&away);
        let known = cluster.statuses().iter().map(|status| slot(status, "last_slot")).max().expect("two are there");
        cluster.outrun(known).await;
        load.goes_on().await;
        cluster.start(&away);
        cluster.is_back(&away);
        let has_skipped = |status: &Value| slot(status, "trimmed_upto") > known;
        until(|| cluster.status(&away), has_skipped);
        load.goes_on().await;
        // Two of three suffice only if it votes.
        cluster.kill(&leader);
        load.goes_on().await;
        cluster.holds_all_of(load).await;
    })
    .await;
}

/// Nodes as processes, with their folders in one home.
struct Cluster {
    home: Home,
    cookie: Cookie,
    founders: Vec<String>,
    running: BTreeMap<String, NodeProcess>,
    /// What each is started with, besides addresses.
    flags: BTreeMap<String, Vec<String>>,
    /// Where each listens since its first start.
    addresses: BTreeMap<String, String>,
}

impl Cluster {
    /// So many founders, all with these flags.
    fn of(size: usize, flags: &[&str]) -> Cluster {
        let home = Home::new();
        let cookie = cookie_file::read_or_make(&home.path("cookie")).expect("a cookie");
        let founders: Vec<String> = (1..=size).map(|number| format!("n{number}")).collect();
        let (running, addresses) = (BTreeMap::new(), BTreeMap::new());
        let voters = founders.join(",");
        let mut cluster = Cluster { home, cookie, founders, running, flags: BTreeMap::new(), addresses };
        for name in cluster.founders.clone() {
            cluster.enter(&name, &[&["--voters", &voters], flags].concat());
        }
        cluster
    }

    /// Starts a node for the first time, on a port that the system chooses.
    fn enter(&mut self, name: &str, flags: &[&str]) {
        let own = ["--name", name, "--cookie-file", "cookie"];
        self.flags.insert(name.to_owned(), own.iter().chain(flags).map(ToString::to_string).collect());
        self.start(name);
    }

    /// Starts a node with its flags, and where it listened before.
    fn start(&mut self, name: &str) {
        let listen = self.addresses.get(name).map_or("127.0.0.1:0", String::as_str).to_owned();
        let place = ["--listen".to_owned(), listen];
        let words: Vec<String> = self.flags[name].iter().cloned().chain(place).chain(self.peers_of(name)).collect();
        let node = self.home.start(&words.iter().map(String::as_str).collect::<Vec<_>>());
        self.addresses.insert(name.to_owned(), node.address.clone());
        self.running.insert(name.to_owned(), node);
    }

    /// A founder's flags name the other founders, as far as their addresses are known by now.
    fn peers_of(&self, name: &str) -> Vec<String> {
        if !self.founders.iter().any(|founder| founder == name) {
            return Vec::new();
        }
        let known = self.founders.iter().filter(|founder| *founder != name).filter_map(|founder| {
            let address = self.addresses.get(founder)?;
            Some(["--peer".to_owned(), format!("{founder}={address}")])
        });
        known.flatten().collect()
    }

    /// A node that is to end.
    fn take(&mut self, name: &str) -> NodeProcess {
        self.running.remove(name).expect("it runs")
    }

    /// `kill -9`.
    fn kill(&mut self, name: &str) {
        self.take(name).kill();
    }

    /// The polite way. Gives its exit code, and what it said.
    fn terminate(&mut self, name: &str) -> (Option<i32>, Vec<String>) {
        let mut node = self.take(name);
        let sent = Command::new("kill").args(["-TERM", &node.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        node.ends()
    }

    fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    fn address(&self, name: &str) -> String {
        self.addresses[name].clone()
    }

    /// Where clients reach the nodes that run.
    fn reachable(&self) -> Vec<String> {
        self.names().iter().map(|name| self.address(name)).collect()
    }

    /// A command of the program, through any node that runs.
    fn synod(&self, words: &str) -> Ran {
        self.synod_at(self.reachable(), words)
    }

    /// The same, but not through this one.
    fn synod_without(&self, name: &str, words: &str) -> Ran {
        let others = self.reachable().into_iter().filter(|address| *address != self.addresses[name]);
        self.synod_at(others.collect(), words)
    }

    fn synod_at(&self, addresses: Vec<String>, words: &str) -> Ran {
        let addresses = addresses.join(",");
        let connection = ["--connect", &addresses, "--cookie-file", "cookie", "--deadline", "20"];
        self.home.run(&words.split(' ').chain(connection).collect::<Vec<_>>())
    }

    /// What each node that runs says of itself.
    fn statuses(&self) -> Vec<Value> {
        let names = self.names();
        let said = self.synod("status --json").objects();
        let nodes = said.first().and_then(|said| said["nodes"].as_array()).cloned().unwrap_or_default();
        nodes.into_iter().filter(|node| names.iter().any(|name| node["node"] == **name)).collect()
    }

    /// What this one says of itself.
    fn status(&self, name: &str) -> Value {
        let said = self.synod_at(vec![self.address(name)], &format!("status {name} --json")).objects();
        said.first().map_or(Value::Null, |said| said["nodes"][0].clone())
    }

    fn leader(&self) -> String {
        let leads = |status: &Value| status["phase"] == "leading";
        let statuses = until(|| self.statuses(), |statuses| statuses.iter().any(leads));
        let leader = statuses.iter().find(|status| leads(status)).expect("there is one");
        leader["node"].as_str().expect("a name").to_owned()
    }

    /// Every member with its standing.
    fn members(&self) -> Vec<(String, String)> {
        let said = self.synod("member list --json").objects();
        let members = said.first().and_then(|said| said["members"].as_array()).cloned().unwrap_or_default();
        let word = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        members.iter().map(|member| (word(member, "name"), word(member, "standing"))).collect()
    }

    fn becomes_a_voter(&self, name: &str) {
        let votes = |members: &Vec<(String, String)>| {
            let mut own = members.iter().filter(|(member, _)| *member == *name);
            own.next().is_some_and(|(_, standing)| standing == "votes") && own.next().is_none()
        };
        until(|| self.members(), votes);
    }

    /// Waits until a node that was started again votes, and has executed what was chosen when it was.
    fn is_back(&self, name: &str) {
        let goal = self.statuses().iter().map(|status| slot(status, "chosen_upto")).max();
        let is_back = |status: &Value| {
            let votes = status["trouble"].is_null() && (status["phase"] == "following" || status["phase"] == "leading");
            votes && Some(slot(status, "executed_upto")) >= goal
        };
        until(|| self.status(name), is_back);
    }

    async fn client(&self, first: usize) -> Client {
        let mut addresses = self.reachable();
        let nodes = addresses.len();
        addresses.rotate_left(first % nodes);
        let mut options = ConnectOptions::new(addresses, "synod", self.cookie.clone());
        options.deadline = SOON;
        Client::connect(options).await.expect("a node answers")
    }

    /// Writes large values until no journal that is there holds this slot any more.
    async fn outrun(&self, known: u64) {
        let client = self.client(0).await;
        let large = vec![b'x'; 256 << 10];
        let begun = Instant::now();
        loop {
            for number in 0..8 {
                client.put(format!("large/{number}"), large.as_slice()).await.expect("done");
            }
            let statuses = self.statuses();
            if statuses.iter().all(|status| slot(status, "trimmed_upto") > known) {
                return;
            }
            assert!(begun.elapsed() < SOON, "slot {known} is still there: {statuses:#?}");
        }
    }

    /// Ends the load, and checks that all of it is there, once, and the same on all nodes that run.
    async fn holds_all_of(&self, load: Load) {
        let (counts, longest) = load.end().await;
        eprintln!("{} writes, the longest took {longest:?}", counts.iter().sum::<usize>());
        assert!(longest < LONGEST, "the longest write took {longest:?}");
        let client = self.client(0).await;
        for (worker, count) in counts.into_iter().enumerate() {
            for first in (0..count).step_by(WORDS) {
                let key = key(worker, first);
                let written: String = (first..count.min(first + WORDS)).map(word).collect();
                let found = text(client.get(key.as_str()).await.expect("read"));
                assert_eq!(found, Some(written), "{key} holds every word once, in the order of its only client");
            }
        }
        self.is_settled();
    }

    /// Waits until all nodes that run have executed the same, and hold the same.
    fn is_settled(&self) {
        let running = self.running.len();
        let common = |statuses: &[Value], key: &str| {
            statuses.len() == running && statuses.iter().all(|status| status[key] == statuses[0][key])
        };
        let statuses = until(
            || self.statuses(),
            |statuses| {
                let executed = statuses.iter().all(|status| status["executed_upto"] == status["chosen_upto"]);
                executed && common(statuses, "executed_upto")
            },
        );
        assert!(statuses[0]["digest"].is_string() && common(&statuses, "digest"), "{statuses:#?}");
    }
}

fn slot(status: &Value, key: &str) -> u64 {
    status[key].as_u64().unwrap_or_default()
}

/// Under which key a client's word of this number goes.
fn key(worker: usize, number: usize) -> String {
    format!("{worker}/{}", number / WORDS)
}

fn word(number: usize) -> String {
    format!("{number} ")
}

/// Clients that append one word after the other, at a steady pace, and panic if one is not done.
struct Load {
    tally: Arc<Tally>,
    /// Each gives how many words it wrote.
    workers: JoinSet<(usize, usize)>,
}

/// What the clients have done so far.
#[derive(Default)]
struct Tally {
    over: AtomicBool,
    done: [AtomicUsize; WORKERS],
    /// The longest that a client waited for a write.
    longest_us: AtomicU64,
}

impl Load {
    /// Begins, and returns once it runs.
    async fn on(cluster: &Cluster) -> Load {
        let tally = Arc::new(Tally::default());
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            // Not all begin at the same node.
            let client = cluster.client(worker).await.with_deadline(PATIENCE);
            workers.spawn(write(worker, client, tally.clone()));
        }
        let load = Load { tally, workers };
        load.goes_on().await;
        load
    }

    /// Waits until every client has written more.
    async fn goes_on(&self) {
        let counts = || self.tally.done.iter().map(|done| done.load(Ordering::SeqCst)).collect::<Vec<_>>();
        let before = counts();
        let all_did = || counts().iter().zip(&before).all(|(now, before)| *now >= before + MORE);
        common::until("every client is served", async || all_did().then_some(())).await;
    }

    /// From now on [`Load::longest`] counts.
    fn forget(&self) {
        self.tally.longest_us.store(0, Ordering::SeqCst);
    }

    /// How long a write has taken at most since then.
    fn longest(&self) -> Duration {
        Duration::from_micros(self.tally.longest_us.load(Ordering::SeqCst))
    }

    /// Panics if a write failed. Gives how many words each client wrote, and how long a write took at most.
    async fn end(self) -> (Vec<usize>, Duration) {
        self.tally.over.store(true, Ordering::SeqCst);
        let mut counts = self.workers.join_all().await;
        counts.sort_unstable();
        let longest = Duration::from_micros(self.tally.longest_us.load(Ordering::SeqCst));
        (counts.into_iter().map(|(_, count)| count).collect(), longest)
    }
}

async fn write(worker: usize, client: Client, tally: Arc<Tally>) -> (usize, usize) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !tally.over.load(Ordering::SeqCst) {
        pace.tick().await;
        let begun = Instant::now();
        let written = client.append(key(worker, number), word(number)).await;
        written.unwrap_or_else(|error| panic!("word {number} of client {worker}: {error}"));
        tally.longest_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::SeqCst);
        tally.done[worker].fetch_add(1, Ordering::SeqCst);
        number += 1;
    }
    (worker, number)
}
