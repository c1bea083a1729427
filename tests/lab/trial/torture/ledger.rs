//! What one side has written and has been shown. Its own thread fills it; the other side's and the director's look.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A message that fills a disk soon, and stays below the longest that there may be.
const LONG: usize = 16 << 10;

/// One side's.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Begins every text of this side.
    pub(super) letter: char,
    book: Mutex<Book>,
    /// Its process, or 0.
    pub(super) process: AtomicU32,
    /// Whoever holds this keeps the side from starting a process.
    gate: Mutex<()>,
    /// Whether its disk is full, so that long messages are written whatever is under way, and a process may end by itself.
    pub(super) full: AtomicBool,
}

/// What is counted and compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// The text of each message that was written or attempted, by number.
    pub(super) texts: Vec<String>,
    /// So many of them are stored, as far as this side was told.
    pub(super) written: usize,
    /// Those that were shown as delivered, ever.
    pub(super) delivered: BTreeSet<usize>,
    /// So many of the other's are here, as far as was shown.
    pub(super) heard: usize,
    /// Attempts that were refused.
    pub(super) refused: usize,
    /// In what words, the first time.
    pub(super) refusal: Option<String>,
    /// Processes started, and those of them that ended by themselves while the disk was full.
    pub(super) lives: usize,
    pub(super) failed_starts: usize,
    /// Gaps in the events that the face was told of.
    pub(super) lagged: usize,
}

impl Ledger {
    pub(super) fn new(letter: char) -> Self {
        Self {
            letter,
            book: Mutex::default(),
            process: AtomicU32::new(0),
            gate: Mutex::default(),
            full: AtomicBool::new(false),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message to write: the one that was attempted before, if its outcome is not known or it was refused.
    pub(super) fn attempt(&self) -> (usize, String) {
        let long = self.full.load(Ordering::Relaxed);
        let mut book = self.book();
        let number = book.written;
        if book.texts.len() == number {
            book.texts.push(text(self.letter, number, long));
        }
        (number, book.texts[number].clone())
    }

    /// How far everything is: it only grows.
    pub(super) fn progress(&self) -> usize {
        let book = self.book();
        book.written + book.delivered.len() + book.heard + book.refused
    }
}

/// A text that tells whose it is and its number, of varied length and scripts.
fn text(letter: char, number: usize, long: bool) -> String {
    let padding = match (long, number % 10) {
        (true, _) => "lang ".repeat(LONG / 5),
        (false, 3) => "寿限無 🪵 ".repeat(number % 40),
        (false, 7) => "knot ".repeat(number % 300),
        (false, _) => String::new(),
    };
    format!("{letter} {number} {padding}")
}

/// The number in a text of the side with this letter.
pub(super) fn number(letter: char, text: &str) -> Option<usize> {
    text.strip_prefix(letter)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_not_stored_is_attempted_again_word_for_word() {
        let ledger = Ledger::new('a');
        let first = ledger.attempt();
        ledger.full.store(true, Ordering::Relaxed);
        assert_eq!(ledger.attempt(), first);
        ledger.book().written = 1;
        let (next, long) = ledger.attempt();
        assert!(next == 1 && long.len() >= LONG);
        assert_eq!((number('a', &first.1), number('a', &long), number('b', &long)), (Some(0), Some(1), None));
    }
}
