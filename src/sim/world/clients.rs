//! Clients ask, and are answered.

use super::{Happening, World};
use crate::client::outcome::{Doubt, Outcome};
use crate::client::session::{NodeIndex, Output, RequestKey, SLOW_TICK_MS, TICK_MS};
use crate::net::wire::ClientFrame;
use crate::paxos::{ClientId, Command, ExecutorMessage, Message, ProposerMessage, Reply};
use crate::sim::check::{Broken, Held};
use crate::sim::client::Connection;
use crate::sim::history::{Call, Fate, Operation};
use crate::sim::node::{Letter, Role, detach};
use crate::sim::trace::Lanes;
use crate::sim::words;

impl World {
    /// The client looks around at that time, at the latest.
    pub(in crate::sim) fn wake(&mut self, client: usize, at_us: u64) {
        let wakes_us = &mut self.clients[client].wakes_us;
        if wakes_us.is_none_or(|planned| planned > at_us) {
            *wakes_us = Some(at_us);
            self.queue.plan(at_us, Happening::Wakes { client });
        }
    }

    pub(super) fn wakes(&mut self, index: usize) -> Held {
        if self.clients[index].wakes_us != Some(self.now_us) {
            return Ok(());
        }
        self.clients[index].wakes_us = None;
        if self.clients[index].connection.is_none() {
            self.connect(index, None);
        }
        self.clients[index].session.on_tick(self.now_us / 1000);
        if self.busy && self.now_us >= self.clients[index].thinks_until_us {
            self.begin(index);
        }
        self.drain(index)?;
        let client = &self.clients[index];
        let thinks_until_us = if self.busy { client.thinks_until_us.max(self.now_us + 1) } else { u64::MAX };
        let reconnects_us = if client.connection.is_none() { self.now_us + 20_000 } else { u64::MAX };
        let next_us = thinks_until_us.min(reconnects_us);
        if next_us < u64::MAX {
            self.wake(index, next_us);
        }
        Ok(())
    }

    /// The client has something to ask.
    fn begin(&mut self, index: usize) {
        let World { clients, plan, history, now_us, .. } = self;
        let client = &mut clients[index];
        client.thinks_until_us = *now_us + 100 + client.dice.below(plan.clients.think_us);
        if client.pending.len() >= plan.clients.in_flight as usize || history.len() >= plan.clients.operations as usize
        {
            return;
        }
        let (key, call) = client.next_call(&plan.clients);
        let deadline_ms = *now_us / 1000 + plan.clients.deadline_ms;
        self.ask(index, key, call, deadline_ms);
    }

    /// The client's session takes a call.
    pub(in crate::sim) fn ask(&mut self, index: usize, key: u32, call: Call, deadline_ms: u64) {
        let World { clients, history, checks, now_us, counts, .. } = self;
        let client = &mut clients[index];
        let operation = call.encode(key);
        if !call.is_read() {
            checks.proposed.on_operation(&operation);
            checks.exactly_once.on_sent(&call, &operation);
        }
        let request = client.begin(&call, operation, history.len(), deadline_ms);
        if call.is_read() {
            checks.fresh.on_read(index as u64, request.0);
        }
        counts.operations += 1;
        history.push(Operation {
            client: index as u32,
            key,
            call,
            invoked_us: *now_us,
            fate: Fate::Unknown,
            place: None,
        });
    }

    /// What the client's session wants done.
    fn drain(&mut self, index: usize) -> Held {
        let now_ms = self.now_us / 1000;
        for output in self.clients[index].session.drain(now_ms) {
            match output {
                Output::Send { frame, .. } => self.client_sends(index, frame),
                Output::Finished { key, outcome } => self.finished(index, key, &outcome)?,
                Output::Leave { node } => self.connect(index, Some(node.0)),
            }
        }
        let session = &self.clients[index].session;
        if !session.is_idle() {
            let tick_ms = if session.is_hurried(now_ms) { TICK_MS } else { SLOW_TICK_MS };
            self.wake(index, self.now_us + tick_ms * 1000);
        }
        Ok(())
    }

    fn finished(&mut self, index: usize, key: RequestKey, outcome: &Outcome) -> Held {
        let World { clients, history, checks, counts, now_us, trace, expired, .. } = self;
        let client = &mut clients[index];
        if let Some(change) = client.changes.remove(&key) {
            trace.note(*now_us, Lanes::Outside, (index, key, "changed"), || {
                format!("client {index}: {change:?} comes to {outcome:?}")
            });
            return client.on_changed(outcome).map_err(|error| Broken::new("members", error));
        }
        let Some((place, operation)) = client.pending.remove(&key) else {
            return Err(Broken::new("exactly_once", format!("client {index} hears twice of one request: {outcome:?}")));
        };
        trace.note(*now_us, Lanes::Outside, (index, key, "finished"), || {
            format!("client {index}: {}", words::outcome(&history[place], outcome))
        });
        let fate = client.fate(&history[place], outcome, *now_us);
        let fate = fate.map_err(|error| Broken::new("exactly_once", error))?;
        match (&fate, outcome) {
            (Fate::Done(..), Outcome::Done { place: stands, result, .. }) => {
                history[place].place = Some(*stands);
                checks.fresh.on_known(stands.slot);
                checks.exactly_once.on_done(operation, *stands, result.clone())?;
                counts.done += 1;
            }
            (Fate::Done(..), _) => counts.done += 1,
            (Fate::NotDone, _) => {
                if !history[place].call.is_read() {
                    checks.exactly_once.on_not_done(operation);
                }
                counts.not_done += 1;
            }
            (Fate::Unknown, Outcome::ResultDropped { place: stands }) => {
                checks.exactly_once.on_dropped(operation, *stands);
                counts.unknown += 1;
            }
            (Fate::Unknown, Outcome::Unknown { reason: Doubt::SessionExpired }) => {
                expired.insert(place);
                counts.unknown += 1;
            }
            (Fate::Unknown, _) => counts.unknown += 1,
        }
        history[place].fate = fate;
        Ok(())
    }

    /// The client turns to the node after that one, or to any.
    pub(in crate::sim) fn connect(&mut self, index: usize, after: Option<usize>) {
        if let Some(older) = self.clients[index].connection.take() {
            self.hang_up(older);
        }
        let nodes = self.nodes.len();
        let node = self.clients[index].next_node(after, nodes);
        if self.nodes[node].running().is_none() || !self.links.reaches(index, node) {
            let at_us = self.now_us + 5_000;
            return self.wake(index, at_us);
        }
        let number = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(number, index);
        let life = self.nodes[node].life;
        let connection = Connection { number, node, life, there_us: self.now_us, here_us: self.now_us };
        let client = &mut self.clients[index];
        client.connection = Some(connection);
        client.session.on_connected(NodeIndex(node), self.now_us / 1000);
        let at_us = self.now_us + 1;
        self.wake(index, at_us);
    }

    /// The node hears that a connection is gone.
    pub(in crate::sim) fn hang_up(&mut self, connection: Connection) {
        let client = self.connections.remove(&connection.number);
        let is_heard = client.is_none_or(|client| self.links.reaches(client, connection.node));
        if is_heard && self.alive(connection.node, connection.life).is_some() {
            let own = self.nodes[connection.node].id;
            let running = self.nodes[connection.node].running_mut().expect("alive");
            running.post(Role::Executor, Letter::Message(own, detach(ClientId(connection.number))));
            self.wake_roles(connection.node);
        }
    }

    fn client_sends(&mut self, index: usize, frame: ClientFrame) {
        let takes_us = 30 + self.dice.clients.below(400);
        let now_us = self.now_us;
        if let ClientFrame::Commands(commands) = &frame {
            for token in commands.iter().filter_map(|command| match command {
                Command::Open { token } => Some(*token),
                _ => None,
            }) {
                self.checks.states.on_token(token);
                self.checks.proposed.on_token(token);
            }
        }
        let Some(connection) = &mut self.clients[index].connection else { return };
        connection.there_us = connection.there_us.max(now_us + takes_us) + 1;
        let (at_us, number) = (connection.there_us, connection.number);
        self.script.to_nodes += 1;
        if self.script.breaks_connection(&mut self.dice.clients) {
            return self.queue.plan(at_us, Happening::Breaks { client: index, connection: number });
        }
        let frame = Box::new(frame);
        self.queue.plan(at_us, Happening::ToNode { client: index, connection: number, frame });
    }

    /// A client's frame arrives at its node, as at a door.
    pub(super) fn reaches_node(&mut self, index: usize, number: u64, frame: ClientFrame) {
        let Some(connection) = self.clients[index].connection.filter(|connection| connection.number == number) else {
            return;
        };
        if !self.links.reaches(index, connection.node) {
            let frame = Box::new(frame);
            return self.script.held.push(Happening::ToNode { client: index, connection: number, frame });
        }
        let Some(own) = self.alive(connection.node, connection.life) else { return };
        let client = ClientId(number);
        self.trace.note(self.now_us, Lanes::At(connection.node), number, || {
            format!("client {index} asks: {}", words::frame(&frame))
        });
        let running = self.nodes[connection.node].running_mut().expect("alive");
        let message: Message = match frame {
            ClientFrame::Attach(session) => ExecutorMessage::Attach { session, client }.into(),
            ClientFrame::AttachToken(token) => ExecutorMessage::AttachToken { token, client }.into(),
            ClientFrame::Commands(commands) => ProposerMessage::Submit { commands }.into(),
            ClientFrame::Reads { queries, local } => ExecutorMessage::Read { client, queries, local }.into(),
            ClientFrame::Inspect { .. }
            | ClientFrame::Connect { .. }
            | ClientFrame::Meet { .. }
            | ClientFrame::Lead { .. }
            | ClientFrame::Backup { .. }
            | ClientFrame::BackupPart { .. } => return,
        };
        running.post(Role::of(&message), Letter::Message(own, message));
        self.wake_roles(connection.node);
    }

    /// A node answers a client.
    pub(super) fn reply(&mut self, client: ClientId, replies: Vec<Reply>) {
        let Some(index) = self.connections.get(&client.0).copied() else { return };
        let takes_us = 30 + self.dice.clients.below(400);
        let now_us = self.now_us;
        if let Some(connection) = &mut self.clients[index].connection
            && connection.number == client.0
        {
            connection.here_us = connection.here_us.max(now_us + takes_us) + 1;
            let at_us = connection.here_us;
            if self.script.breaks_connection(&mut self.dice.clients) {
                self.queue.plan(at_us, Happening::Breaks { client: index, connection: client.0 });
                return;
            }
            self.queue.plan(at_us, Happening::ToClient { client: index, connection: client.0, replies });
        }
    }

    pub(super) fn reaches_client(&mut self, index: usize, number: u64, replies: Vec<Reply>) -> Held {
        let now_ms = self.now_us / 1000;
        let client = &mut self.clients[index];
        let Some(home) = client.home().filter(|_| client.connection.is_some_and(|c| c.number == number)) else {
            return Ok(());
        };
        if !self.links.reaches(index, home.0) {
            self.script.held.push(Happening::ToClient { client: index, connection: number, replies });
            return Ok(());
        }
        let is_expiry = |reply: &&Reply| matches!(reply, Reply::SessionExpired { .. });
        self.counts.expired += replies.iter().filter(is_expiry).count() as u64;
        client.session.on_replies(home, replies, now_ms);
        self.drain(index)
    }

    pub(super) fn breaks(&mut self, index: usize, number: u64) {
        let client = &mut self.clients[index];
        let Some(connection) = client.connection.filter(|connection| connection.number == number) else { return };
        client.connection = None;
        client.session.on_disconnected(NodeIndex(connection.node));
        self.hang_up(connection);
        let at_us = self.now_us + 1_000 + self.dice.clients.below(20_000);
        self.wake(index, at_us);
    }

    /// The client forgets everything and begins a new session.
    pub(in crate::sim) fn begin_again(&mut self, index: usize) {
        self.counts.unknown += self.clients[index].begin_again().len() as u64;
        if let Some(connection) = self.clients[index].connection.take() {
            self.hang_up(connection);
        }
        let at_us = self.now_us + 1_000;
        self.wake(index, at_us);
    }
}
