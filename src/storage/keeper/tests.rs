//! What the keeper does with its own images and with a peer's snapshot, whatever the disk and the peer do.

use super::*;
use crate::machine::Kv;
use crate::machine::kv::Operation;
use crate::paxos::dice::Dice;
use crate::paxos::sessions::{Sessions, Verdict};
use crate::paxos::{Place, Sequence};
use crate::storage::{Held, Journal, MemoryDisk, Settings};

const OWN: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

pub(super) type TestKeeper = Keeper<MemoryDisk, Kv>;

pub(super) fn keeper(disk: &MemoryDisk) -> TestKeeper {
    Keeper::new(OWN, disk.clone(), Kv::default())
}

/// A state at that slot, of about so many bytes.
pub(super) fn state(upto: u64, bytes: usize) -> State<Kv> {
    let mut machine = Kv::default();
    let mut dice = Dice::new(upto);
    for n in 0..bytes.div_ceil(1000) {
        let value: Vec<u8> = (0..1000).map(|_| dice.roll() as u8).collect();
        let put = Operation::Put { key: format!("key {n:06}").into(), value: value.into() };
        machine.execute(put).expect("within the limits");
    }
    let mut sessions = Sessions::new();
    for n in 1..=3 {
        let id = sessions.open(n);
        assert_eq!(sessions.judge(id, Sequence(1), Sequence(1), n), Verdict::New);
        sessions.remember(id, Sequence(1), Place { slot: Slot(upto), index: 1 }, "result".into());
    }
    let (membership, agreement) = (founders(), Default::default());
    let mut state = State { upto: Slot(upto), clock_ms: 5, sessions, membership, agreement, machine, digest: [0; 32] };
    state.digest = image::digest(&state.freeze());
    state
}

fn perform(keeper: &mut TestKeeper, work: Keep) -> Result<Vec<Kept<Kv>>, DiskError> {
    let mut kept = Vec::new();
    let mut tell = |one| kept.push(one);
    if let Keep::Own(taken) = &work {
        let image = &taken.image;
        keeper.perform(proven(image.upto.0, image::digest(image)), &mut || Meanwhile::Nothing, &mut tell)?;
    }
    keeper.perform(work, &mut || Meanwhile::Nothing, &mut tell)?;
    kept.retain(|one| !is_digest(one));
    Ok(kept)
}

/// What is told of every image.
fn is_digest(kept: &Kept<Kv>) -> bool {
    matches!(kept, Kept::Say(OWN, Message::Executor(ExecutorMessage::Digested { .. })))
}

pub(super) fn done(keeper: &mut TestKeeper, work: Keep) -> Vec<Kept<Kv>> {
    perform(keeper, work).expect("the disk works")
}

pub(super) fn own(state: &State<Kv>) -> Keep {
    Keep::Own(Box::new(Taken { image: state.freeze(), save: true, number: 1 }))
}

fn proven(upto: u64, digest: Digest) -> Keep {
    Keep::Work(SnapshotWork::Proven { upto: Slot(upto), digest })
}

fn installed(upto: u64) -> Keep {
    Keep::Installed { upto: Slot(upto), replaced: Box::new(()) }
}

fn saved(upto: u64) -> Kept<Kv> {
    Kept::Say(OWN, ExecutorMessage::SnapshotSaved { upto: Slot(upto) }.into())
}

fn dropped(id: SnapshotId, because: Dropped) -> Kept<Kv> {
    Kept::Say(OWN, LearnerMessage::SnapshotDropped { id, because }.into())
}

fn trim(upto: u64) -> Kept<Kv> {
    Kept::Disk(DiskWork::Trim { upto: Slot(upto) })
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.list().expect("names")
}

fn file(disk: &MemoryDisk, upto: u64) -> Vec<u8> {
    disk.read_all(&format!("snapshot-{upto:020}")).expect("it is there")
}

/// Has the supplier read one part for a peer.
fn supplied(supplier: &mut TestKeeper, wanted: Option<SnapshotId>, offset: u64) -> Option<SnapshotPart> {
    match done(supplier, Keep::Work(SnapshotWork::Supply { to: PEER, wanted, offset })).pop()? {
        Kept::Say(PEER, Message::Learner(LearnerMessage::SnapshotPart { upto, id, total, offset, bytes })) => {
            Some(SnapshotPart { upto, id, total, offset, bytes })
        }
        other => panic!("a part: {other:?}"),
    }
}

/// Every part of the newest snapshot of this node.
fn parts(supplier: &mut TestKeeper) -> Vec<SnapshotPart> {
    let first = supplied(supplier, None, 0).expect("there is one");
    let (id, total) = (first.id, first.total);
    let mut parts = vec![first];
    while let Some(last) = parts.last()
        && last.offset + (last.bytes.len() as u64) < total
    {
        let next = last.offset + last.bytes.len() as u64;
        parts.push(supplied(supplier, Some(id), next).expect("there is more"));
    }
    parts
}

/// The parts of a snapshot of that state.
fn parts_of(state: &State<Kv>) -> Vec<SnapshotPart> {
    let mut supplier = keeper(&MemoryDisk::new());
    done(&mut supplier, own(state));
    parts(&mut supplier)
}

fn take(part: &SnapshotPart) -> Keep {
    Keep::Work(SnapshotWork::Part(part.clone()))
}

/// The state that the newest snapshot on the disk holds.
fn newest(disk: &MemoryDisk) -> Option<State<Kv>> {
    let settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };
    let beside = disk.fork();
    let has_journal = Journal::exists(disk).expect("listed");
    let disk = if has_journal { disk } else { &beside };
    if !has_journal {
        Journal::create(disk.clone(), settings, 9).expect("a journal beside it");
    }
    Held::open(disk, settings, 9, &Kv::default(), Vec::new()).expect("a node starts from it").snapshot
}

pub(super) const LONG: usize = 700_000;

#[test]
fn the_journal_is_trimmed_up_to_the_older_of_two_snapshots() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    assert_eq!(done(&mut keeper, own(&state(5, 10))), [saved(5)], "one that rots must not be the only one");
    assert_eq!(done(&mut keeper, own(&state(9, 10))), [saved(9), trim(5)]);
    assert_eq!(newest(&disk), Some(state(9, 10)));
    let before = disk.operations();
    assert_eq!(done(&mut keeper, own(&state(9, 10))), [saved(9), trim(5)], "it is there already");
    assert_eq!(disk.operations(), before);
}

#[test]
fn rule_8_what_the_replicas_have_not_agreed_on_is_no_snapshot() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    let mut only = |work| {
        let mut told = Vec::new();
        keeper.perform(work, &mut || Meanwhile::Nothing, &mut |one| told.push(one)).expect("the disk works");
        told.retain(|one| !is_digest(one));
        told
    };
    assert_eq!(only(own(&state(5, 10))), []);
    assert_eq!(names(&disk), ["snapshot.new"]);
    let agreed = |slot: u64| proven(slot, state(slot, 10).digest);
    assert_eq!(only(agreed(4)), [], "another one");
    assert_eq!(only(own(&state(6, 10))), [], "in the place of what was not agreed on");
    assert_eq!(only(agreed(5)), [], "too late");
    assert_eq!(only(proven(6, [1; 32])), [], "it was wrong when it was saved, and was repaired since");
    assert_eq!(only(agreed(6)), [saved(6)]);
    assert_eq!(only(agreed(9)), []);
    assert_eq!(only(own(&state(9, 10))), [saved(9), trim(6)], "agreed on while it was written");
    assert_eq!(newest(&disk), Some(state(9, 10)));
}

/// One executed the log; the other got a snapshot of the middle of it, and executed the rest.
#[test]
fn two_replicas_of_one_state_write_the_same_file_however_they_came_to_it() {
    use crate::machine::Composite;
    use crate::machine::MachineId;
    use crate::paxos::{Ballot, Command, Effects, Executor, SessionId, Stamp, Token, Value};
    let put = |slot: u64| {
        MachineId::Kv
            .encode(&Operation::Put { key: format!("k{}", slot % 7).into(), value: vec![slot as u8; 100].into() })
    };
    let value = |slot: u64| {
        let apply = Command::Apply {
            session: SessionId(1 + slot % 2),
            sequence: Sequence(1 + slot / 2),
            done_below: Sequence(slot / 3),
            operation: put(slot).into(),
        };
        Value::batch(Stamp { time_ms: slot * 10, seed: slot }, &[Command::Open { token: Token(slot.into()) }, apply])
    };
    let executor = |node| {
        let settings = crate::paxos::Settings { snapshot_slots: u64::MAX, ..Default::default() };
        Executor::new(NodeId(node), founders(), settings, Composite::default(), u64::from(node))
    };
    let execute = |executor: &mut Executor<Composite>, slots: std::ops::RangeInclusive<u64>, lot: usize| {
        let entries: Vec<_> = slots.map(|slot| (Slot(slot), Ballot::new(slot, NodeId(1)), value(slot))).collect();
        entries.chunks(lot).for_each(|lot| executor.on_chosen(lot.to_vec(), &mut Effects::new()));
    };
    let save = |executor: &Executor<Composite>| {
        let disk = MemoryDisk::new();
        let mut keeper = Keeper::new(OWN, disk.clone(), Composite::default());
        let image = executor.freeze();
        let proven = proven(image.upto.0, image::digest(&image));
        for work in [Keep::Own(Box::new(Taken { image, save: true, number: 1 })), proven] {
            keeper.perform(work, &mut || Meanwhile::Nothing, &mut |_| {}).expect("saved");
        }
        disk
    };
    let mut one = executor(1);
    execute(&mut one, 1..=60, 7);
    let (mut other, mut middle) = (executor(2), executor(3));
    execute(&mut middle, 1..=31, 1);
    let disk = save(&middle);
    let reader = Snapshots::new(disk).load(Slot(31)).expect("saved");
    other.install(image::read(reader, Composite::default()).expect("whole"), &mut Effects::new());
    execute(&mut other, 32..=60, 60);
    assert!(file(&save(&one), 60) == file(&save(&other), 60));
    assert_eq!(image::digest(&one.freeze()), image::digest(&other.freeze()));
    execute(&mut other, 61..=61, 1);
    assert_ne!(image::digest(&one.freeze()), image::digest(&other.freeze()));
}

#[test]
fn what_a_peer_sent_is_checked_then_installed_and_only_then_has_a_name() {
    let (disk, sent) = (MemoryDisk::new(), state(7, LONG));
    let parts = parts_of(&sent);
    assert_eq!(parts.len(), 3);
    let mut keeper = keeper(&disk);
    for part in &parts[..2] {
        let upto_bytes = part.offset + part.bytes.len() as u64;
        let kept = Kept::Say(OWN, LearnerMessage::PartKept { id: part.id, upto_bytes }.into());
        assert_eq!(done(&mut keeper, take(part)), [kept]);
    }
    assert_eq!(done(&mut keeper, take(&parts[2])), [Kept::Install(Box::new(sent.clone()))]);
    assert_eq!(names(&disk), ["snapshot.incoming"]);
    let forget = Kept::Disk(DiskWork::Forget { upto: Slot(7) });
    assert_eq!(done(&mut keeper, installed(7)), [saved(7), forget]);
    assert_eq!(newest(&disk), Some(sent));
    assert_eq!(names(&disk).iter().filter(|name| name.starts_with("snapshot")).count(), 1);
    assert_eq!(done(&mut keeper, installed(7)), [], "once");
}

#[test]
fn a_download_resumes_from_another_peer_that_has_the_very_same_snapshot() {
    let sent = state(7, LONG);
    let suppliers: Vec<TestKeeper> = (0..3)
        .map(|_| {
            let mut supplier = keeper(&MemoryDisk::new());
            done(&mut supplier, own(&sent));
            supplier
        })
        .collect();
    let mut keeper = keeper(&MemoryDisk::new());
    let (mut wanted, mut offset, mut came) = (None, 0, Vec::new());
    for mut supplier in suppliers {
        let part = supplied(&mut supplier, wanted, offset).expect("it has the same");
        assert_eq!(part.offset, offset, "it goes on where the one before it stopped");
        (wanted, offset) = (Some(part.id), offset + part.bytes.len() as u64);
        came = done(&mut keeper, take(&part));
    }
    assert_eq!(came, [Kept::Install(Box::new(sent))]);
}

#[test]
fn whoever_has_another_snapshot_supplies_that_from_the_beginning() {
    let mut supplier = keeper(&MemoryDisk::new());
    let ask = |supplier: &mut TestKeeper, wanted, offset| {
        supplied(supplier, wanted, offset).map(|part| (part.upto, part.offset))
    };
    assert_eq!(ask(&mut supplier, None, 0), None, "there is none");
    done(&mut supplier, own(&state(5, LONG)));
    let older = supplied(&mut supplier, None, 0).expect("it has one").id;
    done(&mut supplier, own(&state(9, LONG)));
    assert_eq!(ask(&mut supplier, Some(older), 262_144), Some((Slot(5), 262_144)), "it still has that");
    assert_eq!(ask(&mut supplier, Some(SnapshotId([9; 32])), 262_144), Some((Slot(9), 0)));
    assert_eq!(ask(&mut supplier, Some(older), u64::MAX), None, "behind the end");
}

#[test]
fn a_part_that_does_not_follow_what_is_there_changes_nothing() {
    let (disk, sent) = (MemoryDisk::new(), state(7, LONG));
    let (parts, other) = (parts_of(&sent), parts_of(&state(7, LONG + 1000)));
    let mut keeper = keeper(&disk);
    let refused = |part: &SnapshotPart| [dropped(part.id, Dropped::OutOfPlace)];
    assert_eq!(done(&mut keeper, take(&parts[1])), refused(&parts[1]), "nothing was begun");
    done(&mut keeper, take(&parts[0]));
    let before = disk.read_all("snapshot.incoming").expect("begun");
    assert_eq!(done(&mut keeper, take(&parts[2])), refused(&parts[2]), "one is missing");
    assert_eq!(done(&mut keeper, take(&other[1])), refused(&other[1]), "of another file");
    let mut hostile = parts[1].clone();
    hostile.total = hostile.offset + 1;
    assert_eq!(done(&mut keeper, take(&hostile)), refused(&hostile));
    assert_eq!(disk.read_all("snapshot.incoming").expect("as it was"), before);
    done(&mut keeper, take(&parts[1]));
    assert_eq!(done(&mut keeper, take(&parts[2])), [Kept::Install(Box::new(sent))]);
    assert_eq!(done(&mut keeper, take(&other[0])), refused(&other[0]), "the file is being installed");
    assert_eq!(done(&mut keeper, installed(7)).len(), 2);
}

#[test]
fn a_part_of_another_file_begins_anew() {
    let disk = MemoryDisk::new();
    let (sent, other) = (state(7, LONG), state(8, LONG / 2));
    let mut keeper = keeper(&disk);
    parts_of(&sent)[..2].iter().for_each(|part| drop(done(&mut keeper, take(part))));
    let came = parts_of(&other).iter().flat_map(|part| done(&mut keeper, take(part))).last();
    assert_eq!(came, Some(Kept::Install(Box::new(other))));
}

/// Wherever a bit is turned round on the way, the snapshot is dropped, and takes the place of nothing.
#[test]
fn damage_in_the_middle_of_a_download_is_found_and_takes_the_place_of_nothing() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    done(&mut keeper, own(&state(3, 10)));
    let (parts, before) = (parts_of(&state(7, LONG)), names(&disk));
    for (which, at) in [(0, 0), (0, 5), (0, 30), (0, 262_143), (1, 77_000), (2, 100)] {
        for (number, part) in parts.iter().enumerate() {
            let mut part = part.clone();
            if number == which {
                let mut bytes = part.bytes.to_vec();
                bytes[at] ^= 1;
                part.bytes = bytes.into();
            }
            let came = done(&mut keeper, take(&part));
            if number == parts.len() - 1 {
                assert!(matches!(&came[0], Kept::Trouble(why) if why.contains("and was announced as")), "{came:?}");
                assert_eq!(came[1..], [dropped(part.id, Dropped::Refused)]);
            }
        }
        assert_eq!(names(&disk), before);
    }
    assert_eq!(newest(&disk), Some(state(3, 10)));
}

/// The file is what its digest says, but what it holds is no state: every beginning of an image, and anything else.
#[test]
fn a_file_that_holds_no_state_is_refused() {
    let disk = MemoryDisk::new();
    let source = Snapshots::new(disk.clone());
    let sent = state(7, 10);
    let image: Vec<u8> = parts_of(&sent).iter().flat_map(|part| part.bytes.to_vec()).collect();
    let mut other_slot = image.clone();
    other_slot[9] ^= 1; // of the slot that the head states
    let mut other_digest = image.clone();
    other_digest[40] ^= 1;
    let cuts = (1..image.len()).step_by(7).map(|length| image[..length].to_vec());
    for hostile in cuts.chain([other_slot, other_digest, vec![3; 50], [&image[..], &image].concat()]) {
        let id = source.save(Slot(7), [&hostile]).expect("saved");
        let mut keeper = keeper(&MemoryDisk::new());
        let (total, bytes) = (hostile.len() as u64, hostile.into());
        let came = done(&mut keeper, take(&SnapshotPart { upto: Slot(7), id, total, offset: 0, bytes }));
        assert!(matches!(&came[0], Kept::Trouble(_)), "{came:?}");
        assert_eq!(came[1..], [dropped(id, Dropped::Refused)]);
    }
}

#[test]
fn a_full_disk_drops_the_snapshot_and_the_next_one_is_saved() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    done(&mut keeper, own(&state(3, 10)));
    let held = disk.len("snapshot-00000000000000000003").expect("saved");
    let unsaved = Kept::Say(OWN, ExecutorMessage::SnapshotUnsaved {}.into());
    for room in [0, 1, 100_000, LONG as u64] {
        disk.limit_bytes(held + room);
        let told = done(&mut keeper, own(&state(7, LONG)));
        let [Kept::Trouble(why), unsaved_too] = &told[..] else { panic!("it is told: {told:?}") };
        assert!(why.starts_with("there is no room for the snapshot of slot 7 (cannot write `snapshot.new`"), "{why}");
        assert_eq!((unsaved_too, &names(&disk)[..]), (&unsaved, &["snapshot-00000000000000000003".to_owned()][..]));
    }
    disk.unlimit();
    assert_eq!(done(&mut keeper, own(&state(9, LONG)))[0], saved(9));
}

#[test]
fn a_full_disk_drops_what_there_is_of_a_download() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    let (sent, long) = (state(7, 3 * LONG), parts_of(&state(7, 3 * LONG)));
    disk.limit_bytes(1_500_000);
    let mut told = Vec::new();
    for part in &long {
        told = done(&mut keeper, take(part));
        if told.len() > 1 {
            break;
        }
    }
    assert!(matches!(&told[0], Kept::Trouble(why) if why.contains("there is no room for a peer's snapshot of slot 7")));
    assert_eq!((&told[1..], names(&disk).len()), (&[dropped(long[0].id, Dropped::NoSpace)][..], 0));
    disk.unlimit();
    let came = long.iter().flat_map(|part| done(&mut keeper, take(part))).last();
    assert_eq!(came, Some(Kept::Install(Box::new(sent))));
}

/// The power goes at any operation of a download and of the installation behind it, and everything that was not synced is
/// lost or kept: the node starts from the older snapshot or from the new one, and nothing unfinished is left.
#[test]
fn a_crash_at_any_operation_of_a_download_or_an_installation_leaves_the_old_or_the_new() {
    let (old, new) = (state(3, 10), state(7, 3 * LONG));
    let parts = parts_of(&new);
    let settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };
    for operations in 0.. {
        let disk = MemoryDisk::new();
        Held::open(&disk, settings, 9, &Kv::default(), Vec::new()).expect("a journal");
        let mut keeper = keeper(&disk);
        done(&mut keeper, own(&old));
        disk.fail_after(operations);
        let download: Result<Vec<_>, _> = parts.iter().map(|part| perform(&mut keeper, take(part))).collect();
        let named = download.is_ok() && perform(&mut keeper, installed(7)).is_ok();
        for keep in [0, u64::MAX] {
            let disk = disk.fork();
            disk.crash(|bound| bound & keep);
            let newest = newest(&disk);
            assert!(newest.as_ref() == Some(&new) || !named && newest.as_ref() == Some(&old), "{operations}");
            assert!(!names(&disk).iter().any(|name| name.starts_with("snapshot.")), "{:?}", names(&disk));
        }
        if named {
            assert!(operations > 8, "it took several");
            return;
        }
    }
}

#[test]
fn what_peers_ask_for_does_not_wait_for_a_snapshot_that_is_being_written() {
    let mut keeper = keeper(&MemoryDisk::new());
    done(&mut keeper, own(&state(5, LONG)));
    let mut asked = vec![SnapshotWork::Supply { to: PEER, wanted: None, offset: 0 }];
    let mut told = Vec::new();
    let mut meanwhile = || asked.pop().map_or(Meanwhile::Nothing, Meanwhile::Work);
    keeper.perform(own(&state(9, LONG)), &mut meanwhile, &mut |one| told.push(one)).expect("the disk works");
    assert!(is_digest(&told.remove(0)), "before anything is written");
    let [Kept::Say(PEER, Message::Learner(LearnerMessage::SnapshotPart { upto: Slot(5), .. }))] = &told[..] else {
        panic!("a part of the older one")
    };
    assert_eq!(done(&mut keeper, proven(9, state(9, LONG).digest)), [saved(9), trim(5)], "it was written meanwhile");
}

#[test]
fn rule_8_what_is_agreed_on_long_before_it_is_written_is_a_snapshot_all_the_same() {
    let disk = MemoryDisk::new();
    let mut marks = 8..;
    let mut meanwhile = || match marks.next() {
        Some(9) => Meanwhile::Work(SnapshotWork::Proven { upto: Slot(9), digest: state(9, LONG).digest }),
        Some(mark @ ..30) => Meanwhile::Work(SnapshotWork::Proven { upto: Slot(mark), digest: [0; 32] }),
        _ => Meanwhile::Nothing,
    };
    let mut told = Vec::new();
    keeper(&disk).perform(own(&state(9, LONG)), &mut meanwhile, &mut |one| told.push(one)).expect("the disk works");
    assert_eq!(told.split_off(1), [saved(9)]);
}

/// Memory that the frozen state shares with the one that goes on.
struct Flips {
    read: std::cell::Cell<u32>,
    frozen: Box<dyn crate::paxos::state_machine::Frozen>,
}

impl crate::paxos::state_machine::Frozen for Flips {
    fn parts(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        self.read.set(self.read.get() + 1);
        let is_late = self.read.get() > 1;
        Box::new(self.frozen.parts().map(move |mut part| {
            part[9] ^= u8::from(is_late);
            part
        }))
    }

    fn digest(&self) -> [u8; 32] {
        self.frozen.digest()
    }
}

#[test]
fn rule_8_what_changes_in_memory_while_it_is_written_is_no_snapshot() {
    let disk = MemoryDisk::new();
    let mut keeper = keeper(&disk);
    done(&mut keeper, proven(9, state(9, LONG).digest));
    let image = state(9, LONG).freeze();
    let image = Image { machine: Box::new(Flips { read: 0.into(), frozen: image.machine }), ..image };
    let mut told = Vec::new();
    let taken = Keep::Own(Box::new(Taken { image, save: true, number: 1 }));
    keeper.perform(taken, &mut || Meanwhile::Nothing, &mut |one| told.push(one)).expect("the disk works");
    let [digested, Kept::Trouble(trouble), unsaved] = &told[..] else { panic!("{told:?}") };
    assert!(is_digest(digested) && trouble.contains("changed in memory"), "{trouble}");
    assert_eq!(*unsaved, Kept::Say(OWN, ExecutorMessage::SnapshotUnsaved {}.into()));
    assert_eq!(names(&disk), Vec::<String>::new());
}

#[test]
fn a_snapshot_that_is_being_written_is_given_up_when_the_node_stops() {
    let disk = MemoryDisk::new();
    let mut told = Vec::new();
    let stops = &mut || Meanwhile::Stop;
    keeper(&disk).perform(own(&state(9, LONG)), stops, &mut |one| told.push(one)).expect("the disk works");
    told.retain(|one| !is_digest(one));
    assert_eq!((told, names(&disk)), (vec![], Vec::<String>::new()));
}

fn founders() -> crate::paxos::Membership {
    crate::paxos::Membership::founded(crate::paxos::Configuration::numbered(3))
}
