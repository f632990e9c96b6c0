//! What the bank does, and that it does the same as a bank that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::paxos::{Place, Slot};

fn at(slot: u64) -> Context {
    Context { now_ms: 1000 * slot, seed: 2, place: place(slot) }
}

fn place(slot: u64) -> Place {
    Place { slot: Slot(slot), index: 1 }
}

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn transfer(id: u128, from: &str, to: &str, amount: i64) -> Transfer {
    Transfer::between(TransferId(id), name(from), name(to), amount)
}

fn linked(transfer: Transfer) -> Transfer {
    Transfer { linked: true, ..transfer }
}

/// As it goes through the log.
fn apply(bank: &mut Bank, slot: u64, operation: &Operation) -> Answer {
    Answer::decode(&bank.apply(&at(slot), &codec::encode(operation))).unwrap()
}

fn ask(bank: &Bank, query: &Query) -> Answer {
    Answer::decode(&bank.query(&codec::encode(query))).unwrap()
}

fn settle(bank: &mut Bank, slot: u64, transfers: Vec<Transfer>) -> Vec<Receipt> {
    match apply(bank, slot, &Operation::Transfer { transfers }) {
        Answer::Transferred { receipts } => receipts,
        other => panic!("{other:?}"),
    }
}

fn outcomes(bank: &mut Bank, slot: u64, transfers: Vec<Transfer>) -> Vec<Outcome> {
    settle(bank, slot, transfers).iter().map(|receipt| receipt.outcome).collect()
}

fn open(bank: &mut Bank, slot: u64, names: &[&str]) -> Vec<bool> {
    match apply(bank, slot, &Operation::Open { accounts: names.iter().map(|text| name(text)).collect() }) {
        Answer::Opened { new } => new,
        other => panic!("{other:?}"),
    }
}

fn accounts(bank: &Bank) -> Vec<Account> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        match ask(bank, &Query::Accounts { after, limit: 3 }) {
            Answer::Accounts { accounts, next } => {
                all.extend(accounts);
                match next {
                    Some(next) => after = Some(next),
                    None => return all,
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn balance(bank: &Bank, of: &str) -> Option<i64> {
    match ask(bank, &Query::Account { name: name(of) }) {
        Answer::Account(account) => account.map(|account| account.balance),
        other => panic!("{other:?}"),
    }
}

fn totals(bank: &Bank) -> Totals {
    match ask(bank, &Query::Totals) {
        Answer::Totals(totals) => totals,
        other => panic!("{other:?}"),
    }
}

fn transfers(answer: Answer) -> (Vec<Recorded>, Option<u64>) {
    match answer {
        Answer::Transfers { transfers, next } => (transfers, next),
        other => panic!("{other:?}"),
    }
}

fn history(bank: &Bank, of: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut before = None;
    loop {
        let (page, next) = transfers(ask(bank, &Query::History { account: name(of), before, limit: 2 }));
        numbers.extend(page.iter().map(|transfer| transfer.number));
        before = next;
        if next.is_none() {
            return numbers;
        }
    }
}

/// What holds after every command.
fn check(bank: &Bank) {
    let totals = totals(bank);
    let accounts = accounts(bank);
    assert!(accounts.iter().all(|account| account.balance >= 0));
    assert!(accounts.is_sorted_by(|a, b| a.name < b.name), "{accounts:?}");
    assert_eq!(accounts.len() as u64, totals.accounts);
    let money: i128 = accounts.iter().map(|account| i128::from(account.balance)).sum();
    assert_eq!(money as u128, totals.money, "the totals are those of the accounts");
    assert_eq!(totals.deposited - totals.withdrawn, totals.money, "money comes in and leaves, and nothing else");
    let mut again = bank.empty();
    again.restore(&mut bank.freeze().parts()).unwrap();
    assert_eq!(&again, bank);
    assert_eq!(again.digest(), bank.digest());
    assert_eq!(bank.freeze().digest(), bank.digest());
    assert_eq!(ask(&again, &Query::Totals), Answer::Totals(totals));
}

#[test]
fn ready_made_accounts_hold_ten_each() {
    let bank = Bank::default();
    let accounts = accounts(&bank);
    assert_eq!(accounts.iter().map(|account| account.name.as_str()).collect::<String>(), "ABCDEFGHIJ");
    assert!(accounts.iter().all(|account| (account.balance, account.opened_ms) == (10, 0)));
    let totals = totals(&bank);
    assert_eq!((totals.money, totals.deposited, totals.withdrawn), (100, 100, 0));
    check(&bank);
}

#[test]
fn money_moves_comes_and_goes() {
    let mut bank = Bank::default();
    assert_eq!(open(&mut bank, 1, &["Ann", "A", "Ann"]), [true, false, false]);
    let told = vec![
        Transfer::deposit(TransferId(1), name("Ann"), 100),
        transfer(2, "Ann", "A", 30),
        Transfer::withdrawal(TransferId(3), name("A"), 40),
    ];
    assert_eq!(outcomes(&mut bank, 2, told), [Outcome::Done; 3]);
    assert_eq!((balance(&bank, "Ann"), balance(&bank, "A"), balance(&bank, "nobody")), (Some(70), Some(0), None));
    let Totals { accounts, done, money, deposited, withdrawn, .. } = totals(&bank);
    assert_eq!((accounts, done, money, deposited, withdrawn), (11, 3, 160, 200, 40));
    check(&bank);
}

#[test]
fn a_transfer_that_cannot_be_done_says_why_and_moves_nothing() {
    let mut bank = Bank::default();
    let nothing = Transfer { id: TransferId(9), from: None, to: None, amount: 1, linked: false };
    let told = vec![
        transfer(1, "X", "A", 1),
        transfer(2, "A", "X", 1),
        transfer(3, "A", "X", 100),
        transfer(4, "A", "B", 11),
        transfer(5, "A", "B", 0),
        transfer(6, "A", "B", -1),
        transfer(7, "A", "A", 1),
        Transfer::deposit(TransferId(8), name("A"), i64::MAX - 9),
        nothing,
        Transfer::withdrawal(TransferId(10), name("A"), i64::MIN),
    ];
    let why = [
        Outcome::UnknownSender,
        Outcome::UnknownReceiver,
        Outcome::UnknownReceiver,
        Outcome::InsufficientBalance,
        Outcome::NotPositive,
        Outcome::NotPositive,
        Outcome::SameAccount,
        Outcome::Overflow,
        Outcome::NoAccount,
        Outcome::NotPositive,
    ];
    assert_eq!(outcomes(&mut bank, 1, told), why);
    assert_eq!(accounts(&bank), accounts(&Bank::default()));
    assert_eq!((totals(&bank).done, totals(&bank).refused), (0, 10));
    assert_eq!(history(&bank, "X"), [3, 2, 1], "also of those who have no account");
    check(&bank);
}

#[test]
fn an_account_holds_as_much_as_64_bits_do() {
    let mut bank = Bank::default();
    let told = vec![Transfer::deposit(TransferId(1), name("A"), i64::MAX - 10), transfer(2, "B", "A", 1)];
    assert_eq!(outcomes(&mut bank, 1, told), [Outcome::Done, Outcome::Overflow]);
    assert_eq!(balance(&bank, "A"), Some(i64::MAX));
    assert_eq!(
        outcomes(&mut bank, 2, vec![Transfer::deposit(TransferId(3), name("B"), i64::MAX - 10)]),
        [Outcome::Done]
    );
    assert_eq!(totals(&bank).money, 2 * i64::MAX as u128 + 80);
    check(&bank);
}

#[test]
fn a_transfer_told_again_gets_its_first_answer() {
    let mut bank = Bank::default();
    let told = vec![transfer(1, "A", "B", 4), transfer(2, "A", "B", 7)];
    let first = settle(&mut bank, 1, told.clone());
    assert_eq!(first[0], Receipt { outcome: Outcome::Done, before: None });
    assert_eq!(first[1], Receipt { outcome: Outcome::InsufficientBalance, before: None });
    settle(&mut bank, 2, vec![Transfer::deposit(TransferId(3), name("A"), 100)]);
    let before = bank.clone();
    let again = settle(&mut bank, 3, told);
    assert_eq!(again[0], Receipt { outcome: Outcome::Done, before: Some(place(1)) });
    let refused = Receipt { outcome: Outcome::InsufficientBalance, before: Some(place(1)) };
    assert_eq!(again[1], refused, "though there is enough by now");
    assert_eq!((&bank, bank.digest()), (&before, before.digest()), "and nothing changes");
    check(&bank);
}

#[test]
fn an_id_is_for_one_transfer() {
    let mut bank = Bank::default();
    settle(&mut bank, 1, vec![transfer(1, "A", "B", 4)]);
    let before = bank.clone();
    let others = vec![
        transfer(1, "A", "B", 5),
        transfer(1, "A", "C", 4),
        transfer(1, "C", "B", 4),
        Transfer::deposit(TransferId(1), name("B"), 4),
    ];
    assert_eq!(outcomes(&mut bank, 2, others), [Outcome::IdTaken; 4]);
    assert_eq!(bank, before);
}

#[test]
fn linked_transfers_are_done_together_or_not_at_all() {
    let mut bank = Bank::default();
    let told = vec![
        linked(transfer(1, "A", "B", 10)),
        linked(transfer(2, "B", "C", 20)),
        transfer(3, "C", "D", 30),
        transfer(4, "D", "E", 1),
        linked(transfer(5, "E", "F", 5)),
        linked(transfer(6, "F", "G", 1000)),
        transfer(7, "G", "H", 1),
    ];
    let (done, linked_refused) = (Outcome::Done, Outcome::LinkedRefused);
    let came = [done, done, done, done, linked_refused, Outcome::InsufficientBalance, linked_refused];
    assert_eq!(outcomes(&mut bank, 1, told.clone()), came);
    let held: Vec<_> = "ABCDEFGH".chars().map(|of| balance(&bank, &of.to_string()).unwrap()).collect();
    assert_eq!(held, [0, 0, 0, 39, 11, 10, 10, 10]);
    check(&bank);
    let before = bank.clone();
    let again = settle(&mut bank, 2, told);
    assert_eq!(again.iter().map(|receipt| receipt.outcome).collect::<Vec<_>>(), came);
    assert!(again.iter().all(|receipt| receipt.before == Some(place(1))));
    assert_eq!(bank, before);
}

#[test]
fn what_was_settled_before_is_not_done_again_with_others() {
    let mut bank = Bank::default();
    settle(&mut bank, 1, vec![transfer(1, "A", "B", 1)]);
    let chain = vec![linked(transfer(1, "A", "B", 1)), transfer(2, "B", "C", 1)];
    let receipts = settle(&mut bank, 2, chain);
    assert_eq!(receipts[0], Receipt { outcome: Outcome::Done, before: Some(place(1)) });
    assert_eq!(receipts[1], Receipt { outcome: Outcome::LinkedRefused, before: None });
    let twice = vec![linked(transfer(3, "A", "B", 1)), transfer(3, "A", "B", 1)];
    assert_eq!(outcomes(&mut bank, 3, twice), [Outcome::LinkedRefused; 2]);
    let taken = vec![linked(transfer(4, "A", "B", 1)), transfer(1, "A", "B", 2)];
    assert_eq!(outcomes(&mut bank, 4, taken), [Outcome::LinkedRefused, Outcome::IdTaken]);
    assert_eq!((balance(&bank, "A"), balance(&bank, "B"), balance(&bank, "C")), (Some(9), Some(11), Some(10)));
    check(&bank);
}

#[test]
fn a_command_that_is_none_changes_nothing() {
    let mut bank = Bank::default();
    let mut refused = |operation: &Operation, why: BankError| {
        assert_eq!(apply(&mut bank, 1, operation), Answer::Error(why));
        assert_eq!(bank, Bank::default());
    };
    let dangling = vec![transfer(1, "A", "B", 1), linked(transfer(2, "A", "B", 1))];
    refused(&Operation::Transfer { transfers: dangling }, BankError::LinkedToNothing);
    let count = MAX_TRANSFERS + 1;
    let too_many = BankError::TooMany { count: count as u64 };
    refused(&Operation::Transfer { transfers: vec![transfer(1, "A", "B", 1); count] }, too_many);
    refused(&Operation::Open { accounts: vec![name("x"); count] }, too_many);
    let whole = codec::encode(&Operation::Open { accounts: vec![name("x")] });
    for length in 0..whole.len() {
        let answer = bank.apply(&at(1), &whole[..length]);
        assert_eq!(Answer::decode(&answer).unwrap(), Answer::Error(BankError::Malformed), "cut at {length}");
    }
    let unnamed = codec::encode(&(0u32, vec![serde_bytes::ByteBuf::from(b" x".to_vec())]));
    assert_eq!(Answer::decode(&bank.apply(&at(1), &unnamed)).unwrap(), Answer::Error(BankError::Malformed));
    assert_eq!(Answer::decode(&bank.query(&[9; 9])).unwrap(), Answer::Error(BankError::Malformed));
    assert_eq!(bank, Bank::default());
}

#[test]
fn what_was_told_can_be_looked_up() {
    let mut bank = Bank::default();
    settle(&mut bank, 5, vec![transfer(70, "A", "B", 3), transfer(71, "A", "B", 30)]);
    let look = |id| match ask(&bank, &Query::Transfer { id: TransferId(id) }) {
        Answer::Transfer(transfer) => transfer,
        other => panic!("{other:?}"),
    };
    let first = Recorded {
        number: 1,
        id: TransferId(70),
        from: Some(name("A")),
        to: Some(name("B")),
        amount: 3,
        outcome: Outcome::Done,
        place: place(5),
        at_ms: 5000,
    };
    assert_eq!(look(70), Some(first.clone()));
    assert_eq!(look(71).unwrap().outcome, Outcome::InsufficientBalance);
    assert_eq!(look(72), None);
    let (page, next) = transfers(ask(&bank, &Query::Transfers { after: 0, limit: 1 }));
    assert_eq!((page, next), (vec![first], Some(1)));
    let (page, next) = transfers(ask(&bank, &Query::Transfers { after: 1, limit: 0 }));
    assert_eq!((page[0].number, next), (2, None));
    let (none, next) = transfers(ask(&bank, &Query::Transfers { after: u64::MAX, limit: 1 }));
    assert_eq!((none.len(), next), (0, None));
}

#[test]
fn the_history_of_an_account_is_what_names_it_the_last_first() {
    let mut bank = Bank::default();
    let told = ["AB", "BC", "CA", "AA", "BA"].iter().zip(1..).map(|(pair, id)| transfer(id, &pair[..1], &pair[1..], 1));
    settle(&mut bank, 1, told.collect());
    assert_eq!(history(&bank, "A"), [5, 4, 3, 1]);
    assert_eq!(history(&bank, "B"), [5, 2, 1]);
    assert_eq!(history(&bank, "D"), [0u64; 0]);
    let of = |before| transfers(ask(&bank, &Query::History { account: name("A"), before, limit: 0 })).0;
    assert!(of(Some(2)).is_empty(), "a transfer of others knows nothing of this account");
    assert!(of(Some(0)).is_empty() && of(Some(u64::MAX)).is_empty());
}

#[test]
fn a_reset_is_a_new_bank() {
    let mut bank = Bank::default();
    settle(&mut bank, 1, vec![transfer(1, "A", "B", 1)]);
    assert_eq!(apply(&mut bank, 2, &Operation::Reset), Answer::Reset);
    assert_eq!((&bank, bank.digest()), (&Bank::default(), Bank::default().digest()));
}

#[test]
fn a_frozen_bank_does_not_change() {
    let mut bank = Bank::default();
    settle(&mut bank, 1, vec![transfer(1, "A", "B", 1)]);
    let frozen = bank.freeze();
    let before: Vec<_> = frozen.parts().collect();
    settle(&mut bank, 2, vec![transfer(2, "A", "B", 1)]);
    assert_eq!(frozen.parts().collect::<Vec<_>>(), before);
    assert_ne!(frozen.digest(), bank.digest());
}

#[test]
fn a_snapshot_that_contradicts_itself_does_not_restore() {
    let mut bank = Bank::default();
    open(&mut bank, 1, &["Ann"]);
    settle(&mut bank, 2, vec![transfer(1, "A", "B", 4), transfer(2, "B", "X", 4)]);
    let whole: Vec<Vec<u8>> = bank.freeze().parts().collect();
    let refused = |parts: Vec<Vec<u8>>, why: &str| {
        let error = bank.empty().restore(&mut parts.into_iter()).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(vec![], "not a snapshot of the bank");
    refused(vec![codec::encode(&Head { format: 9, accounts: 0, transfers: 0 })], "a bank snapshot of format 9");
    refused(whole[..2].to_vec(), "accounts or transfers are missing");
    for part in 0..whole.len() {
        for length in 0..whole[part].len() {
            let mut hurt = whole.clone();
            hurt[part].truncate(length);
            assert!(bank.empty().restore(&mut hurt.into_iter()).is_err(), "part {part} is cut at {length}");
        }
    }
    let Part::Accounts(accounts) = codec::decode(&whole[1], 10_000).unwrap() else { panic!() };
    let Part::Transfers(entries) = codec::decode(&whole[2], 10_000).unwrap() else { panic!() };
    let with = |accounts: &[(AccountName, Option<Open>)], entries: &[Entry]| {
        let (accounts, entries) = (accounts.to_vec(), entries.to_vec());
        let head = Head { format: SNAPSHOT_FORMAT, accounts: accounts.len() as u64, transfers: entries.len() as u64 };
        vec![codec::encode(&head), codec::encode(&Part::Accounts(accounts)), codec::encode(&Part::Transfers(entries))]
    };
    assert_eq!(with(&accounts, &entries), whole);
    let mut richer = accounts.clone();
    richer[0].1.as_mut().unwrap().balance += 1;
    refused(with(&richer, &entries), "the balance of A does not follow from its transfers");
    let mut twice = accounts.clone();
    twice[1].0 = name("A");
    refused(with(&twice, &entries), "account A is there twice");
    let changed = |change: fn(&mut Entry)| {
        let mut entries = entries.clone();
        change(&mut entries[0]);
        with(&accounts, &entries)
    };
    refused(changed(|entry| entry.amount = 11), "transfer 1 cannot have been done");
    refused(changed(|entry| entry.amount = -1), "transfer 1 cannot have been done");
    refused(changed(|entry| entry.to = Some(99)), "transfer 1 names an account that is not there");
    refused(changed(|entry| entry.id = TransferId(2)), "transfer 2 is there twice");
    refused(changed(|entry| entry.outcome = Outcome::Overflow), "does not follow from its transfers");
}

#[test]
fn names_and_ids_read_back_or_say_what_is_wrong() {
    for (text, why) in [
        ("", "is missing"),
        (" A", "begins or ends with a blank"),
        ("a\nb", "control characters"),
        (&"x".repeat(65), "has 65 bytes, the limit is 64"),
    ] {
        let error = text.parse::<AccountName>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(name("Müller & Söhne").to_string(), "Müller & Söhne");
    for id in [0, 7, u64::MAX.into(), u128::from(u64::MAX) + 1, u128::MAX] {
        let id = TransferId(id);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    assert_eq!(TransferId(u128::MAX).to_string(), "ffffffff-ffff-ffff-ffff-ffffffffffff");
    for text in
        ["", "x", "-1", "+1", "1 ", "ffffffff-ffff-ffff-ffff-fffffffffff", "ffffffff+ffff-ffff-ffff-ffffffffffff"]
    {
        assert!(text.parse::<TransferId>().is_err(), "{text}");
    }
    assert!("340282366920938463463374607431768211456".parse::<TransferId>().is_err(), "2^128");
}

/// A bank that copies everything before it tries anything.
#[derive(Clone, Default)]
struct Simple {
    balances: BTreeMap<String, i128>,
    settled: BTreeMap<u128, (Transfer, Outcome)>,
}

impl Simple {
    fn outcome(&mut self, told: &Transfer) -> Outcome {
        let amount = i128::from(told.amount);
        let known = |name: &Option<AccountName>, balances: &BTreeMap<String, i128>| {
            name.as_ref().is_none_or(|name| balances.contains_key(name.as_str()))
        };
        if amount <= 0 {
            Outcome::NotPositive
        } else if told.from.is_none() && told.to.is_none() {
            Outcome::NoAccount
        } else if told.from == told.to {
            Outcome::SameAccount
        } else if !known(&told.from, &self.balances) {
            Outcome::UnknownSender
        } else if !known(&told.to, &self.balances) {
            Outcome::UnknownReceiver
        } else if told.from.as_ref().is_some_and(|from| self.balances[from.as_str()] < amount) {
            Outcome::InsufficientBalance
        } else if told.to.as_ref().is_some_and(|to| self.balances[to.as_str()] + amount > i128::from(i64::MAX)) {
            Outcome::Overflow
        } else {
            Outcome::Done
        }
    }

    /// Each by itself.
    fn settle(&mut self, told: &Transfer) -> (Outcome, bool) {
        if let Some((first, outcome)) = self.settled.get(&told.id.0) {
            let is_same = (&first.from, &first.to, first.amount) == (&told.from, &told.to, told.amount);
            return (if is_same { *outcome } else { Outcome::IdTaken }, false);
        }
        let outcome = self.outcome(told);
        if outcome.is_done() {
            for (name, by) in [(&told.from, -1), (&told.to, 1)] {
                if let Some(name) = name {
                    *self.balances.get_mut(name.as_str()).unwrap() += by * i128::from(told.amount);
                }
            }
        }
        self.settled.insert(told.id.0, (told.clone(), outcome));
        (outcome, true)
    }

    fn chain(&mut self, chain: &[Transfer]) -> Vec<Outcome> {
        let before = self.clone();
        let came: Vec<(Outcome, bool)> = chain.iter().map(|told| self.settle(told)).collect();
        if chain.len() == 1 || came.iter().all(|(outcome, is_new)| outcome.is_done() && *is_new) {
            return came.into_iter().map(|(outcome, _)| outcome).collect();
        }
        self.balances = before.balances;
        let refused = |outcome| if outcome == Outcome::Done { Outcome::LinkedRefused } else { outcome };
        for (id, (_, outcome)) in &mut self.settled {
            if !before.settled.contains_key(id) {
                *outcome = refused(*outcome);
            }
        }
        let outcome = |told: &Transfer, came: Outcome| {
            let first = &self.settled[&told.id.0];
            if came == Outcome::IdTaken { came } else { first.1 }
        };
        chain.iter().zip(came).map(|(told, (came, _))| outcome(told, came)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(AccountName),
    Transfer(Vec<Transfer>),
    Restore,
}

fn any_name() -> impl Strategy<Value = AccountName> {
    prop::sample::select(vec!["A", "B", "C", "Ann", "Bob"]).prop_map(name)
}

fn any_transfer() -> impl Strategy<Value = Transfer> {
    let party = || prop::option::weighted(0.9, any_name());
    let amount = prop_oneof![8 => -1..12i64, 1 => Just(i64::MAX), 1 => Just(i64::MAX - 10)];
    // Few ids, so that many come again.
    (0..40u128, party(), party(), amount, prop::bool::weighted(0.3))
        .prop_map(|(id, from, to, amount, linked)| Transfer { id: TransferId(id), from, to, amount, linked })
}

fn any_step() -> impl Strategy<Value = Step> {
    let transfers = vec(any_transfer(), 1..6).prop_map(|mut transfers| {
        transfers.last_mut().unwrap().linked = false;
        Step::Transfer(transfers)
    });
    prop_oneof![1 => any_name().prop_map(Step::Open), 8 => transfers, 1 => Just(Step::Restore)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bank_does_what_a_simple_bank_does(steps in vec(any_step(), 1..25)) {
        let mut bank = Bank::default();
        let mut simple = Simple::default();
        simple.balances.extend(READY_MADE.iter().map(|name| (name.to_string(), READY_MADE_BALANCE.into())));
        for (step, slot) in steps.into_iter().zip(1..) {
            match step {
                Step::Open(name) => {
                    let new = open(&mut bank, slot, &[name.as_str()]);
                    let is_new = !simple.balances.contains_key(name.as_str());
                    simple.balances.entry(name.to_string()).or_insert(0);
                    prop_assert_eq!(new, vec![is_new]);
                }
                Step::Transfer(told) => {
                    let expected: Vec<Outcome> =
                        told.chunk_by(|told, _| told.linked).flat_map(|chain| simple.chain(chain)).collect();
                    prop_assert_eq!(outcomes(&mut bank, slot, told), expected);
                }
                Step::Restore => {
                    let mut again = bank.empty();
                    again.restore(&mut bank.freeze().parts()).unwrap();
                    bank = again;
                }
            }
            check(&bank);
            let held: BTreeMap<String, i128> =
                accounts(&bank).iter().map(|account| (account.name.to_string(), account.balance.into())).collect();
            prop_assert_eq!(&held, &simple.balances);
        }
        for (id, (told, outcome)) in &simple.settled {
            let Answer::Transfer(Some(found)) = ask(&bank, &Query::Transfer { id: TransferId(*id) }) else { panic!() };
            prop_assert_eq!((&found.from, &found.to, found.amount, found.outcome), (&told.from, &told.to, told.amount, *outcome));
        }
    }
}
