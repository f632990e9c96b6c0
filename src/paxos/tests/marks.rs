//! Agreement on state, as one executor lives it: marks, digests, reports, and what follows if they differ.

use super::ledger::Ledger;
use super::terse::*;
use crate::paxos::*;

const ME: ClientId = ClientId(5);
/// What the replicas have, and what they should not have.
const RIGHT: [u8; 32] = [1; 32];
const WRONG: [u8; 32] = [2; 32];

/// Session 1 is client 5's, by slot 1.
fn executor_with(settings: Settings) -> Executor<Ledger> {
    let mut executor = Executor::new(n(1), three(), settings, Ledger::default(), 7);
    let attach = ExecutorMessage::AttachToken { token: Token(9), client: ME };
    executor.on_message(n(1), attach, &mut Effects::new());
    execute(&mut executor, 1, &[Command::Open { token: Token(9) }]);
    executor
}

fn executor() -> Executor<Ledger> {
    executor_with(Settings { mark_ms: 10_000, ..Settings::default() })
}

fn chosen(slot: u64, commands: &[Command]) -> Choice {
    (s(slot), b(1, 1), Value::batch(Stamp { time_ms: 0, seed: 3 }, commands))
}

fn execute(executor: &mut Executor<Ledger>, slot: u64, commands: &[Command]) -> Vec<Effect> {
    effects(|fx| executor.on_chosen(vec![chosen(slot, commands)], fx))
}

fn mark(save: bool) -> [Command; 1] {
    [Command::Mark { save }]
}

fn report(node: u32, mark: u64, digest: [u8; 32]) -> Command {
    Command::Report { node: n(node), mark: s(mark), digest }
}

/// The keeper digests the image that was frozen last.
fn digest(executor: &mut Executor<Ledger>, digest: [u8; 32]) -> Vec<Effect> {
    let taken = executor.take_images().pop().expect("an image was frozen");
    let digested = ExecutorMessage::Digested { number: taken.number, upto: taken.image.upto, digest };
    effects(|fx| executor.on_message(n(1), digested, fx))
}

fn tick(executor: &mut Executor<Ledger>, now_ms: u64) -> Vec<Effect> {
    effects(|fx| executor.on_tick(now_ms, fx))
}

fn submits(command: Command) -> Effect {
    Effect::Send { to: n(1), message: ProposerMessage::Submit { commands: vec![command] }.into() }
}

fn due(save: bool) -> Effect {
    Effect::Send { to: n(1), message: ProposerMessage::MarkDue { save }.into() }
}

fn replies(told: &[Effect]) -> Vec<&Reply> {
    let reply = |effect| match effect {
        &Effect::Reply { client: ME, ref reply } => Some(reply),
        _ => None,
    };
    told.iter().filter_map(reply).collect()
}

fn read_locally(executor: &mut Executor<Ledger>) -> bool {
    let read = ExecutorMessage::Read { client: ME, queries: vec![(1, Bytes::default())], local: true };
    let told = effects(|fx| executor.on_message(n(1), read, fx));
    matches!(replies(&told)[..], [Reply::Read { .. }])
}

/// It has diverged at the mark of slot 2, and slot 3 told it so.
fn diverged() -> Executor<Ledger> {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(true));
    digest(&mut executor, WRONG);
    assert!(read_locally(&mut executor), "nobody knows yet");
    let told = execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    let event = Event::Diverged { mark: s(2), own: WRONG, agreed: RIGHT };
    assert!(told.contains(&Effect::Note(event)), "{told:?}");
    assert!(
        !told.contains(&Effect::Proven { upto: s(2), digest: WRONG }),
        "what is saved of it never becomes a snapshot"
    );
    assert!(told.contains(&submits(Command::Mark { save: true })), "a snapshot that its journal reaches");
    assert!(told.contains(&Effect::Send { to: n(1), message: LearnerMessage::Repair {}.into() }));
    assert!(told.contains(&fit(false)), "another one leads meanwhile");
    executor
}

fn fit(fit: bool) -> Effect {
    Effect::Send { to: n(1), message: ProposerMessage::Fit { fit }.into() }
}

/// What a right replica has after these slots.
fn right_state(slots: &[(u64, Vec<Command>)], digest: [u8; 32]) -> State<Ledger> {
    let mut right = executor();
    for (slot, commands) in slots {
        execute(&mut right, *slot, commands);
    }
    let state = right.freeze().thaw(Ledger::default()).expect("a ledger's own state");
    State { digest, ..state }
}

#[test]
fn rule_8_the_state_is_frozen_at_the_marks_slot_in_the_middle_of_a_lot() {
    let mut executor = executor();
    let lot = vec![chosen(2, &mark(true)), chosen(3, &[command(1, 1, "x")])];
    assert!(deeds(|fx| executor.on_chosen(lot, fx)).contains(&Effect::TakeSnapshot { upto: s(2) }));
    let images = executor.take_images();
    assert_eq!((images.len(), executor.take_images().len(), images[0].save), (1, 0, true), "taken once");
    let expected = right_state(&[(2, mark(true).to_vec())], [0; 32]);
    assert_eq!(images[0].image.thaw(Ledger::default()), Ok(expected));
}

#[test]
fn rule_8_slots_bytes_and_time_make_a_mark_due_but_not_marks_and_reports() {
    let mut slots = executor_with(Settings { snapshot_slots: 3, mark_ms: u64::MAX, ..Settings::default() });
    assert!(!execute(&mut slots, 2, &[]).contains(&due(true)));
    assert!(!execute(&mut slots, 3, &[command(1, 1, "x")]).contains(&due(true)));
    assert!(execute(&mut slots, 4, &[command(1, 2, "y")]).contains(&due(true)));
    assert!(!tick(&mut slots, 599).contains(&due(true)), "it was told");
    assert!(tick(&mut slots, 600).contains(&due(true)), "it was lost");
    execute(&mut slots, 5, &mark(true));
    digest(&mut slots, RIGHT);
    execute(&mut slots, 6, &[report(1, 5, RIGHT), report(2, 5, RIGHT)]);
    assert_eq!(tick(&mut slots, 9_000), []);

    let mut time = executor();
    assert_eq!(tick(&mut time, 9_999), []);
    assert!(tick(&mut time, 10_000).contains(&due(false)));
    execute(&mut time, 2, &mark(false));
    digest(&mut time, RIGHT);
    execute(&mut time, 3, &[report(1, 2, RIGHT), report(2, 2, RIGHT)]);
    assert_eq!(tick(&mut time, 30_000), [], "nothing was done since");
}

/// Reports that are lost, with the leader that had them or on their way, come again; so leaders may change between the
/// mark and the reports.
#[test]
fn rule_8_a_report_comes_again_until_it_stands_in_the_log() {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(false));
    let own = submits(report(1, 2, RIGHT));
    assert_eq!(digest(&mut executor, RIGHT), std::slice::from_ref(&own));
    assert_eq!(tick(&mut executor, 599), []);
    assert_eq!(tick(&mut executor, 600), std::slice::from_ref(&own));
    execute(&mut executor, 3, &[report(2, 2, RIGHT)]);
    assert_eq!(tick(&mut executor, 1_200), [own]);
    execute(&mut executor, 4, &[report(1, 2, RIGHT)]);
    assert_eq!(tick(&mut executor, 1_800), []);
}

#[test]
fn rule_8_a_mark_while_a_snapshot_is_being_saved_is_only_digested() {
    let mut executor = executor();
    let taken = |executor: &mut Executor<Ledger>, slot| {
        execute(executor, slot, &mark(true));
        let images = executor.take_images();
        images.into_iter().map(|taken| (taken.number, taken.image.upto.0, taken.save)).collect::<Vec<_>>()
    };
    let digested = |executor: &mut Executor<Ledger>, number, slot| {
        let digested = ExecutorMessage::Digested { number, upto: s(slot), digest: RIGHT };
        executor.on_message(n(1), digested, &mut Effects::new());
        executor.take_images().into_iter().map(|taken| (taken.number, taken.save)).collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut executor, 2), [(1, 2, true)]);
    assert_eq!(taken(&mut executor, 3), [], "the one before is being digested");
    assert_eq!(taken(&mut executor, 4), [], "the newest waits");
    assert_eq!(digested(&mut executor, 1, 2), [(3, true)], "what was not agreed on is given up for the newer one");
    assert_eq!(digested(&mut executor, 3, 4), []);
    execute(&mut executor, 5, &[report(1, 4, RIGHT), report(2, 4, RIGHT)]);
    assert_eq!(taken(&mut executor, 6), [(4, 6, false)], "the one before is agreed on, and being saved");
    executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(4) }, &mut Effects::new());
    assert_eq!(digested(&mut executor, 4, 6), []);
    assert_eq!(taken(&mut executor, 7), [(5, 7, true)]);
    executor.on_message(n(1), ExecutorMessage::SnapshotUnsaved {}, &mut Effects::new());
    assert_eq!(executor.snapshot_upto(), s(4), "there was no room");
}

#[test]
fn rule_8_what_is_agreed_on_is_proven_once_whichever_is_known_first() {
    let proof = Effect::Proven { upto: s(2), digest: RIGHT };
    let proven = |told: &[Effect]| told.iter().filter(|effect| **effect == proof).count();
    let reports = [report(1, 2, RIGHT), report(2, 2, RIGHT), report(3, 2, RIGHT)];
    let mut fast = executor();
    execute(&mut fast, 2, &mark(true));
    assert_eq!(proven(&digest(&mut fast, RIGHT)), 0);
    assert_eq!(proven(&execute(&mut fast, 3, &reports)), 1);
    let mut slow = executor();
    execute(&mut slow, 2, &mark(true));
    assert_eq!(proven(&execute(&mut slow, 3, &reports)), 0);
    assert_eq!(proven(&digest(&mut slow, RIGHT)), 1);
}

#[test]
fn rule_8_a_replica_that_differs_answers_nothing_from_then_on() {
    let mut executor = diverged();
    executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(1) }, &mut Effects::new());
    assert!(!executor.serves() && !read_locally(&mut executor));
    let told = execute(&mut executor, 4, &[command(1, 1, "x")]);
    assert!(matches!(replies(&told)[..], [Reply::Refused { reason: Refusal::NotAdmitted, forwarded: true, .. }]));
    let read = ExecutorMessage::Read { client: ME, queries: vec![(7, Bytes::default())], local: false };
    let told = effects(|fx| executor.on_message(n(1), read, fx));
    assert!(matches!(replies(&told)[..], [Reply::ReadRefused { id: 7, reason: Refusal::NotAdmitted }]));
    assert_eq!(executor.executed_upto(), s(4), "the members and the agreement follow from the log");
    assert!(tick(&mut executor, 1_000).contains(&submits(Command::Mark { save: true })), "again, until it is repaired");
}

/// A keeper that is slower than the others' is no reason to pause.
#[test]
fn rule_8_a_replica_serves_between_the_agreement_and_its_own_digest() {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(false));
    let told = execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    assert!(told.contains(&Effect::Note(Event::Agreed { mark: s(2) })));
    assert!(!executor.has_digest(s(2)) && read_locally(&mut executor));
    let told = digest(&mut executor, WRONG);
    assert!(told.contains(&Effect::Note(Event::Diverged { mark: s(2), own: WRONG, agreed: RIGHT })));
    assert!(!executor.serves());
}

#[test]
fn rule_8_a_repaired_replica_executes_the_log_again_from_its_journal_and_serves() {
    let mut executor = diverged();
    let above = [(4, vec![command(1, 1, "x")]), (5, mark(true).to_vec()), (6, vec![command(1, 2, "y")])];
    let mut slots = vec![(2, mark(true).to_vec()), (3, vec![report(2, 2, RIGHT), report(3, 2, RIGHT)])];
    slots.extend(above.clone());
    for (slot, commands) in &above {
        execute(&mut executor, *slot, commands);
    }
    let mut whole = right_state(&slots, RIGHT);
    let told = effects(|fx| drop(executor.install(right_state(&slots[..4], RIGHT), fx)));
    assert_eq!((executor.executed_upto(), executor.snapshot_upto()), (s(5), s(5)), "below what was executed");
    let supply = |first| Effect::SupplySlots { to: n(1), first: s(first), upto: s(6) };
    assert!(told.contains(&supply(6)), "{told:?}");
    assert!(!executor.serves());
    // What the learner delivers meanwhile is in the journal, too.
    let seventh = vec![report(2, 5, RIGHT), report(3, 5, RIGHT)];
    assert_eq!(deeds(|fx| executor.on_chosen(vec![chosen(7, &seventh)], fx)), []);
    let told = execute(&mut executor, 6, &slots[4].1);
    assert!(told.contains(&Effect::SupplySlots { to: n(1), first: s(7), upto: s(7) }), "{told:?}");
    assert!(
        !executor.serves()
            && !told.iter().any(|effect| matches!(effect, Effect::Reply { reply: Reply::Done { .. }, .. }))
    );
    let told = execute(&mut executor, 7, &seventh);
    assert!(told.contains(&Effect::Note(Event::Rebuilt { upto: s(7) })), "{told:?}");
    assert!(executor.serves() && told.contains(&fit(true)));
    slots.push((7, seventh));
    whole = State { ..right_state(&slots, whole.digest) };
    let state = executor.freeze().thaw(Ledger::default()).expect("a ledger's own state");
    assert_eq!(State { digest: RIGHT, ..state }, whole, "equal to the others");
    execute(&mut executor, 8, &[]);
}

/// The newest snapshot of a peer may be of a mark before all that are remembered.
#[test]
fn rule_8_an_agreement_that_is_older_than_all_remembered_proves_what_is_executed_again() {
    let mut executor = diverged();
    for slot in (4..24).step_by(2) {
        execute(&mut executor, slot, &mark(false));
        execute(&mut executor, slot + 1, &[report(2, slot, RIGHT), report(3, slot, RIGHT)]);
    }
    executor.install(right_state(&[(2, mark(true).to_vec())], RIGHT), &mut Effects::new());
    assert_eq!(executor.standing(), Standing::Unproven { foreign: true });
    execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    assert_eq!(executor.standing(), Standing::Sound);
    assert!(!executor.serves(), "it is not where it was");
}

/// There is no snapshot anywhere, nor would too few who agree have one.
#[test]
fn rule_8_where_there_is_no_snapshot_the_log_is_executed_from_its_beginning_once() {
    let mut executor = diverged();
    let told = tick(&mut executor, 1_000);
    assert!(told.contains(&Effect::SupplySlots { to: n(1), first: s(1), upto: s(3) }), "{told:?}");
    assert_eq!((executor.executed_upto(), executor.standing()), (s(0), Standing::Unproven { foreign: false }));
    execute(&mut executor, 1, &[Command::Open { token: Token(9) }]);
    execute(&mut executor, 2, &mark(true));
    let told = execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    assert!(told.contains(&fit(true)) && !executor.serves(), "{told:?}");
    let told = digest(&mut executor, RIGHT);
    assert!(told.contains(&Effect::Note(Event::Rebuilt { upto: s(3) })) && executor.serves(), "{told:?}");

    let mut again = diverged();
    tick(&mut again, 1_000);
    execute(&mut again, 1, &[Command::Open { token: Token(9) }]);
    execute(&mut again, 2, &mark(true));
    execute(&mut again, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    digest(&mut again, WRONG);
    assert_eq!(again.standing(), Standing::Diverged);
    tick(&mut again, 9_000);
    assert_eq!(again.executed_upto(), s(3), "the same would come of it");
}

#[test]
fn rule_8_a_snapshot_that_takes_longer_to_write_than_many_marks_is_saved() {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(true));
    digest(&mut executor, RIGHT);
    execute(&mut executor, 3, &[report(1, 2, RIGHT), report(2, 2, RIGHT)]);
    for slot in (4..24).step_by(2) {
        execute(&mut executor, slot, &mark(true));
        let taken = executor.take_images().pop().expect("an image was frozen");
        assert!(!taken.save, "another one is being written");
        let digested = ExecutorMessage::Digested { number: taken.number, upto: taken.image.upto, digest: RIGHT };
        executor.on_message(n(1), digested, &mut Effects::new());
        execute(&mut executor, slot + 1, &[report(1, slot, RIGHT), report(2, slot, RIGHT)]);
    }
    executor.on_message(n(1), ExecutorMessage::SnapshotSaved { upto: s(2) }, &mut Effects::new());
    assert_eq!(executor.snapshot_upto(), s(2));
}

#[test]
fn rule_8_a_snapshot_that_lies_is_not_served_from() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Ledger::default(), 7);
    let lie = right_state(&[(2, mark(true).to_vec())], WRONG);
    executor.install(lie, &mut Effects::new());
    assert!(!executor.serves() && !read_locally(&mut executor), "nothing has proved it");
    let told = execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    assert!(told.contains(&Effect::Note(Event::Diverged { mark: s(2), own: WRONG, agreed: RIGHT })));
    // A second liar's, of a mark that the log has told of.
    let told = effects(|fx| drop(executor.install(right_state(&[(2, mark(true).to_vec())], WRONG), fx)));
    assert!(told.iter().any(|effect| matches!(effect, Effect::Note(Event::Diverged { .. }))), "at once");
    assert!(!executor.serves());
    executor.install(right_state(&[(2, mark(true).to_vec())], RIGHT), &mut Effects::new());
    execute(&mut executor, 3, &[report(2, 2, RIGHT), report(3, 2, RIGHT)]);
    assert!(executor.serves() && read_locally(&mut executor));
}

/// A wrong state and its copy would be two of three.
#[test]
fn rule_8_a_copy_of_another_nodes_state_is_not_reported() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Ledger::default(), 7);
    executor.install(right_state(&[(2, mark(true).to_vec())], WRONG), &mut Effects::new());
    execute(&mut executor, 3, &[report(2, 2, WRONG)]);
    assert!(!tick(&mut executor, 90_000).contains(&submits(report(1, 2, WRONG))));
    execute(&mut executor, 4, &[report(3, 2, WRONG)]);
    assert!(executor.serves(), "two others are a quorum");
}

/// A digest of a large state takes long: marks come so seldom that it is a twentieth of the time.
#[test]
fn rule_8_marks_wait_for_slow_digests() {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(false));
    tick(&mut executor, 1_000);
    digest(&mut executor, RIGHT);
    execute(&mut executor, 3, &[report(1, 2, RIGHT), report(2, 2, RIGHT), command(1, 1, "x")]);
    assert!(!tick(&mut executor, 19_999).contains(&due(false)));
    assert!(tick(&mut executor, 20_000).contains(&due(false)));
}

#[test]
fn rule_8_two_of_four_against_two_are_told_of_and_nobody_stops() {
    let four = Membership::founded(Configuration::numbered(4));
    let mut executor = Executor::new(n(1), four, Settings::default(), Ledger::default(), 7);
    execute(&mut executor, 1, &mark(false));
    digest(&mut executor, RIGHT);
    let all = [(1, RIGHT), (2, WRONG), (3, RIGHT), (4, WRONG)];
    let told = execute(&mut executor, 2, &all.map(|(node, digest)| report(node, 1, digest)));
    let reports = all.iter().map(|(node, digest)| (n(*node), *digest)).collect();
    assert!(told.contains(&Effect::Note(Event::Disagreed { mark: s(1), reports })), "{told:?}");
    assert!(executor.serves() && read_locally(&mut executor));
}

/// One against one, and the third does not answer: told after a while, once.
#[test]
fn rule_8_one_against_one_with_the_third_away_is_told_after_a_while() {
    let mut executor = executor();
    execute(&mut executor, 2, &mark(false));
    digest(&mut executor, RIGHT);
    execute(&mut executor, 3, &[report(1, 2, RIGHT), report(2, 2, WRONG)]);
    let tells = |executor: &mut Executor<Ledger>, now_ms| {
        tick(executor, now_ms).iter().any(|effect| matches!(effect, Effect::Note(Event::Disagreed { .. })))
    };
    assert_eq!([1_999, 2_000, 3_000].map(|now_ms| tells(&mut executor, now_ms)), [false, true, false]);
    assert!(executor.serves());
}

/// Every node started anew from a snapshot whose reports were lost: they report again, and serve.
#[test]
fn rule_8_what_was_restored_from_the_own_disk_is_reported_and_proved() {
    let mut executor = Executor::new(n(1), three(), Settings::default(), Ledger::default(), 7);
    executor.restore(right_state(&[(2, mark(true).to_vec())], RIGHT));
    assert!(!executor.serves());
    assert!(tick(&mut executor, 10).contains(&submits(report(1, 2, RIGHT))));
    execute(&mut executor, 3, &[report(1, 2, RIGHT), report(2, 2, RIGHT)]);
    assert!(executor.serves());
}
