//! The pure machine: what it is given, what it answers.

use std::net::{SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use knothole_proto::control::Opened;
use knothole_proto::datagram::{
    CONTROL, ECHO, FLIGHT, Header, KEEPALIVE, Kind, MOVE, RELAY, RETURN, Transmit, classify, parse_relay,
};
use knothole_proto::identity::PeerId;
use knothole_proto::keepalive;
use knothole_proto::registration::server::{Challenger, Outcome, Registration};
use knothole_proto::registration::{SignInAnswer, SignInRequest, lifetime};
use knothole_proto::seal::RegistrationSecret;
use knothole_proto::stun::server::{Place, answer};
use knothole_proto::tunnel::{is_made_up, told};

use crate::admission::{Admission, Bucket, microseconds};
use crate::closing::Closing;
use crate::codes::Codes;
use crate::counters::Counters;
use crate::departed::Departed;
use crate::echo::Echoes;
use crate::introduction::{Allowance, Introductions};
use crate::mailbox::Mailboxes;
use crate::outbox::{Line, Outbox};
use crate::policy::{LocalSocket, Policy};
use crate::presence::Presence;
use crate::registry::{Entry, Registry};
use crate::relay::Relay;
use crate::ticket::Tickets;

/// A refused peer comes back after this many seconds: a full table empties with the registrations' lifetime, 40 s for
/// most.
const RETRY_AFTER_S: u16 = 30;

/// Where STUN requests arrive as long as there is no alternate: then no answer names it.
const ANYWHERE: Place =
    Place { local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0), other: None };

/// The rendezvous as a pure machine. Change one thing with a `handle_*` or [`sign_in`](Self::sign_in), drain
/// [`poll_transmit`](Self::poll_transmit), sleep until [`poll_timeout`](Self::poll_timeout).
pub struct Server {
    pub(crate) policy: Policy,
    pub(crate) start: Instant,
    pub(crate) registry: Registry,
    pub(crate) introductions: Introductions,
    pub(crate) relay: Relay,
    pub(crate) presence: Presence,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Counters,
    pub(crate) closing: Option<Closing>,
    /// Where the peer is that came back with its ticket just now.
    pub(crate) returned_at: Option<SocketAddr>,
    /// The made-up addresses that registrations have left since the driver took them.
    pub(crate) left_streams: Vec<SocketAddr>,
    pub(crate) challenger: Challenger,
    pub(crate) tickets: Tickets,
    pub(crate) echoes: Echoes,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) codes: Codes,
    departed: Departed,
    admission: Admission,
}

impl Server {
    /// A rendezvous that knows nobody. Everything secret in it comes from the seed: 32 bytes that nobody can guess.
    #[must_use]
    pub fn new(policy: Policy, seed: [u8; 32], now: Instant) -> Self {
        let seed = hmac::Key::new(hmac::HMAC_SHA256, &seed);
        Self {
            policy,
            start: now,
            registry: Registry::new(policy.registrations, derived(&seed, b"peer table"), now),
            introductions: Introductions::new(&derived(&seed, b"introductions"), derived(&seed, b"invitations")),
            relay: Relay::new(policy.relay_channels, derived(&seed, b"relay channels")),
            presence: Presence::default(),
            outbox: Outbox::default(),
            counters: Counters::default(),
            closing: None,
            returned_at: None,
            left_streams: Vec::new(),
            challenger: Challenger::new(derived(&seed, b"challenges"), now),
            // Nobody knows this key after the process has ended, see `with_tickets`.
            tickets: Tickets::new(&derived(&seed, b"ticket key"), derived(&seed, b"ticket numbers"), 0, now),
            echoes: Echoes::default(),
            mailboxes: Mailboxes::new(derived(&seed, b"mailboxes"), now),
            codes: Codes::new(derived(&seed, b"codes"), now),
            departed: Departed::new(derived(&seed, b"departed peers"), now),
            admission: Admission::new(policy.unauthenticated, derived(&seed, b"admission"), now),
        }
    }

    /// Takes a STUN or Knothole datagram of any content that came from `from` by the way `local`.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, local: LocalSocket, datagram: &[u8]) {
        match datagram.first().map(|first| classify(*first)) {
            Some(Kind::Stun) => self.handle_stun(now, from, local, datagram),
            Some(Kind::Knothole) if datagram.first() == Some(&RELAY) => self.handle_relay(now, from, datagram),
            Some(Kind::Knothole) if datagram.first() == Some(&FLIGHT) => self.handle_flight(now, from, datagram),
            Some(Kind::Knothole) => match Header::parse(datagram) {
                Some(header) if matches!(header.kind, KEEPALIVE | MOVE) => {
                    self.handle_keepalive(now, from, local, header, datagram);
                }
                Some(header) if header.kind == RETURN => self.handle_return(now, from, local, header, datagram),
                Some(header) if header.kind == ECHO => self.handle_echo(now, from, local, header, datagram),
                Some(header) if header.kind == CONTROL => self.handle_control(now, from, local, header, datagram),
                _ => self.counters.dropped_malformed += 1,
            },
            _ => self.counters.dropped_malformed += 1,
        }
    }

    /// Reads what [`handle_datagram`](Self::handle_datagram) will need for this datagram, and changes nothing. Called for
    /// each of a batch before the first is handled, it lets the processor fetch their slots from memory all at once
    /// instead of one after the other. The number means nothing; it keeps the compiler from leaving the reading out.
    #[must_use]
    pub fn look_ahead(&self, datagram: &[u8]) -> u64 {
        if let Some((channel, _)) = parse_relay(datagram) {
            let ends = self.relay.ends(channel).into_iter().flatten();
            return ends.map(|slot| self.registry.touch(slot)).fold(0, u64::wrapping_add);
        }
        match Header::parse(datagram) {
            Some(header) if matches!(header.kind, KEEPALIVE | MOVE) => self.registry.touch(header.slot),
            _ => 0,
        }
    }

    /// Registers the peer that has just proved by TLS that it holds this key, at the address that QUIC has proved.
    /// A former registration of the same peer ends. An interval out of
    /// [`INTERVAL_RANGE_S`](knothole_proto::registration::INTERVAL_RANGE_S) counts as the nearest in it.
    pub fn sign_in(
        &mut self,
        now: Instant,
        local: LocalSocket,
        peer: PeerId,
        observed: SocketAddr,
        request: &SignInRequest,
        secret: &RegistrationSecret,
    ) -> SignInAnswer {
        let observed = canonical(observed);
        let lifetime = lifetime(request.interval_s);
        let registration = Registration::new(peer, secret, observed, lifetime, now);
        let allowance = Allowance::default();
        let unseen = request.unseen;
        let entry = Entry {
            registration,
            secret: secret.clone(),
            line: None,
            allowance,
            chance: 0,
            unseen,
            unheard: false,
            local,
        };
        let registered = if self.closing.is_some() { None } else { self.register(now, entry) };
        let Some(slot) = registered else {
            self.counters.sign_in_refused += 1;
            return SignInAnswer::Refused { retry_after_s: RETRY_AFTER_S };
        };
        self.counters.signed_in += 1;
        tracing::debug!(?peer, slot, %observed, ?lifetime, "signed in");
        // The longest is 1,800 s.
        let lifetime_s = u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX);
        let ticket = self.tickets.issue(peer, secret, now);
        SignInAnswer::Registered { slot, lifetime_s, observed: told(observed), ticket }
    }

    /// Registers a peer, unless there is no room. A former registration of the same peer ends.
    pub(crate) fn register(&mut self, now: Instant, entry: Entry) -> Option<u32> {
        let peer = entry.registration.peer();
        let (slot, old) = self.registry.insert(entry, now).ok()?;
        // Neither signing in anew nor leaving and coming back is a way to more invitations.
        let (allowance, letters) = match &old {
            Some(old) => (old.allowance.clone(), letters_left(old)),
            None => self.departed.recall(peer),
        };
        if let Some(entry) = self.registry.at(slot, now) {
            entry.allowance = allowance;
            if !letters.is_full(microseconds(self.start, now)) {
                entry.line.insert(Box::new(Line::new(&entry.secret, slot))).letters = letters;
            }
        }
        if let Some(old) = old {
            self.ended(now, slot, old);
        }
        self.open_letters(now, slot, peer);
        Some(slot)
    }

    /// Does what is due: ends registrations whose keepalives stayed away and relay channels that carry nothing, repeats
    /// control messages.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((slot, entry)) = self.registry.poll_expired(now) {
            self.counters.expired += 1;
            tracing::debug!(peer = ?entry.registration.peer(), slot, "expired");
            self.ended(now, slot, entry);
        }
        self.close_idle_relays(now);
        self.send_echoes(now);
        self.lapse(now);
        self.look_after_mailboxes(now);
        while let Some(slot) = self.outbox.pop_due(now) {
            if let Some(line) = self.registry.at(slot, now).and_then(|entry| entry.line.as_mut()) {
                line.handle_timeout(now);
                self.outbox.wake(slot, line);
                self.keep_given_up(now, slot);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.relay.poll_timeout_s().map(|due_s| self.start + Duration::from_secs(due_s.into()));
        let (registry, outbox, echoes) =
            (self.registry.poll_timeout(), self.outbox.poll_timeout(), self.echoes.poll_timeout());
        let (presence, mailboxes) = (self.presence.poll_timeout(), self.mailboxes.poll_timeout());
        [registry, outbox, echoes, presence, mailboxes, idle].into_iter().flatten().min()
    }

    /// The next datagram to send, and by which way.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(LocalSocket, Transmit)> {
        loop {
            if let Some(next) = self.outbox.pop() {
                return Some(next);
            }
            let Some(slot) = self.outbox.first_ready() else {
                if self.tell_next(now) {
                    continue;
                }
                return None;
            };
            let Some(entry) = self.registry.at(slot, now) else {
                self.outbox.rest(None);
                continue;
            };
            if let Some(line) = entry.line.as_mut() {
                self.counters.presence += line.tell(self.start, now);
            }
            if let Some(payload) = entry.line.as_mut().and_then(|line| line.channel.poll_transmit(now)) {
                return Some((entry.local, Transmit { to: entry.registration.address(), ttl: None, payload }));
            }
            let closed = entry.line.as_ref().is_some_and(|line| line.told && line.channel.is_idle());
            self.outbox.rest(entry.line.as_deref_mut());
            if closed && let Some(entry) = self.registry.remove(slot) {
                self.ended(now, slot, entry);
            }
        }
    }

    /// How many peers are registered; one that expired counts for a second more.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.registry.len()
    }

    /// Whether the peer in this slot is registered at this address.
    pub(crate) fn is_registered_at(&mut self, now: Instant, slot: u32, address: SocketAddr) -> bool {
        self.registry.at(slot, now).is_some_and(|entry| entry.registration.address() == address)
    }

    /// How often something was said to this machine in which peers have names, or a registration began or ended.
    pub(crate) const fn said(&self) -> u64 {
        let Counters { signed_in, sign_in_refused, returned, tickets_refused, .. } = self.counters;
        let Counters { expired, goodbyes, control, .. } = self.counters;
        signed_in + sign_in_refused + returned + tickets_refused + expired + goodbyes + control
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn handle_stun(&mut self, now: Instant, from: SocketAddr, local: LocalSocket, datagram: &[u8]) {
        let four = self.policy.discovery.as_ref();
        let four = four.and_then(|four| four.position(local).map(|index| (four, index)));
        let place = four.map_or(ANYWHERE, |(four, index)| four.place(index));
        let Some(answer) = answer(datagram, from, &place) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        if !self.admission.admits(from, now) {
            self.counters.dropped_unadmitted += 1;
            return;
        }
        let local = four.map_or(local, |(four, index)| four.source(index, answer.change_ip, answer.change_port));
        self.counters.stun += 1;
        self.outbox.push(local, from, answer.payload);
    }

    fn handle_keepalive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        header: Header,
        datagram: &[u8],
    ) {
        let Some(entry) = self.registry.at(header.slot, now) else {
            return self.answer_unknown_slot(now, from, local, header, datagram);
        };
        let before = entry.registration.address();
        let outcome = entry.registration.handle(header, datagram, from, now, &self.challenger);
        let authentic = !matches!(outcome, Outcome::Unauthentic | Outcome::Ignored);
        self.counters.keepalives += u64::from(authentic);
        // Not one that comes from elsewhere: that proves no way back yet.
        let back = entry.unheard && authentic && !matches!(outcome, Outcome::Challenge(_));
        match outcome {
            Outcome::Alive => {}
            Outcome::Answer(payload) => self.outbox.push(local, from, payload),
            Outcome::Renew(counter) => {
                let answer = match self.tickets.renew(entry.registration.peer(), &entry.secret, now) {
                    Some(ticket) => entry.registration.renewed(header.slot, counter, &ticket),
                    None => entry.registration.observed(header.slot, counter),
                };
                self.outbox.push(local, from, answer);
            }
            Outcome::Challenge(payload) => {
                self.counters.challenged += 1;
                self.outbox.push(local, from, payload);
            }
            Outcome::Moved(payload) => {
                entry.local = local;
                self.left_streams.extend(Some(before).filter(|before| is_made_up(*before) && *before != from));
                self.counters.moved += 1;
                tracing::debug!(peer = ?entry.registration.peer(), slot = header.slot, %from, "moved");
                self.outbox.push(local, from, payload);
                if let Some(line) = entry.line.as_mut() {
                    // What was said to the old address may be lost.
                    line.channel.repeat(now);
                    self.outbox.wake(header.slot, line);
                }
            }
            Outcome::Ignored => self.counters.dropped_repeated += 1,
            Outcome::Unauthentic => {
                self.counters.dropped_unauthentic += 1;
                self.answer_unknown_slot(now, from, local, header, datagram);
            }
        }
        if back {
            self.is_back(now, header.slot);
        }
    }

    fn handle_control(&mut self, now: Instant, from: SocketAddr, local: LocalSocket, header: Header, datagram: &[u8]) {
        let slot = header.slot;
        let Some(entry) = self.registry.at(slot, now) else {
            return self.answer_unknown_slot(now, from, local, header, datagram);
        };
        // To make a channel takes microseconds: a stranger who guesses slots gets that only at his network's rate.
        if entry.line.is_none() && from != entry.registration.address() && !self.admission.admits(from, now) {
            self.counters.dropped_unadmitted += 1;
            return;
        }
        let existed = entry.line.is_some();
        let mut line = entry.line.take().unwrap_or_else(|| Box::new(Line::new(&entry.secret, slot)));
        let opened = line.channel.handle(header, datagram);
        if opened == Opened::Invalid {
            // A channel made for nothing is dropped again, or guessing slots would fill the memory.
            entry.line = existed.then_some(line);
            self.counters.dropped_unauthentic += 1;
            return self.answer_unknown_slot(now, from, local, header, datagram);
        }
        self.counters.control += 1;
        self.outbox.wake(slot, entry.line.insert(line));
        // The first that a peer says from a new address moves it, whatever it is. Anybody can repeat it from anywhere.
        let elsewhere = from != entry.registration.address();
        if elsewhere && (opened != Opened::Repeated || self.admission.admits(from, now)) {
            self.counters.challenged += 1;
            let challenge = entry.registration.challenge(slot, from, now, &self.challenger);
            self.outbox.push(local, from, challenge);
        }
        let back = entry.unheard && !elsewhere && opened != Opened::Repeated;
        match opened {
            Opened::Fresh(Some(message)) => self.handle_message(now, slot, message),
            Opened::Fresh(None) => {}
            Opened::Repeated | Opened::Invalid => self.counters.dropped_repeated += 1,
        }
        self.answer_owed(now, slot);
        self.let_go(now, slot);
        self.look_for_letters(now, slot);
        if back {
            self.is_back(now, slot);
        }
    }

    /// The peer in this slot, which had not acknowledged something until that was given up, has been heard from again.
    fn is_back(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.registry.at(slot, now) else { return };
        entry.unheard = false;
        let peer = entry.registration.peer();
        self.answer_owed(now, slot);
        self.open_letters(now, slot, peer);
    }

    /// Tells the sender that its slot is not its own (any more), in fewer bytes than it sent, and lets it show its ticket.
    pub(crate) fn answer_unknown_slot(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        header: Header,
        datagram: &[u8],
    ) {
        let token = self.challenger.invite(from, now);
        self.answer_error(now, from, local, keepalive::unknown_slot(header.slot, datagram, Some(token)));
    }

    /// Tells the sender that no ticket of its helps: it has to sign in.
    pub(crate) fn answer_no_ticket(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: LocalSocket,
        header: Header,
        datagram: &[u8],
    ) {
        self.answer_error(now, from, local, keepalive::unknown_slot(header.slot, datagram, None));
    }

    fn answer_error(&mut self, now: Instant, from: SocketAddr, local: LocalSocket, error: Option<Vec<u8>>) {
        let Some(error) = error else {
            self.counters.dropped_malformed += 1;
            return;
        };
        if self.admission.admits(from, now) {
            self.counters.unknown_slot += 1;
            self.outbox.push(local, from, error);
        } else {
            self.counters.dropped_unadmitted += 1;
        }
    }

    /// Lets go of what hung on a registration.
    pub(crate) fn ended(&mut self, now: Instant, slot: u32, mut entry: Entry) {
        self.departed.remember(entry.registration.peer(), &entry.allowance, letters_left(&entry), now);
        self.left_streams.extend(Some(entry.registration.address()).filter(|address| is_made_up(*address)));
        self.close_relays(now, slot);
        self.watch_ended(now, &mut entry);
        self.keep_unheard(now, &mut entry);
        self.echoes.forget(slot);
        let Some(line) = entry.line.as_mut() else { return };
        self.outbox.disarm(slot, line);
        if let Some(closing) = self.closing.as_mut().filter(|_| line.told) {
            closing.unacknowledged -= 1;
        }
    }
}

/// What is left of the letters that a peer may post.
fn letters_left(entry: &Entry) -> Bucket {
    entry.line.as_ref().map(|line| line.letters).unwrap_or_default()
}

/// An IPv4 address as such, though a socket for both families shows it within an IPv6 address. A link-local address
/// keeps its interface, without which nothing can be sent to it.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        }
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        SocketAddr::V4(_) => address,
    }
}

/// A secret for one purpose, of up to 32 bytes.
fn derived<const N: usize>(seed: &hmac::Key, purpose: &[u8]) -> [u8; N] {
    let tag = hmac::sign(seed, purpose);
    let mut secret = [0; N];
    secret.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use knothole_proto::keepalive::FromRendezvous;
    use knothole_proto::seal::TagKey;
    use knothole_proto::tunnel::StreamAddress;

    #[test]
    fn guessing_slots_makes_no_control_channel() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut server = Server::new(Policy::default(), [1; 32], now);
        let peer = SocketAddr::from(([198, 51, 100, 1], 4000));
        let request = SignInRequest { interval_s: 20, unseen: false };
        let secret = RegistrationSecret([2; 32]);
        server.sign_in(now, LocalSocket(0), PeerId::new([3; 32]), peer, &request, &secret);
        let mut guess = [0; 60];
        let header = Header { kind: CONTROL, flags: 0, port: 0, slot: 0, number: 1 };
        guess[..16].copy_from_slice(&header.to_bytes());
        for from in [peer, SocketAddr::from(([203, 0, 113, 1], 9))] {
            server.handle_datagram(now, from, LocalSocket(0), &guess);
            assert!(server.registry.at(0, now).unwrap().line.is_none());
        }
        assert_eq!(server.counters.dropped_unauthentic, 2);
    }
    #[test]
    fn a_stream_is_left_by_a_registration_that_moves_away_is_replaced_or_ends() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        let now = Instant::now();
        let mut server = Server::new(Policy::default(), [1; 32], now);
        let [stream, other] = [1, 2].map(|n| StreamAddress::new([192, 0, 2, 1].into(), n).socket_addr());
        let by_udp = SocketAddr::from(([192, 0, 2, 1], 4000));
        let (secret, way) = (RegistrationSecret([2; 32]), LocalSocket(0));
        let key = TagKey::new(&secret);
        let sign_in = |server: &mut Server, from| {
            server.sign_in(
                now,
                way,
                PeerId::new([3; 32]),
                from,
                &SignInRequest { interval_s: 20, unseen: false },
                &secret,
            );
            std::mem::take(&mut server.left_streams)
        };
        assert_eq!(sign_in(&mut server, stream), []);
        assert_eq!(sign_in(&mut server, stream), [stream], "of the first; the second is there");
        assert_eq!(sign_in(&mut server, other), [stream]);

        server.handle_datagram(now, by_udp, way, &keepalive::keepalive(&key, 0, 1, false));
        assert_eq!(server.left_streams, [], "not yet proven");
        let (_, challenge) = server.poll_transmit(now).unwrap();
        let header = Header::parse(&challenge.payload).unwrap();
        let challenge = keepalive::parse_from_rendezvous(&key, header, &challenge.payload);
        let Some(FromRendezvous::Challenge { token }) = challenge else { panic!("{challenge:?}") };
        server.handle_datagram(now, by_udp, way, &keepalive::moved(&key, 0, 2, token));
        assert_eq!(std::mem::take(&mut server.left_streams), [other]);

        assert_eq!(sign_in(&mut server, stream), [], "UDP is no stream");
        server.handle_timeout(now + Duration::from_secs(100));
        assert_eq!(server.left_streams, [stream], "expired");
    }
}
