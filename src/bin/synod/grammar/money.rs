//! The bank's commands, with their help.

use clap::{Subcommand, ValueEnum};
use synod::machine::bank::{AccountName, MAX_PAGE, TransferId};

/// A command for the bank.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum BankCommand {
    /// Open accounts. One that is open already stays as it is.
    #[command(override_usage = "open ACCOUNT...", after_help = "Examples:\n  open alice bob\n  open 'Bäckerei Süß'")]
    Open {
        /// What they are to be called.
        #[arg(value_name = "ACCOUNT", required = true)]
        accounts: Vec<AccountName>,
    },

    /// Move money from one account to another. Exit code 1 if it is refused.
    #[command(
        override_usage = "transfer FROM TO AMOUNT [--id ID]",
        after_help = "Examples:\n  transfer A B 3\n  transfer A B 3 --id 17      told again with this id, it is not done again"
    )]
    Transfer {
        /// Who pays.
        from: AccountName,
        /// Who gets it.
        to: AccountName,
        /// How much.
        #[arg(allow_negative_numbers = true)]
        amount: i64,
        /// What tells this transfer from all others: a number or a UUID [default: a new one].
        #[arg(long)]
        id: Option<TransferId>,
    },

    /// Bring money in from outside. Exit code 1 if it is refused.
    #[command(override_usage = "deposit ACCOUNT AMOUNT [--id ID]", after_help = "Example:\n  deposit alice 100")]
    Deposit {
        /// Who gets it.
        account: AccountName,
        /// How much.
        #[arg(allow_negative_numbers = true)]
        amount: i64,
        /// What tells this transfer from all others: a number or a UUID [default: a new one].
        #[arg(long)]
        id: Option<TransferId>,
    },

    /// Take money out. Exit code 1 if it is refused.
    #[command(override_usage = "withdraw ACCOUNT AMOUNT [--id ID]", after_help = "Example:\n  withdraw alice 20")]
    Withdraw {
        /// Who pays.
        account: AccountName,
        /// How much.
        #[arg(allow_negative_numbers = true)]
        amount: i64,
        /// What tells this transfer from all others: a number or a UUID [default: a new one].
        #[arg(long)]
        id: Option<TransferId>,
    },

    /// What an account holds. Exit code 1 if there is none.
    #[command(override_usage = "balance ACCOUNT", after_help = "Example:\n  balance alice")]
    Balance {
        /// Whose.
        account: AccountName,
    },

    /// All accounts and what they hold, in the order of their names.
    #[command(override_usage = "accounts", after_help = "Example:\n  accounts")]
    Accounts,

    /// The transfers of an account, done and refused, the last one first.
    #[command(
        override_usage = "history ACCOUNT [--limit N]",
        after_help = "Examples:\n  history alice\n  history alice --limit 5"
    )]
    History {
        /// Whose.
        account: AccountName,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PAGE)))]
        limit: u32,
    },

    /// Start the bank afresh: every account but the ready-made A to J, and every transfer, is forgotten.
    #[command(override_usage = "reset bank", after_help = "Example:\n  reset bank")]
    Reset {
        /// `bank`: nothing else can be.
        #[arg(value_name = "bank")]
        what: Resettable,
    },

    /// What came of a transfer. Exit code 1 if none of this id was ever told.
    #[command(override_usage = "receipt ID", after_help = "Example:\n  receipt 17")]
    Receipt {
        /// The id that it was told with.
        id: TransferId,
    },
}

/// What can be started afresh.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resettable {
    /// The bank.
    Bank,
}
