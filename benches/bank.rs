//! How fast the bank settles transfers, on one core, without a cluster: each command holds a batch of them.
//!
//! ```sh
//! cargo bench --no-default-features --bench bank
//! cargo bench --no-default-features --bench bank -- --accounts 1000000 --transfers 4000000 --batch 1000
//! ```
//!
//! The time is that of [`StateMachine::apply`], from the encoded command to the encoded answer: reading it, settling each
//! transfer, recording it for ever, and saying what came of it.

use std::time::{Duration, Instant};

use synod::codec;
use synod::machine::bank::{AccountName, Answer, Bank, Operation, Outcome, Transfer, TransferId};
use synod::machine::{Context, StateMachine};
use synod::paxos::{Place, Slot};

fn main() {
    let wanted = Wanted::from_arguments();
    let Wanted { accounts, transfers, batch } = wanted;
    let names: Vec<AccountName> =
        (0..accounts).map(|number| format!("account-{number}").parse().expect("a name")).collect();
    let mut bank = Bank::default();
    let mut slot = 0;
    for run in names.chunks(10_000) {
        slot += 1;
        bank.apply(&at(slot), &codec::encode(&Operation::Open { accounts: run.to_vec() }));
        let deposits = run.iter().zip(u128::from(slot) << 64..);
        let deposits = deposits.map(|(name, id)| Transfer::deposit(TransferId(id), name.clone(), 1_000_000)).collect();
        bank.apply(&at(slot), &codec::encode(&Operation::Transfer { transfers: deposits }));
    }
    println!("{accounts} accounts, batches of {batch}, one core");
    println!("{:>12} {:>14} {:>12} {:>12}", "transfers", "transfers/s", "a batch", "the longest");
    let mut dice = 1;
    let mut rates = Vec::new();
    let mut settled = 0;
    while settled < transfers {
        // Prepared before, so that only the bank is measured.
        let commands: Vec<Vec<u8>> = (0..ROUND.min(transfers - settled).div_ceil(batch))
            .map(|_| {
                codec::encode(&Operation::Transfer { transfers: (0..batch).map(|_| any(&names, &mut dice)).collect() })
            })
            .collect();
        let mut longest = Duration::ZERO;
        let mut done = 0;
        let begun = Instant::now();
        let mut answers = Vec::with_capacity(commands.len());
        for command in &commands {
            slot += 1;
            let one = Instant::now();
            answers.push(bank.apply(&at(slot), command));
            longest = longest.max(one.elapsed());
        }
        let took = begun.elapsed();
        for answer in answers {
            let Ok(Answer::Transferred { receipts }) = Answer::decode(&answer) else { panic!("no receipts") };
            done += receipts.iter().filter(|receipt| receipt.outcome == Outcome::Done).count();
        }
        let count = commands.len() * batch;
        assert_eq!(done, count, "everybody has enough");
        settled += count;
        let rate = count as f64 / took.as_secs_f64();
        rates.push(rate);
        let each = took / commands.len() as u32;
        println!(
            "{settled:>12} {rate:>14.0} {:>9.2} ms {:>9.2} ms",
            each.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3
        );
    }
    rates.sort_by(f64::total_cmp);
    println!("median {:.0} transfers/s", rates[rates.len() / 2]);
    let begun = Instant::now();
    let digest = bank.digest();
    let digested = begun.elapsed();
    let begun = Instant::now();
    let frozen = bank.freeze();
    let froze = begun.elapsed();
    let begun = Instant::now();
    let bytes: usize = frozen.parts().map(|part| part.len()).sum();
    let wrote = begun.elapsed();
    let begun = Instant::now();
    let mut again = bank.empty();
    again.restore(&mut frozen.parts()).expect("a snapshot");
    assert_eq!(again.digest(), digest);
    println!(
        "digest {digested:.1?}, frozen {froze:.1?}, a snapshot of {} MB in {wrote:.1?}, restored in {:.1?}",
        bytes >> 20,
        begun.elapsed()
    );
}

/// Between any two, as much as any has.
fn any(names: &[AccountName], dice: &mut u128) -> Transfer {
    *dice += 1;
    // Numbers that jump about, as ids of many clients do.
    let roll = dice.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let from = (roll >> 64) as usize % names.len();
    let to = (from + 1 + (roll >> 32) as u32 as usize % (names.len() - 1)) % names.len();
    Transfer::between(TransferId(roll), names[from].clone(), names[to].clone(), 1)
}

fn at(slot: u64) -> Context {
    Context { now_ms: slot, seed: 0, place: Place { slot: Slot(slot), index: 1 } }
}

#[derive(Clone, Copy)]
struct Wanted {
    accounts: usize,
    transfers: usize,
    batch: usize,
}

impl Wanted {
    fn from_arguments() -> Wanted {
        let mut wanted = Wanted { accounts: 10_000, transfers: 8_000_000, batch: 8_000 };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let field = match word.as_str() {
                "--accounts" => &mut wanted.accounts,
                "--transfers" => &mut wanted.transfers,
                "--batch" => &mut wanted.batch,
                "--bench" => continue, // cargo says it
                other => panic!("{other}: the options are --accounts, --transfers and --batch"),
            };
            *field = words.next().and_then(|number| number.parse().ok()).expect("a number behind the option");
        }
        assert!(
            wanted.accounts > 1 && (1..=10_000).contains(&wanted.batch),
            "two accounts, and at most 10,000 in a batch"
        );
        wanted
    }
}

/// So many transfers are measured at a time.
const ROUND: usize = 1_000_000;
