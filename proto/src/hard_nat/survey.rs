//! How our own NAT maps: the main socket asks several addresses where they see it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Nat;
use crate::candidate::is_reachable;
use crate::nat::{self, Mapping, Ports, Sample};
use crate::path::{Base, Transmit};
use crate::stun::TransactionId;
use crate::stun::discovery::{binding_request, parse_response};

/// An unanswered question is repeated after this …
const REPEAT: Duration = Duration::from_millis(500);
/// … and asked five times: with a quarter lost on the way there and back, once in a thousand times none is answered.
const TRIES: u8 = 5;
/// Addresses asked: the four of RFC 5780 at four rendezvous. Their number is the rendezvous' and the contacts' choice.
const MAX_ASKED: usize = 16;

struct Asked {
    to: SocketAddr,
    id: TransactionId,
    tries: u8,
    due: Instant,
    mapped: Option<SocketAddr>,
}

/// What is known of our NAT. Only IPv4 is looked at: there are no such NATs for IPv6.
pub(crate) struct Survey {
    random: ChaCha12Rng,
    allow_loopback: bool,
    /// The port of the main socket itself.
    local: Option<u16>,
    /// In the order in which they were asked, which is that of the mappings.
    asked: Vec<Asked>,
    transmits: VecDeque<Transmit>,
    /// A contact saw us at another port than the rendezvous.
    dependent: bool,
    nat: Nat,
}

impl Survey {
    pub(crate) fn new(seed: [u8; 32], allow_loopback: bool) -> Self {
        Self {
            random: ChaCha12Rng::from_seed(seed),
            allow_loopback,
            local: None,
            asked: Vec::new(),
            transmits: VecDeque::new(),
            dependent: false,
            nat: Nat::UNKNOWN,
        }
    }

    /// What is known.
    pub(crate) const fn nat(&self) -> Nat {
        self.nat
    }

    /// The main socket's port.
    pub(crate) fn set_local(&mut self, port: Option<u16>) {
        self.local = port;
        self.judge();
    }

    /// A rendezvous sees us at this address. If it saw us elsewhere before, the network is another one.
    pub(crate) fn handle_registered(&mut self, rendezvous: SocketAddr, observed: SocketAddr, now: Instant) {
        if !rendezvous.is_ipv4() || !observed.is_ipv4() {
            return;
        }
        let moved = |asked: &Asked| {
            asked
                .mapped
                .is_some_and(|mapped| mapped.ip() != observed.ip() || asked.to == rendezvous && mapped != observed)
        };
        if self.asked.iter().any(moved) {
            self.asked.clear();
            self.dependent = false;
        }
        self.ask(rendezvous, now);
        self.judge();
    }

    /// A contact sees us at this address. Another port at the address that a rendezvous sees is another mapping.
    pub(crate) fn handle_observed(&mut self, address: SocketAddr) {
        let elsewhere = |mapped: SocketAddr| mapped.ip() == address.ip() && mapped.port() != address.port();
        self.dependent |= self.asked.iter().filter_map(|asked| asked.mapped).any(elsewhere);
        self.judge();
    }

    /// Takes an answer; whether it was one.
    pub(crate) fn handle_response(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        let Some(response) = parse_response(datagram) else { return false };
        let asked = self.asked.iter_mut().find(|asked| asked.id == response.id && asked.to == from);
        let Some(asked) = asked else { return false };
        asked.mapped = Some(response.mapped);
        if let Some(other) = response.other.filter(|other| other.is_ipv4()) {
            let others = [(from.ip(), other.port()), (other.ip(), from.port()), (other.ip(), other.port())];
            others.into_iter().for_each(|other| self.ask(other.into(), now));
        }
        self.judge();
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due = |asked: &&mut Asked| asked.mapped.is_none() && asked.tries < TRIES && asked.due <= now;
        for asked in self.asked.iter_mut().filter(due) {
            asked.tries += 1;
            asked.due = now + REPEAT;
            let payload = binding_request(asked.id);
            self.transmits.push_back(Transmit { base: Base::MAIN, to: asked.to, ttl: None, payload });
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let open = self.asked.iter().filter(|asked| asked.mapped.is_none() && asked.tries < TRIES);
        open.map(|asked| asked.due).min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn ask(&mut self, to: SocketAddr, now: Instant) {
        let known = self.asked.iter().any(|asked| asked.to == to);
        if known || self.asked.len() == MAX_ASKED || !is_reachable(to, self.allow_loopback) {
            return;
        }
        let mut id = TransactionId([0; 12]);
        self.random.fill_bytes(&mut id.0);
        self.asked.push(Asked { to, id, tries: 0, due: now, mapped: None });
        self.handle_timeout(now);
    }

    fn judge(&mut self) {
        let sample = |asked: &Asked| asked.mapped.map(|mapped| Sample { to: asked.to, mapped });
        let known: Vec<_> = self.asked.iter().filter_map(sample).collect();
        let mut mapping = nat::mapping(None, &known);
        if self.dependent && !matches!(mapping, Mapping::AddressDependent) {
            mapping = Mapping::AddressAndPortDependent;
        }
        let mut ports: Vec<u16> = known.iter().map(|sample| sample.mapped.port()).collect();
        ports.dedup();
        let kept = !ports.is_empty() && ports.iter().all(|port| Some(*port) == self.local);
        self.nat = Nat { mapping, ports: if kept { Ports::Preserved } else { nat::sequence(&ports) } };
    }
}
