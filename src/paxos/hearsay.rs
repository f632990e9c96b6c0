//! What a node has seen of its peers' journals, and when it passes that on (DESIGN section 4, rule 4).
//!
//! Everything that a node acknowledges carries the number of its last durable batch. Whoever hears it keeps the highest
//! number per node, returns it in handshakes, and passes news on now and then: a node that lost its tail is found out by
//! whomever it meets first, not only by the leader that its votes went to.

use std::collections::BTreeMap;

use super::ballot::NodeId;
use super::message::AcceptorMessage;
use super::record::BatchNumber;

/// How often what was seen of the peers' journals is passed on, in milliseconds.
pub const HEARSAY_MS: u64 = 200;

/// How long a node waits after its start to meet all members, before it votes with a quorum of them, in milliseconds.
/// Longer than [`HEARSAY_MS`], so that whoever has seen the most of its journal is likely heard first.
pub const MEETING_MS: u64 = 700;

const _: () = assert!(MEETING_MS > HEARSAY_MS);

/// What was seen, first-hand and by hearsay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hearsay {
    /// First-hand: by the peers' own frames.
    witnessed: BTreeMap<NodeId, BatchNumber>,
    /// What was passed on last, and when to pass on more.
    told: BTreeMap<NodeId, BatchNumber>,
    again_ms: u64,
}

impl Hearsay {
    /// Nothing seen yet.
    pub fn new() -> Hearsay {
        Hearsay::default()
    }

    /// A frame from this peer says how far its journal is durable; the message to the own acceptor, if that is news.
    pub fn witness(&mut self, peer: NodeId, durable: BatchNumber) -> Option<AcceptorMessage> {
        let seen = self.witnessed.entry(peer).or_default();
        if durable <= *seen {
            return None;
        }
        *seen = durable;
        Some(AcceptorMessage::Witnessed { peer, batch: durable })
    }

    /// What to tell every peer now, if there is news and it is time.
    pub fn on_tick(&mut self, now_ms: u64) -> Option<AcceptorMessage> {
        if now_ms < self.again_ms || self.told == self.witnessed {
            return None;
        }
        self.again_ms = now_ms + HEARSAY_MS;
        self.told = self.witnessed.clone();
        let batches = self.told.iter().map(|(node, batch)| (*node, *batch)).collect();
        Some(AcceptorMessage::Hearsay { batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_passed_on_once_and_not_too_often() {
        let mut hearsay = Hearsay::new();
        assert_eq!(hearsay.on_tick(0), None, "nothing to tell");
        assert!(hearsay.witness(NodeId(2), BatchNumber(3)).is_some());
        assert!(hearsay.witness(NodeId(2), BatchNumber(3)).is_none());
        let told = |batch| Some(AcceptorMessage::Hearsay { batches: vec![(NodeId(2), BatchNumber(batch))] });
        assert_eq!(hearsay.on_tick(10), told(3));
        assert_eq!(hearsay.on_tick(1000), None, "no news");
        hearsay.witness(NodeId(2), BatchNumber(4));
        assert_eq!(hearsay.on_tick(1000), told(4));
        hearsay.witness(NodeId(2), BatchNumber(5));
        assert_eq!(hearsay.on_tick(1000 + HEARSAY_MS - 1), None);
        assert_eq!(hearsay.on_tick(1000 + HEARSAY_MS), told(5));
    }
}
