//! The texts that people pass on: rendezvous addresses and contact links.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::identity::{PeerId, PublicKey};

/// A link names at most this many rendezvous: more help nobody, and a hostile link must stay small.
pub const MAX_VIA: usize = 4;

/// A DNS name is at most 253 characters (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// Where a rendezvous is and the key it must prove: `<key>@<host>:<port>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousAddress {
    /// The key that the rendezvous proves in its TLS handshake.
    pub key: PublicKey,
    /// A DNS name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The port, the same for UDP and TCP.
    pub port: u16,
}

/// All that one peer needs to reach another: `knothole:<peer id>?via=<rendezvous address>`, `via` repeated in the
/// order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContactLink {
    /// Who it leads to.
    pub peer: PeerId,
    /// Where that peer keeps alive; at most [`MAX_VIA`].
    pub via: Vec<RendezvousAddress>,
}

/// Why a text is no link or no rendezvous address; the texts are for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLink {
    /// The text does not begin with `knothole:`.
    #[error("a contact link begins with \"knothole:\"")]
    Scheme,
    /// A key in it is not one.
    #[error("the key in it is damaged: 52 characters of a-z and 2-7 are expected (was all of it copied?)")]
    Key,
    /// A rendezvous address is not `key@host:port`.
    #[error("a rendezvous address is written <key>@<host>:<port>")]
    Address,
    /// A link without `via`, or with too many.
    #[error("a contact link names 1 to {MAX_VIA} rendezvous (\"?via=…\")")]
    Via,
}

impl fmt::Display for RendezvousAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}@[{}]:{}", self.key, self.host, self.port)
        } else {
            write!(f, "{}@{}:{}", self.key, self.host, self.port)
        }
    }
}

impl FromStr for RendezvousAddress {
    type Err = InvalidLink;

    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let (key, place) = text.split_once('@').ok_or(InvalidLink::Address)?;
        let key = key.parse().map_err(|_| InvalidLink::Key)?;
        let (host, port) = place.rsplit_once(':').ok_or(InvalidLink::Address)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InvalidLink::Address)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => {
                let inner = bracketed.strip_suffix(']').ok_or(InvalidLink::Address)?;
                inner.parse::<Ipv6Addr>().map_err(|_| InvalidLink::Address)?.to_string()
            }
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(InvalidLink::Address),
        };
        Ok(Self { key, host, port })
    }
}

fn is_host_name(host: &str) -> bool {
    (1..=MAX_HOST).contains(&host.len())
        && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
}

impl fmt::Display for ContactLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "knothole:{}", self.peer)?;
        for (i, via) in self.via.iter().enumerate() {
            write!(f, "{}via={via}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl FromStr for ContactLink {
    type Err = InvalidLink;

    /// Parameters other than `via` are passed over: later versions may add some.
    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let rest = text.trim().strip_prefix("knothole:").ok_or(InvalidLink::Scheme)?;
        let (peer, query) = rest.split_once('?').unwrap_or((rest, ""));
        let peer = peer.parse().map_err(|_| InvalidLink::Key)?;
        let via = query
            .split('&')
            .filter_map(|parameter| parameter.strip_prefix("via="))
            .map(str::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if via.is_empty() || via.len() > MAX_VIA {
            return Err(InvalidLink::Via);
        }
        Ok(Self { peer, via })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str) -> RendezvousAddress {
        RendezvousAddress { key: PublicKey::new([9; 32]), host: host.into(), port: 3478 }
    }

    #[test]
    fn addresses_with_names_ipv4_and_bracketed_ipv6_read_back() {
        for host in ["rendezvous.example.org", "192.0.2.7", "2001:db8::7"] {
            let address = address(host);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        assert!(address("2001:db8::7").to_string().ends_with("@[2001:db8::7]:3478"));
    }

    #[test]
    fn a_link_reads_back_with_its_rendezvous_in_order_and_skips_unknown_parameters() {
        let link = ContactLink { peer: PublicKey::new([3; 32]), via: vec![address("b.example"), address("a.example")] };
        let text = link.to_string();
        assert_eq!(text.parse(), Ok(link.clone()));
        assert_eq!(format!(" {text}&name=bob\n").parse(), Ok(link));
    }

    #[test]
    fn damaged_links_say_what_is_wrong() {
        let key = PublicKey::new([3; 32]);
        let one_via = format!("via={}", address("h"));
        let too_many = format!("knothole:{key}?{}", vec![one_via; MAX_VIA + 1].join("&"));
        for (text, error) in [
            ("http://x", InvalidLink::Scheme),
            ("knothole:abc?via=x", InvalidLink::Key),
            (&*format!("knothole:{key}"), InvalidLink::Via),
            (&too_many, InvalidLink::Via),
            (&format!("knothole:{key}?via={key}@h"), InvalidLink::Address),
            (&format!("knothole:{key}?via={key}@h:0"), InvalidLink::Address),
            (&format!("knothole:{key}?via={key}@[::1:1"), InvalidLink::Address),
            (&format!("knothole:{key}?via={key}@a b:1"), InvalidLink::Address),
        ] {
            assert_eq!(text.parse::<ContactLink>(), Err(error), "{text}");
        }
    }
}
