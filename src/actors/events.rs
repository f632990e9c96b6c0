//! What happened, for people: the log lines, the history of leaders, and whether this node votes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use log::{debug, error, info, warn};

use crate::net::report::ViewChange;
use crate::paxos::effect::Changed;
use crate::paxos::{Ballot, Event, Membership, NodeId, Slot};
use crate::storage::members;

/// A shared recorder of events.
#[derive(Clone)]
pub struct Events {
    name: Arc<str>,
    membership: Arc<Mutex<Membership>>,
    seen: Arc<Mutex<Seen>>,
    commands: Arc<AtomicU64>,
}

#[derive(Default)]
struct Seen {
    views: VecDeque<ViewChange>,
    trouble: Option<String>,
    /// What is damaged in the journal, until it is repaired.
    damage: Option<String>,
    /// How the state differs from the others', until it is repaired.
    divergence: Option<String>,
    /// How the states differ, until a majority agrees.
    disagreement: Option<String>,
    /// Why this node waits for others before it votes, if that is not because its own vote is no quorum.
    company: Option<String>,
    admitted: bool,
    /// Whether a leader was known, so that its loss is news.
    has_leader: bool,
}

impl Events {
    /// A recorder for the node of this name.
    pub fn new(name: &str, membership: &Membership) -> Events {
        Events {
            name: name.into(),
            membership: Arc::new(Mutex::new(membership.clone())),
            seen: Arc::new(Mutex::new(Seen::default())),
            commands: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Takes note of an event.
    pub fn note(&self, event: &Event) {
        let name = &self.name;
        match event {
            Event::Ignored { from, what, why } => debug!("{name}: ignored {what} from {}: {why}", self.name_of(*from)),
            Event::Canvassing {} => {
                debug!("{name}: hears no leader, asks around");
                // Once, however long it lasts; at a start there has not been any.
                if std::mem::take(&mut self.seen().has_leader) {
                    info!(target: NEWS, "{name}: hears no leader any more");
                }
            }
            Event::Preparing { ballot } => debug!("{name}: prepares ballot {ballot}"),
            Event::Leading { ballot, first, merged, holes } => {
                info!(target: NEWS, "{name}: leads in ballot {ballot}");
                debug!("{name}: leads from slot {first}: {merged} merged, {holes} holes filled");
                self.seen().has_leader = true;
                self.view(ballot.node, *ballot, Some((*first, *merged, *holes)));
            }
            Event::Following { ballot } => {
                info!(target: NEWS, "{name}: {} leads in ballot {ballot}", self.name_of(ballot.node));
                self.seen().has_leader = true;
                self.view(ballot.node, *ballot, None);
            }
            Event::SteppedDown { ballot, why } => {
                info!(target: NEWS, "{name}: no longer leads in ballot {ballot}: {why}");
                self.seen().has_leader = false;
            }
            Event::Executed { commands, .. } => {
                self.commands.fetch_add(*commands, Ordering::Relaxed);
            }
            Event::Amnesia { peer, witnessed, durable } => {
                let trouble = format!(
                    "the journal ends at batch {}, but {} has seen batch {} of it: acknowledged data was lost, so this \
                     node does not vote: restore its folder as it was last, or let it come back with an empty one \
                     (`synod member replace NAME=HOST:PORT`); the other nodes go on meanwhile",
                    durable.0,
                    self.name_of(*peer),
                    witnessed.0
                );
                warn!("{name}: {trouble}");
                self.seen().trouble = Some(trouble);
            }
            Event::Shortened { reaches, written_upto } => {
                let company = format!(
                    "the journal knows nothing behind slot {reaches}, but the members were written down as of slot \
                     {written_upto}: this node learns what lies between from the other nodes before it votes: start \
                     them"
                );
                warn!("{name}: {company}");
                self.seen().company = Some(company);
            }
            Event::Admitted {} => {
                debug!("{name}: met a quorum, may vote");
                let mut seen = self.seen();
                (seen.admitted, seen.company) = (true, None);
            }
            Event::Damaged { batches, votes, upto } => {
                let damage = damage(*batches, *votes, *upto);
                warn!("{name}: {damage}");
                self.seen().damage = Some(damage);
            }
            Event::Dropped { slot, ballot } => {
                debug!("{name}: drops its lost vote in slot {slot}, ballot {ballot}: nothing was chosen by it");
            }
            Event::Repaired {} => {
                info!(target: NEWS, "{name}: the journal is repaired");
                self.seen().damage = None;
            }
            Event::Installed { upto } => info!("{name}: installed a snapshot up to slot {upto}"),
            Event::Agreed { mark } => {
                debug!("{name}: the replicas agree on their state at slot {mark}");
                self.seen().disagreement = None;
            }
            Event::Diverged { mark, own, agreed } => {
                let trouble = format!(
                    "the state of this node at slot {mark} is {}, and the others agree on {}: memory or disk have changed \
                     it, or the machine is not deterministic; it answers no client until it is repaired from a snapshot \
                     of another node, which has begun",
                    short(own),
                    short(agreed)
                );
                error!("{name}: {trouble}");
                self.seen().divergence = Some(trouble);
            }
            Event::Rebuilt { upto } => {
                warn!("{name}: the state is repaired up to slot {upto}; this node serves again");
                self.seen().divergence = None;
            }
            Event::Disagreed { mark, reports } => {
                let each: Vec<String> =
                    reports.iter().map(|(node, digest)| format!("{} {}", self.name_of(*node), short(digest))).collect();
                let trouble = format!(
                    "the states of the nodes at slot {mark} differ, and no majority is alike ({}): nobody knows which is \
                     right, and all go on; find out which is, and replace the others (`synod member replace`)",
                    each.join(", ")
                );
                error!("{name}: {trouble}");
                self.seen().disagreement = Some(trouble);
            }
            Event::Extended { ballot, first, merged } => {
                debug!("{name}: leads in ballot {ballot} from slot {first} on, too: {merged} merged");
            }
            Event::Changed { slot, change, from } => {
                let what = match change {
                    Changed::Added { node, name } => format!("{name} comes as node {node}, without a vote so far"),
                    Changed::Removed { name } => format!("{name} leaves at slot {from}"),
                    Changed::Replaced { node, name } => {
                        format!("{name} comes with a new folder as node {node}, without a vote so far")
                    }
                    Changed::Promoted { name, .. } => format!("{name} has caught up, and votes from slot {from} on"),
                };
                info!(target: NEWS, "{name}: slot {slot}: {what}");
            }
            Event::Dismissed { from } => info!(target: NEWS, "{name}: has left the cluster at slot {from}"),
            Event::SnapshotDropped { peer, upto, why } => {
                let peer = self.name_of(*peer);
                warn!("{name}: dropped the snapshot up to slot {upto} that {peer} sent: {why}");
            }
        }
    }

    /// The journal itself says that it lost what it acknowledged, before this start.
    pub fn remember_loss(&self) {
        let trouble = "acknowledged data was lost from this journal earlier, so this node does not vote: restore its \
                       folder as it was before, or let it come back with an empty one (`synod member replace \
                       NAME=HOST:PORT`); the other nodes go on meanwhile";
        warn!("{}: {trouble}", self.name);
        self.seen().trouble = Some(trouble.into());
    }

    /// By its journal this node alone could decide, but its folder says that it has company. `others` are their names, if they
    /// can be read.
    pub fn expect_company(&self, others: &[String]) {
        let company = match others {
            [] => format!(
                "the file `{}` is damaged, so this node cannot tell whether it is alone in its cluster: it waits to meet \
                 another one before it votes; if there never was another, remove that file and start this node again",
                members::FILE
            ),
            others => format!(
                "has met none of {} since its start, and only they can tell whether its journal has lost anything: waits \
                 for one of them before it votes: start it; newcomers that never had a vote and are gone for good are named \
                 with --forsake",
                others.join(", ")
            ),
        };
        self.seen().company = Some(company);
    }

    /// The changes of leader, oldest first.
    pub fn views(&self) -> Vec<ViewChange> {
        self.seen().views.iter().cloned().collect()
    }

    /// Why this node does not vote, or does not serve, and how to mend it; none if it does.
    pub fn trouble(&self) -> Option<String> {
        let seen = self.seen();
        let troubles = [&seen.trouble, &seen.damage, &seen.divergence, &seen.disagreement, &seen.company];
        troubles.into_iter().find_map(Clone::clone)
    }

    /// Whether this node has met a quorum since it started.
    pub fn admitted(&self) -> bool {
        self.seen().admitted
    }

    /// Commands executed since the node started.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// A node's name; its number for a stranger.
    pub fn name_of(&self, node: NodeId) -> String {
        self.membership().member(node).map_or_else(|| format!("node {node}"), |member| member.name.clone())
    }

    /// The members have changed.
    pub fn renew(&self, membership: Membership) {
        *self.membership() = membership;
    }

    /// Who the members are, as far as is executed here.
    pub fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().expect("no holder of this lock panics")
    }

    fn view(&self, leader: NodeId, ballot: Ballot, merged: Option<(Slot, u64, u64)>) {
        let change = ViewChange { at_ms: wall_ms(), leader: self.name_of(leader), ballot, merged };
        let mut seen = self.seen();
        if seen.views.len() == MOST_VIEWS {
            seen.views.pop_front();
        }
        seen.views.push_back(change);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder of this lock panics")
    }
}

/// What is damaged, and what becomes of it.
fn damage(batches: u64, votes: u64, upto: Slot) -> String {
    let what = match batches {
        0 => "no snapshot here covers what the journal no longer has".into(),
        1 => "1 batch of the journal is damaged".into(),
        batches => format!("{batches} batches of the journal are damaged"),
    };
    let wanted = match (votes, upto) {
        (0, Slot::ZERO) => return format!("{what}: nothing is lost that is still needed"),
        (0, upto) => format!("the log up to slot {upto} is"),
        (1, Slot::ZERO) => "1 vote is".into(),
        (votes, Slot::ZERO) => format!("{votes} votes are"),
        (votes, upto) => format!("{votes} votes and the log up to slot {upto} are"),
    };
    format!("{what}: {wanted} being repaired from the other nodes, and until then this node does not vote")
}

/// The first bytes of a digest: enough for people.
fn short(digest: &[u8; 32]) -> String {
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The wall clock, in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The target of the few log lines that whoever runs a node wants to see: the founding, and each change of leader. They
/// are of level `info`; what is wrong is logged as a warning or an error as everywhere.
pub const NEWS: &str = "synod::news";
/// How many changes of leader are remembered.
const MOST_VIEWS: usize = 1000;
