//! Stage directions for tests with real nodes: real sockets, real folders, and everything bounded in time.
#![allow(dead_code)] // each test file uses a part of it

pub mod lines;
pub mod relay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use synod::actors::{Join, Node, NodeError, NodeOptions};
use synod::client::{Client, ClientError, ConnectOptions};
use synod::machine::Composite;
use synod::net::cookie::Cookie;
use synod::net::report::{EntryReport, Inspection, MemberStanding, MemberStatus, Report, Status};
use synod::paxos::{Place, Slot};
use tempfile::TempDir;

/// Within this everything that must happen has happened, on a slow machine too.
pub const SOON: Duration = Duration::from_secs(20);
/// The deadline of a client that expects to be told no.
pub const BRIEF: Duration = Duration::from_millis(700);
/// How long before a wait is given up it says how things are.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is something to see; panics when it does not come.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(SOON, what, look).await
}

/// The same, within a time of its own.
pub async fn within<T>(deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < deadline, "did not happen within {deadline:?}: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A test must end, whatever it waits for.
pub async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(4 * SOON, test).await.expect("the test ends in time")
}

/// Nodes n1, n2, … with their folders.
pub struct Theatre {
    folder: TempDir,
    pub cookie: Cookie,
    pub options: BTreeMap<String, NodeOptions>,
    pub nodes: BTreeMap<String, Node>,
}

impl Theatre {
    /// So many nodes, none started.
    pub fn empty(size: usize) -> Theatre {
        let folder = tempfile::tempdir().expect("a folder");
        let cookie = Cookie::new("for this test only").expect("a cookie");
        let names: Vec<String> = (1..=size).map(|number| format!("n{number}")).collect();
        let options = names.iter().map(|name| {
            let options = NodeOptions::new(name, folder.path().join(name), cookie.clone());
            (name.clone(), options.voters(names.clone()))
        });
        let options = options.collect();
        Theatre { cookie, options, nodes: BTreeMap::new(), folder }
    }

    /// So many nodes that know one another, started.
    pub fn of(size: usize) -> Theatre {
        Theatre::with(size, |options| options)
    }

    /// The same, with options adjusted.
    pub fn with(size: usize, adjust: impl Fn(NodeOptions) -> NodeOptions) -> Theatre {
        let mut theatre = Theatre::empty(size);
        for name in theatre.names() {
            let known: Vec<_> = theatre.nodes.values().map(|n| (n.name().to_owned(), n.address().to_owned())).collect();
            let options = theatre.options.get_mut(&name).expect("an actor of this name");
            options.peers = known;
            *options = adjust(options.clone());
            theatre.start(&name);
        }
        theatre
    }

    /// So many nodes that soon take a snapshot and trim their journals.
    pub fn trimming(size: usize) -> Theatre {
        Theatre::with(size, |mut options| {
            options.settings.snapshot_slots = 20;
            options.journal.segment_bytes = 64 << 10;
            options.journal.first_segment_bytes = 64 << 10;
            options.journal.keep_bytes = 64 << 10;
            options
        })
    }

    /// Halts a node, and writes [`large`] values until every other has trimmed more than it knows. Gives what it knows.
    pub async fn outrun(&mut self, name: &str, client: &Client, key: &str) -> Slot {
        self.settled().await;
        let known = self.status(name).await.executed_upto;
        self.halt(name);
        let large = large();
        until("all others have trimmed what it lacks", async || {
            client.put(key, large.as_str()).await.expect("done");
            for other in self.running() {
                if self.status(&other).await.trimmed_upto <= known {
                    return None;
                }
            }
            Some(())
        })
        .await;
        known
    }

    pub fn names(&self) -> Vec<String> {
        self.options.keys().cloned().collect()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.options[name].data.clone()
    }

    /// Starts a node; from now on it comes back to its port, or to another if that is taken.
    pub fn start(&mut self, name: &str) {
        self.try_start(name).unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    }

    pub fn try_start(&mut self, name: &str) -> Result<(), NodeError> {
        let options = self.options.get_mut(name).expect("an actor of this name");
        let node = Node::start(options.clone(), Composite::default())?;
        options.listen = node.listening().to_owned();
        options.or_free_port = true;
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Starts a node that is no founder; with a member's name, it asks that one.
    pub fn enter(&mut self, name: &str, through: Option<&str>) {
        let mut options = NodeOptions::new(name, self.folder().join(name), self.cookie.clone());
        options.join = Some(through.map_or(Join::WhenAdded, |member| Join::Through(self.address(member))));
        self.options.insert(name.to_owned(), options);
        self.start(name);
    }

    /// Waits until a node says that another votes.
    pub async fn votes(&self, asked: &str, name: &str) {
        let client = self.client_on(asked).await;
        let is_it = |member: &&MemberStatus| member.name == name && member.standing == MemberStanding::Voter;
        let begun = Instant::now();
        until(&format!("{name} votes"), async || {
            let members = client.members().await.ok()?;
            assert!(begun.elapsed() < SOON - LAST_WORDS, "{name} does not vote: {members:#?}");
            let is_one = members.iter().filter(|member| member.name == name).count() == 1;
            (is_one && members.iter().any(|member| is_it(&member))).then_some(())
        })
        .await;
    }

    /// As a crash would.
    pub fn halt(&mut self, name: &str) {
        self.nodes.remove(name).expect("it runs").halt().unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The polite way.
    pub fn stop(&mut self, name: &str) {
        self.nodes.remove(name).expect("it runs").stop().unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub fn running(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// Where a client reaches it.
    pub fn address(&self, name: &str) -> String {
        self.nodes[name].listening().to_owned()
    }

    /// The address that it tells others.
    pub fn advertised(&self, name: &str) -> &str {
        self.nodes[name].address()
    }

    fn connect_options(&self, addresses: Vec<String>) -> ConnectOptions {
        let cluster = self.options.values().next().expect("there are nodes").cluster.clone();
        ConnectOptions::new(addresses, cluster, self.cookie.clone())
    }

    /// A client that goes from node to node.
    pub async fn client(&self) -> Client {
        let addresses = self.nodes.values().map(|node| node.listening().to_owned()).collect();
        let mut options = self.connect_options(addresses);
        options.deadline = SOON;
        Client::connect(options).await.expect("a node answers")
    }

    /// A client that stays with one node.
    pub async fn client_on(&self, name: &str) -> Client {
        let mut options = self.connect_options(vec![self.address(name)]);
        options.deadline = SOON;
        let client = Client::connect(options).await.expect("the node answers");
        client.on_node(name).await.expect("the node answers")
    }

    pub async fn status(&self, name: &str) -> Status {
        self.client_on(name).await.status().await.expect("a status")
    }

    /// The leader that a running node follows or is, once it leads by its own account.
    pub async fn leader(&self) -> String {
        until("there is a leader", async || {
            for name in self.running() {
                if self.status(&name).await.phase == "leading" {
                    return Some(name);
                }
            }
            None
        })
        .await
    }

    /// Waits until all running nodes have executed the same and hold the same; returns their common digest.
    pub async fn settled(&self) -> String {
        let mut clients = Vec::new();
        for name in self.running() {
            clients.push(self.client_on(&name).await);
        }
        until("all nodes have executed the same", async || {
            let mut seen = Vec::new();
            for client in &clients {
                // Before the founding there is nothing to compare.
                let status = client.status().await.ok().filter(|status| status.node.is_some())?;
                seen.push((status.executed_upto, status.chosen_upto, status.digest));
            }
            let same = seen.windows(2).all(|pair| pair[0].0 == pair[1].0);
            if same {
                assert!(seen.windows(2).all(|pair| pair[0].2 == pair[1].2), "same slots, other content: {seen:?}");
            }
            (same && seen.iter().all(|(executed, chosen, _)| executed == chosen)).then(|| seen[0].2.clone())
        })
        .await
    }

    /// Every node's log as far as it is not cleared: place to command.
    pub async fn log(&self, name: &str) -> BTreeMap<Place, EntryReport> {
        log_of(&self.client_on(name).await).await
    }
}

/// The connected node's log as far as it is not cleared.
pub async fn log_of(client: &Client) -> BTreeMap<Place, EntryReport> {
    let mut places = BTreeMap::new();
    let mut first = Slot(1);
    loop {
        let report = client.inspect(Inspection::Log { first, upto: Slot(u64::MAX) }).await.expect("a log");
        let Report::Log(log) = report else { panic!("another report") };
        let Some(last) = log.slots.last().map(|slot| slot.slot) else { return places };
        for slot in log.slots {
            for (index, entry) in (1..).zip(slot.entries) {
                places.insert(Place { slot: slot.slot, index }, entry);
            }
        }
        first = last.next();
    }
}

pub fn is_not_done<T: std::fmt::Debug>(outcome: &Result<T, ClientError>) -> bool {
    matches!(outcome, Err(ClientError::NotDone { .. }))
}

/// `found`, told apart from nothing.
pub fn text(found: Option<synod::paxos::Bytes>) -> Option<String> {
    found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until a node says this of its link to a peer.
pub async fn link_says(theatre: &Theatre, name: &str, peer: &str, words: &str) {
    let start = Instant::now();
    until("the link's text", async || {
        let peers = theatre.status(name).await.peers;
        let said = peers.into_iter().find(|known| known.name == peer).map(|peer| peer.link).unwrap_or_default();
        assert!(start.elapsed() < SOON / 2, "{name} should say of {peer} that {words}; it says: {said}");
        said.contains(words).then_some(())
    })
    .await;
}

pub async fn serves(client: &Client, key: &str) {
    client.put(key, "v").await.expect("the others serve");
    assert_eq!(text(client.get(key).await.expect("read")), Some("v".into()));
}

/// Neither votes nor counts: with one honest node left, nothing is chosen.
pub async fn does_not_count(theatre: &mut Theatre, honest: &str, other: &str) {
    theatre.halt(other);
    let client = theatre.client_on(honest).await.with_deadline(BRIEF);
    until("nothing is chosen", async || is_not_done(&client.put("never", "v").await).then_some(())).await;
    assert!(is_not_done(&client.put("never", "v").await));
    assert!(is_not_done(&client.get("never").await));
}

/// Every one of these words is there.
pub fn contains_all(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

/// A value of which a few fill a journal.
pub fn large() -> String {
    "x".repeat(20 << 10)
}
