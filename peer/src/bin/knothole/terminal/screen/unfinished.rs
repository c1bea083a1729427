//! Changes of messages that were begun and left, or refused: they are gone on with when their conversation is opened again, or the
//! message is edited once more. A draft they are not, so they end with the screen.

use std::collections::VecDeque;

use super::Screen;
use super::acting::Doing;
use super::message::Message;

/// Changes that are kept; beyond them the oldest is let go.
const MOST: usize = 32;

/// The new text of a message, as far as it was typed.
#[derive(Debug)]
pub(super) struct Unfinished {
    peer: String,
    message: String,
    text: String,
}

/// One for each conversation at most, the oldest first.
pub(super) type All = VecDeque<Unfinished>;

impl Screen {
    /// The open conversation is left: what is being edited in it waits.
    pub(super) fn keep_edit(&mut self) {
        let Doing::Edit { message, .. } = &self.doing else { return };
        let Some(open) = &self.conversation else { return };
        let text = self.composer.text();
        if !text.trim().is_empty() && open.find(message).and_then(Message::text) != Some(text) {
            let (peer, message, text) = (open.peer.clone(), message.clone(), text.to_owned());
            self.put_by(Unfinished { peer, message, text });
        }
    }

    fn put_by(&mut self, edit: Unfinished) {
        self.forget_edit(&edit.peer);
        if self.unfinished.len() >= MOST {
            self.unfinished.pop_front();
        }
        self.unfinished.push_back(edit);
    }

    /// What was being edited with this peer is wanted no more.
    pub(super) fn forget_edit(&mut self, peer: &str) {
        self.unfinished.retain(|edit| edit.peer != peer);
    }

    /// Goes on with what was being edited in the open conversation.
    pub(super) fn resume_edit(&mut self) {
        let Some(open) = &self.conversation else { return };
        let Some(place) = self.unfinished.iter().position(|edit| edit.peer == open.peer) else { return };
        let Some(Unfinished { message, text, .. }) = self.unfinished.remove(place) else { return };
        let aside = self.composer.text().to_owned();
        self.doing = Doing::Edit { message, aside };
        self.composer.set_text(&text);
    }

    /// What was typed for this message before, if it waits.
    pub(super) fn take_edit(&mut self, message: &str) -> Option<String> {
        let place = self.unfinished.iter().position(|edit| edit.message == message)?;
        self.unfinished.remove(place).map(|edit| edit.text)
    }

    /// A change was refused: it is gone on with at once where nothing else is being typed, and waits elsewhere.
    pub(super) fn give_back_edit(&mut self, peer: &str, message: &str, text: &str) {
        self.put_by(Unfinished { peer: peer.to_owned(), message: message.to_owned(), text: text.to_owned() });
        if self.is_open(peer) && self.is_idle() {
            self.unchoose();
            self.resume_edit();
        }
    }
}
