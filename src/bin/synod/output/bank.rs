//! The bank's answers, as text and as JSON.

use std::collections::BTreeMap;

use comfy_table::{Attribute, Cell, Color};
use serde_json::{Value, json};
use synod::machine::bank::{Account, AccountName, Outcome, Recorded};

use super::text::{ABSENT, finished, side_by_side, table, to_the_right, with_notes};
use super::time::utc;
use super::{Style, json};
use crate::answer::{BankAnswer, PerNode};

/// As text, without the last newline.
pub fn text(answer: &BankAnswer, style: Style) -> String {
    match answer {
        BankAnswer::Opened(accounts) => {
            let said = |(name, is_new): &(AccountName, bool)| match is_new {
                true => format!("{name} is open"),
                false => format!("{name} was open already"),
            };
            accounts.iter().map(said).collect::<Vec<_>>().join("\n")
        }
        BankAnswer::Settled { id, outcome: Outcome::Done, place, again: false } => {
            format!("done at {place} (transfer {id})")
        }
        BankAnswer::Settled { id, outcome: Outcome::Done, place, again: true } => {
            format!("done already at {place} (transfer {id})")
        }
        BankAnswer::Settled { id, outcome, place, again } => {
            format!("refused{} at {place}: {outcome} (transfer {id})", if *again { " already" } else { "" })
        }
        BankAnswer::Balance(account) => account.balance.to_string(),
        BankAnswer::Accounts(accounts) => all_accounts(accounts, style),
        BankAnswer::History { transfers, more } => {
            let note =
                if *more { format!("\nthere are more than {}: raise --limit", transfers.len()) } else { String::new() };
            history(transfers, style) + &note
        }
        BankAnswer::Receipt(transfer) => history(std::slice::from_ref(transfer), style),
        BankAnswer::Reset => "the bank is as in the beginning".to_owned(),
        BankAnswer::Ledgers(nodes) => ledgers(nodes, style),
    }
}

fn all_accounts(accounts: &[Account], style: Style) -> String {
    let mut table = table(["ACCOUNT", "BALANCE", "OPENED"], style);
    for account in accounts {
        let opened = if account.opened_ms == 0 { READY_MADE.to_owned() } else { utc(account.opened_ms) };
        table.add_row([account.name.to_string(), account.balance.to_string(), opened]);
    }
    to_the_right(&mut table, [1]);
    let money: i128 = accounts.iter().map(|account| i128::from(account.balance)).sum();
    format!("{}\n{} accounts hold {money}", finished(&table), accounts.len())
}

fn history(transfers: &[Recorded], style: Style) -> String {
    if transfers.is_empty() {
        return "no transfers".to_owned();
    }
    let mut table = table(["NUMBER", "TIME", "PLACE", "FROM", "TO", "AMOUNT", "OUTCOME", "ID"], style);
    for transfer in transfers {
        let party = |name: &Option<AccountName>| name.as_ref().map_or_else(|| OUTSIDE.to_owned(), ToString::to_string);
        let outcome = Cell::new(transfer.outcome);
        table.add_row([
            Cell::new(transfer.number),
            Cell::new(utc(transfer.at_ms)),
            Cell::new(transfer.place),
            Cell::new(party(&transfer.from)),
            Cell::new(party(&transfer.to)),
            Cell::new(transfer.amount),
            if transfer.outcome.is_done() { outcome } else { outcome.fg(Color::Red) },
            Cell::new(transfer.id),
        ]);
    }
    to_the_right(&mut table, [0, 5]);
    finished(&table)
}

/// All nodes side by side; a row in which they differ is marked.
fn ledgers(nodes: &[PerNode<Vec<Account>>], style: Style) -> String {
    let mut rows: BTreeMap<&AccountName, Vec<Option<i64>>> = BTreeMap::new();
    for (column, node) in nodes.iter().enumerate() {
        for account in node.part.iter().flatten() {
            rows.entry(&account.name).or_insert_with(|| vec![None; nodes.len()])[column] = Some(account.balance);
        }
    }
    let mut table = side_by_side("ACCOUNT", nodes, [""], style);
    let mut differing = 0;
    for (name, balances) in rows {
        let mut answered = balances.iter().zip(nodes).filter(|(_, node)| node.part.is_ok()).map(|(balance, _)| balance);
        let first = answered.next();
        let differs = answered.any(|balance| Some(balance) != first);
        differing += usize::from(differs);
        let shown = |balance: &Option<i64>| balance.map_or_else(|| ABSENT.to_owned(), |balance| balance.to_string());
        let cell = |balance| match differs {
            true => Cell::new(shown(balance)).fg(Color::Red).add_attribute(Attribute::Bold),
            false => Cell::new(shown(balance)),
        };
        let mark = Cell::new(if differs { DIFFERS } else { "" });
        table.add_row(std::iter::once(Cell::new(name)).chain(balances.iter().map(cell)).chain([mark]));
    }
    to_the_right(&mut table, 1..=nodes.len());
    let note = format!("{differing} differ: a node may not have executed everything yet; ask again, or see `status`");
    with_notes(&table, nodes, if differing == 0 { Vec::new() } else { vec![note] })
}

/// As one object.
pub fn object(answer: &BankAnswer) -> Value {
    match answer {
        BankAnswer::Opened(accounts) => {
            let one = |(name, is_new): &(AccountName, bool)| json!({"account": name.as_str(), "new": is_new});
            json!({"opened": accounts.iter().map(one).collect::<Vec<_>>()})
        }
        BankAnswer::Settled { id, outcome, place, again } => json!({
            "id": id.to_string(),
            "outcome": outcome.to_string(),
            "done": outcome.is_done(),
            "place": place.to_string(),
            "slot": place.slot.0,
            "again": again,
        }),
        BankAnswer::Balance(account) => one_account(account),
        BankAnswer::Accounts(accounts) => json!({"accounts": accounts.iter().map(one_account).collect::<Vec<_>>()}),
        BankAnswer::History { transfers, more } => {
            json!({"transfers": transfers.iter().map(recorded).collect::<Vec<_>>(), "more": more})
        }
        BankAnswer::Receipt(transfer) => recorded(transfer),
        BankAnswer::Reset => json!({"reset": "bank"}),
        BankAnswer::Ledgers(nodes) => {
            json::per_node(nodes, |accounts| json!({"accounts": accounts.iter().map(one_account).collect::<Vec<_>>()}))
        }
    }
}

fn one_account(account: &Account) -> Value {
    json!({"account": account.name.as_str(), "balance": account.balance, "opened_ms": account.opened_ms})
}

fn recorded(transfer: &Recorded) -> Value {
    json!({
        "number": transfer.number,
        "id": transfer.id.to_string(),
        "from": transfer.from.as_ref().map(AccountName::as_str),
        "to": transfer.to.as_ref().map(AccountName::as_str),
        "amount": transfer.amount,
        "outcome": transfer.outcome.to_string(),
        "done": transfer.outcome.is_done(),
        "place": transfer.place.to_string(),
        "slot": transfer.place.slot.0,
        "at_ms": transfer.at_ms,
    })
}

/// In place of the name of an account: money that comes in, or leaves.
const OUTSIDE: &str = "(outside)";
/// In place of the time at which an account was opened.
const READY_MADE: &str = "ready-made";
const DIFFERS: &str = "differs";
