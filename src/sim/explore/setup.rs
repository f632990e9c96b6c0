//! What an instance allows: who takes part, and how much may happen.

use super::local::Flaw;
use super::notes::Wish;

/// What becomes of a message when it is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// It stays, and may come again, at any time. Only forwarded commands and questions for a read index are used up:
    /// every copy would make new work, without end; a client that sends twice stands for it.
    #[default]
    Keeps,
    /// It is used up; it may be lost by never being delivered.
    UsesUp,
}

/// An instance: who takes part, and how much may happen.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes.
    pub nodes: u32,
    /// What each client wants, one thing after the other.
    pub clients: Vec<Vec<Wish>>,
    /// How often a client may send one wish.
    pub sends: u8,
    /// How often anybody may campaign.
    pub elections: u8,
    /// Who may campaign.
    pub candidates: Vec<u32>,
    /// How often anybody may crash and come back.
    pub crashes: u8,
    /// How often a learner or an executor may ask again.
    pub reminders: u8,
    /// The network.
    pub network: Network,
    /// Whether heartbeats arrive. Reads need them; writes do not.
    pub heartbeats: bool,
    /// Whether a client hears an answer in the very step that gives it, or in a step of its own.
    pub prompt: bool,
    /// Who leads at the beginning, with everything quiet.
    pub leader: Option<u32>,
    /// A mistake put in on purpose.
    pub flaw: Flaw,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            nodes: 3,
            clients: Vec::new(),
            sends: 1,
            elections: 0,
            candidates: vec![1, 2, 3],
            crashes: 0,
            reminders: 0,
            network: Network::Keeps,
            heartbeats: false,
            prompt: false,
            leader: None,
            flaw: Flaw::None,
        }
    }
}

/// What is possible for a while: a partition, and whether timers run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Who can hear and be heard; the others do nothing at all.
    pub nodes: Vec<u32>,
    /// Which clients speak and hear, numbered from 1.
    pub clients: Vec<u8>,
    /// Whether timers fire and nodes crash.
    pub timers: bool,
}

impl Stage {
    /// Everybody, and everything that the setup allows.
    pub fn all(setup: &Setup) -> Stage {
        Stage { nodes: (1..=setup.nodes).collect(), clients: (1..=setup.clients.len() as u8).collect(), timers: true }
    }

    /// Only these nodes.
    pub fn among(mut self, nodes: &[u32]) -> Stage {
        self.nodes = nodes.to_vec();
        self
    }

    /// Only these clients.
    pub fn with_clients(mut self, clients: &[u8]) -> Stage {
        self.clients = clients.to_vec();
        self
    }

    /// No timers.
    pub fn without_timers(mut self) -> Stage {
        self.timers = false;
        self
    }
}
