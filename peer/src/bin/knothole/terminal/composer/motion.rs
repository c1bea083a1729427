//! Ways through a text. All positions are bytes, and all that are given back are boundaries between clusters.

use unicode_segmentation::UnicodeSegmentation as _;

use super::keys::Motion;
use crate::terminal::cells::{boundary_from, next_boundary, previous_boundary};

/// Where a motion leads from `at`.
pub(super) fn target(text: &str, at: usize, motion: Motion) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let behind = text.get(at..).unwrap_or_default();
    match motion {
        Motion::Left => previous_boundary(text, at),
        Motion::Right => next_boundary(text, at),
        Motion::WordLeft => {
            let word = before.split_word_bound_indices().rev().find(|(_, word)| is_word(word));
            boundary_to(text, word.map_or(0, |(start, _)| start))
        }
        Motion::WordRight => boundary_from(text, word_behind(text, at).1),
        Motion::SpaceLeft => {
            let words = before.trim_end();
            let space = words.rfind(char::is_whitespace).and_then(|space| words.get(space..)?.chars().next());
            let start = words.rfind(char::is_whitespace).zip(space).map_or(0, |(at, space)| at + space.len_utf8());
            boundary_to(text, start)
        }
        Motion::LineStart => before.rfind('\n').map_or(0, |feed| feed + 1),
        Motion::LineEnd => behind.find('\n').map_or(text.len(), |feed| at + feed),
    }
}

/// Where the next word begins and ends; both at the end of the text where there is none. Within a word, its rest is one.
pub(super) fn word_behind(text: &str, at: usize) -> (usize, usize) {
    let behind = text.get(at..).unwrap_or_default();
    let word = behind.split_word_bound_indices().find(|(_, word)| is_word(word));
    word.map_or((text.len(), text.len()), |(start, word)| (at + start, at + start + word.len()))
}

/// A word by UAX #29: letters and digits together, but ideographs one by one.
fn is_word(piece: &str) -> bool {
    piece.chars().any(char::is_alphanumeric)
}

/// `at` if that is a boundary between clusters, else the one before.
fn boundary_to(text: &str, at: usize) -> usize {
    if boundary_from(text, at) == at { at } else { previous_boundary(text, at) }
}
