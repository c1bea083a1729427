//! Where the lines of long texts end, remembered: a text of 64 KiB is not broken into lines again for every frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use crate::terminal::cells;

/// Bytes from which on a text is remembered; shorter ones are broken faster than they are looked for.
const LONG: usize = 1024;

/// Texts remembered: no screen shows more long ones, and the next above and below are with them.
const MOST: usize = 16;

/// What is remembered, the latest last.
#[derive(Debug, Default)]
pub(super) struct Wrapped(RefCell<VecDeque<Known>>);

#[derive(Debug)]
struct Known {
    message: String,
    columns: usize,
    lines: Rc<[Range<usize>]>,
}

impl Wrapped {
    /// The lines of the text of a message, on so many columns.
    pub(super) fn lines(&self, message: &str, text: &str, columns: usize) -> Rc<[Range<usize>]> {
        if text.len() < LONG {
            return cells::wrap(text, columns).into();
        }
        let mut all = self.0.borrow_mut();
        if let Some(known) = all.iter().find(|known| known.message == message && known.columns == columns) {
            return known.lines.clone();
        }
        let lines: Rc<[_]> = cells::wrap(text, columns).into();
        all.push_back(Known { message: message.to_owned(), columns, lines: lines.clone() });
        if all.len() > MOST {
            all.pop_front();
        }
        lines
    }

    /// The text of a message is another now.
    pub(super) fn forget(&self, message: &str) {
        self.0.borrow_mut().retain(|known| known.message != message);
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_broken_once_for_each_width_until_it_changes() {
        let wrapped = Wrapped::default();
        let text = "word ".repeat(1000);
        let first = wrapped.lines("m", &text, 20);
        assert!(Rc::ptr_eq(&first, &wrapped.lines("m", &text, 20)));
        assert_ne!(first.len(), wrapped.lines("m", &text, 40).len());
        wrapped.forget("m");
        assert!(!Rc::ptr_eq(&first, &wrapped.lines("m", &text, 20)));
    }
}
