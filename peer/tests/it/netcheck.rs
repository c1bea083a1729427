//! What `netcheck` finds on loopback, where there is no NAT: from rendezvous with a second address, without one, and from none.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "all of it is test code; clippy.toml's exemption ends at #[test] functions")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use knothole::netcheck::{Report, Transport, check};
use knothole_proto::certificate::IdentitySecret;
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::nat::{Filtering, Mapping, Ports};
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};

/// What a whole check may take, and a loaded machine's time.
const ENOUGH: Duration = Duration::from_secs(30);

async fn rendezvous(listen: &str, alternate: Option<&str>) -> Serving {
    let config = Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec![listen.parse().unwrap()],
        alternate: alternate.map(|alternate| alternate.parse().unwrap()),
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    };
    Serving::start(config).await.unwrap()
}

/// A rendezvous by this address, whatever is there.
fn at(address: SocketAddr) -> RendezvousAddress {
    let key = IdentitySecret::new([7; 32]).public_key();
    RendezvousAddress { key, host: address.ip().to_string(), port: address.port() }
}

async fn found(rendezvous: &[RendezvousAddress]) -> Report {
    let begin = Instant::now();
    let report = check(rendezvous.to_vec()).await;
    assert!(begin.elapsed() < ENOUGH, "{:?}", begin.elapsed());
    assert_eq!(report.rendezvous.len(), rendezvous.len(), "each is told of");
    report
}

#[tokio::test]
async fn on_one_machine_there_is_no_nat_no_filter_and_ports_are_what_they_are() {
    let serving = rendezvous("127.0.0.1:0", Some("127.0.0.2:0")).await;
    // Something that takes everything and answers nothing, first in the list.
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let asked = [at(mute.local_addr().unwrap()), serving.address().clone()];
    let report = found(&asked).await;
    assert_eq!((report.mapping, report.filtering, report.ports), (Mapping::None, Filtering::None, Ports::Preserved));
    assert_eq!((report.transport, report.hairpin, report.unknown), (Transport::Udp, Some(true), None));
    assert_eq!((report.lifetime, report.ipv6), (None, false));
    assert_eq!(report.rendezvous[0].rtt, None);
    assert!(report.rendezvous[1].rtt.is_some());
    assert!(report.observed.is_some_and(|observed| observed.ip().is_loopback()));
}

#[tokio::test]
async fn without_a_second_address_what_it_would_tell_is_unknown_and_the_reason_is_told() {
    let serving = rendezvous("127.0.0.1:0", None).await;
    let report = found(&[serving.address().clone()]).await;
    // Who is seen as what he is has no NAT; that needs one address only.
    assert_eq!((report.mapping, report.filtering), (Mapping::None, Filtering::Unknown));
    assert!(report.unknown.is_some_and(|why| why.contains("--alternate")));
}

#[tokio::test]
async fn a_rendezvous_that_answers_over_ipv6_is_told_of_and_serves_where_there_is_no_other() {
    let serving = rendezvous("[::1]:0", None).await;
    let report = found(&[serving.address().clone()]).await;
    assert_eq!((report.ipv6, report.mapping, report.transport), (true, Mapping::None, Transport::Udp));
}

#[tokio::test]
async fn where_nobody_answers_over_udp_tcp_is_tried() {
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let report = found(&[at(address)]).await;
    assert_eq!((report.transport, report.udp()), (Transport::None, false));
    assert_eq!((report.mapping, report.filtering, report.hairpin), (Mapping::Unknown, Filtering::Unknown, None));
    // What takes a connection there and is not the rendezvous, like a login page, is of no use.
    let taking = tokio::net::TcpListener::bind(address).await.unwrap();
    let report = found(&[at(address)]).await;
    assert_eq!(report.transport, Transport::None);
    let serving = rendezvous("127.0.0.1:0", None).await;
    let real = serving.address().clone();
    let there = (real.host.clone(), real.port);
    let pass_on = tokio::spawn(async move {
        loop {
            let (mut outside, _) = taking.accept().await.unwrap();
            let mut inside = tokio::net::TcpStream::connect(&there).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut outside, &mut inside).await });
        }
    });
    let report = found(&[RendezvousAddress { key: real.key, ..at(address) }]).await;
    assert_eq!((report.transport, report.udp(), report.lifetime), (Transport::Tcp, false, None));
    pass_on.abort();
}
