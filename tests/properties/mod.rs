//! What must hold of every decoder that faces a peer, a client or a disk, whatever the bytes: it ends, it does not panic,
//! and what it takes is written back as the same bytes. Used by `tests/decoders.rs` and by the fuzz targets in `fuzz/`.

#![allow(dead_code, reason = "each fuzz target uses one of them")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use synod::codec;
use synod::machine::{Composite, Kv};
use synod::net::addresses::{Address, AddressBook, parse_named};
use synod::net::cookie::Cookie;
use synod::net::frame::{Head, head};
use synod::net::handshake::{AdmitAll, Dialer, Listener, Local, Step};
use synod::net::identity::NodeHello;
use synod::net::wire::{ClientFrame, NodeFrame, PeerFrame};
use synod::paxos::{Bytes, Context, Incarnation, Place, Record, Slot, StateMachine, Value};
use synod::storage::{Disk, Held, MemoryDisk, Settings, Snapshots, image};

/// The most bytes that a decoder is given here.
pub const LIMIT: usize = 1 << 16;

/// One value has one encoding.
fn reads_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<T>(bytes, LIMIT) {
        assert_eq!(codec::encode(&value), bytes, "what was taken is written back as the same bytes");
    }
}

/// From a peer, inside a frame.
pub fn peer_frame(bytes: &[u8]) {
    reads_back::<PeerFrame>(bytes);
}

/// From a client, inside a frame.
pub fn client_frame(bytes: &[u8]) {
    reads_back::<ClientFrame>(bytes);
}

/// From a node to a client, inside a frame.
pub fn node_frame(bytes: &[u8]) {
    reads_back::<NodeFrame>(bytes);
}

/// From a journal, inside a batch.
pub fn record(bytes: &[u8]) {
    reads_back::<Record>(bytes);
}

/// What a slot holds.
pub fn value(bytes: &[u8]) {
    if let Ok(value) = Value::from_bytes(Bytes::from(bytes)) {
        assert_eq!(**value.as_bytes(), *bytes);
        assert!(value.is_no_op() || value.stamp().is_some());
        value.entries().for_each(drop);
    }
}

/// The frames of a link: none is larger than the limit, and every one takes some bytes.
pub fn frames(mut bytes: &[u8]) {
    while let Ok(Head::Frame { payload, taken }) = head(bytes, 4096) {
        assert!(payload.len() <= 4096 && taken > payload.len() && taken <= bytes.len());
        bytes = &bytes[taken..];
    }
}

type Advance = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Step>;

fn local(name: &str) -> Local {
    let hello = NodeHello {
        name: name.into(),
        incarnation: Incarnation(1),
        boot: 1,
        address: "127.0.0.1:7101".into(),
        founding: vec!["n1".into(), "n2".into()],
        identity: None,
    };
    Local::node(Cookie::new("a secret").expect("some text"), "synod", hello).expect("well formed")
}

/// Both ends of a handshake, fed with anything: they end or wait, and nobody is let in who does not know the cookie.
pub fn handshake(bytes: &[u8]) {
    let feed = |mut advance: Advance| {
        let mut said = Vec::new();
        let mut rest = bytes;
        loop {
            match advance(rest, &mut said) {
                Step::Wait => break,
                Step::Taken(taken) => rest = &rest[taken..],
                Step::Ended { taken, outcome } => {
                    assert!(taken <= rest.len() && outcome.is_err(), "a stranger is let in");
                    break;
                }
            }
        }
        assert!(said.len() < 1 << 16, "little is said to strangers");
    };
    let mut listener = Listener::new(local("n1"), [7; 32]);
    feed(Box::new(move |input, out| listener.advance(input, &AdmitAll, out)));
    let mut dialer = Dialer::start(local("n2"), [9; 32], &mut Vec::new());
    feed(Box::new(move |input, out| dialer.advance(input, &AdmitAll, out)));
}

/// A data folder in which a journal's first segment holds anything.
pub fn journal(bytes: &[u8]) {
    held("journal-0000000001", bytes);
}

/// A data folder in which a snapshot holds anything; and a whole snapshot of anything.
pub fn snapshot(bytes: &[u8]) {
    held("snapshot-00000000000000000007", bytes);
    let snapshots = Snapshots::new(MemoryDisk::new());
    snapshots.save(Slot(7), [bytes]).expect("an empty disk");
    let reader = snapshots.load(Slot(7)).expect("it was saved");
    if let Err(trouble) = image::read(reader, Composite::default()) {
        assert!(!trouble.to_string().is_empty(), "trouble is said in words");
    }
}

fn held(file: &str, bytes: &[u8]) {
    let disk = MemoryDisk::new();
    disk.create(file).expect("an empty disk");
    disk.write_at(file, 0, bytes).expect("an empty disk");
    let settings = Settings { segment_bytes: 16 << 10, first_segment_bytes: 8 << 10, spares: 0, keep_bytes: 0 };
    match Held::open(&disk, settings, 1, &Composite::default(), Vec::new()) {
        Ok(held) => drop(held.into_parts()),
        Err(trouble) => assert!(!trouble.is_empty(), "trouble is said in words"),
    }
}

/// Machines, asked and told anything: they answer, and nothing that is no operation changes them.
pub fn machines(bytes: &[u8]) {
    let context = Context { now_ms: 1, seed: 2, place: Place { slot: Slot(1), index: 1 } };
    let mut composite = Composite::default();
    let answer = composite.query(bytes);
    assert!(!answer.is_empty());
    composite.apply(&context, bytes);
    let mut again = Composite::default();
    again.restore(&mut composite.freeze().parts()).expect("its own snapshot");
    assert_eq!(again.digest(), composite.digest());
    let mut kv = Kv::default();
    kv.query(bytes);
    kv.apply(&context, bytes);
    let before = kv.digest();
    let (head, rest) = bytes.split_at(bytes.len().min(28));
    if kv.restore(&mut [head.to_vec(), rest.to_vec()].into_iter()).is_err() {
        assert_eq!(kv.digest(), before, "on an error nothing has changed");
    }
}

/// Addresses and address books, as people and files write them.
pub fn addresses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = parse_named(text); // a sentence or an address
    if let Ok(address) = Address::parse(text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address), "an address is written as it is read");
    }
    if let Some(book) = AddressBook::from_text(text) {
        assert!(AddressBook::from_text(&book.to_text()).is_some());
    }
}

/// A decoder, fed with anything.
pub type Property = fn(&[u8]);

/// All of them, by name.
pub const ALL: [(&str, Property); 11] = [
    ("peer_frame", peer_frame),
    ("client_frame", client_frame),
    ("node_frame", node_frame),
    ("record", record),
    ("value", value),
    ("frames", frames),
    ("handshake", handshake),
    ("journal", journal),
    ("snapshot", snapshot),
    ("machines", machines),
    ("addresses", addresses),
];
