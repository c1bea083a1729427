//! What this machine's network does with datagrams, and what that means for reaching others.
//!
//! All questions are STUN (RFC 8489, RFC 5780) to the rendezvous, from sockets opened for the purpose: nothing that the engine
//! uses is disturbed. One check runs at a time in a process, for two would disturb each other's ports. Every wait has an
//! end, and all of them together last 5 s at most. What only the engine knows, the router's protocols and the lifetime of
//! mappings, is asked of it afterwards; a lifetime that it does not know it finds out when that is wished, which
//! takes half an hour at most.
//!
//! In this order: how far each rendezvous is; how fresh mappings' ports follow each other, which must not be mixed with
//! other questions; then mapping, filtering and hairpinning at once.
//!
//! Deliberately absent: concluding ([`knothole_proto::nat`], [`knothole_proto::lifetime`]), changing anything by what is found.

mod behaviour;
mod engine;
mod question;
mod servers;
mod summary;

use std::net::SocketAddr;
use std::time::Duration;

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::nat::{Filtering, Mapping, Ports};
use tokio::sync::Semaphore;

use servers::tcp_answers;

pub use engine::{LONGEST_SEARCH, Wishes};

/// By what a rendezvous can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By UDP.
    Udp,
    /// Not by UDP, but by TCP.
    Tcp,
    /// By neither.
    None,
}

/// One rendezvous, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// The rendezvous.
    pub address: RendezvousAddress,
    /// The shortest round trip over UDP; `None` if none came to an end.
    pub rtt: Option<Duration>,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// By what a rendezvous can be reached.
    pub transport: Transport,
    /// How the NAT maps.
    pub mapping: Mapping,
    /// What it lets in.
    pub filtering: Filtering,
    /// How it chooses ports.
    pub ports: Ports,
    /// Our address as the rendezvous that was asked most sees it.
    pub observed: Option<SocketAddr>,
    /// Whether two sockets of this machine reach each other by their outside addresses; `None` where they have none.
    pub hairpin: Option<bool>,
    /// How long an idle mapping lives at least; `None` unless the engine knows.
    pub lifetime: Option<Duration>,
    /// Whether a rendezvous answers over IPv6.
    pub ipv6: bool,
    /// The protocols by which the router opens ports when asked: `upnp`, `pcp`, `nat-pmp`. Empty unless the engine knows.
    pub port_mapping: Vec<&'static str>,
    /// Every rendezvous that was asked.
    pub rendezvous: Vec<Latency>,
    /// Why something is not known, for a person.
    pub unknown: Option<&'static str>,
}

/// Finds out what this network does, asking these rendezvous: the first sixteen of them.
pub async fn check(rendezvous: Vec<RendezvousAddress>) -> Report {
    static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
    // It is never closed.
    let _turn = ONE_AT_A_TIME.acquire().await;
    let mut report = Report::of_nothing();
    let (latencies, servers) = servers::reach(rendezvous).await;
    report.rendezvous = latencies;
    report.ipv6 = servers.iter().any(|server| server.rtt.is_some() && server.at.is_ipv6());
    let Some(server) = servers::best(&servers) else {
        report.transport = if tcp_answers(&servers).await { Transport::Tcp } else { Transport::None };
        return report;
    };
    report.transport = Transport::Udp;
    report.observed = server.mapped;
    report.ports = behaviour::ports(server.at).await;
    let others = servers::others(server, &servers);
    let (conduct, hairpin) = tokio::join!(behaviour::conduct(server.at, others), behaviour::hairpin(server.at));
    (report.mapping, report.filtering, report.unknown) = (conduct.mapping, conduct.filtering, conduct.unknown);
    report.hairpin = hairpin;
    report
}

impl Report {
    fn of_nothing() -> Self {
        Self {
            transport: Transport::None,
            mapping: Mapping::Unknown,
            filtering: Filtering::Unknown,
            ports: Ports::Unknown,
            observed: None,
            hairpin: None,
            lifetime: None,
            ipv6: false,
            port_mapping: Vec::new(),
            rendezvous: Vec::new(),
            unknown: None,
        }
    }

    /// Whether UDP goes through.
    #[must_use]
    pub fn udp(&self) -> bool {
        self.transport == Transport::Udp
    }
}

impl Transport {
    /// The word for it, as interfaces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::None => "none",
        }
    }
}
