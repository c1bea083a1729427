//! What is typed and goes out: messages, each stored once whatever becomes of the engine's process; drafts; and that one types.

use serde_json::json;

use super::acting::Doing;
use super::contacts::Standing;
use super::conversation::Place;
use super::message::Message;
use super::{Ask, Effect, Purpose, Screen};

/// Messages that may be on their way to the disk at a time: more are typed by no person.
const UNDER_WAY: usize = 64;

/// How often it is said that one types, in milliseconds: the engine says it to the contact every 3 s at most, which forgets it after 8.
const TYPING: u64 = 4_000;

/// A message that the engine has not said to be stored.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    id: String,
    peer: String,
    text: String,
    reply: Option<String>,
    at: u64,
    from_draft: bool,
}

impl Screen {
    /// Sends a text to the open conversation, and shows it at once.
    pub(super) fn send(&mut self, text: String) {
        if text.trim().is_empty() {
            return;
        }
        let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) else {
            self.composer.set_text(&text);
            return self.say(self.words.status.nobody_open.to_owned(), true);
        };
        if self.outgoing.len() >= UNDER_WAY {
            self.composer.set_text(&text);
            return self.say(self.words.conversation.too_much.to_owned(), true);
        }
        self.draft_due = None;
        // A list that is under way may still have the draft of which this is made.
        self.untouched = false;
        // The engine tells the contact by the message that the typing is over.
        self.typing_told = None;
        let from_draft = std::mem::take(&mut self.drafted);
        if let Some(contact) = self.contacts.find_mut(&peer) {
            contact.draft = None;
        }
        let (id, reply, at) = (self.naming.next(), self.reply.take(), self.now);
        let outgoing = Outgoing { id, peer, text, reply, at, from_draft };
        self.store(&outgoing);
        if let Some(conversation) = &mut self.conversation {
            conversation.unread_from = None;
            conversation.add(outgoing.message());
        }
        self.outgoing.push(outgoing);
        self.go_to_end();
    }

    fn store(&mut self, outgoing: &Outgoing) {
        let Outgoing { id, peer, text, reply, from_draft, .. } = outgoing;
        let mut parameters = json!({"to": peer, "text": text, "message": id, "from_draft": from_draft});
        if let Some(reply) = reply {
            parameters["reply"] = reply.as_str().into();
        }
        self.ask(Purpose::Send { message: id.clone() }, "message.send", parameters);
    }

    /// A message is on the disk.
    pub(super) fn stored(&mut self, message: &str) {
        self.outgoing.retain(|outgoing| outgoing.id != message);
        if let Some(conversation) = &mut self.conversation {
            conversation.stored(message);
        }
    }

    /// A message will not be stored: its text goes back where it was typed.
    pub(super) fn not_stored(&mut self, message: &str) {
        let Some(place) = self.outgoing.iter().position(|outgoing| outgoing.id == message) else { return };
        let Outgoing { peer, text, reply, .. } = self.outgoing.remove(place);
        if let Some(conversation) = self.conversation.as_mut().filter(|open| open.peer == peer) {
            conversation.remove(message);
            self.reply = self.reply.take().or(reply);
        }
        self.give_back(&peer, &text);
    }

    /// Another process runs the engine: what the former may not have stored is sent again, under the same name.
    pub(super) fn send_again(&mut self) {
        for outgoing in self.outgoing.clone() {
            self.store(&outgoing);
            // That draft was a part of the message; what has been typed since is kept again.
            if outgoing.from_draft && self.is_open(&outgoing.peer) && !self.composer.is_empty() {
                self.draft_due = self.draft_due.or(Some(self.now));
            }
        }
        for ask in self.changes.clone() {
            self.effects.push_back(Effect::Call(ask));
        }
    }

    /// Asks for a change of an earlier message, and asks again if the engine's process ends over it.
    pub(super) fn ask_change(&mut self, ask: Ask) {
        if self.changes.len() >= UNDER_WAY {
            return self.say(self.words.conversation.too_much.to_owned(), true);
        }
        self.changes.push(ask.clone());
        self.effects.push_back(Effect::Call(ask));
    }

    /// Shows what is under way in the open conversation, after a page was loaded that may not have it.
    pub(super) fn show_outgoing(&mut self) {
        let Some(conversation) = &mut self.conversation else { return };
        for outgoing in &self.outgoing {
            if outgoing.peer == conversation.peer {
                conversation.add(outgoing.message());
            }
        }
    }

    /// A text goes back to the composer if it is of the open conversation, else to the draft; before what is there.
    pub(super) fn give_back(&mut self, peer: &str, text: &str) {
        let joined = |there: &str| if there.is_empty() { text.to_owned() } else { format!("{text}\n{there}") };
        if self.is_open(peer) {
            self.untouched = false;
            match &mut self.doing {
                Doing::Write => {
                    let text = joined(self.composer.text());
                    self.composer.set_text(&text);
                    self.draft_due = Some(self.now);
                }
                Doing::Edit { aside, .. } | Doing::React { aside, .. } => {
                    *aside = joined(aside);
                    let text = aside.clone();
                    self.set_draft(peer, text);
                }
            }
        } else {
            let there = self.contacts.find(peer).and_then(|contact| contact.draft.as_deref()).unwrap_or_default();
            let text = joined(there);
            self.set_draft(peer, text);
        }
    }

    pub(super) fn is_open(&self, peer: &str) -> bool {
        self.conversation.as_ref().is_some_and(|open| open.peer == peer)
    }

    /// Puts what is typed on the disk, if it is not there.
    pub(super) fn keep_draft(&mut self) {
        if self.draft_due.take().is_none() {
            return;
        }
        let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) else { return };
        let text = match &self.doing {
            Doing::Write => self.composer.text(),
            Doing::Edit { aside, .. } | Doing::React { aside, .. } => aside,
        };
        let text = text.to_owned();
        self.drafted = !text.is_empty();
        self.set_draft(&peer, text);
    }

    fn set_draft(&mut self, peer: &str, text: String) {
        if let Some(contact) = self.contacts.find_mut(peer) {
            contact.draft = Some(text.clone()).filter(|text| !text.is_empty());
        }
        self.ask(Purpose::Aside, "draft.set", json!({"with": peer, "text": text}));
    }

    /// Fills the composer with what was begun to the one whose conversation is open, while nothing was typed here.
    pub(super) fn take_draft(&mut self) {
        if !self.untouched {
            return;
        }
        let Some(conversation) = &self.conversation else { return };
        let Some(contact) = self.contacts.find(&conversation.peer) else { return };
        let draft = contact.draft.as_deref().unwrap_or_default();
        self.drafted = !draft.is_empty();
        match &mut self.doing {
            Doing::Write if self.composer.text() == draft => {}
            Doing::Write => self.composer.set_text(draft),
            // It is for what waits, not for what is being typed.
            Doing::Edit { aside, .. } | Doing::React { aside, .. } => draft.clone_into(aside),
        }
    }

    /// Another client sent a text, which may be the draft that both showed: it is not sent from here once more.
    pub(super) fn forget_draft_sent(&mut self, peer: &str, text: &str) {
        if let Some(contact) = self.contacts.find_mut(peer)
            && contact.draft.as_deref() == Some(text)
        {
            contact.draft = None;
        }
        if self.is_open(peer) && self.untouched && self.doing == Doing::Write && self.composer.text() == text {
            self.composer.set_text("");
            self.drafted = false;
            // A list that is under way may still have it.
            self.untouched = false;
        }
    }

    /// What is typed has changed: the contact may learn that one types, or no longer does.
    pub(super) fn note_typing(&mut self) {
        let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) else { return };
        let text = self.composer.text();
        let writes = matches!(self.doing, Doing::Write) && !text.is_empty();
        let command = text.starts_with('/') && !text.starts_with("//");
        // Who asks, or is blocked, is told nothing.
        let told = self.contacts.find(&peer).is_some_and(|contact| contact.standing == Standing::Contact);
        if writes && told && !command {
            if self.typing_told.is_none_or(|at| self.now >= at.saturating_add(TYPING)) {
                self.typing_told = Some(self.now);
                self.ask(Purpose::Aside, "typing.set", json!({"to": peer, "on": true}));
            }
        } else {
            self.stop_typing();
        }
    }

    pub(super) fn stop_typing(&mut self) {
        if self.typing_told.take().is_none() {
            return;
        }
        if let Some(peer) = self.conversation.as_ref().map(|open| open.peer.clone()) {
            self.ask(Purpose::Aside, "typing.set", json!({"to": peer, "on": false}));
        }
    }

    /// Notes that what is in sight is read, while the person looks here.
    pub(super) fn note_read(&mut self) {
        let covered = self.overlay.is_some() || self.search.is_some() || self.setup.is_some();
        if covered || !self.attention.is_here(self.now) {
            return;
        }
        let Some(conversation) = &self.conversation else { return };
        let peer = conversation.peer.clone();
        if self.contacts.find(&peer).is_none_or(|contact| contact.unread == 0) {
            return;
        }
        let Some((_, last)) = self.in_sight() else { return };
        let seen = conversation.iter().enumerate().take(last + 1).rfind(|(_, message)| !message.mine);
        let Some((index, upto)) = seen.map(|(index, message)| (index, message.id.clone())) else { return };
        if conversation.noted.as_deref().and_then(|noted| conversation.index(noted)).is_some_and(|noted| noted >= index)
        {
            return;
        }
        let rest = conversation.iter().skip(index + 1).filter(|message| !message.mine).count();
        let all = conversation.holds_newest() && rest == 0;
        if let Some(contact) = self.contacts.find_mut(&peer).filter(|_| all) {
            contact.unread = 0;
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.noted = Some(upto.clone());
        }
        self.ask(Purpose::Aside, "message.read", json!({"with": peer, "upto": upto}));
    }

    /// Goes to the newest message, and follows what comes.
    pub(super) fn go_to_end(&mut self) {
        let Some(conversation) = &mut self.conversation else { return };
        conversation.place = Place::Bottom;
        conversation.goal = None;
        if conversation.holds_newest() {
            self.note_read();
        } else {
            self.ask_page(super::Page::Newest);
        }
    }
}

impl Outgoing {
    fn message(&self) -> Message {
        Message::begun(&self.id, &self.text, self.reply.clone(), self.at)
    }
}
