//! Decoders, given anything: random bytes, and samples with bytes changed, left out and put in.

mod properties;

use proptest::collection::vec;
use proptest::prelude::*;

use synod::client::session::{NodeIndex, Output, Session};
use synod::codec;
use synod::machine::kv::{Operation, Query};
use synod::machine::{Composite, MachineId};
use synod::net::frame;
use synod::net::wire::PeerFrame;
use synod::paxos::sessions::Sessions;
use synod::paxos::{
    AcceptorMessage, Ballot, BatchNumber, Bytes, Command, Envelope, GroupId, NodeId, Record, Sequence, SessionId, Slot,
    Stamp, State, StateMachine, Token, Value,
};
use synod::storage::{Disk, Journal, MemoryDisk, Settings, Snapshots, image};

/// What the decoders take, to be spoilt.
fn samples() -> Vec<Vec<u8>> {
    let operation = MachineId::Kv.encode(&Operation::Put { key: "k".into(), value: "v".into() });
    let query = MachineId::Kv.encode(&Query::Get { key: "k".into() });
    let apply = Command::Apply {
        session: SessionId(1),
        sequence: Sequence(1),
        done_below: Sequence(1),
        operation: operation.clone().into(),
    };
    let value = Value::batch(Stamp { time_ms: 1, seed: 2 }, &[Command::Open { token: Token(3) }, apply]);
    let (slot, ballot) = (Slot(1), Ballot::new(1, NodeId(1)));
    let vote = Record::Vote { slot, ballot, value: value.clone() };
    let accept = AcceptorMessage::Accept { ballot, proposals: vec![(slot, value.clone())], chosen_upto: Slot(0) };
    let envelope = Envelope { group: GroupId(0), from: NodeId(1), to: NodeId(2), message: accept.into() };
    let lot = codec::encode(&PeerFrame::Lot { durable: BatchNumber(7), envelopes: vec![envelope] });
    let mut framed = Vec::new();
    frame::append(&mut framed, 4096, |buffer| buffer.extend_from_slice(&lot)).expect("it fits");

    let disk = MemoryDisk::new();
    let settings = Settings { segment_bytes: 16 << 10, first_segment_bytes: 8 << 10, spares: 0, keep_bytes: 0 };
    let mut journal = Journal::create(disk.clone(), settings, 1).expect("an empty disk");
    for _ in 0..3 {
        journal.append(&vote);
        journal.commit().expect("the disk works");
    }
    let state = State {
        upto: Slot(7),
        clock_ms: 1,
        sessions: Sessions::new(),
        membership: synod::paxos::Membership::founded(synod::paxos::Configuration::numbered(3)),
        agreement: Default::default(),
        machine: Composite::default(),
        digest: [0; 32],
    };
    let snapshots = Snapshots::new(disk.clone());
    let mut writer = snapshots.begin(Slot(7)).expect("the disk works");
    image::write(&state.freeze(), &mut writer, || Ok(true)).expect("the disk works");
    writer.finish().and_then(|_| snapshots.keep(Slot(7))).expect("the disk works");
    let parts: Vec<Vec<u8>> = state.machine.freeze().parts().collect();
    let file = |name: &str| disk.read_all(name).expect("it was written");

    let mut session = Session::new(Token(1), 1);
    session.on_connected(NodeIndex(0), 0);
    session.submit(operation.clone().into(), 100);
    session.read(query.clone().into(), false, 100);
    let frames = session.drain(0).into_iter().filter_map(|output| match output {
        Output::Send { frame, .. } => Some(codec::encode(&frame)),
        _ => None,
    });
    let mut samples: Vec<Vec<u8>> = frames.collect();
    samples.extend([
        operation,
        query,
        value.as_bytes().to_vec(),
        codec::encode(&vote),
        lot,
        framed,
        file("journal-0000000001"),
        file("snapshot-00000000000000000007"),
        parts[0].clone(),
        parts[1][1..].to_vec(),
        b"n1@host.example:7101".to_vec(),
        b"127.0.0.1:7101".to_vec(),
    ]);
    samples
}

fn all(bytes: &[u8]) {
    properties::ALL.iter().for_each(|(_, decode)| decode(bytes));
}

#[test]
fn samples_are_taken() {
    samples().iter().for_each(|sample| all(sample));
    // Not for nothing: some decoder takes each of the first ones.
    let value = Bytes::from(b"\0".as_slice());
    assert!(Value::from_bytes(value).is_ok_and(|value| value.is_no_op()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        all(&bytes);
    }

    #[test]
    fn spoilt_samples_are_taken_or_refused(
        which in any::<proptest::sample::Index>(),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let samples = samples();
        let mut bytes = which.get(&samples).clone();
        for (place, byte, change) in changes {
            let place = place.index(bytes.len().max(1)).min(bytes.len());
            match change {
                0 if place < bytes.len() => bytes[place] ^= byte,
                1 if place < bytes.len() => drop(bytes.remove(place)),
                _ => bytes.insert(place, byte),
            }
        }
        all(&bytes);
    }
}
