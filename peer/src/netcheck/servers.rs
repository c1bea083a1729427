//! Where the rendezvous are, which of them answer, and which is asked the rest.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::identity::PublicKey;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Latency;
use super::question::{Asker, Question};
use crate::tunnel;

/// How many rendezvous are asked: a person has a handful, each of many contacts may name another.
const RENDEZVOUS: usize = 16;

/// How long a name may take to be found.
const LOOK_UP: Duration = Duration::from_secs(1);

/// How long a rendezvous may take to answer: a satellite, at 700 ms, has three tries.
const PATIENCE: Duration = Duration::from_millis(1200);

/// How long a rendezvous may take to prove itself over TCP: with the look-up and the silence of UDP before, it makes less than
/// 5 s.
const TCP_PATIENCE: Duration = Duration::from_millis(2500);

/// One address of a rendezvous.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) at: SocketAddr,
    key: PublicKey,
    /// `None`: it did not answer.
    pub(super) rtt: Option<Duration>,
    pub(super) mapped: Option<SocketAddr>,
    other: Option<SocketAddr>,
}

/// Asks every rendezvous over each address family that it has.
pub(super) async fn reach(mut rendezvous: Vec<RendezvousAddress>) -> (Vec<Latency>, Vec<Server>) {
    rendezvous.truncate(RENDEZVOUS);
    let all = join_all(rendezvous.into_iter().map(|address| async move {
        let found = timeout(LOOK_UP, lookup_host((address.host.as_str(), address.port))).await;
        let found: Vec<SocketAddr> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
        let families = [false, true].map(|ipv6| found.iter().copied().find(|at| at.is_ipv6() == ipv6));
        let servers = join_all(families.into_iter().flatten().map(|at| ask(at, address.key))).await;
        let rtt = servers.iter().filter_map(|server| server.rtt).min();
        (Latency { address, rtt }, servers)
    }))
    .await;
    let (latencies, servers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    (latencies, servers.into_iter().flatten().collect())
}

async fn ask(at: SocketAddr, key: PublicKey) -> Server {
    let answer = match Asker::new(at).await {
        Ok(asker) => asker.ask([Question::plain(at)], PATIENCE).await[0],
        Err(_) => None,
    };
    Server {
        at,
        key,
        rtt: answer.map(|answer| answer.rtt),
        mapped: answer.map(|answer| answer.mapped),
        other: answer.and_then(|answer| answer.other),
    }
}

/// The one to ask the rest: IPv4 first, where the NATs are; then one that has another address; then the preferred.
pub(super) fn best(servers: &[Server]) -> Option<&Server> {
    let answering = servers.iter().filter(|server| server.rtt.is_some());
    answering.min_by_key(|server| (server.at.is_ipv6(), server.alternate().is_none()))
}

/// Where else to ask, to see whether a mapping depends on where one asks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Others {
    /// The server's other address.
    pub(super) alternate: Option<SocketAddr>,
    /// Without that, another rendezvous at another IP address.
    pub(super) stranger: Option<SocketAddr>,
}

pub(super) fn others(server: &Server, servers: &[Server]) -> Others {
    let mut elsewhere = servers.iter().filter(|other| {
        other.rtt.is_some() && other.at.is_ipv4() == server.at.is_ipv4() && other.at.ip() != server.at.ip()
    });
    Others { alternate: server.alternate(), stranger: elsewhere.next().map(|other| other.at) }
}

impl Server {
    /// The other address, if it is one by which something can be told.
    fn alternate(&self) -> Option<SocketAddr> {
        let fits = |other: &SocketAddr| {
            other.is_ipv4() == self.at.is_ipv4() && other.ip() != self.at.ip() && other.port() != self.at.port()
        };
        self.other.filter(fits)
    }
}

/// Whether one of them proves its key over TCP: what else takes a connection there, a login page for one, is of no use.
pub(super) async fn tcp_answers(servers: &[Server]) -> bool {
    let opens = |server: &Server| timeout(TCP_PATIENCE, tunnel::open(server.at, server.key));
    join_all(servers.iter().map(opens)).await.into_iter().any(|opened| matches!(opened, Ok(Ok(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(at: &str, other: Option<&str>, answers: bool) -> Server {
        let rtt = answers.then_some(Duration::from_millis(20));
        Server {
            at: at.parse().unwrap(),
            key: PublicKey::new([7; 32]),
            rtt,
            mapped: None,
            other: other.map(|other| other.parse().unwrap()),
        }
    }

    #[test]
    fn the_rest_is_asked_over_ipv4_where_there_is_another_address() {
        let servers = [
            server("192.0.2.1:3478", Some("192.0.2.2:3479"), false),
            server("[2001:db8::1]:3478", Some("[2001:db8::2]:3479"), true),
            server("192.0.2.3:3478", None, true),
            server("192.0.2.4:3478", Some("192.0.2.5:3479"), true),
            server("192.0.2.6:3478", Some("192.0.2.7:3479"), true),
        ];
        let best = best(&servers).unwrap();
        assert_eq!(best.at, servers[3].at);
        let others = others(best, &servers);
        assert_eq!((others.alternate, others.stranger), (servers[3].other, Some(servers[2].at)));
        assert!(super::best(&servers[..1]).is_none(), "it does not answer");
    }

    #[test]
    fn another_address_that_differs_in_half_or_is_of_another_family_tells_nothing() {
        for other in ["192.0.2.1:3479", "192.0.2.2:3478", "[2001:db8::2]:3479"] {
            assert_eq!(server("192.0.2.1:3478", Some(other), true).alternate(), None, "{other}");
        }
    }
}
