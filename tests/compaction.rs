//! What every member has executed leaves memory and log; and where a member is away, a snapshot takes its place.

mod common;

use std::time::Duration;

use common::relay::Relays;
use common::{Theatre, bounded, until, within};
use synod::actors::NodeOptions;
use synod::client::Client;
use synod::net::report::{Inspection, Report, SlotState, Status};
use synod::paxos::Slot;

/// Three nodes whose links can be cut, and whose journals are to be short.
async fn short_journals() -> (Theatre, Relays) {
    let names: Vec<String> = (1..=3).map(|number| format!("n{number}")).collect();
    let relays = Relays::to(&names).await;
    let theatre = Theatre::with(3, |mut options: NodeOptions| {
        options.advertise = Some(relays.address(&options.name));
        options.journal.segment_bytes = SEGMENT_BYTES;
        options.journal.first_segment_bytes = SEGMENT_BYTES;
        options.journal.keep_bytes = KEEP_BYTES;
        options
    });
    for node in theatre.nodes.values() {
        relays.lead_to(node.name(), node.listening());
    }
    theatre.leader().await;
    theatre.settled().await;
    (theatre, relays)
}

/// What the nodes hold besides the machine's data and the snapshots of it: in their roles, and of the log.
fn held_bytes(nodes: &[Status]) -> u64 {
    nodes.iter().map(|status| status.held_bytes + status.journal_bytes).sum()
}

async fn statuses(theatre: &Theatre, names: &[String]) -> Vec<Status> {
    let mut statuses = Vec::new();
    for name in names {
        statuses.push(theatre.status(name).await);
    }
    statuses
}

async fn state_of(theatre: &Theatre, name: &str, slot: Slot) -> SlotState {
    let client = theatre.client_on(name).await;
    match client.inspect(Inspection::Log { first: slot, upto: slot }).await {
        Ok(Report::Log(log)) => log.slots.first().map_or(SlotState::Empty, |report| report.state),
        other => panic!("a log: {other:?}"),
    }
}

/// Writes so many values to ten keys. Gives the slot of the last.
async fn write(client: &Client, count: usize, bytes: usize) -> Slot {
    let mut last = Slot::ZERO;
    for number in 0..count {
        let value = vec![b'a' + (number % 26) as u8; bytes];
        last = client.put(format!("key {}", number % 10), value).await.expect("done").place.slot;
    }
    last
}

/// 20 values of 1 MB while one of three nodes is cut off, then 20 small ones in their place.
async fn old_commands_leave(cut_off: impl AsyncFn(&Theatre) -> String) {
    let (theatre, relays) = short_journals().await;
    let all = theatre.names();
    assert!(held_bytes(&statuses(&theatre, &all).await) < MOST_HELD_BYTES, "before anything was written");

    let away = cut_off(&theatre).await;
    let others: Vec<String> = all.iter().filter(|name| **name != away).cloned().collect();
    relays.cut_off(&away);
    let client = theatre.client_on(&others[0]).await;
    let first = write(&client, 1, LARGE_BYTES).await;
    let last = write(&client, 19, LARGE_BYTES).await;
    until("the logs are short, although a member is away", async || {
        let long = |status: &Status| status.journal_bytes > KEEP_BYTES + LARGEST_BATCH_BYTES;
        (!statuses(&theatre, &others).await.iter().any(long)).then_some(())
    })
    .await;
    for name in &others {
        assert_eq!(state_of(&theatre, name, first).await, SlotState::Cleared, "{name}");
    }
    assert!(theatre.status(&away).await.executed_upto < first, "{away} is cut off");

    relays.heal();
    write(&client, 20, 10).await;
    let mut held = Vec::new();
    within(Duration::from_secs(4), "memory and log are nearly empty", async || {
        held = statuses(&theatre, &all).await;
        let is_small = held_bytes(&held) < MOST_HELD_BYTES && held.iter().all(|status| status.trimmed_upto >= last);
        is_small.then_some(())
    })
    .await;
    for name in &all {
        assert_eq!(state_of(&theatre, name, last).await, SlotState::Cleared, "{name}");
    }
    assert!(held.iter().all(|status| status.held_bytes < KEEP_BYTES), "the roles let go of it: {held:?}");
    theatre.settled().await;
}

#[tokio::test]
async fn old_commands_leave_memory_and_log_after_a_follower_was_cut_off() {
    bounded(old_commands_leave(async |theatre| {
        let leader = theatre.leader().await;
        theatre.names().into_iter().find(|name| *name != leader).expect("three")
    }))
    .await;
}

#[tokio::test]
async fn old_commands_leave_memory_and_log_after_the_leader_was_cut_off() {
    bounded(old_commands_leave(async |theatre| theatre.leader().await)).await;
}

const LARGE_BYTES: usize = 1_000_000;
/// What a batch takes that holds two of them.
const LARGEST_BATCH_BYTES: u64 = (2 << 20) + (64 << 10);
const SEGMENT_BYTES: u32 = 64 << 10;
/// How long a journal may become.
const KEEP_BYTES: u64 = 256 << 10;
/// What all three nodes may hold together.
const MOST_HELD_BYTES: u64 = 2 << 20;
