//! The one place that turns values into bytes and back: bincode 1.3.3, fixed-width integers, little-endian.
//!
//! Decoding reads a slice and never a reader, under a limit, and refuses trailing bytes: a forged length fails at once
//! and allocates nothing. Whoever frames the bytes has checked their length and checksum before.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The encoded form of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, value);
    bytes
}

/// Appends the encoded form of `value`.
pub fn encode_into<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    options().serialize_into(buffer, value).expect("our types encode, and a Vec takes every byte");
}

/// Reads a `T` that fills `bytes` exactly. More than `limit` bytes are refused.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, Malformed> {
    if bytes.len() > limit {
        return Err(Malformed);
    }
    options().with_limit(limit as u64).deserialize(bytes).map_err(|_| Malformed)
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

/// Bytes that are not the value they should be.
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

    #[test]
    fn trailing_bytes_and_forged_lengths_are_refused() {
        let bytes = encode(&vec![1u8, 2, 3]);
        assert_eq!(decode::<Vec<u8>>(&bytes, 100), Ok(vec![1, 2, 3]));
        assert_eq!(decode::<Vec<u8>>(&bytes, bytes.len() - 1), Err(Malformed), "over the limit");
        assert_eq!(decode::<Vec<u8>>(&[&bytes[..], &[0]].concat(), 100), Err(Malformed), "a byte too many");
        assert_eq!(decode::<Vec<u8>>(&(1u64 << 40).to_le_bytes(), 100), Err(Malformed), "a length without its bytes");
    }
}
