//! The bank keeps its word: money is neither made nor lost, every transfer is settled once, and what a client was told of one
//! is what the ledger says of it.
//!
//! The ledger is that of the check's own machine, which executed the chosen log alone; that all nodes have the same is
//! checked by [`super::states`]. It is read through questions, as clients read it, and held against an account book that
//! knows nothing of links, ids or positions.

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::machine::Bank;
use crate::machine::bank::{Answer, Outcome, Query, READY_MADE, READY_MADE_BALANCE, Recorded, TransferId};
use crate::sim::history::{Call, Fate, Operation, Told};

const NAME: &str = "bank";

/// At any moment: what all accounts hold is what was there in the beginning, for nothing comes in or leaves.
pub fn check_money(bank: &Bank) -> Held {
    let balances = balances(bank)?;
    if let Some((name, balance)) = balances.iter().find(|(_, balance)| **balance < 0) {
        return Err(broken(format!("{name} holds {balance}")));
    }
    let money: i64 = balances.values().sum();
    if money != MONEY {
        return Err(broken(format!("all accounts together hold {money}, and there were {MONEY} in the beginning")));
    }
    Ok(())
}

/// At the end: the ledger against what clients were told.
pub fn check(bank: &Bank, history: &[Operation]) -> Held {
    let ledger = ledger(bank)?;
    check_book(&ledger, &balances(bank)?)?;
    let mut by_id: BTreeMap<TransferId, &Recorded> = BTreeMap::new();
    for recorded in &ledger {
        if by_id.insert(recorded.id, recorded).is_some() {
            return Err(broken(format!("transfer {} is recorded twice", recorded.id)));
        }
    }
    // Of a transfer that was told again another telling may be what is recorded.
    let mut may_be: BTreeMap<TransferId, bool> = BTreeMap::new();
    for operation in history {
        let Call::Transfer(transfers) = &operation.call else { continue };
        for transfer in transfers {
            *may_be.entry(transfer.id).or_default() |= operation.fate != Fate::NotDone;
        }
    }
    for operation in history {
        match (&operation.call, &operation.fate) {
            (Call::Transfer(transfers), Fate::Done(_, Told::Settled(outcomes))) => {
                for (transfer, told) in transfers.iter().zip(outcomes) {
                    let recorded = by_id.get(&transfer.id).map(|recorded| recorded.outcome);
                    if recorded != Some(*told) {
                        let detail = format!("transfer {} was told to be {told}, and is {recorded:?}", transfer.id);
                        return Err(broken(detail));
                    }
                }
            }
            (Call::Accounts, Fate::Done(_, Told::Balances(balances))) => {
                let money: i64 = balances.iter().sum();
                if money != MONEY || balances.iter().any(|balance| *balance < 0) {
                    return Err(broken(format!("a client was told of balances {balances:?}")));
                }
            }
            _ => {}
        }
    }
    match may_be.iter().find(|(id, may_be)| !**may_be && by_id.contains_key(id)) {
        Some((id, _)) => Err(broken(format!("transfer {id} was told to be not done, each time, and is recorded"))),
        None => Ok(()),
    }
}

/// Whether the balances are those of an account book in which every transfer that was done is written.
fn check_book(ledger: &[Recorded], balances: &BTreeMap<String, i64>) -> Held {
    let mut book: BTreeMap<String, i64> =
        READY_MADE.iter().map(|name| (name.to_string(), READY_MADE_BALANCE)).collect();
    for recorded in ledger.iter().filter(|recorded| recorded.outcome == Outcome::Done) {
        let parties = recorded.from.as_ref().zip(recorded.to.as_ref());
        let Some((from, to)) = parties.filter(|_| recorded.amount > 0) else {
            return Err(broken(format!("this was done: {recorded:?}")));
        };
        *book.entry(from.to_string()).or_default() -= recorded.amount;
        *book.entry(to.to_string()).or_default() += recorded.amount;
    }
    if book != *balances {
        return Err(broken(format!("by its transfers the accounts hold {book:?}, and they hold {balances:?}")));
    }
    Ok(())
}

fn balances(bank: &Bank) -> Result<BTreeMap<String, i64>, Broken> {
    match bank.ask(&Query::Accounts { after: None, limit: 0 }) {
        Answer::Accounts { accounts, next: None } => {
            Ok(accounts.into_iter().map(|account| (account.name.to_string(), account.balance)).collect())
        }
        other => Err(broken(format!("its accounts are {other:?}"))),
    }
}

fn ledger(bank: &Bank) -> Result<Vec<Recorded>, Broken> {
    let (mut ledger, mut after) = (Vec::new(), 0);
    loop {
        match bank.ask(&Query::Transfers { after, limit: 0 }) {
            Answer::Transfers { transfers, next } => {
                ledger.extend(transfers);
                let Some(next) = next else { return Ok(ledger) };
                after = next;
            }
            other => return Err(broken(format!("its transfers are {other:?}"))),
        }
    }
}

fn broken(detail: String) -> Broken {
    Broken::new(NAME, detail)
}

/// What all accounts hold together.
const MONEY: i64 = READY_MADE_BALANCE * READY_MADE.len() as i64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Context;
    use crate::machine::bank::{self, Transfer};
    use crate::paxos::{Place, Slot};

    fn transfer(id: u128, from: &str, to: &str, amount: i64) -> Transfer {
        Transfer::between(TransferId(id), from.parse().unwrap(), to.parse().unwrap(), amount)
    }

    fn bank(transfers: &[Transfer]) -> Bank {
        let mut bank = Bank::default();
        let context = Context { now_ms: 1, seed: 2, place: Place { slot: Slot(1), index: 1 } };
        bank.execute(&context, bank::Operation::Transfer { transfers: transfers.to_vec() }).unwrap();
        bank
    }

    fn asked(call: Call, fate: Fate) -> Operation {
        Operation { client: 0, key: 0, call, invoked_us: 1, fate, place: None }
    }

    fn told(transfer: &Transfer, outcome: Outcome) -> Operation {
        asked(Call::Transfer(vec![transfer.clone()]), Fate::Done(2, Told::Settled(vec![outcome])))
    }

    #[test]
    fn what_clients_were_told_is_held_against_the_ledger() {
        let (one, poor) = (transfer(1, "A", "B", 4), transfer(2, "A", "B", 100));
        let bank = bank(&[one.clone(), poor.clone()]);
        assert_eq!(check_money(&bank), Ok(()));
        let right = [told(&one, Outcome::Done), told(&poor, Outcome::InsufficientBalance)];
        assert_eq!(check(&bank, &right), Ok(()));
        let is_found = |operation: Operation| check(&bank, &[operation]).is_err();
        assert!(is_found(told(&poor, Outcome::Done)), "it was refused");
        assert!(is_found(told(&transfer(3, "A", "B", 1), Outcome::Done)), "nobody knows it");
        let not_done = asked(Call::Transfer(vec![one.clone()]), Fate::NotDone);
        assert!(is_found(not_done.clone()), "it was done");
        let again = asked(Call::Transfer(vec![one]), Fate::Unknown);
        assert_eq!(check(&bank, &[not_done, again]), Ok(()), "by the second telling");
        let seen = |balances: &[i64]| asked(Call::Accounts, Fate::Done(2, Told::Balances(balances.to_vec())));
        assert!(!is_found(seen(&[6, 14, 10, 10, 10, 10, 10, 10, 10, 10])));
        assert!(is_found(seen(&[6, 10])), "in the middle of a transfer");
    }

    #[test]
    fn money_that_is_made_or_lost_is_found() {
        let deposit = Transfer::deposit(TransferId(1), "A".parse().unwrap(), 1);
        assert!(check_money(&bank(&[deposit])).is_err());
        let done = bank(&[transfer(1, "A", "B", 4)]);
        let mut balances = balances(&done).unwrap();
        assert_eq!(check_book(&ledger(&done).unwrap(), &balances), Ok(()));
        *balances.get_mut("A").unwrap() += 1;
        assert!(check_book(&ledger(&done).unwrap(), &balances).is_err());
    }
}
