//! Members come and go while clients write: nobody's write fails, and everybody ends with the same data.

mod common;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{SOON, Theatre, bounded, text, until};
use synod::actors::{Join, Node, NodeError, NodeOptions};
use synod::client::{Client, ClientError};
use synod::machine::Composite;
use synod::net::report::{MemberStanding, MemberStatus};
use tokio::task::JoinSet;

const WORKERS: usize = 4;
/// Of one write: none may fail.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_node_joins_under_load_and_votes_once_it_has_caught_up() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let load = Load::on(&theatre).await;
        load.goes_on().await;
        enter(&mut theatre, "n4", Some("n1"));
        votes(&theatre, "n1", "n4").await;
        load.goes_on().await;
        load.end().await;
        let digest = theatre.settled().await;
        assert_eq!(theatre.status("n4").await.digest, digest);
    })
    .await;
}

/// Starts a node that is no founder; with a member's name, it asks that one.
fn enter(theatre: &mut Theatre, name: &str, through: Option<&str>) {
    let mut options = NodeOptions::new(name, theatre.folder().join(name), theatre.cookie.clone());
    options.join = Some(through.map_or(Join::WhenAdded, |member| Join::Through(theatre.address(member))));
    theatre.options.insert(name.to_owned(), options);
    theatre.start(name);
}

/// Waits until a node says that another votes.
async fn votes(theatre: &Theatre, asked: &str, name: &str) {
    let client = theatre.client_on(asked).await;
    let start = Instant::now();
    until("it votes", async || {
        let members = client.members().await.ok()?;
        let member = members.iter().find(|member| member.name == name);
        assert!(start.elapsed() < SOON - SOON / 10, "{name} does not vote: {members:#?}");
        (member?.standing == MemberStanding::Voter).then_some(())
    })
    .await;
}

/// Clients that write one after the other, and panic if a write fails.
struct Load {
    over: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    longest: Arc<Mutex<Duration>>,
    workers: JoinSet<()>,
}

impl Load {
    async fn on(theatre: &Theatre) -> Load {
        let (over, done, longest) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Load { over, done, longest, workers: JoinSet::new() };
        for worker in 0..WORKERS {
            let client = theatre.client().await.with_deadline(PATIENCE);
            let (over, done) = (load.over.clone(), load.done.clone());
            load.workers.spawn(async move {
                for number in 0.. {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let written = client.put(format!("{worker}/{}", number % 100), number.to_string()).await;
                    written.unwrap_or_else(|error| panic!("write {number} of worker {worker}: {error}"));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        load
    }

    /// Waits until more has been written.
    async fn goes_on(&self) {
        let before = self.done.load(Ordering::SeqCst);
        until("the cluster serves", async || (self.done.load(Ordering::SeqCst) >= before + 50).then_some(())).await;
    }

    /// Says how many writes were done; panics if one failed.
    async fn end(self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        self.workers.join_all().await;
        self.done.load(Ordering::SeqCst)
    }
}
