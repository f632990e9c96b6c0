//! How far a node has come: founding, serving, or unable to.
//!
//! Doors open before the founding is over, and stay open when the journal is damaged, so that people can see why.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use actix::prelude::*;

use super::disk::DiskHandle;
use super::events::Events;
use super::executor::AskExecutor;
use super::outlet::Mailboxes;
use super::role::RoleActor;
use super::round_trips::RoundTrips;
use crate::net::addresses::AddressBook;
use crate::paxos::{Acceptor, Learner, NodeId, Proposer};

/// A node's stage, shared by what runs on its thread.
pub type Stage = Rc<RefCell<Staged>>;

/// How far a node has come.
pub enum Staged {
    /// It waits for the other founders.
    Founding {
        /// Those not heard of yet.
        missing: Vec<String>,
    },
    /// It waits to be made a member.
    Joining {
        /// Through which node it asks for that, and what came of it last; none: it waits for `member add`.
        through: Option<(String, String)>,
    },
    /// Its roles run.
    Serving(Box<Serving>),
    /// Its journal can't be used.
    Broken {
        /// Why, and how to mend it.
        trouble: String,
    },
}

/// The parts of a node whose roles run.
#[derive(Clone)]
pub struct Serving {
    /// Its number.
    pub own: NodeId,
    /// The cluster's id, in hexadecimal.
    pub cluster_id: String,
    /// Where messages for its roles go.
    pub mailboxes: Mailboxes,
    /// To look at.
    pub proposer: Addr<RoleActor<Proposer>>,
    /// To look at.
    pub acceptor: Addr<RoleActor<Acceptor>>,
    /// To look at.
    pub learner: Addr<RoleActor<Learner>>,
    /// To look at.
    pub executor: Recipient<AskExecutor>,
    /// Its journal.
    pub disk: DiskHandle,
    /// How long its peers take to answer.
    pub round_trips: Rc<RefCell<RoundTrips>>,
    /// What happened.
    pub events: Events,
}

/// What a node says of itself, whatever its stage.
pub struct About {
    /// Its name.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// The address that travels.
    pub address: String,
    /// Where the others live.
    pub book: RefCell<AddressBook>,
    /// How the link to each other node stands: `up`, `down`, or why it was refused.
    pub links: RefCell<BTreeMap<String, String>>,
    /// Why a node that dialled this one refused it, if it knows it with another folder, and the mend.
    pub refused: RefCell<Option<String>>,
}
