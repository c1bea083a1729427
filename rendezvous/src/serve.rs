//! Serving: the pure [`Server`] with real sockets, a real clock, and QUIC for sign-ins.
//!
//! ```text
//! ports ──datagram──► STUN, Knothole ──► loop: owns Server, one thread ──► ports
//!       └───────────► QUIC ──handoff──► quinn endpoint ──sign-in──► loop
//! ```
//! The loop reads the sockets itself, so that a keepalive goes from the system call into the machine without a queue, a
//! wake-up or a copy. What is QUIC is handed on to quinn, which believes to have the socket for itself.
//!
//! Mailboxes have a thread and a file of their own (`mailbox`), which the loop asks and never waits for.
//!
//! Peers whose network lets no UDP through come by TLS over TCP at the same ports (`tcp`): to the machine and to quinn
//! their datagrams come from made-up addresses (`streams`), and what is sent to those goes down the stream.

mod address;
mod driver;
mod handoff;
mod mailbox;
mod port;
mod residue;
mod sign_in;
mod streams;
mod tcp;
mod tokens;
mod train;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use knothole_proto::certificate::{self, IdentitySecret};
use knothole_proto::contact_link::RendezvousAddress;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use self::driver::{Command, Driver};
use self::mailbox::Disk;
pub use self::mailbox::OpenError;
use self::port::Port;
pub use self::residue::wipe_stack;
use self::streams::Streams;
use self::tcp::Inlet;
pub use self::tcp::tune;
use crate::mailbox::Contents;
use crate::{Counters, FourSockets, LocalSocket, Policy, Server};

/// How long peers may take to acknowledge that the rendezvous closes: longer than most round trips, short enough that
/// a service manager does not lose its patience.
const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// Sign-ins waiting for the loop; each waits for a wake-up at most, and there are no more handshakes than this.
const MAX_COMMANDS: usize = sign_in::MAX_HANDSHAKES;

/// Datagrams of streams waiting for the loop. A stream that finds it full waits, and has its peer wait.
const MAX_STREAMED: usize = 256;

/// How often the port that the system chose for UDP may be taken for TCP.
const ATTEMPTS: usize = 16;

/// What to serve.
#[derive(Debug)]
pub struct Config {
    /// The rendezvous' own key.
    pub identity: IdentitySecret,
    /// The addresses to serve at, by UDP and TCP, one at least. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// A second address for telling NAT behaviour (RFC 5780). It differs from the first of `listen` in IP address and
    /// port, and neither of the two is a wildcard: two more sockets are bound at the crosswise combinations.
    pub alternate: Option<SocketAddr>,
    /// The host name or address, and the port, by which peers reach this rendezvous: `host:port`, IPv6 in brackets.
    /// Without it the first of `listen` is told, and for a wildcard the address that this machine would send from.
    pub public: Option<String>,
    /// What is allowed. Its `discovery` is filled in here.
    pub policy: Policy,
    /// An existing directory where mailboxes are kept, if the policy gives them room. Without it there are none.
    pub mailboxes: Option<PathBuf>,
}

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address to serve at.
    #[error("there is no address to listen at: give at least one")]
    NoAddress,
    /// An address cannot be had.
    #[error("cannot listen at {address}: {source} (is it this machine's address, and is no other program there?)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The alternate address does not fit.
    #[error(
        "the alternate address must differ from the first listen address in IP and port, be of the same family, and neither may be a wildcard"
    )]
    Alternate,
    /// The public address cannot be read.
    #[error("the public address is written <host>:<port>, an IPv6 address in brackets")]
    Public,
    /// TLS or QUIC refuses its configuration; no key is known for which it does.
    #[error("QUIC cannot be set up: {0}")]
    Quic(String),
    /// The mailboxes on the disk cannot be used.
    #[error(transparent)]
    Mailboxes(#[from] OpenError),
    /// The system has no randomness or no sockets to give.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// A rendezvous at work. Dropping it stops it without a word; [`shutdown`](Self::shutdown) says goodbye first.
#[derive(Debug)]
pub struct Serving {
    address: RendezvousAddress,
    bound: Vec<SocketAddr>,
    commands: mpsc::Sender<Command>,
    endpoints: Vec<quinn::Endpoint>,
    accepting: Vec<JoinHandle<()>>,
    streams: Arc<Streams>,
    /// Dropping it ends the loop.
    stop: Option<oneshot::Sender<()>>,
    /// When the disk has done all that was asked of it, and is closed.
    at_rest: Option<oneshot::Receiver<()>>,
}

impl Serving {
    /// Binds the sockets and serves: sign-ins on the tokio runtime that polls this, all else on a thread of its own.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is served then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let quic = sign_in::server_config(&config.identity).map_err(StartError::Quic)?;
        let tls =
            certificate::tunnel_server_config(&config.identity).map_err(|why| StartError::Quic(why.to_string()))?;
        let tls = TlsAcceptor::from(Arc::new(tls));
        let streams = Arc::new(Streams::default());
        let (machine, streamed) = mpsc::channel(MAX_STREAMED);
        let (seed, mut policy) = (random()?, config.policy);
        let directory = config.mailboxes.filter(|_| policy.mailbox_bytes > 0);
        policy.mailbox_bytes = if directory.is_some() { policy.mailbox_bytes } else { 0 };
        let ticket_key = config.identity.derived_key("tickets");
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        let (stop, stopped) = oneshot::channel();
        let (listen, alternate) = (config.listen, config.alternate);
        let (sockets, bound) = oneshot::channel();
        let of_loop = Arc::clone(&streams);
        let serve = async move {
            let streams = of_loop;
            let bound = Sockets::bind(&listen, alternate);
            let opened = bound.and_then(|bound| Ok((bound, Mail::open(directory)?)));
            match opened {
                Err(error) => drop(sockets.send(Err(error))),
                Ok((mut bound, mail)) => {
                    policy.discovery = bound.four;
                    let listening = bound.ports.iter_mut().zip(bound.listeners);
                    let hand_off = |(port, listener): (&mut Port, _)| {
                        let (quic, socket) = port.hand_off(Arc::clone(&streams));
                        (port.address(), quic, socket, listener)
                    };
                    let handed: Vec<_> = listening.map(hand_off).collect();
                    if sockets.send(Ok((handed, mail.at_rest))).is_ok() {
                        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                        let server = Server::new(policy, seed, Instant::now()).with_tickets(&ticket_key, since);
                        let server = server.with_mailboxes(&mail.contents, since);
                        drop(mail.contents);
                        Driver::new(server, bound.ports, inbox, streams, streamed, mail.disk).run(stopped).await;
                    }
                }
            }
        };
        // The loop sleeps with its thread while datagrams gather; on a shared thread, each datagram would wake it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("rendezvous".to_owned()).spawn(move || runtime.block_on(serve))?;
        let (handed, at_rest) = bound.await.map_err(|_| io::Error::other("the loop has ended"))??;

        let bound: Vec<_> = handed.iter().map(|(address, ..)| *address).collect();
        let first = *bound.first().ok_or(StartError::NoAddress)?;
        let address = address::rendezvous_address(config.identity.public_key(), first, config.public.as_deref())?;
        let mut endpoints = Vec::new();
        let mut accepting = Vec::new();
        for (port, (_, handoff, socket, listener)) in handed.into_iter().enumerate() {
            let endpoint = sign_in::endpoint(socket, quic.clone())?;
            endpoints.push(endpoint.clone());
            accepting.push(tokio::spawn(sign_in::accept(endpoint, port, commands.clone(), random()?)));
            let inlet = Inlet { port, quic: handoff, machine: machine.clone() };
            let listener = TcpListener::from_std(listener)?;
            accepting.push(tokio::spawn(tcp::accept(listener, tls.clone(), Arc::clone(&streams), inlet, random()?)));
        }
        tracing::info!(%address, ?bound, "serving");
        Ok(Self { address, bound, commands, endpoints, accepting, streams, stop: Some(stop), at_rest })
    }

    /// What to give to peers.
    #[must_use]
    pub const fn address(&self) -> &RendezvousAddress {
        &self.address
    }

    /// The addresses of the sockets, in the order of [`Config::listen`], with their real ports.
    #[must_use]
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// What happened so far.
    pub async fn counters(&self) -> Counters {
        let (reply, counters) = oneshot::channel();
        let asked = self.commands.send(Command::Counters { reply }).await;
        if asked.is_ok() { counters.await.unwrap_or_default() } else { Counters::default() }
    }

    /// Takes no more work, tells every peer, waits up to a second until they have acknowledged, hands the disk the letters that
    /// some have not, waits up to a second for it, and stops.
    pub async fn shutdown(mut self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok()
            && tokio::time::timeout(CLOSING_PATIENCE, closed).await.is_err()
        {
            tracing::info!("not every peer has acknowledged that this rendezvous closes");
        }
        if tokio::time::timeout(CLOSING_PATIENCE, self.streams.close()).await.is_err() {
            tracing::info!("not every stream has ended");
        }
        drop(self.stop.take());
        if let Some(at_rest) = self.at_rest.take()
            && tokio::time::timeout(CLOSING_PATIENCE, at_rest).await.is_err()
        {
            // What was told to be kept is on it; what was passed and not heard by anybody may not be.
            tracing::warn!("the mailboxes' disk is slow: letters that nobody has acknowledged may be lost");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for task in &self.accepting {
            task.abort();
        }
        self.streams.stop();
        for endpoint in &self.endpoints {
            endpoint.close(0_u32.into(), b"closing");
        }
    }
}

/// The mailboxes' disk, if there is one, and what was found on it.
#[derive(Default)]
struct Mail {
    disk: Option<Disk>,
    contents: Contents,
    at_rest: Option<oneshot::Receiver<()>>,
}

impl Mail {
    fn open(directory: Option<PathBuf>) -> Result<Self, OpenError> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        let (disk, contents, at_rest) = Disk::open(&directory)?;
        Ok(Self { disk: Some(disk), contents, at_rest: Some(at_rest) })
    }
}

/// All sockets: those to listen at, in their order, then the three others of RFC 5780.
struct Sockets {
    ports: Vec<Port>,
    /// Those of the addresses to listen at, in their order.
    listeners: Vec<std::net::TcpListener>,
    four: Option<FourSockets>,
}

impl Sockets {
    fn bind(listen: &[SocketAddr], alternate: Option<SocketAddr>) -> Result<Self, StartError> {
        let both = listen.iter().map(|address| bind_both(*address)).collect::<Result<Vec<_>, _>>()?;
        let (mut ports, listeners): (Vec<_>, Vec<_>) = both.into_iter().unzip();
        let first = ports.first().ok_or(StartError::NoAddress)?.address();
        let Some(alternate) = alternate else { return Ok(Self { ports, listeners, four: None }) };
        let wildcard = first.ip().is_unspecified() || alternate.ip().is_unspecified();
        if wildcard || first.ip() == alternate.ip() || first.is_ipv4() != alternate.is_ipv4() {
            return Err(StartError::Alternate);
        }
        // With port 0 the system chooses, once: the second port is the same at both IP addresses.
        let second = Port::bind(SocketAddr::new(first.ip(), alternate.port()))?;
        let port = second.address().port();
        if port == first.port() {
            return Err(StartError::Alternate);
        }
        let third = Port::bind(SocketAddr::new(alternate.ip(), first.port()))?;
        let fourth = Port::bind(SocketAddr::new(alternate.ip(), port))?;
        let number = |offset: usize| LocalSocket(u16::try_from(listen.len() + offset).unwrap_or(u16::MAX));
        let four = FourSockets([
            (LocalSocket(0), first),
            (number(0), second.address()),
            (number(1), third.address()),
            (number(2), fourth.address()),
        ]);
        ports.extend([second, third, fourth]);
        Ok(Self { ports, listeners, four: Some(four) })
    }
}

/// The same port for UDP and TCP.
fn bind_both(address: SocketAddr) -> Result<(Port, std::net::TcpListener), StartError> {
    let mut attempts = if address.port() == 0 { ATTEMPTS } else { 1 };
    loop {
        let port = Port::bind(address)?;
        attempts -= 1;
        match tcp::bind(port.address()) {
            Ok(listener) => return Ok((port, listener)),
            Err(source) if source.kind() != io::ErrorKind::AddrInUse || attempts == 0 => {
                return Err(StartError::Bind { address, source });
            }
            Err(_) => {}
        }
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(bytes)
}
