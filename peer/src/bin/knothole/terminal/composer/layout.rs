//! A text on the rows that it has on the screen.

use std::ops::Range;

use crate::terminal::cells::{boundary_from, graphemes, width, wrap};

/// What of the text is in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// As they were typed: what draws them does so by [`shown`](crate::terminal::cells::shown).
    pub(crate) rows: Vec<String>,
    /// Column and row, from 0.
    pub(crate) cursor: (usize, usize),
    /// Whether there are rows above those.
    pub(crate) more_above: bool,
    pub(crate) more_below: bool,
}

/// The rows of a text, as ranges, on so many columns. The last column is the cursor's: behind a full row it needs a place, and the
/// text shall not jump when it gets there.
pub(super) fn rows(text: &str, columns: usize) -> Vec<Range<usize>> {
    wrap(text, columns.saturating_sub(1).max(1))
}

/// The row that a place is on: between two rows, the lower one.
fn row_of(rows: &[Range<usize>], at: usize) -> usize {
    rows.partition_point(|row| row.start <= at).saturating_sub(1)
}

/// As many rows as there is place for, with the cursor in their midst where there are more.
pub(super) fn layout(text: &str, cursor: usize, columns: usize, most: usize) -> Layout {
    let rows = rows(text, columns);
    let most = most.max(1);
    let row = row_of(&rows, cursor);
    let first = row.saturating_sub(most / 2).min(rows.len().saturating_sub(most));
    let end = rows.len().min(first + most);
    let start = rows.get(row).map_or(0, |row| row.start);
    let column = width(text.get(start..cursor).unwrap_or_default()).min(columns.saturating_sub(1));
    let seen = rows.get(first..end).unwrap_or_default().iter();
    Layout {
        rows: seen.map(|row| without_overhang(text.get(row.clone()).unwrap_or_default(), columns).to_owned()).collect(),
        cursor: (column, row - first),
        more_above: first > 0,
        more_below: end < rows.len(),
    }
}

/// A row without the white space that hangs beyond its columns.
fn without_overhang(row: &str, columns: usize) -> &str {
    let mut taken = 0;
    for cluster in graphemes(row) {
        taken += cluster.width;
        if taken > columns {
            return row.get(..cluster.start).unwrap_or_default();
        }
    }
    row
}

/// The column of a place on its row.
pub(super) fn column(text: &str, rows: &[Range<usize>], at: usize) -> usize {
    let start = rows.get(row_of(rows, at)).map_or(0, |row| row.start);
    width(text.get(start..at).unwrap_or_default())
}

/// The place on the row above, or below, that is nearest to a column; nothing where there is no such row.
pub(super) fn beside(text: &str, rows: &[Range<usize>], at: usize, column: usize, up: bool) -> Option<usize> {
    let row = row_of(rows, at);
    let row = if up { row.checked_sub(1)? } else { row + 1 };
    let range = rows.get(row)?.clone();
    // The end of a row that is continued is the beginning of the next.
    let continued = rows.get(row + 1).is_some_and(|next| next.start == range.end);
    let mut taken = 0;
    let mut place = range.start;
    for cluster in graphemes(text.get(range.clone())?) {
        let end = range.start + cluster.range().end;
        taken += cluster.width;
        if taken > column || (continued && end == range.end) {
            break;
        }
        place = end;
    }
    Some(boundary_from(text, place))
}
