//! A conversation as rows of a screen, and the eye's way through them. Only the rows in sight, and those passed by, are made.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::conversation::{Conversation, Place};
use super::message::{Body, Message};
use super::{Page, Screen};
use crate::delivery::Stage;
use crate::terminal::cells;
use crate::terminal::words::Words;

/// Messages above the view below which older ones are asked for: a few screens.
const AHEAD: usize = 40;

/// What a piece of text is; the theme says how that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Of lesser weight: times, day lines.
    Dim,
    /// The name of the other one.
    Theirs,
    /// Our own name.
    Mine,
    /// To be noticed: what is unread.
    Accent,
    /// Something is wrong.
    Alarm,
    /// The light half of a QR code.
    Qr,
}

/// A piece of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// One row: pieces from the left, and perhaps one at the right end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) right: Option<Piece>,
    /// Whether it belongs to the chosen message.
    pub(crate) chosen: bool,
}

fn piece(text: impl Into<String>, tone: Tone) -> Piece {
    Piece { text: text.into(), tone }
}

/// What all rows of a conversation have in common.
pub(crate) struct Paper<'a> {
    pub(crate) words: &'static Words,
    pub(crate) zone: &'a TimeZone,
    /// What the other one is called.
    pub(crate) name: &'a str,
    pub(crate) width: usize,
}

impl Paper<'_> {
    /// Columns before a text: the time, the name, and a space after each.
    fn margin(&self) -> (usize, usize) {
        let name = if self.width >= 60 { 12 } else { 6 };
        (6, name)
    }

    /// The rows of one message, with the day line and the mark of the unread that go before it.
    pub(crate) fn rows(&self, conversation: &Conversation, index: usize) -> Vec<Row> {
        let Some(message) = conversation.at(index) else { return Vec::new() };
        let mut rows = Vec::new();
        let before = index.checked_sub(1).and_then(|before| conversation.at(before));
        if before.is_none_or(|before| self.day(before.at) != self.day(message.at)) {
            rows.push(self.line(&self.day(message.at), Tone::Dim));
        }
        if conversation.unread_from.as_ref() == Some(&message.id) {
            rows.push(self.line(self.words.conversation.unread, Tone::Accent));
        }
        let follows = before.is_some_and(|before| {
            before.mine == message.mine && rows.is_empty() && self.minute(before.at) == self.minute(message.at)
        });
        self.message(conversation, message, follows, &mut rows);
        if conversation.chosen.as_ref() == Some(&message.id) {
            rows.iter_mut().for_each(|row| row.chosen = true);
        }
        rows
    }

    fn message(&self, conversation: &Conversation, message: &Message, follows: bool, rows: &mut Vec<Row>) {
        let (time, name_width) = self.margin();
        let margin = time + name_width + 1;
        let width = self.width.saturating_sub(margin + 3).max(4);
        let blank = || piece(" ".repeat(margin), Tone::Plain);
        let name = if message.mine { self.words.conversation.me } else { self.name };
        let tone = if message.mine { Tone::Mine } else { Tone::Theirs };
        let head = if follows {
            vec![blank()]
        } else {
            let name = cells::pad(&cells::truncate(name, name_width), name_width);
            vec![piece(format!("{} ", self.minute(message.at)), Tone::Dim), piece(format!("{name} "), tone)]
        };
        let mut head = Some(head);
        let mut push = |text: String, tone: Tone| {
            let mut pieces = head.take().unwrap_or_else(|| vec![blank()]);
            pieces.push(piece(text, tone));
            rows.push(Row { pieces, ..Row::default() });
        };
        if let Some(reply) = &message.reply {
            let answered = conversation.find(reply).and_then(Message::text).unwrap_or(self.words.conversation.earlier);
            let answered = answered.lines().next().unwrap_or_default();
            push(cells::truncate(&format!("> {answered}"), width).into_owned(), Tone::Dim);
        }
        let (text, tone) = match &message.body {
            Body::Text(text) => (text.as_str(), Tone::Plain),
            Body::Deleted => (self.words.conversation.deleted, Tone::Dim),
            Body::Timer(Some(_)) => (self.words.conversation.timer_on, Tone::Dim),
            Body::Timer(None) => (self.words.conversation.timer_off, Tone::Dim),
            Body::Unknown => (self.words.conversation.unknown, Tone::Dim),
        };
        for range in cells::wrap(text, width) {
            push(text[range].to_owned(), tone);
        }
        if !message.reactions.is_empty() {
            let all: Vec<_> = message.reactions.iter().map(|reaction| reaction.emoji.as_str()).collect();
            push(cells::truncate(&format!("[{}]", all.join(" ")), width).into_owned(), Tone::Dim);
        }
        if let Some(last) = rows.last_mut().filter(|_| message.mine) {
            last.right = Some(mark(message.stage));
        }
    }

    /// A line across with a text in its middle.
    fn line(&self, text: &str, tone: Tone) -> Row {
        let text = format!(" {} ", cells::truncate(text, self.width.saturating_sub(6)));
        let rest = self.width.saturating_sub(cells::width(&text));
        let (left, right) = (rest / 2, rest - rest / 2);
        let line = format!("{}{text}{}", "─".repeat(left), "─".repeat(right));
        Row { pieces: vec![piece(line, tone)], ..Row::default() }
    }

    fn day(&self, at: u64) -> String {
        self.time(at, self.words.conversation.day)
    }

    fn minute(&self, at: u64) -> String {
        self.time(at, "%H:%M")
    }

    fn time(&self, at: u64, format: &str) -> String {
        let time = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        // The clock of another may say anything.
        time.map_or_else(|| "??:??".into(), |time| time.to_zoned(self.zone.clone()).strftime(format).to_string())
    }
}

/// How far a message of ours has come.
fn mark(stage: Stage) -> Piece {
    match stage {
        Stage::Queued => piece("~", Tone::Dim),
        Stage::Sent => piece(">", Tone::Dim),
        Stage::Delivered => piece("✓", Tone::Dim),
        Stage::Read => piece("✓✓", Tone::Accent),
        Stage::Failed => piece("!", Tone::Alarm),
    }
}

impl Screen {
    /// The rows in sight, from the top; fewer than the area has where the conversation is short.
    pub(crate) fn view(&self) -> Vec<Row> {
        let area = self.geometry().conversation;
        let height = usize::from(area.height);
        let Some(conversation) = &self.conversation else { return Vec::new() };
        let Some(paper) = self.paper(conversation) else { return Vec::new() };
        let Some((last, row)) = self.last_row(conversation, &paper) else { return Vec::new() };
        let mut view = Vec::new();
        let mut index = last;
        let mut rows = paper.rows(conversation, index);
        rows.truncate(row + 1);
        loop {
            view.extend(rows.into_iter().rev());
            if view.len() >= height || index == 0 {
                break;
            }
            index -= 1;
            rows = paper.rows(conversation, index);
        }
        view.truncate(height);
        view.reverse();
        view
    }

    fn paper(&self, conversation: &Conversation) -> Option<Paper<'_>> {
        let name = self.contacts.find(&conversation.peer).map_or("", |contact| contact.name.as_str());
        let width = usize::from(self.geometry().conversation.width);
        (width > 0).then_some(Paper { words: self.words, zone: &self.zone, name, width })
    }

    /// The message, and the row of it, that the view ends with.
    fn last_row(&self, conversation: &Conversation, paper: &Paper<'_>) -> Option<(usize, usize)> {
        let newest = conversation.len().checked_sub(1)?;
        let (index, row) = match &conversation.place {
            Place::Bottom => (newest, usize::MAX),
            Place::At { message, row } => {
                conversation.index(message).map_or((newest, usize::MAX), |index| (index, *row))
            }
        };
        Some((index, row.min(paper.rows(conversation, index).len().saturating_sub(1))))
    }

    /// Moves the view by so many rows. What is not loaded is asked for ahead.
    pub(super) fn scroll(&mut self, by: usize, up: bool) {
        let height = usize::from(self.geometry().conversation.height);
        let Some(conversation) = &self.conversation else { return };
        let Some(paper) = self.paper(conversation) else { return };
        let Some(from) = self.last_row(conversation, &paper) else { return };
        let heights = |index: usize| paper.rows(conversation, index).len();
        let (index, row) = if up {
            // Not above the row at which the conversation's beginning stands at the top.
            let least = forth((0, 0), height.saturating_sub(1), conversation.len(), heights);
            back(from, by, heights).max(least)
        } else {
            forth(from, by, conversation.len(), heights)
        };
        let end = index + 1 == conversation.len() && row + 1 >= heights(index);
        let place = match conversation.at(index) {
            Some(message) if !(end && conversation.holds_newest()) => Place::At { message: message.id.clone(), row },
            _ => Place::Bottom,
        };
        let (older, newer) = (index < AHEAD, index + AHEAD > conversation.len());
        if let Some(conversation) = &mut self.conversation {
            if place == Place::Bottom {
                conversation.below = 0;
            }
            conversation.place = place;
        }
        if older && up {
            self.ask_page(Page::Older);
        }
        if newer && !up {
            self.ask_page(Page::Newer);
        }
        self.note_read();
    }
}

/// The row so many rows above, or the first.
fn back((mut index, row): (usize, usize), by: usize, heights: impl Fn(usize) -> usize) -> (usize, usize) {
    let (mut row, mut left) = (row, by);
    while left > row {
        if index == 0 {
            return (0, 0);
        }
        left -= row + 1;
        index -= 1;
        row = heights(index).saturating_sub(1);
    }
    (index, row - left)
}

/// The row so many rows below, or the last.
fn forth(
    (mut index, mut row): (usize, usize),
    by: usize,
    len: usize,
    heights: impl Fn(usize) -> usize,
) -> (usize, usize) {
    let mut left = by;
    loop {
        let rest = heights(index).saturating_sub(row + 1);
        if left <= rest {
            return (index, row + left);
        }
        if index + 1 >= len {
            return (index, row + rest);
        }
        left -= rest + 1;
        index += 1;
        row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::golden;
    use crate::terminal::screen::fixture::{Fixture, talk};

    #[test]
    fn a_conversation_is_drawn_at_every_size() {
        for size in golden::SIZES {
            let mut bob = Fixture::with_bob(size, talk(30));
            bob.type_text("I have begun");
            golden::check("conversation", &bob.screen);
        }
    }

    #[test]
    fn rows_are_counted_across_messages_in_both_directions() {
        let heights = |index: usize| [1, 3, 2][index];
        assert_eq!(back((2, 1), 1, heights), (2, 0));
        assert_eq!(back((2, 1), 2, heights), (1, 2));
        assert_eq!(back((2, 1), 5, heights), (0, 0));
        assert_eq!(back((2, 1), 50, heights), (0, 0));
        assert_eq!(forth((0, 0), 1, 3, heights), (1, 0));
        assert_eq!(forth((0, 0), 5, 3, heights), (2, 1));
        assert_eq!(forth((0, 0), 50, 3, heights), (2, 1));
    }
}
