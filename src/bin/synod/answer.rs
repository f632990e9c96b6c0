//! What a command comes to: an [`Answer`], or a [`Failure`]. Both know the exit code; neither knows how it is shown.

use std::fmt;

use synod::machine::bank::{Account, AccountName, Outcome, Recorded, TransferId};
use synod::net::report::{LogReport, MemberStatus, SlotReport, Status, ViewChange};
use synod::paxos::{Ballot, Bytes, NodeId, Place, Slot};

use crate::grammar::{Address, NodeName};

/// One node's part of an answer; or why it gave none.
#[derive(Clone, Debug, PartialEq)]
pub struct PerNode<T> {
    /// The node's name.
    pub node: String,
    /// Its part.
    pub part: Result<T, Absence>,
}

/// Why a node gave no part of an answer. Displayed as a sentence without its subject, the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It did not answer, and why.
    Down(String),
    /// It answered that it cannot say, and why.
    Unable(String),
}

impl Absence {
    /// The reason alone.
    pub fn why(&self) -> &str {
        let (Absence::Down(why) | Absence::Unable(why)) = self;
        why
    }

    /// For the cell of a table.
    pub fn word(&self) -> &'static str {
        match self {
            Absence::Down(_) => "down",
            Absence::Unable(_) => "cannot say",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::Down(why) => write!(f, "is down: {}", plain(why)),
            Absence::Unable(why) => write!(f, "cannot say: {}", plain(why)),
        }
    }
}

/// Keys and values, in order.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// What a command found or did.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `propose`.
    Proposed {
        /// Where it stands in the log.
        place: Place,
        /// In which it is known to be chosen; none when the answer comes from the session's memory.
        ballot: Option<Ballot>,
    },
    /// To `chosen`: the slot as a node reports it that knows; none if it is not known to be chosen.
    Chosen {
        /// The slot asked for.
        slot: Slot,
        /// One command of it, if only that one was asked for.
        index: Option<u32>,
        /// What is there.
        report: Option<SlotReport>,
    },
    /// To `paxos`: the value that was decided for the key.
    Decided(Bytes),
    /// To `put`.
    Put {
        /// Where the command stands in the log.
        place: Place,
    },
    /// To `get`, and to `append`: the value, if there is one.
    Value(Option<Bytes>),
    /// To `delete`.
    Deleted {
        /// Whether the key was there.
        existed: bool,
    },
    /// To `cas`.
    Swapped,
    /// To `cas`: the key was not as expected, and nothing changed.
    NotSwapped {
        /// What the key has; none if it is absent.
        actual: Option<Bytes>,
    },
    /// To `scan`.
    Pairs {
        /// Found.
        pairs: Pairs,
        /// Whether there are more.
        more: bool,
    },
    /// To `nodes`.
    Nodes(Vec<NodeRow>),
    /// To `connect`: the link is up.
    Connected {
        /// The node's name.
        name: String,
        /// Where.
        address: Address,
    },
    /// To `leader`.
    Leader(Leader),
    /// To `leader`: there is none.
    Leaderless {
        /// Who answers and who does not, and what would help.
        why: String,
    },
    /// To `member list`.
    Members(Vec<MemberRow>),
    /// To `member add`, `member remove`, `member replace`.
    Changed {
        /// What was done.
        change: MemberChange,
        /// The member.
        name: String,
        /// The number of the member that came, or else of the one that went.
        node: NodeId,
        /// Where the change stands in the log.
        place: Place,
    },
    /// To `status`.
    Status(Vec<PerNode<Box<Status>>>),
    /// To `log`.
    Log(Vec<PerNode<LogReport>>),
    /// To `slot`.
    Slot {
        /// The slot.
        slot: Slot,
        /// Only this command of it.
        index: Option<u32>,
        /// The node's reports; none within a part: Empty or Cleared beyond what the node reports.
        nodes: Vec<PerNode<SlotReport>>,
    },
    /// To `view`.
    View(Vec<PerNode<Vec<ViewChange>>>),
    /// To `db`.
    Database {
        /// What each has executed.
        nodes: Vec<PerNode<Pairs>>,
        /// How many keys were asked for; there may be more.
        limit: usize,
    },
    /// To a command of the bank.
    Bank(BankAnswer),
    /// To `fail`.
    Failed {
        /// Who.
        name: NodeName,
        /// The process that is no more.
        process_id: u32,
    },
    /// To `recover`.
    Recovered {
        /// Who.
        name: NodeName,
        /// The new process.
        process_id: u32,
        /// Where it listens.
        address: Address,
    },
}

/// What a command of the bank found or did.
#[derive(Clone, Debug, PartialEq)]
pub enum BankAnswer {
    /// To `open`: which accounts, and whether each is new.
    Opened(Vec<(AccountName, bool)>),
    /// To `transfer`, `deposit` and `withdraw`.
    Settled {
        /// What it was told with.
        id: TransferId,
        /// What came of it.
        outcome: Outcome,
        /// The place of the command that settled it.
        place: Place,
        /// That was an earlier command.
        again: bool,
    },
    /// To `balance`.
    Balance(Account),
    /// To `accounts`.
    Accounts(Vec<Account>),
    /// To `history`.
    History {
        /// The last one first.
        transfers: Vec<Recorded>,
        /// Whether there are more.
        more: bool,
    },
    /// To `receipt`.
    Receipt(Recorded),
    /// To `reset bank`.
    Reset,
    /// To `db bank`: what each node has executed.
    Ledgers(Vec<PerNode<Vec<Account>>>),
}

impl Answer {
    /// 1 if the answer is that it was not done, or that no node has anything to say.
    pub fn exit_code(&self) -> u8 {
        let done = match self {
            Answer::NotSwapped { .. } | Answer::Leaderless { .. } => false,
            Answer::Status(nodes) => is_answered(nodes),
            Answer::Log(nodes) => is_answered(nodes),
            Answer::Slot { nodes, .. } => is_answered(nodes),
            Answer::View(nodes) => is_answered(nodes),
            Answer::Database { nodes, .. } => is_answered(nodes),
            Answer::Bank(BankAnswer::Ledgers(nodes)) => is_answered(nodes),
            Answer::Bank(BankAnswer::Settled { outcome, .. }) => outcome.is_done(),
            _ => true,
        };
        if done { DONE } else { NOT_DONE }
    }
}

fn is_answered<T>(nodes: &[PerNode<T>]) -> bool {
    nodes.iter().any(|node| node.part.is_ok())
}

/// The highest slot that any node tells to be chosen.
pub fn highest_chosen(nodes: &[PerNode<Box<Status>>]) -> Slot {
    nodes.iter().filter_map(|node| node.part.as_ref().ok()).map(|status| status.chosen_upto).max().unwrap_or(Slot::ZERO)
}

/// How many slots a node has not executed yet of those up to `highest`.
pub fn lag(status: &Status, highest: Slot) -> u64 {
    highest.0.saturating_sub(status.executed_upto.0)
}

/// Who leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// Its name.
    pub name: String,
    /// Its ballot.
    pub ballot: Ballot,
}

/// What was done to the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// One came.
    Added {
        /// It votes already.
        votes: bool,
    },
    /// One came in another's place.
    Replaced {
        /// It votes already.
        votes: bool,
    },
    /// One went.
    Removed,
}

/// One line of `member list`.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberRow {
    /// The member as the log has it.
    pub member: MemberStatus,
    /// Where it listens; empty if the node that was asked does not know.
    pub address: String,
    /// How the link from the node that was asked stands; none: it is that node.
    pub link: Option<String>,
}

/// One line of `nodes`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Where it listens; empty if nobody knows.
    pub address: String,
    /// Whether it votes, if known.
    pub voter: Option<bool>,
    /// Its process, if it answers.
    pub process_id: Option<u32>,
    /// How long it takes to answer the leader, in microseconds, if that tells.
    pub round_trip_us: Option<u64>,
    /// Its phase; or a sentence that says why it is not known.
    pub state: Result<String, String>,
}

/// Why a command was not done, in one line that names the thing and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    /// Of the script that it stands in.
    line: Option<u64>,
}

/// What is known about a command that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// It was refused, or it is certain that it was not done.
    NotDone,
    /// The words make no command.
    Usage,
    /// It may or may not have been done.
    Unknown,
    /// A signal ended it, and it is certain that it was not done: with this exit code.
    Interrupted(u8),
}

impl Failure {
    fn new(kind: FailureKind, message: String) -> Failure {
        Failure { kind, message: plain(&message), line: None }
    }

    /// It was refused, or it is certain that it was not done.
    pub fn not_done(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::NotDone, message.into())
    }

    /// The words make no command.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Usage, message.into())
    }

    /// It may or may not have been done.
    pub fn unknown(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Unknown, message.into())
    }

    /// A signal ended it, which stands for this exit code, and it is certain that it was not done.
    pub fn interrupted(exit_code: u8, message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Interrupted(exit_code), message.into())
    }

    /// The same, in this line of a script, counted from 1.
    pub fn in_line(self, line: u64) -> Failure {
        Failure { line: Some(line), ..self }
    }

    /// In which line of a script it is.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            FailureKind::NotDone => NOT_DONE,
            FailureKind::Usage => USAGE,
            FailureKind::Unknown => UNKNOWN,
            FailureKind::Interrupted(code) => code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}

/// Without the numbers that systems give their errors.
pub fn plain(reason: &str) -> String {
    let mut plain = String::new();
    let mut rest = reason;
    while let Some((before, behind)) = rest.split_once(OS_ERROR) {
        plain.push_str(before);
        rest = behind.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Done.
pub const DONE: u8 = 0;
/// Refused, or certainly not done.
pub const NOT_DONE: u8 = 1;
/// The words make no command.
pub const USAGE: u8 = 2;
/// The outcome is unknown.
pub const UNKNOWN: u8 = 3;
/// Ended by ctrl-C, as a shell says it.
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub const TERMINATED: u8 = 143;
/// Ended by SIGHUP.
pub const HUNG_UP: u8 = 129;
/// A mistake of ours (`EX_SOFTWARE` of sysexits.h).
pub const INTERNAL: u8 = 70;
/// How the standard library introduces such a number.
const OS_ERROR: &str = " (os error ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors_are_left_out() {
        assert_eq!(
            plain("a:1: Connection refused (os error 111); b:2: no answer"),
            "a:1: Connection refused; b:2: no answer"
        );
        assert_eq!(plain("as it is (all of it)"), "as it is (all of it)");
    }
}
