//! The demo's processes: started, killed, started again, and never left behind.
//!
//! The demo holds the writing end of each child's standard input ([`Leashes`]). A child ends when that closes: also when
//! the demo is killed with -9, since the system closes it then. A child says where it listens in its first line of output; what it
//! has to complain about goes to its log, whose end is shown if it dies early.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::launch::Launch;
use super::leash::Leashes;
use crate::answer::Failure;
use crate::grammar::{Address, NodeName};
use crate::start::Ready;

/// All nodes of a demo.
pub struct Nodes {
    launch: Launch,
    ready_within: Duration,
    leashes: Leashes,
    nodes: Vec<Node>,
}

struct Node {
    name: NodeName,
    log: PathBuf,
    /// Where it listens, or listened last.
    address: Address,
    child: Option<Child>,
}

impl Nodes {
    /// Starts them all, and waits until they listen.
    pub fn start(folder: &Folder, launch: Launch, leashes: Leashes, ready_within: Duration) -> Result<Nodes, Failure> {
        let node = |(name, port): &(NodeName, u16)| Node {
            name: name.clone(),
            log: folder.log_of(name),
            address: Address::loopback(*port),
            child: None,
        };
        let nodes = folder.nodes().iter().map(node).collect();
        let mut nodes = Nodes { launch, ready_within, leashes, nodes };
        let deadline = Instant::now() + ready_within;
        let (launch, leashes) = (&nodes.launch, &nodes.leashes);
        let starting = nodes.nodes.iter_mut().map(|node| node.spawn(launch, leashes));
        let starting: Vec<_> = starting.collect::<Result<_, _>>()?;
        for (node, ready) in nodes.nodes.iter_mut().zip(starting) {
            node.listens(&ready, deadline)?;
        }
        Ok(nodes)
    }

    /// Where each listens, or listened last.
    pub fn addresses(&self) -> Vec<(NodeName, Address)> {
        self.nodes.iter().map(|node| (node.name.clone(), node.address.clone())).collect()
    }

    /// Those that have a process, with its id and address.
    pub fn running(&self) -> impl Iterator<Item = (&NodeName, u32, &Address)> {
        self.nodes.iter().filter_map(|node| Some((&node.name, node.child.as_ref()?.id(), &node.address)))
    }

    /// Fails if a process has ended that nobody killed.
    pub fn check(&mut self) -> Result<(), Failure> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// Kills a node, as `kill -9` does. Gives the id of the process that is no more.
    pub fn kill(&mut self, name: &NodeName) -> Result<u32, Failure> {
        let node = self.find(name)?;
        let child = node.child.take();
        let mut child = child
            .ok_or_else(|| Failure::not_done(format!("{name} is not running: `recover {name}` starts it again")))?;
        // It may have ended by itself: gone is gone.
        let killed = child.kill().and_then(|()| child.wait());
        self.leashes.untie(name);
        killed.map_err(|error| Failure::not_done(format!("{name} cannot be killed: {error}")))?;
        Ok(child.id())
    }

    /// Starts a killed node again; on its old port if that is free. Gives its process and where it listens.
    pub fn restart(&mut self, name: &NodeName) -> Result<(u32, Address), Failure> {
        let deadline = Instant::now() + self.ready_within;
        let place = self.place(name)?;
        let node = &mut self.nodes[place];
        if node.check().is_ok()
            && let Some(child) = &node.child
        {
            return Err(Failure::not_done(format!("{name} is running (process {}): nothing to recover", child.id())));
        }
        let ready = node.spawn(&self.launch, &self.leashes)?;
        let process_id = node.listens(&ready, deadline)?;
        Ok((process_id, node.address.clone()))
    }

    fn find(&mut self, name: &NodeName) -> Result<&mut Node, Failure> {
        let place = self.place(name)?;
        Ok(&mut self.nodes[place])
    }

    fn place(&self, name: &NodeName) -> Result<usize, Failure> {
        self.nodes.iter().position(|node| node.name == *name).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.name.0.as_str()).collect();
            Failure::usage(format!("there is no node {name}: the nodes are {}", names.join(", ")))
        })
    }
}

impl Drop for Nodes {
    /// Closes every standard input first, so that all nodes stop at the same time; whoever takes too long is killed.
    fn drop(&mut self) {
        self.leashes.let_go();
        self.leashes.wait_for_ends(STOP_WITHIN);
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // It has ended already, or else it must now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Node {
    /// Starts the process. Its lines come through the channel, which closes with its standard output.
    fn spawn(&mut self, launch: &Launch, leashes: &Leashes) -> Result<Receiver<String>, Failure> {
        let Node { name, log, .. } = self;
        let failed =
            |what: &str, error: std::io::Error| Failure::not_done(format!("{name} cannot be started: {what}: {error}"));
        let errors = OpenOptions::new().create(true).append(true).open(&*log);
        let errors = errors.map_err(|error| failed(&log.display().to_string(), error))?;
        let mut command = launch(name, self.address.port());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        // ctrl-C at the demo's terminal is meant for the demo alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| failed(&program, error))?;
        let life = leashes.tie(name, child.stdin.take());
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            let read = move || {
                // Read to the end, so that the child never finds its output closed.
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
                drop(life);
            };
            let thread = std::thread::Builder::new().name("output".to_owned()).spawn(read);
            thread.map_err(|error| failed("no thread to read its output", error))?;
        }
        self.child = Some(child);
        Ok(lines)
    }

    /// Waits until it says where it listens. Gives its process.
    fn listens(&mut self, lines: &Receiver<String>, deadline: Instant) -> Result<u32, Failure> {
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(ready) = Ready::from_json(&line) {
                        self.address = ready.address;
                        return Ok(ready.process_id);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let why = format!("{} does not listen in time", self.name);
                    return Err(self.with_log(&why));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.take().map(|mut child| {
                        // Without its output it is of no use to us.
                        let _ = child.kill();
                        child.wait()
                    });
                    return Err(self.ended(status.and_then(Result::ok)));
                }
            }
        }
    }

    fn check(&mut self) -> Result<(), Failure> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                self.child = None;
                Err(self.ended(Some(status)))
            }
            _ => Ok(()),
        }
    }

    fn ended(&self, status: Option<ExitStatus>) -> Failure {
        let status = status.map_or_else(String::new, |status| format!(" ({status})"));
        self.with_log(&format!("{} has ended{status}", self.name))
    }

    fn with_log(&self, why: &str) -> Failure {
        let log = self.log.display();
        Failure::not_done(match last_lines(&self.log) {
            Ok(lines) if lines.is_empty() => format!("{why}; its log {log} is empty"),
            Ok(lines) => format!("{why}; its log {log} ends:\n  {}", lines.join("\n  ")),
            Err(error) => format!("{why}; its log {log} cannot be read: {error}"),
        })
    }
}

fn last_lines(log: &Path) -> std::io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect())
}

const STOP_WITHIN: Duration = Duration::from_secs(5);
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 8;

#[cfg(test)]
#[cfg(unix)]
mod tests;
