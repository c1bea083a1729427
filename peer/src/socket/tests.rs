//! Two sockets on loopback, alone and with QUIC over them.

use std::time::Duration;

use knothole_proto::certificate::{IdentitySecret, PEER_ALPN, client_config, server_config};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio::time::timeout;

use super::*;

const ALICE: VirtualAddress = VirtualAddress::new(1);
const BOB: VirtualAddress = VirtualAddress::new(2);
const SOON: Duration = Duration::from_secs(10);

/// Someone with a socket and QUIC over it.
struct Person {
    socket: Arc<Socket>,
    arrivals: mpsc::Receiver<Arrival>,
    endpoint: Endpoint,
    secret: IdentitySecret,
}

impl Person {
    fn new(seed: u8) -> Self {
        let secret = IdentitySecret::new([seed; 32]);
        let (socket, arrivals) = Socket::bind(0).unwrap();
        let crypto = QuicServerConfig::try_from(server_config(&secret, &[PEER_ALPN]).unwrap()).unwrap();
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.migration(false);
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint =
            Endpoint::new_with_abstract_socket(config, Some(server), socket.clone(), Arc::new(TokioRuntime)).unwrap();
        Self { socket, arrivals, endpoint, secret }
    }

    fn at(&self, host: &str) -> SocketAddr {
        SocketAddr::new(host.parse().unwrap(), self.socket.port())
    }

    fn listen(&self, to: VirtualAddress, at: SocketAddr) {
        self.socket.routes().admit(at, to);
    }

    fn route(&self, to: VirtualAddress, at: SocketAddr) {
        self.socket.routes().set_route(to, Some(at));
    }

    async fn dial(&self, to: VirtualAddress, other: &Self) -> Connection {
        let tls = client_config(&self.secret, other.secret.public_key(), PEER_ALPN).unwrap();
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        self.endpoint.connect_with(config, to.socket_addr(), "knothole").unwrap().await.unwrap()
    }

    async fn accept(&self) -> Connection {
        self.endpoint.accept().await.unwrap().await.unwrap()
    }
}

/// Alice and Bob, each knowing where the other is on both families' loopback, and going by `host`.
fn acquainted(host: &str) -> (Person, Person) {
    let (alice, bob) = (Person::new(1), Person::new(2));
    for loopback in ["127.0.0.1", "::1"] {
        alice.listen(BOB, bob.at(loopback));
        bob.listen(ALICE, alice.at(loopback));
    }
    alice.route(BOB, bob.at(host));
    bob.route(ALICE, alice.at(host));
    (alice, bob)
}

async fn connected(alice: &Person, bob: &Person) -> (Connection, Connection) {
    timeout(SOON, async { tokio::join!(alice.dial(BOB, bob), bob.accept()) }).await.unwrap()
}

/// Sends `length` bytes of a pattern, calling `halfway` when the receiver has half of them, and checks every byte.
async fn transfer(from: &Connection, to: &Connection, length: usize, halfway: impl FnOnce()) {
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 16) as u8;
    let send = async {
        let mut stream = from.open_uni().await.unwrap();
        for begin in (0..length).step_by(1 << 16) {
            let part: Vec<u8> = (begin..length.min(begin + (1 << 16))).map(byte).collect();
            stream.write_all(&part).await.unwrap();
        }
        stream.finish().unwrap();
    };
    let receive = async {
        let mut stream = to.accept_uni().await.unwrap();
        let (mut at, mut halfway) = (0, Some(halfway));
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.unwrap() {
            assert!(chunk.bytes.iter().enumerate().all(|(n, &got)| got == byte(at + n)), "after {at}");
            at += chunk.bytes.len();
            if at >= length / 2 {
                halfway.take().into_iter().for_each(|call| call());
            }
        }
        assert_eq!(at, length);
    };
    timeout(Duration::from_secs(60), async { tokio::join!(send, receive) }).await.unwrap();
}

#[tokio::test]
async fn both_families_have_the_same_port_and_a_taken_port_becomes_another() {
    let (first, _arrivals) = Socket::bind(0).unwrap();
    assert!(first.ports.iter().all(|port| port.number() == first.port()));
    let (second, _arrivals) = Socket::bind(first.port()).unwrap();
    assert_ne!(second.port(), first.port());
}

#[tokio::test]
async fn quic_runs_between_virtual_addresses_in_either_family() {
    for host in ["127.0.0.1", "::1"] {
        let (alice, bob) = acquainted(host);
        let (to_bob, to_alice) = connected(&alice, &bob).await;
        assert_eq!(to_alice.remote_address(), ALICE.socket_addr());
        transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
        assert_eq!(bob.socket.counters().dropped_unknown_source.count(), 0);
    }
}

#[tokio::test]
async fn a_transfer_outlives_a_change_of_both_routes_and_back() {
    let (alice, bob) = acquainted("127.0.0.1");
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    for host in ["::1", "127.0.0.1"] {
        transfer(&to_bob, &to_alice, 8 << 20, || {
            alice.route(BOB, bob.at(host));
            bob.route(ALICE, alice.at(host));
        })
        .await;
    }
    assert_eq!(alice.socket.routes().activity(BOB).epoch(), 3);
    assert!(to_bob.close_reason().is_none() && to_alice.close_reason().is_none());
}

#[tokio::test]
async fn a_transfer_outlives_an_outage_which_is_announced() {
    let (alice, bob) = acquainted("127.0.0.1");
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    let back_again = async {
        // A port where nobody listens takes everything and answers nothing.
        let lost = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        alice.route(BOB, lost.local_addr().unwrap());
        assert_eq!(alice.socket.routes().next_silent().await, BOB);
        let activity = alice.socket.routes().activity(BOB);
        let since = activity.unanswered_since().unwrap();
        assert!(activity.last_sent().unwrap() - since >= SILENCE_MS);
        alice.route(BOB, bob.at("::1"));
    };
    timeout(SOON, async { tokio::join!(back_again, transfer(&to_bob, &to_alice, 8 << 20, || {})) }).await.unwrap();
}

#[tokio::test]
async fn without_a_route_everything_is_dropped_and_counted_and_nothing_breaks() {
    let (alice, bob) = acquainted("127.0.0.1");
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    alice.socket.routes().set_route(BOB, None);
    let before = alice.socket.counters().dropped_no_route.count();
    let stream = async {
        let mut stream = to_bob.open_uni().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        while alice.socket.counters().dropped_no_route.count() == before {
            tokio::task::yield_now().await;
        }
        alice.route(BOB, bob.at("127.0.0.1"));
        stream.finish().unwrap();
    };
    let read = async { to_alice.accept_uni().await.unwrap().read_to_end(16).await.unwrap() };
    let ((), read) = timeout(SOON, async { tokio::join!(stream, read) }).await.unwrap();
    assert_eq!(read, b"hello");
}

#[tokio::test]
async fn what_is_not_quics_arrives_apart_and_strangers_are_dropped() {
    let mut bob = Person::new(2);
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = stranger.local_addr().unwrap();
    let dropped = [&[0x40; 50][..], &[0xc0; 1200], &[16; 9], &[]];
    for datagram in dropped.into_iter().chain([&[0, 1, 2][..], &[15; 40]]) {
        stranger.send_to(datagram, bob.at("127.0.0.1")).unwrap();
    }
    for wanted in [&[0, 1, 2][..], &[15; 40]] {
        let arrival = timeout(SOON, bob.arrivals.recv()).await.unwrap().unwrap();
        assert_eq!(arrival, Arrival { from, datagram: wanted.to_vec() });
    }
    assert_eq!(bob.socket.counters().dropped_unknown_source.count(), 2);
    assert_eq!(bob.socket.counters().dropped_unknown_kind.count(), 2);
}

#[tokio::test]
async fn our_own_datagrams_go_out_with_or_without_a_hop_limit_in_both_families() {
    for host in ["127.0.0.1", "::1"] {
        let (alice, mut bob) = (Person::new(1), Person::new(2));
        alice.socket.send(bob.at(host), &[1, 2, 3], None);
        alice.socket.send(bob.at(host), &[2, 3, 4], Some(1));
        for wanted in [vec![1, 2, 3], vec![2, 3, 4]] {
            let arrival = timeout(SOON, bob.arrivals.recv()).await.unwrap().unwrap();
            assert_eq!(arrival, Arrival { from: alice.at(host), datagram: wanted });
        }
        assert_eq!(alice.socket.counters().send_errors.count(), 0);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hop_limit_is_what_the_datagram_carries_and_only_that_one() {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
    use std::os::fd::AsRawFd;

    let (alice, _arrivals) = Socket::bind(0).unwrap();
    let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    setsockopt(&listener, sockopt::Ipv4RecvTtl, &true).unwrap();
    listener.set_read_timeout(Some(SOON)).unwrap();
    for ttl in [Some(3), None] {
        alice.send(listener.local_addr().unwrap(), &[1], ttl);
        let (mut byte, mut control) = ([0; 1], nix::cmsg_space!(i32));
        let mut parts = [IoSliceMut::new(&mut byte)];
        let message =
            recvmsg::<SockaddrIn>(listener.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).unwrap();
        let seen = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::Ipv4Ttl(ttl) => Some(ttl),
            _ => None,
        });
        assert_eq!(seen == Some(3), ttl.is_some(), "{seen:?}");
    }
}

#[tokio::test]
async fn a_full_queue_drops_what_comes_and_counts_it() {
    let (alice, mut bob) = (Person::new(1), Person::new(2));
    let all = ARRIVALS + 50;
    for _ in 0..all {
        alice.socket.send(bob.at("127.0.0.1"), &[1], None);
        tokio::task::yield_now().await;
    }
    let full = &bob.socket.counters().dropped_queue_full;
    timeout(SOON, async {
        while full.count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bob.arrivals.recv().await.unwrap().datagram, [1]);
}

#[tokio::test]
async fn a_coalesced_buffer_keeps_only_what_is_quics_under_the_virtual_address() {
    let (socket, mut arrivals) = Socket::bind(0).unwrap();
    let remote: SocketAddr = "192.0.2.7:700".parse().unwrap();
    socket.routes().admit(remote, BOB);
    let quic = |n: u8| [&[0x40, n][..], &[9; 8]].concat();
    let stun = |n: u8| [&[1, n][..], &[7; 8]].concat();
    let mut buffer = [quic(0), stun(1), stun(2), quic(3), stun(4), quic(5)[..4].to_vec()].concat();
    let mut meta = RecvMeta { addr: remote, len: buffer.len(), stride: 10, ecn: None, dst_ip: Some(remote.ip()) };
    socket.sort(&mut buffer, &mut meta);
    assert_eq!(buffer[..meta.len], [quic(0), quic(3), quic(5)[..4].to_vec()].concat());
    assert_eq!((meta.addr, meta.stride, meta.dst_ip), (BOB.socket_addr(), 10, None));
    for n in [1, 2, 4] {
        assert_eq!(arrivals.try_recv().unwrap(), Arrival { from: remote, datagram: stun(n) });
    }
}

/// Not a test of speed: prints the figure for whoever runs it with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_through_and_the_rate_is_printed() {
    const LENGTH: usize = 64 << 20;
    let (alice, bob) = acquainted("127.0.0.1");
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    let begin = Instant::now();
    let send = async {
        let mut stream = to_bob.open_uni().await.unwrap();
        let part = vec![5; 1 << 18];
        for _ in 0..LENGTH / part.len() {
            stream.write_all(&part).await.unwrap();
        }
        stream.finish().unwrap();
    };
    let receive = async {
        let (mut stream, mut read) = (to_alice.accept_uni().await.unwrap(), 0);
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.unwrap() {
            read += chunk.bytes.len();
        }
        read
    };
    let ((), read) = timeout(Duration::from_secs(120), async { tokio::join!(send, receive) }).await.unwrap();
    assert_eq!(read, LENGTH);
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "64 MiB in {seconds:.2} s: {:.0} MiB/s, up to {} segments a send, {} a receive, {} packets lost",
        64.0 / seconds,
        alice.socket.max_transmit_segments(),
        alice.socket.max_receive_segments(),
        to_bob.stats().path.lost_packets,
    );
}
