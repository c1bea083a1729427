//! How long mappings live.

use std::time::{Duration, Instant};

/// When a mapping dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// After this long without a packet that refreshes it. Outgoing packets always do (RFC 4787 REQ-6).
    pub idle: Duration,
    /// The same until the first packet has come in.
    pub unanswered: Duration,
    /// Whether incoming packets refresh it too (RFC 4787 section 4.3 leaves that to the NAT).
    pub refreshed_inbound: bool,
    /// At this age whatever is sent, as one mobile carrier does after 50 to 75 s.
    pub lifetime: Option<Duration>,
}

impl Expiry {
    /// The least that RFC 4787 REQ-5 allows: two minutes.
    pub const TWO_MINUTES: Self = Self::after(Duration::from_secs(120));

    /// Linux: 30 s, then 120 s for a stream (`nf_conntrack_udp_timeout`, `nf_conntrack_udp_timeout_stream`).
    pub const LINUX: Self = Self { unanswered: Duration::from_secs(30), ..Self::TWO_MINUTES };

    /// What RFC 5382 REQ-5 asks for an established TCP connection: 2 h 4 min.
    pub const TCP: Self = Self::after(Duration::from_secs(2 * 3600 + 4 * 60));

    /// The same idle time whether or not there was an answer, refreshed by both directions.
    pub const fn after(idle: Duration) -> Self {
        Self { idle, unanswered: idle, refreshed_inbound: true, lifetime: None }
    }

    pub(super) fn keeps(&self, age: &Age, now: Instant) -> bool {
        let young = self.lifetime.is_none_or(|lifetime| now.duration_since(age.created) < lifetime);
        young && self.keeps_since(age, age.refreshed, now)
    }

    /// Whether what was last used at `last`, in a mapping of this age, still counts.
    pub(super) fn keeps_since(&self, age: &Age, last: Instant, now: Instant) -> bool {
        now.duration_since(last) < if age.answered { self.idle } else { self.unanswered }
    }
}

/// A mapping's times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    created: Instant,
    refreshed: Instant,
    answered: bool,
}

impl Age {
    pub(super) fn new(now: Instant) -> Self {
        Self { created: now, refreshed: now, answered: false }
    }

    pub(super) fn refresh(&mut self, now: Instant) {
        self.refreshed = now;
    }

    pub(super) fn reply(&mut self) {
        self.answered = true;
    }
}
