//! Rows 1 to 16 and 22: agreement, partitions, and many clients.

use super::Scenario;
use super::stage::{Stage, filled};
use super::workload::{endless, simple, unique};
use crate::paxos::Slot;
use crate::sim::check::lab::{
    all_results_same, all_slots, appends_linearizable, clients_done, logs_consistent, markers_valid, none_decided,
    results_ok, slot_valid,
};
use crate::sim::check::{Broken, Held};
use crate::sim::history::{Call, Fate, Told};

/// The scenarios, in order of rows.
pub(super) const SCENARIOS: [Scenario; 18] = [
    row(1, "a deadline interrupts a client", 3, 2, 2_000, interrupted),
    row(2, "single client, simple operations", 3, 1, 5_000, single_client),
    row(3, "progress with no partition", 5, 3, 5_000, no_partition),
    row(4, "progress in majority", 5, 1, 5_000, majority),
    row(5, "no progress in minority", 5, 2, 10_000, minority),
    row(6, "progress after heal", 5, 3, 10_000, heal),
    row(7, "one server switches partitions", 5, 2, 5_000, switches),
    row(8, "synchronous put and get, many clients", 3, 15, 10_000, put_get),
    row(9, "concurrent appends", 3, 25, 10_000, appends),
    row(10, "message count", 5, 1, 10_000, message_count),
    Scenario { value_bytes: LARGE_BYTES, ..row(11, "old commands leave memory and log", 3, 1, 20_000, compaction) },
    unreliable(row(12, "single client, simple operations, unreliable", 3, 1, 10_000, single_client)),
    unreliable(row(13, "two sequential clients, unreliable", 3, 2, 10_000, two_clients)),
    unreliable(row(14, "synchronous put and get, many clients, unreliable", 3, 15, 30_000, put_get)),
    unreliable(row(15, "concurrent appends, unreliable", 3, 25, 20_000, appends)),
    row(16, "single partition and heal", 5, 5, 20_000, endless_partition),
    row(22, "singleton group", 1, 10, 40_000, singleton),
    Scenario { client_loss: 200, ..row(22, "singleton group, unreliable", 1, 10, 40_000, singleton) },
];

const fn row(
    row: u32,
    name: &'static str,
    nodes: u32,
    clients: u32,
    limit_ms: u64,
    script: fn(&mut Stage) -> Held,
) -> Scenario {
    Scenario { row, name, limit_ms, nodes, clients, loss: 0, client_loss: 0, value_bytes: 0, script }
}

const fn unreliable(scenario: Scenario) -> Scenario {
    Scenario { loss: 200, ..scenario }
}

fn put(text: &str) -> Call {
    Call::Put(text.into())
}

fn holds(text: &str) -> Told {
    Told::Value(Some(text.into()))
}

/// Nobody is there: at its deadline a client knows that nothing happened; and nothing of it ever does.
fn interrupted(stage: &mut Stage) -> Held {
    let nodes = stage.servers.len();
    (0..nodes).for_each(|node| stage.world.stop(node));
    let asked = [stage.world.submit(0, 1, put("a"), 500), stage.world.submit(1, 1, Call::Get, 500)];
    stage.pass(495)?;
    if (0..2).any(|client| stage.world.is_idle(client)) {
        return Err(Broken::new("interrupted", "a client gave up before its deadline"));
    }
    stage.pass(20)?;
    for place in asked {
        let operation = stage.world.operation(place);
        if operation.fate != Fate::NotDone || !stage.world.is_idle(operation.client as usize) {
            return Err(Broken::new("interrupted", format!("{operation:?} did not end at its deadline as not done")));
        }
    }
    (0..nodes).try_for_each(|node| stage.world.start(node))?;
    stage.pass(1_000)?;
    none_decided(stage.since(0), stage.world.chosen())
}

/// Something of everything, and the log shows it.
fn single_client(stage: &mut Stage) -> Held {
    for log in stage.logs() {
        markers_valid(&log)?;
        if (log.first_non_cleared, log.last_non_empty) != (Slot(1), Slot::ZERO) {
            return Err(Broken::new("markers_valid", "a new log is not empty"));
        }
    }
    stage.play(|_, count| simple().into_iter().nth(count), u64::MAX)?;
    let logs = stage.logs();
    all_slots(&logs)?;
    Slot::ZERO.above(Slot(100)).try_for_each(|slot| slot_valid(&logs, slot))?;
    filled(&logs, Slot(14))
}

fn no_partition(stage: &mut Stage) -> Held {
    stage.does(0, (1, put("a"), Told::Done))?;
    stage.does(1, (1, put("b"), Told::Done))?;
    stage.does(2, (1, Call::Get, holds("b")))
}

fn majority(stage: &mut Stage) -> Held {
    stage.found()?;
    stage.cut(&[(&[1, 2, 3], &[0])]);
    stage.does(0, (1, put("a"), Told::Done))
}

/// Who is in the minority is served nothing: no write, and no question either.
fn minority(stage: &mut Stage) -> Held {
    stage.found()?;
    stage.cut(&[(&[1, 2], &[0, 1]), (&[3, 4, 5], &[])]);
    stage.ask(0, 1, put("a"));
    stage.ask(1, 1, Call::Get);
    stage.pass(2_000)?;
    none_decided(stage.since(0), stage.world.chosen())?;
    logs_consistent(&stage.logs())
}

fn heal(stage: &mut Stage) -> Held {
    stage.found()?;
    stage.cut(&[(&[1, 2], &[0, 1]), (&[3, 4, 5], &[2])]);
    let asked = stage.ask(0, 1, put("a"));
    stage.pass(2_000)?;
    none_decided(stage.since(asked), stage.world.chosen())?;
    stage.world.heal();
    stage.expect(asked, Told::Done)?;
    stage.does(1, (1, Call::Get, holds("a")))?;
    stage.does(2, (1, Call::Get, holds("a")))
}

fn switches(stage: &mut Stage) -> Held {
    stage.found()?;
    stage.cut(&[(&[1, 2, 3], &[0])]);
    stage.does(0, (1, put("a"), Told::Done))?;
    stage.cut(&[(&[3, 4, 5], &[1])]);
    stage.does(1, (1, Call::Get, holds("a")))
}

/// All write one key; when all have, all ask, and are told the same: what one of them wrote just now.
fn put_get(stage: &mut Stage) -> Held {
    stage.skips_search = true; // any order of fifteen writes is tried; that all are told the same says more
    for round in 0..20 {
        let begun = stage.world.history().len();
        stage.once_each(|client| (1, Call::Put(unique(client, round))))?;
        clients_done(stage.since(begun))?;
        let written: Vec<_> = (0..15).map(|client| Told::Value(Some(unique(client, round)))).collect();
        let begun = stage.world.history().len();
        stage.once_each(|_| (1, Call::Get))?;
        all_results_same(stage.since(begun), |told| written.contains(told))?;
    }
    all_slots(&stage.logs())
}

fn appends(stage: &mut Stage) -> Held {
    appends_to_one_key(stage, 5)
}

/// All append to one key.
pub(super) fn appends_to_one_key(stage: &mut Stage, each: usize) -> Held {
    let mut counts = vec![0; stage.world.clients.len()];
    stage.drive(u64::MAX, |client| {
        counts[client] += 1;
        (counts[client] <= each).then(|| (1, Call::Append(unique(client, counts[client]))))
    })?;
    let asked = stage.since(0);
    if asked.len() != counts.len() * each {
        return Err(Broken::new("clients_done", format!("only {} appends were begun", asked.len())));
    }
    clients_done(asked)?;
    appends_linearizable(asked)?;
    all_slots(&stage.logs())
}

/// One client appends, one after the other: nothing can be gathered, so each costs what a command costs alone.
fn message_count(stage: &mut Stage) -> Held {
    let commands = 500;
    stage.skips_search = true; // one client, whose every result is checked
    appends_to_one_key(stage, commands)?;
    let most = MESSAGES_PER_COMMAND_AND_SERVER * stage.servers.len() as u64;
    let sent = stage.world.messages_to_nodes();
    if sent <= most * commands as u64 {
        return Ok(());
    }
    Err(Broken::new("message_count", format!("{sent} messages for {commands} commands, more than {most} each")))
}

/// Long values are written while a node is cut off: the log is kept short by snapshots. When all are there again, and short
/// values have taken the place of the long ones, little is left of them in memory and in the logs.
fn compaction(stage: &mut Stage) -> Held {
    stage.skips_search = true; // one client, and nothing is read
    stage.found()?;
    let (many, keys) = (20, 10);
    let call = |number: u64, length: usize| {
        let mut value = unique(0, number as usize).to_vec();
        value.resize(value.len().max(length), b'x');
        (number as u32 % keys, Call::Put(value.into()), Told::Done)
    };
    if held_bytes(stage) >= MOST_HELD_BYTES {
        return Err(Broken::new("compaction", "much is held before anything was written"));
    }
    stage.cut(&[(&[2, 3], &[0])]);
    for number in 0..many {
        stage.does(0, call(number, LARGE_BYTES))?;
        stage.pass(100)?; // a simulated snapshot takes as long, whatever its size
    }
    stage.world.heal();
    (many..2 * many).try_for_each(|number| stage.does(0, call(number, 0)))?;
    let until_ms = stage.world.now_us() / 1000 + COMPACTED_MS;
    while held_bytes(stage) >= MOST_HELD_BYTES {
        if stage.world.now_us() / 1000 >= until_ms {
            let held = held_bytes(stage);
            return Err(Broken::new("compaction", format!("{held} bytes are held after {COMPACTED_MS} ms")));
        }
        stage.pass(10)?;
    }
    logs_consistent(&stage.logs())
}

/// What the roles of all nodes hold, and what is not trimmed of their logs.
fn held_bytes(stage: &Stage) -> u64 {
    (0..stage.servers.len()).map(|node| stage.world.held_bytes(node)).sum()
}

fn two_clients(stage: &mut Stage) -> Held {
    stage.does(0, (1, put("a"), Told::Done))?;
    stage.does(1, (1, Call::Get, holds("a")))
}

/// An endless load, while a majority is cut off with the clients and comes back.
fn endless_partition(stage: &mut Stage) -> Held {
    stage.skips_search = true; // each client has a key of its own, and every result is checked
    stage.found()?;
    let clients: Vec<usize> = (0..5).collect();
    let mut counts = vec![0; clients.len()];
    let calm_ms = stage.sized(500, 5_000) as u64;
    for phase in 0..3 {
        match phase {
            1 => stage.cut(&[(&[1, 2, 3], &clients), (&[4, 5], &[])]),
            2 => stage.world.heal(),
            _ => {}
        }
        let until_us = stage.world.now_us() + 1000 * if phase == 1 { 1_000 } else { calm_ms };
        stage.load(until_us, |client| {
            let (key, call, _) = endless(client, counts[client]);
            counts[client] += 1;
            (key, call)
        })?;
    }
    stage.drive(0, |_| None)?;
    for client in clients {
        let own = stage.since(0).iter().filter(|operation| operation.client as usize == client);
        let expected: Vec<Told> = (0..counts[client]).map(|count| endless(client, count).2).collect();
        results_ok(own, &expected)?;
    }
    logs_consistent(&stage.logs())?;
    stage.nobody_waited(LONGEST_WAIT_MS)
}

fn singleton(stage: &mut Stage) -> Held {
    appends_to_one_key(stage, 30)
}

const MESSAGES_PER_COMMAND_AND_SERVER: u64 = 15;
const LONGEST_WAIT_MS: u64 = 3_000;
/// As long as one of the long values is.
const LARGE_BYTES: usize = 1_000_000;
/// So much all nodes may hold together, besides their machines, so long after the last write.
const MOST_HELD_BYTES: u64 = 2 << 20;
const COMPACTED_MS: u64 = 4_000;
