//! 128-bit fingerprints, the same on every machine: what a visited state is remembered by.
//!
//! Two different states with one fingerprint would be taken for one, and a part of the space be missed; among ten million
//! states that happens with a probability of about 10^-25. It never makes a false alarm.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::paxos::dice::mix;

/// The fingerprint of a value.
pub fn of(value: &impl Hash) -> u128 {
    let mut wide = Wide::default();
    value.hash(&mut wide);
    wide.both()
}

/// The fingerprint of a row of numbers.
pub fn of_words(words: &[u32]) -> u128 {
    let mut wide = Wide::default();
    words.iter().for_each(|word| wide.fold(u64::from(*word)));
    wide.fold(words.len() as u64);
    wide.both()
}

/// Two independent folds side by side.
#[derive(Clone, Copy, Debug)]
pub struct Wide(u64, u64);

impl Default for Wide {
    fn default() -> Wide {
        Wide(0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344)
    }
}

impl Wide {
    fn fold(&mut self, number: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ number);
        self.1 = mix(self.1.rotate_left(23).wrapping_add(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    /// The fingerprint of everything folded.
    pub fn both(&self) -> u128 {
        u128::from(self.0) << 64 | u128::from(self.1)
    }
}

impl Hasher for Wide {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
        self.fold(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.fold(number as u64);
        self.fold((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// For tables whose keys are fingerprints: the key is its own hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Itself(u64);

impl Hasher for Itself {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a fingerprint is one number");
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds [`Itself`].
pub type BuildItself = BuildHasherDefault<Itself>;
/// Builds [`Wide`].
pub type BuildWide = BuildHasherDefault<Wide>;
