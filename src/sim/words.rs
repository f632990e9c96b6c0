//! What happens in a run, in a person's words: one short line for each message, event, question and outcome.
//!
//! What is left out: what every message of its kind says alike, the bytes of values, and whatever a role tells itself.

use super::history::{Call, Operation, Told};
use crate::client::outcome::Outcome;
use crate::codec;
use crate::machine::MachineId;
use crate::machine::bank::{AccountName, Operation as BankOperation, Transfer};
use crate::machine::composite::{open_answer, untag};
use crate::machine::kv::{Answer, Operation as KvOperation, Query};
use crate::net::wire::ClientFrame;
use crate::paxos::effect::Changed;
use crate::paxos::message::{Choice, Progress};
use crate::paxos::{
    AcceptorMessage, Change, Command, Event, ExecutorMessage, LearnerMessage, Message, NodeId, ProposerMessage, Slot,
    Value,
};

/// A message from one node to another.
pub fn message(message: &Message) -> String {
    match message {
        Message::Proposer(message) => to_proposer(message),
        Message::Acceptor(message) => to_acceptor(message),
        Message::Learner(message) => to_learner(message),
        Message::Executor(message) => to_executor(message),
    }
}

/// When a message is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Always.
    Always,
    /// If it says something else than the last of its kind on this link: nodes say it all the time.
    News,
    /// Never: it only passes on what others said.
    Never,
}

/// When this message is worth a line.
pub fn worth(message: &Message) -> Worth {
    match message {
        Message::Acceptor(AcceptorMessage::Hearsay { .. }) => Worth::Never,
        Message::Acceptor(AcceptorMessage::Heartbeat { .. })
        | Message::Proposer(ProposerMessage::HeartbeatAck { .. }) => Worth::News,
        _ => Worth::Always,
    }
}

/// What a disk has made durable, and what may be said at last; empty if that is nothing.
pub fn disk(own: NodeId, batches: u64, said: &[(NodeId, Message)]) -> String {
    let mut claims: Vec<String> = Vec::new();
    for (to, what) in said {
        let local = *to == own && !matches!(what, Message::Learner(LearnerMessage::Accepted(_)));
        let claim = match what {
            Message::Proposer(ProposerMessage::Fenced { .. }) => continue,
            _ if local && !matches!(what, Message::Proposer(ProposerMessage::Promise(_)) | Message::Acceptor(_)) => {
                continue;
            }
            what => message(what),
        };
        if claims.last() != Some(&claim) {
            claims.push(claim);
        }
    }
    match (batches, claims.is_empty()) {
        (0, true) => String::new(),
        (0, false) => format!("may say {}", claims.join("; ")),
        (_, true) => format!("synced {}", many(batches, "batch", "batches")),
        (_, false) => format!("synced {}; may say {}", many(batches, "batch", "batches"), claims.join("; ")),
    }
}

/// Something that a node tells onlookers.
pub fn event(event: &Event) -> String {
    match event {
        Event::Ignored { from, what, why } => format!("ignores {what} from n{from}: {why}"),
        Event::Canvassing {} => "hears no leader, and asks whether anybody does".into(),
        Event::Preparing { ballot } => format!("prepares ballot {ballot}"),
        Event::Leading { ballot, first, merged, holes } => {
            format!("LEADS in ballot {ballot} from slot {first} on ({merged} merged, {holes} holes)")
        }
        Event::Extended { ballot, first, merged } => {
            format!("may lead in ballot {ballot} from slot {first} on, too ({merged} merged)")
        }
        Event::Changed { slot, change, from } => {
            format!("executes slot {slot}: {}, from slot {from} on", changed(change))
        }
        Event::Dismissed { from } => format!("has left at slot {from}, and is not needed any more"),
        Event::Following { ballot } => format!("follows ballot {ballot}"),
        Event::SteppedDown { ballot, why } => format!("leads no more in ballot {ballot}: {why}"),
        Event::Executed { upto, commands } => {
            format!("has executed up to slot {upto} ({})", many(*commands, "command", "commands"))
        }
        Event::Amnesia { peer, witnessed, durable } => {
            format!("has lost its journal's end: it has batch {}, n{peer} saw {}", durable.0, witnessed.0)
        }
        Event::Shortened { reaches, written_upto } => {
            format!("its journal reaches slot {reaches}, and the members were written down as of slot {written_upto}")
        }
        Event::Admitted {} => "may vote".into(),
        Event::Damaged { batches, votes, upto } => {
            let (batches, votes) = (many(*batches, "batch", "batches"), many(*votes, "vote", "votes"));
            format!("finds {batches} damaged, lost {votes}, and knows none up to slot {upto}")
        }
        Event::Dropped { slot, ballot } => format!("drops its lost vote in slot {slot}, ballot {ballot}"),
        Event::Repaired {} => "has repaired its journal".into(),
        Event::Installed { upto } => format!("installed a snapshot up to slot {upto}"),
        Event::Agreed { mark } => format!("the replicas agree at mark {mark}"),
        Event::Diverged { mark, .. } => format!("DIVERGED at mark {mark}"),
        Event::Rebuilt { upto } => format!("is rebuilt up to slot {upto}"),
        Event::Disagreed { mark, .. } => format!("the replicas differ at mark {mark}, and no quorum is alike"),
        Event::SnapshotDropped { peer, upto, why } => {
            format!("dropped n{peer}'s snapshot up to slot {upto}: {why}")
        }
    }
}

fn changed(change: &Changed) -> String {
    match change {
        Changed::Added { node, name } => format!("{name} comes as n{node}, without a vote"),
        Changed::Removed { name } => format!("{name} leaves"),
        Changed::Replaced { node, name } => format!("{name} is replaced by n{node}, without a vote"),
        Changed::Promoted { node, name } => format!("{name}, n{node}, gets its vote"),
    }
}

fn progress(progress: &Progress) -> String {
    let members = if progress.membership.is_some() { ", and other members" } else { "" };
    format!("Executed up to slot {}{members}", progress.upto)
}

/// What a client asks of a node.
pub fn frame(frame: &ClientFrame) -> String {
    match frame {
        ClientFrame::Attach(session) => format!("to hear of session {}", session.0),
        ClientFrame::AttachToken(_) => "to hear of a new session".into(),
        ClientFrame::Commands(commands) => list(commands.iter().map(command), commands.len()),
        ClientFrame::Reads { queries, .. } => list(queries.iter().map(|(_, asked)| query(asked)), queries.len()),
        ClientFrame::Inspect { .. } => "inspect".into(),
        ClientFrame::Connect { name, .. } => format!("connect {name}"),
        ClientFrame::Meet { address, .. } => format!("meet {address}"),
        ClientFrame::Lead { name, .. } => format!("lead {name}"),
        ClientFrame::Backup { .. } | ClientFrame::BackupPart { .. } => "backup".into(),
    }
}

/// What became of an operation.
pub fn outcome(operation: &Operation, outcome: &Outcome) -> String {
    let asked = call(operation);
    match outcome {
        Outcome::Done { place, result, .. } => format!("{asked}: done at {place}{}", told(&operation.call, result)),
        Outcome::ResultDropped { place } => format!("{asked}: done at {place}, the result is dropped"),
        Outcome::Read { result } => format!("{asked}{}", told(&operation.call, result)),
        Outcome::NotDone { reason } => format!("{asked}: not done: {reason}"),
        Outcome::Unknown { reason } => format!("{asked}: unknown: {reason}"),
        Outcome::Refused { reason } => format!("{asked}: refused: {reason}"),
    }
}

fn to_proposer(message: &ProposerMessage) -> String {
    match message {
        ProposerMessage::Submit { commands } => {
            format!("Submit {}", list(commands.iter().map(command), commands.len()))
        }
        ProposerMessage::Forward { commands } => {
            format!("Forward {}", list(commands.iter().map(command), commands.len()))
        }
        ProposerMessage::Canvass { number, chosen_upto } => {
            format!("Canvass {}, chosen up to {chosen_upto}", number & 0xFFFF)
        }
        ProposerMessage::Canvassed { number, hears_leader, chosen_upto, highest } => {
            let hears = if *hears_leader { "hears a leader" } else { "hears none" };
            let number = number & 0xFFFF; // random: a few digits tell them apart
            format!("Canvassed {number}: {hears}, chosen up to {chosen_upto}, highest ballot {highest}")
        }
        ProposerMessage::Promise(promise) => {
            let votes = slots(promise.votes.iter().map(|vote| vote.slot));
            let votes = if votes.is_empty() { "no votes".into() } else { format!("votes in {votes}") };
            let part = if promise.parts > 1 {
                format!(", part {} of {}", promise.part + 1, promise.parts)
            } else {
                String::new()
            };
            format!("Promise {}, settled up to {}, {votes}{part}", promise.ballot, promise.settled_upto)
        }
        ProposerMessage::Nack { refused, promised } => format!("Nack {refused}: promised {promised}"),
        ProposerMessage::Settled { ballot, upto } => format!("Settled {ballot} up to slot {upto}"),
        ProposerMessage::HeartbeatAck { ballot, settled_upto, .. } => {
            format!("HeartbeatAck {ballot}, settled up to {settled_upto}")
        }
        ProposerMessage::ReadIndex { batch } => format!("ReadIndex {}", batch & 0xFFFF),
        ProposerMessage::Heard { ballot } => format!("Heard {ballot}"),
        ProposerMessage::Advanced { chosen_upto, .. } => format!("Advanced, chosen up to {chosen_upto}"),
        ProposerMessage::Fenced { number } => format!("Fenced {number}"),
        ProposerMessage::Standing { admitted } => if *admitted { "may vote" } else { "may not vote" }.into(),
        ProposerMessage::Transfer { to } => format!("Transfer to n{to}"),
        ProposerMessage::TakeOver { ballot } => format!("TakeOver from {ballot}"),
        ProposerMessage::Dismissed { from } => format!("Dismissed at slot {from}"),
        ProposerMessage::Executed(executed) => progress(executed),
        ProposerMessage::Fit { fit } => format!("Fit {fit}"),
        ProposerMessage::MarkDue { save: true } => "MarkDue, to be saved".into(),
        ProposerMessage::MarkDue { save: false } => "MarkDue".into(),
    }
}

fn to_acceptor(message: &AcceptorMessage) -> String {
    match message {
        AcceptorMessage::Prepare(prepare) => format!("Prepare {} from slot {}", prepare.ballot, prepare.from),
        AcceptorMessage::Accept { ballot, proposals, chosen_upto } => {
            let held = contents(proposals.iter().map(|(_, value)| value));
            let slots = slots(proposals.iter().map(|(slot, _)| *slot));
            format!("Accept {ballot} {slots} ({held}), chosen up to {chosen_upto}")
        }
        AcceptorMessage::Heartbeat { ballot, chosen_upto, .. } => {
            format!("Heartbeat {ballot}, chosen up to {chosen_upto}")
        }
        AcceptorMessage::Announce { ballot, chosen_upto } => format!("Announce {ballot}, chosen up to {chosen_upto}"),
        AcceptorMessage::Hearsay { .. } => "Hearsay".into(),
        AcceptorMessage::Learned { chosen_upto } => format!("Learned, chosen up to {chosen_upto}"),
        AcceptorMessage::Witnessed { peer, batch } => format!("Witnessed batch {} of n{peer}", batch.0),
        AcceptorMessage::Greeted { peer, witnessed, .. } => {
            format!("Greeted by n{peer}, which saw batch {}", witnessed.0)
        }
        AcceptorMessage::Executed(executed) => progress(executed),
        AcceptorMessage::Recorded(upto) => format!("Recorded what is chosen up to {}", **upto),
        AcceptorMessage::FetchVotes { votes } => format!("FetchVotes {}", slots(votes.iter().map(|(slot, _)| *slot))),
        AcceptorMessage::Fetched(fetched) => {
            let had = slots(fetched.votes.iter().map(|vote| vote.slot));
            let denied = slots(fetched.denied.iter().map(|(slot, _)| *slot));
            format!("Fetched {had}, denies {denied}, settled up to {}", fetched.settled_upto)
        }
    }
}

fn to_learner(message: &LearnerMessage) -> String {
    match message {
        LearnerMessage::Accepted(accepted) => {
            format!("Accepted {} {}", accepted.ballot, slots(accepted.slots.iter().copied()))
        }
        LearnerMessage::CatchUp { first } => format!("CatchUp from slot {first}"),
        LearnerMessage::Chosen { entries, chosen_upto } => {
            format!("Chosen {}, of {chosen_upto}", choices(entries))
        }
        LearnerMessage::FetchSnapshot { upto, offset, .. } => format!("FetchSnapshot {upto} from byte {offset}"),
        LearnerMessage::SnapshotPart { upto, total, offset, bytes, .. } => {
            format!("SnapshotPart {upto}, bytes {offset}..{} of {total}", offset + bytes.len() as u64)
        }
        LearnerMessage::Voting { ballot, proposals } => {
            format!("Voting {ballot} {}", slots(proposals.iter().map(|(slot, _)| *slot)))
        }
        LearnerMessage::Announced { ballot, chosen_upto } => format!("Announced {ballot}, chosen up to {chosen_upto}"),
        LearnerMessage::Behind { chosen_upto, supplier } => format!("Behind n{supplier}, which has {chosen_upto}"),
        LearnerMessage::Installed { upto } => format!("Installed up to slot {upto}"),
        LearnerMessage::Trimmed { upto } => format!("Trimmed up to slot {upto}"),
        LearnerMessage::Unreadable { slot, to } => format!("Unreadable slot {slot}, for {to}"),
        LearnerMessage::ChosenIn { slot, ballot } => format!("ChosenIn {ballot} slot {slot}"),
        LearnerMessage::Executed(executed) => progress(executed),
        LearnerMessage::PartKept { id, upto_bytes } => format!("PartKept of {id} up to byte {upto_bytes}"),
        LearnerMessage::Repair {} => "Repair".into(),
        LearnerMessage::SnapshotDropped { id, because } => format!("SnapshotDropped {id}: {because:?}"),
    }
}

fn to_executor(message: &ExecutorMessage) -> String {
    match message {
        ExecutorMessage::Chosen { entries } => format!("Chosen {}", choices(entries)),
        ExecutorMessage::Attach { session, .. } => format!("Attach session {}", session.0),
        ExecutorMessage::AttachToken { .. } => "Attach by token".into(),
        ExecutorMessage::Detach { .. } => "Detach".into(),
        ExecutorMessage::Read { queries, .. } => {
            format!("Read {}", list(queries.iter().map(|(_, asked)| query(asked)), queries.len()))
        }
        ExecutorMessage::ReadIndexed { batch, index } => format!("ReadIndexed {}: slot {index}", batch & 0xFFFF),
        ExecutorMessage::ReadRefused { batch } => format!("ReadRefused {}", batch & 0xFFFF),
        ExecutorMessage::Refused { commands, reason } => {
            format!("Refused {}: {reason}", many(commands.len() as u64, "command", "commands"))
        }
        ExecutorMessage::LeaderChanged {} => "LeaderChanged".into(),
        ExecutorMessage::SnapshotWanted { slot } => format!("SnapshotWanted for slot {slot}"),
        ExecutorMessage::SnapshotSaved { upto } => format!("SnapshotSaved up to slot {upto}"),
        ExecutorMessage::SnapshotUnsaved {} => "SnapshotUnsaved".into(),
        ExecutorMessage::Digested { upto, .. } => format!("Digested slot {upto}"),
        ExecutorMessage::MarkWanted { save } => format!("MarkWanted{}", if *save { ", to be saved" } else { "" }),
        ExecutorMessage::TrimWanted { upto } => format!("TrimWanted up to slot {upto}"),
    }
}

/// `slot 5`, or `slots 5..7, 9`; empty if there are none.
fn slots(slots: impl Iterator<Item = Slot>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for Slot(slot) in slots {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => runs.push((slot, slot)),
        }
    }
    let run = |(first, last): &(u64, u64)| if first == last { format!("{first}") } else { format!("{first}..{last}") };
    match runs.as_slice() {
        [] => String::new(),
        [only] if only.0 == only.1 => format!("slot {}", only.0),
        runs => format!("slots {}", list(runs.iter().map(run), runs.len())),
    }
}

/// `3 commands`, or `2 commands, 1 no-op`.
fn contents<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    let (mut commands, mut no_ops) = (0, 0);
    for value in values {
        commands += value.entries().len() as u64;
        no_ops += u64::from(value.is_no_op());
    }
    match (commands, no_ops) {
        (commands, 0) => many(commands, "command", "commands"),
        (0, no_ops) => many(no_ops, "no-op", "no-ops"),
        (commands, no_ops) => {
            format!("{}, {}", many(commands, "command", "commands"), many(no_ops, "no-op", "no-ops"))
        }
    }
}

fn choices(entries: &[Choice]) -> String {
    let held = contents(entries.iter().map(|(_, _, value)| value));
    format!("{} ({held})", slots(entries.iter().map(|(slot, _, _)| *slot)))
}

fn command(command: &Command) -> String {
    match command {
        Command::Open { .. } => "open".into(),
        Command::Apply { session, sequence, operation, .. } => {
            let asked = match untag(operation) {
                Some((MachineId::Kv, bytes)) => codec::decode(bytes, bytes.len()).ok().map(|asked| change(&asked)),
                Some((MachineId::Bank, bytes)) => codec::decode(bytes, bytes.len()).ok().map(|asked| of_bank(&asked)),
                _ => None,
            };
            format!("s{}#{} {}", session.0, sequence.0, asked.unwrap_or_else(|| "?".into()))
        }
        Command::Change { session, sequence, change, .. } => {
            format!("s{}#{} {}", session.0, sequence.0, asked_change(change))
        }
        Command::Promote { node } => format!("promote n{node}"),
        Command::Mark { save } => {
            if *save {
                "mark, to be saved".into()
            } else {
                "mark".into()
            }
        }
        Command::Report { node, mark, .. } => format!("report of n{node} at mark {mark}"),
    }
}

fn asked_change(change: &Change) -> String {
    match change {
        Change::Add { name, .. } => format!("add {name}"),
        Change::Remove { name } => format!("remove {name}"),
        Change::Replace { name, .. } => format!("replace {name}"),
    }
}

fn change(operation: &KvOperation) -> String {
    match operation {
        KvOperation::Put { key, value } => format!("put {} {}", text(key), text(value)),
        KvOperation::Append { key, suffix } => format!("append {} {}", text(key), text(suffix)),
        KvOperation::Delete { key } => format!("delete {}", text(key)),
        KvOperation::Cas { key, expected, value } => {
            format!("cas {} {} {}", text(key), expected.as_deref().map_or_else(|| "-".into(), text), text(value))
        }
        KvOperation::Decide { key, value } => format!("paxos {} {}", text(key), text(value)),
        KvOperation::Propose { value } => format!("propose {}", text(value)),
    }
}

fn of_bank(operation: &BankOperation) -> String {
    match operation {
        BankOperation::Open { accounts } => {
            format!("open {}", list(accounts.iter().map(ToString::to_string), accounts.len()))
        }
        BankOperation::Transfer { transfers } => transferred(transfers),
        BankOperation::Reset => "reset".into(),
    }
}

fn query(asked: &[u8]) -> String {
    let of_kv = untag(asked).filter(|(machine, _)| *machine == MachineId::Kv);
    if of_kv.is_none() && untag(asked).is_some() {
        return "accounts".into();
    }
    match of_kv.and_then(|(_, bytes)| codec::decode(bytes, bytes.len()).ok()) {
        Some(Query::Get { key }) => format!("get {}", text(&key)),
        Some(Query::Decided { key }) => format!("decided {}", text(&key)),
        Some(Query::Scan(_)) => "scan".into(),
        Some(Query::Count) => "count".into(),
        None => "?".into(),
    }
}

fn call(operation: &Operation) -> String {
    let key = operation.key;
    match &operation.call {
        Call::Get => format!("get k{key}"),
        Call::Put(value) => format!("put k{key} {}", text(value)),
        Call::Append(suffix) => format!("append k{key} {}", text(suffix)),
        Call::Cas(expected, value) => {
            format!("cas k{key} {} {}", expected.as_deref().map_or_else(|| "-".into(), text), text(value))
        }
        Call::Delete => format!("delete k{key}"),
        Call::Transfer(transfers) => transferred(transfers),
        Call::Accounts => "accounts".into(),
    }
}

fn transferred(transfers: &[Transfer]) -> String {
    let one = |transfer: &Transfer| {
        let party = |name: &Option<AccountName>| name.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        format!(
            "{}{}{} {}",
            party(&transfer.from),
            if transfer.linked { "=" } else { "-" },
            party(&transfer.to),
            transfer.amount
        )
    };
    format!("transfer {}", list(transfers.iter().map(one), transfers.len()))
}

fn told(call: &Call, result: &[u8]) -> String {
    if call.is_for_bank() {
        return match Told::decode(call, result) {
            Some(Told::Settled(outcomes)) => {
                format!(": {}", list(outcomes.iter().map(ToString::to_string), outcomes.len()))
            }
            Some(Told::Balances(balances)) => format!(": {balances:?}"),
            _ => ": ?".into(),
        };
    }
    match open_answer(result).ok().and_then(|answer| Answer::decode(answer).ok()) {
        Some(Answer::Ok | Answer::Swapped) => String::new(),
        Some(Answer::Value(Some(value)) | Answer::Appended { value }) => format!(": {}", text(&value)),
        Some(Answer::Value(None)) => ": nothing there".into(),
        Some(Answer::Deleted { existed }) => if existed { "" } else { ": nothing there" }.into(),
        Some(Answer::NotSwapped { actual }) => {
            format!(": not swapped, it is {}", actual.as_deref().map_or_else(|| "absent".into(), text))
        }
        Some(other) => format!(": {other:?}"),
        None => ": ?".into(),
    }
}

/// A key or a value: the end of a long one, which is where appended values differ.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    let length = text.chars().count();
    if length <= LONGEST {
        return if text.is_empty() { "''".into() } else { text.replace(' ', "_") };
    }
    let end: String = text.chars().skip(length - LONGEST + 1).collect();
    format!("…{}", end.replace(' ', "_"))
}

/// The first few of a list, and how many more there are.
fn list(items: impl Iterator<Item = String>, length: usize) -> String {
    let mut shown: Vec<String> = items.take(SHOWN).collect();
    if length > SHOWN {
        shown.push(format!("{} more", length - SHOWN));
    }
    shown.join(", ")
}

fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Characters of a value.
const LONGEST: usize = 16;
/// Items of a list.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::message::Prepare;
    use crate::paxos::{Ballot, Place, Stamp, Token};

    fn ballot() -> Ballot {
        Ballot::new(1, NodeId(2))
    }

    #[test]
    fn a_message_is_a_short_line() {
        let open = Command::Open { token: Token(7) };
        let values = [Value::batch(Stamp::default(), &[open.clone(), open]), Value::no_op()];
        let proposals = (5..).map(Slot).zip(values).collect();
        let accept = AcceptorMessage::Accept { ballot: ballot(), proposals, chosen_upto: Slot(4) };
        assert_eq!(message(&accept.into()), "Accept 1.2 slots 5..6 (2 commands, 1 no-op), chosen up to 4");
        let prepare = AcceptorMessage::Prepare(Prepare { ballot: ballot(), from: Slot(1) });
        assert_eq!(message(&prepare.into()), "Prepare 1.2 from slot 1");
    }

    #[test]
    fn slots_are_runs() {
        let words = |numbers: &[u64]| slots(numbers.iter().map(|slot| Slot(*slot)));
        assert_eq!(words(&[]), "");
        assert_eq!(words(&[5]), "slot 5");
        assert_eq!(words(&[5, 6, 7, 9]), "slots 5..7, 9");
        assert_eq!(words(&[1, 3, 5, 7, 9]), "slots 1, 3, 5, 2 more");
    }

    #[test]
    fn an_outcome_names_what_was_asked() {
        let call = Call::Put("0.1 ".into());
        let asked = Operation {
            client: 0,
            key: 1,
            call,
            invoked_us: 0,
            fate: super::super::history::Fate::Unknown,
            place: None,
        };
        let result = [&[0][..], &codec::encode(&Answer::Ok)].concat().into();
        let done = Outcome::Done { place: Place { slot: Slot(5), index: 2 }, ballot: None, result };
        assert_eq!(outcome(&asked, &done), "put k1 0.1: done at 5.2");
    }
}
