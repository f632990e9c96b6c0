//! Looks inside a node, for people: answers from the roles' own state, between two of their lots.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use super::disk::DiskCommand;
use super::executor::AskExecutor;
use super::role::Look;
use super::stage::{About, Serving, Stage, Staged};
use crate::net::report::{
    EntryReport, Inspection, LogReport, MOST_SLOTS, MemberStanding, MemberStatus, PeerStatus, Report, SlotReport,
    SlotState, Status,
};
use crate::paxos::proposer::Phase;
use crate::paxos::{Acceptor, Ballot, Bytes, Entry, Learner, Member, NodeId, Proposer, Slot, Value};

/// Answers an inspection.
pub async fn inspect(inspection: Inspection, stage: &Stage, about: &About) -> Result<Report, String> {
    let serving = match &*stage.borrow() {
        Staged::Serving(serving) => Some(serving.clone()),
        _ => None,
    };
    match (inspection, serving) {
        (Inspection::Status, Some(serving)) => status(&serving, about).await.map(Box::new).map(Report::Status),
        (Inspection::Status, None) => Ok(Report::Status(Box::new(not_serving(stage, about)))),
        (Inspection::Log { first, upto }, Some(serving)) => log(&serving, first, upto).await.map(Report::Log),
        (Inspection::View, Some(serving)) => Ok(Report::View(serving.events.views())),
        (Inspection::Log { .. } | Inspection::View, None) => Err(not_serving(stage, about).trouble.unwrap_or_default()),
    }
}

async fn status(serving: &Serving, about: &About) -> Result<Status, String> {
    let look = Look::new(|proposer: &Proposer| {
        (phase_of(proposer), proposer.leader(), executed_by(proposer), proposer.held_bytes())
    });
    let (phase, leader, executed, proposed_bytes) = asked(serving.proposer.send(look).await)?;
    let look = Look::new(|acceptor: &Acceptor| {
        let last = acceptor.votes().last_key_value().map(|(slot, _)| *slot);
        (acceptor.promised(), last, acceptor.held_bytes())
    });
    let (promised, voted, voted_bytes) = asked(serving.acceptor.send(look).await)?;
    let look = Look::new(|learner: &Learner| (learner.chosen_upto(), learner.held_bytes()));
    let (chosen_upto, learnt_bytes) = asked(serving.learner.send(look).await)?;
    let executor = serving.executor.send(AskExecutor).await.map_err(|_| GONE)?;
    let events = &serving.events;
    let trouble = events.trouble().or_else(|| {
        (!events.admitted()).then(|| "has not met a majority since its start: waits for it before it votes".into())
    });
    Ok(Status {
        node: Some(serving.own),
        cluster_id: serving.cluster_id.clone(),
        phase: if trouble.is_some() { "not voting".into() } else { phase.into() },
        trouble,
        leader: leader.map(|ballot| events.name_of(ballot.node)),
        ballot: leader.unwrap_or(Ballot::ZERO),
        promised,
        trimmed_upto: serving.disk.trimmed_upto(),
        snapshot_upto: executor.snapshot_upto,
        executed_upto: executor.executed_upto,
        chosen_upto,
        last_slot: voted.unwrap_or(chosen_upto).max(chosen_upto),
        sessions: executor.sessions,
        journal_bytes: serving.disk.journal_bytes(),
        held_bytes: (proposed_bytes + voted_bytes + learnt_bytes + executor.held_bytes) as u64,
        batches: serving.disk.batches(),
        commands: events.commands(),
        digest: executor.digest.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
            text
        }),
        peers: peers_of(serving, about),
        members: members_of(serving, executor.executed_upto, &executed),
        ..of(about)
    })
}

/// What the members have executed, as a leader knows.
fn executed_by(proposer: &Proposer) -> BTreeMap<NodeId, Slot> {
    let Phase::Leading(leading) = proposer.phase() else { return BTreeMap::new() };
    let members = leading.members();
    let known = |member: &Member| Some((member.id, members.executed_upto(member.id)?));
    proposer.membership().members().into_iter().filter_map(known).collect()
}

fn members_of(serving: &Serving, executed_upto: Slot, executed: &BTreeMap<NodeId, Slot>) -> Vec<MemberStatus> {
    // Told when the members change; which configurations are done with since then, the slots say.
    let mut membership = serving.events.membership().clone();
    membership.on_executed(executed_upto);
    let standing = |member: &Member| {
        if let Some(from) = membership.left(member.id) {
            return MemberStanding::Leaving { from };
        }
        if membership.current().contains(member.id) {
            return MemberStanding::Voter;
        }
        let span = membership.spans().iter().find(|span| span.configuration.contains(member.id));
        span.map_or(MemberStanding::Newcomer, |span| MemberStanding::Coming { from: span.first })
    };
    let status = |member: &Member| MemberStatus {
        name: member.name.clone(),
        node: member.id,
        incarnation: member.incarnation,
        standing: standing(member),
        executed_upto: executed.get(&member.id).copied(),
    };
    membership.members().into_iter().map(status).collect()
}

fn peers_of(serving: &Serving, about: &About) -> Vec<PeerStatus> {
    let (round_trips, now) = (serving.round_trips.borrow(), Instant::now());
    let membership = serving.events.membership().clone();
    let mut peers = peers(about, |name| membership.latest().named(name).is_some());
    // Addresses of who has left are remembered, and say nothing.
    peers.retain(|peer| membership.named(&peer.name).is_some() || about.links.borrow().contains_key(&peer.name));
    for peer in peers.iter_mut().filter(|peer| peer.link == "up") {
        let member = membership.named(&peer.name);
        let round_trip = member.and_then(|member| round_trips.of(member.id, now));
        peer.round_trip_us = round_trip.map(|took| took.as_micros() as u64);
    }
    peers
}

fn of(about: &About) -> Status {
    Status {
        name: about.name.clone(),
        cluster: about.cluster.clone(),
        address: about.address.clone(),
        process_id: std::process::id(),
        cpu_us: processor_time().as_micros() as u64,
        ..Status::default()
    }
}

/// The time that this process has had on a processor; zero where the system does not tell.
pub fn processor_time() -> Duration {
    #[cfg(unix)]
    let spent = {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(spent.tv_sec.max(0) as u64, spent.tv_nsec.clamp(0, 999_999_999) as u32)
    };
    #[cfg(not(unix))]
    let spent = Duration::ZERO;
    spent
}

fn not_serving(stage: &Stage, about: &About) -> Status {
    let (phase, trouble) = match &*stage.borrow() {
        Staged::Founding { missing } => {
            let (book, links, refused) = (about.book.borrow(), about.links.borrow(), about.refused.borrow());
            let why =
                |name: &str| not_met(book.address_of(name), links.get(name).map(String::as_str), refused.as_deref());
            ("founding", waits_for(missing, why))
        }
        Staged::Joining { through: Some((address, outcome)) } => {
            ("joining", format!("joins through {address}: {outcome}"))
        }
        Staged::Joining { through: None } => (
            "joining",
            match &*about.refused.borrow() {
                Some(refused) => format!("a node that dialled this one refused it: {refused}"),
                None => format!(
                    "waits to be made a member: `synod member add {}={}` on a member does it",
                    about.name, about.address
                ),
            },
        ),
        Staged::Broken { trouble } => ("not voting", trouble.clone()),
        Staged::Serving(_) => ("", String::new()),
    };
    Status { phase: phase.into(), trouble: Some(trouble), peers: peers(about, |_| true), ..of(about) }
}

/// Whom a founder waits for, and why, with the mend; those who are missing for the same reason together.
fn waits_for(missing: &[String], why: impl Fn(&str) -> String) -> String {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for name in missing {
        let reason = why(name);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    let parts = reasons.iter().map(|(reason, names)| format!("{} ({reason})", names.join(", ")));
    format!("waits to meet the other founders once: {}", parts.collect::<Vec<_>>().join(", "))
}

/// Why a founder with this address, if one is known, has not been met; `refused` says why one of them that dialled this
/// node refused it, if one did.
fn not_met(address: Option<&str>, link: Option<&str>, refused: Option<&str>) -> String {
    match (address, link, refused) {
        (Some(_), Some(link), _) if link != "down" => link.into(),
        (_, _, Some(refused)) => format!("a node that dialled this one refused it: {refused}"),
        (None, _, None) => "no address is known: `connect NAME@HOST:PORT` tells it".into(),
        (Some(address), _, None) => format!("no answer from {address}: start it, or correct its address"),
    }
}

fn peers(about: &About, is_voter: impl Fn(&str) -> bool) -> Vec<PeerStatus> {
    let book = about.book.borrow();
    let links = about.links.borrow();
    let mut names: Vec<&String> = links.keys().chain(book.entries().map(|entry| &entry.name)).collect();
    names.sort();
    names.dedup();
    let status = |name: &String| PeerStatus {
        name: name.clone(),
        address: book.address_of(name).unwrap_or_default().to_owned(),
        voter: is_voter(name),
        link: links.get(name).cloned().unwrap_or_else(|| "down".into()),
        round_trip_us: None,
    };
    names.into_iter().filter(|name| **name != about.name).map(status).collect()
}

fn phase_of(proposer: &Proposer) -> &'static str {
    match proposer.phase() {
        Phase::Following { .. } => "following",
        Phase::Canvassing(_) => "canvassing",
        Phase::Preparing(_) => "preparing",
        Phase::Leading(_) => "leading",
    }
}

/// The slots from `first` to `upto`, as far as one answer goes.
async fn log(serving: &Serving, first: Slot, upto: Slot) -> Result<LogReport, String> {
    let votes = asked(serving.acceptor.send(Look::new(|acceptor: &Acceptor| acceptor.votes().clone())).await)?;
    let (ahead, chosen_upto) = asked(
        serving.learner.send(Look::new(|learner: &Learner| (learner.ahead().clone(), learner.chosen_upto()))).await,
    )?;
    let executed_upto = serving.executor.send(AskExecutor).await.map_err(|_| GONE)?.executed_upto;
    let trimmed_upto = serving.disk.trimmed_upto();
    let tops = [&votes, &ahead].map(|slots| slots.last_key_value().map_or(Slot::ZERO, |(slot, _)| *slot));
    let last = tops.into_iter().fold(chosen_upto, Slot::max);
    let first = if first == Slot::ZERO { Slot((last.0 + 1).saturating_sub(LAST_FEW).max(1)) } else { first };
    let upto = upto.min(last).min(first.plus(MOST_SLOTS - 1));
    let chosen = upto.min(chosen_upto);
    let values = read(serving, first.max(trimmed_upto.next()), chosen).await?;
    // What was read is a whole answer: the rest is had by asking again from there.
    let is_cut = bytes_of(&values) >= MOST_BYTES;
    let upto =
        values.last_key_value().filter(|(last, _)| is_cut && **last < chosen).map_or(upto, |(last, _)| upto.min(*last));
    let report = |slot| {
        let (state, at): (SlotState, Option<&(Ballot, Value)>) = if let Some(at) = values.get(&slot) {
            (if slot <= executed_upto { SlotState::Executed } else { SlotState::Chosen }, Some(at))
        } else if slot <= chosen_upto {
            (SlotState::Cleared, None)
        } else if let Some(at) = ahead.get(&slot) {
            (SlotState::Chosen, Some(at))
        } else {
            let at = votes.get(&slot);
            (if at.is_some() { SlotState::Accepted } else { SlotState::Empty }, at)
        };
        let entries = at.map_or_else(Vec::new, |(_, value)| value.entries().map(entry_report).collect());
        SlotReport { slot, state, ballot: at.map(|(ballot, _)| *ballot), entries }
    };
    Ok(LogReport {
        first_not_cleared: trimmed_upto.next(),
        last_not_empty: last,
        slots: first.previous().above(upto).map(report).collect(),
    })
}

/// Chosen slots, read back from the journal; not all of them if they hold more than one answer should.
async fn read(serving: &Serving, first: Slot, upto: Slot) -> Result<BTreeMap<Slot, (Ballot, Value)>, String> {
    let mut values = BTreeMap::new();
    let mut next = first;
    while next <= upto && bytes_of(&values) < MOST_BYTES {
        let (answer, answered) = tokio::sync::oneshot::channel();
        serving.disk.send(vec![DiskCommand::Look { first: next, upto, answer }]);
        let run = answered.await.map_err(|_| GONE)??;
        let Some((last, _, _)) = run.last() else { break };
        next = last.next();
        values.extend(run.into_iter().map(|(slot, ballot, value)| (slot, (ballot, value))));
    }
    Ok(values)
}

fn bytes_of(values: &BTreeMap<Slot, (Ballot, Value)>) -> usize {
    values.values().map(|(_, value)| value.as_bytes().len()).sum()
}

fn entry_report(entry: Entry<'_>) -> EntryReport {
    match entry {
        Entry::Open { token } => EntryReport::Open { token },
        Entry::Apply { session, sequence, operation, .. } => EntryReport::Apply {
            session,
            sequence,
            operation: Bytes::from(&operation[..operation.len().min(SHOWN_BYTES)]),
            length: operation.len() as u64,
        },
        Entry::Change { session, sequence, change, .. } => EntryReport::Change { session, sequence, change },
        Entry::Promote { node } => EntryReport::Promote { node },
        Entry::Mark { save } => EntryReport::Mark { save },
        Entry::Report { node, mark, digest } => EntryReport::Report { node, mark, digest },
    }
}

fn asked<T>(answer: Result<Option<T>, actix::MailboxError>) -> Result<T, String> {
    answer.ok().flatten().ok_or_else(|| GONE.into())
}

const GONE: &str = "the node is stopping";
/// How many slots are shown when no range is named.
const LAST_FEW: u64 = 20;
/// How much of an operation is shown.
const SHOWN_BYTES: usize = 1024;
/// An answer ends with the run of slots in which it reaches this size.
const MOST_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_founder_says_whom_it_waits_for_and_why() {
        let missing = ["n2", "n3", "n4", "n5"].map(String::from);
        let said = waits_for(&missing, |name| match name {
            "n2" | "n4" => not_met(None, Some("down"), None),
            "n3" => not_met(Some("h:3"), Some("down"), None),
            _ => not_met(Some("h:5"), Some("the cookies differ"), Some("a wiped disk")),
        });
        assert_eq!(
            said,
            "waits to meet the other founders once: n2, n4 (no address is known: `connect NAME@HOST:PORT` tells it), \
             n3 (no answer from h:3: start it, or correct its address), n5 (the cookies differ)"
        );
        for address in [None, Some("h:2")] {
            let said = not_met(address, Some("down"), Some("a wiped disk"));
            assert_eq!(said, "a node that dialled this one refused it: a wiped disk");
        }
    }
}
