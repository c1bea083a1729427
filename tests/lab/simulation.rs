//! The real protocol machines in the simulated world: a rendezvous' [`Server`] and peers' [`Traversal`](knothole_proto::traversal::Traversal)s, joined by
//! nothing but packets, under a clock that is moved by hand.
//!
//! QUIC is not simulated. Where a peer would sign in over it, one datagram goes each way; where two peers would talk over
//! it, the side whose turn it is to dial sends a datagram along the path, and the other answers along its own, each taking
//! only what comes from an admitted address, as the real socket does. What they would tell each other over a relayed connection
//! (notes) goes straight from machine to machine, as late as it would arrive by way of the rendezvous; but only when asked for
//! ([`Simulation::link_relayed`]), since tactics for hard NATs take a hundred times the packets of everything else.

mod generator;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use knothole_proto::identity::PeerId;
use knothole_proto::registration::{SignInRequest, to_bytes};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::traversal::ContactId;
use knothole_rendezvous::{FourSockets, LocalSocket, Policy, Server};

use crate::packet::Packet;
use crate::world::{HostId, World};
pub use generator::{Scenario, Site};
pub use node::Node;

/// Where the rendezvous listens.
const RENDEZVOUS_PORT: u16 = 3478;
/// Its alternate port (RFC 5780).
const ALTERNATE_PORT: u16 = 3479;
/// First byte of what stands for QUIC: the sign-in and its answer, a word to a peer and its echo.
const SIGN_IN: u8 = 64;
const SIGNED_IN: u8 = 65;
const WORD: u8 = 66;
const ECHO: u8 = 67;

/// One world with a rendezvous and two peers that want to reach each other.
pub struct Simulation {
    /// The internet between them.
    pub world: World,
    /// The time.
    pub now: Instant,
    /// The rendezvous.
    pub server: Server,
    /// The peers.
    pub nodes: Vec<Node>,
    start: Instant,
    server_host: HostId,
    /// The rendezvous' sockets: two addresses with two ports each.
    sockets: [SocketAddr; 4],
    linking: bool,
    links: BTreeSet<(usize, usize)>,
    /// What is under way over relayed connections, by arrival, then in order.
    letters: BTreeMap<(Instant, u64), Letter>,
}

/// Something that a relayed connection brings.
struct Letter {
    to: usize,
    from: ContactId,
    /// A note; `None`: the connection is up.
    note: Option<Vec<u8>>,
}

/// When the two peers reached each other, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// When the first side had a path.
    pub first: Duration,
    /// When a word had gone there and its echo back.
    pub both: Duration,
}

impl Simulation {
    /// Puts a rendezvous and one peer on each of these hosts; each knows all the others.
    pub fn new(world: World, peers: &[HostId], seed: u64) -> Self {
        Self::with_rendezvous(world, peers, seed, true)
    }

    /// The same, with a rendezvous that has an alternate address (RFC 5780) or has none.
    pub fn with_rendezvous(mut world: World, peers: &[HostId], seed: u64, alternate: bool) -> Self {
        let server_host = world.public_host();
        // Instants cannot be made of nothing; only differences are used.
        let start = Instant::now();
        world.set_notices(true);
        let (first, second) = (world.address(server_host), world.add_address(server_host));
        let places =
            [(first, RENDEZVOUS_PORT), (first, ALTERNATE_PORT), (second, RENDEZVOUS_PORT), (second, ALTERNATE_PORT)];
        let sockets = places.map(SocketAddr::from);
        let mut number = 0;
        let four = sockets.map(|socket| {
            number += 1;
            (LocalSocket(number - 1), socket)
        });
        let policy = Policy { discovery: alternate.then_some(FourSockets(four)), ..Policy::default() };
        let mut simulation = Self {
            server: Server::new(policy, seeded(seed, 0), start),
            server_host,
            sockets,
            linking: false,
            links: BTreeSet::new(),
            letters: BTreeMap::new(),
            nodes: Vec::new(),
            now: start,
            start,
            world,
        };
        let rendezvous = SocketAddr::new(simulation.world.address(server_host), RENDEZVOUS_PORT);
        let ids: Vec<_> = (0..peers.len()).map(|index| PeerId::new(seeded(seed, 100 + index as u64))).collect();
        for (index, &host) in peers.iter().enumerate() {
            let address = simulation.world.address(host);
            let others: Vec<_> = ids.iter().copied().filter(|id| *id != ids[index]).collect();
            let seed = seeded(seed, 200 + index as u64);
            simulation.nodes.push(Node::new(host, address, ids[index], &others, rendezvous, seed, start));
        }
        simulation
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// From now on peers that have a relay talk over it, as their traversals wish.
    pub fn link_relayed(&mut self) {
        self.linking = true;
    }

    /// Lets the peers want each other, all at this moment or only the first.
    pub fn connect(&mut self, all: bool) {
        let now = self.now;
        let wanting = if all { self.nodes.len() } else { 1 };
        for node in &mut self.nodes[..wanting] {
            node.connect(now);
        }
    }

    /// Runs until every peer is registered. `false`: `limit` passed first.
    pub fn run_until_registered(&mut self, limit: Duration) -> bool {
        let registered = self.run_until(limit, |simulation| simulation.nodes.iter().all(Node::is_registered));
        // The routers' reports come a little later.
        self.run_until(Duration::from_secs(1), |_| false);
        registered
    }

    /// Runs until the first two peers have spoken along a direct path; `None` if `limit` passes before.
    pub fn run_until_reached(&mut self, limit: Duration) -> Option<Reached> {
        let from = self.now;
        let mut first = None;
        let reached = self.run_until(limit, |simulation| {
            if first.is_none() && simulation.nodes.iter().any(Node::has_path) {
                first = Some(simulation.now - from);
            }
            simulation.nodes.iter().all(Node::has_path) && simulation.nodes.iter().any(Node::has_echo)
        });
        (reached).then(|| Reached { first: first.unwrap_or_default(), both: self.now - from })
    }

    /// Runs for this long or until the condition holds.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.drain();
            if condition(self) {
                return true;
            }
            let letter = self.letters.keys().next().map(|(at, _)| *at);
            let deadlines = [self.world.poll_timeout(), self.server.poll_timeout(), letter];
            let nodes = self.nodes.iter().map(Node::poll_timeout);
            let Some(next) = deadlines.into_iter().chain(nodes).flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            while let Some((host, packet)) = self.world.poll_delivery(self.now) {
                self.deliver(host, packet);
                self.drain();
            }
            self.deliver_letters();
            self.server.handle_timeout(self.now);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
        }
    }

    fn drain(&mut self) {
        while let Some((local, transmit)) = self.server.poll_transmit(self.now) {
            let source = self.sockets[usize::from(local.0) & 3];
            self.world.send(self.now, self.server_host, Packet::udp(source, transmit.to, transmit.payload));
        }
        for node in &mut self.nodes {
            while let Some(packet) = node.poll_transmit(self.now) {
                self.world.send(self.now, node.host(), packet);
            }
        }
        if self.linking {
            self.write_letters();
        }
    }

    fn write_letters(&mut self) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                let relayed =
                    self.nodes[from].has_relay(contact(from, to)) && self.nodes[to].has_relay(contact(to, from));
                if relayed && self.links.insert((from, to)) {
                    // A handshake is there and back.
                    let at = self.now + self.trip(from, to) * 2;
                    self.write(at, Letter { to, from: contact(to, from), note: None });
                }
            }
            while let Some((of, note)) = self.nodes[from].poll_note() {
                let Some(to) = (0..self.nodes.len()).find(|to| *to != from && contact(from, *to) == of) else {
                    continue;
                };
                let at = self.now + self.trip(from, to);
                self.write(at, Letter { to, from: contact(to, from), note: Some(note) });
            }
        }
    }

    fn write(&mut self, at: Instant, letter: Letter) {
        let order = self.letters.len() as u64 + self.letters.keys().next_back().map_or(0, |(_, order)| *order);
        self.letters.insert((at, order), letter);
    }

    /// From one peer to the other by way of the rendezvous.
    fn trip(&self, from: usize, to: usize) -> Duration {
        let ends = [self.nodes[from].host(), self.nodes[to].host()];
        ends.iter().map(|host| self.world.link(*host).delay + self.world.link(self.server_host).delay).sum()
    }

    fn deliver_letters(&mut self) {
        while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let Letter { to, from, note } = entry.remove();
            match note {
                Some(note) => self.nodes[to].handle_note(from, &note, self.now),
                None => self.nodes[to].handle_link_up(from, self.now),
            }
        }
    }

    fn deliver(&mut self, host: HostId, packet: Packet) {
        if host != self.server_host {
            match self.nodes.iter_mut().find(|node| node.host() == host) {
                Some(node) if packet.expired_toward.is_some() => node.handle_expired(&packet),
                Some(node) => node.handle(&packet, self.now),
                None => {}
            }
            return;
        }
        match packet.payload.first() {
            Some(&SIGN_IN) if packet.payload.len() == 1 + 32 + 32 => self.sign_in(&packet),
            _ => {
                let local =
                    (0..).zip(self.sockets).find(|(_, socket)| *socket == packet.dst).map_or(0, |(local, _)| local);
                self.server.handle_datagram(self.now, packet.src, LocalSocket(local), &packet.payload);
            }
        }
    }

    fn sign_in(&mut self, packet: &Packet) {
        let peer = PeerId::new(std::array::from_fn(|i| packet.payload[1 + i]));
        let secret = RegistrationSecret(std::array::from_fn(|i| packet.payload[33 + i]));
        let request = SignInRequest { interval_s: 20, unseen: false };
        let answer = self.server.sign_in(self.now, LocalSocket(0), peer, packet.src, &request, &secret);
        let payload = [&[SIGNED_IN][..], &secret.0, &to_bytes(&answer)].concat();
        self.world.send(self.now, self.server_host, Packet::udp(packet.dst, packet.src, payload));
    }
}

/// What a node calls another one.
fn contact(of: usize, other: usize) -> ContactId {
    ContactId(if other < of { other } else { other - 1 } as u32)
}

/// 32 bytes that differ for each purpose of each seed.
fn seeded(seed: u64, purpose: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&purpose.to_be_bytes());
    bytes
}
