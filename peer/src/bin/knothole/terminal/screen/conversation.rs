//! The conversation that is open: a window of loaded messages onto a history of any length, and where the eye is in it.

use std::collections::VecDeque;

use serde_json::Value;

use super::exchange::Page;
use super::message::Message;
use crate::delivery::Stage;
use crate::session::{entries, word};

/// Messages asked for at a time: more than any screen shows.
pub(crate) const PAGE: usize = 100;

/// Messages kept at most; beyond it the end that is farther from the eye is let go, and loaded again when it is wanted.
const WINDOW: usize = 600;

/// Where the last row of the view is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// At the newest message, and it follows what comes.
    #[default]
    Bottom,
    /// At this row of this message, whatever comes below.
    At { message: String, row: usize },
}

/// The open conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) peer: String,
    messages: VecDeque<Message>,
    /// Whether older, and newer, messages than those that are loaded exist, as far as is known.
    older: bool,
    newer: bool,
    /// A page that is under way in this direction: none is asked for twice.
    asked: Option<Page>,
    pub(crate) place: Place,
    /// Messages below the view that came while the eye was above.
    pub(crate) below: usize,
    /// The first message that was unread when the conversation was opened.
    pub(crate) unread_from: Option<String>,
    /// The message that keys act on, while one is chosen.
    pub(crate) chosen: Option<String>,
}

impl Conversation {
    pub(crate) fn new(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            messages: VecDeque::new(),
            older: true,
            newer: false,
            asked: None,
            place: Place::Bottom,
            below: 0,
            unread_from: None,
            chosen: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rfind(|message| message.id == id)
    }

    pub(crate) fn index(&self, id: &str) -> Option<usize> {
        self.messages.iter().rposition(|message| message.id == id)
    }

    /// The parameters of a page, unless it is under way or there is none.
    pub(crate) fn wanted(&mut self, page: Page) -> Option<(Option<&str>, Option<&str>)> {
        if self.asked.is_some() && page != Page::Newest {
            return None;
        }
        let ends = match page {
            Page::Newest => (None, None),
            Page::Older if self.older => (self.messages.front().map(|message| message.id.as_str()), None),
            Page::Newer if self.newer => (None, self.messages.back().map(|message| message.id.as_str())),
            Page::Older | Page::Newer => return None,
        };
        self.asked = Some(page);
        Some(ends)
    }

    /// Takes a page in.
    pub(crate) fn take(&mut self, page: Page, entries_of: &Value, me: &str) {
        if self.asked == Some(page) {
            self.asked = None;
        }
        let loaded = entries(entries_of).iter().map(|entry| Message::read(entry, me));
        let full = loaded.len() >= PAGE;
        match page {
            Page::Newest => {
                self.messages = loaded.collect();
                (self.older, self.newer) = (full, false);
            }
            Page::Older => {
                for message in loaded.rev() {
                    self.messages.push_front(message);
                }
                self.older = full;
                while self.messages.len() > WINDOW {
                    self.messages.pop_back();
                    self.newer = true;
                }
            }
            Page::Newer => {
                self.messages.extend(loaded);
                self.newer = full;
                while self.messages.len() > WINDOW {
                    self.messages.pop_front();
                    self.older = true;
                }
            }
        }
    }

    /// A message was said just now, by either side. What is not loaded up to the newest will load it when it comes there.
    pub(crate) fn add(&mut self, message: Message) {
        if self.place != Place::Bottom && !message.mine {
            self.below += 1;
        }
        if self.newer || self.messages.iter().any(|known| known.id == message.id) {
            return;
        }
        self.messages.push_back(message);
        while self.messages.len() > WINDOW && self.place == Place::Bottom {
            self.messages.pop_front();
            self.older = true;
        }
    }

    /// A message of ours has come this far. `false`: it is not among those that are loaded.
    pub(crate) fn reached(&mut self, id: &str, stage: Stage) -> bool {
        match self.messages.iter_mut().rfind(|message| message.id == id) {
            Some(message) => {
                message.stage = message.stage.max(stage);
                true
            }
            None => false,
        }
    }

    /// Whether the newest message is loaded.
    pub(crate) const fn holds_newest(&self) -> bool {
        !self.newer
    }

    /// The newest message of theirs that is loaded.
    pub(crate) fn last_received(&self) -> Option<&Message> {
        self.messages.iter().rfind(|message| !message.mine)
    }

    /// A change that was made to an earlier message: the page with it is read anew, where it is loaded.
    pub(crate) fn holds(&self, event: &Value) -> bool {
        self.find(word(event, "message")).is_some()
    }
}
