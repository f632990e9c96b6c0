//! From the options to a running node.

use std::future::Future;

use synod::actors::{Join, NEWS, Node, NodeError, NodeOptions};
use synod::machine::Composite;
use synod::paxos::Settings;
use synod::storage;

use super::{Ready, StartOptions};
use crate::answer::Failure;
use crate::grammar::Address;

/// Runs a node until `stop` ends, or the node fails, or it has left its cluster. Says when it listens.
pub fn run_node(
    options: StartOptions,
    announce: impl FnOnce(&Ready) + 'static,
    stop: impl Future<Output = ()> + 'static,
) -> Result<(), Failure> {
    let failed = |error: NodeError| match error {
        NodeError::Options(why) => Failure::usage(why),
        error => Failure::not_done(error.to_string()),
    };
    let node = Node::start(node_options(options), Composite::default()).map_err(failed)?;
    let address: Address = node.address().parse().map_err(Failure::not_done)?;
    let listening: Address = node.listening().parse().map_err(Failure::not_done)?;
    announce(&Ready { name: node.name().to_owned(), process_id: std::process::id(), address, listening });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::not_done(format!("cannot wait for signals: {error}")))?;
    let stopper = node.stopper();
    let waited = std::thread::Builder::new().name("wait".to_owned()).spawn(move || node.wait());
    let waited = waited.map_err(|error| Failure::not_done(format!("no thread to wait for the node: {error}")))?;
    let ended = runtime.block_on(async move {
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let waiting = std::thread::Builder::new().name("ended".to_owned()).spawn(move || {
            // Nobody listens only when this function has returned.
            let _ = ended.send(waited.join());
        });
        drop(waiting);
        tokio::pin!(stop);
        tokio::pin!(has_ended);
        tokio::select! {
            ended = &mut has_ended => ended,
            () = &mut stop => {
                stopper.stop();
                has_ended.await
            }
        }
    });
    match ended {
        // That is what somebody asked for, and no failure.
        Ok(Ok(Err(NodeError::Left(news)))) => {
            log::info!(target: NEWS, "{news}");
            Ok(())
        }
        Ok(Ok(ended)) => ended.map_err(failed),
        _ => Err(Failure::not_done("the node's thread ended in a panic")),
    }
}

fn node_options(options: StartOptions) -> NodeOptions {
    NodeOptions {
        settings: settings(&options),
        journal: options.journal_limit.map_or_else(storage::Settings::default, journal),
        cluster: options.cluster,
        or_free_port: options.or_free_port,
        advertise: options.advertise.map(|address| address.to_string()),
        peers: options.peers.into_iter().map(|(name, address)| (name, address.to_string())).collect(),
        voters: options.voters,
        forsake: options.forsake,
        join: options.join.map(|through| match through {
            Some(address) => Join::Through(address.to_string()),
            None => Join::WhenAdded,
        }),
        ..NodeOptions::new(options.name, options.data, options.cookie).listen(options.listen.to_string())
    }
}

fn settings(options: &StartOptions) -> Settings {
    let defaults = Settings::default();
    Settings {
        window: options.window.unwrap_or(defaults.window),
        batch: options.batch.unwrap_or(defaults.batch),
        snapshot_bytes: options.snapshot_every.unwrap_or(defaults.snapshot_bytes),
        mark_ms: options.mark_every.map_or(defaults.mark_ms, |every| every.as_millis() as u64),
        election_ms: options.election_timeout.map_or(defaults.election_ms, |time| time.as_millis() as u64),
        ..defaults
    }
}

/// A journal is trimmed by whole segments: a short one has smaller ones, and no more of them.
fn journal(keep_bytes: u64) -> storage::Settings {
    let defaults = storage::Settings::default();
    let most_segments = defaults.keep_bytes / u64::from(defaults.segment_bytes);
    let segment_bytes = u32::try_from(keep_bytes / most_segments)
        .map_or(defaults.segment_bytes, |part| part.min(defaults.segment_bytes));
    let first_segment_bytes = defaults.first_segment_bytes.min(segment_bytes);
    storage::Settings { segment_bytes, first_segment_bytes, keep_bytes, ..defaults }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_journal_has_as_many_segments_as_a_long_one_at_most() {
        let defaults = storage::Settings::default();
        assert_eq!(journal(defaults.keep_bytes), defaults);
        assert_eq!(journal(u64::MAX), storage::Settings { keep_bytes: u64::MAX, ..defaults });
        let short = journal(4 << 20);
        assert_eq!((short.keep_bytes, short.segment_bytes, short.first_segment_bytes), (4 << 20, 256 << 10, 256 << 10));
    }

    /// The help names them.
    #[test]
    fn the_defaults_are_those_that_the_help_tells() {
        let (settings, journal) = (Settings::default(), storage::Settings::default());
        assert_eq!((journal.keep_bytes, settings.snapshot_bytes, settings.mark_ms), (1 << 30, 256 << 20, 10_000));
    }
}
