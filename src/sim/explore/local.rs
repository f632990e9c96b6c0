//! One node of the model: the real roles, and a list of records that stands for its disk.
//!
//! A step hands the node one message, or lets a timer fire, and then lets it run until nothing is left to do: its local
//! messages, the ends of its lots, and its disk, which is slower than everything else. Or until its disk has done a given
//! number of syncs: then the power fails, and the node starts again from what was synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::paxos::dice::mix;
use crate::paxos::message::AcceptorMessage;
use crate::paxos::{
    Ballot, BatchNumber, Bytes, ClientId, Command, Configuration, Effect, Effects, ExecutorMessage, LearnerMessage,
    Membership, Message, NodeId, ProposerMessage, Record, Recovered, Replica, Reply, SessionId, Settings, Slot, Then,
    Token, Value,
};

use super::notes::Notes;

/// A mistake that is put in on purpose, to show that the search finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// None: the real thing.
    #[default]
    None,
    /// A crash loses everything on the disk.
    LosesDisk,
    /// A crash loses the votes.
    LosesVotes,
    /// A crash loses the promises.
    LosesPromises,
    /// What waits for a sync is said before it.
    SaysFirst,
    /// Every node takes itself for a quorum.
    QuorumOfOne,
}

/// What the nodes of a model have in common.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How many there are.
    pub nodes: u32,
    /// How many clients have a session.
    pub clients: u8,
    /// Whether anybody may crash: then what the disk holds is part of the state.
    pub crashes: bool,
    /// The mistake.
    pub flaw: Flaw,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its number.
    pub id: NodeId,
    /// How often it has started.
    life: u32,
    /// Its roles.
    pub replica: Replica<Notes>,
    /// Records that are durable.
    durable: Vec<Record>,
    /// Records that wait for the next sync.
    lazy: Vec<Record>,
    /// The highest ballot that it told anybody it promised, by a vote too.
    promised: Ballot,
    /// The votes that it told anybody of.
    voted: BTreeSet<(Slot, Ballot)>,
    /// What its executor was told to be chosen, in this life.
    believed: BTreeMap<Slot, Value>,
}

/// What a node is handed.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer's message.
    Message(NodeId, Message),
    /// A client's command.
    Submit(Command),
    /// A client's read, and its number.
    Read(ClientId, u64, Bytes),
    /// The proposer's time has come, whatever it waits for.
    Tick,
    /// The learner's and the executor's time has come.
    Remind,
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Messages to peers.
    pub sent: Vec<(NodeId, Message)>,
    /// Replies to clients.
    pub replies: Vec<(ClientId, Reply)>,
    /// How many syncs wrote something.
    pub syncs: u32,
}

enum DiskWork {
    Sync(Vec<Record>, Vec<Then>),
    Append(Vec<Record>),
    Supply(NodeId, Slot, Slot),
}

impl Local {
    /// A node of a cluster that has opened the clients' sessions in slot 1 and was then restarted as a whole.
    pub fn new(id: NodeId, cluster: &Cluster) -> (Local, Outcome) {
        let ballot = Ballot::new(1, NodeId(1));
        let opens: Vec<Command> =
            (1..=cluster.clients).map(|client| Command::Open { token: Token(u128::from(client)) }).collect();
        let value = Value::batch(Default::default(), &opens);
        let mut durable = Vec::new();
        if id == ballot.node {
            durable.push(Record::Reserved { ballot });
        }
        durable.push(Record::Promise { ballot });
        durable.push(Record::Vote { slot: Slot(1), ballot, value });
        durable.push(Record::ChosenUpto { ballot, upto: Slot(1) });
        Local::start(id, 1, durable, cluster)
    }

    /// Starts a node from what its disk holds: it meets every peer, and every client connects.
    fn start(id: NodeId, life: u32, durable: Vec<Record>, cluster: &Cluster) -> (Local, Outcome) {
        let recovered = Recovered {
            snapshot: None,
            records: durable.clone(),
            trimmed_upto: Slot::ZERO,
            last_batch: BatchNumber(0),
            damage: Default::default(),
            company: Default::default(),
        };
        let mut effects = Effects::new();
        let seed = mix(u64::from(id.0) << 32 | u64::from(life));
        let believes = match cluster.flaw {
            Flaw::QuorumOfOne => Configuration::new(
                Configuration::numbered(cluster.nodes)
                    .members()
                    .iter()
                    .filter(|member| member.id == id)
                    .cloned()
                    .collect(),
            )
            .expect("one member"),
            _ => Configuration::numbered(cluster.nodes),
        };
        let all = Configuration::numbered(cluster.nodes);
        let replica = Replica::recover(
            id,
            Membership::founded(believes),
            &settings(),
            Notes::default(),
            seed,
            recovered,
            &mut effects,
        );
        for peer in all.nodes().filter(|node| *node != id) {
            let none = BatchNumber(0);
            effects.send(id, AcceptorMessage::Greeted { peer, witnessed: none, durable: none });
        }
        for client in 1..=u64::from(cluster.clients) {
            effects.send(id, ExecutorMessage::Attach { session: SessionId(client), client: ClientId(client) });
        }
        let mut local = Local {
            id,
            life,
            replica,
            durable,
            lazy: Vec::new(),
            promised: Ballot::ZERO,
            voted: BTreeSet::new(),
            believed: BTreeMap::new(),
        };
        let mut outcome = local.run(effects, None, cluster);
        if cluster.nodes == 1 {
            // Whoever is alone hears from its executor that it has come to what its journal knew.
            let mut effects = Effects::new();
            local.replica.executor.on_tick(NOW_MS, &mut effects);
            let more = local.run(effects, None, cluster);
            outcome.replies.extend(more.replies);
            outcome.syncs += more.syncs;
        }
        (local, outcome)
    }

    /// Hands the node something. With `cut`, the power fails as it begins that sync, counted from 0, and it starts again.
    pub fn step(&mut self, input: Input, cut: Option<u32>, cluster: &Cluster) -> Outcome {
        let mut effects = Effects::new();
        match input {
            Input::Message(from, message) => self.replica.on_message(from, message, &mut effects),
            Input::Submit(command) => self.replica.proposer.on_submit(vec![command], &mut effects),
            Input::Read(client, id, question) => {
                self.replica.executor.on_read(client, vec![(id, question)], false, &mut effects);
            }
            Input::Tick => self.replica.proposer.on_tick(NOW_MS, NOW_MS, &mut effects),
            Input::Remind => {
                self.replica.learner.on_tick(NOW_MS, &mut effects);
                self.replica.executor.on_tick(NOW_MS, &mut effects);
            }
        }
        let mut outcome = self.run(effects, cut, cluster);
        if cut.is_some() {
            outcome.sent.extend(self.crash(cluster).sent);
        }
        outcome
    }

    /// The power fails, and comes back.
    pub fn crash(&mut self, cluster: &Cluster) -> Outcome {
        let mut durable = std::mem::take(&mut self.durable);
        match cluster.flaw {
            Flaw::LosesDisk => durable.clear(),
            Flaw::LosesVotes => durable.retain(|record| !matches!(record, Record::Vote { .. })),
            Flaw::LosesPromises => durable.retain(|record| !matches!(record, Record::Promise { .. })),
            Flaw::None | Flaw::SaysFirst | Flaw::QuorumOfOne => {}
        }
        let (restarted, outcome) = Local::start(self.id, self.life + 1, durable, cluster);
        let before = std::mem::replace(self, restarted);
        self.promised = self.promised.max(before.promised);
        self.voted.extend(before.voted);
        outcome
    }

    /// Runs until nothing is left to do, or until the disk would begin sync number `cut`.
    fn run(&mut self, mut effects: Effects, cut: Option<u32>, cluster: &Cluster) -> Outcome {
        let mut outcome = Outcome::default();
        let mut mail: VecDeque<(NodeId, Message)> = VecDeque::new();
        let mut disk: VecDeque<DiskWork> = VecDeque::new();
        loop {
            for effect in effects.drain() {
                match effect {
                    Effect::Send { to, message } if to == self.id => mail.push_back((to, message)),
                    Effect::Send { to, message } => outcome.sent.push((to, message)),
                    Effect::Sync { records, then } if cluster.flaw == Flaw::SaysFirst => {
                        disk.push_back(DiskWork::Sync(records, Vec::new()));
                        self.say(then, &mut mail, &mut outcome);
                    }
                    Effect::Sync { records, then } => disk.push_back(DiskWork::Sync(records, then)),
                    Effect::Append { records } => disk.push_back(DiskWork::Append(records)),
                    Effect::Flush { .. } => unreachable!("the members stay"),
                    Effect::SupplySlots { to, first, upto } => disk.push_back(DiskWork::Supply(to, first, upto)),
                    Effect::Reply { client, reply } => outcome.replies.push((client, reply)),
                    Effect::Note(_) | Effect::ExecutedEverywhere { .. } | Effect::Members(_) => {}
                    Effect::SupplySnapshot { .. }
                    | Effect::KeepPart(_)
                    | Effect::TakeSnapshot { .. }
                    | Effect::Proven { .. } => {
                        unreachable!("no snapshot is ever due")
                    }
                }
            }
            if let Some((from, message)) = mail.pop_front() {
                if let Message::Executor(ExecutorMessage::Chosen { entries }) = &message {
                    self.believed.extend(entries.iter().map(|(slot, _, value)| (*slot, value.clone())));
                }
                self.replica.on_message(from, message, &mut effects);
                continue;
            }
            self.replica.on_lot_end(&mut effects);
            if !effects.is_empty() {
                continue;
            }
            match disk.pop_front() {
                None => return outcome,
                Some(DiskWork::Append(records)) => self.lazy.extend(records),
                Some(DiskWork::Supply(to, first, upto)) => {
                    let entries: Vec<_> = first.previous().above(upto).map_while(|slot| self.told_of(slot)).collect();
                    outcome.sent.push((to, LearnerMessage::Chosen { entries, chosen_upto: upto }.into()));
                }
                Some(DiskWork::Sync(records, then)) => {
                    if !records.is_empty() {
                        if cut == Some(outcome.syncs) {
                            return outcome;
                        }
                        outcome.syncs += 1;
                        self.durable.append(&mut self.lazy);
                        self.durable.extend(records);
                    }
                    self.say(then, &mut mail, &mut outcome);
                }
            }
        }
    }

    fn say(&mut self, then: Vec<Then>, mail: &mut VecDeque<(NodeId, Message)>, outcome: &mut Outcome) {
        for then in then {
            match &then {
                Then::Promise(_, promise) => self.promised = self.promised.max(promise.ballot),
                Then::Accepted(_, accepted) => {
                    self.promised = self.promised.max(accepted.ballot);
                    self.voted.extend(accepted.slots.iter().map(|slot| (*slot, accepted.ballot)));
                }
                Then::Prepare(..) | Then::Fence(_) | Then::Fetched(..) | Then::Recorded(_) => {}
            }
            for (to, message) in then.release(self.id) {
                if to == self.id { mail.push_back((to, message)) } else { outcome.sent.push((to, message)) }
            }
        }
    }

    /// What the journal says of a slot that is known to be chosen: a `Chosen` record, or the vote with the highest
    /// ballot.
    fn told_of(&self, wanted: Slot) -> Option<(Slot, Ballot, Value)> {
        let told = self.durable.iter().chain(&self.lazy).filter_map(|record| match record {
            Record::Vote { slot, ballot, value } if *slot == wanted => Some((false, *ballot, value)),
            Record::Chosen { slot, ballot, value } if *slot == wanted => Some((true, *ballot, value)),
            _ => None,
        });
        told.max_by_key(|(known, ballot, _)| (*known, *ballot))
            .map(|(_, ballot, value)| (wanted, ballot, value.clone()))
    }

    /// Every vote that was ever durable here, in order.
    pub fn votes(&self) -> BTreeSet<(Slot, Ballot, &Value)> {
        let vote = |record| match record {
            &Record::Vote { slot, ballot, ref value } => Some((slot, ballot, value)),
            _ => None,
        };
        self.durable.iter().filter_map(vote).collect()
    }

    /// What its executor was told to be chosen, in this life.
    pub fn believed(&self) -> &BTreeMap<Slot, Value> {
        &self.believed
    }

    /// What must hold of a node alone: its watermarks, and that it knows what it told.
    ///
    /// # Errors
    /// A sentence that says what does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.replica.check(self.replica.executor.snapshot_upto())?;
        let acceptor = &self.replica.acceptor;
        if acceptor.promised() < self.promised {
            return Err(format!("it told of a promise of {}, and now holds {}", self.promised, acceptor.promised()));
        }
        let durable: BTreeSet<(Slot, Ballot)> = self.votes().iter().map(|(slot, ballot, _)| (*slot, *ballot)).collect();
        if let Some((slot, ballot)) = self.voted.difference(&durable).next() {
            return Err(format!("it told of a vote in slot {slot}, ballot {ballot}, which is not on its disk"));
        }
        for (slot, ballot) in &self.voted {
            let held = acceptor.votes().get(slot).is_some_and(|(held, _)| held >= ballot);
            if *slot > acceptor.settled_upto() && !held {
                return Err(format!("it told of a vote in slot {slot}, ballot {ballot}, which its acceptor forgot"));
            }
        }
        Ok(())
    }

    /// Folds all that its future, and the checks, depend on. The disk counts by what it can be asked for and by what a
    /// restart makes of it, not by the order of its records; without crashes, a restart does not count.
    pub fn hash_with(&self, cluster: &Cluster, hasher: &mut impl Hasher) {
        (self.id, self.life, &self.replica).hash(hasher);
        self.votes().hash(hasher);
        (self.promised, &self.voted, &self.believed).hash(hasher);
        for slot in Slot::ZERO.above(self.replica.learner.chosen_upto()) {
            self.told_of(slot).map(|(_, ballot, _)| ballot).hash(hasher);
        }
        if cluster.crashes {
            self.lazy.hash(hasher);
            let mut restarted = self.clone();
            restarted.crash(cluster);
            (&restarted.replica, &restarted.believed).hash(hasher);
        }
    }
}

/// Every wait is zero, and time stands still: whatever waits for a time is always due, and nothing happens before a step
/// says so. A leader's tick makes it step down. No snapshot is ever due.
fn settings() -> Settings {
    Settings {
        window: 8,
        batch: 1,
        heartbeat_ms: 0,
        election_ms: 0,
        resend_ms: 0,
        disk_stall_ms: 0,
        snapshot_slots: u64::MAX,
        snapshot_bytes: u64::MAX,
        mark_ms: u64::MAX,
    }
}

/// The one moment.
const NOW_MS: u64 = 0;

/// Whether this is something that the proposer's canvass says or hears.
pub fn is_canvass(message: &Message) -> bool {
    matches!(
        message,
        Message::Proposer(ProposerMessage::Canvass { .. }) | Message::Proposer(ProposerMessage::Canvassed { .. })
    )
}
