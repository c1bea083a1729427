//! What is typed with a slash before it: the commands of the full screen, and a few that do in words what its keys do.

use serde_json::json;

use super::answers::PAGE;
use super::teller::{Purpose, Teller};
use crate::terminal::screen::commands::{TABLE, Typed, parse};
use crate::terminal::screen::message::Message;
use crate::terminal::words::fill;
use crate::text::harmless;
use crate::verify;

/// Commands of the full screen that have no use here: there is no clipboard, the search is another, and the first steps are asked for
/// at the start.
const ABSENT: [&str; 3] = ["copy", "search", "setup"];

impl Teller {
    /// A finished line: a command, or a message to the open conversation. Two slashes send one.
    pub(super) fn submit(&mut self, line: &str) {
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match verb.strip_prefix('/').unwrap_or_default() {
            "choose" => self.choose(rest),
            "more" => self.more(),
            "quiet" => {
                self.quiet = rest != "off";
                self.say(if self.quiet { self.words.plain.quiet } else { self.words.plain.loud });
            }
            "search" if rest.is_empty() => self.explain("search"),
            "search" => self.search(rest),
            "link" if rest == "qr" => self.link(true),
            "help" if self.is_own(rest.trim_start_matches('/')) => self.explain(rest.trim_start_matches('/')),
            "block" | "delete" | "remove" => {
                let (line, sure) = self.sure(line);
                self.parse(line, sure);
            }
            absent if ABSENT.contains(&absent) => self.say(&fill(self.words.plain.absent, &[absent])),
            _ => self.parse(line, false),
        }
    }

    fn parse(&mut self, line: &str, sure: bool) {
        match parse(line, self.words) {
            Typed::Text(text) => self.send(&text, None),
            Typed::Wrong(why) => self.say(&why),
            Typed::Command(command) => {
                if let Err(why) = self.carry_out(command, sure) {
                    self.say(&why);
                }
            }
        }
    }

    /// What stands before the word that confirms, and whether it stands there.
    fn sure<'a>(&self, line: &'a str) -> (&'a str, bool) {
        match line.trim_end().strip_suffix(self.words.plain.yes) {
            Some(before) if before.ends_with(char::is_whitespace) => (before.trim_end(), true),
            _ => (line, false),
        }
    }

    fn is_own(&self, name: &str) -> bool {
        self.words.plain.commands.iter().any(|(usage, _)| named(usage) == name)
    }

    /// How a command of the plain mode's own goes, and what it does.
    fn explain(&mut self, name: &str) {
        if let Some((usage, told)) = self.words.plain.commands.iter().find(|(usage, _)| named(usage) == name) {
            self.say(&fill(self.words.plain.command, &[usage, told]));
        }
    }

    /// All commands by name, or one of them.
    pub(super) fn help(&mut self, command: Option<&'static str>) {
        let words = self.words;
        if let Some(listed) = command.and_then(|name| TABLE.iter().find(|listed| listed.name == name)) {
            let told = (listed.told)(&words.commands);
            let usage = format!("/{} {}", listed.name, told.arguments);
            return self.say(&fill(words.plain.command, &[usage.trim_end(), told.help]));
        }
        let own = words.plain.commands.iter().map(|(usage, _)| named(usage));
        let mut names: Vec<_> =
            TABLE.iter().map(|listed| listed.name).filter(|name| !ABSENT.contains(name)).chain(own).collect();
        names.sort_unstable();
        names.dedup();
        let names: Vec<_> = names.iter().map(|name| format!("/{name}")).collect();
        self.say(&fill(words.plain.help, &[&names.join(words.plain.separator)]));
    }

    /// Our link; as a code for a camera, too, where that is wanted.
    pub(super) fn link(&mut self, qr: bool) {
        self.tell_link();
        if let Some(code) = (qr && !self.link.is_empty()).then(|| verify::drawn(&self.link).ok()).flatten() {
            self.say(&code);
        }
    }

    fn more(&mut self) {
        let Some(open) = &self.open else { return self.say(self.words.commands.not_open) };
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
            return self.say(self.words.commands.not_open);
        };
        let parameters = json!({"with": peer, "search": text, "limit": PAGE});
        self.ask(Purpose::Search(peer), "message.history", parameters);
    }

    /// Chooses one of the messages that were told, by its number from the newest; without one they are told with their numbers.
    fn choose(&mut self, rest: &str) {
        let Some(open) = &self.open else { return self.say(self.words.commands.not_open) };
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
                self.deleting = None;
                self.say(&fill(self.words.plain.chosen, &[&told]));
            }
            _ => self.say(&fill(self.words.plain.nothing_to_choose, &[&harmless(rest)])),
        }
    }
}

/// The name of a command, from how it goes.
fn named(usage: &str) -> &str {
    usage.trim_start_matches('/').split(' ').next().unwrap_or_default()
}
