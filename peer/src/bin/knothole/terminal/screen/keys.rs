//! What the keys do where the composer has no use for them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::acting::Doing;
use super::contacts::{Contact, Standing};
use super::known::Known;
use super::pages::Subject;
use super::{Effect, Outcome, Screen};

impl Screen {
    pub(super) fn handle_key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('l') if control => self.effects.push_back(Effect::Redraw),
            KeyCode::Char('z') if control => self.effects.push_back(Effect::Suspend),
            KeyCode::Char('c') if control => self.say(self.words.status.how_to_quit.to_owned(), false),
            _ if self.overlay.is_some() => self.handle_overlay_key(key),
            KeyCode::Char('k') if control && self.setup.is_none() => self.show_palette(),
            KeyCode::F(1) => self.show(Subject::Help { command: None }),
            KeyCode::F(2) => self.show_contacts(),
            _ if self.setup.is_some() => self.handle_setup_key(key),
            _ if self.search.is_some() => self.handle_search_key(key),
            _ if self.handle_acting_key(key) => {}
            KeyCode::Char('a') if alt => self.open_unread(),
            KeyCode::Char(digit @ '1'..='9') if alt => self.open_at(digit as usize - '1' as usize),
            KeyCode::Up if alt => self.open_beside(false),
            KeyCode::Down if alt => self.open_beside(true),
            KeyCode::Char('s') if control => self.search_on(),
            KeyCode::Char('n') if alt => self.next_hit(),
            KeyCode::Home if control => self.go_to_beginning(),
            KeyCode::Char('<') if alt => self.go_to_beginning(),
            KeyCode::End if control => self.go_to_end(),
            KeyCode::Char('>') if alt => self.go_to_end(),
            KeyCode::PageUp => self.scroll(self.page(), true),
            KeyCode::PageDown => self.scroll(self.page(), false),
            // Ctrl-P brings back what was sent, of which the composer would have the last in an empty line, too.
            KeyCode::Up if self.composer.is_empty() && self.doing == Doing::Write => self.choose(),
            _ => {
                let columns = self.geometry().composed_columns();
                self.composer.resize(columns);
                let outcome = self.composer.handle_key(key, &Known::new(&self.contacts, self.words));
                match outcome {
                    Outcome::Ignored => self.handle_rest(key),
                    outcome => self.composed(outcome),
                }
            }
        }
    }

    /// Keys that are the screen's when the composer passes them over.
    fn handle_rest(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Down => self.scroll(1, false),
            KeyCode::Esc => self.step_back(),
            KeyCode::Char('d') if key.modifiers.contains(KeyModifiers::CONTROL) => self.quit(),
            _ => {}
        }
    }

    /// Rows that a page goes: two stay in sight.
    fn page(&self) -> usize {
        usize::from(self.geometry().conversation.height.saturating_sub(2).max(1))
    }

    fn open_at(&mut self, place: usize) {
        if let Some(peer) = self.contacts.at(place).map(|contact| contact.peer.clone()) {
            self.open(&peer);
        }
    }

    /// The next conversation down the list, or up.
    fn open_beside(&mut self, down: bool) {
        let all = self.contacts.len();
        if all == 0 {
            return;
        }
        let at = self.conversation.as_ref().and_then(|open| self.contacts.place(&open.peer));
        let next = match (at, down) {
            (Some(at), true) => (at + 1) % all,
            (Some(at), false) => (at + all - 1) % all,
            (None, _) => 0,
        };
        self.open_at(next);
    }

    /// The next conversation with something unread; where there is none, who asks to be a contact.
    fn open_unread(&mut self) {
        let open = self.conversation.as_ref().map(|open| open.peer.as_str());
        let others = || self.contacts.iter().filter(|contact| Some(contact.peer.as_str()) != open);
        let unread = |contact: &&Contact| contact.unread > 0 && contact.standing != Standing::Request;
        let asks = |contact: &&Contact| contact.standing == Standing::Request;
        let first = others().find(unread).or_else(|| others().find(asks)).map(|contact| contact.peer.clone());
        match first {
            Some(peer) => self.open(&peer),
            None => self.say(self.words.status.nothing_unread.to_owned(), false),
        }
    }

    pub(super) fn quit(&mut self) {
        self.effects.push_back(Effect::Quit);
    }
}
