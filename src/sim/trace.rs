//! A run that a person can read: a lane for each node, time downwards, and a hash that two equal runs share.
//!
//! `●` something happens at a node, or a message leaves it; `►` `◄` it arrives there. `┬` a node starts, `╳` it stops; its
//! lane is dotted while it is down. A message stands where it arrives; one that is lost does not stand there at all. What
//! nodes repeat all the time (heartbeats, their answers) stands there once, and again when it says something new.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;

use super::hash::Fold;
use super::words::{self, Worth};
use crate::paxos::Message;

/// What happened, in order.
#[derive(Debug, Default)]
pub struct Trace {
    fold: Fold,
    lines: Option<Vec<Line>>,
    /// What was said last of what is said all the time, by link and kind.
    routine: BTreeMap<(usize, usize, String), String>,
}

#[derive(Debug)]
struct Line {
    at_us: u64,
    lanes: Lanes,
    text: String,
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lanes {
    /// At one node, by position.
    At(usize),
    /// A node starts.
    Starts(usize),
    /// A node stops, or does not come up.
    Stops(usize),
    /// From one node to another.
    Between(usize, usize),
    /// Outside the nodes.
    Outside,
}

impl Trace {
    /// A trace that only hashes; with `lines`, one that also keeps what it is told.
    pub fn new(lines: bool) -> Trace {
        Trace { fold: Fold::default(), lines: lines.then(Vec::new), routine: BTreeMap::new() }
    }

    /// Something happened: `what` goes into the hash, `text` into the lines, if there is any.
    pub fn note(&mut self, at_us: u64, lanes: Lanes, what: impl Hash, text: impl FnOnce() -> String) {
        (at_us, lanes, what).hash(&mut self.fold);
        if let Some(lines) = &mut self.lines {
            let text = text();
            if !text.is_empty() {
                lines.push(Line { at_us, lanes, text });
            }
        }
    }

    /// A message arrives.
    pub fn arrives(&mut self, at_us: u64, from: usize, to: usize, message: &Message) {
        let Trace { lines, routine, .. } = self;
        let text = lines.as_ref().map(|_| words::message(message)).filter(|text| match words::worth(message) {
            Worth::Always => true,
            Worth::Never => false,
            Worth::News => {
                let kind = text.split(' ').next().unwrap_or_default().to_owned();
                routine.insert((from, to, kind), text.clone()).is_none_or(|last| last != *text)
            }
        });
        self.note(at_us, Lanes::Between(from, to), (), || text.unwrap_or_default());
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.fold.finish()
    }

    /// A lane diagram for this many nodes, of what happened within a time, in microseconds.
    pub fn diagram(&self, nodes: usize, within_us: &RangeInclusive<u64>) -> String {
        let mut diagram = String::from("         ms ");
        for node in 1..=nodes {
            let _ = write!(diagram, " {:<width$}", format!("n{node}"), width = LANE - 1);
        }
        diagram.push('\n');
        let mut down: BTreeSet<usize> = (0..nodes).collect();
        for Line { at_us, lanes, text } in self.lines.iter().flatten() {
            if let Lanes::Starts(node) = lanes {
                down.remove(node);
            }
            if within_us.contains(at_us) {
                let _ = write!(diagram, "{:>7}.{:03} ", at_us / 1000, at_us % 1000);
                diagram.push_str(&draw(*lanes, nodes, &down));
                let _ = writeln!(diagram, " {}", cut(text, WIDTH - FIRST_LANE - nodes * LANE - 1));
            }
            if let Lanes::Stops(node) = lanes {
                down.insert(*node);
            }
        }
        diagram
    }
}

/// The lanes of one line: `●` where it happens, an arrow from sender to receiver.
fn draw(lanes: Lanes, nodes: usize, down: &BTreeSet<usize>) -> String {
    let mut cells: Vec<char> = vec![' '; nodes * LANE];
    for node in 0..nodes {
        cells[center(node)] = if down.contains(&node) { '┊' } else { '│' };
    }
    match lanes {
        Lanes::Outside => {}
        Lanes::At(node) => cells[center(node)] = '●',
        Lanes::Starts(node) => cells[center(node)] = '┬',
        Lanes::Stops(node) => cells[center(node)] = '╳',
        Lanes::Between(from, to) => {
            let (from, to) = (center(from), center(to));
            cells[from.min(to)..=from.max(to)].fill('─');
            cells[from] = '●';
            cells[to] = if to > from { '►' } else { '◄' };
        }
    }
    cells.into_iter().collect()
}

fn center(node: usize) -> usize {
    node * LANE + 1
}

/// A text of at most so many characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Characters from one lane to the next.
const LANE: usize = 6;
/// Characters before the lanes.
const FIRST_LANE: usize = 12;
/// Characters of a line.
const WIDTH: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_arrow_across_the_lanes() {
        let draw = |lanes| draw(lanes, 3, &BTreeSet::from([2]));
        assert_eq!(draw(Lanes::Between(0, 2)), " ●───────────►    ");
        assert_eq!(draw(Lanes::Between(1, 0)), " ◄─────●     ┊    ");
        assert_eq!(draw(Lanes::At(1)), " │     ●     ┊    ");
        let mut trace = Trace::new(true);
        trace.note(1_000_000, Lanes::Outside, 0, || "too early".into());
        trace.note(1_234_567, Lanes::Starts(0), 1, || "starts".into());
        trace.note(1_234_568, Lanes::At(0), 1, String::new);
        assert_eq!(
            trace.diagram(2, &(1_200_000..=1_300_000)),
            "         ms  n1    n2   \n   1234.567  ┬     ┊     starts\n"
        );
    }

    #[test]
    fn a_heartbeat_that_brings_no_news_is_left_out() {
        use crate::paxos::{AcceptorMessage, Ballot, NodeId, Slot};
        let mut trace = Trace::new(true);
        let ballot = Ballot::new(1, NodeId(1));
        for (round, chosen_upto) in [(1, 0), (2, 0), (3, 5)] {
            let heartbeat =
                AcceptorMessage::Heartbeat { ballot, round, chosen_upto: Slot(chosen_upto), everywhere_upto: Slot(0) };
            trace.arrives(round, 0, 1, &heartbeat.into());
        }
        assert_eq!(trace.diagram(2, &(0..=9)).matches("Heartbeat").count(), 2);
    }

    #[test]
    fn a_line_is_cut_where_the_page_ends() {
        let mut trace = Trace::new(true);
        trace.note(1, Lanes::At(0), 1, || "word ".repeat(100));
        assert!(trace.diagram(5, &(0..=1)).lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn the_hash_tells_runs_apart() {
        let run = |what: u64| {
            let mut trace = Trace::new(false);
            trace.note(1, Lanes::Outside, what, String::new);
            trace.hash()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
