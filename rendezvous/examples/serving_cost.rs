//! What a keepalive and a STUN request cost the whole program, system calls included: processor time of the server's
//! process, told by the system, divided by the datagrams sent.
//!
//! `cargo build --release -p knothole-rendezvous --bins --examples && target/release/examples/serving_cost [RATE]`
//! (Linux: it reads /proc.) Peers sign in over QUIC first; what that costs is printed too.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement has a clock and sockets, and prints figures"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::keepalive::keepalive;
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

async fn sign_in(endpoint: Endpoint, at: RendezvousAddress, to: SocketAddr, n: u32) -> anyhow::Result<(u32, TagKey)> {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let tls = client_config(&IdentitySecret::new(seed), at.key, RENDEZVOUS_ALPN)?;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let connection = endpoint.connect_with(config, to, "rendezvous")?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&to_bytes(&SignInRequest { interval_s: 600 })).await?;
    send.finish()?;
    let answer: SignInAnswer = from_bytes(&receive.read_to_end(1024).await?).context("an answer")?;
    let mut secret = [0; 32];
    connection
        .export_keying_material(&mut secret, b"EXPORTER-knothole-registration", b"")
        .map_err(|_| anyhow::anyhow!("no secret"))?;
    connection.close(0_u32.into(), b"");
    let SignInAnswer::Registered { slot, .. } = answer else { anyhow::bail!("refused: {answer:?}") };
    Ok((slot, TagKey::new(&RegistrationSecret(secret))))
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
    let program = std::env::current_exe()?
        .parent()
        .and_then(|examples| examples.parent())
        .context("no target")?
        .join("knothole-rendezvous");
    let state = tempfile::tempdir()?;
    let mut server = Command::new(program);
    server.arg("--state").arg(state.path()).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = server.spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let at: RendezvousAddress = line.trim_end().strip_prefix("ready ").context("a ready line")?.parse()?;
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
        let (slot, key) = &peers[usize::try_from(n % count).unwrap_or_default()];
        keepalive(key, *slot, n / count + 1, n % ASKS == 0)
    });
    let spent = processor_time(server.id())? - before;
    print_cost("keepalive:", spent, sent, &format!("{rate}/s, 1 in {ASKS} answered"));

    let before = processor_time(server.id())?;
    let asked = send(&socket, to, rate, |_| binding_request(TransactionId([7; 12])));
    let spent = processor_time(server.id())? - before;
    print_cost("STUN:", spent, asked, &format!("{rate}/s, each answered"));

    // The log that follows tells how many of each the server took: the same numbers, if nothing was lost.
    println!("sent:      {sent} keepalives, {asked} STUN requests, to process {}", server.id());
    kill(Pid::from_raw(i32::try_from(server.id())?), Signal::SIGTERM)?;
    server.wait()?;
    Ok(())
}
