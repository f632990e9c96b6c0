//! One client's connection: frames in, sorted into lots for the roles; replies out, many in one write.

use std::rc::Rc;

use actix::Addr;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::doors::{Doors, Outbox};
use super::host::{Dial, Host};
use super::inspect::inspect;
use super::role::Lot;
use super::stage::{About, Stage, Staged};
use crate::net::codec::append;
use crate::net::link::Connection;
use crate::net::report::Report;
use crate::net::wire::{ClientFrame, NodeFrame};
use crate::paxos::{ClientId, Command, ExecutorMessage, NodeId, ProposerMessage, Refusal, Reply};

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
}

/// Serves a client until either side hangs up.
pub async fn serve(connection: Connection, lobby: Lobby) {
    let (frames, writing) = connection.split::<ClientFrame>();
    let (client, outbox) = lobby.doors.open();
    let mut door = Door { client, lobby: lobby.clone(), executor: Vec::new(), commands: Vec::new() };
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
        }
    };
    tokio::select! {
        () = read => {}
        () = write_all(writing, outbox) => {}
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
}

impl Door {
    fn gather(&mut self, frame: ClientFrame) {
        let client = self.client;
        match frame {
            ClientFrame::Attach(session) => self.executor.push(ExecutorMessage::Attach { session, client }),
            ClientFrame::AttachToken(token) => self.executor.push(ExecutorMessage::AttachToken { token, client }),
            ClientFrame::Commands(commands) => self.commands.extend(commands),
            ClientFrame::Reads { queries, local } => {
                self.executor.push(ExecutorMessage::Read { client, queries, local });
            }
            ClientFrame::Inspect { id, inspection } => {
                let Lobby { stage, about, doors, .. } = self.lobby.clone();
                actix::spawn(async move {
                    let report = inspect(inspection, &stage, &about).await;
                    doors.send(client, NodeFrame::Report { id, report });
                });
            }
            ClientFrame::Connect { id, name, address } => {
                let Lobby { doors, host, .. } = self.lobby.clone();
                actix::spawn(async move {
                    let dialled = host.send(Dial { name, address }).await;
                    let report = dialled.unwrap_or_else(|_| Err("the node is stopping".into()));
                    doors.send(client, NodeFrame::Report { id, report: report.map(Report::Connected) });
                });
            }
        }
    }

    /// Hands the lot to the roles. The executor hears who is attached before the proposer sees a command.
    fn flush(&mut self) {
        let executor = std::mem::take(&mut self.executor);
        let commands = std::mem::take(&mut self.commands);
        let stage = self.lobby.stage.borrow();
        let Staged::Serving(serving) = &*stage else { return self.turn_away(executor, &commands) };
        let own = serving.own;
        let from_here = |message| (own, message);
        if !executor.is_empty() {
            serving.mailboxes.executor.do_send(Lot(executor.into_iter().map(from_here).collect()));
        }
        if !commands.is_empty() {
            let submit: (NodeId, ProposerMessage) = (own, ProposerMessage::Submit { commands });
            serving.mailboxes.proposer.do_send(Lot(vec![submit]));
        }
    }

    /// Before the founding, or with a broken journal, nothing is taken.
    fn turn_away(&self, executor: Vec<ExecutorMessage>, commands: &[Command]) {
        let reason = Refusal::NotAdmitted;
        let refused = commands.iter().map(|command| Reply::Refused { command: command.name(), reason: reason.clone() });
        let mut replies: Vec<Reply> = refused.collect();
        for message in executor {
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

async fn write_all(mut writing: tokio::net::tcp::OwnedWriteHalf, mut outbox: Outbox) {
    let mut frames = Vec::new();
    let mut bytes = Vec::new();
    while outbox.take(&mut frames).await > 0 {
        for frame in frames.drain(..) {
            if let Err(error) = append(&mut bytes, &frame) {
                log::warn!("a reply is too large to be sent: {error}");
            }
        }
        if writing.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
    }
}

/// How many frames make one lot at most.
const MOST_FRAMES: usize = 256;
