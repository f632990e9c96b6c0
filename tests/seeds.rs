//! Worlds of many seeds, one after the other, until one breaks a property.
//!
//! A plain `cargo test` runs a fixed few. `FIRST=1 LAST=100000 cargo test --release --no-default-features --test seeds`
//! runs others; `SECONDS=20` ends early. The last line says how it ended, for `tests/mistakes/run` to read.

use std::time::{Duration, Instant};

use synod::sim::{Counts, Plan, Wishes, run};

#[test]
fn no_seed_breaks_a_property() {
    let (first, last) = (number("FIRST", 1), number("LAST", 150));
    let patience = Duration::from_secs(number("SECONDS", 3600));
    std::panic::set_hook(Box::new(|_| {})); // a world tells what a role's panic said
    let began = Instant::now();
    let mut total = Counts::default();
    for seed in first..=last {
        let outcome = run(&Plan::new(seed, &Wishes::default()));
        total.add(&outcome.counts);
        if let Some(failure) = outcome.failure {
            let _ = std::panic::take_hook();
            panic!("seed {seed}: {}: {}", failure.broken.property, failure.broken.detail);
        }
        if began.elapsed() > patience {
            break;
        }
    }
    let _ = std::panic::take_hook();
    let Counts { seeds, excused, endured, messages, .. } = total;
    println!("{seeds} seeds, {excused} excused, {endured:?} endured, {messages} messages: every property held");
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
