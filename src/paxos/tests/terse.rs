//! Short names for the nouns, so that a test reads as the run it describes.

use crate::paxos::message::{Promise, Vote};
use crate::paxos::*;

pub fn n(node: u32) -> NodeId {
    NodeId(node)
}

/// The ballot `round.node`.
pub fn b(round: u64, node: u32) -> Ballot {
    Ballot::new(round, n(node))
}

pub fn s(slot: u64) -> Slot {
    Slot(slot)
}

/// A value that is told from others by its name.
pub fn v(name: &str) -> Value {
    Value::batch(Stamp::default(), &[command(1, 1, name)])
}

/// `operation` in session 1, acknowledging nothing.
pub fn command(session: u64, sequence: u64, operation: &str) -> Command {
    Command::Apply {
        session: SessionId(session),
        sequence: Sequence(sequence),
        done_below: Sequence(1),
        operation: operation.as_bytes().into(),
    }
}

pub fn three() -> Membership {
    Membership::founded(Configuration::numbered(3))
}

/// What a handler asks for, without what an executor tells the other roles of how far it is.
pub fn effects(handler: impl FnOnce(&mut Effects)) -> Vec<Effect> {
    let is_progress = |effect: &Effect| match effect {
        Effect::Send { message, .. } => matches!(
            message,
            Message::Proposer(ProposerMessage::Executed(_))
                | Message::Acceptor(AcceptorMessage::Executed(_))
                | Message::Learner(LearnerMessage::Executed(_))
        ),
        effect => matches!(effect, Effect::Members(_)),
    };
    let mut fx = Effects::new();
    handler(&mut fx);
    fx.as_slice().iter().filter(|effect| !is_progress(effect)).cloned().collect()
}

/// What a handler asks for, without what it tells onlookers.
pub fn deeds(handler: impl FnOnce(&mut Effects)) -> Vec<Effect> {
    effects(handler).into_iter().filter(|effect| !matches!(effect, Effect::Note(_))).collect()
}

/// Why a message was ignored.
pub fn ignored(handler: impl FnOnce(&mut Effects)) -> &'static str {
    match effects(handler).as_slice() {
        [Effect::Note(Event::Ignored { why, .. })] => why,
        other => panic!("not ignored: {other:?}"),
    }
}

pub fn send(to: u32, message: impl Into<Message>) -> Effect {
    Effect::Send { to: n(to), message: message.into() }
}

pub fn sync(records: Vec<Record>, then: Vec<Then>) -> Effect {
    Effect::Sync { records, then }
}

pub fn vote(slot: u64, ballot: Ballot, name: &str) -> Vote {
    Vote { slot: s(slot), ballot, value: v(name) }
}

/// A promise in one part.
pub fn promise(ballot: Ballot, settled_upto: u64, votes: Vec<Vote>) -> Promise {
    Promise { ballot, from: s(1), settled_upto: s(settled_upto), votes, part: 0, parts: 1 }
}
