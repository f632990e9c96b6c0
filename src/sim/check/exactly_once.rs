//! What was acknowledged is executed once, at the place that was told, with the answer that was told; what a client was
//! told is not done never is.

use std::collections::{BTreeMap, BTreeSet};

use super::states::States;
use super::{Broken, Held};
use crate::paxos::{Bytes, Entry, Place, Slot, Value};
use crate::sim::history::Call;

/// What clients were told.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    /// Where, and how it was answered, by what was asked; every operation is asked once.
    done: BTreeMap<Bytes, (Place, Bytes)>,
    /// Where, by what clients were told of what they may ask twice, or whose answer was not kept.
    places: Vec<(Bytes, Place)>,
    not_done: Vec<Bytes>,
    /// Operations that no client ever sends twice.
    unique: BTreeSet<Bytes>,
}

const NAME: &str = "exactly_once";

impl ExactlyOnce {
    /// A client sends an operation.
    pub fn on_sent(&mut self, call: &Call, operation: &Bytes) {
        if !call.may_come_twice() {
            self.unique.insert(operation.clone());
        }
    }

    /// A client is told that its command is done.
    pub fn on_done(&mut self, operation: Bytes, place: Place, result: Bytes) -> Held {
        if !self.unique.contains(&operation) {
            self.places.push((operation, place));
            return Ok(());
        }
        match self.done.insert(operation, (place, result)) {
            None => Ok(()),
            Some((first, _)) => Err(Broken::new(NAME, format!("one command is done at {first} and at {place}"))),
        }
    }

    /// A client is told that its command is done, and that its answer was not kept.
    pub fn on_dropped(&mut self, operation: Bytes, place: Place) {
        self.places.push((operation, place));
    }

    /// A client is told that its command had no effect and never will.
    pub fn on_not_done(&mut self, operation: Bytes) {
        if self.unique.contains(&operation) {
            self.not_done.push(operation);
        }
    }

    /// The run is over: this was chosen, and so it was executed. Gives where each operation stands.
    ///
    /// # Errors
    /// What clients were told is not so.
    pub fn check(
        &self,
        chosen: &BTreeMap<Slot, Value>,
        states: &States,
    ) -> Result<BTreeMap<Bytes, Vec<Place>>, Broken> {
        let mut in_log: BTreeMap<Bytes, Vec<Place>> = BTreeMap::new();
        for (place, result) in states.executed().values() {
            let value = chosen.get(&place.slot).expect("executed because it is chosen");
            let operation = match value.entries().nth(place.index as usize - 1) {
                Some(Entry::Apply { operation, .. }) => operation,
                Some(Entry::Change { .. }) => continue,
                _ => return Err(Broken::new(NAME, format!("nothing to execute stands at {place}"))),
            };
            let operation = Bytes::from(operation);
            if let Some((told, answer)) = self.done.get(&operation)
                && (told, &**answer) != (place, &result[..])
            {
                let detail =
                    format!("{operation:?} was told done at {told}, and is executed at {place}, or answered otherwise");
                return Err(Broken::new(NAME, detail));
            }
            in_log.entry(operation).or_default().push(*place);
        }
        if let Some((operation, place)) = self
            .places
            .iter()
            .find(|(operation, place)| !in_log.get(operation).is_some_and(|held| held.contains(place)))
        {
            return Err(Broken::new(NAME, format!("{operation:?} was acknowledged at {place} and is not there")));
        }
        if let Some((operation, (place, _))) = self.done.iter().find(|(operation, _)| !in_log.contains_key(*operation))
        {
            return Err(Broken::new(NAME, format!("{operation:?} was acknowledged at {place} and is lost")));
        }
        if let Some(operation) = self.not_done.iter().find(|operation| in_log.contains_key(*operation)) {
            return Err(Broken::new(NAME, format!("{operation:?} was told to be not done, and is executed")));
        }
        if let Some((operation, places)) =
            in_log.iter().find(|(operation, places)| places.len() > 1 && self.unique.contains(*operation))
        {
            return Err(Broken::new(NAME, format!("{operation:?} is executed at {} and {}", places[0], places[1])));
        }
        Ok(in_log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Command, Sequence, SessionId, Stamp, Token};

    #[test]
    fn what_is_lost_or_never_should_have_been_is_found() {
        let mut states = States::default();
        states.on_token(Token(1));
        let apply = |sequence, text: &str| Command::Apply {
            session: SessionId(1),
            sequence: Sequence(sequence),
            done_below: Sequence(1),
            operation: text.into(),
        };
        let chosen = BTreeMap::from([
            (Slot(1), Value::batch(Stamp::default(), &[Command::Open { token: Token(1) }])),
            (Slot(2), Value::batch(Stamp::default(), &[apply(1, "a")])),
        ]);
        states.advance(&chosen).expect("in order");
        let (place, result) = states.executed()[&(SessionId(1), Sequence(1))].clone();
        let result = Bytes::from(result);

        let mut told = ExactlyOnce::default();
        told.on_sent(&Call::Get, &"a".into());
        told.on_done("a".into(), place, result.clone()).expect("once");
        assert_eq!(told.check(&chosen, &states), Ok(BTreeMap::from([("a".into(), vec![place])])));
        assert!(told.on_done("a".into(), place, result.clone()).is_err(), "twice");
        told.on_not_done("a".into());
        assert!(told.check(&chosen, &states).is_err(), "not done, and executed");

        let mut removed = ExactlyOnce::default();
        removed.on_sent(&Call::Delete, &"a".into());
        removed.on_done("a".into(), place, result.clone()).expect("it may be asked twice");
        removed.on_done("a".into(), place, result.clone()).expect("it may be asked twice");
        assert!(removed.check(&chosen, &states).is_ok());
        removed.on_dropped("a".into(), Place { index: place.index + 1, ..place });
        assert!(removed.check(&chosen, &states).is_err(), "another place");

        let mut lost = ExactlyOnce::default();
        lost.on_sent(&Call::Get, &"b".into());
        lost.on_done("b".into(), place, result).expect("once");
        assert!(lost.check(&chosen, &states).is_err(), "lost");
    }
}
