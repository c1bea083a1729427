//! The list of contacts as a page, where there is no room for it beside the conversation.

use super::leaf::paragraph;
use crate::terminal::screen::Screen;
use crate::terminal::screen::listing::entry;
use crate::terminal::screen::rows::{Row, Tone};

pub(super) fn rows(screen: &Screen, chosen: usize, width: usize) -> Vec<Row> {
    if screen.contacts.len() == 0 {
        return paragraph(screen.words.status.no_contacts, Tone::Dim, width);
    }
    let entry = |(place, contact)| {
        let mut row = entry(place, contact, width);
        row.chosen = place == chosen;
        row
    };
    screen.contacts.iter().enumerate().map(entry).collect()
}
