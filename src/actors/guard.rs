//! Nothing of a node dies alone: what panics takes the whole node with it, which stops with an error that names it.
//!
//! A panic in a task is caught where the task is polled: the task, an actor included, is dropped, and everything else
//! goes on as if nothing were missing. While that happens the thread is panicking, so a [`Guard`] that the task owns
//! notices. (The roles catch their own panics earlier, before anything can follow a broken step: see `role`.)

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// Owned by an actor or a task; says that the node must stop if its owner is dropped by a panic.
#[derive(Clone, Debug)]
pub struct Guard {
    owner: &'static str,
    fatal: UnboundedSender<String>,
}

impl Guard {
    /// A guard for `owner`, as people are told of it: "the router".
    pub fn new(owner: &'static str, fatal: &UnboundedSender<String>) -> Guard {
        Guard { owner, fatal: fatal.clone() }
    }

    /// The same for another owner.
    pub fn of(&self, owner: &'static str) -> Guard {
        Guard::new(owner, &self.fatal)
    }

    /// Starts a task of this name on this thread.
    pub fn spawn(&self, owner: &'static str, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        let guard = self.of(owner);
        actix::spawn(async move {
            let _guard = guard;
            task.await;
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = format!("{} broke an invariant: standard error says which", self.owner);
            let _ = self.fatal.send(error); // the receiver is gone only when the node is stopping anyway
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::prelude::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    struct Clumsy(#[expect(dead_code, reason = "held for its drop")] Guard);

    impl Actor for Clumsy {
        type Context = Context<Clumsy>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Stumble(bool);

    impl Handler<Stumble> for Clumsy {
        type Result = ();

        fn handle(&mut self, Stumble(falls): Stumble, ctx: &mut Context<Clumsy>) {
            assert!(!falls, "on purpose");
            ctx.stop();
        }
    }

    async fn told(fatal: &mut UnboundedReceiver<String>) -> Option<String> {
        tokio::time::timeout(Duration::from_secs(20), fatal.recv()).await.expect("in time")
    }

    #[actix::test]
    async fn a_panic_in_an_actor_or_a_task_is_told_and_an_end_in_order_is_not() {
        let (sender, mut fatal) = unbounded_channel();
        let guard = Guard::new("a test", &sender);
        drop(sender);
        let actor = Clumsy(guard.of("an actor")).start();
        assert!(actor.send(Stumble(true)).await.is_err());
        assert_eq!(told(&mut fatal).await.as_deref(), Some("an actor broke an invariant: standard error says which"));
        drop(guard.spawn("a task", async { panic!("on purpose") }).await);
        assert_eq!(told(&mut fatal).await.as_deref(), Some("a task broke an invariant: standard error says which"));

        let actor = Clumsy(guard.of("an actor")).start();
        actor.send(Stumble(false)).await.expect("handled");
        guard.spawn("a task", async {}).await.expect("ends in order");
        guard.spawn("a task", std::future::pending()).abort();
        drop(guard);
        assert_eq!(told(&mut fatal).await, None);
    }
}
