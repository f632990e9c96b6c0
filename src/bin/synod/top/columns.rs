//! What a view says in words: the columns of its table, the line above it and those below. The same on a terminal and in
//! a pipe.

use indicatif::BinaryBytes;

use super::measured::{Rates, Row, Told, View};
use crate::output::{grouped, milliseconds};

/// A column of the table.
pub struct Column {
    /// At its head.
    pub header: &'static str,
    /// Whether its cells stand to the right.
    pub is_number: bool,
    /// What a node has there.
    pub cell: fn(&Row) -> String,
}

/// In the order of what matters: on a narrow terminal the last ones are left out.
pub const COLUMNS: [Column; 13] = [
    Column { header: "NODE", is_number: false, cell: |row| row.name.clone() },
    Column { header: "STATE", is_number: false, cell: state },
    Column { header: "BALLOT", is_number: false, cell: |row| told(row, |told| told.ballot.to_string()) },
    Column { header: "EXECUTED", is_number: true, cell: |row| told(row, |told| grouped(told.executed_upto.0)) },
    Column { header: "LAG", is_number: true, cell: |row| told(row, |told| grouped(told.lag)) },
    Column { header: "COMMANDS/S", is_number: true, cell: |row| measured(row, |rates| Some(rate(rates.commands))) },
    Column { header: "SYNCS/S", is_number: true, cell: |row| measured(row, |rates| Some(rate(rates.syncs))) },
    Column {
        header: "PER SYNC",
        is_number: true,
        cell: |row| measured(row, |rates| rates.commands_per_sync.map(|ratio| format!("{ratio:.1}"))),
    },
    Column {
        header: "JOURNAL",
        is_number: true,
        cell: |row| told(row, |told| BinaryBytes(told.journal_bytes).to_string()),
    },
    Column {
        header: "CPU %",
        is_number: true,
        cell: |row| measured(row, |rates| rates.cpu_percent.map(|percent| format!("{percent:.1}"))),
    },
    Column {
        header: "ROUND TRIP",
        is_number: true,
        cell: |row| row.round_trip_us.map_or_else(|| ABSENT.to_owned(), milliseconds),
    },
    Column { header: "SESSIONS", is_number: true, cell: |row| told(row, |told| grouped(told.sessions)) },
    Column {
        header: "ADDRESS",
        is_number: false,
        cell: |row| if row.address.is_empty() { ABSENT.to_owned() } else { row.address.clone() },
    },
];

/// Where in [`COLUMNS`] the state is.
pub const STATE: usize = 1;

fn state(row: &Row) -> String {
    row.told.as_ref().map_or_else(|_| DOWN.to_owned(), |told| told.phase.clone())
}

fn told(row: &Row, cell: impl Fn(&Told) -> String) -> String {
    row.told.as_ref().map_or_else(|_| ABSENT.to_owned(), cell)
}

fn measured(row: &Row, cell: impl Fn(&Rates) -> Option<String>) -> String {
    let rates = row.told.as_ref().ok().and_then(|told| told.rates.as_ref());
    rates.and_then(cell).unwrap_or_else(|| ABSENT.to_owned())
}

/// So many a second.
pub fn rate(a_second: f64) -> String {
    if a_second > 0.0 && a_second < 10.0 { format!("{a_second:.1}") } else { grouped(a_second.round() as u64) }
}

/// Who leads, or why nobody does; and how far the cluster is.
pub fn headline(view: &View) -> String {
    let leader = match &view.leader {
        Ok(leader) => format!("{} leads in ballot {}", leader.name, leader.ballot),
        // Who does not answer, and why, is said below the table.
        Err(_) if view.answered() == 0 => "no node answers".to_owned(),
        Err(why) => format!("nobody leads: {why}"),
    };
    let chosen = view.chosen_upto.map(|upto| format!(", chosen up to slot {}", grouped(upto.0)));
    format!("{leader}{}", chosen.unwrap_or_default())
}

/// Commands a second of the cluster.
pub fn throughput(view: &View) -> String {
    format!("{} commands/s", view.commands_per_second.map_or_else(|| ABSENT.to_owned(), rate))
}

/// What is wrong with which node.
pub fn notes(view: &View) -> Vec<String> {
    let mut notes = Vec::new();
    for row in &view.rows {
        match &row.told {
            Ok(Told { trouble: Some(trouble), .. }) => notes.push(format!("{} does not vote: {trouble}", row.name)),
            Ok(_) => {}
            Err(why) => notes.push(format!("{} is down: {why}", row.name)),
        }
        // Of a node that answers, only what is amiss; of one that does not, whatever the others say.
        for (link, who) in row.links.iter().filter(|(link, _)| row.told.is_err() || *link != "up") {
            let verb = if who.len() == 1 { "says" } else { "say" };
            notes.push(format!("{} {verb} of the link to {}: {link}", who.join(", "), row.name));
        }
    }
    notes
}

/// For a cell that has nothing to say.
const ABSENT: &str = "-";
/// For a node that does not answer; why is said below the table.
const DOWN: &str = "down";
