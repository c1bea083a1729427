//! Text as a terminal shows it, in its simplest form.
use std::borrow::Cow;
use std::ops::Range;
use unicode_width::UnicodeWidthStr as _;
pub(crate) fn width(text: &str) -> usize {
    text.width()
}
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        let mut at = start;
        let end = start + line.len();
        while text[at..end].width() > columns {
            let mut stop = at;
            for (i, c) in text[at..end].char_indices() {
                if text[at..at + i + c.len_utf8()].width() > columns {
                    break;
                }
                stop = at + i + c.len_utf8();
            }
            all.push(at..stop);
            at = stop;
        }
        all.push(at..end);
        start = end + 1;
    }
    all
}
pub(crate) fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        text.into()
    } else {
        let mut t: String = String::new();
        for c in text.chars() {
            if format!("{t}{c}").width() + 1 > columns {
                break;
            }
            t.push(c);
        }
        t.push('…');
        t.into()
    }
}
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}
