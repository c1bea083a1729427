//! The last row: how we stand with the rendezvous, what is unread, or something said besides.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_right};
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;
use crate::terminal::words::fill;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let words = &screen.words.status;
    if let Some(notice) = &screen.notice {
        let tone = if notice.alarm { Tone::Alarm } else { Tone::Accent };
        put(buffer, area, 0, 0, &notice.text, theme.style(tone));
        return;
    }
    let mut told = vec![
        match screen.rendezvous.first().map(|first| first.state.as_str()) {
            None => words.no_rendezvous,
            Some("registered") => words.registered,
            Some("unreachable") => words.unreachable,
            Some(_) => words.connecting,
        }
        .to_owned(),
    ];
    let unread: u64 = screen.contacts.iter().map(|contact| contact.unread).sum();
    if unread > 0 {
        told.push(fill(words.unread, &[&unread.to_string()]));
    }
    if screen.invisible {
        told.push(words.invisible.to_owned());
    }
    put(buffer, area, 0, 0, &told.join(" · "), theme.style(Tone::Dim));
    put_right(buffer, area, 0, words.help, theme.style(Tone::Dim));
}
