//! Three and five nodes in one process, over real sockets and folders.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{SOON, Theatre, bounded, is_not_done, text, until};
use synod::actors::Cluster;
use synod::client::{ClientError, ConnectOptions};
use synod::machine::Composite;
use synod::machine::kv::MAX_VALUE_BYTES;
use synod::paxos::{Bytes, Slot};
use tokio::task::JoinSet;

const BRIEF: Duration = Duration::from_millis(700);

#[tokio::test]
async fn three_nodes_agree_and_end_with_one_digest() {
    bounded(async {
        let theatre = Theatre::of(3);
        let before = theatre.settled().await;
        for name in theatre.names() {
            let client = theatre.client_on(&name).await;
            client.put(format!("from {name}"), name.as_str()).await.expect("done");
        }
        assert_ne!(theatre.settled().await, before);
        for name in theatre.names() {
            let client = theatre.client_on(&name).await;
            for other in theatre.names() {
                assert_eq!(text(client.get(format!("from {other}")).await.expect("read")), Some(other));
            }
        }
        let logs = [theatre.log("n1").await, theatre.log("n2").await, theatre.log("n3").await];
        assert!(logs[0].len() >= 6, "three sessions and three commands: {logs:?}");
        assert_eq!((&logs[0], &logs[0]), (&logs[1], &logs[2]));
    })
    .await;
}

#[tokio::test]
async fn five_nodes_go_on_without_two() {
    bounded(async {
        let mut theatre = Theatre::of(5);
        let client = theatre.client().await;
        client.put("k", "1").await.expect("done");
        let leader = theatre.leader().await;
        let other = theatre.names().into_iter().find(|name| *name != leader).expect("five");
        theatre.halt(&leader);
        theatre.halt(&other);
        client.append("k", "2").await.expect("three of five serve");
        assert_eq!(text(client.get("k").await.expect("read")), Some("12".into()));
        theatre.start(&leader);
        theatre.start(&other);
        theatre.settled().await;
    })
    .await;
}

#[tokio::test]
async fn a_library_user_has_three_replicas_in_a_few_lines() {
    bounded(async {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Cluster::local(3, folder.path(), Composite::default).expect("started");
        let client = cluster.client().await.expect("connected");
        client.put("greeting", "hello").await.expect("done");
        cluster.fail("n2").expect("n2 ran");
        client.append("greeting", " again").await.expect("two serve");
        cluster.recover("n2", Composite::default()).expect("n2 starts");
        assert_eq!(text(client.get("greeting").await.expect("read")), Some("hello again".into()));
        let unknown = cluster.fail("n9").expect_err("no such node").to_string();
        assert!(unknown.contains("n9") && unknown.contains("n1, n2, n3"), "{unknown}");
        cluster.stop().expect("all stop in order");
    })
    .await;
}

#[tokio::test]
async fn served_again_within_a_second_of_the_leaders_crash() {
    bounded(async {
        let mut took = Vec::new();
        while took.len() < 3 {
            let mut theatre = Theatre::of(3);
            let leader = theatre.leader().await;
            let away = theatre.names().into_iter().find(|name| *name != leader).expect("three");
            // The client waits at another node, as one that lost its own would after one more dial.
            let client = theatre.client_on(&away).await;
            client.put("k", "before").await.expect("done");
            let crash = Instant::now();
            theatre.halt(&leader);
            client.put("k", "after").await.expect("served again");
            took.push(crash.elapsed());
            if took.last().is_some_and(|took| *took < Duration::from_secs(1)) {
                return;
            }
        }
        panic!("three crashes, each took more than a second: {took:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_of_the_crashed_leader_itself_is_served_again() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let leader = theatre.leader().await;
        let client = theatre.client_on(&leader).await;
        client.put("k", "before").await.expect("done");
        let roaming = theatre.client().await;
        roaming.put("k", "roaming").await.expect("done");
        theatre.halt(&leader);
        roaming.append("k", " still").await.expect("another node serves");
        assert_eq!(text(roaming.get("k").await.expect("read")), Some("roaming still".into()));
    })
    .await;
}

#[tokio::test]
async fn a_minority_answers_no_write_and_no_linearizable_read_and_says_so_in_time() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let survivor = "n1";
        let client = theatre.client_on(survivor).await;
        client.put("k", "v").await.expect("done");
        theatre.settled().await;
        theatre.halt("n2");
        theatre.halt("n3");
        // As long as it follows one of the dead it hands commands on, and what was handed on is in doubt.
        until("n1 knows of no leader", async || theatre.status(survivor).await.leader.is_none().then_some(())).await;
        let brief = client.with_deadline(BRIEF);
        let start = Instant::now();
        let (write, read) = (brief.put("k", "lost").await, brief.get("k").await);
        assert!(start.elapsed() < 4 * BRIEF, "it says so within the deadline: {:?}", start.elapsed());
        assert!(is_not_done(&write), "{write:?}");
        assert!(is_not_done(&read), "{read:?}");
        assert_eq!(text(client.get_local("k").await.expect("local reads go on")), Some("v".into()));
        theatre.start("n2");
        client.put("k", "w").await.expect("a majority again");
        assert_eq!(text(client.get("k").await.expect("read")), Some("w".into()));
    })
    .await;
}

#[tokio::test]
async fn a_write_under_way_when_the_majority_is_lost_ends_as_unknown() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let leader = theatre.leader().await;
        let client = theatre.client_on(&leader).await;
        client.put("k", "v").await.expect("done");
        for name in theatre.names().into_iter().filter(|name| *name != leader) {
            theatre.halt(&name);
        }
        // The leader does not know yet: it proposes this, and nobody answers.
        let outcome = client.with_deadline(BRIEF).put("k", "perhaps").await;
        assert!(matches!(outcome, Err(ClientError::Unknown { .. })), "{outcome:?}");
        assert_eq!(outcome.map(drop).map_err(|error| error.exit_code()), Err(3));
        for name in theatre.names().into_iter().filter(|name| *name != leader) {
            theatre.start(&name);
        }
        client.put("after", "x").await.expect("a majority again");
        let found = text(client.get("k").await.expect("read"));
        assert!(found == Some("v".into()) || found == Some("perhaps".into()), "{found:?}");
    })
    .await;
}

async fn everything_is_there_after_all_nodes(end: impl Fn(&mut Theatre, &str)) {
    let mut theatre = Theatre::of(3);
    let client = theatre.client().await;
    for number in 0..20 {
        client.append("list", format!("{number} ")).await.expect("done");
    }
    let list: String = (0..20).map(|number| format!("{number} ")).collect();
    for name in theatre.names() {
        end(&mut theatre, &name);
    }
    for name in theatre.names() {
        theatre.start(&name);
    }
    let client = theatre.client().await;
    assert_eq!(text(client.get("list").await.expect("read")), Some(list.clone()));
    client.append("list", "more").await.expect("done");
    theatre.settled().await;
    for name in theatre.names() {
        let client = theatre.client_on(&name).await;
        assert_eq!(text(client.get_local("list").await.expect("read")), Some(format!("{list}more")));
    }
}

#[tokio::test]
async fn a_cluster_that_was_stopped_has_everything_when_it_starts_again() {
    bounded(everything_is_there_after_all_nodes(Theatre::stop)).await;
}

#[tokio::test]
async fn a_cluster_that_crashed_has_everything_when_it_starts_again() {
    bounded(everything_is_there_after_all_nodes(Theatre::halt)).await;
}

#[tokio::test]
async fn a_restarted_node_catches_up_by_itself() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client().await;
        client.put("k", "0").await.expect("done");
        theatre.halt("n3");
        for number in 1..50 {
            client.put("k", number.to_string()).await.expect("done");
        }
        theatre.start("n3");
        theatre.settled().await;
        let behind = theatre.client_on("n3").await;
        assert_eq!(text(behind.get_local("k").await.expect("read")), Some("49".into()));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_was_away_while_journals_were_trimmed_takes_a_snapshot() {
    bounded(async {
        let mut theatre = Theatre::trimming(3);
        let client = theatre.client().await;
        client.put("first", "1").await.expect("done");
        let known = theatre.outrun("n3", &client, "large").await;
        theatre.start("n3");
        theatre.settled().await;
        let status = theatre.status("n3").await;
        assert!(status.snapshot_upto > known, "it took a snapshot: {status:?}");
        let behind = theatre.client_on("n3").await;
        assert_eq!(text(behind.get_local("first").await.expect("read")), Some("1".into()));
        // What it installed survives its own crash, and that of the whole cluster.
        for name in theatre.names() {
            theatre.halt(&name);
        }
        for name in theatre.names() {
            theatre.start(&name);
        }
        let client = theatre.client().await;
        assert_eq!(text(client.get("large").await.expect("read")), Some(common::large()));
        theatre.settled().await;
    })
    .await;
}

#[tokio::test]
async fn a_group_of_one_serves_and_keeps_what_it_has() {
    bounded(async {
        let mut theatre = Theatre::empty(1);
        let options = theatre.options.get_mut("n1").expect("n1");
        options.voters.clear();
        options.alone = true;
        theatre.start("n1");
        theatre.client().await.put("k", "v").await.expect("done");
        theatre.halt("n1");
        // Afterwards the folder knows: no flag is needed.
        theatre.options.get_mut("n1").expect("n1").alone = false;
        theatre.start("n1");
        let client = theatre.client().await;
        assert_eq!(text(client.get("k").await.expect("read")), Some("v".into()));
        client.append("k", "w").await.expect("done");
        theatre.stop("n1");
        theatre.start("n1");
        assert_eq!(text(theatre.client().await.get("k").await.expect("read")), Some("vw".into()));
    })
    .await;
}

/// Appends one unique word a command, all at once, through all nodes; each must be there once.
async fn thousand_commands(theatre: &Theatre, count: usize) {
    let mut clients = Vec::new();
    for name in theatre.names() {
        clients.push(theatre.client_on(&name).await);
        clients.push(theatre.client_on(&name).await);
    }
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let client = clients[number % clients.len()].clone();
        tasks.spawn(async move { client.append("words", format!("{number} ")).await.expect("done").place });
    }
    let places = tasks.join_all().await;
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), count, "every command has a place of its own");
    let words = text(clients[0].get("words").await.expect("read")).expect("there are words");
    let mut found: Vec<usize> = words.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    found.sort_unstable();
    assert_eq!(found, (0..count).collect::<Vec<_>>(), "each is there exactly once");
    theatre.settled().await;
}

#[tokio::test]
async fn a_thousand_concurrent_commands_through_all_nodes_take_effect_once_each() {
    bounded(async { thousand_commands(&Theatre::of(3), 1000).await }).await;
}

#[tokio::test]
async fn one_command_at_a_time_works_too() {
    bounded(async {
        let theatre = Theatre::with(3, |mut options| {
            options.settings.window = 1;
            options.settings.batch = 1;
            options
        });
        thousand_commands(&theatre, 100).await;
        let log = theatre.log("n2").await;
        assert!(log.len() > 100 && log.keys().all(|place| place.index == 1), "one command a slot");
    })
    .await;
}

#[tokio::test]
async fn many_sequences_in_flight_take_effect_once_across_a_leaders_crash() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        let client = theatre.client().await;
        client.put("words", "").await.expect("done");
        let mut tasks = JoinSet::new();
        let append = |number: usize| {
            let client = client.clone();
            async move { client.append("words", format!("{number} ")).await.map(|done| done.place) }
        };
        (0..300).for_each(|number| drop(tasks.spawn(append(number))));
        let first = tasks.join_next().await.expect("tasks").expect("no panic").expect("done");
        let leader = theatre.leader().await;
        (300..600).for_each(|number| drop(tasks.spawn(append(number))));
        theatre.halt(&leader);
        let mut places = BTreeSet::from([first]);
        for place in tasks.join_all().await {
            assert!(places.insert(place.expect("done, whoever leads")), "a place twice");
        }
        theatre.start(&leader);
        let words = text(client.get("words").await.expect("read")).expect("words");
        let mut found: Vec<usize> = words.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        found.sort_unstable();
        assert_eq!(found, (0..600).collect::<Vec<_>>());
        theatre.settled().await;
    })
    .await;
}

#[tokio::test]
async fn compare_and_set_has_one_winner() {
    bounded(async {
        let theatre = Theatre::of(3);
        let mut tasks = JoinSet::new();
        for name in theatre.names() {
            let client = theatre.client_on(&name).await;
            tasks.spawn(async move { (client.cas("k", None, name.as_str()).await.expect("done").result, name) });
        }
        let results = tasks.join_all().await;
        let winners: Vec<&String> = results.iter().filter(|(won, _)| won.is_ok()).map(|(_, name)| name).collect();
        let [winner] = winners[..] else { panic!("one winner: {results:?}") };
        let held: Bytes = winner.as_str().into();
        for (result, name) in results.iter().filter(|(_, name)| name != winner) {
            assert_eq!(*result, Err(Some(held.clone())), "{name} is told what is there");
        }
        let client = theatre.client().await;
        assert_eq!(client.cas("k", Some(held), "next").await.expect("done").result, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn everyone_who_proposes_for_a_register_gets_the_same_value_and_it_was_proposed() {
    bounded(async {
        let theatre = Theatre::of(3);
        let mut tasks = JoinSet::new();
        for name in theatre.names() {
            let client = theatre.client_on(&name).await;
            tasks.spawn(async move { client.decide("register", name.as_str()).await.expect("done").result });
        }
        let results: BTreeSet<String> =
            tasks.join_all().await.into_iter().map(|value| text(Some(value)).expect("a value")).collect();
        assert_eq!(results.len(), 1, "{results:?}");
        let value = results.first().expect("one").clone();
        assert!(theatre.names().contains(&value), "{value}");
        for name in theatre.names() {
            let client = theatre.client_on(&name).await;
            assert_eq!(text(client.decided("register").await.expect("read")), Some(value.clone()));
            assert_eq!(text(Some(client.decide("register", "late").await.expect("done").result)), Some(value.clone()));
        }
    })
    .await;
}

#[tokio::test]
async fn what_one_node_acknowledged_every_node_reads() {
    bounded(async {
        let theatre = Theatre::of(3);
        let mut clients = Vec::new();
        for name in theatre.names() {
            clients.push(theatre.client_on(&name).await);
        }
        for number in 0..60 {
            clients[number % 3].put("k", number.to_string()).await.expect("done");
            let seen = text(clients[(number + 1) % 3].get("k").await.expect("read"));
            assert_eq!(seen, Some(number.to_string()), "a read that began after the write was done");
        }
    })
    .await;
}

#[tokio::test]
async fn one_connect_introduces_everybody_and_it_is_remembered() {
    bounded(async {
        let mut theatre = Theatre::empty(3);
        for name in theatre.names() {
            theatre.start(&name);
        }
        let (one, two) = (theatre.client_on("n1").await, theatre.client_on("n2").await);
        let status = one.status().await.expect("a status");
        assert_eq!(status.phase, "founding");
        assert!(status.trouble.is_some_and(|why| why.contains("n2, n3")), "it says whom it waits for");
        let refused = one.with_deadline(BRIEF).put("k", "v").await;
        assert!(is_not_done(&refused), "{refused:?}");
        assert_eq!(one.connect_node("n2", &theatre.address("n2")).await.expect("connected"), "n2");
        assert_eq!(two.connect_node("n3", &theatre.address("n3")).await.expect("connected"), "n3");
        one.put("k", "v").await.expect("founded, elected, done");
        until("everybody is linked to everybody", async || {
            for name in theatre.names() {
                let peers = theatre.status(&name).await.peers;
                if peers.len() != 2 || peers.iter().any(|peer| peer.link != "up" || peer.address.is_empty()) {
                    return None;
                }
            }
            Some(())
        })
        .await;
        for name in theatre.names() {
            theatre.stop(&name);
        }
        for name in theatre.names() {
            theatre.start(&name);
        }
        assert_eq!(text(theatre.client().await.get("k").await.expect("read")), Some("v".into()));
    })
    .await;
}

#[tokio::test]
async fn addresses_that_only_flags_told_are_remembered_too() {
    bounded(async {
        let mut theatre = Theatre::empty(2);
        let known = ("n2".to_owned(), "127.0.0.1:1".to_owned());
        theatre.options.get_mut("n1").expect("an actor").peers = vec![known];
        theatre.start("n1");
        theatre.halt("n1");
        theatre.options.get_mut("n1").expect("an actor").peers.clear();
        theatre.start("n1");
        assert_eq!(theatre.status("n1").await.peers[0].address, "127.0.0.1:1");
    })
    .await;
}

#[tokio::test]
async fn a_node_that_comes_back_on_another_port_is_found() {
    bounded(async {
        let mut theatre = Theatre::of(3);
        theatre.client().await.put("k", "v").await.expect("done");
        let before = theatre.address("n3");
        theatre.stop("n3");
        let holder = std::net::TcpListener::bind(&before).expect("nobody else took it");
        theatre.start("n3");
        assert_ne!(theatre.address("n3"), before);
        let moved = theatre.address("n3");
        until("n1 and n2 dial n3 where it lives now", async || {
            for name in ["n1", "n2"] {
                let peers = theatre.status(name).await.peers;
                let n3 = peers.iter().find(|peer| peer.name == "n3").expect("a voter");
                if n3.address != moved || n3.link != "up" {
                    return None;
                }
            }
            Some(())
        })
        .await;
        drop(holder);
        theatre.halt("n1");
        theatre.client_on("n3").await.put("k", "w").await.expect("n2 and n3 are a majority");
    })
    .await;
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_and_nothing_is_lost() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client().await;
        client.put("k", "v").await.expect("done");
        for length in [MAX_VALUE_BYTES + 1, 2 << 20, 5 << 20] {
            let refused = client.put("k", vec![b'x'; length]).await;
            assert!(matches!(refused, Err(ClientError::Refused { .. })), "{length}: {refused:?}");
        }
        assert_eq!(text(client.get("k").await.expect("read")), Some("v".into()));
        client.put("k", vec![b'x'; MAX_VALUE_BYTES]).await.expect("the limit itself fits");
        assert_eq!(client.get("k").await.expect("read").map(|value| value.len()), Some(MAX_VALUE_BYTES));
        theatre.settled().await;
    })
    .await;
}

#[tokio::test]
async fn large_values_of_many_at_once_come_through() {
    bounded(async {
        let theatre = Theatre::of(3);
        let client = theatre.client().await;
        let mut tasks = JoinSet::new();
        for number in 0..40 {
            let client = client.clone();
            tasks.spawn(async move { client.put(format!("k{number}"), vec![b'x'; 1 << 20]).await.map(drop) });
        }
        tasks.join_all().await.into_iter().for_each(|outcome| outcome.expect("done"));
        let mut tasks = JoinSet::new();
        for number in 0..40 {
            let client = client.clone();
            tasks.spawn(async move { client.get(format!("k{number}")).await.expect("read").map(|value| value.len()) });
        }
        assert!(tasks.join_all().await.into_iter().all(|length| length == Some(1 << 20)), "in frames that fit");
        let log = theatre.log("n1").await;
        assert!(log.len() >= 41, "a log of 40 MiB is looked at in parts: {}", log.len());
        assert!(theatre.status("n1").await.executed_upto > Slot::ZERO);
    })
    .await;
}

#[tokio::test]
async fn the_advertised_name_travels_and_is_resolved_at_every_dial() {
    bounded(async {
        let mut theatre = Theatre::empty(3);
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket").local_addr().expect("its address");
        let advertised = format!("localhost:{}", free.port());
        let first = theatre.options.get_mut("n1").expect("the first");
        (first.listen, first.advertise) = (free.to_string(), Some(advertised.clone()));
        theatre.start("n1");
        assert_eq!(theatre.advertised("n1"), advertised);
        theatre.options.get_mut("n2").expect("the second").peers = vec![("n1".into(), advertised.clone())];
        theatre.start("n2");
        // The third hears of the first from the second.
        let second = theatre.address("n2");
        theatre.options.get_mut("n3").expect("the third").peers = vec![("n2".into(), second)];
        theatre.start("n3");
        theatre.settled().await;
        let knows = async |theatre: &Theatre, name: &str| {
            let client = theatre.client_on(name).await;
            until("the link to the advertised name is up", async || {
                let status = client.status().await.ok()?;
                let first = status.peers.into_iter().find(|peer| peer.name == "n1")?;
                (first.address == advertised && first.link == "up").then_some(())
            })
            .await;
        };
        knows(&theatre, "n2").await;
        knows(&theatre, "n3").await;
        theatre.halt("n1");
        theatre.options.get_mut("n1").expect("the first").listen = free.to_string();
        theatre.start("n1");
        knows(&theatre, "n3").await;
        let options = ConnectOptions::new(vec![theatre.address("n3")], "synod", theatre.cookie.clone());
        let client = synod::client::Client::connect(options).await.expect("the third answers");
        client.status().await.expect("an answer");
        assert!(client.nodes().contains(&("n1".into(), vec![advertised.clone()])), "{:?}", client.nodes());
    })
    .await;
}

#[tokio::test]
async fn a_client_of_a_node_that_answers_nothing_ends_in_time() {
    bounded(async {
        let theatre = Theatre::of(3);
        theatre.leader().await;
        let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let mute = mute.local_addr().expect("its address").to_string();
        let mut options = ConnectOptions::new(vec![mute.clone()], "synod", theatre.cookie.clone());
        options.deadline = BRIEF;
        let start = Instant::now();
        let refused = synod::client::Client::connect(options.clone()).await;
        assert!(matches!(refused, Err(ClientError::Connection { .. })), "{refused:?}");
        assert!(start.elapsed() < 3 * BRIEF, "{:?}", start.elapsed());
        options.addresses = vec![mute, theatre.address("n2")];
        options.deadline = SOON;
        let client = synod::client::Client::connect(options).await.expect("the next address answers");
        client.put("k", "v").await.expect("done");
    })
    .await;
}
