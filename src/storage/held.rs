//! What a node's disk holds when it starts: the journal, opened, and the newest snapshot that can be read.

use super::disk::{Disk, DiskError};
use super::image;
use super::journal::{Journal, Opened, Settings};
use super::members;
use super::snapshots::{SnapshotError, Snapshots};
use crate::paxos::{
    BatchNumber, Company, Configuration, Damage, Membership, NodeId, Record, Recovered, Slot, State, StateMachine,
    Written,
};

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
    /// Damaged snapshots, which were passed over, and damaged places of the journal, a sentence each.
    pub damaged: Vec<String>,
    /// What the journal lost, and peers may still have.
    pub damage: Damage,
    /// What the folder says of other members, apart from the journal.
    pub company: Company,
}

impl<D: Disk, M: StateMachine> Held<D, M> {
    /// Opens the journal, or makes one, with the random number `id`, where there is none; and restores the newest snapshot
    /// into an empty machine like `machine`. What was left unfinished of a snapshot is removed. `named` are the other nodes
    /// in the address book.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the journal or the snapshots, and how to mend it. Such a node must not vote.
    pub fn open(disk: &D, settings: Settings, id: u64, machine: &M, named: Vec<String>) -> Result<Held<D, M>, String> {
        let exists = Journal::exists(disk).map_err(|error| error.to_string())?;
        if !exists && had_cluster(disk).map_err(|error| error.to_string())? {
            return Err(
                "its journal is missing, and with it to which cluster this node belongs; so it does not vote: start \
                        another node in its place, with an empty folder (`synod member replace NAME=HOST:PORT`); the \
                        other nodes go on meanwhile"
                    .into(),
            );
        }
        let Opened { journal, records, torn, mut damage, places } = if exists {
            Journal::open(disk.clone(), settings).map_err(|error| error.to_string())?
        } else {
            let journal = Journal::create(disk.clone(), settings, id).map_err(|error| error.to_string())?;
            Opened { journal, records: Vec::new(), torn: None, damage: Damage::default(), places: Vec::new() }
        };
        // Who we are stands in the first batch, and again behind what was trimmed; a peer cannot tell.
        let founded = records.iter().find_map(|record| match record {
            Record::Founded { node, configuration, .. } => Some((*node, Membership::founded(configuration.clone()))),
            _ => None,
        });
        if damage.batches > 0 && founded.is_none() {
            let place = places.first().map_or("the journal is damaged", |place| place);
            return Err(format!(
                "{place}; it no longer says to which cluster this node belongs, so it does not vote: start another node in \
                 its place, with an empty folder (`synod member replace NAME=HOST:PORT`); the other nodes go on meanwhile"
            ));
        }
        let snapshots = Snapshots::new(disk.clone());
        let tidied = snapshots.drop_unfinished().and_then(|()| snapshots.drop_incoming());
        tidied.map_err(|error| error.to_string())?;
        let (snapshot, mut damaged) = newest(disk, machine).map_err(|error| error.to_string())?;
        let company = Company::new(members::load(disk).map_err(|error| error.to_string())?, named);
        let covered = snapshot.as_ref().map_or(Slot::ZERO, |snapshot| snapshot.upto);
        // The slots between are with the peers, as a snapshot. Among them were votes of ours, so they come first.
        if journal.trimmed_upto() > covered {
            damage.unknown_upto = damage.unknown_upto.max(journal.trimmed_upto());
        }
        let is_needed = damage.votes.last().is_some_and(|(slot, _)| *slot > covered) || damage.unknown_upto > covered;
        let is_alone = founded.is_some_and(|(own, founders)| {
            // Who came since is in the snapshot.
            let membership = snapshot.as_ref().map_or(&founders, |state| &state.membership);
            company.is_alone(own, membership) && (company.is_written() || !changes_members(&records, covered))
        });
        if is_needed && is_alone {
            let place = places.into_iter().chain(damaged).next().unwrap_or_else(|| "a snapshot is missing".into());
            return Err(format!(
                "{place}; this node is alone in its cluster, so nobody else has what stood there, and it does not vote: \
                 put back a copy of this folder, or begin a new cluster with a backup (`synod restore`)"
            ));
        }
        damaged.extend(places);
        Ok(Held { journal, records, snapshot, torn, damaged, damage, company })
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
        let Held { journal, records, snapshot, damage, company, .. } = self;
        let (trimmed_upto, last_batch) = (journal.trimmed_upto(), journal.last_batch());
        (Recovered { snapshot, records, trimmed_upto, last_batch, damage, company }, journal)
    }
}

/// Whether there is what only a node of a cluster writes.
fn had_cluster<D: Disk>(disk: &D) -> Result<bool, DiskError> {
    Ok(!Snapshots::new(disk.clone()).kept()?.is_empty() || members::load(disk)? != Written::Never)
}

/// Whether a record of a slot above speaks of members that come or go.
fn changes_members(records: &[Record], above: Slot) -> bool {
    records.iter().any(|record| match record {
        Record::Vote { slot, value, .. } | Record::Chosen { slot, value, .. } => {
            *slot > above && value.changes_members()
        }
        _ => false,
    })
}

/// The newest whole snapshot, and a sentence for each that is damaged: those are set aside, be it all of them.
fn newest<D: Disk, M: StateMachine>(disk: &D, machine: &M) -> Result<(Option<State<M>>, Vec<String>), SnapshotError> {
    let snapshots = Snapshots::new(disk.clone());
    let mut sentences = Vec::new();
    loop {
        match snapshots.load_newest(|reader| image::read(reader, machine.empty())) {
            Ok(loaded) => {
                sentences.extend(loaded.damaged.iter().map(ToString::to_string));
                return Ok((loaded.newest, sentences));
            }
            Err(error) => {
                let SnapshotError::Damaged { file, .. } = &error else { return Err(error) };
                disk.rename(file, &format!("{file}.damaged"))?;
                disk.sync_dir()?;
                sentences.push(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Kv;
    use crate::paxos::sessions::Sessions;
    use crate::paxos::{Ballot, Change, Command, Incarnation, Sequence, SessionId, Stamp, Value};
    use crate::storage::MemoryDisk;

    const SETTINGS: Settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };

    fn open(disk: &MemoryDisk) -> Result<Held<MemoryDisk, Kv>, String> {
        Held::open(disk, SETTINGS, 9, &Kv::default(), Vec::new())
    }

    fn save(disk: &MemoryDisk, upto: u64) -> State<Kv> {
        let membership = Membership::founded(Configuration::numbered(3));
        let state = State {
            upto: Slot(upto),
            clock_ms: 5,
            sessions: Sessions::new(),
            membership,
            agreement: Default::default(),
            machine: Kv::default(),
            digest: [0; 32],
        };
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

    /// Nothing of the slots between is left here: they must be settled again before this node votes.
    #[test]
    fn rule_4_a_journal_that_begins_behind_the_newest_snapshot_waits_for_a_peers() {
        let disk = MemoryDisk::new();
        let mut held = open(&disk).expect("a new journal");
        held.journal.append(&Record::Promise { ballot: Ballot::new(1, NodeId(1)) });
        held.journal.forget(Slot(7)).expect("journaled");
        let unknown = |snapshot: Option<u64>| {
            let held = open(&disk).expect("opened");
            assert_eq!(held.snapshot.as_ref().map(|snapshot| snapshot.upto.0), snapshot);
            let (recovered, _) = held.into_parts();
            assert_eq!((recovered.trimmed_upto, recovered.records.len()), (Slot(7), 1));
            recovered.damage.unknown_upto
        };
        assert_eq!(unknown(None), Slot(7), "no snapshot at all");
        save(&disk, 6);
        assert_eq!(unknown(Some(6)), Slot(7), "one slot is lost");
        save(&disk, 7);
        assert_eq!(unknown(Some(7)), Slot(0), "the snapshot covers what is gone");
    }

    #[test]
    fn snapshots_that_are_all_damaged_are_set_aside() {
        let disk = MemoryDisk::new();
        open(&disk).expect("a new journal").journal.forget(Slot(5)).expect("journaled");
        for upto in [5, 6] {
            save(&disk, upto);
            disk.flip(&format!("snapshot-{upto:020}"), 70, 1);
        }
        let held = open(&disk).expect("a peer has the state");
        assert_eq!((held.damaged.len(), held.snapshot, held.damage.unknown_upto), (2, None, Slot(5)));
        assert_eq!(Snapshots::new(disk.clone()).kept().expect("listed"), []);
        save(&disk, 6);
        assert!(open(&disk).expect("opened").snapshot.is_some(), "of the same slot, and whole");
    }

    /// It would found a cluster of its own, or join one, with votes forgotten.
    #[test]
    fn a_folder_whose_journal_is_gone_is_not_taken_for_a_new_one() {
        let refused = |disk: &MemoryDisk| open(disk).expect_err("it had a cluster");
        let disk = MemoryDisk::new();
        save(&disk, 6);
        assert!(refused(&disk).contains("its journal is missing"));
        let disk = MemoryDisk::new();
        members::save(&disk, &Membership::founded(Configuration::numbered(1))).expect("written");
        assert!(refused(&disk).contains("member replace"));
        assert!(open(&MemoryDisk::new()).is_ok(), "a new folder");
    }

    /// A vote of the only member is the chosen value, and nobody else has it.
    #[test]
    fn what_a_node_alone_lost_is_told_with_its_place_unless_a_snapshot_covers_it() {
        let disk = MemoryDisk::new();
        let mut held = open(&disk).expect("a new journal");
        held.found("c", NodeId(1), &Configuration::numbered(1)).expect("journaled");
        held.journal.append(&Record::Vote { slot: Slot(1), ballot: Ballot::new(1, NodeId(1)), value: Value::no_op() });
        let at = held.journal.size_bytes() as usize;
        held.journal.commit().expect("written");
        held.journal.seal().expect("sealed");
        disk.flip("journal-0000000001", at + 60, 0);
        let refused = open(&disk).expect_err("nobody else can tell");
        for part in [format!("`journal-0000000001` at byte {at}").as_str(), "alone in its cluster", "with a backup"] {
            assert!(refused.contains(part), "{refused}");
        }
        save(&disk, 1);
        assert_eq!(open(&disk).expect("opened").damaged.len(), 1);
    }

    /// A disk on which the vote in slot 1 has rotted; then comes a vote for `value` in slot 2.
    fn rotten(node: u32, value: Value) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let mut held = open(&disk).expect("a new journal");
        held.found("c", NodeId(node), &Configuration::numbered(1)).expect("journaled");
        let vote = |slot, value| Record::Vote { slot: Slot(slot), ballot: Ballot::new(1, NodeId(1)), value };
        held.journal.append(&vote(1, Value::no_op()));
        let at = held.journal.size_bytes() as usize;
        held.journal.commit().expect("written");
        held.journal.append(&vote(2, value));
        held.journal.commit().expect("written");
        disk.flip("journal-0000000001", at + 60, 0);
        disk
    }

    fn newcomer() -> Command {
        let change = Change::Add { name: "n2".into(), incarnation: Incarnation(2) };
        let (session, sequence) = (SessionId(1), Sequence(1));
        Command::Change { session, sequence, done_below: sequence, change, force: false }
    }

    #[test]
    fn rule_4_what_a_node_lost_that_has_company_is_repaired_from_it_whoever_founded_the_cluster() {
        let repairs = |disk: &MemoryDisk| {
            let (recovered, _) = open(disk).expect("others have what stood there").into_parts();
            assert_eq!(recovered.damage.votes.len(), 1);
        };
        open(&rotten(1, Value::no_op())).expect_err("it founded alone, and is");
        repairs(&rotten(2, Value::no_op())); // it joined
        // What came into the log was never written down by an earlier version.
        let grown = Value::batch(Stamp::default(), &[newcomer()]);
        repairs(&rotten(1, grown));
        let disk = rotten(1, Value::no_op());
        let mut membership = Membership::founded(Configuration::numbered(1));
        membership.promote(Slot(2), NodeId(2));
        membership.on_executed(Slot(2));
        members::save(&disk, &membership).expect("written");
        open(&disk).expect_err("nobody came");
        membership.change(Slot(3), &Change::Add { name: "n2".into(), incarnation: Incarnation(2) });
        membership.on_executed(Slot(3));
        members::save(&disk, &membership).expect("written");
        repairs(&disk);
        let named = Held::open(&rotten(1, Value::no_op()), SETTINGS, 9, &Kv::default(), vec!["n2".into()]);
        assert!(named.is_ok(), "the address book names another");
    }

    #[test]
    fn a_journal_that_lost_who_the_node_is_is_refused_with_the_mend() {
        let disk = MemoryDisk::new();
        let mut held = open(&disk).expect("a new journal");
        held.found("c", NodeId(1), &Configuration::numbered(3)).expect("journaled");
        held.journal.append(&Record::Confirmed {});
        held.journal.commit().expect("written");
        disk.flip("journal-0000000001", 4096 + 150, 0);
        let refused = open(&disk).expect_err("nobody else can tell");
        assert!(refused.contains("synod member replace NAME=HOST:PORT"), "{refused}");
    }
}
