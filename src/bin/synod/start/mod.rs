//! `synod start`: one node, until it is told to stop.
//!
//! The flags become [`StartOptions`]; what contradicts itself is refused here, what the folder says is decided by the
//! node ([`runtime`]). A node stops on ctrl-C, on SIGTERM, when its own REPL ends, and, if it was started by a program
//! (`--until-stdin-closes`), when its standard input ends: so no node outlives the demo, however that dies.

mod options;
mod ready;
mod runtime;
mod stop;

use std::thread;

use synod::net::cookie::Cookie;
use tokio::sync::oneshot;

pub use options::{StartArgs, StartOptions};
pub use ready::Ready;

use crate::answer::Failure;
use crate::backend;
use crate::grammar::{ConnectArgs, DEFAULT_DEADLINE};
use crate::output::Printer;
use crate::repl::{self, ScriptArgs};
use crate::shell::Shell;

/// Runs a node.
pub fn run(args: &StartArgs) -> Result<u8, Failure> {
    let options = args.options()?;
    if options.repl {
        with_repl(options)
    } else {
        let (until_stdin_closes, json) = (options.until_stdin_closes, options.ready_json);
        let name = options.name.clone();
        let announce = move |ready: &Ready| {
            // A node does not stop because nobody reads its first line.
            let _ = Printer::standard(false).line(&ready.line(json));
        };
        runtime::run_node(options, announce, stop::requested(name, until_stdin_closes)).map(|()| 0)
    }
}

/// The node on a thread of its own, a prompt on this one.
fn with_repl(options: StartOptions) -> Result<u8, Failure> {
    let connect = ConnectArgs {
        connect: Vec::new(),
        cluster: options.cluster.clone(),
        cookie_file: None,
        deadline: DEFAULT_DEADLINE,
        json: false,
    };
    let cookie = options.cookie.clone();
    let (ready_sender, ready) = std::sync::mpsc::channel();
    let (leave, left) = oneshot::channel::<()>();
    let node = thread::Builder::new()
        .name("node".to_owned())
        .spawn(move || {
            let announce = move |ready: &Ready| drop(ready_sender.send(ready.clone()));
            let ended = runtime::run_node(options, announce, async move { drop(left.await) });
            if let Err(failure) = &ended {
                log::error!("the node has stopped: {failure}");
            }
            ended
        })
        .map_err(|error| Failure::not_done(format!("no thread for the node: {error}")))?;
    let served = match ready.recv() {
        Ok(ready) => serve(&ready, &connect, &cookie),
        // The node ended before it listened; it says why below.
        Err(_) => Ok(0),
    };
    drop(leave);
    let ended = node.join().unwrap_or_else(|_| Err(Failure::not_done("the node's thread ended in a panic")));
    ended.and(served)
}

fn serve(ready: &Ready, connect: &ConnectArgs, cookie: &Cookie) -> Result<u8, Failure> {
    let mut printer = Printer::standard(false);
    if let Err(unshown) = printer.line(&ready.line(false)) {
        return Ok(unshown.exit_code());
    }
    let connect = ConnectArgs { connect: vec![ready.listening.dialled_here()], ..connect.clone() };
    let mut shell = Shell::new(backend::connect(&connect, cookie)?, None, printer);
    repl::serve(&mut shell, &ScriptArgs::default())
}
