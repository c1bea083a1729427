//! When a contact's datagrams last went and came, and whether what goes is still answered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// For how long QUIC may go on sending unheard before the silence is announced, in milliseconds. QUIC repeats what is
/// not acknowledged after one to three round trips (RFC 9002 section 6.2), so on most paths this is its second or third
/// try; a lone acknowledgement, to which no answer is due, is followed by nothing and never announced. Whether the time
/// is long for this path's round trip is for the one who is told to judge.
pub(crate) const SILENCE_MS: u64 = 150;

/// What passes between this peer and one virtual address on its present route. Times are milliseconds since the
/// socket was bound, never 0.
///
/// Written by the socket without a lock. A reader may see a datagram's effects one after the other; nothing here
/// needs them at once.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    epoch: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    unanswered: AtomicU64,
    relayed: AtomicU64,
    announced: AtomicBool,
}

impl Activity {
    /// How many times the route has changed. Congestion control and anyone else who learnt a path starts afresh when
    /// this moves.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// When a datagram last went to the present route.
    #[cfg(test)]
    pub(crate) fn last_sent(&self) -> Option<u64> {
        nonzero(&self.sent)
    }

    /// When a datagram last came from the present route.
    #[must_use]
    pub(crate) fn last_received(&self) -> Option<u64> {
        nonzero(&self.received)
    }

    /// When the first datagram was sent after which nothing has come from the present route. If one
    /// goes more than an acknowledgement's delay (25 ms) later, QUIC is repeating itself.
    #[must_use]
    pub(crate) fn unanswered_since(&self) -> Option<u64> {
        nonzero(&self.unanswered)
    }

    /// Says that the present route was otherwise proved to carry datagrams both ways, by a check for instance.
    pub(crate) fn note_answer(&self) {
        self.unanswered.store(0, Relaxed);
        self.announced.store(false, Relaxed);
    }

    /// Takes note of a datagram sent. True when its silence is to be announced: once until the next answer.
    pub(super) fn note_sent(&self, now: u64) -> bool {
        self.sent.store(now, Relaxed);
        match self.unanswered.load(Relaxed) {
            0 => {
                self.unanswered.store(now, Relaxed);
                false
            }
            since => now.saturating_sub(since) >= SILENCE_MS && !self.announced.swap(true, Relaxed),
        }
    }

    /// Takes note of a datagram that came through a relay although the route is direct. True when the route's silence is to
    /// be announced by that: whoever sends through the relay has lost his direct path, and ours may be dead as well.
    pub(super) fn note_relayed(&self, now: u64) -> bool {
        self.relayed.store(now, Relaxed);
        self.is_answered_by_relay(now) && !self.announced.swap(true, Relaxed)
    }

    /// Whether what is sent to the present, direct route is not answered there but by a relay.
    pub(super) fn is_answered_by_relay(&self, now: u64) -> bool {
        let unanswered = self.unanswered.load(Relaxed);
        unanswered != 0 && self.relayed.load(Relaxed) >= unanswered && now.saturating_sub(unanswered) >= SILENCE_MS
    }

    pub(super) fn note_received(&self, now: u64) {
        self.received.store(now, Relaxed);
        if self.unanswered.load(Relaxed) != 0 {
            self.note_answer();
        }
    }

    /// Forgets what was learnt on another route.
    pub(super) fn note_switch(&self) {
        self.epoch.fetch_add(1, Relaxed);
        self.sent.store(0, Relaxed);
        self.received.store(0, Relaxed);
        self.relayed.store(0, Relaxed);
        self.note_answer();
    }
}

fn nonzero(time: &AtomicU64) -> Option<u64> {
    Some(time.load(Relaxed)).filter(|&time| time != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_announced_once_when_sending_goes_on_unheard() {
        let activity = Activity::default();
        assert!(!activity.note_sent(1000));
        assert!(!activity.note_sent(1000 + SILENCE_MS - 1));
        assert!(activity.note_sent(1000 + SILENCE_MS));
        assert!(!activity.note_sent(5000), "it was announced");
        assert_eq!((activity.unanswered_since(), activity.last_sent()), (Some(1000), Some(5000)));
        activity.note_received(5001);
        assert_eq!((activity.unanswered_since(), activity.last_received()), (None, Some(5001)));
        assert!(!activity.note_sent(9000), "the next silence begins anew");
        assert!(activity.note_sent(9000 + SILENCE_MS));
    }

    #[test]
    fn a_lone_acknowledgement_is_never_a_silence() {
        let activity = Activity::default();
        activity.note_received(1000);
        assert!(!activity.note_sent(1025));
        activity.note_received(20_000);
        assert!(!activity.note_sent(20_025));
    }

    #[test]
    fn a_relay_that_answers_in_place_of_a_silent_route_announces_the_silence() {
        let activity = Activity::default();
        assert!(!activity.note_relayed(900), "nothing is asked of the route yet");
        activity.note_sent(1000);
        assert!(!activity.note_relayed(1000 + SILENCE_MS - 1), "the answer may still come");
        assert!(activity.note_relayed(1000 + SILENCE_MS) && activity.is_answered_by_relay(1000 + SILENCE_MS));
        assert!(!activity.note_relayed(1001 + SILENCE_MS), "it was announced");
        activity.note_received(2000);
        assert!(!activity.is_answered_by_relay(2000));
        activity.note_sent(3000);
        assert!(!activity.is_answered_by_relay(4000), "what the relay brought before was no answer to this");
    }

    #[test]
    fn another_route_begins_with_nothing_and_another_epoch() {
        let activity = Activity::default();
        activity.note_received(1);
        activity.note_sent(2);
        activity.note_switch();
        assert_eq!(activity.epoch(), 1);
        assert_eq!((activity.last_sent(), activity.last_received(), activity.unanswered_since()), (None, None, None));
    }
}
