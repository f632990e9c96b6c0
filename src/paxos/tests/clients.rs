//! Clients of the simulated world: each has a session, numbers its commands, and sends them again through any node.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::length;
use super::world::World;
use crate::paxos::*;

#[derive(Default)]
pub struct Client {
    id: u64,
    pub session: Option<SessionId>,
    next: u64,
    pub open: BTreeSet<u64>,
    reads: BTreeMap<u64, u64>,
    next_read: u64,
    /// The longest ledger that this world's clients knew of when they last looked.
    known: u64,
}

impl Client {
    pub fn new(id: u64) -> Client {
        Client { id, next: 1, ..Client::default() }
    }
}

impl World {
    pub fn client_acts(&mut self, node: NodeId) {
        let client = self.dice.below(self.clients.len() as u64) as usize;
        match self.dice.below(4) {
            0 => self.retry(client, node),
            1 => self.client_reads(client, node),
            _ => {
                self.client_sends(client);
                self.retry(client, node);
            }
        }
    }

    /// The client has something new to say.
    pub fn client_sends(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.session.is_some() && client.open.len() < 2 {
            client.open.insert(client.next);
            client.next += 1;
        }
    }

    /// The client says everything unanswered again, to some node.
    pub fn retry(&mut self, client: usize, node: NodeId) {
        if self.hosts[&node].replica.is_none() {
            return;
        }
        let Client { id, session, open, next, .. } = &self.clients[client];
        let (id, token) = (ClientId(*id), Token(u128::from(*id)));
        let (attach, commands) = match session {
            None => (ExecutorMessage::AttachToken { token, client: id }, vec![Command::Open { token }]),
            Some(session) => {
                let done_below = Sequence(open.first().copied().unwrap_or(*next));
                let command = |sequence: &u64| Command::Apply {
                    session: *session,
                    sequence: Sequence(*sequence),
                    done_below,
                    operation: operation(*session, Sequence(*sequence)),
                };
                (ExecutorMessage::Attach { session: *session, client: id }, open.iter().map(command).collect())
            }
        };
        if !commands.is_empty() {
            self.post(node, node, attach.into());
            self.post(node, node, ProposerMessage::Submit { commands }.into());
        }
    }

    pub fn client_reads(&mut self, client: usize, node: NodeId) {
        if self.hosts[&node].replica.is_none() {
            return;
        }
        let floor = self.clients.iter().map(|client| client.known).max().unwrap_or(0);
        let client = &mut self.clients[client];
        client.next_read += 1;
        client.reads.insert(client.next_read, floor);
        let read = ExecutorMessage::Read {
            client: ClientId(client.id),
            queries: vec![(client.next_read, Bytes::default())],
            local: false,
        };
        self.post(node, node, read.into());
    }

    pub fn hear(&mut self, client: ClientId, reply: Reply) {
        self.note(|| format!("client {}: {reply:?}", client.0));
        let client = &mut self.clients[client.0 as usize];
        match reply {
            Reply::Opened { session, .. } => {
                client.session.get_or_insert(session);
            }
            Reply::Done { session, sequence, place, result, .. } => {
                client.open.remove(&sequence.0);
                client.known = client.known.max(length(&result));
                self.witness.on_done(
                    (session, sequence),
                    place,
                    length(&result),
                    operation(session, sequence).to_vec(),
                );
            }
            Reply::Read { id, result } => {
                let floor = client.reads.remove(&id).expect("a read is answered once");
                let found = length(&result);
                assert!(found >= floor, "a read finds {found} entries where {floor} were known before it began");
                client.known = client.known.max(found);
            }
            Reply::ReadRefused { id, .. } => {
                client.reads.remove(&id).expect("a read is answered once");
            }
            Reply::OutOfWindow { sequence, .. } => {
                assert!(!client.open.contains(&sequence.0), "an unanswered command lies in the window");
            }
            Reply::ResultDropped { .. } => panic!("the ledger's answers are short"),
            Reply::SessionExpired { .. } => panic!("no session expires in this world"),
            Reply::Refused { .. } | Reply::LeaderChanged {} => {}
        }
    }
}

/// What a client asks for: different in every command.
fn operation(session: SessionId, sequence: Sequence) -> Bytes {
    format!("{}/{}", session.0, sequence.0).into_bytes().into()
}
