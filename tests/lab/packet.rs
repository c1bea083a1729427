//! What travels through the world: a UDP datagram, a TCP segment, or the ICMP notice that one of them has died.

use std::net::SocketAddr;

/// The TTL with which Linux, macOS and Android send (`ip_default_ttl`).
pub const DEFAULT_TTL: u8 = 64;

/// The protocol whose ports a NAT translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// The payload is what the application sent.
    Udp,
    /// The payload is the whole segment, header included; its own ports and checksum are stale and are rewritten
    /// from [`Packet::src`] and [`Packet::dst`] when it leaves the world.
    Tcp,
}

/// One packet on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it, as seen on the present stretch of the way.
    pub src: SocketAddr,
    /// Whom it is for, as seen on the present stretch of the way.
    pub dst: SocketAddr,
    /// Routers it may still pass: the router that would bring this to 0 drops the packet instead.
    pub ttl: u8,
    /// The second byte of the IPv4 header (DSCP and ECN), which no router here alters.
    pub traffic_class: u8,
    /// What the ports belong to.
    pub transport: Transport,
    /// See [`Transport`].
    pub payload: Vec<u8>,
    /// `Some(target)`: no data, but an ICMP "time exceeded" (RFC 792) from the router `src`: what `dst` sent to
    /// `target` ran out of TTL there.
    pub expired_toward: Option<SocketAddr>,
}

impl Packet {
    /// A datagram with the [`DEFAULT_TTL`].
    pub fn udp(src: SocketAddr, dst: SocketAddr, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { src, dst, ttl: DEFAULT_TTL, traffic_class: 0, transport: Transport::Udp, payload, expired_toward: None }
    }

    /// The same packet with another TTL.
    #[must_use]
    pub fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Length on the wire in bytes, IP header included.
    pub fn wire_len(&self) -> usize {
        let ip = if self.dst.is_ipv4() { 20 } else { 40 };
        match (self.expired_toward, self.transport) {
            // ICMP header, then the dead packet's IP header and first eight bytes.
            (Some(_), _) => ip + 8 + ip + 8,
            (None, Transport::Udp) => ip + 8 + self.payload.len(),
            (None, Transport::Tcp) => ip + self.payload.len(),
        }
    }

    /// The notice that the router at `hop` has dropped this packet because its TTL ran out there.
    pub(crate) fn time_exceeded(&self, hop: std::net::IpAddr) -> Self {
        Self {
            src: SocketAddr::new(hop, 0),
            dst: self.src,
            ttl: DEFAULT_TTL,
            traffic_class: 0,
            transport: self.transport,
            payload: Vec::new(),
            expired_toward: Some(self.dst),
        }
    }
}
