//! What the driver needs of a network: dial an address, get typed frames both ways.
//!
//! The handshake is over when [`Transport::dial`] returns. Tests dial in-memory pipes instead.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, timeout_at};
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

/// A dial under way. It fails with a sentence.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Connection, String>> + Send>>;

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
            let connection = link::dial(&address, local?, &AdmitAll, DIAL_TIME).await.map_err(|error| match error {
                // Whoever asked knows the address.
                LinkError::Unreachable { error, .. } => error.to_string(),
                error => error.to_string(),
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

/// Asks one node one thing over a connection of its own, and who it is. Of several addresses the first that answers
/// counts.
pub(super) async fn ask_once(
    transport: &dyn Transport,
    addresses: &[String],
    inspection: Inspection,
    deadline: Instant,
) -> Result<(String, Report), ClientError> {
    let mut reasons = Vec::new();
    for address in addresses {
        let answer = timeout_at(deadline, ask(transport, address.clone(), inspection.clone())).await;
        match answer.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(answer) => return Ok(answer),
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(ClientError::Connection { reason: reasons.join("; ") })
}

async fn ask(transport: &dyn Transport, address: String, asked: Inspection) -> Result<(String, Report), String> {
    let mut connection = transport.dial(address).await?;
    let lost = |error: io::Error| format!("the connection was lost: {error}");
    let (mut name, mut answer) = (None, None);
    for (id, inspection) in [(WHO, Inspection::Status), (WHAT, asked)] {
        connection.send(ClientFrame::Inspect { id, inspection }).await.map_err(lost)?;
    }
    while let Some(frame) = connection.next().await {
        match frame.map_err(lost)? {
            NodeFrame::Report { id: WHO, report: Ok(Report::Status(status)) } => name = Some(status.name),
            NodeFrame::Report { id: WHAT, report } => answer = Some(report?),
            NodeFrame::Report { report: Err(reason), .. } => return Err(reason),
            NodeFrame::Report { .. } | NodeFrame::Replies(_) => {}
        }
        if let (Some(name), Some(answer)) = (&mut name, &mut answer) {
            return Ok((std::mem::take(name), answer.clone()));
        }
    }
    Err("the node closed the connection".into())
}

/// For connecting and shaking hands.
pub(super) const DIAL_TIME: Duration = Duration::from_secs(1);
/// So much is gathered for one write.
const WRITE_BYTES: usize = 256 << 10;
const WHO: u64 = 1;
const WHAT: u64 = 2;
