//! The backend of every day: a client of a running cluster.

use std::time::{Duration, Instant};

use synod::client::{Client, ClientError, ConnectOptions};
use synod::machine::kv::Scan;
use synod::net::cookie::Cookie;
use synod::net::report::{Inspection, Report};
use synod::paxos::{Ballot, Bytes, Place};
use tokio::runtime::Runtime;

use super::{Asked, Backend};
use crate::answer::{Failure, Pairs};
use crate::grammar::{Address, ConnectArgs};

/// A client, and the runtime on whose thread its connection lives while the prompt waits for a person.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    deadline: Duration,
}

impl Remote {
    /// Connects within the deadline.
    pub fn connect(args: &ConnectArgs, cookie: &Cookie) -> Result<Remote, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::not_done(format!("no thread for the client: {error}")))?;
        let addresses = args.connect.iter().map(Address::to_string).collect();
        let mut options = ConnectOptions::new(addresses, args.cluster.clone(), cookie.clone());
        options.deadline = args.deadline;
        let client = runtime.block_on(Client::connect(options)).map_err(unreachable)?;
        Ok(Remote { runtime, client, deadline: args.deadline })
    }

    /// The same for commands with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Remote {
        Remote { client: self.client.with_deadline(deadline), deadline, ..self }
    }

    /// The client itself, or one that talks to the named node only.
    fn through(&self, node: Option<&str>) -> Result<Client, Failure> {
        match node {
            Some(name) => {
                let begun = Instant::now();
                let client = self.runtime.block_on(self.client.on_node(name)).map_err(|error| match error {
                    ClientError::Connection { reason } => {
                        Failure::not_done(format!("{name} is down: {}", plain(&reason)))
                    }
                    error => failure(error),
                })?;
                // What follows has what is left of the command's deadline.
                Ok(client.with_deadline(self.deadline.saturating_sub(begun.elapsed())))
            }
            None => Ok(self.client.clone()),
        }
    }

    /// Many questions for one command, within its one deadline.
    fn within<T>(&self, calls: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        let late = || ClientError::NotDone { reason: "not all of it was read within the deadline".into() };
        self.run(async { tokio::time::timeout(self.deadline, calls).await.unwrap_or_else(|_| Err(late())) })
    }

    /// Waits for an answer, or for ctrl-C, which gives up the command and not the prompt.
    fn run<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = call => answer.map_err(failure),
                Ok(()) = tokio::signal::ctrl_c() => {
                    Err(Failure::unknown("interrupted: if it was a write, it may have been done, or may be yet"))
                }
            }
        })
    }
}

impl Backend for Remote {
    fn propose(&mut self, through: Option<&str>, value: Bytes) -> Result<(Place, Option<Ballot>), Failure> {
        let client = self.through(through)?;
        self.run(client.propose(value)).map(|done| (done.place, done.ballot))
    }

    fn decide(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.run(self.client.decide(key, value)).map(|done| done.result)
    }

    fn put(&mut self, key: Bytes, value: Bytes) -> Result<Place, Failure> {
        self.run(self.client.put(key, value)).map(|done| done.place)
    }

    fn get(&mut self, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.run(self.client.get(key))
    }

    fn get_local(&mut self, node: Option<&str>, key: Bytes) -> Result<Option<Bytes>, Failure> {
        let client = self.through(node)?;
        self.run(client.get_local(key))
    }

    fn append(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.run(self.client.append(key, value)).map(|done| done.result)
    }

    fn delete(&mut self, key: Bytes) -> Result<bool, Failure> {
        self.run(self.client.delete(key)).map(|done| done.result)
    }

    fn cas(&mut self, key: Bytes, expected: Option<Bytes>, new: Bytes) -> Result<Result<(), Option<Bytes>>, Failure> {
        self.run(self.client.cas(key, expected, new)).map(|done| done.result)
    }

    fn scan(&mut self, prefix: Bytes, limit: usize) -> Result<Pairs, Failure> {
        self.within(pages(&self.client, prefix, limit, false))
    }

    fn scan_local(&mut self, node: Option<&str>, prefix: Bytes, limit: usize) -> Result<Asked<Pairs>, Failure> {
        if let Some(name) = node {
            let client = self.through(node)?;
            return Ok(vec![(name.to_owned(), self.within(pages(&client, prefix, limit, true)))]);
        }
        // Whoever does not say how it stands is listed, and not asked again.
        let known = self.runtime.block_on(self.client.statuses());
        let ask = |(name, status): (String, Result<_, ClientError>)| {
            let pairs = status.map_err(silent).and_then(|_| {
                let client = self.through(Some(&name))?;
                self.run(pages(&client, prefix.clone(), limit, true))
            });
            (name, pairs)
        };
        Ok(known.into_iter().map(ask).collect())
    }

    fn inspect(&mut self, node: Option<&str>, inspection: Inspection) -> Result<Asked<Report>, Failure> {
        if let Some(name) = node {
            let client = self.through(node)?;
            return Ok(vec![(name.to_owned(), self.run(client.inspect(inspection)))]);
        }
        let all = self.runtime.block_on(self.client.inspect_all(inspection));
        Ok(all.into_iter().map(|(name, report)| (name, report.map_err(silent))).collect())
    }

    fn connect_node(&mut self, name: &str, address: &Address) -> Result<String, Failure> {
        self.run(self.client.connect_node(name, &address.to_string()))
    }

    fn node_names(&self) -> Vec<String> {
        self.client.node_names()
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// Pages until there are `limit` pairs or no more.
async fn pages(client: &Client, prefix: Bytes, limit: usize, local: bool) -> Result<Pairs, ClientError> {
    let mut pairs = Pairs::new();
    let mut after = None;
    while pairs.len() < limit {
        let left = u32::try_from(limit - pairs.len()).unwrap_or(u32::MAX);
        let scan = Scan { prefix: prefix.clone(), after: after.take(), limit: left, ..Scan::default() };
        let page = if local { client.scan_local(scan).await? } else { client.scan(scan).await? };
        pairs.extend(page.entries);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(pairs)
}

/// Why there is no cluster to talk to. If nobody listens, what helps is to start a node or to name another.
fn unreachable(error: ClientError) -> Failure {
    let failure = failure(error);
    let said = failure.to_string();
    if said.split("; ").all(|reason| reason.ends_with("Connection refused")) {
        return Failure::not_done(format!(
            "{said}: start a node there, or name one that runs with --connect HOST:PORT"
        ));
    }
    failure
}

/// Why one node of several says nothing.
fn silent(error: ClientError) -> Failure {
    match error {
        ClientError::Connection { reason } => Failure::not_done(plain(&reason)),
        error => failure(error),
    }
}

/// Without the numbers that systems give their errors.
fn plain(reason: &str) -> String {
    let mut plain = String::new();
    let mut rest = reason;
    while let Some((before, behind)) = rest.split_once(OS_ERROR) {
        plain.push_str(before);
        rest = behind.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn failure(error: ClientError) -> Failure {
    let message = plain(&error.to_string());
    match error.exit_code() {
        2 => Failure::usage(message),
        3 => Failure::unknown(message),
        _ => Failure::not_done(message),
    }
}

/// How the standard library introduces such a number.
const OS_ERROR: &str = " (os error ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_errors_are_left_out() {
        assert_eq!(
            plain("a:1: Connection refused (os error 111); b:2: no answer"),
            "a:1: Connection refused; b:2: no answer"
        );
        assert_eq!(plain("as it is (all of it)"), "as it is (all of it)");
    }
}
