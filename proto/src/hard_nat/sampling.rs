//! Which ports fresh mappings get: each base asks the rendezvous where it sees it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use crate::path::{Base, Transmit};
use crate::stun::TransactionId;
use crate::stun::discovery::{binding_request, parse_response};

/// Between two bases: far enough apart to leave in order, close enough that little else is mapped in between.
const GAP: Duration = Duration::from_millis(2);
/// An unanswered question is repeated after this, longer than most round trips to a rendezvous …
const REPEAT: Duration = Duration::from_millis(250);
/// … and asked three times.
const TRIES: u8 = 3;
/// Then what is known must do.
const PATIENCE: Duration = Duration::from_millis(900);

struct Asked {
    base: Base,
    id: TransactionId,
    tries: u8,
    due: Instant,
    mapped: Option<SocketAddr>,
}

/// One round of questions, one from each base, in order.
pub(super) struct Sampling {
    server: SocketAddr,
    asked: Vec<Asked>,
    until: Instant,
}

impl Sampling {
    pub(super) fn new(server: SocketAddr, bases: &[Base], random: &mut ChaCha12Rng, now: Instant) -> Self {
        let mut due = now;
        let mut ask = |base: &Base| {
            let mut id = TransactionId([0; 12]);
            random.fill_bytes(&mut id.0);
            let asked = Asked { base: *base, id, tries: 0, due, mapped: None };
            due += GAP;
            asked
        };
        let asked: Vec<_> = bases.iter().map(&mut ask).collect();
        Self { server, asked, until: due + PATIENCE }
    }

    /// Takes an answer; whether it was one.
    pub(super) fn handle_response(&mut self, base: Base, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(response) = parse_response(datagram).filter(|_| from == self.server) else { return false };
        let asked = self.asked.iter_mut().find(|asked| asked.base == base && asked.id == response.id);
        asked.map(|asked| asked.mapped = Some(response.mapped)).is_some()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, transmits: &mut VecDeque<Transmit>) {
        let due = |asked: &&mut Asked| asked.mapped.is_none() && asked.tries < TRIES && asked.due <= now;
        for asked in self.asked.iter_mut().filter(due) {
            asked.tries += 1;
            asked.due = now + REPEAT;
            let payload = binding_request(asked.id);
            transmits.push_back(Transmit { base: asked.base, to: self.server, ttl: None, payload });
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let open = self.asked.iter().filter(|asked| asked.mapped.is_none() && asked.tries < TRIES);
        open.map(|asked| asked.due).fold(self.until, Instant::min)
    }

    /// Whether every base was answered, or it was waited long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until || self.asked.iter().all(|asked| asked.mapped.is_some())
    }

    /// The ports that were seen, in the order in which they were given out.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.asked.iter().filter_map(|asked| asked.mapped).map(|mapped| mapped.port()).collect()
    }
}
