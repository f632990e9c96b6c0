//! Every combination of damaged batches of three journals ("Protocol-Aware Recovery", FAST 2018, section 5.1.1): the real
//! journal and the pure roles, without faults of the network. Whenever each value has an intact copy, the cluster
//! recovers and serves; when one has none, nothing is invented.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and the line says where")]

use std::collections::{BTreeMap, VecDeque};

use synod::net::identity::Founded;
use synod::paxos::dispatch::Dispatch;
use synod::paxos::{
    Ballot, BatchNumber, Bytes, Command, Configuration, Event, ExecutorMessage, Message, NodeId, Record, Sequence,
    SessionId, Settings, Slot, Stamp, Value,
};
use synod::sim::node::{Node, Role};
use synod::storage::{self, Disk, Journal, MemoryDisk};

const JOURNAL: storage::Settings =
    storage::Settings { segment_bytes: 8 * 1024, first_segment_bytes: 8 * 1024, spares: 0, keep_bytes: 0 };
const FIRST: &str = "journal-0000000001";
const NODES: usize = 3;
const BATCHES: usize = 4;
/// The ballot that all have voted in.
const OLD: Ballot = Ballot::new(1, NodeId(1));

fn value(slot: u64) -> Value {
    let operation = Bytes::from(vec![slot as u8; 40]);
    let (session, sequence, done_below) = (SessionId(1), Sequence(slot), Sequence(0));
    Value::batch(Stamp { time_ms: 1, seed: slot }, &[Command::Apply { session, sequence, done_below, operation }])
}

/// A journal in which each batch holds one vote, behind one that says who the node is, and a seal. Some also say what is
/// known to be chosen.
fn journal(node: NodeId, knows_chosen: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut journal = Journal::create(disk.clone(), JOURNAL, u64::from(node.0)).unwrap();
    journal.vouch();
    let configuration = Configuration::numbered(NODES as u32);
    journal.append(&Record::Founded { cluster: "synod".into(), node, configuration });
    journal.append(&Record::Confirmed {});
    journal.commit().unwrap();
    for slot in (1..=BATCHES as u64).map(Slot) {
        if knows_chosen && slot.0 > 1 {
            journal.append(&Record::ChosenUpto { ballot: OLD, upto: slot.previous() });
        }
        journal.append(&Record::Vote { slot, ballot: OLD, value: value(slot.0) });
        journal.commit().unwrap();
    }
    journal.seal().unwrap();
    disk
}

/// Where the batches begin.
fn batches(disk: &MemoryDisk) -> Vec<usize> {
    let bytes = disk.read_all(FIRST).unwrap();
    let mut offset = 4096;
    let mut found = Vec::new();
    while bytes.get(offset..offset + 4) == Some(b"BTCH") {
        found.push(offset);
        let length = u32::from_le_bytes(bytes[offset + 8..offset + 12].try_into().unwrap()) as usize;
        offset += (56 + length).next_multiple_of(8);
    }
    found
}

/// Three nodes that say what they say at once.
struct Cluster {
    nodes: Vec<Node>,
    founded: Founded,
    under_way: VecDeque<(usize, NodeId, Message)>,
    chosen: BTreeMap<Slot, Value>,
    repaired: usize,
    now_us: u64,
}

impl Cluster {
    fn new(disks: Vec<MemoryDisk>) -> Cluster {
        let configuration = Configuration::numbered(NODES as u32);
        let founded = Founded::of("synod", "n1", configuration).unwrap();
        let nodes = disks.into_iter().zip(1..).map(|(disk, id)| Node { disk, ..Node::new(NodeId(id)) }).collect();
        let (under_way, chosen) = Default::default();
        Cluster { nodes, founded, under_way, chosen, repaired: 0, now_us: 0 }
    }

    /// Starts a node; the sentence, if it cannot use its disk.
    fn start(&mut self, node: usize) -> Result<(), String> {
        let settings = Settings { snapshot_slots: 1_000, ..Settings::default() };
        let seed = node as u64 + 1;
        let dispatch = self.nodes[node].start(&self.founded, &settings, JOURNAL, seed, self.now_us)?;
        self.perform(node, dispatch);
        Ok(())
    }

    fn start_all(&mut self) {
        (0..NODES).for_each(|node| self.start(node).unwrap());
        for node in 0..NODES {
            (0..NODES).filter(|peer| *peer != node).for_each(|peer| self.greet(node, peer));
        }
    }

    fn greet(&mut self, node: usize, peer: usize) {
        let (own, peer) = (self.nodes[node].id, self.nodes[peer].id);
        if let Some(running) = self.nodes[node].running_mut() {
            running.greet(own, peer, BatchNumber(0));
        }
    }

    fn perform(&mut self, node: usize, dispatch: Dispatch) {
        let Dispatch { disk, mail, remote, events, .. } = dispatch;
        self.repaired += events.iter().filter(|event| **event == Event::Repaired {}).count();
        for (_, message) in &mail.executor {
            if let ExecutorMessage::Chosen { entries } = message {
                for (slot, _, value) in entries {
                    let known = self.chosen.entry(*slot).or_insert_with(|| value.clone());
                    assert_eq!(known, value, "two values are chosen in slot {slot}");
                }
            }
        }
        let from = self.nodes[node].id;
        let running = self.nodes[node].running_mut().unwrap();
        running.disk_queue.extend(disk);
        running.deliver(mail);
        self.under_way.extend(remote.into_iter().map(|(to, message)| (to.0 as usize - 1, from, message)));
    }

    /// Time passes, and everything that follows from it happens.
    fn step(&mut self, ms: u64) {
        self.now_us += ms * 1000;
        let now_us = self.now_us;
        for node in &mut self.nodes {
            if let Some(running) = node.running_mut() {
                let now_ms = running.now_ms(now_us);
                running.tick(now_ms, now_ms);
            }
        }
        let mut busy = true;
        while std::mem::take(&mut busy) {
            while let Some((to, from, message)) = self.under_way.pop_front() {
                let own = self.nodes[to].id;
                if let Some(running) = self.nodes[to].running_mut() {
                    running.receive(own, (from, 1), BatchNumber(0), vec![message]);
                }
            }
            for node in 0..NODES {
                let own = self.nodes[node].id;
                for role in Role::ALL {
                    let Some(running) = self.nodes[node].running_mut() else { continue };
                    if running.mail[role as usize].is_empty() {
                        continue;
                    }
                    busy = true;
                    let dispatch = running.turn(own, role, usize::MAX, |_, _| (), |_, _, _| ());
                    self.perform(node, dispatch);
                }
                let disk = self.nodes[node].disk.clone();
                let Some(running) = self.nodes[node].running_mut() else { continue };
                if running.disk_queue.is_empty() {
                    continue;
                }
                busy = true;
                let turn = running.disk_turn(&disk);
                assert_eq!(turn.error, None);
                for (to, message) in turn.said {
                    if to == own {
                        running.post(Role::of(&message), synod::sim::node::Letter::Message(own, message));
                    } else {
                        self.under_way.push_back((to.0 as usize - 1, own, message));
                    }
                }
            }
            busy |= !self.under_way.is_empty();
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Cluster) -> bool) {
        for _ in 0..100 {
            if done(self) {
                return;
            }
            self.step(50);
        }
        panic!("{what}: chosen {:?}", self.chosen.keys());
    }

    fn admitted(&self, node: usize) -> bool {
        self.nodes[node].running().is_some_and(|running| running.replica.acceptor.admission().admitted())
    }

    fn executed_upto(&self, node: usize) -> Slot {
        self.nodes[node].running().map_or(Slot::ZERO, |running| running.replica.executor.executed_upto())
    }

    fn is_well(&self) -> bool {
        (0..NODES).all(|node| self.admitted(node) && self.executed_upto(node) >= Slot(BATCHES as u64))
    }
}

/// Nodes whose journals have a flipped bit in the batch of a vote, wherever the bit of that batch is set.
fn hurt(whole: &[MemoryDisk], starts: &[Vec<usize>], cells: usize) -> Cluster {
    let disks = whole.iter().enumerate().map(|(node, disk)| {
        let disk = disk.fork();
        for batch in (0..BATCHES).filter(|batch| cells >> (node * BATCHES + batch) & 1 == 1) {
            // Anywhere in it: the header, what stood before, or the vote.
            let (start, end) = (starts[node][batch + 1], starts[node][batch + 2]);
            disk.flip(FIRST, start + cells * 7 % (end - start - 8), (cells % 8) as u8);
        }
        disk
    });
    Cluster::new(disks.collect())
}

fn every_combination(knows_chosen: bool) {
    let whole: Vec<MemoryDisk> = (1..=NODES as u32).map(|node| journal(NodeId(node), knows_chosen)).collect();
    let starts: Vec<Vec<usize>> = whole.iter().map(batches).collect();
    let (mut recovered, mut waited) = (0, 0);
    for cells in 0..1usize << (NODES * BATCHES) {
        let lost = (0..BATCHES).find(|batch| (0..NODES).all(|node| cells >> (node * BATCHES + batch) & 1 == 1));
        let mut cluster = hurt(&whole, &starts, cells);
        cluster.start_all();
        match lost {
            None => {
                cluster.until(&format!("cells {cells:012b} are repaired"), Cluster::is_well);
                recovered += 1;
            }
            Some(first) => {
                (0..40).for_each(|_| cluster.step(50));
                assert!(!(0..NODES).any(|node| cluster.admitted(node)), "cells {cells:012b}: nobody has the value");
                assert!(cluster.chosen.len() <= first, "cells {cells:012b}: something was invented");
                waited += 1;
            }
        }
        for (slot, chosen) in cluster.chosen.range(..=Slot(BATCHES as u64)) {
            assert_eq!(*chosen, value(slot.0), "cells {cells:012b}, slot {slot}");
        }
    }
    assert_eq!((recovered, waited), (2401, 4096 - 2401), "as in the paper: 7 of 8 choices for each of 4 batches");
}

#[test]
fn rule_4_every_combination_of_damaged_votes_is_repaired_if_each_value_is_left_somewhere() {
    every_combination(false);
}

#[test]
fn rule_4_so_is_every_combination_when_journals_say_what_is_chosen() {
    every_combination(true);
}
