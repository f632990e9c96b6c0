//! A machine that is as simple as a machine can be: an append-only list that answers its length.

use crate::paxos::dice::mix;
use crate::paxos::{Context, Frozen, StateMachine, Whole};

/// Every operation ever applied, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub entries: Vec<Vec<u8>>,
    pub folded: u64,
}

impl StateMachine for Ledger {
    fn apply(&mut self, context: &Context, operation: &[u8]) -> Vec<u8> {
        assert!(!self.entries.iter().any(|entry| entry == operation), "{operation:?} is executed twice");
        self.folded = operation.iter().fold(mix(self.folded ^ context.seed), |sum, byte| mix(sum ^ u64::from(*byte)));
        self.entries.push(operation.to_vec());
        (self.entries.len() as u64).to_le_bytes().to_vec()
    }

    fn query(&self, _question: &[u8]) -> Vec<u8> {
        (self.entries.len() as u64).to_le_bytes().to_vec()
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        let bytes = bincode::serialize(&(&self.entries, self.folded)).expect("plain bytes serialise");
        Whole::freeze(bytes, self.digest())
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let bytes = Whole::restore(parts);
        (self.entries, self.folded) = bincode::deserialize(&bytes).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn empty(&self) -> Ledger {
        Ledger::default()
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.folded.to_le_bytes());
        digest
    }
}

/// The length in an answer of a [`Ledger`].
pub fn length(result: &[u8]) -> u64 {
    u64::from_le_bytes(result.try_into().expect("a ledger answers eight bytes"))
}
