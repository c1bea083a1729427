use knothole_proto::frames::MAX_TEXT;
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::*;
use crate::terminal::cells::{boundary_from, width};

const FAMILY: &str = "👨\u{200D}👩\u{200D}👧\u{200D}👦";

struct Known;

impl Candidates for Known {
    fn commands(&self) -> Vec<Completable> {
        let command = |name: &str, takes| Completable { name: name.into(), about: "does it".into(), takes };
        vec![
            command("/accept", Takes::Name),
            command("/add", Takes::Other),
            command("/go", Takes::Name),
            command("/quit", Takes::Nothing),
        ]
    }

    fn names(&self) -> Vec<String> {
        ["bob", "Bertha", "Anna Maria", "李雷"].map(str::to_owned).into()
    }
}

/// A key as it is written in manuals: `a`, `C-a`, `M-a`, `C-M-a`, `RET`, `TAB`, `left`.
fn key(name: &str) -> KeyEvent {
    let mut modifiers = KeyModifiers::NONE;
    let mut rest = name;
    for (prefix, modifier) in [("C-", KeyModifiers::CONTROL), ("M-", KeyModifiers::ALT), ("S-", KeyModifiers::SHIFT)] {
        if let Some(key) = rest.strip_prefix(prefix).filter(|key| !key.is_empty()) {
            modifiers |= modifier;
            rest = key;
        }
    }
    let code = match rest {
        "RET" => KeyCode::Enter,
        "TAB" => KeyCode::Tab,
        "DEL" => KeyCode::Backspace,
        "ESC" => KeyCode::Esc,
        "SPC" => KeyCode::Char(' '),
        "delete" => KeyCode::Delete,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pageup" => KeyCode::PageUp,
        "f1" => KeyCode::F(1),
        c => KeyCode::Char(c.chars().next().unwrap()),
    };
    KeyEvent::new(code, modifiers)
}

fn press(composer: &mut Composer, keys: &str) -> Outcome {
    keys.split(' ').map(|name| composer.handle_key(key(name), &Known)).last().unwrap()
}

fn type_in(composer: &mut Composer, text: &str) {
    for c in text.chars() {
        composer.handle_key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE), &Known);
    }
}

/// A text that was typed, with the cursor where `|` is.
fn composer(text: &str) -> Composer {
    let mut composer = Composer::new();
    let cursor = text.find('|').unwrap();
    composer.set_text(&text.replace('|', ""));
    composer.text.put_cursor(cursor);
    composer
}

/// What it has, with the cursor as `|`.
fn seen(composer: &Composer) -> String {
    let (before, behind) = composer.text().split_at(composer.text.cursor());
    format!("{before}|{behind}")
}

/// What keys make of a text.
fn after(text: &str, keys: &str) -> String {
    let mut composer = composer(text);
    press(&mut composer, keys);
    seen(&composer)
}

#[test]
fn what_is_typed_is_sent_with_enter() {
    let mut composer = Composer::new();
    type_in(&mut composer, "hello");
    assert_eq!(press(&mut composer, "RET"), Outcome::Submit("hello".into()));
    assert!(composer.is_empty());
    assert_eq!(press(&mut composer, "RET"), Outcome::Ignored);
    assert_eq!(press(&mut composer, "SPC RET"), Outcome::Moved, "there is nothing to be sent");
}

#[test]
fn a_new_line_is_alt_enter_or_control_j_or_shift_enter() {
    for name in ["M-RET", "C-j", "S-RET"] {
        assert_eq!(after("a|b", name), "a\n|b");
    }
}

#[test]
fn what_is_seen_as_one_is_one_step_and_one_backspace() {
    assert_eq!(after(&format!("a{FAMILY}|b"), "left"), format!("a|{FAMILY}b"));
    assert_eq!(after(&format!("a{FAMILY}|b"), "DEL"), "a|b");
    assert_eq!(after("a|🇩🇪🇫🇷", "delete"), "a|🇫🇷");
    assert_eq!(after("|e\u{301}x", "C-f"), "e\u{301}|x");
    assert_eq!(after("a|\u{301}", "right left"), "|a\u{301}");
}

#[test]
fn words_are_those_of_unicode_and_ideographs_one_by_one() {
    assert_eq!(after("it's so-so|", "M-b"), "it's so-|so");
    assert_eq!(after("it's so-so|", "M-b M-b M-b"), "|it's so-so");
    assert_eq!(after("|one, two", "C-right"), "one|, two");
    assert_eq!(after("|one, two", "M-f M-f"), "one, two|");
    assert_eq!(after("明天见|", "M-b"), "明天|见");
    assert_eq!(after("one two|", "M-DEL"), "one |");
    assert_eq!(after("one| two three", "M-d"), "one| three");
    assert_eq!(after("see http://a.b/c |x", "C-w"), "see |x");
}

#[test]
fn a_line_is_a_logical_one_for_home_and_end() {
    assert_eq!(after("one\ntw|o", "C-a"), "one\n|two");
    assert_eq!(after("on|e\ntwo", "end"), "one|\ntwo");
    assert_eq!(after("one\ntw|o three", "C-u"), "one\n|o three");
    assert_eq!(after("one\n|two", "C-u"), "one|two");
    assert_eq!(after("o|ne\ntwo", "M-k"), "o|\ntwo");
    assert_eq!(after("one|\ntwo", "M-k"), "one|two");
}

#[test]
fn what_was_cut_is_put_back_and_cuts_in_a_row_are_one_piece() {
    assert_eq!(after("one two three|", "M-DEL M-DEL C-a C-y"), "two three|one ");
    assert_eq!(after("|one two three", "M-d M-d C-e C-y"), " threeone two|");
    let mut both = composer("one two|");
    press(&mut both, "M-DEL left right M-DEL C-y");
    assert_eq!(seen(&both), "one |");
    press(&mut both, "M-y");
    assert_eq!(seen(&both), "two|");
    assert_eq!(press(&mut both, "left M-y"), Outcome::Moved, "only right behind a yank");
}

#[test]
fn letters_are_exchanged_and_their_case_is_changed() {
    assert_eq!(after("ab|c", "C-t"), "acb|");
    assert_eq!(after("abc|", "C-t"), "acb|");
    assert_eq!(after("a\n|b", "C-t"), "a\n|b");
    assert_eq!(after("|straße nach", "M-u"), "STRASSE| nach");
    assert_eq!(after("| HELLO", "M-l"), " hello|");
    assert_eq!(after("|élan vital", "M-c M-c"), "Élan Vital|");
}

#[test]
fn changes_are_undone_word_by_word_and_made_again() {
    let mut words = Composer::new();
    type_in(&mut words, "one two");
    press(&mut words, "DEL DEL");
    let mut steps = Vec::new();
    while press(&mut words, "C-7") == Outcome::Changed {
        steps.push(words.text().to_owned());
    }
    assert_eq!(steps, ["one two", "one ", ""]);
    press(&mut words, "M-_ C-M-7");
    assert_eq!(seen(&words), "one two|");
    type_in(&mut words, "!");
    assert_eq!(press(&mut words, "M-_"), Outcome::Moved, "what was typed since has taken its place");
}

#[test]
fn keys_of_the_screen_are_passed_over() {
    let all = "M-a M-1 M-< C-home C-k C-l C-s C-c C-g C-z C-x ESC pageup f1 M-up M-down";
    let mut composer = composer("text|");
    for name in all.split(' ') {
        assert_eq!(press(&mut composer, name), Outcome::Ignored, "{name}");
    }
    assert_eq!(seen(&composer), "text|");
    for name in "up down left home C-e C-d DEL M-b C-u RET ESC TAB C-p".split(' ') {
        assert_eq!(press(&mut Composer::new(), name), Outcome::Ignored, "{name} with nothing typed");
    }
}

#[test]
fn up_and_down_go_by_the_rows_on_the_screen_and_keep_their_column() {
    let mut rows = composer("aaaa bbbb cccc|");
    rows.resize(6);
    press(&mut rows, "up");
    assert_eq!(seen(&rows), "aaaa bbbb| cccc");
    press(&mut rows, "up down down");
    assert_eq!(seen(&rows), "aaaa bbbb cccc|");
    assert_eq!(after("long line\n\nline|", "up up"), "long| line\n\nline");
    assert_eq!(after("字字字\nabc|", "up"), "字|字字\nabc");
}

#[test]
fn what_was_sent_is_recalled_as_in_a_shell() {
    let mut shell = Composer::new();
    for text in ["one", "two", "two"] {
        type_in(&mut shell, text);
        press(&mut shell, "RET");
    }
    assert_eq!(press(&mut shell, "C-p"), Outcome::Changed);
    assert_eq!(shell.text(), "two");
    press(&mut shell, "C-n");
    type_in(&mut shell, "unfinished");
    press(&mut shell, "up up");
    assert_eq!(seen(&shell), "one|");
    type_in(&mut shell, "!");
    assert_eq!(press(&mut shell, "up"), Outcome::Moved, "there is none before");
    press(&mut shell, "down down");
    assert_eq!(shell.text(), "unfinished");
    press(&mut shell, "up up");
    assert_eq!(press(&mut shell, "RET"), Outcome::Submit("one!".into()));
    press(&mut shell, "C-p C-p C-p");
    assert_eq!(shell.text(), "one", "what was changed on the way is as it was sent");
}

#[test]
fn a_paste_is_text_and_sends_nothing() {
    let mut paste = composer("a|b");
    assert_eq!(paste.handle_paste("1\r\n2\r3\t\u{1b}[31m\u{7}"), Outcome::Changed);
    assert_eq!(seen(&paste), "a1\n2\n3\t[31m|b");
    press(&mut paste, "C-7");
    assert_eq!(seen(&paste), "a|b");
    assert_eq!(paste.handle_paste("\u{1b}"), Outcome::Moved);
}

#[test]
fn a_long_paste_is_sent_by_the_second_enter() {
    let mut long = Composer::new();
    long.handle_paste("one\ntwo\n");
    type_in(&mut long, "three");
    assert_eq!(press(&mut long, "RET"), Outcome::Confirm { lines: 3, characters: 13 });
    assert_eq!(
        press(&mut long, "! RET"),
        Outcome::Confirm { lines: 3, characters: 14 },
        "another key takes the question back"
    );
    assert_eq!(press(&mut long, "RET"), Outcome::Submit("one\ntwo\nthree!".into()));
    type_in(&mut long, "next");
    assert!(matches!(press(&mut long, "RET"), Outcome::Submit(_)));
    long.handle_paste(&"x".repeat(201));
    assert!(matches!(press(&mut long, "RET"), Outcome::Confirm { lines: 1, characters: 201 }));
    press(&mut long, "C-u");
    long.handle_paste("short");
    assert!(matches!(press(&mut long, "RET"), Outcome::Submit(_)), "nothing of it was left");
}

#[test]
fn more_than_a_message_holds_is_refused() {
    let mut full = Composer::new();
    full.set_text(&"字".repeat(MAX_TEXT));
    assert_eq!(full.text().len(), MAX_TEXT - 1);
    assert_eq!(press(&mut full, "x"), Outcome::Changed);
    assert_eq!(press(&mut full, "x"), Outcome::Full);
    assert_eq!(full.handle_paste("x"), Outcome::Full);
    assert_eq!(full.text().len(), MAX_TEXT);
}

#[test]
fn commands_are_completed_in_turn() {
    assert_eq!(after("/q|", "TAB"), "/quit|");
    assert_eq!(after("/a|", "TAB"), "/accept |");
    assert_eq!(after("/a|", "TAB TAB"), "/add |");
    assert_eq!(after("/a|", "TAB TAB TAB"), "/accept |");
    assert_eq!(after("/a|", "S-TAB"), "/add |");
    assert_eq!(after("/a|", "TAB TAB ESC"), "/a|");
    assert_eq!(after("/a|", "TAB TAB C-7"), "/a|");
    assert_eq!(press(&mut composer("//a|"), "TAB"), Outcome::Ignored);
    assert_eq!(press(&mut composer("say /a|"), "TAB"), Outcome::Ignored);
}

#[test]
fn names_are_completed_behind_commands_that_take_them_and_quoted_where_they_have_spaces() {
    assert_eq!(after("/go b|", "TAB"), "/go bob |");
    assert_eq!(after("/go b|", "TAB TAB"), "/go Bertha |");
    assert_eq!(after("/go an|", "TAB"), "/go \"Anna Maria\" |");
    assert_eq!(after("/go \"anna m|", "TAB"), "/go \"Anna Maria\" |");
    assert_eq!(after("/go mar|", "TAB"), "/go \"Anna Maria\" |");
    assert_eq!(after("/go 李|", "TAB"), "/go 李雷 |");
    assert_eq!(press(&mut composer("/add b|"), "TAB"), Outcome::Ignored);
    assert_eq!(press(&mut composer("/nothing b|"), "TAB"), Outcome::Ignored);
}

#[test]
fn names_are_completed_at_the_beginning_and_behind_an_at() {
    assert_eq!(after("ber|", "TAB"), "Bertha: |");
    assert_eq!(after("ask @ber| now", "TAB"), "ask @Bertha| now");
    assert_eq!(after("@anna|", "TAB"), "@\"Anna Maria\" |");
    assert_eq!(press(&mut composer("ask ber|"), "TAB"), Outcome::Ignored);
}

#[test]
fn a_shortcode_becomes_an_emoji() {
    assert_eq!(after("well :smile:|", "TAB"), "well 😄|");
    assert_eq!(after(":+1|!", "TAB"), "👍|!");
    let mut recent = composer(":hear|");
    press(&mut recent, "TAB TAB TAB TAB SPC");
    let chosen = recent.text().trim_end().to_owned();
    type_in(&mut recent, ":hear");
    press(&mut recent, "TAB");
    assert_eq!(recent.text(), format!("{chosen} {chosen}"), "what was used recently comes first");
}

#[test]
fn a_choice_among_several_is_shown_and_any_other_key_ends_it() {
    let mut choice = composer("/go |");
    press(&mut choice, "TAB TAB");
    let popup = choice.popup().unwrap();
    assert_eq!(popup.rows.iter().map(|row| row.0).collect::<Vec<_>>(), ["bob", "Bertha", "Anna Maria", "李雷"]);
    assert_eq!((popup.current, popup.more_below), (1, false));
    assert_eq!(press(&mut choice, "RET"), Outcome::Changed, "the choice is made, and nothing sent yet");
    assert!(choice.popup().is_none());
    assert_eq!(press(&mut choice, "RET"), Outcome::Submit("/go Bertha ".into()));
    assert_eq!(press(&mut composer("/q|"), "TAB RET"), Outcome::Submit("/quit".into()), "there was nothing to choose");
    let mut many = composer(":s|");
    press(&mut many, "TAB");
    let popup = many.popup().unwrap();
    assert_eq!((popup.rows.len(), popup.current, popup.more_above, popup.more_below), (8, 0, false, true));
    press(&mut many, "S-TAB");
    let popup = many.popup().unwrap();
    assert_eq!((popup.rows.len(), popup.current, popup.more_above, popup.more_below), (8, 7, true, false));
}

#[test]
fn the_cursor_has_a_place_behind_a_full_row() {
    let layout = composer("abcde|").layout(6, 3);
    assert_eq!((layout.rows, layout.cursor), (vec!["abcde".to_owned()], (5, 0)));
    let layout = composer("abcdef|").layout(6, 3);
    assert_eq!((layout.rows, layout.cursor), (vec!["abcde".to_owned(), "f".to_owned()], (1, 1)));
    let layout = composer("abcde|f").layout(6, 3);
    assert_eq!(layout.cursor, (0, 1));
    let layout = composer("ab\n|").layout(6, 3);
    assert_eq!((layout.rows, layout.cursor), (vec!["ab".to_owned(), String::new()], (0, 1)));
    assert_eq!(composer("ab          |").layout(6, 3).cursor, (5, 0), "white space hangs");
}

#[test]
fn of_a_long_text_the_rows_around_the_cursor_are_seen() {
    let text = (0..20).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
    let layout = composer(&format!("{text}|")).layout(10, 4);
    assert_eq!(layout.rows, ["16", "17", "18", "19"]);
    assert_eq!((layout.cursor, layout.more_above, layout.more_below), ((2, 3), true, false));
    let layout = composer(&format!("|{text}")).layout(10, 4);
    assert_eq!((layout.cursor, layout.more_above, layout.more_below), ((0, 0), false, true));
}

/// Keys and pastes of all kinds.
fn input() -> impl Strategy<Value = Result<KeyEvent, String>> {
    let letters = prop::sample::select(vec![
        'a', 'Z', ' ', '-', '/', '@', ':', '"', 's', '字', '。', '👨', '👩', '\u{200D}', '\u{FE0F}', '❤', '🏽', '🇩',
        '🇪', '\u{301}', 'ש', 'क', '\u{94D}', '\u{1100}', '\u{1161}', '\t', 'ß', 'İ',
    ]);
    let letter = letters.prop_map(|c| Ok(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    let names = "RET M-RET C-j left right C-left C-right home end up down DEL delete M-DEL C-w M-d C-u M-k C-y M-y C-t \
                 M-u M-l M-c C-7 M-_ TAB S-TAB ESC C-p C-n C-k pageup";
    let name = prop::sample::select(names.split_whitespace().collect::<Vec<_>>()).prop_map(|name| Ok(key(name)));
    let any_key = (any::<char>(), 0_u8..64)
        .prop_map(|(c, bits)| Ok(KeyEvent::new(KeyCode::Char(c), KeyModifiers::from_bits_truncate(bits))));
    let paste = prop_oneof![
        8 => ".{0,20}".prop_map(Err),
        8 => prop::sample::select(vec![FAMILY, "a\r\nb", "\u{301}", "/go ", ":smi"]).prop_map(|text| Err(text.to_owned())),
        1 => (MAX_TEXT - 20..MAX_TEXT).prop_map(|length| Err("x".repeat(length))),
    ];
    prop_oneof![8 => letter, 8 => name, 1 => any_key, 1 => paste]
}

proptest! {
    #![proptest_config(crate::terminal::seeded::usual())]

    #[test]
    fn whatever_is_typed_the_cursor_stands_between_clusters_and_in_sight(
        inputs in prop::collection::vec(input(), 0..80),
        columns in 1_usize..30,
        most in 1_usize..6,
    ) {
        let mut composer = Composer::new();
        composer.resize(columns);
        for input in inputs {
            let before = composer.text().to_owned();
            let outcome = match &input {
                Ok(key) => composer.handle_key(*key, &Known),
                Err(text) => composer.handle_paste(text),
            };
            let (text, cursor) = (composer.text(), composer.text.cursor());
            prop_assert!(text.len() <= MAX_TEXT);
            prop_assert_eq!(boundary_from(text, cursor), cursor, "within a cluster of {:?}", text);
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
            match outcome {
                Outcome::Ignored | Outcome::Moved | Outcome::Full | Outcome::Confirm { .. } => prop_assert_eq!(text, &before),
                Outcome::Submit(sent) => {
                    prop_assert_eq!(sent, before);
                    prop_assert!(text.is_empty());
                }
                Outcome::Changed => {}
            }
            if text.len() < 1000 {
                let layout = composer.layout(columns, most);
                let (column, row) = layout.cursor;
                prop_assert!(column < columns && row < layout.rows.len() && layout.rows.len() <= most);
                prop_assert!(columns < 3 || layout.rows.iter().all(|row| width(row) <= columns));
                prop_assert!(composer.popup().is_none_or(|popup| popup.current < popup.rows.len() && popup.rows.len() <= 8));
            }
        }
    }

    #[test]
    fn everything_can_be_undone_and_done_again(inputs in prop::collection::vec(input(), 0..30)) {
        let mut composer = Composer::new();
        for input in inputs {
            match input {
                // What is sent or recalled is another text.
                Ok(key) if matches!(keys::action(key), Some(Action::Submit | Action::Up | Action::Down | Action::Earlier | Action::Later)) => {}
                Ok(key) => drop(composer.handle_key(key, &Known)),
                // Of so much, only the last changes are kept.
                Err(text) if text.len() > 1000 => {}
                Err(text) => drop(composer.handle_paste(&text)),
            }
        }
        press(&mut composer, "C-k");
        while press(&mut composer, "M-_") == Outcome::Changed {}
        let end = composer.text().to_owned();
        while press(&mut composer, "C-7") == Outcome::Changed {}
        prop_assert_eq!(composer.text(), "");
        while press(&mut composer, "M-_") == Outcome::Changed {}
        prop_assert_eq!(composer.text(), end);
    }
}
