//! Typed calls: where the client meets a machine.
//!
//! The client carries bytes and knows no machine, a machine knows no client; what a call of one means to the other is
//! said here, one file per machine, as methods of [`Client`](crate::client::Client).

mod kv;

pub use kv::Page;
