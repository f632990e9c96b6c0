//! A bank: accounts with balances, and transfers between them, each done once or refused once, and remembered for ever.
//!
//! A transfer carries an id that its sender chose. Whatever is told of a transfer a second time, by whichever client and
//! after however long, gets what came of it the first time: the session table makes a *command* happen once, as long as its
//! session lives; the ledger makes a *transfer* happen once, for ever. Transfers that are linked are done together or not
//! at all.
//!
//! Invariants, checked after every command by the tests: no balance is below zero; all balances together are what came in
//! less what left; balances follow from the transfers that were done. Freezing is O(1), as is the digest, whatever the
//! size; a snapshot whose balances do not follow from its transfers does not restore.
//!
//! Everything is in memory, every transfer that ever was included.
//!
//! Absent on purpose: currencies, interest, transfers that are held and confirmed later.

mod index;
mod ledger;
mod words;

pub use ledger::{READY_MADE, READY_MADE_BALANCE};
pub use words::{
    Account, AccountName, Answer, BankError, MAX_NAME_BYTES, MAX_PAGE, MAX_TRANSFERS, NoName, Operation, Outcome,
    Query, Receipt, Recorded, Totals, Transfer, TransferId,
};

use imbl::Vector;
use serde::{Deserialize, Serialize};

use self::ledger::{Entry, Holder, Ledger, Open, Rebuilt};
use super::{Context, Frozen, StateMachine};
use crate::codec;
use crate::paxos::settings::MAX_OPERATION_BYTES;
use crate::paxos::state_machine::PART_BYTES;

/// The bank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bank(Ledger);

impl Bank {
    /// Carries out an operation.
    ///
    /// # Errors
    /// Why it is not; nothing has changed.
    pub fn execute(&mut self, context: &Context, operation: Operation) -> Result<Answer, BankError> {
        self.0.execute(context, operation)
    }

    /// Answers a query.
    pub fn ask(&self, query: &Query) -> Answer {
        self.0.ask(query)
    }
}

impl std::hash::Hash for Bank {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

impl StateMachine for Bank {
    fn apply(&mut self, context: &Context, operation: &[u8]) -> Vec<u8> {
        let answer = codec::decode(operation, MAX_OPERATION_BYTES)
            .map_err(|_| BankError::Malformed)
            .and_then(|operation| self.execute(context, operation));
        codec::encode(&answer.unwrap_or_else(Answer::Error))
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let query = codec::decode(question, MAX_OPERATION_BYTES);
        codec::encode(&query.map_or(Answer::Error(BankError::Malformed), |query| self.ask(&query)))
    }

    /// O(1): the frozen state shares everything with the bank until that changes it.
    fn freeze(&self) -> Box<dyn Frozen> {
        let Bank(ledger) = self;
        let (accounts, transfers) = (ledger.accounts.clone(), ledger.entries.clone());
        Box::new(FrozenBank { accounts, transfers, digest: self.digest() })
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let no_snapshot = || "not a snapshot of the bank".to_string();
        let head = parts.next().ok_or_else(no_snapshot)?;
        let Head { format, accounts, transfers } = codec::decode(&head, head.len()).map_err(|_| no_snapshot())?;
        if format != SNAPSHOT_FORMAT {
            return Err(format!("a bank snapshot of format {format}; this version reads {SNAPSHOT_FORMAT}"));
        }
        let mut rebuilt = Rebuilt::default();
        for part in parts {
            let contradiction = |why: String| format!("a bank snapshot that contradicts itself: {why}");
            match codec::decode(&part, part.len()).map_err(|_| no_snapshot())? {
                Part::Accounts(run) => run.into_iter().try_for_each(|(name, open)| rebuilt.account(name, open)),
                Part::Transfers(run) => run.into_iter().try_for_each(|entry| rebuilt.transfer(entry)),
            }
            .map_err(contradiction)?;
        }
        let ledger =
            rebuilt.whole(accounts, transfers).map_err(|why| format!("a bank snapshot that is not whole: {why}"))?;
        self.0 = ledger;
        Ok(())
    }

    fn empty(&self) -> Bank {
        Bank::default()
    }

    fn digest(&self) -> [u8; 32] {
        self.0.digest()
    }
}

/// A bank that nobody changes any more.
struct FrozenBank {
    accounts: Vector<Holder>,
    transfers: Vector<Entry>,
    digest: [u8; 32],
}

impl Frozen for FrozenBank {
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        let (accounts, transfers) = (self.accounts.len() as u64, self.transfers.len() as u64);
        let head = codec::encode(&Head { format: SNAPSHOT_FORMAT, accounts, transfers });
        let holders = runs(self.accounts.iter().map(|holder| (holder.name.clone(), holder.open)), ACCOUNTS_IN_PART);
        let entries = runs(self.transfers.iter().cloned(), TRANSFERS_IN_PART);
        let accounts = holders.map(|run| codec::encode(&Part::Accounts(run)));
        let transfers = entries.map(|run| codec::encode(&Part::Transfers(run)));
        Box::new(std::iter::once(head).chain(accounts).chain(transfers))
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn runs<T>(mut items: impl Iterator<Item = T>, most: usize) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let run: Vec<T> = items.by_ref().take(most).collect();
        (!run.is_empty()).then_some(run)
    })
}

/// The first part of a snapshot.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    accounts: u64,
    transfers: u64,
}

/// The others: first all accounts, then all transfers.
#[derive(Serialize, Deserialize)]
enum Part {
    Accounts(Vec<(AccountName, Option<Open>)>),
    Transfers(Vec<Entry>),
}

const SNAPSHOT_FORMAT: u32 = 1;
/// An account takes less than this, whatever its name.
const ACCOUNTS_IN_PART: usize = PART_BYTES / (MAX_NAME_BYTES + 32);
/// A transfer takes less than this.
const TRANSFERS_IN_PART: usize = PART_BYTES / 80;

#[cfg(test)]
mod tests;
