//! How much of something may be done at once, and how fast it may be done again.

use std::time::{Duration, Instant};

/// A bucket: full at first, refilled by one in each interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ration {
    burst: u32,
    every: Duration,
    left: u32,
    since: Option<Instant>,
}

impl Ration {
    pub(crate) const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, left: burst, since: None }
    }

    /// Takes so many, or none if there are fewer.
    pub(crate) fn take(&mut self, count: u32, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let periods = now.saturating_duration_since(since).as_micros() / self.every.as_micros().max(1);
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(periods).min(self.burst);
        self.since = since.checked_add(self.every.saturating_mul(periods));
        let enough = self.left >= count;
        if enough {
            self.left -= count;
        }
        enough
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.burst);
    }
}
