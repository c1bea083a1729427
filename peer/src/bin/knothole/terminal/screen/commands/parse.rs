//! What a finished line means. Nothing that begins with one slash is ever sent as a message.

use knothole_proto::code::{Code, InvalidCode};
use knothole_proto::contact_link::{ContactLink, InvalidLink};

use super::Command;
use super::table::{self, Listed, TABLE, nearest};
use crate::duration::lasting;
use crate::terminal::composer::unquoted;
use crate::terminal::words::commands::Words as Sentences;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

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
pub(crate) fn parse(text: &str, words: &Words) -> Typed {
    let Some(rest) = text.strip_prefix('/') else { return Typed::Text(text.to_owned()) };
    if rest.starts_with('/') {
        return Typed::Text(rest.to_owned());
    }
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let Some(listed) = table::named(name) else {
        let shown = harmless(name);
        return Typed::Wrong(match nearest(name, TABLE.iter().map(|listed| listed.name)) {
            Some(near) => fill(words.commands.unknown_near, &[&shown, near]),
            None => fill(words.commands.unknown, &[&shown]),
        });
    };
    match command(listed, arguments.trim(), words) {
        Ok(command) => Typed::Command(command),
        Err(why) => Typed::Wrong(why),
    }
}

/// A link or a code as it is to be tried, or what is wrong with it. A link that was copied from a screen may have been broken.
pub(crate) fn invitation(text: &str, words: &Words) -> Result<String, String> {
    let words = &words.commands;
    if Code::looks_like_one(text) {
        return match text.parse::<Code>() {
            Ok(_) => Ok(text.to_owned()),
            Err(InvalidCode::Form) => Err(words.no_code.to_owned()),
            Err(InvalidCode::Word(word)) => Err(fill(words.no_code_word, &[&harmless(&word)])),
        };
    }
    let whole: String = text.split_whitespace().collect();
    match whole.parse::<ContactLink>() {
        Ok(_) => Ok(whole),
        Err(error) => Err(damage(&error, words).to_owned()),
    }
}

/// What a link or a code means that stands alone, perhaps with a name behind it.
pub(crate) fn added(text: &str, words: &Words) -> Result<Command, String> {
    match parse(&format!("/add {text}"), words) {
        Typed::Command(command) => Ok(command),
        Typed::Wrong(why) => Err(why),
        Typed::Text(_) => Err(words.commands.no_link.to_owned()),
    }
}

/// What is wrong with a link or with the address of a rendezvous.
pub(crate) const fn damage(error: &InvalidLink, words: &Sentences) -> &'static str {
    match error {
        InvalidLink::Scheme => words.no_link,
        InvalidLink::Key => words.damaged_key,
        InvalidLink::Address => words.no_address,
        InvalidLink::Via => words.no_via,
    }
}

fn command(listed: &'static Listed, arguments: &str, words: &Words) -> Result<Command, String> {
    let told = (listed.told)(&words.commands);
    let goes = || match told.arguments {
        "" => fill(words.commands.goes_without, &[listed.name]),
        arguments => fill(words.commands.goes, &[listed.name, arguments]),
    };
    // What follows these is a text, and means itself.
    let text = || if arguments.is_empty() { Err(goes()) } else { Ok(arguments.to_owned()) };
    match listed.name {
        "edit" => return Ok(Command::Edit { text: text()? }),
        "reply" => return Ok(Command::Reply { text: text()? }),
        "search" => return Ok(Command::Search { text: arguments.to_owned() }),
        _ => {}
    }
    let mut given = Given::split(arguments).ok_or_else(|| words.commands.open_quote.to_owned())?;
    let command = match listed.name {
        "accept" => Command::Accept { relay: given.option("--relay"), name: given.next() },
        "add" => {
            let relay = given.option("--relay");
            let link = given.invitation(words).ok_or_else(goes)??;
            Command::Add { link, name: given.next(), relay }
        }
        "block" => Command::Block { name: given.next() },
        "code" => Command::Code { name: given.next() },
        "contacts" => Command::Contacts,
        "copy" => Command::Copy { link: given.option("link") },
        "delete" => Command::Delete,
        "go" => Command::Go { name: given.next().ok_or_else(goes)? },
        "help" => match given.next() {
            None => Command::Help { command: None },
            Some(name) => {
                let bare = name.trim_start_matches('/');
                let found =
                    table::named(bare).or_else(|| table::named(nearest(bare, TABLE.iter().map(|listed| listed.name))?));
                let listed = found.ok_or_else(|| fill(words.commands.unknown, &[&harmless(bare)]))?;
                Command::Help { command: Some(listed.name) }
            }
        },
        "invisible" => Command::Presence { visible: false, name: given.next() },
        "link" => Command::Link,
        "mailbox" => Command::Mailbox { open: given.choice("on", "off").ok_or_else(goes)? },
        "netcheck" => Command::Netcheck,
        "online" => Command::Presence { visible: true, name: given.next() },
        "path" => Command::Path { relay: given.choice("relay", "any").ok_or_else(goes)?, name: given.next() },
        "quit" => Command::Quit,
        "react" => Command::React { emoji: emoji(&given.next().ok_or_else(goes)?, words)? },
        "remove" => Command::Remove { name: given.next(), sure: false },
        "rename" => {
            let first = given.next().ok_or_else(goes)?;
            match given.next() {
                None => Command::Rename { name: None, new: first },
                Some(new) => Command::Rename { name: Some(first), new },
            }
        }
        "setup" => Command::Setup,
        "timer" => {
            let span = given.next().ok_or_else(goes)?;
            let seconds = lasting(&span).map_err(|_| fill(words.commands.no_span, &[&harmless(&span)]))?;
            Command::Timer { seconds: (seconds > 0).then_some(seconds) }
        }
        "verify" => {
            let same = given.last_is("ok");
            Command::Verify { name: given.next(), same }
        }
        "whois" => Command::Whois { name: given.next() },
        // A name of the table that has no meaning would be a mistake here; a test parses each of them.
        name => return Err(fill(words.commands.unknown, &[name])),
    };
    if given.next().is_some() {
        return Err(match told.arguments {
            "" => goes(),
            arguments => fill(words.commands.too_much, &[listed.name, arguments]),
        });
    }
    Ok(command)
}

/// An emoji, as itself or by its name between colons.
fn emoji(typed: &str, words: &Words) -> Result<String, String> {
    let named = typed.strip_prefix(':').map(|name| name.strip_suffix(':').unwrap_or(name));
    let found = match named {
        Some(name) => emojis::get_by_shortcode(name).map(|emoji| emoji.as_str().to_owned()),
        None => emojis::get(typed).map(|_| typed.to_owned()),
    };
    found.ok_or_else(|| fill(words.commands.no_emoji, &[&harmless(typed)]))
}

/// The words behind a command's name. What stands in quotation marks is one word.
struct Given(Vec<Word>);

struct Word {
    text: String,
    quoted: bool,
}

impl Given {
    /// `None`: a quotation mark is not closed.
    fn split(text: &str) -> Option<Self> {
        let mut all = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (word, quoted, behind) = match first {
                '"' => {
                    let (word, behind) = unquoted(&rest[1..]);
                    (word, true, behind?)
                }
                '“' => {
                    let (word, behind) = rest[first.len_utf8()..].split_once('”')?;
                    (word.to_owned(), true, behind)
                }
                _ => {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    (rest[..end].to_owned(), false, &rest[end..])
                }
            };
            all.push(Word { text: word, quoted });
            rest = behind.trim_start();
        }
        Some(Self(all))
    }

    fn next(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.remove(0).text)
    }

    /// Whether this word is among them; it is taken out.
    fn option(&mut self, wanted: &str) -> bool {
        let at = self.0.iter().position(|word| !word.quoted && word.text == wanted);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// Whether they end with this word; it is taken out.
    fn last_is(&mut self, wanted: &str) -> bool {
        self.0.pop_if(|word| !word.quoted && word.text.eq_ignore_ascii_case(wanted)).is_some()
    }

    /// Which of two words comes first: whether it is the one.
    fn choice(&mut self, one: &str, other: &str) -> Option<bool> {
        let typed = self.next()?;
        if typed.eq_ignore_ascii_case(one) {
            return Some(true);
        }
        typed.eq_ignore_ascii_case(other).then_some(false)
    }

    /// A link, also in pieces as a screen breaks it, or a code, also with spaces in place of its hyphens.
    fn invitation(&mut self, words: &Words) -> Option<Result<String, String>> {
        let first = invitation(&self.0.first()?.text, words);
        for many in 1..=self.0.len() {
            let joined: Vec<_> = self.0[..many].iter().map(|word| word.text.as_str()).collect();
            if let Ok(whole) = invitation(&joined.join(" "), words) {
                self.0.drain(..many);
                return Some(Ok(whole));
            }
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests;
