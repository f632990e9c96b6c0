//! The nodes here are shell scripts: what is tested is the care of processes, not what they do.

use std::process::Command;

use super::*;

/// Nodes that run this script; `$1` is the name, `$2` the port.
fn launch(script: &'static str) -> Launch {
    Box::new(move |name, port| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh", &name.0, &port.to_string()]);
        command
    })
}

fn named(name: &str) -> NodeName {
    NodeName(name.to_owned())
}

fn start(folder: &Folder, launch: Launch) -> Result<Nodes, Failure> {
    Nodes::start(folder, launch, Leashes::default(), SOON)
}

fn failed(started: Result<Nodes, Failure>) -> String {
    started.map(|_| ()).unwrap_err().to_string()
}

/// Says where it listens, and ends with its standard input.
const NODE: &str = r#"echo '# something else'
    echo "{\"name\":\"$1\",\"process_id\":$$,\"address\":\"127.0.0.1:1$2\"}"; cat > /dev/null"#;
const SOON: Duration = Duration::from_secs(20);

#[test]
fn nodes_are_started_killed_and_started_again() {
    let folder = Folder::open(None, Some(3)).unwrap();
    let mut nodes = start(&folder, launch(NODE)).unwrap();
    assert_eq!(nodes.running().count(), 3);
    let (first, before) = nodes.running().map(|(name, id, _)| (name.clone(), id)).next().unwrap();
    assert_eq!(first, named("n1"));
    assert_eq!(nodes.addresses()[0].1.to_string(), "127.0.0.1:17101", "where it says that it listens");

    assert_eq!(nodes.kill(&first).unwrap(), before);
    assert_eq!(nodes.running().count(), 2);
    let twice = nodes.kill(&first).unwrap_err().to_string();
    assert!(twice.contains("`recover n1` starts it again"), "{twice}");

    let script =
        "exec 2> /dev/null; echo \"{\\\"name\\\":\\\"$1\\\",\\\"process_id\\\":$$,\\\"address\\\":\\\"h:$2\\\"}\"; cat";
    nodes.launch = launch(script);
    let (after, address) = nodes.restart(&first).unwrap();
    assert_ne!(after, before);
    assert_eq!(address.to_string(), "h:17101", "it was told to listen where it had listened");
    let running = nodes.restart(&first).unwrap_err().to_string();
    assert!(running.contains("nothing to recover"), "{running}");
    nodes.check().unwrap();
}

#[test]
fn a_node_that_is_not_there_is_named_with_those_that_are() {
    let folder = Folder::open(None, Some(2)).unwrap();
    let mut nodes = start(&folder, launch(NODE)).unwrap();
    let unknown = nodes.kill(&named("n9")).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no node n9: the nodes are n1, n2");
    assert_eq!(unknown.exit_code(), 2);
}

#[test]
fn a_node_that_dies_early_shows_the_end_of_its_log() {
    let folder = Folder::open(None, Some(1)).unwrap();
    let said = failed(start(&folder, launch("seq 1 100 >&2; echo 'error: the disk is full' >&2; exit 1")));
    assert!(said.contains("n1 has ended") && said.contains("error: the disk is full") && said.contains("\n  100\n"));
    assert!(!said.contains("\n  50\n"), "only the end: {said}");
}

#[test]
fn a_node_that_does_not_listen_in_time_is_not_waited_for() {
    let folder = Folder::open(None, Some(1)).unwrap();
    let said = failed(Nodes::start(&folder, launch("cat > /dev/null"), Leashes::default(), Duration::from_millis(50)));
    assert!(said.contains("n1 does not listen in time"), "{said}");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let folder = Folder::open(None, Some(1)).unwrap();
    let launch: Launch = Box::new(|_, _| Command::new("/nowhere/synod"));
    let said = failed(start(&folder, launch));
    assert!(said.contains("n1 cannot be started: /nowhere/synod"), "{said}");
}

#[test]
fn nodes_end_when_the_demo_lets_go_of_them() {
    let folder = Folder::open(None, Some(3)).unwrap();
    let ends = "echo \"{\\\"name\\\":\\\"$1\\\",\\\"process_id\\\":$$,\\\"address\\\":\\\"h:$2\\\"}\"; cat > /dev/null; echo gone >&2";
    let nodes = start(&folder, launch(ends)).unwrap();
    drop(nodes);
    for (name, _) in folder.nodes() {
        let log = std::fs::read_to_string(folder.log_of(name)).unwrap();
        assert_eq!(log, "gone\n", "{name} ended by itself, at the end of its input");
    }
}

#[test]
fn a_node_that_ended_by_itself_is_noticed() {
    let folder = Folder::open(None, Some(1)).unwrap();
    let short = "echo \"{\\\"name\\\":\\\"$1\\\",\\\"process_id\\\":$$,\\\"address\\\":\\\"h:$2\\\"}\"; echo 'error: enough' >&2";
    let mut nodes = start(&folder, launch(short)).unwrap();
    let deadline = Instant::now() + SOON;
    let noticed = loop {
        match nodes.check() {
            Err(failure) => break failure.to_string(),
            Ok(()) if Instant::now() < deadline => std::thread::yield_now(),
            Ok(()) => panic!("nobody noticed"),
        }
    };
    assert!(noticed.contains("n1 has ended") && noticed.contains("error: enough"), "{noticed}");
    assert!(nodes.restart(&named("n1")).is_ok());
}
