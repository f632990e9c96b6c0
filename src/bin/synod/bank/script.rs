//! A file of sets: which nodes live, who gives whom how much, and when the leader fails.
//!
//! ```text
//! Set Number,Transactions,Live Nodes
//! 1,"(A, B, 3)","[n1, n2, n3, n4, n5]"
//! ,"(C, D, 2)",
//! ,LF,
//! 2,"(G, H, 4)","[n1, n3, n5]"
//! ```
//!
//! A number in the first column begins a set, and only there the live nodes are read; a row without one goes on with the
//! set above. A set may be without transactions. `LF`: the leader fails, and stays down until a set lists it.
//!
//! Nothing runs before every row has been read: all that is wrong is told at once, row by row.

use std::fmt;

use synod::machine::bank::{AccountName, READY_MADE};

use crate::grammar::NodeName;

/// The sets, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// At least one.
    pub sets: Vec<Set>,
}

/// What happens while the same nodes live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// As the file calls it.
    pub number: u64,
    /// Where it begins, from 1.
    pub line: u64,
    /// Who lives; the others do not.
    pub live: Vec<NodeName>,
    /// In order.
    pub steps: Vec<Step>,
}

/// What one row asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A transfer.
    Transfer(Row),
    /// The leader fails.
    LeaderFails,
}

/// A transfer as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where, from 1.
    pub line: u64,
    /// Who pays.
    pub from: AccountName,
    /// Who gets it.
    pub to: AccountName,
    /// How much; whether that makes sense is for the bank to say.
    pub amount: i64,
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, from 1.
    pub line: u64,
    /// What, and what would be right.
    pub why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} to {}, {}", self.line, self.from, self.to, self.amount)
    }
}

impl Script {
    /// All transfers, in the order of the file.
    pub fn transfers(&self) -> impl Iterator<Item = &Row> {
        self.sets.iter().flat_map(|set| &set.steps).filter_map(|step| match step {
            Step::Transfer(row) => Some(row),
            Step::LeaderFails => None,
        })
    }

    /// What names a node or an account that is not there: the nodes are n1 to that number, and the accounts are the
    /// ready-made ones.
    pub fn strangers(&self, nodes: u16) -> Vec<Mistake> {
        let is_node = |name: &NodeName| (1..=nodes).any(|number| name.0 == format!("n{number}"));
        let unknown = self.sets.iter().flat_map(|set| set.live.iter().map(move |name| (set.line, name)));
        let unknown = unknown.filter(|(_, name)| !is_node(name));
        let no_node = |(line, name): (u64, &NodeName)| Mistake {
            line,
            why: format!("there is no node {name}: the nodes are n1 to n{nodes} (--nodes)"),
        };
        let accounts = self.transfers().flat_map(|row| [(row.line, &row.from), (row.line, &row.to)]);
        let no_account = |(line, name): (u64, &AccountName)| Mistake {
            line,
            why: format!("there is no account {name}: the accounts are {}", READY_MADE.join(", ")),
        };
        let strangers = accounts.filter(|(_, name)| !READY_MADE.contains(&name.as_str()));
        let mut mistakes: Vec<Mistake> = unknown.map(no_node).chain(strangers.map(no_account)).collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Reads a file's content.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn read(bytes: &[u8]) -> Result<Script, Vec<Mistake>> {
        let mistake = |line, why: &str| Mistake { line, why: why.to_owned() };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(vec![mistake(1, "the file is empty: it needs a header and a row for each transfer")]);
        }
        if let Some(line) = open_quote(bytes) {
            return Err(vec![mistake(line, "a quote is opened here and never closed")]);
        }
        let mut rows = Rows::default();
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes);
        let mut record = csv::ByteRecord::new();
        let mut lines = Lines { bytes, counted: 0, line: 1 };
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => {
                    let line = lines.at(record.position().map_or(0, csv::Position::byte));
                    rows.take(line, &record);
                }
                Ok(false) => break,
                Err(error) => {
                    let line = lines.at(error.position().map_or(0, csv::Position::byte));
                    rows.mistakes.push(mistake(line, &format!("it cannot be read: {error}")));
                    break;
                }
            }
        }
        rows.finish()
    }
}

/// Counts lines up to places that come one behind the other. (The reader counts a line that ends with a carriage return
/// too late.)
struct Lines<'a> {
    bytes: &'a [u8],
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the first row that begins at this byte or behind it.
    fn at(&mut self, byte: u64) -> u64 {
        let from = usize::try_from(byte).unwrap_or(usize::MAX).min(self.bytes.len());
        let ends = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let upto = (from + ends).max(self.counted);
        self.line += self.bytes[self.counted..upto].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = upto;
        self.line
    }
}

/// The rows so far.
#[derive(Default)]
struct Rows {
    header: bool,
    sets: Vec<Set>,
    mistakes: Vec<Mistake>,
    /// The row that was to begin a set did not: what follows belongs to none.
    lost: bool,
}

impl Rows {
    fn take(&mut self, line: u64, record: &csv::ByteRecord) {
        if let Err(why) = self.row(line, record) {
            self.mistakes.push(Mistake { line, why });
        }
    }

    fn row(&mut self, line: u64, record: &csv::ByteRecord) -> Result<(), String> {
        let cells: Vec<&str> = record
            .iter()
            .map(|cell| std::str::from_utf8(cell).map_err(|_| "it is not UTF-8".to_owned()))
            .collect::<Result<_, _>>()?;
        let is_header = !std::mem::replace(&mut self.header, true);
        let [number, transfer, live] = cells.as_slice() else {
            return Err(format!(
                "{} columns, and there are three: set number, transaction, live nodes{}",
                cells.len(),
                QUOTES
            ));
        };
        if is_header {
            return match number.parse::<u64>() {
                Ok(_) => Err(format!("the header is missing: the first line is `{HEADER}`")),
                Err(_) => Ok(()),
            };
        }
        let is_new = !number.is_empty();
        if is_new {
            self.lost = true;
            let number = number.parse().map_err(|_| format!("`{number}` is not the number of a set"))?;
            let live = live_nodes(live)?;
            self.sets.push(Set { number, line, live, steps: Vec::new() });
            self.lost = false;
        }
        let step = step(line, transfer)?;
        match self.sets.last_mut() {
            Some(_) if self.lost => Ok(()),
            Some(set) => {
                set.steps.extend(step);
                Ok(())
            }
            None if self.lost => Ok(()),
            None => Err("no set has begun: the first row has the number of a set".to_owned()),
        }
    }

    fn finish(mut self) -> Result<Script, Vec<Mistake>> {
        if self.sets.is_empty() && self.mistakes.is_empty() {
            self.mistakes.push(Mistake { line: 1, why: "there is a header, and no row behind it".to_owned() });
        }
        if self.mistakes.is_empty() { Ok(Script { sets: self.sets }) } else { Err(self.mistakes) }
    }
}

fn step(line: u64, cell: &str) -> Result<Option<Step>, String> {
    if cell.is_empty() {
        return Ok(None);
    }
    if cell == LEADER_FAILS {
        return Ok(Some(Step::LeaderFails));
    }
    let wrong = || format!("`{cell}` is not a transaction: write (SENDER, RECEIVER, AMOUNT), or LF");
    let inside = cell.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let [from, to, amount] = parts.as_slice() else { return Err(wrong()) };
    let account = |word: &str| word.parse::<AccountName>().map_err(|error| format!("in `{cell}`: {error}"));
    let (from, to) = (account(from)?, account(to)?);
    let amount = amount.parse().map_err(|_| {
        format!("in `{cell}`: `{amount}` is not an amount: write a whole number from {} to {}", i64::MIN, i64::MAX)
    })?;
    Ok(Some(Step::Transfer(Row { line, from, to, amount })))
}

fn live_nodes(cell: &str) -> Result<Vec<NodeName>, String> {
    let wrong = || format!("`{cell}` is not a list of live nodes: write [n1, n2, …]");
    let inside = cell.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
    let mut nodes: Vec<NodeName> = Vec::new();
    for word in inside.split(',').map(str::trim).filter(|_| !inside.trim().is_empty()) {
        let node: NodeName = word.parse().map_err(|why| format!("in `{cell}`: {why}"))?;
        if nodes.contains(&node) {
            return Err(format!("in `{cell}`: {node} is there twice"));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// The line of a quote that is never closed. Quotes count at the beginning of a cell only; doubled inside, one is meant.
fn open_quote(bytes: &[u8]) -> Option<u64> {
    let (mut line, mut opened, mut cell_begins) = (1, None, true);
    for byte in bytes {
        match (byte, opened) {
            (b'"', Some(_)) => opened = None,
            // Right behind a closed one it is the second of two.
            (b'"', None) if cell_begins => opened = Some(line),
            (b'"', None) => {}
            _ => {}
        }
        cell_begins = match byte {
            b',' | b'\n' => opened.is_none(),
            b' ' | b'\t' | b'\r' => cell_begins,
            b'"' => opened.is_none(),
            _ => false,
        };
        line += u64::from(*byte == b'\n');
    }
    opened
}

const HEADER: &str = "Set Number,Transactions,Live Nodes";
const LEADER_FAILS: &str = "LF";
/// Behind a row that has too many columns, mostly.
const QUOTES: &str = "; a transaction or a list that holds commas stands in double quotes";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &str) -> Result<Script, Vec<String>> {
        let text = format!("{HEADER}\n{rows}");
        Script::read(text.as_bytes()).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    fn nodes(names: &str) -> Vec<NodeName> {
        names.split(' ').filter(|name| !name.is_empty()).map(|name| name.parse().unwrap()).collect()
    }

    fn transfer(line: u64, from: &str, to: &str, amount: i64) -> Step {
        Step::Transfer(Row { line, from: from.parse().unwrap(), to: to.parse().unwrap(), amount })
    }

    #[test]
    fn sets_transfers_and_failing_leaders_are_read_in_order() {
        let script = read(
            "1,\"(A, B, 3)\",\"[n1, n2, n3, n4, n5]\"\n,\"( C,D ,2 )\",\n,LF,\n,\"(E, F, 1)\",\"[n1]\"\n\
             7,,\"[ n1,n3 ]\"\n8,LF,[]\n",
        )
        .unwrap();
        let set = |number, line, live: &str, steps| Set { number, line, live: nodes(live), steps };
        let first =
            vec![transfer(2, "A", "B", 3), transfer(3, "C", "D", 2), Step::LeaderFails, transfer(5, "E", "F", 1)];
        assert_eq!(
            script.sets,
            [set(1, 2, "n1 n2 n3 n4 n5", first), set(7, 6, "n1 n3", vec![]), set(8, 7, "", vec![Step::LeaderFails]),]
        );
    }

    #[test]
    fn windows_files_with_a_mark_and_blank_lines_are_read() {
        let text = format!("\u{feff}{HEADER}\r\n1,\"(A, B, 3)\",\"[n1]\"\r\n\r\n,\"(B, A, -3)\",\r\n");
        let script = Script::read(text.as_bytes()).unwrap();
        assert_eq!(script.sets[0].steps, [transfer(2, "A", "B", 3), transfer(4, "B", "A", -3)]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let mistakes = read(
            ",\"(A, B, 1)\",\n1,\"(A, B)\",\"[n1]\"\n,\"(A, B, x)\",\n,(A\n,lf,\nx,,[n1]\n,\"(A, B, 1)\",\n2,,n1\n\
             3,,\"[n1, n1]\"\n4,\"( , B, 1)\",[n1]\n,\"(A, B, 9223372036854775808)\",\n,a,b,c\n",
        )
        .unwrap_err();
        let range = format!("write a whole number from {} to {}", i64::MIN, i64::MAX);
        assert_eq!(
            mistakes,
            [
                "line 2: no set has begun: the first row has the number of a set".to_owned(),
                "line 3: `(A, B)` is not a transaction: write (SENDER, RECEIVER, AMOUNT), or LF".to_owned(),
                format!("line 4: in `(A, B, x)`: `x` is not an amount: {range}"),
                format!("line 5: 2 columns, and there are three: set number, transaction, live nodes{QUOTES}"),
                "line 6: `lf` is not a transaction: write (SENDER, RECEIVER, AMOUNT), or LF".to_owned(),
                "line 7: `x` is not the number of a set".to_owned(),
                "line 9: `n1` is not a list of live nodes: write [n1, n2, …]".to_owned(),
                "line 10: in `[n1, n1]`: n1 is there twice".to_owned(),
                "line 11: in `( , B, 1)`: the name of an account is missing".to_owned(),
                format!("line 12: in `(A, B, 9223372036854775808)`: `9223372036854775808` is not an amount: {range}"),
                format!("line 13: 4 columns, and there are three: set number, transaction, live nodes{QUOTES}"),
            ]
        );
    }

    #[test]
    fn nodes_and_accounts_that_are_not_there_are_told() {
        let script = read("1,\"(A, X, 3)\",\"[n1, n6, m1]\"\n,\"(Y, B, 1)\",\n").unwrap();
        let told: Vec<String> = script.strangers(5).iter().map(ToString::to_string).collect();
        let accounts = "the accounts are A, B, C, D, E, F, G, H, I, J";
        assert_eq!(
            told,
            [
                "line 2: there is no node n6: the nodes are n1 to n5 (--nodes)".to_owned(),
                "line 2: there is no node m1: the nodes are n1 to n5 (--nodes)".to_owned(),
                format!("line 2: there is no account X: {accounts}"),
                format!("line 3: there is no account Y: {accounts}"),
            ]
        );
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        let why = |text: &[u8]| {
            let mistakes = Script::read(text).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            mistakes[0].to_string()
        };
        assert_eq!(why(b""), "line 1: the file is empty: it needs a header and a row for each transfer");
        assert_eq!(why(b" \n\n"), "line 1: the file is empty: it needs a header and a row for each transfer");
        assert_eq!(why(HEADER.as_bytes()), "line 1: there is a header, and no row behind it");
        assert_eq!(
            why(b"1,\"(A, B, 3)\",\"[n1]\"\n"),
            "line 1: the header is missing: the first line is `Set Number,Transactions,Live Nodes`"
        );
        assert_eq!(why(b"a,b,c\n1,\"(A, B, 3),[n1]\n2,,[n1]\n"), "line 2: a quote is opened here and never closed");
        assert_eq!(why(b"a,b,c\n1,\xff,[n1]\n"), "line 2: it is not UTF-8");
    }
}
