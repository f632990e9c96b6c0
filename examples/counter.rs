//! A machine of one's own, on three replicas: a counter.
//!
//! ```text
//! cargo run --release --example counter
//! ```

use synod::{Cluster, Context, Frozen, StateMachine, Whole};

/// Adds up whatever it is told.
#[derive(Default)]
struct Counter(i64);

impl StateMachine for Counter {
    /// Every replica executes the same operations in the same order, each once.
    fn apply(&mut self, _: &Context, operation: &[u8]) -> Vec<u8> {
        let Ok(step) = <[u8; 8]>::try_from(operation) else { return b"eight bytes, please".to_vec() };
        self.0 = self.0.wrapping_add(i64::from_le_bytes(step));
        self.query(&[])
    }

    fn query(&self, _: &[u8]) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// A snapshot: so small that it is encoded on the spot.
    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(self.0.to_le_bytes().to_vec(), self.digest())
    }

    fn restore(&mut self, parts: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        self.0 = i64::from_le_bytes(Whole::restore(parts).try_into().map_err(|_| "a counter has eight bytes")?);
        Ok(())
    }

    fn empty(&self) -> Counter {
        Counter::default()
    }

    /// Equal where the state is equal.
    fn digest(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.0.to_le_bytes());
        digest
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("synod-counter-{}", std::process::id()));
    let mut cluster = Cluster::local(3, &folder, Counter::default)?;
    let client = cluster.client().await?;
    for step in [40_i64, 5, -3] {
        let done = client.submit(step.to_le_bytes().to_vec()).await?;
        println!("{step:+}: {} at {} of the log", done.result.escape_ascii(), done.place);
    }

    cluster.fail("n1")?; // as kill -9 would
    println!("without n1: {}", client.query(Vec::new()).await?.escape_ascii());

    cluster.recover("n1", Counter::default())?; // from its own journal
    let done = client.submit(58_i64.to_le_bytes().to_vec()).await?;
    println!("with n1 again: {}", done.result.escape_ascii());
    cluster.stop()?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
