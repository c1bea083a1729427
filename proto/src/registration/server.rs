//! The rendezvous' side of one registration.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::datagram::Header;
use crate::identity::PeerId;
use crate::keepalive::{self, FromPeer, octets};
use crate::registration::{echo, lifetime, ticket};
use crate::seal::{RegistrationSecret, TagKey};
use crate::tunnel::told;

/// A challenge stays good for one to two of these: longer than any round trip, too short to be hoarded.
const CHALLENGE_EPOCH: Duration = Duration::from_secs(10);

/// Makes and checks challenges without remembering any.
#[derive(Debug, Clone)]
pub struct Challenger {
    key: TagKey,
    start: Instant,
}

impl Challenger {
    /// A challenger whose tokens nobody can guess who does not know the seed.
    #[must_use]
    pub const fn new(seed: [u8; 16], start: Instant) -> Self {
        Self { key: TagKey::from_bytes(seed), start }
    }

    fn token(&self, slot: u32, counter_key: &TagKey, address: SocketAddr, epoch: u64) -> u64 {
        let mut bytes = Vec::with_capacity(46);
        bytes.extend_from_slice(&slot.to_be_bytes());
        bytes.extend_from_slice(&octets(address));
        bytes.extend_from_slice(&address.port().to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        // The registration's own key makes the token worthless to whoever has the slot next.
        bytes.extend_from_slice(&counter_key.tag(&bytes));
        let tag = self.key.tag(&bytes);
        u64::from_be_bytes(std::array::from_fn(|i| tag[i]))
    }

    /// The token with which whoever gets datagrams at this address may show a ticket from there.
    #[must_use]
    pub fn invite(&self, address: SocketAddr, now: Instant) -> u64 {
        self.invitation(address, self.epoch(now))
    }

    /// Whether this is the token for this address, 10 to 20 s old at most.
    #[must_use]
    pub fn invited(&self, address: SocketAddr, token: u64, now: Instant) -> bool {
        let epoch = self.epoch(now);
        [epoch, epoch.saturating_sub(1)].iter().any(|epoch| self.invitation(address, *epoch) == token)
    }

    fn invitation(&self, address: SocketAddr, epoch: u64) -> u64 {
        // Its length tells it from a challenge's.
        let mut bytes = [0; 26];
        let (ip, rest) = bytes.split_at_mut(16);
        ip.copy_from_slice(&octets(address));
        let (port, when) = rest.split_at_mut(2);
        port.copy_from_slice(&address.port().to_be_bytes());
        when.copy_from_slice(&epoch.to_be_bytes());
        let tag = self.key.tag(&bytes);
        u64::from_be_bytes(std::array::from_fn(|i| tag[i]))
    }

    fn epoch(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / CHALLENGE_EPOCH.as_secs()
    }
}

/// A peer that is here.
#[derive(Debug)]
pub struct Registration {
    peer: PeerId,
    key: TagKey,
    address: SocketAddr,
    /// A rendezvous has a million of these: two bytes instead of a `Duration`'s sixteen.
    lifetime_s: u16,
    last_counter: u64,
    last_seen: Instant,
}

/// What came of a keepalive or a move.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its tag is wrong: the slot has another owner, or somebody plays.
    Unauthentic,
    /// Seen before, or no answer to a challenge of ours: nothing happens.
    Ignored,
    /// The peer is alive and wants no answer.
    Alive,
    /// The peer is alive; this goes to its proven address.
    Answer(Vec<u8>),
    /// The peer is alive and wants a ticket: answer this counter with [`Registration::renewed`], or as if it had asked with
    /// [`Registration::observed`].
    Renew(u64),
    /// The peer seems to have moved; this goes to where the datagram came from.
    Challenge(Vec<u8>),
    /// The peer has moved; this goes to its new address.
    Moved(Vec<u8>),
}

impl Registration {
    /// A registration at an address that is proved, by the sign-in's handshake or by a token. It lives whole seconds.
    #[must_use]
    pub fn new(
        peer: PeerId,
        secret: &RegistrationSecret,
        address: SocketAddr,
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        let lifetime_s = u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX);
        Self { peer, key: TagKey::new(secret), address, lifetime_s, last_counter: 0, last_seen: now }
    }

    /// Moves the registration out, and writes over the place where it was: nobody is to be found there who has gone.
    #[must_use]
    pub fn take_out(&mut self) -> Self {
        let (key, address) = (TagKey::from_bytes([0; 16]), SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        let nobody = PeerId::new([0; 32]);
        let vacant = Self { peer: nobody, key, address, lifetime_s: 0, last_counter: 0, last_seen: self.last_seen };
        let taken = std::mem::replace(self, vacant);
        // Or the compiler would see that nobody reads what has just been written.
        black_box(self);
        taken
    }

    /// Who is registered.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The peer's proven address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// When the registration ends unless a keepalive comes.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.last_seen + Duration::from_secs(self.lifetime_s.into())
    }

    /// Whether no keepalive has shown yet that the peer knows of this registration.
    #[must_use]
    pub const fn is_unused(&self) -> bool {
        self.last_counter == 0
    }

    /// The peer has proved to be at this address by other means than a move.
    pub fn handle_proven(&mut self, address: SocketAddr, now: Instant) {
        self.address = address;
        self.last_seen = now;
    }

    /// What proves the peer's address if it returns it from there: for any authentic datagram of this registration's that
    /// came from another than the proven one. As long as a keepalive.
    #[must_use]
    pub fn challenge(&self, slot: u32, from: SocketAddr, now: Instant, challenger: &Challenger) -> Vec<u8> {
        let token = challenger.token(slot, &self.key, from, challenger.epoch(now));
        keepalive::challenge(&self.key, slot, token)
    }

    /// The answer to a ticket that brought this registration about.
    #[must_use]
    pub fn returned(&self, slot: u32, chance: u64) -> Vec<u8> {
        ticket::returned(&self.key, slot, chance, told(self.address))
    }

    /// The answer to a keepalive that wants a ticket.
    #[must_use]
    pub fn renewed(&self, slot: u32, counter: u64, ticket: &[u8]) -> Vec<u8> {
        ticket::renewed(&self.key, slot, counter, ticket)
    }

    /// Takes a keepalive or a move for this slot.
    pub fn handle(
        &mut self,
        header: Header,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        challenger: &Challenger,
    ) -> Outcome {
        let Some(parsed) = keepalive::parse_from_peer(header, datagram) else {
            return Outcome::Unauthentic;
        };
        if !self.key.verifies(datagram) {
            return Outcome::Unauthentic;
        }
        let (FromPeer::Keepalive { counter, .. } | FromPeer::Move { counter, .. }) = parsed;
        if counter <= self.last_counter {
            return Outcome::Ignored;
        }
        self.last_counter = counter;
        self.last_seen = now;
        let epoch = challenger.epoch(now);
        match parsed {
            FromPeer::Keepalive { wishes, .. } => {
                if wishes.interval_s != 0 {
                    self.lifetime_s = u16::try_from(lifetime(wishes.interval_s).as_secs()).unwrap_or(u16::MAX);
                }
                if from != self.address {
                    Outcome::Challenge(self.challenge(header.slot, from, now, challenger))
                } else if wishes.renews {
                    Outcome::Renew(counter)
                } else if wishes.asks {
                    Outcome::Answer(self.observed(header.slot, counter))
                } else {
                    Outcome::Alive
                }
            }
            FromPeer::Move { token, .. } => {
                let expected = [epoch, epoch.saturating_sub(1)];
                if expected.iter().any(|epoch| challenger.token(header.slot, &self.key, from, *epoch) == token) {
                    self.address = from;
                    Outcome::Moved(self.observed(header.slot, counter))
                } else if from == self.address {
                    // It has moved and come back, or the answer to its move was lost.
                    Outcome::Answer(self.observed(header.slot, counter))
                } else {
                    // It moved again while the challenge was on its way, or took too long.
                    Outcome::Challenge(self.challenge(header.slot, from, now, challenger))
                }
            }
        }
    }

    /// Takes a well-formed request for an echo: [`Outcome::Answer`] goes to where it came from, and [`echo`](Self::echo)
    /// after the delay. It does not prolong the registration, whose own mapping may be gone meanwhile.
    pub fn handle_echo(&mut self, header: Header, datagram: &[u8]) -> Outcome {
        if !self.key.verifies(datagram) {
            return Outcome::Unauthentic;
        }
        if header.number <= self.last_counter {
            return Outcome::Ignored;
        }
        self.last_counter = header.number;
        Outcome::Answer(echo::answer(&self.key, header.slot, header.number, false))
    }

    /// The echo that the request with this counter asked for.
    #[must_use]
    pub fn echo(&self, slot: u32, counter: u64) -> Vec<u8> {
        echo::answer(&self.key, slot, counter, true)
    }

    /// The answer to the keepalive with this counter from the proven address.
    #[must_use]
    pub fn observed(&self, slot: u32, counter: u64) -> Vec<u8> {
        keepalive::observed(&self.key, slot, counter, told(self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalive::{FromRendezvous, parse_from_rendezvous};

    const SLOT: u32 = 9;

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn world() -> (Registration, Challenger, TagKey, Instant) {
        let now = now();
        let secret = RegistrationSecret([1; 32]);
        let registration = Registration::new(PeerId::new([2; 32]), &secret, address(1), Duration::from_secs(40), now);
        (registration, Challenger::new([3; 16], now), TagKey::new(&secret), now)
    }

    fn handle(
        registration: &mut Registration,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        challenger: &Challenger,
    ) -> Outcome {
        registration.handle(Header::parse(datagram).unwrap(), datagram, from, now, challenger)
    }

    #[test]
    fn a_keepalive_prolongs_the_registration_and_is_answered_only_when_it_asks() {
        let (mut registration, challenger, key, now) = world();
        let later = now + Duration::from_secs(20);
        let quiet = keepalive::keepalive(&key, SLOT, 1, false);
        assert_eq!(handle(&mut registration, &quiet, address(1), later, &challenger), Outcome::Alive);
        assert_eq!(registration.expires(), later + Duration::from_secs(40));
        let asking = keepalive::keepalive(&key, SLOT, 2, true);
        let Outcome::Answer(answer) = handle(&mut registration, &asking, address(1), later, &challenger) else {
            panic!("it asked")
        };
        assert_eq!(
            parse_from_rendezvous(&key, Header::parse(&answer).unwrap(), &answer),
            Some(FromRendezvous::Observed { counter: 2, address: address(1) })
        );
    }

    #[test]
    fn a_replayed_or_forged_keepalive_changes_nothing() {
        let (mut registration, challenger, key, now) = world();
        let datagram = keepalive::keepalive(&key, SLOT, 1, true);
        handle(&mut registration, &datagram, address(1), now, &challenger);
        let expires = registration.expires();
        let later = now + Duration::from_secs(5);
        assert_eq!(handle(&mut registration, &datagram, address(2), later, &challenger), Outcome::Ignored);
        let forged = keepalive::keepalive(&TagKey::from_bytes([9; 16]), SLOT, 2, true);
        assert_eq!(handle(&mut registration, &forged, address(1), later, &challenger), Outcome::Unauthentic);
        assert_eq!(registration.expires(), expires);
        assert_eq!(registration.address(), address(1));
    }

    #[test]
    fn a_new_address_counts_only_after_it_has_answered_its_own_challenge() {
        let (mut registration, challenger, key, now) = world();
        let from_new = keepalive::keepalive(&key, SLOT, 1, true);
        let Outcome::Challenge(challenge) = handle(&mut registration, &from_new, address(2), now, &challenger) else {
            panic!("a new address is challenged")
        };
        assert_eq!(registration.address(), address(1));
        let Some(FromRendezvous::Challenge { token }) =
            parse_from_rendezvous(&key, Header::parse(&challenge).unwrap(), &challenge)
        else {
            panic!("it is a challenge")
        };
        let elsewhere = keepalive::moved(&key, SLOT, 2, token);
        let outcome = handle(&mut registration, &elsewhere, address(3), now, &challenger);
        assert!(matches!(outcome, Outcome::Challenge(_)), "it moved on: the next address is challenged, {outcome:?}");
        let late = keepalive::moved(&key, SLOT, 3, token);
        let too_late = now + CHALLENGE_EPOCH * 2;
        let outcome = handle(&mut registration, &late, address(2), too_late, &challenger);
        assert!(matches!(outcome, Outcome::Challenge(_)), "{outcome:?}");
        assert_eq!(registration.address(), address(1));
        let answer = keepalive::moved(&key, SLOT, 4, token);
        assert!(matches!(handle(&mut registration, &answer, address(2), now, &challenger), Outcome::Moved(_)));
        assert_eq!(registration.address(), address(2));
    }

    #[test]
    fn a_peer_that_comes_back_while_it_is_challenged_is_told_that_nothing_changed() {
        let (mut registration, challenger, key, now) = world();
        let away = keepalive::keepalive(&key, SLOT, 1, false);
        let Outcome::Challenge(challenge) = handle(&mut registration, &away, address(2), now, &challenger) else {
            panic!("a new address is challenged")
        };
        let token = Header::parse(&challenge).unwrap().number;
        let back = keepalive::moved(&key, SLOT, 2, token);
        assert!(matches!(handle(&mut registration, &back, address(1), now, &challenger), Outcome::Answer(_)));
        assert_eq!(registration.address(), address(1));
    }

    #[test]
    fn a_keepalive_may_change_how_long_the_registration_lives() {
        let (mut registration, challenger, key, now) = world();
        for (counter, interval_s, lifetime_s) in [(1, 0, 40), (2, 3, 9), (3, 0, 9), (4, 300, 600), (5, u16::MAX, 1200)]
        {
            let wishes = keepalive::Wishes { interval_s, ..keepalive::Wishes::default() };
            let datagram = keepalive::wishing(&key, SLOT, counter, wishes);
            assert_eq!(handle(&mut registration, &datagram, address(1), now, &challenger), Outcome::Alive);
            assert_eq!(registration.expires(), now + Duration::from_secs(lifetime_s), "{interval_s}");
        }
    }

    #[test]
    fn an_invitation_to_show_a_ticket_is_for_one_address_and_some_seconds() {
        let now = now();
        let challenger = Challenger::new([3; 16], now);
        let token = challenger.invite(address(1), now);
        assert!(challenger.invited(address(1), token, now));
        assert!(challenger.invited(address(1), token, now + CHALLENGE_EPOCH));
        assert!(!challenger.invited(address(1), token, now + CHALLENGE_EPOCH * 2));
        assert!(!challenger.invited(address(2), token, now));
        assert!(!Challenger::new([4; 16], now).invited(address(1), token, now), "nor after another restart");
    }
}
