//! Candidates: the addresses at which a peer may be reached (RFC 8445 section 5.1), and the two secrets of an
//! introduction that let checks between them be believed.
//!
//! Candidates of others are claims of a contact who may be hostile. They are filtered before anything is sent to them:
//! [`is_reachable`] says what is dropped and why. What passes is still only an address that somebody named, so the
//! path machine bounds what it sends there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How many candidates of one introduction are looked at. A machine with IPv4 and IPv6 on two links, each with a
/// reflexive and a mapped address, has twelve; more are container bridges and other places where nobody is.
pub const MAX_CANDIDATES: usize = 16;

/// Names an introduction, that is, one act of the rendezvous to bring two peers together. 96 unguessable bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntroductionId(pub [u8; 12]);

/// The secret of one introduction, known to the two peers and the rendezvous. It authenticates checks and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckKey(pub [u8; 20]);

impl fmt::Debug for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckKey(..)")
    }
}

/// An address and how it was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Where to send.
    pub address: SocketAddr,
    /// How its owner learnt it.
    pub kind: CandidateKind,
}

/// How an address was learnt (RFC 8445 section 4). Kinds are appended, never reordered: they travel by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CandidateKind {
    /// An address of the machine's own interface.
    Host,
    /// The address that a server saw: the mapping of a NAT.
    ServerReflexive,
    /// The address from which a check came that nobody had named.
    PeerReflexive,
    /// A port that the router opened on request (UPnP, NAT-PMP, PCP).
    PortMapped,
}

impl Candidate {
    /// The order in which addresses are checked, the higher the sooner: RFC 8445 section 5.1.2.2's type preferences,
    /// with a private address before all (a success there ends the search) and a mapped port, which lets anyone in,
    /// before what a NAT happens to show.
    #[must_use]
    pub fn priority(&self) -> u8 {
        match self.kind {
            CandidateKind::Host if is_private(self.address.ip()) => 127,
            CandidateKind::Host => 126,
            CandidateKind::PortMapped => 120,
            CandidateKind::PeerReflexive => 110,
            CandidateKind::ServerReflexive => 100,
        }
    }
}

/// Whether something could be behind an address that another names.
///
/// Dropped are: port 0 and the unspecified address, which are nowhere; multicast and broadcast, where one check would
/// reach many machines; IPv4's 0/8 and 240/4, which nobody routes; link-local IPv6 addresses, which mean nothing without
/// the interface, and the other side cannot know ours. Loopback is dropped because a stranger would have us talk to
/// our own services: `allow_loopback` is for two peers on one machine, as in the demo.
#[must_use]
pub fn is_reachable(address: SocketAddr, allow_loopback: bool) -> bool {
    let ip = address.ip().to_canonical();
    let somewhere = match ip {
        IpAddr::V4(v4) => !matches!(v4.octets(), [0 | 224.., ..]),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    address.port() != 0 && somewhere && (allow_loopback || !ip.is_loopback())
}

/// Whether an address belongs to a network of its owner's own: RFC 1918, unique local and link-local addresses, and
/// loopback. RFC 6598's 100.64/10 does not: it is a carrier's.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4 == Ipv4Addr::LOCALHOST,
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6 == Ipv6Addr::LOCALHOST,
    }
}

/// Whether an address may be somebody's on the internet: [`is_reachable`] and neither private nor a carrier's own
/// (RFC 6598).
#[must_use]
pub fn is_public(address: SocketAddr) -> bool {
    let carrier = matches!(address.ip().to_canonical(), IpAddr::V4(v4) if matches!(v4.octets(), [100, 64..=127, ..]));
    is_reachable(address, false) && !is_private(address.ip()) && !carrier
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_where_nobody_or_everybody_is_are_dropped() {
        for nowhere in [
            "0.0.0.0:9",
            "0.1.2.3:9",
            "192.0.2.1:0",
            "224.0.0.251:5353",
            "239.255.255.250:1900",
            "255.255.255.255:9",
            "240.0.0.1:9",
            "[::]:9",
            "[ff02::fb]:5353",
            "[fe80::1]:9",
            "[2001:db8::1]:0",
            "[::ffff:224.0.0.1]:9",
            "127.0.0.1:9",
            "127.8.8.8:9",
            "[::1]:9",
            "[::ffff:127.0.0.1]:9",
        ] {
            assert!(!is_reachable(address(nowhere), false), "{nowhere}");
        }
    }

    #[test]
    fn addresses_of_hosts_pass() {
        for somewhere in [
            "192.0.2.1:9",
            "10.0.0.7:9",
            "100.64.3.4:9",
            "169.254.7.7:9",
            "223.255.255.1:9",
            "[2001:db8::1]:9",
            "[fd00::1]:9",
            "[::ffff:192.0.2.1]:9",
        ] {
            assert!(is_reachable(address(somewhere), false), "{somewhere}");
        }
    }

    #[test]
    fn loopback_passes_only_when_allowed() {
        for loopback in ["127.0.0.1:9", "[::1]:9"] {
            assert!(is_reachable(address(loopback), true));
        }
        assert!(!is_reachable(address("127.0.0.1:0"), true));
    }

    #[test]
    fn private_networks_are_told_from_a_carrier_s() {
        for private in
            ["10.1.2.3", "172.16.0.1", "192.168.7.7", "169.254.0.9", "fd12::1", "fe80::1", "127.0.0.1", "::1"]
        {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["100.64.0.1", "203.0.113.1", "2001:db8::1", "172.32.0.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_candidate_travels_in_a_few_bytes_and_comes_back() {
        for text in ["192.0.2.1:4711", "[2001:db8::1]:4711"] {
            let candidate = Candidate { address: address(text), kind: CandidateKind::PortMapped };
            let wire = postcard::to_allocvec(&candidate).unwrap();
            assert!(wire.len() <= 1 + 16 + 3 + 1, "{}", wire.len());
            assert_eq!(postcard::from_bytes::<Candidate>(&wire).unwrap(), candidate);
        }
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", CheckKey([7; 20])), "CheckKey(..)");
    }
}
