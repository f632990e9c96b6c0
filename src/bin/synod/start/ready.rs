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
    /// Where others reach it.
    pub address: Address,
    /// Where it really listens: elsewhere, if it advertises an address.
    pub listening: Address,
}

impl Ready {
    /// For people, or as JSON.
    pub fn line(&self, json: bool) -> String {
        let Ready { name, process_id, address, listening } = self;
        if json {
            let (address, listening) = (address.to_string(), Some(listening.to_string()));
            let line = Json { name: name.clone(), process_id: *process_id, address, listening };
            serde_json::to_string(&line).unwrap_or_default()
        } else if address == listening {
            format!("{name} listening on {listening} (process {process_id})")
        } else {
            format!("{name} listening on {listening}, advertised as {address} (process {process_id})")
        }
    }

    /// Reads the line that [`Ready::line`] made as JSON; none if it is another.
    pub fn from_json(line: &str) -> Option<Ready> {
        let Json { name, process_id, address, listening } = serde_json::from_str(line).ok()?;
        let address: Address = address.parse().ok()?;
        let listening = listening.map_or_else(|| Some(address.clone()), |listening| listening.parse().ok())?;
        Some(Ready { name, process_id, address, listening })
    }
}

#[derive(Serialize, Deserialize)]
struct Json {
    name: String,
    process_id: u32,
    address: String,
    listening: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_program_says_the_other_understands() {
        let (address, listening) = (Address::loopback(7101), Address::loopback(7101));
        let ready = Ready { name: "n1".to_owned(), process_id: 77, address, listening };
        assert_eq!(Ready::from_json(&ready.line(true)).as_ref(), Some(&ready));
        assert_eq!(ready.line(false), "n1 listening on 127.0.0.1:7101 (process 77)");
        let behind = Ready { address: "host.example:7101".parse().unwrap(), ..ready };
        assert_eq!(Ready::from_json(&behind.line(true)).as_ref(), Some(&behind));
        assert_eq!(behind.line(false), "n1 listening on 127.0.0.1:7101, advertised as host.example:7101 (process 77)");
        assert_eq!(Ready::from_json("[WARN] something else"), None);
    }
}
