//! Accounts and transfers: the rules of the bank.

use std::collections::BTreeMap;
use std::ops::Bound;

use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::words::{
    Account, AccountName, Answer, BankError, MAX_PAGE, MAX_TRANSFERS, Operation, Outcome, Query, Receipt, Recorded,
    Totals, Transfer, TransferId,
};
use crate::machine::Context;
use crate::paxos::Place;

/// Everything the bank knows. What is never changed again or is shared when it is frozen lies in vectors that share what
/// they hold with their clones; the rest is worked out anew when a snapshot is restored.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// By their numbers, in the order in which they were first named: also by those who never opened them.
    pub accounts: Vector<Holder>,
    /// By their positions, in the order of the log.
    pub entries: Vector<Entry>,
    numbers: BTreeMap<AccountName, u32>,
    positions: Index,
    totals: Totals,
    balances: Weighed,
    names: blake3::Hasher,
    history: blake3::Hasher,
}

/// A name, and the account that goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: AccountName,
    /// None: nobody has opened it.
    pub open: Option<Open>,
    /// The last transfer that names it.
    last: Option<Link>,
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub balance: i64,
    pub since_ms: u64,
}

/// A transfer that was settled, one way or the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: TransferId,
    pub from: Option<u32>,
    pub to: Option<u32>,
    pub amount: i64,
    pub outcome: Outcome,
    pub place: Place,
    pub at_ms: u64,
    /// The transfers before this one that name the sender, and the receiver. Worked out anew when it is read.
    #[serde(skip)]
    before: [Option<Link>; 2],
}

/// The position of an entry, from 1, so that none takes no room.
type Link = std::num::NonZeroU32;

impl Default for Ledger {
    /// The ready-made accounts.
    fn default() -> Ledger {
        let mut ledger = Ledger::bare();
        for name in READY_MADE {
            let number = ledger.number(&name.parse().expect("a name"));
            ledger.open(number, 0, READY_MADE_BALANCE);
        }
        ledger
    }
}

impl Ledger {
    fn bare() -> Ledger {
        Ledger {
            accounts: Vector::new(),
            entries: Vector::new(),
            numbers: BTreeMap::new(),
            positions: Index::default(),
            totals: Totals::default(),
            balances: Weighed::default(),
            names: blake3::Hasher::new(),
            history: blake3::Hasher::new(),
        }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    /// Why it is not; nothing has changed.
    pub fn execute(&mut self, context: &Context, operation: Operation) -> Result<Answer, BankError> {
        match operation {
            Operation::Open { accounts } => {
                check_count(accounts.len())?;
                let new = accounts.iter().map(|name| self.open_new(name, context.now_ms)).collect();
                Ok(Answer::Opened { new })
            }
            Operation::Transfer { transfers } => {
                check_count(transfers.len())?;
                if transfers.last().is_some_and(|transfer| transfer.linked) {
                    return Err(BankError::LinkedToNothing);
                }
                if self.entries.len() + transfers.len() > MAX_ENTRIES {
                    return Err(BankError::Full);
                }
                let mut receipts = Vec::with_capacity(transfers.len());
                for chain in transfers.chunk_by(|transfer, _| transfer.linked) {
                    self.settle(context, chain, &mut receipts);
                }
                Ok(Answer::Transferred { receipts })
            }
            Operation::Reset => {
                *self = Ledger::default();
                Ok(Answer::Reset)
            }
        }
    }

    fn open_new(&mut self, name: &AccountName, now_ms: u64) -> bool {
        let number = self.number(name);
        let is_new = self.accounts[number as usize].open.is_none();
        if is_new {
            self.open(number, now_ms, 0);
        }
        is_new
    }

    /// Money that an account is opened with comes from outside.
    fn open(&mut self, number: u32, since_ms: u64, balance: i64) {
        self.accounts[number as usize].open = Some(Open { balance: 0, since_ms });
        self.balances.open(number, since_ms);
        self.change(number, balance);
        self.totals.accounts += 1;
        self.totals.deposited += balance as u128;
    }

    /// Settles transfers that stand or fall together, mostly just one.
    fn settle(&mut self, context: &Context, chain: &[Transfer], receipts: &mut Vec<Receipt>) {
        let (first, first_receipt) = (self.entries.len(), receipts.len());
        receipts.extend(chain.iter().map(|transfer| self.settle_one(context, transfer)));
        // One that was settled before cannot be done again with the others.
        let stands = |receipt: &Receipt| receipt.outcome.is_done() && receipt.before.is_none();
        if chain.len() > 1 && self.entries.len() > first && !receipts[first_receipt..].iter().all(stands) {
            self.take_back(first);
            let settled = |transfer| self.receipt(transfer, first).expect("each was settled, or its id is another's");
            receipts.truncate(first_receipt);
            receipts.extend(chain.iter().map(settled));
        }
        for position in first..self.entries.len() {
            let entry = self.entries[position].clone();
            self.enter(&entry);
        }
    }

    /// What is recorded will not change any more.
    fn enter(&mut self, entry: &Entry) {
        self.history.update(&entry.bytes());
        self.totals.count(entry);
    }

    fn settle_one(&mut self, context: &Context, transfer: &Transfer) -> Receipt {
        if let Some(receipt) = self.receipt(transfer, self.entries.len()) {
            return receipt;
        }
        let from = transfer.from.as_ref().map(|name| self.number(name));
        let to = transfer.to.as_ref().map(|name| self.number(name));
        let amount = transfer.amount;
        let outcome = self.outcome(from, to, amount);
        if outcome.is_done() {
            self.shift(from, to, amount);
        }
        let (place, at_ms) = (context.place, context.now_ms);
        self.record(Entry { id: transfer.id, from, to, amount, outcome, place, at_ms, before: [None; 2] });
        Receipt { outcome, before: None }
    }

    /// What is to come of a transfer that nobody has told before.
    fn outcome(&self, from: Option<u32>, to: Option<u32>, amount: i64) -> Outcome {
        if amount <= 0 {
            return Outcome::NotPositive;
        }
        if from == to {
            return if from.is_some() { Outcome::SameAccount } else { Outcome::NoAccount };
        }
        let open = |number: u32| self.accounts[number as usize].open;
        match from.map(open) {
            Some(None) => return Outcome::UnknownSender,
            Some(Some(sender)) if sender.balance < amount => return self.poor_or_unknown(to),
            _ => {}
        }
        match to.map(open) {
            Some(None) => Outcome::UnknownReceiver,
            Some(Some(receiver)) if receiver.balance.checked_add(amount).is_none() => Outcome::Overflow,
            _ => Outcome::Done,
        }
    }

    /// An account that is not there says more than a balance.
    fn poor_or_unknown(&self, to: Option<u32>) -> Outcome {
        match to.map(|number| self.accounts[number as usize].open) {
            Some(None) => Outcome::UnknownReceiver,
            _ => Outcome::InsufficientBalance,
        }
    }

    /// What came of a transfer, if its id is known. What is recorded from `now` on was not settled before.
    fn receipt(&self, transfer: &Transfer, now: usize) -> Option<Receipt> {
        let position = self.position(transfer.id)?;
        let entry = &self.entries[position];
        let is_same = self.name(entry.from) == transfer.from.as_ref()
            && self.name(entry.to) == transfer.to.as_ref()
            && entry.amount == transfer.amount;
        Some(match is_same {
            true => Receipt { outcome: entry.outcome, before: (position < now).then_some(entry.place) },
            false => Receipt { outcome: Outcome::IdTaken, before: None },
        })
    }

    /// Moves money: what one has less the other has more.
    fn shift(&mut self, from: Option<u32>, to: Option<u32>, amount: i64) {
        if let Some(number) = from {
            self.change(number, -amount);
        }
        if let Some(number) = to {
            self.change(number, amount);
        }
    }

    fn change(&mut self, number: u32, by: i64) {
        let open = self.accounts[number as usize].open.as_mut().expect("an account that is not open holds nothing");
        open.balance += by;
        assert!(open.balance >= 0, "account {number} is overdrawn");
        self.balances.change(number, by);
        self.totals.money = self.totals.money.wrapping_add_signed(by.into());
    }

    /// Undoes what was done from this position on.
    fn take_back(&mut self, first: usize) {
        for position in (first..self.entries.len()).rev() {
            let Entry { from, to, amount, outcome, .. } = self.entries[position];
            if outcome.is_done() {
                self.shift(to, from, amount);
                self.entries[position].outcome = Outcome::LinkedRefused;
            }
        }
    }

    fn record(&mut self, mut entry: Entry) {
        let position = self.entries.len() as u32;
        let link = Link::MIN.saturating_add(position);
        for (before, number) in entry.before.iter_mut().zip([entry.from, entry.to]) {
            if let Some(number) = number {
                *before = self.accounts[number as usize].last.replace(link);
            }
        }
        let id = entry.id.0;
        self.entries.push_back(entry);
        let entries = &self.entries;
        self.positions.insert(id, position, |position| entries[position as usize].id.0);
    }

    /// The number of a name, a new one for a new name.
    fn number(&mut self, name: &AccountName) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.accounts.len() as u32;
        self.names.update(name.as_str().as_bytes()).update(&[0]);
        self.accounts.push_back(Holder { name: name.clone(), open: None, last: None });
        self.numbers.insert(name.clone(), number);
        number
    }
}

/// Asked for.
impl Ledger {
    /// Answers a query.
    pub fn ask(&self, query: &Query) -> Answer {
        match query {
            Query::Account { name } => {
                let number = self.numbers.get(name);
                Answer::Account(number.and_then(|number| self.account(*number)))
            }
            Query::Accounts { after, limit } => self.accounts_page(after.as_ref(), page(*limit)),
            Query::Transfer { id } => {
                let position = self.position(*id);
                Answer::Transfer(position.map(|position| self.recorded(position)))
            }
            Query::History { account, before, limit } => self.history_page(account, *before, page(*limit)),
            Query::Transfers { after, limit } => {
                let first = usize::try_from(*after).unwrap_or(usize::MAX).min(self.entries.len());
                let end = self.entries.len().min(first.saturating_add(page(*limit)));
                let transfers = (first..end).map(|position| self.recorded(position)).collect();
                Answer::Transfers { transfers, next: (end < self.entries.len()).then_some(end as u64) }
            }
            Query::Totals => Answer::Totals(self.totals),
        }
    }

    fn accounts_page(&self, after: Option<&AccountName>, limit: usize) -> Answer {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.numbers.range((behind, Bound::Unbounded));
        let mut accounts = Vec::new();
        let mut last = None;
        // Names without an account count, too: they may be many.
        for (name, number) in names.by_ref().take(limit) {
            accounts.extend(self.account(*number));
            last = Some(name);
        }
        Answer::Accounts { accounts, next: last.filter(|_| names.next().is_some()).cloned() }
    }

    fn history_page(&self, account: &AccountName, before: Option<u64>, limit: usize) -> Answer {
        let Some(&number) = self.numbers.get(account) else {
            return Answer::Transfers { transfers: Vec::new(), next: None };
        };
        let mut link = match before {
            None => self.accounts[number as usize].last,
            // Only one of this account knows what is before it.
            Some(before) => before
                .checked_sub(1)
                .and_then(|position| self.entries.get(usize::try_from(position).ok()?))
                .and_then(|entry| entry.before(number)),
        };
        let mut transfers = Vec::new();
        while let Some(position) = link.map(position_of).filter(|_| transfers.len() < limit) {
            transfers.push(self.recorded(position));
            link = self.entries[position].before(number);
        }
        let next = transfers.last().filter(|_| link.is_some()).map(|last: &Recorded| last.number);
        Answer::Transfers { transfers, next }
    }

    fn account(&self, number: u32) -> Option<Account> {
        let Holder { name, open, .. } = &self.accounts[number as usize];
        let Open { balance, since_ms } = (*open)?;
        Some(Account { name: name.clone(), balance, opened_ms: since_ms })
    }

    fn recorded(&self, position: usize) -> Recorded {
        let Entry { id, from, to, amount, outcome, place, at_ms, .. } = self.entries[position];
        let (from, to) = (self.name(from).cloned(), self.name(to).cloned());
        Recorded { number: position as u64 + 1, id, from, to, amount, outcome, place, at_ms }
    }

    fn name(&self, number: Option<u32>) -> Option<&AccountName> {
        number.map(|number| &self.accounts[number as usize].name)
    }

    fn position(&self, id: TransferId) -> Option<usize> {
        self.positions.find(id.0, |position| self.entries[position as usize].id.0).map(|position| position as usize)
    }

    /// Equal for equal ledgers, and kept up to date transfer by transfer.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.accounts.len() as u64).to_le_bytes());
        hasher.update(&(self.entries.len() as u64).to_le_bytes());
        hasher.update(&self.balances.0.to_le_bytes());
        hasher.update(self.names.finalize().as_bytes());
        hasher.update(self.history.finalize().as_bytes());
        hasher.finalize().into()
    }
}

/// A ledger that is put together again: first its accounts, then its transfers, each in its order.
pub struct Rebuilt {
    ledger: Ledger,
    /// What the accounts are to be in the end.
    goal: Vec<Option<Open>>,
}

impl Default for Rebuilt {
    fn default() -> Rebuilt {
        Rebuilt { ledger: Ledger::bare(), goal: Vec::new() }
    }
}

impl Rebuilt {
    /// The next account, as it is after all transfers.
    pub fn account(&mut self, name: AccountName, open: Option<Open>) -> Result<(), String> {
        let number = self.ledger.accounts.len() as u32;
        if self.ledger.number(&name) != number {
            return Err(format!("account {name} is there twice"));
        }
        if let Some(open) = open {
            let with = if (number as usize) < READY_MADE.len() { READY_MADE_BALANCE } else { 0 };
            self.ledger.open(number, open.since_ms, with);
        }
        self.goal.push(open);
        Ok(())
    }

    /// The next transfer.
    pub fn transfer(&mut self, entry: Entry) -> Result<(), String> {
        let (id, ledger) = (entry.id, &mut self.ledger);
        let wrong = |what: &str| Err(format!("transfer {id} {what}"));
        if ledger.position(id).is_some() {
            return wrong("is there twice");
        }
        if ledger.entries.len() == MAX_ENTRIES {
            return wrong("is one too many");
        }
        let is_missing = |number: &u32| *number as usize >= ledger.accounts.len();
        if [entry.from, entry.to].iter().flatten().any(is_missing) {
            return wrong("names an account that is not there");
        }
        if entry.outcome.is_done() {
            if ledger.outcome(entry.from, entry.to, entry.amount) != Outcome::Done {
                return wrong("cannot have been done");
            }
            ledger.shift(entry.from, entry.to, entry.amount);
        }
        ledger.enter(&entry);
        ledger.record(entry);
        Ok(())
    }

    /// The ledger, if there were so many accounts and transfers, and the balances follow from the transfers.
    pub fn whole(self, accounts: u64, transfers: u64) -> Result<Ledger, String> {
        let Rebuilt { ledger, goal } = self;
        if (ledger.accounts.len() as u64, ledger.entries.len() as u64) != (accounts, transfers) {
            return Err("accounts or transfers are missing".to_string());
        }
        match ledger.accounts.iter().zip(&goal).find(|(holder, goal)| holder.open != **goal) {
            Some((holder, _)) => Err(format!("the balance of {} does not follow from its transfers", holder.name)),
            None => Ok(ledger),
        }
    }
}

impl PartialEq for Ledger {
    fn eq(&self, other: &Ledger) -> bool {
        self.accounts == other.accounts && self.entries == other.entries
    }
}

impl Eq for Ledger {}

impl Entry {
    /// What it says, in as many bytes as any other.
    fn bytes(&self) -> Vec<u8> {
        let number = |number: Option<u32>| number.unwrap_or(NOBODY).to_le_bytes();
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(self.id.0.to_le_bytes());
        bytes.extend(number(self.from));
        bytes.extend(number(self.to));
        bytes.extend(self.amount.to_le_bytes());
        bytes.push(self.outcome as u8);
        bytes.extend(self.place.slot.0.to_le_bytes());
        bytes.extend(self.place.index.to_le_bytes());
        bytes.extend(self.at_ms.to_le_bytes());
        bytes
    }

    fn before(&self, number: u32) -> Option<Link> {
        let is_own = |party: &Option<u32>| *party == Some(number);
        let side = [self.from, self.to].iter().position(is_own)?;
        self.before[side]
    }
}

impl Totals {
    fn count(&mut self, entry: &Entry) {
        if !entry.outcome.is_done() {
            self.refused += 1;
            return;
        }
        self.done += 1;
        let amount = entry.amount as u128;
        match (entry.from, entry.to) {
            (None, _) => self.deposited += amount,
            (_, None) => self.withdrawn += amount,
            _ => {}
        }
    }
}

/// A sum over all accounts in which each counts by a weight of its own: a change of one balance is a change of the sum,
/// without a look at the others, and two states that differ by mistake have the same sum once in 2^64 times. It is there
/// to find replicas that diverged; those who choose their transfers are bound by the hash of the transfers.
#[derive(Clone, Copy, Debug, Default)]
struct Weighed(u128);

impl Weighed {
    fn change(&mut self, number: u32, by: i64) {
        self.add(number, 0, i128::from(by) as u128);
    }

    /// An account without money counts, too.
    fn open(&mut self, number: u32, since_ms: u64) {
        self.add(number, 1, u128::from(since_ms) + 1);
    }

    fn add(&mut self, number: u32, what: u64, times: u128) {
        self.0 = self.0.wrapping_add(weight(u64::from(number) << 1 | what).wrapping_mul(times));
    }
}

/// Odd, so that no change is lost.
fn weight(of: u64) -> u128 {
    u128::from(mixed(of << 1)) << 64 | u128::from(mixed(of << 1 | 1) | 1)
}

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn mixed(of: u64) -> u64 {
    let z = of.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn check_count(count: usize) -> Result<(), BankError> {
    if count > MAX_TRANSFERS { Err(BankError::TooMany { count: count as u64 }) } else { Ok(()) }
}

fn page(limit: u32) -> usize {
    (if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) }) as usize
}

fn position_of(link: Link) -> usize {
    link.get() as usize - 1
}

/// They are open from the beginning.
pub const READY_MADE: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];
/// What each of them holds then.
pub const READY_MADE_BALANCE: i64 = 10;
/// Positions have 32 bits, and one is for what is not there.
const MAX_ENTRIES: usize = u32::MAX as usize - 1;
/// No account has this number.
const NOBODY: u32 = u32::MAX;
