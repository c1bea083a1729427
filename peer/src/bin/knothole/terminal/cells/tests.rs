use proptest::prelude::*;
use ratatui::buffer::CellWidth as _;
use unicode_segmentation::UnicodeSegmentation as _;

use super::*;

/// A family of four, joined.
const FAMILY: &str = "👨\u{200D}👩\u{200D}👧\u{200D}👦";

fn lines(text: &str, columns: usize) -> Vec<&str> {
    wrap(text, columns).into_iter().map(|line| &text[line]).collect()
}

fn widths(text: &str) -> Vec<usize> {
    graphemes(text).map(|cluster| cluster.width).collect()
}

/// Columns that ratatui takes to draw a text.
fn drawn_width(text: &str) -> usize {
    let visible = text.graphemes(true).filter(|cluster| !cluster.contains(char::is_control));
    visible.map(|cluster| usize::from(cluster.cell_width())).sum()
}

#[test]
fn a_letter_has_one_column_and_an_ideograph_or_an_emoji_two() {
    assert_eq!(widths("aé字한ｱ"), [1, 1, 2, 2, 1]);
    assert_eq!(widths(FAMILY), [2]);
    assert_eq!(widths("🇩🇪🇫🇷❤️👍🏽1️⃣"), [2, 2, 2, 2, 2]);
    assert_eq!(widths("e\u{301}x"), [1, 1]);
    assert_eq!(width("a\t字"), 1 + 4 + 2);
}

#[test]
fn a_mark_without_a_letter_is_seen_and_what_is_never_seen_is_not() {
    assert_eq!((width("\u{301}"), &*shown("\u{301}")), (1, "\u{25CC}\u{301}"));
    assert_eq!(width("\u{200B}\u{FEFF}\u{AD}"), 0);
}

#[test]
fn conjunct_letters_wider_than_two_columns_are_taken_apart() {
    // The Hindi word for woman is one cluster of four columns.
    assert_eq!(graphemes("स्त्री").map(|part| part.text).collect::<Vec<_>>(), ["स्त्", "री"]);
    let many = "\u{1100}".repeat(30);
    assert!(graphemes(&many).all(|part| part.width == 2));
    assert_eq!(lines(&many, 10).len(), 6);
}

#[test]
fn what_is_drawn_does_nothing_at_a_terminal_and_piles_up_nothing() {
    assert_eq!(shown("a\tb\u{1b}\u{202E}\r\n"), "a    b\u{FFFD}\u{FFFD}\u{FFFD}");
    let piled = format!("a{}", "\u{300}".repeat(1000));
    assert_eq!((width(&piled), shown(&piled).chars().count()), (1, 16));
    assert_eq!(shown(&format!("{piled}ीी")).chars().count(), 16);
    assert_eq!(shown("👨\u{200D}"), "👨");
    assert_eq!(shown(FAMILY), FAMILY);
}

#[test]
fn lines_end_between_words() {
    assert_eq!(lines("the quick brown fox", 10), ["the quick ", "brown fox"]);
    assert_eq!(lines("well-known places", 8), ["well-", "known ", "places"]);
    assert_eq!(lines("run -x", 5), ["run ", "-x"]);
    assert_eq!(lines("bien sûr !", 9), ["bien ", "sûr !"]);
    assert_eq!(lines("pages 1-2", 8), ["pages ", "1-2"]);
    assert_eq!(lines("a\n\nb\n", 9), ["a", "", "b", ""]);
    assert_eq!(lines("", 9), [""]);
    assert_eq!(lines("keep\u{A0}these two", 10), ["keep\u{A0}these ", "two"]);
}

#[test]
fn a_word_longer_than_a_line_is_broken() {
    assert_eq!(lines("see abcdefghij", 4), ["see ", "abcd", "efgh", "ij"]);
    assert_eq!(lines("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
    assert_eq!(lines(&FAMILY.repeat(3), 5), [FAMILY.repeat(2), FAMILY.to_owned()]);
}

#[test]
fn white_space_at_the_end_of_a_line_hangs() {
    assert_eq!(lines("abcd     efgh", 4), ["abcd     ", "efgh"]);
    assert_eq!(lines("abcd   ", 4), ["abcd   "]);
}

#[test]
fn ideographs_break_anywhere_but_around_their_punctuation() {
    assert_eq!(lines("我们明天见", 4), ["我们", "明天", "见"]);
    assert_eq!(lines("我们。明天", 4), ["我", "们。", "明天"]);
    assert_eq!(lines("他说「好」吗", 6), ["他说", "「好」", "吗"]);
    assert_eq!(lines("ok字ok", 4), ["ok字", "ok"]);
    assert_eq!(lines("字字,字", 4), ["字", "字,", "字"]);
    assert_eq!(lines("👍👍👍", 4), ["👍👍", "👍"]);
}

#[test]
fn a_text_is_cut_with_a_mark_and_filled_with_spaces() {
    assert_eq!(truncate("hello", 5), "hello");
    assert_eq!(truncate("hello", 4), "hel…");
    assert_eq!(truncate("字字字", 6), "字字字");
    assert_eq!(truncate("字字字", 5), "字字…");
    assert_eq!(truncate("字字字", 4), "字…");
    assert_eq!((truncate("ab", 1), truncate("ab", 0)), ("…".into(), "".into()));
    assert_eq!(pad("字字字", 4), "字… ");
    assert_eq!(pad("ab", 4), "ab  ");
}

#[test]
fn text_from_right_to_left_is_isolated_line_by_line() {
    assert_eq!(isolated("hello 字"), "hello 字");
    assert_eq!(isolated("hi שלום!\nhi"), "\u{2068}hi שלום!\u{2069}\nhi");
    assert_eq!(isolated("مرحبا"), "\u{2068}مرحبا\u{2069}");
}

#[test]
fn boundaries_are_those_of_clusters() {
    let text = format!("a{FAMILY}e\u{301}");
    let family = 1 + FAMILY.len();
    assert_eq!(
        (next_boundary(&text, 0), next_boundary(&text, 1), next_boundary(&text, family)),
        (1, family, text.len())
    );
    assert_eq!((previous_boundary(&text, text.len()), previous_boundary(&text, family)), (family, 1));
    assert_eq!((previous_boundary(&text, 0), next_boundary(&text, text.len())), (0, text.len()));
    assert_eq!((boundary_from(&text, 5), boundary_from(&text, 1), boundary_from(&text, 999)), (family, 1, text.len()));
}

/// Texts of what is hard: joiners, marks, flags, spaces, wide and narrow, and any characters.
fn text() -> impl Strategy<Value = String> {
    let hard = prop::sample::select(vec![
        "a", "word", " ", "  ", "-", "\t", "字", "。", "「", "」", "한", "\u{1100}", "\u{1161}", "e\u{301}", "\u{301}",
        "\u{200D}", "👍", "🏽", FAMILY, "🇩", "🇪", "❤", "\u{FE0F}", "क", "\u{94D}", "ी", "ﾞ", "\u{200B}", "\u{A0}",
        "\u{17D8}", "ש", "\r", "é", "я", "ア",
    ]);
    let piece = prop_oneof![6 => hard.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Whether a cluster is emoji joined in a way that no emoji is; of such parts, each is measured by itself.
fn is_malformed(cluster: &str) -> bool {
    cluster.contains(['\u{200D}', '\u{FE0F}', '🏻', '🏼', '🏽', '🏾', '🏿']) && cluster.cell_width() > 2
}

/// A text on one line, and without such clusters.
fn well_formed(mut text: String) -> String {
    text = text.replace('\n', "");
    while text.graphemes(true).any(is_malformed) {
        text = text.graphemes(true).filter(|cluster| !is_malformed(cluster)).collect();
    }
    text
}

proptest! {
    #![proptest_config(crate::terminal::seeded::usual())]

    #[test]
    fn clusters_are_all_of_a_text_and_none_is_split_but_for_its_width(text in text()) {
        let parts: Vec<_> = graphemes(&text).collect();
        prop_assert_eq!(parts.iter().map(|part| part.text).collect::<String>(), text.as_str());
        let starts: Vec<_> = parts.iter().map(|part| part.start).collect();
        for (start, cluster) in text.grapheme_indices(true) {
            prop_assert!(starts.contains(&start), "{start} begins no cluster");
            let inside = starts.iter().any(|part| *part > start && *part < start + cluster.len());
            prop_assert!(!inside || cluster.cell_width() > 2, "{cluster:?} was split");
        }
        prop_assert!(parts.iter().all(|part| part.width <= 2 || part.text == "\t"));
    }

    #[test]
    fn what_is_measured_is_what_is_drawn(text in text().prop_map(well_formed)) {
        prop_assert_eq!(drawn_width(&shown(&text)), width(&text), "{:?}", shown(&text));
        prop_assert!(!shown(&text).chars().any(does_something));
    }

    #[test]
    fn wrapping_loses_nothing_and_keeps_to_the_columns(text in text(), feeds in prop::collection::vec(any::<prop::sample::Index>(), 0..3), columns in 2_usize..30) {
        let mut text = text;
        for feed in feeds {
            let starts: Vec<_> = text.grapheme_indices(true).map(|(start, _)| start).chain([text.len()]).collect();
            text.insert(starts[feed.index(starts.len())], '\n');
        }
        let lines = wrap(&text, columns);
        let parts: Vec<_> = graphemes(&text).collect();
        let starts: Vec<_> = parts.iter().map(|part| part.start).chain([text.len()]).collect();
        let mut end = 0;
        for line in &lines {
            prop_assert_eq!(text[end..line.start].replace('\n', ""), "", "something was lost");
            prop_assert!(text[end..line.start].len() <= 1);
            // Line feeds end lines even behind a carriage return, of which they are a cluster otherwise.
            prop_assert!(starts.contains(&line.start) || text[..line.start].ends_with("\r\n"));
            let seen = line.start..line.start + text[line.clone()].trim_end_matches([' ', '\t', '\u{3000}']).len();
            let wide: usize = parts.iter().filter(|part| seen.contains(&part.start)).map(|part| part.width).sum();
            prop_assert!(wide <= columns, "{:?} is wider than {columns}", &text[seen]);
            end = line.end;
        }
        prop_assert_eq!(end, text.len());
    }

    #[test]
    fn what_is_cut_and_filled_has_exactly_the_columns(text in text(), columns in 0_usize..30) {
        prop_assert_eq!(width(&pad(&text, columns)), columns);
    }

    #[test]
    fn boundaries_lead_through_all_clusters_and_back(text in text()) {
        let starts: Vec<_> = text.grapheme_indices(true).map(|(start, _)| start).chain([text.len()]).collect();
        for pair in starts.windows(2) {
            prop_assert_eq!(next_boundary(&text, pair[0]), pair[1]);
            prop_assert_eq!(previous_boundary(&text, pair[1]), pair[0]);
        }
    }
}
