//! The prompt on a terminal: editing, completion, history, ctrl-C, ctrl-D.
#![cfg(unix)]

mod program;

use program::{Home, SOON};
use rexpect::session::{PtySession, spawn_command};

/// The program on a terminal of its own.
fn on_a_terminal(home: &Home, words: &[&str]) -> PtySession {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_synod"));
    for variable in ["SYNOD_CONNECT", "RUST_LOG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.env("HOME", home.path("")).env("TERM", "xterm").current_dir(home.path("")).args(words);
    let within = u64::try_from(SOON.as_millis()).expect("some seconds");
    spawn_command(command, Some(within)).expect("a terminal")
}

/// What the program says up to and with this.
#[track_caller]
fn expect(terminal: &mut PtySession, said: &str) -> String {
    terminal.exp_string(said).unwrap_or_else(|error| panic!("`{said}` was not said: {error}"))
}

#[track_caller]
fn types(terminal: &mut PtySession, keys: &str) {
    expect(terminal, PROMPT);
    terminal.send(keys).and_then(|_| terminal.flush()).expect("the terminal takes it");
}

#[test]
fn a_node_with_a_prompt_in_its_own_terminal() {
    let home = Home::new();
    let words = ["start", "--name", "n1", "--alone", "--listen", "127.0.0.1:0", "--repl"];
    let mut terminal = on_a_terminal(&home, &words);
    expect(&mut terminal, "n1 listening on 127.0.0.1:");
    types(&mut terminal, "pu\tcolour 'dark blue'\r");
    expect(&mut terminal, "done at ");
    types(&mut terminal, "get colour\r");
    expect(&mut terminal, "\ndark blue");
    // The arrow brings the last line back; ctrl-C leaves a line undone; the tab key knows the names of the nodes.
    types(&mut terminal, "\x1b[A\r");
    expect(&mut terminal, "\ndark blue");
    types(&mut terminal, "delete colour\x03");
    types(&mut terminal, "log n\t\r");
    expect(&mut terminal, "put colour 'dark blue'");
    types(&mut terminal, "get colour\r");
    expect(&mut terminal, "\ndark blue");
    types(&mut terminal, "frobnicate\r");
    expect(&mut terminal, "there is no command 'frobnicate'");
    types(&mut terminal, "\x04");
    terminal.exp_eof().expect("it ends");
    program::wait_until_let_go(&home.path("n1.data"));
    let history = std::fs::read_to_string(home.path(".local/state/synod/history")).expect("a history");
    assert!(history.contains("put colour 'dark blue'"), "{history}");
}

#[test]
fn news_of_a_node_stand_above_the_prompt_that_is_being_edited() {
    let home = Home::new();
    let words = ["start", "--name", "n1", "--voters", "n1,n2", "--listen", "127.0.0.1:0", "--repl"];
    let mut terminal = on_a_terminal(&home, &words);
    let listening = expect(&mut terminal, " (process ");
    let address = listening.rsplit(' ').next().expect("an address").to_owned();
    types(&mut terminal, "put colo");
    expect(&mut terminal, "colo");
    let peer = format!("n1={address}");
    let other = home.start(&["--name", "n2", "--listen", "127.0.0.1:0", "--peer", &peer]);
    expect(&mut terminal, "n1: founded cluster ");
    expect(&mut terminal, " leads in ballot ");
    expect(&mut terminal, "put colo");
    terminal.send("ur blue\r").and_then(|_| terminal.flush()).expect("the terminal takes it");
    expect(&mut terminal, "done at ");
    types(&mut terminal, "exit\r");
    terminal.exp_eof().expect("it ends");
    drop(other);
}

#[test]
fn there_is_no_bold_and_no_colour_if_the_user_wants_none() {
    let home = Home::new();
    let node = home.start(&["--name", "n1", "--alone", "--listen", "127.0.0.1:0"]);
    home.run(&["put", "k", "v", "--connect", &node.address, "--deadline", "20"]).done();
    let shown = |no_colour: &str| {
        let mut command = home.synod(&["nodes", "--connect", &node.address]);
        command.env("TERM", "xterm").env("NO_COLOR", no_colour);
        let within = u64::try_from(SOON.as_millis()).expect("some seconds");
        let mut terminal = spawn_command(command, Some(within)).expect("a terminal");
        terminal.exp_eof().expect("it ends")
    };
    assert!(shown("").contains("\x1b["), "an empty wish is none");
    let plain = shown("1");
    assert!(plain.contains("leading") && !plain.contains('\x1b'), "{plain:?}");
    assert!(plain.lines().all(|line| line == line.trim_end_matches(' ')), "{plain:?}");
    let piped = home.run(&["nodes", "--connect", &node.address]).done();
    assert!(!piped.contains('\x1b') && piped.lines().all(|line| line == line.trim_end()), "{piped:?}");
}

#[test]
fn a_demo_on_a_terminal_says_how_to_come_in_from_another() {
    let home = Home::new();
    let mut terminal = on_a_terminal(&home, &["demo"]);
    let table = expect(&mut terminal, "From another terminal:");
    for shown in ["n1", "n2", "n3", "127.0.0.1:", "leads in ballot"] {
        assert!(table.contains(shown), "{shown} is missing in:\n{table}");
    }
    expect(&mut terminal, " repl --connect 127.0.0.1:");
    types(&mut terminal, "fail lea\t\r");
    expect(&mut terminal, " is killed (process ");
    types(&mut terminal, "help recover\r");
    expect(&mut terminal, "recover n2");
    types(&mut terminal, "exit\r");
    terminal.exp_eof().expect("it ends");
}

const PROMPT: &str = "synod> ";
