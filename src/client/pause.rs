//! Back-off after refusals: 20 ms, doubled at each refusal in a row up to 200 ms, of which a random part of up to half
//! is taken off, so that many clients do not come back at the same moment.

use crate::paxos::dice::Dice;

/// When to send again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pause {
    refusals: u32,
    until_ms: u64,
    dice: Dice,
}

impl Pause {
    pub(super) fn new(seed: u64) -> Pause {
        Pause { refusals: 0, until_ms: 0, dice: Dice::new(seed) }
    }

    /// The node did something for us.
    pub(super) fn on_progress(&mut self) {
        self.refusals = 0;
    }

    /// Whether this refusal counts: those that arrive during a pause are about what was sent before it.
    pub(super) fn on_refusal(&mut self, now_ms: u64) -> bool {
        if now_ms < self.until_ms {
            return false;
        }
        self.refusals += 1;
        let whole = (FIRST_MS << (self.refusals - 1).min(4)).min(LONGEST_MS);
        self.until_ms = now_ms + whole - self.dice.below(whole / 2 + 1);
        true
    }

    /// How many refusals in a row.
    pub(super) fn refusals(&self) -> u32 {
        self.refusals
    }

    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }
}

const FIRST_MS: u64 = 20;
const LONGEST_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pause = Pause::new(7);
        let mut now_ms = 1000;
        for whole in [20, 40, 80, 160, 200, 200, 200] {
            assert!(pause.on_refusal(now_ms));
            let length = pause.until_ms() - now_ms;
            assert!((whole / 2..=whole).contains(&length), "{length} of {whole}");
            assert!(!pause.on_refusal(pause.until_ms() - 1), "a refusal within the pause does not count");
            now_ms = pause.until_ms();
        }
        assert_eq!(pause.refusals(), 7);
        pause.on_progress();
        assert!(pause.on_refusal(now_ms));
        assert!(pause.until_ms() - now_ms <= 20);
    }
}
