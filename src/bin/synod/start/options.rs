//! The flags of `synod start`, and what they come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use synod::net::cookie::Cookie;
use synod::paxos::settings::MAX_BATCH_BYTES;

use crate::answer::Failure;
use crate::cookie;
use crate::grammar::{
    Address, DEFAULT_CLUSTER, LEADER, NodeName, PeerAddress, dialled, election_timeout, interval, size_from,
};

/// The flags, as typed.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    after_help = "Examples:\n  synod start --name n1 --listen 127.0.0.1:7101 --peer n2=127.0.0.1:7102 --peer n3=127.0.0.1:7103\n  \
    synod start --name n1 --voters n1,n2,n3      and later: connect n2@127.0.0.1:7102\n  \
    synod start --name n1 --alone                a group of one\n  \
    synod start --name n4 --listen 127.0.0.1:7104 --join 127.0.0.1:7101      a new member of a group that runs\n  \
    synod start --config n1.toml                 name = \"n1\", listen = \"0.0.0.0:7101\", peer = [\"n2=…\", …]\n\n\
    Who the voters are is settled when the group is founded; afterwards the log and the folder know."
)]
pub struct StartArgs {
    /// The node's name, unique in its cluster.
    #[arg(long)]
    pub name: NodeName,

    /// Where to listen, for nodes and clients.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7101")]
    pub listen: Address,

    /// Where others reach this node [default: as --listen; required with a wildcard there].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<Address>,

    /// Another voter and its address; may be repeated.
    #[arg(long, value_name = "NAME=HOST:PORT,…", value_delimiter = ',')]
    pub peer: Vec<PeerAddress>,

    /// All founders by name, this node too; addresses may come later.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub voters: Vec<NodeName>,

    /// Found a group of this node only.
    #[arg(long, conflicts_with_all = ["peer", "voters"])]
    pub alone: bool,

    /// Become a member of a group that runs, through any of its members; without an address, wait for `member add`.
    #[arg(long, value_name = "HOST:PORT", value_parser = dialled, conflicts_with_all = ["peer", "voters", "alone"])]
    pub join: Option<Option<Address>>,

    /// Newcomers that never had a vote and are gone for good: the only voter goes on without them. What only they know is lost.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "join")]
    pub forsake: Vec<NodeName>,

    /// The node's folder [default: NAME.data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// How many slots the leader drives at once; 1 is one entry at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub window: Option<u32>,

    /// How many commands travel in one slot at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: Option<u32>,

    /// How long the journal may become before snapshots take the place of what members that are away lack; 64M, 1G
    /// or bytes [default: 1G].
    #[arg(long, value_name = "SIZE", value_parser = size_from(LEAST_JOURNAL))]
    pub journal_limit: Option<u64>,

    /// After how much that was executed a snapshot is taken [default: 256M].
    #[arg(long, value_name = "SIZE", value_parser = size_from(LEAST_SNAPSHOT))]
    pub snapshot_every: Option<u64>,

    /// How often the replicas compare their states, while commands come [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub mark_every: Option<Duration>,

    /// After how long without a word of the leader the others elect one [default: 0.3].
    #[arg(long, value_name = "SECONDS", value_parser = election_timeout)]
    pub election_timeout: Option<Duration>,

    /// The name of the cluster.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER, value_parser = NonEmptyStringValueParser::new())]
    pub cluster: String,

    /// The secret that all nodes and clients share [default: a file of the user's, made on first use].
    #[arg(long, value_name = "FILE")]
    pub cookie_file: Option<PathBuf>,

    /// A prompt in this terminal; the node ends with it.
    #[arg(long, conflicts_with_all = ["until_stdin_closes", "ready_json"])]
    pub repl: bool,

    /// For programs: end when the standard input ends.
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,

    /// For programs: if the port is taken, take any free one.
    #[arg(long, hide = true)]
    pub or_free_port: bool,

    /// For programs: print the line that says where the node listens as JSON.
    #[arg(long, hide = true)]
    pub ready_json: bool,
}

/// What a node is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct StartOptions {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: Address,
    /// Whether any free port will do if that one is taken.
    pub or_free_port: bool,
    /// The address that travels; none: the one where it listens.
    pub advertise: Option<Address>,
    /// Addresses of others.
    pub peers: Vec<(String, Address)>,
    /// The founders in the order of names, itself included; none: the folder must know.
    pub voters: Vec<String>,
    /// It becomes a member of a cluster that runs: through the node at this address, or once it is added.
    pub join: Option<Option<Address>>,
    /// Newcomers without a vote that are gone for good.
    pub forsake: Vec<String>,
    /// Its folder.
    pub data: PathBuf,
    /// Slots in flight at once, if told.
    pub window: Option<u32>,
    /// Commands in a slot at most, if told.
    pub batch: Option<u32>,
    /// How long the journal may become, in bytes, if told.
    pub journal_limit: Option<u64>,
    /// After how many bytes that were executed a snapshot is taken, if told.
    pub snapshot_every: Option<u64>,
    /// How often states are compared, if told.
    pub mark_every: Option<Duration>,
    /// How long no leader is heard before one is elected, if told.
    pub election_timeout: Option<Duration>,
    /// The cluster's name.
    pub cluster: String,
    /// The shared secret.
    pub cookie: Cookie,
    /// End when the standard input ends.
    pub until_stdin_closes: bool,
    /// Tell programs rather than people where it listens.
    pub ready_json: bool,
    /// A prompt in its terminal.
    pub repl: bool,
}

impl StartArgs {
    /// What the flags come to. Reads the cookie last, when all else is in order.
    pub fn options(&self) -> Result<StartOptions, Failure> {
        self.check_addresses()?;
        let voters = self.founders()?;
        let data = self.data.clone().unwrap_or_else(|| PathBuf::from(format!("{}.data", self.name)));
        if voters.is_empty() && self.join.is_none() && is_new(&data) {
            let name = &self.name;
            return Err(Failure::usage(format!(
                "{} holds no node yet, and nothing says who the voters are: name the others with --peer \
                 n2=HOST:PORT, or all founders with --voters {name},n2,n3, or join a group that runs with --join \
                 HOST:PORT, or found a group of one with --alone",
                data.display()
            )));
        }
        Ok(StartOptions {
            name: self.name.0.clone(),
            listen: self.listen.clone(),
            or_free_port: self.or_free_port,
            advertise: self.advertise.clone(),
            peers: self.peer.iter().map(|peer| (peer.name.0.clone(), peer.address.clone())).collect(),
            voters: voters.into_iter().map(|name| name.0).collect(),
            join: self.join.clone(),
            forsake: self.forsake.iter().map(|name| name.0.clone()).collect(),
            data,
            window: self.window,
            batch: self.batch,
            journal_limit: self.journal_limit,
            snapshot_every: self.snapshot_every,
            mark_every: self.mark_every,
            election_timeout: self.election_timeout,
            cluster: self.cluster.clone(),
            cookie: cookie::read(self.cookie_file.as_deref())?,
            until_stdin_closes: self.until_stdin_closes,
            ready_json: self.ready_json,
            repl: self.repl,
        })
    }

    fn check_addresses(&self) -> Result<(), Failure> {
        match &self.advertise {
            None if self.listen.is_wildcard() => {
                return Err(Failure::usage(format!(
                    "--listen {} is no address that others could dial: add --advertise HOST:PORT, for example \
                     --advertise node1.example.org:{}",
                    self.listen,
                    self.listen.port()
                )));
            }
            Some(advertise) if advertise.is_wildcard() || advertise.port() == 0 => {
                return Err(Failure::usage(format!(
                    "--advertise {advertise} is no address that others could dial: name this machine and a port"
                )));
            }
            _ => {}
        }
        for (nth, peer) in self.peer.iter().enumerate() {
            let PeerAddress { name, address } = peer;
            if *name == self.name {
                return Err(Failure::usage(format!(
                    "--peer {name}={address} is this node itself: --peer names the others, --advertise this one"
                )));
            }
            if self.peer[..nth].iter().any(|earlier| earlier.name == *name) {
                return Err(Failure::usage(format!("--peer {name} is given twice: a node has one address")));
            }
            if address.port() == 0 || address.is_wildcard() {
                return Err(Failure::usage(format!("--peer {name}={address} is no address that one could dial")));
            }
        }
        Ok(())
    }

    /// The voters that the flags name; none if they name none.
    fn founders(&self) -> Result<Vec<NodeName>, Failure> {
        let mut voters = if self.alone {
            vec![self.name.clone()]
        } else if !self.voters.is_empty() {
            self.voters.clone()
        } else if !self.peer.is_empty() {
            self.peer.iter().map(|peer| &peer.name).chain([&self.name]).cloned().collect()
        } else {
            Vec::new()
        };
        voters.sort();
        if self.name.0 == LEADER || voters.iter().any(|name| name.0 == LEADER) {
            return Err(Failure::usage(format!("no node can be called {LEADER}: `fail {LEADER}` means another thing")));
        }
        if let Some(twice) = voters.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(format!("--voters names {} twice", twice[0])));
        }
        if !voters.is_empty() && !voters.contains(&self.name) {
            let name = &self.name;
            return Err(Failure::usage(format!("--voters leaves out {name}, this node: add it to the list")));
        }
        Ok(voters)
    }
}

/// Two of the largest slots.
const LEAST_JOURNAL: u64 = 2 * MAX_BATCH_BYTES as u64;
/// Every one writes the whole state.
const LEAST_SNAPSHOT: u64 = 1 << 20;

/// Whether nothing can be in the folder. What is there otherwise is for the node to say.
fn is_new(data: &Path) -> bool {
    match std::fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Program, Stop, parse_arguments};

    fn options(flags: &str) -> Result<StartOptions, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let cookie = folder.path().join("cookie");
        std::fs::write(&cookie, "open sesame").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&cookie, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let words = crate::words::split(&format!("synod start --name n1 {flags}")).unwrap();
        let words = words.into_iter().map(Into::into);
        let rest = ["--cookie-file".into(), cookie.into(), "--data".into(), folder.path().join("n1").into()];
        match parse_arguments(words.chain(rest)) {
            Ok(Program::Start(args)) => args.options(),
            Ok(other) => panic!("{other:?}"),
            Err(Stop::Usage(failure)) => Err(failure),
            Err(Stop::Show(text)) => panic!("{text}"),
        }
    }

    fn refused(flags: &str, because: &str) {
        let failure = options(flags).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        assert!(failure.to_string().contains(because), "`{flags}` is refused with: {failure}");
    }

    #[test]
    fn founders_are_the_peers_and_this_node_unless_voters_are_named() {
        let with_peers = options("--peer n3=h:3 --peer n2=h:2").unwrap();
        assert_eq!(with_peers.voters, ["n1", "n2", "n3"]);
        assert_eq!(with_peers.peers.len(), 2);
        let with_voters = options("--voters n2,n1,n3 --peer n2=h:2").unwrap();
        assert_eq!(with_voters.voters, ["n1", "n2", "n3"]);
        assert_eq!(options("--alone").unwrap().voters, ["n1"]);
    }

    #[test]
    fn an_option_that_is_not_told_is_left_to_the_node() {
        let plain = options("--alone").unwrap();
        assert_eq!((plain.window, plain.batch, plain.advertise), (None, None, None));
        assert_eq!((plain.journal_limit, plain.snapshot_every), (None, None));
        assert_eq!((plain.mark_every, plain.election_timeout), (None, None));
        assert_eq!(plain.cookie, Cookie::new("open sesame").unwrap());
        assert_eq!(plain.cluster, "synod");
        assert_eq!(options("--alone --window 1 --batch 7").unwrap().batch, Some(7));
    }

    #[test]
    fn bounds_are_sizes_and_seconds() {
        let told = options("--alone --journal-limit 64M --snapshot-every 1048576 --mark-every 0.5").unwrap();
        assert_eq!((told.journal_limit, told.snapshot_every), (Some(64 << 20), Some(1 << 20)));
        assert_eq!(told.mark_every, Some(Duration::from_millis(500)));
        refused("--alone --journal-limit 1X", "`1X` is not a size: write bytes, or K, M, G or T behind a number");
        refused("--alone --journal-limit 4095K", "`4095K` is too small: at least 4M");
        refused("--alone --snapshot-every 1000", "`1000` is too small: at least 1M");
        refused("--alone --mark-every 0", "`0` is not an interval: write seconds, at least 0.1 and at most 86400");
        assert_eq!(options("--alone --election-timeout 2").unwrap().election_timeout, Some(Duration::from_secs(2)));
        let wrong = "`0.1` is not an election time-out: write seconds, at least 0.2 and at most 60";
        refused("--alone --election-timeout 0.1", wrong);
    }

    #[test]
    fn a_node_joins_through_a_member_or_waits_to_be_added() {
        assert_eq!(options("--alone").unwrap().join, None);
        let through = options("--join h:7101").unwrap();
        assert_eq!((through.join, through.voters.len()), (Some(Some("h:7101".parse().unwrap())), 0));
        assert_eq!(options("--join").unwrap().join, Some(None));
    }

    #[test]
    fn flags_that_contradict_themselves_are_refused() {
        refused(
            "",
            "--peer n2=HOST:PORT, or all founders with --voters n1,n2,n3, or join a group that runs with --join HOST:PORT, \
             or found a group of one with --alone",
        );
        refused("--join h:1 --alone", "cannot be used with");
        refused("--join h:1 --voters n1,n2", "cannot be used with");
        refused("--join --peer n2=h:1", "cannot be used with");
        refused("--join h:0", "cannot be dialled");
        refused("--join h", "the port is missing");
        refused("--listen 0.0.0.0:7101 --alone", "add --advertise HOST:PORT");
        refused("--listen [::]:7101 --alone", "add --advertise HOST:PORT");
        refused("--advertise 0.0.0.0:7101 --alone", "no address that others could dial");
        refused("--peer n1=h:1", "is this node itself");
        refused("--peer n2=h:1 --peer n2=h:2", "given twice");
        refused("--peer n2=h:0", "no address that one could dial");
        refused("--voters n2,n3", "leaves out n1");
        refused("--voters n1,n2,n2", "names n2 twice");
        refused("--alone --voters n1", "cannot be used with");
        refused("--alone --window 0", "--window");
        refused("--alone --cluster ''", "--cluster");
        refused("--peer leader=h:1", "no node can be called leader");
    }

    #[test]
    fn a_folder_that_holds_something_is_left_to_the_node() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_new(folder.path()) && is_new(&folder.path().join("none")));
        std::fs::write(folder.path().join("journal"), "x").unwrap();
        assert!(!is_new(folder.path()));
        assert!(!is_new(&folder.path().join("journal")), "a file is not a new folder");
    }
}
