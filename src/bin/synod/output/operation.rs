//! Bytes, and the operations in the log, in a form that a person can read.

use synod::net::report::EntryReport;

/// Bytes as text if they are printable UTF-8, else escaped and in quotes.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => format!("\"{}\"", text.escape_debug()),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// As [`printable`], but no longer than fits in a table.
pub fn brief(bytes: &[u8]) -> String {
    shortened(printable(bytes))
}

/// What an operation of the log does.
pub fn operation(bytes: &[u8]) -> String {
    printable(bytes)
}

/// What a command in the log is.
pub fn entry(entry: &EntryReport) -> String {
    match entry {
        EntryReport::Open { .. } => "open session".to_owned(),
        EntryReport::Apply { operation: bytes, length, .. } => {
            let cut = if *length > bytes.len() as u64 { format!(" ({length} bytes)") } else { String::new() };
            format!("{}{cut}", operation(bytes))
        }
    }
}

/// Text that is no longer than fits in a table.
pub fn shortened(text: String) -> String {
    match text.char_indices().nth(MOST_IN_A_CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Characters.
const MOST_IN_A_CELL: usize = 60;
