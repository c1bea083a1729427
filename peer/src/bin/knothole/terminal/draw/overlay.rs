//! What stands over the conversation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::put;
use crate::terminal::screen::Screen;
use crate::terminal::screen::commands;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;

pub(super) fn draw(screen: &Screen, theme: Theme, buffer: &mut Buffer) {
    let (columns, rows) = screen.size;
    let (width, height) = (columns.min(60), rows.min(16));
    let area = Rect { x: (columns - width) / 2, y: (rows - height) / 2, width, height };
    Clear.render(area, buffer);
    Block::bordered().border_style(theme.style(Tone::Dim)).render(area, buffer);
    let inner = Rect { x: area.x + 2, y: area.y + 1, width: width.saturating_sub(4), height: height.saturating_sub(2) };
    for (row, name) in (0..inner.height).zip(commands::NAMES) {
        put(buffer, inner, 0, row, name.0, theme.style(Tone::Plain));
    }
}
