//! Tickets: what a peer shows to a rendezvous that was restarted, so that a million of them are back in seconds.
//!
//! A ticket holds all that the rendezvous must know, sealed under a key that outlives a restart; nothing is remembered
//! for it. What is done for a shown ticket, in this order, each step only if the one before it succeeded:
//!
//! 1. the token proves that the sender gets datagrams at its address (a tag, 50 ns);
//! 2. the ticket opens, and has not expired (1 µs);
//! 3. the datagram's tag proves that the sender knows what is in the ticket;
//! 4. the peer is registered, under keys made for this return: a number of the rendezvous' own, fresh each time, goes into
//!    them, so that nothing recorded under earlier keys means anything under these.
//!
//! A peer that is registered already is not registered again by a ticket: with a datagram recorded seconds ago, somebody
//! could end a living registration. Only as long as no keepalive has come under the new keys is the same ticket
//! datagram answered again, for its answer may have been lost.

use std::net::SocketAddr;
use std::time::Instant;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use knothole_proto::datagram::Header;
use knothole_proto::identity::PeerId;
use knothole_proto::registration::lifetime;
use knothole_proto::registration::server::Registration;
use knothole_proto::registration::ticket::{RESUMPTION, Resumption, parse_return};
use knothole_proto::seal::{RegistrationSecret, TagKey};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::admission::{Admission, Rate};
use crate::introduction::Allowance;
use crate::policy::LocalSocket;
use crate::registry::Entry;
use crate::server::Server;

/// A ticket is good for seven days; peers renew theirs after one. Longer would be longer than anybody repairs a
/// rendezvous, and a stolen ticket key opens no older ones' registrations.
const LIFETIME_S: u64 = 7 * 24 * 60 * 60;
/// Returns of one peer: nobody needs more, and whoever says goodbye and returns has all its contacts' channels closed. Peers
/// share 65,536 buckets; when a million return within 20 s, some 15 of them meet in one, almost never 64.
const RETURNS: Rate = Rate { burst: 64, per_second: 4 };
/// New tickets of one peer, in the same kind of buckets: it wants one a day. A ticket is the one answer that is far longer than
/// its question, and costs a hundred times a keepalive.
const RENEWALS: Rate = Rate { burst: 8, per_second: 1 };
/// The version of the ticket's content. A rendezvous of another version does not open it, and its peers sign in.
const VERSION: u8 = 1;
const NONCE: usize = 12;
const TEXT: usize = 32 + RESUMPTION + 8;

/// Makes tickets and opens them.
pub(crate) struct Tickets {
    key: LessSafeKey,
    random: ChaCha12Rng,
    /// The time of the start, in seconds since 1970.
    start_s: u64,
    start: Instant,
    /// How often each peer may come back.
    returns: Admission,
    /// How often each peer may have a new one.
    renewals: Admission,
}

/// What a ticket holds.
struct Opened {
    peer: PeerId,
    resumption: Resumption,
}

impl Tickets {
    /// `key` outlives restarts; `seed` is another at each.
    pub(crate) fn new(key: &[u8; 32], seed: [u8; 32], start_s: u64, start: Instant) -> Self {
        #[expect(clippy::expect_used, reason = "a key of 32 bytes is what the algorithm takes")]
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes");
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut admission = |rate| {
            let mut shared = [0; 16];
            random.fill_bytes(&mut shared);
            Admission::new(rate, shared, start)
        };
        let (returns, renewals) = (admission(RETURNS), admission(RENEWALS));
        Self { key: LessSafeKey::new(key), random, start_s, start, returns, renewals }
    }

    fn seconds(&self, now: Instant) -> u64 {
        self.start_s.saturating_add(now.saturating_duration_since(self.start).as_secs())
    }

    /// A ticket for the registration of this secret.
    pub(crate) fn issue(&mut self, peer: PeerId, secret: &RegistrationSecret, now: Instant) -> Vec<u8> {
        let expires = self.seconds(now).saturating_add(LIFETIME_S);
        let mut sealed = Vec::with_capacity(TEXT + 16);
        sealed.extend_from_slice(peer.as_bytes());
        sealed.extend_from_slice(Resumption::of(secret).as_bytes());
        sealed.extend_from_slice(&expires.to_be_bytes());
        // By chance: 96 bits repeat once in 10^13 tickets with a likelihood of one in a thousand, and a million peers
        // take a million a day. The text has its part in it, for the key is for life: where chance repeats, in a machine
        // that is set back to an earlier state, another text still has another nonce.
        let mut chance = [0; 16];
        self.random.fill_bytes(&mut chance);
        let tag = TagKey::from_bytes(chance).tag(&sealed);
        let nonce: [u8; NONCE] = std::array::from_fn(|i| tag[i]);
        let aad = Aad::from([VERSION]);
        #[expect(clippy::expect_used, reason = "fails only for texts of 256 GiB")]
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).expect("a short text");
        [&[VERSION], &nonce[..], &sealed].concat()
    }

    /// A ticket for a peer that wants a new one, unless it had its share.
    pub(crate) fn renew(&mut self, peer: PeerId, secret: &RegistrationSecret, now: Instant) -> Option<Vec<u8>> {
        self.renewals.admits_peer(peer, now).then(|| self.issue(peer, secret, now))
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Opened> {
        let (&[VERSION], rest) = ticket.split_first_chunk()? else { return None };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let mut sealed: [u8; TEXT + 16] = sealed.try_into().ok()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.open_in_place(nonce, Aad::from([VERSION]), &mut sealed).ok()?;
        let (peer, rest) = text.split_first_chunk::<32>()?;
        let (resumption, rest) = rest.split_first_chunk::<RESUMPTION>()?;
        let expires = u64::from_be_bytes(*rest.first_chunk()?);
        (self.seconds(now) < expires)
            .then(|| Opened { peer: PeerId::new(*peer), resumption: Resumption::from_bytes(*resumption) })
    }
}

impl Server {
    /// Gives this rendezvous the key of its tickets, which must be the same after a restart, and the time in seconds
    /// since 1970. Without it no ticket outlives the process.
    #[must_use]
    pub fn with_tickets(mut self, key: &[u8; 32], start_s: u64) -> Self {
        let mut seed = [0; 32];
        self.tickets.random.fill_bytes(&mut seed);
        self.tickets = Tickets::new(key, seed, start_s, self.start);
        self
    }

    /// A peer shows its ticket.
    pub(crate) fn handle_return(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        header: Header,
        datagram: &[u8],
    ) {
        let Some(shown) = parse_return(header, datagram) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        if self.closing.is_some() {
            self.counters.sign_in_refused += 1;
            return;
        }
        if !self.challenger.invited(from, shown.token, now) {
            // It moved on its way, or took too long: another token, to where it is now.
            return self.answer_unknown_slot(now, from, local, header, datagram);
        }
        let opened = self.tickets.open(shown.ticket, now);
        let Some(Opened { peer, resumption }) = opened.filter(|opened| opened.resumption.tag_key().verifies(datagram))
        else {
            self.counters.tickets_refused += 1;
            return self.answer_no_ticket(now, from, local, header, datagram);
        };
        if let Some(slot) = self.registry.find(peer, now) {
            return self.return_again(now, from, local, slot, &resumption, shown.nonce);
        }
        if !self.tickets.returns.admits_peer(peer, now) {
            self.counters.dropped_unadmitted += 1;
            return;
        }
        let chance = self.tickets.random.next_u64();
        let secret = resumption.secret(shown.nonce, chance);
        let registration = Registration::new(peer, &secret, from, lifetime(shown.interval_s), now);
        let allowance = Allowance::default();
        let unseen = shown.unseen;
        let entry = Entry { registration, secret, line: None, allowance, chance, unseen, unheard: false, local };
        let Some(slot) = self.register(now, entry) else {
            self.counters.sign_in_refused += 1;
            return self.answer_no_ticket(now, from, local, header, datagram);
        };
        self.counters.returned += 1;
        tracing::debug!(?peer, slot, %from, "returned");
        self.answer_returned(now, from, local, slot);
    }

    /// A peer that is registered shows its ticket.
    fn return_again(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        slot: u32,
        resumption: &Resumption,
        nonce: u64,
    ) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        let secret = resumption.secret(nonce, entry.chance);
        let same = verify_slices_are_equal(&secret.0, &entry.secret.0).is_ok();
        if !same || !entry.registration.is_unused() {
            self.counters.dropped_repeated += 1;
            return;
        }
        // The token proves the address, which may be another than the first time.
        entry.registration.handle_proven(from, now);
        entry.local = local;
        self.answer_returned(now, from, local, slot);
    }

    fn answer_returned(&mut self, now: Instant, from: SocketAddr, local: LocalSocket, slot: u32) {
        self.returned_at = Some(from);
        if let Some(entry) = self.registry.at(slot, now) {
            let answer = entry.registration.returned(slot, entry.chance);
            self.outbox.push(local, from, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tickets(key: u8, start_s: u64, start: Instant) -> Tickets {
        Tickets::new(&[key; 32], [key; 32], start_s, start)
    }

    #[test]
    fn a_ticket_opens_whole_under_its_key_until_it_expires_and_after_a_restart() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Instant::now();
        let mut first = tickets(1, 1_000, start);
        let (peer, secret) = (PeerId::new([3; 32]), RegistrationSecret([4; 32]));
        let ticket = first.issue(peer, &secret, start);
        assert!(ticket.len() <= knothole_proto::registration::ticket::MAX_TICKET);
        assert_ne!(first.issue(peer, &secret, start), ticket);
        let opened = tickets(1, 1_060, start).open(&ticket, start).unwrap();
        assert_eq!(opened.peer, peer);
        assert_eq!(opened.resumption.as_bytes(), Resumption::of(&secret).as_bytes());
        assert!(tickets(2, 1_060, start).open(&ticket, start).is_none(), "another rendezvous'");
        for i in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[i] ^= 1;
            assert!(first.open(&touched, start).is_none(), "byte {i}");
            assert!(first.open(&ticket[..i], start).is_none(), "{i} bytes");
        }
        assert!(first.open(&[&ticket[..], &[0]].concat(), start).is_none());
        assert!(first.open(&ticket, start + Duration::from_secs(LIFETIME_S - 1)).is_some());
        assert!(first.open(&ticket, start + Duration::from_secs(LIFETIME_S)).is_none());
    }

    #[test]
    fn chance_that_repeats_as_in_a_restored_machine_repeats_no_nonce() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let start = Instant::now();
        let secret = RegistrationSecret([4; 32]);
        let nonces =
            [3, 5].map(|n| tickets(1, 1_000, start).issue(PeerId::new([n; 32]), &secret, start)[1..=NONCE].to_vec());
        assert_ne!(nonces[0], nonces[1]);
    }
}
