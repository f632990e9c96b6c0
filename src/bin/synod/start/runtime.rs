//! From the options to a running node.

use std::future::Future;

use super::{Ready, StartOptions};
use crate::answer::Failure;

/// Runs a node until `stop` ends or the node fails. Says when it listens.
pub fn run_node(
    options: StartOptions,
    _announce: impl FnOnce(&Ready) + 'static,
    _stop: impl Future<Output = ()> + 'static,
) -> Result<(), Failure> {
    log::debug!("starting {} in {}", options.name, options.data.display());
    Err(Failure::not_done("this build has no node yet: it cannot start one"))
}
