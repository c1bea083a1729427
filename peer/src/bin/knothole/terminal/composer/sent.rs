//! What was sent before, to be recalled as in a shell: whatever is typed on the way, at any place, stays there until something is sent.

use std::collections::{BTreeMap, VecDeque};

use knothole_proto::frames::MAX_TEXT;

/// Texts that are kept.
const TEXTS: usize = 100;

/// Bytes that they have at most: a few of the longest.
const BYTES: usize = 4 * MAX_TEXT;

/// Texts that were sent, and a place among them; behind the last is what is not sent yet.
#[derive(Debug, Default)]
pub(super) struct Sent {
    texts: VecDeque<String>,
    /// How far back from the unfinished text.
    back: usize,
    /// What was typed, by how far back.
    typed: BTreeMap<usize, String>,
}

impl Sent {
    /// Notes a text that was sent, and returns to the end.
    pub(super) fn note(&mut self, text: &str) {
        self.leave();
        if self.texts.back().is_none_or(|last| last != text) {
            self.texts.push_back(text.to_owned());
        }
        let mut bytes: usize = self.texts.iter().map(String::len).sum();
        while self.texts.len() > TEXTS || bytes > BYTES {
            bytes -= self.texts.pop_front().map_or(bytes, |first| first.len());
        }
    }

    /// Returns to the end, without what was typed on the way.
    pub(super) fn leave(&mut self) {
        self.back = 0;
        self.typed.clear();
    }

    /// The text one place earlier or later, if there is one; `now` is what stands at this place.
    pub(super) fn recall(&mut self, earlier: bool, now: &str) -> Option<String> {
        let back = if earlier { self.back + 1 } else { self.back.checked_sub(1)? };
        if back > self.texts.len() {
            return None;
        }
        if self.at(self.back) == now {
            self.typed.remove(&self.back);
        } else {
            self.typed.insert(self.back, now.to_owned());
        }
        self.back = back;
        Some(self.typed.get(&back).cloned().unwrap_or_else(|| self.at(back).to_owned()))
    }

    /// What was sent so far back.
    fn at(&self, back: usize) -> &str {
        let place = self.texts.len().checked_sub(back);
        place.and_then(|place| self.texts.get(place)).map_or("", String::as_str)
    }
}
