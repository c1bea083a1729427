//! When the index of the search is rid of what was erased: soon after, but a contact that deletes all day long must not keep the
//! disk busy.

use std::time::{Duration, Instant};

use super::Engine;

/// Whoever deletes one message often deletes another.
const SOON: Duration = Duration::from_secs(10);
/// Between the end of one round and the next: a round over a million messages takes some ten seconds.
const PAUSE: Duration = Duration::from_secs(3600);

/// What is to be tidied.
#[derive(Debug, Default)]
pub(super) struct Tidying {
    due: Option<Instant>,
    last: Option<Instant>,
    running: bool,
}

impl Tidying {
    /// Something was erased.
    pub(super) fn expect(&mut self, now: Instant) {
        if !self.running {
            let rested = self.last.map(|last| last + PAUSE);
            self.due.get_or_insert((now + SOON).max(rested.unwrap_or(now)));
        }
    }

    /// When the next round begins.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn begin(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        self.running |= due;
        due
    }

    const fn end(&mut self, now: Instant) {
        self.running = false;
        self.last = Some(now);
    }
}

impl Engine {
    pub(super) fn handle_tidying_timeout(&mut self, now: Instant) {
        if self.tidying.begin(now) {
            self.tidy(true);
        }
    }

    fn tidy(&mut self, first: bool) {
        self.after(self.store.tidy(first), move |engine, result| match result {
            // What is left is done after the next start.
            Ok(true) if engine.stopping.is_some() => {}
            Ok(true) => engine.tidy(false),
            Ok(false) => {
                engine.tidying.end(Instant::now());
                engine.after(engine.store.is_untidy(), |engine, result| {
                    if result == Ok(true) {
                        engine.tidying.expect(Instant::now());
                    }
                });
            }
            Err(error) => {
                tracing::info!(%error, "the search still holds what was deleted");
                engine.tidying.end(Instant::now());
                engine.tidying.expect(Instant::now());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_comes_soon_and_the_next_after_a_pause() {
        let mut tidying = Tidying::default();
        let start = Instant::now();
        tidying.expect(start);
        tidying.expect(start + Duration::from_secs(5));
        assert_eq!(tidying.poll_timeout(), Some(start + SOON));
        assert!(!tidying.begin(start));
        assert!(tidying.begin(start + SOON));
        tidying.expect(start + SOON);
        assert_eq!(tidying.poll_timeout(), None);
        tidying.end(start + SOON);
        tidying.expect(start + SOON);
        assert_eq!(tidying.poll_timeout(), Some(start + SOON + PAUSE));
    }
}
