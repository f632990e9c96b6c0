use synod::machine::bank::Outcome;
use synod::net::report::PeerStatus;
use synod::paxos::NodeId;

use super::*;
use crate::answer::BankAnswer;
use crate::backend::fake::Fake;
use crate::grammar::{Line, parse_line};

fn answered(fake: &mut Fake, line: &str) -> Result<Answer, Failure> {
    match parse_line(line, false) {
        Ok(Line::Cluster(command)) => execute(&command, fake),
        other => panic!("`{line}`: {other:?}"),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.as_bytes())
}

#[test]
fn a_proposal_goes_through_the_named_node() {
    let mut fake = Fake::default();
    answered(&mut fake, "propose hello").unwrap();
    answered(&mut fake, "propose @n2 'hello there'").unwrap();
    assert_eq!(fake.proposals, [(None, bytes("hello")), (Some("n2".to_owned()), bytes("hello there"))]);
}

#[test]
fn the_first_value_proposed_for_a_key_is_every_later_answer() {
    let mut fake = Fake::default();
    assert_eq!(answered(&mut fake, "paxos captain alice"), Ok(Answer::Decided(bytes("alice"))));
    assert_eq!(answered(&mut fake, "paxos captain bob"), Ok(Answer::Decided(bytes("alice"))));
}

#[test]
fn keys_are_set_read_extended_swapped_and_removed() {
    let mut fake = Fake::default();
    answered(&mut fake, "put k v").unwrap();
    assert_eq!(answered(&mut fake, "append k w"), Ok(Answer::Value(Some(bytes("vw")))));
    assert_eq!(answered(&mut fake, "cas k v x"), Ok(Answer::NotSwapped { actual: Some(bytes("vw")) }));
    assert_eq!(answered(&mut fake, "cas k vw x"), Ok(Answer::Swapped));
    assert_eq!(answered(&mut fake, "get k --local n2"), Ok(Answer::Value(Some(bytes("x")))));
    assert_eq!(answered(&mut fake, "delete k"), Ok(Answer::Deleted { existed: true }));
    assert_eq!(answered(&mut fake, "cas k --absent y"), Ok(Answer::Swapped));
    assert_eq!(answered(&mut fake, "get k"), Ok(Answer::Value(Some(bytes("y")))));
}

#[test]
fn members_come_and_go_as_they_are_told_to() {
    let mut fake = Fake::default();
    for line in [
        "member add n4=h:4",
        "member replace n2@h:2 --force",
        "member replace n2=h:2",
        "member remove n3",
        "member remove n3 --force",
        "leader transfer n2",
    ] {
        answered(&mut fake, line).unwrap();
    }
    let expected = [
        "n4 at h:4, replace: None",
        "n2 at h:2, replace: Some(true)",
        "n2 at h:2, replace: Some(false)",
        "n3 goes, force: false",
        "n3 goes, force: true",
        "n2 leads",
    ];
    assert_eq!(fake.changes, expected);
    let late = answered(&mut fake, "member add n4=h:4 --wait").unwrap_err();
    assert!(late.to_string().contains("n4 is node 4 since slot 12, and has not caught up"), "{late}");
    assert_eq!(late.exit_code(), 1);
}

#[test]
fn a_scan_knows_whether_there_is_more() {
    let mut fake = Fake::with(&[("a/1", b"x"), ("a/2", b"y"), ("b", b"z")]);
    let Ok(Answer::Pairs { pairs, more }) = answered(&mut fake, "scan a/ --limit 1") else { panic!("no pairs") };
    assert_eq!((pairs.len(), more), (1, true));
    let Ok(Answer::Pairs { pairs, more }) = answered(&mut fake, "scan a/ --limit 2") else { panic!("no pairs") };
    assert_eq!((pairs.len(), more), (2, false));
}

#[test]
fn the_leader_is_whoever_leads_in_the_highest_ballot() {
    let mut fake = Fake::default();
    let Ok(Answer::Leader(leader)) = answered(&mut fake, "leader") else { panic!("no leader") };
    assert_eq!((leader.name.as_str(), leader.ballot.round), ("n1", 3));
    fake.leaderless = true;
    let nobody = answered(&mut fake, "leader").unwrap();
    let why = "n1, n2 answer; n3 is down: connection refused; they may elect one yet: ask again".to_owned();
    assert_eq!((&nobody, nobody.exit_code()), (&Answer::Leaderless { why }, 1));
    fake.silent = true;
    let silent = answered(&mut fake, "leader").unwrap_err().to_string();
    assert!(silent.starts_with("no node answers: n1 is down: connection refused; n2 is down"), "{silent}");
}

#[test]
fn a_minority_says_at_once_that_nobody_can_lead() {
    let node = |name: &str, number: Option<u32>| Status {
        name: name.into(),
        node: number.map(NodeId),
        trouble: number.is_none().then(|| "its journal is damaged".into()),
        peers: ["n1", "n2", "n3"].iter().filter(|peer| **peer != name).map(|peer| voter(peer)).collect(),
        ..Status::default()
    };
    let part = |status: Status| PerNode { node: status.name.clone(), part: Ok(Box::new(status)) };
    let down = PerNode { node: "n3".into(), part: Err(Absence::Down("no answer".into())) };
    let Ok(Leading::Nobody { why, soon }) = leaderless(&[part(node("n1", Some(1))), part(node("n2", None)), down])
    else {
        panic!("they answer")
    };
    assert!(!soon, "{why}");
    assert_eq!(why, "n1 answers; n2 does not vote: its journal is damaged; n3 is down: no answer; it takes 2 of 3");
}

fn voter(name: &str) -> PeerStatus {
    PeerStatus { name: name.into(), address: String::new(), voter: true, link: "down".into(), round_trip_us: None }
}

#[test]
fn a_node_that_does_not_answer_is_a_row_and_not_a_failure() {
    let Ok(Answer::Nodes(rows)) = answered(&mut Fake::default(), "nodes") else { panic!("no rows") };
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    assert_eq!(rows[0].state, Ok("leading".to_owned()));
    assert_eq!(rows[2].state, Err("connection refused".to_owned()));
    assert_eq!(rows[2].address, "127.0.0.1:7103", "the others know where it was");
    for (line, code) in [("status", 0), ("log", 0), ("slot 2", 0), ("view", 0), ("db", 0), ("status n3", 1)] {
        let answer = answered(&mut Fake::default(), line).unwrap();
        assert_eq!(answer.exit_code(), code, "{line}");
    }
}

#[test]
fn a_transfer_is_told_with_an_id_and_done_once() {
    let mut fake = Fake::default();
    let mut settled = |line: &str| match answered(&mut fake, line) {
        Ok(answer @ Answer::Bank(BankAnswer::Settled { .. })) => {
            let code = answer.exit_code();
            let Answer::Bank(BankAnswer::Settled { id, outcome, again, .. }) = answer else { unreachable!() };
            (id.0, outcome, again, code)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(settled("transfer A B 3"), (1, Outcome::Done, false, 0));
    assert_eq!(settled("transfer A B 3"), (2, Outcome::Done, false, 0), "another one");
    assert_eq!(settled("transfer A B 3 --id 2"), (2, Outcome::Done, true, 0), "the same again");
    assert_eq!(settled("transfer A B 5"), (3, Outcome::InsufficientBalance, false, 1));
    assert_eq!(settled("transfer A B 5 --id 3"), (3, Outcome::InsufficientBalance, true, 1));
    assert_eq!(settled("deposit A -5"), (4, Outcome::NotPositive, false, 1));
    assert_eq!(settled("withdraw A 4"), (5, Outcome::Done, false, 0));
    let taken = answered(&mut fake, "transfer A B 4 --id 2").unwrap_err();
    assert_eq!(taken.exit_code(), 1);
    assert_eq!(
        taken.to_string(),
        "refused: the id belongs to another transfer; `receipt 2` shows it; leave out --id for a new one"
    );
    fake.next = Some(Failure::unknown("no answer within the deadline"));
    let unknown = answered(&mut fake, "transfer A B 1 --id 9").unwrap_err();
    assert_eq!(unknown.exit_code(), 3);
    assert_eq!(
        unknown.to_string(),
        "no answer within the deadline; `receipt 9` shows whether it was done, and with --id 9 it is done once"
    );
}

#[test]
fn what_the_bank_does_not_know_is_a_failure() {
    for (line, why) in [
        ("balance Ann", "there is no account Ann: open it with `open`"),
        ("receipt 7", "no transfer was ever told with the id 7"),
    ] {
        let failure = answered(&mut Fake::default(), line).unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), (why, 1));
    }
}

#[test]
fn a_slot_shows_what_each_node_knows() {
    let states = |line: &str| match answered(&mut Fake::default(), line) {
        Ok(Answer::Slot { nodes, .. }) => {
            nodes.into_iter().map(|node| node.part.map(|report| report.state).ok()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(states("slot 1"), [Some(SlotState::Cleared), Some(SlotState::Cleared), None]);
    assert_eq!(states("slot 3"), [Some(SlotState::Executed), Some(SlotState::Executed), None]);
    assert_eq!(states("slot 9"), [Some(SlotState::Empty), Some(SlotState::Empty), None]);
    assert_eq!(states("slot 3 n2"), [Some(SlotState::Executed)]);
}

#[test]
fn chosen_is_what_some_node_knows_to_be_chosen() {
    let report = |line: &str| match answered(&mut Fake::default(), line) {
        Ok(Answer::Chosen { report, .. }) => report,
        other => panic!("{other:?}"),
    };
    assert_eq!(report("chosen 2").unwrap().entries.len(), 2);
    assert_eq!(report("chosen 1").unwrap().state, SlotState::Cleared);
    assert_eq!(report("chosen 5"), None, "votes alone choose nothing");
    assert_eq!(report("chosen 99"), None);
}

#[test]
fn an_index_that_a_slot_does_not_have_is_refused() {
    let refused = |line: &str| answered(&mut Fake::default(), line).unwrap_err();
    assert_eq!(refused("chosen 2.3").to_string(), "there is no 2.3: slot 2 holds 2 commands");
    assert_eq!(refused("slot 4.1").to_string(), "there is no 4.1: slot 4 holds a no-op");
    assert_eq!(refused("slot 3.2").exit_code(), 1);
}

#[test]
fn connect_passes_name_and_address_on() {
    let mut fake = Fake::default();
    answered(&mut fake, "connect n4@host.example:7104").unwrap();
    assert_eq!(fake.connected, [("n4".to_owned(), "host.example:7104".to_owned())]);
}
