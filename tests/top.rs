//! `synod top`: on a terminal of its own, and in a pipe.
#![cfg(unix)]

mod program;

use std::process::Command;
use std::time::Instant;

use program::{Conversation, Home, NodeProcess, Ran, SOON, until};
use rexpect::session::{PtySession, spawn_command};
use serde_json::Value;

/// Three nodes that have a leader.
struct Three {
    home: Home,
    nodes: Vec<NodeProcess>,
}

impl Three {
    fn start() -> Three {
        let home = Home::new();
        let start = |name| home.start(&["--name", name, "--listen", "127.0.0.1:0", "--voters", "n1,n2,n3"]);
        let nodes: Vec<_> = ["n1", "n2", "n3"].map(start).into();
        let three = Three { home, nodes };
        for (name, node) in ["n2", "n3"].iter().zip(&three.nodes[1..]) {
            three.run(&["connect", &format!("{name}@{}", node.address)]).done();
        }
        three.run(&["put", "k", "v"]).done();
        three
    }

    fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>().join(",")
    }

    fn run(&self, words: &[&str]) -> Ran {
        let addresses = self.addresses();
        let (command, rest) = words.split_first().expect("a command");
        self.home.run(&[&[*command, "--connect", &addresses, "--deadline", "20"], rest].concat())
    }

    /// The name of the leader.
    fn leader(&self) -> String {
        let said = until(|| self.run(&["leader"]), |ran| ran.code == Some(0)).done();
        said.split(' ').next().expect("a name").to_owned()
    }

    fn node(&mut self, name: &str) -> &mut NodeProcess {
        let number: usize = name.trim_start_matches('n').parse().expect("n1, n2 or n3");
        &mut self.nodes[number - 1]
    }

    /// `synod top` on a terminal, run by a shell that says afterwards what became of it.
    fn on_a_terminal(&self, more: &str) -> Screen {
        let program = env!("CARGO_BIN_EXE_synod");
        let addresses = self.addresses();
        let script = format!(
            "stty rows {LINES} cols {COLUMNS}; before=$(stty -g); \
             {program} top --connect {addresses} --interval 0.1 {more}; \
             code=$?; after=$(stty -g); test \"$before\" = \"$after\" && echo \"ended with $code, restored\""
        );
        // The environment is that of the other tests: none of ours.
        let clean = self.home.synod(&[]);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).current_dir(self.home.path("")).env("TERM", "xterm");
        for (name, value) in clean.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let within = u64::try_from(SOON.as_millis()).expect("some seconds");
        let mut session = spawn_command(command, Some(within)).expect("a terminal");
        session.exp_string(ENTERS_THE_OTHER_SCREEN).expect("it takes the terminal over");
        Screen { session, cells: vec![vec![' '; COLUMNS]; LINES] }
    }
}

/// The processes that watch these nodes on a terminal.
#[cfg(target_os = "linux")]
fn watching(addresses: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let words = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let watches = |words: &Vec<u8>| {
        let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
        words.contains(&&b"top"[..]) && words.contains(&addresses.as_bytes())
    };
    words.filter(watches).count()
}

#[test]
#[cfg(target_os = "linux")]
fn it_ends_with_its_terminal() {
    let three = Three::start();
    let screen = three.on_a_terminal("");
    let addresses = three.addresses();
    assert_eq!(watching(&addresses), 1);
    drop(screen);
    until(|| watching(&addresses), |count| *count == 0);
}

/// What a person sees on a terminal of the kind `xterm`, as far as the program uses it.
struct Screen {
    session: PtySession,
    cells: Vec<Vec<char>>,
}

impl Screen {
    /// Waits until something is to be seen there, or no longer.
    #[track_caller]
    fn sees(&mut self, what: &str) {
        self.sees_that(what, |screen| screen.contains(what));
    }

    #[track_caller]
    fn sees_that(&mut self, what: &str, right: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + SOON;
        while !right(&self.text()) {
            let drawn = self.session.exp_string(HIDES_THE_CURSOR);
            let Ok(drawn) = drawn else { panic!("`{what}` is not seen, and nothing is drawn:\n{}", self.text()) };
            self.draw(&drawn);
            assert!(Instant::now() < deadline, "`{what}` is not seen:\n{}", self.text());
        }
    }

    fn text(&self) -> String {
        self.cells.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned() + "\n").collect()
    }

    /// Texts, each at its place; how they look does not matter here.
    fn draw(&mut self, drawn: &str) {
        // A character here is a byte of what was written.
        let bytes: Vec<u8> = drawn.chars().map(|byte| u8::try_from(byte).unwrap_or(b'?')).collect();
        let drawn = String::from_utf8_lossy(&bytes);
        let (mut line, mut column) = (0, 0);
        for (number, part) in drawn.split("\x1b[").enumerate() {
            // Before the first there is no command.
            let end =
                if number == 0 { 0 } else { part.find(|c: char| c.is_ascii_alphabetic()).map_or(0, |end| end + 1) };
            let (command, text) = part.split_at(end);
            if let Some((to_line, to_column)) = command.strip_suffix('H').and_then(|place| place.split_once(';')) {
                let place = |text: &str| text.parse::<usize>().expect("a place") - 1;
                (line, column) = (place(to_line), place(to_column));
            }
            for c in text.chars().filter(|c| !c.is_control()) {
                if column < COLUMNS {
                    self.cells[line][column] = c;
                }
                column += 1;
            }
        }
    }

    #[track_caller]
    fn press(&mut self, keys: &str) {
        self.session.send(keys).and_then(|_| self.session.flush()).expect("the terminal takes it");
    }

    /// It gives the terminal back and ends so.
    #[track_caller]
    fn ends(mut self, code: u8) {
        for said in [LEAVES_THE_OTHER_SCREEN, SHOWS_THE_CURSOR, &format!("ended with {code}, restored")] {
            self.session.exp_string(said).unwrap_or_else(|error| panic!("{said:?} was not said: {error}"));
        }
        self.session.exp_eof().expect("it ends");
    }
}

#[test]
fn a_person_sees_who_leads_and_a_node_go_down_and_come_back() {
    let mut three = Three::start();
    let leader = three.leader();
    let other = ["n1", "n2", "n3"].into_iter().find(|name| *name != leader).expect("another");
    let mut screen = three.on_a_terminal("");
    screen.sees(&format!("synod: {leader} leads in ballot "));
    screen.sees(&format!("\n{leader}    leading "));
    screen.sees(&format!("\n{other}    following "));
    screen.sees(" ms ");
    three.node(other).kill();
    screen.sees(&format!("\n{other}    down "));
    screen.sees(&format!("\n{other} is down: "));
    screen.sees(&format!("of the link to {other}: "));
    screen.press(" ");
    screen.sees("PAUSED");
    screen.press(" ");
    screen.sees_that("no pause", |screen| !screen.contains("PAUSED"));
    screen.press("+");
    screen.sees("interval: 0.2 s");
    program::wait_until_let_go(&three.home.path(&format!("{other}.data")));
    let address = three.node(other).address.clone();
    let _again = three.home.start(&["--name", other, "--voters", "n1,n2,n3", "--listen", &address]);
    screen.sees(&format!("\n{other}    following "));
    screen.sees_that("nothing amiss", |screen| !screen.contains("link to"));
    screen.press("q");
    screen.ends(0);
}

#[test]
fn a_whole_cluster_may_go_away_and_every_key_that_leaves_leaves() {
    let mut three = Three::start();
    let leads = format!("synod: {} leads in ballot ", three.leader());
    let mut screen = three.on_a_terminal("");
    screen.sees(&leads);
    three.on_a_terminal("--count 2").ends(0);
    let mut other = three.on_a_terminal("");
    other.sees(&leads);
    other.press("\x1b");
    other.ends(0);
    three.nodes.iter_mut().for_each(NodeProcess::kill);
    screen.sees("no node answers; trying again every 0.1 s");
    screen.press("\x03");
    screen.ends(0);
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let three = Three::start();
    let pid = three.home.path("pid");
    let mut screen = three.on_a_terminal(&format!("& echo $! > {}; wait $!", pid.display()));
    screen.sees(" leads in ballot ");
    let pid = until(|| std::fs::read_to_string(&pid).unwrap_or_default(), |pid| pid.ends_with('\n'));
    // The rest of a key may never come.
    screen.press("\x1b[");
    let text = screen.text();
    screen.sees_that("another look", |screen| screen != text);
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().expect("kill runs").success());
    screen.ends(143);
}

#[test]
fn in_a_pipe_it_prints_an_object_once_every_interval() {
    let three = Three::start();
    let leader = three.leader();
    let ran = until(
        || three.run(&["top", "--count", "2", "--interval", "0.2", "--json"]),
        |ran| ran.objects().iter().all(|object| measured(object, &leader) == 2),
    );
    assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""));
    let objects = ran.objects();
    assert_eq!(objects.len(), 2);
    for object in &objects {
        assert_eq!((&object["cluster"], &object["leader"]["name"]), (&"synod".into(), &leader.as_str().into()));
        assert!(object["elapsed_s"].as_f64().is_some_and(|elapsed| elapsed >= 0.2), "{object}");
        assert!(object["chosen_upto"].as_u64().is_some_and(|upto| upto > 0), "{object}");
        assert!(object["commands_per_second"].is_number(), "{object}");
        let nodes = object["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.iter().map(|node| &node["node"]).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        for node in nodes {
            for number in
                ["executed_upto", "lag", "commands_per_second", "syncs_per_second", "journal_bytes", "sessions"]
            {
                assert!(node[number].is_number(), "{number} in {node}");
            }
            assert!(node["cpu_percent"].as_f64().is_some_and(|percent| percent >= 0.0), "{node}");
            assert_eq!(node["round_trip_us"].is_null(), node["node"] == leader.as_str(), "{node}");
            assert_eq!((&node["error"], node["state"].is_string()), (&Value::Null, true), "{node}");
            assert_eq!(node["links"].as_object().map(|links| links.values().all(|link| link == "up")), Some(true));
        }
    }
    // `nodes` and `status` tell round trips, too.
    let nodes = three.run(&["nodes", "--json"]).objects();
    let told = nodes[0]["nodes"].as_array().expect("nodes").iter().filter(|node| node["round_trip_us"].is_u64());
    assert_eq!(told.count(), 2, "{nodes:?}");
    assert!(three.run(&["status", &leader]).done().contains(" ms, n"));
    let table = three.run(&["top", "--count", "1", "--interval", "0.1"]).done();
    assert!(
        table.contains(&format!("synod: {leader} leads in ballot ")) && table.contains("\nNODE  STATE "),
        "{table}"
    );
    assert!(!table.contains('\x1b') && table.lines().all(|line| line == line.trim_end()), "{table:?}");
}

/// How many of the leader's peers have a round trip.
fn measured(object: &Value, leader: &str) -> usize {
    let nodes = object["nodes"].as_array().expect("nodes");
    nodes
        .iter()
        .filter(|node| node["node"] != leader && node["round_trip_us"].as_u64().is_some_and(|us| us > 0))
        .count()
}

#[test]
fn in_a_pipe_it_says_that_no_node_answers_and_goes_on() {
    let home = Home::new();
    home.run(&["top", "--connect", "127.0.0.1:1", "--count", "1"]).failed(1, "start a node there");
    home.run(&["top", "--interval", "0"]).failed(2, "--interval");
    home.run(&["top", "--count", "0"]).failed(2, "--count");
    let node = |address: &str| home.start(&["--name", "n1", "--alone", "--listen", address]);
    let mut first = node("127.0.0.1:0");
    home.run(&["put", "k", "v", "--connect", &first.address, "--deadline", "20"]).done();
    let address = first.address.clone();
    let mut top = Conversation::begin(&home, &["top", "--connect", &address, "--interval", "0.1", "--json"]);
    let next = |top: &mut Conversation, right: &dyn Fn(&Value) -> bool| until(|| top.hear(), right);
    next(&mut top, &|object| object["leader"]["name"] == "n1");
    first.kill();
    let error = next(&mut top, &|object| object["error"].is_string());
    assert!(error["error"].as_str().is_some_and(|why| why.starts_with("no node answers: n1 is down")), "{error}");
    program::wait_until_let_go(&home.path("n1.data"));
    let _again = node(&address);
    next(&mut top, &|object| object["leader"]["name"] == "n1");
    top.child.kill().expect("it can be killed");
}

/// As a terminal of the kind `xterm` is told.
const ENTERS_THE_OTHER_SCREEN: &str = "\x1b[?1049h";
const LEAVES_THE_OTHER_SCREEN: &str = "\x1b[?1049l";
const SHOWS_THE_CURSOR: &str = "\x1b[?25h";
/// So ends each picture.
const HIDES_THE_CURSOR: &str = "\x1b[?25l";
const LINES: usize = 24;
const COLUMNS: usize = 140;
