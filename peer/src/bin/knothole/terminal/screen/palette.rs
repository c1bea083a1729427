//! The palette: a few letters find a contact or a command. Nothing typed, those come first with whom something was said last.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::commands::{Listed, TABLE};
use super::contacts::Contact;
use super::known::Known;
use super::listing::entry;
use super::pages::Overlay;
use super::rows::{Row, Tone, piece};
use super::{Composer, Outcome, Screen};
use crate::terminal::composer::Takes;
use crate::terminal::words::Words;

/// Entries kept at most: more than any screen shows.
const MOST: usize = 200;

/// A line that is typed, and which of what it finds is chosen.
#[derive(Debug)]
pub(crate) struct Palette {
    pub(crate) line: Composer,
    chosen: usize,
}

/// Somewhere to go.
#[derive(Debug)]
enum Entry<'a> {
    Contact(usize, &'a Contact),
    Command(&'static Listed),
}

/// The palette as it is drawn.
pub(crate) struct Drawn {
    /// The entries in sight.
    pub(crate) rows: Vec<Row>,
}

impl Screen {
    pub(super) fn show_palette(&mut self) {
        self.overlay = Some(Overlay::Palette(Box::new(Palette { line: Composer::default(), chosen: 0 })));
    }

    /// The palette with so many rows for its entries.
    pub(crate) fn palette(&self, width: usize, height: usize) -> Option<Drawn> {
        let Some(Overlay::Palette(palette)) = &self.overlay else { return None };
        let found = self.found(palette.line.text());
        let chosen = palette.chosen.min(found.len().saturating_sub(1));
        let first = (chosen + 1).saturating_sub(height);
        let row = |(at, found): (usize, &Entry<'_>)| {
            let mut row = found.row(self.words, width);
            row.chosen = at == chosen;
            row
        };
        let rows = found.iter().enumerate().skip(first).take(height).map(row).collect();
        Some(Drawn { rows })
    }

    /// What a text finds, the best first.
    fn found(&self, typed: &str) -> Vec<Entry<'_>> {
        let typed = typed.trim().to_lowercase();
        let contacts = self.contacts.iter().enumerate();
        if typed.is_empty() {
            let mut all: Vec<_> = contacts.collect();
            // Those who wait to be read, then by the time of the last word.
            all.sort_by_key(|(place, who)| (who.unread == 0, std::cmp::Reverse(who.last_at), *place));
            return all.into_iter().take(MOST).map(|(place, who)| Entry::Contact(place, who)).collect();
        }
        let (typed, commands_alone) = match typed.strip_prefix('/') {
            Some(command) => (command, true),
            None => (typed.as_str(), false),
        };
        let by_name = contacts.filter(|_| !commands_alone).filter_map(|(place, who)| {
            let score = likeness(typed, &who.name.to_lowercase())?;
            Some((score, Entry::Contact(place, who)))
        });
        let by_command = TABLE.iter().filter_map(|listed| {
            let score = likeness(typed, listed.name)?;
            // People are meant before commands, but those who only have the letters somewhere.
            Some((if score < WORD { PART + score } else { SCATTERED + score }, Entry::Command(listed)))
        });
        let mut all: Vec<_> = by_name.chain(by_command).collect();
        all.sort_by_key(|(score, _)| *score);
        all.into_iter().take(MOST).map(|(_, found)| found).collect()
    }

    pub(super) fn handle_palette_key(&mut self, key: KeyEvent) {
        let Some(Overlay::Palette(palette)) = &self.overlay else { return };
        let all = self.found(palette.line.text()).len();
        let Some(Overlay::Palette(palette)) = &mut self.overlay else { return };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => self.overlay = None,
            KeyCode::Char('k') if control => self.overlay = None,
            KeyCode::Up => palette.chosen = palette.chosen.min(all.saturating_sub(1)).saturating_sub(1),
            KeyCode::Down | KeyCode::Tab => palette.chosen = (palette.chosen + 1).min(all.saturating_sub(1)),
            KeyCode::Enter => self.go_to_chosen(),
            _ => {
                let known = Known::new(&self.contacts, self.words);
                if palette.line.handle_key(key, &known) == Outcome::Changed {
                    palette.chosen = 0;
                }
            }
        }
    }

    pub(super) fn paste_into_palette(&mut self, text: &str) {
        let Some(Overlay::Palette(palette)) = &mut self.overlay else { return };
        palette.line.handle_paste(text.lines().next().unwrap_or_default());
        palette.chosen = 0;
    }

    fn go_to_chosen(&mut self) {
        let Some(Overlay::Palette(palette)) = &self.overlay else { return };
        let found = self.found(palette.line.text());
        let chosen = found.get(palette.chosen.min(found.len().saturating_sub(1)));
        match chosen {
            Some(Entry::Contact(_, contact)) => {
                let peer = contact.peer.clone();
                (self.overlay, self.setup) = (None, None);
                self.open(&peer);
            }
            Some(Entry::Command(listed)) => {
                let listed = *listed;
                self.overlay = None;
                self.begin_command(listed);
            }
            None => {}
        }
    }

    /// A command that stands alone is carried out; one that wants more is typed as far as it is known.
    fn begin_command(&mut self, listed: &Listed) {
        let alone = format!("/{}", listed.name);
        if matches!(listed.takes, Takes::Nothing) {
            return self.submit_line(alone);
        }
        if !self.begin_typing(&format!("{alone} ")) {
            // What is begun stays.
            let goes = format!("{alone} {}", (listed.told)(&self.words.commands).arguments);
            self.say(goes, false);
        }
    }
}

impl Entry<'_> {
    fn row(&self, words: &Words, width: usize) -> Row {
        match self {
            Entry::Contact(place, contact) => entry(*place, contact, width),
            Entry::Command(listed) => {
                let told = (listed.told)(&words.commands);
                let name = piece(format!("  /{} ", listed.name), Tone::Accent);
                Row { pieces: vec![name, piece(told.help, Tone::Dim)], ..Row::default() }
            }
        }
    }
}

/// Likeness from which on it is a word within the name that begins so, a part of a word, scattered letters.
const WORD: usize = 200;
const PART: usize = 400;
const SCATTERED: usize = 1_000;

/// How well a name fits what is typed, less being better: it begins so, a word of it does, it has it somewhere, or it has its
/// letters in this order, with so many others between. Ideographs are not scattered: they fit as they stand or not at all.
fn likeness(typed: &str, name: &str) -> Option<usize> {
    if let Some(at) = name.find(typed) {
        let begins = name[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        return Some(match (at, begins) {
            (0, _) => name.len() - typed.len(),
            (_, true) => WORD + at,
            (_, false) => PART + at,
        });
    }
    if !typed.is_ascii() {
        return None;
    }
    let mut rest = name.chars();
    let mut between = 0;
    for wanted in typed.chars().filter(|c| !c.is_whitespace()) {
        between += rest.by_ref().position(|c| c == wanted)?;
    }
    Some(SCATTERED + between)
}

#[cfg(test)]
mod tests;
