//! What network this machine has: the addresses at which another peer might reach it, its routers, and word of every
//! change.
//!
//! [`Picture`] is how the network looks at one moment; [`watch`] says when it looks different. Which addresses are worth
//! offering is decided by pure functions over interface records in [`hosts`].
//!
//! Not here: what the world sees of us (the rendezvous tells), and what our router opens for us
//! ([`port_mapping`](crate::port_mapping)).

pub(crate) mod hosts;
mod system;
pub(crate) mod watch;

use std::net::IpAddr;

use hosts::InterfaceAddress;

/// The router to which an interface sends what is not for its own network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gateway {
    /// The interface's name.
    pub interface: String,
    /// The router's address there; unspecified on a line that has only two ends.
    pub address: IpAddr,
}

/// The network at one moment. Two that are equal mean the same to every contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    addresses: Vec<InterfaceAddress>,
    gateways: Vec<Gateway>,
}

impl Picture {
    /// Looks at the system. Where that fails there are no addresses, and the peer is reached by what the rendezvous observes.
    #[must_use]
    pub(crate) fn take() -> Self {
        let all = system::interface_addresses().unwrap_or_else(|why| {
            tracing::debug!(%why, "the interfaces cannot be listed");
            Vec::new()
        });
        let mut gateways = system::gateways();
        gateways.sort();
        Self { addresses: hosts::usable(all), gateways }
    }

    /// The addresses to offer as host candidates, the best first.
    #[must_use]
    pub(crate) fn hosts(&self) -> Vec<IpAddr> {
        hosts::hosts(&self.addresses)
    }

    /// The addresses on local networks, each with its interface: where contacts without any rendezvous may be.
    pub(crate) fn lan(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.addresses.iter().filter(|known| hosts::is_lan(known))
    }

    /// The default routers. Empty where the system does not tell.
    #[must_use]
    pub(crate) fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// Whether there is no network at all.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_picture_has_no_loopback_and_does_not_change_by_looking() {
        assert!(system::interface_addresses().unwrap().iter().any(|found| found.loopback));
        let picture = Picture::take();
        assert!(picture.hosts().iter().all(|address| !address.is_loopback()));
        assert_eq!(picture, Picture::take());
    }
}
