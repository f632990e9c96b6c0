//! How nodes and clients talk: frames, the wire codec, the handshake. Everything here but the socket tasks is sans-IO.

pub mod cookie;
pub mod report;
pub mod wire;
