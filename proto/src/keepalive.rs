//! The datagrams that keep a registration and its NAT mapping alive. Byte layouts: docs/protocol.md, "Keepalive".

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::datagram::{CHALLENGE, HEADER, Header, KEEPALIVE, MOVE, OBSERVED, TAG, UNKNOWN_SLOT};
use crate::seal::TagKey;

/// Flag of a keepalive: the peer asks for the observed address.
const ASKS: u8 = 1;
/// Flag of a keepalive: the peer asks for a new ticket.
const RENEWS: u8 = 2;

/// Bytes of a keepalive, and of a challenge: an answer to an unproven address is never longer than what it answers.
pub const KEEPALIVE_LENGTH: usize = HEADER + TAG;
const MOVE_LENGTH: usize = HEADER + 8 + TAG;
const OBSERVED_LENGTH: usize = HEADER + 16 + TAG;
const UNKNOWN_SLOT_LENGTH: usize = HEADER + 8;

/// What a keepalive says besides that its sender is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The peer wants the observed address.
    pub asks: bool,
    /// The peer wants a new ticket.
    pub renews: bool,
    /// Seconds until the next keepalive; 0: as before.
    pub interval_s: u16,
}

/// The keepalive of a slot; counters begin at 1 and grow with each datagram.
#[must_use]
pub fn keepalive(key: &TagKey, slot: u32, counter: u64, asks: bool) -> Vec<u8> {
    wishing(key, slot, counter, Wishes { asks, ..Wishes::default() })
}

/// A keepalive that says more.
#[must_use]
pub fn wishing(key: &TagKey, slot: u32, counter: u64, wishes: Wishes) -> Vec<u8> {
    let flags = if wishes.asks { ASKS } else { 0 } | if wishes.renews { RENEWS } else { 0 };
    tagged(key, Header { kind: KEEPALIVE, flags, port: wishes.interval_s, slot, number: counter }, &[])
}

/// The answer to a keepalive that asked, sent only to a proven address.
#[must_use]
pub fn observed(key: &TagKey, slot: u32, counter: u64, address: SocketAddr) -> Vec<u8> {
    tagged(key, Header { kind: OBSERVED, flags: 0, port: address.port(), slot, number: counter }, &octets(address))
}

/// An IP address as it stands in datagrams: IPv6, or IPv4 mapped into it.
pub(crate) fn octets(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The address of these octets and this port.
pub(crate) fn address(octets: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port)
}

/// The challenge to a new source address.
#[must_use]
pub fn challenge(key: &TagKey, slot: u32, token: u64) -> Vec<u8> {
    tagged(key, Header { kind: CHALLENGE, flags: 0, port: 0, slot, number: token }, &[])
}

/// The answer to a challenge, sent from the new address.
#[must_use]
pub fn moved(key: &TagKey, slot: u32, counter: u64, token: u64) -> Vec<u8> {
    tagged(key, Header { kind: MOVE, flags: 0, port: 0, slot, number: counter }, &token.to_be_bytes())
}

/// The error "no such slot", with the first half of the offending datagram's tag: only who saw that datagram can
/// make its sender believe it. With a token it invites the peer to show its ticket from the same address; without, no
/// ticket helps.
#[must_use]
pub fn unknown_slot(slot: u32, offending: &[u8], token: Option<u64>) -> Option<Vec<u8>> {
    let echo = echo(offending)?;
    let mut error = Header { kind: UNKNOWN_SLOT, flags: 0, port: 0, slot, number: echo }.to_bytes().to_vec();
    error.extend(token.iter().flat_map(|token| token.to_be_bytes()));
    Some(error)
}

/// What an [`unknown_slot`] about this datagram echoes; `None` for what is too short to be answered.
#[must_use]
pub fn echo(datagram: &[u8]) -> Option<u64> {
    let (rest, tag) = datagram.split_last_chunk::<TAG>()?;
    (rest.len() >= HEADER).then(|| u64::from_be_bytes(std::array::from_fn(|i| tag[i])))
}

/// A datagram from a peer, its tag not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromPeer {
    /// A keepalive.
    Keepalive {
        /// Grows with each datagram.
        counter: u64,
        /// What else it says.
        wishes: Wishes,
    },
    /// The answer to a challenge.
    Move {
        /// Shares the keepalives' numbers.
        counter: u64,
        /// As in the challenge.
        token: u64,
    },
}

/// Reads a keepalive or a move; the caller then verifies the tag under the slot's key.
#[must_use]
pub fn parse_from_peer(header: Header, datagram: &[u8]) -> Option<FromPeer> {
    match (header.kind, datagram.len()) {
        (KEEPALIVE, KEEPALIVE_LENGTH) => {
            let (asks, renews) = (header.flags & ASKS != 0, header.flags & RENEWS != 0);
            Some(FromPeer::Keepalive {
                counter: header.number,
                wishes: Wishes { asks, renews, interval_s: header.port },
            })
        }
        (MOVE, MOVE_LENGTH) => {
            let token = datagram.get(HEADER..)?.first_chunk()?;
            Some(FromPeer::Move { counter: header.number, token: u64::from_be_bytes(*token) })
        }
        _ => None,
    }
}

/// A datagram from the rendezvous about keepalives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromRendezvous {
    /// The answer to the keepalive with this counter.
    Observed {
        /// Of the keepalive that asked.
        counter: u64,
        /// Our address as the rendezvous sees it.
        address: SocketAddr,
    },
    /// Prove that you are where you seem to be.
    Challenge {
        /// To be returned in a move.
        token: u64,
    },
    /// The rendezvous knows no such slot. The echo tells which datagram that was about; it is all that proves this.
    UnknownSlot {
        /// See [`echo`].
        echo: u64,
        /// To be returned with a ticket, from the address that it was sent to; `None`: no ticket helps.
        token: Option<u64>,
    },
}

/// Reads a datagram from the rendezvous and verifies its tag; `UnknownSlot` has none.
#[must_use]
pub fn parse_from_rendezvous(key: &TagKey, header: Header, datagram: &[u8]) -> Option<FromRendezvous> {
    match (header.kind, datagram.len()) {
        (OBSERVED, OBSERVED_LENGTH) if key.verifies(datagram) => {
            let ip: &[u8; 16] = datagram.get(HEADER..)?.first_chunk()?;
            Some(FromRendezvous::Observed { counter: header.number, address: address(*ip, header.port) })
        }
        (CHALLENGE, KEEPALIVE_LENGTH) if key.verifies(datagram) => {
            Some(FromRendezvous::Challenge { token: header.number })
        }
        (UNKNOWN_SLOT, HEADER) => Some(FromRendezvous::UnknownSlot { echo: header.number, token: None }),
        (UNKNOWN_SLOT, UNKNOWN_SLOT_LENGTH) => {
            let token = u64::from_be_bytes(*datagram.get(HEADER..)?.first_chunk()?);
            Some(FromRendezvous::UnknownSlot { echo: header.number, token: Some(token) })
        }
        _ => None,
    }
}

pub(crate) fn tagged(key: &TagKey, header: Header, body: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(HEADER + body.len() + TAG);
    datagram.extend_from_slice(&header.to_bytes());
    datagram.extend_from_slice(body);
    key.append(&mut datagram);
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::RegistrationSecret;

    fn key() -> TagKey {
        TagKey::new(&RegistrationSecret([1; 32]))
    }

    #[test]
    fn keepalives_and_moves_read_back_and_other_lengths_are_none() {
        let datagram = keepalive(&key(), 7, 42, true);
        assert_eq!(datagram.len(), 32);
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(header.slot, 7);
        assert_eq!(
            parse_from_peer(header, &datagram),
            Some(FromPeer::Keepalive { counter: 42, wishes: Wishes { asks: true, ..Wishes::default() } })
        );
        assert_eq!(parse_from_peer(header, &datagram[..31]), None);
        let datagram = moved(&key(), 7, 43, 99);
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(parse_from_peer(header, &datagram), Some(FromPeer::Move { counter: 43, token: 99 }));
    }

    #[test]
    fn what_a_keepalive_wishes_reads_back() {
        for (asks, renews) in [(false, false), (true, false), (false, true), (true, true)] {
            let wishes = Wishes { asks, renews, interval_s: 300 };
            let datagram = wishing(&key(), 7, 42, wishes);
            assert_eq!(datagram.len(), KEEPALIVE_LENGTH);
            let header = Header::parse(&datagram).unwrap();
            assert_eq!(parse_from_peer(header, &datagram), Some(FromPeer::Keepalive { counter: 42, wishes }));
        }
    }

    #[test]
    fn the_observed_address_reads_back_for_both_families_and_only_when_untouched() {
        for address in ["192.0.2.1:4711", "[2001:db8::1]:4711"] {
            let address = address.parse().unwrap();
            let mut datagram = observed(&key(), 7, 42, address);
            let header = Header::parse(&datagram).unwrap();
            let expected = FromRendezvous::Observed { counter: 42, address };
            assert_eq!(parse_from_rendezvous(&key(), header, &datagram), Some(expected));
            datagram[20] ^= 1;
            assert_eq!(parse_from_rendezvous(&key(), header, &datagram), None);
        }
    }

    #[test]
    fn answers_to_unproven_addresses_are_never_longer_than_what_they_answer() {
        let request = keepalive(&key(), 7, 1, true);
        assert!(challenge(&key(), 7, 5).len() <= request.len());
        for token in [None, Some(9)] {
            let error = unknown_slot(7, &request, token).unwrap();
            assert!(error.len() <= request.len());
            let header = Header::parse(&error).unwrap();
            let echoed = FromRendezvous::UnknownSlot { echo: echo(&request).unwrap(), token };
            assert_eq!(parse_from_rendezvous(&key(), header, &error), Some(echoed));
        }
        assert_eq!(unknown_slot(7, &request[..31], Some(9)), None);
    }
}
