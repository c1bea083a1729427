//! Messages from the line to the disk: each stored once, also where the process that runs the engine ends over it, since its id is chosen
//! here and it is sent again by the same.

use serde_json::json;

use super::teller::{Purpose, Teller};
use crate::terminal::cells::isolated;
use crate::terminal::screen::message::Message;
use crate::terminal::words::fill;
use crate::text::beginning;

/// Messages that are followed at most until they arrive; those that are sent further are not told of.
const FOLLOWED: usize = 1000;

/// A message that was typed and is not known to be in storage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sending {
    pub(crate) id: String,
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
        let away = self.contacts.find(&peer).is_some_and(|contact| !contact.online);
        if away && !std::mem::replace(&mut open.told_to_wait, true) {
            let name = self.name(&peer);
            self.say(&fill(self.words.plain.waits, &[&name]));
        }
        let id = self.naming.next();
        let sending = Sending { id, peer, text: text.to_owned(), reply, at: self.now };
        self.sending.push(sending.clone());
        self.store(sending);
    }

    pub(super) fn store(&mut self, sending: Sending) {
        let mut parameters = json!({"to": sending.peer, "text": sending.text, "message": sending.id});
        if let Some(reply) = &sending.reply {
            parameters["reply"] = reply.as_str().into();
        }
        self.ask(Purpose::Send(sending), "message.send", parameters);
    }

    /// The engine ended before it answered; its successor is asked, once it is there.
    pub(super) fn store_again(&mut self, sending: Sending, succeeded: bool) {
        if succeeded {
            self.store(sending);
        } else {
            self.doubtful.push(sending);
        }
    }

    /// A message is in storage.
    pub(super) fn stored(&mut self, sending: &Sending) {
        self.settle(sending);
        if self.on_way.len() < FOLLOWED {
            self.on_way.insert(sending.id.clone(), isolated(&beginning(&sending.text)).into_owned());
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.peer == sending.peer) {
            open.add(Message::begun(&sending.id, &sending.text, sending.reply.clone(), sending.at));
        }
    }

    /// It is stored, or refused.
    pub(super) fn settle(&mut self, sending: &Sending) {
        self.sending.retain(|other| other.id != sending.id);
    }
}
