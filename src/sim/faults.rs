//! What can go wrong: the kinds of fault, each with a switch of its own, and the faults of a schedule.

use std::fmt;

/// A kind of fault. Each has its own switch and its own count in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FaultKind {
    /// Packets are lost.
    Loss,
    /// Packets arrive twice.
    Duplicate,
    /// Packets overtake each other.
    Reorder,
    /// Packets take long.
    Delay,
    /// A link holds back everything for a while.
    Clog,
    /// The nodes are cut in two.
    Halves,
    /// One node is cut off.
    Isolated,
    /// What one node says to another is lost, but not the answers.
    OneWay,
    /// Two halves, and one node that both hear.
    Bridge,
    /// Every node hears a majority, no two the same one.
    Ring,
    /// Only one node, not the leader, hears a majority (OmniPaxos paper: quorum loss).
    QuorumLoss,
    /// The same, and that node's log is stale (OmniPaxos paper: constrained election).
    Constrained,
    /// A chain: the ends do not hear each other (OmniPaxos paper: chained).
    Chained,
    /// A link comes and goes.
    Flapping,
    /// A process is killed; its disk keeps what was written.
    Kill,
    /// The power goes, at any step of the disk: unsynced writes are lost, whole or in part.
    PowerLoss,
    /// A process stands still and goes on.
    Pause,
    /// A disk takes long for everything.
    SlowDisk,
    /// A disk does nothing for a while.
    StalledDisk,
    /// A disk is full.
    FullDisk,
    /// A sync fails.
    FailedSync,
    /// A bit flips in the journal's body.
    FlippedBody,
    /// A bit flips near the journal's end.
    FlippedTail,
    /// A bit flips in a header.
    FlippedMetadata,
    /// A bit flips in a snapshot.
    FlippedSnapshot,
    /// A disk is replaced by an empty one.
    WipedDisk,
    /// An old copy of a disk is put back.
    OldDisk,
    /// A clock jumps.
    ClockJump,
    /// A client's connection breaks; it turns to another node.
    ClientMoves,
    /// A client forgets everything and begins a new session.
    ClientReturns,
    /// A member comes, goes or is replaced, or another is to lead.
    Churn,
    /// A machine's state changes in memory, and nobody asked for it.
    FlippedMemory,
    /// A journal loses its tail, synced or not, and the rest of the disk stays.
    LostTail,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 33] = [
        FaultKind::Loss,
        FaultKind::Duplicate,
        FaultKind::Reorder,
        FaultKind::Delay,
        FaultKind::Clog,
        FaultKind::Halves,
        FaultKind::Isolated,
        FaultKind::OneWay,
        FaultKind::Bridge,
        FaultKind::Ring,
        FaultKind::QuorumLoss,
        FaultKind::Constrained,
        FaultKind::Chained,
        FaultKind::Flapping,
        FaultKind::Kill,
        FaultKind::PowerLoss,
        FaultKind::Pause,
        FaultKind::SlowDisk,
        FaultKind::StalledDisk,
        FaultKind::FullDisk,
        FaultKind::FailedSync,
        FaultKind::FlippedBody,
        FaultKind::FlippedTail,
        FaultKind::FlippedMetadata,
        FaultKind::FlippedSnapshot,
        FaultKind::WipedDisk,
        FaultKind::OldDisk,
        FaultKind::ClockJump,
        FaultKind::ClientMoves,
        FaultKind::ClientReturns,
        FaultKind::Churn,
        FaultKind::FlippedMemory,
        FaultKind::LostTail,
    ];

    /// Its name, for switches and reports.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Loss => "loss",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Reorder => "reorder",
            FaultKind::Delay => "delay",
            FaultKind::Clog => "clog",
            FaultKind::Halves => "halves",
            FaultKind::Isolated => "isolated",
            FaultKind::OneWay => "one-way",
            FaultKind::Bridge => "bridge",
            FaultKind::Ring => "ring",
            FaultKind::QuorumLoss => "quorum-loss",
            FaultKind::Constrained => "constrained",
            FaultKind::Chained => "chained",
            FaultKind::Flapping => "flapping",
            FaultKind::Kill => "kill",
            FaultKind::PowerLoss => "power-loss",
            FaultKind::Pause => "pause",
            FaultKind::SlowDisk => "slow-disk",
            FaultKind::StalledDisk => "stalled-disk",
            FaultKind::FullDisk => "full-disk",
            FaultKind::FailedSync => "failed-sync",
            FaultKind::FlippedBody => "flipped-body",
            FaultKind::FlippedTail => "flipped-tail",
            FaultKind::FlippedMetadata => "flipped-metadata",
            FaultKind::FlippedSnapshot => "flipped-snapshot",
            FaultKind::WipedDisk => "wiped-disk",
            FaultKind::OldDisk => "old-disk",
            FaultKind::ClockJump => "clock-jump",
            FaultKind::ClientMoves => "client-moves",
            FaultKind::ClientReturns => "client-returns",
            FaultKind::Churn => "churn",
            FaultKind::FlippedMemory => "flipped-memory",
            FaultKind::LostTail => "lost-tail",
        }
    }

    /// The group that it belongs to: a switch may name a whole group.
    pub fn group(self) -> &'static str {
        match self {
            FaultKind::Loss | FaultKind::Duplicate | FaultKind::Reorder | FaultKind::Delay | FaultKind::Clog => {
                "network"
            }
            FaultKind::Halves
            | FaultKind::Isolated
            | FaultKind::OneWay
            | FaultKind::Bridge
            | FaultKind::Ring
            | FaultKind::QuorumLoss
            | FaultKind::Constrained
            | FaultKind::Chained
            | FaultKind::Flapping => "partition",
            FaultKind::Kill | FaultKind::PowerLoss | FaultKind::Pause => "process",
            FaultKind::SlowDisk | FaultKind::StalledDisk | FaultKind::FullDisk | FaultKind::FailedSync => "disk",
            FaultKind::FlippedBody
            | FaultKind::FlippedTail
            | FaultKind::FlippedMetadata
            | FaultKind::FlippedSnapshot
            | FaultKind::WipedDisk
            | FaultKind::OldDisk
            | FaultKind::LostTail => "damage",
            FaultKind::ClockJump => "clock",
            FaultKind::ClientMoves | FaultKind::ClientReturns => "client",
            FaultKind::Churn => "members",
            FaultKind::FlippedMemory => "memory",
        }
    }

    /// Whether it may cost a node its vote for good: no more than a minority may suffer such.
    pub fn may_spoil(self) -> bool {
        self.group() == "damage"
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which kinds of fault may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    /// None.
    pub const NONE: FaultSet = FaultSet(0);
    /// All.
    pub const ALL: FaultSet = FaultSet((1 << FaultKind::ALL.len()) - 1);

    /// This set and one kind more.
    #[must_use]
    pub fn with(self, kind: FaultKind) -> FaultSet {
        FaultSet(self.0 | 1 << kind as u8)
    }

    /// This set without a kind.
    #[must_use]
    pub fn without(self, kind: FaultKind) -> FaultSet {
        FaultSet(self.0 & !(1 << kind as u8))
    }

    /// Whether the kind may happen.
    pub fn has(self, kind: FaultKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds in it.
    pub fn kinds(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Reads a list of kinds and groups: `all`, `none`, `network,kill`, `all,-damage`.
    ///
    /// # Errors
    /// A sentence that names the unknown word and the known ones.
    pub fn parse(text: &str) -> Result<FaultSet, String> {
        let mut set = FaultSet::NONE;
        let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return Err("no fault is named: write `none` if you mean none".to_owned());
        }
        if words.len() > 1 && words.contains(&"none") {
            return Err("`none` stands alone".to_owned());
        }
        for (position, word) in words.into_iter().enumerate() {
            let (name, off) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
            if position == 0 && off {
                set = FaultSet::ALL;
            }
            let named = |kind: &FaultKind| name == "all" || kind.name() == name || kind.group() == name;
            let kinds: Vec<FaultKind> = FaultKind::ALL.into_iter().filter(named).collect();
            if kinds.is_empty() && word != "none" {
                return Err(format!(
                    "`{name}` is no fault: name some of {}, or a group: network, partition, process, disk, damage, clock, \
                     client, members, memory, all, none",
                    FaultKind::ALL.map(FaultKind::name).join(", ")
                ));
            }
            for kind in kinds {
                set = if off { set.without(kind) } else { set.with(kind) };
            }
        }
        Ok(set)
    }
}

/// Whom a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node of this position, from 0.
    Node(u32),
    /// Whoever leads then; else the node of this position.
    LeaderOr(u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(node) => write!(f, "n{}", node + 1),
            Target::LeaderOr(node) => write!(f, "the leader or n{}", node + 1),
        }
    }
}

/// One fault of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, in microseconds.
    pub at_us: u64,
    /// For how long, where that means something, in microseconds.
    pub for_us: u64,
    /// What.
    pub kind: FaultKind,
    /// Whom.
    pub target: Target,
    /// What else is left to chance.
    pub chance: u64,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_ms = self.at_us / 1000;
        write!(f, "{at_ms:>7} ms  {:<16}  {}", self.kind, self.target)?;
        if self.for_us > 0 {
            write!(f, ", for {} ms", self.for_us / 1000)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_name_kinds_and_groups() {
        assert_eq!(FaultSet::parse("all"), Ok(FaultSet::ALL));
        assert_eq!(FaultSet::parse("none"), Ok(FaultSet::NONE));
        let set = FaultSet::parse("process,loss").expect("known");
        let kinds: Vec<&str> = set.kinds().map(FaultKind::name).collect();
        assert_eq!(kinds, ["loss", "kill", "power-loss", "pause"]);
        let set = FaultSet::parse("-damage").expect("known");
        assert!(set.has(FaultKind::Loss) && !set.has(FaultKind::OldDisk));
        assert!(FaultSet::parse(" , ").expect_err("nothing").contains("write `none`"));
        assert!(FaultSet::parse("loss,none").is_err() && FaultSet::parse("-none").is_err());
        assert!(FaultSet::parse("gremlins").expect_err("unknown").contains("`gremlins` is no fault"));
    }

    #[test]
    fn every_kind_has_its_own_bit_and_name() {
        for (position, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
            assert_eq!(FaultSet::parse(kind.name()).expect("known").kinds().collect::<Vec<_>>(), [kind]);
        }
    }
}
