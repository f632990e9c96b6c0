//! The actix shells.
//!
//! | file | what it holds |
//! |---|---|
//! | [`peer`] | the TCP codec actor: one per remote node |

pub mod peer;
