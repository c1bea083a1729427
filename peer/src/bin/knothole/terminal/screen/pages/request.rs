//! What stands in the place of a conversation with somebody who asks to be a contact, or whom we have blocked.

use super::leaf::{blank, paragraph};
use crate::terminal::composer::quoted;
use crate::terminal::screen::Screen;
use crate::terminal::screen::contacts::Standing;
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::words::{Words, fill};

impl Screen {
    /// Its rows, where the open one is no contact yet.
    pub(crate) fn request(&self) -> Option<Vec<Row>> {
        let words = &self.words.people;
        let open = self.contacts.find(&self.conversation.as_ref()?.peer)?;
        if open.standing != Standing::Request {
            return None;
        }
        let width = usize::from(self.geometry().conversation.width).max(1);
        let mut rows = paragraph(&fill(words.request, &[&open.name]), Tone::Theirs, width);
        if let Some(greeting) = &open.greeting {
            rows.extend(paragraph(&format!("{}: {greeting}", words.request_says), Tone::Plain, width));
        }
        rows.extend(paragraph(&format!("{}: {}", words.field_id, open.peer), Tone::Dim, width));
        rows.push(blank());
        rows.extend(paragraph(words.request_how, Tone::Plain, width));
        Some(rows)
    }
}

/// What is said when somebody asks: their name stands in both commands, for without one another could be meant by the time it is typed.
pub(crate) fn asks(name: &str, words: &Words) -> String {
    let typed = quoted(name);
    fill(words.status.asks, &[name, &typed, &typed])
}
