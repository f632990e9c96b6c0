//! Answers as text, for people. Tables have the nodes side by side; a node that did not answer says so in its place.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};
use synod::net::report::{LogReport, SlotReport, SlotState, Status, ViewChange};
use synod::paxos::{Ballot, Bytes, Slot};

use super::operation::{brief, entry, printable, shortened};
use super::time::utc;
use super::{Style, milliseconds};
use crate::answer::{Answer, Leader, MemberChange, MemberRow, NodeRow, Pairs, PerNode, highest_chosen, lag};

/// An answer, without the last newline. On a terminal, no wider than that.
pub fn answer(answer: &Answer, style: Style) -> String {
    match answer {
        Answer::Proposed { place, ballot: Some(ballot) } => format!("chosen at {place} in ballot {ballot}"),
        Answer::Proposed { place, ballot: None } => format!("chosen at {place}"),
        Answer::Chosen { slot, report: None, .. } => format!("slot {slot} is not known to be chosen"),
        Answer::Chosen { slot, index, report: Some(report) } => chosen(*slot, *index, report),
        Answer::Decided(value) => printable(value),
        Answer::Put { place } => format!("done at {place}"),
        Answer::Value(Some(value)) => printable(value),
        Answer::Value(None) => NONE.to_owned(),
        Answer::Deleted { existed: true } => "deleted".to_owned(),
        Answer::Deleted { existed: false } => NONE.to_owned(),
        Answer::Swapped => "swapped".to_owned(),
        Answer::NotSwapped { actual } => {
            format!("not swapped: the value is {}", actual.as_deref().map_or_else(|| NONE.to_owned(), printable))
        }
        Answer::Pairs { pairs, more } => scan(pairs, *more, style),
        Answer::Nodes(rows) => nodes(rows, style),
        Answer::Connected { name, address } => format!("connected to {name} at {address}"),
        Answer::Leader(Leader { name, ballot }) => format!("{name} leads in ballot {ballot}"),
        Answer::Leaderless { why } => format!("nobody leads: {why}"),
        Answer::Members(rows) => members(rows, style),
        Answer::Changed { change, name, node, place } => match change {
            MemberChange::Removed => format!(
                "{name} (node {node}) is removed in slot {}: its process ends once the others can go on without it",
                place.slot
            ),
            MemberChange::Added { votes } => {
                format!("{name} is added as node {node} in slot {}{}", place.slot, until_it_votes(*votes))
            }
            MemberChange::Replaced { votes } => {
                format!("{name} is replaced by node {node} in slot {}{}", place.slot, until_it_votes(*votes))
            }
        },
        Answer::Status(nodes) => status(nodes, style),
        Answer::Log(nodes) => log(nodes, style),
        Answer::Slot { index, nodes, .. } => slot(nodes, *index, style),
        Answer::View(nodes) => view(nodes, style),
        Answer::Database { nodes, limit } => database(nodes, *limit, style),
        Answer::Bank(answer) => super::bank::text(answer, style),
        Answer::Failed { name, process_id } => format!("{name} is killed (process {process_id})"),
        Answer::Recovered { name, process_id, address } => {
            format!("{name} is back (process {process_id}, {address})")
        }
    }
}

/// Rows under a header, aligned.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>, style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let bold = |name: &str| Cell::new(name).add_attribute(Attribute::Bold);
    table.set_header(header.into_iter().map(bold));
    // Some terminals do not tell their width, or tell 0: then a line may be as long as it is.
    let width = table.width().filter(|width| style.terminal && *width >= LEAST_WIDTH);
    if !style.colours {
        table.force_no_tty();
    }
    if let Some(width) = width {
        table.set_width(width);
    }
    let fits = width.is_some();
    table.set_content_arrangement(if fits { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Has these columns of a table stand to the right, as numbers do.
pub fn to_the_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// A table as text.
pub fn finished(table: &Table) -> String {
    table.trim_fmt()
}

fn chosen(slot: Slot, index: Option<u32>, report: &SlotReport) -> String {
    if report.state == SlotState::Cleared {
        return format!("slot {slot} was chosen and is cleared: a snapshot covers it");
    }
    if report.entries.is_empty() {
        return format!("{slot}: {NO_OP}");
    }
    let lines = numbered(report, index).map(|(index, entry)| format!("{slot}.{index}: {entry}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn numbered(report: &SlotReport, only: Option<u32>) -> impl Iterator<Item = (u32, String)> + '_ {
    (1u32..)
        .zip(&report.entries)
        .filter(move |(index, _)| only.is_none_or(|only| only == *index))
        .map(|(index, command)| (index, entry(command)))
}

fn scan(pairs: &Pairs, more: bool, style: Style) -> String {
    if pairs.is_empty() {
        return NONE.to_owned();
    }
    let mut table = table(["KEY", "VALUE"], style);
    for (key, value) in pairs {
        table.add_row([brief(key), brief(value)]);
    }
    let note = if more { format!("\nthere are more than {}: raise --limit", pairs.len()) } else { String::new() };
    format!("{}{note}", finished(&table))
}

fn nodes(rows: &[NodeRow], style: Style) -> String {
    let mut table = table(["NODE", "ADDRESS", "PROCESS", "VOTER", "ROUND TRIP", "STATE"], style);
    for row in rows {
        let state = match &row.state {
            Ok(phase) if phase == "leading" => Cell::new(phase).fg(Color::Green),
            Ok(phase) => Cell::new(phase),
            Err(why) => Cell::new(format!("{DOWN}: {why}")).fg(Color::Red),
        };
        table.add_row([
            Cell::new(&row.name),
            Cell::new(if row.address.is_empty() { ABSENT } else { &row.address }),
            Cell::new(row.process_id.map_or_else(|| ABSENT.to_owned(), |id| id.to_string())),
            Cell::new(match row.voter {
                Some(true) => "yes",
                Some(false) => "no",
                None => ABSENT,
            }),
            Cell::new(row.round_trip_us.map_or_else(|| ABSENT.to_owned(), milliseconds)),
            state,
        ]);
    }
    finished(&table)
}

fn until_it_votes(votes: bool) -> &'static str {
    if votes { ", and votes" } else { ": it votes once it has caught up" }
}

fn members(rows: &[MemberRow], style: Style) -> String {
    let mut table = table(["NAME", "NODE", "STANDING", "ADDRESS", "LINK", "EXECUTED"], style);
    let mut whys = String::new();
    for row in rows {
        let link = match row.link.as_deref() {
            None => Cell::new("this node"),
            Some("up") => Cell::new("up"),
            Some("down") => Cell::new("down").fg(Color::Red),
            Some(why) => {
                whys.push_str(&format!("\n{}: {why}", row.member.name));
                Cell::new("down").fg(Color::Red)
            }
        };
        table.add_row([
            Cell::new(&row.member.name),
            Cell::new(row.member.node.to_string()),
            Cell::new(row.member.standing.to_string()),
            Cell::new(if row.address.is_empty() { ABSENT } else { &row.address }),
            link,
            Cell::new(row.member.executed_upto.map_or_else(|| ABSENT.to_owned(), |slot| slot.to_string())),
        ]);
    }
    to_the_right(&mut table, [1, 5]);
    finished(&table) + &whys
}

fn status(nodes: &[PerNode<Box<Status>>], style: Style) -> String {
    type Field = (&'static str, fn(&Status) -> String);
    let fields: &[Field] = &[
        ("leader", |status| status.leader.clone().unwrap_or_else(|| ABSENT.to_owned())),
        ("ballot", |status| status.ballot.to_string()),
        ("promised", |status| status.promised.to_string()),
        ("last_slot", |status| status.last_slot.to_string()),
        ("chosen_upto", |status| status.chosen_upto.to_string()),
        ("executed_upto", |status| status.executed_upto.to_string()),
        ("snapshot_upto", |status| status.snapshot_upto.to_string()),
        ("trimmed_upto", |status| status.trimmed_upto.to_string()),
        ("digest", |status| status.digest.chars().take(12).collect()),
        ("sessions", |status| status.sessions.to_string()),
        ("commands", |status| status.commands.to_string()),
        ("batches", |status| status.batches.to_string()),
        ("journal_bytes", |status| status.journal_bytes.to_string()),
        ("held_bytes", |status| status.held_bytes.to_string()),
        ("cpu", |status| format!("{:.2} s", status.cpu_us as f64 / 1e6)),
        ("round trips", round_trips),
        ("address", |status| status.address.clone()),
        ("process", |status| status.process_id.to_string()),
        ("node id", |status| status.node.map_or_else(|| ABSENT.to_owned(), |node| node.to_string())),
        ("cluster", |status| status.cluster.clone()),
        ("cluster id", |status| status.cluster_id.chars().take(12).collect()),
    ];
    let mut table = side_by_side("", nodes, [], style);
    let phases = nodes
        .iter()
        .map(|node| node.part.as_ref().map_or_else(|absence| absence.word(), |status| &status.phase).to_owned());
    table.add_row(std::iter::once("phase".to_owned()).chain(phases));
    let mut row = |name: &str, field: &dyn Fn(&Status) -> String| {
        let cells =
            nodes.iter().map(|node| node.part.as_ref().map_or_else(|_| ABSENT.to_owned(), |found| field(found)));
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    let highest = highest_chosen(nodes);
    for (name, field) in fields {
        row(name, field);
        if *name == "executed_upto" {
            row("lag", &|status| lag(status, highest).to_string());
        }
    }
    let answered = nodes.iter().filter_map(|node| node.part.as_ref().ok().map(|status| (&node.node, status)));
    let mut notes = Vec::new();
    for (name, status) in answered {
        notes.extend(status.trouble.iter().map(|trouble| format!("{name} does not vote: {trouble}")));
        let bad = status.peers.iter().filter(|peer| peer.link != "up");
        notes.extend(bad.map(|peer| format!("{name} has no link to {}: {}", peer.name, peer.link)));
    }
    with_notes(&table, nodes, notes)
}

/// To those peers that the node measures.
fn round_trips(status: &Status) -> String {
    let measured = status.peers.iter().filter_map(|peer| Some((&peer.name, peer.round_trip_us?)));
    let shown: Vec<String> = measured.map(|(name, took)| format!("{name} {}", milliseconds(took))).collect();
    if shown.is_empty() { ABSENT.to_owned() } else { shown.join(", ") }
}

fn log(nodes: &[PerNode<LogReport>], style: Style) -> String {
    let mut table = side_by_side("SLOT", nodes, ["COMMANDS"], style);
    let slots: BTreeSet<Slot> = nodes
        .iter()
        .filter_map(|node| node.part.as_ref().ok())
        .flat_map(|log| &log.slots)
        .map(|slot| slot.slot)
        .collect();
    for slot in &slots {
        let report = |log: &LogReport| log.slots.iter().find(|report| report.slot == *slot).cloned();
        let on_nodes: Vec<_> = nodes.iter().map(|node| node.part.as_ref().map(report).ok()).collect();
        let states = on_nodes.iter().zip(nodes).map(|(found, node)| match (found, &node.part) {
            (Some(Some(report)), _) => state(report),
            (_, Ok(log)) if *slot < log.first_not_cleared => SlotState::Cleared.to_string(),
            (_, Ok(_)) => SlotState::Empty.to_string(),
            (_, Err(absence)) => absence.word().to_owned(),
        });
        let commands = commands(on_nodes.iter().flatten().flatten());
        table.add_row(std::iter::once(slot.to_string()).chain(states).chain([commands]));
    }
    let ends = nodes.iter().filter_map(|node| {
        let log = node.part.as_ref().ok()?;
        Some(match log.last_not_empty {
            Slot::ZERO => format!("{}: the log is empty", node.node),
            last => format!("{}: first not cleared {}, last not empty {last}", node.node, log.first_not_cleared),
        })
    });
    if slots.is_empty() {
        return unanswered(nodes).into_iter().chain(ends).collect::<Vec<_>>().join("\n");
    }
    with_notes(&table, nodes, ends.collect())
}

/// What is in a slot, in one cell. Where votes differ, each with its ballot.
fn commands<'a>(reports: impl Iterator<Item = &'a SlotReport>) -> String {
    let mut kinds: BTreeMap<String, Option<Ballot>> = BTreeMap::new();
    for report in reports.filter(|report| !matches!(report.state, SlotState::Empty | SlotState::Cleared)) {
        let ballot = kinds.entry(content(report, None)).or_insert(report.ballot);
        *ballot = (*ballot).max(report.ballot);
    }
    if kinds.len() == 1 {
        return kinds.into_keys().collect();
    }
    let with_ballot = |(content, ballot): (String, Option<Ballot>)| match ballot {
        Some(ballot) => format!("{content} ({ballot})"),
        None => content,
    };
    kinds.into_iter().map(with_ballot).collect::<Vec<_>>().join(" / ")
}

fn content(report: &SlotReport, only: Option<u32>) -> String {
    match report.state {
        SlotState::Empty | SlotState::Cleared => String::new(),
        _ if report.entries.is_empty() => NO_OP.to_owned(),
        _ => {
            let mut shown: Vec<String> =
                numbered(report, only).take(MOST_COMMANDS).map(|(_, command)| shortened(command)).collect();
            if only.is_none() && report.entries.len() > MOST_COMMANDS {
                shown.push(format!("and {} more", report.entries.len() - MOST_COMMANDS));
            }
            shown.join("; ")
        }
    }
}

fn state(report: &SlotReport) -> String {
    match report.ballot {
        Some(ballot) => format!("{} {ballot}", report.state),
        None => report.state.to_string(),
    }
}

fn slot(nodes: &[PerNode<SlotReport>], only: Option<u32>, style: Style) -> String {
    let mut table = table(["NODE", "STATE", "BALLOT", "COMMANDS"], style);
    for node in nodes {
        match &node.part {
            Ok(report) => table.add_row([
                node.node.clone(),
                report.state.to_string(),
                report.ballot.map_or_else(|| ABSENT.to_owned(), |ballot| ballot.to_string()),
                content(report, only),
            ]),
            Err(absence) => table.add_row([Cell::new(&node.node), Cell::new(absence.word()).fg(Color::Red)]),
        };
    }
    with_notes(&table, nodes, Vec::new())
}

fn view(nodes: &[PerNode<Vec<ViewChange>>], style: Style) -> String {
    let mut table = side_by_side("BALLOT", nodes, ["LEADER", "MERGED"], style);
    let all = || nodes.iter().filter_map(|node| node.part.as_ref().ok()).flatten();
    let ballots: BTreeMap<Ballot, &ViewChange> = all().map(|change| (change.ballot, change)).collect();
    for (ballot, change) in &ballots {
        let seen = nodes.iter().map(|node| {
            let change =
                node.part.as_ref().ok().and_then(|changes| changes.iter().find(|change| change.ballot == *ballot));
            change.map_or_else(|| ABSENT.to_owned(), |change| utc(change.at_ms))
        });
        let merged = all().find_map(|change| change.merged.filter(|_| change.ballot == *ballot));
        let merged = merged.map_or_else(
            || ABSENT.to_owned(),
            |(first, values, holes)| format!("from slot {first}: {values} values, {holes} no-ops"),
        );
        table.add_row(std::iter::once(ballot.to_string()).chain(seen).chain([change.leader.clone(), merged]));
    }
    if ballots.is_empty() {
        return unanswered(nodes)
            .into_iter()
            .chain(["no leader has been seen yet".to_owned()])
            .collect::<Vec<_>>()
            .join("\n");
    }
    with_notes(&table, nodes, Vec::new())
}

fn database(nodes: &[PerNode<Pairs>], limit: usize, style: Style) -> String {
    let mut rows: BTreeMap<&Bytes, Vec<Option<&Bytes>>> = BTreeMap::new();
    for (column, node) in nodes.iter().enumerate() {
        for (key, value) in node.part.iter().flatten() {
            rows.entry(key).or_insert_with(|| vec![None; nodes.len()])[column] = Some(value);
        }
    }
    let full = nodes.iter().filter_map(|node| node.part.as_ref().ok()).any(|pairs| pairs.len() >= limit);
    let notes =
        if full { vec![format!("only the first {limit} keys of each node: raise --limit")] } else { Vec::new() };
    if rows.is_empty() {
        return unanswered(nodes).into_iter().chain([NONE.to_owned()]).collect::<Vec<_>>().join("\n");
    }
    let mut table = side_by_side("KEY", nodes, [], style);
    for (key, values) in rows {
        let cells = values.into_iter().map(|value| value.map_or_else(|| ABSENT.to_owned(), |value| brief(value)));
        table.add_row(std::iter::once(brief(key)).chain(cells));
    }
    with_notes(&table, nodes, notes)
}

/// A table with a column for each node.
pub fn side_by_side<'a, T, const N: usize>(
    first: &'a str,
    nodes: &'a [PerNode<T>],
    last: [&'a str; N],
    style: Style,
) -> Table {
    table(std::iter::once(first).chain(nodes.iter().map(|node| node.node.as_str())).chain(last), style)
}

/// A table, who did not answer, and what else there is to say.
pub fn with_notes<T>(table: &Table, nodes: &[PerNode<T>], notes: Vec<String>) -> String {
    std::iter::once(finished(table)).chain(unanswered(nodes)).chain(notes).collect::<Vec<_>>().join("\n")
}

fn unanswered<T>(nodes: &[PerNode<T>]) -> Vec<String> {
    nodes.iter().filter_map(|node| node.part.as_ref().err().map(|absence| format!("{} {absence}", node.node))).collect()
}

/// For a key or a value that is not there.
const NONE: &str = "(none)";
/// For a cell that has nothing to say.
pub const ABSENT: &str = "-";
/// For a node that does not answer; why is said below the table.
const DOWN: &str = "down";
/// For a slot that holds no commands.
const NO_OP: &str = "no-op";
/// Characters: in less, no table can be read.
const LEAST_WIDTH: u16 = 60;
/// In one cell.
const MOST_COMMANDS: usize = 4;
