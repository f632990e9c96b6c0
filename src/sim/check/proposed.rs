//! What is chosen was proposed by a client ("Paxos Made Simple", section 2.1), or is a no-op.

use std::collections::BTreeSet;

use super::{Broken, Held};
use crate::paxos::{Bytes, Change, Entry, SessionId, Slot, Token, Value};

/// Everything that clients ever sent.
#[derive(Debug, Default)]
pub struct Proposed {
    operations: BTreeSet<Bytes>,
    tokens: BTreeSet<Token>,
    changes: Vec<Change>,
}

impl Proposed {
    /// A client sends an operation.
    pub fn on_operation(&mut self, operation: &Bytes) {
        if !self.operations.contains(operation) {
            self.operations.insert(operation.clone());
        }
    }

    /// A client asks for a session.
    pub fn on_token(&mut self, token: Token) {
        self.tokens.insert(token);
    }

    /// The operator asks for a change of members.
    pub fn on_change(&mut self, change: &Change) {
        self.changes.push(change.clone());
    }

    /// A value is chosen.
    pub fn on_chosen(&self, slot: Slot, value: &Value) -> Held {
        for entry in value.entries() {
            let known = match entry {
                Entry::Open { token } => self.tokens.contains(&token),
                // A command of no session executes as nothing, and makes room for a snapshot.
                Entry::Apply { session: SessionId(0), operation: [], .. } => true,
                Entry::Apply { operation, .. } => self.operations.contains(&Bytes::from(operation)),
                Entry::Change { ref change, .. } => self.changes.contains(change),
                Entry::Promote { .. } => true,
            };
            if !known {
                return Err(Broken::new("proposed", format!("slot {slot} holds what no client sent: {entry:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Command, Stamp};

    #[test]
    fn what_nobody_sent_is_found() {
        let mut proposed = Proposed::default();
        let value = Value::batch(Stamp::default(), &[Command::Open { token: Token(7) }]);
        assert!(proposed.on_chosen(Slot(1), &value).is_err());
        proposed.on_token(Token(7));
        assert_eq!(proposed.on_chosen(Slot(1), &value), Ok(()));
        assert_eq!(proposed.on_chosen(Slot(1), &Value::no_op()), Ok(()));
    }
}
