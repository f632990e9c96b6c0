//! A deterministic world: nodes that crash, disks that lag, a network that loses, repeats and reorders, clients that
//! try again. A seed decides everything that happens; equal seeds give equal runs.
//!
//! Roles of one node have a mailbox each, first in first out; which role acts next is open, as it is under actors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clients::Client;
use super::journal::{Journal, Pending, Saving, decode, digest, encode};
use super::ledger::Ledger;
use super::witness::Witness;
use crate::paxos::dice::Dice;
use crate::paxos::*;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: u32,
    pub window: u32,
    pub batch: u32,
    /// Zero for none.
    pub snapshot_slots: u64,
    /// One in so many of the faults that could happen does.
    pub calm: u64,
    /// How many milliseconds pass at a tick, at most.
    pub haste: u64,
    pub steps: u64,
    /// Members come and go: one in so many of a client's acts is a change. Zero for never.
    pub churn: u64,
}

pub struct World {
    plan: Plan,
    pub dice: Dice,
    /// Who the members were before the first slot.
    founders: Membership,
    settings: Settings,
    pub hosts: BTreeMap<NodeId, Host>,
    network: Vec<Packet>,
    /// Pairs whose link is up: a handshake succeeded since both started.
    greeted: BTreeSet<(NodeId, NodeId)>,
    /// From, to: nothing arrives.
    cut: BTreeSet<(NodeId, NodeId)>,
    pub clients: Vec<Client>,
    /// The folder that the next member comes with.
    pub next_folder: u128,
    /// When a disk was lost last: for a moment nobody has noticed.
    pub wiped_ms: u64,
    pub now_ms: u64,
    healed: bool,
    pub witness: Witness,
    pub trace: Option<Vec<String>>,
}

pub struct Host {
    id: NodeId,
    pub replica: Option<Replica<Ledger>>,
    mailboxes: [VecDeque<(NodeId, Message)>; 4],
    pub journal: Journal,
    /// It left, or lost its disk: it never comes back.
    pub gone: bool,
}

impl Host {
    fn new(id: NodeId, journal: Journal) -> Host {
        Host { id, replica: None, mailboxes: Default::default(), journal, gone: false }
    }

    /// Up to where it would know what is chosen if the power failed now.
    fn knows_upto(&self, founders: &Membership) -> Slot {
        self.journal.knows_upto(founders)
    }
}

#[derive(Clone)]
struct Packet {
    from: NodeId,
    to: NodeId,
    batch: BatchNumber,
    message: Message,
}

const PROPOSER: usize = 0;
const ACCEPTOR: usize = 1;
const LEARNER: usize = 2;
const EXECUTOR: usize = 3;

impl World {
    pub fn new(plan: Plan) -> World {
        let configuration = Configuration::numbered(plan.nodes);
        let alpha = 3 + plan.seed % 14;
        let founders = Membership::founded(configuration.clone()).with_alpha(alpha);
        let settings = Settings {
            window: plan.window,
            batch: plan.batch,
            snapshot_slots: if plan.snapshot_slots == 0 { u64::MAX } else { plan.snapshot_slots },
            ..Settings::default()
        };
        let host = |id| Host::new(id, Journal::default());
        let hosts = configuration.nodes().map(|id| (id, host(id))).collect();
        let clients = (0..3).map(Client::new).collect();
        let mut world = World {
            dice: Dice::new(plan.seed),
            founders: founders.clone(),
            settings,
            hosts,
            network: Vec::new(),
            greeted: BTreeSet::new(),
            cut: BTreeSet::new(),
            clients,
            next_folder: 1000,
            wiped_ms: 0,
            now_ms: 0,
            healed: false,
            witness: Witness::new(founders),
            trace: None,
            plan,
        };
        for id in world.nodes() {
            world.start(id);
        }
        world
    }

    /// Those that are not gone for good.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.hosts.values().filter(|host| !host.gone).map(|host| host.id).collect()
    }

    /// The members as whoever is furthest knows them.
    pub fn membership(&self) -> &Membership {
        self.witness.membership()
    }

    /// One random thing happens.
    pub fn step(&mut self) {
        let node = self.any_node();
        match self.dice.below(1000) {
            0..330 => self.deliver_some(),
            330..750 => self.act_somewhere(),
            750..850 => self.disk(node),
            850..860 => self.save(node),
            860..865 => self.trim(node),
            865..920 => {
                self.now_ms += self.dice.below(self.plan.haste);
                self.tick(node);
            }
            920..940 => {
                let peer = self.any_node();
                self.greet(node, peer);
            }
            940..985 => self.client_acts(node),
            985..996 => self.start(node),
            _ if self.dice.below(self.plan.calm) == 0 => self.fault(node),
            _ => {}
        }
    }

    fn fault(&mut self, node: NodeId) {
        match self.dice.below(8) {
            0..3 => self.crash(node),
            3 => {
                let peer = self.any_node();
                self.note(|| format!("cut {node} -> {peer}"));
                self.cut.insert((node, peer));
                if self.dice.below(2) == 0 {
                    self.cut.insert((peer, node));
                }
            }
            4 => {
                self.note(|| format!("isolate {node}"));
                for peer in self.nodes() {
                    self.cut.insert((node, peer));
                    self.cut.insert((peer, node));
                }
            }
            _ => {
                self.note(|| "heal".into());
                self.cut.clear();
            }
        }
    }

    /// Faults end. Within a bounded time there is a leader, all have executed the same, and a new command is served.
    pub fn heal_and_finish(&mut self) {
        self.note(|| "the faults end".into());
        self.healed = true;
        self.cut.clear();
        for id in self.nodes() {
            self.start(id);
        }
        self.run_until("quiet after the faults", World::is_quiet);
        self.serve("a new command is served");
        self.run_until("quiet after it", World::is_quiet);
        for host in self.hosts.values().filter(|host| self.membership().latest().contains(host.id)) {
            if let Some(replica) = &host.replica {
                self.witness.on_end(host.id, &replica.executor);
            }
        }
    }

    pub fn is_quiet(&self) -> bool {
        let membership = self.membership();
        let is_there = |host: &&Host| !host.gone && membership.latest().contains(host.id);
        let replicas: Vec<&Replica<Ledger>> =
            self.hosts.values().filter(is_there).filter_map(|host| host.replica.as_ref()).collect();
        if membership.newcomers().iter().any(|newcomer| !self.hosts.get(&newcomer.id).is_some_and(|host| host.gone)) {
            return false;
        }
        let upto = replicas[0].executor.executed_upto();
        let leaders = replicas.iter().filter(|replica| matches!(replica.proposer.phase(), proposer::Phase::Leading(_)));
        leaders.count() == 1
            && replicas.iter().all(|replica| replica.executor.executed_upto() == upto)
            && self.clients.iter().all(|client| client.session.is_some() && client.open.is_empty())
    }

    /// No more chance: from now on messages arrive, but over cut links.
    pub fn calm_down(&mut self) {
        self.healed = true;
    }

    /// Whoever leads with the highest ballot.
    pub fn leader(&self) -> Option<NodeId> {
        let replicas = self.hosts.values().filter_map(|host| host.replica.as_ref());
        let leading = replicas.filter(|replica| matches!(replica.proposer.phase(), proposer::Phase::Leading(_)));
        leading.filter_map(|replica| replica.proposer.leader()).max().map(|ballot| ballot.node)
    }

    pub fn heal_links(&mut self) {
        self.cut.clear();
    }

    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cut.extend([(one, other), (other, one)]);
        // Both ends notice, as sockets do.
        self.greeted.remove(&(one.min(other), one.max(other)));
    }

    /// A client has something new to say, and in the end it is done.
    pub fn serve(&mut self, what: &str) {
        let before = self.witness.acknowledged.len();
        self.client_sends(0);
        self.run_until(what, |world| world.witness.acknowledged.len() > before);
    }

    pub fn run_until(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        let deadline_ms = self.now_ms + 30_000;
        while !done(self) {
            if self.now_ms >= deadline_ms {
                self.print_trace();
                for host in self.hosts.values() {
                    eprintln!("{}: {:#?}", host.id, host.replica.as_ref().map(|r| (&r.proposer, &r.learner)));
                }
                panic!("not within 30 s: {what}");
            }
            self.now_ms += 10;
            for from in self.nodes() {
                for to in self.nodes() {
                    self.greet(from, to);
                }
                self.tick(from);
            }
            for _ in 0..4 {
                while !self.network.is_empty() {
                    self.deliver_some();
                }
                for id in self.nodes() {
                    self.save(id);
                    self.trim(id);
                    while !self.hosts[&id].journal.pending.is_empty() {
                        self.disk(id);
                    }
                    while (PROPOSER..=EXECUTOR).any(|role| !self.hosts[&id].mailboxes[role].is_empty()) {
                        let role = self.dice.below(4) as usize;
                        self.act(id, role);
                    }
                }
            }
            if self.now_ms % 500 < 10 {
                for client in 0..self.clients.len() {
                    let node = self.any_node();
                    self.retry(client, node);
                }
            }
        }
    }

    /// Starts a node from what its disk holds.
    pub fn start(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node");
        if host.replica.is_some() || host.gone {
            return;
        }
        let recovered = Recovered {
            snapshot: host.journal.snapshot.clone(),
            records: host.journal.durable.clone(),
            trimmed_upto: host.journal.trimmed_upto,
            last_batch: BatchNumber(host.journal.batches),
            damage: Default::default(),
            company: Default::default(),
        };
        let mut fx = Effects::new();
        let seed = self.dice.roll();
        let founders = self.founders.clone();
        let replica = Replica::recover(id, founders, &self.settings, Ledger::default(), seed, recovered, &mut fx);
        self.witness.on_restart(id, &replica);
        host.replica = Some(replica);
        self.note(|| format!("start {id}"));
        self.perform(id, fx);
        self.tick(id);
    }

    pub fn crash(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node");
        if host.replica.take().is_none() {
            return;
        }
        host.mailboxes = Default::default();
        host.journal.crash(&mut self.dice);
        self.greeted.retain(|(from, to)| *from != id && *to != id);
        self.note(|| format!("crash {id}"));
    }

    pub fn any_node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.dice.below(nodes.len() as u64) as usize]
    }

    /// Whoever came, by an entry of the log, has a disk and starts; those that left are dialled by nobody once they stop.
    fn welcome(&mut self, membership: &Membership) {
        for member in membership.members() {
            if self.hosts.contains_key(&member.id) {
                continue;
            }
            let configuration = self.founders.latest().clone();
            let founded = Record::Founded { cluster: "synod".into(), node: member.id, configuration };
            let mut journal = Journal::default();
            journal.durable.push(founded);
            self.hosts.insert(member.id, Host::new(member.id, journal));
            self.start(member.id);
        }
    }

    pub fn churn(&self) -> u64 {
        if self.healed { 0 } else { self.plan.churn }
    }

    /// A disk is lost for good, if the others can go on without it.
    pub fn wipe(&mut self, id: NodeId) -> bool {
        let gone = |node: &NodeId| *node == id || self.hosts.get(node).is_none_or(|host| host.gone);
        let can_go_on = |span: &membership::Span| {
            let nodes = span.configuration.nodes();
            nodes.filter(|node| !gone(node)).count() >= span.configuration.quorum()
        };
        if !self.membership().spans().iter().all(can_go_on) {
            return false;
        }
        self.crash(id);
        self.hosts.get_mut(&id).expect("a node").gone = true;
        self.wiped_ms = self.now_ms;
        self.note(|| format!("{id} has lost its disk"));
        true
    }

    /// A handshake: each tells the other what it has seen of its journal.
    fn greet(&mut self, one: NodeId, other: NodeId) {
        let open = |from, to| !self.cut.contains(&(from, to));
        let up = |id: NodeId| self.hosts[&id].replica.is_some();
        if one >= other || !up(one) || !up(other) || !open(one, other) || !open(other, one) {
            return;
        }
        if !self.greeted.insert((one, other)) {
            return;
        }
        self.note(|| format!("{one} and {other} greet"));
        for (own, peer) in [(one, other), (other, one)] {
            let of_peer = self.hosts[&peer].replica.as_ref().expect("up").acceptor.admission().witnessed();
            let witnessed = of_peer.get(&own).copied().unwrap_or_default();
            let durable = BatchNumber(self.hosts[&own].journal.batches);
            self.post(own, own, AcceptorMessage::Greeted { peer, witnessed, durable }.into());
        }
    }

    /// Some message in flight arrives, or is lost, or arrives and stays in flight.
    fn deliver_some(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let index = self.dice.below(self.network.len() as u64) as usize;
        let fate = if self.healed { 50 } else { self.dice.below(100) };
        let packet = if fate < 8 { self.network[index].clone() } else { self.network.swap_remove(index) };
        let lost = (8..16).contains(&fate) || self.cut.contains(&(packet.from, packet.to));
        if lost || self.hosts[&packet.to].replica.is_none() {
            return;
        }
        let Packet { from, to, batch, message } = packet;
        self.note(|| format!("{from} -> {to}: {message:?}"));
        if batch > BatchNumber(0) {
            self.post(to, to, AcceptorMessage::Witnessed { peer: from, batch }.into());
        }
        self.post(to, from, message);
    }

    pub fn post(&mut self, to: NodeId, from: NodeId, message: Message) {
        let role = match &message {
            Message::Proposer(_) => PROPOSER,
            Message::Acceptor(_) => ACCEPTOR,
            Message::Learner(_) => LEARNER,
            Message::Executor(_) => EXECUTOR,
        };
        self.hosts.get_mut(&to).expect("a node").mailboxes[role].push_back((from, message));
    }

    /// Some role that has a message takes it.
    fn act_somewhere(&mut self) {
        let roles = |host: &Host| (PROPOSER..=EXECUTOR).filter(|role| !host.mailboxes[*role].is_empty()).count();
        let ready: usize = self.hosts.values().map(roles).sum();
        let mut chosen = self.dice.below(ready as u64) as usize;
        for id in self.nodes() {
            for role in PROPOSER..=EXECUTOR {
                if self.hosts[&id].mailboxes[role].is_empty() {
                    continue;
                }
                if chosen == 0 {
                    return self.act(id, role);
                }
                chosen -= 1;
            }
        }
    }

    /// A role takes the next message of its mailbox.
    fn act(&mut self, id: NodeId, role: usize) {
        let host = self.hosts.get_mut(&id).expect("a node");
        let Some(replica) = &mut host.replica else { return };
        let mut fx = Effects::new();
        let Some((from, message)) = host.mailboxes[role].pop_front() else { return };
        if let Message::Executor(ExecutorMessage::Chosen { entries }) = &message {
            for (slot, _, value) in entries {
                self.witness.on_chosen(id, *slot, value);
            }
        }
        let executes = role == EXECUTOR;
        replica.on_message(from, message, &mut fx);
        if host.mailboxes[role].is_empty() || self.dice.below(4) == 0 {
            match role {
                PROPOSER => replica.proposer.on_lot_end(&mut fx),
                EXECUTOR => replica.executor.on_lot_end(&mut fx),
                _ => {}
            }
        }
        if executes {
            self.witness.on_executed(id, &replica.executor);
        }
        self.perform(id, fx);
    }

    fn tick(&mut self, id: NodeId) {
        let now_ms = self.now_ms;
        let Some(replica) = &mut self.hosts.get_mut(&id).expect("a node").replica else { return };
        let mut fx = Effects::new();
        replica.on_tick(now_ms, now_ms, &mut fx);
        self.perform(id, fx);
    }

    /// The next thing asked of the disk is done, and what waited for it is said.
    fn disk(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node");
        let mut fx = Effects::new();
        for then in host.journal.step() {
            self.witness.on_release(id, &then, &host.journal);
            for (to, message) in then.release(id) {
                fx.send(to, message);
            }
        }
        self.perform(id, fx);
    }

    /// A snapshot reaches the disk.
    fn save(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node");
        let Some(saving) = host.journal.saving.pop_front() else { return };
        let replica = host.replica.as_mut().expect("a crash forgets what is being saved");
        let mut fx = Effects::new();
        match saving {
            Saving::Own(state, save, number) => {
                let upto = state.upto;
                let digested = ExecutorMessage::Digested { number, upto, digest: state.digest };
                let saved = if save { host.journal.finish(state) } else { None };
                self.post(id, id, digested.into());
                self.tell_saved(id, saved);
            }
            Saving::FromPeer(snapshot) => {
                let upto = snapshot.upto;
                host.journal.keep(snapshot.clone());
                replica.executor.install(snapshot, &mut fx);
                self.witness.on_executed(id, &replica.executor);
                self.note(|| format!("{id} installs {upto}"));
                self.tell_saved(id, Some(upto));
            }
        }
        self.perform(id, fx);
    }

    fn tell_saved(&mut self, id: NodeId, saved: Option<Slot>) {
        if let Some(upto) = saved {
            self.post(id, id, ExecutorMessage::SnapshotSaved { upto }.into());
        }
    }

    /// The journal forgets what the snapshot covers.
    fn trim(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node");
        let Some(replica) = &host.replica else { return };
        let upto = replica.executor.snapshot_upto();
        if upto > host.journal.trimmed_upto {
            host.journal.trim(upto);
            self.post(id, id, LearnerMessage::Trimmed { upto }.into());
        }
    }

    fn perform(&mut self, id: NodeId, mut fx: Effects) {
        for effect in fx.drain() {
            let host = self.hosts.get_mut(&id).expect("a node");
            if host.gone {
                return;
            }
            match effect {
                Effect::Send { to, message } if to == id => self.post(id, id, message),
                Effect::Send { to, message } => self.send(id, to, message),
                Effect::Sync { records, then } => host.journal.pending.push_back(Pending::Sync(records, then)),
                Effect::Append { records } => host.journal.pending.push_back(Pending::Append(records)),
                Effect::Flush { then } => host.journal.pending.push_back(Pending::Flush(then)),
                Effect::SupplySlots { to, first, upto } => {
                    let slots = first.previous().above(upto.min(first.plus(3)));
                    let entries: Vec<_> = slots.map_while(|slot| host.journal.chosen(slot)).collect();
                    if entries.is_empty() {
                        self.supply_snapshot(id, to);
                    } else {
                        for (slot, _, value) in &entries {
                            self.witness.on_chosen(id, *slot, value);
                        }
                        self.send(id, to, LearnerMessage::Chosen { entries, chosen_upto: upto }.into());
                    }
                }
                Effect::SupplySnapshot { to, .. } => self.supply_snapshot(id, to),
                Effect::KeepPart(part) => {
                    assert_eq!(part.bytes.len() as u64, part.total, "they are short here: one part is all of it");
                    host.journal.saving.push_back(Saving::FromPeer(decode(&part.bytes)));
                }
                Effect::TakeSnapshot { upto } => {
                    let images = host.replica.as_mut().expect("it just acted").executor.take_images();
                    for Taken { image, save, number } in images {
                        assert_eq!(image.upto, upto, "one is frozen at a time");
                        let mut state = image.thaw(Ledger::default()).expect("a ledger's own state");
                        state.digest = digest(&state);
                        host.journal.saving.push_back(Saving::Own(state, save, number));
                    }
                }
                Effect::Proven { upto, digest } => {
                    let saved = host.journal.prove(upto, digest);
                    self.tell_saved(id, saved);
                }
                Effect::Reply { client, reply } => self.hear(client, reply),
                Effect::ExecutedEverywhere { upto } => self.witness.on_everywhere(upto),
                Effect::Members(membership) => self.welcome(&membership),
                Effect::Note(Event::Dismissed { from }) => {
                    self.note(|| format!("{id} is dismissed"));
                    let knows = |node| self.hosts.get(&node).map_or(Slot::ZERO, |host| host.knows_upto(&self.founders));
                    self.witness.on_dismissed(id, from, knows);
                    self.crash(id);
                    self.hosts.get_mut(&id).expect("a node").gone = true;
                    return;
                }
                Effect::Note(Event::Diverged { mark, .. }) => panic!("{id} differs at {mark}, and nobody harmed it"),
                Effect::Note(event) => self.note(|| format!("{id}: {event:?}")),
            }
        }
        if let Some(replica) = &self.hosts[&id].replica {
            self.witness.on_step(id, replica);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        assert!(message.may_travel(), "{message:?} is not for peers");
        if self.greeted.contains(&(from.min(to), from.max(to))) {
            let batch = BatchNumber(self.hosts[&from].journal.batches);
            self.network.push(Packet { from, to, batch, message });
        }
    }

    fn supply_snapshot(&mut self, id: NodeId, to: NodeId) {
        let Some(snapshot) = &self.hosts[&id].journal.snapshot else { return };
        let (upto, (bytes, id_of_file)) = (snapshot.upto, encode(snapshot));
        let (total, bytes) = (bytes.len() as u64, Bytes::from(bytes));
        let part = LearnerMessage::SnapshotPart { upto, id: id_of_file, total, offset: 0, bytes };
        self.send(id, to, part.into());
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:6} {}", self.now_ms, line()));
        }
    }

    fn print_trace(&self) {
        for line in self.trace.iter().flatten() {
            eprintln!("{line}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_trace();
            eprintln!("broken by {:?}", self.plan);
        }
    }
}
