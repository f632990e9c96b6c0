//! Runs nobody thought of: many seeds, each a different history of crashes, losses and delays.

use super::world::{Plan, World};

/// How many seeds the committed test tries. `SYNOD_SEEDS=FIRST..LAST` tries others.
const SEEDS: u64 = 256;

/// Everything about a run follows from its seed.
pub fn plan(seed: u64) -> Plan {
    let pick = |bit: u64| seed >> bit & 1 == 1;
    Plan {
        seed,
        nodes: if seed % 16 == 15 {
            1
        } else if pick(0) {
            5
        } else {
            3
        },
        window: if pick(1) { 4 } else { 1 },
        batch: if pick(2) { 4 } else { 1 },
        snapshot_slots: if pick(3) { 5 } else { 0 },
        calm: if pick(5) { 1 } else { 8 },
        haste: if pick(4) { 8 } else { 40 },
        steps: 10_000,
        churn: if pick(6) { 30 } else { 0 },
    }
}

fn run(plan: Plan, trace: bool) -> World {
    let steps = plan.steps;
    let mut world = World::new(plan);
    world.trace = trace.then(Vec::new);
    for _ in 0..steps {
        world.step();
    }
    world.heal_and_finish();
    world
}

#[test]
fn every_history_is_safe_and_ends_well() {
    let range = std::env::var("SYNOD_SEEDS").ok();
    let (first, last) = range
        .as_deref()
        .and_then(|range| range.split_once(".."))
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
        .unwrap_or((0, SEEDS));
    let mut acknowledged = 0;
    for seed in first..last {
        acknowledged += run(plan(seed), last - first == 1).witness.acknowledged.len();
    }
    assert!(acknowledged as u64 > (last - first) * 5, "only {acknowledged} commands: this world proves little");
    eprintln!("{acknowledged} commands");
}
