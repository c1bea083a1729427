//! What the engine tells, and what it means to the screen.

use serde_json::Value;

use super::contacts::{Standing, Way};
use super::message::Message;
use super::{Page, Purpose, Screen};
use crate::delivery::Stage;
use crate::session::word;
use crate::text::{beginning, harmless};

impl Screen {
    pub(super) fn handle_event(&mut self, event: &Value) {
        let peer = word(event, "peer").to_owned();
        match word(event, "type") {
            "presence" => {
                if let Some(contact) = self.contacts.find_mut(&peer) {
                    contact.online = word(event, "state") == "online";
                    contact.typing &= contact.online;
                    if !contact.online {
                        contact.way = None;
                        contact.last_seen = event["at"].as_u64();
                    }
                }
            }
            "path" => {
                if let Some(contact) = self.contacts.find_mut(&peer) {
                    contact.way = (word(event, "kind") != "none").then(|| Way::read(event));
                }
            }
            "typing" => {
                if let Some(contact) = self.contacts.find_mut(&peer) {
                    contact.typing = event["on"] == true;
                }
            }
            "message" => self.take_message(&peer, event),
            "state" => {
                let stage = Stage::of(word(event, "state"));
                let id = word(event, "message");
                if let Some(conversation) = &mut self.conversation
                    && !conversation.reached(id, stage)
                    && conversation.holds_newest()
                {
                    // Something that another face has sent, perhaps in this conversation.
                    self.ask_page(Page::Newest);
                }
            }
            "change" if self.conversation.as_ref().is_some_and(|open| open.peer == peer && open.holds(event)) => {
                self.ask_page(Page::Newest);
            }
            "contact.request" => {
                // Somebody who asks again has been told of already.
                if !self.contacts.find(&peer).is_some_and(|known| known.standing == Standing::Request) {
                    let text = format!("{}: {}", harmless(word(event, "name")), self.words.status.asks);
                    self.say(text, false);
                }
                self.ask_contacts();
            }
            "contact.code" => {
                self.close_code();
                self.say(harmless(word(event, "why")), true);
            }
            "contact.added" => {
                self.ask_contacts();
                self.code_was_used(&peer, &harmless(word(event, "name")));
            }
            "contact.changed" | "contact.removed" | "read" => self.ask_contacts(),
            "registered" | "unregistered" => self.ask(Purpose::Status, "status", serde_json::json!({})),
            "lagged" => self.refresh(),
            _ => {}
        }
    }

    pub(super) fn ask_contacts(&mut self) {
        self.ask(Purpose::Contacts, "contact.list", serde_json::json!({}));
    }

    fn take_message(&mut self, peer: &str, event: &Value) {
        let mut message = Message::read(event, &self.me);
        message.mine = false;
        let text = message.text().map(beginning).unwrap_or_default();
        if let Some(contact) = self.contacts.find_mut(peer) {
            contact.unread += 1;
            contact.typing = false;
            contact.last_at = Some(message.at);
        }
        if let Some(open) = self.conversation.as_mut().filter(|open| open.peer == peer) {
            open.add(message);
        }
        if let Some(summons) = self.attention.handle_message(&harmless(word(event, "name")), self.now) {
            self.summon(summons, Some(text));
        }
        self.note_read();
    }
}
