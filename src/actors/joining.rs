//! A node's way into a cluster that exists: it asks a member to be added, and is told by a handshake that it is.

use std::time::Duration;

use crate::client::{Client, ClientError, ConnectOptions};
use crate::net::identity::NodeHello;
use crate::net::report::MemberStatus;
use crate::paxos::membership::ChangeRefused;
use crate::paxos::{Change, Outcome};

/// What came of asking.
#[derive(Debug)]
pub enum Asked {
    /// The log has this node as a member: its address is known to the node of that name, and it will be dialled.
    Member {
        /// Through whom.
        through: String,
    },
    /// It can't be, for this reason; asking again would not help.
    Never(String),
    /// Not yet, for this reason.
    NotYet(String),
}

/// Asks, through the member at the first address of `options`, that the node of this hello be added.
pub async fn ask(options: ConnectOptions, hello: &NodeHello) -> Asked {
    match try_to(options, hello).await {
        Ok(asked) => asked,
        Err(error) => Asked::NotYet(error.to_string()),
    }
}

async fn try_to(options: ConnectOptions, hello: &NodeHello) -> Result<Asked, ClientError> {
    let client = Client::connect(options).await?;
    let status = client.status().await?;
    let is_us = |member: &&MemberStatus| member.name == hello.name && member.incarnation == hello.incarnation;
    let knows_us = status.members.iter().any(|member| is_us(&member));
    if !knows_us {
        // So that a wrong address is found out before anything depends on it.
        client.meet(&hello.address).await?;
        let change = Change::Add { name: hello.name.clone(), incarnation: hello.incarnation };
        match client.change(change, false).await?.result {
            Outcome::Changed { .. } | Outcome::Refused(ChangeRefused::FolderTaken) => {}
            Outcome::Refused(why) => {
                // Perhaps an earlier attempt of ours, whose answer was lost.
                let members = client.status().await?.members;
                if !members.iter().any(|member| is_us(&member)) {
                    return Ok(Asked::Never(format!("{} cannot join: {}", hello.name, reason(why, hello))));
                }
            }
        }
    }
    client.connect_node(&hello.name, &hello.address).await?;
    Ok(Asked::Member { through: status.name })
}

fn reason(why: ChangeRefused, hello: &NodeHello) -> String {
    let NodeHello { name, address, .. } = hello;
    match why {
        ChangeRefused::NameTaken => format!(
            "a member goes by the name `{name}`: start this node with another --name; or, if that member's folder is lost, \
             start this one with `--join` and no address, and let it take that place: `synod member replace \
             {name}={address}`"
        ),
        why => why.to_string(),
    }
}

/// How long to wait before asking again.
pub const AGAIN: Duration = Duration::from_secs(1);
