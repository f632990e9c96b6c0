//! `synod top`: a live view of a cluster.
//!
//! | file | what it holds |
//! |---|---|
//! | `asking` | the thread that asks all nodes how they stand, once every interval |
//! | `measured` | what two successive answers say: rates, lag, who leads |
//! | `columns` | the table's columns, and the sentences around it |
//! | `plain` | lines or JSON, where there is no terminal |
//! | `screen`, `drawn` | the terminal: keys and its mode; what is drawn on it |
//!
//! Whoever draws never waits for a node, and whoever asks never waits for a person.

mod asking;
mod columns;
mod drawn;
mod measured;
mod plain;
mod screen;

use std::time::Duration;

use clap::Args;

use asking::Asker;

use crate::answer::Failure;
use crate::cookie;
use crate::demo::Signals;
use crate::grammar::ConnectArgs;
use crate::output::Style;

/// What to watch, and how often to look.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(
    after_help = "Examples:\n  synod top\n  synod top --connect 127.0.0.1:7101,127.0.0.1:7102 --interval 0.5\n  \
        synod top --count 10 --json\n\n\
        On a terminal: q, Esc or ctrl-C leaves, space pauses, + and - change the interval.\nElsewhere, and with \
        --json, it prints a table or an object once every interval.\n\n\
        Exit codes: 0 done, 1 no cluster was found, or at some look no node answered, 2\nusage, 130 interrupted, 143 \
        terminated."
)]
pub struct TopArgs {
    /// How often to look.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,

    /// End after so many looks [default: go on].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,

    /// How to reach the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Watches until it is told to leave. Fails if there is no cluster to begin with; later it waits for one.
pub fn run(args: &TopArgs) -> Result<u8, Failure> {
    let cookie = cookie::read(args.connect.cookie_file.as_deref())?;
    let signals = Signals::alone();
    let asker = Asker::begin(&args.connect, &cookie, args.interval)?;
    let style = Style::of_stdout(args.connect.json);
    if style.terminal { screen::run(args, asker, &signals, style) } else { plain::run(args, &asker) }
}

/// A time between two looks, in seconds.
fn interval(word: &str) -> Result<Duration, String> {
    match word.parse::<f64>() {
        Ok(seconds) if (SHORTEST.as_secs_f64()..=LONGEST.as_secs_f64()).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!(
            "`{word}` is not an interval: write seconds, from {} to {}",
            SHORTEST.as_secs_f64(),
            LONGEST.as_secs_f64()
        )),
    }
}

/// More often would be a load of its own.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_limits() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "0.01", "3601", "soon", "NaN", "inf"] {
            assert!(interval(wrong).unwrap_err().contains("from 0.1 to 3600"), "{wrong}");
        }
    }
}
