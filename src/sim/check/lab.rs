//! What a scenario asserts: of the logs as every node shows them, and of what clients were told.
//!
//! A log is looked at from outside, slot by slot, as an operator would: each node says how far a slot has come and what
//! stands there. Ours hold batches; the wrapping of a command in its session is not part of an operation, so that a
//! wrapped command cannot be shown by mistake.
//!
//! | check | what it asserts |
//! |---|---|
//! | [`markers_valid`] | the first slot that is not cleared and the last that is not empty are where they should be |
//! | [`slot_valid`] | one slot: nobody contradicts anybody, and what is chosen stands with a majority |
//! | [`logs_consistent`] | both, for every slot that some node still holds; [`all_slots`]: from the first slot on |
//! | [`results_ok`] | a client was told what was expected |
//! | [`all_results_same`] | all were told the same |
//! | [`clients_done`] | nobody waits |
//! | [`none_decided`] | nobody was told anything, and nothing of it is chosen |
//! | [`appends_linearizable`] | the answers to appends form one chain |

use std::collections::BTreeMap;

use super::{Broken, Held};
use crate::paxos::{Bytes, Entry, Slot, Value};
use crate::sim::history::{Call, Fate, Operation, Told};

/// How far a slot has come on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing is known.
    Empty,
    /// The node voted.
    Accepted,
    /// The node knows it to be chosen.
    Chosen,
    /// The node has forgotten it.
    Cleared,
}

/// One node's log, as it can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The first slot that is not cleared.
    pub first_non_cleared: Slot,
    /// The last slot that is not empty; [`Slot::ZERO`] in an empty log.
    pub last_non_empty: Slot,
    /// Slots that are not empty.
    pub slots: BTreeMap<Slot, (Status, Option<Value>)>,
}

impl Log {
    /// How far a slot has come.
    pub fn status(&self, slot: Slot) -> Status {
        self.slots.get(&slot).map_or(Status::Empty, |(status, _)| *status)
    }

    /// What stands there; none if it is empty or cleared.
    pub fn command(&self, slot: Slot) -> Option<&Value> {
        self.slots.get(&slot).and_then(|(_, value)| value.as_ref())
    }
}

/// One node's markers agree with its slots.
pub fn markers_valid(log: &Log) -> Held {
    let (nc, ne) = (log.first_non_cleared, log.last_non_empty);
    let wrong = [
        (nc < Slot(1), "the first slot that is not cleared is before the first slot"),
        (log.status(nc) == Status::Cleared, "the first slot that is not cleared is cleared"),
        (ne > Slot::ZERO && log.status(ne) == Status::Empty, "the last slot that is not empty is empty"),
        (nc > Slot(1) && log.status(nc.previous()) != Status::Cleared, "the slot before it is not cleared"),
        (log.status(ne.next()) != Status::Empty, "the slot behind the last is not empty"),
        (nc > ne.next(), "a slot is cleared and yet empty"),
    ];
    match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
        None => Ok(()),
        Some((_, what)) => Err(Broken::new("markers_valid", format!("{what} (markers {nc} and {ne})"))),
    }
}

/// What all nodes show of one slot goes together.
pub fn slot_valid(logs: &[Log], slot: Slot) -> Held {
    let broken = |what: String| Err(Broken::new("slot_valid", format!("slot {slot}: {what}")));
    let mut chosen: Option<&Value> = None;
    for (position, log) in logs.iter().enumerate() {
        let (status, command) = (log.status(slot), log.command(slot));
        let node = position + 1;
        if slot < log.first_non_cleared && status != Status::Cleared {
            return broken(format!("n{node} shows {status:?} below its first slot that is not cleared"));
        }
        if slot > log.last_non_empty && status != Status::Empty {
            return broken(format!("n{node} shows {status:?} behind its last slot that is not empty"));
        }
        match status {
            Status::Empty | Status::Cleared if command.is_some() => {
                return broken(format!("n{node} shows {status:?}, and a command"));
            }
            Status::Accepted | Status::Chosen if command.is_none() => {
                return broken(format!("n{node} shows {status:?}, and no value"));
            }
            Status::Chosen => match chosen {
                Some(other) if Some(other) != command => return broken("two values are chosen".into()),
                _ => chosen = command,
            },
            _ => {}
        }
    }
    let majority = logs.len() / 2 + 1;
    if let Some(value) = chosen {
        let stands = |log: &&Log| match log.status(slot) {
            Status::Chosen | Status::Cleared => true,
            Status::Accepted => log.command(slot) == Some(value),
            Status::Empty => false,
        };
        let held = logs.iter().filter(stands).count();
        if held < majority {
            return broken(format!("chosen, and only {held} nodes hold it"));
        }
    } else if logs.iter().any(|log| log.status(slot) == Status::Cleared) {
        let held = logs.iter().filter(|log| log.status(slot) != Status::Empty).count();
        if held < majority {
            return broken(format!("cleared, and only {held} nodes have heard of it"));
        }
    }
    Ok(())
}

/// Every slot that some node still holds is valid, and so are all markers.
pub fn logs_consistent(logs: &[Log]) -> Held {
    consistent_from(logs, logs.iter().map(|log| log.first_non_cleared).min().unwrap_or(Slot(1)))
}

/// As [`logs_consistent`], from the first slot on.
pub fn all_slots(logs: &[Log]) -> Held {
    consistent_from(logs, Slot(1))
}

fn consistent_from(logs: &[Log], first: Slot) -> Held {
    logs.iter().try_for_each(markers_valid)?;
    let last = logs.iter().map(|log| log.last_non_empty).max().unwrap_or(Slot::ZERO);
    first.previous().above(last.next()).try_for_each(|slot| slot_valid(logs, slot))
}

/// What a client was told, in order, is what was expected.
pub fn results_ok<'a>(told: impl IntoIterator<Item = &'a Operation>, expected: &[Told]) -> Held {
    let mut count = 0;
    for operation in told {
        let Some(wanted) = expected.get(count) else {
            return Err(Broken::new("results_ok", format!("{operation:?} was not expected")));
        };
        match &operation.fate {
            Fate::Done(_, told) if told == wanted => count += 1,
            _ => return Err(Broken::new("results_ok", format!("{wanted:?} was expected of {operation:?}"))),
        }
    }
    if count < expected.len() {
        return Err(Broken::new("results_ok", format!("{count} of {} results are there", expected.len())));
    }
    Ok(())
}

/// All were told the same, and something that `may_be` it.
pub fn all_results_same<'a>(told: impl IntoIterator<Item = &'a Operation>, may_be: impl Fn(&Told) -> bool) -> Held {
    let mut first: Option<&Told> = None;
    for operation in told {
        match &operation.fate {
            Fate::Done(_, told) if first.is_none_or(|first| first == told) && may_be(told) => first = Some(told),
            _ => return Err(Broken::new("all_results_same", format!("{operation:?}, and others were told {first:?}"))),
        }
    }
    Ok(())
}

/// Nobody waits: everything that was asked was done.
pub fn clients_done<'a>(asked: impl IntoIterator<Item = &'a Operation>) -> Held {
    match asked.into_iter().find(|operation| !matches!(operation.fate, Fate::Done(..))) {
        None => Ok(()),
        Some(operation) => Err(Broken::new("clients_done", format!("{operation:?} has no result"))),
    }
}

/// Of what was asked nothing was answered, and no write of it is chosen.
pub fn none_decided<'a>(asked: impl IntoIterator<Item = &'a Operation>, chosen: &BTreeMap<Slot, Value>) -> Held {
    for operation in asked {
        if let Fate::Done(..) = operation.fate {
            return Err(Broken::new("none_decided", format!("{operation:?} was answered")));
        }
        let encoded: Bytes = operation.call.encode(operation.key);
        let is_there = |entry: Entry<'_>| matches!(entry, Entry::Apply { operation, .. } if *operation == *encoded);
        if let Some((slot, _)) = chosen.iter().find(|(_, value)| value.entries().any(is_there)) {
            return Err(Broken::new("none_decided", format!("{operation:?} is chosen in slot {slot}")));
        }
    }
    Ok(())
}

/// Every answer to an append ends with what was appended, and of any two the longer one begins with the shorter.
pub fn appends_linearizable<'a>(asked: impl IntoIterator<Item = &'a Operation>) -> Held {
    let broken = |what: String| Err(Broken::new("appends_linearizable", what));
    let mut answers: Vec<&Bytes> = Vec::new();
    for operation in asked {
        match (&operation.call, &operation.fate) {
            (Call::Append(suffix), Fate::Done(_, Told::Appended(value))) if value.ends_with(suffix) => {
                answers.push(value);
            }
            _ => return broken(format!("{operation:?} is no append, or its answer does not end with it")),
        }
    }
    answers.sort_by_key(|value| value.len());
    for pair in answers.windows(2) {
        if pair[0].len() == pair[1].len() || !pair[1].starts_with(pair[0]) {
            return broken(format!("{:?} and {:?} are not one after the other", pair[0], pair[1]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Command, Sequence, SessionId, Stamp};

    fn value(text: &str) -> Value {
        let operation = Call::Put(text.into()).encode(1);
        let (session, sequence, done_below) = (SessionId(1), Sequence(1), Sequence(1));
        Value::batch(Stamp::default(), &[Command::Apply { session, sequence, done_below, operation }])
    }

    /// A log from a word: `x` cleared; `a` accepted, value a; `A` chosen, value a; a dot empty.
    fn log(word: &str) -> Log {
        let slots = (1..).map(Slot).zip(word.chars()).filter_map(|(slot, letter)| {
            let held = || Some(value(&letter.to_lowercase().to_string()));
            match letter {
                '.' => None,
                'x' => Some((slot, (Status::Cleared, None))),
                letter if letter.is_uppercase() => Some((slot, (Status::Chosen, held()))),
                _ => Some((slot, (Status::Accepted, held()))),
            }
        });
        let slots: BTreeMap<Slot, _> = slots.collect();
        let cleared = word.chars().take_while(|letter| *letter == 'x').count() as u64;
        let last_non_empty = slots.keys().next_back().copied().unwrap_or(Slot::ZERO);
        Log { first_non_cleared: Slot(cleared + 1), last_non_empty, slots }
    }

    fn logs(words: &[&str]) -> Vec<Log> {
        words.iter().map(|word| log(word)).collect()
    }

    #[test]
    fn logs_that_go_together() {
        for words in [
            &["", "", ""][..],
            &["AB", "A", "ab"],
            &["xB", "AB", "..c"],
            &["xx", "x", ".a"],
            &["A", "a", "b"],
            &["xxC", "ABC", "ab"],
            &["A"],
        ] {
            assert_eq!(all_slots(&logs(words)), Ok(()), "{words:?}");
            assert_eq!(logs_consistent(&logs(words)), Ok(()), "{words:?}");
        }
    }

    #[test]
    fn slots_that_contradict_are_found() {
        for words in [
            &["A", "B", "a"][..], // two values are chosen
            &["A", "b", ""],      // no majority holds it
            &["x", "", ""],       // cleared, and nobody else has heard of it
            &["A", "a", "", ""],  // half is no majority
        ] {
            assert!(all_slots(&logs(words)).is_err(), "{words:?}");
        }
        assert!(slot_valid(&logs(&["xA", ".A", ".a"]), Slot(1)).is_err());
        assert_eq!(logs_consistent(&logs(&["xB", "xB", "xb"])), Ok(()));
    }

    #[test]
    fn statuses_and_commands_that_do_not_go_together_are_found() {
        let mut silent = log("A");
        silent.slots.insert(Slot(1), (Status::Chosen, None));
        assert!(slot_valid(&[silent.clone(), silent.clone(), silent], Slot(1)).is_err(), "chosen, but what?");
        let mut talkative = log("x");
        talkative.slots.insert(Slot(1), (Status::Cleared, Some(value("a"))));
        assert!(slot_valid(&[talkative.clone(), talkative], Slot(1)).is_err(), "cleared, but there");
    }

    #[test]
    fn markers_that_are_wrong_are_found() {
        let marked = |word: &str, nc: u64, ne: u64| {
            markers_valid(&Log { first_non_cleared: Slot(nc), last_non_empty: Slot(ne), ..log(word) })
        };
        assert_eq!(marked("xxA", 3, 3), Ok(()));
        assert_eq!(marked("", 1, 0), Ok(()));
        assert_eq!(marked("xx", 3, 2), Ok(()));
        assert!(marked("A", 0, 1).is_err());
        assert!(marked("xxA", 2, 3).is_err(), "the first is cleared");
        assert!(marked("xAA", 3, 3).is_err(), "the one before is not");
        assert!(marked("A", 1, 2).is_err(), "the last is empty");
        assert!(marked("AA", 1, 1).is_err(), "there is one behind the last");
        assert!(marked("x", 4, 1).is_err());
        let mut late = log("AA");
        late.first_non_cleared = Slot(2);
        assert!(slot_valid(&[late], Slot(1)).is_err(), "below the marker, and not cleared");
        let mut early = log("AA");
        early.last_non_empty = Slot(1);
        assert!(slot_valid(&[early], Slot(2)).is_err(), "behind the marker, and not empty");
    }

    fn asked(call: Call, fate: Fate) -> Operation {
        Operation { client: 0, key: 1, call, invoked_us: 0, fate, place: None }
    }

    fn got(value: &str) -> Operation {
        asked(Call::Get, Fate::Done(1, Told::Value(Some(value.into()))))
    }

    #[test]
    fn results_that_are_wrong_are_found() {
        let told = |value: &str| Told::Value(Some(value.into()));
        assert_eq!(results_ok(&[got("a"), got("b")], &[told("a"), told("b")]), Ok(()));
        assert!(results_ok(&[got("a"), got("c")], &[told("a"), told("b")]).is_err());
        assert!(results_ok(&[got("a")], &[told("a"), told("b")]).is_err(), "one is missing");
        assert!(results_ok(&[got("a"), got("b")], &[told("a")]).is_err(), "one is too many");
        assert!(results_ok(&[asked(Call::Get, Fate::Unknown)], &[told("a")]).is_err());
    }

    #[test]
    fn results_that_differ_are_found() {
        assert_eq!(all_results_same(&[got("a"), got("a")], |_| true), Ok(()));
        assert!(all_results_same(&[got("a"), got("b")], |_| true).is_err());
        assert!(all_results_same(&[got("a"), got("a")], |_| false).is_err(), "nobody put that");
        assert!(all_results_same(&[got("a"), asked(Call::Get, Fate::NotDone)], |_| true).is_err());
    }

    #[test]
    fn clients_that_wait_and_clients_that_should_are_found() {
        let waits = asked(Call::Put("a".into()), Fate::Unknown);
        assert_eq!(clients_done(&[got("a")]), Ok(()));
        assert!(clients_done(&[got("a"), waits.clone()]).is_err());
        assert!(clients_done(&[asked(Call::Get, Fate::NotDone)]).is_err());
        let chosen = |text| BTreeMap::from([(Slot(1), value(text))]);
        assert_eq!(none_decided(std::slice::from_ref(&waits), &chosen("b")), Ok(()));
        assert!(none_decided(&[waits], &chosen("a")).is_err(), "it is in the log");
        assert!(none_decided(&[got("a")], &BTreeMap::new()).is_err(), "it was answered");
    }

    #[test]
    fn appends_that_are_no_chain_are_found() {
        let append =
            |suffix: &str, value: &str| asked(Call::Append(suffix.into()), Fate::Done(1, Told::Appended(value.into())));
        assert_eq!(appends_linearizable(&[append("y", "xy"), append("x", "x"), append("z", "xyz")]), Ok(()));
        assert!(appends_linearizable(&[append("x", "x"), append("y", "y")]).is_err(), "one is lost");
        assert!(appends_linearizable(&[append("x", "x"), append("x", "x")]).is_err(), "the same twice");
        assert!(appends_linearizable(&[append("x", "x"), append("z", "yz")]).is_err(), "not what came before");
        assert!(appends_linearizable(&[append("x", "xy")]).is_err(), "it ends with something else");
        assert!(appends_linearizable(&[asked(Call::Append("x".into()), Fate::Unknown)]).is_err());
    }
}
