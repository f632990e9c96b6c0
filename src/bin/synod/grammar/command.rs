//! The commands themselves, with their help.

use clap::{Args, Subcommand};

use super::arguments::{ConnectTo, LogArgument, NodeName, SlotOrPlace, SlotRange, Text, Through};
use crate::answer::Failure;

/// A command for a cluster.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum Command {
    /// Put a value into the log, and say where it was chosen and in which ballot.
    #[command(
        override_usage = "propose [@NODE] VALUE",
        after_help = "Examples:\n  propose 'hello world'\n  propose @n2 hello"
    )]
    Propose(ProposeArgs),

    /// What was chosen in a slot.
    #[command(after_help = "Examples:\n  chosen 12\n  chosen 12.1")]
    Chosen {
        /// The slot, or one command of it.
        #[arg(value_name = "SLOT[.INDEX]")]
        place: SlotOrPlace,
    },

    /// Agree on one value for a key, for ever: prints the first value that was proposed for it.
    #[command(
        after_help = "Example:\n  paxos captain alice      prints `alice`\n  paxos captain bob        prints `alice` too"
    )]
    Paxos {
        /// The key.
        key: Text,
        /// The value proposed.
        #[arg(allow_negative_numbers = true)]
        value: Text,
    },

    /// Set a key.
    #[command(after_help = "Examples:\n  put colour 'dark blue'\n  put flag -- -v")]
    Put {
        /// The key.
        key: Text,
        /// Its new value.
        #[arg(allow_negative_numbers = true)]
        value: Text,
    },

    /// The value of a key; `(none)` if there is none.
    #[command(after_help = "Examples:\n  get colour\n  get colour --local n2      what n2 has executed, however old")]
    Get {
        /// The key.
        key: Text,
        /// Answer from what one node has executed, however old.
        #[arg(long)]
        local: bool,
        /// With `--local`: which node.
        #[arg(requires = "local")]
        node: Option<NodeName>,
    },

    /// Add to the end of a key's value, and print the whole.
    #[command(after_help = "Example:\n  append colour ' green'")]
    Append {
        /// The key; made if there is none.
        key: Text,
        /// What to add.
        #[arg(allow_negative_numbers = true)]
        value: Text,
    },

    /// Remove a key.
    #[command(after_help = "Example:\n  delete colour")]
    Delete {
        /// The key.
        key: Text,
    },

    /// Compare and swap: set a key only if its value is the expected one. Exit code 1 if it is not.
    #[command(
        override_usage = "cas KEY EXPECTED NEW\n       cas KEY --absent NEW",
        after_help = "Examples:\n  cas colour blue red\n  cas colour --absent blue"
    )]
    Cas(CasArgs),

    /// Keys and values, in the order of the keys.
    #[command(after_help = "Examples:\n  scan\n  scan user/ --limit 10")]
    Scan {
        /// Only keys that start so.
        prefix: Option<Text>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },

    /// The nodes of the cluster: names, addresses, processes, how they stand.
    #[command(after_help = "Example:\n  nodes")]
    Nodes,

    /// Introduce a node to the cluster by its address.
    #[command(after_help = "Example:\n  connect n2@127.0.0.1:7102")]
    Connect {
        /// The node, and where it listens.
        #[arg(value_name = "NAME@HOST:PORT")]
        node: ConnectTo,
    },

    /// Who leads, and in which ballot. Exit code 1 if nobody does.
    #[command(after_help = "Example:\n  leader")]
    Leader,

    /// How the nodes stand: phases, ballots, watermarks, digests.
    #[command(after_help = "Examples:\n  status\n  status n2")]
    Status {
        /// Only this node.
        node: Option<NodeName>,
    },

    /// The log, slot by slot, as the nodes see it; the last twenty unless told.
    #[command(override_usage = "log [NODE] [FROM..TO]", after_help = "Examples:\n  log\n  log 10..20\n  log n2 10..")]
    Log(LogArgs),

    /// One slot on every node: Empty, Accepted, Chosen, Executed or Cleared, and what is there.
    #[command(after_help = "Examples:\n  slot 12\n  slot 12.1 n2")]
    Slot {
        /// The slot, or one command of it.
        #[arg(value_name = "SLOT[.INDEX]")]
        place: SlotOrPlace,
        /// Only this node.
        node: Option<NodeName>,
    },

    /// The changes of leader that the nodes saw, and what each new leader merged.
    #[command(after_help = "Examples:\n  view\n  view n2")]
    View {
        /// Only this node.
        node: Option<NodeName>,
    },

    /// The keys and values that each node has executed.
    #[command(after_help = "Examples:\n  db\n  db n2")]
    Db {
        /// Only this node.
        node: Option<NodeName>,
        /// How many keys at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
}

impl Command {
    /// What clap cannot check.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Command::Propose(args) => args.parts().map(drop),
            Command::Cas(args) => args.parts().map(drop),
            Command::Log(args) => args.parts().map(drop),
            _ => Ok(()),
        }
    }
}

/// What only the demo can do: it owns the processes.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum StageCommand {
    /// Kill a node's process, as `kill -9` does.
    #[command(after_help = "Examples:\n  fail n2\n  fail leader")]
    Fail {
        /// The node; `leader` for whichever leads.
        #[arg(value_name = "NODE|leader")]
        node: NodeName,
    },
    /// Start a killed node again, on the same folder.
    #[command(after_help = "Example:\n  recover n2")]
    Recover {
        /// The node.
        node: NodeName,
    },
}

/// In place of a node's name: whichever leads.
pub const LEADER: &str = "leader";

/// `[@NODE] VALUE`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct ProposeArgs {
    /// The value; before it `@NODE` to go through that node.
    #[arg(value_names = ["@NODE", "VALUE"], num_args = 1..=2, required = true, allow_negative_numbers = true)]
    words: Vec<Text>,
}

impl ProposeArgs {
    /// The node to go through, and the value.
    pub fn parts(&self) -> Result<(Option<NodeName>, &Text), Failure> {
        match self.words.as_slice() {
            [value] if value.0.starts_with(b"@") => Err(Failure::usage(
                "propose @NODE takes a value too; a value that starts with @ goes behind a node: propose @n1 @home",
            )),
            [value] => Ok((None, value)),
            [node, value] => {
                let Through(name) = String::from_utf8_lossy(&node.0).parse().map_err(Failure::usage)?;
                Ok((Some(name), value))
            }
            _ => Err(Failure::usage("propose takes a value; usage: propose [@NODE] VALUE")),
        }
    }
}

/// `KEY EXPECTED NEW`, or `KEY --absent NEW`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct CasArgs {
    /// The key.
    key: Text,
    /// The value that the key must have, and the one that it gets.
    #[arg(value_names = ["EXPECTED", "NEW"], num_args = 1..=2, required = true, allow_negative_numbers = true)]
    values: Vec<Text>,
    /// The key must not be there.
    #[arg(long)]
    absent: bool,
}

impl CasArgs {
    /// The key, what it must be (none: absent), and what it becomes.
    pub fn parts(&self) -> Result<(&Text, Option<&Text>, &Text), Failure> {
        match (self.absent, self.values.as_slice()) {
            (true, [new]) => Ok((&self.key, None, new)),
            (false, [expected, new]) => Ok((&self.key, Some(expected), new)),
            (true, _) => Err(Failure::usage("with --absent there is no expected value; usage: cas KEY --absent NEW")),
            (false, _) => Err(Failure::usage(
                "cas needs the expected value and the new one; usage: cas KEY EXPECTED NEW, or cas KEY --absent NEW",
            )),
        }
    }
}

/// `[NODE] [FROM..TO]`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct LogArgs {
    /// Only this node; only these slots, both inclusive.
    #[arg(value_names = ["NODE", "FROM..TO"], num_args = 0..=2)]
    words: Vec<LogArgument>,
}

impl LogArgs {
    /// The node, and the range.
    pub fn parts(&self) -> Result<(Option<&NodeName>, Option<SlotRange>), Failure> {
        match self.words.as_slice() {
            [] => Ok((None, None)),
            [LogArgument::Node(node)] => Ok((Some(node), None)),
            [LogArgument::Range(range)] => Ok((None, Some(*range))),
            [LogArgument::Node(node), LogArgument::Range(range)]
            | [LogArgument::Range(range), LogArgument::Node(node)] => Ok((Some(node), Some(*range))),
            _ => Err(Failure::usage("log takes one node and one range; usage: log [NODE] [FROM..TO]")),
        }
    }
}
