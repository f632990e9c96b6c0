//! How nodes and clients talk: frames, the wire codec, the handshake. Everything here but the socket tasks is sans-IO.
//!
//! | file | what it holds |
//! |---|---|
//! | [`frame`] | length, checksum, payload: how a stream falls into pieces |
//! | [`wire`], [`report`] | what a payload says once a handshake has succeeded |
//! | [`handshake`], [`refusal`] | proving the cookie, introducing one another; why there is no link |
//! | [`cookie`] | the shared secret |
//! | [`identity`] | names, cluster ids, the founding of a cluster |
//! | [`addresses`] | `HOST:PORT`, and the book of who lives where |
//! | `codec`, `link` | with `runtime`: frames for tokio-util, connections |
//! | `cookie_file`, `address_file` | with `runtime`: what of this is kept on disk |

#[cfg(feature = "runtime")]
pub mod address_file;
pub mod addresses;
#[cfg(feature = "runtime")]
pub mod codec;
pub mod cookie;
#[cfg(feature = "runtime")]
pub mod cookie_file;
pub mod frame;
pub mod handshake;
pub mod identity;
#[cfg(feature = "runtime")]
pub mod link;
pub mod refusal;
pub mod report;
pub mod wire;
