//! One run of a scenario: the world, its limit, who stands where. While it runs, the logs are looked at now and then.

use super::workload::Step;
use super::{Bounds, Scenario, Summary};
use crate::paxos::membership::ALPHA;
use crate::paxos::{Settings, Slot};
use crate::sim::check::lab::{Log, Status, all_slots, clients_done, logs_consistent, results_ok};
use crate::sim::check::{Broken, Held};
use crate::sim::history::{Call, Fate, Operation, Told};
use crate::sim::plan::{Clients, Network, Plan};
use crate::sim::script::Group;
use crate::sim::world::World;
use crate::storage;

/// A run.
#[derive(Debug)]
pub(super) struct Stage {
    pub world: World,
    pub seed: u64,
    pub bounds: Bounds,
    /// Nodes in the order in which the scenario names them: where the leader stands follows from the seed.
    pub servers: Vec<usize>,
    pub limit_us: u64,
    /// The search for an order of each key's history is too hard, or is not needed.
    pub skips_search: bool,
    look_us: u64,
}

impl Stage {
    /// The world before anything happened.
    pub fn new(scenario: &Scenario, seed: u64, bounds: Bounds, lines: bool) -> Result<Stage, Broken> {
        let world = World::scripted(&plan(scenario, seed), scenario.client_loss, lines)?;
        let servers = (0..scenario.nodes as usize).collect();
        let limit_us = scenario.limit_ms * 1000;
        Ok(Stage { world, seed, bounds, servers, limit_us, skips_search: false, look_us: 0 })
    }

    /// This much of a workload.
    pub fn sized(&self, reduced: usize, full: usize) -> usize {
        match self.bounds {
            Bounds::Reduced => reduced,
            Bounds::Full => full,
        }
    }

    /// The cluster is founded, and has a leader. It stands in another place for each seed.
    pub fn found(&mut self) -> Held {
        while !self.world.is_founded() {
            if !self.step(self.limit_us)? {
                return Err(Broken::new("liveness", "no cluster is founded within the limit"));
            }
        }
        let leader = self.world.leader().unwrap_or(0);
        let count = self.servers.len();
        let first = leader + count - (self.seed as usize % count);
        self.servers = (0..count).map(|place| (first + place) % count).collect();
        Ok(())
    }

    /// Only these reach each other; servers are named from 1. Others reach nobody.
    pub fn cut(&mut self, groups: &[(&[usize], &[usize])]) {
        let named = |servers: &[usize]| servers.iter().map(|server| self.servers[server - 1]).collect();
        let groups = groups.iter().map(|(servers, clients)| Group { nodes: named(servers), clients: clients.to_vec() });
        let groups: Vec<Group> = groups.collect();
        self.world.partition(&groups);
    }

    /// So many milliseconds pass.
    pub fn pass(&mut self, ms: u64) -> Held {
        let until_us = self.world.now_us() + ms * 1000;
        while self.step(until_us)? {}
        Ok(())
    }

    /// A client asks, with all the time there is. Gives the place in the history.
    pub fn ask(&mut self, client: usize, key: u32, call: Call) -> usize {
        self.world.submit(client, key, call, PATIENCE_MS)
    }

    /// The client is told in time, and told this.
    pub fn expect(&mut self, place: usize, told: Told) -> Held {
        let client = self.world.operation(place).client as usize;
        while !self.world.is_idle(client) && self.step(self.limit_us)? {}
        results_ok([self.world.operation(place)], &[told])
    }

    /// A client asks and is told.
    pub fn does(&mut self, client: usize, (key, call, told): Step) -> Held {
        let place = self.ask(client, key, call);
        self.expect(place, told)
    }

    /// Whenever a client waits for nothing it asks what comes next for it, and again until that time; then, or once
    /// nothing comes next for anybody, all wait for what they asked last.
    pub fn drive(&mut self, until_us: u64, mut next: impl FnMut(usize) -> Option<(u32, Call)>) -> Held {
        let clients = self.world.clients.len();
        loop {
            let mut waiting = false;
            for client in 0..clients {
                if self.world.is_idle(client)
                    && self.world.now_us() < until_us
                    && let Some((key, call)) = next(client)
                {
                    self.ask(client, key, call);
                }
                waiting |= !self.world.is_idle(client);
            }
            if !waiting {
                return Ok(());
            }
            if !self.step(self.limit_us)? {
                return clients_done(self.world.history());
            }
        }
    }

    /// As [`Stage::drive`], but when the time has come nobody is waited for.
    pub fn load(&mut self, until_us: u64, mut next: impl FnMut(usize) -> (u32, Call)) -> Held {
        loop {
            for client in 0..self.world.clients.len() {
                if self.world.is_idle(client) {
                    let (key, call) = next(client);
                    self.ask(client, key, call);
                }
            }
            if !self.step(until_us)? {
                return Ok(());
            }
        }
    }

    /// Every client asks once.
    pub fn once_each(&mut self, what: impl Fn(usize) -> (u32, Call)) -> Held {
        let mut asked = vec![false; self.world.clients.len()];
        self.drive(u64::MAX, |client| (!std::mem::replace(&mut asked[client], true)).then(|| what(client)))
    }

    /// Every client does its steps, one after the other, and is told what it must be told.
    pub fn play(&mut self, mut steps: impl FnMut(usize, usize) -> Option<Step>, until_us: u64) -> Held {
        let begun = self.world.history().len();
        let clients = self.world.clients.len();
        let mut expected: Vec<Vec<Told>> = vec![Vec::new(); clients];
        self.drive(until_us, |client| {
            let (key, call, told) = steps(client, expected[client].len())?;
            expected[client].push(told);
            Some((key, call))
        })?;
        (0..clients).try_for_each(|client| {
            let own = self.world.history()[begun..].iter().filter(|operation| operation.client as usize == client);
            results_ok(own, &expected[client])
        })
    }

    /// What was asked since then.
    pub fn since(&self, place: usize) -> &[Operation] {
        &self.world.history()[place..]
    }

    /// The longest that a client waited for something that was done, in microseconds.
    pub fn longest_wait_us(&self) -> u64 {
        let waits = self.world.history().iter().filter_map(|operation| match operation.fate {
            Fate::Done(at_us, _) => Some(at_us - operation.invoked_us),
            Fate::Unknown | Fate::NotDone => None,
        });
        waits.max().unwrap_or(0)
    }

    /// No client waited so long for something that was done.
    ///
    /// # Errors
    /// One did.
    pub fn nobody_waited(&self, limit_ms: u64) -> Held {
        let longest_ms = self.longest_wait_us() / 1000;
        if longest_ms < limit_ms {
            return Ok(());
        }
        Err(Broken::new("longest_wait", format!("a client waited {longest_ms} ms, not less than {limit_ms}")))
    }

    /// How the nodes show their logs.
    pub fn logs(&self) -> Vec<Log> {
        self.world.logs()
    }

    /// A lane diagram, if it was kept.
    pub fn diagram(&self) -> String {
        self.world.diagram(&(0..=u64::MAX))
    }

    fn step(&mut self, until_us: u64) -> Result<bool, Broken> {
        let stepped = self.world.step(until_us)?;
        if self.world.now_us() >= self.look_us {
            self.look_us = self.world.now_us() + LOOK_US;
            if self.world.chosen().len() < MOST_LOOKED_AT {
                logs_consistent(&self.logs())?;
            }
        }
        Ok(stepped)
    }

    /// What must hold at the end of every scenario, and what it took.
    pub fn finish(&mut self) -> Result<Summary, Broken> {
        if self.world.now_us() > self.limit_us {
            let detail = format!("it took {} ms, and may take {}", self.world.now_us() / 1000, self.limit_us / 1000);
            return Err(Broken::new("limit", detail));
        }
        all_slots(&self.logs())?;
        self.world.finish(!self.skips_search)?;
        let done = self.world.counts().done;
        let messages = self.world.messages_to_nodes();
        Ok(Summary {
            seeds: 1,
            longest_run_us: self.world.now_us(),
            simulated_us: self.world.now_us(),
            done,
            messages,
            most_per_request: messages.checked_div(done).unwrap_or(0),
            longest_wait_us: self.longest_wait_us(),
        })
    }
}

/// Everything at its usual size; for one seed of three, with so few slots to a snapshot that slots are cleared.
fn plan(scenario: &Scenario, seed: u64) -> Plan {
    let clears = seed.is_multiple_of(3);
    let settings = Settings { snapshot_slots: if clears { 20 } else { 2_000 }, ..Settings::default() };
    let journal = storage::Settings {
        segment_bytes: if clears { 8 << 10 } else { 1 << 20 },
        first_segment_bytes: if clears { 8 << 10 } else { 64 << 10 },
        ..storage::Settings::default()
    };
    // Journals that long values must soon leave.
    let short = storage::Settings {
        segment_bytes: 64 << 10,
        first_segment_bytes: 64 << 10,
        keep_bytes: 256 << 10,
        ..storage::Settings::default()
    };
    let journal = if scenario.value_bytes > 0 { short } else { journal };
    Plan {
        seed,
        nodes: scenario.nodes,
        alpha: ALPHA,
        settings,
        journal,
        network: Network { loss: scenario.loss, duplicate: 0, least_us: 50, spread_us: 300, late: 0 },
        clients: Clients {
            count: scenario.clients,
            in_flight: 1,
            operations: 0,
            think_us: 1,
            keys: 1,
            reads: 0,
            deadline_ms: PATIENCE_MS,
            value_bytes: scenario.value_bytes,
            bank: false,
        },
        length_us: scenario.limit_ms * 1000,
        faults: Vec::new(),
        lasting: None,
    }
}

/// A majority shows slots up to there, and each of these is chosen or cleared somewhere.
pub(super) fn filled(logs: &[Log], upto: Slot) -> Held {
    let majority = logs.len() / 2 + 1;
    let far = logs.iter().filter(|log| log.last_non_empty >= upto).count();
    if far < majority {
        return Err(Broken::new("filled", format!("only {far} nodes show slots up to {upto}")));
    }
    let stands = |slot: &Slot| logs.iter().any(|log| matches!(log.status(*slot), Status::Chosen | Status::Cleared));
    match Slot::ZERO.above(upto).find(|slot| !stands(slot)) {
        None => Ok(()),
        Some(slot) => Err(Broken::new("filled", format!("nobody shows slot {slot} as chosen"))),
    }
}

/// Longer than any limit, in milliseconds.
const PATIENCE_MS: u64 = 120_000;
/// How often the logs are looked at, in microseconds.
const LOOK_US: u64 = 50_000;
/// Longer logs are looked at in the end only.
const MOST_LOOKED_AT: usize = 1_000;
