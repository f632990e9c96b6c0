//! The searches that a course's lab on this protocol would make of an implementation, over ours; and small instances,
//! some of which are explored to the end of what there is.
//!
//! Bounds are numbers of states, not times. A step is a message between client and node or between nodes, or a timer.
//! [`searches`] lists them; rows are those of the scenarios, "17" to "22", "sessions" for those about exactly once, and
//! "small" for instances of ours.

use super::model::{Model, State, above_a_hole};
use super::notes::Wish;
use super::search::{Found, Limits, Look, Report, Violation, at_random, breadth_first};
use super::setup::{Network, Setup, Stage};
use crate::paxos::Slot;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// Seconds for all searches together.
    Reduced,
    /// Minutes, and up to a few gigabytes.
    Full,
}

impl Bounds {
    /// This many states, or that many.
    fn states(self, reduced: usize, full: usize) -> Limits {
        Limits::states(match self {
            Bounds::Reduced => reduced,
            Bounds::Full => full,
        })
    }
}

/// One search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// What it is about.
    pub name: &'static str,
    /// Which scenario it belongs to.
    pub row: &'static str,
    run: fn(Bounds) -> Result<Report, Violation>,
}

impl Search {
    /// Runs it.
    ///
    /// # Errors
    /// A property that does not hold, or a state that should be reachable and was not reached, with the way there.
    pub fn run(&self, bounds: Bounds) -> Result<Report, Violation> {
        (self.run)(bounds)
    }
}

/// All searches.
pub fn searches() -> Vec<Search> {
    vec![
        Search { name: "single client, simple operations", row: "17", run: single_client },
        Search { name: "no progress in a minority", row: "18", run: minority },
        Search { name: "two clients, sequential appends visible", row: "19", run: sequential_appends },
        Search { name: "logs with holes", row: "20", run: holes },
        Search { name: "three nodes, random search", row: "21", run: random },
        Search { name: "singleton group", row: "22", run: singleton },
        Search { name: "one client: put, append, get", row: "sessions", run: put_append_get },
        Search { name: "one client: append, append, get", row: "sessions", run: append_append_get },
        Search { name: "two clients, different keys and one key", row: "sessions", run: two_clients },
        Search { name: "endless appends at random", row: "sessions", run: endless },
        Search { name: "one command, a second candidate", row: "small", run: second_candidate },
        Search { name: "one command, a crash", row: "small", run: crash },
        Search { name: "two commands, one leader", row: "small", run: two_commands },
        Search { name: "two commands, two candidates, a crash", row: "small", run: everything },
        Search { name: "a read while the leader changes", row: "small", run: reads },
    ]
}

fn append(text: &'static str) -> Wish {
    Wish::Append(1, text)
}

/// A model, its first state, and the stage in which everything is possible.
fn begin(setup: Setup) -> Result<(Model, State, Stage), Violation> {
    let stage = Stage::all(&setup);
    let (model, start) = Model::new(setup).map_err(|broken| Violation { broken, path: Vec::new() })?;
    Ok((model, start, stage))
}

fn look_for(
    model: &mut Model,
    start: &State,
    stage: &Stage,
    limits: Limits,
    what: &str,
    goal: Look<'_>,
) -> Result<(Report, Found), Violation> {
    let (report, found) = breadth_first(model, start, stage, limits, Some(goal), None)?;
    let missing =
        || Violation { broken: format!("not found among {} states: {what}", report.states), path: Vec::new() };
    let found = found.ok_or_else(missing)?;
    Ok((report, found))
}

fn explore(setup: Setup, limits: Limits) -> Result<Report, Violation> {
    let (mut model, start, stage) = begin(setup)?;
    Ok(breadth_first(&mut model, &start, &stage, limits, None, None)?.0)
}

/// Every state there is, within the limits: to be cut short is a failure.
fn exhaust(setup: Setup, limits: Limits) -> Result<Report, Violation> {
    let report = explore(setup, limits)?;
    if report.exhausted {
        return Ok(report);
    }
    Err(Violation { broken: format!("more than {} states", report.states), path: Vec::new() })
}

/// How many wishes of a client are done.
fn done(model: &Model, state: &State, client: usize) -> usize {
    model.book(state).done(client - 1)
}

/// A command is answered among {1, 2}; then a second; and from there nothing breaks, with timers and without.
fn single_client(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![Wish::Put(1, "x"), append("y")]];
    let setup = Setup { clients, elections: 2, crashes: 1, reminders: 1, ..Setup::default() };
    let (mut model, start, stage) = begin(setup)?;
    let two = stage.clone().among(&[1, 2]);
    let limits = bounds.states(200_000, 2_000_000);
    let (first, one) =
        look_for(&mut model, &start, &two.clone(), limits, "a command answered", &|m, s| done(m, s, 1) == 1)?;
    let (second, both) = look_for(&mut model, &one.state, &two, limits, "both answered", &|m, s| done(m, s, 1) == 2)?;
    let mut report = first.and(&second);
    let limits = bounds.states(20_000, 2_000_000);
    for stage in [stage.clone(), stage.without_timers()] {
        report = report.and(&breadth_first(&mut model, &both.state, &stage, limits, None, None)?.0);
    }
    Ok(report)
}

/// Two of five decide nothing, whether one of them leads or not.
fn minority(bounds: Bounds) -> Result<Report, Violation> {
    let mut report = Report { exhausted: true, ..Report::default() };
    for leader in [None, Some(1)] {
        let clients = vec![vec![append("x"), append("y")]];
        let setup =
            Setup { nodes: 5, clients, sends: 2, elections: 2, crashes: 2, reminders: 1, leader, ..Setup::default() };
        let (mut model, start, stage) = begin(setup)?;
        let two = stage.among(&[1, 2]);
        let decided = |model: &Model, state: &State| {
            model.chosen(state).last_key_value().is_some_and(|(slot, _)| *slot > Slot(1)) || done(model, state, 1) > 0
        };
        for stage in [two.clone(), two.without_timers()] {
            let limits = bounds.states(15_000, 1_000_000);
            report = report.and(&breadth_first(&mut model, &start, &stage, limits, None, Some(&decided))?.0);
        }
    }
    Ok(report)
}

/// What one client appended among {1, 2} is seen by the next among {1, 3} and among {2, 3}; from there nothing breaks.
fn sequential_appends(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("X")], vec![append("Y")]];
    let setup = Setup { clients, elections: 3, reminders: 1, ..Setup::default() };
    let (mut model, start, stage) = begin(setup)?;
    let limits = bounds.states(300_000, 4_000_000);
    let first = stage.clone().among(&[1, 2]).with_clients(&[1]);
    let (mut report, one) =
        look_for(&mut model, &start, &first, limits, "X appended", &|model, state| done(model, state, 1) == 1)?;
    for partition in [[1, 3], [2, 3]] {
        let second = stage.clone().among(&partition).with_clients(&[2]);
        let seen = |model: &Model, state: &State| model.book(state).results(1).eq([&b"XY"[..]]);
        let (found, both) = look_for(&mut model, &one.state, &second, limits, "Y appended to X", &seen)?;
        report = report.and(&found);
        let limits = bounds.states(10_000, 1_000_000);
        for (from, stage) in [(&both.state, stage.clone()), (&one.state, second.without_timers())] {
            report = report.and(&breadth_first(&mut model, from, &stage, limits, None, None)?.0);
        }
    }
    Ok(report)
}

/// A slot is chosen while the one before is not; from there nothing breaks.
fn holes(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")], vec![append("y")]];
    let setup = Setup {
        clients,
        sends: 2,
        elections: 1,
        candidates: vec![2, 3],
        crashes: 1,
        leader: Some(1),
        ..Setup::default()
    };
    let (mut model, start, stage) = begin(setup)?;
    let hole = |model: &Model, state: &State| above_a_hole(&model.chosen(state)).next().is_some();
    let quiet = stage.clone().without_timers();
    let (report, found) =
        look_for(&mut model, &start, &quiet, bounds.states(100_000, 100_000), "a hole in the log", &hole)?;
    let limits = bounds.states(30_000, 2_000_000);
    Ok(report.and(&breadth_first(&mut model, &found.state, &stage, limits, None, None)?.0))
}

/// Deep and at random: two clients append, leaders change, nodes crash.
fn random(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("a"), append("b"), append("c")], vec![append("x"), append("y"), append("z")]];
    let setup = Setup { clients, sends: 3, elections: 6, crashes: 2, reminders: 4, ..Setup::default() };
    let (mut model, start, stage) = begin(setup)?;
    let limits = Limits { depth: 1000, ..bounds.states(10_000, 200_000) };
    at_random(&mut model, &start, &stage, limits, 21, None)
}

/// A node alone answers three commands in exactly six steps; its whole space has no violation.
fn singleton(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![Wish::Put(1, "x"), append("y"), Wish::Get(1)]];
    let setup = Setup { nodes: 1, clients, sends: 2, leader: Some(1), ..Setup::default() };
    let (mut model, start, stage) = begin(setup.clone())?;
    let limits = bounds.states(100_000, 4_000_000);
    let (_, found) = look_for(&mut model, &start, &stage, limits, "three answers", &|m, s| done(m, s, 1) == 3)?;
    if found.depth != 6 {
        return Err(Violation { broken: format!("three commands in {} steps", found.depth), path: Vec::new() });
    }
    let two = vec![vec![append("a"), Wish::Read(1)], vec![append("x")]];
    let crashes = Setup { clients: two, sends: 1, elections: 1, crashes: 1, ..setup.clone() };
    Ok(exhaust(setup, limits)?.and(&exhaust(crashes, limits)?))
}

/// One client, three nodes, one leader, and a command that may be sent twice.
fn put_append_get(bounds: Bounds) -> Result<Report, Violation> {
    one_client(vec![Wish::Put(1, "x"), append("y"), Wish::Get(1)], bounds)
}

fn append_append_get(bounds: Bounds) -> Result<Report, Violation> {
    one_client(vec![append("x"), append("y"), Wish::Get(1)], bounds)
}

fn one_client(wishes: Vec<Wish>, bounds: Bounds) -> Result<Report, Violation> {
    let alone = Setup { nodes: 1, clients: vec![wishes.clone()], sends: 3, leader: Some(1), ..Setup::default() };
    let report = exhaust(alone, bounds.states(100_000, 100_000))?;
    let three = Setup { clients: vec![wishes], prompt: true, leader: Some(1), ..Setup::default() };
    Ok(report.and(&explore(three, bounds.states(20_000, FULL))?))
}

/// Two clients with three wishes each, on keys of their own and on one key, at one node. In every order.
fn two_clients(bounds: Bounds) -> Result<Report, Violation> {
    let mut report = Report { exhausted: true, ..Report::default() };
    for key in [1, 2] {
        let first = vec![Wish::Put(1, "a"), Wish::Append(1, "b"), Wish::Get(1)];
        let second = vec![Wish::Put(key, "x"), Wish::Append(key, "y"), Wish::Get(key)];
        let sends = if bounds == Bounds::Full { 2 } else { 1 };
        let setup = Setup { nodes: 1, clients: vec![first, second], sends, leader: Some(1), ..Setup::default() };
        report = report.and(&explore(setup, bounds.states(200_000, FULL))?);
    }
    Ok(report)
}

/// One node, endless appends: deep walks.
fn endless(bounds: Bounds) -> Result<Report, Violation> {
    let many = |text| vec![append(text); 60];
    let setup = Setup {
        nodes: 1,
        clients: vec![many("a"), many("b")],
        sends: 3,
        elections: 10,
        crashes: 10,
        leader: Some(1),
        ..Setup::default()
    };
    let (mut model, start, stage) = begin(setup)?;
    at_random(&mut model, &start, &stage, Limits { depth: 1000, ..bounds.states(2_000, 20_000) }, 3, None)
}

/// One command; while its leader works, another node campaigns. To the end.
fn second_candidate(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")]];
    let setup = Setup { clients, prompt: true, elections: 1, candidates: vec![2], leader: Some(1), ..Setup::default() };
    let up = Setup { network: Network::UsesUp, ..setup.clone() };
    match bounds {
        Bounds::Reduced => exhaust(up, Limits::states(FULL)),
        Bounds::Full => Ok(exhaust(up, Limits::states(FULL))?.and(&exhaust(setup, Limits::states(FULL))?)),
    }
}

/// One command; any node crashes, anywhere, at any sync. To the end.
fn crash(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")]];
    let setup = Setup { clients, crashes: 1, leader: Some(1), ..Setup::default() };
    match bounds {
        Bounds::Reduced => exhaust(setup, Limits::states(FULL)),
        Bounds::Full => exhaust(Setup { sends: 2, ..setup }, Limits::states(FULL)),
    }
}

/// Two commands of two clients, with one leader. To the end.
fn two_commands(_bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")], vec![append("y")]];
    exhaust(Setup { clients, prompt: true, leader: Some(1), ..Setup::default() }, Limits::states(FULL))
}

/// Two commands, two candidates, a crash: more states than anybody visits; the nearest ones.
fn everything(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")], vec![append("y")]];
    let setup = Setup {
        clients,
        prompt: true,
        elections: 2,
        candidates: vec![1, 2],
        crashes: 1,
        leader: Some(1),
        ..Setup::default()
    };
    explore(setup, bounds.states(100_000, FULL))
}

/// A client reads what another appends, while another node campaigns.
fn reads(bounds: Bounds) -> Result<Report, Violation> {
    let clients = vec![vec![append("x")], vec![Wish::Read(1)]];
    let setup = Setup {
        clients,
        prompt: true,
        heartbeats: true,
        elections: 1,
        candidates: vec![2],
        leader: Some(1),
        ..Setup::default()
    };
    explore(setup, bounds.states(60_000, FULL))
}

/// As many states as fit into a few gigabytes.
const FULL: usize = 8_000_000;
