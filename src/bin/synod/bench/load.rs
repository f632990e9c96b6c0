//! Clients, each with a connection and a session of its own, and what they do.
//!
//! The load shares its processors with the nodes: what it does for each operation is kept small, and is measured too.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use synod::client::{Client, ClientError, ConnectOptions, Done};
use synod::machine::bank::{AccountName, Receipt, Transfer, TransferId};
use synod::net::cookie::Cookie;
use synod::paxos::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::history::{History, Line, Op};
use super::measured::{Fate, Recorder, When};
use super::nodes::{self, Spent};
use super::pace::{Pace, Turn};
use super::shown::Report;
use super::{BenchArgs, Mode, TRANSFERS};
use crate::answer::Failure;
use crate::backend;

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

/// How a load ended.
pub enum Ended {
    /// With a report; and what became of the history.
    Measured(Box<Report>, Result<(), Failure>),
    /// By a signal, before there was anything to report: the exit code.
    TooEarly(u8),
}

impl Load {
    /// Connects, fills the keys, warms up, and measures. When `interrupted` ends, it begins nothing more, and reports.
    pub async fn run(
        &self,
        history: Option<History>,
        interrupted: impl Future<Output = u8>,
        so_far: impl Fn(String),
    ) -> Result<Ended, Failure> {
        tokio::pin!(interrupted);
        let prepared = tokio::select! {
            prepared = self.prepare(history, &so_far) => prepared?,
            code = &mut interrupted => return Ok(Ended::TooEarly(code)),
        };
        let Prepared { clients, onlooker, history, epoch } = prepared;
        let shared = Arc::new(Shared::begin(&self.args, history, epoch)?);
        let mut workers = JoinSet::new();
        for (number, client) in (0..).zip(&clients) {
            for _ in 0..self.args.in_flight {
                let dice = SmallRng::seed_from_u64(u64::from(number) << 32 | workers.len() as u64);
                workers.spawn(work(client.clone(), number, dice, shared.clone()));
            }
        }
        let (spent, ended_by) = watch(&onlooker, &shared, &so_far, interrupted).await;
        so_far("waiting for what is under way".into());
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|error| Failure::not_done(format!("a client of the bench is gone: {error}")))?;
        }
        let history = lock(&shared.history).take();
        let report = Report {
            args: self.args.clone(),
            own_nodes: self.args.connect.is_empty(),
            recorder: lock(&shared.recorder).clone(),
            measured: shared.pace.ended().saturating_duration_since(shared.begin),
            never_begun: shared.pace.never_begun(),
            spent,
            ended_by,
        };
        let history = history.map_or(Ok(()), History::finish);
        match ended_by {
            Some(code) if report.measured.is_zero() => Ok(Ended::TooEarly(code)),
            _ => Ok(Ended::Measured(Box::new(report), history)),
        }
    }

    async fn prepare(&self, mut history: Option<History>, so_far: impl Fn(String)) -> Result<Prepared, Failure> {
        // First: when all places are taken, there is still one to look from.
        let onlooker = Client::connect(self.options(0)).await.map_err(backend::unreachable)?;
        let onlooker = onlooker.with_deadline(LOOK_WITHIN.min(self.args.deadline));
        let clients = self.connect(&so_far).await?;
        let epoch = Instant::now();
        if self.args.mode == Mode::Transfer {
            self.open_accounts(&clients[0], &so_far).await?;
        } else if self.args.mode != Mode::Write || history.is_some() {
            self.fill(&clients, history.as_mut(), epoch, &so_far).await?;
        }
        Ok(Prepared { clients, onlooker, history, epoch })
    }

    /// All clients, a few at a time, each with the nodes in another order.
    async fn connect(&self, so_far: impl Fn(String)) -> Result<Vec<Client>, Failure> {
        let count = usize::from(self.args.clients);
        let mut connected: Vec<Client> = Vec::with_capacity(count);
        while connected.len() < count {
            so_far(format!("connecting: {} of {count} clients", connected.len()));
            let mut several = JoinSet::new();
            for number in connected.len()..count.min(connected.len() + AT_ONCE) {
                several.spawn(Client::connect(self.options(number)));
            }
            while let Some(client) = several.join_next().await {
                connected.push(client.map_err(gone)?.map_err(|error| self.not_connected(connected.len(), error))?);
            }
        }
        Ok(connected)
    }

    fn not_connected(&self, before: usize, error: ClientError) -> Failure {
        let failure = backend::unreachable(error);
        if before == 0 {
            return failure;
        }
        let count = self.args.clients;
        Failure::not_done(format!("only {before} of {count} clients could connect: {failure}; give fewer --clients"))
    }

    fn options(&self, number: usize) -> ConnectOptions {
        let mut addresses = self.addresses.clone();
        let nodes = addresses.len();
        addresses.rotate_left(number % nodes.max(1));
        let mut options = ConnectOptions::new(addresses, self.cluster.clone(), self.cookie.clone());
        options.deadline = self.args.deadline;
        options
    }

    /// Opens the accounts, and gives each more than it can ever spend here.
    async fn open_accounts(&self, client: &Client, so_far: impl Fn(String)) -> Result<(), Failure> {
        let names = accounts(self.args.keys as usize);
        let mut open = 0;
        for some in names.chunks(AT_ONCE_OPENED) {
            so_far(format!("opening: {open} of {} accounts", names.len()));
            let deposit = |name: &AccountName| Transfer::deposit(TransferId(rand::random()), name.clone(), RICH);
            let deposits = some.iter().map(deposit).collect();
            let opened = async {
                client.open_accounts(some.to_vec()).await?;
                client.transfer(deposits).await
            };
            let opened = opened.await;
            opened.map_err(|error| Failure::not_done(format!("the accounts cannot be opened: {error}")))?;
            open += some.len();
        }
        Ok(())
    }

    /// Gives every key a value, so that reads find one.
    async fn fill(
        &self,
        clients: &[Client],
        mut history: Option<&mut History>,
        epoch: Instant,
        so_far: impl Fn(String),
    ) -> Result<(), Failure> {
        let count = self.args.keys as usize;
        let mut writing = JoinSet::new();
        let mut begun = 0;
        while begun < count || !writing.is_empty() {
            while begun < count && writing.len() < AT_ONCE {
                let number = begun % clients.len();
                let client = clients[number].clone();
                let (key, word) = (key(begun), format!("filled.{begun}"));
                let value = value(&word, self.args.value_size as usize);
                writing.spawn(async move {
                    let invoked = Instant::now();
                    let written = client.put(key.as_str(), value).await.map(drop);
                    (number as u32, key, word, invoked, written)
                });
                begun += 1;
            }
            if begun.is_multiple_of(1000) {
                so_far(format!("filling: {begun} of {count} keys"));
            }
            let Some(written) = writing.join_next().await else { break };
            let (client, key, word, invoked, written) = written.map_err(gone)?;
            written.map_err(|error| Failure::not_done(format!("the key {key} cannot be filled: {error}")))?;
            if let Some(history) = &mut history {
                let (invoke_ns, return_ns) = (since(epoch, invoked), Some(since(epoch, Instant::now())));
                let (op, fate) = (Op::Put, Fate::Done);
                let outcome = (&fate).into();
                history.write(&Line { client, op, key: &key, value: Some(&word), invoke_ns, return_ns, outcome });
            }
        }
        Ok(())
    }
}

/// Connected, and filled.
struct Prepared {
    clients: Vec<Client>,
    onlooker: Client,
    history: Option<History>,
    epoch: Instant,
}

/// What all workers share.
struct Shared {
    mode: Mode,
    keys: Vec<Bytes>,
    /// None, unless money is moved.
    accounts: Vec<AccountName>,
    /// How many transfers one operation holds.
    transfers: u32,
    value_size: usize,
    /// What is written if nobody wants to tell one write from another.
    value: Bytes,
    epoch: Instant,
    start: Instant,
    /// Of the measured time.
    begin: Instant,
    pace: Pace,
    recorder: Mutex<Recorder>,
    has_history: bool,
    history: Mutex<Option<History>>,
}

impl Shared {
    fn begin(args: &BenchArgs, history: Option<History>, epoch: Instant) -> Result<Shared, Failure> {
        let value_size = args.value_size as usize;
        let keys = (0..args.keys as usize).map(|number| Bytes::from(key(number))).collect();
        let accounts = if args.mode == Mode::Transfer { accounts(args.keys as usize) } else { Vec::new() };
        let start = Instant::now();
        let begin = start + args.warmup;
        let rate = args.rate.map(std::num::NonZero::get);
        Ok(Shared {
            mode: args.mode,
            keys,
            accounts,
            transfers: args.transfers.unwrap_or(TRANSFERS),
            value_size,
            value: Bytes::from(vec![b'x'; value_size]),
            epoch,
            start,
            begin,
            pace: Pace::begin(start, begin + args.duration, rate)?,
            recorder: Mutex::new(Recorder::new()),
            has_history: history.is_some(),
            history: Mutex::new(history),
        })
    }

    fn op(&self, dice: &mut SmallRng) -> Op {
        match self.mode {
            Mode::Write => Op::Put,
            Mode::Read => Op::Get,
            Mode::LocalRead => Op::GetLocal,
            Mode::Mixed if dice.random() => Op::Put,
            Mode::Mixed => Op::Get,
            Mode::Transfer => Op::Transfer,
        }
    }

    /// Between any two accounts.
    fn batch(&self, dice: &mut SmallRng) -> Vec<Transfer> {
        let count = self.accounts.len();
        let one = |_| {
            let from = dice.random_range(0..count);
            let to = (from + dice.random_range(1..count)) % count;
            let (from, to) = (self.accounts[from].clone(), self.accounts[to].clone());
            Transfer::between(TransferId(dice.random()), from, to, 1)
        };
        (0..self.transfers).map(one).collect()
    }

    fn record(&self, done: &Operation<'_>) {
        let Operation { op, turn, returned, fate, .. } = done;
        let took = returned.saturating_duration_since(turn.intended);
        let ended = match *returned {
            returned if returned < self.begin => When::WarmingUp,
            returned if returned <= self.pace.ended() => When::Within,
            _ => When::Behind,
        };
        lock(&self.recorder).record(op.is_read(), fate, took, ended);
        if self.has_history
            && let Some(history) = lock(&self.history).as_mut()
        {
            history.write(&done.line(self.epoch));
        }
    }
}

/// One operation that has ended.
struct Operation<'a> {
    client: u32,
    op: Op,
    key: &'a Bytes,
    /// What it wrote or read, if there is a history.
    word: Option<String>,
    turn: Turn,
    returned: Instant,
    fate: Fate,
}

impl Operation<'_> {
    fn line(&self, epoch: Instant) -> Line<'_> {
        Line {
            client: self.client,
            op: self.op,
            key: std::str::from_utf8(self.key).unwrap_or_default(),
            value: self.word.as_deref(),
            invoke_ns: since(epoch, self.turn.begins),
            return_ns: (self.fate == Fate::Done).then(|| since(epoch, self.returned)),
            outcome: (&self.fate).into(),
        }
    }
}

/// One operation after the other, until the time is over.
async fn work(client: Client, number: u32, mut dice: SmallRng, shared: Arc<Shared>) {
    while let Some(turn) = shared.pace.next().await {
        let op = shared.op(&mut dice);
        let key = &shared.keys[dice.random_range(0..shared.keys.len())];
        let mut word = None;
        let fate = match op {
            Op::Put => {
                let value = if shared.has_history {
                    let word = word.insert(format!("{number}.{:016x}", dice.random::<u64>()));
                    value(word, shared.value_size).into()
                } else {
                    shared.value.clone()
                };
                fate(client.put(key.clone(), value).await.map(drop))
            }
            Op::Transfer => fate(client.transfer(shared.batch(&mut dice)).await.and_then(all_done)),
            Op::Get | Op::GetLocal => {
                let read =
                    if op == Op::Get { client.get(key.clone()).await } else { client.get_local(key.clone()).await };
                if let (true, Ok(Some(value))) = (shared.has_history, &read) {
                    word = Some(word_of(value));
                }
                fate(read.map(drop))
            }
        };
        shared.record(&Operation { client: number, op, key, word, turn, returned: Instant::now(), fate });
    }
}

/// Looks at the nodes when the measured time begins and ends, and says meanwhile how it goes. Gives what they spent, and
/// the exit code of the signal that ended it early.
async fn watch(
    onlooker: &Client,
    shared: &Shared,
    so_far: &impl Fn(String),
    interrupted: impl Future<Output = u8>,
) -> (Spent, Option<u8>) {
    tokio::pin!(interrupted);
    let mut before = None;
    let mut ended_by = None;
    let mut seen = 0;
    let mut at = shared.start;
    while at < shared.pace.ended() {
        if at >= shared.begin && before.is_none() {
            before = Some(nodes::look(onlooker).await);
        }
        let next = (at + EVERY).min(if at < shared.begin { shared.begin } else { shared.pace.ended() });
        tokio::select! {
            () = sleep_until(next) => {}
            code = &mut interrupted, if ended_by.is_none() => {
                ended_by = Some(code);
                shared.pace.stop();
                break;
            }
        }
        let done = lock(&shared.recorder).done_so_far;
        let a_second = (done - seen) as f64 / (next - at).as_secs_f64().max(0.001);
        let left = shared.pace.ended().saturating_duration_since(next).as_secs_f64();
        let doing = if next <= shared.begin { "warming up" } else { "measuring" };
        so_far(format!("{doing}: {a_second:.0} operations a second, {left:.0} s left"));
        (seen, at) = (done, next);
    }
    let after = nodes::look(onlooker).await;
    (before.map_or_else(Spent::default, |before| Spent::between(&before, &after)), ended_by)
}

/// Everybody has enough, so that nothing is refused.
fn all_done(done: Done<Vec<Receipt>>) -> Result<(), ClientError> {
    match done.result.iter().find(|receipt| !receipt.outcome.is_done()) {
        Some(receipt) => Err(ClientError::Refused { reason: receipt.outcome.to_string() }),
        None => Ok(()),
    }
}

fn fate(result: Result<(), ClientError>) -> Fate {
    match result {
        Ok(()) => Fate::Done,
        Err(error @ (ClientError::Unknown { .. } | ClientError::ResultDropped { .. })) => {
            Fate::Unknown(error.to_string())
        }
        Err(error) => Fate::NotDone(error.to_string()),
    }
}

fn gone(error: JoinError) -> Failure {
    Failure::not_done(format!("a client of the bench is gone: {error}"))
}

/// What is locked is whole between any two statements, so that a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(epoch: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

fn key(number: usize) -> String {
    format!("bench-{number}")
}

fn accounts(count: usize) -> Vec<AccountName> {
    (0..count).map(|number| key(number).parse().expect("a name")).collect()
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
/// How many accounts are opened by one command.
const AT_ONCE_OPENED: usize = 5_000;
/// What each account gets.
const RICH: i64 = 1 << 40;
/// How often to say how it goes.
const EVERY: Duration = Duration::from_millis(500);
/// A node that does not say by then what it spent is left out.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::LONGEST_WORD;

    #[test]
    fn a_value_has_its_size_and_gives_its_word_back() {
        assert_eq!(value("3.abc", 32).len(), 32);
        assert_eq!(word_of(value("3.abc", 32).as_bytes()), "3.abc");
        assert_eq!(word_of(b"written by somebody else"), "written");
        assert_eq!(word_of(b""), "");
    }

    #[test]
    fn the_longest_word_leaves_room_for_the_space_behind_it() {
        let longest = format!("{}.{:016x}", u16::MAX, u64::MAX);
        assert!(longest.len() < LONGEST_WORD as usize && "filled.4294967295".len() < LONGEST_WORD as usize);
    }
}
