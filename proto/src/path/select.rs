//! The path in use: how a remote that answered gets to be it, and how it ceases to be.

use std::time::{Duration, Instant};

use rand_chacha::rand_core::Rng;

use super::agent::Agent;
use super::remote::{Remote, SENDS, TRIGGERED_SENDS};
use super::watch::Watch;
use super::{Event, Pair};
use crate::candidate::is_private;

/// A gain below this is noise: queues and schedulers move a round trip by some milliseconds.
const LEAST_GAIN: Duration = Duration::from_millis(5);
/// The gain must also be this part of the round trip (10 %): 5 ms of 200 are noise too.
const GAIN_PART: u32 = 10;

/// How much later than usual a contested path may answer, or a quarter of its round trip if that is more. Less than a
/// person notices, for until then datagrams may go to where nobody is.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);

/// How long ago a remote may have answered to be tried again when the selected path is lost: mappings of a minute ago
/// mostly live.
const SPARE_AGE: Duration = Duration::from_secs(60);

/// The path in use.
pub(super) struct Selected {
    pub(super) pair: Pair,
    pub(super) since: Instant,
    /// Since when there is an unanswered hint that the other side is elsewhere.
    pub(super) contested: Option<Instant>,
    pub(super) watch: Watch,
}

impl Agent {
    /// The other side may be elsewhere: the selected path is checked at once, to prove itself against newcomers.
    pub(super) fn contest(&mut self, now: Instant) {
        let Some(selected) = &mut self.selected else { return };
        selected.contested = Some(now);
        let pair = selected.pair;
        let Some(remote) = self.remotes.iter_mut().find(|remote| remote.pair() == pair) else { return };
        remote.begin(TRIGGERED_SENDS, now);
        if let Some(series) = &mut remote.series {
            series.sent(false, now);
        }
        self.send_check(pair, false, None, now);
    }

    /// The newcomer that takes the place of a contested path, and when, unless the path answers before.
    pub(super) fn heir(&self) -> Option<(Instant, Pair)> {
        let selected = self.selected.as_ref()?;
        let since = selected.contested?;
        let rtt = self.remote(selected.pair)?.rtt.unwrap_or_default();
        let newcomers = self.remotes.iter().filter(|remote| remote.answered.is_some_and(|answered| answered >= since));
        let heir = newcomers.min_by_key(|remote| (!is_private(remote.candidate.address.ip()), remote.rtt))?;
        Some((since + rtt + LEAST_PATIENCE.max(rtt / 4), heir.pair()))
    }

    /// A remote has answered: is it the one to send to?
    pub(super) fn consider(&mut self, pair: Pair, now: Instant) {
        match &mut self.selected {
            Some(selected) if selected.pair == pair => {
                selected.contested = None;
                selected.watch.answered();
            }
            Some(selected) => {
                let current = selected.pair;
                let (Some(contender), Some(current)) = (self.remote(pair), self.remote(current)) else { return };
                let (contender, current) = (Standing::new(contender), Standing::new(current));
                if replaces(contender, current) {
                    self.select(pair, now);
                } else if contender.private
                    && !current.private
                    && let Some(remote) = self.remotes.iter_mut().find(|remote| remote.pair() == pair)
                {
                    remote.look_again(now);
                }
            }
            None => self.select(pair, now),
        }
    }

    pub(super) fn select(&mut self, pair: Pair, now: Instant) {
        let expiry = self.config.profile.consent_expiry();
        let watch = Watch::new(self.consent_interval(), expiry, now);
        self.selected = Some(Selected { pair, since: now, contested: None, watch });
        self.verdict = None;
        self.events.extend(self.path().map(Event::Selected));
    }

    /// The selected path carries nothing: say so, and try what else there is, and the path itself in case that only
    /// a link was down.
    pub(super) fn lose(&mut self, now: Instant) {
        let Some(selected) = self.selected.take() else { return };
        self.events.push_back(Event::Lost { base: selected.pair.base, remote: selected.pair.remote });
        for remote in &mut self.remotes {
            let lost = remote.pair() == selected.pair;
            if lost || remote.answered.is_some_and(|answered| now < answered + SPARE_AGE) {
                remote.begin(SENDS, now);
            }
            if lost {
                remote.answered = None;
            }
        }
        self.await_verdict(now);
    }

    /// The profile's interval ± 20 % (RFC 7675 section 5.1), so that many contacts do not fall into step.
    pub(super) fn consent_interval(&mut self) -> Duration {
        let interval = self.config.profile.consent_interval();
        interval * 4 / 5 + interval * (self.rng.next_u32() % 401) / 1000
    }
}

/// What selection looks at.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// On a private network: it costs nobody's uplink, and its NAT mapping cannot expire.
    private: bool,
    /// The smoothed round-trip time.
    rtt: Duration,
}

impl Standing {
    fn new(remote: &Remote) -> Self {
        Self { private: is_private(remote.candidate.address.ip()), rtt: remote.rtt.unwrap_or_default() }
    }

    fn gain(&self) -> Duration {
        LEAST_GAIN.max(self.rtt / GAIN_PART)
    }
}

/// Whether `contender` should take the place of `current`. IPv4 and IPv6 are equal.
///
/// A private path may be slower by half the gain that would be needed to leave it, because a VPN's private address may lead
/// around the world; the other half keeps the two from alternating.
fn replaces(contender: Standing, current: Standing) -> bool {
    let faster = contender.rtt + current.gain() <= current.rtt;
    faster || contender.private && !current.private && contender.rtt <= current.rtt + current.gain() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standing(private: bool, micros: u64) -> Standing {
        Standing { private, rtt: Duration::from_micros(micros) }
    }

    #[test]
    fn a_private_path_is_preferred_unless_it_is_slower() {
        assert!(replaces(standing(true, 900), standing(false, 800)));
        assert!(replaces(standing(true, 21_000), standing(false, 20_000)));
        assert!(!replaces(standing(true, 90_000), standing(false, 20_000)));
        assert!(!replaces(standing(false, 800), standing(true, 900)));
    }

    #[test]
    fn a_faster_path_needs_five_milliseconds_and_a_tenth() {
        assert!(!replaces(standing(false, 16_000), standing(false, 20_000)));
        assert!(replaces(standing(false, 15_000), standing(false, 20_000)));
        assert!(!replaces(standing(false, 190_000), standing(false, 200_000)));
        assert!(replaces(standing(false, 180_000), standing(false, 200_000)));
    }

    proptest! {
        #[test]
        fn no_two_paths_replace_each_other_in_turn(
            a in (any::<bool>(), 0_u64..2_000_000),
            b in (any::<bool>(), 0_u64..2_000_000),
            noise in 0_u64..2_000,
        ) {
            let (first, second) = (standing(a.0, a.1), standing(b.0, b.1));
            prop_assert!(!(replaces(first, second) && replaces(second, first)));
            // The gap is wider than the noise of either measurement: 2.5 ms at least.
            let noisy = standing(b.0, b.1 + noise);
            prop_assert!(!(replaces(first, noisy) && replaces(second, first)));
        }
    }
}
