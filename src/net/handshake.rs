//! The handshake: two ends prove to each other that they know the cookie, say who they are, and agree to talk.
//!
//! ```text
//! Dialer                                             Listener
//!   │ preamble: magic, lowest and highest version       │      twelve bytes, the same in every version
//!   ├──────────────────────────────────────────────────►│
//!   │                                         preamble  │
//!   │◄──────────────────────────────────────────────────┤      no common version: both know, and why
//!   │ Hello: nonce, cluster                             │
//!   ├──────────────────────────────────────────────────►│
//!   │                             Hello: nonce, cluster │
//!   │◄──────────────────────────────────────────────────┤
//!   │ Proof                                             │
//!   ├──────────────────────────────────────────────────►│      wrong: `WrongCookie`, the one reason said unsealed
//!   │                        sealed: who the listener is │
//!   │◄──────────────────────────────────────────────────┤
//!   │ sealed: who the dialler is, what it witnessed     │
//!   ├──────────────────────────────────────────────────►│
//!   │                 sealed: welcome, what it witnessed │
//!   │◄──────────────────────────────────────────────────┤
//! ```
//!
//! * The cookie never travels. A proof or seal is HMAC-SHA256(cookie, label ‖ digest of everything said so far ‖ body).
//!   The label names the step and with it the speaker, so that nothing can be played back to who said it; the digest
//!   holds both nonces and both preambles, so that nothing can be played back later, and no version bargained down.
//! * Who has not proved to know the cookie learns version and cluster name, nothing else.
//! * Either end may refuse, and then tells the other why in a sealed message of its turn.
//! * Bytes in, bytes out: at most [`Step::Ended`]'s `taken` bytes are used, what follows belongs to the link.
//!
//! Absent: sockets, time-outs and random numbers (the caller hands in a nonce, never the same twice), and any
//! protection of the link afterwards: whoever can change bytes on the wire can change them there.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::cookie::Cookie;
use super::frame::{self, HANDSHAKE_LIMIT, Head};
use super::identity::{NodeHello, PeerHello, check_name};
use super::refusal::{Refused, RefusedBecause, Side};
use crate::codec;
use crate::paxos::BatchNumber;

/// The lowest and the highest version of the protocol that this program speaks.
pub const VERSIONS: (u16, u16) = (1, 1);

/// What one end brings along.
#[derive(Clone, Debug)]
pub struct Local {
    cookie: Cookie,
    cluster: Option<String>,
    hello: PeerHello,
    expected: Option<String>,
}

impl Local {
    /// A node's. Names or addresses that are not well formed, or too many voters, are refused with a sentence.
    pub fn node(cookie: Cookie, cluster: &str, hello: NodeHello) -> Result<Local, String> {
        check_name(cluster)?;
        hello.check()?;
        Ok(Local { cookie, cluster: Some(cluster.to_owned()), hello: PeerHello::Node(hello), expected: None })
    }

    /// A client's; it may leave open which cluster it wants.
    pub fn client(cookie: Cookie, cluster: Option<&str>) -> Result<Local, String> {
        cluster.map_or(Ok(()), check_name)?;
        Ok(Local { cookie, cluster: cluster.map(str::to_owned), hello: PeerHello::Client, expected: None })
    }

    /// The same, for dialling the node of this name and no other.
    pub fn expecting(self, name: &str) -> Local {
        Local { expected: Some(name.to_owned()), ..self }
    }

    /// Who this end says it is.
    pub fn hello(&self) -> &PeerHello {
        &self.hello
    }
}

/// What the handshake asks this end about a peer that has proved to know the cookie.
pub trait Admission: Send + Sync {
    /// Whether this peer may talk to us. Cookie, cluster, founders and cluster ids have been compared before.
    fn admit(&self, peer: &PeerHello) -> Result<(), RefusedBecause>;

    /// The highest batch of that peer's journal that we have seen it claim; zero if we know of none.
    fn witnessed(&self, peer: &NodeHello) -> BatchNumber;
}

/// Takes everyone who knows the cookie: a client's admission.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&self, _peer: &PeerHello) -> Result<(), RefusedBecause> {
        Ok(())
    }

    fn witnessed(&self, _peer: &NodeHello) -> BatchNumber {
        BatchNumber(0)
    }
}

/// How a handshake stands after some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be done before more bytes are there.
    Wait,
    /// So many bytes were used; call again with the rest.
    Taken(usize),
    /// It is over. Send what was written, then use the link or close it.
    Ended {
        /// So many bytes were used.
        taken: usize,
        /// How it went.
        outcome: Result<Established, Refused>,
    },
}

/// A link between two ends that know the same cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// Who is there.
    pub peer: PeerHello,
    /// The highest batch of our journal that the peer has seen us claim.
    pub witnessed: BatchNumber,
    /// The version of the protocol that both speak.
    pub version: u16,
}

/// The end that dialled.
#[derive(Debug)]
pub struct Dialer {
    end: End,
    awaits: DialerAwaits,
}

#[derive(Debug)]
enum DialerAwaits {
    Preamble,
    Hello,
    Account,
    Welcome { listener: NodeHello },
    Nothing,
}

impl Dialer {
    /// Begins: writes the preamble to `out`. `nonce` must be fresh and random.
    pub fn start(local: Local, nonce: [u8; 32], out: &mut Vec<u8>) -> Dialer {
        let mut end = End::new(local, nonce);
        end.say_preamble(out);
        Dialer { end, awaits: DialerAwaits::Preamble }
    }

    /// Uses bytes from the head of `input`, and writes to `out` what is to be sent.
    pub fn advance(&mut self, input: &[u8], admission: &dyn Admission, out: &mut Vec<u8>) -> Step {
        let awaits = std::mem::replace(&mut self.awaits, DialerAwaits::Nothing);
        if let DialerAwaits::Preamble = awaits {
            return match self.end.hear_preamble(input) {
                Ok(None) => self.on(DialerAwaits::Preamble, Step::Wait),
                Ok(Some(taken)) => {
                    self.end.say_hello(out);
                    self.on(DialerAwaits::Hello, Step::Taken(taken))
                }
                Err(refused) => Step::Ended { taken: 0, outcome: Err(refused) },
            };
        }
        let (payload, taken) = match cut(input) {
            Ok(Some(cut)) => cut,
            Ok(None) => return self.on(awaits, Step::Wait),
            Err(refused) => return Step::Ended { taken: 0, outcome: Err(refused) },
        };
        match self.hear(awaits, payload, admission, out) {
            Ok(Turn::Next(awaits)) => self.on(awaits, Step::Taken(taken)),
            Ok(Turn::Established(established)) => Step::Ended { taken, outcome: Ok(established) },
            Err(refused) => Step::Ended { taken, outcome: Err(refused) },
        }
    }

    fn hear(
        &mut self,
        awaits: DialerAwaits,
        payload: &[u8],
        admission: &dyn Admission,
        out: &mut Vec<u8>,
    ) -> Result<Turn<DialerAwaits>, Refused> {
        match awaits {
            DialerAwaits::Hello => {
                self.end.hear_hello(payload)?;
                self.end.say_proof(out);
                Ok(Turn::Next(DialerAwaits::Account))
            }
            DialerAwaits::Account => {
                let Sealed::Account { hello: PeerHello::Node(listener), .. } =
                    self.end.hear_sealed(LISTENER_ACCOUNT, payload, out)?
                else {
                    return Err(MALFORMED);
                };
                let peer = PeerHello::Node(listener.clone());
                if let Err(because) = self.end.judge(&peer, admission) {
                    return Err(self.end.refuse(DIALER_ACCOUNT, because, out));
                }
                let witnessed = admission.witnessed(&listener);
                let account = Sealed::Account { hello: self.end.local.hello.clone(), witnessed };
                self.end.say_sealed(DIALER_ACCOUNT, &account, out);
                Ok(Turn::Next(DialerAwaits::Welcome { listener }))
            }
            DialerAwaits::Welcome { listener } => match self.end.hear_sealed(LISTENER_VERDICT, payload, out)? {
                Sealed::Welcome { witnessed } => Ok(self.end.established(PeerHello::Node(listener), witnessed)),
                _ => Err(MALFORMED),
            },
            DialerAwaits::Preamble | DialerAwaits::Nothing => Err(MALFORMED),
        }
    }

    fn on(&mut self, awaits: DialerAwaits, step: Step) -> Step {
        self.awaits = awaits;
        step
    }
}

/// The end that was dialled.
#[derive(Debug)]
pub struct Listener {
    end: End,
    awaits: ListenerAwaits,
}

#[derive(Debug)]
enum ListenerAwaits {
    Preamble,
    Hello,
    Proof,
    Account,
    Nothing,
}

impl Listener {
    /// Waits for a dialler's preamble. `nonce` must be fresh and random.
    pub fn new(local: Local, nonce: [u8; 32]) -> Listener {
        Listener { end: End::new(local, nonce), awaits: ListenerAwaits::Preamble }
    }

    /// Uses bytes from the head of `input`, and writes to `out` what is to be sent.
    pub fn advance(&mut self, input: &[u8], admission: &dyn Admission, out: &mut Vec<u8>) -> Step {
        let awaits = std::mem::replace(&mut self.awaits, ListenerAwaits::Nothing);
        if let ListenerAwaits::Preamble = awaits {
            let heard = self.end.hear_preamble(input);
            if let Ok(Some(_)) | Err(Refused { because: RefusedBecause::VersionMismatch { .. }, .. }) = heard {
                self.end.say_preamble(out);
            }
            return match heard {
                Ok(None) => self.on(ListenerAwaits::Preamble, Step::Wait),
                Ok(Some(taken)) => self.on(ListenerAwaits::Hello, Step::Taken(taken)),
                Err(refused) => Step::Ended { taken: 0, outcome: Err(refused) },
            };
        }
        let (payload, taken) = match cut(input) {
            Ok(Some(cut)) => cut,
            Ok(None) => return self.on(awaits, Step::Wait),
            Err(refused) => return Step::Ended { taken: 0, outcome: Err(refused) },
        };
        match self.hear(awaits, payload, admission, out) {
            Ok(Turn::Next(awaits)) => self.on(awaits, Step::Taken(taken)),
            Ok(Turn::Established(established)) => Step::Ended { taken, outcome: Ok(established) },
            Err(refused) => Step::Ended { taken, outcome: Err(refused) },
        }
    }

    fn hear(
        &mut self,
        awaits: ListenerAwaits,
        payload: &[u8],
        admission: &dyn Admission,
        out: &mut Vec<u8>,
    ) -> Result<Turn<ListenerAwaits>, Refused> {
        match awaits {
            ListenerAwaits::Hello => {
                self.end.hear_hello(payload)?;
                self.end.say_hello(out);
                Ok(Turn::Next(ListenerAwaits::Proof))
            }
            ListenerAwaits::Proof => {
                self.end.hear_proof(payload, out)?;
                let account = Sealed::Account { hello: self.end.local.hello.clone(), witnessed: BatchNumber(0) };
                self.end.say_sealed(LISTENER_ACCOUNT, &account, out);
                Ok(Turn::Next(ListenerAwaits::Account))
            }
            ListenerAwaits::Account => {
                let Sealed::Account { hello: dialer, witnessed } =
                    self.end.hear_sealed(DIALER_ACCOUNT, payload, out)?
                else {
                    return Err(MALFORMED);
                };
                if let Err(because) = self.end.judge(&dialer, admission) {
                    return Err(self.end.refuse(LISTENER_VERDICT, because, out));
                }
                let ours = dialer.node().map_or(BatchNumber(0), |node| admission.witnessed(node));
                self.end.say_sealed(LISTENER_VERDICT, &Sealed::Welcome { witnessed: ours }, out);
                Ok(self.end.established(dialer, witnessed))
            }
            ListenerAwaits::Preamble | ListenerAwaits::Nothing => Err(MALFORMED),
        }
    }

    fn on(&mut self, awaits: ListenerAwaits, step: Step) -> Step {
        self.awaits = awaits;
        step
    }
}

enum Turn<Awaits> {
    Next(Awaits),
    Established(Established),
}

/// What travels before the seals.
#[derive(Serialize, Deserialize)]
enum Plain {
    Hello { nonce: [u8; 32], cluster: Option<String> },
    Proof([u8; 32]),
    Sealed { body: ByteBuf, seal: [u8; 32] },
    WrongCookie,
}

/// What travels under a seal.
#[derive(Serialize, Deserialize)]
enum Sealed {
    Account { hello: PeerHello, witnessed: BatchNumber },
    Welcome { witnessed: BatchNumber },
    Refuse(RefusedBecause),
}

/// Which step of the handshake a signature is for; each step is one side's.
type Label = &'static [u8; 16];
const DIALER_PROOF: Label = b"synod D proof   ";
const LISTENER_ACCOUNT: Label = b"synod L account ";
const DIALER_ACCOUNT: Label = b"synod D account ";
const LISTENER_VERDICT: Label = b"synod L verdict ";

const MAGIC: &[u8; 8] = b"\x93synod\r\n";
const PREAMBLE: usize = MAGIC.len() + 4;
const MALFORMED: Refused = Refused { by: Side::Us, because: RefusedBecause::Malformed };

/// What both ends do alike.
#[derive(Debug)]
struct End {
    local: Local,
    nonce: [u8; 32],
    /// Everything said by both so far, in order.
    spoken: Sha256,
    version: u16,
    their_cluster: Option<String>,
}

impl End {
    fn new(local: Local, nonce: [u8; 32]) -> End {
        End { local, nonce, spoken: Sha256::new(), version: 0, their_cluster: None }
    }

    fn say_preamble(&mut self, out: &mut Vec<u8>) {
        let (lowest, highest) = VERSIONS;
        let preamble = [&MAGIC[..], &lowest.to_le_bytes(), &highest.to_le_bytes()].concat();
        self.note(&preamble);
        out.extend_from_slice(&preamble);
    }

    fn hear_preamble(&mut self, input: &[u8]) -> Result<Option<usize>, Refused> {
        let there = input.len().min(MAGIC.len());
        if input[..there] != MAGIC[..there] {
            return Err(Refused { by: Side::Us, because: RefusedBecause::OtherProtocol });
        }
        let Some(preamble) = input.first_chunk::<PREAMBLE>() else {
            return Ok(None);
        };
        let [.., a, b, c, d] = *preamble;
        let theirs = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let version = common_version(VERSIONS, theirs)
            .ok_or(Refused { by: Side::Us, because: RefusedBecause::VersionMismatch { ours: VERSIONS, theirs } })?;
        self.version = version;
        self.note(preamble);
        Ok(Some(PREAMBLE))
    }

    fn say_hello(&mut self, out: &mut Vec<u8>) {
        let hello = Plain::Hello { nonce: self.nonce, cluster: self.local.cluster.clone() };
        self.say(&hello, out);
    }

    fn hear_hello(&mut self, payload: &[u8]) -> Result<(), Refused> {
        let Plain::Hello { cluster, .. } = decode(payload)? else {
            return Err(MALFORMED);
        };
        if cluster.as_deref().is_some_and(|cluster| check_name(cluster).is_err()) {
            return Err(MALFORMED);
        }
        self.their_cluster = cluster;
        self.note(payload);
        Ok(())
    }

    fn say_proof(&mut self, out: &mut Vec<u8>) {
        let proof = Plain::Proof(self.sign(DIALER_PROOF, &[]));
        self.say(&proof, out);
    }

    fn hear_proof(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        match decode(payload)? {
            Plain::Proof(proof) if self.verifies(DIALER_PROOF, &[], &proof) => {
                self.note(payload);
                Ok(())
            }
            Plain::Proof(_) => Err(self.refuse_cookie(out)),
            _ => Err(MALFORMED),
        }
    }

    fn say_sealed(&mut self, label: Label, sealed: &Sealed, out: &mut Vec<u8>) {
        let body = codec::encode(sealed);
        let seal = self.sign(label, &body);
        self.say(&Plain::Sealed { body: body.into(), seal }, out);
    }

    fn hear_sealed(&mut self, label: Label, payload: &[u8], out: &mut Vec<u8>) -> Result<Sealed, Refused> {
        let (body, seal) = match decode(payload)? {
            Plain::Sealed { body, seal } => (body, seal),
            Plain::WrongCookie => return Err(Refused { by: Side::Peer, because: self.wrong_cookie() }),
            Plain::Hello { .. } | Plain::Proof(_) => return Err(MALFORMED),
        };
        if !self.verifies(label, &body, &seal) {
            return Err(self.refuse_cookie(out));
        }
        self.note(payload);
        match decode(&body)? {
            Sealed::Refuse(because) => Err(Refused { by: Side::Peer, because: because.mirrored() }),
            sealed => Ok(sealed),
        }
    }

    /// Whether a peer that knows the cookie fits, by our own lights first, then by the policy's.
    fn judge(&self, peer: &PeerHello, admission: &dyn Admission) -> Result<(), RefusedBecause> {
        self.same_cluster()?;
        if let PeerHello::Node(theirs) = peer {
            if theirs.check().is_err() {
                return Err(RefusedBecause::Malformed);
            }
            let agreement = self.local.hello.node().map_or(Ok(()), |ours| ours.agrees_with(theirs));
            match &self.local.expected {
                Some(expected) if *expected != theirs.name && agreement != Err(RefusedBecause::SelfDial) => {
                    let (expected, found) = (expected.clone(), theirs.name.clone());
                    return Err(RefusedBecause::NotExpected { expected, found });
                }
                _ => agreement?,
            }
        }
        admission.admit(peer)
    }

    fn same_cluster(&self) -> Result<(), RefusedBecause> {
        match (&self.local.cluster, &self.their_cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(RefusedBecause::WrongCluster { ours: ours.clone(), theirs: theirs.clone() })
            }
            _ => Ok(()),
        }
    }

    fn refuse(&mut self, label: Label, because: RefusedBecause, out: &mut Vec<u8>) -> Refused {
        self.say_sealed(label, &Sealed::Refuse(because.clone()), out);
        Refused { by: Side::Us, because }
    }

    fn refuse_cookie(&mut self, out: &mut Vec<u8>) -> Refused {
        self.say(&Plain::WrongCookie, out);
        Refused { by: Side::Us, because: self.wrong_cookie() }
    }

    /// Cookies differ: most likely because the clusters do, if their names differ.
    fn wrong_cookie(&self) -> RefusedBecause {
        self.same_cluster().err().unwrap_or(RefusedBecause::WrongCookie)
    }

    fn established<Awaits>(&self, peer: PeerHello, witnessed: BatchNumber) -> Turn<Awaits> {
        Turn::Established(Established { peer, witnessed, version: self.version })
    }

    fn say(&mut self, message: &Plain, out: &mut Vec<u8>) {
        let start = out.len();
        frame::append(out, HANDSHAKE_LIMIT, |out| codec::encode_into(out, message))
            .expect("`Local` and `judge` let no long names, addresses or lists through");
        let payload = start + frame::HEADER;
        self.note(&out[payload..]);
    }

    fn note(&mut self, said: &[u8]) {
        self.spoken.update((said.len() as u64).to_le_bytes());
        self.spoken.update(said);
    }

    fn sign(&self, label: Label, body: &[u8]) -> [u8; 32] {
        self.local.cookie.sign(&[label, &self.spoken.clone().finalize(), body])
    }

    fn verifies(&self, label: Label, body: &[u8], signature: &[u8; 32]) -> bool {
        self.local.cookie.verifies(&[label, &self.spoken.clone().finalize(), body], signature)
    }
}

/// The highest version that both speak.
fn common_version(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let (lowest, highest) = (ours.0.max(theirs.0), ours.1.min(theirs.1));
    (lowest <= highest).then_some(highest)
}

fn cut(input: &[u8]) -> Result<Option<(&[u8], usize)>, Refused> {
    match frame::head(input, HANDSHAKE_LIMIT) {
        Ok(Head::Frame { payload, taken }) => Ok(Some((payload, taken))),
        Ok(Head::Partial { .. }) => Ok(None),
        Err(_) => Err(MALFORMED),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    codec::decode(bytes, HANDSHAKE_LIMIT).map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests;
