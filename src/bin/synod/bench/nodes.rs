//! What the processes spent while the load was on: as the nodes tell it, and this process itself.

use std::collections::BTreeMap;
use std::time::Duration;

use synod::client::Client;
use synod::net::report::Status;

/// Every node by name, with what it answered, if it did, and this process's own time on a processor.
#[derive(Clone, Debug, Default)]
pub struct Look {
    nodes: BTreeMap<String, Option<Status>>,
    own_cpu: Duration,
}

/// Asks all nodes.
pub async fn look(client: &Client) -> Look {
    let own_cpu = synod::actors::inspect::processor_time();
    let nodes = client.statuses().await.into_iter().map(|(name, status)| (name, status.ok())).collect();
    Look { nodes, own_cpu }
}

/// What was spent between two looks.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// By every node that answered both times, and was not started in between.
    pub nodes: Vec<OfNode>,
    /// The others.
    pub absent: Vec<String>,
    /// By the clients: this process.
    pub clients_cpu: Duration,
}

/// What one node spent.
#[derive(Clone, Debug)]
pub struct OfNode {
    /// Its name.
    pub name: String,
    /// How it stood in the end.
    pub phase: String,
    /// On a processor.
    pub cpu: Duration,
    /// Batches of records that it synced: one sync each.
    pub syncs: u64,
    /// Commands that it executed.
    pub commands: u64,
    /// Slots that it knows to be chosen.
    pub slots: u64,
}

impl Spent {
    /// The difference of two looks.
    pub fn between(before: &Look, after: &Look) -> Spent {
        let clients_cpu = after.own_cpu.saturating_sub(before.own_cpu);
        let mut spent = Spent { clients_cpu, ..Spent::default() };
        for (name, after) in &after.nodes {
            match (before.nodes.get(name), after) {
                (Some(Some(before)), Some(after)) if before.process_id == after.process_id => {
                    spent.nodes.push(OfNode::between(name, before, after));
                }
                _ => spent.absent.push(name.clone()),
            }
        }
        spent
    }
}

impl OfNode {
    fn between(name: &str, before: &Status, after: &Status) -> OfNode {
        OfNode {
            name: name.to_owned(),
            phase: after.phase.clone(),
            cpu: Duration::from_micros(after.cpu_us.saturating_sub(before.cpu_us)),
            syncs: after.batches.saturating_sub(before.batches),
            commands: after.commands.saturating_sub(before.commands),
            slots: after.chosen_upto.0.saturating_sub(before.chosen_upto.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use synod::paxos::Slot;

    use super::*;

    fn node(process_id: u32, cpu_us: u64, batches: u64, commands: u64, upto: u64) -> Option<Status> {
        Some(Status { process_id, cpu_us, batches, commands, chosen_upto: Slot(upto), ..Status::default() })
    }

    #[test]
    fn a_node_spent_the_difference_unless_it_was_away_or_started_again() {
        let look = |nodes: [Option<Status>; 4], seconds| Look {
            nodes: ["n1", "n2", "n3", "n4"].map(str::to_owned).into_iter().zip(nodes).collect(),
            own_cpu: Duration::from_secs(seconds),
        };
        let before = look([node(1, 500, 10, 100, 20), node(2, 9, 9, 9, 9), None, node(4, 0, 0, 0, 0)], 3);
        let after = look([node(1, 2_500, 30, 400, 80), node(22, 1, 1, 1, 9), node(3, 1, 1, 1, 1), None], 5);
        let spent = Spent::between(&before, &after);
        assert_eq!(
            (spent.clients_cpu, spent.absent),
            (Duration::from_secs(2), vec!["n2".into(), "n3".into(), "n4".into()])
        );
        let [n1] = &spent.nodes[..] else { panic!("{:?}", spent.nodes) };
        assert_eq!((n1.cpu, n1.syncs, n1.commands, n1.slots), (Duration::from_millis(2), 20, 300, 60));
    }
}
