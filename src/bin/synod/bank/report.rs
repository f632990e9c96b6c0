//! What came of a set, and of the whole file.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Cell, Color};
use serde_json::{Value, json};
use synod::machine::bank::{AccountName, Outcome};
use synod::paxos::{Ballot, Place};

use super::script::{Row, Set};
use crate::answer::{DONE, Leader, NOT_DONE, UNKNOWN};
use crate::output::{Style, counted, finished, grouped, table, to_the_right};

/// The sets, and what no set with enough nodes came for.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of the file.
    pub sets: Vec<SetCame>,
    /// Transfers that were never sent.
    pub pending: Vec<Row>,
}

/// What came of a set.
#[derive(Clone, Debug)]
pub struct SetCame {
    number: u64,
    live: Vec<String>,
    quorum: bool,
    /// In the order in which they were sent: those that earlier sets left behind come first.
    pub settled: Vec<Settled>,
    /// Those of this set that wait for one with enough nodes.
    pub waiting: Vec<Row>,
    /// Which leaders failed.
    pub failed: Vec<String>,
    /// How often a leader was to fail, and there was none.
    pub leaderless: u32,
    /// Who led, one after the other.
    leaders: Vec<(String, Ballot)>,
    /// From the first row to the last answer.
    pub took: Duration,
    /// All nodes that live hold the same.
    pub agree: bool,
    /// What each account must hold, and what it holds.
    pub balances: BTreeMap<AccountName, (Option<i64>, Option<i64>)>,
}

/// A transfer that was settled.
#[derive(Clone, Debug)]
pub struct Settled {
    /// As it stands in the file.
    pub row: Row,
    /// What came of it.
    pub came: Came,
    /// What must come of it.
    pub expected: Outcome,
    /// How long it took to be answered.
    pub took: Duration,
}

/// What came of a transfer, and where.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// What.
    pub outcome: Outcome,
    /// The place of the command that settled it.
    pub place: Place,
}

impl SetCame {
    /// Nothing has come of it yet.
    pub fn of(set: &Set, quorum: bool) -> SetCame {
        SetCame {
            number: set.number,
            live: set.live.iter().map(|name| name.0.clone()).collect(),
            quorum,
            settled: Vec::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            leaderless: 0,
            leaders: Vec::new(),
            took: Duration::ZERO,
            agree: true,
            balances: BTreeMap::new(),
        }
    }

    /// Somebody leads.
    pub fn led_by(&mut self, Leader { name, ballot }: Leader) {
        if self.leaders.last().is_none_or(|(_, last)| *last != ballot) {
            self.leaders.push((name, ballot));
        }
    }

    fn done(&self) -> usize {
        self.settled.iter().filter(|settled| settled.came.outcome.is_done()).count()
    }

    /// Everything is as reading the file says.
    fn is_right(&self) -> bool {
        let as_expected = |settled: &Settled| settled.came.outcome == settled.expected;
        self.agree && self.settled.iter().all(as_expected) && self.balances.values().all(|(must, is)| must == is)
    }

    /// Of the times that transfers took, that below which so many of a hundred are, in milliseconds.
    fn percentile(&self, of_100: usize) -> f64 {
        let mut took: Vec<Duration> = self.settled.iter().map(|settled| settled.took).collect();
        took.sort_unstable();
        let at = (took.len() * of_100).div_ceil(100).max(1) - 1;
        took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }

    fn a_second(&self) -> f64 {
        self.settled.len() as f64 / self.took.as_secs_f64().max(1e-6)
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let live = if self.live.is_empty() { "nobody".to_owned() } else { self.live.join(" ") };
        let mut lines = vec![format!("set {}: {live}", self.number)];
        let (done, refused) = (self.done(), self.settled.len() - self.done());
        if !self.settled.is_empty() {
            lines.push(format!(
                "  {done} done, {refused} refused in {:.2} s: {} a second, p50 {:.1} ms, p99 {:.1} ms",
                self.took.as_secs_f64(),
                grouped(self.a_second() as u64),
                self.percentile(50),
                self.percentile(99),
            ));
        }
        for Settled { row, came, .. } in self.settled.iter().filter(|settled| !settled.came.outcome.is_done()) {
            lines.push(format!("  {row} is refused: {}", came.outcome));
        }
        for name in &self.failed {
            lines.push(format!("  {name}, which led, fails"));
        }
        if self.leaderless > 0 {
            lines.push("  a leader is to fail, and nobody leads".to_owned());
        }
        if !self.waiting.is_empty() {
            let count = self.waiting.len();
            lines.push(format!("  {count} wait for a set with enough live nodes"));
        } else if !self.quorum {
            lines.push("  too few nodes live".to_owned());
        }
        if let Some((name, ballot)) = self.leaders.last() {
            let changes = self.leaders.len() - 1;
            lines.push(format!("  {name} leads in ballot {ballot}, after {changes} changes of leader"));
        }
        if !self.balances.is_empty() {
            let agree = if self.agree { "the live nodes hold the same" } else { "THE LIVE NODES DIFFER" };
            lines.push(format!("  {agree}"));
            lines.push(self.accounts(style));
        }
        lines.join("\n")
    }

    fn accounts(&self, style: Style) -> String {
        let mut shown = table(["  ACCOUNT", "EXPECTED", "ACTUAL", ""], style);
        for (name, (must, is)) in &self.balances {
            let cell = |balance: &Option<i64>| balance.map_or_else(|| "-".to_owned(), |balance| balance.to_string());
            let mark = if must == is { Cell::new("") } else { Cell::new("differs").fg(Color::Red) };
            shown.add_row([Cell::new(format!("  {name}")), Cell::new(cell(must)), Cell::new(cell(is)), mark]);
        }
        to_the_right(&mut shown, [1, 2]);
        finished(&shown)
    }

    fn json(&self) -> Value {
        let settled = |settled: &Settled| {
            let mut object = row(&settled.row);
            object["outcome"] = json!(settled.came.outcome.to_string());
            object["done"] = json!(settled.came.outcome.is_done());
            object["place"] = json!(settled.came.place.to_string());
            object
        };
        let balance = |(name, (must, is)): (&AccountName, &(Option<i64>, Option<i64>))| json!({"account": name.as_str(), "expected": must, "actual": is});
        json!({
            "set": self.number,
            "live": self.live,
            "quorum": self.quorum,
            "settled": self.settled.iter().map(settled).collect::<Vec<_>>(),
            "done": self.done(),
            "refused": self.settled.len() - self.done(),
            "waiting": self.waiting.iter().map(row).collect::<Vec<_>>(),
            "failed": self.failed,
            "leaders": self.leaders.iter().map(|(name, ballot)| json!({"name": name, "ballot": ballot.to_string()})).collect::<Vec<_>>(),
            "leader_changes": self.leaders.len().saturating_sub(1),
            "seconds": self.took.as_secs_f64(),
            "per_second": self.a_second(),
            "latency_ms": {"p50": self.percentile(50), "p99": self.percentile(99), "max": self.percentile(100)},
            "agree": self.agree,
            "balances": self.balances.iter().map(balance).collect::<Vec<_>>(),
            "right": self.is_right(),
        })
    }
}

impl Report {
    /// 3 if something is pending, 1 if something is not as it must be.
    pub fn exit_code(&self) -> u8 {
        match () {
            () if !self.sets.iter().all(SetCame::is_right) => NOT_DONE,
            () if !self.pending.is_empty() => UNKNOWN,
            () => DONE,
        }
    }

    /// The last lines, for people.
    pub fn ending(&self) -> String {
        let settled: usize = self.sets.iter().map(|set| set.settled.len()).sum();
        let done: usize = self.sets.iter().map(SetCame::done).sum();
        let sets = counted(self.sets.len() as u64, "set");
        let mut lines = vec![format!("{sets}: {done} done, {} refused", settled - done)];
        lines.extend(self.pending.iter().map(|row| format!("  {row} is pending: no set with enough live nodes came")));
        if !self.sets.iter().all(SetCame::is_right) {
            lines.push("  NOT EVERYTHING IS AS READING THE FILE SAYS".to_owned());
        }
        lines.join("\n")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "sets": self.sets.iter().map(SetCame::json).collect::<Vec<_>>(),
            "pending": self.pending.iter().map(row).collect::<Vec<_>>(),
            "exit": self.exit_code(),
        })
    }
}

fn row(row: &Row) -> Value {
    json!({"line": row.line, "from": row.from.as_str(), "to": row.to.as_str(), "amount": row.amount})
}
