//! Every sentence of the terminal interface, in each language: one file a room of the house, one constant a language.
//!
//! A `{}` stands for what is filled in, in the order of its coming.

pub(crate) mod commands;
pub(crate) mod composer;
pub(crate) mod conversation;
pub(crate) mod help;
pub(crate) mod netcheck;
pub(crate) mod palette;
pub(crate) mod people;
pub(crate) mod phrases;
pub(crate) mod plain;
pub(crate) mod refusals;
pub(crate) mod setup;
pub(crate) mod status;

/// All that is said, in each language, by the files of this directory.
macro_rules! words {
    ($($room:ident)*) => {
        /// All that is said in one language.
        #[derive(Debug)]
        pub(crate) struct Words {
            $(pub(crate) $room: $room::Words,)*
        }

        /// English.
        pub(crate) static ENGLISH: Words = Words { $($room: $room::ENGLISH,)* };

        /// Simplified Chinese.
        pub(crate) static CHINESE: Words = Words { $($room: $room::CHINESE,)* };
    };
}

words! {
    commands
    composer
    conversation
    help
    netcheck
    palette
    people
    phrases
    plain
    refusals
    setup
    status
}

/// The language that a locale asks for (`zh_CN.UTF-8`, `zh-Hans`), English where there is no other.
pub(crate) fn of_locale(locale: &str) -> &'static Words {
    let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
    if language.eq_ignore_ascii_case("zh") { &CHINESE } else { &ENGLISH }
}

/// The template with its gaps filled, the first first.
pub(crate) fn fill(template: &str, gaps: &[&str]) -> String {
    let mut parts = template.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut gaps = gaps.iter();
    for part in parts {
        text.push_str(gaps.next().copied().unwrap_or_default());
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_chooses_the_language() {
        for (locale, chinese) in [("zh_CN.UTF-8", true), ("zh-Hans", true), ("C", false), ("", false), ("en_GB", false)]
        {
            assert_eq!(std::ptr::eq(of_locale(locale), &CHINESE), chinese, "{locale}");
        }
    }

    #[test]
    fn gaps_are_filled_in_their_order() {
        assert_eq!(fill("{} of {}", &["1", "2"]), "1 of 2");
        assert_eq!(fill("none", &["x"]), "none");
    }

    /// Every sentence of a language with its name, in the order of the source.
    fn sentences(words: &Words) -> Vec<(String, String)> {
        read(&format!("{words:#?}"))
    }

    fn read(told: &str) -> Vec<(String, String)> {
        let sentence = |line: &str| {
            let line = line.trim().trim_end_matches(',');
            // One of a list has no name.
            let (name, text) = line.split_once(": \"").or_else(|| Some(("", line.strip_prefix('"')?)))?;
            Some((name.to_owned(), text.strip_suffix('"')?.replace("\\\"", "\"")))
        };
        told.lines().filter_map(sentence).collect()
    }

    /// What is the same in both languages: signs, and what is typed.
    fn is_same_in_both(text: &str) -> bool {
        text == "yes" || text == "{}. {}" || (text.starts_with('/') && !text.contains("{}"))
    }

    #[test]
    fn both_languages_say_everything_with_the_same_gaps() {
        let (english, chinese) = (sentences(&ENGLISH), sentences(&CHINESE));
        assert!(english.len() > 100 && english.len() == chinese.len(), "{} and {}", english.len(), chinese.len());
        for ((name, english), (same, chinese)) in english.iter().zip(&chinese) {
            assert_eq!(name, same);
            assert!(!english.trim().is_empty() && !chinese.trim().is_empty(), "{name} is empty");
            let gaps = |text: &str| text.matches("{}").count();
            assert_eq!(gaps(english), gaps(chinese), "{name}: {english:?}, {chinese:?}");
            assert!(!chinese.is_ascii() || is_same_in_both(chinese), "{name} is not translated: {chinese:?}");
            assert!(english.chars().all(|c| c.is_ascii() || "…✓·—–“”×°→↑↓←".contains(c)), "{name}: {english:?}");
        }
    }

    #[test]
    fn chinese_has_one_word_for_each_thing() {
        for (name, text) in sentences(&CHINESE) {
            for (other, word) in [("撤回", "删除"), ("修改", "编辑"), ("信件", "信箱")] {
                assert!(!text.contains(other), "{name} says {other}, not {word}: {text}");
            }
        }
    }

    #[test]
    fn whatever_is_said_besides_fits_into_its_rows_in_forty_columns() {
        let most = usize::from(crate::terminal::screen::geometry::SAID);
        for words in [&ENGLISH, &CHINESE] {
            let [commands, status, conversation] = [
                format!("{:#?}", words.commands),
                format!("{:#?}", words.status),
                format!("{:#?}", words.conversation),
            ];
            for (name, text) in [commands, status, conversation].iter().flat_map(|told| read(told)) {
                let rows = crate::terminal::cells::wrap(&text.replace("{}", "7-orchard-velvet"), 40).len();
                assert!(rows <= most, "{name} fills {rows} rows: {text:?}");
            }
        }
    }
}
