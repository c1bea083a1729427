//! The words that people read to each other: BIP-39's English list, of which no two share their first four letters.

use bip39::Language;

/// Bits that one word stands for.
pub const BITS: u32 = 11;

/// The word of this number; only its lowest [`BITS`] bits count.
#[must_use]
pub fn word(number: u16) -> &'static str {
    let words = Language::English.word_list();
    words.get(usize::from(number) % words.len()).copied().unwrap_or_default()
}

/// The word that somebody typed or heard: capital letters do not count, and its first four letters suffice.
#[must_use]
pub fn recognise(typed: &str) -> Option<&'static str> {
    let typed = typed.to_lowercase();
    let is = |word: &&&str| **word == typed || (typed.len() >= 4 && word.starts_with(&typed));
    Language::English.word_list().iter().find(is).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_is_a_word_for_every_number_and_four_letters_tell_it() {
        let words: BTreeSet<_> = (0..1 << BITS).map(word).collect();
        assert_eq!(words.len(), 1 << BITS);
        for word in words {
            assert!((3..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            assert_eq!(recognise(word), Some(word));
            assert_eq!(recognise(&word[..word.len().min(4)].to_uppercase()), Some(word));
        }
        assert_eq!(word(0), word(1 << BITS));
    }

    #[test]
    fn what_is_no_word_is_not_taken_for_one() {
        for typed in ["", "a", "orc", "orchards", "knothole", "ab andon", "abandön"] {
            assert_eq!(recognise(typed), None, "{typed}");
        }
    }
}
