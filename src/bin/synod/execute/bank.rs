//! The bank's commands, against a [`Backend`], to their answers.

use synod::machine::bank::{Outcome, Transfer, TransferId};

use crate::answer::{Answer, BankAnswer, Failure};
use crate::backend::Backend;
use crate::grammar::{BankCommand, NodeName};

/// Executes a command.
pub fn execute(command: &BankCommand, backend: &mut dyn Backend) -> Result<Answer, Failure> {
    let answer = match command {
        BankCommand::Open { accounts } => {
            let new = backend.open_accounts(accounts.clone())?;
            BankAnswer::Opened(accounts.iter().cloned().zip(new).collect())
        }
        BankCommand::Transfer { from, to, amount, id } => {
            let id = id.unwrap_or_else(|| backend.new_id());
            settle(Transfer::between(id, from.clone(), to.clone(), *amount), backend)?
        }
        BankCommand::Deposit { account, amount, id } => {
            let id = id.unwrap_or_else(|| backend.new_id());
            settle(Transfer::deposit(id, account.clone(), *amount), backend)?
        }
        BankCommand::Withdraw { account, amount, id } => {
            let id = id.unwrap_or_else(|| backend.new_id());
            settle(Transfer::withdrawal(id, account.clone(), *amount), backend)?
        }
        BankCommand::Balance { account } => match backend.account(account)? {
            Some(account) => BankAnswer::Balance(account),
            None => return Err(Failure::not_done(format!("there is no account {account}: open it with `open`"))),
        },
        BankCommand::Accounts => BankAnswer::Accounts(backend.accounts()?),
        BankCommand::History { account, limit } => {
            let (transfers, more) = backend.history(account, *limit)?;
            BankAnswer::History { transfers, more }
        }
        BankCommand::Reset { .. } => {
            backend.reset_bank()?;
            BankAnswer::Reset
        }
        BankCommand::Receipt { id } => match backend.receipt(*id)? {
            Some(transfer) => BankAnswer::Receipt(transfer),
            None => return Err(Failure::not_done(format!("no transfer was ever told with the id {id}"))),
        },
    };
    Ok(Answer::Bank(answer))
}

fn settle(transfer: Transfer, backend: &mut dyn Backend) -> Result<BankAnswer, Failure> {
    let id = transfer.id;
    let (place, receipt) = backend.transfer(transfer).map_err(|failure| in_doubt(failure, id))?;
    match receipt.outcome {
        Outcome::IdTaken => Err(Failure::not_done(format!(
            "refused: {}; `receipt {id}` shows it; leave out --id for a new one",
            receipt.outcome
        ))),
        outcome => Ok(BankAnswer::Settled {
            id,
            outcome,
            place: receipt.before.unwrap_or(place),
            again: receipt.before.is_some(),
        }),
    }
}

/// Whoever does not know may ask, or tell it again.
fn in_doubt(failure: Failure, id: TransferId) -> Failure {
    if failure.exit_code() != crate::answer::UNKNOWN {
        return failure;
    }
    Failure::unknown(format!("{failure}; `receipt {id}` shows whether it was done, and with --id {id} it is done once"))
}

/// The accounts as each node has them.
pub fn database(node: Option<&NodeName>, backend: &mut dyn Backend) -> Result<Answer, Failure> {
    let asked = backend.accounts_local(super::name(node))?;
    Ok(Answer::Bank(BankAnswer::Ledgers(super::parts(asked, Some))))
}
