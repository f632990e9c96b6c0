//! The index of a read rests on a heartbeat round that began after the read had reached the leader, and that a quorum
//! answered (DESIGN section 4, rule 3). [`super::fresh`] sees a stale answer; this sees one that was fresh by luck.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Held};
use crate::paxos::dispatch::Dispatch;
use crate::paxos::{AcceptorMessage, Ballot, Configuration, ExecutorMessage, Message, NodeId, ProposerMessage, Slot};

/// The rounds of every leader.
#[derive(Debug, Default)]
pub struct Rounds {
    leaders: BTreeMap<NodeId, Leader>,
}

/// A round of one ballot.
type Round = (Ballot, u64);

#[derive(Debug, Default)]
struct Leader {
    /// The last round that it began.
    begun: Option<Round>,
    answered: BTreeMap<Round, BTreeSet<NodeId>>,
    /// By the number of a batch of reads: the last round begun when it first asked.
    asked: BTreeMap<u64, Option<Round>>,
}

impl Rounds {
    /// A proposer takes a message.
    pub fn on_message(&mut self, node: NodeId, from: NodeId, message: &ProposerMessage) {
        let leader = self.leaders.entry(node).or_default();
        match message {
            ProposerMessage::ReadIndex { batch } => {
                leader.asked.entry(*batch).or_insert(leader.begun);
            }
            ProposerMessage::HeartbeatAck { ballot, round, .. } => {
                leader.answered.entry((*ballot, *round)).or_default().insert(from);
                if leader.answered.len() > MOST_ROUNDS {
                    leader.answered.pop_first();
                }
            }
            _ => {}
        }
    }

    /// What came of a lot of a proposer. A round counts when a quorum of the configuration that decides the slot behind
    /// the index has answered it.
    pub fn on_lot<'a>(
        &mut self,
        node: NodeId,
        dispatch: &Dispatch,
        configuration: impl Fn(Slot) -> Option<&'a Configuration>,
    ) -> Held {
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
            let ExecutorMessage::ReadIndexed { batch, index } = message else { continue };
            let asked = leader.asked.get(batch).copied().flatten();
            let is_later = |round: &Round| asked.is_none_or(|asked| *round > asked);
            let is_confirmed = configuration(index.next()).is_some_and(|configuration| {
                let mut later = leader.answered.iter().filter(|(round, _)| is_later(round));
                later.any(|(_, nodes)| {
                    configuration.nodes().filter(|n| nodes.contains(n)).count() >= configuration.quorum()
                })
            });
            if !is_confirmed {
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

/// Of how many rounds the answers are kept: more than are open at once.
const MOST_ROUNDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

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
        let three = Configuration::numbered(3);
        let answer = |rounds: &mut Rounds, node, round| {
            let ack = ProposerMessage::HeartbeatAck {
                ballot: ballot(),
                round,
                settled_upto: Slot(4),
                executed_upto: Slot(4),
            };
            rounds.on_message(LEADER, NodeId(node), &ack);
        };
        assert_eq!(rounds.on_lot(LEADER, &begins(1), |_| Some(&three)), Ok(()));
        rounds.on_message(LEADER, NodeId(2), &ProposerMessage::ReadIndex { batch: 7 });
        answer(&mut rounds, 1, 1);
        answer(&mut rounds, 2, 1);
        assert!(rounds.on_lot(LEADER, &answers(), |_| Some(&three)).is_err());
        assert_eq!(rounds.on_lot(LEADER, &begins(2), |_| Some(&three)), Ok(()));
        answer(&mut rounds, 2, 2);
        answer(&mut rounds, 2, 2);
        assert!(rounds.on_lot(LEADER, &answers(), |_| Some(&three)).is_err(), "one node twice");
        answer(&mut rounds, 3, 2);
        assert_eq!(rounds.on_lot(LEADER, &answers(), |_| Some(&three)), Ok(()));
    }
}
