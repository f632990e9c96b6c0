//! One client's connection: frames in, sorted into lots for the roles; replies out, many in one write.
//!
//! A role's mailbox has no bound of its own, so a door has at most one lot there: it reads on once the roles have handled
//! that. A client that sends faster is slowed down by its socket; what the roles hold for it has bounds of theirs, and
//! beyond them answers Busy.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::backup::{BackupDesk, Backups};
use super::doors::{Doors, Outbox};
use super::guard::Guard;
use super::host::{Dial, Host, Meet};
use super::inspect::inspect;
use super::proposer::HandOver;
use super::role::Lot;
use super::stage::{About, Stage, Staged};
use crate::net::codec::append;
use crate::net::link::Connection;
use crate::net::report::Report;
use crate::net::wire::{ClientFrame, NodeFrame};
use crate::paxos::extension::NotHandedOver;
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
    /// What clients copy of its snapshots.
    pub backups: Backups,
    /// Stops the node if a task panics.
    pub guard: Guard,
}

/// Serves a client until either side hangs up.
pub async fn serve(connection: Connection, lobby: Lobby) {
    let (mut frames, writing) = connection.split::<ClientFrame>();
    let (client, outbox) = lobby.doors.open();
    let cut = outbox.cut();
    let mut door = Door::new(client, lobby.clone());
    let read = async {
        while let Some(lot) = next_lot(&mut frames).await {
            for frame in lot {
                match frame {
                    Ok(frame) => door.gather(frame),
                    Err(error) => return log::debug!("client {} is cut off: {error}", client.0),
                }
            }
            door.flush().await;
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
    /// Gathered in this lot.
    executor: Vec<ExecutorMessage>,
    commands: Vec<Command>,
    /// What the client attached to: the node remembers each until the connection ends.
    attached: BTreeSet<Attached>,
    /// The executor knows of it: there was none before the founding.
    introduced: bool,
    /// Questions that are being answered.
    questions: Rc<Cell<usize>>,
    /// What the client backs up.
    backup: Rc<BackupDesk>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Attached {
    Session(SessionId),
    Token(Token),
}

impl Attached {
    fn by(self, client: ClientId) -> ExecutorMessage {
        match self {
            Attached::Session(session) => ExecutorMessage::Attach { session, client },
            Attached::Token(token) => ExecutorMessage::AttachToken { token, client },
        }
    }
}

impl Door {
    fn new(client: ClientId, lobby: Lobby) -> Door {
        let (executor, commands) = (Vec::new(), Vec::new());
        let backup = Rc::new(BackupDesk::new(client, &lobby.backups));
        Door {
            client,
            lobby,
            executor,
            commands,
            attached: BTreeSet::new(),
            introduced: false,
            questions: Rc::default(),
            backup,
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
            ClientFrame::Attach(session) => self.attach(Attached::Session(session)),
            ClientFrame::AttachToken(token) => self.attach(Attached::Token(token)),
            // What has no name has no client: marks, reports and promotions are the nodes' own.
            ClientFrame::Commands(commands) => {
                self.commands.extend(commands.into_iter().filter(|command| command.name().is_some()));
            }
            ClientFrame::Reads { queries, local } => {
                self.executor.push(ExecutorMessage::Read { client, queries, local });
            }
            ClientFrame::Inspect { id, inspection } => {
                let Lobby { stage, about, .. } = self.lobby.clone();
                self.answer(id, async move { inspect(inspection, &stage, &about).await });
            }
            ClientFrame::Meet { id, address } => {
                let host = self.lobby.host.clone();
                self.answer(id, async move {
                    host.send(Meet { address }).await.unwrap_or_else(|_| Err("the node is stopping".into()))
                });
            }
            ClientFrame::Lead { id, name } => {
                let stage = self.lobby.stage.clone();
                self.answer(id, async move { lead(&stage, name).await });
            }
            ClientFrame::Backup { id, from } => {
                let (stage, desk) = (self.lobby.stage.clone(), self.backup.clone());
                self.answer(id, async move { desk.offer(&stage, from).await });
            }
            ClientFrame::BackupPart { id, upto, snapshot, offset } => {
                let desk = self.backup.clone();
                self.answer(id, async move { desk.part(upto, snapshot, offset).await });
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

    fn attach(&mut self, to: Attached) {
        self.attached.insert(to);
        self.executor.push(to.by(self.client));
    }

    /// Hands the lot to the roles, and waits until they have handled it. The executor hears who is attached before the
    /// proposer sees a command.
    async fn flush(&mut self) {
        let mut executor = std::mem::take(&mut self.executor);
        let commands = std::mem::take(&mut self.commands);
        let serving = match &*self.lobby.stage.borrow() {
            Staged::Serving(serving) => Some((serving.own, serving.mailboxes.clone())),
            _ => None,
        };
        let Some((own, mailboxes)) = serving else { return self.turn_away(executor, &commands) };
        if !std::mem::replace(&mut self.introduced, true) {
            let attached = self.attached.iter().map(|attached| attached.by(self.client));
            executor = attached.chain(executor).collect();
        }
        // A role is gone only when the node is stopping, and this door with it.
        if !executor.is_empty() {
            let lot = executor.into_iter().map(|message| (own, message)).collect();
            let _ = mailboxes.executor.send(Lot(lot)).await;
        }
        if !commands.is_empty() {
            let submit: (NodeId, ProposerMessage) = (own, ProposerMessage::Submit { commands });
            let _ = mailboxes.proposer.send(Lot(vec![submit])).await;
        }
    }

    /// Before the founding, or with a broken journal, nothing is taken.
    fn turn_away(&mut self, executor: Vec<ExecutorMessage>, commands: &[Command]) {
        let reason = Refusal::NotAdmitted;
        let named = commands.iter().filter_map(Command::name);
        let refused = named.map(|command| Reply::Refused { command, reason: reason.clone(), forwarded: false });
        let mut replies: Vec<Reply> = refused.collect();
        for message in executor {
            // What the client attached to holds from the moment there is an executor: it does not say it again.
            if let ExecutorMessage::Read { queries, .. } = message {
                let refused = |(id, _)| Reply::ReadRefused { id, reason: reason.clone() };
                replies.extend(queries.into_iter().map(refused));
            }
        }
        if !replies.is_empty() {
            self.lobby.doors.reply(self.client, replies);
        }
    }
}

/// Has the member of this name take over from this node, which leads.
async fn lead(stage: &Stage, name: String) -> Result<Report, String> {
    let serving = match &*stage.borrow() {
        Staged::Serving(serving) => serving.clone(),
        _ => return Err("this node does not serve".into()),
    };
    let member = serving.events.membership().named(&name).map(|member| member.id);
    let member = member.ok_or_else(|| format!("no member goes by the name `{name}`: `member list` shows them"))?;
    let end = Instant::now() + CAUGHT_UP_WITHIN;
    let handed = loop {
        let handed = serving.proposer.send(HandOver(member)).await.map_err(|_| "the node is stopping")?;
        // Behind a change of members everybody lags for a moment.
        if !matches!(handed, Err(NotHandedOver::Behind { .. })) || Instant::now() >= end {
            break handed;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    handed.map_err(|why| format!("{name} does not take over: {why}"))?;
    Ok(Report::HandedOver(name))
}

/// Waits for a frame, and takes those along that have come with it, up to a limit; none when the client has hung up.
async fn next_lot<E>(
    frames: &mut (impl Stream<Item = Result<ClientFrame, E>> + Unpin),
) -> Option<Vec<Result<ClientFrame, E>>> {
    let (mut lot, mut bytes) = (Vec::new(), 0);
    let mut next = Some(frames.next().await?);
    while let Some(frame) = next {
        bytes += frame.as_ref().map_or(0, weight);
        lot.push(frame);
        let full = lot.len() >= MOST_FRAMES || bytes >= LOT_BYTES;
        next = if full { None } else { frames.next().now_or_never().flatten() };
    }
    Some(lot)
}

/// About how many bytes a frame holds, not counting what is small in any case.
fn weight(frame: &ClientFrame) -> usize {
    match frame {
        ClientFrame::Commands(commands) => commands.iter().map(Command::encoded_len).sum(),
        ClientFrame::Reads { queries, .. } => queries.iter().map(|(_, question)| question.len()).sum(),
        _ => 0,
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
    // Mostly there is room for all of it: then no timer is needed.
    let at_once = writing.try_write(bytes).unwrap_or(0);
    let rest = &bytes[at_once..];
    let written =
        rest.is_empty() || matches!(tokio::time::timeout(PATIENCE, writing.write_all(rest)).await, Ok(Ok(())));
    bytes.clear();
    bytes.shrink_to(WRITE_BYTES);
    written
}

/// How long a member that is to lead may take to catch up.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many frames make one lot at most.
const MOST_FRAMES: usize = 256;
/// A lot takes no further frame once it holds so much.
const LOT_BYTES: usize = 1 << 20;
/// So much is gathered for one write.
const WRITE_BYTES: usize = 1 << 20;
/// How long a client may take for one write.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many sessions one connection may hold.
const MOST_SESSIONS: usize = 1024;
/// How many questions of one connection are answered at once.
const MOST_QUESTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn frame(bytes: usize) -> Result<ClientFrame, ()> {
        Ok(ClientFrame::Reads { queries: vec![(1, vec![7; bytes].into())], local: false })
    }

    #[actix::test]
    async fn a_lot_ends_before_it_grows_large() {
        let large = LOT_BYTES / 2;
        let mut frames = stream::iter((0..5).map(|_| frame(large)));
        for count in [2, 2, 1] {
            assert_eq!(next_lot(&mut frames).await.expect("there are more").len(), count);
        }
        assert!(next_lot(&mut frames).await.is_none());
        let mut frames = stream::iter((0..MOST_FRAMES + 1).map(|_| frame(1)));
        for count in [MOST_FRAMES, 1] {
            assert_eq!(next_lot(&mut frames).await.expect("there are more").len(), count);
        }
        let mut frames = stream::iter([frame(1)]).chain(stream::pending());
        assert_eq!(next_lot(&mut frames).await.expect("it waits for nothing").len(), 1);
    }
}
