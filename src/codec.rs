//! One binary encoding for everything that leaves a process: operations, answers, snapshots, frames.
//!
//! Integers have their fixed width, little-endian; a run of bytes has its length before it; an enum begins with the
//! number of its variant, as a `u32`. One value has one encoding, and an encoding is read to its last byte: bytes left
//! over are an error. Reading never allocates more than `limit` bytes' worth, whatever lengths the input claims.
//!
//! Absent on purpose: readers and writers. Whoever has a stream frames it first.

use bincode::Options;
use serde::{Deserialize, Serialize};

/// Encodes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, value);
    bytes
}

/// Encodes a value behind what `bytes` already holds.
pub fn encode_into<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    let options = bincode::DefaultOptions::new().with_fixint_encoding();
    options.serialize_into(bytes, value).expect("a Vec takes every byte, and our types know their lengths");
}

/// Reads a value from all of `bytes`, which may be `limit` bytes long at most.
///
/// # Errors
/// [`Malformed`], if the bytes are too many, too few, or not the encoding of a `T`.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], limit: usize) -> Result<T, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed);
    }
    let options = bincode::DefaultOptions::new().with_fixint_encoding().with_limit(bytes.len() as u64);
    options.deserialize(bytes).map_err(|_| Malformed)
}

/// Bytes that are not the encoding of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed bytes")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Bytes;

    #[test]
    fn what_is_encoded_reads_back() {
        let value = (7u16, Bytes::from(&b"abc"[..]), Some(9u64));
        let bytes = encode(&value);
        assert_eq!(bytes, b"\x07\0\x03\0\0\0\0\0\0\0abc\x01\x09\0\0\0\0\0\0\0");
        assert_eq!(decode(&bytes, bytes.len()), Ok(value));
    }

    #[test]
    fn every_truncation_and_every_surplus_is_refused() {
        let bytes = encode(&(7u16, Bytes::from(&b"abc"[..])));
        for length in 0..bytes.len() {
            assert_eq!(decode::<(u16, Bytes)>(&bytes[..length], 100), Err(Malformed), "cut at {length}");
        }
        assert_eq!(decode::<(u16, Bytes)>(&[&bytes[..], &[0]].concat(), 100), Err(Malformed));
        assert_eq!(decode::<(u16, Bytes)>(&bytes, bytes.len() - 1), Err(Malformed), "above the limit");
    }

    #[test]
    fn a_length_from_outside_allocates_nothing() {
        assert_eq!(decode::<Bytes>(&u64::MAX.to_le_bytes(), 1 << 20), Err(Malformed));
        assert_eq!(decode::<Vec<u64>>(&u64::MAX.to_le_bytes(), 1 << 20), Err(Malformed));
    }
}
