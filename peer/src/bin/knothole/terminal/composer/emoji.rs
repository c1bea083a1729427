//! Emoji by what they are called: `:smi` finds those whose shortcode, or a word of whose name, begins so.

use emojis::Emoji;

/// Those that are found at most; whoever wants others types more.
const MOST: usize = 60;

/// Emoji newer than this are boxes in most fonts of today.
const NEWEST: emojis::UnicodeVersion = emojis::UnicodeVersion::new(16, 0);

/// What stands before the cursor as the beginning of a shortcode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Where its colon is.
    pub(super) start: usize,
    word: &'a str,
    /// Whether a second colon ends it.
    whole: bool,
}

/// The shortcode that ends at the end of a text. A colon behind a letter or a digit begins none, for it may be a time, unless a
/// second one says that it does.
pub(super) fn asked(before: &str) -> Option<Asked<'_>> {
    let (rest, whole) = before.strip_suffix(':').map_or((before, false), |rest| (rest, true));
    let start = rest.rfind(':')?;
    let word = rest.get(start + 1..)?;
    let begins = !rest.get(..start)?.ends_with(char::is_alphanumeric);
    let is_word =
        !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'+' | b'-'));
    ((begins || whole) && is_word).then_some(Asked { start, word, whole })
}

/// The emoji that are meant, the likeliest first: those called just so, those used recently, those whose shortcode begins so, the others.
pub(super) fn found(asked: &Asked<'_>, recent: impl Fn(&str) -> bool) -> Vec<&'static Emoji> {
    let word = asked.word.to_ascii_lowercase();
    if asked.whole {
        return emojis::get_by_shortcode(&word).into_iter().collect();
    }
    let rank = |emoji: &'static Emoji| {
        let near = nearness(emoji, &word)?;
        let near = if near > 0 && recent(emoji.as_str()) { 1 } else { near * 2 };
        // What is nearly typed is meant rather than what has much to come.
        Some((near, emoji.shortcode().unwrap_or_else(|| emoji.name()).len()))
    };
    let known = emojis::iter().filter(|emoji| emoji.unicode_version() <= NEWEST);
    let mut found: Vec<_> = known.filter_map(|emoji| Some((rank(emoji)?, emoji))).collect();
    // Stable: beyond that the order is that of Unicode's charts, faces first.
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().take(MOST).map(|(_, emoji)| emoji).collect()
}

/// How well a word fits: 0 is just so.
fn nearness(emoji: &'static Emoji, word: &str) -> Option<u8> {
    let mut codes = emoji.shortcodes();
    if codes.clone().any(|code| code == word) {
        Some(0)
    } else if codes.clone().any(|code| code.starts_with(word)) {
        Some(1)
    } else if codes.any(|code| code.split('_').any(|part| part.starts_with(word)))
        || emoji.name().split(|c: char| !c.is_alphanumeric()).any(|part| part.to_lowercase().starts_with(word))
    {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(before: &str) -> Option<&'static str> {
        found(&asked(before)?, |_| false).first().map(|emoji| emoji.as_str())
    }

    #[test]
    fn an_emoji_is_found_by_its_shortcode_or_its_name() {
        assert_eq!(first(":smile:"), Some("😄"));
        assert_eq!(first("good :smile_"), Some("😸"));
        assert_eq!(first("good:smile:"), Some("😄"));
        assert_eq!(first(":+1"), Some("👍"));
        assert_eq!(first(":hear"), Some("❤\u{FE0F}"));
        assert_eq!(first(":hedgeh"), Some("🦔"));
        assert_eq!(first(":volcan"), Some("🌋"));
        assert_eq!(first(":no_such_thing"), None);
    }

    #[test]
    fn a_time_or_an_address_is_no_shortcode() {
        for text in ["12:30", "http://", ":", "a :", "::", ": )", ":-)"] {
            assert_eq!(asked(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_used_recently_comes_before_its_like() {
        let asked = asked(":hear").unwrap();
        let ordinary = found(&asked, |_| false);
        let favourite = ordinary[7].as_str();
        assert_eq!(found(&asked, |emoji| emoji == favourite)[0].as_str(), favourite);
    }
}
