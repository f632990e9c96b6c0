//! `synod bench` as a user has it: real processes, real sockets, and a history that a checker accepts.

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::Stdio;

use program::{Conversation, Home, wait_until_let_go};
use serde_json::Value;
use synod::paxos::Bytes;
use synod::sim::check::linearizable::{Verdict, check};
use synod::sim::history::{Call, Fate, Operation, Told};

/// Short, and small.
const BRIEF: [&str; 11] =
    ["bench", "--warmup", "0", "--duration", "0.3", "--clients", "8", "--keys", "20", "--value-size", "64"];

fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    BRIEF.iter().chain(words).copied().collect()
}

/// The one object that a run prints which did all that it began.
#[track_caller]
fn object(home: &Home, words: &[&str]) -> Value {
    let out = home.run(&[&with(words)[..], &["--json"]].concat()).done();
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).expect(&out)
}

fn lines(home: &Home, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path(file)).expect("a history");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// As the checker of the simulation takes it. Times are rounded apart, so that nothing seems to precede what it did not.
fn history(lines: &[Value]) -> Vec<Operation> {
    let mut keys = BTreeMap::new();
    let operation = |line: &Value| {
        let count = keys.len() as u32;
        let key = *keys.entry(line["key"].as_str().expect("a key").to_owned()).or_insert(count);
        let word = || line["value"].as_str().map(Bytes::from);
        let (call, told) = match line["op"].as_str().expect("an operation") {
            "put" => (Call::Put(word().expect("what is written")), Told::Done),
            "get" => (Call::Get, Told::Value(word())),
            other => panic!("{other}"),
        };
        let fate = match line["outcome"].as_str().expect("an outcome") {
            "done" => Fate::Done(line["return_ns"].as_u64().expect("a time").div_ceil(1000), told),
            "not done" => Fate::NotDone,
            "unknown" => Fate::Unknown,
            other => panic!("{other}"),
        };
        let invoked_us = line["invoke_ns"].as_u64().expect("a time") / 1000;
        let client = line["client"].as_u64().expect("a number") as u32;
        Operation { client, key, call, invoked_us, fate, place: None }
    };
    lines.iter().map(operation).collect()
}

#[test]
fn every_mode_is_measured_on_nodes_of_its_own() {
    let home = Home::new();
    for (mode, kinds) in [("write", &["write"][..]), ("read", &["read"]), ("local-read", &["read"])] {
        let object = object(&home, &["--mode", mode, "--in-flight", "2"]);
        assert_eq!((&object["mode"], &object["in_flight"], &object["exit"]), (&mode.into(), &2.into(), &0.into()));
        let operations = object["operations"].as_object().expect("kinds");
        assert_eq!(operations.keys().collect::<Vec<_>>(), kinds, "{object}");
        for kind in operations.values() {
            let us = |name: &str| kind["latency_us"][name].as_f64().unwrap_or_else(|| panic!("{name}: {object}"));
            assert!(kind["done"].as_u64() > Some(0) && us("p50") > 0.0, "{object}");
            let ascending = ["p50", "p90", "p99", "p99_9", "max"].map(us);
            assert!(ascending.is_sorted(), "{object}");
        }
        assert!(object["throughput_per_second"].as_f64() > Some(0.0), "{object}");
        assert!(object["clients_cpu_seconds_per_million"].as_f64() > Some(0.0), "{object}");
        let nodes = object["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.iter().map(|node| &node["node"]).collect::<Vec<_>>(), ["n1", "n2", "n3"], "{object}");
        for node in nodes {
            assert!(node["cpu_seconds_per_million"].as_f64() > Some(0.0), "{object}");
            if mode == "write" {
                assert!(node["syncs"].as_u64() > Some(0) && node["commands_per_sync"].is_f64(), "{object}");
            }
        }
    }
}

#[test]
fn a_history_of_writes_and_reads_is_linearizable() {
    let home = Home::new();
    let object = object(&home, &["--mode", "mixed", "--in-flight", "2", "--history", "h.jsonl"]);
    let lines = lines(&home, "h.jsonl");
    let done = ["write", "read"].map(|kind| object["operations"][kind]["done"].as_u64().expect("a count"));
    assert!(done.iter().all(|done| *done > 0) && lines.len() as u64 >= done[0] + done[1] + 20, "{object}");
    let words: Vec<&str> =
        lines.iter().filter(|line| line["op"] == "put").filter_map(|line| line["value"].as_str()).collect();
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "no two writes write the same");
    let mut history = history(&lines);
    assert_eq!(check(&history), Verdict::Linearizable);
    // And it says something: a read that saw what nobody had written yet.
    let read = history.iter_mut().find(|operation| operation.call.is_read()).expect("a read");
    if let Fate::Done(_, told) = &mut read.fate {
        *told = Told::Value(Some("never written".into()));
    }
    assert!(matches!(check(&history), Verdict::Broken { .. }));
}

#[test]
fn a_running_cluster_bears_the_load_and_keeps_what_was_written() {
    let home = Home::new();
    let mut demo = Conversation::begin(&home, &["demo", "--json", "--data", "kept"]);
    let nodes = demo.ask("nodes")["nodes"].clone();
    let addresses: Vec<&str> =
        nodes.as_array().expect("nodes").iter().map(|node| node["address"].as_str().expect("an address")).collect();
    let connect = addresses.join(",");
    let there = ["--connect", &connect, "--cookie-file", "kept/cookie"];
    let object = object(&home, &[&there[..], &["--mode", "mixed", "--rate", "300"]].concat());
    // All of the schedule, up to what a machine that stalls had no time for in the last moment.
    let counted = |field: &Value| field.as_u64().expect("a count");
    let done: u64 = ["write", "read"].iter().map(|kind| counted(&object["operations"][kind]["done"])).sum();
    assert!(done + counted(&object["never_begun"]) <= 90 && done > 0, "{object}");
    assert_eq!((&object["rate"], object["nodes"].as_array().map(Vec::len)), (&300.into(), Some(3)));
    assert_eq!(demo.ask("get bench-7")["value"].as_str().map(str::len), Some(64));
    demo.ask("fail leader");
    let text = home.run(&with(&[&there[..], &["--mode", "read"]].concat())).done();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("read: 8 clients x 1 under way, values of 64 bytes, 20 keys; 0.3 s"), "{text}");
    assert!(lines[2].starts_with("OPERATION ") && lines[3].starts_with("read "), "{text}");
    assert!(text.contains("Not listed, because they did not tell what they spent"), "{text}");
    assert_eq!(demo.end(), Some(0));
}

#[test]
fn limits_are_passed_on_to_nodes_of_its_own_and_their_folder_is_kept() {
    let home = Home::new();
    let limits = ["--nodes", "1", "--data", "kept", "--window", "1", "--batch", "1"];
    let alone = object(&home, &limits);
    let counted = |field: &str| alone["nodes"][0][field].as_u64().unwrap_or_else(|| panic!("{field}: {alone}"));
    // A slot may be executed, and counted, between two looks that count it as chosen.
    assert!((2..=counted("slots") + 1).contains(&counted("commands")), "{alone}");
    assert!(alone["nodes"].as_array().is_some_and(|nodes| nodes.len() == 1), "{alone}");
    let again = home.run(&["demo", "--data", "kept", "-e", "scan bench-"]).done();
    assert!(again.lines().any(|line| line.starts_with("bench-")), "{again}");
}

#[test]
fn a_signal_ends_it_with_the_report_and_leaves_no_process() {
    let home = Home::new();
    let words = ["bench", "--duration", "3600", "--warmup", "0", "--clients", "2", "--data", "kept", "--json"];
    let words = [&words[..], &["--history", "h.jsonl"]].concat();
    let child = home.synod(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program runs");
    // The filling of 1000 keys, and beyond: it measures.
    let history = || std::fs::read_to_string(home.path("h.jsonl")).unwrap_or_default();
    program::until(history, |lines| lines.lines().count() > 1500);
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("a signal is sent").success());
    let mut out = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("it ends");
    let mut errors = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("it ends");
    assert_eq!((child.wait().expect("it ends").code(), errors.as_str()), (Some(143), ""), "{out}");
    let object: Value = serde_json::from_str(&out).expect(&out);
    assert_eq!((&object["interrupted"], &object["exit"]), (&true.into(), &143.into()));
    assert!(object["operations"]["write"]["done"].as_u64() > Some(0), "{object}");
    assert!(object["duration_seconds"].as_f64() < Some(3600.0), "{object}");
    assert!(lines(&home, "h.jsonl").len() > 1500, "the last line is whole too");
    for name in ["n1", "n2", "n3"] {
        wait_until_let_go(&home.path("kept").join(name));
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason_and_the_mend() {
    let home = Home::new();
    let refused = |words: &[&str], code, because: &str| home.run(&with(words)).failed(code, because);
    refused(&["--mode", "dance"], 2, "[possible values: write, read, local-read, mixed, transfer]");
    refused(&["--transfers", "5"], 2, "--transfers is for --mode transfer");
    home.run(&["bench", "--mode", "transfer", "--keys", "1"])
        .failed(2, "--keys 1 is one account, and a transfer needs two");
    refused(&["--mode", "transfer", "--history", "h"], 2, "--history is of keys");
    refused(&["--in-flight", "1025"], 2, "--in-flight: 1025 is not in 1..=1024");
    refused(&["--rate", "0"], 2, "--rate");
    home.run(&["bench", "--history", "h", "--value-size", "8"]).failed(2, "--value-size 8 is too small for a history");
    refused(&["--connect", "127.0.0.1:1", "--window", "1"], 2, "cannot be used with '--window <N>'");
    refused(&["--cluster", "other"], 2, "--connect");
    refused(&["--connect", "127.0.0.1"], 2, "--connect: `127.0.0.1` is not an address: the port is missing");
    refused(&["--history", "no/such/h"], 1, "the history cannot be written to no/such/h: No such file or directory");
    std::fs::write(home.path("cookie"), "open sesame").expect("a cookie");
    std::fs::set_permissions(home.path("cookie"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mine");
    let nobody = ["--connect", "127.0.0.1:1", "--cookie-file", "cookie"];
    refused(&nobody, 1, "start a node there, or name one that runs with --connect HOST:PORT");
}
