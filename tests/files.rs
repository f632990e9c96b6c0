//! Storage on real files.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and the line says where")]

use std::thread;

use synod::paxos::{Ballot, BatchNumber, Incarnation, NodeId, Record, Slot, Value};
use synod::storage::{DataFolder, Disk, FileDisk, Journal, Settings, Snapshots};

fn vote(slot: u64) -> Record {
    Record::Vote { slot: Slot(slot), ballot: Ballot::new(1, NodeId(1)), value: Value::no_op() }
}

#[test]
fn a_folder_keeps_a_journal_and_snapshots_side_by_side() {
    let temporary = tempfile::tempdir().unwrap();
    let settings = Settings { segment_bytes: 64 * 1024, first_segment_bytes: 16 * 1024, spares: 2, keep_bytes: 0 };
    {
        let folder = DataFolder::open(temporary.path(), || Incarnation(3)).unwrap();
        let mut journal = Journal::create(folder.disk().clone(), settings, 11).unwrap();
        journal.vouch();
        let snapshots = Snapshots::new(folder.disk().clone());
        let saver = thread::spawn(move || snapshots.save(Slot(100), [vec![9; 3_000_000]]).unwrap());
        for lot in 0..200 {
            (1..=10).for_each(|slot| journal.append(&vote(lot * 10 + slot)));
            journal.commit().unwrap();
            if let Some(task) = journal.spare_task() {
                journal.add_spare(thread::spawn(move || task.run()).join().unwrap().unwrap());
            }
        }
        saver.join().unwrap();
        assert!(journal.trim(Slot(1000)).unwrap() > Slot::ZERO);
        journal.seal().unwrap();
    }
    let folder = DataFolder::open(temporary.path(), || Incarnation(4)).unwrap();
    let opened = Journal::open(folder.disk().clone(), settings).unwrap();
    assert_eq!(opened.journal.last_batch(), BatchNumber(201));
    assert_eq!(opened.records.iter().filter(|record| **record == vote(2000)).count(), 1);
    let supplied = opened.journal.read_slots(Slot(1500), Slot(1600), usize::MAX).unwrap();
    assert_eq!(supplied.len(), 101);
    let loaded = Snapshots::new(folder.disk().clone()).load_newest(|mut reader| reader.read(reader.left() as usize));
    assert_eq!(loaded.unwrap().newest.unwrap(), vec![9; 3_000_000]);
}

#[test]
fn an_error_names_the_file_the_operation_and_the_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(temporary.path());
    let error = disk.read("absent", 0, 4).unwrap_err();
    let path = temporary.path().join("absent").display().to_string();
    assert_eq!((error.file.as_str(), error.operation), (path.as_str(), "read"));
    assert!(error.to_string().contains("No such file"), "{error}");
}

/// As a backup often is.
#[cfg(unix)]
#[test]
fn a_file_that_nobody_may_change_is_read_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("monday.backup");
    std::fs::write(&path, b"all of it").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).expect("allowed");
    let disk = FileDisk::new(folder.path());
    assert_eq!(disk.read_all("monday.backup").expect("read"), b"all of it");
    if std::fs::write(&path, b"").is_err() {
        disk.write_at("monday.backup", 0, b"none").expect_err("and not changed");
    }
}

#[test]
fn handles_follow_a_rename() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(temporary.path());
    disk.create("a").unwrap();
    disk.create("b").unwrap();
    disk.write_at("a", 0, b"from a").unwrap();
    disk.write_at("b", 0, b"from b, longer").unwrap();
    disk.rename("a", "b").unwrap();
    disk.write_at("b", 6, b"!").unwrap();
    disk.sync("b").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.read_all("b").unwrap(), b"from a!");
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert!(disk.len("a").is_err());
    disk.remove("b").unwrap();
    assert!(disk.len("b").is_err());
}
