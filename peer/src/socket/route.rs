//! The ways by which a contact's datagrams go and come.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use knothole_proto::candidate::IntroductionId;
use knothole_proto::path::Base;

/// Where datagrams go, or come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    /// Straight from a socket of ours to an address, or the other way.
    Direct {
        /// Our socket.
        base: Base,
        /// The other end's address.
        remote: SocketAddr,
    },
    /// In frames of a channel that a rendezvous relays.
    Relay {
        /// The rendezvous' address.
        rendezvous: SocketAddr,
        /// The channel's number there.
        channel: u32,
    },
    /// Behind an invitation, as long as the channel's number is not known. Nothing comes this way.
    Flight {
        /// The rendezvous' address.
        rendezvous: SocketAddr,
        /// Our slot there.
        slot: u32,
        /// The invitation.
        introduction: IntroductionId,
    },
}

impl Route {
    /// The address that the network sees: the other end's or the rendezvous'.
    #[must_use]
    pub(crate) const fn hop(self) -> SocketAddr {
        match self {
            Self::Direct { remote, .. } => remote,
            Self::Relay { rendezvous, .. } | Self::Flight { rendezvous, .. } => rendezvous,
        }
    }

    /// Our socket: relays are reached from the main one.
    #[must_use]
    pub(crate) const fn base(self) -> Base {
        match self {
            Self::Direct { base, .. } => base,
            Self::Relay { .. } | Self::Flight { .. } => Base::MAIN,
        }
    }

    /// The same route with the one form of its address.
    pub(super) fn normal(self) -> Self {
        match self {
            Self::Direct { base, remote } => Self::Direct { base, remote: normal(remote) },
            Self::Relay { rendezvous, channel } => Self::Relay { rendezvous: normal(rendezvous), channel },
            Self::Flight { rendezvous, slot, introduction } => {
                Self::Flight { rendezvous: normal(rendezvous), slot, introduction }
            }
        }
    }

    pub(super) const fn is_relay(self) -> bool {
        matches!(self, Self::Relay { .. })
    }
}

impl From<SocketAddr> for Route {
    fn from(remote: SocketAddr) -> Self {
        Self::Direct { base: Base::MAIN, remote }
    }
}

/// One form for each address: IPv4 as such and not mapped into IPv6, no flow label, a scope only where it means
/// something.
pub(super) fn normal(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(v6) = address else { return address };
    match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
        None => {
            let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
    }
}
