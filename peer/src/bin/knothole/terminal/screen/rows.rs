//! A conversation as rows of a screen: each message a block of them. Only the rows in sight are made; others are counted.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::conversation::Conversation;
use super::message::{Body, Message};
use super::search::occurrences;
use crate::delivery::Stage;
use crate::terminal::cells;
use crate::terminal::words::{Words, conversation, fill};

/// Columns from which on names have all the room they may want.
const WIDE: usize = 48;

/// Columns below which there is no room for times.
const NARROW: usize = 24;

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
    /// What was searched.
    Hit,
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

pub(super) fn piece(text: impl Into<String>, tone: Tone) -> Piece {
    Piece { text: text.into(), tone }
}

/// What all rows of a conversation have in common.
pub(crate) struct Paper<'a> {
    pub(crate) words: &'static Words,
    pub(crate) zone: &'a TimeZone,
    /// What the other one is called.
    pub(crate) name: &'a str,
    pub(crate) width: usize,
    /// What is searched, folded; and the message that was found.
    pub(crate) wanted: Option<(&'a [char], &'a str)>,
}

/// A message as rows, which are made when they are wanted.
pub(super) struct Block<'a> {
    paper: &'a Paper<'a>,
    message: &'a Message,
    /// What stands above it, over the whole width.
    above: Vec<Row>,
    /// Whether it goes on what its author said before in the same minute.
    follows: bool,
    quoted: Option<String>,
    text: Cow<'a, str>,
    tone: Tone,
    lines: Rc<[Range<usize>]>,
    /// What stands behind the last line, or below it where there is no room.
    note: Option<String>,
    note_below: bool,
    reactions: Vec<Piece>,
    chosen: bool,
    hits: OnceCell<Vec<Range<usize>>>,
}

impl Paper<'_> {
    /// Columns of the time and of the name, each with the space behind it.
    fn columns(&self) -> (usize, usize) {
        let most = if self.width >= WIDE { 12 } else { 6 };
        let name = cells::width(self.name).max(cells::width(self.words.conversation.me)).min(most);
        match self.width {
            0..NARROW => (0, name.min(4) + 1),
            _ => (6, name + 1),
        }
    }

    fn margin(&self) -> usize {
        let (time, name) = self.columns();
        time + name
    }

    /// Columns of the text: behind it is room for a mark of two.
    fn room(&self) -> usize {
        self.width.saturating_sub(self.margin() + 3).max(4)
    }

    pub(super) fn block<'a>(&'a self, conversation: &'a Conversation, index: usize) -> Option<Block<'a>> {
        let message = conversation.at(index)?;
        let words = &self.words.conversation;
        let before = index.checked_sub(1).and_then(|before| conversation.at(before));
        let mut above = Vec::new();
        if before.is_none_or(|before| self.day(before.at) != self.day(message.at)) {
            above.push(self.line(&self.day(message.at), Tone::Dim));
        }
        if conversation.unread_from.as_ref() == Some(&message.id) {
            above.push(self.line(words.unread, Tone::Accent));
        }
        let follows = before.is_some_and(|before| {
            before.mine == message.mine && above.is_empty() && self.minute(before.at) == self.minute(message.at)
        });
        let room = self.room();
        let quoted = message.reply.as_ref().map(|reply| self.quoted(conversation.find(reply), room));
        let (text, tone) = match &message.body {
            Body::Text(text) => (Cow::Borrowed(text.as_str()), Tone::Plain),
            Body::Deleted => (words.deleted.into(), Tone::Dim),
            Body::Timer(Some(seconds)) => (fill(words.timer_on, &[&words.span(*seconds)]).into(), Tone::Dim),
            Body::Timer(None) => (words.timer_off.into(), Tone::Dim),
            Body::Unknown => (words.unknown.into(), Tone::Dim),
        };
        let lines = conversation.wrapped.lines(&message.id, &text, room);
        let notes: Vec<_> = [(message.edited, words.edited), (message.disappears, words.disappears)]
            .into_iter()
            .filter_map(|(is, note)| is.then_some(note))
            .collect();
        let note = (!notes.is_empty()).then(|| format!("({})", notes.join(", ")));
        let last = lines.last().and_then(|last| text.get(last.clone())).map_or(0, |last| cells::width(last.trim_end()));
        let note_below = note.as_ref().is_some_and(|note| last + 1 + cells::width(note) > room);
        Some(Block {
            paper: self,
            message,
            above,
            follows,
            quoted,
            text,
            tone,
            lines,
            note,
            note_below,
            reactions: reactions(message, words, room),
            chosen: conversation.chosen.as_ref() == Some(&message.id),
            hits: OnceCell::new(),
        })
    }

    /// How many rows a message has.
    pub(super) fn height(&self, conversation: &Conversation, index: usize) -> usize {
        self.block(conversation, index).map_or(0, |block| block.height())
    }

    /// The row that the message itself begins with, below what stands above it.
    pub(super) fn first_row(&self, conversation: &Conversation, index: usize) -> usize {
        self.block(conversation, index).map_or(0, |block| block.above.len())
    }

    /// The message that another answers, on one row.
    fn quoted(&self, answered: Option<&Message>, room: usize) -> String {
        let words = &self.words.conversation;
        let told = match answered {
            None => words.earlier.to_owned(),
            Some(message) => {
                let name = if message.mine { words.me } else { self.name };
                let text = message.text().unwrap_or(words.deleted);
                format!("{name}: {}", beginning(text))
            }
        };
        cells::truncate(&format!("> {told}"), room).into_owned()
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

    pub(super) fn minute(&self, at: u64) -> String {
        self.time(at, "%H:%M")
    }

    pub(super) fn time(&self, at: u64, format: &str) -> String {
        let time = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        // The clock of another may say anything.
        time.map_or_else(|| "??:??".into(), |time| time.to_zoned(self.zone.clone()).strftime(format).to_string())
    }
}

impl Block<'_> {
    pub(super) fn height(&self) -> usize {
        let small = [self.quoted.is_some(), self.note_below, !self.reactions.is_empty()];
        self.above.len() + self.lines.len() + small.into_iter().filter(|is| *is).count()
    }

    /// The row of this number, counted from the top.
    pub(super) fn row(&self, number: usize) -> Row {
        if let Some(row) = self.above.get(number) {
            return row.clone();
        }
        let number = number - self.above.len();
        let mut row = Row { pieces: self.head(number), right: None, chosen: self.chosen };
        let quoted = usize::from(self.quoted.is_some());
        let last = quoted + self.lines.len() - 1;
        match (&self.quoted, self.lines.get(number.wrapping_sub(quoted))) {
            (Some(quoted), _) if number == 0 => row.pieces.push(piece(quoted, Tone::Dim)),
            (_, Some(line)) => self.put_line(line, &mut row.pieces),
            _ if number == last + 1 && self.note_below => {
                row.pieces.extend(self.note.as_ref().map(|note| piece(note, Tone::Dim)));
            }
            _ => row.pieces.extend(self.reactions.iter().cloned()),
        }
        if number == last {
            if let Some(note) = self.note.as_ref().filter(|_| !self.note_below) {
                row.pieces.push(piece(format!(" {note}"), Tone::Dim));
            }
            // It bears a mark from when it is on the disk.
            row.right = (self.message.mine && self.message.stored).then(|| mark(self.message.stage));
        }
        row
    }

    /// What stands before the text: on the first row when and who, below that nothing.
    fn head(&self, number: usize) -> Vec<Piece> {
        if number > 0 || self.follows {
            return vec![piece(" ".repeat(self.paper.margin()), Tone::Plain)];
        }
        let (time, width) = self.paper.columns();
        let (name, tone) = match self.message.mine {
            true => (self.paper.words.conversation.me, Tone::Mine),
            false => (self.paper.name, Tone::Theirs),
        };
        let name = piece(format!("{} ", cells::pad(name, width - 1)), tone);
        match time {
            0 => vec![name],
            time => vec![piece(cells::pad(&self.paper.minute(self.message.at), time), Tone::Dim), name],
        }
    }

    /// A line of the text, with what was searched told apart.
    fn put_line(&self, line: &Range<usize>, pieces: &mut Vec<Piece>) {
        let text = self.text.get(line.clone()).unwrap_or_default();
        let text = text.trim_end_matches(' ');
        let hits = self.hits.get_or_init(|| match self.paper.wanted {
            Some((wanted, _)) if self.message.text().is_some() => occurrences(&self.text, wanted),
            _ => Vec::new(),
        });
        let found = self.paper.wanted.is_some_and(|(_, found)| found == self.message.id);
        let mut at = 0;
        for hit in hits {
            let from = hit.start.clamp(line.start, line.start + text.len()) - line.start;
            let to = hit.end.clamp(line.start, line.start + text.len()) - line.start;
            if from < to && at <= from {
                pieces.push(piece(text.get(at..from).unwrap_or_default(), self.tone));
                let tone = if found { Tone::Hit } else { Tone::Accent };
                pieces.push(piece(text.get(from..to).unwrap_or_default(), tone));
                at = to;
            }
        }
        pieces.push(piece(text.get(at..).unwrap_or_default(), self.tone));
    }
}

/// The first line of a text.
pub(super) fn beginning(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// Each emoji with the number of those who gave it, and whether that is one of us.
fn reactions(message: &Message, words: &conversation::Words, room: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut left = room;
    for (index, reaction) in message.reactions.iter().enumerate() {
        if message.reactions.iter().take(index).any(|before| before.emoji == reaction.emoji) {
            continue;
        }
        let same = message.reactions.iter().filter(|other| other.emoji == reaction.emoji);
        let (number, mine) = same.fold((0, false), |(number, mine), other| (number + 1, mine || other.mine));
        let mut told = reaction.emoji.clone();
        if number > 1 {
            told = format!("{told} {number}");
        }
        if mine {
            told = format!("{told} ({})", words.me);
        }
        let told = cells::truncate(&told, left).into_owned();
        left = left.saturating_sub(cells::width(&told) + 2);
        pieces.push(piece(told, if mine { Tone::Mine } else { Tone::Dim }));
        if left == 0 {
            break;
        }
        pieces.push(piece("  ", Tone::Dim));
    }
    pieces
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
