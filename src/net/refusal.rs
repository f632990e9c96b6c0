//! Why a handshake ended without a link, each reason with its mend in one line.
//!
//! Whoever refuses tells the other. A reason that speaks of `ours` and `theirs` is turned round when it is received
//! ([`RefusedBecause::mirrored`]), so that each side reads it from where it stands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::identity::ClusterId;

/// A handshake that failed for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who refused.
    pub by: Side,
    /// Why, as seen from here.
    pub because: RefusedBecause,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Side::Us => write!(f, "{}", self.because),
            Side::Peer => write!(f, "the other end refused: {}", self.because),
        }
    }
}

impl std::error::Error for Refused {}

/// One of the two ends of a link, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end.
    Us,
    /// The other end.
    Peer,
}

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedBecause {
    /// The other end's first bytes are not Synod's.
    OtherProtocol,
    /// No version of the protocol is common to both.
    VersionMismatch {
        /// Lowest and highest.
        ours: (u16, u16),
        /// Lowest and highest.
        theirs: (u16, u16),
    },
    /// The other end follows the form, but sends what makes no sense there.
    Malformed,
    /// The other end does not know our cookie.
    WrongCookie,
    /// Another cluster's node.
    WrongCluster {
        /// Its name.
        ours: String,
        /// Its name.
        theirs: String,
    },
    /// Another node lives at the address that was dialled.
    NotExpected {
        /// Whom the dialler wanted.
        expected: String,
        /// Who answered.
        found: String,
    },
    /// A node dialled itself.
    SelfDial,
    /// Two nodes go by one name.
    NameTaken {
        /// The name.
        name: String,
    },
    /// Before the founding: the lists of voters differ.
    DifferentFounders {
        /// Sorted.
        ours: Vec<String>,
        /// Sorted.
        theirs: Vec<String>,
    },
    /// Two clusters that happen to have one name.
    DifferentClusterId {
        /// The cluster that we belong to.
        ours: ClusterId,
        /// The cluster that they belong to.
        theirs: ClusterId,
    },
    /// A known name with another data folder than the cluster recorded: a wiped or exchanged disk.
    UnknownIncarnation {
        /// The node that came with it.
        name: String,
    },
    /// The node cannot read its journal, and so knows neither what it promised nor what others did.
    JournalDamaged {
        /// That node.
        name: String,
    },
    /// The recorded configuration has no such node.
    NotAMember {
        /// The node that is not in it.
        name: String,
    },
    /// A node has as many clients as it takes.
    Crowded {
        /// So many.
        clients: u64,
    },
}

impl RefusedBecause {
    /// The same reason, seen from the other end.
    pub fn mirrored(self) -> RefusedBecause {
        match self {
            RefusedBecause::VersionMismatch { ours, theirs } => {
                RefusedBecause::VersionMismatch { ours: theirs, theirs: ours }
            }
            RefusedBecause::WrongCluster { ours, theirs } => {
                RefusedBecause::WrongCluster { ours: theirs, theirs: ours }
            }
            RefusedBecause::DifferentFounders { ours, theirs } => {
                RefusedBecause::DifferentFounders { ours: theirs, theirs: ours }
            }
            RefusedBecause::DifferentClusterId { ours, theirs } => {
                RefusedBecause::DifferentClusterId { ours: theirs, theirs: ours }
            }
            same => same,
        }
    }
}

impl fmt::Display for RefusedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedBecause::OtherProtocol => {
                f.write_str("what answers there does not speak Synod's protocol: check host and port")
            }
            RefusedBecause::VersionMismatch { ours, theirs } => write!(
                f,
                "we speak protocol versions {} to {}, they speak {} to {}: upgrade the older program",
                ours.0, ours.1, theirs.0, theirs.1
            ),
            RefusedBecause::Malformed => {
                f.write_str("a handshake message is malformed: check that both programs have the same version")
            }
            RefusedBecause::WrongCookie => {
                f.write_str("the cookies differ: copy one node's cookie file to the other, mode 0600")
            }
            RefusedBecause::WrongCluster { ours, theirs } => {
                write!(
                    f,
                    "our cluster is `{ours}`, theirs is `{theirs}`: check the address, or give both one --cluster"
                )
            }
            RefusedBecause::NotExpected { expected, found } => {
                write!(f, "node `{found}` lives where `{expected}` was expected: correct the address of `{expected}`")
            }
            RefusedBecause::SelfDial => {
                f.write_str("this is the node's own address: give each node an address of its own")
            }
            RefusedBecause::NameTaken { name } => {
                write!(f, "another node already goes by the name `{name}`: start this one with another --name")
            }
            RefusedBecause::DifferentFounders { ours, theirs } => write!(
                f,
                "we would found the cluster with {}, they with {}: give every founder the same voters",
                ours.join(","),
                theirs.join(",")
            ),
            RefusedBecause::DifferentClusterId { ours, theirs } => write!(
                f,
                "our cluster is {}, theirs is {}, under one name: check the address and the data folders; a node whose \
                 folder was lost must not found again: start it with an empty --data folder and --join, and let it take \
                 its place: `synod member replace NAME=HOST:PORT`",
                ours.short(),
                theirs.short()
            ),
            RefusedBecause::UnknownIncarnation { name } => write!(
                f,
                "`{name}` came with another data folder than the cluster knows (a wiped disk, or a name already taken?): \
                 put its old folder back, or let the new one take its place: `synod member replace {name}=HOST:PORT`"
            ),
            RefusedBecause::JournalDamaged { name } => {
                write!(f, "the journal of `{name}` cannot be read: `synod status {name}` tells how to mend it")
            }
            RefusedBecause::NotAMember { name } => {
                write!(
                    f,
                    "`{name}` is not a member of the cluster, or no longer: start it with an empty --data folder and \
                     --join HOST:PORT, or add it with `synod member add {name}=HOST:PORT`"
                )
            }
            RefusedBecause::Crowded { clients } => {
                write!(f, "the node has {clients} clients already: connect to another node, or close some connections")
            }
        }
    }
}

impl std::error::Error for RefusedBecause {}
