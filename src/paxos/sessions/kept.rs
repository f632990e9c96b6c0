//! Whose results were kept, in the order of the log: when all results together are too much, the oldest makes room.
//!
//! Results come to an end in any order, mostly because their client knows them. Those are still listed, and cleared from
//! the list all at once when they are more than the others ([`Kept::clear_ended`]): what is listed goes into snapshots, so
//! it follows from the log alone. To walk the list at that moment would keep a command waiting for a tenth of a second;
//! so an entry that ends notes the era in which it did, clearing begins a new era, and room is made later, a little at a
//! time. Of that nothing can be seen from outside.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::paxos::slot::Place;
use crate::paxos::value::{Sequence, SessionId};

/// The list.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Ascending by place. None of them is empty. A clone shares them.
    chunks: VecDeque<Arc<Chunk>>,
    /// How often ended entries were cleared.
    era: u64,
    /// How many entries are listed.
    listed: usize,
    /// The chunk that is looked at next for room.
    next: usize,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    entries: Vec<Entry>,
    /// How many of them have ended.
    ended: usize,
    /// The era in which room was last made.
    cleared: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: Place,
    session: SessionId,
    sequence: Sequence,
    /// The era in which its result came to an end.
    ended: Option<u64>,
}

impl Kept {
    /// How many entries are listed.
    pub fn len(&self) -> usize {
        self.listed
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.listed == 0
    }

    /// What is listed, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, Sequence)> + '_ {
        let all = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        all.filter(|entry| self.lists(entry)).map(|entry| (entry.session, entry.sequence))
    }

    /// The last place listed so far.
    pub fn last_place(&self) -> Option<Place> {
        self.chunks.back().and_then(|chunk| chunk.entries.last()).map(|entry| entry.place)
    }

    /// Lists a result, behind all others.
    pub fn push(&mut self, place: Place, session: SessionId, sequence: Sequence) {
        self.add(Entry { place, session, sequence, ended: None });
        self.make_room();
    }

    /// Lists one that has ended, as a snapshot may.
    pub fn push_ended(&mut self, place: Place, session: SessionId, sequence: Sequence) {
        self.add(Entry { place, session, sequence, ended: Some(self.era) });
    }

    /// Its result is gone.
    pub fn end(&mut self, place: Place, session: SessionId, sequence: Sequence) {
        let is_before = |chunk: &Arc<Chunk>| chunk.entries.last().is_some_and(|last| last.place < place);
        let mut at = self.chunks.partition_point(is_before);
        // A place is one command's; those that had ended when they came out of a snapshot may seem to share it.
        while let Some(chunk) = self.chunks.get_mut(at).filter(|chunk| chunk.entries[0].place <= place) {
            let first = chunk.entries.partition_point(|entry| entry.place < place);
            let is_it = |entry: &Entry| entry.session == session && entry.sequence == sequence;
            if let Some(behind) = chunk.entries[first..].iter().position(is_it) {
                let chunk = Arc::make_mut(chunk);
                let entry = &mut chunk.entries[first + behind];
                chunk.ended += usize::from(entry.ended.replace(self.era).is_none());
                return;
            }
            at += 1;
        }
    }

    /// Lists only the results that have not ended: so many.
    pub fn clear_ended(&mut self, left: usize) {
        self.era += 1;
        self.listed = left;
    }

    /// Takes the first entry.
    pub fn pop(&mut self) -> Option<(SessionId, Sequence)> {
        while let Some(first) = self.chunks.front_mut() {
            let chunk = Arc::make_mut(first);
            let count = chunk.entries.iter().take_while(|entry| !is_listed(entry, self.era)).count();
            let taken = chunk.entries.drain(..(count + 1).min(chunk.entries.len())).nth(count);
            chunk.ended = chunk.entries.iter().filter(|entry| entry.ended.is_some()).count();
            if chunk.entries.is_empty() {
                self.chunks.pop_front();
            }
            if let Some(taken) = taken {
                self.listed = self.listed.saturating_sub(1);
                return Some((taken.session, taken.sequence));
            }
        }
        None
    }

    fn lists(&self, entry: &Entry) -> bool {
        is_listed(entry, self.era)
    }

    fn add(&mut self, entry: Entry) {
        if self.chunks.back().is_none_or(|last| last.entries.len() >= CHUNK) {
            self.chunks.push_back(Arc::default());
        }
        let last = Arc::make_mut(self.chunks.back_mut().expect("pushed if there was none"));
        last.ended += usize::from(entry.ended.is_some());
        last.entries.push(entry);
        self.listed += 1;
    }

    /// Looks at one chunk: if most of it has ended, what is not listed any more leaves it.
    fn make_room(&mut self) {
        let (at, era) = (self.next, self.era);
        self.next = if at + 1 < self.chunks.len() { at + 1 } else { 0 };
        let is_worth_it = |chunk: &&mut Arc<Chunk>| chunk.cleared < era && chunk.ended * 2 > chunk.entries.len();
        let Some(chunk) = self.chunks.get_mut(at).filter(is_worth_it) else { return };
        let chunk = Arc::make_mut(chunk);
        chunk.cleared = era;
        chunk.entries.retain(|entry| is_listed(entry, era));
        chunk.entries.shrink_to(CHUNK / 4);
        chunk.ended = chunk.entries.iter().filter(|entry| entry.ended.is_some()).count();
        if chunk.entries.is_empty() {
            self.chunks.remove(at);
        }
    }
}

/// Two lists are equal if they list the same.
impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.listed == other.listed && self.iter().eq(other.iter())
    }
}

impl Eq for Kept {}

impl std::hash::Hash for Kept {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.listed.hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

fn is_listed(entry: &Entry, era: u64) -> bool {
    entry.ended.is_none_or(|ended| ended == era)
}

/// Entries of a chunk at most: so much is copied when one of them changes that a clone shares.
const CHUNK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Slot;
    use crate::paxos::dice::Dice;

    fn place(at: u64) -> Place {
        Place { slot: Slot(1 + at / 3), index: 1 + (at % 3) as u32 }
    }

    fn entry(at: u64) -> (SessionId, Sequence) {
        (SessionId(at % 7), Sequence(at))
    }

    /// The list as it would be without chunks and eras: walked from end to end.
    #[derive(Default)]
    struct Plain {
        listed: VecDeque<(u64, bool)>,
    }

    impl Plain {
        fn live(&self) -> Vec<u64> {
            self.listed.iter().filter(|(_, is_live)| *is_live).map(|(at, _)| *at).collect()
        }
    }

    #[test]
    fn what_is_listed_is_what_a_walk_from_end_to_end_would_leave() {
        for seed in 0..20 {
            let (mut dice, mut kept, mut plain) = (Dice::new(seed), Kept::default(), Plain::default());
            let mut frozen = None;
            for at in 0..4_000 {
                let (session, sequence) = entry(at);
                kept.push(place(at), session, sequence);
                plain.listed.push_back((at, true));
                for _ in 0..dice.below(3) {
                    let live = plain.live();
                    // Mostly an old one, now and then any.
                    let end = if dice.below(4) == 0 { live.len() as u64 } else { 8.min(live.len() as u64) };
                    let Some(gone) = (end > 0).then(|| live[dice.below(end) as usize]) else { break };
                    let (session, sequence) = entry(gone);
                    kept.end(place(gone), session, sequence);
                    plain.listed.iter_mut().filter(|(at, _)| *at == gone).for_each(|(_, is_live)| *is_live = false);
                }
                if dice.below(50) == 0 {
                    assert_eq!(kept.pop(), plain.listed.pop_front().map(|(at, _)| entry(at)));
                }
                if dice.below(1_500) == 0 {
                    frozen = Some((kept.clone(), kept.iter().collect::<Vec<_>>()));
                }
                let live = plain.live().len();
                if kept.len() > 2 * live + 100 {
                    kept.clear_ended(live);
                    plain.listed.retain(|(_, is_live)| *is_live);
                }
                assert_eq!(kept.len(), plain.listed.len());
                if dice.below(100) == 0 {
                    assert!(kept.iter().eq(plain.listed.iter().map(|(at, _)| entry(*at))));
                    let held: usize = kept.chunks.iter().map(|chunk| chunk.entries.len()).sum();
                    assert!(held <= 4 * kept.len() + 2 * CHUNK, "{held} are held for {}", kept.len());
                }
            }
            if let Some((frozen, listed)) = frozen {
                assert!(frozen.iter().eq(listed), "a clone stays as it was");
            }
        }
    }
}
