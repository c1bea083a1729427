//! The screen's machine: keys, events, answers and the time come in; calls, effects and a picture (`draw`) go out.
//!
//! It is pure: no clock, no terminal, no engine. What it deliberately does not do: wait for anything. A call goes out as an
//! [`Effect`], and its answer comes back as an [`Input`], whenever that is.

mod acting;
mod answers;
#[cfg(test)]
mod anything;
mod attention;
pub(crate) mod commands;
pub(crate) mod contacts;
pub(crate) mod conversation;
pub(crate) mod events;
pub(crate) mod exchange;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod geometry;
mod held;
pub(crate) mod keys;
mod known;
pub(crate) mod listing;
#[cfg(test)]
mod meanwhile;
pub(crate) mod message;
pub(crate) mod naming;
pub(crate) mod pages;
pub(crate) mod palette;
#[cfg(test)]
mod pictures;
pub(crate) mod refusal;
pub(crate) mod rows;
pub(crate) mod search;
mod sending;
pub(crate) mod setup;
mod sight;
#[cfg(test)]
mod tests;
mod unfinished;
mod wrapped;

use std::collections::VecDeque;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::cells;
use super::composer::{Composer, Outcome};
use super::words::{Words, fill};
use acting::Doing;
use attention::{Attention, Summons};
pub(crate) use commands::Command;
use contacts::{Contacts, Standing};
use conversation::{Conversation, Goal, PAGE, Place};
pub(crate) use exchange::{Ask, Effect, Given, Input, Page, Purpose, Refusal};
use geometry::Geometry;
use held::Held;
use naming::Naming;
pub(crate) use pages::Overlay;
use search::{Search, Walk};
use sending::Outgoing;
use setup::Setup;

/// How long a draft may be on the screen and not on the disk, in milliseconds: less than it takes to type two letters.
const DRAFT_DELAY: u64 = 150;

/// Rows that a notch of the mouse's wheel goes.
const WHEEL: usize = 3;

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
    /// Whether our link is shown without its QR code, so that nothing stands beside it.
    pub(crate) link_alone: bool,
    /// Whether it was looked at if this is somebody's first time, and whether the contacts are known, which tell.
    considered: bool,
    contacts_known: bool,
    held: Held,
    /// Whether the one who was open was removed, and nobody was opened since.
    vacated: bool,
    /// How often the text in the composer changed by a key or a paste.
    typed: u64,
    /// The search whose list stands over the conversation.
    pub(crate) search: Option<Search>,
    /// The search whose hits are gone through.
    walk: Option<Walk>,
    /// What the composer is for, and the message that the next one answers.
    doing: Doing,
    reply: Option<String>,
    unfinished: unfinished::All,
    /// The message that is deleted if the person says yes.
    deleting: Option<String>,
    /// When the draft that is on the screen has to go to the disk.
    draft_due: Option<u64>,
    /// Whether the draft on the disk is of what stands in the composer.
    drafted: bool,
    /// Whether nothing was typed since the conversation was opened.
    untouched: bool,
    /// When the contact was told last that one types, while one does.
    typing_told: Option<u64>,
    naming: Naming,
    outgoing: Vec<Outgoing>,
    /// Changes of earlier messages that the engine has not answered.
    changes: Vec<Ask>,
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
            link_alone: false,
            considered: false,
            contacts_known: false,
            held: Held::default(),
            vacated: false,
            typed: 0,
            search: None,
            walk: None,
            doing: Doing::Write,
            reply: None,
            unfinished: unfinished::All::new(),
            deleting: None,
            draft_due: None,
            drafted: false,
            untouched: true,
            typing_told: None,
            naming: Naming::new([0; 32]),
            outgoing: Vec::new(),
            changes: Vec::new(),
            effects: VecDeque::new(),
            now,
        };
        // Somebody has just started it.
        screen.attention.handle_key(now);
        screen.refresh();
        screen
    }

    /// Lets the names of messages come from this, which has to be random.
    pub(crate) const fn seed(&mut self, seed: [u8; 32]) {
        self.naming = Naming::new(seed);
    }

    /// Takes something in, at a time in milliseconds since 1970.
    pub(crate) fn handle(&mut self, input: Input, now: u64) {
        self.now = now;
        self.notice.take_if(|notice| notice.until <= now);
        if let Some(input) = self.hold(input) {
            self.take(input);
        }
        if self.draft_due.is_some_and(|due| due <= now) {
            self.keep_draft();
        }
        if let Some(summons) = self.attention.handle_timeout(now) {
            self.summon(summons, None);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Key(key) => {
                self.attention.handle_key(self.now);
                self.handle_key(key);
                self.note_read();
            }
            Input::Paste(text) if matches!(self.overlay, Some(Overlay::Palette(_))) => self.paste_into_palette(&text),
            // A page takes no text.
            Input::Paste(_) if self.overlay.is_some() => {}
            Input::Paste(text) if self.setup.is_some() => self.handle_setup_paste(&text),
            Input::Paste(text) if self.search.is_some() => self.paste_search(&text),
            Input::Paste(text) => {
                self.unchoose();
                let outcome = self.composer.handle_paste(&text);
                self.composed(outcome);
            }
            Input::Wheel { up } => self.scroll(WHEEL, up),
            Input::Resized(columns, rows) => {
                let former = self.height_at_place();
                self.size = (columns, rows);
                self.keep_place(former);
                self.note_read();
            }
            Input::Focused(focused) => {
                self.attention.handle_focus(focused);
                self.note_read();
            }
            Input::Event(event) => self.handle_event(&event),
            Input::Answer(ask, answer) => self.handle_answer(ask, answer),
            Input::Renewed => self.handle_renewal(),
            Input::Rendezvous(used) => self.take_rendezvous(used),
            Input::Timeout => {}
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
            .chain(self.title_due())
            .min()
    }

    /// What the driver is to do next, if anything.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The areas of the screen as it is now.
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::of(self.size, self.has_caption(), self.rows_said(), |width, most| {
            self.composer.layout(width, most).rows.len()
        })
    }

    /// The same with a caption, as there is one wherever a conversation is not at its end.
    fn captioned(&self) -> Geometry {
        Geometry::of(self.size, true, self.rows_said(), |width, most| self.composer.layout(width, most).rows.len())
    }

    /// Rows that what is said besides would fill.
    fn rows_said(&self) -> usize {
        let columns = usize::from(self.size.0).max(1);
        self.notice.as_ref().map_or(1, |notice| cells::wrap(&notice.text, columns).len())
    }

    /// Another engine answers from now on.
    fn handle_renewal(&mut self) {
        self.refresh();
        self.send_again();
    }

    /// Asks anew for all that is shown.
    fn refresh(&mut self) {
        self.ask(Purpose::Status, "status", json!({}));
        self.ask(Purpose::Contacts, "contact.list", json!({}));
        let page = match self.conversation.as_ref().map(|open| &open.place) {
            None => return,
            Some(Place::Bottom) => Page::Newest,
            Some(Place::At { message, .. }) => Page::Beyond(message.clone()),
        };
        self.ask_page(page);
    }

    fn ask(&mut self, purpose: Purpose, method: &'static str, parameters: Value) {
        self.effects.push_back(Effect::Call(Ask { purpose, method, parameters }));
    }

    fn ask_page(&mut self, page: Page) {
        let Some(conversation) = &mut self.conversation else { return };
        let peer = conversation.peer.clone();
        let Some((before, after)) = conversation.wanted(&page) else { return };
        let mut parameters = json!({"with": peer, "limit": PAGE});
        if let Some(before) = before {
            parameters["before"] = before.into();
        }
        if let Some(after) = after {
            parameters["after"] = after.into();
        }
        self.ask(Purpose::Page { peer, page }, "message.history", parameters);
    }

    /// Opens a conversation where none is: with the first contact. What is being typed is not for them, nor what was being typed to
    /// one who was removed.
    fn open_first(&mut self) {
        if self.conversation.is_some() || self.vacated || !self.composer.is_empty() {
            return;
        }
        let first = self.contacts.iter().find(|contact| contact.standing == Standing::Contact);
        if let Some(peer) = first.map(|contact| contact.peer.clone()) {
            self.open(&peer);
        }
    }

    /// Opens the conversation with a peer, and leaves the one that is open.
    pub(crate) fn open(&mut self, peer: &str) {
        if self.is_open(peer) {
            return;
        }
        self.leave();
        self.setup = None;
        let mut conversation = Conversation::new(peer);
        if let Some(contact) = self.contacts.find(peer).filter(|contact| contact.unread > 0) {
            conversation.unread_from.clone_from(&contact.first_unread);
            conversation.goal = contact.first_unread.clone().map(Goal::Unread);
        }
        self.conversation = Some(conversation);
        self.vacated = false;
        self.composer.set_text("");
        self.untouched = true;
        self.take_draft();
        self.resume_edit();
        let asks = self.contacts.find(peer).is_some_and(|contact| contact.standing == Standing::Request);
        if !asks {
            self.ask(Purpose::Aside, "contact.connect", json!({"peer": peer}));
        }
        // What is begun to this one may have been begun elsewhere, a moment ago.
        self.ask(Purpose::Contacts, "contact.list", json!({}));
        self.ask_page(Page::Newest);
    }

    /// The conversation is left, or the screen: what is typed goes to the disk.
    pub(crate) fn leave(&mut self) {
        self.keep_edit();
        self.write_again();
        self.keep_draft();
        self.stop_typing();
        (self.reply, self.deleting, self.search, self.walk) = (None, None, None, None);
        self.drafted = false;
    }

    /// What the composer made of a key or a paste.
    fn composed(&mut self, outcome: Outcome) {
        if matches!(outcome, Outcome::Changed | Outcome::Submit(_)) {
            self.typed += 1;
        }
        match outcome {
            Outcome::Changed => {
                if self.doing == Doing::Write {
                    self.untouched = false;
                    self.draft_due = self.draft_due.or(Some(self.now + DRAFT_DELAY));
                }
                self.note_typing();
            }
            Outcome::Submit(text) => self.submit(text),
            Outcome::Confirm { lines, characters } => {
                let (words, characters) = (&self.words.composer, characters.to_string());
                let asked = match lines {
                    1 => fill(words.pasted_characters, &[&characters]),
                    lines => fill(words.pasted_lines, &[&lines.to_string(), &characters]),
                };
                self.say(asked, false);
            }
            Outcome::Full => self.say(self.words.composer.full.to_owned(), true),
            Outcome::Ignored | Outcome::Moved => {}
        }
    }

    /// A finished line: of an earlier message, a command, or a message to the open conversation.
    fn submit(&mut self, text: String) {
        if let Some(text) = self.finish_doing(text) {
            self.submit_line(text);
        }
    }

    /// A command, or a message to the open conversation, whatever else the composer is for.
    fn submit_line(&mut self, text: String) {
        let parsed = commands::parse(&text, self.words);
        if !matches!(parsed, commands::Typed::Text(_)) {
            // It was a draft for a moment, and is none any more, unless it comes back.
            self.draft_due = Some(self.now);
        }
        let wrong = match parsed {
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

    /// A command that was not carried out goes back where it was typed, unless something else is there.
    fn give_back_command(&mut self, typed: &str) {
        self.begin_typing(typed);
    }

    /// Puts a text where the person types, as if it had been typed there. `false`: something else is there.
    fn begin_typing(&mut self, text: &str) -> bool {
        if let Some(setup) = &mut self.setup {
            let empty = setup.input.is_empty();
            if empty {
                setup.input.set_text(text);
            }
            return empty;
        }
        let empty = self.composer.is_empty() && self.doing == Doing::Write;
        if empty && !text.is_empty() {
            self.composer.set_text(text);
            self.untouched = false;
            self.draft_due = Some(self.now);
        }
        empty
    }

    /// Whether the person is at nothing: something else may open.
    fn is_idle(&self) -> bool {
        let nothing = self.overlay.is_none() && self.search.is_none() && self.reply.is_none();
        nothing && self.composer.is_empty() && self.doing == Doing::Write
    }

    /// Where the person is.
    fn whereabouts(&self) -> Given {
        Given { open: self.conversation.as_ref().map(|open| open.peer.clone()), typed: self.typed }
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
