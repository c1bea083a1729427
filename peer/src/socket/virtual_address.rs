//! The made-up addresses by which QUIC knows contacts and rendezvous.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The first 96 bits of every virtual address: a unique local prefix (RFC 4193) that spells "knothole" after `fd`,
/// so that one met in a log is recognised. No packet ever carries it.
const PREFIX: u128 = 0xfd6b_6e6f_7468_6f6c_6500_0000 << 32;

/// QUIC does not dial port 0; beyond that the port says nothing.
const PORT: u16 = 1;

/// The constant address of one contact or rendezvous as QUIC sees it, whatever way its datagrams really go.
///
/// The index is chosen by the caller, one for each contact and each rendezvous, and stays the same as long as
/// connections to it live.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VirtualAddress(u32);

impl VirtualAddress {
    /// The virtual address with this index.
    #[must_use]
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index that it was made from.
    #[must_use]
    pub(crate) const fn index(self) -> u32 {
        self.0
    }

    /// The address as QUIC is given it.
    #[must_use]
    pub(crate) const fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(PREFIX | self.0 as u128)), PORT)
    }

    /// Reads what [`Self::socket_addr`] makes; `None` for every other address.
    #[must_use]
    pub(crate) fn from_socket_addr(address: SocketAddr) -> Option<Self> {
        let IpAddr::V6(ip) = address.ip() else { return None };
        let index = u32::try_from(ip.to_bits().checked_sub(PREFIX)?).ok()?;
        (address.port() == PORT).then_some(Self(index))
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtual {}", self.0)
    }
}

impl fmt::Debug for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_its_own_address_and_reads_back() {
        for index in [0, 1, 77, u32::MAX] {
            let address = VirtualAddress::new(index);
            assert_eq!(VirtualAddress::from_socket_addr(address.socket_addr()), Some(address));
        }
        assert_eq!(VirtualAddress::new(5).socket_addr().to_string(), "[fd6b:6e6f:7468:6f6c:6500::5]:1");
    }

    #[test]
    fn real_addresses_are_not_virtual() {
        for real in
            ["127.0.0.1:1", "[::1]:1", "[fd6b:6e6f:7468:6f6c:6500:0:0:5]:2", "[fd6b:6e6f:7468:6f6c:6500:1:0:5]:1"]
        {
            assert_eq!(VirtualAddress::from_socket_addr(real.parse().unwrap()), None, "{real}");
        }
    }
}
