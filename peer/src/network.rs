//! The addresses of this machine at which another peer might reach it directly.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// How the interfaces are called that container and machine hypervisors make. Their networks end at this machine.
const VIRTUAL_BRIDGES: [&str; 4] = ["docker", "veth", "virbr", "br-"];

/// How many addresses are offered at most. Each costs the other side a few checks, and a laptop has a handful.
const ADDRESSES: usize = 16;

/// One address of one network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The system's name for the interface, `eth0` for instance.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Whether the interface is up and has a carrier.
    pub running: bool,
    /// Whether the interface leads back to this machine.
    pub loopback: bool,
}

/// The addresses of this machine to offer as host candidates, in the system's order. Reads the system's interface list;
/// where that fails there are none, and the peer is reached by what the rendezvous observes.
#[must_use]
pub fn host_addresses() -> Vec<IpAddr> {
    match interface_addresses() {
        Ok(all) => reachable(all),
        Err(why) => {
            tracing::debug!(%why, "the interfaces cannot be listed");
            Vec::new()
        }
    }
}

/// Of these, the addresses that somebody else may reach: on running interfaces, neither loopback nor link-local (which
/// mean something only with an interface's name), no bridge of a hypervisor's, each once, and 16 at most.
#[must_use]
pub fn reachable(all: impl IntoIterator<Item = InterfaceAddress>) -> Vec<IpAddr> {
    let mut reachable = Vec::new();
    for InterfaceAddress { interface, address, running, loopback } in all {
        let bridge = VIRTUAL_BRIDGES.iter().any(|prefix| interface.starts_with(prefix));
        if running && !loopback && !bridge && is_unicast(address) && !reachable.contains(&address) {
            reachable.push(address);
        }
        if reachable.len() == ADDRESSES {
            break;
        }
    }
    reachable
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast())
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

fn interface_addresses() -> nix::Result<Vec<InterfaceAddress>> {
    let known = getifaddrs()?.filter_map(|found| {
        let storage = found.address?;
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let address = v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some(InterfaceAddress {
            interface: found.interface_name,
            address,
            running: found.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
            loopback: found.flags.contains(InterfaceFlags::IFF_LOOPBACK),
        })
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(interface: &str, address: &str) -> InterfaceAddress {
        let (interface, address) = (interface.to_owned(), address.parse().unwrap());
        InterfaceAddress { interface, address, running: true, loopback: false }
    }

    fn kept(all: &[InterfaceAddress]) -> Vec<String> {
        reachable(all.to_vec()).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn addresses_of_running_interfaces_are_offered_once_in_order() {
        let all = [
            on("wlan0", "192.168.1.7"),
            on("wlan0", "2001:db8::7"),
            on("tun0", "10.8.0.2"),
            on("eth0", "192.168.1.7"),
            on("eth0", "fd00::7"),
        ];
        assert_eq!(kept(&all), ["192.168.1.7", "2001:db8::7", "10.8.0.2", "fd00::7"]);
    }

    #[test]
    fn what_nobody_else_can_reach_is_not_offered() {
        let dead = InterfaceAddress { running: false, ..on("eth1", "192.168.2.7") };
        let own = InterfaceAddress { loopback: true, ..on("lo", "192.0.2.1") };
        let all = [
            dead,
            own,
            on("eth0", "127.0.0.1"),
            on("eth0", "::1"),
            on("eth0", "169.254.3.4"),
            on("eth0", "fe80::1"),
            on("eth0", "0.0.0.0"),
            on("eth0", "::"),
            on("eth0", "224.0.0.1"),
            on("eth0", "ff02::1"),
            on("eth0", "::ffff:192.0.2.1"),
            on("docker0", "172.17.0.1"),
            on("veth12ab", "172.18.0.1"),
            on("virbr0", "192.168.122.1"),
            on("br-7f3a", "172.19.0.1"),
        ];
        assert_eq!(kept(&all), [""; 0]);
    }

    #[test]
    fn a_bridge_that_a_person_made_is_offered() {
        assert_eq!(kept(&[on("br0", "192.168.1.7")]), ["192.168.1.7"]);
    }

    #[test]
    fn a_machine_with_very_many_addresses_offers_the_first_sixteen() {
        let all: Vec<_> = (0..40).map(|n| on("eth0", &format!("10.0.0.{}", n + 1))).collect();
        assert_eq!(kept(&all).len(), ADDRESSES);
    }

    #[test]
    fn the_systems_list_is_readable_and_has_no_loopback_in_the_result() {
        assert!(interface_addresses().unwrap().iter().any(|found| found.loopback));
        assert!(host_addresses().iter().all(|address| !address.is_loopback()));
    }
}
