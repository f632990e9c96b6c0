//! The journal over a disk that tears, loses, rots and fails (DESIGN rule 4).

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and the line says where")]

use std::collections::BTreeSet;

use synod::paxos::{
    Ballot, BatchNumber, Bytes, Command, Configuration, NodeId, Record, Sequence, SessionId, Slot, Stamp, Value,
};
use synod::storage::{Disk, Journal, MemoryDisk, OpenError, Settings};

const SMALL: Settings = Settings { segment_bytes: 16 * 1024, first_segment_bytes: 8 * 1024, spares: 2, keep_bytes: 0 };
const FIRST: &str = "journal-0000000001";

fn ballot(round: u64) -> Ballot {
    Ballot::new(round, NodeId(1))
}

fn value(seed: u64, length: usize) -> Value {
    let operation = Bytes::from(vec![seed as u8; length]);
    let (session, sequence, done_below) = (SessionId(1), Sequence(seed), Sequence(0));
    Value::batch(Stamp { time_ms: 1, seed }, &[Command::Apply { session, sequence, done_below, operation }])
}

fn vote(slot: u64, round: u64, length: usize) -> Record {
    Record::Vote { slot: Slot(slot), ballot: ballot(round), value: value(slot * 100 + round, length) }
}

fn chosen(slot: u64, round: u64) -> Record {
    Record::Chosen { slot: Slot(slot), ballot: ballot(round), value: value(slot * 100 + round, 9) }
}

fn promise(round: u64) -> Record {
    Record::Promise { ballot: ballot(round) }
}

fn created(settings: Settings) -> (MemoryDisk, Journal<MemoryDisk>) {
    let disk = MemoryDisk::new();
    let mut journal = Journal::create(disk.clone(), settings, 77).unwrap();
    journal.vouch();
    (disk, journal)
}

fn commit(journal: &mut Journal<MemoryDisk>, records: &[Record]) -> BatchNumber {
    for record in records {
        journal.append(record);
    }
    journal.commit().unwrap()
}

/// Batches of a small journal, one of each kind of record among them.
fn sample() -> Vec<Vec<Record>> {
    vec![
        vec![
            Record::Founded { cluster: "synod".into(), node: NodeId(1), configuration: Configuration::numbered(3) },
            promise(1),
        ],
        vec![vote(1, 1, 5)],
        vec![vote(2, 1, 40), Record::ChosenUpto { ballot: ballot(1), upto: Slot(1) }, chosen(3, 2)],
        vec![Record::Reserved { ballot: ballot(4) }, Record::Witnessed { node: NodeId(2), batch: BatchNumber(9) }],
    ]
}

fn sample_disk(sealed: bool) -> MemoryDisk {
    let (disk, mut journal) = created(SMALL);
    for batch in sample() {
        commit(&mut journal, &batch);
    }
    if sealed {
        journal.seal().unwrap();
    }
    disk
}

/// Where the batches of a file begin, and at the end where the last one ends.
fn begins(disk: &MemoryDisk, file: &str) -> Vec<usize> {
    let bytes = disk.read_all(file).unwrap();
    let mut offset = 4096;
    let mut found = vec![offset];
    while bytes.get(offset..offset + 4) == Some(b"BTCH") {
        let length = u32::from_le_bytes(bytes[offset + 8..offset + 12].try_into().unwrap()) as usize;
        offset += (56 + length).next_multiple_of(8);
        found.push(offset);
    }
    found
}

/// Slots and rounds.
fn lost(votes: &[(u64, u64)]) -> BTreeSet<(Slot, Ballot)> {
    votes.iter().map(|(slot, round)| (Slot(*slot), ballot(*round))).collect()
}

fn used(disk: &MemoryDisk) -> usize {
    disk.read_all(FIRST).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn what_is_committed_reads_back_and_numbers_go_up_by_one() {
    let (disk, mut journal) = created(SMALL);
    for (batch, number) in sample().iter().zip(1..) {
        assert_eq!(commit(&mut journal, batch), BatchNumber(number));
    }
    assert_eq!(journal.commit(), Ok(BatchNumber(4)), "nothing to do");
    disk.crash_to_synced();
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!(opened.records, sample().concat());
    assert_eq!((opened.journal.last_batch(), opened.torn), (BatchNumber(4), None));
}

#[test]
fn a_steady_commit_is_one_write_and_one_sync() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &sample().concat());
    let before = disk.operations();
    commit(&mut journal, &sample().concat());
    let after = disk.operations();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs, after.folder - before.folder), (1, 1, 0));
    journal.commit().unwrap();
    assert_eq!(disk.operations(), after, "an empty commit does no I/O");
}

/// Each flip leaves everything, or takes one batch, of which it is known what it held; without a seal, the last one is cut.
#[test]
fn every_flipped_bit_is_harmless_cuts_the_last_batch_or_is_known_for_what_it_took() {
    let whole = sample().concat();
    let votes = [lost(&[]), lost(&[(1, 1)]), lost(&[(2, 1)]), lost(&[])];
    for sealed in [false, true] {
        let disk = sample_disk(sealed);
        let starts = begins(&disk, FIRST);
        let (mut damaged, mut cut) = (0, 0);
        for offset in 0..used(&disk) + 8 {
            let hurt = disk.fork();
            hurt.flip(FIRST, offset, (offset % 8) as u8);
            let opened = Journal::open(hurt.clone(), SMALL).unwrap();
            let batch = starts.iter().rposition(|start| *start <= offset).filter(|batch| *batch < 4);
            let Some(batch) = batch.filter(|_| opened.records != whole) else {
                assert_eq!((opened.records, opened.damage.batches), (whole.clone(), 0), "flipped at {offset}");
                continue;
            };
            let others = [&sample()[..batch], &sample()[batch + 1..]].concat().concat();
            let restored = opened.records.iter().filter(|record| !others.contains(record)).cloned().collect::<Vec<_>>();
            assert!(opened.records.len() == others.len() + restored.len(), "flipped at {offset}");
            if opened.damage.batches == 0 {
                assert_eq!((batch, sealed, restored), (3, false, vec![]), "flipped at {offset}");
                cut += 1;
                continue;
            }
            assert_eq!((opened.damage.batches, opened.damage.unknown_upto), (1, Slot::ZERO));
            assert_eq!(opened.damage.votes, votes[batch], "flipped at {offset}");
            let facts = match batch {
                0 => vec![promise(1)],
                3 => vec![Record::Reserved { ballot: ballot(4) }],
                _ => vec![],
            };
            assert_eq!(restored, facts, "flipped at {offset}");
            damaged += 1;
            // It goes on, and the next start finds the same.
            let mut journal = opened.journal;
            commit(&mut journal, &[promise(9)]);
            let again = Journal::open(hurt, SMALL).unwrap();
            assert_eq!((again.damage, again.records.last()), (opened.damage, Some(&promise(9))));
        }
        assert!(damaged > 400, "most of the bytes count: {damaged}");
        assert_eq!(cut > 0, !sealed);
    }
}

#[test]
fn rule_4_votes_that_are_voted_again_are_lost_no_more() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 9), vote(2, 1, 9), vote(3, 1, 9)]);
    commit(&mut journal, &[vote(1, 1, 9), promise(4)]);
    commit(&mut journal, &[vote(2, 4, 9), chosen(3, 1)]);
    disk.flip(FIRST, 4096 + 60, 0);
    let opened = Journal::open(disk.clone(), SMALL).unwrap();
    assert_eq!(opened.damage.votes, lost(&[(3, 1)]), "whoever knows it to be chosen has voted all the same");
    let mut journal = opened.journal;
    commit(&mut journal, &[vote(3, 1, 9)]);
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!((opened.damage.batches, opened.damage.votes), (1, lost(&[])));
}

#[test]
fn rule_4_batches_that_are_damaged_one_behind_the_other_are_known_too_and_two_votes_of_a_slot_are_two() {
    let (disk, mut journal) = created(SMALL);
    for n in 1..=4 {
        commit(&mut journal, &[vote(n, 1, 9)]);
    }
    commit(&mut journal, &[vote(4, 2, 9), promise(7), Record::Reserved { ballot: ballot(6) }]);
    commit(&mut journal, &[vote(5, 7, 9)]);
    let starts = begins(&disk, FIRST);
    starts[2..5].iter().for_each(|start| disk.flip(FIRST, start + 100, 3));
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!((opened.damage.batches, opened.damage.unknown_upto), (3, Slot::ZERO));
    assert_eq!(opened.damage.votes, lost(&[(3, 1), (4, 1), (4, 2)]));
    let (vote, facts) = opened.records.split_last().unwrap();
    assert_eq!(facts[2..], [promise(7), Record::Reserved { ballot: ballot(6) }], "restored, before what came later");
    assert!(matches!(vote, Record::Vote { slot: Slot(5), .. }));
}

/// A batch names a few runs of votes; below the oldest of them any slot may have had one.
#[test]
fn rule_4_what_no_batch_names_any_more_is_bounded() {
    let (disk, mut journal) = created(Settings { first_segment_bytes: 16 * 1024, ..SMALL });
    for n in 1..=20 {
        commit(&mut journal, &[vote(n, n, 9)]);
    }
    disk.flip(FIRST, begins(&disk, FIRST)[16] + 100, 3);
    let damage = Journal::open(disk, SMALL).unwrap().damage;
    assert_eq!((damage.batches, damage.votes, damage.unknown_upto), (1, lost(&[(17, 17)]), Slot(9)));
}

#[test]
fn the_first_loss_of_a_node_is_not_forgotten_with_the_batch_that_says_so() {
    let (disk, mut journal) = created(SMALL);
    let amnesiac = Record::Amnesiac { witnessed: BatchNumber(8) };
    commit(&mut journal, &[amnesiac.clone(), Record::Confirmed {}]);
    commit(&mut journal, &[promise(1)]);
    disk.flip(FIRST, 4096 + 60, 0);
    assert_eq!(Journal::open(disk, SMALL).unwrap().records, [Record::Confirmed {}, amnesiac, promise(1)]);
}

#[test]
fn every_truncation_is_refused() {
    let disk = sample_disk(false);
    for length in 0..disk.len(FIRST).unwrap() as usize {
        let hurt = disk.fork();
        hurt.truncate(FIRST, length);
        assert!(matches!(Journal::open(hurt, SMALL), Err(OpenError::Corrupt { .. })), "cut at {length}");
    }
}

/// As a crash leaves it: the file has its length, the last batch is there in part.
#[test]
fn every_torn_last_batch_is_cut_whole_and_never_comes_back() {
    let long = [vote(7, 3, 300), vote(8, 3, 300)];
    let (_, mut journal) = created(SMALL);
    long.iter().for_each(|record| journal.append(record));
    let length = journal.pending_bytes() as u64;
    for kept in 0..=length {
        for end in [0, 1] {
            let disk = sample_disk(false);
            let mut journal = Journal::open(disk.clone(), SMALL).unwrap().journal;
            long.iter().for_each(|record| journal.append(record));
            disk.fail_after(1);
            assert!(journal.commit().is_err());
            let mut choices = [0, kept, end].into_iter();
            disk.crash(|_| choices.next().unwrap_or(0));
            let opened = Journal::open(disk.clone(), SMALL).unwrap();
            let whole = [sample().concat(), long.to_vec()].concat();
            // The last bytes may be padding and zeros, which are there anyway.
            if opened.records == whole {
                assert!(kept + 8 > length, "kept {kept} of {length}");
                continue;
            }
            assert_eq!(opened.records, sample().concat(), "kept {kept} of {length}");
            let mut journal = opened.journal;
            commit(&mut journal, &[promise(9)]);
            disk.crash_to_synced();
            let again = Journal::open(disk, SMALL).unwrap();
            assert_eq!(again.records, [sample().concat(), vec![promise(9)]].concat(), "kept {kept} of {length}");
        }
    }
}

/// Everything committed survives a crash at any operation, whatever the crash keeps of the rest.
#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_committed() {
    let batches: Vec<Vec<Record>> = (1..40).map(|n| vec![vote(n, n, 700), promise(n)]).collect();
    for operations in 0.. {
        for seed in 0..3 {
            let (disk, mut journal) = created(SMALL);
            disk.fail_after(operations);
            let committed = batches.iter().take_while(|batch| {
                batch.iter().for_each(|record| journal.append(record));
                journal.commit().is_ok()
            });
            let committed = committed.count();
            let mut state = operations * 31 + seed;
            disk.crash(|bound| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                match seed {
                    0 => 0,
                    1 => bound,
                    _ => (state >> 33) % (bound + 1),
                }
            });
            let opened = Journal::open(disk, SMALL).unwrap();
            let with_last = batches[..(committed + 1).min(batches.len())].concat();
            let kept = &opened.records;
            assert!(
                *kept == batches[..committed].concat() || *kept == with_last,
                "{operations} operations, {committed} batches committed, {} records kept",
                kept.len()
            );
            if committed == batches.len() {
                return;
            }
        }
    }
}

#[test]
fn a_crash_while_the_journal_is_made_leaves_none_or_a_whole_one() {
    for operations in 0.. {
        let disk = MemoryDisk::new();
        disk.fail_after(operations);
        let made = Journal::create(disk.clone(), SMALL, 1).is_ok();
        for keep in [0, u64::MAX] {
            let disk = disk.fork();
            disk.crash(|bound| bound & keep);
            if Journal::exists(&disk).unwrap() {
                assert!(Journal::open(disk, SMALL).unwrap().records.is_empty());
            } else {
                assert!(!made);
                assert_eq!(Journal::open(disk.clone(), SMALL).unwrap_err(), OpenError::Missing);
                Journal::create(disk, SMALL, 2).unwrap();
            }
        }
        if made {
            return;
        }
    }
}

#[test]
fn a_journal_is_never_made_over_another() {
    let disk = sample_disk(false);
    assert!(matches!(Journal::create(disk, SMALL, 5), Err(OpenError::Exists { .. })));
}

#[test]
fn rule_4_a_missing_file_is_damage_that_the_next_one_tells() {
    let (disk, mut journal) = created(SMALL);
    for n in 1..60 {
        commit(&mut journal, &[vote(n, 1, 900)]);
    }
    let files: Vec<String> = disk.list().unwrap().into_iter().filter(|file| file.starts_with("journal")).collect();
    assert!(files.len() > 3);
    let all = |opened: &[Record]| -> BTreeSet<Slot> {
        opened
            .iter()
            .filter_map(|record| if let Record::Vote { slot, .. } = record { Some(*slot) } else { None })
            .collect()
    };
    // The last file's absence cannot be seen from the others; the number that peers witnessed tells.
    for file in &files[..files.len() - 1] {
        for spoil in [
            |disk: &MemoryDisk, file: &str| disk.remove(file).unwrap(),
            |disk: &MemoryDisk, file: &str| {
                disk.truncate(file, 1000);
            },
        ] {
            let hurt = disk.fork();
            spoil(&hurt, file);
            let opened = Journal::open(hurt.clone(), SMALL).unwrap();
            let damage = opened.damage;
            let there = all(&opened.records);
            let missing = Slot(0).above(Slot(59)).filter(|slot| !there.contains(slot));
            assert_eq!(damage.votes, missing.map(|slot| (slot, ballot(1))).collect(), "{file}");
            assert!(damage.batches > 0 && !damage.votes.is_empty());
            // What tells so is not given up before a snapshot covers what was lost.
            let (mut journal, highest) = (opened.journal, damage.votes.last().unwrap().0);
            journal.trim(highest.previous()).unwrap();
            assert!(Journal::open(hurt.clone(), SMALL).unwrap().damage.votes.contains(&(highest, ballot(1))), "{file}");
            journal.trim(Slot(59)).unwrap();
            let opened = Journal::open(hurt.clone(), SMALL).unwrap();
            assert_eq!((opened.damage.batches, opened.damage.votes), (0, lost(&[])), "{file}");
            let left = hurt.list().unwrap();
            assert_eq!(left.iter().filter(|name| name.starts_with("journal")).count(), 1, "{left:?}");
        }
    }
    let hurt = disk.fork();
    hurt.remove(&files[files.len() - 1]).unwrap();
    let mut journal = Journal::open(hurt, SMALL).unwrap().journal;
    assert!(journal.last_batch() < BatchNumber(59));
    // A flip in the last batch of an earlier segment: the next segment's header proves that it was durable.
    let last_byte = disk.read_all(&files[1]).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let hurt = disk.fork();
    hurt.flip(&files[1], last_byte, 0);
    let opened = Journal::open(hurt, SMALL).unwrap();
    assert_eq!((opened.damage.batches, opened.damage.votes.len()), (1, 1));
    journal.commit().unwrap();
}

/// A segment was begun, and nothing stands in it yet: nobody says what the damaged batch before it held.
#[test]
fn damage_without_a_later_batch_that_tells_is_corruption() {
    let (disk, mut journal) = created(SMALL);
    for n in 1.. {
        commit(&mut journal, &[vote(n, 1, 900)]);
        if disk.list().unwrap().len() > 1 {
            break;
        }
    }
    let second = "journal-0000000002";
    disk.flip(second, 4096 + 60, 0);
    let last_byte = disk.read_all(FIRST).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    assert_eq!(Journal::open(disk.fork(), SMALL).unwrap().torn.map(|torn| torn.0 > 1), Some(true));
    disk.flip(FIRST, last_byte, 0);
    let refused = Journal::open(disk, SMALL).unwrap_err();
    assert!(matches!(&refused, OpenError::Corrupt { file, .. } if file == FIRST), "{refused}");
}

#[test]
fn a_header_that_rots_costs_nothing_and_hides_no_batch_that_rots_behind_it() {
    let (disk, mut journal) = created(SMALL);
    for n in 1..40 {
        commit(&mut journal, &[vote(n, 1, 900)]);
    }
    for file in disk.list().unwrap().into_iter().filter(|file| file.starts_with("journal")) {
        for (offset, votes) in [(4, 0), (9, 0), (20, 0), (41, 0), (4096 + 60, 1)] {
            let hurt = disk.fork();
            hurt.flip(&file, 30, 0);
            hurt.flip(&file, offset, 0);
            let damage = Journal::open(hurt, SMALL).unwrap().damage;
            assert_eq!((damage.batches, damage.votes.len()), (votes, votes as usize), "{file} at {offset}");
        }
    }
}

#[test]
fn the_error_names_the_file_the_place_and_the_mend() {
    let disk = sample_disk(true);
    disk.truncate(FIRST, 5000);
    let text = Journal::open(disk, SMALL).unwrap_err().to_string();
    for part in [FIRST, "byte 5000", "synod member replace NAME=HOST:PORT"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn an_unknown_format_version_is_named_and_a_version_that_rots_is_none() {
    let disk = sample_disk(false);
    disk.write_at(FIRST, 8, &2u32.to_le_bytes()).unwrap();
    assert_eq!(Journal::open(disk.fork(), SMALL).unwrap().records, sample().concat(), "its batches are ours");
    let checksum = crc32c::crc32c(&disk.read(FIRST, 0, 40).unwrap());
    disk.write_at(FIRST, 40, &checksum.to_le_bytes()).unwrap();
    assert_eq!(Journal::open(disk, SMALL).unwrap_err(), OpenError::UnknownVersion { file: FIRST.into(), version: 2 });
}

#[test]
fn after_a_failed_sync_every_call_fails_the_same_way_and_nothing_is_written() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[promise(1)]);
    disk.fail_sync_after(0);
    journal.append(&promise(2));
    let first = journal.commit().unwrap_err();
    let operations = disk.operations();
    journal.append(&promise(3));
    assert_eq!(journal.commit(), Err(first.clone()));
    assert_eq!(journal.seal(), Err(first.clone()));
    assert_eq!(journal.trim(Slot(1)), Err(first.clone()));
    assert_eq!(journal.read_slots(Slot(1), Slot(1), 1), Err(first));
    assert_eq!(disk.operations(), operations);
    assert_eq!(journal.last_batch(), BatchNumber(1));
}

/// The process ends after a failed sync, the machine does not: the batch is in the cache only, and the system thinks
/// that it is clean. Whatever the next start reads must be durable before anybody acts on it.
#[test]
fn what_a_start_reads_is_durable_even_after_a_failed_sync() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[promise(1)]);
    disk.fail_sync_after(0);
    journal.append(&promise(2));
    assert!(journal.commit().is_err());
    let read = Journal::open(disk.clone(), SMALL).unwrap().records;
    disk.crash_to_synced();
    assert_eq!(Journal::open(disk, SMALL).unwrap().records, read);
}

#[test]
fn a_full_disk_poisons_and_a_restart_with_room_goes_on() {
    let (disk, mut journal) = created(SMALL);
    disk.limit_bytes(8 * 1024 + 100);
    let mut committed = Vec::new();
    let error = (1..)
        .find_map(|n| {
            journal.append(&vote(n, 1, 500));
            let outcome = journal.commit();
            if outcome.is_ok() {
                committed.push(vote(n, 1, 500));
            }
            outcome.err()
        })
        .unwrap();
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(journal.commit(), Err(error));
    disk.limit_bytes(u64::MAX);
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!(opened.records, committed);
    let mut journal = opened.journal;
    commit(&mut journal, &[vote(99, 1, 500)]);
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_segment_that_fits() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[promise(1)]);
    let large = vote(1, 1, 100_000);
    commit(&mut journal, std::slice::from_ref(&large));
    commit(&mut journal, &[vote(2, 1, 10)]);
    disk.crash_to_synced();
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!(opened.records, [promise(1), large, vote(2, 1, 10)]);
}

/// It may be a recycled one with room for much more; but what it holds is given up only when all of it is.
#[test]
fn what_follows_a_batch_larger_than_a_segment_stands_in_another() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 200_000)]);
    commit(&mut journal, &[vote(2, 1, 10)]);
    journal.trim(Slot(1)).unwrap();
    assert!(disk.list().unwrap().iter().any(|name| disk.len(name).unwrap() > 200_000), "it is kept as a spare");
    commit(&mut journal, &[vote(3, 1, 100_000)]);
    commit(&mut journal, &[vote(4, 1, 10)]);
    assert_eq!(journal.oldest_segment_upto(), Some(Slot(2)));
    journal.trim(Slot(3)).unwrap();
    assert_eq!(journal.trimmed_upto(), Slot(3), "the small one behind it does not keep it");
    assert!(journal.size_bytes() < u64::from(SMALL.segment_bytes));
    assert_eq!(Journal::open(disk, SMALL).unwrap().journal.oldest_slot(), Some(Slot(4)));
}

#[test]
fn sealing_is_done_once_and_an_empty_journal_needs_none() {
    let (disk, mut journal) = created(SMALL);
    let before = disk.operations();
    journal.seal().unwrap();
    assert_eq!(disk.operations(), before);
    commit(&mut journal, &[promise(1)]);
    journal.seal().unwrap();
    let sealed = disk.operations();
    journal.seal().unwrap();
    assert_eq!(disk.operations(), sealed);
    assert_eq!(journal.last_batch(), BatchNumber(1), "a seal that rots loses nothing, so peers do not hear of it");
    let mut journal = Journal::open(disk.clone(), SMALL).unwrap().journal;
    let opened = disk.operations();
    journal.seal().unwrap();
    assert_eq!(disk.operations(), opened, "still sealed");
}

/// An old disk put back, or a lost tail: however often the node restarts and writes before peers have looked at its
/// number, the number stays what the journal really vouches for.
#[test]
fn the_number_that_peers_hear_stands_still_until_vouched() {
    let disk = sample_disk(false);
    disk.flip(FIRST, used(&disk) - 1, 0);
    for round in 0..3 {
        let mut journal = Journal::open(disk.clone(), SMALL).unwrap().journal;
        assert_eq!(journal.last_batch(), BatchNumber(3));
        assert_eq!(commit(&mut journal, &[promise(round + 10)]), BatchNumber(3));
        journal.seal().unwrap();
    }
    let mut journal = Journal::open(disk.clone(), SMALL).unwrap().journal;
    journal.vouch();
    assert_eq!(journal.last_batch(), BatchNumber(3), "only a later batch says so durably");
    let number = commit(&mut journal, &[promise(20)]);
    assert_eq!(number, BatchNumber(3 + 3 * 2 + 1));
    assert_eq!(Journal::open(disk, SMALL).unwrap().journal.last_batch(), number);
}

#[test]
fn slots_are_supplied_from_the_record_that_tells_the_chosen_value() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 5), vote(2, 5, 5), vote(3, 1, 5)]);
    commit(&mut journal, &[vote(1, 2, 5), vote(2, 3, 5), chosen(3, 2), vote(3, 9, 5)]);
    commit(&mut journal, &[vote(4, 1, 5), vote(6, 1, 5)]);
    journal.append(&vote(5, 1, 5));
    for journal in [journal, Journal::open(disk, SMALL).unwrap().journal] {
        let found = journal.read_slots(Slot(1), Slot(9), 10_000);
        if journal.oldest_slot().is_none() {
            continue;
        }
        let told = |record: &Record| match record {
            Record::Vote { slot, ballot, value } | Record::Chosen { slot, ballot, value } => {
                (*slot, *ballot, value.clone())
            }
            _ => unreachable!(),
        };
        let expected = [vote(1, 2, 5), vote(2, 5, 5), chosen(3, 2), vote(4, 1, 5)].iter().map(told).collect::<Vec<_>>();
        let found = found.unwrap();
        assert_eq!(found, expected[..found.len()]);
        assert_eq!(found.len(), 4, "slot 5 is not committed");
        assert_eq!(journal.read_slots(Slot(2), Slot(2), 10_000).unwrap(), expected[1..2]);
        assert_eq!(journal.read_slots(Slot(1), Slot(3), 1).unwrap(), expected[..1], "at least one");
        assert_eq!(journal.read_slots(Slot(5), Slot(9), 10_000).unwrap(), []);
        assert_eq!(journal.read_slots(Slot(3), Slot(2), 10_000).unwrap(), []);
    }
}

#[test]
fn a_record_that_rots_after_the_start_is_an_error_not_a_value() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 50), vote(2, 1, 5)]);
    disk.flip(FIRST, 4096 + 56 + 100, 2);
    let error = journal.read_slots(Slot(1), Slot(2), 10_000).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(journal.read_slots(Slot(2), Slot(2), 10_000).unwrap().len(), 1);
}

#[test]
fn a_run_of_slots_ends_before_a_record_that_rots() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 5), vote(2, 1, 50), vote(3, 1, 5)]);
    let bytes = disk.read_all(FIRST).unwrap();
    let at = bytes.windows(50).position(|window| window.iter().all(|byte| *byte == 201)).unwrap();
    disk.flip(FIRST, at + 20, 2);
    let slots = |found: Vec<(Slot, Ballot, Value)>| found.into_iter().map(|(slot, _, _)| slot).collect::<Vec<_>>();
    assert_eq!(slots(journal.read_slots(Slot(1), Slot(3), 10_000).unwrap()), [Slot(1)]);
    assert!(journal.read_slots(Slot(2), Slot(3), 10_000).is_err());
    assert_eq!(slots(journal.read_slots(Slot(3), Slot(3), 10_000).unwrap()), [Slot(3)]);
}

#[test]
fn trimming_recycles_keeps_the_facts_and_never_brings_stale_records_back() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &sample().concat());
    let mut trimmed = Slot::ZERO;
    for n in 4..400 {
        commit(&mut journal, &[vote(n, 5, 600)]);
        if n % 20 == 0 {
            journal.seal().unwrap();
            let now = journal.trim(Slot(n - 10)).unwrap();
            assert!(now >= trimmed && now <= Slot(n - 10));
            trimmed = now;
            assert_eq!(journal.trimmed_upto(), now);
            assert_eq!(journal.oldest_slot(), Some(now.next()));
            let files = disk.list().unwrap();
            assert!(files.iter().filter(|file| file.starts_with("journal")).count() <= 4, "{files:?}");
            assert!(files.iter().filter(|file| file.starts_with("spare")).count() <= 2, "{files:?}");
        }
        if n % 33 == 0 {
            disk.crash_to_synced();
            let opened = Journal::open(disk.clone(), SMALL).unwrap();
            journal = opened.journal;
            journal.vouch();
            assert_eq!(journal.trimmed_upto(), trimmed);
            let records = opened.records;
            assert!(records.contains(&sample()[0][0]), "who we are");
            assert!(records.contains(&sample()[3][0]), "the ballot reserved");
            assert!(records.contains(&sample()[3][1]), "what was witnessed");
            let ballots = records.iter().filter_map(|record| match record {
                Record::Vote { ballot, .. } | Record::Promise { ballot } => Some(*ballot),
                _ => None,
            });
            assert_eq!(ballots.max(), Some(ballot(5)));
            let slots: Vec<Slot> = records
                .iter()
                .filter_map(|record| match record {
                    Record::Vote { slot, .. } if *slot > trimmed => Some(*slot),
                    _ => None,
                })
                .collect();
            assert_eq!(slots, trimmed.above(Slot(n)).collect::<Vec<_>>(), "each once, in order");
            let supplied = journal.read_slots(trimmed.next(), Slot(n), usize::MAX).unwrap();
            assert_eq!(supplied.len() as u64, n - trimmed.0);
        }
    }
    assert!(trimmed >= Slot(300));
    assert!(journal.size_bytes() < 5 * 16 * 1024);
}

#[test]
fn a_crash_at_any_operation_of_a_trim_keeps_the_facts_and_the_slots_above() {
    for operations in 0.. {
        for keep in [0, u64::MAX] {
            let (disk, mut journal) = created(SMALL);
            commit(&mut journal, &sample().concat());
            for n in 4..60 {
                commit(&mut journal, &[vote(n, 5, 700)]);
            }
            disk.fail_after(operations);
            let trimmed = journal.trim(Slot(40));
            disk.crash(|bound| bound & keep);
            let opened = Journal::open(disk.clone(), SMALL).unwrap();
            let mut journal = opened.journal;
            for fact in [&sample()[0][0], &sample()[3][0], &sample()[3][1]] {
                assert!(opened.records.contains(fact), "{operations} operations: {fact:?}");
            }
            assert!(journal.trimmed_upto() <= Slot(40));
            assert_eq!(journal.read_slots(Slot(41), Slot(59), usize::MAX).unwrap().len(), 19);
            assert_eq!(journal.trim(Slot(40)).unwrap(), journal.trimmed_upto());
            assert!(journal.trimmed_upto() > Slot(20));
            if trimmed.is_ok() {
                return;
            }
        }
    }
}

#[test]
fn a_spare_prepared_aside_becomes_the_next_segment() {
    let (disk, mut journal) = created(SMALL);
    assert!(!journal.needs_spare(), "not while there is much room");
    let mut n = 0;
    while !journal.needs_spare() {
        n += 1;
        commit(&mut journal, &[vote(n, 1, 500)]);
    }
    let task = journal.spare_task().unwrap();
    assert!(!journal.needs_spare() && journal.spare_task().is_none(), "one at a time");
    let spare = std::thread::spawn(move || task.run()).join().unwrap().unwrap();
    journal.add_spare(spare);
    let files = disk.list().unwrap();
    assert_eq!(files, [FIRST, "spare-0000000002"]);
    while disk.list().unwrap() == files {
        n += 1;
        commit(&mut journal, &[vote(n, 1, 500)]);
    }
    assert_eq!(disk.list().unwrap(), [FIRST, "journal-0000000002"]);
    assert_eq!(disk.len("journal-0000000002"), Ok(16 * 1024));
}

#[test]
fn an_unfinished_spare_is_removed_at_the_next_start() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 3000)]);
    disk.fail_after(2);
    assert!(journal.spare_task().unwrap().run().is_err());
    disk.crash(|bound| bound);
    assert_eq!(disk.list().unwrap(), [FIRST, "spare-0000000002.new"]);
    Journal::open(disk.clone(), SMALL).unwrap();
    assert_eq!(disk.list().unwrap(), [FIRST]);
}

#[test]
fn a_journal_that_is_disowned_goes_on_and_tells_no_higher_number() {
    let (disk, mut journal) = created(SMALL);
    assert_eq!(commit(&mut journal, &[promise(1)]), BatchNumber(1));
    journal.disown();
    assert_eq!(commit(&mut journal, &[promise(2)]), BatchNumber(1));
    assert_eq!(journal.last_batch(), BatchNumber(1));
    let opened = Journal::open(disk, SMALL).unwrap();
    assert_eq!((opened.records.len(), opened.journal.last_batch()), (2, BatchNumber(1)));
}

#[test]
fn forgotten_slots_are_not_supplied_any_more_not_even_after_a_restart() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 9), vote(2, 1, 9), vote(3, 1, 9)]);
    assert_eq!(journal.forget(Slot(2)), Ok(Slot(2)));
    let before = disk.operations();
    assert_eq!((journal.forget(Slot(2)), journal.forget(Slot(1))), (Ok(Slot(2)), Ok(Slot(2))));
    assert_eq!(disk.operations(), before, "nothing new");
    disk.crash_to_synced();
    let reopened = Journal::open(disk, SMALL).unwrap().journal;
    for journal in [journal, reopened] {
        assert_eq!((journal.trimmed_upto(), journal.oldest_slot()), (Slot(2), Some(Slot(3))));
        assert_eq!(journal.read_slots(Slot(2), Slot(3), usize::MAX), Ok(vec![]));
        assert_eq!(journal.read_slots(Slot(3), Slot(3), usize::MAX).unwrap().len(), 1);
    }
}

/// What the first batch says of what stood before it: nothing, in so many bytes.
const BEFORE: usize = 54;

/// The length of the first batch's body.
fn body_bytes(disk: &MemoryDisk) -> usize {
    u32::from_le_bytes(disk.read(FIRST, 4096 + 8, 4).unwrap().try_into().unwrap()) as usize
}

/// A batch says what stood before it in few bytes, however many votes that were.
#[test]
fn what_stood_before_takes_well_under_a_hundred_bytes() {
    let (disk, mut journal) = created(SMALL);
    for n in (1..=300).step_by(3) {
        commit(&mut journal, &[vote(n, 1, 9), vote(n + 1, 1, 9), vote(n + 2, 1, 9)]);
    }
    journal.append(&vote(301, 1, 9));
    let with_one = journal.pending_bytes();
    let mut fresh = Journal::create(MemoryDisk::new(), SMALL, 1).unwrap();
    fresh.append(&vote(301, 1, 9));
    let first = fresh.pending_bytes();
    assert!(with_one - first <= 24 && BEFORE + 24 < 80, "{first} {with_one}");
    assert!(disk.list().unwrap().len() > 1);
}

#[test]
fn as_many_slots_are_supplied_as_fit_and_at_least_one() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 9), vote(2, 1, 9), vote(3, 1, 9)]);
    let entry = (body_bytes(&disk) - BEFORE) / 3;
    let mut supplied = |max_bytes| journal.read_slots(Slot(1), Slot(3), max_bytes).unwrap().len();
    assert_eq!([0, entry, 2 * entry - 1, 2 * entry, 3 * entry].map(&mut supplied), [1, 1, 1, 2, 3]);
}

/// A disk may put a write where another should be: every byte is right, and yet it is not the record looked for.
#[test]
fn a_whole_record_of_another_slot_is_not_supplied() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[vote(1, 1, 9), vote(2, 1, 9)]);
    let (entry, first) = ((body_bytes(&disk) - BEFORE) / 2, (4096 + 56 + BEFORE) as u64);
    let second = disk.read(FIRST, first + entry as u64, entry).unwrap();
    disk.write_at(FIRST, first, &second).unwrap();
    let error = journal.read_slots(Slot(1), Slot(2), usize::MAX).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read `{FIRST}`: the record at byte {first} is damaged"));
    assert_eq!(journal.read_slots(Slot(2), Slot(2), usize::MAX).unwrap().len(), 1);
}

#[test]
fn what_waits_what_was_written_and_what_is_in_use_is_counted() {
    let (disk, mut journal) = created(SMALL);
    assert_eq!((journal.pending_bytes(), journal.commits(), journal.size_bytes()), (0, 0, 4096));
    journal.append(&vote(1, 1, 9));
    let waits = journal.pending_bytes();
    assert!(waits > 56 && waits.is_multiple_of(8));
    journal.commit().unwrap();
    commit(&mut journal, &[vote(2, 1, 9)]);
    assert_eq!((journal.pending_bytes(), journal.commits()), (0, 2));
    assert_eq!((journal.size_bytes(), journal.id()), (4096 + 2 * waits as u64 + 24, 77), "a run of votes before it");
    for n in 3.. {
        if disk.list().unwrap().len() == 2 {
            break;
        }
        commit(&mut journal, &[vote(n, 1, 500)]);
    }
    assert!(journal.size_bytes() > 8192 + 4096 && journal.size_bytes() < 8192 + 4096 + 1024, "the first one is full");
}

/// A vote whose batch takes so many bytes in a segment.
fn batch_of(length: usize, slot: u64) -> Record {
    let mut probe = created(SMALL).1;
    probe.append(&vote(slot, 1, 100));
    vote(slot, 1, 100 + length - probe.pending_bytes())
}

#[test]
fn a_batch_that_just_fits_fills_its_segment() {
    let (disk, mut journal) = created(SMALL);
    let records = [batch_of(4096, 1), vote(2, 1, 9)];
    commit(&mut journal, &records[..1]);
    assert_eq!((disk.list().unwrap(), journal.size_bytes()), (vec![FIRST.to_owned()], 8192));
    let mut journal = Journal::open(disk.clone(), SMALL).unwrap().journal;
    commit(&mut journal, &records[1..]);
    assert_eq!(disk.list().unwrap(), [FIRST, "journal-0000000002"]);
    assert_eq!(Journal::open(disk, SMALL).unwrap().records, records);
}

/// What a seal takes behind one run of votes.
const SEAL: usize = 136;

#[test]
fn a_damaged_batch_before_a_seal_that_ends_its_segment_is_reported() {
    let (disk, mut journal) = created(SMALL);
    commit(&mut journal, &[batch_of(4096 - SEAL, 1)]);
    journal.seal().unwrap();
    assert_eq!(journal.size_bytes(), 8192, "the seal is the last thing in the file");
    disk.flip(FIRST, 4096 + 200, 0);
    let damage = Journal::open(disk, SMALL).unwrap().damage;
    assert_eq!((damage.batches, damage.votes), (1, lost(&[(1, 1)])));
}

#[test]
fn a_file_that_ends_behind_its_header_is_known_to_be_cut() {
    for (length, expected) in [(4096, "the file should have 8192 bytes"), (4095, "the file ends within its header")] {
        let disk = sample_disk(false);
        disk.truncate(FIRST, length);
        let Err(OpenError::Corrupt { reason, .. }) = Journal::open(disk, SMALL) else { panic!("cut at {length}") };
        assert_eq!(reason, expected);
    }
}

#[test]
fn trimmed_segments_of_the_usual_size_are_kept_as_spares_and_no_more_than_wanted() {
    let (disk, mut journal) = created(SMALL);
    for n in 1..80 {
        commit(&mut journal, &[vote(n, 1, 900)]);
    }
    assert!(disk.list().unwrap().len() > 5);
    journal.trim(Slot(79)).unwrap();
    let spares: Vec<String> = disk.list().unwrap().into_iter().filter(|name| name.starts_with("spare")).collect();
    assert_eq!(spares.len(), SMALL.spares);
    assert!(
        spares.iter().all(|spare| disk.len(spare) == Ok(u64::from(SMALL.segment_bytes))),
        "the first one was small"
    );
}

#[test]
fn a_segment_has_room_for_something_whatever_the_settings_say() {
    let tiny = Settings { segment_bytes: 1, first_segment_bytes: 1, spares: 0, keep_bytes: 0 };
    let (disk, mut journal) = created(tiny);
    commit(&mut journal, &[promise(1)]);
    assert_eq!((disk.list().unwrap(), disk.len(FIRST)), (vec![FIRST.to_owned()], Ok(8192)));
}
