//! What was tried, and what broke: as text and as one JSON object.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use synod::sim::{self, FaultKind, Plan};

use super::SimulateArgs;
use super::hunt::Total;
use crate::answer::{DONE, INTERRUPTED, NOT_DONE};
use crate::output::{Style, finished, grouped, table};

/// What was tried.
pub struct Tried<'a> {
    /// What was asked for.
    pub args: &'a SimulateArgs,
    /// Counts.
    pub total: Total,
    /// Of everything that happened.
    pub trace_hash: u64,
    /// On how many threads.
    pub jobs: usize,
    /// How long it took.
    pub seconds: f64,
    /// What broke.
    pub found: Option<Found>,
    /// Not all seeds were run.
    pub was_interrupted: bool,
}

/// A property that broke.
pub struct Found {
    /// In which run, and how.
    pub failure: sim::Failure,
    /// Where in our source, if it was a panic.
    pub place: Option<String>,
    /// The same in a smaller run, and how many runs it took to find that.
    pub shrunk: (sim::Failure, u64),
    /// The command that runs it again.
    pub replay: String,
}

impl Tried<'_> {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match (&self.found, self.was_interrupted) {
            (Some(_), _) => NOT_DONE,
            (None, true) => INTERRUPTED,
            (None, false) => DONE,
        }
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let parts = [self.headline(), self.tried(style), self.faults(style)];
        let found = self.found.iter().map(found);
        parts.into_iter().filter(|part| !part.is_empty()).chain(found).collect::<Vec<_>>().join("\n\n")
    }

    fn headline(&self) -> String {
        let (seeds, first) = (self.total.counts.seeds, self.args.first_seed());
        let which = match seeds {
            0 => "no seed".to_owned(),
            1 => format!("seed {first}"),
            _ => format!("{} seeds, {} to {}", grouped(seeds), grouped(first), grouped(first + (seeds - 1))),
        };
        let came_to = match &self.found {
            Some(found) => format!("seed {} breaks a property", found.failure.plan.seed),
            None if self.was_interrupted => "interrupted; no property broke so far".to_owned(),
            None if self.total.counts.excused == 1 && seeds == 1 => "excused, without a verdict".to_owned(),
            None if self.total.counts.excused > 0 => {
                format!("no property broke, {} excused", grouped(self.total.counts.excused))
            }
            None => "no property broke".to_owned(),
        };
        let threads = if self.jobs == 1 { "1 thread".to_owned() } else { format!("{} threads", self.jobs) };
        format!("{which}: {came_to} ({:.1} s, {threads})", self.seconds)
    }

    fn tried(&self, style: Style) -> String {
        let counts = &self.total.counts;
        let per_second = (counts.messages as f64 / self.seconds.max(0.001)) as u64;
        let nodes = self.total.nodes.iter().map(|(nodes, seeds)| format!("{nodes} nodes: {}", grouped(*seeds)));
        let nodes = nodes.collect::<Vec<_>>().join(", ").replace("1 nodes", "1 node");
        let outcomes = format!(
            "{} done, {} not done, {} unknown",
            grouped(counts.done),
            grouped(counts.not_done),
            grouped(counts.unknown)
        );
        let rows = [
            ("seeds", grouped(counts.seeds), nodes),
            ("excused", grouped(counts.excused), if counts.excused > 0 { EXCUSED.into() } else { String::new() }),
            ("commands and reads", grouped(counts.operations), outcomes),
            ("messages taken", grouped(counts.messages), format!("{} a second", grouped(per_second))),
            ("packets sent", grouped(counts.packets), String::new()),
            ("slots chosen", grouped(counts.chosen), String::new()),
            ("leader changes", grouped(counts.leaders), String::new()),
            ("restarts", grouped(counts.restarts), String::new()),
            ("losses found out", grouped(counts.losses_found), "by nodes, of their own disks".into()),
            ("journals repaired", grouped(counts.repaired), "from peers".into()),
            ("batches synced", grouped(counts.batches), String::new()),
            ("snapshots installed", grouped(counts.installed), String::new()),
            ("configurations", grouped(counts.configurations), "members came or went".into()),
            ("nodes dismissed", grouped(counts.dismissed), "they had left, and stopped".into()),
            ("marks agreed on", grouped(counts.agreed), "by a quorum, as each node learned".into()),
            ("states repaired", grouped(counts.rebuilt), "they differed".into()),
            ("sessions expired", grouped(counts.expired), "as clients were told".into()),
            (
                "partitions endured",
                grouped(counts.endured.values().sum()),
                "they stayed, and the cluster served".into(),
            ),
            ("simulated time", seconds(counts.simulated_us), String::new()),
            ("slowest heal", seconds(counts.slowest_heal_us), "after the faults had ended".into()),
        ];
        let mut shown = table(["TRIED", "COUNT", ""], style);
        rows.into_iter().for_each(|(name, count, note)| {
            shown.add_row([name.to_owned(), count, note]);
        });
        right(&mut shown);
        finished(&shown)
    }

    fn faults(&self, style: Style) -> String {
        let allowed: Vec<FaultKind> = self.args.faults.set.kinds().collect();
        if allowed.is_empty() {
            return "FAULT  none was allowed".to_owned();
        }
        let mut shown = table(["FAULT", "COUNT", "GROUP"], style);
        for kind in allowed {
            let count = self.total.counts.faults.get(&kind).copied().unwrap_or(0);
            shown.add_row([kind.name(), &grouped(count), kind.group()]);
        }
        right(&mut shown);
        let shown = finished(&shown);
        if self.total.counts.faults.is_empty() {
            return format!("{shown}\n\nNo fault happened: what was allowed finds nothing to befall here.");
        }
        shown
    }

    /// For programs. Field names are stable; only those that end in `_seconds` depend on time.
    pub fn json(&self) -> Value {
        let counts = &self.total.counts;
        let faults = self.args.faults.set.kinds().map(|kind| {
            let count = counts.faults.get(&kind).copied().unwrap_or(0);
            (kind.name().to_owned(), json!(count))
        });
        let endured = counts.endured.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count)));
        let nodes = self.total.nodes.iter().map(|(nodes, seeds)| (nodes.to_string(), json!(seeds)));
        json!({
            "first_seed": self.args.first_seed(),
            "seeds": counts.seeds,
            "seeds_by_nodes": nodes.collect::<serde_json::Map<_, _>>(),
            "excused": counts.excused,
            "operations": counts.operations,
            "done": counts.done,
            "not_done": counts.not_done,
            "unknown": counts.unknown,
            "messages": counts.messages,
            "packets": counts.packets,
            "chosen": counts.chosen,
            "leader_changes": counts.leaders,
            "restarts": counts.restarts,
            "losses_found_out": counts.losses_found,
            "journals_repaired": counts.repaired,
            "batches": counts.batches,
            "snapshots_installed": counts.installed,
            "configurations": counts.configurations,
            "nodes_dismissed": counts.dismissed,
            "marks_agreed_on": counts.agreed,
            "states_repaired": counts.rebuilt,
            "sessions_expired": counts.expired,
            "partitions_endured": endured.collect::<serde_json::Map<_, _>>(),
            "simulated_us": counts.simulated_us,
            "slowest_heal_us": counts.slowest_heal_us,
            "faults": faults.collect::<serde_json::Map<_, _>>(),
            "trace_hash": format!("{:016x}", self.trace_hash),
            "interrupted": self.was_interrupted,
            "failure": self.found.as_ref().map(failure),
            "elapsed_seconds": self.seconds,
            "exit": self.exit_code(),
        })
    }
}

/// What broke, in which run.
pub fn verdict(failure: &sim::Failure, place: Option<&str>) -> String {
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    format!(
        "BROKEN: {}\nseen:   {}{place}\nwhen:   {} ms",
        failure.broken.property,
        failure.broken.detail,
        failure.at_us / 1000
    )
}

fn found(found: &Found) -> String {
    let Found { failure, place, shrunk: (smallest, runs), replay } = found;
    let before = failure.plan.faults.len();
    let mut text = format!("SEED {}\n{}", failure.plan.seed, verdict(failure, place.as_deref()));
    if smallest.plan == failure.plan {
        text += &format!("\n\nNo smaller run was found that breaks it too, in {runs} runs. The run:\n{}", failure.plan);
    } else {
        text += &format!(
            "\n\nSHRUNK from {before} faults to {}, in {runs} runs\n{}\nseen:   {}\nwhen:   {} ms",
            smallest.plan.faults.len(),
            smallest.plan,
            smallest.broken.detail,
            smallest.at_us / 1000
        );
    }
    text + &format!("\n\nREPLAY\n  {replay} --trace\n  {replay} --trace --shrunk")
}

fn failure(found: &Found) -> Value {
    let Found { failure, place, shrunk: (smallest, runs), replay } = found;
    json!({
        "seed": failure.plan.seed,
        "property": failure.broken.property,
        "detail": failure.broken.detail,
        "place": place,
        "at_us": failure.at_us,
        "plan": plan(&failure.plan),
        "shrunk": {
            "runs": runs,
            "detail": smallest.broken.detail,
            "at_us": smallest.at_us,
            "plan": plan(&smallest.plan),
        },
        "replay": format!("{replay} --trace"),
    })
}

fn plan(plan: &Plan) -> Vec<String> {
    plan.to_string().lines().map(|line| line.trim().to_owned()).collect()
}

fn right(shown: &mut comfy_table::Table) {
    if let Some(column) = shown.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn seconds(micros: u64) -> String {
    let tenths = micros / 100_000;
    format!("{}.{} s", grouped(tenths / 10), tenths % 10)
}

/// What it means that a run is excused.
pub const EXCUSED: &str = "a disk lost what no node that it met again had heard of: nobody can notice";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_a_tenth() {
        assert_eq!(seconds(1_234_567_890), "1,234.5 s");
    }
}
