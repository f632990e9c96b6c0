//! trimmed ≤ snapshot ≤ executed ≤ chosen, settled ≤ chosen, every vote within the promise: [`Replica::check`] says it.

use super::{Broken, Held};
use crate::machine::Composite;
use crate::paxos::{NodeId, Replica};

/// A node did something.
pub fn check(node: NodeId, replica: &Replica<Composite>) -> Held {
    replica.check().map_err(|broken| Broken::new("watermarks", format!("{node}: {broken}")))
}
