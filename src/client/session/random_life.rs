//! A session among nodes that refuse, lose, delay and duplicate, and connections that break: whatever happens, a command
//! executes at most once, one that is done executed exactly once, and one that is not done never.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::client::outcome::Outcome;
use crate::paxos::{Ballot, Command, NodeId, Place, Slot};

/// A cluster's session table and log, reached through nodes that are not to be trusted with anything.
struct World {
    random: u64,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    trouble: bool,
    connection: Option<(NodeIndex, u64)>,
    next_connection: u64,
    sessions: BTreeMap<SessionId, Table>,
    opened: u64,
    slot: u64,
    executed: BTreeMap<Bytes, Place>,
}

#[derive(Default)]
struct Table {
    done_below: Sequence,
    replies: BTreeMap<Sequence, Place>,
}

enum Event {
    Arrives { connection: u64, command: Command },
    Executes { connection: u64, command: Command, twin: bool },
    Answers { connection: u64, reply: Reply },
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: seed,
            now_ms: 0,
            events: BTreeMap::new(),
            next_event: 0,
            trouble: true,
            connection: None,
            next_connection: 0,
            sessions: BTreeMap::new(),
            opened: 0,
            slot: 0,
            executed: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Xorshift (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// Once in `bound` times, while there is trouble.
    fn chance(&mut self, bound: u64) -> bool {
        self.below(bound) == 0 && self.trouble
    }

    fn later(&mut self, event: Event) {
        let mut delay_ms = 1 + self.below(20);
        if self.chance(20) {
            delay_ms += self.below(3000);
        }
        self.events.insert((self.now_ms + delay_ms, self.next_event), event);
        self.next_event += 1;
    }

    fn on_frame(&mut self, frame: ClientFrame) {
        let Some((_, connection)) = self.connection else { return };
        if let ClientFrame::Commands(commands) = frame {
            for command in commands {
                self.later(Event::Arrives { connection, command });
            }
        }
    }

    /// A reply for the session.
    fn happen(&mut self, event: Event) -> Option<Reply> {
        match event {
            // What was on its way when the connection broke may still arrive.
            Event::Arrives { connection, command } => match self.below(20) {
                0..=2 if self.trouble => {
                    let reasons = [Refusal::NoLeader, Refusal::Busy, Refusal::NotAdmitted];
                    let reason = reasons[self.below(3) as usize].clone();
                    self.later(Event::Answers {
                        connection,
                        reply: Reply::Refused {
                            command: command.name().expect("a client's"),
                            reason,
                            forwarded: false,
                        },
                    });
                }
                3 if self.trouble => {}
                draw => {
                    let twin = draw == 4 && self.trouble;
                    if twin {
                        self.later(Event::Executes { connection, command: command.clone(), twin });
                    }
                    self.later(Event::Executes { connection, command, twin });
                }
            },
            Event::Executes { connection, command, .. } => {
                let reply = self.execute(command);
                if !self.chance(10) {
                    self.later(Event::Answers { connection, reply });
                }
            }
            Event::Answers { connection, reply } => {
                return self.connection.filter(|(_, open)| *open == connection).map(|_| reply);
            }
        }
        None
    }

    fn execute(&mut self, command: Command) -> Reply {
        self.slot += 1;
        let here = Place { slot: Slot(self.slot), index: 1 };
        let (session, sequence, done_below, operation) = match command {
            Command::Open { token } => {
                self.opened += 1;
                let session = SessionId(self.opened);
                self.sessions.insert(session, Table::default());
                return Reply::Opened { token, session };
            }
            Command::Apply { session, sequence, done_below, operation } => (session, sequence, done_below, operation),
            other => panic!("no client sends {other:?} here"),
        };
        let Some(table) = self.sessions.get_mut(&session) else { return Reply::SessionExpired { session, sequence } };
        table.done_below = table.done_below.max(done_below);
        table.replies = table.replies.split_off(&table.done_below);
        if sequence < table.done_below || sequence.0 >= table.done_below.0 + WINDOW {
            return Reply::OutOfWindow { session, sequence };
        }
        let seen = table.replies.get(&sequence).copied();
        let place = *table.replies.entry(sequence).or_insert(here);
        if seen.is_none() {
            let before = self.executed.insert(operation.clone(), place);
            assert_eq!(before, None, "{operation:?} executed twice");
        }
        let ballot = seen.is_none().then_some(Ballot::new(1, NodeId(1)));
        Reply::Done { session, sequence, place, ballot, result: operation }
    }

    /// Sessions expire, but not between two copies of one attempt.
    fn expire_one(&mut self) {
        let twins: BTreeSet<SessionId> = self
            .events
            .values()
            .filter_map(|event| match event {
                Event::Executes { command: Command::Apply { session, .. }, twin: true, .. } => Some(*session),
                _ => None,
            })
            .collect();
        self.sessions.retain(|session, _| twins.contains(session));
    }
}

#[derive(Default)]
struct Tally {
    done: u64,
    not_done: u64,
    unknown: u64,
}

fn live(seed: u64, tally: &mut Tally) {
    let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut session = Session::new(Token(u128::from(seed) << 64), seed);
    let mut submitted: BTreeMap<RequestKey, Bytes> = BTreeMap::new();
    let mut outcomes: BTreeMap<RequestKey, Outcome> = BTreeMap::new();
    while world.now_ms < 30_000 {
        world.now_ms += 1;
        let now_ms = world.now_ms;
        world.trouble = now_ms < 15_000;
        if now_ms < 20_000 && world.below(20) == 0 {
            for _ in 0..=world.below(4) {
                let operation = Bytes::from(format!("{}", submitted.len()).into_bytes());
                let key = session.submit(operation.clone(), now_ms + 100 + world.below(4000));
                submitted.insert(key, operation);
            }
        }
        if world.chance(4000) {
            world.expire_one();
        }
        if world.connection.is_none() && world.below(50) == 0 || world.chance(800) {
            let node = NodeIndex(world.below(3) as usize);
            world.connection = Some((node, world.next_connection));
            world.next_connection += 1;
            session.on_connected(node, now_ms);
        } else if world.chance(800)
            && let Some((node, _)) = world.connection.take()
        {
            session.on_disconnected(node);
        }
        let mut replies = Vec::new();
        while let Some(event) = world.events.first_entry().filter(|event| event.key().0 <= now_ms) {
            let event = event.remove();
            replies.extend(world.happen(event));
        }
        if let Some((node, _)) = world.connection
            && !replies.is_empty()
        {
            session.on_replies(node, replies, now_ms);
        }
        if now_ms.is_multiple_of(TICK_MS) {
            session.on_tick(now_ms);
        }
        for output in session.drain(now_ms) {
            match output {
                Output::Send { node, frame } => {
                    assert_eq!(
                        world.connection.map(|(node, _)| node),
                        Some(node),
                        "sent to a node without a connection"
                    );
                    world.on_frame(frame);
                }
                Output::Finished { key, outcome } => {
                    assert!(outcomes.insert(key, outcome).is_none(), "finished twice");
                }
                Output::Leave { .. } => {}
            }
        }
    }
    assert!(session.is_idle() && world.events.is_empty(), "everything has come to its end");
    assert_eq!(submitted.len(), outcomes.len());
    for (key, operation) in &submitted {
        let place = world.executed.get(operation).copied();
        match &outcomes[key] {
            Outcome::Done { place: told, result, .. } => {
                assert_eq!((Some(*told), result), (place, operation), "done, where it says, with its own result");
                tally.done += 1;
            }
            Outcome::NotDone { reason } => {
                assert_eq!(place, None, "{operation:?} is not done ({reason}), and yet executed");
                tally.not_done += 1;
            }
            Outcome::Unknown { reason } => {
                assert_ne!(*reason, Doubt::OutOfWindow, "the session keeps within its window");
                tally.unknown += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let last = submitted.keys().next_back().expect("there are thousands");
    assert!(matches!(outcomes[last], Outcome::Done { .. }), "without trouble everything is done: {:?}", outcomes[last]);
}

#[test]
fn every_command_executes_at_most_once_and_its_outcome_is_true() {
    let mut tally = Tally::default();
    for seed in 1..=60 {
        live(seed, &mut tally);
    }
    let Tally { done, not_done, unknown } = tally;
    assert!(done > 50_000 && not_done > 100 && unknown > 1000, "{done} done, {not_done} not, {unknown} unknown");
}
