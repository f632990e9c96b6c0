//! The session table: every command takes effect exactly once (DESIGN section 4, rule 7).
//!
//! A session is opened by a log entry, which numbers it. Within a session a client numbers its commands and repeats a
//! command under the same number until it knows the outcome; `done_below` says up to where it knows all of them. The
//! table remembers the replies from `done_below` on, so a repetition finds its reply, and what lies below can be
//! forgotten. It is part of the replicated state: it changes only by log entries, and expiry is by the log's time.
//!
//! Order within a session is not promised: sequences are executed in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::settings::{MAX_SESSIONS, SESSION_WINDOW};
use super::slot::Place;
use super::value::{Bytes, Sequence, SessionId};

/// All sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sessions {
    last: SessionId,
    table: BTreeMap<SessionId, Session>,
    /// (last active, session): whoever is idle longest comes first.
    by_activity: BTreeSet<(u64, SessionId)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Session {
    done_below: Sequence,
    replies: BTreeMap<Sequence, (Place, Bytes)>,
    active_ms: u64,
}

/// What the table says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Execute it, and remember the reply.
    New,
    /// It was executed: where, and what the machine answered.
    Seen(Place, Bytes),
    /// There is no such session.
    Expired,
    /// Below `done_below`, or too far above it.
    OutOfWindow,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions { last: SessionId(0), table: BTreeMap::new(), by_activity: BTreeSet::new() }
    }
}

impl Sessions {
    /// No session yet.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// Opens a session. If there are too many, the one idle longest makes room.
    pub fn open(&mut self, now_ms: u64) -> SessionId {
        if self.table.len() >= MAX_SESSIONS
            && let Some((_, idlest)) = self.by_activity.pop_first()
        {
            self.table.remove(&idlest);
        }
        self.last = SessionId(self.last.0 + 1);
        let session = Session { done_below: Sequence(1), replies: BTreeMap::new(), active_ms: now_ms };
        self.table.insert(self.last, session);
        self.by_activity.insert((now_ms, self.last));
        self.last
    }

    /// Drops sessions that have been idle for longer than `idle_ms`.
    pub fn expire(&mut self, now_ms: u64, idle_ms: u64) {
        while let Some((active_ms, id)) = self.by_activity.first().copied() {
            if active_ms.saturating_add(idle_ms) >= now_ms {
                break;
            }
            self.by_activity.pop_first();
            self.table.remove(&id);
        }
    }

    /// What to do with a command that the log holds.
    pub fn judge(&mut self, id: SessionId, sequence: Sequence, done_below: Sequence, now_ms: u64) -> Verdict {
        let Some(session) = self.table.get_mut(&id) else { return Verdict::Expired };
        if session.active_ms != now_ms {
            self.by_activity.remove(&(session.active_ms, id));
            session.active_ms = now_ms;
            self.by_activity.insert((now_ms, id));
        }
        if done_below > session.done_below {
            session.done_below = done_below;
            session.replies = session.replies.split_off(&done_below);
        }
        if sequence < session.done_below || sequence.0 - session.done_below.0 >= SESSION_WINDOW {
            return Verdict::OutOfWindow;
        }
        match session.replies.get(&sequence) {
            Some((place, result)) => Verdict::Seen(*place, result.clone()),
            None => Verdict::New,
        }
    }

    /// Remembers what a new command was answered.
    pub fn remember(&mut self, id: SessionId, sequence: Sequence, place: Place, result: Bytes) {
        let session = self.table.get_mut(&id).expect("judged New in the same step");
        session.replies.insert(sequence, (place, result));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Slot;

    fn place(slot: u64) -> Place {
        Place { slot: Slot(slot), index: 1 }
    }

    #[test]
    fn a_repeated_command_finds_its_reply() {
        let mut sessions = Sessions::new();
        let id = sessions.open(0);
        assert_eq!(sessions.judge(id, Sequence(2), Sequence(1), 0), Verdict::New, "order is not promised");
        sessions.remember(id, Sequence(2), place(4), Bytes::from(&b"ok"[..]));
        let seen = Verdict::Seen(place(4), Bytes::from(&b"ok"[..]));
        assert_eq!(sessions.judge(id, Sequence(2), Sequence(1), 5), seen);
        assert_eq!(sessions.judge(id, Sequence(1), Sequence(1), 5), Verdict::New);
    }

    #[test]
    fn what_is_done_is_forgotten_and_never_executed_again() {
        let mut sessions = Sessions::new();
        let id = sessions.open(0);
        sessions.judge(id, Sequence(1), Sequence(1), 0);
        sessions.remember(id, Sequence(1), place(4), Bytes::default());
        assert_eq!(sessions.judge(id, Sequence(3), Sequence(3), 0), Verdict::New);
        assert_eq!(sessions.judge(id, Sequence(1), Sequence(1), 0), Verdict::OutOfWindow, "a late repetition");
        assert_eq!(sessions.judge(id, Sequence(2), Sequence(1), 0), Verdict::OutOfWindow);
        assert_eq!(sessions.judge(id, Sequence(3 + SESSION_WINDOW), Sequence(3), 0), Verdict::OutOfWindow);
        assert_eq!(sessions.judge(id, Sequence(2 + SESSION_WINDOW), Sequence(3), 0), Verdict::New);
    }

    #[test]
    fn a_session_expires_by_the_logs_time_and_its_number_is_not_used_again() {
        let mut sessions = Sessions::new();
        let first = sessions.open(0);
        let second = sessions.open(0);
        sessions.judge(second, Sequence(1), Sequence(1), 50);
        sessions.expire(101, 100);
        assert_eq!(sessions.judge(first, Sequence(1), Sequence(1), 101), Verdict::Expired);
        assert_eq!(sessions.judge(second, Sequence(1), Sequence(1), 101), Verdict::New);
        assert_eq!(sessions.open(101), SessionId(3));
    }
}
