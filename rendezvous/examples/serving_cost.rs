//! What a keepalive and a STUN request cost the whole program, system calls included: processor time of the server's
//! process, told by the system, divided by the datagrams sent.
//!
//! `cargo build --release -p knothole-rendezvous --bins --examples && target/release/examples/serving_cost [RATE]`
//! (Linux: it reads /proc.) Peers sign in over QUIC first; what that costs is printed too, and at the end what it costs
//! when the server is restarted and all come back by ticket.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement has a clock and sockets, and prints figures"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::datagram::{Header, RETURNED};
use knothole_proto::keepalive::{FromRendezvous, keepalive, parse_from_rendezvous};
use knothole_proto::registration::ticket::{Resumption, Return};
use knothole_proto::registration::{SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_proto::stun::{TransactionId, discovery::binding_request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};

/// Peers that sign in: enough for a steady figure of what a sign-in costs.
const PEERS: u32 = 2_000;
/// Sign-ins at once.
const TOGETHER: u32 = 20;
/// Datagrams a second unless told otherwise: what 800,000 peers send.
const RATE: u32 = 40_000;
/// One keepalive in this many asks for an answer.
const ASKS: u64 = 64;
/// Restarts whose mean is printed.
const RESTARTS: u32 = 5;
/// How often a second a peer comes back: a million of them in one keepalive interval.
const RETURN_RATE: u32 = 50_000;
/// Sockets that the peers share, each at an address of its own, so that answers go to changing addresses as in life.
const ADDRESSES: usize = 200;
/// How long each kind is sent.
const SPAN: Duration = Duration::from_secs(5);

/// Processor time of all threads of a process so far.
fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += schedstat.split_whitespace().next().context("a figure")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// A registration, and what brings it back.
struct Peer {
    slot: u32,
    key: TagKey,
    resumption: Resumption,
    ticket: Vec<u8>,
}

async fn sign_in(endpoint: Endpoint, at: RendezvousAddress, to: SocketAddr, n: u32) -> anyhow::Result<Peer> {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let tls = client_config(&IdentitySecret::new(seed), at.key, RENDEZVOUS_ALPN)?;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let connection = endpoint.connect_with(config, to, "rendezvous")?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&to_bytes(&SignInRequest { interval_s: 600, unseen: false })).await?;
    send.finish()?;
    let answer: SignInAnswer = from_bytes(&receive.read_to_end(1024).await?).context("an answer")?;
    let mut secret = [0; 32];
    connection
        .export_keying_material(&mut secret, b"EXPORTER-knothole-registration", b"")
        .map_err(|_| anyhow::anyhow!("no secret"))?;
    connection.close(0_u32.into(), b"");
    let SignInAnswer::Registered { slot, ticket, .. } = answer else { anyhow::bail!("refused: {answer:?}") };
    let secret = RegistrationSecret(secret);
    Ok(Peer { slot, key: TagKey::new(&secret), resumption: Resumption::of(&secret), ticket })
}

/// Starts the server; it tells where it is.
fn start(state: &Path, listen: &str) -> anyhow::Result<(Child, RendezvousAddress)> {
    let program = std::env::current_exe()?
        .parent()
        .and_then(|examples| examples.parent())
        .context("no target")?
        .join("knothole-rendezvous");
    let mut server = Command::new(program);
    server.arg("--state").arg(state).args(["--listen", listen]).stdout(Stdio::piped());
    let mut server = server.spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let at = line.trim_end().strip_prefix("ready ").context("a ready line")?.parse()?;
    Ok((server, at))
}

fn stop(mut server: Child) -> anyhow::Result<()> {
    kill(Pid::from_raw(i32::try_from(server.id())?), Signal::SIGTERM)?;
    server.wait()?;
    Ok(())
}

/// Each peer sends one datagram from its socket, at [`RETURN_RATE`]; `heard` is given the answers as they come.
fn send_each(
    sockets: &[UdpSocket],
    to: SocketAddr,
    peers: &[Peer],
    mut datagram: impl FnMut(&Peer, usize) -> Vec<u8>,
    mut heard: impl FnMut(&[u8], usize),
) {
    let mut buffer = [0; 256];
    let mut drain = || {
        for (n, socket) in sockets.iter().enumerate() {
            while let Ok(length) = socket.recv(&mut buffer) {
                heard(buffer.get(..length).unwrap_or_default(), n);
            }
        }
    };
    let start = Instant::now();
    for (number, peer) in peers.iter().enumerate() {
        let n = number % sockets.len();
        if let Some(socket) = sockets.get(n) {
            let _ = socket.send_to(&datagram(peer, n), to);
        }
        if n + 1 == sockets.len() {
            drain();
            let due = Duration::from_secs_f64(number as f64 / f64::from(RETURN_RATE));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    drain();
}

/// Restarts the server again and again; returns the last, and its processor time for each peer that came back.
fn restarts(state: &Path, to: SocketAddr, peers: &[Peer], mut server: Child) -> anyhow::Result<(Child, Duration)> {
    let addresses = (0..ADDRESSES).map(|n| UdpSocket::bind(SocketAddr::from(([127, 0, 1, n as u8 + 1], 0))));
    let sockets = addresses.collect::<Result<Vec<_>, _>>()?;
    sockets.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
    let mut spent = Duration::ZERO;
    for _ in 0..RESTARTS {
        stop(server)?;
        (server, _) = start(state, &to.to_string())?;
        let before = processor_time(server.id())?;
        let mut tokens = vec![0; ADDRESSES];
        let mut told = 0;
        let ask = |peer: &Peer, _| keepalive(&peer.key, peer.slot, u64::MAX, true);
        send_each(&sockets, to, peers, ask, |answer, n| {
            let any = peers.first().zip(Header::parse(answer));
            let read = any.and_then(|(peer, header)| parse_from_rendezvous(&peer.key, header, answer));
            if let (Some(FromRendezvous::UnknownSlot { token: Some(token), .. }), Some(place)) =
                (read, tokens.get_mut(n))
            {
                *place = token;
                told += 1;
            }
        });
        let mut back = 0;
        let show = |peer: &Peer, n: usize| {
            let token = tokens.get(n).copied().unwrap_or_default();
            let shown = Return { nonce: 1, interval_s: 600, unseen: false, token, ticket: &peer.ticket };
            shown.to_bytes(&peer.resumption.tag_key(), peer.slot)
        };
        send_each(&sockets, to, peers, show, |answer, _| back += u32::from(answer.first() == Some(&RETURNED)));
        spent += processor_time(server.id())? - before;
        anyhow::ensure!(back as usize > peers.len() * 9 / 10, "{told} told, {back} back of {}", peers.len());
    }
    Ok((server, spent / RESTARTS / u32::try_from(peers.len())?))
}

/// Sends at this rate what `datagram` gives for each number; returns how many that were.
fn send(socket: &UdpSocket, to: SocketAddr, rate: u32, datagram: impl Fn(u64) -> Vec<u8>) -> u64 {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        let due = start.elapsed().as_secs_f64() * f64::from(rate);
        while (sent as f64) < due {
            // Nobody reads the answers here; a full buffer at our end is no error.
            let _ = socket.send_to(&datagram(sent), to);
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_millis(100));
    sent
}

fn print_cost(what: &str, spent: Duration, sent: u64, remark: &str) {
    let (each, core) = (spent.as_secs_f64() * 1e6 / sent as f64, spent.as_secs_f64() / SPAN.as_secs_f64() * 100.0);
    println!("{what:10} {each:5.2} µs each, {core:.1} % of a core, {remark}");
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rate = std::env::args().nth(1).map_or(Ok(RATE), |rate| rate.parse())?;
    let state = tempfile::tempdir()?;
    let (server, at) = start(state.path(), "127.0.0.1:0")?;
    let to = format!("{}:{}", at.host, at.port).parse()?;

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket.try_clone()?, Arc::new(TokioRuntime))?;
    let before = processor_time(server.id())?;
    let mut peers = Vec::new();
    for wave in 0..PEERS / TOGETHER {
        let numbers = wave * TOGETHER..(wave + 1) * TOGETHER;
        let wave: Vec<_> = numbers.map(|n| tokio::spawn(sign_in(endpoint.clone(), at.clone(), to, n))).collect();
        for peer in wave {
            peers.push(peer.await??);
        }
    }
    let spent = processor_time(server.id())? - before;
    println!("sign-in:   {:5.0} µs each, {PEERS} in waves of {TOGETHER}", spent.as_secs_f64() * 1e6 / f64::from(PEERS));
    endpoint.wait_idle().await;
    drop(endpoint);
    socket.set_nonblocking(true)?;

    let before = processor_time(server.id())?;
    let count = peers.len() as u64;
    let sent = send(&socket, to, rate, |n| {
        let peer = &peers[usize::try_from(n % count).unwrap_or_default()];
        keepalive(&peer.key, peer.slot, n / count + 1, n % ASKS == 0)
    });
    let spent = processor_time(server.id())? - before;
    print_cost("keepalive:", spent, sent, &format!("{rate}/s, 1 in {ASKS} answered"));

    let before = processor_time(server.id())?;
    let asked = send(&socket, to, rate, |_| binding_request(TransactionId([7; 12])));
    let spent = processor_time(server.id())? - before;
    print_cost("STUN:", spent, asked, &format!("{rate}/s, each answered"));

    // The log that follows tells how many of each the server took: the same numbers, if nothing was lost.
    println!("sent:      {sent} keepalives, {asked} STUN requests, to process {}", server.id());
    let (server, each) = restarts(state.path(), to, &peers, server)?;
    println!("return:    {:5.2} µs each, {RESTARTS} restarts, two datagrams each way", each.as_secs_f64() * 1e6);
    stop(server)
}
