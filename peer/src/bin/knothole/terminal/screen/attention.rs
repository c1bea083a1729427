//! Whether the person looks here, and how they are called when they do not: at once for the first thing that comes, and once for
//! all that follows shortly after it.

use std::collections::BTreeSet;

/// What comes within so many milliseconds of a call is told by one further call.
const BURST: u64 = 5_000;

/// A terminal that never tells of its focus has the person's attention for so many milliseconds after a key.
const AFTER_KEY: u64 = 30_000;

/// Names told in one call at most.
const NAMES: usize = 3;

/// Where the person's attention is, and whom it was called to.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// What the terminal told of its focus last, if it tells of it at all.
    focused: Option<bool>,
    last_key: u64,
    /// Until when what comes is gathered.
    gathering: Option<u64>,
    waiting: BTreeSet<String>,
    count: usize,
}

/// What to call the person to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Summons {
    /// One message, of this one.
    One(String),
    /// So many, of these; `more` says that others wrote, too.
    Many { count: usize, names: Vec<String>, more: bool },
}

impl Attention {
    pub(super) const fn handle_focus(&mut self, focused: bool) {
        self.focused = Some(focused);
    }

    pub(super) const fn handle_key(&mut self, now: u64) {
        self.last_key = now;
    }

    /// Whether what is in sight is seen. Where the terminal does not tell, as in a window of tmux that another hides, only a
    /// person who has just pressed a key is known to look.
    pub(super) fn is_here(&self, now: u64) -> bool {
        self.focused.unwrap_or(now < self.last_key.saturating_add(AFTER_KEY))
    }

    /// A message of this one came.
    pub(super) fn handle_message(&mut self, name: &str, now: u64) -> Option<Summons> {
        if self.is_here(now) {
            self.forget();
            return None;
        }
        if self.gathering.is_none() {
            self.gathering = Some(now + BURST);
            return Some(Summons::One(name.to_owned()));
        }
        self.count += 1;
        self.waiting.insert(name.to_owned());
        None
    }

    pub(super) fn handle_timeout(&mut self, now: u64) -> Option<Summons> {
        self.gathering.take_if(|until| *until <= now)?;
        let (count, waiting) = (std::mem::take(&mut self.count), std::mem::take(&mut self.waiting));
        if count == 0 || self.is_here(now) {
            return None;
        }
        self.gathering = Some(now + BURST);
        let more = waiting.len() > NAMES;
        Some(Summons::Many { count, names: waiting.into_iter().take(NAMES).collect(), more })
    }

    pub(super) const fn poll_timeout(&self) -> Option<u64> {
        self.gathering
    }

    fn forget(&mut self) {
        (self.gathering, self.count) = (None, 0);
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Option<Summons> {
        Some(Summons::One(name.into()))
    }

    #[test]
    fn nobody_is_called_who_looks() {
        let mut attention = Attention::default();
        attention.handle_focus(true);
        assert_eq!(attention.handle_message("bob", 1_000_000), None);
        attention.handle_focus(false);
        assert_eq!(attention.handle_message("bob", 1_000_001), one("bob"));
        assert!(!attention.is_here(1_000_002));
    }

    #[test]
    fn a_burst_is_told_by_its_first_and_once_for_the_rest() {
        let mut attention = Attention::default();
        attention.handle_focus(false);
        assert_eq!(attention.handle_message("bob", 0), one("bob"));
        for name in ["bob", "carol", "bob"] {
            assert_eq!(attention.handle_message(name, 100), None);
        }
        assert_eq!(attention.handle_timeout(BURST - 1), None);
        let names = vec!["bob".to_owned(), "carol".to_owned()];
        assert_eq!(attention.handle_timeout(BURST), Some(Summons::Many { count: 3, names, more: false }));
        // Quiet again: the next is told at once.
        assert_eq!(attention.handle_timeout(2 * BURST), None);
        assert_eq!(attention.poll_timeout(), None);
        assert_eq!(attention.handle_message("dave", 2 * BURST + 1), one("dave"));
    }

    #[test]
    fn who_comes_back_is_told_nothing_that_is_on_the_screen() {
        let mut attention = Attention::default();
        attention.handle_focus(false);
        attention.handle_message("bob", 0);
        attention.handle_message("bob", 1);
        attention.handle_focus(true);
        assert_eq!(attention.handle_timeout(BURST), None);
    }

    #[test]
    fn where_the_terminal_tells_nothing_a_key_shows_that_somebody_is_there() {
        let mut attention = Attention::default();
        attention.handle_key(1_000);
        assert_eq!(attention.handle_message("bob", 2_000), None);
        assert_eq!(attention.handle_message("bob", 1_000 + AFTER_KEY), one("bob"));
        attention.handle_key(AFTER_KEY + 2_000);
        assert!(attention.is_here(AFTER_KEY + 3_000));
    }
}
