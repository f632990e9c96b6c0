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
    let shown = if is_json { object(&rows).to_string() } else { text(&rows) };
    let shown = Printer::standard(is_json).line(&shown);
    let code = match rows.iter().any(|row| row.outcome.is_err()) {
        true => NOT_DONE,
        false if interrupted.is_set() => INTERRUPTED,
        false => DONE,
    };
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

fn object(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let (holds, taken) = match &row.outcome {
            Ok((_, taken)) => (true, taken.clone()),
            Err(broken) => (false, json!(broken)),
        };
        json!({ "row": row.row, "name": row.name, "holds": holds, "taken": taken, "took_seconds": row.seconds })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

fn text(rows: &[Row]) -> String {
    let style = Style::of_stdout(false);
    let mut shown = table(["row", "scenario", "seconds", "what it took"], style);
    for row in rows {
        let taken = match &row.outcome {
            Ok((taken, _)) => taken.clone(),
            Err(broken) => format!("BROKEN: {broken}"),
        };
        shown.add_row([row.row.clone(), row.name.to_owned(), format!("{:.1}", row.seconds), taken]);
    }
    let broken = rows.iter().filter(|row| row.outcome.is_err()).count();
    let verdict = match broken {
        0 => format!("all {} rows hold", rows.len()),
        1 => "1 row does not hold".to_owned(),
        many => format!("{many} rows do not hold"),
    };
    format!("{}\n\n{verdict}", finished(&shown))
}
