//! Every key's history is linearizable: each operation seems to happen at one moment between its call and its answer.
//!
//! The search of Wing and Gong (1993) with Lowe's memory of what was tried (2017), key by key, which is enough because
//! linearizability is local (Herlihy and Wing 1990, theorem 1). It knows nothing of logs, slots or sessions: only what
//! clients asked and were told. An operation whose outcome is unknown may be placed anywhere after its call, or nowhere;
//! one that is not done nowhere. Operations that change nothing are placed as soon as they fit, which loses no solution.
//! What clients ask the bank is for another check ([`super::bank`]).
//! Where an operation stands in the log only says which one to try first: whatever order is found must stand by itself.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;

use crate::paxos::Bytes;
use crate::sim::hash::Fold;
use crate::sim::history::{Call, Fate, Operation, Told};

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none for this key; so many of its operations fit at most.
    Broken {
        /// The key.
        key: u32,
        /// How many operations could be placed in the best try.
        placed: usize,
    },
    /// The search was given up for this key.
    Undecided {
        /// The key.
        key: u32,
    },
}

/// How many placements are tried for one key before the search is given up.
pub const MOST_STEPS: usize = 400_000;

/// Whether a history is linearizable.
pub fn check(history: &[Operation]) -> Verdict {
    let mut keys: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| !operation.call.is_for_bank()) {
        let counts = match operation.fate {
            Fate::Done(..) => true,
            Fate::Unknown => !operation.call.is_read(),
            Fate::NotDone => false,
        };
        if counts {
            keys.entry(operation.key).or_default().push(operation);
        }
    }
    let mut undecided = None;
    for (key, operations) in keys {
        match Search::new(&operations).run() {
            Found::Order => {}
            Found::None { placed } => return Verdict::Broken { key, placed },
            Found::GivenUp => undecided = undecided.or(Some(key)),
        }
    }
    undecided.map_or(Verdict::Linearizable, |key| Verdict::Undecided { key })
}

enum Found {
    Order,
    None { placed: usize },
    GivenUp,
}

struct Search<'a> {
    operations: Vec<&'a Operation>,
    /// When each was answered, or never.
    returned_us: Vec<u64>,
    tried: HashSet<(Vec<u64>, Option<Bytes>), BuildHasherDefault<Fold>>,
}

#[derive(Clone)]
struct Partial {
    /// Which operations are placed, a bit each.
    placed: Vec<u64>,
    value: Option<Bytes>,
}

impl Partial {
    fn has(&self, index: usize) -> bool {
        self.placed[index / 64] & (1 << (index % 64)) != 0
    }

    fn place(&mut self, index: usize) {
        self.placed[index / 64] |= 1 << (index % 64);
    }
}

impl<'a> Search<'a> {
    fn new(operations: &[&'a Operation]) -> Search<'a> {
        let mut operations = operations.to_vec();
        operations.sort_by_key(|operation| operation.invoked_us);
        let returned = |operation: &&Operation| match operation.fate {
            Fate::Done(at_us, _) => at_us,
            Fate::Unknown | Fate::NotDone => u64::MAX,
        };
        let returned_us = operations.iter().map(returned).collect();
        Search { operations, returned_us, tried: HashSet::default() }
    }

    fn run(mut self) -> Found {
        let words = self.operations.len().div_ceil(64).max(1);
        let mut open = vec![Partial { placed: vec![0; words], value: None }];
        let mut best = 0;
        let mut steps = 0;
        while let Some(mut partial) = open.pop() {
            steps += 1;
            if steps > MOST_STEPS {
                return Found::GivenUp;
            }
            // What changes nothing is placed as soon as it fits.
            let candidates = loop {
                let candidates = self.candidates(&partial);
                let still = candidates.iter().copied().filter(|index| {
                    matches!(self.operations[*index].fate, Fate::Done(..))
                        && self.apply(*index, &partial.value).is_some_and(|value| value == partial.value)
                });
                let still: Vec<usize> = still.collect();
                if still.is_empty() {
                    break candidates;
                }
                still.into_iter().for_each(|index| partial.place(index));
            };
            best = best.max(partial.placed.iter().map(|word| word.count_ones() as usize).sum());
            let is_done = |index: usize| partial.has(index) || self.returned_us[index] == u64::MAX;
            if (0..self.operations.len()).all(is_done) {
                return Found::Order;
            }
            if !self.tried.insert((partial.placed.clone(), partial.value.clone())) {
                continue;
            }
            // The stack gives back what was pushed last first: the next of the log, or else one whose outcome is known.
            let mut candidates = candidates;
            let rank = |index: &usize| {
                let operation = self.operations[*index];
                (operation.place.is_none(), operation.place, self.returned_us[*index], operation.invoked_us)
            };
            candidates.sort_by_key(|index| std::cmp::Reverse(rank(index)));
            for index in candidates {
                if let Some(value) = self.apply(index, &partial.value) {
                    let mut next = Partial { placed: partial.placed.clone(), value };
                    next.place(index);
                    open.push(next);
                }
            }
        }
        Found::None { placed: best }
    }

    /// The operations that may come next: those that no unplaced one precedes in time.
    fn candidates(&self, partial: &Partial) -> Vec<usize> {
        let unplaced = (0..self.operations.len()).filter(|index| !partial.has(*index));
        let first_return = unplaced.clone().map(|index| self.returned_us[index]).min().unwrap_or(u64::MAX);
        unplaced.filter(|index| self.operations[*index].invoked_us <= first_return).collect()
    }

    /// The value behind an operation, if it can have been answered so.
    fn apply(&self, index: usize, value: &Option<Bytes>) -> Option<Option<Bytes>> {
        let operation = self.operations[index];
        let told = match &operation.fate {
            Fate::Done(_, told) => Some(told),
            Fate::Unknown | Fate::NotDone => None,
        };
        let (after, answer) = step(&operation.call, value);
        (told.is_none() || told == Some(&answer)).then_some(after)
    }
}

/// What an operation does to a key's value, and how it is answered.
fn step(call: &Call, value: &Option<Bytes>) -> (Option<Bytes>, Told) {
    match call {
        Call::Get => (value.clone(), Told::Value(value.clone())),
        Call::Put(new) => (Some(new.clone()), Told::Done),
        Call::Append(suffix) => {
            let new = Bytes::from([value.as_deref().unwrap_or_default(), suffix].concat());
            (Some(new.clone()), Told::Appended(new))
        }
        Call::Cas(expected, new) if expected == value => (Some(new.clone()), Told::Swapped),
        Call::Cas(..) => (value.clone(), Told::NotSwapped(value.clone())),
        Call::Delete => (None, Told::Deleted(value.is_some())),
        Call::Transfer(_) | Call::Accounts => unreachable!("of no key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(call: Call, invoked_us: u64, fate: Fate) -> Operation {
        Operation { client: 0, key: 0, call, invoked_us, fate, place: None }
    }

    fn put(value: &str, from: u64, to: u64) -> Operation {
        operation(Call::Put(value.into()), from, Fate::Done(to, Told::Done))
    }

    fn get(value: Option<&str>, from: u64, to: u64) -> Operation {
        operation(Call::Get, from, Fate::Done(to, Told::Value(value.map(Bytes::from))))
    }

    fn maybe(call: Call, from: u64) -> Operation {
        operation(call, from, Fate::Unknown)
    }

    fn is_linearizable(history: &[Operation]) -> bool {
        match check(history) {
            Verdict::Linearizable => true,
            Verdict::Broken { .. } => false,
            Verdict::Undecided { .. } => panic!("undecided"),
        }
    }

    #[test]
    fn histories_that_are_right() {
        assert!(is_linearizable(&[]));
        assert!(is_linearizable(&[put("a", 0, 1), get(Some("a"), 2, 3)]));
        assert!(is_linearizable(&[put("a", 0, 9), get(None, 1, 2), get(Some("a"), 3, 4)]), "it took effect in between");
        assert!(is_linearizable(&[put("a", 0, 5), put("b", 0, 5), get(Some("a"), 6, 7)]), "either came last");
        assert!(is_linearizable(&[maybe(Call::Put("a".into()), 0), get(None, 5, 6), get(Some("a"), 7, 8)]));
        assert!(is_linearizable(&[maybe(Call::Put("a".into()), 0), get(None, 5, 6)]), "it may never happen");
        let not_done = operation(Call::Put("a".into()), 0, Fate::NotDone);
        assert!(is_linearizable(&[not_done, get(None, 5, 6)]));
    }

    #[test]
    fn a_stale_read_is_found() {
        assert!(!is_linearizable(&[put("a", 0, 1), put("b", 2, 3), get(Some("a"), 4, 5)]));
        assert!(!is_linearizable(&[put("a", 0, 1), get(None, 2, 3)]));
    }

    #[test]
    fn a_lost_write_is_found() {
        assert!(!is_linearizable(&[put("a", 0, 1), get(Some("a"), 2, 3), get(None, 4, 5)]));
    }

    #[test]
    fn time_that_goes_back_between_readers_is_found() {
        let history = [put("a", 0, 1), put("b", 2, 20), get(Some("b"), 3, 5), get(Some("a"), 6, 8)];
        assert!(!is_linearizable(&history));
        let history = [maybe(Call::Put("b".into()), 0), get(Some("b"), 3, 5), get(None, 6, 8)];
        assert!(!is_linearizable(&history), "what was seen once stays");
    }

    #[test]
    fn what_was_not_done_and_is_seen_is_found() {
        let not_done = operation(Call::Put("a".into()), 0, Fate::NotDone);
        assert!(!is_linearizable(&[not_done, get(Some("a"), 5, 6)]));
        assert!(!is_linearizable(&[get(Some("never written"), 5, 6)]));
    }

    #[test]
    fn an_append_that_happens_twice_is_found() {
        let append = |suffix: &str, result: &str, from, to| {
            operation(Call::Append(suffix.into()), from, Fate::Done(to, Told::Appended(result.into())))
        };
        assert!(is_linearizable(&[append("x", "x", 0, 5), append("y", "xy", 1, 6)]));
        assert!(!is_linearizable(&[append("x", "x", 0, 1), append("y", "xxy", 2, 3)]));
        assert!(!is_linearizable(&[append("x", "yx", 0, 9), append("y", "xy", 0, 9)]), "each before the other");
    }

    #[test]
    fn a_swap_that_two_win_is_found() {
        let swap = |expected: &str, new: &str, from, to| {
            operation(Call::Cas(Some(expected.into()), new.into()), from, Fate::Done(to, Told::Swapped))
        };
        assert!(is_linearizable(&[put("a", 0, 1), swap("a", "b", 2, 9), swap("b", "c", 2, 9)]));
        assert!(!is_linearizable(&[put("a", 0, 1), swap("a", "b", 2, 9), swap("a", "c", 2, 9)]));
        let lost =
            operation(Call::Cas(Some("a".into()), "c".into()), 4, Fate::Done(5, Told::NotSwapped(Some("z".into()))));
        assert!(!is_linearizable(&[put("a", 0, 1), lost]));
    }

    #[test]
    fn keys_are_told_apart() {
        let mut other = put("b", 2, 3);
        other.key = 1;
        assert!(is_linearizable(&[put("a", 0, 1), other, get(Some("a"), 4, 5)]));
    }

    #[test]
    fn many_at_once_are_decided() {
        let mut history: Vec<Operation> = (0..9).map(|i| put(&i.to_string(), i, 100 + i)).collect();
        history.push(get(Some("7"), 200, 201));
        history.push(get(Some("7"), 202, 203));
        assert!(is_linearizable(&history));
        history.push(get(Some("8"), 204, 205));
        assert!(!is_linearizable(&history));
    }
}
