//! `history`: what was said.

use serde_json::{Value, json};

use crate::arguments::Page;
use crate::output::Output;
use crate::session::{Session, entries, word};
use crate::shown;
use crate::text::{harmless, minute};

/// Messages that the engine gives at a time.
const CHUNK: u32 = 1000;

pub(crate) async fn run(session: &mut Session, page: Page, output: &Output) -> anyhow::Result<()> {
    let messages = Value::from(read(session, &page).await?);
    let with = contact_name(session, &page.name).await?;
    output.data(&messages, || told(entries(&messages), session.me(), &with, page.ids))?;
    if entries(&messages).is_empty() && Output::at_terminal() && !output.json {
        output.aside("* nothing");
    }
    Ok(())
}

/// The newest messages, oldest first.
pub(crate) async fn read(session: &mut Session, page: &Page) -> anyhow::Result<Vec<Value>> {
    let mut messages: Vec<Value> = Vec::new();
    loop {
        let wanted = page.limit - u32::try_from(messages.len()).unwrap_or(page.limit).min(page.limit);
        if wanted == 0 {
            return Ok(messages);
        }
        let asked = json!({
            "with": page.name,
            "search": page.search,
            "before": messages.first().map(|oldest| &oldest["message"]),
            "limit": wanted.min(CHUNK),
        });
        let Value::Array(mut older) = session.insist("message.history", asked).await? else {
            return Ok(messages);
        };
        let last = older.len() < wanted.min(CHUNK) as usize;
        older.append(&mut messages);
        messages = older;
        if last {
            return Ok(messages);
        }
    }
}

/// What the contact is called, whichever way it was named.
async fn contact_name(session: &mut Session, who: &str) -> anyhow::Result<String> {
    let contacts = session.insist("contact.list", json!({})).await?;
    let found = entries(&contacts).iter().find(|contact| word(contact, "peer") == who);
    Ok(harmless(found.map_or(who, |contact| word(contact, "name"))))
}

fn told(messages: &[Value], me: &str, with: &str, ids: bool) -> String {
    let line = |message: &Value| {
        let id: String = word(message, "message").chars().take(shown::SHORT_ID).collect();
        let line = line(message, me, with, shown::answered(message, messages));
        if ids { format!("{id}  {line}") } else { line }
    };
    messages.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(message: &Value, me: &str, with: &str, answered: Option<&str>) -> String {
    let mine = word(message, "from") == me;
    let text = shown::message(message, if mine { "me" } else { with }, answered);
    let at = minute(message["at"].as_u64().unwrap_or(u64::MAX));
    let mut notes = shown::notes(message);
    if mine {
        notes.extend(["queued", "sent", "failed"].into_iter().filter(|state| word(message, "state") == *state));
    }
    if notes.is_empty() { format!("{at}  {text}") } else { format!("{at}  {text}  ({})", notes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_and_ids_are_shown() {
        let message = json!({"message": "abcdefghijkl", "from": "b", "text": "hi", "edited": true, "state": "read", "at": u64::MAX});
        assert_eq!(told(&[message], "a", "bob", true), "abcdefgh  ????-??-?? ??:??  bob: hi  (edited)");
    }

    #[test]
    fn mine_are_told_apart_and_say_when_they_have_not_arrived() {
        let message = |from, text, state| json!({"from": from, "text": text, "state": state, "at": u64::MAX});
        let messages =
            [message("a", "hi", "read"), message("b", "ho\n\u{1b}[2J", "delivered"), message("a", "there?", "queued")];
        let at = "????-??-?? ??:??";
        assert_eq!(
            told(&messages, "a", "bob", false),
            format!("{at}  me: hi\n{at}  bob: ho\n    \u{FFFD}[2J\n{at}  me: there?  (queued)")
        );
    }
}
