//! The words of the grammar: names, addresses, slots, ranges, texts. Each says in one sentence what is wrong with a word
//! that it does not take.

use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use synod::paxos::{Bytes, Place, Slot};

/// A key or a value, exactly as typed: also bytes that are not UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// Shared, as the client takes it.
    pub fn bytes(&self) -> Bytes {
        Bytes::from(self.0.as_slice())
    }
}

impl From<OsString> for Text {
    #[cfg(unix)]
    fn from(word: OsString) -> Text {
        Text(std::os::unix::ffi::OsStringExt::into_vec(word))
    }
    #[cfg(not(unix))]
    fn from(word: OsString) -> Text {
        Text(word.to_string_lossy().into_owned().into_bytes())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// The name of a node. It starts with a letter, so that it is never taken for a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(pub String);

impl NodeName {
    /// The longest name, in bytes.
    const LONGEST: usize = 64;
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(word: &str) -> Result<NodeName, String> {
        let fits = word.len() <= NodeName::LONGEST
            && word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if fits {
            Ok(NodeName(word.to_owned()))
        } else {
            Err(format!(
                "`{word}` is not a node's name: up to {} letters, digits, `-` and `_`, a letter first, for example n1",
                NodeName::LONGEST
            ))
        }
    }
}

/// `HOST:PORT`. The host is a name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// A node on this machine.
    pub fn loopback(port: u16) -> Address {
        Address { host: "127.0.0.1".to_owned(), port }
    }

    /// The port; 0 asks for any free one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where this machine itself dials what listens here.
    pub fn dialled_here(&self) -> Address {
        let host = match self.host.as_str() {
            "0.0.0.0" | "*" => "127.0.0.1".to_owned(),
            "[::]" => "[::1]".to_owned(),
            host => host.to_owned(),
        };
        Address { host, ..*self }
    }

    /// Whether it names every interface of the machine, and so no place that others could dial.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "0.0.0.0" | "[::]" | "*")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(word: &str) -> Result<Address, String> {
        let wrong =
            |why: &str| format!("`{word}` is not an address: {why}; write HOST:PORT, for example 127.0.0.1:7101");
        let (host, port) = word.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port is not a number up to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_err() => {
                return Err(wrong("there is no IPv6 address in the brackets"));
            }
            None if host.is_empty() => return Err(wrong("the host is missing")),
            None if host.contains(':') => return Err(wrong("an IPv6 address goes in brackets")),
            None if host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@') => {
                return Err(wrong("a host has no such characters"));
            }
            _ => {}
        }
        Ok(Address { host: host.to_owned(), port })
    }
}

/// `NAME=HOST:PORT`, as `--peer` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Who.
    pub name: NodeName,
    /// Where.
    pub address: Address,
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(word: &str) -> Result<PeerAddress, String> {
        let (name, address) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is not a peer: write NAME=HOST:PORT, for example n2=127.0.0.1:7102"))?;
        Ok(PeerAddress { name: name.parse()?, address: address.parse()? })
    }
}

/// `NAME@HOST:PORT`, as `connect` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    /// Who.
    pub name: NodeName,
    /// Where.
    pub address: Address,
}

impl FromStr for ConnectTo {
    type Err = String;

    fn from_str(word: &str) -> Result<ConnectTo, String> {
        let (name, address) = word
            .split_once('@')
            .ok_or_else(|| format!("`{word}` names no node: write NAME@HOST:PORT, for example n2@127.0.0.1:7102"))?;
        Ok(ConnectTo { name: name.parse()?, address: dialled(address)? })
    }
}

/// `NAME=HOST:PORT` or `NAME@HOST:PORT`, as `member add` takes it; or only `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAddress {
    /// Who.
    pub name: NodeName,
    /// Where.
    pub address: Option<Address>,
}

impl FromStr for MemberAddress {
    type Err = String;

    fn from_str(word: &str) -> Result<MemberAddress, String> {
        match word.split_once(['=', '@']) {
            Some((name, address)) => Ok(MemberAddress { name: name.parse()?, address: Some(dialled(address)?) }),
            None => Ok(MemberAddress { name: word.parse()?, address: None }),
        }
    }
}

/// `@NODE`, as `propose` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through(pub NodeName);

impl FromStr for Through {
    type Err = String;

    fn from_str(word: &str) -> Result<Through, String> {
        let name = word.strip_prefix('@').ok_or_else(|| {
            format!("`{word}` names no node: write @NODE VALUE; a value of several words goes in quotes")
        })?;
        name.parse().map(Through)
    }
}

/// `SLOT` or `SLOT.INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotOrPlace {
    /// The slot.
    pub slot: Slot,
    /// One command in it, from 1; all of them if none.
    pub index: Option<u32>,
}

impl FromStr for SlotOrPlace {
    type Err = String;

    fn from_str(word: &str) -> Result<SlotOrPlace, String> {
        if word.contains('.') {
            let place: Place = word.parse()?;
            return Ok(SlotOrPlace { slot: place.slot, index: Some(place.index) });
        }
        match word.parse() {
            Ok(slot) if slot > 0 => Ok(SlotOrPlace { slot: Slot(slot), index: None }),
            _ => Err(format!("`{word}` is not a slot: write SLOT or SLOT.INDEX, both from 1, for example 12 or 12.1")),
        }
    }
}

/// `FROM..TO`, both inclusive and both optional; or one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first; `Slot::ZERO` if not told.
    pub first: Slot,
    /// The last; `Slot(u64::MAX)` if not told.
    pub upto: Slot,
}

impl FromStr for SlotRange {
    type Err = String;

    fn from_str(word: &str) -> Result<SlotRange, String> {
        let wrong = || format!("`{word}` is not a range of slots: write FROM..TO, both from 1, for example 10..20");
        let (first, upto) = word.split_once("..").unwrap_or((word, word));
        let end = |text: &str, open: Slot| match text {
            "" => Ok(open),
            text => text.parse().ok().filter(|slot| *slot > 0).map(Slot).ok_or_else(wrong),
        };
        let range = SlotRange { first: end(first, Slot(1))?, upto: end(upto, Slot(u64::MAX))? };
        if word.is_empty() || range.first > range.upto { Err(wrong()) } else { Ok(range) }
    }
}

/// What `log` takes: a node, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogArgument {
    /// Only this node.
    Node(NodeName),
    /// Only these slots.
    Range(SlotRange),
}

impl FromStr for LogArgument {
    type Err = String;

    fn from_str(word: &str) -> Result<LogArgument, String> {
        if word.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            word.parse().map(LogArgument::Range)
        } else {
            word.parse().map(LogArgument::Node)
        }
    }
}

/// An address that one can dial.
pub fn dialled(word: &str) -> Result<Address, String> {
    let address: Address = word.parse()?;
    if address.port() == 0 || address.is_wildcard() {
        return Err(format!("`{word}` cannot be dialled: port 0 and wildcards are for listening only"));
    }
    Ok(address)
}

/// A time to wait, in seconds.
pub fn deadline(word: &str) -> Result<Duration, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST_DEADLINE_S => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("`{word}` is not a time: write seconds, above 0 and up to {LONGEST_DEADLINE_S}")),
    }
}

/// A number of bytes, with a letter for 1024 of them, or that squared and so on, and not below the least that makes sense.
pub fn size_from(least: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |word| match size(word) {
        Some(bytes) if bytes >= least => Ok(bytes),
        Some(_) => Err(format!("`{word}` is too small: at least {}", shown_size(least))),
        None => {
            Err(format!("`{word}` is not a size: write bytes, or K, M, G or T behind a number, as 65536, 64M or 1G"))
        }
    }
}

fn size(word: &str) -> Option<u64> {
    let unit = UNITS.iter().find(|(letter, _)| word.ends_with([*letter, letter.to_ascii_lowercase()]));
    let (digits, unit) = unit.map_or((word, 1), |(_, unit)| (&word[..word.len() - 1], *unit));
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

/// The shortest way to write a size.
fn shown_size(bytes: u64) -> String {
    let unit = UNITS.iter().rfind(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(letter, unit)| format!("{}{letter}", bytes / unit))
}

/// A time from one to the next, in seconds.
pub fn interval(word: &str) -> Result<Duration, String> {
    seconds(word, "an interval", SHORTEST_INTERVAL_S..=LONGEST_DEADLINE_S)
}

/// How long a node hears no leader before it asks the others, in seconds: a few heartbeats at least.
pub fn election_timeout(word: &str) -> Result<Duration, String> {
    seconds(word, "an election time-out", SHORTEST_ELECTION_S..=LONGEST_ELECTION_S)
}

fn seconds(word: &str, what: &str, within: RangeInclusive<f64>) -> Result<Duration, String> {
    match word.parse() {
        Ok(seconds) if within.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => {
            let (least, most) = (within.start(), within.end());
            Err(format!("`{word}` is not {what}: write seconds, at least {least} and at most {most}"))
        }
    }
}

const UNITS: [(char, u64); 4] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];
const SHORTEST_INTERVAL_S: f64 = 0.1;
const LONGEST_DEADLINE_S: f64 = 86_400.0;
const SHORTEST_ELECTION_S: f64 = 0.2;
const LONGEST_ELECTION_S: f64 = 60.0;
