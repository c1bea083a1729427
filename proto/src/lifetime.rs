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

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::registration::{INTERVAL_RANGE_S, KEEPALIVE_INTERVAL, Profile};

/// The first delay: what the shortest-lived home gateways are said to bear.
const FIRST_DELAY_S: u16 = 30;
/// Below this no search goes on: a mapping that short-lived would cost more keepalives than anybody calls frugal.
const LEAST_DELAY_S: u16 = 15;
/// A gap so small between borne and not borne is small enough, in seconds; above 40 s an eighth.
const LEAST_GAP_S: u16 = 5;
/// A registration is given so long to settle before a trial begins: the first moments are busy.
const SETTLE: Duration = Duration::from_secs(10);
/// A trial that nobody reported is void this long after its delay.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after a trial without any answer, doubling to the longest: the rendezvous is away or full.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Keepalives that are not further apart than this are frequent: no NAT in use drops a mapping that is idle for so short
/// a time.
const FREQUENT: Duration = Duration::from_secs(25);
/// So many mappings must have ended at a similar age.
const SIMILAR_AGES: usize = 3;
/// Mappings that lived longer ended by chance: a router was restarted, a lease was renewed.
const LONGEST_ABSOLUTE: Duration = Duration::from_secs(15 * 60);

/// What is known of a network's NAT; the owner remembers it by the address that the rendezvous observes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The longest silence that a mapping is known to bear, in seconds; 0: none is.
    pub borne_s: u16,
    /// The shortest that it does not bear, in seconds; 0: none is known.
    pub died_s: u16,
    /// The age at which mappings end whatever is sent, in seconds; 0: they do not.
    pub absolute_s: u16,
}

impl Known {
    /// How long an idle mapping is known to live at least; `None` if nothing was found out.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        let bounds = [self.borne_s, self.absolute_s].into_iter().filter(|bound| *bound > 0);
        bounds.min().map(|bound| Duration::from_secs(bound.into()))
    }
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// The echo arrived.
    Borne,
    /// The request was answered at once, but no echo came.
    Died,
    /// Nothing was answered, or it could not be sent.
    Void,
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    /// Nothing is searched for, or all is found.
    Over,
    Resting {
        until: Instant,
    },
    Trying {
        delay_s: u16,
        until: Instant,
        /// Whether the same delay was not borne a moment ago.
        again: bool,
    },
}

/// The mapping through which the rendezvous sees us.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    address: SocketAddr,
    since: Instant,
    /// Whether the owner was told to leave it.
    left: bool,
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

    /// Somebody wants to know: searches until all is found, whatever the profile. Nothing happens if it is known to an
    /// eighth, or before the first observed address; then it begins with that.
    pub fn seek(&mut self, now: Instant) {
        self.sought = true;
        if self.mapping.is_some() && self.search == Search::Over {
            self.go_on(now);
        }
    }

    /// Whether a search goes on, or rests.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search != Search::Over
    }

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
    fn renewal(&self) -> Option<Instant> {
        let mapping = self.mapping.filter(|mapping| !mapping.left && self.known.absolute_s > 0)?;
        Some(mapping.since + Duration::from_secs(u64::from(self.known.absolute_s) * 4 / 5))
    }

    /// A trial has ended.
    pub fn handle_trial(&mut self, trial: Trial, now: Instant) {
        let Search::Trying { delay_s, again, .. } = self.search else { return };
        match trial {
            Trial::Void => {
                self.rest(self.pause, now);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                return;
            }
            Trial::Died if !again => {
                self.pause = FIRST_PAUSE;
                return self.begin(delay_s, true, now);
            }
            Trial::Died => {
                self.known.died_s = delay_s;
                if self.known.borne_s >= delay_s {
                    self.known.borne_s = 0;
                }
            }
            Trial::Borne => {
                self.known.borne_s = self.known.borne_s.max(delay_s);
                if self.known.died_s <= delay_s {
                    self.known.died_s = 0;
                }
            }
        }
        self.pause = FIRST_PAUSE;
        self.remembered = false;
        self.events.push_back(Event::Learnt(self.known));
        self.adjust();
        self.go_on(now);
    }

    fn go_on(&mut self, now: Instant) {
        match self.next_delay() {
            Some(delay_s) => self.begin(delay_s, false, now),
            None => (self.search, self.sought) = (Search::Over, false),
        }
    }

    fn next_delay(&self) -> Option<u16> {
        let Known { borne_s, died_s, .. } = self.known;
        let most = *INTERVAL_RANGE_S.end();
        match (borne_s, died_s) {
            _ if self.remembered => Some(borne_s),
            (0, 0) => Some(FIRST_DELAY_S),
            (borne_s, 0) => (borne_s < most).then(|| borne_s.saturating_mul(2).min(most)),
            (0, died_s) if died_s <= LEAST_DELAY_S => None,
            (borne_s, died_s) => {
                let gap = died_s.saturating_sub(borne_s);
                (gap > LEAST_GAP_S.max(borne_s / 8)).then(|| borne_s + gap / 2)
            }
        }
    }

    fn begin(&mut self, delay_s: u16, again: bool, now: Instant) {
        let until = now + Duration::from_secs(delay_s.into()) + PATIENCE;
        self.search = Search::Trying { delay_s, until, again };
        self.events.push_back(Event::Trial { delay_s });
    }

    fn rest(&mut self, pause: Duration, now: Instant) {
        if self.profile == Profile::Frugal || self.sought {
            self.search = Search::Resting { until: now + pause };
        }
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

/// What is known of networks, as it stands in the peer's store.
#[must_use]
pub fn to_bytes(networks: &[(IpAddr, Known)]) -> Vec<u8> {
    // Serialising numbers and addresses into memory cannot fail.
    postcard::to_allocvec(networks).unwrap_or_default()
}

/// Reads what [`to_bytes`] wrote; `None` for anything else.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<(IpAddr, Known)>> {
    postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(networks, _)| networks)
}

/// Whole seconds within what a rendezvous accepts.
fn seconds(interval: Duration) -> u16 {
    let (least, most) = (*INTERVAL_RANGE_S.start(), *INTERVAL_RANGE_S.end());
    u16::try_from(interval.as_secs()).unwrap_or(most).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
        Instant::now()
    }

    fn seen(port: u16) -> SocketAddr {
        ([203, 0, 113, 1], port).into()
    }

    /// Searches behind a NAT that bears this many seconds; returns the machine, the trials, and how long it took.
    fn searched(profile: Profile, known: Known, bears_s: u16, now: Instant) -> (Lifetime, Vec<u16>, Duration) {
        let mut lifetime = Lifetime::new(profile, known);
        let began = now;
        let mut now = now;
        let mut trials = Vec::new();
        lifetime.handle_observed(seen(1), now);
        while let Some(due) = lifetime.poll_timeout() {
            now = now.max(due);
            lifetime.handle_timeout(now);
            while let Some(event) = lifetime.poll_event() {
                if let Event::Trial { delay_s } = event {
                    trials.push(delay_s);
                    now += Duration::from_secs(delay_s.into());
                    let trial = if delay_s < bears_s { Trial::Borne } else { Trial::Died };
                    lifetime.handle_trial(trial, now);
                }
            }
        }
        (lifetime, trials, now - began)
    }

    #[test]
    fn the_interval_found_is_safe_and_at_least_half_of_what_the_nat_bears() {
        for bears_s in [20, 31, 35, 50, 61, 65, 100, 119, 121, 180, 240, 300, 450, 590, 601, 7_440] {
            let (lifetime, trials, took) = searched(Profile::Frugal, Known::default(), bears_s, start());
            let interval = lifetime.interval().as_secs() as u16;
            assert!(interval < bears_s, "{bears_s}: {interval}");
            assert!(interval <= 600);
            let most = bears_s.min(600);
            assert!(interval >= most / 2, "{bears_s}: {interval} after {trials:?}");
            assert!(trials.len() <= 14, "{trials:?}");
            assert!(took <= Duration::from_secs(60 * 60), "{took:?}");
        }
    }

    #[test]
    fn a_nat_with_hopelessly_short_mappings_is_kept_alive_as_usual() {
        let (lifetime, trials, _) = searched(Profile::Frugal, Known::default(), 8, start());
        assert_eq!(lifetime.interval(), KEEPALIVE_INTERVAL);
        assert!(trials.len() <= 5, "{trials:?}");
    }

    #[test]
    fn only_the_frugal_search() {
        for profile in [Profile::Default, Profile::Strict] {
            let (lifetime, trials, _) = searched(profile, Known::default(), 120, start());
            assert_eq!((trials, lifetime.interval()), (vec![], profile.interval()));
        }
    }

    #[test]
    fn whoever_wants_to_know_has_it_searched_for_once_and_no_interval_changes() {
        let now = start();
        let mut lifetime = Lifetime::new(Profile::Default, Known::default());
        lifetime.seek(now);
        assert!(!lifetime.is_searching(), "nobody sees us yet");
        lifetime.handle_observed(seen(1), now);
        assert!(lifetime.is_searching());
        lifetime.handle_timeout(now + SETTLE);
        lifetime.seek(now + SETTLE);
        let mut trials = 0;
        while let Some(event) = lifetime.poll_event() {
            match event {
                Event::Trial { delay_s } => {
                    trials += 1;
                    lifetime.handle_trial(if delay_s < 65 { Trial::Borne } else { Trial::Died }, now);
                }
                Event::Learnt(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!((3..=14).contains(&trials), "{trials}");
        assert!((55..65).contains(&lifetime.known().borne_s), "{lifetime:?}");
        assert!(!lifetime.is_searching());
        lifetime.seek(now);
        assert!(!lifetime.is_searching() && lifetime.poll_event().is_none(), "it is known");
    }

    #[test]
    fn what_is_remembered_is_used_at_once_and_tried_once() {
        let known = Known { borne_s: 112, died_s: 120, absolute_s: 0 };
        assert_eq!(Lifetime::new(Profile::Frugal, known).interval(), Duration::from_secs(89));
        let (lifetime, trials, _) = searched(Profile::Frugal, known, 120, start());
        assert_eq!((trials, lifetime.known()), (vec![112], known));
        let (lifetime, trials, _) = searched(Profile::Frugal, known, 65, start());
        assert_eq!(trials[..2], [112, 112], "once more, for it may have been lost");
        assert!((40..65).contains(&lifetime.interval().as_secs()), "{lifetime:?}");
    }

    #[test]
    fn an_echo_that_is_lost_once_costs_nothing_but_time() {
        let now = start();
        let mut lifetime = Lifetime::new(Profile::Frugal, Known::default());
        lifetime.handle_observed(seen(1), now);
        lifetime.handle_timeout(now + SETTLE);
        assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 30 }));
        lifetime.handle_trial(Trial::Died, now);
        assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 30 }));
        lifetime.handle_trial(Trial::Borne, now);
        assert_eq!(lifetime.known(), Known { borne_s: 30, ..Known::default() });
    }

    #[test]
    fn trials_without_any_answer_come_more_and_more_rarely_and_change_nothing() {
        let mut now = start();
        let mut lifetime = Lifetime::new(Profile::Frugal, Known::default());
        lifetime.handle_observed(seen(1), now);
        let began = now;
        let mut trials = 0;
        while now - began < Duration::from_secs(24 * 3600) {
            now = lifetime.poll_timeout().unwrap();
            lifetime.handle_timeout(now);
            if let Some(event) = lifetime.poll_event() {
                assert_eq!(event, Event::Trial { delay_s: 30 });
                trials += 1;
                // Every second one is not even reported.
                if trials % 2 == 0 {
                    lifetime.handle_trial(Trial::Void, now);
                }
            }
        }
        assert!((20..40).contains(&trials), "{trials}");
        assert_eq!(lifetime.known(), Known::default());
    }

    #[test]
    fn a_mapping_that_changes_at_an_interval_believed_safe_halves_it_and_begins_the_search_again() {
        let known = Known { borne_s: 300, died_s: 330, absolute_s: 0 };
        let now = start();
        let mut lifetime = Lifetime::new(Profile::Frugal, known);
        while lifetime.poll_event().is_some() {}
        lifetime.handle_observed(seen(1), now);
        let later = now + Duration::from_secs(3600);
        lifetime.handle_observed(seen(2), later);
        assert_eq!(lifetime.poll_event(), Some(Event::Learnt(Known { borne_s: 0, died_s: 240, absolute_s: 0 })));
        assert_eq!(lifetime.poll_event(), Some(Event::Interval(Duration::from_secs(120))));
        lifetime.handle_timeout(later + SETTLE);
        assert_eq!(lifetime.poll_event(), Some(Event::Trial { delay_s: 120 }));
    }

    #[test]
    fn mappings_that_end_at_a_similar_age_are_left_before_it() {
        for profile in [Profile::Default, Profile::Strict] {
            let mut now = start();
            let mut lifetime = Lifetime::new(profile, Known::default());
            lifetime.handle_observed(seen(1), now);
            for (port, age) in [(2, 66), (3, 58), (4, 71)] {
                assert_eq!(lifetime.poll_event(), None);
                now += Duration::from_secs(age);
                lifetime.handle_observed(seen(port), now);
            }
            let Some(Event::Learnt(Known { absolute_s, .. })) = lifetime.poll_event() else { panic!("{lifetime:?}") };
            assert!((38..=58).contains(&absolute_s), "{absolute_s}");
            let due = lifetime.poll_timeout().unwrap();
            assert!(due - now <= Duration::from_secs(50), "{:?}", due - now);
            assert!(due - now >= Duration::from_secs(30));
            lifetime.handle_timeout(due);
            assert_eq!(lifetime.poll_event(), Some(Event::Renew));
            // The owner did so, and that is no mapping that ended.
            lifetime.handle_observed(seen(5), due + Duration::from_secs(1));
            assert_eq!(lifetime.poll_event(), None);
            assert!(lifetime.poll_timeout().unwrap() > due);
        }
    }

    #[test]
    fn mappings_that_end_by_chance_or_with_the_network_are_no_pattern() {
        let mut now = start();
        let mut lifetime = Lifetime::new(Profile::Default, Known::default());
        lifetime.handle_observed(seen(1), now);
        for (port, age) in [(2, 66), (3, 600), (4, 90), (5, 4_000), (6, 70), (7, 300)] {
            now += Duration::from_secs(age);
            lifetime.handle_observed(seen(port), now);
        }
        for (n, age) in [(1, 66), (2, 67), (3, 68), (4, 66)] {
            now += Duration::from_secs(age);
            lifetime.handle_observed(([203, 0, 113, n + 1], 7).into(), now);
        }
        assert_eq!(lifetime.poll_event(), None);
        assert_eq!(lifetime.poll_timeout(), None);
    }
}
