//! Commands that wait for a slot of the leader's, or go to it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::ballot::NodeId;
use super::effect::Effects;
use super::message::{ExecutorMessage, ProposerMessage, Refusal};
use super::settings::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES};
use super::value::{Command, Stamp, Value};

/// Commands that wait for a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Queue {
    /// The node whose client sent it, and the command.
    pub(super) commands: VecDeque<(NodeId, Command)>,
    pub(super) bytes: usize,
    /// How many of them change who the members are.
    pub(super) changes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, origin: NodeId, command: Command) {
        self.bytes += command.encoded_len();
        self.changes += usize::from(is_change(&command));
        self.commands.push_back((origin, command));
    }

    /// Whether one of the first so many commands is a change of members. They are few and far between, and are looked for
    /// only where there is one.
    pub(super) fn has_change(&self, most: usize) -> bool {
        self.changes > 0 && self.commands.iter().take(most).any(|(_, command)| is_change(command))
    }

    /// Takes the next commands, as many as one slot may hold.
    pub(super) fn take_batch(&mut self, most: usize, stamp: Stamp) -> Value {
        let (mut count, mut bytes) = (0, 0);
        for (_, command) in self.commands.iter().take(most) {
            let length = command.encoded_len();
            if bytes + length > MAX_BATCH_BYTES {
                break;
            }
            bytes += length;
            count += 1;
        }
        let value = Value::batch(stamp, self.commands.iter().take(count).map(|(_, command)| command));
        if self.changes > 0 {
            self.changes -= self.commands.iter().take(count).filter(|(_, command)| is_change(command)).count();
        }
        self.commands.drain(..count);
        self.bytes -= bytes;
        value
    }

    pub(super) fn refuse_all(&mut self, fx: &mut Effects) {
        let mut by_origin: BTreeMap<NodeId, Vec<Command>> = BTreeMap::new();
        for (origin, command) in self.commands.drain(..) {
            by_origin.entry(origin).or_default().push(command);
        }
        (self.bytes, self.changes) = (0, 0);
        for (origin, commands) in by_origin {
            refuse(origin, &commands, Refusal::NoLeader, fx);
        }
    }
}

pub(super) fn is_change(command: &Command) -> bool {
    matches!(command, Command::Change { .. } | Command::Promote { .. })
}

/// Tells the executor of the node whose clients sent them that commands were not taken.
pub(super) fn refuse(origin: NodeId, commands: &[Command], reason: Refusal, fx: &mut Effects) {
    let commands = commands.iter().filter_map(Command::name).collect();
    fx.send(origin, ExecutorMessage::Refused { commands, reason });
}

/// Sends a lot on to the leader, in messages of bounded size.
pub(super) fn forward(leader: NodeId, commands: Vec<Command>, fx: &mut Effects) {
    let mut part = Vec::new();
    let mut bytes = 0;
    for command in commands {
        let length = command.encoded_len();
        if bytes + length > MAX_MESSAGE_BYTES && !part.is_empty() {
            fx.send(leader, ProposerMessage::Forward { commands: std::mem::take(&mut part) });
            bytes = 0;
        }
        bytes += length;
        part.push(command);
    }
    if !part.is_empty() {
        fx.send(leader, ProposerMessage::Forward { commands: part });
    }
}
