//! Messages and their changes as lines of text. Pure; all that others wrote is made harmless.

use serde_json::Value;

use crate::session::{entries, word};
use crate::text::{beginning, indented, isolated};

/// Characters of a message's id that tell it apart from the others of a conversation.
pub(crate) const SHORT_ID: usize = 8;

/// A message of a page of history, as `name: text`; `answered` is the text that it answers, if that is known.
pub(crate) fn message(message: &Value, name: &str, answered: Option<&str>) -> String {
    let name = match (message["reply"].is_string(), answered) {
        (false, _) => isolated(name),
        (true, Some(text)) => format!("{} (to \"{}\")", isolated(name), isolated(&beginning(text))),
        (true, None) => format!("{} (to an earlier message)", isolated(name)),
    };
    if message["deleted"] == true {
        return format!("{name}: (deleted)");
    }
    let mut line = match word(message, "kind") {
        "timer" => format!("* {name}: {}", lasting(message)),
        "unknown" => {
            format!("{name}: (a message of a kind that this version does not know; update knothole to read it)")
        }
        _ => format!("{name}: {}", indented(word(message, "text"))),
    };
    let reactions: Vec<_> = entries(&message["reactions"])
        .iter()
        .map(|reaction| {
            let emoji = isolated(word(reaction, "emoji"));
            if reaction["mine"] == true { format!("{emoji} (mine)") } else { emoji }
        })
        .collect();
    if !reactions.is_empty() {
        line = format!("{line}  [{}]", reactions.join(", "));
    }
    line
}

/// What may stand behind a message: that it was edited, that it will disappear.
pub(crate) fn notes(message: &Value) -> Vec<&'static str> {
    let edited = (message["edited"] == true).then_some("edited");
    let disappears = (message["expires_s"].is_number() && word(message, "kind") != "timer").then_some("disappears");
    edited.into_iter().chain(disappears).collect()
}

/// The text that a message of a page answers, if the page has it.
pub(crate) fn answered<'a>(message: &Value, page: &'a [Value]) -> Option<&'a str> {
    let reply = message["reply"].as_str()?;
    page.iter().find(|other| word(other, "message") == reply).map(|other| word(other, "text"))
}

/// What a `change` event says, to one who saw the message say `before`; nothing if it needs no words.
pub(crate) fn change(event: &Value, name: &str, before: Option<&str>) -> Option<String> {
    let who = if event["mine"] == true { "you".to_owned() } else { isolated(name) };
    let which =
        before.map_or_else(|| "an earlier message".to_owned(), |text| format!("\"{}\"", isolated(&beginning(text))));
    Some(match word(event, "what") {
        "edited" => format!("* {who} edited {which}: {}", indented(word(event, "text"))),
        "deleted" => format!("* {who} deleted a message"),
        "reaction" if event["on"] == true => format!("* {who} reacted {} to {which}", isolated(word(event, "emoji"))),
        "reaction" => format!("* {who} took {} back from {which}", isolated(word(event, "emoji"))),
        "timer" => format!("* {who}: {}", lasting(event)),
        _ => return None,
    })
}

/// How long later texts last.
fn lasting(timer: &Value) -> String {
    match timer["expires_s"].as_u64() {
        Some(seconds) => format!("from now on texts disappear, {} after they were read", span(seconds)),
        None => "from now on texts stay".to_owned(),
    }
}

/// So many seconds, in the greatest unit that divides them.
fn span(seconds: u64) -> String {
    let unit = [(604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) =
        unit.into_iter().find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size)).unwrap_or((1, "second"));
    let number = seconds / size;
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_shows_what_it_answers_and_what_became_of_it() {
        let page = [json!({"message": "a", "text": "shall we?"})];
        let reply = json!({"message": "b", "text": "yes", "reply": "a", "edited": true, "expires_s": 60,
            "reactions": [{"emoji": "👍", "mine": true}, {"emoji": "\u{1b}[2J", "mine": false}]});
        let answered_text = answered(&reply, &page);
        assert_eq!(answered_text, Some("shall we?"));
        assert_eq!(message(&reply, "bob", answered_text), "bob (to \"shall we?\"): yes  [👍 (mine), \u{FFFD}[2J]");
        assert_eq!(notes(&reply), ["edited", "disappears"]);
        assert_eq!(message(&json!({"text": "", "deleted": true}), "bob", None), "bob: (deleted)");
        assert_eq!(
            message(&json!({"text": "x", "reply": "z"}), "b\u{202E}b", None),
            "b\u{FFFD}b (to an earlier message): x"
        );
        assert_eq!(
            message(&json!({"text": "1", "reply": "z"}), "דוד", Some("שלום")),
            "\u{2068}דוד\u{2069} (to \"\u{2068}שלום\u{2069}\"): 1"
        );
        let timer = json!({"kind": "timer", "text": "", "expires_s": 7200});
        assert_eq!(message(&timer, "me", None), "* me: from now on texts disappear, 2 hours after they were read");
        assert_eq!(notes(&timer), [""; 0]);
    }

    #[test]
    fn changes_are_told_in_words() {
        let told = |event: Value, before| change(&event, "bob", before);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told(json!({"what": "edited", "text": "b\nalice: c"}), Some("a")),
            some("* bob edited \"a\": b\n    alice: c")
        );
        assert_eq!(told(json!({"what": "deleted", "mine": true}), Some("a")), some("* you deleted a message"));
        let reaction = |on| json!({"what": "reaction", "emoji": "👍\u{7}", "on": on});
        assert_eq!(told(reaction(true), Some("hello\nthere")), some("* bob reacted 👍\u{FFFD} to \"hello…\""));
        assert_eq!(told(reaction(false), None), some("* bob took 👍\u{FFFD} back from an earlier message"));
        assert_eq!(told(json!({"what": "timer", "expires_s": null}), None), some("* bob: from now on texts stay"));
        assert_eq!(told(json!({"what": "expired"}), Some("a")), None);
    }

    #[test]
    fn spans_are_told_in_the_greatest_unit_that_fits() {
        for (seconds, told) in
            [(604_800, "1 week"), (172_800, "2 days"), (90, "90 seconds"), (60, "1 minute"), (0, "0 seconds")]
        {
            assert_eq!(span(seconds), told);
        }
    }
}
