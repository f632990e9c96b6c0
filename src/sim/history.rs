//! What clients asked and what they were told, with times: all that a person outside could know.

use crate::machine::bank::{self, Transfer};
use crate::machine::kv::{Answer, Operation as KvOperation, Query};
use crate::machine::{MachineId, composite};
use crate::paxos::{Bytes, Place};

/// What a client asks of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// What is its value?
    Get,
    /// Give it this value.
    Put(Bytes),
    /// Add this to its value.
    Append(Bytes),
    /// Give it a value, if it has the expected one.
    Cas(Option<Bytes>, Bytes),
    /// Remove it.
    Delete,
    /// Of the bank, not of a key: settle these.
    Transfer(Vec<Transfer>),
    /// Of the bank: what do all accounts hold?
    Accounts,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// The key's value.
    Value(Option<Bytes>),
    /// Done.
    Done,
    /// The value now.
    Appended(Bytes),
    /// Whether there was something to remove.
    Deleted(bool),
    /// The key had the expected value.
    Swapped,
    /// It had not; this one instead.
    NotSwapped(Option<Bytes>),
    /// What came of each transfer.
    Settled(Vec<bank::Outcome>),
    /// What the accounts hold, in the order of their names.
    Balances(Vec<i64>),
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Nobody knows: it may have happened, or may happen yet.
    Unknown,
    /// It had no effect and never will.
    NotDone,
    /// It happened, and the client was told at this time, in microseconds.
    Done(u64, Told),
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Whose.
    pub client: u32,
    /// On which key.
    pub key: u32,
    /// What was asked.
    pub call: Call,
    /// When, in microseconds.
    pub invoked_us: u64,
    /// What became of it.
    pub fate: Fate,
    /// Where it stands in the log, if anybody knows. No client's business: it only tells a search where to look first.
    pub place: Option<Place>,
}

impl Call {
    /// Whether it only asks.
    pub fn is_read(&self) -> bool {
        matches!(self, Call::Get | Call::Accounts)
    }

    /// Whether it is for the bank.
    pub fn is_for_bank(&self) -> bool {
        matches!(self, Call::Transfer(_) | Call::Accounts)
    }

    /// Whether a client may send it twice, in two commands: removals are all alike, and a transfer whose outcome is unknown
    /// is told again.
    pub fn may_come_twice(&self) -> bool {
        matches!(self, Call::Delete | Call::Transfer(_))
    }

    /// As the machines understand it.
    pub fn encode(&self, key: u32) -> Bytes {
        let key = Bytes::from(format!("k{key}"));
        let operation = match self.clone() {
            Call::Get => return MachineId::Kv.encode(&Query::Get { key }).into(),
            Call::Put(value) => KvOperation::Put { key, value },
            Call::Append(suffix) => KvOperation::Append { key, suffix },
            Call::Cas(expected, value) => KvOperation::Cas { key, expected, value },
            Call::Delete => KvOperation::Delete { key },
            Call::Transfer(transfers) => {
                return MachineId::Bank.encode(&bank::Operation::Transfer { transfers }).into();
            }
            Call::Accounts => {
                return MachineId::Bank.encode(&bank::Query::Accounts { after: None, limit: 0 }).into();
            }
        };
        MachineId::Kv.encode(&operation).into()
    }
}

impl Told {
    /// Reads what the machines answered to a call; none if that makes no sense.
    pub fn decode(call: &Call, answer: &[u8]) -> Option<Told> {
        if call.is_for_bank() {
            return Some(match bank::Answer::decode(composite::open_answer(answer).ok()?).ok()? {
                bank::Answer::Transferred { receipts } => {
                    Told::Settled(receipts.iter().map(|receipt| receipt.outcome).collect())
                }
                bank::Answer::Accounts { accounts, next: None } => {
                    Told::Balances(accounts.iter().map(|account| account.balance).collect())
                }
                _ => return None,
            });
        }
        Some(match Answer::decode(composite::open_answer(answer).ok()?).ok()? {
            Answer::Ok => Told::Done,
            Answer::Appended { value } => Told::Appended(value),
            Answer::Deleted { existed } => Told::Deleted(existed),
            Answer::Swapped => Told::Swapped,
            Answer::NotSwapped { actual } => Told::NotSwapped(actual),
            Answer::Value(value) => Told::Value(value),
            _ => return None,
        })
    }
}
