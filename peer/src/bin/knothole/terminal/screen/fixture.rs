//! A screen with an engine that is a list: it answers what the screen asks from contacts and messages that a test gives it.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::{Ask, Effect, Input, Refusal, Screen};
use crate::session::word;
use crate::terminal::words::ENGLISH;

/// Our own peer id.
pub(crate) const ME: &str = "me";

/// A Wednesday: 2026-11-25 12:00 UTC.
pub(crate) const NOON: u64 = 1_795_608_000_000;

/// The screen, and what its engine has.
pub(crate) struct Fixture {
    pub(crate) screen: Screen,
    /// As `contact.list` tells them.
    pub(crate) contacts: Vec<Value>,
    /// By peer, the oldest first, as `message.history` tells them.
    pub(crate) messages: BTreeMap<String, Vec<Value>>,
    /// What was called, in its order.
    pub(crate) asked: Vec<Ask>,
    /// What else the driver was to do.
    pub(crate) effects: Vec<Effect>,
    /// Methods that are refused, with the reason.
    pub(crate) refuses: BTreeMap<&'static str, String>,
    /// What `status` tells.
    pub(crate) status: Value,
    /// What other methods answer, where that matters.
    pub(crate) answers: BTreeMap<&'static str, Value>,
    /// While this holds, calls are taken and not answered.
    pub(crate) silent: bool,
    pub(crate) now: u64,
}

/// A contact that is online.
pub(crate) fn contact(name: &str) -> Value {
    json!({"peer": format!("id-{name}"), "name": name, "state": "contact", "presence": "online", "unread": 0,
        "first_unread": null, "last_at": null, "draft": null, "seen_as": "online"})
}

/// A message of this peer, or of [`ME`], as history tells it.
pub(crate) fn said(id: &str, from: &str, text: &str, at: u64) -> Value {
    json!({"message": id, "from": from, "text": text, "at": at, "state": "delivered"})
}

/// So many messages by turns of bob and of us, one every seven minutes from [`NOON`] on.
pub(crate) fn talk(many: usize) -> Vec<Value> {
    let turn = |at: usize| if at.is_multiple_of(2) { "id-bob" } else { ME };
    (0..many)
        .map(|at| said(&format!("m{at}"), turn(at), &format!("message {at}"), NOON + at as u64 * 420_000))
        .collect()
}

impl Fixture {
    /// A screen that has opened the conversation with bob, who has said all this.
    pub(crate) fn with_bob(size: (u16, u16), messages: Vec<Value>) -> Self {
        let bob = contact("bob");
        Self::new(size, vec![bob], BTreeMap::from([("id-bob".to_owned(), messages)]))
    }

    /// A screen that has asked for all this.
    pub(crate) fn new(size: (u16, u16), contacts: Vec<Value>, messages: BTreeMap<String, Vec<Value>>) -> Self {
        let status = json!({"peer": ME, "link": "knothole:me", "rendezvous": [
            {"address": "key@rendezvous.example:3478", "state": "registered", "transport": "udp"}]});
        Self::begin(size, status, contacts, messages)
    }

    /// A screen of somebody who has nobody yet, of whom `status` tells this.
    pub(crate) fn alone(size: (u16, u16), status: Value) -> Self {
        Self::begin(size, status, Vec::new(), BTreeMap::new())
    }

    fn begin(size: (u16, u16), status: Value, contacts: Vec<Value>, messages: BTreeMap<String, Vec<Value>>) -> Self {
        let mut fixture = Self {
            screen: Screen::new(&ENGLISH, TimeZone::UTC, size, NOON),
            contacts,
            messages,
            asked: Vec::new(),
            effects: Vec::new(),
            refuses: BTreeMap::new(),
            status,
            answers: BTreeMap::new(),
            silent: false,
            now: NOON,
        };
        fixture.settle();
        fixture
    }

    /// Takes something in, and answers all that is asked for it.
    pub(crate) fn handle(&mut self, input: Input) {
        self.screen.handle(input, self.now);
        self.settle();
    }

    pub(crate) fn key(&mut self, code: KeyCode) {
        self.key_with(code, KeyModifiers::NONE);
    }

    pub(crate) fn key_with(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.handle(Input::Key(KeyEvent::new(code, modifiers)));
    }

    /// Types a text, key by key.
    pub(crate) fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.key(KeyCode::Char(c));
        }
    }

    /// The engine tells something.
    pub(crate) fn event(&mut self, event: Value) {
        self.handle(Input::Event(event));
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.handle(Input::Timeout);
    }

    /// The calls of a method, in their order.
    pub(crate) fn calls(&self, method: &str) -> Vec<&Value> {
        self.asked.iter().filter(|ask| ask.method == method).map(|ask| &ask.parameters).collect()
    }

    /// Does what the screen wants until it wants nothing more.
    pub(crate) fn settle(&mut self) {
        while let Some(effect) = self.screen.poll_effect() {
            let Effect::Call(ask) = effect else {
                self.effects.push(effect);
                continue;
            };
            self.asked.push(ask.clone());
            if !self.silent {
                let answer = self.answer(&ask);
                self.screen.handle(Input::Answer(ask, answer), self.now);
            }
        }
    }

    fn answer(&mut self, ask: &Ask) -> Result<Value, Refusal> {
        if let Some(why) = self.refuses.get(ask.method) {
            return Err(Refusal::Refused { why: why.clone(), data: Value::Null });
        }
        Ok(match ask.method {
            "status" => self.status.clone(),
            "contact.list" => Value::Array(self.contacts.clone()),
            "message.history" => self.history(&ask.parameters),
            "message.send" => self.send(&ask.parameters),
            method => self.answers.get(method).cloned().unwrap_or_else(|| json!({})),
        })
    }

    fn history(&self, asked: &Value) -> Value {
        let none = Vec::new();
        let all = self.messages.get(word(asked, "with")).unwrap_or(&none);
        let place = |field: &str| all.iter().position(|message| message["message"] == asked[field]);
        let limit = asked["limit"].as_u64().map_or(50, |limit| limit as usize);
        let after = place("after").map_or(0, |after| after + 1);
        let (from, to) = match (place("before"), asked["after"].as_str().map(|_| after)) {
            (Some(before), _) => (0, before),
            (None, Some(after)) => (after, all.len()),
            (None, None) => (0, all.len()),
        };
        let found = all[from..to].iter().filter(|message| match asked["search"].as_str() {
            Some(wanted) => word(message, "text").to_lowercase().contains(&wanted.to_lowercase()),
            None => true,
        });
        let found: Vec<_> = found.cloned().collect();
        let kept = limit.min(found.len());
        let page = if asked["after"].is_string() { &found[..kept] } else { &found[found.len() - kept..] };
        Value::Array(page.to_vec())
    }

    fn send(&mut self, asked: &Value) -> Value {
        let all = self.messages.entry(word(asked, "to").to_owned()).or_default();
        let id = asked["message"].as_str().map_or_else(|| format!("sent{}", all.len()), str::to_owned);
        if all.iter().all(|message| message["message"] != id.as_str()) {
            let mut message = said(&id, ME, word(asked, "text"), self.now);
            message["state"] = "queued".into();
            message["reply"] = asked["reply"].clone();
            all.push(message);
        }
        json!({"message": id})
    }
}
