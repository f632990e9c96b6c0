//! The client's half of exactly-once: numbers commands, retries them, and says what became of each.
//!
//! The cluster's half is the session table (`crate::paxos`, DESIGN rule 7): a command executes once, however often it is
//! sent, as long as every attempt carries the same session and sequence. This half keeps two promises to its caller:
//!
//! * [`Outcome::NotDone`] means *never*: each attempt was refused by name, or none was made. One attempt whose fate is
//!   open ([`Doubt`]: the connection broke behind it, or nobody answered in time) stays open for good: a refusal of a
//!   later attempt says nothing about it. Such a command ends as done or as unknown.
//! * [`Outcome::Done`] means *once*; so does [`Outcome::ResultDropped`].
//!
//! ```text
//!             submit               numbered, sent              Done
//!   caller ──────────► unnumbered ───────────────► sent ─────────────────► finished
//!                          ▲                       │  ▲
//!          session expired,│    refused, timed out,│  │ sent again: to this node,
//!               no doubt   │     connection lost   ▼  │ or to the next
//!                          └───────────────────── retry ── deadline ─────► finished: not done, or unknown
//! ```
//!
//! **Abandoned commands.** A command whose deadline passed is finished for its caller, whatever became of it, and
//! `done_below` moves on over it: sequences below it never execute. So an unknown command holds nothing up; and more, as
//! soon as a later command of this session has executed, the unknown one has either happened or never will. (The other
//! ways are worse: retrying in the background works for nobody, and a new session leaves the old command at large.)
//!
//! **Reads** change nothing. One that failed is not done, whatever was sent.
//!
//! What this relies on: a node that refuses an attempt itself, without sending it on, never does anything about it later; a node's replies of
//! before a reconnection are not handed in after it; if one attempt enters the log twice, the session does not expire in
//! between (expiry takes minutes without a command).
//!
//! Absent on purpose: sockets, a clock, dice. Time is milliseconds handed in, on any clock that does not go back; who
//! connects where is the driver's business: [`Output::Leave`] is advice, which a driver bound to one node ignores.

mod attempts;
mod replies;
mod sending;

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Doubt, Failure, Outcome};
use super::pause::Pause;
use crate::net::wire::ClientFrame;
use crate::paxos::{Bytes, Change, Refusal, Reply, Sequence, SessionId, Token};

/// How many commands, and how many reads, are in flight at most: the executor keeps as many replies per session.
pub const WINDOW: u64 = 1024;
/// No new command is sent while those in flight hold this many bytes.
pub const WINDOW_BYTES: usize = 16 << 20;
/// The largest operation or question, in bytes. It fits into a frame with room to spare.
pub const MAX_OPERATION_BYTES: usize = 4 << 20;
/// A frame of commands or reads is closed before it grows beyond this.
pub const LOT_BYTES: usize = 1 << 20;
/// An attempt without an answer is made again after this long, then after twice as long, up to four times; up to
/// [`SLOW_TICK_MS`] later if nothing else happens meanwhile.
pub const ATTEMPT_MS: u64 = 500;
/// How often [`Session::on_tick`] wants to be called while there are requests and [`Session::is_hurried`].
pub const TICK_MS: u64 = 10;
/// How often otherwise, in milliseconds.
pub const SLOW_TICK_MS: u64 = 100;
/// So many refusals in a row for want of a leader, and the session asks for another node.
pub const PATIENCE: u32 = 3;

/// A node, by its position in the driver's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// A request, by the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u64);

/// What the session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to the connected node, after all before it.
    Send {
        /// To whom.
        node: NodeIndex,
        /// What.
        frame: ClientFrame,
    },
    /// Tell the caller.
    Finished {
        /// Which request.
        key: RequestKey,
        /// What became of it.
        outcome: Outcome,
    },
    /// This node is of no use just now: connect to another, if there is one.
    Leave {
        /// Which.
        node: NodeIndex,
    },
}

/// A client's session with the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    token: Token,
    standing: Standing,
    next_sequence: Sequence,
    home: Option<Home>,
    pause: Pause,
    next_key: u64,
    commands: BTreeMap<RequestKey, PendingCommand>,
    /// Commands without a sequence in the session that is open or will be.
    unnumbered: BTreeSet<RequestKey>,
    /// Commands of the open session that are to be sent again.
    retries: BTreeSet<RequestKey>,
    /// Every unfinished command that has a sequence, those of an expired session that still await their reply included.
    numbered: BTreeMap<(SessionId, Sequence), RequestKey>,
    numbered_bytes: usize,
    reads: BTreeMap<RequestKey, PendingRead>,
    reads_waiting: BTreeSet<RequestKey>,
    deadlines: BTreeSet<(u64, RequestKey)>,
    outputs: Vec<Output>,
}

/// Whether there is a session.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    Closed,
    Opening(Attempts),
    Open(SessionId),
}

/// The node that requests go to.
#[derive(Clone, Debug, PartialEq)]
struct Home {
    node: NodeIndex,
    attached: Option<SessionId>,
    attached_token: Option<Token>,
    heard_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct PendingCommand {
    task: Task,
    deadline_ms: u64,
    name: Option<(SessionId, Sequence)>,
    attempts: Attempts,
    doubt: Option<Doubt>,
}

/// What a command is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Something for a machine.
    Operation(Bytes),
    /// A change of members.
    Change {
        /// Who comes or goes.
        change: Change,
        /// Even if the members that are left do not answer.
        force: bool,
    },
}

impl Task {
    /// About how many bytes it takes.
    fn len(&self) -> usize {
        match self {
            Task::Operation(operation) => operation.len(),
            Task::Change { change, .. } => change.name().len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct PendingRead {
    question: Bytes,
    local: bool,
    deadline_ms: u64,
    attempts: Attempts,
}

/// How it stands with sending one thing.
#[derive(Clone, Debug, Default, PartialEq)]
struct Attempts {
    /// When the attempt was made whose answer is awaited.
    sent_ms: Option<u64>,
    timeouts: u32,
    refusal: Option<Refusal>,
}

impl Session {
    /// A session that has not been opened yet. `token` is random; `seed` shapes the jitter.
    pub fn new(token: Token, seed: u64) -> Session {
        Session {
            token,
            standing: Standing::Closed,
            next_sequence: FIRST,
            home: None,
            pause: Pause::new(seed),
            next_key: 0,
            commands: BTreeMap::new(),
            unnumbered: BTreeSet::new(),
            retries: BTreeSet::new(),
            numbered: BTreeMap::new(),
            numbered_bytes: 0,
            reads: BTreeMap::new(),
            reads_waiting: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            outputs: Vec::new(),
        }
    }

    /// A command to be executed once. It is given up when the clock reaches `deadline_ms`.
    pub fn submit(&mut self, operation: Bytes, deadline_ms: u64) -> RequestKey {
        self.submit_task(Task::Operation(operation), deadline_ms)
    }

    /// The same for a command of any kind.
    pub fn submit_task(&mut self, task: Task, deadline_ms: u64) -> RequestKey {
        let Some(key) = self.admit(task.len(), deadline_ms) else { return self.last_key() };
        let attempts = Attempts::default();
        self.commands.insert(key, PendingCommand { task, deadline_ms, name: None, attempts, doubt: None });
        self.unnumbered.insert(key);
        key
    }

    /// A question; `local`: about what the connected node has executed, however old.
    pub fn read(&mut self, question: Bytes, local: bool, deadline_ms: u64) -> RequestKey {
        let Some(key) = self.admit(question.len(), deadline_ms) else { return self.last_key() };
        self.reads.insert(key, PendingRead { question, local, deadline_ms, attempts: Attempts::default() });
        self.reads_waiting.insert(key);
        key
    }

    /// Requests go to this node from now on. What was sent to another and not answered is in doubt.
    pub fn on_connected(&mut self, node: NodeIndex, now_ms: u64) {
        self.lose_home();
        self.home = Some(Home { node, attached: None, attached_token: None, heard_ms: now_ms });
    }

    /// The connection to this node is gone.
    pub fn on_disconnected(&mut self, node: NodeIndex) {
        if self.is_home(node) {
            self.lose_home();
        }
    }

    /// What a node answered.
    pub fn on_replies(&mut self, from: NodeIndex, replies: Vec<Reply>, now_ms: u64) {
        // A refusal by another node is about an attempt that was given up as unknown when this session left it.
        let from_home = self.is_home(from);
        let mut refusals = Vec::new();
        for reply in replies {
            match reply {
                Reply::Opened { token, session } => self.on_opened(token, session),
                Reply::Done { session, sequence, place, ballot, result } => {
                    self.on_done((session, sequence), Outcome::Done { place, ballot, result });
                }
                Reply::ResultDropped { session, sequence, place } => {
                    self.on_done((session, sequence), Outcome::ResultDropped { place });
                }
                Reply::SessionExpired { session, sequence } => self.on_session_expired((session, sequence)),
                Reply::OutOfWindow { session, sequence } => {
                    self.on_done((session, sequence), Outcome::Unknown { reason: Doubt::OutOfWindow });
                }
                Reply::Read { id, result } => self.on_read(RequestKey(id), Outcome::Read { result }),
                Reply::Refused { command, reason, forwarded } if from_home => {
                    refusals.extend(self.on_refused(command, reason, forwarded));
                }
                Reply::ReadRefused { id, reason } if from_home => {
                    refusals.extend(self.on_read_refused(RequestKey(id), reason));
                }
                Reply::LeaderChanged {} if from_home => self.send_all_again(Doubt::LeaderChanged),
                Reply::Refused { .. } | Reply::ReadRefused { .. } | Reply::LeaderChanged {} => {}
            }
        }
        if from_home {
            self.weigh(&refusals, now_ms);
        }
    }

    /// Ends what has reached its deadline, and has made again what got no answer.
    pub fn on_tick(&mut self, now_ms: u64) {
        while let Some(&(deadline_ms, key)) = self.deadlines.first()
            && deadline_ms <= now_ms
        {
            let outcome = self.outcome_at_deadline(key);
            self.finish(key, outcome);
        }
        self.time_out(now_ms);
    }

    /// Everything there is to do, in order; what may be sent by now is among it, in as few frames as will hold it.
    pub fn drain(&mut self, now_ms: u64) -> Vec<Output> {
        if let Some(mut home) = self.home.take() {
            if now_ms >= self.pause.until_ms() {
                self.send_open(&mut home, now_ms);
                self.send_commands(&mut home, now_ms);
                self.send_reads(&home, now_ms);
            }
            self.home = Some(home);
        }
        std::mem::take(&mut self.outputs)
    }

    /// Whether a pause or a deadline ends soon: otherwise [`Session::on_tick`] now and then will do.
    pub fn is_hurried(&self, now_ms: u64) -> bool {
        now_ms < self.pause.until_ms()
            || self.deadlines.first().is_some_and(|(deadline_ms, _)| *deadline_ms <= now_ms + SLOW_TICK_MS)
    }

    /// Whether no request is unfinished; then nobody needs to call [`Session::on_tick`].
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.reads.is_empty()
    }

    /// The session's number, if it is open.
    pub fn id(&self) -> Option<SessionId> {
        match self.standing {
            Standing::Open(session) => Some(session),
            _ => None,
        }
    }
}

/// Requests come and go.
impl Session {
    /// A key for a request, unless it is too large to be sent: then it is finished at once.
    fn admit(&mut self, length: usize, deadline_ms: u64) -> Option<RequestKey> {
        let key = RequestKey(self.next_key);
        self.next_key += 1;
        if length > MAX_OPERATION_BYTES {
            let reason = Refusal::TooLarge { limit: MAX_OPERATION_BYTES as u64 };
            self.outputs.push(Output::Finished { key, outcome: Outcome::Refused { reason } });
            return None;
        }
        self.deadlines.insert((deadline_ms, key));
        Some(key)
    }

    fn last_key(&self) -> RequestKey {
        RequestKey(self.next_key - 1)
    }

    fn finish(&mut self, key: RequestKey, outcome: Outcome) {
        if let Some(command) = self.commands.remove(&key) {
            self.deadlines.remove(&(command.deadline_ms, key));
            self.unnumbered.remove(&key);
            self.retries.remove(&key);
            if let Some(name) = command.name {
                self.numbered.remove(&name);
                self.numbered_bytes -= command.task.len();
            }
        } else if let Some(read) = self.reads.remove(&key) {
            self.deadlines.remove(&(read.deadline_ms, key));
            self.reads_waiting.remove(&key);
        }
        self.outputs.push(Output::Finished { key, outcome });
    }

    fn outcome_at_deadline(&self, key: RequestKey) -> Outcome {
        let (attempts, doubt) = match (self.commands.get(&key), self.reads.get(&key)) {
            (Some(command), _) => {
                (&command.attempts, command.doubt.or(command.attempts.sent_ms.map(|_| Doubt::NoAnswer)))
            }
            (None, Some(read)) => (&read.attempts, None),
            (None, None) => unreachable!("a deadline belongs to an unfinished request"),
        };
        match doubt {
            Some(reason) => Outcome::Unknown { reason },
            None => Outcome::NotDone { reason: self.failure(attempts) },
        }
    }

    /// Why a request came to nothing that had no effect.
    fn failure(&self, attempts: &Attempts) -> Failure {
        match (&attempts.refusal, &self.home, &self.standing) {
            _ if attempts.sent_ms.is_some() => Failure::NoAnswer,
            (Some(refusal), _, _) => Failure::Refused(refusal.clone()),
            _ if attempts.timeouts > 0 => Failure::NoAnswer,
            (None, None, _) => Failure::NoConnection,
            (None, _, Standing::Opening(Attempts { refusal: Some(refusal), .. })) => Failure::Refused(refusal.clone()),
            (None, _, Standing::Open(_)) => Failure::NotSent,
            (None, _, _) => Failure::NoAnswer,
        }
    }
}

const FIRST: Sequence = Sequence(1);

#[cfg(test)]
mod random_life;
#[cfg(test)]
mod tests;
