//! `synod simulate --lab`: the scenarios that are known from a course's lab, and searches of small instances.

use std::time::Instant;

use serde_json::{Value, json};

use synod::sim::explore::lab as searches;
use synod::sim::lab as scenarios;

use super::hunt::{Interrupted, keep_panics_quiet};
use super::progress;
use crate::answer::{DONE, Failure, INTERRUPTED, NOT_DONE};
use crate::output::{Printer, Style, Unshown, finished, table};

/// One row of the lab, played or searched.
struct Row {
    row: String,
    name: &'static str,
    /// What it took, in words and for programs; or what did not hold.
    outcome: Result<(String, Value), String>,
    seconds: f64,
}

/// Plays every scenario and makes every search, and shows a table of them.
pub fn run(is_full: bool, is_json: bool, interrupted: &Interrupted) -> Result<u8, Failure> {
    keep_panics_quiet();
    let scenarios = scenarios::scenarios();
    let searches = searches::searches();
    let bar = progress((scenarios.len() + searches.len()) as u64, "{bar:32} {pos}/{len} rows  {msg}");
    let mut rows = Vec::new();
    for scenario in &scenarios {
        if interrupted.is_set() {
            break;
        }
        bar.set_message(scenario.name);
        let bounds = if is_full { scenarios::Bounds::Full } else { scenarios::Bounds::Reduced };
        rows.push(timed(scenario.row.to_string(), scenario.name, || match scenario.run(bounds) {
            Ok(taken) => Ok((taken.to_string(), summary(&taken))),
            Err(broken) => Err(broken.to_string()),
        }));
        bar.inc(1);
    }
    for search in &searches {
        if interrupted.is_set() {
            break;
        }
        bar.set_message(search.name);
        let bounds = if is_full { searches::Bounds::Full } else { searches::Bounds::Reduced };
        rows.push(timed(search.row.to_owned(), search.name, || match search.run(bounds) {
            Ok(report) => Ok((words(&report), counts(&report))),
            Err(violation) => Err(violation.to_string()),
        }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let played = Played { rows, rows_in_all: scenarios.len() + searches.len() };
    let code = played.exit_code();
    let shown = if is_json { played.object().to_string() } else { played.text(Style::of_stdout(false)) };
    let shown = Printer::standard(is_json).line(&shown);
    Ok(shown.map_or_else(Unshown::exit_code, |()| DONE).max(code))
}

fn timed(row: String, name: &'static str, run: impl FnOnce() -> Result<(String, Value), String>) -> Row {
    let began = Instant::now();
    let outcome = run();
    Row { row, name, outcome, seconds: began.elapsed().as_secs_f64() }
}

fn summary(taken: &scenarios::Summary) -> Value {
    json!({
        "seeds": taken.seeds,
        "longest_run_ms": taken.longest_run_us / 1000,
        "done": taken.done,
        "messages": taken.messages,
        "most_messages_per_request": taken.most_per_request,
        "longest_wait_ms": taken.longest_wait_us / 1000,
    })
}

fn words(report: &synod::sim::explore::Report) -> String {
    let reach = if report.exhausted { "all there are" } else { "not all" };
    format!("{} states ({reach}), {} steps, at most {} deep", report.states, report.steps, report.depth)
}

fn counts(report: &synod::sim::explore::Report) -> Value {
    json!({
        "states": report.states,
        "steps": report.steps,
        "depth": report.depth,
        "exhausted": report.exhausted,
    })
}

/// What was played, of so many rows.
struct Played {
    rows: Vec<Row>,
    rows_in_all: usize,
}

impl Played {
    fn broken(&self) -> usize {
        self.rows.iter().filter(|row| row.outcome.is_err()).count()
    }

    fn was_interrupted(&self) -> bool {
        self.rows.len() < self.rows_in_all
    }

    fn exit_code(&self) -> u8 {
        match (self.broken(), self.was_interrupted()) {
            (0, false) => DONE,
            (0, true) => INTERRUPTED,
            _ => NOT_DONE,
        }
    }

    fn object(&self) -> Value {
        let row = |row: &Row| {
            let (holds, taken) = match &row.outcome {
                Ok((_, taken)) => (true, taken.clone()),
                Err(broken) => (false, json!(broken)),
            };
            json!({ "row": row.row, "name": row.name, "holds": holds, "taken": taken, "took_seconds": row.seconds })
        };
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "rows_in_all": self.rows_in_all,
            "interrupted": self.was_interrupted(),
            "exit": self.exit_code(),
        })
    }

    fn text(&self, style: Style) -> String {
        let mut shown = table(["ROW", "SCENARIO", "SECONDS", "WHAT IT TOOK"], style);
        for row in &self.rows {
            let taken = match &row.outcome {
                Ok((taken, _)) => taken.clone(),
                Err(broken) => format!("BROKEN: {broken}"),
            };
            shown.add_row([row.row.clone(), row.name.to_owned(), format!("{:.1}", row.seconds), taken]);
        }
        format!("{}\n\n{}", finished(&shown), self.verdict())
    }

    fn verdict(&self) -> String {
        let verdict = match self.broken() {
            0 => "all of them hold".to_owned(),
            1 => "1 does not hold".to_owned(),
            many => format!("{many} do not hold"),
        };
        match self.was_interrupted() {
            false => format!("{} rows: {verdict}", self.rows.len()),
            true => format!("interrupted after {} of {} rows: {verdict}", self.rows.len(), self.rows_in_all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_played_is_not_said_to_hold() {
        let row = |holds: bool| Row {
            row: "1".into(),
            name: "one",
            outcome: if holds { Ok(("a state".into(), json!(1))) } else { Err("two values".into()) },
            seconds: 0.1,
        };
        let played = |rows| Played { rows, rows_in_all: 2 };
        let style = Style::default();
        let cut = played(vec![row(true)]);
        assert!(cut.text(style).ends_with("interrupted after 1 of 2 rows: all of them hold"), "{}", cut.text(style));
        assert_eq!((cut.exit_code(), cut.object()["interrupted"].clone()), (INTERRUPTED, json!(true)));
        let whole = played(vec![row(true), row(true)]);
        assert!(whole.text(style).ends_with("2 rows: all of them hold"));
        assert_eq!((whole.exit_code(), whole.object()["rows_in_all"].clone()), (DONE, json!(2)));
        let broken = played(vec![row(true), row(false)]);
        assert!(broken.text(style).contains("BROKEN: two values") && broken.text(style).ends_with("1 does not hold"));
        assert_eq!(broken.exit_code(), NOT_DONE);
        assert_eq!(played(vec![row(false)]).exit_code(), NOT_DONE);
    }
}
