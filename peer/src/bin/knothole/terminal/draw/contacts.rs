//! The list of contacts beside the conversation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_row};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::listing::entry;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    for row in 0..area.height {
        put(buffer, Rect { width: area.width + 1, ..area }, area.width, row, "│", theme.style(Tone::Dim));
    }
    let width = usize::from(area.width);
    if screen.contacts.len() == 0 {
        let text = screen.words.status.no_contacts;
        for (row, range) in (0..area.height).zip(cells::wrap(text, width)) {
            put(buffer, area, 0, row, text[range].trim_end(), theme.style(Tone::Dim));
        }
    }
    let open = screen.conversation.as_ref().map(|open| open.peer.as_str());
    let at = open.and_then(|peer| screen.contacts.place(peer)).unwrap_or(0);
    // The open one stays in sight.
    let first = at.saturating_sub(usize::from(area.height.saturating_sub(1)));
    for (row, (place, contact)) in (0..area.height).zip(screen.contacts.iter().enumerate().skip(first)) {
        let mut content = entry(place, contact, width);
        content.chosen = Some(contact.peer.as_str()) == open;
        put_row(buffer, theme, area, row, &content);
    }
}
