//! The screen's picture. It decides nothing: what is shown, and where, the screen's machine says.

mod contacts;
mod conversation;
mod overlay;
mod status;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::cells;
use super::screen::Screen;
use super::screen::rows::Tone;
use super::theme::Theme;

/// Draws all of it, and puts the cursor where typing goes.
pub(crate) fn draw(screen: &Screen, theme: Theme, frame: &mut Frame<'_>) {
    let geometry = screen.geometry();
    let buffer = frame.buffer_mut();
    if let Some(area) = geometry.contacts {
        contacts::draw(screen, theme, area, buffer);
    }
    conversation::draw_title(screen, theme, geometry.title, buffer);
    conversation::draw(screen, theme, geometry.conversation, buffer);
    status::draw(screen, theme, geometry.status, buffer);
    let cursor = draw_composer(screen, theme, geometry.composer, buffer);
    if screen.overlay.is_some() {
        overlay::draw(screen, theme, buffer);
    } else if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

fn draw_composer(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    if area.height == 0 || area.width < 3 {
        return None;
    }
    let layout = screen.composer.layout(usize::from(area.width - 2), usize::from(area.height));
    put(buffer, area, 0, 0, "> ", theme.style(Tone::Mine));
    for (row, text) in (0..area.height).zip(&layout.rows) {
        put(buffer, area, 2, row, text, Style::new());
    }
    let (column, row) = layout.cursor;
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(area.width - 3);
    let row = u16::try_from(row).unwrap_or(u16::MAX).min(area.height - 1);
    Some((area.x + 2 + column, area.y + row))
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

/// Puts a text at the right end of a row.
fn put_right(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    let width = u16::try_from(cells::width(text)).unwrap_or(u16::MAX);
    if width <= area.width {
        put(buffer, area, area.width - width, row, text, style);
    }
}
