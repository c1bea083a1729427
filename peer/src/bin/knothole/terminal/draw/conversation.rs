//! The open conversation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_right};
use crate::terminal::screen::Screen;
use crate::terminal::screen::conversation::Place;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;
use crate::terminal::words::fill;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    for (row, content) in (0..area.height).zip(screen.view()) {
        let mut column = 0;
        for piece in &content.pieces {
            column = put(buffer, area, column, row, &piece.text, theme.style(piece.tone));
        }
        if let Some(right) = &content.right {
            put_right(buffer, area, row, &right.text, theme.style(right.tone));
        }
        if content.chosen {
            buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, theme.reversed());
        }
    }
    let Some(open) = &screen.conversation else { return };
    if open.place != Place::Bottom && area.height > 0 {
        let text = format!(" {} ", fill(screen.words.conversation.more_below, &[&open.below.to_string()]));
        put_right(buffer, area, area.height - 1, &text, theme.style(Tone::Accent).patch(theme.reversed()));
    }
}
