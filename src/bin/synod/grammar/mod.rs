//! What a user may type. One enum, [`Command`], is the grammar of the REPL and of the subcommands alike.
//!
//! * `synod put k v --connect …`: [`parse_arguments`]; every [`Command`] gets the [`ConnectArgs`] added.
//! * `put k v` at the prompt, in a script, or behind `-e`: [`parse_line`]; no binary name, no connection options.
//!
//! Whatever does not parse is a [`Stop`]: either text that was asked for (help, version), or a usage error of one line.
//! Keys and values that start with `-` are written behind `--`, as for every other program: a mistyped option must not
//! end up in the log.

mod arguments;
mod command;
mod money;
mod seed;
mod settings;

use std::ffi::OsString;

use clap::builder::{NonEmptyStringValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, FromArgMatches, Parser, Subcommand};

pub use arguments::{
    Address, NodeName, PeerAddress, SlotOrPlace, deadline, dialled, election_timeout, interval, size_from,
};
pub use command::{Command, DbOf, LEADER, MemberOrder, StageCommand};
pub use money::BankCommand;
pub use settings::PREFIX as VARIABLES;

use crate::answer::Failure;
use crate::{backup, bank, bench, completions, demo, repl, simulate, start, top, words};

/// How to reach a cluster.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Nodes to try; any one of them will do.
    #[arg(
        long,
        value_name = "HOST:PORT[,…]",
        value_delimiter = ',',
        default_value = "127.0.0.1:7101",
        value_parser = arguments::dialled
    )]
    pub connect: Vec<Address>,

    /// The name of the cluster.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER, value_parser = NonEmptyStringValueParser::new())]
    pub cluster: String,

    /// The secret that all nodes and clients of a cluster share [default: a file of the user's, made on first use].
    #[arg(long, value_name = "FILE")]
    pub cookie_file: Option<std::path::PathBuf>,

    /// How long one command may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = deadline)]
    pub deadline: std::time::Duration,

    /// Print one JSON object for each result.
    #[arg(long)]
    pub json: bool,
}

/// The whole command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Program {
    /// A node.
    Start(Box<start::StartArgs>),
    /// A prompt, or a script.
    Repl(repl::ReplArgs),
    /// Nodes and a prompt, to try it all.
    Demo(demo::DemoArgs),
    /// Runs of the deterministic world.
    Simulate(simulate::SimulateArgs),
    /// A load, and what it came to.
    Bench(Box<bench::BenchArgs>),
    /// A file of transfers on nodes of its own.
    Bank(bank::BankArgs),
    /// A live view of a cluster.
    Top(top::TopArgs),
    /// A file with the state of a cluster.
    Backup(backup::BackupArgs),
    /// A new cluster's first folder, from such a file.
    Restore(backup::restore::RestoreArgs),
    /// A script for the shell.
    Completions(completions::CompletionsArgs),
    /// One command, and out.
    Single(ConnectArgs, Command),
}

/// One line at the prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Blank, or a comment.
    Blank,
    /// A command for the cluster.
    Cluster(Command),
    /// A command for the demo, which owns the nodes' processes.
    Stage(StageCommand),
    /// Leave.
    Exit,
}

/// Why there is nothing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The user asked for this text.
    Show(String),
    /// The user's words make no command.
    Usage(Failure),
}

/// Reads the command line, the binary's name included.
pub fn parse_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Program, Stop> {
    let grammar = command_line();
    let (words, file) = settings::with_file(&grammar, arguments.into_iter().collect()).map_err(Stop::Usage)?;
    let variables = settings::heeded(&grammar, &words);
    let file = file.map(|file| format!("the options in {}", file.display()));
    let stop = |error| match stop(error) {
        Stop::Usage(failure) => {
            let told = failure.to_string();
            // What was not typed, if it may be what is wrong.
            let to_blame = variables.iter().filter(|variable| told.contains(&settings::flag_of(variable)));
            let others: Vec<&str> = to_blame.chain(&file).map(String::as_str).collect();
            let with = if others.is_empty() { String::new() } else { format!(" (with {})", others.join(", ")) };
            Stop::Usage(Failure::usage(told + &with))
        }
        stop => stop,
    };
    let matches = grammar.try_get_matches_from(words).map_err(stop)?;
    let (name, given) = matches.subcommand().ok_or_else(|| Stop::Usage(Failure::usage("which command?")))?;
    match OwnCommand::from_arg_matches(&matches) {
        Ok(OwnCommand::Start(args)) => Ok(Program::Start(args)),
        Ok(OwnCommand::Repl(args)) => Ok(Program::Repl(args)),
        Ok(OwnCommand::Demo(args)) => Ok(Program::Demo(args)),
        Ok(OwnCommand::Simulate(args)) => Ok(Program::Simulate(args)),
        Ok(OwnCommand::Bench(args)) => Ok(Program::Bench(args)),
        Ok(OwnCommand::Bank(args)) => Ok(Program::Bank(args)),
        Ok(OwnCommand::Backup(args)) => Ok(Program::Backup(args)),
        Ok(OwnCommand::Restore(args)) => Ok(Program::Restore(args)),
        Ok(OwnCommand::Top(args)) => Ok(Program::Top(args)),
        Ok(OwnCommand::Completions(args)) => Ok(Program::Completions(args)),
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => {
            log::debug!("{name} is a command of the REPL");
            let connect = ConnectArgs::from_arg_matches(given).map_err(stop)?;
            let command = Command::from_arg_matches(&matches).map_err(stop)?;
            command.check().map_err(Stop::Usage)?;
            Ok(Program::Single(connect, command))
        }
        Err(error) => Err(stop(error)),
    }
}

/// Reads one line of the REPL; in the demo (`staged`), with `fail` and `recover`.
pub fn parse_line(line: &str, staged: bool) -> Result<Line, Stop> {
    let words = words::split(&seed::in_our_words(line)).map_err(Stop::Usage)?;
    if words.is_empty() {
        return Ok(Line::Blank);
    }
    let matches = line_grammar(staged).try_get_matches_from(words).map_err(stop)?;
    match matches.subcommand_name() {
        Some("exit") => Ok(Line::Exit),
        Some("fail" | "recover") => StageCommand::from_arg_matches(&matches).map(Line::Stage).map_err(stop),
        _ => {
            let command = Command::from_arg_matches(&matches).map_err(stop)?;
            command.check().map_err(Stop::Usage)?;
            Ok(Line::Cluster(command))
        }
    }
}

/// The grammar of the command line.
pub fn command_line() -> clap::Command {
    let own = OwnCommand::augment_subcommands(<Cli as clap::CommandFactory>::command());
    let commands = Command::augment_subcommands(clap::Command::new("synod"));
    let connected = (OWN_COMMANDS_FIRST..).zip(commands.get_subcommands().cloned()).map(|(order, command)| {
        let about = command.get_about().cloned().unwrap_or_default();
        let command = settings::configurable(ConnectArgs::augment_args(command)).about(about).display_order(order);
        // What overrides a safeguard is typed.
        let typed = |arg: clap::Arg| if arg.get_long() == Some("force") { arg.env(Resettable::Reset) } else { arg };
        from_a_shell(command.mut_args(typed))
    });
    let own = own.mut_subcommands(|command| match command.get_name() {
        // These two depend on what is typed alone.
        "completions" | "simulate" => command,
        // Its load is real: it goes nowhere but where it is sent.
        "bench" => settings::configurable(command).mut_arg("connect", |arg| arg.env(Resettable::Reset)),
        _ => settings::configurable(command),
    });
    own.subcommands(connected)
}

/// Usage and examples of a command of the REPL, as they are typed in a shell.
fn from_a_shell(command: clap::Command) -> clap::Command {
    // Rendering completes a command, and what is added afterwards is never completed: so a copy is rendered.
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.trim_start_matches("Usage:").lines().map(str::trim).collect();
    let usage = usage.iter().map(|line| format!("synod {line} [OPTIONS]")).collect::<Vec<_>>().join("\n       ");
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command.override_usage(usage).after_help(examples.replace("\n  ", "\n  synod "))
}

/// The grammar of the REPL.
pub fn line_grammar(staged: bool) -> clap::Command {
    let mut grammar = Command::augment_subcommands(
        clap::Command::new("synod")
            .no_binary_name(true)
            .subcommand_required(true)
            .subcommand_value_name("COMMAND")
            .help_template("Commands (`help COMMAND` says more):\n{subcommands}"),
    );
    if staged {
        grammar = StageCommand::augment_subcommands(grammar);
    }
    grammar
        .subcommand(
            clap::Command::new("exit")
                .visible_alias("quit")
                .about("Leave; so does ctrl-D")
                .after_help("Example:\n  exit"),
        )
        .mut_subcommands(|command| command.override_usage_of_line())
}

/// A state machine that three or more named nodes agree on, and that loses nothing.
#[derive(Parser)]
#[command(
    name = "synod",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Try it: `synod demo` starts three nodes and a prompt.\n\n\
        Exit codes: 0 done, 1 refused or not done, 2 usage, 3 outcome unknown, 70 internal error.\n\
        Options of a command may also stand in a file (--config FILE) or in the environment (SYNOD_CONNECT for\n\
        --connect, and so on). What is typed wins over the environment, and that over the file.\n\
        RUST_LOG=info (or debug) shows what happens inside."
)]
struct Cli {}

#[derive(Subcommand)]
enum OwnCommand {
    /// Start a node.
    Start(Box<start::StartArgs>),
    /// A prompt that speaks to a running cluster; or run a script.
    Repl(repl::ReplArgs),
    /// Start a few nodes on this machine, with a prompt.
    Demo(demo::DemoArgs),
    /// Run the protocol in a world where everything goes wrong, and check it.
    Simulate(simulate::SimulateArgs),
    /// Put a load on a cluster, one of its own or one that runs, and measure.
    Bench(Box<bench::BenchArgs>),
    /// Run a file of transfers on nodes of its own, some of which fail, and compare what comes of it with what must.
    Bank(bank::BankArgs),
    /// Watch a cluster: who leads, how far the nodes are, how fast it all goes.
    Top(top::TopArgs),
    /// Save the state of a cluster that runs in a file.
    Backup(backup::BackupArgs),
    /// Begin a new cluster with what such a file holds.
    Restore(backup::restore::RestoreArgs),
    /// Print the completion script of a shell.
    Completions(completions::CompletionsArgs),
}

/// A usage line without the name of a binary that nobody typed.
trait LineUsage {
    fn override_usage_of_line(self) -> Self;
}

impl LineUsage for clap::Command {
    fn override_usage_of_line(self) -> clap::Command {
        let name = self.get_name().to_owned();
        self.bin_name(name)
    }
}

/// What clap says, in our terms: help goes out as it is, an error becomes one line.
fn stop(error: clap::Error) -> Stop {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Show(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Stop::Usage(Failure::usage(format!("which command?\n\n{}", text.trim_end())))
        }
        ErrorKind::InvalidSubcommand => {
            let what = one_line(&text).replacen("unrecognized subcommand", "there is no command", 1);
            let what = what.split("; usage: ").next().unwrap_or_default().replacen("subcommand", "command", 1);
            match error.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(word)) if OwnCommand::has_subcommand(word) => {
                    Stop::Usage(Failure::usage(format!("{what} here, but in a shell: synod {word}")))
                }
                _ => Stop::Usage(Failure::usage(format!("{what}; `help` lists the commands"))),
            }
        }
        ErrorKind::UnknownArgument => Stop::Usage(Failure::usage(unknown(&error, &text))),
        ErrorKind::ValueValidation => Stop::Usage(Failure::usage(invalid(&error, &text))),
        ErrorKind::MissingRequiredArgument => Stop::Usage(Failure::usage(missing(&error, &text))),
        _ => Stop::Usage(Failure::usage(one_line(&text))),
    }
}

/// What is missing, by its name, and the usage.
fn missing(error: &clap::Error, text: &str) -> String {
    let Some(ContextValue::Strings(names)) = error.get(ContextKind::InvalidArg) else { return one_line(text) };
    let names: Vec<String> = names.iter().map(|name| name.replace(['<', '>'], "")).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let usage = one_line(text).split_once("; usage: ").map(|(_, usage)| format!("; usage: {usage}"));
    format!("{} {verb} missing{}", names.join(", "), usage.unwrap_or_default())
}

/// One word too many, or an option that there is not.
fn unknown(error: &clap::Error, text: &str) -> String {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return one_line(text) };
    let what = if word.starts_with('-') {
        format!("there is no option '{word}'")
    } else {
        format!("'{word}' is one word too many, and one of several words goes in quotes")
    };
    one_line(text).replacen(&format!("unexpected argument '{word}' found"), &what, 1)
}

/// What is wrong with a word: it says so itself. Of an option, also which.
fn invalid(error: &clap::Error, text: &str) -> String {
    let line = one_line(text);
    let (Some(ContextValue::String(of)), Some((_, why))) = (error.get(ContextKind::InvalidArg), line.split_once("': "))
    else {
        return line;
    };
    match of.split(' ').next() {
        Some(option) if option.starts_with('-') => format!("{option}: {why}"),
        _ => why.to_owned(),
    }
}

/// An error of clap's takes several lines: what, perhaps a tip, the usage, where help is.
fn one_line(text: &str) -> String {
    let mut what = String::new();
    let mut in_usage = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        if line.starts_with("For more information") {
            continue;
        }
        let (separator, line) = match line.strip_prefix("Usage: ") {
            Some(usage) => {
                in_usage = true;
                ("; usage: ", usage)
            }
            None if in_usage => (", or ", line),
            None if line.starts_with("tip: ") => ("; ", line),
            None => (" ", line),
        };
        if !what.is_empty() {
            what.push_str(separator);
        }
        what.push_str(line);
    }
    what
}

/// In the list of commands.
const OWN_COMMANDS_FIRST: usize = 100;
/// The name of a cluster that was given none.
pub const DEFAULT_CLUSTER: &str = "synod";
/// What a command may take, unless told.
pub const DEFAULT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
