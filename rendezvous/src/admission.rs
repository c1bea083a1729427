//! How much is done for those who proved nothing, and how much a registered peer may ask of others.
//!
//! A forged source address turns every answer into a datagram thrown at somebody else. No answer here is worth
//! forging for (docs/protocol.md, "Limits"), and no network gets more of them than [`Rate`] says.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use knothole_proto::identity::PeerId;
use knothole_proto::seal::TagKey;
use knothole_proto::tunnel::told;

/// Buckets for networks; 6 bytes each, 384 KiB. A table of this size cannot be grown by whoever forges addresses; two
/// networks that fall into the same bucket share it, and which ones do so depends on a secret.
const BUCKETS: usize = 1 << 16;

/// Of an IPv6 address the network is these bits: what one customer has at least, and can vary at will (RFC 6177).
const IPV6_PREFIX: u32 = 64;

/// So many at once, so many a second in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What may happen at once after a rest; at least 1.
    pub burst: u32,
    /// What may happen in the long run, a second; at least 1.
    pub per_second: u32,
}

/// A token bucket in one number: the time, in microseconds since the start, at which it will be full again. Every
/// registration has some, so it is as short as lasts: 48 bits, nine years; then it admits everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket([u8; 6]);

impl Bucket {
    /// Takes one if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now_us: u64) -> bool {
        self.take_many(rate, 1, now_us)
    }

    /// Takes as many as that, or none if there are fewer.
    pub(crate) fn take_many(&mut self, rate: Rate, amount: u32, now_us: u64) -> bool {
        let lasts = |amount: u32| u64::from(amount) * 1_000_000 / u64::from(rate.per_second.max(1));
        let [a, b, c, d, e, f] = self.0;
        let full = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).max(now_us) + lasts(amount);
        let admitted = full <= now_us + lasts(rate.burst.max(1));
        if admitted {
            let [_, _, bytes @ ..] = full.to_be_bytes();
            self.0 = bytes;
        }
        admitted
    }

    /// Puts one back that was taken.
    pub(crate) fn put_back(&mut self, rate: Rate) {
        let [a, b, c, d, e, f] = self.0;
        let full = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let [_, _, bytes @ ..] = full.saturating_sub(1_000_000 / u64::from(rate.per_second.max(1))).to_be_bytes();
        self.0 = bytes;
    }

    /// Whether it holds all it can.
    pub(crate) fn is_full(&self, now_us: u64) -> bool {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f]) <= now_us
    }
}

/// An IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(u128);

impl Network {
    /// That of an address; a stream's made-up address is of the network that it comes from. None for loopback.
    pub(crate) fn of(address: SocketAddr) -> Option<Self> {
        match told(address).ip().to_canonical() {
            ip if ip.is_loopback() => None,
            IpAddr::V4(v4) => Some(Self(v4.to_ipv6_mapped().to_bits())),
            IpAddr::V6(v6) => Some(Self(v6.to_bits() & (u128::MAX << (128 - IPV6_PREFIX)))),
        }
    }
}

/// One bucket a network.
#[derive(Debug)]
pub struct Admission {
    rate: Rate,
    key: TagKey,
    start: Instant,
    buckets: Vec<Bucket>,
}

impl Admission {
    /// Admits each network at this rate. The seed keeps strangers from knowing who shares a bucket with whom.
    #[must_use]
    pub fn new(rate: Rate, seed: [u8; 16], start: Instant) -> Self {
        Self { rate, key: TagKey::from_bytes(seed), start, buckets: vec![Bucket::default(); BUCKETS] }
    }

    /// Whether one more thing may be done for this address; if so, it is counted.
    ///
    /// A stream's made-up address counts as the network that it comes from.
    /// Loopback is always admitted: no router lets such a source address in, so it is not forged.
    pub fn admits(&mut self, from: SocketAddr, now: Instant) -> bool {
        Network::of(from).is_none_or(|network| self.admits_network_for(network, 1, now))
    }

    /// The same for something that counts as so many.
    pub(crate) fn admits_network_for(&mut self, network: Network, amount: u32, now: Instant) -> bool {
        self.take(&network.0.to_be_bytes(), amount, now)
    }

    /// The same for a peer, wherever it is.
    pub fn admits_peer(&mut self, peer: PeerId, now: Instant) -> bool {
        self.admits_peer_for(peer, 1, now)
    }

    /// The same for something that counts as so many.
    pub(crate) fn admits_peer_for(&mut self, peer: PeerId, amount: u32, now: Instant) -> bool {
        self.take(peer.as_bytes(), amount, now)
    }

    fn take(&mut self, whom: &[u8], amount: u32, now: Instant) -> bool {
        let [first, second, ..] = self.key.tag(whom);
        let index = usize::from(u16::from_be_bytes([first, second]));
        let now_us = microseconds(self.start, now);
        self.buckets.get_mut(index).is_some_and(|bucket| bucket.take_many(self.rate, amount, now_us))
    }
}

/// Microseconds from `start` to `now`; 584,000 years fit.
pub(crate) fn microseconds(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RATE: Rate = Rate { burst: 3, per_second: 2 };

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn after_the_burst_the_rate_holds_to_the_microsecond() {
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, at| (0..9).filter(|_| bucket.take(RATE, at)).count();
        assert_eq!(taken(&mut bucket, 1_000), 3);
        assert_eq!(taken(&mut bucket, 500_999), 0);
        assert_eq!(taken(&mut bucket, 501_000), 1);
        assert_eq!(taken(&mut bucket, 60_000_000), 3, "it holds no more than the burst");
    }

    #[test]
    fn amounts_are_taken_whole_or_not_at_all() {
        let rate = Rate { burst: 2_000_000, per_second: 256_000 };
        let mut bucket = Bucket::default();
        assert_eq!((0..9_999).filter(|_| bucket.take_many(rate, 1_200, 0)).count(), 1_666);
        assert!(bucket.take_many(rate, 700, 0), "what is left is left");
        let second = (0..9_999).filter(|_| bucket.take_many(rate, 1_200, 1_000_000)).count();
        assert!((213..=214).contains(&second), "{second}");
    }

    #[test]
    fn each_ipv4_address_has_its_own_allowance_whatever_the_port() {
        let now = start();
        let mut admission = Admission::new(RATE, [1; 16], now);
        for port in 1..=3 {
            assert!(admission.admits(SocketAddr::from(([192, 0, 2, 1], port)), now));
        }
        assert!(!admission.admits(address("192.0.2.1:4"), now));
        assert!(!admission.admits(address("[::ffff:192.0.2.1]:5"), now), "mapped is the same address");
        assert!(admission.admits(address("192.0.2.2:4"), now));
        assert!(admission.admits(address("192.0.2.1:4"), now + Duration::from_millis(500)));
    }

    #[test]
    fn an_ipv6_network_has_one_allowance_however_many_addresses_it_tries() {
        let now = start();
        let mut admission = Admission::new(RATE, [1; 16], now);
        let admitted = (0..100).filter(|n| admission.admits(address(&format!("[2001:db8::{n:x}]:9")), now)).count();
        assert_eq!(admitted, 3);
        assert!(admission.admits(address("[2001:db8:0:1::1]:9"), now));
    }

    #[test]
    fn loopback_is_never_limited() {
        let now = start();
        let mut admission = Admission::new(RATE, [1; 16], now);
        assert!((0..100).all(|_| admission.admits(address("127.0.0.1:9"), now)));
    }
}
