//! Rows 201 to 305: exactly once, over a single node, while connections break.

use super::Scenario;
use super::agreement::appends_to_one_key;
use super::stage::Stage;
use super::workload::{endless, own_appends, simple};
use crate::sim::check::lab::none_decided;
use crate::sim::check::{Broken, Held};
use crate::sim::history::{Call, Fate};

/// The scenarios, in order of rows.
pub(super) const SCENARIOS: [Scenario; 10] = [
    row(201, "a deadline interrupts a client, one server", 1, 2_000, 0, interrupted),
    row(202, "one server, simple operations", 1, 5_000, 0, simple_operations),
    row(203, "one server, many clients, own keys", 10, 20_000, 0, own_keys),
    row(204, "one server, many clients, one key", 10, 10_000, 0, one_key),
    row(205, "one server, appends, half of the frames lost", 1, 20_000, 500, few_appends),
    row(301, "one server, simple operations, half of the frames lost", 1, 20_000, 500, simple_operations),
    row(302, "one server, single client, unreliable", 1, 20_000, 200, more_appends),
    row(303, "one server, many clients, own keys, unreliable", 10, 40_000, 200, own_keys),
    row(304, "one server, many clients, one key, unreliable", 10, 20_000, 200, one_key),
    row(305, "one server, endless load, unreliable", 5, 35_000, 200, endless_load),
];

const fn row(
    row: u32,
    name: &'static str,
    clients: u32,
    limit_ms: u64,
    client_loss: u64,
    script: fn(&mut Stage) -> Held,
) -> Scenario {
    Scenario { row, name, limit_ms, nodes: 1, clients, loss: 0, client_loss, value_bytes: 0, script }
}

fn interrupted(stage: &mut Stage) -> Held {
    stage.world.stop(0);
    let asked = stage.world.submit(0, 1, Call::Put("a".into()), 500);
    stage.pass(515)?;
    let operation = stage.world.operation(asked);
    if operation.fate != Fate::NotDone || !stage.world.is_idle(0) {
        return Err(Broken::new("interrupted", format!("{operation:?} did not end at its deadline as not done")));
    }
    stage.world.start(0)?;
    stage.pass(1_000)?;
    none_decided(stage.since(0), stage.world.chosen())
}

fn simple_operations(stage: &mut Stage) -> Held {
    stage.play(|_, count| simple().into_iter().nth(count), u64::MAX)
}

fn own_keys(stage: &mut Stage) -> Held {
    let each = stage.sized(20, 100);
    stage.play(|client, count| own_appends(client, each).into_iter().nth(count), u64::MAX)
}

fn one_key(stage: &mut Stage) -> Held {
    appends_to_one_key(stage, 5)
}

fn few_appends(stage: &mut Stage) -> Held {
    appends_to_one_key(stage, 25)
}

fn more_appends(stage: &mut Stage) -> Held {
    appends_to_one_key(stage, 50)
}

fn endless_load(stage: &mut Stage) -> Held {
    stage.skips_search = true; // each client has a key of its own, and every result is checked
    let until_us = stage.sized(2_000_000, 30_000_000) as u64;
    stage.play(|client, count| Some(endless(client, count)), until_us)?;
    stage.nobody_waited(LONGEST_WAIT_MS)
}

const LONGEST_WAIT_MS: u64 = 1_000;
