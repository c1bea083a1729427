//! The page that tells what this network does: a row for each finding, and what they mean together.

use serde_json::Value;

use super::leaf::{blank, line, pair, paragraph};
use crate::netcheck::findings;
use crate::session::word;
use crate::terminal::cells;
use crate::terminal::screen::rows::{Row, Tone};
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

/// How often it is seen that time passes, in milliseconds: as seconds are counted.
pub(super) const BEAT: u64 = 1_000;

/// `passed`: milliseconds since it was asked for.
pub(super) fn rows(words: &Words, found: Option<&Value>, passed: u64, width: usize) -> Vec<Row> {
    let Some(found) = found else {
        let mut rows = paragraph(words.netcheck.asking, Tone::Plain, width);
        rows.push(line(fill(words.netcheck.passed, &[&(passed / BEAT).to_string()]), Tone::Dim));
        return rows;
    };
    let mut rows = paragraph(&harmless(&words.phrases.said(word(found, "summary"))), Tone::Accent, width);
    rows.push(blank());
    let said = |(name, told): (&'static str, String)| (words.phrases.said(name), words.phrases.said(&told));
    let findings: Vec<_> = findings(found).into_iter().map(said).collect();
    let columns = findings.iter().map(|(name, _)| cells::width(name)).max().unwrap_or_default();
    rows.extend(findings.iter().flat_map(|(name, told)| pair(name, Tone::Dim, told, columns, width)));
    rows
}
