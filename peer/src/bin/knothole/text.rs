//! Texts of others, made fit for a terminal, and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::terminal::cells;

/// What stands for a character that would do something instead of showing something.
pub(crate) const REPLACEMENT: char = '\u{FFFD}';

/// The text with everything harmless: control characters, which can move the cursor, recolour or retype what stands on
/// the screen, bidirectional controls, which can make a line read as another, and further line ends show as U+FFFD. Tabs
/// stay, and so does what letters and emoji are joined of. Line ends are to be taken out before, as [`said`] does.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c != '\t' && does_something(c) { REPLACEMENT } else { c }).collect()
}

/// JSON, with what would do something at a terminal escaped. It means the same: such characters are in its strings alone.
pub(crate) fn escaped(json: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if does_something(c) {
            // Writing to memory cannot fail; and none of these lies beyond U+FFFF.
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether a terminal does something at this character instead of showing it.
pub(crate) fn does_something(c: char) -> bool {
    // Line and paragraph separators, and the marks that hide annotations.
    c.is_control() || turns_text(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFF9}'..='\u{FFFB}')
}

/// The characters with the Unicode property Bidi_Control, and those that changed the shapes of letters once.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}')
}

/// What somebody said, as `name: text`. Its further lines are indented: no text can begin a line as if another had said it.
pub(crate) fn said(name: &str, text: &str) -> String {
    format!("{}: {}", isolated(name), indented(text))
}

/// A text of several lines, all but the first of them indented, each harmless and [`isolated`].
pub(crate) fn indented(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<_> = text.trim_end_matches('\n').split(['\n', '\u{2028}', '\u{2029}']).map(isolated).collect();
    lines.join("\n    ")
}

/// A text of one line made [`harmless`], and kept from reordering what stands beside it where it is written from right to left.
pub(crate) fn isolated(text: &str) -> String {
    cells::isolated(&harmless(text)).into_owned()
}

/// A line without the marks that isolate: for whoever compares texts, and does not look at them.
pub(crate) fn as_written(line: &str) -> String {
    line.replace(['\u{2068}', '\u{2069}'], "")
}

/// The beginning of a text, on one line.
pub(crate) fn beginning(text: &str) -> String {
    const CHARACTERS: usize = 40;
    let line = harmless(text.lines().next().unwrap_or_default());
    if line.chars().count() <= CHARACTERS && text.lines().nth(1).is_none() {
        return line;
    }
    let kept: String = line.chars().take(CHARACTERS).collect();
    format!("{kept}…")
}

/// The minute of a time given in milliseconds since 1970, in this machine's time zone.
pub(crate) fn minute(at: u64) -> String {
    minute_in(at, TimeZone::system())
}

fn minute_in(at: u64, zone: TimeZone) -> String {
    let time = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    // The clock of another may say anything.
    time.map_or_else(|| "????-??-?? ??:??".into(), |time| time.to_zoned(zone).strftime("%F %H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_lose_their_power_and_tabs_stay() {
        assert_eq!(harmless("a\tb"), "a\tb");
        assert_eq!(harmless("\x1b[2J\x07\r\x7f\u{9b}31m"), "\u{FFFD}[2J\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}31m");
        for c in (0..=0x1f).chain(0x7f..=0x9f).filter_map(char::from_u32).filter(|c| *c != '\t') {
            assert_eq!(harmless(&c.to_string()), "\u{FFFD}", "{c:?}");
        }
    }

    #[test]
    fn nothing_turns_the_direction_of_a_line() {
        for c in ['\u{202A}', '\u{202B}', '\u{202C}', '\u{202D}', '\u{202E}', '\u{2066}', '\u{2069}', '\u{200F}'] {
            assert_eq!(harmless(&format!("a{c}b")), "a\u{FFFD}b");
        }
        assert_eq!(harmless("שלום, 世界, 👩‍👩‍👧"), "שלום, 世界, 👩‍👩‍👧");
    }

    #[test]
    fn nasty_strings_keep_their_letters_and_lose_their_power() {
        for (nasty, told) in [
            // Clears the screen, moves up, and writes over what another said.
            ("\x1b[2J\x1b[1A\x1b[Kalice: yes", "\u{FFFD}[2J\u{FFFD}[1A\u{FFFD}[Kalice: yes"),
            // Sets the window's title, and writes to the clipboard (OSC 0, OSC 52), with either end.
            ("\x1b]0;title\x07", "\u{FFFD}]0;title\u{FFFD}"),
            ("\u{9d}52;c;aGk=\u{9c}", "\u{FFFD}52;c;aGk=\u{FFFD}"),
            ("\x1b]8;;http://evil\x1b\\\\bank", "\u{FFFD}]8;;http://evil\u{FFFD}\\\\bank"),
            ("safe\rEVIL\x08\x08\0", "safe\u{FFFD}EVIL\u{FFFD}\u{FFFD}\u{FFFD}"),
            ("\u{202E}gpj.exe", "\u{FFFD}gpj.exe"),
            ("a\u{2066}b\u{2069}\u{061C}\u{200F}c\u{206A}", "a\u{FFFD}b\u{FFFD}\u{FFFD}\u{FFFD}c\u{FFFD}"),
            ("a\u{85}b\u{2028}c\u{2029}\u{0B}\u{0C}", "a\u{FFFD}b\u{FFFD}c\u{FFFD}\u{FFFD}\u{FFFD}"),
        ] {
            assert_eq!(harmless(nasty), told, "{nasty:?}");
        }
        for fine in ["👩‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️", "e\u{301} ก็ ि", "مرحبا שלום 世界", "a\u{200C}b\u{200D}c\u{FEFF}"]
        {
            assert_eq!(harmless(fine), fine);
            assert_eq!(escaped(fine), fine);
        }
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let value = serde_json::json!({"text": "a\u{1b}\u{9b}31m\u{7f}\u{202E}\u{2028}\n\\u0041 é"});
        let json = escaped(&value.to_string());
        assert!(!json.chars().any(does_something), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn no_text_can_speak_for_another() {
        assert_eq!(said("bob", "hi\nalice: no\r\nx\u{2028}alice: y\n"), "bob: hi\n    alice: no\n    x\n    alice: y");
        assert_eq!(said("b\x1bb", "\n"), "b\u{FFFD}b: ");
    }

    #[test]
    fn what_goes_from_right_to_left_stays_between_what_stands_around_it() {
        let told = said("דוד", "1\nשלום 2\n\u{2069}x");
        assert_eq!(told, "\u{2068}דוד\u{2069}: 1\n    \u{2068}שלום 2\u{2069}\n    \u{FFFD}x");
        assert_eq!(as_written(&told), "דוד: 1\n    שלום 2\n    \u{FFFD}x");
    }

    #[test]
    fn a_long_or_many_lined_text_is_told_by_its_beginning() {
        assert_eq!(beginning("hello"), "hello");
        assert_eq!(beginning("hello\nworld"), "hello…");
        assert_eq!(beginning(&"é".repeat(50)), format!("{}…", "é".repeat(40)));
    }

    #[test]
    fn times_are_told_to_the_minute_and_impossible_ones_not_at_all() {
        assert_eq!(minute_in(1_700_000_000_000, TimeZone::UTC), "2023-11-14 22:13");
        assert_eq!(minute_in(u64::MAX, TimeZone::UTC), "????-??-?? ??:??");
    }
}
