//! Reading the system's own lists of addresses and routers.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::Gateway;
use super::hosts::InterfaceAddress;

pub(super) fn interface_addresses() -> nix::Result<Vec<InterfaceAddress>> {
    let marks = marks::ipv6();
    let known = getifaddrs()?.filter_map(|found| {
        let storage = found.address?;
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let address = v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        let mark =
            marks.iter().find(|mark| IpAddr::V6(mark.address) == address && mark.interface == found.interface_name);
        Some(InterfaceAddress {
            interface: found.interface_name,
            address,
            running: found.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
            loopback: found.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            tunnel: found.flags.contains(InterfaceFlags::IFF_POINTOPOINT),
            temporary: mark.is_some_and(|mark| mark.temporary),
            unusable: mark.is_some_and(|mark| mark.unusable),
        })
    });
    Ok(known.collect())
}

pub(super) fn gateways() -> Vec<Gateway> {
    routes::gateways()
}

/// What the system notes of an IPv6 address beside it.
struct Mark {
    interface: String,
    address: std::net::Ipv6Addr,
    temporary: bool,
    unusable: bool,
}

#[cfg(target_os = "linux")]
mod marks {
    use std::net::Ipv6Addr;

    use super::Mark;

    /// Flags of an address, of which /proc shows the lower eight (linux/if_addr.h).
    const TEMPORARY: u8 = 0x01;
    const DUPLICATE: u8 = 0x08;
    const DEPRECATED: u8 = 0x20;
    const TENTATIVE: u8 = 0x40;

    pub(super) fn ipv6() -> Vec<Mark> {
        let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// `<address> <index> <prefix> <scope> <flags> <name>`, all but the name in hexadecimal.
    pub(super) fn parse(line: &str) -> Option<Mark> {
        let mut words = line.split_whitespace();
        let address = Ipv6Addr::from_bits(u128::from_str_radix(words.next()?, 16).ok()?);
        let flags = u8::from_str_radix(words.nth(3)?, 16).ok()?;
        let interface = words.next()?.to_owned();
        let unusable = flags & (DUPLICATE | DEPRECATED | TENTATIVE) != 0;
        Some(Mark { interface, address, temporary: flags & TEMPORARY != 0, unusable })
    }
}

#[cfg(not(target_os = "linux"))]
mod marks {
    use super::Mark;

    /// Elsewhere all addresses count alike.
    pub(super) fn ipv6() -> Vec<Mark> {
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
mod routes {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::Gateway;

    pub(super) fn gateways() -> Vec<Gateway> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let v4 = read("/proc/net/route");
        let v6 = read("/proc/net/ipv6_route");
        v4.lines().filter_map(parse_v4).chain(v6.lines().filter_map(parse_v6)).collect()
    }

    /// `<interface> <destination> <gateway> <flags> …`: a default route's destination and mask are 0; addresses
    /// are in the machine's own byte order.
    pub(super) fn parse_v4(line: &str) -> Option<Gateway> {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |index: usize| u32::from_str_radix(words.get(index)?, 16).ok();
        (word(1)? == 0 && word(7)? == 0).then_some(())?;
        let address = IpAddr::V4(Ipv4Addr::from(word(2)?.to_ne_bytes()));
        Some(Gateway { interface: (*words.first()?).to_owned(), address })
    }

    /// `<destination> <prefix> <source> <prefix> <next hop> <metric> <uses> <uses> <flags> <interface>`. The kernel's own
    /// entry for what is not reachable is on `lo`.
    pub(super) fn parse_v6(line: &str) -> Option<Gateway> {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |index: usize| u128::from_str_radix(words.get(index)?, 16).ok();
        let interface = *words.get(9)?;
        (word(0)? == 0 && word(1)? == 0 && interface != "lo").then_some(())?;
        Some(Gateway { interface: interface.to_owned(), address: IpAddr::V6(Ipv6Addr::from_bits(word(4)?)) })
    }
}

#[cfg(not(target_os = "linux"))]
mod routes {
    use super::Gateway;

    /// There is no list to read without another library. Port mapping by NAT-PMP and PCP needs it; UPnP does not.
    pub(super) fn gateways() -> Vec<Gateway> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_marks_of_addresses_are_read() {
        let mark = marks::parse("20010db8000000000000000000000001 02 40 00 01     eth0").unwrap();
        assert_eq!((mark.interface.as_str(), mark.temporary, mark.unusable), ("eth0", true, false));
        assert_eq!(mark.address, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap());
        assert!(marks::parse("20010db8000000000000000000000001 02 40 00 60 eth0").unwrap().unusable);
        assert!(marks::parse("20010db8 02").is_none());
    }

    #[test]
    fn linux_default_routes_are_read_and_others_passed_over() {
        let header = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT";
        let gateway = u32::from_ne_bytes([192, 168, 1, 1]);
        let default = format!("eth0 00000000 {gateway:08X} 0003 0 0 100 00000000 0 0 0");
        let other = "eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0";
        assert!(routes::parse_v4(header).is_none() && routes::parse_v4(other).is_none());
        let found = routes::parse_v4(&default).unwrap();
        assert_eq!((found.interface.as_str(), found.address.to_string().as_str()), ("eth0", "192.168.1.1"));
        let zero = "0".repeat(32);
        let v6 =
            |interface| format!("{zero} 00 {zero} 00 fe80{:028x} 00000400 00000001 00000000 00000003 {interface}", 1);
        assert_eq!(routes::parse_v6(&v6("eth0")).unwrap().address.to_string(), "fe80::1");
        assert!(routes::parse_v6(&v6("lo")).is_none());
    }
}
