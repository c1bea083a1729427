//! Somebody as a row of the list: number, sign, name, what is unread. A room will be another kind of row here.

use super::Screen;
use super::contacts::{Contact, Standing};
use super::rows::{Piece, Row, Tone};
use crate::terminal::cells;

/// The row of the contact at this place of the list.
pub(crate) fn entry(place: usize, contact: &Contact, width: usize) -> Row {
    let number = if place < 9 { format!("{} ", place + 1) } else { "  ".to_owned() };
    let (sign, tone) = sign(contact);
    let unread = if contact.unread > 0 { format!(" {}", contact.unread) } else { String::new() };
    let marks = [(contact.verified, " ✓"), (contact.draft.is_some(), " ✎")];
    let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
    let taken = number.len() + sign.len() + cells::width(&marks) + unread.len();
    let name = cells::truncate(&contact.name, width.saturating_sub(taken)).into_owned();
    let weight = if contact.unread > 0 { Tone::Theirs } else { Tone::Plain };
    let piece = |text: String, tone| Piece { text, tone };
    Row {
        pieces: vec![
            piece(number, Tone::Dim),
            piece(sign.to_owned(), tone),
            piece(name, weight),
            piece(marks, Tone::Dim),
        ],
        right: (!unread.is_empty()).then(|| piece(unread, Tone::Accent)),
        ..Row::default()
    }
}

impl Screen {
    /// When it is said otherwise how long ago the open one was there.
    pub(super) fn title_due(&self) -> Option<u64> {
        const MINUTE: u64 = 60_000;
        let open = self.contacts.find(&self.conversation.as_ref()?.peer)?;
        let then = open.last_seen.filter(|_| !open.online)?;
        Some(then + (self.now.saturating_sub(then) / MINUTE + 1) * MINUTE)
    }
}

/// How somebody stands with us and is there, in two columns, to be told apart without colour.
fn sign(contact: &Contact) -> (&'static str, Tone) {
    match (contact.standing, &contact.way) {
        (Standing::Request, _) => ("? ", Tone::Accent),
        (Standing::Blocked, _) => ("x ", Tone::Dim),
        _ if contact.typing => ("* ", Tone::Accent),
        (Standing::Requested, _) if !contact.online => ("> ", Tone::Dim),
        _ if !contact.online => ("- ", Tone::Dim),
        (_, Some(way)) if way.direct => ("= ", Tone::Mine),
        (_, Some(_)) => ("+ ", Tone::Mine),
        (_, None) => ("o ", Tone::Mine),
    }
}
