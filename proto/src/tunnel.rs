//! Datagrams in a stream, for networks that let no UDP through (docs/protocol.md, "TCP"): each with its length before it.
//!
//! To the rendezvous a stream is an address like any other, made up for as long as the stream lives: a [`StreamAddress`].
//! So registrations, sign-ins and relay channels know nothing of streams. What a peer is told instead of it says [`told`].
//!
//! Not here: TLS, sockets, and when to use a stream at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest datagram in a stream: what a link of the internet carries at most, in one packet. Nothing longer is sent by
/// UDP either.
pub const MAX_DATAGRAM: usize = 1500;

/// The bytes before each datagram: its length, big-endian.
const LENGTH: usize = 2;

/// The first 32 bits of the addresses that stand for streams: unique local ones (RFC 4193), "tcp" after `fd`. No packet ever
/// carries one.
const PREFIX: u128 = 0xfd74_6370 << 96;

/// A stream in the place of a source address: the network that it comes from and a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamAddress(u128);

impl StreamAddress {
    /// The address of the stream that comes from `remote` and that no other living one shares its number with.
    #[must_use]
    pub fn new(remote: IpAddr, number: u32) -> Self {
        let network = match remote.to_canonical() {
            IpAddr::V4(v4) => v4.to_bits().into(),
            // The rest is the customer's own to vary (RFC 6177).
            IpAddr::V6(v6) => v6.to_bits() >> 64,
        };
        Self(PREFIX | network << 32 | u128::from(number))
    }

    /// The address as the machines are given it. Its port is 1, for port 0 is nowhere.
    #[must_use]
    pub const fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(self.0)), 1)
    }

    /// Reads what [`Self::socket_addr`] makes; `None` for every other address.
    #[must_use]
    pub fn from_socket_addr(address: SocketAddr) -> Option<Self> {
        match address.ip() {
            IpAddr::V6(ip) if address.port() == 1 && is_made_up(address) => Some(Self(ip.to_bits())),
            _ => None,
        }
    }

    /// Where the stream comes from: an IPv4 address, or the first of an IPv6 network of 64 bits.
    #[must_use]
    pub fn network(self) -> IpAddr {
        let network = (self.0 << 32) >> 64;
        // No IPv6 network begins with 32 zeros (RFC 4291 section 2.4 keeps them for loopback and the like).
        match u32::try_from(network) {
            Ok(v4) => IpAddr::V4(v4.into()),
            Err(_) => IpAddr::V6(Ipv6Addr::from_bits(network << 64)),
        }
    }
}

/// Whether an address is of those that stand for streams: no datagram on a network comes from one.
#[must_use]
pub fn is_made_up(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.to_bits() >> 96 == PREFIX >> 96)
}

/// What a peer is told of an address that the rendezvous knows it by: a stream's network, with port 0 for "no UDP"; every
/// other address as it is.
#[must_use]
pub fn told(address: SocketAddr) -> SocketAddr {
    StreamAddress::from_socket_addr(address).map_or(address, |stream| SocketAddr::new(stream.network(), 0))
}

/// What a peer is told of the address of a contact that meets it through the relay alone: nothing. (The unspecified address,
/// which is no stream's network.)
pub const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Whether what a peer was told of an address means that no UDP passes there.
#[must_use]
pub const fn is_without_udp(observed: SocketAddr) -> bool {
    observed.port() == 0
}

/// Appends a datagram with its length. `false`, and nothing appended, if it is empty or longer than [`MAX_DATAGRAM`].
pub fn put(datagram: &[u8], stream: &mut Vec<u8>) -> bool {
    let fits = (1..=MAX_DATAGRAM).contains(&datagram.len());
    if let Some(length) = u16::try_from(datagram.len()).ok().filter(|_| fits) {
        stream.extend_from_slice(&length.to_be_bytes());
        stream.extend_from_slice(datagram);
    }
    fits
}

/// A length that no datagram has: whoever sends it does not speak this protocol, and the stream is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a datagram of {0} bytes was announced; 1 to {MAX_DATAGRAM} are possible")]
pub struct ImpossibleLength(pub u16);

/// Finds the datagrams in a stream that arrives in pieces. It holds what was put in and not yet taken out.
#[derive(Debug, Default)]
pub struct Datagrams {
    bytes: Vec<u8>,
    taken: usize,
}

impl Datagrams {
    /// Takes the stream's next bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next datagram that is there as a whole.
    ///
    /// # Errors
    /// [`ImpossibleLength`]; so then says every further call.
    pub fn take(&mut self) -> Result<Option<&[u8]>, ImpossibleLength> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u16::from_be_bytes(*length);
        if !(1..=MAX_DATAGRAM).contains(&usize::from(length)) {
            return Err(ImpossibleLength(length));
        }
        let datagram = rest.get(..usize::from(length));
        if datagram.is_some() {
            self.taken += LENGTH + usize::from(length);
        }
        Ok(datagram)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stream_s_address_tells_its_network_and_is_told_with_port_0() {
        for (remote, network) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            let stream = StreamAddress::new(remote.parse().unwrap(), u32::MAX);
            let address = stream.socket_addr();
            assert_eq!(StreamAddress::from_socket_addr(address), Some(stream));
            assert_eq!(told(address), SocketAddr::new(network.parse().unwrap(), 0));
            assert!(is_made_up(address) && is_without_udp(told(address)));
            assert_ne!(stream, StreamAddress::new(remote.parse().unwrap(), 7));
        }
    }

    #[test]
    fn a_real_address_is_told_as_it_is() {
        for real in ["192.0.2.7:1", "[2001:db8::1]:1", "[fd00::7]:1", "[fd74:6371::]:1"] {
            let real = real.parse().unwrap();
            assert_eq!((told(real), is_made_up(real)), (real, false));
        }
    }

    #[test]
    fn lengths_that_no_datagram_has_end_the_stream_as_soon_as_they_are_there() {
        for length in [0, 1501, u16::MAX] {
            let mut datagrams = Datagrams::default();
            datagrams.put(&length.to_be_bytes());
            assert_eq!(datagrams.take(), Err(ImpossibleLength(length)));
            assert_eq!(datagrams.take(), Err(ImpossibleLength(length)));
        }
        let mut stream = Vec::new();
        assert!(!put(&[], &mut stream) && !put(&[1; MAX_DATAGRAM + 1], &mut stream) && stream.is_empty());
        assert!(put(&[1; MAX_DATAGRAM], &mut stream));
    }

    proptest! {
        #[test]
        fn datagrams_come_out_as_they_went_in_however_the_stream_is_cut(
            sizes in prop::collection::vec(1..=MAX_DATAGRAM, 1..8),
            piece in 1..4000_usize,
        ) {
            let sent: Vec<Vec<u8>> = sizes.iter().zip(1_u8..).map(|(size, n)| vec![n; *size]).collect();
            let mut stream = Vec::new();
            prop_assert!(sent.iter().all(|datagram| put(datagram, &mut stream)));
            let (mut datagrams, mut received) = (Datagrams::default(), Vec::new());
            for piece in stream.chunks(piece) {
                datagrams.put(piece);
                while let Some(datagram) = datagrams.take().unwrap() {
                    received.push(datagram.to_vec());
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn garbage_never_holds_more_than_a_datagram_and_the_last_piece(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..20)) {
            let mut datagrams = Datagrams::default();
            for piece in pieces {
                datagrams.put(&piece);
                while let Ok(Some(_)) = datagrams.take() {}
                if datagrams.take().is_err() {
                    break;
                }
                prop_assert!(datagrams.bytes.len() - datagrams.taken < LENGTH + MAX_DATAGRAM);
            }
        }
    }
}
