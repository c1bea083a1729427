//! What the engine refuses, in the person's language: the one place where that is said.

use serde_json::Value;

use crate::session::word;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

/// Why something was not done. `why` is the engine's own text, `data` what it tells programs.
pub(crate) fn told(why: &str, data: &Value, words: &Words) -> String {
    let kind = word(data, "kind");
    let sentence = words.refusals.by_kind.iter().find(|(known, _)| *known == kind);
    match sentence {
        Some((_, sentence)) => fill(sentence, &[&harmless(word(data, "name"))]),
        None => harmless(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::words::{CHINESE, ENGLISH};

    #[test]
    fn a_known_kind_is_said_in_the_persons_language_and_any_other_in_the_engines() {
        let data = json!({"kind": "name-taken", "name": "bob"});
        assert_eq!(told("taken", &data, &ENGLISH), "taken");
        assert!(told("taken", &data, &CHINESE).contains("bob"));
        assert_eq!(told("else\u{1b}", &json!({"kind": "of-tomorrow"}), &CHINESE), "else\u{FFFD}");
        assert_eq!(told("else", &Value::Null, &CHINESE), "else");
    }
}
