//! What it costs the pure machine to have everybody back after a restart: with tickets, and what a ticket replaces is in
//! the same run, the public-key operations of one handshake.
//!
//! `cargo run --release -p knothole-rendezvous --example restart_cost [PEERS]`
//!
//! Not in these figures: receiving and sending, two datagrams each way (`serving_cost` measures those); and the rest of
//! a QUIC handshake, for which see `serving_cost` too.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement reads a clock and prints figures")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use knothole_proto::datagram::Header;
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive::{FromRendezvous, keepalive, parse_from_rendezvous};
use knothole_proto::registration::ticket::{Resumption, Return, parse_returned};
use knothole_proto::registration::{SignInAnswer, SignInRequest};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use knothole_rendezvous::{LocalSocket, Policy, Rate, Server};

/// Peers unless told otherwise: far more than the processor's caches hold.
const PEERS: u32 = 100_000;
/// Datagrams that arrive together, as the driver receives them.
const BATCH: usize = 32;
/// Handshakes' worth of public-key operations that the baseline is the mean of.
const HANDSHAKES: u32 = 2_000;

struct Peer {
    address: SocketAddr,
    slot: u32,
    secret: RegistrationSecret,
    ticket: Vec<u8>,
}

fn server(policy: Policy, life: u8, now: Instant) -> Server {
    Server::new(policy, [life; 32], now).with_tickets(&[7; 32], 1_800_000_000)
}

fn populated(server: &mut Server, count: u32, now: Instant) -> Vec<Peer> {
    let peers = (0..count).filter_map(|n| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let secret = RegistrationSecret(id);
        let [_, a, b, c] = n.to_be_bytes();
        let address = SocketAddr::from(([10, a, b, c], 4000));
        let request = SignInRequest { interval_s: 20, unseen: false };
        let answer = server.sign_in(now, LocalSocket(0), PeerId::new(id), address, &request, &secret);
        let SignInAnswer::Registered { slot, ticket, .. } = answer else { return None };
        Some(Peer { address, slot, secret, ticket })
    });
    let mut peers: Vec<_> = peers.collect();
    // They come back in no order.
    peers.sort_by_key(|peer| u64::from(peer.slot) * 48_271 % u64::from(count));
    peers
}

/// Hands all datagrams in, batch by batch; returns the answers and the time that this took.
fn exchange(server: &mut Server, now: Instant, datagrams: &[(SocketAddr, Vec<u8>)]) -> (Vec<Vec<u8>>, Duration) {
    let mut answers = Vec::with_capacity(datagrams.len());
    let began = Instant::now();
    for batch in datagrams.chunks(BATCH) {
        for (from, datagram) in batch {
            server.handle_datagram(now, *from, LocalSocket(0), datagram);
        }
        while let Some((_, transmit)) = server.poll_transmit(now) {
            answers.push(transmit.payload);
        }
    }
    (answers, began.elapsed())
}

/// What a server computes with public keys in one mutual TLS 1.3 handshake, X25519 alone: a signature, a verification and a
/// key agreement. A handshake with ML-KEM, certificates and QUIC's packets takes several times that.
fn public_key_operations() -> Option<Duration> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).ok()?;
    // As long as what TLS 1.3 signs (RFC 8446 section 4.4.3).
    let message = [1; 130];
    let peer = agreement::PrivateKey::generate(&agreement::X25519).ok()?;
    let theirs = peer.compute_public_key().ok()?;
    let began = Instant::now();
    for _ in 0..HANDSHAKES {
        let signature = pair.sign(black_box(&message));
        UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref()).verify(&message, signature.as_ref()).ok()?;
        let ours = agreement::PrivateKey::generate(&agreement::X25519).ok()?;
        let theirs = agreement::UnparsedPublicKey::new(&agreement::X25519, theirs.as_ref());
        agreement::agree(&ours, theirs, (), |shared| Ok(black_box(shared).len())).ok()?;
    }
    Some(began.elapsed() / HANDSHAKES)
}

fn main() {
    let now = Instant::now();
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(PEERS);
    // All come from addresses of their own, as they would; a carrier's NAT would be rationed.
    let unauthenticated = Rate { burst: u32::MAX / 2, per_second: 1_000_000 };
    let policy = Policy { unauthenticated, registrations: count, ..Policy::default() };
    let peers = populated(&mut server(policy, 1, now), count, now);

    let mut restarted = server(policy, 2, now);
    let questions: Vec<_> =
        peers.iter().map(|peer| (peer.address, keepalive(&TagKey::new(&peer.secret), peer.slot, 9, true))).collect();
    let (errors, first) = exchange(&mut restarted, now, &questions);

    let returns: Vec<_> = peers
        .iter()
        .zip(&errors)
        .filter_map(|(peer, error)| {
            let parsed = parse_from_rendezvous(&TagKey::new(&peer.secret), Header::parse(error)?, error);
            let Some(FromRendezvous::UnknownSlot { token: Some(token), .. }) = parsed else { return None };
            let shown = Return { nonce: peer.slot.into(), interval_s: 20, unseen: false, token, ticket: &peer.ticket };
            Some((peer.address, shown.to_bytes(&Resumption::of(&peer.secret).tag_key(), peer.slot)))
        })
        .collect();
    assert_eq!(returns.len(), peers.len(), "everybody is told");
    let (answers, second) = exchange(&mut restarted, now, &returns);
    assert_eq!(restarted.counters().returned, u64::from(count), "everybody is back");
    for (peer, answer) in peers.iter().zip(&answers) {
        let read = Header::parse(answer)
            .and_then(|header| parse_returned(&Resumption::of(&peer.secret), peer.slot.into(), header, answer));
        assert_eq!(read.map(|(_, observed)| observed), Some(peer.address), "and knows it");
    }

    let each = |elapsed: Duration| elapsed.as_secs_f64() * 1e6 / f64::from(count);
    println!("{count} peers back after a restart");
    println!("unknown slot, with a token       {:7.2} µs", each(first));
    println!("ticket opened, peer registered   {:7.2} µs", each(second));
    println!("a million peers back             {:7.2} core-seconds", each(first + second));
    if let Some(handshake) = public_key_operations() {
        let handshake = handshake.as_secs_f64() * 1e6;
        println!("for comparison, the public-key operations alone of a million handshakes");
        println!("                                 {handshake:7.2} core-seconds");
    }
}
