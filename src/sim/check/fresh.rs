//! A linearizable read sees everything that any client knew to be done when the read began: the node that answers has
//! executed at least that far. ([`super::linearizable`] finds the same from outside, if the values tell.)

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::paxos::{NodeId, Slot};

/// What was known when.
#[derive(Debug, Default)]
pub struct Fresh {
    known_upto: Slot,
    /// By client and its number for the read: what was known when it began.
    reads: BTreeMap<(u64, u64), Slot>,
    /// By node and number: in which of its lives it asked for the index of a batch of reads.
    asked: BTreeMap<(NodeId, u64), u32>,
}

impl Fresh {
    /// A client knows that this slot is executed.
    pub fn on_known(&mut self, slot: Slot) {
        self.known_upto = self.known_upto.max(slot);
    }

    /// A client begins a read.
    pub fn on_read(&mut self, client: u64, read: u64) {
        self.reads.insert((client, read), self.known_upto);
    }

    /// A node asks its leader for the index of a batch of reads. A number that an earlier life has used could be given an
    /// answer from before these reads began.
    pub fn on_question(&mut self, node: NodeId, life: u32, batch: u64) -> Held {
        let first = *self.asked.entry((node, batch)).or_insert(life);
        if first == life {
            return Ok(());
        }
        let again = format!("{node} uses the number {batch} of a batch of reads again after a restart");
        Err(Broken::new("fresh", format!("{again} (lives {first} and {life})")))
    }

    /// A node that has executed up to a slot answers a read.
    pub fn on_answer(&self, node: NodeId, client: u64, read: u64, executed_upto: Slot) -> Held {
        let Some(floor) = self.reads.get(&(client, read)) else { return Ok(()) };
        if executed_upto < *floor {
            return Err(Broken::new(
                "fresh",
                format!("{node} answers a read from slot {executed_upto}; slot {floor} was known when it began"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_answer_is_found() {
        let mut fresh = Fresh::default();
        fresh.on_read(1, 1);
        fresh.on_known(Slot(4));
        fresh.on_read(1, 2);
        assert_eq!(fresh.on_answer(NodeId(1), 1, 1, Slot(3)), Ok(()), "it began before");
        assert_eq!(fresh.on_answer(NodeId(1), 1, 2, Slot(4)), Ok(()));
        assert!(fresh.on_answer(NodeId(1), 1, 2, Slot(3)).is_err());
        assert_eq!(fresh.on_question(NodeId(1), 1, 7), Ok(()));
        assert_eq!(fresh.on_question(NodeId(1), 1, 7), Ok(()), "asked again");
        assert!(fresh.on_question(NodeId(1), 2, 7).is_err());
    }
}
