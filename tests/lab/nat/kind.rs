//! The kinds of NAT that tests name.

use super::{Behaviour, Expiry, Filtering, Mapping, PortAssignment};

/// A NAT by name. EIM, EIF, ADF and APDF are RFC 4787's endpoint-independent mapping, and endpoint-independent,
/// address-dependent and address-and-port-dependent filtering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatKind {
    /// None: the host is on the public internet.
    Public,
    /// EIM × EIF, ports kept ("full cone").
    EimEif,
    /// EIM × ADF, ports kept ("address-restricted cone").
    EimAdf,
    /// EIM × APDF, ports kept ("port-restricted cone"): the common home router.
    EimApdf,
    /// EIM × APDF, each mapping's port random.
    EimApdfRandom,
    /// Mapping and filtering address-dependent, ports random.
    AddressDependent,
    /// A mapping for each destination, each port the last one plus one.
    Sequential,
    /// A mapping for each destination, at random within the 512 ports of the inside address (RFC 7422: carriers).
    Block,
    /// A mapping for each destination, ports random: the hardest.
    RandomSymmetric,
    /// Linux `masquerade`, INPUT policy accept: a stranger's packet claims its pair of endpoints.
    LinuxAccept,
    /// Linux `masquerade`, INPUT policy drop.
    LinuxDrop,
    /// Linux `masquerade fully-random`.
    LinuxRandom,
}

impl NatKind {
    /// Every kind, from the easiest.
    pub const ALL: [Self; 12] = [
        Self::Public,
        Self::EimEif,
        Self::EimAdf,
        Self::EimApdf,
        Self::EimApdfRandom,
        Self::AddressDependent,
        Self::Sequential,
        Self::Block,
        Self::RandomSymmetric,
        Self::LinuxAccept,
        Self::LinuxDrop,
        Self::LinuxRandom,
    ];

    /// How it behaves; `None` for [`Self::Public`]. The endpoint-independent ones hairpin (RFC 4787 REQ-9), the others do not.
    pub fn behaviour(self) -> Option<Behaviour> {
        let eim = Behaviour {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            ports: PortAssignment::Preserving,
            expiry: Expiry::TWO_MINUTES,
            hairpin: true,
            accepts_input: false,
            overloading: false,
            // Linux' nf_conntrack_max on a machine of a few gigabytes, and as many as there are ports.
            capacity: 65_536,
        };
        let symmetric = Behaviour { mapping: Mapping::AddressAndPortDependent, hairpin: false, ..eim };
        let linux = Behaviour { expiry: Expiry::LINUX, overloading: true, ..symmetric };
        Some(match self {
            Self::Public => return None,
            Self::EimEif => Behaviour { filtering: Filtering::EndpointIndependent, ..eim },
            Self::EimAdf => Behaviour { filtering: Filtering::AddressDependent, ..eim },
            Self::EimApdf => eim,
            Self::EimApdfRandom => Behaviour { ports: PortAssignment::Random, ..eim },
            Self::AddressDependent => Behaviour {
                mapping: Mapping::AddressDependent,
                filtering: Filtering::AddressDependent,
                ports: PortAssignment::Random,
                ..symmetric
            },
            Self::Sequential => Behaviour { ports: PortAssignment::Sequential { step: 1 }, ..symmetric },
            Self::Block => Behaviour { ports: PortAssignment::Block { size: 512 }, ..symmetric },
            Self::RandomSymmetric => Behaviour { ports: PortAssignment::Random, ..symmetric },
            Self::LinuxAccept => Behaviour { accepts_input: true, ..linux },
            Self::LinuxDrop => linux,
            Self::LinuxRandom => Behaviour { ports: PortAssignment::Random, ..linux },
        })
    }
}

impl From<NatKind> for Option<Behaviour> {
    fn from(kind: NatKind) -> Self {
        kind.behaviour()
    }
}
