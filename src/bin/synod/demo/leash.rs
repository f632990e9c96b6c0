//! What ties the nodes' lives to the demo's: the writing ends of their standard inputs. A node whose leash is let go of
//! ends. It has ended when its standard output closes, which the thread that reads it notices.
//!
//! Leashes are shared with the thread that waits for signals, so that an interrupted demo, too, ends its nodes in order
//! before it removes their folders.

use std::process::ChildStdin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::grammar::NodeName;

/// The leashes of all nodes. Clones are the same leashes.
#[derive(Clone, Default)]
pub struct Leashes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    held: Vec<(NodeName, ChildStdin)>,
    /// How many nodes have their standard output open.
    living: usize,
    /// Nothing is held any more, whoever comes.
    let_go: bool,
}

/// A node lives as long as its output is open: held by whoever reads that.
pub struct Life(Leashes);

impl Leashes {
    /// Holds a new node.
    pub fn tie(&self, node: &NodeName, stdin: Option<ChildStdin>) -> Life {
        let mut state = self.state();
        state.living += 1;
        state.held.retain(|(held, _)| held != node);
        if !state.let_go {
            state.held.extend(stdin.map(|stdin| (node.clone(), stdin)));
        }
        Life(self.clone())
    }

    /// Lets go of one node.
    pub fn untie(&self, node: &NodeName) {
        self.state().held.retain(|(held, _)| held != node);
    }

    /// Lets go of all nodes, and of those to come.
    pub fn let_go(&self) {
        let mut state = self.state();
        state.let_go = true;
        state.held.clear();
    }

    /// Waits until no node lives; not longer than told.
    pub fn wait_for_ends(&self, within: Duration) {
        let waited = self.0.ended.wait_timeout_while(self.state(), within, |state| state.living > 0);
        drop(waited);
    }

    /// The state is whole between any two statements, so that a poisoned lock is as good as another.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.state().living -= 1;
        self.0.0.ended.notify_all();
    }
}
