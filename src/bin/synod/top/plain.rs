//! Where there is no terminal: a table, or one JSON object, once every interval.
//!
//! The first look is only what the first rates count from. Field names are stable, as those of all answers.

use serde_json::{Value, json};

use super::TopArgs;
use super::asking::Asker;
use super::columns::{COLUMNS, headline, notes, throughput};
use super::measured::{Measuring, Row, View};
use crate::answer::{DONE, Failure, NOT_DONE};
use crate::output::{Printer, Style, Unshown, finished, table, to_the_right, utc};

/// Prints until it has printed so many, or nobody reads on.
pub fn run(args: &TopArgs, asker: &Asker) -> Result<u8, Failure> {
    let mut printer = Printer::standard(args.connect.json);
    let style = Style::of_stdout(args.connect.json);
    let mut measuring = Measuring::default();
    measuring.take(asker.next()?);
    let (mut shown, mut code) = (0, DONE);
    while args.count.is_none_or(|count| shown < count) {
        let view = measuring.take(asker.next()?);
        let printed = match &view.leader {
            Err(why) if view.answered() == 0 => {
                code = NOT_DONE;
                printer.failure(&Failure::not_done(why))
            }
            _ if style.json => printer.line(&json(&view).to_string()),
            _ => {
                let gap = if shown == 0 { "" } else { "\n" };
                printer.line(&format!("{gap}{}", text(&view, style)))
            }
        };
        if let Err(unshown) = printed {
            return Ok(unshown.exit_code().max(if unshown == Unshown::Closed { DONE } else { code }));
        }
        shown += 1;
    }
    Ok(code)
}

/// For people.
fn text(view: &View, style: Style) -> String {
    let mut shown = table(COLUMNS.iter().map(|column| column.header), style);
    for row in &view.rows {
        shown.add_row(COLUMNS.iter().map(|column| (column.cell)(row)));
    }
    let numbers = COLUMNS.iter().enumerate().filter(|(_, column)| column.is_number).map(|(number, _)| number);
    to_the_right(&mut shown, numbers);
    let name = view.cluster.as_deref().unwrap_or_default();
    let head = format!("{}  {name}: {}, {}", utc(view.at_ms), headline(view), throughput(view));
    [head, finished(&shown)].into_iter().chain(notes(view)).collect::<Vec<_>>().join("\n")
}

/// For programs.
fn json(view: &View) -> Value {
    let leader = view.leader.as_ref();
    json!({
        "at_ms": view.at_ms,
        "elapsed_s": view.elapsed.map(|elapsed| rounded(elapsed.as_secs_f64())),
        "cluster": view.cluster,
        "leader": leader.ok().map(|leader| json!({"name": leader.name, "ballot": leader.ballot.to_string()})),
        "why": leader.err(),
        "chosen_upto": view.chosen_upto.map(|upto| upto.0),
        "commands_per_second": view.commands_per_second.map(rounded),
        "nodes": view.rows.iter().map(node).collect::<Vec<_>>(),
    })
}

fn node(row: &Row) -> Value {
    let told = row.told.as_ref().ok();
    let rates = told.and_then(|told| told.rates);
    let told_by = |(link, tellers): (&String, &Vec<String>)| -> Vec<(String, Value)> {
        tellers.iter().map(|teller| (teller.clone(), json!(link))).collect()
    };
    let links: serde_json::Map<String, Value> = row.links.iter().flat_map(told_by).collect();
    json!({
        "node": row.name,
        "address": (!row.address.is_empty()).then_some(&row.address),
        "state": told.map(|told| &told.phase),
        "error": row.told.as_ref().err(),
        "trouble": told.and_then(|told| told.trouble.as_ref()),
        "ballot": told.map(|told| told.ballot.to_string()),
        "executed_upto": told.map(|told| told.executed_upto.0),
        "lag": told.map(|told| told.lag),
        "commands_per_second": rates.map(|rates| rounded(rates.commands)),
        "syncs_per_second": rates.map(|rates| rounded(rates.syncs)),
        "commands_per_sync": rates.and_then(|rates| rates.commands_per_sync).map(rounded),
        "cpu_percent": rates.and_then(|rates| rates.cpu_percent).map(rounded),
        "journal_bytes": told.map(|told| told.journal_bytes),
        "sessions": told.map(|told| told.sessions),
        "round_trip_us": row.round_trip_us,
        "links": links,
    })
}

/// To three digits behind the point.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::{node_down, two_looks};
    use super::*;

    const TEXT: Style = Style { json: false, terminal: false, colours: false };

    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim_end).collect()
    }

    #[test]
    fn a_table_once_every_interval() {
        let shown = text(&two_looks(), TEXT);
        assert_eq!(
            lines(&shown),
            [
                "1970-01-01 00:00:02.000  synod: n1 leads in ballot 3.1, chosen up to slot 1,240, 1,200 commands/s",
                "NODE  STATE      BALLOT  EXECUTED  LAG  COMMANDS/S  SYNCS/S  PER SYNC   JOURNAL  CPU %  ROUND TRIP  \
                 SESSIONS  ADDRESS",
                "n1    leading    3.1        1,240    0       1,200      100      12.0  1.00 MiB   25.0           -         \
                 2  127.0.0.1:7101",
                "n2    following  3.1        1,230   10       1,190       50      23.8  1.00 MiB   25.0     0.31 ms         \
                 2  127.0.0.1:7102",
                "n3    following  3.1        1,240    0           -        -         -  1.00 MiB      -     1.50 ms         \
                 2  127.0.0.1:7103",
            ],
            "{shown}"
        );
        let shown = text(&node_down(), TEXT);
        let below: Vec<&str> = lines(&shown).into_iter().skip(5).collect();
        assert_eq!(below, ["n3 is down: connection refused", "n1, n2 say of the link to n3: down"], "{shown}");
    }

    #[test]
    fn an_object_once_every_interval() {
        let object = json(&two_looks());
        assert_eq!(object["leader"], json!({"name": "n1", "ballot": "3.1"}));
        assert_eq!((&object["elapsed_s"], &object["chosen_upto"]), (&json!(1.0), &json!(1240)));
        assert_eq!(object["commands_per_second"], 1200.0);
        let second = &object["nodes"][1];
        assert_eq!((&second["node"], &second["lag"]), (&json!("n2"), &json!(10)));
        assert_eq!((&second["syncs_per_second"], &second["commands_per_sync"]), (&json!(50.0), &json!(23.8)));
        assert_eq!((&second["cpu_percent"], &second["round_trip_us"]), (&json!(25.0), &json!(310)));
        assert_eq!(object["nodes"][2]["commands_per_second"], Value::Null, "it was started anew");
        let third = &json(&node_down())["nodes"][2];
        assert_eq!((&third["state"], &third["error"]), (&Value::Null, &json!("connection refused")));
        assert_eq!(third["links"], json!({"n1": "down", "n2": "down"}));
    }
}
