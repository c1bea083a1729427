//! What a datagram is, told by its first byte (RFC 7983, RFC 9443), and the fixed header of Knothole's own.
//!
//! STUN, QUIC and Knothole's datagrams share one UDP port. Nothing else registered for demultiplexing uses 4–15.

use crate::candidate::IntroductionId;

/// What the first byte of a datagram says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A STUN message (RFC 8489): 0–3.
    Stun,
    /// One of Knothole's own datagrams: 4–15.
    Knothole,
    /// QUIC (RFC 9000): 64–127 and 192–255; it requires that the QUIC bit is not greased.
    Quic,
    /// Nothing that is spoken here.
    Unknown,
}

/// Tells by its first byte what a datagram is.
#[must_use]
pub const fn classify(first: u8) -> Kind {
    match first {
        0..=3 => Kind::Stun,
        4..=15 => Kind::Knothole,
        64..=127 | 192..=255 => Kind::Quic,
        _ => Kind::Unknown,
    }
}

/// First byte of a keepalive, peer to rendezvous.
pub const KEEPALIVE: u8 = 4;
/// First byte of the answer to a keepalive that asked: the observed address.
pub const OBSERVED: u8 = 5;
/// First byte of a challenge to a new source address.
pub const CHALLENGE: u8 = 6;
/// First byte of the answer to a challenge: the registration moves.
pub const MOVE: u8 = 7;
/// First byte of the error "no such slot", never longer than what it answers.
pub const UNKNOWN_SLOT: u8 = 8;
/// First byte of a sealed control message, either way.
pub const CONTROL: u8 = 9;

/// First byte of a relay frame, either way: [`RELAY_HEADER`] bytes, then a QUIC datagram.
pub const RELAY: u8 = 10;

/// First byte of a ticket that is shown to a rendezvous which does not know us (any more).
pub const RETURN: u8 = 11;
/// First byte of the answer to a ticket that was believed: the new registration.
pub const RETURNED: u8 = 12;
/// First byte of a renewed ticket, to the peer.
pub const TICKET: u8 = 13;
/// First byte of a flight datagram, peer to rendezvous: a [`Header`] that names an invitation, then a QUIC datagram that
/// is to follow the invitation on its relay channel, whose number the inviter does not know yet.
pub const FLIGHT: u8 = 15;

/// A relay frame begins with: kind (1), zero (3), channel (4). It is the one datagram without the [`Header`].
pub const RELAY_HEADER: usize = 8;

/// The first bytes of a relay frame for this channel.
#[must_use]
pub const fn relay_header(channel: u32) -> [u8; RELAY_HEADER] {
    let [a, b, c, d] = channel.to_be_bytes();
    [RELAY, 0, 0, 0, a, b, c, d]
}

/// The channel of a relay frame and the QUIC datagram in it; `None` for anything else.
#[must_use]
pub fn parse_relay(datagram: &[u8]) -> Option<(u32, &[u8])> {
    let (&[kind, _, _, _, a, b, c, d], inner) = datagram.split_first_chunk::<RELAY_HEADER>()?;
    let quic = inner.first().is_some_and(|first| classify(*first) == Kind::Quic);
    (kind == RELAY && quic).then_some((u32::from_be_bytes([a, b, c, d]), inner))
}

/// Every other Knothole datagram begins with: kind (1), flags (1), port or zero (2), slot (4), counter or the like (8).
pub const HEADER: usize = 16;
/// The length of every authentication tag, of SipHash-2-4-128 and of ChaCha20-Poly1305 alike.
pub const TAG: usize = 16;

/// The fixed 16 bytes before everything else; integers are big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// One of this module's constants.
    pub kind: u8,
    /// Meaning depends on the kind; unknown bits are zero when sent and ignored when received.
    pub flags: u8,
    /// A port where the kind has one, else zero.
    pub port: u16,
    /// The registration's slot at the rendezvous.
    pub slot: u32,
    /// A counter, sequence number, token or echo, as the kind says.
    pub number: u64,
}

impl Header {
    /// The header as it stands on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind;
        bytes[1] = self.flags;
        bytes[2..4].copy_from_slice(&self.port.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.slot.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads the header of a datagram; `None` if the datagram is shorter than a header or not Knothole's.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = datagram.first_chunk()?;
        let &[kind, flags, p0, p1, s0, s1, s2, s3, n0, n1, n2, n3, n4, n5, n6, n7] = bytes;
        (classify(kind) == Kind::Knothole).then_some(Self {
            kind,
            flags,
            port: u16::from_be_bytes([p0, p1]),
            slot: u32::from_be_bytes([s0, s1, s2, s3]),
            number: u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]),
        })
    }
}

/// By these bytes of an introduction's name a flight datagram names it.
#[must_use]
pub const fn flight_name(introduction: IntroductionId) -> u64 {
    let IntroductionId([a, b, c, d, e, f, g, h, ..]) = introduction;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The first bytes of a flight datagram of the registration in this slot.
#[must_use]
pub fn flight_header(slot: u32, introduction: IntroductionId) -> [u8; HEADER] {
    Header { kind: FLIGHT, flags: 0, port: 0, slot, number: flight_name(introduction) }.to_bytes()
}

/// The header of a flight datagram and the QUIC datagram in it; `None` for anything else.
#[must_use]
pub fn parse_flight(datagram: &[u8]) -> Option<(Header, &[u8])> {
    let (header, inner) = (Header::parse(datagram)?, datagram.get(HEADER..)?);
    let quic = inner.first().is_some_and(|first| classify(*first) == Kind::Quic);
    (header.kind == FLIGHT && quic).then_some((header, inner))
}

/// A datagram on its way out of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: std::net::SocketAddr,
    /// The IP time to live (hop limit), where it is not the system's default.
    pub ttl: Option<u8>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_stun_knothole_and_quic_apart() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Kind::Stun,
                4..=15 => Kind::Knothole,
                64..=127 | 192..=255 => Kind::Quic,
                _ => Kind::Unknown,
            };
            assert_eq!(classify(first), expected, "{first}");
        }
    }

    #[test]
    fn a_relay_frame_reads_back_and_carries_nothing_but_quic() {
        let frame = [&relay_header(0x0102_0304)[..], &[0x41, 7, 8]].concat();
        assert_eq!(frame[..8], [10, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(parse_relay(&frame), Some((0x0102_0304, &[0x41, 7, 8][..])));
        for other in [&frame[..8], &[&frame[..8], &[1]].concat(), &[&frame[..8], &[10]].concat(), &[0x41; 20]] {
            assert_eq!(parse_relay(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_flight_datagram_names_its_invitation_and_carries_nothing_but_quic() {
        let introduction = IntroductionId([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]);
        let flight = [&flight_header(0x0102_0304, introduction)[..], &[0xc1, 7]].concat();
        assert_eq!(flight[..16], [15, 0, 0, 0, 1, 2, 3, 4, 9, 8, 7, 6, 5, 4, 3, 2]);
        let (header, inner) = parse_flight(&flight).unwrap();
        assert_eq!((header.slot, header.number, inner), (0x0102_0304, flight_name(introduction), &[0xc1, 7][..]));
        for other in [&flight[..16], &[&flight[..16], &[1]].concat(), &relay_header(1), &[0xc1; 20]] {
            assert_eq!(parse_flight(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_header_reads_back_and_a_short_or_foreign_one_is_none() {
        let header =
            Header { kind: KEEPALIVE, flags: 1, port: 0x0203, slot: 0x0405_0607, number: 0x0809_0a0b_0c0d_0e0f };
        let bytes = header.to_bytes();
        assert_eq!(bytes, [4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(Header::parse(&bytes), Some(header));
        assert_eq!(Header::parse(&bytes[..15]), None);
        assert_eq!(Header::parse(&[64; 40]), None);
    }
}
