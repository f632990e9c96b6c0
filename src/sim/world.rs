//! A world: nodes, disks, a network and clients, in which everything that happens follows from a plan.
//!
//! Time is a number; what happens next is the earliest thing in a queue. Whatever is left to chance comes from dice of
//! the seed's, one for each concern, so that leaving out one fault changes as little as possible of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::check::{Broken, Checks, Held, admission, bounds, durable, linearizable, liveness, watermarks};
use super::client::{Client, Connection};
use super::history::{Call, Fate, Operation};
use super::links::Links;
use super::node::{Letter, MEETING_US, Node, Role, State, detach};
use super::plan::{Network, Plan};
use super::queue::Queue;
use super::report::Counts;
use super::script::Script;
use super::trace::{Lanes, Trace};
use super::words;
use crate::client::outcome::Outcome;
use crate::client::session::{Output, TICK_MS};
use crate::net::identity::Founded;
use crate::net::wire::ClientFrame;
use crate::paxos::dice::{Dice, mix};
use crate::paxos::dispatch::Dispatch;
use crate::paxos::proposer::Phase;
use crate::paxos::{
    AcceptorMessage, BatchNumber, Bytes, ClientId, Configuration, Event, ExecutorMessage, Incarnation, LearnerMessage,
    Message, NodeId, Place, ProposerMessage, Reply, Slot,
};
use crate::storage::MemoryDisk;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) now_us: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) links: Links,
    pub(super) clients: Vec<Client>,
    pub(super) queue: Queue<Happening>,
    pub(super) dice: Chance,
    pub(super) counts: Counts,
    pub(super) trace: Trace,
    pub(super) checks: Checks,
    pub(super) history: Vec<Operation>,
    /// The network as it is now: calm, once the faults have ended.
    pub(super) network: Network,
    /// Operations are begun.
    pub(super) busy: bool,
    /// The faults have ended.
    pub(super) calm: bool,
    /// A loss happened that nobody could have noticed.
    pub(super) excused: bool,
    /// Copies of disks that will be put back: whose, what, and its incarnation.
    pub(super) copies: BTreeMap<usize, (usize, MemoryDisk, Incarnation)>,
    /// What a scenario adds; nothing, unless the world is driven by one.
    pub(super) script: Script,
    /// Faults whose second half will clog what this node says.
    pub(super) clogging: BTreeMap<usize, usize>,
    /// Chains that are in their second half.
    pub(super) lured: BTreeSet<usize>,
    founded: Founded,
    connections: BTreeMap<u64, usize>,
    next_connection: u64,
    leader: Option<crate::paxos::Ballot>,
}

/// Dice, one for each concern.
#[derive(Debug)]
pub(super) struct Chance {
    pub network: Dice,
    pub turns: Dice,
    pub disks: Dice,
    pub starts: Dice,
    pub clients: Dice,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Happening {
    Arrives(Box<Packet>),
    Turn { node: usize, life: u32, role: Role },
    Disk { node: usize, life: u32 },
    Idle { node: usize, life: u32, after: u64 },
    Keeps { node: usize, life: u32 },
    Tick { node: usize, life: u32 },
    MeetingEnds { node: usize, life: u32 },
    Greets,
    Starts { node: usize, life: u32 },
    Fault(usize),
    FaultEnds(usize),
    Wakes { client: usize },
    ToNode { client: usize, connection: u64, frame: Box<ClientFrame> },
    ToClient { client: usize, connection: u64, replies: Vec<Reply> },
    Breaks { client: usize, connection: u64 },
}

/// Messages on their way from one node to another.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    from: usize,
    /// The sender's life.
    life: u32,
    to: usize,
    durable: BatchNumber,
    messages: Vec<Message>,
}

impl World {
    /// A world at its beginning. With `lines`, its trace can be shown.
    ///
    /// # Errors
    /// A property broke at once.
    pub fn new(plan: &Plan, lines: bool) -> Result<World, Broken> {
        let configuration = Configuration::numbered(plan.nodes);
        let nodes: Vec<Node> = configuration.nodes().map(Node::new).collect();
        let founded = Founded::of("synod", "n1", configuration).expect("n1 is among the numbered");
        let dice = |concern: u64| Dice::new(mix(plan.seed ^ mix(concern)));
        let mut dice = Chance { network: dice(1), turns: dice(2), disks: dice(3), starts: dice(4), clients: dice(5) };
        let clients = (0..plan.clients.count).map(|index| Client::new(index, Dice::new(dice.clients.roll()))).collect();
        let mut world = World {
            now_us: 0,
            nodes,
            links: Links::default(),
            clients,
            queue: Queue::default(),
            dice,
            counts: Counts { seeds: 1, ..Counts::default() },
            trace: Trace::new(lines),
            checks: Checks::default(),
            history: Vec::new(),
            network: plan.network.clone(),
            busy: true,
            calm: false,
            excused: false,
            copies: BTreeMap::new(),
            script: Script::default(),
            clogging: BTreeMap::new(),
            lured: BTreeSet::new(),
            founded,
            connections: BTreeMap::new(),
            next_connection: 1,
            leader: None,
            plan: plan.clone(),
        };
        world.checks.agreement.set_quorum(plan.quorum() as usize);
        for node in 0..world.nodes.len() {
            world.start(node)?;
        }
        world.queue.plan(500, Happening::Greets);
        for (index, fault) in plan.faults.iter().enumerate() {
            world.queue.plan(fault.at_us, Happening::Fault(index));
        }
        for client in 0..world.clients.len() {
            let at_us = world.dice.clients.below(300_000);
            world.wake(client, at_us);
        }
        Ok(world)
    }

    /// Runs until then, or until `done` says so. Whether it did.
    ///
    /// # Errors
    /// A property broke.
    pub fn run_until(&mut self, until_us: u64, mut done: impl FnMut(&World) -> bool) -> Result<bool, Broken> {
        let mut look_us = self.now_us;
        while let Some(next_us) = self.queue.next_us().filter(|next_us| *next_us <= until_us) {
            if next_us >= look_us {
                if done(self) || self.excused {
                    return Ok(true);
                }
                look_us = next_us + LOOK_US;
            }
            let (at_us, happening) = self.queue.next().expect("there is a next");
            self.now_us = at_us;
            self.happen(happening)?;
            // What follows from a loss that nobody could have noticed is no fault of the protocol.
            if self.excused {
                return Ok(true);
            }
        }
        self.now_us = self.now_us.max(until_us);
        Ok(done(self) || self.excused)
    }

    pub(super) fn happen(&mut self, happening: Happening) -> Held {
        match happening {
            Happening::Arrives(packet) => {
                self.arrives(*packet);
                Ok(())
            }
            Happening::Turn { node, life, role } => self.turn(node, life, role),
            Happening::Disk { node, life } => self.disk(node, life),
            Happening::Idle { node, life, after } => self.idle(node, life, after),
            Happening::Keeps { node, life } => self.keeps(node, life),
            Happening::Tick { node, life } => self.tick(node, life),
            Happening::MeetingEnds { node, life } => {
                if let Some(own) = self.alive(node, life) {
                    let running = self.nodes[node].running_mut().expect("alive");
                    if running.met.is_some() {
                        running.greet_all(own);
                        self.wake_roles(node);
                    }
                }
                Ok(())
            }
            Happening::Greets => self.greets(),
            Happening::Starts { node, life } => {
                if self.nodes[node].life == life && matches!(self.nodes[node].state, State::Down) {
                    self.start(node)?;
                }
                Ok(())
            }
            Happening::Fault(index) => self.fault(index),
            Happening::FaultEnds(index) => self.fault_ends(index),
            Happening::Wakes { client } => self.wakes(client),
            Happening::ToNode { client, connection, frame } => {
                self.reaches_node(client, connection, *frame);
                Ok(())
            }
            Happening::ToClient { client, connection, replies } => self.reaches_client(client, connection, replies),
            Happening::Breaks { client, connection } => {
                self.breaks(client, connection);
                Ok(())
            }
        }
    }

    /// The node's number, if it runs and this is still the same life.
    fn alive(&self, node: usize, life: u32) -> Option<NodeId> {
        let node = &self.nodes[node];
        (node.life == life && node.running().is_some()).then_some(node.id)
    }

    fn position(&self, id: NodeId) -> usize {
        id.0 as usize - 1
    }

    /// Whoever leads with the highest ballot.
    pub fn leader(&self) -> Option<usize> {
        let leading = self.nodes.iter().filter_map(|node| {
            let proposer = &node.running()?.replica.proposer;
            matches!(proposer.phase(), Phase::Leading(_)).then(|| proposer.leader()).flatten()
        });
        leading.max().map(|ballot| self.position(ballot.node))
    }

    /// Whether a node believes that it leads.
    pub(super) fn leads(&self, node: usize) -> bool {
        self.nodes[node].running().is_some_and(|running| matches!(running.replica.proposer.phase(), Phase::Leading(_)))
    }

    // Nodes start and stop.

    /// Starts a node from what its disk holds.
    pub(super) fn start(&mut self, node: usize) -> Held {
        let seed = self.dice.starts.roll();
        let (settings, journal) = (self.plan.settings.clone(), self.plan.journal);
        let started = self.nodes[node].start(&self.founded, &settings, journal, seed, self.now_us);
        let own = self.nodes[node].id;
        let life = self.nodes[node].life;
        self.counts.restarts += u64::from(life > 1);
        let lanes = if started.is_ok() { Lanes::Starts(node) } else { Lanes::Stops(node) };
        self.trace.note(self.now_us, lanes, (own, "start"), || match &started {
            Ok(_) => "starts".into(),
            Err(trouble) => format!("cannot use its journal: {trouble}"),
        });
        let dispatch = match started {
            Ok(dispatch) => dispatch,
            // The disk fails now, which says nothing of what it holds: the node stops, and tries again.
            Err(trouble) if self.nodes[node].disk.is_faulty() => {
                let for_us = 1_000 + self.dice.disks.below(200_000);
                self.nodes[node].state = State::Broken(trouble.clone());
                self.crash(node, true, for_us, &trouble);
                return Ok(());
            }
            Err(trouble) if self.nodes[node].spoiled => {
                self.counts.spoiled += 1;
                self.nodes[node].state = State::Broken(trouble);
                return Ok(());
            }
            Err(trouble) => {
                return Err(Broken::new(
                    "recovery",
                    format!("{own} cannot read a journal that nobody damaged: {trouble}"),
                ));
            }
        };
        let lost = self.has_lost(node);
        if lost && !self.nodes[node].spoiled {
            return Err(Broken::new("recovery", format!("{own} lost durable batches, and nobody damaged its disk")));
        }
        let running = self.nodes[node].running_mut().expect("just started");
        if self.plan.nodes == 1 {
            running.greet(own, own, BatchNumber(0), 1);
        }
        let acceptor = running.replica.acceptor.clone();
        if !lost {
            self.checks.promises.check(&acceptor, own)?;
        }
        self.queue.plan(self.now_us + MEETING_US, Happening::MeetingEnds { node, life });
        let jitter_us = self.dice.turns.below(TICK_US);
        self.queue.plan(self.now_us + jitter_us, Happening::Tick { node, life });
        self.perform(node, dispatch)
    }

    /// Whether its journal ends below what it let peers hear of.
    fn has_lost(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.running().is_some_and(|running| running.recovered < node.claimed)
    }

    /// A node's process ends. With `power`, its disk loses some of what was not synced. It is started again later.
    pub(super) fn crash(&mut self, node: usize, power: bool, for_us: u64, why: &str) {
        if matches!(self.nodes[node].state, State::Down) {
            return;
        }
        let own = self.nodes[node].id;
        self.trace.note(self.now_us, Lanes::Stops(node), (own, "crash", power), || format!("stops: {why}"));
        let chance = &mut self.dice.disks;
        self.nodes[node].disk.crash(|most| if power { chance.below(most + 1) } else { most });
        self.nodes[node].state = State::Down;
        self.links.drop_all_of(node);
        for client in 0..self.clients.len() {
            if let Some(connection) = self.clients[client].connection.filter(|connection| connection.node == node) {
                let at_us = self.now_us + 100 + self.dice.network.below(2_000);
                self.queue.plan(at_us, Happening::Breaks { client, connection: connection.number });
            }
        }
        let life = self.nodes[node].life;
        self.queue.plan(self.now_us + for_us.max(1), Happening::Starts { node, life });
    }

    // Roles, disks and keepers take turns.

    /// Plans a turn for every role that has mail, for the disk and for the keeper.
    pub(super) fn wake_roles(&mut self, node: usize) {
        let now_us = self.now_us;
        let Node { life, paused_until_us, stalled_until_us, slowness, state, .. } = &mut self.nodes[node];
        let State::Up(running) = state else { return };
        let from_us = now_us.max(*paused_until_us);
        for role in Role::ALL {
            if !running.mail[role as usize].is_empty() && !running.turn_due[role as usize] {
                running.turn_due[role as usize] = true;
                let wait_us = delay(&mut self.dice.turns);
                self.queue.plan(from_us + wait_us, Happening::Turn { node, life: *life, role });
            }
        }
        if !running.disk_queue.is_empty() && !running.disk_due {
            running.disk_due = true;
            let wait_us = (40 + self.dice.disks.below(200)) * *slowness;
            self.queue.plan(from_us.max(*stalled_until_us) + wait_us, Happening::Disk { node, life: *life });
        }
        if !running.keeping.is_empty() && !running.keep_due {
            running.keep_due = true;
            let wait_us = (200 + self.dice.disks.below(5_000)) * *slowness;
            self.queue.plan(from_us.max(*stalled_until_us) + wait_us, Happening::Keeps { node, life: *life });
        }
    }

    /// Puts off what a node that stands still, or its disk, cannot do now. Whether it did.
    fn put_off(&mut self, node: usize, by_disk: bool, happening: Happening) -> Option<Happening> {
        let Node { paused_until_us, stalled_until_us, .. } = &self.nodes[node];
        let until_us = if by_disk { *paused_until_us.max(stalled_until_us) } else { *paused_until_us };
        if until_us <= self.now_us {
            return Some(happening);
        }
        self.queue.plan(until_us, happening);
        None
    }

    fn turn(&mut self, node: usize, life: u32, role: Role) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, false, Happening::Turn { node, life, role }) else { return Ok(()) };
        let World { nodes, dice, counts, trace, checks, now_us, .. } = self;
        let running = nodes[node].running_mut().expect("alive");
        running.turn_due[role as usize] = false;
        let waiting = running.mail[role as usize].len();
        // Mostly everything that waits, as actors do; sometimes a part, so that lots end anywhere.
        let most = if dice.turns.below(4) == 0 { 1 + dice.turns.below(waiting as u64) as usize } else { waiting };
        let mut held = Ok(());
        let mut taken = 0;
        let dispatch = running.turn(own, role, most, |message| {
            taken += 1;
            // It is shown when it arrives, or when the disk lets it go.
            trace.note(*now_us, Lanes::At(node), message, String::new);
            if let Message::Executor(ExecutorMessage::Chosen { entries }) = message {
                for (slot, _, value) in entries {
                    let believed = checks.agreement.on_believed(own, *slot, value);
                    held = std::mem::replace(&mut held, Ok(())).and(believed);
                }
            }
        });
        counts.messages += taken;
        held?;
        durable::check_role(own, &dispatch)?;
        if role == Role::Executor && taken > 0 {
            checks.states.advance(checks.agreement.chosen())?;
            checks.states.check(own, &running.replica.executor)?;
        }
        self.perform(node, dispatch)
    }

    fn disk(&mut self, node: usize, life: u32) -> Held {
        if self.alive(node, life).is_none() {
            return Ok(());
        }
        let Some(_) = self.put_off(node, true, Happening::Disk { node, life }) else { return Ok(()) };
        self.disk_turn(node)?;
        let Some(running) = self.nodes[node].running_mut() else { return Ok(()) };
        running.disk_due = false;
        let after = running.scribe.journal().commits();
        self.queue.plan(self.now_us + IDLE_US, Happening::Idle { node, life, after });
        self.wake_roles(node);
        Ok(())
    }

    /// The disk has had nothing to do for a while.
    fn idle(&mut self, node: usize, life: u32, after: u64) -> Held {
        if self.alive(node, life).is_none() {
            return Ok(());
        }
        let Some(_) = self.put_off(node, true, Happening::Idle { node, life, after }) else { return Ok(()) };
        let running = self.nodes[node].running().expect("alive");
        if running.disk_due || running.scribe.journal().commits() != after {
            return Ok(());
        }
        self.disk_turn(node)
    }

    fn disk_turn(&mut self, node: usize) -> Held {
        let own = self.nodes[node].id;
        let disk = self.nodes[node].disk.clone();
        let running = self.nodes[node].running_mut().expect("alive");
        let turn = running.disk_turn(&disk);
        let heard = running.durable;
        durable::check(own, &turn)?;
        self.counts.batches += turn.batches;
        self.trace.note(self.now_us, Lanes::At(node), ("disk", turn.batches, turn.said.len()), || {
            words::disk(own, turn.batches, &turn.said)
        });
        for (_, message) in &turn.said {
            self.said(node, message)?;
        }
        let mut dispatch = Dispatch::default();
        for (to, message) in turn.said {
            if to == own { dispatch.mail.push(own, message) } else { dispatch.remote.push((to, message)) }
        }
        self.nodes[node].claimed = self.nodes[node].claimed.max(heard);
        self.perform(node, dispatch)?;
        if let Some(error) = turn.error {
            let for_us = 1_000 + self.dice.disks.below(400_000);
            self.crash(node, true, for_us, &error);
            return Ok(());
        }
        if self.dice.disks.below(2) == 0
            && let Some(Err(error)) = self.nodes[node].running_mut().map(super::node::Running::make_spare)
        {
            self.crash(node, true, 1_000, &error);
        }
        Ok(())
    }

    /// A node says something that hangs on its disk.
    fn said(&mut self, node: usize, message: &Message) -> Held {
        let World { nodes, checks, .. } = self;
        let own = nodes[node].id;
        match message {
            Message::Proposer(ProposerMessage::Promise(promise)) => {
                checks.promises.on_promise(own, promise.ballot);
            }
            Message::Learner(LearnerMessage::Accepted(accepted)) => {
                for slot in &accepted.slots {
                    checks.promises.on_vote(own, accepted.ballot, *slot);
                    if let Some(value) = checks.agreement.on_vote(own, accepted.ballot, *slot)? {
                        checks.proposed.on_chosen(*slot, &value)?;
                    }
                }
            }
            Message::Acceptor(AcceptorMessage::Prepare(prepare)) => {
                checks.agreement.on_prepare(prepare.ballot, nodes[node].life)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn keeps(&mut self, node: usize, life: u32) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, true, Happening::Keeps { node, life }) else { return Ok(()) };
        let running = self.nodes[node].running_mut().expect("alive");
        running.keep_due = false;
        let kept = running.keep_turn(own);
        self.trace.note(self.now_us, Lanes::At(node), (own, "keeps"), || "works on a snapshot".into());
        if let Err(error) = kept {
            let for_us = 1_000 + self.dice.disks.below(400_000);
            self.crash(node, true, for_us, &error);
            return Ok(());
        }
        self.wake_roles(node);
        Ok(())
    }

    fn tick(&mut self, node: usize, life: u32) -> Held {
        let Some(own) = self.alive(node, life) else { return Ok(()) };
        let Some(_) = self.put_off(node, false, Happening::Tick { node, life }) else { return Ok(()) };
        let wall_off_ms = self.nodes[node].wall_off_ms;
        let now_us = self.now_us;
        let running = self.nodes[node].running_mut().expect("alive");
        let wall_ms = (EPOCH_MS + now_us / 1000).saturating_add_signed(wall_off_ms);
        let hearsay = running.tick(running.now_ms(now_us), wall_ms);
        bounds::check(own, running, &self.plan)?;
        self.queue.plan(now_us + TICK_US, Happening::Tick { node, life });
        let mut dispatch = Dispatch::default();
        if let Some(hearsay) = hearsay {
            let others = self.nodes.iter().map(|node| node.id).filter(|id| *id != own);
            dispatch.remote.extend(others.map(|id| (id, hearsay.clone().into())));
        }
        self.perform(node, dispatch)
    }

    /// Performs what a lot of a role, or of the disk, asked for.
    fn perform(&mut self, node: usize, dispatch: Dispatch) -> Held {
        let Dispatch { disk, mail, remote, replies, snapshots, events } = dispatch;
        let own = self.nodes[node].id;
        events.iter().for_each(|event| self.on_event(node, event));
        if events.contains(&Event::Admitted {}) {
            self.judge_admission(node)?;
        }
        mail.acceptor.iter().try_for_each(|(_, message)| self.proposes(message))?;
        self.script.on_mail(node, &mail);
        let Some(running) = self.nodes[node].running_mut() else { return Ok(()) };
        running.disk_queue.extend(disk);
        snapshots.into_iter().for_each(|work| running.post(Role::Executor, Letter::Snapshot(work)));
        running.deliver(mail);
        let executed_upto = running.replica.executor.executed_upto();
        let replica = &self.nodes[node].running().expect("just seen").replica;
        watermarks::check(own, replica, &self.nodes[node].disk)?;
        self.wake_roles(node);
        self.send(node, remote)?;
        for (client, replies) in replies {
            self.reply(node, client, replies, executed_upto)?;
        }
        Ok(())
    }

    fn on_event(&mut self, node: usize, event: &Event) {
        if !matches!(event, Event::Executed { .. }) {
            self.trace.note(self.now_us, Lanes::At(node), event, || words::event(event));
        }
        match event {
            Event::Leading { ballot, .. } => {
                self.counts.leaders += u64::from(self.leader.is_some_and(|leader| leader < *ballot));
                self.leader = self.leader.max(Some(*ballot));
            }
            Event::Installed { .. } => self.counts.installed += 1,
            Event::Amnesia { .. } => self.counts.spoiled += 1,
            _ => {}
        }
    }

    /// A node was admitted in this lot; if nothing took that back in the same lot, it may vote from now on.
    fn judge_admission(&mut self, node: usize) -> Held {
        let Node { id, claimed, .. } = self.nodes[node];
        let running = self.nodes[node].running().expect("it just acted");
        if running.replica.acceptor.admission().admitted() {
            admission::met_enough(id, running.greeted.len(), self.plan.quorum() as usize)?;
            let judged = admission::judge(id, claimed, running.recovered, running.most_witnessed)?;
            self.excused |= judged == admission::Judged::Undetectable;
        }
        Ok(())
    }

    // The network.

    fn send(&mut self, node: usize, messages: Vec<(NodeId, Message)>) -> Held {
        let own = self.nodes[node].id;
        let Some(running) = self.nodes[node].running() else { return Ok(()) };
        let (durable, life) = (running.durable, self.nodes[node].life);
        let mut packets: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for (to, message) in messages {
            if !message.may_travel() {
                return Err(Broken::new("messages", format!("{own} sends {to} what is not for peers: {message:?}")));
            }
            if let Message::Acceptor(message) = &message {
                self.proposes(message)?;
            }
            packets.entry(self.position(to)).or_default().push(message);
        }
        for (to, messages) in packets {
            if !self.links.is_up(node, to) {
                continue;
            }
            // Mostly one frame, as links do; sometimes one for each message, so that any of them may be lost alone.
            if messages.len() > 1 && self.dice.network.below(3) == 0 {
                for message in messages {
                    self.launch(Packet { from: node, life, to, durable, messages: vec![message] });
                }
            } else {
                self.launch(Packet { from: node, life, to, durable, messages });
            }
        }
        Ok(())
    }

    /// Looks at what a leader proposes, to its own acceptor or another.
    fn proposes(&mut self, message: &AcceptorMessage) -> Held {
        let AcceptorMessage::Accept { ballot, proposals, .. } = message else { return Ok(()) };
        proposals.iter().try_for_each(|(slot, value)| self.checks.agreement.on_propose(*ballot, *slot, value))
    }

    fn launch(&mut self, packet: Packet) {
        use super::faults::FaultKind;
        let Network { loss, duplicate, least_us, spread_us, late } = self.network;
        let dice = &mut self.dice.network;
        self.counts.packets += 1;
        self.script.to_nodes += packet.messages.len() as u64;
        let fate = dice.below(1000);
        if fate < loss {
            return self.counts.fault(FaultKind::Loss);
        }
        let mut arrival = |counts: &mut Counts| {
            let spread_us = dice.below(spread_us + 1);
            let mut takes_us = least_us + spread_us;
            if dice.below(1000) < late {
                takes_us *= 10;
                counts.fault(FaultKind::Delay);
            }
            if spread_us > 0 {
                counts.fault(FaultKind::Reorder);
            }
            takes_us
        };
        let takes_us = arrival(&mut self.counts);
        let again_us = (fate >= 1000 - duplicate).then(|| arrival(&mut self.counts) + 50);
        let (from, to) = (packet.from, packet.to);
        if let Some(again_us) = again_us {
            self.counts.fault(FaultKind::Duplicate);
            let at_us = self.links.arrival_us(from, to, self.now_us + again_us);
            self.queue.plan(at_us, Happening::Arrives(Box::new(packet.clone())));
        }
        let at_us = self.links.arrival_us(from, to, self.now_us + takes_us);
        self.queue.plan(at_us, Happening::Arrives(Box::new(packet)));
    }

    fn arrives(&mut self, packet: Packet) {
        let Packet { from, life, to, durable, messages } = packet;
        // What a process said before it ended can still be read, until its next life has shaken hands.
        let sender = &self.nodes[from];
        let same_life = sender.life == life && !matches!(sender.state, State::Down);
        if self.links.is_up(from, to) != same_life || !self.links.is_open(from, to) {
            return;
        }
        let held_us = self.links.arrival_us(from, to, self.now_us);
        if held_us > self.now_us {
            let packet = Packet { from, life, to, durable, messages };
            return self.queue.plan(held_us, Happening::Arrives(Box::new(packet)));
        }
        let (sender, own) = (self.nodes[from].id, self.nodes[to].id);
        for message in &messages {
            self.trace.arrives(self.now_us, from, to, message);
        }
        let Some(running) = self.nodes[to].running_mut() else { return };
        running.receive(own, (sender, u64::from(life)), durable, messages);
        self.wake_roles(to);
    }

    /// Nodes that are not linked try to shake hands; links that are dead are noticed.
    fn greets(&mut self) -> Held {
        for (one, other) in self.links.dead() {
            self.links.drop(one, other);
        }
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                self.greet(one, other)?;
            }
        }
        let every_us = if self.calm { 20_000 } else { 5_000 + self.dice.network.below(60_000) };
        self.queue.plan(self.now_us + every_us, Happening::Greets);
        Ok(())
    }

    fn greet(&mut self, one: usize, other: usize) -> Held {
        let open = |from, to| self.links.is_open(from, to);
        let runs =
            |node: usize| self.nodes[node].running().is_some() && self.nodes[node].paused_until_us <= self.now_us;
        if self.links.is_up(one, other) || !runs(one) || !runs(other) || !open(one, other) || !open(other, one) {
            return Ok(());
        }
        // As in the handshake: each looks at what the other says of itself.
        let admits = |peer: usize| self.founded.admits(&self.nodes[peer].hello(&self.founded));
        let known = |node: usize| self.nodes[node].incarnation.0 == u128::from(self.nodes[node].id.0);
        for node in [one, other] {
            match (admits(node), known(node)) {
                (Ok(()), false) => {
                    return Err(Broken::new(
                        "admission",
                        format!("{} comes with a wiped disk, and is let in", self.nodes[node].id),
                    ));
                }
                (Err(refused), true) => {
                    return Err(Broken::new(
                        "admission",
                        format!("{} is a member, and refused: {refused}", self.nodes[node].id),
                    ));
                }
                (Err(_), false) => return Ok(()),
                (Ok(()), true) => {}
            }
        }
        self.links.raise(one, other);
        self.trace.note(self.now_us, Lanes::Between(one, other), "greet", || "shake hands".into());
        let members = self.nodes.len();
        for (node, peer) in [(one, other), (other, one)] {
            let (own, id) = (self.nodes[node].id, self.nodes[peer].id);
            let boot = u64::from(self.nodes[node].life);
            let witnessed = self.nodes[peer].running().expect("runs").hearsay.before(own, boot);
            self.nodes[node].running_mut().expect("runs").greet(own, id, witnessed, members);
            self.wake_roles(node);
        }
        Ok(())
    }

    // Clients.

    /// The client looks around at that time, at the latest.
    pub(super) fn wake(&mut self, client: usize, at_us: u64) {
        let wakes_us = &mut self.clients[client].wakes_us;
        if wakes_us.is_none_or(|planned| planned > at_us) {
            *wakes_us = Some(at_us);
            self.queue.plan(at_us, Happening::Wakes { client });
        }
    }

    fn wakes(&mut self, index: usize) -> Held {
        if self.clients[index].wakes_us != Some(self.now_us) {
            return Ok(());
        }
        self.clients[index].wakes_us = None;
        if self.clients[index].connection.is_none() {
            self.connect(index, None);
        }
        self.clients[index].session.on_tick(self.now_us / 1000);
        if self.busy && self.now_us >= self.clients[index].thinks_until_us {
            self.begin(index);
        }
        self.drain(index)?;
        let client = &self.clients[index];
        let thinks_until_us = if self.busy { client.thinks_until_us.max(self.now_us + 1) } else { u64::MAX };
        let waits_us = if client.session.is_idle() { u64::MAX } else { self.now_us + TICK_MS * 1000 };
        let reconnects_us = if client.connection.is_none() { self.now_us + 20_000 } else { u64::MAX };
        let next_us = thinks_until_us.min(waits_us).min(reconnects_us);
        if next_us < u64::MAX {
            self.wake(index, next_us);
        }
        Ok(())
    }

    /// The client has something to ask.
    fn begin(&mut self, index: usize) {
        let World { clients, plan, history, now_us, .. } = self;
        let client = &mut clients[index];
        client.thinks_until_us = *now_us + 100 + client.dice.below(plan.clients.think_us);
        if client.pending.len() >= plan.clients.in_flight as usize || history.len() >= plan.clients.operations as usize
        {
            return;
        }
        let (key, call) = client.next_call(&plan.clients);
        let deadline_ms = *now_us / 1000 + plan.clients.deadline_ms;
        self.ask(index, key, call, deadline_ms);
    }

    /// The client's session takes a call.
    pub(super) fn ask(&mut self, index: usize, key: u32, call: Call, deadline_ms: u64) {
        let World { clients, history, checks, now_us, counts, .. } = self;
        let client = &mut clients[index];
        let operation = call.encode(key);
        if !call.is_read() {
            checks.proposed.on_operation(&operation);
            checks.exactly_once.on_sent(&call, &operation);
        }
        let request = client.begin(&call, operation, history.len(), deadline_ms);
        if call.is_read() {
            checks.fresh.on_read(index as u64, request.0);
        }
        counts.operations += 1;
        history.push(Operation {
            client: index as u32,
            key,
            call,
            invoked_us: *now_us,
            fate: Fate::Unknown,
            place: None,
        });
    }

    /// What the client's session wants done.
    fn drain(&mut self, index: usize) -> Held {
        let now_ms = self.now_us / 1000;
        for output in self.clients[index].session.drain(now_ms) {
            match output {
                Output::Send { frame, .. } => self.client_sends(index, frame),
                Output::Finished { key, outcome } => self.finished(index, key, &outcome)?,
                Output::Leave { node } => self.connect(index, Some(node.0)),
            }
        }
        Ok(())
    }

    fn finished(&mut self, index: usize, key: crate::client::session::RequestKey, outcome: &Outcome) -> Held {
        let World { clients, history, checks, counts, now_us, trace, .. } = self;
        let client = &mut clients[index];
        let Some((place, operation)) = client.pending.remove(&key) else {
            return Err(Broken::new("exactly_once", format!("client {index} hears twice of one request: {outcome:?}")));
        };
        trace.note(*now_us, Lanes::Outside, (index, key, "finished"), || {
            format!("client {index}: {}", words::outcome(&history[place], outcome))
        });
        let fate = client.fate(&history[place], outcome, *now_us);
        let fate = fate.map_err(|error| Broken::new("exactly_once", error))?;
        match (&fate, outcome) {
            (Fate::Done(..), Outcome::Done { place: stands, result, .. }) => {
                history[place].place = Some(*stands);
                checks.fresh.on_known(stands.slot);
                checks.exactly_once.on_done(operation, *stands, result.clone())?;
                counts.done += 1;
            }
            (Fate::Done(..), _) => counts.done += 1,
            (Fate::NotDone, _) => {
                if !history[place].call.is_read() {
                    checks.exactly_once.on_not_done(operation);
                }
                counts.not_done += 1;
            }
            (Fate::Unknown, _) => counts.unknown += 1,
        }
        history[place].fate = fate;
        Ok(())
    }

    /// The client turns to the node after that one, or to any.
    pub(super) fn connect(&mut self, index: usize, after: Option<usize>) {
        if let Some(older) = self.clients[index].connection.take() {
            self.hang_up(older);
        }
        let nodes = self.nodes.len();
        let node = self.clients[index].next_node(after, nodes);
        if self.nodes[node].running().is_none() || !self.links.reaches(index, node) {
            let at_us = self.now_us + 5_000;
            return self.wake(index, at_us);
        }
        let number = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(number, index);
        let life = self.nodes[node].life;
        let connection = Connection { number, node, life, there_us: self.now_us, here_us: self.now_us };
        let client = &mut self.clients[index];
        client.connection = Some(connection);
        client.session.on_connected(crate::client::session::NodeIndex(node), self.now_us / 1000);
        let at_us = self.now_us + 1;
        self.wake(index, at_us);
    }

    /// The node hears that a connection is gone.
    pub(super) fn hang_up(&mut self, connection: Connection) {
        let client = self.connections.remove(&connection.number);
        let is_heard = client.is_none_or(|client| self.links.reaches(client, connection.node));
        if is_heard && self.alive(connection.node, connection.life).is_some() {
            let own = self.nodes[connection.node].id;
            let running = self.nodes[connection.node].running_mut().expect("alive");
            running.post(Role::Executor, Letter::Message(own, detach(ClientId(connection.number))));
            self.wake_roles(connection.node);
        }
    }

    fn client_sends(&mut self, index: usize, frame: ClientFrame) {
        let takes_us = 30 + self.dice.clients.below(400);
        let now_us = self.now_us;
        if let ClientFrame::Commands(commands) = &frame {
            for token in commands.iter().filter_map(|command| match command {
                crate::paxos::Command::Open { token } => Some(*token),
                crate::paxos::Command::Apply { .. } => None,
            }) {
                self.checks.states.on_token(token);
                self.checks.proposed.on_token(token);
            }
        }
        let Some(connection) = &mut self.clients[index].connection else { return };
        connection.there_us = connection.there_us.max(now_us + takes_us) + 1;
        let (at_us, number) = (connection.there_us, connection.number);
        self.script.to_nodes += 1;
        if self.script.breaks_connection(&mut self.dice.clients) {
            return self.queue.plan(at_us, Happening::Breaks { client: index, connection: number });
        }
        let frame = Box::new(frame);
        self.queue.plan(at_us, Happening::ToNode { client: index, connection: number, frame });
    }

    /// A client's frame arrives at its node, as at a door.
    fn reaches_node(&mut self, index: usize, number: u64, frame: ClientFrame) {
        let Some(connection) = self.clients[index].connection.filter(|connection| connection.number == number) else {
            return;
        };
        if !self.links.reaches(index, connection.node) {
            let frame = Box::new(frame);
            return self.script.held.push(Happening::ToNode { client: index, connection: number, frame });
        }
        let Some(own) = self.alive(connection.node, connection.life) else { return };
        let client = ClientId(number);
        self.trace.note(self.now_us, Lanes::At(connection.node), number, || {
            format!("client {index} asks: {}", words::frame(&frame))
        });
        let running = self.nodes[connection.node].running_mut().expect("alive");
        let message: Message = match frame {
            ClientFrame::Attach(session) => ExecutorMessage::Attach { session, client }.into(),
            ClientFrame::AttachToken(token) => ExecutorMessage::AttachToken { token, client }.into(),
            ClientFrame::Commands(commands) => ProposerMessage::Submit { commands }.into(),
            ClientFrame::Reads { queries, local } => ExecutorMessage::Read { client, queries, local }.into(),
            ClientFrame::Inspect { .. } | ClientFrame::Connect { .. } => return,
        };
        running.post(Role::of(&message), Letter::Message(own, message));
        self.wake_roles(connection.node);
    }

    /// A node answers a client.
    fn reply(&mut self, node: usize, client: ClientId, replies: Vec<Reply>, executed_upto: Slot) -> Held {
        let Some(index) = self.connections.get(&client.0).copied() else { return Ok(()) };
        let own = self.nodes[node].id;
        for reply in &replies {
            if let Reply::Read { id, .. } = reply {
                self.checks.fresh.on_answer(own, index as u64, *id, executed_upto)?;
            }
        }
        let takes_us = 30 + self.dice.clients.below(400);
        let now_us = self.now_us;
        if let Some(connection) = &mut self.clients[index].connection
            && connection.number == client.0
        {
            connection.here_us = connection.here_us.max(now_us + takes_us) + 1;
            let at_us = connection.here_us;
            if self.script.breaks_connection(&mut self.dice.clients) {
                self.queue.plan(at_us, Happening::Breaks { client: index, connection: client.0 });
                return Ok(());
            }
            self.queue.plan(at_us, Happening::ToClient { client: index, connection: client.0, replies });
        }
        Ok(())
    }

    fn reaches_client(&mut self, index: usize, number: u64, replies: Vec<Reply>) -> Held {
        let now_ms = self.now_us / 1000;
        let client = &mut self.clients[index];
        let Some(home) = client.home().filter(|_| client.connection.is_some_and(|c| c.number == number)) else {
            return Ok(());
        };
        if !self.links.reaches(index, home.0) {
            self.script.held.push(Happening::ToClient { client: index, connection: number, replies });
            return Ok(());
        }
        client.session.on_replies(home, replies, now_ms);
        self.drain(index)
    }

    fn breaks(&mut self, index: usize, number: u64) {
        let client = &mut self.clients[index];
        let Some(connection) = client.connection.filter(|connection| connection.number == number) else { return };
        client.connection = None;
        client.session.on_disconnected(crate::client::session::NodeIndex(connection.node));
        self.hang_up(connection);
        let at_us = self.now_us + 1_000 + self.dice.clients.below(20_000);
        self.wake(index, at_us);
    }

    /// The client forgets everything and begins a new session.
    pub(super) fn begin_again(&mut self, index: usize) {
        self.counts.unknown += self.clients[index].begin_again().len() as u64;
        if let Some(connection) = self.clients[index].connection.take() {
            self.hang_up(connection);
        }
        let at_us = self.now_us + 1_000;
        self.wake(index, at_us);
    }

    // The end.

    /// The nodes that can still vote: whole disks, and neither broken nor wiped.
    fn voters(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.running().is_some_and(|running| running.replica.acceptor.admission().admitted()))
    }

    /// One node leads, and every node that may vote has executed everything that is chosen.
    pub(super) fn has_healed(&self) -> bool {
        let leading = |node: &Node| {
            node.running().is_some_and(|running| matches!(running.replica.proposer.phase(), Phase::Leading(_)))
        };
        let upto = self.checks.agreement.chosen().last_key_value().map_or(Slot::ZERO, |(slot, _)| *slot);
        self.nodes.iter().filter(|node| leading(node)).count() == 1
            && self.nodes.iter().all(|node| node.spoiled || node.running().is_some())
            && self.voters().count() >= self.plan.quorum() as usize
            && self
                .voters()
                .all(|node| node.running().is_some_and(|running| running.replica.executor.executed_upto() == upto))
    }

    /// How the nodes stand, for a failure's sentence.
    pub(super) fn standing(&self) -> String {
        let each = self.nodes.iter().map(|node| match &node.state {
            State::Down => format!("{} is down", node.id),
            State::Broken(trouble) => format!("{} is broken: {trouble}", node.id),
            State::Up(running) => {
                let Phase::Leading(_) = running.replica.proposer.phase() else {
                    return format!(
                        "{} follows {:?}, admitted {}, executed {}, chosen {}",
                        node.id,
                        running.replica.proposer.leader(),
                        running.replica.acceptor.admission().admitted(),
                        running.replica.executor.executed_upto(),
                        running.replica.learner.chosen_upto()
                    );
                };
                format!("{} leads, executed {}", node.id, running.replica.executor.executed_upto())
            }
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// The whole story: faults, the end of faults, the cluster heals by itself, serves, and everything is counted up.
    ///
    /// # Errors
    /// A property broke.
    pub fn live(&mut self) -> Held {
        self.run_until(self.plan.length_us, |_| false)?;
        if self.excused {
            return self.close();
        }
        self.calm_down()?;
        let began_us = self.now_us;
        let patience_us = liveness::patience_us(&self.plan.settings);
        let healed = self.run_until(began_us + patience_us, World::has_healed)?;
        liveness::check("the cluster heals", healed, || self.standing())?;
        self.counts.slowest_heal_us = self.now_us - began_us;
        // Whatever the clients still wait for is settled now, and something new is served.
        self.clients.iter_mut().for_each(|client| client.thinks_until_us = 0);
        let operations = self.history.len() as u32;
        self.plan.clients.operations = operations + PROBES * self.plan.clients.count;
        self.plan.clients.deadline_ms = 60_000;
        self.plan.clients.think_us = 1_000;
        self.busy = true;
        (0..self.clients.len()).for_each(|client| self.wake(client, self.now_us + 1));
        let wanted = self.plan.clients.operations as usize;
        let served = self.run_until(self.now_us + patience_us + DEADLINES_US, |world| {
            world.history.len() >= wanted && world.clients.iter().all(|client| client.pending.is_empty())
        })?;
        liveness::check("new operations are served", served, || self.standing())?;
        self.busy = false;
        let agreed = self.run_until(self.now_us + patience_us, World::has_healed)?;
        liveness::check("all nodes execute everything", agreed, || self.standing())?;
        self.close()
    }

    /// The faults end: links are whole, disks work, and whoever is down starts.
    pub(super) fn calm_down(&mut self) -> Held {
        self.calm = true;
        self.busy = false;
        self.links.mend_all();
        self.network = Network { loss: 0, duplicate: 0, late: 0, ..self.network };
        self.trace.note(self.now_us, Lanes::Outside, "calm", || "the faults end".into());
        for node in 0..self.nodes.len() {
            let Node { paused_until_us, stalled_until_us, slowness, disk, state, .. } = &mut self.nodes[node];
            (*paused_until_us, *stalled_until_us, *slowness) = (0, 0, 1);
            disk.heal();
            let down = matches!(state, State::Down);
            if down {
                self.start(node)?;
            }
            self.wake_roles(node);
        }
        Ok(())
    }

    /// Looks that are only worth while at the end.
    pub(super) fn close(&mut self) -> Held {
        self.counts.simulated_us = self.now_us;
        self.counts.excused = u64::from(self.excused);
        self.counts.chosen = self.checks.agreement.chosen().len() as u64;
        if self.excused {
            return Ok(());
        }
        self.checks.states.advance(self.checks.agreement.chosen())?;
        let places = self.checks.exactly_once.check(self.checks.agreement.chosen(), &self.checks.states)?;
        self.find_places(places);
        match linearizable::check(&self.history) {
            linearizable::Verdict::Linearizable => Ok(()),
            linearizable::Verdict::Undecided { .. } => {
                self.counts.undecided += 1;
                Ok(())
            }
            linearizable::Verdict::Broken { key, placed } => {
                let detail = format!("no order explains what clients were told of k{key}; {placed} operations fit");
                Err(Broken::new("linearizable", detail))
            }
        }
    }

    /// Where operations stand whose clients do not know. Removals are all alike: any that nobody knows of will do.
    fn find_places(&mut self, mut places: BTreeMap<Bytes, Vec<Place>>) {
        places.values_mut().for_each(|places| places.sort_by(|one, other| other.cmp(one)));
        let known: BTreeSet<Place> = self.history.iter().filter_map(|operation| operation.place).collect();
        for operation in self.history.iter_mut().filter(|operation| operation.fate == Fate::Unknown) {
            if let Some(places) = places.get_mut(&operation.call.encode(operation.key)) {
                places.retain(|place| !known.contains(place));
                operation.place = places.pop();
            }
        }
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A hash of everything that happened.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// A lane diagram of what happened within a time, in microseconds, if it was kept.
    pub fn diagram(&self, within_us: &RangeInclusive<u64>) -> String {
        self.trace.diagram(self.nodes.len(), within_us)
    }

    /// What clients asked and were told.
    pub fn history(&self) -> &[Operation] {
        &self.history
    }

    /// Which nodes' disks did more than disks should.
    pub(super) fn spoiled(&self) -> BTreeSet<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].spoiled).collect()
    }
}

/// How long a role's turn waits: mostly little, sometimes a while.
fn delay(dice: &mut Dice) -> u64 {
    if dice.below(64) == 0 { dice.below(3_000) } else { 1 + dice.below(40) }
}

/// How often time passes for the roles, in microseconds.
const TICK_US: u64 = 10_000;
/// After how long without work a disk seals, in microseconds.
const IDLE_US: u64 = 200_000;
/// How often a run looks whether it is done, in microseconds.
const LOOK_US: u64 = 5_000;
/// When the world begins by the wall clock, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How many new operations each client has once the cluster has healed.
const PROBES: u32 = 2;
/// What clients wait for may first have to run out, in microseconds.
const DEADLINES_US: u64 = 6_000_000;
