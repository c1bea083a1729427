//! What the engine answers, and what of it is told.

use serde_json::{Value, json};

use super::open::Open;
use super::teller::{Ask, Purpose, Teller, Telling};
use crate::session::{entries, word};
use crate::terminal::cells::isolated;
use crate::terminal::screen::commands::Command;
use crate::terminal::screen::contacts::Standing;
use crate::terminal::screen::message::Message;
use crate::terminal::screen::{Refusal, refusal};
use crate::terminal::words::fill;

/// Messages told at a time: what one can listen to.
pub(super) const PAGE: usize = 10;

/// Messages told at most where a conversation is opened with more of them unread.
const UNREAD: u64 = 50;

impl Teller {
    pub(super) fn handle_answer(&mut self, ask: Ask, answer: Result<Value, Refusal>) {
        if let Purpose::Command(command) = &ask.purpose {
            self.commanded = self.commanded.saturating_sub(1);
            self.opening = self.opening.saturating_sub(usize::from(command.opens()));
            self.ready = true;
        }
        match answer {
            Ok(answer) => self.take(ask, &answer),
            Err(Refusal::Closed) => self.unanswered(ask),
            Err(Refusal::Refused { why, data }) => {
                if let Purpose::Send(sending) = &ask.purpose {
                    self.settle(sending);
                }
                if ask.purpose != Purpose::Aside {
                    self.say(&fill(self.words.plain.not_done, &[&isolated(&refusal::told(&why, &data, self.words))]));
                }
                if let Purpose::Newest(peer) | Purpose::Contacts(Telling::Open(peer)) = &ask.purpose {
                    self.release(peer);
                }
            }
        }
    }

    /// The engine ended over it.
    fn unanswered(&mut self, ask: Ask) {
        let succeeded = self.is_succeeded(&ask);
        match ask.purpose {
            Purpose::Send(sending) => self.store_again(sending, succeeded),
            Purpose::Contacts(Telling::Welcome) => self.asked_to_begin = false,
            // They are asked anew with the next engine, or nobody waits for them.
            Purpose::Status | Purpose::Aside | Purpose::Contacts(Telling::Nothing) => {}
            Purpose::Contacts(_) | Purpose::Newest(_) | Purpose::Older(_) | Purpose::Search(_) if succeeded => {
                self.ask_again(ask);
            }
            Purpose::Newest(peer) | Purpose::Contacts(Telling::Open(peer)) => {
                self.say(self.words.plain.not_done_in_time);
                self.release(&peer);
            }
            _ => self.say(self.words.plain.not_done_in_time),
        }
    }

    fn take(&mut self, ask: Ask, answer: &Value) {
        match ask.purpose {
            Purpose::Status => self.take_status(answer),
            Purpose::Contacts(telling) => self.take_contacts(answer, telling),
            Purpose::Newest(peer) => self.take_page(&peer, answer, true),
            Purpose::Older(peer) => self.take_page(&peer, answer, false),
            Purpose::Search(peer) => self.take_found(&peer, answer),
            Purpose::Send(sending) => self.stored(&sending),
            Purpose::Command(command) => self.carried_out(&command, answer),
            Purpose::Aside => {}
        }
    }

    fn take_status(&mut self, status: &Value) {
        word(status, "peer").clone_into(&mut self.me);
        word(status, "link").clone_into(&mut self.link);
        let reached = entries(&status["rendezvous"]).iter().any(|entry| word(entry, "state") == "registered");
        match (self.reached, reached) {
            (Some(true), false) => self.say(self.words.plain.lost),
            (Some(false), true) => self.say(self.words.plain.reached),
            _ => {}
        }
        // Before it was reached for the first time it is not lost.
        self.reached = self.reached.map(|_| reached).or(reached.then_some(true));
        if !std::mem::replace(&mut self.asked_to_begin, true) {
            self.ask_contacts(Telling::Welcome);
        }
    }

    fn take_contacts(&mut self, list: &Value, telling: Telling) {
        let requested: Vec<_> = self
            .contacts
            .iter()
            .filter(|contact| contact.standing == Standing::Requested)
            .map(|contact| contact.peer.clone())
            .collect();
        self.contacts.replace(list);
        // What was told just now is read, although the engine may not have written that down yet.
        let told = self.open.as_ref().filter(|open| open.online.is_some()).map(|open| open.peer.as_str());
        if let Some(contact) = told.and_then(|peer| self.contacts.find_mut(peer)) {
            contact.unread = 0;
        }
        for peer in requested {
            let answered = self
                .contacts
                .find(&peer)
                .filter(|contact| contact.standing == Standing::Contact)
                .map(|c| c.peer.clone());
            if let Some(peer) = answered {
                let name = self.name(&peer);
                self.say(&fill(self.words.people.added, &[&name]));
            }
        }
        match telling {
            Telling::Nothing => self.tell_presence(),
            Telling::List => self.list(),
            Telling::This(told) => self.say(&told),
            Telling::Welcome => self.welcome(),
            Telling::Open(peer) => self.opened(&peer),
        }
    }

    fn welcome(&mut self) {
        if self.contacts.len() == 0 {
            self.tell_link();
        }
        if let Some((link, name)) = self.friend.take() {
            let parameters = json!({"link": link, "name": name});
            let command = Command::Add { link, name: Some(name), relay: false };
            return self.command(command, "contact.add", parameters);
        }
        self.ready = true;
        self.list();
        let talks: Vec<_> = self
            .contacts
            .iter()
            .filter(|contact| matches!(contact.standing, Standing::Contact | Standing::Requested))
            .map(|contact| contact.peer.clone())
            .collect();
        if let [peer] = &talks[..] {
            self.go(peer);
        }
    }

    pub(super) fn tell_link(&mut self) {
        let told = match self.link.as_str() {
            "" => self.words.plain.no_link.to_owned(),
            link => fill(self.words.plain.your_link, &[link]),
        };
        self.say(&told);
    }

    /// The conversation that was asked for: who it is with, then what was said.
    fn opened(&mut self, peer: &str) {
        let Some(contact) = self.contacts.find(peer).cloned() else { return self.release(peer) };
        let told = self.contact(&contact);
        self.say(&fill(self.words.plain.opened, &[&told]));
        let Some(open) = self.open.as_mut().filter(|open| open.peer == peer) else { return };
        open.online = Some(contact.online);
        let limit = contact.unread.clamp(PAGE as u64, UNREAD);
        self.ask(Purpose::Newest(peer.to_owned()), "message.history", json!({"with": peer, "limit": limit}));
    }

    fn take_page(&mut self, peer: &str, page: &Value, newest: bool) {
        let me = self.me.clone();
        let Some(open) = self.open.as_mut().filter(|open| open.peer == peer) else { return };
        let page: Vec<_> = entries(page).iter().map(|entry| Message::read(entry, &me)).collect();
        // What was typed meanwhile needs no telling.
        let news: Vec<_> = page.iter().filter(|message| open.find(&message.id).is_none()).cloned().collect();
        open.add_older(&page);
        open.complete = page.len() < PAGE;
        let (complete, nothing) = (open.complete, page.is_empty());
        self.tell(&news);
        match (newest, nothing) {
            (true, true) => self.say(self.words.plain.nothing_said),
            (true, false) => self.note_read(peer, &page),
            (false, _) if complete => self.say(self.words.plain.no_more),
            (false, _) => {}
        }
        if newest {
            self.release(peer);
        }
    }

    /// The page that events of the conversation have waited for is told, or will not come.
    fn release(&mut self, peer: &str) {
        let held = self.open.as_mut().filter(|open| open.peer == peer).and_then(|open| open.held.take());
        for event in held.unwrap_or_default() {
            self.handle_event(&event);
        }
    }

    fn note_read(&mut self, peer: &str, page: &[Message]) {
        let Some(received) = page.iter().rfind(|message| !message.mine) else { return };
        let Some(contact) = self.contacts.find_mut(peer).filter(|contact| contact.unread > 0) else { return };
        contact.unread = 0;
        self.ask(Purpose::Aside, "message.read", json!({"with": peer, "upto": received.id}));
    }

    fn take_found(&mut self, peer: &str, page: &Value) {
        let found: Vec<_> = entries(page).iter().map(|entry| Message::read(entry, &self.me)).collect();
        if found.is_empty() {
            return self.say(self.words.plain.found_none);
        }
        self.say(&fill(self.words.plain.found, &[&found.len().to_string()]));
        // What is found is told with its day, and the conversation then goes on with its own.
        let open = self.open.as_mut().filter(|open| open.peer == peer);
        let Some(day) = open.map(|open| open.day.take()) else { return };
        self.tell(&found);
        if let Some(open) = &mut self.open {
            open.day = day;
        }
    }

    /// Whether the conversation goes back further; where to, if so.
    pub(super) fn before(open: &Open) -> Option<&str> {
        open.oldest.as_deref().filter(|_| !open.complete)
    }
}
