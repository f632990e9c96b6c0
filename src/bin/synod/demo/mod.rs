//! `synod demo`: a few nodes on this machine, each a process of its own, and a prompt with `fail` and `recover`.
//!
//! The nodes live in a temporary folder that is removed in the end; or, with `--data`, in one that is kept and continued.
//! They end with the demo however that ends, because it holds the other end of their standard inputs ([`nodes`]).

mod folder;
mod launch;
mod leash;
mod nodes;
mod signals;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use folder::Folder;
use leash::Leashes;
use nodes::Nodes;
pub use signals::Signals;

use crate::answer::{Answer, Failure, Leader};
use crate::backend::{self, Backend};
use crate::cookie;
use crate::execute::{self, Leading};
use crate::grammar::{ConnectArgs, DEFAULT_CLUSTER, NodeName, deadline};
use crate::output::{self, Printer, Style};
use crate::repl::{self, ScriptArgs};
use crate::shell::{Shell, Stage};
use crate::words;

/// How many nodes, where, and what to run.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "Examples:\n  synod demo\n  synod demo --nodes 5 --data my-cluster\n  \
    synod demo -e 'put k v' -e 'fail leader' -e 'get k'")]
pub struct DemoArgs {
    /// How many nodes [default: 3, or as many as the folder has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: Option<u16>,

    /// Keep the nodes in this folder; if they are there already, continue them.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// What to run.
    #[command(flatten)]
    pub script: ScriptArgs,

    /// How long one command may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub deadline: Duration,

    /// Print one JSON object for each result.
    #[arg(long)]
    pub json: bool,
}

/// Nodes on this machine that have a leader. They end when this goes: the connection first, the folder last.
pub struct Running {
    backend: Box<dyn Backend>,
    leader: Leader,
    /// How to come in.
    pub connect: ConnectArgs,
    nodes: Nodes,
    signals: Signals,
    _folder: Folder,
}

/// Which nodes.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Where to keep them; none: in a temporary folder.
    pub data: Option<&'a Path>,
    /// How many, if told.
    pub nodes: Option<u16>,
    /// Slots that a leader drives at once, if told.
    pub window: Option<u32>,
    /// Commands in a slot at most, if told.
    pub batch: Option<u32>,
    /// How long a command may take.
    pub deadline: Duration,
    /// JSON instead of text.
    pub json: bool,
}

impl Running {
    /// The watch for signals.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// A client of them.
    pub fn backend(&mut self) -> &mut dyn Backend {
        self.backend.as_mut()
    }

    /// Whoever kills nodes and starts them again.
    pub fn stage(&mut self) -> &mut dyn Stage {
        &mut self.nodes
    }

    /// What the nodes are called.
    pub fn names(&self) -> Vec<NodeName> {
        self.nodes.addresses().into_iter().map(|(name, _)| name).collect()
    }
}

/// Starts the nodes, and waits until one leads.
pub fn launch(wanted: &Wanted<'_>) -> Result<Running, Failure> {
    let folder = Folder::open(wanted.data, wanted.nodes)?;
    let leashes = Leashes::default();
    let signals = Signals::watch(leashes.clone(), folder.if_temporary());
    // A signal that ends the nodes is not to be taken for nodes that ended.
    let up = bring_up(&folder, leashes, wanted).inspect_err(|_| signals.go_first());
    let (nodes, connect, backend, leader) = up?;
    Ok(Running { backend, leader, connect, nodes, signals, _folder: folder })
}

type Up = (Nodes, ConnectArgs, Box<dyn Backend>, Leader);

fn bring_up(folder: &Folder, leashes: Leashes, wanted: &Wanted<'_>) -> Result<Up, Failure> {
    let Wanted { window, batch, deadline, json, .. } = *wanted;
    let mut nodes = Nodes::start(folder, launch::by_this_program(folder, window, batch)?, leashes, READY_WITHIN)?;
    folder.remember(&nodes.addresses())?;
    let connect = ConnectArgs {
        connect: nodes.addresses().into_iter().map(|(_, address)| address).collect(),
        cluster: DEFAULT_CLUSTER.to_owned(),
        cookie_file: Some(folder.cookie()),
        deadline,
        json,
    };
    let cookie = cookie::read(connect.cookie_file.as_deref())?;
    let mut backend = backend::connect(&connect, &cookie)?;
    introduce(&mut nodes, backend.as_mut())?;
    let leader = wait_for_leader(backend.as_mut(), &mut nodes)?;
    Ok((nodes, connect, backend, leader))
}

/// Starts the nodes, runs what there is to run, stops the nodes.
pub fn run(args: &DemoArgs) -> Result<u8, Failure> {
    let running = launch(&Wanted {
        data: args.data.as_deref(),
        nodes: args.nodes,
        window: None,
        batch: None,
        deadline: args.deadline,
        json: args.json,
    })?;
    // What is bound first goes last.
    let Running { _folder, signals, mut nodes, connect, leader, backend } = running;
    let mut printer = Printer::standard(args.json);
    if args.script.is_interactive() {
        // If nobody reads this, nobody reads what follows: the shell will notice.
        let _ = printer.line(&welcome(&nodes, &leader, &connect));
        signals.prompt_begins();
    }
    let mut shell = Shell::new(backend, Some(&mut nodes), printer);
    repl::serve(&mut shell, &args.script)
}

/// Tells the first node where the others are. Addresses travel: it tells them about one another. A node that was found
/// elsewhere the last time may first be looked for there, by whoever remembers it; so one failure is not the end.
fn introduce(nodes: &mut Nodes, backend: &mut dyn Backend) -> Result<(), Failure> {
    let until = Instant::now() + READY_WITHIN;
    for (name, address) in nodes.addresses().iter().skip(1) {
        while let Err(failure) = backend.connect_node(&name.0, address) {
            nodes.check()?;
            if Instant::now() >= until {
                return Err(failure);
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
    Ok(())
}

/// Asks who leads until somebody does.
fn wait_for_leader(backend: &mut dyn Backend, nodes: &mut Nodes) -> Result<Leader, Failure> {
    // Drawn on a terminal only.
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    spinner.set_style(ProgressStyle::default_spinner());
    spinner.set_message("waiting for a leader");
    let began = Instant::now();
    loop {
        nodes.check()?;
        spinner.tick();
        let why = match execute::leader_now(backend) {
            Ok(Leading::Known(leader)) => {
                spinner.finish_and_clear();
                return Ok(leader);
            }
            Ok(Leading::Nobody { why, .. }) => format!("nobody leads: {why}"),
            Err(failure) => failure.to_string(),
        };
        if began.elapsed() > LEADER_WITHIN {
            spinner.finish_and_clear();
            let seconds = LEADER_WITHIN.as_secs();
            return Err(Failure::not_done(format!("the nodes run, but there is no leader after {seconds} s: {why}")));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Who is where, and how to come in from another terminal.
fn welcome(nodes: &Nodes, leader: &Leader, connect: &ConnectArgs) -> String {
    let mut table = output::table(["NODE", "PROCESS", "ADDRESS", ""], Style::of_stdout(false));
    for (name, process_id, address) in nodes.running() {
        let leads = if name.0 == leader.name { format!("leads in ballot {}", leader.ballot) } else { String::new() };
        table.add_row([name.to_string(), process_id.to_string(), address.to_string(), leads]);
    }
    let addresses: Vec<String> = connect.connect.iter().map(ToString::to_string).collect();
    let cookie = connect.cookie_file.iter().map(|file| words::quote(&file.to_string_lossy())).collect::<String>();
    format!(
        "{}\n\nFrom another terminal:\n  {} repl --connect {} --cookie-file {cookie}\n\n\
         Try: put colour blue, fail leader, get colour, nodes, log, help. ctrl-D ends the nodes too.\n",
        output::finished(&table),
        launch::this_program_as_typed(),
        addresses.join(","),
    )
}

impl crate::shell::Stage for Nodes {
    fn fail(&mut self, node: &crate::grammar::NodeName) -> Result<Answer, Failure> {
        let process_id = self.kill(node)?;
        Ok(Answer::Failed { name: node.clone(), process_id })
    }

    fn recover(&mut self, node: &crate::grammar::NodeName) -> Result<Answer, Failure> {
        let (process_id, address) = self.restart(node)?;
        Ok(Answer::Recovered { name: node.clone(), process_id, address })
    }
}

/// For every node to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// For somebody to lead.
const LEADER_WITHIN: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(20);
