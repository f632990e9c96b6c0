//! A world: nodes, disks, a network and clients, in which everything that happens follows from a plan.
//!
//! Time is a number; what happens next is the earliest thing in a queue. Whatever is left to chance comes from dice of
//! the seed's, one for each concern, so that leaving out one fault changes as little as possible of the rest.

mod clients;
mod ending;
mod members;
mod network;
mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::check::states::States;
use super::check::{Broken, Checks, Held};
use super::client::Client;
use super::harm::Harmed;
use super::history::Operation;
use super::links::Links;
use super::node::{Node, Role, State};
use super::plan::{Network, Plan};
use super::queue::Queue;
use super::report::Counts;
use super::script::Script;
use super::trace::Trace;
use crate::net::identity::Founded;
use crate::net::wire::ClientFrame;
use crate::paxos::dice::{Dice, mix};
use crate::paxos::proposer::Phase;
use crate::paxos::{Ballot, BatchNumber, Configuration, Incarnation, Message, NodeId, Reply, Slot};
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
    /// Whom each fault that has not ended befell.
    pub(super) struck: BTreeMap<usize, usize>,
    /// Whose process a failing disk ends, for how long: the power stays on.
    pub(super) doomed: BTreeMap<usize, u64>,
    /// Chains that are in their second half.
    pub(super) lured: BTreeSet<usize>,
    /// Operations of which nobody knows what became of them, because their sessions expired.
    pub(super) expired: BTreeSet<usize>,
    /// Machines that changed by themselves.
    pub(super) harmed: Harmed,
    founded: Founded,
    connections: BTreeMap<u64, usize>,
    next_connection: u64,
    leader: Option<Ballot>,
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
        let nodes: Vec<Node> = configuration.members().iter().map(Node::of).collect();
        let founded = Founded::of("synod", "n1", configuration).expect("n1 is among the numbered");
        let founded = Founded { membership: plan.founders(), ..founded };
        let dice = |concern: u64| Dice::new(mix(plan.seed ^ mix(concern)));
        let mut dice = Chance { network: dice(1), turns: dice(2), disks: dice(3), starts: dice(4), clients: dice(5) };
        let mut clients: Vec<Client> =
            (0..plan.clients.count).map(|index| Client::new(index, Dice::new(dice.clients.roll()))).collect();
        if plan.churns() {
            clients.push(Client::operator(plan.clients.count, Dice::new(dice.clients.roll())));
        }
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
            struck: BTreeMap::new(),
            doomed: BTreeMap::new(),
            harmed: Harmed::default(),
            lured: BTreeSet::new(),
            expired: BTreeSet::new(),
            founded,
            connections: BTreeMap::new(),
            next_connection: 1,
            leader: None,
            plan: plan.clone(),
        };
        world.checks.states = States::new(plan.founders());
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
                    if running.meeting.is_some() {
                        running.greet_all(own);
                        self.wake_roles(node);
                    }
                }
                Ok(())
            }
            Happening::Greets => self.greets(),
            Happening::Starts { node, life } => {
                if self.nodes[node].life != life || !matches!(self.nodes[node].state, State::Down) {
                    return Ok(());
                }
                if self.is_enrolled(node) {
                    self.start(node)?;
                } else if !self.nodes[node].gone {
                    self.queue.plan(self.now_us + ENROLS_US, Happening::Starts { node, life });
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

    /// The last slot that is chosen.
    fn chosen_upto(&self) -> Slot {
        self.checks.agreement.chosen().last_key_value().map_or(Slot::ZERO, |(slot, _)| *slot)
    }

    /// Whether a node believes that it leads.
    pub(super) fn leads(&self, node: usize) -> bool {
        self.nodes[node].running().is_some_and(|running| matches!(running.replica.proposer.phase(), Phase::Leading(_)))
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
}

/// How often a newcomer looks for a member that knows of it, in microseconds.
const ENROLS_US: u64 = 5_000;
/// How often a run looks whether it is done, in microseconds.
const LOOK_US: u64 = 5_000;
