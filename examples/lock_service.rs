//! Locks that expire, with fencing tokens: what many people run a consensus system for.
//!
//! A lock is held for so long by the log's clock, which every replica has alike, so that no two of them ever disagree on
//! whether it has expired. Each time that a lock changes hands its token grows. Whoever guards the resource refuses tokens
//! lower than one it has seen: that stops a holder who was asleep while the lock expired, which no clock of its own could.
//!
//! ```text
//! cargo run --release --example lock_service
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synod::{Client, Cluster, Context, Frozen, StateMachine, Whole, codec};

/// What changes the locks.
#[derive(Serialize, Deserialize)]
enum Operation {
    /// Takes a lock for so long, or keeps it if it is the holder's already.
    Acquire { lock: String, holder: String, for_ms: u64 },
    /// Gives it back.
    Release { lock: String, holder: String },
}

/// How it went.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    /// It is the holder's; the token goes with whatever is done under the lock.
    Held { token: u64 },
    /// It is somebody else's.
    Busy { holder: String },
    /// It is free now.
    Released,
    /// It was not the holder's to give back.
    NotHeld,
    /// No operation of ours.
    Malformed,
}

#[derive(Serialize, Deserialize)]
struct Lock {
    holder: String,
    until_ms: u64,
    token: u64,
}

/// All locks. Those given back stay, so that their tokens never start anew.
#[derive(Default)]
struct Locks(BTreeMap<String, Lock>);

impl Locks {
    fn perform(&mut self, now_ms: u64, operation: Operation) -> Answer {
        match operation {
            Operation::Acquire { lock, holder, for_ms } => {
                let lock = self.0.entry(lock).or_insert(Lock { holder: String::new(), until_ms: 0, token: 0 });
                let expired = lock.until_ms <= now_ms;
                if !expired && lock.holder != holder {
                    return Answer::Busy { holder: lock.holder.clone() };
                }
                if expired {
                    lock.token += 1;
                }
                *lock = Lock { holder, until_ms: now_ms.saturating_add(for_ms), token: lock.token };
                Answer::Held { token: lock.token }
            }
            Operation::Release { lock, holder } => match self.0.get_mut(&lock) {
                Some(lock) if lock.holder == holder && lock.until_ms > now_ms => {
                    lock.until_ms = 0;
                    Answer::Released
                }
                _ => Answer::NotHeld,
            },
        }
    }
}

impl StateMachine for Locks {
    fn apply(&mut self, context: &Context, operation: &[u8]) -> Vec<u8> {
        codec::encode(&match codec::decode(operation, 4096) {
            Ok(operation) => self.perform(context.now_ms, operation),
            Err(_) => Answer::Malformed,
        })
    }

    fn query(&self, lock: &[u8]) -> Vec<u8> {
        let lock = std::str::from_utf8(lock).ok().and_then(|lock| self.0.get(lock));
        lock.map(|lock| lock.holder.clone().into_bytes()).unwrap_or_default()
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(codec::encode(&self.0), self.digest())
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        let bytes = Whole::restore(parts);
        self.0 = codec::decode(&bytes, bytes.len()).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn empty(&self) -> Locks {
        Locks::default()
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(codec::encode(&self.0)).into()
    }
}

async fn ask(client: &Client, operation: Operation) -> Result<Answer, Box<dyn std::error::Error>> {
    let done = client.submit(codec::encode(&operation)).await?;
    Ok(codec::decode(&done.result, 4096)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("synod-locks-{}", std::process::id()));
    let mut cluster = Cluster::local(3, &folder, Locks::default)?;
    let client = cluster.client().await?;
    let acquire = |holder: &str| Operation::Acquire { lock: "backup".into(), holder: holder.into(), for_ms: 300 };

    println!("ann:  {:?}", ask(&client, acquire("ann")).await?);
    println!("ben:  {:?}", ask(&client, acquire("ben")).await?);
    cluster.fail("n1")?; // the lock does not live on any one node
    println!("ben, a node later: {:?}", ask(&client, acquire("ben")).await?);

    // Ann has stopped; her lock expires, and nobody needs to notice that she is gone.
    let token = loop {
        match ask(&client, acquire("ben")).await? {
            Answer::Held { token } => break token,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    println!("ben, when Ann's has expired: Held {{ token: {token} }}, and 1 is refused from now on");
    let release = Operation::Release { lock: "backup".into(), holder: "ben".into() };
    println!("ben:  {:?}", ask(&client, release).await?);
    cluster.stop()?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
