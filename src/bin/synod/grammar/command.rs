//! The commands themselves, with their help.

use clap::{Args, Subcommand, ValueEnum};

use super::arguments::{
    Address, ConnectTo, LogArgument, MemberAddress, NodeName, SlotOrPlace, SlotRange, Text, Through,
};
use super::money::BankCommand;
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
    #[command(override_usage = "chosen SLOT[.INDEX]", after_help = "Examples:\n  chosen 12\n  chosen 12.1")]
    Chosen {
        /// The slot, or one command of it.
        #[arg(value_name = "SLOT[.INDEX]")]
        place: SlotOrPlace,
    },

    /// Agree on one value for a key, for ever: prints the first value that was proposed for it.
    #[command(
        override_usage = "paxos KEY VALUE",
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
    #[command(override_usage = "put KEY VALUE", after_help = "Examples:\n  put colour 'dark blue'\n  put flag -- -v")]
    Put {
        /// The key.
        key: Text,
        /// Its new value.
        #[arg(allow_negative_numbers = true)]
        value: Text,
    },

    /// The value of a key; `(none)` if there is none.
    #[command(
        override_usage = "get KEY [--local [NODE]]",
        after_help = "Examples:\n  get colour\n  get colour --local n2      what n2 has executed, however old"
    )]
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
    #[command(override_usage = "append KEY VALUE", after_help = "Example:\n  append colour ' green'")]
    Append {
        /// The key; made if there is none.
        key: Text,
        /// What to add.
        #[arg(allow_negative_numbers = true)]
        value: Text,
    },

    /// Remove a key.
    #[command(override_usage = "delete KEY", after_help = "Example:\n  delete colour")]
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
    #[command(override_usage = "scan [PREFIX] [--limit N]", after_help = "Examples:\n  scan\n  scan user/ --limit 10")]
    Scan {
        /// Only keys that start so.
        prefix: Option<Text>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },

    /// The nodes of the cluster: names, addresses, processes, how they stand.
    #[command(override_usage = "nodes", after_help = "Example:\n  nodes")]
    Nodes,

    /// Introduce a node to the cluster by its address.
    #[command(override_usage = "connect NAME@HOST:PORT", after_help = "Example:\n  connect n2@127.0.0.1:7102")]
    Connect {
        /// The node, and where it listens.
        #[arg(value_name = "NAME@HOST:PORT")]
        node: ConnectTo,
    },

    /// Who leads, and in which ballot, exit code 1 if nobody does; or have another node lead.
    #[command(
        override_usage = "leader\n       leader transfer NODE",
        after_help = "Examples:\n  leader\n  leader transfer n3      n3 takes over without a pause"
    )]
    Leader(LeaderArgs),

    /// The members of the cluster: list them, add one, remove one, let a new one take a lost one's place.
    #[command(
        override_usage = "member list\n       member add NAME=HOST:PORT [--wait]\n       member remove NAME [--force]\n       \
                          member replace NAME=HOST:PORT [--force] [--wait]",
        after_help = "Examples:\n  member list\n  member add n4=127.0.0.1:7104      it runs there: start --name n4 --join\n  \
                      member remove n2\n  member replace n2=127.0.0.1:7102      n2's folder is lost, and it runs with an empty one"
    )]
    Member(MemberArgs),

    /// How the nodes stand: phases, ballots, watermarks, digests.
    #[command(override_usage = "status [NODE]", after_help = "Examples:\n  status\n  status n2")]
    Status {
        /// Only this node.
        node: Option<NodeName>,
    },

    /// The log, slot by slot, as the nodes see it; the last twenty unless told.
    #[command(override_usage = "log [NODE] [FROM..TO]", after_help = "Examples:\n  log\n  log 10..20\n  log n2 10..")]
    Log(LogArgs),

    /// One slot on every node: Empty, Accepted, Chosen, Executed or Cleared, and what is there.
    #[command(override_usage = "slot SLOT[.INDEX] [NODE]", after_help = "Examples:\n  slot 12\n  slot 12.1 n2")]
    Slot {
        /// The slot, or one command of it.
        #[arg(value_name = "SLOT[.INDEX]")]
        place: SlotOrPlace,
        /// Only this node.
        node: Option<NodeName>,
    },

    /// The changes of leader that the nodes saw, and what each new leader merged.
    #[command(override_usage = "view [NODE]", after_help = "Examples:\n  view\n  view n2")]
    View {
        /// Only this node.
        node: Option<NodeName>,
    },

    /// What each node has executed: keys and values, or the accounts of the bank; side by side.
    #[command(
        override_usage = "db [kv|bank] [NODE] [--limit N]",
        after_help = "Examples:\n  db\n  db n2\n  db bank      what differs is marked"
    )]
    Db(DbArgs),

    #[command(flatten)]
    Bank(BankCommand),
}

impl Command {
    /// What clap cannot check.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Command::Propose(args) => args.parts().map(drop),
            Command::Cas(args) => args.parts().map(drop),
            Command::Log(args) => args.parts().map(drop),
            Command::Leader(args) => args.parts().map(drop),
            Command::Member(args) => args.parts().map(drop),
            Command::Db(args) => args.parts().map(drop),
            _ => Ok(()),
        }
    }
}

/// What only the demo can do: it owns the processes.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum StageCommand {
    /// Kill a node's process, as `kill -9` does.
    #[command(override_usage = "fail NODE|leader", after_help = "Examples:\n  fail n2\n  fail leader")]
    Fail {
        /// The node; `leader` for whichever leads.
        #[arg(value_name = "NODE|leader")]
        node: NodeName,
    },
    /// Start a killed node again, on the same folder.
    #[command(override_usage = "recover NODE", after_help = "Example:\n  recover n2")]
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
    /// The value; or @NODE, to go through that node.
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    first: Text,
    /// With @NODE: the value.
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    second: Option<Text>,
}

impl ProposeArgs {
    /// The node to go through, and the value.
    pub fn parts(&self) -> Result<(Option<NodeName>, &Text), Failure> {
        match &self.second {
            None if self.first.0.starts_with(b"@") => Err(Failure::usage(
                "propose @NODE takes a value too; a value that starts with @ goes behind a node: propose @n1 @home",
            )),
            None => Ok((None, &self.first)),
            Some(value) => {
                let Through(name) = String::from_utf8_lossy(&self.first.0).parse().map_err(Failure::usage)?;
                Ok((Some(name), value))
            }
        }
    }
}

/// `KEY EXPECTED NEW`, or `KEY --absent NEW`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct CasArgs {
    /// The key.
    key: Text,
    /// The value that the key must have; not with --absent.
    #[arg(value_name = "EXPECTED", allow_negative_numbers = true)]
    first: Text,
    /// The value that it gets.
    #[arg(value_name = "NEW", allow_negative_numbers = true)]
    second: Option<Text>,
    /// The key must not be there.
    #[arg(long)]
    absent: bool,
}

impl CasArgs {
    /// The key, what it must be (none: absent), and what it becomes.
    pub fn parts(&self) -> Result<(&Text, Option<&Text>, &Text), Failure> {
        match (self.absent, &self.first, &self.second) {
            (true, new, None) => Ok((&self.key, None, new)),
            (false, expected, Some(new)) => Ok((&self.key, Some(expected), new)),
            (true, _, Some(_)) => {
                Err(Failure::usage("with --absent there is no expected value; usage: cas KEY --absent NEW"))
            }
            (false, _, None) => Err(Failure::usage(
                "cas needs the expected value and the new one; usage: cas KEY EXPECTED NEW, or cas KEY --absent NEW",
            )),
        }
    }
}

/// Nothing, or `transfer NODE`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct LeaderArgs {
    /// Have another node lead.
    #[arg(value_name = "transfer")]
    action: Option<LeaderAction>,
    /// With `transfer`: which.
    node: Option<NodeName>,
}

/// What may be done about the leader.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderAction {
    /// Have this node lead.
    Transfer,
}

impl LeaderArgs {
    /// Who is to lead, if it is to be another.
    pub fn parts(&self) -> Result<Option<&NodeName>, Failure> {
        match (self.action, &self.node) {
            (Some(LeaderAction::Transfer), None) => {
                Err(Failure::usage("leader transfer needs to know to whom; usage: leader transfer NODE"))
            }
            (_, node) => Ok(node.as_ref()),
        }
    }
}

/// `list`, `add NAME=HOST:PORT`, `remove NAME`, `replace NAME=HOST:PORT`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct MemberArgs {
    /// What to do.
    #[arg(value_name = "list|add|remove|replace")]
    action: MemberAction,
    /// The member; with `add` and `replace`, also where it listens.
    #[arg(id = "node", value_name = "NAME[=HOST:PORT]")]
    who: Option<MemberAddress>,
    /// Do it even if too few of the members that would be left answer.
    #[arg(long)]
    force: bool,
    /// Return only once the new member votes: it has no vote until it has caught up.
    #[arg(long)]
    wait: bool,
}

/// What may be done about the members.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAction {
    /// Show them.
    List,
    /// A new one comes.
    Add,
    /// One goes.
    Remove,
    /// A new one takes the place of one whose folder is lost.
    Replace,
}

/// What `member` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberOrder<'a> {
    /// Show them.
    List,
    /// This one goes.
    Remove {
        /// Its name.
        name: &'a NodeName,
        /// Even if too few of the others answer.
        force: bool,
    },
    /// This one comes.
    Come {
        /// Its name.
        name: &'a NodeName,
        /// Where it listens.
        address: &'a Address,
        /// In place of a member of its name: even if too few of the others answer, or not.
        replace: Option<bool>,
        /// Until it votes.
        wait: bool,
    },
}

impl MemberArgs {
    /// What is to be done.
    pub fn parts(&self) -> Result<MemberOrder<'_>, Failure> {
        let MemberArgs { action, who, force, wait } = self;
        let usage = |what: &str, usage: &str| Err(Failure::usage(format!("{what}; usage: {usage}")));
        let coming = |replace: Option<bool>, how: &str| match who {
            Some(MemberAddress { name, address: Some(address) }) => {
                Ok(MemberOrder::Come { name, address, replace, wait: *wait })
            }
            Some(MemberAddress { name, address: None }) => usage(&format!("where {name} listens is missing"), how),
            None => usage("who comes is missing", how),
        };
        match action {
            MemberAction::List if who.is_some() || *force || *wait => {
                usage("member list takes nothing more", "member list")
            }
            MemberAction::List => Ok(MemberOrder::List),
            MemberAction::Add if *force => {
                usage("whoever comes has no vote yet, and needs no --force", "member add NAME=HOST:PORT [--wait]")
            }
            MemberAction::Add => coming(None, "member add NAME=HOST:PORT [--wait]"),
            MemberAction::Replace => coming(Some(*force), "member replace NAME=HOST:PORT [--force] [--wait]"),
            MemberAction::Remove => match who {
                _ if *wait => usage("--wait is for members that come", "member remove NAME [--force]"),
                Some(MemberAddress { name, address: None }) => Ok(MemberOrder::Remove { name, force: *force }),
                Some(_) => usage("whoever goes is known by its name alone", "member remove NAME [--force]"),
                None => usage("who goes is missing", "member remove NAME [--force]"),
            },
        }
    }
}

/// `[kv|bank] [NODE]`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct DbArgs {
    /// Of which machine, unless it is the keys; or the node.
    #[arg(id = "node", value_name = "kv|bank")]
    first: Option<NodeName>,
    /// Only this node.
    #[arg(value_name = "NODE")]
    second: Option<NodeName>,
    /// How many keys at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// Whose state `db` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbOf {
    /// The keys and values.
    Kv,
    /// The bank's accounts.
    Bank,
}

impl DbArgs {
    /// The machine, and the node if it is only one.
    pub fn parts(&self) -> Result<(DbOf, Option<&NodeName>), Failure> {
        match (self.first.as_ref().map(|first| first.0.as_str()), &self.second) {
            (Some("kv"), node) => Ok((DbOf::Kv, node.as_ref())),
            (Some("bank"), node) => Ok((DbOf::Bank, node.as_ref())),
            (_, None) => Ok((DbOf::Kv, self.first.as_ref())),
            (_, Some(_)) => Err(Failure::usage("db takes a machine and a node; usage: db [kv|bank] [NODE]")),
        }
    }
}

/// `[NODE] [FROM..TO]`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct LogArgs {
    /// Only this node.
    #[arg(id = "node", value_name = "NODE")]
    first: Option<LogArgument>,
    /// Only these slots, both inclusive.
    #[arg(value_name = "FROM..TO")]
    second: Option<LogArgument>,
}

impl LogArgs {
    /// The node, and the range.
    pub fn parts(&self) -> Result<(Option<&NodeName>, Option<SlotRange>), Failure> {
        match (&self.first, &self.second) {
            (None, _) => Ok((None, None)),
            (Some(LogArgument::Node(node)), None) => Ok((Some(node), None)),
            (Some(LogArgument::Range(range)), None) => Ok((None, Some(*range))),
            (Some(LogArgument::Node(node)), Some(LogArgument::Range(range)))
            | (Some(LogArgument::Range(range)), Some(LogArgument::Node(node))) => Ok((Some(node), Some(*range))),
            _ => Err(Failure::usage("log takes one node and one range; usage: log [NODE] [FROM..TO]")),
        }
    }
}
