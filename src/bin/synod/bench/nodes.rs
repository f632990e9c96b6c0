//! What the processes spent while the load was on: as the nodes tell it, and this process itself.

use std::collections::BTreeMap;
use std::time::Duration;

use synod::client::Client;
use synod::net::report::Status;

/// Every node that answered, by name, and this process's own time on a processor.
#[derive(Clone, Debug, Default)]
pub struct Look {
    nodes: BTreeMap<String, Status>,
    own_cpu: Duration,
}

/// Asks all nodes.
pub async fn look(client: &Client) -> Look {
    let statuses = client.statuses().await;
    let nodes = statuses.into_iter().filter_map(|(name, status)| Some((name, status.ok()?))).collect();
    Look { nodes, own_cpu: synod::actors::inspect::processor_time() }
}

/// What was spent between two looks.
#[derive(Clone, Debug)]
pub struct Spent {
    /// By every node that answered both times, and was not started in between.
    pub nodes: Vec<OfNode>,
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
        let spent = |(name, after): (&String, &Status)| {
            let before = before.nodes.get(name).filter(|before| before.process_id == after.process_id)?;
            Some(OfNode {
                name: name.clone(),
                phase: after.phase.clone(),
                cpu: Duration::from_micros(after.cpu_us.saturating_sub(before.cpu_us)),
                syncs: after.batches.saturating_sub(before.batches),
                commands: after.commands.saturating_sub(before.commands),
                slots: after.chosen_upto.0.saturating_sub(before.chosen_upto.0),
            })
        };
        Spent {
            nodes: after.nodes.iter().filter_map(spent).collect(),
            clients_cpu: after.own_cpu.saturating_sub(before.own_cpu),
        }
    }
}
