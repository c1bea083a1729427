//! The rendezvous' side of one registration.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::datagram::Header;
use crate::identity::PeerId;
use crate::keepalive::{self, FromPeer};
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
        bytes.extend_from_slice(&match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        bytes.extend_from_slice(&address.port().to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        // The registration's own key makes the token worthless to whoever has the slot next.
        bytes.extend_from_slice(&counter_key.tag(&bytes));
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
    lifetime: Duration,
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
    /// The peer seems to have moved; this goes to where the datagram came from.
    Challenge(Vec<u8>),
    /// The peer has moved; this goes to its new address.
    Moved(Vec<u8>),
}

impl Registration {
    /// A registration as the sign-in made it; the QUIC handshake has proved the address.
    #[must_use]
    pub fn new(
        peer: PeerId,
        secret: &RegistrationSecret,
        address: SocketAddr,
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        Self { peer, key: TagKey::new(secret), address, lifetime, last_counter: 0, last_seen: now }
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
        self.last_seen + self.lifetime
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
            FromPeer::Keepalive { .. } if from != self.address => {
                let token = challenger.token(header.slot, &self.key, from, epoch);
                Outcome::Challenge(keepalive::challenge(&self.key, header.slot, token))
            }
            FromPeer::Keepalive { asks: true, .. } => Outcome::Answer(self.observed(header.slot, counter)),
            FromPeer::Keepalive { asks: false, .. } => Outcome::Alive,
            FromPeer::Move { token, .. } => {
                let expected = [epoch, epoch.saturating_sub(1)];
                if expected.iter().any(|epoch| challenger.token(header.slot, &self.key, from, *epoch) == token) {
                    self.address = from;
                    Outcome::Moved(self.observed(header.slot, counter))
                } else {
                    Outcome::Ignored
                }
            }
        }
    }

    fn observed(&self, slot: u32, counter: u64) -> Vec<u8> {
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
        assert_eq!(handle(&mut registration, &elsewhere, address(3), now, &challenger), Outcome::Ignored);
        let late = keepalive::moved(&key, SLOT, 3, token);
        let too_late = now + CHALLENGE_EPOCH * 2;
        assert_eq!(handle(&mut registration, &late, address(2), too_late, &challenger), Outcome::Ignored);
        let answer = keepalive::moved(&key, SLOT, 4, token);
        assert!(matches!(handle(&mut registration, &answer, address(2), now, &challenger), Outcome::Moved(_)));
        assert_eq!(registration.address(), address(2));
    }
}
