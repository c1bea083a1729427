//! One sentence on what it means.

use std::net::IpAddr;

use knothole_proto::nat::{Filtering, Mapping, Ports};

use super::{Report, Transport};

impl Report {
    /// What all this means for reaching others, in one sentence for a person.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        match self.transport {
            Transport::None => {
                "No rendezvous answers, neither over UDP nor over TCP: this machine is offline, or they are down, and \
                 nobody beyond this network can be reached."
            }
            Transport::Tcp => {
                "Your network lets no UDP through: all talk goes through the rendezvous over TCP, which reaches \
                 everyone but is slower than a direct path."
            }
            Transport::Udp if self.observed.is_some_and(|observed| is_inside(observed.ip())) => {
                "The rendezvous is on a network of your own: those who share it reach you, and what lies between you and \
                 the internet cannot be told from there."
            }
            Transport::Udp => self.over_udp(),
        }
    }

    const fn over_udp(&self) -> &'static str {
        match (self.mapping, self.filtering) {
            (Mapping::None, Filtering::None) => {
                "You are on the open internet: everyone can connect to you directly, whatever their network does."
            }
            (Mapping::None, Filtering::Unknown) => {
                "There is no NAT before you: you connect directly to most networks; whether a firewall keeps the hardest \
                 ones out is not known."
            }
            (Mapping::None, _) => {
                "There is no NAT before you, but a firewall that lets in only whom you have written to: you connect \
                 directly to most networks, and to the hardest ones after a search."
            }
            (Mapping::EndpointIndependent, Filtering::None | Filtering::EndpointIndependent) => {
                "Your network lets anyone in once you have sent something out: everyone can connect to you directly, \
                 whatever their network does."
            }
            (Mapping::EndpointIndependent, Filtering::AddressDependent) => {
                "Your network connects directly to nearly every other, hard ones included: a port that you have not \
                 written to gets in if its address is right."
            }
            (Mapping::EndpointIndependent, _) => {
                "Your network connects directly to most others; with the hardest ones a search comes first, and talk \
                 goes through the rendezvous meanwhile."
            }
            (Mapping::AddressDependent | Mapping::AddressAndPortDependent, _) => match self.ports {
                Ports::Preserved | Ports::Sequential { .. } | Ports::Block { .. } => {
                    "Your network shows each destination another port, but one that can be guessed: it connects \
                     directly to most others, though not at once; two such networks may have to talk through the \
                     rendezvous."
                }
                Ports::Random | Ports::Unknown => {
                    "Your network is a hard one, which shows each destination another port: it connects directly to \
                     most others after a search; two such networks talk through the rendezvous."
                }
            },
            (Mapping::Unknown, _) => {
                "UDP goes through, so that you reach everyone; which networks you connect to directly cannot be \
                 told from here."
            }
        }
    }
}

/// Whether an address is one that only means something on this machine, or within a site (RFC 6890).
const fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_one_sentence_and_hard_networks_another_than_easy_ones() {
        let mappings = [
            Mapping::None,
            Mapping::EndpointIndependent,
            Mapping::AddressDependent,
            Mapping::AddressAndPortDependent,
            Mapping::Unknown,
        ];
        let filterings = [
            Filtering::None,
            Filtering::EndpointIndependent,
            Filtering::AddressDependent,
            Filtering::AddressAndPortDependent,
            Filtering::Unknown,
        ];
        for transport in [Transport::Udp, Transport::Tcp, Transport::None] {
            for mapping in mappings {
                for filtering in filterings {
                    let report = Report { transport, mapping, filtering, ..Report::of_nothing() };
                    let told = report.summary();
                    assert!(told.ends_with('.') && told.matches(". ").count() == 0, "{told}");
                    assert!(!told.contains("  "), "{told}");
                }
            }
        }
        let of =
            |mapping, ports| Report { transport: Transport::Udp, mapping, ports, ..Report::of_nothing() }.summary();
        let beside = |observed: &str| Report {
            transport: Transport::Udp,
            mapping: Mapping::None,
            filtering: Filtering::None,
            observed: Some(observed.parse().unwrap()),
            ..Report::of_nothing()
        };
        assert!(beside("198.51.100.7:1").summary().contains("open internet"));
        for inside in ["127.0.0.1:1", "192.168.1.7:1", "[fd00::7]:1"] {
            assert!(!beside(inside).summary().contains("open internet"), "{inside} is no address of the internet");
        }
        let hard = of(Mapping::AddressAndPortDependent, Ports::Random);
        assert_ne!(hard, of(Mapping::EndpointIndependent, Ports::Random));
        assert_ne!(hard, of(Mapping::AddressAndPortDependent, Ports::Sequential { step: 1 }));
    }
}
