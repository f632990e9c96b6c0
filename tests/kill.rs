//! Nodes as processes, killed with `kill -9` in a loop under load: what was acknowledged is there, once, at its place.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{SOON, bounded, log_of, text, until};
use synod::client::{Client, ClientError, ConnectOptions};
use synod::machine::MachineId;
use synod::machine::kv::Operation;
use synod::net::cookie::Cookie;
use synod::net::cookie_file;
use synod::net::report::EntryReport;
use synod::paxos::Place;
use tokio::task::JoinSet;

/// How long nodes are killed.
const TROUBLE: Duration = Duration::from_secs(20);
const WORKERS: usize = 6;
/// So many words go under one key.
const WORDS: usize = 100;
const NAMES: [&str; 3] = ["n1", "n2", "n3"];

#[tokio::test]
async fn acknowledged_commands_survive_kill_9_in_a_loop_under_load() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a folder");
        let cookie_path = folder.path().join("cookie");
        let cookie = cookie_file::read_or_make(&cookie_path).expect("a cookie");
        let mut processes = Processes::start(folder.path());
        let load = Arc::new(Load::default());
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            // Half of them begin at another node than the others.
            let mut addresses = processes.addresses();
            addresses.rotate_left(worker % NAMES.len());
            workers.spawn(work(worker, addresses, cookie.clone(), load.clone()));
        }
        load.goes_on().await;

        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let start = Instant::now();
        let mut kills = 0;
        while start.elapsed() < TROUBLE {
            let any = NAMES[dice.roll(3)];
            let victims = match dice.roll(10) {
                0 => NAMES.to_vec(),
                1 | 2 => NAMES.into_iter().filter(|name| *name != any).collect(),
                3..=6 => vec![processes.leader(&cookie).await.unwrap_or(any)],
                _ => vec![any],
            };
            victims.iter().for_each(|name| processes.kill(name));
            kills += victims.len();
            if victims.len() == 1 && dice.roll(2) == 0 {
                load.goes_on().await; // two of three serve
            }
            victims.iter().for_each(|name| processes.restart(name));
            load.goes_on().await;
        }
        load.over.store(true, Ordering::SeqCst);
        workers.join_all().await;
        assert!(kills >= 5, "nodes were killed: {kills}");
        check(&processes, &cookie, &load).await;
    })
    .await;
}

/// What the clients did.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    done: AtomicUsize,
    /// Operation and place of what was acknowledged, key and word beside it.
    acknowledged: Mutex<Vec<(String, String, Place)>>,
    /// Those whose outcome nobody knows.
    unknown: Mutex<BTreeSet<String>>,
    not_done: Mutex<BTreeSet<String>>,
}

impl Load {
    /// Waits until more has been acknowledged, by whoever serves.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::SeqCst);
        until("the cluster serves", async || (self.done.load(Ordering::SeqCst) >= before + 20).then_some(())).await;
    }
}

async fn work(worker: usize, addresses: Vec<String>, cookie: Cookie, load: Arc<Load>) {
    let mut options = ConnectOptions::new(addresses, "synod", cookie);
    options.deadline = SOON;
    let client = Client::connect(options).await.expect("a node answers").with_deadline(Duration::from_secs(2));
    for number in 0.. {
        if load.over.load(Ordering::SeqCst) {
            return;
        }
        let (key, word) = (format!("{worker}/{}", number / WORDS), format!("w{worker}-{number}"));
        match client.append(key.as_str(), format!("{word} ")).await {
            Ok(done) => {
                load.acknowledged.lock().expect("no panic").push((key, word, done.place));
                load.done.fetch_add(1, Ordering::SeqCst);
            }
            Err(ClientError::Unknown { .. }) => drop(load.unknown.lock().expect("no panic").insert(word)),
            Err(ClientError::NotDone { .. }) => drop(load.not_done.lock().expect("no panic").insert(word)),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn check(processes: &Processes, cookie: &Cookie, load: &Load) {
    let mut clients = Vec::new();
    for name in NAMES {
        let options = ConnectOptions::new(vec![processes.address(name)], "synod", cookie.clone());
        let client = Client::connect(options).await.expect("it runs").with_deadline(SOON);
        clients.push(client.on_node(name).await.expect("it runs"));
    }
    let digest = until("all nodes have executed the same", async || {
        let mut seen = BTreeSet::new();
        for client in &clients {
            let status = client.status().await.ok()?;
            seen.insert((status.executed_upto, status.chosen_upto, status.digest));
        }
        (seen.len() == 1 && seen.first().is_some_and(|(executed, chosen, _)| executed == chosen)).then_some(seen)
    })
    .await;
    assert_eq!(digest.len(), 1);

    let acknowledged = load.acknowledged.lock().expect("no panic").clone();
    let logs = [log_of(&clients[0]).await, log_of(&clients[1]).await, log_of(&clients[2]).await];
    assert_eq!(logs[0], logs[1], "one log");
    assert_eq!(logs[0], logs[2], "one log");
    for (key, word, place) in &acknowledged {
        let operation = Operation::Append { key: key.as_str().into(), suffix: format!("{word} ").into() };
        let operation = MachineId::Kv.encode(&operation);
        let found = logs[0].get(place);
        let there = matches!(found, Some(EntryReport::Apply { operation: there, .. }) if there[..] == operation[..]);
        assert!(there, "{word} was acknowledged at {place}; there stands {found:?}");
    }

    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for worker in 0..WORKERS {
        for part in 0.. {
            let value = clients[part % 3].get(format!("{worker}/{part}")).await.expect("read");
            // A part may be missing only if none of it was done.
            let Some(words) = text(value) else { break };
            words.split_whitespace().for_each(|word| *count.entry(word.to_owned()).or_default() += 1);
        }
    }
    for (_, word, _) in &acknowledged {
        assert_eq!(count.remove(word), Some(1), "{word} was acknowledged: it is there exactly once");
    }
    let (unknown, not_done) = (load.unknown.lock().expect("no panic"), load.not_done.lock().expect("no panic"));
    for (word, times) in count {
        assert!(!not_done.contains(&word), "{word} was called not done, and is there");
        assert!(unknown.contains(&word), "{word} is there, and nobody asked for it");
        assert_eq!(times, 1, "{word}, whose outcome is unknown, is there at most once");
    }
    eprintln!("{} acknowledged, {} unknown, {} not done", acknowledged.len(), unknown.len(), not_done.len());
}

/// The nodes as child processes.
struct Processes {
    folder: std::path::PathBuf,
    running: BTreeMap<&'static str, Process>,
    addresses: BTreeMap<&'static str, String>,
}

/// Ends with its leash, so that none outlives the test, however that ends.
struct Process {
    child: Child,
    _leash: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; either way nobody is left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Processes {
    fn start(folder: &Path) -> Processes {
        let mut processes =
            Processes { folder: folder.to_owned(), running: BTreeMap::new(), addresses: BTreeMap::new() };
        NAMES.iter().for_each(|name| processes.restart(name));
        processes
    }

    fn restart(&mut self, name: &'static str) {
        let listen = self.addresses.get(name).map_or("127.0.0.1:0", String::as_str);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join(format!("{name}.log")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        command.args(["start", "--name", name, "--listen", listen, "--or-free-port", "--voters", "n1,n2,n3"]);
        command.args(["--until-stdin-closes", "--ready-json"]);
        command.arg("--data").arg(self.folder.join(name)).arg("--cookie-file").arg(self.folder.join("cookie"));
        for (peer, address) in self.addresses.iter().filter(|(peer, _)| **peer != name) {
            command.arg("--peer").arg(format!("{peer}={address}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.expect("a log file"));
        let mut child = command.spawn().expect("the program starts");
        let leash = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        let process = Process { child, _leash: leash };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            panic!("{name} does not start: `{line}`; it said:\n{log}")
        });
        self.addresses.insert(name, ready["address"].as_str().expect("an address").to_owned());
        self.running.insert(name, process);
    }

    /// `kill -9`.
    fn kill(&mut self, name: &str) {
        drop(self.running.remove(name));
    }

    fn address(&self, name: &str) -> String {
        self.addresses[name].clone()
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.values().cloned().collect()
    }

    async fn leader(&self, cookie: &Cookie) -> Option<&'static str> {
        let options = ConnectOptions::new(self.addresses(), "synod", cookie.clone());
        let client = Client::connect(options).await.ok()?;
        let leader = client.status().await.ok()?.leader?;
        NAMES.into_iter().find(|name| *name == leader)
    }
}

/// The same throws at every run; what they meet differs anyway.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}
