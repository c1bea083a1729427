//! People and messages as sentences. What others wrote is harmless already, and is isolated here where it goes from right to left.

use jiff::Timestamp;

use super::open::Open;
use super::teller::Teller;
use crate::delivery::Stage;
use crate::terminal::cells::isolated;
use crate::terminal::composer::quoted;
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::message::{Body, Message};
use crate::terminal::words::fill;
use crate::text::beginning;

impl Teller {
    /// `bob, online, direct, 2 unread`.
    pub(super) fn contact(&self, contact: &Contact) -> String {
        let (words, status) = (&self.words.plain, &self.words.status);
        let name = isolated(&contact.name).into_owned();
        let mut told = vec![name.clone()];
        match contact.standing {
            Standing::Request => {
                told.extend(contact.greeting.as_ref().map(|said| fill(words.says, &[&isolated(said)])));
                told.push(fill(words.request, &[&isolated(&quoted(&contact.name))]));
            }
            Standing::Blocked => told.push(words.blocked.to_owned()),
            Standing::Requested | Standing::Contact => {
                told.push(if contact.online { status.online } else { status.offline }.to_owned());
                if let Some(way) = contact.way.as_ref().filter(|_| contact.online) {
                    let kind = if way.direct { status.direct } else { status.relay };
                    told.push(
                        way.why.as_ref().map_or_else(
                            || kind.to_owned(),
                            |why| format!("{kind} ({})", self.words.phrases.said(why)),
                        ),
                    );
                }
                if contact.standing == Standing::Requested {
                    told.push(words.requested.to_owned());
                }
            }
        }
        let marks = [
            (contact.verified, words.verified),
            (contact.relay_only, words.relay_only),
            (contact.hidden, words.hidden),
        ];
        told.extend(marks.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned()));
        if contact.unread > 0 {
            told.push(fill(status.unread, &[&contact.unread.to_string()]));
        }
        told.join(words.separator)
    }

    /// All contacts, a line each, with the number that `/go` takes.
    pub(super) fn list(&mut self) {
        if self.contacts.len() == 0 {
            return self.say(self.words.plain.no_contacts);
        }
        self.say(&fill(self.words.plain.contacts, &[&self.contacts.len().to_string()]));
        let lines: Vec<_> = (1..)
            .zip(self.contacts.iter())
            .map(|(place, contact): (usize, _)| {
                fill(self.words.plain.contact, &[&place.to_string(), &self.contact(contact)])
            })
            .collect();
        for line in lines {
            self.say(&line);
        }
    }

    /// Tells messages of the open conversation, each day where it begins.
    pub(super) fn tell(&mut self, messages: &[Message]) {
        for message in messages {
            let Some(open) = &mut self.open else { return };
            let day = time(&self.zone, message.at, self.words.conversation.day);
            if open.day.replace(day.clone()) != Some(day.clone()) {
                self.say(&day);
            }
            if let Some(told) = self.open.as_ref().map(|open| self.message(open, message)) {
                self.say(&told);
            }
        }
    }

    /// `bob, 14:02: text`, its further lines indented.
    pub(super) fn message(&self, open: &Open, message: &Message) -> String {
        let (words, conversation) = (&self.words.plain, &self.words.conversation);
        let name = if message.mine { conversation.me.to_owned() } else { self.name(&open.peer) };
        let at = time(&self.zone, message.at, "%H:%M");
        let text = match &message.body {
            Body::Text(text) => isolated(text).replace('\n', "\n    "),
            Body::Deleted => conversation.deleted.to_owned(),
            Body::Timer(Some(seconds)) => fill(conversation.timer_on, &[&conversation.span(*seconds)]),
            Body::Timer(None) => conversation.timer_off.to_owned(),
            Body::Unknown => conversation.unknown.to_owned(),
        };
        let mut told = match message.reply.as_deref() {
            None => fill(words.message, &[&name, &at, &text]),
            Some(id) => {
                let answered = open.find(id).and_then(Message::text).map(beginning);
                let answered = answered.unwrap_or_else(|| conversation.earlier.to_owned());
                fill(words.reply, &[&name, &at, &isolated(&answered), &text])
            }
        };
        let reactions: Vec<_> = message.reactions.iter().map(|reaction| reaction.emoji.as_str()).collect();
        let reactions = (!reactions.is_empty()).then(|| fill(words.reactions, &[&reactions.join(" ")]));
        let queued = message.mine && matches!(message.stage, Stage::Queued | Stage::Failed);
        let notes = [(queued, words.queued), (message.edited, words.edited), (message.disappears, words.disappears)];
        let notes = notes.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word.to_owned());
        let notes: Vec<_> = notes.chain(reactions).collect();
        if !notes.is_empty() {
            told = format!("{told} ({})", notes.join(words.separator));
        }
        told
    }

    /// What a message of the open conversation says, quoted, or that it is an earlier one.
    pub(super) fn which(&self, open: &Open, id: &str) -> String {
        match open.find(id).and_then(Message::text) {
            Some(text) => fill(self.words.plain.quoted, &[&isolated(&beginning(text))]),
            None => self.words.conversation.earlier.to_owned(),
        }
    }
}

/// A time in milliseconds since 1970.
fn time(zone: &jiff::tz::TimeZone, at: u64, format: &str) -> String {
    let time = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    // The clock of another may say anything.
    time.map_or_else(|| "??:??".into(), |time| time.to_zoned(zone.clone()).strftime(format).to_string())
}
