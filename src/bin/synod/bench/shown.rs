//! What the load came to: as text and as one JSON object.

use std::time::Duration;

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::measured::{Kind, Recorder};
use super::nodes::Spent;
use super::{BenchArgs, Mode, TRANSFERS};
use crate::answer::{DONE, NOT_DONE, UNKNOWN};
use crate::output::{Style, counted, finished, grouped, table};

/// What the load came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was wanted.
    pub args: BenchArgs,
    /// The nodes were the bench's own.
    pub own_nodes: bool,
    /// What became of operations.
    pub recorder: Recorder,
    /// Operations of an open loop that nobody was free to begin.
    pub never_begun: u64,
    /// For how long that was measured.
    pub measured: Duration,
    /// What processes spent.
    pub spent: Spent,
    /// The exit code of the signal that ended it early.
    pub ended_by: Option<u8>,
}

impl Report {
    /// That of the signal that ended it; else the worst of any operation.
    pub fn exit_code(&self) -> u8 {
        let Recorder { writes, reads, .. } = &self.recorder;
        match self.ended_by {
            Some(code) => code,
            None if writes.unknown + reads.unknown > 0 => UNKNOWN,
            None if writes.not_done + reads.not_done > 0 => NOT_DONE,
            None => DONE,
        }
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Kind)> {
        let kinds = [("write", &self.recorder.writes), ("read", &self.recorder.reads)];
        kinds.into_iter().filter(|(_, kind)| kind.ended() > 0)
    }

    fn done(&self) -> u64 {
        self.recorder.writes.done + self.recorder.reads.done
    }

    fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64().max(0.001)
    }

    /// Time on a processor for a million operations, in seconds.
    fn cpu_per_million(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / (self.done().max(1) as f64)
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut parts = vec![self.headline(), self.operations(style), self.processes(style)];
        if self.never_begun > 0 {
            let (never, given) = (grouped(self.never_begun), self.args.rate.map_or(0, std::num::NonZero::get));
            parts.push(format!(
                "{never} operations of the schedule were never begun: nobody was free for them, and they have no \
                 latency.\nThe cluster does less than {} a second with so many under way: give a lower --rate, more \
                 --clients, or more --in-flight.",
                grouped(u64::from(given))
            ));
        }
        if !self.spent.absent.is_empty() {
            let absent = self.spent.absent.join(", ");
            parts
                .push(format!("Not listed, because they did not tell what they spent, or were started anew: {absent}"));
        }
        if let Some(trouble) = &self.recorder.trouble {
            parts.push(format!("The first trouble: {trouble}"));
        }
        parts.join("\n\n")
    }

    fn headline(&self) -> String {
        let BenchArgs { mode, clients, in_flight, value_size, keys, duration, warmup, rate, .. } = &self.args;
        let each = match self.transfers() {
            Some(transfers) => {
                format!("batches of {}, {}", counted(transfers, "transfer"), counted(u64::from(*keys), "account"))
            }
            None => format!("values of {value_size} bytes, {}", counted(u64::from(*keys), "key")),
        };
        let rate = rate.map_or_else(String::new, |rate| format!(", {} begun a second", grouped(rate.get().into())));
        let of = match self.ended_by {
            Some(_) => format!(" of {} s, then interrupted", duration.as_secs_f64()),
            None => String::new(),
        };
        format!(
            "{}: {} x {in_flight} under way, {each}{rate}; {:.1} s{of}, after {} s to warm up; {}{}",
            mode.name(),
            counted(u64::from(*clients), "client"),
            self.measured.as_secs_f64(),
            warmup.as_secs_f64(),
            counted((self.spent.nodes.len() + self.spent.absent.len()) as u64, "node"),
            if self.own_nodes { " of its own" } else { "" },
        )
    }

    fn operations(&self, style: Style) -> String {
        let header = ["OPERATION", "DONE", "A SECOND", "p50 ms", "p90", "p99", "p99.9", "MAX", "NOT DONE", "UNKNOWN"];
        let mut shown = table(header, style);
        for (name, kind) in self.kinds() {
            let quantiles = QUANTILES.map(|(_, of_1000)| ms(kind.quantile(of_1000)));
            let [p50, p90, p99, p999] = quantiles;
            shown.add_row([
                name.to_owned(),
                grouped(kind.done),
                grouped(self.a_second(kind.done) as u64),
                p50,
                p90,
                p99,
                p999,
                ms(kind.longest()),
                grouped(kind.not_done),
                grouped(kind.unknown),
            ]);
        }
        to_the_right(&mut shown);
        match self.transfers_a_second() {
            Some(rate) => format!("{}\n{} transfers a second", finished(&shown), grouped(rate as u64)),
            None => finished(&shown),
        }
    }

    /// How many one operation holds, if it is money that moves.
    fn transfers(&self) -> Option<u64> {
        (self.args.mode == Mode::Transfer).then(|| u64::from(self.args.transfers.unwrap_or(TRANSFERS)))
    }

    fn transfers_a_second(&self) -> Option<f64> {
        self.transfers().map(|transfers| self.a_second(self.recorder.writes.done) * transfers as f64)
    }

    fn processes(&self, style: Style) -> String {
        let header = ["PROCESS", "CPU s", "PER MILLION", "SYNCS", "COMMANDS A SYNC", "COMMANDS A SLOT", ""];
        let mut shown = table(header, style);
        for node in &self.spent.nodes {
            shown.add_row([
                node.name.clone(),
                format!("{:.2}", node.cpu.as_secs_f64()),
                format!("{:.1}", self.cpu_per_million(node.cpu)),
                grouped(node.syncs),
                ratio(node.commands, node.syncs),
                ratio(node.commands, node.slots),
                node.phase.clone(),
            ]);
        }
        let cpu = self.spent.clients_cpu;
        let own = [format!("{:.2}", cpu.as_secs_f64()), format!("{:.1}", self.cpu_per_million(cpu))];
        let [seconds, per_million] = own;
        shown.add_row(["clients".to_owned(), seconds, per_million, String::new(), String::new(), String::new()]);
        to_the_right(&mut shown);
        finished(&shown)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let args = &self.args;
        let kinds = self.kinds().map(|(name, kind)| {
            let mut latency: serde_json::Map<String, Value> =
                QUANTILES.iter().map(|(name, of_1000)| ((*name).to_owned(), us(kind.quantile(*of_1000)))).collect();
            latency.insert("mean".to_owned(), us(kind.mean()));
            latency.insert("max".to_owned(), us(kind.longest()));
            let kind = json!({
                "done": kind.done,
                "not_done": kind.not_done,
                "unknown": kind.unknown,
                "per_second": self.a_second(kind.done),
                "latency_us": latency,
            });
            (name.to_owned(), kind)
        });
        let processes = self.spent.nodes.iter().map(|node| {
            json!({
                "node": node.name,
                "state": node.phase,
                "cpu_seconds": node.cpu.as_secs_f64(),
                "cpu_seconds_per_million": self.cpu_per_million(node.cpu),
                "syncs": node.syncs,
                "commands": node.commands,
                "slots": node.slots,
                "commands_per_sync": quotient(node.commands, node.syncs),
                "commands_per_slot": quotient(node.commands, node.slots),
            })
        });
        json!({
            "mode": args.mode.name(),
            "clients": args.clients,
            "in_flight": args.in_flight,
            "value_size": args.value_size,
            "keys": args.keys,
            "transfers": self.transfers(),
            "transfers_per_second": self.transfers_a_second(),
            "rate": args.rate,
            "interrupted": self.ended_by.is_some(),
            "duration_seconds": self.measured.as_secs_f64(),
            "warmup_seconds": args.warmup.as_secs_f64(),
            "throughput_per_second": self.a_second(self.done()),
            "operations": kinds.collect::<serde_json::Map<_, _>>(),
            "never_begun": self.never_begun,
            "nodes": processes.collect::<Vec<_>>(),
            "nodes_absent": self.spent.absent,
            "clients_cpu_seconds": self.spent.clients_cpu.as_secs_f64(),
            "clients_cpu_seconds_per_million": self.cpu_per_million(self.spent.clients_cpu),
            "trouble": self.recorder.trouble,
            "exit": self.exit_code(),
        })
    }
}

fn to_the_right(shown: &mut comfy_table::Table) {
    let last = shown.column_count();
    for place in 1..last {
        if let Some(column) = shown.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn ms(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.3}", time.as_secs_f64() * 1e3))
}

fn us(time: Option<Duration>) -> Value {
    json!(time.map(|time| (time.as_nanos() / 100) as f64 / 10.0))
}

fn quotient(one: u64, other: u64) -> Option<f64> {
    (other > 0).then(|| one as f64 / other as f64)
}

fn ratio(one: u64, other: u64) -> String {
    quotient(one, other).map_or_else(String::new, |quotient| format!("{quotient:.1}"))
}

/// Names of quantiles, and how many of 1000 operations stay below.
const QUANTILES: [(&str, f64); 4] = [("p50", 500.0), ("p90", 900.0), ("p99", 990.0), ("p99_9", 999.0)];
