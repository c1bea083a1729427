//! The first steps, and the page of our link: the link, its QR code, and words with perhaps an input beside.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget as _};

use super::put;
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::Tone;
use crate::terminal::screen::setup::plan::Plan;
use crate::terminal::theme::Theme;
use crate::terminal::words::fill;

/// A paragraph, broken into rows.
type Lines = Vec<(String, Tone)>;

/// Draws it; gives where typing goes, if it goes here.
pub(super) fn draw(screen: &Screen, theme: Theme, buffer: &mut Buffer) -> Option<(u16, u16)> {
    let (width, height) = screen.size;
    Clear.render(Rect { x: 0, y: 0, width, height }, buffer);
    let guide = screen.guide();
    let plan = Plan::of(screen.size, guide.link.as_deref(), screen.link_alone);
    if let (Some(area), Some(link)) = (plan.link, &guide.link) {
        draw_link(link, area, theme, buffer);
    }
    if let Some((area, qr)) = &plan.qr {
        for (row, text) in (0..area.height).zip(qr.rows()) {
            put(buffer, *area, 0, row, &text, theme.style(Tone::Qr));
        }
    }
    let area = plan.words;
    let columns = usize::from(area.width).max(1);
    let mut head: Vec<_> = guide.head.iter().map(|(text, tone)| broken(text, *tone, columns)).collect();
    if let Some((columns_needed, rows_needed)) = plan.needs {
        let text = fill(screen.words.setup.no_qr, &[&columns_needed.to_string(), &rows_needed.to_string()]);
        head.insert(1.min(head.len()), broken(&text, Tone::Dim, columns));
    }
    // Where the code stands beside the link, a selection would take parts of it.
    let beside = plan.link.is_some_and(|link| link.x > 0);
    let alone = (beside || screen.link_alone).then(|| (screen.words.setup.alone.to_owned(), Tone::Dim));
    let tail: Lines = guide.tail.iter().chain(&alone).flat_map(|(text, tone)| broken(text, *tone, columns)).collect();
    // What is typed and what is said of it stay in sight; what explains gives way, the end of it first.
    let input = guide.label.and(screen.setup.as_ref());
    let most = usize::from(area.height).saturating_sub(tail.len() + usize::from(input.is_some()));
    let typed = input.map(|setup| setup.input.layout(columns.saturating_sub(2).max(1), most.clamp(1, 6)));
    let input_rows = typed.as_ref().map_or(0, |typed| typed.rows.len() + 1);
    let head = fitting(head, usize::from(area.height).saturating_sub(input_rows + tail.len()));
    let mut row = put_lines(buffer, theme, area, 0, &head);
    let mut cursor = None;
    if let (Some(typed), Some(label)) = (typed, guide.label) {
        put(buffer, area, 0, row, &format!("{label}:"), theme.style(Tone::Dim));
        put(buffer, area, 0, row + 1, "> ", theme.style(Tone::Mine));
        for (at, text) in (row + 1..area.height).zip(&typed.rows) {
            put(buffer, area, 2, at, text, Style::new());
        }
        let (column, line) = typed.cursor;
        let column = u16::try_from(column + 2).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
        let line = u16::try_from(line).unwrap_or(u16::MAX).saturating_add(row + 1).min(area.height.saturating_sub(1));
        cursor = Some((area.x + column, area.y + line));
        row = row.saturating_add(u16::try_from(input_rows).unwrap_or(u16::MAX));
    }
    put_lines(buffer, theme, area, row, &tail);
    cursor
}

/// Every row of it full, so that no space gets into what is selected.
fn draw_link(link: &str, area: Rect, theme: Theme, buffer: &mut Buffer) {
    let mut rest = link;
    for row in 0..area.height {
        let end = rest.char_indices().nth(usize::from(area.width)).map_or(rest.len(), |(at, _)| at);
        put(buffer, area, 0, row, &rest[..end], theme.style(Tone::Accent));
        rest = &rest[end..];
    }
}

/// As many whole paragraphs as so many rows hold, with blank rows behind them where all have room with those.
fn fitting(paragraphs: Vec<Lines>, rows: usize) -> Lines {
    let spaced = paragraphs.iter().map(|lines| lines.len() + 1).sum::<usize>() <= rows;
    let mut all = Lines::new();
    for lines in paragraphs {
        if all.len() + lines.len() > rows {
            break;
        }
        all.extend(lines);
        if spaced {
            all.push((String::new(), Tone::Plain));
        }
    }
    all
}

fn broken(text: &str, tone: Tone, columns: usize) -> Lines {
    cells::wrap(text, columns).into_iter().map(|range| (text[range].trim_end().to_owned(), tone)).collect()
}

fn put_lines(buffer: &mut Buffer, theme: Theme, area: Rect, from: u16, lines: &Lines) -> u16 {
    let mut row = from;
    for (text, tone) in lines {
        put(buffer, area, 0, row, text, theme.style(*tone));
        row = row.saturating_add(1);
    }
    row
}
