//! A node fetches a long snapshot: a learner and a keeper, and peers that supply it, leave, damage it, or have another.

use std::collections::{BTreeMap, VecDeque};

use super::tests::{LONG, TestKeeper, done, keeper, own, state};
use super::*;
use crate::machine::Kv;
use crate::paxos::{Configuration, Effect, Effects, Event, Learner, Membership, Settings};
use crate::storage::MemoryDisk;

/// A node that lags, and its peers.
struct Lagging {
    learner: Learner,
    keeper: TestKeeper,
    disk: MemoryDisk,
    peers: BTreeMap<NodeId, TestKeeper>,
    now_ms: u64,
    /// Who was asked for which part, by its number; the first one by `CatchUp`.
    asked: Vec<(u32, u64)>,
    /// Whose snapshots were dropped.
    dropped: Vec<NodeId>,
    installed: Option<State<Kv>>,
    /// The most bytes that were asked for and not written, at any time.
    ahead: u64,
}

impl Lagging {
    /// n1 lags; each of the others has a snapshot of that state.
    fn behind(held: [&State<Kv>; 2]) -> Lagging {
        let disk = MemoryDisk::new();
        let peer = |state: &State<Kv>| {
            let mut peer = keeper(&MemoryDisk::new());
            done(&mut peer, own(state));
            peer
        };
        let configurations = Membership::founded(Configuration::numbered(3));
        Lagging {
            learner: Learner::new(NodeId(1), configurations, &Settings::default(), Slot::ZERO),
            keeper: keeper(&disk),
            disk,
            peers: BTreeMap::from([(NodeId(2), peer(held[0])), (NodeId(3), peer(held[1]))]),
            now_ms: 0,
            asked: Vec::new(),
            dropped: Vec::new(),
            installed: None,
            ahead: 0,
        }
    }

    /// It hears from n2 that there is more, and fetches until it has it. `road` may lose or change a part.
    fn fetch(&mut self, mut road: impl FnMut(NodeId, &mut SnapshotPart) -> bool) {
        let mut fx = Effects::new();
        self.learner.on_behind(Slot(9), NodeId(2), &mut fx);
        self.go_on(fx, &mut road);
        for _ in 0..100 {
            self.now_ms += 300;
            let mut fx = Effects::new();
            self.learner.on_tick(self.now_ms, &mut fx);
            self.go_on(fx, &mut road);
            if self.installed.is_some() {
                return;
            }
        }
        panic!("it is not there after half a minute: {:?}", self.asked);
    }

    fn go_on(&mut self, mut fx: Effects, road: &mut impl FnMut(NodeId, &mut SnapshotPart) -> bool) {
        let mut mail: VecDeque<(NodeId, LearnerMessage)> = VecDeque::new();
        let mut arrived = 0;
        loop {
            for effect in fx.drain() {
                let mut ask = |to: NodeId, wanted, offset: u64| {
                    self.asked.push((to.0, offset / SNAPSHOT_PART_BYTES as u64));
                    self.ahead = self.ahead.max(offset.saturating_sub(arrived));
                    let supply = SnapshotWork::Supply { to: NodeId(1), wanted, offset };
                    for kept in done(self.peers.get_mut(&to).expect("a peer"), Keep::Work(supply)) {
                        let Kept::Say(
                            _,
                            Message::Learner(LearnerMessage::SnapshotPart { upto, id, total, offset, bytes }),
                        ) = kept
                        else {
                            panic!("a part: {kept:?}")
                        };
                        let mut part = SnapshotPart { upto, id, total, offset, bytes };
                        if road(to, &mut part) {
                            let SnapshotPart { upto, id, total, offset, bytes } = part;
                            mail.push_back((to, LearnerMessage::SnapshotPart { upto, id, total, offset, bytes }));
                        }
                    }
                };
                match effect {
                    Effect::Send { to, message: Message::Learner(LearnerMessage::CatchUp { .. }) } => ask(to, None, 0),
                    Effect::Send {
                        to,
                        message: Message::Learner(LearnerMessage::FetchSnapshot { id, offset, .. }),
                    } => {
                        ask(to, Some(id), offset);
                    }
                    Effect::KeepPart(part) => {
                        for kept in done(&mut self.keeper, Keep::Work(SnapshotWork::Part(part))) {
                            match kept {
                                Kept::Say(to, Message::Learner(message)) => mail.push_back((to, message)),
                                Kept::Install(state) => self.installed = Some(*state),
                                Kept::Trouble(_) => {}
                                other => panic!("not now: {other:?}"),
                            }
                        }
                    }
                    Effect::Note(Event::SnapshotDropped { peer, .. }) => self.dropped.push(peer),
                    Effect::Note(_) => {}
                    other => panic!("not asked for: {other:?}"),
                }
            }
            let Some((from, message)) = mail.pop_front() else { return };
            if let LearnerMessage::PartKept { upto_bytes, .. } = &message {
                arrived = *upto_bytes;
            }
            self.learner.on_message(from, message, &mut fx);
        }
    }
}

/// Eleven parts.
fn long() -> State<Kv> {
    state(9, 4 * LONG)
}

#[test]
fn a_long_snapshot_is_fetched_with_a_few_parts_on_their_way() {
    let sent = long();
    let mut node = Lagging::behind([&sent, &sent]);
    node.fetch(|_, _| true);
    assert_eq!(node.installed, Some(sent));
    assert_eq!(node.asked, (0..11).map(|part| (2, part)).collect::<Vec<_>>(), "each part once");
    assert_eq!(node.ahead, 3 * SNAPSHOT_PART_BYTES as u64, "four at a time");
}

#[test]
fn behind_a_broken_link_another_peer_supplies_the_rest_from_the_offset_reached() {
    let sent = long();
    let mut node = Lagging::behind([&sent, &sent]);
    let mut left = 5;
    node.fetch(|peer, _| {
        left -= i32::from(peer == NodeId(2));
        peer == NodeId(3) || left >= 0
    });
    assert_eq!(node.installed, Some(sent));
    let by_n3 = node.asked.iter().filter(|(peer, _)| *peer == 3);
    assert_eq!(by_n3.map(|(_, part)| *part).collect::<Vec<_>>(), (5..11).collect::<Vec<_>>());
    assert!(node.dropped.is_empty());
}

#[test]
fn a_snapshot_damaged_on_its_way_is_dropped_and_another_peer_is_asked_for_all_of_it() {
    let sent = long();
    let mut node = Lagging::behind([&sent, &sent]);
    node.fetch(|peer, part| {
        if peer == NodeId(2) && part.offset == 7 * SNAPSHOT_PART_BYTES as u64 {
            let mut bytes = part.bytes.to_vec();
            bytes[1000] ^= 4;
            part.bytes = bytes.into();
        }
        true
    });
    assert_eq!((node.installed, node.dropped), (Some(sent), vec![NodeId(2)]));
    let by_n3 = node.asked.iter().filter(|(peer, _)| *peer == 3);
    assert_eq!(by_n3.map(|(_, part)| *part).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_peer_that_has_another_snapshot_supplies_that_from_its_beginning() {
    let (sent, newer) = (long(), state(12, LONG));
    let mut node = Lagging::behind([&sent, &newer]);
    let mut left = 2;
    node.fetch(|peer, _| {
        left -= i32::from(peer == NodeId(2));
        peer == NodeId(3) || left >= 0
    });
    assert_eq!(node.installed, Some(newer));
}

/// n2 says whatever it likes. Nothing breaks, and n3 supplies what n1 needs.
#[test]
fn a_hostile_supplier_delays_a_download_and_spoils_nothing() {
    type Lie = fn(&mut SnapshotPart);
    let lies: [Lie; 8] = [
        |part| part.total = u64::MAX,
        |part| part.total = 0,
        |part| part.bytes = Bytes::default(),
        |part| part.bytes = part.bytes[1..].into(),
        |part| part.offset = u64::MAX,
        |part| part.offset += SNAPSHOT_PART_BYTES as u64,
        |part| part.id = SnapshotId([part.offset as u8; 32]),
        |part| part.upto = Slot(u64::MAX),
    ];
    for lie in lies {
        let sent = state(9, LONG);
        let mut node = Lagging::behind([&sent, &sent]);
        node.fetch(|peer, part| {
            if peer == NodeId(2) {
                lie(part);
            }
            true
        });
        assert!(node.installed.is_some_and(|state| state == sent), "it got another state");
        assert_eq!(node.disk.list().expect("names"), ["snapshot.incoming"]);
    }
}

#[test]
fn a_download_that_found_no_room_is_tried_again_later() {
    let sent = long();
    let mut node = Lagging::behind([&sent, &sent]);
    node.disk.limit_bytes(2_000_000);
    let (disk, mut parts) = (node.disk.clone(), 0);
    node.fetch(|_, _| {
        parts += 1;
        if parts == 20 {
            disk.unlimit();
        }
        true
    });
    assert_eq!(node.installed, Some(sent));
    assert!(!node.dropped.is_empty() && node.now_ms >= 3_000, "not at once");
}
