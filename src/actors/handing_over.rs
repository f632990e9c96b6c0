//! Before a node stops in order: if it leads, another member takes over first, so that nobody has to notice that a leader
//! is gone, and no election is needed.
//!
//! Nobody waits long for that: who is to take over may be stopping, too.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::proposer::HandOverToAny;
use super::role::Look;
use super::stage::{Serving, Stage, Staged};
use crate::paxos::Proposer;
use crate::paxos::extension::NotHandedOver;

/// Has another member lead, and waits until this node follows it, but not longer than a moment. Without anybody to take
/// over it returns at once.
pub async fn before_a_stop(stage: &Stage) {
    let serving = match &*stage.borrow() {
        Staged::Serving(serving) => serving.clone(),
        _ => return,
    };
    // If that takes too long, the others find out by themselves. Until then this node leads on, and nobody waits.
    let _ = timeout(WITHIN, hand_over(&serving)).await;
}

async fn hand_over(serving: &Serving) {
    loop {
        match serving.proposer.send(HandOverToAny).await {
            // Whoever was asked may be stopping, too. Once nobody is there, that is said.
            Ok(Ok(())) => {
                if timeout(TAKES_OVER_WITHIN, follows_another(serving)).await.is_ok() {
                    return;
                }
            }
            // Under load everybody lags for a moment.
            Ok(Err(NotHandedOver::Behind { .. })) => sleep(LOOK_AGAIN).await,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn follows_another(serving: &Serving) {
    let own = serving.own;
    let follows = || Look::new(move |proposer: &Proposer| proposer.leader().is_some_and(|leader| leader.node != own));
    while let Ok(Some(false)) = serving.proposer.send(follows()).await {
        sleep(LOOK_AGAIN).await;
    }
}

const WITHIN: Duration = Duration::from_secs(1);
const TAKES_OVER_WITHIN: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
