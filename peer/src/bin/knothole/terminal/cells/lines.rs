//! Text broken into lines: a small part of UAX #14, without dictionaries and without tables.

use std::ops::Range;

use unicode_width::UnicodeWidthChar as _;

use super::cluster::{Cluster, graphemes};

/// The lines, as ranges of bytes, in which a text is shown on so many columns. Together they are all of the text but for its line
/// feeds. Lines end where words do, and within a word only where that is longer than a line; never within a cluster.
/// White space at the end of a line hangs: it is part of the line and may reach beyond the columns. Beside that, no line is
/// wider than asked, if that is at least two columns: a wide character has that many.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<Range<usize>> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut start = 0;
    for paragraph in text.split('\n') {
        let end = start + paragraph.len();
        if fits(paragraph, columns) {
            lines.push(start..end);
        } else {
            break_up(paragraph, start, columns, &mut lines);
        }
        start = end + 1;
    }
    lines
}

/// Whether a text of nothing but ASCII obviously fits.
fn fits(paragraph: &str, columns: usize) -> bool {
    paragraph.len() <= columns && paragraph.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn break_up(paragraph: &str, offset: usize, columns: usize, lines: &mut Vec<Range<usize>>) {
    // Of the line: where it begins and how wide it is; the last place where it may end, and the width up to there.
    let (mut start, mut width) = (0, 0);
    let (mut place, mut width_there) = (0, 0);
    let (mut before, mut last) = (Side::NONE, Side::NONE);
    for cluster in graphemes(paragraph) {
        let side = Side::of(&cluster);
        if side.class != Class::Space && last.may_end(before, side) {
            (place, width_there) = (cluster.start, width);
        }
        while side.class != Class::Space && width + cluster.width > columns && cluster.start > start {
            if place > start {
                lines.push(offset + start..offset + place);
                start = place;
                width -= width_there;
            } else {
                lines.push(offset + start..offset + cluster.start);
                start = cluster.start;
                width = 0;
            }
        }
        width += cluster.width;
        (before, last) = (last, side);
    }
    lines.push(offset + start..offset + paragraph.len());
}

/// A cluster as the neighbour of a place where a line may end.
#[derive(Debug, Clone, Copy)]
struct Side {
    class: Class,
    c: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The beginning of the text.
    None,
    Space,
    /// Written without spaces: lines may end on both sides.
    Ideograph,
    /// No line ends behind it.
    Opening,
    /// No line begins with it.
    Closing,
    /// Lines end on neither side.
    Glue,
    /// A line may end behind it, without any other sign.
    Invisible,
    Hyphen,
    Letter,
}

impl Side {
    const NONE: Self = Self { class: Class::None, c: '\0' };

    fn of(cluster: &Cluster<'_>) -> Self {
        let c = cluster.first();
        let class = match c {
            // With a mark on it, it is a letter.
            ' ' | '\t' | '\u{3000}' if cluster.text.len() == c.len_utf8() => Class::Space,
            '-' | '\u{2010}' | '\u{2013}' | '\u{2014}' => Class::Hyphen,
            '(' | '[' | '{' => Class::Opening,
            '!' | '?' | ',' | '.' | ';' | ':' | ')' | ']' | '}' | '%' => Class::Closing,
            '\0'..='~' => Class::Letter,
            '\u{200B}' => Class::Invisible,
            '\u{A0}' | '\u{202F}' | '\u{2060}' | '\u{FEFF}' => Class::Glue,
            '‘' | '“' | '〈' | '《' | '「' | '『' | '【' | '〔' | '〖' | '〘' | '〚' | '（' | '［' | '｛' | '｟'
            | '｢' => Class::Opening,
            '’' | '”' | '…' | '‥' | '、' | '。' | '〉' | '》' | '」' | '』' | '】' | '〕' | '〗' | '〙' | '〛'
            | '々' | '〻' | 'ぁ' | 'ぃ' | 'ぅ' | 'ぇ' | 'ぉ' | 'っ' | 'ゃ' | 'ゅ' | 'ょ' | 'ゎ' | 'ゝ' | 'ゞ'
            | 'ァ' | 'ィ' | 'ゥ' | 'ェ' | 'ォ' | 'ッ' | 'ャ' | 'ュ' | 'ョ' | 'ヮ' | 'ヵ' | 'ヶ' | '・' | 'ー'
            | 'ヽ' | 'ヾ' | '！' | '％' | '）' | '，' | '．' | '：' | '；' | '？' | '］' | '｝' | '～' | '｠' | '｡'
            | '｣' | '､' | '･' | 'ｰ' => Class::Closing,
            // Wide by itself, or an emoji by its variation selector, or a flag.
            c if c.width() == Some(2) => Class::Ideograph,
            '\u{1F1E6}'..='\u{1F1FF}' => Class::Ideograph,
            _ if cluster.text.contains('\u{FE0F}') => Class::Ideograph,
            _ => Class::Letter,
        };
        Self { class, c }
    }

    /// Whether a line may end behind this one, which follows `before`, and the next begin with `next`.
    fn may_end(self, before: Self, next: Self) -> bool {
        match (self.class, next.class) {
            (Class::None, _) | (_, Class::Glue | Class::Space) | (Class::Glue | Class::Opening, _) => false,
            // As the French write them.
            (Class::Space, Class::Closing) => !matches!(next.c, '!' | '?'),
            (Class::Space | Class::Invisible, _) => true,
            (_, Class::Closing | Class::Invisible | Class::Hyphen) => false,
            // Between words, not before a number, and not behind the hyphen that begins an option.
            (Class::Hyphen, Class::Letter) => before.c.is_alphanumeric() && next.c.is_alphabetic(),
            (Class::Ideograph, _) | (_, Class::Ideograph) => {
                self.class != Class::Hyphen || before.class != Class::Space
            }
            (Class::Closing, Class::Opening) => self.c.width() == Some(2) || next.c.width() == Some(2),
            // Punctuation of full width ends a word, that of half width may be within one.
            (Class::Closing, _) => self.c.width() == Some(2),
            (_, Class::Opening) => next.c.width() == Some(2),
            _ => false,
        }
    }
}
