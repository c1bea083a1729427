//! What was cut out, to be put back elsewhere.

use std::collections::VecDeque;

use knothole_proto::frames::MAX_TEXT;

/// Pieces that are kept.
const PIECES: usize = 16;

/// The pieces that were cut out, the newest first.
#[derive(Debug, Default)]
pub(super) struct Kills(VecDeque<String>);

impl Kills {
    pub(super) fn push(&mut self, piece: String) {
        self.0.push_front(piece);
        self.0.truncate(PIECES);
    }

    /// A piece that was cut right after the last one, from before or behind it.
    pub(super) fn join(&mut self, piece: &str, before: bool) {
        match self.0.front_mut() {
            Some(last) if last.len() + piece.len() <= MAX_TEXT => {
                last.insert_str(if before { 0 } else { last.len() }, piece)
            }
            _ => self.push(piece.to_owned()),
        }
    }

    pub(super) fn newest(&self) -> Option<&str> {
        self.0.front().map(String::as_str)
    }

    /// The one before the newest, which becomes the oldest.
    pub(super) fn rotate(&mut self) -> Option<&str> {
        if !self.0.is_empty() {
            self.0.rotate_left(1);
        }
        self.newest()
    }
}
