//! What a keepalive costs the pure machine, with the bare tag as the measure: both in the same run, on the same bytes.
//!
//! `cargo run --release -p knothole-rendezvous --example keepalive_cost [PEERS]`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement reads a clock and prints figures")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::keepalive;
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_rendezvous::{LocalSocket, Policy, Server};

/// Registrations unless told otherwise: far more than the processor's caches hold.
const PEERS: u32 = 100_000;
/// Datagrams that arrive together, as the driver receives them.
const BATCH: usize = 32;
/// Each peer's keepalives; the median of the rounds is printed.
const ROUNDS: u64 = 9;

/// A machine with all peers signed in, and for each what it sends with.
fn populated(count: u32, now: Instant) -> (Server, Vec<(SocketAddr, u32, TagKey)>) {
    let mut server = Server::new(Policy::default(), [1; 32], now);
    let peers = (0..count).filter_map(|n| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let secret = RegistrationSecret(id);
        let [_, a, b, c] = n.to_be_bytes();
        let address = SocketAddr::from(([10, a, b, c], 4000));
        let request = SignInRequest { interval_s: 600, unseen: false };
        let answer = server.sign_in(now, LocalSocket(0), PeerId::new(id), address, &request, &secret);
        let SignInAnswer::Registered { slot, .. } = answer else { return None };
        Some((address, slot, TagKey::new(&secret)))
    });
    let mut peers: Vec<_> = peers.collect();
    // Keepalives come in no order: a walk with a stride that is coprime to the number of peers jumps through memory.
    peers.sort_by_key(|(_, slot, _)| u64::from(*slot) * 48_271 % u64::from(count));
    (server, peers)
}

/// Resident memory of this process, in bytes, where the system tells it (Linux; pages of 4 KiB).
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()).map_or(f64::NAN, |pages| pages * 4096.0)
}

fn per_item(elapsed: Duration, count: u32) -> f64 {
    elapsed.as_nanos() as f64 / f64::from(count)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let start = Instant::now();
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(PEERS);
    let before = resident();
    let (mut server, peers) = populated(count, start);
    let bytes = (resident() - before) / f64::from(count) - size_of_val(&peers[..]) as f64 / f64::from(count);
    let (mut quiet, mut asked, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS * 2 {
        let asks = round % 2 == 0;
        let datagrams: Vec<_> = peers.iter().map(|(_, slot, key)| keepalive(key, *slot, round, asks)).collect();
        let now = Instant::now();
        for (peers, datagrams) in peers.chunks(BATCH).zip(datagrams.chunks(BATCH)) {
            for datagram in datagrams {
                black_box(server.look_ahead(datagram));
            }
            for ((from, ..), datagram) in peers.iter().zip(datagrams) {
                server.handle_datagram(now, *from, LocalSocket(0), datagram);
            }
            while let Some(transmit) = server.poll_transmit(now) {
                black_box(transmit);
            }
        }
        if asks { &mut asked } else { &mut quiet }.push(per_item(now.elapsed(), count));

        let key = TagKey::from_bytes([7; 16]);
        let now = Instant::now();
        for datagram in &datagrams {
            black_box(key.tag(black_box(&datagram[..16])));
        }
        bare.push(per_item(now.elapsed(), count));
    }
    assert_eq!(server.counters().keepalives, u64::from(count) * ROUNDS * 2, "every keepalive was believed");
    let (quiet, asked, bare) = (median(quiet), median(asked), median(bare));
    println!("{count} registrations, median of {ROUNDS} rounds");
    println!("resident memory       {bytes:6.0} bytes a registration");
    println!("bare tag              {bare:6.0} ns");
    println!("keepalive, unanswered {quiet:6.0} ns   {:4.1} tags", quiet / bare);
    println!("keepalive, answered   {asked:6.0} ns   {:4.1} tags", asked / bare);
}
