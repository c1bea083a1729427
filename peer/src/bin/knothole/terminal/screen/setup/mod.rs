//! The first steps: a rendezvous, the registration, our link, the first contact. They stand in the place of everything else until
//! they are done or left, and `/setup` brings them back.

pub(crate) mod plan;
#[cfg(test)]
mod tests;

use knothole_proto::code::Code;
use knothole_proto::contact_link::{ContactLink, RendezvousAddress};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::commands::parse;
use super::contacts::Standing;
use super::known::Known;
use super::rows::Tone;
use super::{Command, Composer, Effect, Given, Outcome, Screen};
use crate::session::Used;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

/// How long a registration takes at most where all is well, in milliseconds.
const PATIENCE: u64 = 10_000;

/// Where a person is in the first steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// No rendezvous is known: one is wanted.
    Rendezvous,
    /// One is known, and has not answered since this time.
    Waiting { since: u64 },
    /// We are registered: this is our link, and a friend's is wanted.
    Link,
}

/// The first steps, while they are on the screen.
pub(crate) struct Setup {
    pub(crate) step: Step,
    pub(crate) input: Composer,
    /// The friend whose link named our rendezvous, to be added as soon as we are registered.
    friend: Option<Command>,
}

/// What is said at a step, in the order from above: what may be cut where there is no room, what is typed, what is said of it.
pub(crate) struct Guide {
    /// Our link, where it is shown.
    pub(crate) link: Option<String>,
    pub(crate) head: Vec<(String, Tone)>,
    /// What the input is for; there is none on the page of the link alone.
    pub(crate) label: Option<&'static str>,
    pub(crate) tail: Vec<(String, Tone)>,
}

impl Screen {
    /// The first steps begin where somebody has no contacts yet, as soon as that is known.
    pub(super) fn consider_setup(&mut self) {
        if self.considered || self.me.is_empty() || !self.contacts_known {
            return;
        }
        self.considered = true;
        if self.contacts.len() == 0 {
            self.begin_setup();
        }
    }

    pub(super) fn begin_setup(&mut self) {
        self.overlay = None;
        self.setup = Some(Setup { step: self.step(), input: Composer::new(), friend: None });
    }

    /// The step that what is known of the rendezvous leads to.
    fn step(&self) -> Step {
        if self.rendezvous.is_empty() {
            return Step::Rendezvous;
        }
        let registered = self.rendezvous.iter().any(|rendezvous| rendezvous.state == "registered");
        if registered { Step::Link } else { Step::Waiting { since: self.now } }
    }

    /// More is known of the rendezvous.
    pub(super) fn advance_setup(&mut self) {
        let next = self.step();
        let Some(setup) = &mut self.setup else { return };
        match (setup.step, next) {
            (Step::Waiting { .. }, Step::Link) | (Step::Rendezvous, Step::Waiting { .. } | Step::Link) => {
                setup.step = next;
            }
            _ => return,
        }
        if next == Step::Link
            && let Some(friend) = setup.friend.take()
        {
            self.give(friend);
        }
    }

    /// What came of the rendezvous that was chosen.
    pub(super) fn take_rendezvous(&mut self, used: Result<Used, String>) {
        let words = &self.words.setup;
        let told = match used {
            Ok(used @ (Used::Kept | Used::ForNow)) => {
                self.handle_renewal();
                if used == Used::ForNow {
                    self.say(words.for_now.to_owned(), true);
                }
                return;
            }
            Ok(Used::Elsewhere) => words.elsewhere.to_owned(),
            Err(why) => harmless(&self.words.phrases.said(&why)),
        };
        if let Some(setup) = &mut self.setup {
            setup.step = Step::Rendezvous;
        }
        self.say(told, true);
    }

    /// When more is to be said of a registration that does not come.
    pub(super) fn setup_due(&self) -> Option<u64> {
        match self.setup.as_ref()?.step {
            Step::Waiting { since } => Some(since + PATIENCE).filter(|due| *due > self.now),
            Step::Rendezvous | Step::Link => None,
        }
    }

    pub(super) fn handle_setup_key(&mut self, key: KeyEvent) {
        let Some(setup) = &mut self.setup else { return };
        let empty = setup.input.is_empty();
        match key.code {
            KeyCode::Esc => {
                self.setup = None;
                self.open_first();
                self.say(self.words.setup.skipped.to_owned(), false);
            }
            KeyCode::Char('c') if empty && key.modifiers.is_empty() && setup.step == Step::Link => {
                self.give(Command::Copy { link: true });
            }
            KeyCode::Char('l') if empty && key.modifiers.is_empty() && setup.step == Step::Link => {
                self.link_alone = !self.link_alone;
            }
            KeyCode::Char('d') if empty && key.modifiers.contains(KeyModifiers::CONTROL) => self.quit(),
            _ => {
                let known = Known::new(&self.contacts, self.words);
                let mut outcome = setup.input.handle_key(key, &known);
                if matches!(outcome, Outcome::Confirm { .. }) {
                    // A link of several rendezvous is long, and is looked at before anything is done with it.
                    outcome = setup.input.handle_key(key, &known);
                }
                if let Outcome::Submit(text) = outcome {
                    self.submit_setup(&text);
                }
            }
        }
    }

    pub(super) fn handle_setup_paste(&mut self, text: &str) {
        let Some(setup) = &mut self.setup else { return };
        // A link that is copied from a screen has that screen's line ends in it, and none of its own.
        let joined: String = text.split(['\r', '\n']).map(str::trim).collect();
        setup.input.handle_paste(&joined);
    }

    /// What was typed at a step is finished; what is wrong with it is said of it as it stands.
    fn submit_setup(&mut self, text: &str) {
        let Some(setup) = &mut self.setup else { return };
        let typed = text.trim();
        if typed.starts_with('/') {
            return self.submit_line(typed.to_owned());
        }
        let accepted = match setup.step {
            Step::Rendezvous => named(typed, &self.me, self.words),
            // One that does not answer may be the wrong one; a friend's link is that of a friend by now.
            Step::Waiting { .. } => named(typed, &self.me, self.words).filter(|(_, friend)| friend.is_none()),
            Step::Link => None,
        };
        if let Some((address, friend)) = accepted {
            setup.friend = friend;
            setup.step = Step::Waiting { since: self.now };
            return self.effects.push_back(Effect::UseRendezvous(address));
        }
        match parse::added(typed, self.words) {
            Ok(command) if setup.step != Step::Rendezvous => {
                if let Err(why) = self.carry_out(command, typed) {
                    self.say(why, true);
                }
            }
            _ => setup.input.set_text(text),
        }
    }

    /// Somebody is a contact now, as was wanted there. The new conversation opens if the person waits for that; who has gone on to
    /// something else, or goes on typing, is told.
    pub(super) fn meet(&mut self, peer: &str, name: &str, given: &Given) {
        let waits = match &self.setup {
            Some(setup) => setup.input.is_empty() && self.overlay.is_none(),
            None => self.is_idle() && self.whereabouts() == *given,
        };
        if waits {
            self.welcome(peer, name);
        } else {
            self.say(fill(self.words.people.added, &[name]), false);
        }
    }

    /// The conversation opens, and the first time it is said how it goes on.
    fn welcome(&mut self, peer: &str, name: &str) {
        let told = match self.setup.take() {
            Some(_) => self.words.setup.first_words,
            None => self.words.people.added,
        };
        self.open(peer);
        self.say(fill(told, &[name]), false);
    }

    /// What is said at the step that a person is at, or on the page of the link.
    pub(crate) fn guide(&self) -> Guide {
        let words = &self.words.setup;
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        let heading = |text: &str| (text.to_owned(), Tone::Theirs);
        let link = Some(self.link.clone()).filter(|link| !link.is_empty());
        let Some(setup) = self.setup.as_ref().filter(|_| self.overlay.is_none()) else {
            let told = if link.is_some() { words.link_what } else { words.link_none };
            let head = vec![heading(words.your_link), plain(told)];
            return Guide { link, head, label: None, tail: self.told_besides(words.link_keys) };
        };
        let mut guide = match setup.step {
            Step::Rendezvous => Guide {
                link: None,
                head: vec![heading(words.welcome), plain(words.what), plain(words.rendezvous_wanted)],
                label: Some(words.rendezvous_label),
                tail: Vec::new(),
            },
            Step::Waiting { since } => {
                let place = self.rendezvous.first().map_or("", |first| place(&first.address));
                let mut head = vec![heading(words.waiting), plain(&fill(words.waiting_what, &[place]))];
                if since + PATIENCE <= self.now {
                    head.push((words.waiting_long.to_owned(), Tone::Accent));
                }
                Guide { link: None, head, label: Some(words.friend_label), tail: Vec::new() }
            }
            Step::Link => Guide {
                link,
                head: vec![heading(words.your_link), plain(words.link_what), plain(words.friend)],
                label: Some(words.friend_label),
                tail: Vec::new(),
            },
        };
        let asks = self.contacts.iter().find(|contact| contact.standing == Standing::Request);
        let asks = asks.map(|who| super::pages::asks(&who.name, self.words));
        // It was said besides as well, when it came; here it stays, and is not said twice.
        let told = self.notice.as_ref().is_some_and(|notice| asks.as_ref() == Some(&notice.text));
        guide.tail.extend(asks.map(|asks| (asks, Tone::Accent)));
        guide.tail.extend(self.hint(setup));
        let keys = if setup.step == Step::Link { words.keys } else { words.skip };
        guide.tail.extend(if told { vec![(keys.to_owned(), Tone::Dim)] } else { self.told_besides(keys) });
        guide
    }

    /// What was said besides, else what the keys do.
    fn told_besides(&self, keys: &str) -> Vec<(String, Tone)> {
        vec![match &self.notice {
            Some(notice) if notice.alarm => (notice.text.clone(), Tone::Alarm),
            Some(notice) => (notice.text.clone(), Tone::Accent),
            None => (keys.to_owned(), Tone::Dim),
        }]
    }

    /// What Enter would do with what is typed, or what is wrong with it.
    fn hint(&self, setup: &Setup) -> Option<(String, Tone)> {
        let words = &self.words.setup;
        let typed = setup.input.text().trim();
        if typed.is_empty() {
            return None;
        }
        if typed.starts_with('/') {
            return Some((words.command_right.to_owned(), Tone::Dim));
        }
        let right = |text: &str| Some((text.to_owned(), Tone::Mine));
        let wrong = |text: &str| Some((text.to_owned(), Tone::Alarm));
        if setup.step == Step::Rendezvous {
            return match named(typed, &self.me, self.words) {
                Some((address, None)) => right(&fill(words.address_right, &[place(&address.to_string())])),
                Some((address, Some(_))) => right(&fill(words.link_right, &[place(&address.to_string())])),
                None => wrong(&self.damage(typed)),
            };
        }
        if let (Step::Waiting { .. }, Some((address, None))) = (setup.step, named(typed, &self.me, self.words)) {
            return right(&fill(words.address_right, &[place(&address.to_string())]));
        }
        match parse::added(typed, self.words) {
            Ok(_) if Code::looks_like_one(typed) => right(words.code_right),
            Ok(Command::Add { link, .. }) if is_ours(&link, &self.me) => wrong(words.own_link),
            Ok(Command::Add { name: Some(name), .. }) => right(&fill(words.friend_named, &[&name])),
            Ok(_) => right(words.friend_right),
            Err(why) => wrong(&why),
        }
    }

    /// What is wrong with what should name a rendezvous.
    fn damage(&self, typed: &str) -> String {
        let words = self.words;
        if typed.starts_with("knothole:") {
            return parse::invitation(typed, words).err().unwrap_or_else(|| words.setup.own_link.to_owned());
        }
        match typed.parse::<RendezvousAddress>() {
            Err(error) if typed.contains('@') => parse::damage(&error, &words.commands).to_owned(),
            _ => words.setup.no_rendezvous.to_owned(),
        }
    }
}

/// The rendezvous that an address is, or that a friend's link names first; and how that friend is added.
fn named(typed: &str, me: &str, words: &Words) -> Option<(RendezvousAddress, Option<Command>)> {
    let whole: String = typed.split_whitespace().collect();
    if let Ok(address) = whole.parse() {
        return Some((address, None));
    }
    let command = parse::added(typed, words).ok()?;
    let Command::Add { link, .. } = &command else { return None };
    let address = link.parse::<ContactLink>().ok()?.via.first()?.clone();
    // One's own link, kept from before, names the rendezvous as well; but nobody is to be added by it.
    let friend = !is_ours(link, me);
    Some((address, friend.then_some(command)))
}

fn is_ours(link: &str, me: &str) -> bool {
    link.parse::<ContactLink>().is_ok_and(|link| link.peer.to_string() == me)
}

/// Of an address what people know: host and port.
fn place(address: &str) -> &str {
    address.split_once('@').map_or(address, |(_, place)| place)
}
