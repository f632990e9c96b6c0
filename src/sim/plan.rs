//! A run, before it begins: everything about it follows from a seed and a few wishes, and can be written down.
//!
//! Which kinds of fault a run has, and how hard they strike, differs from seed to seed (a swarm): a world in which
//! everything goes wrong at once hides what goes wrong alone. In some worlds the leader is hunted: it dies or is cut off
//! in the middle of its slots, again and again, and clients keep writing all the time, so that votes of many ballots
//! meet in one slot. In others everything is tight: small segments, frequent snapshots, long values.

use std::fmt;

use super::faults::{FaultKind, FaultSet, Planned, Target};
use crate::paxos::dice::{Dice, mix};
use crate::paxos::membership::ALPHA;
use crate::paxos::{Configuration, Membership, Settings};
use crate::storage;

/// What a person may wish for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// How many nodes; chosen by the seed if not given.
    pub nodes: Option<u32>,
    /// Which faults may happen. Each seed takes some of them.
    pub faults: FaultSet,
    /// What the clients ask.
    pub workload: Workload,
}

/// What clients ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workload {
    /// Keys and values.
    #[default]
    Kv,
    /// Transfers between accounts.
    Bank,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes { nodes: None, faults: FaultSet::ALL, workload: Workload::Kv }
    }
}

/// A run, before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Decides everything that is not written down here.
    pub seed: u64,
    /// How many nodes found the cluster.
    pub nodes: u32,
    /// How many slots behind a change its configuration begins.
    pub alpha: u64,
    /// The nodes' limits and times.
    pub settings: Settings,
    /// The sizes of their journals.
    pub journal: storage::Settings,
    /// What the network does at any time.
    pub network: Network,
    /// What the clients do.
    pub clients: Clients,
    /// For how long faults may happen, in microseconds.
    pub length_us: u64,
    /// What goes wrong when, in order.
    pub faults: Vec<Planned>,
    /// What is cut once all that is over, and stays so while the cluster is to serve.
    pub lasting: Option<Lasting>,
}

/// A partition that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// Which.
    pub kind: FaultKind,
    /// The node in its middle, by its position.
    pub node: u32,
    /// What else is left to chance.
    pub chance: u64,
}

/// What the network does at any time.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// How many of 1000 packets are lost.
    pub loss: u64,
    /// How many of 1000 packets arrive twice.
    pub duplicate: u64,
    /// A packet takes at least so long, in microseconds.
    pub least_us: u64,
    /// And up to so much longer, at random: packets overtake each other.
    pub spread_us: u64,
    /// How many of 1000 packets take ten times as long.
    pub late: u64,
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// How many there are.
    pub count: u32,
    /// How many operations each has under way at most.
    pub in_flight: u32,
    /// How many operations all of them begin at most.
    pub operations: u32,
    /// How long a client thinks between two, at most, in microseconds.
    pub think_us: u64,
    /// How many keys there are.
    pub keys: u32,
    /// How many of 10 operations are reads.
    pub reads: u64,
    /// How long a client waits for an outcome, in milliseconds.
    pub deadline_ms: u64,
    /// What a client puts has at least so many bytes.
    pub value_bytes: usize,
    /// They ask the bank, and not for keys.
    pub bank: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, wishes: &Wishes) -> Plan {
        let mut dice = Dice::new(mix(seed ^ 0x706C_616E));
        let nodes = wishes.nodes.unwrap_or_else(|| pick(&mut dice, &[3, 3, 3, 3, 5, 5, 5, 1, 2, 4]));
        let mut faults = FaultSet::NONE;
        let apart = [FaultKind::Churn, FaultKind::LostTail, FaultKind::FlippedMemory];
        for kind in apart.into_iter().fold(wishes.faults, FaultSet::without).kinds() {
            if dice.below(3) > 0 {
                faults = faults.with(kind);
            }
        }
        let settings = Settings {
            window: pick(&mut dice, &[1, 2, 8, 64]),
            batch: pick(&mut dice, &[1, 3, 16, 4096]),
            snapshot_slots: pick(&mut dice, &[u64::MAX, 4, 12, 40]),
            ..Settings::default()
        };
        let journal = storage::Settings {
            segment_bytes: pick(&mut dice, &[8 << 10, 16 << 10, 64 << 10]),
            first_segment_bytes: pick(&mut dice, &[8 << 10, 16 << 10]),
            spares: pick(&mut dice, &[0, 1, 2]),
            keep_bytes: 0,
        };
        let slow = faults.has(FaultKind::Delay);
        let network = Network {
            loss: if faults.has(FaultKind::Loss) { dice.below(120) } else { 0 },
            duplicate: if faults.has(FaultKind::Duplicate) { dice.below(150) } else { 0 },
            least_us: if slow { 50 + dice.below(15_000) } else { 50 + dice.below(300) },
            spread_us: match (faults.has(FaultKind::Reorder), slow) {
                (true, true) => dice.below(40_000),
                (true, false) => dice.below(3_000),
                (false, _) => 0,
            },
            late: if slow { dice.below(30) } else { 0 },
        };
        let hunted = dice.below(3) == 0;
        let mut clients = Clients {
            count: pick(&mut dice, &[1, 2, 3, 5]),
            in_flight: pick(&mut dice, &[1, 2, 4]),
            operations: 60 + dice.below(120) as u32,
            think_us: pick(&mut dice, &[2_000, 20_000, 100_000]),
            keys: pick(&mut dice, &[1, 3, 6]),
            reads: pick(&mut dice, &[2, 4, 6]),
            deadline_ms: pick(&mut dice, &[400, 1_500, 5_000]),
            value_bytes: 0,
            bank: wishes.workload == Workload::Bank,
        };
        if hunted {
            // Enough to do until the end.
            (clients.think_us, clients.operations) = (40_000, clients.operations + 150);
        }
        let length_us = 1_000_000 + dice.below(3_000_000);
        let mut plan = Plan {
            seed,
            nodes,
            alpha: ALPHA,
            settings,
            journal,
            network,
            clients,
            length_us,
            faults: Vec::new(),
            lasting: None,
        };
        plan.faults = schedule(&mut dice, faults, hunted, &plan);
        plan.lasting = lasting(seed, nodes, wishes.faults);
        plan.press(faults);
        if wishes.faults.has(FaultKind::Churn) {
            plan.churn(wishes.faults);
        }
        plan.mark(wishes.faults);
        plan
    }

    /// Makes some worlds harder than the other dice do, with dice of its own, so that the rest of them stays as it is.
    fn press(&mut self, faults: FaultSet) {
        let mut dice = Dice::new(mix(self.seed ^ 0x7072_6573));
        if dice.below(3) == 0 {
            // Few slots fill a segment, and snapshots soon cover it: facts are carried from segment to segment all the
            // time, and whoever lags behind gets a snapshot.
            self.settings.snapshot_slots = pick(&mut dice, &[1, 2, 4, 12]);
            (self.journal.segment_bytes, self.journal.first_segment_bytes) = (8 << 10, 8 << 10);
            self.clients.value_bytes = pick(&mut dice, &[300, 1_000, 2_000]);
        }
        if dice.below(4) == 0 {
            self.clients.reads = 8;
        }
        if faults.has(FaultKind::Chained) && self.nodes > 2 && dice.below(2) == 0 {
            // An old leader that nobody contradicts, beside a new one (an even chance: see `havoc`).
            let target = Target::LeaderOr(dice.below(u64::from(self.nodes)) as u32);
            let (at_us, chance) = (dice.below(self.length_us), dice.roll() & !1);
            self.faults.push(Planned { at_us, for_us: 1_000_000, kind: FaultKind::Chained, target, chance });
            self.faults.sort_by_key(|fault| fault.at_us);
        }
    }

    /// In some worlds members come and go, with dice of their own: then a change soon holds.
    fn churn(&mut self, allowed: FaultSet) {
        let mut dice = Dice::new(mix(self.seed ^ 0x6368_7572));
        if dice.below(3) > 0 {
            return;
        }
        self.alpha = 3 + dice.below(14);
        self.length_us += 1_500_000;
        let every_us = pick(&mut dice, &[60_000, 150_000, 300_000]);
        let mut at_us = 200_000 + dice.below(every_us * 2);
        while at_us < self.length_us {
            let target = Target::Node(dice.below(u64::from(self.nodes)) as u32);
            self.faults.push(Planned { at_us, for_us: 0, kind: FaultKind::Churn, target, chance: dice.roll() });
            at_us += 1 + dice.below(every_us * 2);
        }
        if self.nodes == 1 && allowed.has(FaultKind::LostTail) {
            self.lose_tails(&mut dice);
        }
        self.faults.sort_by_key(|fault| fault.at_us);
    }

    /// Replicas compare their states, often or seldom, and in some worlds one of them is harmed; with dice of their own.
    fn mark(&mut self, faults: FaultSet) {
        let mut dice = Dice::new(mix(self.seed ^ 0x6D61_726B));
        self.settings.mark_ms = pick(&mut dice, &[50, 200, 1_000, 10_000]);
        if !faults.has(FaultKind::FlippedMemory) || dice.below(3) > 0 {
            return;
        }
        self.settings.mark_ms = self.settings.mark_ms.min(1_000);
        for _ in 0..=dice.below(3) {
            let target = Target::LeaderOr(dice.below(u64::from(self.nodes)) as u32);
            let (at_us, chance) = (dice.below(self.length_us), dice.roll());
            self.faults.push(Planned { at_us, for_us: 0, kind: FaultKind::FlippedMemory, target, chance });
        }
        self.faults.sort_by_key(|fault| fault.at_us);
    }

    /// Where one node has founded alone, its journal loses its tail, again and again: most of the time nothing happens,
    /// because the others are too few to go on without it; and then they are not.
    fn lose_tails(&mut self, dice: &mut Dice) {
        let mut at_us = 400_000 + dice.below(400_000);
        while at_us < self.length_us {
            // Mostly the founder's (see `World::aim`).
            let chance = if dice.below(4) > 0 { dice.below(1 << 16) } else { dice.roll() };
            let for_us = pick(dice, &[1_000, 50_000, 500_000]);
            let kind = FaultKind::LostTail;
            self.faults.push(Planned { at_us, for_us, kind, target: Target::Node(0), chance });
            at_us += 1 + dice.below(400_000);
        }
    }

    /// Whether members come and go.
    pub fn churns(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind == FaultKind::Churn)
    }

    /// What the founders agree on.
    pub fn founders(&self) -> Membership {
        Membership::founded(Configuration::numbered(self.nodes)).with_alpha(self.alpha)
    }
}

/// What goes wrong when: each kind that the seed has, a few times, in any order.
fn schedule(dice: &mut Dice, faults: FaultSet, hunted: bool, plan: &Plan) -> Vec<Planned> {
    let rates = [FaultKind::Loss, FaultKind::Duplicate, FaultKind::Reorder, FaultKind::Delay];
    let mut kinds: Vec<FaultKind> = faults.kinds().filter(|kind| !rates.contains(kind)).collect();
    if plan.nodes == 1 {
        // One node has no peers to be cut off from, and nobody that remembers what its disk forgets.
        kinds.retain(|kind| !kind.may_spoil() && kind.group() != "partition" && *kind != FaultKind::Clog);
    }
    if kinds.is_empty() {
        return Vec::new();
    }
    // What ends a leader's work in the middle, and lets another one begin.
    let of_hunt: Vec<FaultKind> = kinds.iter().copied().filter(|kind| HUNT.contains(kind)).collect();
    let every_us = pick(dice, &[60_000, 150_000, 400_000]);
    let mut planned = Vec::new();
    let mut at_us = dice.below(every_us * 2);
    while at_us < plan.length_us {
        let choices = if hunted && !of_hunt.is_empty() && dice.below(3) > 0 { &of_hunt } else { &kinds };
        let kind = choices[dice.below(choices.len() as u64) as usize];
        let node = dice.below(u64::from(plan.nodes)) as u32;
        let at_leader = dice.below(4) < if hunted { 3 } else { 1 };
        let target = if at_leader { Target::LeaderOr(node) } else { Target::Node(node) };
        let for_us = match kind {
            FaultKind::Kill | FaultKind::PowerLoss => pick(dice, &[1_000, 50_000, 500_000]),
            FaultKind::FullDisk | FaultKind::FailedSync => 20_000 + dice.below(300_000),
            FaultKind::ClientMoves | FaultKind::ClientReturns | FaultKind::ClockJump => 0,
            kind if kind.group() == "damage" => 10_000 + dice.below(400_000),
            // Long enough for another to be elected, and not always for the old leader to give up.
            kind if hunted && HUNT.contains(&kind) => 350_000 + dice.below(400_000),
            _ => pick(dice, &[30_000, 300_000, 1_200_000]) + dice.below(200_000),
        };
        planned.push(Planned { at_us, for_us, kind, target, chance: dice.roll() });
        at_us += 1 + dice.below(every_us * 2);
    }
    planned
}

/// The partition that stays at the end: mostly there is one. It has dice of its own.
fn lasting(seed: u64, nodes: u32, allowed: FaultSet) -> Option<Lasting> {
    let mut dice = Dice::new(mix(seed ^ 0x6C61_7374));
    let kinds: Vec<FaultKind> =
        allowed.kinds().filter(|kind| kind.group() == "partition" && *kind != FaultKind::Flapping).collect();
    if nodes < 3 || kinds.is_empty() || dice.below(4) == 0 {
        return None;
    }
    let (kind, node) = (pick(&mut dice, &kinds), dice.below(u64::from(nodes)) as u32);
    Some(Lasting { kind, node, chance: dice.roll() })
}

/// What befalls a leader that is hunted.
const HUNT: [FaultKind; 6] =
    [FaultKind::Clog, FaultKind::Isolated, FaultKind::OneWay, FaultKind::Kill, FaultKind::PowerLoss, FaultKind::Pause];

fn pick<T: Copy>(dice: &mut Dice, choices: &[T]) -> T {
    choices[dice.below(choices.len() as u64) as usize]
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, nodes, alpha, settings, journal, network, clients, length_us, faults, lasting } = self;
        let snapshots = match settings.snapshot_slots {
            u64::MAX => "no snapshots".to_owned(),
            slots => format!("a snapshot every {slots} slots"),
        };
        writeln!(
            f,
            "seed {seed}: {nodes} {}, window {}, batch {}, {snapshots}, a mark every {} ms, segments of {} KiB{}",
            if *nodes == 1 { "node" } else { "nodes" },
            settings.window,
            settings.batch,
            settings.mark_ms,
            journal.segment_bytes >> 10,
            if self.churns() { format!(", a change holds {alpha} slots later") } else { String::new() }
        )?;
        writeln!(
            f,
            "network: {} to {} us, of 1000 packets {} lost, {} twice, {} late",
            network.least_us,
            network.least_us + network.spread_us,
            network.loss,
            network.duplicate,
            network.late
        )?;
        writeln!(
            f,
            "clients: {} with {} under way, {} operations on {}, {} of 10 read, thinking up to {} ms, deadline {} ms{}",
            clients.count,
            clients.in_flight,
            clients.operations,
            if clients.bank { "the bank".to_owned() } else { format!("{} keys", clients.keys) },
            clients.reads,
            clients.think_us / 1000,
            clients.deadline_ms,
            if clients.value_bytes > 0 { ", long values" } else { "" }
        )?;
        write!(f, "faults within {} ms: {}", length_us / 1000, faults.len())?;
        faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))?;
        let Some(Lasting { kind, node, .. }) = lasting else { return Ok(()) };
        write!(f, "\n at the end  {kind:<16}  n{}, and it stays while the cluster is to serve", node + 1)
    }
}
