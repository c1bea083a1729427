//! The socket that quinn believes to have: it receives what the loop hands on, and sends for itself.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::sync::mpsc;

use super::port::SharedSocket;
use super::streams::Streams;

/// QUIC datagrams that wait for quinn: some handshakes' worth for each that is allowed at once. More than this means that
/// quinn does not keep up; what is lost then is sent again by its sender.
const MAX_WAITING: usize = 4096;

/// A QUIC datagram and what the kernel told about it.
#[derive(Debug)]
pub(super) struct Packet {
    meta: RecvMeta,
    bytes: Box<[u8]>,
}

impl Packet {
    pub(super) fn new(meta: &RecvMeta, datagram: &[u8]) -> Self {
        Self { meta: *meta, bytes: datagram.into() }
    }
}

/// The loop's end.
#[derive(Debug, Clone)]
pub(super) struct Handoff(mpsc::Sender<Packet>);

impl Handoff {
    /// Hands a datagram on, unless too many wait.
    pub(super) fn pass(&self, packet: Packet) {
        if self.0.try_send(packet).is_err() {
            tracing::trace!("QUIC datagram dropped: too many wait");
        }
    }
}

#[derive(Debug)]
struct QuicSocket {
    socket: Arc<SharedSocket>,
    streams: Arc<Streams>,
    /// Locked for no longer than a batch takes, by quinn's one receiving task.
    packets: Mutex<mpsc::Receiver<Packet>>,
}

/// Both ends.
pub(super) fn handoff(socket: Arc<SharedSocket>, streams: Arc<Streams>) -> (Handoff, Arc<dyn AsyncUdpSocket>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Handoff(sender), Arc::new(QuicSocket { socket, streams, packets: Mutex::new(receiver) }))
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: Arc::clone(&self.socket), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        if self.streams.send(transmit.destination, transmit.contents, segment) {
            return Ok(());
        }
        let SharedSocket { io, state } = &*self.socket;
        // `send` turns passing errors of the network into silence; an error here would end the connection.
        io.try_io(Interest::WRITABLE, || state.send(io.into(), transmit))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let packet = match packets.poll_recv(context) {
                Poll::Ready(Some(packet)) => packet,
                // None: the loop has ended, the endpoint closes, and nothing will be received any more.
                Poll::Ready(None) | Poll::Pending if received == 0 => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            };
            let length = packet.bytes.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..length), packet.bytes.get(..length)) {
                to.copy_from_slice(from);
            }
            *meta = RecvMeta { len: length, stride: length, ..packet.meta };
            received += 1;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.state.max_gso_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.state.may_fragment()
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits until the socket takes datagrams again: a fresh future for each time, as each can wake one task.
struct Writable {
    socket: Arc<SharedSocket>,
    waiting: Option<Waiting>,
}

impl std::fmt::Debug for Writable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.io.writable().await }));
        let result = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(result)
    }
}
