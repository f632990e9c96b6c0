//! `synod restore FILE`: the folder of a new cluster's first node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueHint};
use serde_json::json;
use synod::machine::Composite;
use synod::net::identity::check_name;
use synod::paxos::{Incarnation, Member, NodeId};
use synod::storage::backup::{self, Contents, Founder, RestoreError};
use synod::storage::folder::Reason;
use synod::storage::snapshots::Reader;
use synod::storage::{DataFolder, Settings};

use super::interrupted::{Interrupted, Interruptible};
use super::place::Unfinished;
use super::{bar, checked, described, explained, followed, hex, opened};
use crate::answer::{DONE, Failure};
use crate::grammar::{DEFAULT_CLUSTER, NodeName};
use crate::output::{Printer, Unshown};
use crate::words;

/// From where, and for whom.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "Example:\n  synod restore monday.backup --name n1 --data n1.data\n\n\
        Then start it, and others that join it:\n  \
        synod start --name n1 --listen 127.0.0.1:7101 --data n1.data\n  \
        synod start --name n2 --listen 127.0.0.1:7102 --data n2.data --join 127.0.0.1:7101\n\n\
        The node is the only one of a new cluster, which others join. Data and sessions are\nthose of the backup.\n\n\
        Exit codes: 0 done, 1 not done, 2 usage, 130 interrupted, 143 terminated.")]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// The first node's name.
    #[arg(long)]
    pub name: NodeName,

    /// Its folder, to be made [default: NAME.data].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,

    /// The name of the cluster.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CLUSTER, value_parser = NonEmptyStringValueParser::new())]
    pub cluster: String,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Makes the folder, and says how to start the node.
pub fn run(args: &RestoreArgs) -> Result<u8, Failure> {
    check_name(&args.cluster).map_err(|error| Failure::usage(format!("--cluster: {error}")))?;
    let data = args.data.clone().unwrap_or_else(|| PathBuf::from(format!("{}.data", args.name)));
    let interrupted = Interrupted::watch(&data);
    let unfinished = Unfinished::folder(&data)?;
    let bar = bar(args.json);
    let length = std::fs::metadata(&args.file)
        .map_err(|error| Failure::not_done(format!("cannot read the backup `{}`: {error}", args.file.display())))?;
    bar.set_length(length.len());
    // All of it, before anything is made of any of it.
    let contents = interrupted.unless(checked(&args.file, &bar, &interrupted))?;
    let (disk, name) = opened(&args.file, &interrupted)?;
    let folder = DataFolder::open(unfinished.path(), || Incarnation(rand::random()));
    let folder = folder.map_err(|error| match &error.reason {
        Reason::Disk(error) => unfinished.broken_off(error),
        _ => Failure::not_done(error.to_string()),
    })?;
    let member = Member { id: NodeId(1), name: args.name.to_string(), incarnation: folder.incarnation() };
    let founder = Founder { cluster: args.cluster.clone(), member };
    bar.set_position(0);
    bar.set_message("restores");
    let (read, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let restored = followed(&bar, &written, || {
        let reader = Reader::of_any_slot(disk, &name)?.followed_by(read);
        let journal = (Settings::default(), rand::random());
        let disk = Interruptible::new(folder.disk().clone(), &interrupted);
        backup::restore(reader, Composite::default(), &disk, &founder, journal, &written)
    });
    interrupted.unless(restored.map_err(|error| match error {
        RestoreError::Backup(error) => Failure::not_done(explained(&args.file, &error)),
        RestoreError::Disk(error) => unfinished.broken_off(&error),
        RestoreError::Folder(reason) => Failure::not_done(reason),
    }))?;
    bar.finish_and_clear();
    unfinished.finish()?;
    drop(folder);
    let shown = if args.json { as_json(args, &data, &contents) } else { advice(args, &data, &contents) };
    Ok(Printer::standard(args.json).line(&shown).map_or_else(Unshown::exit_code, |()| DONE))
}

fn as_json(args: &RestoreArgs, data: &Path, contents: &Contents) -> String {
    json!({
        "data": data,
        "name": args.name.to_string(),
        "cluster": args.cluster,
        "slot": contents.upto.0,
        "bytes": contents.bytes,
        "digest": hex(&contents.digest),
    })
    .to_string()
}

/// What was done, and what to do next.
fn advice(args: &RestoreArgs, data: &Path, contents: &Contents) -> String {
    let RestoreArgs { name, cluster, .. } = args;
    let cluster =
        if cluster == DEFAULT_CLUSTER { String::new() } else { format!(" --cluster {}", words::quote(cluster)) };
    let folder = words::quote(&data.display().to_string());
    format!(
        "{}: {}\n{name} is the first node of a new cluster. Start it, and then others, which join it:\n  \
         synod start --name {name} --listen 127.0.0.1:7101 --data {folder}{cluster}\n  \
         synod start --name NAME --listen HOST:PORT --data DIR --join 127.0.0.1:7101{cluster}",
        data.display(),
        described(contents),
    )
}
