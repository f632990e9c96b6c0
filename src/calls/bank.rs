//! The bank's calls, typed.

use super::{no_answer, opened, unreadable};
use crate::client::{Client, ClientError, Done};
use crate::machine::MachineId;
use crate::machine::bank::{
    Account, AccountName, Answer, Operation, Query, Receipt, Recorded, Totals, Transfer, TransferId,
};

/// Each command fails as [`Client::submit`] does, each question as [`Client::query`]; beyond that with
/// [`ClientError::Refused`] if the bank does not take it as a whole. What became of a single transfer is in its receipt.
impl Client {
    /// Opens accounts; tells of each whether it is new.
    pub async fn open_accounts(&self, accounts: Vec<AccountName>) -> Result<Done<Vec<bool>>, ClientError> {
        self.bank(&Operation::Open { accounts }, |answer| match answer {
            Answer::Opened { new } => Some(new),
            _ => None,
        })
        .await
    }

    /// Settles transfers, one after the other. Whatever fails on the way: told again under the same ids, each is done
    /// once.
    pub async fn transfer(&self, transfers: Vec<Transfer>) -> Result<Done<Vec<Receipt>>, ClientError> {
        let count = transfers.len();
        self.bank(&Operation::Transfer { transfers }, |answer| match answer {
            Answer::Transferred { receipts } => Some(receipts).filter(|receipts| receipts.len() == count),
            _ => None,
        })
        .await
    }

    /// Starts the bank afresh: every account but the ready-made ones, and every transfer, is forgotten.
    pub async fn reset_bank(&self) -> Result<Done<()>, ClientError> {
        self.bank(&Operation::Reset, |answer| matches!(answer, Answer::Reset).then_some(())).await
    }

    /// An account, if it is open.
    pub async fn account(&self, name: AccountName) -> Result<Option<Account>, ClientError> {
        self.ask_bank(&Query::Account { name }, false).await.and_then(|answer| match answer {
            Answer::Account(account) => Ok(account),
            _ => Err(no_answer()),
        })
    }

    /// All accounts in order of their names, as they were at some moment between the first page and the last.
    pub async fn accounts(&self) -> Result<Vec<Account>, ClientError> {
        self.all_accounts(false).await
    }

    /// The same in what the connected node has executed, however old.
    pub async fn accounts_local(&self) -> Result<Vec<Account>, ClientError> {
        self.all_accounts(true).await
    }

    /// What is known of a transfer.
    pub async fn look_up_transfer(&self, id: TransferId) -> Result<Option<Recorded>, ClientError> {
        self.ask_bank(&Query::Transfer { id }, false).await.and_then(|answer| match answer {
            Answer::Transfer(transfer) => Ok(transfer),
            _ => Err(no_answer()),
        })
    }

    /// A page of an account's transfers, the last one first, and where the next page begins.
    pub async fn history(
        &self,
        account: AccountName,
        before: Option<u64>,
        limit: u32,
    ) -> Result<(Vec<Recorded>, Option<u64>), ClientError> {
        self.ask_bank(&Query::History { account, before, limit }, false).await.and_then(page)
    }

    /// A page of all transfers, the first one first, and where the next page begins.
    pub async fn transfers(&self, after: u64, limit: u32) -> Result<(Vec<Recorded>, Option<u64>), ClientError> {
        self.ask_bank(&Query::Transfers { after, limit }, false).await.and_then(page)
    }

    /// How much there is of everything.
    pub async fn bank_totals(&self) -> Result<Totals, ClientError> {
        self.ask_bank(&Query::Totals, false).await.and_then(|answer| match answer {
            Answer::Totals(totals) => Ok(totals),
            _ => Err(no_answer()),
        })
    }

    async fn all_accounts(&self, local: bool) -> Result<Vec<Account>, ClientError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            match self.ask_bank(&Query::Accounts { after, limit: 0 }, local).await? {
                Answer::Accounts { accounts, next } => {
                    all.extend(accounts);
                    after = next;
                    if after.is_none() {
                        return Ok(all);
                    }
                }
                _ => return Err(no_answer()),
            }
        }
    }

    async fn bank<T>(
        &self,
        operation: &Operation,
        pick: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<Done<T>, ClientError> {
        let Done { place, ballot, result } = self.submit(MachineId::Bank.encode(operation)).await?;
        let result = read(&result)?.and_then(pick).ok_or_else(unreadable)?;
        Ok(Done { place, ballot, result })
    }

    async fn ask_bank(&self, query: &Query, local: bool) -> Result<Answer, ClientError> {
        let question = MachineId::Bank.encode(query);
        let answer = if local { self.query_local(question).await? } else { self.query(question).await? };
        read(&answer)?.ok_or_else(no_answer)
    }
}

/// None if the bytes are no answer of this bank.
fn read(answer: &[u8]) -> Result<Option<Answer>, ClientError> {
    match Answer::decode(opened(answer)?) {
        Ok(Answer::Error(error)) => Err(ClientError::Refused { reason: error.to_string() }),
        Ok(answer) => Ok(Some(answer)),
        Err(_) => Ok(None),
    }
}

fn page(answer: Answer) -> Result<(Vec<Recorded>, Option<u64>), ClientError> {
    match answer {
        Answer::Transfers { transfers, next } => Ok((transfers, next)),
        _ => Err(no_answer()),
    }
}
