//! Randomness that is handed in: a seed, and what follows from it (SplitMix64, Steele et al. 2014).

use serde::{Deserialize, Serialize};

/// A small deterministic generator. Equal seeds give equal runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dice(u64);

impl Dice {
    /// A generator that starts from this seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; zero for zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.roll() % bound }
    }
}

/// Spreads one number's bits over all of another's.
pub fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the reference implementation. A seed means the same run everywhere only if these stay.
    #[test]
    fn the_generator_is_split_mix_64() {
        let mut dice = Dice::new(0);
        assert_eq!(
            [dice.roll(), dice.roll(), dice.roll()],
            [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]
        );
    }

    #[test]
    fn every_number_below_the_bound_comes_and_none_above() {
        let mut dice = Dice::new(7);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[dice.below(5) as usize] = true);
        assert_eq!(seen, [true; 5]);
        assert_eq!((dice.below(1), dice.below(0)), (0, 0));
    }
}
