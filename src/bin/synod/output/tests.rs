//! Transcripts: what each command prints, as text and as JSON, for the nodes of the fake cluster.

use super::*;
use crate::backend::fake::Fake;
use crate::execute::execute;
use crate::grammar::{Address, Line, NodeName, parse_line};

const TEXT: Style = Style { json: false, terminal: false, colours: false };
const JSON: Style = Style { json: true, terminal: false, colours: false };

fn answer(fake: &mut Fake, line: &str) -> Answer {
    match parse_line(line, false) {
        Ok(Line::Cluster(command)) => execute(&command, fake).unwrap(),
        other => panic!("`{line}`: {other:?}"),
    }
}

fn text(line: &str) -> String {
    let mut fake = Fake::with(&[("colour", b"blue"), ("raw", &[0xff, 1]), ("lines", b"a\nb")]);
    TEXT.answer(&answer(&mut fake, line))
}

fn json(line: &str) -> serde_json::Value {
    let mut fake = Fake::with(&[("colour", b"blue"), ("raw", &[0xff, 1]), ("lines", b"a\nb")]);
    let shown = JSON.answer(&answer(&mut fake, line));
    assert!(!shown.contains('\n'), "one line for one object: {shown}");
    serde_json::from_str(&shown).unwrap()
}

/// As it stands on the screen, without what pads the lines.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn commands_on_keys() {
    assert_eq!(text("propose hello"), "chosen at 12.1 in ballot 3.1");
    assert_eq!(text("paxos captain alice"), "alice");
    assert_eq!(text("put k v"), "done at 12.3");
    assert_eq!(text("get colour"), "blue");
    assert_eq!(text("get nothing"), "(none)");
    assert_eq!(text("get raw"), "\"\\xff\\x01\"");
    assert_eq!(text("get lines"), "\"a\\nb\"");
    assert_eq!(text("append colour ' green'"), "blue green");
    assert_eq!(text("delete colour"), "deleted");
    assert_eq!(text("delete nothing"), "(none)");
    assert_eq!(text("cas colour blue red"), "swapped");
    assert_eq!(text("cas colour red blue"), "not swapped: the value is blue");
    assert_eq!(text("cas nothing red blue"), "not swapped: the value is (none)");
    assert_eq!(
        lines(&text("scan --limit 2")),
        ["KEY     VALUE", "colour  blue", "lines   \"a\\nb\"", "there are more than 2: raise --limit"]
    );
}

#[test]
fn members_are_listed_as_the_leader_knows_them() {
    assert_eq!(
        lines(&text("member list")),
        [
            "NAME  NODE  STANDING             ADDRESS         LINK       EXECUTED",
            "n1       1  votes                127.0.0.1:7101  up                4",
            "n2       2  votes                127.0.0.1:7102  this node         4",
            "n3       3  leaves at slot 1030  127.0.0.1:7103  down              -",
            "n4       4  catches up           -               down              1",
        ]
    );
    let list = json("member list");
    assert_eq!(list["members"][1]["this_node"], true);
    assert_eq!(
        list["members"][2],
        serde_json::json!({
            "name": "n3", "node_id": 3, "standing": "leaves", "from_slot": 1030, "address": "127.0.0.1:7103",
            "link": "down", "this_node": false, "executed_upto": null,
        })
    );
}

#[test]
fn a_change_of_members_says_what_it_comes_to() {
    assert_eq!(text("member add n4=h:4"), "n4 is added as node 4 in slot 12: it votes once it has caught up");
    assert_eq!(text("member add n1=h:1 --wait"), "n1 is added as node 1 in slot 12, and votes");
    assert_eq!(text("member replace n4=h:4"), "n4 is replaced by node 4 in slot 12: it votes once it has caught up");
    assert_eq!(
        text("member remove n2"),
        "n2 (node 2) is removed in slot 12: its process ends once the others can go on without it"
    );
    assert_eq!(json("member add n4=h:4"), serde_json::json!({"added": "n4", "node_id": 4, "slot": 12, "votes": false}));
    assert_eq!(
        json("member remove n2 --force"),
        serde_json::json!({"removed": "n2", "node_id": 2, "slot": 12, "votes": false})
    );
    assert_eq!(text("leader transfer n1"), "n1 leads in ballot 3.1");
}

#[test]
fn commands_on_keys_in_json() {
    use serde_json::json as object;
    assert_eq!(json("propose hello"), object!({"place": "12.1", "slot": 12, "index": 1, "ballot": "3.1"}));
    assert_eq!(json("paxos captain alice"), object!({"value": "alice"}));
    assert_eq!(json("put k v"), object!({"place": "12.3", "slot": 12, "index": 3}));
    assert_eq!(json("get colour"), object!({"value": "blue"}));
    assert_eq!(json("get nothing"), object!({"value": null}));
    assert_eq!(json("get raw"), object!({"value": {"hex": "ff01"}}));
    assert_eq!(json("get lines"), object!({"value": "a\nb"}));
    assert_eq!(json("delete nothing"), object!({"existed": false}));
    assert_eq!(json("cas colour blue red"), object!({"swapped": true}));
    assert_eq!(json("cas nothing red blue"), object!({"swapped": false, "actual": null}));
    assert_eq!(json("scan c"), object!({"pairs": [{"key": "colour", "value": "blue"}], "more": false}));
}

#[test]
fn nodes_and_leader() {
    assert_eq!(
        lines(&text("nodes")),
        [
            "NODE  ADDRESS         PROCESS  VOTER  ROUND TRIP  STATE",
            "n1    127.0.0.1:7101  101      yes    -           leading",
            "n2    127.0.0.1:7102  102      yes    0.31 ms     following",
            "n3    127.0.0.1:7103  -        yes    -           down: connection refused",
        ]
    );
    assert_eq!(text("leader"), "n1 leads in ballot 3.1");
    assert_eq!(json("leader"), serde_json::json!({"leader": {"name": "n1", "ballot": "3.1"}}));
    assert_eq!(json("nodes")["nodes"][2]["error"], "connection refused");
    assert_eq!(json("nodes")["nodes"][1]["round_trip_us"], 310);
    assert_eq!(text("connect n4@h:7104"), "connected to n4 at h:7104");
}

#[test]
fn status_has_the_nodes_side_by_side() {
    let shown = lines(&text("status"));
    assert_eq!(shown[0].split_whitespace().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    assert_eq!(shown[1], "phase          leading         following       down");
    assert!(shown.contains(&"executed_upto  4               4               -".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"digest         dddddddddddd    dddddddddddd    -".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"n3 is down: connection refused".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"n1 has no link to n3: down".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"lag            0               0               -".to_owned()), "{shown:#?}");
    assert!(shown.contains(&"round trips    n2 0.31 ms      -               -".to_owned()), "{shown:#?}");
    let nodes = json("status");
    assert_eq!(nodes["nodes"][0]["peers"][0]["round_trip_us"], 310);
    assert_eq!(nodes["nodes"][1]["lag"], 0);
    assert_eq!(nodes["nodes"][0]["node"], "n1");
    assert_eq!(nodes["nodes"][0]["chosen_upto"], 4);
    assert_eq!(nodes["nodes"][0]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(nodes["nodes"][2], serde_json::json!({"node": "n3", "error": "connection refused"}));
}

#[test]
fn log_shows_every_slot_on_every_node() {
    assert_eq!(
        lines(&text("log")),
        [
            "SLOT  n1            n2            n3    COMMANDS",
            "2     Executed 1.1  Executed 1.1  down  open session; s3#9 put k v",
            "3     Executed 3.1  Executed 3.1  down  s3#9 \"\\xffa\"",
            "4     Chosen 3.1    Chosen 3.1    down  no-op",
            "5     Accepted 4.1  Accepted 3.1  down  s3#9 new (4.1) / s3#9 old (3.1)",
            "n3 is down: connection refused",
            "n1: first not cleared 2, last not empty 5",
            "n2: first not cleared 2, last not empty 5",
        ]
    );
    assert_eq!(lines(&text("log n2 4..4"))[1], "4     Chosen 3.1  no-op");
    let log = &json("log 2..2")["nodes"][0];
    assert_eq!((&log["first_not_cleared"], &log["last_not_empty"]), (&2.into(), &5.into()));
    assert_eq!(log["slots"][0]["state"], "Executed");
    assert_eq!(log["slots"][0]["commands"][0]["kind"], "open");
    assert_eq!(log["slots"][0]["commands"][1]["place"], "2.2");
    let operation = &log["slots"][0]["commands"][1]["operation"];
    assert_eq!(operation, &serde_json::json!({"command": "put", "key": "k", "value": "v"}));
}

#[test]
fn slot_and_chosen() {
    assert_eq!(
        lines(&text("slot 5")),
        [
            "NODE  STATE     BALLOT  COMMANDS",
            "n1    Accepted  4.1     s3#9 new",
            "n2    Accepted  3.1     s3#9 old",
            "n3    down",
            "n3 is down: connection refused",
        ]
    );
    assert_eq!(lines(&text("slot 2.2 n1"))[1], "n1    Executed  1.1     s3#9 put k v");
    assert_eq!(text("chosen 2"), "2.1: open session\n2.2: s3#9 put k v");
    assert_eq!(text("chosen 2.2"), "2.2: s3#9 put k v");
    assert_eq!(text("chosen 4"), "4: no-op");
    assert_eq!(text("chosen 5"), "slot 5 is not known to be chosen");
    assert_eq!(text("chosen 1"), "slot 1 was chosen and is cleared: a snapshot covers it");
    assert_eq!(json("chosen 5"), serde_json::json!({"slot": 5, "chosen": null}));
    assert_eq!(json("chosen 2.2")["chosen"]["commands"].as_array().unwrap().len(), 1);
    assert_eq!(json("slot 1")["nodes"][0]["state"], "Cleared");
}

#[test]
fn view_has_a_row_for_each_ballot() {
    assert_eq!(
        lines(&text("view")),
        [
            "BALLOT  n1                       n2                       n3  LEADER  MERGED",
            "1.2     -                        2000-02-28 23:58:20.000  -   n2      -",
            "3.1     2000-02-29 00:00:00.123  2000-02-29 00:00:00.125  -   n1      from slot 4: 2 values, 1 no-ops",
            "n3 is down: connection refused",
        ]
    );
    let changes = &json("view n1")["nodes"][0]["changes"];
    assert_eq!(changes[0]["merged"], serde_json::json!({"first": 4, "values": 2, "no_ops": 1}));
}

#[test]
fn db_has_a_row_for_each_key() {
    assert_eq!(
        lines(&text("db")),
        [
            "KEY     n1          n2          n3",
            "colour  blue        -           -",
            "lines   \"a\\nb\"      \"a\\nb\"      -",
            "raw     \"\\xff\\x01\"  \"\\xff\\x01\"  -",
            "n3 is down: connection refused",
        ]
    );
    assert_eq!(json("db n1")["nodes"][0]["pairs"][0], serde_json::json!({"key": "colour", "value": "blue"}));
}

#[test]
fn the_bank() {
    let mut fake = Fake::default();
    let mut say = |line: &str| lines(&TEXT.answer(&answer(&mut fake, line)));
    assert_eq!(say("open Ann A"), ["Ann is open", "A was open already"]);
    assert_eq!(say("transfer A Ann 3"), ["done at 12.1 (transfer 1)"]);
    assert_eq!(say("transfer A Ann 3 --id 1"), ["done already at 12.1 (transfer 1)"]);
    assert_eq!(say("withdraw Ann 30"), ["refused at 12.1: insufficient balance (transfer 2)"]);
    assert_eq!(say("balance Ann"), ["3"]);
    assert_eq!(
        say("history Ann"),
        [
            "NUMBER  TIME                     PLACE  FROM  TO         AMOUNT  OUTCOME               ID",
            "     2  2000-02-29 00:00:00.000  12.1   Ann   (outside)      30  insufficient balance  2",
            "     1  2000-02-29 00:00:00.000  12.1   A     Ann             3  done                  1",
        ]
    );
    assert_eq!(say("history Ann --limit 1")[2..], ["there are more than 1: raise --limit"]);
    assert_eq!(say("history B"), ["no transfers"]);
    let accounts = say("accounts");
    assert_eq!(
        accounts[0..3],
        ["ACCOUNT  BALANCE  OPENED", "A              7  ready-made", "Ann            3  2000-02-29 00:00:00.000"]
    );
    assert_eq!(accounts.last().unwrap(), "11 accounts hold 100");
    let side_by_side = say("db bank");
    assert_eq!(
        side_by_side[0..4],
        ["ACCOUNT  n1  n2  n3", "A         7  10   -  differs", "Ann       3   -   -  differs", "B        10  10   -",]
    );
    assert_eq!(
        side_by_side[12..],
        [
            "n3 is down: connection refused",
            "2 differ: a node may not have executed everything yet; ask again, or see `status`",
        ]
    );
    let mut json =
        |line: &str| -> serde_json::Value { serde_json::from_str(&JSON.answer(&answer(&mut fake, line))).unwrap() };
    assert_eq!(json("balance Ann")["balance"], 3);
    assert_eq!(json("transfer A B 100")["outcome"], "insufficient balance");
    assert_eq!(json("receipt 1")["to"], "Ann");
    assert_eq!(json("db bank n1")["nodes"][0]["accounts"][1]["account"], "Ann");
}

#[test]
fn the_stage() {
    let failed = Answer::Failed { name: NodeName("n1".to_owned()), process_id: 7 };
    assert_eq!(TEXT.answer(&failed), "n1 is killed (process 7)");
    assert_eq!(JSON.answer(&failed), r#"{"failed":"n1","process_id":7}"#);
    let back = Answer::Recovered { name: NodeName("n1".to_owned()), process_id: 8, address: Address::loopback(7101) };
    assert_eq!(TEXT.answer(&back), "n1 is back (process 8, 127.0.0.1:7101)");
}

#[test]
fn long_values_are_cut_in_tables_only() {
    let long = "x".repeat(1000);
    let mut fake = Fake::with(&[("k", long.as_bytes())]);
    assert_eq!(TEXT.answer(&answer(&mut fake, "get k")), long);
    assert!(TEXT.answer(&answer(&mut fake, "scan")).lines().all(|line| line.chars().count() < 80));
}

#[test]
fn nothing_to_show_is_said() {
    let mut fake = Fake::default();
    assert_eq!(TEXT.answer(&answer(&mut fake, "scan")), "(none)");
    assert_eq!(TEXT.answer(&answer(&mut fake, "db n1")), "(none)");
    fake.silent = true;
    let silence = answer(&mut fake, "log n1");
    assert_eq!(TEXT.answer(&silence), "n1 is down: connection refused");
    assert_eq!(silence.exit_code(), 1);
}

#[test]
fn a_node_that_answers_but_cannot_say_is_not_called_down() {
    let mut fake = Fake { founding: true, ..Fake::default() };
    for line in ["log", "view"] {
        let shown = TEXT.answer(&answer(&mut fake, line));
        assert!(shown.contains("n2 cannot say: waits to meet n3"), "{shown}");
        assert!(!shown.contains("n2 is down") && shown.contains("n3 is down"), "{shown}");
    }
}

#[test]
fn numbers_are_grouped_by_thousands() {
    let shown: Vec<String> = [0, 12, 999, 1_000, 1_234_567].into_iter().map(grouped).collect();
    assert_eq!(shown, ["0", "12", "999", "1,000", "1,234,567"]);
}
