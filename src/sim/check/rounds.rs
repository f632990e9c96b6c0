//! The index of a read rests on a heartbeat round that began after the read had reached the leader, and that a quorum
//! answered (DESIGN section 4, rule 3). [`super::fresh`] sees a stale answer; this sees one that was fresh by luck.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Held};
use crate::paxos::dispatch::Dispatch;
use crate::paxos::{AcceptorMessage, Ballot, ExecutorMessage, Message, NodeId, ProposerMessage};

/// The rounds of every leader.
#[derive(Debug, Default)]
pub struct Rounds {
    quorum: usize,
    leaders: BTreeMap<NodeId, Leader>,
}

/// A round of one ballot.
type Round = (Ballot, u64);

#[derive(Debug, Default)]
struct Leader {
    /// The last round that it began.
    begun: Option<Round>,
    /// The last round that a quorum answered.
    confirmed: Option<Round>,
    answered: BTreeMap<Round, BTreeSet<NodeId>>,
    /// By the number of a batch of reads: the last round begun when it first asked.
    asked: BTreeMap<u64, Option<Round>>,
}

impl Rounds {
    /// A round is answered when this number of nodes has.
    pub fn set_quorum(&mut self, quorum: usize) {
        self.quorum = quorum;
    }

    /// A proposer takes a message.
    pub fn on_message(&mut self, node: NodeId, from: NodeId, message: &ProposerMessage) {
        let leader = self.leaders.entry(node).or_default();
        match message {
            ProposerMessage::ReadIndex { batch } => {
                leader.asked.entry(*batch).or_insert(leader.begun);
            }
            ProposerMessage::HeartbeatAck { ballot, round, .. } if leader.confirmed < Some((*ballot, *round)) => {
                let round = (*ballot, *round);
                let nodes = leader.answered.entry(round).or_default();
                nodes.insert(from);
                if nodes.len() >= self.quorum {
                    leader.confirmed = Some(round);
                    leader.answered = leader.answered.split_off(&round);
                }
            }
            _ => {}
        }
    }

    /// What came of a lot of a proposer.
    pub fn on_lot(&mut self, node: NodeId, dispatch: &Dispatch) -> Held {
        let leader = self.leaders.entry(node).or_default();
        for (_, message) in &dispatch.mail.acceptor {
            if let AcceptorMessage::Heartbeat { ballot, round, .. } = message {
                leader.begun = leader.begun.max(Some((*ballot, *round)));
            }
        }
        let own = dispatch.mail.executor.iter().map(|(_, message)| message);
        let others = dispatch.remote.iter().filter_map(|(_, message)| match message {
            Message::Executor(message) => Some(message),
            _ => None,
        });
        for message in own.chain(others) {
            if let ExecutorMessage::ReadIndexed { batch, .. } = message
                && leader.confirmed <= leader.asked.get(batch).copied().flatten()
            {
                return Err(Broken::new(
                    "rounds",
                    format!(
                        "{node} gives an index to reads that came after the last round that a quorum answered began"
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Slot;

    const LEADER: NodeId = NodeId(1);

    fn ballot() -> Ballot {
        Ballot::new(1, LEADER)
    }

    fn begins(round: u64) -> Dispatch {
        let mut dispatch = Dispatch::default();
        let heartbeat =
            AcceptorMessage::Heartbeat { ballot: ballot(), round, chosen_upto: Slot(4), everywhere_upto: Slot(0) };
        dispatch.mail.acceptor.push((LEADER, heartbeat));
        dispatch
    }

    fn answers() -> Dispatch {
        let mut dispatch = Dispatch::default();
        let index = ExecutorMessage::ReadIndexed { batch: 7, index: Slot(4) };
        dispatch.remote.push((NodeId(2), index.into()));
        dispatch
    }

    #[test]
    fn a_round_from_before_the_read_does_not_count() {
        let mut rounds = Rounds::default();
        rounds.set_quorum(2);
        let answer = |rounds: &mut Rounds, node, round| {
            let ack = ProposerMessage::HeartbeatAck {
                ballot: ballot(),
                round,
                settled_upto: Slot(4),
                executed_upto: Slot(4),
            };
            rounds.on_message(LEADER, NodeId(node), &ack);
        };
        assert_eq!(rounds.on_lot(LEADER, &begins(1)), Ok(()));
        rounds.on_message(LEADER, NodeId(2), &ProposerMessage::ReadIndex { batch: 7 });
        answer(&mut rounds, 1, 1);
        answer(&mut rounds, 2, 1);
        assert!(rounds.on_lot(LEADER, &answers()).is_err());
        assert_eq!(rounds.on_lot(LEADER, &begins(2)), Ok(()));
        answer(&mut rounds, 2, 2);
        answer(&mut rounds, 2, 2);
        assert!(rounds.on_lot(LEADER, &answers()).is_err(), "one node twice");
        answer(&mut rounds, 3, 2);
        assert_eq!(rounds.on_lot(LEADER, &answers()), Ok(()));
    }
}
