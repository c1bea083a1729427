//! Messages from the line to the disk: each exactly once, also where the process that runs the engine ends over it.

use serde_json::{Value, json};

use super::teller::{Purpose, Teller};
use crate::session::{entries, word};
use crate::terminal::cells::isolated;
use crate::terminal::words::fill;
use crate::text::beginning;

/// Messages looked through for one that may have been stored: more than are under way at a time.
const LOOK_BACK: u32 = 1000;

/// Messages that are followed at most until they arrive; those that are sent further are not told of.
const FOLLOWED: usize = 1000;

/// A message that was typed and is not known to be in storage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sending {
    pub(crate) peer: String,
    pub(crate) text: String,
    /// The message that it answers.
    pub(crate) reply: Option<String>,
    /// When it was typed, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl Teller {
    /// Sends a text to the open conversation.
    pub(super) fn send(&mut self, text: &str, reply: Option<String>) {
        let Some(open) = &mut self.open else { return self.say(self.words.plain.none_open) };
        let peer = open.peer.clone();
        let sending = Sending { peer: peer.clone(), text: text.to_owned(), reply, at: self.now };
        let away = self.contacts.find(&peer).is_some_and(|contact| !contact.online);
        if away && !std::mem::replace(&mut open.told_to_wait, true) {
            let name = self.name(&peer);
            self.say(&fill(self.words.plain.waits, &[&name]));
        }
        self.sending.push(sending.clone());
        self.store(sending);
    }

    fn store(&mut self, sending: Sending) {
        let mut parameters = json!({"to": sending.peer, "text": sending.text});
        if let Some(reply) = &sending.reply {
            parameters["reply"] = reply.as_str().into();
        }
        self.ask(Purpose::Send(sending), "message.send", parameters);
    }

    /// The engine ended before it answered; whether it had stored the message, its successor knows.
    pub(super) fn doubt(&mut self, sending: Sending, succeeded: bool) {
        if succeeded {
            self.recover(sending);
        } else {
            self.doubtful.push(sending);
        }
    }

    pub(super) fn recover(&mut self, sending: Sending) {
        let parameters = json!({"with": sending.peer, "limit": LOOK_BACK});
        self.ask(Purpose::Recover(sending), "message.history", parameters);
    }

    pub(super) fn recovered(&mut self, sending: Sending, page: &Value) {
        let stored = |message: &&Value| {
            word(message, "from") == self.me
                && word(message, "text") == sending.text
                && message["at"].as_u64().is_some_and(|at| at >= sending.at)
                && !self.on_way.contains_key(word(message, "message"))
        };
        match entries(page).iter().find(stored).map(|message| word(message, "message").to_owned()) {
            Some(message) => self.stored(&sending, &message),
            None => self.store(sending),
        }
    }

    /// A message is in storage.
    pub(super) fn stored(&mut self, sending: &Sending, message: &str) {
        self.settle(sending);
        if self.on_way.len() < FOLLOWED {
            self.on_way.insert(message.to_owned(), isolated(&beginning(&sending.text)).into_owned());
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.peer == sending.peer) {
            open.sent(message, sending, self.now);
        }
    }

    /// It is stored, or refused.
    pub(super) fn settle(&mut self, sending: &Sending) {
        if let Some(place) = self.sending.iter().position(|other| other == sending) {
            self.sending.remove(place);
        }
    }
}
