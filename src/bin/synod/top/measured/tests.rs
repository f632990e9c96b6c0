//! Three nodes, looked at now and then.

use synod::net::report::PeerStatus;
use synod::paxos::NodeId;

use super::*;
use crate::answer::Absence;

fn status(id: u32, executed: u64, commands: u64, batches: u64, cpu_us: u64) -> Status {
    let peer = |other: u32| PeerStatus {
        name: format!("n{other}"),
        address: format!("127.0.0.1:710{other}"),
        voter: true,
        link: "up".into(),
        round_trip_us: (id == 1).then_some(if other == 2 { 310 } else { 1500 }),
    };
    Status {
        name: format!("n{id}"),
        node: Some(NodeId(id)),
        cluster: "synod".into(),
        address: format!("127.0.0.1:710{id}"),
        process_id: 100 + id,
        phase: if id == 1 { "leading" } else { "following" }.into(),
        leader: Some("n1".into()),
        ballot: Ballot::new(3, NodeId(1)),
        executed_upto: Slot(executed),
        chosen_upto: Slot(executed),
        sessions: 2,
        journal_bytes: 1 << 20,
        commands,
        batches,
        cpu_us,
        peers: (1..=3).filter(|other| *other != id).map(peer).collect(),
        ..Status::default()
    }
}

fn sample(seconds: u64, statuses: [Status; 3]) -> Sample {
    let node = |status: Status| PerNode { node: status.name.clone(), part: Ok(Box::new(status)) };
    let nodes = statuses.into_iter().map(node).collect();
    Sample { at: Duration::from_secs(seconds), at_ms: 1000 * seconds, nodes }
}

fn silence(sample: &mut Sample, names: &[&str]) {
    for node in sample.nodes.iter_mut().filter(|node| names.contains(&node.node.as_str())) {
        node.part = Err(Absence::Down("connection refused".into()));
    }
    for node in &mut sample.nodes {
        let peers = node.part.as_mut().ok().map(|status| &mut status.peers);
        for peer in peers.into_iter().flatten().filter(|peer| names.contains(&peer.name.as_str())) {
            peer.link = "down".into();
            peer.round_trip_us = None;
        }
    }
}

pub fn first_look() -> Sample {
    let of = |id| status(id, 1000, 5000, 700, 1_000_000);
    sample(1, [of(1), of(2), of(3)])
}

/// A second later; n3 was started anew meanwhile.
pub fn second_look() -> Sample {
    let mut third = status(3, 1240, 40, 3, 1_000);
    third.process_id = 999;
    sample(2, [status(1, 1240, 6200, 800, 1_250_000), status(2, 1230, 6190, 750, 1_250_000), third])
}

pub fn third_is_down() -> Sample {
    let mut sample = second_look();
    silence(&mut sample, &["n3"]);
    sample
}

pub fn leaderless() -> Sample {
    let mut sample = second_look();
    silence(&mut sample, &["n2", "n3"]);
    let first = sample.nodes[0].part.as_mut().unwrap();
    first.phase = "canvassing".into();
    first.leader = None;
    sample
}

pub fn nobody() -> Sample {
    let mut sample = second_look();
    silence(&mut sample, &["n1", "n2", "n3"]);
    sample
}

pub fn two_looks() -> View {
    View::of(Some(&first_look()), &second_look())
}

pub fn node_down() -> View {
    View::of(Some(&first_look()), &third_is_down())
}

fn told(view: &View, row: usize) -> &Told {
    view.rows[row].told.as_ref().unwrap()
}

#[test]
fn rates_are_of_the_time_between_two_looks() {
    let view = two_looks();
    assert_eq!(view.elapsed, Some(Duration::from_secs(1)));
    let expected = Rates { commands: 1200.0, syncs: 100.0, commands_per_sync: Some(12.0), cpu_percent: Some(25.0) };
    assert_eq!(told(&view, 0).rates, Some(expected));
    assert_eq!(view.commands_per_second, Some(1200.0), "the leader's");
    let mut later = second_look();
    later.at = Duration::from_secs(5);
    let slower = View::of(Some(&first_look()), &later);
    assert_eq!(told(&slower, 0).rates.map(|rates| rates.commands), Some(300.0));
}

#[test]
fn the_first_look_has_no_rates_and_neither_has_a_second_at_the_same_time() {
    let view = View::of(None, &first_look());
    assert_eq!((view.elapsed, view.commands_per_second, told(&view, 0).rates), (None, None, None));
    assert_eq!(told(&View::of(Some(&first_look()), &first_look()), 0).rates, None);
}

#[test]
fn a_node_that_was_started_anew_has_no_rates_once() {
    assert_eq!(told(&two_looks(), 2).rates, None, "another process");
    let mut before = second_look();
    before.nodes[1].part.as_mut().unwrap().commands = 9999;
    let mut now = second_look();
    now.at += Duration::from_secs(1);
    let view = View::of(Some(&before), &now);
    assert_eq!(told(&view, 1).rates, None, "the same process, and a counter went down");
    let still = Rates { commands: 0.0, syncs: 0.0, commands_per_sync: None, cpu_percent: Some(0.0) };
    assert_eq!(told(&view, 2).rates, Some(still), "nothing was done, and no ratio is made of it");
}

#[test]
fn lag_is_what_is_not_executed_of_what_any_node_tells_to_be_chosen() {
    let view = two_looks();
    assert_eq!(view.chosen_upto, Some(Slot(1240)));
    assert_eq!([0, 1, 2].map(|row| told(&view, row).lag), [0, 10, 0]);
    let mut sample = second_look();
    sample.nodes[1].part.as_mut().unwrap().chosen_upto = Slot(1300);
    let view = View::of(None, &sample);
    assert_eq!([0, 1, 2].map(|row| told(&view, row).lag), [60, 70, 60]);
}

#[test]
fn a_node_that_does_not_answer_is_there_with_what_the_others_say() {
    let view = node_down();
    let row = &view.rows[2];
    assert_eq!((row.name.as_str(), row.told.clone()), ("n3", Err("connection refused".to_owned())));
    assert_eq!(row.links, BTreeMap::from([("down".to_owned(), vec!["n1".to_owned(), "n2".to_owned()])]));
    assert_eq!((row.address.as_str(), row.round_trip_us), ("127.0.0.1:7103", None));
    assert_eq!((view.answered(), view.rows[1].round_trip_us), (2, Some(310)));
}

#[test]
fn without_a_leader_the_furthest_node_counts_and_without_an_answer_none() {
    let view = View::of(Some(&first_look()), &leaderless());
    assert!(view.leader.as_ref().unwrap_err().contains("it takes 2 of 3"), "{:?}", view.leader);
    assert_eq!(view.commands_per_second, Some(1200.0));
    let view = View::of(Some(&first_look()), &nobody());
    assert!(view.leader.as_ref().unwrap_err().contains("no node answers"), "{:?}", view.leader);
    assert_eq!((view.commands_per_second, view.chosen_upto, view.rows.len()), (None, None, 3));
}

#[test]
fn the_last_minute_by_seconds() {
    let seconds = Duration::from_secs;
    let mut minute = LastMinute::default();
    assert_eq!(minute.seconds(seconds(1), 3), [None; 3]);
    minute.add(seconds(2), seconds(1), 10.0);
    minute.add(seconds(4), seconds(2), 20.0);
    assert_eq!(minute.seconds(seconds(4), 4), [None, Some(10.0), Some(20.0), Some(20.0)]);
    minute.add(seconds(7), seconds(1), 5.0);
    let gap = [Some(20.0), Some(20.0), None, None, Some(5.0)];
    assert_eq!(minute.seconds(seconds(7), 5), gap, "nobody answered, or it was paused");
    minute.add(seconds(100), seconds(1), 1.0);
    assert_eq!(minute.spans.len(), 1, "older than a minute");
}
