//! What the bank is told and asked, and what it answers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::paxos::{Bytes, Place};

/// The longest name of an account, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The most transfers, or openings, that one command holds: as many as fit into its size with names of usual length.
pub const MAX_TRANSFERS: usize = 10_000;
/// The most accounts or transfers that one page holds.
pub const MAX_PAGE: u32 = 1_000;

/// What changes the bank.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Opens accounts. Answered by [`Answer::Opened`].
    Open {
        /// What they are called.
        accounts: Vec<AccountName>,
    },
    /// Moves money, one transfer after the other, each by itself unless they are linked. Answered by
    /// [`Answer::Transferred`].
    Transfer {
        /// At most [`MAX_TRANSFERS`].
        transfers: Vec<Transfer>,
    },
    /// Starts afresh: only the ready-made accounts, and every transfer forgotten. Answered by [`Answer::Reset`].
    Reset,
}

/// Money on its way from one account to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transfer {
    /// Chosen by whoever wants it. No transfer with this id is carried out, or refused, a second time.
    pub id: TransferId,
    /// Who pays; `None`: the money comes from outside, a deposit.
    pub from: Option<AccountName>,
    /// Who gets it; `None`: the money leaves, a withdrawal.
    pub to: Option<AccountName>,
    /// How much. More than nothing, or it is refused.
    pub amount: i64,
    /// It stands or falls with the next one: a run of linked transfers, and the one behind it, are done together or not
    /// at all.
    pub linked: bool,
}

impl Transfer {
    /// From one account to another.
    pub fn between(id: TransferId, from: AccountName, to: AccountName, amount: i64) -> Transfer {
        Transfer { id, from: Some(from), to: Some(to), amount, linked: false }
    }

    /// From outside.
    pub fn deposit(id: TransferId, to: AccountName, amount: i64) -> Transfer {
        Transfer { id, from: None, to: Some(to), amount, linked: false }
    }

    /// To the outside.
    pub fn withdrawal(id: TransferId, from: AccountName, amount: i64) -> Transfer {
        Transfer { id, from: Some(from), to: None, amount, linked: false }
    }
}

/// What asks the bank.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One account. Answered by [`Answer::Account`].
    Account {
        /// What it is called.
        name: AccountName,
    },
    /// The accounts in order of their names, a page at a time. Answered by [`Answer::Accounts`].
    Accounts {
        /// Those behind this name: the `next` of the page before.
        after: Option<AccountName>,
        /// At most so many; 0 stands for [`MAX_PAGE`].
        limit: u32,
    },
    /// One transfer. Answered by [`Answer::Transfer`].
    Transfer {
        /// As it was chosen.
        id: TransferId,
    },
    /// The transfers of an account, done and refused, the last one first, a page at a time. Answered by
    /// [`Answer::Transfers`].
    History {
        /// Whose.
        account: AccountName,
        /// Those before this number: the `next` of the page before.
        before: Option<u64>,
        /// At most so many; 0 stands for [`MAX_PAGE`].
        limit: u32,
    },
    /// All transfers, the first one first, a page at a time. Answered by [`Answer::Transfers`].
    Transfers {
        /// Those behind this number: the `next` of the page before; 0: from the first.
        after: u64,
        /// At most so many; 0 stands for [`MAX_PAGE`].
        limit: u32,
    },
    /// How much there is of everything. Answered by [`Answer::Totals`].
    Totals,
}

/// What the bank answers, to operations and queries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// For each account whether it is new: one that was open already stays as it is.
    Opened {
        /// In the order in which they were named.
        new: Vec<bool>,
    },
    /// What became of each transfer.
    Transferred {
        /// In the order in which they were told.
        receipts: Vec<Receipt>,
    },
    /// Everything is as in the beginning.
    Reset,
    /// An account, if it is open.
    Account(Option<Account>),
    /// Accounts in order of their names.
    Accounts {
        /// This page of them.
        accounts: Vec<Account>,
        /// There may be more behind this one.
        next: Option<AccountName>,
    },
    /// What is known of a transfer.
    Transfer(Option<Recorded>),
    /// Transfers in the order that was asked for.
    Transfers {
        /// This page of them.
        transfers: Vec<Recorded>,
        /// There may be more beyond this number.
        next: Option<u64>,
    },
    /// How much there is of everything.
    Totals(Totals),
    /// The operation or query was not carried out; nothing has changed.
    Error(BankError),
}

impl Answer {
    /// Reads the encoding of an answer.
    ///
    /// # Errors
    /// The bytes are not an answer of this machine.
    pub fn decode(bytes: &[u8]) -> Result<Answer, codec::Malformed> {
        codec::decode(bytes, bytes.len())
    }
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// What came of it.
    pub outcome: Outcome,
    /// If it had been told before: the place of the command that settled it then.
    pub before: Option<Place>,
}

/// What came of a transfer: for ever, whoever asks and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The money has moved.
    Done,
    /// Nobody has opened the sender's account.
    UnknownSender,
    /// Nobody has opened the receiver's account.
    UnknownReceiver,
    /// The sender has less than that.
    InsufficientBalance,
    /// The amount is zero, or below.
    NotPositive,
    /// Sender and receiver are the same.
    SameAccount,
    /// It names neither a sender nor a receiver.
    NoAccount,
    /// The receiver would have more than an account can hold.
    Overflow,
    /// It was linked to one that was refused.
    LinkedRefused,
    /// The id belongs to another transfer. Of this one nothing is recorded.
    IdTaken,
}

impl Outcome {
    /// The money has moved.
    pub fn is_done(self) -> bool {
        self == Outcome::Done
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Done => "done",
            Outcome::UnknownSender => "unknown sender",
            Outcome::UnknownReceiver => "unknown receiver",
            Outcome::InsufficientBalance => "insufficient balance",
            Outcome::NotPositive => "the amount is not positive",
            Outcome::SameAccount => "sender and receiver are the same",
            Outcome::NoAccount => "neither sender nor receiver",
            Outcome::Overflow => "more than the receiver can hold",
            Outcome::LinkedRefused => "a linked transfer was refused",
            Outcome::IdTaken => "the id belongs to another transfer",
        })
    }
}

/// An account as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// What it is called.
    pub name: AccountName,
    /// What it holds; never less than nothing.
    pub balance: i64,
    /// When it was opened, in milliseconds since 1970 by the log's clock; 0 for the ready-made ones.
    pub opened_ms: u64,
}

/// A transfer as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number among all, from 1.
    pub number: u64,
    /// As it was chosen.
    pub id: TransferId,
    /// Who paid, or was to.
    pub from: Option<AccountName>,
    /// Who got it, or was to.
    pub to: Option<AccountName>,
    /// How much.
    pub amount: i64,
    /// What came of it.
    pub outcome: Outcome,
    /// The place of the command that settled it.
    pub place: Place,
    /// When, in milliseconds since 1970 by the log's clock.
    pub at_ms: u64,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Totals {
    /// Accounts that are open.
    pub accounts: u64,
    /// Transfers that were done, deposits and withdrawals among them.
    pub done: u64,
    /// Transfers that were refused.
    pub refused: u64,
    /// What all accounts hold together.
    pub money: u128,
    /// What came from outside, that of the ready-made accounts included.
    pub deposited: u128,
    /// What left.
    pub withdrawn: u128,
}

/// Why an operation or query was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BankError {
    /// The bytes are no operation or query of this machine.
    Malformed,
    /// More than [`MAX_TRANSFERS`] in one command.
    TooMany {
        /// How many there were.
        count: u64,
    },
    /// The last transfer of the command is linked to one that is not there.
    LinkedToNothing,
    /// As many transfers are recorded as can be.
    Full,
}

impl fmt::Display for BankError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BankError::Malformed => f.write_str("not an operation of the bank"),
            BankError::TooMany { count } => write!(f, "{count} in one command, the limit is {MAX_TRANSFERS}"),
            BankError::LinkedToNothing => f.write_str("the last transfer is linked to the next, and there is none"),
            BankError::Full => f.write_str("the bank has recorded as many transfers as it can"),
        }
    }
}

impl std::error::Error for BankError {}

/// What an account is called: text of 1 to [`MAX_NAME_BYTES`] bytes without control characters, and without blanks at its
/// ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct AccountName(Bytes);

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked when it was made")
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<Bytes> for AccountName {
    type Error = NoName;

    fn try_from(bytes: Bytes) -> Result<AccountName, NoName> {
        let text = std::str::from_utf8(&bytes).map_err(|_| NoName::NotText)?;
        if text.is_empty() {
            Err(NoName::Empty)
        } else if text.len() > MAX_NAME_BYTES {
            Err(NoName::TooLong { length: text.len() })
        } else if text.chars().any(char::is_control) || text.trim() != text {
            Err(NoName::Blanks)
        } else {
            Ok(AccountName(bytes))
        }
    }
}

impl From<AccountName> for Bytes {
    fn from(name: AccountName) -> Bytes {
        name.0
    }
}

impl FromStr for AccountName {
    type Err = NoName;

    fn from_str(text: &str) -> Result<AccountName, NoName> {
        Bytes::from(text).try_into()
    }
}

/// Why a text is not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoName {
    /// There is nothing.
    Empty,
    /// It is not UTF-8.
    NotText,
    /// It is longer than [`MAX_NAME_BYTES`].
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It holds control characters, or begins or ends with a blank.
    Blanks,
}

impl fmt::Display for NoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoName::Empty => f.write_str("the name of an account is missing"),
            NoName::NotText => f.write_str("the name of an account is not UTF-8"),
            NoName::TooLong { length } => {
                write!(f, "the name of an account has {length} bytes, the limit is {MAX_NAME_BYTES}")
            }
            NoName::Blanks => {
                f.write_str("the name of an account holds control characters, or begins or ends with a blank")
            }
        }
    }
}

impl std::error::Error for NoName {}

/// What tells a transfer from all others. Small ones are written as numbers, others as UUIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId(pub u128);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 <= u128::from(u64::MAX) {
            return f.pad(&self.0.to_string());
        }
        let hex = format!("{:032x}", self.0);
        f.pad(&[&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }
}

impl FromStr for TransferId {
    type Err = String;

    /// Reads a number, or a UUID.
    fn from_str(text: &str) -> Result<TransferId, String> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = || text.parse().ok();
        let parts = [8, 13, 18, 23];
        let is_uuid = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match parts.contains(&at) {
                true => byte == b'-',
                false => byte.is_ascii_hexdigit(),
            });
        let uuid = || u128::from_str_radix(&text.replace('-', ""), 16).ok();
        let id = if is_number { number() } else { is_uuid.then(uuid).flatten() };
        id.map(TransferId).ok_or_else(|| format!("`{text}` is not the id of a transfer: write a number or a UUID"))
    }
}
