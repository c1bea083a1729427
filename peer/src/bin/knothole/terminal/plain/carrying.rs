//! What a command does: the calls it makes, and what is told when they are answered.

use serde_json::{Value, json};

use super::teller::{Purpose, Teller, Telling};
use crate::contacts::at_first;
use crate::netcheck::findings;
use crate::session::{entries, name, word};
use crate::terminal::cells::isolated;
use crate::terminal::composer::quoted;
use crate::terminal::screen::commands::Command;
use crate::terminal::screen::commands::table::nearest;
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::pages::whois;
use crate::terminal::words::fill;
use crate::text::harmless;

impl Teller {
    /// Carries a command out. What cannot be undone is done where the person is `sure`. An error says what is right.
    pub(super) fn carry_out(&mut self, mut command: Command, sure: bool) -> Result<(), String> {
        let (method, parameters) = match &mut command {
            Command::Accept { name, relay } => {
                let peer = self.who_asks(name.as_deref())?;
                ("contact.accept", json!({"peer": peer, "path": at_first(*relay)}))
            }
            Command::Add { link, name, relay } => {
                ("contact.add", json!({"link": link, "name": name, "path": at_first(*relay)}))
            }
            Command::Block { name } => {
                let contact = self.meant(name.as_deref())?;
                if name.is_none() && !sure && contact.standing != Standing::Request {
                    // Perhaps a stranger was meant, who asked a moment ago.
                    let told = isolated(&contact.name);
                    self.say(&fill(self.words.plain.sure_to_block, &[&told, &isolated(&quoted(&contact.name))]));
                    return Ok(());
                }
                ("contact.block", json!({"peer": contact.peer}))
            }
            Command::Code { name } => ("contact.code", json!({"name": name})),
            Command::Contacts => {
                self.ask_contacts(Telling::List);
                return Ok(());
            }
            // The plain mode has its own search, and its lines can be copied from the terminal.
            Command::Copy { .. } | Command::Search { .. } | Command::Setup => return Ok(()),
            Command::Delete => {
                let peer = self.meant(None)?.peer;
                // What was asked about, though something newer may have been said since.
                if let Some((_, message)) = self.deleting.take_if(|(with, _)| sure && *with == peer) {
                    let parameters = json!({"with": peer, "message": message});
                    self.command(command, "message.delete", parameters);
                    return Ok(());
                }
                let message = self.chosen(true)?;
                self.deleting = Some((peer, message.clone()));
                let which = self.open.as_ref().map(|open| self.which(open, &message)).unwrap_or_default();
                self.say(&fill(self.words.plain.sure_to_delete, &[&which]));
                return Ok(());
            }
            Command::Edit { text } => {
                let mut change = self.change_of(true)?;
                change["text"] = text.as_str().into();
                ("message.edit", change)
            }
            Command::Go { name } => {
                let peer = self.meant(Some(name))?.peer;
                self.go(&peer);
                return Ok(());
            }
            Command::Help { command } => {
                self.help(*command);
                return Ok(());
            }
            Command::Link => {
                self.link(false);
                return Ok(());
            }
            Command::Mailbox { open } => ("mailbox.set", json!({"open": open})),
            Command::Netcheck => {
                self.say(self.words.netcheck.asking);
                ("netcheck", json!({}))
            }
            Command::Path { relay, name } => {
                let peer = self.meant(name.as_deref())?.peer;
                ("contact.path", json!({"peer": peer, "mode": if *relay { "relay" } else { "any" }}))
            }
            Command::Presence { visible, name } => {
                let mode = if *visible { "online" } else { "invisible" };
                let peer = name.as_deref().map(|name| self.meant(Some(name))).transpose()?;
                *name = peer.as_ref().map(|contact| contact.name.clone());
                ("presence.set", json!({"mode": mode, "peer": peer.map(|contact| contact.peer)}))
            }
            Command::Quit => {
                self.leave();
                return Ok(());
            }
            Command::React { emoji } => {
                let mut change = self.change_of(false)?;
                change["emoji"] = emoji.as_str().into();
                ("message.react", change)
            }
            Command::Remove { name, .. } => {
                let contact = self.meant(name.as_deref())?;
                let told = isolated(&contact.name).into_owned();
                if !sure {
                    let typed = isolated(&quoted(&contact.name)).into_owned();
                    self.say(&fill(self.words.plain.sure_to_remove, &[&told, &typed]));
                    return Ok(());
                }
                *name = Some(told);
                ("contact.remove", json!({"peer": contact.peer}))
            }
            Command::Rename { name, new } => {
                ("contact.rename", json!({"peer": self.meant(name.as_deref())?.peer, "name": new}))
            }
            Command::Reply { text } => {
                let answered = self.chosen(false)?;
                let text = std::mem::take(text);
                self.send(&text, Some(answered));
                return Ok(());
            }
            Command::Timer { seconds } => {
                ("conversation.timer", json!({"with": self.meant(None)?.peer, "expires_s": seconds}))
            }
            Command::Verify { name, same } => {
                let method = if *same { "contact.verify" } else { "contact.words" };
                let contact = self.meant(name.as_deref())?;
                *name = Some(contact.name);
                (method, json!({"peer": contact.peer}))
            }
            Command::Whois { name } => {
                let contact = self.meant(name.as_deref())?;
                self.tell_about(&contact);
                return Ok(());
            }
        };
        self.command(command, method, parameters);
        Ok(())
    }

    pub(super) fn command(&mut self, command: Command, method: &'static str, parameters: Value) {
        self.commanded += 1;
        self.opening += usize::from(command.opens());
        self.ask(Purpose::Command(command), method, parameters);
    }

    /// A command was carried out.
    pub(super) fn carried_out(&mut self, command: &Command, answer: &Value) {
        let named = isolated(&name(answer)).into_owned();
        match command {
            Command::Accept { .. } | Command::Add { .. } => {
                self.say(&fill(self.words.people.added, &[&named]));
                self.go(word(answer, "peer"));
            }
            Command::Code { .. } => {
                let code = harmless(word(answer, "code"));
                self.say(&format!("{} /add {code}", self.words.people.code_told));
                self.say(self.words.people.code_once);
            }
            Command::Verify { name, same: false } => self.tell_words(name.as_deref().unwrap_or_default(), answer),
            Command::Netcheck => self.tell_network(answer),
            // Their events tell what they did.
            Command::Delete | Command::Edit { .. } | Command::React { .. } => {}
            command => {
                let mut answer = answer.clone();
                if answer["name"].is_string() {
                    answer["name"] = named.into();
                }
                if let Some(told) = command.outcome(&answer, self.words) {
                    self.say(&told);
                }
                self.ask_contacts(Telling::Nothing);
            }
        }
    }

    /// The words to be compared, five at a time.
    fn tell_words(&mut self, name: &str, answer: &Value) {
        let words: Vec<_> = entries(&answer["words"]).iter().filter_map(Value::as_str).collect();
        for five in words.chunks(5) {
            self.say(&harmless(&five.join(" ")));
        }
        let (people, plain) = (&self.words.people, &self.words.plain);
        self.say(&fill(people.verify_how, &[&isolated(name)]));
        self.say(plain.verify_same);
        self.say(people.verify_other);
    }

    /// What the network does: in a sentence, and each finding.
    fn tell_network(&mut self, found: &Value) {
        self.say(&harmless(&self.words.phrases.said(word(found, "summary"))));
        for (name, told) in findings(found) {
            let (name, told) = (self.words.phrases.said(name), self.words.phrases.said(&told));
            self.say(&fill(self.words.plain.finding, &[&name, &told]));
        }
    }

    /// Everything that is known about a contact.
    fn tell_about(&mut self, contact: &Contact) {
        self.say(&fill(self.words.people.whois, &[&isolated(&contact.name)]));
        for (name, told) in whois::told(contact, self.now, self.words) {
            self.say(&fill(self.words.plain.finding, &[name, &isolated(&told)]));
        }
    }

    /// Who is meant: by a name, the beginning of one, a place in the list, or a peer id; by nothing the one whose conversation is open.
    fn meant(&self, who: Option<&str>) -> Result<Contact, String> {
        let words = &self.words.commands;
        let Some(who) = who else {
            let open = self.open.as_ref().and_then(|open| self.contacts.find(&open.peer));
            return open.cloned().ok_or_else(|| words.not_open.to_owned());
        };
        let place = || who.parse::<usize>().ok().and_then(|place| self.contacts.at(place.checked_sub(1)?));
        if let Some(contact) = self.contacts.named(who).or_else(place) {
            return Ok(contact.clone());
        }
        let lower = who.to_lowercase();
        let found: Vec<_> =
            self.contacts.iter().filter(|contact| contact.name.to_lowercase().starts_with(&lower)).collect();
        let shown = harmless(who);
        match &found[..] {
            [contact] => Ok((*contact).clone()),
            [] => Err(match nearest(who, self.contacts.iter().map(|contact| contact.name.as_str())) {
                Some(near) => fill(words.nobody_near, &[&isolated(&shown), &isolated(near)]),
                None => fill(words.nobody, &[&isolated(&shown)]),
            }),
            several => {
                let names: Vec<_> = several.iter().map(|contact| isolated(&contact.name)).collect();
                let names = names.join(self.words.plain.separator);
                Err(fill(self.words.plain.several_names, &[&isolated(&shown), &names]))
            }
        }
    }

    /// Who is to become a contact: the one named, the open one if it asks or is blocked, else the only one who asks.
    fn who_asks(&self, who: Option<&str>) -> Result<String, String> {
        if who.is_some() {
            return self.meant(who).map(|contact| contact.peer);
        }
        let open = self.open.as_ref().and_then(|open| self.contacts.find(&open.peer));
        match open.filter(|contact| matches!(contact.standing, Standing::Request | Standing::Blocked)) {
            Some(open) => Ok(open.peer.clone()),
            None => self.contacts.only_request(self.words).map(|contact| contact.peer.clone()),
        }
    }

    /// The chosen message; where none is, the newest of ours, or of theirs.
    fn chosen(&self, mine: bool) -> Result<String, String> {
        let open = self.open.as_ref().ok_or_else(|| self.words.commands.not_open.to_owned())?;
        let message = open.meant(mine).map(|message| message.id.clone());
        message.ok_or_else(|| self.words.commands.no_message.to_owned())
    }

    /// The parameters that a change of that message begins with.
    fn change_of(&self, mine: bool) -> Result<Value, String> {
        Ok(json!({"with": self.meant(None)?.peer, "message": self.chosen(mine)?}))
    }
}
