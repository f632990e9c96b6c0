//! The task that owns a client's socket and its session.
//!
//! It takes requests in lots (the whole queue at a time), asks the session what to do, and writes what that comes to
//! with one flush. It holds one connection. When that breaks, or the session asks to leave the node, it dials the other
//! known addresses, each a moment after the one before, until one answers, round and round; the old connection, if there
//! is one, serves until a new one is up. Without requests it does not reconnect. It ends when the last handle is dropped.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

use super::error::ClientError;
use super::nodes::Nodes;
use super::outcome::Outcome;
use super::session::{NodeIndex, Output, RequestKey, SLOW_TICK_MS, Session, TICK_MS};
use super::transport::{Connection, DIAL_TIME, DialError, Transport, first_of};
use crate::client::session::Task;
use crate::net::report::{Inspection, Report};
use crate::net::wire::{ClientFrame, NodeFrame};
use crate::paxos::{Bytes, Slot, SnapshotId, Token};

/// What a handle asks of the driver.
pub(super) enum Request {
    Submit { task: Task, deadline: Instant, answer: oneshot::Sender<Outcome> },
    Read { question: Bytes, local: bool, deadline: Instant, answer: oneshot::Sender<Outcome> },
    Ask { ask: Ask, answer: oneshot::Sender<Result<Report, ClientError>> },
}

/// A question to the connected node itself.
pub(super) enum Ask {
    Inspect(Inspection),
    Connect { name: String, address: String },
    Meet { address: String },
    Lead { name: String },
    Backup { from: Option<Slot> },
    BackupPart { upto: Slot, snapshot: SnapshotId, offset: u64 },
}

/// Connects, then leaves the driver to itself.
pub(super) async fn start(
    transport: Arc<dyn Transport>,
    nodes: Arc<Nodes>,
    deadline: Instant,
) -> Result<mpsc::Sender<Request>, ClientError> {
    let (node, connection) = first_connection(&*transport, &nodes, deadline).await?;
    let mut driver = Driver {
        transport,
        nodes,
        session: Session::new(Token(rand::random()), rand::random()),
        epoch: Instant::now(),
        link: None,
        last_node: node,
        dials: None,
        dial_again: None,
        callers: HashMap::new(),
        asks: BTreeMap::new(),
        next_ask: INTRODUCTION + 1,
    };
    driver.connected(node, connection);
    let (requests, inbox) = mpsc::channel(QUEUE);
    tokio::spawn(driver.run(inbox));
    Ok(requests)
}

async fn first_connection(
    transport: &dyn Transport,
    nodes: &Nodes,
    deadline: Instant,
) -> Result<(NodeIndex, Connection), ClientError> {
    loop {
        let all = (0..nodes.len()).map(NodeIndex);
        let errors = match first_of(all.map(|node| dial(transport, nodes, node, deadline)).collect()).await {
            Ok(connected) => return Ok(connected),
            Err(errors) => errors,
        };
        let again = Instant::now() + REST;
        if again >= deadline || errors.iter().all(|error| !error.passing) {
            let reasons: Vec<String> = errors.into_iter().map(|error| error.reason).collect();
            return Err(ClientError::Connection { reason: reasons.join("; ") });
        }
        sleep_until(again).await;
    }
}

/// Dials a node, until the deadline at most. An error names the address.
async fn dial(
    transport: &dyn Transport,
    nodes: &Nodes,
    node: NodeIndex,
    deadline: Instant,
) -> Result<(NodeIndex, Connection), DialError> {
    let address = nodes.address(node);
    let until = deadline.min(Instant::now() + DIAL_TIME);
    match timeout_at(until, transport.dial(address.clone())).await {
        Ok(Ok(connection)) => Ok((node, connection)),
        Ok(Err(error)) => Err(DialError { reason: format!("{address}: {}", error.reason), ..error }),
        Err(_) => Err(DialError { reason: format!("{address}: no answer"), passing: true }),
    }
}

struct Driver {
    transport: Arc<dyn Transport>,
    nodes: Arc<Nodes>,
    session: Session,
    epoch: Instant,
    link: Option<Link>,
    /// Connected to last.
    last_node: NodeIndex,
    dials: Option<Dials>,
    /// When to begin another round of dials after one in which no node answered.
    dial_again: Option<Instant>,
    callers: HashMap<RequestKey, oneshot::Sender<Outcome>>,
    asks: BTreeMap<u64, PendingAsk>,
    next_ask: u64,
}

/// The connection in use.
struct Link {
    node: NodeIndex,
    connection: Connection,
    outbox: VecDeque<ClientFrame>,
    unflushed: bool,
    heard: Instant,
}

/// A round of dials under way.
type Dials = Pin<Box<dyn Future<Output = Result<(NodeIndex, Connection), Vec<DialError>>> + Send>>;

struct PendingAsk {
    /// Until it has been sent.
    frame: Option<ClientFrame>,
    answer: oneshot::Sender<Result<Report, ClientError>>,
}

enum Turn {
    Requests(usize),
    Frame(io::Result<NodeFrame>),
    Dialled(Result<(NodeIndex, Connection), Vec<DialError>>),
    Tick,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut ticks = interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut slow_ticks = interval(Duration::from_millis(SLOW_TICK_MS));
        slow_ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut lot = Vec::with_capacity(QUEUE);
        loop {
            // One time for both: what is not due by it must hurry us.
            let now_ms = self.now_ms();
            self.perform(now_ms);
            self.dial_if_needed();
            let has_work = self.has_work();
            let hurried = self.link.is_none() || self.session.is_hurried(now_ms);
            let turn = tokio::select! {
                count = inbox.recv_many(&mut lot, QUEUE) => Turn::Requests(count),
                frame = next_frame(&mut self.link) => Turn::Frame(frame),
                dialled = next_dialled(&mut self.dials) => Turn::Dialled(dialled),
                _ = ticks.tick(), if has_work && hurried => Turn::Tick,
                _ = slow_ticks.tick(), if has_work && !hurried => Turn::Tick,
            };
            match turn {
                Turn::Requests(0) => return,
                Turn::Requests(_) => lot.drain(..).for_each(|request| self.take(request)),
                Turn::Frame(Ok(frame)) => self.on_frame(frame),
                Turn::Frame(Err(_)) => self.disconnected(),
                Turn::Dialled(dialled) => self.on_dialled(dialled),
                Turn::Tick => {
                    self.session.on_tick(self.now_ms());
                    self.asks.retain(|_, ask| !ask.answer.is_closed());
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Submit { task, deadline, answer } => {
                let key = self.session.submit_task(task, self.ms(deadline));
                self.callers.insert(key, answer);
            }
            Request::Read { question, local, deadline, answer } => {
                let key = self.session.read(question, local, self.ms(deadline));
                self.callers.insert(key, answer);
            }
            // Only the connection that it was offered on has it, and that is gone.
            Request::Ask { ask: Ask::BackupPart { .. }, answer } if self.link.is_none() => {
                let reason = "the connection was lost".into();
                let _ = answer.send(Err(ClientError::Connection { reason }));
            }
            Request::Ask { ask, answer } => {
                let id = self.next_ask;
                self.next_ask += 1;
                let frame = match ask {
                    Ask::Inspect(inspection) => ClientFrame::Inspect { id, inspection },
                    Ask::Connect { name, address } => ClientFrame::Connect { id, name, address },
                    Ask::Meet { address } => ClientFrame::Meet { id, address },
                    Ask::Lead { name } => ClientFrame::Lead { id, name },
                    Ask::Backup { from } => ClientFrame::Backup { id, from },
                    Ask::BackupPart { upto, snapshot, offset } => {
                        ClientFrame::BackupPart { id, upto, snapshot, offset }
                    }
                };
                self.asks.insert(id, PendingAsk { frame: Some(frame), answer });
                self.send_asks();
            }
        }
    }

    /// Does what the session wants done.
    fn perform(&mut self, now_ms: u64) {
        for output in self.session.drain(now_ms) {
            match output {
                Output::Send { node, frame } => {
                    if let Some(link) = self.link.as_mut().filter(|link| link.node == node) {
                        link.outbox.push_back(frame);
                    }
                }
                Output::Finished { key, outcome } => {
                    if let Some(caller) = self.callers.remove(&key) {
                        // A caller that no longer waits has dropped its call, and with it its interest.
                        let _ = caller.send(outcome);
                    }
                }
                Output::Leave { node } => self.leave(node),
            }
        }
    }

    fn on_frame(&mut self, frame: NodeFrame) {
        let Some(link) = &mut self.link else { return };
        link.heard = Instant::now();
        let node = link.node;
        match frame {
            NodeFrame::Replies(replies) => self.session.on_replies(node, replies, self.now_ms()),
            NodeFrame::Report { id, report } => {
                if let Ok(Report::Status(status)) = &report {
                    self.nodes.learn(node, status);
                }
                if let Some(ask) = self.asks.remove(&id) {
                    let _ = ask.answer.send(report.map_err(|reason| ClientError::Refused { reason }));
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.session.is_idle() || !self.asks.is_empty()
    }

    fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }

    fn ms(&self, instant: Instant) -> u64 {
        let elapsed = instant.saturating_duration_since(self.epoch);
        u64::try_from(elapsed.as_millis()).expect("a process does not run for half a billion years")
    }
}

/// Connections come and go.
impl Driver {
    fn connected(&mut self, node: NodeIndex, connection: Connection) {
        self.disconnected();
        let id = INTRODUCTION;
        let introduction = ClientFrame::Inspect { id, inspection: Inspection::Status };
        let outbox = VecDeque::from([introduction]);
        self.link = Some(Link { node, connection, outbox, unflushed: true, heard: Instant::now() });
        self.last_node = node;
        self.dial_again = None;
        self.session.on_connected(node, self.now_ms());
        self.send_asks();
    }

    fn disconnected(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.session.on_disconnected(link.node);
        // The question was for that node.
        let sent: Vec<u64> = self.asks.iter().filter(|(_, ask)| ask.frame.is_none()).map(|(id, _)| *id).collect();
        for ask in sent.into_iter().filter_map(|id| self.asks.remove(&id)) {
            let reason = format!("{} closed the connection before it answered", self.nodes.address(link.node));
            let _ = ask.answer.send(Err(ClientError::Connection { reason }));
        }
    }

    fn send_asks(&mut self) {
        if let Some(link) = &mut self.link {
            link.outbox.extend(self.asks.values_mut().filter_map(|ask| ask.frame.take()));
        }
    }

    /// The node is of no use just now. To dial it again helps only if the connection is dead without saying so.
    fn leave(&mut self, node: NodeIndex) {
        let Some(link) = self.link.as_ref().filter(|link| link.node == node) else { return };
        let silent = link.heard.elapsed() >= SILENCE;
        let left = if silent { self.nodes.len() } else { self.nodes.len() - 1 };
        if self.dials.is_none() && left > 0 {
            self.dial(left);
        }
    }

    fn dial_if_needed(&mut self) {
        let rested = self.dial_again.is_none_or(|instant| instant <= Instant::now());
        if self.link.is_none() && self.dials.is_none() && rested && self.has_work() {
            self.dial(self.nodes.len());
        }
    }

    /// Dials so many nodes, from the one behind the last on.
    fn dial(&mut self, count: usize) {
        let (transport, nodes, last) = (self.transport.clone(), self.nodes.clone(), self.last_node.0);
        self.dials = Some(Box::pin(async move {
            let round = (1..=count).map(|step| NodeIndex((last + step) % nodes.len()));
            let deadline = Instant::now() + ROUND_TIME;
            first_of(round.map(|node| dial(&*transport, &nodes, node, deadline)).collect()).await
        }));
    }

    fn on_dialled(&mut self, dialled: Result<(NodeIndex, Connection), Vec<DialError>>) {
        self.dials = None;
        match dialled {
            Ok((node, connection)) => self.connected(node, connection),
            Err(_) => self.dial_again = Some(Instant::now() + REST),
        }
    }
}

/// The next frame from the node; meanwhile writes what there is to write. Loses nothing if it is dropped.
async fn next_frame(link: &mut Option<Link>) -> io::Result<NodeFrame> {
    match link {
        Some(link) => poll_fn(|context| link.poll(context)).await,
        None => std::future::pending().await,
    }
}

impl Link {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<NodeFrame>> {
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(Err(error));
        }
        let frame = ready!(self.connection.as_mut().poll_next(context));
        Poll::Ready(frame.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            ready!(self.connection.as_mut().poll_ready(context))?;
            let frame = self.outbox.pop_front().expect("it is not empty");
            self.connection.as_mut().start_send(frame)?;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(self.connection.as_mut().poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

async fn next_dialled(dials: &mut Option<Dials>) -> Result<(NodeIndex, Connection), Vec<DialError>> {
    match dials {
        Some(dials) => poll_fn(|context| dials.as_mut().poll(context)).await,
        None => std::future::pending().await,
    }
}

/// How many requests wait for the driver at most; their callers wait then.
const QUEUE: usize = 1024;
/// The number of the question that each connection begins with: who are you, and whom do you know?
const INTRODUCTION: u64 = 0;
/// Between two rounds of dials that nobody answered.
const REST: Duration = Duration::from_millis(100);
/// No round of dials takes longer, however many nodes there are.
const ROUND_TIME: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
