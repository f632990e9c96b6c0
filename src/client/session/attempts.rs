//! Attempts that get no answer: lost with their connection, or late. A command's are in doubt from then on.

use super::{ATTEMPT_MS, Attempts, NodeIndex, Output, RequestKey, Session, Standing};
use crate::client::outcome::Doubt;

impl Session {
    pub(super) fn is_home(&self, node: NodeIndex) -> bool {
        self.home.as_ref().is_some_and(|home| home.node == node)
    }

    pub(super) fn lose_home(&mut self) {
        if self.home.take().is_some() {
            self.send_all_again(Doubt::ConnectionLost);
        }
    }

    /// Whatever is under way may be lost: all of it is to be sent again.
    pub(super) fn send_all_again(&mut self, why: Doubt) {
        if let Standing::Opening(attempts) = &mut self.standing {
            attempts.sent_ms = None;
        }
        for key in self.awaited() {
            self.doubt(key, why);
        }
        for (key, read) in &mut self.reads {
            read.attempts.sent_ms = None;
            self.reads_waiting.insert(*key);
        }
    }

    pub(super) fn time_out(&mut self, now_ms: u64) {
        let Some(home) = &self.home else { return };
        let (node, heard_ms) = (home.node, home.heard_ms);
        let mut silent = false;
        let mut is_late = |attempts: &mut Attempts| match attempts.sent_ms {
            Some(sent_ms) if now_ms >= sent_ms + (ATTEMPT_MS << attempts.timeouts.min(2)) => {
                silent |= heard_ms <= sent_ms;
                attempts.timeouts += 1;
                attempts.sent_ms = None;
                true
            }
            _ => false,
        };
        if let Standing::Opening(attempts) = &mut self.standing {
            is_late(attempts);
        }
        for (key, read) in &mut self.reads {
            if is_late(&mut read.attempts) {
                self.reads_waiting.insert(*key);
            }
        }
        let mut late = Vec::new();
        for key in self.numbered.values() {
            let command = self.commands.get_mut(key).expect("a numbered command is unfinished");
            if is_late(&mut command.attempts) {
                late.push(*key);
            }
        }
        // A node that answers others is busy; one that answers nobody is stuck or cut off.
        if silent {
            self.outputs.push(Output::Leave { node });
        }
        for key in late {
            self.doubt(key, Doubt::NoAnswer);
        }
    }

    /// The numbered commands with an attempt under way.
    fn awaited(&self) -> Vec<RequestKey> {
        self.numbered.values().copied().filter(|key| self.commands[key].attempts.sent_ms.is_some()).collect()
    }

    /// The attempt under way may have its effect or not: nobody will tell.
    fn doubt(&mut self, key: RequestKey, doubt: Doubt) {
        let command = self.commands.get_mut(&key).expect("a numbered command is unfinished");
        command.attempts.sent_ms = None;
        command.doubt.get_or_insert(doubt);
        self.retry(key);
    }

    /// A numbered command, none of whose attempts is awaited, is to be sent again.
    pub(super) fn retry(&mut self, key: RequestKey) {
        let session = self.commands[&key].name.map(|(session, _)| session);
        if session == self.id() {
            self.retries.insert(key);
        } else {
            self.leave_session(key);
        }
    }
}
