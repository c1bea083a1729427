//! What stands over the conversation: a page over all of the screen, or a question in its last row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::{put, put_row, setup};
use crate::terminal::cells;
use crate::terminal::screen::palette::Palette;
use crate::terminal::screen::rows::Tone;
use crate::terminal::screen::{Overlay, Screen};
use crate::terminal::theme::Theme;

/// Columns and rows of the palette where there is room around it.
const BOX: (u16, u16) = (64, 16);

/// Whether nothing beneath is seen.
pub(super) const fn is_whole(screen: &Screen) -> bool {
    matches!(screen.overlay, Some(Overlay::Page(_)))
}

pub(super) fn draw(screen: &Screen, theme: Theme, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let (width, height) = screen.size;
    let area = Rect { x: 0, y: 0, width, height };
    match &screen.overlay {
        Some(Overlay::Page(sheet)) if sheet.is_link() => {
            setup::draw(screen, theme, buffer);
        }
        Some(Overlay::Page(_)) => draw_page(screen, theme, area, buffer),
        Some(Overlay::Question(question)) => {
            put_last(buffer, area, &question.text, theme.style(Tone::Alarm));
        }
        Some(Overlay::Palette(palette)) => return draw_palette(screen, palette, theme, area, buffer),
        None => {}
    }
    None
}

/// A box in the upper part of the screen, or the whole of it where that is small; gives where typing goes.
fn draw_palette(
    screen: &Screen,
    palette: &Palette,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<(u16, u16)> {
    let (columns, rows) = screen.size;
    let boxed = columns >= BOX.0 + 8 && rows >= BOX.1 + 4;
    let inner = if boxed {
        let frame = Rect { x: (columns - BOX.0) / 2, y: 2, width: BOX.0, height: BOX.1 };
        Clear.render(frame, buffer);
        Block::bordered().border_style(theme.style(Tone::Dim)).render(frame, buffer);
        Rect { x: frame.x + 2, y: frame.y + 1, width: frame.width - 4, height: frame.height - 2 }
    } else {
        Clear.render(area, buffer);
        Rect { x: area.x + 1.min(area.width), width: area.width.saturating_sub(2), ..area }
    };
    let words = &screen.words.palette;
    let column = put(buffer, inner, 0, 0, &format!("{}: ", words.title), theme.style(Tone::Mine));
    let typed = palette.line.layout(usize::from(inner.width.saturating_sub(column)).max(1), 1);
    put(buffer, inner, column, 0, typed.rows.first().map_or("", String::as_str), Style::new());
    let list = Rect { y: inner.y + 2.min(inner.height), height: inner.height.saturating_sub(3), ..inner };
    let entries = screen.palette(usize::from(list.width), usize::from(list.height))?.rows;
    if entries.is_empty() {
        put(buffer, list, 0, 0, words.none, theme.style(Tone::Dim));
    }
    for (row, content) in (0..list.height).zip(&entries) {
        put_row(buffer, theme, list, row, content);
    }
    let keys = cells::truncate(words.keys, usize::from(inner.width));
    put(buffer, inner, 0, inner.height.saturating_sub(1), &keys, theme.style(Tone::Dim));
    let place = u16::try_from(typed.cursor.0).unwrap_or(u16::MAX).saturating_add(column);
    Some((inner.x + place.min(inner.width.saturating_sub(1)), inner.y))
}

fn draw_page(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let Some(page) = screen.sheet() else { return };
    Clear.render(area, buffer);
    buffer.set_style(Rect { height: area.height.min(1), ..area }, theme.reversed());
    let width = usize::from(area.width.saturating_sub(2));
    put(buffer, area, 1, 0, &cells::truncate(&page.title, width), theme.reversed());
    let inner = Rect {
        x: area.x + 1.min(area.width),
        y: 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2),
    };
    for (row, content) in (0..inner.height).zip(&page.rows) {
        put_row(buffer, theme, inner, row, content);
    }
    let (text, style) = match &screen.notice {
        Some(notice) => (&notice.text, theme.style(if notice.alarm { Tone::Alarm } else { Tone::Accent })),
        None => (&page.keys, Style::new().patch(theme.style(Tone::Dim))),
    };
    put_last(buffer, Rect { x: inner.x, width: inner.width, ..area }, text, style);
}

/// Puts a sentence into the last rows of an area, as many as it needs: what is asked, or what to do next, is never cut off.
fn put_last(buffer: &mut Buffer, area: Rect, text: &str, style: Style) {
    let lines = cells::wrap(text, usize::from(area.width).max(1));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    let last = Rect { y: area.y + area.height - height, height, ..area };
    Clear.render(last, buffer);
    for (row, range) in (0..height).zip(lines) {
        put(buffer, last, 0, row, text[range].trim_end(), style);
    }
}
