//! What two successive looks at all nodes say. Plain arithmetic: time comes with the looks.
//!
//! Counters count since a node started. If one has gone down, or belongs to another process than before, the node was
//! started anew in between, and has no rates for that once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use synod::net::report::Status;
use synod::paxos::{Ballot, Slot};

use crate::answer::{Leader, PerNode, highest_chosen, lag};
use crate::execute::{Leading, leading, node_rows};

/// What all nodes said at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When they were asked, counted from the program's beginning.
    pub at: Duration,
    /// The same by the wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What each said, or why it said nothing.
    pub nodes: Vec<PerNode<Box<Status>>>,
}

/// One look at the cluster, with the rates since the look before.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// By the wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// The time that the rates are of; none at the first look.
    pub elapsed: Option<Duration>,
    /// The cluster's name, if a node answered.
    pub cluster: Option<String>,
    /// Who leads, or why nobody does.
    pub leader: Result<Leader, String>,
    /// The highest slot that any node tells to be chosen; none if no node answered.
    pub chosen_upto: Option<Slot>,
    /// Commands a second of the leader; if nobody leads, of the node that is the furthest.
    pub commands_per_second: Option<f64>,
    /// Every node that anybody knows, in order of names.
    pub rows: Vec<Row>,
}

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Where it listens; empty if nobody knows.
    pub address: String,
    /// How it stands; or why it does not say.
    pub told: Result<Told, String>,
    /// How long it takes to answer the leader, in microseconds.
    pub round_trip_us: Option<u64>,
    /// What the others say of their links to it: the state of a link, and who says so.
    pub links: BTreeMap<String, Vec<String>>,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its phase.
    pub phase: String,
    /// If it does not vote: why, and how to mend it.
    pub trouble: Option<String>,
    /// The ballot that it leads with or follows.
    pub ballot: Ballot,
    /// Executed.
    pub executed_upto: Slot,
    /// How many slots that is behind the highest that any node tells to be chosen.
    pub lag: u64,
    /// Since the look before; none at the first, and if the node was started anew.
    pub rates: Option<Rates>,
    /// Size of its journal on disk.
    pub journal_bytes: u64,
    /// Sessions open.
    pub sessions: u64,
}

/// How fast a node goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Commands executed, a second.
    pub commands: f64,
    /// Batches made durable, a second.
    pub syncs: f64,
    /// Commands for each sync, if there were any.
    pub commands_per_sync: Option<f64>,
    /// Of one processor; none where the system does not tell.
    pub cpu_percent: Option<f64>,
}

/// Makes views of looks.
#[derive(Clone, Debug, Default)]
pub struct Measuring {
    before: Option<Sample>,
}

impl Measuring {
    /// The next look.
    pub fn take(&mut self, sample: Sample) -> View {
        let view = View::of(self.before.as_ref(), &sample);
        self.before = Some(sample);
        view
    }
}

impl View {
    /// What was seen, after what had been seen before.
    pub fn of(before: Option<&Sample>, now: &Sample) -> View {
        let answered = || now.nodes.iter().filter_map(|node| node.part.as_deref().ok());
        let elapsed = before.map(|before| now.at.saturating_sub(before.at));
        let leader = match leading(&now.nodes) {
            Ok(Leading::Known(leader)) => Ok(leader),
            Ok(Leading::Nobody { why, .. }) => Err(why),
            Err(failure) => Err(failure.to_string()),
        };
        let chosen_upto = answered().next().map(|_| highest_chosen(&now.nodes));
        let rates_of = |status: &Status| {
            let earlier = before?.nodes.iter().filter_map(|node| node.part.as_deref().ok());
            rates(earlier.clone().find(|earlier| earlier.name == status.name)?, status, elapsed?)
        };
        let leads = |status: &&Status| leader.as_ref().is_ok_and(|leader| leader.name == status.name);
        let furthest = answered().find(leads).or_else(|| answered().max_by_key(|status| status.executed_upto));
        let row = |row: crate::answer::NodeRow| {
            let status = answered().find(|status| status.name == row.name);
            Row {
                told: match (status, row.state) {
                    (Some(status), _) => Ok(told(status, chosen_upto.unwrap_or(Slot::ZERO), rates_of(status))),
                    (None, Err(why) | Ok(why)) => Err(why),
                },
                links: links(&row.name, answered()),
                name: row.name,
                address: row.address,
                round_trip_us: row.round_trip_us,
            }
        };
        View {
            at_ms: now.at_ms,
            elapsed,
            cluster: answered().next().map(|status| status.cluster.clone()),
            commands_per_second: furthest.and_then(rates_of).map(|rates| rates.commands),
            rows: node_rows(now.nodes.clone()).into_iter().map(row).collect(),
            chosen_upto,
            leader,
        }
    }

    /// How many nodes answered.
    pub fn answered(&self) -> usize {
        self.rows.iter().filter(|row| row.told.is_ok()).count()
    }
}

fn told(status: &Status, highest: Slot, rates: Option<Rates>) -> Told {
    Told {
        phase: status.phase.clone(),
        trouble: status.trouble.clone(),
        ballot: status.ballot,
        executed_upto: status.executed_upto,
        lag: lag(status, highest),
        rates,
        journal_bytes: status.journal_bytes,
        sessions: status.sessions,
    }
}

fn links<'a>(name: &str, answered: impl Iterator<Item = &'a Status>) -> BTreeMap<String, Vec<String>> {
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for status in answered {
        for peer in status.peers.iter().filter(|peer| peer.name == name) {
            links.entry(peer.link.clone()).or_default().push(status.name.clone());
        }
    }
    links
}

/// What one node did between two looks; none if it was started anew, or if no time has passed.
fn rates(before: &Status, now: &Status, elapsed: Duration) -> Option<Rates> {
    if before.process_id != now.process_id || elapsed.is_zero() {
        return None;
    }
    let commands = now.commands.checked_sub(before.commands)?;
    let syncs = now.batches.checked_sub(before.batches)?;
    let cpu_us = now.cpu_us.checked_sub(before.cpu_us)?;
    let seconds = elapsed.as_secs_f64();
    Some(Rates {
        commands: commands as f64 / seconds,
        syncs: syncs as f64 / seconds,
        commands_per_sync: (syncs > 0).then(|| commands as f64 / syncs as f64),
        cpu_percent: (now.cpu_us > 0).then(|| cpu_us as f64 / 1e4 / seconds),
    })
}

/// Commands a second over the last minute.
#[derive(Clone, Debug, Default)]
pub struct LastMinute {
    /// From, up to, and the rate in between; ascending.
    spans: VecDeque<(Duration, Duration, f64)>,
}

impl LastMinute {
    /// Adds a rate of the time that ends at `at`.
    pub fn add(&mut self, at: Duration, elapsed: Duration, rate: f64) {
        self.spans.push_back((at.saturating_sub(elapsed), at, rate));
        while self.spans.front().is_some_and(|(_, upto, _)| at.saturating_sub(*upto) > MINUTE) {
            self.spans.pop_front();
        }
    }

    /// The rate in each of the last `count` seconds before `now`, the newest last; none where nothing is known.
    pub fn seconds(&self, now: Duration, count: u16) -> Vec<Option<f64>> {
        let second = |ago: u16| {
            let middle = now.checked_sub(Duration::from_millis(1000 * u64::from(ago) + 500))?;
            let covers = |(from, upto, _): &&(Duration, Duration, f64)| *from <= middle && middle < *upto;
            self.spans.iter().find(covers).map(|(_, _, rate)| *rate)
        };
        (0..count).rev().map(second).collect()
    }
}

/// For how long rates are remembered.
pub const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
pub mod tests;
