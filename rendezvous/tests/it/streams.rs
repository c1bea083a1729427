//! The rendezvous over TLS and TCP, on loopback: peers whose network lets no UDP through (docs/protocol.md, "TCP").
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an I/O test: it has sockets and a clock, and fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use knothole_proto::candidate::IntroductionId;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config, tunnel_client_config};
use knothole_proto::control::{Opened, PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{Header, Kind, RELAY, classify, flight_header, relay_header};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::{SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_proto::tunnel::{self, Datagrams};
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Loopback answers in milliseconds; what takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn serving() -> Serving {
    let config = Config {
        identity: IdentitySecret::new([1; 32]),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    };
    Serving::start(config).await.unwrap()
}

async fn connect(serving: &Serving) -> TlsStream<TcpStream> {
    let connection = TcpStream::connect(serving.bound()[0]).await.unwrap();
    let tls = TlsConnector::from(Arc::new(tunnel_client_config(serving.address().key).unwrap()));
    tls.connect(ServerName::try_from("rendezvous").unwrap(), connection).await.unwrap()
}

/// A peer behind a stream: a local UDP socket stands for the rendezvous, and what it gets goes through the stream.
struct Peer {
    id: PeerId,
    slot: u32,
    observed: SocketAddr,
    key: TagKey,
    channel: PeerChannel,
    stream: TlsStream<TcpStream>,
    datagrams: Datagrams,
}

impl Peer {
    async fn new(serving: &Serving, n: u8) -> Self {
        let mut stream = connect(serving).await;
        let mut datagrams = Datagrams::default();
        let pump = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let identity = IdentitySecret::new([n; 32]);
        let signing_in = sign_in(&identity, serving, pump.local_addr().unwrap());
        tokio::pin!(signing_in);
        let (mut from_quic, mut from_stream, mut at) = ([0; 2048], [0; 4096], None);
        let (answer, secret) = loop {
            tokio::select! {
                signed_in = &mut signing_in => break signed_in,
                received = pump.recv_from(&mut from_quic) => {
                    let (length, from) = received.unwrap();
                    at = Some(from);
                    put(&mut stream, &from_quic[..length]).await;
                }
                read = stream.read(&mut from_stream) => {
                    datagrams.put(&from_stream[..read.unwrap()]);
                    while let Some(datagram) = datagrams.take().unwrap() {
                        pump.send_to(datagram, at.unwrap()).await.unwrap();
                    }
                }
            }
        };
        let SignInAnswer::Registered { slot, observed, .. } = answer else { panic!("{answer:?}") };
        let (key, channel) = (TagKey::new(&secret), PeerChannel::of_peer(&secret, slot));
        Self { id: identity.public_key(), slot, observed, key, channel, stream, datagrams }
    }

    /// The next datagram that is not QUIC's goodbye.
    async fn receive(&mut self) -> Vec<u8> {
        let receiving = async {
            loop {
                while let Some(datagram) = self.datagrams.take().unwrap() {
                    if classify(datagram[0]) != Kind::Quic {
                        return datagram.to_vec();
                    }
                }
                let mut bytes = [0; 4096];
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert_ne!(count, 0, "the stream has ended");
                self.datagrams.put(&bytes[..count]);
            }
        };
        timeout(PATIENCE, receiving).await.unwrap()
    }

    /// Hears that an invitation is taken up, without an address; returns the relay channel. They come in either order.
    async fn accepted(&mut self) -> u32 {
        let (mut accepted, mut channel) = (false, None);
        loop {
            match self.hear().await {
                ToPeer::Accepted { observed, .. } => {
                    assert_eq!(observed, "127.0.0.1:0".parse().unwrap());
                    accepted = true;
                }
                ToPeer::Relay { channel: opened, .. } => channel = Some(opened),
                other => panic!("{other:?}"),
            }
            if let Some(channel) = channel.filter(|_| accepted) {
                return channel;
            }
        }
    }

    /// The next relay frame, whatever control datagrams come before it.
    async fn receive_frame(&mut self) -> Vec<u8> {
        loop {
            let datagram = self.receive().await;
            if datagram[0] == RELAY {
                return datagram;
            }
        }
    }

    async fn say(&mut self, message: ToRendezvous) {
        self.channel.send(message, Instant::now()).unwrap();
        self.flush().await;
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.channel.poll_transmit(Instant::now()) {
            put(&mut self.stream, &datagram).await;
        }
    }

    /// The next message; acknowledged.
    async fn hear(&mut self) -> ToPeer {
        loop {
            let datagram = self.receive().await;
            let opened = self.channel.handle(Header::parse(&datagram).unwrap(), &datagram);
            self.flush().await;
            if let Opened::Fresh(Some(message)) = opened {
                return message;
            }
        }
    }
}

async fn put(stream: &mut TlsStream<TcpStream>, datagram: &[u8]) {
    let mut bytes = Vec::new();
    assert!(tunnel::put(datagram, &mut bytes));
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
}

async fn sign_in(identity: &IdentitySecret, serving: &Serving, at: SocketAddr) -> (SignInAnswer, RegistrationSecret) {
    let tls = client_config(identity, serving.address().key, RENDEZVOUS_ALPN).unwrap();
    let quic = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = EndpointConfig::default();
    // The first byte tells what is QUIC (docs/protocol.md, "One port").
    config.grease_quic_bit(false);
    let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime)).unwrap();
    let connection = endpoint.connect_with(quic, at, "rendezvous").unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&to_bytes(&SignInRequest { interval_s: 20, unseen: false })).await.unwrap();
    send.finish().unwrap();
    let answer = from_bytes(&receive.read_to_end(1024).await.unwrap()).unwrap();
    let mut secret = [0; 32];
    connection.export_keying_material(&mut secret, b"EXPORTER-knothole-registration", b"").unwrap();
    (answer, RegistrationSecret(secret))
}

#[tokio::test]
async fn a_peer_without_udp_signs_in_keeps_alive_and_is_told_goodbye() {
    let serving = serving().await;
    let mut peer = Peer::new(&serving, 2).await;
    let told: SocketAddr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(peer.observed, told, "its network, and that no UDP passes");

    put(&mut peer.stream, &keepalive::keepalive(&peer.key, peer.slot, 1, true)).await;
    let answer = peer.receive().await;
    let observed = keepalive::parse_from_rendezvous(&peer.key, Header::parse(&answer).unwrap(), &answer);
    assert_eq!(observed, Some(FromRendezvous::Observed { counter: 1, address: told }));
    let counters = serving.counters().await;
    assert_eq!((counters.streams_opened, counters.signed_in, counters.keepalives), (1, 1, 1));

    let closing = tokio::spawn(serving.shutdown());
    assert_eq!(peer.hear().await, ToPeer::Closing);
    // TLS says that this is the end; cut off, it would be an error.
    let end = async {
        let mut rest = Vec::new();
        peer.stream.read_to_end(&mut rest).await.unwrap();
    };
    timeout(PATIENCE, end).await.unwrap();
    timeout(PATIENCE, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_without_udp_are_introduced_without_addresses_and_talk_through_the_relay() {
    let serving = serving().await;
    let (mut alice, mut bob) = (Peer::new(&serving, 2).await, Peer::new(&serving, 3).await);
    let introduction = IntroductionId([7; 12]);
    alice
        .say(ToRendezvous::Invite {
            introduction,
            to: bob.id,
            candidates: Vec::new(),
            relay_only: false,
            greeting: None,
        })
        .await;
    let ToPeer::Invited { from, observed, channel: Some(offered), .. } = bob.hear().await else {
        panic!("no invitation")
    };
    assert_eq!((from, observed), (alice.id, "127.0.0.1:0".parse().unwrap()));
    let ToPeer::Relay { channel, .. } = alice.hear().await else { panic!("no relay") };
    assert_eq!(channel, offered);
    // The first flight, which goes by the invitation's name, arrives as a frame.
    let flight = [&flight_header(alice.slot, introduction)[..], &[0x40; 600]].concat();
    put(&mut alice.stream, &flight).await;
    assert_eq!(bob.receive_frame().await, [&relay_header(channel)[..], &[0x40; 600]].concat());
    bob.say(ToRendezvous::Accept { introduction, to: alice.id, candidates: Vec::new(), relay_only: false }).await;
    let ToPeer::Accepted { observed, .. } = alice.hear().await else { panic!("not accepted") };
    assert_eq!(observed, "127.0.0.1:0".parse().unwrap());

    let frame = |n: u8| [&relay_header(channel)[..], &[0x40 | n; 1400]].concat();
    put(&mut alice.stream, &frame(1)).await;
    assert_eq!(bob.receive_frame().await, frame(1));
    put(&mut bob.stream, &frame(2)).await;
    assert_eq!(alice.receive_frame().await, frame(2));
}

#[tokio::test]
async fn a_registration_moves_to_udp_when_a_keepalive_comes_that_way_and_back() {
    let serving = serving().await;
    let mut peer = Peer::new(&serving, 2).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (here, at) = (socket.local_addr().unwrap(), serving.bound()[0]);
    let mut buffer = [0; 2048];

    socket.send_to(&keepalive::keepalive(&peer.key, peer.slot, 1, true), at).await.unwrap();
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let heard =
        |datagram: &[u8]| keepalive::parse_from_rendezvous(&peer.key, Header::parse(datagram).unwrap(), datagram);
    let Some(FromRendezvous::Challenge { token }) = heard(&buffer[..length]) else { panic!("no challenge") };
    socket.send_to(&keepalive::moved(&peer.key, peer.slot, 2, token), at).await.unwrap();
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(heard(&buffer[..length]), Some(FromRendezvous::Observed { counter: 2, address: here }));

    put(&mut peer.stream, &keepalive::keepalive(&peer.key, peer.slot, 3, true)).await;
    let challenge = peer.receive().await;
    let challenge = keepalive::parse_from_rendezvous(&peer.key, Header::parse(&challenge).unwrap(), &challenge);
    let Some(FromRendezvous::Challenge { token }) = challenge else { panic!("no challenge") };
    put(&mut peer.stream, &keepalive::moved(&peer.key, peer.slot, 4, token)).await;
    let answer = peer.receive().await;
    let observed = keepalive::parse_from_rendezvous(&peer.key, Header::parse(&answer).unwrap(), &answer);
    assert_eq!(observed, Some(FromRendezvous::Observed { counter: 4, address: "127.0.0.1:0".parse().unwrap() }));
    assert_eq!(serving.counters().await.moved, 2);
}

/// Whether the rendezvous ends this connection in time.
async fn ends(mut stream: impl AsyncReadExt + Unpin) -> bool {
    let mut bytes = [0; 1024];
    timeout(PATIENCE, async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} }).await.is_ok()
}

#[tokio::test]
async fn garbage_slow_handshakes_and_lengths_that_lie_end_the_connection_and_are_counted() {
    let serving = serving().await;
    let at = serving.bound()[0];
    let mut garbage = TcpStream::connect(at).await.unwrap();
    garbage.write_all(&[0x41; 10_000]).await.unwrap();
    let slow = TcpStream::connect(at).await.unwrap();
    let mut begun = TcpStream::connect(at).await.unwrap();
    begun.write_all(&[22, 3, 1, 2]).await.unwrap();
    assert!(ends(garbage).await && ends(slow).await && ends(begun).await);
    for lie in [0_u16, 1501, u16::MAX] {
        let mut stream = connect(&serving).await;
        stream.write_all(&lie.to_be_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        assert!(ends(stream).await, "{lie}");
    }
    // An empty promise is kept until the stream ends, and what is no datagram of ours goes nowhere.
    let mut stream = connect(&serving).await;
    put(&mut stream, &[0; 20]).await;
    put(&mut stream, &[255; 1500]).await;
    stream.write_all(&1500_u16.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(serving.counters().await.streams_failed, 6);
    Peer::new(&serving, 2).await;
}

#[tokio::test]
async fn a_thousand_connections_of_one_source_are_512_and_whoever_is_there_stays() {
    let serving = serving().await;
    let mut peer = Peer::new(&serving, 2).await;
    let mut flood = Vec::new();
    for _ in 0..1000 {
        flood.push(TcpStream::connect(serving.bound()[0]).await.unwrap());
    }
    put(&mut peer.stream, &keepalive::keepalive(&peer.key, peer.slot, 1, true)).await;
    peer.receive().await;
    let refused = async {
        while serving.counters().await.streams_refused < 1001 - 512 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    drop(flood);
    // Who leaves makes room.
    let again = async {
        loop {
            let connection = TcpStream::connect(serving.bound()[0]).await.unwrap();
            let tls = TlsConnector::from(Arc::new(tunnel_client_config(serving.address().key).unwrap()));
            if tls.connect(ServerName::try_from("rendezvous").unwrap(), connection).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_reads_nothing_costs_a_queue_and_no_more() {
    let serving = serving().await;
    let (mut alice, mut bob) = (Peer::new(&serving, 2).await, Peer::new(&serving, 3).await);
    let introduction = IntroductionId([7; 12]);
    alice
        .say(ToRendezvous::Invite {
            introduction,
            to: bob.id,
            candidates: Vec::new(),
            relay_only: false,
            greeting: None,
        })
        .await;
    bob.hear().await;
    bob.say(ToRendezvous::Accept { introduction, to: alice.id, candidates: Vec::new(), relay_only: false }).await;
    let channel = alice.accepted().await;
    // Bob reads no more. What is relayed for alice at once is more than the queue and the kernel's buffers hold.
    let frame = [&relay_header(channel)[..], &[0x40; 1400]].concat();
    for _ in 0..1300 {
        put(&mut alice.stream, &frame).await;
    }
    let dropped = async {
        loop {
            let counters = serving.counters().await;
            if counters.forwarded + counters.dropped_quota == 1300 {
                return counters.dropped_stream;
            }
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, dropped).await.unwrap() > 0);
    put(&mut alice.stream, &keepalive::keepalive(&alice.key, alice.slot, 1, true)).await;
    alice.receive().await;
}
