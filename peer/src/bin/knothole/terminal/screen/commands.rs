//! What is typed with a slash before it.

use serde_json::{Value, json};

use super::{Overlay, Purpose, Screen};
use crate::session::name;
use crate::terminal::composer::{self, Takes};

/// All commands, as Tab completes them.
pub(crate) const NAMES: &[(&str, Takes)] = &[
    ("/accept", Takes::Name),
    ("/add", Takes::Other),
    ("/go", Takes::Name),
    ("/help", Takes::Nothing),
    ("/quit", Takes::Nothing),
];

/// Something that the person wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// A contact more, by a link or a code.
    Add {
        link: String,
        name: Option<String>,
    },
    /// Somebody who asks becomes a contact; without a name the one who asks first.
    Accept {
        name: Option<String>,
    },
    /// Another conversation.
    Go {
        name: String,
    },
    Help,
    Quit,
}

/// What a finished line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A message.
    Text(String),
    Command(Command),
    /// A command that is not understood, and what to do about it.
    Wrong(String),
}

/// Tells a command from a message. Two slashes send one.
pub(crate) fn parse(text: &str) -> Typed {
    let Some(rest) = text.strip_prefix('/') else { return Typed::Text(text.to_owned()) };
    if rest.starts_with('/') {
        return Typed::Text(rest.to_owned());
    }
    let mut words = composer::words(rest).into_iter();
    let verb = words.next().unwrap_or_default();
    let mut next = || words.next();
    let command = match verb.as_str() {
        "add" => next().map(|link| Command::Add { link, name: next() }),
        "accept" => Some(Command::Accept { name: next() }),
        "go" => next().map(|name| Command::Go { name }),
        "help" => Some(Command::Help),
        "quit" => Some(Command::Quit),
        _ => return Typed::Wrong(format!("/{verb}: no such command; /help lists them, // sends a slash")),
    };
    command
        .map_or_else(|| Typed::Wrong(format!("/{verb}: something is missing; /help tells how it goes")), Typed::Command)
}

impl Screen {
    pub(super) fn carry_out(&mut self, command: Command) {
        match command {
            Command::Add { ref link, ref name } => {
                let parameters = json!({"link": link, "name": name});
                self.ask(Purpose::Command(command.clone()), "contact.add", parameters);
            }
            Command::Accept { ref name } => {
                let who = name.clone().or_else(|| self.contacts.at(0).map(|contact| contact.peer.clone()));
                let parameters = json!({"peer": who});
                self.ask(Purpose::Command(command.clone()), "contact.accept", parameters);
            }
            Command::Go { name } => match self.contacts.named(&name).map(|contact| contact.peer.clone()) {
                Some(peer) => self.open(&peer),
                None => self.say(format!("{name}?"), true),
            },
            Command::Help => self.overlay = Some(Overlay::Help),
            Command::Quit => self.quit(),
        }
    }

    /// A command was carried out.
    pub(super) fn carried_out(&mut self, command: Command, answer: &Value) {
        match command {
            Command::Add { .. } | Command::Accept { .. } => {
                self.ask(Purpose::Contacts, "contact.list", json!({}));
                let peer = crate::session::word(answer, "peer").to_owned();
                self.say(format!("{} {}", name(answer), self.words.status.is_a_contact), false);
                self.open(&peer);
            }
            Command::Go { .. } | Command::Help | Command::Quit => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_makes_a_command_and_two_make_one_slash() {
        assert_eq!(parse("hello"), Typed::Text("hello".into()));
        assert_eq!(parse("//etc/hosts"), Typed::Text("/etc/hosts".into()));
        assert_eq!(parse("/quit"), Typed::Command(Command::Quit));
        assert!(matches!(parse("/quti"), Typed::Wrong(why) if why.contains("/quti")));
        assert!(matches!(parse("/add"), Typed::Wrong(_)));
    }
}
