//! Starting and stopping a node.
//!
//! ```no_run
//! use synod::actors::{Node, NodeOptions};
//! use synod::machine::Composite;
//! use synod::net::cookie_file;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cookie = cookie_file::read_or_make(&cookie_file::default_path()?)?;
//! let options = NodeOptions::new("n1", "n1.data", cookie)
//!     .listen("127.0.0.1:7101")
//!     .peer("n2", "127.0.0.1:7102")
//!     .peer("n3", "127.0.0.1:7103");
//! let node = Node::start(options, Composite::default())?;
//! println!("{} listens on {}", node.name(), node.address());
//! node.wait()?;
//! # Ok(())
//! # }
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use actix::prelude::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::backup::Backups;
use super::doors::Doors;
use super::events::{NEWS, wall_ms};
use super::handing_over;
use super::host::{Host, Listen, Setup};
use super::registry::{Beginning, Registry};
use super::stage::{About, Staged};
use super::start::Threads;
use crate::net::address_file;
use crate::net::addresses::{Address, AddressBook};
use crate::net::cookie::Cookie;
use crate::net::identity::{Founded, Founding, NodeHello, check_name};
use crate::net::link::{ListenError, Listening};
use crate::paxos::{Configuration, Incarnation, Membership, Record, Settings, StateMachine};
use crate::storage::{self, DataFolder, Held};

/// How to start a node. Made with [`NodeOptions::new`]; the rest has defaults.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name: 1 to 64 letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Its data folder; made if it does not exist.
    pub data: PathBuf,
    /// The cluster's shared secret.
    pub cookie: Cookie,
    /// The cluster's name.
    pub cluster: String,
    /// `HOST:PORT` to listen on, for peers and clients. Port 0 takes a free one.
    pub listen: String,
    /// If the port is taken, take a free one.
    pub or_free_port: bool,
    /// `HOST:PORT` under which others reach this node; needed when it listens on a wildcard address.
    pub advertise: Option<String>,
    /// The other nodes whose addresses are known: name and `HOST:PORT`.
    pub peers: Vec<(String, String)>,
    /// The founders, this node among them. Empty: this node and its peers.
    pub voters: Vec<String>,
    /// Found a cluster of this node alone.
    pub alone: bool,
    /// Become a member of a cluster that exists.
    pub join: Option<Join>,
    /// Newcomers that never had a vote and are gone for good: the only voter does not wait for them.
    pub forsake: Vec<String>,
    /// Limits and times of the protocol.
    pub settings: Settings,
    /// Sizes of the journal.
    pub journal: storage::Settings,
}

impl NodeOptions {
    /// A node of this name, with its data in that folder, that listens on a free port of the loopback interface.
    pub fn new(name: impl Into<String>, data: impl Into<PathBuf>, cookie: Cookie) -> NodeOptions {
        NodeOptions {
            name: name.into(),
            data: data.into(),
            cookie,
            cluster: "synod".into(),
            listen: "127.0.0.1:0".into(),
            or_free_port: false,
            advertise: None,
            peers: Vec::new(),
            voters: Vec::new(),
            alone: false,
            join: None,
            forsake: Vec::new(),
            settings: Settings::default(),
            journal: storage::Settings::default(),
        }
    }

    /// Listens on this `HOST:PORT`.
    pub fn listen(mut self, address: impl Into<String>) -> NodeOptions {
        self.listen = address.into();
        self
    }

    /// Knows another node and its address.
    pub fn peer(mut self, name: impl Into<String>, address: impl Into<String>) -> NodeOptions {
        self.peers.push((name.into(), address.into()));
        self
    }

    /// Names the founders, this node among them; their addresses may be told later.
    pub fn voters<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> NodeOptions {
        self.voters = names.into_iter().map(Into::into).collect();
        self
    }

    /// Founds a cluster of this node alone.
    pub fn alone(mut self) -> NodeOptions {
        self.alone = true;
        self
    }

    /// Becomes a member of the cluster that the node at this `HOST:PORT` belongs to.
    pub fn join(mut self, address: impl Into<String>) -> NodeOptions {
        self.join = Some(Join::Through(address.into()));
        self
    }

    /// Goes on without these newcomers, which never had a vote and are gone for good, if this node is the only voter.
    pub fn forsake<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> NodeOptions {
        self.forsake = names.into_iter().map(Into::into).collect();
        self
    }

    /// The founders as these options name them, sorted; none if they name none.
    fn founders(&self) -> Vec<String> {
        let mut founders = self.voters.clone();
        if founders.is_empty() && (self.alone || !self.peers.is_empty()) {
            founders = self.peers.iter().map(|(name, _)| name.clone()).collect();
            founders.push(self.name.clone());
        }
        founders.sort();
        founders.dedup();
        founders
    }
}

/// How a node becomes a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// It asks the member that lives at this `HOST:PORT`.
    Through(String),
    /// It waits until somebody adds it.
    WhenAdded,
}

/// A running node. Dropping it stops it as a crash would; [`Node::stop`] is the polite way.
pub struct Node {
    name: String,
    address: String,
    listening: String,
    orders: UnboundedSender<Order>,
    thread: Option<JoinHandle<Result<(), NodeError>>>,
}

/// What a node says once it listens.
struct Addresses {
    address: String,
    listening: String,
}

enum Order {
    Stop,
    Halt,
}

impl Node {
    /// Starts a node on threads of its own, with this machine, which must be in its initial state. Returns once it
    /// listens: founding, election and catching up go on behind.
    ///
    /// # Errors
    /// Names what is wrong with options, folder or address, and the mend. A damaged journal is not an error here: such a
    /// node runs, does not vote, and says why (`status`).
    pub fn start<M: StateMachine + Unpin>(options: NodeOptions, machine: M) -> Result<Node, NodeError> {
        check(&options)?;
        let (ready, started): (Sender<Addresses>, Receiver<Addresses>) = channel();
        let (orders, ordered) = unbounded_channel();
        let name = options.name.clone();
        let run = move || actix::System::new().block_on(run(options, machine, ready, ordered));
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(run)
            .map_err(|error| NodeError::Fatal(format!("cannot start a thread: {error}")))?;
        match started.recv() {
            Ok(Addresses { address, listening }) => Ok(Node { name, address, listening, orders, thread: Some(thread) }),
            Err(_) => Err(joined(thread).err().unwrap_or_else(|| NodeError::Fatal("stopped while starting".into()))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `HOST:PORT` under which others reach it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `HOST:PORT` where it really listens: another than [`Node::address`] if it advertises one.
    pub fn listening(&self) -> &str {
        &self.listening
    }

    /// Stops it after making everything durable. If it leads, it has another member take over first, and waits a quarter
    /// of a second for that at most.
    ///
    /// # Errors
    /// What made the node stop before, if anything did.
    pub fn stop(mut self) -> Result<(), NodeError> {
        let _ = self.orders.send(Order::Stop); // it may have stopped by itself
        self.join()
    }

    /// Stops it as a crash would: nothing more is written.
    ///
    /// # Errors
    /// What made the node stop before, if anything did.
    pub fn halt(mut self) -> Result<(), NodeError> {
        let _ = self.orders.send(Order::Halt); // it may have stopped by itself
        self.join()
    }

    /// Waits until it stops by itself, which it does only because of an error.
    ///
    /// # Errors
    /// What made it stop.
    pub fn wait(mut self) -> Result<(), NodeError> {
        self.join()
    }

    /// Whether it has stopped.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// A handle with which another thread can stop it, while one waits for it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.orders.clone())
    }

    fn join(&mut self) -> Result<(), NodeError> {
        self.thread.take().map_or(Ok(()), joined)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.orders.send(Order::Halt); // it may have stopped by itself
            let _ = self.join(); // nobody is left to hear of an error
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

/// Stops a node from elsewhere.
#[derive(Clone)]
pub struct Stopper(UnboundedSender<Order>);

impl Stopper {
    /// Has the node hand leadership over, if it leads, make everything durable, and stop.
    pub fn stop(&self) {
        let _ = self.0.send(Order::Stop); // it may have stopped by itself
    }
}

fn joined(thread: JoinHandle<Result<(), NodeError>>) -> Result<(), NodeError> {
    thread.join().unwrap_or_else(|_| Err(NodeError::Fatal("the node's thread panicked".into())))
}

/// Why a node does not start, or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// The options contradict each other, or the folder.
    Options(String),
    /// The data folder cannot be used.
    Folder(String),
    /// The address cannot be listened on.
    Listen(String),
    /// It broke while running: a failed disk, or a broken invariant. Nothing acknowledged is lost; start it again.
    Fatal(String),
    /// It has left its cluster, on an operator's word, and is not needed any more.
    Left(String),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Options(why) | NodeError::Folder(why) | NodeError::Listen(why) | NodeError::Left(why) => {
                f.write_str(why)
            }
            NodeError::Fatal(why) => write!(f, "the node stopped: {why}"),
        }
    }
}

impl std::error::Error for NodeError {}

impl From<ListenError> for NodeError {
    fn from(error: ListenError) -> NodeError {
        NodeError::Listen(error.to_string())
    }
}

/// The life of a node on its own thread.
async fn run<M: StateMachine + Unpin>(
    options: NodeOptions,
    machine: M,
    ready: Sender<Addresses>,
    mut ordered: UnboundedReceiver<Order>,
) -> Result<(), NodeError> {
    let folder = DataFolder::open(&options.data, || Incarnation(rand::random())).map_err(folder_error)?;
    let disk = folder.disk().clone();
    let book_file = options.data.join(BOOK);
    let remembered = address_file::load(&book_file);
    let others = remembered.entries().map(|entry| entry.name.clone()).filter(|name| *name != options.name);
    let (held, trouble) = match open_disk(&disk, &options, &machine, others.collect()) {
        Ok(held) => (Some(held), None),
        Err(trouble) => (None, Some(trouble)),
    };
    let recorded = held.as_ref().and_then(|held| recorded_founding(&held.records));
    let name_of = |node| held.as_ref().and_then(|held| held.company.name_of(node));
    let founded = recorded.map(|(cluster, node, founders)| of_record(&options, cluster, node, founders, name_of(node)));
    let founded = founded.transpose()?;
    let founders = options.founders();
    let mut is_single = founders.len() == 1;
    if let (Some(founded), Some(held)) = (&founded, &held) {
        let executed = held.snapshot.as_ref().map_or(&founded.membership, |snapshot| &snapshot.membership);
        let membership = held.company.newest(executed).clone();
        is_single = membership.members().len() == 1;
        notice_differences(&options, &founders, &membership);
        let names: Vec<&str> = membership.members().into_iter().map(|member| member.name.as_str()).collect();
        let (name, id) = (&options.name, founded.cluster_id.short());
        log::info!(target: NEWS, "{name}: belongs to cluster {id} of {}", names.join(", "));
    }
    let beginning = match (&founded, &trouble, &options.join) {
        (Some(founded), _, _) => Beginning::Founded(founded.clone()),
        (None, Some(_), _) => Beginning::Broken,
        (None, None, Some(_)) => Beginning::Joining,
        (None, None, None) if founders.is_empty() => {
            return Err(NodeError::Options(format!(
                "{} has no cluster yet: name its founders with --peer NAME=HOST:PORT or --voters NAME,NAME, join a cluster \
                 that exists with --join HOST:PORT, or found one of this node alone with --alone",
                options.name
            )));
        }
        (None, None, None) => {
            let founding = Founding::new(&options.cluster, &options.name, folder.incarnation(), founders.clone());
            Beginning::Founding(founding.map_err(NodeError::Options)?)
        }
    };

    let listening = listen(&options).await?;
    let listens_on = listening.address().to_string();
    let address = options.advertise.clone().unwrap_or_else(|| listens_on.clone());
    let hello = NodeHello {
        boot: rand::random(),
        name: options.name.clone(),
        incarnation: folder.incarnation(),
        address: address.clone(),
        founding: founders.clone(),
        identity: None,
    };
    hello.check().map_err(NodeError::Options)?;
    let book = book(&options, &address, is_single, remembered.clone());
    // The flags need not say it again at the next start.
    if book != remembered
        && let Err(error) = address_file::save(&book_file, &book)
    {
        log::warn!("{}: cannot write the address book: {error}", options.name);
    }
    let registry = Registry::new(options.cookie.clone(), &options.cluster, hello, beginning);
    let staged = match &trouble {
        Some(trouble) => {
            log::error!("{}: {trouble}", options.name);
            Staged::Broken { trouble: trouble.clone() }
        }
        None if founded.is_none() && options.join.is_some() => Staged::Joining {
            through: match &options.join {
                Some(Join::Through(address)) => Some((address.clone(), "asks to be added".into())),
                _ => None,
            },
        },
        None => {
            let missing = registry.missing();
            if !missing.is_empty() {
                log::info!(target: NEWS, "{}: waits for founders: {}", options.name, missing.join(", "));
            }
            Staged::Founding { missing }
        }
    };
    let about = About {
        name: options.name.clone(),
        cluster: options.cluster.clone(),
        address: address.clone(),
        book: RefCell::new(book),
        links: RefCell::new(BTreeMap::new()),
        refused: RefCell::new(None),
    };
    let (fatal, mut failing) = unbounded_channel();
    let (left, mut leaving) = unbounded_channel();
    let threads = Rc::new(RefCell::new(Threads::default()));
    let stage = Rc::new(RefCell::new(staged));
    let setup = Setup {
        settings: options.settings.clone(),
        backups: Backups::new(disk.clone()),
        store: disk,
        registry: Arc::new(registry),
        about: Rc::new(about),
        stage: stage.clone(),
        doors: Doors::default(),
        book: book_file,
        voters: founders,
        threads: threads.clone(),
        left,
        fatal,
    };
    let host = Host::new(setup, founded, held.map(|held| (held, machine))).start();
    host.do_send(Listen(listening));
    if ready.send(Addresses { address, listening: listens_on }).is_err() {
        return Ok(()); // whoever started us is gone
    }
    let outcome = tokio::select! {
        Some(error) = failing.recv() => Err(NodeError::Fatal(error)),
        Some(from) = leaving.recv() => Err(NodeError::Left(format!(
            "{} has left the cluster at slot {from}, and the others need it no more: its folder may be deleted; to come \
             back, start it with an empty --data folder and --join HOST:PORT",
            options.name
        ))),
        order = ordered.recv() => match order {
            Some(Order::Stop) => Ok(true),
            Some(Order::Halt) | None => Ok(false),
        },
    };
    if outcome == Ok(true) {
        // Otherwise the others would only notice that nobody leads any more.
        handing_over::before_a_stop(&stage).await;
    }
    let gracefully = matches!(outcome, Ok(true) | Err(NodeError::Left(_)));
    threads.take().end(gracefully);
    drop(folder); // the lock goes last
    match (outcome, failing.try_recv()) {
        (Err(error), _) => Err(error),
        (Ok(_), Ok(error)) => Err(NodeError::Fatal(error)),
        (Ok(_), Err(_)) => Ok(()),
    }
}

fn check(options: &NodeOptions) -> Result<(), NodeError> {
    let wrong = NodeError::Options;
    check_name(&options.name).map_err(wrong)?;
    check_name(&options.cluster).map_err(wrong)?;
    let listen = Address::parse(&options.listen).map_err(wrong)?;
    if listen.is_wildcard() && options.advertise.is_none() {
        return Err(wrong(format!(
            "{} is a wildcard: say with --advertise HOST:PORT where others reach this node",
            options.listen
        )));
    }
    if let Some(advertise) = &options.advertise
        && Address::parse(advertise).map_err(wrong)?.is_wildcard()
    {
        return Err(wrong(format!("--advertise {advertise} is a wildcard: name an address that others can reach")));
    }
    for (name, address) in &options.peers {
        check_name(name).map_err(wrong)?;
        Address::parse(address).map_err(wrong)?;
        if *name == options.name {
            return Err(wrong(format!("--peer {name}={address} is this node's own name: leave it out")));
        }
    }
    Ok(())
}

/// Opens the journal and the newest snapshot, or makes a journal; in trouble, a sentence that says how to mend it.
fn open_disk<M: StateMachine>(
    disk: &storage::FileDisk,
    options: &NodeOptions,
    machine: &M,
    others: Vec<String>,
) -> Result<Held<storage::FileDisk, M>, String> {
    let mut held = Held::open(disk, options.journal, rand::random(), machine, others)?;
    held.company = held.company.forsaking(options.forsake.clone());
    if let Some(torn) = held.torn {
        log::info!("{}: batch {} was not finished when the node stopped, and was cut", options.name, torn.0);
    }
    held.damaged.iter().for_each(|damaged| log::warn!("{}: {damaged}", options.name));
    Ok(held)
}

fn recorded_founding(records: &[Record]) -> Option<(String, crate::paxos::NodeId, Configuration)> {
    records.iter().find_map(|record| match record {
        Record::Founded { cluster, node, configuration } => Some((cluster.clone(), *node, configuration.clone())),
        _ => None,
    })
}

/// The founding that the folder recorded wins over flags, except where they name another node or cluster.
fn of_record(
    options: &NodeOptions,
    cluster: String,
    node: crate::paxos::NodeId,
    founders: Configuration,
    written: Option<&str>,
) -> Result<Founded, NodeError> {
    let folder = options.data.display();
    // Who came later is no founder: its name stands in the log, and is written down with the members.
    let own = founders.member(node).map(|member| member.name.as_str()).or(written);
    if let Some(own) = own.filter(|own| *own != options.name) {
        return Err(NodeError::Options(format!(
            "{folder} belongs to the node {own}, not {}: start it as --name {own}, or name another folder with --data",
            options.name
        )));
    }
    if cluster != options.cluster {
        return Err(NodeError::Options(format!(
            "{folder} belongs to the cluster {cluster}, not {}: start it with --cluster {cluster}, or name another \
             folder with --data",
            options.cluster
        )));
    }
    Ok(Founded::recorded(&cluster, node, founders))
}

fn notice_differences(options: &NodeOptions, founders: &[String], membership: &Membership) {
    let recorded = membership.members().into_iter().map(|member| member.name.as_str());
    let mut sorted: Vec<&str> = recorded.collect();
    sorted.sort_unstable();
    if !founders.is_empty() && founders != sorted {
        log::warn!(
            "{}: the flags name the voters {}, the cluster has the members {}: the latter holds",
            options.name,
            founders.join(","),
            sorted.join(",")
        );
    }
}

async fn listen(options: &NodeOptions) -> Result<Listening, NodeError> {
    match Listening::bind(&options.listen).await {
        Err(taken) if options.or_free_port && taken.error.kind() == std::io::ErrorKind::AddrInUse => {
            let (host, _) = options.listen.rsplit_once(':').expect("checked to be HOST:PORT");
            Ok(Listening::bind(&format!("{host}:0")).await?)
        }
        bound => Ok(bound?),
    }
}

/// The book as it was, with what the flags say now. A cluster of one has no peers, whatever the flags say: a name in its
/// book would be taken for company that it has had (`paxos::company`).
fn book(options: &NodeOptions, address: &str, is_single: bool, mut book: AddressBook) -> AddressBook {
    let now_ms = wall_ms();
    book.hear_first_hand(&options.name, address, now_ms);
    for (name, address) in options.peers.iter().filter(|_| !is_single) {
        book.hear_first_hand(name, address, now_ms);
    }
    book
}

fn folder_error(error: storage::FolderError) -> NodeError {
    NodeError::Folder(error.to_string())
}

/// The address book's file in the data folder.
const BOOK: &str = "addresses";
