//! Whom a node meets just after its start, before its own acceptor hears of any of it (DESIGN section 4, rule 4).
//!
//! A quorum of handshakes lets a node vote, whatever those say that come later. So the first ones are held back a moment:
//! whoever has seen the most of its journal should be heard before the first vote. What a peer says at its first handshake
//! is from before this start. A link may break and come back meanwhile, and then the same peer has seen more:
//!
//! ```text
//! n1 starts at batch 5, and meets n3, which has seen nothing      n1 goes on to batch 18, and n3 sees it
//! n3 starts anew, and meets n1 again: it has seen 18              told first, 18 looks like a loss of 5 to 18
//! ```

use std::collections::BTreeSet;

use super::ballot::NodeId;
use super::hearsay::HEARSAY_MS;
use super::record::BatchNumber;

/// How long a node waits after its start to meet all members, before it votes with a quorum of them, in milliseconds.
/// Longer than [`HEARSAY_MS`], so that whoever has seen the most of its journal is likely heard first.
pub const MEETING_MS: u64 = 700;

const _: () = assert!(MEETING_MS > HEARSAY_MS);

/// The handshakes that are held back: with whom, and how much of our journal it had seen.
#[derive(Clone, Debug, Default)]
pub struct Meeting {
    met: BTreeSet<NodeId>,
    /// The first with each.
    first: Vec<(NodeId, BatchNumber)>,
    /// The later ones, one after the other.
    again: Vec<(NodeId, BatchNumber)>,
}

impl Meeting {
    /// Nobody yet.
    pub fn new() -> Meeting {
        Meeting::default()
    }

    /// A handshake succeeded. Says whom this node has met by now.
    pub fn meet(&mut self, peer: NodeId, witnessed: BatchNumber) -> &BTreeSet<NodeId> {
        let handshakes = if self.met.insert(peer) { &mut self.first } else { &mut self.again };
        handshakes.push((peer, witnessed));
        &self.met
    }

    /// What to tell the acceptor, in order: what was seen before this start, the most of it first, and then the rest.
    pub fn ended(self) -> impl Iterator<Item = (NodeId, BatchNumber)> {
        let Meeting { mut first, again, .. } = self;
        first.sort_by_key(|(_, witnessed)| std::cmp::Reverse(*witnessed));
        first.into_iter().chain(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Configuration;
    use crate::paxos::admission::Admission;
    use crate::paxos::membership::Membership;

    fn seen(peer: u32, batch: u64) -> (NodeId, BatchNumber) {
        (NodeId(peer), BatchNumber(batch))
    }

    fn held_back(handshakes: &[(NodeId, BatchNumber)]) -> Vec<(NodeId, BatchNumber)> {
        let mut meeting = Meeting::new();
        for (peer, witnessed) in handshakes {
            meeting.meet(*peer, *witnessed);
        }
        meeting.ended().collect()
    }

    #[test]
    fn rule_4_whoever_has_seen_the_most_before_the_start_is_heard_first() {
        assert_eq!(held_back(&[seen(2, 1), seen(3, 9), seen(4, 5)]), [seen(3, 9), seen(4, 5), seen(2, 1)]);
        assert_eq!(Meeting::new().meet(NodeId(2), BatchNumber(1)), &BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn rule_4_what_a_peer_saw_of_this_very_start_is_no_loss_if_it_is_met_twice() {
        let members = Membership::founded(Configuration::numbered(3));
        let mut admission = Admission::new(NodeId(1), BatchNumber(5));
        for (peer, witnessed) in held_back(&[seen(3, 0), seen(3, 18), seen(2, 4)]) {
            admission.greet(peer, witnessed, BatchNumber(20), &members);
        }
        assert!(admission.admitted() && !admission.amnesiac());

        let mut admission = Admission::new(NodeId(1), BatchNumber(5));
        for (peer, witnessed) in held_back(&[seen(3, 6), seen(3, 18), seen(2, 4)]) {
            admission.greet(peer, witnessed, BatchNumber(20), &members);
        }
        assert!(admission.amnesiac(), "it saw 6 before the start");
    }
}
