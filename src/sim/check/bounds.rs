//! Memory and journals stay within bounds that follow from the settings, however long the run: whatever is open lies
//! within a window of what is chosen, and what snapshots cover leaves the journal in the end.

use super::{Broken, Held};
use crate::paxos::{NodeId, Slot};
use crate::sim::node::Running;
use crate::sim::plan::Plan;

/// A moment of a node's life, when slots up to this one are chosen.
pub fn check(node: NodeId, running: &Running, plan: &Plan, chosen_upto: Slot) -> Held {
    let replica = &running.replica;
    let last_vote = replica.acceptor.votes().last_key_value().map(|(slot, _)| *slot);
    let last_ahead = replica.learner.ahead().last_key_value().map(|(slot, _)| *slot);
    // No-ops that bring a change of members about are bounded by how far a configuration is known.
    let window = u64::from(plan.settings.window).max(if plan.churns() { plan.alpha } else { 0 });
    within(node, last_vote, last_ahead, window, chosen_upto)?;
    journal_fits(node, running.scribe.journal().size_bytes(), most_journal_bytes(plan))
}

/// The last slot that a node voted in, and the last that it knows to be chosen above a hole.
fn within(node: NodeId, last_vote: Option<Slot>, last_ahead: Option<Slot>, window: u64, chosen_upto: Slot) -> Held {
    // A leader proposes no further than a window above what it knows to be chosen.
    if let Some(slot) = last_vote.filter(|slot| *slot > chosen_upto.plus(window)) {
        let detail = format!("{node} voted in slot {slot}, and only {chosen_upto} and a window of {window} are open");
        return Err(Broken::new(NAME, detail));
    }
    if let Some(slot) = last_ahead.filter(|slot| *slot > chosen_upto) {
        return Err(Broken::new(NAME, format!("{node} holds slot {slot}, and only {chosen_upto} are chosen")));
    }
    Ok(())
}

fn journal_fits(node: NodeId, bytes: u64, most: u64) -> Held {
    if bytes > most {
        return Err(Broken::new(NAME, format!("{node} has a journal of {bytes} bytes, and {most} should be enough")));
    }
    Ok(())
}

/// Without snapshots a journal holds everything that was ever said; with them, what two snapshots do not cover, and whole
/// segments, each as large as the lot that it was made for; a few long values come while the replicas agree on a snapshot
/// and while it is written. Where members come and go, some of those who vote execute late, and agree late.
fn most_journal_bytes(plan: &Plan) -> u64 {
    let everything = 4 << 20;
    if plan.settings.snapshot_slots == u64::MAX {
        return everything;
    }
    let agreeing = if plan.churns() { everything / 2 } else { everything / 4 };
    agreeing + u64::from(plan.journal.segment_bytes) * 6 + plan.clients.value_bytes as u64 * 24
}

const NAME: &str = "bounds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_is_found() {
        let within = |vote, ahead| within(NodeId(1), Some(Slot(vote)), Some(Slot(ahead)), 8, Slot(20));
        assert_eq!(within(28, 20), Ok(()));
        assert!(within(29, 20).is_err());
        assert!(within(28, 21).is_err());
        assert_eq!(journal_fits(NodeId(1), 5, 5), Ok(()));
        assert!(journal_fits(NodeId(1), 6, 5).is_err());
    }
}
