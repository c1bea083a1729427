//! `add`, `contacts`, `accept`, `block`, `remove`: whom one knows.

use knothole_proto::code::Code;
use serde_json::{Value, json};

use crate::arguments::{Added, Mode};
use crate::output::Output;
use crate::presence::ago;
use crate::session::{Session, entries, name, word};
use crate::text::harmless;

pub(crate) async fn add(session: &mut Session, added: Added, output: &Output) -> anyhow::Result<()> {
    let Added { link, name: wanted, greeting, me, replace, relay } = added;
    let path = at_first(relay);
    let given = json!({"link": link, "name": wanted, "greeting": greeting, "me": me, "replace": replace, "path": path});
    // A code is good for once, and must not be tried again by another engine.
    let added = match Code::looks_like_one(&link) {
        true => session.call("contact.add", given).await?,
        false => session.insist("contact.add", given).await?,
    };
    output.data(&added, || {
        let name = name(&added);
        let former = &added["former"];
        let former = if former.is_object() {
            format!("; the former one is called {}", harmless(word(former, "name")))
        } else {
            String::new()
        };
        format!("{name} is a contact now{former}; talk with: knothole chat {}", quoted(&name))
    })?;
    Ok(())
}

pub(crate) async fn list(session: &mut Session, output: &Output) -> anyhow::Result<()> {
    let contacts = session.insist("contact.list", json!({})).await?;
    output.data(&contacts, || table(entries(&contacts), session.is_new()))?;
    if Output::at_terminal() && !output.json {
        if entries(&contacts).is_empty() {
            output.aside("* no contacts yet; add one with: knothole add 'knothole:…' --name NAME");
        } else if session.is_new() {
            output.aside(
                "* nobody was asked whether they are there: no Knothole was running (`knothole daemon` starts one)",
            );
        }
    }
    Ok(())
}

pub(crate) async fn accept(session: &mut Session, who: &str, relay: bool, output: &Output) -> anyhow::Result<()> {
    let contact = session.insist("contact.accept", json!({"peer": who, "path": at_first(relay)})).await?;
    output.data(&contact, || {
        let name = name(&contact);
        format!("{name} is a contact now; talk with: knothole chat {}", quoted(&name))
    })?;
    Ok(())
}

/// How one who is about to be a contact is met, if that is said: the word for it in JSON-RPC.
pub(crate) const fn at_first(relay: bool) -> Option<&'static str> {
    if relay { Some(Mode::Relay.as_str()) } else { None }
}

pub(crate) async fn path(session: &mut Session, who: &str, mode: Mode, output: &Output) -> anyhow::Result<()> {
    let contact = session.insist("contact.path", json!({"peer": who, "mode": mode.as_str()})).await?;
    output.data(&contact, || match mode {
        Mode::Any => format!("{} is reached directly where that is possible", name(&contact)),
        Mode::Relay => {
            format!("{} is reached through a relay alone from now on, and told no address of yours", name(&contact))
        }
    })?;
    Ok(())
}

pub(crate) async fn rename(session: &mut Session, who: &str, new: &str, output: &Output) -> anyhow::Result<()> {
    // By its id, so that it may be said twice: the name means nobody once it is done.
    let contacts = session.insist("contact.list", json!({})).await?;
    let found = entries(&contacts).iter().find(|contact| word(contact, "name") == who);
    let peer = found.map_or(who, |contact| word(contact, "peer"));
    let contact = session.insist("contact.rename", json!({"peer": peer, "name": new})).await?;
    output.data(&contact, || format!("{} is called {} now", harmless(who), name(&contact)))?;
    Ok(())
}

pub(crate) async fn block(session: &mut Session, who: &str, output: &Output) -> anyhow::Result<()> {
    let contact = session.insist("contact.block", json!({"peer": who})).await?;
    output.data(&contact, || format!("{} is blocked", name(&contact)))?;
    Ok(())
}

pub(crate) async fn remove(session: &mut Session, who: &str, output: &Output) -> anyhow::Result<()> {
    let removed = session.insist("contact.remove", json!({"peer": who})).await?;
    output.data(&removed, || format!("{} is removed, and the conversation deleted", harmless(who)))?;
    Ok(())
}

/// One line a contact: name, state, how it is reached, what is unread.
fn table(contacts: &[Value], new: bool) -> String {
    let width = contacts.iter().map(|contact| name(contact).chars().count()).max().unwrap_or_default();
    let line = |contact: &Value| {
        let there = match word(contact, "state") {
            "request" => match harmless(word(contact, "greeting")) {
                said if said.is_empty() => "asks to be a contact; accept, block or remove".to_owned(),
                said => format!("asks to be a contact, and says \"{said}\"; accept, block or remove"),
            },
            "contact" if new => String::new(),
            "contact" => presence(contact),
            other => other.to_owned(),
        };
        let unread = match contact["unread"].as_u64() {
            None | Some(0) => String::new(),
            Some(unread) => format!("{unread} unread"),
        };
        let verified = if contact["verified"] == true { "verified" } else { "" };
        // While it is online, the path says so.
        let hides = contact["relay_only"] == true && word(contact, "presence") != "online";
        let relay = if hides { "relay only" } else { "" };
        let told: Vec<_> = [there, verified.to_owned(), relay.to_owned(), unread]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        format!("{:width$}  {}", name(contact), told.join(", ")).trim_end().to_owned()
    };
    contacts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `online, direct 203.0.113.5:4711, 23 ms`, as far as it is known; for a relay with the reason.
fn presence(contact: &Value) -> String {
    let path = &contact["path"];
    let state = word(contact, "presence");
    let hidden = if word(contact, "seen_as") == "invisible" { ", sees you offline" } else { "" };
    if state != "online" {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_millis());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let seen = contact["last_seen"].as_u64().map(|then| format!(", seen {}", ago(then, now)));
        return format!("{state}{}{hidden}", seen.unwrap_or_default());
    }
    if !path.is_object() {
        return format!("{state}{hidden}");
    }
    let why = path["why"].as_str().map(|why| format!(" ({})", harmless(why))).unwrap_or_default();
    format!("{state}, {}{why}", way(path))
}

/// `direct 203.0.113.5:4711, 23 ms`.
pub(crate) fn way(path: &Value) -> String {
    let mut told = format!("{} {}", word(path, "kind"), word(path, "remote"));
    if let Some(rtt) = path["rtt_ms"].as_f64() {
        let decimals = usize::from(rtt < 10.0);
        told = format!("{told}, {rtt:.decimals$} ms");
    }
    told
}

/// The name as a shell takes it.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_listed_with_what_matters_of_each() {
        let contacts = [
            json!({"name": "bob", "state": "contact", "presence": "online", "unread": 2,
                   "path": {"kind": "direct", "remote": "203.0.113.5:4711", "rtt_ms": 23.4}}),
            json!({"name": "bobby", "state": "contact", "presence": "online", "unread": 0,
                   "path": {"kind": "relay", "remote": "203.0.113.9:3478", "rtt_ms": null, "why": "no direct path"}}),
            json!({"name": "carol", "state": "request", "presence": "offline", "unread": 0, "path": null}),
            json!({"name": "d\u{1b}e", "state": "contact", "presence": "offline", "unread": 0, "path": null}),
            json!({"name": "eve", "state": "blocked", "presence": "offline", "unread": 0, "path": null}),
        ];
        assert_eq!(
            table(&contacts, false),
            "bob    online, direct 203.0.113.5:4711, 23 ms, 2 unread\n\
             bobby  online, relay 203.0.113.9:3478 (no direct path)\n\
             carol  asks to be a contact; accept, block or remove\n\
             d\u{FFFD}e    offline\n\
             eve    blocked"
        );
        assert!(table(&contacts, true).starts_with("bob    2 unread\n"));
    }

    #[test]
    fn names_in_commands_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("bob-2"), "bob-2");
        assert_eq!(quoted("o'neill & co"), "'o'\\''neill & co'");
    }
}
