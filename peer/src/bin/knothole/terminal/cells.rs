//! Text as a terminal shows it: in cells, of which a letter takes one, an ideograph or an emoji two and a combining mark none. The
//! widths are those that ratatui draws with, so that what is measured here is what stands on the screen.
//!
//! What is measured is the text as it was written; [`shown`] makes of it what is drawn. It does not colour, and it does not turn
//! text round: terminals do that or do not.

mod cluster;
mod lines;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::text::{REPLACEMENT, does_something};

pub(crate) use cluster::{Cluster, boundary_from, graphemes, next_boundary, previous_boundary};
pub(crate) use lines::wrap;

/// What stands for the rest of a text that was cut.
const ELLIPSIS: char = '…';

/// What bears a mark that has no letter to stand on.
const BEARER: char = '\u{25CC}';

/// Columns of a text on one line.
pub(crate) fn width(text: &str) -> usize {
    if is_plain(text) { text.len() } else { graphemes(text).map(|cluster| cluster.width).sum() }
}

/// A text, of one line, as it is drawn: with spaces for tabs, U+FFFD for what would do something at a terminal, a bearer under
/// lone marks, and nothing that a terminal could join to the next cell.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut drawn = String::with_capacity(text.len());
    for cluster in graphemes(text) {
        draw(&cluster, &mut drawn);
    }
    Cow::Owned(drawn)
}

fn draw(cluster: &Cluster<'_>, drawn: &mut String) {
    let first = cluster.first();
    match cluster.width {
        _ if first == '\t' => drawn.push_str(&" ".repeat(cluster::TAB)),
        _ if does_something(first) || cluster.text.contains(cluster::TOO_WIDE) => drawn.push(REPLACEMENT),
        // More marks than fit on the part of a cluster before them.
        0 if cluster::is_lone_mark(cluster.text) => {}
        0 => drawn.push_str(cluster::drawn(cluster.text)),
        width => {
            let text = cluster::drawn(cluster.text);
            if width == 1 && cluster::is_lone_mark(text) {
                drawn.push(BEARER);
            }
            // A joiner with nothing behind it, or what it joins was too long.
            drawn.push_str(text.trim_end_matches('\u{200D}'));
        }
    }
}

/// As much of a text as so many columns hold, with `…` at its end if that is not all.
pub(crate) fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if is_plain(text) && text.len() <= columns {
        return Cow::Borrowed(text);
    }
    let mut kept = 0;
    let mut taken = 0;
    for cluster in graphemes(text) {
        taken += cluster.width;
        if taken > columns {
            let beginning = text.get(..kept).unwrap_or_default();
            return Cow::Owned(if columns == 0 { String::new() } else { format!("{beginning}{ELLIPSIS}") });
        }
        // The ellipsis needs a column.
        if taken < columns {
            kept = cluster.range().end;
        }
    }
    Cow::Borrowed(text)
}

/// A text on exactly so many columns: cut, or with spaces behind it.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let text = truncate(text, columns);
    let spaces = columns.saturating_sub(width(&text));
    format!("{text}{}", " ".repeat(spaces))
}

/// A text that is to be printed among others, with every line that has letters written from right to left between U+2068 and
/// U+2069: so a terminal that turns such text cannot reorder what stands around it. Its own controls are to be taken out before, as
/// [`harmless`](crate::text::harmless) does.
pub(crate) fn isolated(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_right_to_left) {
        return Cow::Borrowed(text);
    }
    // An isolate ends with its line.
    let lines = text.split('\n').map(|line| match line.chars().any(is_right_to_left) {
        true => format!("\u{2068}{line}\u{2069}"),
        false => line.to_owned(),
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// Whether every byte is a character of one column.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The blocks whose characters have the bidirectional classes R and AL, and with them Arabic digits.
const fn is_right_to_left(c: char) -> bool {
    matches!(
        c,
        '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' | '\u{10800}'..='\u{10FFF}'
            | '\u{1E800}'..='\u{1EFFF}'
    )
}
