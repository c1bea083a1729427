//! The search: which silence is tried next, and what follows from it.

use std::time::{Duration, Instant};

use super::{Event, Known, Lifetime};
use crate::registration::{INTERVAL_RANGE_S, Profile};

/// The first delay: what the shortest-lived home gateways are said to bear.
const FIRST_DELAY_S: u16 = 30;
/// Below this no search goes on: a mapping that short-lived would cost more keepalives than anybody calls frugal.
const LEAST_DELAY_S: u16 = 15;
/// A gap so small between borne and not borne is small enough, in seconds; above 40 s an eighth.
const LEAST_GAP_S: u16 = 5;
/// A registration is given so long to settle before a trial begins: the first moments are busy.
pub(super) const SETTLE: Duration = Duration::from_secs(10);
/// A trial that nobody reported is void this long after its delay.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after a trial without any answer, doubling to the longest: the rendezvous is away or full.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Who only wants to know waits for no longer pause: after three, in some 10 minutes, the search is given up.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 60);
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
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

impl Lifetime {
    /// Somebody wants to know: searches until all is found, whatever the profile. Nothing happens if it is known to an
    /// eighth, or before the first observed address; then it begins with that.
    pub fn seek(&mut self, now: Instant) {
        self.sought = true;
        match &mut self.search {
            Search::Over if self.mapping.is_some() => self.go_on(now),
            // The frugal may have an hour's pause.
            Search::Resting { until } => *until = (*until).min(now + SETTLE),
            Search::Over | Search::Trying { .. } => {}
        }
    }

    /// Whether a search goes on, or rests.
    #[must_use]
    pub fn is_searching(&self) -> bool {
        self.search != Search::Over
    }

    /// A trial has ended.
    pub fn handle_trial(&mut self, trial: Trial, now: Instant) {
        let Search::Trying { delay_s, again, .. } = self.search else { return };
        match trial {
            // Whoever waits for it does not wait for a rendezvous that has no room for echoes.
            Trial::Void if self.profile != Profile::Frugal && self.pause > LONGEST_WAIT => {
                (self.search, self.sought, self.pause) = (Search::Over, false, FIRST_PAUSE);
                return;
            }
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

    pub(super) fn go_on(&mut self, now: Instant) {
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

    pub(super) fn rest(&mut self, pause: Duration, now: Instant) {
        if self.profile == Profile::Frugal || self.sought {
            self.search = Search::Resting { until: now + pause };
        }
    }
}
