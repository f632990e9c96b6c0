//! The scribe: what a node's disk does with one lot of work, without the thread that it does it on.
//!
//! Everything that waits is appended, made durable by one write and one sync, and only then released, in order. Reads
//! come behind: they see what the lot wrote. A failed operation leaves the journal poisoned, and the node must stop.

use super::disk::{Disk, DiskError};
use super::journal::Journal;
use super::members;
use super::snapshots::Snapshots;
use crate::paxos::dispatch::{DiskWork, SnapshotWork};
use crate::paxos::{ExecutorMessage, LearnerMessage, Membership, Message, NodeId, Record, Slot, Written};

/// The only writer of a node's journal.
#[derive(Debug)]
pub struct Scribe<D> {
    own: NodeId,
    journal: Journal<D>,
    snapshots: Snapshots<D>,
    /// Messages that leave once this lot is durable.
    saying: Vec<(NodeId, Message)>,
    /// Something was journaled since the last seal that is worth one. What peers said of their own journals is not, or
    /// idle nodes would go on telling each other of their seals for ever.
    unsealed: bool,
    /// Snapshots of our own cover every slot up to here, in two files.
    covered_upto: Slot,
    /// Every member has executed everything up to here.
    everywhere_upto: Slot,
    /// Up to where was trimmed, as far as whole segments went.
    tried_upto: Slot,
    /// As of this slot the members are written down.
    written_upto: Slot,
    /// Snapshots that cover this were asked for.
    asked_upto: Slot,
}

/// Where a scribe's results go.
pub trait Listener<D> {
    /// More of the journal is durable. Always called before what that releases is said.
    fn durable(&mut self, journal: &Journal<D>);
    /// These may be said now.
    fn say(&mut self, messages: Vec<(NodeId, Message)>);
    /// A slot cannot be read back; another node can supply it.
    fn unreadable(&mut self, what: String);
    /// The members are these from now on, and that is written down.
    fn members(&mut self, members: Box<Membership>);
    /// The keeper is to do this: reading snapshots must not delay votes.
    fn keep(&mut self, work: SnapshotWork);
}

impl<D: Disk> Scribe<D> {
    /// The scribe of the node `own`.
    pub fn new(own: NodeId, journal: Journal<D>, snapshots: Snapshots<D>) -> Scribe<D> {
        let written_upto = match members::load(snapshots.disk()) {
            Ok(Written::Members(written)) => written.executed_upto(),
            // The first change writes it anew.
            Ok(Written::Never | Written::Unreadable) | Err(_) => Slot::ZERO,
        };
        Scribe {
            own,
            journal,
            snapshots,
            saying: Vec::new(),
            unsealed: false,
            covered_upto: Slot::ZERO,
            everywhere_upto: Slot::ZERO,
            tried_upto: Slot::ZERO,
            written_upto,
            asked_upto: Slot::ZERO,
        }
    }

    /// Performs everything that waited: one write, one sync.
    ///
    /// # Errors
    /// The disk did not do what it was asked. Nothing that hung on it was said; the node must stop.
    pub fn perform(&mut self, lot: Vec<DiskWork>, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        let mut syncing = false;
        let mut reading = Vec::new();
        let mut forget = Slot::ZERO;
        let mut changed = None;
        for work in lot {
            match work {
                DiskWork::Sync { records, then } => {
                    syncing |= !records.is_empty();
                    self.unsealed |= !records.is_empty();
                    records.iter().for_each(|record| self.journal.append(record));
                    self.saying.extend(then.into_iter().flat_map(|then| then.release(self.own)));
                }
                DiskWork::Append { records } => {
                    let is_hearsay = |record: &Record| matches!(record, Record::Witnessed { .. });
                    self.unsealed |= !records.iter().all(is_hearsay);
                    records.iter().for_each(|record| self.journal.append(record));
                    // Nothing waits for these, but they must not pile up while no sync comes.
                    syncing |= self.journal.pending_bytes() > MOST_PENDING_BYTES;
                }
                DiskWork::Flush { then } => {
                    syncing = true;
                    self.saying.extend(then.into_iter().flat_map(|then| then.release(self.own)));
                }
                DiskWork::ExecutedEverywhere { upto } => self.everywhere_upto = self.everywhere_upto.max(upto),
                DiskWork::Forget { upto } => forget = forget.max(upto),
                DiskWork::Trim { upto } => self.covered_upto = self.covered_upto.max(upto),
                DiskWork::Members(membership) => {
                    // The journal must say all of it first: what is written down is never ahead of it.
                    syncing = true;
                    changed = Some(membership);
                }
                DiskWork::Vouch => self.journal.vouch(),
                DiskWork::Disown => self.journal.disown(),
                reads => {
                    // Here, not where it is read: a slot that cannot be read back is supplied by another node, but a
                    // journal that cannot be written is the end.
                    syncing = true;
                    reading.push(reads);
                }
            }
        }
        if syncing {
            self.journal.commit()?;
        }
        // Durable before anybody hears of it: first the number that frames carry, then the messages.
        listener.durable(&self.journal);
        self.say(listener);
        if let Some(membership) = changed {
            // A journal that lost its tail is executed anew: what came later was known once, and stands.
            if membership.executed_upto() > self.written_upto {
                members::save(self.snapshots.disk(), &membership)?;
                self.written_upto = membership.executed_upto();
            }
            listener.members(membership);
        }
        for work in reading {
            self.read(work, listener);
        }
        self.say(listener);
        if forget > Slot::ZERO {
            self.journal.forget(forget)?;
            listener.durable(&self.journal);
        }
        self.trim(listener)
    }

    /// Gives up what nobody will ask for by slots: what every member has executed, as far as snapshots of our own cover
    /// it. Beyond a bound on the journal's size, members that are away do not count: a snapshot takes the place of what
    /// they lack. Where it is the snapshots that are missing, they are asked for.
    ///
    /// That a slot is chosen the others may know in memory alone, and forget in a crash. They lose nothing by the trim:
    /// whoever asks for the slot again is supplied with a snapshot, and a candidate hears as before that the slot is settled
    /// here (DESIGN section 4, rule 1). What this node knows of it stays durable, as the snapshots are. So for this, other than
    /// for letting go of members (rule 6), what is reported as executed need not be.
    fn trim(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        self.give_up(listener)?;
        if self.journal.size_bytes() > self.journal.long_bytes() {
            self.want_snapshots(listener);
        }
        Ok(())
    }

    fn is_long(&self) -> bool {
        self.journal.size_bytes() > self.journal.keep_bytes()
    }

    fn give_up(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        let trim = if self.is_long() { self.covered_upto } else { self.covered_upto.min(self.everywhere_upto) };
        if trim <= self.tried_upto {
            return Ok(());
        }
        self.tried_upto = trim;
        if self.journal.can_trim(trim) {
            // A journal whose snapshots were damaged may begin further on than any that is there again.
            let upto = self.journal.trim(trim)?.min(trim);
            listener.durable(&self.journal);
            listener.say(vec![(self.own, LearnerMessage::Trimmed { upto }.into())]);
        }
        Ok(())
    }

    /// Asks for snapshots that cover the oldest segment, once.
    fn want_snapshots(&mut self, listener: &mut impl Listener<D>) {
        if let Some(upto) = self.journal.oldest_segment_upto()
            && upto > self.covered_upto.max(self.asked_upto)
        {
            self.asked_upto = upto;
            listener.say(vec![(self.own, ExecutorMessage::TrimWanted { upto }.into())]);
        }
    }

    /// Nothing has come for a while: proves the last batch complete, so that a flipped bit in it can be told from a torn
    /// write.
    ///
    /// # Errors
    /// As [`Scribe::perform`].
    pub fn idle(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        if std::mem::take(&mut self.unsealed) {
            self.journal.seal()?;
            listener.durable(&self.journal);
        }
        Ok(())
    }

    /// Makes everything durable, and proves it complete.
    ///
    /// # Errors
    /// As [`Scribe::perform`].
    pub fn close(&mut self, listener: &mut impl Listener<D>) -> Result<(), DiskError> {
        self.journal.seal()?;
        listener.durable(&self.journal);
        Ok(())
    }

    /// The journal.
    pub fn journal(&self) -> &Journal<D> {
        &self.journal
    }

    /// The journal, for those who read it or hand it spare segments.
    pub fn journal_mut(&mut self) -> &mut Journal<D> {
        &mut self.journal
    }

    fn say(&mut self, listener: &mut impl Listener<D>) {
        if !self.saying.is_empty() {
            listener.say(std::mem::take(&mut self.saying));
        }
    }

    fn read(&mut self, work: DiskWork, listener: &mut impl Listener<D>) {
        let DiskWork::SupplySlots { to, first, upto } = work else { return };
        match self.journal.read_slots(first, upto, SUPPLY_BYTES) {
            // The executor executes again what lies above a snapshot that repaired it.
            Ok(entries) if to == self.own => {
                self.saying.push((to, ExecutorMessage::Chosen { entries }.into()));
            }
            Ok(entries) if !entries.is_empty() => {
                self.saying.push((to, LearnerMessage::Chosen { entries, chosen_upto: upto }.into()));
            }
            // A snapshot that was installed here took the place of these slots.
            Ok(_) => listener.keep(supply_newest(to)),
            // Perhaps nobody else knows this slot to be chosen: the state that it led to is supplied instead, once there is an
            // agreed snapshot of it.
            Err(error) => {
                listener.unreadable(format!("cannot supply slot {first}: {error}"));
                self.saying.push((self.own, LearnerMessage::Unreadable { slot: first, to }.into()));
                if to == self.own {
                    return; // the executor asks again, and in the end for a newer snapshot
                }
                if self.snapshots.kept().is_ok_and(|kept| kept.last().is_some_and(|newest| *newest >= first)) {
                    listener.keep(supply_newest(to));
                } else {
                    self.saying.push((self.own, ExecutorMessage::SnapshotWanted { slot: first }.into()));
                }
            }
        }
    }
}

fn supply_newest(to: NodeId) -> SnapshotWork {
    SnapshotWork::Supply { to, wanted: None, offset: 0 }
}

/// How much may wait for a sync that nobody asks for.
const MOST_PENDING_BYTES: usize = 8 << 20;
/// How many bytes of values one answer to a node that catches up holds: reading them delays votes.
const SUPPLY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::{
        Ballot, BatchNumber, Change, Command, Configuration, Incarnation, Record, Stamp, Then, Token, Value,
    };
    use crate::storage::{MemoryDisk, Settings};

    #[derive(Default)]
    struct Ear {
        said: Vec<(NodeId, Message)>,
        unreadable: usize,
        keep: Vec<SnapshotWork>,
        members: Vec<Membership>,
        /// How many batches were durable each time that more was.
        durable: Vec<u64>,
    }

    impl Listener<MemoryDisk> for Ear {
        fn durable(&mut self, journal: &Journal<MemoryDisk>) {
            self.durable.push(journal.commits());
        }

        fn say(&mut self, messages: Vec<(NodeId, Message)>) {
            self.said.extend(messages);
        }

        fn unreadable(&mut self, _: String) {
            self.unreadable += 1;
        }

        fn members(&mut self, members: Box<Membership>) {
            self.members.push(*members);
        }

        fn keep(&mut self, work: SnapshotWork) {
            self.keep.push(work);
        }
    }

    const SETTINGS: Settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };

    fn scribe(disk: &MemoryDisk) -> Scribe<MemoryDisk> {
        let journal = Journal::create(disk.clone(), SETTINGS, 1).expect("made");
        Scribe::new(NodeId(1), journal, Snapshots::new(disk.clone()))
    }

    fn vote(slot: u64, length: usize) -> Record {
        let token = |_| Command::Open { token: Token(0) };
        let value = Value::batch(Stamp::default(), &(0..length / 17).map(token).collect::<Vec<_>>());
        Record::Vote { slot: Slot(slot), ballot: Ballot::new(1, NodeId(1)), value }
    }

    fn sync(records: Vec<Record>) -> DiskWork {
        DiskWork::Sync { records, then: Vec::new() }
    }

    fn grown(slot: u64) -> Membership {
        let mut members = Membership::founded(Configuration::numbered(1));
        members.change(Slot(slot), &Change::Add { name: "n2".into(), incarnation: Incarnation(2) });
        members.on_executed(Slot(slot));
        members
    }

    #[test]
    fn rule_4_members_are_written_down_behind_the_journal_and_before_anybody_hears_of_them() {
        let written = |disk: &MemoryDisk| members::load(disk).expect("read");
        for operations in 0..12 {
            let disk = MemoryDisk::new();
            let (mut scribe, mut ear) = (scribe(&disk), Ear::default());
            let lot = vec![DiskWork::Append { records: vec![vote(5, 100)] }, DiskWork::Members(Box::new(grown(5)))];
            disk.fail_after(operations);
            let done = scribe.perform(lot, &mut ear).is_ok();
            disk.crash_to_synced();
            assert_eq!(ear.members.is_empty(), !done, "{operations}");
            if done {
                assert_eq!(written(&disk), Written::Members(grown(5)));
            }
            if written(&disk) != Written::Never {
                let journal = Journal::open(disk, SETTINGS).expect("a journal");
                assert_eq!(journal.records, [vote(5, 100)], "{operations}");
            }
        }
    }

    #[test]
    fn rule_4_what_is_written_down_of_the_members_is_not_replaced_by_what_was_before() {
        let disk = MemoryDisk::new();
        let mut ear = Ear::default();
        scribe(&disk).perform(vec![DiskWork::Members(Box::new(grown(5)))], &mut ear).expect("written");
        disk.remove("journal-0000000001").expect("it is there");
        scribe(&disk).perform(vec![DiskWork::Members(Box::new(grown(4)))], &mut ear).expect("written");
        assert_eq!(members::load(&disk), Ok(Written::Members(grown(5))));
        assert_eq!(ear.members, [grown(5), grown(4)]);
    }

    #[test]
    fn what_is_only_appended_waits_for_the_next_sync_until_it_is_much() {
        let mut scribe = scribe(&MemoryDisk::new());
        let mut ear = Ear::default();
        let append = |record| DiskWork::Append { records: vec![record] };
        scribe.perform(vec![append(vote(1, 100))], &mut ear).expect("nothing to write");
        assert_eq!(ear.durable, [0]);
        scribe.perform(vec![sync(vec![vote(2, 100)]), append(vote(3, 100))], &mut ear).expect("written");
        assert_eq!((&ear.durable[1..], scribe.journal().pending_bytes()), (&[1][..], 0));
        scribe.perform(vec![append(vote(4, MOST_PENDING_BYTES / 2))], &mut ear).expect("nothing to write");
        assert_eq!(ear.durable[2..], [1]);
        scribe.perform(vec![append(vote(5, MOST_PENDING_BYTES / 2))], &mut ear).expect("written");
        assert_eq!((&ear.durable[3..], scribe.journal().pending_bytes()), (&[2][..], 0));
    }

    #[test]
    fn rule_6_a_flush_makes_durable_what_was_only_appended_before_it_says_so() {
        for operations in 0..4 {
            let disk = MemoryDisk::new();
            let (mut scribe, mut ear) = (scribe(&disk), Ear::default());
            let flush = || DiskWork::Flush { then: vec![Then::Recorded(Slot(1))] };
            scribe.perform(vec![DiskWork::Append { records: vec![vote(1, 100)] }], &mut ear).expect("nothing to write");
            disk.fail_after(operations);
            let done = scribe.perform(vec![flush()], &mut ear).is_ok();
            assert_eq!(ear.said.len(), usize::from(done), "{operations}");
            disk.crash_to_synced();
            let durable = Journal::open(disk, SETTINGS).expect("a journal").records;
            assert!(durable == [vote(1, 100)] || !done, "{operations}");
            if done {
                let commits = scribe.journal().commits();
                scribe.perform(vec![flush()], &mut ear).expect("nothing to write");
                assert_eq!((scribe.journal().commits(), ear.said.len()), (commits, 2), "it costs nothing");
            }
        }
    }

    #[test]
    fn an_idle_journal_is_sealed_once_and_not_for_what_peers_said_of_theirs() {
        let mut scribe = scribe(&MemoryDisk::new());
        let mut ear = Ear::default();
        let mut idle = |scribe: &mut Scribe<MemoryDisk>, lot| {
            scribe.perform(lot, &mut ear).expect("written");
            let before = scribe.journal().commits();
            ear.durable.clear();
            scribe.idle(&mut ear).expect("written");
            (scribe.journal().commits() - before, ear.durable.len())
        };
        assert_eq!(idle(&mut scribe, vec![]), (0, 0));
        assert_eq!(idle(&mut scribe, vec![sync(vec![])]), (0, 0), "a fence writes nothing");
        assert_eq!(idle(&mut scribe, vec![sync(vec![vote(1, 9)]), sync(vec![])]), (1, 1));
        assert_eq!(idle(&mut scribe, vec![]), (0, 0), "once");
        let hearsay =
            || DiskWork::Append { records: vec![Record::Witnessed { node: NodeId(2), batch: BatchNumber(3) }] };
        assert_eq!(idle(&mut scribe, vec![hearsay()]), (0, 0));
        let chosen = Record::ChosenUpto { ballot: Ballot::new(1, NodeId(1)), upto: Slot(1) };
        let append = DiskWork::Append { records: vec![chosen] };
        assert_eq!(idle(&mut scribe, vec![append, hearsay()]), (2, 1), "the records, and the seal");
        scribe.perform(vec![sync(vec![vote(2, 9)])], &mut ear).expect("written");
        ear.durable.clear();
        scribe.close(&mut ear).expect("written");
        assert_eq!(ear.durable, [scribe.journal().commits()]);
        let commits = scribe.journal().commits();
        scribe.close(&mut ear).expect("nothing to write");
        assert_eq!(scribe.journal().commits(), commits, "proved complete already");
    }

    #[test]
    fn slots_are_forgotten_and_trimmed_behind_everything_else_of_the_lot() {
        let mut scribe = scribe(&MemoryDisk::new());
        let mut ear = Ear::default();
        for slot in 1..=9 {
            scribe.perform(vec![sync(vec![vote(slot, 3000)])], &mut ear).expect("written");
        }
        ear.durable.clear();
        scribe.perform(vec![DiskWork::Forget { upto: Slot(2) }], &mut ear).expect("written");
        assert_eq!((scribe.journal().trimmed_upto(), &ear.durable[..]), (Slot(2), &[9, 10][..]));
        ear.durable.clear();
        let supply = DiskWork::SupplySlots { to: NodeId(2), first: Slot(3), upto: Slot(3) };
        scribe.perform(vec![DiskWork::Trim { upto: Slot(8) }, supply], &mut ear).expect("written");
        let trimmed = scribe.journal().trimmed_upto();
        assert!(trimmed > Slot(3) && trimmed <= Slot(8));
        assert_eq!(ear.durable, [10, 11]);
        let is_wish = |message: &Message| matches!(message, Message::Executor(ExecutorMessage::TrimWanted { .. }));
        ear.said.retain(|(_, message)| !is_wish(message));
        let [(NodeId(2), supplied), (NodeId(1), told)] = &ear.said[..] else { panic!("two messages: {:?}", ear.said) };
        assert!(matches!(supplied, Message::Learner(LearnerMessage::Chosen { entries, .. }) if entries.len() == 1));
        assert_eq!(*told, LearnerMessage::Trimmed { upto: trimmed }.into());
    }

    #[test]
    fn a_journal_that_is_too_long_asks_once_for_snapshots_that_cover_its_oldest_segment() {
        let mut scribe = scribe(&MemoryDisk::new());
        let mut ear = Ear::default();
        let wish = |upto| vec![(NodeId(1), Message::from(ExecutorMessage::TrimWanted { upto: Slot(upto) }))];
        scribe.perform(vec![sync(vec![vote(1, 3000)])], &mut ear).expect("written");
        assert_eq!(ear.said, [], "the current segment cannot be given up");
        for slot in 2..=4 {
            scribe.perform(vec![sync(vec![vote(slot, 3000)])], &mut ear).expect("written");
        }
        assert_eq!(ear.said, [], "a few segments are no reason");
        for slot in 5..=6 {
            scribe.perform(vec![sync(vec![vote(slot, 3000)])], &mut ear).expect("written");
        }
        assert_eq!(std::mem::take(&mut ear.said), wish(1), "one vote fills a segment");
        scribe.perform(vec![DiskWork::Trim { upto: Slot(1) }], &mut ear).expect("trimmed");
        let trimmed = vec![(NodeId(1), LearnerMessage::Trimmed { upto: Slot(1) }.into())];
        assert_eq!(std::mem::take(&mut ear.said), [trimmed, wish(2)].concat());
        scribe.perform(vec![DiskWork::Trim { upto: Slot(4) }], &mut ear).expect("trimmed");
        let trimmed = vec![(NodeId(1), LearnerMessage::Trimmed { upto: Slot(4) }.into())];
        assert_eq!(ear.said, trimmed, "few segments are left");
    }

    #[test]
    fn rule_4_a_write_that_fails_for_a_reader_is_a_write_that_fails() {
        for operations in 0..2 {
            let disk = MemoryDisk::new();
            let (mut scribe, mut ear) = (scribe(&disk), Ear::default());
            scribe.perform(vec![DiskWork::Append { records: vec![vote(1, 9)] }], &mut ear).expect("nothing to write");
            disk.fail_after(operations);
            let supply = DiskWork::SupplySlots { to: NodeId(2), first: Slot(1), upto: Slot(1) };
            assert!(scribe.perform(vec![supply], &mut ear).is_err(), "{operations}");
            assert_eq!((ear.said, ear.unreadable), (vec![], 0), "{operations}");
        }
    }

    #[test]
    fn many_slots_are_supplied_at_once() {
        let disk = MemoryDisk::new();
        let mut scribe = scribe(&disk);
        let mut ear = Ear::default();
        scribe.perform(vec![sync((1..=3).map(|slot| vote(slot, 400_000)).collect())], &mut ear).expect("written");
        let supply = DiskWork::SupplySlots { to: NodeId(2), first: Slot(1), upto: Slot(3) };
        scribe.perform(vec![supply], &mut ear).expect("read");
        let [(NodeId(2), Message::Learner(LearnerMessage::Chosen { entries, chosen_upto }))] = &ear.said[..] else {
            panic!("one answer: {:?}", ear.said)
        };
        assert_eq!((entries.len(), *chosen_upto), (2, Slot(3)), "about a mebibyte");
    }

    #[test]
    fn slots_that_a_snapshot_took_the_place_of_are_supplied_as_that_snapshot() {
        let mut scribe = scribe(&MemoryDisk::new());
        let mut ear = Ear::default();
        scribe.perform(vec![sync(vec![vote(1, 9)]), DiskWork::Forget { upto: Slot(1) }], &mut ear).expect("written");
        let supply = DiskWork::SupplySlots { to: NodeId(2), first: Slot(1), upto: Slot(1) };
        scribe.perform(vec![supply], &mut ear).expect("read");
        assert_eq!((&ear.keep[..], ear.unreadable), (&[supply_newest(NodeId(2))][..], 0));
    }

    #[test]
    fn what_cannot_be_read_back_is_supplied_as_a_snapshot_once_there_is_one() {
        let disk = MemoryDisk::new();
        let settings = Settings { segment_bytes: 8192, first_segment_bytes: 8192, spares: 0, keep_bytes: 0 };
        let journal = Journal::create(disk.clone(), settings, 1).expect("made");
        let snapshots = Snapshots::new(disk.clone());
        let mut scribe = Scribe::new(NodeId(1), journal, snapshots.clone());
        let vote = Record::Vote { slot: Slot(1), ballot: Ballot::new(1, NodeId(1)), value: Value::no_op() };
        let mut ear = Ear::default();
        let sync = DiskWork::Sync { records: vec![vote], then: Vec::new() };
        scribe.perform(vec![sync], &mut ear).expect("written");

        let file = "journal-0000000001";
        let end = disk.read_all(file).expect("read").iter().rposition(|byte| *byte != 0).expect("something");
        disk.flip(file, end, 0);
        let supply = || vec![DiskWork::SupplySlots { to: NodeId(2), first: Slot(1), upto: Slot(1) }];
        scribe.perform(supply(), &mut ear).expect("the journal goes on");
        assert_eq!(ear.unreadable, 1);
        let (slot, to) = (Slot(1), NodeId(2));
        let unreadable: Message = LearnerMessage::Unreadable { slot, to }.into();
        let wanted = ExecutorMessage::SnapshotWanted { slot }.into();
        assert_eq!(ear.said, [(NodeId(1), unreadable), (NodeId(1), wanted)]);

        ear.said.clear();
        assert_eq!(ear.keep, []);
        snapshots.save(Slot(1), [b"state"]).expect("saved");
        scribe.perform(supply(), &mut ear).expect("the journal goes on");
        assert_eq!(ear.keep, [supply_newest(NodeId(2))]);
    }
}
