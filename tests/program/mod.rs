//! The real binary, run as a user would, far from the user's own files. Shared by the tests of the command line.
#![allow(dead_code)] // each test file uses a part of it

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// For whatever must happen: far beyond what it takes on a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A user's home, with nothing in it.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program.
    pub fn synod(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synod"));
        let ours =
            std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("SYNOD_"));
        let others = ["RUST_LOG", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NO_COLOR"].map(Into::into);
        for variable in ours.chain(others) {
            command.env_remove(variable);
        }
        command.env("HOME", self.0.path()).current_dir(self.0.path()).stdin(Stdio::null()).args(words);
        command
    }

    /// The program by way of another one, which is told the program's path and its words behind its own.
    pub fn synod_by(&self, by: &[&str], words: &[&str]) -> Command {
        let synod = self.synod(words);
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(synod.get_program()).args(words).current_dir(self.path("")).stdin(Stdio::null());
        for (name, value) in synod.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// The same, while this folder, which is made, is a file system of 4 MiB; `run` is a shell's way to run `"$0" "$@"`. None
    /// if this user may mount nothing: then there is no small disk to test with.
    pub fn synod_on_small_disk(&self, folder: &str, run: &str, words: &[&str]) -> Option<Command> {
        std::fs::create_dir_all(self.path(folder)).expect("made");
        let script = format!("mount -t tmpfs -o size=4m none {folder} && {run}");
        let by = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script];
        let probe = Command::new(by[0]).args(&by[1..]).arg("true").current_dir(self.path("")).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            eprintln!("skipped: this user may mount nothing, so that no disk is small");
            return None;
        }
        Some(self.synod_by(&by, words))
    }

    /// Runs it to its end.
    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::from(self.synod(words).output().expect("the program runs"))
    }

    /// Runs it with this on its standard input.
    pub fn run_with(&self, words: &[&str], input: &str) -> Ran {
        let mut command = self.synod(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            Ran::from(child.wait_with_output().expect("the program ends"))
        })
    }

    /// A node of its own process, once it listens.
    pub fn start(&self, words: &[&str]) -> NodeProcess {
        let mut command = self.synod(&["start"]);
        command.args(words);
        self.start_by(command)
    }

    /// The same, in another way.
    pub fn start_by(&self, mut command: Command) -> NodeProcess {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        let news = lines_of(child.stderr.take().expect("a pipe"));
        let ready = lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("it does not listen: {:?}", news.try_recv()));
        let address = ready.split(" listening on ").nth(1).and_then(|rest| rest.split([' ', ',']).next());
        let address = address.unwrap_or_else(|| panic!("no address in `{ready}`")).to_owned();
        NodeProcess { child, address, ready, news }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
    }
}

impl Ran {
    /// It was done, and nothing was complained about.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!((self.code, self.errors.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// It ended with this code and one line that says this.
    #[track_caller]
    pub fn failed(self, code: i32, because: &str) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.errors.lines().count(), 1, "{self:?}");
        assert!(self.errors.starts_with("error: ") && self.errors.contains(because), "{self:?}");
        self.errors
    }

    /// The objects it printed, one a line.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// Runs a command on the node at this address again and again, until it comes to this.
#[track_caller]
pub fn until_done(home: &Home, address: &str, words: &[&str], is_done: impl Fn(&Ran) -> bool) {
    let (command, rest) = words.split_first().expect("a command");
    let mut all = vec![*command, "--connect", address];
    all.extend(rest);
    until(|| home.run(&all), is_done);
}

/// A node that is killed when the test is over.
pub struct NodeProcess {
    pub child: Child,
    pub address: String,
    /// The line that says where it listens.
    pub ready: String,
    news: Receiver<String>,
}

impl NodeProcess {
    /// Waits until it says this on its standard error; gives all that it has said there since the last time.
    #[track_caller]
    pub fn says(&self, news: &str) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains(news)) {
            match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(line),
                Err(_) => panic!("`{news}` was not said: {said:#?}"),
            }
        }
        said
    }

    /// What else it has said on its standard error by now.
    pub fn has_said(&self) -> Vec<String> {
        self.news.try_iter().collect()
    }

    /// Waits until it ends by itself; gives its exit code, and what else it has said on its standard error.
    pub fn ends(&mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + SOON;
        let mut said = Vec::new();
        loop {
            match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {said:#?}"),
            }
        }
        (self.child.wait().expect("it ends").code(), said)
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is told one line at a time and answers each with one JSON object.
pub struct Conversation {
    pub child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Conversation {
    pub fn begin(home: &Home, words: &[&str]) -> Conversation {
        Conversation::with(&mut home.synod(words))
    }

    pub fn with(command: &mut Command) -> Conversation {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let lines = lines_of(child.stdout.take().expect("a pipe"));
        let stdin = child.stdin.take().expect("a pipe");
        Conversation { child, stdin, lines }
    }

    /// Says a line, hears the answer.
    pub fn ask(&mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").expect("it listens");
        self.hear()
    }

    /// Hears what it says next.
    pub fn hear(&mut self) -> Value {
        let said = self.lines.recv_timeout(SOON).expect("it says something");
        serde_json::from_str(&said).expect(&said)
    }

    /// Closes its standard input, and waits for its end.
    pub fn end(mut self) -> Option<i32> {
        drop(self.stdin);
        self.child.wait().expect("it ends").code()
    }
}

fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Returns when no process holds the folder of a node any more.
pub fn wait_until_let_go(data: &Path) {
    let lock = std::fs::OpenOptions::new().write(true).open(data.join("lock")).expect("a node's lock");
    let (sender, locked) = channel();
    std::thread::spawn(move || {
        let taken = lock.lock().is_ok();
        let listed = format!(":{} ", inode(&lock));
        drop(lock);
        sender.send((taken, listed))
    });
    let (taken, listed) = locked.recv_timeout(SOON).expect("a process still holds the lock");
    assert!(taken, "{} cannot be locked", data.display());
    // A child that another test has just forked shares every lock of this process until it runs its own program.
    until(|| std::fs::read_to_string("/proc/locks").unwrap_or_default(), |locks| !locks.contains(&listed));
}

fn inode(file: &std::fs::File) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("it is open"))
}

/// Asks again until the answer is right: for what a node comes to know by itself. Each question takes its time.
#[track_caller]
pub fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, right: impl Fn(&T) -> bool) -> T {
    let began = Instant::now();
    loop {
        let answer = ask();
        if right(&answer) {
            return answer;
        }
        assert!(began.elapsed() < SOON, "still {answer:?}");
    }
}
