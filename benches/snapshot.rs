//! How long a snapshot keeps a node from executing commands: freezes, writes and loads a key-value store of some size
//! while commands go on, with the very executor, keeper and disk of a node.
//!
//! ```text
//! cargo bench --no-default-features --bench snapshot                          64 MB, a few seconds
//! cargo bench --no-default-features --bench snapshot -- --megabytes 1024      what docs/performance.md quotes
//! ```
//!
//! Without the runtime it is built in a minute; the disk of the operating system, which is a part of that, is taken in here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use synod::machine::kv::Operation;
use synod::machine::{Composite, Kv, MachineId};
use synod::paxos::dispatch::SnapshotWork;
use synod::paxos::sessions::Sessions;
use synod::paxos::{
    Ballot, Bytes, Choice, Command, Configuration, Effects, Executor, Membership, NodeId, Place, Sequence, SessionId,
    Settings, Slot, Stamp, State, StateMachine, Taken, Value,
};
use synod::storage::keeper::Meanwhile;
use synod::storage::{Keep, Keeper, Snapshots, disk, image};

#[expect(dead_code, reason = "not all of it is needed here")]
#[path = "../src/storage/files.rs"]
mod files;

use files::FileDisk;

const VALUE_BYTES: usize = 1000;
const SESSIONS: u64 = 100_000;
const COMMANDS_A_SLOT: u64 = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--megabytes").map(|at| arguments.get(at + 1));
    let megabytes: u64 = match given {
        Some(Some(number)) => number.parse()?,
        Some(None) => return Err("--megabytes needs a number".into()),
        None => 64,
    };
    let folder = std::env::temp_dir().join(format!("synod-snapshot-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(megabytes, FileDisk::new(&folder));
    std::fs::remove_dir_all(folder)?;
    measured
}

fn measure(megabytes: u64, disk: FileDisk) -> Result<(), Box<dyn std::error::Error>> {
    let keys = megabytes * 1_000_000 / VALUE_BYTES as u64;
    let mut load = Load { keys, slot: 0 };
    let mut executor = Executor::new(
        NodeId(1),
        Membership::founded(Configuration::numbered(3)),
        Settings::default(),
        Composite::default(),
        1,
    );
    executor.restore(full(keys)?);
    println!("state                            {megabytes} MB in {keys} keys, {SESSIONS} sessions");

    let quiet = load.run(&mut executor, |elapsed, _| elapsed >= Duration::from_secs(2));
    println!("commands, nothing else           {quiet}");

    let began = Instant::now();
    let frozen = executor.freeze();
    println!("freezing                         {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
    let upto = frozen.upto;
    let began = Instant::now();
    let expected = image::digest(&frozen);
    println!("digesting it, on another thread  {:.2} s", began.elapsed().as_secs_f64());

    let mut keeper = Keeper::new(NodeId(1), disk.clone(), Composite::default());
    let writing = std::thread::spawn(move || {
        let began = Instant::now();
        let taken = Taken { image: frozen, save: true, number: 0 };
        let agreed = Keep::Work(SnapshotWork::Proven { upto, digest: expected });
        for work in [agreed, Keep::Own(Box::new(taken))] {
            keeper.perform(work, &mut || Meanwhile::Nothing, &mut |_| {})?;
        }
        Ok::<_, disk::DiskError>(began.elapsed())
    });
    let busy = load.run(&mut executor, |_, _| writing.is_finished());
    let written = writing.join().map_err(|_| "the keeper broke")??;
    println!("commands, while it is written    {busy}");
    let reader = Snapshots::new(disk.clone()).load(upto)?;
    let bytes = reader.left();
    println!("writing it, on another thread    {:.2} s, {} MB", written.as_secs_f64(), bytes / 1_000_000);

    let began = Instant::now();
    let state = image::read(reader, executor.machine().empty())?;
    println!("loading it, on another thread    {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!(image::digest(&state.freeze()), expected, "what is loaded is what was frozen");

    let ahead = State { upto: executor.executed_upto().next(), ..state };
    let began = Instant::now();
    let replaced = executor.install(ahead, &mut Effects::new());
    println!("installing it                    {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
    let began = Instant::now();
    drop(replaced);
    println!("letting go of the old state      {:.2} s, on another thread", began.elapsed().as_secs_f64());
    Ok(())
}

/// A store of so many keys, and as many sessions as a cluster takes, each with a result.
fn full(keys: u64) -> Result<State<Composite>, Box<dyn std::error::Error>> {
    let mut kv = Kv::default();
    for key in 0..keys {
        kv.execute(Operation::Put { key: name(key), value: value(key) })?;
    }
    let mut parts = kv
        .freeze()
        .parts()
        .map(|mut part| {
            part.insert(0, MachineId::Kv as u8);
            part
        })
        .collect::<Vec<_>>()
        .into_iter();
    let head = Composite::default().freeze().parts().next().into_iter();
    let mut machine = Composite::default();
    machine.restore(&mut head.chain(&mut parts))?;
    let mut sessions = Sessions::new();
    for index in 1..=SESSIONS as u32 {
        let session = sessions.open(1);
        sessions.judge(session, Sequence(1), Sequence(1), 1);
        sessions.remember(session, Sequence(1), Place { slot: Slot(1), index }, Bytes::from("done"));
    }
    let membership = Membership::founded(Configuration::numbered(3));
    let agreement = Default::default();
    Ok(State { upto: Slot(1), clock_ms: 1, sessions, membership, agreement, machine, digest: [0; 32] })
}

fn name(key: u64) -> Bytes {
    format!("key-{:012}", key.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1_000_000_000_000).into()
}

fn value(key: u64) -> Bytes {
    vec![key as u8; VALUE_BYTES].into()
}

/// Writes to keys all over the store, from all over the session table.
struct Load {
    keys: u64,
    slot: u64,
}

impl Load {
    /// Executes slot after slot until it is time.
    fn run(&mut self, executor: &mut Executor<Composite>, is_time: impl Fn(Duration, u64) -> bool) -> Pauses {
        let mut next: BTreeMap<SessionId, u64> = BTreeMap::new();
        let began = Instant::now();
        let mut pauses = Vec::new();
        while !is_time(began.elapsed(), pauses.len() as u64) {
            let slot = executor.executed_upto().next();
            let entries = self.entries(slot, &mut next);
            let mut effects = Effects::new();
            let (began, ran) = (Instant::now(), on_processor());
            executor.on_chosen(entries, &mut effects);
            drop(executor.take_images());
            pauses.push((began.elapsed(), on_processor().saturating_sub(ran)));
        }
        pauses.sort_unstable();
        Pauses(pauses)
    }

    fn entries(&mut self, slot: Slot, next: &mut BTreeMap<SessionId, u64>) -> Vec<Choice> {
        let commands: Vec<Command> = (0..COMMANDS_A_SLOT)
            .map(|_| {
                self.slot += 1;
                let session = SessionId(1 + self.slot * 7919 % SESSIONS);
                let sequence = next.entry(session).or_insert(2 + self.slot);
                *sequence += 1;
                let key = self.slot.wrapping_mul(0x2545_F491_4F6C_DD1D) % self.keys;
                let put = Operation::Put { key: name(key), value: value(self.slot) };
                Command::Apply {
                    session,
                    sequence: Sequence(*sequence),
                    done_below: Sequence(*sequence),
                    operation: MachineId::Kv.encode(&put).into(),
                }
            })
            .collect();
        let value = Value::batch(Stamp { time_ms: slot.0, seed: slot.0 }, &commands);
        vec![(slot, Ballot::new(1, NodeId(1)), value)]
    }
}

/// How long this thread has run, to a few milliseconds; zero where the system does not tell. What a slot took besides
/// belongs to other programs.
fn on_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0))
}

/// How long each slot took, ascending, and how much of that on a processor.
struct Pauses(Vec<(Duration, Duration)>);

impl std::fmt::Display for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Pauses(all) = self;
        let ms = |pause: Duration| pause.as_secs_f64() * 1000.0;
        let at = |at: usize| all.get(at).map_or(0.0, |(pause, _)| ms(*pause));
        let (median, nearly_all) = (at(all.len() / 2), at(all.len() * 999 / 1000));
        write!(f, "{} slots of {COMMANDS_A_SLOT}: median {median:.2} ms, 99.9 % within {nearly_all:.2} ms", all.len())?;
        let longest = all.iter().rev().take(3).map(|(pause, ran)| format!("{:.1} ({:.0})", ms(*pause), ms(*ran)));
        write!(f, ", longest (on a processor) {} ms", longest.collect::<Vec<_>>().join(", "))
    }
}
