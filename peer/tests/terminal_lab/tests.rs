//! The terminal is what it says it is.

use super::golden::picture;
use super::screen::display;
use super::{Key, Size};

const SIZE: Size = Size { rows: 4, columns: 20 };

fn lines(written: &str) -> Vec<String> {
    let mut display = display(SIZE);
    display.take(written.as_bytes());
    display.screen().lines()
}

#[test]
fn wide_characters_fill_two_columns_and_marks_none() {
    let mut display = display(SIZE);
    display.take("世e\u{301}\u{FFFD}|".as_bytes());
    let screen = display.screen();
    assert_eq!(screen.cells(0)[..5], ["世", "", "e\u{301}", "\u{FFFD}", "|"]);
    assert_eq!((screen.find("|"), screen.cursor()), (Some((0, 4)), (0, 5)));
}

#[test]
fn what_stands_behind_a_joined_emoji_is_where_the_program_moves_the_cursor() {
    let family = "👩\u{200D}👩\u{200D}👧";
    let mut display = display(SIZE);
    display.take(format!("{family}\x1b[1;3H      |").as_bytes());
    assert_eq!(display.screen().find("|"), Some((0, 8)));
    assert_eq!(display.screen().cells(0)[2..8].concat(), " ".repeat(6));
    assert_eq!(lines(&format!("{family}|"))[0].matches(['👩', '👧']).count(), 3, "it joins nothing");
}

#[test]
fn a_replacement_character_may_come_in_pieces() {
    let mut display = display(SIZE);
    for byte in "a\u{FFFD}\u{FFFD}b￼".bytes() {
        display.take(&[byte]);
    }
    assert_eq!(display.screen().line(0), "a\u{FFFD}\u{FFFD}b￼");
}

#[test]
fn questions_are_answered() {
    let mut display = display(SIZE);
    assert_eq!(display.take(b"ab\x1b[6n"), b"\x1b[1;3R");
    assert_eq!(display.take(b"\x1b[?u\x1b[c"), b"\x1b[?64;1;22c");
}

#[test]
fn a_golden_hides_what_differs_and_keeps_every_column() {
    let mut display = display(SIZE);
    display.take("12:34 knothole:abcde\r\n  3:5 x 25 ms |\r\n\x1b[7m▀▄▀▄ ▀▄▀▄▀\x1b[m| 1.5 ms".as_bytes());
    let seen = picture(&display.screen(), &[("abcde3:5", "abcdeP:P")]);
    assert_eq!(
        seen,
        "20×4, cursor: row 2, column 18\nHH:MM knothole:abcde\n  P:P x # ms  |\n▒▒▒▒▒▒▒▒▒▒| # ms\n\n\
         row 2 marked: 0–9\n"
    );
}

#[test]
fn keys_are_those_of_xterm() {
    assert_eq!(Key::Ctrl('k').bytes(), [0x0b]);
    assert_eq!(Key::Alt('\r').bytes(), b"\x1b\r");
    assert_eq!(Key::PageUp.bytes(), b"\x1b[5~");
}
