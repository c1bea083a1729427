//! What the person does with one message: it is chosen, answered, edited, reacted to, deleted, copied.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::conversation::{Conversation, Place};
use super::message::Message;
use super::rows::beginning;
use super::{Ask, Effect, Page, Purpose, Screen};
use crate::terminal::cells;
use crate::terminal::words::fill;

/// The reactions that a digit gives.
pub(crate) const EMOJI: [&str; 6] = ["👍", "❤", "😂", "😮", "😢", "🙏"];

/// Bytes of an emoji at most, as the protocol has it.
const LONGEST_EMOJI: usize = 64;

/// What the composer is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Doing {
    /// A new message.
    #[default]
    Write,
    /// The new text of this message of ours; what was begun waits aside.
    Edit { message: String, aside: String },
    /// A reaction to this message.
    React { message: String, aside: String },
}

impl Screen {
    /// Whether something stands above the composer.
    pub(super) fn has_caption(&self) -> bool {
        let Some(conversation) = &self.conversation else { return false };
        let acting = self.deleting.is_some() || conversation.chosen.is_some() || self.doing != Doing::Write;
        acting || self.reply.is_some() || self.walk.is_some() || conversation.place != Place::Bottom
    }

    /// What stands above the composer: what keys do to the chosen message, what the composer is for, where one is.
    pub(crate) fn caption(&self, columns: usize) -> Option<String> {
        let words = &self.words.conversation;
        let conversation = self.conversation.as_ref()?;
        let whole = |long: &str, short: &str| if cells::width(long) <= columns { long } else { short }.to_owned();
        if self.deleting.is_some() {
            return Some(words.ask_delete.to_owned());
        }
        if conversation.chosen.is_some() {
            return Some(whole(words.choosing, words.choosing_briefly));
        }
        match &self.doing {
            Doing::Edit { .. } => return Some(whole(words.editing, words.editing_briefly)),
            Doing::React { .. } => {
                let all: Vec<_> = (1..).zip(EMOJI).map(|(digit, emoji)| format!("{digit} {emoji}")).collect();
                return Some(fill(words.reacting, &[&all.join(" ")]));
            }
            Doing::Write => {}
        }
        if let Some(reply) = &self.reply {
            let answered = conversation.find(reply);
            let text = answered.and_then(Message::text).map_or(words.earlier, beginning);
            let name = match answered {
                Some(message) if message.mine => words.me,
                _ => self.contacts.find(&conversation.peer).map_or("", |contact| contact.name.as_str()),
            };
            return Some(fill(words.replying, &[name, text]));
        }
        self.walk.as_ref().map(|walk| walk.told(words))
    }

    /// Takes a key that concerns a chosen message. `false`: it is for others.
    pub(super) fn handle_acting_key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
            return false;
        }
        if let Some(message) = self.deleting.take() {
            match key.code {
                // No letter: whoever types a word without looking would say yes with one.
                KeyCode::Enter => {
                    let with = self.peer();
                    self.change("message.delete", json!({"with": with, "message": message}), None);
                    self.unchoose();
                }
                KeyCode::Char(letter) if letter != 'n' => {
                    self.unchoose();
                    return false;
                }
                _ => {}
            }
            return true;
        }
        if let (Doing::React { message, .. }, KeyCode::Char(digit @ '1'..='6')) = (&self.doing, key.code)
            && self.composer.is_empty()
            && let Some(emoji) = EMOJI.get(digit as usize - '1' as usize)
        {
            let message = message.clone();
            self.write_again();
            self.give_reaction(&message, emoji);
            return true;
        }
        if self.chosen().is_none() {
            return false;
        }
        match key.code {
            KeyCode::Up => self.choose_beside(1, true),
            KeyCode::Down => self.choose_beside(1, false),
            KeyCode::PageUp => self.choose_beside(self.messages_in_sight(), true),
            KeyCode::PageDown => self.choose_beside(self.messages_in_sight(), false),
            KeyCode::Char('r') | KeyCode::Enter => self.reply_to(None),
            KeyCode::Char('e') => self.edit(None),
            KeyCode::Char('+') => self.react(None),
            KeyCode::Char('d') => self.delete(),
            KeyCode::Char('y') => self.copy_chosen(),
            KeyCode::Esc => self.unchoose(),
            // It begins a word.
            KeyCode::Char(_) => {
                self.unchoose();
                return false;
            }
            _ => return false,
        }
        true
    }

    fn peer(&self) -> String {
        self.conversation.as_ref().map(|open| open.peer.clone()).unwrap_or_default()
    }

    fn chosen(&self) -> Option<&Message> {
        let conversation = self.conversation.as_ref()?;
        conversation.find(conversation.chosen.as_deref()?)
    }

    fn messages_in_sight(&self) -> usize {
        self.in_sight().map_or(1, |(first, last)| (last - first).max(1))
    }

    /// Chooses the last message in sight.
    pub(super) fn choose(&mut self) {
        let Some((_, last)) = self.in_sight() else { return };
        let Some(conversation) = &mut self.conversation else { return };
        let Some(id) = conversation.at(last).map(|message| message.id.clone()) else { return };
        conversation.chosen = Some(id.clone());
        self.bring_into_sight(&id);
    }

    /// Chooses a message so many above or below; below the newest, none.
    fn choose_beside(&mut self, by: usize, up: bool) {
        let Some(conversation) = &mut self.conversation else { return };
        let Some(at) = conversation.chosen.as_deref().and_then(|id| conversation.index(id)) else { return };
        let newest = conversation.len().saturating_sub(1);
        if !up && at == newest && conversation.holds_newest() {
            return self.unchoose();
        }
        let to = if up { at.saturating_sub(by) } else { (at + by).min(newest) };
        if let Some(id) = conversation.at(to).map(|message| message.id.clone()) {
            conversation.chosen = Some(id.clone());
            self.bring_into_sight(&id);
        }
        self.ask_page(if up { Page::Older } else { Page::Newer });
        self.note_read();
    }

    pub(super) fn unchoose(&mut self) {
        if let Some(conversation) = &mut self.conversation {
            conversation.chosen = None;
        }
    }

    /// The chosen message if it fits; without a choice the latest that does, unless it is far below what is loaded: what is meant
    /// then is not in sight.
    fn target(&self, fits: impl Fn(&Message) -> bool) -> Option<&Message> {
        match self.chosen() {
            Some(chosen) => fits(chosen).then_some(chosen),
            None => self.conversation.as_ref().filter(|open| open.holds_newest())?.latest(fits),
        }
    }

    /// Answers the chosen message, else the latest of theirs: with this text, or with what is typed next.
    pub(super) fn reply_to(&mut self, text: Option<String>) {
        let chosen = self.chosen().is_some();
        let target = self.target(|message| Conversation::is_text(message) && (chosen || !message.mine));
        let Some(id) = target.map(|message| message.id.clone()) else {
            return self.say(self.words.conversation.no_target.to_owned(), true);
        };
        self.write_again();
        self.unchoose();
        self.reply = Some(id);
        if let Some(text) = text {
            self.send(text);
        }
    }

    /// Edits the chosen message, else our latest: to this text, or in the composer.
    pub(super) fn edit(&mut self, text: Option<String>) {
        let mine = self.target(|message| Conversation::is_text(message) && message.mine);
        let Some((id, former)) =
            mine.map(|message| (message.id.clone(), message.text().unwrap_or_default().to_owned()))
        else {
            return self.say(self.words.conversation.not_mine.to_owned(), true);
        };
        self.unchoose();
        match text {
            Some(text) => self.finish_edit(&id, text),
            None => {
                let aside = self.set_aside();
                let text = self.take_edit(&id).unwrap_or(former);
                self.doing = Doing::Edit { message: id, aside };
                self.composer.set_text(&text);
            }
        }
    }

    fn finish_edit(&mut self, message: &str, text: String) {
        let former = self.conversation.as_ref().and_then(|open| open.find(message)).and_then(Message::text);
        if former == Some(text.as_str()) {
            return;
        }
        if text.trim().is_empty() {
            self.deleting = Some(message.to_owned());
            return;
        }
        let parameters = json!({"with": self.peer(), "message": message, "text": text});
        self.change("message.edit", parameters, Some(text));
    }

    /// Deletes the chosen message, else our latest, after a question.
    pub(super) fn delete(&mut self) {
        let mine = self.target(|message| Conversation::is_text(message) && message.mine);
        let Some(id) = mine.map(|message| message.id.clone()) else {
            return self.say(self.words.conversation.not_mine.to_owned(), true);
        };
        self.choose_this(&id);
        self.deleting = Some(id);
    }

    fn choose_this(&mut self, id: &str) {
        if let Some(conversation) = &mut self.conversation {
            conversation.chosen = Some(id.to_owned());
        }
        self.bring_into_sight(id);
    }

    /// Reacts to the chosen message, else to the latest of theirs: with this emoji, or with one that is typed next. The same once
    /// more takes it back.
    pub(super) fn react(&mut self, emoji: Option<&str>) {
        let chosen = self.chosen().is_some();
        let target = self.target(|message| Conversation::is_text(message) && (chosen || !message.mine));
        let Some(id) = target.map(|message| message.id.clone()) else {
            return self.say(self.words.conversation.no_target.to_owned(), true);
        };
        self.unchoose();
        match emoji {
            Some(emoji) => self.give_reaction(&id, emoji),
            None => {
                let aside = self.set_aside();
                self.doing = Doing::React { message: id, aside };
                self.composer.set_text("");
            }
        }
    }

    fn give_reaction(&mut self, message: &str, emoji: &str) {
        let emoji = emoji.trim();
        if emoji.is_empty() {
            return;
        }
        // A word is no reaction; and what a name completes to is one cluster, or begins beyond ASCII at least.
        if emoji.len() > LONGEST_EMOJI || emoji.chars().any(|c| c.is_ascii_alphabetic() || c.is_whitespace()) {
            return self.say(fill(self.words.conversation.no_emoji, &[&crate::text::harmless(emoji)]), true);
        }
        let found = self.conversation.as_ref().and_then(|open| open.find(message));
        let on = found.is_none_or(|message| message.reactions.iter().all(|it| !it.mine || it.emoji != emoji));
        let parameters = json!({"with": self.peer(), "message": message, "emoji": emoji, "on": on});
        self.change("message.react", parameters, None);
    }

    /// Copies the chosen message, else the latest, to the clipboard.
    pub(super) fn copy_chosen(&mut self) {
        let Some(text) = self.target(Conversation::is_text).and_then(Message::text).map(str::to_owned) else {
            return self.say(self.words.conversation.no_target.to_owned(), true);
        };
        self.unchoose();
        self.effects.push_back(Effect::Copy(text));
        self.say(self.words.conversation.copied.to_owned(), false);
    }

    fn change(&mut self, method: &'static str, parameters: serde_json::Value, text: Option<String>) {
        let purpose = Purpose::Change { peer: self.peer(), text };
        self.ask_change(Ask { purpose, method, parameters });
    }

    /// What was begun, put aside for a while and onto the disk.
    fn set_aside(&mut self) -> String {
        self.write_again();
        self.keep_draft();
        self.stop_typing();
        // A list that is under way does not take its place.
        self.untouched = false;
        self.composer.text().to_owned()
    }

    /// The composer is for new messages again, and has what was begun.
    pub(super) fn write_again(&mut self) {
        if let Doing::Edit { aside, .. } | Doing::React { aside, .. } = std::mem::take(&mut self.doing) {
            self.composer.set_text(&aside);
        }
    }

    /// A finished line that is no message. Gives it back if it is one.
    pub(super) fn finish_doing(&mut self, text: String) -> Option<String> {
        let doing = self.doing.clone();
        self.write_again();
        match doing {
            Doing::Write => return Some(text),
            Doing::Edit { message, .. } => self.finish_edit(&message, text),
            Doing::React { message, .. } => self.give_reaction(&message, &text),
        }
        None
    }

    /// Esc where nothing else has a use for it: one step back, and in the end to the newest message.
    pub(super) fn step_back(&mut self) {
        if self.doing != Doing::Write {
            self.write_again();
        } else if self.reply.take().is_some() || self.end_walk() || self.notice.take().is_some() {
        } else if self.conversation.as_ref().is_some_and(|open| open.place != Place::Bottom) {
            self.go_to_end();
        }
    }
}
