//! What stands over the conversation and takes the keys: pages, the palette, a question. A page is made anew of what is known
//! whenever it is drawn, so that it is never older than the rest of the screen.

mod code;
mod contacts;
mod help;
mod leaf;
mod netcheck;
mod request;
mod verify;
pub(crate) mod whois;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::palette::Palette;
use super::rows::Row;
use super::{Command, Effect, Screen};
use crate::session::{entries, word};
use crate::terminal::words::fill;
pub(crate) use code::Made;
pub(crate) use leaf::{ago, span};
pub(crate) use request::asks;

/// What stands over the conversation, and takes the keys.
#[derive(Debug)]
pub(crate) enum Overlay {
    Page(Sheet),
    Palette(Box<Palette>),
    Question(Question),
}

/// Something that is not done before it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) text: String,
    /// What to do if the answer is yes.
    pub(crate) command: Command,
}

/// A page over the whole screen.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) subject: Subject,
    /// Rows above the first that is in sight.
    scroll: usize,
    /// The entry that Enter opens, on a page of entries.
    chosen: usize,
}

impl Sheet {
    /// Whether it is that of our link, which is drawn otherwise.
    pub(crate) const fn is_link(&self) -> bool {
        matches!(self.subject, Subject::Link)
    }
}

/// What a page is about.
#[derive(Debug)]
pub(crate) enum Subject {
    /// All keys and commands, or one command.
    Help {
        command: Option<&'static str>,
    },
    Contacts,
    /// Our link and its QR code.
    Link,
    /// A one-time code, once it is made.
    Code {
        made: Option<Made>,
        /// How whoever types it will be called.
        name: Option<String>,
    },
    /// What is compared with this peer, once it is known: the words, and what the QR code says.
    Verify {
        peer: String,
        told: Option<(Vec<String>, String)>,
    },
    Whois {
        peer: String,
    },
    /// What was found, and when it was asked for.
    Netcheck {
        found: Option<Value>,
        since: u64,
    },
}

impl Subject {
    /// Whether the page shows what this command brings.
    fn is_of(&self, command: &Command) -> bool {
        match (self, command) {
            (Self::Code { .. }, Command::Code { .. }) | (Self::Netcheck { .. }, Command::Netcheck) => true,
            (Self::Verify { peer, .. }, Command::Verify { name: Some(of), same: false }) => peer == of,
            _ => false,
        }
    }
}

/// A page as it is drawn.
pub(crate) struct Drawn {
    pub(crate) title: String,
    /// Those in sight.
    pub(crate) rows: Vec<Row>,
    /// What the keys do.
    pub(crate) keys: String,
}

impl Screen {
    /// Puts a page over the conversation.
    pub(crate) fn show(&mut self, subject: Subject) {
        self.overlay = Some(Overlay::Page(Sheet { subject, scroll: 0, chosen: 0 }));
    }

    /// The list of contacts as a page, at the open one.
    pub(crate) fn show_contacts(&mut self) {
        let open = self.conversation.as_ref().and_then(|open| self.contacts.place(&open.peer));
        let sheet = Sheet { subject: Subject::Contacts, scroll: 0, chosen: open.unwrap_or(0) };
        self.overlay = Some(Overlay::Page(sheet));
    }

    /// The page in sight, as it is drawn on this screen.
    pub(crate) fn sheet(&self) -> Option<Drawn> {
        let Some(Overlay::Page(sheet)) = &self.overlay else { return None };
        let mut rows = self.sheet_rows(sheet);
        let height = self.sheet_height();
        let first = first(sheet, rows.len(), height);
        rows.drain(..first);
        rows.truncate(height);
        let people = &self.words.people;
        let (title, keys) = match &sheet.subject {
            Subject::Help { .. } => (self.words.help.title.to_owned(), people.page_keys),
            Subject::Contacts => (people.contacts.to_owned(), people.contacts_keys),
            Subject::Link => (self.words.setup.your_link.to_owned(), people.code_keys),
            Subject::Code { .. } => (people.code.to_owned(), people.code_keys),
            Subject::Verify { peer, .. } => (fill(people.verify, &[self.name_of(peer)]), people.page_keys),
            Subject::Whois { peer } => (fill(people.whois, &[self.name_of(peer)]), people.page_keys),
            Subject::Netcheck { .. } => (self.words.netcheck.title.to_owned(), self.words.netcheck.keys),
        };
        Some(Drawn { title, rows, keys: keys.to_owned() })
    }

    /// Rows between the title and the last row.
    fn sheet_height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(2))
    }

    fn sheet_rows(&self, sheet: &Sheet) -> Vec<Row> {
        let (width, height) = (usize::from(self.size.0).saturating_sub(2).max(1), self.sheet_height());
        match &sheet.subject {
            Subject::Help { command } => help::rows(self.words, *command, width),
            Subject::Contacts => contacts::rows(self, sheet.chosen, width),
            Subject::Link => Vec::new(),
            Subject::Code { made, .. } => code::rows(self, made.as_ref(), width),
            Subject::Verify { peer, told } => verify::rows(self, peer, told.as_ref(), width, height),
            Subject::Whois { peer } => whois::rows(self, peer, width),
            Subject::Netcheck { found, since } => {
                netcheck::rows(self.words, found.as_ref(), self.now.saturating_sub(*since), width)
            }
        }
    }

    /// The code on the page is good for nothing any more.
    pub(super) fn close_code(&mut self) {
        if matches!(&self.overlay, Some(Overlay::Page(Sheet { subject: Subject::Code { .. }, .. }))) {
            self.overlay = None;
        }
    }

    /// Somebody typed our code. Who waits for that at its page, or has nobody else yet, goes on to them.
    pub(super) fn code_was_used(&mut self, peer: &str, name: &str) {
        let waited = matches!(&self.overlay, Some(Overlay::Page(Sheet { subject: Subject::Code { .. }, .. })));
        self.close_code();
        let here = self.whereabouts();
        if waited || self.setup.is_some() || here.open.is_none() {
            self.meet(peer, name, &here);
        } else {
            self.say(fill(self.words.people.added, &[name]), false);
        }
    }

    /// The page that waited for this command is for nothing; another one stays.
    pub(super) fn close_page(&mut self, command: &Command) {
        self.overlay.take_if(|overlay| matches!(overlay, Overlay::Page(sheet) if sheet.subject.is_of(command)));
    }

    /// What a page waited for has come.
    pub(super) fn fill_page(&mut self, command: &Command, answer: &Value) {
        let Some(Overlay::Page(sheet)) = &mut self.overlay else { return };
        if !sheet.subject.is_of(command) {
            return;
        }
        match &mut sheet.subject {
            Subject::Code { made, .. } => *made = Some(Made::read(answer)),
            Subject::Verify { told, .. } => {
                let words = entries(&answer["words"]).iter().filter_map(|word| word.as_str().map(str::to_owned));
                *told = Some((words.collect(), word(answer, "qr").to_owned()));
            }
            Subject::Netcheck { found, .. } => *found = Some(answer.clone()),
            _ => {}
        }
    }

    /// When something on the page in sight is to be drawn anew, though nothing happened.
    pub(super) fn page_due(&self) -> Option<u64> {
        let Some(Overlay::Page(sheet)) = &self.overlay else { return None };
        match &sheet.subject {
            Subject::Code { made: Some(made), .. } => made.due(self.now),
            Subject::Netcheck { found: None, since } => {
                Some(self.now + netcheck::BEAT - self.now.saturating_sub(*since) % netcheck::BEAT)
            }
            _ => None,
        }
    }

    pub(super) fn handle_overlay_key(&mut self, key: KeyEvent) {
        match &self.overlay {
            Some(Overlay::Question(question)) => {
                let command = question.command.clone();
                self.overlay = None;
                if matches!(key.code, KeyCode::Char('y' | 'Y')) && is_plain(key) {
                    if let Err(why) = self.carry_out(command, "") {
                        self.say(why, true);
                    }
                } else {
                    self.say(self.words.people.not_done.to_owned(), false);
                }
            }
            Some(Overlay::Page(_)) => self.handle_page_key(key),
            Some(Overlay::Palette(_)) => self.handle_palette_key(key),
            None => {}
        }
    }

    fn handle_page_key(&mut self, key: KeyEvent) {
        if !is_plain(key) {
            return;
        }
        let height = self.sheet_height();
        let Some(Overlay::Page(sheet)) = &self.overlay else { return };
        let most = self.sheet_rows(sheet).len().saturating_sub(height);
        let entries = self.contacts.len();
        let Some(Overlay::Page(sheet)) = &mut self.overlay else { return };
        let by = match key.code {
            KeyCode::Esc | KeyCode::F(1 | 2) | KeyCode::Char('q') => {
                self.overlay = None;
                return;
            }
            KeyCode::Up => -1,
            KeyCode::Down => 1,
            KeyCode::PageUp => -(height.max(1) as isize),
            KeyCode::PageDown | KeyCode::Char(' ') => height.max(1) as isize,
            KeyCode::Home => isize::MIN / 2,
            KeyCode::End => isize::MAX / 2,
            code => return self.handle_subject_key(code),
        };
        if matches!(sheet.subject, Subject::Contacts) {
            sheet.chosen = sheet.chosen.saturating_add_signed(by).min(entries.saturating_sub(1));
        } else {
            sheet.scroll = sheet.scroll.min(most).saturating_add_signed(by).min(most);
        }
    }

    /// Keys that only this page has.
    fn handle_subject_key(&mut self, code: KeyCode) {
        let Some(Overlay::Page(sheet)) = &self.overlay else { return };
        match (&sheet.subject, code) {
            (Subject::Contacts, KeyCode::Enter) => {
                let chosen = self.contacts.at(sheet.chosen).map(|contact| contact.peer.clone());
                self.overlay = None;
                if let Some(peer) = chosen {
                    self.open(&peer);
                }
            }
            (Subject::Code { made: Some(made), .. }, KeyCode::Char('c')) => {
                let code = made.code.clone();
                self.effects.push_back(Effect::Copy(code));
                self.say(self.words.people.copied.to_owned(), false);
            }
            (Subject::Code { made: Some(made), name }, KeyCode::Char('r')) if made.is_over(self.now) => {
                let name = name.clone();
                self.give(Command::Code { name });
            }
            (Subject::Link, KeyCode::Char('l')) => self.link_alone = !self.link_alone,
            (Subject::Link, KeyCode::Char('c')) => self.give(Command::Copy { link: true }),
            (Subject::Verify { peer, told: Some(_) }, KeyCode::Char('y')) => {
                let command = Command::Verify { name: Some(peer.clone()), same: true };
                self.overlay = None;
                self.give(command);
            }
            (Subject::Netcheck { found: Some(_), .. }, KeyCode::Char('r')) => self.give(Command::Netcheck),
            (_, KeyCode::Enter) => self.overlay = None,
            _ => {}
        }
    }

    /// Gives a command by a key.
    pub(super) fn give(&mut self, command: Command) {
        if let Err(why) = self.carry_out(command, "") {
            self.say(why, true);
        }
    }
}

/// Whether a key is pressed alone, or makes a capital.
fn is_plain(key: KeyEvent) -> bool {
    key.modifiers.difference(KeyModifiers::SHIFT).is_empty()
}

/// The first row in sight. On a page of entries the chosen one stays in sight.
fn first(sheet: &Sheet, rows: usize, height: usize) -> usize {
    let most = rows.saturating_sub(height);
    let wanted = match sheet.subject {
        Subject::Contacts => sheet.chosen.saturating_sub(height.saturating_sub(1)),
        _ => sheet.scroll,
    };
    wanted.min(most)
}

#[cfg(test)]
mod tests;
