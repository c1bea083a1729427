//! The real program, and people who talk to it over loopback.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test's helper: it has sockets and a clock, and fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::control::{LetterName, Opened, PeerChannel, Posted, ToPeer, ToRendezvous};
use knothole_proto::datagram::{CONTROL, Header};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{self, FromRendezvous};
use knothole_proto::registration::ticket::{Resumption, Return, parse_returned};
use knothole_proto::registration::{SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};
use tokio::net::UdpSocket;

/// Far more than loopback takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A rendezvous in a process of its own.
pub(crate) struct Program {
    child: Child,
    address: RendezvousAddress,
}

impl Program {
    pub(crate) fn start(state: &Path, listen: &str) -> Self {
        Self::start_with(state, listen, &[])
    }

    pub(crate) fn start_with(state: &Path, listen: &str, more: &[&str]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_knothole-rendezvous")), state, listen, more)
    }

    /// The same, with a disk that takes no file longer than so many blocks of 512 or 1,024 bytes, as the shell counts.
    pub(crate) fn start_confined(state: &Path, listen: &str, blocks: u32) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_knothole-rendezvous")]);
        Self::run(shell, state, listen, &[])
    }

    fn run(mut command: Command, state: &Path, listen: &str, more: &[&str]) -> Self {
        command.arg("--state").arg(state).args(["--listen", listen]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.strip_prefix("ready ") else {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("{line:?} {log}");
        };
        Self { address: address.trim_end().parse().unwrap(), child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), if signal == Signal::SIGKILL { None } else { Some(0) });
    }
}

/// A registered peer, as far as control messages go.
pub(crate) struct Person {
    pub(crate) id: PeerId,
    to: SocketAddr,
    socket: UdpSocket,
    channel: PeerChannel,
    slot: u32,
    resumption: Resumption,
    ticket: Vec<u8>,
}

impl Person {
    pub(crate) fn key(n: u8) -> PeerId {
        Self::secret(n).public_key()
    }

    fn secret(n: u8) -> IdentitySecret {
        IdentitySecret::new([n; 32])
    }

    pub(crate) async fn sign_in(program: &Program, n: u8) -> Self {
        Self::sign_in_for(program, n, 600).await
    }

    /// The same, with a keepalive every so many seconds, as it says.
    pub(crate) async fn sign_in_for(program: &Program, n: u8, interval_s: u16) -> Self {
        let at = &program.address;
        let to: SocketAddr = format!("{}:{}", at.host, at.port).parse().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let shared = socket.try_clone().unwrap();
        let endpoint = Endpoint::new(EndpointConfig::default(), None, shared, Arc::new(TokioRuntime)).unwrap();
        let tls = client_config(&Self::secret(n), at.key, RENDEZVOUS_ALPN).unwrap();
        let quic = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let connection = endpoint.connect_with(quic, to, "rendezvous").unwrap().await.unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&to_bytes(&SignInRequest { interval_s, unseen: false })).await.unwrap();
        send.finish().unwrap();
        let answer = from_bytes(&receive.read_to_end(1024).await.unwrap()).unwrap();
        let SignInAnswer::Registered { slot, ticket, .. } = answer else { panic!("{answer:?}") };
        let mut secret = [0; 32];
        connection.export_keying_material(&mut secret, b"EXPORTER-knothole-registration", b"").unwrap();
        connection.close(0_u32.into(), b"");
        // QUIC takes no more datagrams from the socket from here on, nor has the kernel join what arrives together.
        endpoint.wait_idle().await;
        drop(endpoint);
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::UdpGroSegment, &false).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = UdpSocket::from_std(socket).unwrap();
        let secret = RegistrationSecret(secret);
        let (channel, resumption) = (PeerChannel::of_peer(&secret, slot), Resumption::of(&secret));
        Self { id: Self::key(n), to, socket, channel, slot, resumption, ticket }
    }

    /// Shows the ticket to another process of the same rendezvous.
    pub(crate) async fn come_back(&mut self, program: &Program) {
        self.to = format!("{}:{}", program.address.host, program.address.port).parse().unwrap();
        let key = self.resumption.tag_key();
        self.socket.send_to(&keepalive::keepalive(&key, self.slot, 1, true), self.to).await.unwrap();
        let (header, answer) = self.receive().await;
        let told = keepalive::parse_from_rendezvous(&key, header, &answer);
        let Some(FromRendezvous::UnknownSlot { token: Some(token), .. }) = told else { panic!("{told:?}") };
        let shown = Return { nonce: 5, interval_s: 600, unseen: false, token, ticket: &self.ticket };
        self.socket.send_to(&shown.to_bytes(&key, self.slot), self.to).await.unwrap();
        let (header, answer) = self.receive().await;
        let (secret, _) = parse_returned(&self.resumption, 5, header, &answer).unwrap();
        self.slot = header.slot;
        self.channel = PeerChannel::of_peer(&secret, self.slot);
    }

    async fn receive(&self) -> (Header, Vec<u8>) {
        let mut buffer = vec![0; 2048];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await;
        let (length, _) = received.unwrap_or_else(|_| panic!("no answer")).unwrap();
        buffer.truncate(length);
        (Header::parse(&buffer).unwrap(), buffer)
    }

    /// Says something, and has it acknowledged or answered some day.
    pub(crate) async fn say(&mut self, message: ToRendezvous) {
        self.channel.send(message, Instant::now()).unwrap();
        self.send().await;
    }

    async fn send(&mut self) {
        while let Some(datagram) = self.channel.poll_transmit(Instant::now()) {
            self.socket.send_to(&datagram, self.to).await.unwrap();
        }
    }

    /// Takes a datagram, or repeats what is not acknowledged.
    async fn step(&mut self) -> Option<ToPeer> {
        self.send().await;
        let mut buffer = [0; 2048];
        let wait = tokio::time::timeout(Duration::from_millis(50), self.socket.recv_from(&mut buffer)).await;
        let Ok(Ok((length, _))) = wait else { return None };
        let datagram = &buffer[..length];
        let header = Header::parse(datagram).filter(|header| header.kind == CONTROL)?;
        let opened = self.channel.handle(header, datagram);
        self.send().await;
        match opened {
            Opened::Fresh(message) => message,
            Opened::Repeated | Opened::Invalid => None,
        }
    }

    /// The next thing that the rendezvous says.
    pub(crate) async fn hear(&mut self) -> ToPeer {
        let start = Instant::now();
        loop {
            if let Some(message) = self.step().await {
                return message;
            }
            assert!(start.elapsed() < PATIENCE, "the rendezvous says nothing");
        }
    }

    /// Says goodbye, and hears that it was heard.
    pub(crate) async fn leave(&mut self) {
        self.say(ToRendezvous::Goodbye).await;
        let start = Instant::now();
        while !self.channel.is_idle() {
            self.step().await;
            assert!(start.elapsed() < PATIENCE, "goodbye is not acknowledged");
        }
    }

    /// Whether the mailbox is open then.
    pub(crate) async fn opens_mailbox(&mut self, senders: &[PeerId]) -> bool {
        self.say(ToRendezvous::Mailbox { open: true, fresh: true, senders: senders.to_vec() }).await;
        let heard = self.hear().await;
        let ToPeer::Mailbox { open } = heard else { panic!("{heard:?}") };
        open
    }

    /// What becomes of a letter.
    pub(crate) async fn posts(&mut self, to: PeerId, letter: LetterName, envelope: Vec<u8>) -> Posted {
        self.say(ToRendezvous::Post { to, letter, envelope, keep: true }).await;
        let heard = self.hear().await;
        let ToPeer::Posted { outcome, .. } = heard else { panic!("{heard:?}") };
        outcome
    }
}
