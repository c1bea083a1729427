//! What a relay frame costs the pure machine, with the least that any relay does as the measure, in the same run on the
//! same frames: one look-up in a map and one copy.
//!
//! `cargo run --release -p knothole-rendezvous --example relay_cost [CHANNELS]`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement reads a clock, prints figures, and compares with the standard library's map"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::candidate::IntroductionId;
use knothole_proto::control::{Opened, PeerChannel, ToPeer, ToRendezvous};
use knothole_proto::datagram::{CONTROL, Header, relay_header};
use knothole_proto::identity::PeerId;
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::RegistrationSecret;
use knothole_rendezvous::{LocalSocket, Policy, Rate, Server};

/// Channels unless told otherwise, with two registrations each: more than the processor's caches hold.
const CHANNELS: u32 = 50_000;
/// Datagrams that arrive together, as the driver receives them.
const BATCH: usize = 32;
/// Frames that follow each other in one channel: a full congestion window comes as a train.
const TRAINS: [usize; 2] = [1, 16];
/// A frame's length: QUIC's smallest datagram and the header before it.
const FRAME: usize = 1208;
/// The median of so many rounds is printed; in each, so many frames pass.
const ROUNDS: usize = 9;
const FRAMES: usize = 200_000;

struct Peer {
    id: PeerId,
    address: SocketAddr,
    channel: PeerChannel,
}

fn sign_in(server: &mut Server, n: u32, now: Instant) -> Option<Peer> {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let secret = RegistrationSecret(id);
    let [_, a, b, c] = n.to_be_bytes();
    let address = SocketAddr::from(([10, a, b, c], 4000));
    let id = PeerId::new(id);
    let answer =
        server.sign_in(now, LocalSocket(0), id, address, &SignInRequest { interval_s: 600, unseen: false }, &secret);
    let SignInAnswer::Registered { slot, .. } = answer else { return None };
    Some(Peer { id, address, channel: PeerChannel::of_peer(&secret, slot) })
}

/// What everybody has to say is said until nobody has more; returns the channel that this opened.
fn talk(server: &mut Server, peers: &mut [Peer; 2], now: Instant) -> Option<u32> {
    let mut opened = None;
    loop {
        let mut quiet = true;
        for peer in peers.iter_mut() {
            while let Some(datagram) = peer.channel.poll_transmit(now) {
                server.handle_datagram(now, peer.address, LocalSocket(0), &datagram);
                quiet = false;
            }
        }
        while let Some((_, transmit)) = server.poll_transmit(now) {
            let header = Header::parse(&transmit.payload).filter(|header| header.kind == CONTROL)?;
            let peer = peers.iter_mut().find(|peer| peer.address == transmit.to)?;
            if let Opened::Fresh(Some(ToPeer::Relay { channel, .. })) = peer.channel.handle(header, &transmit.payload) {
                opened = Some(channel);
            }
            quiet = false;
        }
        if quiet {
            return opened;
        }
    }
}

/// A pair of peers and their channel: both addresses, the channel.
fn introduced(server: &mut Server, n: u32, now: Instant) -> Option<(SocketAddr, SocketAddr, u32)> {
    let (alice, bob) = (sign_in(server, 2 * n, now)?, sign_in(server, 2 * n + 1, now)?);
    let introduction = IntroductionId([7; 12]);
    let mut peers = [alice, bob];
    let ids = peers.each_ref().map(|peer| peer.id);
    let invite =
        ToRendezvous::Invite { introduction, to: ids[1], candidates: Vec::new(), relay_only: false, greeting: None };
    peers[0].channel.send(invite, now).ok()?;
    let channel = talk(server, &mut peers, now)?;
    let accept = ToRendezvous::Accept { introduction, to: ids[0], candidates: Vec::new(), relay_only: false };
    peers[1].channel.send(accept, now).ok()?;
    talk(server, &mut peers, now);
    Some((peers[0].address, peers[1].address, channel))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn nanoseconds(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / FRAMES as f64
}

fn main() {
    let start = Instant::now();
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(CHANNELS);
    // What is measured is passing on, not dropping.
    let relay_bytes = Rate { burst: u32::MAX, per_second: u32::MAX };
    let mut server = Server::new(Policy { relay_bytes, ..Policy::default() }, [1; 32], start);
    let channels: Vec<_> = (0..count).filter_map(|n| introduced(&mut server, n, start)).collect();
    let map: HashMap<u32, SocketAddr> = channels.iter().map(|(_, to, channel)| (*channel, *to)).collect();
    println!("{} channels, frames of {FRAME} bytes, median of {ROUNDS} rounds of {FRAMES}", map.len());
    for train in TRAINS {
        // A walk with a stride that is coprime to the number of channels jumps through memory.
        let pick = |n: usize| channels[n / train * 48_271 % channels.len()];
        // The frames themselves stay in few buffers, as the driver's do.
        let mut buffers = vec![[0x41; FRAME]; BATCH];
        let (mut relayed, mut bare) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (mut passed, mut mapped) = (Duration::ZERO, Duration::ZERO);
            for batch in 0..FRAMES / BATCH {
                let picked: Vec<_> = (0..BATCH).map(|n| pick((round * FRAMES) + batch * BATCH + n)).collect();
                for (buffer, (_, _, channel)) in buffers.iter_mut().zip(&picked) {
                    buffer[..8].copy_from_slice(&relay_header(*channel));
                }
                // Whoever comes first pays for fetching the frame; they take turns.
                for first in [batch % 2 == 0, batch % 2 != 0] {
                    let now = Instant::now();
                    if first {
                        for buffer in &buffers {
                            black_box(server.look_ahead(buffer));
                        }
                        for (buffer, (from, ..)) in buffers.iter().zip(&picked) {
                            server.handle_datagram(now, *from, LocalSocket(0), buffer);
                        }
                        while let Some(transmit) = server.poll_transmit(now) {
                            black_box(transmit);
                        }
                        passed += now.elapsed();
                    } else {
                        for buffer in &buffers {
                            let channel = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
                            black_box((map.get(&channel), black_box(&buffer[..]).to_vec()));
                        }
                        mapped += now.elapsed();
                    }
                }
            }
            relayed.push(nanoseconds(passed));
            bare.push(nanoseconds(mapped));
        }
        let (relayed, bare) = (median(relayed), median(bare));
        println!(
            "trains of {train:2}: look-up and copy {bare:4.0} ns, relayed {relayed:4.0} ns, {:.1} times",
            relayed / bare
        );
    }
    let counters = server.counters();
    assert_eq!(
        counters.forwarded,
        (FRAMES / BATCH * BATCH * ROUNDS * TRAINS.len()) as u64,
        "every frame was passed on"
    );
}
