//! The backend of every day: a client of a running cluster.

use std::time::{Duration, Instant};

use synod::client::{Client, ClientError, ConnectOptions};
use synod::machine::bank::{Account, AccountName, Receipt, Recorded, Transfer, TransferId};
use synod::machine::kv::Scan;
use synod::net::cookie::Cookie;
use synod::net::report::{Inspection, PeerStatus, Report, Status};
use synod::paxos::{Ballot, Bytes, NodeId, Place};
use tokio::runtime::Runtime;

use super::{Asked, Backend};
use crate::answer::{Absence, Failure, Pairs};
use crate::grammar::{Address, ConnectArgs};

/// A client, and the runtime on whose thread its connection lives while the prompt waits for a person.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    deadline: Duration,
    /// The last command was done: there is a cluster that serves.
    served: bool,
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
        Ok(Remote { runtime, client, deadline: args.deadline, served: false })
    }

    /// The same for commands with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Remote {
        Remote { client: self.client.with_deadline(deadline), deadline, ..self }
    }

    /// The client itself, or one that talks to the named node only.
    fn through(&mut self, node: Option<&str>) -> Result<Client, Failure> {
        match node {
            Some(name) => self.reach(name)?.map_err(|error| match error {
                ClientError::Usage { .. } => failure(error),
                error => Failure::not_done(format!("{name} {}", absence(error))),
            }),
            None => Ok(self.client.clone()),
        }
    }

    /// A client that talks to the named node only. What follows has what is left of the command's deadline.
    fn reach(&mut self, name: &str) -> Result<Result<Client, ClientError>, Failure> {
        // How the others stand says nothing of this one.
        self.served = false;
        let begun = Instant::now();
        let reached = self.wait(async { Ok(self.client.on_node(name).await) })?;
        Ok(reached.map(|client| client.with_deadline(self.deadline.saturating_sub(begun.elapsed()))))
    }

    /// A command for the state machines, through this client. Unless the last one was done, it is first asked whether
    /// there is a node that could do it: otherwise the client would try again until the deadline, and not know why.
    fn command<T, F>(&mut self, client: Client, call: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let begun = Instant::now();
        if !self.served {
            self.wait(until_served(&client, self.deadline))?;
        }
        let left = self.deadline.saturating_sub(begun.elapsed());
        let answer = self.run(call(client.with_deadline(left)));
        self.served = answer.is_ok();
        answer
    }

    /// Asks the named node for what it has executed; or every known node, one after the other.
    fn on_each<T, F>(&mut self, node: Option<&str>, ask: impl Fn(Client) -> F) -> Result<Asked<T>, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        if let Some(name) = node {
            let client = self.through(node)?;
            let found = self.command(client, ask)?;
            return Ok(vec![(name.to_owned(), Ok(found))]);
        }
        // Whoever does not say how it stands is listed, and not asked again.
        let known = self.wait(async { Ok(self.client.statuses().await) })?;
        let mut asked = Vec::new();
        for (name, status) in known {
            let found = match status {
                Err(error) => Err(absence(error)),
                Ok(status) if status.node.is_none() => Err(Absence::Unable(status.trouble.unwrap_or_default())),
                Ok(_) => match self.reach(&name)? {
                    Err(error) => Err(absence(error)),
                    Ok(client) => self.wait(async { Ok(ask(client).await) })?.map_err(absence),
                },
            };
            asked.push((name, found));
        }
        Ok(asked)
    }

    /// Waits for an answer, as [`Remote::wait`].
    fn run<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        self.wait(async { call.await.map_err(failure) })
    }

    /// Waits for an answer, or for ctrl-C, which gives up the command and not the prompt.
    fn wait<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = call => answer,
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
        self.command(client, |client| async move { client.propose(value).await }).map(|done| (done.place, done.ballot))
    }

    fn decide(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.command(self.client.clone(), |client| async move { client.decide(key, value).await })
            .map(|done| done.result)
    }

    fn put(&mut self, key: Bytes, value: Bytes) -> Result<Place, Failure> {
        self.command(self.client.clone(), |client| async move { client.put(key, value).await }).map(|done| done.place)
    }

    fn get(&mut self, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.command(self.client.clone(), |client| async move { client.get(key).await })
    }

    fn get_local(&mut self, node: Option<&str>, key: Bytes) -> Result<Option<Bytes>, Failure> {
        let client = self.through(node)?;
        self.command(client, |client| async move { client.get_local(key).await })
    }

    fn append(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.command(self.client.clone(), |client| async move { client.append(key, value).await })
            .map(|done| done.result)
    }

    fn delete(&mut self, key: Bytes) -> Result<bool, Failure> {
        self.command(self.client.clone(), |client| async move { client.delete(key).await }).map(|done| done.result)
    }

    fn cas(&mut self, key: Bytes, expected: Option<Bytes>, new: Bytes) -> Result<Result<(), Option<Bytes>>, Failure> {
        self.command(self.client.clone(), |client| async move { client.cas(key, expected, new).await })
            .map(|done| done.result)
    }

    fn scan(&mut self, prefix: Bytes, limit: usize) -> Result<Pairs, Failure> {
        let until = Instant::now() + self.deadline;
        self.command(self.client.clone(), |client| pages(client, prefix, limit, false, until))
    }

    fn scan_local(&mut self, node: Option<&str>, prefix: Bytes, limit: usize) -> Result<Asked<Pairs>, Failure> {
        let until = Instant::now() + self.deadline;
        self.on_each(node, move |client| pages(client, prefix.clone(), limit, true, until))
    }

    fn inspect(&mut self, node: Option<&str>, inspection: Inspection) -> Result<Asked<Report>, Failure> {
        if let Some(name) = node {
            let client = self.through(node)?;
            let unable = |error| Failure::not_done(format!("{name} {}", absence(error)));
            let report = self.wait(async { client.inspect(inspection).await.map_err(unable) })?;
            return Ok(vec![(name.to_owned(), Ok(report))]);
        }
        let all = self.wait(async { Ok(self.client.inspect_all(inspection).await) })?;
        Ok(all.into_iter().map(|(name, report)| (name, report.map_err(absence))).collect())
    }

    fn connect_node(&mut self, name: &str, address: &Address) -> Result<String, Failure> {
        self.run(self.client.connect_node(name, &address.to_string()))
    }

    fn standing(&mut self) -> Result<(Status, Option<Status>), Failure> {
        let own = self.run(self.client.status())?;
        if own.node.is_none() {
            let trouble = own.trouble.unwrap_or_default();
            return Err(Failure::not_done(format!("{} is {}, and knows no members: {trouble}", own.name, own.phase)));
        }
        let Some(leader) = own.leader.clone().filter(|leader| *leader != own.name) else { return Ok((own, None)) };
        let patience = ASKED_WITHIN.min(self.deadline);
        let client = self.client.with_deadline(patience);
        let asked = async { client.on_node(&leader).await?.status().await };
        let said = self.wait(async { Ok(tokio::time::timeout(patience, asked).await) })?;
        Ok((own, said.ok().and_then(Result::ok)))
    }

    fn bring_member(
        &mut self,
        name: &str,
        address: &Address,
        replace: Option<bool>,
    ) -> Result<(NodeId, Place), Failure> {
        let (name, address) = (name.to_owned(), address.to_string());
        let brought = self.command(self.client.clone(), |client| async move {
            match replace {
                Some(force) => client.replace_member(&name, &address, force).await,
                None => client.add_member(&name, &address).await,
            }
        });
        brought.map(|done| (done.result, done.place))
    }

    fn remove_member(&mut self, name: &str, force: bool) -> Result<(NodeId, Place), Failure> {
        let name = name.to_owned();
        let removed =
            self.command(self.client.clone(), |client| async move { client.remove_member(&name, force).await });
        removed.map(|done| (done.result, done.place))
    }

    fn transfer_leadership(&mut self, name: &str) -> Result<(), Failure> {
        self.run(self.client.transfer_leadership(name))
    }

    fn new_id(&mut self) -> TransferId {
        TransferId(rand::random())
    }

    fn open_accounts(&mut self, accounts: Vec<AccountName>) -> Result<Vec<bool>, Failure> {
        self.command(self.client.clone(), |client| async move { client.open_accounts(accounts).await })
            .map(|done| done.result)
    }

    fn transfer(&mut self, transfer: Transfer) -> Result<(Place, Receipt), Failure> {
        let done = self.command(self.client.clone(), |client| async move { client.transfer(vec![transfer]).await })?;
        Ok((done.place, done.result[0]))
    }

    fn account(&mut self, name: &AccountName) -> Result<Option<Account>, Failure> {
        let name = name.clone();
        self.command(self.client.clone(), |client| async move { client.account(name).await })
    }

    fn accounts(&mut self) -> Result<Vec<Account>, Failure> {
        self.command(self.client.clone(), |client| async move { client.accounts().await })
    }

    fn accounts_local(&mut self, node: Option<&str>) -> Result<Asked<Vec<Account>>, Failure> {
        self.on_each(node, |client| async move { client.accounts_local().await })
    }

    fn history(&mut self, account: &AccountName, limit: u32) -> Result<(Vec<Recorded>, bool), Failure> {
        let account = account.clone();
        self.command(self.client.clone(), |client| async move { client.history(account, None, limit).await })
            .map(|(transfers, next)| (transfers, next.is_some()))
    }

    fn reset_bank(&mut self) -> Result<(), Failure> {
        self.command(self.client.clone(), |client| async move { client.reset_bank().await }).map(|done| done.result)
    }

    fn receipt(&mut self, id: TransferId) -> Result<Option<Recorded>, Failure> {
        self.command(self.client.clone(), |client| async move { client.look_up_transfer(id).await })
    }

    fn node_names(&self) -> Vec<String> {
        self.client.node_names()
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// Pages until there are `limit` pairs or no more; all of them within the command's one deadline.
async fn pages(client: Client, prefix: Bytes, limit: usize, local: bool, until: Instant) -> Result<Pairs, ClientError> {
    let late = || ClientError::NotDone { reason: "not all of it was read within the deadline".into() };
    let read = tokio::time::timeout_at(until.into(), all_pages(&client, prefix, limit, local));
    read.await.unwrap_or_else(|_| Err(late()))
}

async fn all_pages(client: &Client, prefix: Bytes, limit: usize, local: bool) -> Result<Pairs, ClientError> {
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

/// Returns once some node serves; fails if none of those that answer does, and why. A node that knows where the other
/// founders are is given a moment to meet them. Nothing has been sent yet, so that it is certainly not done.
async fn until_served(client: &Client, deadline: Duration) -> Result<(), Failure> {
    let until = Instant::now() + FOUNDED_WITHIN.min(deadline);
    let client = client.with_deadline(ASKED_WITHIN.min(deadline));
    loop {
        match client.status().await {
            Ok(status) if status.node.is_none() => {}
            // Whether it is done, and if not, why, is for the command itself to find out.
            _ => return Ok(()),
        }
        let nodes = client.statuses().await;
        if nodes.iter().any(|(_, status)| status.as_ref().is_ok_and(|status| status.node.is_some())) {
            return Ok(());
        }
        let may_be_founded = nodes.iter().filter_map(|(_, status)| status.as_ref().ok()).any(meets_the_others);
        if !may_be_founded || Instant::now() >= until {
            let why = nodes.into_iter().map(|(name, status)| match status {
                Ok(status) => format!("{name} is {}: {}", status.phase, status.trouble.unwrap_or_default()),
                Err(error) => format!("{name} {}", absence(error)),
            });
            return Err(Failure::not_done(format!("not done: {}", why.collect::<Vec<_>>().join("; "))));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether a node is founding and knows where all others are, none of whom has refused it.
fn meets_the_others(status: &Status) -> bool {
    let may_meet = |peer: &PeerStatus| !peer.address.is_empty() && ["up", "down"].contains(&peer.link.as_str());
    status.phase == FOUNDING && status.peers.iter().all(may_meet)
}

/// Why there is no cluster to talk to. If nobody listens, what helps is to start a node or to name another.
pub fn unreachable(error: ClientError) -> Failure {
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
pub fn absence(error: ClientError) -> Absence {
    match error {
        ClientError::Connection { reason } => Absence::Down(reason),
        ClientError::Refused { reason } => Absence::Unable(reason),
        error => Absence::Unable(error.to_string()),
    }
}

fn failure(error: ClientError) -> Failure {
    let message = error.to_string();
    match error.exit_code() {
        2 => Failure::usage(message),
        3 => Failure::unknown(message),
        _ => Failure::not_done(message),
    }
}

/// The phase of a node that waits for other founders, as its status names it.
const FOUNDING: &str = "founding";
/// How long nodes that start at this moment are given to found their cluster.
const FOUNDED_WITHIN: Duration = Duration::from_secs(1);
/// How long a node is given to say how it stands.
const ASKED_WITHIN: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_that_may_meet_all_others_by_itself_is_waited_for() {
        let founding = |peers: &[(&str, &str)]| Status {
            phase: FOUNDING.into(),
            peers: peers
                .iter()
                .map(|(address, link)| PeerStatus {
                    name: "n2".into(),
                    address: (*address).into(),
                    voter: true,
                    link: (*link).into(),
                    round_trip_us: None,
                })
                .collect(),
            ..Status::default()
        };
        assert!(meets_the_others(&founding(&[("h:2", "down"), ("h:3", "up")])));
        assert!(!meets_the_others(&founding(&[("h:2", "up"), ("", "down")])), "nobody knows where");
        assert!(!meets_the_others(&founding(&[("h:2", "the cookies differ")])), "a person has to mend that");
        assert!(!meets_the_others(&Status { phase: "not voting".into(), ..Status::default() }), "broken");
    }
}
