//! The last row: how we stand with the rendezvous, what is unread, or something said besides.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{put, put_right};
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::Tone;
use crate::terminal::theme::Theme;
use crate::terminal::words::fill;

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let words = &screen.words.status;
    if let Some(notice) = &screen.notice {
        let tone = if notice.alarm { Tone::Alarm } else { Tone::Accent };
        let rows = cells::wrap(&notice.text, usize::from(area.width).max(1));
        for (row, range) in (0..area.height).zip(rows) {
            put(buffer, area, 0, row, notice.text[range].trim_end(), theme.style(tone));
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::terminal::golden::picture;
    use crate::terminal::screen::fixture::{Fixture, contact, talk};
    use crate::terminal::theme::Theme;
    use crate::terminal::words::{CHINESE, ENGLISH};

    #[test]
    fn what_is_said_is_not_cut_in_the_smallest_terminal() {
        for (words, parts) in [
            (&ENGLISH, ["/quti: no such command; did you mean", "/quit? // sends a slash"]),
            (&CHINESE, ["/quti：没有这个命令；是不是 /quit？// 发", "送斜杠"]),
        ] {
            let talked = BTreeMap::from([("id-bob".to_owned(), talk(20))]);
            let mut fixture = Fixture::new((40, 10), vec![contact("bob")], talked);
            fixture.screen.words = words;
            fixture.type_text("/quti");
            fixture.key(crossterm::event::KeyCode::Enter);
            let picture = picture(&fixture.screen, Theme::Plain);
            for part in parts {
                assert!(picture.contains(part), "{part:?} in\n{picture}");
            }
        }
    }
}
