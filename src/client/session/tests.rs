//! The session, input by input, with the exact outputs; and a random life among unreliable nodes.

use super::*;
use crate::client::outcome::Failure;
use crate::paxos::message::CommandName;
use crate::paxos::{Ballot, Command, NodeId, Place, Slot};

const A: NodeIndex = NodeIndex(0);
const B: NodeIndex = NodeIndex(1);
const TOKEN: Token = Token(70);
const S: SessionId = SessionId(5);
const DEADLINE: u64 = 5000;

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

fn send(node: NodeIndex, frame: ClientFrame) -> Output {
    Output::Send { node, frame }
}

fn apply(session: SessionId, sequence: u64, done_below: u64, operation: &str) -> Command {
    let (sequence, done_below) = (Sequence(sequence), Sequence(done_below));
    Command::Apply { session, sequence, done_below, operation: bytes(operation) }
}

fn commands(node: NodeIndex, commands: &[Command]) -> Output {
    send(node, ClientFrame::Commands(commands.to_vec()))
}

fn attach(node: NodeIndex, session: SessionId) -> Output {
    send(node, ClientFrame::Attach(session))
}

fn open(node: NodeIndex, token: u128) -> [Output; 2] {
    let token = Token(token);
    [send(node, ClientFrame::AttachToken(token)), commands(node, &[Command::Open { token }])]
}

fn reads(node: NodeIndex, local: bool, queries: &[(RequestKey, &str)]) -> Output {
    let queries = queries.iter().map(|(key, question)| (key.0, bytes(question))).collect();
    send(node, ClientFrame::Reads { queries, local })
}

fn finished(key: RequestKey, outcome: Outcome) -> Output {
    Output::Finished { key, outcome }
}

fn not_done(key: RequestKey, reason: Failure) -> Output {
    finished(key, Outcome::NotDone { reason })
}

fn unknown(key: RequestKey, reason: Doubt) -> Output {
    finished(key, Outcome::Unknown { reason })
}

fn opened(token: u128, session: SessionId) -> Reply {
    Reply::Opened { token: Token(token), session }
}

fn place(slot: u64) -> Place {
    Place { slot: Slot(slot), index: 1 }
}

fn done(session: SessionId, sequence: u64) -> Reply {
    let (place, ballot) = (place(sequence), Some(Ballot::new(1, NodeId(1))));
    Reply::Done { session, sequence: Sequence(sequence), place, ballot, result: bytes("ok") }
}

fn was_done(key: RequestKey, sequence: u64) -> Output {
    let (place, ballot) = (place(sequence), Some(Ballot::new(1, NodeId(1))));
    finished(key, Outcome::Done { place, ballot, result: bytes("ok") })
}

fn refused(session: SessionId, sequence: u64, reason: Refusal) -> Reply {
    Reply::Refused { command: CommandName::Apply(session, Sequence(sequence)), reason, forwarded: false }
}

fn expired(session: SessionId, sequence: u64) -> Reply {
    Reply::SessionExpired { session, sequence: Sequence(sequence) }
}

/// Open at node A, time 0, with the commands given in flight.
fn in_flight(operations: &[&str]) -> (Session, Vec<RequestKey>) {
    let mut session = Session::new(TOKEN, 1);
    session.on_connected(A, 0);
    let keys = operations.iter().map(|operation| session.submit(bytes(operation), DEADLINE)).collect();
    assert_eq!(session.drain(0), open(A, 70));
    session.on_replies(A, vec![opened(70, S)], 0);
    let sent: Vec<Command> =
        operations.iter().enumerate().map(|(i, operation)| apply(S, i as u64 + 1, 1, operation)).collect();
    assert_eq!(session.drain(0), [attach(A, S), commands(A, &sent)]);
    (session, keys)
}

#[test]
fn a_session_is_opened_by_the_first_command_and_carries_many_at_once() {
    let (mut session, keys) = in_flight(&["a", "b", "c"]);
    assert_eq!(session.id(), Some(S));
    session.on_replies(A, vec![done(S, 2)], 1);
    let fourth = session.submit(bytes("d"), DEADLINE);
    assert_eq!(session.drain(1), [was_done(keys[1], 2), commands(A, &[apply(S, 4, 1, "d")])], "1 is unfinished");
    session.on_replies(A, vec![done(S, 1), done(S, 3), done(S, 4)], 2);
    let fifth = session.submit(bytes("e"), DEADLINE);
    let mut expected = vec![was_done(keys[0], 1), was_done(keys[2], 3), was_done(fourth, 4)];
    expected.push(commands(A, &[apply(S, 5, 5, "e")]));
    assert_eq!(session.drain(2), expected);
    session.on_replies(A, vec![done(S, 5), done(S, 5)], 3);
    assert_eq!(session.drain(3), [was_done(fifth, 5)], "once");
    assert!(session.is_idle());
}

#[test]
fn nothing_is_said_before_there_is_a_connection_or_something_to_say() {
    let mut session = Session::new(TOKEN, 1);
    let key = session.submit(bytes("a"), DEADLINE);
    assert_eq!(session.drain(0), []);
    session.on_tick(DEADLINE);
    assert_eq!(session.drain(DEADLINE), [not_done(key, Failure::NoConnection)]);
    session.on_connected(A, DEADLINE);
    assert_eq!(session.drain(DEADLINE), []);
    assert!(session.is_idle());
}

#[test]
fn a_refused_command_is_sent_again_after_a_pause_under_the_same_name() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_replies(A, vec![refused(S, 1, Refusal::Busy)], 100);
    assert_eq!(session.drain(100), []);
    assert_eq!(session.drain(109), [], "within the pause");
    assert_eq!(session.drain(120), [commands(A, &[apply(S, 1, 1, "a")])]);
    session.on_replies(A, vec![done(S, 1)], 121);
    assert_eq!(session.drain(121), [was_done(keys[0], 1)]);
}

#[test]
fn a_session_is_in_a_hurry_within_a_pause_and_shortly_before_a_deadline() {
    let (mut session, _) = in_flight(&["a"]);
    assert!(!session.is_hurried(100));
    session.on_replies(A, vec![refused(S, 1, Refusal::Busy)], 100);
    assert!(session.is_hurried(100));
    assert!(!session.is_hurried(120), "the pause is over");
    assert!(!session.is_hurried(DEADLINE - SLOW_TICK_MS - 1));
    assert!(session.is_hurried(DEADLINE - SLOW_TICK_MS));
}

#[test]
fn a_command_that_was_only_ever_refused_is_not_done_and_releases_its_sequence() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_replies(A, vec![refused(S, 1, Refusal::NoLeader)], 4990);
    session.on_tick(DEADLINE);
    assert_eq!(session.drain(DEADLINE), [not_done(keys[0], Failure::Refused(Refusal::NoLeader))]);
    session.submit(bytes("b"), 9000);
    assert_eq!(session.drain(5100), [commands(A, &[apply(S, 2, 2, "b")])]);
}

#[test]
fn a_command_without_an_answer_is_unknown_at_its_deadline_and_does_not_hold_up_the_others() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_tick(500);
    let again = [Output::Leave { node: A }, commands(A, &[apply(S, 1, 1, "a")])];
    assert_eq!(session.drain(500), again, "silence: ask for another node, and try here again");
    session.on_tick(1499);
    assert_eq!(session.drain(1499), [], "the second attempt has twice the time");
    session.on_tick(DEADLINE);
    assert_eq!(session.drain(DEADLINE), [unknown(keys[0], Doubt::NoAnswer)], "and no further attempt");
    session.submit(bytes("b"), 9000);
    assert_eq!(session.drain(DEADLINE), [commands(A, &[apply(S, 2, 2, "b")])]);
    session.on_replies(A, vec![done(S, 1)], 5001);
    assert_eq!(session.drain(5001), [], "too late for anybody");
}

#[test]
fn a_node_that_answers_others_is_not_left_for_a_late_answer() {
    let (mut session, keys) = in_flight(&["a", "b"]);
    session.on_replies(A, vec![done(S, 2)], 500);
    session.on_tick(1000);
    assert_eq!(session.drain(1000), [was_done(keys[1], 2), commands(A, &[apply(S, 1, 1, "a")])]);
}

#[test]
fn a_refusal_by_a_node_that_it_was_sent_on_to_leaves_doubt() {
    let (mut session, keys) = in_flight(&["a"]);
    let command = CommandName::Apply(S, Sequence(1));
    // The network may hold a copy of what was sent on, which reaches the node again when it leads.
    session.on_replies(A, vec![Reply::Refused { command, reason: Refusal::NoLeader, forwarded: true }], 100);
    session.on_tick(DEADLINE);
    assert_eq!(session.drain(DEADLINE), [unknown(keys[0], Doubt::Forwarded)]);
}

#[test]
fn after_a_refusal_that_follows_a_doubt_the_outcome_stays_unknown() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_disconnected(A);
    session.on_connected(A, 10);
    assert_eq!(session.drain(10), [attach(A, S), commands(A, &[apply(S, 1, 1, "a")])]);
    session.on_replies(A, vec![refused(S, 1, Refusal::NoLeader)], 4995);
    session.on_tick(DEADLINE);
    assert_eq!(session.drain(DEADLINE), [unknown(keys[0], Doubt::ConnectionLost)]);
}

#[test]
fn a_new_connection_carries_everything_in_flight_again() {
    let (mut session, keys) = in_flight(&["a", "b", "c"]);
    session.on_replies(A, vec![done(S, 1)], 1);
    assert_eq!(session.drain(1), [was_done(keys[0], 1)]);
    let read = session.read(bytes("q"), false, DEADLINE);
    assert_eq!(session.drain(1), [reads(A, false, &[(read, "q")])]);
    session.on_disconnected(A);
    assert_eq!(session.drain(2), []);
    session.on_connected(B, 3);
    let both = [apply(S, 2, 2, "b"), apply(S, 3, 2, "c")];
    assert_eq!(session.drain(3), [attach(B, S), commands(B, &both), reads(B, false, &[(read, "q")])]);
    session.on_replies(B, vec![done(S, 3), Reply::Read { id: read.0, result: bytes("r") }], 4);
    assert_eq!(session.drain(4), [was_done(keys[2], 3), finished(read, Outcome::Read { result: bytes("r") })]);
}

#[test]
fn an_answer_from_the_node_that_was_left_counts_but_its_refusal_does_not() {
    let (mut session, keys) = in_flight(&["a", "b"]);
    session.on_connected(B, 10);
    let both = [apply(S, 1, 1, "a"), apply(S, 2, 1, "b")];
    assert_eq!(session.drain(10), [attach(B, S), commands(B, &both)]);
    session.on_replies(A, vec![refused(S, 1, Refusal::Busy), done(S, 2)], 11);
    assert_eq!(session.drain(500), [was_done(keys[1], 2)], "neither a pause nor another attempt");
}

#[test]
fn a_node_that_may_not_propose_is_left_at_once_and_one_without_a_leader_after_a_while() {
    let (mut session, _) = in_flight(&["a"]);
    session.on_replies(A, vec![refused(S, 1, Refusal::NotAdmitted)], 1);
    assert_eq!(session.drain(1), [Output::Leave { node: A }]);

    let (mut session, _) = in_flight(&["a"]);
    let mut now = 1;
    for round in 1..=2 * PATIENCE {
        session.on_replies(A, vec![refused(S, 1, Refusal::NoLeader)], now);
        let leave = if round % PATIENCE == 0 { vec![Output::Leave { node: A }] } else { vec![] };
        assert_eq!(session.drain(now), leave, "round {round}");
        now += 200;
        assert_eq!(session.drain(now), [commands(A, &[apply(S, 1, 1, "a")])]);
    }
}

#[test]
fn what_is_too_large_is_refused_by_the_node_or_before_it_is_sent() {
    let (mut session, keys) = in_flight(&["a"]);
    let reason = Refusal::TooLarge { limit: 9 };
    session.on_replies(A, vec![refused(S, 1, reason.clone())], 1);
    assert_eq!(session.drain(1), [finished(keys[0], Outcome::Refused { reason })]);
    let large = Bytes::from(vec![0; MAX_OPERATION_BYTES + 1]);
    let reason = Refusal::TooLarge { limit: MAX_OPERATION_BYTES as u64 };
    let command = session.submit(large.clone(), DEADLINE);
    let read = session.read(large, false, DEADLINE);
    let refused = |key| finished(key, Outcome::Refused { reason: reason.clone() });
    assert_eq!(session.drain(1), [refused(command), refused(read)]);
    assert!(session.is_idle());
}

#[test]
fn what_is_too_large_after_a_doubt_is_unknown() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_connected(B, 1);
    session.drain(1);
    session.on_replies(B, vec![refused(S, 1, Refusal::TooLarge { limit: 9 })], 2);
    assert_eq!(session.drain(2), [unknown(keys[0], Doubt::ConnectionLost)]);
}

#[test]
fn commands_of_an_expired_session_start_anew_unless_in_doubt() {
    let (mut session, keys) = in_flight(&["a", "b", "c"]);
    // All three are in doubt; a is done, and two new ones are sent once.
    session.on_connected(B, 1);
    session.drain(1);
    let fresh = [session.submit(bytes("d"), DEADLINE), session.submit(bytes("e"), DEADLINE)];
    assert_eq!(session.drain(1), [commands(B, &[apply(S, 4, 1, "d"), apply(S, 5, 1, "e")])]);
    session.on_replies(B, vec![done(S, 1), refused(S, 4, Refusal::Busy), expired(S, 2)], 2);
    let ended = [was_done(keys[0], 1), unknown(keys[1], Doubt::SessionExpired)];
    assert_eq!(session.drain(2), ended);
    assert_eq!(session.id(), None);
    assert_eq!(session.drain(22), open(B, 71), "another token, for d; the fate of c and e is awaited");
    session.on_replies(B, vec![expired(S, 5), opened(70, SessionId(8)), opened(71, SessionId(9))], 23);
    let anew = [apply(SessionId(9), 1, 1, "d"), apply(SessionId(9), 2, 1, "e")];
    assert_eq!(session.drain(23), [attach(B, SessionId(9)), commands(B, &anew)]);
    session.on_replies(B, vec![done(SessionId(9), 1), done(S, 3)], 24);
    assert_eq!(session.drain(24), [was_done(fresh[0], 1), was_done(keys[2], 3)]);
}

#[test]
fn a_command_of_an_expired_session_whose_answer_is_lost_is_unknown_at_once() {
    let (mut session, keys) = in_flight(&["a", "b"]);
    session.on_replies(A, vec![expired(S, 1)], 1);
    assert_eq!(session.drain(1), open(A, 71));
    session.on_disconnected(A);
    assert_eq!(session.drain(2), [unknown(keys[1], Doubt::SessionExpired)]);
    session.on_connected(B, 3);
    assert_eq!(session.drain(3), open(B, 71));
}

#[test]
fn a_command_that_the_window_refuses_is_unknown() {
    let (mut session, keys) = in_flight(&["a"]);
    session.on_replies(A, vec![Reply::OutOfWindow { session: S, sequence: Sequence(1) }], 1);
    assert_eq!(session.drain(1), [unknown(keys[0], Doubt::OutOfWindow)]);
}

#[test]
fn a_command_whose_result_was_dropped_is_finished_and_not_sent_again() {
    let (mut session, keys) = in_flight(&["a"]);
    let place = Place { slot: Slot(7), index: 1 };
    session.on_replies(A, vec![Reply::ResultDropped { session: S, sequence: Sequence(1), place }], 1);
    let outcome = Outcome::ResultDropped { place };
    let error = crate::client::ClientError::from_outcome(&outcome).expect("no result");
    let said = "done, but its result at 7.1 was too large to be kept; do not send it again, read what it changed";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (said, 3));
    assert_eq!(session.drain(1), [Output::Finished { key: keys[0], outcome }]);
    assert!(session.is_idle());
}

#[test]
fn a_request_to_open_is_repeated_under_the_same_token() {
    let mut session = Session::new(TOKEN, 1);
    session.on_connected(A, 0);
    let key = session.submit(bytes("a"), DEADLINE);
    assert_eq!(session.drain(0), open(A, 70));
    let again = commands(A, &[Command::Open { token: TOKEN }]);
    session.on_replies(
        A,
        vec![Reply::Refused { command: CommandName::Open(TOKEN), reason: Refusal::NoLeader, forwarded: false }],
        1,
    );
    assert_eq!(session.drain(21), std::slice::from_ref(&again));
    session.on_tick(1021);
    assert_eq!(session.drain(1021), [Output::Leave { node: A }, again]);
    session.on_connected(B, 1022);
    assert_eq!(session.drain(1022), open(B, 70));
    session.on_tick(DEADLINE);
    let never_sent = not_done(key, Failure::Refused(Refusal::NoLeader));
    assert_eq!(session.drain(DEADLINE), [never_sent, Output::Leave { node: B }]);
}

#[test]
fn the_window_bounds_what_is_in_flight() {
    let operations = vec!["x"; WINDOW as usize];
    let (mut session, keys) = in_flight(&operations);
    let next = session.submit(bytes("y"), DEADLINE);
    session.on_replies(A, vec![done(S, 2)], 1);
    assert_eq!(session.drain(1), [was_done(keys[1], 2)], "sequence 1 still holds the window");
    session.on_replies(A, vec![done(S, 1)], 2);
    assert_eq!(session.drain(2), [was_done(keys[0], 1), commands(A, &[apply(S, WINDOW + 1, 3, "y")])]);
    let last = session.submit(bytes("z"), 3);
    session.drain(2);
    assert!(session.commands[&last].name.is_some() && session.commands[&next].name.is_some(), "3 is the lowest");
    let waiting = session.submit(bytes("z"), 3);
    session.drain(2);
    session.on_tick(3);
    assert!(session.drain(3).contains(&not_done(waiting, Failure::NotSent)));
}

#[test]
fn a_lot_is_cut_into_frames_and_the_bytes_in_flight_are_bounded() {
    let large = "x".repeat(LOT_BYTES * 3 / 4);
    let (mut session, _) = {
        let mut session = Session::new(TOKEN, 1);
        session.on_connected(A, 0);
        let keys: Vec<RequestKey> = (0..40).map(|_| session.submit(bytes(&large), DEADLINE)).collect();
        session.drain(0);
        (session, keys)
    };
    session.on_replies(A, vec![opened(70, S)], 0);
    let outputs = session.drain(0);
    let sent = WINDOW_BYTES.div_ceil(large.len());
    assert_eq!(outputs.len(), 1 + sent, "one command a frame");
    for (i, output) in outputs[1..].iter().enumerate() {
        assert_eq!(*output, commands(A, &[apply(S, i as u64 + 1, 1, &large)]));
    }
    session.on_replies(A, vec![done(S, 1)], 1);
    assert_eq!(session.drain(1).len(), 2, "one is done, one more is sent");
}

#[test]
fn reads_need_no_session_and_come_in_two_kinds() {
    let mut session = Session::new(TOKEN, 1);
    session.on_connected(A, 0);
    let keys =
        [("p", false), ("q", true), ("r", false)].map(|(text, local)| session.read(bytes(text), local, DEADLINE));
    let expected = [reads(A, false, &[(keys[0], "p"), (keys[2], "r")]), reads(A, true, &[(keys[1], "q")])];
    assert_eq!(session.drain(0), expected);
    let refused = |key: RequestKey, reason| Reply::ReadRefused { id: key.0, reason };
    session.on_replies(
        A,
        vec![refused(keys[0], Refusal::NoLeader), refused(keys[1], Refusal::TooLarge { limit: 1 })],
        1,
    );
    let reason = Refusal::TooLarge { limit: 1 };
    assert_eq!(session.drain(1), [finished(keys[1], Outcome::Refused { reason })]);
    assert_eq!(session.drain(21), [reads(A, false, &[(keys[0], "p")])]);
    session.on_replies(A, vec![refused(keys[0], Refusal::NoLeader)], 4990);
    session.on_tick(DEADLINE);
    let late = session.drain(DEADLINE);
    assert_eq!(late[0], not_done(keys[0], Failure::Refused(Refusal::NoLeader)));
    assert_eq!(late[1], not_done(keys[2], Failure::NoAnswer), "sent, and yet it had no effect");
}
