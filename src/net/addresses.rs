//! Where nodes live: addresses as people write them, and the book that a node keeps.
//!
//! In the book the entry with the highest `since_ms` wins, whoever tells it, so that books which hear of one another
//! agree in the end. What a node says of itself in a handshake is first-hand: it goes above whatever the book held, even
//! if that came from a clock that runs ahead. Keeping the book on disk is `super::address_file`'s business.

use std::collections::BTreeMap;
use std::fmt;

use super::identity::check_name;
use super::wire::KnownAddress;

/// `HOST:PORT`; an IPv6 host stands in brackets. The host is resolved at every dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `HOST:PORT`, or says in a sentence what is wrong.
    pub fn parse(text: &str) -> Result<Address, String> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            format!("`{}` is not an address: {why}; write HOST:PORT, for example 127.0.0.1:7001", shown.escape_debug())
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once("]:").ok_or_else(|| wrong("`]:PORT` is missing"))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("no IPv6 address stands in the brackets"))?;
                (host, port)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
                if host.contains(':') {
                    return Err(wrong("an IPv6 address needs brackets"));
                }
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
                if host.is_empty() || host.len() > LONGEST_HOST || !host.bytes().all(fits) {
                    return Err(wrong("the host is neither a name nor an IP address"));
                }
                (host, port)
            }
        };
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(|| wrong("the port is not a number up to 65535"))?;
        Ok(Address { host: host.to_owned(), port })
    }

    /// Whether it means every interface: one can listen there, but not be reached there.
    pub fn is_wildcard(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl std::str::FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Address, String> {
        Address::parse(text)
    }
}

/// Reads `NAME=HOST:PORT` or `NAME@HOST:PORT`.
pub fn parse_named(text: &str) -> Result<(String, Address), String> {
    let (name, address) =
        text.split_once(['=', '@']).ok_or_else(|| format!("`{}`: write NAME=HOST:PORT", text.escape_debug()))?;
    check_name(name)?;
    Ok((name.to_owned(), Address::parse(address)?))
}

/// Which node lives where, as far as one node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressBook {
    entries: BTreeMap<String, KnownAddress>,
}

impl AddressBook {
    /// Where `name` lives.
    pub fn address_of(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(|entry| entry.address.as_str())
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &KnownAddress> {
        self.entries.values()
    }

    /// Takes what another node or a flag says, if it is newer than what the book holds. Returns whether the address of
    /// that node is another one now. What is not well formed, cannot be reached, or overfills the book is not taken.
    pub fn hear(&mut self, heard: KnownAddress) -> bool {
        let usable = check_name(&heard.name).is_ok() && Address::parse(&heard.address).is_ok_and(|a| !a.is_wildcard());
        let held = self.entries.get(&heard.name);
        let newer = held.is_none_or(|held| (heard.since_ms, &heard.address) > (held.since_ms, &held.address));
        let fits = held.is_some() || self.entries.len() < MOST_ENTRIES;
        let moved = held.is_none_or(|held| held.address != heard.address);
        if usable && newer && fits {
            self.entries.insert(heard.name.clone(), heard);
        }
        usable && newer && fits && moved
    }

    /// Takes what `name` says of itself in a handshake, at `now_ms`; returns whether its address is another one now.
    pub fn hear_first_hand(&mut self, name: &str, address: &str, now_ms: u64) -> bool {
        let since_ms = match self.entries.get(name) {
            Some(held) if held.address == address => return false,
            Some(held) => now_ms.max(held.since_ms.saturating_add(1)),
            None => now_ms,
        };
        self.hear(KnownAddress { name: name.to_owned(), address: address.to_owned(), since_ms })
    }

    /// The book as lines of text: name, address, since when.
    pub fn to_text(&self) -> String {
        let line = |entry: &KnownAddress| format!("{} {} {}\n", entry.name, entry.address, entry.since_ms);
        self.entries().map(line).fold(String::from(FIRST_LINE), |text, line| text + &line)
    }

    /// Reads what [`AddressBook::to_text`] wrote; none if any of it is something else.
    pub fn from_text(text: &str) -> Option<AddressBook> {
        let mut book = AddressBook::default();
        for line in text.strip_prefix(FIRST_LINE)?.lines() {
            let [name, address, since_ms] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            let entry = KnownAddress { name: name.into(), address: address.into(), since_ms: since_ms.parse().ok()? };
            if !book.hear(entry) {
                return None;
            }
        }
        Some(book)
    }
}

const FIRST_LINE: &str = "synod addresses 1\n";
const LONGEST_HOST: usize = 253;
const MOST_ENTRIES: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(name: &str, address: &str, since_ms: u64) -> KnownAddress {
        KnownAddress { name: name.into(), address: address.into(), since_ms }
    }

    #[test]
    fn addresses_read_as_they_are_written() {
        for text in ["127.0.0.1:7001", "localhost:0", "[::1]:65535", "my-host.example.org:80"] {
            assert_eq!(Address::parse(text).expect(text).to_string(), text);
        }
        for text in
            ["", ":1", "a", "a:", "a:65536", "a:+1", "a:-1", "::1:80", "[::1]", "[x]:1", "a b:1", "a:1\n", "ä:1"]
        {
            let sentence = Address::parse(text).expect_err(text);
            assert!(sentence.contains("HOST:PORT") && !sentence.contains('\n'), "{sentence}");
        }
    }

    #[test]
    fn wildcards_are_known() {
        for (text, wildcard) in [("0.0.0.0:1", true), ("[::]:1", true), ("127.0.0.1:1", false), ("host:1", false)] {
            assert_eq!(Address::parse(text).expect(text).is_wildcard(), wildcard, "{text}");
        }
    }

    #[test]
    fn named_addresses_come_in_two_spellings() {
        for text in ["n1=[::1]:7", "n1@[::1]:7"] {
            let (name, address) = parse_named(text).expect(text);
            assert_eq!((name.as_str(), address.to_string().as_str()), ("n1", "[::1]:7"));
        }
        for text in ["n1", "=a:1", "n1=", "n 1=a:1", "n1:a:1"] {
            assert!(parse_named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_newest_entry_wins() {
        let mut book = AddressBook::default();
        assert!(book.hear(known("n1", "a:1", 5)));
        assert!(!book.hear(known("n1", "b:1", 4)), "older");
        assert!(!book.hear(known("n1", "a:1", 9)), "newer, but no other address");
        assert!(!book.hear(known("n1", "b:1", 8)), "older than what was confirmed");
        assert!(book.hear(known("n1", "b:1", 10)));
        assert_eq!(book.address_of("n1"), Some("b:1"));
    }

    #[test]
    fn first_hand_goes_above_a_clock_that_runs_ahead() {
        let mut book = AddressBook::default();
        book.hear(known("n1", "a:1", 1_000_000));
        assert!(book.hear_first_hand("n1", "b:1", 10));
        assert_eq!(book.entries().next(), Some(&known("n1", "b:1", 1_000_001)));
        assert!(!book.hear_first_hand("n1", "b:1", 20));
    }

    #[test]
    fn unusable_addresses_are_not_taken() {
        let mut book = AddressBook::default();
        for heard in [known("n1", "0.0.0.0:1", 1), known("n 1", "a:1", 1), known("n1", "nonsense", 1)] {
            assert!(!book.hear(heard));
        }
        assert_eq!(book, AddressBook::default());
    }

    #[test]
    fn a_book_reads_back_and_a_damaged_one_does_not() {
        let mut book = AddressBook::default();
        book.hear(known("n1", "a:1", 1));
        book.hear(known("n2", "[::1]:2", 2));
        let text = book.to_text();
        assert_eq!(AddressBook::from_text(&text), Some(book));
        assert_eq!(AddressBook::from_text(""), None);
        assert_eq!(AddressBook::from_text(&text.replace("a:1", "a1")), None);
    }

    proptest! {
        #[test]
        fn books_that_hear_the_same_agree(
            heard in proptest::collection::vec((0..3u8, 0..3u16, 0..4u64), 0..12),
            seed: u64,
        ) {
            let entry = |(name, port, since): &(u8, u16, u64)| known(&format!("n{name}"), &format!("h:{port}"), *since);
            let mut shuffled = heard.clone();
            let length = shuffled.len().max(1);
            shuffled.rotate_left((seed as usize) % length);
            shuffled.reverse();
            let (mut one, mut other) = (AddressBook::default(), AddressBook::default());
            heard.iter().for_each(|h| { one.hear(entry(h)); });
            shuffled.iter().for_each(|h| { other.hear(entry(h)); });
            prop_assert_eq!(one, other);
        }

        #[test]
        fn any_text_parses_or_not_without_panic(text in ".{0,40}") {
            let _ = (Address::parse(&text), parse_named(&text), AddressBook::from_text(&text));
        }
    }
}
