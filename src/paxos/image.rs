//! Everything replicated at one slot, frozen; and its way through a sequence of frames and back.
//!
//! ```text
//! Head        format, slot, clock, last session, members, agreement, state's digest  once, first
//! Sessions    rows of the session table                                   in the table's order
//! Machine     parts of the machine's state                                in the machine's order
//! ```
//!
//! Two replicas that executed the same slots freeze images that give the same frames: nothing in them depends on the
//! node, on time, or on how the state was reached. So a snapshot is the same file everywhere, and a node that fetches
//! one may go on with another supplier.
//!
//! Absent: bytes and digests, which `crate::storage` knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::agreement::Agreement;
use super::membership::Membership;
use super::sessions::{Rows, Sessions};
use super::slot::Slot;
use super::state_machine::{Frozen, StateMachine};
use super::value::SessionId;

/// Everything replicated at one slot, frozen: to be written out while the executor goes on.
pub struct Image {
    /// The last slot whose effects it holds.
    pub upto: Slot,
    /// The log's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The session table. A clone, which shares its sessions with the executor's.
    pub sessions: Sessions,
    /// Which configuration decides which slot.
    pub membership: Membership,
    /// What the replicas agree on of their states.
    pub agreement: Agreement,
    /// The machine's state.
    pub machine: Box<dyn Frozen>,
}

/// An image that was frozen because of a mark, on its way to the keeper.
#[derive(Debug)]
pub struct Taken {
    /// The state at the mark.
    pub image: Image,
    /// It is to be saved, and not only digested.
    pub save: bool,
    /// By which the executor knows it again.
    pub number: u64,
}

/// Everything replicated at one slot, in use or ready for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<M> {
    /// The last slot whose effects it holds.
    pub upto: Slot,
    /// The log's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The session table.
    pub sessions: Sessions,
    /// Which configuration decides which slot.
    pub membership: Membership,
    /// What the replicas agree on of their states.
    pub agreement: Agreement,
    /// The machine.
    pub machine: M,
    /// The digest of all this, as far as whoever restored it has computed it.
    pub digest: [u8; 32],
}

/// What an image is written as, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// Comes first, once.
    Head(Box<Head>),
    /// Rows of the session table.
    Sessions(Rows),
    /// A part of the machine's state.
    Machine(Vec<u8>),
}

/// What is small in an image. Whatever else is replicated and small has its place here, under another
/// [`IMAGE_FORMAT`]; and in the state's digest, beside the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`IMAGE_FORMAT`].
    pub format: u32,
    /// The last slot whose effects the image holds.
    pub upto: Slot,
    /// The log's clock.
    pub clock_ms: u64,
    /// The session opened last.
    pub last_session: SessionId,
    /// Which configuration decides which slot.
    pub membership: Membership,
    /// What the replicas agree on of their states.
    pub agreement: Agreement,
    /// The digest of the state, which whoever restores it computes anew.
    pub digest: [u8; 32],
}

/// By what a snapshot's file is known: the digest of all of it. Equal states at one slot give equal files.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotId(pub [u8; 32]);

impl Image {
    /// The image as frames. `digest` is that of the state, which the head states.
    pub fn frames(&self, digest: [u8; 32]) -> impl Iterator<Item = Frame> + '_ {
        let Image { upto, clock_ms, sessions, membership, agreement, machine } = self;
        let head = Head {
            format: IMAGE_FORMAT,
            upto: *upto,
            clock_ms: *clock_ms,
            last_session: sessions.last(),
            membership: membership.clone(),
            agreement: agreement.clone(),
            digest,
        };
        let head = std::iter::once(Frame::Head(Box::new(head)));
        head.chain(sessions.rows().map(Frame::Sessions)).chain(machine.parts().map(Frame::Machine))
    }

    /// The state again, in `machine`, which must be in its initial state: for those who need no file in between.
    ///
    /// # Errors
    /// The machine does not take its own parts.
    pub fn thaw<M: StateMachine>(&self, machine: M) -> Result<State<M>, String> {
        State::restore(&mut self.frames([0; 32]), machine).map(|(state, _)| state)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("upto", &self.upto).finish_non_exhaustive()
    }
}

impl<M: StateMachine> State<M> {
    /// Restores a state from its frames into `machine`, which must be in its initial state. Gives the digest, too, that
    /// the head states; whether it is right is for the caller to see.
    ///
    /// # Errors
    /// A sentence that says why the frames are no image, or no image of this machine.
    pub fn restore(frames: &mut dyn Iterator<Item = Frame>, mut machine: M) -> Result<(State<M>, [u8; 32]), String> {
        let Some(Frame::Head(head)) = frames.next() else { return Err("it does not begin with a head".into()) };
        let Head { format, upto, clock_ms, last_session, membership, agreement, digest } = *head;
        if format != IMAGE_FORMAT {
            return Err(format!("its image has format {format}, and this version of synod reads {IMAGE_FORMAT}"));
        }
        let mut sessions = Sessions::awaiting(last_session);
        let mut first = None;
        for frame in &mut *frames {
            match frame {
                Frame::Sessions(rows) => sessions.take(rows)?,
                Frame::Machine(part) => {
                    first = Some(part);
                    break;
                }
                Frame::Head(_) => return Err(OUT_OF_PLACE.into()),
            }
        }
        let mut strange = false;
        let rest = frames.map_while(|frame| match frame {
            Frame::Machine(part) => Some(part),
            Frame::Head(_) | Frame::Sessions(_) => {
                strange = true;
                None
            }
        });
        let mut parts = first.into_iter().chain(rest);
        machine.restore(&mut parts)?;
        if parts.next().is_some() {
            return Err("the machine leaves parts of its state over".into());
        }
        drop(parts);
        if strange {
            Err(OUT_OF_PLACE.into())
        } else {
            Ok((State { upto, clock_ms, sessions, membership, agreement, machine, digest }, digest))
        }
    }

    /// The state as it is now.
    pub fn freeze(&self) -> Image {
        let State { upto, clock_ms, sessions, membership, agreement, machine, digest: _ } = self;
        Image {
            upto: *upto,
            clock_ms: *clock_ms,
            sessions: sessions.clone(),
            membership: membership.clone(),
            agreement: agreement.clone(),
            machine: machine.freeze(),
        }
    }
}

impl fmt::Display for SnapshotId {
    /// Its first bytes: enough for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The version of what an image holds. The file around it has a version of its own.
pub const IMAGE_FORMAT: u32 = 2;

const OUT_OF_PLACE: &str = "a frame of its image is out of place";
