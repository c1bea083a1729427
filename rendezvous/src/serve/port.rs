//! One UDP socket: many datagrams a system call in, each told by its first byte.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use knothole_proto::datagram::{Kind, classify};
use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit as Outgoing, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::StartError;
use super::handoff::{Handoff, Packet, handoff};
use super::streams::Streams;
use crate::server::canonical;

/// What the kernel is asked to hold for us, each way: a tenth of a second of a million peers' keepalives (50,000 a second,
/// some 800 bytes each as the kernel counts). It gives at most `net.core.rmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;
/// What one receive buffer holds: the longest train of datagrams that the kernel joins.
const BUFFER: usize = 1 << 16;

/// A socket and what it shares with quinn.
#[derive(Debug)]
pub(super) struct SharedSocket {
    pub(super) io: UdpSocket,
    pub(super) state: UdpSocketState,
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Port {
    socket: Arc<SharedSocket>,
    address: SocketAddr,
    /// Where QUIC goes; nowhere at the alternate sockets.
    quic: Option<Handoff>,
}

/// Where received datagrams are put; one for all ports, as they are read in turn.
pub(super) struct Buffers {
    bytes: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

/// A datagram as it arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    meta: &'a RecvMeta,
    pub(super) bytes: &'a [u8],
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER * BATCH_SIZE], metas: [RecvMeta::default(); BATCH_SIZE], filled: 0 }
    }

    /// The datagrams of the last batch; the kernel may have joined several into a train, to be cut at the stride.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Arrived<'_>> {
        self.metas.iter().zip(self.bytes.chunks(BUFFER)).take(self.filled).flat_map(|(meta, train)| {
            let train = train.get(..meta.len).unwrap_or(train);
            // An empty datagram is one too: what is taken is counted, so that nothing keeps the loop at one port.
            let empty = train.is_empty().then_some(train);
            empty.into_iter().chain(train.chunks(meta.stride.max(1))).map(move |bytes| Arrived { meta, bytes })
        })
    }
}

impl Arrived<'_> {
    /// Where it came from; IPv4 as such, also at a socket for both families.
    pub(super) fn from(&self) -> SocketAddr {
        canonical(self.meta.addr)
    }

    /// The address of ours that it was sent to.
    pub(super) fn local_ip(&self) -> Option<IpAddr> {
        self.meta.dst_ip
    }
}

impl Port {
    /// Binds a socket. Where IPv6 is switched off, IPv4's wildcard stands in for IPv6's.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let bound = match bind(address) {
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() && !has_ipv6() => {
                tracing::info!("this machine has no IPv6: listening at IPv4 only");
                bind(SocketAddr::from(([0, 0, 0, 0], address.port())))
            }
            bound => bound,
        };
        bound.map_err(|source| StartError::Bind { address, source })
    }

    /// The address it is bound to, with the real port.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on QUIC datagrams go to the socket that is returned; those of streams, by the handoff.
    pub(super) fn hand_off(&mut self, streams: Arc<Streams>) -> (Handoff, Arc<dyn quinn::AsyncUdpSocket>) {
        let (quic, socket) = handoff(Arc::clone(&self.socket), streams);
        self.quic = Some(quic.clone());
        (quic, socket)
    }

    /// Whether there is something to receive; else the task is woken when there is.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.io.poll_recv_ready(context)
    }

    /// Receives one batch into the buffers; returns whether there was anything.
    pub(super) fn receive(&self, buffers: &mut Buffers) -> bool {
        let mut slices: Vec<_> = buffers.bytes.chunks_mut(BUFFER).map(IoSliceMut::new).collect();
        let SharedSocket { io, state } = &*self.socket;
        let received = io.try_io(Interest::READABLE, || state.recv(io.into(), &mut slices, &mut buffers.metas));
        // Errors of a UDP socket are news about datagrams sent before (ICMP), not about the socket.
        buffers.filled = received.unwrap_or(0);
        buffers.filled > 0
    }

    /// Hands QUIC on to quinn; false for anything else.
    pub(super) fn hand_on(&self, datagram: &Arrived<'_>) -> bool {
        match (datagram.bytes.first().map(|first| classify(*first)), &self.quic) {
            (Some(Kind::Quic), Some(quic)) => {
                quic.pass(Packet::new(datagram.meta, datagram.bytes));
                true
            }
            _ => false,
        }
    }

    /// How many datagrams the kernel takes with one call.
    pub(super) fn most_at_once(&self) -> usize {
        self.socket.state.max_gso_segments()
    }

    /// Sends datagrams of the size `segment`, the last of which may be shorter, from this address of ours if one is
    /// given. What the kernel has no room for is lost, as any datagram may be.
    pub(super) fn send(&self, to: SocketAddr, from: Option<IpAddr>, payload: &[u8], segment: usize) {
        let destination = match (to, self.address) {
            (SocketAddr::V4(v4), SocketAddr::V6(_)) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            _ => to,
        };
        let segment_size = (segment < payload.len()).then_some(segment);
        let outgoing = Outgoing { destination, ecn: None, contents: payload, segment_size, src_ip: from };
        let SharedSocket { io, state } = &*self.socket;
        if let Err(error) = io.try_io(Interest::WRITABLE, || state.try_send(io.into(), &outgoing)) {
            tracing::trace!(%error, %to, "not sent");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Port> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Whatever the system's default: the IPv6 wildcard serves both families.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    for refused in [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)] {
        if let Err(error) = refused {
            tracing::debug!(%error, "the socket keeps its small buffers");
        }
    }
    socket.bind(&address.into())?;
    let io = UdpSocket::from_std(socket.into())?;
    let address = io.local_addr()?;
    let state = UdpSocketState::new((&io).into())?;
    Ok(Port { socket: Arc::new(SharedSocket { io, state }), address, quic: None })
}

fn has_ipv6() -> bool {
    Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
        .is_ok_and(|socket| socket.bind(&SocketAddr::from(([0_u16; 8], 0)).into()).is_ok())
}
