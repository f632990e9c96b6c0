//! One simulated node: the real roles, scribe and keeper, with mailboxes and a disk that the world steps one by one.
//!
//! What the actors do between the roles is done here by the same code ([`Dispatch`], [`Scribe`], [`Keeper`],
//! [`Hearsay`]); only threads, sockets and clocks are missing. An address is (node, role): which role of which node takes
//! its mail next, and when a disk does its work, is the world's choice.

use std::collections::{BTreeSet, VecDeque};

use super::check::durable;
use crate::machine::Composite;
use crate::net::identity::{Founded, NodeHello};
use crate::paxos::dispatch::{DiskWork, Dispatch, Mail, SnapshotWork};
use crate::paxos::hearsay::Hearsay;
use crate::paxos::meeting::{MEETING_MS, Meeting};
use crate::paxos::{
    AcceptorMessage, BatchNumber, ClientId, Effect, Effects, ExecutorMessage, Incarnation, Member, Membership, Message,
    NodeId, Replica, Reply, Settings, Slot, State as Replicated,
};
use crate::storage::keeper::Meanwhile;
use crate::storage::scribe::Listener;
use crate::storage::{self, Held, Journal, Keep, Keeper, Kept, MemoryDisk, Scribe, Snapshots};

/// A role's mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The proposer's.
    Proposer,
    /// The acceptor's.
    Acceptor,
    /// The learner's.
    Learner,
    /// The executor's.
    Executor,
}

impl Role {
    /// All four.
    pub const ALL: [Role; 4] = [Role::Proposer, Role::Acceptor, Role::Learner, Role::Executor];

    /// The role that takes this message.
    pub fn of(message: &Message) -> Role {
        match message {
            Message::Proposer(_) => Role::Proposer,
            Message::Acceptor(_) => Role::Acceptor,
            Message::Learner(_) => Role::Learner,
            Message::Executor(_) => Role::Executor,
        }
    }
}

/// What lies in a mailbox.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A message, and whose.
    Message(NodeId, Message),
    /// Time has passed: the node's clock and the wall clock, in milliseconds.
    Tick(u64, u64),
    /// For the executor's driver: what a peer's snapshot held.
    Install(Box<Replicated<Composite>>),
}

/// A node, running or not. Its disk outlives it.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its disk.
    pub disk: MemoryDisk,
    /// Its name.
    pub name: String,
    /// Its data folder's.
    pub incarnation: Incarnation,
    /// The same, as the log has it: a wiped disk has another one.
    pub folder: Incarnation,
    /// It is not needed any more, or its disk is lost: it never starts again.
    pub gone: bool,
    /// Counts its starts.
    pub life: u32,
    /// How it stands.
    pub state: State,
    /// Its wall clock is so far off, in milliseconds.
    pub wall_off_ms: i64,
    /// It stands still until then.
    pub paused_until_us: u64,
    /// Its disk does nothing until then.
    pub stalled_until_us: u64,
    /// Its disk takes so many times as long.
    pub slowness: u64,
    /// The highest batch that it ever let a peer hear of.
    pub claimed: BatchNumber,
    /// A disk of its that did more than disks should.
    pub spoiled: bool,
    /// What it knows of a loss.
    pub loss: Loss,
    /// It has been admitted before.
    pub was_admitted: bool,
    /// It has shaken hands with another node.
    pub has_met: bool,
}

/// What a node knows of a loss of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing for certain.
    Unknown,
    /// It was told of one.
    Told,
    /// It was, and has written that down.
    Recorded,
}

/// How a node stands.
#[derive(Debug)]
pub enum State {
    /// It runs.
    Up(Box<Running>),
    /// It will be started.
    Down,
    /// Its journal cannot be used: it runs, says why, and does not vote.
    Broken(String),
}

/// A running node.
#[derive(Debug)]
pub struct Running {
    /// Who the members are, as far as it knows, for handshakes.
    pub founded: Founded,
    /// Its roles.
    pub replica: Replica<Composite>,
    /// Their mailboxes, in the order of [`Role`].
    pub mail: [VecDeque<Letter>; 4],
    /// Whether a turn of that role is on its way.
    pub turn_due: [bool; 4],
    /// What waits for the disk.
    pub disk_queue: Vec<DiskWork>,
    /// Whether the disk's turn is on its way.
    pub disk_due: bool,
    /// The journal's writer.
    pub scribe: Scribe<MemoryDisk>,
    /// The snapshots' writer.
    pub keeper: Keeper<MemoryDisk, Composite>,
    /// What waits for the keeper.
    pub keeping: VecDeque<Keep>,
    /// Whether the keeper's turn is on its way.
    pub keep_due: bool,
    /// What it has seen of others' journals.
    pub hearsay: Hearsay,
    /// What peers hear of its journal.
    pub durable: BatchNumber,
    /// When it started, in microseconds.
    pub started_us: u64,
    /// Its own clock is so far ahead of that, in milliseconds.
    pub ahead_ms: u64,
    /// Handshakes that its acceptor has not been told of; none once it was told of the first.
    pub meeting: Option<Meeting>,
    /// Whom its acceptor was told of before it was admitted, itself included. What still lies in the mailbox does not
    /// count: the node has not met it yet.
    pub greeted: BTreeSet<NodeId>,
    /// The most that any of them had seen of its journal.
    pub most_witnessed: BatchNumber,
    /// Where its journal ended, of what peers may have heard.
    pub recovered: BatchNumber,
}

/// What one turn of a disk did.
#[derive(Debug, Default)]
pub struct DiskTurn {
    /// What may be said now.
    pub said: Vec<(NodeId, Message)>,
    /// Something was said before what it claims was durable.
    pub premature: bool,
    /// The disk did not do what it was asked: the node stops.
    pub error: Option<String>,
    /// Slots that could not be read back.
    pub unreadable: u64,
    /// What the keeper is to do.
    pub keep: Vec<Keep>,
    /// Who the members are, now that it is written down.
    pub members: Option<Box<Membership>>,
    /// Batches that were written.
    pub batches: u64,
}

impl Node {
    /// A node that has not started, with an empty disk.
    pub fn new(id: NodeId) -> Node {
        Node {
            id,
            disk: MemoryDisk::new(),
            name: format!("n{}", id.0),
            incarnation: Incarnation(u128::from(id.0)),
            folder: Incarnation(u128::from(id.0)),
            gone: false,
            life: 0,
            state: State::Down,
            wall_off_ms: 0,
            paused_until_us: 0,
            stalled_until_us: 0,
            slowness: 1,
            claimed: BatchNumber(0),
            spoiled: false,
            loss: Loss::Unknown,
            was_admitted: false,
            has_met: false,
        }
    }

    /// Whom the log has made a member, with an empty disk.
    pub fn of(member: &Member) -> Node {
        let Member { id, name, incarnation } = member.clone();
        Node { name, incarnation, folder: incarnation, ..Node::new(id) }
    }

    /// Its disk does more than disks should; what it has written down may be gone.
    pub fn spoil(&mut self) {
        (self.spoiled, self.loss) = (true, Loss::Unknown);
    }

    /// The node, if it runs.
    pub fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Up(running) => Some(running),
            State::Down | State::Broken(_) => None,
        }
    }

    /// The node, if it runs.
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Up(running) => Some(running),
            State::Down | State::Broken(_) => None,
        }
    }

    /// Starts it from what its disk holds. Gives the effects of its recovery.
    ///
    /// # Errors
    /// The journal cannot be used, or the disk did not do what it was asked.
    pub fn start(
        &mut self,
        founded: &Founded,
        settings: &Settings,
        journal: storage::Settings,
        seed: u64,
        now_us: u64,
    ) -> Result<Dispatch, String> {
        self.life += 1;
        let id = self.id;
        let machine = Composite::default();
        let mut held = Held::open(&self.disk, journal, seed, &machine, Vec::new())?;
        held.found("synod", id, &founded.founders).map_err(|error| error.to_string())?;
        let (recovered, journal) = held.into_parts();
        let durable = recovered.last_batch;
        let company = recovered.company.clone();
        let mut effects = Effects::new();
        let replica =
            Replica::recover(id, founded.membership.clone(), settings, machine, seed, recovered, &mut effects);
        replica
            .check(replica.executor.snapshot_upto())
            .map_err(|broken| format!("the journal contradicts itself: {broken}"))?;
        let mut hearsay = Hearsay::new();
        for (node, batch) in replica.acceptor.admission().witnessed() {
            hearsay.remember(*node, *batch);
        }
        let snapshots = Snapshots::new(self.disk.clone());
        let membership = company.newest(replica.executor.membership()).clone();
        self.state = State::Up(Box::new(Running {
            founded: Founded { node: id, membership, ..founded.clone() },
            replica,
            mail: Default::default(),
            turn_due: [false; 4],
            disk_queue: Vec::new(),
            disk_due: false,
            scribe: Scribe::new(id, journal, snapshots),
            keeper: Keeper::new(id, self.disk.clone(), Composite::default()),
            keeping: VecDeque::new(),
            keep_due: false,
            hearsay,
            durable,
            started_us: now_us,
            ahead_ms: 0,
            meeting: Some(Meeting::new()),
            most_witnessed: BatchNumber(0),
            greeted: BTreeSet::from([id]),
            recovered: durable,
        }));
        Ok(Dispatch::of(id, &mut effects))
    }

    /// What it says of itself in a handshake. A wiped disk does not say of which cluster it was.
    pub fn hello(&self) -> NodeHello {
        let running = self.running().filter(|_| self.incarnation == self.folder);
        NodeHello {
            name: self.name.clone(),
            incarnation: self.incarnation,
            boot: u64::from(self.life),
            address: format!("127.0.0.1:{}", 7100 + self.id.0),
            founding: Vec::new(),
            identity: running.map(|running| running.founded.identity()),
        }
    }
}

impl Running {
    /// The node's clock, in milliseconds.
    pub fn now_ms(&self, now_us: u64) -> u64 {
        (now_us - self.started_us) / 1000 + self.ahead_ms
    }

    /// A role takes at most `most` letters as one lot. `seen` is shown each message before the role; `answers` each reply
    /// after its letter, with what was executed then.
    pub fn turn(
        &mut self,
        own: NodeId,
        role: Role,
        most: usize,
        mut seen: impl FnMut(NodeId, &Message),
        mut answers: impl FnMut(ClientId, &Reply, Slot),
    ) -> Dispatch {
        let mut effects = Effects::new();
        let mut known = 0;
        let mut look = |effects: &Effects, replica: &Replica<Composite>| {
            for effect in &effects.as_slice()[known..] {
                if let Effect::Reply { client, reply } = effect {
                    answers(*client, reply, replica.executor.executed_upto());
                }
            }
            known = effects.as_slice().len();
        };
        let Running { replica, mail, keeping, greeted, most_witnessed, .. } = self;
        let mailbox = &mut mail[role as usize];
        for letter in mailbox.drain(..most.min(mailbox.len())) {
            match letter {
                Letter::Message(from, message) => {
                    seen(from, &message);
                    if let Message::Acceptor(AcceptorMessage::Greeted { peer, witnessed, .. }) = &message
                        && !replica.acceptor.admission().admitted()
                    {
                        greeted.insert(*peer);
                        *most_witnessed = (*most_witnessed).max(*witnessed);
                    }
                    replica.on_message(from, message, &mut effects);
                }
                Letter::Tick(now_ms, wall_ms) => match role {
                    Role::Proposer => replica.proposer.on_tick(now_ms, wall_ms, &mut effects),
                    Role::Acceptor => replica.acceptor.on_tick(now_ms, &mut effects),
                    Role::Learner => replica.learner.on_tick(now_ms, &mut effects),
                    Role::Executor => replica.executor.on_tick(now_ms, &mut effects),
                },
                Letter::Install(state) => {
                    let upto = state.upto;
                    let replaced = Box::new(replica.executor.install(*state, &mut effects));
                    keeping.push_back(Keep::Installed { upto, replaced });
                }
            }
            keeping.extend(replica.executor.take_images().into_iter().map(|taken| Keep::Own(Box::new(taken))));
            look(&effects, replica);
        }
        match role {
            Role::Proposer => replica.proposer.on_lot_end(&mut effects),
            Role::Executor => replica.executor.on_lot_end(&mut effects),
            Role::Acceptor | Role::Learner => {}
        }
        look(&effects, replica);
        Dispatch::of(own, &mut effects)
    }

    /// Puts mail into the mailboxes.
    pub fn deliver(&mut self, mail: Mail) {
        let Mail { acceptor, learner, proposer, executor } = mail;
        let put = |mailbox: &mut VecDeque<Letter>, from, message| mailbox.push_back(Letter::Message(from, message));
        acceptor
            .into_iter()
            .for_each(|(from, message)| put(&mut self.mail[Role::Acceptor as usize], from, message.into()));
        learner
            .into_iter()
            .for_each(|(from, message)| put(&mut self.mail[Role::Learner as usize], from, message.into()));
        proposer
            .into_iter()
            .for_each(|(from, message)| put(&mut self.mail[Role::Proposer as usize], from, message.into()));
        executor
            .into_iter()
            .for_each(|(from, message)| put(&mut self.mail[Role::Executor as usize], from, message.into()));
    }

    /// Puts a letter into a mailbox.
    pub fn post(&mut self, role: Role, letter: Letter) {
        self.mail[role as usize].push_back(letter);
    }

    /// A packet arrives, as at the router.
    pub fn receive(&mut self, own: NodeId, (from, boot): (NodeId, u64), durable: BatchNumber, messages: Vec<Message>) {
        if let Some(witnessed) = self.hearsay.hear(from, boot, durable) {
            self.post(Role::Acceptor, Letter::Message(own, witnessed.into()));
        }
        for mut message in messages {
            if let Message::Acceptor(AcceptorMessage::Hearsay { batches }) = &mut message {
                self.hearsay.heed(own, batches);
            }
            self.post(Role::of(&message), Letter::Message(from, message));
        }
    }

    /// A handshake with a peer that has seen so much of this node's journal, as at the host.
    pub fn greet(&mut self, own: NodeId, peer: NodeId, witnessed: BatchNumber) {
        let Some(meeting) = &mut self.meeting else { return self.tell_greeted(own, peer, witnessed) };
        let met = meeting.meet(peer, witnessed);
        if self.founded.membership.are_all(met, own) {
            self.greet_all(own);
        }
    }

    /// Tells the acceptor of everyone met so far.
    pub fn greet_all(&mut self, own: NodeId) {
        for (peer, witnessed) in self.meeting.take().unwrap_or_default().ended() {
            self.tell_greeted(own, peer, witnessed);
        }
    }

    fn tell_greeted(&mut self, own: NodeId, peer: NodeId, witnessed: BatchNumber) {
        let greeted = AcceptorMessage::Greeted { peer, witnessed, durable: self.durable };
        self.post(Role::Acceptor, Letter::Message(own, greeted.into()));
    }

    /// The disk does everything that waits for it; or, with nothing to do for a while, seals.
    pub fn disk_turn(&mut self, disk: &MemoryDisk) -> DiskTurn {
        let lot = std::mem::take(&mut self.disk_queue);
        let idle = lot.is_empty();
        let binding = lot.iter().any(|work| matches!(work, DiskWork::Sync { records, .. } if !records.is_empty()));
        let flushing = lot.iter().any(|work| matches!(work, DiskWork::Flush { .. }));
        let appending = lot.iter().any(|work| matches!(work, DiskWork::Append { .. }));
        let binding = binding || flushing && (appending || self.scribe.journal().pending_bytes() > 0);
        let commits = self.scribe.journal().commits();
        let mut ear = Ear {
            disk,
            durable: self.durable,
            commits,
            commits_needed: commits + u64::from(binding),
            turn: DiskTurn::default(),
        };
        let done = if idle { self.scribe.idle(&mut ear) } else { self.scribe.perform(lot, &mut ear) };
        let Ear { durable, mut turn, .. } = ear;
        self.durable = durable;
        self.keeping.extend(turn.keep.drain(..));
        // A journal that lost its tail is executed anew, and what was written down beside it says more.
        let known_upto = self.founded.membership.executed_upto();
        if let Some(membership) = turn.members.take().filter(|members| members.executed_upto() >= known_upto) {
            self.founded.membership = *membership;
        }
        turn.error = done.err().map(|error| error.to_string());
        turn.batches = self.scribe.journal().commits() - commits;
        turn
    }

    /// The node stops in order: what waits for the disk is done, and the journal closed. What it would still say is lost.
    pub fn close(&mut self, disk: &MemoryDisk) {
        self.disk_turn(disk);
        let mut ear = Ear { disk, durable: self.durable, commits: 0, commits_needed: 0, turn: DiskTurn::default() };
        // A disk that does not do what it is asked is no reason to stay.
        let _ = self.scribe.close(&mut ear);
    }

    /// The keeper does one thing. Gives what it says to other nodes.
    ///
    /// # Errors
    /// The disk did not do what it was asked: the node stops.
    pub fn keep_turn(&mut self, own: NodeId) -> Result<Vec<(NodeId, Message)>, String> {
        let Running { keeper, keeping, mail, disk_queue, .. } = self;
        let Some(work) = keeping.pop_front() else { return Ok(Vec::new()) };
        let mut said = Vec::new();
        let mut tell = |kept| match kept {
            Kept::Say(to, message) if to == own => {
                mail[Role::of(&message) as usize].push_back(Letter::Message(own, message));
            }
            Kept::Say(to, message) => said.push((to, message)),
            Kept::Disk(work) => disk_queue.push(work),
            Kept::Install(state) => mail[Role::Executor as usize].push_back(Letter::Install(state)),
            Kept::Trouble(_) => {}
        };
        // What does not wait while an image is written is what comes next anyhow.
        let mut meanwhile = || match keeping.front() {
            Some(Keep::Work(_)) => match keeping.pop_front() {
                Some(Keep::Work(work)) => Meanwhile::Work(work),
                _ => Meanwhile::Nothing,
            },
            Some(Keep::Own(taken)) if !taken.save => match keeping.pop_front() {
                Some(Keep::Own(taken)) => Meanwhile::Digest(taken),
                _ => Meanwhile::Nothing,
            },
            _ => Meanwhile::Nothing,
        };
        keeper.perform(work, &mut meanwhile, &mut tell).map_err(|error| error.to_string())?;
        Ok(said)
    }

    /// A spare segment is made aside, if the journal wants one.
    ///
    /// # Errors
    /// The disk did not do what it was asked: the node stops.
    pub fn make_spare(&mut self) -> Result<(), String> {
        if let Some(task) = self.scribe.journal_mut().spare_task() {
            let spare = task.run().map_err(|error| error.to_string())?;
            self.scribe.journal_mut().add_spare(spare);
        }
        Ok(())
    }

    /// Time passes for every role and the router.
    pub fn tick(&mut self, now_ms: u64, wall_ms: u64) -> Option<AcceptorMessage> {
        for role in [Role::Proposer, Role::Learner, Role::Executor] {
            self.post(role, Letter::Tick(now_ms, wall_ms));
        }
        // Time means something to an acceptor only while its journal is damaged.
        if self.replica.acceptor.repair().is_under_way() {
            self.post(Role::Acceptor, Letter::Tick(now_ms, wall_ms));
        }
        self.hearsay.on_tick(now_ms)
    }
}

/// How long a node waits to meet all members before it votes with a quorum of them, in microseconds.
pub const MEETING_US: u64 = MEETING_MS * 1000;

struct Ear<'a> {
    disk: &'a MemoryDisk,
    durable: BatchNumber,
    commits: u64,
    /// So many must be there before anything of this lot is said.
    commits_needed: u64,
    turn: DiskTurn,
}

impl Listener<MemoryDisk> for Ear<'_> {
    fn durable(&mut self, journal: &Journal<MemoryDisk>) {
        self.durable = journal.last_batch();
        self.commits = journal.commits();
    }

    fn say(&mut self, messages: Vec<(NodeId, Message)>) {
        if messages.iter().any(|(_, message)| durable::claims(message)) {
            let durable = self.commits >= self.commits_needed && self.disk.unsynced("journal-") == 0;
            self.turn.premature |= !durable;
        }
        self.turn.said.extend(messages);
    }

    fn unreadable(&mut self, _: String) {
        self.turn.unreadable += 1;
    }

    fn members(&mut self, members: Box<Membership>) {
        self.turn.members = Some(members);
    }

    fn keep(&mut self, work: SnapshotWork) {
        self.turn.keep.push(Keep::Work(work));
    }
}

/// What a role hears when a client is gone.
pub fn detach(client: ClientId) -> Message {
    ExecutorMessage::Detach { client }.into()
}
