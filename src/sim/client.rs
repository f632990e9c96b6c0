//! A simulated client: the real session, a connection that breaks, and something to ask.

use std::collections::BTreeMap;

use super::history::{Call, Fate, Operation, Told};
use super::plan::Clients;
use crate::client::outcome::{Doubt, Outcome};
use crate::client::session::{NodeIndex, RequestKey, Session, Task};
use crate::machine::bank::{READY_MADE, Transfer, TransferId};
use crate::paxos::dice::Dice;
use crate::paxos::{Bytes, Change, Token};

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub index: u32,
    /// What it wants and when.
    pub dice: Dice,
    /// Its session.
    pub session: Session,
    /// Its connection, if it has one.
    pub connection: Option<Connection>,
    /// Unanswered requests: where they stand in the history, and what was sent.
    pub pending: BTreeMap<RequestKey, (usize, Bytes)>,
    /// Changes of members that it asked for and that are not answered.
    pub changes: BTreeMap<RequestKey, Change>,
    /// A change that it asked for may be done at any time.
    pub in_doubt: bool,
    /// It thinks until then, in microseconds.
    pub thinks_until_us: u64,
    /// A wake-up is on its way, for this time.
    pub wakes_us: Option<u64>,
    /// The node that it tried last.
    tried: Option<usize>,
    /// How many sessions it has had.
    lives: u64,
    /// The last value that it saw of each key, for swaps that have a chance.
    seen: BTreeMap<u32, Option<Bytes>>,
    /// Transfers whose outcome it does not know: it tells them again.
    in_doubt_of: Vec<Vec<Transfer>>,
    count: u64,
}

/// A client's connection to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The node's number for it; never used twice.
    pub number: u64,
    /// The node's position.
    pub node: usize,
    /// The node's life.
    pub life: u32,
    /// The last arrival there and here, in microseconds: a connection keeps order.
    pub there_us: u64,
    /// See `there_us`.
    pub here_us: u64,
}

impl Client {
    /// A client that has not begun.
    pub fn new(index: u32, mut dice: Dice) -> Client {
        let session = Session::new(token(index, 1), dice.roll());
        Client {
            index,
            dice,
            session,
            connection: None,
            pending: BTreeMap::new(),
            changes: BTreeMap::new(),
            in_doubt: false,
            thinks_until_us: 0,
            wakes_us: None,
            tried: None,
            lives: 1,
            seen: BTreeMap::new(),
            in_doubt_of: Vec::new(),
            count: 0,
        }
    }

    /// The token of its session.
    pub fn token(&self) -> Token {
        token(self.index, self.lives)
    }

    /// It forgets everything, and begins a new session. Gives where the operations stand that nobody will hear of.
    pub fn begin_again(&mut self) -> Vec<usize> {
        self.lives += 1;
        self.tried = None;
        self.session = Session::new(self.token(), self.dice.roll());
        std::mem::take(&mut self.pending).into_values().map(|(index, _)| index).collect()
    }

    /// Something to ask.
    pub fn next_call(&mut self, clients: &Clients) -> (u32, Call) {
        if clients.bank {
            return (0, self.next_bank_call(clients));
        }
        let key = self.dice.below(u64::from(clients.keys)) as u32;
        if self.dice.below(10) < clients.reads {
            return (key, Call::Get);
        }
        self.count += 1;
        let text = format!("{}.{} ", self.index, self.count);
        let value = Bytes::from(text.clone());
        let call = match self.dice.below(10) {
            0..4 => Call::Put(Bytes::from(format!("{text:<0$}", clients.value_bytes))),
            4..7 => Call::Append(value),
            7..9 => Call::Cas(self.seen.get(&key).cloned().unwrap_or_default(), value),
            _ => Call::Delete,
        };
        (key, call)
    }

    /// Something to ask the bank: transfers among the ready-made accounts, some of which cannot be done, alone or linked.
    fn next_bank_call(&mut self, clients: &Clients) -> Call {
        if self.dice.below(10) < clients.reads {
            return Call::Accounts;
        }
        if self.dice.below(2) == 0
            && let Some(transfers) = self.in_doubt_of.pop()
        {
            return Call::Transfer(transfers);
        }
        let count = if self.dice.below(3) == 0 { 2 + self.dice.below(3) } else { 1 };
        let mut transfers: Vec<Transfer> = (0..count).map(|_| self.any_transfer()).collect();
        let is_linked = self.dice.below(2) == 0;
        let last = transfers.len() - 1;
        transfers[..last].iter_mut().for_each(|transfer| transfer.linked = is_linked);
        Call::Transfer(transfers)
    }

    fn any_transfer(&mut self) -> Transfer {
        self.count += 1;
        let id = TransferId(u128::from(self.index) << 64 | u128::from(self.count));
        let mut party = || READY_MADE[self.dice.below(READY_MADE.len() as u64) as usize].parse().expect("a name");
        let (from, to) = (party(), party());
        Transfer::between(id, from, to, self.dice.below(9) as i64)
    }

    /// Sends a call, to be answered by a deadline on the world's clock.
    pub fn begin(&mut self, call: &Call, operation: Bytes, place: usize, deadline_ms: u64) -> RequestKey {
        let key = if call.is_read() {
            self.session.read(operation.clone(), false, deadline_ms)
        } else {
            self.session.submit(operation.clone(), deadline_ms)
        };
        self.pending.insert(key, (place, operation));
        key
    }

    /// Whoever has members come and go asks nothing by itself.
    pub fn operator(index: u32, dice: Dice) -> Client {
        Client { thinks_until_us: u64::MAX, ..Client::new(index, dice) }
    }

    /// Asks for a change of members; with `force`, whoever answers.
    pub fn ask_change(&mut self, change: Change, force: bool, deadline_ms: u64) {
        let key = self.session.submit_task(Task::Change { change: change.clone(), force }, deadline_ms);
        self.changes.insert(key, change);
    }

    /// What came of a change.
    ///
    /// # Errors
    /// An answer that makes no sense.
    pub fn on_changed(&mut self, outcome: &Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Done { result, .. } if crate::paxos::Outcome::from_bytes(result).is_none() => {
                Err(format!("an answer to a change that makes no sense: {result:?}"))
            }
            Outcome::Unknown { reason: Doubt::OutOfWindow } => Err(Doubt::OutOfWindow.to_string()),
            Outcome::Unknown { reason } => {
                self.in_doubt |= *reason != Doubt::SessionExpired;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What an outcome means for an operation.
    pub fn fate(&mut self, operation: &Operation, outcome: &Outcome, now_us: u64) -> Result<Fate, String> {
        let result = match outcome {
            Outcome::Done { result, .. } | Outcome::Read { result } => result,
            Outcome::NotDone { .. } | Outcome::Refused { .. } => return Ok(Fate::NotDone),
            Outcome::Unknown { reason: doubt @ Doubt::OutOfWindow } => return Err(doubt.to_string()),
            Outcome::Unknown { .. } | Outcome::ResultDropped { .. } => {
                if let Call::Transfer(transfers) = &operation.call {
                    self.in_doubt_of.push(transfers.clone());
                }
                return Ok(Fate::Unknown);
            }
        };
        let told = Told::decode(&operation.call, result)
            .ok_or_else(|| format!("an answer that makes no sense: {result:?}"))?;
        let seen = match (&operation.call, &told) {
            (_, Told::Value(value) | Told::NotSwapped(value)) => Some(value.clone()),
            (_, Told::Appended(value)) => Some(Some(value.clone())),
            (Call::Put(value) | Call::Cas(_, value), Told::Done | Told::Swapped) => Some(Some(value.clone())),
            (Call::Delete, _) => Some(None),
            _ => None,
        };
        if let Some(seen) = seen {
            self.seen.insert(operation.key, seen);
        }
        Ok(Fate::Done(now_us, told))
    }

    /// The node to try after the one that it leaves, or that it tried last; at first any.
    pub fn next_node(&mut self, left: Option<usize>, nodes: usize) -> usize {
        let next = match left.or(self.tried) {
            Some(node) => (node + 1) % nodes,
            None => self.dice.below(nodes as u64) as usize,
        };
        self.tried = Some(next);
        next
    }

    /// The node that it is connected to, as the session knows it.
    pub fn home(&self) -> Option<NodeIndex> {
        self.connection.map(|connection| NodeIndex(connection.node))
    }
}

fn token(index: u32, life: u64) -> Token {
    // A session that expires takes the next token, so that lives lie far apart.
    Token(u128::from(index) << 64 | u128::from(life) << 32)
}
