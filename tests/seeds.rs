//! Worlds of many seeds, one after the other, until one breaks a property.
//!
//! A plain `cargo test` runs a fixed few. `FIRST=1 LAST=100000 cargo test --release --no-default-features --test seeds`
//! runs others; `SECONDS=20` ends early; `FAULTS=churn,process` and `NODES=3` say which worlds, `WORKLOAD=bank` what clients
//! ask; `ALL=1` goes on behind a failure; `TRACE=1` shows what happened, if it is one seed. The last line says how it ended, for `tests/mistakes/run` to read.

use std::time::{Duration, Instant};

use synod::sim::{Counts, FaultSet, Plan, Wishes, Workload, run};

#[test]
fn no_seed_breaks_a_property() {
    let (first, last) = (number("FIRST", 1), number("LAST", 150));
    let patience = Duration::from_secs(number("SECONDS", 3600));
    std::panic::set_hook(Box::new(|_| {})); // a world tells what a role's panic said
    let began = Instant::now();
    let mut total = Counts::default();
    let faults = std::env::var("FAULTS").map_or(FaultSet::ALL, |text| FaultSet::parse(&text).expect("known faults"));
    let nodes = std::env::var("NODES").ok().map(|text| text.parse().expect("a number"));
    let workload = match std::env::var("WORKLOAD").as_deref() {
        Ok("bank") => Workload::Bank,
        Ok(other) if other != "kv" => panic!("the workloads are kv and bank, not {other}"),
        _ => Workload::Kv,
    };
    let (goes_on, mut failed) = (number("ALL", 0) > 0, 0);
    for seed in first..=last {
        let plan = Plan::new(seed, &Wishes { nodes, faults, workload });
        let outcome = run(&plan);
        total.add(&outcome.counts);
        if first == last && number("TRACE", 0) > 0 {
            println!("{plan}\n{}", synod::sim::run::traced(&plan, true).1);
        }
        if let Some(failure) = outcome.failure {
            if goes_on {
                failed += 1;
                println!("seed {seed}: {}: {}", failure.broken.property, failure.broken.detail);
                continue;
            }
            let _ = std::panic::take_hook();
            panic!("seed {seed}: {}: {}", failure.broken.property, failure.broken.detail);
        }
        if began.elapsed() > patience {
            break;
        }
    }
    let _ = std::panic::take_hook();
    let Counts { seeds, excused, endured, messages, configurations, dismissed, .. } = total;
    println!("{configurations} configurations, {dismissed} nodes dismissed");
    assert!(failed == 0, "{failed} of {seeds} seeds failed");
    println!("{seeds} seeds, {excused} excused, {endured:?} endured, {messages} messages: every property held");
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
