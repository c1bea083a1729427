//! What pages are made of: paragraphs, headings, pairs; and times as people say them.

use crate::terminal::cells;
use crate::terminal::screen::rows::{Piece, Row, Tone};
use crate::terminal::words::fill;
use crate::terminal::words::people::Words;

pub(super) fn blank() -> Row {
    Row::default()
}

/// One row.
pub(super) fn line(text: impl Into<String>, tone: Tone) -> Row {
    Row { pieces: vec![Piece { text: text.into(), tone }], ..Row::default() }
}

/// A text on as many rows as it needs.
pub(super) fn paragraph(text: &str, tone: Tone, width: usize) -> Vec<Row> {
    cells::wrap(text, width).into_iter().map(|range| line(text[range].trim_end(), tone)).collect()
}

/// A name at the left, of so many columns, and what is said of it beside.
pub(super) fn pair(name: &str, name_tone: Tone, told: &str, columns: usize, width: usize) -> Vec<Row> {
    let columns = columns.min(width / 2);
    let mut rows = paragraph(told, Tone::Plain, width.saturating_sub(columns + 2).max(4));
    let mut first = true;
    for row in &mut rows {
        let text = format!("{}  ", cells::pad(if first { name } else { "" }, columns));
        row.pieces.insert(0, Piece { text, tone: name_tone });
        first = false;
    }
    rows
}

/// How long ago that was, as precisely as people say it.
pub(crate) fn ago(then: u64, now: u64, words: &Words) -> String {
    let minutes = now.saturating_sub(then) / 60_000;
    let (one, many, number) = match minutes {
        0 => return words.moment_ago.to_owned(),
        1..60 => (words.minute_ago, words.minutes_ago, minutes),
        60..2_880 => (words.hour_ago, words.hours_ago, minutes / 60),
        _ => (words.day_ago, words.days_ago, minutes / 1_440),
    };
    if number == 1 { one.to_owned() } else { fill(many, &[&number.to_string()]) }
}

/// So many seconds as they are typed: `90s`, `1h`, `2d`.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let fits = |(size, _): &(u64, &str)| seconds > 0 && seconds.is_multiple_of(*size);
    let (size, unit) = units.into_iter().find(fits).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::lasting;
    use crate::terminal::words::ENGLISH;

    #[test]
    fn times_past_are_told_as_people_do() {
        let at = |minutes: u64| ago(0, minutes * 60_000, &ENGLISH.people);
        assert_eq!(
            [0, 1, 59, 60, 2_879, 2_880].map(at),
            ["a moment ago", "a minute ago", "59 minutes ago", "an hour ago", "47 hours ago", "2 days ago"]
        );
        assert_eq!(ago(5, 0, &ENGLISH.people), "a moment ago", "a clock that was set back");
    }

    #[test]
    fn a_span_is_told_as_it_is_typed() {
        for seconds in [1, 90, 120, 3_600, 86_400, 604_800] {
            assert_eq!(lasting(&span(seconds)).map(u64::from), Ok(seconds));
        }
    }
}
