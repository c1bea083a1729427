//! How long this network's NAT keeps a UDP mapping, and what follows for keepalives.
//!
//! A machine for the peer's preferred rendezvous. The frugal [`Profile`] *searches*: a spare socket with a new port asks
//! for an echo after a delay and says nothing more ([`Event::Trial`]). If the echo arrives, a mapping bears that much
//! silence. Delays double from 30 s until one is not borne or the longest interval is reached, then the gap is halved
//! until it is an eighth. An echo that stays away is asked for once more before it counts, for it may have been lost.
//! Keepalives come at four fifths of what was borne, never further apart than half of a registration's lifetime. What was
//! found is [remembered](Known) for the network, and tried once when the peer comes back to it. The other profiles search once
//! when they are [asked to](Lifetime::seek), for whoever wants to know.
//!
//! Whatever the profile, the machine *watches* the address at which the rendezvous sees us:
//!
//! - If the port changes though the keepalives came at an interval that was borne, the NAT has become less patient (or
//!   another one): the interval is halved, and the search begins again.
//! - If it changes though keepalives are frequent, three times and each time at a similar age, the NAT drops mappings at
//!   an *absolute* age, as one mobile carrier does after 50 to 75 s. Then the peer is to go on from a fresh socket before a
//!   mapping reaches that age ([`Event::Renew`]), instead of being unreachable from then until its next keepalive.
//!
//! What it does not own: sockets, the registration, the memory. The owner says when the network is another one, by
//! making a new machine.

mod known;
mod search;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::registration::{INTERVAL_RANGE_S, KEEPALIVE_INTERVAL, Profile};
pub use known::{Known, from_bytes, to_bytes};
pub use search::Trial;
use search::{FIRST_PAUSE, Search};
use watch::Mapping;

/// What the owner must do or know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Ask for an echo after so many seconds from a new port, then call [`Lifetime::handle_trial`].
    Trial {
        /// Seconds.
        delay_s: u16,
    },
    /// Keep alive so often from now on.
    Interval(Duration),
    /// Remember this for the present network.
    Learnt(Known),
    /// Our mapping is about to end whatever is sent: go on from a fresh socket, the new one before the old one goes.
    Renew,
}

/// The machine.
#[derive(Debug)]
pub struct Lifetime {
    profile: Profile,
    known: Known,
    /// Whether what was remembered has still to be tried.
    remembered: bool,
    /// Whether somebody wants to know, whatever the profile.
    sought: bool,
    interval: Duration,
    search: Search,
    pause: Duration,
    mapping: Option<Mapping>,
    /// How long the latest mappings lived at least.
    ages: VecDeque<Duration>,
    events: VecDeque<Event>,
}

impl Lifetime {
    /// A network of which this much is known. The search begins with the first observed address.
    #[must_use]
    pub fn new(profile: Profile, known: Known) -> Self {
        let mut lifetime = Self {
            profile,
            known,
            remembered: known.borne_s > 0,
            sought: false,
            interval: profile.interval(),
            search: Search::Over,
            pause: FIRST_PAUSE,
            mapping: None,
            ages: VecDeque::new(),
            events: VecDeque::new(),
        };
        lifetime.adjust();
        lifetime
    }

    /// Between keepalives.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// What is known so far.
    #[must_use]
    pub const fn known(&self) -> Known {
        self.known
    }

    /// Draws the interval from what is known.
    fn adjust(&mut self) {
        let mut interval = self.profile.interval();
        if self.profile == Profile::Frugal && self.known.borne_s > 0 {
            let most = Duration::from_secs((*INTERVAL_RANGE_S.end()).into());
            interval = Duration::from_secs(u64::from(self.known.borne_s) * 4 / 5).min(most);
        }
        if self.known.absolute_s > 0 {
            // Renewed mappings are their own keepalives; in between one may go, none needs to.
            interval = interval.min(Duration::from_secs(self.known.absolute_s.into()).max(KEEPALIVE_INTERVAL));
        }
        self.keep_alive(interval);
    }

    fn keep_alive(&mut self, interval: Duration) {
        let interval = Duration::from_secs(seconds(interval).into());
        if self.interval != interval {
            self.interval = interval;
            self.events.push_back(Event::Interval(interval));
        }
    }

    /// What the owner must do or know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let search = match self.search {
            Search::Over => None,
            Search::Resting { until } | Search::Trying { until, .. } => Some(until),
        };
        [search, self.renewal()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.search {
            Search::Resting { until } if until <= now => self.go_on(now),
            Search::Trying { until, .. } if until <= now => self.handle_trial(Trial::Void, now),
            _ => {}
        }
        if self.renewal().is_some_and(|due| due <= now)
            && let Some(mapping) = &mut self.mapping
        {
            mapping.left = true;
            self.events.push_back(Event::Renew);
        }
    }
}

/// Whole seconds within what a rendezvous accepts.
fn seconds(interval: Duration) -> u16 {
    let (least, most) = (*INTERVAL_RANGE_S.start(), *INTERVAL_RANGE_S.end());
    u16::try_from(interval.as_secs()).unwrap_or(most).clamp(least, most)
}
