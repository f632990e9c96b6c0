//! Backups: the file of a snapshot, kept outside of any data folder; and the folder of a new cluster that begins with one.
//!
//! A backup is a snapshot's file, byte by byte: what the replicas agreed on (DESIGN section 4, rule 8), under the file's
//! own digest and the state's. A cluster that begins with one keeps machines, sessions and the log's clock, so that
//! retries from before are still told apart; its members and its identity are its own, so that it is never taken for the
//! cluster that the backup was taken from.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::disk::{Disk, DiskError};
use super::image;
use super::journal::{Journal, Settings};
use super::recovery::OpenError;
use super::snapshots::{Reader, SnapshotError, Snapshots};
use crate::paxos::image::Head;
use crate::paxos::{Agreement, Configuration, Digest, Member, Membership, Record, Slot, StateMachine};

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The state behind this slot.
    pub upto: Slot,
    /// The file's length in bytes.
    pub bytes: u64,
    /// The digest of the state.
    pub digest: Digest,
    /// The names of the members, in the order of their numbers.
    pub members: Vec<String>,
}

/// Reads a backup to its end and checks every checksum and the file's digest. `read` follows how far it is, in bytes.
///
/// # Errors
/// The file is damaged, or no backup, or of another version; or the disk did not do what it was asked.
pub fn check<D: Disk>(disk: &D, file: &str, read: &Arc<AtomicU64>) -> Result<Contents, SnapshotError> {
    let bytes = disk.len(file)?;
    let mut reader = Reader::of_any_slot(disk.clone(), file)?.followed_by(read.clone());
    let Head { upto, digest, membership, .. } = image::head(&mut reader)?;
    let members = membership.members().into_iter().map(|member| member.name.clone()).collect();
    reader.drain()?;
    Ok(Contents { upto, bytes, digest, members })
}

/// Who begins a cluster with a backup.
#[derive(Clone, Debug)]
pub struct Founder {
    /// The cluster's name.
    pub cluster: String,
    /// Its only member, for now.
    pub member: Member,
}

/// Why a backup was not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The backup cannot be used.
    Backup(SnapshotError),
    /// The new folder cannot be made: the disk did not do what it was asked.
    Disk(DiskError),
    /// The new folder cannot be made, for another reason.
    Folder(String),
}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> RestoreError {
        RestoreError::Backup(error)
    }
}

impl From<DiskError> for RestoreError {
    fn from(error: DiskError) -> RestoreError {
        RestoreError::Disk(error)
    }
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> RestoreError {
        match error {
            OpenError::Disk(error) => RestoreError::Disk(error),
            other => RestoreError::Folder(other.to_string()),
        }
    }
}

/// Makes, on an empty disk, what the only member of a new cluster begins with: the state of the backup, restored into
/// `machine`, checked by its digest, and saved again as a snapshot of this cluster; and a journal that begins behind it.
/// `written` follows how far that is, in bytes.
///
/// # Errors
/// As [`check`]; beyond that, what is restored has another digest than the backup states, or is not of this machine. What
/// was written until then is of no use.
pub fn restore<B: Disk, D: Disk, M: StateMachine>(
    backup: Reader<B>,
    machine: M,
    disk: &D,
    founder: &Founder,
    (settings, journal_id): (Settings, u64),
    written: &Arc<AtomicU64>,
) -> Result<Slot, RestoreError> {
    let Founder { cluster, member } = founder;
    let mut state = image::read(backup, machine)?;
    let upto = state.upto;
    let configuration = Configuration::new(vec![member.clone()]).expect("one member");
    state.membership = Membership::founded(configuration.clone());
    state.membership.on_executed(upto);
    state.agreement = Agreement::default();
    let snapshots = Snapshots::new(disk.clone());
    let mut writer = snapshots.begin(upto)?.followed_by(written.clone());
    image::write(&state.freeze(), &mut writer, || Ok(true))?;
    writer.finish()?;
    snapshots.keep(upto)?;
    let mut journal = Journal::create(disk.clone(), settings, journal_id)?;
    journal.append(&Record::Founded { cluster: cluster.clone(), node: member.id, configuration });
    journal.commit()?;
    journal.forget(upto)?;
    journal.seal()?;
    Ok(upto)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Kv;
    use crate::machine::kv::Operation;
    use crate::paxos::sessions::{Sessions, Verdict};
    use crate::paxos::{Context, Incarnation, NodeId, Place, Sequence, State};
    use crate::storage::{Held, MemoryDisk};

    const SETTINGS: Settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };

    fn state() -> State<Kv> {
        let (mut machine, mut sessions) = (Kv::default(), Sessions::new());
        for key in 0..300_u32 {
            let place = Place { slot: Slot(40), index: key };
            let put = Operation::Put { key: format!("key {key}").into(), value: vec![key as u8; 1000].into() };
            machine.apply(&Context { now_ms: 0, seed: 0, place }, &crate::codec::encode(&put));
        }
        let session = sessions.open(5);
        assert_eq!(sessions.judge(session, Sequence(1), Sequence(1), 5), Verdict::New);
        sessions.remember(session, Sequence(1), Place { slot: Slot(40), index: 1 }, "result".into());
        let membership = Membership::founded(Configuration::numbered(3));
        let mut agreement = Agreement::default();
        agreement.on_mark(Slot(41));
        let mut state =
            State { upto: Slot(41), clock_ms: 5, sessions, membership, agreement, machine, digest: Default::default() };
        state.digest = image::digest(&state.freeze());
        state
    }

    /// The backup of a state, as a file.
    fn backup(state: &State<Kv>) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let snapshots = Snapshots::new(disk.clone());
        let mut writer = snapshots.begin(state.upto).expect("begun");
        image::write(&state.freeze(), &mut writer, || Ok(true)).expect("written");
        writer.finish().expect("finished");
        snapshots.keep(state.upto).expect("kept");
        disk.rename(&format!("snapshot-{:020}", state.upto.0), FILE).expect("renamed");
        disk
    }

    const FILE: &str = "monday.backup";

    fn founder() -> Founder {
        let member = Member { id: NodeId(1), name: "m1".into(), incarnation: Incarnation(77) };
        Founder { cluster: "another".into(), member }
    }

    fn restored(backup: &MemoryDisk, disk: &MemoryDisk) -> Result<Slot, RestoreError> {
        let reader = Reader::of_any_slot(backup.clone(), FILE)?;
        restore(reader, Kv::default(), disk, &founder(), (SETTINGS, 9), &Arc::default())
    }

    #[test]
    fn a_new_cluster_has_the_data_and_the_sessions_and_members_of_its_own() {
        let (taken, disk) = (state(), MemoryDisk::new());
        let file = backup(&taken);
        let read = Arc::new(AtomicU64::new(0));
        let contents = check(&file, FILE, &read).expect("it is whole");
        let members = ["n1", "n2", "n3"].map(str::to_owned).to_vec();
        let bytes = file.len(FILE).expect("it is there");
        assert_eq!(contents, Contents { upto: Slot(41), bytes, digest: taken.digest, members });
        assert!(read.load(std::sync::atomic::Ordering::Relaxed) > 300_000);
        assert_eq!(restored(&file, &disk), Ok(Slot(41)));
        let held = Held::open(&disk, SETTINGS, 1, &Kv::default(), Vec::new()).expect("a node starts from it");
        let [Record::Founded { cluster, node: NodeId(1), configuration }, ..] = &held.records[..] else {
            panic!("who it is comes first: {:?}", held.records)
        };
        assert_eq!((cluster.as_str(), configuration.members()), ("another", &[founder().member][..]));
        let begun = held.snapshot.as_ref().expect("the state");
        assert_eq!((&begun.machine, &begun.sessions, begun.clock_ms), (&taken.machine, &taken.sessions, 5));
        assert_eq!(begun.membership.members(), [&founder().member]);
        assert_eq!(begun.membership.known_upto(), Slot(41).plus(begun.membership.alpha()));
        assert_eq!(begun.agreement, Agreement::default(), "what other replicas agreed on");
        assert_eq!((held.journal.trimmed_upto(), held.damaged.len()), (Slot(41), 0));
        assert!(restored(&file, &disk).is_err(), "a folder that has a journal is not touched");
    }

    #[test]
    fn every_byte_of_a_backup_is_checked() {
        let whole = backup(&state());
        let length = whole.len(FILE).expect("it is there");
        for at in (0..length as usize).step_by(997).chain(0..64) {
            let file = whole.fork();
            file.flip(FILE, at, at as u8 % 8);
            assert!(check(&file, FILE, &Arc::default()).is_err(), "the bit in byte {at} flipped");
            assert!(restored(&file, &MemoryDisk::new()).is_err(), "the bit in byte {at} flipped");
        }
        for kept in [0, 1, 63, 64, 1000, length - 1] {
            let cut = MemoryDisk::new();
            cut.create(FILE).expect("made");
            let bytes = whole.read(FILE, 0, kept as usize).expect("read");
            cut.write_at(FILE, 0, &bytes).expect("written");
            assert!(check(&cut, FILE, &Arc::default()).is_err(), "{kept} bytes");
        }
    }
}
