//! What was tried: counts, added up over seeds.

use std::collections::BTreeMap;

use super::faults::FaultKind;

/// Counts of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs.
    pub seeds: u64,
    /// Runs that ended early, because a loss happened that is stated to be undetectable.
    pub excused: u64,
    /// Messages that a role took from its mailbox, from its own node or another.
    pub messages: u64,
    /// Packets between nodes.
    pub packets: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// Those that were done, not done, and of unknown outcome.
    pub done: u64,
    /// See `done`.
    pub not_done: u64,
    /// See `done`.
    pub unknown: u64,
    /// Slots chosen.
    pub chosen: u64,
    /// Changes of leader.
    pub leaders: u64,
    /// Batches that disks made durable.
    pub batches: u64,
    /// Snapshots installed from a peer.
    pub installed: u64,
    /// Starts of nodes, the first ones not counted.
    pub restarts: u64,
    /// Nodes that found out that their disks had lost something, or that could not read them.
    pub losses_found: u64,
    /// Nodes that repaired their journals from their peers.
    pub repaired: u64,
    /// Answers to clients that their session has expired.
    pub expired: u64,
    /// Configurations that came after the founders'.
    pub configurations: u64,
    /// Nodes that stopped because they had left.
    pub dismissed: u64,
    /// Marks at which a quorum agreed on the state, as each node learned of them.
    pub agreed: u64,
    /// States that differed, and were repaired from a peer's.
    pub rebuilt: u64,
    /// Partitions that stayed while the cluster went on serving.
    pub endured: BTreeMap<FaultKind, u64>,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// The longest time from the end of faults until the cluster had healed, in microseconds.
    pub slowest_heal_us: u64,
    /// Faults that happened.
    pub faults: BTreeMap<FaultKind, u64>,
}

impl Counts {
    /// One more fault of this kind.
    pub fn fault(&mut self, kind: FaultKind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// The cluster served while a partition of this kind stayed.
    pub fn endured(&mut self, kind: FaultKind) {
        *self.endured.entry(kind).or_default() += 1;
    }

    /// Adds the counts of other runs.
    pub fn add(&mut self, other: &Counts) {
        self.seeds += other.seeds;
        self.excused += other.excused;
        self.messages += other.messages;
        self.packets += other.packets;
        self.operations += other.operations;
        self.done += other.done;
        self.not_done += other.not_done;
        self.unknown += other.unknown;
        self.chosen += other.chosen;
        self.leaders += other.leaders;
        self.batches += other.batches;
        self.installed += other.installed;
        self.restarts += other.restarts;
        self.losses_found += other.losses_found;
        self.repaired += other.repaired;
        self.expired += other.expired;
        self.configurations += other.configurations;
        self.dismissed += other.dismissed;
        self.agreed += other.agreed;
        self.rebuilt += other.rebuilt;
        self.simulated_us += other.simulated_us;
        self.slowest_heal_us = self.slowest_heal_us.max(other.slowest_heal_us);
        for (all, more) in [(&mut self.faults, &other.faults), (&mut self.endured, &other.endured)] {
            more.iter().for_each(|(kind, count)| *all.entry(*kind).or_default() += count);
        }
    }
}
