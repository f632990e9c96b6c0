//! A disk in memory that crashes the way disks do: for tests and the simulator.
//!
//! Each file has what is durable and a list of writes since its last sync; readers see both. [`MemoryDisk::crash`]
//! keeps, per file, some first writes of that list and a part of the next one, and of the folder any of the operations
//! since its last `sync_dir`. The caller makes the choices, so that a seed decides a whole crash.
//!
//! A failed sync is modelled at its worst: what it should have made durable stays readable, is dropped by the next
//! crash, and a repeated sync answers "done" (as Linux does, which marks the pages clean).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskError};

/// A shared handle on files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

/// How often each operation has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Calls of `write_at`.
    pub writes: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Creates, renames, removes and `sync_dir`s.
    pub folder: u64,
    /// Calls of `read`.
    pub reads: u64,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The power goes, and comes back. For each choice, `choose(n)` names a number from 0 to n: for each unsynced folder
    /// operation, whether it is kept (1); for each file, how many of n unsynced writes are, then how many of the n
    /// bytes of the next write, and whether they are its first (0) or its last (1) bytes. Faults are healed.
    pub fn crash(&self, mut choose: impl FnMut(u64) -> u64) {
        let mut state = self.state();
        let State { files, durable_names, unsynced_names, .. } = &mut *state;
        for operation in unsynced_names.drain(..) {
            if choose(1) == 1 {
                operation.perform(durable_names);
            }
        }
        for file in files.values_mut() {
            let unsynced = std::mem::take(&mut file.unsynced);
            let kept = pick(&mut choose, unsynced.len());
            for write in &unsynced[..kept] {
                write.perform(&mut file.durable);
            }
            if let Some(torn) = unsynced.get(kept) {
                let length = pick(&mut choose, torn.bytes.len());
                let skip = if choose(1) == 0 { 0 } else { torn.bytes.len() - length };
                let bytes = torn.bytes[skip..skip + length].to_vec();
                Write { offset: torn.offset + skip, bytes, empties: false }.perform(&mut file.durable);
            }
            file.visible = file.durable.clone();
        }
        state.names = state.durable_names.clone();
        state.forget_nameless();
        state.faults = Faults::default();
    }

    /// The process ends and another begins, under the same operating system: what was written stays readable, and is no
    /// more durable than before. Faults are healed.
    pub fn restart(&self) {
        self.heal();
    }

    /// A crash that keeps only what was synced.
    pub fn crash_to_synced(&self) {
        self.crash(|_| 0);
    }

    /// After this many more operations that change anything, every operation fails, until the next crash.
    pub fn fail_after(&self, operations: u64) {
        self.state().faults.operations_left = Some(operations);
    }

    /// The sync after this many more fails, once.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state().faults.syncs_left = Some(syncs);
    }

    /// Files may take this many bytes together; a write beyond says that the disk is full.
    pub fn limit_bytes(&self, bytes: u64) {
        self.state().faults.capacity = Some(bytes);
    }

    /// Turns one bit of a file round, in what is durable and in what is read.
    pub fn flip(&self, file: &str, offset: usize, bit: u8) {
        let mut state = self.state();
        let id = state.names[file];
        let file = state.files.get_mut(&id).expect("a name leads to a file");
        for bytes in [&mut file.durable, &mut file.visible] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Whether the power is to go after some more operations, or has gone.
    pub fn is_failing(&self) -> bool {
        self.state().faults.operations_left.is_some()
    }

    /// Whether any fault is to come or has come.
    pub fn is_faulty(&self) -> bool {
        let Faults { operations_left, syncs_left, sync_failed, capacity } = &self.state().faults;
        operations_left.is_some() || syncs_left.is_some() || *sync_failed || capacity.is_some()
    }

    /// There is room again.
    pub fn unlimit(&self) {
        self.state().faults.capacity = None;
    }

    /// The sync that was to fail will not; what one has done stays done.
    pub fn forgive_sync(&self) {
        let mut state = self.state();
        (state.faults.syncs_left, state.faults.sync_failed) = (None, false);
    }

    /// The faults end; what they did stays done.
    pub fn heal(&self) {
        self.state().faults = Faults::default();
    }

    /// How many writes to files whose names begin so are not synced.
    pub fn unsynced(&self, prefix: &str) -> usize {
        let state = self.state();
        let named = state.names.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(_, id)| state.files[id].unsynced.len()).sum()
    }

    /// Cuts a file to `length` bytes, durably.
    pub fn truncate(&self, file: &str, length: usize) {
        let mut state = self.state();
        let id = state.names[file];
        let file = state.files.get_mut(&id).expect("a name leads to a file");
        file.durable.truncate(length);
        file.visible.truncate(length);
    }

    /// Forgets everything from `offset` on, durably: zeros are there instead.
    pub fn forget(&self, file: &str, offset: usize) {
        let mut state = self.state();
        let id = state.names[file];
        let file = state.files.get_mut(&id).expect("a name leads to a file");
        for bytes in [&mut file.durable, &mut file.visible] {
            bytes.iter_mut().skip(offset).for_each(|byte| *byte = 0);
        }
    }

    /// Another disk with the same files, durable and not.
    pub fn fork(&self) -> MemoryDisk {
        MemoryDisk(Arc::new(Mutex::new(self.state().clone())))
    }

    /// How often each operation has been asked for.
    pub fn operations(&self) -> Operations {
        self.state().operations
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn change_names(&self, operation: Renaming, file: &str, what: &'static str) -> Result<(), DiskError> {
        let mut state = self.state();
        state.operations.folder += 1;
        state.spend(file, what)?;
        operation.perform(&mut state.names);
        state.unsynced_names.push(operation);
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn len(&self, file: &str) -> Result<u64, DiskError> {
        Ok(self.state().file(file, "measure")?.visible.len() as u64)
    }

    fn read(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut state = self.state();
        state.operations.reads += 1;
        let visible = &state.file(file, "read")?.visible;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = visible.get(start..start.saturating_add(length));
        part.map(<[u8]>::to_vec).ok_or_else(|| DiskError::new(file, "read", "the file ends before"))
    }

    fn create(&self, file: &str) -> Result<(), DiskError> {
        let id = {
            let mut state = self.state();
            if state.names.contains_key(file) {
                // As the operating system does it: the name stays with its file, and that is emptied.
                state.operations.folder += 1;
                state.spend(file, "create")?;
                let file = state.file(file, "create")?;
                file.visible.clear();
                file.unsynced.push(Write { offset: 0, bytes: Vec::new(), empties: true });
                return Ok(());
            }
            state.next_file += 1;
            let id = state.next_file;
            state.files.insert(id, File::default());
            id
        };
        self.change_names(Renaming::Link(file.into(), id), file, "create")
    }

    fn write_at(&self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.state();
        state.operations.writes += 1;
        state.spend(file, "write")?;
        let write = Write { offset: offset as usize, bytes: bytes.to_vec(), empties: false };
        if let Some(capacity) = state.faults.capacity {
            let held: usize = state.names.values().map(|id| state.files[id].visible.len()).sum();
            let growth = (write.offset + bytes.len()).saturating_sub(state.file(file, "write")?.visible.len());
            if (held + growth) as u64 > capacity {
                return Err(DiskError::new(file, "write", "no space left on device").for_want_of_room());
            }
        }
        let file = state.file(file, "write")?;
        write.perform(&mut file.visible);
        file.unsynced.push(write);
        Ok(())
    }

    fn sync(&self, file: &str) -> Result<(), DiskError> {
        let mut state = self.state();
        state.operations.syncs += 1;
        state.spend(file, "sync")?;
        let fails = state.faults.syncs_left == Some(0);
        state.faults.sync_failed |= fails;
        state.faults.syncs_left = state.faults.syncs_left.and_then(|left| left.checked_sub(1));
        let target = state.file(file, "sync")?;
        let unsynced = std::mem::take(&mut target.unsynced);
        if fails {
            return Err(DiskError::new(file, "sync", "input/output error"));
        }
        for write in &unsynced {
            write.perform(&mut target.durable);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.state().file(from, "rename")?;
        self.change_names(Renaming::Rename(from.into(), to.into()), from, "rename")
    }

    fn remove(&self, file: &str) -> Result<(), DiskError> {
        self.state().file(file, "remove")?;
        self.change_names(Renaming::Unlink(file.into()), file, "remove")
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        state.operations.folder += 1;
        state.spend("", "sync the folder of")?;
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        state.forget_nameless();
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<u64, File>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<Renaming>,
    next_file: u64,
    faults: Faults,
    operations: Operations,
}

impl State {
    fn file(&mut self, name: &str, operation: &'static str) -> Result<&mut File, DiskError> {
        let id = self.names.get(name).ok_or_else(|| DiskError::new(name, operation, "no such file"))?;
        Ok(self.files.get_mut(id).expect("a name leads to a file"))
    }

    /// Call when the visible names and the durable ones are the same.
    fn forget_nameless(&mut self) {
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    fn spend(&mut self, file: &str, operation: &'static str) -> Result<(), DiskError> {
        match &mut self.faults.operations_left {
            Some(0) => Err(DiskError::new(file, operation, "the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    visible: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
    /// The file is emptied first.
    empties: bool,
}

impl Write {
    fn perform(&self, target: &mut Vec<u8>) {
        if self.empties {
            target.clear();
        }
        if self.bytes.is_empty() {
            return;
        }
        let end = self.offset + self.bytes.len();
        if target.len() < end {
            target.resize(end, 0);
        }
        target[self.offset..end].copy_from_slice(&self.bytes);
    }
}

#[derive(Clone, Debug)]
enum Renaming {
    Link(String, u64),
    Unlink(String),
    Rename(String, String),
}

impl Renaming {
    fn perform(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Renaming::Link(name, id) => {
                names.insert(name.clone(), *id);
            }
            Renaming::Unlink(name) => {
                names.remove(name);
            }
            Renaming::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Faults {
    operations_left: Option<u64>,
    syncs_left: Option<u64>,
    sync_failed: bool,
    capacity: Option<u64>,
}

fn pick(choose: &mut impl FnMut(u64) -> u64, bound: usize) -> usize {
    (choose(bound as u64) as usize).min(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.create("a").unwrap();
        disk.write_at("a", 0, b"one").unwrap();
        disk.sync("a").unwrap();
        disk.sync_dir().unwrap();
        disk.write_at("a", 3, b"two").unwrap();
        disk.write_at("a", 6, b"three").unwrap();
        disk
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_what_it_is_told() {
        let disk = written();
        assert_eq!(disk.read_all("a").unwrap(), b"onetwothree");
        let torn = disk.fork();
        let mut choices = [1, 2, 0].into_iter();
        torn.crash(|_| choices.next().unwrap());
        assert_eq!(torn.read_all("a").unwrap(), b"onetwoth");
        disk.crash_to_synced();
        assert_eq!(disk.read_all("a").unwrap(), b"one");
    }

    #[test]
    fn names_are_lost_without_a_sync_of_the_folder() {
        let disk = written();
        disk.rename("a", "b").unwrap();
        disk.crash_to_synced();
        assert_eq!(disk.list().unwrap(), ["a"]);
        disk.rename("a", "b").unwrap();
        disk.sync_dir().unwrap();
        disk.crash_to_synced();
        assert_eq!(disk.list().unwrap(), ["b"]);
    }

    #[test]
    fn a_file_made_again_is_emptied_and_keeps_its_name() {
        let disk = written();
        disk.create("a").unwrap();
        assert_eq!(disk.len("a").unwrap(), 0);
        let early = disk.fork();
        early.crash_to_synced();
        assert_eq!(early.read_all("a").unwrap(), b"one");
        disk.write_at("a", 0, b"2").unwrap();
        disk.sync("a").unwrap();
        disk.rename("a", "b").unwrap();
        disk.crash(|most| most);
        assert_eq!(disk.read_all("b").unwrap(), b"2", "the new content, if the new name was kept");
    }

    #[test]
    fn a_failed_sync_loses_what_a_second_one_claims() {
        let disk = written();
        disk.fail_sync_after(0);
        assert!(disk.sync("a").is_err());
        assert!(disk.sync("a").is_ok());
        assert_eq!(disk.read_all("a").unwrap(), b"onetwothree");
        disk.crash_to_synced();
        assert_eq!(disk.read_all("a").unwrap(), b"one");
    }

    #[test]
    fn a_torn_write_may_keep_its_last_bytes_only() {
        let disk = written();
        let mut choices = [1, 2, 1].into_iter();
        disk.crash(|_| choices.next().unwrap());
        assert_eq!(disk.read_all("a").unwrap(), b"onetwo\0\0\0ee");
    }

    #[test]
    fn the_power_goes_after_some_operations_and_comes_back_with_a_crash() {
        let disk = written();
        assert!(!disk.is_failing() && !disk.is_faulty());
        disk.fail_after(2);
        assert!(disk.is_failing() && disk.is_faulty());
        assert!(disk.sync("a").is_ok() && disk.create("b").is_ok());
        for _ in 0..2 {
            assert!(disk.write_at("a", 0, b"x").unwrap_err().to_string().contains("the power is off"));
            assert!(disk.sync_dir().is_err());
        }
        assert_eq!(disk.read_all("a").unwrap(), b"onetwothree");
        disk.crash_to_synced();
        assert!(!disk.is_failing() && disk.sync_dir().is_ok());
        assert_eq!(disk.list().unwrap(), ["a"]);
    }

    #[test]
    fn each_kind_of_fault_makes_the_disk_faulty_until_it_is_healed() {
        let faults: [fn(&MemoryDisk); 4] = [
            |disk| disk.fail_after(9),
            |disk| disk.fail_sync_after(9),
            |disk| disk.limit_bytes(1000),
            |disk| {
                disk.fail_sync_after(0);
                disk.sync("a").unwrap_err();
            },
        ];
        for (fault, fails) in faults.into_iter().zip([true, false, false, false]) {
            let disk = written();
            fault(&disk);
            disk.sync("a").unwrap();
            assert_eq!((disk.is_faulty(), disk.is_failing()), (true, fails));
            disk.heal();
            assert!(!disk.is_faulty());
        }
    }

    #[test]
    fn operations_and_unsynced_writes_are_counted() {
        let disk = written();
        assert_eq!((disk.unsynced("a"), disk.unsynced("b"), disk.unsynced("")), (2, 0, 2));
        disk.read_all("a").unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync("b").unwrap();
        assert_eq!(disk.unsynced(""), 0);
        assert_eq!(disk.operations(), Operations { writes: 3, syncs: 2, folder: 3, reads: 1 });
    }

    #[test]
    fn a_file_without_a_name_takes_no_part_in_a_crash() {
        let disk = written();
        disk.create("b").unwrap();
        disk.rename("b", "a").unwrap();
        disk.sync_dir().unwrap();
        disk.crash(|unsynced| {
            assert_eq!(unsynced, 0, "what the nameless file had is no choice any more");
            0
        });
        assert_eq!(disk.read_all("a").unwrap(), b"");
    }

    #[test]
    fn a_full_disk_says_so() {
        let disk = written();
        disk.limit_bytes(12);
        assert!(disk.write_at("a", 11, b"x").is_ok());
        let error = disk.write_at("a", 12, b"y").unwrap_err();
        assert!(error.no_space && error.to_string().contains("no space left"));
        assert!(!disk.read("a", 99, 1).unwrap_err().no_space);
    }
}
