//! The screen's machine: keys, events, answers and the time come in; calls, effects and a picture (`draw`) go out.
//!
//! It is pure: no clock, no terminal, no engine. What it deliberately does not do: wait for anything. A call goes out as an
//! [`Effect`], and its answer comes back as an [`Input`], whenever that is.

mod attention;
pub(crate) mod commands;
pub(crate) mod contacts;
pub(crate) mod conversation;
pub(crate) mod events;
pub(crate) mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod geometry;
pub(crate) mod keys;
pub(crate) mod listing;
pub(crate) mod message;
pub(crate) mod pages;
pub(crate) mod refusal;
pub(crate) mod rows;
pub(crate) mod setup;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::composer::{Candidates, Completable, Composer, Outcome};
use super::words::{Words, fill};
use crate::session::{entries, word};
use attention::{Attention, Summons};
pub(crate) use commands::Command;
use contacts::{Contacts, Standing};
use conversation::{Conversation, PAGE};
pub(crate) use exchange::{Ask, Effect, Input, Page, Purpose, Refusal};
use geometry::Geometry;
pub(crate) use pages::Overlay;
use setup::Setup;

/// How long a draft may be on the screen and not on the disk, in milliseconds: less than it takes to type two letters.
const DRAFT_DELAY: u64 = 150;

/// How long something that was said besides stays on the screen, in milliseconds.
const NOTICE: u64 = 8_000;

/// Everything that the screen shows, and what it waits for.
pub(crate) struct Screen {
    pub(crate) words: &'static Words,
    pub(crate) zone: TimeZone,
    /// Columns and rows.
    pub(crate) size: (u16, u16),
    attention: Attention,
    /// Whether a call to the person shows what was written.
    pub(crate) previews: bool,
    pub(crate) me: String,
    pub(crate) link: String,
    pub(crate) invisible: bool,
    pub(crate) rendezvous: Vec<Rendezvous>,
    pub(crate) contacts: Contacts,
    pub(crate) conversation: Option<Conversation>,
    pub(crate) composer: Composer,
    pub(crate) notice: Option<Notice>,
    /// What stands over the conversation.
    pub(crate) overlay: Option<Overlay>,
    /// The first steps, while they stand in the place of the conversation.
    pub(crate) setup: Option<Setup>,
    /// Whether it was looked at if this is somebody's first time, and whether the contacts are known, which tell.
    considered: bool,
    contacts_known: bool,
    /// When the draft that is on the screen has to go to the disk.
    draft_due: Option<u64>,
    effects: VecDeque<Effect>,
    pub(crate) now: u64,
}

/// How we stand with a rendezvous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendezvous {
    pub(crate) address: String,
    /// `registered`, `connecting`, `unreachable`.
    pub(crate) state: String,
    pub(crate) tcp: bool,
}

/// Something said besides, in the last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) alarm: bool,
    until: u64,
}

impl Screen {
    /// A screen of so many columns and rows, before anything is known.
    pub(crate) fn new(words: &'static Words, zone: TimeZone, size: (u16, u16), now: u64) -> Self {
        let mut screen = Self {
            words,
            zone,
            size,
            attention: Attention::default(),
            previews: false,
            me: String::new(),
            link: String::new(),
            invisible: false,
            rendezvous: Vec::new(),
            contacts: Contacts::default(),
            conversation: None,
            composer: Composer::new(),
            notice: None,
            overlay: None,
            setup: None,
            considered: false,
            contacts_known: false,
            draft_due: None,
            effects: VecDeque::new(),
            now,
        };
        screen.refresh();
        screen
    }

    /// Takes something in, at a time in milliseconds since 1970.
    pub(crate) fn handle(&mut self, input: Input, now: u64) {
        self.now = now;
        self.notice.take_if(|notice| notice.until <= now);
        match input {
            Input::Key(key) => {
                self.attention.handle_key(now);
                self.handle_key(key);
            }
            // A page takes no text.
            Input::Paste(_) if self.overlay.is_some() => {}
            Input::Paste(text) if self.setup.is_some() => self.handle_setup_paste(&text),
            Input::Paste(text) => {
                let outcome = self.composer.handle_paste(&text);
                self.composed(outcome);
            }
            Input::Resized(columns, rows) => self.size = (columns, rows),
            Input::Focused(focused) => {
                self.attention.handle_focus(focused);
                self.note_read();
            }
            Input::Event(event) => self.handle_event(&event),
            Input::Answer(ask, answer) => self.handle_answer(ask, answer),
            Input::Renewed => self.refresh(),
            Input::RendezvousUnused(why) => self.rendezvous_unused(why),
            Input::Timeout => {}
        }
        if self.draft_due.is_some_and(|due| due <= now) {
            self.keep_draft();
        }
        if let Some(summons) = self.attention.handle_timeout(now) {
            self.summon(summons, None);
        }
    }

    /// When [`Input::Timeout`] is wanted at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let notice = self.notice.as_ref().map(|notice| notice.until);
        self.draft_due
            .into_iter()
            .chain(notice)
            .chain(self.attention.poll_timeout())
            .chain(self.page_due())
            .chain(self.setup_due())
            .min()
    }

    /// What the driver is to do next, if anything.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The areas of the screen as it is now.
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::of(self.size, |width, most| self.composer.layout(width, most).rows.len())
    }

    /// Asks anew for all that is shown.
    fn refresh(&mut self) {
        self.ask(Purpose::Status, "status", json!({}));
        self.ask(Purpose::Contacts, "contact.list", json!({}));
        self.ask_page(Page::Newest);
    }

    fn ask(&mut self, purpose: Purpose, method: &'static str, parameters: Value) {
        self.effects.push_back(Effect::Call(Ask { purpose, method, parameters }));
    }

    fn ask_page(&mut self, page: Page) {
        let Some(conversation) = &mut self.conversation else { return };
        let peer = conversation.peer.clone();
        let Some((before, after)) = conversation.wanted(page) else { return };
        let mut parameters = json!({"with": peer, "limit": PAGE});
        if let Some(before) = before {
            parameters["before"] = before.into();
        }
        if let Some(after) = after {
            parameters["after"] = after.into();
        }
        self.ask(Purpose::Page { peer, page }, "message.history", parameters);
    }

    fn handle_answer(&mut self, ask: Ask, answer: Result<Value, Refusal>) {
        let answer = match answer {
            Ok(answer) => answer,
            // What was asked is asked again with `Renewed`, or by the person.
            Err(Refusal::Closed) => return,
            Err(Refusal::Refused { why, data }) => {
                match ask.purpose {
                    Purpose::Send { peer, text } => self.give_back(&peer, text),
                    Purpose::Command { command, typed } => self.not_carried_out(&command, &typed),
                    _ => {}
                }
                return self.say(refusal::told(&why, &data, self.words), true);
            }
        };
        match ask.purpose {
            Purpose::Status => {
                self.take_status(&answer);
                self.advance_setup();
                self.consider_setup();
            }
            Purpose::Contacts => {
                self.contacts.replace(&answer);
                self.contacts_known = true;
                self.open_first();
                self.consider_setup();
            }
            Purpose::Page { peer, page } => {
                let me = self.me.clone();
                if let Some(conversation) = self.conversation.as_mut().filter(|open| open.peer == peer) {
                    conversation.take(page, &answer, &me);
                }
                self.note_read();
            }
            Purpose::Send { .. } | Purpose::Aside => {}
            Purpose::Command { command, .. } => self.carried_out(&command, &answer),
        }
    }

    fn take_status(&mut self, status: &Value) {
        word(status, "peer").clone_into(&mut self.me);
        word(status, "link").clone_into(&mut self.link);
        self.invisible = word(status, "presence") == "invisible";
        let rendezvous = |entry: &Value| Rendezvous {
            address: word(entry, "address").to_owned(),
            state: word(entry, "state").to_owned(),
            tcp: word(entry, "transport") == "tcp",
        };
        self.rendezvous = entries(&status["rendezvous"]).iter().map(rendezvous).collect();
    }

    /// Opens a conversation where none is: with the first contact.
    fn open_first(&mut self) {
        if self.conversation.is_some() {
            return;
        }
        let first = self.contacts.iter().find(|contact| contact.standing == Standing::Contact);
        if let Some(peer) = first.map(|contact| contact.peer.clone()) {
            self.open(&peer);
        }
    }

    /// Opens the conversation with a peer, and leaves the one that is open.
    pub(crate) fn open(&mut self, peer: &str) {
        if self.conversation.as_ref().is_some_and(|open| open.peer == peer) {
            return;
        }
        self.keep_draft();
        self.conversation = Some(Conversation::new(peer));
        self.composer.set_text("");
        let asks = self.contacts.find(peer).is_some_and(|contact| contact.standing == Standing::Request);
        if !asks {
            self.ask(Purpose::Aside, "contact.connect", json!({"peer": peer}));
        }
        self.ask_page(Page::Newest);
    }

    /// What the composer made of a key or a paste.
    fn composed(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Changed => self.draft_due = self.draft_due.or(Some(self.now + DRAFT_DELAY)),
            Outcome::Submit(text) => self.submit(text),
            Outcome::Confirm { lines, characters } => {
                let asked = fill(self.words.composer.confirm, &[&lines.to_string(), &characters.to_string()]);
                self.say(asked, false);
            }
            Outcome::Full => self.say(self.words.composer.full.to_owned(), true),
            Outcome::Ignored | Outcome::Moved => {}
        }
    }

    /// A finished line: a command, or a message to the open conversation.
    fn submit(&mut self, text: String) {
        let wrong = match commands::parse(&text, self.words) {
            commands::Typed::Command(command) => self.carry_out(command, &text).err(),
            commands::Typed::Wrong(why) => Some(why),
            commands::Typed::Text(text) => return self.send(text),
        };
        if let Some(why) = wrong {
            self.give_back_command(&text);
            self.say(why, true);
        }
        self.draft_due = self.draft_due.or(Some(self.now + DRAFT_DELAY));
    }

    fn send(&mut self, text: String) {
        if text.trim().is_empty() {
            return;
        }
        let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) else {
            self.composer.set_text(&text);
            return self.say(self.words.status.nobody_open.to_owned(), true);
        };
        self.draft_due = None;
        let parameters = json!({"to": peer, "text": text, "from_draft": true});
        self.ask(Purpose::Send { peer, text }, "message.send", parameters);
        // The message itself is shown when the engine has it on the disk.
        self.ask_page(Page::Newest);
    }

    /// A text that was not sent goes back where it was typed.
    fn give_back(&mut self, peer: &str, text: String) {
        if self.conversation.as_ref().is_some_and(|open| open.peer == peer) && self.composer.is_empty() {
            self.composer.set_text(&text);
        } else {
            self.ask(Purpose::Aside, "draft.set", json!({"with": peer, "text": text}));
        }
    }

    /// A command that was not carried out goes back where it was typed, unless something else is there.
    fn give_back_command(&mut self, typed: &str) {
        let place = self.setup.as_mut().map_or(&mut self.composer, |setup| &mut setup.input);
        if place.is_empty() {
            place.set_text(typed);
        }
    }

    /// Puts what is typed on the disk.
    fn keep_draft(&mut self) {
        if self.draft_due.take().is_none() {
            return;
        }
        if let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) {
            let text = self.composer.text().to_owned();
            self.ask(Purpose::Aside, "draft.set", json!({"with": peer, "text": text}));
        }
    }

    /// Notes that what is in sight is read, while the person looks here.
    fn note_read(&mut self) {
        if !self.attention.sees() {
            return;
        }
        let Some(conversation) = &self.conversation else { return };
        let peer = conversation.peer.clone();
        let unread = self.contacts.find(&peer).is_some_and(|contact| contact.unread > 0);
        let Some(upto) = conversation.last_received().filter(|_| unread).map(|message| message.id.clone()) else {
            return;
        };
        if let Some(contact) = self.contacts.find_mut(&peer) {
            contact.unread = 0;
        }
        self.ask(Purpose::Aside, "message.read", json!({"with": peer, "upto": upto}));
    }

    /// Calls the person, who looks elsewhere, to a message or several.
    fn summon(&mut self, summons: Summons, text: Option<String>) {
        let words = &self.words.status;
        let (title, text) = match summons {
            Summons::One(name) => match text.filter(|_| self.previews) {
                Some(text) => (name, text),
                None => (fill(words.one_message, &[&name]), String::new()),
            },
            Summons::Many { count, names, more } => {
                let more = if more { "…" } else { "" };
                (fill(words.messages, &[&count.to_string()]), format!("{}{more}", names.join(", ")))
            }
        };
        self.effects.extend([Effect::Bell, Effect::Notify { title, text }]);
    }

    /// Says something besides.
    fn say(&mut self, text: String, alarm: bool) {
        self.notice = Some(Notice { text, alarm, until: self.now + NOTICE });
    }
}

/// What the composer completes with.
pub(crate) struct Known<'a> {
    contacts: &'a Contacts,
    words: &'static Words,
}

impl<'a> Known<'a> {
    pub(crate) const fn new(contacts: &'a Contacts, words: &'static Words) -> Self {
        Self { contacts, words }
    }
}

impl Candidates for Known<'_> {
    fn commands(&self) -> Vec<Completable> {
        let completable = |listed: &commands::Listed| Completable {
            name: format!("/{}", listed.name),
            about: (listed.told)(&self.words.commands).help.to_owned(),
            takes: listed.takes,
        };
        commands::TABLE.iter().map(completable).collect()
    }

    fn names(&self) -> Vec<String> {
        self.contacts.iter().map(|contact| contact.name.clone()).collect()
    }
}
