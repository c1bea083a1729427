//! The list of what was found in a conversation, and the line in which the search is typed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::{put, put_row};
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::screen::search::Search;
use crate::terminal::theme::Theme;

/// Draws it over the conversation; gives the place of the cursor.
pub(super) fn draw(screen: &Screen, search: &Search, theme: Theme, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let geometry = screen.geometry();
    let under = geometry.conversation.union(geometry.title);
    let area = Rect { height: buffer.area.height.saturating_sub(under.y + 1), ..under }.intersection(buffer.area);
    if area.width < 8 || area.height < 5 {
        return None;
    }
    let words = &screen.words.conversation;
    Clear.render(area, buffer);
    Block::bordered().border_style(theme.style(Tone::Dim)).render(area, buffer);
    let title = Rect { x: area.x + 2, width: area.width - 4, height: 1, ..area };
    put(buffer, title, 0, 0, &format!(" {} ", words.search), theme.style(Tone::Accent));
    let inner = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 };
    let cursor = draw_line(search, theme, inner, buffer);
    let list = Rect { y: inner.y + 1, height: inner.height - 2, ..inner };
    draw_hits(screen, search, theme, list, buffer);
    put(buffer, inner, 0, inner.height - 1, words.search_keys, theme.style(Tone::Dim));
    Some(cursor)
}

fn draw_line(search: &Search, theme: Theme, area: Rect, buffer: &mut Buffer) -> (u16, u16) {
    let column = put(buffer, area, 0, 0, "> ", theme.style(Tone::Mine));
    let room = area.width - column;
    let layout = search.line.layout(usize::from(room), 1);
    if let Some(text) = layout.rows.first() {
        put(buffer, area, column, 0, text, theme.style(Tone::Plain));
    }
    let at = u16::try_from(layout.cursor.0).unwrap_or(u16::MAX).min(room - 1);
    (area.x + column + at, area.y)
}

fn draw_hits(screen: &Screen, search: &Search, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let words = &screen.words.conversation;
    let found = &search.found;
    if found.hits.is_empty() {
        let told = match (found.is_searching(), found.wanted().is_empty()) {
            (_, true) => return,
            (true, false) => words.searching,
            (false, false) => words.nothing_found,
        };
        put(buffer, area, 0, 0, told, theme.style(Tone::Dim));
        return;
    }
    // The chosen one stays in sight.
    let first = found.at.saturating_sub(usize::from(area.height).saturating_sub(1));
    let text = Rect { x: area.x + 2, width: area.width.saturating_sub(2), ..area };
    for (row, (index, hit)) in (0..area.height).zip(found.hits.iter().enumerate().skip(first)) {
        let pieces = screen.hit_row(found, hit, usize::from(text.width));
        put_row(buffer, theme, text, row, &Row { pieces, right: None, chosen: false });
        if index == found.at {
            put(buffer, area, 0, row, ">", theme.style(Tone::Accent));
        }
    }
}
