//! Text taken apart into what a terminal's cells hold: extended grapheme clusters (UAX #29) and their widths.

use std::ops::Range;

use ratatui::buffer::CellWidth as _;
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

use crate::text::does_something;

/// Columns of a tab, wherever it stands: so the width of a text is the sum of its parts', and most tabs begin a line anyway.
pub(super) const TAB: usize = 4;

/// The one character that is wider than that by itself. It is drawn as one that is not known.
pub(super) const TOO_WIDE: char = '\u{17D8}';

/// The most columns that a cluster has; those of conjunct letters that have more are taken apart.
const WIDEST: usize = 2;

/// Characters of a cluster that are drawn. The longest emoji, four people with their skins, has eleven; what is longer piles
/// up marks over the lines above.
pub(super) const LONGEST: usize = 16;

/// What is drawn as one: a cluster, or a part of one that is wider than two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cluster<'a> {
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    pub(crate) text: &'a str,
    /// Columns: 0 to 2, but for a tab.
    pub(crate) width: usize,
}

impl Cluster<'_> {
    /// The bytes of the text that it is.
    pub(crate) const fn range(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// Its first character.
    pub(super) fn first(&self) -> char {
        self.text.chars().next().unwrap_or_default()
    }
}

/// The clusters of a text, from its beginning to its end.
pub(crate) const fn graphemes(text: &str) -> Graphemes<'_> {
    Graphemes { text, at: 0, taken_apart: 0 }
}

/// An iterator over clusters.
#[derive(Debug, Clone)]
pub(crate) struct Graphemes<'a> {
    text: &'a str,
    at: usize,
    /// The end of a cluster that is being taken apart.
    taken_apart: usize,
}

impl<'a> Iterator for Graphemes<'a> {
    type Item = Cluster<'a>;

    fn next(&mut self) -> Option<Cluster<'a>> {
        let rest = self.text.get(self.at..)?;
        let (length, width) = if self.at < self.taken_apart {
            part(self.text.get(self.at..self.taken_apart)?)
        } else if let Some(plain) = plain(rest) {
            plain
        } else {
            let cluster = rest.graphemes(true).next()?;
            match measured(cluster) {
                width if width <= WIDEST || cluster == "\t" => (cluster.len(), width),
                _ => {
                    self.taken_apart = self.at + cluster.len();
                    part(cluster)
                }
            }
        };
        let text = rest.get(..length)?;
        let cluster = Cluster { start: self.at, text, width };
        self.at += length;
        Some(cluster)
    }
}

/// The length and the width of the first cluster, where that is a character which nothing joins: without the tables, and for most
/// of what is written in the world.
fn plain(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let first = *bytes.first()?;
    if matches!(first, b' '..=b'~') && bytes.get(1).is_none_or(|next| next.is_ascii()) {
        return Some((1, 1));
    }
    let mut characters = text.chars();
    let width = alone(characters.next()?)?;
    let rest = characters.as_str();
    rest.chars()
        .next()
        .is_none_or(|next| next == '\n' || alone(next).is_some())
        .then(|| (text.len() - rest.len(), width))
}

/// The width of a character that neither joins the one before nor the one behind, if that is known to be such a character.
const fn alone(c: char) -> Option<usize> {
    match c {
        ' '..='~' | 'À'..='ʯ' | 'Ͱ'..='ͷ' | 'Α'..='Ω' | 'ά'..='ώ' | 'А'..='я' => Some(1),
        'ぁ'..='ゖ' | 'ァ'..='ヺ' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '가'..='힣' => Some(2),
        '、'..='】' | '！'..='～' => Some(2),
        _ => None,
    }
}

/// The width of a cluster as it is drawn.
fn measured(cluster: &str) -> usize {
    let mut characters = cluster.chars();
    match (characters.next(), characters.next()) {
        (Some('\t'), None) => return TAB,
        (Some(c), None) if does_something(c) => return 1,
        // Line ends of two characters are one cluster.
        (Some('\r'), _) => return 1,
        _ => {}
    }
    let drawn = drawn(cluster);
    if is_lone_mark(drawn) { 1 } else { usize::from(drawn.cell_width()) }
}

/// As much of a cluster as is drawn.
pub(super) fn drawn(cluster: &str) -> &str {
    let end = cluster.char_indices().nth(LONGEST).map_or(cluster.len(), |(end, _)| end);
    cluster.get(..end).unwrap_or(cluster)
}

/// Whether what is drawn of a cluster is marks that lack a letter; the others without a width are never seen.
pub(super) fn is_lone_mark(drawn: &str) -> bool {
    drawn.cell_width() == 0 && !drawn.chars().next().is_none_or(is_ignorable)
}

/// The length and the width of the first part of a cluster that is too wide: as many characters as two columns take.
fn part(cluster: &str) -> (usize, usize) {
    let mut taken = (0, 0);
    for (at, c) in cluster.char_indices().take(LONGEST) {
        let end = at + c.len_utf8();
        let width = cluster.get(..end).map_or(0, |part| usize::from(part.cell_width()));
        if at > 0 && width > WIDEST {
            break;
        }
        taken = (end, if width > WIDEST { 1 } else { width });
    }
    taken
}

/// The characters with the Unicode property Default_Ignorable_Code_Point.
const fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
    )
}
/// The next boundary between clusters behind `at`, which is one; the end if there is none.
pub(crate) fn next_boundary(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.graphemes(true).next()).map_or(text.len(), |cluster| at + cluster.len())
}

/// The boundary between clusters before `at`; the beginning if there is none.
pub(crate) fn previous_boundary(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|_| GraphemeCursor::new(at, text.len(), true).prev_boundary(text, 0).ok()?).unwrap_or(0)
}

/// `at` if that is a boundary between clusters, else the next one.
pub(crate) fn boundary_from(text: &str, at: usize) -> usize {
    if text.get(at..).is_none() {
        return text.len();
    }
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.next_boundary(text, 0).ok().flatten().unwrap_or(text.len()),
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_the_short_way_joins_nothing_and_has_the_width_that_ratatui_gives_it() {
        let mut counted = 0;
        for c in ('\0'..=char::MAX).filter(|c| alone(*c).is_some()) {
            assert_eq!(alone(c), Some(usize::from(c.to_string().cell_width())), "{c:?}");
            for other in ['a', 'é', 'я', '字', 'か', '한'] {
                for pair in [format!("{c}{other}"), format!("{other}{c}")] {
                    assert_eq!(pair.graphemes(true).count(), 2, "{pair:?}");
                }
            }
            counted += 1;
        }
        assert!(counted > 30_000);
    }
}
