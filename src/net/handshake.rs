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

mod end;

use super::cookie::Cookie;
use super::identity::{Enrolment, NodeHello, PeerHello, check_name};
use super::refusal::{Refused, RefusedBecause};
use crate::paxos::BatchNumber;
use end::{DIALER_ACCOUNT, End, LISTENER_ACCOUNT, LISTENER_VERDICT, MALFORMED, Sealed, cut};

/// The lowest and the highest version of the protocol that this program speaks.
pub const VERSIONS: (u16, u16) = (2, 2);

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
pub trait Gatekeeper: Send + Sync {
    /// Whether this peer may talk to us. Cookie, cluster, founders and cluster ids have been compared before. `enrolment`
    /// is what it said of us.
    fn admit(&self, peer: &PeerHello, enrolment: Option<&Enrolment>) -> Result<(), RefusedBecause>;

    /// What to tell this node of itself: that it is a member, if it does not know.
    fn enrolment(&self, _peer: &NodeHello) -> Option<Enrolment> {
        None
    }

    /// The highest batch of that peer's journal that we have seen it claim before the start it is in now; zero if we
    /// know of none.
    fn witnessed(&self, peer: &NodeHello) -> BatchNumber;
}

/// Takes everyone who knows the cookie: a client's gatekeeper.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

impl Gatekeeper for AdmitAll {
    fn admit(&self, _peer: &PeerHello, _: Option<&Enrolment>) -> Result<(), RefusedBecause> {
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
    /// The peer says that we are a member of its cluster.
    pub enrolment: Option<Enrolment>,
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
    pub fn advance(&mut self, input: &[u8], gatekeeper: &dyn Gatekeeper, out: &mut Vec<u8>) -> Step {
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
        match self.hear(awaits, payload, gatekeeper, out) {
            Ok(Turn::Next(awaits)) => self.on(awaits, Step::Taken(taken)),
            Ok(Turn::Established(established)) => Step::Ended { taken, outcome: Ok(established) },
            Err(refused) => Step::Ended { taken, outcome: Err(refused) },
        }
    }

    fn hear(
        &mut self,
        awaits: DialerAwaits,
        payload: &[u8],
        gatekeeper: &dyn Gatekeeper,
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
                if let Err(because) = self.end.judge(&peer, None, gatekeeper) {
                    return Err(self.end.refuse(DIALER_ACCOUNT, because, out));
                }
                let witnessed = gatekeeper.witnessed(&listener);
                let enrolment = self.end.enrolment(&listener, gatekeeper);
                let account = Sealed::Account { hello: self.end.local.hello.clone(), witnessed, enrolment };
                self.end.say_sealed(DIALER_ACCOUNT, &account, out);
                Ok(Turn::Next(DialerAwaits::Welcome { listener }))
            }
            DialerAwaits::Welcome { listener } => match self.end.hear_sealed(LISTENER_VERDICT, payload, out)? {
                Sealed::Welcome { witnessed, enrolment } => {
                    Ok(Turn::Established(self.end.established(PeerHello::Node(listener), witnessed, enrolment)))
                }
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
    pub fn advance(&mut self, input: &[u8], gatekeeper: &dyn Gatekeeper, out: &mut Vec<u8>) -> Step {
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
        match self.hear(awaits, payload, gatekeeper, out) {
            Ok(Turn::Next(awaits)) => self.on(awaits, Step::Taken(taken)),
            Ok(Turn::Established(established)) => Step::Ended { taken, outcome: Ok(established) },
            Err(refused) => Step::Ended { taken, outcome: Err(refused) },
        }
    }

    fn hear(
        &mut self,
        awaits: ListenerAwaits,
        payload: &[u8],
        gatekeeper: &dyn Gatekeeper,
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
                let hello = self.end.local.hello.clone();
                let account = Sealed::Account { hello, witnessed: BatchNumber(0), enrolment: None };
                self.end.say_sealed(LISTENER_ACCOUNT, &account, out);
                Ok(Turn::Next(ListenerAwaits::Account))
            }
            ListenerAwaits::Account => {
                let Sealed::Account { hello: dialer, witnessed, enrolment } =
                    self.end.hear_sealed(DIALER_ACCOUNT, payload, out)?
                else {
                    return Err(MALFORMED);
                };
                if let Err(because) = self.end.judge(&dialer, enrolment.as_ref(), gatekeeper) {
                    return Err(self.end.refuse(LISTENER_VERDICT, because, out));
                }
                let ours = dialer.node().map_or(BatchNumber(0), |node| gatekeeper.witnessed(node));
                let theirs = dialer.node().and_then(|node| self.end.enrolment(node, gatekeeper));
                let welcome = Sealed::Welcome { witnessed: ours, enrolment: theirs };
                self.end.say_sealed(LISTENER_VERDICT, &welcome, out);
                Ok(Turn::Established(self.end.established(dialer, witnessed, enrolment)))
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

#[cfg(test)]
mod tests;
