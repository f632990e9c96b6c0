//! The program from outside, as far as it goes without a node: usage, help, exit codes, one line for every error.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program, far from the user's own files.
fn synod(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
    for variable in ["SYNOD_CONNECT", "RUST_LOG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env_remove(variable);
    }
    command.env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    synod(home.path()).args(words).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// Ends with 2, says one line on standard error, nothing on standard output.
fn usage(words: &[&str], because: &str) {
    let output = run(words);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{words:?}: {errors}");
    assert!(errors.starts_with("error: ") && errors.contains(because), "{words:?}: {errors}");
    assert_eq!(text(&output.stdout), "", "{words:?}");
}

#[test]
fn what_makes_no_command_is_a_usage_error_that_names_the_mend() {
    usage(&["frobnicate"], "there is no command 'frobnicate'; `help` lists the commands");
    usage(&["put", "k"], "VALUE is missing; usage: synod put KEY VALUE");
    usage(&["put", "k", "v", "w"], "'w'");
    usage(&["put", "k", "-v"], "'-- -v'");
    usage(&["get", "k", "--connect", "localhost"], "the port is missing");
    usage(&["get", "k", "--connect", "h:1,h:x"], "`h:x` is not an address");
    usage(&["get", "k", "--deadline", "0"], "`0` is not a time");
    usage(&["chosen", "0"], "write SLOT or SLOT.INDEX");
    usage(&["slot", "1.0"], "SLOT.INDEX");
    usage(&["log", "9..3"], "write FROM..TO");
    usage(&["connect", "n2"], "write NAME@HOST:PORT");
    usage(&["status", "7"], "is not a node's name");
    usage(&["exit"], "there is no command 'exit'");
    usage(&["fail", "n1"], "there is no command 'fail'");
    usage(&["demo", "--nodes", "0"], "--nodes");
    usage(&["completions", "abacus"], "bash");
    usage(&["bench", "--clients", "0"], "--clients");
    usage(&["bench", "--connect", "h:0"], "cannot be dialled");
    usage(&["simulate", "--faults", "gremlins"], "--faults: `gremlins` is no fault: name some of loss, duplicate");
    usage(&["simulate", "--faults", ""], "no fault is named: write `none`");
    usage(&["simulate", "--faults", "none,loss"], "`none` stands alone");
    usage(&["simulate", "--nodes", "0"], "--nodes");
    usage(&["simulate", "--count", "0"], "--count");
    usage(&["simulate", "--trace"], "--seed");
    usage(&["simulate", "--seed", "1", "--from", "3"], "--trace");
    usage(&["simulate", "--seed", "1", "--trace", "--from", "3", "--to", "2"], "--from 3 is after --to 2");
    usage(&["simulate", "--seed", "18446744073709551615", "--count", "2"], "there are not so many seeds");
}

#[test]
fn with_json_a_usage_error_is_an_object_too() {
    for words in [&["frobnicate", "--json"][..], &["put", "k", "--json"], &["repl", "--json", "--deadline", "0"]] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(object["exit"], 2, "{object}");
        let errors = text(&output.stderr);
        assert_eq!(errors.trim_end(), format!("error: {}", object["error"].as_str().expect("a sentence")));
    }
    let value = run(&["put", "k", "v", "w", "--", "--json"]);
    assert_eq!(text(&value.stdout), "", "a value is no wish");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_an_error_and_says_so() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for words in [&["completions", "bash"][..], &["--help"], &["leader", "--json", "--connect", "127.0.0.1:1"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is full");
        let output = synod(home.path()).args(words).stdout(full).output().expect("the program runs");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {errors}");
        assert!(errors.contains("error: cannot write to standard output: "), "{errors}");
    }
}

#[test]
fn a_node_that_could_not_be_reached_or_founded_is_not_started() {
    usage(&["start", "--alone"], "--name");
    usage(&["start", "--name", "n1"], "--peer n2=HOST:PORT, or all founders with --voters n1,n2,n3");
    usage(&["start", "--name", "n1"], "--alone");
    usage(&["start", "--name", "n1", "--alone", "--listen", "0.0.0.0:7101"], "--advertise HOST:PORT");
    usage(&["start", "--name", "n1", "--alone", "--listen", "7101"], "the port is missing");
    usage(&["start", "--name", "n1", "--peer", "n2"], "write NAME=HOST:PORT");
    usage(&["start", "--name", "n1", "--voters", "n2,n3"], "leaves out n1");
}

#[test]
fn a_cookie_file_that_is_not_there_is_named() {
    for words in [
        &["get", "k", "--cookie-file", "no-such-file"][..],
        &["start", "--name", "n1", "--alone", "--cookie-file", "no-such-file"],
    ] {
        let output = run(words);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("there is no cookie file no-such-file"), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn the_default_cookie_is_made_on_first_use() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let used = || synod(home.path()).args(["get", "k", "--connect", "127.0.0.1:1", "--deadline", "0.2"]).output();
    assert_eq!(used().expect("the program runs").status.code(), Some(1));
    let file = home.path().join(".config/synod/cookie");
    let cookie = std::fs::read(&file).expect("a cookie");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&file).expect("a cookie").mode() & 0o777, 0o600);
    }
    used().expect("the program runs");
    assert_eq!(std::fs::read(&file).expect("a cookie"), cookie);
}

#[test]
fn a_cluster_that_is_not_there_is_not_done_in_text_and_in_json() {
    let output = run(&["put", "k", "v", "--connect", "127.0.0.1:1", "--deadline", "0.2", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.starts_with("error: ") && errors.lines().count() == 1, "{errors}");
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object["exit"], 1);
    assert!(object["error"].is_string());
}

#[test]
fn help_and_version_are_no_errors() {
    for words in [&["--help"][..], &["help"], &["--version"], &["help", "start"], &["put", "--help"]] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
    let list = text(&run(&["--help"]).stdout);
    for command in [
        "start", "repl", "demo", "simulate", "propose", "chosen", "paxos", "put", "get", "append", "delete", "cas",
        "scan", "nodes", "connect", "leader", "status", "log", "slot", "view", "db",
    ] {
        assert!(list.lines().any(|line| line.trim_start().starts_with(command)), "{command} is missing in:\n{list}");
        let help = text(&run(&["help", command]).stdout);
        assert!(help.contains(&format!("Usage: synod {command}")), "{help}");
        assert!(help.contains(&format!("\n  synod {command}")), "an example, as it is typed: {help}");
        assert_eq!(text(&run(&[command, "--help"]).stdout), help);
    }
}

#[test]
fn without_a_word_the_commands_are_listed() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("demo"));
}

#[test]
fn completions_are_printed_for_a_shell() {
    let output = run(&["completions", "bash"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("_synod"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = synod(home.path());
    let mut child = command
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn a_demos_folder_that_holds_something_else_is_left_alone() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join("thesis");
    std::fs::create_dir(&folder).expect("a folder");
    let mut file = std::fs::File::create(folder.join("chapter-1")).expect("a file");
    file.write_all(b"Call me Ishmael.").expect("a file");
    let output = synod(home.path()).args(["demo", "--data", "thesis"]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("neither empty nor a demo's folder"));
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
}

#[test]
fn a_simulation_shows_what_was_tried_and_that_nothing_broke() {
    let output = run(&["simulate", "--seed", "1", "--count", "3", "--nodes", "3", "--faults", "-damage"]);
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{shown}");
    assert!(shown.starts_with("3 seeds, 1 to 3: no property broke ("), "{shown}");
    for row in ["commands and reads", "messages taken", "leader changes", "slowest heal", "power-loss", "quorum-loss"] {
        assert!(shown.lines().any(|line| line.starts_with(row)), "{row} is missing in:\n{shown}");
    }
    assert!(!shown.contains("wiped-disk"), "{shown}");
}

#[test]
fn a_simulations_json_does_not_depend_on_time_or_threads() {
    let object = |jobs| {
        let output = run(&["simulate", "--seed", "5", "--count", "4", "--json", "--jobs", jobs]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        let shown = text(&output.stdout);
        assert_eq!(shown.lines().count(), 1, "{shown}");
        let mut object: serde_json::Value = serde_json::from_str(&shown).expect("one JSON object");
        let fields = object.as_object_mut().expect("an object");
        fields.retain(|field, _| !field.ends_with("_seconds"));
        object
    };
    let once = object("1");
    assert_eq!(once, object("1"), "the same command again");
    assert_eq!(once, object("3"), "on more threads");
    assert_eq!((once["first_seed"].as_u64(), once["seeds"].as_u64()), (Some(5), Some(4)));
    assert_eq!((&once["failure"], once["exit"].as_u64()), (&serde_json::Value::Null, Some(0)));
    assert!(once["faults"]["kill"].is_u64() && once["messages"].as_u64() > Some(0), "{once}");
}

#[test]
fn a_run_is_shown_as_a_diagram() {
    let output = run(&["simulate", "--seed", "7", "--nodes", "3", "--trace", "--to", "800"]);
    let shown = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{shown}");
    assert!(shown.starts_with("seed 7: 3 nodes, ") && shown.contains("n1    n2    n3"), "{shown}");
    assert!(shown.trim_end().ends_with("no property broke"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 120), "{shown}");
}
