//! Many machines on one log: an operation says which machine it is for.
//!
//! ```text
//! operation, query   machine u8 · what that machine understands
//! answer             0 · what that machine answered
//!                    1 · why no machine was asked (CompositeError)
//! snapshot           format u32 · for each machine, ascending: machine u8, its snapshot
//! ```
//!
//! A machine that a snapshot does not mention starts empty, so that snapshots from before a machine was added restore.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kv::Kv;
use super::{Context, StateMachine};
use crate::codec;
use crate::paxos::Bytes;

/// Which machine an operation is for. A number, once given, is never used for another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum MachineId {
    /// The key-value store.
    Kv = 1,
    /// The bank. Reserved.
    Bank = 2,
    /// SQL tables. Reserved.
    Sql = 3,
}

impl MachineId {
    /// The machine of this number, if there is one.
    pub fn from_byte(byte: u8) -> Option<MachineId> {
        [MachineId::Kv, MachineId::Bank, MachineId::Sql].into_iter().find(|machine| *machine as u8 == byte)
    }

    /// An operation or a query for this machine, encoded and tagged.
    pub fn encode<T: Serialize + ?Sized>(self, operation: &T) -> Vec<u8> {
        let mut bytes = vec![self as u8];
        codec::encode_into(&mut bytes, operation);
        bytes
    }

    /// An operation or a query that is already encoded, tagged.
    pub fn tag(self, operation: &[u8]) -> Vec<u8> {
        [&[self as u8], operation].concat()
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MachineId::Kv => "kv",
            MachineId::Bank => "bank",
            MachineId::Sql => "sql",
        })
    }
}

/// The tag of an operation and the operation itself, for those who show logs.
pub fn untag(operation: &[u8]) -> Option<(MachineId, &[u8])> {
    let (&tag, operation) = operation.split_first()?;
    Some((MachineId::from_byte(tag)?, operation))
}

/// What the machine answered, taken out of a composite's answer.
///
/// # Errors
/// No machine was asked; or the bytes are no answer of a composite, which reads as [`CompositeError::Malformed`].
pub fn open_answer(answer: &[u8]) -> Result<&[u8], CompositeError> {
    match answer.split_first() {
        Some((&ANSWERED, answer)) => Ok(answer),
        Some((&FAILED, error)) => Err(codec::decode(error, MAX_ERROR_BYTES).unwrap_or(CompositeError::Malformed)),
        _ => Err(CompositeError::Malformed),
    }
}

/// Why no machine was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CompositeError {
    /// The bytes do not name a machine.
    Malformed,
    /// The nodes have no such machine.
    UnknownMachine {
        /// The number that was named.
        machine: u8,
    },
}

impl fmt::Display for CompositeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompositeError::Malformed => f.write_str("not an operation of any machine"),
            CompositeError::UnknownMachine { machine } => match MachineId::from_byte(*machine) {
                Some(name) => write!(f, "the nodes have no {name} machine"),
                None => write!(f, "the nodes have no machine of number {machine}"),
            },
        }
    }
}

impl std::error::Error for CompositeError {}

/// The machines side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Composite {
    kv: Kv,
}

impl Composite {
    /// The key-value store.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Every machine, ascending by number: the one list that queries, snapshots and digests go by.
    fn machines(&self) -> [(MachineId, &dyn StateMachine); 1] {
        [(MachineId::Kv, &self.kv)]
    }

    /// The same for those who change them.
    fn machines_mut(&mut self) -> [(MachineId, &mut dyn StateMachine); 1] {
        [(MachineId::Kv, &mut self.kv)]
    }
}

impl StateMachine for Composite {
    fn apply(&mut self, context: &Context, operation: &[u8]) -> Vec<u8> {
        let Some((&tag, operation)) = operation.split_first() else { return failed(CompositeError::Malformed) };
        match self.machines_mut().into_iter().find(|(machine, _)| *machine as u8 == tag) {
            Some((_, machine)) => answered(machine.apply(context, operation)),
            None => failed(CompositeError::UnknownMachine { machine: tag }),
        }
    }

    fn query(&self, question: &[u8]) -> Vec<u8> {
        let Some((&tag, question)) = question.split_first() else { return failed(CompositeError::Malformed) };
        match self.machines().into_iter().find(|(machine, _)| *machine as u8 == tag) {
            Some((_, machine)) => answered(machine.query(question)),
            None => failed(CompositeError::UnknownMachine { machine: tag }),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let machines = self.machines().map(|(machine, state)| (machine as u8, Bytes::from(state.snapshot())));
        codec::encode(&(SNAPSHOT_FORMAT, machines.as_slice()))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let (format, parts): (u32, Vec<(u8, Bytes)>) =
            codec::decode(snapshot, snapshot.len()).map_err(|_| "not a snapshot of the machines".to_string())?;
        if format != SNAPSHOT_FORMAT {
            return Err(format!("a snapshot of format {format}; this version reads {SNAPSHOT_FORMAT}"));
        }
        if parts.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err("a snapshot whose machines are not in order".to_string());
        }
        let mut restored = Composite::default();
        for (tag, part) in parts {
            let mut machines = restored.machines_mut().into_iter();
            match machines.find(|(machine, _)| *machine as u8 == tag) {
                Some((_, machine)) => machine.restore(&part)?,
                None => return Err(format!("the snapshot: {}", CompositeError::UnknownMachine { machine: tag })),
            }
        }
        *self = restored;
        Ok(())
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (machine, state) in self.machines() {
            hasher.update([machine as u8]);
            hasher.update(state.digest());
        }
        hasher.finalize().into()
    }
}

fn answered(mut answer: Vec<u8>) -> Vec<u8> {
    answer.insert(0, ANSWERED);
    answer
}

fn failed(error: CompositeError) -> Vec<u8> {
    let mut answer = vec![FAILED];
    codec::encode_into(&mut answer, &error);
    answer
}

const ANSWERED: u8 = 0;
const FAILED: u8 = 1;
const MAX_ERROR_BYTES: usize = 64;
const SNAPSHOT_FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::super::kv::{Answer, Operation, Query};
    use super::*;
    use crate::paxos::{Place, Slot};

    const CONTEXT: Context = Context { now_ms: 1, seed: 2, place: Place { slot: Slot(1), index: 1 } };

    fn put(key: &str, value: &str) -> Vec<u8> {
        MachineId::Kv.encode(&Operation::Put { key: key.as_bytes().into(), value: value.as_bytes().into() })
    }

    fn kv_answer(answer: &[u8]) -> Answer {
        Answer::decode(open_answer(answer).unwrap()).unwrap()
    }

    #[test]
    fn an_operation_reaches_its_machine() {
        let mut machines = Composite::default();
        assert_eq!(kv_answer(&machines.apply(&CONTEXT, &put("a", "1"))), Answer::Ok);
        let get = MachineId::Kv.encode(&Query::Get { key: b"a"[..].into() });
        assert_eq!(kv_answer(&machines.query(&get)), Answer::Value(Some(b"1"[..].into())));
        assert_eq!(MachineId::Kv.tag(&get[1..]), get);
        assert_eq!(untag(&get), Some((MachineId::Kv, &get[1..])));
    }

    #[test]
    fn an_unknown_machine_is_answered_with_an_error_and_changes_nothing() {
        let mut machines = Composite::default();
        let before = machines.clone();
        for tag in [0, MachineId::Bank as u8, MachineId::Sql as u8, 200] {
            let error = Err(CompositeError::UnknownMachine { machine: tag });
            assert_eq!(open_answer(&machines.apply(&CONTEXT, &[tag, 1])), error);
            assert_eq!(open_answer(&machines.query(&[tag, 1])), error);
        }
        assert_eq!(open_answer(&machines.apply(&CONTEXT, &[])), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&machines.query(&[])), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&[]), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&[9, 9]), Err(CompositeError::Malformed));
        assert_eq!(machines, before);
        let bank = CompositeError::UnknownMachine { machine: 2 };
        assert_eq!(bank.to_string(), "the nodes have no bank machine");
    }

    #[test]
    fn a_snapshot_restores_the_same_state_and_digest() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let mut other = Composite::default();
        assert_ne!(other.digest(), machines.digest());
        other.restore(&machines.snapshot()).unwrap();
        assert_eq!(other, machines);
        assert_eq!(other.digest(), machines.digest());
    }

    #[test]
    fn a_bad_snapshot_changes_nothing() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let before = machines.clone();
        let snapshot = machines.snapshot();
        for length in 0..snapshot.len() {
            assert!(machines.restore(&snapshot[..length]).is_err(), "cut at {length}");
        }
        let kv = Bytes::from(Kv::default().snapshot());
        for parts in [vec![(9u8, kv.clone())], vec![(1, kv.clone()), (1, kv.clone())], vec![(1, b"?"[..].into())]] {
            assert!(machines.restore(&codec::encode(&(SNAPSHOT_FORMAT, parts))).is_err());
        }
        assert!(machines.restore(&codec::encode(&(2u32, vec![(1u8, kv)]))).is_err());
        assert_eq!(machines, before);
    }

    #[test]
    fn a_machine_that_the_snapshot_does_not_mention_starts_empty() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        machines.restore(&codec::encode(&(SNAPSHOT_FORMAT, Vec::<(u8, Bytes)>::new()))).unwrap();
        assert_eq!(machines, Composite::default());
    }
}
