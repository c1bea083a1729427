//! What a NAT does, in the terms of RFC 4787 and RFC 5780, and how that is concluded from what was observed.

use serde::{Deserialize, Serialize};

/// How a NAT maps inside addresses to outside ones (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mapping {
    /// There is no NAT: the address outside is the one inside.
    None,
    /// One mapping for all destinations.
    EndpointIndependent,
    /// One for each destination address.
    AddressDependent,
    /// One for each destination address and port.
    AddressAndPortDependent,
    /// Not enough was observed.
    Unknown,
}

/// What a NAT or firewall lets in (RFC 4787 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Filtering {
    /// Whatever comes: there is no filter.
    None,
    /// From anywhere, once the mapping exists.
    EndpointIndependent,
    /// From addresses that were sent to.
    AddressDependent,
    /// From addresses and ports that were sent to.
    AddressAndPortDependent,
    /// Not enough was observed.
    Unknown,
}

/// How the ports of new mappings follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ports {
    /// The port outside is the one inside, where that is free.
    Preserved,
    /// Each is the last one and this much more (or less); every second port only where a NAT keeps parity.
    Sequential {
        /// The step, never 0.
        step: i16,
    },
    /// Without order, but all within a small range.
    Block {
        /// The lowest port of the range.
        first: u16,
        /// The highest.
        last: u16,
    },
    /// Without order.
    Random,
    /// Not enough was observed.
    Unknown,
}
