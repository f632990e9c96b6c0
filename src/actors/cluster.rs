//! A whole cluster in one process: for examples, tests and first steps.

use std::path::{Path, PathBuf};

use super::node::{Node, NodeError, NodeOptions};
use crate::client::{Client, ClientError, ConnectOptions};
use crate::net::cookie::Cookie;
use crate::paxos::StateMachine;

/// Nodes n1, n2, … in this process, on free ports of the loopback interface, over real sockets and data folders.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use synod::actors::Cluster;
/// use synod::machine::Composite;
///
/// let cluster = Cluster::local(3, "data", Composite::default)?;
/// let client = cluster.client().await?;
/// client.put("greeting", "hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    cookie: Cookie,
    nodes: Vec<(NodeOptions, Option<Node>)>,
}

impl Cluster {
    /// Starts `size` nodes whose data folders lie in `folder`, which is continued if it exists. `machine` makes each
    /// node's machine in its initial state.
    ///
    /// # Errors
    /// That of the first node which does not start.
    pub fn local<M: StateMachine + Unpin>(
        size: usize,
        folder: impl AsRef<Path>,
        machine: impl Fn() -> M,
    ) -> Result<Cluster, NodeError> {
        Cluster::with(size, folder, machine, |options| options)
    }

    /// The same, with every node's options adjusted.
    ///
    /// # Errors
    /// That of the first node which does not start.
    pub fn with<M: StateMachine + Unpin>(
        size: usize,
        folder: impl AsRef<Path>,
        machine: impl Fn() -> M,
        adjust: impl Fn(NodeOptions) -> NodeOptions,
    ) -> Result<Cluster, NodeError> {
        let folder = folder.as_ref().to_path_buf();
        // Only this process knows it, so no other program joins by accident.
        let cookie = Cookie::new(&format!("{:032x}", rand::random::<u128>())).map_err(NodeError::Options)?;
        let names: Vec<String> = (1..=size).map(|number| format!("n{number}")).collect();
        let mut cluster = Cluster { folder: folder.clone(), cookie: cookie.clone(), nodes: Vec::new() };
        for name in &names {
            let mut options = adjust(NodeOptions::new(name, folder.join(name), cookie.clone()).voters(names.clone()));
            for (known, node) in &cluster.nodes {
                let address = node.as_ref().expect("just started").address();
                options.peers.push((known.name.clone(), address.to_owned()));
            }
            let node = Node::start(options.clone(), machine())?;
            // It comes back to this port, or tells the others where else it went.
            options.listen = node.address().to_owned();
            options.or_free_port = true;
            cluster.nodes.push((options, Some(node)));
        }
        Ok(cluster)
    }

    /// A client that knows every node which runs.
    ///
    /// # Errors
    /// No node answers.
    pub async fn client(&self) -> Result<Client, ClientError> {
        let cluster = self.nodes.first().map(|(options, _)| options.cluster.clone()).unwrap_or_default();
        Client::connect(ConnectOptions::new(self.addresses(), cluster, self.cookie.clone())).await
    }

    /// The nodes' addresses, of those that run.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().filter_map(|(_, node)| node.as_ref()).map(|node| node.address().to_owned()).collect()
    }

    /// The secret that its nodes share.
    pub fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// Where its data folders are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops a node as a crash would. Nothing happens if it does not run.
    ///
    /// # Errors
    /// What made the node stop before, if anything did.
    pub fn fail(&mut self, name: &str) -> Result<(), NodeError> {
        match self.slot(name)?.1.take() {
            Some(node) => node.halt(),
            None => Ok(()),
        }
    }

    /// Starts a node again from its folder, at its old address unless that was taken meanwhile. Nothing
    /// happens if it runs.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn recover<M: StateMachine + Unpin>(&mut self, name: &str, machine: M) -> Result<(), NodeError> {
        let (options, node) = self.slot(name)?;
        if node.is_none() {
            *node = Some(Node::start(options.clone(), machine)?);
        }
        Ok(())
    }

    /// Stops every node, after making everything durable.
    ///
    /// # Errors
    /// The first error of a node.
    pub fn stop(mut self) -> Result<(), NodeError> {
        self.nodes.drain(..).filter_map(|(_, node)| node).try_for_each(Node::stop)
    }

    fn slot(&mut self, name: &str) -> Result<&mut (NodeOptions, Option<Node>), NodeError> {
        let known: Vec<String> = self.nodes.iter().map(|(options, _)| options.name.clone()).collect();
        let unknown = || NodeError::Options(format!("no node is named {name}: there are {}", known.join(", ")));
        self.nodes.iter_mut().find(|(options, _)| options.name == name).ok_or_else(unknown)
    }
}
