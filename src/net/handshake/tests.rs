//! Two ends in one process, and attackers between them.

use proptest::prelude::*;

use super::end::{PREAMBLE, common_version};
use super::*;
use crate::net::frame;
use crate::net::identity::{ClusterId, Identity};
use crate::net::refusal::Side;
use crate::paxos::{Incarnation, NodeId};

type Outcome = Result<Established, Refused>;

fn hello(name: &str, incarnation: u128) -> NodeHello {
    let address = format!("{name}:7001");
    NodeHello {
        name: name.into(),
        incarnation: Incarnation(incarnation),
        boot: 1,
        address,
        founding: vec![],
        identity: None,
    }
}

fn cookie(text: &str) -> Cookie {
    Cookie::new(text).expect("some text")
}

fn node(hello: NodeHello) -> Local {
    Local::node(cookie("secret"), "synod", hello).expect("well formed")
}

/// A policy that refuses, or tells what it witnessed.
struct Policy(Result<u64, RefusedBecause>);

impl Gatekeeper for Policy {
    fn admit(&self, _peer: &PeerHello, _: Option<&crate::net::identity::Enrolment>) -> Result<(), RefusedBecause> {
        self.0.clone().map(|_| ())
    }

    fn witnessed(&self, _peer: &NodeHello) -> BatchNumber {
        BatchNumber(self.0.clone().unwrap_or_default())
    }
}

/// What one end said in one go, and who: to be looked at, changed, or played again.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    by_dialer: bool,
    bytes: Vec<u8>,
}

/// Two ends and the wire between them.
struct World {
    dialer: Dialer,
    listener: Listener,
    policies: (Policy, Policy),
    outcomes: (Option<Outcome>, Option<Outcome>),
    said: Vec<Said>,
}

impl World {
    fn new(dialer: Local, listener: Local, policies: (Policy, Policy)) -> World {
        let mut bytes = Vec::new();
        let dialer = Dialer::start(dialer, [1; 32], &mut bytes);
        let listener = Listener::new(listener, [2; 32]);
        World { dialer, listener, policies, outcomes: (None, None), said: vec![Said { by_dialer: true, bytes }] }
    }

    /// Lets both talk until neither says more; `meddle` sees what was said, by its number, and may change it.
    fn run(mut self, mut meddle: impl FnMut(usize, &mut Vec<u8>)) -> World {
        let mut at = 0;
        while at < self.said.len() {
            let Said { by_dialer, mut bytes } = self.said[at].clone();
            meddle(at, &mut bytes);
            self.hear(by_dialer, &bytes);
            at += 1;
        }
        self
    }

    fn hear(&mut self, by_dialer: bool, mut bytes: &[u8]) {
        loop {
            let mut out = Vec::new();
            let outcome = if by_dialer { &mut self.outcomes.1 } else { &mut self.outcomes.0 };
            if outcome.is_some() {
                return;
            }
            let step = if by_dialer {
                self.listener.advance(bytes, &self.policies.1, &mut out)
            } else {
                self.dialer.advance(bytes, &self.policies.0, &mut out)
            };
            if !out.is_empty() {
                self.said.push(Said { by_dialer: !by_dialer, bytes: out });
            }
            match step {
                Step::Wait => return,
                Step::Taken(taken) => bytes = &bytes[taken..],
                Step::Ended { outcome: ended, .. } => return *outcome = Some(ended),
            }
        }
    }

    fn ends(self) -> (Outcome, Outcome) {
        (self.outcomes.0.expect("the dialer is done"), self.outcomes.1.expect("the listener is done"))
    }

    fn anyone_established(&self) -> bool {
        [&self.outcomes.0, &self.outcomes.1].into_iter().flatten().any(Result::is_ok)
    }
}

fn admit() -> (Policy, Policy) {
    (Policy(Ok(21)), Policy(Ok(12)))
}

fn between(dialer: Local, listener: Local) -> (Outcome, Outcome) {
    World::new(dialer, listener, admit()).run(|_, _| {}).ends()
}

fn two_nodes() -> World {
    World::new(node(hello("n1", 1)), node(hello("n2", 2)), admit())
}

#[test]
fn two_nodes_meet_and_tell_what_they_witnessed() {
    let (dialer, listener) = between(node(hello("n1", 1)).expecting("n2"), node(hello("n2", 2)));
    let of = |name, incarnation, witnessed| {
        let peer = PeerHello::Node(hello(name, incarnation));
        Ok(Established { peer, witnessed: BatchNumber(witnessed), version: VERSIONS.1, enrolment: None })
    };
    assert_eq!(dialer, of("n2", 2, 12));
    assert_eq!(listener, of("n1", 1, 21));
}

#[test]
fn a_client_meets_a_node_whatever_its_cluster() {
    let client = Local::client(cookie("secret"), None).expect("well formed");
    let (dialer, listener) = between(client, node(hello("n2", 2)));
    assert_eq!(dialer.expect("established").peer, PeerHello::Node(hello("n2", 2)));
    assert_eq!(listener.expect("established").peer, PeerHello::Client);
}

#[test]
fn every_step_works_byte_by_byte_and_leaves_the_rest_to_the_link() {
    let mut world = two_nodes();
    let mut at = 0;
    while at < world.said.len() {
        let Said { by_dialer, bytes } = world.said[at].clone();
        for length in 1..bytes.len() {
            let mut out = Vec::new();
            let step = match by_dialer {
                true => world.listener.advance(&bytes[..length], &world.policies.1, &mut out),
                false => world.dialer.advance(&bytes[..length], &world.policies.0, &mut out),
            };
            assert_eq!((step, out.len()), (Step::Wait, 0));
        }
        world.hear(by_dialer, &[&bytes[..], b"the rest"].concat()[..bytes.len()]);
        at += 1;
    }
    assert!(world.outcomes.0.expect("done").is_ok() && world.outcomes.1.expect("done").is_ok());
}

#[test]
fn neither_the_cookie_nor_identities_travel_before_the_proof() {
    let world = two_nodes().run(|_, _| {});
    let holds = |said: &Said, what: &[u8]| said.bytes.windows(what.len()).any(|window| window == what);
    assert!(!world.said.iter().any(|said| holds(said, b"secret")));
    let first = world.said.iter().position(|said| holds(said, b"n2:7001")).expect("the account is not hidden");
    assert_eq!(first, 5, "preamble, preamble, hello, hello, proof, account");
}

/// A refusal and, for each end, what it then knows.
fn refused(by: Side, because: RefusedBecause) -> (Outcome, Outcome) {
    let other = if by == Side::Us { Side::Peer } else { Side::Us };
    (Err(Refused { by, because: because.clone() }), Err(Refused { by: other, because: because.mirrored() }))
}

#[test]
fn a_wrong_cookie_is_refused_on_both_sides() {
    let stranger = Local::node(cookie("guess"), "synod", hello("n1", 1)).expect("well formed");
    let world = World::new(stranger, node(hello("n2", 2)), admit()).run(|_, _| {});
    let told = world.said.iter().any(|said| said.bytes.windows(7).any(|window| window == b"n2:7001"));
    assert!(!told, "the listener did not introduce itself");
    assert_eq!(world.ends(), refused(Side::Peer, RefusedBecause::WrongCookie));
}

#[test]
fn another_cluster_is_refused_with_or_without_its_cookie() {
    for secret in ["secret", "guess"] {
        let stranger = Local::node(cookie(secret), "other", hello("n1", 1)).expect("well formed");
        let (dialer, listener) = between(stranger, node(hello("n2", 2)));
        let because = RefusedBecause::WrongCluster { ours: "other".into(), theirs: "synod".into() };
        assert_eq!(dialer.expect_err("refused").because, because);
        assert_eq!(listener.expect_err("refused").because, because.mirrored());
    }
}

#[test]
fn what_the_ends_can_tell_by_themselves_is_refused_by_the_dialer() {
    let identity = |byte| Some(Identity { cluster_id: ClusterId([byte; 32]), node: NodeId(1) });
    let voters = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let name = || "n2".to_string();
    let cases = [
        (hello("n2", 2), RefusedBecause::SelfDial),
        (hello("n2", 3), RefusedBecause::NameTaken { name: name() }),
        (hello("n1", 2), RefusedBecause::UnknownIncarnation { name: name() }),
        (
            NodeHello { identity: identity(7), ..hello("n1", 1) },
            RefusedBecause::DifferentClusterId { ours: ClusterId([7; 32]), theirs: ClusterId([8; 32]) },
        ),
        (
            NodeHello { founding: voters(&["n1", "n2"]), ..hello("n1", 1) },
            RefusedBecause::DifferentFounders { ours: voters(&["n1", "n2"]), theirs: voters(&["n1", "n2", "n3"]) },
        ),
    ];
    for (dialer, because) in cases {
        let mut listener = NodeHello { founding: voters(&["n1", "n2", "n3"]), ..hello("n2", 2) };
        if dialer.identity.is_some() {
            listener.identity = identity(8);
        }
        assert_eq!(between(node(dialer), node(listener)), refused(Side::Us, because));
    }
    let because = RefusedBecause::NotExpected { expected: "n3".into(), found: name() };
    let ends = between(node(hello("n1", 1)).expecting("n3"), node(hello("n2", 2)));
    assert_eq!(ends, refused(Side::Us, because));
}

#[test]
fn what_a_policy_refuses_both_hear() {
    let because = || RefusedBecause::NotAMember { name: "n1".into() };
    let ends = |policies| World::new(node(hello("n1", 1)), node(hello("n2", 2)), policies).run(|_, _| {}).ends();
    assert_eq!(ends((Policy(Err(because())), Policy(Ok(0)))), refused(Side::Us, because()));
    assert_eq!(ends((Policy(Ok(0)), Policy(Err(because())))), refused(Side::Peer, because()));
}

#[test]
fn versions_without_overlap_are_refused_on_both_sides() {
    let newer = |at: usize, bytes: &mut Vec<u8>| {
        if at < 2 {
            bytes[8..].copy_from_slice(&[8, 0, 9, 0]);
        }
    };
    let world = two_nodes().run(newer);
    let because = RefusedBecause::VersionMismatch { ours: VERSIONS, theirs: (8, 9) };
    assert_eq!(world.outcomes.0, Some(Err(Refused { by: Side::Us, because: because.clone() })));
    assert_eq!(world.outcomes.1, Some(Err(Refused { by: Side::Us, because })));
    assert_eq!(world.said.len(), 2, "the listener's preamble tells the dialer its versions, nothing else");
    assert_eq!(common_version((1, 3), (2, 5)), Some(3));
    assert_eq!(common_version((2, 5), (1, 3)), Some(3));
    assert_eq!(common_version((1, 1), (2, 2)), None);
}

#[test]
fn other_protocols_are_refused_by_their_first_byte_and_get_no_answer() {
    for request in [&b"G"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"*1\r\n$4\r\nPING\r\n", b"\x93synoX"] {
        let mut out = Vec::new();
        let step = Listener::new(node(hello("n2", 2)), [2; 32]).advance(request, &AdmitAll, &mut out);
        let refused = Refused { by: Side::Us, because: RefusedBecause::OtherProtocol };
        assert_eq!((step, out.len()), (Step::Ended { taken: 0, outcome: Err(refused) }, 0));
    }
}

#[test]
fn a_length_bomb_is_refused() {
    let world = two_nodes().run(|at, bytes| {
        if at == 2 {
            bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        }
    });
    assert_eq!(world.outcomes.1, Some(Err(MALFORMED)));
}

/// A listener that knows nothing, and says to a dialer what the dialer itself said.
#[test]
fn a_mirror_does_not_get_in() {
    let mut bytes = Vec::new();
    let mut dialer = Dialer::start(node(hello("n1", 1)), [1; 32], &mut bytes);
    loop {
        let mut out = Vec::new();
        match dialer.advance(&bytes, &AdmitAll, &mut out) {
            Step::Taken(taken) => assert_eq!(taken, bytes.len()),
            Step::Wait => panic!("a whole message is there"),
            Step::Ended { outcome, .. } => break assert!(outcome.is_err()),
        }
        bytes = out;
    }
}

/// A dialer that knows nothing has the node dial it at the same time, and relays between the node's two halves: one
/// node's dialer talks to the same node's listener, which must not take itself for somebody else.
#[test]
fn a_node_that_is_led_to_itself_refuses() {
    let (dialer, listener) = between(node(hello("n1", 1)), node(hello("n1", 1)));
    assert_eq!(dialer.expect_err("refused").because, RefusedBecause::SelfDial);
    assert_eq!(listener.expect_err("refused").because, RefusedBecause::SelfDial);
}

#[test]
fn a_recorded_handshake_is_of_no_use() {
    let recorded = two_nodes().run(|_, _| {}).said;
    let said_by = |dialer: bool| recorded.iter().filter(move |s| s.by_dialer == dialer).flat_map(|s| s.bytes.clone());

    let mut world = two_nodes();
    world.listener = Listener::new(node(hello("n2", 2)), [3; 32]);
    world.hear(true, &said_by(true).collect::<Vec<_>>());
    assert_eq!(world.outcomes.1, Some(Err(Refused { by: Side::Us, because: RefusedBecause::WrongCookie })));

    let mut world = two_nodes();
    world.dialer = Dialer::start(node(hello("n1", 1)), [3; 32], &mut Vec::new());
    world.hear(false, &said_by(false).collect::<Vec<_>>());
    assert_eq!(world.outcomes.0, Some(Err(Refused { by: Side::Us, because: RefusedBecause::WrongCookie })));
}

#[test]
fn every_truncation_leaves_both_without_a_link() {
    let said = two_nodes().run(|_, _| {}).said;
    for (number, message) in said.iter().enumerate() {
        for length in 0..message.bytes.len() {
            let world = two_nodes().run(|at, bytes| {
                if at == number {
                    bytes.truncate(length);
                }
            });
            let hearer = if message.by_dialer { &world.outcomes.1 } else { &world.outcomes.0 };
            assert_eq!(*hearer, None, "message {number} cut at {length}: the hearer waits");
        }
    }
}

/// Flips every bit of every message; `mend` may put the checksum right again, as an attacker would.
fn flip_everything(mend: impl Fn(&mut [u8])) {
    let said = two_nodes().run(|_, _| {}).said;
    for (number, message) in said.iter().enumerate() {
        for bit in 0..message.bytes.len() * 8 {
            let world = two_nodes().run(|at, bytes| {
                if at == number {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    if at > 1 {
                        mend(bytes);
                    }
                }
            });
            let unchanged = mended_back(&said[number].bytes, bit, &mend);
            let hearer = if message.by_dialer { &world.outcomes.1 } else { &world.outcomes.0 };
            assert!(unchanged || !matches!(hearer, Some(Ok(_))), "message {number}, bit {bit}");
            let last = number + 1 == said.len();
            assert!(unchanged || last || !world.anyone_established(), "message {number}, bit {bit}");
        }
    }
}

fn mended_back(bytes: &[u8], bit: usize, mend: &impl Fn(&mut [u8])) -> bool {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    if bytes.len() > PREAMBLE {
        mend(&mut changed);
    }
    changed == bytes
}

#[test]
fn every_flipped_bit_is_refused() {
    flip_everything(|_| {});
}

#[test]
fn every_flipped_bit_is_refused_although_the_checksum_is_right() {
    flip_everything(|bytes| {
        let crc = crc32c::crc32c(&bytes[frame::HEADER..]);
        bytes[4..frame::HEADER].copy_from_slice(&crc.to_le_bytes());
    });
}

#[test]
fn an_end_that_is_done_stays_done() {
    let mut world = two_nodes().run(|_, _| {});
    let mut out = Vec::new();
    frame::append(&mut out, 10, |out| out.push(0)).expect("short");
    let step = world.listener.advance(&out.clone(), &AdmitAll, &mut out);
    assert!(matches!(step, Step::Ended { outcome: Err(_), .. }));
}

#[test]
fn what_is_not_well_formed_is_refused_before_it_is_said() {
    let long = NodeHello { founding: vec!["n".into(); 32], ..hello("n1", 1) };
    let nowhere = NodeHello { address: "nowhere".into(), ..hello("n1", 1) };
    for hello in [long, nowhere, hello("n 1", 1)] {
        assert!(Local::node(cookie("secret"), "synod", hello).is_err());
    }
}

#[test]
fn the_longest_accounts_and_refusals_fit() {
    let name = |end: &str| "x".repeat(63) + end;
    let voters = |end: &str| (0..31).map(|_| name(end)).collect::<Vec<_>>();
    let longest = |end: &str, incarnation| NodeHello {
        boot: 1,
        name: name(end),
        incarnation: Incarnation(incarnation),
        address: format!("{}:65535", "h".repeat(253)),
        founding: voters(end),
        identity: None,
    };
    let (dialer, listener) = between(node(longest("a", 1)), node(longest("b", 2)));
    assert!(matches!(dialer, Err(Refused { because: RefusedBecause::DifferentFounders { .. }, .. })));
    assert!(matches!(listener, Err(Refused { because: RefusedBecause::DifferentFounders { .. }, .. })));
}

#[test]
fn every_reason_is_one_line_with_a_mend() {
    let name = || "n1".to_string();
    let reasons = [
        RefusedBecause::OtherProtocol,
        RefusedBecause::VersionMismatch { ours: (1, 2), theirs: (3, 4) },
        RefusedBecause::Malformed,
        RefusedBecause::WrongCookie,
        RefusedBecause::WrongCluster { ours: name(), theirs: name() },
        RefusedBecause::NotExpected { expected: name(), found: name() },
        RefusedBecause::SelfDial,
        RefusedBecause::NameTaken { name: name() },
        RefusedBecause::DifferentFounders { ours: vec![name()], theirs: vec![] },
        RefusedBecause::DifferentClusterId { ours: ClusterId([1; 32]), theirs: ClusterId([2; 32]) },
        RefusedBecause::UnknownIncarnation { name: name() },
        RefusedBecause::NotAMember { name: name() },
    ];
    for reason in reasons {
        let line = reason.to_string();
        assert!(line.contains(": ") && !line.contains('\n'), "{line}");
        assert_eq!(reason.clone().mirrored().mirrored(), reason);
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(number in 0..8usize, garbage: Vec<u8>, framed: bool) {
        let world = two_nodes().run(|at, bytes| {
            if at == number {
                bytes.clear();
                match framed {
                    true => frame::append(bytes, 1 << 20, |out| out.extend_from_slice(&garbage)).expect("short"),
                    false => bytes.extend_from_slice(&garbage),
                }
            }
        });
        let hearer = if number % 2 == 0 { &world.outcomes.1 } else { &world.outcomes.0 };
        prop_assert!(!matches!(hearer, Some(Ok(_))));
    }
}
