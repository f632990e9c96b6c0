//! `synod demo` as a user has it: real processes, killed and started again, and nothing lost.

mod program;

use program::{Conversation, Home, wait_until_let_go};

#[test]
fn a_leader_is_killed_and_nothing_is_lost() {
    let home = Home::new();
    let script = ["put colour blue", "propose hello", "fail leader", "get colour", "leader", "append colour ' green'"];
    let words = script.iter().flat_map(|line| ["-e", line]);
    let out = home.run(&["demo"].into_iter().chain(words).collect::<Vec<_>>()).done();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), script.len(), "{out}");
    assert!(lines[0].starts_with("done at "), "{out}");
    assert!(lines[1].starts_with("chosen at ") && lines[1].contains(" in ballot "), "{out}");
    assert!(lines[2].contains(" is killed (process "), "{out}");
    assert_eq!(lines[3], "blue");
    assert!(lines[4].contains(" leads in ballot "), "{out}");
    assert_ne!(lines[4].split(' ').next(), lines[2].split(' ').next(), "the dead do not lead: {out}");
    assert_eq!(lines[5], "blue green");
}

#[test]
fn a_script_on_standard_input_is_answered_with_one_object_a_line_and_the_worst_exit_code() {
    let home = Home::new();
    let script = "put k v\n\n# a comment\nget k\nget none\ncas k w x\nfrobnicate\nstatus n9\nlog\n";
    let ran = home.run_with(&["demo", "--json"], script);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let objects = ran.objects();
    assert_eq!(objects.len(), 7, "{ran:?}");
    assert_eq!(objects[1]["value"], "v");
    assert!(objects[2]["value"].is_null());
    assert_eq!(objects[3]["swapped"], false);
    assert_eq!((&objects[4]["exit"], &objects[5]["exit"]), (&2.into(), &2.into()));
    let nodes = objects[6]["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 3);
    let stopped = home.run_with(&["demo", "--stop-on-error"], "cas k w x\nput k v\n");
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(1), "not swapped: the value is (none)\n"), "{stopped:?}");
}

#[test]
fn a_demo_of_five_bears_two_failures_and_is_continued_with_everything_there() {
    let home = Home::new();
    let demo = ["demo", "--data", "five"];
    let first = [&demo[..], &["--nodes", "5", "-e", "put k v", "-e", "fail n1", "-e", "fail leader", "-e", "put k2 w"]];
    let out = home.run(&first.concat()).done();
    assert_eq!(out.lines().filter(|line| line.contains("is killed")).count(), 2, "{out}");
    let out = home.run(&[&demo[..], &["-e", "get k", "-e", "get k2", "-e", "put k3 x"]].concat()).done();
    assert!(out.starts_with("v\nw\ndone at "), "{out}");
    // A port of the last time is taken: another is found.
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.path("five/demo.json")).expect("a record")).expect("JSON");
    let port = record["nodes"][2]["port"].as_u64().expect("a port");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", u16::try_from(port).expect("a port")));
    let ran = home.run(&[&demo[..], &["--json", "-e", "scan", "-e", "nodes"]].concat());
    let objects = ran.objects();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let pairs = objects[0]["pairs"].as_array().expect("pairs");
    assert_eq!(pairs.iter().map(|pair| pair["value"].as_str()).collect::<Vec<_>>(), [Some("v"), Some("w"), Some("x")]);
    let nodes = objects[1]["nodes"].as_array().expect("nodes");
    assert!(nodes.iter().all(|node| node["state"].is_string()), "{nodes:?}");
    assert_ne!(nodes[2]["address"], format!("127.0.0.1:{port}"));
    home.run(&[&demo[..], &["--nodes", "3", "-e", "nodes"]].concat()).failed(2, "holds a demo of 5 nodes");
}

#[test]
fn a_recovered_node_has_everything_and_is_found_wherever_it_listens() {
    let home = Home::new();
    let mut demo = Conversation::begin(&home, &["demo", "--json"]);
    demo.ask("put k v");
    let killed = demo.ask("fail leader")["failed"].as_str().expect("a name").to_owned();
    let before = demo.ask("nodes");
    let row = |nodes: &serde_json::Value| {
        let rows = nodes["nodes"].as_array().expect("rows").clone();
        rows.into_iter().find(|row| row["node"] == killed.as_str()).expect("the killed node is a row")
    };
    assert!(row(&before)["state"].is_null() && row(&before)["error"].is_string(), "{before}");
    let address = row(&before)["address"].as_str().expect("the last address that is known").to_owned();
    let _taken = std::net::TcpListener::bind(address);
    demo.ask("put k w");
    let back = demo.ask(&format!("recover {killed}"));
    let nodes = demo.ask("nodes");
    assert_eq!(row(&nodes)["address"], back["address"], "{nodes}");
    assert!(row(&nodes)["state"].is_string(), "{nodes}");
    assert!(demo.ask(&format!("recover {killed}"))["error"].as_str().expect("refused").contains("nothing to recover"));
    assert!(demo.ask("fail n9")["error"].as_str().expect("refused").contains("the nodes are n1, n2, n3"));
    demo.ask(&format!("propose @{killed} hello"));
    let caught_up = program::until(|| demo.ask(&format!("get k --local {killed}")), |answer| answer["value"] == "w");
    assert!(caught_up["error"].is_null());
    assert_eq!(demo.end(), Some(2), "the worst: there is no n9");
}

#[test]
fn the_nodes_end_with_the_demo_also_when_it_is_killed() {
    let home = Home::new();
    let mut demo = Conversation::begin(&home, &["demo", "--json", "--data", "kept"]);
    demo.ask("put k v");
    demo.child.kill().expect("it can be killed");
    demo.child.wait().expect("it ends");
    for name in ["n1", "n2", "n3"] {
        wait_until_let_go(&home.path("kept").join(name));
    }
    assert_eq!(home.run(&["demo", "--data", "kept", "-e", "get k"]).done(), "v\n");
}

#[test]
fn what_a_killed_demo_leaves_behind_the_next_one_removes() {
    let home = Home::new();
    let temporary = home.path("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    let folders = || -> Vec<std::path::PathBuf> {
        std::fs::read_dir(&temporary).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut command = home.synod(&["demo", "--json"]);
    let mut killed = Conversation::with(command.env("TMPDIR", &temporary));
    killed.ask("put k v");
    let left = folders();
    assert_eq!(left.len(), 1, "{left:?}");
    let mut command = home.synod(&["demo", "--json"]);
    let mut second = Conversation::with(command.env("TMPDIR", &temporary));
    second.ask("put k v");
    assert_eq!(folders().len(), 2, "one that lives is left alone");
    killed.child.kill().expect("it can be killed");
    killed.child.wait().expect("it ends");
    for name in ["n1", "n2", "n3"] {
        wait_until_let_go(&left[0].join(name));
    }
    let mut command = home.synod(&["demo", "-e", "nodes"]);
    assert!(command.env("TMPDIR", &temporary).output().expect("the program runs").status.success());
    assert!(!left[0].exists(), "its nodes have ended, and nobody holds it");
    assert_eq!(folders().len(), 1, "the second lives");
    assert_eq!(second.end(), Some(0));
    assert_eq!(folders(), [""; 0].map(std::path::PathBuf::from));
}
