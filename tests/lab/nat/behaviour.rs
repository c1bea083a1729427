//! What makes one NAT differ from another.

use super::{Expiry, PortAssignment};

/// When a socket's packets to a second destination keep the external endpoint of the first (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Always.
    EndpointIndependent,
    /// While the destination's address is the same.
    AddressDependent,
    /// Never: each destination has its own mapping.
    AddressAndPortDependent,
}

/// Whose packets a mapping lets in (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anyone's.
    EndpointIndependent,
    /// Those of addresses that were sent to.
    AddressDependent,
    /// Those of endpoints that were sent to.
    AddressAndPortDependent,
}

/// Everything that makes one NAT differ from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Which external endpoint a packet leaves from.
    pub mapping: Mapping,
    /// Which packets come in.
    pub filtering: Filtering,
    /// How a new mapping's port is chosen.
    pub ports: PortAssignment,
    /// How long a mapping lives.
    pub expiry: Expiry,
    /// Whether inside hosts reach one another by their external endpoints (RFC 4787 REQ-9).
    pub hairpin: bool,
    /// Linux with an accepting INPUT chain: connection tracking also notes packets *to the router*. A stranger's
    /// packet to an external endpoint then claims that pair of endpoints for the router itself, and a mapping toward
    /// that stranger has to move to another port. Without effect on an endpoint-independent mapping that stands.
    pub accepts_input: bool,
    /// Whether inside endpoints may share one external endpoint while their destinations differ. RFC 4787 REQ-3
    /// forbids it ("port overloading"); Linux does it. Needs a destination-dependent mapping and filtering.
    pub overloading: bool,
    /// Most pairs of (mapping, destination) at one time; more are refused.
    pub capacity: usize,
}
