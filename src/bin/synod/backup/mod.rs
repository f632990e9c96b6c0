//! `synod backup FILE` and `synod restore FILE`: the state of a cluster, out of it and into a new one.
//!
//! | file | what it holds |
//! |---|---|
//! | here | a file from a cluster that runs |
//! | `restore` | the folder of a new cluster's first node from such a file |
//! | `place` | files beside the one that is meant, until all of it is there |
//! | `interrupted` | what a signal does in the middle |
//!
//! A file has its name only once it is whole, checked and durable; a folder, too. Whatever goes wrong before, nothing is
//! left behind, and nothing that was there is touched.

mod interrupted;
mod place;
pub mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use synod::client::{Backup, Client, ClientError, ConnectOptions};
use synod::paxos::effect::SNAPSHOT_PART_BYTES;
use synod::storage::FileDisk;
use synod::storage::backup::{self, Contents};
use synod::storage::snapshots::SnapshotError;

use crate::answer::{DONE, Failure};
use crate::backend::unreachable;
use crate::cookie;
use crate::grammar::{Address, ConnectArgs, deadline};
use crate::output::{Printer, Unshown};
use interrupted::{Interrupted, Interruptible};
use place::Unfinished;

/// Where to, and from which cluster.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    after_help = "Examples:\n  synod backup monday.backup\n  synod backup --connect 127.0.0.1:7102 --json monday.backup\n\n\
        The backup holds everything that was done before the command began. The cluster goes\non meanwhile. `synod restore` \
        begins a new cluster with it.\n\n\
        Exit codes: 0 done, 1 not done, 2 usage, 130 interrupted, 143 terminated."
)]
pub struct BackupArgs {
    /// The file to be made.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// How long the cluster may take for a snapshot, before any of it is fetched.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = deadline)]
    pub patience: Duration,

    /// How to reach the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Fetches a backup, and says what it holds.
pub fn run(args: &BackupArgs) -> Result<u8, Failure> {
    let begun = Instant::now();
    let cookie = cookie::read(args.connect.cookie_file.as_deref())?;
    let interrupted = Interrupted::watch(&args.file);
    let mut file = Unfinished::file(&args.file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::not_done(format!("no runtime for the client: {error}")))?;
    let addresses = args.connect.connect.iter().map(Address::to_string).collect();
    let mut options = ConnectOptions::new(addresses, args.connect.cluster.clone(), cookie);
    options.deadline = args.connect.deadline;
    let bar = bar(args.connect.json);
    runtime.block_on(interrupted.or(async {
        bar.set_message("waits for a snapshot");
        let client = Client::connect(options).await.map_err(unreachable)?;
        let backup = client.backup(args.patience).await.map_err(unreachable)?;
        bar.set_length(backup.bytes);
        bar.set_message("fetches");
        fetch(&backup, &mut file, &bar).await
    }))?;
    let contents = interrupted.unless(checked(file.path(), &bar, &interrupted))?;
    bar.finish_and_clear();
    file.finish()?;
    let shown = if args.connect.json {
        let took = begun.elapsed().as_secs_f64();
        json!({
            "file": args.file,
            "slot": contents.upto.0,
            "bytes": contents.bytes,
            "digest": hex(&contents.digest),
            "members": contents.members,
            "elapsed_seconds": took,
        })
        .to_string()
    } else {
        format!("{}: {} in {:.1} s", args.file.display(), described(&contents), begun.elapsed().as_secs_f64())
    };
    Ok(Printer::standard(args.connect.json).line(&shown).map_or_else(Unshown::exit_code, |()| DONE))
}

/// Fetches the file, a few parts ahead of what is written.
async fn fetch(backup: &Backup, file: &mut Unfinished, bar: &ProgressBar) -> Result<(), Failure> {
    let offsets = (0..backup.bytes).step_by(SNAPSHOT_PART_BYTES);
    let mut parts = stream::iter(offsets).map(|offset| backup.part(offset)).buffered(PARTS_AHEAD);
    while let Some(part) = parts.try_next().await.map_err(broken_off)? {
        file.write(&part)?;
        bar.inc(part.len() as u64);
    }
    file.sync()
}

fn broken_off(error: ClientError) -> Failure {
    Failure::not_done(format!("the backup broke off: {error}; nothing is left of it: begin again"))
}

/// Reads the file once more, as it is on the disk: what it holds, if all of it is right.
fn checked(path: &Path, bar: &ProgressBar, interrupted: &Interrupted) -> Result<Contents, Failure> {
    let (disk, name) = opened(path, interrupted)?;
    bar.set_position(0);
    bar.set_message("checks");
    let read = Arc::new(AtomicU64::new(0));
    let followed = followed(bar, &read, || backup::check(&disk, &name, &read));
    followed.map_err(|error| Failure::not_done(explained(path, &error)))
}

/// The disk on which a file lies, and its name there.
fn opened(path: &Path, interrupted: &Interrupted) -> Result<(Interruptible<FileDisk>, String), Failure> {
    let unusable = || Failure::usage(format!("`{}` is not a file's name: name one", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unusable)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Interruptible::new(FileDisk::new(folder), interrupted), name.to_owned()))
}

/// Does something long on this thread, while another draws how far it is.
fn followed<T>(bar: &ProgressBar, done: &Arc<AtomicU64>, work: impl FnOnce() -> T) -> T {
    let (working, is_over) = channel::<()>();
    std::thread::scope(|scope| {
        let (bar, done) = (bar.clone(), done.clone());
        scope.spawn(move || {
            while is_over.recv_timeout(DRAW_EVERY) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(done.load(Ordering::Relaxed));
            }
        });
        // Let go of by a panic, too.
        let _working = working;
        work()
    })
}

/// Why a file is no backup that can be used, and what to do.
fn explained(path: &Path, error: &SnapshotError) -> String {
    let file = path.display();
    match error {
        SnapshotError::Damaged { reason, .. } => {
            format!("the backup `{file}` is damaged: {reason}; use another one")
        }
        SnapshotError::Foreign { reason, .. } => {
            format!("the backup `{file}` cannot be restored: {reason}; use the version of synod that wrote it")
        }
        SnapshotError::UnknownVersion { .. } | SnapshotError::Disk(_) => error.to_string(),
    }
}

/// What a backup holds, in words.
fn described(contents: &Contents) -> String {
    let Contents { upto, bytes, digest, members } = contents;
    format!(
        "the state of {} at slot {upto}, {}, digest {}",
        members.join(", "),
        BinaryBytes(*bytes),
        &hex(digest)[..16]
    )
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Drawn on a terminal only, on standard error.
fn bar(json: bool) -> ProgressBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = "{spinner} {msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// How many parts are on their way at most.
const PARTS_AHEAD: usize = 4;
const DRAW_EVERY: Duration = Duration::from_millis(100);
