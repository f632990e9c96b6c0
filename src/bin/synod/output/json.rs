//! Answers as JSON. Field names are stable: scripts rely on them; new fields may come.
//!
//! Bytes are a string if they are UTF-8, else `{"hex": "…"}`. What is absent is `null`. A node that did not answer has
//! `"error"` in place of its part. An operation in the log is `{"command": "put", "key": …}`; a long argument of one is
//! `{"first": "…", "length": …}`.

use serde_json::{Value, json};

use synod::net::report::{EntryReport, LogReport, MemberStanding, PeerStatus, SlotReport, Status, ViewChange};
use synod::paxos::{Ballot, Slot};

use super::is_no_op;
use super::operation::{self, Argument, Operation, Part};
use crate::answer::{Answer, Failure, Leader, MemberChange, MemberRow, NodeRow, Pairs, PerNode, highest_chosen, lag};

/// An answer as one object.
pub fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Proposed { place, ballot } => {
            json!({"place": place.to_string(), "slot": place.slot.0, "index": place.index, "ballot": ballot.map(text)})
        }
        Answer::Chosen { slot, index, report } => {
            json!({"slot": slot.0, "chosen": report.as_ref().map(|report| slot_report(report, *index))})
        }
        Answer::Decided(value) => json!({"value": bytes(value)}),
        Answer::Put { place } => json!({"place": place.to_string(), "slot": place.slot.0, "index": place.index}),
        Answer::Value(value) => json!({"value": value.as_deref().map(bytes)}),
        Answer::Deleted { existed } => json!({"existed": existed}),
        Answer::Swapped => json!({"swapped": true}),
        Answer::NotSwapped { actual } => json!({"swapped": false, "actual": actual.as_deref().map(bytes)}),
        Answer::Pairs { pairs: found, more } => json!({"pairs": pairs(found), "more": more}),
        Answer::Nodes(rows) => json!({"nodes": rows.iter().map(node_row).collect::<Vec<_>>()}),
        Answer::Connected { name, address } => json!({"connected": name, "address": address.to_string()}),
        Answer::Leader(Leader { name, ballot }) => json!({"leader": {"name": name, "ballot": text(*ballot)}}),
        Answer::Leaderless { why } => json!({"leader": null, "why": why}),
        Answer::Members(rows) => json!({"members": rows.iter().map(member_row).collect::<Vec<_>>()}),
        Answer::Changed { change, name, node, place } => {
            let (change, votes) = match change {
                MemberChange::Added { votes } => ("added", *votes),
                MemberChange::Replaced { votes } => ("replaced", *votes),
                MemberChange::Removed => ("removed", false),
            };
            json!({change: name, "node_id": node.0, "slot": place.slot.0, "votes": votes})
        }
        Answer::Status(nodes) => {
            let highest = highest_chosen(nodes);
            per_node(nodes, |status| {
                let mut object = status_report(status);
                object["lag"] = json!(lag(status, highest));
                object
            })
        }
        Answer::Log(nodes) => per_node(nodes, log_report),
        Answer::Slot { slot, index, nodes } => {
            let mut object = per_node(nodes, |report| slot_report(report, *index));
            object["slot"] = json!(slot.0);
            object
        }
        Answer::View(nodes) => {
            per_node(nodes, |changes| json!({"changes": changes.iter().map(change).collect::<Vec<_>>()}))
        }
        Answer::Database { nodes, limit } => {
            let mut object = per_node(nodes, |found| json!({"pairs": pairs(found)}));
            object["limit"] = json!(limit);
            object
        }
        Answer::Bank(answer) => super::bank::object(answer),
        Answer::Failed { name, process_id } => json!({"failed": name.0, "process_id": process_id}),
        Answer::Recovered { name, process_id, address } => {
            json!({"recovered": name.0, "process_id": process_id, "address": address.to_string()})
        }
    }
}

/// A failure as one object; of a script, with the line's number.
pub fn failure(failure: &Failure) -> Value {
    let mut object = json!({"error": failure.to_string(), "exit": failure.exit_code()});
    if let Some(line) = failure.line() {
        object["line"] = json!(line);
    }
    object
}

/// `{"nodes": [{"node": "n1", …}, {"node": "n2", "error": "…"}]}`.
pub fn per_node<T>(nodes: &[PerNode<T>], part: impl Fn(&T) -> Value) -> Value {
    let of_node = |node: &PerNode<T>| {
        let mut object = match &node.part {
            Ok(found) => part(found),
            Err(absence) => json!({"error": absence.why()}),
        };
        object["node"] = json!(node.node);
        object
    };
    json!({"nodes": nodes.iter().map(of_node).collect::<Vec<_>>()})
}

fn status_report(status: &Status) -> Value {
    let peer = |peer: &PeerStatus| {
        json!({
            "name": peer.name,
            "address": peer.address,
            "voter": peer.voter,
            "link": peer.link,
            "round_trip_us": peer.round_trip_us,
        })
    };
    json!({
        "node_id": status.node.map(|node| node.0),
        "cluster": status.cluster,
        "cluster_id": status.cluster_id,
        "address": status.address,
        "process_id": status.process_id,
        "phase": status.phase,
        "trouble": status.trouble,
        "leader": status.leader,
        "ballot": text(status.ballot),
        "promised": text(status.promised),
        "trimmed_upto": status.trimmed_upto.0,
        "snapshot_upto": status.snapshot_upto.0,
        "executed_upto": status.executed_upto.0,
        "chosen_upto": status.chosen_upto.0,
        "last_slot": status.last_slot.0,
        "sessions": status.sessions,
        "journal_bytes": status.journal_bytes,
        "held_bytes": status.held_bytes,
        "batches": status.batches,
        "commands": status.commands,
        "cpu_us": status.cpu_us,
        "digest": status.digest,
        "peers": status.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

fn log_report(log: &LogReport) -> Value {
    json!({
        "first_not_cleared": log.first_not_cleared.0,
        "last_not_empty": log.last_not_empty.0,
        "slots": log.slots.iter().map(|report| slot_report(report, None)).collect::<Vec<_>>(),
    })
}

fn slot_report(report: &SlotReport, only: Option<u32>) -> Value {
    let numbered = (1u32..).zip(&report.entries).filter(|(index, _)| only.is_none_or(|only| only == *index));
    json!({
        "slot": report.slot.0,
        "state": report.state.to_string(),
        "ballot": report.ballot.map(text),
        "no_op": is_no_op(report),
        "commands": numbered.map(|(index, entry)| command(report.slot, index, entry)).collect::<Vec<_>>(),
    })
}

fn command(slot: Slot, index: u32, entry: &EntryReport) -> Value {
    let place = format!("{slot}.{index}");
    match entry {
        EntryReport::Open { .. } => json!({"place": place, "kind": "open"}),
        EntryReport::Apply { session, sequence, operation: encoded, length } => json!({
            "place": place,
            "kind": "apply",
            "session": session.0,
            "sequence": sequence.0,
            "operation": match operation::operation(encoded) {
                Some(found) => operation(&found),
                None => part(&Part { bytes: encoded, length: *length }),
            },
            "length": length,
        }),
        EntryReport::Change { session, sequence, change } => json!({
            "place": place,
            "kind": "change",
            "session": session.0,
            "sequence": sequence.0,
            "change": operation::change_word(change),
            "member": change.name(),
        }),
        EntryReport::Promote { node } => json!({"place": place, "kind": "promote", "node": node.0}),
        EntryReport::Mark { save } => json!({"place": place, "kind": "mark", "save": save}),
        EntryReport::Report { node, mark, digest } => json!({
            "place": place,
            "kind": "report",
            "node": node.0,
            "mark": mark.0,
            "digest": digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        }),
    }
}

/// `{"command": "put", "key": "k", "value": "v"}`.
fn operation(operation: &Operation<'_>) -> Value {
    let mut object = json!({"command": operation.command});
    for (name, argument) in &operation.arguments {
        object[*name] = match argument {
            Argument::Absent => Value::Null,
            Argument::Bytes(found) => part(found),
            Argument::Number(number) => json!(number),
        };
    }
    if operation.more > 0 {
        object["more"] = json!(operation.more);
    }
    object
}

/// As [`bytes`]; if the end is missing, an object of what is there and the whole length.
fn part(part: &Part<'_>) -> Value {
    let shown = part.text().map_or_else(|| bytes(part.bytes), |text| json!(text));
    if part.is_cut() { json!({"first": shown, "length": part.length}) } else { shown }
}

fn change(change: &ViewChange) -> Value {
    let merged =
        |(first, merged, holes): (Slot, u64, u64)| json!({"first": first.0, "values": merged, "no_ops": holes});
    json!({
        "at_ms": change.at_ms,
        "leader": change.leader,
        "ballot": text(change.ballot),
        "merged": change.merged.map(merged),
    })
}

fn member_row(row: &MemberRow) -> Value {
    let (standing, from) = match row.member.standing {
        MemberStanding::Voter => ("votes", None),
        MemberStanding::Newcomer => ("catches up", None),
        MemberStanding::Coming { from } => ("comes", Some(from.0)),
        MemberStanding::Leaving { from } => ("leaves", Some(from.0)),
    };
    json!({
        "name": row.member.name,
        "node_id": row.member.node.0,
        "standing": standing,
        "from_slot": from,
        "address": (!row.address.is_empty()).then_some(&row.address),
        "link": row.link,
        "this_node": row.link.is_none(),
        "executed_upto": row.member.executed_upto.map(|slot| slot.0),
    })
}

fn node_row(row: &NodeRow) -> Value {
    json!({
        "node": row.name,
        "address": (!row.address.is_empty()).then_some(&row.address),
        "voter": row.voter,
        "process_id": row.process_id,
        "round_trip_us": row.round_trip_us,
        "state": row.state.as_ref().ok(),
        "error": row.state.as_ref().err(),
    })
}

fn pairs(pairs: &Pairs) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": bytes(key), "value": bytes(value)})).collect()
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()}),
    }
}

fn text(ballot: Ballot) -> String {
    ballot.to_string()
}
