//! What both ends of a handshake do alike: say, hear, sign, verify, judge.
//!
//! Everything said is noted in one running digest, in the order of the wire, before the next signature is made or
//! checked. Labels have one fixed length, so that no label, digest and body can be read as another three.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::{Established, Gatekeeper, Local, VERSIONS};
use crate::codec;
use crate::net::frame::{self, HANDSHAKE_LIMIT, Head};
use crate::net::identity::{Enrolment, NodeHello, PeerHello, check_name};
use crate::net::refusal::{Refused, RefusedBecause, Side};
use crate::paxos::BatchNumber;

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
pub(super) enum Sealed {
    Account { hello: PeerHello, witnessed: BatchNumber, enrolment: Option<Enrolment> },
    Welcome { witnessed: BatchNumber, enrolment: Option<Enrolment> },
    Refuse(RefusedBecause),
}

/// Which step of the handshake a signature is for; each step is one side's.
pub(super) type Label = &'static [u8; 16];
const DIALER_PROOF: Label = b"synod D proof   ";
pub(super) const LISTENER_ACCOUNT: Label = b"synod L account ";
pub(super) const DIALER_ACCOUNT: Label = b"synod D account ";
pub(super) const LISTENER_VERDICT: Label = b"synod L verdict ";

const MAGIC: &[u8; 8] = b"\x93synod\r\n";
pub(super) const PREAMBLE: usize = MAGIC.len() + 4;
pub(super) const MALFORMED: Refused = Refused { by: Side::Us, because: RefusedBecause::Malformed };

/// What both ends do alike.
#[derive(Debug)]
pub(super) struct End {
    pub(super) local: Local,
    nonce: [u8; 32],
    /// Everything said by both so far, in order.
    spoken: Sha256,
    version: u16,
    their_cluster: Option<String>,
}

impl End {
    pub(super) fn new(local: Local, nonce: [u8; 32]) -> End {
        End { local, nonce, spoken: Sha256::new(), version: 0, their_cluster: None }
    }

    pub(super) fn say_preamble(&mut self, out: &mut Vec<u8>) {
        let (lowest, highest) = VERSIONS;
        let preamble = [&MAGIC[..], &lowest.to_le_bytes(), &highest.to_le_bytes()].concat();
        self.note(&preamble);
        out.extend_from_slice(&preamble);
    }

    pub(super) fn hear_preamble(&mut self, input: &[u8]) -> Result<Option<usize>, Refused> {
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

    pub(super) fn say_hello(&mut self, out: &mut Vec<u8>) {
        let hello = Plain::Hello { nonce: self.nonce, cluster: self.local.cluster.clone() };
        self.say(&hello, out);
    }

    pub(super) fn hear_hello(&mut self, payload: &[u8]) -> Result<(), Refused> {
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

    pub(super) fn say_proof(&mut self, out: &mut Vec<u8>) {
        let proof = Plain::Proof(self.sign(DIALER_PROOF, &[]));
        self.say(&proof, out);
    }

    pub(super) fn hear_proof(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Refused> {
        match decode(payload)? {
            Plain::Proof(proof) if self.verifies(DIALER_PROOF, &[], &proof) => {
                self.note(payload);
                Ok(())
            }
            Plain::Proof(_) => Err(self.refuse_cookie(out)),
            _ => Err(MALFORMED),
        }
    }

    pub(super) fn say_sealed(&mut self, label: Label, sealed: &Sealed, out: &mut Vec<u8>) {
        let body = codec::encode(sealed);
        let seal = self.sign(label, &body);
        self.say(&Plain::Sealed { body: body.into(), seal }, out);
    }

    pub(super) fn hear_sealed(&mut self, label: Label, payload: &[u8], out: &mut Vec<u8>) -> Result<Sealed, Refused> {
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
    pub(super) fn judge(
        &self,
        peer: &PeerHello,
        enrolment: Option<&Enrolment>,
        gatekeeper: &dyn Gatekeeper,
    ) -> Result<(), RefusedBecause> {
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
        gatekeeper.admit(peer, enrolment)
    }

    /// What to tell a node of itself. A client has no say in that.
    pub(super) fn enrolment(&self, peer: &NodeHello, gatekeeper: &dyn Gatekeeper) -> Option<Enrolment> {
        self.local.hello.node().and_then(|_| gatekeeper.enrolment(peer))
    }

    fn same_cluster(&self) -> Result<(), RefusedBecause> {
        match (&self.local.cluster, &self.their_cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(RefusedBecause::WrongCluster { ours: ours.clone(), theirs: theirs.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn refuse(&mut self, label: Label, because: RefusedBecause, out: &mut Vec<u8>) -> Refused {
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

    pub(super) fn established(
        &self,
        peer: PeerHello,
        witnessed: BatchNumber,
        enrolment: Option<Enrolment>,
    ) -> Established {
        Established { peer, witnessed, version: self.version, enrolment }
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
pub(super) fn common_version(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let (lowest, highest) = (ours.0.max(theirs.0), ours.1.min(theirs.1));
    (lowest <= highest).then_some(highest)
}

pub(super) fn cut(input: &[u8]) -> Result<Option<(&[u8], usize)>, Refused> {
    match frame::head(input, HANDSHAKE_LIMIT) {
        Ok(Head::Frame { payload, taken }) => Ok(Some((payload, taken))),
        Ok(Head::Partial { .. }) => Ok(None),
        Err(_) => Err(MALFORMED),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    codec::decode(bytes, HANDSHAKE_LIMIT).map_err(|_| MALFORMED)
}
