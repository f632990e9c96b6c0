//! Where a transfer of a given id is recorded.
//!
//! Many small tables instead of one: a table that grows has all its entries moved, and with one that would hold up every
//! command for as long as that takes. Nothing is ever taken out, and nobody walks through it, so that neither the order of
//! its entries nor the key of its hash shows.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Positions by id. The ids themselves are with the transfers.
#[derive(Clone, Debug)]
pub struct Index {
    tables: Vec<HashTable<u32>>,
    hash: RandomState,
}

impl Default for Index {
    /// Without a table, as long as nothing is in it.
    fn default() -> Index {
        Index { tables: Vec::new(), hash: RandomState::new() }
    }
}

impl Index {
    /// The position at which `id_at` gives this id.
    pub fn find(&self, id: u128, id_at: impl Fn(u32) -> u128) -> Option<u32> {
        let hash = self.hash.hash_one(id);
        self.tables.get(table(hash))?.find(hash, |position| id_at(*position) == id).copied()
    }

    /// Adds a position, whose id is not there yet.
    pub fn insert(&mut self, id: u128, position: u32, id_at: impl Fn(u32) -> u128) {
        self.tables.resize_with(TABLES, HashTable::new);
        let hash = self.hash.hash_one(id);
        let again = |position: &u32| self.hash.hash_one(id_at(*position));
        self.tables[table(hash)].insert_unique(hash, position, again);
    }
}

/// By bits that the table itself uses last.
fn table(hash: u64) -> usize {
    (hash >> 40) as usize % TABLES
}

/// With a hundred million transfers, what grows at once has 25,000 entries.
const TABLES: usize = 4096;
