//! What must hold in every run, whoever crashes and whatever is lost: one file per property.
//!
//! A check sees all and takes no part. Most look at every step; a few look at the end. Each remembers what was once true
//! and must stay true, or holds two accounts of the same thing against each other.
//!
//! | file | property |
//! |---|---|
//! | [`agreement`] | one value per slot; a value is chosen only by a quorum of votes in one ballot; a ballot has one owner's life |
//! | [`proposed`] | what is chosen was proposed by a client, or is a no-op |
//! | [`promises`] | what a node said it promised or voted, it knows for ever, across restarts |
//! | [`durable`] | nothing is said before it is durable |
//! | [`states`] | logs and machines agree, slot by slot, with a machine that executes the chosen log alone |
//! | [`watermarks`] | trimmed ≤ the newest snapshot saved, snapshot ≤ executed ≤ chosen, every vote within the promise |
//! | [`exactly_once`] | what was acknowledged is executed once, where it was said to be; what is not done never is |
//! | [`fresh`] | a read sees everything that was acknowledged before it began |
//! | [`rounds`] | a read's index rests on a round that began after the read came, and that a quorum answered |
//! | [`linearizable`] | every key's history has an order |
//! | [`bounds`] | memory and journals stay within bounds |
//! | [`liveness`] | when the faults end, the cluster serves within a stated time |
//! | [`lab`] | what a scenario asserts of logs and results |
//! | [`admission`] | a node whose disk lost what it acknowledged does not vote; one whose disk is whole does |
//! | [`members`] | nobody proposes where a configuration is unknown or has not promised; who is dismissed is not needed |
//! | [`bank`] | money is neither made nor lost, every transfer is settled once, and what clients were told of it is so |
//! | [`shown`] | what a node was shown of a peer's journal, it tells that peer, and passes on |

pub mod admission;
pub mod agreement;
pub mod bank;
pub mod bounds;
pub mod durable;
pub mod exactly_once;
pub mod fresh;
pub mod lab;
pub mod linearizable;
pub mod liveness;
pub mod members;
pub mod promises;
pub mod proposed;
pub mod rounds;
pub mod shown;
pub mod states;
pub mod watermarks;

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name: the file of its check.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Broken {
    /// This property is broken by this.
    pub fn new(property: &'static str, detail: impl Into<String>) -> Broken {
        Broken { property, detail: detail.into() }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}

/// Whether a property holds.
pub type Held = Result<(), Broken>;

/// All checks that look at every step.
#[derive(Debug, Default)]
pub struct Checks {
    /// See [`agreement`].
    pub agreement: agreement::Agreement,
    /// See [`proposed`].
    pub proposed: proposed::Proposed,
    /// See [`promises`].
    pub promises: promises::Promises,
    /// See [`shown`].
    pub shown: shown::Shown,
    /// See [`states`].
    pub states: states::States,
    /// See [`exactly_once`].
    pub exactly_once: exactly_once::ExactlyOnce,
    /// See [`fresh`].
    pub fresh: fresh::Fresh,
    /// See [`rounds`].
    pub rounds: rounds::Rounds,
    /// See [`members`].
    pub members: members::Members,
}
