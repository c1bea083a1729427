//! What the engine refuses, in the person's language: the one place where that is said.

use serde_json::Value;

use crate::session::word;
use crate::terminal::words::{Words, fill};
use crate::text::harmless;

/// Why something was not done. `why` is the engine's own text, `data` what it tells programs.
pub(crate) fn told(why: &str, data: &Value, words: &Words) -> String {
    let kind = word(data, "kind");
    let Some((_, sentence)) = words.refusals.by_kind.iter().find(|(known, _)| *known == kind) else {
        return harmless(why);
    };
    let field = |name: &str| match &data[name] {
        Value::String(text) => harmless(text),
        Value::Null => words.refusals.someone.to_owned(),
        other => other.to_string(),
    };
    let fields: &[&str] = match kind {
        "key-differs" => &["name", "known", "given"],
        "long-greeting" | "too-long" => &["bytes", "most"],
        "unknown-code" => &["number"],
        "database-unusable" => &["why"],
        _ => &["name"],
    };
    let gaps: Vec<_> = fields.iter().map(|name| field(name)).collect();
    let told = fill(sentence, &gaps.iter().map(String::as_str).collect::<Vec<_>>());
    // The space of a sentence is for names in letters.
    let someone = words.refusals.someone;
    if someone.is_ascii() {
        told
    } else {
        told.replace(&format!(" {someone}"), someone).replace(&format!("{someone} "), someone)
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

    #[test]
    fn every_kind_of_error_is_said_in_chinese_with_what_it_is_about() {
        let documented = include_str!("../../../../../../docs/json-rpc.md");
        let rows = documented.lines().skip_while(|line| !line.starts_with("| kind |")).skip(2);
        let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 30, "{rows:?}");
        for kind in rows.iter().filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split(", ")) {
            let kind = kind.trim().trim_matches('`');
            let data = json!({"kind": kind, "name": "bob", "known": "abandon", "given": "zoo", "bytes": 70_000, "most": 65_536,
                "number": 7, "why": "a fault"});
            let said = told("in English", &data, &CHINESE);
            assert!(said != "in English" && !said.contains("{}"), "{kind}: {said}");
        }
        let differs = json!({"kind": "key-differs", "name": "bob", "known": "abandon", "given": "zoo"});
        let said = told("", &differs, &CHINESE);
        assert!(["bob", "abandon", "zoo"].iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(told("", &json!({"kind": "unknown-contact"}), &CHINESE), "联系人中没有此人");
    }
}
