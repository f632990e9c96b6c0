//! A cluster is saved in a file while it serves, and another one begins with that, by the program alone.

mod program;

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use program::{Home, NodeProcess, Ran, SOON};
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
    let mut future = whole.clone();
    future[8] += 1;
    write("future", &future);
    home.run(&["restore", "future", "--name", "m1"]).failed(1, "use the version that wrote it");
    home.run(&["restore", "n1.data", "--name", "m1"]).failed(1, "cannot ");
    write("cut", &whole[..whole.len() / 2]);
    home.run(&["restore", "cut", "--name", "m1"]).failed(1, "its length is not what its header says");
    std::fs::create_dir_all(home.path("taken")).expect("made");
    write("taken/file", b"somebody's");
    home.run(&["restore", "whole", "--name", "m1", "--data", "taken"]).failed(1, "`taken` is there already");
    assert!(!Path::new(&home.path("m1.data")).exists() && leftovers(&home).is_empty());
}

#[test]
fn a_file_that_may_not_grow_so_far_is_said_and_leaves_nothing_behind() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    put_large(&home, &node);
    // A write beyond the limit is an error then, and no signal.
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" \"$@\""];
    let backup = ended(spawned(&mut home.synod_by(&limited, &["backup", "monday.backup", "--connect", &node.address])));
    backup.failed(1, "cannot make `monday.backup`: File too large; raise the limit on the size of files");
    assert!(leftovers(&home).is_empty() && !home.path("monday.backup").exists());
    on(&home, &node, &["backup", "monday.backup"]).done();
    let restore = ended(spawned(&mut home.synod_by(&limited, &["restore", "monday.backup", "--name", "m1"])));
    restore.failed(1, "cannot make `m1.data`: cannot write a file: File too large; ");
    assert!(leftovers(&home).is_empty() && !home.path("m1.data").exists());
}

#[test]
fn too_little_room_is_said_and_leaves_nothing_behind() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    // Whatever is there in the end is listed.
    let run = "\"$0\" \"$@\"; code=$?; ls -A small; exit $code";
    let words = ["backup", "small/monday.backup", "--connect", &node.address];
    let Some(mut backup) = home.synod_on_small_disk("small", run, &words) else { return };
    put_large(&home, &node);
    let backup = ended(spawned(&mut backup));
    assert_eq!(backup.out, "", "nothing is left");
    backup.failed(1, "`small/monday.backup`: No space left on device; make room there, or name another place");
    on(&home, &node, &["backup", "monday.backup"]).done();
    let words = ["restore", "monday.backup", "--name", "m1", "--data", "small/m1"];
    let mut restore = home.synod_on_small_disk("small", run, &words).expect("as before");
    let restore = ended(spawned(&mut restore));
    assert_eq!(restore.out, "", "nothing is left");
    restore.failed(1, "cannot make `small/m1`: cannot write a file: No space left on device; make room there, or name");
    assert!(on(&home, &node, &["get", "large00"]).done().len() > 1000, "the cluster goes on");
}

#[test]
fn a_node_that_is_killed_while_it_is_backed_up_ends_the_backup_and_another_one_gives_it() {
    let home = Home::new();
    let mut nodes = cluster(&home);
    put_large(&home, &nodes[0]);
    let narrow = Narrow::to(&nodes[0].address);
    let words = ["backup", "monday.backup", "--connect", &narrow.address, "--deadline", "60"];
    let backup = spawned(&mut home.synod(&words));
    program::until(|| unfinished_bytes(&home), |bytes| *bytes > 0);
    nodes[0].kill();
    ended(backup).failed(1, "the backup broke off: ");
    assert!(leftovers(&home).is_empty() && !home.path("monday.backup").exists());
    let told = on(&home, &nodes[1], &["backup", "monday.backup", "--deadline", "20"]).done();
    assert!(told.starts_with("monday.backup: the state of n1, n2, n3 at slot "), "{told}");
}

#[test]
fn an_interrupted_backup_ends_at_once_and_leaves_nothing_behind() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    put_large(&home, &node);
    // While it is fetched.
    let narrow = Narrow::to(&node.address);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let words = ["backup", "monday.backup", "--connect", &narrow.address, "--deadline", "60"];
        let backup = spawned(&mut home.synod(&words));
        program::until(|| unfinished_bytes(&home), |bytes| *bytes > 0);
        send(signal, backup.id());
        ended(backup).failed(code, "before `monday.backup` was whole: nothing is left of it");
        assert!(leftovers(&home).is_empty() && !home.path("monday.backup").exists());
    }
    // While a node that stands still is waited for.
    send("STOP", node.child.id());
    let words = ["backup", "monday.backup", "--connect", &node.address, "--deadline", "60", "--json"];
    let backup = spawned(&mut home.synod(&words));
    program::until(|| leftovers(&home), |names| !names.is_empty());
    send("TERM", backup.id());
    let ran = ended(backup);
    assert_eq!((ran.code, &ran.objects()[0]["exit"]), (Some(143), &143.into()), "{ran:?}");
    assert!(leftovers(&home).is_empty() && !home.path("monday.backup").exists());
    send("CONT", node.child.id());
    on(&home, &node, &["backup", "monday.backup"]).done();
}

#[test]
fn an_interrupted_restore_ends_at_once_and_leaves_nothing_behind() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--listen", "127.0.0.1:0", "--alone"]);
    put_large(&home, &node);
    on(&home, &node, &["backup", "whole"]).done();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        // It may be over before the signal comes.
        let in_time = |_: &()| {
            let mut restore = spawned(&mut home.synod(&["restore", "whole", "--name", "m1"]));
            let is_over = |restore: &mut Child| restore.try_wait().expect("a child").is_some();
            program::until(|| !leftovers(&home).is_empty() || is_over(&mut restore), |begun| *begun);
            send(signal, restore.id());
            let ran = ended(restore);
            assert!(leftovers(&home).is_empty());
            if ran.code == Some(0) {
                std::fs::remove_dir_all(home.path("m1.data")).expect("it is whole");
                return false;
            }
            ran.failed(code, "before `m1.data` was whole: nothing is left of it");
            assert!(!home.path("m1.data").exists());
            true
        };
        program::until(|| (), in_time);
    }
    home.run(&["restore", "whole", "--name", "m1"]).done();
}

/// A state of many parts.
fn put_large(home: &Home, node: &NodeProcess) {
    let value = "x".repeat(1 << 19);
    let script: String = (0..16).map(|key| format!("put large{key:02} {value}\n")).collect();
    home.run_with(&["repl", "--connect", &node.address, "--deadline", "20"], &script).done();
}

/// How much there is of what is unfinished in the user's folder.
fn unfinished_bytes(home: &Home) -> u64 {
    let names = leftovers(home);
    names.iter().filter_map(|name| std::fs::metadata(home.path(name)).ok()).map(|found| found.len()).sum()
}

fn spawned(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
}

/// What came of it; it ends soon.
fn ended(child: Child) -> Ran {
    let (sender, ran) = channel();
    std::thread::spawn(move || sender.send(Ran::from(child.wait_with_output().expect("the program ends"))));
    ran.recv_timeout(SOON).expect("it ends soon")
}

fn send(signal: &str, process_id: u32) {
    let mut kill = Command::new("kill");
    // It may be over already.
    kill.args([&format!("-{signal}"), &process_id.to_string()]).stderr(Stdio::null()).status().expect("kill runs");
}

/// A way to a node on which nothing comes back any more behind the first mebibytes: who fetches is in the middle.
struct Narrow {
    address: String,
}

impl Narrow {
    fn to(node: &str) -> Narrow {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let node = node.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(node) = TcpStream::connect(&node) else { continue };
                let (mut from_client, mut to_node) =
                    (client.try_clone().expect("a handle"), node.try_clone().expect("a handle"));
                std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_node));
                std::thread::spawn(move || narrow(node, client));
            }
        });
        Narrow { address }
    }
}

/// Carries so much, and then nothing until the node hangs up; then it hangs up, too.
fn narrow(mut node: TcpStream, mut client: TcpStream) {
    let carried = std::io::copy(&mut (&mut node).take(CARRIED_BYTES), &mut client);
    let _ = carried.and_then(|_| std::io::copy(&mut node, &mut std::io::sink()));
    // It may have hung up itself.
    let _ = client.shutdown(Shutdown::Both);
}

const CARRIED_BYTES: u64 = 3 << 20;
