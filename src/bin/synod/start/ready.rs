//! The one line that a node prints when it listens; for people, or for the program that started it.

use serde::{Deserialize, Serialize};

use crate::grammar::Address;

/// A node listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// Its name.
    pub name: String,
    /// Its process.
    pub process_id: u32,
    /// Where it really listens.
    pub address: Address,
}

impl Ready {
    /// For people, or as JSON.
    pub fn line(&self, json: bool) -> String {
        let Ready { name, process_id, address } = self;
        if json {
            let line = Json { name: name.clone(), process_id: *process_id, address: address.to_string() };
            serde_json::to_string(&line).unwrap_or_default()
        } else {
            format!("{name} listening on {address} (process {process_id})")
        }
    }

    /// Reads the line that [`Ready::line`] made as JSON; none if it is another.
    pub fn from_json(line: &str) -> Option<Ready> {
        let Json { name, process_id, address } = serde_json::from_str(line).ok()?;
        Some(Ready { name, process_id, address: address.parse().ok()? })
    }
}

#[derive(Serialize, Deserialize)]
struct Json {
    name: String,
    process_id: u32,
    address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_program_says_the_other_understands() {
        let ready = Ready { name: "n1".to_owned(), process_id: 77, address: Address::loopback(7101) };
        assert_eq!(Ready::from_json(&ready.line(true)).as_ref(), Some(&ready));
        assert_eq!(ready.line(false), "n1 listening on 127.0.0.1:7101 (process 77)");
        assert_eq!(Ready::from_json("[WARN] something else"), None);
    }
}
