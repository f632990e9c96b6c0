//! What the driver needs of a network: dial an address, get typed frames both ways.
//!
//! The handshake is over when [`Transport::dial`] returns. Tests dial in-memory pipes instead.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::codec::FramedWrite;

use super::error::ClientError;
use crate::net::codec::FrameCodec;
use crate::net::cookie::Cookie;
use crate::net::handshake::{AdmitAll, Local};
use crate::net::link::{self, LinkError};
use crate::net::report::{Inspection, Report};
use crate::net::wire::{ClientFrame, NodeFrame};

/// A connection to a node: frames in, frames out.
pub(super) trait Wire:
    Stream<Item = io::Result<NodeFrame>> + Sink<ClientFrame, Error = io::Error> + Send
{
}

impl<T: Stream<Item = io::Result<NodeFrame>> + Sink<ClientFrame, Error = io::Error> + Send> Wire for T {}

/// See [`Wire`].
pub(super) type Connection = Pin<Box<dyn Wire>>;

/// A dial under way.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Connection, DialError>> + Send>>;

/// Why a dial came to nothing.
#[derive(Debug)]
pub(super) struct DialError {
    /// In a sentence.
    pub(super) reason: String,
    /// It may be otherwise in a moment: nobody said no, and nobody is known to be absent.
    pub(super) passing: bool,
}

/// A way to reach nodes.
pub(super) trait Transport: Send + Sync + 'static {
    /// Connects to `HOST:PORT` and shakes hands.
    fn dial(&self, address: String) -> Dialling;
}

/// TCP, with the cluster's handshake.
pub(super) struct Network {
    pub(super) cluster: String,
    pub(super) cookie: Cookie,
}

impl Transport for Network {
    fn dial(&self, address: String) -> Dialling {
        let local = Local::client(self.cookie.clone(), Some(&self.cluster));
        Box::pin(async move {
            let local = local.map_err(|reason| DialError { reason, passing: false })?;
            let connection = link::dial(&address, local, &AdmitAll, DIAL_TIME).await.map_err(|error| {
                let reason = match &error {
                    // Whoever asked knows the address.
                    LinkError::Unreachable { error, .. } => error.to_string(),
                    error => error.to_string(),
                };
                // A node hangs up, or answers late, when too many strangers knock at once.
                let passing = matches!(error, LinkError::HungUp | LinkError::Broken(_) | LinkError::TimedOut { .. });
                DialError { reason, passing }
            })?;
            let (reader, writer) = connection.split::<NodeFrame>();
            let mut writer = FramedWrite::new(writer, FrameCodec::<(), ClientFrame>::default());
            writer.set_backpressure_boundary(WRITE_BYTES);
            Ok(Box::pin(Joined { reader, writer }) as Connection)
        })
    }
}

/// Two halves that make a [`Wire`].
struct Joined<R, W> {
    reader: R,
    writer: W,
}

impl<R: Stream + Unpin, W: Unpin> Stream for Joined<R, W> {
    type Item = R::Item;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<R::Item>> {
        self.reader.poll_next_unpin(context)
    }
}

impl<R: Unpin, W: Sink<ClientFrame> + Unpin> Sink<ClientFrame> for Joined<R, W> {
    type Error = W::Error;
    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.writer.poll_ready_unpin(context)
    }
    fn start_send(mut self: Pin<&mut Self>, frame: ClientFrame) -> Result<(), W::Error> {
        self.writer.start_send_unpin(frame)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.writer.poll_flush_unpin(context)
    }
    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        self.writer.poll_close_unpin(context)
    }
}

/// Makes these attempts side by side: each a moment after the one before, or as soon as one has failed. The first that
/// succeeds counts; if none does, the errors are given in order.
pub(super) async fn first_of<T, E>(attempts: Vec<impl Future<Output = Result<T, E>>>) -> Result<T, Vec<E>> {
    let mut waiting = attempts.into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    let mut errors = BTreeMap::new();
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            Some((number, ended)) = running.next() => match ended {
                Ok(done) => return Ok(done),
                Err(error) => {
                    errors.insert(number, error);
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                if let Some((number, attempt)) = waiting.next() {
                    running.push(async move { (number, attempt.await) });
                }
                next_at = Instant::now() + STAGGER;
            }
            else => return Err(errors.into_values().collect()),
        }
    }
}

/// Asks one node one thing over a connection of its own, and who it is. Of several addresses the first that answers
/// counts.
pub(super) async fn ask_once(
    transport: &dyn Transport,
    addresses: &[String],
    inspection: Inspection,
    deadline: Instant,
) -> Result<(String, Report), ClientError> {
    let inspection = &inspection;
    let attempts = addresses.iter().map(|address| async move {
        let answer = timeout_at(deadline, ask(transport, address.clone(), inspection.clone())).await;
        match answer.unwrap_or_else(|_| Err(Unanswered::Silent("no answer in time".into()))) {
            Err(Unanswered::Silent(reason)) => Err(Unanswered::Silent(format!("{address}: {reason}"))),
            answer => answer,
        }
    });
    first_of(attempts.collect()).await.map_err(|errors| {
        let mut silent = Vec::new();
        for error in errors {
            match error {
                Unanswered::Unable(reason) => return ClientError::Refused { reason },
                Unanswered::Silent(reason) => silent.push(reason),
            }
        }
        ClientError::Connection { reason: silent.join("; ") }
    })
}

/// Why a question has no answer.
enum Unanswered {
    /// Nobody said anything.
    Silent(String),
    /// The node said that it cannot, and why.
    Unable(String),
}

async fn ask(transport: &dyn Transport, address: String, asked: Inspection) -> Result<(String, Report), Unanswered> {
    let mut connection = transport.dial(address).await.map_err(|error| Unanswered::Silent(error.reason))?;
    let lost = |error: io::Error| Unanswered::Silent(format!("the connection was lost: {error}"));
    let (mut name, mut answer) = (None, None);
    for (id, inspection) in [(WHO, Inspection::Status), (WHAT, asked)] {
        connection.send(ClientFrame::Inspect { id, inspection }).await.map_err(lost)?;
    }
    while let Some(frame) = connection.next().await {
        match frame.map_err(lost)? {
            NodeFrame::Report { id: WHO, report: Ok(Report::Status(status)) } => name = Some(status.name),
            NodeFrame::Report { report: Err(reason), .. } => return Err(Unanswered::Unable(reason)),
            NodeFrame::Report { id: WHAT, report: Ok(report) } => answer = Some(report),
            NodeFrame::Report { .. } | NodeFrame::Replies(_) => {}
        }
        if let (Some(name), Some(answer)) = (&mut name, &mut answer) {
            return Ok((std::mem::take(name), answer.clone()));
        }
    }
    Err(Unanswered::Silent("the node closed the connection".into()))
}

/// For connecting and shaking hands.
pub(super) const DIAL_TIME: Duration = Duration::from_secs(1);
/// How long an attempt is alone before the next one joins it.
const STAGGER: Duration = Duration::from_millis(200);
/// So much is gathered for one write.
const WRITE_BYTES: usize = 256 << 10;
const WHO: u64 = 1;
const WHAT: u64 = 2;
