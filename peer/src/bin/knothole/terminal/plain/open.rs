//! The conversation that is open: what was told of it, and can be spoken of.

use std::collections::VecDeque;

use serde_json::Value;

use crate::delivery::Stage;
use crate::session::word;
use crate::terminal::screen::message::Message;

/// Messages that can be answered or changed, and whose changes are told with their text: as many as anybody scrolls back for.
const KEPT: usize = 500;

/// The open conversation.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) peer: String,
    /// What was told, the oldest first.
    messages: VecDeque<Message>,
    /// Before which message `/more` goes on; `None` where nothing was told yet.
    pub(crate) oldest: Option<String>,
    /// Nothing is older than the oldest.
    pub(crate) complete: bool,
    /// The day of what was told last, as it is told.
    pub(crate) day: Option<String>,
    /// The message that was chosen.
    pub(crate) chosen: Option<String>,
    /// It was told that the contact is away.
    pub(crate) told_to_wait: bool,
    /// What was said and changed while the newest page was under way, which is to be told first; `None` once it is.
    pub(crate) held: Option<Vec<Value>>,
    /// The presence that was told.
    pub(crate) online: Option<bool>,
}

impl Open {
    pub(crate) fn new(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            messages: VecDeque::new(),
            oldest: None,
            complete: false,
            day: None,
            chosen: None,
            told_to_wait: false,
            held: Some(Vec::new()),
            online: None,
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Message> {
        self.messages.iter().rfind(|message| message.id == id)
    }

    /// Keeps an event until the page is told that was asked for before it. `false`: it is there, or there is no more room.
    pub(crate) fn hold(&mut self, event: &Value) -> bool {
        let held = self.held.as_mut().filter(|held| held.len() < KEPT);
        held.map(|held| held.push(event.clone())).is_some()
    }

    /// A message was told. `false`: it was known before.
    pub(crate) fn add(&mut self, message: Message) -> bool {
        if self.find(&message.id).is_some() {
            return false;
        }
        self.messages.push_back(message);
        self.bound();
        true
    }

    /// Older messages were told; the oldest of them comes first.
    pub(crate) fn add_older(&mut self, page: &[Message]) {
        if let Some(oldest) = page.first() {
            self.oldest = Some(oldest.id.clone());
        }
        for message in page.iter().rev() {
            if self.messages.len() < KEPT && self.find(&message.id).is_none() {
                self.messages.push_front(message.clone());
            }
        }
    }

    /// A message is changed, or has disappeared.
    pub(crate) fn change(&mut self, event: &Value) {
        let id = word(event, "message");
        if word(event, "what") == "expired" {
            self.messages.retain(|message| message.id != id);
        } else if let Some(message) = self.messages.iter_mut().rfind(|message| message.id == id) {
            message.change(event);
        }
    }

    /// A message of ours has come this far.
    pub(crate) fn reached(&mut self, id: &str, stage: Stage) {
        if let Some(message) = self.messages.iter_mut().rfind(|message| message.id == id) {
            message.stage = message.stage.max(stage);
        }
    }

    /// The newest messages, the newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().rev()
    }

    /// The chosen message; where none is chosen, the newest of ours or of theirs.
    pub(crate) fn meant(&self, mine: bool) -> Option<&Message> {
        match &self.chosen {
            Some(chosen) => self.find(chosen),
            None => self.newest().find(|message| message.mine == mine && message.text().is_some()),
        }
    }

    fn bound(&mut self) {
        while self.messages.len() > KEPT {
            self.messages.pop_front();
        }
    }
}
