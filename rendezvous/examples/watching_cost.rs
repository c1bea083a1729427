//! What it costs the pure machine that peers name each other, and are told of each other: time a name, and memory a watch.
//!
//! `cargo run --release -p knothole-rendezvous --example watching_cost [PEERS [CONTACTS]]`. Each peer names so many others, those
//! name it, and everything that follows is sent and acknowledged.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement has a clock, prints figures and fails by panicking"
)]

use std::net::SocketAddr;
use std::time::Instant;

use knothole_proto::control::{MAX_NAMED, PeerChannel, ToRendezvous, Watched};
use knothole_proto::datagram::Header;
use knothole_proto::identity::PeerId;
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::RegistrationSecret;
use knothole_rendezvous::{LocalSocket, Policy, Server};

fn peer(n: u32) -> PeerId {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    PeerId::new(key)
}

fn address(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 4000))
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn main() {
    let number = |index: usize, or: u32| std::env::args().nth(index).map_or(or, |text| text.parse().unwrap());
    let (peers, contacts) = (number(1, 100_000), number(2, 50));
    let now = Instant::now();
    let mut server = Server::new(Policy::default(), [7; 32], now);
    let mut channels = Vec::new();
    for n in 0..peers {
        let mut secret = RegistrationSecret([9; 32]);
        secret.0[..4].copy_from_slice(&n.to_be_bytes());
        let request = SignInRequest { interval_s: 600, unseen: false };
        let answer = server.sign_in(now, LocalSocket(0), peer(n), address(n), &request, &secret);
        let SignInAnswer::Registered { slot, .. } = answer else { return };
        channels.push(PeerChannel::of_peer(&secret, slot));
    }
    // Who says something has a control channel, watching or not.
    for n in 0..peers {
        let message = ToRendezvous::Unwatch { peers: Vec::new() };
        exchange(&mut server, &mut channels, n, message, now);
    }
    let before = resident_kb();
    let begin = Instant::now();
    let (mut sealing, mut told) = (std::time::Duration::ZERO, 0);
    for n in 0..peers {
        // Half of them above, half below, so that each names those that name it.
        let near = (1..=contacts / 2).flat_map(|k| [(n + k) % peers, (n + peers - k) % peers]);
        let named: Vec<_> = near.map(|n| Watched { peer: peer(n), shown: true }).collect();
        for some in named.chunks(MAX_NAMED) {
            let message = ToRendezvous::Watch { unseen: false, peers: some.to_vec() };
            let (aside, heard) = exchange(&mut server, &mut channels, n, message, now);
            sealing += aside;
            told += heard;
        }
    }
    let spent = begin.elapsed() - sealing;
    let watches = u64::from(peers) * u64::from(contacts);
    let nanoseconds = spent.as_nanos() / u128::from(watches);
    println!("{peers} peers with {contacts} contacts each: {nanoseconds} ns a name, {told} messages of presence");
    println!("{} bytes a watch, all told", (resident_kb() - before) * 1024 / watches);
}

/// Says something; returns the time that the peers' own work took, and the messages that others were sent.
fn exchange(
    server: &mut Server,
    channels: &mut [PeerChannel],
    n: u32,
    message: ToRendezvous,
    now: Instant,
) -> (std::time::Duration, u64) {
    let mut aside = std::time::Duration::ZERO;
    let begin = Instant::now();
    channels[n as usize].send(message, now).unwrap();
    let mut queue: Vec<_> = std::iter::from_fn(|| channels[n as usize].poll_transmit(now)).map(|d| (n, d)).collect();
    aside += begin.elapsed();
    let mut told = 0;
    while let Some((from, datagram)) = queue.pop() {
        server.handle_datagram(now, address(from), LocalSocket(0), &datagram);
        while let Some((_, transmit)) = server.poll_transmit(now) {
            let begin = Instant::now();
            let SocketAddr::V4(to) = transmit.to else { continue };
            let [_, a, b, c] = to.ip().octets();
            let to = u32::from_be_bytes([0, a, b, c]);
            let header = Header::parse(&transmit.payload).unwrap();
            told += u64::from(to != n);
            channels[to as usize].handle(header, &transmit.payload);
            queue.extend(std::iter::from_fn(|| channels[to as usize].poll_transmit(now)).map(|d| (to, d)));
            aside += begin.elapsed();
        }
    }
    (aside, told)
}
