//! What was changed, to be undone and done again: changes, not copies of the text, since that may have 64 KiB.

use std::collections::VecDeque;
use std::ops::Range;

use knothole_proto::frames::MAX_TEXT;

/// Changes that can be undone: more than anybody walks back.
const CHANGES: usize = 200;

/// Bytes that all of them hold at most; a few whole texts.
const BYTES: usize = 4 * MAX_TEXT;

/// Why a text is changed: changes of a kind that follow each other are undone together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letter by letter: a word is undone at once.
    Typed,
    /// Letter by letter, too.
    Erased,
    /// One candidate in the place of another.
    Completed,
    Other,
}

/// A piece of the text in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: usize,
    pub(super) removed: String,
    pub(super) inserted: String,
    /// Where the cursor was before.
    pub(super) cursor: usize,
    pub(super) kind: Kind,
}

impl Change {
    fn bytes(&self) -> usize {
        self.removed.len() + self.inserted.len()
    }

    /// The bytes of the text that it made.
    pub(super) fn made(&self) -> Range<usize> {
        self.at..self.at + self.inserted.len()
    }

    /// Takes one that came right after into this one, if they are undone together.
    fn join(&mut self, next: &Self) -> bool {
        if self.kind != next.kind {
            return false;
        }
        match self.kind {
            Kind::Typed => {
                let new_word =
                    self.inserted.ends_with(char::is_whitespace) && !next.inserted.starts_with(char::is_whitespace);
                let follows = next.removed.is_empty() && next.at == self.made().end && !new_word;
                if follows {
                    self.inserted.push_str(&next.inserted);
                }
                follows
            }
            Kind::Erased if next.at + next.removed.len() == self.at => {
                self.removed.insert_str(0, &next.removed);
                self.at = next.at;
                true
            }
            Kind::Erased if next.at == self.at => {
                self.removed.push_str(&next.removed);
                true
            }
            Kind::Completed if next.at == self.at && next.removed == self.inserted => {
                self.inserted.clone_from(&next.inserted);
                true
            }
            Kind::Erased | Kind::Completed | Kind::Other => false,
        }
    }
}

/// The changes so far, and those that were undone.
#[derive(Debug, Default)]
pub(super) struct Changes {
    done: VecDeque<Change>,
    undone: Vec<Change>,
    /// Whether the next change begins anew.
    sealed: bool,
}

impl Changes {
    /// Notes a change that was made; none that was undone can be made again then.
    pub(super) fn note(&mut self, change: Change) {
        self.undone.clear();
        let joined = !self.sealed && self.done.back_mut().is_some_and(|last| last.join(&change));
        self.sealed = false;
        if !joined {
            self.done.push_back(change);
        }
        let mut bytes: usize = self.done.iter().map(Change::bytes).sum();
        while self.done.len() > CHANGES || bytes > BYTES {
            bytes -= self.done.pop_front().map_or(bytes, |first| first.bytes());
        }
    }

    /// Ends the word, or whatever else would be undone together.
    pub(super) const fn seal(&mut self) {
        self.sealed = true;
    }

    /// The change that is to be undone.
    pub(super) fn undo(&mut self) -> Option<&Change> {
        let change = self.done.pop_back()?;
        self.sealed = true;
        self.undone.push(change);
        self.undone.last()
    }

    /// The change that is to be made again.
    pub(super) fn redo(&mut self) -> Option<&Change> {
        let change = self.undone.pop()?;
        self.sealed = true;
        self.done.push_back(change);
        self.done.back()
    }
}
