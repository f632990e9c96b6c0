//! The parts of states, each kept once and known by a number.

use std::collections::HashMap;

use crate::paxos::{Message, NodeId, ProposerMessage};

use super::book::Book;
use super::check::Witness;
use super::fingerprint::{self, BuildItself, BuildWide, Wide};
use super::local::{Cluster, Local, is_canvass};

/// Something on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Packet {
    Peer { from: NodeId, to: NodeId, message: Message },
    Answer { client: u8, number: u8, result: Vec<u8> },
}

/// What of a packet most steps need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Peer { from: u32, to: u32, once: bool, canvass: bool },
    Answer { client: u8, number: u8 },
}

/// Every part of a state seen so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) locals: Vec<Local>,
    pub(super) local_ids: HashMap<u128, u32, BuildItself>,
    /// Of each local, what the checks look at; and what is wrong with it alone.
    pub(super) witness_of: Vec<u32>,
    pub(super) broken: HashMap<u32, String>,
    pub(super) witnesses: Vec<Witness>,
    pub(super) witness_ids: HashMap<u128, u32, BuildItself>,
    pub(super) packets: Vec<Packet>,
    pub(super) routes: Vec<Route>,
    pub(super) packet_ids: HashMap<Packet, u32, BuildWide>,
    pub(super) books: Vec<Book>,
    pub(super) book_ids: HashMap<Book, u32, BuildWide>,
}

impl Parts {
    /// The number of a node; what is wrong with it alone is found out here.
    pub(super) fn intern_local(&mut self, local: Local, cluster: &Cluster) -> u32 {
        let mut wide = Wide::default();
        local.hash_with(cluster, &mut wide);
        let key = wide.both();
        if let Some(id) = self.local_ids.get(&key) {
            return *id;
        }
        let id = self.locals.len() as u32;
        if let Err(broken) = local.check() {
            self.broken.insert(id, broken);
        }
        let witness = Witness::of(&local);
        let fingerprint = fingerprint::of(&witness);
        let fresh = self.witnesses.len() as u32;
        let witness_id = *self.witness_ids.entry(fingerprint).or_insert(fresh);
        if witness_id == fresh {
            self.witnesses.push(witness);
        }
        self.witness_of.push(witness_id);
        self.locals.push(local);
        self.local_ids.insert(key, id);
        id
    }

    /// The number of a packet.
    pub(super) fn intern_packet(&mut self, packet: Packet) -> u32 {
        let fresh = self.packets.len() as u32;
        let id = *self.packet_ids.entry(packet.clone()).or_insert(fresh);
        if id == fresh {
            self.routes.push(match &packet {
                Packet::Peer { from, to, message } => {
                    let once = matches!(
                        message,
                        Message::Proposer(ProposerMessage::Forward { .. } | ProposerMessage::ReadIndex { .. })
                    );
                    Route::Peer { from: from.0, to: to.0, once, canvass: is_canvass(message) }
                }
                Packet::Answer { client, number, .. } => Route::Answer { client: *client, number: *number },
            });
            self.packets.push(packet);
        }
        id
    }

    /// The number of the clients' book.
    pub(super) fn intern_book(&mut self, book: Book) -> u32 {
        let fresh = self.books.len() as u32;
        let id = *self.book_ids.entry(book.clone()).or_insert(fresh);
        if id == fresh {
            self.books.push(book);
        }
        id
    }
}
