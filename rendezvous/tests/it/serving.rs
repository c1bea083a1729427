//! The rendezvous with real sockets, on loopback: sign-in over QUIC (docs/protocol.md, "Sign-in"), keepalives and STUN on
//! the same port.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "an I/O test: it has sockets and a clock, and fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use knothole_proto::candidate::IntroductionId;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::control::{Opened, PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{CONTROL, Header, relay_header};
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::{SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_proto::stun::{TransactionId, discovery};
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving, StartError};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};
use tokio::net::UdpSocket;

fn config(listen: &[&str]) -> Config {
    Config {
        identity: IdentitySecret::new([1; 32]),
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    }
}

/// What came of a sign-in.
struct SignedIn {
    answer: SignInAnswer,
    secret: RegistrationSecret,
}

/// Passes datagrams between one client and a rendezvous, and counts the Retry packets among the answers.
struct Tap {
    at: SocketAddr,
    retries: Arc<AtomicUsize>,
}

impl Tap {
    async fn before(rendezvous: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(rendezvous).await.unwrap();
        let tap = Self { at: near.local_addr().unwrap(), retries: Arc::default() };
        let retries = tap.retries.clone();
        tokio::spawn(async move {
            let mut client = None;
            let (mut asked, mut answered) = ([0; 2048], [0; 2048]);
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut asked) => {
                        client = Some(from);
                        let _ = far.send(&asked[..length]).await;
                    }
                    Ok(length) = far.recv(&mut answered) => {
                        // A long header of type 3 (RFC 9000 section 17.2.5).
                        if answered[0] & 0xf0 == 0xf0 {
                            retries.fetch_add(1, Ordering::SeqCst);
                        }
                        if let Some(client) = client {
                            let _ = near.send_to(&answered[..length], client).await;
                        }
                    }
                    else => break,
                }
            }
        });
        tap
    }

    fn take_retries(&self) -> usize {
        self.retries.swap(0, Ordering::SeqCst)
    }
}

struct Client {
    socket: UdpSocket,
    endpoint: Endpoint,
    quic: ClientConfig,
}

impl Client {
    /// A peer whose QUIC and whose own datagrams leave from the same port, as a peer's do. The two sockets are one to
    /// the kernel; what arrives is read by one of them at a time.
    async fn new(serving: &Serving, n: u8) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let endpoint =
            Endpoint::new(EndpointConfig::default(), None, socket.try_clone().unwrap(), Arc::new(TokioRuntime))
                .unwrap();
        let tls = client_config(&IdentitySecret::new([n; 32]), serving.address().key, RENDEZVOUS_ALPN).unwrap();
        let quic = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        socket.set_nonblocking(true).unwrap();
        Self { socket: UdpSocket::from_std(socket).unwrap(), endpoint, quic }
    }

    async fn sign_in(&self, to: SocketAddr) -> SignedIn {
        let connection = self.endpoint.connect_with(self.quic.clone(), to, "rendezvous").unwrap().await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&to_bytes(&SignInRequest { interval_s: 20, unseen: false })).await.unwrap();
        send.finish().unwrap();
        let answer = from_bytes(&receive.read_to_end(1024).await.unwrap()).unwrap();
        let mut secret = [0; 32];
        connection.export_keying_material(&mut secret, b"EXPORTER-knothole-registration", b"").unwrap();
        connection.close(0_u32.into(), b"");
        SignedIn { answer, secret: RegistrationSecret(secret) }
    }

    /// Stops QUIC, so that it takes no more datagrams from the socket.
    async fn stop_quic(self) -> UdpSocket {
        self.endpoint.wait_idle().await;
        drop(self.endpoint);
        // quinn has the kernel join what arrives together. From now on each datagram is read by itself.
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&self.socket, nix::sys::socket::sockopt::UdpGroSegment, &false).unwrap();
        self.socket
    }
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let received = tokio::time::timeout(Duration::from_secs(20), socket.recv_from(&mut buffer)).await;
    let (length, _) = received.unwrap_or_else(|_| panic!("no answer within 5 s")).unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn a_peer_signs_in_keeps_alive_and_is_told_when_the_rendezvous_closes() {
    let serving = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let at = serving.bound()[0];
    let client = Client::new(&serving, 2).await;
    let here = client.socket.local_addr().unwrap();
    let SignedIn { answer, secret, .. } = client.sign_in(at).await;
    let SignInAnswer::Registered { slot, lifetime_s, observed, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((lifetime_s, observed), (40, here));

    let socket = client.stop_quic().await;
    let key = TagKey::new(&secret);
    socket.send_to(&keepalive::keepalive(&key, slot, 1, true), at).await.unwrap();
    let datagram = receive(&socket).await;
    let header = Header::parse(&datagram).unwrap();
    let expected = FromRendezvous::Observed { counter: 1, address: here };
    assert_eq!(keepalive::parse_from_rendezvous(&key, header, &datagram), Some(expected));
    assert_eq!(serving.counters().await.keepalives, 1);

    let closing = tokio::spawn(serving.shutdown());
    let datagram = receive(&socket).await;
    let header = Header::parse(&datagram).unwrap();
    assert_eq!(header.kind, CONTROL);
    let mut channel = PeerChannel::of_peer(&secret, slot);
    assert_eq!(channel.handle(header, &datagram), Opened::Fresh(Some(ToPeer::Closing)));
    let acknowledgement = channel.poll_transmit(std::time::Instant::now()).unwrap();
    socket.send_to(&acknowledgement, at).await.unwrap();
    closing.await.unwrap();
}

/// A registered peer that speaks by its socket.
struct Registered {
    socket: UdpSocket,
    channel: PeerChannel,
    at: SocketAddr,
}

impl Registered {
    async fn new(serving: &Serving, n: u8) -> Self {
        let (client, at) = (Client::new(serving, n).await, serving.bound()[0]);
        let SignedIn { answer, secret, .. } = client.sign_in(at).await;
        let SignInAnswer::Registered { slot, .. } = answer else { panic!("{answer:?}") };
        Self { socket: client.stop_quic().await, channel: PeerChannel::of_peer(&secret, slot), at }
    }

    async fn say(&mut self, message: ToRendezvous) {
        self.channel.send(message, std::time::Instant::now()).unwrap();
        self.flush().await;
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.channel.poll_transmit(std::time::Instant::now()) {
            self.socket.send_to(&datagram, self.at).await.unwrap();
        }
    }

    /// The next message; what comes with it is acknowledged.
    async fn hear(&mut self) -> ToPeer {
        loop {
            let datagram = receive(&self.socket).await;
            let header = Header::parse(&datagram).unwrap();
            let opened = self.channel.handle(header, &datagram);
            self.flush().await;
            if let Opened::Fresh(Some(message)) = opened {
                return message;
            }
        }
    }
}

/// What leaves as a train arrives as single datagrams.
#[tokio::test]
async fn relay_frames_sent_together_arrive_whole_and_in_order_at_the_other_peer() {
    let serving = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let (mut alice, mut bob) = (Registered::new(&serving, 2).await, Registered::new(&serving, 3).await);
    let id = |n| IdentitySecret::new([n; 32]).public_key();
    let introduction = IntroductionId([7; 12]);
    alice
        .say(ToRendezvous::Invite {
            introduction,
            to: id(3),
            candidates: Vec::new(),
            relay_only: false,
            greeting: None,
        })
        .await;
    let ToPeer::Relay { channel, with, .. } = alice.hear().await else { panic!("a channel") };
    assert_eq!(with, id(3));
    let ToPeer::Invited { channel: offered, .. } = bob.hear().await else { panic!("an invitation") };
    assert_eq!(offered, Some(channel));
    bob.say(ToRendezvous::Accept { introduction, to: id(2), candidates: Vec::new(), relay_only: false }).await;
    assert!(matches!(alice.hear().await, ToPeer::Accepted { .. }));

    // Lengths as QUIC has them: many of one size, a shorter one, some that differ, one as long as there may be.
    let lengths = [[1208; 20].as_slice(), &[90], &[1208; 3], &[40, 41, 42, 1472]].concat();
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        let frames = lengths.iter().zip(0..).map(|(length, n)| {
            let mut frame = relay_header(channel).to_vec();
            frame.extend([0x41, n]);
            frame.resize(*length, n);
            frame
        });
        let frames: Vec<_> = frames.collect();
        for frame in &frames {
            from.socket.send_to(frame, from.at).await.unwrap();
        }
        for frame in &frames {
            let mut received = receive(&to.socket).await;
            while received.first() != frame.first() {
                received = receive(&to.socket).await;
            }
            assert_eq!(&received, frame);
        }
    }
    assert_eq!(serving.counters().await.forwarded, 2 * lengths.len() as u64);
}

#[tokio::test]
async fn a_returning_peer_s_token_spares_it_the_retry_also_after_a_restart() {
    let first = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let client = Client::new(&first, 2).await;
    let tap = Tap::before(first.bound()[0]).await;
    client.sign_in(tap.at).await;
    assert!(tap.take_retries() > 0, "nothing had proved the address");
    client.sign_in(tap.at).await;
    assert_eq!(tap.take_retries(), 0);
    assert_eq!(first.counters().await.signed_in, 2);
    drop(first);
    let second = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let tap = Tap::before(second.bound()[0]).await;
    client.sign_in(tap.at).await;
    assert_eq!(tap.take_retries(), 0);
}

#[tokio::test]
async fn quic_sends_an_address_that_proved_nothing_less_than_it_brought() {
    let serving = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let eavesdropper = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&serving, 2).await;
    let there = eavesdropper.local_addr().unwrap();
    let connecting = client.endpoint.connect_with(client.quic.clone(), there, "rendezvous").unwrap();
    let (mut brought, mut answered) = (0, 0);
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..2 {
        let initial = receive(&eavesdropper).await;
        forger.send_to(&initial, serving.bound()[0]).await.unwrap();
        brought += initial.len();
    }
    drop(connecting);
    let mut buffer = [0; 2048];
    // As long as no more comes for a second; QUIC repeats what is unacknowledged sooner.
    while let Ok(received) = tokio::time::timeout(Duration::from_secs(1), forger.recv(&mut buffer)).await {
        answered += received.unwrap();
    }
    assert!(answered > 0 && answered < brought / 2, "{answered} bytes for {brought}");
}

#[tokio::test]
async fn an_impostor_with_another_key_is_not_signed_in_to() {
    let serving = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let tls = client_config(&IdentitySecret::new([2; 32]), IdentitySecret::new([9; 32]).public_key(), RENDEZVOUS_ALPN);
    let quic = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.unwrap()).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(endpoint.connect_with(quic, serving.bound()[0], "rendezvous").unwrap().await.is_err());
}

#[tokio::test]
async fn a_foreign_stun_client_learns_its_address_over_ipv4_and_ipv6() {
    let serving = Serving::start(config(&["[::]:0"])).await.unwrap();
    let port = serving.bound()[0].port();
    for (bind, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let socket = UdpSocket::bind(bind).await.unwrap();
        let request = discovery::binding_request(TransactionId([4; 12]));
        assert_eq!(request.len(), 20);
        socket.send_to(&request, (to, port)).await.unwrap();
        let response = discovery::parse_response(&receive(&socket).await).unwrap();
        assert_eq!(response.mapped, socket.local_addr().unwrap());
    }
}

#[tokio::test]
async fn with_an_alternate_stun_answers_come_from_the_socket_that_was_asked_for() {
    let mut config = config(&["127.0.0.1:0"]);
    config.alternate = Some("127.0.0.2:0".parse().unwrap());
    let serving = Serving::start(config).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 2048];
    for (ip, port) in [(false, false), (true, false), (false, true), (true, true)] {
        let request = discovery::change_request(TransactionId([4; 12]), ip, port);
        socket.send_to(&request, serving.bound()[0]).await.unwrap();
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let response = discovery::parse_response(&buffer[..length]).unwrap();
        assert_eq!(response.origin, Some(from));
        assert_eq!(from.ip() != serving.bound()[0].ip(), ip);
        assert_eq!(from.port() != serving.bound()[0].port(), port);
    }
}

#[tokio::test]
async fn on_a_wildcard_the_answer_comes_from_the_address_that_was_spoken_to() {
    for wildcard in ["[::]:0", "0.0.0.0:0"] {
        let serving = Serving::start(config(&[wildcard])).await.unwrap();
        let at = SocketAddr::from(([127, 7, 7, 7], serving.bound()[0].port()));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&discovery::binding_request(TransactionId([4; 12])), at).await.unwrap();
        let (_, from) = socket.recv_from(&mut [0; 100]).await.unwrap();
        assert_eq!(from, at);
        let client = Client::new(&serving, 3).await;
        assert!(matches!(client.sign_in(at).await.answer, SignInAnswer::Registered { .. }));
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_said_clearly() {
    let serving = Serving::start(config(&["127.0.0.1:0"])).await.unwrap();
    let taken = serving.bound()[0].to_string();
    let error = Serving::start(config(&[&taken])).await.unwrap_err();
    assert!(error.to_string().contains(&taken), "{error}");
    assert!(matches!(Serving::start(config(&[])).await, Err(StartError::NoAddress)));
    let mut wildcard = config(&["0.0.0.0:0"]);
    wildcard.alternate = Some("127.0.0.2:0".parse().unwrap());
    assert!(matches!(Serving::start(wildcard).await, Err(StartError::Alternate)));
    let mut public = config(&["127.0.0.1:0"]);
    public.public = Some("no port".to_owned());
    assert!(matches!(Serving::start(public).await, Err(StartError::Public)));
}
