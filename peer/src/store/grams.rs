//! What a text is found by: its *grams*, the runs of one, two and three characters that it holds, without regard to case.
//!
//! They are words for FTS5's `ascii` tokenizer, which takes ASCII letters, digits and all else that is not ASCII for
//! characters of a word; the rest of ASCII is moved to where it does. The conversation that a message belongs to is one
//! more word, so that the index itself passes over all other conversations. Whether a message that has a search's grams
//! also holds the search is [`holds`]' business.

use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

/// Characters of the longest gram. Longer ones would find little more precisely, and there are many of them.
const LONGEST: usize = 3;

/// Grams that are asked for at most: more narrow the search down no further, and each costs a list to walk.
const ASKED: usize = 32;

/// Where the punctuation of ASCII is moved to: a range for private use, which nobody writes.
const MOVED: u32 = 0xE000;

/// Begins the word for a conversation, in the same range.
const CONVERSATION: char = '\u{E100}';

/// Gives a connection the SQL function `grams(contact, text)`.
pub(super) fn register(database: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    database.create_scalar_function("grams", 2, flags, |arguments| {
        Ok(grams(arguments.get(0)?, arguments.get_raw(1).as_str().unwrap_or_default()))
    })
}

/// A text whose case makes no difference. Character by character: the lower case of a whole text depends on its ends.
pub(super) fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// Whether a text holds what is searched, which is folded already.
pub(super) fn holds(text: &str, search: &[char]) -> bool {
    search.is_empty() || fold(text).windows(search.len()).any(|run| run == search)
}

/// The expression that finds, in FTS5's language, all messages of a conversation that may hold a search, and some others.
pub(super) fn expression(contact: i64, search: &[char]) -> String {
    let length = search.len().min(LONGEST);
    // The last is needed for the end; each third covers the rest.
    let mut asked: BTreeSet<String> = search.windows(length.max(1)).step_by(LONGEST).take(ASKED).map(word).collect();
    asked.extend(search.windows(length.max(1)).last().map(word));
    asked.insert(conversation(contact));
    asked.into_iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" AND ")
}

fn grams(contact: i64, text: &str) -> String {
    let text = fold(text);
    let mut runs: Vec<&[char]> = (1..=LONGEST).flat_map(|length| text.windows(length)).collect();
    runs.sort_unstable();
    runs.dedup();
    let mut words = conversation(contact);
    for run in runs {
        words.push(' ');
        words.extend(run.iter().copied().map(moved));
    }
    words
}

fn conversation(contact: i64) -> String {
    format!("{CONVERSATION}{contact}")
}

fn word(run: &[char]) -> String {
    run.iter().copied().map(moved).collect()
}

fn moved(c: char) -> char {
    if c.is_ascii() && !c.is_ascii_alphanumeric() { char::from_u32(MOVED + u32::from(c)).unwrap_or(c) } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_runs_of_one_to_three_characters_once_each() {
        let found = grams(7, "東京東京");
        let expected = ["\u{E100}7", "京", "京東", "京東京", "東", "東京", "東京東"];
        assert_eq!(found.split(' ').collect::<BTreeSet<_>>(), BTreeSet::from(expected));
        assert_eq!(found.split(' ').count(), expected.len());
    }

    #[test]
    fn no_gram_holds_what_the_tokenizer_or_the_expression_would_cut_at() {
        let all: String = (0..128u8).map(char::from).collect();
        let words = grams(1, &all);
        for word in words.split(' ') {
            assert!(!word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || !c.is_ascii()), "{word:?}");
        }
    }

    #[test]
    fn case_is_folded_whatever_the_script_and_the_place() {
        for (text, search) in
            [("ΟΔΟΣ ", "οδος"), ("οδος", "ΟΔΟΣ Α".trim_end_matches(" Α")), ("KÖLN", "öl"), ("Йод", "йо")]
        {
            assert!(holds(text, &fold(search)), "{text} {search}");
        }
        assert!(!holds("東京", &fold("京東")));
    }

    #[test]
    fn a_long_search_asks_for_a_bounded_number_of_grams() {
        let search: Vec<char> = (0..2000).filter_map(|n| char::from_u32(0x4E00 + n)).collect();
        assert_eq!(expression(1, &search).matches(" AND ").count(), ASKED + 1);
    }
}
