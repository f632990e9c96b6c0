//! Runs seeds, and shrinks the plan of one that fails: fewer faults, a kinder network, fewer operations, as long as the
//! same property breaks.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::check::Broken;
use super::plan::Plan;
use super::report::Counts;
use super::world::World;
use crate::panics;

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
    lived(plan, lines, &(0..=u64::MAX))
}

/// Runs a plan, and gives the lane diagram of what happened within a time, in microseconds.
pub fn diagram(plan: &Plan, within_us: &RangeInclusive<u64>) -> (Outcome, String) {
    lived(plan, true, within_us)
}

fn lived(plan: &Plan, lines: bool, within_us: &RangeInclusive<u64>) -> (Outcome, String) {
    let failed = |broken, at_us| Some(Failure { plan: plan.clone(), broken, at_us });
    let mut world = match caught(|| World::new(plan, lines)) {
        Ok(world) => world,
        Err(broken) => {
            let counts = Counts { seeds: 1, ..Counts::default() };
            return (Outcome { counts, trace_hash: 0, failure: failed(broken, 0) }, String::new());
        }
    };
    let failure = caught(|| world.live()).err().and_then(|broken| failed(broken, world.now_us));
    let outcome = Outcome { counts: world.counts().clone(), trace_hash: world.trace_hash(), failure };
    let diagram = if lines { world.diagram(within_us) } else { String::new() };
    (outcome, diagram)
}

/// A role that breaks an invariant of its own panics: that is a failure like any other.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Broken::new("panic", panics::said(&*panic))))
}

/// The smallest plan found, within so many runs, that breaks the same property.
pub fn shrink(failure: &Failure, most_runs: usize) -> Failure {
    shrink_by(failure, most_runs, |plan| run(plan).failure)
}

/// As [`shrink`], with a say in how a plan is run.
pub fn shrink_by(failure: &Failure, most_runs: usize, mut run: impl FnMut(&Plan) -> Option<Failure>) -> Failure {
    let mut best = failure.clone();
    let mut runs = 0;
    loop {
        let mut better = None;
        for candidate in smaller(&best.plan) {
            if runs >= most_runs {
                return best;
            }
            runs += 1;
            if let Some(found) = run(&candidate)
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
    change(&|plan| plan.lasting = None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::faults::FaultKind;
    use crate::sim::plan::Wishes;

    /// A plan with a fault that is to blame, among others that are not.
    fn blamed() -> (Failure, FaultKind) {
        let plans = (1..).map(|seed| Plan::new(seed, &Wishes { nodes: Some(3), ..Wishes::default() }));
        let plan = plans.into_iter().find(|plan| plan.faults.len() > 5).expect("some plan has many faults");
        let kind = plan.faults[3].kind;
        (Failure { plan, broken: Broken::new("synthetic", "as found"), at_us: 7 }, kind)
    }

    #[test]
    fn what_is_not_to_blame_is_left_out() {
        let (failure, kind) = blamed();
        let mut runs = 0;
        let shrunk = shrink_by(&failure, 10_000, |plan| {
            runs += 1;
            let guilty = plan.faults.iter().any(|fault| fault.kind == kind);
            let broken = Broken::new("synthetic", "again");
            guilty.then(|| Failure { plan: plan.clone(), broken, at_us: 3 })
        });
        assert_eq!(shrunk.plan.faults.len(), 1, "{}", shrunk.plan);
        assert_eq!(shrunk.plan.faults[0].kind, kind);
        assert_eq!((shrunk.plan.network.loss, shrunk.plan.clients.count, shrunk.plan.clients.operations), (0, 1, 0));
        assert_eq!((shrunk.broken.detail.as_str(), shrunk.at_us), ("again", 3), "what the smaller run showed");
        assert!(runs < 1_000, "{runs} runs");
    }

    #[test]
    fn another_property_is_another_failure_and_runs_are_bounded() {
        let (failure, _) = blamed();
        let other =
            |plan: &Plan| Some(Failure { plan: plan.clone(), broken: Broken::new("another", "else"), at_us: 1 });
        assert_eq!(shrink_by(&failure, 10_000, other), failure);
        let mut runs = 0;
        shrink_by(&failure, 9, |_| {
            runs += 1;
            None
        });
        assert_eq!(runs, 9);
    }
}
