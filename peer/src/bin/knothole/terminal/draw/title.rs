//! The first row: who the conversation is with, whether they are there, and how they are reached.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::put;
use crate::terminal::cells;
use crate::terminal::screen::Screen;
use crate::terminal::screen::contacts::{Contact, Standing};
use crate::terminal::screen::pages::{ago, span};
use crate::terminal::theme::Theme;
use crate::terminal::words::{Words, fill};

pub(super) fn draw(screen: &Screen, theme: Theme, area: Rect, buffer: &mut Buffer) {
    buffer.set_style(area, theme.reversed());
    let open = screen.conversation.as_ref().and_then(|open| screen.contacts.find(&open.peer));
    let title = open.map_or_else(|| "Knothole".to_owned(), |contact| told(contact, screen.now, screen.words));
    let title = format!(" {title}");
    put(buffer, area, 0, 0, &cells::truncate(&title, usize::from(area.width)), theme.reversed());
}

/// `bob ✓ · direct 23 ms · texts 1d`: what matters most comes first, for where the row ends the rest is cut off.
fn told(contact: &Contact, now: u64, words: &Words) -> String {
    let (status, people) = (&words.status, &words.people);
    let name = if contact.verified { format!("{} ✓", contact.name) } else { contact.name.clone() };
    let mut told = vec![name];
    if contact.typing {
        told.push(status.typing.to_owned());
    }
    match (contact.standing, &contact.way) {
        (Standing::Request, _) => told.push(people.asks.to_owned()),
        (Standing::Blocked, _) => told.push(people.blocked.to_owned()),
        (Standing::Requested, _) if !contact.online => told.push(people.requested.to_owned()),
        _ if !contact.online => {
            told.push(status.offline.to_owned());
            told.extend(contact.last_seen.map(|then| fill(people.seen, &[&ago(then, now, people)])));
        }
        (_, None) => told.push(status.online.to_owned()),
        (_, Some(way)) => {
            let kind = if way.direct { status.direct } else { status.relay };
            told.push(way.rtt_ms.map_or_else(|| kind.to_owned(), |rtt| format!("{kind} {rtt:.0} ms")));
        }
    }
    told.extend(contact.hidden.then(|| people.sees_us_not.to_owned()));
    told.extend(contact.timer.map(|timer| fill(people.lasts_short, &[&span(timer)])));
    told.join(" · ")
}
