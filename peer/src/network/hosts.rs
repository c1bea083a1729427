//! Which addresses of this machine are worth offering: pure functions from interface records to candidates.
//!
//! Each address offered costs the other side a few checks, and takes a place from another: a machine with twenty container
//! bridges must not drown the one interface that leads anywhere. Left out are loopback, interfaces without a carrier,
//! addresses that are on their way out (deprecated) or not there yet (tentative), and the bridges and virtual cables of
//! containers and machine hypervisors, whose networks end at this machine. Those are known by their names, and not by
//! their drivers: inside a container the only interface is such a cable, but it is called `eth0` there.

use std::net::{IpAddr, Ipv6Addr};

/// How the interfaces are called that container and machine hypervisors make.
const VIRTUAL: [&str; 17] = [
    "docker",    // Docker's first bridge, and docker_gwbridge
    "br-",       // Docker's and Podman's further ones; a person's own bridge is br0
    "veth",      // the host's end of a container's cable
    "virbr",     // libvirt
    "vnet",      // libvirt's ends of cables
    "cni",       // Kubernetes
    "flannel",   // …
    "cali",      // …
    "cilium",    // …
    "kube",      // …
    "podman",    // Podman
    "lxcbr",     // LXC
    "lxdbr",     // LXD
    "incusbr",   // Incus
    "vmnet",     // VMware
    "vboxnet",   // VirtualBox
    "vEthernet", // Hyper-V
];

/// How many addresses are offered at most: as many as an invitation carries. A laptop has a handful.
pub(crate) const MAX_HOSTS: usize = knothole_proto::control::MAX_CANDIDATES;

/// One address of one network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    /// The system's name for the interface, `eth0` for instance.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Whether the interface is up and has a carrier.
    pub running: bool,
    /// Whether the interface leads back to this machine.
    pub loopback: bool,
    /// Whether the interface is a line with two ends: a VPN's, mostly.
    pub tunnel: bool,
    /// Whether the address is made up for some days, for privacy (RFC 8981).
    pub temporary: bool,
    /// Whether the address is not to be used for anything new: deprecated, tentative or a duplicate (RFC 4862).
    pub unusable: bool,
}

/// Of these, the addresses that mean something to others on some network, in the system's order.
#[must_use]
pub(crate) fn usable(all: Vec<InterfaceAddress>) -> Vec<InterfaceAddress> {
    let usable = |one: &InterfaceAddress| {
        let kept = VIRTUAL.iter().all(|prefix| !one.interface.starts_with(prefix));
        one.running && !one.loopback && !one.unusable && kept && is_unicast(one.address)
    };
    all.into_iter().filter(usable).collect()
}

/// Of usable addresses those to offer, the best first, each once, [`MAX_HOSTS`] at most.
///
/// IPv6 link-local and IPv4 link-local addresses are not offered: they mean something only on one link, and discovery on
/// the LAN finds those. Of the addresses of an IPv6 network (a /64) one is: the temporary one where there is one,
/// as in everything else that this machine sends, else the stable one. Every interface has its first address of
/// each family named before another has its second, and lines with two ends come last: a VPN's address works, but around
/// a corner.
#[must_use]
pub(crate) fn hosts(usable: &[InterfaceAddress]) -> Vec<IpAddr> {
    let mut ranked: Vec<((bool, usize, bool), IpAddr)> = Vec::new();
    for one in usable.iter().filter(|one| !is_link_local(one.address)) {
        let of_network =
            |other: &&InterfaceAddress| same_network(other.address, one.address) && other.interface == one.interface;
        let replaced = match one.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(_) => {
                let preferred =
                    usable.iter().filter(of_network).max_by_key(|other| (other.temporary, is_first(usable, other)));
                preferred.is_some_and(|preferred| preferred.address != one.address)
            }
        };
        if replaced || ranked.iter().any(|(_, address)| *address == one.address) {
            continue;
        }
        let family = |(_, address): &&((bool, usize, bool), IpAddr)| address.is_ipv4() == one.address.is_ipv4();
        let of_interface =
            |address: &IpAddr| usable.iter().any(|other| other.address == *address && other.interface == one.interface);
        let earlier = ranked.iter().filter(family).filter(|(_, address)| of_interface(address)).count();
        ranked.push(((one.tunnel, earlier, one.address.is_ipv6()), one.address));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, address)| address).take(MAX_HOSTS).collect()
}

/// Whether contacts without a rendezvous may be looked for here: on private networks that more than two share.
#[must_use]
pub(crate) fn is_lan(one: &InterfaceAddress) -> bool {
    let scoped = matches!(one.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !one.tunnel && !scoped && knothole_proto::lan::is_lan(one.address)
}

/// Whether of all addresses like this one the system names it first: the newest temporary one, for instance.
fn is_first(all: &[InterfaceAddress], one: &InterfaceAddress) -> bool {
    let alike = |other: &&InterfaceAddress| {
        same_network(other.address, one.address) && other.interface == one.interface && other.temporary == one.temporary
    };
    all.iter().find(alike).is_some_and(|first| first.address == one.address)
}

fn same_network(a: IpAddr, b: IpAddr) -> bool {
    let network = |v6: Ipv6Addr| v6.to_bits() >> 64;
    matches!((a, b), (IpAddr::V6(a), IpAddr::V6(b)) if network(a) == network(b))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => {
            // A link-local one means nothing without its interface, and comes a second after all others.
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local())
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(interface: &str, address: &str) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            running: true,
            loopback: false,
            tunnel: false,
            temporary: false,
            unusable: false,
        }
    }

    fn temporary(interface: &str, address: &str) -> InterfaceAddress {
        InterfaceAddress { temporary: true, ..on(interface, address) }
    }

    fn offered(all: &[InterfaceAddress]) -> Vec<String> {
        hosts(&usable(all.to_vec())).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn each_interface_has_one_address_of_each_family_before_another_has_two() {
        let all = [
            on("wlan0", "192.168.1.7"),
            on("wlan0", "192.168.1.8"),
            on("wlan0", "2001:db8::7"),
            on("eth0", "192.168.2.7"),
            on("eth0", "fd00::7"),
        ];
        assert_eq!(offered(&all), ["192.168.1.7", "192.168.2.7", "2001:db8::7", "fd00::7", "192.168.1.8"]);
    }

    #[test]
    fn what_nobody_else_can_reach_is_not_offered() {
        let all = [
            InterfaceAddress { running: false, ..on("eth1", "192.168.2.7") },
            InterfaceAddress { loopback: true, ..on("lo", "192.0.2.1") },
            InterfaceAddress { unusable: true, ..on("eth0", "2001:db8::9") },
            on("eth0", "127.0.0.1"),
            on("eth0", "::1"),
            on("eth0", "169.254.3.4"),
            on("eth0", "fe80::1"),
            on("eth0", "0.0.0.0"),
            on("eth0", "::"),
            on("eth0", "224.0.0.1"),
            on("eth0", "ff02::1"),
            on("eth0", "::ffff:192.0.2.1"),
        ];
        assert_eq!(offered(&all), [""; 0]);
    }

    #[test]
    fn the_bridges_and_cables_of_containers_are_not_offered_however_many() {
        let mut all: Vec<_> = (0..20).map(|n| on(&format!("br-7f3a{n}"), &format!("172.19.{n}.1"))).collect();
        let names = [
            "docker0",
            "docker_gwbridge",
            "veth12ab",
            "virbr0",
            "vnet3",
            "cni0",
            "flannel.1",
            "cali9",
            "podman1",
            "lxdbr0",
            "vmnet8",
        ];
        all.extend((0..).zip(names).map(|(n, name)| on(name, &format!("172.18.{n}.1"))));
        all.push(on("eth0", "10.0.0.7"));
        assert_eq!(offered(&all), ["10.0.0.7"]);
    }

    #[test]
    fn a_bridge_that_a_person_made_is_offered_and_so_is_the_cable_inside_a_container() {
        assert_eq!(offered(&[on("br0", "192.168.1.7"), on("eth0", "172.17.0.2")]), ["192.168.1.7", "172.17.0.2"]);
    }

    #[test]
    fn of_an_ipv6_network_the_newest_temporary_address_is_offered_else_the_stable_one() {
        let stable = on("eth0", "2001:db8::1");
        assert_eq!(offered(std::slice::from_ref(&stable)), ["2001:db8::1"]);
        let all = [
            temporary("eth0", "2001:db8::aaaa"),
            temporary("eth0", "2001:db8::bbbb"),
            stable,
            on("eth0", "2001:db8:0:1::1"),
        ];
        assert_eq!(offered(&all), ["2001:db8::aaaa", "2001:db8:0:1::1"]);
    }

    #[test]
    fn a_tunnel_comes_last_and_no_address_twice() {
        let tunnel = InterfaceAddress { tunnel: true, ..on("tun0", "10.8.0.2") };
        assert_eq!(offered(&[tunnel, on("eth0", "10.0.0.7"), on("eth1", "10.0.0.7")]), ["10.0.0.7", "10.8.0.2"]);
    }

    #[test]
    fn a_machine_with_very_many_addresses_offers_eight() {
        let all: Vec<_> = (0..40).map(|n| on("eth0", &format!("10.0.0.{}", n + 1))).collect();
        assert_eq!(offered(&all).len(), MAX_HOSTS);
    }

    #[test]
    fn contacts_are_looked_for_on_private_networks_and_on_cables_without_any_server() {
        assert!(is_lan(&on("eth0", "192.168.1.7")));
        assert!(is_lan(&on("eth0", "169.254.3.4")));
        assert!(!is_lan(&on("eth0", "203.0.113.7")));
        assert!(!is_lan(&InterfaceAddress { tunnel: true, ..on("tun0", "10.8.0.2") }));
    }
}
