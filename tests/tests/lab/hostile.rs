//! Garbage and near misses at the ports of the real binaries (docs/protocol.md, "Limits"): they go on serving, in bounded
//! memory, and give no more bytes back than they were sent.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use knothole_lab::namespaces::{Host, run};
use knothole_lab::nat::NatKind;
use knothole_lab::person::{Person, Rendezvous, binaries};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

const DATAGRAMS: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// What a process may grow by under garbage: its full queues and quinn's buffers, and no table.
const GROWTH: u64 = 48 << 20;

/// What real traffic begins with, to be mutated: STUN of several kinds, each of Knothole's datagrams, QUIC packets.
fn seeds() -> Vec<Vec<u8>> {
    let stun = |kind: u16, attributes: &[u8]| {
        let length = u16::try_from(attributes.len()).unwrap_or_default();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), &0x2112_a442_u32.to_be_bytes(), &[7; 12], attributes].concat()
    };
    let username =
        [&[0, 6, 0, 20][..], &[b'a'; 20], &[0, 8, 0, 20], &[9; 20], &[0x80, 0x28, 0, 4, 1, 2, 3, 4]].concat();
    let mut seeds = vec![
        stun(1, &[]),
        stun(1, &username),
        stun(1, &[0, 3, 0, 4, 0, 0, 0, 6]),
        stun(1, &[0x7f, 0xff, 0, 4, 1, 2, 3, 4]),
        stun(0x0101, &[0, 0x20, 0, 8, 0, 1, 1, 1, 2, 2, 2, 2]),
        stun(3, &[]),
    ];
    for kind in 4..16 {
        for length in [16, 32, 40, 48, 300, 1200] {
            let mut datagram = vec![0; length];
            datagram[0] = kind;
            datagram[15] = 1;
            seeds.push(datagram);
        }
    }
    // Long headers (an Initial of version 1, one of an unknown version) and short ones.
    for version in [1_u32, 0x0a0a_0a0a] {
        let mut initial = vec![0xc3];
        initial.extend_from_slice(&version.to_be_bytes());
        initial.extend_from_slice(&[8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        initial.resize(1200, 0x55);
        seeds.push(initial);
    }
    seeds.push(vec![0x41; 60]);
    seeds.push(vec![0x41; 1200]);
    seeds
}

fn garbage(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    if rng.next_u32().is_multiple_of(4) {
        let mut datagram = vec![0; 1 + rng.next_u32() as usize % 1400];
        rng.fill_bytes(&mut datagram);
        return datagram;
    }
    let mut datagram = seeds[rng.next_u32() as usize % seeds.len()].clone();
    for _ in 0..rng.next_u32() % 6 {
        let at = rng.next_u32() as usize % datagram.len();
        datagram[at] = rng.next_u32() as u8;
    }
    match rng.next_u32() % 8 {
        0 => datagram.truncate(1 + rng.next_u32() as usize % datagram.len()),
        1 => datagram.extend_from_slice(&[rng.next_u32() as u8; 13]),
        _ => {}
    }
    datagram
}

/// Sends garbage from within the host's own namespace; returns the bytes sent and the bytes that came back.
fn flood(host: &Host, target: SocketAddr, seed: u64) -> Result<(u64, u64)> {
    let sockets: Vec<UdpSocket> = (0..4).map(|_| host.udp_socket(0)).collect::<Result<_>>()?;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let seeds = seeds();
    let (mut sent, mut received) = (0, 0);
    let mut buffer = [0; 2048];
    let mut drain = |socket: &UdpSocket, received: &mut u64| {
        while let Ok(length) = socket.recv(&mut buffer) {
            *received += length as u64;
        }
    };
    for n in 0..DATAGRAMS {
        let socket = &sockets[n as usize % sockets.len()];
        // A full buffer loses the datagram, as a network would.
        if let Ok(length) = socket.send_to(&garbage(&mut rng, &seeds), target) {
            sent += length as u64;
        }
        drain(socket, &mut received);
    }
    std::thread::sleep(Duration::from_millis(500));
    sockets.iter().for_each(|socket| drain(socket, &mut received));
    Ok((sent, received))
}

#[test]
fn a_million_datagrams_of_garbage_leave_rendezvous_and_peer_serving() -> Result<()> {
    run("hostile::a_million_datagrams_of_garbage_leave_rendezvous_and_peer_serving", |lab| {
        let programs = binaries()?;
        let directory = tempfile::tempdir()?;
        let seed = std::env::var("KNOTHOLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let [town, house, other] = ["rendezvous", "alice", "bob"].map(|name| lab.host_behind(name, NatKind::Public));
        let (town, house, other) = (town?, house?, other?);
        let second = lab.add_address(&town)?;
        let mut command = town.command(programs.join("knothole-rendezvous"));
        command.args(["--alternate", &format!("{second}:3479")]);
        let rendezvous =
            Rendezvous::start(command, &format!("{}:3478", town.address()), &directory.path().join("state"))?;
        let start = |host: &Host, home: &str| {
            let command = host.command(programs.join("knothole"));
            Person::start(command, &directory.path().join(home), &rendezvous.address)
        };
        let mut alice = start(&house, "alice")?;
        let (_, registered) = alice.event("registered", &json!({}), PATIENCE)?;
        let at_alice: SocketAddr = registered["observed"].as_str().context("an address")?.parse()?;

        let before = (rendezvous.process.resident()?, alice.process.resident()?);
        let alternate = SocketAddr::new(second, 3479);
        for (host, target) in [(&town, SocketAddr::new(town.address(), 3478)), (&town, alternate), (&house, at_alice)] {
            let (sent, received) = flood(host, target, seed)?;
            println!("{target}: {DATAGRAMS} datagrams, {sent} bytes sent, {received} came back (seed {seed})");
            ensure!(received <= sent, "{target} gave {received} bytes for {sent}");
            if target == at_alice {
                ensure!(received == 0, "a peer answers nobody who proves nothing, yet {received} bytes came back");
            }
        }
        let after = (rendezvous.process.resident()?, alice.process.resident()?);
        println!("resident: rendezvous {} → {}, peer {} → {} bytes", before.0, after.0, before.1, after.1);
        ensure!(after.0 < before.0 + GROWTH && after.1 < before.1 + GROWTH, "memory grew");

        // Still serving: a newcomer signs in and meets alice.
        let mut bob = start(&other, "bob")?;
        bob.event("registered", &json!({}), PATIENCE)?;
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        alice.call("message.send", json!({"to": "bob", "text": "still here"}))?;
        bob.event("message", &json!({"text": "still here"}), PATIENCE)?;
        Ok(())
    })
}
