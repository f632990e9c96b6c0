//! Clients of the simulated world: each has a session, numbers its commands, and sends them again through any node.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::length;
use super::world::World;
use crate::paxos::message::CommandName;
use crate::paxos::*;

#[derive(Default)]
pub struct Client {
    id: u64,
    pub session: Option<SessionId>,
    next: u64,
    pub open: BTreeSet<u64>,
    reads: BTreeMap<u64, u64>,
    next_read: u64,
    /// What some of its commands are, instead of an operation.
    changes: BTreeMap<u64, Change>,
    /// Changes that may still be done, whatever was heard of them.
    doubtful: BTreeSet<u64>,
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
        let churn = self.churn();
        if churn > 0 && self.dice.below(churn) == 0 {
            return self.operator_acts(node);
        }
        match self.dice.below(4) {
            0 => self.retry(client, node),
            1 => self.client_reads(client, node),
            _ => {
                self.client_sends(client);
                self.retry(client, node);
            }
        }
    }

    /// The last client is the operator's, too: members come and go, or another is to lead.
    fn operator_acts(&mut self, node: NodeId) {
        let any = self.any_node();
        let membership = self.membership().clone();
        let members = membership.members().len();
        let name = |id: NodeId| membership.member(id).map(|member| member.name.clone()).unwrap_or_default();
        if self.wiped_ms > 0 && self.now_ms < self.wiped_ms + 2000 {
            return;
        }
        let client = self.clients.len() - 1;
        self.next_folder += 1;
        let incarnation = Incarnation(self.next_folder);
        // What is on its way may leave fewer members than are seen now.
        let busy = !self.clients[client].doubtful.is_empty();
        let change = match self.dice.below(8) {
            0 | 1 if members < 7 => Change::Add { name: format!("m{}", self.next_folder), incarnation },
            2 | 3 if members > 2 => Change::Remove { name: name(any) },
            4 => Change::Replace { name: name(any), incarnation },
            5 if !busy && membership.latest().contains(any) && self.wipe(any) => {
                Change::Replace { name: name(any), incarnation }
            }
            _ => return self.post(node, node, ProposerMessage::Transfer { to: any }.into()),
        };
        let operator = &self.clients[client];
        if operator.session.is_some() && operator.open.len() < 3 {
            self.client_changes(client, change);
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

    /// The client asks for a change of members.
    pub fn client_changes(&mut self, client: usize, change: Change) {
        let client = &mut self.clients[client];
        client.open.insert(client.next);
        client.changes.insert(client.next, change);
        client.doubtful.insert(client.next);
        client.next += 1;
    }

    /// The client says everything unanswered again, to some node.
    pub fn retry(&mut self, client: usize, node: NodeId) {
        if self.hosts[&node].replica.is_none() {
            return;
        }
        // Nobody forces a change while a disk is lost: the cluster might never go on.
        let force = self.dice.below(2) == 0 && self.hosts.values().all(|host| !host.gone);
        let Client { id, session, open, next, changes, .. } = &self.clients[client];
        let (id, token) = (ClientId(*id), Token(u128::from(*id)));
        let (attach, commands) = match session {
            None => (ExecutorMessage::AttachToken { token, client: id }, vec![Command::Open { token }]),
            Some(session) => {
                let done_below = Sequence(open.first().copied().unwrap_or(*next));
                let command = |number: &u64| {
                    let (session, sequence) = (*session, Sequence(*number));
                    match changes.get(number).cloned() {
                        Some(change) => Command::Change { session, sequence, done_below, change, force },
                        None => {
                            let operation = operation(session, sequence);
                            Command::Apply { session, sequence, done_below, operation }
                        }
                    }
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
            Reply::Done { sequence, result, .. } if client.changes.contains_key(&sequence.0) => {
                client.open.remove(&sequence.0);
                client.doubtful.remove(&sequence.0);
                assert!(Outcome::from_bytes(&result).is_some(), "an outcome of a change");
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
            Reply::Refused {
                command: CommandName::Apply(_, sequence), reason: Refusal::NoLiveQuorum { .. }, ..
            } => {
                client.open.remove(&sequence.0);
            }
            Reply::Refused { .. } | Reply::LeaderChanged {} => {}
        }
    }
}

/// What a client asks for: different in every command.
fn operation(session: SessionId, sequence: Sequence) -> Bytes {
    format!("{}/{}", session.0, sequence.0).into_bytes().into()
}
