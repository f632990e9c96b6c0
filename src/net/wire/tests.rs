//! One of every message, through a frame and back.

use crate::codec;
use crate::net::frame::{self, FRAME_LIMIT, Head};
use crate::paxos::message::{CommandName, Prepare};
use crate::paxos::{
    Ballot, ClientId, ExecutorMessage, GroupId, NodeId, Place, Refusal, Sequence, Slot, SnapshotId, Stamp, Value,
};

use super::*;
use crate::net::report::{Inspection, LogReport, Status};

const BALLOT: Ballot = Ballot::new(7, NodeId(2));

fn commands() -> Vec<Command> {
    let operation = Bytes::from(&b"put a 1"[..]);
    let (session, sequence, done_below) = (SessionId(3), Sequence(4), Sequence(2));
    vec![Command::Open { token: Token(5) }, Command::Apply { session, sequence, done_below, operation }]
}

fn value() -> Value {
    Value::batch(Stamp { time_ms: 1, seed: 2 }, &commands())
}

fn messages() -> Vec<Message> {
    use AcceptorMessage as A;
    use ExecutorMessage as E;
    use LearnerMessage as L;
    use ProposerMessage as P;
    let (ballot, slot, batch, number, client) = (BALLOT, Slot(9), 8, 6, ClientId(1));
    let (chosen_upto, settled_upto, upto, node) = (Slot(5), Slot(4), Slot(3), NodeId(3));
    let (entries, proposals) = (vec![(slot, ballot, value())], vec![(slot, value()), (slot.next(), Value::no_op())]);
    let (session, token) = (SessionId(3), Token(5));
    let proposer = [
        P::Submit { commands: commands() },
        P::Forward { commands: commands() },
        P::Canvass { number, chosen_upto },
        P::Canvassed { number, hears_leader: true, chosen_upto, highest: ballot },
        P::Nack { refused: ballot, promised: ballot },
        P::Settled { ballot, upto },
        P::HeartbeatAck { ballot, round: 2, settled_upto, executed_upto: settled_upto },
        P::ReadIndex { batch },
        P::Heard { ballot },
        P::Advanced { chosen_upto, ballot: Some(ballot) },
        P::Fenced { number },
        P::Standing { admitted: true },
        P::Fit { fit: true },
    ];
    let acceptor = [
        A::Prepare(Prepare { ballot, from: slot }),
        A::Accept { ballot, proposals: proposals.clone(), chosen_upto },
        A::Heartbeat { ballot, round: 2, chosen_upto, everywhere_upto: chosen_upto },
        A::Announce { ballot, chosen_upto },
        A::Learned { chosen_upto },
        A::Greeted { peer: node, witnessed: BatchNumber(1), durable: BatchNumber(2) },
    ];
    let learner = [
        L::CatchUp { first: slot },
        L::Chosen { entries: entries.clone(), chosen_upto },
        L::FetchSnapshot { upto, id: SnapshotId([3; 32]), offset: 1 },
        L::SnapshotPart { upto, id: SnapshotId([3; 32]), total: 9, offset: 1, bytes: Bytes::from(&b"part"[..]) },
        L::Voting { ballot, proposals },
        L::Announced { ballot, chosen_upto },
        L::Behind { chosen_upto, supplier: node },
        L::Installed { upto },
        L::Trimmed { upto },
        L::ChosenIn { slot, ballot },
        L::Unreadable { slot, to: node },
    ];
    let names = commands().iter().filter_map(Command::name).collect();
    let executor = [
        E::Chosen { entries },
        E::Attach { session, client },
        E::AttachToken { token, client },
        E::Detach { client },
        E::Read { client, queries: vec![(1, Bytes::from(&b"get a"[..]))], local: true },
        E::ReadIndexed { batch, index: slot },
        E::ReadRefused { batch },
        E::Refused { commands: names, reason: Refusal::TooLarge { limit: 1 } },
        E::SnapshotSaved { upto },
    ];
    let mut all: Vec<Message> = proposer.into_iter().map(Message::from).collect();
    all.extend(acceptor.into_iter().map(Message::from));
    all.extend(learner.into_iter().map(Message::from));
    all.extend(executor.into_iter().map(Message::from));
    all.extend(claims());
    all
}

/// A promise and an accepted can be built only after a sync, or read from bytes: so from bytes.
fn claims() -> [Message; 2] {
    let promise = crate::paxos::message::Promise {
        from: Slot(1),
        ballot: BALLOT,
        settled_upto: Slot(4),
        votes: vec![crate::paxos::message::Vote { slot: Slot(9), ballot: BALLOT, value: value() }],
        part: 0,
        parts: 1,
    };
    let accepted = crate::paxos::message::Accepted { ballot: BALLOT, slots: vec![Slot(9), Slot(10)] };
    let promise = codec::decode(&codec::encode(&promise), FRAME_LIMIT).expect("the same bytes");
    let accepted = codec::decode(&codec::encode(&accepted), FRAME_LIMIT).expect("the same bytes");
    [ProposerMessage::Promise(promise).into(), LearnerMessage::Accepted(accepted).into()]
}

fn through_a_frame<T>(item: &T)
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = Vec::new();
    frame::append(&mut bytes, FRAME_LIMIT, |buffer| codec::encode_into(buffer, item)).expect("short");
    let Ok(Head::Frame { payload, taken }) = frame::head(&bytes, FRAME_LIMIT) else { panic!("a whole frame") };
    assert_eq!(taken, bytes.len());
    assert_eq!(codec::decode::<T>(payload, FRAME_LIMIT).as_ref(), Ok(item));
    for length in 0..payload.len() {
        assert!(codec::decode::<T>(&payload[..length], FRAME_LIMIT).is_err(), "cut at {length}");
    }
    for bit in 0..payload.len() * 8 {
        let mut flipped = payload.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // It may read as another message; it must not read as this one, nor panic, nor reserve what is not there.
        assert_ne!(codec::decode::<T>(&flipped, FRAME_LIMIT).as_ref(), Ok(item), "bit {bit}");
    }
}

#[test]
fn every_message_reads_back() {
    for message in messages() {
        let envelope = Envelope { group: GroupId(0), from: NodeId(1), to: NodeId(2), message };
        through_a_frame(&PeerFrame::Lot { durable: BatchNumber(7), envelopes: vec![envelope] });
    }
    through_a_frame(&PeerFrame::Lot { durable: BatchNumber(7), envelopes: vec![] });
}

#[test]
fn every_client_frame_reads_back() {
    let name = || "n1".to_string();
    let queries = vec![(1, Bytes::from(&b"get a"[..]))];
    for frame in [
        ClientFrame::Attach(SessionId(1)),
        ClientFrame::AttachToken(Token(1)),
        ClientFrame::Commands(commands()),
        ClientFrame::Reads { queries, local: false },
        ClientFrame::Inspect { id: 1, inspection: Inspection::Log { first: Slot(1), upto: Slot(2) } },
        ClientFrame::Connect { id: 1, name: name(), address: "a:1".into() },
    ] {
        through_a_frame(&frame);
    }
    let done = Reply::Done {
        session: SessionId(1),
        sequence: Sequence(1),
        place: Place { slot: Slot(1), index: 1 },
        ballot: Some(BALLOT),
        result: Bytes::from(&b"ok"[..]),
    };
    let refused = Reply::Refused { command: CommandName::Open(Token(1)), reason: Refusal::Busy, forwarded: false };
    for frame in [
        NodeFrame::Replies(vec![done, refused]),
        NodeFrame::Report { id: 1, report: Ok(Report::Status(Box::new(Status { name: name(), ..Status::default() }))) },
        NodeFrame::Report { id: 1, report: Ok(Report::Log(LogReport::default())) },
        NodeFrame::Report { id: 1, report: Err("no".into()) },
    ] {
        through_a_frame(&frame);
    }
}

#[test]
fn the_approximate_length_is_near_the_real_one() {
    for message in messages() {
        let envelope = Envelope { group: GroupId(0), from: NodeId(1), to: NodeId(2), message };
        let (approximate, real) = (approximate_len(&envelope), codec::encode(&envelope).len());
        if envelope.message.may_travel() {
            assert!(approximate >= real && approximate <= real + 128, "{approximate} for {real}: {envelope:?}");
        }
    }
    let bytes = Bytes::from(vec![0; 100_000]);
    let large = LearnerMessage::SnapshotPart { upto: Slot(1), id: SnapshotId::default(), total: 1, offset: 0, bytes };
    let large = Envelope { group: GroupId(0), from: NodeId(1), to: NodeId(2), message: large.into() };
    assert!((100_000..100_200).contains(&approximate_len(&large)));
}
