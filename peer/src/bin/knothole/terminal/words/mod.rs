//! Every sentence of the terminal interface, in each language: one file a room of the house, one constant a language.
//!
//! A `{}` stands for what is filled in, in the order of its coming.

pub(crate) mod composer;
pub(crate) mod conversation;
pub(crate) mod status;

/// All that is said in one language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) composer: composer::Words,
    pub(crate) conversation: conversation::Words,
    pub(crate) status: status::Words,
}

/// English.
pub(crate) static ENGLISH: Words =
    Words { composer: composer::ENGLISH, conversation: conversation::ENGLISH, status: status::ENGLISH };

/// Simplified Chinese.
pub(crate) static CHINESE: Words =
    Words { composer: composer::CHINESE, conversation: conversation::CHINESE, status: status::CHINESE };

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
}
