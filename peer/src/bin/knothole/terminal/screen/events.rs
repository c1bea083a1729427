//! What the engine tells, and what it means to the screen.

use serde_json::Value;

use super::contacts::{Standing, Way};
use super::conversation::Place;
use super::message::Message;
use super::pages::asks;
use super::{Purpose, Screen};
use crate::delivery::Stage;
use crate::session::word;
use crate::terminal::words::fill;
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
            "sent" => self.take_sent(&peer, event),
            "state" => {
                if let Some(conversation) = &mut self.conversation {
                    conversation.reached(word(event, "message"), Stage::of(word(event, "state")));
                }
            }
            "read" => {
                if let Some(contact) = self.contacts.find_mut(&peer) {
                    contact.unread = event["unread"].as_u64().unwrap_or_default();
                    contact.first_unread = None;
                    if contact.unread > 0 {
                        // Where the rest begins, the list tells.
                        self.ask_contacts();
                    }
                }
            }
            "change" => {
                if let Some(conversation) = self.conversation.as_mut().filter(|open| open.peer == peer) {
                    conversation.change(event, &self.me);
                }
            }
            "contact.changed" => self.contacts.change(event),
            "contact.removed" => {
                self.contacts.remove(&peer);
                if self.is_open(&peer) {
                    // There is nobody any more for whom a draft could be kept. What is being typed stays in sight, and goes to nobody:
                    // another conversation in this place would get the rest of it.
                    (self.draft_due, self.typing_told) = (None, None);
                    self.leave();
                    self.conversation = None;
                    self.vacated = true;
                    self.say(fill(self.words.people.removed, &[&harmless(word(event, "name"))]), true);
                }
                self.forget_edit(&peer);
            }
            "contact.request" => {
                // Somebody who asks again has been told of already.
                if !self.contacts.find(&peer).is_some_and(|known| known.standing == Standing::Request) {
                    self.say(asks(&harmless(word(event, "name")), self.words), false);
                }
                self.contacts.add_request(event);
                self.ask_contacts();
            }
            "contact.code" => {
                self.close_code();
                self.say(harmless(&self.words.phrases.said(word(event, "why"))), true);
            }
            "contact.added" => {
                self.ask_contacts();
                self.code_was_used(&peer, &harmless(word(event, "name")));
            }
            "contact.renamed" => self.ask_contacts(),
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
        let mut first = false;
        if let Some(contact) = self.contacts.find_mut(peer) {
            first = contact.unread == 0;
            contact.unread += 1;
            if first {
                contact.first_unread = Some(message.id.clone());
            }
            contact.typing = false;
            contact.last_at = Some(message.at);
        }
        let sees = self.attention.is_here(self.now);
        if let Some(open) = self.conversation.as_mut().filter(|open| open.peer == peer) {
            // Who comes back finds where the new begins.
            if first && (!sees || open.place != Place::Bottom) {
                open.unread_from = Some(message.id.clone());
            }
            open.add(message);
            if let Some(chosen) = open.chosen.clone() {
                self.bring_into_sight(&chosen);
            }
        }
        if let Some(summons) = self.attention.handle_message(&harmless(word(event, "name")), self.now) {
            self.summon(summons, Some(text));
        }
        self.note_read();
    }

    /// A message of ours is on the disk, whichever client sent it.
    fn take_sent(&mut self, peer: &str, event: &Value) {
        let mut message = Message::read(event, &self.me);
        message.mine = true;
        self.forget_draft_sent(peer, word(event, "text"));
        if let Some(contact) = self.contacts.find_mut(peer) {
            contact.last_at = Some(message.at);
        }
        if let Some(open) = self.conversation.as_mut().filter(|open| open.peer == peer) {
            open.add_sent(message);
        }
    }
}
