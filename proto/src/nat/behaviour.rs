//! Mapping and filtering, from what was seen and heard (RFC 5780).

use std::net::SocketAddr;

use super::{Filtering, Mapping};

/// Where one destination saw our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The destination.
    pub to: SocketAddr,
    /// Our address as it was seen there.
    pub mapped: SocketAddr,
}

/// How the NAT between maps, from one socket's mappings toward different destinations (RFC 5780 section 4.3); `inside` is
/// the socket's own address, where that is known. A NAT that maps by destination and keeps the inside port looks
/// endpoint-independent, and is, until two inside sockets want one port. Where a difference is seen and its cause is
/// not, the worse is said.
#[must_use]
pub fn mapping(inside: Option<SocketAddr>, samples: &[Sample]) -> Mapping {
    if samples.iter().any(|sample| Some(sample.mapped) == inside) {
        return Mapping::None;
    }
    let pairs = samples.iter().enumerate().flat_map(|(i, one)| samples[i + 1..].iter().map(move |other| (one, other)));
    let (one_address, two_addresses): (Vec<_>, Vec<_>) = pairs.partition(|(one, other)| one.to.ip() == other.to.ip());
    let differ = |pairs: &[(&Sample, &Sample)]| pairs.iter().any(|(one, other)| one.mapped != other.mapped);
    match (differ(&one_address), differ(&two_addresses)) {
        (true, _) => Mapping::AddressAndPortDependent,
        // Two ports of one address saw the same.
        (false, true) if !one_address.is_empty() => Mapping::AddressDependent,
        (false, true) => Mapping::AddressAndPortDependent,
        (false, false) if two_addresses.is_empty() => Mapping::Unknown,
        (false, false) => Mapping::EndpointIndependent,
    }
}

/// What came back to one socket that had sent to the first server and to nobody else (RFC 5780 section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// An answer from where it was asked.
    pub first: bool,
    /// An answer from another IP address and port.
    pub other_ip_and_port: bool,
    /// An answer from the same IP address and another port.
    pub other_port: bool,
}

impl Heard {
    /// What the NAT, or without one the firewall, lets in. Silence is taken for a filter: the caller has made sure that the
    /// other addresses do answer, and asked more than once.
    #[must_use]
    pub const fn filtering(&self, mapping: Mapping) -> Filtering {
        match (self.other_ip_and_port, self.other_port) {
            _ if !self.first => Filtering::Unknown,
            (true, _) if matches!(mapping, Mapping::None) => Filtering::None,
            (true, _) => Filtering::EndpointIndependent,
            (false, true) => Filtering::AddressDependent,
            (false, false) => Filtering::AddressAndPortDependent,
        }
    }
}
