//! The page on which two people make sure of each other: ten words, and what a camera reads.

use super::leaf::{blank, line, paragraph};
use crate::terminal::qr::Qr;
use crate::terminal::screen::Screen;
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::words::fill;
use crate::text::harmless;

pub(super) fn rows(
    screen: &Screen,
    peer: &str,
    told: Option<&(Vec<String>, String)>,
    width: usize,
    height: usize,
) -> Vec<Row> {
    let words = &screen.words.people;
    let Some((ten, qr)) = told else { return paragraph(words.verify_asked, Tone::Dim, width) };
    let mut rows = Vec::new();
    // A line for each key; broken where it does not fit.
    for five in ten.chunks(5) {
        rows.extend(paragraph(&harmless(&five.join(" ")), Tone::Accent, width));
    }
    rows.push(blank());
    rows.extend(paragraph(&fill(words.verify_how, &[screen.name_of(peer)]), Tone::Plain, width));
    rows.extend(paragraph(words.verify_same, Tone::Plain, width));
    rows.extend(paragraph(words.verify_other, Tone::Dim, width));
    rows.push(blank());
    match Qr::fitting(qr, width, height) {
        Ok(code) => {
            rows.extend(paragraph(words.verify_qr, Tone::Plain, width));
            rows.extend(code.rows().into_iter().map(|row| line(row, Tone::Qr)));
        }
        Err((columns, needed)) => {
            // With the margin at the left, the title and the last row.
            let needs = [(columns + 2).to_string(), (needed + 2).to_string()];
            rows.extend(paragraph(&fill(words.no_room_for_qr, &[&needs[0], &needs[1]]), Tone::Dim, width));
        }
    }
    rows
}
