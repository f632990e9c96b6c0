//! [`Client`]: what a program holds in order to talk to a cluster.
//!
//! A client is cheap to clone; clones share one session and one connection, whose driver ends with the last of them.
//! Every call returns within the client's deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::driver::{self, Ask, Request};
use super::error::ClientError;
use super::nodes::Nodes;
use super::outcome::Outcome;
use super::session::Task;
use super::transport::{Network, Transport, ask_once};
use crate::net::cookie::Cookie;
use crate::net::report::{Inspection, Report, Status};
use crate::paxos::{Ballot, Bytes, Change, Place};

/// The deadline of a request, unless told otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// `HOST:PORT` of some of its nodes; the others are learnt from them.
    pub addresses: Vec<String>,
    /// The cluster's name.
    pub cluster: String,
    /// Its secret.
    pub cookie: Cookie,
    /// Within which connecting, and every request, ends.
    pub deadline: Duration,
}

impl ConnectOptions {
    /// With the default deadline.
    pub fn new(addresses: Vec<String>, cluster: impl Into<String>, cookie: Cookie) -> ConnectOptions {
        ConnectOptions { addresses, cluster: cluster.into(), cookie, deadline: DEFAULT_DEADLINE }
    }
}

/// A command that has been executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T = Bytes> {
    /// Where it stands in the log.
    pub place: Place,
    /// A ballot in which its slot is known to be chosen; none when the reply comes from the session's memory.
    pub ballot: Option<Ballot>,
    /// What the machine answered.
    pub result: T,
}

impl<T> Done<T> {
    /// The same with another result.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Done<U> {
        Done { place: self.place, ballot: self.ballot, result: change(self.result) }
    }
}

/// A connection to a cluster, with a session of its own.
#[derive(Clone)]
pub struct Client {
    requests: mpsc::Sender<Request>,
    transport: Arc<dyn Transport>,
    nodes: Arc<Nodes>,
    deadline: Duration,
}

impl Client {
    /// Connects to the first address that answers, and learns from it where the other nodes are.
    ///
    /// Must be called within a tokio runtime, of either kind.
    ///
    /// # Errors
    /// [`ClientError::Usage`] without an address; [`ClientError::Connection`] if no node answers, naming each.
    pub async fn connect(options: ConnectOptions) -> Result<Client, ClientError> {
        let transport = Arc::new(Network { cluster: options.cluster, cookie: options.cookie });
        Client::over(transport, Nodes::given(&options.addresses), options.deadline).await
    }

    /// Connects over a network of the caller's.
    pub(super) async fn over(
        transport: Arc<dyn Transport>,
        nodes: Nodes,
        deadline: Duration,
    ) -> Result<Client, ClientError> {
        if nodes.is_empty() {
            return Err(ClientError::Usage { reason: "no address to connect to: give one as HOST:PORT".into() });
        }
        let nodes = Arc::new(nodes);
        let requests = driver::start(transport.clone(), nodes.clone(), Instant::now() + deadline).await?;
        Ok(Client { requests, transport, nodes, deadline })
    }

    /// A client of the same session whose requests have another deadline.
    pub fn with_deadline(&self, deadline: Duration) -> Client {
        Client { deadline, ..self.clone() }
    }

    /// Puts an operation into the log and returns once it is executed. The operation is one of the composite machine's,
    /// tagged (`MachineId::encode`). Any number of calls may wait at the same time; they share the session, and the log
    /// may order them either way.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if it may have been executed, or may be yet; otherwise it was not and will not be.
    pub async fn submit(&self, operation: Vec<u8>) -> Result<Done, ClientError> {
        self.submit_task(Task::Operation(operation.into())).await
    }

    /// The same for a change of members.
    pub(super) async fn submit_change(&self, change: Change, force: bool) -> Result<Done, ClientError> {
        self.submit_task(Task::Change { change, force }).await
    }

    /// Within which connecting, and every request, ends.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn submit_task(&self, task: Task) -> Result<Done, ClientError> {
        let (answer, outcome) = oneshot::channel();
        let deadline = Instant::now() + self.deadline;
        self.hand_over(Request::Submit { task, deadline, answer }, deadline).await?;
        match outcome.await {
            Ok(Outcome::Done { place, ballot, result }) => Ok(Done { place, ballot, result }),
            Ok(outcome) => Err(unexpected(&outcome)),
            Err(_) => Err(ClientError::Unknown { reason: STOPPED.into() }),
        }
    }

    /// Asks a question of the machines; the answer reflects every command that was done before the call.
    ///
    /// # Errors
    /// The question got no answer within the deadline.
    pub async fn query(&self, question: Vec<u8>) -> Result<Bytes, ClientError> {
        self.read(question, false).await
    }

    /// Asks a question of what the connected node has executed, however old that is.
    ///
    /// # Errors
    /// The question got no answer within the deadline.
    pub async fn query_local(&self, question: Vec<u8>) -> Result<Bytes, ClientError> {
        self.read(question, true).await
    }

    /// Looks inside the node that this client is connected to.
    ///
    /// # Errors
    /// The node did not answer, or answered with a sentence that says why not.
    pub async fn inspect(&self, inspection: Inspection) -> Result<Report, ClientError> {
        self.ask(Ask::Inspect(inspection)).await
    }

    /// How the node that this client is connected to stands.
    ///
    /// # Errors
    /// As [`Client::inspect`].
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.inspect(Inspection::Status).await.and_then(status_of)
    }

    /// Has the connected node dial another, and returns the other's name once the link is up.
    ///
    /// # Errors
    /// The node could not be reached, or is not of this cluster.
    pub async fn connect_node(&self, name: &str, address: &str) -> Result<String, ClientError> {
        match self.ask(Ask::Connect { name: name.to_owned(), address: address.to_owned() }).await? {
            Report::Connected(name) => Ok(name),
            _ => Err(nonsense()),
        }
    }

    /// A client that talks to the named node only, with a session of its own.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if no node of this name is known; [`ClientError::Connection`] if it can't be reached within
    /// the deadline.
    pub async fn on_node(&self, name: &str) -> Result<Client, ClientError> {
        let late = || ClientError::Connection { reason: format!("`{name}` did not answer within the deadline") };
        tokio::time::timeout(self.deadline, self.find_node(name)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn find_node(&self, name: &str) -> Result<Client, ClientError> {
        if self.nodes.addresses_of(name).is_empty() {
            self.status().await?;
        }
        let addresses = self.nodes.addresses_of(name);
        if addresses.is_empty() {
            let known = self.node_names().join(", ");
            return Err(ClientError::Usage { reason: format!("no node `{name}` is known here: known are {known}") });
        }
        let client = Client::over(self.transport.clone(), Nodes::only(&addresses), self.deadline).await?;
        let status = client.status().await?;
        if status.name != name {
            let reason = format!("the node at {} is `{}`, not `{name}`", addresses.join(", "), status.name);
            return Err(ClientError::Connection { reason });
        }
        Ok(client)
    }

    /// How every known node stands, side by side, in order of names. All are asked at once; one that does not answer
    /// within the deadline carries the error.
    pub async fn statuses(&self) -> Vec<(String, Result<Status, ClientError>)> {
        let reports = self.inspect_all(Inspection::Status).await;
        reports.into_iter().map(|(name, report)| (name, report.and_then(status_of))).collect()
    }

    /// Looks inside every known node, side by side, in order of names, as [`Client::statuses`] does. A node whose name
    /// is not known goes by its address.
    pub async fn inspect_all(&self, inspection: Inspection) -> Vec<(String, Result<Report, ClientError>)> {
        let deadline = Instant::now() + self.deadline;
        // What the connected node knows of the others, if it is well enough to say.
        let _ = timeout_at(deadline.min(Instant::now() + INTRODUCTION), self.status()).await;
        let mut tasks = JoinSet::new();
        for (name, addresses) in self.nodes.by_name() {
            let (transport, inspection) = (self.transport.clone(), inspection.clone());
            tasks.spawn(async move {
                let report = ask_once(&*transport, &addresses, inspection, deadline).await;
                (name, addresses, report)
            });
        }
        let mut reports = BTreeMap::new();
        for (name, addresses, report) in tasks.join_all().await {
            match report {
                Ok((name, report)) => {
                    addresses.iter().for_each(|address| self.nodes.learn_name(address, &name));
                    reports.insert(name, Ok(report));
                }
                Err(error) => {
                    reports.entry(name).or_insert(Err(error));
                }
            }
        }
        reports.into_iter().collect()
    }

    /// The names of the nodes as far as they are known without asking anybody.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.names()
    }

    /// The known nodes by name, each with its addresses, without asking anybody. A node whose name is not known yet
    /// goes by its address.
    pub fn nodes(&self) -> Vec<(String, Vec<String>)> {
        self.nodes.by_name()
    }

    async fn read(&self, question: Vec<u8>, local: bool) -> Result<Bytes, ClientError> {
        let (answer, outcome) = oneshot::channel();
        let deadline = Instant::now() + self.deadline;
        self.hand_over(Request::Read { question: question.into(), local, deadline, answer }, deadline).await?;
        match outcome.await {
            Ok(Outcome::Read { result }) => Ok(result),
            Ok(outcome) => Err(unexpected(&outcome)),
            Err(_) => Err(ClientError::NotDone { reason: STOPPED.into() }),
        }
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Report, ClientError> {
        let (answer, report) = oneshot::channel();
        let deadline = Instant::now() + self.deadline;
        self.hand_over(Request::Ask { ask, answer }, deadline).await?;
        match timeout_at(deadline, report).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => Err(ClientError::Connection { reason: STOPPED.into() }),
            Err(_) => Err(ClientError::Connection {
                reason: format!("the node did not answer within {} ms", self.deadline.as_millis()),
            }),
        }
    }

    /// Gives the driver a request; waits if its queue is full.
    async fn hand_over(&self, request: Request, deadline: Instant) -> Result<(), ClientError> {
        match timeout_at(deadline, self.requests.send(request)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ClientError::NotDone { reason: STOPPED.into() }),
            Err(_) => Err(ClientError::NotDone { reason: "this client's own queue stayed full".into() }),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("nodes", &self.nodes.by_name()).field("deadline", &self.deadline).finish()
    }
}

fn status_of(report: Report) -> Result<Status, ClientError> {
    match report {
        Report::Status(status) => Ok(*status),
        _ => Err(nonsense()),
    }
}

fn unexpected(outcome: &Outcome) -> ClientError {
    ClientError::from_outcome(outcome).unwrap_or_else(nonsense)
}

pub(super) fn nonsense() -> ClientError {
    ClientError::Connection { reason: "the node answered another question; it may run another version".into() }
}

/// How long `inspect_all` waits for the connected node to name the others.
const INTRODUCTION: Duration = Duration::from_millis(500);

const STOPPED: &str = "the client's driver has stopped";
