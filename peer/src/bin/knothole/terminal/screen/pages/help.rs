//! The help page: keys and commands, in two columns where there is room, and what the signs mean.

use super::leaf::{blank, line, pair, paragraph};
use crate::terminal::cells;
use crate::terminal::screen::commands::{TABLE, table};
use crate::terminal::screen::rows::{Piece, Row, Tone};
use crate::terminal::words::Words;
use crate::terminal::words::help::Pair;

/// Columns from which on two columns stand beside each other.
const BESIDE: usize = 96;

/// Columns between the two.
const GAP: usize = 3;

pub(super) fn rows(words: &Words, command: Option<&str>, width: usize) -> Vec<Row> {
    if let Some(listed) = command.and_then(table::named) {
        let told = (listed.told)(&words.commands);
        let head = format!("/{} {}", listed.name, told.arguments);
        let mut rows = vec![line(head.trim_end(), Tone::Theirs), blank()];
        rows.extend(paragraph(told.help, Tone::Plain, width));
        return rows;
    }
    if width < BESIDE {
        let mut rows = keys(words, width);
        rows.push(blank());
        rows.extend(commands(words, width));
        return rows;
    }
    let left_width = width * 2 / 5;
    let right_width = width - left_width - GAP;
    beside(keys(words, left_width), commands(words, right_width), left_width)
}

fn keys(words: &Words, width: usize) -> Vec<Row> {
    let help = &words.help;
    let mut rows = list(help.keys, help.of_keys, width);
    rows.push(blank());
    rows.extend(list(help.signs, help.of_signs, width));
    rows.push(blank());
    rows.extend(list(help.marks, help.of_marks, width));
    rows
}

fn list(heading: &str, pairs: &[Pair], width: usize) -> Vec<Row> {
    let columns = pairs.iter().map(|pair| cells::width(pair.name)).max().unwrap_or_default();
    let mut rows = vec![line(heading, Tone::Theirs)];
    rows.extend(pairs.iter().flat_map(|entry| pair(entry.name, Tone::Accent, entry.told, columns, width)));
    rows
}

fn commands(words: &Words, width: usize) -> Vec<Row> {
    let mut rows = vec![line(words.help.commands, Tone::Theirs)];
    for listed in TABLE {
        let told = (listed.told)(&words.commands);
        let arguments = if told.arguments.is_empty() { String::new() } else { format!(" {}", told.arguments) };
        let name = Piece { text: format!("/{}", listed.name), tone: Tone::Accent };
        rows.push(Row { pieces: vec![name, Piece { text: arguments, tone: Tone::Plain }], ..Row::default() });
        let indented = paragraph(told.help, Tone::Dim, width.saturating_sub(4).max(4));
        rows.extend(indented.into_iter().map(|mut row| {
            row.pieces.insert(0, Piece { text: "    ".into(), tone: Tone::Plain });
            row
        }));
    }
    rows.push(blank());
    rows.extend(paragraph(words.help.names, Tone::Plain, width));
    rows
}

/// Two lists of rows beside each other, the left one of so many columns.
fn beside(left: Vec<Row>, right: Vec<Row>, width: usize) -> Vec<Row> {
    let all = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let mut rows = Vec::with_capacity(all);
    for _ in 0..all {
        let mut row = left.next().unwrap_or_default();
        let taken: usize = row.pieces.iter().map(|piece| cells::width(&piece.text)).sum();
        row.pieces.push(Piece { text: " ".repeat((width + GAP).saturating_sub(taken)), tone: Tone::Plain });
        row.pieces.extend(right.next().unwrap_or_default().pieces);
        rows.push(row);
    }
    rows
}
