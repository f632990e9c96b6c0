//! A load on etcd: so many clients, each with a connection of its own and so many requests under way.
//!
//! ```text
//! cargo run --release --bin etcd -- --endpoints 127.0.0.1:2379,127.0.0.1:2479 --mode write --clients 64
//! ```

use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use etcd_client::Client;
use hdrhistogram::Histogram;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Write,
    Read,
}

#[derive(Parser)]
struct Args {
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    #[arg(long, default_value = "write")]
    mode: Mode,
    #[arg(long, default_value_t = 1)]
    clients: usize,
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    #[arg(long, default_value_t = 256)]
    value_size: usize,
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Seconds.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut clients = Vec::new();
    for number in 0..args.clients {
        let endpoint = args.endpoints[number % args.endpoints.len()].clone();
        clients.push(Client::connect([endpoint], None).await?);
    }
    if args.mode == Mode::Read {
        let mut kv = clients[0].kv_client();
        for key in 0..args.keys {
            kv.put(name(key), vec![b'x'; args.value_size], None).await?;
        }
    }
    let began = Instant::now();
    let ends = began + Duration::from_secs_f64(args.duration);
    let mut tasks = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        for lane in 0..args.in_flight {
            let (mut kv, mode, keys, size) = (client.kv_client(), args.mode, args.keys, args.value_size);
            let mut dice = 0x9e37_79b9_7f4a_7c15_u64 ^ (number as u64) << 32 ^ lane as u64;
            tasks.push(tokio::spawn(async move {
                let mut latency = Histogram::<u64>::new(3).expect("three digits");
                while Instant::now() < ends {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let key = name((dice >> 33) % keys);
                    let asked = Instant::now();
                    match mode {
                        Mode::Write => drop(kv.put(key, vec![b'x'; size], None).await?),
                        // Linearizable is the default.
                        Mode::Read => drop(kv.get(key, None).await?),
                    }
                    latency.record(asked.elapsed().as_micros() as u64).expect("it grows as needed");
                }
                Ok::<_, etcd_client::Error>(latency)
            }));
        }
    }
    let mut latency = Histogram::<u64>::new(3)?;
    for task in tasks {
        latency.add(task.await??)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let at = |quantile| latency.value_at_quantile(quantile);
    println!(
        "{}",
        serde_json::json!({
            "operations": latency.len(),
            "per_second": latency.len() as f64 / seconds,
            "p50_us": at(0.5),
            "p99_us": at(0.99),
            "max_us": latency.max(),
        })
    );
    Ok(())
}

fn name(key: u64) -> String {
    format!("key{key:08}")
}
