//! How our types become bytes: the one module that knows bincode.
//!
//! The encoding is bincode 1.3.3 with fixed-width little-endian integers, and it is a format: journals and links hold
//! it. bincode 2 reads the same bytes in its `legacy` configuration, so a move would change this file only.
//!
//! Bytes to decode may come from a hostile peer or a rotten disk, hence three rules:
//! * slices only, never readers: from a reader, bincode allocates whatever a forged length asks for before it finds
//!   that the bytes are not there; from a slice it looks first;
//! * the limit is handed in by the caller, who knows what it expects, and is held against the slice itself: bincode's own
//!   limit does not count the contents of a run of bytes;
//! * bytes left over are an error, so that one value has one encoding.
//!
//! Types that travel are never recursive: a deep enough nesting would exhaust the stack, which no limit catches.

use std::fmt;

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The encoding of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, value);
    bytes
}

/// Adds the encoding of `value` to the end of `bytes`.
pub fn encode_into<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    options().serialize_into(bytes, value).expect("a Vec takes every byte, and our types know their lengths");
}

/// The value that `bytes` encode to the last byte. More than `limit` bytes are refused.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed(format!("{} bytes where at most {limit} are allowed", bytes.len())));
    }
    options().with_limit(limit as u64).deserialize(bytes).map_err(|error| Malformed(error.to_string()))
}

/// Bytes that do not encode what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed bytes: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

fn options() -> impl Options {
    // `DefaultOptions` already refuses trailing bytes; it is spelt out because `bincode::deserialize` does not.
    bincode::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{Ballot, Bytes, NodeId, Record, Slot, Value};

    fn vote() -> Record {
        Record::Vote { slot: Slot(3), ballot: Ballot::new(2, NodeId(1)), value: Value::no_op() }
    }

    #[test]
    fn what_is_encoded_reads_back() {
        let bytes = encode(&vote());
        assert_eq!(decode(&bytes, 1000), Ok(vote()));
    }

    #[test]
    fn every_truncation_and_a_byte_too_many_are_refused() {
        let bytes = encode(&vote());
        for length in 0..bytes.len() {
            assert!(decode::<Record>(&bytes[..length], 1000).is_err(), "cut at {length}");
        }
        assert!(decode::<Record>(&[&bytes[..], &[0]].concat(), 1000).is_err());
    }

    #[test]
    fn the_limit_holds() {
        let bytes = encode(&Bytes::from(vec![7; 100]));
        assert!(decode::<Bytes>(&bytes, 107).is_err());
        assert!(decode::<Bytes>(&bytes, 108).is_ok());
    }

    #[test]
    fn a_forged_length_is_refused_without_believing_it() {
        let forged = (1u64 << 40).to_le_bytes();
        assert!(decode::<Bytes>(&forged, usize::MAX).is_err());
        assert!(decode::<Vec<u64>>(&forged, usize::MAX).is_err());
    }
}
