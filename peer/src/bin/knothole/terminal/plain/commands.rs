//! What is typed with a slash before it.

use serde_json::{Value, json};

use super::answers::PAGE;
use super::teller::{Purpose, Teller, Telling};
use crate::session::word;
use crate::terminal::screen::message::Message;
use crate::terminal::words::fill;
use crate::text::harmless;
use crate::verify;

impl Teller {
    /// A finished line: a command, or a message to the open conversation. Two slashes send one.
    pub(super) fn submit(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix('/') else { return self.send(line, None) };
        if rest.starts_with('/') {
            return self.send(rest, None);
        }
        let (verb, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let rest = rest.trim();
        match verb {
            "contacts" => self.ask_contacts(Telling::List),
            "go" if !rest.is_empty() => self.go_to(rest),
            "more" => self.more(),
            "search" if !rest.is_empty() => self.search(rest),
            "add" if !rest.is_empty() => {
                let (link, name) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let name = Some(name.trim()).filter(|name| !name.is_empty());
                self.ask(Purpose::Added, "contact.add", json!({"link": link, "name": name}));
            }
            "accept" => self.accept(rest),
            "block" if !rest.is_empty() => self.block(rest),
            "remove" if !rest.is_empty() => self.remove(rest),
            "reply" if !rest.is_empty() => {
                let answered = self.open.as_ref().and_then(|open| open.meant(false)).map(|message| message.id.clone());
                match answered {
                    Some(answered) => self.send(rest, Some(answered)),
                    None => self.say(self.words.plain.nothing_to_choose),
                }
            }
            "react" if !rest.is_empty() => self.alter("message.react", false, json!({"emoji": rest})),
            "edit" if !rest.is_empty() => self.alter("message.edit", true, json!({"text": rest})),
            "delete" => self.delete(rest),
            "choose" => self.choose(rest),
            "link" => self.link(rest == "qr"),
            "netcheck" => {
                self.say(self.words.plain.checking);
                self.ask(Purpose::Netcheck, "netcheck", json!({"lifetime": false}));
            }
            "quiet" => {
                self.quiet = rest != "off";
                self.say(if self.quiet { self.words.plain.quiet } else { self.words.plain.loud });
            }
            "help" => self.help(rest.trim_start_matches('/')),
            "quit" => self.leave(),
            other => match self.usage(other) {
                Some(usage) => self.say(&fill(self.words.plain.missing, &[usage])),
                None => self.say(&fill(self.words.plain.no_command, &[&format!("/{}", harmless(other))])),
            },
        }
    }

    fn usage(&self, verb: &str) -> Option<&'static str> {
        self.words.plain.commands.iter().map(|(usage, _)| *usage).find(|usage| named(usage) == verb)
    }

    fn help(&mut self, verb: &str) {
        let commands = self.words.plain.commands;
        match commands.iter().find(|(usage, _)| named(usage) == verb) {
            Some((usage, told)) => self.say(&format!("{usage}: {told}")),
            None => {
                let names: Vec<_> = commands.iter().map(|(usage, _)| format!("/{}", named(usage))).collect();
                self.say(&fill(self.words.plain.help, &[&names.join(self.words.plain.separator)]));
            }
        }
    }

    /// Our link; as a code for a camera where that is wanted.
    fn link(&mut self, qr: bool) {
        self.tell_link();
        if let Some(code) = qr.then(|| verify::drawn(&self.link).ok()).flatten().filter(|_| !self.link.is_empty()) {
            self.say(&code);
        }
    }

    fn go_to(&mut self, who: &str) {
        if let Some(contact) = self.meant(who) {
            self.go(&contact.peer);
        }
    }

    fn more(&mut self) {
        let Some(open) = &self.open else { return self.say(self.words.plain.none_open) };
        let peer = open.peer.clone();
        match Self::before(open) {
            Some(before) => {
                let parameters = json!({"with": peer, "before": before, "limit": PAGE});
                self.ask(Purpose::Older(peer), "message.history", parameters);
            }
            None => self.say(self.words.plain.no_more),
        }
    }

    fn search(&mut self, text: &str) {
        let Some(peer) = self.open.as_ref().map(|open| open.peer.clone()) else {
            return self.say(self.words.plain.none_open);
        };
        let parameters = json!({"with": peer, "search": text, "limit": PAGE});
        self.ask(Purpose::Search(peer), "message.history", parameters);
    }

    fn accept(&mut self, who: &str) {
        let contact = if who.is_empty() { self.asking() } else { self.meant(who) };
        match contact {
            Some(contact) => self.ask(Purpose::Added, "contact.accept", json!({"peer": contact.peer})),
            None if who.is_empty() => self.missing("accept"),
            None => {}
        }
    }

    fn missing(&mut self, verb: &str) {
        let usage = self.usage(verb).unwrap_or_default();
        self.say(&fill(self.words.plain.missing, &[usage]));
    }

    fn block(&mut self, who: &str) {
        let (who, sure) = self.sure(who);
        let Some(contact) = self.meant(who) else { return };
        if sure {
            self.ask(Purpose::Blocked, "contact.block", json!({"peer": contact.peer}));
        } else {
            let name = self.name(&contact.peer);
            self.say(&fill(self.words.plain.sure_to_block, &[&name, &name]));
        }
    }

    fn remove(&mut self, who: &str) {
        let (who, sure) = self.sure(who);
        let Some(contact) = self.meant(who) else { return };
        let name = self.name(&contact.peer);
        if sure {
            self.ask(Purpose::Removed(name), "contact.remove", json!({"peer": contact.peer}));
        } else {
            self.say(&fill(self.words.plain.sure_to_remove, &[&name, &name]));
        }
    }

    /// What stands before the word that confirms, and whether it stands there.
    fn sure<'a>(&self, text: &'a str) -> (&'a str, bool) {
        match text.strip_suffix(self.words.plain.yes) {
            Some(before) if before.is_empty() || before.ends_with(char::is_whitespace) => (before.trim_end(), true),
            _ => (text, false),
        }
    }

    /// Changes the message that is meant: one of ours, or one of theirs unless another was chosen.
    fn alter(&mut self, method: &'static str, mine: bool, mut parameters: Value) {
        let Some(open) = &self.open else { return self.say(self.words.plain.none_open) };
        let Some(message) = open.meant(mine) else { return self.say(self.words.plain.nothing_to_choose) };
        parameters["message"] = message.id.as_str().into();
        parameters["with"] = open.peer.as_str().into();
        self.ask(Purpose::Change, method, parameters);
    }

    fn delete(&mut self, rest: &str) {
        if self.sure(rest).1 {
            return self.alter("message.delete", true, json!({}));
        }
        let Some(open) = &self.open else { return self.say(self.words.plain.none_open) };
        let told =
            open.meant(true).map(|message| fill(self.words.plain.sure_to_delete, &[&self.which(open, &message.id)]));
        self.say(&told.unwrap_or_else(|| self.words.plain.nothing_to_choose.to_owned()));
    }

    /// Chooses one of the messages that were told, by its number from the newest; without one they are told with their numbers.
    fn choose(&mut self, rest: &str) {
        let Some(open) = &self.open else { return self.say(self.words.plain.none_open) };
        if rest.is_empty() {
            let newest: Vec<_> = (1..).zip(open.newest()).take(PAGE).collect();
            let line = |(number, message): &(usize, &Message)| format!("{number}. {}", self.message(open, message));
            let told: Vec<_> = newest.iter().rev().map(line).collect();
            for line in told {
                self.say(&line);
            }
            return self.say(self.words.plain.choices);
        }
        let place = rest.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let chosen = place.and_then(|place| open.newest().nth(place));
        let told = chosen.map(|message| (message.id.clone(), self.message(open, message)));
        match (told, &mut self.open) {
            (Some((id, told)), Some(open)) => {
                open.chosen = Some(id);
                self.say(&fill(self.words.plain.chosen, &[&told]));
            }
            _ => self.say(self.words.plain.nothing_to_choose),
        }
    }

    /// What the network lets through.
    pub(super) fn tell_network(&mut self, found: &Value) {
        self.say(&harmless(word(found, "summary")));
    }
}

/// The name of a command, from how it goes.
fn named(usage: &str) -> &str {
    usage.trim_start_matches('/').split(' ').next().unwrap_or_default()
}
