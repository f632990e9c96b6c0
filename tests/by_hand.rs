//! Nodes started one by one with `synod start`, and every command as a subcommand.

mod program;

use std::time::{Duration, Instant};

use program::{Home, NodeProcess, Ran, until};

/// Three nodes that know one another's names only, introduced by `connect`.
struct Three {
    home: Home,
    nodes: Vec<NodeProcess>,
}

impl Three {
    fn start() -> Three {
        let home = Home::new();
        let nodes: Vec<_> = ["n1", "n2", "n3"]
            .map(|name| home.start(&["--name", name, "--listen", "127.0.0.1:0", "--voters", "n1,n2,n3"]))
            .into();
        let three = Three { home, nodes };
        for (name, node) in ["n2", "n3"].iter().zip(&three.nodes[1..]) {
            let out = three.run(&["connect", &format!("{name}@{}", node.address)]).done();
            assert_eq!(out, format!("connected to {name} at {}\n", node.address));
        }
        three
    }

    /// A command, given to the first node.
    fn run(&self, words: &[&str]) -> Ran {
        let connect = ["--connect", &self.nodes[0].address, "--deadline", "20"];
        let (command, rest) = words.split_first().expect("a command");
        self.home.run(&[&[*command], &connect[..], rest].concat())
    }
}

#[test]
fn every_command_works_as_a_subcommand() {
    let three = Three::start();
    let done = |words: &[&str]| three.run(words).done();
    assert!(done(&["leader"]).contains(" leads in ballot "));
    let chosen = done(&["propose", "@n2", "hello there"]);
    let place = chosen.strip_prefix("chosen at ").and_then(|rest| rest.split(' ').next()).expect("a place").to_owned();
    assert!(done(&["chosen", &place]).starts_with(&format!("{place}: s")));
    assert!(done(&["chosen", &place]).ends_with(" propose 'hello there'\n"));
    assert_eq!(done(&["chosen", "9999"]), "slot 9999 is not known to be chosen\n");
    assert_eq!(done(&["paxos", "captain", "alice"]), "alice\n");
    assert_eq!(done(&["paxos", "captain", "bob"]), "alice\n");
    assert!(done(&["put", "k", "v"]).starts_with("done at "));
    assert_eq!(done(&["get", "k"]), "v\n");
    assert_eq!(done(&["append", "k", "w"]), "vw\n");
    assert_eq!(done(&["cas", "k", "vw", "x"]), "swapped\n");
    assert_eq!(done(&["cas", "new", "--absent", "y"]), "swapped\n");
    assert_eq!(three.run(&["cas", "k", "v", "z"]).code, Some(1));
    assert_eq!(done(&["scan"]), "KEY  VALUE\nk    x\nnew  y\n");
    assert_eq!(done(&["delete", "new"]), "deleted\n");
    assert_eq!(done(&["delete", "new"]), "(none)\n");
    until(|| done(&["get", "k", "--local", "n3"]), |value| value == "x\n");
    until(|| done(&["db"]), |db| db.contains("k    x   x   x\n"));
    let slot = place.split('.').next().expect("a slot");
    let states = until(|| done(&["slot", slot]), |states| states.matches(" Executed ").count() == 3);
    assert_eq!(states.matches("propose 'hello there'").count(), 3, "{states}");
    assert!(done(&["slot", "9999", "n1"]).contains("n1    Empty"));
    let log = done(&["log", "n1"]);
    for shown in ["put k v", "append k w", "cas k vw x", "cas new --absent y", "delete new", "paxos captain alice"] {
        assert!(log.contains(shown), "{shown} is missing in:\n{log}");
    }
    assert!(done(&["view"]).starts_with("BALLOT"));
    assert!(done(&["status"]).contains("\ndigest "));
    assert_eq!(done(&["nodes"]).matches(" yes ").count(), 3);
    three.run(&["status", "n9"]).failed(2, "n9");
    three.run(&["get", "k", "--local", "n9"]).failed(2, "n9");
    three.run(&["propose", "@n9", "x"]).failed(2, "n9");
}

#[test]
fn a_minority_says_so_within_the_deadline_and_a_majority_serves_again() {
    let mut three = Three::start();
    three.run(&["put", "k", "v"]).done();
    until(|| three.run(&["get", "k", "--local", "n1"]).done(), |value| value == "v\n");
    let address = three.nodes[2].address.clone();
    for node in &mut three.nodes[1..] {
        node.kill();
    }
    let began = Instant::now();
    let connect = ["--connect", &three.nodes[0].address, "--deadline", "1.5"];
    let put = three.home.run(&[&["put", "k", "w"], &connect[..]].concat());
    match put.code {
        Some(1) => put.failed(1, "not done: "),
        _ => put.failed(3, "outcome unknown: "),
    };
    three.home.run(&[&["get", "k"], &connect[..]].concat()).failed(1, "not done: ");
    let asked = Instant::now();
    let leader = three.home.run(&["leader", "--connect", &three.nodes[0].address, "--deadline", "60"]);
    assert_eq!(leader.code, Some(1), "{leader:?}");
    for said in ["nobody leads: n1 answers; ", "n2 is down: ", "n3 is down: ", "; it takes 2 of 3\n"] {
        assert!(leader.out.contains(said), "`{said}` is not in {leader:?}");
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "it did not wait for its deadline of 60 s");
    assert!(began.elapsed() < Duration::from_secs(15), "three deadlines of 1.5 s took {:?}", began.elapsed());
    assert_eq!(three.home.run(&[&["get", "k", "--local"], &connect[..]].concat()).done(), "v\n");
    let nodes = three.run(&["nodes"]).done();
    assert_eq!(nodes.matches("  down: ").count(), 2, "{nodes}");
    three.nodes[2] = three.home.start(&["--name", "n3", "--listen", &address]);
    three.run(&["put", "k", "x"]).done();
    assert_eq!(three.run(&["get", "k"]).done(), "x\n");
    // Of several addresses one that answers is enough.
    let both = format!("{},{}", three.nodes[1].address, three.nodes[2].address);
    let ran = three.home.run_with(&["repl", "--connect", &both, "--deadline", "20"], "get k\nleader\n");
    assert!(ran.done().starts_with("x\n"));
}

#[test]
fn what_cannot_be_done_is_one_line_that_names_the_thing_and_nothing_is_lost() {
    let home = Home::new();
    let alone = ["--name", "n1", "--alone", "--data", "n1"];
    let mut node = home.start(&[&alone[..], &["--listen", "127.0.0.1:0"]].concat());
    let address = node.address.clone();
    let connect = ["--connect", address.as_str(), "--deadline", "20"];
    let run = |words: &[&str]| home.run(&[words, &connect].concat());
    run(&["put", "k", "v"]).done();
    let second = |words: &[&str]| home.run(&[&["start"], words].concat());
    second(&[&alone[..], &["--listen", "127.0.0.1:0"]].concat()).failed(1, "n1");
    let taken = ["--name", "n2", "--alone", "--data", "n2", "--listen", &address];
    second(&taken).failed(1, &address);
    std::fs::write(home.path("other-cookie"), "another secret").expect("a file");
    #[cfg(unix)]
    std::fs::set_permissions(home.path("other-cookie"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    run(&["get", "k", "--cookie-file", "other-cookie"]).failed(1, "the cookies differ");
    run(&["get", "k", "--cluster", "another"]).failed(1, "another");
    let script = format!("put k {}\nput {} v\nget k\n", "x".repeat(1_100_000), "k".repeat(5000));
    let ran = home.run_with(&[&["repl"], &connect[..]].concat(), &script);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "v\n"), "{}", ran.errors);
    assert!(ran.errors.contains("the value has 1100000 bytes, the limit is 1048576"), "{}", ran.errors);
    assert_eq!(ran.errors.lines().count(), 2, "{}", ran.errors);
    let at_limit = format!("put big {}\nlog --json\nlog\n", "x".repeat(1 << 20));
    let ran = home.run_with(&[&["repl"], &connect[..]].concat(), &at_limit);
    assert!(ran.out.contains("put big xxxx") && ran.out.contains("… (1048576 bytes)"), "{}", ran.out);
    node.kill();
    std::fs::create_dir(home.path("thesis")).expect("a folder");
    std::fs::write(home.path("thesis/chapter-1"), "Call me Ishmael.").expect("a file");
    let not_ours = ["--name", "n1", "--alone", "--data", "thesis", "--listen", "127.0.0.1:0"];
    second(&not_ours).failed(1, "thesis");
    let node = home.start(&["--name", "n1", "--data", "n1", "--listen", "127.0.0.1:0"]);
    let connect = ["--connect", node.address.as_str(), "--deadline", "20"];
    assert_eq!(home.run(&[&["get", "k"], &connect[..]].concat()).done(), "v\n");
}

#[test]
fn a_damaged_journal_is_named_and_the_node_stays_up_without_a_vote() {
    let home = Home::new();
    let words = ["--name", "n1", "--alone", "--data", "n1", "--listen", "127.0.0.1:0"];
    let mut node = home.start(&words);
    let script: String = (1..=50).map(|number| format!("put k{number} value\n")).collect();
    home.run_with(&["repl", "--connect", &node.address, "--deadline", "20"], &script).done();
    node.kill();
    let journal = std::fs::read_dir(home.path("n1")).expect("a folder").map(|entry| entry.expect("a file").path());
    let journal = journal.filter(|path| path.to_string_lossy().contains("journal")).min().expect("a journal");
    let mut bytes = std::fs::read(&journal).expect("a journal");
    let at = bytes.windows(5).position(|window| window == b"value").expect("a value");
    bytes[at] ^= 0x40;
    std::fs::write(&journal, bytes).expect("a journal");
    let node = home.start(&words);
    let connect = ["--connect", node.address.as_str(), "--deadline", "1"];
    let status = home.run(&[&["status"], &connect[..]].concat()).done();
    let name = journal.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(status.contains("n1 does not vote: ") && status.contains(&name), "{status}");
    let connect = ["--connect", node.address.as_str(), "--deadline", "300"];
    for words in [&["put", "k", "v"][..], &["get", "k1"], &["get", "k1", "--local"]] {
        home.run(&[words, &connect[..]].concat()).failed(1, &name);
    }
    home.run(&[&["connect", "n2@127.0.0.1:9"], &connect[..]].concat()).failed(1, "n1 cannot use its journal");
    node.says(&name);
}

#[test]
fn a_nodes_own_terminal_tells_of_the_founding_and_of_leaders_and_of_little_else() {
    let home = Home::new();
    let start = |name: &str| home.start(&["--name", name, "--listen", "127.0.0.1:0", "--voters", "n1,n2"]);
    let (n1, n2) = (start("n1"), start("n2"));
    assert_eq!(n1.says("waits"), ["n1: waits for founders: n2"]);
    let connect = ["--connect", n1.address.as_str(), "--deadline", "20"];
    home.run(&[&["connect", &format!("n2@{}", n2.address)], &connect[..]].concat()).done();
    let leader = home.run(&[&["leader"], &connect[..]].concat()).done();
    let mut said = n1.says(" in ballot ");
    assert!(said[0].starts_with("n1: founded cluster ") && said[0].ends_with(" of n1, n2"), "{said:?}");
    let ballot = leader.trim_end().split_once(" leads ").expect("who leads").1;
    while !said.iter().any(|line| line.ends_with(ballot)) {
        said.extend(n1.says(""));
    }
    home.run(&[&["put", "k", "v"], &connect[..]].concat()).done();
    said.extend(n1.has_said());
    assert!(said[1..].iter().all(|line| line.contains(" lead")), "nothing else is news: {said:#?}");
}

#[test]
fn a_command_to_a_node_that_cannot_serve_is_answered_at_once_with_the_reason() {
    let home = Home::new();
    let began = Instant::now();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--voters", "n1,n2,n3"]);
    let connect = ["--connect", node.address.as_str(), "--deadline", "300"];
    let run = |words: &[&str]| home.run(&[words, &connect[..]].concat());
    let why = "n1 is founding: waits to meet the other founders once: n2, n3 (no address is known: `connect";
    for words in [&["put", "k", "v"][..], &["get", "k"], &["scan"], &["get", "k", "--local", "n1"], &["propose", "x"]] {
        run(words).failed(1, why);
    }
    assert!(run(&["leader"]).out.contains("n1 does not vote: waits to meet the other founders"), "why nobody leads");
    let script =
        home.run_with(&["repl", "--connect", &node.address, "--deadline", "300"], "# first\n\nput k v\nfrob\n");
    let errors: Vec<&str> = script.errors.lines().collect();
    assert!(errors[0].starts_with("error: line 3: not done: n1 is founding"), "{script:?}");
    assert!(errors[1].starts_with("error: line 4: there is no command 'frob'"), "{script:?}");
    assert!(began.elapsed() < Duration::from_secs(120), "nobody waited for a deadline of 300 s");
}

#[test]
fn a_wiped_folder_says_that_the_others_refuse_it_and_what_can_be_done() {
    let mut three = Three::start();
    three.run(&["put", "k", "v"]).done();
    let address = three.nodes[2].address.clone();
    three.nodes[2].kill();
    std::fs::rename(three.home.path("n3.data"), three.home.path("n3.old")).expect("a folder");
    let first = format!("n1={}", three.nodes[0].address);
    let second = format!("n2={}", three.nodes[1].address);
    let words = ["--name", "n3", "--listen", &address, "--peer", &first, "--peer", &second];
    three.nodes[2] = three.home.start(&words);
    let why = "`n3` came with another data folder than the cluster knows";
    let status = || three.home.run(&["status", "n3", "--connect", &address, "--deadline", "20"]).done();
    let status = until(status, |status| status.matches(why).count() > 1);
    assert!(status.contains("n3 does not vote: waits to meet the other founders once: "), "{status}");
    assert!(status.contains("`synod member replace n3=HOST:PORT`"), "{status}");
    three.nodes[2].says(why);
    three.nodes[0].says(why);
    three.nodes[2].kill();
    std::fs::remove_dir_all(three.home.path("n3.data")).expect("a folder");
    std::fs::rename(three.home.path("n3.old"), three.home.path("n3.data")).expect("a folder");
    three.nodes[2] = three.home.start(&["--name", "n3", "--listen", &address]);
    until(|| three.run(&["get", "k", "--local", "n3"]), |ran| ran.out == "v\n");
}

#[test]
fn a_wiped_folder_that_knows_no_address_says_that_it_is_refused_and_what_can_be_done() {
    let mut three = Three::start();
    three.run(&["put", "k", "v"]).done();
    let address = three.nodes[2].address.clone();
    let said = "n1, n2 (a node that dialled this one refused it: `n3` came with another data folder than the cluster";
    for (flags, said) in [(&["--voters", "n1,n2,n3"][..], said), (&["--join"], &said["n1, n2 (".len()..])] {
        three.nodes[2].kill();
        std::fs::remove_dir_all(three.home.path("n3.data")).expect("a folder");
        three.nodes[2] = three.home.start(&[&["--name", "n3", "--listen", &address], flags].concat());
        let status = || three.home.run(&["status", "n3", "--connect", &address, "--deadline", "20"]).done();
        let status = until(status, |status| status.contains(said));
        assert!(status.contains("`synod member replace n3=HOST:PORT`"), "{status}");
        three.nodes[2].says("`n3` came with another data folder than the cluster knows");
    }
    three.run(&["member", "replace", &format!("n3={address}"), "--wait"]).done();
    until(|| three.home.run(&["get", "k", "--local", "--connect", &address]), |ran| ran.out == "v\n");
}

/// Nothing tells it from a new cluster, but the others know it.
#[test]
fn a_wiped_founder_that_founds_again_is_refused_and_told_how_to_come_back() {
    let home = Home::new();
    let alone = ["--name", "n1", "--alone", "--listen"];
    let mut first = home.start(&[&alone[..], &["127.0.0.1:0"]].concat());
    let address = first.address.clone();
    let others = ["n2", "n3"].map(|name| {
        let node = home.start(&["--name", name, "--listen", "127.0.0.1:0", "--join", &address]);
        let list = || home.run(&["member", "list", "--connect", &address]).out;
        until(list, |list| list.lines().any(|line| line.starts_with(name) && line.contains(" votes ")));
        node
    });
    home.run(&["put", "k", "v", "--connect", &address]).done();
    first.kill();
    std::fs::remove_dir_all(home.path("n1.data")).expect("a folder");
    first = home.start(&[&alone[..], &[&address]].concat());
    first.says("must not found again: start it with an empty --data folder and --join");
    others[0].says("must not found again: start it with an empty --data folder and --join");
    first.kill();
    std::fs::remove_dir_all(home.path("n1.data")).expect("a folder");
    let _first = home.start(&["--name", "n1", "--listen", &address, "--join"]);
    let connect = ["--connect", &others[0].address, "--deadline", "20"];
    home.run(&[&["member", "replace", &format!("n1={address}"), "--wait"][..], &connect].concat()).done();
    until(|| home.run(&["get", "k", "--local", "--connect", &address]), |ran| ran.out == "v\n");
}

#[test]
fn a_node_whose_disk_is_full_stops_with_the_reason_and_the_others_go_on() {
    let three = Three::start();
    three.run(&["put", "k", "v"]).done();
    let first = three.nodes[0].address.clone();
    let words = ["start", "--name", "n4", "--listen", "127.0.0.1:0", "--data", "small/n4", "--join", &first];
    let Some(start) = three.home.synod_on_small_disk("small", "exec \"$0\" \"$@\"", &words) else { return };
    let mut fourth = three.home.start_by(start);
    let votes = |list: &String| list.lines().any(|line| line.starts_with("n4 ") && line.contains(" votes "));
    until(|| three.run(&["member", "list"]).done(), votes);
    let value = "x".repeat(1 << 19);
    let script: String = (0..16).map(|key| format!("put large{key:02} {value}\n")).collect();
    three.home.run_with(&["repl", "--connect", &first, "--deadline", "20"], &script).done();
    let (code, said) = fourth.ends();
    let last = said.last().map_or("", String::as_str);
    let is_told = last.starts_with("error: the node stopped: cannot write `small/n4/")
        && last.ends_with(
            "`: No space left on device; make room on that disk, and start the node again: nothing that it has \
             acknowledged is lost",
        );
    assert!(code == Some(1) && is_told, "{code:?} {said:#?}");
    assert_eq!(three.run(&["get", "k"]).done(), "v\n");
}

#[test]
fn a_node_says_where_it_listens_and_what_it_advertises() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--alone", "--listen", "127.0.0.1:0", "--advertise", "localhost:1"]);
    let said = format!("n1 listening on {}, advertised as localhost:1 (process {})", node.address, node.child.id());
    assert_eq!(node.ready, said);
    home.run(&["put", "k", "v", "--connect", &node.address, "--deadline", "20"]).done();
}
