//! Times, and how they are told.

use std::time::Duration;

/// Times of one kind.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// In milliseconds, the time that this share of all did not exceed.
    fn within(&self, percent: usize) -> f64 {
        let mut times = self.0.clone();
        times.sort_unstable();
        let place = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }

    pub(crate) fn line(&self, what: &str) -> String {
        let [median, most, worst] = [50, 99, 100].map(|percent| self.within(percent));
        format!("{what:46} {:6} {median:9.2} {most:9.2} {worst:9.2}", self.0.len())
    }
}

pub(crate) fn heading(what: &str) -> String {
    format!("{what:46} {:>6} {:>9} {:>9} {:>9}", "count", "median", "99 %", "worst")
}
