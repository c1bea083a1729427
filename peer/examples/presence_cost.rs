//! What some hundred contacts cost a peer that talks to none of them: datagrams to and from its rendezvous at the start and
//! when idle, and the memory of its process.
//!
//! `cargo run --release -p knothole --example presence_cost [CONTACTS [MINUTES]]` (Linux: it reads /proc). A rendezvous runs in
//! this process, and the contacts are registrations there which watch the peer and are shown to it, and take up no invitation.
//! The peer runs in a process of its own, and reaches the rendezvous through a socket that counts.
#![expect(clippy::print_stdout, reason = "a measurement prints figures")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole::command;
use knothole::engine;
use knothole::handle::Options;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use knothole_proto::control::{PeerChannel, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use knothole_proto::registration::{Profile, SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};

/// What counts as the start.
const START: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [role, home, rendezvous, contacts] = &arguments[..]
        && role == "peer"
    {
        return peer(Path::new(home), rendezvous.parse()?, contacts.parse()?).await;
    }
    let number = |index: usize, or: u64| arguments.get(index).map_or(Ok(or), |text| text.parse());
    let (contacts, minutes) = (u32::try_from(number(0, 300)?)?, number(1, 8)?);

    let serving = Serving::start(Config {
        identity: IdentitySecret::new([42; 32]),
        listen: vec!["127.0.0.1:0".parse()?],
        alternate: None,
        public: None,
        policy: Policy::default(),
        mailboxes: None,
    })
    .await?;
    let real: SocketAddr = format!("127.0.0.1:{}", serving.address().port).parse()?;
    let counts = Arc::new(Counts::default());
    let counted = RendezvousAddress { port: forward(real, counts.clone())?, ..serving.address().clone() };
    let home = tempfile::tempdir()?;
    // Makes the contacts.
    let (mut filling, me) = begin(home.path(), &counted, contacts)?;
    end(&mut filling)?;

    for there in [0, contacts] {
        let registrations = register(there, me, serving.address().key, real).await?;
        let before = counts.now();
        let (mut peer, _) = begin(home.path(), &counted, 0)?;
        tokio::time::sleep(START).await;
        let started = counts.now();
        println!("{contacts} contacts, {there} of them there");
        println!("  first {} s: {}; {}", START.as_secs(), started.since(&before), memory(&peer)?);
        // Whatever is tried and rests again has done so.
        tokio::time::sleep(Duration::from_secs(60 * minutes)).await;
        let then = counts.now();
        tokio::time::sleep(Duration::from_secs(120)).await;
        println!("  two idle minutes: {}; {}", counts.now().since(&then), memory(&peer)?);
        end(&mut peer)?;
        drop(registrations);
    }
    serving.shutdown().await;
    Ok(())
}

/// The peer's process: adds contacts, and stays until its input ends.
async fn peer(home: &Path, rendezvous: RendezvousAddress, contacts: u32) -> anyhow::Result<()> {
    let options = Options {
        home: home.to_owned(),
        rendezvous: vec![rendezvous.clone()],
        allow_loopback: true,
        keepalive: Profile::Default,
    };
    let peer = engine::start(options).await?;
    for n in 0..contacts {
        let link = ContactLink { peer: identity(n).public_key(), via: vec![rendezvous.clone()] };
        let name = Some(format!("contact {n}"));
        peer.request(|reply| command::Command::AddContact { link, name, relay_only: None, reply }).await?;
    }
    println!("{}", peer.request(command::Command::Status).await?.peer);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    peer.stop().await;
    Ok(())
}

fn begin(home: &Path, rendezvous: &RendezvousAddress, contacts: u32) -> anyhow::Result<(Child, PeerId)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["peer", &home.to_string_lossy(), &rendezvous.to_string(), &contacts.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    Ok((child, line.trim().parse()?))
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

/// What a process has in memory.
fn memory(child: &Child) -> anyhow::Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).context("a figure")?;
    Ok(format!("resident {}", line.split_once(':').context("a figure")?.1.trim()))
}

/// The identity of the n-th contact.
fn identity(n: u32) -> IdentitySecret {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    IdentitySecret::new(seed)
}

/// Registers so many contacts, who watch the peer. They are there for twenty minutes.
async fn register(count: u32, me: PeerId, key: PeerId, at: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let again = socket.try_clone()?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket.try_clone()?, Arc::new(TokioRuntime))?;
    for n in 0..count {
        let tls = client_config(&identity(n), key, RENDEZVOUS_ALPN)?;
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let connection = endpoint.connect_with(config, at, "rendezvous")?.await?;
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&to_bytes(&SignInRequest { interval_s: 600, unseen: false })).await?;
        send.finish()?;
        let answer: SignInAnswer = from_bytes(&receive.read_to_end(1024).await?).context("an answer")?;
        let SignInAnswer::Registered { slot, .. } = answer else { anyhow::bail!("refused") };
        let mut secret = [0; 32];
        connection
            .export_keying_material(&mut secret, b"EXPORTER-knothole-registration", &[])
            .map_err(|_| anyhow::anyhow!("no secret"))?;
        let mut channel = PeerChannel::of_peer(&RegistrationSecret(secret), slot);
        let now = Instant::now();
        channel.send(ToRendezvous::Watch { unseen: false, peers: vec![Watched { peer: me, shown: true }] }, now)?;
        while let Some(datagram) = channel.poll_transmit(now) {
            again.send_to(&datagram, at)?;
        }
        connection.close(0_u32.into(), b"");
    }
    Ok(again)
}

/// Datagrams and bytes of UDP payload, to the rendezvous and from it.
#[derive(Default)]
struct Counts([AtomicU64; 4]);

struct Counted([u64; 4]);

impl Counts {
    fn note(&self, from: bool, length: usize) {
        let base = if from { 2 } else { 0 };
        self.0[base].fetch_add(1, Relaxed);
        self.0[base + 1].fetch_add(length as u64, Relaxed);
    }

    fn now(&self) -> Counted {
        Counted(std::array::from_fn(|i| self.0[i].load(Relaxed)))
    }
}

impl Counted {
    fn since(&self, before: &Self) -> String {
        let [sent, sent_bytes, heard, heard_bytes] = std::array::from_fn(|i| self.0[i] - before.0[i]);
        format!("{sent} datagrams, {sent_bytes} bytes to the rendezvous, {heard}, {heard_bytes} from it")
    }
}

/// Passes on between one peer and the rendezvous; returns the port to send to.
fn forward(real: SocketAddr, counts: Arc<Counts>) -> anyhow::Result<u16> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let port = near.local_addr()?.port();
    let (near_back, far_back, counts_back) = (near.try_clone()?, far.try_clone()?, counts.clone());
    let peer = Arc::new(std::sync::Mutex::new(None));
    let known = peer.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = near.recv_from(&mut buffer) {
            if let Ok(mut peer) = peer.lock() {
                *peer = Some(from);
            }
            counts.note(false, length);
            let _ = far.send_to(&buffer[..length], real);
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, _)) = far_back.recv_from(&mut buffer) {
            counts_back.note(true, length);
            if let Some(to) = known.lock().ok().and_then(|peer| *peer) {
                let _ = near_back.send_to(&buffer[..length], to);
            }
        }
    });
    Ok(port)
}
