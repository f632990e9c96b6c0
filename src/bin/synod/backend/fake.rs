//! A cluster without nodes, for tests: it remembers keys, and says of its nodes what the test told it to.

use std::collections::BTreeMap;
use std::time::Duration;

use synod::machine::bank::{self, Account, AccountName, Receipt, Recorded, Transfer, TransferId};
use synod::machine::kv::Operation;
use synod::machine::{Bank, Context, MachineId};
use synod::net::report::{
    EntryReport, Inspection, LogReport, MemberStanding, MemberStatus, PeerStatus, Report, SlotReport, SlotState,
    Status, ViewChange,
};
use synod::paxos::{Ballot, Bytes, Incarnation, NodeId, Place, Sequence, SessionId, Slot, Token};

use super::{Asked, Backend};
use crate::answer::{Absence, Failure, Pairs};
use crate::grammar::Address;

/// Keys, decisions, and three nodes, of which n3 does not answer.
#[derive(Default)]
pub struct Fake {
    pub pairs: BTreeMap<Bytes, Bytes>,
    pub decided: BTreeMap<Bytes, Bytes>,
    pub proposals: Vec<(Option<String>, Bytes)>,
    pub connected: Vec<(String, String)>,
    /// What was done to the members, and who was made leader.
    pub changes: Vec<String>,
    /// Answers the next command in its place.
    pub next: Option<Failure>,
    /// Nobody leads.
    pub leaderless: bool,
    /// Nobody answers.
    pub silent: bool,
    /// n2 answers, but has no log yet.
    pub founding: bool,
    /// The real one.
    pub bank: Bank,
    /// The ids that were given out.
    pub ids: u128,
}

impl Fake {
    /// With these keys.
    pub fn with(pairs: &[(&str, &[u8])]) -> Fake {
        let pairs = pairs.iter().map(|(key, value)| (Bytes::from(key.as_bytes()), Bytes::from(*value)));
        Fake { pairs: pairs.collect(), ..Fake::default() }
    }

    fn disturbed(&mut self) -> Result<(), Failure> {
        self.next.take().map_or(Ok(()), Err)
    }

    /// Every command is in slot 12.
    fn operate(&mut self, operation: bank::Operation) -> Result<bank::Answer, Failure> {
        self.disturbed()?;
        let context = Context { now_ms: 951_782_400_000, seed: 0, place: AT };
        self.bank.execute(&context, operation).map_err(|error| Failure::not_done(error.to_string()))
    }

    fn ask(&mut self, query: &bank::Query) -> Result<bank::Answer, Failure> {
        self.disturbed()?;
        Ok(self.bank.ask(query))
    }

    fn report(&self, name: &str, inspection: &Inspection) -> Result<Report, Absence> {
        if name == "n3" || self.silent {
            return Err(Absence::Down("connection refused".into()));
        }
        if name == "n2" && self.founding && *inspection != Inspection::Status {
            return Err(Absence::Unable("waits to meet n3".into()));
        }
        let first = name == "n1";
        Ok(match inspection {
            Inspection::Status => Report::Status(Box::new(self.status(first))),
            Inspection::Log { first: from, upto } => {
                let mut log = log(first);
                log.slots.retain(|report| (*from..=*upto).contains(&report.slot));
                Report::Log(log)
            }
            Inspection::View => Report::View(views(first)),
        })
    }

    fn status(&self, first: bool) -> Status {
        let link = |name: &str, port: u16, link: &str| PeerStatus {
            name: name.to_owned(),
            address: Address::loopback(port).to_string(),
            voter: true,
            link: link.to_owned(),
            round_trip_us: (first && link == "up").then_some(310),
        };
        let (name, id, other) = if first { ("n1", 1, ("n2", 7102)) } else { ("n2", 2, ("n1", 7101)) };
        Status {
            name: name.to_owned(),
            node: Some(NodeId(id)),
            cluster: "synod".to_owned(),
            cluster_id: "c".repeat(64),
            address: Address::loopback(7100 + u16::try_from(id).unwrap()).to_string(),
            process_id: 100 + id,
            phase: if first && !self.leaderless { "leading" } else { "following" }.to_owned(),
            leader: (!self.leaderless).then(|| "n1".to_owned()),
            ballot: Ballot::new(3, NodeId(1)),
            promised: Ballot::new(3, NodeId(1)),
            trimmed_upto: Slot(1),
            snapshot_upto: Slot(2),
            executed_upto: Slot(4),
            chosen_upto: Slot(4),
            last_slot: Slot(5),
            digest: "d".repeat(64),
            peers: vec![link(other.0, other.1, "up"), link("n3", 7103, "down")],
            members: members(first),
            ..Status::default()
        }
    }
}

impl Backend for Fake {
    fn propose(&mut self, through: Option<&str>, value: Bytes) -> Result<(Place, Option<Ballot>), Failure> {
        self.disturbed()?;
        self.proposals.push((through.map(str::to_owned), value));
        Ok((Place { slot: Slot(12), index: 1 }, Some(Ballot::new(3, NodeId(1)))))
    }

    fn decide(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.disturbed()?;
        Ok(self.decided.entry(key).or_insert(value).clone())
    }

    fn put(&mut self, key: Bytes, value: Bytes) -> Result<Place, Failure> {
        self.disturbed()?;
        self.pairs.insert(key, value);
        Ok(Place { slot: Slot(12), index: 3 })
    }

    fn get(&mut self, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.disturbed()?;
        Ok(self.pairs.get(&key).cloned())
    }

    fn get_local(&mut self, node: Option<&str>, key: Bytes) -> Result<Option<Bytes>, Failure> {
        match node {
            Some("n1" | "n2") | None => self.get(key),
            Some(other) => Err(Failure::not_done(format!("there is no node {other}"))),
        }
    }

    fn append(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure> {
        self.disturbed()?;
        let whole = self.pairs.entry(key).or_default();
        *whole = Bytes::from([&whole[..], &value[..]].concat());
        Ok(whole.clone())
    }

    fn delete(&mut self, key: Bytes) -> Result<bool, Failure> {
        self.disturbed()?;
        Ok(self.pairs.remove(&key).is_some())
    }

    fn cas(&mut self, key: Bytes, expected: Option<Bytes>, new: Bytes) -> Result<Result<(), Option<Bytes>>, Failure> {
        self.disturbed()?;
        let actual = self.pairs.get(&key).cloned();
        if actual != expected {
            return Ok(Err(actual));
        }
        self.pairs.insert(key, new);
        Ok(Ok(()))
    }

    fn scan(&mut self, prefix: Bytes, limit: usize) -> Result<Pairs, Failure> {
        self.disturbed()?;
        let found = self.pairs.iter().filter(|(key, _)| key.starts_with(&prefix));
        Ok(found.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan_local(&mut self, node: Option<&str>, prefix: Bytes, limit: usize) -> Result<Asked<Pairs>, Failure> {
        let pairs = self.scan(prefix, limit)?;
        let names = node.map_or_else(|| self.node_names(), |node| vec![node.to_owned()]);
        let behind = || pairs.iter().skip(1).cloned().collect();
        let of = |name: String| match name.as_str() {
            "n1" => (name, Ok(pairs.clone())),
            "n2" => (name, Ok(behind())),
            _ => (name, Err(Absence::Down("connection refused".into()))),
        };
        Ok(names.into_iter().map(of).collect())
    }

    fn inspect(&mut self, node: Option<&str>, inspection: Inspection) -> Result<Asked<Report>, Failure> {
        self.disturbed()?;
        let names = node.map_or_else(|| self.node_names(), |node| vec![node.to_owned()]);
        Ok(names.into_iter().map(|name| (name.clone(), self.report(&name, &inspection))).collect())
    }

    fn connect_node(&mut self, name: &str, address: &Address) -> Result<String, Failure> {
        self.disturbed()?;
        self.connected.push((name.to_owned(), address.to_string()));
        Ok(name.to_owned())
    }

    fn standing(&mut self) -> Result<(Status, Option<Status>), Failure> {
        self.disturbed()?;
        Ok((self.status(false), (!self.leaderless).then(|| self.status(true))))
    }

    fn bring_member(
        &mut self,
        name: &str,
        address: &Address,
        replace: Option<bool>,
    ) -> Result<(NodeId, Place), Failure> {
        self.disturbed()?;
        self.changes.push(format!("{name} at {address}, replace: {replace:?}"));
        let number = name.trim_start_matches('n').parse().unwrap();
        Ok((NodeId(number), Place { slot: Slot(12), index: 1 }))
    }

    fn remove_member(&mut self, name: &str, force: bool) -> Result<(NodeId, Place), Failure> {
        self.disturbed()?;
        self.changes.push(format!("{name} goes, force: {force}"));
        Ok((NodeId(2), Place { slot: Slot(12), index: 1 }))
    }

    fn transfer_leadership(&mut self, name: &str) -> Result<(), Failure> {
        self.disturbed()?;
        self.changes.push(format!("{name} leads"));
        Ok(())
    }

    fn new_id(&mut self) -> TransferId {
        self.ids += 1;
        TransferId(self.ids)
    }

    fn open_accounts(&mut self, accounts: Vec<AccountName>) -> Result<Vec<bool>, Failure> {
        match self.operate(bank::Operation::Open { accounts })? {
            bank::Answer::Opened { new } => Ok(new),
            other => panic!("{other:?}"),
        }
    }

    fn transfer(&mut self, transfer: Transfer) -> Result<(Place, Receipt), Failure> {
        match self.operate(bank::Operation::Transfer { transfers: vec![transfer] })? {
            bank::Answer::Transferred { receipts } => Ok((AT, receipts[0])),
            other => panic!("{other:?}"),
        }
    }

    fn account(&mut self, name: &AccountName) -> Result<Option<Account>, Failure> {
        match self.ask(&bank::Query::Account { name: name.clone() })? {
            bank::Answer::Account(account) => Ok(account),
            other => panic!("{other:?}"),
        }
    }

    fn accounts(&mut self) -> Result<Vec<Account>, Failure> {
        match self.ask(&bank::Query::Accounts { after: None, limit: 0 })? {
            bank::Answer::Accounts { accounts, next: None } => Ok(accounts),
            other => panic!("{other:?}"),
        }
    }

    /// n2 has executed nothing.
    fn accounts_local(&mut self, node: Option<&str>) -> Result<Asked<Vec<Account>>, Failure> {
        let accounts = self.accounts()?;
        let names = node.map_or_else(|| self.node_names(), |node| vec![node.to_owned()]);
        let of = |name: String| match name.as_str() {
            "n1" => (name, Ok(accounts.clone())),
            "n2" => (name, Fake::default().accounts().map_err(|_| Absence::Unable(String::new()))),
            _ => (name, Err(Absence::Down("connection refused".into()))),
        };
        Ok(names.into_iter().map(of).collect())
    }

    fn history(&mut self, account: &AccountName, limit: u32) -> Result<(Vec<Recorded>, bool), Failure> {
        match self.ask(&bank::Query::History { account: account.clone(), before: None, limit })? {
            bank::Answer::Transfers { transfers, next } => Ok((transfers, next.is_some())),
            other => panic!("{other:?}"),
        }
    }

    fn reset_bank(&mut self) -> Result<(), Failure> {
        self.operate(bank::Operation::Reset).map(drop)
    }

    fn receipt(&mut self, id: TransferId) -> Result<Option<Recorded>, Failure> {
        match self.ask(&bank::Query::Transfer { id })? {
            bank::Answer::Transfer(transfer) => Ok(transfer),
            other => panic!("{other:?}"),
        }
    }

    fn node_names(&self) -> Vec<String> {
        ["n1", "n2", "n3"].map(str::to_owned).to_vec()
    }

    fn deadline(&self) -> Duration {
        Duration::ZERO
    }
}

const AT: Place = Place { slot: Slot(12), index: 1 };

/// n3 goes, and n4 catches up; only the leader, n1, knows how far they are.
fn members(leads: bool) -> Vec<MemberStatus> {
    let member = |id: u32, standing, executed: u64| MemberStatus {
        name: format!("n{id}"),
        node: NodeId(id),
        incarnation: Incarnation(u128::from(id)),
        standing,
        executed_upto: (leads && executed > 0).then_some(Slot(executed)),
    };
    vec![
        member(1, MemberStanding::Voter, 4),
        member(2, MemberStanding::Voter, 4),
        member(3, MemberStanding::Leaving { from: Slot(1030) }, 0),
        member(4, MemberStanding::Newcomer, 1),
    ]
}

/// Slot 1 is cleared, 2 and 3 are executed, 4 is a no-op, and in 5 the votes of the two nodes differ.
fn log(first: bool) -> LogReport {
    let apply = |text: &[u8]| EntryReport::Apply {
        session: SessionId(3),
        sequence: Sequence(9),
        operation: Bytes::from(text),
        length: text.len() as u64,
    };
    let put = || MachineId::Kv.encode(&Operation::Put { key: Bytes::from(&b"k"[..]), value: Bytes::from(&b"v"[..]) });
    let slot = |slot: u64, state, round, entries| SlotReport {
        slot: Slot(slot),
        state,
        ballot: Some(Ballot::new(round, NodeId(1))),
        entries,
    };
    let vote = if first { (4, b"new".as_slice()) } else { (3, b"old".as_slice()) };
    LogReport {
        first_not_cleared: Slot(2),
        last_not_empty: Slot(5),
        slots: vec![
            slot(2, SlotState::Executed, 1, vec![EntryReport::Open { token: Token(7) }, apply(&put())]),
            slot(3, SlotState::Executed, 3, vec![apply(&[0xff, b'a'])]),
            slot(4, SlotState::Chosen, 3, vec![]),
            slot(5, SlotState::Accepted, vote.0, vec![apply(vote.1)]),
        ],
    }
}

/// Both saw ballot 3.1; only n1, which led, can say what was merged; n2 saw an earlier one.
fn views(first: bool) -> Vec<ViewChange> {
    let change = |at_ms, leader: &str, round, node, merged| ViewChange {
        at_ms,
        leader: leader.to_owned(),
        ballot: Ballot::new(round, NodeId(node)),
        merged,
    };
    if first {
        vec![change(951_782_400_123, "n1", 3, 1, Some((Slot(4), 2, 1)))]
    } else {
        vec![change(951_782_300_000, "n2", 1, 2, None), change(951_782_400_125, "n1", 3, 1, None)]
    }
}
