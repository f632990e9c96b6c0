//! Many machines on one log: an operation says which machine it is for.
//!
//! ```text
//! operation, query   machine u8 · what that machine understands
//! answer             0 · what that machine answered
//!                    1 · why no machine was asked (CompositeError)
//! snapshot           a part: 0 · format u32
//!                    for each machine, ascending, its parts, each: machine u8 · the machine's part
//! ```
//!
//! A machine that a snapshot does not mention starts empty, and one that is as in the beginning is not mentioned, neither
//! in a snapshot nor in the digest (but for the first one, which always was): snapshots from before a machine was added
//! restore, and nodes agree with those that do not know it yet, until somebody uses it.

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bank::Bank;
use super::kv::Kv;
use super::{Context, Frozen, StateMachine};
use crate::codec;

/// Which machine an operation is for. A number, once given, is never used for another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum MachineId {
    /// The key-value store.
    Kv = 1,
    /// The bank.
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
    bank: Bank,
}

impl Composite {
    /// The key-value store.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// The bank.
    pub fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Every machine, ascending by number: the one list that everything goes by.
    fn machines(&self) -> [(MachineId, &dyn StateMachine); 2] {
        [(MachineId::Kv, &self.kv), (MachineId::Bank, &self.bank)]
    }

    /// Those that snapshots and digests mention, each with its digest.
    fn mentioned(&self) -> impl Iterator<Item = (MachineId, &dyn StateMachine, [u8; 32])> {
        static INITIAL: OnceLock<[[u8; 32]; 2]> = OnceLock::new();
        let initial = INITIAL.get_or_init(|| Composite::default().machines().map(|(_, state)| state.digest()));
        let with_digests = self.machines().into_iter().map(|(machine, state)| (machine, state, state.digest()));
        let counts =
            |((machine, _, digest), initial): &((MachineId, _, _), _)| *machine == MachineId::Kv || digest != *initial;
        with_digests.zip(initial).filter(counts).map(|(counted, _)| counted)
    }

    /// The same as [`Composite::machines`] for those who change them.
    fn machines_mut(&mut self) -> [(MachineId, &mut dyn StateMachine); 2] {
        [(MachineId::Kv, &mut self.kv), (MachineId::Bank, &mut self.bank)]
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

    fn freeze(&self) -> Box<dyn Frozen> {
        let machines = self.mentioned().map(|(machine, state, _)| (machine, state.freeze())).collect();
        Box::new(FrozenMachines { machines, digest: self.digest() })
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let head = parts.next().ok_or("not a snapshot of the machines")?;
        let Some((&NO_MACHINE, format)) = head.split_first() else {
            return Err("not a snapshot of the machines".to_string());
        };
        if *format != SNAPSHOT_FORMAT.to_le_bytes() {
            return Err(format!("a snapshot of another format; this version reads {SNAPSHOT_FORMAT}"));
        }
        let mut restored = Composite::default();
        let mut parts = parts.peekable();
        let mut before = NO_MACHINE;
        while let Some(tag) = parts.peek().map(|part| part.first().copied().unwrap_or(NO_MACHINE)) {
            if tag <= before {
                return Err("a snapshot whose machines are not in order".to_string());
            }
            before = tag;
            let mut own = std::iter::from_fn(|| {
                let mut part = parts.next_if(|part| part.first() == Some(&tag))?;
                part.remove(0);
                Some(part)
            });
            let mut machines = restored.machines_mut().into_iter();
            match machines.find(|(machine, _)| *machine as u8 == tag) {
                Some((_, machine)) => machine.restore(&mut own)?,
                None => return Err(format!("the snapshot: {}", CompositeError::UnknownMachine { machine: tag })),
            }
        }
        *self = restored;
        Ok(())
    }

    fn empty(&self) -> Composite {
        Composite::default()
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (machine, _, digest) in self.mentioned() {
            hasher.update([machine as u8]);
            hasher.update(digest);
        }
        hasher.finalize().into()
    }
}

/// The machines' states, side by side.
struct FrozenMachines {
    machines: Vec<(MachineId, Box<dyn Frozen>)>,
    digest: [u8; 32],
}

impl Frozen for FrozenMachines {
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        let head = [&[NO_MACHINE][..], &SNAPSHOT_FORMAT.to_le_bytes()].concat();
        let tagged = self.machines.iter().flat_map(|(machine, state)| {
            state.parts().map(|mut part| {
                part.insert(0, *machine as u8);
                part
            })
        });
        Box::new(std::iter::once(head).chain(tagged))
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
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
/// No machine has this number: what it tags is the snapshot's own.
const NO_MACHINE: u8 = 0;
const SNAPSHOT_FORMAT: u32 = 2;

#[cfg(test)]
mod tests {
    use super::super::bank;
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
        for tag in [0, MachineId::Sql as u8, 200] {
            let error = Err(CompositeError::UnknownMachine { machine: tag });
            assert_eq!(open_answer(&machines.apply(&CONTEXT, &[tag, 1])), error);
            assert_eq!(open_answer(&machines.query(&[tag, 1])), error);
        }
        assert_eq!(open_answer(&machines.apply(&CONTEXT, &[])), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&machines.query(&[])), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&[]), Err(CompositeError::Malformed));
        assert_eq!(open_answer(&[9, 9]), Err(CompositeError::Malformed));
        assert_eq!(machines, before);
        let sql = CompositeError::UnknownMachine { machine: 3 };
        assert_eq!(sql.to_string(), "the nodes have no sql machine");
    }

    fn parts(machine: &dyn StateMachine) -> Vec<Vec<u8>> {
        machine.freeze().parts().collect()
    }

    #[test]
    fn a_snapshot_restores_the_same_state_and_digest() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let mut other = machines.empty();
        assert_ne!(other.digest(), machines.digest());
        other.restore(&mut machines.freeze().parts()).unwrap();
        assert_eq!(other, machines);
        assert_eq!(machines.freeze().digest(), machines.digest());
        assert_eq!(parts(&other), parts(&machines));
    }

    #[test]
    fn a_bad_snapshot_changes_nothing() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let before = machines.clone();
        let whole = parts(&machines);
        let mut refused = |parts: Vec<Vec<u8>>, what: &str| {
            assert!(machines.restore(&mut parts.into_iter()).is_err(), "{what}");
        };
        refused(vec![], "nothing");
        for cut in [0, 2] {
            refused(whole[..cut].to_vec(), "parts are missing");
        }
        for part in 0..whole.len() {
            for length in 0..whole[part].len() {
                let mut hurt = whole.clone();
                hurt[part].truncate(length);
                refused(hurt, "a part is cut");
            }
        }
        let head = || whole[0].clone();
        refused(vec![head(), vec![9]], "no such machine");
        refused([vec![head()], whole[1..].to_vec(), whole[1..].to_vec()].concat(), "a machine twice");
        refused(vec![head(), head()], "two heads");
        refused(vec![vec![NO_MACHINE, 1, 0, 0, 0]], "another format");
        assert_eq!(machines, before);
    }

    #[test]
    fn a_machine_counts_once_it_is_used() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let tags = |machines: &Composite| parts(machines).iter().map(|part| part[0]).collect::<Vec<_>>();
        assert_eq!(tags(&machines), [NO_MACHINE, 1, 1]);
        let only_kv = Sha256::digest([&[MachineId::Kv as u8][..], &machines.kv.digest()].concat());
        assert_eq!(machines.digest()[..], only_kv[..]);
        let before = machines.digest();
        machines
            .apply(&CONTEXT, &MachineId::Bank.encode(&bank::Operation::Open { accounts: vec!["x".parse().unwrap()] }));
        assert_eq!(tags(&machines), [NO_MACHINE, 1, 1, 2, 2]);
        assert_ne!(machines.digest(), before);
        let mut other = machines.empty();
        other.restore(&mut machines.freeze().parts()).unwrap();
        assert_eq!((&other, other.digest()), (&machines, machines.digest()));
    }

    #[test]
    fn a_machine_that_the_snapshot_does_not_mention_starts_empty() {
        let mut machines = Composite::default();
        machines.apply(&CONTEXT, &put("a", "1"));
        let head = parts(&machines).remove(0);
        machines.restore(&mut [head].into_iter()).unwrap();
        assert_eq!(machines, Composite::default());
    }
}
