//! What leaves the session: who is introduced before what, in as few frames as will hold it.

use super::{Attempts, Home, LOT_BYTES, NodeIndex, Output, RequestKey, Session, Standing, Task, WINDOW, WINDOW_BYTES};
use crate::net::wire::ClientFrame;
use crate::paxos::{Command, Sequence, SessionId};

impl Session {
    pub(super) fn send_open(&mut self, home: &mut Home, now_ms: u64) {
        if self.unnumbered.is_empty() {
            return;
        }
        if self.standing == Standing::Closed {
            self.standing = Standing::Opening(Attempts::default());
        }
        let Standing::Opening(attempts) = &mut self.standing else { return };
        if attempts.sent_ms.is_some() {
            return;
        }
        attempts.sent_ms = Some(now_ms);
        let (node, token) = (home.node, self.token);
        if home.attached_token.replace(token) != Some(token) {
            self.outputs.push(Output::Send { node, frame: ClientFrame::AttachToken(token) });
        }
        self.outputs.push(Output::Send { node, frame: ClientFrame::Commands(vec![Command::Open { token }]) });
    }

    pub(super) fn send_commands(&mut self, home: &mut Home, now_ms: u64) {
        let Some(session) = self.id() else { return };
        let done_below = self.done_below(session);
        let mut due: Vec<RequestKey> = std::mem::take(&mut self.retries).into_iter().collect();
        while self.next_sequence.0 < done_below.0 + WINDOW && self.numbered_bytes < WINDOW_BYTES {
            let Some(key) = self.unnumbered.pop_first() else { break };
            let command = self.commands.get_mut(&key).expect("an unnumbered command is unfinished");
            command.name = Some((session, self.next_sequence));
            self.numbered.insert((session, self.next_sequence), key);
            self.numbered_bytes += command.task.len();
            self.next_sequence.0 += 1;
            due.push(key);
        }
        if due.is_empty() {
            return;
        }
        let node = home.node;
        if home.attached.replace(session) != Some(session) {
            self.outputs.push(Output::Send { node, frame: ClientFrame::Attach(session) });
        }
        let mut lot = Lot::new(node, ClientFrame::Commands);
        for key in due {
            let command = self.commands.get_mut(&key).expect("what is due is unfinished");
            command.attempts.sent_ms = Some(now_ms);
            let (session, sequence) = command.name.expect("it has just been numbered, or was before");
            let length = command.task.len();
            let command = match command.task.clone() {
                Task::Operation(operation) => Command::Apply { session, sequence, done_below, operation },
                Task::Change { change, force } => Command::Change { session, sequence, done_below, change, force },
            };
            lot.push(command, length, &mut self.outputs);
        }
        lot.close(&mut self.outputs);
    }

    pub(super) fn send_reads(&mut self, home: &Home, now_ms: u64) {
        let mut lots =
            [false, true].map(|local| Lot::new(home.node, move |queries| ClientFrame::Reads { queries, local }));
        while self.reads.len() - self.reads_waiting.len() < WINDOW as usize {
            let Some(key) = self.reads_waiting.pop_first() else { break };
            let read = self.reads.get_mut(&key).expect("a waiting read is unfinished");
            read.attempts.sent_ms = Some(now_ms);
            let question = read.question.clone();
            let length = question.len();
            lots[usize::from(read.local)].push((key.0, question), length, &mut self.outputs);
        }
        for lot in lots {
            lot.close(&mut self.outputs);
        }
    }

    /// The lowest unfinished sequence.
    fn done_below(&self, session: SessionId) -> Sequence {
        let first = self.numbered.range((session, Sequence(0))..=(session, Sequence(u64::MAX))).next();
        first.map_or(self.next_sequence, |((_, sequence), _)| *sequence)
    }
}

/// A frame that is being filled.
struct Lot<T, F> {
    node: NodeIndex,
    frame: F,
    items: Vec<T>,
    bytes: usize,
}

impl<T, F: Fn(Vec<T>) -> ClientFrame> Lot<T, F> {
    fn new(node: NodeIndex, frame: F) -> Lot<T, F> {
        Lot { node, frame, items: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, item: T, length: usize, outputs: &mut Vec<Output>) {
        if self.bytes + length > LOT_BYTES && !self.items.is_empty() {
            let items = std::mem::take(&mut self.items);
            outputs.push(Output::Send { node: self.node, frame: (self.frame)(items) });
            self.bytes = 0;
        }
        self.bytes += length;
        self.items.push(item);
    }

    fn close(self, outputs: &mut Vec<Output>) {
        if !self.items.is_empty() {
            outputs.push(Output::Send { node: self.node, frame: (self.frame)(self.items) });
        }
    }
}
