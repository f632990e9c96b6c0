//! A node whose disk lost what it acknowledged does not vote (DESIGN section 4, rule 4), unless nobody it met could know.
//!
//! The one thing that stays undetectable, as the README says it: a loss that none of the nodes had seen that the
//! restarted one met before its first vote. Such a run is excused, by exactly that, and ends.

use std::collections::BTreeSet;

use super::{Broken, Held};
use crate::paxos::{BatchNumber, Configuration, NodeId};

/// A node with this history was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It has lost nothing that it let anybody hear.
    Whole,
    /// It has, and none that it met had heard it.
    Undetectable,
}

/// A node is admitted after handshakes with these nodes, itself counted: a quorum, or the first time all, of one of the
/// configurations that there ever were.
pub fn met_enough<'a>(
    node: NodeId,
    met: &BTreeSet<NodeId>,
    all: bool,
    mut configurations: impl Iterator<Item = &'a Configuration>,
) -> Held {
    let is_enough = |configuration: &Configuration| {
        let enough = if all { configuration.members().len() } else { configuration.quorum() };
        configuration.nodes().filter(|node| met.contains(node)).count() >= enough
    };
    if configurations.any(is_enough) {
        return Ok(());
    }
    let wanted = if all { "all members" } else { "a quorum" };
    Err(Broken::new("admission", format!("{node} may vote, and has met {met:?}; it should have met {wanted}")))
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

/// A node is admitted that has lost something, and nobody it met had seen that. It is an excuse to have met somebody who had
/// not; to have met nobody is one only for a node that never has: another has its folder tell it that it has company.
pub fn asked_somebody(node: NodeId, met: &BTreeSet<NodeId>, has_met: bool) -> Held {
    if !has_met || met.iter().any(|other| *other != node) {
        return Ok(());
    }
    let detail =
        format!("{node} has lost what it acknowledged, and may vote having met nobody, though it is not alone");
    Err(Broken::new("admission", detail))
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

/// A node believes that its journal lost something.
pub fn may_doubt(node: NodeId, damaged: bool) -> Held {
    if damaged {
        return Ok(());
    }
    Err(Broken::new("admission", format!("{node} believes that its journal lost something, and nobody damaged it")))
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
        let (three, met) = ([Configuration::numbered(3)], BTreeSet::from([NodeId(1), NodeId(2), NodeId(7)]));
        assert_eq!(met_enough(NodeId(1), &met, false, three.iter()), Ok(()));
        assert!(met_enough(NodeId(1), &met, true, three.iter()).is_err());
        let own = BTreeSet::from([NodeId(1)]);
        assert_eq!(asked_somebody(NodeId(1), &met, true), Ok(()));
        assert_eq!(asked_somebody(NodeId(1), &own, false), Ok(()));
        assert!(asked_somebody(NodeId(1), &own, true).is_err());
        assert_eq!(remembers(NodeId(1), true, true), Ok(()));
        assert_eq!(remembers(NodeId(1), false, false), Ok(()));
        assert!(remembers(NodeId(1), true, false).is_err());
        assert_eq!(may_doubt(NodeId(1), true), Ok(()));
        assert!(may_doubt(NodeId(1), false).is_err());
    }
}
