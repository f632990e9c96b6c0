//! What the commands need of a cluster. The real one is a client's connection; the tests have one of their own.
//!
//! Every call blocks, for the command's deadline at most: the prompt has nothing else to do, and whoever implements this
//! keeps the client's tasks running on a thread of its own meanwhile.

use std::time::{Duration, Instant};

pub use remote::{absence, unreachable};
use synod::machine::bank::{Account, AccountName, Receipt, Recorded, Transfer, TransferId};
use synod::net::cookie::Cookie;
use synod::net::report::{Inspection, Report, Status};
use synod::paxos::{Ballot, Bytes, NodeId, Place};

use crate::answer::{Absence, Failure, Pairs};
use crate::grammar::{Address, ConnectArgs};

/// A cluster, as the commands see it.
pub trait Backend {
    /// Puts a value into the log, through the named node if one is named.
    fn propose(&mut self, through: Option<&str>, value: Bytes) -> Result<(Place, Option<Ballot>), Failure>;

    /// The first value ever proposed for the key.
    fn decide(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure>;

    /// Sets a key.
    fn put(&mut self, key: Bytes, value: Bytes) -> Result<Place, Failure>;

    /// A linearizable read.
    fn get(&mut self, key: Bytes) -> Result<Option<Bytes>, Failure>;

    /// What one node has executed: the named one, or any.
    fn get_local(&mut self, node: Option<&str>, key: Bytes) -> Result<Option<Bytes>, Failure>;

    /// Adds to a value; gives the whole.
    fn append(&mut self, key: Bytes, value: Bytes) -> Result<Bytes, Failure>;

    /// Removes a key; tells whether it was there.
    fn delete(&mut self, key: Bytes) -> Result<bool, Failure>;

    /// Compares and swaps. The inner error is what the key has instead of the expected.
    fn cas(&mut self, key: Bytes, expected: Option<Bytes>, new: Bytes) -> Result<Result<(), Option<Bytes>>, Failure>;

    /// A linearizable read of keys with a prefix, the first `limit` in order.
    fn scan(&mut self, prefix: Bytes, limit: usize) -> Result<Pairs, Failure>;

    /// As [`Backend::scan`], of what the named node has executed; or every known node.
    fn scan_local(&mut self, node: Option<&str>, prefix: Bytes, limit: usize) -> Result<Asked<Pairs>, Failure>;

    /// A look inside the named node; or inside every known node, all at once. Fails if the named node is unknown, down,
    /// or cannot say.
    fn inspect(&mut self, node: Option<&str>, inspection: Inspection) -> Result<Asked<Report>, Failure>;

    /// Introduces a node. Returns when the link to it is up; gives the node's name.
    fn connect_node(&mut self, name: &str, address: &Address) -> Result<String, Failure>;

    /// How the connected node stands, which is a member; and how the leader does, if that is another and answers.
    fn standing(&mut self) -> Result<(Status, Option<Status>), Failure>;

    /// Makes the node that lives at this address a member. With `replace`, in place of the member of its name; and, if
    /// that says so, even if too few of the others answer. Gives its number, and where the change stands in the log.
    fn bring_member(
        &mut self,
        name: &str,
        address: &Address,
        replace: Option<bool>,
    ) -> Result<(NodeId, Place), Failure>;

    /// Has a member leave. Gives its number, and where the change stands in the log.
    fn remove_member(&mut self, name: &str, force: bool) -> Result<(NodeId, Place), Failure>;

    /// Returns once this node leads.
    fn transfer_leadership(&mut self, name: &str) -> Result<(), Failure>;

    /// An id that no transfer has had.
    fn new_id(&mut self) -> TransferId;

    /// Opens accounts; tells of each whether it is new.
    fn open_accounts(&mut self, accounts: Vec<AccountName>) -> Result<Vec<bool>, Failure>;

    /// Settles a transfer.
    fn transfer(&mut self, transfer: Transfer) -> Result<(Place, Receipt), Failure>;

    /// An account, if it is open.
    fn account(&mut self, name: &AccountName) -> Result<Option<Account>, Failure>;

    /// All accounts in order.
    fn accounts(&mut self) -> Result<Vec<Account>, Failure>;

    /// The same in what the named node has executed; or every known node.
    fn accounts_local(&mut self, node: Option<&str>) -> Result<Asked<Vec<Account>>, Failure>;

    /// The transfers of an account, the last one first, at most so many; and whether there are more.
    fn history(&mut self, account: &AccountName, limit: u32) -> Result<(Vec<Recorded>, bool), Failure>;

    /// Starts the bank afresh.
    fn reset_bank(&mut self) -> Result<(), Failure>;

    /// What is known of a transfer.
    fn receipt(&mut self, id: TransferId) -> Result<Option<Recorded>, Failure>;

    /// The names of the nodes as far as they are known without asking anybody.
    fn node_names(&self) -> Vec<String>;

    /// How long a command may take.
    fn deadline(&self) -> Duration;
}

/// Every node that was asked, in the order of names, and what it said.
pub type Asked<T> = Vec<(String, Result<T, Absence>)>;

/// Connects to a cluster.
pub fn connect(args: &ConnectArgs, cookie: &Cookie) -> Result<Box<dyn Backend>, Failure> {
    Ok(Box::new(remote::Remote::connect(args, cookie)?))
}

/// Connects for one command only: connecting takes its share of the command's deadline.
pub fn connect_for_one(args: &ConnectArgs, cookie: &Cookie) -> Result<Box<dyn Backend>, Failure> {
    let begun = Instant::now();
    let remote = remote::Remote::connect(args, cookie)?;
    Ok(Box::new(remote.with_deadline(args.deadline.saturating_sub(begun.elapsed()))))
}

mod remote;

#[cfg(test)]
pub mod fake;
