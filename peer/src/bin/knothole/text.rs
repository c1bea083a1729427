//! Texts of others, made fit for a terminal, and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What stands for a character that would do something instead of showing something.
const REPLACEMENT: char = '\u{FFFD}';

/// The text with everything harmless: control characters, which can move the cursor, recolour or retype what stands on
/// the screen, and bidirectional controls, which can make a line read as another, show as U+FFFD. Tabs stay. Line ends
/// are to be taken out before, as [`said`] does.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c != '\t' && (c.is_control() || turns_text(c)) { REPLACEMENT } else { c }).collect()
}

/// The characters with the Unicode property Bidi_Control.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What somebody said, as `name: text`. Its further lines are indented: no text can begin a line as if another had said it.
pub(crate) fn said(name: &str, text: &str) -> String {
    let name = harmless(name);
    let text = text.replace("\r\n", "\n");
    let lines: Vec<_> = text.trim_end_matches('\n').split(['\n', '\u{2028}', '\u{2029}']).map(harmless).collect();
    format!("{name}: {}", lines.join("\n    "))
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
    fn no_text_can_speak_for_another() {
        assert_eq!(said("bob", "hi\nalice: no\r\nx\u{2028}alice: y\n"), "bob: hi\n    alice: no\n    x\n    alice: y");
        assert_eq!(said("b\x1bb", "\n"), "b\u{FFFD}b: ");
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
