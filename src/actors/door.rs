//! One client's connection: frames in, sorted into lots for the roles; replies out, many in one write.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::doors::{Doors, Outbox};
use super::guard::Guard;
use super::host::{Dial, Host};
use super::inspect::inspect;
use super::role::Lot;
use super::stage::{About, Stage, Staged};
use crate::net::codec::append;
use crate::net::link::Connection;
use crate::net::report::Report;
use crate::net::wire::{ClientFrame, NodeFrame};
use crate::paxos::{ClientId, Command, ExecutorMessage, NodeId, ProposerMessage, Refusal, Reply, SessionId, Token};

/// What a client's connection needs of its node. Cheap to clone.
#[derive(Clone)]
pub struct Lobby {
    /// How far the node has come.
    pub stage: Stage,
    /// Who it is.
    pub about: Rc<About>,
    /// All clients.
    pub doors: Doors,
    /// Who dials.
    pub host: Addr<Host>,
    /// Stops the node if a task panics.
    pub guard: Guard,
}

/// Serves a client until either side hangs up.
pub async fn serve(connection: Connection, lobby: Lobby) {
    let (frames, writing) = connection.split::<ClientFrame>();
    let (client, outbox) = lobby.doors.open();
    let cut = outbox.cut();
    let mut door = Door::new(client, lobby.clone());
    let read = async {
        let mut lots = frames.ready_chunks(MOST_FRAMES);
        while let Some(lot) = lots.next().await {
            for frame in lot {
                match frame {
                    Ok(frame) => door.gather(frame),
                    Err(error) => return log::debug!("client {} is cut off: {error}", client.0),
                }
            }
            door.flush();
            if door.attached.len() > MOST_SESSIONS {
                return log::warn!("client {} is cut off: it holds more than {MOST_SESSIONS} sessions", client.0);
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write_all(writing, outbox) => {}
        () = cut.notified() => {}
    }
    lobby.doors.close(client);
    if let Staged::Serving(serving) = &*lobby.stage.borrow() {
        serving.mailboxes.executor.do_send(Lot(vec![(serving.own, ExecutorMessage::Detach { client })]));
    }
}

struct Door {
    client: ClientId,
    lobby: Lobby,
    /// What the client attached to before there was an executor.
    early: Vec<ExecutorMessage>,
    /// Gathered in this lot.
    executor: Vec<ExecutorMessage>,
    commands: Vec<Command>,
    /// What the client attached to: the node remembers each until the connection ends.
    attached: BTreeSet<Attached>,
    /// Questions that are being answered.
    questions: Rc<Cell<usize>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Attached {
    Session(SessionId),
    Token(Token),
}

impl Door {
    fn new(client: ClientId, lobby: Lobby) -> Door {
        let (executor, commands) = (Vec::new(), Vec::new());
        Door {
            client,
            lobby,
            early: Vec::new(),
            executor,
            commands,
            attached: BTreeSet::new(),
            questions: Rc::default(),
        }
    }

    /// Answers a question beside the lots; too many at once are refused.
    fn answer(&self, id: u64, answer: impl Future<Output = Result<Report, String>> + 'static) {
        let (doors, client, questions) = (self.lobby.doors.clone(), self.client, self.questions.clone());
        if questions.get() >= MOST_QUESTIONS {
            let report = Err(format!("more than {MOST_QUESTIONS} questions at once: wait for an answer"));
            return doors.send(client, NodeFrame::Report { id, report });
        }
        questions.set(questions.get() + 1);
        self.lobby.guard.spawn("an answer to a client", async move {
            let report = answer.await;
            questions.set(questions.get() - 1);
            doors.send(client, NodeFrame::Report { id, report });
        });
    }

    fn gather(&mut self, frame: ClientFrame) {
        let client = self.client;
        match frame {
            ClientFrame::Attach(session) => {
                self.attached.insert(Attached::Session(session));
                self.executor.push(ExecutorMessage::Attach { session, client });
            }
            ClientFrame::AttachToken(token) => {
                self.attached.insert(Attached::Token(token));
                self.executor.push(ExecutorMessage::AttachToken { token, client });
            }
            ClientFrame::Commands(commands) => self.commands.extend(commands),
            ClientFrame::Reads { queries, local } => {
                self.executor.push(ExecutorMessage::Read { client, queries, local });
            }
            ClientFrame::Inspect { id, inspection } => {
                let Lobby { stage, about, .. } = self.lobby.clone();
                self.answer(id, async move { inspect(inspection, &stage, &about).await });
            }
            ClientFrame::Connect { id, name, address } => {
                let host = self.lobby.host.clone();
                self.answer(id, async move {
                    let dialled = host.send(Dial { name, address }).await;
                    dialled.unwrap_or_else(|_| Err("the node is stopping".into())).map(Report::Connected)
                });
            }
        }
    }

    /// Hands the lot to the roles. The executor hears who is attached before the proposer sees a command.
    fn flush(&mut self) {
        let executor = std::mem::take(&mut self.executor);
        let commands = std::mem::take(&mut self.commands);
        let stage = self.lobby.stage.borrow();
        let Staged::Serving(serving) = &*stage else {
            drop(stage);
            return self.turn_away(executor, &commands);
        };
        let own = serving.own;
        let from_here = |message| (own, message);
        let early = std::mem::take(&mut self.early);
        let executor: Vec<ExecutorMessage> = early.into_iter().chain(executor).collect();
        if !executor.is_empty() {
            serving.mailboxes.executor.do_send(Lot(executor.into_iter().map(from_here).collect()));
        }
        if !commands.is_empty() {
            let submit: (NodeId, ProposerMessage) = (own, ProposerMessage::Submit { commands });
            serving.mailboxes.proposer.do_send(Lot(vec![submit]));
        }
    }

    /// Before the founding, or with a broken journal, nothing is taken.
    fn turn_away(&mut self, executor: Vec<ExecutorMessage>, commands: &[Command]) {
        let reason = Refusal::NotAdmitted;
        let refused = commands.iter().map(|command| Reply::Refused { command: command.name(), reason: reason.clone() });
        let mut replies: Vec<Reply> = refused.collect();
        for message in executor {
            match message {
                ExecutorMessage::Read { queries, .. } => {
                    let refused = |(id, _)| Reply::ReadRefused { id, reason: reason.clone() };
                    replies.extend(queries.into_iter().map(refused));
                }
                // The client does not say it again: it holds from the moment there is an executor.
                attached => self.early.push(attached),
            }
        }
        if !replies.is_empty() {
            self.lobby.doors.reply(self.client, replies);
        }
    }
}

async fn write_all(mut writing: tokio::net::tcp::OwnedWriteHalf, mut outbox: Outbox) {
    let mut frames = Vec::new();
    let mut bytes = Vec::new();
    while outbox.take(&mut frames).await > 0 {
        for frame in frames.drain(..) {
            encode(&mut bytes, frame);
            if bytes.len() >= WRITE_BYTES && !write(&mut writing, &mut bytes).await {
                return;
            }
        }
        if !write(&mut writing, &mut bytes).await {
            return;
        }
    }
}

/// Nothing is lost in silence: a report that no frame can hold is answered by a sentence. Replies were measured before.
fn encode(bytes: &mut Vec<u8>, frame: NodeFrame) {
    let Err(error) = append(bytes, &frame) else { return };
    log::warn!("an answer to a client is too large to be sent: {error}");
    if let NodeFrame::Report { id, .. } = frame {
        let report = Err("the answer is too large for one frame: ask for fewer slots".to_owned());
        append(bytes, &NodeFrame::Report { id, report }).expect("a sentence fits in a frame");
    }
}

/// Whether the client took the bytes.
async fn write(writing: &mut tokio::net::tcp::OwnedWriteHalf, bytes: &mut Vec<u8>) -> bool {
    let written = tokio::time::timeout(PATIENCE, writing.write_all(bytes)).await;
    bytes.clear();
    bytes.shrink_to(WRITE_BYTES);
    matches!(written, Ok(Ok(())))
}

/// How many frames make one lot at most.
const MOST_FRAMES: usize = 256;
/// So much is gathered for one write.
const WRITE_BYTES: usize = 1 << 20;
/// How long a client may take for one write.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many sessions one connection may hold.
const MOST_SESSIONS: usize = 1024;
/// How many questions of one connection are answered at once.
const MOST_QUESTIONS: usize = 64;
