//! Ways through the states: breadth first, which finds shortest paths and exhausts what is finite, and at random, which
//! goes deep.

use std::collections::HashSet;

use crate::paxos::dice::Dice;

use super::fingerprint::BuildItself;
use super::model::{Model, State, Step};
use super::setup::Stage;

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// After so many different states.
    pub states: usize,
    /// No path longer than this.
    pub depth: usize,
}

impl Limits {
    /// So many states, at any depth.
    pub fn states(states: usize) -> Limits {
        Limits { states, depth: usize::MAX }
    }
}

/// What a search did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Different states visited; at random, states visited.
    pub states: usize,
    /// Steps taken that changed something.
    pub steps: usize,
    /// The longest path.
    pub depth: usize,
    /// Every state there is was visited.
    pub exhausted: bool,
}

impl Report {
    /// This search, and then that one.
    pub fn and(self, other: &Report) -> Report {
        Report {
            states: self.states + other.states,
            steps: self.steps + other.steps,
            depth: self.depth.max(other.depth),
            exhausted: self.exhausted && other.exhausted,
        }
    }
}

/// A state that breaks a property, and the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is broken.
    pub broken: String,
    /// Step by step; the shortest way, if the search was breadth first.
    pub path: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, step) in (1..).zip(&self.path) {
            writeln!(f, "{number:4}  {step}")?;
        }
        write!(f, "broken: {}", self.broken)
    }
}

/// A state that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// It.
    pub state: State,
    /// How many steps lead there.
    pub depth: usize,
}

/// What is looked for, or must not be: a look at a state.
pub type Look<'a> = &'a dyn Fn(&Model, &State) -> bool;

/// Visits states, the nearest first, until one satisfies `goal`, the limits are reached, or there are no more. `forbidden`
/// must hold nowhere.
///
/// # Errors
/// The shortest way to a state that breaks a property.
pub fn breadth_first(
    model: &mut Model,
    start: &State,
    stage: &Stage,
    limits: Limits,
    goal: Option<Look<'_>>,
    forbidden: Option<Look<'_>>,
) -> Result<(Report, Option<Found>), Violation> {
    let mut visited: HashSet<u128, BuildItself> = HashSet::default();
    // Where each visited state was first come to from.
    let mut trail: Vec<(u32, Step)> = Vec::new();
    let mut level = vec![(start.clone(), ROOT)];
    visited.insert(start.fingerprint());
    let mut report = Report { states: 1, ..Report::default() };
    if goal.is_some_and(|goal| goal(model, start)) {
        return Ok((report, Some(Found { state: start.clone(), depth: 0 })));
    }
    let mut found = Vec::new();
    while !level.is_empty() && report.depth < limits.depth {
        let mut next_level = Vec::new();
        for (state, at) in std::mem::take(&mut level) {
            let stepped = model.steps(&state, stage, &mut found);
            for (step, next) in found.drain(..) {
                report.steps += 1;
                if !visited.insert(next.fingerprint()) {
                    continue;
                }
                report.states += 1;
                trail.push((at, step));
                let here = trail.len() as u32;
                if forbidden.is_some_and(|forbidden| forbidden(model, &next)) {
                    let path = path(model, start, &trail, here, None);
                    return Err(Violation { broken: "a state that must not be".into(), path });
                }
                if goal.is_some_and(|goal| goal(model, &next)) {
                    return Ok((report.clone(), Some(Found { state: next, depth: report.depth + 1 })));
                }
                next_level.push((next, here));
            }
            if let Err((step, broken)) = stepped {
                return Err(Violation { broken, path: path(model, start, &trail, at, Some(step)) });
            }
            if report.states >= limits.states {
                return Ok((report, None));
            }
        }
        level = next_level;
        report.depth += usize::from(!level.is_empty());
    }
    report.exhausted = level.is_empty();
    Ok((report, None))
}

const ROOT: u32 = 0;

/// The way to a state, and one step further.
fn path(model: &mut Model, start: &State, trail: &[(u32, Step)], to: u32, last: Option<Step>) -> Vec<String> {
    let mut steps: Vec<Step> = last.into_iter().collect();
    let mut at = to;
    while at != ROOT {
        let (from, step) = trail[at as usize - 1];
        steps.push(step);
        at = from;
    }
    steps.reverse();
    told(model, start, &steps)
}

fn told(model: &mut Model, start: &State, steps: &[Step]) -> Vec<String> {
    let mut state = start.clone();
    let mut lines = Vec::new();
    for step in steps {
        lines.push(model.describe(&state, *step));
        if let Ok(Some(next)) = model.take(&state, *step) {
            state = next;
        }
    }
    lines
}

/// Walks at random, each walk until nothing is left to do or `limits.depth` steps are taken, again and again until so
/// many states are visited.
///
/// # Errors
/// The way to a state that breaks a property.
pub fn at_random(
    model: &mut Model,
    start: &State,
    stage: &Stage,
    limits: Limits,
    seed: u64,
    forbidden: Option<Look<'_>>,
) -> Result<Report, Violation> {
    let mut dice = Dice::new(seed);
    let mut report = Report::default();
    while report.states < limits.states {
        let mut state = start.clone();
        let mut taken = Vec::new();
        while taken.len() < limits.depth && report.states < limits.states {
            let mut candidates = model.candidates(&state, stage);
            let mut stepped = None;
            while stepped.is_none() && !candidates.is_empty() {
                let step = candidates.swap_remove(dice.below(candidates.len() as u64) as usize);
                match model.try_step(&state, step) {
                    Ok(next) => stepped = next.map(|next| (step, next)),
                    Err((step, broken)) => {
                        taken.push(step);
                        return Err(Violation { broken, path: told(model, start, &taken) });
                    }
                }
            }
            let Some((step, next)) = stepped else { break };
            taken.push(step);
            state = next;
            report.states += 1;
            if forbidden.is_some_and(|forbidden| forbidden(model, &state)) {
                let path = told(model, start, &taken);
                return Err(Violation { broken: "a state that must not be".into(), path });
            }
        }
        report.steps += taken.len();
        report.depth = report.depth.max(taken.len());
    }
    Ok(report)
}
