//! Keys that were typed before it is known whose conversation is open: they wait, and are played then.

use std::collections::VecDeque;

use knothole_proto::frames::MAX_TEXT;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::{Input, Screen};

/// Bytes that wait at most, a key being one: as many as a message has.
const MOST: usize = MAX_TEXT;

/// What waits, until it is played.
#[derive(Debug, Default)]
pub(super) struct Held {
    inputs: VecDeque<Input>,
    bytes: usize,
    /// Whether nothing waits any more.
    over: bool,
}

impl Screen {
    /// Keeps what is typed or pasted while it is not known to whom. Gives back what is to be taken now.
    pub(super) fn hold(&mut self, input: Input) -> Option<Input> {
        let bytes = match &input {
            _ if self.held.over => return Some(input),
            Input::Paste(text) => text.len(),
            // These mean the same at any time, and who waits for an engine in vain may want them.
            Input::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => match key.code {
                KeyCode::Char('c' | 'l' | 'z') => return Some(input),
                KeyCode::Char('d') if self.held.inputs.is_empty() => return Some(input),
                _ => 1,
            },
            Input::Key(_) => 1,
            _ => return Some(input),
        };
        if self.held.bytes + bytes > MOST {
            self.say(self.words.composer.full.to_owned(), true);
        } else {
            self.held.bytes += bytes;
            self.held.inputs.push_back(input);
        }
        None
    }

    /// Plays what was kept: it is known who is there, or that this will not be known.
    pub(super) fn play_held(&mut self) {
        if std::mem::replace(&mut self.held.over, true) {
            return;
        }
        for input in std::mem::take(&mut self.held.inputs) {
            self.take(input);
        }
    }
}
