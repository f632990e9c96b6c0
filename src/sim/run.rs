//! Runs seeds, and shrinks the plan of one that fails: fewer faults, a kinder network, fewer operations, as long as the
//! same property breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::check::Broken;
use super::plan::Plan;
use super::report::Counts;
use super::world::World;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was tried.
    pub counts: Counts,
    /// A hash of everything that happened.
    pub trace_hash: u64,
    /// What broke, if anything did.
    pub failure: Option<Failure>,
}

/// A property broke.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// In which run.
    pub plan: Plan,
    /// Which, and how.
    pub broken: Broken,
    /// When, in microseconds of the world's time.
    pub at_us: u64,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    traced(plan, false).0
}

/// Runs a plan, and gives its lane diagram if `lines`.
pub fn traced(plan: &Plan, lines: bool) -> (Outcome, String) {
    let mut world = match World::new(plan, lines) {
        Ok(world) => world,
        Err(broken) => {
            let failure = Some(Failure { plan: plan.clone(), broken, at_us: 0 });
            return (Outcome { counts: Counts::default(), trace_hash: 0, failure }, String::new());
        }
    };
    // A role that breaks an invariant of its own panics: that is a failure like any other.
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let lived = lived.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        Err(Broken::new("panic", said.unwrap_or_else(|| "without words".into())))
    });
    let failure = lived.err().map(|broken| Failure { plan: plan.clone(), broken, at_us: world.now_us });
    let outcome = Outcome { counts: world.counts().clone(), trace_hash: world.trace_hash(), failure };
    let diagram = if lines { world.diagram() } else { String::new() };
    (outcome, diagram)
}

/// The smallest plan found, within so many runs, that breaks the same property.
pub fn shrink(failure: &Failure, most_runs: usize) -> Failure {
    let mut best = failure.clone();
    let mut runs = 0;
    loop {
        let mut better = None;
        for candidate in smaller(&best.plan) {
            if runs >= most_runs {
                return best;
            }
            runs += 1;
            if let Some(found) = run(&candidate).failure
                && found.broken.property == failure.broken.property
            {
                better = Some(found);
                break;
            }
        }
        match better {
            Some(found) => best = found,
            None => return best,
        }
    }
}

/// Plans that are a little smaller, the boldest first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let faults = plan.faults.len();
    let mut size = faults.div_ceil(2);
    while size > 0 {
        for start in (0..faults).step_by(size) {
            let mut smaller = plan.clone();
            smaller.faults.drain(start..faults.min(start + size));
            plans.push(smaller);
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    let mut change = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan {
            plans.push(smaller);
        }
    };
    change(&|plan| plan.network.loss = 0);
    change(&|plan| plan.network.duplicate = 0);
    change(&|plan| plan.network.late = 0);
    change(&|plan| plan.network.spread_us = 0);
    change(&|plan| plan.clients.count = (plan.clients.count / 2).max(1));
    change(&|plan| plan.clients.operations /= 2);
    change(&|plan| plan.clients.in_flight = 1);
    change(&|plan| plan.length_us = plan.length_us * 3 / 4);
    plans
}
