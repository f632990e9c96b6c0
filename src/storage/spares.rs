//! Spare segments: files of zeros, or of trimmed segments, that wait to become the next segment.
//!
//! A spare is whole and durable before it has its name `spare-N`; whatever is called `spare-N.new` was not finished.

use std::collections::VecDeque;

use super::disk::{Disk, DiskError, create_zeroed};

/// The spares at hand.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ready: VecDeque<Spare>,
    next: u64,
    /// A task is out.
    awaited: bool,
}

/// A file that can become a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spare {
    pub(super) file: String,
    pub(super) size: u32,
}

impl Spares {
    /// Those on the disk; unfinished ones are removed.
    pub fn find<D: Disk>(disk: &D, names: &[String]) -> Result<Spares, DiskError> {
        let mut spares = Spares { next: 1, ..Spares::default() };
        for name in names {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if rest.ends_with(UNFINISHED) {
                disk.remove(name)?;
            } else if let (Ok(number), Ok(size)) = (rest.parse::<u64>(), u32::try_from(disk.len(name)?)) {
                spares.next = spares.next.max(number.saturating_add(1));
                spares.ready.push_back(Spare { file: name.clone(), size });
            }
        }
        Ok(spares)
    }

    /// A spare of at least `size` bytes: one at hand, or else one made now.
    pub fn take<D: Disk>(&mut self, disk: &D, least: u32, usual: u32) -> Result<Spare, DiskError> {
        if let Some(position) = self.ready.iter().position(|spare| spare.size >= least) {
            return Ok(self.ready.remove(position).expect("the position was just found"));
        }
        self.job(disk, least.max(usual)).run()
    }

    /// The work of making a spare aside, if none is at hand and none under way.
    pub fn task<D: Disk>(&mut self, disk: &D, size: u32) -> Option<SpareTask<D>> {
        if !self.wanted() {
            return None;
        }
        self.awaited = true;
        Some(self.job(disk, size))
    }

    /// Whether there is reason for a task.
    pub fn wanted(&self) -> bool {
        self.ready.is_empty() && !self.awaited
    }

    /// A task is done.
    pub fn add(&mut self, spare: Spare) {
        self.awaited = false;
        self.ready.push_back(spare);
    }

    /// Takes a trimmed segment out of the journal, durably: kept as a spare if fewer than `most` are at hand and it is
    /// `useful`, else removed.
    pub fn recycle<D: Disk>(&mut self, disk: &D, file: &str, size: u32, keep: bool) -> Result<(), DiskError> {
        if keep {
            let spare = Spare { file: self.name(), size };
            disk.rename(file, &spare.file)?;
            self.ready.push_back(spare);
        } else {
            disk.remove(file)?;
        }
        disk.sync_dir()
    }

    /// How many are at hand.
    pub fn count(&self) -> usize {
        self.ready.len()
    }

    fn name(&mut self) -> String {
        let name = format!("{PREFIX}{:010}", self.next);
        self.next += 1;
        name
    }

    fn job<D: Disk>(&mut self, disk: &D, size: u32) -> SpareTask<D> {
        SpareTask { disk: disk.clone(), spare: Spare { file: self.name(), size } }
    }
}

/// The making of a spare segment, for a thread that has time for it.
#[derive(Debug)]
pub struct SpareTask<D> {
    disk: D,
    spare: Spare,
}

impl<D: Disk> SpareTask<D> {
    /// Writes the zeros. Hand the result to [`super::Journal::add_spare`].
    pub fn run(self) -> Result<Spare, DiskError> {
        let unfinished = format!("{}{UNFINISHED}", self.spare.file);
        create_zeroed(&self.disk, &unfinished, u64::from(self.spare.size))?;
        self.disk.rename(&unfinished, &self.spare.file)?;
        Ok(self.spare)
    }
}

const PREFIX: &str = "spare-";
const UNFINISHED: &str = ".new";
