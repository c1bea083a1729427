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
    if let Some((below, more)) = screen.below().filter(|_| area.height > 0) {
        let words = &screen.words.conversation;
        let below = format!("{below}{}", if more { "+" } else { "" });
        let open = screen.conversation.as_ref().and_then(|open| screen.contacts.find(&open.peer));
        let text = match open.map_or(0, |contact| contact.unread) {
            0 => fill(words.more_below, &[&below]),
            unread => fill(words.unread_below, &[&below, &unread.to_string()]),
        };
        let style = theme.style(Tone::Accent).patch(theme.reversed());
        put_right(buffer, area, area.height - 1, &format!(" {text} "), style);
    }
}

/// What the composer is for.
pub(super) fn draw_caption(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if area.height > 0
        && let Some(caption) = screen.caption()
    {
        put(buffer, area, 0, 0, &cells::truncate(&caption, usize::from(area.width)), theme.style(Tone::Accent));
    }
}
