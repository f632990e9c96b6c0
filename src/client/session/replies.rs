//! What a reply does to the request that it answers.

use super::{Attempts, FIRST, Output, PATIENCE, RequestKey, Session, Standing};
use crate::client::outcome::{Doubt, Outcome};
use crate::paxos::message::CommandName;
use crate::paxos::{Refusal, Sequence, SessionId, Token};

impl Session {
    pub(super) fn on_opened(&mut self, token: Token, session: SessionId) {
        if token == self.token && matches!(self.standing, Standing::Opening(_)) {
            self.standing = Standing::Open(session);
            self.next_sequence = FIRST;
            self.pause.on_progress();
        }
    }

    pub(super) fn on_done(&mut self, name: (SessionId, Sequence), outcome: Outcome) {
        if let Some(&key) = self.numbered.get(&name) {
            self.finish(key, outcome);
            self.pause.on_progress();
        }
    }

    pub(super) fn on_read(&mut self, key: RequestKey, outcome: Outcome) {
        if self.reads.contains_key(&key) {
            self.finish(key, outcome);
            self.pause.on_progress();
        }
    }

    /// The command did nothing on this attempt's account, and no attempt in this session can do anything any more.
    pub(super) fn on_session_expired(&mut self, name: (SessionId, Sequence)) {
        let Some(&key) = self.numbered.get(&name) else { return };
        if self.id() == Some(name.0) {
            self.standing = Standing::Closed;
            self.token = Token(self.token.0.wrapping_add(1));
            for key in std::mem::take(&mut self.retries) {
                self.leave_session(key);
            }
        }
        self.leave_session(key);
    }

    /// Has a command of an expired session, none of whose attempts is awaited, start anew, if that is safe.
    pub(super) fn leave_session(&mut self, key: RequestKey) {
        let Some(command) = self.commands.get_mut(&key) else { return };
        if command.doubt.is_some() {
            return self.finish(key, Outcome::Unknown { reason: Doubt::SessionExpired });
        }
        if let Some(name) = command.name.take() {
            self.numbered.remove(&name);
            self.numbered_bytes -= command.task.len();
        }
        command.attempts.sent_ms = None;
        self.unnumbered.insert(key);
    }

    /// Gives the reason back if it is one to pause for.
    pub(super) fn on_refused(&mut self, name: CommandName, reason: Refusal, forwarded: bool) -> Option<Refusal> {
        let (session, sequence) = match name {
            CommandName::Open(token) => {
                let Standing::Opening(attempts) = &mut self.standing else { return None };
                if token != self.token {
                    return None;
                }
                *attempts = Attempts { sent_ms: None, refusal: Some(reason.clone()), ..attempts.clone() };
                return Some(reason);
            }
            CommandName::Apply(session, sequence) => (session, sequence),
        };
        let &key = self.numbered.get(&(session, sequence))?;
        let command = self.commands.get_mut(&key).expect("a numbered command is unfinished");
        if let Refusal::TooLarge { .. } | Refusal::NoLiveQuorum { .. } = reason {
            let outcome = match command.doubt {
                Some(reason) => Outcome::Unknown { reason },
                None => Outcome::Refused { reason },
            };
            self.finish(key, outcome);
            return None;
        }
        if forwarded {
            // A copy may still reach a leader; and this may be a late copy of an answer to an earlier attempt.
            command.doubt.get_or_insert(Doubt::Forwarded);
        }
        command.attempts.sent_ms = None;
        command.attempts.refusal = Some(reason.clone());
        self.retry(key);
        Some(reason)
    }

    pub(super) fn on_read_refused(&mut self, key: RequestKey, reason: Refusal) -> Option<Refusal> {
        let read = self.reads.get_mut(&key)?;
        if let Refusal::TooLarge { .. } = reason {
            self.finish(key, Outcome::Refused { reason });
            return None;
        }
        read.attempts.sent_ms = None;
        read.attempts.refusal = Some(reason.clone());
        self.reads_waiting.insert(key);
        Some(reason)
    }

    /// A lot of refusals counts as one.
    pub(super) fn weigh(&mut self, refusals: &[Refusal], now_ms: u64) {
        let Some(home) = &mut self.home else { return };
        home.heard_ms = now_ms;
        if refusals.is_empty() || !self.pause.on_refusal(now_ms) {
            return;
        }
        let leaderless = refusals.contains(&Refusal::NoLeader) && self.pause.refusals().is_multiple_of(PATIENCE);
        if leaderless || refusals.contains(&Refusal::NotAdmitted) {
            self.outputs.push(Output::Leave { node: home.node });
        }
    }
}
