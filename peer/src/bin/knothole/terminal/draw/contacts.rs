//! The list of contacts: number, presence, name, what is unread.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{put, put_right};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    for row in 0..area.height {
        put(buffer, Rect { width: area.width + 1, ..area }, area.width, row, "│", theme.style(Tone::Dim));
    }
    if screen.contacts.len() == 0 {
        put(buffer, area, 0, 0, screen.words.status.no_contacts, theme.style(Tone::Dim));
    }
    let open = screen.conversation.as_ref().map(|open| open.peer.as_str());
    let at = open.and_then(|peer| screen.contacts.place(peer)).unwrap_or(0);
    // The open one stays in sight.
    let first = at.saturating_sub(usize::from(area.height.saturating_sub(1)));
    for (row, (place, contact)) in (0..area.height).zip(screen.contacts.iter().enumerate().skip(first)) {
        let style = if Some(contact.peer.as_str()) == open { theme.reversed() } else { Style::new() };
        buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, style);
        let number = if place < 9 { format!("{} ", place + 1) } else { "  ".to_owned() };
        let column = put(buffer, area, 0, row, &number, style.patch(theme.style(Tone::Dim)));
        let (sign, tone) = sign(contact);
        let column = put(buffer, area, column, row, sign, style.patch(theme.style(tone)));
        let unread = if contact.unread > 0 { format!(" {}", contact.unread) } else { String::new() };
        let room = usize::from(area.width.saturating_sub(column)).saturating_sub(unread.len());
        put(buffer, area, column, row, &cells::truncate(&contact.name, room), style);
        put_right(buffer, area, row, &unread, style.patch(theme.style(Tone::Accent)));
    }
}

/// How somebody is there, in two columns.
fn sign(contact: &Contact) -> (&'static str, Tone) {
    match contact.standing {
        Standing::Request => ("? ", Tone::Accent),
        Standing::Blocked => ("x ", Tone::Dim),
        _ if contact.typing => ("* ", Tone::Accent),
        _ if !contact.online => ("- ", Tone::Dim),
        _ if contact.way.as_ref().is_some_and(|way| way.direct) => ("= ", Tone::Mine),
        _ => ("+ ", Tone::Mine),
    }
}
