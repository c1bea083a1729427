//! A line between a host or router and the network: delay, jitter, loss, reordering, duplication, rate, MTU.

use std::time::{Duration, Instant};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::packet::Packet;

/// How a line treats what it carries, in one direction. Probabilities lie in `0.0..=1.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Time from one end to the other.
    pub delay: Duration,
    /// Up to this much is added to each packet's delay, evenly spread. The order of packets is kept.
    pub jitter: Duration,
    /// The share of packets that vanish.
    pub loss: f64,
    /// The share of packets that are held back, so that later ones overtake them.
    pub reordering: f64,
    /// The share of packets that arrive twice.
    pub duplication: f64,
    /// Bits per second; `None` is without limit.
    pub rate: Option<u64>,
    /// With a [`rate`](Self::rate): packets that would wait longer than this are dropped.
    pub queue: Duration,
    /// Longer packets vanish without notice (a black hole, as where ICMP is filtered). Bytes with the IP header.
    pub mtu: usize,
}

impl Link {
    /// A wire in the house: no delay, no loss.
    pub const WIRE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        reordering: 0.0,
        duplication: 0.0,
        rate: None,
        queue: Duration::from_millis(100),
        mtu: 1500,
    };

    /// A site's line to the core: 20 ms each way, so 80 ms there and back between two sites.
    pub const SITE: Self = Self { delay: Duration::from_millis(20), ..Self::WIRE };
}

/// A [`Link`] in use: it remembers what is under way.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) link: Link,
    /// Nothing else may arrive before this, or jitter would reorder.
    last_arrival: Option<Instant>,
    /// When the last bit that was accepted has left (only with a rate).
    busy_until: Option<Instant>,
    rng: ChaCha8Rng,
}

/// Why a line did not carry a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooBig,
    QueueFull,
    Lost,
}

impl Line {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self { link, last_arrival: None, busy_until: None, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// When a packet that enters at `now` arrives, and when its copy does, if there is one.
    pub(crate) fn carry(&mut self, now: Instant, packet: &Packet) -> Result<(Instant, Option<Instant>), Refusal> {
        let link = self.link;
        if packet.wire_len() > link.mtu {
            return Err(Refusal::TooBig);
        }
        let departure = self.depart(now, packet.wire_len())?;
        let rng = &mut self.rng;
        if happens(link.loss, rng) {
            return Err(Refusal::Lost);
        }
        let mut arrival = departure + link.delay + spread(link.jitter, rng);
        if happens(link.reordering, rng) {
            // Held back by half the delay and a little: packets sent within that time overtake it, whatever the delay.
            arrival += link.delay / 2 + Duration::from_millis(1);
        } else {
            arrival = self.last_arrival.map_or(arrival, |last| arrival.max(last));
            self.last_arrival = Some(arrival);
        }
        let copy = happens(link.duplication, rng).then(|| arrival + spread(link.jitter, rng));
        Ok((arrival, copy))
    }

    fn depart(&mut self, now: Instant, bytes: usize) -> Result<Instant, Refusal> {
        let Some(rate) = self.link.rate else { return Ok(now) };
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        if start - now > self.link.queue {
            return Err(Refusal::QueueFull);
        }
        let end = start + Duration::from_nanos((bytes as u64 * 8).saturating_mul(1_000_000_000) / rate.max(1));
        self.busy_until = Some(end);
        Ok(end)
    }
}

fn happens(probability: f64, rng: &mut ChaCha8Rng) -> bool {
    probability > 0.0 && f64::from(rng.next_u32()) < probability * f64::from(u32::MAX)
}

fn spread(jitter: Duration, rng: &mut ChaCha8Rng) -> Duration {
    if jitter.is_zero() { Duration::ZERO } else { jitter.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(link: Link, count: u64) -> Vec<(u64, Duration)> {
        let mut line = Line::new(link, 7);
        let begin = Instant::now();
        let packet = Packet::udp("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap(), vec![0; 972]);
        let mut seen = Vec::new();
        for number in 0..count {
            let sent = begin + Duration::from_millis(number);
            if let Ok((first, copy)) = line.carry(sent, &packet) {
                seen.push((number, first - begin));
                seen.extend(copy.map(|second| (number, second - begin)));
            }
        }
        seen.sort_by_key(|&(_, at)| at);
        seen
    }

    fn out_of_order(seen: &[(u64, Duration)]) -> usize {
        seen.windows(2).filter(|pair| pair[0].0 > pair[1].0).count()
    }

    #[test]
    fn a_perfect_line_delays_and_does_nothing_else() {
        let seen = arrivals(Link::SITE, 100);
        assert!(seen.iter().all(|&(number, at)| at == Duration::from_millis(number + 20)));
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jitter = Link { jitter: Duration::from_millis(30), ..Link::SITE };
        assert_eq!(out_of_order(&arrivals(jitter, 1000)), 0);
        assert!(out_of_order(&arrivals(Link { reordering: 0.1, ..Link::SITE }, 1000)) > 50);
    }

    #[test]
    fn loss_and_duplication_come_in_the_share_that_was_asked_for() {
        let lossy = arrivals(Link { loss: 0.25, ..Link::SITE }, 10_000).len();
        assert!((7_300..7_700).contains(&lossy), "{lossy}");
        let doubled = arrivals(Link { duplication: 0.25, ..Link::SITE }, 10_000).len();
        assert!((12_300..12_700).contains(&doubled), "{doubled}");
    }

    #[test]
    fn a_rate_spaces_packets_and_a_full_queue_drops_them() {
        // 1000 bytes at 4 Mbit/s take 2 ms, twice as long as the time between them.
        let seen = arrivals(Link { rate: Some(4_000_000), ..Link::WIRE }, 1000);
        assert!(seen.windows(2).all(|pair| pair[1].1 - pair[0].1 >= Duration::from_millis(2)));
        assert!((540..560).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_packet_over_the_mtu_vanishes() {
        assert_eq!(arrivals(Link { mtu: 999, ..Link::WIRE }, 1).len(), 0);
        assert_eq!(arrivals(Link { mtu: 1000, ..Link::WIRE }, 1).len(), 1);
    }
}
