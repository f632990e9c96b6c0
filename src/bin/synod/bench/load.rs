//! Clients, each with a connection and a session of its own, and what they do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use synod::client::{Client, ClientError, ConnectOptions};
use synod::net::cookie::Cookie;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::history::{History, Line};
use super::measured::{Fate, Recorder};
use super::nodes::{self, Spent};
use super::pace::Pace;
use super::shown::Report;
use super::{BenchArgs, Mode};
use crate::answer::Failure;

/// A load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where nodes are.
    pub addresses: Vec<String>,
    /// Their cluster.
    pub cluster: String,
    /// Its secret.
    pub cookie: Cookie,
    /// What is wanted.
    pub args: BenchArgs,
}

impl Load {
    /// Connects, fills the keys, warms up, and measures.
    pub async fn run(&self, history: Option<History>, so_far: impl Fn(String)) -> Result<Report, Failure> {
        let args = &self.args;
        let clients = self.connect(&so_far).await?;
        let onlooker = Client::connect(self.options(0)).await.map_err(unreachable)?;
        self.fill(&clients, &so_far).await?;

        let start = Instant::now();
        let begin = start + args.warmup;
        let end = begin + args.duration;
        let rate = args.rate.map(std::num::NonZero::get);
        let shared = Arc::new(Shared {
            start,
            begin,
            end,
            pace: Pace::begin(start, end, rate)?,
            recorder: Mutex::new(Recorder::new()),
            history: Mutex::new(history),
        });
        let mut workers = JoinSet::new();
        for (number, client) in (0..).zip(&clients) {
            for _ in 0..args.in_flight.get() {
                let dice = SmallRng::seed_from_u64(u64::from(number) << 32 | workers.len() as u64);
                workers.spawn(work(client.clone(), number, dice, args.clone(), shared.clone()));
            }
        }
        let watching = watch(&onlooker, &shared, &so_far).await?;
        so_far("waiting for what is under way".into());
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|error| Failure::not_done(format!("a client of the bench is gone: {error}")))?;
        }
        if let Some(history) = shared.history.lock().unwrap_or_else(PoisonError::into_inner).take() {
            history.finish()?;
        }
        Ok(Report {
            args: args.clone(),
            own_nodes: args.connect.is_empty(),
            recorder: shared.recorder().clone(),
            never_begun: shared.pace.never_begun(),
            spent: watching,
        })
    }

    /// All clients, a few at a time, each with the nodes in another order.
    async fn connect(&self, so_far: impl Fn(String)) -> Result<Vec<Client>, Failure> {
        let count = usize::from(self.args.clients.get());
        let mut connected: Vec<Client> = Vec::with_capacity(count);
        while connected.len() < count {
            so_far(format!("connecting: {} of {count} clients", connected.len()));
            let mut several = JoinSet::new();
            for number in connected.len()..count.min(connected.len() + AT_ONCE) {
                several.spawn(Client::connect(self.options(number)));
            }
            for client in several.join_all().await {
                connected.push(client.map_err(unreachable)?);
            }
        }
        Ok(connected)
    }

    fn options(&self, number: usize) -> ConnectOptions {
        let mut addresses = self.addresses.clone();
        let nodes = addresses.len();
        addresses.rotate_left(number % nodes.max(1));
        let mut options = ConnectOptions::new(addresses, self.cluster.clone(), self.cookie.clone());
        options.deadline = self.args.deadline;
        options
    }

    /// Gives every key a value, so that reads find one.
    async fn fill(&self, clients: &[Client], so_far: impl Fn(String)) -> Result<(), Failure> {
        if self.args.mode == Mode::Write && self.args.history.is_none() {
            return Ok(());
        }
        let keys = self.args.keys.get();
        let mut writing = JoinSet::new();
        for number in 0..keys {
            if writing.len() >= AT_ONCE
                && let Some(written) = writing.join_next().await
            {
                filled(written)?;
            }
            if number.is_multiple_of(1000) {
                so_far(format!("filling: {number} of {keys} keys"));
            }
            let client = clients[number as usize % clients.len()].clone();
            let value = value(&format!("filled.{number}"), self.args.value_size as usize);
            writing.spawn(async move { client.put(key(number), value).await.map(drop) });
        }
        while let Some(written) = writing.join_next().await {
            filled(written)?;
        }
        Ok(())
    }
}

/// What all workers share.
struct Shared {
    start: Instant,
    begin: Instant,
    end: Instant,
    pace: Pace,
    recorder: Mutex<Recorder>,
    history: Mutex<Option<History>>,
}

impl Shared {
    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One operation after the other, until the time is over.
async fn work(client: Client, number: u32, mut dice: SmallRng, args: BenchArgs, shared: Arc<Shared>) {
    while let Some(intended) = shared.pace.next().await {
        let key_number = dice.random_range(0..args.keys.get());
        let is_read = match args.mode {
            Mode::Write => false,
            Mode::Read | Mode::LocalRead => true,
            Mode::Mixed => dice.random(),
        };
        let key = key(key_number);
        let invoked = Instant::now();
        let (fate, word) = if is_read {
            let read = match args.mode {
                Mode::LocalRead => client.get_local(key.clone()).await,
                _ => client.get(key.clone()).await,
            };
            let word = read.as_ref().ok().and_then(|value| value.as_deref().map(word_of));
            (fate(read.map(drop)), word)
        } else {
            let word = format!("{number}.{:016x}", dice.random::<u64>());
            let written = client.put(key.clone(), value(&word, args.value_size as usize)).await;
            (fate(written.map(drop)), Some(word))
        };
        let returned = Instant::now();
        shared.recorder().record(
            is_read,
            &fate,
            returned - intended.min(invoked),
            intended >= shared.begin,
            returned >= shared.begin && returned <= shared.end,
        );
        if args.history.is_some()
            && let Some(history) = shared.history.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            let since = |at: Instant| at.saturating_duration_since(shared.start).as_nanos() as u64;
            history.write(&Line {
                client: number,
                is_read,
                key: &key,
                word: word.as_deref(),
                invoke_ns: since(invoked),
                return_ns: since(returned),
                fate: &fate,
            });
        }
    }
}

/// Looks at the nodes when the measured time begins and ends, and says meanwhile how it goes.
async fn watch(onlooker: &Client, shared: &Shared, so_far: &impl Fn(String)) -> Result<Spent, Failure> {
    let mut before = None;
    let mut seen = 0;
    let mut at = shared.start;
    loop {
        let next = (at + EVERY).min(if at < shared.begin { shared.begin } else { shared.end });
        sleep_until(next).await;
        let done = shared.recorder().done_so_far;
        let a_second = (done - seen) as f64 / (next - at).as_secs_f64().max(0.001);
        let left = shared.end.saturating_duration_since(next).as_secs_f64();
        let doing = if next <= shared.begin { "warming up" } else { "measuring" };
        so_far(format!("{doing}: {a_second:.0} operations a second, {left:.0} s left"));
        (seen, at) = (done, next);
        if at >= shared.begin && before.is_none() {
            before = Some(nodes::look(onlooker).await);
        }
        if at >= shared.end {
            break;
        }
    }
    let after = nodes::look(onlooker).await;
    Ok(Spent::between(&before.unwrap_or_default(), &after))
}

fn fate(result: Result<(), ClientError>) -> Fate {
    match result {
        Ok(()) => Fate::Done,
        Err(error) if error.exit_code() == 3 => Fate::Unknown(error.to_string()),
        Err(error) => Fate::NotDone(error.to_string()),
    }
}

fn filled(written: Result<Result<(), ClientError>, tokio::task::JoinError>) -> Result<(), Failure> {
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::not_done(format!("a key cannot be filled: {error}"))),
        Err(error) => Err(Failure::not_done(format!("a key cannot be filled: {error}"))),
    }
}

fn unreachable(error: ClientError) -> Failure {
    Failure::not_done(error.to_string())
}

fn key(number: u32) -> String {
    format!("bench-{number}")
}

/// A word, made as long as that.
fn value(word: &str, size: usize) -> String {
    let mut value = String::with_capacity(size.max(word.len() + 1));
    value.push_str(word);
    value.push(' ');
    value.extend(std::iter::repeat_n('x', size.saturating_sub(value.len())));
    value
}

/// The word of a value.
fn word_of(value: &[u8]) -> String {
    let word = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(word).into_owned()
}

/// How many connect, or are written, at the same time before the load begins.
const AT_ONCE: usize = 32;
/// How often to say how it goes.
const EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_its_size_and_gives_its_word_back() {
        assert_eq!(value("3.abc", 32).len(), 32);
        assert_eq!(word_of(value("3.abc", 32).as_bytes()), "3.abc");
        assert_eq!(word_of(b"written by somebody else"), "written");
        assert_eq!(word_of(b""), "");
    }
}
