//! Memory and journals stay within bounds that follow from the settings, however long the run.

use super::{Broken, Held};
use crate::paxos::NodeId;
use crate::sim::node::Running;
use crate::sim::plan::Plan;

/// A moment of a node's life.
pub fn check(node: NodeId, running: &Running, plan: &Plan) -> Held {
    let open = most_open(plan);
    let broken = |what: &str, found: u64, most: u64| {
        Err(Broken::new("bounds", format!("{node} holds {found} {what}, and should hold {most} at most")))
    };
    let replica = &running.replica;
    let votes = replica.acceptor.votes().len() as u64;
    if votes > open {
        return broken("votes above its settled slots", votes, open);
    }
    let ahead = replica.learner.ahead().len() as u64;
    if ahead > open {
        return broken("chosen slots above a hole", ahead, open);
    }
    let journal = running.scribe.journal().size_bytes();
    let most = most_journal_bytes(plan);
    if journal > most {
        return broken("bytes of journal", journal, most);
    }
    Ok(())
}

/// A leader drives a window of slots; each change of leader may leave one such window merged and not settled here.
fn most_open(plan: &Plan) -> u64 {
    u64::from(plan.settings.window) * 16 + u64::from(plan.clients.operations) * 4 + 64
}

/// Without snapshots a journal holds everything that was ever said; with them, what two snapshots do not cover, and whole
/// segments.
fn most_journal_bytes(plan: &Plan) -> u64 {
    let everything = 4 << 20;
    if plan.settings.snapshot_slots == u64::MAX {
        return everything;
    }
    everything / 4 + u64::from(plan.journal.segment_bytes) * 6
}
