//! States and steps.
//!
//! Whole states share almost everything, so each part is kept once and known by a number: nodes by their fingerprint,
//! packets and clients' books by value. A state is a row of such numbers. What a node does when it is handed something
//! depends on that node alone, so it is worked out once and remembered: most steps are a look-up.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::panics;
use crate::paxos::message::AcceptorMessage;
use crate::paxos::proposer::Phase;
use crate::paxos::{ClientId, Command, Message, NodeId, ProposerMessage, Reply, Sequence, SessionId, Slot};

use super::book::Book;
use super::check::{self, Chosen, Witness};
use super::fingerprint::{self, BuildItself};
use super::local::{Cluster, Input, Local, Outcome};
use super::notes::Wish;
use super::parts::{Packet, Parts, Route};
use super::setup::{Network, Setup, Stage};

/// A state: nodes, book, what is left of the bounds, and the packets under way, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(Box<[u32]>);

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message or an answer arrives.
    Deliver {
        /// Which.
        packet: u32,
        /// The receiver's power fails as it begins that sync.
        cut: Option<u8>,
    },
    /// A client's wish arrives.
    Submit {
        /// Whose, from 1.
        client: u8,
        /// Where, from 1.
        node: u8,
        /// The receiver's power fails as it begins that sync.
        cut: Option<u8>,
    },
    /// A node gives up whatever it was doing, canvasses these peers, and prepares.
    Campaign {
        /// Who.
        node: u8,
        /// A bit for each.
        peers: u32,
        /// Its power fails as it begins that sync.
        cut: Option<u8>,
    },
    /// A learner, and an executor, ask again for what they wait for.
    Remind {
        /// Whose.
        node: u8,
    },
    /// A node crashes and comes back.
    Crash {
        /// Which.
        node: u8,
    },
}

/// Why a node moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Deliver(u32),
    Submit(u8, u8),
    Tick,
    Remind,
    Crash,
}

/// How a node moves.
#[derive(Debug)]
struct Move {
    to: u32,
    sent: Vec<u32>,
    syncs: u8,
    refused: bool,
}

/// An instance, and what was worked out about it so far.
#[derive(Debug)]
pub struct Model {
    setup: Setup,
    cluster: Cluster,
    parts: Parts,
    moves: HashMap<u128, Rc<Move>, BuildItself>,
    /// Witnesses and books that were found to be right together.
    checked: HashSet<u128, BuildItself>,
}

impl Model {
    /// The instance, and its first state.
    ///
    /// # Errors
    /// A property does not hold from the start.
    pub fn new(setup: Setup) -> Result<(Model, State), String> {
        let cluster = Cluster {
            nodes: setup.nodes,
            clients: setup.clients.len() as u8,
            crashes: setup.crashes > 0,
            flaw: setup.flaw,
        };
        let mut model =
            Model { cluster, parts: Parts::default(), moves: HashMap::default(), checked: HashSet::default(), setup };
        let mut words = Vec::new();
        for id in 1..=model.setup.nodes {
            let (local, _) = Local::new(NodeId(id), &model.cluster);
            words.push(model.parts.intern_local(local, &model.cluster));
        }
        words.push(model.parts.intern_book(Book::new(model.setup.clients.len())));
        words.push(0);
        let mut state = State(words.into());
        if let Some(leader) = model.setup.leader {
            state = model.elect_quietly(state, leader as u8)?;
        }
        let budget = u32::from(model.setup.elections)
            | u32::from(model.setup.crashes) << 8
            | u32::from(model.setup.reminders) << 16;
        state.0[model.nodes() + 1] = budget;
        model.check(&state)?;
        Ok((model, state))
    }

    /// The leader campaigns, everything that follows is delivered, and then nothing is under way.
    fn elect_quietly(&mut self, mut state: State, leader: u8) -> Result<State, String> {
        let others = ((1u32 << self.setup.nodes) - 1) & !(1 << (leader - 1));
        let nodes = self.nodes();
        state.0[nodes + 1] = 1;
        if let Some(next) = self.take(&state, Step::Campaign { node: leader, peers: others, cut: None })? {
            state = next;
        }
        loop {
            let before = state.clone();
            for packet in before.0[nodes + 2..].iter().copied() {
                if let Some(next) = self.take(&state, Step::Deliver { packet, cut: None })? {
                    state = next;
                }
            }
            if state == before {
                return Ok(State(state.0[..nodes + 2].into()));
            }
        }
    }

    fn nodes(&self) -> usize {
        self.setup.nodes as usize
    }

    /// The instance.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A node of a state, numbered from 1.
    pub fn node(&self, state: &State, node: u32) -> &Local {
        &self.parts.locals[state.0[node as usize - 1] as usize]
    }

    /// The clients of a state.
    pub fn book(&self, state: &State) -> &Book {
        &self.parts.books[state.0[self.nodes()] as usize]
    }

    /// What is chosen in a state that was checked.
    pub fn chosen(&self, state: &State) -> Chosen {
        check::chosen(&self.witnesses(state)).expect("the state was checked")
    }

    fn witnesses(&self, state: &State) -> Vec<&Witness> {
        let of = |local: &u32| &self.parts.witnesses[self.parts.witness_of[*local as usize] as usize];
        state.0[..self.nodes()].iter().map(of).collect()
    }

    /// Puts all steps that change something into `found`, with the states that they lead to. Stops at one that breaks a
    /// property.
    ///
    /// # Errors
    /// The step, and what it breaks.
    pub fn steps(
        &mut self,
        state: &State,
        stage: &Stage,
        found: &mut Vec<(Step, State)>,
    ) -> Result<(), (Step, String)> {
        for step in self.candidates(state, stage) {
            if let Some(next) = self.try_step(state, step)? {
                found.push((step, next));
            }
        }
        Ok(())
    }

    /// Every step that the stage allows, whether or not it changes anything.
    pub fn candidates(&self, state: &State, stage: &Stage) -> Vec<Step> {
        let nodes = self.nodes();
        let [elections, crashes, reminders, _] = state.0[nodes + 1].to_le_bytes();
        let mut steps = Vec::new();
        let most_cut = if stage.timers && crashes > 0 { MOST_SYNCS } else { 0 };
        let cuts = || std::iter::once(None).chain((0..most_cut).map(Some));
        for packet in state.0[nodes + 2..].iter().copied() {
            match self.parts.routes[packet as usize] {
                Route::Peer { from, to, .. } if stage.nodes.contains(&from) && stage.nodes.contains(&to) => {
                    steps.extend(cuts().map(|cut| Step::Deliver { packet, cut }));
                }
                Route::Answer { client, .. } if stage.clients.contains(&client) => {
                    steps.push(Step::Deliver { packet, cut: None });
                }
                Route::Peer { .. } | Route::Answer { .. } => {}
            }
        }
        let book = self.book(state);
        for client in stage.clients.iter().copied() {
            let index = usize::from(client) - 1;
            if book.done(index) < self.setup.clients[index].len() && book.sends(index) < self.setup.sends {
                for node in stage.nodes.iter().map(|node| *node as u8) {
                    steps.extend(cuts().map(|cut| Step::Submit { client, node, cut }));
                }
            }
        }
        for node in stage.nodes.iter().filter(|_| stage.timers).map(|node| *node as u8) {
            if elections > 0 && self.setup.candidates.contains(&u32::from(node)) {
                for peers in self.canvassed_by(node, stage) {
                    steps.extend(cuts().map(|cut| Step::Campaign { node, peers, cut }));
                }
            }
            if reminders > 0 {
                steps.push(Step::Remind { node });
            }
            if crashes > 0 {
                steps.push(Step::Crash { node });
            }
        }
        steps
    }

    /// Just enough peers, in every combination.
    fn canvassed_by(&self, node: u8, stage: &Stage) -> Vec<u32> {
        let reachable: u32 = stage.nodes.iter().map(|node| 1u32 << (node - 1)).sum();
        let wanted = self.setup.nodes / 2;
        let among = reachable & !(1 << (node - 1));
        (0..1u32 << self.setup.nodes).filter(|peers| peers & !among == 0 && peers.count_ones() == wanted).collect()
    }

    /// The state that a step leads to, checked; none if it changes nothing.
    ///
    /// # Errors
    /// The step, and what it breaks.
    pub fn try_step(&mut self, state: &State, step: Step) -> Result<Option<State>, (Step, String)> {
        let next = self.take(state, step).map_err(|broken| (step, broken))?;
        if let Some(next) = &next {
            self.check(next).map_err(|broken| (step, broken))?;
        }
        Ok(next)
    }

    /// The state that a step leads to; none if it changes nothing. The state is not checked.
    ///
    /// # Errors
    /// A role broke an invariant of its own.
    pub fn take(&mut self, state: &State, step: Step) -> Result<Option<State>, String> {
        let nodes = self.nodes();
        let mut next = Draft { words: state.0[..nodes + 2].to_vec(), net: Vec::with_capacity(state.0.len() + 8) };
        next.net.extend_from_slice(&state.0[nodes + 2..]);
        match step {
            Step::Deliver { packet, cut } => match self.parts.routes[packet as usize] {
                Route::Answer { .. } => self.hear(&mut next, packet),
                Route::Peer { to, once, .. } => {
                    let made = self.moved(next.words[to as usize - 1], Cause::Deliver(packet), None)?;
                    if cut.is_some_and(|cut| cut >= made.syncs) {
                        return Ok(None);
                    }
                    let uses_up = once || self.setup.network == Network::UsesUp;
                    if !uses_up && cut.is_none() && made.sent.is_empty() && made.to == next.words[to as usize - 1] {
                        return Ok(None);
                    }
                    if uses_up {
                        next.net.retain(|held| *held != packet);
                    }
                    self.move_node(&mut next, to as usize - 1, Cause::Deliver(packet), cut)?;
                }
            },
            Step::Submit { client, node, cut } => {
                let mut book = self.parts.books[next.words[nodes] as usize].clone();
                let number = book.done(usize::from(client) - 1) as u8 + 1;
                let cause = Cause::Submit(client, number);
                if let Some(cut) = cut
                    && cut >= self.moved(next.words[usize::from(node) - 1], cause, None)?.syncs
                {
                    return Ok(None);
                }
                let made = self.move_node(&mut next, usize::from(node) - 1, cause, cut)?;
                if made.refused {
                    return Ok(None);
                }
                book.send(usize::from(client) - 1);
                next.words[nodes] = self.parts.intern_book(book);
            }
            Step::Campaign { node, peers, cut } => {
                next.words[nodes + 1] -= 1;
                if !self.campaign(&mut next, node, peers, cut)? {
                    return Ok(None);
                }
            }
            Step::Remind { node } => {
                next.words[nodes + 1] -= 1 << 16;
                let before = next.clone();
                self.move_node(&mut next, usize::from(node) - 1, Cause::Remind, None)?;
                if next == before {
                    return Ok(None);
                }
            }
            Step::Crash { node } => {
                self.move_node(&mut next, usize::from(node) - 1, Cause::Crash, None)?;
                next.words[nodes + 1] -= 1 << 8;
            }
        }
        if let Step::Deliver { cut: Some(_), .. }
        | Step::Submit { cut: Some(_), .. }
        | Step::Campaign { cut: Some(_), .. } = step
        {
            next.words[nodes + 1] -= 1 << 8;
        }
        if self.setup.prompt {
            while let Some(packet) = next.net.iter().copied().find(|packet| self.is_answer(*packet)) {
                self.hear(&mut next, packet);
            }
        }
        let mut words = Vec::with_capacity(next.words.len() + next.net.len());
        words.extend(next.words);
        words.extend(next.net);
        let next = State(words.into());
        Ok((next != *state).then_some(next))
    }

    fn is_answer(&self, packet: u32) -> bool {
        matches!(self.parts.routes[packet as usize], Route::Answer { .. })
    }

    /// A client hears an answer; others to the same wish are not waited for.
    fn hear(&mut self, next: &mut Draft, packet: u32) {
        let Packet::Answer { client, result, .. } = &self.parts.packets[packet as usize] else { return };
        let book_at = self.nodes();
        let mut book = self.parts.books[next.words[book_at] as usize].clone();
        book.hear(usize::from(*client) - 1, result.clone());
        let route = self.parts.routes[packet as usize];
        next.net.retain(|packet| self.parts.routes[*packet as usize] != route);
        next.words[book_at] = self.parts.intern_book(book);
    }

    /// A node gives up whatever it was doing and canvasses; those peers answer at once; it prepares. False if it comes
    /// to nothing.
    fn campaign(&mut self, next: &mut Draft, node: u8, peers: u32, cut: Option<u8>) -> Result<bool, String> {
        let own = usize::from(node) - 1;
        let mut canvass = Vec::new();
        let mut was_cut = false;
        for _ in 0..3 {
            let local = next.words[own];
            let made = self.moved(local, Cause::Tick, None)?;
            if cut.is_some_and(|cut| made.syncs > cut) {
                // Only a singleton gets so far at once.
                self.move_node(next, own, Cause::Tick, cut)?;
                return Ok(true);
            }
            next.words[own] = made.to;
            canvass = made.sent.clone();
            if !matches!(self.phase(next.words[own]), Phase::Following { .. }) {
                break;
            }
            self.put(next, &made.sent);
        }
        for packet in canvass {
            let Route::Peer { to, canvass, .. } = self.parts.routes[packet as usize] else { continue };
            if !canvass {
                self.put(next, &[packet]);
            } else if peers & 1 << (to - 1) != 0 && !was_cut {
                let answer = self.move_node(next, to as usize - 1, Cause::Deliver(packet), None)?;
                for answer in answer.sent.iter().copied().filter(|sent| self.is_of_canvass(*sent)).collect::<Vec<u32>>()
                {
                    let made = self.moved(next.words[own], Cause::Deliver(answer), None)?;
                    let cut = cut.filter(|cut| made.syncs > *cut);
                    self.move_node(next, own, Cause::Deliver(answer), cut)?;
                    was_cut |= cut.is_some();
                }
            }
        }
        let prepares = matches!(self.phase(next.words[own]), Phase::Preparing(_) | Phase::Leading(_));
        Ok(if cut.is_some() { was_cut } else { prepares })
    }

    fn is_of_canvass(&self, packet: u32) -> bool {
        matches!(self.parts.routes[packet as usize], Route::Peer { canvass: true, .. })
    }

    fn phase(&self, local: u32) -> &Phase {
        self.parts.locals[local as usize].replica.proposer.phase()
    }

    /// A node moves, and what it says is under way.
    fn move_node(&mut self, next: &mut Draft, node: usize, cause: Cause, cut: Option<u8>) -> Result<Rc<Move>, String> {
        let made = self.moved(next.words[node], cause, cut)?;
        next.words[node] = made.to;
        self.put(next, &made.sent);
        Ok(made)
    }

    /// Puts packets under way, but nothing that nobody will look at.
    fn put(&self, next: &mut Draft, sent: &[u32]) {
        for packet in sent {
            let is_wanted = match self.parts.routes[*packet as usize] {
                Route::Peer { canvass, .. } => !canvass,
                Route::Answer { client, number } => {
                    let book = &self.parts.books[next.words[self.nodes()] as usize];
                    book.done(usize::from(client) - 1) + 1 == usize::from(number)
                }
            };
            if let (true, Err(at)) = (is_wanted, next.net.binary_search(packet)) {
                next.net.insert(at, *packet);
            }
        }
    }

    /// How a node moves.
    fn moved(&mut self, local: u32, cause: Cause, cut: Option<u8>) -> Result<Rc<Move>, String> {
        let key = cause.key(local, cut);
        if let Some(made) = self.moves.get(&key) {
            return Ok(Rc::clone(made));
        }
        let mut node = self.parts.locals[local as usize].clone();
        let input = match cause {
            Cause::Deliver(packet) => match self.parts.packets[packet as usize].clone() {
                Packet::Peer { from, message, .. } => Some(Input::Message(from, message)),
                Packet::Answer { .. } => unreachable!("answers are for clients"),
            },
            Cause::Submit(client, number) => Some(self.wish(client, number)),
            Cause::Tick => Some(Input::Tick),
            Cause::Remind => Some(Input::Remind),
            Cause::Crash => None,
        };
        let cluster = &self.cluster;
        // A role that breaks an invariant of its own panics.
        let done = catch_unwind(AssertUnwindSafe(|| match input {
            Some(input) => node.step(input, cut.map(u32::from), cluster),
            None => node.crash(cluster),
        }));
        let Outcome { sent, replies, syncs } = done
            .map_err(|panic| format!("n{} panics: {}", self.parts.locals[local as usize].id, panics::said(&*panic)))?;
        let from = node.id;
        let mut packets = Vec::new();
        for (to, message) in sent {
            assert!(message.may_travel(), "{message:?} is not for peers");
            let is_heartbeat = matches!(
                message,
                Message::Acceptor(AcceptorMessage::Heartbeat { .. })
                    | Message::Proposer(ProposerMessage::HeartbeatAck { .. })
            );
            if !is_heartbeat || self.setup.heartbeats {
                packets.push(self.parts.intern_packet(Packet::Peer { from, to, message }));
            }
        }
        let mut refused = false;
        for (ClientId(client), reply) in replies {
            let (number, result) = match reply {
                Reply::Done { sequence, result, .. } => (sequence.0, result),
                Reply::Read { id, result } => (id, result),
                Reply::Refused { .. } | Reply::ReadRefused { .. } => {
                    refused = true;
                    continue;
                }
                _ => continue,
            };
            let answer = Packet::Answer { client: client as u8, number: number as u8, result: result.to_vec() };
            packets.push(self.parts.intern_packet(answer));
        }
        let to = self.parts.intern_local(node, &self.cluster);
        assert!(syncs <= u32::from(MOST_SYNCS), "a step has {syncs} syncs: MOST_SYNCS is too low");
        let syncs = syncs as u8;
        let made = Rc::new(Move { to, sent: packets, syncs, refused: refused && cut.is_none() });
        self.moves.insert(key, Rc::clone(&made));
        Ok(made)
    }

    fn wish(&self, client: u8, number: u8) -> Input {
        let wish = &self.setup.clients[usize::from(client) - 1][usize::from(number) - 1];
        let operation = wish.encode(client, number);
        if let Wish::Read(_) = wish {
            return Input::Read(ClientId(u64::from(client)), u64::from(number), operation);
        }
        let sequence = Sequence(u64::from(number));
        let session = SessionId(u64::from(client));
        Input::Submit(Command::Apply { session, sequence, done_below: sequence, operation })
    }

    /// What must hold in every state.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&mut self, state: &State) -> Result<(), String> {
        let nodes = self.nodes();
        if let Some((local, broken)) =
            state.0[..nodes].iter().find_map(|local| Some((*local, self.parts.broken.get(local)?)))
        {
            return Err(format!("n{}: {broken}", self.parts.locals[local as usize].id));
        }
        let mut key: Vec<u32> = state.0[..nodes].iter().map(|local| self.parts.witness_of[*local as usize]).collect();
        key.push(state.0[nodes]);
        let key = fingerprint::of_words(&key);
        if self.checked.contains(&key) {
            return Ok(());
        }
        let witnesses = self.witnesses(state);
        let chosen = check::chosen(&witnesses)?;
        check::beliefs(&witnesses, &chosen)?;
        let book = self.book(state);
        for (wishes, client) in self.setup.clients.iter().zip(1u8..) {
            for number in 1..=book.done(usize::from(client) - 1) {
                let is_write = !matches!(wishes[number - 1], Wish::Read(_));
                if is_write && !check::is_chosen(&chosen, u64::from(client), number as u64) {
                    return Err(format!(
                        "client {client} was told that command {number} is done, and it is not in the log"
                    ));
                }
            }
        }
        if !book.is_linearizable(&self.setup.clients) {
            return Err(format!("no order explains what the clients were told: {book:?}"));
        }
        self.checked.insert(key);
        Ok(())
    }

    /// A step as a person reads it.
    pub fn describe(&self, state: &State, step: Step) -> String {
        let cut = |cut: Option<u8>| {
            cut.map_or(String::new(), |cut| format!(", whose power fails before its sync {}", cut + 1))
        };
        match step {
            Step::Deliver { packet, cut: at } => match &self.parts.packets[packet as usize] {
                Packet::Peer { from, to, message } => format!("n{from} -> n{to}{}: {message:?}", cut(at)),
                Packet::Answer { client, number, result } => {
                    format!("client {client} hears of its command {number}: \"{}\"", result.escape_ascii())
                }
            },
            Step::Submit { client, node, cut: at } => {
                let number = self.book(state).done(usize::from(client) - 1);
                let wish = &self.setup.clients[usize::from(client) - 1][number];
                format!("client {client} -> n{node}{}: {wish}", cut(at))
            }
            Step::Campaign { node, peers, cut: at } => {
                let peers: Vec<String> = (1..=self.setup.nodes)
                    .filter(|peer| peers & 1 << (peer - 1) != 0)
                    .map(|peer| format!("n{peer}"))
                    .collect();
                format!("n{node} campaigns, as {} hear no leader{}", peers.join(", "), cut(at))
            }
            Step::Remind { node } => format!("n{node} asks again"),
            Step::Crash { node } => format!("n{node} crashes and comes back"),
        }
    }
}

impl Cause {
    /// By what a move is remembered.
    fn key(self, local: u32, cut: Option<u8>) -> u128 {
        let (kind, more) = match self {
            Cause::Deliver(packet) => (0, packet),
            Cause::Submit(client, number) => (1, u32::from(client) << 8 | u32::from(number)),
            Cause::Tick => (2, 0),
            Cause::Remind => (3, 0),
            Cause::Crash => (4, 0),
        };
        fingerprint::of_words(&[local, kind << 16 | cut.map_or(0, |cut| u32::from(cut) + 1), more])
    }
}

impl State {
    /// What it is remembered by.
    pub fn fingerprint(&self) -> u128 {
        fingerprint::of_words(&self.0)
    }
}

/// The most syncs that one step has: a power failure is tried at each.
const MOST_SYNCS: u8 = 3;

/// A state in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Draft {
    words: Vec<u32>,
    net: Vec<u32>,
}

/// The slots of a log that are chosen while one before them is not.
pub fn above_a_hole(chosen: &Chosen) -> impl Iterator<Item = Slot> + '_ {
    chosen.keys().copied().filter(|slot| *slot > Slot(1) && !chosen.contains_key(&slot.previous()))
}
