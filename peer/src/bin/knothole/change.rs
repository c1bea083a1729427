//! `edit`, `delete`, `react`, `timer`: changing what was said, or how long it lasts.

use anyhow::bail;
use serde_json::{Value, json};

use crate::output::Output;
use crate::session::{Session, entries, word};
use crate::shown::SHORT_ID;
use crate::text::harmless;
use crate::typed;

/// Messages among which one is looked for by the beginning of its id.
const LOOK_BACK: u32 = 1000;

/// The characters of a whole id.
const ID: usize = 26;

pub(crate) async fn edit(
    session: &mut Session,
    name: &str,
    message: &str,
    text: Option<String>,
    output: &Output,
) -> anyhow::Result<()> {
    let text = match text {
        Some(text) if text != "-" => text,
        _ => typed::whole().await?,
    };
    let message = find(session, name, message, Whose::Mine).await?;
    carry_out(session, "message.edit", json!({"with": name, "message": message, "text": text}), output).await
}

pub(crate) async fn delete(session: &mut Session, name: &str, message: &str, output: &Output) -> anyhow::Result<()> {
    let message = find(session, name, message, Whose::Mine).await?;
    carry_out(session, "message.delete", json!({"with": name, "message": message}), output).await
}

pub(crate) async fn react(
    session: &mut Session,
    name: &str,
    message: &str,
    emoji: &str,
    on: bool,
    output: &Output,
) -> anyhow::Result<()> {
    let message = find(session, name, message, Whose::Theirs).await?;
    let asked = json!({"with": name, "message": message, "emoji": emoji, "on": on});
    carry_out(session, "message.react", asked, output).await
}

/// `lasting`: seconds, 0 for ever.
pub(crate) async fn timer(session: &mut Session, name: &str, lasting: u32, output: &Output) -> anyhow::Result<()> {
    let expires_s = (lasting > 0).then_some(lasting);
    carry_out(session, "conversation.timer", json!({"with": name, "expires_s": expires_s}), output).await
}

async fn carry_out(session: &mut Session, method: &str, asked: Value, output: &Output) -> anyhow::Result<()> {
    let done = session.insist(method, asked).await?;
    if output.json {
        output.line(&done.to_string())?;
    }
    Ok(())
}

/// Whose message `last` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Mine,
    Theirs,
}

/// The id of a message that is named by it, by its beginning, or as `last`.
pub(crate) async fn find(session: &mut Session, name: &str, message: &str, whose: Whose) -> anyhow::Result<String> {
    if message.len() == ID {
        return Ok(message.to_owned());
    }
    let page = session.insist("message.history", json!({"with": name, "limit": LOOK_BACK})).await?;
    let found = found(entries(&page), session.me(), message, whose);
    let (name, message) = (harmless(name), harmless(message));
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] if message == "last" => bail!("there is no such message in the conversation with {name} yet"),
        [] => bail!(
            "no message with {name} has an id that begins with \"{message}\"; see `knothole history {name} --ids`"
        ),
        _ => {
            bail!("several ids begin with \"{message}\"; give more of it, as `knothole history {name} --ids` shows it")
        }
    }
}

fn found<'a>(page: &'a [Value], me: &str, wanted: &str, whose: Whose) -> Vec<&'a str> {
    let id = |message: &'a Value| word(message, "message");
    if wanted == "last" {
        let meant = |message: &&Value| {
            let mine = word(message, "from") == me;
            mine == (whose == Whose::Mine) && message["deleted"] != true && message["kind"].is_null()
        };
        return page.iter().rev().find(meant).map(id).into_iter().collect();
    }
    // Fewer characters than are shown would be a guess.
    let long_enough = wanted.len() >= SHORT_ID.min(4);
    page.iter().map(id).filter(|id| long_enough && id.starts_with(wanted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_by_the_beginning_of_its_id_or_as_the_last() {
        let page = [
            json!({"message": "aaaa1", "from": "me"}),
            json!({"message": "aaaa2", "from": "bob"}),
            json!({"message": "bbbb1", "from": "me"}),
            json!({"message": "cccc1", "from": "me", "deleted": true}),
            json!({"message": "dddd1", "from": "bob", "kind": "timer"}),
        ];
        let found = |wanted, whose| found(&page, "me", wanted, whose);
        assert_eq!(found("last", Whose::Mine), ["bbbb1"]);
        assert_eq!(found("last", Whose::Theirs), ["aaaa2"]);
        assert_eq!(found("aaaa", Whose::Mine), ["aaaa1", "aaaa2"]);
        assert_eq!(found("aaaa2", Whose::Mine), ["aaaa2"]);
        assert_eq!(found("b", Whose::Mine), [""; 0]);
        assert_eq!(found("last", Whose::Theirs).len(), 1);
    }
}
