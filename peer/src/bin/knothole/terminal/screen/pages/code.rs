//! The page with a one-time code: what to read out, to whom, and for how long it is good.

use serde_json::Value;

use super::leaf::{blank, line, paragraph};
use crate::session::word;
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::words::fill;
use crate::text::harmless;

/// A code as the engine made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) code: String,
    /// Milliseconds since 1970.
    expires_at: u64,
}

impl Made {
    pub(super) fn read(answer: &Value) -> Self {
        Self { code: harmless(word(answer, "code")), expires_at: answer["expires_at"].as_u64().unwrap_or_default() }
    }

    pub(super) const fn is_over(&self, now: u64) -> bool {
        self.expires_at <= now
    }

    /// When the time that is left is said otherwise.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        let left = self.expires_at.checked_sub(now).filter(|left| *left > 0)?;
        Some(now + ((left - 1) % 1000) + 1)
    }

    /// `9:59`.
    fn left(&self, now: u64) -> String {
        let seconds = self.expires_at.saturating_sub(now).div_ceil(1000);
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}

pub(super) fn rows(screen: &Screen, made: Option<&Made>, width: usize) -> Vec<Row> {
    let words = &screen.words.people;
    let Some(made) = made else { return paragraph(words.code_asked, Tone::Dim, width) };
    if made.is_over(screen.now) {
        return paragraph(words.code_over, Tone::Alarm, width);
    }
    let mut rows = paragraph(words.code_told, Tone::Plain, width);
    rows.push(blank());
    let mut typed = line(format!("    {}    ", format_args!("/add {}", made.code)), Tone::Accent);
    typed.chosen = true;
    rows.push(typed);
    rows.push(blank());
    rows.extend(paragraph(&fill(words.code_left, &[&made.left(screen.now)]), Tone::Plain, width));
    rows.extend(paragraph(words.code_once, Tone::Dim, width));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_counted_down_by_seconds_until_it_is_over() {
        let made = Made { code: "7-orchard-velvet".into(), expires_at: 600_000 };
        assert_eq!((made.left(0), made.due(0)), ("10:00".into(), Some(1_000)));
        assert_eq!((made.left(1), made.due(1)), ("10:00".into(), Some(1_000)));
        assert_eq!((made.left(599_500), made.due(599_500)), ("0:01".into(), Some(600_000)));
        assert!(made.is_over(600_000));
        assert_eq!(made.due(600_000), None);
    }
}
