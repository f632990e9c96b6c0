//! Nothing is said before it is durable: when a promise, a vote or a reservation leaves, the records of its lot are in a
//! committed batch, and no write of the journal waits for a sync. (What that is for is checked by [`super::promises`]
//! after every crash.) A role itself says none of these: they come from the disk alone.

use super::{Broken, Held};
use crate::paxos::dispatch::Dispatch;
use crate::paxos::{AcceptorMessage, LearnerMessage, Message, NodeId, ProposerMessage};
use crate::sim::node::DiskTurn;

/// Whether a message claims something that must be durable.
pub fn claims(message: &Message) -> bool {
    matches!(
        message,
        Message::Proposer(ProposerMessage::Promise(_))
            | Message::Learner(LearnerMessage::Accepted(_))
            | Message::Acceptor(
                AcceptorMessage::Prepare(_) | AcceptorMessage::Fetched(_) | AcceptorMessage::Recorded(_)
            )
    )
}

/// A role has taken its turn.
pub fn check_role(node: NodeId, dispatch: &Dispatch) -> Held {
    let Dispatch { mail, remote, .. } = dispatch;
    let sent = remote.iter().find(|(_, message)| claims(message)).map(|(_, message)| format!("{message:?}"));
    let votes = mail.learner.iter().find(|(_, message)| matches!(message, LearnerMessage::Accepted(_)));
    let promises = mail.proposer.iter().find(|(_, message)| matches!(message, ProposerMessage::Promise(_)));
    let own = |message: &AcceptorMessage| matches!(message, AcceptorMessage::Prepare(_) | AcceptorMessage::Recorded(_));
    let prepares = mail.acceptor.iter().find(|(_, message)| own(message));
    let said = sent
        .or_else(|| votes.map(|(_, message)| format!("{message:?}")))
        .or_else(|| promises.map(|(_, message)| format!("{message:?}")))
        .or_else(|| prepares.map(|(_, message)| format!("{message:?}")));
    match said {
        Some(said) => Err(Broken::new("durable", format!("{node} said something past its disk: {said}"))),
        None => Ok(()),
    }
}

/// A disk has done something.
pub fn check(node: NodeId, turn: &DiskTurn) -> Held {
    if turn.premature {
        return Err(Broken::new("durable", format!("{node} said something before it was durable: {:?}", turn.said)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::message::Prepare;
    use crate::paxos::{Ballot, Slot};

    #[test]
    fn what_is_said_too_early_is_found() {
        assert_eq!(check(NodeId(1), &DiskTurn::default()), Ok(()));
        assert!(check(NodeId(1), &DiskTurn { premature: true, ..DiskTurn::default() }).is_err());
        let prepare = Prepare { ballot: Ballot::new(1, NodeId(1)), from: Slot(1) };
        let said = (NodeId(2), AcceptorMessage::Prepare(prepare.clone()).into());
        assert_eq!(check_role(NodeId(1), &Dispatch::default()), Ok(()));
        assert!(check_role(NodeId(1), &Dispatch { remote: vec![said], ..Dispatch::default() }).is_err());
        let mut own = Dispatch::default();
        own.mail.push(NodeId(1), AcceptorMessage::Prepare(prepare).into());
        assert!(check_role(NodeId(1), &own).is_err(), "to itself");
    }
}
