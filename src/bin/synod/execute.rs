//! One command, against a [`Backend`], to its [`Answer`].

mod bank;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use synod::machine::kv::{KvError, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use synod::net::report::{Inspection, LogReport, MemberStanding, Report, SlotReport, SlotState, Status};
use synod::paxos::{Bytes, Slot};

use crate::answer::{Absence, Answer, Failure, Leader, MemberChange, MemberRow, NodeRow, PerNode, plain};
use crate::backend::{Asked, Backend};
use crate::grammar::{Command, DbOf, MemberOrder, NodeName, SlotOrPlace};

/// Executes a command.
pub fn execute(command: &Command, backend: &mut dyn Backend) -> Result<Answer, Failure> {
    check_sizes(command)?;
    match command {
        Command::Propose(args) => {
            let (through, value) = args.parts()?;
            let (place, ballot) = backend.propose(name(through.as_ref()), value.bytes())?;
            Ok(Answer::Proposed { place, ballot })
        }
        Command::Paxos { key, value } => backend.decide(key.bytes(), value.bytes()).map(Answer::Decided),
        Command::Put { key, value } => Ok(Answer::Put { place: backend.put(key.bytes(), value.bytes())? }),
        Command::Get { key, local: false, .. } => backend.get(key.bytes()).map(Answer::Value),
        Command::Get { key, local: true, node } => {
            backend.get_local(name(node.as_ref()), key.bytes()).map(Answer::Value)
        }
        Command::Append { key, value } => backend.append(key.bytes(), value.bytes()).map(|v| Answer::Value(Some(v))),
        Command::Delete { key } => Ok(Answer::Deleted { existed: backend.delete(key.bytes())? }),
        Command::Cas(args) => {
            let (key, expected, new) = args.parts()?;
            let swapped = backend.cas(key.bytes(), expected.map(|text| text.bytes()), new.bytes())?;
            Ok(swapped.map_or_else(|actual| Answer::NotSwapped { actual }, |()| Answer::Swapped))
        }
        Command::Scan { prefix, limit } => {
            let prefix = prefix.as_ref().map_or_else(Bytes::default, |prefix| prefix.bytes());
            let limit = *limit as usize;
            let mut pairs = backend.scan(prefix, limit + 1)?;
            let more = pairs.len() > limit;
            pairs.truncate(limit);
            Ok(Answer::Pairs { pairs, more })
        }
        Command::Connect { node } => {
            let name = backend.connect_node(&node.name.0, &node.address)?;
            Ok(Answer::Connected { name, address: node.address.clone() })
        }
        Command::Nodes => Ok(Answer::Nodes(node_rows(statuses(None, backend)?))),
        Command::Leader(args) => {
            if let Some(name) = args.parts()? {
                backend.transfer_leadership(&name.0)?;
            }
            Ok(match leader(backend)? {
                Leading::Known(leader) => Answer::Leader(leader),
                Leading::Nobody { why, .. } => Answer::Leaderless { why },
            })
        }
        Command::Member(args) => member(&args.parts()?, backend),
        Command::Status { node } => Ok(Answer::Status(statuses(node.as_ref(), backend)?)),
        Command::Log(args) => {
            let (node, range) = args.parts()?;
            let (first, upto) = range.map_or((Slot::ZERO, LAST), |range| (range.first, range.upto));
            Ok(Answer::Log(logs(node, first, upto, backend)?))
        }
        Command::Slot { place, node } => {
            let nodes = slots(node.as_ref(), place.slot, backend)?;
            check_index(place, nodes.iter().filter_map(|node| node.part.as_ref().ok()))?;
            Ok(Answer::Slot { slot: place.slot, index: place.index, nodes })
        }
        Command::Chosen { place } => chosen(place, backend),
        Command::View { node } => {
            let asked = backend.inspect(name(node.as_ref()), Inspection::View)?;
            Ok(Answer::View(parts(asked, |report| match report {
                Report::View(changes) => Some(changes),
                _ => None,
            })))
        }
        Command::Db(args) => match args.parts()? {
            (DbOf::Kv, node) => {
                let limit = args.limit as usize;
                let asked = backend.scan_local(name(node), Bytes::default(), limit)?;
                Ok(Answer::Database { nodes: parts(asked, Some), limit })
            }
            (DbOf::Bank, node) => bank::database(node, backend),
        },
        Command::Bank(command) => bank::execute(command, backend),
    }
}

fn member(order: &MemberOrder<'_>, backend: &mut dyn Backend) -> Result<Answer, Failure> {
    match order {
        MemberOrder::List => Ok(Answer::Members(member_rows(backend)?)),
        MemberOrder::Remove { name, force } => {
            let (node, place) = backend.remove_member(&name.0, *force)?;
            Ok(Answer::Changed { change: MemberChange::Removed, name: name.0.clone(), node, place })
        }
        MemberOrder::Come { name, address, replace, wait } => {
            let until = Instant::now() + backend.deadline();
            let (node, place) = backend.bring_member(&name.0, address, *replace)?;
            let mut votes = false;
            while *wait && !votes {
                // A moment without an answer is not the end of the waiting.
                let rows = member_rows(backend).unwrap_or_default();
                votes = rows.iter().any(|row| row.member.node == node && row.member.standing == MemberStanding::Voter);
                if !votes && Instant::now() >= until {
                    return Err(Failure::not_done(format!(
                        "{name} is node {node} since slot {}, and has not caught up within the deadline: it votes once it \
                         has; `member list` shows how far it is",
                        place.slot
                    )));
                }
                if !votes {
                    std::thread::sleep(ASK_EVERY);
                }
            }
            let change = match replace {
                Some(_) => MemberChange::Replaced { votes },
                None => MemberChange::Added { votes },
            };
            Ok(Answer::Changed { change, name: name.0.clone(), node, place })
        }
    }
}

/// The members as the leader knows them, if it answers; their links, as the connected node sees them.
fn member_rows(backend: &mut dyn Backend) -> Result<Vec<MemberRow>, Failure> {
    let (own, leader) = backend.standing()?;
    // Whoever is behind does not know who came last.
    let leader = leader.filter(|leader| leader.executed_upto >= own.executed_upto && !leader.members.is_empty());
    let members = leader.as_ref().map_or_else(|| own.members.clone(), |leader| leader.members.clone());
    let row = |member: synod::net::report::MemberStatus| {
        let peer = own.peers.iter().find(|peer| peer.name == member.name);
        let is_own = own.node == Some(member.node);
        let elsewhere = || leader.iter().flat_map(|leader| &leader.peers).find(|peer| peer.name == member.name);
        let address = match peer {
            _ if is_own => own.address.clone(),
            Some(peer) if !peer.address.is_empty() => peer.address.clone(),
            _ => elsewhere().map(|peer| peer.address.clone()).unwrap_or_default(),
        };
        let link = (!is_own).then(|| peer.map_or_else(|| "down".to_owned(), |peer| peer.link.clone()));
        MemberRow { member, address, link }
    };
    Ok(members.into_iter().map(row).collect())
}

/// Who leads. While an election may be under way, asks until it is over; but not for long.
pub fn leader(backend: &mut dyn Backend) -> Result<Leading, Failure> {
    let until = Instant::now() + backend.deadline().min(ELECTED_WITHIN);
    loop {
        match leader_now(backend)? {
            Leading::Nobody { soon: true, .. } if Instant::now() < until => std::thread::sleep(ASK_EVERY),
            leading => return Ok(leading),
        }
    }
}

/// What the nodes say of who leads.
#[derive(Debug, PartialEq)]
pub enum Leading {
    /// It says so itself, and nobody follows a higher ballot.
    Known(Leader),
    /// Nobody does; or whom others follow does not say so: it is gone.
    Nobody {
        /// Who answers and who does not, and what would help.
        why: String,
        /// Whether those who answer could elect one.
        soon: bool,
    },
}

/// Who leads at this moment.
pub fn leader_now(backend: &mut dyn Backend) -> Result<Leading, Failure> {
    leading(&statuses(None, backend)?)
}

/// Who leads, by what all nodes said at one time. Fails if none said anything.
pub fn leading(nodes: &[PerNode<Box<Status>>]) -> Result<Leading, Failure> {
    let followed = nodes.iter().filter_map(|node| node.part.as_ref().ok()).filter_map(|status| {
        let of_its_own = status.phase == LEADING;
        let name = if of_its_own { Some(&status.name) } else { status.leader.as_ref() };
        name.map(|name| (status.ballot, of_its_own, name))
    });
    match followed.max() {
        Some((ballot, true, name)) => Ok(Leading::Known(Leader { name: name.clone(), ballot })),
        _ => leaderless(nodes),
    }
}

/// Why nobody leads, and whether somebody may soon.
fn leaderless(nodes: &[PerNode<Box<Status>>]) -> Result<Leading, Failure> {
    let answering: Vec<&Status> = nodes.iter().filter_map(|node| node.part.as_deref().ok()).collect();
    if answering.is_empty() {
        let whys: Vec<String> = unanswered(nodes).collect();
        return Err(Failure::not_done(format!("no node answers: {}", whys.join("; "))));
    }
    let of = |status: &Status| {
        let peers = status.peers.iter().filter(|peer| peer.voter).map(|peer| peer.name.clone());
        peers.chain([status.name.clone()]).collect::<Vec<_>>()
    };
    let voters: BTreeSet<String> = answering.iter().copied().flat_map(of).collect();
    // One that is not founded, or whose journal cannot be read, has no number; one that does not vote says why.
    let is_able = |status: &&&Status| status.node.is_some() && status.trouble.is_none();
    let (able, unable): (Vec<&Status>, Vec<&Status>) = answering.iter().partition(is_able);
    let soon = 2 * able.len() > voters.len();
    let names =
        |statuses: &[&Status]| statuses.iter().map(|status| status.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    match able.len() {
        0 => {}
        1 => parts.push(format!("{} answers", names(&able))),
        _ => parts.push(format!("{} answer", names(&able))),
    }
    parts.extend(unable.iter().map(|status| match &status.trouble {
        Some(trouble) => format!("{} does not vote: {trouble}", status.name),
        None => format!("{} does not vote", status.name),
    }));
    parts.extend(unanswered(nodes));
    parts.push(if soon {
        "they may elect one yet: ask again".to_owned()
    } else {
        format!("it takes {} of {}", voters.len() / 2 + 1, voters.len())
    });
    Ok(Leading::Nobody { why: parts.join("; "), soon })
}

fn unanswered<T>(nodes: &[PerNode<T>]) -> impl Iterator<Item = String> + '_ {
    nodes.iter().filter_map(|node| node.part.as_ref().err().map(|absence| format!("{} {absence}", node.node)))
}

/// What the nodes would refuse for its size need not travel.
fn check_sizes(command: &Command) -> Result<(), Failure> {
    let (key, values) = match command {
        Command::Propose(args) => (None, vec![args.parts()?.1]),
        Command::Cas(args) => {
            let (key, expected, new) = args.parts()?;
            (Some(key), expected.into_iter().chain([new]).collect())
        }
        Command::Put { key, value } | Command::Append { key, value } | Command::Paxos { key, value } => {
            (Some(key), vec![value])
        }
        Command::Get { key, .. } | Command::Delete { key } => (Some(key), Vec::new()),
        _ => return Ok(()),
    };
    let refused = |error: KvError| Err(Failure::not_done(format!("refused: {error}")));
    match key.map(|key| key.bytes().len()) {
        Some(length) if length > MAX_KEY_BYTES => return refused(KvError::KeyTooLarge { length: length as u64 }),
        _ => {}
    }
    match values.iter().map(|value| value.bytes().len()).max() {
        Some(length) if length > MAX_VALUE_BYTES => refused(KvError::ValueTooLarge { length: length as u64 }),
        _ => Ok(()),
    }
}

fn chosen(place: &SlotOrPlace, backend: &mut dyn Backend) -> Result<Answer, Failure> {
    let nodes = slots(None, place.slot, backend)?;
    if nodes.iter().all(|node| node.part.is_err()) {
        let whys: Vec<String> = unanswered(&nodes).collect();
        return Err(Failure::not_done(format!("no node can say: {}", whys.join("; "))));
    }
    let reports = nodes.into_iter().filter_map(|node| node.part.ok());
    // Whoever still has the commands says more than who has forgotten them.
    let known = reports.filter(|report| !matches!(report.state, SlotState::Empty | SlotState::Accepted));
    let report = known.min_by_key(|report| report.state == SlotState::Cleared);
    check_index(place, report.iter().filter(|report| report.state != SlotState::Cleared))?;
    Ok(Answer::Chosen { slot: place.slot, index: place.index, report })
}

/// Whether a node that knows the slot's commands has one with this index.
fn check_index<'a>(place: &SlotOrPlace, reports: impl Iterator<Item = &'a SlotReport>) -> Result<(), Failure> {
    let Some(index) = place.index else { return Ok(()) };
    let most = reports
        .filter(|report| !matches!(report.state, SlotState::Empty | SlotState::Cleared))
        .map(|report| report.entries.len())
        .max();
    match most {
        Some(most) if (index as usize) > most => {
            let slot = place.slot;
            Err(Failure::not_done(match most {
                0 => format!("there is no {slot}.{index}: slot {slot} holds a no-op"),
                1 => format!("there is no {slot}.{index}: slot {slot} holds one command"),
                _ => format!("there is no {slot}.{index}: slot {slot} holds {most} commands"),
            }))
        }
        _ => Ok(()),
    }
}

fn statuses(node: Option<&NodeName>, backend: &mut dyn Backend) -> Result<Vec<PerNode<Box<Status>>>, Failure> {
    let asked = backend.inspect(name(node), Inspection::Status)?;
    Ok(parts(asked, |report| match report {
        Report::Status(status) => Some(status),
        _ => None,
    }))
}

fn logs(
    node: Option<&NodeName>,
    first: Slot,
    upto: Slot,
    backend: &mut dyn Backend,
) -> Result<Vec<PerNode<LogReport>>, Failure> {
    let mut ask = |first| {
        let asked = backend.inspect(name(node), Inspection::Log { first, upto })?;
        Ok(parts(asked, |report| match report {
            Report::Log(log) => Some(log),
            _ => None,
        }))
    };
    let mut nodes: Vec<PerNode<LogReport>> = ask(first)?;
    // One answer holds so many slots and no more: what is missing is asked for, until every node has said it.
    while let Some(next) = nodes.iter().filter_map(|node| more_from(node.part.as_ref().ok()?, upto)).min() {
        let more = ask(next)?;
        let before = nodes.clone();
        for (node, more) in nodes.iter_mut().zip(more) {
            if let (Ok(log), Ok(more)) = (&mut node.part, more.part) {
                let last = log.slots.last().map_or(Slot::ZERO, |report| report.slot);
                log.slots.extend(more.slots.into_iter().filter(|report| report.slot > last));
            }
        }
        if nodes == before {
            break; // a node that says there is more, and does not say it
        }
    }
    Ok(nodes)
}

/// The first slot that a node has within the range and did not report.
fn more_from(log: &LogReport, upto: Slot) -> Option<Slot> {
    let last = log.slots.last()?.slot;
    (last < upto.min(log.last_not_empty)).then(|| last.next())
}

fn slots(node: Option<&NodeName>, slot: Slot, backend: &mut dyn Backend) -> Result<Vec<PerNode<SlotReport>>, Failure> {
    let logs = logs(node, slot, slot, backend)?;
    let only = |log: LogReport| {
        let absent = if slot < log.first_not_cleared { SlotState::Cleared } else { SlotState::Empty };
        log.slots.into_iter().find(|report| report.slot == slot).unwrap_or(SlotReport {
            slot,
            state: absent,
            ballot: None,
            entries: Vec::new(),
        })
    };
    Ok(logs.into_iter().map(|log| PerNode { node: log.node, part: log.part.map(only) }).collect())
}

/// One row for every node that anybody knows, also those that do not answer.
pub fn node_rows(statuses: Vec<PerNode<Box<Status>>>) -> Vec<NodeRow> {
    let mut rows = BTreeMap::new();
    for status in statuses.iter().filter_map(|node| node.part.as_ref().ok()) {
        for peer in &status.peers {
            let row = rows.entry(peer.name.clone()).or_insert_with(|| NodeRow {
                name: peer.name.clone(),
                address: String::new(),
                voter: Some(peer.voter),
                process_id: None,
                round_trip_us: None,
                state: Err("nobody knows its address yet: `connect NAME@HOST:PORT` tells it".to_owned()),
            });
            if row.address.is_empty() {
                row.address.clone_from(&peer.address);
            }
            // Who led before remembers for a while.
            if status.phase == LEADING {
                row.round_trip_us = peer.round_trip_us;
            }
        }
    }
    for PerNode { node, part } in statuses {
        let row = rows.entry(node.clone()).or_insert_with(|| NodeRow {
            name: node,
            address: String::new(),
            voter: None,
            process_id: None,
            round_trip_us: None,
            state: Err("no answer".to_owned()),
        });
        match part {
            Ok(status) => {
                row.address.clone_from(&status.address);
                row.voter = row.voter.or(status.node.map(|_| true));
                row.process_id = Some(status.process_id);
                row.state = match status.trouble {
                    Some(trouble) => Ok(format!("{}: {trouble}", status.phase)),
                    None => Ok(status.phase),
                };
            }
            Err(absence) => row.state = Err(plain(absence.why())),
        }
    }
    rows.into_values().collect()
}

fn parts<T, U>(asked: Asked<T>, expected: impl Fn(T) -> Option<U>) -> Vec<PerNode<U>> {
    let part = |found| expected(found).ok_or_else(|| Absence::Unable("it answered another question".into()));
    asked.into_iter().map(|(node, answered)| PerNode { node, part: answered.and_then(part) }).collect()
}

fn name(node: Option<&NodeName>) -> Option<&str> {
    node.map(|node| node.0.as_str())
}

/// What an election takes at most, among nodes that hear one another.
const ELECTED_WITHIN: Duration = Duration::from_secs(2);
/// Between two questions for the leader.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The phase of a leader, as its status names it.
const LEADING: &str = "leading";
/// "Up to the end", in an [`Inspection::Log`].
const LAST: Slot = Slot(u64::MAX);

#[cfg(test)]
mod tests;
