//! The UDP socket of one address family.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::counters::Counters;
use super::frames;

/// What the kernel is asked to hold for us either way, in bytes: some 30 ms of a gigabit a second, during which a busy
/// thread may be away. The kernel gives as much of it as its own limit allows (`net.core.rmem_max`).
pub(super) const KERNEL_BUFFER: usize = 4 << 20;

/// How many errors in a row are passed over before the kernel is left alone until it has news. Each is one that the
/// kernel reports once, an ICMP message for instance.
const ERRORS_IN_A_ROW: usize = 8;

/// How often a port that is free in one family is found taken in the other before we give up.
const ATTEMPTS: usize = 16;

#[derive(Debug)]
pub(super) struct Port {
    io: UdpSocket,
    state: UdpSocketState,
    /// The state for relay frames: should a network not have room for them in the size that it had for QUIC's datagrams,
    /// it must not be concluded that the kernel segments nothing at all.
    /// None for a socket that sends no frames.
    relay: Option<UdpSocketState>,
    ipv6: bool,
    number: u16,
}

impl Port {
    /// Binds to a port of every interface, 0 meaning any; IPv6 only if so asked, else IPv4 only.
    pub(super) fn bind(ipv6: bool, port: u16) -> io::Result<Self> {
        let mut this = Self::bind_small(ipv6, port)?;
        this.relay = Some(UdpSocketState::new((&this.io).into())?);
        this.hold(KERNEL_BUFFER);
        Ok(this)
    }

    /// The same for a few datagrams and no frames: with the kernel's own idea of buffers.
    pub(super) fn bind_small(ipv6: bool, port: u16) -> io::Result<Self> {
        let (domain, any) = if ipv6 {
            (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        } else {
            (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        };
        let raw = RawSocket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if ipv6 {
            raw.set_only_v6(true)?;
        }
        raw.bind(&any.into())?;
        let state = UdpSocketState::new((&raw).into())?;
        let io = UdpSocket::from_std(raw.into())?;
        let number = io.local_addr()?.port();
        Ok(Self { io, state, relay: None, ipv6, number })
    }

    /// Asks the kernel to hold so many bytes either way. Less costs speed and nothing else.
    pub(super) fn hold(&self, bytes: usize) {
        let _ = self.state.set_recv_buffer_size((&self.io).into(), bytes);
        let _ = self.state.set_send_buffer_size((&self.io).into(), bytes);
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    pub(super) fn state(&self) -> &UdpSocketState {
        &self.state
    }

    /// Receives a batch. Never an error: what the system reports is counted, and the next datagram awaited.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
        counters: &Counters,
    ) -> Poll<usize> {
        for _ in 0..ERRORS_IN_A_ROW {
            match self.io.poll_recv_ready(cx) {
                Poll::Ready(Ok(())) => {}
                // The runtime is shutting down, and there is nobody left to wake.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            }
            match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, metas)) {
                Ok(count) => return Poll::Ready(count),
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                Err(why) => {
                    tracing::debug!(%why, "receiving failed");
                    counters.receive_errors.increase();
                }
            }
        }
        // Says to the runtime that there is nothing to read, so that only news from the kernel wakes us.
        let _ = self.io.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
        self.io.poll_recv_ready(cx).map(|_| 0)
    }

    /// Sends what QUIC made, segmented by the kernel where it can. The only error is `WouldBlock`.
    pub(super) fn transmit(&self, transmit: &Transmit<'_>, counters: &Counters) -> io::Result<()> {
        #[cfg(test)]
        counters.sent.note(transmit.destination);
        match self.try_transmit(&self.state, transmit) {
            Err(why) if why.kind() == ErrorKind::WouldBlock => Err(why),
            Err(why) => {
                Self::lose(transmit, &why, counters);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends what QUIC made as frames, each with this header, segmented by the kernel where it can. The only error is
    /// `WouldBlock`, and then nothing was sent.
    pub(super) fn transmit_relayed(
        &self,
        header: &[u8],
        transmit: &Transmit<'_>,
        counters: &Counters,
    ) -> io::Result<()> {
        let length = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        let relay = self.relay.as_ref().unwrap_or(&self.state);
        let mut rest = transmit.contents;
        while !rest.is_empty() {
            let at_once = frames::at_once(header.len(), length, relay.max_gso_segments());
            let (part, later) = rest.split_at(rest.len().min(length * at_once));
            let segmented = part.len() > length;
            let sent = frames::with_frames(header, part, length, |frames| {
                let segment_size = segmented.then_some(length + header.len());
                // A relay does not hand on what the network marks on the way to it (ECN); without a mark the network
                // drops, which QUIC sees.
                let frames = Transmit { contents: frames, segment_size, ecn: None, ..transmit.clone() };
                self.try_transmit(relay, &frames)
            });
            match sent {
                Ok(()) => {}
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    if rest.len() == transmit.contents.len() {
                        return Err(why);
                    }
                    // QUIC would send all of it again.
                    counters.dropped_no_room.increase();
                    return Ok(());
                }
                // The kernel has just been found to segment no frames: now one at a time.
                Err(_) if segmented && relay.max_gso_segments() == 1 => continue,
                Err(why) => Self::lose(transmit, &why, counters),
            }
            rest = later;
        }
        Ok(())
    }

    fn try_transmit(&self, state: &UdpSocketState, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || state.try_send((&self.io).into(), transmit))
    }

    fn lose(transmit: &Transmit<'_>, why: &io::Error, counters: &Counters) {
        // A probe for a larger MTU is meant to fail so on a smaller path.
        if why.raw_os_error() != Some(nix::libc::EMSGSIZE) {
            tracing::debug!(%why, to = %transmit.destination, "sending failed");
            counters.send_errors.increase();
        }
    }

    /// Sends one of our own datagrams if there is room for it, living for `ttl` hops if given.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8], ttl: Option<u8>, counters: &Counters) {
        #[cfg(test)]
        counters.sent.note(to);
        // Straight to the kernel: what the runtime believes about its room is older than the kernel's own answer.
        let sent = match ttl {
            None => SockRef::from(&self.io).send_to(datagram, &to.into()),
            Some(ttl) => hops::send(&self.io, to, datagram, ttl),
        };
        match sent {
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => counters.dropped_no_room.increase(),
            Err(why) => {
                tracing::debug!(%why, %to, "sending failed");
                counters.send_errors.increase();
            }
        }
    }

    /// Waits until the kernel may have room.
    pub(super) async fn writable(&self) {
        // An error here is the runtime's end.
        let _ = self.io.writable().await;
    }
}

/// A hop limit for a single datagram, given with it, so that nothing sent at the same time is touched.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod hops {
    use std::io::{self, IoSlice};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    use tokio::net::UdpSocket;

    pub(super) fn send(io: &UdpSocket, to: SocketAddr, datagram: &[u8], ttl: u8) -> io::Result<usize> {
        let hops = i32::from(ttl);
        let control = match to {
            SocketAddr::V4(_) => ControlMessage::Ipv4Ttl(&hops),
            SocketAddr::V6(_) => ControlMessage::Ipv6HopLimit(&hops),
        };
        let to = SockaddrStorage::from(to);
        Ok(sendmsg(io.as_raw_fd(), &[IoSlice::new(datagram)], &[control], MsgFlags::empty(), Some(&to))?)
    }
}

/// Elsewhere the datagram lives as long as any other.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod hops {
    use std::io;
    use std::net::SocketAddr;

    use socket2::SockRef;
    use tokio::net::UdpSocket;

    pub(super) fn send(io: &UdpSocket, to: SocketAddr, datagram: &[u8], _ttl: u8) -> io::Result<usize> {
        SockRef::from(io).send_to(datagram, &to.into())
    }
}

/// Binds the same port in both families, IPv4 first; see [`Socket::bind`](super::Socket::bind).
pub(super) fn bind_families(wished: u16) -> io::Result<Vec<Port>> {
    let mut taken = None;
    for port in std::iter::once(wished).chain(std::iter::repeat_n(0, ATTEMPTS)) {
        let v4 = Port::bind(false, port);
        let v6 = Port::bind(true, v4.as_ref().map_or(port, Port::number));
        let in_use = |bound: &io::Result<Port>| matches!(bound, Err(why) if why.kind() == ErrorKind::AddrInUse);
        match (v4, v6) {
            (v4, v6) if in_use(&v4) || in_use(&v6) => taken = v4.err().or(v6.err()),
            (Err(why), Err(_)) if port == 0 => return Err(why),
            // A port below 1024 may be forbidden where any other is not.
            (Err(why), Err(_)) => taken = Some(why),
            (v4, v6) => return Ok(v4.into_iter().chain(v6).collect()),
        }
    }
    Err(taken.unwrap_or_else(|| ErrorKind::AddrInUse.into()))
}
