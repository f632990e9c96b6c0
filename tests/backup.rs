//! A cluster is saved in a file while it serves, and another one begins with that, by the program alone.

mod program;

use std::path::Path;

use program::{Home, NodeProcess, Ran};
use serde_json::Value;

/// Three nodes of one cluster, each its own process.
fn cluster(home: &Home) -> Vec<NodeProcess> {
    let first = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    let mut nodes = vec![first];
    for name in ["n2", "n3"] {
        let node = home.start(&["--name", name, "--listen", "127.0.0.1:0", "--join", &nodes[0].address]);
        nodes.push(node);
        // It is added and votes before the next one comes.
        program::until_done(home, &nodes[0].address, &["member", "list", "--json"], |list| votes(list, name));
    }
    nodes
}

fn votes(list: &Ran, name: &str) -> bool {
    let members: Vec<Value> = list.objects();
    members
        .iter()
        .flat_map(|object| object["members"].as_array().cloned().unwrap_or_default())
        .any(|member| member["name"] == name && member["standing"] == "votes")
}

fn on(home: &Home, node: &NodeProcess, words: &[&str]) -> Ran {
    let (command, rest) = words.split_first().expect("a command");
    let mut all = vec![*command, "--connect", &node.address];
    all.extend(rest);
    home.run(&all)
}

fn put_all(home: &Home, node: &NodeProcess, keys: std::ops::Range<u32>) {
    let script: String = keys.map(|key| format!("put key{key:04} value{key}\n")).collect();
    home.run_with(&["repl", "--connect", &node.address], &script).done();
}

#[test]
fn a_backup_of_a_cluster_that_runs_begins_another_one() {
    let home = Home::new();
    let mut nodes = cluster(&home);
    put_all(&home, &nodes[0], 0..300);
    let told = on(&home, &nodes[1], &["backup", "monday.backup", "--json"]);
    let [told] = &told.objects()[..] else { panic!("one object: {told:?}") };
    assert_eq!(told["members"], serde_json::json!(["n1", "n2", "n3"]));
    assert_eq!(told["bytes"], std::fs::metadata(home.path("monday.backup")).expect("it is there").len());
    // What is written after it is not in it.
    on(&home, &nodes[0], &["put", "key0000", "later"]).done();
    on(&home, &nodes[0], &["backup", "monday.backup"]).failed(1, "is there already, and is left as it is");
    let second = on(&home, &nodes[0], &["backup", "tuesday.backup"]).done();
    assert!(second.starts_with("tuesday.backup: the state of n1, n2, n3 at slot "), "{second}");

    let restored = home.run(&["restore", "monday.backup", "--name", "m1"]).done();
    assert!(restored.contains("synod start --name m1 --listen"), "{restored}");
    home.run(&["restore", "monday.backup", "--name", "m1"]).failed(1, "`m1.data` is there already");
    let new = home.start(&["--name", "m1", "--listen", "127.0.0.1:0", "--data", "m1.data"]);
    let read = |key: &str| on(&home, &new, &["get", key]).done();
    assert_eq!((read("key0000"), read("key0299")), ("value0\n".into(), "value299\n".into()));
    on(&home, &new, &["put", "key0000", "new"]).done();
    // Another cluster: nobody of the old one is let in, and newcomers get the state that was restored.
    let joined = home.start(&["--name", "m2", "--listen", "127.0.0.1:0", "--join", &new.address]);
    program::until_done(&home, &new.address, &["member", "list", "--json"], |list| votes(list, "m2"));
    program::until_done(&home, &joined.address, &["get", "key0299", "--local"], |got| got.out == "value299\n");
    assert_eq!(on(&home, &nodes[0], &["get", "key0000"]).done(), "later\n", "the old one goes on");
    nodes.iter_mut().for_each(NodeProcess::kill);
    assert_eq!(read("key0000"), "new\n");
    assert!(leftovers(&home).is_empty(), "{:?}", leftovers(&home));
}

/// What is unfinished in the user's folder.
fn leftovers(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.path("")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("unfinished")).collect()
}

#[test]
fn what_cannot_be_saved_or_restored_is_said_and_leaves_nothing_behind() {
    let home = Home::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(home.path(name), bytes).expect("written");
    home.run(&["restore", "nothing", "--name", "m1"]).failed(1, "cannot read the backup `nothing`");
    write("empty", b"");
    home.run(&["restore", "empty", "--name", "m1"]).failed(1, "`empty` is damaged: it does not begin like a snapshot");
    write("text", &b"no backup at all\n".repeat(100));
    home.run(&["restore", "text", "--name", "m1"]).failed(1, "`text` is damaged");
    home.run(&["restore", "text", "--name", "no such name"]).failed(2, "");
    home.run(&["restore", "text"]).failed(2, "--name");
    home.run(&["backup", "--connect", "127.0.0.1:1", "monday.backup"]).failed(1, "Connection refused");
    home.run(&["backup", "--connect", "127.0.0.1:1", "no/such/folder"]).failed(1, "make the folder");
    home.run(&["backup"]).failed(2, "FILE");

    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    put_all(&home, &node, 0..50);
    on(&home, &node, &["backup", "whole"]).done();
    let whole = std::fs::read(home.path("whole")).expect("it is there");
    for (name, at) in [("head", 20), ("image", 200), ("end", whole.len() - 1)] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        write(name, &bytes);
        home.run(&["restore", name, "--name", "m1"]).failed(1, &format!("the backup `{name}` "));
    }
    write("cut", &whole[..whole.len() / 2]);
    home.run(&["restore", "cut", "--name", "m1"]).failed(1, "its length is not what its header says");
    std::fs::create_dir_all(home.path("taken")).expect("made");
    write("taken/file", b"somebody's");
    home.run(&["restore", "whole", "--name", "m1", "--data", "taken"]).failed(1, "`taken` is there already");
    assert!(!Path::new(&home.path("m1.data")).exists() && leftovers(&home).is_empty());
}
