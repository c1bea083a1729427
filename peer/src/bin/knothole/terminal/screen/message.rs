//! A message as a screen shows it.

use serde_json::Value;

use crate::delivery::Stage;
use crate::session::{entries, word};
use crate::text::harmless;

/// Reactions of a message that are shown: two persons have no use for more.
const REACTIONS: usize = 64;

/// One thing said. All that others wrote is harmless.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) mine: bool,
    /// Milliseconds since 1970, by its author's clock.
    pub(crate) at: u64,
    pub(crate) body: Body,
    pub(crate) stage: Stage,
    /// Whether it is on the disk, as all is that the engine tells of.
    pub(crate) stored: bool,
    /// The message that it answers.
    pub(crate) reply: Option<String>,
    pub(crate) edited: bool,
    pub(crate) disappears: bool,
    pub(crate) reactions: Vec<Reaction>,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Line feeds are its only control characters.
    Text(String),
    Deleted,
    /// From now on texts disappear so many seconds after they were read, or stay.
    Timer(Option<u64>),
    /// Of a kind that this version does not know.
    Unknown,
}

/// What somebody thinks of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    pub(crate) emoji: String,
    pub(crate) mine: bool,
}

impl Message {
    /// An entry of `message.history`.
    pub(crate) fn read(entry: &Value, me: &str) -> Self {
        let body = match word(entry, "kind") {
            _ if entry["deleted"] == true => Body::Deleted,
            "timer" => Body::Timer(entry["expires_s"].as_u64()),
            "unknown" => Body::Unknown,
            _ => Body::Text(lines(word(entry, "text"))),
        };
        let reaction =
            |reaction: &Value| Reaction { emoji: harmless(word(reaction, "emoji")), mine: reaction["mine"] == true };
        Self {
            id: word(entry, "message").to_owned(),
            mine: word(entry, "from") == me,
            at: entry["at"].as_u64().unwrap_or_default(),
            stage: Stage::of(word(entry, "state")),
            stored: true,
            reply: entry["reply"].as_str().map(str::to_owned),
            edited: entry["edited"] == true,
            disappears: entry["expires_s"].is_number() && !matches!(body, Body::Timer(_)),
            reactions: entries(&entry["reactions"]).iter().take(REACTIONS).map(reaction).collect(),
            body,
        }
    }

    /// A text of ours that the engine is still to store.
    pub(crate) fn begun(id: &str, text: &str, reply: Option<String>, at: u64) -> Self {
        Self {
            id: id.to_owned(),
            mine: true,
            at,
            body: Body::Text(lines(text)),
            stage: Stage::Queued,
            stored: false,
            reply,
            edited: false,
            disappears: false,
            reactions: Vec::new(),
        }
    }

    /// The timer that a `change` event tells of.
    pub(crate) fn timer(event: &Value, me: &str) -> Self {
        let mut timer = Self::read(event, me);
        timer.mine = event["mine"] == true;
        timer.body = Body::Timer(event["expires_s"].as_u64());
        timer.disappears = false;
        timer
    }

    /// An edit, a deletion or a reaction.
    pub(crate) fn change(&mut self, event: &Value) {
        match word(event, "what") {
            "edited" if self.body != Body::Deleted => {
                self.body = Body::Text(lines(word(event, "text")));
                self.edited = true;
            }
            "deleted" => {
                (self.body, self.edited, self.disappears) = (Body::Deleted, false, false);
                self.reactions.clear();
            }
            "reaction" => {
                let reaction = Reaction { emoji: harmless(word(event, "emoji")), mine: event["mine"] == true };
                self.reactions.retain(|known| *known != reaction);
                if event["on"] == true && self.reactions.len() < REACTIONS {
                    self.reactions.push(reaction);
                }
            }
            _ => {}
        }
    }

    /// What was written, if it was text and still is.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            Body::Deleted | Body::Timer(_) | Body::Unknown => None,
        }
    }
}

/// A text of several lines made harmless: what ends a line elsewhere ends it here.
pub(crate) fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.trim_end_matches('\n').split(['\n', '\u{2028}', '\u{2029}']).map(harmless).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_wrote_is_harmless_and_keeps_its_lines() {
        let entry = json!({"message": "m", "from": "them", "text": "a\r\n\u{1b}[2Jb\u{2028}c\n", "at": 5, "state": "delivered"});
        let message = Message::read(&entry, "me");
        assert_eq!(message.text(), Some("a\n\u{FFFD}[2Jb\nc"));
        assert!(!message.mine);
    }

    #[test]
    fn a_timer_is_no_text_that_disappears() {
        let entry = json!({"message": "m", "from": "me", "text": "", "kind": "timer", "expires_s": 60, "at": 5, "state": "read"});
        let message = Message::read(&entry, "me");
        assert_eq!((message.body, message.disappears, message.mine), (Body::Timer(Some(60)), false, true));
    }
}
