//! The conversation that is open: a window of loaded messages onto a history of any length, and where the eye is in it.

use std::collections::VecDeque;

use serde_json::Value;

use super::exchange::Page;
use super::message::{Body, Message};
use super::wrapped::Wrapped;
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

/// What is to be in sight once it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The mark of the unread, unless all that is unread fits below it anyway.
    Unread(String),
    /// A message, in the midst of its surroundings.
    Message(String),
    /// The very first message.
    Beginning,
}

impl Goal {
    /// The message that has to be loaded for it.
    pub(super) fn message(&self) -> Option<&str> {
        match self {
            Self::Unread(id) | Self::Message(id) => Some(id),
            Self::Beginning => None,
        }
    }
}

/// The open conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) peer: String,
    messages: VecDeque<Message>,
    /// Whether older, and newer, messages than those that are loaded exist, as far as is known.
    older: bool,
    newer: bool,
    /// The page that is under way. Another that is asked for meanwhile takes its place: its answer is passed over.
    asked: Option<Page>,
    /// What came while a page was under way, which may have been read before that.
    fresh: Vec<Message>,
    /// Whether more came than that holds.
    spilled: bool,
    /// What follows the message to jump to, until what goes before it is there, too; and whether that is not all.
    beyond: Option<(Vec<Message>, bool)>,
    /// The page that the engine refused.
    pub(crate) refused: Option<Page>,
    pub(crate) goal: Option<Goal>,
    pub(crate) place: Place,
    /// The first message that was unread when the conversation was opened.
    pub(crate) unread_from: Option<String>,
    /// The message up to which the engine was told that all is read.
    pub(super) noted: Option<String>,
    /// The message that keys act on, while one is chosen.
    pub(crate) chosen: Option<String>,
    pub(super) wrapped: Wrapped,
}

impl Conversation {
    pub(crate) fn new(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            messages: VecDeque::new(),
            older: true,
            newer: false,
            asked: None,
            fresh: Vec::new(),
            spilled: false,
            beyond: None,
            refused: None,
            goal: None,
            place: Place::Bottom,
            unread_from: None,
            noted: None,
            chosen: None,
            wrapped: Wrapped::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Message> + ExactSizeIterator {
        self.messages.iter()
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rfind(|message| message.id == id)
    }

    pub(crate) fn index(&self, id: &str) -> Option<usize> {
        self.messages.iter().rposition(|message| message.id == id)
    }

    /// Whether the newest message is loaded.
    pub(crate) const fn holds_newest(&self) -> bool {
        !self.newer
    }

    /// Whether the very first message is loaded.
    pub(crate) const fn holds_oldest(&self) -> bool {
        !self.older
    }

    /// Whether a page is under way that will be above what is loaded.
    pub(crate) fn loads_older(&self) -> bool {
        self.asked == Some(Page::Older) || (self.messages.is_empty() && self.asked.is_some())
    }

    /// The parameters `before` and `after` of a page, unless a page beside it is under way or there is none.
    pub(crate) fn wanted(&mut self, page: &Page) -> Option<(Option<String>, Option<String>)> {
        let id = |message: Option<&Message>| message.map(|message| message.id.clone());
        let ends = match page {
            Page::Newest => (None, None),
            Page::Oldest => (None, Some(String::new())),
            Page::Older | Page::Newer if self.asked.is_some() => return None,
            Page::Older if self.older => (Some(id(self.messages.front())?), None),
            Page::Newer if self.newer => (None, Some(id(self.messages.back())?)),
            Page::Older | Page::Newer => return None,
            Page::Beyond(goal) => (None, Some(goal.clone())),
            Page::Upto(next) => (Some(next.clone()), None),
        };
        self.asked = Some(page.clone());
        self.refused = None;
        Some(ends)
    }

    /// Takes a page in. `false`: it is not the one that is waited for.
    pub(crate) fn take(&mut self, page: &Page, answer: &Value, me: &str) -> bool {
        if self.asked.as_ref() != Some(page) {
            return false;
        }
        self.asked = None;
        let loaded: Vec<_> = entries(answer).iter().map(|entry| Message::read(entry, me)).collect();
        let full = loaded.len() >= PAGE;
        match page {
            Page::Newest => {
                self.beyond = None;
                self.replace(loaded, full, false);
            }
            Page::Oldest => self.replace(loaded, false, full),
            Page::Older => {
                for message in loaded.into_iter().rev() {
                    self.messages.push_front(message);
                }
                self.older = full;
            }
            Page::Newer => {
                self.messages.extend(loaded);
                self.newer = full;
            }
            Page::Beyond(_) => {
                self.beyond = Some((loaded, full));
                return true;
            }
            Page::Upto(_) => {
                let (after, newer) = self.beyond.take().unwrap_or_default();
                self.replace(loaded.into_iter().chain(after), full, newer);
            }
        }
        let (fresh, spilled) = (std::mem::take(&mut self.fresh), std::mem::take(&mut self.spilled));
        // Before the newest page there may be some of it, and a hole between.
        if !(spilled && *page == Page::Newest) {
            for message in fresh {
                self.add(message);
            }
        }
        self.newer |= spilled;
        self.trim();
        true
    }

    fn replace(&mut self, messages: impl IntoIterator<Item = Message>, older: bool, newer: bool) {
        self.messages = messages.into_iter().collect();
        (self.older, self.newer) = (older, newer);
        self.wrapped.clear();
    }

    /// The first of the messages that follow the one to jump to, which wait for those before it.
    pub(super) fn beyond_goal(&self) -> Option<&str> {
        self.beyond.as_ref()?.0.first().map(|message| message.id.as_str())
    }

    /// Whether the message to jump to was asked for already.
    pub(super) const fn seeks(&self) -> bool {
        self.beyond.is_some()
    }

    /// The engine does not give a page; it may be asked for again.
    pub(crate) fn refuse(&mut self, page: Page) {
        if self.asked.as_ref() == Some(&page) {
            self.asked = None;
            self.goal = None;
            self.beyond = None;
            self.refused = Some(page);
        }
    }

    /// A message was said just now, by either side. What is not loaded up to the newest will load it when it comes there.
    pub(crate) fn add(&mut self, message: Message) {
        if self.asked.is_some() {
            if self.fresh.len() < PAGE {
                self.fresh.push(message.clone());
            } else {
                self.spilled = true;
            }
        }
        if self.newer || self.index(&message.id).is_some() {
            return;
        }
        self.messages.push_back(message);
        self.trim();
    }

    /// A message of ours is on the disk: what was shown of it before is as the engine has it now.
    pub(crate) fn add_sent(&mut self, message: Message) {
        let fresh = self.fresh.iter_mut();
        for known in self.messages.iter_mut().chain(fresh).filter(|known| known.id == message.id) {
            (known.stored, known.disappears) = (true, message.disappears);
        }
        self.add(message);
    }

    /// Lets go of what is farthest from the eye.
    fn trim(&mut self) {
        while self.messages.len() > WINDOW {
            let eye = match &self.place {
                Place::At { message, .. } => self.index(message),
                Place::Bottom => None,
            };
            if eye.is_some_and(|eye| eye < self.messages.len() / 2) {
                self.messages.pop_back();
                self.newer = true;
            } else {
                self.messages.pop_front();
                self.older = true;
            }
        }
    }

    /// Takes a message away: it has expired, or was not sent.
    pub(crate) fn remove(&mut self, id: &str) {
        self.fresh.retain(|message| message.id != id);
        let Some(index) = self.index(id) else { return };
        self.messages.remove(index);
        let before = index.checked_sub(1).and_then(|before| self.messages.get(before));
        let neighbour = before.or_else(|| self.messages.get(index)).map(|message| message.id.clone());
        let after = self.messages.get(index).map(|message| message.id.clone());
        if let Place::At { message, row } = &mut self.place
            && message == id
        {
            match neighbour {
                Some(neighbour) => (*message, *row) = (neighbour, usize::MAX),
                None => self.place = Place::Bottom,
            }
        }
        self.chosen.take_if(|chosen| chosen == id);
        if self.unread_from.as_deref() == Some(id) {
            self.unread_from = after;
        }
    }

    /// A message of ours is on the disk.
    pub(crate) fn stored(&mut self, id: &str) {
        let fresh = self.fresh.iter_mut();
        self.messages
            .iter_mut()
            .chain(fresh)
            .filter(|message| message.id == id)
            .for_each(|message| message.stored = true);
    }

    /// A message of ours has come this far.
    pub(crate) fn reached(&mut self, id: &str, stage: Stage) {
        let fresh = self.fresh.iter_mut();
        for message in self.messages.iter_mut().chain(fresh).filter(|message| message.id == id) {
            (message.stage, message.stored) = (message.stage.max(stage), true);
        }
    }

    /// What a `change` event says.
    pub(crate) fn change(&mut self, event: &Value, me: &str) {
        let id = word(event, "message");
        match word(event, "what") {
            "expired" => return self.remove(id),
            "timer" => return self.add(Message::timer(event, me)),
            _ => {}
        }
        let fresh = self.fresh.iter_mut();
        for message in self.messages.iter_mut().chain(fresh).filter(|message| message.id == id) {
            message.change(event);
        }
        self.wrapped.forget(id);
    }

    /// The newest message of which this holds.
    pub(crate) fn latest(&self, fits: impl Fn(&Message) -> bool) -> Option<&Message> {
        self.messages.iter().rfind(|message| fits(message))
    }

    /// Whether a message can be answered, reacted to or changed.
    pub(crate) fn is_text(message: &Message) -> bool {
        matches!(message.body, Body::Text(_))
    }
}
