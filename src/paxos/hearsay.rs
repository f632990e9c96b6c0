//! What a node has seen of its peers' journals, and when it passes that on (DESIGN section 4, rule 4).
//!
//! Everything that a node acknowledges carries the number of its last durable batch. Whoever hears it keeps the highest
//! number per node, returns it in handshakes, and passes news on now and then: a node that lost its tail is found out by
//! whomever it meets first, not only by the leader that its votes went to.
//!
//! A node that comes back asks what was seen of it *before*. What others passed on of the very start that asks must not
//! count, or an honest node looks as if it had lost what it wrote only since:
//!
//! ```text
//! n1 is suspended      n3 restarts at batch 15, n2 and n3 go on: n3 is at batch 30
//! n1 goes on, hears from n2 of batch 30, and only then meets n3, whose journal ended at 15
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::ballot::NodeId;
use super::message::AcceptorMessage;
use super::record::BatchNumber;

/// How often what was seen of the peers' journals is passed on, in milliseconds.
pub const HEARSAY_MS: u64 = 200;

/// A journal, how far it was seen to be durable, and in which start of its node.
pub type Seen = (NodeId, u64, BatchNumber);

/// What was seen, first-hand and by hearsay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hearsay {
    /// First-hand: of the latest start that a peer was heard in, which one, and the highest batch.
    heard: BTreeMap<NodeId, (u64, BatchNumber)>,
    /// Everything, start by start.
    witnessed: BTreeMap<NodeId, Witnessed>,
    /// What was passed on last, and when to pass on more.
    told: BTreeMap<NodeId, (u64, BatchNumber)>,
    again_ms: u64,
}

/// What was seen of one peer's journal, start by start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Witnessed {
    /// In starts that are not told apart any more.
    earlier: BatchNumber,
    /// In each of the latest starts, the one heard of last at the end.
    starts: VecDeque<(u64, BatchNumber)>,
}

impl Hearsay {
    /// Nothing seen yet.
    pub fn new() -> Hearsay {
        Hearsay::default()
    }

    /// Our own journal says what we saw before our start.
    pub fn remember(&mut self, node: NodeId, batch: BatchNumber) {
        let witnessed = self.witnessed.entry(node).or_default();
        witnessed.earlier = witnessed.earlier.max(batch);
    }

    /// A frame from this peer, in this start of its, says how far its journal is durable; the message to the own acceptor,
    /// if that is news.
    ///
    /// A frame of an earlier start may arrive late, after one of a newer start. What it says is kept, but for that moment
    /// it stands in the way of the newer start's news, which the next frame brings again. That is heard within a heartbeat,
    /// and starts carry no order by which one could tell.
    pub fn hear(&mut self, peer: NodeId, boot: u64, durable: BatchNumber) -> Option<AcceptorMessage> {
        let heard = self.heard.entry(peer).or_default();
        if heard.0 != boot {
            *heard = (boot, BatchNumber(0));
        }
        if durable <= heard.1 {
            return None;
        }
        heard.1 = durable;
        self.witnessed.entry(peer).or_default().note(boot, durable);
        Some(AcceptorMessage::Witnessed { peer, batch: durable })
    }

    /// A peer passes on what it saw. Leaves there what the own acceptor should journal: the journal does not tell starts
    /// apart, so it gets only what belongs to one that we have heard from ourselves. That one has met us, and takes no
    /// later number for one from before itself.
    pub fn heed(&mut self, own: NodeId, batches: &mut Vec<Seen>) {
        batches.retain(|(node, _, _)| *node != own);
        for (node, boot, batch) in batches.iter() {
            // Nobody asks what was seen of strangers, and there is no end to them.
            if self.witnessed.contains_key(node) || self.witnessed.len() < MOST_NODES {
                self.witnessed.entry(*node).or_default().note(*boot, *batch);
            }
        }
        batches.retain(|(node, boot, _)| self.heard.get(node).is_some_and(|(heard, _)| heard == boot));
    }

    /// The highest batch that a peer was seen to have before the start that it is in now.
    pub fn before(&self, peer: NodeId, boot: u64) -> BatchNumber {
        self.witnessed.get(&peer).map(|witnessed| witnessed.before(boot)).unwrap_or_default()
    }

    /// What to tell every peer now, if there is news and it is time.
    pub fn on_tick(&mut self, now_ms: u64) -> Option<AcceptorMessage> {
        if now_ms < self.again_ms || self.told == self.heard {
            return None;
        }
        self.again_ms = now_ms + HEARSAY_MS;
        self.told = self.heard.clone();
        let batches = self.told.iter().map(|(node, (boot, batch))| (*node, *boot, *batch)).collect();
        Some(AcceptorMessage::Hearsay { batches })
    }
}

impl Witnessed {
    fn note(&mut self, boot: u64, batch: BatchNumber) {
        let known = self.starts.iter().position(|(known, _)| *known == boot);
        let held = known.and_then(|index| self.starts.remove(index)).map_or(BatchNumber(0), |(_, held)| held);
        self.starts.push_back((boot, held.max(batch)));
        if self.starts.len() > MOST_STARTS
            && let Some((_, batch)) = self.starts.pop_front()
        {
            self.earlier = self.earlier.max(batch);
        }
    }

    /// The highest batch of any start but this one.
    fn before(&self, boot: u64) -> BatchNumber {
        let others = self.starts.iter().filter(|(other, _)| *other != boot);
        others.fold(self.earlier, |highest, (_, batch)| highest.max(*batch))
    }
}

/// How many starts of one peer are told apart: more than can have been heard of since it was met last.
const MOST_STARTS: usize = 8;
/// How many nodes are told apart: far more than a cluster has.
const MOST_NODES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: u32, boot: u64, batch: u64) -> Seen {
        (NodeId(node), boot, BatchNumber(batch))
    }

    #[test]
    fn news_is_passed_on_once_and_not_too_often() {
        let mut hearsay = Hearsay::new();
        assert_eq!(hearsay.on_tick(0), None, "nothing to tell");
        assert!(hearsay.hear(NodeId(2), 20, BatchNumber(3)).is_some());
        assert!(hearsay.hear(NodeId(2), 20, BatchNumber(3)).is_none());
        let told = |batch| Some(AcceptorMessage::Hearsay { batches: vec![seen(2, 20, batch)] });
        assert_eq!(hearsay.on_tick(10), told(3));
        assert_eq!(hearsay.on_tick(1000), None, "no news");
        hearsay.hear(NodeId(2), 20, BatchNumber(4));
        assert_eq!(hearsay.on_tick(1000), told(4));
        hearsay.hear(NodeId(2), 20, BatchNumber(5));
        assert_eq!(hearsay.on_tick(1000 + HEARSAY_MS - 1), None);
        assert_eq!(hearsay.on_tick(1000 + HEARSAY_MS), told(5));
    }

    #[test]
    fn rule_4_what_others_pass_on_is_journaled_only_of_a_start_that_was_heard_from() {
        let mut hearsay = Hearsay::new();
        let heed = |hearsay: &mut Hearsay, mut batches: Vec<Seen>| {
            hearsay.heed(NodeId(1), &mut batches);
            batches
        };
        // n3's start 30 has not been heard from: it has not met us either, and may ask us only later what was seen of it.
        assert_eq!(heed(&mut hearsay, vec![seen(3, 30, 9), seen(1, 1, 7)]), []);
        hearsay.hear(NodeId(3), 30, BatchNumber(8));
        assert_eq!(heed(&mut hearsay, vec![seen(3, 30, 10), seen(3, 31, 12)]), [seen(3, 30, 10)]);
        assert_eq!(hearsay.before(NodeId(3), 31), BatchNumber(10));
        assert_eq!(hearsay.before(NodeId(1), 2), BatchNumber(0), "of ourselves we know better");
    }

    #[test]
    fn what_is_claimed_of_strangers_takes_bounded_memory() {
        let mut hearsay = Hearsay::new();
        hearsay.heed(NodeId(1), &mut (2..10_000).map(|node| seen(node, 1, 1)).collect());
        assert_eq!(hearsay.witnessed.len(), MOST_NODES);
        assert_eq!(hearsay.before(NodeId(2), 2), BatchNumber(1));
    }

    #[test]
    fn rule_4_a_node_that_comes_back_hears_what_was_seen_of_its_earlier_starts_only() {
        let mut witnessed = Witnessed { earlier: BatchNumber(12), ..Witnessed::default() };
        assert_eq!(witnessed.before(1), BatchNumber(12), "what our journal says is from before, whoever asks");
        witnessed.note(1, BatchNumber(15));
        witnessed.note(1, BatchNumber(14));
        assert_eq!(witnessed.before(1), BatchNumber(12));
        assert_eq!(witnessed.before(2), BatchNumber(15));
        // Others pass on what the second start wrote before it has met us: no reason to doubt it.
        witnessed.note(2, BatchNumber(30));
        assert_eq!(witnessed.before(2), BatchNumber(15));
        // What they pass on late of the first one counts for the second, and nothing is hidden by the higher number.
        witnessed.note(1, BatchNumber(16));
        assert_eq!(witnessed.before(2), BatchNumber(16));
        assert_eq!(witnessed.before(3), BatchNumber(30));
    }

    #[test]
    fn starts_that_are_not_told_apart_any_more_count_for_every_later_one() {
        let mut witnessed = Witnessed::default();
        (1..100).for_each(|boot| witnessed.note(boot, BatchNumber(boot)));
        assert!(witnessed.starts.len() <= MOST_STARTS);
        assert_eq!(witnessed.before(99), BatchNumber(98));
        assert_eq!(witnessed.before(100), BatchNumber(99));
    }

    #[test]
    fn as_many_starts_are_told_apart_as_there_is_room_for() {
        let mut witnessed = Witnessed::default();
        witnessed.note(1, BatchNumber(50));
        (2..=MOST_STARTS as u64).for_each(|boot| witnessed.note(boot, BatchNumber(boot)));
        assert_eq!(witnessed.before(1), BatchNumber(MOST_STARTS as u64), "its own numbers do not count");
        witnessed.note(99, BatchNumber(1));
        assert_eq!(witnessed.before(1), BatchNumber(50), "not told apart any more");
    }

    #[test]
    fn rule_4_what_our_own_journal_says_of_a_peer_counts_for_each_of_its_starts() {
        let mut hearsay = Hearsay::new();
        hearsay.remember(NodeId(2), BatchNumber(9));
        hearsay.remember(NodeId(2), BatchNumber(4));
        assert_eq!(hearsay.before(NodeId(2), 1), BatchNumber(9));
        assert_eq!(hearsay.before(NodeId(3), 1), BatchNumber(0));
    }
}
