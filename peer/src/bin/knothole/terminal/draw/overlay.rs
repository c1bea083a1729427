//! What stands over the conversation: a page over all of the screen, or a question in its last row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget as _};

use super::{put, put_row, setup};
use crate::terminal::cells;
use crate::terminal::screen::rows::Tone;
use crate::terminal::screen::{Overlay, Screen};
use crate::terminal::theme::Theme;

/// Whether nothing beneath is seen.
pub(super) const fn is_whole(screen: &Screen) -> bool {
    matches!(screen.overlay, Some(Overlay::Page(_)))
}

pub(super) fn draw(screen: &Screen, theme: Theme, buffer: &mut Buffer) {
    let (width, height) = screen.size;
    let area = Rect { x: 0, y: 0, width, height };
    match &screen.overlay {
        Some(Overlay::Page(sheet)) if sheet.is_link() => {
            setup::draw(screen, theme, buffer);
        }
        Some(Overlay::Page(_)) => draw_page(screen, theme, area, buffer),
        Some(Overlay::Question(question)) => {
            let last = Rect { y: height.saturating_sub(1), height: height.min(1), ..area };
            Clear.render(last, buffer);
            put(buffer, last, 0, 0, &cells::truncate(&question.text, usize::from(width)), theme.style(Tone::Alarm));
        }
        None => {}
    }
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
    let last = area.height.saturating_sub(1);
    let (text, style) = match &screen.notice {
        Some(notice) => (&notice.text, theme.style(if notice.alarm { Tone::Alarm } else { Tone::Accent })),
        None => (&page.keys, Style::new().patch(theme.style(Tone::Dim))),
    };
    put(buffer, area, 1, last, &cells::truncate(text, width), style);
}
