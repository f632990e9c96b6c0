//! What nodes warn of.

use std::sync::{Mutex, Once};

/// Every warning of this process, all its nodes'.
pub struct Lines;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LOGGER: Lines = Lines;

impl Lines {
    /// From the first call on.
    pub fn listen() -> &'static Lines {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&LOGGER).expect("the only logger");
            log::set_max_level(log::LevelFilter::Warn);
        });
        &LOGGER
    }

    /// Those that say this.
    pub fn containing(&self, words: &str) -> Vec<String> {
        let lines = LINES.lock().expect("no panic");
        lines.iter().filter(|line| line.contains(words)).cloned().collect()
    }
}

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.lock().expect("no panic").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}
