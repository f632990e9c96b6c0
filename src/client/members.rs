//! Calls about the members of a cluster, and who leads it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::driver::Ask;
use super::error::ClientError;
use super::handle::{Client, Done, nonsense};
use crate::net::report::{MemberStatus, Report};
use crate::paxos::membership::ChangeRefused;
use crate::paxos::{Change, Incarnation, NodeId, Outcome};

/// Who lives at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The node's name.
    pub name: String,
    /// Its data folder's.
    pub incarnation: Incarnation,
    /// The number that its cluster gave it, if it belongs to one.
    pub node: Option<NodeId>,
}

impl Client {
    /// Has the connected node find out who lives at `HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError::Connection`] with the reason, if nobody answers there, or somebody who is not of this cluster.
    pub async fn meet(&self, address: &str) -> Result<Met, ClientError> {
        match self.ask(Ask::Meet { address: address.to_owned() }).await? {
            Report::Met { name, incarnation, node } => Ok(Met { name, incarnation, node }),
            _ => Err(nonsense()),
        }
    }

    /// Puts a change of members into the log and returns what came of it. With `force` it is done even if the members
    /// that are left do not answer.
    ///
    /// # Errors
    /// As [`Client::submit`]; beyond that, [`ClientError::Refused`] if too few members would be left that answer.
    pub async fn change(&self, change: Change, force: bool) -> Result<Done<Outcome>, ClientError> {
        let done = self.submit_change(change, force).await?;
        let outcome = Outcome::from_bytes(&done.result).ok_or_else(nonsense)?;
        Ok(done.map(|_| outcome))
    }

    /// Adds the node of this name that lives at `HOST:PORT`, and has it dialled. It has no vote until it has caught up.
    ///
    /// # Errors
    /// As [`Client::meet`] and [`Client::change`]; beyond that, [`ClientError::Refused`] if that node is another one, or
    /// belongs to a cluster already, or the log refuses it.
    pub async fn add_member(&self, name: &str, address: &str) -> Result<Done<NodeId>, ClientError> {
        let members = self.members().await?;
        let met = self.meet(address).await;
        let is_other = |member: &MemberStatus| met.as_ref().map_or(true, |met| met.incarnation != member.incarnation);
        // Whoever lives there, and if nobody does: the name is what is wrong.
        if members.iter().any(|member| member.name == name && is_other(member)) {
            return Err(refused(name, ChangeRefused::NameTaken));
        }
        let incarnation = newcomer(name, address, met?, &members)?;
        let change = Change::Add { name: name.to_owned(), incarnation };
        self.bring(change, address, false).await
    }

    /// Lets the node that lives at `HOST:PORT` take the place of the member of this name, whose folder is lost.
    ///
    /// # Errors
    /// As [`Client::add_member`].
    pub async fn replace_member(&self, name: &str, address: &str, force: bool) -> Result<Done<NodeId>, ClientError> {
        let incarnation = newcomer(name, address, self.meet(address).await?, &self.members().await?)?;
        let change = Change::Replace { name: name.to_owned(), incarnation };
        self.bring(change, address, force).await
    }

    /// Has a member leave.
    ///
    /// # Errors
    /// As [`Client::change`]; beyond that, [`ClientError::Refused`] if the log refuses it.
    pub async fn remove_member(&self, name: &str, force: bool) -> Result<Done<NodeId>, ClientError> {
        self.changed(Change::Remove { name: name.to_owned() }, force).await
    }

    /// The members, by number, as the connected node knows them.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub async fn members(&self) -> Result<Vec<MemberStatus>, ClientError> {
        self.status().await.map(|status| status.members)
    }

    /// Has the member of this name lead, and returns once it does.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the reason, if it does not take over within the deadline.
    pub async fn transfer_leadership(&self, name: &str) -> Result<(), ClientError> {
        let end = Instant::now() + self.deadline();
        let mut why = "no leader is known".to_owned();
        loop {
            let leader = match self.status().await {
                Ok(status) => status.leader,
                // The node that this client talks to may have gone; the next one is asked.
                Err(ClientError::Connection { reason }) if Instant::now() < end => {
                    why = reason;
                    None
                }
                Err(error) => return Err(error),
            };
            match leader {
                Some(leader) if leader == name => return Ok(()),
                Some(leader) => {
                    let asked = self.on_node(&leader).await?.ask(Ask::Lead { name: name.to_owned() }).await;
                    if let Err(error) = asked {
                        // The leader may have changed meanwhile; anything else stays as it is.
                        if self.status().await?.leader.as_deref() == Some(&*leader) {
                            return Err(error);
                        }
                    }
                    why = format!("{name} was asked to take over from {leader}, and has not");
                }
                None => {}
            }
            if Instant::now() >= end {
                return Err(ClientError::Refused { reason: why });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn bring(&self, change: Change, address: &str, force: bool) -> Result<Done<NodeId>, ClientError> {
        let name = change.name().to_owned();
        let done = self.changed(change, force).await?;
        let end = Instant::now() + self.deadline().min(DIALLED_WITHIN);
        // The connected node may be about to hear of the change.
        while let Err(error) = self.connect_node(&name, address).await {
            if Instant::now() >= end {
                return Err(ClientError::Connection {
                    reason: format!(
                        "`{name}` is node {} since slot {}, but could not be dialled: {error}; `connect {name}@{address}` \
                         tries again",
                        done.result, done.place.slot
                    ),
                });
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(done)
    }

    async fn changed(&self, change: Change, force: bool) -> Result<Done<NodeId>, ClientError> {
        let name = change.name().to_owned();
        let done = self.change(change, force).await?;
        match done.result {
            Outcome::Changed { node, .. } => Ok(done.map(|_| node)),
            Outcome::Refused(why) => Err(refused(&name, why)),
        }
    }
}

/// The folder of who lives at that address, if it is new, and of that name.
fn newcomer(name: &str, address: &str, met: Met, members: &[MemberStatus]) -> Result<Incarnation, ClientError> {
    let refused = |reason| Err(ClientError::Refused { reason });
    if met.name != name {
        return refused(format!(
            "the node at {address} is `{}`, not `{name}`: correct the name or the address",
            met.name
        ));
    }
    if members.iter().any(|member| member.incarnation == met.incarnation) {
        return refused(format!("`{name}` at {address} is a member already, with its data: there is nothing to do"));
    }
    if met.node.is_some() {
        return refused(format!(
            "`{name}` at {address} belongs to another cluster, or has left this one: what comes must be new, started \
             with an empty --data folder and --join"
        ));
    }
    Ok(met.incarnation)
}

fn refused(name: &str, why: ChangeRefused) -> ClientError {
    ClientError::Refused { reason: format!("`{name}`: {why}") }
}

/// How often to look whether leadership has changed hands.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long to try to have a new member dialled.
const DIALLED_WITHIN: Duration = Duration::from_secs(2);
