//! The watch over our own mapping: NATs that have become less patient, and mappings that end at an age.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::search::SETTLE;
use super::{Event, Lifetime, seconds};

/// Keepalives that are not further apart than this are frequent: no NAT in use drops a mapping that is idle for so short
/// a time.
const FREQUENT: Duration = Duration::from_secs(25);
/// So many mappings must have ended at a similar age.
const SIMILAR_AGES: usize = 3;
/// Mappings that lived longer ended by chance: a router was restarted, a lease was renewed.
const LONGEST_ABSOLUTE: Duration = Duration::from_secs(15 * 60);

/// The mapping through which the rendezvous sees us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping {
    pub(super) address: SocketAddr,
    pub(super) since: Instant,
    /// Whether the owner was told to leave it.
    pub(super) left: bool,
}

impl Lifetime {
    /// The rendezvous sees us at this address. Told again and again, also when nothing has changed.
    pub fn handle_observed(&mut self, address: SocketAddr, now: Instant) {
        let before = self.mapping;
        if before.is_some_and(|mapping| mapping.address == address) {
            return;
        }
        self.mapping = Some(Mapping { address, since: now, left: false });
        match before {
            None => self.rest(SETTLE, now),
            // Another network, or its router's new address: nothing was learnt about mappings.
            Some(mapping) if mapping.address.ip() != address.ip() => self.ages.clear(),
            Some(mapping) if mapping.left => {}
            Some(_) if self.interval > FREQUENT => self.shrink(now),
            // It still stood at the keepalive before this one.
            Some(mapping) => self.note_age(now.saturating_duration_since(mapping.since).saturating_sub(self.interval)),
        }
    }

    /// A mapping did not bear the interval.
    fn shrink(&mut self, now: Instant) {
        let interval_s = seconds(self.interval);
        self.known.borne_s = 0;
        self.known.died_s = interval_s;
        self.remembered = false;
        self.events.push_back(Event::Learnt(self.known));
        self.keep_alive(self.interval / 2);
        self.rest(SETTLE, now);
    }

    fn note_age(&mut self, age: Duration) {
        if age > LONGEST_ABSOLUTE {
            self.ages.clear();
            return;
        }
        if self.ages.len() == SIMILAR_AGES {
            self.ages.pop_front();
        }
        self.ages.push_back(age);
        let (least, most) = (self.ages.iter().min(), self.ages.iter().max());
        let (Some(&least), Some(&most)) = (least, most) else { return };
        // An age is known to within the interval between two keepalives, and the carrier's own varies by half.
        let similar = most <= least * 3 / 2 + self.interval;
        if self.ages.len() == SIMILAR_AGES && similar && least > Duration::ZERO {
            let absolute_s = seconds(least);
            if self.known.absolute_s == 0 || absolute_s < self.known.absolute_s {
                self.known.absolute_s = absolute_s;
                self.events.push_back(Event::Learnt(self.known));
                self.adjust();
            }
        }
    }

    /// When the present mapping is to be left.
    pub(super) fn renewal(&self) -> Option<Instant> {
        let mapping = self.mapping.filter(|mapping| !mapping.left && self.known.absolute_s > 0)?;
        Some(mapping.since + Duration::from_secs(u64::from(self.known.absolute_s) * 4 / 5))
    }
}
