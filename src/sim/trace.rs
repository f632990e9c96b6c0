//! A run that a person can read: a lane for each node, time downwards, and a hash that two equal runs share.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use super::hash::Fold;

/// What happened, in order.
#[derive(Debug, Default)]
pub struct Trace {
    fold: Fold,
    lines: Option<Vec<Line>>,
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
    /// From one node to another.
    Between(usize, usize),
    /// Outside the nodes.
    Outside,
}

impl Trace {
    /// A trace that only hashes; with `lines`, one that also keeps what it is told.
    pub fn new(lines: bool) -> Trace {
        Trace { fold: Fold::default(), lines: lines.then(Vec::new) }
    }

    /// Something happened: `what` goes into the hash, `text` into the lines.
    pub fn note(&mut self, at_us: u64, lanes: Lanes, what: impl Hash, text: impl FnOnce() -> String) {
        (at_us, lanes, what).hash(&mut self.fold);
        if let Some(lines) = &mut self.lines {
            lines.push(Line { at_us, lanes, text: text() });
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.fold.finish()
    }

    /// A lane diagram for this many nodes.
    pub fn diagram(&self, nodes: usize) -> String {
        let mut diagram = String::from("         ms ");
        for node in 1..=nodes {
            let _ = write!(diagram, "  {:<width$}", format!("n{node}"), width = LANE - 2);
        }
        diagram.push('\n');
        for Line { at_us, lanes, text } in self.lines.iter().flatten() {
            let _ = write!(diagram, "{:>7}.{:03} ", at_us / 1000, at_us % 1000);
            diagram.push_str(&draw(*lanes, nodes));
            let _ = writeln!(diagram, " {text}");
        }
        diagram
    }
}

/// The lanes of one line: `●` where it happens, an arrow from sender to receiver.
fn draw(lanes: Lanes, nodes: usize) -> String {
    let mut cells: Vec<char> = vec![' '; nodes * LANE];
    for node in 0..nodes {
        cells[center(node)] = '│';
    }
    match lanes {
        Lanes::Outside => {}
        Lanes::At(node) => cells[center(node)] = '●',
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
    node * LANE + 2
}

const LANE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_arrow_across_the_lanes() {
        assert_eq!(draw(Lanes::Between(0, 2), 3), "  ●───────────────►     ");
        assert_eq!(draw(Lanes::Between(1, 0), 3), "  ◄───────●       │     ");
        assert_eq!(draw(Lanes::At(1), 3), "  │       ●       │     ");
        let mut trace = Trace::new(true);
        trace.note(1_234_567, Lanes::At(0), 1, || "starts".into());
        assert_eq!(trace.diagram(2), "         ms   n1      n2    \n   1234.567   ●       │      starts\n");
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
