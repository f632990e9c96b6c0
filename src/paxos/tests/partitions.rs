//! Partial partitions: links are cut, nobody is dead, and one quorum-connected node is enough to go on (the three cases
//! of the OmniPaxos paper, EuroSys 2023, section 2).

use super::terse::n;
use super::world::{Plan, World};
use crate::paxos::NodeId;

/// A world at rest, with a leader.
fn at_rest(nodes: u32, seed: u64) -> (World, NodeId) {
    let plan = Plan { seed, nodes, window: 4, batch: 4, snapshot_slots: 0, calm: 1, haste: 1, steps: 0, churn: 0 };
    let mut world = World::new(plan);
    world.calm_down();
    world.run_until("a leader", World::is_quiet);
    let leader = world.leader().expect("quiet means one leads");
    (world, leader)
}

/// n's disk is put back to an old copy. It has forgotten votes, and its peers know: it learns and executes, but neither
/// votes nor leads, and the others go on without it.
#[test]
fn rule_4_a_node_with_an_old_disk_never_votes_again() {
    for seed in 0..10 {
        let (mut world, leader) = at_rest(3, seed);
        let node = n(leader.0 % 3 + 1);
        let old_disk = world.hosts[&node].journal.clone();
        for _ in 0..4 {
            world.serve("served with it");
        }
        world.crash(node);
        world.hosts.get_mut(&node).expect("a node").journal = old_disk;
        world.witness.excuse(node);
        world.start(node);
        world.run_until("it has caught up", World::is_quiet);
        let acceptor = |world: &World| world.hosts[&node].replica.as_ref().expect("up").acceptor.clone();
        let before = acceptor(&world);
        assert!(before.admission().amnesiac());
        world.serve("served without it");
        world.run_until("it has executed that too", World::is_quiet);
        assert_eq!(acceptor(&world).promised(), before.promised());
        assert!(acceptor(&world).votes().is_empty());
    }
}

/// Every link is cut but those of `hub`.
fn star(world: &mut World, hub: NodeId) {
    for one in world.nodes() {
        for other in world.nodes() {
            if one < other && one != hub && other != hub {
                world.cut(one, other);
            }
        }
    }
}

#[test]
fn quorum_loss_the_leader_abdicates_and_the_only_quorum_connected_node_leads() {
    for seed in 0..10 {
        let (mut world, leader) = at_rest(5, seed);
        let hub = world.nodes().into_iter().find(|node| *node != leader).expect("five");
        star(&mut world, hub);
        world.serve("served through the hub");
        assert_eq!(world.leader(), Some(hub));
    }
}

#[test]
fn constrained_election_a_stale_node_catches_up_and_leads_when_only_it_reaches_a_quorum() {
    for seed in 0..10 {
        let (mut world, leader) = at_rest(5, seed);
        let hub = world.nodes().into_iter().find(|node| *node != leader).expect("five");
        for node in world.nodes().into_iter().filter(|node| *node != hub) {
            world.cut(hub, node);
        }
        for _ in 0..12 {
            world.serve("served without the hub");
        }
        world.heal_links();
        world.crash(leader);
        star(&mut world, hub);
        world.serve("served by the hub");
        assert_eq!(world.leader(), Some(hub));
    }
}

#[test]
fn chained_two_nodes_that_do_not_hear_each_other_do_not_depose_a_leader_again_and_again() {
    for seed in 0..10 {
        let (mut world, leader) = at_rest(3, seed);
        let other = n(leader.0 % 3 + 1);
        world.cut(leader, other);
        let until_ms = world.now_ms + 20_000;
        world.run_until("twenty seconds", |world| world.now_ms >= until_ms);
        assert_eq!(world.leader(), Some(leader), "the one between them is content");
        world.serve("still served");
        assert_eq!(world.leader(), Some(leader));
    }
}
