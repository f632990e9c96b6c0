//! When the faults end, the cluster serves again within [`ELECTIONS`] election time-outs, with no client's help: one node
//! leads, and every node that may vote has executed everything that is chosen. Then a new command is served.

use super::{Broken, Held};
use crate::paxos::Settings;

/// How many election time-outs it may take until the cluster has healed by itself.
pub const ELECTIONS: u64 = 20;

/// How long that is, in microseconds.
pub fn patience_us(settings: &Settings) -> u64 {
    ELECTIONS * settings.election_ms * 1000
}

/// It took so long, or did not happen.
pub fn check(what: &str, healed: bool, state: impl FnOnce() -> String) -> Held {
    if healed {
        return Ok(());
    }
    Err(Broken::new("liveness", format!("{what} not within {ELECTIONS} election time-outs: {}", state())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_happen_in_time_is_told_with_how_the_nodes_stand() {
        let standing = || "1 leads".to_owned();
        assert_eq!(check("the cluster heals", true, standing), Ok(()));
        let broken = check("the cluster heals", false, standing).expect_err("it did not");
        assert_eq!(broken.detail, "the cluster heals not within 20 election time-outs: 1 leads");
        let settings = Settings { election_ms: 100, ..Settings::default() };
        assert_eq!(patience_us(&settings), 2_000_000);
    }
}
