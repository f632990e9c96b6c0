//! DESIGN section 4, rules 4 and 5, over real folders and links: a node that has lost what it acknowledged, or that runs
//! twice, neither votes nor proposes, says so, and nothing acknowledged is lost; an honest node is always let in again.

mod common;
#[cfg(unix)]
mod program;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::lines::Lines;
use common::{
    BRIEF, Theatre, bounded, contains_all, does_not_count, is_not_done, large, link_says, serves, text, until,
};
use synod::actors::{Node, NodeOptions};
use synod::client::{Client, ConnectOptions};
use synod::machine::Composite;
use synod::paxos::{BatchNumber, Change, NodeId, Outcome, Record, Slot};
use synod::storage::{FileDisk, Journal, Settings};

/// The journal's files, in order.
fn segments(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(data)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal-")))
        .collect();
    files.sort();
    files
}

/// Where batches begin in a segment that was never used before, and how many bytes their bodies have.
fn batches(bytes: &[u8]) -> Vec<(usize, usize)> {
    let starts = bytes.windows(4).enumerate().filter(|(_, window)| window == b"BTCH").map(|(start, _)| start);
    let length = |start: usize| bytes.get(start + 8..start + 12)?.try_into().ok().map(u32::from_le_bytes);
    starts.filter_map(|start| Some((start, length(start)? as usize))).collect()
}

const BATCH_HEADER: usize = 56;

/// Three nodes, and 20 acknowledged writes that all of them have executed.
async fn written() -> (Theatre, Client) {
    let theatre = Theatre::of(3);
    let client = theatre.client_on("n1").await;
    for number in 0..20 {
        client.put("k", number.to_string()).await.expect("done");
    }
    theatre.settled().await;
    (theatre, client)
}

/// Whether a batch only seals the one before: all that it holds is what stood before it.
fn is_seal(bytes: &[u8], (start, length): (usize, usize)) -> bool {
    length == 0 || bytes[start + 12] == 1 && bytes[start + BATCH_HEADER + 8] == 9
}

/// A stopped n3 whose journal is sealed was damaged so. Where.
async fn damaged(theatre: &mut Theatre, damage: impl Fn(&mut [u8], &[(usize, usize)]) -> usize) -> (PathBuf, usize) {
    until("the last batch is sealed", async || {
        let bytes = fs::read(segments(&theatre.data("n3")).pop()?).ok()?;
        batches(&bytes).last().is_some_and(|batch| is_seal(&bytes, *batch)).then_some(())
    })
    .await;
    theatre.stop("n3");
    let file = segments(&theatre.data("n3")).pop().expect("a journal");
    let mut bytes = fs::read(&file).expect("read");
    let found = batches(&bytes);
    let at = damage(&mut bytes, &found);
    fs::write(&file, &bytes).expect("written");
    (file, at)
}

/// Started again, n3 repairs its journal from its peers, and votes: with n1 alone, it serves.
async fn is_repaired(damage: impl Fn(&mut [u8], &[(usize, usize)]) -> usize) {
    let (mut theatre, client) = written().await;
    damaged(&mut theatre, damage).await;
    for _ in 0..2 {
        theatre.start("n3");
        until("n3 has repaired its journal", async || {
            let status = theatre.status("n3").await;
            (status.trouble.is_none() && status.phase != "not voting").then_some(())
        })
        .await;
        theatre.settled().await;
        theatre.halt("n2");
        serves(&client, "n1 and n3 only").await;
        assert_eq!(text(client.get("k").await.expect("read")), Some("19".into()));
        theatre.start("n2");
        theatre.settled().await;
        theatre.stop("n3");
    }
}

#[tokio::test]
async fn a_journal_damaged_in_the_middle_is_repaired_from_the_peers_and_its_node_votes_again() {
    bounded(is_repaired(|bytes, batches| {
        let (start, _) = batches[batches.len() / 2];
        bytes[start + BATCH_HEADER + 3] ^= 0x10;
        start
    }))
    .await;
}

#[tokio::test]
async fn the_last_sealed_batch_and_all_others_but_the_first_are_repaired_too() {
    bounded(is_repaired(|bytes, batches| {
        let (seal, others) = batches.split_last().expect("batches");
        assert!(is_seal(bytes, *seal));
        // Where the node says who it is, and what it means to vote, is at the beginning.
        let hurt = &others[2..];
        hurt.iter().for_each(|(start, _)| bytes[start + BATCH_HEADER + 1] ^= 1);
        hurt[0].0
    }))
    .await;
}

/// It stays up, says so, and is not counted.
#[tokio::test]
async fn a_journal_that_no_longer_says_whose_it_is_is_reported_and_its_node_does_not_vote() {
    bounded(async {
        let (mut theatre, client) = written().await;
        let (file, at) = damaged(&mut theatre, |bytes, batches| {
            bytes[batches[0].0 + BATCH_HEADER + 3] ^= 0x10;
            batches[0].0
        })
        .await;
        let bytes = fs::read(&file).expect("read");
        theatre.start("n3");
        let status = theatre.status("n3").await;
        assert_eq!(status.phase, "not voting");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let parts = [&name, &format!("byte {at}"), "synod member replace NAME=HOST:PORT"];
        contains_all(&status.trouble.expect("trouble"), &parts);
        link_says(&theatre, "n1", "n3", "journal of `n3` cannot be read").await;
        let three = theatre.client_on("n3").await.with_deadline(BRIEF);
        assert!(is_not_done(&three.put("k", "through n3").await));
        serves(&client, "after").await;
        assert_eq!(fs::read(&file).expect("read"), bytes, "the damaged journal is left as it was found");
        does_not_count(&mut theatre, "n1", "n2").await;
    })
    .await;
}

/// Started again, n3 knows less than its peers have seen of it.
async fn is_amnesiac(mut theatre: Theatre) {
    theatre.start("n3");
    until("n3 knows what it does not know", async || {
        let status = theatre.status("n3").await;
        let trouble = status.trouble.filter(|why| why.contains("acknowledged data was lost"))?;
        contains_all(&trouble, &["the journal ends at batch", "restore its folder"]);
        assert_eq!(status.phase, "not voting");
        Some(())
    })
    .await;
    serves(&theatre.client_on("n1").await, "after").await;
    // Not even after another start.
    theatre.stop("n3");
    theatre.start("n3");
    until("n3 still knows", async || {
        let trouble = theatre.status("n3").await.trouble?;
        trouble.contains("acknowledged data was lost").then_some(())
    })
    .await;
    does_not_count(&mut theatre, "n1", "n2").await;
}

/// The second half of the batches of a stopped node's journal, all acknowledged, is gone.
fn lose_the_tail(data: &Path, lose: impl Fn(&Path, usize)) {
    let file = segments(data).pop().expect("a journal");
    let bytes = fs::read(&file).expect("read");
    let found = batches(&bytes);
    let (start, _) = found[found.len() / 2];
    lose(&file, start);
}

fn zeroed(file: &Path, start: usize) {
    let mut bytes = fs::read(file).expect("read");
    bytes[start..].fill(0);
    fs::write(file, bytes).expect("written");
}

fn cut(file: &Path, start: usize) {
    fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(start as u64)).expect("cut");
}

#[tokio::test]
async fn a_node_whose_journal_lost_its_tail_neither_votes_nor_proposes() {
    bounded(async {
        let (mut theatre, _) = written().await;
        theatre.halt("n3");
        lose_the_tail(&theatre.data("n3"), zeroed);
        is_amnesiac(theatre).await;
    })
    .await;
}

/// However often it starts again, and however much it learns meanwhile, which makes its journal longer than before.
#[tokio::test]
async fn a_lost_tail_is_not_outgrown_by_starting_again_and_again() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        for number in 0..20 {
            client.append("list", format!("{number} ")).await.expect("done");
        }
        let before = theatre.settled().await;
        theatre.stop("n3");
        let whole = theatre.folder().join("whole");
        copy_folder(&theatre.data("n3"), &whole);
        lose_the_tail(&theatre.data("n3"), zeroed);
        let mut acknowledged: String = (0..20).map(|number| format!("{number} ")).collect();
        for round in 0..6 {
            theatre.start("n3");
            let word = format!("round{round} ");
            let place = client.append("list", word.as_str()).await.expect("the others serve").place;
            acknowledged += &word;
            until("n3 has learned it", async || (theatre.status("n3").await.executed_upto >= place.slot).then_some(()))
                .await;
            // Every other time as quickly as that: it may not even have met everybody.
            if round % 2 == 1 {
                let status = until("n3 knows what it does not know", async || {
                    let status = theatre.status("n3").await;
                    status
                        .trouble
                        .as_ref()
                        .is_some_and(|why| why.contains("acknowledged data was lost"))
                        .then_some(status)
                })
                .await;
                assert_eq!(status.phase, "not voting");
            }
            theatre.halt("n3");
        }
        theatre.start("n3");
        assert_ne!(theatre.settled().await, before, "it learns, and what it learns is the same");
        assert_eq!(text(client.get("list").await.expect("read")), Some(acknowledged.clone()));
        let promised = theatre.status("n3").await.promised;
        does_not_count(&mut theatre, "n1", "n2").await;
        assert_eq!(theatre.status("n3").await.promised, promised, "it promises nothing");
        theatre.start("n2");
        until("two serve again", async || client.append("list", "more ").await.ok()).await;
        // The folder as it was last holds everything that was acknowledged.
        theatre.halt("n3");
        fs::remove_dir_all(theatre.data("n3")).expect("removed");
        copy_folder(&whole, &theatre.data("n3"));
        theatre.start("n3");
        until("n3 votes", async || theatre.status("n3").await.trouble.is_none().then_some(())).await;
        theatre.settled().await;
        theatre.halt("n2");
        serves(&client, "n1 and n3 only").await;
        let list = text(client.get("list").await.expect("read")).expect("a list");
        assert!(list.starts_with(&acknowledged), "{list}");
    })
    .await;
}

#[tokio::test]
async fn a_cut_journal_is_reported_however_often_its_node_starts() {
    bounded(async {
        let (mut theatre, client) = written().await;
        theatre.halt("n3");
        lose_the_tail(&theatre.data("n3"), cut);
        for round in 0..5 {
            theatre.start("n3");
            let status = theatre.status("n3").await;
            assert_eq!(status.phase, "not voting");
            contains_all(&status.trouble.expect("trouble"), &["the file should have", "synod member replace"]);
            client.put("k", format!("round {round}")).await.expect("the others serve");
            theatre.halt("n3");
        }
        theatre.start("n3");
        assert_eq!(text(client.get("k").await.expect("read")), Some("round 4".into()));
        does_not_count(&mut theatre, "n1", "n2").await;
    })
    .await;
}

#[tokio::test]
async fn a_node_with_an_old_copy_of_its_folder_neither_votes_nor_proposes() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        client.put("k", "old").await.expect("done");
        theatre.settled().await;
        theatre.stop("n3");
        let (data, copy) = (theatre.data("n3"), theatre.folder().join("copy"));
        copy_folder(&data, &copy);
        theatre.start("n3");
        // What it only learns it does not acknowledge, and an old copy would have lost nothing: it must vote.
        let before = theatre.status("n3").await.batches;
        until("n3 votes", async || {
            client.put("k", "new").await.expect("done");
            (theatre.status("n3").await.batches >= before + 10).then_some(())
        })
        .await;
        theatre.settled().await;
        theatre.stop("n3");
        fs::remove_dir_all(&data).expect("removed");
        copy_folder(&copy, &data);
        is_amnesiac(theatre).await;
    })
    .await;
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

#[tokio::test]
async fn a_copy_of_a_folder_is_refused_while_the_original_runs() {
    bounded(async {
        let lines = Lines::listen();
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        serves(&client, "before").await;
        theatre.settled().await;
        theatre.halt("n2");
        let copy = theatre.folder().join("copy");
        copy_folder(&theatre.data("n2"), &copy);
        theatre.start("n2");
        until("n2 is back", async || {
            let peers = theatre.status("n1").await.peers;
            let n2 = peers.iter().find(|peer| peer.name == "n2").expect("n2");
            (n2.link == "up" && theatre.status("n2").await.trouble.is_none()).then_some(())
        })
        .await;
        let options = theatre.options["n2"].clone();
        let twin = NodeOptions { data: copy, listen: "127.0.0.1:0".into(), ..options };
        let twin = Node::start(twin, Composite::default()).expect("it runs, alone");
        let own = ConnectOptions::new(vec![twin.address().to_owned()], "synod", theatre.cookie.clone());
        let own = Client::connect(own).await.expect("it answers");
        until("the copy is told why", async || {
            let peers = own.status().await.expect("a status").peers;
            peers.iter().all(|peer| peer.link.contains("already goes by the name")).then_some(())
        })
        .await;
        assert!(own.status().await.expect("a status").trouble.is_some(), "it has met nobody, and does not vote");
        // And so is who refused it.
        for name in ["n1", "n3"] {
            let said = lines.containing(&format!("{name}: 127.0.0.1"));
            assert!(said.iter().any(|line| line.contains("already goes by the name `n2`")), "{said:?}");
        }
        serves(&client, "after").await;
        theatre.halt("n3");
        serves(&client, "with n1 and the original only").await;
    })
    .await;
}

/// From this batch of its first segment on, a stopped node's journal has nothing any more.
fn forget_from(data: &Path, batch: usize) {
    let files = segments(data);
    let (first, others) = files.split_first().expect("a journal");
    others.iter().for_each(|file| fs::remove_file(file).expect("removed"));
    let found = batches(&fs::read(first).expect("read"));
    zeroed(first, found[batch].0);
}

/// n1 founded alone and took two others in; then its journal lost everything from before that. The client talks to n1.
async fn grown_and_lost() -> Theatre {
    let mut theatre = Theatre::of(1);
    let client = theatre.client_on("n1").await;
    client.put("k", "alone").await.expect("done");
    let before = batches(&fs::read(&segments(&theatre.data("n1"))[0]).expect("read")).len();
    for name in ["n2", "n3"] {
        theatre.enter(name, Some("n1"));
        theatre.votes("n1", name).await;
    }
    client.put("k", "together").await.expect("done");
    theatre.settled().await;
    theatre.names().iter().for_each(|name| theatre.halt(name));
    forget_from(&theatre.data("n1"), before);
    theatre
}

/// n1, with nobody else there, does nothing, and says so.
async fn does_not_go_on_alone(theatre: &Theatre, words: &[&str]) {
    let client = theatre.client_on("n1").await.with_deadline(BRIEF);
    let promised = theatre.status("n1").await.promised;
    // Longer than it waits for all to be met.
    for _ in 0..2 {
        assert!(is_not_done(&client.put("k", "alone again").await));
        assert!(is_not_done(&client.get("k").await));
    }
    let status = theatre.status("n1").await;
    contains_all(&status.trouble.expect("trouble"), words);
    assert_eq!((status.phase.as_str(), status.promised), ("not voting", promised));
}

#[tokio::test]
async fn a_founder_whose_cluster_has_grown_does_not_go_on_alone_with_a_journal_that_lost_its_tail() {
    bounded(async {
        let mut theatre = grown_and_lost().await;
        for _ in 0..2 {
            theatre.start("n1");
            does_not_go_on_alone(
                &theatre,
                &["knows nothing behind slot", "the members were written down", "start them"],
            )
            .await;
            theatre.halt("n1");
        }
        // The others have what was acknowledged, and n1 learns it from them. They have seen more of it than it has.
        for name in theatre.names() {
            theatre.start(&name);
        }
        until("n1 knows what it does not know", async || {
            let trouble = theatre.status("n1").await.trouble?;
            trouble.contains("acknowledged data was lost").then_some(())
        })
        .await;
        let client = theatre.client_on("n2").await;
        assert_eq!(text(client.get("k").await.expect("two of three serve")), Some("together".into()));
        serves(&client, "after").await;
        theatre.settled().await;
        does_not_count(&mut theatre, "n2", "n3").await;
    })
    .await;
}

/// As after an upgrade: an earlier version kept only the address book.
#[tokio::test]
async fn a_founder_whose_address_book_names_others_does_not_go_on_alone_either() {
    bounded(async {
        let mut theatre = grown_and_lost().await;
        fs::remove_file(theatre.data("n1").join("members")).expect("it was written");
        theatre.start("n1");
        does_not_go_on_alone(&theatre, &["has met none of n2, n3"]).await;
    })
    .await;
}

/// Its journal is whole: once it meets one of them, it votes again.
#[tokio::test]
async fn a_founder_with_company_and_a_whole_journal_votes_as_soon_as_it_meets_somebody() {
    bounded(async {
        let mut theatre = Theatre::of(1);
        let client = theatre.client_on("n1").await;
        client.put("k", "v").await.expect("done");
        theatre.enter("n2", Some("n1"));
        theatre.votes("n1", "n2").await;
        theatre.settled().await;
        theatre.names().iter().for_each(|name| theatre.halt(name));
        theatre.start("n1");
        does_not_go_on_alone(&theatre, &["has met none of n2 since its start"]).await;
        theatre.start("n2");
        serves(&theatre.client_on("n1").await, "both").await;
    })
    .await;
}

/// A newcomer was added, and was gone for good before it had ever been told so.
#[tokio::test]
async fn a_founder_whose_newcomer_is_gone_for_good_goes_on_once_that_is_forsaken_and_has_lost_nothing() {
    bounded(async {
        let mut theatre = Theatre::of(1);
        let client = theatre.client_on("n1").await;
        theatre.enter("n2", None);
        let met = client.meet(&theatre.address("n2")).await.expect("it listens");
        theatre.halt("n2");
        fs::remove_dir_all(theatre.data("n2")).expect("its folder");
        let change = Change::Add { name: met.name, incarnation: met.incarnation };
        let added = client.change(change, false).await.expect("n1 decides alone").result;
        assert!(matches!(added, Outcome::Changed { .. }), "{added:?}");
        client.put("k", "acknowledged").await.expect("n1 still decides alone");
        let restart = |theatre: &mut Theatre, forsaken: &[&str]| {
            theatre.halt("n1");
            theatre.options.get_mut("n1").expect("n1").forsake = forsaken.iter().map(ToString::to_string).collect();
            theatre.start("n1");
        };
        for forsaken in [&[][..], &["n3"]] {
            restart(&mut theatre, forsaken);
            does_not_go_on_alone(&theatre, &["has met none of n2 since its start", "--forsake"]).await;
        }
        restart(&mut theatre, &["n2"]);
        let client = theatre.client_on("n1").await;
        assert_eq!(text(client.get("k").await.expect("it serves")), Some("acknowledged".into()));
        // At the next start it waits again, until the newcomer is no member any more.
        restart(&mut theatre, &[]);
        does_not_go_on_alone(&theatre, &["has met none of n2 since its start"]).await;
        restart(&mut theatre, &["n2"]);
        let client = theatre.client_on("n1").await;
        client.remove_member("n2", false).await.expect("it goes");
        serves(&client, "after").await;
        restart(&mut theatre, &[]);
        let client = theatre.client_on("n1").await;
        assert_eq!(text(client.get("k").await.expect("it serves by itself")), Some("acknowledged".into()));
        serves(&client, "alone").await;
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_shrank_to_one_goes_on_alone_after_a_start() {
    bounded(async {
        let mut theatre = Theatre::of(1);
        theatre.enter("n2", Some("n1"));
        theatre.votes("n1", "n2").await;
        let client = theatre.client_on("n1").await;
        client.remove_member("n2", false).await.expect("n1 is left");
        until("n2 stops by itself", async || theatre.nodes["n2"].has_stopped().then_some(())).await;
        client.put("k", "v").await.expect("one of one");
        theatre.stop("n1");
        theatre.start("n1");
        let client = theatre.client_on("n1").await;
        assert_eq!(text(client.get("k").await.expect("it serves")), Some("v".into()));
        serves(&client, "after").await;
    })
    .await;
}

/// Appends words until it is told to stop; each is there once then.
struct Load {
    over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<String>,
}

impl Load {
    fn begin(client: Client) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let task = tokio::spawn(async move {
            let mut words = String::new();
            for number in 0.. {
                if told.load(Ordering::SeqCst) {
                    break;
                }
                let word = format!("{number} ");
                client.append("words", word.as_str()).await.expect("two of three serve");
                words += &word;
            }
            words
        });
        Load { over, task }
    }

    async fn end(self, client: &Client) {
        self.over.store(true, Ordering::SeqCst);
        let words = self.task.await.expect("no panic");
        assert_eq!(text(client.get("words").await.expect("read")), Some(words));
    }
}

/// It votes, and everybody is linked with it.
async fn is_back(theatre: &Theatre, name: &str) {
    until("it is let in again", async || {
        for other in theatre.names() {
            let status = theatre.status(&other).await;
            let concerns = |peer: &str| other == name || peer == name;
            if status.peers.iter().any(|peer| concerns(&peer.name) && peer.link != "up") {
                return None;
            }
        }
        theatre.status(name).await.trouble.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_starts_again_quickly_under_load_is_always_let_in_again() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client().await;
        serves(&client, "founded").await;
        theatre.settled().await;
        let load = Load::begin(client.clone());
        for name in ["n3", "n3", "n1", "n2", "n2", "n3"] {
            theatre.halt(name);
            theatre.start(name);
            is_back(&theatre, name).await;
        }
        // Not even met in between.
        for _ in 0..5 {
            theatre.halt("n3");
            theatre.start("n3");
        }
        is_back(&theatre, "n3").await;
        load.end(&client).await;
        theatre.settled().await;
        theatre.halt("n1");
        serves(&theatre.client_on("n3").await, "n2 and n3 only").await;
    })
    .await;
}

#[tokio::test]
async fn a_node_that_installed_a_snapshot_and_crashed_agrees_and_goes_on() {
    bounded(async {
        let mut theatre = Theatre::trimming(3);
        let client = theatre.client_on("n1").await;
        for round in 0..2 {
            client.put(format!("kept {round}"), "v").await.expect("done");
            let known = theatre.outrun("n3", &client, &format!("large {round}")).await;
            let load = Load::begin(client.clone());
            theatre.start("n3");
            // It crashes while the snapshot is in memory only, and then when it is saved and more is learned behind it.
            until("n3 has jumped", async || (theatre.status("n3").await.executed_upto > known).then_some(())).await;
            theatre.halt("n3");
            theatre.start("n3");
            until("n3 has saved it", async || (theatre.status("n3").await.snapshot_upto > known).then_some(())).await;
            theatre.halt("n3");
            theatre.start("n3");
            load.end(&client).await;
            client.delete("words").await.expect("done");
            theatre.settled().await;
            is_back(&theatre, "n3").await;
        }
        // Key by key, and as a voter that is needed.
        let local = theatre.client_on("n3").await;
        for round in 0..2 {
            for (key, value) in [(format!("kept {round}"), "v"), (format!("large {round}"), common::large().as_str())] {
                assert_eq!(text(local.get_local(key.as_str()).await.expect("read")).as_deref(), Some(value), "{key}");
            }
        }
        theatre.halt("n2");
        serves(&theatre.client_on("n3").await, "n1 and n3 only").await;
        theatre.settled().await;
    })
    .await;
}

#[tokio::test]
async fn snapshots_that_are_damaged_are_named_and_their_node_has_the_state_from_another() {
    bounded(async {
        let lines = Lines::listen();
        let mut theatre = Theatre::trimming(3);
        let client = theatre.client_on("n1").await;
        let is_saved = async || {
            client.put("k", large()).await.expect("done");
            (theatre.status("n3").await.trimmed_upto > Slot::ZERO).then_some(())
        };
        until("n3 needs its snapshots", is_saved).await;
        client.put("last", "v").await.expect("done");
        theatre.settled().await;
        theatre.halt("n3");
        let entries = fs::read_dir(theatre.data("n3")).expect("a folder").map(|entry| entry.expect("an entry").path());
        let is_snapshot =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snapshot-"));
        let snapshots: Vec<PathBuf> = entries.filter(is_snapshot).collect();
        for path in &snapshots {
            let mut bytes = fs::read(path).expect("read");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("written");
        }
        theatre.start("n3");
        for path in &snapshots {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let said = lines.containing(&format!("n3: the snapshot `{name}"));
            assert_eq!(said.len(), 1, "{said:?}");
            contains_all(&said[0], &["is damaged", "replace this node by a new member with an empty folder"]);
        }
        serves(&client, "meanwhile").await;
        theatre.settled().await;
        let local = theatre.client_on("n3").await;
        assert_eq!(text(local.get("last").await.expect("read")), Some("v".into()));
        // It counts.
        theatre.halt("n2");
        serves(&theatre.client_on("n1").await, "n1 and n3").await;
    })
    .await;
}

#[tokio::test]
async fn slots_that_rot_on_one_node_are_had_from_another() {
    bounded(async {
        let lines = Lines::listen();
        let mut theatre = Theatre::of(3);
        let client = theatre.client_on("n1").await;
        // The first vote waits for all three.
        serves(&client, "founded").await;
        theatre.settled().await;
        theatre.halt("n3");
        for number in 0..20 {
            client.put(format!("k{number}"), format!("value number {number} of all")).await.expect("done");
        }
        // Whom n3 asks first is the leader; but let both have lost something.
        for (name, number) in [("n1", 7), ("n2", 12)] {
            let file = segments(&theatre.data(name)).pop().expect("a journal");
            let (bytes, word) = (fs::read(&file).expect("read"), format!("value number {number} of all"));
            let found = bytes.windows(word.len()).position(|window| window == word.as_bytes()).expect("it is there");
            let mut file = fs::OpenOptions::new().write(true).open(&file).expect("opened");
            file.seek(SeekFrom::Start(found as u64)).expect("there");
            file.write_all(b"V").expect("written");
        }
        theatre.start("n3");
        theatre.settled().await;
        let local = theatre.client_on("n3").await;
        for number in 0..20 {
            let value = text(local.get_local(format!("k{number}")).await.expect("read"));
            assert_eq!(value, Some(format!("value number {number} of all")));
        }
        let said = lines.containing("cannot supply slot");
        assert!(!said.is_empty(), "whoever could not supply a slot says so");
        contains_all(&said[0], &["journal-", "damaged"]);
        is_back(&theatre, "n3").await;
        theatre.halt("n2");
        serves(&client, "n1 and n3 only").await;
    })
    .await;
}

#[cfg(unix)]
mod suspended {
    use std::process::Command;
    use std::time::Instant;

    use super::program::{Home, NodeProcess};
    use super::*;
    use synod::net::cookie::Cookie;
    use synod::net::cookie_file;
    use synod::net::link::LinkLimits;
    use synod::net::report::Status;

    const NAMES: [&str; 3] = ["n1", "n2", "n3"];

    /// Nodes as processes: only those can be suspended.
    struct Processes {
        home: Home,
        cookie: Cookie,
        nodes: [NodeProcess; 3],
    }

    impl Processes {
        async fn start() -> Processes {
            let home = Home::new();
            let cookie = cookie_file::read_or_make(&home.path("cookie")).expect("a cookie");
            let nodes = NAMES.map(|name| Processes::node(&home, name, "127.0.0.1:0"));
            let processes = Processes { home, cookie, nodes };
            let first = processes.client(0).await;
            for (name, node) in NAMES.iter().zip(&processes.nodes).skip(1) {
                first.connect_node(name, &node.address).await.expect("introduced");
            }
            first.put("first", "v").await.expect("founded");
            processes
        }

        fn node(home: &Home, name: &str, listen: &str) -> NodeProcess {
            let (data, cookie) = (home.path(name).display().to_string(), home.path("cookie").display().to_string());
            let voters = NAMES.join(",");
            let words = ["--name", name, "--data", &data, "--cookie-file", &cookie, "--listen", listen];
            home.start(&[&words[..], &["--voters", &voters]].concat())
        }

        fn restart(&mut self, index: usize) {
            let address = self.nodes[index].address.clone();
            self.nodes[index].kill();
            self.nodes[index] = Processes::node(&self.home, NAMES[index], &address);
        }

        fn signal(&self, index: usize, signal: &str) {
            let process = self.nodes[index].child.id().to_string();
            let sent = Command::new("kill").args([signal, &process]).status().expect("it can be signalled");
            assert!(sent.success());
        }

        async fn client(&self, index: usize) -> Client {
            let address = self.nodes[index].address.clone();
            let mut options = ConnectOptions::new(vec![address], "synod", self.cookie.clone());
            options.deadline = common::SOON;
            Client::connect(options).await.expect("it answers").on_node(NAMES[index]).await.expect("it answers")
        }

        async fn status(&self, index: usize) -> Status {
            self.client(index).await.status().await.expect("a status")
        }

        /// The leader, and the two others.
        async fn cast(&self) -> (usize, usize, usize) {
            let leader = until("there is a leader", async || self.status(0).await.leader).await;
            let leader = NAMES.iter().position(|name| *name == leader).expect("one of us");
            (leader, (leader + 1) % 3, (leader + 2) % 3)
        }

        async fn settled(&self) {
            until("all agree", async || {
                let mut seen = Vec::new();
                for index in 0..3 {
                    let status = self.status(index).await;
                    seen.push((status.executed_upto, status.chosen_upto, status.digest));
                }
                seen.iter().all(|each| *each == seen[0] && each.0 == each.1).then_some(())
            })
            .await;
        }
    }

    /// What a running node's journal says now, looked at in a copy.
    fn records(data: &Path, copy: &Path) -> Option<(BatchNumber, Vec<Record>)> {
        fs::create_dir(copy).expect("made");
        segments(data).iter().for_each(|file| drop(fs::copy(file, copy.join(file.file_name().expect("a name")))));
        // It may have been written to meanwhile: then what was copied may be none.
        let opened = Journal::open(FileDisk::new(copy), Settings::default()).ok();
        fs::remove_dir_all(copy).expect("removed");
        opened.map(|opened| (opened.journal.last_batch(), opened.records))
    }

    fn own_id(records: &[Record]) -> NodeId {
        let own = records.iter().find_map(|record| match record {
            Record::Founded { node, .. } => Some(*node),
            _ => None,
        });
        own.expect("founded")
    }

    #[tokio::test]
    async fn an_old_copy_is_not_let_in_by_a_follower_while_the_leader_is_suspended() {
        bounded(async {
            let mut cast = Processes::start().await;
            let (leader, follower, victim) = cast.cast().await;
            let (data, old, look) = (cast.home.path(NAMES[victim]), cast.home.path("old"), cast.home.path("look"));
            cast.nodes[victim].kill();
            copy_folder(&data, &old);
            let (ends_at, held) = records(&data, &look).expect("whole");
            let own = own_id(&held);
            cast.restart(victim);
            let client = cast.client(leader).await;
            let others = cast.home.path(NAMES[follower]);
            let mut acknowledged = 0;
            until("the follower has journaled that the victim went on", async || {
                client.append("list", "x").await.expect("done");
                acknowledged += 1;
                let (_, records) = records(&others, &look)?;
                let went_on =
                    |record: &Record| matches!(record, Record::Witnessed { node, batch } if *node == own && *batch > ends_at);
                records.iter().any(went_on).then_some(())
            })
            .await;
            cast.signal(leader, "-STOP");
            cast.nodes[victim].kill();
            fs::remove_dir_all(&data).expect("removed");
            copy_folder(&old, &data);
            cast.restart(victim);
            until("the victim knows what it does not know", async || {
                let status = cast.status(victim).await;
                assert!(status.phase == "not voting", "{status:?}");
                status.trouble.filter(|why| why.contains("acknowledged data was lost"))
            })
            .await;
            let brief = cast.client(follower).await.with_deadline(BRIEF);
            assert!(brief.append("list", "never").await.is_err(), "one honest node is no majority");
            cast.signal(leader, "-CONT");
            client.append("other", "y").await.expect("two honest nodes are one");
            let list = text(client.get("list").await.expect("read")).expect("a list");
            assert!(list.starts_with(&"x".repeat(acknowledged)), "{list}");
            cast.settled().await;
        })
        .await;
    }

    #[tokio::test]
    async fn an_old_copy_is_not_let_in_by_a_follower_that_was_suspended_while_others_went_on() {
        bounded(async {
            let mut cast = Processes::start().await;
            let (leader, follower, victim) = cast.cast().await;
            let (data, old) = (cast.home.path(NAMES[victim]), cast.home.path("old"));
            cast.nodes[victim].kill();
            copy_folder(&data, &old);
            cast.restart(victim);
            cast.settled().await;
            cast.signal(follower, "-STOP");
            let suspended = Instant::now();
            let client = cast.client(leader).await;
            for _ in 0..20 {
                client.append("list", "x").await.expect("two serve");
            }
            // Until the follower, too, has reason to give its links up when it looks at the clock again: what was said
            // on them is still there to be heard.
            until("the leader has given up the follower", async || {
                let peers = cast.status(leader).await.peers;
                let given_up = peers.iter().any(|peer| peer.name == NAMES[follower] && peer.link != "up");
                (given_up && suspended.elapsed() > LinkLimits::DEFAULT.patience).then_some(())
            })
            .await;
            cast.signal(leader, "-STOP");
            cast.nodes[victim].kill();
            fs::remove_dir_all(&data).expect("removed");
            copy_folder(&old, &data);
            cast.signal(follower, "-CONT");
            cast.restart(victim);
            until("the victim knows what it does not know", async || {
                let status = cast.status(victim).await;
                assert!(status.phase == "not voting", "{status:?}");
                status.trouble.filter(|why| why.contains("acknowledged data was lost"))
            })
            .await;
            cast.signal(leader, "-CONT");
            client.append("other", "y").await.expect("two honest nodes are a majority");
            assert_eq!(text(client.get("list").await.expect("read")), Some("x".repeat(20)));
            cast.settled().await;
        })
        .await;
    }

    #[tokio::test]
    async fn what_an_honest_node_wrote_since_its_start_is_no_loss_to_a_node_that_was_suspended() {
        bounded(async {
            let mut cast = Processes::start().await;
            let (leader, follower, restarted) = cast.cast().await;
            cast.signal(leader, "-STOP");
            cast.restart(restarted);
            // The two go on, and tell the suspended one of each other before it has met the one that was restarted.
            let client = cast.client(follower).await;
            let (own, look) = (cast.home.path(NAMES[restarted]), cast.home.path("look"));
            let begun = until("it can be read", async || records(&own, &look)).await.0;
            until("the one that was restarted has written more", async || {
                client.append("list", "x").await.expect("two serve");
                (records(&own, &look)?.0.0 > begun.0 + 40).then_some(())
            })
            .await;
            cast.signal(leader, "-CONT");
            until("all are linked", async || {
                let status = cast.status(restarted).await;
                status.peers.iter().all(|peer| peer.link == "up").then_some(())
            })
            .await;
            cast.settled().await;
            let status = cast.status(restarted).await;
            assert_eq!(status.trouble, None, "it has lost nothing");
            // And is needed.
            cast.nodes[follower].kill();
            cast.client(leader).await.put("after", "v").await.expect("two serve");
        })
        .await;
    }
}
