//! Frames of one type in, frames of another out, for tokio-util's `Framed`: [`super::frame`] and `crate::codec` put
//! together.
//!
//! A link between nodes writes without it ([`append`] many, write once); everyone reads with it.

use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, Encoder};

use super::frame::{self, FRAME_LIMIT, FrameError, Head};
use crate::codec;

/// Reads frames that hold an `In`, writes frames that hold an `Out`.
#[derive(Debug)]
pub struct FrameCodec<In, Out> {
    scratch: Vec<u8>,
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for FrameCodec<In, Out> {
    fn default() -> FrameCodec<In, Out> {
        FrameCodec { scratch: Vec::new(), types: PhantomData }
    }
}

impl<In: DeserializeOwned, Out> Decoder for FrameCodec<In, Out> {
    type Item = In;
    type Error = std::io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> std::io::Result<Option<In>> {
        match frame::head(source, FRAME_LIMIT).map_err(invalid)? {
            Head::Frame { payload, taken } => {
                let item = codec::decode(payload, FRAME_LIMIT).map_err(|_| invalid(FrameError::Malformed))?;
                source.advance(taken);
                Ok(Some(item))
            }
            Head::Partial { needed } => {
                // A header may promise 16 MiB and never send them: room grows with what has come.
                let missing = needed.saturating_sub(source.len());
                source.reserve(missing.min(source.len().max(LEAST_RESERVED)));
                Ok(None)
            }
        }
    }
}

impl<In, Out: Serialize> Encoder<Out> for FrameCodec<In, Out> {
    type Error = std::io::Error;

    fn encode(&mut self, item: Out, target: &mut BytesMut) -> std::io::Result<()> {
        self.scratch.clear();
        append(&mut self.scratch, &item).map_err(invalid)?;
        target.extend_from_slice(&self.scratch);
        self.scratch.shrink_to(MOST_KEPT);
        Ok(())
    }
}

/// Appends a frame that holds `item`. One over the limit leaves `buffer` as it was.
pub fn append<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, item: &T) -> Result<(), FrameError> {
    frame::append(buffer, FRAME_LIMIT, |buffer| codec::encode_into(buffer, item))
}

fn invalid(error: FrameError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

const LEAST_RESERVED: usize = 64 << 10;
const MOST_KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::wire::{KnownAddress, PeerFrame};

    fn sample() -> PeerFrame {
        PeerFrame::Addresses(vec![KnownAddress { name: "n1".into(), address: "a:1".into(), since_ms: 7 }])
    }

    #[test]
    fn frames_read_back_one_after_the_other() {
        let mut codec = FrameCodec::<PeerFrame, PeerFrame>::default();
        let mut bytes = BytesMut::new();
        codec.encode(sample(), &mut bytes).expect("short");
        codec.encode(sample(), &mut bytes).expect("short");
        let mut partial = BytesMut::from(&bytes[..bytes.len() - 1]);
        assert_eq!(codec.decode(&mut bytes).expect("sound"), Some(sample()));
        assert_eq!(codec.decode(&mut bytes).expect("sound"), Some(sample()));
        assert_eq!((codec.decode(&mut bytes).expect("sound"), bytes.len()), (None, 0));
        assert_eq!(codec.decode(&mut partial).expect("sound"), Some(sample()));
        assert_eq!(codec.decode(&mut partial).expect("sound"), None);
    }

    #[test]
    fn every_flipped_bit_is_refused_and_every_truncation_waits() {
        let mut frame = Vec::new();
        append(&mut frame, &sample()).expect("short");
        for bit in 0..frame.len() * 8 {
            let mut flipped = BytesMut::from(&frame[..]);
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = FrameCodec::<PeerFrame, ()>::default().decode(&mut flipped);
            assert!(!matches!(read, Ok(Some(_))), "bit {bit}");
        }
        for length in 0..frame.len() {
            let read = FrameCodec::<PeerFrame, ()>::default().decode(&mut BytesMut::from(&frame[..length]));
            assert!(matches!(read, Ok(None)), "cut at {length}");
        }
    }

    #[test]
    fn a_promise_of_many_bytes_reserves_few() {
        let header = [&(FRAME_LIMIT as u32).to_le_bytes()[..], &[0; 4]].concat();
        let mut source = BytesMut::from(&header[..]);
        assert!(matches!(FrameCodec::<PeerFrame, ()>::default().decode(&mut source), Ok(None)));
        assert!(source.capacity() < 2 * LEAST_RESERVED + HEADER_ROOM);
    }

    const HEADER_ROOM: usize = 1024;

    proptest! {
        #[test]
        fn a_sound_frame_of_garbage_never_panics(garbage: Vec<u8>) {
            let mut bytes = Vec::new();
            frame::append(&mut bytes, FRAME_LIMIT, |buffer| buffer.extend_from_slice(&garbage)).expect("short");
            let _ = FrameCodec::<PeerFrame, ()>::default().decode(&mut BytesMut::from(&bytes[..]));
        }
    }
}
