//! Sessions by number, in shards: a clone shares the shards, and copies one when it is first changed.
//!
//! So to freeze a table of a hundred thousand sessions costs a thousand pointers, and what is copied later is copied in
//! small pieces, each when a command touches it. Numbers are given one after the other, so the shards are of one size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Session;
use crate::paxos::value::SessionId;

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Table {
    /// None of them is empty.
    shards: BTreeMap<u64, Arc<Shard>>,
    /// Of each shard the session that was idle longest, as far as is known.
    idlest: BTreeSet<(u64, SessionId)>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shard {
    sessions: BTreeMap<SessionId, Filed>,
    idlest: (u64, SessionId),
}

/// A session with a time at which it was active, not always the last: that is looked at when it comes first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filed {
    pub known_ms: u64,
    pub session: Arc<Session>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        Some(&*self.shards.get(&shard_of(id))?.sessions.get(&id)?.session)
    }

    /// The session, to be changed: what a clone shares of it is copied.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let shard = self.shards.get_mut(&shard_of(id))?;
        if !shard.sessions.contains_key(&id) {
            return None;
        }
        Arc::make_mut(shard).sessions.get_mut(&id).map(|filed| Arc::make_mut(&mut filed.session))
    }

    /// Files a session, or files it anew.
    pub fn insert(&mut self, id: SessionId, filed: Filed) {
        let known = (filed.known_ms, id);
        let Some(shard) = self.shards.get_mut(&shard_of(id)) else {
            let sessions = BTreeMap::from([(id, filed)]);
            self.shards.insert(shard_of(id), Arc::new(Shard { sessions, idlest: known }));
            self.idlest.insert(known);
            self.count += 1;
            return;
        };
        let shard = Arc::make_mut(shard);
        let is_new = shard.sessions.insert(id, filed).is_none();
        self.count += usize::from(is_new);
        self.idlest.remove(&shard.idlest);
        // One filed anew may have been the first.
        shard.idlest = if is_new { shard.idlest.min(known) } else { shard.find_idlest().unwrap_or(known) };
        self.idlest.insert(shard.idlest);
    }

    pub fn remove(&mut self, id: SessionId) -> Option<Arc<Session>> {
        let shard = Arc::make_mut(self.shards.get_mut(&shard_of(id))?);
        let removed = shard.sessions.remove(&id)?;
        self.count -= 1;
        self.idlest.remove(&shard.idlest);
        match shard.find_idlest() {
            Some(idlest) => {
                shard.idlest = idlest;
                self.idlest.insert(idlest);
            }
            None => drop(self.shards.remove(&shard_of(id))),
        }
        Some(removed.session)
    }

    /// The session that is known to have been active at the earliest time, and that time.
    pub fn idlest(&self) -> Option<(u64, SessionId)> {
        self.idlest.first().copied()
    }

    /// The highest number there is.
    pub fn highest(&self) -> Option<SessionId> {
        self.shards.values().filter_map(|shard| shard.sessions.keys().next_back()).max().copied()
    }

    /// All of them, ascending by number.
    pub fn sorted(&self) -> Vec<(SessionId, &Filed)> {
        let shards = self.shards.values();
        let mut all: Vec<_> = shards.flat_map(|shard| shard.sessions.iter().map(|(id, filed)| (*id, filed))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

impl Shard {
    fn find_idlest(&self) -> Option<(u64, SessionId)> {
        self.sessions.iter().map(|(id, filed)| (filed.known_ms, *id)).min()
    }
}

fn shard_of(id: SessionId) -> u64 {
    id.0 % SHARDS
}

/// Of a hundred thousand sessions each shard has a hundred.
const SHARDS: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn filed(known_ms: u64) -> Filed {
        Filed { known_ms, session: Arc::default() }
    }

    #[test]
    fn the_idlest_of_all_shards_comes_first_and_then_the_next() {
        let mut table = Table::default();
        let known = [(1, 50), (2, 30), (1 + SHARDS, 40), (3, 30), (1 + 2 * SHARDS, 60)];
        for (id, known_ms) in known {
            table.insert(SessionId(id), filed(known_ms));
        }
        assert_eq!(table.idlest(), Some((30, SessionId(2))));
        table.insert(SessionId(2), filed(45));
        assert_eq!((table.idlest(), table.len()), (Some((30, SessionId(3))), 5), "filed anew");
        let mut order = Vec::new();
        while let Some((known_ms, id)) = table.idlest() {
            assert!(table.remove(id).is_some());
            order.push((id.0, known_ms));
        }
        assert_eq!(order, [(3, 30), (1 + SHARDS, 40), (2, 45), (1, 50), (1 + 2 * SHARDS, 60)]);
        assert_eq!(table, Table::default(), "nothing is left of it");
    }

    #[test]
    fn a_clone_shares_what_is_not_changed() {
        let mut table = Table::default();
        for id in [1, 2, 1 + SHARDS] {
            table.insert(SessionId(id), filed(0));
        }
        let frozen = table.clone();
        table.get_mut(SessionId(1)).expect("there").active_ms = 9;
        assert_eq!(frozen.get(SessionId(1)).expect("there").active_ms, 0);
        let shared = |id| Arc::ptr_eq(&table.shards[&id], &frozen.shards[&id]);
        assert_eq!((shared(1), shared(2)), (false, true));
        let same = |id: u64| {
            let of = |table: &Table| Arc::as_ptr(&table.shards[&(id % SHARDS)].sessions[&SessionId(id)].session);
            of(&table) == of(&frozen)
        };
        assert_eq!((same(1), same(1 + SHARDS)), (false, true), "of a shard that was copied, sessions are shared");
        assert_eq!(table.sorted().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2, 1 + SHARDS]);
    }
}
