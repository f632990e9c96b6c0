//! The session table: every command takes effect exactly once (DESIGN section 4, rule 7).
//!
//! A session is opened by a log entry, which numbers it. Within a session a client numbers its commands and repeats a
//! command under the same number until it knows the outcome; `done_below` says up to where it knows all of them. The
//! table remembers the replies from `done_below` on, so a repetition finds its reply, and what lies below can be
//! forgotten. It is part of the replicated state: it changes only by log entries, and expiry is by the log's time.
//!
//! Results are kept within limits, in bytes: of each, of a session's, of all together. A result that would go over them
//! is dropped, or drops the oldest; that it was executed, and where, stays in the table, so a repetition is told so and
//! is not executed again. What is dropped follows from the log alone, as everything here.
//!
//! Order within a session is not promised: sequences are executed in the order of the log.
//!
//! A clone shares its sessions with the original, many at a time, until one of them changes: so a snapshot of a hundred
//! thousand sessions copies a thousand pointers and no results, and no step of a command takes longer the more there are.

mod kept;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settings::{
    MAX_KEPT_RESULT_BYTES, MAX_RESULT_BYTES, MAX_SESSION_RESULT_BYTES, MAX_SESSIONS, SESSION_WINDOW,
};
use super::slot::{Place, Slot};
use super::value::{Bytes, Sequence, SessionId};
use kept::Kept;
use table::{Filed, Table};

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sessions {
    last: SessionId,
    table: Table,
    /// Whose results were kept, in the order of the log. Not all of them still are: see [`Sessions::tidy`].
    kept: Kept,
    /// How many of them still are.
    kept_count: usize,
    /// How many bytes those have.
    kept_bytes: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Session {
    done_below: Sequence,
    /// What was executed, from `done_below` on, by sequence; at most a window. Mostly the next one comes last.
    executed: VecDeque<Executed>,
    kept_bytes: usize,
    active_ms: u64,
}

/// A command, where it stands, and its result, unless that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Executed {
    sequence: Sequence,
    place: Place,
    result: Option<Bytes>,
}

impl Executed {
    /// How many bytes are kept of its result: none, if it has none, which costs nothing to keep.
    fn kept_bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.len())
    }
}

/// What the table says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Execute it, and remember the reply.
    New,
    /// It was executed: where, and what the machine answered, unless that was dropped.
    Seen(Place, Option<Bytes>),
    /// There is no such session.
    Expired,
    /// Below `done_below`, or too far above it.
    OutOfWindow,
}

impl Sessions {
    /// No session yet.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// Opens a session. If there are too many, the one idle longest makes room.
    pub fn open(&mut self, now_ms: u64) -> SessionId {
        while self.table.len() >= MAX_SESSIONS && self.close_idlest(u64::MAX) {}
        self.last = SessionId(self.last.0 + 1);
        let session = Session { done_below: Sequence(1), active_ms: now_ms, ..Session::default() };
        self.table.insert(self.last, Filed { known_ms: now_ms, session: Arc::new(session) });
        self.last
    }

    /// Drops sessions that have been idle for longer than `idle_ms`.
    pub fn expire(&mut self, now_ms: u64, idle_ms: u64) {
        while self.close_idlest(now_ms.saturating_sub(idle_ms)) {}
    }

    /// Closes the session that has been idle longest, if it was last active before that time. False if there is none
    /// left to look at.
    fn close_idlest(&mut self, before_ms: u64) -> bool {
        let Some((known_ms, id)) = self.table.idlest().filter(|(ms, _)| *ms < before_ms) else { return false };
        let Some(session) = self.table.remove(id) else { return false };
        if session.active_ms > known_ms {
            self.table.insert(id, Filed { known_ms: session.active_ms, session });
            return true;
        }
        for executed in session.executed.iter().filter(|executed| executed.kept_bytes() > 0) {
            self.kept.end(executed.place, id, executed.sequence);
            self.kept_count = self.kept_count.saturating_sub(1);
        }
        self.kept_bytes = self.kept_bytes.saturating_sub(session.kept_bytes);
        true
    }

    /// What to do with a command that the log holds.
    pub fn judge(&mut self, id: SessionId, sequence: Sequence, done_below: Sequence, now_ms: u64) -> Verdict {
        let Some(session) = self.table.get_mut(id) else { return Verdict::Expired };
        session.active_ms = now_ms;
        if done_below > session.done_below {
            let known = session.executed.partition_point(|executed| executed.sequence < done_below);
            for executed in session.executed.drain(..known) {
                let bytes = executed.kept_bytes();
                if bytes > 0 {
                    session.kept_bytes = session.kept_bytes.saturating_sub(bytes);
                    self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
                    self.kept_count = self.kept_count.saturating_sub(1);
                    self.kept.end(executed.place, id, executed.sequence);
                }
            }
            session.done_below = done_below;
            session.give_room_back();
        }
        if sequence < session.done_below || sequence.0 - session.done_below.0 >= SESSION_WINDOW {
            return Verdict::OutOfWindow;
        }
        match session.find(sequence) {
            Ok(at) => Verdict::Seen(session.executed[at].place, session.executed[at].result.clone()),
            Err(_) => Verdict::New,
        }
    }

    /// Remembers that a new command was executed, and with what result; the oldest results make room for it. Returns
    /// the result, unless it is too large to be kept or sent at all.
    pub fn remember(&mut self, id: SessionId, sequence: Sequence, place: Place, result: Bytes) -> Option<Bytes> {
        let result = (result.len() <= MAX_RESULT_BYTES).then_some(result);
        let session = self.table.get_mut(id).expect("judged New in the same step");
        let executed = Executed { sequence, place, result: result.clone() };
        match session.find(sequence) {
            Ok(at) => session.executed[at] = executed,
            Err(at) => session.executed.insert(at, executed),
        }
        let bytes = result.as_ref()?.len();
        if bytes > 0 {
            session.kept_bytes += bytes;
            self.kept_bytes += bytes;
            self.kept_count += 1;
            self.kept.push(place, id, sequence);
            self.make_room(id);
        }
        result
    }

    /// Drops the oldest results, of this session and of all, until the limits hold.
    fn make_room(&mut self, id: SessionId) {
        while let Some(session) = self.table.get(id).filter(|session| session.kept_bytes > MAX_SESSION_RESULT_BYTES)
            && let Some(oldest) = session.lowest_kept()
        {
            self.drop_result(id, oldest);
        }
        while self.kept_bytes > MAX_KEPT_RESULT_BYTES
            && let Some((id, oldest)) = self.kept.pop()
        {
            self.drop_result(id, oldest);
        }
        self.tidy();
    }

    /// Forgets whose results are gone, once they are more than the others.
    fn tidy(&mut self) {
        if self.kept.len() > 2 * self.kept_count + SESSION_WINDOW as usize {
            self.kept.clear_ended(self.kept_count);
        }
    }

    /// Forgets a result, if it is still there, but not that the command was executed.
    fn drop_result(&mut self, id: SessionId, sequence: Sequence) {
        if self.table.get(id).and_then(|session| session.kept(sequence)).is_none() {
            return;
        }
        let Some(session) = self.table.get_mut(id) else { return };
        if let Ok(at) = session.find(sequence) {
            let executed = &mut session.executed[at];
            let bytes = executed.kept_bytes();
            executed.result = None;
            self.kept.end(executed.place, id, sequence);
            session.kept_bytes = session.kept_bytes.saturating_sub(bytes);
            self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
            self.kept_count = self.kept_count.saturating_sub(1);
        }
    }

    /// The table in rows, for a snapshot: their order and their cut follow from the table alone.
    pub fn rows(&self) -> impl Iterator<Item = Rows> + '_ {
        let mut table = self.table.sorted().into_iter();
        let sessions = std::iter::from_fn(move || {
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while bytes < ROWS_BYTES
                && let Some((id, Filed { known_ms, session })) = table.next()
            {
                bytes += session.approximate_bytes();
                rows.push(Row { id, known_ms: *known_ms, session: session.clone() });
            }
            (!rows.is_empty()).then_some(Rows::Sessions(rows))
        });
        let mut kept = self.kept.iter();
        let queue = std::iter::from_fn(move || {
            let some: Vec<_> = kept.by_ref().take(ROWS_BYTES / size_of::<(SessionId, Sequence)>()).collect();
            (!some.is_empty()).then_some(Rows::Kept(some))
        });
        sessions.chain(queue)
    }

    /// The number of the session opened last: no other will have it.
    pub fn last(&self) -> SessionId {
        self.last
    }

    /// An empty table that will take the rows of one in which `last` was opened last.
    pub fn awaiting(last: SessionId) -> Sessions {
        Sessions { last, ..Sessions::default() }
    }

    /// Takes the next rows of [`Sessions::rows`].
    ///
    /// # Errors
    /// A sentence, if they are not what a table gives; this one is to be dropped then.
    pub fn take(&mut self, rows: Rows) -> Result<(), String> {
        match rows {
            Rows::Sessions(rows) => {
                let mut before = self.table.highest();
                rows.into_iter().try_for_each(|row| self.take_session(before.replace(row.id), row))
            }
            Rows::Kept(kept) => kept.into_iter().try_for_each(|(id, sequence)| self.take_kept(id, sequence)),
        }
    }

    fn take_kept(&mut self, id: SessionId, sequence: Sequence) -> Result<(), String> {
        let last = self.kept.last_place();
        match self.table.get(id).and_then(|session| session.kept(sequence)).map(|executed| executed.place) {
            Some(place) if last.is_some_and(|last| place < last) => {
                return Err(format!("the results of session {} are out of their place", id.0));
            }
            Some(place) => self.kept.push(place, id, sequence),
            // Gone, and still listed.
            None => self.kept.push_ended(last.unwrap_or(Place { slot: Slot::ZERO, index: 0 }), id, sequence),
        }
        Ok(())
    }

    fn take_session(&mut self, before: Option<SessionId>, row: Row) -> Result<(), String> {
        let Row { id, known_ms, mut session } = row;
        let is_next = before.is_none_or(|before| before < id) && id <= self.last;
        if !is_next || !self.kept.is_empty() || self.table.len() >= MAX_SESSIONS {
            return Err(format!("session {} is out of its place", id.0));
        }
        let held = Arc::make_mut(&mut session);
        let window = |executed: &Executed| {
            executed.sequence.0.checked_sub(held.done_below.0).is_some_and(|ahead| ahead < SESSION_WINDOW)
        };
        let in_order = |pair: (&Executed, &Executed)| pair.0.sequence < pair.1.sequence;
        let ordered = held.executed.iter().zip(held.executed.iter().skip(1)).all(in_order);
        held.kept_bytes = held.executed.iter().map(Executed::kept_bytes).sum();
        let bounded = held.kept_bytes <= MAX_SESSION_RESULT_BYTES + MAX_RESULT_BYTES;
        if !ordered || !bounded || !held.executed.iter().all(window) || known_ms > held.active_ms {
            return Err(format!("session {} contradicts itself", id.0));
        }
        self.kept_bytes += held.kept_bytes;
        self.kept_count += held.executed.iter().filter(|executed| executed.kept_bytes() > 0).count();
        self.table.insert(id, Filed { known_ms, session });
        Ok(())
    }

    /// How many bytes of results are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }
}

/// Some rows of a session table, on their way through a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rows {
    /// Sessions, ascending by number.
    Sessions(Vec<Row>),
    /// Whose results are kept, in the order of the log. They come behind all sessions.
    Kept(Vec<(SessionId, Sequence)>),
}

/// A session, shared with the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    id: SessionId,
    /// As [`Sessions::by_activity`] has it.
    known_ms: u64,
    session: Arc<Session>,
}

impl Session {
    /// About as many bytes as its encoding has.
    fn approximate_bytes(&self) -> usize {
        48 + self.executed.len() * 32 + self.kept_bytes
    }

    /// Where this sequence is, or else where it belongs.
    fn find(&self, sequence: Sequence) -> Result<usize, usize> {
        match self.executed.back() {
            Some(last) if last.sequence >= sequence => {
                self.executed.binary_search_by_key(&sequence, |executed| executed.sequence)
            }
            _ => Err(self.executed.len()),
        }
    }

    /// The command of this sequence, if its result is kept, and is not empty.
    fn kept(&self, sequence: Sequence) -> Option<&Executed> {
        self.find(sequence).ok().map(|at| &self.executed[at]).filter(|executed| executed.kept_bytes() > 0)
    }

    /// The lowest sequence whose result is kept.
    fn lowest_kept(&self) -> Option<Sequence> {
        self.executed.iter().find(|executed| executed.kept_bytes() > 0).map(|executed| executed.sequence)
    }

    /// Many were in flight once; the room for them is not held until the session ends.
    fn give_room_back(&mut self) {
        if self.executed.capacity() > ROOM_KEPT && self.executed.len() < self.executed.capacity() / 4 {
            self.executed.shrink_to(ROOM_KEPT.max(2 * self.executed.len()));
        }
    }
}

/// Rows are cut when they have about so many bytes; one session alone may have more.
const ROWS_BYTES: usize = 1 << 20;
/// So many commands a session may have room for without having them.
const ROOM_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(slot: u64) -> Place {
        Place { slot: Slot(slot), index: 1 }
    }

    #[test]
    fn a_repeated_command_finds_its_reply() {
        let mut sessions = Sessions::new();
        let id = sessions.open(0);
        assert_eq!(sessions.judge(id, Sequence(2), Sequence(1), 0), Verdict::New, "order is not promised");
        sessions.remember(id, Sequence(2), place(4), Bytes::from(&b"ok"[..]));
        let seen = Verdict::Seen(place(4), Some(Bytes::from(&b"ok"[..])));
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
    fn a_result_that_was_dropped_leaves_its_command_executed() {
        let mut sessions = Sessions::new();
        let large = Bytes::from(vec![7; 1 << 20]);
        let many = (MAX_SESSION_RESULT_BYTES >> 20) as u64;
        let id = sessions.open(0);
        for sequence in 1..=many + 2 {
            assert_eq!(sessions.judge(id, Sequence(sequence), Sequence(1), 0), Verdict::New);
            assert!(sessions.remember(id, Sequence(sequence), place(sequence), large.clone()).is_some());
        }
        assert_eq!(sessions.kept_bytes(), MAX_SESSION_RESULT_BYTES);
        for dropped in [1, 2] {
            let seen = sessions.judge(id, Sequence(dropped), Sequence(1), 0);
            assert_eq!(seen, Verdict::Seen(place(dropped), None), "the oldest made room");
        }
        assert_eq!(sessions.judge(id, Sequence(3), Sequence(1), 0), Verdict::Seen(place(3), Some(large)));
        let next = Sequence(many + 3);
        assert_eq!(sessions.judge(id, next, next, 0), Verdict::New);
        assert_eq!(sessions.kept_bytes(), 0, "the client knows all of them");
        let huge = Bytes::from(vec![7; MAX_RESULT_BYTES + 1]);
        assert_eq!(sessions.remember(id, next, place(99), huge), None);
        assert_eq!(sessions.judge(id, next, next, 0), Verdict::Seen(place(99), None));
    }

    #[test]
    fn the_results_of_all_sessions_are_bounded_together_and_an_expired_session_takes_its_own_along() {
        let mut sessions = Sessions::new();
        let large = Bytes::from(vec![7; 1 << 20]);
        let many = (MAX_KEPT_RESULT_BYTES >> 20) as u64;
        let ids: Vec<SessionId> = (1..=many + 1).map(|_| sessions.open(0)).collect();
        for (id, slot) in ids.iter().zip(1..) {
            assert_eq!(sessions.judge(*id, Sequence(1), Sequence(1), slot), Verdict::New);
            sessions.remember(*id, Sequence(1), place(slot), large.clone());
        }
        assert_eq!(sessions.kept_bytes(), MAX_KEPT_RESULT_BYTES);
        assert_eq!(sessions.judge(ids[0], Sequence(1), Sequence(1), 1), Verdict::Seen(place(1), None));
        let second = Verdict::Seen(place(2), Some(large.clone()));
        assert_eq!(sessions.judge(ids[1], Sequence(1), Sequence(1), 2), second);
        let mut again = Sessions::awaiting(sessions.last());
        sessions.rows().try_for_each(|rows| again.take(rows)).expect("its own rows");
        assert_eq!(again, sessions, "part of the snapshot");
        let last = Sequence(u64::MAX);
        assert_eq!(sessions.judge(ids[2], last, last, 3), Verdict::New);
        sessions.remember(ids[2], last, place(many + 2), large);
        sessions.expire(many + 2, 1);
        assert_eq!((sessions.len(), sessions.kept_bytes()), (1, 1 << 20));
    }

    #[test]
    fn a_table_takes_room_for_what_is_in_it() {
        let mut sessions = Sessions::new();
        let id = sessions.open(0);
        let ends = |sessions: &Sessions| {
            let session = &sessions.table.get(id).expect("open");
            (session.executed.front().map(|first| first.sequence), session.executed.back().map(|last| last.sequence))
        };
        let execute = |sessions: &mut Sessions, sequence, done_below| {
            assert_eq!(sessions.judge(id, Sequence(sequence), Sequence(done_below), 0), Verdict::New);
            sessions.remember(id, Sequence(sequence), place(sequence), Bytes::from("r"));
        };
        execute(&mut sessions, SESSION_WINDOW, 1);
        assert!(
            sessions.table.get(id).expect("open").executed.capacity() <= ROOM_KEPT,
            "one command far ahead is one command"
        );
        for sequence in (1..SESSION_WINDOW).rev() {
            execute(&mut sessions, sequence, 1);
        }
        assert_eq!(ends(&sessions), (Some(Sequence(1)), Some(Sequence(SESSION_WINDOW))), "whatever the order was");
        assert_eq!((sessions.kept_count, sessions.kept.len()), (1024, 1024));
        execute(&mut sessions, SESSION_WINDOW + 1, SESSION_WINDOW);
        assert_eq!(ends(&sessions), (Some(Sequence(SESSION_WINDOW)), Some(Sequence(SESSION_WINDOW + 1))));
        assert!(sessions.table.get(id).expect("open").executed.capacity() <= ROOM_KEPT);
        for sequence in SESSION_WINDOW + 2..10 * SESSION_WINDOW {
            execute(&mut sessions, sequence, sequence);
            assert_eq!((sessions.kept_count, sessions.kept_bytes()), (1, 1));
            assert!(sessions.kept.len() <= 2 + SESSION_WINDOW as usize, "whose results are gone leaves the queue");
        }
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
        assert_eq!((sessions.len(), sessions.is_empty(), Sessions::new().is_empty()), (2, false, true));
    }

    #[test]
    fn a_clone_keeps_what_the_table_goes_on_to_change() {
        let mut sessions = Sessions::new();
        let (first, second) = (sessions.open(0), sessions.open(0));
        let frozen = sessions.clone();
        let is_shared = |sessions: &Sessions| {
            let of = |sessions: &Sessions| sessions.table.get(second).map(std::ptr::from_ref);
            of(sessions) == of(&frozen)
        };
        assert!(is_shared(&sessions));
        assert_eq!(sessions.judge(first, Sequence(1), Sequence(1), 9), Verdict::New);
        sessions.remember(first, Sequence(1), place(1), Bytes::from("r"));
        assert!(frozen.table.get(first).expect("open").executed.is_empty());
        assert!(is_shared(&sessions), "still");
    }

    #[test]
    fn rows_that_no_table_gives_are_refused() {
        let mut sessions = Sessions::new();
        for _ in 0..3 {
            let id = sessions.open(5);
            sessions.judge(id, Sequence(1), Sequence(1), 6);
            sessions.remember(id, Sequence(1), place(1), Bytes::from("r"));
        }
        let Some(Rows::Sessions(rows)) = sessions.rows().next() else { panic!("three sessions are one lot of rows") };
        let taken = |change: &dyn Fn(&mut Vec<Row>)| {
            let mut rows = rows.clone();
            change(&mut rows);
            Sessions::awaiting(sessions.last()).take(Rows::Sessions(rows))
        };
        assert_eq!(taken(&|_| {}), Ok(()));
        let hurt = |session: &mut Session, change: &dyn Fn(&mut Session)| change(session);
        for (change, why) in [
            (&(|rows: &mut Vec<Row>| rows.swap(0, 1)) as &dyn Fn(&mut Vec<Row>), "session 1 is out of its place"),
            (&|rows| rows[2].id = SessionId(4), "session 4 is out of its place"),
            (&|rows| rows[1].known_ms = 7, "session 2 contradicts itself"),
            (
                &|rows| hurt(Arc::make_mut(&mut rows[0].session), &|session| session.done_below = Sequence(2)),
                "session 1 contradicts itself",
            ),
        ] {
            assert_eq!(taken(change), Err(why.to_owned()));
        }
        let mut late = Sessions::awaiting(sessions.last());
        late.take(Rows::Kept(vec![(SessionId(1), Sequence(1))])).expect("anything");
        assert!(late.take(Rows::Sessions(rows.clone())).is_err(), "sessions come first");
    }
}
