//! What a NAT does, in the terms of RFC 4787 and RFC 5780, and how that is concluded from what was observed.

mod behaviour;
mod ports;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use behaviour::{Heard, Sample, mapping};
pub use ports::{FreshMapping, keeps_parity, ports, sequence};

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

impl Mapping {
    /// The word for it, as interfaces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Unknown => "unknown",
        }
    }
}

impl Filtering {
    /// The word for it, as interfaces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preserved => f.write_str("preserved"),
            Self::Sequential { step } => write!(f, "sequential {step:+}"),
            Self::Block { first, last } => write!(f, "block of {}", u32::from(last.saturating_sub(*first)) + 1),
            Self::Random => f.write_str("random"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
