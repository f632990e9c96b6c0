//! Consensus alone, in this process: three nodes on one thread, no disk, 64-byte commands in lots.
//!
//! ```text
//! cargo run --release --bin consensus -- --lot 16 --rounds 5
//! ```
//!
//! Both systems get a lot from one client, pass messages until it is decided, and get the next. There is no disk: what
//! waits for one is said at once. `CHOSEN`: Synod chooses, and hands what is chosen to every node's executor in order, who
//! counts it; OmniPaxos decides, and every node reads what is decided. `EXECUTED`: Synod as it is used, with sessions, and
//! each command executed exactly once on every node (by a machine that does nothing) and answered; OmniPaxos has no such
//! thing. OmniPaxos' log is trimmed now and then.

use std::time::Instant;

use clap::Parser;
use omnipaxos::macros::Entry;
use omnipaxos::messages::Message as OmniMessage;
use omnipaxos::{ClusterConfig, OmniPaxos, OmniPaxosConfig, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;
use synod::paxos::proposer::Phase;
use synod::paxos::{
    AcceptorMessage, BatchNumber, Bytes, ClientId, Command, Configuration, Context, Effect, Effects, ExecutorMessage, Membership,
    Frozen, Message, NodeId, ProposerMessage, Recovered, Replica, Reply, Sequence, SessionId, Settings, Slot,
    StateMachine, Token, Whole,
};

#[derive(Parser)]
struct Args {
    /// Commands in a lot.
    #[arg(long, default_value_t = 16)]
    lot: usize,
    /// Commands in a round.
    #[arg(long, default_value_t = 1_000_000)]
    commands: usize,
    /// Rounds of each, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One of them alone, for a profiler.
    #[arg(long, value_parser = ["chosen", "executed", "omnipaxos"])]
    only: Option<String>,
}

fn main() {
    let Args { lot, commands, rounds, only } = Args::parse();
    match only.as_deref() {
        Some("chosen") => return println!("{:.0}", synod(commands, lot, false)),
        Some("executed") => return println!("{:.0}", synod(commands, lot, true)),
        Some(_) => return println!("{:.0}", omnipaxos(commands, lot)),
        None => {}
    }
    let mut ratios = Vec::new();
    println!("commands a second, {lot} in a lot, three nodes on one thread\n");
    println!("ROUND     CHOSEN   EXECUTED  OMNIPAXOS  RATIO (chosen)");
    for round in 1..=rounds {
        let (chosen, executed) = (synod(commands, lot, false), synod(commands, lot, true));
        let theirs = omnipaxos(commands, lot);
        ratios.push(chosen / theirs);
        println!("{round:>5} {chosen:>10.0} {executed:>10.0} {theirs:>10.0} {:>6.2}", chosen / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("\nmedian ratio: {:.2}", ratios[ratios.len() / 2]);
}

/// A machine that does nothing.
struct Nothing;

impl StateMachine for Nothing {
    fn apply(&mut self, _: &Context, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn query(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(Vec::new(), [0; 32])
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
    fn empty(&self) -> Nothing {
        Nothing
    }
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}

struct Node {
    id: NodeId,
    replica: Replica<Nothing>,
    effects: Effects,
    /// Empty between turns; kept for its room.
    taken: Effects,
    /// Whether it executes; else it counts what is chosen.
    executes: bool,
    chosen: usize,
    replies: Vec<Reply>,
}

impl Node {
    fn new(id: NodeId, executes: bool) -> Node {
        let mut effects = Effects::new();
        let settings = Settings { snapshot_slots: u64::MAX, snapshot_bytes: u64::MAX, ..Settings::default() };
        let recovered =
            Recovered { snapshot: None, records: vec![], trimmed_upto: Slot::ZERO, last_batch: BatchNumber(0), damage: Default::default(), company: Default::default() };
        let configuration = Configuration::numbered(3);
        let replica = Replica::recover(id, Membership::founded(configuration), &settings, Nothing, id.0.into(), recovered, &mut effects);

        Node { id, replica, effects, taken: Effects::new(), executes, chosen: 0, replies: Vec::new() }
    }

    fn take(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Executor(ExecutorMessage::Chosen { entries }) if !self.executes => {
                self.chosen += entries.iter().map(|(_, _, value)| value.entries().len()).sum::<usize>();
            }
            message => self.replica.on_message(from, message, &mut self.effects),
        }
    }

    /// The end of a lot: what the roles say to each other is the next one, until they have nothing to say. What they say
    /// to others goes into their inboxes. There is no disk: what waits for it is said at once.
    fn end_lot(&mut self, inboxes: &mut Inboxes) {
        let own = self.id;
        self.replica.on_lot_end(&mut self.effects);
        while !self.effects.is_empty() {
            let mut taken = std::mem::replace(&mut self.effects, std::mem::take(&mut self.taken));
            for effect in taken.drain() {
                match effect {
                    Effect::Send { to, message } => self.say(to, message, inboxes),
                    Effect::Sync { then, .. } => {
                        for (to, message) in then.into_iter().flat_map(|then| then.release(own)) {
                            self.say(to, message, inboxes);
                        }
                    }
                    Effect::Reply { reply, .. } => self.replies.push(reply),
                    _ => {}
                }
            }
            self.taken = taken;
            self.replica.on_lot_end(&mut self.effects);
        }
    }

    fn say(&mut self, to: NodeId, message: Message, inboxes: &mut Inboxes) {
        if to == self.id { self.take(to, message) } else { inboxes.of(to).push((self.id, message)) }
    }
}

/// What the nodes were sent and have not taken yet.
struct Inboxes([Vec<(NodeId, Message)>; 3]);

impl Inboxes {
    fn of(&mut self, node: NodeId) -> &mut Vec<(NodeId, Message)> {
        &mut self.0[node.0 as usize - 1]
    }
}

struct Cluster {
    nodes: Vec<Node>,
    inboxes: Inboxes,
    now_ms: u64,
}

impl Cluster {
    /// Three nodes that have met, of which one leads, and which.
    fn new(executes: bool) -> (Cluster, usize) {
        let nodes = (1..=3).map(|id| Node::new(NodeId(id), executes)).collect();
        let mut cluster = Cluster { nodes, inboxes: Inboxes(Default::default()), now_ms: 0 };
        for (id, peer) in (1..=3).flat_map(|id| (1..=3).map(move |peer| (NodeId(id), NodeId(peer)))) {
            if id != peer {
                let greeted = AcceptorMessage::Greeted { peer, witnessed: BatchNumber(0), durable: BatchNumber(0) };
                cluster.inboxes.of(id).push((id, greeted.into()));
            }
        }
        cluster.settle();
        loop {
            let leads = |node: &Node| matches!(node.replica.proposer.phase(), Phase::Leading(_));
            if let Some(leader) = cluster.nodes.iter().position(leads) {
                return (cluster, leader);
            }
            cluster.pass(10);
            assert!(cluster.now_ms < 10_000, "nobody leads");
        }
    }

    /// A node's client says this, and everybody goes on until nobody has anything to say.
    fn say(&mut self, node: usize, message: impl Into<Message>) {
        let id = self.nodes[node].id;
        self.inboxes.of(id).push((id, message.into()));
        self.settle();
    }

    fn settle(&mut self) {
        while self.inboxes.0.iter().any(|inbox| !inbox.is_empty()) {
            for (number, node) in self.nodes.iter_mut().enumerate() {
                let mut inbox = std::mem::take(&mut self.inboxes.0[number]);
                if !inbox.is_empty() {
                    inbox.drain(..).for_each(|(from, message)| node.take(from, message));
                    node.end_lot(&mut self.inboxes);
                }
                self.inboxes.0[number] = inbox;
            }
        }
    }

    /// Time passes, and what follows happens.
    fn pass(&mut self, more_ms: u64) {
        self.now_ms += more_ms;
        for node in &mut self.nodes {
            node.replica.on_tick(self.now_ms, 1_700_000_000_000 + self.now_ms, &mut node.effects);
            node.end_lot(&mut self.inboxes);
        }
        self.settle();
    }
}

/// Synod's commands a second.
fn synod(commands: usize, lot: usize, executes: bool) -> f64 {
    let (mut cluster, leader) = Cluster::new(executes);
    let session = SessionId(1);
    if executes {
        let (client, token) = (ClientId(7), Token(7));
        cluster.say(leader, ExecutorMessage::Attach { session, client });
        cluster.say(leader, ProposerMessage::Submit { commands: vec![Command::Open { token }] });
    }
    let operation = Bytes::from(vec![7; 64]);
    let began = Instant::now();
    let mut next = 1;
    while next <= commands as u64 {
        let done_below = Sequence(next);
        let lot = (next..next + lot as u64).map(|sequence| Command::Apply {
            session,
            sequence: Sequence(sequence),
            done_below,
            operation: operation.clone(),
        });
        let lot: Vec<Command> = lot.collect();
        let asked = lot.len();
        next += asked as u64;
        cluster.say(leader, ProposerMessage::Submit { commands: lot });
        let node = &mut cluster.nodes[leader];
        if executes {
            let done = node.replies.drain(..).filter(|reply| matches!(reply, Reply::Done { .. })).count();
            assert_eq!(done, asked, "every command of the lot is done");
        } else {
            assert_eq!(node.chosen as u64, next - 1, "every command of the lot is chosen");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    cluster.pass(100);
    let reached = |node: &Node| (node.chosen, node.replica.executor.executed_upto());
    let upto: Vec<(usize, Slot)> = cluster.nodes.iter().map(reached).collect();
    assert!(upto.iter().all(|reached| *reached == upto[0]), "all nodes get everything: {upto:?}");
    (next - 1) as f64 / seconds
}

/// An entry of OmniPaxos.
#[derive(Clone, Debug, Entry)]
struct Bytes64(#[allow(dead_code)] [u8; 64]);

/// OmniPaxos' entries a second.
fn omnipaxos(commands: usize, lot: usize) -> f64 {
    type Omni = OmniPaxos<Bytes64, MemoryStorage<Bytes64>>;
    let build = |pid| -> Omni {
        let cluster_config = ClusterConfig { configuration_id: 1, nodes: vec![1, 2, 3], ..ClusterConfig::default() };
        let server_config = ServerConfig { pid, election_tick_timeout: 5, ..ServerConfig::default() };
        OmniPaxosConfig { cluster_config, server_config }.build(MemoryStorage::default()).expect("a configuration")
    };
    let mut nodes: Vec<Omni> = (1..=3).map(build).collect();
    let mut buffer: Vec<OmniMessage<Bytes64>> = Vec::new();
    let mut settle = |nodes: &mut [Omni]| loop {
        for node in nodes.iter_mut() {
            node.take_outgoing_messages(&mut buffer);
        }
        if buffer.is_empty() {
            return;
        }
        for message in buffer.drain(..) {
            let to = message.get_receiver() as usize - 1;
            nodes[to].handle_incoming(message);
        }
    };
    let leading = |nodes: &[Omni]| {
        let leader = nodes[0].get_current_leader().filter(|(_, accepting)| *accepting)?.0;
        nodes.iter().all(|node| node.get_current_leader().is_some_and(|(of, _)| of == leader)).then_some(leader)
    };
    let mut ticks = 0;
    let leader = loop {
        nodes.iter_mut().for_each(OmniPaxos::tick);
        settle(&mut nodes);
        if let Some(leader) = leading(&nodes) {
            break leader as usize - 1;
        }
        ticks += 1;
        assert!(ticks < 1000, "nobody leads");
    };
    let mut read = [0; 3];
    let began = Instant::now();
    let mut next = 0;
    while next < commands {
        for sequence in next..next + lot {
            nodes[leader].append(Bytes64([sequence as u8; 64])).expect("no reconfiguration is under way");
        }
        next += lot;
        settle(&mut nodes);
        assert_eq!(nodes[leader].get_decided_idx(), next, "every entry of the lot is decided");
        for (node, read) in nodes.iter().zip(&mut read) {
            *read += node.read_decided_suffix(*read).map_or(0, |entries| entries.len());
        }
        if next.is_multiple_of(lot * 4096) {
            nodes[leader].trim(None).expect("all have decided it");
            settle(&mut nodes);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(read, [next; 3], "all nodes decide everything");
    next as f64 / seconds
}
