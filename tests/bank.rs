//! The bank as its users meet it: files of transfers, and commands at a prompt.

mod program;

use std::path::Path;

use program::Home;
use serde_json::Value;

/// A file of `examples/bank`.
fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bank").join(name);
    file.to_str().expect("UTF-8").to_owned()
}

/// Without times, and without what elections decide.
fn without_chance(report: &Value) -> Value {
    let by_chance = ["place", "failed", "leaders", "leader_changes", "seconds", "per_second", "latency_ms"];
    match report {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !by_chance.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_chance(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_chance).collect(),
        other => other.clone(),
    }
}

/// Plays a file, which comes to what stands beside it.
fn comes_to_what_is_expected(name: &str, code: i32) -> Value {
    let home = Home::new();
    let ran = home.run(&["bank", "run", &example(&format!("{name}.csv")), "--json"]);
    let report = ran.objects().remove(0);
    let expected = std::fs::read_to_string(example(&format!("{name}.json"))).expect("it is there");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    assert_eq!(without_chance(&report), expected, "{report:#}");
    assert_eq!(report["exit"], code);
    report
}

#[test]
fn transfers_are_done_or_refused_in_the_order_of_the_file() {
    comes_to_what_is_expected("one_set", 0);
}

#[test]
fn leaders_fail_and_nodes_come_and_go_and_the_books_are_right() {
    let report = comes_to_what_is_expected("everything", 0);
    assert_eq!(report["sets"][0]["failed"].as_array().map(Vec::len), Some(1), "{report:#}");
    assert!(report["sets"][0]["leader_changes"].as_u64() >= Some(1), "{report:#}");
}

#[test]
fn what_too_few_nodes_cannot_settle_waits_for_more_and_is_told_if_they_never_come() {
    comes_to_what_is_expected("pending", 3);
}

#[test]
fn a_file_with_mistakes_runs_nothing_and_names_every_row() {
    let home = Home::new();
    let wrong = "a,b,c\n1,\"(A, B)\",\"[n1]\"\n,\"(A, B, x)\",\n";
    std::fs::write(home.path("wrong.csv"), wrong).expect("written");
    let told = |words: &[&str]| {
        let ran = home.run(&[&["bank", "run"], words].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        ran.errors
    };
    for flags in [&["wrong.csv", "--check"][..], &["wrong.csv"]] {
        let said = told(flags);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "a line for each row: {said}");
        assert_eq!(lines[0], "error: wrong.csv: nothing is run, because of");
        assert!(lines[1].starts_with("  line 2: `(A, B)` is not a transaction"), "{said}");
        assert!(lines[2].starts_with("  line 3: in `(A, B, x)`: `x` is not an amount"), "{said}");
    }
    std::fs::write(home.path("strange.csv"), "a,b,c\n1,\"(A, X, 1)\",\"[n1, n4]\"\n").expect("written");
    let said = told(&["strange.csv", "--nodes", "3"]);
    assert!(said.contains("line 2: there is no node n4") && said.contains("line 2: there is no account X"), "{said}");
    home.run(&["bank", "run", "nowhere.csv"]).failed(2, "nowhere.csv cannot be read");
    let checked = home.run(&["bank", "run", &example("one_set.csv"), "--check"]).done();
    assert_eq!(checked, "nothing is wrong: 1 set, 11 transfers\n");
}

#[test]
fn accounts_are_opened_and_transfers_told_at_a_prompt_by_our_names_and_the_old_ones() {
    let home = Home::new();
    let script = "open ann\ntransfer A ann 4 --id 7\ntransfer A ann 4 --id 7\ntransaction A ann B 1\nfailLeader\n\
                  balance ann\nreceipt 7\nhistory ann\nPrintDB\nPrintStatus(2)\nPrintView()\nresetDB\nbalance A\n";
    let ran = home.run_with(&["demo", "--json", "--deadline", "20"], script);
    let said = ran.objects();
    let [opened, first, again, back, failed, balance, receipt, history, database, slot, view, reset, afresh] =
        &said[..]
    else {
        panic!("{said:#?}")
    };
    assert_eq!(opened["opened"][0]["new"], true);
    assert_eq!((&first["done"], &first["again"]), (&true.into(), &false.into()));
    assert_eq!((&again["done"], &again["again"], &again["place"]), (&true.into(), &true.into(), &first["place"]));
    assert_eq!(back["outcome"], "done");
    assert!(failed["failed"].is_string(), "{failed}");
    assert_eq!(balance["balance"], 3, "it was done once, and outlives the leader");
    assert_eq!((&receipt["amount"], &receipt["to"]), (&4.into(), &"ann".into()));
    assert_eq!(history["transfers"].as_array().map(Vec::len), Some(2));
    let accounts = |node: &Value| node["accounts"].as_array().map(Vec::len);
    let nodes = database["nodes"].as_array().expect("all of them");
    assert_eq!(nodes.iter().filter(|node| accounts(node) == Some(11)).count(), 2, "{database:#}");
    assert_eq!(slot["slot"], 2);
    assert!(view["nodes"].is_array());
    assert_eq!(reset["reset"], "bank");
    assert_eq!(afresh["balance"], 10);
}
