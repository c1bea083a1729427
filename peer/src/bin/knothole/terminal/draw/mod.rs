//! The screen's picture. It decides nothing: what is shown, and where, the screen's machine says.

mod composer;
mod contacts;
mod conversation;
mod joined;
mod overlay;
mod search;
mod setup;
mod status;
mod title;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::cells;
use super::screen::Screen;
use super::screen::rows::Row;
use super::theme::Theme;

/// Draws all of it, and puts the cursor where typing goes.
pub(crate) fn draw(screen: &Screen, theme: Theme, frame: &mut Frame<'_>) {
    let geometry = screen.geometry();
    let buffer = frame.buffer_mut();
    if screen.setup.is_some() && !overlay::is_whole(screen) {
        let mut cursor = setup::draw(screen, theme, buffer);
        if screen.overlay.is_some() {
            cursor = overlay::draw(screen, theme, buffer);
        }
        joined::settle(buffer);
        if let Some(cursor) = cursor {
            frame.set_cursor_position(cursor);
        }
        return;
    }
    if let Some(area) = geometry.contacts {
        contacts::draw(screen, theme, area, buffer);
    }
    title::draw(screen, theme, geometry.title, buffer);
    match screen.request() {
        Some(rows) => {
            for (row, content) in (0..geometry.conversation.height).zip(&rows) {
                put_row(buffer, theme, geometry.conversation, row, content);
            }
        }
        None => conversation::draw(screen, theme, geometry.conversation, buffer),
    }
    conversation::draw_caption(screen, theme, geometry.caption, buffer);
    status::draw(screen, theme, geometry.status, buffer);
    let mut cursor = composer::draw(screen, theme, geometry.composer, buffer);
    composer::draw_popup(screen, theme, geometry, buffer);
    if screen.overlay.is_some() {
        cursor = overlay::draw(screen, theme, buffer);
    } else if let Some(search) = &screen.search {
        cursor = search::draw(screen, search, theme, buffer);
    }
    joined::settle(buffer);
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// Puts a text into an area, cut at its right end; gives the column behind it.
fn put(buffer: &mut Buffer, area: Rect, column: u16, row: u16, text: &str, style: Style) -> u16 {
    if column >= area.width || row >= area.height {
        return column;
    }
    let room = usize::from(area.width - column);
    let (end, _) = buffer.set_stringn(area.x + column, area.y + row, cells::shown(text), room, style);
    end - area.x
}

/// Puts a row of pieces.
fn put_row(buffer: &mut Buffer, theme: Theme, area: Rect, row: u16, content: &Row) {
    let mut column = 0;
    for piece in &content.pieces {
        column = put(buffer, area, column, row, &piece.text, theme.style(piece.tone));
    }
    if let Some(right) = &content.right {
        put_right(buffer, area, row, &right.text, theme.style(right.tone));
    }
    if content.chosen && row < area.height {
        buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, theme.reversed());
    }
}

/// Puts a text at the right end of a row.
fn put_right(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    let width = u16::try_from(cells::width(text)).unwrap_or(u16::MAX);
    if width <= area.width {
        put(buffer, area, area.width - width, row, text, style);
    }
}
