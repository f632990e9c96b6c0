//! The search finds what it should: each mistake that can be put in is found, by a short way.

use super::check::{self, Chosen};
use super::model::Model;
use super::notes::Wish;
use super::search::{Limits, Violation, at_random, breadth_first};
use super::setup::{Setup, Stage};
use super::{Flaw, Network, lab};
use crate::paxos::Slot;

fn setup() -> Setup {
    let clients = vec![vec![Wish::Append(1, "x")], vec![Wish::Append(1, "y")]];
    Setup { clients, elections: 2, candidates: vec![1, 2], crashes: 1, ..Setup::default() }
}

fn nearest(setup: Setup) -> Violation {
    let stage = Stage::all(&setup);
    let (mut model, start) = Model::new(setup).expect("the start is sound");
    breadth_first(&mut model, &start, &stage, Limits::states(50_000), None, None).expect_err("a mistake is there")
}

#[test]
fn a_disk_that_loses_everything_at_a_crash_is_found() {
    let found = nearest(Setup { flaw: Flaw::LosesDisk, ..setup() });
    assert!(found.broken.contains("it told of a promise"), "{found}");
    assert_eq!(found.path.len(), 2, "{found}");
}

#[test]
fn a_disk_that_loses_votes_is_found() {
    let found = nearest(Setup { flaw: Flaw::LosesVotes, ..setup() });
    assert!(found.broken.contains("it told of a vote"), "{found}");
}

#[test]
fn a_disk_that_loses_promises_is_found() {
    let found = nearest(Setup { flaw: Flaw::LosesPromises, ..setup() });
    assert!(found.broken.contains("it told of a promise"), "{found}");
}

#[test]
fn what_is_said_before_it_is_durable_is_found() {
    let found = nearest(Setup { flaw: Flaw::SaysFirst, ..setup() });
    assert!(found.path.last().is_some_and(|step| step.contains("power fails")), "{found}");
}

#[test]
fn a_node_that_takes_itself_for_a_quorum_is_found_breadth_first_and_at_random() {
    let flawed = Setup { flaw: Flaw::QuorumOfOne, ..setup() };
    let found = nearest(flawed.clone());
    assert!(found.broken.contains("without a quorum of votes"), "{found}");
    assert_eq!(found.path.len(), 2, "{found}");
    let stage = Stage::all(&flawed);
    let (mut model, start) = Model::new(flawed).expect("the start is sound");
    let limits = Limits { states: 10_000, depth: 100 };
    assert!(at_random(&mut model, &start, &stage, limits, 1, None).is_err());
}

#[test]
fn a_goal_is_reached_by_the_shortest_way_and_a_forbidden_state_is_told() {
    let setup = Setup { leader: Some(1), elections: 0, crashes: 0, ..setup() };
    let stage = Stage::all(&setup);
    let (mut model, start) = Model::new(setup).expect("the start is sound");
    let answered = |model: &Model, state: &_| model.book(state).done(0) == 1;
    let limits = Limits::states(50_000);
    let (_, found) = breadth_first(&mut model, &start, &stage, limits, Some(&answered), None).expect("sound");
    assert_eq!(found.map(|found| found.depth), Some(4), "submit, accept, accepted, answer");
    let told = breadth_first(&mut model, &start, &stage, limits, None, Some(&answered)).expect_err("forbidden");
    assert_eq!(told.path.len(), 4, "{told}");
    let chosen: Chosen = model.chosen(&start);
    assert_eq!(chosen.keys().copied().collect::<Vec<Slot>>(), [Slot(1)], "the sessions");
}

#[test]
fn two_runs_of_a_search_are_the_same() {
    let run = || {
        let setup = Setup { network: Network::UsesUp, ..setup() };
        let stage = Stage::all(&setup);
        let (mut model, start) = Model::new(setup).expect("the start is sound");
        let report = breadth_first(&mut model, &start, &stage, Limits::states(3_000), None, None);
        (report, at_random(&mut model, &start, &stage, Limits { states: 3_000, depth: 200 }, 7, None))
    };
    assert_eq!(run(), run());
}

#[test]
fn every_search_has_a_name_of_its_own() {
    let mut names: Vec<&str> = lab::searches().iter().map(|search| search.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), lab::searches().len());
}

#[test]
fn two_values_in_one_slot_are_found() {
    use crate::paxos::{Ballot, NodeId, Value};
    let (first, second) = (Value::no_op(), Value::batch(Default::default(), &[]));
    let ballot = |round| Ballot::new(round, NodeId(1));
    let witness = |votes: &[(u64, &Value)]| {
        check::Witness::voted(votes.iter().map(|(round, value)| (Slot(2), ballot(*round), (*value).clone())).collect())
    };
    let (one, both, other) = (witness(&[(1, &first)]), witness(&[(1, &first), (2, &second)]), witness(&[(2, &second)]));
    assert!(check::chosen(&[&one, &other, &witness(&[])]).is_ok_and(|chosen| chosen.is_empty()), "of two ballots");
    assert!(check::chosen(&[&one, &both, &other]).is_err_and(|broken| broken.contains("two values are chosen")));
    let liar = witness(&[(1, &second)]);
    assert!(check::chosen(&[&one, &liar, &other]).is_err_and(|broken| broken.contains("two values have votes")));
}
