//! What the engine tells, and what of it is told.

use serde_json::{Value, json};

use super::teller::{Purpose, Teller, Telling};
use crate::delivery::Stage;
use crate::session::word;
use crate::terminal::cells::isolated;
use crate::terminal::composer::quoted;
use crate::terminal::screen::contacts::Way;
use crate::terminal::screen::message::{Message, lines};
use crate::terminal::words::fill;
use crate::text::{beginning, harmless};

/// How long somebody who writes on in another conversation is not announced again, in milliseconds: often enough not to be
/// forgotten, rarely enough not to be in the way.
const AGAIN: u64 = 60_000;

impl Teller {
    pub(super) fn handle_event(&mut self, event: &Value) {
        let peer = word(event, "peer");
        let is_open = self.open.as_ref().is_some_and(|open| open.peer == peer);
        let kind = word(event, "type");
        if is_open
            && matches!(kind, "message" | "sent" | "change")
            && self.open.as_mut().is_some_and(|open| open.hold(event))
        {
            return;
        }
        match kind {
            "presence" => self.take_presence(peer, event),
            "path" => {
                if let Some(contact) = self.contacts.find_mut(peer) {
                    contact.way = (word(event, "kind") != "none").then(|| Way::read(event));
                }
            }
            "message" if is_open => self.take_message(peer, event),
            "message" => self.announce(peer),
            "sent" if is_open => self.take_sent(event),
            "state" => self.take_state(word(event, "message"), Stage::of(word(event, "state"))),
            "change" if is_open => self.take_change(event),
            "contact.request" => self.take_request(event),
            "contact.code" => {
                let why = isolated(&harmless(&self.words.phrases.said(word(event, "why")))).into_owned();
                self.say(&fill(self.words.plain.not_done, &[&why]));
            }
            // Our code was used.
            "contact.added" => {
                let name = isolated(&harmless(word(event, "name"))).into_owned();
                self.ask_contacts(Telling::This(fill(self.words.people.added, &[&name])));
            }
            "contact.changed" => self.ask_contacts(Telling::Nothing),
            "contact.removed" => {
                if is_open {
                    self.open = None;
                }
                self.ask_contacts(Telling::Nothing);
            }
            "read" => {
                if let Some(contact) = self.contacts.find_mut(peer) {
                    contact.unread = event["unread"].as_u64().unwrap_or_default();
                }
            }
            "registered" | "unregistered" => self.ask(Purpose::Status, "status", json!({})),
            "lagged" => {
                if let Some(peer) = self.open.as_ref().map(|open| open.peer.clone()) {
                    let typed = self.typed(&peer);
                    self.say(&fill(self.words.plain.missed, &[&typed]));
                }
                self.ask_contacts(Telling::Nothing);
            }
            // Who types is no news to one who listens.
            _ => {}
        }
    }

    fn take_presence(&mut self, peer: &str, event: &Value) {
        let online = word(event, "state") == "online";
        if let Some(contact) = self.contacts.find_mut(peer) {
            contact.online = online;
            if !online {
                contact.way = None;
                contact.last_seen = event["at"].as_u64();
            }
        }
        self.tell_presence();
    }

    /// Tells whether the contact of the open conversation is there, where that is another than was told.
    pub(super) fn tell_presence(&mut self) {
        let Some(open) = &mut self.open else { return };
        let Some(online) = self.contacts.find(&open.peer).map(|contact| contact.online) else { return };
        let Some(told) = open.online.filter(|told| *told != online) else { return };
        open.online = Some(!told);
        open.told_to_wait &= !online;
        let name = self.contacts.find(&open.peer).map(|contact| isolated(&contact.name).into_owned());
        let words = &self.words.plain;
        let sentence = fill(if online { words.comes } else { words.goes }, &[&name.unwrap_or_default()]);
        self.say(&sentence);
    }

    fn take_message(&mut self, peer: &str, event: &Value) {
        let mut message = Message::read(event, &self.me);
        message.mine = false;
        let id = message.id.clone();
        if self.open.as_mut().is_some_and(|open| open.add(message.clone())) {
            self.tell(&[message]);
        }
        self.ask(Purpose::Aside, "message.read", json!({"with": peer, "upto": id}));
    }

    /// Somebody writes elsewhere.
    fn announce(&mut self, peer: &str) {
        let Some(contact) = self.contacts.find_mut(peer) else { return };
        contact.unread += 1;
        let unread = contact.unread.to_string();
        let last = self.announced.get(peer).copied();
        if last.is_some_and(|last| self.now < last.saturating_add(AGAIN)) {
            return;
        }
        self.announced.insert(peer.to_owned(), self.now);
        let (name, typed) = (self.name(peer), self.typed(peer));
        let unread = fill(self.words.plain.unread_messages, &[&unread]);
        self.say(&fill(self.words.plain.elsewhere, &[&name, &unread, &typed]));
    }

    /// A message of ours: what was typed here needs no telling, what another face has sent does.
    fn take_sent(&mut self, event: &Value) {
        let id = word(event, "message");
        if self.sending.iter().any(|sending| sending.id == id) {
            return;
        }
        let mut message = Message::read(event, &self.me);
        (message.mine, message.stage) = (true, Stage::Sent);
        if self.open.as_mut().is_some_and(|open| open.add(message.clone())) {
            self.tell(&[message]);
        }
    }

    fn take_state(&mut self, id: &str, stage: Stage) {
        if let Some(open) = &mut self.open {
            open.reached(id, stage);
        }
        match stage {
            Stage::Queued | Stage::Sent => {}
            Stage::Delivered | Stage::Read => {
                if let Some(text) = self.on_way.remove(id).filter(|_| !self.quiet) {
                    self.say(&fill(self.words.plain.delivered, &[&text]));
                }
            }
            Stage::Failed => {
                if let Some(text) = self.on_way.remove(id) {
                    self.say(&fill(self.words.plain.failed, &[&text]));
                }
            }
        }
    }

    fn take_change(&mut self, event: &Value) {
        let Some(open) = &self.open else { return };
        let words = &self.words.plain;
        let who = if event["mine"] == true { words.you.to_owned() } else { self.name(&open.peer) };
        let id = word(event, "message");
        let which = self.which(open, id);
        let emoji = harmless(word(event, "emoji"));
        let told = match word(event, "what") {
            "edited" => {
                let text = lines(word(event, "text"));
                Some(fill(words.changed, &[&who, &which, &isolated(&text).replace('\n', "\n    ")]))
            }
            "deleted" => Some(fill(words.deleted, &[&who, &which])),
            "reaction" if event["on"] == true => Some(fill(words.reacted, &[&who, &emoji, &which])),
            "reaction" => Some(fill(words.took_back, &[&who, &emoji, &which])),
            "timer" => {
                let conversation = &self.words.conversation;
                let text = match event["expires_s"].as_u64() {
                    Some(seconds) => fill(conversation.timer_on, &[&conversation.span(seconds)]),
                    None => conversation.timer_off.to_owned(),
                };
                Some(format!("{who}{}{text}", words.separator))
            }
            // What has disappeared has done so without a word, as was announced.
            _ => None,
        };
        if let Some(open) = &mut self.open {
            open.change(event);
        }
        if let Some(told) = told {
            self.say(&told);
        }
    }

    /// Somebody asks to be a contact. It is told once the list has them, so that whoever hears it can answer.
    fn take_request(&mut self, event: &Value) {
        let name = harmless(word(event, "name"));
        let (name, typed) = (isolated(&name).into_owned(), isolated(&quoted(&name)).into_owned());
        let greeting = isolated(&beginning(word(event, "text"))).into_owned();
        let words = &self.words.plain;
        let told = match greeting.is_empty() {
            true => fill(words.asks, &[&name, &typed, &typed]),
            false => fill(words.asks_saying, &[&name, &greeting, &typed, &typed]),
        };
        self.ask_contacts(Telling::This(told));
    }
}
