//! What a chat knows, and what it makes of events. Pure: what is to be shown goes out as text.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::contacts::way;
use crate::delivery::Stage;
use crate::session::{name, word};
use crate::shown;
use crate::text::{beginning, harmless, isolated};

/// Messages whose texts are remembered: those that a person may still see above.
const SEEN: usize = 64;

/// A conversation with one contact.
pub(super) struct Conversation {
    peer: String,
    name: String,
    /// What was typed and is not delivered, by message id.
    waiting: BTreeMap<String, String>,
    failed: usize,
    /// The latest messages, by id, with their texts, the oldest first.
    seen: VecDeque<(String, String)>,
    /// The path to the contact, while there is one.
    path: Option<String>,
    online: bool,
    /// When the contact was looked at, in milliseconds since 1970: what was told of presence and path before is no news.
    since: u64,
    /// The last thing told about presence and path: both events say much the same.
    told: String,
}

/// What an event means to the one who chats.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The contact said something.
    Message { text: String, message: String },
    /// Something of ours has arrived.
    Delivered(String),
    /// Something to know besides.
    Aside(String),
    /// Some events are lost.
    Missed,
}

impl Conversation {
    /// A conversation with a contact as JSON-RPC lists it.
    pub(super) fn new(contact: &Value) -> Self {
        let mut conversation = Self {
            peer: word(contact, "peer").to_owned(),
            name: name(contact),
            waiting: BTreeMap::new(),
            failed: 0,
            seen: VecDeque::new(),
            path: contact["path"].is_object().then(|| way(&contact["path"])),
            online: false,
            since: 0,
            told: String::new(),
        };
        conversation.told = conversation.presence(word(contact, "presence") == "online");
        conversation
    }

    /// The same, for a contact that was listed at this moment or later.
    pub(super) fn seen_at(contact: &Value, since: u64) -> Self {
        Self { since, ..Self::new(contact) }
    }

    /// How the contact is there, and by which path: the last that was told of it.
    pub(super) fn told(&self) -> &str {
        &self.told
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether an event tells what is said here: a message, or what becomes of one.
    pub(super) fn is_said(&self, event: &Value) -> bool {
        matches!(word(event, "type"), "message" | "change") && word(event, "peer") == self.peer
    }

    /// How many messages are on their way.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many will not be sent any more.
    pub(super) const fn failed(&self) -> usize {
        self.failed
    }

    /// A message of before, as a line.
    pub(super) fn recall(&mut self, message: &Value, mine: bool, page: &[Value]) -> String {
        self.see(word(message, "message"), word(message, "text"));
        shown::message(message, if mine { "me" } else { &self.name }, shown::answered(message, page))
    }

    /// Something of ours is on its way.
    pub(super) fn sent(&mut self, message: String, text: String) {
        self.see(&message, &text);
        self.waiting.insert(message, text);
    }

    /// Remembers what a message says: it may be answered or changed.
    fn see(&mut self, message: &str, text: &str) {
        self.seen.retain(|(seen, _)| seen != message);
        self.seen.push_back((message.to_owned(), text.to_owned()));
        if self.seen.len() > SEEN {
            self.seen.pop_front();
        }
    }

    fn text_of(&self, message: &str) -> Option<&str> {
        self.seen.iter().find(|(seen, _)| seen == message).map(|(_, text)| text.as_str())
    }

    /// What a change of an earlier message is to one who reads here.
    fn change(&mut self, event: &Value) -> Option<Told> {
        let message = word(event, "message");
        let told = shown::change(event, &self.name, self.text_of(message));
        match word(event, "what") {
            "edited" => self.see(message, word(event, "text")),
            "deleted" | "expired" => self.seen.retain(|(seen, _)| seen != message),
            _ => {}
        }
        told.map(Told::Aside)
    }

    /// A message of ours has come this far. Gives its text if it arrived just now.
    pub(super) fn reached(&mut self, message: &str, stage: Stage) -> Option<String> {
        match stage {
            Stage::Queued | Stage::Sent => None,
            Stage::Delivered | Stage::Read => self.waiting.remove(message),
            Stage::Failed => {
                self.failed += usize::from(self.waiting.remove(message).is_some());
                None
            }
        }
    }

    pub(super) fn take(&mut self, event: &Value) -> Option<Told> {
        let kind = word(event, "type");
        match kind {
            "lagged" => return Some(Told::Missed),
            "state" => {
                let text = self.reached(word(event, "message"), Stage::of(word(event, "state")))?;
                return Some(Told::Delivered(isolated(&beginning(&text))));
            }
            _ if word(event, "peer") != self.peer => return None,
            "presence" | "path" if event["at"].as_u64().is_some_and(|at| at < self.since) => return None,
            _ => {}
        }
        let news = match kind {
            "message" => {
                let message = word(event, "message").to_owned();
                let text = shown::message(event, &self.name, self.text_of(word(event, "reply")));
                self.see(&message, word(event, "text"));
                return Some(Told::Message { text, message });
            }
            "change" => return self.change(event),
            "presence" => self.presence(word(event, "state") == "online"),
            "path" => self.way(event)?,
            _ => return None,
        };
        if self.told == news {
            return None;
        }
        self.told.clone_from(&news);
        Some(Told::Aside(format!("* {news}")))
    }

    fn presence(&mut self, online: bool) -> String {
        self.online = online;
        if !online {
            self.path = None;
        }
        match &self.path {
            Some(path) => format!("{} is online, {path}", isolated(&self.name)),
            None => format!("{} is {}", isolated(&self.name), if online { "online" } else { "offline" }),
        }
    }

    /// A path says something only of one who is there; until then it is kept for the line that says so.
    fn way(&mut self, event: &Value) -> Option<String> {
        let why = harmless(word(event, "why"));
        self.path = match word(event, "kind") {
            "none" => {
                self.path = None;
                return Some(format!("no path to {} ({why})", isolated(&self.name)));
            }
            "relay" => Some(format!("{}: {why}", way(event))),
            _ => Some(way(event)),
        };
        self.online.then(|| self.presence(true))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bob() -> Conversation {
        Conversation::new(&json!({"peer": "b", "name": "bob", "presence": "offline", "path": null}))
    }

    fn aside(text: &str) -> Option<Told> {
        Some(Told::Aside(text.into()))
    }

    #[test]
    fn what_the_contact_says_is_shown_with_its_name_and_made_harmless() {
        let mut bob = bob();
        let event = json!({"type": "message", "peer": "b", "name": "bob", "message": "m", "text": "hi\u{1b}[31m\n* x"});
        let text = "bob: hi\u{FFFD}[31m\n    * x".into();
        assert_eq!(bob.take(&event), Some(Told::Message { text, message: "m".into() }));
    }

    #[test]
    fn changes_are_told_of_the_text_that_was_seen() {
        let mut bob = bob();
        bob.sent("m".into(), "shall we?".into());
        let answer = json!({"type": "message", "peer": "b", "message": "n", "reply": "m", "text": "yes"});
        let text = "bob (to \"shall we?\"): yes".into();
        assert_eq!(bob.take(&answer), Some(Told::Message { text, message: "n".into() }));
        let edited = |text| json!({"type": "change", "peer": "b", "message": "n", "what": "edited", "text": text});
        assert_eq!(bob.take(&edited("no")), aside("* bob edited \"yes\": no"));
        assert_eq!(bob.take(&edited("perhaps")), aside("* bob edited \"no\": perhaps"));
        let expired = json!({"type": "change", "peer": "b", "message": "n", "what": "expired"});
        assert_eq!(bob.take(&expired), None);
        assert_eq!(bob.take(&edited("x")), aside("* bob edited an earlier message: x"));
    }

    #[test]
    fn what_others_say_and_do_is_passed_over() {
        let mut bob = bob();
        for kind in ["message", "presence", "path"] {
            assert_eq!(bob.take(&json!({"type": kind, "peer": "c", "text": "x", "state": "online"})), None);
        }
        assert_eq!(bob.take(&json!({"type": "registered", "rendezvous": "r"})), None);
    }

    #[test]
    fn presence_and_path_are_told_in_words_and_not_twice() {
        let mut bob = bob();
        let online = json!({"type": "presence", "peer": "b", "state": "online"});
        let direct =
            json!({"type": "path", "peer": "b", "kind": "direct", "remote": "203.0.113.5:4711", "rtt_ms": 23.4});
        assert_eq!(bob.take(&online), aside("* bob is online"));
        assert_eq!(bob.take(&online), None);
        assert_eq!(bob.take(&direct), aside("* bob is online, direct 203.0.113.5:4711, 23 ms"));
        assert_eq!(bob.take(&online), None);
        let lost = json!({"type": "path", "peer": "b", "kind": "none", "why": "no answer"});
        assert_eq!(bob.take(&lost), aside("* no path to bob (no answer)"));
        assert_eq!(bob.take(&json!({"type": "presence", "peer": "b", "state": "offline"})), aside("* bob is offline"));
    }

    #[test]
    fn what_happened_before_the_contact_was_looked_at_is_no_news() {
        let mut bob = Conversation::seen_at(&json!({"peer": "b", "name": "bob", "presence": "online"}), 1000);
        let path = |at: u64| json!({"type": "path", "peer": "b", "at": at, "kind": "none", "why": "no answer"});
        assert_eq!(bob.take(&path(999)), None);
        assert_eq!(bob.take(&path(1000)), aside("* no path to bob (no answer)"));
    }

    #[test]
    fn what_was_known_at_the_beginning_is_no_news() {
        let path = json!({"kind": "direct", "remote": "[2001:db8::1]:7", "rtt_ms": 0.3});
        let mut bob = Conversation::new(&json!({"peer": "b", "name": "bob", "presence": "online", "path": path}));
        assert_eq!(bob.told(), "bob is online, direct [2001:db8::1]:7, 0.3 ms");
        assert_eq!(bob.take(&json!({"type": "presence", "peer": "b", "state": "online"})), None);
    }

    #[test]
    fn a_message_waits_until_it_is_delivered_or_has_failed() {
        let mut bob = bob();
        bob.sent("1".into(), "one".into());
        bob.sent("2".into(), "two".into());
        let state = |message, state| json!({"type": "state", "message": message, "state": state});
        assert_eq!(bob.take(&state("1", "sent")), None);
        assert_eq!(bob.take(&state("9", "delivered")), None);
        assert_eq!(bob.waiting(), 2);
        assert_eq!(bob.take(&state("1", "delivered")), Some(Told::Delivered("one".into())));
        assert_eq!(bob.take(&state("1", "read")), None);
        assert_eq!(bob.take(&state("2", "failed")), None);
        assert_eq!((bob.waiting(), bob.failed()), (0, 1));
    }
}
