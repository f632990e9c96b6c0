//! What a node's disk holds when it starts: the journal, opened, and the newest snapshot that can be read.

use super::disk::{Disk, DiskError};
use super::image;
use super::journal::{Journal, Settings};
use super::snapshots::Snapshots;
use crate::paxos::{BatchNumber, Configuration, NodeId, Record, Recovered, Slot, State, StateMachine};

/// A node's disk, read.
#[derive(Debug)]
pub struct Held<D, M> {
    /// Ready to be written to.
    pub journal: Journal<D>,
    /// Every record of the journal, in order.
    pub records: Vec<Record>,
    /// The state of the newest whole snapshot.
    pub snapshot: Option<State<M>>,
    /// The batch that was not finished when the node stopped, and was cut.
    pub torn: Option<BatchNumber>,
    /// Snapshots that are damaged and were passed over, a sentence each.
    pub damaged: Vec<String>,
}

impl<D: Disk, M: StateMachine> Held<D, M> {
    /// Opens the journal, or makes one, with the random number `id`, where there is none; and restores the newest snapshot
    /// into an empty machine like `machine`. What was left unfinished of a snapshot is removed.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the journal or the snapshots, and how to mend it. Such a node must not vote.
    pub fn open(disk: &D, settings: Settings, id: u64, machine: &M) -> Result<Held<D, M>, String> {
        let exists = Journal::exists(disk).map_err(|error| error.to_string())?;
        let (journal, records, torn) = if exists {
            let opened = Journal::open(disk.clone(), settings).map_err(|error| error.to_string())?;
            (opened.journal, opened.records, opened.torn)
        } else {
            let journal = Journal::create(disk.clone(), settings, id).map_err(|error| error.to_string())?;
            (journal, Vec::new(), None)
        };
        let snapshots = Snapshots::new(disk.clone());
        let tidied = snapshots.drop_unfinished().and_then(|()| snapshots.drop_incoming());
        tidied.map_err(|error| error.to_string())?;
        let loaded = snapshots.load_newest(|reader| image::read(reader, machine.empty()));
        let loaded = loaded.map_err(|error| error.to_string())?;
        let damaged = loaded.damaged.iter().map(ToString::to_string).collect();
        let snapshot = loaded.newest;
        let covered = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        if journal.trimmed_upto() > covered {
            return Err(format!(
                "the journal begins behind slot {}, but the newest snapshot that can be read covers only slot {covered}: \
                 slots between them are lost: restore the folder from a backup; the other nodes go on without this one",
                journal.trimmed_upto()
            ));
        }
        Ok(Held { journal, records, snapshot, torn, damaged })
    }

    /// Journals who this node is, unless that is recorded.
    ///
    /// # Errors
    /// The disk did not do what it was asked.
    pub fn found(&mut self, cluster: &str, node: NodeId, configuration: &Configuration) -> Result<(), DiskError> {
        if self.records.iter().any(|record| matches!(record, Record::Founded { .. })) {
            return Ok(());
        }
        let record = Record::Founded { cluster: cluster.into(), node, configuration: configuration.clone() };
        self.journal.append(&record);
        self.journal.commit()?;
        self.records.push(record);
        Ok(())
    }

    /// What the roles are to be recovered from, and the journal.
    pub fn into_parts(self) -> (Recovered<Vec<Record>, M>, Journal<D>) {
        let Held { journal, records, snapshot, .. } = self;
        let (trimmed_upto, last_batch) = (journal.trimmed_upto(), journal.last_batch());
        (Recovered { snapshot, records, trimmed_upto, last_batch }, journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Kv;
    use crate::paxos::sessions::Sessions;
    use crate::paxos::{Ballot, Membership};
    use crate::storage::MemoryDisk;

    const SETTINGS: Settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };

    fn open(disk: &MemoryDisk) -> Result<Held<MemoryDisk, Kv>, String> {
        Held::open(disk, SETTINGS, 9, &Kv::default())
    }

    fn save(disk: &MemoryDisk, upto: u64) -> State<Kv> {
        let membership = Membership::founded(Configuration::numbered(3));
        let state =
            State { upto: Slot(upto), clock_ms: 5, sessions: Sessions::new(), membership, machine: Kv::default() };
        let snapshots = Snapshots::new(disk.clone());
        let mut writer = snapshots.begin(Slot(upto)).expect("begun");
        image::write(&state.freeze(), &mut writer, || Ok(true)).expect("written");
        writer.finish().and_then(|_| snapshots.keep(Slot(upto))).expect("saved");
        state
    }

    #[test]
    fn who_a_node_is_is_journaled_once() {
        let disk = MemoryDisk::new();
        let configuration = Configuration::numbered(3);
        let founded = Record::Founded { cluster: "c".into(), node: NodeId(2), configuration: configuration.clone() };
        for _ in 0..3 {
            let mut held = open(&disk).expect("opened");
            held.found("c", NodeId(2), &configuration).expect("journaled");
            assert_eq!(held.records, std::slice::from_ref(&founded));
            assert_eq!((held.journal.id(), held.torn, held.snapshot), (9, None, None));
        }
    }

    #[test]
    fn a_journal_that_begins_behind_the_newest_snapshot_is_refused() {
        let disk = MemoryDisk::new();
        let mut held = open(&disk).expect("a new journal");
        held.journal.append(&Record::Promise { ballot: Ballot::new(1, NodeId(1)) });
        held.journal.forget(Slot(7)).expect("journaled");
        let refused = open(&disk).expect_err("no snapshot at all");
        assert!(refused.starts_with("the journal begins behind slot 7, but"), "{refused}");
        save(&disk, 6);
        assert!(open(&disk).expect_err("one slot is lost").contains("covers only slot 6"));
        let snapshot = save(&disk, 7);
        let held = open(&disk).expect("the snapshot covers what is gone");
        assert_eq!(held.snapshot.as_ref(), Some(&snapshot));
        let (recovered, _) = held.into_parts();
        assert_eq!((recovered.trimmed_upto, recovered.snapshot), (Slot(7), Some(snapshot)));
        assert_eq!(recovered.records.len(), 1);
    }
}
