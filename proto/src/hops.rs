//! How many routers of our own lie before the internet, and so how far an opening packet must go.
//!
//! An opener must pass every NAT of ours and die before the other side's (docs/protocol.md, "Introduction"). Behind one
//! router a TTL of 2 does that; behind a home router and a carrier's it dies between the two. So the driver sends small
//! probes toward the rendezvous that die after 1, 2, 3… hops, and collects the addresses of the routers that say so
//! (ICMP time exceeded, RFC 792). Routers with private or carrier addresses are ours; the first other one is the internet.

use std::net::{IpAddr, Ipv4Addr};

use crate::candidate::is_private;

/// The TTLs of the probes: a home network behind a home router behind a carrier's is the deepest that is common.
pub const PROBED_TTLS: std::ops::RangeInclusive<u8> = 1..=4;

/// The TTL where nothing is known, and the least: it passes one router.
pub const DEFAULT_OPENER_TTL: u8 = 2;

/// The TTL that openers need, from the TTLs of the probes that were reported dead and the routers that reported them.
/// Routers that keep silent count as the internet's.
#[must_use]
pub fn opener_ttl(reports: &[(u8, IpAddr)]) -> u8 {
    let ours = reports.iter().filter(|(ttl, router)| PROBED_TTLS.contains(ttl) && is_ours(*router));
    ours.map(|(ttl, _)| ttl + 1).max().unwrap_or_default().max(DEFAULT_OPENER_TTL)
}

fn is_ours(router: IpAddr) -> bool {
    is_private(router) || matches!(router.to_canonical(), IpAddr::V4(v4) if is_carrier(v4))
}

/// RFC 6598: the addresses between a carrier's NAT and its customers.
const fn is_carrier(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 100 && b & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(routers: &[&str]) -> Vec<(u8, IpAddr)> {
        (1..).zip(routers).filter_map(|(ttl, router)| Some((ttl, router.parse().ok()?))).collect()
    }

    #[test]
    fn openers_pass_every_router_of_ours_and_no_other() {
        assert_eq!(opener_ttl(&reports(&["198.51.100.1", "203.0.113.1"])), 2, "on the internet itself");
        assert_eq!(opener_ttl(&reports(&["192.168.1.1", "198.51.100.1"])), 2, "behind a home router");
        assert_eq!(opener_ttl(&reports(&["192.168.1.1", "100.64.0.1", "198.51.100.1"])), 3, "and a carrier's");
        assert_eq!(opener_ttl(&reports(&["192.168.8.1", "10.0.0.1", "100.127.0.1", "198.51.100.1"])), 4);
    }

    #[test]
    fn silent_routers_count_as_the_internets_and_liars_gain_a_bounded_distance() {
        assert_eq!(opener_ttl(&[]), DEFAULT_OPENER_TTL);
        assert_eq!(opener_ttl(&reports(&["silent", "100.64.0.1"])), 3);
        assert_eq!(opener_ttl(&[(200, "10.0.0.1".parse().unwrap())]), DEFAULT_OPENER_TTL);
    }
}
