//! What is done about a command, and what is said when it is done.

use serde_json::{Value, json};

use super::Command;
use super::table::nearest;
use crate::contacts::at_first;
use crate::session::{name, word};
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::pages::{Overlay, Question, Subject};
use crate::terminal::screen::{Effect, Given, Purpose, Screen};
use crate::terminal::words::fill;
use crate::text::harmless;

impl Screen {
    /// Carries a command out. `typed` is the line that gave it: it comes back where the engine refuses. An error says what is
    /// right, and nothing was done then.
    pub(crate) fn carry_out(&mut self, command: Command, typed: &str) -> Result<(), String> {
        match &command {
            Command::Accept { name, relay } => {
                let peer = self.who_asks(name.as_deref())?;
                self.command(&command, typed, "contact.accept", json!({"peer": peer, "path": at_first(*relay)}));
            }
            Command::Add { link, name, relay } => {
                let parameters = json!({"link": link, "name": name, "path": at_first(*relay)});
                self.command(&command, typed, "contact.add", parameters);
            }
            Command::Block { name } => {
                let peer = self.meant(name.as_deref())?;
                let asks = self.contacts.find(&peer).is_some_and(|who| who.standing == Standing::Request);
                if name.is_none() && !asks {
                    // Perhaps a stranger was meant, who asked a moment ago.
                    let text = fill(self.words.people.sure_to_block, &[self.name_of(&peer)]);
                    self.overlay =
                        Some(Overlay::Question(Question { text, command: Command::Block { name: Some(peer) } }));
                } else {
                    self.command(&command, typed, "contact.block", json!({"peer": peer}));
                }
            }
            Command::Code { name } => {
                self.show(Subject::Code { made: None, name: name.clone() });
                self.command(&command, typed, "contact.code", json!({"name": name}));
            }
            Command::Contacts => self.show_contacts(),
            Command::Copy { link } => self.copy(*link)?,
            Command::Delete => {
                self.needs_message(true)?;
                self.delete();
            }
            Command::Edit { text } => {
                self.needs_message(true)?;
                self.edit(Some(text.clone()));
            }
            Command::Go { name } => {
                let peer = self.meant(Some(name))?;
                self.open(&peer);
            }
            Command::Help { command } => self.show(Subject::Help { command: *command }),
            Command::Link => self.show(Subject::Link),
            Command::Mailbox { open } => self.command(&command, typed, "mailbox.set", json!({"open": open})),
            Command::Netcheck => {
                self.show(Subject::Netcheck { found: None, since: self.now });
                self.command(&command, typed, "netcheck", json!({}));
            }
            Command::Path { relay, name } => {
                let peer = self.meant(name.as_deref())?;
                let mode = if *relay { "relay" } else { "any" };
                self.command(&command, typed, "contact.path", json!({"peer": peer, "mode": mode}));
            }
            Command::Presence { visible, name } => {
                let peer = name.as_deref().map(|name| self.meant(Some(name))).transpose()?;
                let mode = if *visible { "online" } else { "invisible" };
                self.command(&command, typed, "presence.set", json!({"mode": mode, "peer": peer}));
            }
            Command::Quit => self.quit(),
            Command::React { emoji } => {
                self.needs_message(false)?;
                self.react(Some(emoji));
            }
            Command::Remove { name, sure: false } => {
                let peer = self.meant(name.as_deref())?;
                let text = fill(self.words.people.sure_to_remove, &[self.name_of(&peer)]);
                // By the peer's id from here on: what is open, or is called so, may change before the answer.
                let command = Command::Remove { name: Some(peer), sure: true };
                self.overlay = Some(Overlay::Question(Question { text, command }));
            }
            Command::Remove { name, sure: true } => {
                let peer = self.meant(name.as_deref())?;
                let told = Command::Remove { name: Some(self.name_of(&peer).to_owned()), sure: true };
                self.command(&told, typed, "contact.remove", json!({"peer": peer}));
            }
            Command::Rename { name, new } => {
                let peer = self.meant(name.as_deref())?;
                self.command(&command, typed, "contact.rename", json!({"peer": peer, "name": new}));
            }
            Command::Reply { text } => {
                self.needs_message(false)?;
                self.reply_to(Some(text.clone()));
            }
            Command::Search { text } => {
                self.meant(None)?;
                self.search_for(text);
            }
            Command::Setup => self.begin_setup(),
            Command::Timer { seconds } => {
                let peer = self.meant(None)?;
                self.command(&command, typed, "conversation.timer", json!({"with": peer, "expires_s": seconds}));
            }
            Command::Verify { name, same } => {
                let peer = self.meant(name.as_deref())?;
                let method = if *same { "contact.verify" } else { "contact.words" };
                if !same {
                    self.show(Subject::Verify { peer: peer.clone(), told: None });
                }
                // By the peer's id from here on: the words are for the page of this one alone.
                let command = Command::Verify { name: Some(peer.clone()), same: *same };
                self.command(&command, typed, method, json!({"peer": peer}));
            }
            Command::Whois { name } => {
                let peer = self.meant(name.as_deref())?;
                self.show(Subject::Whois { peer });
            }
        }
        Ok(())
    }

    /// A command was carried out.
    pub(in crate::terminal::screen) fn carried_out(&mut self, command: &Command, given: &Given, answer: &Value) {
        match command {
            Command::Accept { .. } | Command::Add { .. } => {
                self.ask_contacts();
                let peer = word(answer, "peer").to_owned();
                self.meet(&peer, &name(answer), given);
            }
            Command::Code { .. } | Command::Verify { same: false, .. } | Command::Netcheck => {
                self.fill_page(command, answer);
            }
            // The messages change by their events.
            Command::Delete | Command::Edit { .. } | Command::React { .. } | Command::Reply { .. } => {}
            command => {
                if let Command::Presence { visible, name: None } = command {
                    self.invisible = !visible;
                }
                if let Some(told) = command.outcome(answer, self.words) {
                    self.say(told, false);
                    self.ask_contacts();
                }
            }
        }
    }

    /// The engine refused a command: what was typed comes back, to be put right, where the person is still there.
    pub(in crate::terminal::screen) fn not_carried_out(&mut self, command: &Command, typed: &str, given: &Given) {
        self.close_page(command);
        if self.whereabouts().open == given.open {
            self.give_back_command(typed);
        }
    }

    fn command(&mut self, command: &Command, typed: &str, method: &'static str, parameters: Value) {
        let purpose = Purpose::Command { command: command.clone(), typed: typed.to_owned(), given: self.whereabouts() };
        self.ask(purpose, method, parameters);
    }

    /// Who is meant by a name; without one, by the open conversation.
    fn meant(&self, who: Option<&str>) -> Result<String, String> {
        let words = &self.words.commands;
        let Some(who) = who else {
            let open = self.conversation.as_ref().map(|open| open.peer.clone());
            return open.ok_or_else(|| words.not_open.to_owned());
        };
        if let Some(contact) = self.contacts.named(who) {
            return Ok(contact.peer.clone());
        }
        let shown = harmless(who);
        Err(match nearest(who, self.contacts.iter().map(|contact| contact.name.as_str())) {
            Some(near) => fill(words.nobody_near, &[&shown, near]),
            None => fill(words.nobody, &[&shown]),
        })
    }

    /// Who is to become a contact: the one named, the open one if it asks or is blocked, else the only one who asks.
    fn who_asks(&self, who: Option<&str>) -> Result<String, String> {
        if who.is_some() {
            return self.meant(who);
        }
        let open = self.conversation.as_ref().and_then(|open| self.contacts.find(&open.peer));
        match open.filter(|contact| matches!(contact.standing, Standing::Request | Standing::Blocked)) {
            Some(open) => Ok(open.peer.clone()),
            None => self.contacts.only_request(self.words).map(|contact| contact.peer.clone()),
        }
    }

    /// Whether there is a message of ours, or of theirs, for what is to be done with it; else the line is to come back.
    fn needs_message(&self, mine: bool) -> Result<(), String> {
        let open = self.conversation.as_ref().ok_or_else(|| self.words.commands.not_open.to_owned())?;
        if open.chosen.is_none() && !open.holds_newest() {
            return Err(self.words.commands.out_of_sight.to_owned());
        }
        let there =
            open.chosen.is_some() || open.latest(|message| message.mine == mine && message.text().is_some()).is_some();
        if there { Ok(()) } else { Err(self.words.commands.no_message.to_owned()) }
    }

    fn copy(&mut self, link: bool) -> Result<(), String> {
        if !link && self.conversation.as_ref().is_some_and(|open| open.chosen.is_some()) {
            self.copy_chosen();
            return Ok(());
        }
        let text = self.link.clone();
        if text.is_empty() {
            return Err(self.words.commands.nothing_to_copy.to_owned());
        }
        self.effects.push_back(Effect::Copy(text));
        self.say(self.words.people.copied.to_owned(), false);
        Ok(())
    }

    /// What a peer is called here.
    pub(in crate::terminal::screen) fn name_of(&self, peer: &str) -> &str {
        self.contacts.find(peer).map_or("", |contact: &Contact| contact.name.as_str())
    }
}

#[cfg(test)]
mod tests;
