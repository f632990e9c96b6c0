//! What the accounts must hold: the file read from top to bottom, by a book that knows no log, no nodes and no ids.

use std::collections::BTreeMap;

use synod::machine::bank::{AccountName, Outcome};

use super::script::Row;

/// Balances by account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book(pub BTreeMap<AccountName, i64>);

impl Book {
    /// Writes a transfer down, and says what must come of it.
    pub fn settle(&mut self, row: &Row) -> Outcome {
        let Row { from, to, amount, .. } = row;
        let held = |name: &AccountName| self.0.get(name).copied();
        let outcome = match (held(from), held(to)) {
            _ if *amount <= 0 => Outcome::NotPositive,
            _ if from == to => Outcome::SameAccount,
            (None, _) => Outcome::UnknownSender,
            (_, None) => Outcome::UnknownReceiver,
            (Some(sender), _) if sender < *amount => Outcome::InsufficientBalance,
            (_, Some(receiver)) if receiver.checked_add(*amount).is_none() => Outcome::Overflow,
            _ => Outcome::Done,
        };
        if outcome.is_done() {
            *self.0.entry(from.clone()).or_default() -= amount;
            *self.0.entry(to.clone()).or_default() += amount;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_moves_what_is_there_and_nothing_else() {
        let name = |text: &str| text.parse::<AccountName>().unwrap();
        let mut book = Book(BTreeMap::from([(name("A"), 10), (name("B"), i64::MAX)]));
        let mut settle =
            |from: &str, to: &str, amount| book.settle(&Row { line: 1, from: name(from), to: name(to), amount });
        assert_eq!(settle("A", "B", 1), Outcome::Overflow);
        assert_eq!(settle("B", "A", 5), Outcome::Done);
        assert_eq!(settle("A", "B", 16), Outcome::InsufficientBalance);
        assert_eq!(settle("A", "B", 0), Outcome::NotPositive);
        assert_eq!(settle("A", "A", 1), Outcome::SameAccount);
        assert_eq!(settle("X", "A", 1), Outcome::UnknownSender);
        assert_eq!(settle("A", "X", 1), Outcome::UnknownReceiver);
        assert_eq!(book.0, BTreeMap::from([(name("A"), 15), (name("B"), i64::MAX - 5)]));
    }
}
