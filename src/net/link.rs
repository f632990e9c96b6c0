//! Connections: dialling, listening, and the handshake over a socket.
//!
//! Every handshake has a time-out over all of it, name resolution included, and a listener greets a bounded number of
//! strangers at once; so whoever says nothing, or too much, costs a socket for a few seconds. Names are resolved at
//! every dial. What flows over the link afterwards is the actors' and the doors' business.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::codec::FramedRead;

use super::codec::FrameCodec;
use super::handshake::{Dialer, Established, Gatekeeper, Listener, Local, Step};
use super::identity::NodeHello;
use super::refusal::Refused;
use crate::paxos::{BatchNumber, NodeId};

/// The node behind its links.
pub trait Host: Gatekeeper {
    /// What this end brings to a handshake; asked for each, because a founding changes it.
    fn local(&self) -> Local;

    /// The number of a node that has introduced itself so; none before the founding.
    fn number(&self, peer: &NodeHello) -> Option<NodeId>;
}

/// What every link of a node needs to know. Cheap to clone.
#[derive(Clone)]
pub struct LinkContext {
    /// Who we are, and whom we talk to.
    pub host: Arc<dyn Host>,
    /// The highest batch that is durable in this node's journal.
    pub durable: Arc<AtomicU64>,
    /// Lots that were dropped because an outbox was full.
    pub dropped: Arc<AtomicU64>,
    /// How long to wait, how much to hold.
    pub limits: LinkLimits,
}

impl LinkContext {
    /// The highest batch that is durable in this node's journal, now.
    pub fn durable(&self) -> BatchNumber {
        BatchNumber(self.durable.load(Ordering::Acquire))
    }
}

impl fmt::Debug for LinkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkContext").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How long a link waits and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// For a whole handshake, with resolving and connecting.
    pub handshake: Duration,
    /// The first wait before dialling again; every failure doubles it. Half of each wait is random.
    pub redial_first: Duration,
    /// The longest wait before dialling again.
    pub redial_most: Duration,
    /// How often each end of an idle link gives a sign of life.
    pub sign_every: Duration,
    /// How long a link may give no sign of life, or take no bytes, before it is cut.
    pub patience: Duration,
    /// How many bytes may wait for one peer, roughly; what would go over is dropped.
    pub outbox_bytes: usize,
    /// How many handshakes a listener holds with strangers at once; more are hung up on.
    pub strangers: usize,
}

impl LinkLimits {
    /// What a node uses unless told otherwise.
    pub const DEFAULT: LinkLimits = LinkLimits {
        handshake: Duration::from_secs(3),
        redial_first: Duration::from_millis(50),
        redial_most: Duration::from_secs(1),
        sign_every: Duration::from_secs(1),
        patience: Duration::from_secs(5),
        outbox_bytes: 64 << 20,
        strangers: 256,
    };
}

const _: () = {
    let limits = LinkLimits::DEFAULT;
    assert!(limits.patience.as_millis() > 2 * limits.sign_every.as_millis(), "one lost sign does not cut a link");
    assert!(limits.outbox_bytes > super::frame::FRAME_LIMIT, "the largest message fits in an outbox");
};

impl Default for LinkLimits {
    fn default() -> LinkLimits {
        LinkLimits::DEFAULT
    }
}

/// A socket whose two ends have shaken hands.
#[derive(Debug)]
pub struct Connection {
    /// Who is there.
    pub established: Established,
    /// From where.
    pub remote: SocketAddr,
    stream: TcpStream,
    received: BytesMut,
}

impl Connection {
    /// Two halves: one reads frames of `In`, one takes bytes ([`super::codec::append`] many frames, write once).
    pub fn split<In: DeserializeOwned>(self) -> (FrameReader<In>, OwnedWriteHalf) {
        let (reading, writing) = self.stream.into_split();
        let mut reader = FramedRead::with_capacity(reading, FrameCodec::default(), READ_BUFFER);
        reader.read_buffer_mut().extend_from_slice(&self.received);
        (reader, writing)
    }
}

/// Reads frames that hold an `In`.
pub type FrameReader<In> = FramedRead<OwnedReadHalf, FrameCodec<In, ()>>;

/// Connects to `address` (`HOST:PORT`) and shakes hands, all within `patience`.
pub async fn dial(
    address: &str,
    local: Local,
    gatekeeper: &dyn Gatekeeper,
    patience: Duration,
) -> Result<Connection, LinkError> {
    let attempt = async {
        let connected = TcpStream::connect(address).await;
        let stream = connected.map_err(|error| LinkError::Unreachable { address: address.to_owned(), error })?;
        let mut first = Vec::new();
        let mut dialer = Dialer::start(local, rand::random(), &mut first);
        shake(stream, first, |input, out| dialer.advance(input, gatekeeper, out)).await
    };
    tokio::time::timeout(patience, attempt).await.unwrap_or(Err(LinkError::TimedOut { patience }))
}

/// Shakes hands with whoever has connected, all within `patience`.
pub async fn greet(
    stream: TcpStream,
    local: Local,
    gatekeeper: &dyn Gatekeeper,
    patience: Duration,
) -> Result<Connection, LinkError> {
    let mut listener = Listener::new(local, rand::random());
    let attempt = shake(stream, Vec::new(), |input, out| listener.advance(input, gatekeeper, out));
    tokio::time::timeout(patience, attempt).await.unwrap_or(Err(LinkError::TimedOut { patience }))
}

async fn shake(
    mut stream: TcpStream,
    first: Vec<u8>,
    advance: impl FnMut(&[u8], &mut Vec<u8>) -> Step,
) -> Result<Connection, LinkError> {
    let remote = stream.peer_addr().map_err(LinkError::Broken)?;
    stream.set_nodelay(true).and_then(|()| keep_alive(&stream)).map_err(LinkError::Broken)?;
    let (established, received) = shake_over(&mut stream, first, advance).await?;
    Ok(Connection { established, remote, stream, received })
}

/// Has the system notice when the other end vanishes without a word, even while nobody has anything to say: otherwise a
/// client that lost its power would hold its place for ever.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// The handshake over any stream; returns what came after it, too.
async fn shake_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut out: Vec<u8>,
    mut advance: impl FnMut(&[u8], &mut Vec<u8>) -> Step,
) -> Result<(Established, BytesMut), LinkError> {
    let mut received = BytesMut::with_capacity(HANDSHAKE_BUFFER);
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(LinkError::Broken)?;
            out.clear();
        }
        match advance(&received, &mut out) {
            Step::Taken(taken) => received.advance(taken),
            Step::Wait => {
                received.reserve(HANDSHAKE_BUFFER);
                if stream.read_buf(&mut received).await.map_err(LinkError::Broken)? == 0 {
                    return Err(LinkError::HungUp);
                }
            }
            Step::Ended { taken, outcome } => {
                received.advance(taken);
                let sent = stream.write_all(&out).await;
                return match outcome {
                    Ok(established) => sent.map(|()| (established, received)).map_err(LinkError::Broken),
                    Err(refused) => {
                        // The reason is on its way or it is not: either way there will be no link.
                        let _ = stream.shutdown().await;
                        Err(LinkError::Refused(refused))
                    }
                };
            }
        }
    }
}

/// Why there is no link.
#[derive(Debug)]
pub enum LinkError {
    /// Nobody answers at that address, or it does not resolve.
    Unreachable {
        /// As it was dialled.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The handshake took too long.
    TimedOut {
        /// How long we waited.
        patience: Duration,
    },
    /// The other end closed the connection during the handshake.
    HungUp,
    /// The connection broke during the handshake.
    Broken(io::Error),
    /// One of the ends refused.
    Refused(Refused),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Unreachable { address, error } => write!(f, "cannot reach {address}: {error}"),
            LinkError::TimedOut { patience } => write!(f, "no handshake within {patience:?}"),
            LinkError::HungUp => f.write_str("the other end hung up during the handshake"),
            LinkError::Broken(error) => write!(f, "the connection broke during the handshake: {error}"),
            LinkError::Refused(refused) => write!(f, "{refused}"),
        }
    }
}

impl std::error::Error for LinkError {}

/// A socket that listens for nodes and clients.
#[derive(Debug)]
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
}

/// What came to a listening socket.
#[derive(Debug)]
pub enum Arrival {
    /// A node or a client.
    Connected(Connection),
    /// Somebody who did not get in.
    Failed {
        /// From where.
        remote: SocketAddr,
        /// Why not.
        error: LinkError,
    },
}

impl Listening {
    /// Listens on `address` (`HOST:PORT`; port 0 takes a free one).
    pub async fn bind(address: &str) -> Result<Listening, ListenError> {
        let failed = |error| ListenError { address: address.to_owned(), error };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listening { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Greets whoever comes, many at once, and hands each on. Runs until it is dropped; then the socket closes.
    pub async fn serve(self, context: LinkContext, mut on_arrival: impl FnMut(Arrival)) {
        let mut greetings = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, remote)) if greetings.len() < context.limits.strangers => {
                        let context = context.clone();
                        greetings.spawn(async move {
                            let (local, patience) = (context.host.local(), context.limits.handshake);
                            match greet(stream, local, &*context.host, patience).await {
                                Ok(connection) => Arrival::Connected(connection),
                                Err(error) => Arrival::Failed { remote, error },
                            }
                        });
                    }
                    Ok((_, remote)) => log::debug!("hung up on {remote}: too many handshakes at once"),
                    Err(error) => {
                        // Out of file descriptors, most likely: some come back as other connections end.
                        log::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
                Some(greeted) = greetings.join_next() => match greeted {
                    Ok(arrival) => on_arrival(arrival),
                    // A broken invariant, not a stranger's doing: it is the listener's own.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => log::error!("a handshake was given up: {error}"),
                    },
                },
            }
        }
    }
}

/// Why a socket cannot listen, with the mend in one line.
#[derive(Debug)]
pub struct ListenError {
    /// As it was asked for.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { address, error } = self;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another program: stop it, or listen on another port")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "this machine does not have the address of {address}: listen on one that it has")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "not allowed to listen on {address}: choose a port from 1024 on")
            }
            _ => write!(f, "cannot listen on {address}: {error}: check host and port"),
        }
    }
}

impl std::error::Error for ListenError {}

const HANDSHAKE_BUFFER: usize = 1 << 10;
const READ_BUFFER: usize = 64 << 10;
/// A connection idle for so long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// After so many probes without an answer the connection is broken.
const PROBES: u32 = 3;
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
