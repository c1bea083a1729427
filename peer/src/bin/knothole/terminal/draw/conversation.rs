//! The open conversation and its title.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_right};
use crate::terminal::screen::Screen;
use crate::terminal::screen::contacts::Contact;
use crate::terminal::screen::conversation::Place;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;
use crate::terminal::words::{Words, fill};

pub(super) fn draw_title(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    buffer.set_style(area, theme.reversed());
    let open = screen.conversation.as_ref().and_then(|open| screen.contacts.find(&open.peer));
    let title = open.map_or_else(|| " Knothole".to_owned(), |contact| format!(" {}", told(contact, screen.words)));
    put(buffer, area, 0, 0, &title, theme.reversed());
}

/// `bob, direct 23 ms`.
fn told(contact: &Contact, words: &Words) -> String {
    let words = &words.status;
    let mut told = vec![contact.name.clone()];
    match &contact.way {
        _ if !contact.online => told.push(words.offline.to_owned()),
        None => told.push(words.online.to_owned()),
        Some(way) => {
            let kind = if way.direct { words.direct } else { words.relay };
            told.push(way.rtt_ms.map_or_else(|| kind.to_owned(), |rtt| format!("{kind} {rtt:.0} ms")));
        }
    }
    if contact.typing {
        told.push(words.typing.to_owned());
    }
    told.join(", ")
}

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
