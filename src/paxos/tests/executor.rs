//! The executor's rules: exactly once, linearizable reads, snapshots.

use super::ledger::{Ledger, length};
use super::terse::*;
use crate::paxos::dice::mix;
use crate::paxos::message::CommandName;
use crate::paxos::settings::{
    MAX_ANSWER_BYTES, MAX_KEPT_RESULT_BYTES, MAX_READ_BYTES, MAX_READS, MAX_RESULT_BYTES, SESSION_IDLE_MS,
    SESSION_WINDOW,
};
use crate::paxos::*;

const ME: ClientId = ClientId(5);

/// What an executor's snapshot holds.
fn state_of(executor: &Executor<Ledger>) -> State<Ledger> {
    executor.freeze().thaw(Ledger::default()).expect("a ledger's own state")
}

fn executor_with(settings: Settings) -> Executor<Ledger> {
    let mut executor = Executor::new(n(1), three(), settings, Ledger::default(), 7);
    let attach = ExecutorMessage::AttachToken { token: Token(9), client: ME };
    executor.on_message(n(1), attach, &mut Effects::new());
    executor
}

/// Slot 1 opens session 1 for client 5.
fn executor() -> Executor<Ledger> {
    let mut executor = executor_with(Settings { mark_ms: u64::MAX, ..Settings::default() });
    let told = execute(&mut executor, 1, &[Command::Open { token: Token(9) }]);
    assert_eq!(told, [Reply::Opened { token: Token(9), session: SessionId(1) }]);
    executor
}

fn chosen(slot: u64, time_ms: u64, commands: &[Command]) -> Vec<(Slot, Ballot, Value)> {
    vec![(s(slot), b(1, 1), Value::batch(Stamp { time_ms, seed: 3 }, commands))]
}

fn replies(told: Vec<Effect>) -> Vec<Reply> {
    let reply = |effect| match effect {
        Effect::Reply { client: ME, reply } => Some(reply),
        _ => None,
    };
    told.into_iter().filter_map(reply).collect()
}

/// Two of three say that the state of [`state_of`] is what they have, too.
fn reports(mark: u64) -> [Command; 2] {
    [1, 3].map(|node| Command::Report { node: n(node), mark: s(mark), digest: [0; 32] })
}

fn execute(executor: &mut Executor<Ledger>, slot: u64, commands: &[Command]) -> Vec<Reply> {
    replies(effects(|fx| executor.on_chosen(chosen(slot, 0, commands), fx)))
}

fn done(sequence: u64, slot: u64, index: u32, ballot: Option<Ballot>, entries: u64) -> Reply {
    let result = Bytes::from(&entries.to_le_bytes()[..]);
    let place = Place { slot: s(slot), index };
    Reply::Done { session: SessionId(1), sequence: Sequence(sequence), place, ballot, result }
}

#[test]
fn rule_7_a_command_that_the_log_holds_twice_is_executed_once_and_answered_alike() {
    let mut executor = executor();
    let x = command(1, 1, "x");
    assert_eq!(execute(&mut executor, 2, std::slice::from_ref(&x)), [done(1, 2, 1, Some(b(1, 1)), 1)]);
    assert_eq!(
        execute(&mut executor, 3, &[command(1, 2, "y"), x]),
        [done(2, 3, 1, Some(b(1, 1)), 2), done(1, 2, 1, None, 1)]
    );
    assert_eq!(executor.machine().entries, [b"x", b"y"]);
}

#[test]
fn rule_7_every_node_answers_retries_of_what_it_executed_under_another_leader() {
    let mut other = Executor::new(n(2), three(), Settings::default(), Ledger::default(), 8);
    let silent = effects(|fx| {
        other.on_chosen(chosen(1, 0, &[Command::Open { token: Token(9) }]), fx);
        other.on_chosen(chosen(2, 0, &[command(1, 1, "x")]), fx);
    });
    assert_eq!(replies(silent), []);
    other.on_message(n(2), ExecutorMessage::Attach { session: SessionId(1), client: ME }, &mut Effects::new());
    assert_eq!(execute(&mut other, 3, &[command(1, 1, "x")]), [done(1, 2, 1, None, 1)]);
}

#[test]
fn rule_7_a_command_of_an_unknown_session_does_nothing() {
    let mut executor = executor();
    executor.on_message(n(1), ExecutorMessage::Attach { session: SessionId(2), client: ME }, &mut Effects::new());
    let expired = Reply::SessionExpired { session: SessionId(2), sequence: Sequence(1) };
    assert_eq!(execute(&mut executor, 2, &[command(2, 1, "x")]), [expired]);
    assert!(executor.machine().entries.is_empty());
}

#[test]
fn rule_7_a_session_expires_by_the_logs_time() {
    let mut executor = executor();
    executor.on_chosen(chosen(1, 1000, &[Command::Open { token: Token(9) }]), &mut Effects::new());
    executor.on_chosen(chosen(2, 10, &[]), &mut Effects::new()); // a leader's clock that goes back
    let expired = Reply::SessionExpired { session: SessionId(1), sequence: Sequence(1) };
    let told = effects(|fx| executor.on_chosen(chosen(3, 1001 + SESSION_IDLE_MS, &[command(1, 1, "x")]), fx));
    assert_eq!(replies(told), [expired]);
}

#[test]
fn rule_7_what_lies_outside_the_sessions_window_never_executes() {
    let mut executor = executor();
    let far = SESSION_WINDOW + 1;
    let outside = |sequence| Reply::OutOfWindow { session: SessionId(1), sequence: Sequence(sequence) };
    assert_eq!(
        execute(&mut executor, 2, &[command(1, far, "x"), command(1, u64::MAX, "y")]),
        [outside(far), outside(u64::MAX)]
    );
    let done_below = |below| Command::Apply {
        session: SessionId(1),
        sequence: Sequence(3),
        done_below: Sequence(below),
        operation: b"z".as_slice().into(),
    };
    assert_eq!(execute(&mut executor, 3, &[done_below(3)]), [done(3, 3, 1, Some(b(1, 1)), 1)]);
    assert_eq!(execute(&mut executor, 4, &[command(1, 2, "late")]), [outside(2)]);
}

/// Counts what it applied, and answers with so many bytes.
struct Verbose(u64, usize);

impl StateMachine for Verbose {
    fn apply(&mut self, _: &Context, _: &[u8]) -> Vec<u8> {
        self.0 += 1;
        vec![7; self.1]
    }
    fn query(&self, _: &[u8]) -> Vec<u8> {
        vec![7; 1 << 20]
    }
    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(Vec::new(), [0; 32])
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
    fn empty(&self) -> Verbose {
        Verbose(0, self.1)
    }
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[test]
fn rule_7_a_command_whose_result_is_too_large_is_executed_once_and_the_client_is_told_so() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Verbose(0, MAX_RESULT_BYTES + 1), 7);
    executor.on_chosen(chosen(1, 0, &[Command::Open { token: Token(9) }]), &mut Effects::new());
    executor.on_message(n(1), ExecutorMessage::Attach { session: SessionId(1), client: ME }, &mut Effects::new());
    let dropped =
        Reply::ResultDropped { session: SessionId(1), sequence: Sequence(1), place: Place { slot: s(2), index: 1 } };
    for slot in [2, 3] {
        let told = effects(|fx| executor.on_chosen(chosen(slot, 0, &[command(1, 1, "x")]), fx));
        assert_eq!(replies(told), std::slice::from_ref(&dropped));
    }
    assert_eq!(executor.machine().0, 1);
    assert_eq!(executor.sessions().kept_bytes(), 0);
}

#[test]
fn the_results_that_one_lot_tells_are_bounded_and_the_next_lot_tells_again() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Verbose(0, MAX_RESULT_BYTES), 7);
    executor.on_chosen(chosen(1, 0, &[Command::Open { token: Token(9) }]), &mut Effects::new());
    executor.on_message(n(1), ExecutorMessage::Attach { session: SessionId(1), client: ME }, &mut Effects::new());
    let most = (MAX_KEPT_RESULT_BYTES / MAX_RESULT_BYTES) as u64;
    let short: Vec<Command> = (1..=most + 1).map(|sequence| command(1, sequence, "x")).collect();
    let told = replies(effects(|fx| executor.on_chosen(chosen(2, 0, &short), fx)));
    let is_done = |reply: &&Reply| matches!(reply, Reply::Done { .. });
    assert_eq!(told.iter().take_while(is_done).count() as u64, most);
    assert!(matches!(told.last(), Some(Reply::ResultDropped { sequence, .. }) if sequence.0 == most + 1));
    executor.on_lot_end(&mut Effects::new());
    let told = replies(effects(|fx| executor.on_chosen(chosen(3, 0, &short[most as usize..]), fx)));
    assert!(told.iter().all(|reply| matches!(reply, Reply::Done { .. })), "its result is in the session table");
}

#[test]
fn a_no_op_changes_nothing_but_the_watermark() {
    let mut executor = executor();
    let before = executor.machine().clone();
    let told = effects(|fx| executor.on_chosen(vec![(s(2), b(1, 1), Value::no_op())], fx));
    assert_eq!(told, [Effect::Note(Event::Executed { upto: s(2), commands: 0 })]);
    assert_eq!((executor.executed_upto(), executor.machine()), (s(2), &before));
}

fn read(executor: &mut Executor<Ledger>, id: u64, local: bool) -> Vec<Effect> {
    let read = ExecutorMessage::Read { client: ME, queries: vec![(id, Bytes::default())], local };
    effects(|fx| {
        executor.on_message(n(1), read, fx);
        executor.on_lot_end(fx);
    })
}

fn batch_of(told: &[Effect]) -> u64 {
    match told {
        [Effect::Send { to: NodeId(1), message: Message::Proposer(ProposerMessage::ReadIndex { batch }) }] => *batch,
        other => panic!("no question: {other:?}"),
    }
}

fn answer(entries: u64, id: u64) -> Effect {
    Effect::Reply { client: ME, reply: Reply::Read { id, result: Bytes::from(&entries.to_le_bytes()[..]) } }
}

#[test]
fn rule_3_a_read_waits_until_its_index_is_executed() {
    let mut executor = executor();
    let batch = batch_of(&read(&mut executor, 1, false));
    let indexed = ExecutorMessage::ReadIndexed { batch, index: s(2) };
    assert_eq!(effects(|fx| executor.on_message(n(2), indexed, fx)), []);
    let told = effects(|fx| executor.on_chosen(chosen(2, 0, &[command(1, 1, "x")]), fx));
    assert!(told.contains(&answer(1, 1)));
}

#[test]
fn a_local_read_is_answered_from_what_is_executed_here() {
    assert_eq!(read(&mut executor(), 1, true), [answer(0, 1)]);
}

#[test]
fn reads_that_wait_are_bounded_in_bytes() {
    let mut executor = executor();
    let question = Bytes::from(vec![7; 1 << 20]);
    let many = (MAX_READ_BYTES >> 20) as u64;
    let busy = |id| Effect::Reply { client: ME, reply: Reply::ReadRefused { id, reason: Refusal::Busy } };
    let read = |executor: &mut Executor<Ledger>, id| {
        let read = ExecutorMessage::Read { client: ME, queries: vec![(id, question.clone())], local: false };
        effects(|fx| executor.on_message(n(1), read, fx))
    };
    for id in 0..many {
        assert_eq!(read(&mut executor, id), []);
    }
    assert_eq!(read(&mut executor, many), [busy(many)], "gathered in this lot");
    let batch = batch_of(&effects(|fx| executor.on_lot_end(fx)));
    assert_eq!(read(&mut executor, many), [busy(many)], "waiting for an index");
    let indexed = ExecutorMessage::ReadIndexed { batch, index: s(1) };
    assert_eq!(effects(|fx| executor.on_message(n(2), indexed, fx)).len() as u64, many);
    assert_eq!(read(&mut executor, many), [], "there is room again");
}

#[test]
fn the_answers_of_one_lot_are_bounded_in_bytes() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Verbose(0, MAX_RESULT_BYTES + 1), 7);
    let many = (MAX_ANSWER_BYTES >> 20) as u64;
    for _ in 0..2 {
        let queries = (0..many + 2).map(|id| (id, Bytes::default())).collect();
        let read = ExecutorMessage::Read { client: ME, queries, local: true };
        let told = replies(effects(|fx| {
            executor.on_message(n(1), read, fx);
            executor.on_lot_end(fx);
        }));
        let answered = told.iter().filter(|reply| matches!(reply, Reply::Read { .. })).count();
        assert_eq!((told.len() as u64, answered as u64), (many + 2, many));
        assert_eq!(told.last(), Some(&Reply::ReadRefused { id: many + 1, reason: Refusal::Busy }));
    }
}

/// Before a restart n1 asked for an index; the answer comes late, and names a slot from before other clients' writes.
#[test]
fn rule_3_an_answer_to_a_question_from_before_a_restart_is_ignored() {
    let mut before = executor();
    let stale = batch_of(&read(&mut before, 1, false));
    let mut after = Executor::new(n(1), three(), Settings::default(), Ledger::default(), 8);
    let batch = batch_of(&read(&mut after, 1, false));
    assert_ne!(batch, stale);
    let indexed = ExecutorMessage::ReadIndexed { batch: stale, index: s(0) };
    assert_eq!(ignored(|fx| after.on_message(n(2), indexed, fx)), "no such reads wait");
}

#[test]
fn all_reads_of_a_lot_share_one_question_and_a_new_leader_is_asked_again() {
    let mut executor = executor();
    let queries = vec![(1, Bytes::default()), (2, Bytes::default())];
    let first = ExecutorMessage::Read { client: ME, queries, local: false };
    executor.on_message(n(1), first, &mut Effects::new());
    let told = read(&mut executor, 3, false);
    let batch = batch_of(&told);
    let again = effects(|fx| executor.on_message(n(1), ExecutorMessage::LeaderChanged {}, fx));
    assert_eq!(again, [told[0].clone(), Effect::Reply { client: ME, reply: Reply::LeaderChanged {} }]);
    let refused = effects(|fx| executor.on_message(n(2), ExecutorMessage::ReadRefused { batch }, fx));
    assert_eq!(refused.len(), 3);
    assert_eq!(effects(|fx| executor.on_tick(1_000_000, fx)), [], "refused once");
}

#[test]
fn an_unanswered_question_is_asked_again_and_given_up_in_the_end() {
    let mut executor = executor();
    let told = read(&mut executor, 1, false);
    let after = Settings::default().resend_ms * 2;
    assert_eq!(effects(|fx| executor.on_tick(after - 1, fx)), []);
    assert_eq!(effects(|fx| executor.on_tick(after, fx)), told);
    let refused = Reply::ReadRefused { id: 1, reason: Refusal::NoLeader };
    let told = effects(|fx| executor.on_tick(60_000, fx));
    assert_eq!(told, [Effect::Reply { client: ME, reply: refused }]);
}

#[test]
fn a_refusal_reaches_the_client_that_sent_the_command() {
    let mut executor = executor();
    let name = CommandName::Apply(SessionId(1), Sequence(4));
    let stranger = CommandName::Apply(SessionId(2), Sequence(1));
    let refused = ExecutorMessage::Refused { commands: vec![name, stranger], reason: Refusal::Busy };
    let reply = |forwarded| Reply::Refused { command: name, reason: Refusal::Busy, forwarded };
    let by_another = effects(|fx| executor.on_message(n(3), refused.clone(), fx));
    assert_eq!(by_another, [Effect::Reply { client: ME, reply: reply(true) }]);
    let by_ourselves = effects(|fx| executor.on_message(n(1), refused, fx));
    assert_eq!(by_ourselves, [Effect::Reply { client: ME, reply: reply(false) }]);
}

#[test]
fn a_client_that_left_hears_nothing() {
    let mut executor = executor();
    read(&mut executor, 1, false);
    executor.on_message(n(1), ExecutorMessage::Detach { client: ME }, &mut Effects::new());
    assert_eq!(execute(&mut executor, 2, &[command(1, 1, "x")]), []);
    assert_eq!(effects(|fx| executor.on_tick(1_000_000, fx)), []);
}

#[test]
fn an_installed_snapshot_carries_the_session_table() {
    let mut ahead = executor();
    execute(&mut ahead, 2, &[command(1, 1, "x")]);
    execute(&mut ahead, 3, &[Command::Mark { save: true }]);
    let mut executor = Executor::new(n(2), three(), Settings::default(), Ledger::default(), 8);
    let told = effects(|fx| drop(executor.install(state_of(&ahead), fx)));
    assert_eq!(told, [Effect::Send { to: n(2), message: LearnerMessage::Installed { upto: s(3) }.into() }]);
    executor.on_message(n(2), ExecutorMessage::Attach { session: SessionId(1), client: ME }, &mut Effects::new());
    execute(&mut executor, 4, &reports(3));
    assert_eq!(execute(&mut executor, 5, &[command(1, 1, "x")]), [done(1, 2, 1, None, 1)]);
    assert_eq!(length(&executor.machine().query(b"")), 1);
}

/// The command of a client of n2 is chosen while n2 lags, and a snapshot takes the place of its slot there: without a
/// word the client would wait until its own patience ends. (Found by the lab's row 16, seed 30.)
#[test]
fn clients_send_again_what_a_snapshot_may_have_answered() {
    let mut ahead = executor();
    execute(&mut ahead, 2, &[command(1, 1, "x")]);
    execute(&mut ahead, 3, &[Command::Mark { save: true }]);
    let mut executor = Executor::new(n(2), three(), Settings::default(), Ledger::default(), 8);
    executor.on_message(n(2), ExecutorMessage::Attach { session: SessionId(1), client: ME }, &mut Effects::new());
    let told = replies(effects(|fx| drop(executor.install(state_of(&ahead), fx))));
    assert_eq!(told, [Reply::LeaderChanged {}]);
    let told = replies(effects(|fx| drop(executor.install(state_of(&ahead), fx))));
    assert_eq!(told, [], "nothing is new");
    assert_eq!(execute(&mut executor, 4, &reports(3)), [Reply::LeaderChanged {}], "it serves from now on");
    assert_eq!(execute(&mut executor, 5, &[command(1, 1, "x")]), [done(1, 2, 1, None, 1)]);
}

/// A snapshot up to 1 is being saved; meanwhile slots 1 and 2 are executed. The learner hears `Installed` and counts
/// the journal as trimmed up to 1, so the snapshot must count as well. (Found as seed 586.)
#[test]
fn a_snapshot_that_the_log_overtook_counts_as_durable_and_changes_no_state() {
    let snapshot = state_of(&executor());
    let mut executor = executor();
    execute(&mut executor, 2, &[command(1, 1, "x")]);
    let overtaken = executor.install(snapshot, &mut Effects::new());
    assert_eq!(overtaken.upto, s(1), "it is given back to be let go of");
    assert_eq!((executor.executed_upto(), executor.snapshot_upto()), (s(2), s(1)));
    assert_eq!(executor.machine().entries, [b"x"]);
}

#[test]
fn reads_that_wait_are_bounded_in_number() {
    let mut executor = executor();
    let reads = |ids: std::ops::Range<usize>| ExecutorMessage::Read {
        client: ME,
        queries: ids.map(|id| (id as u64, Bytes::default())).collect(),
        local: false,
    };
    let busy = |id: usize| Reply::ReadRefused { id: id as u64, reason: Refusal::Busy };
    let mut asked = |ids| {
        replies(effects(|fx| {
            executor.on_message(n(1), reads(ids), fx);
            executor.on_lot_end(fx);
        }))
    };
    assert_eq!(asked(0..MAX_READS - 1), []);
    assert_eq!(asked(MAX_READS..MAX_READS + 2), [busy(MAX_READS + 1)], "one more fits, of the same message");
    assert_eq!(asked(1..2), [busy(1)], "they wait in several batches");
}

#[test]
fn the_questions_of_one_message_are_bounded_together() {
    let mut executor = executor();
    let question = Bytes::from(vec![7; MAX_READ_BYTES / 4]);
    let queries = (0..5).map(|id| (id, question.clone())).collect();
    let read = ExecutorMessage::Read { client: ME, queries, local: false };
    let told = replies(effects(|fx| executor.on_message(n(1), read, fx)));
    assert_eq!(told, [Reply::ReadRefused { id: 4, reason: Refusal::Busy }]);
}

#[test]
fn a_snapshot_is_wanted_of_a_slot_that_is_executed_and_that_no_snapshot_covers() {
    let mut executor = executor();
    execute(&mut executor, 2, &[]);
    executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(1) }, &mut Effects::new());
    let mut wanted = |slot| {
        let wanted = ExecutorMessage::SnapshotWanted { slot: s(slot) };
        effects(|fx| executor.on_message(n(1), wanted, fx))
    };
    assert_eq!(wanted(1), [], "the snapshot is there already");
    assert_eq!(wanted(3), [], "not executed yet");
    let mark = ProposerMessage::Submit { commands: vec![Command::Mark { save: true }] };
    assert_eq!(wanted(2), [Effect::Send { to: n(1), message: mark.into() }], "snapshots are taken at marks");
    assert_eq!(wanted(2), [], "it was asked for a moment ago");
}

/// It is trimmed up to the older of two, so the second one has to follow.
#[test]
fn a_journal_that_is_too_long_has_two_snapshots_taken_that_cover_what_it_wants_to_give_up() {
    let mut executor = executor();
    execute(&mut executor, 2, &[]);
    let tell = |executor: &mut Executor<Ledger>, message| effects(|fx| executor.on_message(n(1), message, fx));
    let tick = |executor: &mut Executor<Ledger>, now_ms| effects(|fx| executor.on_tick(now_ms, fx));
    let asked = [send(1, ProposerMessage::Submit { commands: vec![Command::Mark { save: true }] })];
    let wanted = ExecutorMessage::TrimWanted { upto: s(3) };
    assert_eq!(tell(&mut executor, wanted), [], "that is not executed yet");
    execute(&mut executor, 3, &[]);
    assert_eq!(tick(&mut executor, 1_000), asked);
    assert_eq!(tick(&mut executor, 1_999), [], "not all the time");
    assert_eq!(tick(&mut executor, 2_000), asked, "it was lost");
    assert_eq!(tell(&mut executor, ExecutorMessage::SnapshotSaved { upto: s(4) }), [], "a moment ago");
    assert_eq!(tick(&mut executor, 3_000), asked, "the second one");
    tell(&mut executor, ExecutorMessage::SnapshotSaved { upto: s(5) });
    assert_eq!(tick(&mut executor, 9_000), [], "two of them cover it");
}

/// Says what it was given.
struct Curious(Vec<Context>);

impl StateMachine for Curious {
    fn apply(&mut self, context: &Context, _: &[u8]) -> Vec<u8> {
        self.0.push(*context);
        Vec::new()
    }
    fn query(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn freeze(&self) -> Box<dyn Frozen> {
        Whole::freeze(Vec::new(), [0; 32])
    }
    fn restore(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), String> {
        Ok(())
    }
    fn empty(&self) -> Curious {
        Curious(Vec::new())
    }
    fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[test]
fn each_command_is_given_its_place_the_logs_time_and_a_seed_of_its_own() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Curious(Vec::new()), 7);
    let commands = [Command::Open { token: Token(9) }, command(1, 1, "x"), command(1, 2, "y")];
    let told = effects(|fx| executor.on_chosen(chosen(1, 50, &commands), fx));
    assert_eq!(told, [Effect::Note(Event::Executed { upto: s(1), commands: 3 })]);
    let given =
        |index: u32| Context { now_ms: 50, seed: mix(3 ^ u64::from(index)), place: Place { slot: s(1), index } };
    assert_eq!(executor.machine().0, [given(2), given(3)]);
    assert_eq!(executor.sessions().len(), 1);
}

#[test]
fn a_client_that_left_takes_its_own_reads_and_sessions_along_and_nobody_elses() {
    let mut executor = executor();
    let other = ClientId(6);
    executor.on_message(n(1), ExecutorMessage::Attach { session: SessionId(2), client: other }, &mut Effects::new());
    let attach = ExecutorMessage::AttachToken { token: Token(8), client: other };
    executor.on_message(n(1), attach, &mut Effects::new());
    let ask = |executor: &mut Executor<Ledger>, client| {
        let read = ExecutorMessage::Read { client, queries: vec![(1, Bytes::default())], local: false };
        executor.on_message(n(1), read, &mut Effects::new());
    };
    ask(&mut executor, other);
    ask(&mut executor, ME);
    let batch = batch_of(&effects(|fx| executor.on_lot_end(fx)));
    ask(&mut executor, other);
    ask(&mut executor, ME);
    executor.on_message(n(1), ExecutorMessage::Detach { client: ME }, &mut Effects::new());
    let next = batch_of(&effects(|fx| executor.on_lot_end(fx)));
    let to_other = |reply| Effect::Reply { client: other, reply };
    for batch in [batch, next] {
        let indexed = ExecutorMessage::ReadIndexed { batch, index: s(1) };
        let answer = Reply::Read { id: 1, result: Bytes::from(&0u64.to_le_bytes()[..]) };
        assert_eq!(effects(|fx| executor.on_message(n(1), indexed, fx)), [to_other(answer)]);
    }
    let changed = effects(|fx| executor.on_message(n(1), ExecutorMessage::LeaderChanged {}, fx));
    assert_eq!(changed, [to_other(Reply::LeaderChanged {})]);
    let told = effects(|fx| executor.on_chosen(chosen(2, 0, &[Command::Open { token: Token(8) }]), fx));
    assert_eq!(told[0], to_other(Reply::Opened { token: Token(8), session: SessionId(2) }));
}
