//! Frames: how a stream of bytes falls into pieces.
//!
//! ```text
//! length u32 · crc32c of the payload u32 · payload          (integers little-endian)
//! ```
//!
//! The length is checked against a limit before anything is reserved for it, the checksum before anyone looks at the
//! payload. The checksum finds accidents, not attackers. Absent: the meaning of a payload (`crate::codec`), sockets.

use std::fmt;

/// Bytes before the payload.
pub const HEADER: usize = 8;

/// The longest payload during a handshake, when nobody has proved anything yet.
pub const HANDSHAKE_LIMIT: usize = 8 << 10;

/// The longest payload afterwards.
pub const FRAME_LIMIT: usize = 16 << 20;

const _: () = assert!(HANDSHAKE_LIMIT < FRAME_LIMIT && FRAME_LIMIT < u32::MAX as usize);

/// What stands at the head of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// A whole frame.
    Frame {
        /// Its payload, whose checksum is right.
        payload: &'a [u8],
        /// How many bytes the frame takes, header included.
        taken: usize,
    },
    /// The beginning of a frame.
    Partial {
        /// How many bytes are needed, counted from the frame's beginning, before looking again is of use.
        needed: usize,
    },
}

/// Looks at the head of `bytes`.
pub fn head(bytes: &[u8], limit: usize) -> Result<Head<'_>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(Head::Partial { needed: HEADER });
    };
    let [a, b, c, d, crc @ ..] = *header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    let Some(payload) = rest.get(..length) else {
        return Ok(Head::Partial { needed: HEADER + length });
    };
    if crc32c::crc32c(payload) != u32::from_le_bytes(crc) {
        return Err(FrameError::Damaged);
    }
    Ok(Head::Frame { payload, taken: HEADER + length })
}

/// Appends a frame whose payload `fill` appends in place. A payload over the limit leaves `buffer` as it was.
pub fn append(buffer: &mut Vec<u8>, limit: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    fill(buffer);
    let length = buffer.len() - start - HEADER;
    if length > limit {
        buffer.truncate(start);
        return Err(FrameError::TooLong { length, limit });
    }
    let crc = crc32c::crc32c(&buffer[start + HEADER..]);
    let length = u32::try_from(length).expect("every limit lies below 4 GiB");
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// Why bytes are not a frame. The stream is of no use from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The payload is, or claims to be, over the limit.
    TooLong {
        /// In bytes.
        length: usize,
        /// In bytes.
        limit: usize,
    },
    /// The checksum is wrong.
    Damaged,
    /// The payload is whole, but not what it should be.
    Malformed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { length, limit } => {
                write!(f, "a frame of {length} bytes is over the limit of {limit} bytes")
            }
            FrameError::Damaged => f.write_str("a frame's checksum is wrong"),
            FrameError::Malformed => f.write_str("a frame's content is malformed"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        append(&mut buffer, FRAME_LIMIT, |buffer| buffer.extend_from_slice(payload)).expect("short");
        buffer
    }

    #[test]
    fn frames_read_back_one_after_the_other() {
        let bytes = [framed(b"one"), framed(b"")].concat();
        assert_eq!(head(&bytes, 3), Ok(Head::Frame { payload: b"one", taken: 11 }));
        assert_eq!(head(&bytes[11..], 3), Ok(Head::Frame { payload: b"", taken: 8 }));
    }

    #[test]
    fn every_truncation_asks_for_more_and_every_flip_is_refused_or_asks_for_more() {
        let bytes = framed(b"payload");
        for length in 0..bytes.len() {
            let needed = if length < HEADER { HEADER } else { bytes.len() };
            assert_eq!(head(&bytes[..length], 100), Ok(Head::Partial { needed }), "cut at {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(head(&flipped, 100), Ok(Head::Frame { .. })), "bit {bit}");
        }
    }

    #[test]
    fn a_length_bomb_is_refused_by_its_header_alone() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        let refused = Err(FrameError::TooLong { length: u32::MAX as usize, limit: FRAME_LIMIT });
        assert_eq!(head(&bytes, FRAME_LIMIT), refused);
    }

    #[test]
    fn a_payload_over_the_limit_is_not_written() {
        let mut buffer = b"before".to_vec();
        let refused = append(&mut buffer, 3, |buffer| buffer.extend_from_slice(b"four"));
        assert_eq!(refused, Err(FrameError::TooLong { length: 4, limit: 3 }));
        assert_eq!(buffer, b"before");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>, limit in 0..1000usize) {
            if let Ok(Head::Partial { needed }) = head(&bytes, limit) {
                prop_assert!(needed > bytes.len() && needed <= HEADER + limit);
            }
        }
    }
}
