//! The open conversation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_right, put_row};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;
use crate::terminal::words::fill;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let rows = screen.view();
    // A short conversation stands at the bottom, where the next message comes.
    let empty = area.height.saturating_sub(u16::try_from(rows.len()).unwrap_or(u16::MAX));
    for (row, content) in (empty..area.height).zip(&rows) {
        put_row(buffer, theme, area, row, content);
    }
}

/// What the composer is for, and how much lies below.
pub(super) fn draw_caption(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let below = screen.below().map(|below| told_below(screen, below)).unwrap_or_default();
    let room = usize::from(area.width).saturating_sub(cells::width(&below));
    if let Some(caption) = screen.caption(usize::from(area.width)) {
        put(buffer, area, 0, 0, &cells::truncate(&caption, usize::from(area.width)), theme.style(Tone::Accent));
        // What can be done is worth more than where one is.
        if cells::width(&caption) >= room {
            return;
        }
    }
    put_right(buffer, area, 0, &below, theme.style(Tone::Accent).patch(theme.reversed()));
}

/// `12+ more below, 3 unread`.
fn told_below(screen: &Screen, (below, more): (usize, bool)) -> String {
    let words = &screen.words.conversation;
    let below = format!("{below}{}", if more { "+" } else { "" });
    let open = screen.conversation.as_ref().and_then(|open| screen.contacts.find(&open.peer));
    let text = match open.map_or(0, |contact| contact.unread) {
        0 => fill(words.more_below, &[&below]),
        unread => fill(words.unread_below, &[&below, &unread.to_string()]),
    };
    format!(" {text} ")
}
