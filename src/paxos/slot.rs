//! Slots: positions in the log, and places: positions of a command within a slot's batch.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A position in the log. The first is 1; [`Slot::ZERO`] is "none yet" in a watermark (`chosen_upto`, …), which are
/// all inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u64);

impl Slot {
    /// Before the first slot: the watermark of an empty log.
    pub const ZERO: Slot = Slot(0);

    /// The slot after this one. Saturates: a slot may come from a peer, and must not wrap round to the first.
    pub fn next(self) -> Slot {
        self.plus(1)
    }

    /// The slot before this one; [`Slot::ZERO`] stays.
    pub fn previous(self) -> Slot {
        Slot(self.0.saturating_sub(1))
    }

    /// This slot, `count` further on. Saturates.
    pub fn plus(self, count: u64) -> Slot {
        Slot(self.0.saturating_add(count))
    }

    /// Every slot above `self` up to and including `upto`.
    pub fn above(self, upto: Slot) -> impl DoubleEndedIterator<Item = Slot> {
        // Counted from below, so that nothing is above the last slot.
        (self.0..upto.0).map(|below| Slot(below + 1))
    }
}

/// Drops what is kept for slots up to here. They are few, mostly: a log moves on slot by slot.
pub(super) fn forget_upto<T>(upto: Slot, kept: &mut BTreeMap<Slot, T>) {
    while let Some(first) = kept.first_entry().filter(|first| *first.key() <= upto) {
        first.remove();
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a command stands in the log: `SLOT.INDEX`, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The slot whose batch holds the command.
    pub slot: Slot,
    /// The command's position in that batch, from 1.
    pub index: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.index)
    }
}

impl FromStr for Place {
    type Err = String;

    /// Reads `SLOT.INDEX`.
    fn from_str(text: &str) -> Result<Place, String> {
        let wrong = || format!("`{text}` is not a place: write SLOT.INDEX, for example 12.1");
        let (slot, index) = text.split_once('.').ok_or_else(wrong)?;
        let place =
            Place { slot: Slot(slot.parse().map_err(|_| wrong())?), index: index.parse().map_err(|_| wrong())? };
        if place.slot == Slot::ZERO || place.index == 0 { Err(wrong()) } else { Ok(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        let place: Place = "12.3".parse().expect("a place");
        assert_eq!(place, Place { slot: Slot(12), index: 3 });
        assert_eq!((place.to_string(), place.slot.to_string()), ("12.3".to_owned(), "12".to_owned()));
    }

    #[test]
    fn what_is_no_place_is_refused_with_an_example() {
        for text in ["", "12", "0.1", "1.0", "0.0", "1.-1", "x.1", "1.1.1"] {
            let refused = text.parse::<Place>().expect_err("no place");
            assert_eq!(refused, format!("`{text}` is not a place: write SLOT.INDEX, for example 12.1"));
        }
    }

    #[test]
    fn the_slots_above_a_watermark_end_with_the_next_watermark() {
        assert_eq!(Slot(2).above(Slot(4)).collect::<Vec<_>>(), [Slot(3), Slot(4)]);
        assert_eq!(Slot(4).above(Slot(4)).count(), 0);
        assert_eq!(Slot(u64::MAX).above(Slot(u64::MAX)).count(), 0);
    }
}
