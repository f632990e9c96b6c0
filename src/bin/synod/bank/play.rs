//! Sets as they happen: nodes that live and die, clients that send, and the waiting until all agree.
//!
//! A row is sent when the one before it is answered, through the client that is named like its sender, so that the outcome
//! is that of reading the file from top to bottom. Every transfer has an id from the beginning: whatever becomes of a
//! sending, it is told again with the same id, and done once. While too few nodes live, clients keep their transfers, and
//! send them in order as soon as there are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use synod::machine::bank::{AccountName, Transfer, TransferId};
use synod::net::report::{Inspection, Report as Said, Status};

use super::book::Book;
use super::report::{Came, SetCame, Settled};
use super::script::{Row, Set, Step};
use crate::answer::{Answer, Failure, Leader};
use crate::backend::{self, Backend};
use crate::cookie;
use crate::demo::Running;
use crate::execute::{self, Leading};
use crate::grammar::NodeName;

/// The nodes, the clients, and what is known so far.
pub struct Play {
    running: Running,
    all: Vec<NodeName>,
    live: BTreeSet<String>,
    clients: BTreeMap<AccountName, Box<dyn Backend>>,
    /// What was not sent yet, with its id, in the order of the file.
    pending: Vec<(Row, TransferId)>,
    book: Book,
}

impl Play {
    /// On these nodes, which all live.
    pub fn begin(mut running: Running) -> Result<Play, Failure> {
        let accounts = running.backend().accounts()?;
        let book = Book(accounts.into_iter().map(|account| (account.name, account.balance)).collect());
        let all = running.names();
        let live = all.iter().map(|name| name.0.clone()).collect();
        Ok(Play { running, all, live, clients: BTreeMap::new(), pending: Vec::new(), book })
    }

    /// What was never sent, in the order of the file.
    pub fn pending(&self) -> Vec<Row> {
        self.pending.iter().map(|(row, _)| row.clone()).collect()
    }

    /// Plays a set.
    pub fn set(&mut self, set: &Set) -> Result<SetCame, Failure> {
        self.make_live(&set.live)?;
        let mut came = SetCame::of(set, self.has_quorum());
        let begun = Instant::now();
        if self.has_quorum() {
            came.led_by(self.leader()?);
            // First what earlier sets left behind.
            for (row, id) in std::mem::take(&mut self.pending) {
                came.settled.push(self.settle(&row, id)?);
            }
        }
        for step in &set.steps {
            match step {
                Step::Transfer(row) => {
                    let id = self.running.backend().new_id();
                    if self.has_quorum() {
                        came.settled.push(self.settle(row, id)?);
                    } else {
                        came.waiting.push(row.clone());
                        self.pending.push((row.clone(), id));
                    }
                }
                Step::LeaderFails => self.fail_leader(&mut came)?,
            }
        }
        came.took = begun.elapsed();
        if self.has_quorum() {
            came.agree = self.await_agreement();
            came.led_by(self.leader()?);
            let accounts = self.running.backend().accounts()?;
            let actual: BTreeMap<AccountName, i64> =
                accounts.into_iter().map(|account| (account.name, account.balance)).collect();
            let names: BTreeSet<&AccountName> = self.book.0.keys().chain(actual.keys()).collect();
            let both = |name: &&AccountName| (self.book.0.get(*name).copied(), actual.get(*name).copied());
            came.balances = names.iter().map(|name| ((*name).clone(), both(name))).collect();
        }
        Ok(came)
    }

    fn has_quorum(&self) -> bool {
        2 * self.live.len() > self.all.len()
    }

    /// Has these nodes live, and no others.
    fn make_live(&mut self, wanted: &[NodeName]) -> Result<(), Failure> {
        for name in self.all.clone() {
            match (wanted.contains(&name), self.live.contains(&name.0)) {
                (true, false) => {
                    let recovered = self.running.stage().recover(&name)?;
                    if let Answer::Recovered { address, .. } = recovered {
                        // Its address may be a new one. If nobody can be told now, it tells them itself when it dials.
                        let _ = self.running.backend().connect_node(&name.0, &address);
                    }
                    self.live.insert(name.0);
                }
                (false, true) => {
                    self.running.stage().fail(&name)?;
                    self.live.remove(&name.0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn leader(&mut self) -> Result<Leader, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            match execute::leader(self.running.backend())? {
                Leading::Known(leader) => return Ok(leader),
                Leading::Nobody { why, .. } if Instant::now() >= until => {
                    return Err(Failure::not_done(format!("nobody leads: {why}")));
                }
                Leading::Nobody { .. } => {}
            }
        }
    }

    /// Without a quorum there is no leader, and nobody fails.
    fn fail_leader(&mut self, came: &mut SetCame) -> Result<(), Failure> {
        if !self.has_quorum() {
            came.leaderless += 1;
            return Ok(());
        }
        let leader = self.leader()?;
        let name: NodeName = leader.name.parse().map_err(Failure::not_done)?;
        self.running.stage().fail(&name)?;
        self.live.remove(&name.0);
        came.failed.push(name.0);
        if self.has_quorum() {
            came.led_by(self.leader()?);
        }
        Ok(())
    }

    /// Tells a transfer until something comes of it.
    fn settle(&mut self, row: &Row, id: TransferId) -> Result<Settled, Failure> {
        let expected = self.book.settle(row);
        let begun = Instant::now();
        let transfer = Transfer::between(id, row.from.clone(), row.to.clone(), row.amount);
        loop {
            let client = self.client(&row.from)?;
            match client.transfer(transfer.clone()) {
                Ok((place, receipt)) => {
                    let place = receipt.before.unwrap_or(place);
                    let (row, came) = (row.clone(), Came { outcome: receipt.outcome, place });
                    return Ok(Settled { row, came, expected, took: begun.elapsed() });
                }
                Err(failure) if begun.elapsed() >= PATIENCE => return Err(failure),
                Err(_) => {}
            }
        }
    }

    fn client(&mut self, of: &AccountName) -> Result<&mut Box<dyn Backend>, Failure> {
        if !self.clients.contains_key(of) {
            let connect = &self.running.connect;
            let cookie = cookie::read(connect.cookie_file.as_deref())?;
            self.clients.insert(of.clone(), backend::connect(connect, &cookie)?);
        }
        Ok(self.clients.get_mut(of).expect("just made"))
    }

    /// Waits until all that live have executed the same, and hold the same. Whether they do.
    fn await_agreement(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = self.running.backend().inspect(None, Inspection::Status).unwrap_or_default();
            let statuses: Vec<Status> = asked
                .into_iter()
                .filter_map(|(name, said)| match said {
                    Ok(Said::Status(status)) if self.live.contains(&name) => Some(*status),
                    _ => None,
                })
                .collect();
            let highest = statuses.iter().map(|status| status.chosen_upto).max();
            let is_there =
                |status: &Status| Some(status.executed_upto) == highest && status.digest == statuses[0].digest;
            if statuses.len() == self.live.len() && statuses.iter().all(is_there) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

/// For an election, for an answer, for all to agree.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(20);
