//! A node whose disk lost what it acknowledged does not vote (DESIGN section 4, rule 4), unless nobody it met could know.
//!
//! The one thing that stays undetectable, as the README says it: a loss that none of the nodes had seen that the
//! restarted one met before its first vote. Such a run is excused, by exactly that, and ends.

use super::{Broken, Held};
use crate::paxos::{BatchNumber, NodeId};

/// A node with this history was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It has lost nothing that it let anybody hear.
    Whole,
    /// It has, and none that it met had heard it.
    Undetectable,
}

/// A node is admitted after handshakes with so many nodes, itself counted.
pub fn met_enough(node: NodeId, met: usize, quorum: usize) -> Held {
    if met >= quorum {
        return Ok(());
    }
    Err(Broken::new(
        "admission",
        format!("{node} may vote, and has met {met} nodes with itself; a quorum are {quorum}"),
    ))
}

/// A node is admitted: it let peers hear of `claimed`, its journal ended at `recovered`, and the most that anybody it met
/// had heard was `witnessed`.
pub fn judge(
    node: NodeId,
    claimed: BatchNumber,
    recovered: BatchNumber,
    witnessed: BatchNumber,
) -> Result<Judged, Broken> {
    if recovered >= claimed {
        return Ok(Judged::Whole);
    }
    if witnessed > recovered {
        return Err(Broken::new(
            "admission",
            format!(
                "{node} may vote although its journal ends at batch {}, and a peer that it met had heard of {}",
                recovered.0, witnessed.0
            ),
        ));
    }
    Ok(Judged::Undetectable)
}

/// A node starts that has written down, or not, that its journal lost something, and knows of it, or not.
pub fn remembers(node: NodeId, recorded: bool, knows: bool) -> Held {
    if knows || !recorded {
        return Ok(());
    }
    Err(Broken::new(
        "admission",
        format!("{node} was told that its journal lost something, and forgot that at its start"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_somebody_saw_is_no_excuse() {
        let judge = |claimed, recovered, witnessed| {
            judge(NodeId(1), BatchNumber(claimed), BatchNumber(recovered), BatchNumber(witnessed))
        };
        assert_eq!(judge(5, 5, 5), Ok(Judged::Whole));
        assert_eq!(judge(5, 4, 4), Ok(Judged::Undetectable));
        assert!(judge(5, 4, 5).is_err());
        assert_eq!(met_enough(NodeId(1), 2, 2), Ok(()));
        assert!(met_enough(NodeId(1), 2, 3).is_err());
        assert_eq!(remembers(NodeId(1), true, true), Ok(()));
        assert_eq!(remembers(NodeId(1), false, false), Ok(()));
        assert!(remembers(NodeId(1), true, false).is_err());
    }
}
