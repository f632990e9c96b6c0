//! What must hold in every state: one value per slot, a quorum behind whatever anybody believes, equal machines.
//!
//! It looks at the disks, not at what the roles say of themselves: a value is chosen when a quorum of disks hold votes for
//! it in one ballot ("Paxos Made Simple", section 2.1). A disk forgets no vote in the model, so what is chosen stays so.

use std::collections::BTreeMap;

use crate::paxos::{Ballot, Entry, SessionId, Slot, Value};

use super::local::Local;

/// What of a node the checks between nodes look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness {
    votes: Vec<(Slot, Ballot, Value)>,
    believed: BTreeMap<Slot, Value>,
    executed: (Slot, [u8; 32]),
}

impl Witness {
    /// Of this node.
    pub fn of(local: &Local) -> Witness {
        let executor = &local.replica.executor;
        Witness {
            votes: local.votes().into_iter().map(|(slot, ballot, value)| (slot, ballot, value.clone())).collect(),
            believed: local.believed().clone(),
            executed: (executor.executed_upto(), crate::paxos::StateMachine::digest(executor.machine())),
        }
    }

    /// Of a node that did nothing but vote.
    #[cfg(test)]
    pub fn voted(votes: Vec<(Slot, Ballot, Value)>) -> Witness {
        Witness { votes, believed: BTreeMap::new(), executed: (Slot::ZERO, [0; 32]) }
    }
}

/// What is chosen, slot by slot.
pub type Chosen = BTreeMap<Slot, Value>;

/// What a quorum of disks say is chosen.
///
/// # Errors
/// A sentence: two values in a slot, or in a ballot.
pub fn chosen(nodes: &[&Witness]) -> Result<Chosen, String> {
    let mut votes: BTreeMap<(Slot, Ballot), (&Value, usize)> = BTreeMap::new();
    for (slot, ballot, value) in nodes.iter().flat_map(|node| &node.votes) {
        let (held, count) = votes.entry((*slot, *ballot)).or_insert((value, 0));
        if *held != value {
            return Err(format!("two values have votes in slot {slot}, ballot {ballot}: {held:?} and {value:?}"));
        }
        *count += 1;
    }
    let mut chosen = Chosen::new();
    for ((slot, ballot), (value, count)) in votes {
        if count * 2 > nodes.len() {
            let held = chosen.entry(slot).or_insert_with(|| value.clone());
            if held != value {
                return Err(format!("two values are chosen in slot {slot}: {held:?}, and in {ballot} {value:?}"));
            }
        }
    }
    Ok(chosen)
}

/// Whether everything that anybody believes chosen is, and nodes that executed the same slots hold the same state.
///
/// # Errors
/// A sentence that says what does not hold.
pub fn beliefs(nodes: &[&Witness], chosen: &Chosen) -> Result<(), String> {
    let mut states: BTreeMap<Slot, [u8; 32]> = BTreeMap::new();
    for (node, number) in nodes.iter().zip(1..) {
        for (slot, value) in &node.believed {
            match chosen.get(slot) {
                Some(held) if held == value => {}
                Some(held) => {
                    return Err(format!("n{number} believes {value:?} chosen in slot {slot}, where {held:?} is"));
                }
                None => return Err(format!("n{number} believes slot {slot} chosen, without a quorum of votes")),
            }
        }
        let (upto, digest) = node.executed;
        if *states.entry(upto).or_insert(digest) != digest {
            return Err(format!("n{number} has executed up to slot {upto}, and holds another state than others"));
        }
    }
    Ok(())
}

/// Whether a client's command is in the log.
pub fn is_chosen(chosen: &Chosen, client: u64, number: u64) -> bool {
    let is_it = |entry| matches!(entry, Entry::Apply { session, sequence, .. } if session == SessionId(client) && sequence.0 == number);
    chosen.values().any(|value| value.entries().any(is_it))
}
