//! What a rendezvous sees of us over the address family by which we are not registered there.
//!
//! A peer registers over one family. Where the rendezvous has an address of the other as well, a plain STUN request (RFC
//! 8489) from the same port tells our address there, which a NAT or a firewall then has open. It is asked when we
//! sign in, when the network changes and before each invitation, not in between: an idle peer keeps no second mapping.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use super::{RendezvousId, Traversal};
use crate::datagram::Transmit;
use crate::stun::discovery::{binding_request, parse_response};
use crate::stun::{TransactionId, canonical};

/// Requests of one question: STUN's own seven (RFC 8489 section 6.2.1) are for servers that must answer.
const REQUESTS: u8 = 3;
/// Before the first repetition (RFC 8489's RTO); it doubles.
const REPETITION: Duration = Duration::from_millis(500);
/// A question younger than this is not asked again: a burst of invitations needs one answer.
const FRESH: Duration = Duration::from_secs(5);

/// One rendezvous' other address.
pub(super) struct OtherFamily {
    remote: SocketAddr,
    asked: Option<Instant>,
    /// The question under way: its name, how often it went out, and when it goes out again.
    question: Option<(TransactionId, u8, Instant)>,
    outgoing: Option<Transmit>,
}

impl OtherFamily {
    fn ask(&mut self, random: &mut ChaCha12Rng, now: Instant) {
        let mut id = TransactionId([0; 12]);
        random.fill_bytes(&mut id.0);
        self.asked = Some(now);
        self.send(id, 1, now);
    }

    fn send(&mut self, id: TransactionId, times: u8, now: Instant) {
        self.question = Some((id, times, now + REPETITION * (1 << (times - 1))));
        self.outgoing = Some(Transmit { to: self.remote, ttl: None, payload: binding_request(id) });
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.take()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.question.map(|(_, _, again)| again)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((id, times, _)) = self.question.take_if(|(_, _, again)| *again <= now)
            && times < REQUESTS
        {
            self.send(id, times + 1, now);
        }
    }
}

impl Traversal {
    /// The rendezvous where we are registered has this address of the other family, too (`None`: it has none).
    pub fn set_other_family(&mut self, id: RendezvousId, remote: Option<SocketAddr>, now: Instant) {
        let remote = remote.map(canonical).filter(|_| self.rendezvous.contains_key(&id));
        let Some(remote) = remote else {
            self.other_families.remove(&id);
            return self.forget_reflexive(id);
        };
        let mut family = OtherFamily { remote, asked: None, question: None, outgoing: None };
        family.ask(&mut self.random, now);
        self.other_families.insert(id, family);
    }

    pub(super) fn ask_other_families(&mut self, now: Instant) {
        for family in self.other_families.values_mut() {
            family.ask(&mut self.random, now);
        }
    }

    /// An invitation goes through this rendezvous, or came: what is known of the other family may be old.
    pub(super) fn refresh_other_family(&mut self, id: RendezvousId, now: Instant) {
        if let Some(family) = self.other_families.get_mut(&id)
            && family.asked.is_none_or(|asked| asked + FRESH <= now)
        {
            family.ask(&mut self.random, now);
        }
    }

    pub(super) fn handle_other_family(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) {
        let from = canonical(from);
        let Some(response) = parse_response(datagram) else { return };
        let asked =
            |family: &OtherFamily| family.remote == from && family.question.is_some_and(|(id, _, _)| id == response.id);
        let Some((&id, family)) = self.other_families.iter_mut().find(|(_, family)| asked(family)) else { return };
        family.question = None;
        self.set_reflexive(id, response.mapped, now);
    }
}
