//! What is typed, and what the word before the cursor may become.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{put, put_right};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::geometry::{Geometry, PROMPT};
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;

/// Draws what is typed, with marks where there is more of it; gives the place of the cursor.
pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<(u16, u16)> {
    if area.height == 0 || area.width <= PROMPT {
        return None;
    }
    let room = area.width - PROMPT;
    let layout = screen.composer.layout(usize::from(room), usize::from(area.height));
    let prompt = if layout.more_above { "↑" } else { ">" };
    put(buffer, area, 0, 0, prompt, theme.style(Tone::Mine));
    if layout.more_below && area.height > 1 {
        put(buffer, area, 0, area.height - 1, "↓", theme.style(Tone::Mine));
    }
    for (row, text) in (0..area.height).zip(&layout.rows) {
        put(buffer, area, PROMPT, row, text, Style::new());
    }
    let (column, row) = layout.cursor;
    let column = u16::try_from(column).unwrap_or(u16::MAX).min(room - 1);
    let row = u16::try_from(row).unwrap_or(u16::MAX).min(area.height - 1);
    Some((area.x + PROMPT + column, area.y + row))
}

/// Draws the candidates of a completion above what is typed.
pub(super) fn draw_popup(screen: &Screen, theme: Theme, geometry: Geometry, buffer: &mut Buffer) {
    let Some(popup) = screen.composer.popup() else { return };
    let above = geometry.conversation;
    let height = u16::try_from(popup.rows.len()).unwrap_or(u16::MAX).min(above.height);
    let skipped = (popup.current + 1).saturating_sub(usize::from(height));
    let labels = popup.rows.iter().map(|(label, _)| cells::width(label)).max().unwrap_or_default();
    let rows: Vec<_> =
        popup.rows.iter().map(|(label, about)| format!(" {}  {about}", cells::pad(label, labels))).collect();
    // A column at the end for the marks.
    let width = rows.iter().map(|row| cells::width(row)).max().unwrap_or_default() + 2;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(above.width);
    let area = Rect { x: above.x, y: above.bottom().saturating_sub(height), width, height };
    for (y, (index, row)) in (0..height).zip(rows.iter().enumerate().skip(skipped)) {
        let style = if index == popup.current { theme.style(Tone::Accent) } else { theme.reversed() };
        let row = cells::truncate(row, usize::from(width.saturating_sub(2)));
        put(buffer, area, 0, y, &cells::pad(&row, usize::from(width)), style);
    }
    if popup.more_above || skipped > 0 {
        put_right(buffer, area, 0, "↑", theme.reversed());
    }
    if (popup.more_below || skipped + usize::from(height) < rows.len()) && height > 0 {
        put_right(buffer, area, height - 1, "↓", theme.reversed());
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyCode;

    use crate::terminal::golden::check;
    use crate::terminal::screen::exchange::Input;
    use crate::terminal::screen::fixture::Fixture;

    #[test]
    fn candidates_stand_above_what_is_typed() {
        for size in [(80, 24), (40, 10)] {
            let mut bob = Fixture::with_bob(size, Vec::new());
            bob.type_text("well :hear");
            (0..6).for_each(|_| bob.key(KeyCode::Tab));
            check("emoji", &bob.screen);
        }
    }

    #[test]
    fn a_long_text_takes_a_third_of_the_screen_and_marks_what_is_out_of_sight() {
        for size in [(80, 24), (40, 10)] {
            let mut bob = Fixture::with_bob(size, Vec::new());
            let lines: Vec<_> = (1..20).map(|line| format!("line {line}: 世界 👩\u{200D}👩\u{200D}👧|")).collect();
            bob.handle(Input::Paste(lines.join("\n")));
            (0..9).for_each(|_| bob.key(KeyCode::Up));
            bob.key(KeyCode::Enter);
            check("pasted", &bob.screen);
            assert!(bob.calls("message.send").is_empty());
            bob.key(KeyCode::Enter);
            assert_eq!(bob.calls("message.send").len(), 1);
        }
    }
}
