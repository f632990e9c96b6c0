//! When a node is to stop: on ctrl-C, on SIGTERM, or, if asked for, at the end of its standard input.

use std::io::{ErrorKind, Read};
use std::thread;

use tokio::sync::oneshot;

/// Ends when a stop was asked for.
pub async fn requested(name: String, until_stdin_closes: bool) {
    let (said, closed) = oneshot::channel::<()>();
    // A closed channel would be the end at once: without the wish, somebody must hold the sender.
    let held = if until_stdin_closes {
        watch_stdin(said);
        None
    } else {
        Some(said)
    };
    tokio::select! {
        () = interrupted() => log::info!("{name}: interrupted"),
        () = terminated() => log::info!("{name}: told to terminate"),
        _ = closed => log::info!("{name}: the standard input ended"),
    }
    drop(held);
}

/// A thread of its own: a blocked read of standard input cannot be cancelled, and must not hold up a runtime's end.
fn watch_stdin(closed: oneshot::Sender<()>) {
    let watch = move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 1024];
        loop {
            match stdin.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // The node may be stopping already.
        let _ = closed.send(());
    };
    if let Err(error) = thread::Builder::new().name("stdin".to_owned()).spawn(watch) {
        log::warn!("the end of the standard input will go unnoticed: {error}");
    }
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        log::warn!("ctrl-C will not stop the node in order: {error}");
        std::future::pending::<()>().await;
    }
}

async fn terminated() {
    #[cfg(unix)]
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
            return;
        }
        Err(error) => log::warn!("SIGTERM will not stop the node in order: {error}"),
    }
    std::future::pending().await
}
