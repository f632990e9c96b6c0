//! Nothing is said before it is durable: when a promise, a vote or a reservation leaves, the records of its lot are in a
//! committed batch, and no write of the journal waits for a sync. (What that is for is checked by [`super::promises`]
//! after every crash.)

use super::{Broken, Held};
use crate::paxos::NodeId;
use crate::sim::node::DiskTurn;

/// A disk has done something.
pub fn check(node: NodeId, turn: &DiskTurn) -> Held {
    if turn.premature {
        return Err(Broken::new("durable", format!("{node} said something before it was durable: {:?}", turn.said)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_too_early_is_found() {
        assert_eq!(check(NodeId(1), &DiskTurn::default()), Ok(()));
        assert!(check(NodeId(1), &DiskTurn { premature: true, ..DiskTurn::default() }).is_err());
    }
}
