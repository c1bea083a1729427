//! What a letter costs the whole program, system calls and disk included: processor time of the server's process, told by the
//! system, divided by the letters. The baseline is a letter that is returned: one control message in, one out.
//!
//! `cargo build --release -p knothole-rendezvous --bins --examples && target/release/examples/letter_cost [DIRECTORY]`
//! (Linux: it reads /proc.) The directory is where the mailboxes are kept: what a commit costs depends on its disk.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement has a clock and sockets, and prints figures"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use knothole_proto::certificate::{IdentitySecret, RENDEZVOUS_ALPN, client_config};
use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::control::{LetterName, Opened, PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{CONTROL, Header};
use knothole_proto::identity::PeerId;
use knothole_proto::registration::{SignInAnswer, SignInRequest, from_bytes, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};

/// Pairs of a sender and a recipient.
const PAIRS: usize = 200;
/// Letters of each sender in a round: two rounds and one of kept letters stay within its ration of 256.
const ROUND: u64 = 64;
/// Letters of each sender that are kept: below what one may have in a mailbox.
const KEPT: u64 = 96;
/// Letters of one sender on their way at once.
const TOGETHER: usize = 8;
/// A text of a line or two and what stands around it.
const ENVELOPE: usize = 200;

/// Processor time of all threads of a process so far.
fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += schedstat.split_whitespace().next().context("a figure")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Bytes that a process has had written to disks so far.
fn written(pid: u32) -> anyhow::Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("a figure")?;
    Ok(line.parse()?)
}

/// A registered peer, and what it has on its way.
struct Peer {
    id: PeerId,
    channel: PeerChannel,
    posted: u64,
    answered: u64,
    heard: u64,
    collected: Vec<u64>,
}

/// Who talks to the server, all from one port: it tells them apart by their slots.
struct Town {
    server: Child,
    to: SocketAddr,
    socket: UdpSocket,
    peers: BTreeMap<u32, Peer>,
    sent: u64,
    received: u64,
}

async fn sign_in(endpoint: &Endpoint, at: &RendezvousAddress, to: SocketAddr, n: usize) -> anyhow::Result<(u32, Peer)> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_be_bytes());
    let secret = IdentitySecret::new(seed);
    let tls = client_config(&secret, at.key, RENDEZVOUS_ALPN)?;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let connection = endpoint.connect_with(config, to, "rendezvous")?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&to_bytes(&SignInRequest { interval_s: 600, unseen: false })).await?;
    send.finish()?;
    let answer: SignInAnswer = from_bytes(&receive.read_to_end(1024).await?).context("an answer")?;
    let mut exported = [0; 32];
    connection
        .export_keying_material(&mut exported, b"EXPORTER-knothole-registration", b"")
        .map_err(|_| anyhow::anyhow!("no secret"))?;
    connection.close(0_u32.into(), b"");
    let SignInAnswer::Registered { slot, .. } = answer else { anyhow::bail!("refused: {answer:?}") };
    let channel = PeerChannel::of_peer(&RegistrationSecret(exported), slot);
    let id = secret.public_key();
    Ok((slot, Peer { id, channel, posted: 0, answered: 0, heard: 0, collected: Vec::new() }))
}

/// Signs these peers in; QUIC is over then, and the socket free.
async fn sign_in_all(
    at: &RendezvousAddress,
    to: SocketAddr,
    socket: &UdpSocket,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Vec<(u32, Peer)>> {
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket.try_clone()?, Arc::new(TokioRuntime))?;
    let mut peers = Vec::new();
    for n in numbers {
        peers.push(sign_in(&endpoint, at, to, n).await?);
    }
    endpoint.wait_idle().await;
    drop(endpoint);
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::UdpGroSegment, &false)?;
    socket.set_nonblocking(true)?;
    Ok(peers)
}

impl Town {
    /// Sends what all have to say, and takes what has come.
    fn step(&mut self) {
        let mut buffer = [0; 2048];
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            while let Some(datagram) = peer.channel.poll_transmit(now) {
                // A full buffer at our end is no error: what is lost is repeated.
                self.sent += self.socket.send_to(&datagram, self.to).unwrap_or_default() as u64;
            }
        }
        let mut idle = true;
        while let Ok(length) = self.socket.recv(&mut buffer) {
            idle = false;
            self.received += length as u64;
            let datagram = buffer.get(..length).unwrap_or_default();
            let Some(header) = Header::parse(datagram).filter(|header| header.kind == CONTROL) else { continue };
            let Some(peer) = self.peers.get_mut(&header.slot) else { continue };
            match peer.channel.handle(header, datagram) {
                Opened::Fresh(Some(ToPeer::Posted { .. })) => peer.answered += 1,
                Opened::Fresh(Some(ToPeer::Mailbox { open: true })) => peer.answered += 1,
                Opened::Fresh(Some(ToPeer::Letter { id, .. })) => {
                    peer.heard += 1;
                    peer.collected.extend(id);
                }
                _ => {}
            }
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Has all senders post so many letters each; prints what each cost.
    fn round(&mut self, what: &str, to: &BTreeMap<u32, PeerId>, letters: u64, keep: bool) -> anyhow::Result<()> {
        let pid = self.server.id();
        let (cpu, disk, start) = (processor_time(pid)?, written(pid)?, Instant::now());
        let bytes = (self.sent, self.received);
        let goal: BTreeMap<_, _> = to.keys().map(|slot| (*slot, self.peers[slot].answered + letters)).collect();
        loop {
            let mut done = true;
            for (slot, recipient) in to {
                let Some(peer) = self.peers.get_mut(slot) else { continue };
                let goal = goal[slot];
                done &= peer.answered >= goal;
                while peer.posted < goal && peer.posted - peer.answered < TOGETHER as u64 {
                    let (letter, envelope) = (LetterName(peer.posted.to_be_bytes()), vec![7; ENVELOPE]);
                    let post = ToRendezvous::Post { to: *recipient, letter, envelope, keep };
                    peer.channel.send(post, Instant::now())?;
                    peer.posted += 1;
                }
            }
            if done {
                break;
            }
            self.step();
        }
        self.print(what, letters * to.len() as u64, cpu, disk, start, bytes)
    }

    fn print(
        &self,
        what: &str,
        letters: u64,
        cpu: Duration,
        disk: u64,
        start: Instant,
        bytes: (u64, u64),
    ) -> anyhow::Result<()> {
        let (elapsed, pid) = (start.elapsed(), self.server.id());
        let each = (processor_time(pid)? - cpu).as_secs_f64() * 1e6 / letters as f64;
        println!(
            "{what:10} {each:6.2} µs each, {:6.0} a second, {:4} bytes in, {:4} out, {:5} to the disk",
            letters as f64 / elapsed.as_secs_f64(),
            (self.sent - bytes.0) / letters,
            (self.received - bytes.1) / letters,
            (written(pid)? - disk) / letters,
        );
        Ok(())
    }
}

fn start(state: &Path) -> anyhow::Result<(Child, RendezvousAddress)> {
    let examples = std::env::current_exe()?;
    let target = examples.parent().and_then(Path::parent).context("no target")?;
    let mut server = Command::new(target.join("knothole-rendezvous"));
    server.arg("--state").arg(state).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = server.spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut line)?;
    let at = line.trim_end().strip_prefix("ready ").context("a ready line")?.parse()?;
    Ok((server, at))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let state = tempfile::tempdir_in(directory)?;
    let (server, at) = start(state.path())?;
    let to = format!("{}:{}", at.host, at.port).parse()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
    let peers = sign_in_all(&at, to, &socket, 0..2 * PAIRS).await?;
    let slots: Vec<_> = peers.iter().map(|(slot, peer)| (*slot, peer.id)).collect();
    let (senders, recipients) = slots.split_at(PAIRS);
    let pairs: BTreeMap<_, _> = senders.iter().zip(recipients).map(|((slot, _), (_, id))| (*slot, *id)).collect();
    let nobody = pairs.keys().map(|slot| (*slot, PeerId::new([9; 32]))).collect();
    let mut town = Town { server, to, socket, peers: peers.into_iter().collect(), sent: 0, received: 0 };

    town.round("returned:", &nobody, ROUND, false)?;
    town.round("straight:", &pairs, ROUND, false)?;
    for ((_, sender), (slot, _)) in senders.iter().zip(recipients) {
        let peer = town.peers.get_mut(slot).context("a recipient")?;
        peer.channel.send(ToRendezvous::Mailbox { open: true, fresh: true, senders: vec![*sender] }, Instant::now())?;
    }
    while recipients.iter().any(|(slot, _)| town.peers[slot].answered == 0) {
        town.step();
    }
    for (slot, _) in recipients {
        let peer = town.peers.get_mut(slot).context("a recipient")?;
        peer.channel.send(ToRendezvous::Goodbye, Instant::now())?;
    }
    while recipients.iter().any(|(slot, _)| !town.peers[slot].channel.is_idle()) {
        town.step();
    }
    recipients.iter().for_each(|(slot, _)| drop(town.peers.remove(slot)));
    town.round("kept:", &pairs, KEPT, true)?;

    let back = sign_in_all(&at, to, &town.socket, PAIRS..2 * PAIRS).await?;
    let slots: Vec<_> = back.iter().map(|(slot, _)| *slot).collect();
    town.peers.extend(back);
    let (cpu, disk, start) = (processor_time(town.server.id())?, written(town.server.id())?, Instant::now());
    let bytes = (town.sent, town.received);
    let is_idle = |town: &Town, slot: &u32| town.peers[slot].heard >= KEPT && town.peers[slot].channel.is_idle();
    while !slots.iter().all(|slot| is_idle(&town, slot)) {
        town.step();
        for slot in &slots {
            let Some(peer) = town.peers.get_mut(slot) else { continue };
            // As a peer does that commits what has come together.
            if peer.collected.len() >= TOGETHER || peer.heard >= KEPT && !peer.collected.is_empty() {
                let letters = std::mem::take(&mut peer.collected);
                peer.channel.send(ToRendezvous::Collected { letters }, Instant::now())?;
            }
        }
    }
    town.print("collected:", KEPT * PAIRS as u64, cpu, disk, start, bytes)?;
    kill(Pid::from_raw(i32::try_from(town.server.id())?), Signal::SIGTERM)?;
    town.server.wait()?;
    Ok(())
}
