//! What each node has been shown of the others' journals, it tells them when they come back (DESIGN section 4, rule 4). The
//! account is the check's own: it is kept by what arrives, and only a restart makes a node forget what it had not written
//! down. And each node passes on what it sees.

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::paxos::hearsay::{HEARSAY_MS, Seen};
use crate::paxos::{BatchNumber, NodeId};

/// Who was shown what.
#[derive(Debug, Default)]
pub struct Shown {
    /// By who was shown, whose journal, and in which start of its owner.
    seen: BTreeMap<(NodeId, NodeId), BTreeMap<u64, BatchNumber>>,
    /// What each has seen itself and not passed on, and since when it could have, in microseconds.
    news: BTreeMap<NodeId, News>,
}

#[derive(Debug, Default)]
struct News {
    /// The latest start heard of, and the highest batch of that.
    first_hand: BTreeMap<NodeId, (u64, BatchNumber)>,
    passed_on: BTreeMap<NodeId, (u64, BatchNumber)>,
    passed_on_us: u64,
}

impl Shown {
    /// A node starts, and its journal says what it had seen.
    pub fn on_start(&mut self, node: NodeId, written: impl Iterator<Item = (NodeId, BatchNumber)>) {
        self.seen.retain(|(whose, _), _| *whose != node);
        self.news.remove(&node);
        for (peer, batch) in written {
            self.seen.insert((node, peer), BTreeMap::from([(WRITTEN, batch)]));
        }
    }

    /// Something arrives from a peer, in one of its starts, and says how far its journal is durable.
    pub fn on_arrival(&mut self, node: NodeId, (peer, boot): (NodeId, u64), durable: BatchNumber) {
        self.note(node, peer, boot, durable);
        let news = self.news.entry(node).or_default();
        let heard = news.first_hand.entry(peer).or_insert((boot, BatchNumber(0)));
        if heard.0 != boot {
            *heard = (boot, BatchNumber(0));
        }
        heard.1 = heard.1.max(durable);
    }

    /// A peer passes on what it has seen.
    pub fn on_hearsay(&mut self, node: NodeId, batches: &[Seen]) {
        for (whose, boot, batch) in batches.iter().filter(|(whose, _, _)| *whose != node) {
            self.note(node, *whose, *boot, *batch);
        }
    }

    /// Time has passed for a node, and it did or did not pass on what it has seen.
    pub fn on_tick(&mut self, node: NodeId, now_us: u64, passes_on: bool) -> Held {
        let Some(news) = self.news.get_mut(&node) else { return Ok(()) };
        if passes_on {
            (news.passed_on, news.passed_on_us) = (news.first_hand.clone(), now_us);
            return Ok(());
        }
        let is_new = |(peer, heard): (&NodeId, &(u64, BatchNumber))| {
            heard.1 > BatchNumber(0) && news.passed_on.get(peer) != Some(heard)
        };
        if news.first_hand.iter().any(is_new) && now_us > news.passed_on_us + (HEARSAY_MS + SLACK_MS) * 1000 {
            return Err(Broken::new(NAME, format!("{node} keeps to itself what it has seen of others' journals")));
        }
        Ok(())
    }

    /// A node tells a peer, which shakes hands in this start, how much it has seen of its earlier ones.
    pub fn on_greeting(&self, node: NodeId, (peer, boot): (NodeId, u64), told: BatchNumber) -> Held {
        let Some(starts) = self.seen.get(&(node, peer)) else { return Ok(()) };
        let earlier = starts.iter().filter(|(start, _)| **start != boot).map(|(_, batch)| *batch).max();
        match earlier {
            Some(earlier) if earlier > told => Err(Broken::new(
                NAME,
                format!("{node} was shown batch {} of {peer}, and tells it of {}", earlier.0, told.0),
            )),
            _ => Ok(()),
        }
    }

    fn note(&mut self, node: NodeId, whose: NodeId, boot: u64, batch: BatchNumber) {
        let known = self.seen.entry((node, whose)).or_default().entry(boot).or_default();
        *known = batch.max(*known);
    }
}

const NAME: &str = "shown";
/// Not a start of any node: what a journal says, which does not tell starts apart.
const WRITTEN: u64 = 0;
/// A node passes on at its ticks.
const SLACK_MS: u64 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_or_kept_back_is_found() {
        let (one, two, three) = (NodeId(1), NodeId(2), NodeId(3));
        let mut shown = Shown::default();
        shown.on_arrival(one, (two, 1), BatchNumber(5));
        shown.on_hearsay(one, &[(two, 1, BatchNumber(7)), (one, 1, BatchNumber(9)), (three, 1, BatchNumber(2))]);
        assert_eq!(shown.on_greeting(one, (two, 1), BatchNumber(0)), Ok(()), "of the very start that asks");
        assert_eq!(shown.on_greeting(one, (two, 2), BatchNumber(7)), Ok(()));
        assert!(shown.on_greeting(one, (two, 2), BatchNumber(6)).is_err(), "forgotten");
        assert_eq!(shown.on_tick(one, 200_000, false), Ok(()));
        assert!(shown.on_tick(one, 300_000, false).is_err(), "kept back");
        assert_eq!(shown.on_tick(one, 300_000, true), Ok(()));
        assert_eq!(shown.on_tick(one, 900_000, false), Ok(()), "no news");
        shown.on_start(one, [(two, BatchNumber(4))].into_iter());
        assert_eq!(shown.on_greeting(one, (two, 2), BatchNumber(4)), Ok(()));
        assert!(shown.on_greeting(one, (two, 2), BatchNumber(3)).is_err(), "it was written down");
    }
}
