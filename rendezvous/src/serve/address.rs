//! The address that peers are given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::identity::PublicKey;

use super::StartError;

/// Addresses of the internet to which a route is asked, and nothing sent: public ones that stay what they are, the root
/// name server K (RIPE NCC).
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(193, 0, 14, 129)), IpAddr::V6(Ipv6Addr::new(0x2001, 0x7fd, 0, 0, 0, 0, 0, 1))];

/// The address to give to peers: `public` if there is one, else where we listen.
pub(super) fn rendezvous_address(
    key: PublicKey,
    bound: SocketAddr,
    public: Option<&str>,
) -> Result<RendezvousAddress, StartError> {
    if let Some(public) = public {
        return format!("{key}@{public}").parse().map_err(|_| StartError::Public);
    }
    let ip = if bound.ip().is_unspecified() { outbound(bound.is_ipv6()) } else { bound.ip().to_canonical() };
    Ok(RendezvousAddress { key, host: ip.to_string(), port: bound.port() })
}

/// The address that this machine sends from when it sends to the internet; IPv4 first, because more peers have it.
fn outbound(ipv6_too: bool) -> IpAddr {
    let wanted = ELSEWHERE.into_iter().filter(|elsewhere| ipv6_too || elsewhere.is_ipv4());
    wanted.filter_map(source_towards).next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn source_towards(elsewhere: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if elsewhere.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Connecting a UDP socket looks the route up and sends nothing; any port but 0 will do.
    socket.connect((elsewhere, 53)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bound: &str, public: Option<&str>) -> Result<String, StartError> {
        let key = PublicKey::new([1; 32]);
        let address = rendezvous_address(key, bound.parse().unwrap(), public)?;
        Ok(address.to_string().split_once('@').unwrap().1.to_owned())
    }

    #[test]
    fn the_public_address_comes_first_then_the_listen_address() {
        assert_eq!(address("192.0.2.1:3478", Some("r.example:443")).unwrap(), "r.example:443");
        assert_eq!(address("192.0.2.1:3478", Some("[2001:db8::1]:443")).unwrap(), "[2001:db8::1]:443");
        assert_eq!(address("192.0.2.1:3478", None).unwrap(), "192.0.2.1:3478");
        assert_eq!(address("[2001:db8::1]:3478", None).unwrap(), "[2001:db8::1]:3478");
        assert!(matches!(address("192.0.2.1:3478", Some("r.example")), Err(StartError::Public)));
    }

    #[test]
    fn a_wildcard_becomes_some_address_of_this_machine() {
        for bound in ["0.0.0.0:3478", "[::]:3478"] {
            let told: SocketAddr = address(bound, None).unwrap().parse().unwrap();
            assert!(!told.ip().is_unspecified());
            assert_eq!(told.port(), 3478);
        }
    }
}
