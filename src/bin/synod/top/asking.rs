//! The thread that asks: all nodes at once, once every interval, whatever has become of them.
//!
//! A node that does not answer is given up after an interval, or after a second if that is longer, so that it holds up nobody
//! else. When none answers, the addresses that the user gave are tried anew: the cluster may have come back
//! elsewhere.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use synod::actors::events::wall_ms;
use synod::client::{Client, ClientError, ConnectOptions};
use synod::net::cookie::Cookie;
use tokio::sync::watch;

use super::measured::Sample;
use crate::answer::{Failure, PerNode};
use crate::backend::{absence, unreachable};
use crate::grammar::{Address, ConnectArgs};

/// Whoever holds it gets what the nodes say.
pub struct Asker {
    samples: mpsc::Receiver<Sample>,
    pace: watch::Sender<Pace>,
}

/// How often to ask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Between two questions.
    pub interval: Duration,
    /// Not at all for now.
    pub paused: bool,
}

impl Asker {
    /// Connects, and asks from then on. Fails if no node can be reached.
    pub fn begin(args: &ConnectArgs, cookie: &Cookie, interval: Duration) -> Result<Asker, Failure> {
        let addresses = args.connect.iter().map(Address::to_string).collect();
        let mut options = ConnectOptions::new(addresses, args.cluster.clone(), cookie.clone());
        options.deadline = args.deadline;
        let no_thread = |error: std::io::Error| Failure::not_done(format!("no thread that asks: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let (pace, paced) = watch::channel(Pace { interval, paused: false });
        let (sender, samples) = mpsc::channel();
        let (connects, connected) = mpsc::channel();
        let ask = move || {
            runtime.block_on(async {
                match Client::connect(options.clone()).await {
                    Ok(client) if connects.send(Ok(())).is_ok() => ask(client, options, paced, &sender).await,
                    Ok(_) => {}
                    Err(error) => drop(connects.send(Err(error))), // whoever began it has gone
                }
            });
        };
        thread::Builder::new().name("asking".to_owned()).spawn(ask).map_err(no_thread)?;
        let ended = || ClientError::NotDone { reason: ENDED.into() };
        connected.recv().unwrap_or_else(|_| Err(ended())).map_err(unreachable)?;
        Ok(Asker { samples, pace })
    }

    /// Waits for the next answers.
    pub fn next(&self) -> Result<Sample, Failure> {
        self.samples.recv().map_err(|_| Failure::not_done(ENDED))
    }

    /// The next answers, if they are there.
    pub fn try_next(&self) -> Result<Option<Sample>, Failure> {
        match self.samples.try_recv() {
            Ok(sample) => Ok(Some(sample)),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(Failure::not_done(ENDED)),
        }
    }

    /// Asks at this pace from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }
}

/// Until nobody listens any more.
async fn ask(
    mut client: Client,
    options: ConnectOptions,
    mut paced: watch::Receiver<Pace>,
    samples: &mpsc::Sender<Sample>,
) {
    let begun = Instant::now();
    let mut is_first = true;
    loop {
        let interval = paced.borrow().interval;
        let patience = interval.max(LEAST_PATIENCE).min(options.deadline);
        let (asked, at_ms) = (Instant::now(), wall_ms());
        let nodes = client.with_deadline(patience).statuses().await;
        if nodes.iter().all(|(_, status)| status.is_err())
            && let Ok(anew) = Client::connect(ConnectOptions { deadline: patience, ..options.clone() }).await
        {
            client = anew;
        }
        let part =
            |(node, status): (String, Result<_, _>)| PerNode { node, part: status.map(Box::new).map_err(absence) };
        let sample = Sample { at: asked - begun, at_ms, nodes: nodes.into_iter().map(part).collect() };
        if samples.send(sample).is_err() {
            return;
        }
        loop {
            let Pace { interval, paused } = *paced.borrow_and_update();
            // The first rates should not be long in coming.
            let wait = if is_first { interval.min(FIRST_RATES) } else { interval };
            tokio::select! {
                () = tokio::time::sleep_until((asked + wait).into()), if !paused => break,
                changed = paced.changed() => if changed.is_err() {
                    return;
                },
            }
        }
        is_first = false;
    }
}

const ENDED: &str = "the thread that asks the nodes has ended";
/// What a node is given to answer, however short the interval.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
/// Between the first question and the second.
const FIRST_RATES: Duration = Duration::from_secs(1);
