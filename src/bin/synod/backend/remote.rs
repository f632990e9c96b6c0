//! The backend of every day: a client of a running cluster.

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
}

impl Remote {
    /// Connects within the deadline.
    pub fn connect(args: &ConnectArgs, cookie: &Cookie) -> Result<Remote, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::not_done(format!("no thread for the client: {error}")))?;
        let addresses = args.connect.iter().map(Address::to_string).collect();
        let mut options = ConnectOptions::new(addresses, args.cluster.clone(), cookie.clone());
        options.deadline = args.deadline;
        let client = runtime.block_on(Client::connect(options)).map_err(failure)?;
        Ok(Remote { runtime, client })
    }

    /// The client itself, or one that talks to the named node only.
    fn through(&self, node: Option<&str>) -> Result<Client, Failure> {
        match node {
            Some(name) => self.runtime.block_on(self.client.on_node(name)).map_err(failure),
            None => Ok(self.client.clone()),
        }
    }

    fn run<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        self.runtime.block_on(call).map_err(failure)
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
        self.run(pages(&self.client, prefix, limit, false))
    }

    fn scan_local(&mut self, node: Option<&str>, prefix: Bytes, limit: usize) -> Result<Asked<Pairs>, Failure> {
        if let Some(name) = node {
            let client = self.through(node)?;
            return Ok(vec![(name.to_owned(), self.run(pages(&client, prefix, limit, true)))]);
        }
        // Whoever is not reachable now is still listed, by the names that are known after this.
        let known = self.runtime.block_on(self.client.statuses());
        let ask = |(name, _): (String, _)| {
            let prefix = prefix.clone();
            let pairs = self.through(Some(&name)).and_then(|client| self.run(pages(&client, prefix, limit, true)));
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
        Ok(all.into_iter().map(|(name, report)| (name, report.map_err(failure))).collect())
    }

    fn connect_node(&mut self, name: &str, address: &Address) -> Result<String, Failure> {
        self.run(self.client.connect_node(name, &address.to_string()))
    }

    fn node_names(&self) -> Vec<String> {
        self.client.node_names()
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

fn failure(error: ClientError) -> Failure {
    let message = error.to_string();
    match error.exit_code() {
        2 => Failure::usage(message),
        3 => Failure::unknown(message),
        _ => Failure::not_done(message),
    }
}
