//! How long a node takes to be back: started again from its disk, or far behind its peers; and what that costs those who
//! go on writing.
//!
//! ```text
//! cargo bench --bench catch_up                                      64 MB, about two minutes
//! cargo bench --bench catch_up -- --megabytes 64,256,1024           what docs/performance.md quotes
//! cargo bench --bench catch_up -- --only writes --rounds 5
//! ```
//!
//! Nodes of this process, on loopback, with ports that the system chooses and folders that are removed again. Values have
//! 1,000 bytes. A megabyte is a million bytes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use synod::actors::{Node, NodeOptions};
use synod::client::{Client, ConnectOptions};
use synod::machine::Composite;
use synod::net::cookie::Cookie;
use synod::net::report::Status;
use tokio::task::JoinSet;
use tokio::time::sleep;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let wishes = Wishes::read()?;
    let folder = std::env::temp_dir().join(format!("synod-catch-up-{}", std::process::id()));
    let measured = measure(&wishes, &folder).await;
    // What could not be made need not be removed.
    let _ = std::fs::remove_dir_all(folder);
    measured
}

async fn measure(wishes: &Wishes, folder: &Path) -> Outcome<()> {
    if wishes.wants("restart") {
        println!("a start from the disk        state   snapshot    journal    serves after");
        for megabytes in &wishes.megabytes {
            for journal in [0, 64, 256] {
                restart(folder, *megabytes, journal).await?;
            }
        }
    }
    if wishes.wants("fetch") {
        println!("a snapshot from a peer       state   snapshot       took            rate");
        for megabytes in &wishes.megabytes {
            fetch(folder, *megabytes).await?;
        }
    }
    if wishes.wants("writes") {
        println!("writes a second         state   one away   catches up   in step    ratio to one away, to in step");
        for megabytes in &wishes.megabytes {
            writes(folder, *megabytes, wishes.rounds).await?;
        }
    }
    Ok(())
}

/// What the command line asks for.
struct Wishes {
    megabytes: Vec<u64>,
    only: Option<String>,
    rounds: usize,
}

impl Wishes {
    fn read() -> Outcome<Wishes> {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |option: &str| {
            let at = arguments.iter().position(|argument| argument == option);
            at.map(|at| arguments.get(at + 1).cloned().ok_or(format!("{option} needs a value"))).transpose()
        };
        let megabytes = value("--megabytes")?.unwrap_or_else(|| "64".into());
        let megabytes = megabytes.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let rounds = value("--rounds")?.map_or(Ok(5), |rounds| rounds.parse())?;
        Ok(Wishes { megabytes, only: value("--only")?, rounds })
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

/// Nodes, each with a folder of its own.
struct Nodes {
    options: Vec<NodeOptions>,
    running: Vec<Option<Node>>,
    cookie: Cookie,
    folder: PathBuf,
}

impl Nodes {
    /// So many nodes, started, in empty folders.
    fn start(folder: &Path, count: usize, adjust: impl Fn(&mut NodeOptions)) -> Outcome<Nodes> {
        let _ = std::fs::remove_dir_all(folder); // there may be nothing
        let cookie = Cookie::new("for this measure only")?;
        let names: Vec<String> = (1..=count).map(|number| format!("n{number}")).collect();
        let mut nodes = Nodes { options: Vec::new(), running: Vec::new(), cookie, folder: folder.to_owned() };
        for name in &names {
            let mut options = NodeOptions::new(name, folder.join(name), nodes.cookie.clone());
            options = if count == 1 { options.alone() } else { options.voters(names.clone()) };
            for peer in nodes.running.iter().flatten() {
                options = options.peer(peer.name(), peer.address());
            }
            adjust(&mut options);
            let node = Node::start(options.clone(), Composite::default())?;
            options.listen = node.listening().to_owned();
            nodes.options.push(options);
            nodes.running.push(Some(node));
        }
        Ok(nodes)
    }

    fn halt(&mut self, at: usize) -> Outcome<()> {
        self.running[at].take().map_or(Ok(()), Node::halt).map_err(Into::into)
    }

    fn start_again(&mut self, at: usize) -> Outcome<()> {
        self.running[at] = Some(Node::start(self.options[at].clone(), Composite::default())?);
        Ok(())
    }

    /// A client of all nodes that run.
    async fn client(&self) -> Outcome<Client> {
        self.connect(self.running.iter().flatten().map(|node| node.listening().to_owned()).collect()).await
    }

    async fn client_of(&self, at: usize) -> Outcome<Client> {
        let node = self.running[at].as_ref().ok_or("it does not run")?;
        Ok(self.connect(vec![node.listening().to_owned()]).await?.on_node(node.name()).await?)
    }

    async fn connect(&self, addresses: Vec<String>) -> Outcome<Client> {
        let mut options = ConnectOptions::new(addresses, "synod", self.cookie.clone());
        options.deadline = Duration::from_secs(60);
        Ok(Client::connect(options).await?)
    }

    async fn status(&self, at: usize) -> Outcome<Status> {
        Ok(self.client_of(at).await?.status().await?)
    }

    /// How many megabytes the newest snapshot of a node has.
    fn snapshot_megabytes(&self, at: usize) -> Outcome<f64> {
        let files = std::fs::read_dir(&self.options[at].data)?.collect::<Result<Vec<_>, _>>()?;
        let name = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().into_owned();
        let is_whole = |name: &str| name.strip_prefix("snapshot-").is_some_and(|slot| slot.parse::<u64>().is_ok());
        let newest = files.iter().filter(|file| is_whole(&name(file))).max_by_key(|file| name(file));
        newest.map_or(Ok(0.0), |file| Ok(file.metadata()?.len() as f64 / 1e6))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.running.clear();
        let _ = std::fs::remove_dir_all(&self.folder); // the system's folder for such things is swept anyway
    }
}

/// Writes to keys all over a store of that size, as fast as they are answered.
struct Load {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: JoinSet<Result<(), String>>,
}

impl Load {
    async fn begin(nodes: &Nodes, megabytes: u64) -> Outcome<Load> {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut writers = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = nodes.client().await?;
            for _ in 0..WRITERS {
                writers.spawn(write(client.clone(), megabytes * KEYS_A_MEGABYTE, done.clone(), stop.clone()));
            }
        }
        Ok(Load { done, stop, writers })
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    async fn end(mut self) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn write(client: Client, keys: u64, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<(), String> {
    while !stop.load(Ordering::Relaxed) {
        let key = done.load(Ordering::Relaxed).wrapping_mul(0x2545_F491_4F6C_DD1D) % keys;
        client.put(format!("key-{key:012}"), vec![b'v'; VALUE_BYTES]).await.map_err(|error| error.to_string())?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Writes so many megabytes, each key once.
async fn fill(nodes: &Nodes, megabytes: u64) -> Outcome<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers: JoinSet<Result<(), String>> = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = nodes.client().await?;
        for _ in 0..WRITERS {
            let (client, next) = (client.clone(), next.clone());
            writers.spawn(async move {
                loop {
                    let key = next.fetch_add(1, Ordering::Relaxed);
                    if key >= megabytes * KEYS_A_MEGABYTE {
                        return Ok(());
                    }
                    let put = client.put(format!("key-{key:012}"), vec![b'v'; VALUE_BYTES]);
                    put.await.map_err(|error| error.to_string())?;
                }
            });
        }
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// A node alone, whose state has a snapshot, and so much of a journal behind it.
async fn restart(folder: &Path, megabytes: u64, journal: u64) -> Outcome<()> {
    let mut nodes = Nodes::start(folder, 1, |options| {
        options.settings.snapshot_bytes = megabytes * 250_000;
        options.journal.keep_bytes = 8 << 20;
        options.journal.segment_bytes = 4 << 20;
    })?;
    fill(&nodes, megabytes).await?;
    // The journal is too long: two snapshots take its place.
    until(|| async { Ok(nodes.status(0).await?.journal_bytes <= 8 << 20) }).await?;
    nodes.halt(0)?;
    nodes.options[0].settings.snapshot_bytes = u64::MAX;
    nodes.options[0].journal.keep_bytes = u64::MAX;
    nodes.start_again(0)?;
    let load = Load::begin(&nodes, megabytes).await?;
    until(|| async { Ok(load.done() * VALUE_BYTES as u64 >= journal * 1_000_000) }).await?;
    load.end().await?;
    let journal_bytes = nodes.status(0).await?.journal_bytes;
    nodes.halt(0)?;
    let began = Instant::now();
    nodes.start_again(0)?;
    nodes.client_of(0).await?.get("key-000000000001").await?;
    println!(
        "                          {megabytes:5} MB {:7.0} MB {:7.0} MB {:12.2} s",
        nodes.snapshot_megabytes(0)?,
        journal_bytes as f64 / 1e6,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Three nodes, of which the last is away until nothing of what it lacks is in the journals of the others.
async fn with_one_away(folder: &Path, megabytes: u64) -> Outcome<Nodes> {
    let mut nodes = Nodes::start(folder, 3, |options| {
        options.settings.snapshot_bytes = megabytes * 500_000;
        options.journal.keep_bytes = megabytes * 500_000;
        options.journal.segment_bytes = 4 << 20;
    })?;
    nodes.client().await?.put("first", "v").await?;
    nodes.halt(2)?;
    fill(&nodes, megabytes).await?;
    Ok(nodes)
}

/// Whether both nodes that are there have trimmed what the third lacks.
async fn is_outrun(nodes: &Nodes, known: u64) -> Outcome<bool> {
    Ok(nodes.status(0).await?.trimmed_upto.0.min(nodes.status(1).await?.trimmed_upto.0) > known)
}

/// A node that has nothing fetches everything, while nobody writes.
async fn fetch(folder: &Path, megabytes: u64) -> Outcome<()> {
    let mut nodes = with_one_away(folder, megabytes).await?;
    until(|| is_outrun(&nodes, 8)).await?;
    let target = nodes.status(0).await?.executed_upto;
    let began = Instant::now();
    nodes.start_again(2)?;
    until(|| async { Ok(nodes.status(2).await?.executed_upto >= target) }).await?;
    let (took, snapshot) = (began.elapsed().as_secs_f64(), nodes.snapshot_megabytes(2)?);
    println!(
        "                          {megabytes:5} MB {snapshot:7.0} MB {took:8.2} s {:10.0} MB/s",
        megabytes as f64 / took
    );
    Ok(())
}

/// The rate of writes while the third of three nodes is away, while it catches up by a snapshot, and once it is in step; in
/// turns. The nodes and the load share one machine: what the third does takes from the others, in step as well.
async fn writes(folder: &Path, megabytes: u64, rounds: usize) -> Outcome<()> {
    let mut nodes = with_one_away(folder, megabytes).await?;
    let load = Load::begin(&nodes, megabytes).await?;
    let mut rates = [const { Vec::new() }; 5];
    let mut known = 8;
    for _ in 0..rounds {
        until(|| is_outrun(&nodes, known)).await?;
        let away = rate(&load, window()).await?;
        nodes.start_again(2)?;
        let behind = rate(&load, until(|| is_level(&nodes))).await?;
        let level = rate(&load, window()).await?;
        known = nodes.status(2).await?.executed_upto.0;
        nodes.halt(2)?;
        for (all, one) in rates.iter_mut().zip([away, behind, level, behind / away, behind / level]) {
            all.push(one);
        }
    }
    load.end().await?;
    let [away, behind, level, to_away, to_level] = rates.each_ref().map(|all| median(all.clone()));
    println!(
        "                     {megabytes:5} MB {away:10.0} {behind:12.0} {level:9.0} {to_away:20.2} {to_level:12.2}"
    );
    for (what, all) in ["one away", "in step"].iter().zip(&rates[3..]) {
        let each: Vec<String> = all.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!("                     ratio to {what}, in turns: {}", each.join(", "));
    }
    Ok(())
}

async fn window() -> Outcome<()> {
    sleep(WINDOW).await;
    Ok(())
}

/// Whether the third node has executed nearly what the first has.
async fn is_level(nodes: &Nodes) -> Outcome<bool> {
    let (first, third) = (nodes.status(0).await?, nodes.status(2).await?);
    Ok(third.node.is_some() && third.executed_upto.plus(NEARLY) >= first.executed_upto)
}

/// Writes a second, while something else happens.
async fn rate(load: &Load, meanwhile: impl Future<Output = Outcome<()>>) -> Outcome<f64> {
    let (began, done) = (Instant::now(), load.done());
    meanwhile.await?;
    Ok((load.done() - done) as f64 / began.elapsed().as_secs_f64())
}

/// Looks until it is so. A node that has just started, or is busy, may not answer: it is looked at again.
async fn until<F: Future<Output = Outcome<bool>>>(look: impl Fn() -> F) -> Outcome<()> {
    let began = Instant::now();
    loop {
        let looked = look().await;
        if matches!(looked, Ok(true)) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return looked.and(Err("it takes too long".into()));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

const VALUE_BYTES: usize = 1000;
const KEYS_A_MEGABYTE: u64 = 1000;
const CLIENTS: usize = 4;
/// Of each client.
const WRITERS: usize = 64;
/// How long a rate without a node that catches up is measured.
const WINDOW: Duration = Duration::from_secs(3);
/// So many slots behind is level.
const NEARLY: u64 = 64;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);
