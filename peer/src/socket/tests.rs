//! Two sockets on loopback, alone and with QUIC over them.

use std::io::IoSliceMut;
use std::task::Context;
use std::time::Duration;

use knothole_proto::certificate::{IdentitySecret, PEER_ALPN, client_config, server_config};
use knothole_proto::datagram::relay_header;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::udp::Transmit;
use quinn::{AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio::time::timeout;

use super::*;

mod bases;
mod renewal;

const ALICE: VirtualAddress = VirtualAddress::new(1);
const BOB: VirtualAddress = VirtualAddress::new(2);
const SOON: Duration = Duration::from_secs(30);

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

    fn listen(&self, to: VirtualAddress, at: impl Into<Route>) {
        self.socket.routes().admit(at, to);
    }

    fn route(&self, to: VirtualAddress, route: impl Into<Route>) {
        self.socket.routes().set_route(to, Some(route.into()));
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
        assert_eq!(arrival, Arrival { base: Base::MAIN, from, datagram: wanted.to_vec() });
    }
    assert_eq!(bob.socket.counters().dropped_unknown_source.count(), 2);
    assert_eq!(bob.socket.counters().dropped_unknown_kind.count(), 2);
}

#[tokio::test]
async fn our_own_datagrams_go_out_with_or_without_a_hop_limit_in_both_families() {
    for host in ["127.0.0.1", "::1"] {
        let (alice, mut bob) = (Person::new(1), Person::new(2));
        alice.socket.send(Base::MAIN, bob.at(host), &[1, 2, 3], None);
        alice.socket.send(Base::MAIN, bob.at(host), &[2, 3, 4], Some(1));
        for wanted in [vec![1, 2, 3], vec![2, 3, 4]] {
            let arrival = timeout(SOON, bob.arrivals.recv()).await.unwrap().unwrap();
            assert_eq!(arrival, Arrival { base: Base::MAIN, from: alice.at(host), datagram: wanted });
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
        alice.send(Base::MAIN, listener.local_addr().unwrap(), &[1], ttl);
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
        alice.socket.send(Base::MAIN, bob.at("127.0.0.1"), &[1], None);
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
    socket.sort(Base::MAIN, &mut buffer, &mut meta, &mut Waiting::default());
    assert_eq!(buffer[..meta.len], [quic(0), quic(3), quic(5)[..4].to_vec()].concat());
    assert_eq!((meta.addr, meta.stride, meta.dst_ip), (BOB.socket_addr(), 10, None));
    for n in [1, 2, 4] {
        assert_eq!(arrivals.try_recv().unwrap(), Arrival { base: Base::MAIN, from: remote, datagram: stun(n) });
    }
}

#[tokio::test]
async fn frames_are_unwrapped_by_channel_and_what_is_in_between_goes_where_it_belongs() {
    const CAROL: VirtualAddress = VirtualAddress::new(3);
    const RENDEZVOUS: VirtualAddress = VirtualAddress::new(4);
    let (socket, mut arrivals) = Socket::bind(0).unwrap();
    let rendezvous: SocketAddr = "192.0.2.7:700".parse().unwrap();
    socket.routes().admit(rendezvous, RENDEZVOUS);
    socket.routes().admit_relay(rendezvous, 7, BOB);
    socket.routes().admit_relay(rendezvous, 8, CAROL);
    let frame = |channel, n: u8| [&relay_header(channel)[..], &[0x40, n]].concat();
    let control = [&[9, 1][..], &[7; 8]].concat();
    let sign_in = [&[0x40, 1][..], &[9; 8]].concat();
    let nothing = [&relay_header(7)[..], &[10, 10]].concat();
    let mut buffer =
        [control.clone(), frame(7, 1), frame(9, 2), frame(8, 3), sign_in.clone(), nothing, frame(7, 4)].concat();
    buffer.extend([10, 0, 0]);
    let mut meta = RecvMeta { addr: rendezvous, len: buffer.len(), stride: 10, ecn: None, dst_ip: None };
    let mut waiting = Waiting::default();
    socket.sort(Base::MAIN, &mut buffer, &mut meta, &mut waiting);
    assert_eq!((&buffer[..meta.len], meta.addr, meta.stride), (&[0x40, 1, 0x40, 4][..], BOB.socket_addr(), 2));
    let (mut first, mut second) = ([0; 64], [0; 64]);
    let (mut buffers, mut metas) = ([IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)], [meta; 2]);
    assert_eq!(waiting.deliver(&mut buffers, &mut metas), 2);
    assert_eq!((&buffers[0][..metas[0].len], metas[0].addr), (&[0x40, 3][..], CAROL.socket_addr()));
    assert_eq!((&buffers[1][..metas[1].len], metas[1].addr), (&sign_in[..], RENDEZVOUS.socket_addr()));
    assert_eq!(arrivals.try_recv().unwrap(), Arrival { base: Base::MAIN, from: rendezvous, datagram: control });
    let early = Arrival { base: Base::MAIN, from: rendezvous, datagram: frame(9, 2) };
    assert_eq!(arrivals.try_recv().unwrap(), early, "what comes before the channel is known goes round by the engine");
    assert!(arrivals.try_recv().is_err(), "no other relay frame does");
    let counters = socket.counters();
    assert_eq!((counters.dropped_unknown_channel.count(), counters.dropped_unknown_kind.count()), (0, 2));
}

#[tokio::test]
async fn a_frame_that_came_before_its_channel_was_known_reaches_quic_once_it_is_and_no_other_does() {
    let (socket, mut arrivals) = Socket::bind(0).unwrap();
    let rendezvous: SocketAddr = "192.0.2.7:700".parse().unwrap();
    let frame = |channel, n: u8| [&relay_header(channel)[..], &[0x40, n]].concat();
    let mut come = |datagram: &[u8]| {
        let mut buffer = datagram.to_vec();
        let (len, stride) = (buffer.len(), buffer.len());
        let mut meta = RecvMeta { addr: rendezvous, len, stride, ecn: None, dst_ip: None };
        socket.sort(Base::MAIN, &mut buffer, &mut meta, &mut Waiting::default());
        arrivals.try_recv().ok()
    };
    assert_eq!(come(&frame(7, 1)), None, "the engine has nothing to do with channels of those whom we do not know");
    socket.routes().admit(rendezvous, VirtualAddress::new(4));
    let early = come(&frame(7, 1)).unwrap();
    socket.receive(&early);
    assert_eq!(socket.counters().dropped_unknown_channel.count(), 2);

    let mut receiving = std::pin::pin!(next_received(&socket));
    assert!(timeout(Duration::from_millis(10), receiving.as_mut()).await.is_err(), "nothing has come");
    socket.routes().admit_relay(rendezvous, 7, BOB);
    socket.receive(&early);
    let received = timeout(Duration::from_secs(5), receiving).await.unwrap();
    assert_eq!(received, [(BOB.socket_addr(), vec![0x40, 1])]);

    for _ in 0..1000 {
        socket.receive(&early);
    }
    assert_eq!(next_received(&socket).await.len() as u64, 4, "as many as there are buffers");
    let mut more = 4;
    while more < 64 {
        more += next_received(&socket).await.len();
    }
    assert_eq!(more, 64, "and what waits is bounded");
}

/// What a socket without an endpoint gives to QUIC next.
async fn next_received(socket: &Socket) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut bytes = vec![0; 4 << 16];
    let mut buffers: Vec<IoSliceMut<'_>> = bytes.chunks_mut(1 << 16).map(IoSliceMut::new).collect();
    let mut metas = [RecvMeta::default(); 4];
    let count = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffers, &mut metas)).await.unwrap();
    (0..count)
        .filter(|&n| metas[n].len > 0)
        .flat_map(|n| {
            let datagrams = buffers[n][..metas[n].len].chunks(metas[n].stride);
            datagrams.map(|datagram| (metas[n].addr, datagram.to_vec())).collect::<Vec<_>>()
        })
        .collect()
}

#[tokio::test]
async fn frames_of_two_contacts_in_one_train_of_the_kernels_both_reach_quic() {
    const CAROL: VirtualAddress = VirtualAddress::new(3);
    let (socket, _arrivals) = Socket::bind(0).unwrap();
    let rendezvous = Port::bind(false, 0).unwrap();
    let at: SocketAddr = ([127, 0, 0, 1], rendezvous.number()).into();
    socket.routes().admit_relay(at, 7, BOB);
    socket.routes().admit_relay(at, 8, CAROL);
    let datagram = |n: u8| vec![0x40 | n; 1000];
    let frames: Vec<u8> =
        (0..20).flat_map(|n| [&relay_header(7 + u32::from(n % 2))[..], &datagram(n)].concat()).collect();
    let segment = 1000 + RELAY_HEADER;
    rendezvous.writable().await;
    for part in frames.chunks(segment * rendezvous.state().max_gso_segments()) {
        let destination = ([127, 0, 0, 1], socket.port()).into();
        let transmit = Transmit { destination, ecn: None, contents: part, segment_size: Some(segment), src_ip: None };
        rendezvous.transmit(&transmit, &Counters::default()).unwrap();
    }
    let mut all = Vec::new();
    while all.len() < 20 {
        all.extend(timeout(SOON, next_received(&socket)).await.unwrap());
    }
    for (contact, odd) in [(BOB, 0), (CAROL, 1)] {
        let got: Vec<Vec<u8>> = all
            .iter()
            .filter(|(from, _)| *from == contact.socket_addr())
            .map(|(_, datagram)| datagram.clone())
            .collect();
        assert_eq!(got, (0..20).filter(|n| n % 2 == odd).map(datagram).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_relay_route_frames_every_segment_and_splits_what_is_too_long_for_the_kernel() {
    let (alice, _arrivals) = Socket::bind(0).unwrap();
    let rendezvous = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rendezvous.set_read_timeout(Some(SOON)).unwrap();
    let route = Route::Relay { rendezvous: rendezvous.local_addr().unwrap(), channel: 0x0102_0304 };
    alice.routes().set_route(BOB, Some(route));
    alice.ports[0].writable().await;
    // 64 of 1016 bytes would go at once as they are, and do not with their headers.
    assert!(64 * 1016 < 65_507 && frames::at_once(8, 1016, 64) < 64);
    for (count, length, last) in [(1, 5, 5), (2, 1000, 1), (9, 1200, 1200), (64, 1016, 7), (64, 1016, 1016)] {
        let contents: Vec<u8> = (0..(count - 1) * length + last).map(|at| 0x40 | (at / length) as u8 & 0x3f).collect();
        let destination = BOB.socket_addr();
        let segment_size = (count > 1).then_some(length);
        alice.try_send(&Transmit { destination, ecn: None, contents: &contents, segment_size, src_ip: None }).unwrap();
        for wanted in contents.chunks(length) {
            let mut frame = [0; 2000];
            let received = rendezvous.recv(&mut frame).unwrap();
            assert_eq!(parse_relay(&frame[..received]), Some((0x0102_0304, wanted)), "{count} of {length}");
        }
    }
    // What no datagram can hold with a header is lost as on any smaller path.
    let contents = vec![0x40; 65_507];
    let destination = BOB.socket_addr();
    alice
        .try_send(&Transmit { destination, ecn: None, contents: &contents, segment_size: None, src_ip: None })
        .unwrap();
    assert_eq!(alice.counters().send_errors.count() + alice.counters().dropped_no_room.count(), 0);
}

/// A rendezvous that does nothing but relay between Alice and Bob: each one's frames go to the other as they are.
struct Relay {
    at: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

const CHANNEL: u32 = 7;

impl Relay {
    /// Relays frames up to `largest` bytes, and loses longer ones.
    fn between(alice: &Person, bob: &Person, largest: usize) -> Self {
        let port = Port::bind(false, 0).unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], port.number()));
        alice.socket.routes().admit_relay(at, CHANNEL, BOB);
        bob.socket.routes().admit_relay(at, CHANNEL, ALICE);
        let (alice, bob) = (alice.at("127.0.0.1"), bob.at("127.0.0.1"));
        let task = tokio::spawn(async move {
            let counters = Counters::default();
            let mut bytes = vec![0; 8 << 16];
            port.writable().await;
            loop {
                let mut buffers: Vec<IoSliceMut<'_>> = bytes.chunks_mut(1 << 16).map(IoSliceMut::new).collect();
                let mut metas = [RecvMeta::default(); 8];
                let receive = |cx: &mut Context<'_>| port.poll_receive(cx, &mut buffers, &mut metas, &counters);
                let count = std::future::poll_fn(receive).await;
                for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                    let destination = match meta.addr {
                        from if from == alice => bob,
                        from if from == bob => alice,
                        _ => continue,
                    };
                    let frames = &buffer[..meta.len];
                    assert!(frames.chunks(meta.stride).all(|frame| parse_relay(frame).unwrap().0 == CHANNEL));
                    if meta.stride <= largest {
                        let segment_size = (meta.len > meta.stride).then_some(meta.stride);
                        let transmit =
                            Transmit { destination, ecn: None, contents: frames, segment_size, src_ip: None };
                        // What there is no room for is lost, as anywhere on the way.
                        let _ = port.transmit(&transmit, &counters);
                    }
                }
            }
        });
        Self { at, task }
    }

    fn take(&self, alice: &Person, bob: &Person) {
        let route = Route::Relay { rendezvous: self.at, channel: CHANNEL };
        alice.route(BOB, route);
        bob.route(ALICE, route);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_transfer_goes_through_a_relay_then_straight_and_through_the_relay_again() {
    let (alice, bob) = acquainted("127.0.0.1");
    let relay = Relay::between(&alice, &bob, usize::MAX);
    relay.take(&alice, &bob);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    assert_eq!(to_alice.remote_address(), ALICE.socket_addr());
    transfer(&to_bob, &to_alice, 8 << 20, || {}).await;
    let activity = alice.socket.routes().activity(BOB);
    assert_eq!(activity.epoch(), 2, "there was a direct route to begin with");
    assert!(activity.last_received().is_some());
    transfer(&to_bob, &to_alice, 8 << 20, || {
        alice.route(BOB, bob.at("::1"));
        bob.route(ALICE, alice.at("::1"));
    })
    .await;
    transfer(&to_bob, &to_alice, 8 << 20, || relay.take(&alice, &bob)).await;
    assert_eq!(activity.epoch(), 4);
    assert!(to_bob.close_reason().is_none() && to_alice.close_reason().is_none());
    for person in [&alice, &bob] {
        let counters = person.socket.counters();
        assert_eq!(counters.dropped_unknown_channel.count() + counters.dropped_unknown_source.count(), 0);
        assert_eq!(counters.send_errors.count(), 0);
    }
}

#[tokio::test]
async fn a_transfer_survives_a_relay_that_has_no_room_for_datagrams_of_the_direct_path() {
    let (alice, bob) = acquainted("127.0.0.1");
    let relay = Relay::between(&alice, &bob, 1300);
    let (to_bob, to_alice) = connected(&alice, &bob).await;
    // What is sent meanwhile makes QUIC find out; on a busy machine some of its probes get lost.
    let until = async |found: &dyn Fn(u16) -> bool| {
        while !found(to_bob.stats().path.current_mtu) {
            transfer(&to_bob, &to_alice, 1 << 20, || {}).await;
        }
    };
    timeout(SOON, until(&|mtu| mtu > 1300)).await.unwrap();
    transfer(&to_bob, &to_alice, 2 << 20, || relay.take(&alice, &bob)).await;
    timeout(SOON, until(&|mtu| mtu <= 1300)).await.unwrap();
}

/// Not a test of speed: prints the figure for whoever runs it with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_through_and_the_rate_is_printed() {
    let (alice, bob) = acquainted("127.0.0.1");
    print_rate("direct", &alice, &bob).await;
}

/// The same through a relay, which has its share of the same processors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_go_through_a_relay_and_the_rate_is_printed() {
    let (alice, bob) = acquainted("127.0.0.1");
    let relay = Relay::between(&alice, &bob, usize::MAX);
    relay.take(&alice, &bob);
    print_rate("relayed", &alice, &bob).await;
}

async fn print_rate(how: &str, alice: &Person, bob: &Person) {
    const LENGTH: usize = 64 << 20;
    let (to_bob, to_alice) = connected(alice, bob).await;
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
        "64 MiB {how} in {seconds:.2} s: {:.0} MiB/s, up to {} segments a send, {} a receive, {} packets lost",
        64.0 / seconds,
        alice.socket.max_transmit_segments(),
        alice.socket.max_receive_segments(),
        to_bob.stats().path.lost_packets,
    );
}
