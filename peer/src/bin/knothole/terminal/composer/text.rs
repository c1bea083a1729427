//! A text with a cursor. The cursor stands between clusters, and the text never has more bytes than a message.

use std::ops::Range;

use knothole_proto::frames::MAX_TEXT;

use super::changes::{Change, Changes, Kind};
use super::keys::{Case, Motion};
use super::motion::{target, word_behind};
use crate::terminal::cells::{boundary_from, next_boundary, previous_boundary};

/// The text would have more bytes than a message can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    cursor: usize,
    changes: Changes,
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) const fn cursor(&self) -> usize {
        self.cursor
    }

    /// What stands before the cursor.
    pub(super) fn before(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    /// What stands behind it.
    pub(super) fn behind(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    /// Another text, with the cursor at its end and nothing to undo; as much of it as a message holds.
    pub(super) fn reset(&mut self, text: &str) {
        let mut end = text.len().min(MAX_TEXT);
        if end < text.len() {
            while boundary_from(text, end) != end || !text.is_char_boundary(end) {
                end -= 1;
            }
        }
        self.text = text.get(..end).unwrap_or_default().to_owned();
        self.cursor = self.text.len();
        self.changes = Changes::default();
    }

    /// Takes the text out.
    pub(super) fn take(&mut self) -> String {
        self.changes = Changes::default();
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts the cursor at a place, or at the next where it can be.
    pub(super) fn put_cursor(&mut self, at: usize) {
        self.cursor = boundary_from(&self.text, at);
        self.changes.seal();
    }

    pub(super) fn go(&mut self, motion: Motion) {
        self.put_cursor(target(&self.text, self.cursor, motion));
    }

    /// Where a motion would lead, as the range between.
    pub(super) fn reach(&self, motion: Motion) -> Range<usize> {
        let to = target(&self.text, self.cursor, motion);
        self.cursor.min(to)..self.cursor.max(to)
    }

    /// Puts something in the place of a range, and the cursor behind it.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str, kind: Kind) -> Result<(), TooLong> {
        let removed = self.text.get(range.clone()).unwrap_or_default().to_owned();
        if self.text.len() - removed.len() + with.len() > MAX_TEXT {
            return Err(TooLong);
        }
        let change = Change { at: range.start, removed, inserted: with.to_owned(), cursor: self.cursor, kind };
        self.text.replace_range(range, with);
        // What joins its neighbours has made other clusters.
        self.cursor = boundary_from(&self.text, change.made().end);
        self.changes.note(change);
        Ok(())
    }

    /// Takes a range out, and gives what it was.
    pub(super) fn cut(&mut self, range: Range<usize>, kind: Kind) -> String {
        let cut = self.text.get(range.clone()).unwrap_or_default().to_owned();
        // Less than before fits.
        let _ = self.replace(range, "", kind);
        cut
    }

    /// Undoes the last change; whether there was one.
    pub(super) fn undo(&mut self) -> bool {
        let Some(change) = self.changes.undo() else { return false };
        self.text.replace_range(change.made(), &change.removed);
        self.cursor = boundary_from(&self.text, change.cursor);
        true
    }

    /// Makes the last change that was undone again.
    pub(super) fn redo(&mut self) -> bool {
        let Some(change) = self.changes.redo() else { return false };
        self.text.replace_range(change.at..change.at + change.removed.len(), &change.inserted);
        self.cursor = boundary_from(&self.text, change.made().end);
        true
    }

    /// Exchanges the cluster before the cursor with the one behind it, at a line's end the last two.
    pub(super) fn transpose(&mut self) -> bool {
        let line_end = self.behind().is_empty() || self.behind().starts_with('\n');
        let middle = if line_end { previous_boundary(&self.text, self.cursor) } else { self.cursor };
        let (start, end) = (previous_boundary(&self.text, middle), next_boundary(&self.text, middle));
        let (Some(first), Some(second)) = (self.text.get(start..middle), self.text.get(middle..end)) else {
            return false;
        };
        if first.is_empty() || second.is_empty() || first == "\n" || second == "\n" {
            return false;
        }
        let exchanged = format!("{second}{first}");
        self.replace(start..end, &exchanged, Kind::Other).is_ok()
    }

    /// Changes the letters from the cursor to the end of the word.
    pub(super) fn recase(&mut self, case: Case) -> Result<(), TooLong> {
        let (start, end) = word_behind(&self.text, self.cursor);
        let word = self.text.get(start..end).unwrap_or_default();
        let changed = match case {
            Case::Upper => word.to_uppercase(),
            Case::Lower => word.to_lowercase(),
            Case::Capital => {
                let mut letters = word.chars();
                let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
                first + &letters.as_str().to_lowercase()
            }
        };
        self.replace(start..end, &changed, Kind::Other)
    }
}
