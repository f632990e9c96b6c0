//! Faults of a schedule happen, and end.

use std::collections::BTreeSet;

use super::check::Held;
use super::faults::{FaultKind, Planned, Target};
use super::links::cuts_of;
use super::node::State;
use super::trace::Lanes;
use super::world::{Happening, World};
use crate::machine::Composite;
use crate::paxos::dice::Dice;
use crate::paxos::{BatchNumber, Incarnation, NodeId};
use crate::storage::{self, Disk, Held as HeldStorage, MemoryDisk};

/// A fault as it strikes.
struct Blow {
    /// Where it stands in the plan.
    index: usize,
    kind: FaultKind,
    node: usize,
    leader: Option<usize>,
    for_us: u64,
    until_us: u64,
    /// What its dice begin with.
    chance: u64,
}

impl World {
    /// A fault of the plan happens.
    pub(super) fn fault(&mut self, index: usize) -> Held {
        if self.calm {
            return Ok(());
        }
        let Planned { for_us, kind, target, chance, .. } = self.plan.faults[index].clone();
        let leader = self.leader();
        let node = match target {
            Target::Node(node) => self.aim(node, chance),
            Target::LeaderOr(node) => leader.unwrap_or_else(|| self.aim(node, chance)),
        };
        if kind.may_spoil() && !self.may_spoil(node) {
            return Ok(());
        }
        self.trace.note(self.now_us, Lanes::At(node), (kind, node), || match for_us {
            0 => format!("FAULT {kind}"),
            for_us => format!("FAULT {kind}, for {} ms", for_us / 1000),
        });
        let blow = Blow { index, kind, node, leader, for_us, until_us: self.now_us + for_us, chance };
        let dice = &mut Dice::new(chance);
        let hits = match kind {
            // These befall each packet by its own dice.
            FaultKind::Loss | FaultKind::Duplicate | FaultKind::Reorder | FaultKind::Delay => false,
            FaultKind::Clog => self.clog(&blow, dice),
            FaultKind::Halves
            | FaultKind::Isolated
            | FaultKind::OneWay
            | FaultKind::Bridge
            | FaultKind::Ring
            | FaultKind::QuorumLoss
            | FaultKind::Constrained
            | FaultKind::Chained
            | FaultKind::Flapping => self.part(&blow, dice),
            FaultKind::Kill => self.kill(&blow, dice),
            FaultKind::PowerLoss => self.cut_power(&blow, dice),
            FaultKind::Pause => self.pause(&blow),
            FaultKind::SlowDisk => self.slow_disk(&blow, dice),
            FaultKind::StalledDisk => self.stall_disk(&blow),
            FaultKind::FullDisk => self.fill_disk(&blow, dice),
            FaultKind::FailedSync => self.fail_sync(&blow, dice),
            FaultKind::FlippedBody
            | FaultKind::FlippedTail
            | FaultKind::FlippedMetadata
            | FaultKind::FlippedSnapshot => self.flip_a_bit(&blow, dice),
            FaultKind::WipedDisk => self.wipe_disk(&blow),
            FaultKind::LostTail => self.lose_tail(&blow, dice),
            // It counts when it is put back.
            FaultKind::OldDisk => return self.copy_disk(&blow),
            FaultKind::ClockJump => self.jump(&blow, dice),
            FaultKind::ClientMoves => self.client_moves(dice),
            FaultKind::ClientReturns => self.client_returns(dice),
            FaultKind::Churn => self.operate(dice),
            FaultKind::FlippedMemory => self.harm(node),
        };
        if hits {
            self.counts.fault(kind);
        } else {
            self.trace.note(self.now_us, Lanes::Outside, (kind, "nothing"), || format!("{kind} hits nothing"));
        }
        Ok(())
    }

    /// The node that a plan names: where members come and go, any that is not gone.
    fn aim(&self, node: u32, chance: u64) -> usize {
        let present = self.present();
        let named = if self.plan.churns() { (chance >> 16) as usize } else { node as usize };
        present[named % present.len()]
    }

    /// What a partition cuts between the nodes that are not gone.
    pub(super) fn cuts(&self, kind: FaultKind, node: usize, leader: usize, chance: u64) -> BTreeSet<(usize, usize)> {
        let present = self.present();
        let place = |node: usize| present.iter().position(|other| *other == node).unwrap_or(0);
        let cuts = cuts_of(kind, present.len(), place(node), place(leader), chance);
        cuts.into_iter().map(|(from, to)| (present[from], present[to])).collect()
    }

    /// What one node says to another, or all that it hears and then says, waits.
    fn clog(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let (nodes, node) = (self.nodes.len(), blow.node);
        let other = (node + 1 + dice.below(nodes as u64 - 1) as usize) % nodes;
        if dice.below(2) == 0 {
            self.links.clog(node, other, blow.until_us);
        } else {
            // What others say to it, and a little later what it says: answers from before a change of leader arrive after
            // it.
            (0..nodes).filter(|peer| *peer != node).for_each(|peer| self.links.clog(peer, node, blow.until_us));
            self.strike(blow, self.now_us + 60_000.min(blow.for_us));
        }
        true
    }

    fn part(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let Blow { index, kind, node, leader, for_us, chance, .. } = *blow;
        let (shape, around, ends_us) = match kind {
            // First the leader is alone, until there is another; then one node hears both.
            FaultKind::Chained if lures(chance) => {
                (FaultKind::Isolated, leader.unwrap_or(node), self.now_us + 460_000 + dice.below(160_000))
            }
            // First its log falls behind; then only it hears a majority.
            FaultKind::Constrained => (FaultKind::Isolated, node, self.now_us + for_us / 2),
            FaultKind::Flapping => (kind, node, self.now_us + for_us / 8 + 1),
            _ => (kind, node, blow.until_us),
        };
        let cuts = self.cuts(shape, around, leader.unwrap_or(0), chance);
        let hits = !cuts.is_empty();
        if dice.below(2) == 0 {
            self.links.part(index, self.clients_beside(&cuts, dice));
        }
        self.links.cut(index, cuts);
        self.queue.plan(ends_us, Happening::FaultEnds(index));
        hits
    }

    /// The process ends: at some step of the disk, in order, or at once.
    fn kill(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let Blow { node, for_us, .. } = *blow;
        let hits = self.is_up(node);
        match dice.below(4) {
            0 | 1 if hits => {
                self.doomed.insert(node, for_us);
                self.nodes[node].disk.fail_after(dice.below(6));
                self.strike(blow, self.now_us + dice.below(20_000));
            }
            2 => {
                let disk = self.nodes[node].disk.clone();
                self.nodes[node].running_mut().into_iter().for_each(|running| running.close(&disk));
                self.crash(node, false, for_us, "stopped in order");
            }
            _ => self.crash(node, false, for_us, "killed"),
        }
        hits
    }

    /// Some step of the disk is the last; it comes by itself, or the power goes anyway.
    fn cut_power(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let hits = self.is_up(blow.node);
        self.nodes[blow.node].disk.fail_after(dice.below(12));
        self.strike(blow, self.now_us + dice.below(20_000));
        hits
    }

    fn pause(&mut self, blow: &Blow) -> bool {
        let hits = self.is_up(blow.node);
        let paused = &mut self.nodes[blow.node].paused_until_us;
        *paused = (*paused).max(blow.until_us);
        self.queue.plan(blow.until_us, Happening::FaultEnds(blow.index));
        hits
    }

    fn slow_disk(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        self.nodes[blow.node].slowness = 2 + dice.below(200);
        self.strike(blow, blow.until_us);
        true
    }

    fn stall_disk(&mut self, blow: &Blow) -> bool {
        let stalled = &mut self.nodes[blow.node].stalled_until_us;
        *stalled = (*stalled).max(blow.until_us);
        true
    }

    fn fill_disk(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let disk = &self.nodes[blow.node].disk;
        disk.limit_bytes(held_bytes(disk) + dice.below(64 << 10));
        self.strike(blow, blow.until_us);
        true
    }

    fn fail_sync(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        self.nodes[blow.node].disk.fail_sync_after(dice.below(4));
        self.strike(blow, blow.until_us);
        true
    }

    fn flip_a_bit(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let Blow { node, for_us, kind, .. } = *blow;
        if matches!(self.nodes[node].state, State::Up(_)) && dice.below(2) == 0 {
            self.crash(node, dice.below(2) == 0, for_us, "stopped before a bit flips");
        }
        let (settings, own) = (self.plan.journal, self.nodes[node].id);
        let hits = flip(&self.nodes[node].disk, kind, dice, |disk| tells(disk, settings, own));
        if hits {
            self.nodes[node].spoil();
        }
        hits
    }

    fn wipe_disk(&mut self, blow: &Blow) -> bool {
        let Blow { node, for_us, chance, .. } = *blow;
        self.crash(node, true, for_us, "its disk is wiped");
        self.nodes[node].disk = MemoryDisk::new();
        self.nodes[node].spoil();
        self.nodes[node].incarnation = Incarnation(u128::from(chance) << 64 | 1);
        true
    }

    /// The node stops, and the end of its journal is gone, however long ago it was synced.
    fn lose_tail(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let Blow { node, for_us, .. } = *blow;
        let disk = self.nodes[node].disk.clone();
        let names = disk.list().unwrap_or_default();
        let Some(last) = names.iter().rfind(|name| name.starts_with("journal-")) else { return false };
        let bytes = disk.read_all(last).unwrap_or_default();
        let starts = bytes.windows(4).enumerate().filter(|(at, found)| *at > BODY_FROM && *found == b"BTCH");
        let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
        if starts.is_empty() {
            return false;
        }
        let at = starts[dice.below(starts.len() as u64) as usize];
        self.crash(node, true, for_us, "stopped before its journal loses its tail");
        self.nodes[node].disk.forget(last, at);
        self.nodes[node].spoil();
        true
    }

    fn copy_disk(&mut self, blow: &Blow) -> Held {
        let copy = self.nodes[blow.node].disk.fork();
        copy.crash(|most| most);
        self.copies.insert(blow.index, (blow.node, copy, self.nodes[blow.node].incarnation));
        self.queue.plan(blow.until_us, Happening::FaultEnds(blow.index));
        Ok(())
    }

    /// Mostly by seconds; now and then by more than a day, after which sessions have expired.
    fn jump(&mut self, blow: &Blow, dice: &mut Dice) -> bool {
        let far = dice.below(8) == 0;
        let jump_ms = if far { A_DAY_AND_MORE_MS } else { dice.below(20_000) as i64 - 10_000 };
        self.nodes[blow.node].wall_off_ms += jump_ms;
        if let (Some(running), true) = (self.nodes[blow.node].running_mut(), dice.below(2) == 0) {
            running.ahead_ms += jump_ms.unsigned_abs().min(10_000) / 4;
        }
        true
    }

    fn client_moves(&mut self, dice: &mut Dice) -> bool {
        let client = dice.below(self.clients.len() as u64) as usize;
        let home = self.clients[client].home();
        if let Some(home) = home {
            self.clients[client].session.on_disconnected(home);
        }
        self.connect(client, home.map(|node| node.0));
        home.is_some()
    }

    fn client_returns(&mut self, dice: &mut Dice) -> bool {
        // The operator remembers what it asked for.
        let client = dice.below(u64::from(self.plan.clients.count)) as usize;
        self.begin_again(client);
        true
    }

    fn is_up(&self, node: usize) -> bool {
        !matches!(self.nodes[node].state, State::Down)
    }

    /// The fault stays on its node until then.
    fn strike(&mut self, blow: &Blow, until_us: u64) {
        self.struck.insert(blow.index, blow.node);
        self.queue.plan(until_us, Happening::FaultEnds(blow.index));
    }

    /// A fault of the plan ends, or comes to its second half.
    pub(super) fn fault_ends(&mut self, index: usize) -> Held {
        let Planned { at_us, for_us, kind, target, chance } = self.plan.faults[index].clone();
        let (Target::Node(position) | Target::LeaderOr(position)) = target;
        let ends_us = at_us + for_us;
        let struck = self.struck.remove(&index);
        match kind {
            // If the step of the disk has not come by itself, it ends now all the same.
            FaultKind::PowerLoss | FaultKind::Kill => {
                if let (Some(node), false) = (struck, self.calm)
                    && self.nodes[node].disk.is_failing()
                {
                    let power = self.doomed.remove(&node).is_none();
                    self.crash(node, power, for_us, if power { "the power goes" } else { "killed" });
                }
            }
            FaultKind::Clog => {
                if let (Some(node), false) = (struck, self.calm) {
                    let peers = (0..self.nodes.len()).filter(|peer| *peer != node);
                    peers.for_each(|peer| self.links.clog(node, peer, ends_us));
                }
            }
            FaultKind::Chained if lures(chance) && !self.calm && !self.lured.contains(&index) => {
                self.lured.insert(index);
                let leading: Vec<usize> = (0..self.nodes.len()).filter(|node| self.leads(*node)).collect();
                let new = self.leader().unwrap_or(0);
                self.links.mend(index);
                if let Some(old) = leading.into_iter().find(|node| *node != new) {
                    let middle = (0..self.nodes.len()).find(|node| *node != old && *node != new);
                    let cuts = self.cuts(kind, middle.unwrap_or(new), old, chance);
                    self.links.cut(index, cuts);
                    self.queue.plan(self.now_us + 300_000, Happening::FaultEnds(index));
                }
            }
            FaultKind::Constrained if !self.calm && self.now_us < ends_us => {
                let leader = self.leader().unwrap_or(0);
                let cuts = self.cuts(FaultKind::QuorumLoss, self.aim(position, chance), leader, chance);
                self.links.cut(index, cuts);
                self.queue.plan(ends_us, Happening::FaultEnds(index));
            }
            FaultKind::Flapping if !self.calm && self.now_us < ends_us => {
                let open = !self.links.has(index);
                if open {
                    let cuts = self.cuts(kind, self.aim(position, chance), 0, chance);
                    self.links.cut(index, cuts);
                } else {
                    self.links.mend(index);
                }
                self.queue.plan(self.now_us + for_us / 8 + 1, Happening::FaultEnds(index));
            }
            FaultKind::SlowDisk => struck.into_iter().for_each(|node| self.nodes[node].slowness = 1),
            FaultKind::FullDisk => struck.into_iter().for_each(|node| self.nodes[node].disk.unlimit()),
            FaultKind::FailedSync => struck.into_iter().for_each(|node| self.nodes[node].disk.forgive_sync()),
            FaultKind::OldDisk if !self.calm => {
                if let Some((node, copy, incarnation)) = self.copies.remove(&index)
                    && !self.nodes[node].gone
                {
                    self.counts.fault(kind);
                    self.crash(node, true, 1_000, "an old copy of its disk is put back");
                    if matches!(self.nodes[node].state, State::Broken(_)) {
                        self.nodes[node].state = State::Down;
                    }
                    self.nodes[node].disk = copy;
                    self.nodes[node].spoil();
                    self.nodes[node].incarnation = incarnation;
                }
            }
            FaultKind::Pause => (0..self.nodes.len()).for_each(|node| self.wake_roles(node)),
            _ => {
                self.links.mend(index);
                self.release();
            }
        }
        Ok(())
    }

    /// Each client stands beside a node, and reaches those that the node reaches.
    fn clients_beside(&self, cuts: &BTreeSet<(usize, usize)>, dice: &mut Dice) -> BTreeSet<(usize, usize)> {
        let nodes = self.nodes.len();
        let beside: Vec<usize> = self.clients.iter().map(|_| dice.below(nodes as u64) as usize).collect();
        let apart = |(client, at): (usize, &usize)| {
            let cut = |node: &usize| cuts.contains(&(*at, *node)) || cuts.contains(&(*node, *at));
            (0..nodes).filter(cut).map(move |node| (client, node)).collect::<Vec<_>>()
        };
        beside.iter().enumerate().flat_map(apart).collect()
    }

    /// Whether a node's disk may do more than a disk should: a quorum of each configuration that is needed must be left;
    /// and none before all founders have met and voted, because the first vote waits for each (DESIGN section 4, rule 5).
    pub(super) fn may_spoil(&self, node: usize) -> bool {
        let founders = &self.nodes[..self.plan.nodes as usize];
        !self.nodes[node].gone && founders.iter().all(|node| node.claimed > BatchNumber(0)) && self.can_lose(node)
    }
}

/// Whether a chain begins with the leader alone.
fn lures(chance: u64) -> bool {
    chance.is_multiple_of(2)
}

fn held_bytes(disk: &MemoryDisk) -> u64 {
    let names = disk.list().unwrap_or_default();
    names.iter().map(|name| disk.len(name).unwrap_or(0)).sum()
}

/// What a node would make of its disk.
fn tells(disk: &MemoryDisk, settings: storage::Settings, own: NodeId) -> Result<String, String> {
    let disk = disk.fork();
    disk.heal();
    let held = HeldStorage::open(&disk, settings, u64::from(own.0), &Composite::default(), Vec::new());
    held.map(|held| format!("{:?}", held.into_parts().0))
}

/// Flips a bit somewhere in a file of that kind, if a node could tell: else it is left as it was. Whether it is flipped.
fn flip(
    disk: &MemoryDisk,
    kind: FaultKind,
    dice: &mut Dice,
    tells: impl Fn(&MemoryDisk) -> Result<String, String>,
) -> bool {
    let prefix = if kind == FaultKind::FlippedSnapshot { "snapshot" } else { "journal" };
    let names: Vec<String> =
        disk.list().unwrap_or_default().into_iter().filter(|name| name.starts_with(prefix)).collect();
    if names.is_empty() {
        return false;
    }
    let name = match kind {
        FaultKind::FlippedTail => &names[names.len() - 1],
        _ => &names[dice.below(names.len() as u64) as usize],
    };
    let bytes = disk.read_all(name).unwrap_or_default();
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if written == 0 {
        return false;
    }
    let offset = match kind {
        // A segment's own header is put together from its batches, if it rots: mostly that is no loss.
        FaultKind::FlippedMetadata => match dice.below(HEADER_BYTES + BATCH_HEADER_BYTES) {
            behind if behind >= HEADER_BYTES && written > BODY_FROM => BODY_FROM + (behind - HEADER_BYTES) as usize,
            offset => offset.min(written as u64 - 1) as usize,
        },
        FaultKind::FlippedTail => written - 1 - dice.below(200.min(written as u64)) as usize,
        FaultKind::FlippedBody if written <= BODY_FROM => return false,
        FaultKind::FlippedBody => BODY_FROM + dice.below((written - BODY_FROM) as u64) as usize,
        _ => dice.below(written as u64) as usize,
    };
    let bit = dice.below(8) as u8;
    let before = (kind != FaultKind::FlippedSnapshot).then(|| tells(disk));
    disk.flip(name, offset, bit);
    let hits = before.is_none_or(|before| before != tells(disk));
    if !hits {
        disk.flip(name, offset, bit);
    }
    hits
}

/// The bytes at the beginning of a segment that mean something.
const HEADER_BYTES: u64 = 44;
/// The bytes at the beginning of a batch that are not its records.
const BATCH_HEADER_BYTES: u64 = 56;
/// Where its batches begin.
const BODY_FROM: usize = 4096;
/// Sessions expire after a day by the log's time.
const A_DAY_AND_MORE_MS: i64 = 25 * 60 * 60 * 1000;
